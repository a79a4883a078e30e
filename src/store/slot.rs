//! One key's place in its shard, for as long as a closure runs.
//!
//! A [`Slot`] shows only what is alive and visible. The dead entry that may still lie there is taken out when the slot
//! is opened; fences show as nothing, but refuse writes. What a slot replaces or removes goes to the trash, which is
//! freed when the lock is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::Common;
use super::access::Access;
use super::depot::{Bulk, Depot};
use super::entry::{Draft, Entry, Kind};
use super::events::{Class, Event};
use super::names::{NameBuf, Rule};
use super::shard::{Cause, Shard, Spot};
use super::trash::Trash;
use super::value::{Collection, Object, STRING_MAX, Type, Value};
use super::waits::Ticket;
use super::watch::Watchers;
use crate::clock::Millis;
use crate::config::Compact;
use crate::error::{Error, Result};

/// The ticket of a fence that nobody can lift: it falls by itself.
const NO_TICKET: u64 = 0;
const TICKET: usize = size_of::<u64>();

/// Tickets that one fence remembers. Sign-outs of one session at the same time are a few tabs; with more than this, the
/// fence just stays until its time has come.
const TICKETS_MAX: usize = 16;

/// What sets the mark of a fence apart from tickets. A mark is what whoever laid it wants to read again; nobody can lift it.
const MARK: u64 = 1 << 63;

/// Tickets and marks of one fence.
type Tickets = SmallVec<[u64; 4]>;

/// Whose a fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(doc, doc(hidden))]
pub struct FenceHere {
    /// When it falls by itself.
    pub until: Millis,
    /// The last of the tickets that it was laid for.
    pub ticket: u64,
    /// The largest of its marks.
    pub mark: Option<u64>,
}

/// The last ticket and the largest mark.
fn newest(tickets: &[u64]) -> FenceHere {
    let mark = tickets.iter().filter(|one| **one & MARK != 0).max().map(|mark| mark & !MARK);
    let last = tickets.iter().filter(|one| **one & MARK == 0).max();
    FenceHere { until: Millis(0), ticket: last.copied().unwrap_or(NO_TICKET), mark }
}

/// A value that is to be put, prepared as far as it can be outside of the lock. [`Store::write`](super::Store::write) makes it.
///
/// ```
/// use cloakroom::{Store, clock::Millis};
///
/// let store = Store::new();
/// store.write(b"coat", b"blue", store.clock().now(), |slot, fresh| slot.put(fresh))?;
/// let deadline = store.get(b"coat", store.clock().now(), |value| value.deadline());
/// assert_eq!(deadline, Some(Millis::NEVER), "nobody gave it one");
/// # Ok::<(), cloakroom::Error>(())
/// ```
pub struct Fresh<'v> {
    value: &'v [u8],
    deadline: Millis,
    /// Key and value together, if they are too long for a block.
    bulk: Option<Bulk>,
}

impl<'v> Fresh<'v> {
    pub(super) fn new(name: &[u8], value: &'v [u8], depot: &Arc<Depot>) -> Fresh<'v> {
        let deadline = Millis::NEVER;
        let draft = Draft { kind: Kind::String, grown: false, login: false, access: 0, deadline, key: name, value };
        let bulk = draft.shape().is_bulk().then(|| Bulk::new(name, value, depot));
        Fresh { value, deadline, bulk }
    }

    /// The same for a name that turned out to be an alias of this one.
    pub(super) fn under(self, name: &[u8], depot: &Arc<Depot>) -> Fresh<'v> {
        Fresh { deadline: self.deadline, ..Fresh::new(name, self.value, depot) }
    }

    /// Gives it a deadline; without one it never dies.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.write(b"coat", b"blue", now, |slot, fresh| slot.put(fresh.until(now + Ttl::seconds(60))))?;
    /// assert!(store.get(b"coat", now + Ttl(59_999), |_| ()).is_some());
    /// assert!(store.get(b"coat", now + Ttl(60_000), |_| ()).is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn until(mut self, deadline: Millis) -> Fresh<'v> {
        self.deadline = deadline;
        self
    }
}

