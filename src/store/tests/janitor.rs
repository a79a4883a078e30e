//! The janitor's side: everything is reclaimed when due, in bounded slices, and no wake-up is lost.

use std::sync::atomic::AtomicBool;

use super::super::janitor::{SWEEP_MAX, SWEEP_SHARDS};
use super::*;

/// Entries that one call of `sweep` may reclaim at most.
const CALL_MAX: usize = SWEEP_SHARDS * SWEEP_MAX;

/// Sweeps until idle; tells how many entries were reclaimed, by which number of calls, and what comes next.
fn drain(store: &Store, now: Millis) -> (usize, usize, Millis) {
    let (mut total, mut calls, mut before) = (0, 0, store.count().0);
    loop {
        let found = store.sweep(now);
        let after = store.count().0;
        assert!(before - after <= CALL_MAX, "one call took {}", before - after);
        total += before - after;
        calls += 1;
        before = after;
        match found {
            Sweep::Idle(next) => return (total, calls, next),
            Sweep::MoreDue => assert!(calls < 100_000, "a sweep without end"),
        }
    }
}

#[test]
fn each_entry_is_reclaimed_at_its_deadline_and_not_before() {
    let store = Store::new();
    for number in 0..500 {
        put(&store, &key(number), NOW + Ttl(1 + number as u64 / 10), NOW);
    }
    for at in 0..50 {
        let (taken, _, next) = drain(&store, NOW + Ttl(at));
        assert_eq!((taken, next), (if at == 0 { 0 } else { 10 }, NOW + Ttl(at + 1)));
    }
    let (taken, calls, next) = drain(&store, NOW + Ttl(50));
    assert_eq!((taken, next), (10, Millis::NEVER));
    assert!(calls <= 10_usize.div_ceil(SWEEP_SHARDS), "{calls} calls");
    assert_eq!((store.is_empty(), store.stats().expired), (true, 500));
    Store::validate(&[store]);
}

#[test]
fn very_many_entries_with_one_deadline_die_in_bounded_slices() {
    const COUNT: u32 = 200_000;
    let store = Store::new();
    let due = NOW + Ttl::seconds(5);
    for number in 0..COUNT {
        let wrote = store.with(&number.to_le_bytes(), NOW, |slot| slot.put_bytes(b"v", due));
        assert_eq!(wrote, Ok(()));
    }
    assert_eq!(store.sweep(Millis(due.0 - 1)), Sweep::Idle(due));
    let (mut calls, mut expired) = (0, 0);
    while store.sweep(due) == Sweep::MoreDue {
        calls += 1;
        // Counting locks every shard, so only now and then.
        if calls % 64 == 0 {
            let now = store.stats().expired;
            // Two that share a hash, in a shard, share a reminder.
            assert!(now - expired <= 64 * CALL_MAX as u64 + 8, "{}", now - expired);
            expired = now;
        }
    }
    assert!(calls >= COUNT as usize / CALL_MAX, "{calls}");
    assert_eq!((store.len(), store.stats().expired), (0, COUNT.into()));
    assert!(store.used_memory() <= SHARDS * 256, "room for a few reminders each: {}", store.used_memory());
    Store::validate(&[store]);
}

#[test]
fn a_refresh_to_later_files_no_reminder() {
    let store = Store::new();
    for number in 0..1_000 {
        put(&store, &key(number), NOW + Ttl(100), NOW);
    }
    let before = store.used_memory();
    for round in 1..50 {
        for number in 0..1_000 {
            store.with(&key(number), NOW, |slot| slot.set_deadline(NOW + Ttl(100 + round)));
        }
    }
    assert_eq!(store.used_memory(), before);
    assert_eq!(drain(&store, NOW + Ttl(148)).0, 0);
    let (taken, calls, next) = drain(&store, NOW + Ttl(149));
    assert_eq!((taken, next), (1_000, Millis::NEVER));
    // A slice of each shard, and another where more entries lie than one slice takes.
    assert!(calls <= SHARDS / SWEEP_SHARDS + 1_000 / SWEEP_MAX, "{calls} calls");
}

