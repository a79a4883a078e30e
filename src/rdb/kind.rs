//! Redis' numbers of types and encodings: the byte in front of a value, in a dump and in a file.

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
