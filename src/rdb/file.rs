//! Whole RDB files: what is in front, the databases with their entries, and the checksum at the end.
//!
//! Neither side touches a disk. A [`Writer`] gathers bytes that its owner takes away whenever there are enough; a
//! [`Reader`] is shown what has been read so far and says what is next in it, or that it needs more. Entries are written
//! and read as DUMP has them, so that nothing here knows what a value is; types that Redis has and this server has not are
//! named, for whoever has to explain why a file is refused.

use std::borrow::Cow;
use std::fmt;

use crc::{Digest, Table};

use super::kind::*;
use super::lzf::Packer;
use super::{CHECKSUM, LZF, NEWEST, Reader as Parts, SPECIAL, VERSION, put_len, put_string};

/// What a file begins with, before four digits of its version.
const MAGIC: &[u8; 5] = b"REDIS";
const HEAD: usize = MAGIC.len() + 4;
const CHECKSUM_LEN: usize = 8;

/// What is no type of a value.
const SLOT_INFO: u8 = 244;
const MODULE_AUX: u8 = 247;
const IDLE: u8 = 248;
const FREQ: u8 = 249;
const AUX: u8 = 250;
const SIZES: u8 = 251;
const EXPIRES_MILLIS: u8 = 252;
const EXPIRES_SECONDS: u8 = 253;
const DATABASE: u8 = 254;
const END: u8 = 255;

/// Strings below this gain nothing from being packed, as Redis has it too.
const PACKED_MIN: usize = 21;

/// The longest name or value of an auxiliary field that is read: far more than any that is written.
const AUX_MAX: usize = 16 << 20;

/// Writes a file, from its first byte to its checksum.
pub struct Writer {
    out: Vec<u8>,
    /// Bytes of `out` that are in the checksum.
    summed: usize,
    digest: Option<Digest<'static, u64, Table<16>>>,
    packer: Option<Packer>,
}

impl Writer {
    /// Begins a file, with strings packed or plain, and with a checksum or zeros in its place.
    pub fn new(packed: bool, checksum: bool) -> Writer {
        let digest = checksum.then(|| CHECKSUM.digest());
        let mut writer = Writer { out: Vec::new(), summed: 0, digest, packer: packed.then(Packer::default) };
        writer.out.extend_from_slice(MAGIC);
        writer.out.extend_from_slice(format!("{VERSION:04}").as_bytes());
        writer
    }

    /// Writes a field that readers who do not know it pass over.
    pub fn aux(&mut self, name: &str, value: &[u8]) {
        self.out.push(AUX);
        put_string(&mut self.out, name.as_bytes());
        put_string(&mut self.out, value);
    }

    /// Writes the text of a library of functions.
    pub fn function(&mut self, code: &[u8]) {
        self.out.push(FUNCTION);
        put_string(&mut self.out, code);
    }

    /// Begins a database that has about so many entries, and so many of them with a deadline.
    pub fn database(&mut self, number: usize, entries: usize, expiring: usize) {
        self.out.push(DATABASE);
        put_len(&mut self.out, number);
        self.out.push(SIZES);
        put_len(&mut self.out, entries);
        put_len(&mut self.out, expiring);
    }

    /// Writes an entry: its key, its deadline in Unix milliseconds if it has one, and type and content as DUMP has them
    /// in front of its seal.
    pub fn entry(&mut self, key: &[u8], deadline: Option<u64>, dumped: &[u8]) {
        let Some((kind, content)) = dumped.split_first() else { return };
        if let Some(deadline) = deadline {
            self.out.push(EXPIRES_MILLIS);
            // It is read with a sign, by Redis too.
            let deadline = i64::try_from(deadline).unwrap_or(i64::MAX);
            self.out.extend_from_slice(&deadline.to_le_bytes());
        }
        self.out.push(*kind);
        put_string(&mut self.out, key);
        let start = self.out.len();
        if self.packer.is_none() || self.content(*kind, content).is_none() {
            self.out.truncate(start);
            self.out.extend_from_slice(content);
        }
    }

    /// Writes a value with its long strings packed; `None` if it is of a type whose strings are left as they are.
    fn content(&mut self, kind: u8, content: &[u8]) -> Option<()> {
        let mut parts = Parts::new(content);
        match kind {
            LIST_LISTPACKS => {
                let pieces = parts.count()?;
                put_len(&mut self.out, pieces);
                for _ in 0..pieces {
                    put_len(&mut self.out, parts.count()?);
                    self.string(&mut parts)?;
                }
            }
            kind if is_one_string(kind) => self.string(&mut parts)?,
            _ => return None,
        }
        parts.is_done().then_some(())
    }

