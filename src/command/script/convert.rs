//! Values on their way: replies of commands become Lua values, and what a script returns becomes a reply.

use mlua::{Lua, Table, Value};

use crate::num;
use crate::resp::{Reply, Version};

/// Tables in tables that a script may return. One that holds itself would never end.
const DEPTH_MAX: usize = 500;

/// The Lua value of one reply that a command has written.
pub(super) fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    Reader { lua, rest: reply }.value()
}

/// The text of a reply that is an error, without its mark and line end.
pub(super) fn error_text(reply: &[u8]) -> Option<&[u8]> {
    reply.strip_prefix(b"-").map(|text| text.strip_suffix(b"\r\n").unwrap_or(text))
}

/// A table with one field.
pub(super) fn field(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The bytes up to the next line end.
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(2..).unwrap_or_default();
        line
    }

    fn number(&mut self) -> i64 {
        num::parse_i64(self.line()).unwrap_or_default()
    }

    /// So many bytes and a line end.
    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest.get(2..).unwrap_or_default();
        bytes
    }

    fn string(&mut self) -> mlua::Result<Value> {
        match usize::try_from(self.number()) {
            Ok(length) => self.lua.create_string(self.bytes(length)).map(Value::String),
            // A null of RESP2.
            Err(_) => Ok(Value::Boolean(false)),
        }
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let Some((kind, rest)) = self.rest.split_first() else { return Ok(Value::Nil) };
        self.rest = rest;
        let lua = self.lua;
        match kind {
            b':' => Ok(Value::Number(self.number() as f64)),
            b'$' => self.string(),
            b'+' => field(lua, "ok", lua.create_string(self.line())?),
            b'-' => field(lua, "err", lua.create_string(self.line())?),
            b'*' | b'>' => self.array(),
            b'%' => {
                let pairs = self.table(true)?;
                field(lua, "map", pairs)
            }
            b'~' => {
                let members = self.table(false)?;
                field(lua, "set", members)
            }
            b'_' => {
                self.line();
                Ok(Value::Nil)
            }
            b'#' => Ok(Value::Boolean(self.line() == b"t")),
            b',' => field(lua, "double", num::parse_f64(self.line()).unwrap_or(f64::NAN)),
            b'(' => field(lua, "big_number", lua.create_string(self.line())?),
            b'=' => self.verbatim(),
            b'|' => {
                // What is said about a reply is not for scripts.
                for _ in 0..self.number().saturating_mul(2) {
                    self.value()?;
                }
                self.value()
            }
            _ => Ok(Value::Nil),
        }
    }

    fn array(&mut self) -> mlua::Result<Value> {
        let Ok(length) = usize::try_from(self.number()) else { return Ok(Value::Boolean(false)) };
        let table = self.lua.create_table_with_capacity(length, 0)?;
        for at in 1..=length {
            table.raw_set(at, self.value()?)?;
        }
        Ok(Value::Table(table))
    }

    /// The pairs of a map, or the members of a set, each with `true`.
    fn table(&mut self, has_values: bool) -> mlua::Result<Table> {
        let length = usize::try_from(self.number()).unwrap_or_default();
        let table = self.lua.create_table_with_capacity(0, length)?;
        for _ in 0..length {
            let key = self.value()?;
            let value = if has_values { self.value()? } else { Value::Boolean(true) };
            if !key.is_nil() {
                table.raw_set(key, value)?;
            }
        }
        Ok(table)
    }

    fn verbatim(&mut self) -> mlua::Result<Value> {
        let length = usize::try_from(self.number()).unwrap_or_default();
        let bytes = self.bytes(length);
        let (format, text) = bytes.split_at(bytes.len().min(3));
        let table = self.lua.create_table_with_capacity(0, 2)?;
        table.raw_set("format", self.lua.create_string(format)?)?;
        table.raw_set("string", self.lua.create_string(text.get(1..).unwrap_or_default())?)?;
        field(self.lua, "verbatim_string", table)
    }
}

