//! The store: entries that die on time, behind one door.
//!
//! A [`Store`] is a cheap handle. Inside are 1024 shards, each a mutex around a table, its reminders and its sizes.
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
mod deadlines;
mod entry;
mod evict;
mod names;
mod namespace;
mod scan;
mod shard;
mod slot;
mod value;

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};

pub use access::Access;
pub use names::NameBuf;
pub use namespace::Cache;
pub use scan::Cursor;
pub use shard::{Cause, Stats};
pub use slot::{Fresh, Loose, Slot};
pub use value::{STRING_MAX, Type, Value, wrong_type};

use crate::clock::{Clock, Millis, Ttl};
use crate::config::Namespace;
use crate::error::Result;
use entry::{Entry, Kind};
use names::{Names, Rule};
use shard::Shard;
use slot::{NO_TICKET, Trash};

/// Shards of a store. A power of two; so many that growing one table never holds a lock for long: a shard of a store
/// of ten million entries holds ten thousand.
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;

/// Shards that one call of [`Store::sweep`] works on before it lets others run.
const SWEEP_SHARDS: usize = 16;

/// How long a key of a fenced namespace takes no writes after a removal, unless configured.
const FENCE_DEFAULT: Ttl = Ttl::seconds(10);

/// A handle to a store. Clones share it.
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
}

/// What the stores of one family share: names, the memory budget, the alarm of the janitor.
struct Common {
    clock: Clock,
    hasher: RandomState,
    names: Names,
    namespaces: Vec<Namespace>,
    /// Bytes of all shards of the family.
    used: AtomicI64,
    access: access::Mode,
    alarm: Alarm,
}

/// Tells the janitor that something dies sooner than it planned to wake.
#[derive(Default)]
struct Alarm {
    planned: AtomicU64,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A shard with the instant of its soonest reminder beside it, readable without the lock.
struct Cell {
    due: AtomicU64,
    shard: Mutex<Shard>,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// More is due now; call again when others have had their turn.
    MoreDue,
    /// Nothing is due before this instant.
    Idle(Millis),
}

/// What lies under a name, fences included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<R> {
    /// Nothing.
    Absent,
    /// A sign-out, until this instant.
    Fenced(Millis),
    /// A live value, and what the closure made of it.
    Live(R),
}

/// Settings of a store, or of a family of stores that share one budget.
pub struct Builder {
    clock: Clock,
    namespaces: Vec<Namespace>,
    fence: Ttl,
}

impl Builder {
    /// The clock that the conveniences for embedders ask.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Builder {
        self.clock = clock.into();
        self
    }

    /// The named namespaces; without this, the predefined ones.
    pub fn namespaces(mut self, namespaces: Vec<Namespace>) -> Builder {
        self.namespaces = namespaces;
        self
    }

    /// How long a key of a fenced namespace takes no writes after it was removed.
    pub fn fence(mut self, fence: Ttl) -> Builder {
        self.fence = fence;
        self
    }

    /// One store.
    pub fn build(self) -> Store {
        let mut family = self.build_family(1);
        family.remove(0)
    }

    /// Several stores that share clock, namespaces and memory budget.
    pub fn build_family(self, count: usize) -> Vec<Store> {
        let common = Arc::new(Common {
            clock: self.clock,
            hasher: RandomState::default(),
            names: Names::new(&self.namespaces, self.fence),
            namespaces: self.namespaces,
            used: AtomicI64::new(0),
            access: access::Mode::default(),
            alarm: Alarm::default(),
        });
        let store = |id| Store { inner: Arc::new(Inner { id, common: common.clone(), cells: OnceLock::new() }) };
        (0..count).map(store).collect()
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
        (self.hash >> (64 - SHARD_BITS)) as usize
    }

    /// The part of the hash that entries keep; the bits that chose the shard are not among them.
    fn kept(&self) -> u32 {
        self.hash as u32
    }
}

impl Store {
    /// A store on the machine's clock with the predefined namespaces.
    pub fn new() -> Store {
        Store::builder().build()
    }

    /// A store with other settings.
    pub fn builder() -> Builder {
        Builder { clock: Clock::system(), namespaces: Namespace::predefined(), fence: FENCE_DEFAULT }
    }

    /// The clock that the conveniences ask.
    pub fn clock(&self) -> &Clock {
        &self.inner.common.clock
    }