    /// Takes the next string over, packed if that makes it shorter.
    fn string(&mut self, parts: &mut Parts<'_>) -> Option<()> {
        let plain = parts.string(usize::MAX)?;
        let packer = self.packer.as_mut()?;
        match packer.pack(&plain).filter(|_| plain.len() >= PACKED_MIN) {
            Some(packed) => {
                self.out.push(SPECIAL << 6 | LZF);
                put_len(&mut self.out, packed.len());
                put_len(&mut self.out, plain.len());
                self.out.extend_from_slice(packed);
            }
            None => put_string(&mut self.out, &plain),
        }
        Some(())
    }

    /// Ends the file.
    pub fn end(&mut self) {
        self.out.push(END);
        self.sum();
        let checksum = self.digest.take().map_or(0, |digest| digest.finalize());
        self.out.extend_from_slice(&checksum.to_le_bytes());
    }

    fn sum(&mut self) {
        if let Some(digest) = &mut self.digest {
            digest.update(&self.out[self.summed..]);
        }
        self.summed = self.out.len();
    }

    /// Bytes that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Hands the bytes that wait to whoever writes them.
    pub fn take<R>(&mut self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.sum();
        let result = f(&self.out);
        self.out.clear();
        self.summed = 0;
        result
    }
}

/// What a file has in one place.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A field about the file.
    Aux(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// From here on entries belong to this database.
    Database(usize),
    /// About how many entries it has.
    Sizes(usize),
    /// An entry.
    Entry {
        /// Its key.
        key: Cow<'a, [u8]>,
        /// When it dies, in Unix milliseconds, if it does.
        deadline: Option<u64>,
        /// Type and encoding.
        kind: u8,
        /// What Redis has behind them.
        content: &'a [u8],
    },
    /// A library of functions.
    Function(Cow<'a, [u8]>),
    /// Nothing more, and the checksum is right.
    End,
}

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is something else.
    NotRdb,
    /// Its version is not known.
    Version(u16),
    /// It holds a value of a type that is not here.
    Type(u8),
    /// It makes no sense, at this byte.
    Nonsense(u64),
    /// The checksum at its end is another.
    Checksum,
    /// It ends too early, at this byte.
    Short(u64),
    /// Something comes behind its end, at this byte.
    Behind(u64),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::NotRdb => write!(f, "it is no RDB file"),
            Flaw::Version(version) => {
                write!(f, "its version is {version}, and versions from 1 to {NEWEST} are read")
            }
            Flaw::Type(kind) => write!(f, "it holds {}, which this server does not have", type_name(*kind)),
            Flaw::Nonsense(at) => write!(f, "it is damaged at byte {at}"),
            Flaw::Checksum => write!(f, "its checksum is wrong, so something in it is damaged"),
            Flaw::Short(at) => write!(f, "it ends too early, at byte {at}: it is cut off or damaged"),
            Flaw::Behind(at) => write!(f, "there is something behind its end, at byte {at}"),
        }
    }
}

impl std::error::Error for Flaw {}

/// What a type that is not here is called.
fn type_name(kind: u8) -> String {
    match kind {
        6 | 7 | MODULE_AUX => "a module's value".into(),
        9 => "a hash of a Redis before 2.6".into(),
        15 | 19 | 21 => "a stream".into(),
        22..=25 => "a hash whose fields have deadlines".into(),
        OLD_FUNCTION => "functions of a preview of Redis 7".into(),
        other => format!("a value of the unknown type {other}"),
    }
}

/// The answer to what is next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// More bytes have to be read before anything can be said.
    More,
    /// This, which takes so many bytes.
    Part(usize, Part<'a>),
}

/// Reads a file, shown to it from where it stands.
pub struct Reader {
    /// Bytes that were read.
    at: u64,
    version: u16,
    digest: Digest<'static, u64, Table<16>>,
    /// The longest string that is taken.
    most: usize,
}

impl Reader {
    /// Begins with the first byte of a file; `most` is the longest string that is taken.
    pub fn new(most: usize) -> Reader {
        Reader { at: 0, version: 0, digest: CHECKSUM.digest(), most }
    }

