//! The gate under shuttle, which chooses who goes on at each look at what is shared: no schedule may show half of what is
//! done alone, and none may leave somebody waiting. The gate is compiled here once more, made of what shuttle controls.

use std::sync::Arc;

#[path = "../src/engine/gate.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is the engine's, which uses all of it")]
mod gate;

use gate::Gate;
use shuttle::sync::atomic::AtomicU64;
use sync::Ordering;

/// The names of `src/engine/sync.rs`, with the calls of parking_lot over what shuttle has.
mod sync {
    use std::ops::{Deref, DerefMut};
    use std::time::Duration;

    pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub use shuttle::thread::yield_now as spin_loop;

    /// So that most schedules come to where one sleeps.
    pub const LOOKS: usize = 1;

    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    /// Empty only while its owner sleeps.
    pub struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(self.0.lock().ok())
        }

        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }

        /// Time is what others do meanwhile.
        pub fn try_lock_for(&self, _patience: Duration) -> Option<MutexGuard<'_, T>> {
            spin_loop();
            self.try_lock()
        }
    }

    impl<T> MutexGuard<'_, T> {
        pub fn unlock_fair(guard: Self) {
            drop(guard);
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("its owner is awake")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("its owner is awake")
        }
    }

    pub struct Condvar(shuttle::sync::Condvar);

    impl Condvar {
        pub fn new() -> Condvar {
            Condvar(shuttle::sync::Condvar::new())
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }

        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let awake = guard.0.take().expect("its owner is awake");
            guard.0 = self.0.wait(awake).ok();
        }
    }
}

/// Schedules that are tried by each of shuttle's two ways, in each test.
const SCHEDULES: usize = 500;

fn in_all_schedules(run: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, 3);
}

/// Two halves that only who is alone may change, one after the other.
#[derive(Default)]
struct Halves([AtomicU64; 2]);

impl Halves {
    fn are_equal(&self) -> bool {
        self.0[0].load(Ordering::SeqCst) == self.0[1].load(Ordering::SeqCst)
    }

    fn change(&self) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs workers, and returns when all have ended. Shuttle fails a schedule in which nobody can go on.
fn workers<const N: usize>(gate: &Arc<Gate>, work: [fn(&Gate, usize, &Halves); N]) {
    let halves = Arc::new(Halves::default());
    let threads = std::array::from_fn::<_, N, _>(|worker| {
        let (gate, halves, work) = (gate.clone(), halves.clone(), work[worker]);
        shuttle::thread::spawn(move || work(&gate, worker, &halves))
    });
    for thread in threads {
        thread.join().expect("a worker that saw nothing wrong");
    }
    assert!(halves.are_equal() && gate.is_empty());
}

fn never() -> bool {
    false
}

/// A batch of two requests, between which others may be alone.
fn two_requests(gate: &Gate, worker: usize, halves: &Halves) {
    let mut turn = gate.enter(worker, never);
    assert!(halves.are_equal());
    turn.give_way(never, || ());
    assert!(turn.is_inside() && halves.are_equal());
}

/// A batch in the middle of which something is done alone, as by EXEC.
fn a_transaction(gate: &Gate, worker: usize, halves: &Halves) {
    let turn = gate.enter(worker, never);
    assert!(halves.are_equal());
    let done = gate.alone(worker, never, |_| {
        assert!(halves.are_equal());
        halves.change();
        gate.alone(worker, never, |_| halves.change())
    });
    assert!(done.is_some() && turn.is_inside() && halves.are_equal());
}

/// A batch whose worker does not wait while somebody is alone.
fn who_gives_up(gate: &Gate, worker: usize, halves: &Halves) {
    let mut turn = gate.enter(worker, || true);
    assert!(!turn.is_inside() || halves.are_equal());
    turn.give_way(|| true, || ());
    assert!(!turn.is_inside() || halves.are_equal());
}

#[test]
fn no_schedule_shows_half_of_a_transaction() {
    in_all_schedules(|| workers(&Arc::new(Gate::new(2)), [two_requests, a_transaction]));
}

#[test]
fn no_schedule_of_crossing_transactions_leaves_somebody_waiting() {
    in_all_schedules(|| workers(&Arc::new(Gate::new(3)), [a_transaction, a_transaction, two_requests]));
}

#[test]
fn no_schedule_lets_in_who_gives_up() {
    in_all_schedules(|| workers(&Arc::new(Gate::new(3)), [who_gives_up, a_transaction, a_transaction]));
}

#[test]
fn no_schedule_shows_what_is_done_while_a_script_rests_as_done_alone() {
    /// A script that takes long: it rests once, and whoever comes from its own worker meanwhile is outside.
    fn resting(gate: &Gate, worker: usize, halves: &Halves) {
        gate.alone(worker, never, |_| {
            halves.change();
            gate.set_resting(worker, true);
            assert!(!gate.enter(worker, || true).is_inside());
            assert!(gate.alone(worker, || true, |_| ()).is_none());
            gate.set_resting(worker, false);
            halves.change();
        });
    }
    in_all_schedules(|| workers(&Arc::new(Gate::new(3)), [resting, two_requests, a_transaction]));
}
