//! Deadlines of one shard, soonest first.
//!
//! A reminder may be stale: it says "look here around then", not "this entry dies then". Nothing here knows entries or
//! frees them. What the shard promises: every entry that has a deadline has a reminder no later than it.
//!
//! There are two kinds, as there is a reminder for each entry. What dies within seconds has one of eight bytes, to the
//! millisecond and for one hash. What dies later has one of four bytes, to the span of four seconds and for a region,
//! all hashes with the same upper half; in a table that is in the order of hashes these lie side by side. Some spans
//! before its own the region is looked through, and what dies then gets a reminder to the millisecond.

use super::chunks::Chunks;
use crate::clock::{Millis, Ttl};

/// How long a span is.
const SPAN: Ttl = Ttl(4096);
/// So many spans ahead reminders are to the millisecond: a cache's five seconds are, and regions are looked through
/// long before anything in them dies.
const AHEAD: u64 = 2;

/// Stale reminders that are kept before the heaps are made anew, so that small shards never bother.
const STALE_MIN: usize = 64;

/// The hashes with the same upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Region(u16);

impl Region {
    pub fn of(hash: u32) -> Region {
        Region((hash >> 16) as u16)
    }

    /// The first and the last of its hashes.
    pub fn hashes(self) -> (u32, u32) {
        let first = u32::from(self.0) << 16;
        (first, first | 0xffff)
    }
}

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Entries of this hash may have died.
    Hash(u32),
    /// Entries of this region are to get new reminders: see [`Deadlines::remind`].
    Region(Region),
}

/// How a reminder is packed: when in its upper half, so that it sorts by that, and what in its lower half.
trait Packed: Copy + Ord {
    const HALF_BITS: u32;
    fn pack(when: u64, what: u64) -> Self;
    fn unpack(self) -> (u64, u64);
}

impl Packed for u64 {
    const HALF_BITS: u32 = 32;

    fn pack(when: u64, what: u64) -> u64 {
        when << 32 | what
    }

    fn unpack(self) -> (u64, u64) {
        (self >> 32, self & 0xffff_ffff)
    }
}

impl Packed for u32 {
    const HALF_BITS: u32 = 16;

    fn pack(when: u64, what: u64) -> u32 {
        (when << 16 | what) as u32
    }

    fn unpack(self) -> (u64, u64) {
        (u64::from(self >> 16), u64::from(self & 0xffff))
    }
}

/// Reminders under one in a heap. The more, the fewer steps it has, and each step is a wait for memory when a million entries
/// die at once; with eight they are two cache lines side by side.
const FAN: usize = 8;

/// Reminders of one kind. Their instants count from a base that moves with time; what is too far off for that gets an
/// earlier reminder, and another one then.
#[derive(Default)]
struct Heap<P> {
    /// Each no later than those that are under it, [`FAN`] to each.
    words: Chunks<P>,
    base: u64,
}

impl<P: Packed> Heap<P> {
    /// The latest instant that can be said, counted from the base, and half of that: so far around the first reminder
    /// others may be before the base has to move.
    const LAST: u64 = (1 << P::HALF_BITS) - 1;
    const HALF: u64 = Self::LAST / 2;

    fn len(&self) -> usize {
        self.words.len()
    }

    fn push(&mut self, when: u64, what: u64) {
        if self.len() == 0 || when < self.base {
            self.rebase(when.saturating_sub(Self::HALF));
        } else if when - self.base > Self::LAST && self.next().is_some_and(|next| next - self.base > Self::HALF) {
            self.rebase(self.next().unwrap_or(when));
        }
        self.add(when, what);
    }

    fn add(&mut self, when: u64, what: u64) {
        let word = P::pack((when - self.base).min(Self::LAST), what);
        let mut at = self.len();
        self.words.push(word);
        while at > 0
            && let Some(parent) = self.words.get((at - 1) / FAN).filter(|parent| *parent > word)
        {
            self.words.set(at, parent);
            at = (at - 1) / FAN;
        }
        self.words.set(at, word);
    }

    /// Counts from another base. It may come to every reminder once in a long while.
    fn rebase(&mut self, base: u64) {
        let all: Vec<(u64, u64)> = self.iter().collect();
        self.clear();
        self.base = base;
        for (when, what) in all {
            self.add(when.max(base), what);
        }
    }

