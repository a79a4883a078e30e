//! How commands look at keys: what a read counts, and whether it keeps the key from being evicted.
//!
//! One key is looked at under its own lock. Several are opened under all their locks, so that what another client
//! writes at once is seen whole or not at all.

use super::Ctx;
use crate::clock::Millis;
use crate::resp::Args;
use crate::store::{Foreseen, Slot, Store, Value};

/// Reads of one client at one instant. It is a copy and borrows no [`Ctx`], so that a closure can write the reply.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    store: &'a Store,
    ahead: Option<&'a Foreseen<'a>>,
    now: Millis,
    /// CLIENT NO-TOUCH: reads are counted, but leave no trace in the key.
    no_touch: bool,
}

impl<'a> Ctx<'a> {
    /// Reads in the client's database.
    pub(super) fn reader(&self) -> Reader<'a> {
        Reader { store: self.store(), ahead: self.ahead, now: self.now, no_touch: self.client.no_touch }
    }

    /// Every `step`th word behind the command's name, as a key of the client's database.
    pub(super) fn keys<'k>(&self, args: Args<'k>, step: usize) -> Vec<(&'k Store, &'k [u8])>
    where
        'a: 'k,
    {
        args.iter().skip(1).step_by(step).map(|key| (self.store(), key)).collect()
    }

    /// Opens the keys of a command that is nothing but keys, and tells for how many of them `found` says yes. A key that
    /// is named twice is opened twice.
    pub(super) fn count_keys(&self, args: Args<'_>, mut found: impl FnMut(&mut Slot<'_>) -> bool) -> usize {
        let keys = self.keys(args, 1);
        Store::with_all(&keys, self.now, |slots| (0..keys.len()).filter(|at| found(&mut slots.at(*at))).count())
    }
}

impl<'a> Reader<'a> {
    /// The key as it was foreseen, if it was.
    pub fn foreseen(self, key: &[u8]) -> Option<&'a Foreseen<'a>> {
        self.ahead.filter(|ahead| ahead.is(self.store, key))
    }

    /// Shows a value to a command that reads it.
    pub fn get<R>(self, key: &[u8], f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        if self.no_touch {
            return self.glance(key, f);
        }
        match self.foreseen(key) {
            Some(ahead) => ahead.get(self.now, f),
            None => self.store.get(key, self.now, f),
        }
    }

    /// Shows a value to a command that only asks about the key.
    pub fn glance<R>(self, key: &[u8], f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        match self.foreseen(key) {
            Some(ahead) => ahead.glance(self.now, f),
            None => self.store.glance(key, self.now, f),
        }
    }

    /// Notes in an open slot that its value is read.
    pub fn note(self, slot: &mut Slot<'_>) {
        if self.no_touch {
            count(slot);
        } else {
            self.store.touch(slot);
        }
    }
}

/// Counts in an open slot that somebody asked about the key, as [`Reader::glance`] does, and tells whether it is there.
pub(super) fn count(slot: &mut Slot<'_>) -> bool {
    slot.touch(|access| access)
}
