//! The gate: how one worker makes sure that nobody else is at the stores while it runs several commands.
//!
//! Shards have locks of their own, and one command needs no more. A transaction or a script needs all others to be still.
//! So a worker says that it is *inside* while it runs a batch of requests, with one store to memory of its own and one
//! look at a counter that seldom changes. Who must be *alone* goes outside, queues for the lock, and waits until nobody
//! else is inside; whoever comes meanwhile queues behind it. Nobody waits while inside, so no two can wait for each other,
//! and as the queue is first come, first served, nobody waits for ever. The janitor comes through here like
//! a client, a slice at a time: what has died may be what a transaction or a script, whose clock stands still, works with.
//!
//! A script may take long, and somebody must be there to end it. So who waits for it may give up, and then answers what needs
//! no store.

use std::time::Duration;

use super::sync::{AtomicBool, AtomicUsize, Condvar, LOOKS, Mutex, MutexGuard, Ordering, spin_loop};

/// How long one waits before looking whether to go on waiting.
const PATIENCE: Duration = Duration::from_millis(1);

/// A worker's place. It shares no cache line with another's.
#[derive(Default)]
#[repr(align(128))]
struct Seat {
    inside: AtomicBool,
}

/// See the module's text.
pub struct Gate {
    seats: Box<[Seat]>,
    /// How many want to be alone, or are.
    wanted: AtomicUsize,
    /// Who is alone has this.
    queue: Mutex<()>,
    /// The number of the worker that is alone, one up.
    owner: AtomicUsize,
    /// The number of the worker that is alone and rests, one up.
    resting: AtomicUsize,
    /// Where the first of the queue sleeps until somebody has left.
    door: Mutex<()>,
    left: Condvar,
}

/// A worker's turn: it is inside, unless it gave up waiting. It is let out when this is dropped.
pub struct Turn<'a> {
    gate: &'a Gate,
    worker: usize,
    /// It was inside before, and stays.
    was_inside: bool,
}

impl Gate {
    /// A gate for so many workers.
    pub(super) fn new(workers: usize) -> Gate {
        Gate {
            seats: (0..workers.max(1)).map(|_| Seat::default()).collect(),
            wanted: AtomicUsize::new(0),
            queue: Mutex::new(()),
            owner: AtomicUsize::new(0),
            resting: AtomicUsize::new(0),
            door: Mutex::new(()),
            left: Condvar::new(),
        }
    }

