//! Commands that wait for an element.
//!
//! [`take_or_wait`] is what they have in common: the first key that holds something is taken from, and if none does, the
//! request waits in the engine's room. Who brings something serves those whose turn it is right behind the own command
//! ([`serve`]), so that others find what Redis would leave them. The client's connection offers its request again when
//! it is rung or its time is up, and gets the answer from [`resume`].

use std::collections::VecDeque;

use super::list::{self, Several};
use super::words::Words as _;
use super::{Arity, Client, Ctx, Flags, Flow, Group, Keys, Spec};
use crate::clock::{Millis, Ttl};
use crate::engine::{Engine, Room, Waiting};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply, Words};
use crate::store::{End, Slots, Store, Ticket, Type};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::List, ..Spec::BASE };
const WAITS: Flags = Flags::WRITE.and(Flags::BLOCKING);

/// Takes an element from the first of several lists, waiting for it.
const POP_OR_WAIT: Spec = Spec {
    arity: AtLeast(3),
    flags: WAITS.and(Flags::NOSCRIPT),
    keys: Keys { last: -2, ..Keys::ALL.with(list::TAKES) },
    usage: "key [key ...] timeout",
    since: "2.0.0",
    cost: "O(N) where N is the number of keys",
    ..ROW
};

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "BLMOVE",
        run: |ctx, args| {
            let ends = (list::end(args, 3)?, list::end(args, 4)?);
            move_or_wait(ctx, args, 5, ends)
        },
        arity: Exactly(6),
        flags: WAITS.and(Flags::DENYOOM).and(Flags::NOSCRIPT),
        keys: Keys::TWO.with(list::TAKES).last_with(list::ADDS),
        usage: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        since: "6.2.0",
        summary: "Takes an element from an end of a list as soon as there is one, adds it to an end of another and returns it.",
        ..ROW
    },
    Spec {
        name: "BLMPOP",
        run: blmpop,
        arity: AtLeast(5),
        flags: WAITS.and(Flags::MOVABLE_KEYS),
        keys: Keys::counted(2).with(list::TAKES),
        usage: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        since: "7.0.0",
        cost: "O(N+M) where N is the number of keys and M the number of elements that are returned",
        summary: "Takes elements from the first of several lists that has any, as soon as one has, and returns them.",
        ..ROW
    },
    Spec {
        name: "BLPOP",
        run: |ctx, args| pop_or_wait(ctx, args, End::Left),
        summary: "Takes the first element from the first of several lists that has any, as soon as one has, and returns it.",
        ..POP_OR_WAIT
    },
    Spec {
        name: "BRPOP",
        run: |ctx, args| pop_or_wait(ctx, args, End::Right),
        summary: "Takes the last element from the first of several lists that has any, as soon as one has, and returns it.",
        ..POP_OR_WAIT
    },
    Spec {
        name: "BRPOPLPUSH",
        run: |ctx, args| move_or_wait(ctx, args, 3, (End::Right, End::Left)),
        arity: Exactly(4),
        flags: WAITS.and(Flags::DENYOOM).and(Flags::NOSCRIPT),
        keys: Keys::TWO.with(list::TAKES).last_with(list::ADDS),
        usage: "source destination timeout",
        since: "2.2.0",
        summary: "Takes the last element from a list as soon as there is one, adds it before the first of another and returns it.",
        ..ROW
    },
];

fn pop_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Result<()> {
    let until = deadline(args, args.len() - 1, ctx.now)?;
    let keys: Vec<&[u8]> = (1..args.len() - 1).map(|at| args.word(at)).collect();
    let wish = Wish { keys: &keys, target: None, kind: Type::List, until };
    take_or_wait(ctx, args, &wish, |reply, slots, at| {
        reply.array(2);
        reply.bulk(keys[at]);
        list::take_one(reply, &mut slots.at(at), end)
    })
}

