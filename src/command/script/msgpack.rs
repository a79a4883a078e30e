//! The library `cmsgpack`: MessagePack as Redis' scripts know it.

use mlua::{Lua, Table, Value};

use super::args::{Arguments, Outcome, answer};
use super::bounds::{Bounds, Work};

/// Tables in tables that are written; what is deeper is written as nil.
const WRITTEN_DEPTH_MAX: usize = 16;

/// Arrays and maps in each other that are read.
const READ_DEPTH_MAX: usize = 128;

const SHORT: &str = "Missing bytes in input.";
const BAD: &str = "Bad data format in input.";

/// The library's functions.
pub(super) fn library(lua: &Lua, bounds: &Bounds) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        table.raw_set(name, text)?;
    }
    let own = bounds.clone();
    table.raw_set(
        "pack",
        lua.create_function(move |lua, values| {
            let args = Arguments::new("pack", values);
            if args.values.is_empty() {
                return answer(Err(args.bad(0, "MessagePack pack needs input.")), lua);
            }
            let mut writer = Writer { out: Vec::new(), work: own.work() };
            for value in &args.values {
                writer.value(value, 0)?;
            }
            answer(Ok(vec![Value::String(lua.create_string(writer.out)?)]), lua)
        })?,
    )?;
    let own = bounds.clone();
    table.raw_set(
        "unpack",
        lua.create_function(move |lua, values| {
            let args = Arguments::new("unpack", values);
            answer(unpack(lua, &own, &args, None, 0)?, lua)
        })?,
    )?;
    let own = bounds.clone();
    table.raw_set(
        "unpack_one",
        lua.create_function(move |lua, values| {
            let args = Arguments::new("unpack_one", values);
            let outcome = match args.number_or(2, 0.0) {
                Ok(offset) => unpack(lua, &own, &args, Some(1), offset as i64)?,
                Err(message) => Err(message),
            };
            answer(outcome, lua)
        })?,
    )?;
    let own = bounds.clone();
    table.raw_set(
        "unpack_limit",
        lua.create_function(move |lua, values| {
            let args = Arguments::new("unpack_limit", values);
            let outcome = match args.number(2).and_then(|limit| Ok((limit, args.number_or(3, 0.0)?))) {
                Ok((limit, offset)) => unpack(lua, &own, &args, Some(limit as i64), offset as i64)?,
                Err(message) => Err(message),
            };
            answer(outcome, lua)
        })?,
    )?;
    Ok(table)
}

// ---- writing ------------------------------------------------------------------------------------------------------

struct Writer {
    out: Vec<u8>,
    work: Work,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        self.work.step_within(self.out.len())?;
        let out = &mut self.out;
        match value {
            Value::Boolean(yes) => out.push(if *yes { 0xc3 } else { 0xc2 }),
            Value::Integer(number) => write_integer(*number, out),
            Value::Number(number) => write_number(*number, out),
            Value::String(text) => {
                let text = text.as_bytes();
                write_head(text.len(), (0xa0, 31), &[0xd9, 0xda, 0xdb], out);
                out.extend_from_slice(&text);
            }
            Value::Table(table) if depth < WRITTEN_DEPTH_MAX => self.table(table, depth)?,
            _ => out.push(0xc0),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        // Twice through the table, as Lua lends only some thousands of values at once.
        let (mut len, mut last, mut is_array) = (0, 0, true);
        table.for_each(|key: Value, _: Value| {
            len += 1;
            match key {
                Value::Integer(index @ 1..) => last = last.max(index as usize),
                _ => is_array = false,
            }
            self.work.step(self.out.len())
        })?;
        // Keys differ, so that as many of them as there are places fill all places.
        if is_array && last == len {
            write_head(len, (0x90, 15), &[0xdc, 0xdd], &mut self.out);
            for at in 1..=len {
                self.value(&table.raw_get(at)?, depth + 1)?;
            }
            return Ok(());
        }
        write_head(len, (0x80, 15), &[0xde, 0xdf], &mut self.out);
        table.for_each(|key: Value, value: Value| {
            self.value(&key, depth + 1)?;
            self.value(&value, depth + 1)
        })
    }
}

