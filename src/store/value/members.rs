//! Members of a large set: each in memory of its own, in a row, with a table of their hashes.
//!
//! The row makes a random member one look away. The table is the one that shards have for their entries: it is in the order
//! of the hashes, so that a scan stands at a hash and misses nothing that stays, however the table grows meanwhile.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::super::arena::At;
use super::super::table::Table;

/// Members that a row has room for at least, and the part by which it grows.
const ROOM_MIN: usize = 8;
const GROWTH: usize = 8;

/// Members of a large set.
#[derive(Clone, Default)]
pub struct Members {
    all: Vec<Box<[u8]>>,
    /// Where in the row the member of a hash is.
    table: Table,
    /// Bytes of all members.
    bytes: usize,
    /// Every set has its own order, so that to fill one in the order of another is no worse than in any order.
    hasher: RandomState,
}

/// Bytes that a member's own memory takes.
fn weight(member: &[u8]) -> usize {
    member.len().next_multiple_of(8)
}

impl Members {
    /// Bytes that they take on the heap.
    pub fn size(&self) -> usize {
        self.table.size() + self.all.capacity() * size_of::<Box<[u8]>>() + self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them, in the order of the row.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.all.iter().map(|member| &**member)
    }

    /// The member at a position of the row.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.all.get(index).map(|member| &**member)
    }

    /// Whether it is among them.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.find(member).is_some()
    }

    /// Adds one; `false` if it is there already.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if self.contains(member) {
            return false;
        }
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact((self.all.len() / GROWTH).max(ROOM_MIN));
        }
        self.table.insert(self.hash(member), At::from_bits(self.all.len() as u32));
        self.all.push(member.into());
        self.bytes += weight(member);
        true
    }

    /// Removes one; `false` if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Some((bucket, index)) = self.find(member) else { return false };
        self.take(bucket, index);
        true
    }

    /// Takes the member at a position out. The last one moves there.
    pub fn take_at(&mut self, index: usize) -> Option<Box<[u8]>> {
        let (bucket, index) = self.find(self.get(index)?)?;
        Some(self.take(bucket, index))
    }

    fn take(&mut self, bucket: usize, index: usize) -> Box<[u8]> {
        self.table.remove(bucket);
        let member = self.all.swap_remove(index);
        self.bytes -= weight(&member);
        if let Some(moved) = self.all.get(index) {
            let old = self.all.len() as u32;
            let found = self.table.find(self.hash(moved), |at| (at.bits() == old).then_some(()));
            if let Some((bucket, ())) = found {
                self.table.set(bucket, At::from_bits(index as u32));
            }
        }
        self.table.shrink();
        if self.all.len() < self.all.capacity() / 2 {
            self.all.shrink_to(self.all.len() + (self.all.len() / GROWTH).max(ROOM_MIN));
        }
        member
    }

    /// Shows at least so many members from a cursor on, if there are, and tells the cursor to go on with. Zero is the
    /// beginning and the end.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8])) -> u64 {
        let Ok(first) = u32::try_from(cursor) else { return 0 };
        let (mut shown, mut last) = (0, None);
        for place in self.table.iter_from(first) {
            // Those of one hash are shown together: a cursor cannot stand between them.
            if shown >= count && last != Some(place.hash) {
                return u64::from(place.hash);
            }
            if let Some(member) = self.get(place.at.bits() as usize) {
                f(member);
            }
            (shown, last) = (shown + 1, Some(place.hash));
        }
        0
    }

    /// The bucket of a member and its position in the row.
    fn find(&self, member: &[u8]) -> Option<(usize, usize)> {
        self.table.find(self.hash(member), |at| {
            let index = at.bits() as usize;
            (self.get(index) == Some(member)).then_some(index)
        })
    }

    fn hash(&self, member: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(member);
        hasher.finish() as u32
    }

    /// Bytes counted anew.
    #[cfg(test)]
    pub fn recount(&self) -> usize {
        self.table.validate();
        assert_eq!(self.table.len(), self.all.len());
        let bytes: usize = self.iter().map(weight).sum();
        self.table.size() + self.all.capacity() * size_of::<Box<[u8]>>() + bytes
    }
}
