//! Ranges of sorted sets: by rank, by score, by the bytes of the members.
//!
//! Every range comes down to two ranks, so that counting costs the same as finding where it begins, and a LIMIT skips
//! nothing one by one.

use std::ops;

use super::{FAST, Pairs, READONLY, REMOVES, ROW, WRITE, see, tell_change};
use crate::clock::Millis;
use crate::command::words::Words as _;
use crate::command::{Arity, Ctx, Flags, Keys, Spec};
use crate::config::Compact;
use crate::error::{Error, Result};
use crate::num;
use crate::resp::Args;
use crate::store::{Class, Slot, Store, ZSet};

use Arity::{AtLeast, Exactly};

const COST: &str = "O(log(N)+M) where N is the number of members in the set and M the number of those returned";
const REMOVAL_COST: &str = "O(M*log(N)) where N is the number of members in the set and M the number of those removed";

pub(in crate::command) const COMMANDS: &[Spec] = &[
    Spec {
        name: "ZCOUNT",
        run: zcount,
        arity: Exactly(4),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key min max",
        since: "2.0.0",
        cost: "O(log(N)) where N is the number of members in the set",
        summary: "Returns how many members have a score within a range.",
        ..ROW
    },
    Spec {
        name: "ZLEXCOUNT",
        run: zlexcount,
        arity: Exactly(4),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key min max",
        since: "2.8.9",
        cost: "O(log(N)) where N is the number of members in the set",
        summary: "Returns how many members are within a range of bytes, if all scores are the same.",
        ..ROW
    },
    Spec {
        name: "ZRANGE",
        run: zrange,
        arity: AtLeast(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        since: "1.2.0",
        cost: COST,
        summary: "Returns the members within a range of ranks, of scores or of bytes.",
        ..ROW
    },
    Spec {
        name: "ZRANGEBYLEX",
        run: zrangebylex,
        arity: AtLeast(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key min max [LIMIT offset count]",
        since: "2.8.9",
        cost: COST,
        summary: "Returns the members within a range of bytes, if all scores are the same.",
        ..ROW
    },
    Spec {
        name: "ZRANGEBYSCORE",
        run: zrangebyscore,
        arity: AtLeast(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key min max [WITHSCORES] [LIMIT offset count]",
        since: "1.0.5",
        cost: COST,
        summary: "Returns the members with a score within a range.",
        ..ROW
    },
    Spec {
        name: "ZRANGESTORE",
        run: zrangestore,
        arity: AtLeast(5),
        flags: WRITE.and(Flags::DENYOOM),
        keys: Keys::TWO.with(&["OW", "update"]).last_with(&["RO", "access"]),
        usage: "destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        since: "6.2.0",
        cost: "O(log(N)+M*log(M)) where N is the number of members in the set and M the number of those stored",
        summary: "Stores the members within a range of ranks, of scores or of bytes at another key.",
        ..ROW
    },
    Spec {
        name: "ZREMRANGEBYLEX",
        run: zremrangebylex,
        arity: Exactly(4),
        flags: WRITE,
        keys: Keys::ONE.with(REMOVES),
        usage: "key min max",
        since: "2.8.9",
        cost: REMOVAL_COST,
        summary: "Removes the members within a range of bytes, if all scores are the same.",
        ..ROW
    },
    Spec {
        name: "ZREMRANGEBYRANK",
        run: zremrangebyrank,
        arity: Exactly(4),
        flags: WRITE,
        keys: Keys::ONE.with(REMOVES),
        usage: "key start stop",
        since: "2.0.0",
        cost: REMOVAL_COST,
        summary: "Removes the members within a range of ranks.",
        ..ROW
    },
    Spec {
        name: "ZREMRANGEBYSCORE",
        run: zremrangebyscore,
        arity: Exactly(4),
        flags: WRITE,
        keys: Keys::ONE.with(REMOVES),
        usage: "key min max",
        since: "1.2.0",
        cost: REMOVAL_COST,
        summary: "Removes the members with a score within a range.",
        ..ROW
    },
    Spec {
        name: "ZREVRANGE",
        run: zrevrange,
        arity: AtLeast(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key start stop [WITHSCORES]",
        since: "1.2.0",
        cost: COST,
        summary: "Returns the members within a range of ranks, from the highest score to the lowest.",
        ..ROW
    },
    Spec {
        name: "ZREVRANGEBYLEX",
        run: zrevrangebylex,
        arity: AtLeast(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key max min [LIMIT offset count]",
        since: "2.8.9",
        cost: COST,
        summary: "Returns the members within a range of bytes in reverse, if all scores are the same.",
        ..ROW
    },
    Spec {
        name: "ZREVRANGEBYSCORE",
        run: zrevrangebyscore,
        arity: AtLeast(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key max min [WITHSCORES] [LIMIT offset count]",
        since: "2.2.0",
        cost: COST,
        summary: "Returns the members with a score within a range, from the highest score to the lowest.",
        ..ROW
    },
];

const NOT_SCORES: Error = Error::refused("min or max is not a float");
const NOT_LEX: Error = Error::refused("min or max not valid string range item");
const LIMIT_OF_RANKS: Error =
    Error::refused("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const SCORES_OF_LEX: Error = Error::refused("syntax error, WITHSCORES not supported in combination with BYLEX");

// ---- what a range is --------------------------------------------------------------------------------------------

/// What a range is counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Rank,
    Score,
    Lex,
}

/// A place between two neighbours in a sorted set.
enum Cut<'a> {
    Start,
    End,
    /// Before all pairs with a score, or behind them.
    Score {
        score: f64,
        behind: bool,
    },
    /// Before a member, or behind it.
    Member {
        member: &'a [u8],
        behind: bool,
    },
}

impl<'a> Cut<'a> {
    /// Reads an end of a range of scores.
    fn score(text: &[u8], is_max: bool) -> Result<Cut<'a>> {
        let (text, excluded) = match text {
            [b'(', text @ ..] => (text, true),
            text => (text, false),
        };
        let score = parse_end(text).ok_or(NOT_SCORES)?;
        Ok(Cut::Score { score, behind: excluded != is_max })
    }

    /// Reads an end of a range of members.
    fn lex(text: &'a [u8], is_max: bool) -> Result<Cut<'a>> {
        match text {
            b"-" => Ok(Cut::Start),
            b"+" => Ok(Cut::End),
            [b'[', member @ ..] => Ok(Cut::Member { member, behind: is_max }),
            [b'(', member @ ..] => Ok(Cut::Member { member, behind: !is_max }),
            _ => Err(NOT_LEX),
        }
    }

    /// How many pairs are before it.
    fn rank(&self, zset: &ZSet) -> usize {
        match *self {
            Cut::Start => 0,
            Cut::End => zset.len(),
            Cut::Score { score, behind: false } => zset.partition(|_, other| other < score),
            Cut::Score { score, behind: true } => zset.partition(|_, other| other <= score),
            Cut::Member { member, behind: false } => zset.partition(|other, _| other < member),
            Cut::Member { member, behind: true } => zset.partition(|other, _| other <= member),
        }
    }
}

/// A number as C's `strtod` reads it, which Redis asks here without further checks: what is too large is infinite, blanks
/// may come before it, and an empty text is zero.
fn parse_end(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = &text[blanks..];
    let lenient = || std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| !number.is_nan());
    num::parse_f64(text).or_else(lenient)
}

/// A range, read but not yet held against a set.
enum Range<'a> {
    Ranks(i64, i64),
    Between(Cut<'a>, Cut<'a>),
}

impl<'a> Range<'a> {
    fn parse(unit: Unit, min: &'a [u8], max: &'a [u8]) -> Result<Range<'a>> {
        let int = |text| num::parse_i64(text).ok_or(Error::NotInteger);
        Ok(match unit {
            Unit::Rank => Range::Ranks(int(min)?, int(max)?),
            Unit::Score => Range::Between(Cut::score(min, false)?, Cut::score(max, true)?),
            Unit::Lex => Range::Between(Cut::lex(min, false)?, Cut::lex(max, true)?),
        })
    }

    /// The ranks that are in it. With `back`, ranks in the request count from the highest score.
    fn ranks(&self, zset: &ZSet, back: bool) -> ops::Range<usize> {
        let len = zset.len();
        let (first, end) = match self {
            Range::Between(min, max) => (min.rank(zset), max.rank(zset)),
            Range::Ranks(first, last) => {
                let place = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
                let first = place(*first).max(0) as usize;
                let end = place(*last).saturating_add(1).clamp(0, len as i64) as usize;
                if back { (len.saturating_sub(end), len.saturating_sub(first)) } else { (first, end) }
            }
        };
        first..end.max(first)
    }
}

// ---- returning --------------------------------------------------------------------------------------------------

/// What a command of the ZRANGE family asks for.
struct Query<'a> {
    range: Range<'a>,
    back: bool,
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

/// What the name of such a command says already.
struct Preset {
    unit: Option<Unit>,
    back: Option<bool>,
    stores: bool,
}

impl<'a> Query<'a> {
    /// Reads the range at a position and the options behind it.
    fn parse(args: Args<'a>, at: usize, preset: &Preset) -> Result<Query<'a>> {
        let (mut unit, mut back, mut limit, mut with_scores) = (preset.unit, preset.back, None, false);
        let mut option = at + 2;
        while option < args.len() {
            if !preset.stores && args.is(option, "WITHSCORES") {
                with_scores = true;
            } else if args.is(option, "LIMIT") && option + 2 < args.len() {
                limit = Some((args.int(option + 1)?, args.int(option + 2)?));
                option += 2;
            } else if back.is_none() && args.is(option, "REV") {
                back = Some(true);
            } else if unit.is_none() && args.is(option, "BYLEX") {
                unit = Some(Unit::Lex);
            } else if unit.is_none() && args.is(option, "BYSCORE") {
                unit = Some(Unit::Score);
            } else {
                return Err(Error::Syntax);
            }
            option += 1;
        }
        let (unit, back) = (unit.unwrap_or(Unit::Rank), back.unwrap_or(false));
        if unit == Unit::Rank && limit.is_some_and(|(_, count)| count != -1) {
            return Err(LIMIT_OF_RANKS);
        }
        if unit == Unit::Lex && with_scores {
            return Err(SCORES_OF_LEX);
        }
        // In reverse, the larger end comes first.
        let (min, max) = if back && unit != Unit::Rank { (at + 1, at) } else { (at, at + 1) };
        let range = Range::parse(unit, args.word(min), args.word(max))?;
        let limit = limit.filter(|_| unit != Unit::Rank);
        Ok(Query { range, back, limit, with_scores })
    }

    /// The rank to begin with, and how many pairs to take from there on in the query's direction.
    fn window(&self, zset: &ZSet) -> (usize, usize) {
        let ranks = self.range.ranks(zset, self.back);
        let ranks = ranks.start..ranks.end.min(zset.len());
        let (skip, count) = match self.limit {
            None => (0, ranks.len()),
            Some((offset, count)) => {
                // An offset before the beginning finds nothing, a negative count is no limit.
                let skip = usize::try_from(offset).unwrap_or(usize::MAX).min(ranks.len());
                (skip, usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - skip))
            }
        };
        match count {
            0 => (0, 0),
            _ if self.back => (ranks.end - 1 - skip, count),
            _ => (ranks.start + skip, count),
        }
    }
}

const ANY: Preset = Preset { unit: None, back: None, stores: false };

fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show_range(ctx, args, &ANY)
}

fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show_range(ctx, args, &Preset { unit: Some(Unit::Lex), back: Some(false), ..ANY })
}

fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show_range(ctx, args, &Preset { unit: Some(Unit::Score), back: Some(false), ..ANY })
}

fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show_range(ctx, args, &Preset { unit: Some(Unit::Rank), back: Some(true), ..ANY })
}

fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show_range(ctx, args, &Preset { unit: Some(Unit::Lex), back: Some(true), ..ANY })
}

fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    show_range(ctx, args, &Preset { unit: Some(Unit::Score), back: Some(true), ..ANY })
}

fn show_range(ctx: &mut Ctx<'_>, args: Args<'_>, preset: &Preset) -> Result<()> {
    let query = Query::parse(args, 2, preset)?;
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    let seen = see(reader, args.word(1), |zset| {
        let (first, count) = query.window(zset);
        let pairs = Pairs::begin(reply, count, query.with_scores);
        zset.range(first, count, query.back).for_each(|(member, score)| pairs.show(reply, member, score));
    })?;
    if seen.is_none() {
        ctx.reply.array(0);
    }
    Ok(())
}

fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let query = Query::parse(args, 3, &Preset { stores: true, ..ANY })?;
    let (store, reader) = (ctx.store(), ctx.reader());
    let keys = [(store, args.word(1)), (store, args.word(2))];
    let compact = store.compact();
    let len = Store::with_all(&keys, ctx.now, |slots| {
        reader.note(&mut slots.at(1));
        let mut found = ZSet::default();
        if let Some(source) = slots.value(1) {
            let source = source.collection::<ZSet>()?;
            let (first, count) = query.window(source);
            // How many ranks are is known before, and many are never kept small; it shows where a score is -0.
            let is_known = matches!(query.range, Range::Ranks(..));
            let is_large = is_known && i64::try_from(count).is_ok_and(|count| count > compact.zset_entries);
            let compact = if is_large { Compact { zset_entries: 0, ..compact } } else { compact };
            for (member, score) in source.range(first, count, query.back) {
                member.with_bytes(|member| found.set(member, score, &compact));
            }
        }
        put_result(&mut slots.at(0), found, "zrangestore")
    })?;
    ctx.reply.count(len);
    Ok(())
}

