//! Fields of a large hash: each with its value in memory of its own, in a row, with a table of their hashes.
//!
//! The row makes a random field one look away. The table is the one that shards have for their entries: it is in the order
//! of the hashes, so that a scan stands at a hash and misses nothing that stays, however the table grows meanwhile.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use super::super::arena::At;
use super::super::table::Table;

/// Fields that a row has room for at least, and the part by which it grows.
const ROOM_MIN: usize = 8;
const GROWTH: usize = 8;

/// Fields of a large hash, with their values.
#[derive(Clone, Default)]
pub struct Fields {
    all: Vec<Pair>,
    /// Where in the row the field of a hash is.
    table: Table,
    /// Bytes of all pairs.
    bytes: usize,
    /// Every hash has its own order, so that to fill one in the order of another is no worse than in any order.
    hasher: RandomState,
}

/// A field and its value in one piece: the length of the field, seven bits a byte and the lowest first, the field, the value.
#[derive(Clone)]
struct Pair(Box<[u8]>);

impl Pair {
    fn of(field: &[u8], value: &[u8]) -> Pair {
        let mut len = field.len();
        let head = (len.max(1).ilog2() / 7 + 1) as usize;
        let mut bytes = Vec::with_capacity(head + len + value.len());
        while len > 127 {
            bytes.push(len as u8 | 128);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(value);
        Pair(bytes.into())
    }

    /// Where the field begins and where the value does.
    fn offsets(&self) -> (usize, usize) {
        let (mut len, mut head) = (0, 0);
        for byte in &self.0 {
            len |= usize::from(byte & 127) << (7 * head);
            head += 1;
            if byte & 128 == 0 {
                break;
            }
        }
        (head, head + len)
    }

    fn both(&self) -> (&[u8], &[u8]) {
        let (field, value) = self.offsets();
        (&self.0[field..value], &self.0[value..])
    }

    fn field(&self) -> &[u8] {
        self.both().0
    }

    /// Gives the field another value.
    fn set(&mut self, value: &[u8]) {
        let (_, at) = self.offsets();
        match self.0.len() == at + value.len() {
            true => self.0[at..].copy_from_slice(value),
            false => *self = Pair::of(self.field(), value),
        }
    }

    /// Bytes that its memory takes.
    fn weight(&self) -> usize {
        self.0.len().next_multiple_of(8)
    }
}

impl Fields {
    /// Bytes that they take on the heap.
    pub fn size(&self) -> usize {
        self.table.size() + self.all.capacity() * size_of::<Pair>() + self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them with their values, in the order of the row.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.all.iter().map(Pair::both)
    }

    /// The field at a position of the row, and its value.
    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.all.get(index).map(Pair::both)
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        let (_, index) = self.find(field)?;
        self.at(index).map(|(_, value)| value)
    }

    /// Gives a field a value; `true` if the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let Some(pair) = self.find(field).and_then(|(_, index)| self.all.get_mut(index)) {
            self.bytes -= pair.weight();
            pair.set(value);
            self.bytes += pair.weight();
            return false;
        }
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact((self.all.len() / GROWTH).max(ROOM_MIN));
        }
        self.table.insert(self.hash(field), At::from_bits(self.all.len() as u32));
        let pair = Pair::of(field, value);
        self.bytes += pair.weight();
        self.all.push(pair);
        true
    }

    /// Removes a field; `false` if it is not there. The last one moves to its position.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some((bucket, index)) = self.find(field) else { return false };
        self.table.remove(bucket);
        self.bytes -= self.all.swap_remove(index).weight();
        if let Some(moved) = self.all.get(index) {
            let old = self.all.len() as u32;
            let found = self.table.find(self.hash(moved.field()), |at| (at.bits() == old).then_some(()));
            if let Some((bucket, ())) = found {
                self.table.set(bucket, At::from_bits(index as u32));
            }
        }
        self.table.shrink();
        if self.all.len() < self.all.capacity() / 2 {
            self.all.shrink_to(self.all.len() + (self.all.len() / GROWTH).max(ROOM_MIN));
        }
        true
    }

    /// Shows at least so many fields from a cursor on, if there are, and tells the cursor to go on with. Zero is the
    /// beginning and the end.
    pub fn scan(&self, cursor: u64, count: usize, mut f: impl FnMut(&[u8], &[u8])) -> u64 {
        let Ok(first) = u32::try_from(cursor) else { return 0 };
        let (mut shown, mut last) = (0, None);
        for place in self.table.iter_from(first) {
            // Those of one hash are shown together: a cursor cannot stand between them.
            if shown >= count && last != Some(place.hash) {
                return u64::from(place.hash);
            }
            if let Some((field, value)) = self.at(place.at.bits() as usize) {
                f(field, value);
            }
            (shown, last) = (shown + 1, Some(place.hash));
        }
        0
    }

    /// The bucket of a field and its position in the row.
    fn find(&self, field: &[u8]) -> Option<(usize, usize)> {
        self.table.find(self.hash(field), |at| {
            let index = at.bits() as usize;
            self.all.get(index).is_some_and(|pair| pair.field() == field).then_some(index)
        })
    }

    fn hash(&self, field: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(field);
        hasher.finish() as u32
    }

    /// Bytes counted anew.
    #[cfg(test)]
    pub fn recount(&self) -> usize {
        self.table.validate();
        assert_eq!(self.table.len(), self.all.len());
        let bytes: usize = self.all.iter().map(Pair::weight).sum();
        self.table.size() + self.all.capacity() * size_of::<Pair>() + bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_takes_any_lengths() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let (field, value) = (vec![b'f'; len], vec![b'v'; len / 3]);
            let mut pair = Pair::of(&field, &value);
            assert_eq!(pair.both(), (&field[..], &value[..]));
            pair.set(&vec![b'w'; len / 3]);
            assert_eq!(pair.both(), (&field[..], &vec![b'w'; len / 3][..]));
            pair.set(b"x");
            assert_eq!(pair.both(), (&field[..], &b"x"[..]));
        }
    }
}
