//! Large collections that were taken out and are freed a little at a time.
//!
//! To free a million elements takes tens of milliseconds, which nobody should wait for. What has died is always put here; what
//! was evicted, written over or deleted is if [`Lazily`] says so, and what was unlinked is in any case. The janitor frees it
//! in slices. Until then it counts as used, but not as a reason to evict more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Store;
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
    /// Collections that wait.
    pending: AtomicU64,
    /// Collections that were freed since the counter was reset.
    freed: AtomicU64,
    /// Bytes of all that waits.
    bytes: AtomicUsize,
    wake: OnceLock<Arc<dyn Fn() + Send + Sync>>,
}

/// A collection that is being freed.
struct Wreck {
    object: Object,
    /// About as many pieces and bytes as are left of it.
    pieces: usize,
    bytes: usize,
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
        let pieces = object.pieces();
        if pieces <= AT_ONCE {
            return Some(object);
        }
        let bytes = object.size();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pending.fetch_add(1, Ordering::Relaxed);
        self.wrecks.lock().push_back(Wreck { object, pieces, bytes });
        if let Some(wake) = self.wake.get() {
            wake();
        }
        None
    }

    /// Frees about so many pieces of memory; `true` if there is more.
    pub fn free(&self, most: usize) -> bool {
        if self.pending.load(Ordering::Relaxed) == 0 {
            return false;
        }
        // Not freed under the lock, which who takes something out may wait for.
        let Some(mut wreck) = self.wrecks.lock().pop_front() else { return false };
        let pieces = wreck.pieces.min(most);
        let mut bytes = (wreck.bytes as u128 * pieces as u128 / wreck.pieces.max(1) as u128) as usize;
        let is_left = wreck.object.wreck(most);
        wreck.pieces -= pieces;
        if is_left {
            wreck.bytes -= bytes;
            self.wrecks.lock().push_front(wreck);
        } else {
            bytes = wreck.bytes;
            drop(wreck);
            self.pending.fetch_sub(1, Ordering::Relaxed);
            self.freed.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pending.load(Ordering::Relaxed) > 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

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

    /// Collections of the family that wait to be freed, and those that were since the counter was reset.
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
