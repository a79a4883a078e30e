//! Watched keys against a comparison of what lies there before and after.

use super::*;

/// What commands see of a key.
fn seen(store: &Store, key: &[u8], now: Millis) -> Option<(Vec<u8>, Millis)> {
    store.peek(key, now, |value| (value.string().unwrap_or_default().to_vec(), value.deadline()))
}

#[test]
fn a_flag_is_set_by_what_changes_its_key_and_by_nothing_else() {
    const KEYS: u64 = 6;
    let family = Store::builder().hash_seed(5).build_family(1);
    let (store, mut dice, mut now) = (&family[0], Dice(11), NOW);
    for round in 0..20_000 {
        let (watched, changed) = (key(dice.below(KEYS) as usize), key(dice.below(KEYS) as usize));
        let flag = Flag::default();
        let watch = store.watch(&watched, &flag, now);
        let before = seen(store, &watched, now);
        assert_eq!(watch.deadline, before.as_ref().map(|(_, deadline)| *deadline));
        let until = match dice.below(3) {
            0 => Millis::NEVER,
            _ => now + Ttl(1 + dice.below(20)),
        };
        let text = vec![b'x'; dice.below(40) as usize * dice.below(1000) as usize];
        let what = dice.below(9);
        match what {
            0 => drop(store.write(&changed, &text, now, |slot, fresh| slot.put(fresh.until(until)))),
            1 => drop(store.with(&changed, now, |slot| slot.put_bytes(&text[..text.len().min(9)], until))),
            2 => drop(store.with(&changed, now, |slot| slot.remove())),
            3 => store.with(&changed, now, |slot| slot.set_deadline(until)),
            4 => drop(store.with(&changed, now, |slot| slot.detach())),
            5 => store.with(&changed, now, |slot| {
                slot.resize(text.len());
                slot.bytes_mut().iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            }),
            6 => drop(store.get(&changed, now, |_| ())),
            7 if dice.below(20) == 0 => store.clear(),
            _ => {
                now = now + Ttl(dice.below(5));
                store.sweep(now);
            }
        }
        let after = seen(store, &watched, now);
        let has_died = watch.deadline.is_some_and(|deadline| deadline <= now);
        if before != after {
            assert!(flag.is_set() || has_died, "round {round}, case {what}: {before:?} to {after:?}");
        }
        if what < 7 && changed != watched || what == 6 || before.is_none() && after.is_none() {
            assert!(!flag.is_set(), "round {round}, case {what}");
        }
        store.unwatch(&watch.name, &flag);
    }
    assert!(store.cells().iter().all(|cell| cell.shard.lock().watchers.is_empty()), "all were taken back");
    Store::validate(&family);
}

#[test]
fn what_is_evicted_has_changed() {
    let family = Store::builder().build_family(1);
    let (store, flag) = (&family[0], Flag::default());
    put(store, b"k", Millis::NEVER, NOW);
    store.watch(b"k", &flag, NOW);
    let mut dice = Dice(3);
    assert!(Store::evict(&family, crate::config::Policy::AllkeysRandom, 5, || dice.roll(), NOW));
    assert!(flag.is_set());
}

#[test]
fn fences_alone_change_nothing() {
    let (store, flag) = (Store::new(), Flag::default());
    let token = b"auth:session:a-token";
    store.watch(token, &flag, NOW);
    assert!(!store.with(token, NOW, |slot| slot.remove()), "there is nothing, and a fence is laid");
    store.fence(token, 7, NOW + Ttl::seconds(60), NOW);
    assert!(!flag.is_set());
    let later = NOW + Ttl::seconds(61);
    put(&store, token, Millis::NEVER, later);
    assert!(flag.is_set());
}
