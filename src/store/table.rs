//! The table of one shard: which hash lies where, in the order of the hashes.
//!
//! A place is eight bytes, 32 bits of hash and where the entry is, so that telling keys apart, or laying the table out
//! anew, touches no entry. A hash has a home, its share of the way through the table, and lies there or behind, with
//! no bucket between that is free; nothing but that and the order is kept. So a look-up reads on from the home until it
//! meets a larger hash, which is seldom further than one cache line; a table may grow by a quarter instead of to
//! the double, in one pass from front to end; and a scan stands at a hash, whatever happens to the table meanwhile.

use super::arena::At;

/// Where an entry is, beside enough of its hash to tell nearly all others apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub hash: u32,
    pub at: At,
}

impl Place {
    /// What a free bucket holds. No hash is larger, so that most look-ups need not ask whether a bucket is free.
    const FREE: Place = Place { hash: u32::MAX, at: At::NOWHERE };

    fn is_free(self) -> bool {
        self.at == At::NOWHERE
    }
}

/// Of so many homes, ...
const FULL_OF: usize = 8;
/// ... so many may be taken. With one free in eight an entry is some four buckets from home.
const FULL: usize = 7;

/// The part of its homes by which a table grows.
const GROWTH: usize = 4;
/// Homes that a table grows by at least.
const HOMES_MIN: usize = 8;
/// Tables below this many homes are never made smaller.
const SHRINK_MIN: usize = 64;

/// Buckets behind the last home that are made at once for what does not fit before.
const BEHIND: usize = 4;

/// Places in the order of their hashes.
#[derive(Default)]
pub(super) struct Table {
    buckets: Vec<Place>,
    homes: usize,
    len: usize,
}

