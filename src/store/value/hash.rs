//! Fields with values: in a listpack while they are few and short, then in a table.

use std::collections::HashSet;

use super::fields::Fields;
use super::listpack::{Element, Listpack};
use crate::config::Compact;

/// Bytes that a listpack needs at most for a field and a value beside their own.
const MARGIN: usize = 20;

/// Fields with values.
#[derive(Clone, Default)]
pub struct Hash(Kind);

#[derive(Clone)]
enum Kind {
    /// Field, value, field, value.
    Packed(Listpack),
    /// Boxed so that small hashes do not pay for it.
    Loose(Box<Fields>),
}

impl Default for Kind {
    fn default() -> Kind {
        Kind::Packed(Listpack::new())
    }
}

/// A field and its value.
pub type Pair<'a> = (Element<'a>, Element<'a>);

/// The fields of a listpack, with their values.
fn pairs(listpack: &Listpack) -> impl Iterator<Item = Pair<'_>> {
    let mut elements = listpack.iter();
    std::iter::from_fn(move || Some((elements.next()?, elements.next()?)))
}

/// Where the value of a field is.
fn value_at(listpack: &Listpack, field: &[u8]) -> Option<usize> {
    listpack.next(listpack.find(field, listpack.first()?, 1)?)
}

fn plain<'a>((field, value): (&'a [u8], &'a [u8])) -> Pair<'a> {
    (Element::Bytes(field), Element::Bytes(value))
}

impl Hash {
    /// About how many pieces of memory it takes.
    pub(super) fn pieces(&self) -> usize {
        match &self.0 {
            Kind::Packed(_) => 1,
            Kind::Loose(fields) => fields.len(),
        }
    }

    /// Frees about so many of them; `false` when no more than one is left. It is of no use afterwards.
    pub(super) fn wreck(&mut self, most: usize) -> bool {
        match &mut self.0 {
            Kind::Packed(_) => false,
            Kind::Loose(fields) => fields.wreck(most),
        }
    }

    /// Takes over a listpack of fields and values in turn, if it is one: whole pairs, and no field twice.
    pub fn from_listpack(listpack: Listpack, compact: &Compact) -> Option<Hash> {
        let mut fields = HashSet::new();
        let len = listpack.len();
        if !len.is_multiple_of(2) || !pairs(&listpack).all(|(field, _)| fields.insert(field.to_vec())) {
            return None;
        }
        let mut hash = Hash(Kind::Packed(listpack));
        if exceeds(len / 2, compact.hash_entries) {
            hash.unpack();
        }
        Some(hash)
    }

