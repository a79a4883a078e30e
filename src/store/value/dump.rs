//! Values as DUMP writes and RESTORE reads them: a byte for the type and encoding, and what Redis has behind it.
//!
//! Compact encodings are written as they lie. What is read is put together anew, element by element, so that a payload
//! which is not what it claims to be is refused, and limits are those of this server.

use super::listpack::Listpack;
use super::{End, Hash, List, Object, Set, Value, ZSet};
use crate::config::Compact;
use crate::num;
use crate::rdb::kind::*;
use crate::rdb::{Reader, put_double, put_len, put_string, ziplist};

/// How a piece of a list is written: as the bytes of one element, or as several in a listpack.
const PLAIN: usize = 1;
const PACKED: usize = 2;
/// Bytes of a piece of a list, and of an element that gets a piece of its own.
const PIECE: usize = 8 * 1024;

/// What RESTORE puts under a key.
pub enum Restored {
    /// A string.
    String(Vec<u8>),
    /// A collection, which is not empty.
    Object(Object),
}

#[cfg_attr(doc, doc(hidden))]
impl Value<'_> {
    /// Writes type and content; the seal is the caller's.
    pub fn dump(self, out: &mut Vec<u8>) {
        match self.object() {
            None => {
                out.push(STRING);
                put_string(out, self.string().unwrap_or_default());
            }
            Some(Object::List(list)) => dump_list(list, out),
            Some(Object::Set(set)) => match set.as_intset() {
                Some(bytes) => put_packed(out, SET_INTSET, bytes),
                None => {
                    put_head(out, SET, set.len());
                    set.iter().for_each(|member| member.with_bytes(|member| put_string(out, member)));
                }
            },
            Some(Object::ZSet(zset)) => match zset.as_listpack() {
                Some(bytes) => put_packed(out, ZSET_LISTPACK, bytes),
                None => {
                    put_head(out, ZSET, zset.len());
                    for (member, score) in zset.iter() {
                        member.with_bytes(|member| put_string(out, member));
                        put_double(out, score);
                    }
                }
            },
            Some(Object::Hash(hash)) => match hash.as_listpack() {
                Some(listpack) => put_packed(out, HASH_LISTPACK, listpack.as_bytes()),
                None => {
                    put_head(out, HASH, hash.len());
                    for (field, value) in hash.iter() {
                        field.with_bytes(|field| put_string(out, field));
                        value.with_bytes(|value| put_string(out, value));
                    }
                }
            },
        }
    }
}

fn put_packed(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    put_string(out, bytes);
}

fn put_head(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    put_len(out, len);
}

/// Pieces come first, as it has to be said how many there are.
fn dump_list(list: &List, out: &mut Vec<u8>) {
    let (mut pieces, mut count, mut piece) = (Vec::new(), 0, Listpack::new());
    let mut close = |piece: &mut Listpack, pieces: &mut Vec<u8>| {
        if !piece.is_empty() {
            put_len(pieces, PACKED);
            put_string(pieces, piece.as_bytes());
            *piece = Listpack::new();
            count += 1;
        }
    };
    let mut plain = 0;
    for element in list.iter() {
        element.with_bytes(|bytes| {
            if bytes.len() > PIECE {
                close(&mut piece, &mut pieces);
                put_len(&mut pieces, PLAIN);
                put_len(&mut pieces, bytes.len());
                pieces.extend_from_slice(bytes);
                plain += 1;
            } else {
                if piece.bytes() + bytes.len() > PIECE {
                    close(&mut piece, &mut pieces);
                }
                piece.push(bytes);
            }
        });
    }
    close(&mut piece, &mut pieces);
    put_head(out, LIST_LISTPACKS, count + plain);
    out.extend_from_slice(&pieces);
}

/// Reads what [`Value::dump`] or Redis wrote; `most` is the longest string that is taken.
pub fn restore(payload: &[u8], most: usize, compact: &Compact) -> Option<Restored> {
    let (kind, content) = payload.split_first()?;
    restore_content(*kind, content, most, compact)
}

