//! One key's place in its shard, for as long as a closure runs.
//!
//! A [`Slot`] shows only what is alive and visible. The dead entry that may still lie there is taken out when the slot
//! is opened; fences show as nothing, but refuse writes. What a slot replaces or removes goes to the trash, which is
//! freed when the lock is gone.

use smallvec::SmallVec;

use super::access::Mode;
use super::entry::{Entry, Kind};
use super::names::{NameBuf, Rule};
use super::shard::{Cause, Shard};
use super::value::{STRING_MAX, Value};
use crate::clock::Millis;
use crate::error::{Error, Result};

/// What was taken out under a lock and is freed after it. One command seldom takes more than two entries from a slot.
pub(super) type Trash = SmallVec<[Entry; 2]>;

/// The ticket of a fence that nobody can lift: it falls by itself.
const NO_TICKET: u64 = 0;
const TICKET: usize = size_of::<u64>();

/// Tickets that one fence remembers. Sign-outs of one session at the same time are a few tabs; with more than this, the
/// fence just stays until its time has come.
const TICKETS_MAX: usize = 16;

/// A value that was made outside the lock and is in no store yet.
pub struct Fresh(pub(super) Entry);

impl Fresh {
    /// Gives it a deadline.
    pub fn until(mut self, deadline: Millis) -> Fresh {
        self.0.set_deadline(deadline);
        self
    }
}

/// A value that was taken out and may be put under another key.
pub struct Loose(Entry);

impl Loose {
    /// When it dies.
    pub fn deadline(&self) -> Millis {
        self.0.deadline()
    }
}

/// One key's place. See the module's text.
pub struct Slot<'a> {
    shard: &'a mut Shard,
    name: &'a [u8],
    hash: u32,
    rule: Option<&'a Rule>,
    now: Millis,
    /// How accesses are counted.
    mode: &'a Mode,
    index: Option<usize>,
    trash: &'a mut Trash,
}

