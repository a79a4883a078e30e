//! What one lock guards: a table of entries, their reminders and their sizes.
//!
//! Everything that leaves goes through [`Shard::take`], so that sizes and counts cannot drift. A shard knows nothing
//! of clients, namespaces or other shards; it is always handed the time. What it takes out is given back to the
//! caller, who frees it when the lock is gone.

mod clear;
mod resize;

use std::sync::Arc;

use smallvec::SmallVec;

use super::arena::{Arena, At};
use super::changes::Teller;
use super::deadlines::{Deadlines, Due, Region};
use super::depot::{Bulk, Depot};
use super::entry::{self, Draft, Entry, Kind, Marks, Shape, block_len, key_of};
use super::lazy::Bin;
use super::names::NameBuf;
use super::objects::Objects;
use super::prefetch::prefetch;
use super::table::{Place, Table};
use super::trash::Trash;
use super::value::{Object, Value};
use super::waits::Waits;
use super::watch::Watchers;
use crate::clock::Millis;

pub(super) use clear::{Debris, Stage, Wrecked};

/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its deadline passed.
    Expired,
    /// Its memory was needed.
    Evicted,
    /// Somebody asked.
    Removed,
    /// The same, and it is to be freed little by little.
    Unlinked,
    /// It lives on under another key.
    Moved,
}

/// Reminders of a sweep that are looked at together.
const SWEEP_ROW: usize = 8;

/// Where an entry is: its bucket in the table, and its block. Good until the shard's lock is let go, or another entry is
/// put or taken.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub bucket: usize,
    pub at: At,
}

/// Bytes that are fetched behind a key that is foreseen: most values, as nobody waits for them yet.
const AHEAD: usize = 320;

/// What happened since the counters were last reset, in a store or a part of it.
///
/// ```
/// use cloakroom::{Store, clock::{ManualClock, Ttl}};
///
/// let hands = ManualClock::default();
/// let store = Store::builder().clock(hands.clone()).build();
/// store.put(b"coat", b"blue", Ttl::seconds(5))?;
/// store.fetch(b"coat");
/// hands.advance(Ttl::seconds(5));
/// store.fetch(b"coat");
/// store.sweep_now();
///
/// let stats = store.stats();
/// assert_eq!((stats.hits, stats.misses, stats.expired, stats.evicted), (1, 1, 1, 0));
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[non_exhaustive]
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

/// One of the store's shards. In memory, what every look-up reads and writes comes first, beside the lock, and what every
/// write looks at fills the next line, so that a write in place touches three: the last one is the beginning of the arena.
#[derive(Default)]
#[repr(C)]
pub(super) struct Shard {
    table: Table,
    pub hits: u64,
    pub misses: u64,
    /// Changes that commands made. They are not reset with the other counters.
    pub changes: u64,
    /// The latest time that was heard of. It decides which kind a reminder is of, and nothing else.
    heard: Millis,
    /// Who wants to know of changes. They stay when everything else goes.
    pub watchers: Watchers,
    /// Who waits for keys, if anybody does.
    pub waits: Option<Box<Waits>>,
    /// How others are told of changes.
    teller: Teller,
    /// Changes of what no command sees, so that copies are known to be true.
    hidden_changes: u32,
    /// Whether blocks, buckets, reminders or collections have come or gone since it was last seen to.
    is_unsettled: bool,
    arena: Arena,
    pub expired: u64,
    pub evicted: u64,
    /// Entries too long for a block, and the numbers that are free among them.
    bulks: Vec<Bulk>,
    free_bulks: Vec<u32>,
    objects: Objects,
    deadlines: Deadlines,
    /// Where large collections wait to be freed.
    bin: Arc<Bin>,
    /// What is at hand for long entries.
    depot: Arc<Depot>,
    /// Bytes of what lies outside of blocks.
    bulk_bytes: usize,
    /// Entries with a deadline.
    expiring: usize,
    /// The hashes of aliases and fences, which no command sees, so that a flush need not look for them.
    hidden: Table,
    /// Entries that sign-ins hang on.
    logins: usize,
    /// What the budget has been charged for this shard.
    pub charged: usize,
}

impl Shard {
    /// An empty shard whose changes are told.
    pub fn new(teller: Teller, bin: &Arc<Bin>, depot: &Arc<Depot>) -> Shard {
        Shard { arena: Arena::new(depot), teller, bin: bin.clone(), depot: depot.clone(), ..Shard::default() }
    }

