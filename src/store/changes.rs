//! Changes of keys, told to whoever keeps track of what clients have read.
//!
//! They are told from under the key's lock, before anybody can see the change: who reads the key after it was told reads
//! what is there now. Whoever hears them must only note them down and not call the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::Store;

/// That a key has changed.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The number of the store among its family.
    pub store: usize,
    /// The key as stored.
    pub key: &'a [u8],
    /// Whether it went by itself: its time was up, or its memory was needed.
    pub is_natural: bool,
}

type Listener = Box<dyn Fn(Change<'_>) + Send + Sync>;

/// Who hears of the changes of a family of stores, and whether it wants to.
#[derive(Default)]
pub struct Changes {
    wanted: AtomicBool,
    listener: OnceLock<Listener>,
}

impl Changes {
    /// Says whether changes are wanted.
    pub fn want(&self, on: bool) {
        self.wanted.store(on, Ordering::Relaxed);
    }

    /// Whether they are.
    #[inline]
    pub fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Who hears of them. The first one stays.
    pub fn listen(&self, listener: impl Fn(Change<'_>) + Send + Sync + 'static) {
        // A second listener would be a mistake of the embedder.
        let _ = self.listener.set(Box::new(listener));
    }

    #[cold]
    fn tell(&self, change: Change<'_>) {
        if let Some(listener) = self.listener.get() {
            listener(change);
        }
    }
}

#[cfg_attr(doc, doc(hidden))]
impl Store {
    /// The number of this store among its family.
    pub fn number(&self) -> usize {
        self.inner.id
    }

    /// Who hears of changes in this family.
    pub fn changes(&self) -> &Arc<Changes> {
        &self.inner.common.changes
    }
}

/// How a shard tells of its changes. One that belongs to no store tells nobody.
#[derive(Clone, Default)]
pub(super) struct Teller(Option<(Arc<Changes>, usize)>);

impl Teller {
    pub fn new(changes: &Arc<Changes>, store: usize) -> Teller {
        Teller(Some((changes.clone(), store)))
    }

    /// Whether anybody wants to hear it.
    #[inline]
    pub fn is_heard(&self) -> bool {
        self.0.as_ref().is_some_and(|(changes, _)| changes.are_wanted())
    }

    /// Tells that a key changes.
    #[inline]
    pub fn tell(&self, key: &[u8], is_natural: bool) {
        if let Some((changes, store)) = &self.0
            && changes.are_wanted()
        {
            changes.tell(Change { store: *store, key, is_natural });
        }
    }
}
