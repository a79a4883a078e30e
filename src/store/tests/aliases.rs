//! Aliases and fences: what rotation and sign-out lean on.

use super::*;

const A: &[u8] = b"auth:session:a";
const B: &[u8] = b"auth:session:b";
const C: &[u8] = b"auth:session:c";
const LATER: Millis = Millis(NOW.0 + 60_000);

fn write(store: &Store, key: &[u8], value: &[u8]) -> Result<()> {
    store.with(key, NOW, |slot| slot.put_bytes(value, LATER))
}

#[test]
fn reads_and_writes_through_an_alias_meet_the_same_value() {
    let store = Store::new();
    assert!(store.add_alias(A, B, LATER, NOW));
    assert_eq!(write(&store, A, b"one"), Ok(()));
    assert_eq!(text(&store, B, NOW).as_deref(), Some("one"));
    put(&store, A, LATER, NOW);
    assert_eq!((text(&store, A, NOW).as_deref(), text(&store, B, NOW).as_deref()), (Some("v"), Some("v")));
    Store::with_all(&[(&store, A), (&store, B)], NOW, |slots| assert!(slots.same(0, 1)));
    assert_eq!(store.canonical(A, NOW), store.canonical(B, NOW));
    assert_eq!(store.len(), 1);
}

#[test]
fn the_name_an_alias_stands_for_is_stored_hashed() {
    let store = Store::new();
    store.add_alias(A, B, LATER, NOW);
    let canary = |entry: super::super::entry::Entry<'_>| entry.value().windows(B.len()).any(|bytes| bytes == B);
    assert!(!store.cells().iter().any(|cell| cell.shard.lock().iter().any(canary)));
}

#[test]
fn a_chain_of_aliases_is_one_family_whatever_the_door() {
    let store = Store::new();
    store.add_alias(A, B, LATER, NOW);
    store.add_alias(B, C, LATER, NOW);
    assert_eq!(write(&store, A, b"one"), Ok(()));
    assert_eq!(store.canonical(A, NOW), store.canonical(C, NOW));
    for name in [A, B, C] {
        assert_eq!(text(&store, name, NOW).as_deref(), Some("one"));
        assert_eq!(store.look(name, NOW, |_| ()), Look::Live(()));
    }
    Store::with_all(&[(&store, A)], NOW, |slots| assert!(slots.at(0).value().is_some()));
}

#[test]
fn aliases_in_a_circle_end_as_nothing() {
    let store = Store::new();
    store.add_alias(A, B, LATER, NOW);
    store.add_alias(B, C, LATER, NOW);
    store.add_alias(C, A, LATER, NOW);
    assert_eq!(text(&store, A, NOW), None);
    assert_eq!(store.look(B, NOW, |_| ()), Look::Absent);
    // A write breaks the circle rather than being lost in it.
    assert_eq!(write(&store, A, b"one"), Ok(()));
    assert_eq!(text(&store, A, NOW).as_deref(), Some("one"));
    Store::validate(&[store]);
}

#[test]
fn a_name_is_never_an_alias_of_itself() {
    let store = Store::new();
    assert_eq!(write(&store, A, b"one"), Ok(()));
    let hashed = store.secret_name(b"auth:session:", b"a");
    assert!(store.add_alias(A, &hashed, LATER, NOW));
    assert_eq!(text(&store, A, NOW).as_deref(), Some("one"));
}

#[test]
fn no_write_slips_over_an_alias_that_is_just_being_made() {
    let store = Store::new();
    let names: Vec<Vec<u8>> = (0..5_000).map(|number| format!("auth:session:{number}").into_bytes()).collect();
    let ready = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for name in &names {
                ready.wait();
                assert!(store.add_alias(name, B, LATER, NOW));
            }
        });
        for (number, name) in names.iter().enumerate() {
            ready.wait();
            let wrote = match number % 3 {
                0 => write(&store, name, b"v"),
                1 => store.write(name, b"v", NOW, |slot, fresh| slot.put(fresh.until(LATER))),
                _ => Store::with_all(&[(&store, name)], NOW, |slots| slots.at(0).put_bytes(b"v", LATER)),
            };
            assert_eq!(wrote, Ok(()));
        }
    });
    let lost = names.iter().filter(|name| store.canonical(name, NOW) != store.canonical(B, NOW)).count();
    assert_eq!(lost, 0, "aliases were written over");
    Store::validate(&[store]);
}