fn move_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, timeout: usize, ends: (End, End)) -> Result<()> {
    let until = deadline(args, timeout, ctx.now)?;
    let wish = Wish { keys: &[args.word(1)], target: Some(args.word(2)), kind: Type::List, until };
    take_or_wait(ctx, args, &wish, |reply, slots, _| list::move_one(reply, slots, (0, 1), ends))
}

fn blmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    // Of two faults, the timeout's comes last.
    let several = Several::parse(args, 2)?;
    let until = deadline(args, 1, ctx.now)?;
    let keys: Vec<&[u8]> = several.keys.clone().map(|at| args.word(at)).collect();
    let wish = Wish { keys: &keys, target: None, kind: Type::List, until };
    take_or_wait(ctx, args, &wish, |reply, slots, at| {
        reply.array(2);
        reply.bulk(keys[at]);
        list::take_some(reply, &mut slots.at(at), several.end, several.count)
    })
}

// ---- what all of them have in common ------------------------------------------------------------------------------

/// What a request may wait for.
pub(super) struct Wish<'k> {
    /// The keys, of which the first that holds something is taken from.
    pub keys: &'k [&'k [u8]],
    /// Another key that is opened with them, as the last one.
    pub target: Option<&'k [u8]>,
    /// What a key must hold. Collections are never empty.
    pub kind: Type,
    /// When the waiting ends.
    pub until: Millis,
}

/// When a timeout in seconds ends, [`Millis::NEVER`] if it is zero.
pub(super) fn deadline(args: Args<'_>, at: usize, now: Millis) -> Result<Millis> {
    const NOT_FLOAT: Error = Error::refused("timeout is not a float or out of range");
    const NEGATIVE: Error = Error::refused("timeout is negative");
    const TOO_LARGE: Error = Error::refused("timeout is out of range");
    let seconds = args.float(at).map_err(|_| NOT_FLOAT)?;
    let millis = (seconds * 1000.0).ceil();
    if millis < 0.0 {
        return Err(NEGATIVE);
    }
    if millis >= i64::MAX as f64 || i64::try_from(now.0).is_ok_and(|now| (i64::MAX - now) as f64 <= millis) {
        return Err(TOO_LARGE);
    }
    Ok(if millis == 0.0 { Millis::NEVER } else { now + Ttl(millis as u64) })
}

/// Takes from the first key that holds what is wished for, with `take`, which is told the key's position. If none does, the
/// request waits. Who waits already goes first.
pub(super) fn take_or_wait(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    wish: &Wish<'_>,
    mut take: impl FnMut(&mut Reply<'_>, &mut Slots<'_, '_>, usize) -> Result<()>,
) -> Result<()> {
    if ctx.client.ticket != 0 {
        // Served by somebody who brought something; what another type has taken the place of is waited for.
        let turn = Turn::Of(ctx.client.ticket);
        if !attempt(ctx, wish, turn, &mut take)? {
            ctx.client.flow = Flow::Block(wish.until);
        }
        return Ok(());
    }
    let turn = if ctx.client.never_waits { Turn::Any } else { Turn::New };
    if attempt(ctx, wish, turn, &mut take)? {
        return Ok(());
    }
    if ctx.client.never_waits {
        // What is moved would have been one element.
        match wish.target {
            Some(_) => ctx.reply.null(),
            None => ctx.reply.null_array(),
        }
        return Ok(());
    }
    // Nobody is served meanwhile, so that the ticket is known when it is called.
    let engine = ctx.engine;
    let mut room = engine.room();
    let ticket = room.draw();
    if attempt(ctx, wish, Turn::Files(ticket), &mut take)? {
        return Ok(());
    }
    let mut words = Words::new();
    args.iter().for_each(|word| words.push(word));
    let waiting = Waiting {
        peer: ctx.client.peer.clone(),
        words,
        db: ctx.client.db(),
        version: ctx.client.version,
        store: ctx.store().clone(),
        keys: wish.keys.iter().map(|key| key.to_vec()).collect(),
        kind: wish.kind,
        until: wish.until,
        answer: None,
    };
    room.enter(ticket, waiting);
    ctx.client.ticket = ticket;
    ctx.client.flow = Flow::Block(wish.until);
    Ok(())
}

/// Before whom a request may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody who waits.
    New,
    /// The same, and if nothing can be taken, it gets in line with this ticket.
    Files(Ticket),
    /// Who has a higher ticket.
    Of(Ticket),
    /// Everybody.
    Any,
}

