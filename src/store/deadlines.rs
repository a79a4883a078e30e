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

/// Room for reminders that is never given back.
const SPARE_MIN: usize = 16;

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

    /// Makes the heap anew: one reminder for each hash, at the instant that `soonest` says, if any.
    ///
    /// It asks only for hashes that have a reminder, as all others have no deadline; so what this costs is in proportion
    /// to the reminders, however large the table is.
    pub fn refile(&mut self, soonest: impl Fn(u32) -> Option<Millis>) {
        let mut hashes: Vec<u32> = self.heap.drain().map(|due| due.0.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let due = |hash| soonest(hash).map(|deadline| Reverse(Reminder { deadline, hash }));
        self.heap.extend(hashes.into_iter().filter_map(due));
    }

    /// Gives memory back when most of it is unused.
    pub fn shrink(&mut self) {
        if self.heap.capacity() > 4 * self.heap.len() + SPARE_MIN {
            self.heap.shrink_to(2 * self.heap.len());
        }
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.heap.capacity() * size_of::<Reminder>()
    }

    /// The soonest reminder of each hash, for `validate`.
    #[cfg(any(test, debug_assertions))]
    pub fn soonest_of_each(&self) -> std::collections::HashMap<u32, Millis> {
        let mut soonest = std::collections::HashMap::new();
        for due in &self.heap {
            let at = soonest.entry(due.0.hash).or_insert(due.0.deadline);
            *at = due.0.deadline.min(*at);
        }
        soonest
    }
}