/// Writes what a script has returned. `speaks` is the version that the script has chosen for itself.
pub(super) fn write(reply: &mut Reply<'_>, value: &Value, speaks: Version, depth: usize) -> mlua::Result<()> {
    match value {
        Value::String(string) => reply.bulk(&string.as_bytes()),
        Value::Integer(number) => reply.int(*number),
        Value::Number(number) => reply.int(whole(*number)),
        Value::Boolean(yes) if speaks == Version::Resp3 => reply.boolean(*yes),
        Value::Boolean(true) => reply.int(1),
        Value::Table(_) if depth >= DEPTH_MAX => reply.raw_error("ERR reached lua stack limit"),
        Value::Table(table) => write_table(reply, table, speaks, depth)?,
        _ => reply.null(),
    }
    Ok(())
}

/// A float without its fraction, as the processor converts it: what does not fit is the least number.
fn whole(number: f64) -> i64 {
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    if fits { number as i64 } else { i64::MIN }
}

/// A field that is text, or a number as Lua writes it.
fn text(table: &Table, name: &str) -> mlua::Result<Option<Vec<u8>>> {
    Ok(match table.raw_get::<Value>(name)? {
        Value::String(string) => Some(string.as_bytes().to_vec()),
        _ => None,
    })
}

/// The text in one line.
fn one_line(mut text: Vec<u8>) -> Vec<u8> {
    text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    text
}

fn write_line(reply: &mut Reply<'_>, mark: u8, text: Vec<u8>) {
    reply.raw(&[mark]);
    reply.raw(&one_line(text));
    reply.raw(b"\r\n");
}

fn write_table(reply: &mut Reply<'_>, table: &Table, speaks: Version, depth: usize) -> mlua::Result<()> {
    if let Some(error) = text(table, "err")? {
        let error = error.strip_prefix(b"-").map(<[u8]>::to_vec).unwrap_or(error);
        write_line(reply, b'-', error);
        return Ok(());
    }
    if let Some(status) = text(table, "ok")? {
        write_line(reply, b'+', status);
        return Ok(());
    }
    match table.raw_get::<Value>("double")? {
        Value::Integer(number) => {
            reply.double(number as f64);
            return Ok(());
        }
        Value::Number(number) => {
            reply.double(number);
            return Ok(());
        }
        _ => {}
    }
    if let Value::Table(pairs) = table.raw_get("map")? {
        return write_map(reply, &pairs, speaks, depth);
    }
    if let Value::Table(members) = table.raw_get("set")? {
        let (mark, mut count) = (reply.mark(), 0);
        for pair in pairs(&members)? {
            write(reply, &pair.0, speaks, depth + 1)?;
            count += 1;
        }
        reply.set_from(mark, count);
        return Ok(());
    }
    if let Some(number) = text(table, "big_number")? {
        reply.big_number(&String::from_utf8_lossy(&one_line(number)));
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let (Some(mut format), Some(text)) = (text(&verbatim, "format")?, text(&verbatim, "string")?)
    {
        write_verbatim(reply, &mut format, &text);
        return Ok(());
    }
    let (mark, mut count) = (reply.mark(), 0);
    loop {
        let value: Value = table.raw_get(count + 1)?;
        if value.is_nil() {
            break;
        }
        write(reply, &value, speaks, depth + 1)?;
        count += 1;
    }
    reply.array_from(mark, count);
    Ok(())
}

fn write_map(reply: &mut Reply<'_>, map: &Table, speaks: Version, depth: usize) -> mlua::Result<()> {
    let (mark, mut count) = (reply.mark(), 0);
    for (key, value) in pairs(map)? {
        write(reply, &key, speaks, depth + 1)?;
        write(reply, &value, speaks, depth + 1)?;
        count += 1;
    }
    reply.map_from(mark, count);
    Ok(())
}

fn pairs(table: &Table) -> mlua::Result<Vec<(Value, Value)>> {
    table.pairs::<Value, Value>().collect()
}

fn write_verbatim(reply: &mut Reply<'_>, format: &mut Vec<u8>, text: &[u8]) {
    if reply.version() == Version::Resp2 {
        reply.bulk(text);
        return;
    }
    format.resize(3, b' ');
    reply.raw(format!("={}\r\n", text.len() + 4).as_bytes());
    reply.raw(format);
    reply.raw(b":");
    reply.raw(text);
    reply.raw(b"\r\n");
}
