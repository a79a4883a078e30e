//! The store: entries that die on time, behind one door.
//!
//! A [`Store`] is a cheap handle. Inside are 128 shards, each a mutex around a table, its reminders and its sizes.
//! Callers hand in closures, never see a lock, and cannot hold one over an await. Time is an argument; only the
//! conveniences for embedders ([`Store::put`], [`Store::fetch`], [`Store::sweep_now`]) ask the store's own clock.
//!
//! ```
//! use cloakroom::clock::{ManualClock, Ttl};
//! use cloakroom::store::Store;
//!
//! let clock = ManualClock::default();
//! let store = Store::builder().clock(clock.clone()).build();
//! store.put(b"coat", b"blue", Ttl::seconds(5)).unwrap();
//! assert_eq!(store.fetch(b"coat").as_deref(), Some(&b"blue"[..]));
//!
//! clock.advance(Ttl::seconds(5));
//! assert_eq!(store.fetch(b"coat"), None);
//! ```
//!
//! Lock order: `with_all` takes several shards, by store and then by number, always ascending. Everything else takes
//! one at a time, and a closure must not call the store again.

mod access;
mod aliases;
mod arena;
mod builder;

mod changes;
mod chunks;
mod clear;
mod deadlines;
mod depot;
mod entry;
mod events;
mod evict;
mod figures;
mod foresee;
mod janitor;
mod lazy;
mod names;
mod namespace;
mod objects;
mod prefetch;
mod scan;
mod shard;
mod slot;
mod table;
#[cfg(test)]
mod tests;
mod together;
mod trash;
mod value;
mod waits;
mod walk;
mod watch;

use std::hash::{BuildHasher, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use parking_lot::{Mutex, MutexGuard};

pub use builder::Builder;
pub use janitor::Sweep;
pub use names::NamingKey;
pub use namespace::Cache;
pub use shard::Stats;
pub use slot::{Fresh, Loose, Slot};
pub use together::Slots;
pub use value::{STRING_MAX, Type, Value};

#[cfg_attr(doc, doc(hidden))]
pub use {
    access::Access,
    changes::{Change, Changes},
    clear::{Clearing, Lot},
    events::{Class, Event},
    foresee::Foreseen,
    janitor::SWEEP_MAX,
    names::NameBuf,
    scan::Cursor,
    shard::Cause,
    value::{
        Collection, Element, End, Hash, List, Listpack, Object, Restored, Set, ZSet, ZSetIter, restore,
        restore_content, wrong_type,
    },
    waits::Ticket,
    walk::Kept,
    watch::{Flag, Watched},
};

use crate::clock::{Clock, Millis, Ttl};
use crate::config::{Compact, Namespace};
use crate::error::{Error, Result};
use arena::At;
use changes::Teller;
use entry::Kind;
use janitor::Alarm;
use names::{Names, Rule};
use shard::Shard;
use trash::Trash;

/// Shards of a store. A power of two; so many that threads seldom meet and that growing one table holds no lock for long
/// (a shard of a store of ten million entries holds eighty thousand, whose places are moved in about a millisecond), and
/// so few that what each has to spare is not much in sum.
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 7;

/// Names that a name may stand for in turn. A family has one step; this many leave room for a mistake, and no more, so
/// that aliases in a circle cannot hold anybody.
const HOPS_MAX: usize = 4;

/// How long a key of a fenced namespace takes no writes after a removal, unless configured.
const FENCE_DEFAULT: Ttl = Ttl::seconds(10);

/// A handle to a store. Clones share it, from any thread; the last one that is dropped frees it.
///
/// ```
/// use cloakroom::{Store, clock::Ttl};
///
/// let store = Store::new();
/// let of_a_thread = store.clone();
/// std::thread::spawn(move || of_a_thread.put(b"coat", b"blue", Ttl::seconds(60))).join().expect("no panic")?;
/// assert_eq!(store.fetch(b"coat").as_deref(), Some(&b"blue"[..]));
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// Orders stores for `with_all`.
    id: usize,
    common: Arc<Common>,
    /// Allocated when the first key is written, so that sixteen databases cost nothing until used.
    cells: OnceLock<Box<[Cell]>>,
    /// Reads that found nothing because nothing was ever written.
    early_misses: AtomicU64,
    /// The shard that the next sweep begins with.
    turn: AtomicUsize,
    duel: evict::Duel,
}