    /// A named namespace, ready for use.
    pub fn cache(&self, name: &str) -> Option<Cache> {
        let namespace = self.inner.common.namespaces.iter().find(|namespace| namespace.name == name)?;
        Some(Cache::new(self.clone(), namespace.clone()))
    }

    /// Stores a copy of `value` for `ttl`, by the store's own clock.
    pub fn put(&self, key: &[u8], value: &[u8], ttl: Ttl) -> Result<()> {
        let now = self.clock().now();
        self.write(key, value, now, |slot, fresh| slot.put(fresh.until(now + ttl)))
    }

    /// A copy of the value, by the store's own clock.
    pub fn fetch(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key, self.clock().now(), |value| value.string().map(<[u8]>::to_vec).ok())?
    }

    /// Removes a key, by the store's own clock; `false` if there was none.
    pub fn remove(&self, key: &[u8]) -> bool {
        self.with(key, self.clock().now(), |slot| slot.remove())
    }

    /// Sweeps by the store's own clock until nothing is due, and tells when something will be.
    pub fn sweep_now(&self) -> Millis {
        loop {
            if let Sweep::Idle(next) = self.sweep(self.clock().now()) {
                return next;
            }
        }
    }

    fn place<'a>(&'a self, key: &'a [u8], buf: &'a mut NameBuf) -> Place<'a> {
        let (name, rule) = self.inner.common.names.resolve(key, buf);
        Place { name, rule, hash: self.hash(name) }
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.inner.common.hasher.build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    /// The stored name of a token under a prefix, hashed whatever the token looks like.
    pub fn secret_name(&self, prefix: &[u8], token: &[u8]) -> NameBuf {
        self.inner.common.names.secret(prefix, token)
    }

    /// The bytes with every token of a secret namespace replaced by its hash, for logs and listings.
    pub fn redacted<'b>(&self, bytes: &'b [u8]) -> std::borrow::Cow<'b, [u8]> {
        self.inner.common.names.redacted(bytes)
    }

    /// The shards, if anything was ever written.
    fn cells(&self) -> &[Cell] {
        self.inner.cells.get().map_or(&[], |cells| cells)
    }

    fn cell(&self, index: usize) -> &Cell {
        let cells = self.inner.cells.get_or_init(|| {
            let cell = |_| Cell { due: AtomicU64::new(u64::MAX), shard: Mutex::default() };
            (0..SHARDS).map(cell).collect()
        });
        &cells[index]
    }

    /// Counts what a change did to the shard's size and soonest reminder, while its lock is still held.
    fn settle(&self, cell: &Cell, shard: &mut Shard) {
        let common = &self.inner.common;
        let size = shard.size();
        if size != shard.charged {
            common.used.fetch_add(size as i64 - shard.charged as i64, Ordering::Relaxed);
            shard.charged = size;
        }
        let due = shard.next_due().0;
        if due != cell.due.load(Ordering::Relaxed) {
            // Sequentially consistent with `plan` and `next_due`: a deadline filed while the janitor makes its plan is seen
            // by one of the two.
            cell.due.store(due, Ordering::SeqCst);
            if due < common.alarm.planned.load(Ordering::SeqCst) {
                common.alarm.planned.store(due, Ordering::SeqCst);
                if let Some(wake) = common.alarm.wake.get() {
                    wake();
                }
            }
        }
    }

    /// Shows a live value. Nothing is removed here: a reader must not pay for the clean-up of others.
    pub fn get<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.read(key, now, true, f)
    }

    /// Shows a live value without counting a hit or noting the access.
    pub fn peek<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        self.read(key, now, false, f)
    }

    fn read<R>(&self, key: &[u8], now: Millis, counts: bool, f: impl FnOnce(Value<'_>) -> R) -> Option<R> {
        let mut buf = NameBuf::new();
        let place = self.place(key, &mut buf);
        let mut shard = self.cells().get(place.shard())?.shard.lock();
        if let Some(index) = shard.find(place.kept(), place.name) {
            let entry = shard.at(index);
            match entry.kind() {
                _ if !entry.is_live(now) => {}
                Kind::String => {
                    if counts {
                        let access = self.inner.common.access.touched(entry.access(), now);
                        shard.stats.hits += 1;
                        shard.at_mut(index).set_access(access);
                    }
                    return Some(f(Value::of(shard.at(index))));
                }
                Kind::Fence => {}
                Kind::Alias => {
                    let target = NameBuf::from_slice(entry.value());
                    drop(shard);
                    debug_assert!(target.as_slice() != place.name, "an alias of itself");
                    return self.read(&target, now, counts, f);
                }
            }
        }
        shard.stats.misses += u64::from(counts);
        None
    }

    /// Shows what lies under a name, fences included, without following an alias further than one step.
    pub fn look<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(Value<'_>) -> R) -> Look<R> {
        let mut buf = NameBuf::new();
        let place = self.place(key, &mut buf);
        let Some(cell) = self.cells().get(place.shard()) else {
            return Look::Absent;
        };
        let mut shard = cell.shard.lock();
        let Some(index) = shard.find(place.kept(), place.name).filter(|index| shard.at(*index).is_live(now)) else {
            shard.stats.misses += 1;
            return Look::Absent;
        };
        let entry = shard.at(index);
        match entry.kind() {
            Kind::Fence => Look::Fenced(entry.deadline()),
            Kind::String => {
                let access = self.inner.common.access.touched(entry.access(), now);
                shard.stats.hits += 1;
                shard.at_mut(index).set_access(access);
                Look::Live(f(Value::of(shard.at(index))))
            }
            Kind::Alias => {
                let target = NameBuf::from_slice(entry.value());
                drop(shard);
                self.look(&target, now, f)
            }
        }
    }

    /// Opens one key for reading and writing. What is replaced or removed is freed after the lock.
    pub fn with<R>(&self, key: &[u8], now: Millis, f: impl FnOnce(&mut Slot<'_>) -> R) -> R {
        let mut buf = NameBuf::new();
        let place = self.place(key, &mut buf);
        match self.alias(&place, now) {
            Some(target) => self.at(&Place { name: &target, rule: place.rule, hash: self.hash(&target) }, now, f),
            None => self.at(&place, now, f),
        }
    }

    /// Opens one key with a value that is made before the lock is taken, so that the allocation and the copy are
    /// nobody else's wait.
    pub fn write<R>(&self, key: &[u8], value: &[u8], now: Millis, f: impl FnOnce(&mut Slot<'_>, Fresh) -> R) -> R {
        let mut buf = NameBuf::new();
        let place = self.place(key, &mut buf);
        let target = self.alias(&place, now);
        let place = match &target {
            Some(target) => Place { name: target, rule: place.rule, hash: self.hash(target) },
            None => place,
        };
        let fresh = Entry::new(Kind::String, place.kept(), place.name, value, Millis::NEVER);
        self.at(&place, now, |slot| f(slot, Fresh(fresh)))
    }

    fn at<R>(&self, place: &Place<'_>, now: Millis, f: impl FnOnce(&mut Slot<'_>) -> R) -> R {
        let cell = self.cell(place.shard());
        let mut trash = Trash::new();
        let mut shard = cell.shard.lock();
        let created = self.inner.common.access.created(now);
        let result = f(&mut Slot::open(&mut shard, place.name, place.kept(), place.rule, now, created, &mut trash));
        self.settle(cell, &mut shard);
        drop(shard);
        result
    }

    /// The name that a live alias stands for. Only fenced namespaces have aliases, so all other keys pay nothing.
    fn alias(&self, place: &Place<'_>, now: Millis) -> Option<NameBuf> {
        place.rule.and_then(|rule| rule.fence)?;
        let shard = self.cells().get(place.shard())?.shard.lock();
        let entry = shard.at(shard.find(place.kept(), place.name)?);
        (entry.kind() == Kind::Alias && entry.is_live(now)).then(|| NameBuf::from_slice(entry.value()))
    }

    /// Opens several keys, of this store and its relatives, at once. Each is opened with [`Slots::at`] in turn.
    pub fn with_all<R>(keys: &[(&Store, &[u8])], now: Millis, f: impl FnOnce(&mut Slots<'_, '_>) -> R) -> R {
        let mut bufs: Vec<NameBuf> = Vec::with_capacity(keys.len());
        for (store, key) in keys {
            let mut buf = NameBuf::new();
            let place = store.place(key, &mut buf);
            let name = store.alias(&place, now).unwrap_or_else(|| NameBuf::from_slice(place.name));
            bufs.push(name);
        }
        let places: Vec<(usize, Place<'_>)> = keys
            .iter()
            .zip(&bufs)
            .map(|((store, _), name)| {
                let rule = store.inner.common.names.rule(name);
                (store.inner.id, Place { name, rule, hash: store.hash(name) })
            })
            .collect();
        let mut order: Vec<(usize, usize, usize)> =
            places.iter().enumerate().map(|(at, (id, place))| (*id, place.shard(), at)).collect();
        order.sort_unstable();

        // Declared before the guards, so that it is freed after them.
        let mut trash = Trash::new();
        let mut guards: Vec<Guard<'_>> = Vec::with_capacity(keys.len());
        let mut which = vec![0; keys.len()];
        let mut last = None;
        for (id, shard, at) in order {
            if last != Some((id, shard)) {
                let store = keys[at].0;
                let cell = store.cell(shard);
                guards.push((store, cell, cell.shard.lock()));
                last = Some((id, shard));
            }
            which[at] = guards.len() - 1;
        }
        let result = f(&mut Slots { guards: &mut guards, places: &places, which: &which, now, trash: &mut trash });
        for (store, cell, shard) in &mut guards {
            store.settle(cell, shard);
        }
        drop(guards);
        result
    }

    /// Notes an access to the value in a slot and counts the read: `true` if there was something.
    pub fn touch(&self, slot: &mut Slot<'_>) -> bool {
        let now = slot.now();
        slot.touch(|access| self.inner.common.access.touched(access, now))
    }

    // ---- aliases and fences -------------------------------------------------------------------------------------

    /// Lets a name stand for another until `until`. What lies there is replaced; a fence is not, and `false` says so.
    pub fn add_alias(&self, name: &[u8], target: &[u8], until: Millis, now: Millis) -> bool {
        debug_assert!(name != target);
        let mut buf = NameBuf::new();
        let place = self.place(name, &mut buf);
        self.at(&place, now, |slot| {
            let open = slot.admits().is_ok();
            if open {
                slot.put_hidden(Kind::Alias, target, until);
            }
            open
        })
    }

    /// The name that this one stands for, itself if it is no alias.
    pub fn canonical(&self, name: &[u8], now: Millis) -> NameBuf {
        let mut buf = NameBuf::new();
        let place = self.place(name, &mut buf);
        self.alias(&place, now).unwrap_or_else(|| NameBuf::from_slice(place.name))
    }

    /// Removes what lies under exactly this name, alias or not, and refuses writes there until `until`. A longer fence
    /// that is already there stays. The ticket says whose fence it is.
    pub fn fence(&self, name: &[u8], ticket: u64, until: Millis, now: Millis) {
        let mut buf = NameBuf::new();
        let place = self.place(name, &mut buf);
        self.at(&place, now, |slot| {
            let stays = slot.hidden().is_some_and(|entry| entry.kind() == Kind::Fence && entry.deadline() > until);
            if !stays {
                slot.put_hidden(Kind::Fence, &ticket.to_be_bytes(), until);
            }
        });
    }

    /// Lifts the fence under exactly this name if the ticket is its own.
    pub fn lift(&self, name: &[u8], ticket: u64, now: Millis) -> bool {
        debug_assert!(ticket.to_be_bytes() != NO_TICKET);
        let mut buf = NameBuf::new();
        let place = self.place(name, &mut buf);
        self.at(&place, now, |slot| {
            let own = |entry: &Entry| entry.kind() == Kind::Fence && entry.value() == ticket.to_be_bytes();
            let Some(index) = slot.index().filter(|_| slot.hidden().is_some_and(own)) else {
                return false;
            };
            slot.drop_at(index, Cause::Removed);
            true
        })
    }

    // ---- the whole store ----------------------------------------------------------------------------------------

    /// Entries that commands can see, and how many of all entries have a deadline. What has died and is not yet
    /// reclaimed is counted, as Redis does.
    pub fn count(&self) -> (usize, usize) {
        self.cells().iter().fold((0, 0), |(all, mortal), cell| {
            let shard = cell.shard.lock();
            (all + shard.visible(), mortal + shard.expiring())
        })
    }

    /// How many entries commands can see.
    pub fn len(&self) -> usize {
        self.count().0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened since the counters were last reset.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for cell in self.cells() {
            sum += cell.shard.lock().stats;
        }
        sum
    }

    /// Resets the counters.
    pub fn reset_stats(&self) {
        for cell in self.cells() {
            cell.shard.lock().stats = Stats::default();
        }
    }

    /// Bytes of the whole family: entries, tables and reminders.
    pub fn used_memory(&self) -> usize {
        self.inner.common.used.load(Ordering::Relaxed).max(0) as usize
    }

    /// Removes everything that commands can see. Fences stay: a flush signs nobody in again. What is handed back is to
    /// be dropped where nobody waits.
    #[must_use = "dropping millions of entries takes a while; choose where"]
    pub fn clear(&self) -> impl Send + use<> {
        let mut gone = Vec::new();
        for cell in self.cells() {
            let mut shard = cell.shard.lock();
            gone.push(shard.clear());
            self.settle(cell, &mut shard);
        }
        gone
    }

    /// Reclaims what has died, in slices that hold no lock for long. Other shards' turns come with the next call.
    pub fn sweep(&self, now: Millis) -> Sweep {
        let mut dead = Vec::new();
        let mut next = Millis::NEVER;
        let mut slices = 0;
        for cell in self.cells() {
            let due = Millis(cell.due.load(Ordering::Relaxed));
            if due > now {
                next = next.min(due);
                continue;
            }
            if slices == SWEEP_SHARDS {
                return Sweep::MoreDue;
            }
            slices += 1;
            let mut shard = cell.shard.lock();
            let more = shard.sweep(now, &mut dead);
            self.settle(cell, &mut shard);
            next = next.min(shard.next_due());
            drop(shard);
            dead.clear();
            if more {
                return Sweep::MoreDue;
            }
        }
        Sweep::Idle(next)
    }

    /// The soonest reminder of all shards; something may be due then.
    pub fn next_due(&self) -> Millis {
        self.cells().iter().map(|cell| Millis(cell.due.load(Ordering::SeqCst))).min().unwrap_or(Millis::NEVER)
    }

    /// Tells the store when the janitor means to wake next, so that an earlier deadline calls `wake`.
    pub fn plan(&self, at: Millis) {
        self.inner.common.alarm.planned.store(at.0, Ordering::SeqCst);
    }

    /// The function that is called, from under a shard's lock, when something dies before the planned instant. It must
    /// only wake somebody. The first one stays.
    pub fn on_earlier(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second janitor would be a mistake of the embedder; the first keeps its alarm.
        let _ = self.inner.common.alarm.wake.set(Box::new(wake));
    }

    /// Recounts every shard against its counters, and the budget against all shards of a family. For tests.
    #[cfg(any(test, debug_assertions))]
    pub fn validate(family: &[Store]) {
        let mut size = 0;
        for store in family {
            for cell in store.cells() {
                let shard = cell.shard.lock();
                shard.validate();
                assert_eq!(shard.charged, shard.size(), "what the budget was charged");
                assert_eq!(cell.due.load(Ordering::Relaxed), shard.next_due().0, "the soonest reminder");
                size += shard.size();
            }
        }
        assert_eq!(family.first().map_or(0, Store::used_memory), size, "the family's bytes");
    }
}

/// Several keys under their locks. See [`Store::with_all`].
pub struct Slots<'a, 'g> {
    guards: &'a mut [Guard<'g>],
    places: &'a [(usize, Place<'g>)],
    which: &'a [usize],
    now: Millis,
    trash: &'a mut Trash,
}

/// A shard under its lock, with what is needed to settle it.
type Guard<'g> = (&'g Store, &'g Cell, MutexGuard<'g, Shard>);

impl Slots<'_, '_> {
    /// Opens the key that was given at this position.
    pub fn at(&mut self, position: usize) -> Slot<'_> {
        let place = &self.places[position].1;
        let (store, _, shard) = &mut self.guards[self.which[position]];
        let created = store.inner.common.access.created(self.now);
        Slot::open(shard, place.name, place.kept(), place.rule, self.now, created, self.trash)
    }

    /// Whether two positions are the same key of the same store.
    pub fn same(&self, one: usize, other: usize) -> bool {
        let ((a_id, a), (b_id, b)) = (&self.places[one], &self.places[other]);
        a_id == b_id && a.name == b.name
    }
}

impl std::fmt::Debug for Store {
    /// Counts only; keys and values are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entries", &self.len()).field("bytes", &self.used_memory()).finish()
    }
}