fn attempt(
    ctx: &mut Ctx<'_>,
    wish: &Wish<'_>,
    turn: Turn,
    take: &mut impl FnMut(&mut Reply<'_>, &mut Slots<'_, '_>, usize) -> Result<()>,
) -> Result<bool> {
    let store = ctx.store();
    let keys: Vec<(&Store, &[u8])> = wish.keys.iter().copied().chain(wish.target).map(|key| (store, key)).collect();
    let reply = &mut ctx.reply;
    Store::with_all(&keys, ctx.now, |slots| {
        for at in 0..wish.keys.len() {
            let slot = slots.at(at);
            let Some(kind) = slot.value().map(|value| value.kind()) else { continue };
            if kind != wish.kind {
                match turn {
                    Turn::Of(_) => continue,
                    _ => return Err(Error::WrongType),
                }
            }
            let first = slot.first_waiting(kind);
            let is_free = match turn {
                Turn::Any => true,
                Turn::New | Turn::Files(_) => first.is_none(),
                Turn::Of(ticket) => first.is_none_or(|first| first >= ticket),
            };
            if is_free {
                return take(reply, slots, at).map(|()| true);
            }
        }
        if let Turn::Files(ticket) = turn {
            (0..wish.keys.len()).for_each(|at| slots.at(at).wait(ticket, wish.kind));
        }
        Ok(false)
    })
}

/// Serves those whose turn has come, if any. To be called behind whatever may have brought something.
#[inline]
pub(super) fn serve(engine: &Engine, worker: usize, now: Millis) {
    // What a script brings is not there for others until it has ended. Whoever runs it serves them then.
    if engine.records().has_called() && !engine.scripts.is_busy() {
        serve_called(engine, &mut engine.room(), worker, now);
    }
}

#[cold]
fn serve_called(engine: &Engine, room: &mut Room, worker: usize, now: Millis) {
    let mut turns = VecDeque::new();
    loop {
        turns.extend(engine.records().take_called());
        let Some(ticket) = turns.pop_front() else { return };
        let Some(waiting) = room.get(ticket) else { continue };
        let mut answer = Vec::new();
        // Who is about to be closed gets nothing, but lets the next one come.
        if !waiting.peer.is_killed() && !run_for(engine, waiting, ticket, worker, now, &mut answer) {
            continue;
        }
        // What this brought others comes behind those who wait for the same key.
        let called = engine.records().take_called();
        finish(room, ticket, answer, now);
        turns.extend(called);
        engine.records().take_called().into_iter().rev().for_each(|next| turns.push_front(next));
    }
}

/// Runs a request that waits; `false` if it must go on waiting.
fn run_for(
    engine: &Engine,
    waiting: &Waiting,
    ticket: Ticket,
    worker: usize,
    now: Millis,
    answer: &mut Vec<u8>,
) -> bool {
    let args = waiting.words.args();
    let Some(found) = super::find(args.word(0)) else { return false };
    let mut client = Client::new(engine, waiting.peer.clone(), worker, false);
    client.select(waiting.db);
    (client.version, client.ticket) = (waiting.version, ticket);
    let reply = Reply::new(answer, waiting.version);
    let mut ctx = Ctx { engine, client: &mut client, now, reply, spec: found.spec, ahead: None, is_scripted: false };
    if let Err(error) = (found.spec.run)(&mut ctx, args) {
        ctx.reply.rewind(0);
        ctx.reply.error(&error);
    }
    !matches!(client.flow, Flow::Block(_))
}

/// Ends a wait with an answer, for the client to fetch.
fn finish(room: &mut Room, ticket: Ticket, answer: Vec<u8>, now: Millis) {
    if let Some(waiting) = room.get(ticket) {
        waiting.keys.iter().for_each(|key| waiting.store.with(key, now, |slot| slot.stop_waiting(ticket)));
        waiting.answer = Some(answer);
        waiting.peer.call();
    }
}

/// What has become of a client's request that waits: it goes on waiting, or its answer is written.
pub(super) fn resume(ctx: &mut Ctx<'_>) -> Result<()> {
    let (engine, ticket) = (ctx.engine, ctx.client.ticket);
    let mut room = engine.room();
    if let Some(waiting) = room.get(ticket) {
        if ctx.now < waiting.until {
            ctx.client.peer.take_call();
            ctx.client.flow = Flow::Block(waiting.until);
            return Ok(());
        }
        let mut answer = Vec::new();
        Reply::new(&mut answer, waiting.version).null_array();
        finish(&mut room, ticket, answer, ctx.now);
    }
    let answer = room.leave(ticket).and_then(|waiting| waiting.answer);
    // The one that ended the wait just now as well; from here on nobody calls for it.
    ctx.client.peer.take_call();
    ctx.reply.raw(&answer.unwrap_or_default());
    ctx.client.ticket = 0;
    Ok(())
}

/// Whether a client's request that waits has its answer. Who serves it has the room locked until the answer is there.
pub fn is_answered(engine: &Engine, client: &Client) -> bool {
    if let Flow::Block(_) = client.flow {
        drop(engine.room());
        return client.peer.is_called();
    }
    false
}

/// Lets a client that leaves wait no longer. What it was called for is the next one's, who hears of it from whoever serves
/// next: at once if the worker is inside, else behind the script that is alone.
pub fn forget(engine: &Engine, client: &mut Client, is_inside: bool) {
    if client.ticket != 0 {
        // Nothing dies by this clock: what a script works with stays.
        let now = if is_inside { engine.clock.now() } else { Millis(0) };
        let mut room = engine.room();
        finish(&mut room, client.ticket, Vec::new(), now);
        room.leave(client.ticket);
        client.ticket = 0;
        drop(room);
        if is_inside {
            serve(engine, client.worker(), now);
        }
    }
}

/// CLIENT UNBLOCK: ends a client's wait as if its time were up, or with an error; `false` if it does not wait. Who was behind
/// it is served behind the command, or the transaction that it is in.
pub(super) fn unblock(engine: &Engine, id: u64, with_error: bool, now: Millis) -> bool {
    let mut room = engine.room();
    let Some(ticket) = room.of(id) else { return false };
    let Some(waiting) = room.get(ticket) else { return false };
    let mut answer = Vec::new();
    let mut reply = Reply::new(&mut answer, waiting.version);
    match with_error {
        true => reply.raw_error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        false => reply.null_array(),
    }
    finish(&mut room, ticket, answer, now);
    true
}

/// Exchanges two databases. Those who wait in one of them wait for what comes into the other then, and it may be there: they
/// are served behind the command, or the transaction or script that it is in.
pub(super) fn swap(engine: &Engine, one: usize, other: usize, now: Millis) {
    let mut room = engine.room();
    engine.swap(one, other, now);
    let mut tickets = [room.in_database(one), room.in_database(other)].concat();
    tickets.sort_unstable();
    tickets.dedup();
    for ticket in &tickets {
        let Some(waiting) = room.get(*ticket) else { continue };
        waiting.keys.iter().for_each(|key| waiting.store.with(key, now, |slot| slot.stop_waiting(*ticket)));
        waiting.store = engine.store(waiting.db).clone();
        waiting.keys.iter().for_each(|key| waiting.store.with(key, now, |slot| slot.wait(*ticket, waiting.kind)));
    }
    engine.records().call(&tickets);
}
