//! A walk over all that a store keeps, hidden notes included, while it goes on working: what snapshots are made of.
//!
//! It is SCAN's walk, with the same promise: what stays is shown exactly once, in some state that it had meanwhile. A
//! shard's lock is held for as long as the closure wants more, which should be microseconds.

use super::entry::Kind;
use super::names::NamingKey;
use super::{Cursor, Look, NameBuf, SHARDS, Store, Value};
use crate::clock::Millis;

/// Something that a store keeps.
#[derive(Clone, Copy)]
pub enum Kept<'a> {
    /// A value that commands see.
    Value(Value<'a>),
    /// A name that stands for another.
    Alias {
        /// The one.
        name: &'a [u8],
        /// The other.
        target: &'a [u8],
        /// Until when.
        until: Millis,
    },
    /// A name that takes no writes.
    Fence {
        /// As stored.
        name: &'a [u8],
        /// Until when.
        until: Millis,
    },
}

/// Entries that are looked at under one lock, however few of them are live.
const LOOKS_MAX: usize = 512;

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// Shows what lives, from the cursor on, until the closure wants no more for now; tells where to go on.
    pub fn walk(&self, cursor: Cursor, now: Millis, mut f: impl FnMut(Kept<'_>) -> bool) -> Cursor {
        let (mut number, mut first) = (cursor.shard(), cursor.hash());
        while let Some(cell) = self.cells().get(number) {
            let shard = cell.shard.lock();
            let (mut last, mut looks, mut wants) = (None, LOOKS_MAX, true);
            for (hash, entry) in shard.iter_from(first) {
                // Entries of one hash are shown in one call, as no cursor lies between them.
                if (looks == 0 || !wants) && last != Some(hash) {
                    return Cursor::new(number, hash);
                }
                last = Some(hash);
                looks = looks.saturating_sub(1);
                if !entry.is_live(now) {
                    continue;
                }
                let until = entry.deadline();
                wants &= f(match entry.kind() {
                    Kind::Alias => Kept::Alias { name: entry.key(), target: entry.value(), until },
                    Kind::Fence => Kept::Fence { name: entry.key(), until },
                    _ => Kept::Value(shard.value(entry)),
                });
            }
            (number, first) = (number + 1, 0);
            if !wants && number < SHARDS {
                return Cursor::new(number, 0);
            }
        }
        Cursor::START
    }

    /// What names of secret namespaces are hashed with.
    pub fn naming_key(&self) -> &NamingKey {
        self.inner.common.names.key()
    }

    /// Whether this is the stored name of a token, which means something under one [`NamingKey`] only.
    pub fn is_hash(&self, name: &[u8]) -> bool {
        self.inner.common.names.is_hash(name)
    }

    /// Puts back an alias or fence that a walk has shown. What is there already stays.
    pub fn put_back(&self, kept: Kept<'_>, now: Millis) {
        match kept {
            Kept::Alias { name, target, until } => {
                if self.canonical(name, now) == NameBuf::from_slice(name)
                    && self.look(name, now, |_| ()) == Look::Absent
                {
                    self.add_alias(name, target, until, now);
                }
            }
            // Whose it was has ended with the process, so nobody lifts it; it falls by itself.
            Kept::Fence { name, until } => self.fence(name, 0, until, now),
            Kept::Value(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::clock::Ttl;

    fn walked(store: &Store, now: Millis, each: usize) -> HashMap<Vec<u8>, usize> {
        let (mut seen, mut cursor) = (HashMap::new(), Cursor::START);
        loop {
            let mut left = each;
            cursor = store.walk(cursor, now, |kept| {
                let name = match kept {
                    Kept::Value(value) => value.name(),
                    Kept::Alias { name, .. } | Kept::Fence { name, .. } => name,
                };
                *seen.entry(name.to_vec()).or_default() += 1;
                left -= 1;
                left > 0
            });
            if cursor == Cursor::START {
                return seen;
            }
        }
    }

    #[test]
    fn all_that_lives_is_shown_once_hidden_or_not() {
        let (store, now) = (Store::new(), Millis(1_000));
        for number in 0..5_000u64 {
            let until = if number % 10 == 0 { Millis(500) } else { Millis::NEVER };
            let key = number.to_string();
            store.with(key.as_bytes(), Millis(1), |slot| slot.put_bytes(b"v", until)).expect("a write");
        }
        store.fence(b"auth:session:a", 7, now + Ttl(9), now);
        store.add_alias(b"auth:session:b", b"auth:session:c", now + Ttl(9), now);
        for each in [1, 2, 100, 1_000_000] {
            let seen = walked(&store, now, each);
            assert_eq!((seen.len(), seen.values().max()), (4_502, Some(&1)), "{each}");
        }
        assert_eq!(walked(&store, now + Ttl(9), 10).len(), 4_500);
        assert!(walked(&Store::new(), now, 1).is_empty());
    }

    #[test]
    fn what_is_put_back_hides_nothing_newer() {
        let (store, now) = (Store::new(), Millis(1_000));
        let until = now + Ttl::seconds(9);
        let name = store.secret_name(b"auth:session:", b"t");
        store.put_back(Kept::Fence { name: &name, until }, now);
        assert_eq!(store.look(&name, now, |_| ()), Look::Fenced(until));
        assert!(!store.lift(&name, 1, now), "whose it was is gone");
        let (old, new) = (store.secret_name(b"auth:session:", b"o"), store.secret_name(b"auth:session:", b"n"));
        store.put_back(Kept::Alias { name: &new, target: &old, until }, now);
        assert_eq!(store.canonical(&new, now), old);
        store.put_back(Kept::Alias { name: &new, target: &name, until }, now);
        assert_eq!(store.canonical(&new, now), old);
    }
}