/// Puts what a command has found in place of whatever is there, and tells how much it is. Nothing leaves no key.
pub(super) fn put_result(slot: &mut Slot<'_>, found: ZSet, event: &'static str) -> Result<usize> {
    let (len, was_there) = (found.len(), slot.value().is_some());
    slot.put_object(found, Millis::NEVER)?;
    if len > 0 {
        slot.tell(Class::ZSET, event);
    } else if was_there {
        slot.tell(Class::GENERIC, "del");
    }
    Ok(len)
}

// ---- counting and removing --------------------------------------------------------------------------------------

fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    count(ctx, args, Unit::Score)
}

fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    count(ctx, args, Unit::Lex)
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit) -> Result<()> {
    let range = Range::parse(unit, args.word(2), args.word(3))?;
    let count = see(ctx.reader(), args.word(1), |zset| range.ranks(zset, false).len())?;
    ctx.reply.count(count.unwrap_or(0));
    Ok(())
}

fn zremrangebyrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    remove_range(ctx, args, Unit::Rank, "zremrangebyrank")
}

fn zremrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    remove_range(ctx, args, Unit::Score, "zremrangebyscore")
}

fn zremrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    remove_range(ctx, args, Unit::Lex, "zremrangebylex")
}

fn remove_range(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, event: &'static str) -> Result<()> {
    let range = Range::parse(unit, args.word(2), args.word(3))?;
    let removed = ctx.store().with(args.word(1), ctx.now, |slot| {
        let remove = |zset: &mut ZSet, _: &_| {
            let ranks = range.ranks(zset, false);
            zset.remove_ranks(ranks.start, ranks.len())
        };
        let removed = slot.edit_if(remove, |removed| *removed > 0)?.unwrap_or(0);
        if removed > 0 {
            tell_change(slot, event);
        }
        Ok(removed)
    })?;
    ctx.reply.count(removed);
    Ok(())
}
