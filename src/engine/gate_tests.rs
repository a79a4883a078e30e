//! The gate with threads of the system. `tests/schedules.rs` has its schedules chosen.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::gate::Gate;

fn never() -> bool {
    false
}

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
                    let mut turn = gate.enter(worker, never);
                    let [one, other] = halves.read();
                    assert_eq!(one, other, "worker {worker}");
                    turn.give_way(never, || ());
                    if worker < 2 || round % 16 == 0 {
                        gate.alone(worker, never, |_| gate.alone(worker, never, |_| halves.change()));
                    }
                    let [one, other] = halves.read();
                    assert_eq!(one, other, "worker {worker}");
                }
            });
        }
    });
    assert_eq!(halves.read(), [2 * ROUNDS + 2 * ROUNDS.div_ceil(16); 2]);
    assert!(gate.is_empty());
}

#[test]
fn a_panic_leaves_the_gate_open() {
    let gate = Gate::new(2);
    let fall = std::panic::AssertUnwindSafe(|| {
        let _turn = gate.enter(0, never);
        gate.alone(0, never, |_| panic!("on purpose"));
    });
    assert!(std::panic::catch_unwind(fall).is_err());
    assert_eq!(gate.alone(1, never, |_| 7), Some(7));
    drop(gate.enter(0, never));
}

#[test]
fn one_worker_is_always_alone() {
    let (gate, ran) = (Gate::new(1), Cell::new(false));
    let _turn = gate.enter(0, never);
    gate.alone(0, never, |_| ran.set(true));
    assert!(ran.get() && !gate.is_wanted());
}

#[test]
fn what_a_worker_does_while_it_rests_is_not_done_alone() {
    for workers in [1, 2] {
        let gate = Gate::new(workers);
        let rested = gate.alone(0, never, |_| {
            gate.set_resting(0, true);
            let turn = gate.enter(0, || true);
            assert!(workers == 1 || !turn.is_inside());
            assert_eq!(gate.alone(0, || true, |_| 7), None);
            drop(turn);
            gate.set_resting(0, false);
            gate.alone(0, never, |_| 8)
        });
        assert_eq!(rested, Some(Some(8)));
        assert!(gate.is_empty());
    }
}

#[test]
fn who_waits_may_give_up_and_comes_in_later() {
    let (gate, is_held, ends) = (Gate::new(2), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            gate.alone(1, never, |_| {
                is_held.store(true, Ordering::SeqCst);
                while !ends.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            })
        });
        while !is_held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let mut turn = gate.enter(0, || true);
        assert!(!turn.is_inside());
        assert_eq!(gate.alone(0, || true, |_| 7), None);
        turn.give_way(|| true, || ());
        assert!(!turn.is_inside());
        ends.store(true, Ordering::SeqCst);
        turn.give_way(never, || ());
        assert!(turn.is_inside());
        assert_eq!(gate.alone(0, || true, |_| 7), Some(7));
        assert!(turn.is_inside());
    });
    assert!(gate.is_empty());
}
