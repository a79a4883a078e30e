//! Sizes, and memory given back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn values_that_become_immortal_leave_no_reminders_behind() {
    let store = Store::new();
    let far = NOW + Ttl::seconds(3600);
    for round in 0..3 {
        for number in 0..20_000 {
            put(&store, &key(number), far, NOW);
        }
        for number in 0..20_000 {
            match round {
                0 => store.with(&key(number), NOW, |slot| slot.set_deadline(Millis::NEVER)),
                1 => put(&store, &key(number), Millis::NEVER, NOW),
                _ => store.with(&key(number), NOW, |slot| assert!(slot.remove())),
            }
        }
        Store::validate(std::slice::from_ref(&store));
    }
}

#[test]
fn memory_comes_back_when_keys_are_removed_one_by_one() {
    let store = Store::new();
    for number in 0..200_000 {
        put(&store, &key(number), Millis::NEVER, NOW);
    }
    let full = store.used_memory();
    for number in 0..200_000 {
        store.with(&key(number), NOW, |slot| slot.remove());
    }
    assert!(store.used_memory() < full / 10, "{} of {full} bytes are still held", store.used_memory());
    Store::validate(&[store]);
}

#[test]
fn reminders_come_back_when_many_die_among_many_that_stay() {
    let store = Store::new();
    for number in 0..100_000 {
        put(&store, &key(number), Millis::NEVER, NOW);
    }
    let before = store.used_memory();
    for number in 100_000..200_000 {
        put(&store, &key(number), NOW + Ttl(1), NOW);
    }
    while store.sweep(NOW + Ttl(1)) == Sweep::MoreDue {}
    assert_eq!(store.len(), 100_000);
    let kept = store.cells().iter().map(|cell| cell.shard.lock().reminders_size()).sum::<usize>();
    assert!(kept <= 64 * 1024, "{kept} bytes for no reminder at all");
    assert!(store.used_memory() < before * 2, "{} after, {before} before", store.used_memory());
    Store::validate(&[store]);
}

#[test]
fn a_panic_in_a_closure_leaves_the_shard_whole() {
    let store = Store::new();
    put(&store, b"old", Millis::NEVER, NOW);
    let one = catch_unwind(AssertUnwindSafe(|| {
        store.with(b"coat", NOW, |slot| {
            slot.put_bytes(b"blue", NOW + Ttl(5)).expect("no fence here");
            panic!("a handler's mistake");
        })
    }));
    let many = catch_unwind(AssertUnwindSafe(|| {
        Store::with_all(&[(&store, b"old"), (&store, b"hat")], NOW, |slots| {
            slots.at(0).put_bytes(b"new", NOW + Ttl(3)).expect("no fence here");
            panic!("another one");
        })
    }));
    assert!(one.is_err() && many.is_err());
    Store::validate(std::slice::from_ref(&store));
    assert_eq!(store.sweep(NOW), Sweep::Idle(NOW + Ttl(3)));
    assert_eq!(
        (text(&store, b"coat", NOW).as_deref(), text(&store, b"old", NOW).as_deref()),
        (Some("blue"), Some("new"))
    );
}

#[test]
fn flushing_gives_all_memory_back_and_keeps_fences() {
    let family = Store::builder().build_family(2);
    for number in 0..10_000 {
        put(&family[0], &key(number), NOW + Ttl(number as u64), NOW);
        put(&family[1], &key(number), Millis::NEVER, NOW);
    }
    family[0].fence(b"auth:session:t", 7, NOW + Ttl::seconds(5), NOW);
    let rest = family[1].used_memory();
    let both = family[0].used_memory();
    family[0].clear();
    assert_eq!((family[0].len(), family[1].len()), (0, 10_000));
    assert!(family[0].used_memory() >= both, "until it is freed it is in use");
    while family[0].free_some(10) {}
    assert!(family[0].used_memory() < rest);
    assert_eq!(family[0].look(b"auth:session:t", NOW, |_| ()), Look::Fenced(NOW + Ttl::seconds(5)));
    Store::validate(&family);
    family[1].clear();
    while family[1].sweep(NOW) == Sweep::MoreDue {}
    assert!(family[1].used_memory() < 1024, "one fence, one small table: {}", family[1].used_memory());
    Store::validate(&family);
}

