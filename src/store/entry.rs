//! What a block says: deadline, access clock and lengths in front, then the key, then the value.
//!
//! The head is packed, as there are millions: 12 bytes where key and value are short, 14 otherwise. An entry that is
//! longer than a block may be lies in a [`Bulk`] of its own, whose number is all that its block holds. What a value means
//! is decided in `value`; here it is only bytes. Nothing here knows shards, sizes in sum or why an entry is removed.

use super::arena::{BLOCK_MAX, rounded};
use crate::clock::Millis;

/// What a block holds. Aliases and fences are the session engine's notes to itself, which no command sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string of bytes.
    String = 0,
    /// The number of a list, and so on: see [`super::objects`].
    List = 1,
    /// The number of a set.
    Set = 2,
    /// The number of a sorted set.
    ZSet = 3,
    /// The number of a hash.
    Hash = 4,
    /// The value is the stored name of another entry: a rotated token that joined its family.
    Alias = 6,
    /// A key that was signed out. It takes no writes until its deadline; the value is the sign-out's ticket.
    Fence = 7,
}

impl Kind {
    #[inline(always)]
    fn of(flags: u8) -> Kind {
        /// By number, of which one is free.
        const KINDS: [Kind; 8] =
            [Kind::String, Kind::List, Kind::Set, Kind::ZSet, Kind::Hash, Kind::String, Kind::Alias, Kind::Fence];
        KINDS[usize::from(flags & KIND_MASK)]
    }

    /// Whether commands see it.
    #[inline(always)]
    pub fn is_visible(self) -> bool {
        // Two bits that no other kind has both of.
        const HIDDEN: u8 = Kind::Alias as u8 & Kind::Fence as u8;
        self as u8 & HIDDEN != HIDDEN
    }

    /// Whether the value is the number of a collection.
    pub fn is_collection(self) -> bool {
        matches!(self, Kind::List | Kind::Set | Kind::ZSet | Kind::Hash)
    }
}

/// The first byte: the kind, and flags. The highest bit is the arena's.
const KIND_MASK: u8 = 0x07;
/// The value has been changed in place since it was set, so its block has room to grow (and Redis calls it `raw`).
const GROWN: u8 = 0x08;
/// Lengths are a byte each.
const SHORT: u8 = 0x10;
/// Key and value lie elsewhere.
const BULK: u8 = 0x20;
/// The deadline is later than [`LATEST`], and eight bytes behind the lengths say when.
const FAR: u8 = 0x40;

const ACCESS_AT: usize = 1;
const DEADLINE_AT: usize = 4;
const LENS_AT: usize = 10;
const SHORT_HEAD: usize = LENS_AT + 2;
const LONG_HEAD: usize = LENS_AT + 4;
const BULK_HEAD: usize = LENS_AT + 12;
const FAR_LEN: usize = 8;

/// The access clock has three bytes.
const ACCESS_MAX: u32 = 0x00ff_ffff;

/// The highest bit of the deadline's six bytes: who is signed in hangs on this entry.
const LOGIN: u64 = 1 << 47;

/// The deadline of what has none.
const NEVER: u64 = LOGIN - 1;

/// The latest deadline that what is left of six bytes can say, in the year 6429.
const LATEST: Millis = Millis(NEVER - 1);

/// Keys and values are at most `proto-max-bulk-len`, which is capped far below this.
const LEN_MAX: usize = u32::MAX as usize;

/// Key and value of an entry that is longer than a block may be.
pub(super) type Bulk = Vec<u8>;

/// An entry where it lies.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    head: Head,
    deadline: Millis,
    key: &'a [u8],
    value: &'a [u8],
    /// Bytes that lie outside of the block.
    outside: usize,
}

/// What an entry is to be, before it has a place.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub kind: Kind,
    pub grown: bool,
    pub login: bool,
    pub access: u32,
    pub deadline: Millis,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

/// What a shard counts of its entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// It has a deadline.
    pub mortal: bool,
    /// No command sees it.
    pub hidden: bool,
    /// Who is signed in hangs on it.
    pub login: bool,
}

