//! Members by score.
//!
//! A few short ones are a [`Listpack`] of members and scores in turn, in their order; more are [`Ranked`]. Whatever is asked
//! of a range is asked of ranks: [`ZSet::partition`] finds those where a range of scores or of members begins and ends.

use std::collections::HashSet;

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
    /// About how many pieces of memory it takes.
    pub(super) fn pieces(&self) -> usize {
        match &self.body {
            Body::Small(_) => 1,
            Body::Large(ranked) => ranked.len(),
        }
    }

    /// Frees about so many of them; `false` when no more than one is left. It is of no use afterwards.
    pub(super) fn wreck(&mut self, most: usize) -> bool {
        match &mut self.body {
            Body::Small(_) => false,
            Body::Large(ranked) => ranked.wreck(most),
        }
    }

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

    /// Takes over a listpack from elsewhere, if its pairs are in order and no member is there twice.
    pub fn from_listpack(bytes: Vec<u8>) -> Option<ZSet> {
        let pack = Listpack::from_bytes(bytes)?;
        let (mut members, mut last) = (HashSet::new(), None);
        let mut elements = pack.iter();
        while let Some(member) = elements.next() {
            let (member, score) = (member.to_vec(), elements.next()?.with_bytes(num::parse_f64)?);
            if last
                .as_ref()
                .is_some_and(|(before, bytes): &(f64, Vec<u8>)| !order((*before, bytes), (score, &member)).is_lt())
                || !members.insert(member.clone())
            {
                return None;
            }
            last = Some((score, member));
        }
        Some(ZSet { body: Body::Small(pack) })
    }

    /// All of it as a listpack, if it is one.
    pub fn as_listpack(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Small(pack) => Some(pack.as_bytes()),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A model: scores by member, looked through from one end to the other for everything that is asked.
    #[derive(Clone, Default)]
    struct Model(BTreeMap<Vec<u8>, f64>);

    impl Model {
        fn pairs(&self) -> Vec<(Vec<u8>, f64)> {
            let mut pairs: Vec<(Vec<u8>, f64)> =
                self.0.iter().map(|(member, score)| (member.clone(), *score)).collect();
            pairs.sort_by(|one, other| order((one.1, &one.0), (other.1, &other.0)));
            pairs
        }
    }

    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides
        }

        fn member(&mut self, kinds: usize) -> Vec<u8> {
            match self.roll(kinds) {
                0 => Vec::new(),
                number if number % 3 == 0 => number.to_string().into_bytes(),
                number => format!("member:{number}").into_bytes(),
            }
        }

        fn score(&mut self) -> f64 {
            match self.roll(12) {
                0 => f64::INFINITY,
                1 => f64::NEG_INFINITY,
                2 => 0.0,
                3 => 0.1 * self.roll(100) as f64,
                4 => 1e17 + self.roll(100) as f64,
                _ => self.roll(40) as f64 - 20.0,
            }
        }
    }

    fn listed(iter: Iter<'_>) -> Vec<(Vec<u8>, f64)> {
        iter.map(|(member, score)| (member.to_vec(), score)).collect()
    }

    fn check(zset: &ZSet, model: &Model, dice: &mut Dice) {
        assert_eq!(zset.size(), zset.recount());
        let pairs = model.pairs();
        assert_eq!(zset.len(), pairs.len());
        assert_eq!(listed(zset.iter()), pairs);
        let mut backwards = listed(zset.range(pairs.len().saturating_sub(1), usize::MAX, true));
        backwards.reverse();
        assert_eq!(backwards, pairs);
        for _ in 0..20 {
            let (first, count) = (dice.roll(pairs.len() + 3), dice.roll(pairs.len() + 3));
            let expected: Vec<_> = pairs.iter().skip(first).take(count).cloned().collect();
            assert_eq!(listed(zset.range(first, count, false)), expected);
            let expected: Vec<_> = match pairs.get(..=first) {
                Some(there) => there.iter().rev().take(count).cloned().collect(),
                None => Vec::new(),
            };
            assert_eq!(listed(zset.range(first, count, true)), expected);
            let (score, member) = (dice.score(), dice.member(900));
            let expected = pairs.iter().filter(|(_, other)| *other < score).count();
            assert_eq!(zset.partition(|_, other| other < score), expected);
            let rank = pairs.iter().position(|(other, _)| *other == member);
            assert_eq!(zset.rank(&member), rank.map(|rank| (rank, pairs[rank].1)));
        }
    }

    fn run(seed: u64, kinds: usize, compact: Compact, steps: usize) -> ZSet {
        let (mut dice, mut zset, mut model) = (Dice(seed), ZSet::default(), Model::default());
        for step in 0..steps {
            let member = dice.member(kinds);
            let shrinks = step / 1000 % 3 == 2;
            match dice.roll(10) {
                0..7 if !shrinks => {
                    let score = dice.score();
                    assert_eq!(zset.set(&member, score, &compact), model.0.insert(member, score));
                }
                7 if step % 50 == 0 => {
                    let (first, count) = (dice.roll(model.0.len() + 2), dice.roll(9));
                    let gone: Vec<_> = model.pairs().into_iter().skip(first).take(count).collect();
                    assert_eq!(zset.remove_ranks(first, count), gone.len());
                    model.0.retain(|member, _| gone.iter().all(|(other, _)| other != member));
                }
                _ => assert_eq!(zset.remove(&member), model.0.remove(&member)),
            }
            assert_eq!(zset.score(b"17"), model.0.get(&b"17"[..]).copied());
            if step % 250 == 0 {
                check(&zset, &model, &mut dice);
                check(&zset.clone(), &model, &mut dice);
            }
        }
        check(&zset, &model, &mut dice);
        let compacted = zset.clone().compacted(&Compact { zset_entries: i64::MAX, ..compact });
        assert_eq!(compacted.encoding(), "listpack");
        check(&compacted, &model, &mut dice);
        zset
    }

    #[test]
    fn a_small_set_is_like_its_model() {
        let compact = Compact { zset_entries: 60, ..Compact::default() };
        assert_eq!(run(1, 60, compact, 6_000).encoding(), "listpack");
    }

    #[test]
    fn a_large_set_is_like_its_model() {
        let compact = Compact::default();
        assert_eq!(run(2, 900, compact, 9_000).encoding(), "skiplist");
        assert_eq!(run(3, 300, Compact { zset_entries: 0, ..compact }, 9_000).encoding(), "skiplist");
    }

    #[test]
    fn what_is_emptied_holds_no_more_than_at_the_beginning() {
        let (mut zset, compact) = (ZSet::large(), Compact::default());
        let before = zset.size();
        for number in 0..20_000 {
            zset.set(format!("member:{number}").as_bytes(), f64::from(number % 100), &compact);
        }
        assert!(zset.size() < 20_000 * 70, "{}", zset.size());
        assert_eq!(zset.size(), zset.recount());
        while !zset.is_empty() {
            zset.remove_ranks(0, 1000);
        }
        assert_eq!(zset.size(), zset.recount());
        assert!(zset.size() < before + 1000, "{} {before}", zset.size());
    }

    #[test]
    fn a_scan_shows_all_that_stays_whatever_else_happens() {
        let (mut zset, compact, mut dice) = (ZSet::default(), Compact::default(), Dice(7));
        for number in 0..500 {
            zset.set(format!("stays:{number}").as_bytes(), f64::from(number), &compact);
        }
        let (mut cursor, mut seen, mut turn) = (0, BTreeMap::new(), 0);
        loop {
            cursor = zset.scan(cursor, 10, |member, score| {
                seen.insert(member.to_vec(), score);
            });
            if cursor == 0 {
                break;
            }
            for _ in 0..50 {
                let member = format!("comes:{}", dice.roll(4000));
                match turn {
                    0..20 => zset.set(member.as_bytes(), 1.0, &compact),
                    _ => zset.remove(member.as_bytes()),
                };
            }
            turn += 1;
        }
        for number in 0..500 {
            assert_eq!(seen.get(format!("stays:{number}").as_bytes()), Some(&f64::from(number)));
        }
        assert_eq!(zset.scan(u64::MAX, 10, |_, _| unreachable!("nothing is there")), 0);
    }

    #[test]
    fn scores_are_kept_as_redis_keeps_them() {
        let (mut zset, compact) = (ZSet::default(), Compact::default());
        for (member, score) in [("a", 1.0), ("b", 0.1), ("c", f64::INFINITY), ("d", -0.0), ("e", 1e16), ("7", -3.5)] {
            zset.set(member.as_bytes(), score, &compact);
        }
        let bytes = zset.as_listpack().expect("a listpack").to_vec();
        let pack = Listpack::from_bytes(bytes.clone()).expect("a listpack");
        let texts: Vec<String> = pack.iter().map(|element| String::from_utf8_lossy(&element.to_vec()).into()).collect();
        let expected =
            ["7", "-3.5", "d", "0", "b", "0.10000000000000001", "a", "1", "e", "10000000000000000", "c", "inf"];
        assert_eq!(texts, expected);
        assert_eq!(pack.iter().filter(|element| matches!(element, Element::Int(_))).count(), 4);
        let again = ZSet::from_listpack(bytes).expect("a sorted set");
        assert_eq!(listed(again.iter()), listed(zset.iter()));
        let of = |elements: &[&str]| {
            let mut pack = Listpack::new();
            elements.iter().for_each(|element| pack.push(element.as_bytes()));
            ZSet::from_listpack(pack.as_bytes().to_vec()).map(|zset| zset.len())
        };
        assert_eq!(of(&[]), Some(0));
        assert_eq!(of(&["a", "1", "b", "1.5", "c", "inf"]), Some(3));
        for refused in
            [&["a"][..], &["a", "x"], &["b", "1", "a", "1"], &["a", "1", "a", "2"], &["a", "nan"], &["a", "1", "b"]]
        {
            assert_eq!(of(refused), None, "{refused:?}");
        }
    }
}
