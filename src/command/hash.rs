//! Hashes: fields with values.
//!
//! Replies are written while the hash is held, so that nothing of it is copied twice. What changes nothing does not edit the
//! hash either: an edit counts as a change for whoever watches the key.

use super::read::Reader;
use super::scan::{self, Sought};
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::error::{Error, Result};
use crate::num::{self, LongDouble};
use crate::resp::{Args, Reply, Version};
use crate::store::{Class, Element, Hash, STRING_MAX};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Hash, since: "2.0.0", ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;

/// Tells about the value without returning any of it.
const LOOKS: &[&str] = &["RO"];
/// Returns what was there and changes it.
const CHANGES: &[&str] = &["RW", "access", "update"];

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "HDEL",
        run: hdel,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(&["RW", "delete"]),
        usage: "key field [field ...]",
        cost: "O(N) where N is the number of fields",
        summary: "Deletes fields of a hash and returns how many there were; with its last field the key is deleted too.",
        ..ROW
    },
    Spec {
        name: "HEXISTS",
        run: hexists,
        arity: Exactly(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(LOOKS),
        usage: "key field",
        summary: "Returns whether a hash has a field.",
        ..ROW
    },
    Spec {
        name: "HGET",
        run: hget,
        arity: Exactly(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key field",
        summary: "Returns the value of a field of a hash.",
        ..ROW
    },
    Spec {
        name: "HGETALL",
        run: hgetall,
        arity: Exactly(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key",
        cost: "O(N) where N is the number of fields",
        tips: tips::ORDER_VARIES,
        summary: "Returns all fields of a hash with their values.",
        ..ROW
    },
    Spec {
        name: "HINCRBY",
        run: hincr_by,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key field increment",
        summary: "Adds a number to the integer in a field of a hash, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "HINCRBYFLOAT",
        run: hincr_by_float,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key field increment",
        since: "2.6.0",
        summary: "Adds a floating-point number to the number in a field of a hash, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "HKEYS",
        run: hkeys,
        arity: Exactly(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key",
        cost: "O(N) where N is the number of fields",
        tips: tips::ORDER_VARIES,
        summary: "Returns all fields of a hash.",
        ..ROW
    },
    Spec {
        name: "HLEN",
        run: hlen,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(LOOKS),
        usage: "key",
        summary: "Returns the number of fields of a hash.",
        ..ROW
    },
    Spec {
        name: "HMGET",
        run: hmget,
        arity: AtLeast(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key field [field ...]",
        cost: "O(N) where N is the number of fields asked for",
        summary: "Returns the values of several fields of a hash, null for each that is not there.",
        ..ROW
    },
    Spec {
        name: "HMSET",
        run: hmset,
        arity: AtLeast(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key field value [field value ...]",
        cost: "O(N) where N is the number of fields that are set",
        summary: "Sets fields of a hash; an older form of HSET.",
        ..ROW
    },
    Spec {
        name: "HRANDFIELD",
        run: hrand_field,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key [count [WITHVALUES]]",
        since: "6.2.0",
        cost: "O(N) where N is the number of fields returned, or of all fields if a large part of them is",
        tips: tips::VARIES,
        summary: "Returns one or several fields of a hash, picked by chance.",
        ..ROW
    },
    Spec {
        name: "HSCAN",
        run: hscan,
        arity: AtLeast(3),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key cursor [MATCH pattern] [COUNT count]",
        since: "2.8.0",
        cost: "O(1) for each call, O(N) for a whole scan of N fields",
        tips: tips::VARIES,
        summary: "Returns some fields of a hash with their values, and a cursor to go on with.",
        ..ROW
    },
    Spec {
        name: "HSET",
        run: hset,
        arity: AtLeast(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key field value [field value ...]",
        cost: "O(N) where N is the number of fields that are set",
        summary: "Sets fields of a hash, creating it if there is none, and returns how many are new.",
        ..ROW
    },
    Spec {
        name: "HSETNX",
        run: hset_nx,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(&["RW", "insert"]),
        usage: "key field value",
        summary: "Sets a field of a hash unless it is there.",
        ..ROW
    },
    Spec {
        name: "HSTRLEN",
        run: hstrlen,
        arity: Exactly(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(LOOKS),
        usage: "key field",
        since: "3.2.0",
        summary: "Returns the length of the value of a field of a hash.",
        ..ROW
    },
    Spec {
        name: "HVALS",
        run: hvals,
        arity: Exactly(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key",
        cost: "O(N) where N is the number of fields",
        tips: tips::ORDER_VARIES,
        summary: "Returns all values of a hash.",
        ..ROW
    },
];

const NOT_INTEGER: Error = Error::refused("hash value is not an integer");
const NOT_FLOAT: Error = Error::refused("hash value is not a float");
const OVERFLOW: Error = Error::refused("increment or decrement would overflow");
const NOT_FINITE: Error = Error::refused("increment would produce NaN or Infinity");
const INFINITE: Error = Error::refused("value is NaN or Infinity");
const COUNT_RANGE: Error =
    Error::refused("value is out of range, value must between -9223372036854775807 and 9223372036854775807");
const COUNT_TOO_LARGE: Error = Error::refused("value is out of range");

/// Random fields that one request may ask for with repetition. Their number has no other bound.
const PICKS_MAX: u64 = 10_000_000;

/// Shows the hash at a key, if there is one, to a command that reads it.
fn look<R>(reader: Reader<'_>, key: &[u8], f: impl FnOnce(&Hash) -> R) -> Result<Option<R>> {
    reader.get(key, |value| value.collection().map(f)).transpose()
}

fn show(reply: &mut Reply<'_>, element: Element<'_>) {
    element.with_bytes(|bytes| reply.bulk(bytes));
}

// ---- reading ----------------------------------------------------------------------------------------------------

fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    get_each(ctx, args)
}

fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.reply.array(args.len() - 2);
    get_each(ctx, args)
}

/// The values of all fields that are named.
fn get_each(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    let fields = args.iter().skip(2);
    let found = look(reader, args.word(1), |hash| {
        for field in fields.clone() {
            match hash.get(field) {
                Some(value) => show(reply, value),
                None => reply.null(),
            }
            // One that is named often comes often.
            if reply.is_over() {
                break;
            }
        }
    })?;
    if found.is_none() {
        fields.for_each(|_| reply.null());
    }
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let found = look(ctx.reader(), args.word(1), |hash| hash.get(args.word(2)).is_some())?;
    ctx.reply.int(i64::from(found == Some(true)));
    Ok(())
}

fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let len = |hash: &Hash| hash.get(args.word(2)).map_or(0, |value| value.with_bytes(<[u8]>::len));
    let len = look(ctx.reader(), args.word(1), len)?;
    ctx.reply.count(len.unwrap_or(0));
    Ok(())
}

fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let len = look(ctx.reader(), args.word(1), Hash::len)?;
    ctx.reply.count(len.unwrap_or(0));
    Ok(())
}

fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    let found = look(reader, args.word(1), |hash| {
        reply.map(hash.len());
        for (field, value) in hash.iter() {
            show(reply, field);
            show(reply, value);
        }
    })?;
    if found.is_none() {
        reply.map(0);
    }
    Ok(())
}

fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    one_of_each(ctx, args, |(field, _)| field)
}

fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    one_of_each(ctx, args, |(_, value)| value)
}

/// All fields, or all values.
fn one_of_each(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    which: for<'h> fn((Element<'h>, Element<'h>)) -> Element<'h>,
) -> Result<()> {
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    let found = look(reader, args.word(1), |hash| {
        reply.array(hash.len());
        hash.iter().for_each(|pair| show(reply, which(pair)));
    })?;
    if found.is_none() {
        reply.array(0);
    }
    Ok(())
}

fn hrand_field(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (engine, reader, reply) = (ctx.engine, ctx.reader(), &mut ctx.reply);
    let chance = || engine.chance();
    if args.len() == 2 {
        let found = look(reader, args.word(1), |hash| {
            hash.random(chance).into_iter().for_each(|(field, _)| show(reply, field));
        })?;
        if found.is_none() {
            reply.null();
        }
        return Ok(());
    }
    let count = args.int(2)?;
    let with_values = args.len() == 4 && args.is(3, "WITHVALUES");
    if count == i64::MIN {
        return Err(COUNT_RANGE);
    }
    if args.len() > 3 && !with_values {
        return Err(Error::Syntax);
    }
    // With values the reply has twice as many elements, whose number must have been one too.
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(COUNT_TOO_LARGE);
    }
    let pairs = with_values && reply.version() == Version::Resp3;
    let head = |reply: &mut Reply<'_>, len: usize| reply.array(if with_values && !pairs { 2 * len } else { len });
    let one = |reply: &mut Reply<'_>, (field, value): (Element<'_>, Element<'_>)| {
        if pairs {
            reply.array(2);
        }
        show(reply, field);
        if with_values {
            show(reply, value);
        }
    };
    let found = look(reader, args.word(1), |hash| {
        if let Ok(count) = usize::try_from(count) {
            head(reply, count.min(hash.len()));
            hash.sample(count, chance, |pair| one(reply, pair));
            return Ok(());
        }
        let count = Some(count.unsigned_abs()).filter(|count| *count <= PICKS_MAX).ok_or(COUNT_TOO_LARGE)? as usize;
        head(reply, count);
        hash.picks(count, chance, |pair| {
            one(reply, pair);
            !reply.is_over()
        });
        Ok(())
    })?;
    match found {
        Some(result) => result?,
        None => reply.array(0),
    }
    Ok(())
}

fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let cursor = scan::cursor(args.word(2)).ok_or(scan::INVALID_CURSOR)?;
    let version = ctx.client.version;
    // Without a hash Redis does not come to look at the options.
    let found = look(ctx.reader(), args.word(1), |hash| {
        let sought = Sought::parse(args, 3)?;
        // The cursor comes first in the reply and is known last.
        let (mut shown, mut found) = (Vec::new(), 0);
        let mut out = Reply::new(&mut shown, version);
        let next = hash.scan(cursor.0, sought.count, |(field, value)| {
            if field.with_bytes(|field| sought.fits(field)) {
                show(&mut out, field);
                show(&mut out, value);
                found += 2;
            }
        });
        Ok((next, shown, found))
    })?;
    let (next, shown, found) = found.transpose()?.unwrap_or_default();
    ctx.reply.array(2);
    ctx.reply.bulk_display(next);
    ctx.reply.array(found);
    ctx.reply.raw(&shown);
    Ok(())
}

// ---- changing ---------------------------------------------------------------------------------------------------

fn hset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let new = set_each(ctx, args)?;
    ctx.reply.count(new);
    Ok(())
}

fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_each(ctx, args)?;
    ctx.reply.ok();
    Ok(())
}

/// Sets fields and values in turn, and tells how many are new.
fn set_each(ctx: &Ctx<'_>, args: Args<'_>) -> Result<usize> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::Arity(ctx.spec.name.to_lowercase().into()));
    }
    fit_a_reply(args)?;
    ctx.store().with(args.word(1), ctx.now, |slot| {
        let new = slot.edit_or_new(|hash: &mut Hash, compact| {
            (2..args.len()).step_by(2).filter(|at| hash.set(args.word(*at), args.word(at + 1), compact)).count()
        })?;
        slot.tell(Class::HASH, "hset");
        Ok(new)
    })
}

