//! Sorted sets: members by score. Here is what concerns single members; what concerns ranges, several sets and what is taken
//! from an end is in the files below.

pub(super) mod algebra;
pub(super) mod pop;
pub(super) mod range;

use std::collections::HashSet;

use super::read::Reader;
use super::scan::{self, Sought};
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::config::Compact;
use crate::error::{Error, Result};
use crate::num::Double;
use crate::resp::{Args, Reply, Version};
use crate::store::{Class, Element, Slot, ZSet};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::SortedSet, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;

/// Removes members without returning them.
const REMOVES: &[&str] = &["RW", "delete"];

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "ZADD",
        run: zadd,
        arity: AtLeast(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.writes(),
        usage: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        since: "1.2.0",
        cost: "O(log(N)) for each member, where N is the number of members in the set",
        summary: "Adds members to a sorted set, or changes their scores.",
        ..ROW
    },
    Spec {
        name: "ZCARD",
        run: zcard,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(&["RO"]),
        usage: "key",
        since: "1.2.0",
        summary: "Returns how many members a sorted set has.",
        ..ROW
    },
    Spec {
        name: "ZINCRBY",
        run: zincrby,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(&["RW", "access", "update"]),
        usage: "key increment member",
        since: "1.2.0",
        cost: "O(log(N)) where N is the number of members in the set",
        summary: "Adds a number to the score of a member, which is 0 if there is none.",
        ..ROW
    },
    Spec {
        name: "ZMSCORE",
        run: zmscore,
        arity: AtLeast(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key member [member ...]",
        since: "6.2.0",
        cost: "O(N) where N is the number of members asked for",
        summary: "Returns the scores of members, null for each that is none.",
        ..ROW
    },
    Spec {
        name: "ZRANDMEMBER",
        run: zrandmember,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key [count [WITHSCORES]]",
        since: "6.2.0",
        cost: "O(N*log(M)) where N is the number of members returned and M the number of members in the set",
        tips: tips::VARIES,
        summary: "Returns members of a sorted set at random.",
        ..ROW
    },
    Spec {
        name: "ZRANK",
        run: zrank,
        arity: AtLeast(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key member [WITHSCORE]",
        since: "2.0.0",
        cost: "O(log(N)) where N is the number of members in the set",
        summary: "Returns how many members come before one, from the lowest score on.",
        ..ROW
    },
    Spec {
        name: "ZREM",
        run: zrem,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(REMOVES),
        usage: "key member [member ...]",
        since: "1.2.0",
        cost: "O(M*log(N)) where N is the number of members in the set and M the number of those removed",
        summary: "Removes members from a sorted set and returns how many there were.",
        ..ROW
    },
    Spec {
        name: "ZREVRANK",
        run: zrevrank,
        arity: AtLeast(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key member [WITHSCORE]",
        since: "2.0.0",
        cost: "O(log(N)) where N is the number of members in the set",
        summary: "Returns how many members come before one, from the highest score on.",
        ..ROW
    },
    Spec {
        name: "ZSCAN",
        run: zscan,
        arity: AtLeast(3),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key cursor [MATCH pattern] [COUNT count]",
        since: "2.8.0",
        cost: "O(1) for each call, O(N) for a whole scan of N members",
        tips: tips::VARIES,
        summary: "Returns some members with their scores and a cursor to go on with.",
        ..ROW
    },
    Spec {
        name: "ZSCORE",
        run: zscore,
        arity: Exactly(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key member",
        since: "1.2.0",
        summary: "Returns the score of a member.",
        ..ROW
    },
];

const NX_AND_XX: Error = Error::refused("XX and NX options at the same time are not compatible");
const COMPARED_TWICE: Error = Error::refused("GT, LT, and/or NX options at the same time are not compatible");
const ONE_PAIR: Error = Error::refused("INCR option supports a single increment-element pair");
const NOT_A_NUMBER: Error = Error::refused("resulting score is not a number (NaN)");
const COUNT_OUT_OF_RANGE: Error = Error::refused("value is out of range");
const COUNT_OUT_OF_INTEGERS: Error =
    Error::refused("value is out of range, value must between -9223372036854775807 and 9223372036854775807");

/// Members that ZRANDMEMBER returns at most where they may come again. Nobody needs more, and the reply is held in memory.
const REPEATS_MAX: u64 = 1 << 24;

// ---- what all files of the family share -------------------------------------------------------------------------

/// Shows the sorted set at a key, if there is one, to a command that reads it.
fn see<R>(reader: Reader<'_>, key: &[u8], f: impl FnOnce(&ZSet) -> R) -> Result<Option<R>> {
    reader.get(key, |value| value.collection().map(f)).transpose()
}

/// Pairs of members and scores, as the client's version wants them.
struct Pairs {
    with_scores: bool,
    nested: bool,
}

impl Pairs {
    /// Begins a reply of so many members: with scores, RESP3 has an array for each pair, RESP2 has all in a row.
    fn begin(reply: &mut Reply<'_>, len: usize, with_scores: bool) -> Pairs {
        let nested = with_scores && reply.version() == Version::Resp3;
        reply.array(if with_scores && !nested { len.saturating_mul(2) } else { len });
        Pairs { with_scores, nested }
    }

    fn show(&self, reply: &mut Reply<'_>, member: Element<'_>, score: f64) {
        if self.nested {
            reply.array(2);
        }
        member.with_bytes(|bytes| reply.bulk(bytes));
        if self.with_scores {
            reply.double(score);
        }
    }
}

/// Tells that a command has changed the sorted set here, and that nothing is left of it if that is so.
fn tell_change(slot: &mut Slot<'_>, name: &'static str) {
    slot.tell(Class::ZSET, name);
    if slot.value().is_none() {
        slot.tell(Class::GENERIC, "del");
    }
}

// ---- adding -----------------------------------------------------------------------------------------------------

/// The options of ZADD.
#[derive(Clone, Copy, Default)]
struct Options {
    /// Only add members.
    nx: bool,
    /// Only change scores.
    xx: bool,
    /// Only change scores to higher ones.
    gt: bool,
    /// Only change scores to lower ones.
    lt: bool,
    /// Count also what was changed.
    ch: bool,
    /// Add to the score.
    incr: bool,
}

impl Options {
    /// Reads the options from a position on and tells where the pairs begin.
    fn parse(args: Args<'_>, mut at: usize) -> (Options, usize) {
        let mut options = Options::default();
        loop {
            let known = [
                ("NX", &mut options.nx),
                ("XX", &mut options.xx),
                ("GT", &mut options.gt),
                ("LT", &mut options.lt),
                ("CH", &mut options.ch),
                ("INCR", &mut options.incr),
            ];
            let Some((_, option)) = known.into_iter().find(|(name, _)| args.is(at, name)) else { break };
            *option = true;
            at += 1;
        }
        (options, at)
    }

    /// Whether the options and so many words behind them fit together.
    fn check(&self, words: usize) -> Result<()> {
        let excluding = [self.nx, self.gt, self.lt].into_iter().filter(|is_set| *is_set).count();
        if words == 0 || !words.is_multiple_of(2) {
            Err(Error::Syntax)
        } else if self.nx && self.xx {
            Err(NX_AND_XX)
        } else if excluding > 1 {
            Err(COMPARED_TWICE)
        } else if self.incr && words > 2 {
            Err(ONE_PAIR)
        } else {
            Ok(())
        }
    }
}

/// What became of the pairs.
#[derive(Default)]
struct Tally {
    added: usize,
    changed: usize,
    /// The last member's score, unless it was left alone.
    score: Option<f64>,
}

impl Tally {
    fn is_change(&self) -> bool {
        self.added + self.changed > 0
    }

    fn add(&mut self, zset: &mut ZSet, member: &[u8], score: f64, options: Options, compact: &Compact) -> Result<()> {
        self.score = None;
        let old = zset.score(member);
        let new = match old {
            Some(_) if options.nx => return Ok(()),
            None if options.xx => return Ok(()),
            Some(old) if options.incr => old + score,
            _ => score,
        };
        if new.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        if old.is_some_and(|old| options.gt && new <= old || options.lt && new >= old) {
            return Ok(());
        }
        if old != Some(new) {
            zset.set(member, new, compact);
        }
        match old {
            None => self.added += 1,
            Some(old) if old != new => self.changed += 1,
            Some(_) => {}
        }
        self.score = Some(new);
        Ok(())
    }
}

fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (options, first) = Options::parse(args, 2);
    options.check(args.len() - first)?;
    add(ctx, args, options, first)
}

fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    add(ctx, args, Options { incr: true, ..Options::default() }, 2)
}

fn add(ctx: &mut Ctx<'_>, args: Args<'_>, options: Options, first: usize) -> Result<()> {
    let scores: Vec<f64> = (first..args.len()).step_by(2).map(|at| args.float(at)).collect::<Result<_>>()?;
    let tally = ctx.store().with(args.word(1), ctx.now, |slot| {
        let put = |zset: &mut ZSet, compact: &Compact| {
            let mut tally = Tally::default();
            for (pair, score) in scores.iter().enumerate() {
                tally.add(zset, args.word(first + 2 * pair + 1), *score, options, compact)?;
            }
            Ok(tally)
        };
        // What was refused in the middle may have.
        let changes = |put: &Result<Tally>| put.as_ref().map_or(true, Tally::is_change);
        let tally = match options.xx {
            true => slot.edit_if(put, changes)?.transpose()?.unwrap_or_default(),
            false => slot.edit_or_new_if(put, changes)??,
        };
        if tally.is_change() {
            slot.tell(Class::ZSET, if options.incr { "zincr" } else { "zadd" });
        }
        Ok(tally)
    })?;
    match (options.incr, tally.score) {
        (true, Some(score)) => ctx.reply.double(score),
        (true, None) => ctx.reply.null(),
        (false, _) => ctx.reply.count(tally.added + if options.ch { tally.changed } else { 0 }),
    }
    Ok(())
}

// ---- asking for members -----------------------------------------------------------------------------------------

fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let len = see(ctx.reader(), args.word(1), ZSet::len)?;
    ctx.reply.count(len.unwrap_or(0));
    Ok(())
}

fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match see(ctx.reader(), args.word(1), |zset| zset.score(args.word(2)))?.flatten() {
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let members = args.iter().skip(2);
    let reader = ctx.reader();
    ctx.reply.array(args.len() - 2);
    let seen = see(reader, args.word(1), |zset| {
        for member in members.clone() {
            match zset.score(member) {
                Some(score) => ctx.reply.double(score),
                None => ctx.reply.null(),
            }
        }
    })?;
    if seen.is_none() {
        members.for_each(|_| ctx.reply.null());
    }
    Ok(())
}

fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    rank(ctx, args, false)
}

fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    rank(ctx, args, true)
}

fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, back: bool) -> Result<()> {
    if args.len() > 4 {
        return Err(Error::Arity(ctx.spec.name.to_lowercase().into()));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(Error::Syntax);
    }
    let found = see(ctx.reader(), args.word(1), |zset| {
        let (rank, score) = zset.rank(args.word(2))?;
        Some((if back { zset.len() - 1 - rank } else { rank }, score))
    })?;
    match found.flatten() {
        Some((rank, score)) if with_score => {
            ctx.reply.array(2);
            ctx.reply.count(rank);
            ctx.reply.double(score);
        }
        Some((rank, _)) => ctx.reply.count(rank),
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (engine, reader, reply) = (ctx.engine, ctx.reader(), &mut ctx.reply);
    let below = |sides: usize| ((u128::from(engine.chance()) * sides as u128) >> u64::BITS) as usize;
    if args.len() == 2 {
        let show = |zset: &ZSet| match zset.get(below(zset.len())) {
            Some((member, _)) => member.with_bytes(|bytes| reply.bulk(bytes)),
            None => reply.null(),
        };
        if see(reader, args.word(1), show)?.is_none() {
            ctx.reply.null();
        }
        return Ok(());
    }
    let count = args.int(2)?;
    if count == i64::MIN {
        return Err(COUNT_OUT_OF_INTEGERS);
    }
    let with_scores = args.len() == 4;
    if args.len() > 4 || with_scores && !args.is(3, "WITHSCORES") {
        return Err(Error::Syntax);
    }
    if with_scores && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(COUNT_OUT_OF_RANGE);
    }
    let seen = see(reader, args.word(1), |zset| {
        let len = zset.len();
        let mut show = |ranks: &mut dyn ExactSizeIterator<Item = usize>| {
            let pairs = Pairs::begin(reply, ranks.len(), with_scores);
            for (member, score) in ranks.filter_map(|rank| zset.get(rank)) {
                if reply.is_over() {
                    break;
                }
                pairs.show(reply, member, score);
            }
        };
        if count < 0 {
            let repeats = Some(count.unsigned_abs()).filter(|repeats| *repeats <= REPEATS_MAX);
            let repeats = repeats.ok_or(COUNT_OUT_OF_RANGE)? as u32;
            show(&mut (0..repeats).map(|_| below(len)));
            return Ok(());
        }
        match usize::try_from(count).unwrap_or(usize::MAX) {
            some if some < len => show(&mut sample(some, len, below).into_iter()),
            _ => show(&mut (0..len)),
        }
        Ok(())
    })?;
    match seen {
        Some(result) => result,
        None => {
            ctx.reply.array(0);
            Ok(())
        }
    }
}

