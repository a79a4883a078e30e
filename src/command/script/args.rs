//! Arguments of library functions, with the messages that Lua has for those that do not fit.

use std::fmt;

use mlua::{Lua, LuaString, MultiValue, Value};

use crate::num;

/// A mistake in the arguments, in words for the script.
pub(super) type Outcome<T> = Result<T, String>;

/// What a function gives to the script. What is wrong is an error there, with the place of the call.
pub(super) fn answer(outcome: Outcome<Vec<Value>>, lua: &Lua) -> mlua::Result<MultiValue> {
    match outcome {
        Ok(values) => Ok(values.into_iter().collect()),
        Err(message) => Err(raise(place_of_call(lua) + &message)),
    }
}

/// An error that a script sees as Lua's own text, or as Redis' table.
#[derive(Debug)]
pub(super) struct Raised {
    pub text: Vec<u8>,
    /// It is one of Redis' tables.
    pub is_reply: bool,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::error::Error for Raised {}

/// An error that is a text in the script.
fn raise(text: String) -> mlua::Error {
    mlua::Error::external(Raised { text: text.into_bytes(), is_reply: false })
}

/// An error that is a table with this reply.
pub(super) fn raise_reply(text: impl Into<Vec<u8>>) -> mlua::Error {
    mlua::Error::external(Raised { text: text.into(), is_reply: true })
}

/// What an error that came from Rust is to a script.
pub(super) fn raised(error: &mlua::Error) -> Raised {
    match error.downcast_ref::<Raised>() {
        Some(raised) => Raised { text: raised.text.clone(), is_reply: raised.is_reply },
        None => {
            let text = match error {
                mlua::Error::CallbackError { cause, .. } => cause.to_string(),
                other => other.to_string(),
            };
            // What follows is where in the code of Lua and Rust it happened.
            let text = text.lines().next().unwrap_or_default();
            Raised { text: text.as_bytes().to_vec(), is_reply: false }
        }
    }
}

/// `user_script:7: ` for whoever called the function that runs.
fn place_of_call(lua: &Lua) -> String {
    let place = lua.inspect_stack(1, |frame| {
        let (source, line) = (frame.source().short_src?.into_owned(), frame.current_line()?);
        Some(format!("{source}:{line}: "))
    });
    place.flatten().unwrap_or_default()
}

/// The arguments of one call of a function.
pub(super) struct Arguments {
    pub name: &'static str,
    pub values: Vec<Value>,
}

impl Arguments {
    pub fn new(name: &'static str, values: MultiValue) -> Arguments {
        Arguments { name, values: values.into_iter().collect() }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Lua's message about an argument, which counts from 1.
    pub fn bad(&self, at: usize, why: &str) -> String {
        format!("bad argument #{at} to '{}' ({why})", self.name)
    }

    fn mismatch(&self, at: usize, expected: &str) -> String {
        let got = self.values.get(at - 1).map_or("no value", kind);
        self.bad(at, &format!("{expected} expected, got {got}"))
    }

    /// A number, or text that reads as one.
    pub fn number(&self, at: usize) -> Outcome<f64> {
        self.values.get(at - 1).and_then(as_number).ok_or_else(|| self.mismatch(at, "number"))
    }

    /// A number, or what stands for one that is not given.
    pub fn number_or(&self, at: usize, default: f64) -> Outcome<f64> {
        match self.values.get(at - 1) {
            None | Some(Value::Nil) => Ok(default),
            Some(_) => self.number(at),
        }
    }

    /// Text, or a number as text.
    pub fn bytes(&self, at: usize) -> Outcome<Vec<u8>> {
        match self.values.get(at - 1) {
            Some(Value::String(string)) => Ok(string.as_bytes().to_vec()),
            Some(Value::Integer(number)) => Ok(number.to_string().into_bytes()),
            Some(Value::Number(number)) => Ok(num::Double(*number).to_string().into_bytes()),
            _ => Err(self.mismatch(at, "string")),
        }
    }
}

/// A value as a number, as Lua converts it.
fn as_number(value: &Value) -> Option<f64> {
    let of_text = |text: &LuaString| num::parse_f64(text.as_bytes().trim_ascii());
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => of_text(text),
        _ => None,
    }
}

/// A value that is a number, and no text that reads as one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// The type of a value in the words of Lua.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}
