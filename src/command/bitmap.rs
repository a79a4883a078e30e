//! Bitmaps: the bits of strings. The first bit is the highest of the first byte; what is behind a string is zero.

use super::growth::{Growth, growing};
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::num;
use crate::resp::Args;
use crate::store::{Class, Slot, Slots, Store};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Bitmap, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;

/// The keys behind the one that the result goes to.
const SOURCES: Keys = Keys { first: 3, ..Keys::ALL };

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "BITCOUNT",
        run: bitcount,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key [start end [BYTE | BIT]]",
        since: "2.6.0",
        cost: "O(N) where N is the length of the range",
        summary: "Counts the bits that are set in a string or in a range of it.",
        ..ROW
    },
    Spec {
        name: "BITOP",
        run: bitop,
        arity: AtLeast(4),
        flags: WRITE.and(DENYOOM),
        keys: Keys { first: 2, last: 2, ..Keys::ONE }.with(&["OW", "update"]).and(&SOURCES),
        usage: "<AND | OR | XOR | NOT> destination key [key ...]",
        since: "2.6.0",
        cost: "O(N) where N is the length of all strings",
        summary: "Combines strings bit by bit and keeps the result at a key.",
        ..ROW
    },
    Spec {
        name: "BITPOS",
        run: bitpos,
        arity: AtLeast(3),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key bit [start [end [BYTE | BIT]]]",
        since: "2.8.7",
        cost: "O(N) where N is the length of the range",
        summary: "Returns the position of the first bit that is set, or not set, in a string or in a range of it.",
        ..ROW
    },
    Spec {
        name: "GETBIT",
        run: getbit,
        arity: Exactly(3),
        flags: READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        usage: "key offset",
        since: "2.2.0",
        summary: "Returns one bit of a string.",
        ..ROW
    },
    Spec {
        name: "SETBIT",
        run: setbit,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(&["RW", "access", "update"]),
        usage: "key offset value",
        since: "2.2.0",
        summary: "Sets or clears one bit of a string, which grows with zeros if it is too short, and returns the old one.",
        ..ROW
    },
];

const BAD_OFFSET: Error = Error::refused("bit offset is not an integer or out of range");
const BAD_BIT: Error = Error::refused("bit is not an integer or out of range");
const NOT_A_BIT: Error = Error::refused("The bit argument must be 1 or 0.");
const NOT_ALONE: Error = Error::refused("BITOP NOT must be called with a single source key.");

/// A bit's position as a request says it, in units of so many bits if it begins with `#` and such are known.
pub(super) fn offset(ctx: &Ctx<'_>, args: Args<'_>, at: usize, unit: Option<u32>) -> Result<usize> {
    let word = args.word(at);
    let (number, unit) = match (unit, word) {
        (Some(unit), [b'#', number @ ..]) => (number, i64::from(unit)),
        _ => (word, 1),
    };
    let offset = num::parse_i64(number).and_then(|number| usize::try_from(number.checked_mul(unit)?).ok());
    offset.filter(|offset| offset / 8 < ctx.engine.hot.bulk_max()).ok_or(BAD_OFFSET)
}

/// Makes the string of a slot so long if it is shorter, and tells whether it was.
pub(super) fn grow(slot: &mut Slot<'_>, len: usize) -> Result<bool> {
    let short = slot.string()?.is_none_or(|bytes| bytes.len() < len);
    if short {
        slot.write_at(len - 1, &[0])?;
    }
    Ok(short)
}

fn bit(bytes: &[u8], offset: usize) -> bool {
    bytes.get(offset / 8).is_some_and(|byte| byte & mask(offset) != 0)
}

/// The bit of a position in its byte.
fn mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

fn getbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let offset = offset(ctx, args, 2, None)?;
    let found = ctx.reader().get(args.word(1), |value| value.string().map(|bytes| bit(bytes, offset)));
    ctx.reply.int(i64::from(found.transpose()?.unwrap_or(false)));
    Ok(())
}

