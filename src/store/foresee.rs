//! A key that will be asked for soon. Its name and hash are worked out once, and its entry is on its way to the processor
//! before anybody waits for it: in a pipeline, while the request before it runs.

use super::names::Rule;
use super::slot::{Fresh, Slot};
use super::{HOPS_MAX, NameBuf, Place, Store, Trace, Value};
use crate::clock::Millis;

/// A key that was foreseen. It borrows the key's bytes, which so stay what they are, and is told by where they lie.
pub struct Foreseen<'k> {
    store: &'k Store,
    key: &'k [u8],
    /// What it is called inside; empty if that is the key itself.
    name: NameBuf,
    rule: Option<&'k Rule>,
    hash: u64,
}

/// Bytes of a key that is foreseen: a longer one takes longer to hash than is won.
const KEY_MAX: usize = 1024;

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// Says that a key will be asked for, perhaps to put a value of `len` bytes there. Changes nothing, and waits for
    /// nobody. `None`: it is not worth it.
    pub fn foresee<'k>(&'k self, key: &'k [u8], len: usize) -> Option<Foreseen<'k>> {
        if key.len() > KEY_MAX {
            return None;
        }
        let mut buf = NameBuf::new();
        let (name, rule) = self.inner.common.names.resolve(key, &mut buf);
        let hash = self.hash(name);
        let (shard, kept) = (super::shard_of(hash), super::kept(hash));
        if let Some(shard) = self.cells().get(shard).and_then(|cell| cell.shard.try_lock()) {
            shard.foresee(kept, name.len() + len);
        }
        Some(Foreseen { store: self, key, name: buf, rule, hash })
    }
}

impl Foreseen<'_> {
    /// Whether it is this key of this store.
    pub fn is(&self, store: &Store, key: &[u8]) -> bool {
        std::ptr::eq(self.key, key) && std::ptr::eq(self.store, store)
    }

    fn place(&self) -> Place<'_> {
        let name = if self.name.is_empty() { self.key } else { &self.name };
        Place { name, rule: self.rule, hash: self.hash }
    }

    /// As [`Store::get`].
    pub fn get<R>(&self, now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.store.read(&self.place(), HOPS_MAX, now, Trace::Access, f).live()
    }

    /// As [`Store::glance`].
    pub fn glance<R>(&self, now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.store.read(&self.place(), HOPS_MAX, now, Trace::Count, f).live()
    }

    /// As [`Store::write`].
    pub fn write<R>(&self, value: &[u8], now: Millis, f: impl FnOnce(&mut Slot<'_>, Fresh<'_>) -> R) -> R {
        self.store.write_at(&self.place(), value, now, f)
    }
}