/// The same of a value whose type stands elsewhere, as in files.
pub fn restore_content(kind: u8, content: &[u8], most: usize, compact: &Compact) -> Option<Restored> {
    let mut reader = Reader::new(content);
    if kind == STRING {
        let string = reader.string(most)?.into_owned();
        return reader.is_done().then_some(Restored::String(string));
    }
    let mut source = Source { reader, most };
    let object: Object = match kind {
        LIST | LIST_ZIPLIST | LIST_ZIPLISTS | LIST_LISTPACKS => source.list(kind, compact)?.into(),
        SET | SET_INTSET | SET_LISTPACK => source.set(kind, compact)?.into(),
        ZSET_TEXT | ZSET | ZSET_ZIPLIST | ZSET_LISTPACK => source.zset(kind, compact)?.into(),
        HASH | HASH_ZIPLIST | HASH_LISTPACK => source.hash(kind, compact)?.into(),
        _ => return None,
    };
    (source.reader.is_done() && !object.is_empty()).then_some(Restored::Object(object))
}

struct Source<'a> {
    reader: Reader<'a>,
    most: usize,
}

impl Source<'_> {
    fn string(&mut self) -> Option<Vec<u8>> {
        self.reader.string(self.most).map(|bytes| bytes.into_owned())
    }

    /// The elements of a listpack or ziplist that is the next string.
    fn packed(&mut self, is_ziplist: bool) -> Option<Vec<Vec<u8>>> {
        let bytes = self.string()?;
        match is_ziplist {
            true => ziplist(&bytes),
            false => Some(Listpack::from_bytes(bytes)?.iter().map(|element| element.to_vec()).collect()),
        }
    }

    /// Strings one by one, as many as are announced.
    fn strings(&mut self, each: usize) -> Option<Vec<Vec<u8>>> {
        let count = self.reader.count()?.checked_mul(each)?;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.string()?);
        }
        Some(all)
    }

    fn list(&mut self, kind: u8, compact: &Compact) -> Option<List> {
        let mut list = List::default();
        let mut push =
            |elements: Vec<Vec<u8>>| elements.iter().for_each(|element| list.push(End::Right, element, compact));
        match kind {
            LIST => push(self.strings(1)?),
            LIST_ZIPLIST => push(self.packed(true)?),
            _ => {
                for _ in 0..self.reader.count()? {
                    match (kind, if kind == LIST_LISTPACKS { self.reader.count()? } else { PACKED }) {
                        (LIST_LISTPACKS, PLAIN) => push(vec![self.string()?]),
                        (_, PACKED) => push(self.packed(kind == LIST_ZIPLISTS)?),
                        _ => return None,
                    }
                }
            }
        }
        Some(list)
    }

    fn set(&mut self, kind: u8, compact: &Compact) -> Option<Set> {
        let members: Vec<Vec<u8>> = match kind {
            SET => self.strings(1)?,
            SET_LISTPACK => self.packed(false)?,
            _ => Set::from_intset(self.string()?)?.iter().map(|member| member.to_vec()).collect(),
        };
        let mut set = Set::default();
        members.iter().all(|member| set.insert(member, compact)).then_some(set)
    }

    fn zset(&mut self, kind: u8, compact: &Compact) -> Option<ZSet> {
        let mut zset = ZSet::large();
        let mut add = |member: &[u8], score: f64| !score.is_nan() && zset.set(member, score, compact).is_none();
        if matches!(kind, ZSET | ZSET_TEXT) {
            for _ in 0..self.reader.count()? {
                let member = self.string()?;
                let score = if kind == ZSET { self.reader.double()? } else { self.reader.double_text()? };
                add(&member, score).then_some(())?;
            }
        } else {
            let elements = self.packed(kind == ZSET_ZIPLIST)?;
            let (pairs, odd) = elements.as_chunks::<2>();
            let good = |[member, score]: &[Vec<u8>; 2]| num::parse_f64(score).is_some_and(|score| add(member, score));
            (odd.is_empty() && pairs.iter().all(good)).then_some(())?;
        }
        Some(zset.compacted(compact))
    }

    fn hash(&mut self, kind: u8, compact: &Compact) -> Option<Hash> {
        let elements = match kind {
            HASH => self.strings(2)?,
            _ => self.packed(kind == HASH_ZIPLIST)?,
        };
        let (pairs, odd) = elements.as_chunks::<2>();
        let mut hash = Hash::default();
        let good = |[field, value]: &[Vec<u8>; 2]| hash.set(field, value, compact);
        (odd.is_empty() && pairs.iter().all(good)).then_some(hash)
    }
}
