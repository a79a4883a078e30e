//! Where memory for segments and for long values comes from: the system, and not the allocator.
//!
//! Any worker may write over or evict what another has stored. An allocator gives each thread memory of its own and takes
//! note of what others free of it only now and then, or never while that thread sleeps; of long values that would be as much
//! again as there is room for. And of segments it cuts several from one piece, which it cannot give back while one of them
//! is in use. Pages of the system's belong to nobody: they are gone when they are given back. As fresh ones have to be found
//! and cleared, some that were given back wait here for a moment to be used again.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;
use smallvec::SmallVec;

/// The system gives memory by so many bytes, or by more.
const PAGE: usize = 4096;

/// Bytes that wait at most to be used again: more than some of the longest values that are usual.
const KEPT_MAX: usize = 4 << 20;

/// What is taken may be longer than what was asked for by this share of it.
const SLACK: usize = 8;

/// Pieces at most that the system is asked for, half of what Linux gives a process. What is longer in sum comes from the
/// allocator: beside so much, what that keeps is little.
const PIECES_MAX: usize = 32 * 1024;

/// Bytes of a value from which on it no longer gets as much again to spare, but a quarter.
const LONG: usize = 4 << 20;

/// Bytes up to which memory comes from the allocator: the holes at the ends of pages would be too much of it.
const HEAP_MAX: usize = 16 * 1024;

/// Memory for a segment or a long value.
pub(super) enum Memory {
    Heap(Box<[u8]>),
    Pages(MmapMut),
}

/// Key and value of an entry that is longer than a block may be.
#[derive(Default)]
pub(super) struct Bulk {
    memory: Memory,
    len: usize,
    /// Where the memory goes back to. What is empty has none.
    depot: Option<Arc<Depot>>,
}

/// What is at hand for a family of stores.
#[derive(Default)]
pub(super) struct Depot {
    /// Pieces that the system has given, in use or not.
    pieces: AtomicUsize,
    kept: Mutex<VecDeque<MmapMut>>,
    /// Bytes of those.
    bytes: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::Heap(Box::default())
    }
}

impl Deref for Memory {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Pages(map) => map,
        }
    }
}

impl DerefMut for Memory {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Pages(map) => map,
        }
    }
}

impl Depot {
    /// Memory for so many bytes or some more, with anything in it. `at_once`: all of it is about to be written. It is to be
    /// given back to this depot.
    pub fn take(&self, len: usize, at_once: bool) -> Memory {
        let pages = || {
            let size = len.checked_next_multiple_of(PAGE).filter(|_| len > HEAP_MAX)?;
            self.reuse(size).or_else(|| self.ask(size, at_once))
        };
        pages().map_or_else(|| Memory::Heap(vec![0; len].into()), Memory::Pages)
    }

    fn reuse(&self, size: usize) -> Option<MmapMut> {
        let mut kept = self.kept.lock();
        // The last ones are the warmest.
        let at = kept.iter().rposition(|map| (size..=size + size / SLACK).contains(&map.len()))?;
        let map = kept.remove(at)?;
        self.bytes.fetch_sub(map.len(), Ordering::Relaxed);
        Some(map)
    }

