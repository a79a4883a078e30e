//! Transactions: requests that are kept until EXEC and then run with nobody in between, unless a watched key has changed.
//!
//! [`run`](super::run) asks here, for a client that has said MULTI, whether a request is to be kept; what it refuses to such a
//! client spoils the transaction. EXEC has the gate to itself, so that no other worker sees half of it.

use super::{Arity, Begun, Client, Ctx, Flags, Flow, Found, Group, Keys, Replies, Spec, call};
use crate::clock::{Millis, Ttl};
use crate::engine::{Engine, Pending};
use crate::error::{Error, Result};
use crate::resp::request::Words;
use crate::resp::{Args, Reply, Version};
use crate::store::{Flag, NameBuf};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Transactions, ..Spec::BASE };
const QUICK: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY);

pub(super) const COMMANDS: &[Spec] = &[
    Spec {
        name: "DISCARD",
        run: discard,
        arity: Exactly(1),
        flags: QUICK,
        since: "2.0.0",
        cost: "O(N) where N is the number of queued commands",
        summary: "Forgets a transaction and the watched keys.",
        ..ROW
    },
    Spec {
        name: "EXEC",
        run: exec,
        arity: Exactly(1),
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::SKIP_SLOWLOG),
        since: "1.2.0",
        cost: "O(N) where N is what the queued commands cost together",
        summary: "Runs the commands of a transaction with no other in between.",
        ..ROW
    },
    Spec {
        name: "MULTI",
        run: multi,
        arity: Exactly(1),
        flags: QUICK,
        since: "1.2.0",
        summary: "Begins a transaction.",
        ..ROW
    },
    Spec {
        name: "UNWATCH",
        run: unwatch,
        arity: Exactly(1),
        flags: QUICK,
        since: "2.2.0",
        summary: "Forgets the watched keys.",
        ..ROW
    },
    Spec {
        name: "WATCH",
        run: watch,
        arity: AtLeast(2),
        flags: QUICK,
        keys: Keys::ALL.with(&["RO"]),
        usage: "key [key ...]",
        since: "2.2.0",
        cost: "O(1) for every key",
        summary: "Lets the next transaction run only if none of the keys has changed by then.",
        ..ROW
    },
];

/// Bytes that a watched key takes beside its name.
const WATCHED: usize = 128;

/// What a client has said that waits for an EXEC.
#[derive(Default)]
pub(super) struct Tx {
    queue: Option<Queue>,
    watch: Watch,
}

/// The requests since MULTI.
#[derive(Default)]
struct Queue {
    /// The words of all of them, one after the other.
    words: Words,
    /// The row of each, and how many words it has.
    rows: Vec<(&'static Found, usize)>,
    /// What any of them does.
    flags: Flags,
    /// One was refused, so none will run.
    is_spoiled: bool,
}

impl Tx {
    /// Whether nothing waits for an EXEC.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none() && self.watch.keys.is_empty()
    }
}

impl Queue {
    /// Bytes that it takes.
    fn heap(&self) -> usize {
        self.words.heap() + self.rows.capacity() * size_of::<(&Found, usize)>()
    }

    /// Bytes that it needs at least.
    fn len(&self) -> usize {
        self.words.size() + self.rows.len() * size_of::<(&Found, usize)>()
    }

    /// Frees what will not run.
    fn spoil(&mut self) {
        *self = Queue { is_spoiled: true, ..Queue::default() };
    }
}

/// The keys that are watched.
struct Watch {
    flag: Flag,
    /// Their databases and names.
    keys: Vec<(usize, NameBuf)>,
    /// When the first of those that were alive dies.
    until: Millis,
    /// About as many bytes as they take.
    bytes: usize,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { flag: Flag::default(), keys: Vec::new(), until: Millis::NEVER, bytes: 0 }
    }
}

impl Client {
    fn queue(&self) -> Option<&Queue> {
        self.begun.as_ref()?.tx.queue.as_ref()
    }

    fn queue_mut(&mut self) -> Option<&mut Queue> {
        self.begun.as_mut()?.tx.queue.as_mut()
    }

    /// The rows of what waits for its EXEC.
    pub(super) fn queued(&self) -> impl Iterator<Item = &'static Spec> {
        self.queue().into_iter().flat_map(|queue| queue.rows.iter().map(|(found, _)| found.spec))
    }

    /// Whether it has said MULTI.
    pub(super) fn is_in_multi(&self) -> bool {
        self.queue().is_some()
    }

    /// Forgets what was begun, queued and watched: on DISCARD and RESET, and when the client has left.
    #[cfg_attr(doc, doc(hidden))]
    pub fn forget_transaction(&mut self, engine: &Engine) {
        // Who leaves has asked for it all the same.
        self.finish_flush(engine);
        self.forget_watched(engine);
        if self.begun.take().is_some() {
            self.publish_tx();
        }
    }

    fn forget_watched(&mut self, engine: &Engine) {
        let Some(Begun { tx, .. }) = self.begun.as_deref_mut() else { return };
        let watch = std::mem::take(&mut tx.watch);
        for (db, name) in &watch.keys {
            engine.store(*db).unwatch(name, &watch.flag);
        }
    }

    /// Tells CLIENT LIST and INFO.
    fn publish_tx(&self) {
        let pending = self.begun.as_ref().map(|begun| &begun.tx).map(|tx| Pending {
            queued: tx.queue.as_ref().map(|queue| queue.rows.len()),
            queue_bytes: tx.queue.as_ref().map_or(0, Queue::heap),
            watched: tx.watch.keys.len(),
            watch_bytes: tx.watch.bytes,
            flag: tx.watch.flag.clone(),
        });
        self.peer.set_pending(pending);
    }
}

