//! LZF, in which Redis compresses long strings in its files.

/// The farthest that a repetition reaches back, its longest length, and the most plain bytes in a row.
const FAR: usize = 1 << 13;
const COUNT_MAX: usize = 264;
const PLAIN_MAX: usize = 32;
/// What is looked for: so many bytes that came before.
const LEAST: usize = 3;
/// Places that are remembered, by a hash of the bytes there.
const PLACES: usize = 1 << 13;

/// Packs strings, one after the other.
pub struct Packer {
    /// Where three bytes of a hash were last seen, counted from `base` on, so that a new string need not clear it.
    places: Box<[u32]>,
    base: u32,
    out: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer { places: vec![0; PLACES].into(), base: 1, out: Vec::new() }
    }
}

impl Packer {
    /// Packs a string; `None` if that would not make it shorter.
    pub fn pack(&mut self, plain: &[u8]) -> Option<&[u8]> {
        let len = u32::try_from(plain.len()).ok().filter(|len| *len < u32::MAX / 2)?;
        if self.base > u32::MAX / 2 {
            self.places.fill(0);
            self.base = 1;
        }
        self.out.clear();
        let (mut at, mut copied) = (0, 0);
        while let Some([a, b, c]) = plain.get(at..).and_then(|rest| rest.first_chunk::<LEAST>()) {
            let word = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
            let place = &mut self.places[(word.wrapping_mul(0x9e37_79b1) >> 19) as usize % PLACES];
            let before = std::mem::replace(place, self.base + at as u32).checked_sub(self.base).map(|at| at as usize);
            let near = before.filter(|before| at - before <= FAR && plain[*before..].starts_with(&[*a, *b, *c]));
            let Some(before) = near else {
                at += 1;
                continue;
            };
            let most = COUNT_MAX.min(plain.len() - at);
            let count = (LEAST..most).find(|count| plain[before + count] != plain[at + count]).unwrap_or(most);
            self.put_plain(&plain[copied..at]);
            self.put_copy(count, at - before - 1);
            at += count;
            copied = at;
            if self.out.len() >= plain.len() {
                break;
            }
        }
        self.put_plain(&plain[copied..]);
        self.base += len;
        (self.out.len() < plain.len()).then_some(&self.out)
    }

    fn put_plain(&mut self, plain: &[u8]) {
        for row in plain.chunks(PLAIN_MAX) {
            self.out.push(row.len() as u8 - 1);
            self.out.extend_from_slice(row);
        }
    }

    fn put_copy(&mut self, count: usize, distance: usize) {
        let (high, low) = ((distance >> 8) as u8, distance as u8);
        match count - 2 {
            short @ ..LONG => self.out.push((short as u8) << 5 | high),
            long => self.out.extend_from_slice(&[(LONG as u8) << 5 | high, (long - LONG) as u8]),
        }
        self.out.push(low);
    }
}

/// Bytes below this say how many plain bytes follow, less one.
const LITERAL: u8 = 1 << 5;
/// A length of a repetition that goes on in the next byte.
const LONG: usize = 7;

/// Unpacks to exactly so many bytes. Memory is taken as it is filled, and each byte of input yields at most some 130.
pub fn unpack(mut packed: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let [control, rest @ ..] = packed {
        if *control < LITERAL {
            let (plain, rest) = rest.split_at_checked(usize::from(*control) + 1)?;
            out.extend_from_slice(plain);
            packed = rest;
        } else {
            let mut count = usize::from(control >> 5);
            let mut rest = rest;
            if count == LONG {
                let [more, behind @ ..] = rest else { return None };
                count += usize::from(*more);
                rest = behind;
            }
            let [low, behind @ ..] = rest else { return None };
            let distance = (usize::from(control & 0x1f) << 8 | usize::from(*low)) + 1;
            let start = out.len().checked_sub(distance)?;
            // What is repeated may overlap what it makes.
            for at in start..start + count + 2 {
                out.push(out[at]);
            }
            packed = behind;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks() {
        let mut packer = Packer::default();
        let mut dice = 1u64;
        let mut next = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        for round in 0..2_000 {
            let (len, letters) = (next(3_000) as usize, 1 + next(if round % 3 == 0 { 256 } else { 5 }));
            let plain: Vec<u8> = (0..len).map(|_| next(letters) as u8).collect();
            if let Some(packed) = packer.pack(&plain) {
                assert!(packed.len() < plain.len());
                assert_eq!(unpack(packed, plain.len()).as_deref(), Some(&plain[..]));
            }
        }
        let long = b"a session is much like the other ".repeat(3_000);
        let packed = packer.pack(&long).expect("shorter");
        assert!(packed.len() < long.len() / 50);
        assert_eq!(unpack(packed, long.len()).as_deref(), Some(&long[..]));
        assert_eq!(packer.pack(b"abcdefghijklmnopqrstuvwxyz"), None);
    }

    #[test]
    fn repetitions_and_plain_bytes_are_unpacked() {
        assert_eq!(unpack(&[0, b'a', 0xe0, 9, 0], 19).as_deref(), Some(&[b'a'; 19][..]));
        assert_eq!(unpack(&[2, b'a', b'b', b'c', 0x20, 2], 6).as_deref(), Some(&b"abcabc"[..]));
        for broken in [&[5, b'a'][..], &[0x20], &[0x20, 0], &[0xe0], &[0xe0, 1], &[0, b'a', 0x20, 7]] {
            assert_eq!(unpack(broken, 3), None, "{broken:?}");
        }
        assert_eq!(unpack(&[0, b'a'], 2), None);
    }
}