    /// Lets a worker in, for one batch of requests. It must not wait for anything while it is inside. If somebody else is
    /// alone and `gives_up` comes true meanwhile, it stays outside, and [`Turn::is_inside`] says so.
    #[inline]
    pub fn enter(&self, worker: usize, gives_up: impl Fn() -> bool) -> Turn<'_> {
        // A worker that is the only one is always alone.
        let was_inside = self.is_single() || self.is_inside(worker);
        if !was_inside {
            self.go_in(worker, gives_up);
        }
        Turn { gate: self, worker, was_inside }
    }

    /// Runs something while no other worker is inside, and tells it whether that may have taken a while. What runs may ask for
    /// the same again. `None`: somebody else is alone and `gives_up` came true, and the worker is outside then; or it is the
    /// worker itself that is alone, and rests.
    pub fn alone<R>(&self, worker: usize, gives_up: impl Fn() -> bool, f: impl FnOnce(bool) -> R) -> Option<R> {
        if self.is_single() || self.owner.load(Ordering::Relaxed) == worker + 1 {
            return (self.resting.load(Ordering::Relaxed) != worker + 1).then(|| f(false));
        }
        let was_inside = self.is_inside(worker);
        if was_inside {
            self.go_out(worker);
        }
        self.wanted.fetch_add(1, Ordering::SeqCst);
        let mut alone = Alone { gate: self, queue: None };
        alone.queue = Some(self.wait_in_queue(gives_up)?);
        self.clear_the_room(worker);
        self.owner.store(worker + 1, Ordering::Relaxed);
        let result = f(true);
        // While the queue is still closed: whoever is next waits until this worker is done with its batch.
        self.seats[worker].inside.store(was_inside, Ordering::SeqCst);
        drop(alone);
        Some(result)
    }

    /// Says that what a worker does alone rests, or goes on. What else the worker does meanwhile is not done alone.
    pub fn set_resting(&self, worker: usize, rests: bool) {
        self.resting.store(if rests { worker + 1 } else { 0 }, Ordering::Relaxed);
    }

    /// Whether somebody waits to be alone, or is.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    /// Whether nobody is inside, and nobody wants to be alone.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        !self.is_wanted() && self.seats.iter().all(|seat| !seat.inside.load(Ordering::SeqCst))
    }

    fn is_single(&self) -> bool {
        self.seats.len() == 1
    }

    fn is_inside(&self, worker: usize) -> bool {
        self.seats[worker].inside.load(Ordering::Relaxed)
    }

    #[inline]
    fn go_in(&self, worker: usize, gives_up: impl Fn() -> bool) {
        // In one order with what `alone` does: either it sees this worker inside, or this worker sees that it is wanted.
        self.seats[worker].inside.store(true, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) > 0 {
            self.queue_up(worker, gives_up);
        }
    }

    #[cold]
    fn queue_up(&self, worker: usize, gives_up: impl Fn() -> bool) {
        self.go_out(worker);
        if let Some(queue) = self.wait_in_queue(gives_up) {
            self.seats[worker].inside.store(true, Ordering::SeqCst);
            MutexGuard::unlock_fair(queue);
        }
    }

    fn wait_in_queue(&self, gives_up: impl Fn() -> bool) -> Option<MutexGuard<'_, ()>> {
        let mut queue = self.queue.try_lock();
        while queue.is_none() && !gives_up() {
            queue = self.queue.try_lock_for(PATIENCE);
        }
        queue
    }

    fn go_out(&self, worker: usize) {
        self.seats[worker].inside.store(false, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) > 0 {
            // Who is about to sleep has looked before, under this lock, or looks after.
            drop(self.door.lock());
            self.left.notify_all();
        }
    }

    /// Waits until nobody else is inside. As the queue is closed, nobody else comes in.
    fn clear_the_room(&self, worker: usize) {
        let others = || self.seats.iter().enumerate().filter(|(number, _)| *number != worker);
        let is_empty = || others().all(|(_, seat)| !seat.inside.load(Ordering::SeqCst));
        for _ in 0..LOOKS {
            if is_empty() {
                return;
            }
            spin_loop();
        }
        let mut door = self.door.lock();
        while !is_empty() {
            self.left.wait(&mut door);
        }
    }
}

/// That a worker is alone, or waits to be. A panic ends it as well.
struct Alone<'a> {
    gate: &'a Gate,
    queue: Option<MutexGuard<'a, ()>>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.gate.owner.store(0, Ordering::Relaxed);
        self.gate.wanted.fetch_sub(1, Ordering::SeqCst);
        if let Some(queue) = self.queue.take() {
            MutexGuard::unlock_fair(queue);
        }
    }
}

impl Turn<'_> {
    /// Steps aside if somebody waits to be alone, and comes in again if it was left outside; to be called between two
    /// requests. Tells whether it is inside; if not, somebody else is alone with the stores. `waited` is called if that may
    /// have taken a while.
    #[inline]
    pub fn give_way(&mut self, gives_up: impl Fn() -> bool, waited: impl FnOnce()) -> bool {
        if self.was_inside || !self.gate.is_wanted() && self.is_inside() {
            return true;
        }
        self.gate.queue_up(self.worker, gives_up);
        waited();
        self.is_inside()
    }

    /// Whether it is inside. If not, somebody else is alone with the stores.
    #[inline]
    pub fn is_inside(&self) -> bool {
        self.gate.is_single() || self.gate.is_inside(self.worker)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.was_inside && self.is_inside() {
            self.gate.go_out(self.worker);
        }
    }
}