// ---- what `run` asks -----------------------------------------------------------------------------------------------

/// Whether a request is one that a transaction takes without a place in its queue.
fn passes(spec: &Spec) -> bool {
    spec.group == Group::Transactions && spec.name != "UNWATCH" || matches!(spec.name, "QUIT" | "RESET")
}

/// Whether a command may run, or be queued, in what the client has begun.
pub(super) fn admit(client: &Client, spec: &Spec) -> Result<()> {
    match client.is_in_multi() && spec.flags.has(Flags::NO_MULTI) {
        true => Err(Error::refused("Command not allowed inside a transaction")),
        false => Ok(()),
    }
}

/// What a command does, as far as memory and pauses are concerned: EXEC does what was queued. What is queued needs memory
/// itself.
pub(super) fn effects(client: &Client, spec: &Spec, flags: Flags) -> Flags {
    match client.queue() {
        None => flags,
        Some(queue) if spec.name == "EXEC" => flags.and(queue.flags),
        Some(_) if passes(spec) => flags,
        Some(_) => flags.and(Flags::DENYOOM),
    }
}

/// Notes that a request was refused, and tells what the client hears. A refused EXEC ends the transaction.
pub(super) fn refuse(engine: &Engine, client: &mut Client, name: &[u8], error: Error) -> Error {
    if name.eq_ignore_ascii_case(b"EXEC") {
        client.forget_transaction(engine);
        let why = match error.faces().0 {
            "ERR" => error.to_string(),
            code => format!("{code} {error}"),
        };
        return Error::ExecAbort(format!("because of: {why}").into());
    }
    if let Some(queue) = client.queue_mut() {
        queue.spoil();
        client.publish_tx();
    }
    error
}

/// Whether a request is to be kept for EXEC.
pub(super) fn keeps(client: &Client, spec: &Spec) -> bool {
    client.is_in_multi() && !passes(spec)
}

/// Keeps a request. What cannot run any more is not kept.
pub(super) fn keep(engine: &Engine, client: &mut Client, found: &'static Found, args: Args<'_>, out: &mut Vec<u8>) {
    let limit = engine.hot.limits(true).request;
    let Some(Begun { tx, .. }) = client.begun.as_deref_mut() else { return };
    let is_stale = tx.watch.flag.is_set();
    if let Some(queue) = tx.queue.as_mut().filter(|queue| !queue.is_spoiled && !is_stale) {
        if queue.len() + Words::size_of(args) + size_of::<(&Found, usize)>() > limit {
            queue.spoil();
            client.publish_tx();
            let error = Error::refused("the transaction is larger than client-query-buffer-limit");
            engine.metrics.block(client.worker()).refuse(error.faces().0);
            return Reply::new(out, client.version).error(&error);
        }
        args.iter().for_each(|word| queue.words.push(word));
        queue.rows.push((found, args.len()));
        queue.flags = queue.flags.and(super::flags_of(engine, found.spec, args));
        client.publish_tx();
    }
    Reply::new(out, client.version).simple("QUEUED");
}

// ---- commands ------------------------------------------------------------------------------------------------------

fn multi(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    if ctx.client.is_in_multi() {
        return Err(Error::refused("MULTI calls can not be nested"));
    }
    ctx.client.begun.get_or_insert_default().tx.queue = Some(Queue::default());
    ctx.client.publish_tx();
    ctx.reply.ok();
    Ok(())
}

fn discard(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    if !ctx.client.is_in_multi() {
        return Err(Error::refused("DISCARD without MULTI"));
    }
    ctx.client.forget_transaction(ctx.engine);
    ctx.reply.ok();
    Ok(())
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if ctx.client.is_in_multi() {
        return Err(Error::refused("WATCH inside MULTI is not allowed"));
    }
    let (engine, db, limit) = (ctx.engine, ctx.client.db(), ctx.engine.hot.limits(true).request);
    let watch = &mut ctx.client.begun.get_or_insert_default().tx.watch;
    let new: usize = args.iter().skip(1).map(|key| key.len() + WATCHED).sum();
    if watch.bytes + new > limit {
        return Err(Error::refused("the watched keys are larger than client-query-buffer-limit"));
    }
    // What cannot run any more need not be watched.
    if !watch.flag.is_set() {
        for key in args.iter().skip(1) {
            let watched = engine.store(db).watch(key, &watch.flag, ctx.now);
            if watched.is_new {
                watch.bytes += watched.name.len() + WATCHED;
                watch.until = watch.until.min(watched.deadline.unwrap_or(Millis::NEVER));
                watch.keys.push((db, watched.name));
            }
        }
    }
    ctx.client.publish_tx();
    ctx.reply.ok();
    Ok(())
}

