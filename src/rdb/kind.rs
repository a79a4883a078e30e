//! Redis' numbers of types and encodings: the byte in front of a value, in a dump and in a file.

use super::Reader;

pub const STRING: u8 = 0;
pub const LIST: u8 = 1;
pub const SET: u8 = 2;
pub const ZSET_TEXT: u8 = 3;
pub const HASH: u8 = 4;
pub const ZSET: u8 = 5;
pub const LIST_ZIPLIST: u8 = 10;
pub const SET_INTSET: u8 = 11;
pub const ZSET_ZIPLIST: u8 = 12;
pub const HASH_ZIPLIST: u8 = 13;
pub const LIST_ZIPLISTS: u8 = 14;
pub const HASH_LISTPACK: u8 = 16;
pub const ZSET_LISTPACK: u8 = 17;
pub const LIST_LISTPACKS: u8 = 18;
pub const SET_LISTPACK: u8 = 20;

/// The text of a library of functions.
pub const FUNCTION: u8 = 245;
/// The same as the first release candidates of Redis 7.0 wrote it, with the name beside the text.
pub const OLD_FUNCTION: u8 = 246;

/// Whether the value of this type is one string: bytes, or a compact encoding.
pub fn is_one_string(kind: u8) -> bool {
    matches!(
        kind,
        STRING | LIST_ZIPLIST | SET_INTSET | ZSET_ZIPLIST | HASH_ZIPLIST | HASH_LISTPACK | ZSET_LISTPACK | SET_LISTPACK
    )
}

/// Passes over the value of a type, with strings of at most so many bytes, without looking into them. A type that is not known
/// is the error.
pub fn skip(kind: u8, most: usize, parts: &mut Reader<'_>) -> Result<Option<()>, u8> {
    let mut all = |each: &mut dyn FnMut(&mut Reader<'_>) -> Option<()>| {
        let count = parts.count()?;
        (0..count).try_for_each(|_| each(parts))
    };
    Ok(match kind {
        LIST | SET | LIST_ZIPLISTS => all(&mut |parts| parts.skip_string(most)),
        HASH => all(&mut |parts| parts.skip_string(most).and_then(|()| parts.skip_string(most))),
        ZSET => all(&mut |parts| parts.skip_string(most).and_then(|()| parts.double().map(|_| ()))),
        ZSET_TEXT => all(&mut |parts| parts.skip_string(most).and_then(|()| parts.double_text().map(|_| ()))),
        LIST_LISTPACKS => all(&mut |parts| parts.count().and_then(|_| parts.skip_string(most))),
        kind if is_one_string(kind) => parts.skip_string(most),
        kind => return Err(kind),
    })
}
