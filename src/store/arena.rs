//! Where the blocks of one shard lie: segments of memory that are filled from the front, and holes that are filled again.
//!
//! A general allocator rounds 660 bytes up to 768; here a block takes what it needs, to the next four bytes. What is
//! freed becomes a hole, kept in a list of its length, and is taken by the next block that it fits. When too much of a
//! shard is holes, its emptiest segment is moved elsewhere and given back, so that what is held stays in proportion to
//! what lives, whatever the sizes were. A block is named by 32 bits that change when it moves; who holds them is told.
//!
//! Nothing here knows what a block means but for its first byte's highest bit, which says that it is a hole.

use std::sync::Arc;

use super::depot::{Depot, Memory};

/// Blocks begin at multiples of this.
const GRAIN: usize = 4;

/// Bytes of the largest segment: what one compaction moves at most, in about 20 µs.
const SEGMENT_MAX: usize = 64 * 1024;
/// Bytes of the smallest, for shards that hold next to nothing: a page. Segments double with the shard.
const SEGMENT_MIN: usize = 4 * 1024;

/// The largest block. What is longer lies in memory of its own.
pub(super) const BLOCK_MAX: usize = SEGMENT_MAX / 4;

/// Holes may be this part of what lives, and some bytes more, before a segment is moved.
const WASTE_SHARE: usize = 10;
const WASTE_MIN: usize = 1024;

const OFFSET_BITS: u32 = (SEGMENT_MAX / GRAIN).trailing_zeros();

/// A hole says that it is one, how long it is, and which holes of its length are before and behind it.
const HOLE: u8 = 0x80;
const LEN_AT: usize = 4;
const BEFORE_AT: usize = 8;
const BEHIND_AT: usize = 12;
/// The shortest block, so that every one can become a hole.
pub(super) const BLOCK_MIN: usize = 16;

/// Where a block lies: its segment, and its offset there in grains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(u32);

impl At {
    pub const NOWHERE: At = At(u32::MAX);

    /// The 32 bits, for who keeps it as such.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The place of these bits.
    pub const fn from_bits(bits: u32) -> At {
        At(bits)
    }

    fn new(segment: usize, offset: usize) -> At {
        At((segment as u32) << OFFSET_BITS | (offset / GRAIN) as u32)
    }

    fn segment(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    fn offset(self) -> usize {
        (self.0 & ((1 << OFFSET_BITS) - 1)) as usize * GRAIN
    }
}

/// Memory that was asked for once and never grows.
#[derive(Default)]
struct Segment {
    memory: Memory,
    /// How far it is filled.
    len: u32,
    live: u32,
    /// The length of the hole at its end for which the next block was too long, until that hole is filled. To move what
    /// lives elsewhere would leave the same hole there.
    tail: u32,
}

impl Segment {
    /// Bytes of the holes that moving what lives elsewhere would save.
    fn waste(&self) -> usize {
        (self.len - self.live - self.tail) as usize
    }

    fn is_tail(&self, offset: usize, len: usize) -> bool {
        self.tail > 0 && offset + len == self.len as usize
    }

    /// Bytes that are not filled yet.
    fn rest(&self) -> usize {
        self.memory.len().min(SEGMENT_MAX) - self.len as usize
    }
}

/// Holes of one length.
struct Class {
    len: u32,
    first: At,
}

/// The blocks of one shard. In memory, what is asked most often lies in one line.
#[derive(Default)]
#[repr(C)]
pub(super) struct Arena {
    segments: Vec<Segment>,
    /// The segment that new blocks go to when no hole fits.
    head: usize,
    /// Bytes of all blocks.
    live: usize,
    /// Bytes that segments are filled with, holes and all.
    filled: usize,
    /// Bytes of the holes that are tails.
    tails: usize,
    /// Where memory comes from.
    depot: Arc<Depot>,
    /// Numbers of segments that were given back.
    vacant: Vec<u32>,
    /// By length.
    holes: Vec<Class>,
}

/// The length that a block of so many bytes takes.
pub(super) fn rounded(len: usize) -> usize {
    len.next_multiple_of(GRAIN).max(BLOCK_MIN)
}

fn read(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

fn write(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.segments.iter_mut().for_each(|segment| self.depot.put(std::mem::take(&mut segment.memory)));
    }
}

impl Arena {
    /// An empty one.
    pub fn new(depot: &Arc<Depot>) -> Arena {
        let mut arena = Arena::default();
        arena.depot = depot.clone();
        arena
    }

