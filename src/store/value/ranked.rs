//! Members by score, any number of them.
//!
//! Each member has a number, under which it lies in a row that finds it by its hash; a [`Sequence`] has the numbers in the order
//! of scores.

use std::cmp::Ordering;

use super::keyed::{Item, Keyed, block};
use super::sequence::Sequence;

/// Members by score. See the module's text.
#[derive(Clone, Default)]
pub(super) struct Ranked {
    row: Keyed<Scored>,
    order: Sequence,
}

#[derive(Clone)]
struct Scored {
    score: f64,
    member: Box<[u8]>,
}

impl Item for Scored {
    fn key(&self) -> &[u8] {
        &self.member
    }

    fn weight(&self) -> usize {
        block(self.member.len())
    }
}

/// Whether one pair comes before another: by score, then by the member's bytes.
pub(super) fn order(one: (f64, &[u8]), other: (f64, &[u8])) -> Ordering {
    one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(other.1))
}

impl Ranked {
    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.row.size() + self.order.size()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        Some(self.row.get(self.row.find(member)?)?.score)
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
            let (member, score) = self.pair(number);
            before(member, score)
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
        let item = self.row.get(number as usize).expect("every number is one of the row");
        (&item.member, item.score)
    }

    /// Sets a member's score and tells the one it had.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let Some(number) = self.row.find(member) else {
            let (rank, number) = (self.rank_of(score, member), self.len() as u32);
            self.row.push(Scored { score, member: member.into() });
            self.order.insert(rank, number);
            return None;
        };
        let (_, old) = self.pair(number as u32);
        if old.to_bits() != score.to_bits() {
            self.order.remove(self.rank_of(old, member));
            self.row.edit(number, |item| item.score = score);
            self.order.insert(self.rank_of(score, member), number as u32);
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
        let last = self.row.len() as u32 - 1;
        if number != last {
            // The last one gets its number.
            let (member, score) = self.pair(last);
            self.order.set(self.rank_of(score, member), number);
        }
        self.row.remove_at(number as usize);
    }

    /// Shows at least so many pairs from a cursor on, if there are, and tells the cursor to go on with. Zero is the beginning
    /// and the end.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], f64)) -> u64 {
        self.row.scan(cursor, count, |item| f(&item.member, item.score))
    }

    /// Frees so many members, or what is left of their order; `false` when nothing is left.
    pub fn wreck(&mut self, most: usize) -> bool {
        self.row.wreck(most) || self.order.wreck(most)
    }

    /// Checks all that it promises and counts its bytes anew.
    #[cfg(test)]
    pub fn recount(&self) -> usize {
        self.order.validate();
        assert_eq!(self.row.len(), self.len());
        self.row.recount() + self.order.size()
    }
}