    /// What is next in `bytes`, the first of which is the one behind what was taken so far; `is_all` says that nothing
    /// comes behind them.
    pub fn next<'a>(&mut self, bytes: &'a [u8], is_all: bool) -> Result<Next<'a>, Flaw> {
        let mut parts = Parts::new(bytes);
        if self.version == 0 {
            let Some(head) = parts.take(HEAD) else {
                let fits = MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]);
                return if fits { self.more(bytes, is_all) } else { Err(Flaw::NotRdb) };
            };
            let digits = head.strip_prefix(MAGIC).ok_or(Flaw::NotRdb)?;
            let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
            if !(1..=NEWEST).contains(&version) {
                return Err(if version == 0 { Flaw::NotRdb } else { Flaw::Version(version) });
            }
            self.version = version;
            self.took(head);
            return match self.next(&bytes[HEAD..], is_all)? {
                // The head is no part of its own; who asks again shows it no more.
                Next::Part(len, part) => Ok(Next::Part(len + HEAD, part)),
                Next::More => {
                    (self.at, self.version, self.digest) = (0, 0, CHECKSUM.digest());
                    Ok(Next::More)
                }
            };
        }
        match self.part(&mut parts)? {
            Some(part) => {
                let len = bytes.len() - parts.left();
                if part == Part::End {
                    if parts.left() == 0 && !is_all {
                        // Something may come behind it.
                        return Ok(Next::More);
                    }
                    self.took(&bytes[..1]);
                    self.check_end(&bytes[1..len])?;
                    if parts.left() > 0 {
                        return Err(Flaw::Behind(self.at + CHECKSUM_LEN as u64));
                    }
                } else {
                    self.took(&bytes[..len]);
                }
                Ok(Next::Part(len, part))
            }
            None if parts.is_short() => self.more(bytes, is_all),
            None => Err(Flaw::Nonsense(self.at + (bytes.len() - parts.left()) as u64)),
        }
    }

    fn more<'a>(&self, bytes: &[u8], is_all: bool) -> Result<Next<'a>, Flaw> {
        if is_all { Err(Flaw::Short(self.at + bytes.len() as u64)) } else { Ok(Next::More) }
    }

    fn took(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.at += bytes.len() as u64;
    }

    fn check_end(&self, checksum: &[u8]) -> Result<(), Flaw> {
        let Some(checksum) = checksum.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else { return Ok(()) };
        // Zero says that there is none.
        if checksum == 0 || checksum == self.digest.clone().finalize() { Ok(()) } else { Err(Flaw::Checksum) }
    }

    /// The next part; `None` if it does not fit.
    fn part<'a>(&self, parts: &mut Parts<'a>) -> Result<Option<Part<'a>>, Flaw> {
        let mut deadline = None;
        loop {
            let Some(code) = parts.byte() else { return Ok(None) };
            let passed = match code {
                EXPIRES_MILLIS => parts.take(8).and_then(|bytes| bytes.first_chunk()).map(|bytes| {
                    deadline = Some(i64::from_le_bytes(*bytes).max(0) as u64);
                }),
                EXPIRES_SECONDS => parts.take(4).and_then(|bytes| bytes.first_chunk()).map(|bytes| {
                    deadline = Some(i32::from_le_bytes(*bytes).max(0) as u64 * 1000);
                }),
                // How seldom or often it was used; eviction begins to learn anew.
                IDLE => parts.count().map(|_| ()),
                FREQ => parts.byte().map(|_| ()),
                SLOT_INFO => (0..3).try_for_each(|_| parts.count().map(|_| ())),
                AUX => return Ok(self.aux(parts)),
                SIZES => return Ok(parts.count().and_then(|entries| parts.count().map(|_| Part::Sizes(entries)))),
                DATABASE => return Ok(parts.count().map(Part::Database)),
                FUNCTION => return Ok(parts.string(self.most).map(Part::Function)),
                // Before version 5 there was no checksum.
                END if self.version < 5 => return Ok(Some(Part::End)),
                END => return Ok(parts.take(CHECKSUM_LEN).map(|_| Part::End)),
                OLD_FUNCTION | MODULE_AUX => return Err(Flaw::Type(code)),
                kind => return self.entry(kind, deadline, parts),
            };
            if passed.is_none() {
                return Ok(None);
            }
        }
    }

    fn aux<'a>(&self, parts: &mut Parts<'a>) -> Option<Part<'a>> {
        Some(Part::Aux(parts.string(AUX_MAX)?, parts.string(AUX_MAX)?))
    }

    fn entry<'a>(&self, kind: u8, deadline: Option<u64>, parts: &mut Parts<'a>) -> Result<Option<Part<'a>>, Flaw> {
        let Some(key) = parts.string(self.most) else { return Ok(None) };
        let (behind, left) = (parts.clone(), parts.left());
        let Some(()) = skip(kind, self.most, parts).map_err(Flaw::Type)? else { return Ok(None) };
        let mut content = behind;
        Ok(content.take(left - parts.left()).map(|content| Part::Entry { key, deadline, kind, content }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(packed: bool, checksum: bool) -> Vec<u8> {
        let mut writer = Writer::new(packed, checksum);
        writer.aux("redis-ver", b"7.0.15");
        writer.database(3, 2, 1);
        let mut out = writer.take(<[u8]>::to_vec);
        let text = b"the same and the same and the same and the same ".repeat(4);
        let mut dumped = vec![STRING];
        put_string(&mut dumped, &text);
        writer.entry(b"text", Some(1_700_000_000_123), &dumped);
        writer.entry(b"12", None, &[SET, 2, 1, b'a', 1, b'b']);
        writer.end();
        out.extend(writer.take(<[u8]>::to_vec));
        out
    }

    /// The parts of a file, shown to the reader so many bytes at a time.
    fn read(file: &[u8], step: usize) -> Result<Vec<String>, Flaw> {
        let (mut reader, mut parts, mut from, mut to) = (Reader::new(1 << 20), Vec::new(), 0, 0);
        loop {
            match reader.next(&file[from..to], to == file.len())? {
                Next::More => to = (to + step).min(file.len()),
                Next::Part(len, part) => {
                    from += len;
                    let is_end = part == Part::End;
                    parts.push(format!("{part:?}"));
                    if is_end {
                        assert_eq!(from, file.len());
                        return Ok(parts);
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_reads_back_in_pieces_of_any_size() {
        let plain = read(&written(false, true), usize::MAX / 2).expect("a whole file");
        assert_eq!(plain.len(), 6);
        assert_eq!(plain[1], "Database(3)");
        assert!(plain[4].starts_with("Entry { key: [49, 50], deadline: None, kind: 2"), "{}", plain[4]);
        for packed in [false, true] {
            for step in [1, 2, 7, 1000] {
                let parts = read(&written(packed, step != 2), step).expect("a whole file");
                assert_eq!(parts.len(), 6);
                assert!(parts[3].starts_with("Entry { key: [116, 101, 120, 116], deadline: Some(1700000000123)"));
            }
        }
        assert!(written(true, true).len() + 100 < written(false, true).len());
    }

    #[test]
    fn what_dies_later_than_can_be_written_is_not_dead() {
        for (deadline, read_back) in [(u64::MAX - 1, i64::MAX as u64), (i64::MAX as u64, i64::MAX as u64), (0, 0)] {
            let mut writer = Writer::new(false, true);
            writer.entry(b"k", Some(deadline), &[STRING, 1, b'v']);
            writer.end();
            let parts = read(&writer.take(<[u8]>::to_vec), 64).expect("a whole file");
            assert!(parts[0].contains(&format!("deadline: Some({read_back})")), "{}", parts[0]);
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let file = written(true, true);
        for at in 0..file.len() {
            assert!(matches!(read(&file[..at], 64), Err(Flaw::Short(_))), "cut at {at}");
            for bit in 0..8 {
                let mut broken = file.clone();
                broken[at] ^= 1 << bit;
                assert!(read(&broken, 64).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert_eq!(read(&[&file[..], b"x"].concat(), 64), Err(Flaw::Behind(file.len() as u64)));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let flaw = |text: &[u8]| read(&[text, &[0; 20]].concat(), 64).expect_err("refused").to_string();
        assert_eq!(flaw(b"REDIS9999\xff"), "its version is 9999, and versions from 1 to 12 are read");
        assert_eq!(flaw(b"REDIS0010\x15\x01k"), "it holds a stream, which this server does not have");
        assert_eq!(flaw(b"REDIS0010\x07\x01k"), "it holds a module's value, which this server does not have");
        assert_eq!(flaw(b"PNG"), "it is no RDB file");
        assert_eq!(flaw(b"REDIS0010\x00\x01k\xff"), "it is damaged at byte 13");
    }
}