    /// Bytes of all blocks, which is what a shard is charged for; holes come and go.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The bytes from a block's first on; how many are its own, it knows itself.
    pub fn at(&self, at: At) -> &[u8] {
        &self.segments[at.segment()].memory[at.offset()..]
    }

    /// The same, to change.
    pub fn at_mut(&mut self, at: At) -> &mut [u8] {
        &mut self.segments[at.segment()].memory[at.offset()..]
    }

    /// Makes a block of this length, which [`rounded`] gave. What is in it is for the caller to write.
    pub fn make(&mut self, len: usize) -> At {
        debug_assert!(len == rounded(len) && len <= BLOCK_MAX);
        self.live += len;
        let at = match self.fill_hole(len) {
            Some(at) => at,
            None => self.extend(len),
        };
        self.segments[at.segment()].live += len as u32;
        at
    }

    /// Takes a hole that fits exactly, or the longest if enough of it stays.
    fn fill_hole(&mut self, len: usize) -> Option<At> {
        if let Ok(exact) = self.holes.binary_search_by_key(&(len as u32), |class| class.len) {
            let at = self.holes[exact].first;
            self.unlink(at);
            return Some(at);
        }
        let longest = self.holes.last()?;
        if (longest.len as usize) < len + BLOCK_MIN {
            return None;
        }
        let (at, rest) = (longest.first, longest.len as usize - len);
        self.unlink(at);
        self.link(At::new(at.segment(), at.offset() + len), rest);
        Some(at)
    }

    /// Takes a block from the front of what is free in the head, or in a new one.
    fn extend(&mut self, len: usize) -> At {
        if self.segments.get(self.head).is_none_or(|head| head.rest() < len) {
            self.close_head();
            self.open_head(len);
        }
        self.filled += len;
        let head = &mut self.segments[self.head];
        let at = At::new(self.head, head.len as usize);
        head.len += len as u32;
        at
    }

    /// Makes a hole of what is left of the head, or gives it back if there is nothing in it.
    fn close_head(&mut self) {
        let Some(head) = self.segments.get_mut(self.head) else { return };
        let (start, rest) = (head.len as usize, head.rest() / GRAIN * GRAIN);
        if start == 0 {
            // No hole would name it ever again.
            self.depot.put(std::mem::take(&mut head.memory));
            self.vacant.push(self.head as u32);
        } else if rest >= BLOCK_MIN {
            head.len += rest as u32;
            head.tail = rest as u32;
            self.filled += rest;
            self.tails += rest;
            self.link(At::new(self.head, start), rest);
        }
    }

    fn open_head(&mut self, len: usize) {
        let room = self.live.max(len).next_power_of_two().clamp(SEGMENT_MIN, SEGMENT_MAX);
        let segment = Segment { memory: self.depot.take(room, false), ..Segment::default() };
        match self.vacant.pop() {
            Some(number) => {
                self.head = number as usize;
                self.segments[self.head] = segment;
            }
            None => {
                self.head = self.segments.len();
                assert!(self.head < 1 << (u32::BITS - OFFSET_BITS), "a shard holds at most 16 GB");
                self.segments.push(segment);
            }
        }
    }

    /// Frees so many segments; `false` when none is left. It is of no use afterwards.
    pub fn wreck(&mut self, most: usize) -> bool {
        for segment in self.segments.drain(self.segments.len().saturating_sub(most)..) {
            self.live -= segment.live as usize;
            self.depot.put(segment.memory);
        }
        !self.segments.is_empty()
    }

