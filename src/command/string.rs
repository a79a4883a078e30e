//! Strings: set, read, counted up and cut.
//!
//! A value is read and written under its key's lock, once per command; what is copied in is copied before the lock.

use super::expire::Term;
use super::growth::{Growth, growing};
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::num::{self, LongDouble};
use crate::resp::Args;
use crate::store::{Class, Fresh, STRING_MAX, Slot, Store};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::String, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;

/// Returns what was there and changes it.
const CHANGES: &[&str] = &["RW", "access", "update"];
/// Replaces what was there without looking at it.
const OVERWRITES: &[&str] = &["OW", "update"];

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "APPEND",
        run: append,
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(&["RW", "insert"]),
        usage: "key value",
        since: "2.0.0",
        cost: "O(1) amortised, as the room for the string doubles when it is full",
        summary: "Appends a string to the value of a key, creating the key if there is none.",
        ..ROW
    },
    Spec {
        name: "DECR",
        run: decr,
        arity: Exactly(2),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key",
        summary: "Subtracts one from the integer at a key, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "DECRBY",
        run: decr_by,
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key decrement",
        summary: "Subtracts a number from the integer at a key, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "GET",
        run: get,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key",
        summary: "Returns the string at a key.",
        ..ROW
    },
    Spec {
        name: "GETDEL",
        run: get_del,
        arity: Exactly(2),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(&["RW", "access", "delete"]),
        usage: "key",
        since: "6.2.0",
        summary: "Returns the string at a key and deletes the key.",
        ..ROW
    },
    Spec {
        name: "GETEX",
        run: get_ex,
        arity: AtLeast(2),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        since: "6.2.0",
        summary: "Returns the string at a key and sets or removes the key's expiration.",
        ..ROW
    },
    Spec {
        name: "GETRANGE",
        run: get_range,
        arity: Exactly(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key start end",
        since: "2.4.0",
        cost: "O(N) where N is the length of what is returned",
        summary: "Returns the part of a string between two offsets, both included.",
        ..ROW
    },
    Spec {
        name: "GETSET",
        run: get_set,
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key value",
        summary: "Sets a key to a string and returns the string that was there.",
        ..ROW
    },
    Spec {
        name: "INCR",
        run: incr,
        arity: Exactly(2),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key",
        summary: "Adds one to the integer at a key, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "INCRBY",
        run: incr_by,
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key increment",
        summary: "Adds a number to the integer at a key, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "INCRBYFLOAT",
        run: incr_by_float,
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(CHANGES),
        usage: "key increment",
        since: "2.6.0",
        summary: "Adds a floating-point number to the number at a key, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "MGET",
        run: mget,
        arity: AtLeast(2),
        flags: READONLY.and(FAST),
        keys: Keys::ALL,
        usage: "key [key ...]",
        cost: "O(N) where N is the number of keys",
        tips: &["request_policy:multi_shard"],
        summary: "Returns the strings at several keys, null for each that has none.",
        ..ROW
    },
    Spec {
        name: "MSET",
        run: mset,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::PAIRS,
        usage: "key value [key value ...]",
        since: "1.0.1",
        cost: "O(N) where N is the number of keys",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        summary: "Sets several keys to strings, all at once.",
        ..ROW
    },
    Spec {
        name: "MSETNX",
        run: msetnx,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::PAIRS.with(&["OW", "insert"]),
        usage: "key value [key value ...]",
        since: "1.0.1",
        cost: "O(N) where N is the number of keys",
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        summary: "Sets several keys to strings, all at once, unless one of them exists.",
        ..ROW
    },
    Spec {
        name: "PSETEX",
        run: psetex,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(OVERWRITES),
        usage: "key milliseconds value",
        since: "2.6.0",
        summary: "Sets a key to a string that expires after some milliseconds.",
        ..ROW
    },
    Spec {
        name: "SET",
        run: set,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(&["RW", "access", "update", "variable_flags"]),
        usage: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Sets a key to a string, whatever was there, under conditions and with an expiration if asked.",
        ..ROW
    },
    Spec {
        name: "SETEX",
        run: setex,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(OVERWRITES),
        usage: "key seconds value",
        since: "2.0.0",
        summary: "Sets a key to a string that expires after some seconds.",
        ..ROW
    },
    Spec {
        name: "SETNX",
        run: setnx,
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(&["OW", "insert"]),
        usage: "key value",
        summary: "Sets a key to a string unless the key exists.",
        ..ROW
    },
    Spec {
        name: "SETRANGE",
        run: set_range,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.writes(),
        usage: "key offset value",
        since: "2.2.0",
        cost: "O(N) where N is the length of the value, or of the string if it must be moved to grow",
        summary: "Overwrites a part of a string, which grows with zero bytes if it is too short.",
        ..ROW
    },
    Spec {
        name: "STRLEN",
        run: strlen,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(&["RO"]),
        usage: "key",
        since: "2.2.0",
        summary: "Returns the length of the string at a key.",
        ..ROW
    },
    Spec {
        name: "SUBSTR",
        run: get_range,
        arity: Exactly(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key start end",
        cost: "O(N) where N is the length of what is returned",
        summary: "Returns the part of a string between two offsets; an older name of GETRANGE.",
        ..ROW
    },
];

const OVERFLOW: Error = Error::refused("increment or decrement would overflow");
const DECREMENT_OVERFLOW: Error = Error::refused("decrement would overflow");
const NOT_FINITE: Error = Error::refused("increment would produce NaN or Infinity");

// ---- setting ----------------------------------------------------------------------------------------------------

/// Whether what is there forbids to set a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// What a command does to a key's expiration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Clear,
    Keep,
    At(Millis),
}

