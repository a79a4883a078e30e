//! The library `struct`: numbers and texts in rows of bytes, as C would lay them out.

use mlua::{Lua, Table, Value};

use super::args::{Arguments, Outcome, answer};
use super::bounds::Bounds;

/// Bytes that one integer may have.
const INTEGER_MAX: usize = 32;

/// The alignment of `!` without a number.
const NATIVE_ALIGNMENT: usize = 8;

/// The library's functions.
pub(super) fn library(lua: &Lua, bounds: &Bounds) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let bounds = bounds.clone();
    table.raw_set(
        "pack",
        lua.create_function(move |lua, values| {
            let packed = pack(&Arguments::new("pack", values), &bounds)?;
            let packed = match packed {
                Ok(bytes) => Ok(vec![Value::String(lua.create_string(bytes)?)]),
                Err(message) => Err(message),
            };
            answer(packed, lua)
        })?,
    )?;
    table.raw_set(
        "unpack",
        lua.create_function(|lua, values| {
            let args = Arguments::new("unpack", values);
            let outcome = match Unpacker::new(&args) {
                Ok(unpacker) => unpacker.run(lua)?,
                Err(message) => Err(message),
            };
            answer(outcome, lua)
        })?,
    )?;
    table.raw_set(
        "size",
        lua.create_function(|lua, values| {
            let size = size(&Arguments::new("size", values));
            answer(size.map(|size| vec![Value::Number(size as f64)]), lua)
        })?,
    )?;
    Ok(table)
}

/// A format, letter by letter.
struct Format<'a> {
    args: &'a Arguments,
    text: Vec<u8>,
    at: usize,
    is_little: bool,
    alignment: usize,
}

/// One value of a format.
struct Field {
    letter: u8,
    size: usize,
    /// Bytes before it.
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(args: &'a Arguments) -> Outcome<Format<'a>> {
        let is_little = cfg!(target_endian = "little");
        Ok(Format { args, text: args.bytes(1)?, at: 0, is_little, alignment: 1 })
    }

    /// The number at this place, if there is one.
    fn number(&mut self, default: usize) -> Outcome<usize> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        let number =
            text.iter().try_fold(0_i32, |sum, digit| sum.checked_mul(10)?.checked_add(i32::from(digit - b'0')));
        number.map(|number| number as usize).ok_or_else(|| "integral size overflow".to_owned())
    }

    /// The next value of the format, for a row that is so long.
    fn next(&mut self, length: usize) -> Outcome<Option<Field>> {
        while let Some(&letter) = self.text.get(self.at) {
            self.at += 1;
            let size = match letter {
                b' ' => continue,
                b'>' => {
                    self.is_little = false;
                    continue;
                }
                b'<' => {
                    self.is_little = true;
                    continue;
                }
                b'!' => {
                    let alignment = self.number(NATIVE_ALIGNMENT)?;
                    if !alignment.is_power_of_two() {
                        return Err(format!("alignment {alignment} is not a power of 2"));
                    }
                    self.alignment = alignment;
                    continue;
                }
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b's' => 0,
                b'c' => self.number(1)?,
                b'i' | b'I' => {
                    let size = self.number(4)?;
                    if size > INTEGER_MAX {
                        return Err(format!("integral size {size} is larger than limit of {INTEGER_MAX}"));
                    }
                    size
                }
                _ => {
                    let why = format!("invalid format option '{}'", char::from(letter));
                    return Err(self.args.bad(1, &why));
                }
            };
            let padding = match (letter, size.min(self.alignment)) {
                (b'c', _) | (_, 0 | 1) => 0,
                (_, step) => (step - length % step) % step,
            };
            return Ok(Some(Field { letter, size, padding }));
        }
        Ok(None)
    }
}

/// Packs values, of which many may be the same text.
fn pack(args: &Arguments, bounds: &Bounds) -> mlua::Result<Outcome<Vec<u8>>> {
    let (mut work, mut noted) = (bounds.work(), Ok(()));
    let packed = rows(args, |bytes| {
        noted = work.step_within(bytes);
        noted.is_ok()
    });
    noted.map(|()| packed)
}

/// The rows, unless who is told how many bytes there are wants no more.
fn rows(args: &Arguments, mut wants_more: impl FnMut(usize) -> bool) -> Outcome<Vec<u8>> {
    let mut format = Format::new(args)?;
    let (mut out, mut at) = (Vec::new(), 2);
    while let Some(Field { letter, size, padding }) = format.next(out.len())? {
        if !wants_more(out.len()) {
            break;
        }
        out.resize(out.len() + padding, 0);
        match letter {
            b'x' => {
                out.push(0);
                continue;
            }
            b's' | b'c' => {
                let text = args.bytes(at)?;
                let size = if size == 0 { text.len() } else { size };
                let Some(text) = text.get(..size) else { return Err(args.bad(at, "string too short")) };
                out.extend_from_slice(text);
                if letter == b's' {
                    out.push(0);
                }
            }
            b'f' => put(&mut out, (args.number(at)? as f32).to_le_bytes(), format.is_little),
            b'd' => put(&mut out, args.number(at)?.to_le_bytes(), format.is_little),
            _ => {
                let number = args.number(at)?;
                let bits = if number < 0.0 { number as i64 as u64 } else { number as u64 };
                let bytes = bits.to_le_bytes().into_iter().chain(std::iter::repeat(0)).take(size);
                let start = out.len();
                out.extend(bytes);
                if !format.is_little {
                    out[start..].reverse();
                }
            }
        }
        at += 1;
    }
    Ok(out)
}

