//! What a client has sent of a request that is not whole yet, or is held.
//!
//! Most of it is short, and the allocator's. A long one lies in pages of the system's, which are gone when it is: an
//! allocator keeps what was freed for a while, and with clients that send values of megabytes that would be as much again
//! as what they are promised.

use std::io;
use std::ops::Deref;
use std::task::{Context, Poll, ready};

use memmap2::MmapMut;
use tokio::io::ReadBuf;

use crate::net::wire::Wire;

/// Bytes from which on it lies in pages: a value of a megabyte does not yet, as clearing pages takes time.
const PAGES_MIN: usize = 5 << 18;

/// Bytes that were read, in order.
pub(super) enum Input {
    Heap(Vec<u8>),
    /// In a box, as it is seldom.
    Pages(Box<Pages>),
}

/// The first `len` bytes of these have been read.
pub(super) struct Pages {
    map: MmapMut,
    len: usize,
}

impl Default for Input {
    fn default() -> Input {
        Input::Heap(Vec::new())
    }
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Input::Heap(bytes) => bytes,
            Input::Pages(pages) => &pages.map[..pages.len],
        }
    }
}

impl Input {
    /// Bytes that it takes.
    pub fn capacity(&self) -> usize {
        match self {
            Input::Heap(bytes) => bytes.capacity(),
            Input::Pages(pages) => pages.map.len(),
        }
    }

    /// Makes room for at least `least` bytes more: for exactly `wanted`, where that is more, if there is not enough.
    pub fn make_room(&mut self, least: usize, wanted: usize) {
        let len = self.len();
        if self.capacity() - len >= least {
            return;
        }
        let room = len + wanted.max(least);
        if room > PAGES_MIN
            && let Ok(mut map) = MmapMut::map_anon(room)
        {
            map[..len].copy_from_slice(self);
            *self = Input::Pages(Box::new(Pages { map, len }));
            return;
        }
        if let Input::Pages(pages) = self {
            // The system has no more pages for this process.
            *self = Input::Heap(pages.map[..len].to_vec());
        }
        if let Input::Heap(bytes) = self {
            bytes.reserve_exact(room - len);
        }
    }

    /// Reads once to the end of what is there, as far as there is room; tells how many bytes that were.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<io::Result<usize>> {
        match self {
            Input::Heap(bytes) => wire.poll_read_to(cx, bytes),
            Input::Pages(pages) => {
                let mut rest = ReadBuf::new(&mut pages.map[pages.len..]);
                ready!(wire.poll_read(cx, &mut rest))?;
                let got = rest.filled().len();
                pages.len += got;
                Poll::Ready(Ok(got))
            }
        }
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len(), bytes.len());
        match self {
            Input::Heap(heap) => heap.extend_from_slice(bytes),
            Input::Pages(pages) => {
                pages.map[pages.len..][..bytes.len()].copy_from_slice(bytes);
                pages.len += bytes.len();
            }
        }
    }

    /// Forgets the first so many bytes. If it was all, the memory goes too.
    pub fn forget(&mut self, used: usize) {
        match self {
            _ if used == self.len() => *self = Input::default(),
            _ if used == 0 => {}
            Input::Heap(bytes) => drop(bytes.drain(..used)),
            Input::Pages(pages) => {
                pages.map.copy_within(used..pages.len, 0);
                pages.len -= used;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_pieces_is_what_was_sent_however_long_it_gets() {
        let sent: Vec<u8> = (0..3 * PAGES_MIN).map(|at| (at % 251) as u8).collect();
        let mut input = Input::default();
        for piece in sent.chunks(77_777) {
            input.extend(piece);
        }
        assert!(*input == *sent && matches!(input, Input::Pages(_)));
        assert!(input.capacity() < sent.len() + 77_777 + 4096, "no more than what came");
        input.forget(1_000);
        input.extend(b"more");
        assert!(*input == *[&sent[1_000..], b"more"].concat());
        input.forget(input.len() - 3);
        assert_eq!(&*input, b"ore");
        input.forget(3);
        assert_eq!((input.len(), input.capacity()), (0, 0));
        input.extend(b"again");
        assert_eq!(&*input, b"again");
    }

    #[test]
    fn room_is_made_for_what_is_wanted_and_no_more() {
        let mut input = Input::default();
        input.extend(b"begun");
        input.make_room(100, 1_000);
        assert_eq!(input.capacity(), 1_005);
        input.make_room(100, 2_000);
        assert_eq!(input.capacity(), 1_005, "there is enough");
        input.make_room(2_000, 10);
        assert_eq!(input.capacity(), 2_005);
    }
}
