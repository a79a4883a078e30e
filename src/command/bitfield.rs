//! BITFIELD: integers of any width at any bit of a string.

use super::bitmap::{grow, offset};
use super::growth::{Growth, growing};
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::error::{Error, Result};
use crate::num;
use crate::resp::{Args, Reply};
use crate::store::{Class, Slot};

use Arity::AtLeast;

const ROW: Spec =
    Spec { group: Group::Bitmap, arity: AtLeast(2), cost: "O(N) where N is the number of operations", ..Spec::BASE };

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "BITFIELD",
        run: bitfield,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: Keys::ONE.with(&["RW", "access", "update", "variable_flags"]),
        usage: "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding \
                offset increment> ...]",
        since: "3.2.0",
        summary: "Reads, writes and adds to integers of any width in a string.",
        ..ROW
    },
    Spec {
        name: "BITFIELD_RO",
        run: bitfield_ro,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: Keys::ONE,
        usage: "key [GET encoding offset [GET encoding offset ...]]",
        since: "6.0.0",
        summary: "Reads integers of any width in a string.",
        ..ROW
    },
];

const BAD_KIND: Error =
    Error::refused("Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
const BAD_OVERFLOW: Error = Error::refused("Invalid OVERFLOW type specified");
const ONLY_GET: Error = Error::refused("BITFIELD_RO only supports the GET subcommand");

/// Bytes that a field can lie in: 64 bits that begin in the middle of one.
const SPAN: usize = 9;

/// An integer in a string.
#[derive(Clone, Copy)]
struct Field {
    signed: bool,
    bits: u32,
    offset: usize,
}

/// What is done to it.
#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    /// It loses its upper bits.
    Wrap,
    /// It becomes the nearest one that fits.
    Saturate,
    /// It is not written.
    Fail,
}

struct Operation {
    field: Field,
    action: Action,
    overflow: Overflow,
}

/// The type and the place of a field.
fn field(ctx: &Ctx<'_>, args: Args<'_>, at: usize) -> Result<Field> {
    let (signed, width) = match args.word(at) {
        [b'i', width @ ..] => (true, width),
        [b'u', width @ ..] => (false, width),
        _ => return Err(BAD_KIND),
    };
    let max = if signed { 64 } else { 63 };
    let bits = num::parse_i64(width).filter(|bits| (1..=max).contains(bits)).ok_or(BAD_KIND)? as u32;
    Ok(Field { signed, bits, offset: offset(ctx, args, at + 1, Some(bits))? })
}

