//! Elements in a row in one piece of memory, in Redis' listpack format.
//!
//! ```text
//! total bytes: u32 LE | elements: u16 LE, 0xffff if there are more | element … | 0xff
//! element: code and length, content, length of both once more so that it can be read from behind
//! ```
//!
//! Integers are kept as such if their text is the only one that they have. Places are told as offsets in bytes; they stay
//! valid until something before them changes.

use crate::num;

/// Bytes before the first element.
const HEADER: usize = 6;
/// What stands behind the last element.
const END: u8 = 0xff;
/// The count that says that elements must be counted.
const UNKNOWN: u16 = u16::MAX;
/// Bytes above which Redis lets no listpack grow.
const BYTES_MAX: usize = 1 << 30;
/// Room that is not worth being given back.
const SLACK_MIN: usize = 32;

/// Elements in a row. See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listpack {
    bytes: Vec<u8>,
}

/// An element as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// An integer.
    Int(i64),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl Element<'_> {
    /// Writes its text behind what there is.
    pub fn write_to(self, out: &mut Vec<u8>) {
        self.with_bytes(|bytes| out.extend_from_slice(bytes));
    }

    /// Shows its text.
    pub fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Element::Int(number) => f(itoa::Buffer::new().format(number).as_bytes()),
            Element::Bytes(bytes) => f(bytes),
        }
    }

    /// A copy of its text.
    pub fn to_vec(self) -> Vec<u8> {
        self.with_bytes(<[u8]>::to_vec)
    }
}

impl PartialEq<[u8]> for Element<'_> {
    fn eq(&self, text: &[u8]) -> bool {
        match self {
            Element::Int(number) => num::parse_i64(text) == Some(*number),
            Element::Bytes(bytes) => *bytes == text,
        }
    }
}

impl Default for Listpack {
    fn default() -> Listpack {
        Listpack::new()
    }
}

impl Listpack {
    /// One without elements.
    pub fn new() -> Listpack {
        Listpack { bytes: vec![HEADER as u8 + 1, 0, 0, 0, 0, 0, END] }
    }