impl Marks {
    fn of(kind: Kind, deadline: Millis, login: bool) -> Marks {
        Marks { mortal: deadline != Millis::NEVER, hidden: !kind.is_visible(), login }
    }
}

/// How an entry lies in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    flags: u8,
    /// Bytes of the block.
    pub len: usize,
}

impl Shape {
    /// The shape for a key and a value of these lengths, and a deadline.
    pub fn of(grown: bool, key_len: usize, value_len: usize, deadline: Millis) -> Shape {
        assert!(key_len <= LEN_MAX && value_len <= LEN_MAX);
        let (short, head) = match key_len.max(value_len) {
            0..=255 => (SHORT, SHORT_HEAD),
            _ => (0, LONG_HEAD),
        };
        let (far, far_len) = if is_far(deadline) { (FAR, FAR_LEN) } else { (0, 0) };
        let exact = head + far_len + key_len + value_len;
        let (grown, room) = if grown { (GROWN, exact.next_power_of_two()) } else { (0, exact) };
        match rounded(room) {
            len if len <= BLOCK_MAX => Shape { flags: short | far | grown, len },
            _ => Shape { flags: BULK | far | grown, len: rounded(BULK_HEAD + far_len) },
        }
    }

    /// Whether key and value lie elsewhere.
    pub fn is_bulk(self) -> bool {
        self.flags & BULK != 0
    }
}

impl Draft<'_> {
    /// What a shard counts of it.
    pub fn marks(&self) -> Marks {
        Marks::of(self.kind, self.deadline, self.login)
    }

    pub fn shape(&self) -> Shape {
        Shape::of(self.grown, self.key.len(), self.value.len(), self.deadline)
    }

    /// Key and value as they lie outside of a block.
    pub fn bulk(&self) -> Bulk {
        let mut bulk = Vec::with_capacity(self.key.len() + self.value.len());
        bulk.extend_from_slice(self.key);
        bulk.extend_from_slice(self.value);
        bulk
    }

    /// Writes the entry over one of the same key and shape, whose key stays.
    pub fn rewrite(&self, block: &mut [u8]) {
        let head = Head::of(block);
        let flags = head.0 as u8 & !KIND_MASK | self.kind as u8;
        let front = u128::from(due_of(self.deadline, self.login)) << (8 * DEADLINE_AT)
            | u128::from(self.access & ACCESS_MAX) << (8 * ACCESS_AT)
            | u128::from(flags);
        let lens = head.0 >> (8 * LENS_AT) << (8 * LENS_AT);
        if let Some(bytes) = block.first_chunk_mut() {
            *bytes = (lens | front).to_le_bytes();
        }
        let (key_len, value_len, start) = head.lens();
        block[start + key_len..start + key_len + value_len].copy_from_slice(self.value);
    }

    /// Writes the entry into its block; `bulk` is the number of what lies elsewhere.
    pub fn write(&self, block: &mut [u8], shape: Shape, bulk: u32) {
        block[0] = self.kind as u8 | shape.flags;
        set_access(block, self.access);
        set_login(block, self.login);
        set_deadline(block, self.deadline);
        if shape.is_bulk() {
            block[LENS_AT + 8..BULK_HEAD].copy_from_slice(&bulk.to_le_bytes());
        }
        set_lens(block, self.key.len(), self.value.len());
        if !shape.is_bulk() {
            let (_, _, start) = lens(block);
            let (key, rest) = block[start..].split_at_mut(self.key.len());
            key.copy_from_slice(self.key);
            rest[..self.value.len()].copy_from_slice(self.value);
        }
    }
}

/// Writes the lengths in the width that the block's flags say.
fn set_lens(block: &mut [u8], key_len: usize, value_len: usize) {
    if block[0] & BULK != 0 {
        block[LENS_AT..LENS_AT + 4].copy_from_slice(&(key_len as u32).to_le_bytes());
        block[LENS_AT + 4..LENS_AT + 8].copy_from_slice(&(value_len as u32).to_le_bytes());
    } else if block[0] & SHORT != 0 {
        block[LENS_AT] = key_len as u8;
        block[LENS_AT + 1] = value_len as u8;
    } else {
        block[LENS_AT..LENS_AT + 2].copy_from_slice(&(key_len as u16).to_le_bytes());
        block[LENS_AT + 2..LENS_AT + 4].copy_from_slice(&(value_len as u16).to_le_bytes());
    }
}

