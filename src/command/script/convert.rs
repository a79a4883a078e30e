//! Values on their way: replies of commands become Lua values, and what a script returns becomes a reply.

use mlua::{Either, Lua, LuaString, Table, Value};

use super::bounds::Work;
use super::interpreter::unlimited;
use crate::error::Error;
use crate::num;
use crate::resp::written::Written;
use crate::resp::{Args, Reply, Version};

/// Tables in tables that a script may return. One that holds itself would never end.
const DEPTH_MAX: usize = 500;

/// The Lua value of one reply that a command has written.
pub(super) fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    match reply.strip_prefix(b":").and_then(|rest| num::parse_i64(rest.strip_suffix(b"\r\n")?)) {
        // It takes no room.
        Some(number) => Ok(Value::Number(number as f64)),
        None => unlimited(lua, reply.len(), || Reader { lua, reply: Written { rest: reply } }.value()),
    }
}

/// Words as a Lua table.
pub(super) fn list(lua: &Lua, words: Args<'_>) -> mlua::Result<Table> {
    sequence(lua, words.iter().map(|word| string(lua, word)))
}

/// A value on its way into a table. One that is a `str` needs no place in Lua of its own before.
type Element<'a> = Either<&'a str, Value>;

fn string<'a>(lua: &Lua, bytes: &'a [u8]) -> mlua::Result<Element<'a>> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Either::Left(text)),
        Err(_) => lua.create_string(bytes).map(|string| Either::Right(Value::String(string))),
    }
}

fn sequence<'a>(lua: &Lua, elements: impl Iterator<Item = mlua::Result<Element<'a>>>) -> mlua::Result<Table> {
    let mut problem = None;
    let table = lua.create_sequence_from(Elements { elements, problem: &mut problem })?;
    problem.map_or(Ok(table), Err)
}

/// Elements up to one that cannot be made.
struct Elements<'a, I> {
    elements: I,
    problem: &'a mut Option<mlua::Error>,
}

impl<'a, I: Iterator<Item = mlua::Result<Element<'a>>>> Iterator for Elements<'_, I> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.elements.next()?.map_err(|error| *self.problem = Some(error)).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.elements.size_hint()
    }
}

/// A table with one field, which is text.
pub(super) fn field(lua: &Lua, name: &str, text: &[u8]) -> mlua::Result<Value> {
    table_of(lua, name, string(lua, text)?)
}

fn table_of(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
    lua.create_table_from([(name, value)]).map(Value::Table)
}

/// A null of RESP2.
const NULL: Value = Value::Boolean(false);

struct Reader<'a> {
    lua: &'a Lua,
    reply: Written<'a>,
}

impl<'a> Reader<'a> {
    /// A value that goes into a table.
    fn element(&mut self) -> mlua::Result<Element<'a>> {
        let Some(rest) = self.reply.rest.strip_prefix(b"$") else { return self.value().map(Either::Right) };
        self.reply.rest = rest;
        match usize::try_from(self.reply.number()) {
            Ok(length) => string(self.lua, self.reply.bytes(length)),
            Err(_) => Ok(Either::Right(NULL)),
        }
    }

    fn string(&mut self) -> mlua::Result<Value> {
        match usize::try_from(self.reply.number()) {
            Ok(length) => self.lua.create_string(self.reply.bytes(length)).map(Value::String),
            Err(_) => Ok(NULL),
        }
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let Some((kind, rest)) = self.reply.rest.split_first() else { return Ok(Value::Nil) };
        self.reply.rest = rest;
        let lua = self.lua;
        match kind {
            b':' => Ok(Value::Number(self.reply.number() as f64)),
            b'$' => self.string(),
            b'+' => field(lua, "ok", self.reply.line()),
            b'-' => field(lua, "err", self.reply.line()),
            b'*' | b'>' => self.array(),
            b'%' => {
                let pairs = self.table(true)?;
                table_of(lua, "map", pairs)
            }
            b'~' => {
                let members = self.table(false)?;
                table_of(lua, "set", members)
            }
            b'_' => {
                self.reply.line();
                Ok(Value::Nil)
            }
            b'#' => Ok(Value::Boolean(self.reply.line() == b"t")),
            b',' => table_of(lua, "double", num::parse_f64(self.reply.line()).unwrap_or(f64::NAN)),
            b'(' => field(lua, "big_number", self.reply.line()),
            b'=' => self.verbatim(),
            b'|' => {
                // What is said about a reply is not for scripts.
                for _ in 0..self.reply.number().saturating_mul(2) {
                    self.value()?;
                }
                self.value()
            }
            _ => Ok(Value::Nil),
        }
    }

    fn array(&mut self) -> mlua::Result<Value> {
        let Ok(length) = usize::try_from(self.reply.number()) else { return Ok(NULL) };
        sequence(self.lua, (0..length).map(|_| self.element())).map(Value::Table)
    }

    /// The pairs of a map, or the members of a set, each with `true`.
    fn table(&mut self, has_values: bool) -> mlua::Result<Table> {
        let length = usize::try_from(self.reply.number()).unwrap_or_default();
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
        let length = usize::try_from(self.reply.number()).unwrap_or_default();
        let bytes = self.reply.bytes(length);
        let (format, text) = bytes.split_at(bytes.len().min(3));
        let table = self.lua.create_table_with_capacity(0, 2)?;
        table.raw_set("format", self.lua.create_string(format)?)?;
        table.raw_set("string", self.lua.create_string(text.get(1..).unwrap_or_default())?)?;
        table_of(self.lua, "verbatim_string", table)
    }
}