    /// Takes over bytes from elsewhere, if they are a listpack through and through.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Listpack> {
        let (total, rest) = bytes.split_first_chunk()?;
        let (count, _) = rest.split_first_chunk()?;
        if u32::from_le_bytes(*total) as usize != bytes.len() || *bytes.last()? != END {
            return None;
        }
        let (count, end) = (u16::from_le_bytes(*count), bytes.len() - 1);
        let (mut at, mut found) = (HEADER, 0);
        while at < end {
            let (_, len) = parse(&bytes[at..end])?;
            let back = Back::of(len);
            let next = at + len + back.bytes().len();
            if bytes[..end].get(at + len..next)? != back.bytes() {
                return None;
            }
            (at, found) = (next, found + 1);
        }
        let fits = at == end && (count == UNKNOWN || usize::from(count) == found);
        fits.then_some(Listpack { bytes })
    }

    /// All of it, as Redis has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether so many more bytes, of which every element needs ten beside its own, may be added.
    pub fn admits(&self, bytes: usize) -> bool {
        self.bytes.len().saturating_add(bytes) <= BYTES_MAX
    }

    /// Elements in it. They are counted if they are 65 535 or more, or once were.
    pub fn len(&self) -> usize {
        match self.count() {
            UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER + 1
    }

    /// Where the first element is.
    pub fn first(&self) -> Option<usize> {
        self.element(HEADER)
    }

    /// Where the last element is.
    pub fn last(&self) -> Option<usize> {
        self.prev(self.end())
    }

    /// Where the element behind this one is.
    pub fn next(&self, at: usize) -> Option<usize> {
        self.element(self.behind(at))
    }

    /// Where the element before this one is.
    pub fn prev(&self, at: usize) -> Option<usize> {
        if at <= HEADER {
            return None;
        }
        let (len, back) = Back::read(&self.bytes[HEADER..at]);
        Some(at - back - len)
    }

    /// The offset itself if there is an element, and not the end: what was behind removed elements is now where they were.
    pub fn element(&self, at: usize) -> Option<usize> {
        (at < self.end()).then_some(at)
    }

    /// Where the element with this index is.
    pub fn seek(&self, index: usize) -> Option<usize> {
        let count = self.count();
        if count == UNKNOWN || index < usize::from(count) / 2 {
            return (0..index).try_fold(self.first()?, |at, _| self.next(at));
        }
        let from_behind = usize::from(count).checked_sub(index + 1)?;
        (0..from_behind).try_fold(self.last()?, |at, _| self.prev(at))
    }

    /// The element at an offset.
    pub fn get(&self, at: usize) -> Element<'_> {
        parse(&self.bytes[at..]).map_or(Element::Bytes(&[]), |(element, _)| element)
    }

    /// The elements from first to last.
    pub fn iter(&self) -> Iter<'_> {
        Iter { listpack: self, from: HEADER, to: self.end() }
    }

    /// Looks for a text from an offset on, at one element of every `skip + 1`.
    pub fn find(&self, text: &[u8], from: usize, skip: usize) -> Option<usize> {
        let number = num::parse_i64(text);
        let mut at = self.element(from)?;
        loop {
            let equal = match self.get(at) {
                Element::Int(found) => number == Some(found),
                Element::Bytes(found) => found == text,
            };
            if equal {
                return Some(at);
            }
            at = (0..=skip).try_fold(at, |at, _| self.next(at))?;
        }
    }

    /// Adds an element behind all others.
    pub fn push(&mut self, text: &[u8]) {
        self.insert(self.end(), text);
    }

    /// Adds an element before all others.
    pub fn push_front(&mut self, text: &[u8]) {
        self.insert(HEADER, text);
    }

    /// Adds an element before the one at an offset. Then it is at that offset.
    pub fn insert(&mut self, before: usize, text: &[u8]) {
        let count = self.count();
        self.splice(before, before, Some(&Encoded::of(text)));
        if count != UNKNOWN {
            self.set_count(count + 1);
        }
    }

    /// Puts an element in place of the one at an offset.
    pub fn replace(&mut self, at: usize, text: &[u8]) {
        self.splice(at, self.behind(at), Some(&Encoded::of(text)));
    }

    /// Removes so many elements from the one at an offset on, or as many as there are.
    pub fn remove(&mut self, at: usize, count: usize) {
        let (mut behind, mut gone) = (at, 0);
        while gone < count && behind < self.end() {
            (behind, gone) = (self.behind(behind), gone + 1);
        }
        let before = self.count();
        self.splice(at, behind, None);
        if before != UNKNOWN {
            self.set_count(before - gone as u16);
        }
    }

    /// The number of elements as the header has it.
    fn count(&self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }

    fn set_count(&mut self, count: u16) {
        self.bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// Where the end is.
    fn end(&self) -> usize {
        self.bytes.len() - 1
    }

    /// Where the element at an offset ends.
    fn behind(&self, at: usize) -> usize {
        match parse(&self.bytes[at..]) {
            Some((_, len)) => at + len + Back::of(len).bytes().len(),
            None => at,
        }
    }

    /// Puts an element, or nothing, in place of what is between two offsets.
    fn splice(&mut self, from: usize, to: usize, element: Option<&Encoded<'_>>) {
        let (old, room) = (self.bytes.len(), element.map_or(0, Encoded::len));
        let len = old - (to - from) + room;
        if len > self.bytes.capacity() {
            self.bytes.reserve_exact(len + len / 8 - old);
        }
        self.bytes.resize(old.max(len), 0);
        self.bytes.copy_within(to..old, from + room);
        self.bytes.truncate(len);
        if let Some(element) = element {
            element.write(&mut self.bytes[from..from + room]);
        }
        if self.bytes.capacity() / 2 > len + SLACK_MIN {
            self.bytes.shrink_to(len + len / 8);
        }
        self.bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
    }
}

/// The elements of a listpack from either side.
#[derive(Clone)]
pub struct Iter<'a> {
    listpack: &'a Listpack,
    from: usize,
    to: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.from >= self.to {
            return None;
        }
        let (element, len) = parse(&self.listpack.bytes[self.from..])?;
        self.from += len + Back::of(len).bytes().len();
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.from >= self.to {
            return None;
        }
        self.to = self.listpack.prev(self.to)?;
        Some(self.listpack.get(self.to))
    }
}

