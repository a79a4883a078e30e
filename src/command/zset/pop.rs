//! Members taken from either end of a sorted set, at once or as soon as there are any.

use super::{FAST, Pairs, ROW, WRITE, tell_change};
use crate::command::blocking::{self, Wish};
use crate::command::words::Words as _;
use crate::command::{Arity, Ctx, Flags, Keys, Spec};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply};
use crate::store::{Slot, Store, Type, ZSet, ZSetIter};

use Arity::AtLeast;

/// Returns what it removes.
const TAKES: &[&str] = &["RW", "access", "delete"];

/// May wait until there is something to take.
const WAITS: Flags = WRITE.and(Flags::BLOCKING);

/// Takes from one set.
const POP: Spec = Spec {
    arity: AtLeast(2),
    flags: WRITE.and(FAST),
    keys: Keys::ONE.with(TAKES),
    usage: "key [count]",
    since: "5.0.0",
    cost: "O(M*log(N)) where N is the number of members in the set and M the number of those taken",
    ..ROW
};

/// Takes a member from the first of several sets, waiting for it.
const POP_OR_WAIT: Spec = Spec {
    arity: AtLeast(3),
    flags: WAITS.and(Flags::NOSCRIPT).and(FAST),
    keys: Keys { last: -2, ..Keys::ALL.with(TAKES) },
    usage: "key [key ...] timeout",
    since: "5.0.0",
    cost: "O(log(N)) where N is the number of members in the set",
    ..ROW
};

pub(in crate::command) const COMMANDS: &[Spec] = &[
    Spec {
        name: "BZMPOP",
        run: bzmpop,
        arity: AtLeast(5),
        flags: WAITS.and(Flags::MOVABLE_KEYS),
        keys: Keys::counted(2).with(TAKES),
        usage: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        since: "7.0.0",
        cost: "O(K) + O(M*log(N)) where K is the number of keys, N the number of members in the set and M of those taken",
        summary: "Takes members with the lowest or highest scores from the first of several sorted sets, waiting for some.",
        ..ROW
    },
    Spec {
        name: "BZPOPMAX",
        run: bzpopmax,
        summary: "Takes the member with the highest score from the first of several sorted sets that has one, waiting for it.",
        ..POP_OR_WAIT
    },
    Spec {
        name: "BZPOPMIN",
        run: bzpopmin,
        summary: "Takes the member with the lowest score from the first of several sorted sets that has one, waiting for it.",
        ..POP_OR_WAIT
    },
    Spec {
        name: "ZMPOP",
        run: zmpop,
        arity: AtLeast(4),
        flags: WRITE.and(Flags::MOVABLE_KEYS),
        keys: Keys::counted(1).with(TAKES),
        usage: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        since: "7.0.0",
        cost: "O(K) + O(M*log(N)) where K is the number of keys, N the number of members in the set and M of those taken",
        summary: "Takes members with the lowest or highest scores from the first of several sorted sets that has any.",
        ..ROW
    },
    Spec {
        name: "ZPOPMAX",
        run: zpopmax,
        summary: "Takes the members with the highest scores from a sorted set.",
        ..POP
    },
    Spec {
        name: "ZPOPMIN",
        run: zpopmin,
        summary: "Takes the members with the lowest scores from a sorted set.",
        ..POP
    },
];

const NOT_POSITIVE: Error = Error::refused("value is out of range, must be positive");
const NO_KEYS: Error = Error::refused("numkeys should be greater than 0");
const NO_COUNT: Error = Error::refused("count should be greater than 0");

/// An end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    pop_from_one(ctx, args, End::Min)
}

fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    pop_from_one(ctx, args, End::Max)
}

fn pop_from_one(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Result<()> {
    if args.len() > 3 {
        return Err(Error::Syntax);
    }
    let count = match args.len() {
        3 => Some(usize::try_from(args.int_or(2, NOT_POSITIVE)?).map_err(|_| NOT_POSITIVE)?),
        _ => None,
    };
    let (store, reply) = (ctx.store(), &mut ctx.reply);
    store.with(args.word(1), ctx.now, |slot| {
        slot.see::<ZSet>()?;
        let taken = pop(slot, end, count.unwrap_or(1), |pairs| match count {
            // One pair is no list of pairs, in neither version.
            None => {
                reply.array(2);
                pairs.for_each(|(member, score)| {
                    member.with_bytes(|bytes| reply.bulk(bytes));
                    reply.double(score);
                });
            }
            Some(_) => {
                let shown = Pairs::begin(reply, pairs.len(), true);
                pairs.for_each(|(member, score)| shown.show(reply, member, score));
            }
        })?;
        if !taken {
            reply.array(0);
        }
        Ok(())
    })
}

/// Shows so many pairs of an end and removes them; `false` if there are none.
fn pop(slot: &mut Slot<'_>, end: End, count: usize, show: impl FnOnce(ZSetIter<'_>)) -> Result<bool> {
    if count == 0 {
        return Ok(false);
    }
    let taken = slot.edit(|zset: &mut ZSet, _| {
        let len = zset.len();
        let count = count.min(len);
        match end {
            End::Min => show(zset.range(0, count, false)),
            End::Max => show(zset.range(len.saturating_sub(1), count, true)),
        }
        zset.remove_ranks(if end == End::Min { 0 } else { len - count }, count);
    })?;
    if taken.is_some() {
        tell_change(slot, end.event());
    }
    Ok(taken.is_some())
}

