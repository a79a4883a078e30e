//! Elements in a row, in pieces of a few kilobytes.
//!
//! Both ends are at hand, and what lies in the middle is found by walking along the pieces, from the nearer end. A piece is
//! never empty. How much goes into one is `list-max-listpack-size`; what is larger than a piece has one of its own.

use std::collections::VecDeque;

use super::listpack::{Element, Listpack};
use crate::config::Compact;

/// Bytes of a piece whose size is given in elements.
const PIECE_BYTES: usize = 8 << 10;
/// Bytes that an element takes beside its own, at most.
const OVERHEAD: usize = 10;

/// Elements in a row.
#[derive(Default)]
pub struct List {
    pieces: VecDeque<Listpack>,
    len: usize,
    /// Bytes of all pieces.
    bytes: usize,
}

impl Clone for List {
    fn clone(&self) -> List {
        let pieces = self.pieces.clone();
        let bytes = pieces.iter().map(Listpack::size).sum();
        List { pieces, len: self.len, bytes }
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first element.
    Left,
    /// The last element.
    Right,
}

/// How much goes into one piece.
#[derive(Clone, Copy)]
struct Room {
    elements: usize,
    bytes: usize,
}

impl Room {
    fn of(compact: &Compact) -> Room {
        match compact.list_size {
            // 4, 8, 16, 32, 64 KB.
            size if size < 0 => Room { elements: usize::MAX, bytes: 2048 << size.unsigned_abs().min(5) },
            count => Room { elements: (count as usize).max(1), bytes: PIECE_BYTES },
        }
    }

    /// Whether an element of so many bytes still goes into a piece.
    fn admits(self, piece: &Listpack, bytes: usize) -> bool {
        piece.len() < self.elements && piece.bytes() + bytes + OVERHEAD <= self.bytes
    }

    /// Whether two pieces are little enough to be one.
    fn admits_both(self, one: &Listpack, other: &Listpack) -> bool {
        one.len() + other.len() <= self.elements && one.bytes() + other.bytes() <= self.bytes / 2
    }
}

impl List {
    /// About how many pieces of memory it takes.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Frees about so many of them; `false` when no more than one is left. It is of no use afterwards.
    pub(super) fn wreck(&mut self, most: usize) -> bool {
        self.pieces.truncate(self.pieces.len().saturating_sub(most));
        !self.pieces.is_empty()
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.pieces.capacity() * size_of::<Listpack>() + self.bytes
    }

    /// How much is in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The encoding that OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        "quicklist"
    }

