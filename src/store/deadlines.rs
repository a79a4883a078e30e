//! Deadlines of one shard, soonest first.
//!
//! A reminder may be stale: it says "look at this hash around then", not "this entry dies then". Nothing here knows
//! entries or frees them. What the shard promises: every entry that has a deadline has a reminder no later than it.
//!
//! A reminder is eight bytes, as there is one for each entry: its instant counts milliseconds from a base that moves with
//! time. What is further off than 49 days gets an earlier reminder, and another one then.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::{Millis, Ttl};

/// Look at this hash around then. Ordered by instant first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reminder {
    /// Milliseconds from the base.
    after: u32,
    hash: u32,
}

/// Stale reminders that are kept before the heap is made anew, so that small shards never bother.
const STALE_MIN: usize = 64;

/// Room for reminders that is never given back.
const SPARE_MIN: usize = 16;

/// Half of what an instant can say: so far around the first reminder others may be before the base has to move.
const HALF: Ttl = Ttl(1 << 31);

/// Reminders of one shard.
#[derive(Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<Reminder>>,
    base: Millis,
}

impl Deadlines {
    /// Files a reminder.
    pub fn file(&mut self, deadline: Millis, hash: u32) {
        if self.heap.is_empty() || deadline < self.base {
            self.rebase(deadline - HALF);
        } else if deadline.since(self.base).0 > u64::from(u32::MAX) && self.next().since(self.base) > HALF {
            self.rebase(self.next());
        }
        if self.heap.len() == self.heap.capacity() {
            // Doubling would leave a third of the memory unused.
            self.heap.reserve_exact((self.heap.len() / 4).max(4));
        }
        self.heap.push(Reverse(Reminder { after: self.after(deadline), hash }));
    }

    fn after(&self, deadline: Millis) -> u32 {
        u32::try_from(deadline.since(self.base).0).unwrap_or(u32::MAX)
    }

    fn at(&self, reminder: Reminder) -> Millis {
        self.base + Ttl(u64::from(reminder.after))
    }

    /// Counts from another base. It may come to every reminder once in weeks.
    fn rebase(&mut self, base: Millis) {
        let old = std::mem::take(&mut self.heap).into_vec();
        let moved: Vec<_> = old.into_iter().map(|due| (self.at(due.0), due.0.hash)).collect();
        self.base = base;
        self.heap = moved.into_iter().map(|(at, hash)| Reverse(Reminder { after: self.after(at), hash })).collect();
    }

    /// The soonest reminder, if any.
    pub fn next(&self) -> Millis {
        self.heap.peek().map_or(Millis::NEVER, |due| self.at(due.0))
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
        for hash in hashes {
            if let Some(deadline) = soonest(hash) {
                self.file(deadline, hash);
            }
        }
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
            let at = soonest.entry(due.0.hash).or_insert(self.at(due.0));
            *at = self.at(due.0).min(*at);
        }
        soonest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn reminders_come_in_order_however_far_apart_they_are() {
        let mut deadlines = Deadlines::default();
        let now = 1_700_000_000_000;
        for (hash, days) in [(1, 60), (2, 0), (3, 400), (4, 30), (5, 1)] {
            deadlines.file(Millis(now + days * DAY + 7), hash);
        }
        assert_eq!(deadlines.next(), Millis(now + 7));
        let due: Vec<u32> = std::iter::from_fn(|| deadlines.pop_due(Millis(now + 40 * DAY))).collect();
        // The others may be reminded of early, but not before what comes first.
        assert_eq!(due[..2], [2, 5]);
        assert!(due.contains(&4));
    }

    #[test]
    fn what_is_years_off_is_reminded_of_again_and_again_and_not_all_the_time() {
        let mut deadlines = Deadlines::default();
        let (mut now, end) = (1_700_000_000_000, 1_700_000_000_000 + 3650 * DAY);
        deadlines.file(Millis(now + 5_000), 1);
        deadlines.file(Millis(end), 2);
        let mut reminders = 0;
        while now < end {
            now = deadlines.next().0;
            while let Some(hash) = deadlines.pop_due(Millis(now)) {
                reminders += 1;
                assert!(hash == 2 || reminders == 1);
                if hash == 2 && now < end {
                    deadlines.file(Millis(end), 2);
                }
            }
        }
        assert_eq!(now, end);
        assert!((2..400).contains(&reminders), "{reminders}");
    }
}
