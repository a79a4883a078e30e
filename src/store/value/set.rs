//! Members without order, in the smallest encoding that they fit in: integers, a listpack, or a table.
//!
//! A set only ever moves on to a larger encoding, as in Redis.

use super::intset::IntSet;
use super::keyed::Keyed;
use super::listpack::{Element, Listpack};
use crate::config::Compact;
use crate::num;

/// The most integers that Redis keeps as such, whatever the settings are.
const INTEGERS_MAX: i64 = 1 << 30;

/// Members without order.
#[derive(Clone, Default)]
pub struct Set {
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Integers(IntSet),
    Pack(Listpack),
    Table(Box<Members>),
}

/// Members of a large set, each in memory of its own.
type Members = Keyed<Box<[u8]>>;

/// Adds a member; `false` if it is there already.
fn insert(members: &mut Members, member: &[u8]) -> bool {
    let is_new = members.find(member).is_none();
    if is_new {
        members.push(member.into());
    }
    is_new
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::Integers(IntSet::default())
    }
}

impl Set {
    /// About how many pieces of memory it takes.
    pub(super) fn pieces(&self) -> usize {
        match &self.kept {
            Kept::Integers(_) | Kept::Pack(_) => 1,
            Kept::Table(members) => members.len(),
        }
    }

    /// Frees about so many of them; `false` when no more than one is left. It is of no use afterwards.
    pub(super) fn wreck(&mut self, most: usize) -> bool {
        match &mut self.kept {
            Kept::Integers(_) | Kept::Pack(_) => false,
            Kept::Table(members) => members.wreck(most),
        }
    }

    /// A set of these integers, in Redis' format of them; `None` if that is not sound.
    pub fn from_intset(bytes: Vec<u8>) -> Option<Set> {
        IntSet::from_bytes(bytes).map(|integers| Set { kept: Kept::Integers(integers) })
    }

    /// A set of the members in a listpack; `None` if that is not sound or one is in it twice.
    pub fn from_listpack(bytes: Vec<u8>) -> Option<Set> {
        let pack = Listpack::from_bytes(bytes)?;
        let mut seen = Members::default();
        let all_differ = pack.iter().all(|member| member.with_bytes(|bytes| insert(&mut seen, bytes)));
        all_differ.then_some(Set { kept: Kept::Pack(pack) })
    }

    /// The bytes of Redis' format for integers, if that is how they are kept.
    pub fn as_intset(&self) -> Option<&[u8]> {
        match &self.kept {
            Kept::Integers(integers) => Some(integers.as_bytes()),
            _ => None,
        }
    }

    /// The bytes of a listpack, if that is how members are kept.
    pub fn as_listpack(&self) -> Option<&[u8]> {
        match &self.kept {
            Kept::Pack(pack) => Some(pack.as_bytes()),
            _ => None,
        }
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        match &self.kept {
            Kept::Integers(integers) => integers.size(),
            Kept::Pack(pack) => pack.size(),
            Kept::Table(members) => size_of::<Members>() + members.size(),
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        match &self.kept {
            Kept::Integers(integers) => integers.len(),
            Kept::Pack(pack) => pack.len(),
            Kept::Table(members) => members.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The encoding that OBJECT ENCODING answers. The Redis that it is held against knows no listpacks here.
    pub fn encoding(&self) -> &'static str {
        match &self.kept {
            Kept::Integers(_) => "intset",
            Kept::Pack(_) | Kept::Table(_) => "hashtable",
        }
    }

    /// Whether it is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.kept {
            Kept::Integers(integers) => num::parse_i64(member).is_some_and(|number| integers.contains(number)),
            Kept::Pack(pack) => find(pack, member).is_some(),
            Kept::Table(members) => members.find(member).is_some(),
        }
    }

    /// Whether a member of another set is one of this.
    pub fn shares(&self, member: Element<'_>) -> bool {
        match (&self.kept, member) {
            (Kept::Integers(integers), Element::Int(number)) => integers.contains(number),
            _ => member.with_bytes(|bytes| self.contains(bytes)),
        }
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        let (integers, pack, table) = match &self.kept {
            Kept::Integers(integers) => (Some(integers), None, None),
            Kept::Pack(pack) => (None, Some(pack), None),
            Kept::Table(members) => (None, None, Some(members)),
        };
        let integers = integers.into_iter().flat_map(|integers| integers.iter().map(Element::Int));
        let pack = pack.into_iter().flat_map(Listpack::iter);
        integers
            .chain(pack)
            .chain(table.into_iter().flat_map(|members| members.iter().map(|member| Element::Bytes(member))))
    }

