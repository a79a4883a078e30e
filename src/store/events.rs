//! Keyspace events: what happened to a key, told to whoever asked for such news.
//!
//! They are told from under the key's lock, so that their order is the order of what happened. Who hears them must only
//! note them down.

use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::RwLock;

use super::{HOPS_MAX, NameBuf, Store, Trace, Value};
use crate::clock::Millis;

/// Classes of events, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u16);

impl Class {
    /// What can happen to a key of any type: `del`, `expire`, `rename_from` and so on.
    pub const GENERIC: Class = Class(1);
    /// Commands on strings.
    pub const STRING: Class = Class(1 << 1);
    /// Commands on lists.
    pub const LIST: Class = Class(1 << 2);
    /// Commands on sets.
    pub const SET: Class = Class(1 << 3);
    /// Commands on hashes.
    pub const HASH: Class = Class(1 << 4);
    /// Commands on sorted sets.
    pub const ZSET: Class = Class(1 << 5);
    /// A key died of time.
    pub const EXPIRED: Class = Class(1 << 6);
    /// A key died of memory.
    pub const EVICTED: Class = Class(1 << 7);
    /// A key was read that is not there.
    pub const KEY_MISS: Class = Class(1 << 8);
    /// A key came to be.
    pub const NEW: Class = Class(1 << 9);
    /// Commands on streams, which there are none of.
    pub const STREAM: Class = Class(1 << 10);
    /// What modules tell; there are no modules.
    pub const MODULE: Class = Class(1 << 11);

    /// What Redis means by all: everything but keys that are missed and keys that are new.
    pub const ALL: Class = Class::GENERIC
        .and(Class::STRING)
        .and(Class::LIST)
        .and(Class::SET)
        .and(Class::HASH)
        .and(Class::ZSET)
        .and(Class::EXPIRED)
        .and(Class::EVICTED)
        .and(Class::STREAM)
        .and(Class::MODULE);

    /// None.
    pub const NONE: Class = Class(0);

    /// What commands tell of a key that they changed.
    const CHANGES: Class =
        Class::GENERIC.and(Class::STRING).and(Class::LIST).and(Class::SET).and(Class::HASH).and(Class::ZSET);

    /// Whether it tells that a command changed a key.
    pub const fn is_change(self) -> bool {
        self.has(Class::CHANGES)
    }

    /// Both sets together.
    pub const fn and(self, other: Class) -> Class {
        Class(self.0 | other.0)
    }

    /// Whether any of these is in it.
    pub const fn has(self, other: Class) -> bool {
        self.0 & other.0 != 0
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its class.
    pub class: Class,
    /// Its name, as Redis has it.
    pub name: &'static str,
    /// The number of the store among its family.
    pub store: usize,
    /// The key as stored; under a secret namespace that is the hashed name.
    pub key: &'a [u8],
}

impl<'a> Event<'a> {
    /// That a key died of time.
    pub(super) fn expired(store: usize, key: &'a [u8]) -> Event<'a> {
        Event { class: Class::EXPIRED, name: "expired", store, key }
    }
}

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// As [`Store::glance`], but nobody is told of a miss: for those who ask about keys rather than for them.
    pub fn inspect<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.read(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, Trace::Quiet, f).live()
    }

    /// Tells that a key was read that is not there.
    pub(super) fn tell_miss(&self, key: &[u8], trace: Trace) {
        if matches!(trace, Trace::Count | Trace::Access) {
            let (class, store) = (Class::KEY_MISS, self.inner.id);
            self.inner.common.events.tell(Event { class, name: "keymiss", store, key });
        }
    }
}

type Listener = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// Who is told what.
#[derive(Default)]
pub(super) struct Events {
    wanted: AtomicU16,
    listener: RwLock<Option<Listener>>,
}

impl Events {
    /// Says which classes are wanted.
    pub fn want(&self, classes: Class) {
        self.wanted.store(classes.0, Ordering::Relaxed);
    }

    /// Who hears of them, in the place of who did before.
    pub fn listen(&self, listener: Listener) {
        *self.listener.write() = Some(listener);
    }

    /// Tells an event, if anybody wants it.
    #[inline]
    pub fn tell(&self, event: Event<'_>) {
        if Class(self.wanted.load(Ordering::Relaxed)).has(event.class)
            && let Some(listener) = &*self.listener.read()
        {
            listener(event);
        }
    }
}
