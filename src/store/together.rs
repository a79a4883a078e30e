//! Several keys at once: their shards locked together, each once, in one order that all threads keep.

use std::sync::Arc;

use super::trash::Trash;
use super::{HOPS_MAX, Held, NameBuf, Place, Slot, Store, Value};
use crate::clock::Millis;

impl Store {
    /// Opens several keys, of this store and its relatives, at once. Each is opened with [`Slots::at`] in turn.
    ///
    /// Their locks are taken in one order that all threads keep, so that nobody waits in a circle.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// let now = store.clock().now();
    /// store.put(b"hook:1", b"blue coat", Ttl::seconds(60))?;
    /// Store::with_all(&[(&store, b"hook:1"), (&store, b"hook:2")], now, |slots| {
    ///     // First what could be refused, then the change.
    ///     slots.at(1).admits()?;
    ///     match slots.at(0).detach() {
    ///         Some(coat) => slots.at(1).put_loose(coat),
    ///         None => Ok(()),
    ///     }
    /// })?;
    /// assert_eq!(store.fetch(b"hook:1"), None);
    /// assert_eq!(store.fetch(b"hook:2").as_deref(), Some(&b"blue coat"[..]));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
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
///
/// ```
/// use cloakroom::{Store, clock::Ttl};
///
/// let store = Store::new();
/// store.put(b"blue", b"coat", Ttl::seconds(60))?;
/// store.put(b"red", b"coat", Ttl::seconds(60))?;
/// let keys: [(&Store, &[u8]); 2] = [(&store, b"blue"), (&store, b"red")];
/// let is_same = Store::with_all(&keys, store.clock().now(), |slots| {
///     let bytes = |at| slots.value(at).and_then(|value| value.string().ok());
///     bytes(0) == bytes(1)
/// });
/// assert!(is_same);
/// # Ok::<(), cloakroom::Error>(())
/// ```
pub struct Slots<'a, 'g> {
    guards: &'a mut [Guard<'g>],
    places: &'a [(usize, Place<'a>)],
    which: &'a [usize],
    now: Millis,
    trash: &'a mut Trash,
}

impl Slots<'_, '_> {
    /// Opens the key that was given at this position, which there has to be.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Millis};
    ///
    /// let store = Store::new();
    /// Store::with_all(&[(&store, b"a"), (&store, b"b")], store.clock().now(), |slots| {
    ///     slots.at(0).put_bytes(b"1", Millis::NEVER)?;
    ///     slots.at(1).put_bytes(b"2", Millis::NEVER)
    /// })?;
    /// assert_eq!(store.len(), 2);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn at(&mut self, position: usize) -> Slot<'_> {
        let place = &self.places[position].1;
        let (store, shard) = &mut self.guards[self.which[position]];
        let at = (&*store.inner.common, store.inner.id);
        Slot::open(shard, place.name, place.kept(), place.rule, self.now, at, self.trash)
    }

    /// The live value at this position, to be looked at beside those of others.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"a", b"1", Ttl::seconds(5))?;
    /// let keys: [(&Store, &[u8]); 2] = [(&store, b"a"), (&store, b"b")];
    /// let there = Store::with_all(&keys, store.clock().now(), |slots| [0, 1].map(|at| slots.value(at).is_some()));
    /// assert_eq!(there, [true, false]);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn value(&self, position: usize) -> Option<Value<'_>> {
        let place = &self.places[position].1;
        let shard = &self.guards[self.which[position]].1;
        let (_, entry) = shard.find(place.kept(), place.name)?;
        (entry.is_live(self.now) && entry.kind().is_visible()).then(|| shard.value(entry))
    }

    /// Whether two positions are the same key of the same store.
    ///
    /// ```
    /// use cloakroom::Store;
    ///
    /// let stores = Store::builder().build_family(2);
    /// let (one, other, now) = (&stores[0], &stores[1], stores[0].clock().now());
    /// let keys: [(&Store, &[u8]); 3] = [(one, b"a"), (other, b"a"), (one, b"a")];
    /// assert!(Store::with_all(&keys, now, |slots| !slots.same(0, 1) && slots.same(0, 2)));
    /// ```
    pub fn same(&self, one: usize, other: usize) -> bool {
        let ((a_id, a), (b_id, b)) = (&self.places[one], &self.places[other]);
        a_id == b_id && a.name == b.name
    }
}

impl std::fmt::Debug for Slots<'_, '_> {
    /// How many; keys and values are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slots").field("keys", &self.places.len()).finish_non_exhaustive()
    }
}