/// So many different numbers below `len`, each choice as likely as any other.
fn sample(count: usize, len: usize, below: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut chosen = HashSet::with_capacity(count);
    // Floyd's way: where a number is taken already, the one that only now becomes possible takes its turn.
    for newest in len - count..len {
        let number = below(newest + 1);
        if !chosen.insert(number) {
            chosen.insert(newest);
        }
    }
    chosen.into_iter().collect()
}

fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let cursor = scan::cursor(args.word(2)).ok_or(scan::INVALID_CURSOR)?;
    // The pairs come last in the reply and are known first.
    let (mut bytes, mut found) = (Vec::new(), 0);
    let mut out = Reply::new(&mut bytes, ctx.client.version);
    let next = see(ctx.reader(), args.word(1), |zset| {
        // Of a key that is not there Redis reads no options.
        let sought = Sought::parse(args, 3)?;
        Ok(zset.scan(cursor.0, sought.count, |member, score| {
            if sought.fits(member) {
                out.bulk(member);
                out.bulk_display(Double(score));
                found += 2;
            }
        }))
    })?;
    ctx.reply.array(2);
    ctx.reply.bulk_display(next.transpose()?.unwrap_or(0));
    ctx.reply.array(found);
    ctx.reply.raw(&bytes);
    Ok(())
}

// ---- removing ---------------------------------------------------------------------------------------------------

fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let removed = ctx.store().with(args.word(1), ctx.now, |slot| {
        let remove =
            |zset: &mut ZSet, _: &Compact| args.iter().skip(2).filter(|member| zset.remove(member).is_some()).count();
        let removed = slot.edit_if(remove, |removed| *removed > 0)?.unwrap_or(0);
        if removed > 0 {
            tell_change(slot, "zrem");
        }
        Ok(removed)
    })?;
    ctx.reply.count(removed);
    Ok(())
}