fn put<const SIZE: usize>(out: &mut Vec<u8>, mut bytes: [u8; SIZE], is_little: bool) {
    if !is_little {
        bytes.reverse();
    }
    out.extend_from_slice(&bytes);
}

fn size(args: &Arguments) -> Outcome<usize> {
    let mut format = Format::new(args)?;
    let mut length = 0_usize;
    while let Some(field) = format.next(length)? {
        match (field.letter, field.size) {
            (b's', _) => return Err(args.bad(1, "option 's' has no fixed size")),
            (b'c', 0) => return Err(args.bad(1, "option 'c0' has no fixed size")),
            _ => length = length.saturating_add(field.padding).saturating_add(field.size),
        }
    }
    Ok(length)
}

struct Unpacker<'a> {
    args: &'a Arguments,
    format: Format<'a>,
    data: Vec<u8>,
    at: usize,
}

impl<'a> Unpacker<'a> {
    fn new(args: &'a Arguments) -> Outcome<Unpacker<'a>> {
        let (format, data) = (Format::new(args)?, args.bytes(2)?);
        let start = args.number_or(3, 1.0)?;
        if start < 1.0 {
            return Err(args.bad(3, "offset must be 1 or greater"));
        }
        Ok(Unpacker { args, format, data, at: start as usize - 1 })
    }

    /// The next so many bytes.
    fn take(&mut self, size: usize) -> Outcome<&[u8]> {
        let end = self.at.saturating_add(size);
        let Some(bytes) = self.data.get(self.at..end) else { return Err(self.args.bad(2, "data string too short")) };
        self.at = end;
        Ok(bytes)
    }

    fn run(mut self, lua: &Lua) -> mlua::Result<Outcome<Vec<Value>>> {
        /// Values that a function may return at once.
        const VALUES_MAX: usize = 7000;
        let mut values = Vec::new();
        loop {
            if values.len() > VALUES_MAX {
                return Ok(Err("stack overflow (too many results)".to_owned()));
            }
            match self.step(&mut values, lua)? {
                Ok(true) => {}
                Ok(false) => break,
                Err(message) => return Ok(Err(message)),
            }
        }
        values.push(Value::Number((self.at + 1) as f64));
        Ok(Ok(values))
    }

    /// Reads one value; `false` at the end of the format.
    fn step(&mut self, values: &mut Vec<Value>, lua: &Lua) -> mlua::Result<Outcome<bool>> {
        let next = self.format.next(self.at).and_then(|field| match field {
            Some(field) => self.take(field.padding).map(|_| Some(field)),
            None => Ok(None),
        });
        let field = match next {
            Ok(Some(field)) => field,
            Ok(None) => return Ok(Ok(false)),
            Err(message) => return Ok(Err(message)),
        };
        let text = match field.letter {
            b's' => self.text(),
            b'c' => self.characters(field.size, values),
            _ => match self.number(&field) {
                Ok(number) => {
                    values.extend(number.map(Value::Number));
                    return Ok(Ok(true));
                }
                Err(message) => Err(message),
            },
        };
        match text {
            Ok(text) => {
                values.push(Value::String(lua.create_string(text)?));
                Ok(Ok(true))
            }
            Err(message) => Ok(Err(message)),
        }
    }

    fn text(&mut self) -> Outcome<Vec<u8>> {
        self.take(0)?;
        let rest = &self.data[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == 0) else {
            return Err("unfinished string in data".into());
        };
        let text = rest[..length].to_vec();
        self.at += length + 1;
        Ok(text)
    }

    /// So many bytes, or as many as the value before says, which is taken back.
    fn characters(&mut self, size: usize, values: &mut Vec<Value>) -> Outcome<Vec<u8>> {
        let size = match size {
            0 => match values.pop() {
                Some(Value::Number(size)) if size >= 0.0 => size as usize,
                _ => return Err("format 'c0' needs a previous size".into()),
            },
            size => size,
        };
        self.take(size).map(<[u8]>::to_vec)
    }

    /// A number, or nothing for a byte that is only there to fill.
    fn number(&mut self, field: &Field) -> Outcome<Option<f64>> {
        let is_little = self.format.is_little;
        let mut bytes = self.take(field.size)?.to_vec();
        if is_little {
            bytes.reverse();
        }
        let bits = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(Some(match field.letter {
            b'x' => return Ok(None),
            b'f' => f64::from(f32::from_bits(bits as u32)),
            b'd' => f64::from_bits(bits),
            b'b' | b'h' | b'i' | b'l' => {
                let unused = 64 - 8 * field.size.min(8) as u32;
                ((bits.unbounded_shl(unused) as i64) >> unused.min(63)) as f64
            }
            _ => bits as f64,
        }))
    }
}
