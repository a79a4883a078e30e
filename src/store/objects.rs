//! Collections of one shard, by number. An entry whose value is a collection holds the number as its bytes.

use super::value::Object;

/// All collections of a shard.
#[derive(Default)]
pub(super) struct Objects {
    all: Vec<Option<Object>>,
    /// Numbers that are free.
    free: Vec<u32>,
    /// Bytes of all collections.
    bytes: usize,
}

impl Objects {
    /// Bytes of all collections, and of the list of them.
    pub fn bytes(&self) -> usize {
        self.bytes + self.all.capacity() * size_of::<Option<Object>>()
    }

    /// Takes a collection in and tells its number.
    pub fn insert(&mut self, object: Object) -> u32 {
        self.bytes += object.size();
        match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = Some(object);
                number
            }
            None => {
                if self.all.len() == self.all.capacity() {
                    self.all.reserve_exact((self.all.len() / 8).max(4));
                }
                self.all.push(Some(object));
                self.all.len() as u32 - 1
            }
        }
    }

    /// Takes a collection out.
    pub fn take(&mut self, number: u32) -> Option<Object> {
        let object = self.all.get_mut(number as usize)?.take()?;
        self.bytes -= object.size();
        self.free.push(number);
        Some(object)
    }

    /// Takes any collection out, to free it. Numbers mean nothing afterwards.
    pub fn pop(&mut self) -> Option<Object> {
        while let Some(last) = self.all.pop() {
            if let Some(object) = last {
                self.bytes -= object.size();
                return Some(object);
            }
        }
        None
    }

    pub fn get(&self, number: u32) -> Option<&Object> {
        self.all.get(number as usize)?.as_ref()
    }

    /// Shows a collection to who may change it.
    pub fn edit<R>(&mut self, number: u32, f: impl FnOnce(&mut Object) -> R) -> Option<R> {
        let object = self.all.get_mut(number as usize)?.as_mut()?;
        let before = object.size();
        let result = f(object);
        self.bytes = self.bytes - before + object.size();
        Some(result)
    }

    /// Bytes of all collections, counted anew, and how many there are.
    #[cfg(any(test, debug_assertions))]
    pub fn recount(&self) -> (usize, usize) {
        let list = self.all.capacity() * size_of::<Option<Object>>();
        let all = self.all.iter().flatten();
        (list + all.clone().map(Object::size).sum::<usize>(), all.count())
    }
}
