//! The gate: how one worker makes sure that nobody else is at the stores while it runs several commands.
//!
//! Shards have locks of their own, and one command needs no more. A transaction or a script needs all others to be still.
//! So a worker says that it is *inside* while it runs a batch of requests, with one store to memory of its own and one
//! look at a counter that seldom changes. Who must be *alone* goes outside, queues for the lock, and waits until nobody
//! else is inside; whoever comes meanwhile queues behind it. Nobody waits while inside, so no two can wait for each other,
//! and as the queue is first come, first served, nobody waits for ever. The janitor does not come through here: what it
//! removes had died before, to the eyes of all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// How often the counters of those inside are looked at before sleeping: most batches take a few microseconds.
const LOOKS: usize = 200;

/// How long a worker queues before it looks whether it should give up.
const PATIENCE: Duration = Duration::from_millis(5);

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
    /// Where the first of the queue sleeps until somebody has left.
    door: Mutex<()>,
    left: Condvar,
}

/// That a worker is inside. It is let out when this is dropped.
pub struct Turn<'a> {
    gate: &'a Gate,
    worker: usize,
    /// It was inside already, and stays.
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
            door: Mutex::new(()),
            left: Condvar::new(),
        }
    }

    /// Lets a worker in, for one batch of requests. It must not wait for anything while it is inside.
    #[inline]
    pub fn enter(&self, worker: usize) -> Turn<'_> {
        // A worker that is the only one is always alone.
        let was_inside = self.seats.len() == 1 || self.seats[worker].inside.load(Ordering::Relaxed);
        if !was_inside {
            self.go_in(worker);
        }
        Turn { gate: self, worker, was_inside }
    }

    /// Lets a worker in as [`Gate::enter`] does, but gives up when `is_long` says that whoever is alone takes long.
    #[inline]
    pub fn enter_unless(&self, worker: usize, is_long: impl Fn() -> bool) -> Option<Turn<'_>> {
        let was_inside = self.seats.len() == 1 || self.seats[worker].inside.load(Ordering::Relaxed);
        if !was_inside {
            // See `go_in`.
            self.seats[worker].inside.store(true, Ordering::SeqCst);
            if self.wanted.load(Ordering::SeqCst) > 0 && !self.queue_up_unless(worker, is_long) {
                return None;
            }
        }
        Some(Turn { gate: self, worker, was_inside })
    }

    /// Runs something while no other worker is inside. What runs may ask for the same again.
    pub fn alone<R>(&self, worker: usize, f: impl FnOnce() -> R) -> R {
        if self.seats.len() == 1 || self.owner.load(Ordering::Relaxed) == worker + 1 {
            return f();
        }
        let was_inside = self.seats[worker].inside.load(Ordering::Relaxed);
        if was_inside {
            self.go_out(worker);
        }
        self.wanted.fetch_add(1, Ordering::SeqCst);
        let alone = Alone { gate: self, queue: Some(self.queue.lock()) };
        self.await_others(worker);
        self.owner.store(worker + 1, Ordering::Relaxed);
        let result = f();
        // While the queue is still closed: whoever is next waits until this worker is done with its batch.
        self.seats[worker].inside.store(was_inside, Ordering::SeqCst);
        drop(alone);
        result
    }

    /// Whether somebody waits to be alone.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    fn go_in(&self, worker: usize) {
        // In one order with what `alone` does: either it sees this worker inside, or this worker sees that it is wanted.
        self.seats[worker].inside.store(true, Ordering::SeqCst);
        if self.wanted.load(Ordering::SeqCst) > 0 {
            self.queue_up(worker);
        }
    }

    #[cold]
    fn queue_up(&self, worker: usize) {
        self.go_out(worker);
        let queue = self.queue.lock();
        self.seats[worker].inside.store(true, Ordering::SeqCst);
        MutexGuard::unlock_fair(queue);
    }

    /// Queues up until it is let in, or `is_long`.
    #[cold]
    fn queue_up_unless(&self, worker: usize, is_long: impl Fn() -> bool) -> bool {
        self.go_out(worker);
        while !is_long() {
            if let Some(queue) = self.queue.try_lock_for(PATIENCE) {
                self.seats[worker].inside.store(true, Ordering::SeqCst);
                MutexGuard::unlock_fair(queue);
                return true;
            }
        }
        false
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
    fn await_others(&self, worker: usize) {
        let others = || self.seats.iter().enumerate().filter(|(number, _)| *number != worker);
        let is_empty = || others().all(|(_, seat)| !seat.inside.load(Ordering::SeqCst));
        for _ in 0..LOOKS {
            if is_empty() {
                return;
            }
            std::hint::spin_loop();
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
    /// Steps aside as [`Turn::give_way`] does. `false`: it is outside, as `is_long` said that the other takes long.
    #[inline]
    pub fn give_way_unless(&mut self, is_long: impl Fn() -> bool) -> bool {
        !self.gate.is_wanted() || self.was_inside || self.gate.queue_up_unless(self.worker, is_long)
    }

    /// Steps aside if somebody waits to be alone; to be called between two requests.
    #[inline]
    pub fn give_way(&mut self) {
        if self.gate.is_wanted() && !self.was_inside {
            self.gate.queue_up(self.worker);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.was_inside {
            self.gate.go_out(self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// Two halves that only who is alone may change one after the other.
    #[derive(Default)]
    struct Halves([AtomicU64; 2]);

    impl Halves {
        fn read(&self) -> [u64; 2] {
            [self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed)]
        }

        fn change(&self) {
            self.0[0].fetch_add(1, Ordering::Relaxed);
            std::thread::yield_now();
            self.0[1].fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_is_alone_is_never_seen_at_work() {
        const ROUNDS: u64 = 300;
        let (gate, halves) = (Gate::new(4), Halves::default());
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (gate, halves) = (&gate, &halves);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let mut turn = gate.enter(worker);
                        let [one, other] = halves.read();
                        assert_eq!(one, other, "worker {worker}");
                        turn.give_way();
                        if worker < 2 || round % 16 == 0 {
                            gate.alone(worker, || gate.alone(worker, || halves.change()));
                        }
                        let [one, other] = halves.read();
                        assert_eq!(one, other, "worker {worker}");
                    }
                });
            }
        });
        assert_eq!(halves.read(), [2 * ROUNDS + 2 * ROUNDS.div_ceil(16); 2]);
        assert!(!gate.is_wanted() && gate.seats.iter().all(|seat| !seat.inside.load(Ordering::Relaxed)));
    }

    #[test]
    fn who_queues_can_give_up() {
        let gate = Gate::new(2);
        gate.alone(0, || {
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(gate.enter_unless(1, || true).is_none()));
            });
        });
        let mut turn = gate.enter_unless(1, || true).expect("nobody is alone");
        assert!(turn.give_way_unless(|| true));
    }

    #[test]
    fn a_panic_leaves_the_gate_open() {
        let gate = Gate::new(2);
        let fall = std::panic::AssertUnwindSafe(|| {
            let _turn = gate.enter(0);
            gate.alone(0, || panic!("on purpose"));
        });
        assert!(std::panic::catch_unwind(fall).is_err());
        assert_eq!(gate.alone(1, || 7), 7);
        drop(gate.enter(0));
    }

    #[test]
    fn one_worker_is_always_alone() {
        let (gate, ran) = (Gate::new(1), Cell::new(false));
        let _turn = gate.enter(0);
        gate.alone(0, || ran.set(true));
        assert!(ran.get() && !gate.is_wanted());
    }
}