    /// The listpack, while it is kept in one.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Kind::Packed(listpack) => Some(listpack),
            Kind::Loose(_) => None,
        }
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        match &self.0 {
            Kind::Packed(listpack) => listpack.size(),
            Kind::Loose(fields) => size_of::<Fields>() + fields.size(),
        }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Packed(listpack) => listpack.len() / 2,
            Kind::Loose(fields) => fields.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Kind::Packed(listpack) => listpack.is_empty(),
            Kind::Loose(fields) => fields.len() == 0,
        }
    }

    /// The encoding that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Kind::Packed(_) => "listpack",
            Kind::Loose(_) => "hashtable",
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        match &self.0 {
            Kind::Packed(listpack) => value_at(listpack, field).map(|at| listpack.get(at)),
            Kind::Loose(fields) => fields.value(field).map(Element::Bytes),
        }
    }

    /// Gives a field a value; `true` if the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], compact: &Compact) -> bool {
        let long = exceeds(field.len().max(value.len()), compact.hash_value);
        if let Kind::Packed(listpack) = &self.0
            && (long || !listpack.admits(field.len() + value.len() + MARGIN))
        {
            self.unpack();
        }
        let is_new = match &mut self.0 {
            Kind::Packed(listpack) => match value_at(listpack, field) {
                Some(at) => {
                    listpack.replace(at, value);
                    false
                }
                None => {
                    listpack.push(field);
                    listpack.push(value);
                    true
                }
            },
            Kind::Loose(fields) => return fields.set(field, value),
        };
        if exceeds(self.len(), compact.hash_entries) {
            self.unpack();
        }
        is_new
    }

    /// Removes a field; `false` if it is not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Kind::Packed(listpack) => {
                let at = listpack.first().and_then(|first| listpack.find(field, first, 1));
                if let Some(at) = at {
                    listpack.remove(at, 2);
                }
                at.is_some()
            }
            Kind::Loose(fields) => fields.remove(field).is_some(),
        }
    }

    /// All fields with their values.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        let (packed, loose) = match &self.0 {
            Kind::Packed(listpack) => (Some(listpack), None),
            Kind::Loose(fields) => (None, Some(fields)),
        };
        let packed = packed.into_iter().flat_map(pairs);
        packed.chain(loose.into_iter().flat_map(|fields| fields.iter().map(|pair| plain(pair.both()))))
    }

    /// Any field, each with the same chance.
    pub fn random(&self, mut chance: impl FnMut() -> u64) -> Option<Pair<'_>> {
        match self.is_empty() {
            true => None,
            false => self.at(below(self.len(), chance())),
        }
    }

    /// Shows so many random fields, the same one maybe several times, until `f` says no. Tells whether it never did.
    pub fn picks(&self, count: usize, mut chance: impl FnMut() -> u64, mut f: impl FnMut(Pair<'_>) -> bool) -> bool {
        let len = self.len();
        // To look for a position in a listpack is to walk there.
        let row: Vec<Pair<'_>> = match &self.0 {
            Kind::Packed(listpack) if count > 1 => pairs(listpack).collect(),
            _ => Vec::new(),
        };
        (0..count).all(|_| {
            let index = below(len, chance());
            row.get(index).copied().or_else(|| self.at(index)).is_none_or(&mut f)
        })
    }

    /// Shows so many different fields, or as many as there are, each with the same chance.
    pub fn sample(&self, count: usize, mut chance: impl FnMut() -> u64, mut f: impl FnMut(Pair<'_>)) {
        let len = self.len();
        if matches!(self.0, Kind::Loose(_)) && count < len / 3 {
            // A few of many: each step picks from one more, and takes the new one if it comes upon one that it has.
            let mut picked = HashSet::new();
            for newest in len - count..len {
                let index = below(newest + 1, chance());
                let index = if picked.insert(index) { index } else { newest };
                picked.insert(index);
                self.at(index).into_iter().for_each(&mut f);
            }
            return;
        }
        let mut wanted = count.min(len);
        for (index, pair) in self.iter().enumerate() {
            if wanted == len - index || below(len - index, chance()) < wanted {
                f(pair);
                wanted -= 1;
            }
            if wanted == 0 {
                return;
            }
        }
    }

    /// Shows at least so many fields from a cursor on, if there are, and tells the cursor to go on with. Zero is the
    /// beginning and the end. A listpack is shown as a whole.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(Pair<'_>)) -> u64 {
        match &self.0 {
            Kind::Packed(listpack) => {
                pairs(listpack).for_each(f);
                0
            }
            Kind::Loose(fields) => fields.scan(cursor, count, |pair| f(plain(pair.both()))),
        }
    }

    /// The field at a position in whatever order they are.
    fn at(&self, index: usize) -> Option<Pair<'_>> {
        match &self.0 {
            Kind::Packed(listpack) => {
                let at = listpack.seek(2 * index)?;
                Some((listpack.get(at), listpack.get(listpack.next(at)?)))
            }
            Kind::Loose(fields) => fields.get(index).map(|pair| plain(pair.both())),
        }
    }

    /// Goes over to a table.
    fn unpack(&mut self) {
        let Kind::Packed(listpack) = &self.0 else { return };
        let mut fields = Box::<Fields>::default();
        for (field, value) in pairs(listpack) {
            field.with_bytes(|field| value.with_bytes(|value| fields.set(field, value)));
        }
        self.0 = Kind::Loose(fields);
    }
}