/// The first bytes of a block, which no block is shorter than. A look-up asks them several things; as one number they
/// are read once.
#[derive(Clone, Copy)]
struct Head(u128);

impl Head {
    #[inline(always)]
    fn of(block: &[u8]) -> Head {
        Head(block.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes)))
    }

    fn has(self, flag: u8) -> bool {
        self.0 as u8 & flag != 0
    }

    /// Lengths of key and value, and where they begin, unless they lie elsewhere.
    #[inline(always)]
    fn lens(self) -> (usize, usize, usize) {
        let far = if self.has(FAR) { FAR_LEN } else { 0 };
        let both = (self.0 >> (8 * LENS_AT)) as usize;
        match self.has(SHORT) {
            true => (both & 0xff, both >> 8 & 0xff, SHORT_HEAD + far),
            false => (both & 0xffff, both >> 16 & 0xffff, LONG_HEAD + far),
        }
    }

    /// The six bytes of the deadline, with what its highest bit says.
    fn due(self) -> u64 {
        (self.0 >> (8 * DEADLINE_AT)) as u64 & (LOGIN | NEVER)
    }

    /// When it dies, unless that is far.
    fn deadline(self) -> Millis {
        match self.due() & !LOGIN {
            NEVER => Millis::NEVER,
            deadline => Millis(deadline),
        }
    }
}

/// Lengths of key and value, and where they begin if they lie in the block.
#[inline(always)]
fn lens(block: &[u8]) -> (usize, usize, usize) {
    let head = Head::of(block);
    if head.has(BULK) { bulk_lens(block) } else { head.lens() }
}

#[cold]
fn bulk_lens(block: &[u8]) -> (usize, usize, usize) {
    let word = |at: usize| block[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word)) as usize;
    let far = if block[0] & FAR != 0 { FAR_LEN } else { 0 };
    (word(LENS_AT), word(LENS_AT + 4), BULK_HEAD + far)
}

/// The length of a block, from its first bytes.
pub(super) fn block_len(block: &[u8]) -> usize {
    let (key_len, value_len, head) = lens(block);
    match block[0] & (GROWN | BULK) {
        0 => rounded(head + key_len + value_len),
        GROWN => rounded((head + key_len + value_len).next_power_of_two()),
        _ => rounded(head),
    }
}

/// The number of what lies outside of its block.
pub(super) fn bulk_of(block: &[u8]) -> Option<usize> {
    let number = || block[LENS_AT + 8..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word)) as usize;
    (block[0] & BULK != 0).then(number)
}

/// The key of an entry.
#[inline]
pub(super) fn key_of<'a>(block: &'a [u8], bulks: &'a [Bulk]) -> &'a [u8] {
    let (key_len, _, head) = lens(block);
    match bulk_of(block) {
        None => &block[head..head + key_len],
        Some(bulk) => &bulks[bulk][..key_len],
    }
}

/// The value of an entry, to change in place.
pub(super) fn value_mut<'a>(block: &'a mut [u8], bulks: &'a mut [Bulk]) -> &'a mut [u8] {
    let (key_len, value_len, head) = lens(block);
    match bulk_of(block) {
        None => &mut block[head + key_len..head + key_len + value_len],
        Some(bulk) => &mut bulks[bulk][key_len..],
    }
}

/// Makes a value longer or shorter that stays in its block; what is new is zero.
pub(super) fn set_value_len(block: &mut [u8], len: usize) {
    let (key_len, old, head) = lens(block);
    set_lens(block, key_len, len);
    if len > old && block[0] & BULK == 0 {
        block[head + key_len + old..head + key_len + len].fill(0);
    }
}

