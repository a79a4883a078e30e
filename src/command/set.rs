//! Sets: members without order.
//!
//! What concerns several sets is worked out under all their locks, and none is copied for it.

use std::collections::HashSet;

use super::scan::{self, Sought};
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::clock::Millis;
use crate::config::Compact;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::num;
use crate::resp::{Args, Reply};
use crate::store::{Class, Element, Set, Slot, Slots, Store, Value};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Set, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;

/// Looks at the key, not at the members.
const LOOKS: &[&str] = &["RO"];
/// The keys behind the one that the result goes to.
const SOURCES: Keys = Keys { first: 2, ..Keys::ALL };

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "SADD",
        run: sadd,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM).and(FAST),
        keys: Keys::ONE.with(&["RW", "insert"]),
        usage: "key member [member ...]",
        cost: "O(N) where N is the number of members given",
        summary: "Adds members to a set and returns how many are new.",
        ..ROW
    },
    Spec {
        name: "SCARD",
        run: scard,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(LOOKS),
        usage: "key",
        summary: "Returns the number of members of a set.",
        ..ROW
    },
    Spec {
        name: "SDIFF",
        run: sdiff,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ALL,
        usage: "key [key ...]",
        cost: "O(N*M) where N is the size of the first set and M the number of sets",
        tips: tips::ORDER_VARIES,
        summary: "Returns the members of the first set that are in none of the others.",
        ..ROW
    },
    Spec {
        name: "SDIFFSTORE",
        run: sdiffstore,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(&["OW", "update"]).and(&SOURCES),
        usage: "destination key [key ...]",
        cost: "O(N*M) where N is the size of the first set and M the number of sets",
        summary: "Keeps the members of the first set that are in none of the others at a key.",
        ..ROW
    },
    Spec {
        name: "SINTER",
        run: sinter,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ALL,
        usage: "key [key ...]",
        cost: "O(N*M) where N is the size of the smallest set and M the number of sets",
        tips: tips::ORDER_VARIES,
        summary: "Returns the members that are in all sets.",
        ..ROW
    },
    Spec {
        name: "SINTERCARD",
        run: sintercard,
        arity: AtLeast(3),
        flags: READONLY.and(Flags::MOVABLE_KEYS),
        keys: Keys::counted(1),
        usage: "numkeys key [key ...] [LIMIT limit]",
        since: "7.0.0",
        cost: "O(N*M) where N is the size of the smallest set and M the number of sets",
        summary: "Returns how many members are in all sets, counted up to a limit.",
        ..ROW
    },
    Spec {
        name: "SINTERSTORE",
        run: sinterstore,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.writes().and(&SOURCES),
        usage: "destination key [key ...]",
        cost: "O(N*M) where N is the size of the smallest set and M the number of sets",
        summary: "Keeps the members that are in all sets at a key.",
        ..ROW
    },
    Spec {
        name: "SISMEMBER",
        run: sismember,
        arity: Exactly(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(LOOKS),
        usage: "key member",
        summary: "Returns whether something is a member of a set.",
        ..ROW
    },
    Spec {
        name: "SMEMBERS",
        run: smembers,
        arity: Exactly(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key",
        cost: "O(N) where N is the size of the set",
        tips: tips::ORDER_VARIES,
        summary: "Returns all members of a set.",
        ..ROW
    },
    Spec {
        name: "SMISMEMBER",
        run: smismember,
        arity: AtLeast(3),
        flags: READONLY.and(FAST),
        keys: Keys::ONE,
        usage: "key member [member ...]",
        since: "6.2.0",
        cost: "O(N) where N is the number of members asked for",
        summary: "Returns of several things whether they are members of a set.",
        ..ROW
    },
    Spec {
        name: "SMOVE",
        run: smove,
        arity: Exactly(4),
        flags: WRITE.and(FAST),
        keys: Keys::TWO.with(&["RW", "access", "delete"]).last_with(&["RW", "insert"]),
        usage: "source destination member",
        summary: "Moves a member from one set to another.",
        ..ROW
    },
    Spec {
        name: "SPOP",
        run: spop,
        arity: AtLeast(2),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(&["RW", "access", "delete"]),
        usage: "key [count]",
        cost: "O(N) where N is the number of members taken",
        tips: tips::VARIES,
        summary: "Takes members out of a set at random and returns them.",
        ..ROW
    },
    Spec {
        name: "SRANDMEMBER",
        run: srandmember,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key [count]",
        cost: "O(N) where N is the number of members returned",
        tips: tips::VARIES,
        summary: "Returns members of a set at random; with a negative count a member may come several times.",
        ..ROW
    },
    Spec {
        name: "SREM",
        run: srem,
        arity: AtLeast(3),
        flags: WRITE.and(FAST),
        keys: Keys::ONE.with(&["RW", "delete"]),
        usage: "key member [member ...]",
        cost: "O(N) where N is the number of members given",
        summary: "Removes members from a set and returns how many there were.",
        ..ROW
    },
    Spec {
        name: "SSCAN",
        run: sscan,
        arity: AtLeast(3),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key cursor [MATCH pattern] [COUNT count]",
        since: "2.8.0",
        cost: "O(1) for each call, O(N) for a whole scan of N members",
        tips: tips::VARIES,
        summary: "Returns some members of a set and a cursor to go on with.",
        ..ROW
    },
    Spec {
        name: "SUNION",
        run: sunion,
        arity: AtLeast(2),
        flags: READONLY,
        keys: Keys::ALL,
        usage: "key [key ...]",
        cost: "O(N) where N is the number of members of all sets",
        tips: tips::ORDER_VARIES,
        summary: "Returns the members that are in any of the sets.",
        ..ROW
    },
    Spec {
        name: "SUNIONSTORE",
        run: sunionstore,
        arity: AtLeast(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(&["OW", "update"]).and(&SOURCES),
        usage: "destination key [key ...]",
        cost: "O(N) where N is the number of members of all sets",
        summary: "Keeps the members that are in any of the sets at a key.",
        ..ROW
    },
];

const NOT_POSITIVE: Error = Error::refused("value is out of range, must be positive");
const COUNT_RANGE: Error =
    Error::refused("value is out of range, value must between -9223372036854775807 and 9223372036854775807");
const NO_KEYS: Error = Error::refused("numkeys should be greater than 0");
const TOO_MANY_KEYS: Error = Error::refused("Number of keys can't be greater than number of args");
const NEGATIVE_LIMIT: Error = Error::refused("LIMIT can't be negative");

/// The fewest bytes that an element of a reply takes: `$0`, its line end, and that of nothing.
const ELEMENT_MIN: usize = 6;

// ---- one set ----------------------------------------------------------------------------------------------------

/// What `f` makes of a set, or what it would make of one without members.
fn look<R: Default>(ctx: &Ctx<'_>, key: &[u8], f: impl FnOnce(&Set) -> R) -> Result<R> {
    let found = ctx.reader().get(key, |value| value.collection::<Set>().map(f));
    Ok(found.transpose()?.unwrap_or_default())
}

/// Tells that members went, and that the set went with them.
fn tell_gone(slot: &mut Slot<'_>, name: &'static str) {
    slot.tell(Class::SET, name);
    if slot.value().is_none() {
        slot.tell(Class::GENERIC, "del");
    }
}

fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let members = args.tail(2);
    let added = ctx.store().with(args.word(1), ctx.now, |slot| -> Result<usize> {
        let add =
            |set: &mut Set, compact: &Compact| members.iter().filter(|member| set.insert(member, compact)).count();
        let added = slot.edit_or_new_if(add, |added| *added > 0)?;
        if added > 0 {
            slot.tell(Class::SET, "sadd");
        }
        Ok(added)
    })?;
    ctx.reply.count(added);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let members = args.tail(2);
    let removed = ctx.store().with(args.word(1), ctx.now, |slot| -> Result<usize> {
        let remove = |set: &mut Set, _: &Compact| members.iter().filter(|member| set.remove(member)).count();
        let removed = slot.edit_if(remove, |removed| *removed > 0)?.unwrap_or(0);
        if removed > 0 {
            tell_gone(slot, "srem");
        }
        Ok(removed)
    })?;
    ctx.reply.count(removed);
    Ok(())
}

fn scard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let len = look(ctx, args.word(1), Set::len)?;
    ctx.reply.count(len);
    Ok(())
}

fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let is = look(ctx, args.word(1), |set| set.contains(args.word(2)))?;
    ctx.reply.int(i64::from(is));
    Ok(())
}

fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let members = args.tail(2);
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    reply.array(members.len());
    let found = reader.get(args.word(1), |value| {
        let set = value.collection::<Set>()?;
        members.iter().for_each(|member| reply.int(i64::from(set.contains(member))));
        Ok(())
    });
    match found {
        Some(result) => result,
        None => {
            members.iter().for_each(|_| ctx.reply.int(0));
            Ok(())
        }
    }
}

fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (reader, reply) = (ctx.reader(), &mut ctx.reply);
    let found = reader.get(args.word(1), |value| value.collection().map(|set| show_all(reply, set)));
    if found.transpose()?.is_none() {
        ctx.reply.set(0);
    }
    Ok(())
}

/// All members, as a set.
fn show_all(reply: &mut Reply<'_>, set: &Set) {
    reply.set(set.len());
    set.iter().for_each(|member| show(reply, member));
}

fn show(reply: &mut Reply<'_>, member: Element<'_>) {
    member.with_bytes(|bytes| reply.bulk(bytes));
}

fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let cursor = scan::cursor(args.word(2)).ok_or(scan::INVALID_CURSOR)?;
    let version = ctx.client.version;
    let found = ctx.reader().get(args.word(1), |value| {
        let set = value.collection::<Set>()?;
        let sought = Sought::parse(args, 3)?;
        // The cursor comes first in the reply and is known last.
        let (mut members, mut found) = (Vec::new(), 0);
        let mut out = Reply::new(&mut members, version);
        let next = set.scan(cursor.0, sought.count, |member| {
            if sought.fits(member) {
                out.bulk(member);
                found += 1;
            }
        });
        Ok((next, members, found))
    });
    let (next, members, found) = found.transpose()?.unwrap_or_default();
    ctx.reply.array(2);
    ctx.reply.bulk_display(next);
    ctx.reply.array(found);
    ctx.reply.raw(&members);
    Ok(())
}

