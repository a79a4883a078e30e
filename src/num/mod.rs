//! Numbers exactly as Redis reads and writes them.
//!
//! Redis is strict about integers: no sign `+`, no blanks, no leading zeros.

use std::fmt::{self, Write};

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
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
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
