//! What the value of an entry means, one file per type.
//!
//! A type is a [`Type`], the methods of [`Slot`](super::Slot) that change it in place and what [`Value`] shows of it.
//! Strings lie in the entry's own bytes; types that hold more than bytes will hang off it.

mod string;

pub use string::STRING_MAX;

use super::entry::{Entry, Kind};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::num;

/// The types that commands tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A string of bytes.
    String,
}

impl Type {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
        }
    }
}

/// A live value, for as long as a closure runs.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    entry: Entry<'a>,
}

/// Up to this many bytes Redis keeps a string beside its object header, and says `embstr`.
const EMBEDDED_MAX: usize = 44;

impl<'a> Value<'a> {
    /// Shows an entry that commands may see.
    pub(super) fn of(entry: Entry<'a>) -> Value<'a> {
        debug_assert_eq!(entry.kind(), Kind::String);
        Value { entry }
    }

    /// Its type.
    pub fn kind(self) -> Type {
        Type::String
    }

    /// The bytes, if it is a string.
    pub fn string(self) -> Result<&'a [u8]> {
        match self.kind() {
            Type::String => Ok(self.entry.value()),
        }
    }

    /// Its key as stored; under a secret namespace that is the hashed name.
    pub fn name(self) -> &'a [u8] {
        self.entry.key()
    }

    /// When it dies; [`Millis::NEVER`] if it does not.
    pub fn deadline(self) -> Millis {
        self.entry.deadline()
    }

    /// The encoding that OBJECT ENCODING answers, by Redis' thresholds.
    pub fn encoding(self) -> &'static str {
        let bytes = self.entry.value();
        if self.entry.grown() {
            "raw"
        } else if num::parse_i64(bytes).is_some() {
            "int"
        } else if bytes.len() <= EMBEDDED_MAX {
            "embstr"
        } else {
            "raw"
        }
    }

    /// Bytes that it takes, key and all.
    pub fn size(self) -> usize {
        self.entry.size()
    }

    /// The 24-bit access clock, see [`super::Access`].
    pub fn access(self) -> u32 {
        self.entry.access()
    }
}

/// The error for a value of another type than the command works on.
pub fn wrong_type<T>() -> Result<T> {
    Err(Error::WrongType)
}