fn parse(ctx: &Ctx<'_>, args: Args<'_>) -> Result<Vec<Operation>> {
    let (mut operations, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while at < args.len() {
        let behind = args.len() - at - 1;
        if args.is(at, "OVERFLOW") && behind >= 1 {
            let kinds = [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
            let found = kinds.into_iter().find(|(name, _)| args.is(at + 1, name));
            overflow = found.ok_or(BAD_OVERFLOW)?.1;
            at += 2;
            continue;
        }
        let (is_set, is_add) = (args.is(at, "SET"), args.is(at, "INCRBY"));
        let is_get = args.is(at, "GET");
        if !(is_get && behind >= 2 || (is_set || is_add) && behind >= 3) {
            return Err(Error::Syntax);
        }
        let field = field(ctx, args, at + 1)?;
        let action = match is_get {
            true => Action::Get,
            false if is_set => Action::Set(args.int(at + 3)?),
            false => Action::Add(args.int(at + 3)?),
        };
        operations.push(Operation { field, action, overflow });
        at += if is_get { 3 } else { 4 };
    }
    Ok(operations)
}

impl Field {
    /// Its first byte, how many bytes it lies in, and how many of their bits are behind it.
    fn place(self) -> (usize, usize, u32) {
        let before = self.offset % 8;
        let bytes = (before + self.bits as usize).div_ceil(8);
        (self.offset / 8, bytes, (SPAN * 8 - before) as u32 - self.bits)
    }

    /// The bytes that it lies in, the first of them highest.
    fn span(self, string: &[u8]) -> u128 {
        let there = string.get(self.offset / 8..).unwrap_or_default();
        let there = &there[..there.len().min(SPAN)];
        let mut bytes = [0; size_of::<u128>()];
        bytes[size_of::<u128>() - SPAN..][..there.len()].copy_from_slice(there);
        u128::from_be_bytes(bytes)
    }

    fn mask(self) -> u128 {
        (1 << self.bits) - 1
    }

    /// The number that its lowest bits mean.
    fn number(self, bits: u128) -> i128 {
        let bits = (bits & self.mask()) as i128;
        let negative = self.signed && bits >> (self.bits - 1) == 1;
        if negative { bits - (1 << self.bits) } else { bits }
    }

    fn get(self, string: &[u8]) -> i128 {
        let (_, _, behind) = self.place();
        self.number(self.span(string) >> behind)
    }

    fn put(self, slot: &mut Slot<'_>, number: i128) -> Result<()> {
        let (first, len, behind) = self.place();
        let span = self.span(slot.string()?.unwrap_or_default());
        let span = span & !(self.mask() << behind) | (number as u128 & self.mask()) << behind;
        let bytes = &span.to_be_bytes()[size_of::<u128>() - SPAN..][..len];
        slot.write_at(first, bytes)?;
        Ok(())
    }

    /// What is written for a number; `None` if it does not fit and that forbids it.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let max = if self.signed { (1 << (self.bits - 1)) - 1 } else { (1 << self.bits) - 1 };
        let min = if self.signed { -max - 1 } else { 0 };
        match overflow {
            _ if (min..=max).contains(&number) => Some(number),
            Overflow::Wrap => Some(self.number(number as u128)),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }
}

/// A number that a field holds fits in an integer of the protocol.
fn show(reply: &mut Reply<'_>, number: i128) {
    reply.int(number as i64);
}

fn bitfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let operations = parse(ctx, args)?;
    let written = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    let Some(last) = written.map(|operation| operation.field.offset + operation.field.bits as usize - 1).max() else {
        return read(ctx, args, &operations);
    };
    let (engine, store, now, reply) = (ctx.engine, ctx.store(), ctx.now, &mut ctx.reply);
    let mut change = |slot: &mut Slot<'_>, growth: &mut Growth<'_>| {
        growth.ask_up_to(slot, last / 8 + 1)?;
        reply.array(operations.len());
        let (grown, mut changed) = (grow(slot, last / 8 + 1)?, false);
        for &Operation { field, action, overflow } in &operations {
            let old = field.get(slot.string()?.unwrap_or_default());
            let (new, shows_old) = match action {
                Action::Get => {
                    show(reply, old);
                    continue;
                }
                // Redis takes a negative number for an unsigned field as a very large one.
                Action::Set(number) if !field.signed => (i128::from(number as u64), true),
                Action::Set(number) => (i128::from(number), true),
                Action::Add(step) => (old + i128::from(step), false),
            };
            let Some(new) = field.fit(new, overflow) else {
                reply.null();
                continue;
            };
            show(reply, if shows_old { old } else { new });
            if new != old {
                field.put(slot, new)?;
            }
            changed |= grown || new != old;
        }
        if changed {
            slot.tell(Class::STRING, "setbit");
        }
        Ok(())
    };
    growing(engine, now, |growth| store.with(args.word(1), now, |slot| change(slot, growth)))
}

fn bitfield_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let operations = parse(ctx, args)?;
    if operations.iter().any(|operation| !matches!(operation.action, Action::Get)) {
        return Err(ONLY_GET);
    }
    read(ctx, args, &operations)
}

fn read(ctx: &mut Ctx<'_>, args: Args<'_>, operations: &[Operation]) -> Result<()> {
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    reply.array(operations.len());
    let mut show_all = |bytes: &[u8]| operations.iter().for_each(|operation| show(reply, operation.field.get(bytes)));
    match reader.get(args.word(1), |value| value.string().map(&mut show_all)) {
        Some(result) => result?,
        None => show_all(&[]),
    }
    Ok(())
}
