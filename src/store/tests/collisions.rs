//! Keys that somebody chose so that they meet: under a hash without a seed, or under the seed of another store. Counted is
//! what a look-up and an insert have to go through in the table, which is what they would be slow by.

use super::*;

/// Keys of one kind that are inserted.
const KEYS: usize = 1 << 17;

/// Buckets that a look-up and an insert of each entry go through, the shortest way first.
struct Ways {
    looks: Vec<usize>,
    inserts: Vec<usize>,
}

impl Ways {
    fn of(seed: u64, keys: &[Vec<u8>]) -> Ways {
        let store = Store::builder().hash_seed(seed).build();
        keys.iter().for_each(|key| put(&store, key, Millis::NEVER, NOW));
        assert_eq!(store.len(), keys.len());
        let ways = store.cells().iter().flat_map(|cell| cell.shard.lock().ways());
        let (mut looks, mut inserts): (Vec<_>, Vec<_>) = ways.unzip();
        looks.sort_unstable();
        inserts.sort_unstable();
        Ways { looks, inserts }
    }

    /// The longest of 99 of a hundred, and the longest of all.
    fn of_inserts(&self) -> (usize, usize) {
        (self.inserts[self.inserts.len() * 99 / 100], self.inserts[self.inserts.len() - 1])
    }

    /// Panics if this takes more than three times as long as what others take.
    fn is_like(&self, others: &Ways, what: &str) {
        let last = |of: &[usize]| (of[of.len() * 99 / 100], of[of.len() - 1]);
        for (name, ours, theirs) in [("looks", &self.looks, &others.looks), ("inserts", &self.inserts, &others.inserts)]
        {
            let ((p99, max), (their_p99, their_max)) = (last(ours), last(theirs));
            assert!(p99 <= 3 * their_p99.max(1), "{what}, p99 of {name}: {p99} buckets beside {their_p99}");
            assert!(max <= 3 * their_max.max(1), "{what}, longest of {name}: {max} buckets beside {their_max}");
        }
    }
}

/// Keys that nobody chose.
fn any_keys(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(1);
    (0..count).map(|_| format!("{:016x}{:016x}", dice.roll(), dice.roll()).into_bytes()).collect()
}

/// Keys of which all have one hash where the next byte is added to a multiple of what was before, as in the hashes that PHP,
/// Java and old servers have had: pairs of letters with one sum.
fn twins(multiplier: u8) -> Vec<Vec<u8>> {
    let pairs = [[b'A', b'A' + multiplier], [b'B', b'A']];
    let key = |number: usize| (0..KEYS.ilog2()).flat_map(|bit| pairs[number >> bit & 1]).collect();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(key).collect();
    let hash = |key: &Vec<u8>| {
        key.iter().fold(5381u64, |hash, byte| hash.wrapping_mul(u64::from(multiplier)).wrapping_add(u64::from(*byte)))
    };
    assert!(keys.iter().all(|key| hash(key) == hash(&keys[0])));
    keys
}

/// Keys that meet under one seed: all in one shard, and in one sixteenth of it.
fn chosen(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let store = Store::builder().hash_seed(seed).build();
    let meets = |key: &Vec<u8>| {
        let hash = store.hash(key);
        shard_of(hash) == 3 && kept(hash) >> 28 == 9
    };
    (0..).map(|number: u64| format!("chosen:{number}").into_bytes()).filter(meets).take(count).collect()
}

#[test]
fn keys_that_collide_for_a_hash_without_a_seed_are_like_any() {
    let any = Ways::of(11, &any_keys(KEYS));
    for multiplier in [31, 33] {
        let keys = twins(multiplier);
        for seed in [11, 12] {
            Ways::of(seed, &keys).is_like(&any, &format!("times {multiplier}, seed {seed}"));
        }
    }
    // Numbers in a row, and keys that differ in one place alone.
    let numbers: Vec<_> = (0..KEYS as u64).map(|number| number.to_le_bytes().to_vec()).collect();
    Ways::of(11, &numbers).is_like(&any, "numbers");
    let long = |number: usize| [&[b'x'; 200][..], &(number as u32).to_be_bytes()].concat();
    Ways::of(11, &(0..KEYS).map(long).collect::<Vec<_>>()).is_like(&any, "far behind");
}

#[test]
fn keys_that_collide_under_one_seed_are_like_any_under_another() {
    const CHOSEN: usize = 1_500;
    let (keys, any) = (chosen(11, CHOSEN), any_keys(CHOSEN));
    let others = Ways::of(12, &any);
    for seed in [12, 13, 14] {
        Ways::of(seed, &keys).is_like(&others, &format!("seed {seed}"));
    }
    // Who knows the seed can do harm, or else nothing would be shown here.
    let (known, unknown) = (Ways::of(11, &keys).of_inserts(), others.of_inserts());
    assert!(known.0 > 20 * unknown.0, "{known:?} beside {unknown:?}");
}

#[test]
fn every_store_has_a_seed_of_its_own() {
    let [one, other] = [Store::new(), Store::new()];
    assert_ne!(one.hash(b"key"), other.hash(b"key"));
}