/// The same, as the request says it: the instant still is the position of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Unsaid,
    Keep,
    Persist,
    Until(&'static Term, usize),
}

/// The options of SET and GETEX.
struct Options {
    condition: Condition,
    get: bool,
    life: Life,
}

/// Which of the two has which options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Set,
    GetEx,
}

impl Options {
    fn parse(args: Args<'_>, from: usize, whom: For) -> Result<Options> {
        let mut options = Options { condition: Condition::Always, get: false, life: Life::Unsaid };
        let mut at = from;
        while at < args.len() {
            let Some(words) = options.take(args, at, whom) else { return Err(Error::Syntax) };
            at += words;
        }
        Ok(options)
    }

    /// Takes the option at a position and tells how many words it has. An option may be repeated, but not followed by
    /// one that contradicts it.
    fn take(&mut self, args: Args<'_>, at: usize, whom: For) -> Option<usize> {
        let condition = match whom {
            For::Set if args.is(at, "NX") => Some(Condition::IfAbsent),
            For::Set if args.is(at, "XX") => Some(Condition::IfPresent),
            _ => None,
        };
        if let Some(condition) = condition {
            let fits = self.condition == Condition::Always || self.condition == condition;
            self.condition = condition;
            return fits.then_some(1);
        }
        if whom == For::Set && args.is(at, "GET") {
            self.get = true;
            return Some(1);
        }
        let (life, words) = match Term::named(args.word(at)) {
            Some(term) if at + 1 < args.len() => (Life::Until(term, at + 1), 2),
            None if whom == For::Set && args.is(at, "KEEPTTL") => (Life::Keep, 1),
            None if whom == For::GetEx && args.is(at, "PERSIST") => (Life::Persist, 1),
            _ => return None,
        };
        let fits = match (self.life, life) {
            (Life::Unsaid, _) => true,
            (Life::Until(before, _), Life::Until(term, _)) => std::ptr::eq(before, term),
            (before, life) => before == life,
        };
        self.life = life;
        fits.then_some(words)
    }

    /// What SET does to the expiration.
    fn expiry(&self, ctx: &Ctx<'_>, args: Args<'_>) -> Result<Expiry> {
        Ok(match self.life {
            Life::Unsaid | Life::Persist => Expiry::Clear,
            Life::Keep => Expiry::Keep,
            Life::Until(term, at) => Expiry::At(term.deadline(ctx, args, at)?),
        })
    }
}

fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (key, value) = (args.word(1), args.word(2));
    if args.len() == 3 {
        put(ctx, key, value, Millis::NEVER)?;
        ctx.reply.ok();
        return Ok(());
    }
    let options = Options::parse(args, 3, For::Set)?;
    let expiry = options.expiry(ctx, args)?;
    let done = match (options.condition, options.get, expiry) {
        (Condition::Always, false, Expiry::Clear) => put(ctx, key, value, Millis::NEVER).map(|()| true),
        (Condition::Always, false, Expiry::At(deadline)) => put(ctx, key, value, deadline).map(|()| true),
        (condition, get, expiry) => put_if(ctx, key, value, condition, get, expiry),
    }?;
    match (options.get, done) {
        (true, _) => {}
        (false, true) => ctx.reply.ok(),
        (false, false) => ctx.reply.null(),
    }
    Ok(())
}

/// Sets a key whatever is there.
fn put(ctx: &Ctx<'_>, key: &[u8], value: &[u8], deadline: Millis) -> Result<()> {
    let put = |slot: &mut Slot<'_>, fresh: Fresh<'_>| {
        slot.put(fresh.until(deadline))?;
        tell_set(slot, deadline != Millis::NEVER);
        Ok(())
    };
    match ctx.reader().foreseen(key) {
        Some(ahead) => ahead.write(value, ctx.now, put),
        None => ctx.store().write(key, value, ctx.now, put),
    }
}

/// Tells that a key was set, and perhaps when it is to die.
fn tell_set(slot: &mut Slot<'_>, expires: bool) {
    slot.tell(Class::STRING, "set");
    if expires {
        slot.tell(Class::GENERIC, "expire");
    }
}

/// Sets a key if the condition holds, and says whether it does. With `get`, the old value is the reply.
fn put_if(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    value: &[u8],
    condition: Condition,
    get: bool,
    expiry: Expiry,
) -> Result<bool> {
    let (store, reader, reply) = (ctx.store(), ctx.reader(), &mut ctx.reply);
    store.write(key, value, ctx.now, |slot, fresh| {
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => slot.value().is_none(),
            Condition::IfPresent => slot.value().is_some(),
        };
        if get {
            slot.string()?;
        }
        if holds {
            slot.admits()?;
        }
        if get {
            reader.note(slot);
            reply.bulk_or_null(slot.string()?);
        }
        if holds {
            let deadline = match expiry {
                Expiry::Clear => Millis::NEVER,
                Expiry::Keep => slot.deadline().unwrap_or(Millis::NEVER),
                Expiry::At(deadline) => deadline,
            };
            slot.put(fresh.until(deadline))?;
            tell_set(slot, matches!(expiry, Expiry::At(_)));
        }
        Ok(holds)
    })
}

fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let done = put_if(ctx, args.word(1), args.word(2), Condition::IfAbsent, false, Expiry::Clear)?;
    ctx.reply.int(i64::from(done));
    Ok(())
}

fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_until(ctx, args, &Term::SECONDS)
}

fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    set_until(ctx, args, &Term::MILLIS)
}

fn set_until(ctx: &mut Ctx<'_>, args: Args<'_>, term: &Term) -> Result<()> {
    let deadline = term.deadline(ctx, args, 2)?;
    put(ctx, args.word(1), args.word(3), deadline)?;
    ctx.reply.ok();
    Ok(())
}

fn get_set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    put_if(ctx, args.word(1), args.word(2), Condition::Always, true, Expiry::Clear)?;
    Ok(())
}

fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    put_all(ctx, args, "mset", Condition::Always)?;
    ctx.reply.ok();
    Ok(())
}

fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let done = put_all(ctx, args, "msetnx", Condition::IfAbsent)?;
    ctx.reply.int(i64::from(done));
    Ok(())
}

