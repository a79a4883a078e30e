//! What one lock guards: a table of entries, their reminders and their sizes.
//!
//! Everything that leaves goes through [`Shard::take`], so that sizes and counts cannot drift. A shard knows nothing
//! of clients, namespaces or other shards; it is always handed the time. What it takes out is given back to the
//! caller, who frees it when the lock is gone.

use hashbrown::HashTable;

use super::deadlines::Deadlines;
use super::entry::{Entry, Kind};
use super::names::NameBuf;
use crate::clock::Millis;

/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its deadline passed.
    Expired,
    /// Its memory was needed.
    Evicted,
    /// Somebody asked.
    Removed,
    /// Another value took its place.
    Replaced,
    /// It lives on under another key.
    Moved,
}

/// Reminders one sweep may look at, so that no reader waits longer than about 20 µs.
pub(super) const SWEEP_MAX: usize = 64;

/// Tables below this many buckets are never made smaller.
const SHRINK_MIN: usize = 64;

/// What happened in a shard since the counters were last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that found a live entry.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Entries that died of time.
    pub expired: u64,
    /// Entries that died of memory.
    pub evicted: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.expired += other.expired;
        self.evicted += other.evicted;
    }
}

/// One of the store's shards.
#[derive(Default)]
pub(super) struct Shard {
    table: HashTable<Entry>,
    deadlines: Deadlines,
    /// Counts the times that entries may have changed buckets, for SCAN.
    epoch: u32,
    /// Bytes of all blocks.
    blocks: usize,
    /// Entries with a deadline.
    expiring: usize,
    /// Aliases and fences, which no command sees.
    hidden: usize,
    /// What the budget has been charged for this shard.
    pub charged: usize,
    pub stats: Stats,
}

