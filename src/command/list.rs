//! Lists: pushed to and popped from either end, looked at, cut.
//!
//! The commands that wait for an element are in `blocking.rs`; what they do when there is one is here.

use std::ops::Range;

use super::words::Words as _;
use super::{Arity, Ctx, Flags, Group, Keys, Spec};
use crate::config::Compact;
use crate::error::{Error, Result};
use crate::resp::{Args, Reply};
use crate::store::{Class, Element, End, List, Slot, Slots, Store};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::List, ..Spec::BASE };
const READONLY: Flags = Flags::READONLY;
const WRITE: Flags = Flags::WRITE;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;

/// Returns what was there and takes it out.
pub(super) const TAKES: &[&str] = &["RW", "access", "delete"];
/// Adds to what is there.
pub(super) const ADDS: &[&str] = &["RW", "insert"];

const COUNTED: Keys = Keys::counted(1).with(TAKES);

/// Takes from an end.
const POP: Spec = Spec {
    arity: AtLeast(2),
    flags: WRITE.and(FAST),
    keys: Keys::ONE.with(TAKES),
    usage: "key [count]",
    cost: "O(N) where N is the number of elements that are returned",
    ..ROW
};

/// Adds to an end.
const PUSH: Spec = Spec {
    arity: AtLeast(3),
    flags: WRITE.and(DENYOOM).and(FAST),
    keys: Keys::ONE.with(ADDS),
    usage: "key element [element ...]",
    cost: "O(N) where N is the number of elements",
    ..ROW
};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "LINDEX",
        run: lindex,
        arity: Exactly(3),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key index",
        cost: "O(N) where N is the number of pieces up to the element, from the nearer end",
        summary: "Returns the element of a list at an index, which counts from the end if it is negative.",
        ..ROW
    },
    Spec {
        name: "LINSERT",
        run: linsert,
        arity: Exactly(5),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(ADDS),
        usage: "key <BEFORE | AFTER> pivot element",
        since: "2.2.0",
        cost: "O(N) where N is the number of elements up to the pivot",
        summary: "Inserts an element into a list, before or behind the first one that equals the pivot.",
        ..ROW
    },
    Spec {
        name: "LLEN",
        run: llen,
        arity: Exactly(2),
        flags: READONLY.and(FAST),
        keys: Keys::ONE.with(&["RO"]),
        usage: "key",
        summary: "Returns the length of a list.",
        ..ROW
    },
    Spec {
        name: "LMOVE",
        run: lmove,
        arity: Exactly(5),
        flags: WRITE.and(DENYOOM),
        keys: Keys::TWO.with(TAKES).last_with(ADDS),
        usage: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        since: "6.2.0",
        summary: "Takes an element from an end of a list, adds it to an end of another and returns it.",
        ..ROW
    },
    Spec {
        name: "LMPOP",
        run: lmpop,
        arity: AtLeast(4),
        flags: WRITE.and(Flags::MOVABLE_KEYS),
        keys: COUNTED,
        usage: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        since: "7.0.0",
        cost: "O(N+M) where N is the number of keys and M the number of elements that are returned",
        summary: "Takes elements from the first of several lists that has any, and returns them.",
        ..ROW
    },
    Spec {
        name: "LPOP",
        run: |ctx, args| pop(ctx, args, End::Left),
        summary: "Takes the first elements from a list and returns them.",
        ..POP
    },
    Spec {
        name: "LPOS",
        run: lpos,
        arity: AtLeast(3),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        since: "6.0.6",
        cost: "O(N) where N is the number of elements that are looked at",
        summary: "Returns the indexes of the elements of a list that equal another one.",
        ..ROW
    },
    Spec {
        name: "LPUSH",
        run: |ctx, args| push(ctx, args, End::Left, true),
        summary: "Adds elements before the first of a list, one after the other, creating the list if there is none.",
        ..PUSH
    },
    Spec {
        name: "LPUSHX",
        run: |ctx, args| push(ctx, args, End::Left, false),
        since: "2.2.0",
        summary: "Adds elements before the first of a list, one after the other, if there is one.",
        ..PUSH
    },
    Spec {
        name: "LRANGE",
        run: lrange,
        arity: Exactly(4),
        flags: READONLY,
        keys: Keys::ONE,
        usage: "key start stop",
        cost: "O(S+N) where S is the number of pieces up to the first element and N the number of elements",
        summary: "Returns the elements of a list between two indexes, both included.",
        ..ROW
    },
    Spec {
        name: "LREM",
        run: lrem,
        arity: Exactly(4),
        flags: WRITE,
        keys: Keys::ONE.with(&["RW", "delete"]),
        usage: "key count element",
        cost: "O(N) where N is the number of elements",
        summary: "Removes elements that equal another one from a list, from the end if the count is negative.",
        ..ROW
    },
    Spec {
        name: "LSET",
        run: lset,
        arity: Exactly(4),
        flags: WRITE.and(DENYOOM),
        keys: Keys::ONE.with(&["RW", "update"]),
        usage: "key index element",
        cost: "O(N) where N is the number of pieces up to the element, from the nearer end",
        summary: "Replaces the element of a list at an index.",
        ..ROW
    },
    Spec {
        name: "LTRIM",
        run: ltrim,
        arity: Exactly(4),
        flags: WRITE,
        keys: Keys::ONE.with(&["RW", "delete"]),
        usage: "key start stop",
        cost: "O(N) where N is the number of elements that are removed",
        summary: "Removes all elements of a list but those between two indexes, both included.",
        ..ROW
    },
    Spec {
        name: "RPOP",
        run: |ctx, args| pop(ctx, args, End::Right),
        summary: "Takes the last elements from a list and returns them, the last one first.",
        ..POP
    },
    Spec {
        name: "RPOPLPUSH",
        run: |ctx, args| move_now(ctx, args, End::Right, End::Left),
        arity: Exactly(3),
        flags: WRITE.and(DENYOOM),
        keys: Keys::TWO.with(TAKES).last_with(ADDS),
        usage: "source destination",
        since: "1.2.0",
        summary: "Takes the last element from a list, adds it before the first of another and returns it.",
        ..ROW
    },
    Spec {
        name: "RPUSH",
        run: |ctx, args| push(ctx, args, End::Right, true),
        summary: "Adds elements behind the last of a list, creating the list if there is none.",
        ..PUSH
    },
    Spec {
        name: "RPUSHX",
        run: |ctx, args| push(ctx, args, End::Right, false),
        since: "2.2.0",
        summary: "Adds elements behind the last of a list, if there is one.",
        ..PUSH
    },
];