    /// The member at a position, in an order that holds until the set is changed.
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        match &self.kept {
            Kept::Integers(integers) => integers.get(index).map(Element::Int),
            Kept::Pack(pack) => pack.seek(index).map(|at| pack.get(at)),
            Kept::Table(members) => members.get(index).map(|member| Element::Bytes(member)),
        }
    }

    /// Adds a member; `false` if it is one already.
    pub fn insert(&mut self, member: &[u8], compact: &Compact) -> bool {
        match &mut self.kept {
            Kept::Integers(integers) => {
                let Some(number) = num::parse_i64(member) else {
                    self.leave_integers(member, compact);
                    return self.insert(member, compact);
                };
                let added = integers.insert(number);
                if added && integers.len() as i64 > compact.set_intset.min(INTEGERS_MAX) {
                    self.grow();
                }
                added
            }
            Kept::Pack(pack) => {
                if find(pack, member).is_some() {
                    return false;
                }
                let fits = (pack.len() as i64) < compact.set_entries && is_short(member, compact);
                if fits && pack.admits(member.len()) {
                    pack.push(member);
                    return true;
                }
                self.grow();
                self.insert(member, compact)
            }
            Kept::Table(members) => insert(members, member),
        }
    }

    /// Removes a member; `false` if it is none.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.kept {
            Kept::Integers(integers) => num::parse_i64(member).is_some_and(|number| integers.remove(number)),
            Kept::Pack(pack) => {
                let found = find(pack, member);
                found.inspect(|at| pack.remove(*at, 1)).is_some()
            }
            Kept::Table(members) => members.remove(member).is_some(),
        }
    }

    /// Takes the member at a position out.
    pub fn take_at(&mut self, index: usize) -> Option<Vec<u8>> {
        if let Kept::Table(members) = &mut self.kept {
            return members.remove_at(index).map(Vec::from);
        }
        let member = self.get(index)?.to_vec();
        self.remove(&member);
        Some(member)
    }

    /// Shows at least so many members from a cursor on, if there are, and tells the cursor to go on with. Zero is the
    /// beginning and the end. A small set is shown at once.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8])) -> u64 {
        if let Kept::Table(members) = &self.kept {
            return members.scan(cursor, count, |member| f(member));
        }
        self.iter().for_each(|member| member.with_bytes(&mut f));
        0
    }

    /// Moves on from integers to what also takes another member.
    fn leave_integers(&mut self, member: &[u8], compact: &Compact) {
        let fits = (self.len() as i64) < compact.set_entries && is_short(member, compact);
        let all_fit = || self.iter().all(|member| member.with_bytes(|bytes| is_short(bytes, compact)));
        if !fits || !all_fit() {
            return self.grow();
        }
        let mut pack = Listpack::new();
        self.iter().for_each(|member| member.with_bytes(|bytes| pack.push(bytes)));
        self.kept = Kept::Pack(pack);
    }

    /// Moves on to a table.
    fn grow(&mut self) {
        let mut members = Box::<Members>::default();
        self.iter().for_each(|member| {
            member.with_bytes(|bytes| insert(&mut members, bytes));
        });
        self.kept = Kept::Table(members);
    }
}

/// Whether a member is short enough for a listpack.
fn is_short(member: &[u8], compact: &Compact) -> bool {
    member.len() as i64 <= compact.set_value
}

