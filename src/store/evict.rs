//! Eviction: what leaves when memory is short.
//!
//! Redis' sampled policies: look at a few entries picked by chance, let the one with the worst score go, repeat until
//! there is room. It happens before a command takes its own lock. Fences and aliases are never evicted: what was
//! signed out stays signed out.

use super::entry::{Entry, Kind};
use super::shard::{Cause, Trash};
use super::{Access, SHARDS, Store};
use crate::clock::Millis;
use crate::config::Policy;

fn is_volatile(policy: Policy) -> bool {
    use Policy::{VolatileLfu, VolatileLru, VolatileRandom, VolatileTtl};
    matches!(policy, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
}

fn spares(policy: Policy, entry: Entry<'_>) -> bool {
    let immortal = entry.deadline() == Millis::NEVER;
    policy == Policy::NoEviction || entry.kind() != Kind::String || (is_volatile(policy) && immortal)
}

/// Shards that one eviction tries before it says that there is nothing to evict; all of them, as a store that is
/// nearly empty of candidates still has to find them.
const TRIES: usize = SHARDS;

impl Store {
    /// Sets how accesses are counted, for the whole family.
    pub fn set_policy(&self, policy: Policy, lfu_log_factor: u32, lfu_decay_time: u32) {
        self.inner.common.access.set(
            matches!(policy, Policy::AllkeysLfu | Policy::VolatileLfu),
            lfu_log_factor,
            lfu_decay_time,
        );
    }

    /// What an entry's access clock says.
    pub fn access(&self, clock: u32, now: Millis) -> Access {
        self.inner.common.access.read(clock, now)
    }

    /// Evicts one entry, the worst of `samples` in some shard. `false`: there is none that the policy may take.
    pub fn evict(&self, policy: Policy, samples: usize, mut chance: impl FnMut() -> u64, now: Millis) -> bool {
        let cells = self.cells();
        let first = chance() as usize;
        for step in 0..cells.len().min(TRIES) {
            let cell = &cells[first.wrapping_add(step) % SHARDS];
            let mut shard = self.hold(cell);
            let buckets = shard.buckets();
            // Without this a store full of what never dies would be walked whole for each write it refuses.
            if shard.visible() == 0 || (is_volatile(policy) && shard.expiring() == 0) {
                continue;
            }
            let start = chance() as usize;
            let worst = (0..buckets)
                .map(|step| start.wrapping_add(step) % buckets)
                .filter_map(|bucket| shard.bucket(bucket).map(|entry| (bucket, entry)))
                .filter(|(_, entry)| !spares(policy, *entry))
                .take(samples.max(1))
                .max_by_key(|(_, entry)| self.score(*entry, policy, now))
                .map(|(bucket, _)| bucket);
            if let Some(bucket) = worst {
                let mut trash = Trash::new();
                shard.take(bucket, Cause::Evicted, &mut trash);
                drop(shard);
                return true;
            }
        }
        false
    }

    /// The higher, the sooner it goes. The dead go first of all.
    fn score(&self, entry: Entry<'_>, policy: Policy, now: Millis) -> u64 {
        if !entry.is_live(now) {
            return u64::MAX;
        }
        match policy {
            Policy::VolatileTtl => u64::MAX - 1 - entry.deadline().0,
            _ => match self.access(entry.access(), now) {
                Access::Idle(seconds) => seconds,
                Access::Frequency(counter) => 255 - u64::from(counter),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Ttl;

    fn put(store: &Store, key: &str, deadline: Millis, now: Millis) {
        let put = store.write(key.as_bytes(), b"v", now, |slot, fresh| slot.put(fresh.until(deadline)));
        assert!(put.is_ok());
    }

    fn evict(store: &Store, policy: Policy, now: Millis) -> bool {
        store.evict(policy, 64, || 3, now)
    }

    #[test]
    fn volatile_policies_take_only_what_has_a_deadline() {
        let (store, now) = (Store::new(), Millis(1_000_000));
        put(&store, "forever", Millis::NEVER, now);
        put(&store, "mortal", now + Ttl::seconds(9), now);
        assert!(evict(&store, Policy::VolatileTtl, now));
        assert!(!evict(&store, Policy::VolatileTtl, now));
        assert!(!evict(&store, Policy::NoEviction, now));
        assert!(evict(&store, Policy::AllkeysRandom, now));
        assert_eq!((store.len(), store.stats().evicted), (0, 2));
        Store::validate(&[store]);
    }

    #[test]
    fn a_fence_is_never_evicted() {
        let (store, now) = (Store::new(), Millis(1_000_000));
        store.fence(b"auth:session:t", 1, now + Ttl::seconds(9), now);
        for policy in Policy::NAMES.iter().map(|name| name.parse().expect("a policy")) {
            assert!(!evict(&store, policy, now));
        }
    }
}