fn hset_nx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (field, value) = (args.word(2), args.word(3));
    fit_a_reply(args)?;
    let done = ctx.store().with(args.word(1), ctx.now, |slot| {
        if slot.see::<Hash>()?.is_some_and(|hash| hash.get(field).is_some()) {
            return Ok(false);
        }
        slot.edit_or_new(|hash: &mut Hash, compact| hash.set(field, value, compact))?;
        slot.tell(Class::HASH, "hset");
        Ok(true)
    })?;
    ctx.reply.int(i64::from(done));
    Ok(())
}

/// Whether each word is short enough to be sent in one reply.
fn fit_a_reply(args: Args<'_>) -> Result<()> {
    if args.iter().all(|word| word.len() <= STRING_MAX) { Ok(()) } else { Err(Error::TooLong) }
}

fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let removed = ctx.store().with(args.word(1), ctx.now, |slot| {
        let fields = args.iter().skip(2);
        let is_known = |hash: &Hash| fields.clone().any(|field| hash.get(field).is_some());
        if !slot.see::<Hash>()?.is_some_and(is_known) {
            return Ok(0);
        }
        let removed = slot.edit(|hash: &mut Hash, _| fields.filter(|field| hash.remove(field)).count())?;
        slot.tell(Class::HASH, "hdel");
        if slot.value().is_none() {
            slot.tell(Class::GENERIC, "del");
        }
        Ok(removed.unwrap_or(0))
    })?;
    ctx.reply.count(removed);
    Ok(())
}

fn hincr_by(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (field, step) = (args.word(2), args.int(3)?);
    let sum = ctx.store().with(args.word(1), ctx.now, |slot| {
        let old = match slot.see::<Hash>()?.and_then(|hash| hash.get(field)) {
            None => 0,
            Some(Element::Int(number)) => number,
            Some(Element::Bytes(text)) => num::parse_i64(text).ok_or(NOT_INTEGER)?,
        };
        let sum = old.checked_add(step).ok_or(OVERFLOW)?;
        let mut text = itoa::Buffer::new();
        slot.edit_or_new(|hash: &mut Hash, compact| hash.set(field, text.format(sum).as_bytes(), compact))?;
        slot.tell(Class::HASH, "hincrby");
        Ok(sum)
    })?;
    ctx.reply.int(sum);
    Ok(())
}

fn hincr_by_float(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (field, step) = (args.word(2), LongDouble::parse(args.word(3)).ok_or(Error::NotFloat)?);
    if step.is_infinite() {
        return Err(INFINITE);
    }
    let sum = ctx.store().with(args.word(1), ctx.now, |slot| {
        let old = match slot.see::<Hash>()?.and_then(|hash| hash.get(field)) {
            None => LongDouble::from(0.0),
            Some(value) => value.with_bytes(LongDouble::parse).ok_or(NOT_FLOAT)?,
        };
        let sum = old.checked_add(step).ok_or(NOT_FINITE)?.to_string();
        slot.edit_or_new(|hash: &mut Hash, compact| hash.set(field, sum.as_bytes(), compact))?;
        slot.tell(Class::HASH, "hincrbyfloat");
        Ok(sum)
    })?;
    ctx.reply.bulk(sum.as_bytes());
    Ok(())
}
