//! The janitor's side of the store: what to reclaim, and when to come back.
//!
//! The store has no thread of its own. Whoever runs it calls [`Store::sweep`] until it is idle, sleeps until the instant
//! it was told, and is woken when something will die sooner. Each call is bounded and holds no lock for long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::events::Event;
use super::trash::Trash;
use super::{SHARDS, Store};
use crate::clock::Millis;

/// Shards that one call of [`Store::sweep`] works on before it lets others run. With more, a client that asks a few
/// thousand times a second falls behind while a million entries die.
pub(super) const SWEEP_SHARDS: usize = 1;

/// Reminders that one slice looks at unless its caller says otherwise, so that no reader waits longer than about 30 µs,
/// most of it for pages that no buffer of translations holds.
pub const SWEEP_MAX: usize = 16;

/// Pieces of memory that are freed in the time that a reminder takes.
const PIECES_EACH: usize = 16;

/// What a sweep found.
///
/// ```
/// use cloakroom::{Store, clock::Millis, store::Sweep};
///
/// let store = Store::new();
/// assert_eq!(store.sweep(store.clock().now()), Sweep::Idle(Millis::NEVER));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// More is due now; call again when others have had their turn.
    MoreDue,
    /// Come back at this instant: nothing dies before it. It is the soonest deadline, or some seconds earlier.
    Idle(Millis),
}

/// Tells the janitor that something dies sooner than it planned to wake.
#[derive(Default)]
pub(super) struct Alarm {
    /// When the janitor wakes. Zero until the first plan: nobody sleeps yet.
    planned: AtomicU64,
    wake: OnceLock<Arc<dyn Fn() + Send + Sync>>,
}

impl Alarm {
    /// Rings if this is before the planned instant, and plans for it.
    pub fn sooner(&self, due: Millis) {
        if due.0 < self.planned.load(Ordering::SeqCst)
            && due.0 < self.planned.fetch_min(due.0, Ordering::SeqCst)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }
}