    /// Makes a hole of a block. A segment in which nothing lives is given back.
    pub fn free(&mut self, at: At, len: usize) {
        self.live -= len;
        self.link(at, len);
        let segment = &mut self.segments[at.segment()];
        segment.live -= len as u32;
        if segment.live == 0 {
            self.release(at.segment());
        }
    }

    /// Gives a segment back whose blocks are all holes; the head is filled from the front again.
    fn release(&mut self, number: usize) {
        self.unlink_all(number, |_| unreachable!("nothing lives here"));
        let segment = &mut self.segments[number];
        self.filled -= std::mem::take(&mut segment.len) as usize;
        if number != self.head {
            self.depot.put(std::mem::take(&mut segment.memory));
            self.vacant.push(number as u32);
        }
    }

    /// Takes the holes of a segment out of their lists; `len_of` tells how long a block is that lives.
    fn unlink_all(&mut self, number: usize, len_of: impl Fn(&[u8]) -> usize) {
        let mut offset = 0;
        while offset < self.segments[number].len as usize {
            let block = &self.segments[number].memory[offset..];
            offset += if block[0] & HOLE == 0 {
                len_of(block)
            } else {
                let len = read(block, LEN_AT) as usize;
                self.unlink(At::new(number, offset));
                len
            };
        }
    }

    fn link(&mut self, at: At, len: usize) {
        let class = match self.holes.binary_search_by_key(&(len as u32), |class| class.len) {
            Ok(class) => class,
            Err(class) => {
                self.holes.insert(class, Class { len: len as u32, first: At::NOWHERE });
                class
            }
        };
        let behind = std::mem::replace(&mut self.holes[class].first, at);
        let hole = self.at_mut(at);
        hole[0] = HOLE;
        write(hole, LEN_AT, len as u32);
        write(hole, BEFORE_AT, At::NOWHERE.0);
        write(hole, BEHIND_AT, behind.0);
        if behind != At::NOWHERE {
            write(self.at_mut(behind), BEFORE_AT, at.0);
        }
    }

    fn unlink(&mut self, at: At) {
        let hole = self.at(at);
        let (len, before, behind) = (read(hole, LEN_AT), At(read(hole, BEFORE_AT)), At(read(hole, BEHIND_AT)));
        let segment = &mut self.segments[at.segment()];
        if segment.is_tail(at.offset(), len as usize) {
            self.tails -= std::mem::take(&mut segment.tail) as usize;
        }
        if behind != At::NOWHERE {
            write(self.at_mut(behind), BEFORE_AT, before.0);
        }
        if before != At::NOWHERE {
            write(self.at_mut(before), BEHIND_AT, behind.0);
        } else if let Ok(class) = self.holes.binary_search_by_key(&len, |class| class.len) {
            if behind == At::NOWHERE {
                self.holes.remove(class);
            } else {
                self.holes[class].first = behind;
            }
        }
    }

    /// Whether so much is holes that a segment should be moved.
    pub fn is_wasteful(&self) -> bool {
        self.filled - self.live - self.tails > self.live / WASTE_SHARE + WASTE_MIN
    }

    /// Moves what lives in the emptiest segment and gives its memory back. Every block gets a new place: `moved` is told its
    /// bytes, the old and the new one.
    pub fn compact(&mut self, len_of: impl Fn(&[u8]) -> usize, mut moved: impl FnMut(&[u8], At, At)) {
        let waste = |(number, segment): (usize, &Segment)| (segment.waste(), number);
        let Some((_, victim)) = self.segments.iter().enumerate().map(waste).max() else { return };
        if victim == self.head {
            self.open_head(BLOCK_MIN);
        }
        self.unlink_all(victim, &len_of);
        let Segment { memory, len, live, .. } = std::mem::take(&mut self.segments[victim]);
        self.live -= live as usize;
        self.filled -= len as usize;
        let mut offset = 0;
        while offset < len as usize {
            let block = &memory[offset..];
            if block[0] & HOLE != 0 {
                offset += read(block, LEN_AT) as usize;
                continue;
            }
            let block = &block[..len_of(block)];
            let at = self.make(block.len());
            self.at_mut(at)[..block.len()].copy_from_slice(block);
            moved(block, At::new(victim, offset), at);
            offset += block.len();
        }
        // Last, so that no block that moves comes here.
        self.vacant.push(victim as u32);
        self.depot.put(memory);
    }

