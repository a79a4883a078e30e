//! SCAN without state: what stays in the store during a whole scan is returned, whatever else happens.
//!
//! A cursor names a shard, a bucket in it and the shard's layout epoch. As long as the epoch holds, entries keep their
//! buckets and the scan goes on from there. When the table was laid out anew in between, the scan of that shard begins
//! anew, duplicates and all. A new layout takes about as many writes as the shard has entries, so a scan is never held
//! up for long, and it misses nothing.

use super::entry::Kind;
use super::{SHARD_BITS, SHARDS, Shard, Store, Value};
use crate::clock::Millis;

/// Buckets and empty shards that one call looks at for each entry it was asked for, so that a scan over a nearly
/// empty store is quick and one over a large store never holds a lock for long.
const BUCKETS_PER_ENTRY: usize = 64;

/// The least number of buckets a call looks at: most of a small store in one go.
const BUCKETS_MIN: usize = 4096;

const EPOCH_BITS: u32 = 21;
const BUCKET_BITS: u32 = 32;

/// Where a scan stands. Zero is both the start and the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The start of a scan, and what a finished one returns.
    pub const START: Cursor = Cursor(0);

    fn new(shard: usize, epoch: u32, bucket: usize) -> Cursor {
        let epoch = u64::from(epoch) & ((1 << EPOCH_BITS) - 1);
        Cursor((shard as u64) << (EPOCH_BITS + BUCKET_BITS) | epoch << BUCKET_BITS | bucket as u64)
    }

    fn shard(self) -> usize {
        (self.0 >> (EPOCH_BITS + BUCKET_BITS)) as usize & ((1 << SHARD_BITS) - 1)
    }

    fn epoch(self) -> u32 {
        (self.0 >> BUCKET_BITS) as u32 & ((1 << EPOCH_BITS) - 1)
    }

    fn bucket(self) -> usize {
        (self.0 & ((1 << BUCKET_BITS) - 1)) as usize
    }
}

impl Store {
    /// Shows about `count` live values from the cursor on and tells where to go on.
    pub fn scan(&self, cursor: Cursor, count: usize, now: Millis, mut f: impl FnMut(Value<'_>)) -> Cursor {
        let mut looks = count.saturating_mul(BUCKETS_PER_ENTRY).max(BUCKETS_MIN);
        let mut left = count.max(1);
        let mut start = cursor;
        for (number, cell) in self.cells().iter().enumerate().skip(cursor.shard()) {
            let shard = cell.shard.lock();
            let moved = start.bucket() > 0 && start.epoch() != Cursor::new(0, shard.epoch(), 0).epoch();
            let mut bucket = if moved { 0 } else { start.bucket() };
            while bucket < shard.buckets() {
                if left == 0 || looks == 0 {
                    return Cursor::new(number, shard.epoch(), bucket);
                }
                looks = looks.saturating_sub(1);
                if let Some(value) = seen(&shard, bucket, now) {
                    left = left.saturating_sub(1);
                    f(value);
                }
                bucket += 1;
            }
            looks = looks.saturating_sub(1);
            start = Cursor::START;
            if number + 1 < SHARDS && (left == 0 || looks == 0) {
                return Cursor::new(number + 1, 0, 0);
            }
        }
        Cursor::START
    }

    /// Shows every live value, one shard's lock at a time.
    pub fn for_each(&self, now: Millis, mut f: impl FnMut(Value<'_>)) {
        for cell in self.cells() {
            let shard = cell.shard.lock();
            for entry in shard.iter().filter(|entry| entry.kind() == Kind::String && entry.is_live(now)) {
                f(Value::of(entry));
            }
        }
    }

    /// Shows one live value picked by chance; `None` if there is none. Shards are tried from a random one on, and in a
    /// shard the buckets from a random one on, so that every entry can come up.
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
            let picked = (0..buckets).find_map(|step| seen(&shard, start.wrapping_add(step) % buckets, now));
            if let Some(value) = picked {
                return Some(f(value));
            }
        }
        None
    }
}

fn seen(shard: &Shard, bucket: usize, now: Millis) -> Option<Value<'_>> {
    let entry = shard.bucket(bucket)?;
    (entry.kind() == Kind::String && entry.is_live(now)).then(|| Value::of(entry))
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
            cursor = store.scan(cursor, 10, Millis(1), |_| size += 1);
            sizes.push(size);
            if cursor == Cursor::START {
                break;
            }
        }
        assert_eq!(sizes.iter().sum::<usize>(), 20_000);
        assert!(sizes.iter().all(|size| *size <= 10), "{:?}", sizes.iter().max());
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
