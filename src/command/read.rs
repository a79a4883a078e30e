//! How commands look at keys: what a read counts, and whether it keeps the key from being evicted.

use super::Ctx;
use crate::clock::Millis;
use crate::store::{Slot, Store, Value};

/// Reads of one client at one instant. It is a copy and borrows no [`Ctx`], so that a closure can write the reply.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    store: &'a Store,
    now: Millis,
    /// CLIENT NO-TOUCH: reads are counted, but leave no trace in the key.
    no_touch: bool,
}

impl<'a> Ctx<'a> {
    /// Reads in the client's database.
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader { store: self.store(), now: self.now, no_touch: self.client.no_touch }
    }
}

impl Reader<'_> {
    /// Shows a value to a command that reads it.
    pub fn get<R>(self, key: &[u8], f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        if self.no_touch { self.store.glance(key, self.now, f) } else { self.store.get(key, self.now, f) }
    }

    /// Shows a value to a command that only asks about the key.
    pub fn glance<R>(self, key: &[u8], f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.store.glance(key, self.now, f)
    }

    /// Notes in an open slot that its value is read.
    pub fn note(self, slot: &mut Slot<'_>) {
        if self.no_touch {
            slot.touch(|access| access);
        } else {
            self.store.touch(slot);
        }
    }
}