fn smove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let member = args.word(3);
    let keys = [(ctx.store(), args.word(1)), (ctx.store(), args.word(2))];
    let moved = Store::with_all(&keys, ctx.now, |slots| -> Result<bool> {
        // Without a source it does not matter what is at the destination.
        let Some(found) = slots.at(0).see::<Set>()?.map(|set| set.contains(member)) else { return Ok(false) };
        slots.at(1).see::<Set>()?;
        if slots.same(0, 1) || !found {
            return Ok(found);
        }
        slots.at(1).admits()?;
        let mut source = slots.at(0);
        source.edit(|set: &mut Set, _| set.remove(member))?;
        tell_gone(&mut source, "srem");
        let mut destination = slots.at(1);
        // A destination that has it already has not changed.
        if !destination.see::<Set>()?.is_some_and(|set| set.contains(member)) {
            destination.edit_or_new(|set: &mut Set, compact| set.insert(member, compact))?;
            destination.tell(Class::SET, "sadd");
        }
        Ok(true)
    })?;
    ctx.reply.int(i64::from(moved));
    Ok(())
}

// ---- at random --------------------------------------------------------------------------------------------------

/// A random position among so many, which are not zero.
fn random(engine: &Engine, len: usize) -> usize {
    ((u128::from(engine.chance()) * len as u128) >> u64::BITS) as usize
}

/// As many positions as wanted out of more, none twice, each choice as likely as any other.
fn sample(engine: &Engine, len: usize, wanted: usize) -> Vec<usize> {
    let mut chosen = HashSet::with_capacity(wanted);
    let choose = |last: usize| {
        let position = random(engine, last + 1);
        // The last one was not on offer before, so it can stand in for one that is chosen already.
        let position = if chosen.insert(position) { position } else { last };
        chosen.insert(position);
        position
    };
    (len - wanted..len).map(choose).collect()
}