/// Reads the element that bytes begin with, and tells how long it is without the length behind it. `None` at the end, and
/// for what is no element.
fn parse(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let (&code, rest) = bytes.split_first()?;
    let text = |head: usize, len: usize| {
        let bytes = bytes.get(head..head.checked_add(len)?)?;
        Some((Element::Bytes(bytes), head + len))
    };
    // As many bytes as the integer has, with the sign of the highest one.
    let int = |len: usize| {
        let mut wide = [0; 8];
        wide[8 - len..].copy_from_slice(rest.get(..len)?);
        Some((Element::Int(i64::from_le_bytes(wide) >> (64 - 8 * len)), 1 + len))
    };
    match code {
        0x00..=0x7f => Some((Element::Int(i64::from(code)), 1)),
        0x80..=0xbf => text(1, usize::from(code & 0x3f)),
        0xc0..=0xdf => {
            let bits = i64::from(code & 0x1f) << 8 | i64::from(*rest.first()?);
            Some((Element::Int(bits << 51 >> 51), 2))
        }
        0xe0..=0xef => text(2, usize::from(code & 0x0f) << 8 | usize::from(*rest.first()?)),
        0xf0 => text(5, u32::from_le_bytes(*rest.first_chunk()?) as usize),
        0xf1 => int(2),
        0xf2 => int(3),
        0xf3 => int(4),
        0xf4 => int(8),
        0xf5..=END => None,
    }
}

/// An element on its way in.
struct Encoded<'e> {
    head: [u8; 9],
    head_len: usize,
    text: &'e [u8],
    back: Back,
}

impl<'e> Encoded<'e> {
    fn of(text: &'e [u8]) -> Encoded<'e> {
        match num::parse_i64(text) {
            Some(number) => Encoded::int(number),
            None => Encoded::text(text),
        }
    }

    fn int(number: i64) -> Encoded<'e> {
        let low = number.to_le_bytes();
        match number {
            0..=127 => Encoded::new(&[low[0]], &[]),
            -4096..=4095 => Encoded::new(&[0xc0 | low[1] & 0x1f, low[0]], &[]),
            -0x8000..=0x7fff => Encoded::new(&[0xf1, low[0], low[1]], &[]),
            -0x80_0000..=0x7f_ffff => Encoded::new(&[0xf2, low[0], low[1], low[2]], &[]),
            -0x8000_0000..=0x7fff_ffff => Encoded::new(&[0xf3, low[0], low[1], low[2], low[3]], &[]),
            _ => {
                let mut head = [0xf4; 9];
                head[1..].copy_from_slice(&low);
                Encoded::new(&head, &[])
            }
        }
    }