    /// Recounts everything; `len_of` tells how long a block is that lives.
    #[cfg(any(test, debug_assertions))]
    pub fn validate(&self, len_of: impl Fn(&[u8]) -> usize) {
        let (mut live, mut filled, mut tails, mut holes) = (0, 0, 0, std::collections::HashSet::new());
        for (number, segment) in self.segments.iter().enumerate() {
            let (mut offset, mut own) = (0, 0);
            while offset < segment.len as usize {
                let block = &segment.memory[offset..];
                let len = if block[0] & HOLE == 0 { len_of(block) } else { read(block, LEN_AT) as usize };
                assert!(len >= BLOCK_MIN && len.is_multiple_of(GRAIN) && offset + len <= segment.len as usize);
                match block[0] & HOLE {
                    0 => own += len,
                    _ => assert!(holes.insert(At::new(number, offset).0)),
                }
                offset += len;
            }
            assert_eq!(own, segment.live as usize, "bytes that live in a segment");
            let is_kept = number == self.head || segment.memory.is_empty() || own > 0;
            assert!(is_kept, "a segment in which nothing lives is given back");
            tails += segment.tail as usize;
            live += own;
            filled += segment.len as usize;
        }
        assert_eq!((live, filled, tails), (self.live, self.filled, self.tails), "bytes of blocks, segments and tails");
        for class in &self.holes {
            assert_ne!(class.first, At::NOWHERE, "an empty class");
            let (mut at, mut before) = (class.first, At::NOWHERE);
            while at != At::NOWHERE {
                assert!(holes.remove(&at.0), "a hole that is none, or is listed twice");
                assert_eq!((read(self.at(at), LEN_AT), At(read(self.at(at), BEFORE_AT))), (class.len, before));
                (before, at) = (at, At(read(self.at(at), BEHIND_AT)));
            }
        }
        assert!(holes.is_empty(), "holes that are in no list");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of these tests: a zero, its length, a number, and that number to the end.
    fn len_of(block: &[u8]) -> usize {
        read(block, LEN_AT) as usize
    }

    fn number_of(block: &[u8]) -> u32 {
        let block = &block[..len_of(block)];
        assert!(block[12..].iter().all(|byte| *byte == block[8]), "bytes of another block");
        read(block, 8)
    }

    fn make(arena: &mut Arena, len: usize, number: u32) -> At {
        let at = arena.make(rounded(len));
        let block = &mut arena.at_mut(at)[..rounded(len)];
        block.fill(number as u8);
        block[0] = 0;
        write(block, LEN_AT, rounded(len) as u32);
        write(block, 8, number);
        at
    }

    /// Blocks come and go at random; each keeps its bytes, and what is held stays in proportion to what lives.
    #[test]
    fn blocks_of_all_sizes_come_and_go_and_waste_stays_bounded() {
        let (mut arena, mut places, mut dice) = (Arena::default(), Vec::<At>::new(), 7u64);
        let mut roll = |bound: usize| {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (dice >> 33) as usize % bound
        };
        for step in 0..60_000 {
            // It grows, stays, shrinks to nothing, and does it again.
            let wanted = [3_000, 3_000, 500, 0][step / 5_000 % 4];
            if places.len() > wanted || (places.len() == wanted && wanted > 0) {
                let number = roll(places.len());
                let at = places.swap_remove(number);
                assert_eq!(number_of(arena.at(at)) as usize, number);
                let len = len_of(arena.at(at));
                arena.free(at, len);
                if let Some(at) = places.get(number) {
                    let len = len_of(arena.at(*at));
                    let block = &mut arena.at_mut(*at)[..len];
                    block[8..].fill(number as u8);
                    write(block, 8, number as u32);
                }
            } else if wanted > 0 {
                let len = [20, 61, 353, 660, 1 + roll(1_500), BLOCK_MAX - roll(9)][roll(6)];
                let number = places.len() as u32;
                places.push(make(&mut arena, len, number));
            }
            if arena.is_wasteful() {
                arena.compact(len_of, |block, old, new| {
                    let place = &mut places[number_of(block) as usize];
                    assert_eq!(std::mem::replace(place, new), old);
                });
            }
            if step % 500 == 0 {
                arena.validate(len_of);
                let allowed = arena.live / WASTE_SHARE + WASTE_MIN + 4 * SEGMENT_MAX;
                assert!(
                    arena.filled - arena.live <= allowed,
                    "{} of {} bytes at step {step}",
                    arena.live,
                    arena.filled
                );
            }
        }
    }

    #[test]
    fn a_segment_in_which_nothing_lives_is_given_back() {
        let mut arena = Arena::default();
        let places: Vec<At> = (0..1_000).map(|number| make(&mut arena, 660, number)).collect();
        assert!(arena.filled < 1_000 * 660 * 11 / 10);
        for at in places {
            arena.free(at, 660);
        }
        assert_eq!((arena.live, arena.filled), (0, 0));
        assert!(arena.segments.iter().filter(|segment| !segment.memory.is_empty()).count() <= 1);
    }

    /// A head that was emptied is too short for the next block again and again, as shards of few entries shrink and grow.
    #[test]
    fn a_shard_of_few_entries_holds_few_segments() {
        let (mut arena, mut places, mut dice) = (Arena::default(), Vec::<At>::new(), 7u64);
        let mut roll = |bound: usize| {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (dice >> 33) as usize % bound
        };
        for _ in 0..20_000 {
            if roll(6) < places.len() {
                let last = places.len() - 1;
                let number = roll(places.len());
                places.swap(number, last);
                let at = places[last];
                let len = len_of(arena.at(at));
                arena.free(at, len);
                places.pop();
            } else {
                let len = [20, 200, 2_000, 10_000][roll(4)] >> roll(3);
                places.push(make(&mut arena, len, 0));
            }
            if arena.is_wasteful() {
                arena.compact(len_of, |_, old, new| {
                    let place = places.iter_mut().find(|place| **place == old);
                    *place.expect("every block has a place") = new;
                });
            }
        }
        arena.validate(len_of);
        let held: usize = arena.segments.iter().map(|segment| segment.memory.len()).sum();
        assert!(held <= SEGMENT_MAX, "{held} bytes in {} segments", arena.segments.len());
    }

    /// Five blocks of 11 000 bytes leave a sixth of a segment, and would again wherever they were moved.
    #[test]
    fn blocks_are_not_moved_for_what_is_left_behind_them() {
        let mut arena = Arena::default();
        let places: Vec<At> = (0..20).map(|number| make(&mut arena, 11_000, number)).collect();
        assert!(arena.filled - arena.live > arena.live / WASTE_SHARE + WASTE_MIN);
        assert!(!arena.is_wasteful());
        arena.validate(len_of);
        // Small blocks fill it; when half of them have gone, there is something to be saved.
        let small: Vec<At> = (20..350).map(|number| make(&mut arena, 100, number)).collect();
        assert_eq!(arena.tails, 0);
        small.into_iter().chain(places).step_by(2).for_each(|at| arena.free(at, len_of(arena.at(at))));
        assert!(arena.is_wasteful());
        arena.validate(len_of);
    }

    #[test]
    fn a_hole_is_filled_again() {
        let mut arena = Arena::default();
        let places: Vec<At> = (0..100).map(|number| make(&mut arena, 100, number)).collect();
        let filled = arena.filled;
        arena.free(places[50], 100);
        assert_eq!(make(&mut arena, 100, 100), places[50]);
        arena.free(places[60], 100);
        let (one, two) = (make(&mut arena, 40, 101), make(&mut arena, 60, 102));
        assert_eq!(
            (one, two, arena.filled),
            (places[60], At::new(places[60].segment(), places[60].offset() + 40), filled)
        );
        arena.validate(len_of);
    }
}
