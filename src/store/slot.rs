//! One key's place in its shard, for as long as a closure runs.
//!
//! A [`Slot`] shows only what is alive and visible. The dead entry that may still lie there is taken out when the slot
//! is opened; fences show as nothing, but refuse writes. What a slot replaces or removes goes to the trash, which is
//! freed when the lock is gone.

use smallvec::SmallVec;

use super::entry::{Entry, Kind};
use super::names::Rule;
use super::shard::{Cause, Shard};
use super::value::Value;
use crate::clock::Millis;
use crate::error::{Error, Result};

/// What was taken out under a lock and is freed after it. One command seldom takes more than two entries from a slot.
pub(super) type Trash = SmallVec<[Entry; 2]>;

/// The ticket of a fence that nobody can lift: it falls by itself.
pub(super) const NO_TICKET: [u8; 8] = [0; 8];

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
    /// The access clock that a new entry starts with.
    created: u32,
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
        created: u32,
        trash: &'a mut Trash,
    ) -> Slot<'a> {
        let mut index = shard.find(hash, name);
        if let Some(dead) = index.filter(|index| !shard.at(*index).is_live(now)) {
            trash.push(shard.take(dead, Cause::Expired));
            index = None;
        }
        Slot { shard, name, hash, rule, now, created, index, trash }
    }

    /// The bucket of a visible value.
    fn seen(&self) -> Option<usize> {
        self.index.filter(|index| self.shard.at(*index).kind() == Kind::String)
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
        self.place(fresh.0);
        Ok(())
    }

    /// Puts bytes here, in place of what there is. They are copied under the lock, so this is for what is short or
    /// could only be computed here.
    pub fn put_bytes(&mut self, bytes: &[u8], deadline: Millis) -> Result<()> {
        self.admits()?;
        match self.seen().filter(|index| self.shard.at(*index).fits(bytes.len())) {
            Some(index) => {
                self.shard.at_mut(index).value_mut().copy_from_slice(bytes);
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

    /// The hidden entry here, if there is one.
    pub(super) fn hidden(&self) -> Option<&Entry> {
        self.index.map(|index| self.shard.at(index)).filter(|entry| entry.kind() != Kind::String)
    }

    fn place(&mut self, mut entry: Entry) {
        entry.set_access(self.created);
        match self.index {
            Some(index) => self.trash.push(self.shard.replace(index, entry)),
            None => self.index = Some(self.shard.link(entry)),
        }
    }

    /// Removes the value here because somebody asked; `false` if there is none. In a fenced namespace the key takes no
    /// writes for a while, also when there was nothing: a fill may be under way.
    pub fn remove(&mut self) -> bool {
        let found = self.seen();
        if let Some(fence) = self.rule.and_then(|rule| rule.fence)
            && self.admits().is_ok()
        {
            self.put_hidden(Kind::Fence, &NO_TICKET, self.now + fence);
            return found.is_some();
        }
        if let Some(index) = found {
            self.drop_at(index, Cause::Removed);
        }
        found.is_some()
    }

    /// Takes the value out so that it can be put under another key.
    pub fn detach(&mut self) -> Option<Loose> {
        let index = self.seen()?;
        self.index = None;
        Some(Loose(self.shard.take(index, Cause::Moved)))
    }

    pub(super) fn drop_at(&mut self, index: usize, cause: Cause) {
        self.trash.push(self.shard.take(index, cause));
        self.index = None;
    }

    pub(super) fn index(&self) -> Option<usize> {
        self.index
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
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self.seen() {
            Some(index) => self.shard.at_mut(index).value_mut(),
            None => &mut [],
        }
    }
}
