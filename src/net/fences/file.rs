//! The form of `cloakroom.fences`: a head, and a record for each sign-out, one behind the other.
//!
//! ```text
//! head:   "CLOAKROOM-FENCE", version (1), the naming key's mark (8 bytes)
//! record: 0xFE, length of the rest (2), CRC-32C of length and rest (4),
//!         deadline in milliseconds of Unix time (8), names: length (1) and bytes, one behind the other
//! ```
//!
//! A deadline of 0 takes back what records before it say of its names. Numbers are big-endian. A name is what a token is called in the store, hashed, without the namespace's prefix. Whatever
//! is between two records that read well is skipped and told, so that a flipped bit costs one record.

use std::io::{self, Read};

use crc::{CRC_32_ISCSI, Crc};

/// A sign-out: hashed names, and until when they are dead, in milliseconds of Unix time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub until: u64,
    pub names: Vec<Vec<u8>>,
}

/// The deadline of names that somebody has signed in with again.
pub(super) const LIFTED: u64 = 0;

const MAGIC: &[u8; 15] = b"CLOAKROOM-FENCE";
const VERSION: u8 = 1;

/// Bytes of the head.
pub(super) const HEAD: usize = MAGIC.len() + 1 + size_of::<u64>();

const MARK: u8 = 0xFE;
/// Mark, length and checksum.
const FRAME: usize = 1 + size_of::<u16>() + size_of::<u32>();
const DEADLINE: usize = size_of::<u64>();

/// Names in one record, few enough that its length fits. More are several records.
const NAMES_MAX: usize = 128;
const RECORD_MAX: usize = DEADLINE + NAMES_MAX * (1 + u8::MAX as usize);

/// Bytes that are read at once.
const READ: usize = 64 * 1024;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The head of a file under this key.
pub(super) fn head(mark: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()] = VERSION;
    head[MAGIC.len() + 1..].copy_from_slice(&mark.to_be_bytes());
    head
}

/// Writes a fence behind others.
pub(super) fn write(out: &mut Vec<u8>, until: u64, names: &[&[u8]]) {
    for names in names.chunks(NAMES_MAX) {
        let start = out.len();
        out.push(MARK);
        out.extend_from_slice(&[0; FRAME - 1]);
        out.extend_from_slice(&until.to_be_bytes());
        for name in names {
            // Hashed names have 23 bytes; a longer one could not be read back.
            let Ok(len) = u8::try_from(name.len()) else { continue };
            out.push(len);
            out.extend_from_slice(name);
        }
        let len = (out.len() - start - FRAME) as u16;
        out[start + 1..start + 3].copy_from_slice(&len.to_be_bytes());
        let sum = checksum(len, &out[start + FRAME..]);
        out[start + 3..start + FRAME].copy_from_slice(&sum.to_be_bytes());
    }
}

fn checksum(len: u16, rest: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&len.to_be_bytes());
    digest.update(rest);
    digest.finalize()
}

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Written under the key with this mark.
    Mark(u64),
    /// Of a version that is not known here.
    Newer(u8),
    /// It, and so the file, was not written to its end.
    Begun,
    /// Nothing that can be read.
    Damaged,
}

/// Reads a file from its beginning, a piece at a time.
pub(super) struct Scanner<R> {
    from: R,
    bytes: Vec<u8>,
    at: usize,
    /// Where in the file `bytes` begins.
    offset: u64,
    is_over: bool,
    /// Where the last thing that read well ended.
    good_end: u64,
    /// Bytes skipped before `good_end`.
    skipped: u64,
}

impl<R: Read> Scanner<R> {
    /// Reads the head.
    pub fn new(from: R) -> io::Result<(Scanner<R>, Head)> {
        let (at, is_over) = (0, false);
        let mut scanner = Scanner { from, bytes: Vec::new(), at, offset: 0, is_over, good_end: 0, skipped: 0 };
        scanner.want(HEAD)?;
        let head = match scanner.bytes.split_at_checked(HEAD) {
            Some((head, _)) if head.starts_with(MAGIC) && head[MAGIC.len()] != VERSION => {
                Head::Newer(head[MAGIC.len()])
            }
            Some((head, _)) if head.starts_with(MAGIC) => {
                let (_, mark) = head.split_last_chunk().unwrap_or((&[], &[0; 8]));
                scanner.at = HEAD;
                scanner.good_end = HEAD as u64;
                Head::Mark(u64::from_be_bytes(*mark))
            }
            None if is_begun(&scanner.bytes) => Head::Begun,
            // What is there instead is looked through for records.
            _ => Head::Damaged,
        };
        Ok((scanner, head))
    }

    /// The next fence that reads well, and the bytes that it is.
    pub fn next(&mut self) -> io::Result<Option<(Fence, &[u8])>> {
        loop {
            self.want(FRAME + RECORD_MAX)?;
            let here = &self.bytes[self.at..];
            if here.is_empty() {
                return Ok(None);
            }
            if let Some((fence, len)) = parse(here) {
                let start = self.at;
                self.skipped += self.offset + start as u64 - self.good_end;
                self.at += len;
                self.good_end = self.offset + self.at as u64;
                return Ok(Some((fence, &self.bytes[start..start + len])));
            }
            self.at += 1;
        }
    }

