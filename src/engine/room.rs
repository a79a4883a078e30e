//! The waiting room: requests that wait until a key holds something.
//!
//! A request in here has a ticket, which stands in the stores behind the keys it waits for. Whoever brings something
//! serves those whose turn it is, and leaves the answer here; the client fetches it. All of that happens under the
//! room's lock, which is taken before any shard's, so that a request ends once: served, timed out, or called off.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Charge, Charges, Peer};
use crate::clock::Millis;
use crate::resp::{Version, Words};
use crate::store::{Store, Ticket, Type};

/// A request that waits.
pub struct Waiting {
    /// Who asked.
    pub peer: Arc<Peer>,
    /// The request.
    pub words: Words,
    /// The database it was asked in.
    pub db: usize,
    /// What the client speaks.
    pub version: Version,
    /// Where its ticket stands.
    pub store: Store,
    /// Behind which keys.
    pub keys: Vec<Vec<u8>>,
    /// What it waits for.
    pub kind: Type,
    /// When it gives up.
    pub until: Millis,
    /// What it was answered, once it was. Then its ticket stands nowhere.
    pub answer: Option<Vec<u8>>,
}

/// All requests that wait, by ticket.
pub struct Room {
    last: Ticket,
    waiting: BTreeMap<Ticket, Waiting>,
    charges: Arc<Charges>,
}

impl Waiting {
    /// Bytes that it takes.
    fn size(&self) -> usize {
        size_of::<Waiting>()
            + self.words.heap()
            + self.keys.iter().map(|key| size_of::<Vec<u8>>() + key.len()).sum::<usize>()
    }
}

impl Room {
    /// A room with nobody in it.
    pub(super) fn new(charges: Arc<Charges>) -> Room {
        Room { last: 0, waiting: BTreeMap::new(), charges }
    }

    /// Draws a ticket.
    pub fn draw(&mut self) -> Ticket {
        self.last += 1;
        self.last
    }

    /// Lets a request in.
    pub fn enter(&mut self, ticket: Ticket, waiting: Waiting) {
        self.charges.change(Charge::Blocked, 0, waiting.size());
        self.waiting.insert(ticket, waiting);
    }

    /// Lets a request out.
    pub fn leave(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        self.charges.change(Charge::Blocked, waiting.size(), 0);
        Some(waiting)
    }

    /// The request of a ticket, if it still waits.
    pub fn get(&mut self, ticket: Ticket) -> Option<&mut Waiting> {
        self.waiting.get_mut(&ticket).filter(|waiting| waiting.answer.is_none())
    }

    /// The request that a client waits with, if it still waits.
    pub fn of(&self, id: u64) -> Option<Ticket> {
        let waits = |(_, waiting): &(&Ticket, &Waiting)| waiting.peer.id == id && waiting.answer.is_none();
        self.waiting.iter().find(waits).map(|(ticket, _)| *ticket)
    }

    /// The requests in a database that still wait, those that came first before others.
    pub fn in_database(&self, db: usize) -> Vec<Ticket> {
        let waits = |(_, waiting): &(&Ticket, &Waiting)| waiting.db == db && waiting.answer.is_none();
        self.waiting.iter().filter(waits).map(|(ticket, _)| *ticket).collect()
    }
}
