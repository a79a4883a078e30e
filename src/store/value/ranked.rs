//! Members by score, any number of them.
//!
//! Each member has a number: its place in a row of all of them, in the order in which they came. A table finds the number by
//! the member's hash, a [`Sequence`] has the numbers in the order of scores. A member that goes leaves its number to the last
//! of the row, so that nothing is left behind.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::super::arena::At;
use super::super::table::Table;
use super::sequence::Sequence;

/// Members in one piece of the row. The pieces never move, so that a row of millions grows without a pause.
const PIECE: usize = 64;

/// Members by score. See the module's text.
#[derive(Clone, Default)]
pub(super) struct Ranked {
    row: Row,
    /// Where in the row the member of a hash is.
    table: Table,
    order: Sequence,
    /// Bytes of all members.
    bytes: usize,
    /// Every set has its own, so that nobody outside can know which members meet in the table.
    hasher: RandomState,
}

#[derive(Clone)]
struct Item {
    score: f64,
    member: Box<[u8]>,
}

/// Whether one pair comes before another: by score, then by the member's bytes.
pub(super) fn order(one: (f64, &[u8]), other: (f64, &[u8])) -> Ordering {
    one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(other.1))
}

/// Bytes that a member's own memory takes.
fn weight(member: &[u8]) -> usize {
    member.len().next_multiple_of(8)
}

impl Ranked {
    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.row.size() + self.table.size() + self.order.size() + self.bytes
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|(_, number)| self.row.get(number).score)
    }

    /// The rank of a member, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.rank_of(score, member), score))
    }

    /// Where a pair is, or would be.
    fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.partition(|other, other_score| order((other_score, other), (score, member)).is_lt())
    }

    /// How many pairs at the beginning `before` says yes to; behind the first no there must be no yes.
    pub fn partition(&self, before: impl Fn(&[u8], f64) -> bool) -> usize {
        self.order.partition(|number| {
            let item = self.row.get(number);
            before(&item.member, item.score)
        })
    }

    /// Some numbers in a row, from this rank on; see [`Sequence::row_from`].
    pub fn row_from(&self, rank: usize) -> &[u32] {
        self.order.row_from(rank)
    }

    /// Some numbers in a row up to this rank; see [`Sequence::row_to`].
    pub fn row_to(&self, rank: usize) -> &[u32] {
        self.order.row_to(rank)
    }

    /// The pair that a number stands for.
    pub fn pair(&self, number: u32) -> (&[u8], f64) {
        let item = self.row.get(number);
        (&item.member, item.score)
    }

    /// Sets a member's score and tells the one it had.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let Some((_, number)) = self.find(member) else {
            let (rank, number) = (self.rank_of(score, member), self.len() as u32);
            self.table.insert(self.hash(member), At::from_bits(number));
            self.row.push(Item { score, member: member.into() });
            self.order.insert(rank, number);
            self.bytes += weight(member);
            return None;
        };
        let old = self.row.get(number).score;
        if old.to_bits() != score.to_bits() {
            self.order.remove(self.rank_of(old, member));
            self.row.get_mut(number).score = score;
            self.order.insert(self.rank_of(score, member), number);
        }
        Some(old)
    }

    /// Removes a member and tells its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (rank, score) = self.rank(member)?;
        self.remove_at(rank);
        Some(score)
    }

    /// Removes the pair of a rank. There must be one.
    pub fn remove_at(&mut self, rank: usize) {
        let number = self.order.remove(rank);
        let bucket = self.bucket(number);
        self.table.remove(bucket);
        let last = self.row.len() as u32 - 1;
        if number != last {
            let (member, score) = self.pair(last);
            let (rank, bucket) = (self.rank_of(score, member), self.bucket(last));
            self.order.set(rank, number);
            self.table.set(bucket, At::from_bits(number));
        }
        self.bytes -= weight(&self.row.swap_remove(number).member);
        self.table.shrink();
    }

    /// Shows at least so many pairs from a cursor on, if there are, and tells the cursor to go on with. Zero is the beginning
    /// and the end.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], f64)) -> u64 {
        let Ok(first) = u32::try_from(cursor) else { return 0 };
        let (mut shown, mut last) = (0, None);
        for place in self.table.iter_from(first) {
            // Those of one hash are shown together: a cursor cannot stand between them.
            if shown >= count && last != Some(place.hash) {
                return u64::from(place.hash);
            }
            let (member, score) = self.pair(place.at.bits());
            f(member, score);
            (shown, last) = (shown + 1, Some(place.hash));
        }
        0
    }

    /// The bucket of a member and its number.
    fn find(&self, member: &[u8]) -> Option<(usize, u32)> {
        self.table.find(self.hash(member), |at| (*self.row.get(at.bits()).member == *member).then_some(at.bits()))
    }

    /// The bucket of a number.
    fn bucket(&self, number: u32) -> usize {
        let found = self.table.find(self.hash(self.pair(number).0), |at| (at.bits() == number).then_some(()));
        found.expect("every number is in the table").0
    }

    fn hash(&self, member: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(member);
        hasher.finish() as u32
    }

    /// Checks all that it promises and counts its bytes anew.
    #[cfg(test)]
    pub fn recount(&self) -> usize {
        self.order.validate();
        self.table.validate();
        let len = self.len();
        assert_eq!((self.table.len(), self.row.len()), (len, len));
        let bytes: usize = (0..len as u32).map(|number| weight(self.pair(number).0)).sum();
        let pieces: usize = self.row.pieces.iter().map(|piece| piece.capacity() * size_of::<Item>()).sum();
        let list = self.row.pieces.capacity() * size_of::<Vec<Item>>();
        pieces + list + self.table.size() + self.order.size() + bytes
    }
}

/// Items in pieces of one length.
#[derive(Default)]
struct Row {
    pieces: Vec<Vec<Item>>,
    len: usize,
}

impl Clone for Row {
    /// A copy has its pieces as long as the original has them, which a copy of each piece alone would not.
    fn clone(&self) -> Row {
        let mut copy = Row::default();
        self.pieces.iter().flatten().for_each(|item| copy.push(item.clone()));
        copy
    }
}

impl Row {
    fn size(&self) -> usize {
        self.pieces.capacity() * size_of::<Vec<Item>>() + self.pieces.len() * PIECE * size_of::<Item>()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, number: u32) -> &Item {
        &self.pieces[number as usize / PIECE][number as usize % PIECE]
    }

    fn get_mut(&mut self, number: u32) -> &mut Item {
        &mut self.pieces[number as usize / PIECE][number as usize % PIECE]
    }

    fn push(&mut self, item: Item) {
        if self.len.is_multiple_of(PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(item);
            self.len += 1;
        }
    }

    /// Takes an item out. The last one gets its number.
    fn swap_remove(&mut self, number: u32) -> Item {
        let last = self.pieces.last_mut().and_then(Vec::pop).expect("an item to take");
        self.len -= 1;
        if self.len.is_multiple_of(PIECE) {
            self.pieces.pop();
            if self.pieces.len() < self.pieces.capacity() / 4 {
                self.pieces.shrink_to(self.pieces.len() * 2);
            }
        }
        if number as usize == self.len { last } else { std::mem::replace(self.get_mut(number), last) }
    }
}
