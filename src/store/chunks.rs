//! A list that grows without moving what is in it.
//!
//! A vector that grows leaves a hole of its old length to the allocator, and with hundreds of shards that grow at about
//! the same time these are as large in sum as what is in use. Here memory comes in pieces of one length, which fit wherever
//! one was given back. Only the first piece, while it is the only one, grows by moving, so that small lists stay small.

/// Bytes of a piece.
const CHUNK: usize = 2048;

/// A list of words.
#[derive(Default)]
pub(super) struct Chunks<T> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
}

impl<T: Copy> Clone for Chunks<T> {
    /// A copy has its pieces as long as the original has them, which a copy of each piece alone would not.
    fn clone(&self) -> Chunks<T> {
        let mut copy = Chunks { chunks: Vec::new() };
        self.iter().for_each(|word| copy.push(word));
        copy
    }
}

impl<T: Copy> Chunks<T> {
    const WIDTH: usize = CHUNK / size_of::<T>();

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * Self::WIDTH + last.len())
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        // Asked for at every change, so nothing is walked: only the first piece may be shorter, while it is the only one.
        let room = match &self.chunks[..] {
            [only] => only.capacity() * size_of::<T>(),
            chunks => chunks.len() * CHUNK,
        };
        room + self.chunks.capacity() * size_of::<Vec<T>>()
    }

    pub fn get(&self, index: usize) -> Option<T> {
        self.chunks.get(index / Self::WIDTH)?.get(index % Self::WIDTH).copied()
    }

    pub fn set(&mut self, index: usize, word: T) {
        self.chunks[index / Self::WIDTH][index % Self::WIDTH] = word;
    }

    /// The words from one on that lie in a row with it; `None` behind the last.
    #[inline]
    pub fn row(&self, index: usize) -> Option<&[T]> {
        self.chunks.get(index / Self::WIDTH)?.get(index % Self::WIDTH..).filter(|row| !row.is_empty())
    }

    /// All words from one on, in the pieces that they lie in.
    pub fn slices_from(&self, index: usize) -> impl Iterator<Item = &[T]> {
        let (first, offset) = (index / Self::WIDTH, index % Self::WIDTH);
        let chunks = self.chunks.get(first..).unwrap_or_default();
        chunks.iter().enumerate().map(move |(step, chunk)| match step {
            0 => chunk.get(offset..).unwrap_or_default(),
            _ => chunk,
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = T> {
        self.chunks.iter().flatten().copied()
    }

    /// Writes every word anew, by its number.
    pub fn rewrite(&mut self, mut f: impl FnMut(usize) -> T) {
        self.chunks.iter_mut().flatten().enumerate().for_each(|(index, word)| *word = f(index));
    }

    pub fn push(&mut self, word: T) {
        if self.chunks.last().is_none_or(|last| last.len() == Self::WIDTH) {
            let mut chunk = Vec::new();
            if !self.chunks.is_empty() {
                chunk.reserve_exact(Self::WIDTH);
            }
            if self.chunks.len() == self.chunks.capacity() {
                self.chunks.reserve_exact((self.chunks.len() / 4).max(1));
            }
            self.chunks.push(chunk);
        }
        if let Some(last) = self.chunks.last_mut() {
            if last.len() == last.capacity() {
                last.reserve_exact(last.len().max(4).min(Self::WIDTH - last.len()));
            }
            last.push(word);
        }
    }

    /// Makes it so long, and gives back what is then empty; new words are `fill`.
    pub fn resize(&mut self, len: usize, fill: T) {
        while self.len() < len {
            self.push(fill);
        }
        self.chunks.truncate(len.div_ceil(Self::WIDTH));
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(len - (len - 1) / Self::WIDTH * Self::WIDTH);
        }
        if let [only] = &mut self.chunks[..] {
            only.shrink_to_fit();
        }
        self.trim();
    }

    /// Gives the list of pieces back where most of it is unused.
    fn trim(&mut self) {
        if self.chunks.len() * 4 < self.chunks.capacity() {
            self.chunks.shrink_to_fit();
        }
    }

    /// Frees so many pieces; `false` when none is left.
    pub fn wreck(&mut self, pieces: usize) -> bool {
        self.chunks.truncate(self.chunks.len().saturating_sub(pieces));
        !self.chunks.is_empty()
    }

    pub fn clear(&mut self) {
        self.chunks = Vec::new();
    }

    pub fn pop(&mut self) -> Option<T> {
        let last = self.chunks.last_mut()?.pop();
        let len = self.len();
        if len.is_multiple_of(Self::WIDTH) {
            self.chunks.truncate(len / Self::WIDTH);
            self.trim();
        }
        last
    }
}
