//! Deadlines of one shard, soonest first.
//!
//! A reminder may be stale: it says "look at this hash around then", not "this entry dies then". Nothing here knows
//! entries or frees them. What the shard promises: every entry that has a deadline has a reminder no later than it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Millis;

/// Look at this hash around then. Ordered by deadline first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reminder {
    deadline: Millis,
    hash: u32,
}

/// Stale reminders that are kept before the heap is made anew, so that small shards never bother.
const STALE_MIN: usize = 64;

/// Reminders of one shard.
#[derive(Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<Reminder>>,
}

impl Deadlines {
    /// Files a reminder.
    pub fn file(&mut self, deadline: Millis, hash: u32) {
        self.heap.push(Reverse(Reminder { deadline, hash }));
    }

    /// The soonest reminder, if any.
    pub fn next(&self) -> Millis {
        self.heap.peek().map_or(Millis::NEVER, |due| due.0.deadline)
    }

    /// Takes the soonest reminder that is due.
    pub fn pop_due(&mut self, now: Millis) -> Option<u32> {
        if self.next() > now {
            return None;
        }
        self.heap.pop().map(|due| due.0.hash)
    }

    /// Whether so many reminders are stale that making the heap anew pays.
    pub fn is_cluttered(&self, expiring: usize) -> bool {
        self.heap.len() > 2 * expiring + STALE_MIN
    }

    /// Forgets all reminders and files these.
    pub fn refile(&mut self, reminders: impl Iterator<Item = (Millis, u32)>) {
        self.heap = reminders.map(|(deadline, hash)| Reverse(Reminder { deadline, hash })).collect();
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.heap.capacity() * size_of::<Reminder>()
    }

    /// Whether this very reminder, or a sooner one for the hash, is filed. For `validate`; walks the heap.
    #[cfg(any(test, debug_assertions))]
    pub fn covers(&self, deadline: Millis, hash: u32) -> bool {
        self.heap.iter().any(|due| due.0.hash == hash && due.0.deadline <= deadline)
    }
}
