//! Numbers exactly as Redis reads and writes them.
//!
//! Redis is strict about integers (no `+`, no blanks, no leading zeros), takes what C's `strtod` takes for floats, and
//! adds floats in x86's 80-bit format ([`LongDouble`]). Nothing here allocates but what returns texts or bytes, and
//! the long doubles.

mod long;
mod scan;

use std::fmt::{self, Write};

pub use long::LongDouble;
use scan::{Number, scan};

/// A signed integer, written the one way Redis would write it.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        // Nineteen digits cannot overflow 64 bits.
        magnitude = magnitude * 10 + u64::from(byte - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Bytes in hexadecimal digits, small letters, as Redis writes hashes.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes that hexadecimal digits stand for, in letters of any size; `None` if they are anything else.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// An unsigned integer as Redis reads the parts of stream IDs: blanks before it, a `+` and leading zeros are let pass.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let text = behind_blanks(text);
    digits(text.strip_prefix(b"+").unwrap_or(text))
}

/// The number at the start of a text as C's `atoi` reads it on Linux: blanks, a sign, digits, and whatever follows; of what does
/// not fit into eight bytes the nearest that does, and of the eight the lower four. 0 without a number. Redis reads so
/// how many keys a request has.
pub fn leading_i32(text: &[u8]) -> i32 {
    let (sign, digits) = match behind_blanks(text) {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(sign * i64::from(digit - b'0'))) as i32
}

/// What is behind the blanks of C's `isspace`.
fn behind_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    &text[blanks..]
}

/// A size in bytes, as the configuration has it: `1gb` and so on are powers of 1024, `1g` of 1000, in any case.
///
/// Redis takes a unit without a number for zero and lets a size past 2^64 wrap; neither is what anybody means, so both
/// are refused.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let split = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    digits(number)?.checked_mul(unit)
}

/// Decimal digits and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// A float as Redis reads scores and timeouts: all that C's `strtod` takes without blanks around it, hexadecimal and
/// infinities included. `None` for NaN and for what is too large, or too small to be anything but zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, number) = scan(text)?;
    let magnitude = match number {
        Number::Infinity => f64::INFINITY,
        Number::Decimal { whole, fraction, .. } => {
            let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            let is_zero = whole.iter().chain(fraction).all(|&digit| digit == b'0');
            (number.is_finite() && (number != 0.0 || is_zero)).then_some(number.abs())?
        }
        Number::Binary(bits) => {
            let (mantissa, exponent) = bits.round(f64::MANTISSA_DIGITS, -1074);
            if exponent > 971 || (mantissa == 0 && !bits.is_zero()) {
                return None;
            }
            // A normal number hides its highest bit behind the exponent; a smaller one has the exponent zero.
            let normal = mantissa >> 52 == 1;
            let power = if normal { (exponent + 1075) as u64 } else { 0 };
            f64::from_bits(power << 52 | mantissa & ((1 << 52) - 1))
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// A float as Redis 7.0 writes it: C's `%.17g`, which reads back as the same number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Double(pub f64);

/// Digits that tell any two doubles apart.
const DOUBLE_DIGITS: i32 = 17;

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0;
        if !number.is_finite() {
            let sign = if number.is_sign_negative() { "-" } else { "" };
            let name = if number.is_nan() { "nan" } else { "inf" };
            return write!(f, "{sign}{name}");
        }
        // `-d.dddddddddddddddde-xxx`, rounded correctly; only the layout is C's.
        let mut scientific = Scientific::default();
        write!(scientific, "{:.16e}", number.abs())?;
        let (digits, exponent) = scientific.parts();
        if number.is_sign_negative() {
            f.write_char('-')?;
        }
        let significant = digits.trim_end_matches('0').len().max(1);
        match exponent {
            -4..0 => {
                let zeros = -exponent as usize;
                write!(f, "{:.1$}", "0.0000", zeros + 1)?;
                f.write_str(&digits[..significant])
            }
            0..DOUBLE_DIGITS => {
                let point = exponent as usize + 1;
                f.write_str(&digits[..point])?;
                if significant > point {
                    write!(f, ".{}", &digits[point..significant])?;
                }
                Ok(())
            }
            _ => {
                f.write_str(&digits[..1])?;
                if significant > 1 {
                    write!(f, ".{}", &digits[1..significant])?;
                }
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(f, "e{sign}{:02}", exponent.abs())
            }
        }
    }
}

/// Room on the stack for what `{:.16e}` writes: at most `d.dddddddddddddddde-xxx`; the point is dropped on the way in.
#[derive(Default)]
struct Scientific {
    bytes: [u8; 24],
    len: usize,
}

impl Scientific {
    /// The seventeen digits and the decimal exponent of the first.
    fn parts(&self) -> (&str, i32) {
        let text = std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default();
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        (digits, exponent.parse().unwrap_or_default())
    }
}

impl Write for Scientific {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes().filter(|&byte| byte != b'.') {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// A float as Redis 7.0 writes it; see [`Double`].
pub fn format_f64(number: f64) -> String {
    Double(number).to_string()
}

#[cfg(test)]
mod tests;