    /// The entry of a key and where it is, dead or alive.
    #[inline]
    pub fn find(&self, hash: u32, key: &[u8]) -> Option<(Spot, Entry<'_>)> {
        let found = self.table.find(hash, |at| {
            let entry = self.read(at);
            (entry.key() == key).then_some((at, entry))
        });
        found.map(|(bucket, (at, entry))| (Spot { bucket, at }, entry))
    }

    /// Fetches what is probably the entry of a hash; `len` is what its key and value are thought to take.
    pub fn foresee(&self, hash: u32, len: usize) {
        self.fetch(hash, len + AHEAD);
    }

    /// Fetches the first bytes of an entry of a hash.
    fn fetch(&self, hash: u32, len: usize) {
        if let Some((_, at)) = self.table.find(hash, Some) {
            prefetch(self.arena.at(at), len);
        }
    }

    /// The entry in a block.
    #[inline]
    pub fn read(&self, at: At) -> Entry<'_> {
        Entry::read(self.arena.at(at), &self.bulks)
    }

    /// Notes an access to the entry in a block.
    pub fn note_access(&mut self, at: At, access: u32) {
        entry::set_access(self.arena.at_mut(at), access);
    }

    /// Says what time it is to what files reminders.
    pub fn hear(&mut self, now: Millis) {
        self.heard = now;
    }

    /// What happened since the counters were last reset.
    pub fn stats(&self) -> Stats {
        Stats { hits: self.hits, misses: self.misses, expired: self.expired, evicted: self.evicted }
    }

    pub fn reset_stats(&mut self) {
        (self.hits, self.misses, self.expired, self.evicted) = (0, 0, 0, 0);
    }

    /// Whether its size, its reminders or its order may have changed since this was last asked.
    pub fn take_is_unsettled(&mut self) -> bool {
        std::mem::take(&mut self.is_unsettled)
    }

    fn entry(&self, place: Place) -> Entry<'_> {
        self.read(place.at)
    }

    /// The entry in a bucket if there is one, for sampling and scanning.
    pub fn bucket(&self, index: usize) -> Option<Entry<'_>> {
        self.table.get(index).map(|place| self.entry(place))
    }

    pub fn buckets(&self) -> usize {
        if self.table.len() == 0 { 0 } else { self.table.buckets() }
    }

    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.iter().map(|place| self.entry(place))
    }

    /// Entries from a hash on, in the order of their hashes.
    pub fn iter_from(&self, first: u32) -> impl Iterator<Item = (u32, Entry<'_>)> {
        self.table.iter_from(first).map(|place| (place.hash, self.entry(place)))
    }

    /// The value of an entry, to change in place.
    pub fn value_mut(&mut self, at: At) -> &mut [u8] {
        self.tell_of(at);
        entry::value_mut(self.arena.at_mut(at), &mut self.bulks)
    }

    /// Puts an entry where one of the same key is, or, without that, where none of its key is. Tells where. `bulk` is its
    /// key and value, if it is long and they were put together before.
    pub fn put(
        &mut self,
        spot: Option<Spot>,
        hash: u32,
        draft: &Draft<'_>,
        bulk: Option<Bulk>,
        trash: &mut Trash,
    ) -> Spot {
        let shape = draft.shape();
        let Some(Spot { bucket, mut at }) = spot else {
            if draft.kind.is_visible() {
                self.tell(draft.key, false);
            }
            let at = self.write(draft, shape, bulk);
            self.count_in(draft.marks(), hash);
            self.remind(Millis::NEVER, draft.deadline, hash);
            return Spot { bucket: self.table.insert(hash, at), at };
        };
        let old = self.read(at);
        if draft.kind.is_visible() || old.kind().is_visible() {
            self.tell(draft.key, false);
        }
        let (marks, deadline, fits) = (old.marks(), old.deadline(), old.has_shape(shape, draft.value.len()));
        if let Some(number) = old.object() {
            self.drop_object(number, None, trash);
        }
        if marks.hidden {
            self.hidden_changes = self.hidden_changes.wrapping_add(1);
        }
        if marks != draft.marks() {
            self.count_out(marks, hash);
            self.count_in(draft.marks(), hash);
        }
        let block = self.arena.at_mut(at);
        if fits {
            draft.rewrite(block);
        } else if !shape.is_bulk() && entry::bulk_of(block).is_none() && block_len(block) == shape.len {
            draft.write(block, shape, 0);
        } else {
            self.free_block(at, trash);
            at = self.write(draft, shape, bulk);
            self.table.set(bucket, at);
        }
        self.remind(deadline, draft.deadline, hash);
        Spot { bucket, at }
    }

    /// Writes an entry to a place of its own.
    fn write(&mut self, draft: &Draft<'_>, shape: Shape, bulk: Option<Bulk>) -> At {
        self.is_unsettled = true;
        let at = self.arena.make(shape.len);
        let bulk = shape.is_bulk().then(|| bulk.unwrap_or_else(|| Bulk::new(draft.key, draft.value, &self.depot)));
        let number = bulk.map_or(0, |bulk| self.keep_bulk(bulk));
        draft.write(self.arena.at_mut(at), shape, number);
        at
    }

    /// Takes in what is too long for a block and tells its number.
    fn keep_bulk(&mut self, bulk: Bulk) -> u32 {
        self.bulk_bytes += bulk.capacity();
        let number = self.free_bulks.pop().unwrap_or(self.bulks.len() as u32);
        match self.bulks.get_mut(number as usize) {
            Some(free) => *free = bulk,
            None => self.bulks.push(bulk),
        }
        number
    }

    /// Gives a collection away to be freed, that was taken out for this reason or, without one, written over.
    fn drop_object(&mut self, number: u32, cause: Option<Cause>, trash: &mut Trash) {
        self.is_unsettled = true;
        let Some(object) = self.objects.take(number) else { return };
        let lazily = self.bin.lazily();
        let is_lazy = match cause {
            Some(Cause::Expired | Cause::Unlinked) => true,
            Some(Cause::Evicted) => lazily.evicted,
            Some(Cause::Removed | Cause::Moved) | None => lazily.replaced,
        };
        let rest = if is_lazy { self.bin.put(object) } else { Some(object) };
        rest.into_iter().for_each(|object| trash.put(Trash::Object { _object: object }));
    }

    /// Gives back the memory of an entry's own bytes.
    fn free_block(&mut self, at: At, trash: &mut Trash) {
        self.is_unsettled = true;
        let block = self.arena.at(at);
        let len = block_len(block);
        if let Some(number) = entry::bulk_of(block) {
            let bulk = std::mem::take(&mut self.bulks[number]);
            self.bulk_bytes -= bulk.capacity();
            self.free_bulks.push(number as u32);
            trash.put(Trash::Bulk { _bulk: bulk });
        }
        self.arena.free(at, len);
    }

    /// Takes an entry out. Nothing else does.
    pub fn take(&mut self, index: usize, cause: Cause, trash: &mut Trash) {
        let place = self.table.remove(index);
        let entry = self.entry(place);
        let (kind, marks, object) = (entry.kind(), entry.marks(), entry.object());
        if kind.is_visible() {
            self.tell(entry.key(), matches!(cause, Cause::Expired | Cause::Evicted));
        }
        match cause {
            Cause::Expired if kind.is_visible() => self.expired += 1,
            Cause::Evicted => self.evicted += 1,
            Cause::Expired | Cause::Removed | Cause::Unlinked | Cause::Moved => {}
        }
        self.count_out(marks, place.hash);
        if let Some(number) = object {
            self.drop_object(number, Some(cause), trash);
        }
        self.free_block(place.at, trash);
    }

    /// The value in an entry that commands may see.
    pub fn value<'a>(&'a self, entry: Entry<'a>) -> Value<'a> {
        Value::of(entry, &self.objects)
    }

    /// Takes a collection in and tells its number, which is then the value of an entry.
    pub fn add_object(&mut self, object: Object) -> u32 {
        self.is_unsettled = true;
        self.objects.insert(object)
    }

    /// Shows the collection of an entry to who may change it. Who does tells of it.
    pub fn edit_object<R>(&mut self, at: At, f: impl FnOnce(&mut Object) -> R) -> Option<R> {
        self.is_unsettled = true;
        let number = self.read(at).object()?;
        self.objects.edit(number, f)
    }

    /// Takes the collection out of an entry that is about to go.
    pub fn take_object(&mut self, at: At) -> Option<Object> {
        self.is_unsettled = true;
        let number = self.read(at).object()?;
        self.objects.take(number)
    }

    /// Sets the deadline of an entry and tells where it is then.
    pub fn set_deadline(&mut self, spot: Spot, hash: u32, deadline: Millis, trash: &mut Trash) -> Spot {
        let Spot { bucket, mut at } = spot;
        self.tell_of(at);
        let entry = self.read(at);
        let old = entry.deadline();
        let draft = Draft { deadline, ..entry.draft() };
        if draft.shape() == entry.draft().shape() {
            entry::set_deadline(self.arena.at_mut(at), deadline);
        } else {
            // From this side of the year 6429 to the other: the block gets longer or shorter.
            let (key, value) = (draft.key.to_vec(), draft.value.to_vec());
            let draft = Draft { key: &key, value: &value, ..draft };
            self.free_block(at, trash);
            at = self.write(&draft, draft.shape(), None);
            self.table.set(bucket, at);
        }
        self.is_unsettled = true;
        self.expiring -= usize::from(old != Millis::NEVER);
        self.expiring += usize::from(deadline != Millis::NEVER);
        self.remind(old, deadline, hash);
        Spot { bucket, at }
    }

    /// Says that the entry in a block is changed where it is.
    #[inline]
    pub fn tell_of(&self, at: At) {
        if !self.watchers.is_empty() || self.teller.is_heard() {
            self.tell(self.read(at).key(), false);
        }
    }

    /// Says that a key is changed, or goes by itself.
    #[inline]
    fn tell(&self, key: &[u8], is_natural: bool) {
        self.watchers.tell(key);
        self.teller.tell(key, is_natural);
    }

    fn count_in(&mut self, marks: Marks, hash: u32) {
        self.expiring += usize::from(marks.mortal);
        if marks.hidden {
            self.is_unsettled = true;
            self.hidden.insert(hash, At::from_bits(0));
            self.hidden_changes = self.hidden_changes.wrapping_add(1);
        }
        self.logins += usize::from(marks.login);
    }

    fn count_out(&mut self, marks: Marks, hash: u32) {
        self.is_unsettled = true;
        self.expiring -= usize::from(marks.mortal);
        if marks.hidden {
            let (bucket, ()) = self.hidden.find(hash, |_| Some(())).expect("what is hidden was noted");
            self.hidden.remove(bucket);
            self.hidden_changes = self.hidden_changes.wrapping_add(1);
        }
        self.logins -= usize::from(marks.login);
    }

    /// Keeps the promise of `deadlines` when an entry's deadline changes. A refresh to later writes nothing: the
    /// reminder that is there will look, find the entry alive, and file the next one.
    fn remind(&mut self, old: Millis, new: Millis, hash: u32) {
        if new < old {
            self.is_unsettled = true;
            self.deadlines.file(new, hash, self.heard);
        }
    }

    /// Keeps table, reminders and holes in proportion to what there is, and gives memory back. What it costs was saved
    /// by the many changes before it. Entries may change buckets, so this comes last under a lock. `hash` is how names
    /// are hashed.
    pub fn tidy(&mut self, hash: impl Fn(&[u8]) -> u32) {
        if self.deadlines.is_cluttered(self.expiring) {
            for region in self.deadlines.take_regions() {
                self.remind_region(region);
            }
        }
        self.table.shrink();
        self.hidden.shrink();
        if self.arena.is_wasteful() {
            let Shard { table, arena, bulks, .. } = self;
            arena.compact(block_len, |block, old, new| {
                let place = table.find(hash(key_of(block, bulks)), |at| (at == old).then_some(()));
                table.set(place.expect("every block has a place").0, new);
            });
        }
    }

    /// The name that a live alias under this one stands for.
    pub fn alias(&self, hash: u32, name: &[u8], now: Millis) -> Option<NameBuf> {
        if self.hidden.len() == 0 {
            return None;
        }
        let (_, entry) = self.find(hash, name)?;
        (entry.kind() == Kind::Alias && entry.is_live(now)).then(|| NameBuf::from_slice(entry.value()))
    }

    /// The instant of the soonest reminder.
    pub fn next_due(&self) -> Millis {
        self.deadlines.next()
    }

    /// Takes out what has died, looking at so many reminders at most, and tells its names, but not of what no command
    /// sees. More may be due: `next_due` tells.
    pub fn sweep(&mut self, now: Millis, most: usize, tell: impl Fn(&[u8]), trash: &mut Trash) {
        self.is_unsettled = true;
        self.heard = now;
        for done in (0..most).step_by(SWEEP_ROW) {
            // What a row of reminders leads to is fetched together, so that not each is waited for.
            let mut hashes: SmallVec<[u32; SWEEP_ROW]> = SmallVec::new();
            for _ in done..most.min(done + SWEEP_ROW) {
                match self.deadlines.pop_due(now) {
                    Some(Due::Hash(hash)) => {
                        self.fetch(hash, 1);
                        hashes.push(hash);
                    }
                    Some(Due::Region(region)) => self.remind_region(region),
                    None => break,
                }
            }
            hashes.into_iter().for_each(|hash| self.retire(hash, now, &tell, trash));
        }
    }

    /// Files what reminders the entries of a region need.
    fn remind_region(&mut self, region: Region) {
        let Shard { table, arena, deadlines, heard, .. } = self;
        let (first, last) = region.hashes();
        let entries = table.range(first, last).map(|place| (place.hash, entry::deadline(arena.at(place.at))));
        deadlines.remind(entries, *heard);
    }

    /// Takes the dead entries of one hash and files a reminder for the living.
    fn retire(&mut self, hash: u32, now: Millis, tell: impl Fn(&[u8]), trash: &mut Trash) {
        let dead = |shard: &Shard| shard.table.find(hash, |at| (!shard.read(at).is_live(now)).then_some(at));
        while let Some((index, at)) = dead(self) {
            let entry = self.read(at);
            if entry.kind().is_visible() {
                tell(entry.key());
            }
            self.take(index, Cause::Expired, trash);
        }
        let Shard { table, arena, deadlines, heard, .. } = self;
        let entries = table.range(hash, hash).map(|place| (hash, entry::deadline(arena.at(place.at))));
        deadlines.remind(entries, *heard);
    }

    /// Entries that commands can see, the dead that are not yet reclaimed among them.
    pub fn visible(&self) -> usize {
        self.table.len() - self.hidden.len()
    }

    pub fn hidden(&self) -> usize {
        self.hidden.len()
    }

    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// Entries that commands can see and that are evicted first.
    pub fn copies(&self) -> usize {
        self.visible() - self.logins
    }

    /// Entries that sign-ins hang on.
    pub fn logins(&self) -> usize {
        self.logins
    }

    /// Bytes of everything in the shard.
    pub fn size(&self) -> usize {
        self.arena.live()
            + self.bulk_bytes
            + self.objects.bytes()
            + self.table.size()
            + self.hidden.size()
            + self.deadlines.size()
    }

    /// Recounts everything, for tests: what the counters say against what is there.
    #[cfg(any(test, debug_assertions))]
    pub fn validate(&self, hash: impl Fn(&[u8]) -> u32) {
        self.arena.validate(block_len);
        self.table.validate();
        let count = |test: &dyn Fn(Entry<'_>) -> bool| self.iter().filter(|entry| test(*entry)).count();
        let blocks = self.table.iter().map(|place| block_len(self.arena.at(place.at))).sum::<usize>();
        assert_eq!(blocks, self.arena.live(), "every block has one place");
        assert_eq!(self.bulk_bytes, self.bulks.iter().map(Bulk::capacity).sum::<usize>(), "bytes of long entries");
        assert_eq!(self.expiring, count(&|entry| entry.deadline() != Millis::NEVER), "entries with a deadline");
        let hidden = self.table.iter().filter(|place| !self.entry(*place).kind().is_visible());
        assert!(self.hidden.iter().map(|place| place.hash).eq(hidden.map(|place| place.hash)), "hidden entries");
        self.hidden.validate();
        let objects = self.iter().filter_map(|entry| self.objects.get(entry.object()?)).count();
        assert_eq!((self.objects.bytes(), objects), self.objects.recount(), "collections and their bytes");
        assert_eq!(objects, count(&|entry| entry.kind().is_collection()), "every number has a collection");
        assert_eq!(self.logins, count(&|entry| entry.is_login()), "logins");
        let soonest = self.deadlines.soonest();
        for place in self.table.iter() {
            let entry = self.entry(place);
            assert_eq!(hash(entry.key()), place.hash, "an entry in another's place");
            assert!(soonest(place.hash) <= entry.deadline(), "an entry without a reminder");
        }
        assert!(!self.deadlines.is_cluttered(self.expiring), "stale reminders pile up");
    }

    /// For each entry, the buckets that a look-up and an insert of its hash go through.
    #[cfg(test)]
    pub fn ways(&self) -> Vec<(usize, usize)> {
        self.table.ways()
    }

    /// Bytes of the reminders alone.
    #[cfg(test)]
    pub fn reminders_size(&self) -> usize {
        self.deadlines.size()
    }
}