    /// The elements from first to last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Element<'_>> {
        self.pieces.iter().flat_map(Listpack::iter)
    }

    /// The elements from an index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Element<'_>> {
        let (piece, offset) = self.find(index).unwrap_or((self.pieces.len(), 0));
        self.pieces.range(piece..).flat_map(Listpack::iter).skip(offset)
    }

    /// The element at an end.
    pub fn at_end(&self, end: End) -> Option<Element<'_>> {
        match end {
            End::Left => self.pieces.front().and_then(|piece| Some(piece.get(piece.first()?))),
            End::Right => self.pieces.back().and_then(|piece| Some(piece.get(piece.last()?))),
        }
    }

    /// The element with this index.
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        let (piece, offset) = self.find(index)?;
        let piece = &self.pieces[piece];
        Some(piece.get(piece.seek(offset)?))
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, element: &[u8], compact: &Compact) {
        let room = Room::of(compact);
        let piece = match end {
            End::Left => self.pieces.front(),
            End::Right => self.pieces.back(),
        };
        if !piece.is_some_and(|piece| room.admits(piece, element.len())) {
            let at = if end == End::Left { 0 } else { self.pieces.len() };
            self.add_piece(at, Listpack::new());
        }
        let last = self.pieces.len() - 1;
        match end {
            End::Left => self.change(0, |piece| piece.push_front(element)),
            End::Right => self.change(last, |piece| piece.push(element)),
        }
        self.len += 1;
    }

    /// Adds an element before the one with this index, or, if there are only so many, behind the last.
    pub fn insert(&mut self, index: usize, element: &[u8], compact: &Compact) {
        let room = Room::of(compact);
        if index == 0 || index >= self.len {
            let end = if index == 0 { End::Left } else { End::Right };
            return self.push(end, element, compact);
        }
        let Some((piece, offset)) = self.find(index) else { return };
        if room.admits(&self.pieces[piece], element.len()) {
            self.change(piece, |piece| {
                if let Some(at) = piece.seek(offset) {
                    piece.insert(at, element);
                }
            });
        } else {
            let at = self.split(piece, offset);
            if at > 0 && room.admits(&self.pieces[at - 1], element.len()) {
                self.change(at - 1, |piece| piece.push(element));
            } else if room.admits(&self.pieces[at], element.len()) {
                self.change(at, |piece| piece.push_front(element));
            } else {
                self.add_piece(at, Listpack::new());
                self.change(at, |piece| piece.push(element));
            }
        }
        self.len += 1;
    }

    /// Puts an element in place of the one with this index; `false` if there is none.
    pub fn set(&mut self, index: usize, element: &[u8], compact: &Compact) -> bool {
        let Some((piece, offset)) = self.find(index) else { return false };
        let alone = self.pieces[piece].len() == 1;
        let grown = self.pieces[piece].bytes() + element.len() + OVERHEAD;
        if alone || grown <= Room::of(compact).bytes {
            self.change(piece, |piece| {
                if let Some(at) = piece.seek(offset) {
                    piece.replace(at, element);
                }
            });
        } else {
            self.remove(index, 1);
            self.insert(index, element, compact);
        }
        true
    }

    /// Removes so many elements from an index on, or as many as there are.
    pub fn remove(&mut self, index: usize, count: usize) {
        let mut left = count.min(self.len.saturating_sub(index));
        if index == 0 {
            return self.remove_first(left);
        }
        if index + left == self.len {
            return self.remove_last(left);
        }
        let Some((mut piece, mut offset)) = self.find(index) else { return };
        self.len -= left;
        while left > 0 {
            let here = (self.pieces[piece].len() - offset).min(left);
            if !self.cut(piece, offset, here) {
                piece += 1;
            }
            (offset, left) = (0, left - here);
        }
    }

    fn remove_first(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let here = self.pieces[0].len().min(count);
            self.cut(0, 0, here);
            count -= here;
        }
        self.slim();
    }

    fn remove_last(&mut self, mut count: usize) {
        self.len -= count;
        while count > 0 {
            let last = self.pieces.len() - 1;
            let len = self.pieces[last].len();
            let here = len.min(count);
            self.cut(last, len - here, here);
            count -= here;
        }
        self.slim();
    }

    /// Removes elements that are this one, so many at most, beginning at an end; tells how many there were.
    pub fn remove_equal(&mut self, element: &[u8], most: usize, from: End, compact: &Compact) -> usize {
        let room = Room::of(compact);
        let (mut removed, mut done) = (0, 0);
        while done < self.pieces.len() && removed < most {
            let at = if from == End::Left { done } else { self.pieces.len() - 1 - done };
            let found = self.change(at, |piece| remove_equal(piece, element, most - removed, from));
            removed += found;
            if self.pieces[at].is_empty() {
                self.drop_piece(at);
                continue;
            }
            done += 1;
            // What has become little joins the piece that was looked at before it.
            let other = if from == End::Left { at.checked_sub(1) } else { Some(at + 1) };
            let other = other.and_then(|other| Some((other, self.pieces.get(other)?)));
            if let Some((other, before)) = other.filter(|_| found > 0)
                && room.admits_both(before, &self.pieces[at])
            {
                self.join(at.min(other));
                done -= 1;
            }
        }
        self.len -= removed;
        self.slim();
        removed
    }

    /// The piece that has the element with this index, and the element's index in it.
    fn find(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut offset = index;
            for (at, piece) in self.pieces.iter().enumerate() {
                match offset.checked_sub(piece.len()) {
                    Some(rest) => offset = rest,
                    None => return Some((at, offset)),
                }
            }
            return None;
        }
        let mut behind = self.len - index;
        for (at, piece) in self.pieces.iter().enumerate().rev() {
            match piece.len().checked_sub(behind) {
                Some(offset) => return Some((at, offset)),
                None => behind -= piece.len(),
            }
        }
        None
    }

    /// Changes a piece and keeps the sum of bytes.
    fn change<R>(&mut self, at: usize, f: impl FnOnce(&mut Listpack) -> R) -> R {
        let piece = &mut self.pieces[at];
        let before = piece.size();
        let result = f(piece);
        self.bytes = self.bytes - before + piece.size();
        result
    }

    fn add_piece(&mut self, at: usize, piece: Listpack) {
        if self.pieces.len() == self.pieces.capacity() {
            // Most lists are one piece; a long one grows by a quarter.
            self.pieces.reserve_exact(1 + self.pieces.len() / 4);
        }
        self.bytes += piece.size();
        self.pieces.insert(at, piece);
    }

    fn drop_piece(&mut self, at: usize) {
        self.bytes -= self.pieces.remove(at).map_or(0, |piece| piece.size());
    }

    /// Removes elements of one piece; `true` if it is gone altogether.
    fn cut(&mut self, piece: usize, offset: usize, count: usize) -> bool {
        if count == self.pieces[piece].len() {
            self.drop_piece(piece);
            return true;
        }
        self.change(piece, |piece| {
            if let Some(at) = piece.seek(offset) {
                piece.remove(at, count);
            }
        });
        false
    }

    /// Gives back room for pieces that are gone.
    fn slim(&mut self) {
        if self.pieces.capacity() / 4 > self.pieces.len() {
            self.pieces.shrink_to(self.pieces.len() * 2);
        }
    }

    /// Cuts a piece in two before an element and tells where the second part is.
    fn split(&mut self, piece: usize, offset: usize) -> usize {
        if offset == 0 {
            return piece;
        }
        let mut tail = Listpack::new();
        for element in self.pieces[piece].iter().skip(offset) {
            element.with_bytes(|bytes| tail.push(bytes));
        }
        let count = tail.len();
        self.cut(piece, offset, count);
        self.add_piece(piece + 1, tail);
        piece + 1
    }

    /// Makes one piece of this one and the next.
    fn join(&mut self, piece: usize) {
        let Some(next) = self.pieces.remove(piece + 1) else { return };
        self.bytes -= next.size();
        self.change(piece, |piece| next.iter().for_each(|element| element.with_bytes(|bytes| piece.push(bytes))));
    }
}