/// Whether a number is above a setting.
fn exceeds(number: usize, most: i64) -> bool {
    i64::try_from(number).unwrap_or(i64::MAX) > most
}

/// A random number made one below a bound.
fn below(bound: usize, chance: u64) -> usize {
    ((u128::from(chance) * bound as u128) >> u64::BITS) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn dice() -> impl FnMut() -> u64 {
        let mut state = 5u64;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let mixed = (state ^ state >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 32
        }
    }

    fn numbered(count: usize) -> Hash {
        let mut hash = Hash::default();
        for number in 0..count {
            assert!(hash.set(format!("field:{number}").as_bytes(), b"7", &Compact::default()));
        }
        hash
    }

    fn recounted(hash: &Hash) -> usize {
        match &hash.0 {
            Kind::Packed(listpack) => listpack.size(),
            Kind::Loose(fields) => size_of::<Fields>() + fields.recount(),
        }
    }

    #[test]
    fn it_is_a_listpack_up_to_the_thresholds() {
        let compact = Compact { hash_entries: 3, hash_value: 8, ..Compact::default() };
        let mut hash = Hash::default();
        for field in [&b"a"[..], b"b", b"12345678", b"b"] {
            hash.set(field, b"12345678", &compact);
            assert_eq!(hash.encoding(), "listpack");
        }
        let (mut longer, mut more) = (hash.clone(), hash.clone());
        more.set(b"c", b"", &compact);
        longer.set(b"a", b"123456789", &compact);
        hash.set(b"123456789", b"", &compact);
        for (hash, len) in [(more, 4), (longer, 3), (hash, 4)] {
            assert_eq!((hash.encoding(), hash.len(), hash.iter().count()), ("hashtable", len, len));
            assert!(hash.get(b"b").is_some_and(|value| value.to_vec() == b"12345678"));
        }
        let mut none = Hash::default();
        none.set(b"a", b"", &Compact { hash_entries: 0, ..compact });
        assert_eq!(none.encoding(), "hashtable");
    }

    #[test]
    fn a_listpack_of_pairs_can_be_taken_over() {
        let listpack = |texts: &[&[u8]]| {
            let mut listpack = Listpack::new();
            texts.iter().for_each(|text| listpack.push(text));
            listpack
        };
        let compact = Compact { hash_entries: 1, ..Compact::default() };
        let take = |texts: &[&[u8]]| Hash::from_listpack(listpack(texts), &compact);
        let hash = take(&[b"a", b"1"]).expect("a pair");
        assert_eq!(hash.as_listpack(), Some(&listpack(&[b"a", b"1"])));
        assert!(take(&[b"a", b"1", b"b", b"1"]).is_some_and(|hash| hash.encoding() == "hashtable"));
        assert!(take(&[b"a", b"1", b"b"]).is_none());
        assert!(take(&[b"a", b"1", b"a", b"2"]).is_none());
    }

    #[test]
    fn every_field_has_the_same_chance() {
        let mut chance = dice();
        for len in [20, 2_000] {
            let hash = numbered(len);
            let mut seen = BTreeMap::<Vec<u8>, usize>::new();
            let looks = len * 100;
            for _ in 0..looks {
                let (field, value) = hash.random(&mut chance).expect("there are fields");
                assert!(value.to_vec() == b"7");
                *seen.entry(field.to_vec()).or_default() += 1;
            }
            assert!(seen.len() == len && seen.values().all(|count| (50..170).contains(count)), "{len}");
            for count in [1, 3, len / 4, len / 2, len - 1, len, usize::MAX] {
                let mut seen = BTreeMap::<Vec<u8>, usize>::new();
                for _ in 0..20 {
                    let mut these = BTreeSet::new();
                    hash.sample(count, &mut chance, |(field, _)| assert!(these.insert(field.to_vec())));
                    assert_eq!(these.len(), count.min(len));
                    these.into_iter().for_each(|field| *seen.entry(field).or_default() += 1);
                }
                assert!(count < len / 4 || seen.len() > len * 9 / 10, "{count} of {len}");
            }
        }
        for len in [10, 1_000] {
            let (hash, mut seen, mut calls) = (numbered(len), BTreeSet::new(), 0);
            assert!(hash.picks(len * 20, &mut chance, |(field, _)| {
                seen.insert(field.to_vec());
                true
            }));
            assert_eq!(seen.len(), len);
            assert!(
                !hash.picks(100, &mut chance, |_| {
                    calls += 1;
                    calls < 7
                }) && calls == 7
            );
        }
        Hash::default().sample(5, &mut chance, |_| panic!("there is none"));
        assert!(Hash::default().random(&mut chance).is_none());
    }

    #[test]
    fn a_scan_shows_what_stays() {
        let mut hash = numbered(3_000);
        let stays: BTreeSet<Vec<u8>> = (0..1_000).map(|number| format!("field:{number}").into_bytes()).collect();
        let (mut seen, mut cursor, mut calls) = (BTreeSet::new(), 0, 0);
        loop {
            let mut shown = 0;
            cursor = hash.scan(cursor, 10, |(field, _)| {
                seen.insert(field.to_vec());
                shown += 1;
            });
            assert!(cursor == 0 || (10..15).contains(&shown));
            if cursor == 0 {
                break;
            }
            // It grows and shrinks while it is scanned.
            for number in 0..40 {
                match calls < 40 {
                    true => hash.set(format!("new:{calls}:{number}").as_bytes(), b"", &Compact::default()),
                    false => hash.remove(format!("field:{}", 1_000 + (calls * 40 + number) % 2_000).as_bytes()),
                };
            }
            calls += 1;
        }
        assert!(stays.is_subset(&seen) && calls > 100);
        assert_eq!(hash.scan(u64::MAX, 10, |_| panic!("nothing is behind the last hash")), 0);
        let small = numbered(500);
        let mut shown = 0;
        assert_eq!((small.scan(77, 1, |_| shown += 1), shown), (0, 500));
    }

    /// Random changes, each made to a map too.
    #[test]
    fn it_holds_what_a_map_holds() {
        let mut chance = dice();
        let mut roll = |bound: usize| below(bound, chance());
        let (mut hash, mut model) = (Hash::default(), BTreeMap::<Vec<u8>, Vec<u8>>::new());
        for step in 0..30_000 {
            let compact = Compact { hash_entries: 64, hash_value: 70, ..Compact::default() };
            let range = [40, 3_000, 20][step / 3_000 % 3];
            let field = match roll(2) {
                0 => roll(range).to_string().into_bytes(),
                _ => format!("field {}", roll(range)).into_bytes(),
            };
            if roll(5) < [3, 4, 1][step / 3_000 % 3] {
                let most = if roll(500) == 0 { 300 } else { 25 };
                let value = vec![b'1' + roll(3) as u8; roll(most)];
                assert_eq!(hash.set(&field, &value, &compact), model.insert(field, value).is_none());
            } else if let Some(field) = model.range(field..).next().map(|(field, _)| field.clone()) {
                let value = model.remove(&field).expect("it is in the model");
                assert!(hash.get(&field).is_some_and(|found| found == *value));
                assert!(hash.remove(&field) && !hash.remove(&field) && hash.get(&field).is_none());
            }
            assert_eq!((hash.len(), hash.is_empty()), (model.len(), model.is_empty()));
            if hash.is_empty() {
                hash = Hash::default();
            }
            if step % 100 == 0 {
                let all: BTreeMap<_, _> = hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
                assert_eq!(all, model);
                assert_eq!(hash.size(), recounted(&hash));
                let copy = hash.clone();
                assert_eq!((copy.size(), copy.len()), (recounted(&copy), hash.len()));
            }
        }
    }
}