/// A value without a key, to be put under another one: what [`Slot::detach`] takes out and [`Slot::copied`] copies. A
/// collection is moved whole, however large it is.
///
/// ```
/// use cloakroom::{Store, clock::Ttl};
///
/// let store = Store::new();
/// let now = store.clock().now();
/// store.put(b"hook:1", b"coat", Ttl::seconds(60))?;
/// let coat = store.with(b"hook:1", now, |slot| slot.detach()).expect("a coat");
/// store.with(b"hook:2", now, |slot| slot.put_loose(coat))?;
/// assert_eq!(store.fetch(b"hook:2").as_deref(), Some(&b"coat"[..]));
/// # Ok::<(), cloakroom::Error>(())
/// ```
pub struct Loose {
    content: Content,
    deadline: Millis,
}

enum Content {
    Bytes(Vec<u8>),
    Object(Object),
}

impl Loose {
    /// When it dies; it takes its deadline along.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.with(b"coat", now, |slot| slot.put_bytes(b"blue", now + Ttl(7)))?;
    /// let loose = store.with(b"coat", now, |slot| slot.copied()).expect("a coat");
    /// assert_eq!(loose.deadline(), now + Ttl(7));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn deadline(&self) -> Millis {
        self.deadline
    }
}

/// One key's place in its store, for as long as a closure runs. It shows only what is alive; whatever it changes is seen
/// by others when the closure has ended.
///
/// ```
/// use cloakroom::{Store, clock::Ttl};
///
/// let store = Store::new();
/// let now = store.clock().now();
/// store.put(b"coat", b"blue", Ttl::seconds(60))?;
///
/// // Swapped, and what was there told.
/// let before = store.with(b"coat", now, |slot| {
///     let before = slot.string()?.map(<[u8]>::to_vec);
///     slot.put_bytes(b"red", now + Ttl::seconds(60))?;
///     Ok::<_, cloakroom::Error>(before)
/// })?;
/// assert_eq!(before.as_deref(), Some(&b"blue"[..]));
/// # Ok::<(), cloakroom::Error>(())
/// ```
pub struct Slot<'a> {
    shard: &'a mut Shard,
    name: &'a [u8],
    hash: u32,
    rule: Option<&'a Rule>,
    now: Millis,
    common: &'a Common,
    /// The number of the store among its family.
    store: usize,
    here: Option<Here>,
    trash: &'a mut Trash,
}

/// What lies in a slot, hidden or not.
#[derive(Clone, Copy)]
struct Here {
    spot: Spot,
    kind: Kind,
    /// What was put with a deadline that has passed is not.
    live: bool,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(super) fn open(
        shard: &'a mut Shard,
        name: &'a [u8],
        hash: u32,
        rule: Option<&'a Rule>,
        now: Millis,
        (common, store): (&'a Common, usize),
        trash: &'a mut Trash,
    ) -> Slot<'a> {
        shard.hear(now);
        let found = shard.find(hash, name);
        let found = found.map(|(spot, entry)| Here { spot, kind: entry.kind(), live: entry.is_live(now) });
        if let Some(dead) = found.filter(|here| !here.live) {
            if dead.kind.is_visible() {
                common.events.tell(Event::expired(store, name));
            }
            shard.take(dead.spot.bucket, Cause::Expired, trash);
        }
        Slot { shard, name, hash, rule, now, common, store, here: found.filter(|here| here.live), trash }
    }

    /// Where a visible value is. What was put here with a deadline that has passed is none.
    fn seen(&self) -> Option<Spot> {
        self.here.filter(|here| here.kind.is_visible() && here.live).map(|here| here.spot)
    }

