//! Several threads on one store: no deadlock, and what is moved between keys is neither lost nor doubled.

use super::*;

const THREADS: u64 = 4;
const ACCOUNTS: usize = 40;
const COINS: u64 = 1_000;

fn coins(slot: &Slot<'_>) -> u64 {
    let text = slot.string().ok().flatten().and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).expect("every account holds a number")
}

#[test]
fn transfers_between_keys_taken_in_any_order_keep_the_sum() {
    let family = Store::builder().build_family(3);
    let store_of = |account: usize| &family[account % family.len()];
    for account in 0..ACCOUNTS {
        let opened = store_of(account)
            .with(&key(account), NOW, |slot| slot.put_bytes(COINS.to_string().as_bytes(), Millis::NEVER));
        assert_eq!(opened, Ok(()));
    }
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut dice = Dice(thread);
                for _ in 0..3_000 {
                    let picked: [usize; 4] = std::array::from_fn(|_| dice.below(ACCOUNTS as u64) as usize);
                    let names = picked.map(key);
                    let keys: Vec<_> = picked.iter().zip(&names).map(|(at, name)| (store_of(*at), &name[..])).collect();
                    // The first pays one coin to each of the others, itself among them when the dice say so.
                    Store::with_all(&keys, NOW, |slots| {
                        for other in 1..picked.len() {
                            let from = coins(&slots.at(0));
                            if from == 0 {
                                break;
                            }
                            let paid = slots.at(0).set_string((from - 1).to_string().as_bytes());
                            let to = coins(&slots.at(other)) + 1;
                            let got = slots.at(other).set_string(to.to_string().as_bytes());
                            assert_eq!((paid, got), (Ok(()), Ok(())));
                        }
                    });
                }
            });
        }
        // Meanwhile others read, sweep, scan and put keys of their own.
        scope.spawn(|| {
            let mut dice = Dice(99);
            for round in 0..200 {
                let own = format!("own:{round}");
                put(&family[0], own.as_bytes(), NOW + Ttl(1), NOW);
                assert_eq!(family[0].sweep(NOW), Sweep::Idle(NOW + Ttl(1)));
                let mut seen = 0;
                family[0].for_each(NOW, |_| seen += 1);
                assert!(seen >= ACCOUNTS / family.len());
                assert!(family[0].random(|| dice.roll(), NOW, |_| ()).is_some());
            }
        });
    });
    let mut sum = 0;
    for account in 0..ACCOUNTS {
        sum += store_of(account).with(&key(account), NOW, |slot| coins(slot));
    }
    assert_eq!(sum, ACCOUNTS as u64 * COINS);
    Store::validate(&family);
}

#[test]
fn a_value_renamed_to_and_fro_is_always_somewhere() {
    let store = Store::new();
    let names: Vec<Vec<u8>> = (0..8).map(key).collect();
    put(&store, &names[0], Millis::NEVER, NOW);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, names) = (&store, &names);
            scope.spawn(move || {
                let mut dice = Dice(thread);
                for _ in 0..3_000 {
                    let (from, to) = (dice.below(8) as usize, dice.below(8) as usize);
                    Store::with_all(&[(store, &names[from]), (store, &names[to])], NOW, |slots| {
                        if let Some(loose) = slots.at(0).detach() {
                            assert_eq!(slots.at(1).put_loose(loose), Ok(()));
                        }
                    });
                    assert_eq!(store.len_of_all_locked(), 1);
                }
            });
        }
    });
    assert_eq!(store.len(), 1);
    Store::validate(&[store]);
}

impl Store {
    /// How many entries there are at one instant; `len` takes one lock after the other.
    fn len_of_all_locked(&self) -> usize {
        let held: Vec<_> = self.cells().iter().map(|cell| cell.shard.lock()).collect();
        held.iter().map(|shard| shard.visible()).sum()
    }
}