const BAD_INDEX: Error = Error::refused("index out of range");
const NOT_POSITIVE: Error = Error::refused("value is out of range, must be positive");
const BAD_NUMKEYS: Error = Error::refused("numkeys should be greater than 0");
const BAD_COUNT: Error = Error::refused("count should be greater than 0");
const BAD_RANK: Error = Error::refused(
    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the \
     end of the list",
);
const NEGATIVE_COUNT: Error = Error::refused("COUNT can't be negative");
const NEGATIVE_MAXLEN: Error = Error::refused("MAXLEN can't be negative");

/// The element that an index means, if there can be one.
fn index(number: i64, len: usize) -> Option<usize> {
    let from_start = if number < 0 { number.checked_add(len as i64)? } else { number };
    usize::try_from(from_start).ok().filter(|index| *index < len)
}

/// The elements between two indexes, both included.
fn range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_start = |number: i64| if number < 0 { number.saturating_add(len as i64) } else { number };
    let (start, stop) = (from_start(start).max(0), from_start(stop).min(len as i64 - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

fn answer(reply: &mut Reply<'_>, element: Element<'_>) {
    element.with_bytes(|bytes| reply.bulk(bytes));
}

/// LEFT or RIGHT.
pub(super) fn end(args: Args<'_>, at: usize) -> Result<End> {
    if args.is(at, "LEFT") {
        Ok(End::Left)
    } else if args.is(at, "RIGHT") {
        Ok(End::Right)
    } else {
        Err(Error::Syntax)
    }
}

/// Tells that elements were taken, and that the list is gone if none are left.
fn tell_taken(slot: &mut Slot<'_>, name: &'static str) {
    slot.tell(Class::LIST, name);
    if slot.value().is_none() {
        slot.tell(Class::GENERIC, "del");
    }
}

// ---- looking ----------------------------------------------------------------------------------------------------

fn llen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let len = ctx.reader().glance(args.word(1), |value| value.collection::<List>().map(List::len));
    ctx.reply.count(len.transpose()?.unwrap_or(0));
    Ok(())
}

fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let found = ctx.reader().get(args.word(1), |value| {
        let list = value.collection::<List>()?;
        let element = index(args.int(2)?, list.len()).and_then(|index| list.get(index));
        Ok(element.map(|element| answer(&mut ctx.reply, element)).is_some())
    });
    if !found.transpose()?.unwrap_or(false) {
        ctx.reply.null();
    }
    Ok(())
}

fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    let found = ctx.reader().get(args.word(1), |value| {
        let list = value.collection::<List>()?;
        let range = range(start, stop, list.len());
        ctx.reply.array(range.len());
        list.iter_from(range.start).take(range.len()).for_each(|element| answer(&mut ctx.reply, element));
        Ok(())
    });
    if found.transpose()?.is_none() {
        ctx.reply.array(0);
    }
    Ok(())
}

/// The options of LPOS.
struct Search {
    rank: i64,
    count: Option<i64>,
    most: i64,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Search> {
        let mut search = Search { rank: 1, count: None, most: 0 };
        for at in (3..args.len()).step_by(2) {
            let has_value = at + 1 < args.len();
            if args.is(at, "RANK") && has_value {
                search.rank = Some(args.int(at + 1)?).filter(|rank| *rank != 0).ok_or(BAD_RANK)?;
            } else if args.is(at, "COUNT") && has_value {
                let count = args.int_or(at + 1, NEGATIVE_COUNT)?;
                search.count = Some(Some(count).filter(|count| *count >= 0).ok_or(NEGATIVE_COUNT)?);
            } else if args.is(at, "MAXLEN") && has_value {
                let most = args.int_or(at + 1, NEGATIVE_MAXLEN)?;
                search.most = Some(most).filter(|most| *most >= 0).ok_or(NEGATIVE_MAXLEN)?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(search)
    }

    /// Shows the index of each element that is meant.
    fn run(&self, list: &List, element: &[u8], mut f: impl FnMut(usize)) {
        let size = |number: i64| usize::try_from(number).ok().filter(|number| *number > 0).unwrap_or(usize::MAX);
        let skipped = usize::try_from(self.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
        let (looked_at, wanted) = (size(self.most), size(self.count.unwrap_or(1)));
        let mut left = (skipped, wanted);
        let mut look = |at: usize, found: Element<'_>| {
            match found == *element {
                true if left.0 > 0 => left.0 -= 1,
                true => {
                    f(at);
                    left.1 -= 1;
                }
                false => {}
            }
            left.1 > 0
        };
        if self.rank > 0 {
            list.iter().take(looked_at).enumerate().all(|(at, found)| look(at, found));
        } else {
            let last = list.len().saturating_sub(1);
            list.iter().rev().take(looked_at).enumerate().all(|(at, found)| look(last - at, found));
        }
    }
}

fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let search = Search::parse(args)?;
    let (mark, mut count) = (ctx.reply.mark(), 0);
    let found = ctx.reader().get(args.word(1), |value| {
        let list = value.collection::<List>()?;
        search.run(list, args.word(2), |index| {
            ctx.reply.count(index);
            count += 1;
        });
        Ok(())
    });
    found.transpose()?;
    if search.count.is_some() {
        ctx.reply.array_from(mark, count);
    } else if count == 0 {
        ctx.reply.null();
    }
    Ok(())
}

// ---- adding and changing ----------------------------------------------------------------------------------------

fn push(ctx: &mut Ctx<'_>, args: Args<'_>, end: End, creates: bool) -> Result<()> {
    let name = if end == End::Left { "lpush" } else { "rpush" };
    let len = ctx.store().with(args.word(1), ctx.now, |slot| {
        if !creates && slot.see::<List>()?.is_none() {
            return Ok(0);
        }
        let len = slot.edit_or_new::<List, _>(|list, compact| {
            args.iter().skip(2).for_each(|element| list.push(end, element, compact));
            list.len()
        })?;
        slot.tell(Class::LIST, name);
        Ok(len)
    })?;
    ctx.reply.count(len);
    Ok(())
}

fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let behind = match (args.is(2, "BEFORE"), args.is(2, "AFTER")) {
        (true, _) => 0,
        (_, true) => 1,
        _ => return Err(Error::Syntax),
    };
    let pivot = args.word(3);
    let len = ctx.store().with(args.word(1), ctx.now, |slot| {
        let Some(list) = slot.see::<List>()? else { return Ok(0) };
        let Some(at) = list.iter().position(|element| element == *pivot) else { return Ok(-1) };
        let len = slot.edit::<List, _>(|list, compact| {
            list.insert(at + behind, args.word(4), compact);
            list.len() as i64
        })?;
        slot.tell(Class::LIST, "linsert");
        Ok(len.unwrap_or(0))
    })?;
    ctx.reply.int(len);
    Ok(())
}

