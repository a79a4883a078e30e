//! Redis' RDB format: lengths, strings, doubles, lists packed in one string, the seal of a DUMP, and whole [files](mod@file).
//!
//! What a value of each type is made of is the store's affair; here is only how the parts are written and read. What is read
//! may be anything: every length is checked against the bytes that are there before anything is reserved.

pub mod file;
pub(crate) mod kind;
mod lzf;
mod ziplist;

use std::borrow::Cow;

use crc::{CRC_64_REDIS, Crc, Table};

pub use ziplist::ziplist;

use crate::num;

/// The version that a DUMP is sealed with: that of Redis 7.0, so that older servers of the same generation take it.
const VERSION: u16 = 10;
/// The newest version that is read: that of Redis 7.4. What it brought are types that are refused by their numbers.
const NEWEST: u16 = 12;

/// Version and checksum behind a payload.
const SEAL: usize = 2 + 8;

const CHECKSUM: &Crc<u64, Table<16>> = &Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The first two bits of a length.
const SIX_BITS: u8 = 0;
const FOURTEEN_BITS: u8 = 1;
const SPECIAL: u8 = 3;
/// Lengths of four and eight bytes.
const FOUR_BYTES: u8 = 0x80;
const EIGHT_BYTES: u8 = 0x81;

/// What a special length says: integers of one, two and four bytes, and a compressed string.
const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

/// Writes a length.
pub fn put_len(out: &mut Vec<u8>, len: usize) {
    match len as u64 {
        len @ 0..0x40 => out.push(len as u8),
        len @ 0x40..0x4000 => out.extend_from_slice(&(FOURTEEN_BITS_MARK | len as u16).to_be_bytes()),
        len => match u32::try_from(len) {
            Ok(len) => {
                out.push(FOUR_BYTES);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(EIGHT_BYTES);
                out.extend_from_slice(&len.to_be_bytes());
            }
        },
    }
}

const FOURTEEN_BITS_MARK: u16 = (FOURTEEN_BITS as u16) << 14;

