//! Integers in ascending order in one piece of memory, in Redis' format.
//!
//! A head of two 32-bit words, how wide an integer is and how many there are, and then the integers, all as wide as the one
//! that needs most: 2, 4 or 8 bytes. Everything is little-endian.

/// Bytes of the head.
const HEAD: usize = 8;
/// Widths that there are.
const WIDTHS: [usize; 3] = [2, 4, 8];

/// Integers in ascending order, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntSet {
    bytes: Vec<u8>,
}

impl Default for IntSet {
    fn default() -> IntSet {
        let mut empty = IntSet { bytes: vec![0; HEAD] };
        empty.set_head(WIDTHS[0], 0);
        empty
    }
}

impl IntSet {
    /// Takes bytes in that are an intset in every detail; `None` for others.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<IntSet> {
        let width = read_u32(&bytes, 0)? as usize;
        let len = read_u32(&bytes, 4)? as usize;
        let fits = WIDTHS.contains(&width) && len.checked_mul(width)?.checked_add(HEAD)? == bytes.len();
        let set = IntSet { bytes };
        (fits && set.iter().zip(set.iter().skip(1)).all(|(one, next)| one < next)).then_some(set)
    }

    /// The bytes, as Redis has them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many integers there are.
    pub fn len(&self) -> usize {
        (self.bytes.len() - HEAD) / self.width()
    }

    /// All of them in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.bytes[HEAD..].chunks_exact(self.width()).map(read_integer)
    }

    /// The integer at a position.
    pub fn get(&self, index: usize) -> Option<i64> {
        let width = self.width();
        let at = index.checked_mul(width)?.checked_add(HEAD)?;
        self.bytes.get(at..at.checked_add(width)?).map(read_integer)
    }

    /// Whether an integer is in it.
    pub fn contains(&self, number: i64) -> bool {
        self.search(number).is_ok()
    }

    /// Adds an integer; `false` if it is there already.
    pub fn insert(&mut self, number: i64) -> bool {
        let Err(index) = self.search(number) else { return false };
        let (old, width) = (self.width(), width_of(number));
        if width > old {
            self.widen(width);
        }
        let (width, len) = (self.width(), self.len());
        if self.bytes.len() + width > self.bytes.capacity() {
            self.bytes.reserve_exact(width.max(len / 8 * width));
        }
        let at = HEAD + index * width;
        self.bytes.extend_from_slice(&[0; 8][..width]);
        self.bytes.copy_within(at..HEAD + len * width, at + width);
        self.bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        self.set_head(width, len + 1);
        true
    }

    /// Removes an integer; `false` if it is not there.
    pub fn remove(&mut self, number: i64) -> bool {
        let Ok(index) = self.search(number) else { return false };
        let (width, len) = (self.width(), self.len());
        let at = HEAD + index * width;
        self.bytes.drain(at..at + width);
        self.set_head(width, len - 1);
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
        true
    }

    /// Where an integer is, or would be.
    fn search(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle) {
                Some(found) if found == number => return Ok(middle),
                Some(found) if found < number => low = middle + 1,
                _ => high = middle,
            }
        }
        Err(low)
    }

    fn width(&self) -> usize {
        usize::from(self.bytes[0])
    }

    /// Writes all integers anew so wide.
    fn widen(&mut self, width: usize) {
        let len = self.len();
        let mut bytes = Vec::with_capacity(HEAD + (len + 1) * width);
        bytes.resize(HEAD, 0);
        self.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()[..width]));
        self.bytes = bytes;
        self.set_head(width, len);
    }

    fn set_head(&mut self, width: usize, len: usize) {
        self.bytes[..4].copy_from_slice(&(width as u32).to_le_bytes());
        self.bytes[4..HEAD].copy_from_slice(&(len as u32).to_le_bytes());
    }
}

/// How many bytes an integer needs.
fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

/// A little-endian integer that is as wide as the bytes are many.
fn read_integer(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(numbers: &[i64]) -> IntSet {
        let mut set = IntSet::default();
        numbers.iter().for_each(|number| assert!(set.insert(*number)));
        set
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        assert_eq!(of(&[5, -1]).as_bytes(), b"\x02\0\0\0\x02\0\0\0\xff\xff\x05\0");
        assert_eq!(of(&[5, 65536]).as_bytes(), b"\x04\0\0\0\x02\0\0\0\x05\0\0\0\0\0\x01\0");
        assert_eq!(of(&[-1, 1 << 40]).as_bytes()[..16], *b"\x08\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    }

    #[test]
    fn only_sound_bytes_are_taken_in() {
        let sound = of(&[-70_000, 1, 2]);
        assert_eq!(IntSet::from_bytes(sound.as_bytes().to_vec()), Some(sound));
        for bytes in [
            &b""[..],
            b"\x02\0\0\0\0\0\0",
            b"\x03\0\0\0\0\0\0\0",
            b"\x02\0\0\0\x01\0\0\0",
            b"\x02\0\0\0\x01\0\0\0\0\0\0",
            b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
            b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0",
            b"\x08\0\0\0\xff\xff\xff\xff\x01\0",
        ] {
            assert_eq!(IntSet::from_bytes(bytes.to_vec()), None, "{bytes:?}");
        }
    }

    #[test]
    fn integers_of_all_widths_come_and_go() {
        let (mut set, mut model, mut dice) = (IntSet::default(), BTreeSet::new(), 11u64);
        for step in 0..6_000 {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let number = match dice >> 60 {
                0 if step > 3_000 => [i64::MIN, i64::MAX, 1 << 31, -(1 << 31) - 1][(dice >> 40) as usize % 4],
                1 if step > 1_500 => {
                    [i64::from(i32::MIN), i64::from(i32::MAX), 32_768, -32_769][(dice >> 40) as usize % 4]
                }
                _ => (dice >> 33) as i64 % 400 - 200,
            };
            if (dice >> 20).is_multiple_of(3) {
                assert_eq!(set.remove(number), model.remove(&number));
            } else {
                assert_eq!(set.insert(number), model.insert(number));
            }
            assert_eq!(set.contains(number), model.contains(&number));
            assert!(set.len() == model.len() && set.size() >= set.as_bytes().len());
            assert!(set.size() <= set.as_bytes().len() * 2 + 16, "{} for {}", set.size(), set.as_bytes().len());
        }
        assert!(set.iter().eq(model.iter().copied()));
        assert!((0..set.len()).filter_map(|index| set.get(index)).eq(model));
        assert_eq!(set.get(set.len()), None);
    }
}
