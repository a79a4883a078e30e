//! What a store tells of itself: how much is in it, what became of it, and what it takes.

use std::sync::atomic::Ordering;

use super::{Stats, Store};

impl Store {
    /// Entries that commands can see, and how many of all entries have a deadline. What has died and is not yet
    /// reclaimed is counted, as Redis does.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{Millis, Ttl}};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// store.with(b"hat", store.clock().now(), |slot| slot.put_bytes(b"black", Millis::NEVER))?;
    /// assert_eq!(store.count(), (2, 1));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn count(&self) -> (usize, usize) {
        self.cells().iter().fold((0, 0), |(all, mortal), cell| {
            let shard = cell.shard.lock();
            (all + shard.visible(), mortal + shard.expiring())
        })
    }

    /// How many entries commands can see, those included that have died and are not yet reclaimed.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).build();
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// hands.advance(Ttl::seconds(5));
    /// assert_eq!((store.fetch(b"coat"), store.len()), (None, 1));
    /// store.sweep_now();
    /// assert_eq!(store.len(), 0);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.count().0
    }

    /// Whether there is none.
    ///
    /// ```
    /// # use cloakroom::Store;
    /// assert!(Store::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened since the counters were last reset.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// (store.fetch(b"coat"), store.fetch(b"coat"), store.fetch(b"hat"));
    /// assert_eq!((store.stats().hits, store.stats().misses), (2, 1));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        let mut sum = Stats { misses: self.inner.early_misses.load(Ordering::Relaxed), ..Stats::default() };
        for cell in self.cells() {
            sum += cell.shard.lock().stats();
        }
        sum
    }

    /// Changes that commands made to keys since the start, those that made nothing different left out.
    #[cfg_attr(doc, doc(hidden))]
    pub fn changes_made(&self) -> u64 {
        self.cells().iter().map(|cell| cell.shard.lock().changes).sum()
    }

    /// Resets the counters that [`stats`](Store::stats) shows.
    ///
    /// ```
    /// use cloakroom::{Store, store::Stats};
    ///
    /// let store = Store::new();
    /// store.fetch(b"coat");
    /// store.reset_stats();
    /// assert_eq!(store.stats(), Stats::default());
    /// ```
    pub fn reset_stats(&self) {
        self.inner.early_misses.store(0, Ordering::Relaxed);
        for cell in self.cells() {
            cell.shard.lock().reset_stats();
        }
        self.reset_lazily_freed();
    }

    /// Bytes of the whole family: entries, tables and reminders, and what is being freed.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// assert_eq!(store.used_memory(), 0);
    /// store.put(b"coat", &[0; 100_000], Ttl::seconds(5))?;
    /// assert!(store.used_memory() > 100_000);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn used_memory(&self) -> usize {
        self.kept_memory() + self.freeing()
    }

    /// Bytes of the family that wait to be freed.
    #[cfg_attr(doc, doc(hidden))]
    pub fn freeing(&self) -> usize {
        self.inner.common.bin.bytes()
    }

    /// Gives back to the system what the family keeps at hand of what it has freed, 4 MB at most, which counts as free. Done
    /// now and then, nothing is kept for long.
    #[cfg_attr(doc, doc(hidden))]
    pub fn give_back(&self) {
        self.inner.common.depot.clear();
    }

    /// What is used without them.
    pub(super) fn kept_memory(&self) -> usize {
        self.inner.common.used.load(Ordering::Relaxed).max(0) as usize
    }

    /// Recounts every shard against its counters, and the budget against all shards of a family. For tests.
    #[cfg_attr(doc, doc(hidden))]
    #[cfg(any(test, debug_assertions))]
    pub fn validate(family: &[Store]) {
        let mut size = 0;
        for store in family {
            for cell in store.cells() {
                let shard = cell.shard.lock();
                shard.validate(|name| super::kept(store.hash(name)));
                assert_eq!(shard.charged, shard.size(), "what the budget was charged");
                assert_eq!(cell.due.load(Ordering::Relaxed), shard.next_due().0, "the soonest reminder");
                size += shard.size();
            }
        }
        assert_eq!(family.first().map_or(0, Store::kept_memory), size, "the family's bytes");
    }
}