/// What stays of a flush is copied a few at a time before, and nobody sees anything of it until all goes at once. What changes
/// meanwhile is as it was changed.
#[test]
fn flushing_among_very_many_fences_is_prepared_in_bounded_pieces() {
    const FENCES: usize = 5_000;
    let (store, until) = (&Store::builder().hash_seed(7).build(), NOW + Ttl::seconds(60));
    let name = |number: usize| store.secret_name(b"auth:session:", &number.to_be_bytes());
    (0..FENCES).for_each(|number| store.fence(&name(number), 7, until, NOW));
    (0..FENCES).for_each(|number| put(store, &key(number), until, NOW));
    assert!(store.add_alias(&name(FENCES), &name(FENCES + 1), until, NOW));
    let (mut clearing, lot, mut calls) = (Clearing::new(store), Lot::lazy(), 0);
    while clearing.prepare() {
        calls += 1;
        assert_eq!(store.len(), FENCES + usize::from(calls > 1));
        put(store, b"meanwhile", until, NOW);
        if calls <= 50 {
            // One goes, one comes, one lasts longer, somewhere among those that were copied and those that were not.
            assert!(store.lift(&name(calls), 7, NOW));
            store.fence(&name(FENCES + 1 + calls), 7, until, NOW);
            store.fence(&name(1_000 + calls), 7, until + Ttl(9), NOW);
        }
        Store::validate(std::slice::from_ref(store));
    }
    assert!((FENCES / 48..FENCES / 8).contains(&calls), "{calls} calls");
    assert_eq!((store.len(), store.hidden()), (FENCES + 1, FENCES + 1));
    clearing.finish(&lot);
    Store::validate(std::slice::from_ref(store));
    assert_eq!((store.len(), store.hidden(), store.changes_made()), (0, FENCES + 1, FENCES as u64 + 1));
    for number in 0..FENCES + 52 {
        let fenced = match number {
            1..=50 | FENCES..=5_001 => Look::Absent,
            1_001..=1_050 => Look::Fenced(until + Ttl(9)),
            _ => Look::Fenced(until),
        };
        assert_eq!(store.look(&name(number), NOW, |_| ()), fenced, "{number}");
    }
    assert_eq!(store.canonical(&name(FENCES), NOW), name(FENCES + 1));
    assert!(!lot.is_freed());
    while store.free_some(50) {}
    assert!(lot.is_freed());
    assert_eq!(store.lazily_freed(), (0, FENCES as u64 + 1));
}

#[test]
fn what_a_slot_holds_past_its_deadline_is_not_there() {
    let store = Store::new();
    store.with(b"coat", NOW, |slot| {
        slot.put_bytes(b"blue", NOW).expect("no fence here");
        assert!(slot.value().is_none() && slot.detach().is_none() && !slot.remove());
    });
    assert_eq!(store.sweep(NOW), Sweep::Idle(Millis::NEVER));
    assert_eq!(store.stats().expired, 1);
}

#[test]
fn a_value_too_long_to_send_is_refused_before_it_is_copied() {
    // Zeroed pages that are never touched: nothing reads the value when its length is refused.
    let huge = vec![0; STRING_MAX + 1];
    let store = Store::new();
    assert_eq!(store.put(b"coat", &huge, Ttl::seconds(1)), Err(Error::TooLong));
    assert_eq!(store.with(b"coat", NOW, |slot| slot.put_bytes(&huge, Millis::NEVER)), Err(Error::TooLong));
    assert_eq!(store.with(b"coat", NOW, |slot| slot.append(&huge)), Err(Error::TooLong));
    assert_eq!(store.used_memory(), 0);
}

#[test]
fn two_stores_hash_the_same_key_differently() {
    let (one, other) = (Store::new(), Store::new());
    let same = (0..64).filter(|number| one.hash(&key(*number)) == other.hash(&key(*number))).count();
    assert_eq!(same, 0);
}

#[test]
#[should_panic(expected = "one family")]
fn stores_of_two_families_are_not_opened_together() {
    let (one, other) = (Store::new(), Store::new());
    Store::with_all(&[(&one, b"a"), (&other, b"b")], NOW, |_| ());
}

#[test]
fn full_jitter_leaves_a_life_and_an_endless_ttl_does_not_overflow() {
    let namespace = |name: &str, ttl, jitter| Namespace {
        name: name.into(),
        prefix: name.to_lowercase().into_bytes(),
        ttl,
        secret: false,
        fence: false,
        login: false,
        jitter,
    };
    let clock = crate::clock::ManualClock::at(NOW);
    let all = vec![
        namespace("SHORT", Ttl(2), 1.0),
        namespace("ENDLESS", Ttl(u64::MAX), 1.0),
        namespace("ODD", Ttl(9), f64::NAN),
    ];
    let store = Store::builder().clock(clock).namespaces(all).build();
    for name in ["SHORT", "ENDLESS", "ODD"] {
        let cache = store.cache(name).expect("it was configured");
        for number in 0..200 {
            cache.put(&key(number), b"v").expect("no fence here");
            assert!(cache.fetch(&key(number)).is_some(), "{name} {number} was born dead");
        }
    }
}