fn spop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let count = match args.len() {
        2 => None,
        3 => {
            let count = num::parse_i64(args.word(2)).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(NOT_POSITIVE)?)
        }
        _ => return Err(Error::Syntax),
    };
    let (store, engine, reply) = (ctx.store(), ctx.engine, &mut ctx.reply);
    store.with(args.word(1), ctx.now, |slot| {
        let take = |set: &mut Set, _: &Compact| match count {
            None => {
                let member = set.take_at(random(engine, set.len()));
                reply.bulk_or_null(member.as_deref());
                usize::from(member.is_some())
            }
            Some(count) if count >= set.len() => {
                show_all(reply, set);
                std::mem::take(set).len()
            }
            Some(count) => {
                reply.set(count);
                let mut take = || set.take_at(random(engine, set.len())).unwrap_or_default();
                (0..count).for_each(|_| reply.bulk(&take()));
                count
            }
        };
        let taken = slot.edit_if(take, |taken| *taken > 0)?;
        match taken {
            None if count.is_none() => reply.null(),
            None => reply.set(0),
            Some(0) => {}
            Some(_) => tell_gone(slot, "spop"),
        }
        Ok(())
    })
}

fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let count = match args.len() {
        2 => None,
        3 => Some(args.int(2)?),
        _ => return Err(Error::Syntax),
    };
    if count == Some(i64::MIN) {
        return Err(COUNT_RANGE);
    }
    let (engine, reader, reply) = (ctx.engine, ctx.reader(), &mut ctx.reply);
    let found = reader.get(args.word(1), |value: Value<'_>| {
        let set = value.collection::<Set>()?;
        match count {
            None => set.get(random(engine, set.len())).into_iter().for_each(|member| show(reply, member)),
            Some(count) if count < 0 => return show_often(engine, reply, set, count.unsigned_abs()),
            Some(count) => {
                let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
                reply.array(wanted);
                if wanted == set.len() {
                    set.iter().for_each(|member| show(reply, member));
                } else {
                    let chosen = sample(engine, set.len(), wanted);
                    chosen.into_iter().filter_map(|index| set.get(index)).for_each(|member| show(reply, member));
                }
            }
        }
        Ok(())
    });
    match found {
        Some(result) => result?,
        None if count.is_some() => ctx.reply.array(0),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// So many members, each drawn from all. There is no bound to what may be asked for, but there is one to a reply.
fn show_often(engine: &Engine, reply: &mut Reply<'_>, set: &Set, count: u64) -> Result<()> {
    let fits = |count: &usize| *count <= reply.room() / ELEMENT_MIN;
    let count = usize::try_from(count).ok().filter(fits).ok_or(Error::ReplyTooLarge)?;
    reply.array(count);
    for _ in 0..count {
        if reply.is_over() {
            break;
        }
        set.get(random(engine, set.len())).into_iter().for_each(|member| show(reply, member));
    }
    Ok(())
}

// ---- several sets -----------------------------------------------------------------------------------------------

/// What several sets make together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combined {
    Union,
    Intersection,
    Difference,
}

