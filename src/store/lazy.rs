//! Large collections that were taken out, and all that a flush has, and that are freed a little at a time.
//!
//! To free a million elements takes tens of milliseconds, which nobody should wait for. What has died is always put here; what
//! was evicted, written over or deleted is if [`Lazily`] says so, and what was unlinked or flushed is in any case. The janitor
//! frees it in slices. Until then it counts as used, but not as a reason to evict more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Store;
use super::clear::Lot;
use super::shard::{Debris, Wrecked};
use super::value::Object;
use crate::config::Lazily;

/// Pieces of memory up to which a collection is freed at once; Redis' number.
const AT_ONCE: usize = 64;

/// What waits to be freed, for a family of stores.
#[derive(Default)]
pub(super) struct Bin {
    /// [`Lazily`], a bit each.
    lazily: AtomicU8,
    wrecks: Mutex<VecDeque<Wreck>>,
    /// How many of them there are, with those that are just being freed.
    waiting: AtomicUsize,
    /// Collections and entries that wait.
    pending: AtomicU64,
    /// Those that were freed since the counter was reset.
    freed: AtomicU64,
    /// Bytes of all that waits.
    bytes: AtomicUsize,
    wake: OnceLock<Arc<dyn Fn() + Send + Sync>>,
}

/// What is being freed.
struct Wreck {
    what: What,
    /// The flush that it is of, if it is of one.
    lot: Option<Lot>,
    /// Collections or entries that it counts as.
    count: u64,
}

enum What {
    /// A collection, and about as many pieces and bytes as are left of it.
    Object { object: Object, pieces: usize, bytes: usize },
    /// What a shard held.
    Debris(Box<Debris>),
}

impl What {
    fn of(object: Object) -> What {
        let (pieces, bytes) = (object.pieces(), object.size());
        What::Object { object, pieces, bytes }
    }

    fn bytes(&self) -> usize {
        match self {
            What::Object { bytes, .. } => *bytes,
            What::Debris(debris) => debris.size(),
        }
    }

    /// Frees about so many pieces and tells how many more could have been, if nothing is left.
    fn free(&mut self, most: usize) -> Wrecked {
        match self {
            What::Object { object, pieces, bytes } => {
                let freed = most.min(*pieces);
                let is_left = object.wreck(most);
                *bytes -= (*bytes as u128 * freed as u128 / (*pieces).max(1) as u128) as usize;
                *pieces -= freed;
                if is_left { Wrecked::More } else { Wrecked::Gone(most - freed.max(1)) }
            }
            What::Debris(debris) => debris.wreck(most, AT_ONCE),
        }
    }
}

impl Bin {
    pub fn set(&self, lazily: Lazily) {
        let Lazily { evicted, replaced, deleted } = lazily;
        let bits = u8::from(evicted) | u8::from(replaced) << 1 | u8::from(deleted) << 2;
        self.lazily.store(bits, Ordering::Relaxed);
    }

    pub fn lazily(&self) -> Lazily {
        let bits = self.lazily.load(Ordering::Relaxed);
        Lazily { evicted: bits & 1 != 0, replaced: bits & 2 != 0, deleted: bits & 4 != 0 }
    }

