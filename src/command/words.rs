//! Reading the words of a request: numbers, options, texts.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::num;
use crate::resp::Args;

/// What handlers ask of their arguments; a word that does not fit is Redis' error.
pub trait Words<'a> {
    /// The word at a position that the arity promises.
    fn word(&self, index: usize) -> &'a [u8];
    /// The word as a 64-bit integer.
    fn int(&self, index: usize) -> Result<i64>;
    /// The word as an integer, or this error.
    fn int_or(&self, index: usize, error: Error) -> Result<i64>;
    /// The word as a float.
    fn float(&self, index: usize) -> Result<f64>;
    /// Whether the word is this option, in any case.
    fn is(&self, index: usize, option: &str) -> bool;
}

impl<'a> Words<'a> for Args<'a> {
    fn word(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    fn int(&self, index: usize) -> Result<i64> {
        // Not by way of `ok_or`: an error that is made and dropped again for each number costs more than the number.
        match num::parse_i64(self.word(index)) {
            Some(number) => Ok(number),
            None => Err(Error::NotInteger),
        }
    }

    fn int_or(&self, index: usize, error: Error) -> Result<i64> {
        num::parse_i64(self.word(index)).ok_or(error)
    }

    fn float(&self, index: usize) -> Result<f64> {
        num::parse_f64(self.word(index)).ok_or(Error::NotFloat)
    }

    fn is(&self, index: usize, option: &str) -> bool {
        self.get(index).is_some_and(|word| word.eq_ignore_ascii_case(option.as_bytes()))
    }
}

/// Writes bytes the way Redis quotes them for people: printable ones as they are, the rest escaped.
pub fn quote_into(bytes: &[u8], out: &mut String) {
    out.push('"');
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_redis_does() {
        let mut out = String::new();
        quote_into(b"a\"b\\c\r\n\t\x07\x08\x00\xff~ ", &mut out);
        assert_eq!(out, r#""a\"b\\c\r\n\t\a\b\x00\xff~ ""#);
    }
}