fn setbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let offset = offset(ctx, args, 2, None)?;
    let on = match args.int_or(3, BAD_BIT)? {
        0 => false,
        1 => true,
        _ => return Err(BAD_BIT),
    };
    let change = |slot: &mut Slot<'_>, growth: &mut Growth<'_>| -> Result<bool> {
        growth.ask_up_to(slot, offset / 8 + 1)?;
        let grown = grow(slot, offset / 8 + 1)?;
        let byte = slot.string()?.and_then(|bytes| bytes.get(offset / 8)).copied().unwrap_or(0);
        let was = byte & mask(offset) != 0;
        if was != on {
            slot.write_at(offset / 8, &[byte ^ mask(offset)])?;
        }
        if grown || was != on {
            slot.tell(Class::STRING, "setbit");
        }
        Ok(was)
    };
    let (store, now) = (ctx.store(), ctx.now);
    let was = growing(ctx.engine, now, |growth| store.with(args.word(1), now, |slot| change(slot, growth)))?;
    ctx.reply.int(i64::from(was));
    Ok(())
}

// ---- ranges -----------------------------------------------------------------------------------------------------

/// What a range of a string is counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(args: Args<'_>, at: usize) -> Result<Unit> {
        if args.is(at, "BIT") {
            Ok(Unit::Bit)
        } else if args.is(at, "BYTE") {
            Ok(Unit::Byte)
        } else {
            Err(Error::Syntax)
        }
    }

    /// The bits between two ends, both included, the second one the last of the string if it is not given; `None` if
    /// there are none. Negative ends count from the end of the string.
    fn range(self, bytes: &[u8], start: i64, end: Option<i64>) -> Option<(usize, usize)> {
        let width = if self == Unit::Bit { 1 } else { 8 };
        let len = bytes.len() as i64 * 8 / width;
        let end = end.unwrap_or(-1);
        let from_front = |end: i64| if end < 0 { end.saturating_add(len).max(0) } else { end };
        let (start, end) = (from_front(start), from_front(end).min(len - 1));
        (start <= end).then(|| ((start * width) as usize, ((end + 1) * width) as usize))
    }
}

/// The bits of a byte that are in a range of bits.
fn within(index: usize, start: usize, end: usize) -> u8 {
    let before = start.saturating_sub(index * 8).min(8) as u32;
    let behind = (index * 8 + 8).saturating_sub(end).min(8) as u32;
    let (left, right) = (0xffu8.checked_shr(before), 0xffu8.checked_shl(behind));
    left.unwrap_or(0) & right.unwrap_or(0)
}

fn bitcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (start, end, unit) = match args.len() {
        2 => (0, -1, Unit::Byte),
        4 => (args.int(2)?, args.int(3)?, Unit::Byte),
        5 => (args.int(2)?, args.int(3)?, Unit::parse(args, 4)?),
        _ => return Err(Error::Syntax),
    };
    // Two ends before the beginning would both be moved to it, and meet there; for BITPOS they do.
    let crossed = start < 0 && end < 0 && start > end;
    let range = |bytes: &[u8]| unit.range(bytes, start, Some(end)).filter(|_| !crossed);
    let count = |bytes: &[u8]| range(bytes).map_or(0, |(start, end)| count(bytes, start, end));
    let found = ctx.reader().get(args.word(1), |value| value.string().map(count));
    ctx.reply.count(found.transpose()?.unwrap_or(0));
    Ok(())
}

/// How many bits of a range are set.
fn count(bytes: &[u8], start: usize, end: usize) -> usize {
    let (first, last) = (start / 8, (end - 1) / 8);
    let ones = |index: usize| (bytes[index] & within(index, start, end)).count_ones() as usize;
    if first == last {
        return ones(first);
    }
    let (words, rest) = bytes[first + 1..last].as_chunks::<8>();
    let words: usize = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as usize).sum();
    let rest: usize = rest.iter().map(|byte| byte.count_ones() as usize).sum();
    ones(first) + words + rest + ones(last)
}