/// The hash that the table works with, from the 32 bits that an entry keeps: the table wants its top seven bits and
/// its low bits to be good.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Shard {
    /// The bucket of a key, dead or alive.
    pub fn find(&self, hash: u32, key: &[u8]) -> Option<usize> {
        self.table.find_bucket_index(spread(hash), |entry| entry.hash() == hash && entry.key() == key)
    }

    pub fn at(&self, index: usize) -> &Entry {
        self.table.get_bucket(index).expect("a bucket that was just found")
    }

    /// The entry in a bucket, for changes that leave size and deadline alone.
    pub fn at_mut(&mut self, index: usize) -> &mut Entry {
        self.table.get_bucket_mut(index).expect("a bucket that was just found")
    }

    /// The entry in a bucket if there is one, for sampling and scanning.
    pub fn bucket(&self, index: usize) -> Option<&Entry> {
        self.table.get_bucket(index)
    }

    pub fn buckets(&self) -> usize {
        if self.table.is_empty() { 0 } else { self.table.num_buckets() }
    }

    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// Adds an entry whose key is not there and tells its bucket.
    pub fn link(&mut self, entry: Entry) -> usize {
        if self.table.len() == self.table.capacity() {
            self.table.reserve(1, |entry| spread(entry.hash()));
            self.epoch = self.epoch.wrapping_add(1);
        }
        let (hash, deadline) = (entry.hash(), entry.deadline());
        self.count_in(&entry);
        let index = self.table.insert_unique(spread(hash), entry, |entry| spread(entry.hash())).bucket_index();
        self.remind(Millis::NEVER, deadline, hash);
        index
    }

    /// Puts an entry in the place of one with the same key.
    pub fn replace(&mut self, index: usize, entry: Entry) -> Entry {
        let (hash, deadline) = (entry.hash(), entry.deadline());
        self.count_in(&entry);
        let old = std::mem::replace(self.at_mut(index), entry);
        self.count_out(&old);
        self.remind(old.deadline(), deadline, hash);
        old
    }

    /// Takes an entry out. Nothing else does.
    pub fn take(&mut self, index: usize, cause: Cause) -> Entry {
        let entry = self.table.get_bucket_entry(index).expect("a bucket that was just found").remove().0;
        self.count_out(&entry);
        match cause {
            Cause::Expired if entry.kind() == Kind::String => self.stats.expired += 1,
            Cause::Evicted => self.stats.evicted += 1,
            Cause::Expired | Cause::Removed | Cause::Replaced | Cause::Moved => {}
        }
        entry
    }

    /// Sets the deadline of an entry.
    pub fn set_deadline(&mut self, index: usize, deadline: Millis) {
        let entry = self.at_mut(index);
        let (old, hash) = (entry.deadline(), entry.hash());
        entry.set_deadline(deadline);
        self.expiring -= usize::from(old != Millis::NEVER);
        self.expiring += usize::from(deadline != Millis::NEVER);
        self.remind(old, deadline, hash);
    }

    /// Changes a value's length in place.
    pub fn resize(&mut self, index: usize, len: usize) {
        let entry = self.at_mut(index);
        let before = entry.size();
        entry.resize(len);
        let after = entry.size();
        self.blocks = self.blocks - before + after;
    }

    fn count_in(&mut self, entry: &Entry) {
        self.blocks += entry.size();
        self.expiring += usize::from(entry.deadline() != Millis::NEVER);
        self.hidden += usize::from(entry.kind() != Kind::String);
    }

    fn count_out(&mut self, entry: &Entry) {
        self.blocks -= entry.size();
        self.expiring -= usize::from(entry.deadline() != Millis::NEVER);
        self.hidden -= usize::from(entry.kind() != Kind::String);
    }

    /// Keeps the promise of `deadlines` when an entry's deadline changes. A refresh to later writes nothing: the
    /// reminder that is there will look, find the entry alive, and file the next one.
    fn remind(&mut self, old: Millis, new: Millis, hash: u32) {
        if new < old {
            self.deadlines.file(new, hash);
        }
    }

    /// When the first of the entries with this hash dies.
    fn soonest(&self, hash: u32) -> Option<Millis> {
        soonest(&self.table, hash)
    }

    /// Keeps the table and the reminders in proportion to what there is, and gives memory back. What it costs was saved
    /// by the many changes before it. Entries may change buckets, so this comes last under a lock.
    pub fn tidy(&mut self) {
        if self.deadlines.is_cluttered(self.expiring) {
            let table = &self.table;
            self.deadlines.refile(|hash| soonest(table, hash));
        }
        self.deadlines.shrink();
        let buckets = self.table.num_buckets();
        if buckets > SHRINK_MIN && self.table.len() < buckets / 8 {
            self.table.shrink_to(self.table.len() * 2, |entry| spread(entry.hash()));
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// The name that a live alias under this one stands for.
    pub fn alias(&self, hash: u32, name: &[u8], now: Millis) -> Option<NameBuf> {
        if self.hidden == 0 {
            return None;
        }
        let entry = self.at(self.find(hash, name)?);
        (entry.kind() == Kind::Alias && entry.is_live(now)).then(|| NameBuf::from_slice(entry.value()))
    }

    /// The instant of the soonest reminder.
    pub fn next_due(&self) -> Millis {
        self.deadlines.next()
    }

    /// Takes out what has died, a bounded slice at a time. More may be due: `next_due` tells.
    pub fn sweep(&mut self, now: Millis, dead: &mut Vec<Entry>) {
        for _ in 0..SWEEP_MAX {
            let Some(hash) = self.deadlines.pop_due(now) else { return };
            self.retire(hash, now, dead);
        }
    }

    /// Takes the dead entries of one hash and files a reminder for the living.
    fn retire(&mut self, hash: u32, now: Millis, dead: &mut Vec<Entry>) {
        let due = |entry: &Entry| entry.hash() == hash && !entry.is_live(now);
        while let Some(index) = self.table.find_bucket_index(spread(hash), due) {
            let entry = self.take(index, Cause::Expired);
            dead.push(entry);
        }
        if let Some(deadline) = self.soonest(hash) {
            self.deadlines.file(deadline, hash);
        }
    }

    /// Entries that commands can see, the dead that are not yet reclaimed among them.
    pub fn visible(&self) -> usize {
        self.table.len() - self.hidden
    }

    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// Bytes of everything in the shard.
    pub fn size(&self) -> usize {
        self.blocks + self.table.allocation_size() + self.deadlines.size()
    }

    /// Everything that commands can see, taken out at once; aliases and fences stay.
    pub fn clear(&mut self) -> HashTable<Entry> {
        let mut gone = std::mem::take(&mut self.table);
        // Only a shard that hides something is walked, so that a flush of millions holds no lock for long.
        let hides = self.hidden > 0;
        *self =
            Shard { epoch: self.epoch.wrapping_add(1), charged: self.charged, stats: self.stats, ..Shard::default() };
        if hides {
            gone.extract_if(|entry| entry.kind() != Kind::String).for_each(|entry| {
                self.link(entry);
            });
        }
        gone
    }

    /// Recounts everything, for tests: what the counters say against what is there.
    #[cfg(any(test, debug_assertions))]
    pub fn validate(&self) {
        let count = |test: &dyn Fn(&Entry) -> bool| self.table.iter().filter(|entry| test(entry)).count();
        assert_eq!(self.blocks, self.table.iter().map(Entry::size).sum::<usize>(), "bytes of blocks");
        assert_eq!(self.expiring, count(&|entry| entry.deadline() != Millis::NEVER), "entries with a deadline");
        assert_eq!(self.hidden, count(&|entry| entry.kind() != Kind::String), "hidden entries");
        let reminders = self.deadlines.soonest_of_each();
        for entry in self.table.iter().filter(|entry| entry.deadline() != Millis::NEVER) {
            let reminder = reminders.get(&entry.hash()).copied().unwrap_or(Millis::NEVER);
            assert!(reminder <= entry.deadline(), "an entry without a reminder");
        }
        assert!(!self.deadlines.is_cluttered(self.expiring), "stale reminders pile up");
    }

    /// Bytes of the reminders alone.
    #[cfg(test)]
    pub fn reminders_size(&self) -> usize {
        self.deadlines.size()
    }
}

fn soonest(table: &HashTable<Entry>, hash: u32) -> Option<Millis> {
    let same = table.iter_hash(spread(hash)).filter(|entry| entry.hash() == hash);
    same.map(Entry::deadline).min().filter(|deadline| *deadline != Millis::NEVER)
}
