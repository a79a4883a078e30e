//! Fields with values.

/// Fields with values.
#[derive(Clone, Default)]
pub struct Hash {
    elements: Vec<Vec<u8>>,
}

impl Hash {
    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.elements.capacity() * size_of::<Vec<u8>>()
    }

    /// How much is in it.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// The encoding that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        "hashtable"
    }
}