impl Store {
    /// Reclaims what has died, in slices that hold no lock for long. Each call begins where the last one stopped, so
    /// that a shard in which much dies keeps no other waiting.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}, store::Sweep};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).build();
    /// for number in 0..1_000_u32 {
    ///     store.put(&number.to_be_bytes(), b"blue", Ttl::seconds(5))?;
    /// }
    /// hands.advance(Ttl::seconds(5));
    /// // Some microseconds each; whoever has other things to do does them in between.
    /// let mut slices = 0;
    /// while store.sweep(hands.now()) == Sweep::MoreDue {
    ///     slices += 1;
    /// }
    /// assert!(slices > 1 && store.is_empty());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn sweep(&self, now: Millis) -> Sweep {
        self.sweep_some(now, SWEEP_MAX)
    }

    /// The same, in slices of so many reminders at most, for who sees that others wait too long for one. What waits to be
    /// freed is, in slices that take about as long.
    #[cfg_attr(doc, doc(hidden))]
    pub fn sweep_some(&self, now: Millis, most: usize) -> Sweep {
        match (self.free_some(most.max(1) * PIECES_EACH), self.sweep_shards(now, most)) {
            (true, Sweep::Idle(_)) => Sweep::MoreDue,
            (_, swept) => swept,
        }
    }

    fn sweep_shards(&self, now: Millis, most: usize) -> Sweep {
        let cells = self.cells();
        let first = self.inner.turn.load(Ordering::Relaxed);
        let mut trash = Trash::default();
        let mut next = Millis::NEVER;
        let mut slices = 0;
        for step in 0..cells.len() {
            let number = (first + step) % SHARDS;
            let cell = &cells[number];
            let due = Millis(cell.due.load(Ordering::SeqCst));
            if due > now {
                next = next.min(due);
                continue;
            }
            if slices == SWEEP_SHARDS {
                self.inner.turn.store(number, Ordering::Relaxed);
                return Sweep::MoreDue;
            }
            slices += 1;
            let mut held = self.hold(cell);
            let tell = |key: &[u8]| self.inner.common.events.tell(Event::expired(self.inner.id, key));
            held.sweep(now, most.max(1), tell, &mut trash);
            next = next.min(held.next_due());
            drop(held);
            trash.clear();
        }
        if next <= now { Sweep::MoreDue } else { Sweep::Idle(next) }
    }

    /// Sweeps by the store's own clock until nothing is due, and tells when something will be: the soonest deadline, or some
    /// seconds earlier; [`Millis::NEVER`] if nothing has one.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{ManualClock, Ttl}};
    ///
    /// let hands = ManualClock::default();
    /// let store = Store::builder().clock(hands.clone()).build();
    /// store.put(b"coat", b"blue", Ttl::seconds(1))?;
    /// let next = store.sweep_now();
    /// assert!(next > hands.now() && next <= hands.now() + Ttl::seconds(1));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn sweep_now(&self) -> Millis {
        loop {
            if let Sweep::Idle(next) = self.sweep(self.clock().now()) {
                return next;
            }
        }
    }

    /// When [`sweep`](Store::sweep) has something to do next, read without a lock; [`Millis::NEVER`] if never.
    ///
    /// ```
    /// use cloakroom::{Store, clock::{Millis, Ttl}};
    ///
    /// let store = Store::new();
    /// assert_eq!(store.next_due(), Millis::NEVER);
    /// store.put(b"coat", b"blue", Ttl::seconds(1))?;
    /// assert!(store.next_due() <= store.clock().now() + Ttl::seconds(1));
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn next_due(&self) -> Millis {
        let due = |cell: &super::Cell| Millis(cell.due.load(Ordering::SeqCst));
        self.cells().iter().map(due).min().unwrap_or(Millis::NEVER)
    }

    /// Tells the family when the janitor means to wake next, so that an earlier deadline rings. What was written between
    /// its last sweep and this call does not ring: after planning, it asks [`Store::next_due`] of every store and sweeps
    /// again, rather than sleep, if something is due before the instant it planned.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let (store, rings) = (Store::new(), Arc::new(AtomicU32::new(0)));
    /// let bell = rings.clone();
    /// store.on_earlier(move || { bell.fetch_add(1, Ordering::Relaxed); });
    ///
    /// store.plan(store.clock().now() + Ttl::seconds(60));
    /// store.put(b"coat", b"blue", Ttl::seconds(3_600))?;
    /// assert_eq!(rings.load(Ordering::Relaxed), 0, "time enough");
    /// store.put(b"hat", b"black", Ttl::seconds(1))?;
    /// assert_eq!(rings.load(Ordering::Relaxed), 1, "too late for this one");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn plan(&self, at: Millis) {
        self.inner.common.alarm.planned.store(at.0, Ordering::SeqCst);
    }

    /// The function that is called, from under a shard's lock, when something dies before the planned instant, or waits to
    /// be freed. It must only wake somebody, and a wake-up before the sleep must not be lost. The first one stays.
    ///
    /// A janitor of one's own, who is punctual and sleeps as long as there is nothing to do:
    ///
    /// ```
    /// use std::{sync::mpsc, thread, time::Duration};
    /// use cloakroom::{Store, clock::Ttl};
    ///
    /// let store = Store::new();
    /// let (ring, bell) = mpsc::sync_channel(1);
    /// store.on_earlier(move || drop(ring.try_send(())));
    ///
    /// let swept = store.clone();
    /// thread::spawn(move || loop {
    ///     let next = swept.sweep_now();
    ///     swept.plan(next);
    ///     if swept.next_due() >= next {
    ///         let nap = next.since(swept.clock().now()).duration();
    ///         let _ = bell.recv_timeout(nap.min(Duration::from_secs(3_600)));
    ///     }
    /// });
    ///
    /// store.put(b"coat", b"blue", Ttl(2))?;
    /// while !store.is_empty() {
    ///     thread::sleep(Duration::from_millis(1));
    /// }
    /// assert_eq!(store.stats().expired, 1, "nobody has asked for it");
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn on_earlier(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second janitor would be a mistake of the embedder; the first keeps its alarm.
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(wake);
        let _ = self.inner.common.bin.on_put(wake.clone());
        let _ = self.inner.common.alarm.wake.set(wake);
    }
}