/// When the entry in a block dies.
#[inline]
pub(super) fn deadline(block: &[u8]) -> Millis {
    let head = Head::of(block);
    if head.has(FAR) { far_deadline(block) } else { head.deadline() }
}

#[cold]
fn far_deadline(block: &[u8]) -> Millis {
    let (_, _, end) = lens(block);
    block[end - FAR_LEN..].first_chunk().map_or(LATEST, |far| Millis(u64::from_le_bytes(*far)))
}

/// Sets when it dies, which must be as near or far as before. The caller keeps the shard's counts and reminders.
pub(super) fn set_deadline(block: &mut [u8], deadline: Millis) {
    debug_assert_eq!(is_far(deadline), block[0] & FAR != 0);
    let due = due_of(deadline, is_login(block));
    block[DEADLINE_AT..LENS_AT].copy_from_slice(&due.to_le_bytes()[..6]);
    if block[0] & FAR != 0 {
        let (_, _, end) = lens(block);
        block[end - FAR_LEN..end].copy_from_slice(&deadline.0.to_le_bytes());
    }
}

/// A deadline's six bytes.
fn due_of(deadline: Millis, login: bool) -> u64 {
    let kept = if deadline == Millis::NEVER { NEVER } else { deadline.min(LATEST).0 };
    if login { kept | LOGIN } else { kept }
}

fn set_login(block: &mut [u8], login: bool) {
    block[LENS_AT - 1] = if login { (LOGIN >> 40) as u8 } else { 0 };
}

fn is_login(block: &[u8]) -> bool {
    block[LENS_AT - 1] & (LOGIN >> 40) as u8 != 0
}

/// Whether a deadline takes more than six bytes.
fn is_far(deadline: Millis) -> bool {
    deadline > LATEST && deadline != Millis::NEVER
}

/// Notes an access.
pub(super) fn set_access(block: &mut [u8], access: u32) {
    block[ACCESS_AT..DEADLINE_AT].copy_from_slice(&access.to_le_bytes()[..3]);
}

impl<'a> Entry<'a> {
    /// Reads a block.
    #[inline(always)]
    pub fn read(block: &'a [u8], bulks: &'a [Bulk]) -> Entry<'a> {
        let head = Head::of(block);
        if head.has(BULK | FAR) {
            return Entry::read_seldom(block, bulks);
        }
        let (key_len, value_len, start) = head.lens();
        let (key, value) = block[start..start + key_len + value_len].split_at(key_len);
        Entry { head, deadline: head.deadline(), key, value, outside: 0 }
    }

    /// Reads a block whose head does not say it all.
    #[cold]
    fn read_seldom(block: &'a [u8], bulks: &'a [Bulk]) -> Entry<'a> {
        let (key_len, value_len, start) = lens(block);
        let (bytes, outside) = match bulk_of(block) {
            None => (&block[start..start + key_len + value_len], 0),
            Some(bulk) => (&bulks[bulk][..], bulks[bulk].capacity()),
        };
        let (key, value) = bytes.split_at(key_len);
        Entry { head: Head::of(block), deadline: deadline(block), key, value, outside }
    }

    /// The key's bytes as stored.
    pub fn key(self) -> &'a [u8] {
        self.key
    }

    /// The value's bytes.
    pub fn value(self) -> &'a [u8] {
        self.value
    }

    /// Bytes that it takes.
    pub fn size(self) -> usize {
        let shape = Shape::of(self.grown(), self.key.len(), self.value.len(), self.deadline);
        shape.len + self.outside
    }

    /// What the value is.
    pub fn kind(self) -> Kind {
        Kind::of(self.head.0 as u8)
    }

    /// The number of the collection that hangs off it.
    pub fn object(self) -> Option<u32> {
        self.kind()
            .is_collection()
            .then(|| self.value.first_chunk().map_or(u32::MAX, |number| u32::from_le_bytes(*number)))
    }

    /// Whether the value was changed in place.
    pub fn grown(self) -> bool {
        self.head.has(GROWN)
    }

    /// Whether who is signed in hangs on it.
    pub fn is_login(self) -> bool {
        self.head.due() & LOGIN != 0
    }

    /// When it dies.
    pub fn deadline(self) -> Millis {
        self.deadline
    }

    /// What a shard counts of it.
    pub fn marks(self) -> Marks {
        Marks::of(self.kind(), self.deadline, self.is_login())
    }

    /// Whether an entry of the same key, with this shape and a value of this length, can be written over it: where one head
    /// says all.
    pub fn has_shape(self, shape: Shape, value_len: usize) -> bool {
        self.head.0 as u8 & !KIND_MASK == shape.flags
            && shape.flags & (BULK | FAR) == 0
            && self.value.len() == value_len
    }

    /// The same, to be put elsewhere.
    pub fn draft(self) -> Draft<'a> {
        Draft {
            kind: self.kind(),
            grown: self.grown(),
            login: self.is_login(),
            access: self.access(),
            deadline: self.deadline(),
            key: self.key,
            value: self.value,
        }
    }

    /// Whether its deadline is still to come.
    pub fn is_live(self, now: Millis) -> bool {
        now < self.deadline()
    }

    /// The 24-bit access clock; what it means depends on the policy.
    pub fn access(self) -> u32 {
        self.head.0 as u32 >> (8 * ACCESS_AT)
    }
}

