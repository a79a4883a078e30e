//! Names of keys: all of them, some at a time, any one.
//!
//! Names are shown, and patterns held against them, as they are stored: under a secret namespace that is the hash.

use std::collections::VecDeque;

use super::words::Words as _;
use super::{Arity, Client, Ctx, Flags, Group, Spec};
use crate::engine::{Charge, Hold};
use crate::error::{Error, Result};
use crate::glob;
use crate::num;
use crate::resp::{Args, Reply};
use crate::store::{Cursor, Store, Value};

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
    let pattern = args.word(1);
    if !glob::is_literal(pattern) {
        let search = Search { pattern: Some(pattern), kind: None, tells_cursor: false };
        return walk(ctx, &search, Cursor::START, usize::MAX);
    }
    let (mark, mut found) = (ctx.reply.mark(), 0);
    // The name that is found may be another: a token is not the name of its entry.
    ctx.store().peek(pattern, ctx.now, |value| {
        if fits(pattern, value.name()) {
            ctx.reply.bulk(value.name());
            found += 1;
        }
    });
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
    walk(ctx, &Search { pattern, kind, tells_cursor: true }, cursor, wanted)
}

// ---- walks --------------------------------------------------------------------------------------------------------

/// Keys that a walk looks at in one turn, which takes some 50 µs.
const TURN: usize = 512;

/// Bytes of a pattern and a name that are compared in the time that it takes to look at another key.
const BYTES_PER_LOOK: usize = 256;

/// Bytes of names from which on they are put in another piece: as many as are sent in one turn.
const PIECE: usize = 64 * 1024;

/// What a walk looks for.
struct Search<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    /// Whether the reply begins with where to go on.
    tells_cursor: bool,
}

impl Search<'_> {
    fn fits(&self, value: Value<'_>) -> bool {
        // A type that does not exist is a type that nothing has.
        self.kind.is_none_or(|kind| value.kind().name().as_bytes().eq_ignore_ascii_case(kind))
            && self.pattern.is_none_or(|pattern| fits(pattern, value.name()))
    }

    /// What it costs to hold a name against the pattern, as a number of keys that are only looked at.
    fn cost(&self, value: Value<'_>) -> usize {
        self.pattern.map_or(0, |pattern| glob::cost(pattern, value.name()) / BYTES_PER_LOOK)
    }
}

/// A walk over the keys of a database that others interrupt. How many names there are comes first in the reply and is known
/// last, so they are gathered in pieces, and then sent a piece at a time.
pub(super) struct Walk {
    /// What is walked over, whatever its number may be by now.
    store: Store,
    /// Where to go on.
    cursor: Cursor,
    /// Keys that are to be looked at yet.
    left: usize,
    /// Names that were found, as they are in the reply.
    found: usize,
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of all pieces.
    bytes: usize,
    /// What is charged for them, once others have had a turn.
    charge: Option<Hold>,
    /// Whether all have been found.
    is_sending: bool,
}

impl Walk {
    /// Looks at some more keys.
    fn look(&mut self, ctx: &Ctx<'_>, search: &Search<'_>) {
        if self.pieces.back().is_none_or(|piece| piece.len() >= PIECE) {
            self.pieces.push_back(Vec::new());
        }
        let Some(piece) = self.pieces.back_mut() else { return };
        let mut names = Reply::new(piece, ctx.client.version);
        let (mut seen, mut found, before) = (0, 0, names.mark());
        let is_last = self.left <= TURN;
        self.cursor = self.store.scan(self.cursor, self.left.min(TURN), ctx.now, |value| {
            seen += 1;
            if search.fits(value) {
                names.bulk(value.name());
                found += 1;
            }
            search.cost(value)
        });
        self.bytes += names.mark() - before;
        self.found += found;
        self.left = self.left.saturating_sub(seen);
        self.is_sending = is_last || self.left == 0 || self.cursor == Cursor::START;
    }

    /// Begins the reply.
    fn head(&self, reply: &mut Reply<'_>, search: &Search<'_>) {
        if search.tells_cursor {
            reply.array(2);
            reply.bulk_display(self.cursor.0);
        }
        reply.array(self.found);
    }
}

impl Client {
    /// Bytes that a walk of its has yet to send.
    #[cfg_attr(doc, doc(hidden))]
    pub fn gathered(&self) -> usize {
        let walk = self.begun.as_ref().and_then(|begun| begun.walk.as_ref());
        walk.map_or(0, |walk| walk.bytes)
    }
}

/// Looks at about so many keys from a cursor on and shows the names of those that are sought: in one turn if they are few or
/// nobody else may come in between, or else in many.
fn walk(ctx: &mut Ctx<'_>, search: &Search<'_>, cursor: Cursor, left: usize) -> Result<()> {
    let engine = ctx.engine;
    let begun = ctx.client.begun.as_mut().and_then(|begun| begun.walk.take());
    let store = ctx.store();
    let fresh = || {
        let pieces = VecDeque::new();
        Walk { store: store.clone(), cursor, left, found: 0, pieces, bytes: 0, charge: None, is_sending: false }
    };
    let mut walk = begun.unwrap_or_else(fresh);
    loop {
        if !walk.is_sending {
            walk.look(ctx, search);
            if walk.is_sending {
                walk.head(&mut ctx.reply, search);
            }
        }
        if walk.is_sending {
            if let Some(piece) = walk.pieces.pop_front() {
                walk.bytes -= piece.len();
                ctx.reply.raw(&piece);
            }
            if walk.pieces.is_empty() {
                ctx.client.end_turns();
                return Ok(());
            }
        }
        if !ctx.client.never_waits {
            walk.charge.get_or_insert_with(|| engine.charges().hold(Charge::Output, 0)).set(walk.bytes);
            ctx.client.keep_for_later(engine, |begun| begun.walk = Some(walk));
            return Ok(());
        }
    }
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
