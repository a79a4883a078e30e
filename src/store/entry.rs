//! One entry, one block: a header, the key, the value, in a single allocation.
//!
//! All `unsafe` of the crate lives here. An [`Entry`] is a thin owning pointer, so a table slot is eight bytes and a
//! lookup touches one cache line of the entry before it compares any key byte. What a value means is decided in
//! `value`; here it is only bytes. Nothing here knows shards, sizes in sum or why an entry is removed.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;
use std::slice;

use crate::clock::Millis;

/// What a block holds. Only strings are visible to commands; the others are the session engine's notes to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string of bytes.
    String = 0,
    /// The value is the stored name of another entry: a rotated token that joined its family.
    Alias = 14,
    /// A key that was signed out. It takes no writes until its deadline; the value is the sign-out's ticket.
    Fence = 15,
}

/// The value has been changed in place since it was set, so its block has room to grow (and Redis calls it `raw`).
const GROWN: u32 = 1 << 4;
const KIND_MASK: u32 = 0x0f;
const ACCESS_SHIFT: u32 = 8;

/// Keys and values are at most `proto-max-bulk-len`, which is capped far below this.
const LEN_MAX: usize = u32::MAX as usize;

#[repr(C)]
struct Header {
    deadline: Millis,
    hash: u32,
    /// Kind in the low four bits, flags in the next four, the access clock in the upper 24.
    meta: u32,
    key_len: u32,
    value_len: u32,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 24 && align_of::<Header>() == 8);

/// An owning pointer to one block.
pub(super) struct Entry(NonNull<Header>);

// SAFETY: a block is plain bytes owned by exactly one `Entry`; nothing in it is tied to a thread.
unsafe impl Send for Entry {}
// SAFETY: through `&Entry` the block is only read.
unsafe impl Sync for Entry {}

