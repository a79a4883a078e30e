//! Several keys at once: their shards locked together, each once, in one order that all threads keep.

use std::sync::Arc;

use super::trash::Trash;
use super::{HOPS_MAX, Held, NameBuf, Place, Slot, Store, Value};
use crate::clock::Millis;

impl Store {
    /// Opens several keys, of this store and its relatives, at once. Each is opened with [`Slots::at`] in turn.
    ///
    /// # Panics
    /// When the stores are not of one family: their locks would have no order.
    pub fn with_all<R>(keys: &[(&Store, &[u8])], now: Millis, f: impl FnOnce(&mut Slots<'_, '_>) -> R) -> R {
        let related = |pair: &[(&Store, &[u8])]| Arc::ptr_eq(&pair[0].0.inner.common, &pair[1].0.inner.common);
        assert!(keys.windows(2).all(related), "stores of one family");
        let name = |(store, key): &(&Store, &[u8])| NameBuf::from_slice(store.place(key, &mut NameBuf::new()).name);
        let mut names: Vec<NameBuf> = keys.iter().map(name).collect();
        for hops in (0..=HOPS_MAX).rev() {
            let places: Vec<(usize, Place<'_>)> =
                keys.iter().zip(&names).map(|((store, _), name)| (store.inner.id, store.named(name))).collect();
            // Declared before the guards, so that it is freed after them.
            let mut trash = Trash::default();
            let (mut guards, which) = hold_all(keys, &places);
            let mut aliases = Vec::new();
            for (position, (_, place)) in places.iter().enumerate() {
                let target = guards[which[position]].1.alias(place.kept(), place.name, now);
                aliases.extend(target.filter(|_| hops > 0).map(|target| (position, target)));
            }
            if aliases.is_empty() {
                return f(&mut Slots { guards: &mut guards, places: &places, which: &which, now, trash: &mut trash });
            }
            drop(guards);
            drop(places);
            for (position, target) in aliases {
                names[position] = target;
            }
        }
        unreachable!("without hops left no alias is followed")
    }
}

/// Locks the shards of all places, each once, in ascending order; tells which guard is whose.
fn hold_all<'g>(keys: &[(&'g Store, &[u8])], places: &[(usize, Place<'_>)]) -> (Vec<Guard<'g>>, Vec<usize>) {
    let mut order: Vec<(usize, usize, usize)> =
        places.iter().enumerate().map(|(position, (id, place))| (*id, place.shard(), position)).collect();
    order.sort_unstable();
    let mut guards: Vec<Guard<'g>> = Vec::with_capacity(keys.len());
    let mut which = vec![0; keys.len()];
    let mut last = None;
    for (id, shard, position) in order {
        if last != Some((id, shard)) {
            let store = keys[position].0;
            guards.push((store, store.hold(store.cell(shard))));
            last = Some((id, shard));
        }
        which[position] = guards.len() - 1;
    }
    (guards, which)
}

/// A store and one of its shards under its lock.
type Guard<'g> = (&'g Store, Held<'g>);

/// Several keys under their locks. See [`Store::with_all`].
pub struct Slots<'a, 'g> {
    guards: &'a mut [Guard<'g>],
    places: &'a [(usize, Place<'a>)],
    which: &'a [usize],
    now: Millis,
    trash: &'a mut Trash,
}

impl Slots<'_, '_> {
    /// Opens the key that was given at this position.
    pub fn at(&mut self, position: usize) -> Slot<'_> {
        let place = &self.places[position].1;
        let (store, shard) = &mut self.guards[self.which[position]];
        let at = (&*store.inner.common, store.inner.id);
        Slot::open(shard, place.name, place.kept(), place.rule, self.now, at, self.trash)
    }

    /// The live value at this position, to be looked at beside those of others.
    pub fn value(&self, position: usize) -> Option<Value<'_>> {
        let place = &self.places[position].1;
        let shard = &self.guards[self.which[position]].1;
        let (_, entry) = shard.find(place.kept(), place.name)?;
        (entry.is_live(self.now) && entry.kind().is_visible()).then(|| shard.value(entry))
    }

    /// Whether two positions are the same key of the same store.
    pub fn same(&self, one: usize, other: usize) -> bool {
        let ((a_id, a), (b_id, b)) = (&self.places[one], &self.places[other]);
        a_id == b_id && a.name == b.name
    }
}