    fn next(&self) -> Option<u64> {
        self.words.get(0).map(|word| self.base + word.unpack().0)
    }

    /// Takes the soonest reminder, and all others that say the same.
    fn pop(&mut self) -> Option<u64> {
        let word = self.words.get(0)?;
        while self.words.get(0) == Some(word) {
            self.pop_one();
        }
        Some(word.unpack().1)
    }

    fn pop_one(&mut self) {
        let Some(word) = self.words.pop() else { return };
        let mut at = 0;
        while let Some((child, number)) = self.first_under(at).filter(|(child, _)| *child < word) {
            self.words.set(at, child);
            at = number;
        }
        if at < self.len() {
            self.words.set(at, word);
        }
    }

    /// The soonest of those under one.
    fn first_under(&self, at: usize) -> Option<(P, usize)> {
        let first = at * FAN + 1;
        let under = (first..first + FAN).map_while(|number| Some((self.words.get(number)?, number)));
        under.min_by_key(|(word, _)| *word)
    }

    fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.words.iter().map(|word| word.unpack()).map(|(when, what)| (self.base + when, what))
    }

    fn clear(&mut self) {
        self.words.clear();
    }
}

/// Reminders of one shard.
#[derive(Default)]
pub(super) struct Deadlines {
    near: Heap<u64>,
    far: Heap<u32>,
}

/// Whether a deadline is soon enough for a reminder of its own. It decides which kind a reminder is of, and nothing else,
/// so that `now` need not be exact.
fn is_near(deadline: Millis, now: Millis) -> bool {
    deadline.0 / SPAN.0 <= now.0 / SPAN.0 + AHEAD
}

impl Deadlines {
    /// Files a reminder for an entry.
    pub fn file(&mut self, deadline: Millis, hash: u32, now: Millis) {
        if is_near(deadline, now) {
            self.near.push(deadline.0, u64::from(hash));
        } else {
            self.far.push(deadline.0 / SPAN.0, u64::from(Region::of(hash).0));
        }
    }

    /// Files reminders for a region: for each of its entries that dies soon, and for the first of the others.
    pub fn remind(&mut self, entries: impl Iterator<Item = (u32, Millis)>, now: Millis) {
        let mut first = None;
        for (hash, deadline) in entries.filter(|(_, deadline)| *deadline != Millis::NEVER) {
            if is_near(deadline, now) {
                self.file(deadline, hash, now);
            } else if first.is_none_or(|(soonest, _)| deadline < soonest) {
                first = Some((deadline, hash));
            }
        }
        if let Some((deadline, hash)) = first {
            self.file(deadline, hash, now);
        }
    }

    /// When there is something to look at, if ever.
    pub fn next(&self) -> Millis {
        let near = self.near.next().map_or(Millis::NEVER, Millis);
        let far = self.far.next().map_or(Millis::NEVER, |span| Millis(span.saturating_sub(AHEAD) * SPAN.0));
        near.min(far)
    }

    /// Takes a reminder that is due.
    pub fn pop_due(&mut self, now: Millis) -> Option<Due> {
        if self.near.next().is_some_and(|near| near <= now.0) {
            return self.near.pop().map(|hash| Due::Hash(hash as u32));
        }
        if self.next() > now {
            return None;
        }
        self.far.pop().map(|region| Due::Region(Region(region as u16)))
    }

    /// Whether so many reminders are stale that making them anew pays.
    pub fn is_cluttered(&self, expiring: usize) -> bool {
        self.near.len() + self.far.len() > 2 * expiring + STALE_MIN
    }

    /// Takes all reminders out and tells the regions that had some. No others have anything that dies, so what follows
    /// costs in proportion to the reminders, however large the table is.
    pub fn take_regions(&mut self) -> Vec<Region> {
        let near = self.near.iter().map(|(_, hash)| Region::of(hash as u32));
        let far = self.far.iter().map(|(_, region)| Region(region as u16));
        let mut regions: Vec<Region> = near.chain(far).collect();
        self.near.clear();
        self.far.clear();
        regions.sort_unstable();
        regions.dedup();
        regions
    }