/// The head of something so long: in one byte up to a length, or a mark and the length in 8, 16 or 32 bits.
fn write_head(length: usize, (short, short_max): (u8, usize), marks: &[u8], out: &mut Vec<u8>) {
    let (wide, longer) = match marks {
        [narrow, rest @ ..] if rest.len() == 2 => (Some(*narrow), rest),
        rest => (None, rest),
    };
    if length <= short_max {
        out.push(short | length as u8);
    } else if let (Some(mark), Ok(length)) = (wide, u8::try_from(length)) {
        out.extend([mark, length]);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(longer[0]);
        out.extend(length.to_be_bytes());
    } else {
        out.push(longer[1]);
        out.extend((length as u32).to_be_bytes());
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    match number {
        -32..=127 => out.push(number as u8),
        128..=0xff => out.extend([0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(number.to_be_bytes());
        }
        -128..=-33 => out.extend([0xd0, number as u8]),
        -0x8000..=-129 => {
            out.push(0xd1);
            out.extend((number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend((number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend(number.to_be_bytes());
        }
    }
}

fn write_number(number: f64, out: &mut Vec<u8>) {
    if number as i64 as f64 == number && number.abs() < 9.0e18 {
        write_integer(number as i64, out);
    } else if f64::from(number as f32) == number {
        out.push(0xca);
        out.extend((number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend(number.to_be_bytes());
    }
}

// ---- reading ------------------------------------------------------------------------------------------------------

/// Reads all values, or so many from a place on; then the place where it goes on comes first, -1 for the end.
fn unpack(
    lua: &Lua,
    bounds: &Bounds,
    args: &Arguments,
    limit: Option<i64>,
    offset: i64,
) -> mlua::Result<Outcome<Vec<Value>>> {
    /// Values that a function may return at once.
    const VALUES_MAX: usize = 7000;
    let data = match args.bytes(1) {
        Ok(data) => data,
        Err(message) => return Ok(Err(message)),
    };
    let asked = limit.unwrap_or_default();
    if asked < 0 || offset < 0 {
        return Ok(Err(format!("Invalid request to unpack with offset of {offset} and limit of {}.", data.len())));
    }
    let Some(rest) = usize::try_from(offset).ok().and_then(|offset| data.get(offset..)) else {
        return Ok(Err(format!("Start offset {offset} greater than input length {}.", data.len())));
    };
    let is_all = asked == 0 && offset == 0;
    let most = if is_all { usize::MAX } else { asked as usize };
    let (mut reader, mut values) = (Reader { lua, rest, work: bounds.work() }, Vec::new());
    while !reader.rest.is_empty() && values.len() < most {
        if values.len() == VALUES_MAX {
            let message = "too many return values at once; use unpack_one or unpack_limit instead.";
            return Ok(Err(format!("stack overflow ({message})")));
        }
        match reader.value(0)? {
            Ok(value) => values.push(value),
            Err(why) => return Ok(Err(why.to_owned())),
        }
    }
    if !is_all {
        let next = if reader.rest.is_empty() { -1.0 } else { (data.len() - reader.rest.len()) as f64 };
        values.insert(0, Value::Number(next));
    }
    Ok(Ok(values))
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    work: Work,
}

/// A value, or what is wrong with the data.
type Read<T> = Result<T, &'static str>;

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// An unsigned number of so many bytes.
    fn unsigned(&mut self, size: usize) -> Read<u64> {
        Ok(self.take(size)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// A signed number of so many bytes.
    fn signed(&mut self, size: usize) -> Read<i64> {
        let unused = 64 - 8 * size as u32;
        Ok((self.unsigned(size)? << unused) as i64 >> unused)
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Read<Value>> {
        self.work.step(0)?;
        let mark = match self.take(1) {
            Ok(bytes) => bytes[0],
            Err(why) => return Ok(Err(why)),
        };
        match mark {
            0x80..=0x8f => self.map(usize::from(mark & 0xf), depth),
            0x90..=0x9f => self.array(usize::from(mark & 0xf), depth),
            0xa0..=0xbf => self.text(Ok(u64::from(mark & 0x1f))),
            0xc4 | 0xd9 => {
                let length = self.unsigned(1);
                self.text(length)
            }
            0xc5 | 0xda => {
                let length = self.unsigned(2);
                self.text(length)
            }
            0xc6 | 0xdb => {
                let length = self.unsigned(4);
                self.text(length)
            }
            0xdc..=0xdf => {
                let length = match self.unsigned(if mark & 1 == 0 { 2 } else { 4 }) {
                    Ok(length) => length as usize,
                    Err(why) => return Ok(Err(why)),
                };
                if mark < 0xde { self.array(length, depth) } else { self.map(length, depth) }
            }
            _ => Ok(self.scalar(mark)),
        }
    }

    fn scalar(&mut self, mark: u8) -> Read<Value> {
        Ok(match mark {
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => Value::Number(self.unsigned(1 << (mark - 0xcc))? as f64),
            0xd0..=0xd3 => Value::Number(self.signed(1 << (mark - 0xd0))? as f64),
            0x00..=0x7f | 0xe0..=0xff => Value::Number(f64::from(mark as i8)),
            _ => return Err(BAD),
        })
    }

    fn text(&mut self, length: Read<u64>) -> mlua::Result<Read<Value>> {
        match length.and_then(|length| self.take(length as usize)) {
            Ok(bytes) => Ok(Ok(Value::String(self.lua.create_string(bytes)?))),
            Err(why) => Ok(Err(why)),
        }
    }

    fn array(&mut self, length: usize, depth: usize) -> mlua::Result<Read<Value>> {
        if depth == READ_DEPTH_MAX {
            return Ok(Err(BAD));
        }
        let table = self.lua.create_table()?;
        for at in 1..=length {
            match self.value(depth + 1)? {
                Ok(value) => table.raw_set(at, value)?,
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(Value::Table(table)))
    }

    fn map(&mut self, length: usize, depth: usize) -> mlua::Result<Read<Value>> {
        if depth == READ_DEPTH_MAX {
            return Ok(Err(BAD));
        }
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let (key, value) = match (self.value(depth + 1)?, self.value(depth + 1)?) {
                (Ok(key), Ok(value)) => (key, value),
                (Err(why), _) | (_, Err(why)) => return Ok(Err(why)),
            };
            let is_key = !key.is_nil() && !matches!(key, Value::Number(number) if number.is_nan());
            if !is_key {
                return Ok(Err(BAD));
            }
            table.raw_set(key, value)?;
        }
        Ok(Ok(Value::Table(table)))
    }
}