/// What ZMPOP and BZMPOP ask for.
struct Several {
    keys: usize,
    end: End,
    count: usize,
}

impl Several {
    /// Reads it from the number of keys on.
    fn parse(args: Args<'_>, at: usize) -> Result<Several> {
        let positive = |at, error: Error| {
            let number = usize::try_from(args.int_or(at, error.clone())?).ok();
            number.filter(|number| *number > 0).ok_or(error)
        };
        let keys = positive(at, NO_KEYS)?;
        let place = at.saturating_add(keys).saturating_add(1);
        let end = match () {
            () if args.is(place, "MIN") => End::Min,
            () if args.is(place, "MAX") => End::Max,
            () => return Err(Error::Syntax),
        };
        let (mut count, mut option) = (None, place + 1);
        while option < args.len() {
            if count.is_some() || !args.is(option, "COUNT") || option + 1 == args.len() {
                return Err(Error::Syntax);
            }
            count = Some(positive(option + 1, NO_COUNT)?);
            option += 2;
        }
        Ok(Several { keys, end, count: count.unwrap_or(1) })
    }
}

fn zmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let several = Several::parse(args, 1)?;
    if !pop_from_first(ctx, args, 2, &several)? {
        ctx.reply.null_array();
    }
    Ok(())
}

/// Takes members from the first set that has any, of those whose names begin at a position; `false` if none has.
fn pop_from_first(ctx: &mut Ctx<'_>, args: Args<'_>, first: usize, several: &Several) -> Result<bool> {
    let store = ctx.store();
    let keys: Vec<(&Store, &[u8])> = args.iter().skip(first).take(several.keys).map(|key| (store, key)).collect();
    let reply = &mut ctx.reply;
    Store::with_all(&keys, ctx.now, |slots| {
        for (at, (_, key)) in keys.iter().enumerate() {
            if pop(&mut slots.at(at), several.end, several.count, |pairs| show_named(reply, key, pairs))? {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

fn bzpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    pop_or_wait(ctx, args, End::Min)
}

fn bzpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    pop_or_wait(ctx, args, End::Max)
}

fn pop_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Result<()> {
    let until = blocking::deadline(args, args.len() - 1, ctx.now)?;
    let keys: Vec<&[u8]> = (1..args.len() - 1).map(|at| args.word(at)).collect();
    let wish = Wish { keys: &keys, target: None, kind: Type::ZSet, until };
    blocking::take_or_wait(ctx, args, &wish, |reply, slots, at| {
        let show = |pairs: ZSetIter<'_>| {
            reply.array(3);
            reply.bulk(keys[at]);
            pairs.for_each(|(member, score)| {
                member.with_bytes(|bytes| reply.bulk(bytes));
                reply.double(score);
            });
        };
        pop(&mut slots.at(at), end, 1, show).map(drop)
    })
}

fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let several = Several::parse(args, 2)?;
    let until = blocking::deadline(args, 1, ctx.now)?;
    let keys: Vec<&[u8]> = (3..3 + several.keys).map(|at| args.word(at)).collect();
    let wish = Wish { keys: &keys, target: None, kind: Type::ZSet, until };
    blocking::take_or_wait(ctx, args, &wish, |reply, slots, at| {
        let show = |pairs: ZSetIter<'_>| show_named(reply, keys[at], pairs);
        pop(&mut slots.at(at), several.end, several.count, show).map(drop)
    })
}

/// The key and what was taken from it, pairs nested in either version.
fn show_named(reply: &mut Reply<'_>, key: &[u8], pairs: ZSetIter<'_>) {
    reply.array(2);
    reply.bulk(key);
    reply.array(pairs.len());
    for (member, score) in pairs {
        reply.array(2);
        member.with_bytes(|bytes| reply.bulk(bytes));
        reply.double(score);
    }
}