impl Entry {
    /// Allocates a block and copies key and value into it. The hash is filled in by [`Entry::set_hash`].
    pub fn new(kind: Kind, hash: u32, key: &[u8], value: &[u8], deadline: Millis) -> Entry {
        assert!(key.len() <= LEN_MAX && value.len() <= LEN_MAX);
        let layout = layout(HEADER + key.len() + value.len());
        // SAFETY: the layout is never of size zero, as it holds a header.
        let block = unsafe { alloc(layout) };
        let Some(block) = NonNull::new(block.cast::<Header>()) else { handle_alloc_error(layout) };
        let header =
            Header { deadline, hash, meta: kind as u32, key_len: key.len() as u32, value_len: value.len() as u32 };
        // SAFETY: the block was just allocated, aligned for a header and large enough for header, key and value; the
        // sources cannot overlap memory that nobody else has seen.
        unsafe {
            block.write(header);
            let body = block.as_ptr().cast::<u8>().add(HEADER);
            body.copy_from_nonoverlapping(key.as_ptr(), key.len());
            body.add(key.len()).copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        Entry(block)
    }

    /// The same value and deadline under another key.
    pub fn rekeyed(&self, hash: u32, key: &[u8]) -> Entry {
        let mut entry = Entry::new(self.kind(), hash, key, self.value(), self.deadline());
        entry.header_mut().meta = self.header().meta & !GROWN;
        entry
    }

    fn header(&self) -> &Header {
        // SAFETY: the block is alive as long as `self` and starts with an initialised header.
        unsafe { self.0.as_ref() }
    }

    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`, and `&mut self` is the only way to the block.
        unsafe { self.0.as_mut() }
    }

    fn body(&self) -> *mut u8 {
        // SAFETY: every block is at least a header long, so this stays inside it or one past its end.
        unsafe { self.0.as_ptr().cast::<u8>().add(HEADER) }
    }

    /// The key's bytes as stored.
    pub fn key(&self) -> &[u8] {
        // SAFETY: `new` wrote `key_len` bytes at `body`, and nothing changes a key.
        unsafe { slice::from_raw_parts(self.body(), self.header().key_len as usize) }
    }

    /// The value's bytes.
    pub fn value(&self) -> &[u8] {
        let header = self.header();
        debug_assert!(HEADER + header.key_len as usize + header.value_len as usize <= self.size());
        // SAFETY: `new` and `resize` keep `value_len` initialised bytes behind the key.
        unsafe { slice::from_raw_parts(self.body().add(header.key_len as usize), header.value_len as usize) }
    }

    /// The value's bytes, to change in place.
    pub fn value_mut(&mut self) -> &mut [u8] {
        let (key_len, value_len) = (self.header().key_len as usize, self.header().value_len as usize);
        // SAFETY: as in `value`, and `&mut self` makes the slice the only one.
        unsafe { slice::from_raw_parts_mut(self.body().add(key_len), value_len) }
    }

    /// Whether the value is exactly this long and its block exactly fits, so that it may be written over.
    pub fn fits(&self, len: usize) -> bool {
        self.header().value_len as usize == len && self.header().meta & GROWN == 0
    }

    /// Makes the value `len` bytes long; what is new is zero. The block gets room to spare, so that a string built
    /// by many small appends is moved seldom.
    pub fn resize(&mut self, len: usize) {
        assert!(len <= LEN_MAX);
        let used = HEADER + self.header().key_len as usize;
        let old_len = self.header().value_len as usize;
        let old = layout(self.size());
        self.header_mut().meta |= GROWN;
        let size = with_room(used + len);
        if size != old.size() {
            // SAFETY: the block was allocated with `old` (see `size`), and `size` is neither zero nor near overflow.
            let block = unsafe { realloc(self.0.as_ptr().cast(), old, size) };
            let Some(block) = NonNull::new(block.cast::<Header>()) else { handle_alloc_error(layout(size)) };
            self.0 = block;
        }
        if len > old_len {
            // SAFETY: the block now has room for `used + len` bytes; the range lies behind the old value.
            unsafe { self.body().add(used - HEADER + old_len).write_bytes(0, len - old_len) };
        }
        self.header_mut().value_len = len as u32;
    }

    /// Bytes of the block.
    pub fn size(&self) -> usize {
        let header = self.header();
        let exact = HEADER + header.key_len as usize + header.value_len as usize;
        if header.meta & GROWN == 0 { exact } else { with_room(exact) }
    }

    /// The low 32 bits of the key's hash.
    pub fn hash(&self) -> u32 {
        self.header().hash
    }

    /// What the value is.
    pub fn kind(&self) -> Kind {
        match self.header().meta & KIND_MASK {
            14 => Kind::Alias,
            15 => Kind::Fence,
            _ => Kind::String,
        }
    }

    /// Whether the value was changed in place.
    pub fn grown(&self) -> bool {
        self.header().meta & GROWN != 0
    }

    /// When it dies.
    pub fn deadline(&self) -> Millis {
        self.header().deadline
    }

    /// Sets when it dies. The caller keeps the shard's counts and reminders.
    pub fn set_deadline(&mut self, deadline: Millis) {
        self.header_mut().deadline = deadline;
    }

    /// Whether its deadline is still to come.
    pub fn is_live(&self, now: Millis) -> bool {
        now < self.deadline()
    }

    /// The 24-bit access clock: seconds for LRU, minutes and a counter for LFU.
    pub fn access(&self) -> u32 {
        self.header().meta >> ACCESS_SHIFT
    }

    /// Notes an access. Written only when it changes, so that a hot entry's line stays clean.
    pub fn set_access(&mut self, access: u32) {
        let meta = (self.header().meta & 0xff) | (access << ACCESS_SHIFT);
        if self.header().meta != meta {
            self.header_mut().meta = meta;
        }
    }
}

impl std::fmt::Debug for Entry {
    /// Lengths only; keys and values are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({:?}, {} + {} bytes)", self.kind(), self.key().len(), self.value().len())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = layout(self.size());
        // SAFETY: allocated by `new` or `resize` with exactly this layout, and never again used.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, align_of::<Header>()).expect("an entry is far smaller than the address space")
}

/// Above this a growing block takes the next megabyte instead of the next power of two.
const DOUBLING_MAX: usize = 1 << 20;

/// The block size of a value that was changed in place. A pure function of what is used, so that no capacity is kept.
fn with_room(used: usize) -> usize {
    if used < DOUBLING_MAX { used.next_power_of_two() } else { used.next_multiple_of(DOUBLING_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_was_put_in() {
        let entry = Entry::new(Kind::String, 7, b"coat", b"a long blue coat", Millis(9));
        assert_eq!((entry.key(), entry.value()), (&b"coat"[..], &b"a long blue coat"[..]));
        assert_eq!((entry.hash(), entry.deadline(), entry.kind()), (7, Millis(9), Kind::String));
        assert_eq!(entry.size(), 24 + 4 + 16);
    }

    #[test]
    fn empty_keys_and_values_are_fine() {
        let mut entry = Entry::new(Kind::Fence, 0, b"", b"", Millis::NEVER);
        assert_eq!((entry.key(), entry.value(), entry.kind()), (&b""[..], &b""[..], Kind::Fence));
        entry.resize(0);
        assert_eq!(entry.value(), b"");
    }

    #[test]
    fn a_value_grows_by_zeros_and_shrinks_keeping_its_head() {
        let mut entry = Entry::new(Kind::String, 1, b"k", b"abc", Millis::NEVER);
        for len in [3, 5, 100, 4096, 2 << 20, 4] {
            entry.resize(len);
            assert_eq!(entry.value().len(), len);
            assert!(entry.value()[3.min(len)..].iter().all(|byte| *byte == 0));
            assert_eq!(&entry.value()[..3], b"abc");
            assert_eq!(entry.key(), b"k");
        }
        entry.value_mut()[3] = b'd';
        assert_eq!(entry.value(), b"abcd");
    }

    #[test]
    fn the_access_clock_does_not_touch_kind_or_flags() {
        let mut entry = Entry::new(Kind::Alias, 1, b"k", b"v", Millis::NEVER);
        entry.resize(2);
        entry.set_access(0x00ff_ffff);
        assert_eq!((entry.kind(), entry.grown(), entry.access()), (Kind::Alias, true, 0x00ff_ffff));
    }

    #[test]
    fn another_key_keeps_value_and_deadline() {
        let mut entry = Entry::new(Kind::String, 1, b"old", b"v", Millis(5));
        entry.resize(3);
        let moved = entry.rekeyed(2, b"a new key");
        assert_eq!((moved.key(), moved.value(), moved.deadline()), (&b"a new key"[..], &b"v\0\0"[..], Millis(5)));
        assert_eq!(moved.size(), 24 + 9 + 3);
    }
}
