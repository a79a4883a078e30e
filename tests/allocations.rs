//! What a hit costs the allocator: nothing. Counted with an allocator of its own, on this thread alone.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cloakroom::clock::{ManualClock, Millis, Ttl};
use cloakroom::config::Namespace;
use cloakroom::session::{LookUp, SessionCache, Settings};
use cloakroom::store::{Store, Sweep};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`, and all blocks are the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the promises of `realloc`, and all blocks are the system's.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 1_000;

/// Allocations of so many rounds of the same thing.
fn allocations(mut f: impl FnMut()) -> usize {
    let before = COUNT.get();
    for _ in 0..ROUNDS {
        f();
    }
    COUNT.get() - before
}

/// Keys of all the lengths that matter, a session's among them.
fn keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [16, 300, 850].iter().map(|len| vec![b'k'; *len]).collect();
    keys.push([b"auth:session:".as_slice(), &[b't'; 343]].concat());
    keys
}

/// A store with one value under each of these keys.
fn store_of(keys: &[Vec<u8>]) -> (Store, Millis) {
    let clock = ManualClock::default();
    let store = Store::builder().clock(clock.clone()).build();
    for key in keys {
        store.put(key, &[b'v'; 300], Ttl::seconds(60)).expect("no fence here");
    }
    (store, clock.now())
}

/// The same with keys of all lengths.
fn store() -> (Store, Millis, Vec<Vec<u8>>) {
    let keys = keys();
    let (store, now) = store_of(&keys);
    (store, now, keys)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), ROUNDS);
}

#[test]
fn a_hit_allocates_nothing() {
    let (store, now, keys) = store();
    for key in &keys {
        let mut bytes = 0;
        let count =
            allocations(|| bytes += store.get(key, now, |value| value.string().map_or(0, <[u8]>::len)).unwrap_or(0));
        assert_eq!((count, bytes), (0, ROUNDS * 300), "key of {} bytes", key.len());
    }
}

#[test]
fn a_miss_allocates_nothing() {
    let (store, now, _) = store();
    assert_eq!(allocations(|| assert!(store.get(b"nothing", now, |_| ()).is_none())), 0);
    assert_eq!(allocations(|| assert!(store.get(b"auth:session:nobody", now, |_| ()).is_none())), 0);
}

#[test]
fn a_hit_through_an_alias_allocates_nothing() {
    let (store, now, keys) = store();
    let session = keys.last().expect("the session's key");
    assert!(store.add_alias(b"auth:session:rotated", session, now + Ttl::seconds(60), now));
    assert_eq!(allocations(|| assert!(store.get(b"auth:session:rotated", now, |_| ()).is_some())), 0);
}

#[test]
fn writing_over_a_value_allocates_nothing_and_neither_does_another_length_that_was_there_before() {
    for key in &keys() {
        // Beside another in its shard, which chance may put there, its hole may be worth moving the other for.
        let (store, now) = store_of(std::slice::from_ref(key));
        let until = now + Ttl::seconds(60);
        let write = |len: usize| {
            store.write(key, &[b'w'; 1000][..len], now, |slot, fresh| slot.put(fresh.until(until))).expect("no fence")
        };
        assert_eq!(allocations(|| write(300)), 0, "key of {} bytes", key.len());
        // Each length leaves a hole that the next one of its kind fills.
        [700, 300, 700, 300].into_iter().for_each(&write);
        let mut turn = 0;
        let other = || {
            turn += 1;
            write([700, 300][turn % 2]);
        };
        assert_eq!(allocations(other), 0, "key of {} bytes", key.len());
    }
}

#[test]
fn a_refresh_and_an_idle_sweep_allocate_nothing() {
    let (store, now, keys) = store();
    let mut later = now + Ttl::seconds(60);
    let refresh = || {
        later = later + Ttl(1);
        store.with(&keys[0], now, |slot| slot.set_deadline(later));
    };
    assert_eq!(allocations(refresh), 0);
    assert_eq!(allocations(|| assert_ne!(store.sweep(now), Sweep::MoreDue)), 0);
}

#[test]
fn a_named_cache_copies_only_what_it_hands_out() {
    let (store, _, _) = store();
    let sessions = store.cache(Namespace::SESSION).expect("predefined");
    sessions.put(b"token", b"{}").expect("no fence here");
    assert_eq!(allocations(|| assert!(sessions.fetch(b"token").is_some())), ROUNDS);
}

#[test]
fn a_session_that_is_shown_to_a_browser_or_a_proxy_allocates_nothing() {
    let clock = ManualClock::default();
    let settings = Settings::default();
    let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
    let (families, answers) = (stores.remove(1), stores.remove(0));
    let sessions = SessionCache::new(answers.clone(), families, settings);
    sessions.sign_with(|_, _| Some("s".repeat(900)));
    let body = format!(r#"{{"user":{{"name":"{}"}}}}"#, "a".repeat(300));
    answers.put(b"auth:session:token", body.as_bytes(), Ttl::seconds(60)).expect("no fence here");
    let tokens = sessions.tokens([b"next-auth.session-token=token".as_slice()]);
    let LookUp::Answer(answer) = sessions.look_up(&tokens, clock.now()) else { panic!("nobody else to ask") };
    assert_eq!(sessions.verdict(&tokens, answer, clock.now()).status, 200);
    let mut bytes = 0;
    let shown = || bytes += sessions.hit(&tokens, clock.now(), |hit| hit.body.len()).unwrap_or(0);
    assert_eq!((allocations(shown), bytes), (0, ROUNDS * body.len()));
    let mut lines = 0;
    let told = || {
        let hit = sessions.verified_hit(&tokens, clock.now(), |told| told.lines(|_, _| lines += 1));
        assert!(hit.is_some());
    };
    // How long it may be stored, the name, the signature, and where it comes from in two lines.
    assert_eq!((allocations(told), lines), (0, ROUNDS * 5));
}