#[test]
fn a_sign_out_that_failed_does_not_undo_another_that_did_not() {
    let store = Store::new();
    store.fence(A, 1, NOW + Ttl(9_000), NOW);
    store.fence(A, 2, NOW + Ttl(9_500), NOW);
    assert!(!store.lift(A, 2, NOW));
    assert_eq!(write(&store, A, b"late"), Err(Error::Fenced), "the first sign-out still stands");
    assert!(!store.lift(A, 2, NOW));
    assert!(store.lift(A, 1, NOW));
    assert_eq!(write(&store, A, b"fresh"), Ok(()));
    Store::validate(&[store]);
}

#[test]
fn a_removal_under_a_fence_cannot_be_lifted_with_it() {
    let store = Store::new();
    store.fence(A, 1, NOW + Ttl(1), NOW);
    assert!(!store.with(A, NOW, |slot| slot.remove()));
    assert!(!store.lift(A, 1, NOW));
    assert_eq!(store.look(A, NOW, |_| ()), Look::Fenced(NOW + FENCE_DEFAULT));
    assert_eq!(write(&store, A, b"late"), Err(Error::Fenced));
    assert_eq!(store.with(A, NOW + FENCE_DEFAULT, |slot| slot.put_bytes(b"new", LATER)), Ok(()));
}

#[test]
fn so_many_sign_outs_that_tickets_run_out_leave_a_fence_that_stays() {
    let store = Store::new();
    for ticket in 1..=1_000 {
        store.fence(A, ticket, NOW + Ttl(9_000), NOW);
    }
    for ticket in 1..=1_000 {
        store.lift(A, ticket, NOW);
    }
    assert_eq!(write(&store, A, b"late"), Err(Error::Fenced));
    assert_eq!(store.sweep(NOW + Ttl(9_000)), Sweep::Idle(Millis::NEVER));
    assert_eq!(write(&store, A, b"new"), Ok(()));
}

#[test]
fn a_mark_is_read_again_whatever_comes_on_top_and_nobody_lifts_it() {
    let store = Store::new();
    let until = NOW + Ttl(9_000);
    assert_eq!(store.fence_of(A, NOW), None);
    store.fence(A, 0, until, NOW);
    store.fence_marked(A, 77, until, NOW);
    store.fence_marked(A, 70, until, NOW);
    for ticket in 1..=100 {
        store.fence(A, ticket, until, NOW);
        let fence = store.fence_of(A, NOW).expect("a fence");
        assert_eq!((fence.mark, fence.ticket, fence.until), (Some(77), ticket, until));
    }
    for ticket in (0..=100).chain([77, 77 | 1 << 63]) {
        assert!(!store.lift(A, ticket, NOW), "{ticket}");
    }
    assert_eq!(write(&store, A, b"late"), Err(Error::Fenced));
    assert!(store.unfence(A, NOW) && !store.unfence(A, NOW));
    assert_eq!(write(&store, A, b"new"), Ok(()));
    assert!(!store.unfence(A, NOW) && store.fence_of(A, NOW).is_none());
    store.fence(B, 1, until, NOW);
    assert_eq!(store.fence_of(B, until), None, "it has fallen");
}

#[test]
fn a_fence_takes_no_alias_and_an_alias_may_be_fenced() {
    let store = Store::new();
    store.fence(A, 1, NOW + Ttl(9_000), NOW);
    assert!(!store.add_alias(A, B, LATER, NOW));
    store.add_alias(C, B, LATER, NOW);
    assert_eq!(write(&store, B, b"one"), Ok(()));
    store.fence(C, 2, NOW + Ttl(9_000), NOW);
    assert_eq!(write(&store, C, b"late"), Err(Error::Fenced));
    assert_eq!(text(&store, B, NOW).as_deref(), Some("one"), "only this very name was fenced");
}

#[test]
fn an_expire_that_has_passed_is_a_sign_out_too() {
    let store = Store::new();
    assert_eq!(write(&store, A, b"one"), Ok(()));
    store.with(A, NOW, |slot| slot.set_deadline(NOW));
    assert_eq!(write(&store, A, b"late"), Err(Error::Fenced));
    assert_eq!(store.len(), 0);
}

#[test]
fn what_is_noted_of_a_fence_is_charged_though_it_lies_where_a_value_lay() {
    let store = Store::new();
    let held = || {
        Store::validate(std::slice::from_ref(&store));
        store.used_memory()
    };
    // As long as a fence's ticket.
    assert_eq!(write(&store, A, b"12345678"), Ok(()));
    let before = held();
    store.fence(A, 1, LATER, NOW);
    assert!(held() > before);
}
