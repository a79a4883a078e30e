//! The table of one shard: which hash lies where, in the order of the hashes.
//!
//! A place is eight bytes, 32 bits of hash and where the entry is, so that telling keys apart, or laying the table out
//! anew, touches no entry. A hash has a home, its share of the way through the table, and lies there or behind, with
//! no bucket between that is free; nothing but that and the order is kept. So a look-up reads on from the home until it
//! meets a larger hash, which is seldom further than one cache line; a table grows by a bit instead of to the
//! double, in one pass from front to end; and a scan stands at a hash, whatever happens to the table meanwhile.

use super::arena::At;
use super::chunks::Chunks;

/// Where an entry is, beside enough of its hash to tell nearly all others apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub hash: u32,
    pub at: At,
}

/// What a free bucket holds. It is behind all places, so that most look-ups need not ask whether a bucket is free.
const FREE: u64 = lowest(u32::MAX) | At::NOWHERE.bits() as u64;

/// Of so many homes, ...
const FULL_OF: usize = 8;
/// ... so many may be taken. With one free in eight an entry is some four buckets from home.
const FULL: usize = 7;

/// The part of its homes by which a table grows.
const GROWTH: usize = 16;
/// Homes that a table grows by at least.
const HOMES_MIN: usize = 8;
/// Tables below this many homes are never made smaller.
const SHRINK_MIN: usize = 16;

/// Buckets behind the last home, for what does not fit before.
const BEHIND: usize = 2;

/// Places in the order of their hashes.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// Places as words, the hash above, so that they are in the order of their hashes.
    buckets: Chunks<u64>,
    homes: usize,
    len: usize,
}

/// The first word of a hash.
const fn lowest(hash: u32) -> u64 {
    (hash as u64) << u32::BITS
}

/// The home of a hash among so many.
fn home(hash: u32, homes: usize) -> usize {
    ((u64::from(hash) * homes as u64) >> u32::BITS) as usize
}

fn hash_of(word: u64) -> u32 {
    (word >> u32::BITS) as u32
}

impl Place {
    fn of(word: u64) -> Place {
        Place { hash: hash_of(word), at: At::from_bits(word as u32) }
    }

    fn word(self) -> u64 {
        lowest(self.hash) | u64::from(self.at.bits())
    }
}