/// Writes a string, as an integer where it is a short one.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let number = num::parse_i64(bytes).and_then(|number| i32::try_from(number).ok());
    match number {
        None => {
            put_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
        Some(number) => {
            if let Ok(number) = i8::try_from(number) {
                out.extend_from_slice(&[SPECIAL << 6 | INT_8, number as u8]);
            } else if let Ok(number) = i16::try_from(number) {
                out.push(SPECIAL << 6 | INT_16);
                out.extend_from_slice(&number.to_le_bytes());
            } else {
                out.push(SPECIAL << 6 | INT_32);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }
}

/// Writes a double in its eight bytes.
pub fn put_double(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Puts version and checksum behind a payload.
pub fn seal(out: &mut Vec<u8>) {
    out.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = CHECKSUM.checksum(out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The payload, if its version is known and its checksum right. A checksum of zero says that there is none.
pub fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (payload, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL)?)?;
    let (version, checksum) = seal.split_at(2);
    let version = u16::from_le_bytes(*version.first_chunk()?);
    let checksum = u64::from_le_bytes(*checksum.first_chunk()?);
    let right = || CHECKSUM.checksum(&sealed[..sealed.len() - 8]) == checksum;
    (version <= NEWEST && (checksum == 0 || right())).then_some(payload)
}

/// To how many bytes the strings of a payload that are packed say they unpack, none of more than `most`. What they unpack to
/// beyond that is refused.
pub fn unpacks(payload: &[u8], most: usize) -> usize {
    let Some((kind, content)) = payload.split_first() else { return 0 };
    let mut reader = Reader::new(content);
    // What cannot be passed over is read no further either.
    let _ = kind::skip(*kind, most, &mut reader);
    reader.unpacks
}

/// Reads parts one after the other. What does not fit is `None`, and then nothing after it means anything.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    short: bool,
    /// What the packed strings that were passed over say they unpack to.
    unpacks: usize,
}

/// What stands where a length is expected.
enum Len {
    Plain(u64),
    Special(u8),
}

impl<'a> Reader<'a> {
    /// Begins with the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, short: false, unpacks: 0 }
    }

    /// Whether what did not fit would have needed more bytes than there were.
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Whether all has been read.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            self.short = true;
            return None;
        };
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn len_or_special(&mut self) -> Option<Len> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Some(match first >> 6 {
            SIX_BITS => Len::Plain(low.into()),
            FOURTEEN_BITS => Len::Plain(u64::from(low) << 8 | u64::from(self.byte()?)),
            SPECIAL => Len::Special(low),
            _ if first == FOUR_BYTES => Len::Plain(u32::from_be_bytes(self.array()?).into()),
            _ if first == EIGHT_BYTES => Len::Plain(u64::from_be_bytes(self.array()?)),
            _ => return None,
        })
    }

    /// A length, or a number of elements. Nothing says yet that so many are there.
    pub fn count(&mut self) -> Option<usize> {
        match self.len_or_special()? {
            Len::Plain(len) => usize::try_from(len).ok(),
            Len::Special(_) => None,
        }
    }

    /// A string of at most so many bytes.
    pub fn string(&mut self, most: usize) -> Option<Cow<'a, [u8]>> {
        let number = |number: i32| Some(Cow::Owned(number.to_string().into_bytes()));
        match self.len_or_special()? {
            Len::Plain(len) => {
                let len = usize::try_from(len).ok().filter(|len| *len <= most)?;
                self.take(len).map(Cow::Borrowed)
            }
            Len::Special(INT_8) => number(i8::from_le_bytes(self.array()?).into()),
            Len::Special(INT_16) => number(i16::from_le_bytes(self.array()?).into()),
            Len::Special(INT_32) => number(i32::from_le_bytes(self.array()?)),
            Len::Special(LZF) => {
                let (packed, plain) = (self.count()?, self.count()?);
                lzf::unpack(self.take(packed)?, Some(plain).filter(|plain| *plain <= most)?).map(Cow::Owned)
            }
            Len::Special(_) => None,
        }
    }

    /// Passes over a string of at most so many bytes, packed or not, without looking into it.
    pub fn skip_string(&mut self, most: usize) -> Option<()> {
        let len = match self.len_or_special()? {
            Len::Plain(len) => usize::try_from(len).ok()?,
            Len::Special(INT_8) => 1,
            Len::Special(INT_16) => 2,
            Len::Special(INT_32) => 4,
            Len::Special(LZF) => {
                let packed = self.count()?;
                let plain = self.count().filter(|plain| *plain <= most)?;
                self.unpacks = self.unpacks.saturating_add(plain);
                packed
            }
            Len::Special(_) => return None,
        };
        (len <= most).then(|| self.take(len))?.map(|_| ())
    }

    /// A double in its eight bytes.
    pub fn double(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A double as text, as sorted sets had it before Redis 5.
    pub fn double_text(&mut self) -> Option<f64> {
        match self.byte()? {
            253 => Some(f64::NAN),
            254 => Some(f64::INFINITY),
            255 => Some(f64::NEG_INFINITY),
            len => num::parse_f64(self.take(len.into())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_strings_come_back() {
        let strings: Vec<Vec<u8>> = [0, 1, 63, 64, 16_383, 16_384, 70_000].map(|len| vec![b'x'; len]).into();
        let numbers =
            ["0", "-1", "127", "-128", "128", "-32768", "32768", "2147483647", "-2147483648", "2147483648", "007"];
        let mut out = Vec::new();
        let all = || strings.iter().map(Vec::as_slice).chain(numbers.map(str::as_bytes));
        all().for_each(|string| put_string(&mut out, string));
        put_double(&mut out, -0.5);
        let mut reader = Reader::new(&out);
        for string in all() {
            assert_eq!(reader.string(70_000).as_deref(), Some(string));
        }
        assert_eq!((reader.double(), reader.is_done()), (Some(-0.5), true));
        let mut short = Vec::new();
        put_string(&mut short, b"12345");
        assert_eq!(short, [0xc1, 0x39, 0x30]);
    }

    #[test]
    fn a_length_that_is_announced_reserves_nothing() {
        assert_eq!(Reader::new(&[EIGHT_BYTES, 0x7f, 255, 255, 255, 255, 255, 255, 255]).string(usize::MAX), None);
        // A compressed string of four bytes that says it is of four gigabytes.
        let bomb = [0xc3, 4, FOUR_BYTES, 255, 255, 255, 255, 0x20, b'a', 0, 0];
        assert_eq!(Reader::new(&bomb).string(usize::MAX), None);
        assert_eq!(Reader::new(&[FOUR_BYTES, 0, 0, 0, 9, 1]).string(8), None);
    }

    /// What redis-server 7.0.15 answered to DUMP of the string `hello`.
    #[test]
    fn a_seal_is_the_one_that_redis_puts() {
        let mut dump = vec![0];
        put_string(&mut dump, b"hello");
        seal(&mut dump);
        let redis = b"\x00\x05hello\x0a\x00cr\xdfve4 \n";
        assert_eq!(dump, redis);
        assert_eq!(unseal(redis), Some(&redis[..7]));
        let mut broken = redis.to_vec();
        broken[3] ^= 1;
        assert_eq!(unseal(&broken), None);
        assert_eq!(unseal(&redis[..9]), None);
    }
}
