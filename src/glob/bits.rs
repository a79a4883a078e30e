//! The slow way that is never slower: all beginnings at once.
//!
//! Between two `*` a pattern is a row of elements that take a byte each. A bit for each of them says whether the pattern so
//! far ends at this byte of the text; the next byte shifts them and leaves those that take it. So a text costs its length
//! times a sixty-fourth of the longest such row, whatever is in them, and 32 bytes of memory for each element of it.

use super::{Member, class, element, in_range};

/// Bytes that there are.
const BYTES: usize = 256;

/// Whether `pattern`, behind a `*`, matches some end of `text`.
pub(super) fn matches(mut pattern: &[u8], mut text: &[u8], nocase: bool) -> bool {
    loop {
        let row = Row::of(pattern);
        if row.len > text.len() {
            return false;
        }
        let behind = &pattern[row.bytes..];
        if behind.is_empty() {
            return row.fits(&text[text.len() - row.len..], nocase);
        }
        let Some(end) = row.find(text, nocase) else { return false };
        text = &text[end..];
        let stars = behind.iter().take_while(|byte| **byte == b'*').count();
        pattern = &behind[stars..];
        if pattern.is_empty() {
            return true;
        }
    }
}

/// Elements up to the next `*`.
struct Row<'p> {
    pattern: &'p [u8],
    /// How much of the pattern they are.
    bytes: usize,
    /// How many they are.
    len: usize,
}

impl<'p> Row<'p> {
    fn of(pattern: &'p [u8]) -> Row<'p> {
        let mut row = Row { pattern, bytes: 0, len: 0 };
        while row.bytes < pattern.len() && pattern[row.bytes] != b'*' {
            row.bytes += length(&pattern[row.bytes..]);
            row.len += 1;
        }
        row.pattern = &pattern[..row.bytes];
        row
    }

    /// Whether this is all of a text of its length.
    fn fits(&self, text: &[u8], nocase: bool) -> bool {
        let mut at = 0;
        text.iter().all(|byte| {
            let (matched, used) = element(&self.pattern[at..], *byte, nocase);
            at += used;
            matched
        })
    }

    /// Where the first match ends.
    fn find(&self, text: &[u8], nocase: bool) -> Option<usize> {
        if self.len == 0 {
            return Some(0);
        }
        let takes = Takes::of(self, nocase);
        let last = 1 << ((self.len - 1) % 64);
        let mut state = vec![0u64; takes.words];
        // Words from here on are zero.
        let mut used = 0;
        for (at, byte) in text.iter().enumerate() {
            used = (used + 1).min(takes.words);
            let (own, all) = (&takes.row(*byte)[..used], &takes.all[..used]);
            // From the end, as each word needs what was in the one before it.
            for word in (1..used).rev() {
                state[word] = (state[word] << 1 | state[word - 1] >> 63) & (own[word] | all[word]);
            }
            state[0] = (state[0] << 1 | 1) & (own[0] | all[0]);
            while used > 0 && state[used - 1] == 0 {
                used -= 1;
            }
            if state[takes.words - 1] & last != 0 {
                return Some(at + 1);
            }
        }
        None
    }
}

/// Which elements of a row take which bytes.
struct Takes {
    /// Words of 64 elements in each row of bits.
    words: usize,
    /// A row of bits for each byte.
    each: Vec<u64>,
    /// Elements that take any byte.
    all: Vec<u64>,
}

impl Takes {
    fn of(row: &Row<'_>, nocase: bool) -> Takes {
        let words = row.len.div_ceil(64);
        let mut takes = Takes { words, each: vec![0; words * BYTES], all: vec![0; words] };
        let mut pattern = row.pattern;
        for number in 0..row.len {
            takes.add(number, pattern, nocase);
            pattern = &pattern[length(pattern)..];
        }
        takes
    }

    fn row(&self, byte: u8) -> &[u64] {
        &self.each[usize::from(byte) * self.words..][..self.words]
    }

    /// Adds the element that a pattern begins with.
    fn add(&mut self, number: usize, pattern: &[u8], nocase: bool) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let mut take = |byte: u8| self.each[usize::from(byte) * self.words + word] |= bit;
        let in_either_case = |byte: u8, take: &mut dyn FnMut(u8)| {
            take(byte);
            if nocase {
                take(byte.to_ascii_lowercase());
                take(byte.to_ascii_uppercase());
            }
        };
        match *pattern {
            [b'?', ..] => self.all[word] |= bit,
            [b'[', ref members @ ..] => {
                let mut listed = [false; BYTES];
                let mut list = |byte: u8| listed[usize::from(byte)] = true;
                let (negated, _) = class(members, |member| match member {
                    Member::Exactly(byte) => list(byte),
                    Member::Byte(byte) => in_either_case(byte, &mut list),
                    Member::Range(first, last) => {
                        (0..=u8::MAX).filter(|byte| in_range(first, last, *byte, nocase)).for_each(&mut list);
                    }
                });
                (0..=u8::MAX).filter(|byte| listed[usize::from(*byte)] != negated).for_each(take);
            }
            [b'\\', byte, ..] | [byte, ..] => in_either_case(byte, &mut take),
            [] => {}
        }
    }
}

/// How much of the pattern its first element is.
fn length(pattern: &[u8]) -> usize {
    match *pattern {
        [b'[', ref members @ ..] => 1 + class(members, |_| ()).1,
        [b'\\', _, ..] => 2,
        _ => 1,
    }
}
