//! Where long values lie: in memory of their own, from the system and not from the allocator.
//!
//! Any worker may write over or evict what another has stored. An allocator gives each thread memory of its own and takes
//! note of what others free of it only now and then, or never while that thread sleeps; of many long values that would be
//! as much again as there is room for. Pages of the system's belong to nobody: they are gone when they are given back. As
//! fresh ones have to be found and cleared, some that were given back wait here for a moment to be used again.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;

/// The system gives memory by so many bytes, or by more.
const PAGE: usize = 4096;

/// Bytes that wait at most to be used again: more than some of the longest values that are usual.
const KEPT_MAX: usize = 4 << 20;

/// What is taken for a value may be longer than it by this share of its length.
const SLACK: usize = 8;

/// Pieces at most that the system is asked for, half of what Linux gives a process. What is longer in sum comes from the
/// allocator: beside so much, what that keeps is little.
const PIECES_MAX: usize = 32 * 1024;

/// Key and value of an entry that is longer than a block may be.
#[derive(Default)]
pub(super) struct Bulk {
    memory: Memory,
    len: usize,
}

enum Memory {
    /// As long as the bulk is.
    Heap(Vec<u8>),
    Pages(Pages),
}

/// Pages of the system's. Where they came from they go back to.
struct Pages {
    /// Always there, until they go back.
    map: Option<MmapMut>,
    depot: Arc<Depot>,
}

/// What is at hand for long values, for a family of stores.
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
        Memory::Heap(Vec::new())
    }
}

impl Depot {
    /// Memory for so many bytes, with anything in it; `None` if the system gives none.
    fn take(self: &Arc<Depot>, len: usize) -> Option<Pages> {
        let size = len.max(1).checked_next_multiple_of(PAGE)?;
        let map = self.reuse(size).or_else(|| self.ask(size))?;
        Some(Pages { map: Some(map), depot: self.clone() })
    }

    fn reuse(&self, size: usize) -> Option<MmapMut> {
        let mut kept = self.kept.lock();
        // The last ones are the warmest.
        let at = kept.iter().rposition(|map| (size..=size + size / SLACK).contains(&map.len()))?;
        let map = kept.remove(at)?;
        self.bytes.fetch_sub(map.len(), Ordering::Relaxed);
        Some(map)
    }

    fn ask(&self, size: usize) -> Option<MmapMut> {
        if self.pieces.fetch_add(1, Ordering::Relaxed) < PIECES_MAX
            // All of it is about to be written, and to be given it at once is half as much work.
            && let Ok(map) = MmapOptions::new().len(size).populate().map_anon()
        {
            return Some(map);
        }
        self.pieces.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn put(&self, map: MmapMut) {
        let mut gone = Vec::new();
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
        // Given back when nobody has to wait for it.
        self.pieces.fetch_sub(gone.len(), Ordering::Relaxed);
    }

    /// Gives back what waits to be used again.
    pub fn clear(&self) {
        if self.bytes() > 0 {
            let mut kept = self.kept.lock();
            let gone = std::mem::take(&mut *kept);
            self.bytes.store(0, Ordering::Relaxed);
            drop(kept);
            self.pieces.fetch_sub(gone.len(), Ordering::Relaxed);
        }
    }

    /// Bytes of what waits to be used again.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(map) = self.map.take() {
            self.depot.put(map);
        }
    }
}

impl Bulk {
    /// Puts key and value together.
    pub fn new(key: &[u8], value: &[u8], depot: &Arc<Depot>) -> Bulk {
        let mut bulk = Bulk::with_capacity(key.len() + value.len(), depot);
        let (front, back) = bulk.split_at_mut(key.len());
        front.copy_from_slice(key);
        back.copy_from_slice(value);
        bulk
    }

    /// So many bytes, with anything in them.
    fn with_capacity(len: usize, depot: &Arc<Depot>) -> Bulk {
        let memory = depot.take(len).map_or_else(|| Memory::Heap(vec![0; len]), Memory::Pages);
        Bulk { memory, len }
    }

    /// Bytes that it takes.
    pub fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Heap(bytes) => bytes.capacity(),
            Memory::Pages(pages) => pages.map.as_ref().map_or(0, |map| map.len()),
        }
    }

    /// Makes it longer or shorter; what is new is zero. One that grows gets room to spare, and one that has much more than
    /// it needs gives it back.
    pub fn resize(&mut self, len: usize, depot: &Arc<Depot>) {
        let (old, capacity) = (self.len, self.capacity());
        if len > capacity || capacity / 4 > len {
            let room = if len > capacity { len.max(2 * capacity) } else { len };
            let mut moved = Bulk::with_capacity(room, depot);
            moved.len = len;
            let stays = old.min(len);
            moved[..stays].copy_from_slice(&self[..stays]);
            *self = moved;
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
        match &self.memory {
            Memory::Heap(bytes) => &bytes[..self.len],
            Memory::Pages(pages) => pages.map.as_ref().map_or(&[], |map| &map[..self.len]),
        }
    }
}

impl DerefMut for Bulk {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Heap(bytes) => &mut bytes[..self.len],
            Memory::Pages(pages) => pages.map.as_mut().map_or(&mut [], |map| &mut map[..self.len]),
        }
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
        assert_eq!((bulk.len(), bulk.capacity()), (20_002, 20_003));
        drop(bulk);
        assert_eq!((depot.bytes(), depot.pieces.load(Ordering::Relaxed)), (0, PIECES_MAX));
    }
}
