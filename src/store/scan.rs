//! SCAN without state: what stays in the store during a whole scan is returned, whatever else happens.
//!
//! A cursor names a shard and a hash in it. Tables are in the order of their hashes, so a scan goes on from there,
//! however much a table has grown or shrunk since; nothing is shown twice but what was removed and came back, and
//! nothing is missed.

use super::entry::Entry;
use super::{SHARDS, Store, Value};
use crate::clock::Millis;

/// Entries and empty shards that one call looks at, at most: most of a small store in one go, and no lock is held for
/// long.
const LOOKS: usize = 4096;

/// Buckets of a shard that are looked at for a live entry: far more than are free or dead in a row, but while the janitor is
/// behind with millions, when nobody shall wait until all of them were looked at.
const TRIES: usize = 512;

/// Where a scan stands. Zero is both the start and the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The start of a scan, and what a finished one returns.
    pub const START: Cursor = Cursor(0);

    pub(super) fn new(shard: usize, hash: u32) -> Cursor {
        Cursor((shard as u64) << u32::BITS | u64::from(hash))
    }

    pub(super) fn shard(self) -> usize {
        (self.0 >> u32::BITS) as usize & (SHARDS - 1)
    }

    pub(super) fn hash(self) -> u32 {
        self.0 as u32
    }
}

impl Store {
    /// Shows up to about `count` live values from the cursor on and tells where to go on. `f` tells what it cost to look at
    /// one, as a number of those that are quickly looked at; the call ends sooner then.
    #[cfg_attr(doc, doc(hidden))]
    pub fn scan(&self, cursor: Cursor, count: usize, now: Millis, mut f: impl FnMut(Value<'_>) -> usize) -> Cursor {
        let mut looks = LOOKS;
        let mut left = count.max(1);
        let mut first = cursor.hash();
        for (number, cell) in self.cells().iter().enumerate().skip(cursor.shard()) {
            let shard = cell.shard.lock();
            // Entries of one hash are shown in one call, as no cursor lies between them.
            let mut last = None;
            for (hash, entry) in shard.iter_from(first) {
                if (left == 0 || looks == 0) && last != Some(hash) {
                    return Cursor::new(number, hash);
                }
                last = Some(hash);
                looks = looks.saturating_sub(1);
                if is_seen(entry, now) {
                    left = left.saturating_sub(1);
                    looks = looks.saturating_sub(f(shard.value(entry)));
                }
            }
            first = 0;
            looks = looks.saturating_sub(1);
            if number + 1 < SHARDS && (left == 0 || looks == 0) {
                return Cursor::new(number + 1, 0);
            }
        }
        Cursor::START
    }

    /// Shows every live value, one shard's lock at a time: what comes or goes meanwhile may be seen or not.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// store.put(b"hat", b"black", Ttl::seconds(60))?;
    /// let mut names = Vec::new();
    /// store.for_each(store.clock().now(), |value| names.push(value.name().to_vec()));
    /// names.sort();
    /// assert_eq!(names, [b"coat".to_vec(), b"hat".to_vec()]);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn for_each(&self, now: Millis, mut f: impl FnMut(Value<'_>)) {
        for cell in self.cells() {
            let shard = cell.shard.lock();
            for entry in shard.iter().filter(|entry| is_seen(*entry, now)) {
                f(shard.value(entry));
            }
        }
    }

    /// Shows one live value picked by chance; `None` if there is none, or none was met among tens of thousands that are dead
    /// or hidden. Shards are tried from a random one on, and in a shard the buckets from a random one on, so that every
    /// entry can come up.
    #[cfg_attr(doc, doc(hidden))]
    pub fn random<R>(&self, mut chance: impl FnMut() -> u64, now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let cells = self.cells();
        let first = chance() as usize;
        for step in 0..cells.len() {
            let shard = cells[first.wrapping_add(step) % SHARDS].shard.lock();
            let buckets = shard.buckets();
            if buckets == 0 {
                continue;
            }
            let start = chance() as usize;
            let bucket = |step| shard.bucket(start.wrapping_add(step) % buckets);
            if let Some(entry) = (0..buckets.min(TRIES)).filter_map(bucket).find(|entry| is_seen(*entry, now)) {
                return Some(f(shard.value(entry)));
            }
        }
        None
    }
}