    fn text(text: &'e [u8]) -> Encoded<'e> {
        let low = text.len().to_le_bytes();
        match text.len() {
            0..64 => Encoded::new(&[0x80 | low[0]], text),
            64..4096 => Encoded::new(&[0xe0 | low[1], low[0]], text),
            _ => Encoded::new(&[0xf0, low[0], low[1], low[2], low[3]], text),
        }
    }

    fn new(bytes: &[u8], text: &'e [u8]) -> Encoded<'e> {
        let mut head = [0; 9];
        head[..bytes.len()].copy_from_slice(bytes);
        Encoded { head, head_len: bytes.len(), text, back: Back::of(bytes.len() + text.len()) }
    }

    fn len(&self) -> usize {
        self.head_len + self.text.len() + self.back.bytes().len()
    }

    fn write(&self, room: &mut [u8]) {
        let (head, room) = room.split_at_mut(self.head_len);
        let (text, back) = room.split_at_mut(self.text.len());
        head.copy_from_slice(&self.head[..self.head_len]);
        text.copy_from_slice(self.text);
        back.copy_from_slice(self.back.bytes());
    }
}

/// The length behind an element: seven bits a byte, and all bytes but the first say that one more stands before them.
struct Back {
    bytes: [u8; 5],
    len: usize,
}

impl Back {
    fn of(len: usize) -> Back {
        // The bounds are Redis', which are a little lower than they could be.
        let bytes = match len {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        let group = |at: usize| {
            let bits = (len >> (7 * (bytes - 1 - at.min(bytes - 1)))) as u8 & 127;
            if at == 0 { bits } else { bits | 128 }
        };
        Back { bytes: std::array::from_fn(group), len: bytes }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Reads the length that bytes end with, and tells how many bytes it takes.
    fn read(bytes: &[u8]) -> (usize, usize) {
        let (mut len, mut read) = (0, 0);
        for byte in bytes.iter().rev().take(5) {
            len |= usize::from(byte & 127) << (7 * read);
            read += 1;
            if byte & 128 == 0 {
                break;
            }
        }
        (len, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listpack(texts: &[&[u8]]) -> Listpack {
        let mut listpack = Listpack::new();
        texts.iter().for_each(|text| listpack.push(text));
        listpack
    }

    fn texts(listpack: &Listpack) -> Vec<Vec<u8>> {
        listpack.iter().map(Element::to_vec).collect()
    }

    /// What Redis 7.0 has in DUMP for a hash of these elements.
    #[test]
    fn the_bytes_are_those_of_redis() {
        assert_eq!(Listpack::new().as_bytes(), [7, 0, 0, 0, 0, 0, 255]);
        assert_eq!(listpack(&[b"f", b"1"]).as_bytes(), b"\x0c\0\0\0\x02\0\x81f\x02\x01\x01\xff");
        let element = |text: &[u8]| {
            let bytes = listpack(&[text]).as_bytes().to_vec();
            bytes[HEADER..bytes.len() - 1].to_vec()
        };
        assert_eq!(element(b""), [0x80, 1]);
        assert_eq!(element(b"0"), [0, 1]);
        assert_eq!(element(b"127"), [127, 1]);
        assert_eq!(element(b"128"), [0xc0, 128, 2]);
        assert_eq!(element(b"-1"), [0xdf, 0xff, 2]);
        assert_eq!(element(b"4095"), [0xcf, 0xff, 2]);
        assert_eq!(element(b"-4096"), [0xd0, 0, 2]);
        assert_eq!(element(b"4096"), [0xf1, 0, 16, 3]);
        assert_eq!(element(b"-32769"), [0xf2, 0xff, 0x7f, 0xff, 4]);
        assert_eq!(element(b"8388608"), [0xf3, 0, 0, 128, 0, 5]);
        assert_eq!(element(b"-2147483649"), [0xf4, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 9]);
        assert_eq!(element(b"007"), [0x83, b'0', b'0', b'7', 4]);
        assert_eq!(element(b"9223372036854775808")[0], 0x80 | 19);
        let long = element(&[b'x'; 64]);
        assert_eq!((&long[..2], &long[66..]), (&[0xe0, 64][..], &[66][..]));
        let long = element(&[b'x'; 4095]);
        assert_eq!((&long[..2], &long[4097..]), (&[0xef, 0xff][..], &[4097u16.to_be_bytes()[0] * 2, 0x81][..]));
        let long = element(&[b'x'; 4096]);
        assert_eq!((&long[..5], &long[4101..]), (&[0xf0, 0, 16, 0, 0][..], &[32, 0x85][..]));
        assert_eq!(element(&[b'x'; 16_383 - 5])[16_383..], [0, 255, 255]);
        assert_eq!(element(&[b'x'; 2_097_151 - 5])[2_097_151..], [0, 255, 255, 255]);
    }

    #[test]
    fn every_kind_of_element_reads_back_from_both_sides() {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for bits in [0, 7, 12, 15, 23, 31, 62, 63] {
            for near in -2..=2 {
                let number = (1i128 << bits) + near;
                all.extend([number, -number].map(|number| number.to_string().into_bytes()));
            }
        }
        all.extend([0, 1, 63, 64, 65, 126, 127, 4095, 4096, 16_380, 2_097_200].map(|len| vec![b'x'; len]));
        all.extend([&b"-0"[..], b"+1", b" 1", b"1 ", b"00", b"-", b"1e3", b"\xff"].map(<[u8]>::to_vec));
        let mut listpack = Listpack::new();
        all.iter().for_each(|text| listpack.push(text));
        assert_eq!(texts(&listpack), all);
        assert!(listpack.iter().rev().map(Element::to_vec).eq(all.iter().rev().cloned()));
        assert_eq!(Listpack::from_bytes(listpack.as_bytes().to_vec()), Some(listpack.clone()));
        for (index, text) in all.iter().enumerate() {
            let at = listpack.seek(index).expect("it is there");
            assert!(listpack.get(at) == **text && listpack.find(text, at, 0) == Some(at));
        }
        assert_eq!(listpack.seek(all.len()), None);
    }

    #[test]
    fn a_search_can_skip() {
        let pairs = listpack(&[b"a", b"b", b"b", b"7", b"7", b"a"]);
        let first = pairs.first().expect("it is there");
        assert_eq!(pairs.find(b"b", first, 1), pairs.seek(2));
        assert_eq!(pairs.find(b"b", first, 0), pairs.seek(1));
        assert_eq!(pairs.find(b"7", first, 1), pairs.seek(4));
        assert_eq!(pairs.find(b"07", first, 1), None);
        assert_eq!(pairs.find(b"a", pairs.seek(2).expect("it is there"), 1), None);
        assert_eq!(Listpack::new().find(b"", HEADER, 0), None);
    }

    #[test]
    fn what_is_no_listpack_is_refused() {
        let good = listpack(&[b"field", b"1000", b"-70000", &[b'y'; 300]]).as_bytes().to_vec();
        assert!(Listpack::from_bytes(good.clone()).is_some());
        for cut in 0..good.len() {
            assert!(Listpack::from_bytes(good[..cut].to_vec()).is_none());
        }
        // Whatever byte changes, it is refused or can be walked through to the end.
        for at in 0..good.len() {
            for change in 1..=255 {
                let mut bad = good.clone();
                bad[at] ^= change;
                if let Some(listpack) = Listpack::from_bytes(bad) {
                    assert_eq!(listpack.iter().count(), listpack.iter().rev().count());
                }
            }
        }
        assert!(Listpack::from_bytes(vec![7, 0, 0, 0, 1, 0, 255]).is_none());
        assert!(Listpack::from_bytes(vec![8, 0, 0, 0, 255, 255, 255, 255]).is_none());
        assert!(Listpack::from_bytes(vec![9, 0, 0, 0, 1, 0, 0xf5, 1, 255]).is_none());
        assert!(Listpack::from_bytes(b"\x0d\0\0\0\x01\0\xf0\xff\xff\xff\xff\x05\xff".to_vec()).is_none());
        assert!(Listpack::from_bytes(vec![9, 0, 0, 0, 255, 255, 5, 1, 255]).is_some_and(|one| one.len() == 1));
    }

    #[test]
    fn many_elements_are_counted() {
        let mut listpack = Listpack::new();
        (0..65_536).for_each(|_| listpack.push(b""));
        assert_eq!((listpack.len(), listpack.count()), (65_536, UNKNOWN));
        listpack.remove(HEADER, 2);
        assert_eq!(listpack.len(), 65_534);
        assert_eq!(listpack.seek(65_533), listpack.last());
        assert!(Listpack::from_bytes(listpack.as_bytes().to_vec()).is_some());
        listpack.remove(HEADER, usize::MAX);
        assert!(listpack.is_empty() && listpack.iter().next().is_none() && listpack.size() < 100);
    }

    /// Random changes, each made to a vector too.
    #[test]
    fn it_holds_what_a_vector_holds() {
        let mut dice = 11u64;
        let mut roll = |bound: usize| {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (dice >> 33) as usize % bound
        };
        let (mut listpack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
        for step in 0..20_000 {
            let text = match roll(4) {
                0 => (roll(1 << 20) as i64 - (1 << 19)).to_string().into_bytes(),
                1 => ((roll(1 << 30) * roll(1 << 30)) as i64).wrapping_neg().to_string().into_bytes(),
                2 => vec![b'a' + roll(26) as u8; roll(70)],
                _ => vec![b'a'; [126, 127, 128, 4094, 4096][roll(5)]],
            };
            let index = roll(model.len() + 1);
            let at = listpack.seek(index);
            assert_eq!(at.is_some(), index < model.len());
            match (roll(if step / 2_000 % 2 == 0 { 8 } else { 6 }), at) {
                (0, _) | (6, _) => {
                    listpack.push(&text);
                    model.push(text);
                }
                (1, _) => {
                    listpack.push_front(&text);
                    model.insert(0, text);
                }
                (2 | 7, Some(at)) => {
                    listpack.insert(at, &text);
                    model.insert(index, text);
                }
                (3, Some(at)) => {
                    listpack.replace(at, &text);
                    model[index] = text;
                }
                (_, Some(at)) => {
                    let count = roll(5);
                    listpack.remove(at, count);
                    model.drain(index..model.len().min(index + count));
                    assert_eq!(listpack.element(at).is_some(), index < model.len());
                }
                (_, None) => {}
            }
            assert_eq!(listpack.len(), model.len());
            assert!(listpack.size() <= 2 * listpack.bytes() + 2 * SLACK_MIN + 1);
            if step % 64 == 0 {
                assert_eq!(texts(&listpack), model);
                assert_eq!(Listpack::from_bytes(listpack.as_bytes().to_vec()), Some(listpack.clone()));
            }
        }
    }
}