#[test]
fn a_slice_looks_at_no_more_reminders_than_it_may() {
    let store = Store::new();
    for key in (0..).map(key).filter(|key| shard_of(&store, key) == 0).take(100) {
        put(&store, &key, NOW + Ttl(1), NOW);
    }
    let mut left = 100;
    for most in [1, 3, 8, 9, 0, 64] {
        assert_eq!(store.sweep_some(NOW + Ttl(1), most), Sweep::MoreDue);
        left -= most.max(1);
        assert_eq!(store.cells()[0].shard.lock().visible(), left, "after a slice of {most}");
    }
}

#[test]
fn a_busy_shard_does_not_keep_the_others_waiting() {
    let store = Store::new();
    let due = NOW + Ttl(1);
    // The first shard gets more due entries than any number of slices here can take; one other shard gets one.
    let first: Vec<_> = (0..).map(key).filter(|key| shard_of(&store, key) == 0).take(20 * SWEEP_MAX).collect();
    let last = (0..).map(key).find(|key| shard_of(&store, key) == SHARDS - 1).expect("some key lies there");
    for key in first.iter().chain([&last]) {
        put(&store, key, due, NOW);
    }
    for _ in 0..2_usize.div_ceil(SWEEP_SHARDS) {
        assert_eq!(store.sweep(due), Sweep::MoreDue);
    }
    assert_eq!(store.cells()[SHARDS - 1].shard.lock().visible(), 0, "the last shard had its turn");
    assert!(store.cells()[0].shard.lock().visible() > 0);
}

fn shard_of(store: &Store, key: &[u8]) -> usize {
    store.place(key, &mut NameBuf::new()).shard()
}

#[test]
fn a_deadline_before_the_planned_one_wakes_the_janitor_once() {
    let store = Store::new();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = wakes.clone();
    store.on_earlier(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    store.plan(NOW + Ttl(100));
    put(&store, b"late", NOW + Ttl(100), NOW);
    put(&store, b"later", NOW + Ttl(200), NOW);
    assert_eq!(wakes.load(Ordering::Relaxed), 0);
    put(&store, b"soon", NOW + Ttl(50), NOW);
    put(&store, b"as soon", NOW + Ttl(50), NOW);
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    put(&store, b"sooner", NOW + Ttl(49), NOW);
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
}

/// A janitor as `Store::plan` prescribes it, on a clock that each round moves; whenever it goes to sleep, nothing that
/// was written before may be due before the instant it sleeps until, unless it has been woken.
#[test]
fn a_janitor_that_plans_and_looks_again_misses_nothing() {
    let store = Store::new();
    let woken = Arc::new(AtomicBool::new(false));
    let bell = woken.clone();
    store.on_earlier(move || bell.store(true, Ordering::SeqCst));
    let written = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(7);
            for number in 0..20_000 {
                let deadline = NOW + Ttl(1 + dice.below(1_000_000));
                put(&store, &key(number), deadline, NOW);
                written.store(number as u64 + 1, Ordering::SeqCst);
            }
            stop.store(true, Ordering::SeqCst);
        });
        while !stop.load(Ordering::SeqCst) {
            woken.store(false, Ordering::SeqCst);
            let next = until_idle(&store);
            store.plan(next);
            if store.next_due() < next {
                continue;
            }
            // Asleep. What was filed since rings, at the latest when its writer lets go of the shard.
            let due = store.next_due();
            let before = written.load(Ordering::SeqCst);
            loop {
                let after = written.load(Ordering::SeqCst);
                if due >= next || woken.load(Ordering::SeqCst) {
                    break;
                }
                assert_eq!(before, after, "asleep until {next:?}, due at {due:?}");
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(written.load(Ordering::SeqCst), 20_000);
}

fn until_idle(store: &Store) -> Millis {
    loop {
        if let Sweep::Idle(next) = store.sweep(NOW) {
            return next;
        }
    }
}
