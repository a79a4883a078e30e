//! The table of keys that clients have read.

use std::collections::HashMap;
use std::sync::Arc;

type Name = Arc<[u8]>;

/// Bytes of a key beside its name: two counters before it, its places in the map and in the row of names.
const KEY_BYTES: usize = 112;

/// A client that has read a key.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reader {
    /// Its number.
    pub client: u64,
    /// What it has called the key, if not by the stored name.
    pub said: Option<Box<[u8]>>,
}

impl Reader {
    fn bytes(&self) -> usize {
        size_of::<Reader>() + self.said.as_ref().map_or(0, |said| said.len())
    }
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Table {
    keys: HashMap<Name, Key>,
    /// All names in a row, so that any can be picked.
    names: Vec<Name>,
    items: usize,
    bytes: usize,
    dice: u64,
}

#[derive(Default)]
struct Key {
    /// The place of its name in the row.
    place: usize,
    /// In order, so that one is found among thousands.
    readers: Vec<Reader>,
}

impl Table {
    /// Notes that a client reads a key. Before a key takes more room, those of its readers go that are not live any more.
    pub fn note(&mut self, name: &[u8], reader: Reader, is_live: impl Fn(u64) -> bool) {
        if !self.keys.contains_key(name) {
            let name = Name::from(name);
            self.bytes += KEY_BYTES + name.len();
            self.keys.insert(name.clone(), Key { place: self.names.len(), readers: Vec::new() });
            self.names.push(name);
        }
        let Some(key) = self.keys.get_mut(name) else { return };
        if key.readers.binary_search(&reader).is_ok() {
            return;
        }
        if key.readers.len() == key.readers.capacity() {
            key.readers.retain(|old| {
                let stays = is_live(old.client);
                if !stays {
                    self.items -= 1;
                    self.bytes -= old.bytes();
                }
                stays
            });
        }
        self.items += 1;
        self.bytes += reader.bytes();
        let at = key.readers.partition_point(|old| *old < reader);
        key.readers.insert(at, reader);
    }

    /// Forgets a key and tells who has read it.
    pub fn take(&mut self, name: &[u8]) -> Option<Vec<Reader>> {
        let (name, key) = self.keys.remove_entry(name)?;
        self.bytes -= KEY_BYTES + name.len() + key.readers.iter().map(Reader::bytes).sum::<usize>();
        self.items -= key.readers.len();
        self.names.swap_remove(key.place);
        if let Some(moved) = self.names.get(key.place).and_then(|name| self.keys.get_mut(name)) {
            moved.place = key.place;
        }
        self.keys.shrink_to(self.keys.len() * 4);
        self.names.shrink_to(self.names.len() * 4);
        Some(key.readers)
    }

    /// Forgets any key.
    pub fn take_any(&mut self) -> Option<(Name, Vec<Reader>)> {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = ((self.dice >> 32) as usize).checked_rem(self.names.len())?;
        let name = self.names[place].clone();
        let readers = self.take(&name)?;
        Some((name, readers))
    }

    pub fn clear(&mut self) {
        *self = Table { dice: self.dice, ..Table::default() };
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// How many readers all keys have.
    pub fn items(&self) -> usize {
        self.items
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_is_there() {
        let mut table = Table::default();
        let mut dice = 1u64;
        let mut roll = |bound: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % bound
        };
        for _ in 0..20_000 {
            let name = format!("key:{}", roll(50));
            match roll(4) {
                0 => drop(table.take(name.as_bytes())),
                1 if roll(8) == 0 => assert!(table.take_any().is_some() || table.len() == 0),
                _ => {
                    let said = (roll(3) == 0).then(|| Box::from(b"token".as_slice()));
                    table.note(name.as_bytes(), Reader { client: roll(9), said }, |client| client < 7);
                }
            }
            let items = table.keys.values().map(|key| key.readers.len()).sum::<usize>();
            let bytes = |(name, key): (&Name, &Key)| {
                KEY_BYTES + name.len() + key.readers.iter().map(Reader::bytes).sum::<usize>()
            };
            assert_eq!((table.items(), table.bytes()), (items, table.keys.iter().map(bytes).sum()));
            assert!(table.keys.iter().all(|(name, key)| table.names[key.place] == *name));
            assert_eq!(table.len(), table.keys.len());
        }
        table.clear();
        assert_eq!((table.len(), table.items(), table.bytes()), (0, 0, 0));
    }
}
