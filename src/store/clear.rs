//! A store is emptied: at once, or a piece at a time where there is much that must stay.
//!
//! What commands see goes; aliases and fences stay, as a flush signs nobody in again. A shard that has few of them gets new
//! tables, into which they are put, and what it held before is freed a little at a time. That looks at nothing else, so
//! that millions of entries go in the time for a few. Where sign-outs have left very many, a shard's entries are
//! taken out one by one instead, some at a time.

use std::sync::Arc;

use super::shard::Trash;
use super::{Cursor, SHARDS, Store, kept};

/// Entries and copies that one call of [`Store::clear_some`] looks at or makes: some 200 µs.
const LOOKS: usize = 512;

/// Looks that it costs to give a shard new tables.
const NEW_TABLES: usize = 8;

/// The most hidden entries of a shard that are copied under its lock, in less than a millisecond.
const COPIED_MAX: usize = 1024;

/// All that a flush takes out, to be freed little by little: what waits for it holds a clone.
#[derive(Clone, Default)]
pub struct Lot {
    waits: Arc<()>,
    is_lazy: bool,
}

impl Lot {
    /// One whose entries are to be counted in [`Store::lazily_freed`].
    pub fn lazy() -> Lot {
        Lot { is_lazy: true, ..Lot::default() }
    }

    /// Whether it is to be counted so.
    pub(super) fn is_lazy(&self) -> bool {
        self.is_lazy
    }

    /// Whether all of it has been freed. Nothing may be taken out for it meanwhile.
    pub fn is_freed(&self) -> bool {
        Arc::strong_count(&self.waits) == 1
    }
}

impl Store {
    /// Removes everything that commands can see, one shard after the other. It is freed by [`Store::sweep`] and
    /// [`Store::free_some`].
    pub fn clear(&self) {
        self.clear_for(&Lot::default());
    }

    /// The same, for a flush that wants to know when it is freed.
    pub fn clear_for(&self, lot: &Lot) {
        for number in 0..self.cells().len() {
            self.clear_shard(number, lot);
        }
    }

    /// Removes a part of it, in less than a millisecond, and tells where to go on. What is written meanwhile may go or stay.
    pub fn clear_some(&self, cursor: Cursor, lot: &Lot) -> Cursor {
        let (mut first, mut left) = (cursor.hash(), LOOKS);
        for number in cursor.shard()..self.cells().len() {
            let mut trash = Trash::default();
            let mut held = self.hold(self.cell(number));
            let hidden = held.hidden();
            let cost = if first > 0 || hidden > COPIED_MAX {
                let next = held.clear_some(first, left, &mut trash);
                drop(held);
                if let Some(next) = next {
                    return Cursor::new(number, next);
                }
                first = 0;
                LOOKS
            } else if hidden > left && left < LOOKS {
                return Cursor::new(number, 0);
            } else {
                drop(held);
                self.clear_shard(number, lot);
                hidden + NEW_TABLES
            };
            left = left.saturating_sub(cost);
            if left == 0 && number + 1 < SHARDS {
                return Cursor::new(number + 1, 0);
            }
        }
        Cursor::START
    }

    fn clear_shard(&self, number: usize, lot: &Lot) {
        let debris = self.hold(self.cell(number)).clear(|name| kept(self.hash(name)));
        if debris.size() > 0 {
            self.inner.common.bin.put_debris(debris, lot);
        }
    }
}
