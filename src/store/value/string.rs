//! Strings, changed in place.

use super::super::Slot;
use crate::clock::Millis;
use crate::error::{Error, Result};

/// The longest string in bytes: Redis' `proto-max-bulk-len` default, above which replies could not be sent either.
///
/// ```
/// use cloakroom::{Error, Store, store::STRING_MAX};
///
/// let store = Store::new();
/// let grown = store.with(b"coat", store.clock().now(), |slot| slot.write_at(STRING_MAX, b"!"));
/// assert_eq!(grown, Err(Error::TooLong));
/// ```
pub const STRING_MAX: usize = 512 << 20;

impl Slot<'_> {
    /// The string here, if there is one; [`Error::WrongType`] if it is something else.
    ///
    /// ```
    /// # use cloakroom::{Store, clock::Ttl};
    /// # let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// let len = store.with(b"coat", store.clock().now(), |slot| slot.string().map(|bytes| bytes.map(<[u8]>::len)));
    /// assert_eq!(len, Ok(Some(4)));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn string(&self) -> Result<Option<&[u8]>> {
        self.value().map(|value| value.string()).transpose()
    }

    /// Writes a string that keeps the deadline there is; what was changed this way counts as freshly set.
    ///
    /// ```
    /// # use cloakroom::{Store, clock::Ttl};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// let before = store.with(b"coat", now, |slot| slot.deadline());
    /// store.with(b"coat", now, |slot| slot.set_string(b"red"))?;
    /// assert_eq!(store.with(b"coat", now, |slot| slot.deadline()), before);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn set_string(&mut self, bytes: &[u8]) -> Result<()> {
        self.string()?;
        let deadline = self.deadline().unwrap_or(Millis::NEVER);
        self.put_bytes(bytes, deadline)
    }

    /// Appends to the string, creating it when there is none. Tells the new length in bytes.
    ///
    /// ```
    /// # use cloakroom::Store;
    /// # let store = Store::new();
    /// let append = |bytes: &[u8]| store.with(b"log", store.clock().now(), |slot| slot.append(bytes));
    /// assert_eq!((append(b"blue"), append(b" coat")), (Ok(4), Ok(9)));
    /// ```
    pub fn append(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(old) = self.string()?.map(<[u8]>::len) else {
            self.put_bytes(bytes, Millis::NEVER)?;
            return Ok(bytes.len());
        };
        self.write_at(old, bytes)
    }

    /// Overwrites from `offset` on, filling a gap with zeros. Tells the new length in bytes.
    ///
    /// ```
    /// # use cloakroom::Store;
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// assert_eq!(store.with(b"coat", now, |slot| slot.write_at(2, b"blue")), Ok(6));
    /// assert_eq!(store.fetch(b"coat").as_deref(), Some(&b"\0\0blue"[..]));
    /// ```
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