fn is_seen(entry: Entry<'_>, now: Millis) -> bool {
    entry.kind().is_visible() && entry.is_live(now)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn scan_all(store: &Store, count: usize, mut between: impl FnMut(usize)) -> (HashSet<Vec<u8>>, usize) {
        let (mut seen, mut calls, mut cursor) = (HashSet::new(), 0, Cursor::START);
        loop {
            cursor = store.scan(cursor, count, Millis(1), |value| {
                seen.insert(value.name().to_vec());
                0
            });
            between(calls);
            calls += 1;
            if cursor == Cursor::START {
                return (seen, calls);
            }
        }
    }

    fn fill(store: &Store, range: std::ops::Range<usize>) {
        for number in range {
            let put = store.with(number.to_string().as_bytes(), Millis(1), |slot| slot.put_bytes(b"v", Millis::NEVER));
            assert!(put.is_ok());
        }
    }

    #[test]
    fn an_empty_store_is_scanned_in_one_call() {
        assert_eq!(scan_all(&Store::new(), 10, |_| ()).1, 1);
    }

    #[test]
    fn a_scan_returns_about_as_many_as_it_was_asked_for() {
        let store = Store::new();
        fill(&store, 0..20_000);
        let mut sizes = Vec::new();
        let mut cursor = Cursor::START;
        loop {
            let mut size = 0;
            cursor = store.scan(cursor, 10, Millis(1), |_| {
                size += 1;
                0
            });
            sizes.push(size);
            if cursor == Cursor::START {
                break;
            }
        }
        assert_eq!(sizes.iter().sum::<usize>(), 20_000);
        assert!(sizes.iter().all(|size| *size <= 10), "{:?}", sizes.iter().max());
    }

    #[test]
    fn what_is_slowly_looked_at_ends_a_call_sooner() {
        let store = Store::new();
        fill(&store, 0..2_000);
        let (mut cursor, mut calls) = (Cursor::START, 0);
        loop {
            cursor = store.scan(cursor, usize::MAX, Millis(1), |_| LOOKS / 8);
            calls += 1;
            if cursor == Cursor::START {
                break;
            }
        }
        assert!((250..300).contains(&calls), "{calls}");
    }

    #[test]
    fn what_stays_is_returned_though_the_tables_grow_and_shrink() {
        let store = Store::new();
        fill(&store, 0..3_000);
        let (seen, _) = scan_all(&store, 10, |call| {
            let from = 3_000 + call * 200;
            if from < 60_000 {
                fill(&store, from..from + 200);
            }
        });
        for number in 0..3_000 {
            assert!(seen.contains(number.to_string().as_bytes()), "{number} was missed");
        }
    }

    #[test]
    fn churn_cannot_make_a_scan_run_for_ever() {
        let store = Store::new();
        fill(&store, 0..50_000);
        let (seen, calls) = scan_all(&store, 100, |call| {
            fill(&store, 100_000 + call * 500..100_000 + call * 500 + 500);
            for number in 100_000 + call * 500..100_000 + call * 500 + 500 {
                store.with(number.to_string().as_bytes(), Millis(1), |slot| slot.remove());
            }
        });
        assert!(calls < 2_000, "{calls} calls");
        assert!((0..50_000).all(|number| seen.contains(number.to_string().as_bytes())));
    }

    #[test]
    fn a_random_key_is_looked_for_among_the_dead() {
        let store = Store::new();
        for number in 0..SHARDS * TRIES * 2 {
            let put = store.with(&number.to_ne_bytes(), Millis(1), |slot| slot.put_bytes(b"v", Millis(9)));
            assert!(put.is_ok());
        }
        fill(&store, 0..SHARDS * TRIES / 8);
        let random = |chance: u64| store.random(|| chance, Millis(9), |value| value.name().len());
        assert!(random(0).is_some_and(|len| len < 8), "one in some sixteen lives");
        (0..SHARDS * TRIES / 8).for_each(|number| {
            store.with(number.to_string().as_bytes(), Millis(1), |slot| slot.remove());
        });
        assert_eq!(random(0), None);
    }

    #[test]
    fn a_random_key_can_be_any_key() {
        let store = Store::new();
        fill(&store, 0..5);
        let mut dice = 1u64;
        let mut seen = HashSet::new();
        for _ in 0..2_000 {
            let chance = || {
                dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                dice >> 20
            };
            seen.insert(store.random(chance, Millis(1), |value| value.name().to_vec()));
        }
        assert_eq!(seen.len(), 5);
    }
}