/// Values of all lengths, written over and over, removed and expiring: each is what was written, no byte is lost count
/// of, and the memory of what is gone comes back.
#[test]
fn churn_with_lengths_of_all_kinds_keeps_every_value_whole() {
    let store = Store::new();
    let mut dice = Dice(11);
    let mut lens = vec![None; 8_000];
    for step in 0..120_000 {
        let number = dice.below(lens.len() as u64) as usize;
        let name = key(number);
        let body = |len: usize| vec![number as u8; len];
        match dice.below(10) {
            0..=5 => {
                let len = [0, 40, 300, 1_000, 3_000, 20_000][dice.below(6) as usize] + dice.below(50) as usize;
                let now = NOW + Ttl(step / 100);
                store.with(&name, now, |slot| slot.put_bytes(&body(len), now + Ttl(1 << 20))).expect("no fence here");
                lens[number] = Some(len);
            }
            6..=7 => {
                let grown = store.with(&name, NOW, |slot| slot.append(&body(100)));
                lens[number] = Some(lens[number].unwrap_or(0) + 100);
                assert_eq!(grown, Ok(lens[number].unwrap_or(0)));
            }
            8 => {
                assert_eq!(store.with(&name, NOW, |slot| slot.remove()), lens[number].is_some());
                lens[number] = None;
            }
            _ => {
                let right = |value: Value<'_>| {
                    let bytes = value.string().unwrap_or_default();
                    bytes.iter().all(|byte| *byte == number as u8).then_some(bytes.len())
                };
                assert_eq!(store.peek(&name, NOW, right), lens[number].map(Some), "{number} at {step}");
            }
        }
    }
    Store::validate(std::slice::from_ref(&store));
    while store.sweep(NOW + Ttl(1 << 21)) == Sweep::MoreDue {}
    let immortal: usize =
        store.cells().iter().map(|cell| cell.shard.lock().iter().map(|entry| entry.size()).sum::<usize>()).sum();
    assert!(store.used_memory() < immortal + 1024 * 1024, "{} for {immortal}", store.used_memory());
    Store::validate(&[store]);
}

#[test]
fn what_is_foreseen_changes_nothing_and_waits_for_nobody() {
    let store = Store::new();
    assert!(store.foresee(b"before anything was written", 9).is_some());
    put(&store, b"coat", NOW + Ttl(9), NOW);
    let (before, bytes) = (store.stats(), store.used_memory());
    assert!(store.foresee(b"coat", 1 << 30).is_some());
    assert!(store.foresee(b"", 0).is_some());
    assert!(store.foresee(b"auth:session:token", 9).is_some());
    assert!(store.foresee(&[b'k'; 2_000], 0).is_none(), "long enough to cost more than it saves");
    // Not even for the lock that is held here.
    store.with(b"coat", NOW, |_| assert!(store.foresee(b"coat", 4).is_some()));
    assert_eq!((store.stats(), store.used_memory(), store.len()), (before, bytes, 1));
    Store::validate(&[store]);
}

#[test]
fn a_foreseen_key_is_the_same_key() {
    let (store, other) = (Store::new(), Store::new());
    let text = |value: Value<'_>| value.string().map(<[u8]>::to_vec);
    for key in [&b"coat"[..], b"", b"auth:session:token", b"sess:login"] {
        let ahead = store.foresee(key, 4).expect("short enough");
        assert!(ahead.is(&store, key) && !ahead.is(&other, key) && !ahead.is(&store, &[key, b"x"].concat()));
        assert_eq!(ahead.get(NOW, text), None);
        let put = ahead.write(b"blue", NOW, |slot, fresh| slot.put(fresh.until(NOW + Ttl(9))));
        assert_eq!((put, ahead.get(NOW, text)), (Ok(()), Some(Ok(b"blue".to_vec()))));
        assert_eq!((ahead.glance(NOW, text), store.get(key, NOW, text)), (ahead.get(NOW, text), ahead.get(NOW, text)));
        assert!(store.with(key, NOW, |slot| slot.remove()));
        // A removed session takes no writes for a while, by whichever way they come.
        let late = ahead.write(b"late", NOW, |slot, fresh| slot.put(fresh));
        assert_eq!(late.is_err(), key.starts_with(b"auth:session:"));
    }
    assert_eq!(store.cells().iter().map(|cell| cell.shard.lock().logins()).sum::<usize>(), 1);
    Store::validate(&[store]);
}