impl Table {
    /// Frees so many pieces of it; `false` when none is left. It is of no use afterwards.
    pub fn wreck(&mut self, pieces: usize) -> bool {
        self.buckets.wreck(pieces)
    }

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
        self.buckets.size()
    }

    fn home(&self, hash: u32) -> usize {
        home(hash, self.homes)
    }

    /// The word in a bucket that is not free.
    fn taken(&self, bucket: usize) -> Option<u64> {
        self.buckets.get(bucket).filter(|word| *word != FREE)
    }

    /// The bucket of a hash whose entry is the one, and what `look` makes of that.
    #[inline]
    pub fn find<T>(&self, hash: u32, mut look: impl FnMut(At) -> Option<T>) -> Option<(usize, T)> {
        let lowest = lowest(hash);
        let mut bucket = self.home(hash);
        while let Some(row) = self.buckets.row(bucket) {
            for word in row {
                if *word >= lowest {
                    if hash_of(*word) != hash || *word == FREE {
                        return None;
                    }
                    if let Some(found) = look(Place::of(*word).at) {
                        return Some((bucket, found));
                    }
                }
                bucket += 1;
            }
        }
        None
    }

    /// What is in a bucket, if anything.
    pub fn get(&self, bucket: usize) -> Option<Place> {
        self.taken(bucket).map(Place::of)
    }

    /// All places, in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = Place> {
        self.buckets.iter().filter(|word| *word != FREE).map(Place::of)
    }

    /// All places from a hash on, in their order.
    pub fn iter_from(&self, first: u32) -> impl Iterator<Item = Place> {
        let words = self.buckets.slices_from(self.home(first)).flatten().copied();
        words.filter(move |word| *word >= lowest(first) && *word != FREE).map(Place::of)
    }

    /// All places of some hashes, in their order.
    pub fn range(&self, first: u32, last: u32) -> impl Iterator<Item = Place> {
        let (home, end) = (self.home(first), self.home(last));
        let words = self.buckets.slices_from(home).flatten().copied().enumerate();
        let within = move |(step, word): &(usize, u64)| match *word {
            FREE => home + step < end,
            word => hash_of(word) <= last,
        };
        let words = words.take_while(within).map(|(_, word)| word);
        words.filter(move |word| *word >= lowest(first) && *word != FREE).map(Place::of)
    }

    /// Says that the entry of a bucket has moved.
    pub fn set(&mut self, bucket: usize, at: At) {
        let place = self.get(bucket).expect("a bucket that was just found");
        self.buckets.set(bucket, Place { at, ..place }.word());
    }

    /// Adds a place behind those of its hash and tells its bucket.
    pub fn insert(&mut self, hash: u32, at: At) -> usize {
        if (self.len + 1) * FULL_OF > self.homes * FULL {
            self.lay_out(self.homes + (self.homes / GROWTH).max(HOMES_MIN));
        }
        let mut bucket = self.home(hash);
        while self.taken(bucket).is_some_and(|word| hash_of(word) <= hash) {
            bucket += 1;
        }
        // Those behind it move on by one, up to the next bucket that is free.
        let (mut word, mut at) = (Place { hash, at }.word(), bucket);
        while let Some(next) = self.taken(at) {
            self.buckets.set(at, word);
            (word, at) = (next, at + 1);
        }
        match at < self.buckets.len() {
            true => self.buckets.set(at, word),
            false => self.buckets.push(word),
        }
        self.len += 1;
        bucket
    }

    /// Takes the place out of a bucket. Those behind it move up if that brings them nearer to their homes.
    pub fn remove(&mut self, bucket: usize) -> Place {
        let gone = self.get(bucket).expect("a bucket that was just found");
        let mut at = bucket;
        while let Some(next) = self.taken(at + 1).filter(|word| self.home(hash_of(*word)) <= at) {
            self.buckets.set(at, next);
            at += 1;
        }
        self.buckets.set(at, FREE);
        self.len -= 1;
        gone
    }

    /// Gives memory back when most of it is unused.
    pub fn shrink(&mut self) {
        if self.homes > SHRINK_MIN && self.len < self.homes / 2 {
            self.lay_out(self.len + self.len / 4 + HOMES_MIN);
        }
    }

    /// Spreads everything over so many homes.
    fn lay_out(&mut self, homes: usize) {
        let mut words = Vec::with_capacity(self.len);
        self.buckets.iter().filter(|word| *word != FREE).for_each(|word| words.push(word));
        self.homes = homes;
        self.buckets.resize(homes + BEHIND, FREE);
        let home = |word: u64| home(hash_of(word), homes);
        let mut words = words.into_iter().peekable();
        self.buckets.rewrite(|bucket| words.next_if(|word| home(*word) <= bucket).unwrap_or(FREE));
        words.for_each(|word| self.buckets.push(word));
    }

    /// For each place, the buckets from its home to where it is, and to the next free one.
    #[cfg(test)]
    pub fn ways(&self) -> Vec<(usize, usize)> {
        let (mut ways, mut free) = (Vec::with_capacity(self.len), self.buckets.len());
        for bucket in (0..self.buckets.len()).rev() {
            match self.get(bucket) {
                Some(place) => ways.push((bucket - self.home(place.hash), free - self.home(place.hash))),
                None => free = bucket,
            }
        }
        ways
    }

    /// Checks the order, and that nothing free lies between a place and its home.
    #[cfg(any(test, debug_assertions))]
    pub fn validate(&self) {
        assert_eq!(self.iter().count(), self.len, "places");
        assert!(self.iter().map(|place| place.hash).is_sorted(), "places out of order");
        for bucket in 0..self.buckets.len() {
            let Some(place) = self.get(bucket) else { continue };
            assert!(
                (self.home(place.hash)..=bucket).all(|before| self.taken(before).is_some()),
                "a gap before a place"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(number: u32) -> At {
        At::from_bits(number)
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
                let found = table.find(hash, |place| (place == at(number)).then_some(()));
                let (bucket, ()) = found.expect("it was put there");
                assert_eq!(table.remove(bucket).at, at(number));
                model.remove(&(hash, number));
                table.shrink();
            }
            assert_eq!(table.find(hash, Some).is_some(), model.range((hash, 0)..=(hash, u32::MAX)).count() > 0);
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
    fn a_table_takes_ten_bytes_for_a_place_whatever_its_size() {
        let (mut table, mut hash) = (Table::default(), 1u32);
        for number in 0..100_000 {
            hash = hash.wrapping_mul(0x9e37_79b1).wrapping_add(12_345);
            table.insert(hash, at(number));
            let len = table.len();
            assert!(len < 2_000 || table.size() <= len * 21 / 2 + 2_048, "{} bytes for {len}", table.size());
        }
        table.validate();
    }
}