/// Names of fields that make a table a reply of some kind, made once for a state.
pub(super) struct Names {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    map: LuaString,
    set: LuaString,
    big_number: LuaString,
    verbatim_string: LuaString,
}

impl Names {
    pub fn new(lua: &Lua) -> mlua::Result<Names> {
        Ok(Names {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
            big_number: lua.create_string("big_number")?,
            verbatim_string: lua.create_string("verbatim_string")?,
        })
    }
}

/// Writes what a script has returned.
pub(super) struct Writer<'a, 'b> {
    pub reply: &'a mut Reply<'b>,
    pub names: &'a Names,
    pub work: Work,
    /// The version that the script has chosen for itself.
    pub speaks: Version,
}

impl Writer<'_, '_> {
    /// Writes a value that so many tables hold.
    pub fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        // Before anything else is written, as nothing that was left out leaves room.
        if self.reply.room() == 0 {
            return Err(mlua::Error::external(Error::ReplyTooLarge));
        }
        self.work.step(self.reply.mark())?;
        match value {
            Value::String(string) => self.reply.bulk(&string.as_bytes()),
            Value::Integer(number) => self.reply.int(*number),
            Value::Number(number) => self.reply.int(whole(*number)),
            Value::Boolean(yes) if self.speaks == Version::Resp3 => self.reply.boolean(*yes),
            Value::Boolean(true) => self.reply.int(1),
            Value::Table(_) if depth >= DEPTH_MAX => self.reply.raw_error("ERR reached lua stack limit"),
            Value::Table(table) => self.table(table, depth)?,
            _ => self.reply.null(),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        let names = self.names;
        if let Some(error) = text(table, &names.err)? {
            let error = error.strip_prefix(b"-").map(<[u8]>::to_vec).unwrap_or(error);
            self.line(b'-', error);
            return Ok(());
        }
        if let Some(status) = text(table, &names.ok)? {
            self.line(b'+', status);
            return Ok(());
        }
        match table.raw_get::<Value>(&names.double)? {
            Value::Integer(number) => {
                self.reply.double(number as f64);
                return Ok(());
            }
            Value::Number(number) => {
                self.reply.double(number);
                return Ok(());
            }
            _ => {}
        }
        if let Value::Table(pairs) = table.raw_get(&names.map)? {
            return self.map(&pairs, depth);
        }
        if let Value::Table(members) = table.raw_get(&names.set)? {
            let (mark, mut count) = (self.reply.mark(), 0);
            for pair in pairs(&members)? {
                self.value(&pair.0, depth + 1)?;
                count += 1;
            }
            self.reply.set_from(mark, count);
            return Ok(());
        }
        if let Some(number) = text(table, &names.big_number)? {
            self.reply.big_number(&String::from_utf8_lossy(&one_line(number)));
            return Ok(());
        }
        if let Value::Table(verbatim) = table.raw_get(&names.verbatim_string)?
            && let (Some(mut format), Some(text)) = (text(&verbatim, "format")?, text(&verbatim, "string")?)
        {
            write_verbatim(self.reply, &mut format, &text);
            return Ok(());
        }
        self.elements(table.sequence_values(), depth)
    }

    /// Writes the elements of a table up to the first that is nil, whatever else it holds.
    pub fn elements(&mut self, elements: impl Iterator<Item = mlua::Result<Value>>, depth: usize) -> mlua::Result<()> {
        let (mark, mut count) = (self.reply.mark(), 0);
        for value in elements {
            match value? {
                Value::Nil => break,
                value => self.value(&value, depth + 1)?,
            }
            count += 1;
        }
        self.reply.array_from(mark, count);
        self.work.moved(self.reply.mark() - mark)
    }

    fn map(&mut self, map: &Table, depth: usize) -> mlua::Result<()> {
        let (mark, mut count) = (self.reply.mark(), 0);
        for (key, value) in pairs(map)? {
            self.value(&key, depth + 1)?;
            self.value(&value, depth + 1)?;
            count += 1;
        }
        self.reply.map_from(mark, count);
        Ok(())
    }

    fn line(&mut self, mark: u8, text: Vec<u8>) {
        self.reply.raw(&[mark]);
        self.reply.raw(&one_line(text));
        self.reply.raw(b"\r\n");
    }
}

/// A float without its fraction, as the processor converts it: what does not fit is the least number.
fn whole(number: f64) -> i64 {
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    if fits { number as i64 } else { i64::MIN }
}

/// A field that is text.
fn text(table: &Table, name: impl mlua::IntoLua) -> mlua::Result<Option<Vec<u8>>> {
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