fn find(pack: &Listpack, member: &[u8]) -> Option<usize> {
    pack.find(member, pack.first()?, 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SMALL: Compact = Compact {
        hash_entries: 0,
        hash_value: 0,
        list_size: 0,
        set_intset: 20,
        set_entries: 12,
        set_value: 9,
        zset_entries: 0,
        zset_value: 0,
    };

    fn recount(set: &Set) -> usize {
        match &set.kept {
            Kept::Integers(integers) => integers.size(),
            Kept::Pack(pack) => pack.size(),
            Kept::Table(members) => size_of::<Members>() + members.recount(),
        }
    }

    fn roll(dice: &mut u64, bound: usize) -> usize {
        *dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*dice >> 33) as usize % bound
    }

    fn encoding(set: &Set) -> &'static str {
        match &set.kept {
            Kept::Integers(_) => "integers",
            Kept::Pack(_) => "pack",
            Kept::Table(_) => "table",
        }
    }

    #[test]
    fn a_set_moves_on_when_members_are_too_many_or_too_long() {
        let of = |members: &[&str]| {
            let mut set = Set::default();
            members.iter().for_each(|member| assert!(set.insert(member.as_bytes(), &SMALL), "{member}"));
            encoding(&set)
        };
        let integers: Vec<String> = (0..21).map(|number| number.to_string()).collect();
        let integers: Vec<&str> = integers.iter().map(String::as_str).collect();
        assert_eq!(of(&integers[..20]), "integers");
        assert_eq!(of(&integers), "table");
        assert_eq!(of(&[&integers[..11], &["x"]].concat()), "pack");
        assert_eq!(of(&[&integers[..12], &["x"]].concat()), "table");
        assert_eq!(of(&["x", "123456789"]), "pack");
        assert_eq!(of(&["x", "1234567890"]), "table");
        assert_eq!(of(&["1234567890", "x"]), "table");
        assert_eq!(of(&["-0"]), "pack");
        assert_eq!(of(&["01", ""]), "pack");
    }

    /// Members come and go at random, and each answer is that of a set of the standard library.
    #[test]
    fn members_of_all_encodings_come_and_go() {
        let (mut dice, mut seen) = (5u64, HashSet::new());
        for round in 0..15 {
            let (mut set, mut model) = (Set::default(), HashSet::<Vec<u8>>::new());
            let wanted = [8, 18, 40, 300, 1_500][round % 5];
            for step in 0..wanted * 6 {
                let number = roll(&mut dice, wanted * 2);
                let member = match round / 5 % 3 {
                    0 => number.to_string(),
                    1 => format!("m{number}"),
                    _ if step < 10 => number.to_string(),
                    _ => "x".repeat(number % 12) + &number.to_string(),
                };
                let member = member.as_bytes();
                let coming = model.len() < wanted && step < wanted * 4;
                match roll(&mut dice, 6) {
                    0 if !model.is_empty() => {
                        let taken = set.take_at(roll(&mut dice, model.len())).expect("a member");
                        assert!(model.remove(&taken));
                    }
                    1 | 2 if coming => assert_eq!(set.remove(member), model.remove(member)),
                    _ if coming => assert_eq!(set.insert(member, &SMALL), model.insert(member.to_vec())),
                    _ => assert_eq!(set.remove(member), model.remove(member)),
                }
                assert_eq!(set.contains(member), model.contains(member));
                assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
                seen.insert(encoding(&set));
                if step % 64 == 0 {
                    assert_eq!(set.size(), recount(&set));
                    assert_eq!(set.iter().map(Element::to_vec).collect::<HashSet<_>>(), model);
                    let by_position = (0..set.len()).filter_map(|index| set.get(index).map(Element::to_vec));
                    assert_eq!(by_position.collect::<HashSet<_>>(), model);
                    let copy = set.clone();
                    assert!(copy.iter().all(|member| set.shares(member)) && copy.len() == set.len());
                    assert_eq!(copy.size(), recount(&copy));
                }
            }
            assert!(set.get(set.len()).is_none() && set.take_at(set.len()).is_none());
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_scan_shows_all_that_stays_whatever_comes_and_goes() {
        let (mut dice, mut set) = (3u64, Set::default());
        let name = |number: usize| format!("member:{number}").into_bytes();
        (0..500).for_each(|number| assert!(set.insert(&name(number), &SMALL)));
        let (mut cursor, mut seen, mut calls, mut next) = (0, HashSet::new(), 0, 500);
        loop {
            cursor = set.scan(cursor, 10, |member| {
                seen.insert(member.to_vec());
            });
            calls += 1;
            if cursor == 0 {
                break;
            }
            for _ in 0..roll(&mut dice, 100) {
                set.insert(&name(next), &SMALL);
                set.remove(&name(250 + roll(&mut dice, 250)));
                next += 1;
            }
        }
        assert!((0..250).all(|number| seen.contains(&name(number))));
        assert!(calls > 20, "{calls}");
        assert_eq!(set.scan(u64::MAX, 10, |_| panic!("nothing is there")), 0);
    }

    #[test]
    fn the_bytes_of_compact_sets_can_be_copied() {
        let mut set = Set::default();
        ["3", "1", "2"].iter().for_each(|member| assert!(set.insert(member.as_bytes(), &SMALL)));
        let copy = Set::from_intset(set.as_intset().expect("integers").to_vec()).expect("sound bytes");
        assert!(copy.len() == 3 && copy.contains(b"2") && copy.as_listpack().is_none());
        assert!(set.insert(b"x", &SMALL) && set.as_intset().is_none());
        let pack = set.as_listpack().expect("a listpack").to_vec();
        let copy = Set::from_listpack(pack).expect("sound bytes");
        assert!(copy.len() == 4 && copy.contains(b"x") && copy.contains(b"1"));
        let mut twice = Listpack::new();
        (0..2).for_each(|_| twice.push(b"same"));
        assert!(Set::from_listpack(twice.as_bytes().to_vec()).is_none() && Set::from_intset(Vec::new()).is_none());
    }
}