fn lset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    ctx.store().with(args.word(1), ctx.now, |slot| {
        let list = slot.see::<List>()?.ok_or(Error::NoSuchKey)?;
        let index = index(args.int(2)?, list.len()).ok_or(BAD_INDEX)?;
        slot.edit::<List, _>(|list, compact| list.set(index, args.word(3), compact))?;
        slot.tell(Class::LIST, "lset");
        Ok(())
    })?;
    ctx.reply.ok();
    Ok(())
}

fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (count, element) = (args.int(2)?, args.word(3));
    let from = if count < 0 { End::Right } else { End::Left };
    let most = match count {
        0 => usize::MAX,
        _ => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
    };
    let removed = ctx.store().with(args.word(1), ctx.now, |slot| {
        // What is looked for may be the last of very many: nothing but the way to it is gone.
        let remove = |list: &mut List, compact: &Compact| list.remove_equal(element, most, from, compact);
        let removed = slot.edit_if(remove, |removed| *removed > 0)?.unwrap_or(0);
        if removed > 0 {
            tell_taken(slot, "lrem");
        }
        Ok(removed)
    })?;
    ctx.reply.count(removed);
    Ok(())
}

fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (start, stop) = (args.int(2)?, args.int(3)?);
    ctx.store().with(args.word(1), ctx.now, |slot| {
        let trimmed = slot.edit::<List, _>(|list, _| {
            let range = range(start, stop, list.len());
            list.remove(range.end, usize::MAX);
            list.remove(0, range.start);
        })?;
        if trimmed.is_some() {
            tell_taken(slot, "ltrim");
        }
        Ok(())
    })?;
    ctx.reply.ok();
    Ok(())
}

// ---- taking -----------------------------------------------------------------------------------------------------

/// Takes the element at an end of a list that is there, and answers it.
pub(super) fn take_one(reply: &mut Reply<'_>, slot: &mut Slot<'_>, end: End) -> Result<()> {
    slot.edit::<List, _>(|list, _| {
        if let Some(element) = list.at_end(end) {
            answer(reply, element);
        }
        list.remove(if end == End::Left { 0 } else { list.len() - 1 }, 1);
    })?;
    tell_taken(slot, popped(end));
    Ok(())
}

/// Takes so many elements from an end of a list that is there, or all, and answers them.
pub(super) fn take_some(reply: &mut Reply<'_>, slot: &mut Slot<'_>, end: End, count: usize) -> Result<()> {
    slot.edit::<List, _>(|list, _| {
        let count = count.min(list.len());
        reply.array(count);
        match end {
            End::Left => {
                list.iter().take(count).for_each(|element| answer(reply, element));
                list.remove(0, count);
            }
            End::Right => {
                list.iter().rev().take(count).for_each(|element| answer(reply, element));
                list.remove(list.len() - count, count);
            }
        }
    })?;
    tell_taken(slot, popped(end));
    Ok(())
}

