//! Names of keys: all of them, some at a time, any one.
//!
//! Names are shown, and patterns held against them, as they are stored: under a secret namespace that is the hash.

use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Spec};
use crate::error::{Error, Result};
use crate::glob;
use crate::num;
use crate::resp::{Args, Reply};
use crate::store::{Cursor, Value};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Generic, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const KEYSPACE: Flags = Flags::KEYSPACE;
const DANGEROUS: Flags = Flags::DANGEROUS;

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "KEYS",
        run: keys,
        arity: Exactly(2),
        flags: READONLY.and(KEYSPACE).and(DANGEROUS),
        usage: "pattern",
        cost: "O(N) where N is the number of keys in the database",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        summary: "Returns all names of keys that match a pattern.",
        ..ROW
    },
    Spec {
        name: "RANDOMKEY",
        run: random_key,
        arity: Exactly(1),
        flags: READONLY.and(KEYSPACE),
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        summary: "Returns the name of some key.",
        ..ROW
    },
    Spec {
        name: "SCAN",
        run: scan,
        arity: AtLeast(2),
        flags: READONLY.and(KEYSPACE),
        usage: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        since: "2.8.0",
        cost: "O(1) for each call, O(N) for a whole scan of N keys",
        tips: &["nondeterministic_output", "request_policy:special"],
        summary: "Returns some names of keys and a cursor to go on with.",
        ..ROW
    },
];

/// How many keys or elements a scan looks for unless told.
const COUNT_DEFAULT: usize = 10;

pub(super) const INVALID_CURSOR: Error = Error::refused("invalid cursor");

/// What a scan of a collection looks for.
pub(super) struct Sought<'a> {
    pattern: Option<&'a [u8]>,
    /// How many elements are to be looked at.
    pub count: usize,
}

impl<'a> Sought<'a> {
    /// Reads the options from a position on.
    pub fn parse(args: Args<'a>, from: usize) -> Result<Sought<'a>> {
        let mut sought = Sought { pattern: None, count: COUNT_DEFAULT };
        for at in (from..args.len()).step_by(2) {
            if at + 1 < args.len() && args.is(at, "COUNT") {
                sought.count = count(args, at + 1)?;
            } else if at + 1 < args.len() && args.is(at, "MATCH") {
                sought.pattern = Some(args.word(at + 1));
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(sought)
    }

    /// Whether this is what it looks for.
    pub fn fits(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| fits(pattern, name))
    }
}

/// A count, which is at least one.
fn count(args: Args<'_>, at: usize) -> Result<usize> {
    usize::try_from(args.int(at)?).ok().filter(|count| *count > 0).ok_or(Error::Syntax)
}

fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (store, pattern) = (ctx.store(), args.word(1));
    let (mark, mut found) = (ctx.reply.mark(), 0);
    let mut show = |value: Value<'_>| {
        if fits(pattern, value.name()) {
            ctx.reply.bulk(value.name());
            found += 1;
        }
    };
    if glob::is_literal(pattern) {
        // The name that is found may be another: a token is not the name of its entry.
        store.peek(pattern, ctx.now, show);
    } else {
        store.for_each(ctx.now, &mut show);
    }
    ctx.reply.array_from(mark, found);
    Ok(())
}

/// Whether a pattern stands for a name. Here, as in Redis, `*` alone also stands for one that is empty.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, name, false)
}

fn random_key(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let (store, engine) = (ctx.store(), ctx.engine);
    let show = |value: Value<'_>| ctx.reply.bulk(value.name());
    if store.random(|| engine.chance(), ctx.now, show).is_none() {
        ctx.reply.null();
    }
    Ok(())
}

fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let cursor = cursor(args.word(1)).ok_or(INVALID_CURSOR)?;
    let (mut pattern, mut wanted, mut kind) = (None, COUNT_DEFAULT, None);
    for at in (2..args.len()).step_by(2) {
        if at + 1 == args.len() {
            return Err(Error::Syntax);
        } else if args.is(at, "COUNT") {
            wanted = count(args, at + 1)?;
        } else if args.is(at, "MATCH") {
            pattern = Some(args.word(at + 1));
        } else if args.is(at, "TYPE") {
            kind = Some(args.word(at + 1));
        } else {
            return Err(Error::Syntax);
        }
    }

    // The cursor comes first in the reply and is known last.
    let (mut names, mut found) = (Vec::new(), 0);
    let mut out = Reply::new(&mut names, ctx.client.version);
    let next = ctx.store().scan(cursor, wanted, ctx.now, |value| {
        // A type that does not exist is a type that nothing has.
        let is_kind = kind.is_none_or(|kind| value.kind().name().as_bytes().eq_ignore_ascii_case(kind));
        if is_kind && pattern.is_none_or(|pattern| fits(pattern, value.name())) {
            out.bulk(value.name());
            found += 1;
        }
    });
    ctx.reply.array(2);
    ctx.reply.bulk_display(next.0);
    ctx.reply.array(found);
    ctx.reply.raw(&names);
    Ok(())
}

/// A cursor as C's `strtoul` reads it: with a sign, if it must be, and from nothing zero.
pub(super) fn cursor(text: &[u8]) -> Option<Cursor> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        [] => return Some(Cursor::START),
        digits => (false, digits),
    };
    let number = num::parse_u64(digits).filter(|_| digits.first().is_some_and(u8::is_ascii_digit))?;
    Some(Cursor(if negative { number.wrapping_neg() } else { number }))
}
