//! Members by score.
//!
//! A few short ones are a [`Listpack`] of members and scores in turn, in their order; more are [`Ranked`]. Whatever is asked
//! of a range is asked of ranks: [`ZSet::partition`] finds those where a range of scores or of members begins and ends.

use super::listpack::{Element, Listpack};
use super::ranked::{Ranked, order};
use crate::config::Compact;
use crate::num;

/// Bytes that a pair takes in a listpack beside its member.
const PAIR: usize = 64;

/// Integers of this size and less are written as such; so does Redis.
const WHOLE: f64 = (1u64 << 52) as f64;

/// Members by score. See the module's text.
#[derive(Clone)]
pub struct ZSet {
    body: Body,
}

#[derive(Clone)]
enum Body {
    Small(Listpack),
    Large(Box<Ranked>),
}

impl Default for ZSet {
    fn default() -> ZSet {
        ZSet { body: Body::Small(Listpack::new()) }
    }
}

impl ZSet {
    /// One that is large from the beginning, to collect what comes in any order.
    pub fn large() -> ZSet {
        ZSet { body: Body::Large(Box::default()) }
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        match &self.body {
            Body::Small(pack) => pack.size(),
            Body::Large(ranked) => size_of::<Ranked>() + ranked.size(),
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.body {
            Body::Small(pack) => pack.len() / 2,
            Body::Large(ranked) => ranked.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The encoding that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match self.body {
            Body::Small(_) => "listpack",
            Body::Large(_) => "skiplist",
        }
    }

    /// All of it as a listpack, if it is one.
    pub fn listpack(&self) -> Option<&Listpack> {
        match &self.body {
            Body::Small(pack) => Some(pack),
            Body::Large(_) => None,
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.body {
            Body::Small(pack) => score_behind(pack, find(pack, member)?),
            Body::Large(ranked) => ranked.score(member),
        }
    }

    /// The rank of a member, counted from the lowest score, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.body {
            Body::Small(pack) => {
                let found = find(pack, member)?;
                let before = offsets(pack).take_while(|at| *at != found).count();
                Some((before, score_behind(pack, found)?))
            }
            Body::Large(ranked) => ranked.rank(member),
        }
    }

    /// Sets a member's score, which is not NaN, and tells the one it had.
    pub fn set(&mut self, member: &[u8], score: f64, compact: &Compact) -> Option<f64> {
        debug_assert!(!score.is_nan());
        if let Body::Small(pack) = &mut self.body {
            if let Some(found) = find(pack, member) {
                let old = score_behind(pack, found);
                if old != Some(score) {
                    pack.remove(found, 2);
                    insert(pack, member, score);
                }
                return old;
            }
            let fits = is_within(pack.len() / 2 + 1, compact.zset_entries)
                && is_within(member.len(), compact.zset_value)
                && pack.admits(member.len() + PAIR);
            if fits {
                insert(pack, member, score);
                return None;
            }
        }
        self.enlarge().set(member, score)
    }

    /// Removes a member and tells its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.body {
            Body::Small(pack) => {
                let found = find(pack, member)?;
                let score = score_behind(pack, found);
                pack.remove(found, 2);
                score
            }
            Body::Large(ranked) => ranked.remove(member),
        }
    }

    /// Removes so many members from a rank on, or as many as there are, and tells how many.
    pub fn remove_ranks(&mut self, first: usize, count: usize) -> usize {
        let count = count.min(self.len().saturating_sub(first));
        match &mut self.body {
            Body::Small(pack) => {
                if let Some(at) = pack.seek(first.saturating_mul(2)) {
                    pack.remove(at, count * 2);
                }
            }
            // From behind, as what moves into the gaps is then seldom what goes next.
            Body::Large(ranked) => (first..first + count).rev().for_each(|rank| ranked.remove_at(rank)),
        }
        count
    }

    /// How many pairs at the beginning `before` says yes to; behind the first no there must be no yes.
    pub fn partition(&self, before: impl Fn(&[u8], f64) -> bool) -> usize {
        match &self.body {
            Body::Small(_) => {
                let is_before =
                    |(member, score): &(Element<'_>, f64)| member.with_bytes(|member| before(member, *score));
                self.iter().take_while(is_before).count()
            }
            Body::Large(ranked) => ranked.partition(before),
        }
    }

    /// The pair of a rank.
    pub fn get(&self, rank: usize) -> Option<(Element<'_>, f64)> {
        self.range(rank, 1, false).next()
    }

    /// All pairs, from the lowest score to the highest.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0, usize::MAX, false)
    }

    /// So many pairs from a rank on, or as many as there are; with `back`, towards lower ranks.
    pub fn range(&self, first: usize, count: usize, back: bool) -> Iter<'_> {
        let len = self.len();
        let there = match back {
            false => len.saturating_sub(first),
            true => first.saturating_add(1).min(if first < len { len } else { 0 }),
        };
        let source = match &self.body {
            Body::Small(pack) => Source::Small(pack, if first < len { pack.seek(first * 2) } else { None }),
            Body::Large(ranked) => Source::Large { ranked, row: &[], rank: first },
        };
        Iter { source, left: count.min(there), back }
    }

    /// Shows at least so many pairs from a cursor on, if there are, and tells the cursor to go on with. Zero is the beginning
    /// and the end. A small set is shown as a whole.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], f64)) -> u64 {
        match &self.body {
            Body::Small(_) => {
                self.iter().for_each(|(member, score)| member.with_bytes(|member| f(member, score)));
                0
            }
            Body::Large(ranked) => ranked.scan(cursor, count, f),
        }
    }

    /// The same in the encoding that it would have had from the beginning.
    pub fn compacted(self, compact: &Compact) -> ZSet {
        let is_long = |member: Element<'_>| member.with_bytes(|bytes| !is_within(bytes.len(), compact.zset_value));
        if !is_within(self.len(), compact.zset_entries) || self.iter().any(|(member, _)| is_long(member)) {
            return self;
        }
        let mut small = ZSet::default();
        for (member, score) in self.iter() {
            member.with_bytes(|member| small.set(member, score, compact));
        }
        small
    }

    /// Makes it a large one if it is not.
    fn enlarge(&mut self) -> &mut Ranked {
        if let Body::Small(_) = self.body {
            let mut ranked = Ranked::default();
            for (member, score) in self.iter() {
                member.with_bytes(|member| ranked.set(member, score));
            }
            self.body = Body::Large(Box::new(ranked));
        }
        match &mut self.body {
            Body::Large(ranked) => ranked,
            Body::Small(_) => unreachable!("it was made large"),
        }
    }

    /// Bytes counted anew.
    #[cfg(test)]
    fn recount(&self) -> usize {
        match &self.body {
            Body::Small(pack) => pack.size(),
            Body::Large(ranked) => size_of::<Ranked>() + ranked.recount(),
        }
    }
}