/// What the stores of one family share: names, the memory budget, the alarm of the janitor.
struct Common {
    clock: Clock,
    hasher: SeedableRandomState,
    names: Names,
    namespaces: Vec<Namespace>,
    /// Bytes of all shards of the family.
    used: AtomicI64,
    access: access::Mode,
    alarm: Alarm,
    /// Up to where collections are compact.
    compact: value::Settings,
    events: events::Events,
    changes: Arc<Changes>,
    /// Whose turn has come.
    called: Called,
    /// What is to be freed little by little.
    bin: Arc<lazy::Bin>,
    depot: Arc<depot::Depot>,
}

/// Tickets of those who may find something now.
#[derive(Default)]
struct Called {
    any: AtomicBool,
    tickets: Mutex<Vec<Ticket>>,
}

/// A shard with the instant of its soonest reminder beside it, readable without the lock. In memory, lock and counters
/// lie in one cache line with what every look-up reads first, and share none with another shard.
#[repr(C, align(64))]
struct Cell {
    due: AtomicU64,
    shard: Mutex<Shard>,
}

/// What lies under a name, fences included: what [`Store::look`] finds.
///
/// ```
/// use cloakroom::store::Look;
///
/// assert_eq!(Look::Live(4).live(), Some(4));
/// assert_eq!(Look::<usize>::Absent.live(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<R> {
    /// Nothing.
    Absent,
    /// A sign-out, until this instant.
    Fenced(Millis),
    /// A live value, and what the closure made of it.
    Live(R),
}

/// What a read leaves behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trace {
    /// Nothing.
    Nothing,
    /// A hit or a miss, of which nobody is told.
    Quiet,
    /// A hit or a miss.
    Count,
    /// That, and when the value was last read.
    Access,
}

impl<R> Look<R> {
    /// What the closure made of a live value.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// let look = store.look(b"coat", store.clock().now(), |value| value.deadline());
    /// assert!(look.live().is_some());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn live(self) -> Option<R> {
        match self {
            Look::Live(result) => Some(result),
            Look::Absent | Look::Fenced(_) => None,
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

/// A key as the store knows it.
struct Place<'a> {
    name: &'a [u8],
    rule: Option<&'a Rule>,
    hash: u64,
}

impl Place<'_> {
    fn shard(&self) -> usize {
        shard_of(self.hash)
    }

    /// The part of the hash that entries keep; the bits that chose the shard are not among them.
    fn kept(&self) -> u32 {
        kept(self.hash)
    }
}

fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}

fn kept(hash: u64) -> u32 {
    hash as u32
}

impl Common {
    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.finish()
    }
}

impl Store {
    /// A store on the machine's clock with the predefined namespaces. Until something is written it takes a few hundred bytes.
    ///
    /// ```
    /// use cloakroom::Store;
    ///
    /// let store = Store::new();
    /// assert!(store.is_empty());
    /// assert!(store.cache("SESSION").is_some());
    /// ```
    pub fn new() -> Store {
        Store::builder().build()
    }