    /// Who is told, from under a lock, that something waits. The first one stays.
    pub fn on_put(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Result<(), Arc<dyn Fn() + Send + Sync>> {
        self.wake.set(wake)
    }

    /// Takes a collection if it is worth it; if not, it comes back.
    pub fn put(&self, object: Object) -> Option<Object> {
        if object.pieces() <= AT_ONCE {
            return Some(object);
        }
        self.take(Wreck { what: What::of(object), lot: None, count: 1 });
        None
    }

    /// Takes what a flush has taken out of a shard.
    pub fn put_debris(&self, debris: Debris, lot: &Lot) {
        let count = if lot.is_lazy() { debris.entries as u64 } else { 0 };
        self.take(Wreck { what: What::Debris(Box::new(debris)), lot: Some(lot.clone()), count });
    }

    fn take(&self, wreck: Wreck) {
        self.bytes.fetch_add(wreck.what.bytes(), Ordering::Relaxed);
        self.pending.fetch_add(wreck.count, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wrecks.lock().push_back(wreck);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Takes out what is to be freed next.
    fn next(&self) -> Option<Wreck> {
        self.wrecks.lock().pop_front()
    }

    /// Whether anything waits, or is just being freed.
    fn has_more(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Frees about so many pieces of memory; `true` if there is more.
    pub fn free(&self, most: usize) -> bool {
        let mut left = most;
        // Not freed under the lock, which who takes something out may wait for.
        while left > 0
            && self.has_more()
            && let Some(mut wreck) = self.next()
        {
            let before = wreck.what.bytes();
            let kept = match wreck.what.free(left) {
                Wrecked::More => {
                    let bytes = wreck.what.bytes();
                    self.wrecks.lock().push_front(wreck);
                    left = 0;
                    bytes
                }
                Wrecked::Large(object) => {
                    let large = Wreck { what: What::of(object), lot: wreck.lot.clone(), count: 0 };
                    let bytes = wreck.what.bytes() + large.what.bytes();
                    self.waiting.fetch_add(1, Ordering::Relaxed);
                    let mut wrecks = self.wrecks.lock();
                    wrecks.push_front(wreck);
                    wrecks.push_front(large);
                    bytes
                }
                Wrecked::Gone(more) => {
                    let Wreck { what, lot, count } = wreck;
                    drop(what);
                    self.pending.fetch_sub(count, Ordering::Relaxed);
                    self.freed.fetch_add(count, Ordering::Relaxed);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    drop(lot);
                    left = more;
                    0
                }
            };
            self.bytes.fetch_sub(before.saturating_sub(kept), Ordering::Relaxed);
        }
        self.has_more()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// Says what is freed little by little, for the whole family.
    pub fn set_lazily(&self, lazily: Lazily) {
        self.inner.common.bin.set(lazily);
    }

    /// Frees some of what waits for it in the family, in about so many pieces of memory; `true` if there is more.
    /// [`Store::sweep`] does it too.
    pub fn free_some(&self, most: usize) -> bool {
        self.inner.common.bin.free(most.max(1))
    }

    /// Collections of the family, and entries of lazy flushes, that wait to be freed, and those that were since the counter
    /// was reset.
    pub fn lazily_freed(&self) -> (u64, u64) {
        let bin = &self.inner.common.bin;
        (bin.pending.load(Ordering::Relaxed), bin.freed.load(Ordering::Relaxed))
    }

    pub(super) fn reset_lazily_freed(&self) {
        self.inner.common.bin.freed.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{End, Hash, List, Set, Slot, Sweep, ZSet};
    use super::*;
    use crate::clock::{Millis, Ttl};

    const ELEMENTS: usize = 20_000;
    const NOW: Millis = Millis(1_000_000);

    type Edit = Box<dyn Fn(&mut Slot<'_>)>;

    /// A store with a large collection of each type, and how many there are.
    fn filled() -> (Store, usize) {
        let store = Store::new();
        fn numbers() -> impl Iterator<Item = Vec<u8>> {
            (0..ELEMENTS).map(|number| format!("element:{number}").into_bytes())
        }
        let edits: [(&str, Edit); 4] = [
            (
                "list",
                Box::new(|slot| {
                    let edited = slot.edit_or_new(|list: &mut List, compact| {
                        numbers()
                            .for_each(|element| list.push(End::Right, &[element, vec![b'.'; 200]].concat(), compact));
                    });
                    assert!(edited.is_ok());
                }),
            ),
            (
                "set",
                Box::new(|slot| {
                    let edited =
                        slot.edit_or_new(|set: &mut Set, compact| numbers().all(|member| set.insert(&member, compact)));
                    assert_eq!(edited.ok(), Some(true));
                }),
            ),
            (
                "zset",
                Box::new(|slot| {
                    let edited = slot.edit_or_new(|zset: &mut ZSet, compact| {
                        numbers().enumerate().for_each(|(at, member)| {
                            zset.set(&member, at as f64, compact);
                        });
                    });
                    assert!(edited.is_ok());
                }),
            ),
            (
                "hash",
                Box::new(|slot| {
                    let edited = slot.edit_or_new(|hash: &mut Hash, compact| {
                        numbers().for_each(|field| {
                            hash.set(&field, b"value", compact);
                        });
                    });
                    assert!(edited.is_ok());
                }),
            ),
        ];
        for (key, edit) in &edits {
            store.with(key.as_bytes(), NOW, |slot| edit(slot));
        }
        (store, edits.len())
    }

    fn waits(store: &Store) -> u64 {
        store.lazily_freed().0
    }

    #[test]
    fn what_is_unlinked_is_freed_in_slices_and_counted_until_then() {
        let (store, kinds) = filled();
        let before = store.used_memory();
        for key in ["list", "set", "zset", "hash"] {
            assert!(store.with(key.as_bytes(), NOW, |slot| slot.delete(true)));
        }
        assert_eq!(store.lazily_freed(), (kinds as u64, 0));
        assert!(store.used_memory() > before * 9 / 10 && store.kept_memory() < before / 10);
        let (mut slices, mut last) = (0, store.used_memory());
        while store.sweep_some(NOW, 4) == Sweep::MoreDue {
            slices += 1;
            assert!(store.used_memory() <= last, "it only falls");
            last = store.used_memory();
        }
        assert!(slices > 3 * ELEMENTS / 128, "{slices} slices");
        assert_eq!(store.lazily_freed(), (0, kinds as u64));
        assert_eq!(store.used_memory(), store.kept_memory());
        store.reset_stats();
        assert_eq!(store.lazily_freed(), (0, 0));
        Store::validate(&[store]);
    }

    #[test]
    fn what_has_died_is_freed_in_slices_and_the_rest_as_it_is_set() {
        let (store, _) = filled();
        // Whoever finds it dead does not free it either.
        store.with(b"set", NOW, |slot| slot.set_deadline(NOW + Ttl(5)));
        assert!(store.with(b"set", NOW + Ttl(9), |slot| slot.value().is_none()));
        assert_eq!(waits(&store), 1);
        assert!(store.with(b"zset", NOW, |slot| slot.delete(false)));
        assert!(store.with(b"hash", NOW, |slot| slot.put_bytes(b"v", Millis::NEVER)).is_ok());
        assert_eq!(waits(&store), 1);
        let (store, _) = filled();
        store.set_lazily(Lazily { deleted: true, ..Lazily::default() });
        assert!(store.with(b"zset", NOW, |slot| slot.delete(false)));
        assert!(store.with(b"hash", NOW, |slot| slot.put_bytes(b"v", Millis::NEVER)).is_ok());
        assert_eq!(waits(&store), 1);
        store.set_lazily(Lazily { replaced: true, ..Lazily::default() });
        assert!(store.with(b"list", NOW, |slot| slot.put_bytes(b"v", Millis::NEVER)).is_ok());
        assert_eq!(waits(&store), 2);
        while store.free_some(100) {}
        assert_eq!(waits(&store), 0);
        Store::validate(&[store]);
    }

    #[test]
    fn what_is_flushed_is_freed_in_slices_large_collections_too() {
        let (store, kinds) = filled();
        for number in 0..1_000 {
            store.put(format!("{number}").as_bytes(), &vec![0; 40 * number], Ttl::seconds(9)).expect("a write");
        }
        let before = store.used_memory();
        let lot = Lot::lazy();
        store.clear_for(&lot);
        assert!(store.is_empty());
        assert_eq!(store.lazily_freed(), (1_000 + kinds as u64, 0));
        let (mut slices, mut last) = (0, store.used_memory());
        assert!(last >= before);
        while store.free_some(64) {
            slices += 1;
            assert!(!lot.is_freed());
            assert!(store.used_memory() <= last && last - store.used_memory() < before / 10, "a piece at a time");
            last = store.used_memory();
        }
        assert!(slices > 3 * ELEMENTS / 128, "{slices} slices");
        assert!(lot.is_freed());
        assert_eq!((store.lazily_freed(), store.freeing()), ((0, 1_000 + kinds as u64), 0));
        Store::validate(&[store]);
    }

    #[test]
    fn what_is_small_is_freed_at_once() {
        let store = Store::new();
        let edited = store.with(b"set", NOW, |slot| {
            slot.edit_or_new(|set: &mut Set, compact| (b'a'..=b'z').all(|byte| set.insert(&[byte], compact)))
        });
        assert_eq!(edited.ok(), Some(true));
        assert!(store.with(b"set", NOW, |slot| slot.delete(true)));
        assert_eq!(store.lazily_freed(), (0, 0));
    }
}