    fn ask(&self, size: usize, at_once: bool) -> Option<MmapMut> {
        let mut options = MmapOptions::new();
        options.len(size);
        if at_once {
            // Half as much work as one by one.
            options.populate();
        }
        if self.pieces.fetch_add(1, Ordering::Relaxed) < PIECES_MAX
            && let Ok(map) = options.map_anon()
        {
            return Some(map);
        }
        self.pieces.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Takes memory back.
    pub fn put(&self, memory: Memory) {
        let Memory::Pages(map) = memory else { return };
        let mut gone = SmallVec::<[MmapMut; 4]>::new();
        if map.len() > KEPT_MAX {
            gone.push(map);
        } else {
            let mut kept = self.kept.lock();
            let mut bytes = self.bytes.load(Ordering::Relaxed) + map.len();
            kept.push_back(map);
            while bytes > KEPT_MAX
                && let Some(oldest) = kept.pop_front()
            {
                bytes -= oldest.len();
                gone.push(oldest);
            }
            self.bytes.store(bytes, Ordering::Relaxed);
        }
        self.forget(gone);
    }

    /// Gives back to the system what waits to be used again.
    pub fn clear(&self) {
        if self.bytes() > 0 {
            let mut kept = self.kept.lock();
            let gone = std::mem::take(&mut *kept);
            self.bytes.store(0, Ordering::Relaxed);
            drop(kept);
            self.forget(gone);
        }
    }

    fn forget(&self, gone: impl IntoIterator<Item = MmapMut>) {
        for map in gone {
            drop(map);
            self.pieces.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Bytes of what waits to be used again.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        if let Some(depot) = &self.depot {
            depot.put(std::mem::take(&mut self.memory));
        }
    }
}

impl Bulk {
    /// Puts key and value together.
    pub fn new(key: &[u8], value: &[u8], depot: &Arc<Depot>) -> Bulk {
        let mut bulk = Bulk::with_room(key.len() + value.len(), depot);
        bulk.len = key.len() + value.len();
        let (front, back) = bulk.split_at_mut(key.len());
        front.copy_from_slice(key);
        back.copy_from_slice(value);
        bulk
    }

    /// Puts a key and a value together that is to be so long; what is new is zero.
    pub fn grown(key: &[u8], value: &[u8], len: usize, depot: &Arc<Depot>) -> Bulk {
        let value = &value[..value.len().min(len)];
        let mut bulk = Bulk::with_room(key.len() + len, depot);
        bulk.len = key.len() + len;
        bulk[..key.len()].copy_from_slice(key);
        bulk[key.len()..key.len() + value.len()].copy_from_slice(value);
        bulk.clear_from(key.len() + value.len());
        bulk
    }

    /// Makes all zero from here on, in memory that has just been taken.
    fn clear_from(&mut self, at: usize) {
        // What is so large never waits to be used again, so it is fresh.
        if self.capacity() <= KEPT_MAX {
            self[at..].fill(0);
        }
    }

    /// An empty one with room for so many bytes.
    fn with_room(room: usize, depot: &Arc<Depot>) -> Bulk {
        Bulk { memory: depot.take(room, true), len: 0, depot: Some(depot.clone()) }
    }

    /// Bytes that it takes.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Bytes that are asked for when it is to be so long: none if it has them.
    pub fn asks_for(&self, len: usize) -> usize {
        let capacity = self.capacity();
        let spare = if capacity <= LONG { capacity } else { LONG.max(capacity / 4) };
        if len <= capacity { 0 } else { len.max(capacity + spare) }
    }

    /// Makes it longer or shorter; what is new is zero. One that grows gets room to spare, and one that has much more than
    /// it needs gives it back.
    pub fn resize(&mut self, len: usize, depot: &Arc<Depot>) {
        let (old, capacity) = (self.len, self.capacity());
        if len > capacity || capacity / 4 > len {
            let mut moved = Bulk::with_room(self.asks_for(len).max(len), depot);
            let stays = old.min(len);
            moved.len = len;
            moved[..stays].copy_from_slice(&self[..stays]);
            moved.clear_from(stays);
            *self = moved;
            return;
        }
        self.len = len;
        if len > old {
            self[old..].fill(0);
        }
    }
}

impl Deref for Bulk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Bulk {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_is_as_long_as_it_is_said_to_be_and_what_is_new_is_zero() {
        let depot = Arc::<Depot>::default();
        // What was used before has something in it.
        drop(Bulk::new(b"key", &[0xff; 100_000], &depot));
        let mut bulk = Bulk::new(b"key", &[b'v'; 20_000], &depot);
        assert_eq!((bulk.len(), bulk.capacity()), (20_003, 5 * PAGE));
        for len in [20_004, 25_000, 90_000, 100_003, 30_000, 60_000, 20_000] {
            let before = bulk.to_vec();
            bulk.resize(len, &depot);
            let expected: Vec<u8> = before.iter().copied().chain(std::iter::repeat(0)).take(len).collect();
            assert!(*bulk == *expected && bulk.capacity() >= len && bulk.capacity() <= 4 * len + PAGE, "{len}");
        }
    }

    #[test]
    fn what_grows_is_asked_for_once_and_has_no_more_to_spare_than_it_needs() {
        let depot = Arc::<Depot>::default();
        drop(Bulk::new(b"key", &[0xff; 100_000], &depot));
        for len in [90_000, 100_000, 5 << 20] {
            let mut bulk = Bulk::grown(b"key", b"value", len, &depot);
            assert!(bulk.starts_with(b"keyvalue") && bulk[8..].iter().all(|byte| *byte == 0), "{len}");
            let capacity = bulk.capacity();
            assert!(bulk.len() == len + 3 && (len..len + len / SLACK + 2 * PAGE).contains(&capacity), "{len}");
            assert_eq!(bulk.asks_for(capacity), 0);
            let asked = bulk.asks_for(capacity + 1);
            bulk.resize(capacity + 1, &depot);
            assert!(bulk.capacity() - asked < PAGE, "{len}: {} for {asked}", bulk.capacity());
            assert!(bulk.starts_with(b"keyvalue") && bulk[8..].iter().all(|byte| *byte == 0), "{len}");
        }
        // Before it is long it grows by as much again, then by a quarter.
        let of = |len: usize| Bulk::new(b"", &vec![1; len], &depot);
        assert_eq!(of(LONG).asks_for(LONG + 1), 2 * LONG);
        assert_eq!(of(8 * LONG).asks_for(8 * LONG + 1), 10 * LONG);
    }

    #[test]
    fn what_was_given_back_is_used_again_for_what_is_about_as_long() {
        let depot = Arc::<Depot>::default();
        let of = |len: usize| Bulk::new(b"", &vec![1; len], &depot);
        drop(of(100 * PAGE));
        assert_eq!((depot.bytes(), depot.pieces.load(Ordering::Relaxed)), (100 * PAGE, 1));
        let other = of(50 * PAGE);
        assert_eq!(depot.bytes(), 100 * PAGE);
        let same = of(90 * PAGE);
        assert_eq!((depot.bytes(), same.capacity()), (0, 100 * PAGE));
        drop((other, same));
        assert_eq!((depot.bytes(), depot.pieces.load(Ordering::Relaxed)), (150 * PAGE, 2));
        // Of many only some wait, and they not for ever.
        let many: Vec<_> = (0..KEPT_MAX / PAGE / 10).map(|_| of(20 * PAGE)).collect();
        drop(many);
        drop(of(2 * KEPT_MAX));
        assert_eq!((depot.bytes(), depot.pieces.load(Ordering::Relaxed)), (51 * 20 * PAGE, 51));
        depot.clear();
        assert_eq!((depot.bytes(), depot.pieces.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn beyond_what_the_system_gives_it_is_the_allocators() {
        let depot = Arc::<Depot>::default();
        depot.pieces.store(PIECES_MAX, Ordering::Relaxed);
        let mut bulk = Bulk::new(b"key", &[b'v'; 20_000], &depot);
        bulk.resize(20_002, &depot);
        assert_eq!((&bulk[..4], bulk.len(), bulk.capacity()), (&b"keyv"[..], 20_002, 20_003));
        drop(bulk);
        assert_eq!((depot.bytes(), depot.pieces.load(Ordering::Relaxed)), (0, PIECES_MAX));
    }
}