fn unwatch(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    match ctx.client.is_in_multi() {
        true => ctx.client.forget_watched(ctx.engine),
        false => ctx.client.forget_transaction(ctx.engine),
    }
    ctx.reply.ok();
    Ok(())
}

fn exec(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    if !ctx.client.is_in_multi() {
        return Err(Error::refused("EXEC without MULTI"));
    }
    let (engine, worker) = (ctx.engine, ctx.client.worker());
    let result = engine
        .alone(worker, ctx.now, |now| exec_alone(ctx, now))
        .map_err(|busy| refuse(engine, ctx.client, b"EXEC", busy));
    ctx.client.forget_transaction(engine);
    result?
}

/// Runs what is queued, if nothing speaks against it, while nobody else does anything.
fn exec_alone(ctx: &mut Ctx<'_>, now: Millis) -> Result<()> {
    ctx.now = now;
    let Some(Begun { tx, .. }) = ctx.client.begun.as_deref_mut() else { return Ok(()) };
    let queue = tx.queue.take().unwrap_or_default();
    if queue.is_spoiled {
        return Err(Error::ExecAbort("because of previous errors.".into()));
    }
    if tx.watch.flag.is_set() || ctx.now >= tx.watch.until {
        match ctx.client.version {
            Version::Resp2 => ctx.reply.null_array(),
            Version::Resp3 => ctx.reply.null(),
        }
        return Ok(());
    }
    ctx.client.forget_watched(ctx.engine);
    let start = ctx.reply.mark();
    ctx.reply.array(queue.rows.len());
    if is_silent(ctx.client.replies) {
        ctx.reply.rewind(start);
    }
    ctx.client.never_waits = true;
    let flow = run_all(ctx, &queue);
    ctx.client.never_waits = false;
    ctx.client.flow = flow;
    Ok(())
}

/// Runs one after the other and tells what the connection is to do after all of them.
fn run_all(ctx: &mut Ctx<'_>, queue: &Queue) -> Flow {
    let (mut flow, mut slept, mut at) = (Flow::Go, Ttl(0), 0);
    for (found, words) in &queue.rows {
        let args = queue.words.args().slice_of(at, *words);
        at += words;
        let admitted = admit_queued(ctx, found, args);
        let out = ctx.reply.buffer();
        let start = out.len();
        ctx.client.flow = Flow::Go;
        match admitted {
            Ok(()) => call(ctx.engine, ctx.client, found, args, None, ctx.now, out),
            Err(error) => Reply::new(out, ctx.client.version).error(&error),
        }
        // Each is silent or not by what CLIENT REPLY has said by then. To skip the next means what follows EXEC.
        if is_silent(ctx.client.replies) {
            out.truncate(start);
        }
        match ctx.client.flow {
            Flow::Close => flow = Flow::Close,
            Flow::Sleep(ttl) => slept = Ttl(slept.0.saturating_add(ttl.0)),
            // Nothing waits here.
            Flow::Go | Flow::Hold(_) | Flow::Block(_) | Flow::Again => {}
        }
    }
    flow.after(slept)
}

/// Whether what is queued may run when its turn has come.
fn admit_queued(ctx: &Ctx<'_>, found: &Found, args: Args<'_>) -> Result<()> {
    super::acl::admit_queued(ctx.engine, ctx.client, found, args, ctx.now)?;
    // Those before it may have taken more than there was when EXEC came.
    if found.spec.flags.has(Flags::DENYOOM) && !ctx.engine.makes_room_for(0, ctx.now) {
        let block = ctx.engine.metrics.block(ctx.client.worker());
        block.calls(found.number).rejected.add(1);
        block.refuse(Error::OutOfMemory.faces().0);
        return Err(Error::OutOfMemory);
    }
    Ok(())
}

fn is_silent(replies: Replies) -> bool {
    matches!(replies, Replies::Off | Replies::Skip)
}

/// What CLIENT REPLY means for an EXEC, whose replies were settled one by one if it ran anything, and for what follows.
pub(super) fn settle(client: &mut Client, was: Replies, out: &mut Vec<u8>, start: usize) {
    client.pushed = false;
    if is_silent(was) && is_silent(client.replies) {
        out.truncate(start);
    }
    client.replies = match client.replies {
        Replies::SkipNext => Replies::Skip,
        Replies::Skip => Replies::On,
        other => other,
    };
}