    /// Where the last record that read well ends, and how many bytes before it do not read well. What comes behind it was
    /// torn.
    pub fn ends(&self) -> (u64, u64) {
        (self.good_end, self.skipped)
    }

    /// Sees to it that so many bytes are there, unless the file ends before.
    fn want(&mut self, len: usize) -> io::Result<()> {
        if self.bytes.len() - self.at >= len || self.is_over {
            return Ok(());
        }
        self.bytes.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let more = (&mut self.from).take(READ.max(len) as u64).read_to_end(&mut self.bytes)?;
        self.is_over = more < READ.max(len);
        Ok(())
    }
}

/// Whether a file that is shorter than a head is the beginning of one, or what a disk may have kept of it: its length.
fn is_begun(bytes: &[u8]) -> bool {
    let known = &bytes[..bytes.len().min(MAGIC.len())];
    MAGIC.starts_with(known) || bytes.iter().all(|byte| *byte == 0)
}

fn parse(bytes: &[u8]) -> Option<(Fence, usize)> {
    let (frame, rest) = bytes.split_at_checked(FRAME)?;
    let (len, sum) = (u16::from_be_bytes([frame[1], frame[2]]), frame.last_chunk()?);
    if frame[0] != MARK {
        return None;
    }
    let rest = rest.get(..usize::from(len))?;
    if checksum(len, rest) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (until, mut names) = rest.split_first_chunk()?;
    let mut fence = Fence { until: u64::from_be_bytes(*until), names: Vec::new() };
    while let Some((len, rest)) = names.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        fence.names.push(name.to_vec());
        names = rest;
    }
    Some((fence, FRAME + usize::from(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fences() -> Vec<Fence> {
        let name = |number: u64| format!("~{number:022}").into_bytes();
        (0..12).map(|number| Fence { until: 1000 + number, names: (0..=number % 5).map(name).collect() }).collect()
    }

    fn file() -> Vec<u8> {
        let mut bytes = head(7).to_vec();
        for fence in fences() {
            let names: Vec<&[u8]> = fence.names.iter().map(Vec::as_slice).collect();
            write(&mut bytes, fence.until, &names);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Head, Vec<Fence>, (u64, u64)) {
        let (mut scanner, head) = Scanner::new(bytes).expect("bytes");
        let mut read = Vec::new();
        while let Some((fence, _)) = scanner.next().expect("bytes") {
            read.push(fence);
        }
        (head, read, scanner.ends())
    }

    #[test]
    fn what_was_written_reads_back() {
        let bytes = file();
        assert_eq!(read(&bytes), (Head::Mark(7), fences(), (bytes.len() as u64, 0)));
        assert_eq!(read(b"CLOCK"), (Head::Damaged, Vec::new(), (0, 0)));
        let begun = (Head::Begun, Vec::new(), (0, 0));
        (0..HEAD).for_each(|len| assert_eq!(read(&bytes[..len]), begun));
        assert_eq!(read(&[0; HEAD - 1]), begun);
        let mut newer = bytes.clone();
        newer[MAGIC.len()] = 9;
        assert_eq!(read(&newer).0, Head::Newer(9));
        // More names than a record holds.
        let mut bytes = head(7).to_vec();
        let names: Vec<Vec<u8>> = (0..300).map(|number| format!("{number}").into_bytes()).collect();
        write(&mut bytes, 5, &names.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let (_, read, _) = read(&bytes);
        assert_eq!(read.iter().map(|fence| fence.names.len()).collect::<Vec<_>>(), [128, 128, 44]);
        assert_eq!(read.into_iter().flat_map(|fence| fence.names).collect::<Vec<_>>(), names);
    }

    #[test]
    fn a_torn_tail_is_told_and_costs_what_was_torn() {
        let bytes = file();
        for len in HEAD..bytes.len() {
            let (_, read, (good, skipped)) = read(&bytes[..len]);
            assert_eq!((&read[..], skipped), (&fences()[..read.len()], 0), "{len}");
            assert!(good <= len as u64 && len as u64 - good < 140, "{len}: {good}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_at_most() {
        let bytes = file();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let (head, read, (good, skipped)) = read(&flipped);
            if at < HEAD {
                assert_eq!(read, if matches!(head, Head::Newer(_)) { read.clone() } else { fences() }, "{at}");
                continue;
            }
            assert_eq!(read.len(), fences().len() - 1, "{at}");
            assert!(read.iter().all(|fence| fences().contains(fence)));
            // Told as damage, or, in the last record, as a torn tail.
            assert!(skipped > 0 || good < bytes.len() as u64, "{at}");
        }
    }

    #[test]
    fn a_file_larger_than_what_is_read_at_once() {
        let mut bytes = head(1).to_vec();
        for until in 0..10_000 {
            write(&mut bytes, until, &[format!("~{until:022}").as_bytes()]);
        }
        bytes[100_000] ^= 1;
        let (_, read, (good, skipped)) = read(&bytes);
        assert_eq!((read.len(), good), (9_999, bytes.len() as u64));
        assert_eq!(skipped, (FRAME + DEADLINE + 24) as u64);
    }
}