impl Table {
    /// How many places there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many buckets there are, free ones among them.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.buckets.capacity() * size_of::<Place>()
    }

    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.homes as u64) >> u32::BITS) as usize
    }

    /// The bucket of a hash whose entry is the one.
    pub fn find(&self, hash: u32, mut is: impl FnMut(At) -> bool) -> Option<usize> {
        let home = self.home(hash);
        for (step, place) in self.buckets.get(home..)?.iter().enumerate() {
            if place.hash < hash {
                continue;
            }
            if place.hash > hash || place.is_free() {
                return None;
            }
            if is(place.at) {
                return Some(home + step);
            }
        }
        None
    }

    /// What is in a bucket, if anything.
    pub fn get(&self, bucket: usize) -> Option<Place> {
        self.buckets.get(bucket).copied().filter(|place| !place.is_free())
    }

    /// All places, in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = Place> {
        self.buckets.iter().copied().filter(|place| !place.is_free())
    }

    /// All places from a hash on, in their order.
    pub fn iter_from(&self, first: u32) -> impl Iterator<Item = Place> {
        let buckets = self.buckets.get(self.home(first)..).unwrap_or_default();
        buckets.iter().copied().filter(move |place| place.hash >= first && !place.is_free())
    }

    /// All places of some hashes, in their order.
    pub fn range(&self, first: u32, last: u32) -> impl Iterator<Item = Place> {
        let (home, end) = (self.home(first), self.home(last));
        let buckets = self.buckets.get(home..).unwrap_or_default().iter().copied().enumerate();
        let within = move |(step, place): &(usize, Place)| {
            if place.is_free() { home + step < end } else { place.hash <= last }
        };
        buckets.take_while(within).map(|(_, place)| place).filter(move |place| place.hash >= first && !place.is_free())
    }

    /// Says that the entry of a bucket has moved.
    pub fn set(&mut self, bucket: usize, at: At) {
        debug_assert!(!self.buckets[bucket].is_free());
        self.buckets[bucket].at = at;
    }

    /// Adds a place behind those of its hash and tells its bucket.
    pub fn insert(&mut self, hash: u32, at: At) -> usize {
        if (self.len + 1) * FULL_OF > self.homes * FULL {
            self.lay_out(self.homes + (self.homes / GROWTH).max(HOMES_MIN));
        }
        let mut bucket = self.home(hash);
        while self.buckets.get(bucket).is_some_and(|place| place.hash <= hash && !place.is_free()) {
            bucket += 1;
        }
        let taken = self.buckets[bucket.min(self.buckets.len())..].iter().take_while(|place| !place.is_free()).count();
        let free = bucket + taken;
        if free == self.buckets.len() {
            self.buckets.reserve_exact(BEHIND);
            self.buckets.resize(free + BEHIND, Place::FREE);
        }
        self.buckets.copy_within(bucket..free, bucket + 1);
        self.buckets[bucket] = Place { hash, at };
        self.len += 1;
        bucket
    }

    /// Takes the place out of a bucket. Those behind it move up if that brings them nearer to their homes.
    pub fn remove(&mut self, bucket: usize) -> Place {
        let gone = self.buckets[bucket];
        debug_assert!(!gone.is_free());
        let mut end = bucket + 1;
        while self.buckets.get(end).is_some_and(|place| !place.is_free() && self.home(place.hash) < end) {
            end += 1;
        }
        self.buckets.copy_within(bucket + 1..end, bucket);
        self.buckets[end - 1] = Place::FREE;
        self.len -= 1;
        gone
    }

    /// Gives memory back when most of it is unused.
    pub fn shrink(&mut self) {
        if self.homes > SHRINK_MIN && self.len < self.homes / 4 {
            self.lay_out(self.len + self.len / GROWTH + HOMES_MIN);
        }
    }

    /// Copies everything to a table with so many homes.
    fn lay_out(&mut self, homes: usize) {
        self.homes = homes;
        let mut buckets = Vec::new();
        buckets.reserve_exact(homes + BEHIND);
        for place in self.iter() {
            let home = self.home(place.hash);
            if buckets.len() < home {
                buckets.resize(home, Place::FREE);
            } else if buckets.len() == buckets.capacity() {
                buckets.reserve_exact(BEHIND);
            }
            buckets.push(place);
        }
        let all = buckets.len().max(homes + BEHIND);
        buckets.reserve_exact(all - buckets.len());
        buckets.resize(all, Place::FREE);
        self.buckets = buckets;
    }

    /// Checks the order, and that nothing free lies between a place and its home.
    #[cfg(any(test, debug_assertions))]
    pub fn validate(&self) {
        assert_eq!(self.iter().count(), self.len, "places");
        assert!(self.iter().map(|place| place.hash).is_sorted(), "places out of order");
        for (bucket, place) in self.buckets.iter().enumerate().filter(|(_, place)| !place.is_free()) {
            let before = self.buckets.get(self.home(place.hash)..bucket);
            assert!(before.is_some_and(|before| before.iter().all(|place| !place.is_free())), "a gap before a place");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(number: u32) -> At {
        At::numbered(number)
    }

    /// Places come and go at random, many of one hash, many at both ends; each look-up says what a sorted set says.
    #[test]
    fn places_come_and_go_and_are_found_in_order() {
        let (mut table, mut model, mut dice) = (Table::default(), BTreeSet::<(u32, u32)>::new(), 7u64);
        let mut roll = |bound: u64| {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((dice >> 33) % bound) as u32
        };
        for step in 0..40_000u32 {
            let wanted = [2_000, 300, 0, 700][step as usize / 5_000 % 4];
            let hash = match roll(8) {
                0 => u32::MAX - roll(3),
                1 => roll(3),
                2 => 0x8000_0000 | roll(50),
                _ => roll(1 << 31) << 1,
            };
            if model.len() < wanted {
                table.insert(hash, at(step));
                model.insert((hash, step));
            } else if let Some(&(hash, number)) = model.range((hash, 0)..).next().or(model.first()) {
                let bucket = table.find(hash, |place| place == at(number)).expect("it was put there");
                assert_eq!(table.remove(bucket).at, at(number));
                model.remove(&(hash, number));
                table.shrink();
            }
            assert_eq!(table.find(hash, |_| true).is_some(), model.range((hash, 0)..=(hash, u32::MAX)).count() > 0);
            if step % 100 == 0 {
                table.validate();
                let hashes = |first, last| model.range((first, 0)..=(last, u32::MAX)).map(|(hash, _)| *hash);
                assert!(table.iter_from(hash).map(|place| place.hash).eq(hashes(hash, u32::MAX)));
                let last = hash.saturating_add(roll(1 << 28));
                assert!(table.range(hash, last).map(|place| place.hash).eq(hashes(hash, last)));
            }
        }
    }

    #[test]
    fn a_table_takes_eleven_bytes_for_a_place_whatever_its_size() {
        let (mut table, mut hash) = (Table::default(), 1u32);
        for number in 0..100_000 {
            hash = hash.wrapping_mul(0x9e37_79b1).wrapping_add(12_345);
            table.insert(hash, at(number));
            let len = table.len();
            assert!(len < 500 || table.size() <= len * 47 / 4, "{} bytes for {len}", table.size());
        }
        table.validate();
    }
}