/// Removes elements of one piece that are this one, so many at most, and tells how many there were.
fn remove_equal(piece: &mut Listpack, element: &[u8], most: usize, from: End) -> usize {
    let mut removed = 0;
    match from {
        End::Left => {
            let mut next = piece.first();
            while let Some(at) = next.filter(|_| removed < most).and_then(|at| piece.find(element, at, 0)) {
                piece.remove(at, 1);
                removed += 1;
                next = piece.element(at);
            }
        }
        End::Right => {
            let mut next = piece.last();
            while let Some(at) = next.filter(|_| removed < most) {
                next = piece.prev(at);
                if piece.get(at) == *element {
                    piece.remove(at, 1);
                    removed += 1;
                }
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    impl List {
        /// Recounts everything.
        fn check(&self, model: &VecDeque<Vec<u8>>) {
            let elements: VecDeque<Vec<u8>> = self.iter().map(Element::to_vec).collect();
            assert_eq!((&elements, self.len), (model, model.len()));
            assert!(self.iter().rev().map(Element::to_vec).eq(model.iter().rev().cloned()));
            assert_eq!(self.bytes, self.pieces.iter().map(Listpack::size).sum::<usize>());
            assert!(self.pieces.iter().all(|piece| !piece.is_empty()));
        }
    }

    /// Dice without a crate.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }

        fn element(&mut self) -> Vec<u8> {
            match self.below(20) {
                0 => vec![b'x'; self.below(10_000)],
                1..6 => vec![b'y'; self.below(60)],
                _ => self.below(7).to_string().into_bytes(),
            }
        }
    }

    #[test]
    fn it_does_what_a_deque_does() {
        for (seed, list_size) in [(1, -2), (2, 3), (3, 1), (4, 0), (5, -5), (6, -1), (7, 100)] {
            let compact = Compact { list_size, ..Compact::default() };
            let (mut dice, mut list, mut model) = (Dice(seed * 0x9e37_79b9), List::default(), VecDeque::new());
            for step in 0..3000 {
                let index = dice.below(model.len() + 2);
                let element = dice.element();
                match dice.below(12) {
                    0..3 => {
                        list.push(End::Left, &element, &compact);
                        model.push_front(element);
                    }
                    3..6 => {
                        list.push(End::Right, &element, &compact);
                        model.push_back(element);
                    }
                    6 => {
                        list.insert(index, &element, &compact);
                        model.insert(index.min(model.len()), element);
                    }
                    7 => {
                        assert_eq!(list.set(index, &element, &compact), index < model.len());
                        if let Some(old) = model.get_mut(index) {
                            *old = element;
                        }
                    }
                    8 | 9 => {
                        let count = dice.below(10);
                        list.remove(index, count);
                        let end = (index + count).min(model.len());
                        drop(model.drain(index.min(end)..end));
                    }
                    10 => {
                        let most = 1 + dice.below(3);
                        let from = if dice.below(2) == 0 { End::Left } else { End::Right };
                        let mut places: Vec<usize> = (0..model.len()).filter(|at| model[*at] == element).collect();
                        if from == End::Right {
                            places.reverse();
                        }
                        places.truncate(most);
                        places.sort_unstable();
                        assert_eq!(list.remove_equal(&element, most, from, &compact), places.len());
                        places.iter().rev().for_each(|at| drop(model.remove(*at)));
                    }
                    _ => {
                        assert_eq!(list.get(index).map(Element::to_vec), model.get(index).cloned());
                        assert_eq!(list.at_end(End::Left).map(Element::to_vec), model.front().cloned());
                        assert_eq!(list.at_end(End::Right).map(Element::to_vec), model.back().cloned());
                        let rest: Vec<Vec<u8>> = list.iter_from(index).map(Element::to_vec).collect();
                        assert!(rest.iter().eq(model.iter().skip(index)));
                    }
                }
                if step % 50 == 0 {
                    list.check(&model);
                    list.clone().check(&model);
                }
            }
            list.check(&model);
            list.remove(0, usize::MAX);
            assert!(list.is_empty() && list.bytes == 0);
        }
    }

    #[test]
    fn a_small_list_is_small_and_a_piece_is_as_large_as_the_setting_says() {
        let mut list = List::default();
        assert_eq!(list.size(), 0);
        list.push(End::Right, b"a", &Compact::default());
        assert!(list.size() < 48, "{} bytes", list.size());
        for number in 0..10_000 {
            list.push(End::Right, number.to_string().as_bytes(), &Compact::default());
        }
        assert!(list.pieces.iter().all(|piece| piece.bytes() <= 8192));
        assert!(list.pieces.len() < 8 && list.size() < 60_000, "{} pieces, {} bytes", list.pieces.len(), list.size());
    }
}
