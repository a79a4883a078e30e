//! Fields of a large hash: each with its value in memory of its own.

use super::keyed::{Item, Keyed, block};

/// Fields of a large hash, with their values.
pub(super) type Fields = Keyed<Pair>;

/// A field and its value in one piece: the length of the field, seven bits a byte and the lowest first, the field, the value.
#[derive(Clone)]
pub struct Pair(Box<[u8]>);

impl Pair {
    fn of(field: &[u8], value: &[u8]) -> Pair {
        let mut len = field.len();
        let head = (len.max(1).ilog2() / 7 + 1) as usize;
        let mut bytes = Vec::with_capacity(head + len + value.len());
        while len > 127 {
            bytes.push(len as u8 | 128);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(value);
        Pair(bytes.into())
    }

    /// Where the field begins and where the value does.
    fn offsets(&self) -> (usize, usize) {
        let (mut len, mut head) = (0, 0);
        for byte in &self.0 {
            len |= usize::from(byte & 127) << (7 * head);
            head += 1;
            if byte & 128 == 0 {
                break;
            }
        }
        (head, head + len)
    }

    /// The field and its value.
    pub fn both(&self) -> (&[u8], &[u8]) {
        let (field, value) = self.offsets();
        (&self.0[field..value], &self.0[value..])
    }

    /// Gives the field another value.
    fn set(&mut self, value: &[u8]) {
        let (_, at) = self.offsets();
        match self.0.len() == at + value.len() {
            true => self.0[at..].copy_from_slice(value),
            false => *self = Pair::of(self.both().0, value),
        }
    }
}

impl Item for Pair {
    fn key(&self) -> &[u8] {
        self.both().0
    }

    fn weight(&self) -> usize {
        block(self.0.len())
    }
}

impl Fields {
    /// The value of a field.
    pub fn value(&self, field: &[u8]) -> Option<&[u8]> {
        self.get(self.find(field)?).map(|pair| pair.both().1)
    }

    /// Gives a field a value; `true` if the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        match self.find(field) {
            Some(number) => self.edit(number, |pair| pair.set(value)).is_none(),
            None => {
                self.push(Pair::of(field, value));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_takes_any_lengths() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let (field, value) = (vec![b'f'; len], vec![b'v'; len / 3]);
            let mut pair = Pair::of(&field, &value);
            assert_eq!(pair.both(), (&field[..], &value[..]));
            pair.set(&vec![b'w'; len / 3]);
            assert_eq!(pair.both(), (&field[..], &vec![b'w'; len / 3][..]));
            pair.set(b"x");
            assert_eq!(pair.both(), (&field[..], &b"x"[..]));
        }
    }
}