impl Combined {
    /// Shows each member once, until `f` has enough.
    fn each(self, sets: &[Option<&Set>], mut f: impl FnMut(Element<'_>) -> bool) {
        match self {
            Combined::Union => {
                // Nobody sees how it is kept.
                let (mut seen, compact) = (Set::default(), Compact::default());
                let members = sets.iter().flatten().flat_map(|set| set.iter());
                let mut is_new = |member: Element<'_>| member.with_bytes(|bytes| seen.insert(bytes, &compact));
                members.take_while(|member| !is_new(*member) || f(*member)).for_each(drop);
            }
            Combined::Intersection => {
                let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else { return };
                sets.sort_by_key(|set| set.len());
                let Some((smallest, others)) = sets.split_first() else { return };
                let mut shared = smallest.iter().filter(|member| others.iter().all(|set| set.shares(*member)));
                shared.all(f);
            }
            Combined::Difference => {
                let Some((Some(first), others)) = sets.split_first() else { return };
                let mut others: Vec<&Set> = others.iter().flatten().copied().collect();
                // Where it is found soonest that a member is not wanted.
                others.sort_by_key(|set| std::cmp::Reverse(set.len()));
                let mut left = first.iter().filter(|member| !others.iter().any(|set| set.shares(*member)));
                left.all(f);
            }
        }
    }
}

/// The sets from a position on; `None` where there is none.
fn operands<'s>(slots: &'s Slots<'_, '_>, from: usize, to: usize) -> Result<Vec<Option<&'s Set>>> {
    (from..to).map(|at| slots.value(at).map(Value::collection).transpose()).collect()
}

fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    combine(ctx, args, Combined::Difference)
}

fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    combine(ctx, args, Combined::Intersection)
}

fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    combine(ctx, args, Combined::Union)
}

fn combine(ctx: &mut Ctx<'_>, args: Args<'_>, how: Combined) -> Result<()> {
    let (reader, keys, reply) = (ctx.reader(), ctx.keys(args, 1), &mut ctx.reply);
    Store::with_all(&keys, ctx.now, |slots| {
        (0..keys.len()).for_each(|at| reader.note(&mut slots.at(at)));
        let sets = operands(slots, 0, keys.len())?;
        let (mark, mut found) = (reply.mark(), 0);
        how.each(&sets, |member| {
            show(reply, member);
            found += 1;
            true
        });
        reply.set_from(mark, found);
        Ok(())
    })
}

fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    combine_into(ctx, args, Combined::Difference, "sdiffstore")
}

fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    combine_into(ctx, args, Combined::Intersection, "sinterstore")
}

fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    combine_into(ctx, args, Combined::Union, "sunionstore")
}

fn combine_into(ctx: &mut Ctx<'_>, args: Args<'_>, how: Combined, event: &'static str) -> Result<()> {
    let (reader, keys, compact) = (ctx.reader(), ctx.keys(args, 1), ctx.store().compact());
    let len = Store::with_all(&keys, ctx.now, |slots| -> Result<usize> {
        (1..keys.len()).for_each(|at| reader.note(&mut slots.at(at)));
        let mut result = Set::default();
        how.each(&operands(slots, 1, keys.len())?, |member| {
            member.with_bytes(|bytes| result.insert(bytes, &compact));
            true
        });
        let (len, mut slot) = (result.len(), slots.at(0));
        if len > 0 {
            slot.put_object(result, Millis::NEVER)?;
            slot.tell(Class::SET, event);
        } else if slot.value().is_some() {
            slot.remove();
            slot.tell(Class::GENERIC, "del");
        }
        Ok(len)
    })?;
    ctx.reply.count(len);
    Ok(())
}

fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let count = num::parse_i64(args.word(1)).filter(|count| *count > 0).ok_or(NO_KEYS)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= args.len() - 2).ok_or(TOO_MANY_KEYS)?;
    let mut limit = 0;
    for at in (2 + count..args.len()).step_by(2) {
        if !args.is(at, "LIMIT") || at + 1 == args.len() {
            return Err(Error::Syntax);
        }
        limit =
            num::parse_i64(args.word(at + 1)).and_then(|limit| usize::try_from(limit).ok()).ok_or(NEGATIVE_LIMIT)?;
    }
    let keys: Vec<(&Store, &[u8])> = args.tail(2).iter().take(count).map(|key| (ctx.store(), key)).collect();
    let reader = ctx.reader();
    let found = Store::with_all(&keys, ctx.now, |slots| -> Result<usize> {
        (0..keys.len()).for_each(|at| reader.note(&mut slots.at(at)));
        let mut found = 0;
        Combined::Intersection.each(&operands(slots, 0, keys.len())?, |_| {
            found += 1;
            found != limit
        });
        Ok(found)
    })?;
    ctx.reply.count(found);
    Ok(())
}
