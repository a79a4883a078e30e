//! Items in a row, each found by its key: what large hashes, sets and sorted sets have in common.
//!
//! An item's number is its place in the row, which makes a random one a look away. The table that finds it by the hash of its
//! key is the one that shards have for their entries: it is in the order of the hashes, so that a scan stands at a hash and
//! misses nothing that stays, however the table grows meanwhile. An item that goes leaves its number to the last one, so that
//! nothing is left behind. The row lies in pieces that never move, so that millions grow, and go, without a pause.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::super::arena::At;
use super::super::table::Table;

/// Items in one piece of the row.
const PIECE: usize = 64;
/// Items by which the last piece grows.
const GROWTH: usize = 8;

/// What lies in a row.
pub(super) trait Item {
    /// What it is found by.
    fn key(&self) -> &[u8];
    /// Bytes that it takes beside its place in the row.
    fn weight(&self) -> usize;
}

/// Bytes that so many take in memory of their own.
pub(super) fn block(len: usize) -> usize {
    len.next_multiple_of(8)
}

impl Item for Box<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }

    fn weight(&self) -> usize {
        block(self.len())
    }
}

/// Items by their keys. See the module's text.
#[derive(Clone)]
pub(super) struct Keyed<T> {
    /// Full but the last.
    pieces: Vec<Vec<T>>,
    /// Where in the row the item of a hash is.
    table: Table,
    /// Bytes of all items.
    bytes: usize,
    /// Each has its own, so that nobody outside knows which keys meet in the table, and to fill one in the order of another is
    /// no worse than in any order.
    hasher: RandomState,
}

impl<T> Default for Keyed<T> {
    fn default() -> Keyed<T> {
        Keyed { pieces: Vec::new(), table: Table::default(), bytes: 0, hasher: RandomState::default() }
    }
}

impl<T: Item> Keyed<T> {
    /// Bytes that they take on the heap.
    pub fn size(&self) -> usize {
        let last = self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.capacity());
        self.pieces.capacity() * size_of::<Vec<T>>() + last * size_of::<T>() + self.table.size() + self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    /// All of them, in the order of the row.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// The item of a number.
    pub fn get(&self, number: usize) -> Option<&T> {
        self.pieces.get(number / PIECE)?.get(number % PIECE)
    }

    /// The number of a key's item, if there is one.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.place(key).map(|(_, number)| number)
    }

    /// Adds an item whose key no other has. It gets the number that comes next.
    pub fn push(&mut self, item: T) {
        self.table.insert(self.hash(item.key()), At::from_bits(self.len() as u32));
        self.bytes += item.weight();
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            if self.pieces.len() == self.pieces.capacity() {
                self.pieces.reserve_exact((self.pieces.len() / 4).max(1));
            }
            self.pieces.push(Vec::new());
        }
        if let Some(last) = self.pieces.last_mut() {
            if last.len() == last.capacity() {
                last.reserve_exact(GROWTH.min(PIECE - last.len()));
            }
            last.push(item);
        }
    }

    /// Changes an item, all but its key.
    pub fn edit<R>(&mut self, number: usize, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let item = self.pieces.get_mut(number / PIECE)?.get_mut(number % PIECE)?;
        self.bytes -= item.weight();
        let result = f(item);
        self.bytes += item.weight();
        Some(result)
    }

    /// Takes the item of a key out.
    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        let (bucket, number) = self.place(key)?;
        self.take(bucket, number)
    }

    /// Takes the item of a number out, which the last one gets.
    pub fn remove_at(&mut self, number: usize) -> Option<T> {
        self.take(self.bucket(number)?, number)
    }

    fn take(&mut self, bucket: usize, number: usize) -> Option<T> {
        let last = self.len() - 1;
        self.table.remove(bucket);
        if number != last
            && let Some(bucket) = self.bucket(last)
        {
            self.table.set(bucket, At::from_bits(number as u32));
        }
        self.table.shrink();
        let piece = self.pieces.last_mut()?;
        let mut item = piece.pop()?;
        if piece.is_empty() {
            self.pieces.pop();
            if self.pieces.len() < self.pieces.capacity() / 4 {
                self.pieces.shrink_to(self.pieces.len() * 2);
            }
        } else if piece.len() + 2 * GROWTH <= piece.capacity() {
            piece.shrink_to(piece.len() + GROWTH);
        }
        if number != last {
            std::mem::swap(&mut item, self.pieces.get_mut(number / PIECE)?.get_mut(number % PIECE)?);
        }
        self.bytes -= item.weight();
        Some(item)
    }

    /// Shows at least so many items from a cursor on, if there are, and tells the cursor to go on with. Zero is the beginning
    /// and the end.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&T)) -> u64 {
        let Ok(first) = u32::try_from(cursor) else { return 0 };
        let (mut shown, mut last) = (0, None);
        for place in self.table.iter_from(first) {
            // Those of one hash are shown together: a cursor cannot stand between them.
            if shown >= count && last != Some(place.hash) {
                return u64::from(place.hash);
            }
            if let Some(item) = self.get(place.at.bits() as usize) {
                f(item);
            }
            (shown, last) = (shown + 1, Some(place.hash));
        }
        0
    }

    /// The bucket of a key and the number of its item.
    fn place(&self, key: &[u8]) -> Option<(usize, usize)> {
        self.table.find(self.hash(key), |at| {
            let number = at.bits() as usize;
            self.get(number).is_some_and(|item| item.key() == key).then_some(number)
        })
    }

    /// The bucket of a number.
    fn bucket(&self, number: usize) -> Option<usize> {
        let is_same = |at: At| (at.bits() as usize == number).then_some(());
        self.table.find(self.hash(self.get(number)?.key()), is_same).map(|(bucket, ())| bucket)
    }

    fn hash(&self, key: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish() as u32
    }

    /// Frees so many items, or what is left of them and of the table; `false` when nothing is left. Nothing else may be done
    /// with it afterwards.
    pub fn wreck(&mut self, most: usize) -> bool {
        let pieces = most.div_ceil(PIECE);
        self.pieces.truncate(self.pieces.len().saturating_sub(pieces));
        !self.pieces.is_empty() || self.table.wreck(pieces)
    }

    /// Checks all that it promises and counts its bytes anew.
    #[cfg(test)]
    pub fn recount(&self) -> usize {
        self.table.validate();
        assert_eq!(self.table.len(), self.len());
        let full = self.pieces.iter().rev().skip(1);
        assert!(full.clone().all(|piece| piece.len() == PIECE && piece.capacity() == PIECE));
        let bytes: usize = self.iter().map(Item::weight).sum();
        let rows: usize = self.pieces.iter().map(Vec::capacity).sum();
        self.pieces.capacity() * size_of::<Vec<T>>() + rows * size_of::<T>() + self.table.size() + bytes
    }
}
