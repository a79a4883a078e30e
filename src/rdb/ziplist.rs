//! Ziplists, in which Redis packed short collections before version 7. They are only read.

use super::Reader;

/// Bytes in front: length in bytes, where the last entry begins, how many there are.
const HEAD: usize = 4 + 4 + 2;
const END: u8 = 0xff;
/// A previous entry's length that does not fit one byte.
const LONG_BEFORE: u8 = 0xfe;

/// The elements of a ziplist, if it is one from the first byte to the last.
pub fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let said = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let count = u16::from_le_bytes(*bytes.get(8..HEAD)?.first_chunk()?);
    let mut reader = Reader::new(bytes.get(HEAD..)?);
    let mut elements = Vec::new();
    loop {
        match reader.byte()? {
            END => break,
            LONG_BEFORE => drop(reader.take(4)?),
            _ => {}
        }
        elements.push(element(&mut reader)?);
    }
    let counted = count == u16::MAX || usize::from(count) == elements.len();
    (said == bytes.len() && reader.is_done() && counted).then_some(elements)
}

fn element(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let first = reader.byte()?;
    let low = usize::from(first & 0x3f);
    let text = |number: i64| Some(number.to_string().into_bytes());
    let len = match first {
        0x00..0x40 => low,
        0x40..0x80 => low << 8 | usize::from(reader.byte()?),
        0x80 => u32::from_be_bytes(*reader.take(4)?.first_chunk()?) as usize,
        0xc0 => return text(i16::from_le_bytes(*reader.take(2)?.first_chunk()?).into()),
        0xd0 => return text(i32::from_le_bytes(*reader.take(4)?.first_chunk()?).into()),
        0xe0 => return text(i64::from_le_bytes(*reader.take(8)?.first_chunk()?)),
        0xf0 => {
            let [low, middle, high] = *reader.take(3)?.first_chunk()?;
            // The sign is in the highest of three bytes.
            return text((i32::from_le_bytes([0, low, middle, high]) >> 8).into());
        }
        0xfe => return text((reader.byte()? as i8).into()),
        0xf1..=0xfd => return text(i64::from(first & 0x0f) - 1),
        _ => return None,
    };
    reader.take(len).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_all_kinds_are_read() {
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 0, 7, 0];
        for entry in [
            &[0, 2, b'h', b'i'][..],
            &[4, 0xf1],
            &[2, 0xfe, 0x80],
            &[3, 0xc0, 0x00, 0x80],
            &[4, 0xf0, 0xff, 0xff, 0xff],
            &[5, 0xd0, 1, 0, 1, 0],
            &[LONG_BEFORE, 6, 0, 0, 0, 0x40, 3, b'a', b'b', b'c'],
        ] {
            bytes.extend_from_slice(entry);
        }
        bytes.push(END);
        bytes[0] = bytes.len() as u8;
        let elements: Vec<String> =
            ziplist(&bytes).expect("a ziplist").iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        assert_eq!(elements, ["hi", "0", "-128", "-32768", "-1", "65537", "abc"]);
        for len in 0..bytes.len() {
            assert_eq!(ziplist(&bytes[..len]), None, "cut to {len}");
        }
    }
}