fn popped(end: End) -> &'static str {
    if end == End::Left { "lpop" } else { "rpop" }
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Result<()> {
    let count = match args.len() {
        2 => None,
        3 => {
            let count = args.int_or(2, NOT_POSITIVE)?;
            Some(usize::try_from(count).map_err(|_| NOT_POSITIVE)?)
        }
        _ => return Err(Error::Arity(ctx.spec.name.to_lowercase().into())),
    };
    let (store, reply) = (ctx.store(), &mut ctx.reply);
    store.with(args.word(1), ctx.now, |slot| {
        match (slot.see::<List>()?.is_some(), count) {
            (false, None) => reply.null(),
            (false, Some(_)) => reply.null_array(),
            (true, None) => take_one(reply, slot, end)?,
            (true, Some(0)) => reply.array(0),
            (true, Some(count)) => take_some(reply, slot, end, count)?,
        }
        Ok(())
    })
}

/// Moves an element between the lists at two positions, the first of which is there, and answers it.
pub(super) fn move_one(
    reply: &mut Reply<'_>,
    slots: &mut Slots<'_, '_>,
    (source, target): (usize, usize),
    (from, to): (End, End),
) -> Result<()> {
    let pushed = if to == End::Left { "lpush" } else { "rpush" };
    slots.at(target).see::<List>()?;
    slots.at(target).admits()?;
    let mut moved = Vec::new();
    let same = slots.same(source, target);
    slots.at(source).edit::<List, _>(|list, compact| {
        if let Some(element) = list.at_end(from) {
            element.write_to(&mut moved);
        }
        list.remove(if from == End::Left { 0 } else { list.len() - 1 }, 1);
        if same {
            list.push(to, &moved, compact);
        }
    })?;
    if !same {
        slots.at(target).edit_or_new::<List, _>(|list, compact| list.push(to, &moved, compact))?;
    }
    slots.at(target).tell(Class::LIST, pushed);
    tell_taken(&mut slots.at(source), popped(from));
    reply.bulk(&moved);
    Ok(())
}

fn move_now(ctx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End) -> Result<()> {
    let keys = [(ctx.store(), args.word(1)), (ctx.store(), args.word(2))];
    let reply = &mut ctx.reply;
    // What is moved within one list is there to be moved again.
    reply.bound(ctx.engine.hot.gathered_max());
    Store::with_all(&keys, ctx.now, |slots| {
        if slots.at(0).see::<List>()?.is_none() {
            reply.null();
            return Ok(());
        }
        move_one(reply, slots, (0, 1), (from, to))
    })
}

fn lmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (from, to) = (end(args, 3)?, end(args, 4)?);
    move_now(ctx, args, from, to)
}

/// What LMPOP and BLMPOP ask for.
pub(super) struct Several {
    /// How many keys there are, and where the first one is.
    pub keys: Range<usize>,
    /// Where elements are taken.
    pub end: End,
    /// How many at most.
    pub count: usize,
}

impl Several {
    /// Reads the words from the number of keys on.
    pub fn parse(args: Args<'_>, at: usize) -> Result<Several> {
        let keys = args.int_or(at, BAD_NUMKEYS)?;
        let keys = usize::try_from(keys).ok().filter(|keys| *keys > 0).ok_or(BAD_NUMKEYS)?;
        let behind = at.saturating_add(1).saturating_add(keys);
        if behind >= args.len() {
            return Err(Error::Syntax);
        }
        let end = end(args, behind)?;
        let has_count = args.is(behind + 1, "COUNT") && args.len() > behind + 2;
        let count = match has_count {
            true => args.int_or(behind + 2, BAD_COUNT)?,
            false => 1,
        };
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(BAD_COUNT)?;
        // What comes behind a wrong count is not looked at.
        if args.len() > behind + if has_count { 3 } else { 1 } {
            return Err(Error::Syntax);
        }
        Ok(Several { keys: at + 1..behind, end, count })
    }
}

fn lmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let wish = Several::parse(args, 1)?;
    let names: Vec<&[u8]> = wish.keys.clone().map(|at| args.word(at)).collect();
    let keys: Vec<(&Store, &[u8])> = names.iter().map(|name| (ctx.store(), *name)).collect();
    let reply = &mut ctx.reply;
    Store::with_all(&keys, ctx.now, |slots| {
        for (at, name) in names.iter().enumerate() {
            if slots.at(at).see::<List>()?.is_some() {
                reply.array(2);
                reply.bulk(name);
                return take_some(reply, &mut slots.at(at), wish.end, wish.count);
            }
        }
        reply.null_array();
        Ok(())
    })
}
