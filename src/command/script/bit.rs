//! The library `bit`: operations on 32 bits.

use mlua::{Lua, Table, Value};

use super::args::{Arguments, Outcome, answer};

/// What a function does with its arguments.
type Operation = fn(&Arguments) -> Outcome<i32>;

const OPERATIONS: &[(&str, Operation)] = &[
    ("tobit", |args| bits(args, 1)),
    ("bnot", |args| Ok(!bits(args, 1)?)),
    ("bswap", |args| Ok(bits(args, 1)?.swap_bytes())),
    ("band", |args| fold(args, |one, other| one & other)),
    ("bor", |args| fold(args, |one, other| one | other)),
    ("bxor", |args| fold(args, |one, other| one ^ other)),
    ("lshift", |args| Ok(bits(args, 1)?.wrapping_shl(count(args)?))),
    ("rshift", |args| Ok((bits(args, 1)? as u32).wrapping_shr(count(args)?) as i32)),
    ("arshift", |args| Ok(bits(args, 1)?.wrapping_shr(count(args)?))),
    ("rol", |args| Ok(bits(args, 1)?.rotate_left(count(args)? & 31))),
    ("ror", |args| Ok(bits(args, 1)?.rotate_right(count(args)? & 31))),
];

/// The library's functions.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, operation) in OPERATIONS {
        let function = lua.create_function(move |lua, values| {
            let number = operation(&Arguments::new(name, values));
            answer(number.map(|number| vec![Value::Number(f64::from(number))]), lua)
        })?;
        table.raw_set(*name, function)?;
    }
    let to_hex = lua.create_function(|lua, values| {
        let text = hex(&Arguments::new("tohex", values));
        let text = match text {
            Ok(text) => Ok(vec![Value::String(lua.create_string(text)?)]),
            Err(message) => Err(message),
        };
        answer(text, lua)
    })?;
    table.raw_set("tohex", to_hex)?;
    Ok(table)
}

/// The low 32 bits of a number, which is rounded to the nearest whole one, to the even one of two.
fn bits(args: &Arguments, at: usize) -> Outcome<i32> {
    let number = args.number(at)?.round_ties_even();
    if !number.is_finite() {
        return Ok(0);
    }
    const RANGE: f64 = 4_294_967_296.0;
    Ok(number.rem_euclid(RANGE) as u32 as i32)
}

fn count(args: &Arguments) -> Outcome<u32> {
    Ok(bits(args, 2)? as u32 & 31)
}

fn fold(args: &Arguments, operation: fn(i32, i32) -> i32) -> Outcome<i32> {
    (2..=args.len()).try_fold(bits(args, 1)?, |sum, at| Ok(operation(sum, bits(args, at)?)))
}

/// So many hexadecimal digits; capitals if the count is negative.
fn hex(args: &Arguments) -> Outcome<String> {
    let number = bits(args, 1)?;
    let count = if args.len() > 1 { bits(args, 2)? } else { 8 };
    let digits = count.unsigned_abs().min(8) as usize;
    let text = if count < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    Ok(text[8 - digits..].to_owned())
}