    /// Frees so many pieces of its memory; `false` when none is left. It is of no use afterwards.
    pub fn wreck(&mut self, pieces: usize) -> bool {
        self.near.words.wreck(pieces) || self.far.words.wreck(pieces)
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.near.words.size() + self.far.words.size()
    }

    /// The soonest reminder of each hash and of each region, for `validate`.
    #[cfg(any(test, debug_assertions))]
    pub fn soonest(&self) -> impl Fn(u32) -> Millis {
        use std::collections::HashMap;
        let (mut hashes, mut regions) = (HashMap::new(), HashMap::new());
        for (when, hash) in self.near.iter() {
            let first = hashes.entry(hash as u32).or_insert(Millis(when));
            *first = Millis(when).min(*first);
        }
        for (span, region) in self.far.iter() {
            let first = regions.entry(Region(region as u16)).or_insert(Millis(span * SPAN.0));
            *first = Millis(span * SPAN.0).min(*first);
        }
        move |hash| {
            let (near, far) = (hashes.get(&hash), regions.get(&Region::of(hash)));
            near.copied().unwrap_or(Millis::NEVER).min(far.copied().unwrap_or(Millis::NEVER))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);
    const DAY: u64 = 86_400_000;

    /// What has died by a time, with each region's reminders made anew from the entries as a shard does.
    fn due(deadlines: &mut Deadlines, entries: &mut Vec<(u32, Millis)>, now: Millis) -> Vec<(u32, Millis)> {
        let mut dead = Vec::new();
        while let Some(due) = deadlines.pop_due(now) {
            match due {
                Due::Hash(hash) => dead.extend(entries.extract_if(.., |entry| entry.0 == hash && entry.1 <= now)),
                Due::Region(region) => {
                    deadlines.remind(entries.iter().copied().filter(|(hash, _)| Region::of(*hash) == region), now)
                }
            }
        }
        dead
    }

    /// All that dies, with the time at which it was looked at, and how many times that was.
    fn run(deadlines: &mut Deadlines, mut entries: Vec<(u32, Millis)>) -> (Vec<(u32, Millis)>, usize) {
        let (mut seen, mut looks) = (Vec::new(), 0);
        while deadlines.next() != Millis::NEVER {
            let now = deadlines.next();
            assert!(due(deadlines, &mut entries, now - Ttl(1)).is_empty());
            seen.extend(due(deadlines, &mut entries, now).into_iter().map(|(hash, _)| (hash, now)));
            looks += 1;
        }
        (seen, looks)
    }

    #[test]
    fn reminders_come_in_order_and_to_the_millisecond_however_far_apart_they_are() {
        let mut deadlines = Deadlines::default();
        let mut entries = [(1 << 16, 60), (2 << 16, 0), (3 << 16, 400), (4 << 16, 30), (5 << 16, 1)]
            .map(|(hash, days)| (hash, NOW + Ttl(days * DAY + 7)));
        entries.iter().for_each(|(hash, deadline)| deadlines.file(*deadline, *hash, NOW));
        let (seen, _) = run(&mut deadlines, entries.to_vec());
        entries.sort_by_key(|(_, deadline)| *deadline);
        assert_eq!(seen, entries);
    }

    #[test]
    fn what_is_years_off_is_reminded_of_again_and_again_and_not_all_the_time() {
        let (mut deadlines, end) = (Deadlines::default(), NOW + Ttl(3650 * DAY));
        let entries = [(1, NOW + Ttl(5_000)), (2, end)];
        entries.iter().for_each(|(hash, deadline)| deadlines.file(*deadline, *hash, NOW));
        let (seen, looks) = run(&mut deadlines, entries.to_vec());
        assert_eq!(seen, entries);
        assert!((2..2_500).contains(&looks), "{looks}");
    }

    #[test]
    fn a_region_has_one_reminder_for_what_dies_later() {
        let mut deadlines = Deadlines::default();
        let entries: Vec<_> = (0..10).map(|hash| (hash, NOW + Ttl::seconds(100 + u64::from(hash) * 100))).collect();
        deadlines.remind(entries.iter().copied(), NOW);
        assert_eq!(deadlines.far.len(), 1);
        let (seen, looks) = run(&mut deadlines, entries.clone());
        assert_eq!((seen, looks), (entries, 20));
    }
}
