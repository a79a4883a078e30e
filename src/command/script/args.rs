//! Arguments of library functions, with the messages that Lua has for those that do not fit.

use mlua::{LuaString, MultiValue, Value};

use crate::num;

/// A mistake in the arguments, in words for the script.
pub(super) type Outcome<T> = Result<T, String>;

/// What Rust gives to the script: whether it worked, and its values or what is wrong.
pub(super) fn answer(outcome: Outcome<Vec<Value>>, lua: &mlua::Lua) -> mlua::Result<MultiValue> {
    let mut values = MultiValue::new();
    match outcome {
        Ok(found) => {
            values.push_back(Value::Boolean(true));
            values.extend(found);
        }
        Err(message) => {
            values.push_back(Value::Boolean(false));
            values.push_back(Value::String(lua.create_string(message)?));
        }
    }
    Ok(values)
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
