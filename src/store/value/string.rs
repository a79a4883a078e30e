//! Strings, changed in place.

use super::super::Slot;
use crate::clock::Millis;
use crate::error::{Error, Result};

/// The longest string: Redis' `proto-max-bulk-len` default, above which replies could not be sent either.
pub const STRING_MAX: usize = 512 << 20;

impl Slot<'_> {
    /// The string here, if there is one.
    pub fn string(&self) -> Result<Option<&[u8]>> {
        self.value().map(|value| value.string()).transpose()
    }

    /// Writes a string that keeps the deadline there is; what was changed this way counts as freshly set.
    pub fn set_string(&mut self, bytes: &[u8]) -> Result<()> {
        self.string()?;
        let deadline = self.deadline().unwrap_or(Millis::NEVER);
        self.put_bytes(bytes, deadline)
    }

    /// Appends to the string, creating it when there is none. Tells the new length.
    pub fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(old) = self.string()?.map(<[u8]>::len) else {
            self.put_bytes(bytes, Millis::NEVER)?;
            return Ok(bytes.len());
        };
        self.write_at(old, bytes)
    }

    /// Overwrites from `offset` on, filling a gap with zeros. Tells the new length.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> Result<usize> {
        let old = self.string()?.map(<[u8]>::len);
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= STRING_MAX).ok_or(Error::TooLong)?;
        if old.is_none() {
            self.put_bytes(b"", Millis::NEVER)?;
        }
        let len = end.max(old.unwrap_or(0));
        self.resize(len);
        self.bytes_mut()[offset..end].copy_from_slice(bytes);
        Ok(len)
    }
}