/// Sets keys and values in turn, all or none, and says whether it did.
fn put_all(ctx: &Ctx<'_>, args: Args<'_>, name: &'static str, condition: Condition) -> Result<bool> {
    if args.len().is_multiple_of(2) {
        return Err(Error::Arity(name.into()));
    }
    if args.iter().any(|word| word.len() > STRING_MAX) {
        return Err(Error::TooLong);
    }
    let keys = ctx.keys(args, 2);
    Store::with_all(&keys, ctx.now, |slots| {
        if condition == Condition::IfAbsent && (0..keys.len()).any(|at| slots.at(at).value().is_some()) {
            return Ok(false);
        }
        for at in 0..keys.len() {
            slots.at(at).admits()?;
        }
        for at in 0..keys.len() {
            let mut slot = slots.at(at);
            slot.put_bytes(args.word(2 * at + 2), Millis::NEVER)?;
            tell_set(&mut slot, false);
        }
        Ok(true)
    })
}

// ---- reading ----------------------------------------------------------------------------------------------------

fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let found = ctx.reader().get(args.word(1), |value| value.string().map(|bytes| ctx.reply.bulk(bytes)));
    if found.transpose()?.is_none() {
        ctx.reply.null();
    }
    Ok(())
}

fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.reply.array(args.len() - 1);
    if args.len() == 2 {
        if ctx.reader().get(args.word(1), |value| ctx.reply.bulk_or_null(value.string().ok())).is_none() {
            ctx.reply.null();
        }
        return Ok(());
    }
    let (reader, keys, reply) = (ctx.reader(), ctx.keys(args, 1), &mut ctx.reply);
    Store::with_all(&keys, ctx.now, |slots| {
        // One that is named often comes often.
        for at in 0..keys.len() {
            if reply.is_over() {
                break;
            }
            let mut slot = slots.at(at);
            reader.note(&mut slot);
            reply.bulk_or_null(slot.string().ok().flatten());
        }
    });
    Ok(())
}

fn get_del(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (store, reader, reply) = (ctx.store(), ctx.reader(), &mut ctx.reply);
    store.with(args.word(1), ctx.now, |slot| {
        slot.string()?;
        reader.note(slot);
        reply.bulk_or_null(slot.string()?);
        if slot.remove() {
            slot.tell(Class::GENERIC, "del");
        }
        Ok(())
    })
}

fn get_ex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    // What it answers stays where it is.
    ctx.reply.bound(ctx.engine.hot.gathered_max());
    let options = Options::parse(args, 2, For::GetEx)?;
    if options.life == Life::Unsaid {
        return get(ctx, args);
    }
    // Redis looks at the key first: for one that is not there, an instant that makes no sense is no error.
    let expiry = options.expiry(ctx, args);
    let (store, reader, reply) = (ctx.store(), ctx.reader(), &mut ctx.reply);
    store.with(args.word(1), ctx.now, |slot| {
        let deadline = match slot.string()?.map(|_| expiry).transpose()? {
            Some(Expiry::At(deadline)) => deadline,
            Some(Expiry::Clear | Expiry::Keep) | None => Millis::NEVER,
        };
        reader.note(slot);
        reply.bulk_or_null(slot.string()?);
        if deadline != Millis::NEVER || slot.deadline() != Some(Millis::NEVER) {
            super::expire::change_deadline(slot, deadline);
        }
        Ok(())
    })
}

fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let len = ctx.reader().get(args.word(1), |value| value.string().map(<[u8]>::len)).transpose()?;
    ctx.reply.count(len.unwrap_or(0));
    Ok(())
}

fn get_range(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (start, end) = (args.int(2)?, args.int(3)?);
    let reader = ctx.reader();
    let mut show = |bytes: &[u8]| ctx.reply.bulk(cut(bytes, start, end));
    if reader.get(args.word(1), |value| value.string().map(&mut show)).transpose()?.is_none() {
        ctx.reply.bulk(b"");
    }
    Ok(())
}

