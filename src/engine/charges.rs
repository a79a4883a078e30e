//! Bytes that are in use and lie in no store: what clients have sent and not read, what waits, what scripts hold.
//!
//! Whoever holds such bytes says so when their number changes, which for most requests is never: a request that came
//! whole and an answer that the socket took have left nothing behind. So the sum is always there for who makes room, and
//! nobody walks over clients to know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What bytes are held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Requests that are not whole yet, or held.
    Input,
    /// Replies that the socket did not take.
    Output,
    /// Messages that a client has yet to fetch.
    Mail,
    /// Requests that wait for EXEC, and the keys that are watched.
    Queued,
    /// What clients say about themselves.
    Labels,
    /// Requests that wait for a key.
    Blocked,
    /// Texts of scripts.
    Texts,
    /// The interpreters of scripts.
    Lua,
    /// Clients of the HTTP door and calls to the upstream.
    Http,
    /// The log of slow commands.
    Slowlog,
    /// The log of what was denied.
    AclLog,
    /// Subscriptions.
    Pubsub,
    /// Keys that clients are told of.
    Tracking,
    /// Libraries of functions.
    Libraries,
}

const KINDS: usize = Charge::Libraries as usize + 1;

/// Those that a client can be cut for.
const OF_CLIENTS: [Charge; 5] = [Charge::Input, Charge::Output, Charge::Mail, Charge::Queued, Charge::Labels];

/// The bytes of each kind. Signed, as one thread may give back what another has yet to add.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Charges {
    bytes: [AtomicI64; KINDS],
    /// Their sum, which is asked for before each write.
    sum: AtomicI64,
}

impl Charges {
    /// Notes that what were so many bytes are so many now.
    #[inline]
    pub fn change(&self, what: Charge, before: usize, now: usize) {
        if before != now {
            let more = now as i64 - before as i64;
            self.bytes[what as usize].fetch_add(more, Ordering::Relaxed);
            self.sum.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Notes how many bytes there are of a kind. Nobody else may change them meanwhile.
    pub fn set(&self, what: Charge, now: usize) {
        self.change(what, self.of(what) as usize, now);
    }

    /// Holds bytes until the guard is dropped.
    pub fn hold(self: &Arc<Charges>, what: Charge, bytes: usize) -> Hold {
        self.change(what, 0, bytes);
        Hold { charges: self.clone(), what, bytes }
    }

    /// Bytes of a kind.
    pub fn of(&self, what: Charge) -> u64 {
        self.bytes[what as usize].load(Ordering::Relaxed).max(0) as u64
    }

    /// Bytes that clients of the RESP door can be cut for.
    pub fn clients(&self) -> u64 {
        OF_CLIENTS.iter().map(|what| self.of(*what)).sum()
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.sum.load(Ordering::Relaxed).max(0) as u64
    }
}

/// Bytes that are charged as long as this lives.
#[derive(Debug)]
pub struct Hold {
    charges: Arc<Charges>,
    what: Charge,
    bytes: usize,
}

impl Hold {
    /// Says how many they are now.
    #[inline]
    pub fn set(&mut self, bytes: usize) {
        self.charges.change(self.what, self.bytes, bytes);
        self.bytes = bytes;
    }

    /// Says that they are so many more.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }

    /// Says that they are so many less.
    #[inline]
    pub fn sub(&mut self, bytes: usize) {
        self.set(self.bytes.saturating_sub(bytes));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_charged_until_it_is_dropped() {
        let charges = Arc::<Charges>::default();
        let mut hold = charges.hold(Charge::Output, 100);
        hold.set(300);
        charges.change(Charge::Lua, 0, 50);
        assert_eq!((charges.of(Charge::Output), charges.clients(), charges.total()), (300, 300, 350));
        drop(hold);
        charges.change(Charge::Lua, 50, 0);
        assert_eq!((charges.clients(), charges.total()), (0, 0));
        // Given back by one thread before another has added it.
        charges.change(Charge::Mail, 10, 0);
        assert_eq!((charges.of(Charge::Mail), charges.total()), (0, 0));
    }
}
