//! A store is emptied: at once to the eyes of all, whatever it holds.
//!
//! What commands see goes; aliases and fences stay, as a flush signs nobody in again. Each shard gets new tables, into which
//! they are put, and what it held before is freed a little at a time. That looks at nothing else, so that millions of
//! entries go in the time for a few. Where sign-outs have left very many, they are copied some at a time before, while
//! others work on; what has changed meanwhile is copied again.

use std::sync::Arc;

use super::shard::Stage;
use super::{Store, kept};

/// Copies that one call of [`Clearing::prepare`] makes, and shards that it looks at: some 50 µs.
const COPIES: usize = 48;

/// Copies that are left to [`Clearing::finish`].
const LAST_COPIES: usize = 512;

/// Copies that are made in all of each that is to stay, before whoever changes them faster than that has to wait.
const COPIES_EACH: usize = 8;

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

/// A store that is about to be emptied. Until it is, nothing is different.
pub struct Clearing {
    store: Store,
    /// One for each shard.
    stages: Vec<Stage>,
    /// The shard that is copied next.
    at: usize,
    /// Copies and looks at shards that may yet be made.
    left: usize,
}

impl Clearing {
    /// Begins with a store.
    pub fn new(store: &Store) -> Clearing {
        let stages: Vec<Stage> = store.cells().iter().map(|cell| cell.shard.lock().stage()).collect();
        let left = COPIES_EACH * (store.hidden() + stages.len());
        Clearing { store: store.clone(), stages, at: 0, left }
    }

    /// Copies some of what is to stay; `false` when there is nothing more to be gained by that.
    pub fn prepare(&mut self) -> bool {
        let mut left = COPIES.min(self.left);
        self.left -= left;
        while let Some((stage, cell)) = self.stages.get_mut(self.at).zip(self.store.cells().get(self.at)) {
            if left == 0 {
                return self.left > 0;
            }
            let shard = cell.shard.lock();
            left = left.saturating_sub(1 + shard.copy_hidden(stage, left));
            self.at += usize::from(shard.is_staged(stage));
        }
        self.at = 0;
        let unstaged = |(cell, stage): (&super::Cell, &Stage)| cell.shard.lock().unstaged(stage);
        let last: usize = self.store.cells().iter().zip(&self.stages).map(unstaged).sum();
        last > LAST_COPIES && self.left > 0
    }

    /// Removes everything that commands can see, one shard after the other. It is freed by [`Store::sweep`] and
    /// `Store::free_some`.
    pub fn finish(self, lot: &Lot) {
        for (number, stage) in self.stages.into_iter().enumerate() {
            self.store.clear_shard(number, stage, lot);
        }
    }
}

impl Store {
    /// Removes everything that commands can see, one shard after the other; sign-outs stay. What it held is freed by
    /// [`Store::sweep`], little by little.
    ///
    /// ```
    /// use cloakroom::{Error, Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// store.remove(b"auth:session:a-token");
    /// store.clear();
    /// assert!(store.is_empty());
    /// assert_eq!(store.put(b"auth:session:a-token", b"{}", Ttl::seconds(5)), Err(Error::Fenced));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn clear(&self) {
        self.clear_for(&Lot::default());
    }

    /// The same, for a flush that wants to know when it is freed.
    #[cfg_attr(doc, doc(hidden))]
    pub fn clear_for(&self, lot: &Lot) {
        Clearing::new(self).finish(lot);
    }

    fn clear_shard(&self, number: usize, stage: Stage, lot: &Lot) {
        let debris = self.hold(self.cell(number)).clear(stage, |name| kept(self.hash(name)));
        if debris.size() > 0 {
            self.inner.common.bin.put_debris(debris, lot);
        }
    }
}