    /// A store with other settings.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}};
    ///
    /// let store = Store::builder().clock(ManualClock::default()).fence(Ttl::seconds(30)).build();
    /// # let _ = store;
    /// ```
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The clock that the conveniences ask: what `now` comes from for all other calls.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Millis}};
    ///
    /// let store = Store::builder().clock(ManualClock::at(Millis(7))).build();
    /// assert_eq!(store.clock().now(), Millis(7));
    /// ```
    pub fn clock(&self) -> &Clock {
        &self.inner.common.clock
    }

    /// A named namespace, ready for use; `None` if there is none of this name.
    ///
    /// ```
    /// use cloakroom::Store;
    ///
    /// let store = Store::new();
    /// let profiles = store.cache("USER_PROFILE").expect("predefined");
    /// profiles.put(b"7", br#"{"name":"alice"}"#)?;
    /// assert!(store.fetch(b"user:7").is_some());
    /// assert!(store.cache("NOBODY").is_none());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn cache(&self, name: &str) -> Option<Cache> {
        let namespace = self.inner.common.namespaces.iter().find(|namespace| namespace.name == name)?;
        Some(Cache::new(self.clone(), namespace.clone()))
    }

    /// Stores a copy of `value` for `ttl`, by the store's own clock, in place of what is there.
    ///
    /// [`Error::Fenced`] while a sign-out keeps the key shut, [`Error::TooLong`] for more than [`STRING_MAX`] bytes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// store.put(b"coat", b"red", Duration::from_millis(2_500))?;
    /// assert_eq!(store.fetch(b"coat"), Some(b"red".to_vec()));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn put(&self, key: &[u8], value: &[u8], ttl: impl Into<Ttl>) -> Result<()> {
        if value.len() > STRING_MAX {
            return Err(Error::TooLong);
        }
        let ttl = ttl.into();
        let now = self.clock().now();
        self.write(key, value, now, |slot, fresh| slot.put(fresh.until(now + ttl)))
    }

    /// A copy of the value, by the store's own clock; `None` if there is none, or it is no string. [`get`](Store::get) copies
    /// nothing.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// assert_eq!(store.fetch(b"coat"), None);
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// assert_eq!(store.fetch(b"coat").as_deref(), Some(&b"blue"[..]));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn fetch(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key, self.clock().now(), |value| value.string().map(<[u8]>::to_vec).ok())?
    }

    /// Removes a key, by the store's own clock; `false` if there was none. Under a fenced namespace it takes no writes for a
    /// while, whether there was one or not.
    ///
    /// ```
    /// use cloakroom::{Error, Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(5))?;
    /// assert!(store.remove(b"coat"));
    /// assert!(!store.remove(b"coat"));
    ///
    /// store.remove(b"auth:session:a-token"); // a sign-out
    /// assert_eq!(store.put(b"auth:session:a-token", b"{}", Ttl::seconds(5)), Err(Error::Fenced));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn remove(&self, key: &[u8]) -> bool {
        self.with(key, self.clock().now(), |slot| slot.remove())
    }

    fn place<'a>(&'a self, key: &'a [u8], buf: &'a mut NameBuf) -> Place<'a> {
        let (name, rule) = self.inner.common.names.resolve(key, buf);
        Place { name, rule, hash: self.hash(name) }
    }

    /// The place of a name as it is stored.
    fn named<'a>(&'a self, name: &'a [u8]) -> Place<'a> {
        Place { name, rule: self.inner.common.names.rule(name), hash: self.hash(name) }
    }

    fn hash(&self, name: &[u8]) -> u64 {
        self.inner.common.hash(name)
    }

    /// The stored name of a token under a prefix, hashed whatever the token looks like.
    #[cfg_attr(doc, doc(hidden))]
    pub fn secret_name(&self, prefix: &[u8], token: &[u8]) -> NameBuf {
        self.inner.common.names.secret(prefix, token)
    }

    /// The bytes with every token of a secret namespace replaced by its hash, for logs and listings.
    ///
    /// ```
    /// use cloakroom::Store;
    ///
    /// let store = Store::new();
    /// let line = store.redacted(b"GET auth:session:a-token");
    /// assert!(line.starts_with(b"GET auth:session:~") && !line.ends_with(b"a-token"));
    /// ```
    pub fn redacted<'b>(&self, bytes: &'b [u8]) -> std::borrow::Cow<'b, [u8]> {
        self.inner.common.names.redacted(bytes)
    }

    /// So many bytes at most of what that gives, and how many of `bytes` are left out.
    #[cfg_attr(doc, doc(hidden))]
    pub fn redacted_start<'b>(&self, bytes: &'b [u8], most: usize) -> (std::borrow::Cow<'b, [u8]>, usize) {
        self.inner.common.names.redacted_start(bytes, most)
    }

    /// The shards, if anything was ever written.
    fn cells(&self) -> &[Cell] {
        self.inner.cells.get().map_or(&[], |cells| cells)
    }

    fn cell(&self, index: usize) -> &Cell {
        let cells = self.inner.cells.get_or_init(|| {
            let common = &self.inner.common;
            let shard = || Shard::new(Teller::new(&common.changes, self.inner.id), &common.bin, &common.depot);
            let cell = |_| Cell { due: AtomicU64::new(u64::MAX), shard: Mutex::new(shard()) };
            (0..SHARDS).map(cell).collect()
        });
        &cells[index]
    }

    /// Locks a shard for changes.
    fn hold<'a>(&'a self, cell: &'a Cell) -> Held<'a> {
        Held { common: &self.inner.common, cell, shard: cell.shard.lock() }
    }

    /// Shows a live value to a closure, which answers with what it needs. The value is copied nowhere.
    ///
    /// The closure runs under the lock of the key's shard: it must not call the store, and should not take long. Nothing is
    /// removed here: a reader must not pay for the clean-up of others.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// let now = store.clock().now();
    ///
    /// let first = store.get(b"coat", now, |value| value.string().map(|bytes| bytes[0]));
    /// assert_eq!(first.transpose()?, Some(b'b'));
    /// // The time that is passed decides, so the future can be asked as well.
    /// assert!(store.get(b"coat", now + Ttl::seconds(61), |_| ()).is_none());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn get<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.read(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, Trace::Access, f).live()
    }

    /// Shows a live value and counts the read, but does not note the access: for those who ask about a key.
    #[cfg_attr(doc, doc(hidden))]
    pub fn glance<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.read(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, Trace::Count, f).live()
    }

    /// Shows a live value without counting a hit or noting the access, as those want who look after a store.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// store.put(b"coat", b"blue", Ttl::seconds(60))?;
    /// assert!(store.peek(b"coat", store.clock().now(), |value| value.size()).is_some());
    /// assert_eq!(store.stats().hits, 0);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn peek<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.read(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, Trace::Nothing, f).live()
    }

    /// Shows what lies under a name, fences included: whether a session is unknown or was signed out.
    ///
    /// ```
    /// use cloakroom::{Store, store::Look};
    ///
    /// let store = Store::new();
    /// let now = store.clock().now();
    /// assert_eq!(store.look(b"auth:session:a", now, |_| ()), Look::Absent);
    ///
    /// store.remove(b"auth:session:a");
    /// let look = store.look(b"auth:session:a", now, |_| ());
    /// assert!(matches!(look, Look::Fenced(until) if until > now));
    /// ```
    pub fn look<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Look<R> {
        self.read(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, Trace::Access, f)
    }

    #[inline]
    fn read<R>(
        &self,
        place: &Place<'_>,
        hops: usize,
        now: Millis,
        trace: Trace,
        f: impl FnOnce(Value<'_>) -> R,
    ) -> Look<R> {
        let counts = trace != Trace::Nothing;
        let Some(cell) = self.cells().get(place.shard()) else {
            self.inner.early_misses.fetch_add(u64::from(counts), Ordering::Relaxed);
            self.tell_miss(place.name, trace);
            return Look::Absent;
        };
        let mut shard = cell.shard.lock();
        let Some((spot, entry)) = shard.find(place.kept(), place.name).filter(|(_, entry)| entry.is_live(now)) else {
            shard.misses += u64::from(counts);
            self.tell_miss(place.name, trace);
            return Look::Absent;
        };
        if !entry.kind().is_visible() {
            let at = spot.at;
            return self.read_hidden(shard, at, hops, now, trace, f);
        }
        let result = f(shard.value(entry));
        if trace == Trace::Access {
            let (old, new) = (entry.access(), self.inner.common.access.touched(entry.access(), now));
            // Seldom: they are seconds, or a counter that grows ever slower.
            if old != new {
                shard.note_access(spot.at, new);
            }
        }
        shard.hits += u64::from(counts);
        Look::Live(result)
    }

    /// What lies under a name that no command sees: an alias leads on.
    #[cold]
    fn read_hidden<R>(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        at: At,
        hops: usize,
        now: Millis,
        trace: Trace,
        f: impl FnOnce(Value<'_>) -> R,
    ) -> Look<R> {
        let entry = shard.read(at);
        if entry.kind() == Kind::Alias && hops > 0 {
            let target = NameBuf::from_slice(entry.value());
            drop(shard);
            return self.read(&self.named(&target), hops - 1, now, trace, f);
        }
        let answer = match entry.kind() {
            Kind::Fence => Look::Fenced(entry.deadline()),
            _ => Look::Absent,
        };
        shard.misses += u64::from(trace != Trace::Nothing);
        answer
    }

    /// Opens one key for reading and writing: read, decide and write under one lock. What is replaced or removed is freed
    /// after the lock.
    ///
    /// The closure must not call the store, nor wait for anything.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl, error::Result};
    ///
    /// // Counts visits for a minute from the first one on.
    /// fn visit(store: &Store) -> Result<u64> {
    ///     let now = store.clock().now();
    ///     store.with(b"visits", now, |slot| {
    ///         let before = slot.string()?.map_or(0, |text| text.len() as u64);
    ///         slot.append(b"x")?;
    ///         if before == 0 {
    ///             slot.set_deadline(now + Ttl::seconds(60));
    ///         }
    ///         Ok(before + 1)
    ///     })
    /// }
    /// let store = Store::new();
    /// assert_eq!((visit(&store)?, visit(&store)?), (1, 2));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn with<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(&mut Slot<'_>) -> R) -> R {
        self.enter(&self.place(key, &mut NameBuf::new()), HOPS_MAX, now, f)
    }

    /// Opens one key with a value that is made before the lock is taken, so that the allocation and the copy are
    /// nobody else's wait.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// let now = store.clock().now();
    /// // Only if there is nothing, as SET with NX does.
    /// let put_new = |value: &[u8]| {
    ///     store.write(b"coat", value, now, |slot, fresh| {
    ///         let is_new = slot.value().is_none();
    ///         if is_new {
    ///             slot.put(fresh.until(now + Ttl::seconds(60)))?;
    ///         }
    ///         Ok::<_, cloakroom::Error>(is_new)
    ///     })
    /// };
    /// assert_eq!(put_new(b"blue"), Ok(true));
    /// assert_eq!(put_new(b"red"), Ok(false));
    /// ```
    pub fn write<R>(&self, key: &[u8], value: &[u8], now: Millis, f: impl FnOnce(&mut Slot<'_>, Fresh<'_>) -> R) -> R {
        self.write_at(&self.place(key, &mut NameBuf::new()), value, now, f)
    }

    fn write_at<R>(
        &self,
        place: &Place<'_>,
        value: &[u8],
        now: Millis,
        f: impl FnOnce(&mut Slot<'_>, Fresh<'_>) -> R,
    ) -> R {
        let depot = &self.inner.common.depot;
        let fresh = Fresh::new(place.name, value, depot);
        self.enter(place, HOPS_MAX, now, |slot| {
            let fresh = if slot.name() == place.name { fresh } else { fresh.under(slot.name(), depot) };
            f(slot, fresh)
        })
    }

    /// Opens a place, or the one that a live alias there stands for. No hops: exactly this place.
    fn enter<R>(&self, place: &Place<'_>, hops: usize, now: Millis, f: impl FnOnce(&mut Slot<'_>) -> R) -> R {
        // Declared before the lock, so that it is freed after it.
        let mut trash = Trash::default();
        let mut held = self.hold(self.cell(place.shard()));
        let common = &self.inner.common;
        let at = (&**common, self.inner.id);
        let mut slot = Slot::open(&mut held, place.name, place.kept(), place.rule, now, at, &mut trash);
        if hops > 0
            && let Some(target) = slot.alias()
        {
            drop(held);
            return self.enter(&self.named(&target), hops - 1, now, f);
        }
        f(&mut slot)
    }

    /// Notes an access to the value in a slot and counts the read: `true` if there was something.
    #[cfg_attr(doc, doc(hidden))]
    pub fn touch(&self, slot: &mut Slot<'_>) -> bool {
        let now = slot.now();
        slot.touch(|access| self.inner.common.access.touched(access, now))
    }

    /// Says which events are told, for the whole family.
    #[cfg_attr(doc, doc(hidden))]
    pub fn want_events(&self, classes: Class) {
        self.inner.common.events.want(classes);
    }

    /// Who hears events: called from under a shard's lock, so it must only note them down and not call the store. A later
    /// one takes its place.
    #[cfg_attr(doc, doc(hidden))]
    pub fn on_event(&self, listener: impl Fn(Event<'_>) + Send + Sync + 'static) {
        self.inner.common.events.listen(Box::new(listener));
    }

    /// Sets up to where collections are kept compact, for the whole family.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_compact(&self, compact: Compact) {
        self.inner.common.compact.set(compact);
    }

    /// Whether it is the turn of somebody who waits for a key of this family.
    #[cfg_attr(doc, doc(hidden))]
    #[inline]
    pub fn has_called(&self) -> bool {
        self.inner.common.called.any.load(Ordering::Relaxed)
    }

    /// Whose turn it is, in the order in which their keys came to hold something. They are told once.
    #[cfg_attr(doc, doc(hidden))]
    pub fn take_called(&self) -> Vec<Ticket> {
        let mut tickets = self.inner.common.called.tickets.lock();
        self.inner.common.called.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *tickets)
    }

    /// Says that it is the turn of these, behind those whose turn it is already.
    #[cfg_attr(doc, doc(hidden))]
    pub fn call(&self, tickets: &[Ticket]) {
        let called = &self.inner.common.called;
        called.tickets.lock().extend_from_slice(tickets);
        called.any.store(true, Ordering::Relaxed);
    }
}

/// A shard under its lock. When it is let go, also by a panic, its size is charged and its soonest reminder noted.
struct Held<'a> {
    common: &'a Common,
    cell: &'a Cell,
    shard: MutexGuard<'a, Shard>,
}

impl Deref for Held<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.shard.take_is_unsettled() {
            return;
        }
        self.shard.tidy(|name| kept(self.common.hash(name)));
        let size = self.shard.size();
        if size != self.shard.charged {
            self.common.used.fetch_add(size as i64 - self.shard.charged as i64, Ordering::Relaxed);
            self.shard.charged = size;
        }
        let due = self.shard.next_due();
        if due.0 != self.cell.due.load(Ordering::Relaxed) {
            // In one order with `Store::plan`: whoever comes second sees what the first has written.
            self.cell.due.store(due.0, Ordering::SeqCst);
            self.common.alarm.sooner(due);
        }
    }
}

impl std::fmt::Debug for Store {
    /// Counts only; keys and values are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entries", &self.len()).field("bytes", &self.used_memory()).finish()
    }
}