    fn entry(&self, spot: Spot) -> Entry<'_> {
        self.shard.read(spot.at)
    }

    /// What lies here if it is of a kind.
    fn hidden(&self, kind: Kind) -> Option<Entry<'_>> {
        self.here.filter(|here| here.kind == kind).map(|here| self.entry(here.spot))
    }

    /// Says that what lies here is elsewhere now.
    fn moved(&mut self, spot: Spot) {
        self.here = self.here.map(|here| Here { spot, ..here });
    }

    /// The name that stands here for this one.
    pub(super) fn alias(&self) -> Option<NameBuf> {
        self.hidden(Kind::Alias).map(|alias| NameBuf::from_slice(alias.value()))
    }

    /// The name that is written here.
    pub(super) fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The value here, if there is one.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// assert!(store.with(b"coat", now, |slot| slot.value().is_some()));
    /// assert!(store.with(b"hat", now, |slot| slot.value().is_none()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn value(&self) -> Option<Value<'_>> {
        self.seen().map(|spot| self.shard.value(self.entry(spot)))
    }

    /// When the value here dies; [`Millis::NEVER`] if it does not; `None` if there is none.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.with(b"coat", now, |slot| slot.put_bytes(b"blue", now + Ttl(7)))?;
    /// assert_eq!(store.with(b"coat", now, |slot| slot.deadline()), Some(now + Ttl(7)));
    /// assert_eq!(store.with(b"hat", now, |slot| slot.deadline()), None);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn deadline(&self) -> Option<Millis> {
        self.value().map(Value::deadline)
    }

    /// The time this closure was given.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// assert_eq!(store.with(b"coat", now, |slot| slot.now()), now);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Counts a read that found something, or not, and notes the access.
    #[cfg_attr(doc, doc(hidden))]
    pub fn touch(&mut self, access: impl FnOnce(u32) -> u32) -> bool {
        let Some(spot) = self.seen() else {
            self.shard.misses += 1;
            self.tell(Class::KEY_MISS, "keymiss");
            return false;
        };
        self.shard.hits += 1;
        let access = access(self.entry(spot).access());
        self.shard.note_access(spot.at, access);
        true
    }

    /// Whether writes are taken: [`Error::Fenced`] while a sign-out settles. All that writes here asks it first.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.remove(b"auth:session:a-token");
    /// assert_eq!(store.with(b"auth:session:a-token", now, |slot| slot.admits()), Err(Error::Fenced));
    /// assert_eq!(store.with(b"coat", now, |slot| slot.admits()), Ok(()));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn admits(&self) -> Result<()> {
        match self.here {
            Some(Here { kind: Kind::Fence, .. }) => Err(Error::Fenced),
            _ => Ok(()),
        }
    }

    /// Puts a value here, in place of what there is.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.write(b"coat", b"blue", now, |slot, fresh| slot.put(fresh.until(now + Ttl::seconds(60))))?;
    /// assert_eq!(store.fetch(b"coat").as_deref(), Some(&b"blue"[..]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put(&mut self, fresh: Fresh<'_>) -> Result<()> {
        self.admits()?;
        fits_a_reply(fresh.value)?;
        self.place(Kind::String, fresh.value, fresh.deadline, fresh.bulk);
        Ok(())
    }

    /// Puts bytes here, in place of what there is: for what is short or could only be computed under the lock.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.with(b"coat", now, |slot| slot.put_bytes(b"blue", Millis::NEVER))?;
    /// assert_eq!(store.fetch(b"coat").as_deref(), Some(&b"blue"[..]));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_bytes(&mut self, bytes: &[u8], deadline: Millis) -> Result<()> {
        self.admits()?;
        fits_a_reply(bytes)?;
        self.place(Kind::String, bytes, deadline, None);
        Ok(())
    }

    /// Puts a value here that lived under another key, in place of what there is. It keeps its deadline.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"hook:1", b"coat", Ttl::seconds(60))?;
    /// let copy = store.with(b"hook:1", now, |slot| slot.copied()).expect("a coat");
    /// store.with(b"hook:2", now, |slot| slot.put_loose(copy))?;
    /// assert_eq!(store.fetch(b"hook:1"), store.fetch(b"hook:2"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn put_loose(&mut self, loose: Loose) -> Result<()> {
        self.admits()?;
        if self.seen().is_some() {
            // What lay here is gone first, so that this is as new as anywhere else.
            self.tell(Class::NEW, "new");
        }
        match loose.content {
            Content::Bytes(bytes) => self.place(Kind::String, &bytes, loose.deadline, None),
            Content::Object(object) => self.place_object(object, loose.deadline),
        }
        Ok(())
    }

    /// Puts a collection here, in place of what there is. One that is empty is not kept: then nothing is here.
    #[cfg_attr(doc, doc(hidden))]
    pub fn put_object(&mut self, object: impl Into<Object>, deadline: Millis) -> Result<()> {
        self.admits()?;
        let object = object.into();
        if object.is_empty() {
            self.drop_here(Cause::Removed);
        } else {
            self.place_object(object, deadline);
        }
        Ok(())
    }

    fn place_object(&mut self, object: Object, deadline: Millis) {
        let kind = object.kind();
        let number = self.shard.add_object(object);
        self.place(kind, &number.to_le_bytes(), deadline, None);
        self.call();
    }

    /// Calls who waits for what is here now, if anybody does.
    fn call(&self) {
        if self.shard.waits.is_some()
            && let Some(ticket) = self.value().and_then(|value| self.first_waiting(value.kind()))
        {
            self.common.called.tickets.lock().push(ticket);
            self.common.called.any.store(true, Ordering::Relaxed);
        }
    }

    /// Who has waited longest for a value of this type here.
    #[cfg_attr(doc, doc(hidden))]
    pub fn first_waiting(&self, kind: Type) -> Option<Ticket> {
        self.shard.waits.as_ref()?.first(self.name, kind)
    }

    /// Lets somebody wait until a value of this type is here. It is called then, and whenever the value has changed.
    #[cfg_attr(doc, doc(hidden))]
    pub fn wait(&mut self, ticket: Ticket, kind: Type) {
        self.shard.waits.get_or_insert_default().enter(self.name, ticket, kind);
    }

    /// Lets somebody wait no longer, and calls who comes next.
    #[cfg_attr(doc, doc(hidden))]
    pub fn stop_waiting(&mut self, ticket: Ticket) {
        if let Some(waits) = &mut self.shard.waits {
            waits.leave(self.name, ticket);
            if waits.is_empty() {
                self.shard.waits = None;
            }
            self.call();
        }
    }

    /// Who watches the keys of this shard.
    pub(super) fn watchers(&mut self) -> &mut Watchers {
        &mut self.shard.watchers
    }

    /// Tells that something happened to this key.
    #[cfg_attr(doc, doc(hidden))]
    pub fn tell(&mut self, class: Class, name: &'static str) {
        self.shard.changes += u64::from(class.is_change());
        self.common.events.tell(Event { class, name, store: self.store, key: self.name });
    }

    /// Tells an event of a change that no command made, and that is not counted among those that a snapshot is due for.
    #[cfg_attr(doc, doc(hidden))]
    pub fn announce(&mut self, class: Class, name: &'static str) {
        self.common.events.tell(Event { class, name, store: self.store, key: self.name });
    }

    /// Announces that the value here is about to go, if there is one.
    pub(super) fn announce_end(&mut self) {
        if self.seen().is_some() {
            self.announce(Class::GENERIC, "del");
        }
    }

    /// The collection here, if there is one; an error if something else is here.
    #[cfg_attr(doc, doc(hidden))]
    pub fn see<T: Collection>(&self) -> Result<Option<&T>> {
        self.value().map(|value| value.collection()).transpose()
    }

    /// Changes the collection here, if there is one. One that is left empty is removed.
    #[cfg_attr(doc, doc(hidden))]
    pub fn edit<T: Collection, R>(&mut self, f: impl FnOnce(&mut T, &Compact) -> R) -> Result<Option<R>> {
        self.edit_if(f, |_| true)
    }

    /// The same for what may change nothing: nobody is told then. `changes` tells by what `f` returned.
    #[cfg_attr(doc, doc(hidden))]
    pub fn edit_if<T: Collection, R>(
        &mut self,
        f: impl FnOnce(&mut T, &Compact) -> R,
        changes: impl FnOnce(&R) -> bool,
    ) -> Result<Option<R>> {
        self.see::<T>()?;
        let Some(spot) = self.seen() else { return Ok(None) };
        let compact = self.common.compact.get();
        let edited = self.shard.edit_object(spot.at, |object| {
            let result = T::of_mut(object).map(|collection| f(collection, &compact));
            (result, object.is_empty())
        });
        self.note(spot);
        let (result, is_empty) = edited.unwrap_or((None, false));
        if result.as_ref().is_some_and(changes) {
            self.shard.tell_of(spot.at);
        }
        if is_empty {
            self.drop_here(Cause::Removed);
        } else {
            self.call();
        }
        Ok(result)
    }

    /// Changes the collection here, or a new one if there is none. One that is left empty is not kept.
    #[cfg_attr(doc, doc(hidden))]
    pub fn edit_or_new<T: Collection, R>(&mut self, f: impl FnOnce(&mut T, &Compact) -> R) -> Result<R> {
        self.edit_or_new_if(f, |_| true)
    }

    /// The same for what may change nothing; see [`Slot::edit_if`].
    #[cfg_attr(doc, doc(hidden))]
    pub fn edit_or_new_if<T: Collection, R>(
        &mut self,
        f: impl FnOnce(&mut T, &Compact) -> R,
        changes: impl FnOnce(&R) -> bool,
    ) -> Result<R> {
        if self.see::<T>()?.is_none() {
            self.admits()?;
            let mut collection = T::default();
            let result = f(&mut collection, &self.common.compact.get());
            self.put_object(collection, Millis::NEVER)?;
            return Ok(result);
        }
        Ok(self.edit_if(f, changes)?.expect("a collection that was seen a moment ago"))
    }

    /// Puts a note here that commands do not see, in place of whatever there is.
    pub(super) fn put_hidden(&mut self, kind: Kind, value: &[u8], deadline: Millis) {
        self.place(kind, value, deadline, None);
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
            let newest = newest(&tickets);
            let (mark, last) = (newest.mark.map(|mark| mark | MARK), newest.ticket);
            // Nobody can lift a mark either, so that one is enough.
            tickets = mark.or(Some(NO_TICKET)).into_iter().chain((last != NO_TICKET).then_some(last)).collect();
        }
        self.put_tickets(&tickets, until.max(before));
    }

    /// The same for a mark's sake, which is to be read again.
    pub(super) fn shut_marked(&mut self, mark: u64, until: Millis) {
        self.shut(mark | MARK, until);
    }

    /// Whose the fence here is, if there is one.
    pub(super) fn fence(&self) -> Option<FenceHere> {
        self.tickets().map(|(tickets, until)| FenceHere { until, ..newest(&tickets) })
    }

    /// Takes the fence here away, whoever has laid it.
    pub(super) fn open_up(&mut self) -> bool {
        self.hidden(Kind::Fence).is_some() && self.drop_here(Cause::Removed)
    }

    /// Takes a ticket back. With the last one the fence falls, and `true` says so.
    pub(super) fn unshut(&mut self, ticket: u64) -> bool {
        let is_one = ticket != NO_TICKET && ticket & MARK == 0;
        let Some((mut tickets, until)) = self.tickets().filter(|(all, _)| is_one && all.contains(&ticket)) else {
            return false;
        };
        tickets.retain(|other| *other != ticket);
        if !tickets.is_empty() {
            self.put_tickets(&tickets, until);
            return false;
        }
        self.drop_here(Cause::Removed);
        true
    }

    fn put_tickets(&mut self, tickets: &[u64], until: Millis) {
        let bytes: SmallVec<[u8; 64]> = tickets.iter().flat_map(|ticket| ticket.to_be_bytes()).collect();
        self.put_hidden(Kind::Fence, &bytes, until);
    }

    /// The tickets of the fence here, and when it falls by itself.
    fn tickets(&self) -> Option<(Tickets, Millis)> {
        let fence = self.hidden(Kind::Fence)?;
        let (tickets, _) = fence.value().as_chunks::<TICKET>();
        Some((tickets.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect(), fence.deadline()))
    }

    fn place(&mut self, kind: Kind, value: &[u8], deadline: Millis, bulk: Option<Bulk>) {
        if kind.is_visible() && self.seen().is_none() {
            self.tell(Class::NEW, "new");
        }
        // Who writes over a value has accessed it; under LFU its count goes on.
        let access = match self.seen() {
            Some(spot) => self.common.access.touched(self.entry(spot).access(), self.now),
            None => self.common.access.created(self.now),
        };
        let login = kind.is_visible() && self.rule.is_some_and(|rule| rule.login);
        let draft = Draft { kind, grown: false, login, access, deadline, key: self.name, value };
        let spot = self.shard.put(self.here.map(|here| here.spot), self.hash, &draft, bulk, self.trash);
        self.here = Some(Here { spot, kind, live: self.now < deadline });
    }

    /// Sets what the access clock of the value here says.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_access(&mut self, access: Access) {
        if let Some(spot) = self.seen() {
            self.shard.note_access(spot.at, self.common.access.of(access, self.now));
        }
    }

    /// Removes the value here because somebody asked; `false` if there is none. In a fenced namespace the key takes no
    /// writes for a while, also when there was nothing: a fill may be under way.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// // Removed if it is still what was seen before.
    /// let gone = store.with(b"coat", now, |slot| Ok::<_, Error>(slot.string()? == Some(b"blue") && slot.remove()))?;
    /// assert!(gone && store.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn remove(&mut self) -> bool {
        self.remove_for(Cause::Removed)
    }

    /// The same for who deletes just this. It is freed little by little if it is unlinked, or deleting does that too.
    #[cfg_attr(doc, doc(hidden))]
    pub fn delete(&mut self, unlinks: bool) -> bool {
        let is_lazy = unlinks || self.common.bin.lazily().deleted;
        self.remove_for(if is_lazy { Cause::Unlinked } else { Cause::Removed })
    }

    fn remove_for(&mut self, cause: Cause) -> bool {
        let found = self.seen().is_some();
        if let Some(fence) = self.rule.and_then(|rule| rule.fence) {
            self.shut(NO_TICKET, self.now + fence);
        } else if found {
            self.drop_here(cause);
        }
        found
    }

    /// Takes out whatever lies here but a fence, and lays none.
    pub(super) fn forget(&mut self) -> bool {
        self.admits().is_ok() && self.drop_here(Cause::Removed)
    }

    /// Takes the value out so that it can be put under another key.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// assert!(store.with(b"coat", now, |slot| slot.detach()).is_some());
    /// assert!(store.with(b"coat", now, |slot| slot.detach()).is_none());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn detach(&mut self) -> Option<Loose> {
        let spot = self.seen()?;
        let deadline = self.entry(spot).deadline();
        let content = match self.shard.take_object(spot.at) {
            Some(object) => Content::Object(object),
            None => Content::Bytes(self.entry(spot).value().to_vec()),
        };
        self.drop_here(Cause::Moved);
        Some(Loose { content, deadline })
    }

    /// Notes an access to an entry that is changed in place.
    fn note(&mut self, spot: Spot) {
        let access = self.common.access.touched(self.entry(spot).access(), self.now);
        self.shard.note_access(spot.at, access);
    }

    /// A copy of the value, to be put under another key.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// let copy = store.with(b"coat", now, |slot| slot.copied()).expect("a coat");
    /// store.with(b"spare", now, |slot| slot.put_loose(copy))?;
    /// assert_eq!(store.len(), 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn copied(&self) -> Option<Loose> {
        let value = self.value()?;
        let content = match value.object() {
            Some(object) => Content::Object(object.clone()),
            None => Content::Bytes(value.string().ok()?.to_vec()),
        };
        Some(Loose { content, deadline: value.deadline() })
    }

    /// Takes out whatever lies here; `false` if nothing does.
    fn drop_here(&mut self, cause: Cause) -> bool {
        let here = self.here.take();
        if let Some(Here { spot, .. }) = here {
            self.shard.take(spot.bucket, cause, self.trash);
        }
        here.is_some()
    }

    /// Sets when the value here dies. A deadline that has passed removes it at once.
    ///
    /// ```
    /// # use cloakroom::{Error, Store, clock::{Millis, Ttl}};
    /// # let store = Store::new();
    /// # let now = store.clock().now();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// store.with(b"coat", now, |slot| slot.set_deadline(Millis::NEVER));
    /// assert_eq!(store.count(), (1, 0), "it stays");
    /// store.with(b"coat", now, |slot| slot.set_deadline(now));
    /// assert!(store.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_deadline(&mut self, deadline: Millis) {
        let Some(spot) = self.seen() else { return };
        if deadline <= self.now {
            self.remove_for(Cause::Unlinked);
        } else {
            let spot = self.shard.set_deadline(spot, self.hash, deadline, self.trash);
            self.moved(spot);
        }
    }

    pub(super) fn resize(&mut self, len: usize) {
        if let Some(spot) = self.seen() {
            let spot = self.shard.resize(spot, len, self.trash);
            self.moved(spot);
            self.note(spot);
        }
    }

    /// Bytes that are asked for at once when the string here is changed and made so long; none if it has them already.
    #[cfg_attr(doc, doc(hidden))]
    pub fn asks_for(&self, len: usize) -> usize {
        self.seen().map_or(len, |spot| self.shard.asks_for(spot, len))
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self.seen() {
            Some(spot) => self.shard.value_mut(spot.at),
            None => &mut [],
        }
    }
}

/// Whether a value is short enough to be sent in one reply.
fn fits_a_reply(value: &[u8]) -> Result<()> {
    if value.len() <= STRING_MAX { Ok(()) } else { Err(Error::TooLong) }
}

impl std::fmt::Debug for Fresh<'_> {
    /// How long it is; what it says is nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh")
            .field("len", &self.value.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Loose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loose").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("value", &self.value()).field("now", &self.now).finish_non_exhaustive()
    }
}