fn bitpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let wanted = match args.int(2)? {
        0 => false,
        1 => true,
        _ => return Err(NOT_A_BIT),
    };
    if args.len() > 6 {
        return Err(Error::Syntax);
    }
    let start = if args.len() > 3 { args.int(3)? } else { 0 };
    let unit = if args.len() > 5 { Unit::parse(args, 5)? } else { Unit::Byte };
    let end = if args.len() > 4 { Some(args.int(4)?) } else { None };
    let search = |bytes: &[u8]| {
        let Some((start, to)) = unit.range(bytes, start, end) else { return -1 };
        match position(bytes, wanted, start, to) {
            Some(position) => position as i64,
            // What is behind a string is zero, unless the range has an end.
            None if !wanted && end.is_none() => to as i64,
            None => -1,
        }
    };
    let found = ctx.reader().get(args.word(1), |value| value.string().map(search));
    ctx.reply.int(found.transpose()?.unwrap_or(if wanted { -1 } else { 0 }));
    Ok(())
}

/// The first bit of a range that is set, or not set.
fn position(bytes: &[u8], wanted: bool, start: usize, end: usize) -> Option<usize> {
    let dull = if wanted { 0 } else { 0xff };
    let (first, last) = (start / 8, (end - 1) / 8);
    let at = |index: usize| {
        let bits = (bytes[index] ^ dull) & within(index, start, end);
        (bits != 0).then(|| index * 8 + bits.leading_zeros() as usize)
    };
    at(first).or_else(|| {
        let inner = bytes.get(first + 1..=last)?;
        let (words, _) = inner.as_chunks::<8>();
        let skipped = words.iter().take_while(|word| **word == [dull; 8]).count() * 8;
        let found = inner[skipped..].iter().position(|byte| *byte != dull)?;
        at(first + 1 + skipped + found)
    })
}

// ---- several strings --------------------------------------------------------------------------------------------

/// How strings are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(args: Args<'_>, at: usize) -> Result<Operation> {
        let names = [("AND", Operation::And), ("OR", Operation::Or), ("XOR", Operation::Xor), ("NOT", Operation::Not)];
        let found = names.into_iter().find(|(name, _)| args.is(at, name));
        found.map(|(_, operation)| operation).ok_or(Error::Syntax)
    }

    /// Takes a string in. What is behind the shorter one counts as zeros.
    fn apply(self, result: &mut Vec<u8>, bytes: &[u8]) {
        if result.len() < bytes.len() {
            result.resize(bytes.len(), 0);
        }
        let (head, tail) = result.split_at_mut(bytes.len());
        let pairs = head.iter_mut().zip(bytes);
        match self {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                tail.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
            Operation::Not => pairs.for_each(|(byte, other)| *byte = !other),
        }
    }
}

fn bitop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let operation = Operation::parse(args, 1)?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(NOT_ALONE);
    }
    let (reader, keys) = (ctx.reader(), ctx.keys(args.tail(1), 1));
    let combine = |slots: &mut Slots<'_, '_>, growth: &mut Growth<'_>| -> Result<usize> {
        let mut longest = 0;
        for at in 1..keys.len() {
            longest = longest.max(slots.at(at).string()?.map_or(0, <[u8]>::len));
        }
        // Once to be combined, and once to be kept.
        growth.ask(2 * longest)?;
        let mut result = Vec::with_capacity(longest);
        for at in 1..keys.len() {
            let mut slot = slots.at(at);
            reader.note(&mut slot);
            let bytes = slot.string()?.unwrap_or_default();
            match at {
                1 if operation != Operation::Not => result.extend_from_slice(bytes),
                _ => operation.apply(&mut result, bytes),
            }
        }
        let mut slot = slots.at(0);
        if !result.is_empty() {
            // Written into a new string and not as one, it is not taken for a number, as in Redis.
            slot.put_bytes(b"", Millis::NEVER)?;
            slot.write_at(0, &result)?;
            slot.tell(Class::STRING, "set");
        } else if slot.value().is_some() {
            slot.remove();
            slot.tell(Class::GENERIC, "del");
        }
        Ok(result.len())
    };
    let len = growing(ctx.engine, ctx.now, |growth| Store::with_all(&keys, ctx.now, |slots| combine(slots, growth)))?;
    ctx.reply.count(len);
    Ok(())
}
