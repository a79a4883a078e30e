//! Watched keys: who wants to know that a key has changed.
//!
//! A watcher is a flag that every change of its key sets. Watchers are listed by name in the key's shard and are told under
//! its lock by [`Watchers::tell`], the one place that all changes of a shard pass: so a flag that is not set when
//! its shard has been let go says that nothing has changed. Nearly always nobody watches, which costs one comparison.
//!
//! Where an entry has died is no change that anybody makes; it shows when the entry is taken out, or by the deadline that
//! [`Store::watch`] tells. What is dead when it is watched is taken out before, so that its end is no change either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::shard::Shard;
use super::{HOPS_MAX, NameBuf, Store};
use crate::clock::Millis;

/// Whether something has changed. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says that something has changed.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is(&self, other: &Flag) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

type Flags = BTreeMap<NameBuf, Vec<Flag>>;

/// The watchers of one shard's keys, by name. As there seldom are any, and every write asks, this is one word.
#[derive(Default)]
pub(super) struct Watchers(Option<Box<Flags>>);

impl Watchers {
    /// Says that a key has changed.
    #[inline]
    pub fn tell(&self, name: &[u8]) {
        if let Some(all) = &self.0 {
            tell(all, name);
        }
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a flag; `false` if it is there already.
    fn add(&mut self, name: &[u8], flag: &Flag) -> bool {
        let flags = self.0.get_or_insert_default().entry(NameBuf::from_slice(name)).or_default();
        let is_new = !flags.iter().any(|other| other.is(flag));
        if is_new {
            flags.push(flag.clone());
        }
        is_new
    }

    fn remove(&mut self, name: &[u8], flag: &Flag) {
        let Some(all) = &mut self.0 else { return };
        let Some(flags) = all.get_mut(name) else { return };
        flags.retain(|other| !other.is(flag));
        if flags.is_empty() {
            all.remove(name);
        }
        if all.is_empty() {
            self.0 = None;
        }
    }

    /// The names that somebody watches.
    pub fn names(&self) -> Vec<NameBuf> {
        self.0.iter().flat_map(|all| all.keys().cloned()).collect()
    }
}

#[cold]
fn tell(all: &Flags, name: &[u8]) {
    all.get(name).into_iter().flatten().for_each(Flag::set);
}

/// A key that is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name as stored; of an alias, the name that it stands for.
    pub name: NameBuf,
    /// When the value dies; `None` if there is none.
    pub deadline: Option<Millis>,
    /// Whether the flag was not set by changes of this key before.
    pub is_new: bool,
}

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// Has a flag set by every change of a key from now on, until it is taken back by [`Store::unwatch`].
    pub fn watch(&self, key: &[u8], flag: &Flag, now: Millis) -> Watched {
        self.enter(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, |slot| {
            let name = slot.name();
            let is_new = slot.watchers().add(name, flag);
            Watched { name: NameBuf::from_slice(name), deadline: slot.deadline(), is_new }
        })
    }

    /// Takes a flag back.
    pub fn unwatch(&self, name: &[u8], flag: &Flag) {
        let place = self.named(name);
        if let Some(cell) = self.cells().get(place.shard()) {
            cell.shard.lock().watchers.remove(name, flag);
        }
    }

    /// Lets watchers follow the numbers of two databases that exchange their stores: who watched a key of the one store
    /// watches it in the other. It has changed unless it is alive in neither. Nobody may write meanwhile.
    pub fn swap_watchers(one: &Store, other: &Store, now: Millis) {
        let (one, other) = if one.inner.id < other.inner.id { (one, other) } else { (other, one) };
        let is_watched = |store: &Store| store.cells().iter().any(|cell| !cell.shard.lock().watchers.is_empty());
        if one.inner.id == other.inner.id || !is_watched(one) && !is_watched(other) {
            return;
        }
        for index in 0..super::SHARDS {
            let (mut first, mut second) = (one.hold(one.cell(index)), other.hold(other.cell(index)));
            if first.watchers.is_empty() && second.watchers.is_empty() {
                continue;
            }
            for name in first.watchers.names().into_iter().chain(second.watchers.names()) {
                let hash = one.named(&name).kept();
                let is_in_first = is_alive(&first, hash, &name, now);
                if is_in_first | is_alive(&second, hash, &name, now) {
                    first.watchers.tell(&name);
                    second.watchers.tell(&name);
                }
            }
            std::mem::swap(&mut first.watchers, &mut second.watchers);
        }
    }
}

/// Whether commands can see something under a name.
fn is_alive(shard: &Shard, hash: u32, name: &[u8], now: Millis) -> bool {
    shard.find(hash, name).is_some_and(|(_, entry)| entry.kind().is_visible() && entry.is_live(now))
}
