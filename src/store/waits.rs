//! Who waits for a key to hold something: tickets in the order in which they were drawn.
//!
//! A shard knows nothing of clients, only their tickets, which who serves them can tell apart. A ticket stands behind
//! a key from when nothing was found there, under the same lock, until it is given back; so nothing that comes is missed.

use std::collections::HashMap;

use super::value::Type;

/// The number of a wait. Who drew a lower one is served first.
pub type Ticket = u64;

/// The tickets of one shard, by key.
#[derive(Default)]
pub(super) struct Waits {
    keys: HashMap<Box<[u8]>, Vec<(Ticket, Type)>>,
}

impl Waits {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Files a ticket of who waits for a type.
    pub fn enter(&mut self, key: &[u8], ticket: Ticket, kind: Type) {
        let queue = self.keys.entry(key.into()).or_default();
        if let Err(at) = queue.binary_search_by_key(&ticket, |entry| entry.0) {
            queue.insert(at, (ticket, kind));
        }
    }

    /// Takes a ticket back.
    pub fn leave(&mut self, key: &[u8], ticket: Ticket) {
        let Some(queue) = self.keys.get_mut(key) else { return };
        queue.retain(|entry| entry.0 != ticket);
        if queue.is_empty() {
            self.keys.remove(key);
        }
    }

    /// Whose turn it is when a key holds a value of this type.
    pub fn first(&self, key: &[u8], kind: Type) -> Option<Ticket> {
        self.keys.get(key)?.iter().find(|entry| entry.1 == kind).map(|entry| entry.0)
    }
}