/// What lies between two offsets, both included; negative ones count from the end.
fn cut(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    let len = bytes.len() as i64;
    let from_front = |offset: i64| if offset < 0 { offset.saturating_add(len).max(0) } else { offset };
    // Without this, two offsets before the beginning would both be moved to it, and meet there.
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end { &[] } else { &bytes[start as usize..=end as usize] }
}

// ---- changing ---------------------------------------------------------------------------------------------------

fn append(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (tail, max) = (args.word(2), ctx.engine.hot.bulk_max());
    let change = |slot: &mut Slot<'_>, growth: &mut Growth<'_>| {
        if let Some(old) = slot.string()?.map(<[u8]>::len) {
            if old + tail.len() > max {
                return Err(Error::TooLong);
            }
            growth.ask_up_to(slot, old + tail.len())?;
        }
        let len = slot.append(tail)?;
        slot.tell(Class::STRING, "append");
        Ok(len)
    };
    let (store, now) = (ctx.store(), ctx.now);
    let len = growing(ctx.engine, now, |growth| store.with(args.word(1), now, |slot| change(slot, growth)))?;
    ctx.reply.count(len);
    Ok(())
}

fn set_range(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let offset = usize::try_from(args.int(2)?).map_err(|_| Error::OutOfRange)?;
    let (bytes, max) = (args.word(3), ctx.engine.hot.bulk_max());
    let change = |slot: &mut Slot<'_>, growth: &mut Growth<'_>| {
        let len = slot.string()?.map_or(0, <[u8]>::len);
        // Nothing to write creates no key and fills no gap.
        if bytes.is_empty() {
            return Ok(len);
        }
        let end = offset.saturating_add(bytes.len());
        if end > max {
            return Err(Error::TooLong);
        }
        growth.ask_up_to(slot, end)?;
        let len = slot.write_at(offset, bytes)?;
        slot.tell(Class::STRING, "setrange");
        Ok(len)
    };
    let (store, now) = (ctx.store(), ctx.now);
    let len = growing(ctx.engine, now, |growth| store.with(args.word(1), now, |slot| change(slot, growth)))?;
    ctx.reply.count(len);
    Ok(())
}

fn incr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    count_up(ctx, args.word(1), 1)
}

fn decr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    count_up(ctx, args.word(1), -1)
}

fn incr_by(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    count_up(ctx, args.word(1), args.int(2)?)
}

fn decr_by(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let step = args.int(2)?.checked_neg().ok_or(DECREMENT_OVERFLOW)?;
    count_up(ctx, args.word(1), step)
}

fn count_up(ctx: &mut Ctx<'_>, key: &[u8], step: i64) -> Result<()> {
    let sum = ctx.store().with(key, ctx.now, |slot| {
        let old = match slot.string()? {
            Some(bytes) => num::parse_i64(bytes).ok_or(Error::NotInteger)?,
            None => 0,
        };
        let sum = old.checked_add(step).ok_or(OVERFLOW)?;
        slot.set_string(itoa::Buffer::new().format(sum).as_bytes())?;
        slot.tell(Class::STRING, "incrby");
        Ok(sum)
    })?;
    ctx.reply.int(sum);
    Ok(())
}

fn incr_by_float(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    // What is there is looked at first: of two faults, its type is told.
    let add = |slot: &mut Slot<'_>| {
        let old = match slot.string()? {
            Some(bytes) => LongDouble::parse(bytes).ok_or(Error::NotFloat)?,
            None => LongDouble::from(0.0),
        };
        let step = LongDouble::parse(args.word(2)).ok_or(Error::NotFloat)?;
        let sum = old.checked_add(step).ok_or(NOT_FINITE)?.to_string();
        slot.set_string(sum.as_bytes())?;
        slot.tell(Class::STRING, "incrbyfloat");
        Ok(sum)
    };
    let sum = ctx.store().with(args.word(1), ctx.now, add)?;
    ctx.reply.bulk(sum.as_bytes());
    Ok(())
}
