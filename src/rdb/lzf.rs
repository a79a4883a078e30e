//! LZF, in which Redis compresses long strings. It is only read: what is written here stays plain.

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
    fn repetitions_and_plain_bytes_are_unpacked() {
        assert_eq!(unpack(&[0, b'a', 0xe0, 9, 0], 19).as_deref(), Some(&[b'a'; 19][..]));
        assert_eq!(unpack(&[2, b'a', b'b', b'c', 0x20, 2], 6).as_deref(), Some(&b"abcabc"[..]));
        for broken in [&[5, b'a'][..], &[0x20], &[0x20, 0], &[0xe0], &[0xe0, 1], &[0, b'a', 0x20, 7]] {
            assert_eq!(unpack(broken, 3), None, "{broken:?}");
        }
        assert_eq!(unpack(&[0, b'a'], 2), None);
    }
}