/// Whether a length is no more than a setting says.
fn is_within(len: usize, limit: i64) -> bool {
    i64::try_from(len).is_ok_and(|len| len <= limit)
}

// ---- the listpack -----------------------------------------------------------------------------------------------

/// Where a member is.
fn find(pack: &Listpack, member: &[u8]) -> Option<usize> {
    pack.find(member, pack.first()?, 1)
}

/// Where all members are.
fn offsets(pack: &Listpack) -> impl Iterator<Item = usize> {
    std::iter::successors(pack.first(), |at| pack.next(pack.next(*at)?))
}

/// The score of the member at an offset.
fn score_behind(pack: &Listpack, member: usize) -> Option<f64> {
    Some(match pack.get(pack.next(member)?) {
        Element::Int(number) => number as f64,
        Element::Bytes(text) => num::parse_f64(text).unwrap_or_default(),
    })
}

/// Puts a pair where it belongs.
fn insert(pack: &mut Listpack, member: &[u8], score: f64) {
    let is_behind = |at: &usize| {
        let other = score_behind(pack, *at).unwrap_or_default();
        pack.get(*at).with_bytes(|bytes| order((other, bytes), (score, member)).is_gt())
    };
    let behind = offsets(pack).find(is_behind);
    let text = score_text(score);
    match behind {
        Some(at) => {
            // The score first: then the member goes before it, to the same place.
            pack.insert(at, text.as_bytes());
            pack.insert(at, member);
        }
        None => {
            pack.push(member);
            pack.push(text.as_bytes());
        }
    }
}

/// A score as Redis writes it into a listpack. There a zero has no sign.
fn score_text(score: f64) -> String {
    if score.abs() <= WHOLE && score.fract() == 0.0 { (score as i64).to_string() } else { num::format_f64(score) }
}

// ---- walking ----------------------------------------------------------------------------------------------------

/// Pairs one after another. See [`ZSet::range`].
pub struct Iter<'a> {
    source: Source<'a>,
    left: usize,
    back: bool,
}

enum Source<'a> {
    Small(&'a Listpack, Option<usize>),
    /// What is at hand, and the rank that comes after it.
    Large {
        ranked: &'a Ranked,
        row: &'a [u32],
        rank: usize,
    },
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Element<'a>, f64);

    fn next(&mut self) -> Option<(Element<'a>, f64)> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Small(pack, place) => {
                let at = (*place)?;
                *place = match self.back {
                    false => pack.next(at).and_then(|score| pack.next(score)),
                    true => pack.prev(at).and_then(|score| pack.prev(score)),
                };
                Some((pack.get(at), score_behind(pack, at)?))
            }
            Source::Large { ranked, row, rank } => {
                if row.is_empty() {
                    *row = if self.back { ranked.row_to(*rank) } else { ranked.row_from(*rank) };
                    *rank = if self.back { rank.saturating_sub(row.len()) } else { *rank + row.len() };
                }
                let (number, rest) = if self.back { row.split_last()? } else { row.split_first()? };
                *row = rest;
                let (member, score) = ranked.pair(*number);
                Some((Element::Bytes(member), score))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