impl<'a> Slot<'a> {
    pub(super) fn open(
        shard: &'a mut Shard,
        name: &'a [u8],
        hash: u32,
        rule: Option<&'a Rule>,
        now: Millis,
        mode: &'a Mode,
        trash: &'a mut Trash,
    ) -> Slot<'a> {
        let mut index = shard.find(hash, name);
        if let Some(dead) = index.filter(|index| !shard.at(*index).is_live(now)) {
            trash.push(shard.take(dead, Cause::Expired));
            index = None;
        }
        Slot { shard, name, hash, rule, now, mode, index, trash }
    }

    /// The bucket of a visible value. What was put here with a deadline that has passed is none.
    fn seen(&self) -> Option<usize> {
        let visible = |entry: &Entry| entry.kind() == Kind::String && entry.is_live(self.now);
        self.index.filter(|index| visible(self.shard.at(*index)))
    }

    /// The name that stands here for this one.
    pub(super) fn alias(&self) -> Option<NameBuf> {
        let entry = self.shard.at(self.index?);
        (entry.kind() == Kind::Alias).then(|| NameBuf::from_slice(entry.value()))
    }

    /// A value that was made for a name that turned out to be an alias of this one.
    pub(super) fn adopt(&mut self, fresh: Fresh) -> Fresh {
        if fresh.0.key() == self.name {
            return fresh;
        }
        let own = fresh.0.rekeyed(self.hash, self.name);
        self.trash.push(fresh.0);
        Fresh(own)
    }

    /// The value here, if there is one.
    pub fn value(&self) -> Option<Value<'_>> {
        self.seen().map(|index| Value::of(self.shard.at(index)))
    }

    /// When the value here dies; [`Millis::NEVER`] if it does not; `None` if there is none.
    pub fn deadline(&self) -> Option<Millis> {
        self.value().map(Value::deadline)
    }

    /// The time this closure was given.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Counts a read that found something, or not, and notes the access.
    pub fn touch(&mut self, access: impl FnOnce(u32) -> u32) -> bool {
        let Some(index) = self.seen() else {
            self.shard.stats.misses += 1;
            return false;
        };
        self.shard.stats.hits += 1;
        let entry = self.shard.at_mut(index);
        entry.set_access(access(entry.access()));
        true
    }

    /// Whether writes are taken; they are not while a sign-out settles.
    pub fn admits(&self) -> Result<()> {
        match self.index.map(|index| self.shard.at(index).kind()) {
            Some(Kind::Fence) => Err(Error::Fenced),
            _ => Ok(()),
        }
    }

    /// Puts a value here, in place of what there is.
    pub fn put(&mut self, fresh: Fresh) -> Result<()> {
        debug_assert!(fresh.0.key() == self.name && fresh.0.hash() == self.hash);
        self.admits()?;
        fits_a_reply(fresh.0.value())?;
        self.place(fresh.0);
        Ok(())
    }

    /// Puts bytes here, in place of what there is. They are copied under the lock, so this is for what is short or
    /// could only be computed here.
    pub fn put_bytes(&mut self, bytes: &[u8], deadline: Millis) -> Result<()> {
        self.admits()?;
        fits_a_reply(bytes)?;
        match self.seen().filter(|index| self.shard.at(*index).fits(bytes.len())) {
            Some(index) => {
                self.shard.at_mut(index).value_mut().copy_from_slice(bytes);
                self.note(index);
                self.shard.set_deadline(index, deadline);
            }
            None => self.place(Entry::new(Kind::String, self.hash, self.name, bytes, deadline)),
        }
        Ok(())
    }

    /// Puts a value here that lived under another key.
    pub fn put_loose(&mut self, loose: &Loose) -> Result<()> {
        self.admits()?;
        self.place(loose.0.rekeyed(self.hash, self.name));
        Ok(())
    }

    /// Puts a note here that commands do not see, in place of whatever there is.
    pub(super) fn put_hidden(&mut self, kind: Kind, value: &[u8], deadline: Millis) {
        self.place(Entry::new(kind, self.hash, self.name, value, deadline));
    }

    /// Refuses writes here until `until` for this ticket's sake, in place of whatever there is. A fence that is already
    /// here keeps its tickets and the later of both instants.
    pub(super) fn shut(&mut self, ticket: u64, until: Millis) {
        let Some((mut tickets, before)) = self.tickets() else {
            return self.put_hidden(Kind::Fence, &ticket.to_be_bytes(), until);
        };
        if !tickets.contains(&ticket) {
            tickets.push(ticket);
        }
        if tickets.contains(&NO_TICKET) || tickets.len() > TICKETS_MAX {
            tickets = SmallVec::from_slice(&[NO_TICKET]);
        }
        self.put_tickets(&tickets, until.max(before));
    }

    /// Takes a ticket back. With the last one the fence falls, and `true` says so.
    pub(super) fn unshut(&mut self, ticket: u64) -> bool {
        let Some((mut tickets, until)) = self.tickets().filter(|(all, _)| ticket != NO_TICKET && all.contains(&ticket))
        else {
            return false;
        };
        tickets.retain(|other| *other != ticket);
        if !tickets.is_empty() {
            self.put_tickets(&tickets, until);
            return false;
        }
        if let Some(index) = self.index {
            self.drop_at(index, Cause::Removed);
        }
        true
    }

    fn put_tickets(&mut self, tickets: &[u64], until: Millis) {
        let bytes: SmallVec<[u8; 64]> = tickets.iter().flat_map(|ticket| ticket.to_be_bytes()).collect();
        self.put_hidden(Kind::Fence, &bytes, until);
    }

    /// The tickets of the fence here, and when it falls by itself.
    fn tickets(&self) -> Option<(SmallVec<[u64; 4]>, Millis)> {
        let fence = self.index.map(|index| self.shard.at(index)).filter(|entry| entry.kind() == Kind::Fence)?;
        let (tickets, _) = fence.value().as_chunks::<TICKET>();
        Some((tickets.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect(), fence.deadline()))
    }

    fn place(&mut self, mut entry: Entry) {
        // Who writes over a value has accessed it; under LFU its count goes on.
        entry.set_access(match self.seen() {
            Some(index) => self.mode.touched(self.shard.at(index).access(), self.now),
            None => self.mode.created(self.now),
        });
        match self.index {
            Some(index) => self.trash.push(self.shard.replace(index, entry)),
            None => self.index = Some(self.shard.link(entry)),
        }
    }

    /// Removes the value here because somebody asked; `false` if there is none. In a fenced namespace the key takes no
    /// writes for a while, also when there was nothing: a fill may be under way.
    pub fn remove(&mut self) -> bool {
        let found = self.seen();
        if let Some(fence) = self.rule.and_then(|rule| rule.fence) {
            self.shut(NO_TICKET, self.now + fence);
        } else if let Some(index) = found {
            self.drop_at(index, Cause::Removed);
        }
        found.is_some()
    }

    /// Takes out whatever lies here but a fence, and lays none.
    pub(super) fn forget(&mut self) -> bool {
        let Some(index) = self.index.filter(|_| self.admits().is_ok()) else { return false };
        self.drop_at(index, Cause::Removed);
        true
    }

    /// Takes the value out so that it can be put under another key.
    pub fn detach(&mut self) -> Option<Loose> {
        let index = self.seen()?;
        self.index = None;
        Some(Loose(self.shard.take(index, Cause::Moved)))
    }

    /// Notes an access to an entry that is changed in place.
    fn note(&mut self, index: usize) {
        let entry = self.shard.at_mut(index);
        entry.set_access(self.mode.touched(entry.access(), self.now));
    }

    /// A copy of the value, to be put under another key.
    pub fn copied(&self) -> Option<Loose> {
        self.seen().map(|index| Loose(self.shard.at(index).rekeyed(self.hash, self.name)))
    }

    fn drop_at(&mut self, index: usize, cause: Cause) {
        self.trash.push(self.shard.take(index, cause));
        self.index = None;
    }

    /// Sets when the value here dies. A deadline that has passed removes it at once.
    pub fn set_deadline(&mut self, deadline: Millis) {
        let Some(index) = self.seen() else { return };
        if deadline <= self.now {
            self.remove();
        } else {
            self.shard.set_deadline(index, deadline);
        }
    }

    pub(super) fn resize(&mut self, len: usize) {
        if let Some(index) = self.seen() {
            self.shard.resize(index, len);
            self.note(index);
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self.seen() {
            Some(index) => self.shard.at_mut(index).value_mut(),
            None => &mut [],
        }
    }
}

/// Whether a value is short enough to be sent in one reply.
fn fits_a_reply(value: &[u8]) -> Result<()> {
    if value.len() <= STRING_MAX { Ok(()) } else { Err(Error::TooLong) }
}