impl std::fmt::Debug for Entry<'_> {
    /// Lengths only; keys and values are nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({:?}, {} + {} bytes)", self.kind(), self.key.len(), self.value.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft<'a>(key: &'a [u8], value: &'a [u8]) -> Draft<'a> {
        Draft { kind: Kind::String, grown: false, login: false, access: 0x00ab_cdef, deadline: Millis(9), key, value }
    }

    #[test]
    fn a_block_gives_back_what_was_put_in() {
        for (key_len, value_len, size) in [(0, 0, 16), (4, 16, 32), (15, 32, 60), (343, 300, 660), (36, 300, 352)] {
            let (key, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
            let draft = draft(&key, &value);
            let mut block = vec![0; draft.shape().len];
            draft.write(&mut block, draft.shape(), 0);
            let entry = Entry::read(&block, &[]);
            assert_eq!((entry.key(), entry.value(), key_of(&block, &[])), (&key[..], &value[..], &key[..]));
            assert_eq!((entry.deadline(), entry.kind(), entry.access()), (Millis(9), Kind::String, 0x00ab_cdef));
            assert_eq!((entry.size(), block_len(&block)), (size, size), "{key_len} + {value_len}");
        }
    }

    #[test]
    fn what_is_long_lies_elsewhere() {
        let value = vec![b'v'; 20_000];
        let draft = draft(b"key", &value);
        assert!(draft.shape().is_bulk());
        let mut block = vec![0; draft.shape().len];
        draft.write(&mut block, draft.shape(), 1);
        let bulks = [Vec::new(), draft.bulk()];
        let entry = Entry::read(&block, &bulks);
        assert_eq!((entry.key(), entry.value()), (&b"key"[..], &value[..]));
        assert!(entry.size() >= 20_003 && block_len(&block) == 24);
    }

    #[test]
    fn a_deadline_is_exact_and_never_is_never() {
        for (value, bulks) in
            [(&b"v"[..], vec![]), (&[7; 300], vec![]), (&[7; 20_000], vec![[&b"k"[..], &[7; 20_000]].concat()])]
        {
            for deadline in [0, 1, 1_700_000_000_123, LATEST.0, LATEST.0 + 1, i64::MAX as u64, u64::MAX - 1, u64::MAX] {
                let login = deadline % 2 == 0;
                let draft = Draft { deadline: Millis(deadline), login, ..draft(b"k", value) };
                let mut block = vec![0; draft.shape().len];
                draft.write(&mut block, draft.shape(), 0);
                let entry = Entry::read(&block, &bulks);
                assert_eq!((entry.deadline(), entry.key(), entry.value()), (Millis(deadline), &b"k"[..], value));
                assert_eq!(entry.is_login(), login);
                assert_eq!(block_len(&block), block.len());
            }
        }
    }
}
