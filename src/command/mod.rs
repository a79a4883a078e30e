//! Commands: from the words of a request to the bytes of its reply, with no socket in sight.
//!
//! Every command is a row beside its handler, in the family it belongs to. [`find`] looks a name up in a table that
//! the compiler has laid out; [`run`] checks arity, authentication, pauses and memory by what the row says, calls the
//! handler, and rewinds what it wrote if it fails. This module deliberately knows nothing of sessions: they meet in
//! the store.

mod acl;
mod bitfield;
mod bitmap;
mod blocking;
mod client;
mod client_list;
mod cluster;
mod config;
pub mod connection;
mod debug;
mod docs;
mod dump;
mod expire;
mod generic;
mod hash;
mod help;
mod info;
mod latency;
mod lcs;
mod list;
mod memory;
mod pubsub;
mod read;
mod reference;
mod replication;
mod save;
mod scan;
#[cfg(feature = "server")]
mod script;
mod server;
mod set;
mod slowlog;
mod sort;
mod spec;
mod string;
mod table;
mod tracking;
mod tx;
mod usage;
mod words;
mod zset;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use acl::{load_users, may_read_all, reload_users};
pub use blocking::{forget, is_answered};
pub use connection::REDIS_VERSION;
pub use reference::{COMMANDS_BEGIN, COMMANDS_END, commands_reference, commands_reference_in};
#[cfg(feature = "server")]
pub use script::functions::put_libraries;
pub use spec::{Arity, Flags, Group, Handler, Keys, Spec};
pub use table::{COUNT, Found, all, find, find_full, numbered};

use crate::clock::{Millis, Ttl};
use crate::engine::acl::User;
use crate::engine::{Engine, Peer, Slow, Slowlog};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply, Version};

use crate::store::{Foreseen, Store, Ticket};
use table::{lookup, wrong_count};

/// All families.
const FAMILIES: &[&[Spec]] = &[
    connection::COMMANDS,
    acl::COMMANDS,
    client::COMMANDS,
    docs::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    server::COMMANDS,
    save::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
    memory::COMMANDS,
    debug::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    generic::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    dump::COMMANDS,
    sort::COMMANDS,
    string::COMMANDS,
    lcs::COMMANDS,
    bitmap::COMMANDS,
    bitfield::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    blocking::COMMANDS,
    set::COMMANDS,
    zset::COMMANDS,
    zset::algebra::COMMANDS,
    zset::pop::COMMANDS,
    zset::range::COMMANDS,
    tx::COMMANDS,
    #[cfg(feature = "server")]
    script::COMMANDS,
    #[cfg(feature = "server")]
    script::functions::COMMANDS,
    pubsub::COMMANDS,
];

/// One client's state, as its commands see it.
pub struct Client {
    /// What it shares with others.
    pub peer: Arc<Peer>,
    /// The worker that serves it, and its database.
    worker: u32,
    db: u32,
    /// RESP2 or RESP3.
    pub version: Version,
    /// Whether it has authenticated, or need not.
    pub authenticated: bool,
    /// Whom it has logged in as, if not as the default user.
    user: Option<Arc<User>>,
    /// Whether it comes from this machine.
    pub is_local: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub replies: Replies,
    /// Whether this command's reply goes out even to a client that wants none, as what was pushed to it does.
    pub pushed: bool,
    /// What the connection is to do after this command.
    pub flow: Flow,
    /// Microseconds on the engine's clock when the last command ended, or the batch began.
    pub lap: u64,
    /// Whether its worker has been left outside of the stores, where a script takes too long.
    pub is_outside: bool,
    /// Whether its commands find out at once that there is nothing, as they are run together with others: by a transaction
    /// or a script.
    pub never_waits: bool,
    /// What it holds while its request waits for a key, 0 if it does not.
    pub ticket: Ticket,
    /// What it has begun with one request and ends with another: few have, and not for long.
    begun: Option<Box<Begun>>,
}

/// What a client has begun and not ended.
#[derive(Default)]
struct Begun {
    tx: tx::Tx,
    /// A walk over all keys, of which it has more turns to come.
    walk: Option<scan::Walk>,
}

/// Which replies a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// None for the next command.
    SkipNext,
    /// None for this command.
    Skip,
}

/// What the connection is to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next request.
    Go,
    /// Send what there is and close.
    Close,
    /// The request was not run: offer it again at this instant, or when rung.
    Hold(Millis),
    /// The request waits for a key: offer it again at this instant, or when called.
    Block(Millis),
    /// A part of the request was run: offer it again when others have had their turn.
    Again,
    /// Serve this client nothing for so long, and send the reply only then.
    Sleep(Ttl),
}

impl Flow {
    /// Whether the request is to be offered again.
    fn is_open(self) -> bool {
        matches!(self, Flow::Hold(_) | Flow::Block(_) | Flow::Again)
    }
}

impl Client {
    /// A client that has just come in.
    pub fn new(engine: &Engine, peer: Arc<Peer>, worker: usize, is_local: bool) -> Client {
        Client {
            peer,
            worker: worker as u32,
            db: 0,
            version: Version::Resp2,
            authenticated: !engine.acl.needs_auth(),
            user: None,
            is_local,
            no_touch: false,
            replies: Replies::On,
            pushed: false,
            flow: Flow::Go,
            lap: engine.clock.micros(),
            is_outside: false,
            never_waits: false,
            ticket: 0,
            begun: None,
        }
    }

    /// The worker that serves it.
    pub fn worker(&self) -> usize {
        self.worker as usize
    }

    /// Hands it over to where one of its requests runs, and leaves in its place one that nothing is to be asked of: its
    /// peer is the same.
    pub fn hand_over(&mut self) -> Client {
        let stand_in = Client { peer: self.peer.clone(), user: None, begun: None, ..*self };
        std::mem::replace(self, stand_in)
    }

    /// The database it has selected.
    pub fn db(&self) -> usize {
        self.db as usize
    }

    /// Selects a database that exists.
    fn select(&mut self, db: usize) {
        self.db = db as u32;
        self.peer.db.store(db as u8, Ordering::Relaxed);
    }

    /// Who it is.
    fn user<'a>(&'a self, engine: &'a Engine) -> &'a Arc<User> {
        self.user.as_ref().unwrap_or(engine.acl.default_user())
    }

    /// Makes it a user, the default one for `None`.
    fn set_user(&mut self, user: Option<Arc<User>>) {
        self.peer.set_user(user.clone());
        self.user = user;
    }

    /// Whether its reads count as accesses.
    fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.peer.no_touch.store(on, Ordering::Relaxed);
    }

    /// Changes the protocol. Whoever pushes to it looks at this too, so it is done where nobody can push meanwhile.
    fn speak(&mut self, version: Version) {
        self.version = version;
        self.peer.protocol.store(if version == Version::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }
}

/// What a handler works with.
pub struct Ctx<'a> {
    /// What all clients share.
    pub engine: &'a Engine,
    /// Who asks.
    pub client: &'a mut Client,
    /// The time, read once for the batch.
    pub now: Millis,
    /// Where the answer goes.
    pub reply: Reply<'a>,
    /// The row of the command that runs.
    pub spec: &'static Spec,
    /// A key that was foreseen to be asked for.
    pub ahead: Option<&'a Foreseen<'a>>,
    /// Whether a script runs it.
    pub is_scripted: bool,
}

impl<'a> Ctx<'a> {
    /// The store of the client's database.
    pub fn store(&self) -> &'a Store {
        self.engine.store(self.client.db())
    }
}

// ---- running ----------------------------------------------------------------------------------------------------

/// Whether a request may run a script, which may take long.
#[inline]
pub fn may_run_script(client: &Client, args: Args<'_>) -> bool {
    // Two letters tell nearly all others, and all that begin with these are EVAL and its kin.
    if matches!(args.get(0), Some([b'E' | b'e', b'V' | b'v', _, _, ..])) {
        return true;
    }
    let is_like_one = matches!(args.get(0), Some([b'E' | b'e', b'X' | b'x', _, _] | [b'F' | b'f', b'C' | b'c', ..]));
    is_like_one
        && find(&args[0]).is_some_and(|found| {
            found.spec.runs_script() || found.spec.name == "EXEC" && client.queued().any(Spec::runs_script)
        })
}

/// Runs one request and writes its reply behind what is in `out`. `args` has at least one word; `ahead` is a key that was
/// foreseen, if it was.
pub fn run(
    engine: &Engine,
    client: &mut Client,
    args: Args<'_>,
    ahead: Option<&Foreseen<'_>>,
    now: Millis,
    out: &mut Vec<u8>,
) -> Flow {
    if !engine.tracking.is_on() {
        return run_one(engine, client, args, ahead, now, out);
    }
    let gathering = engine.tracking.gather(Some(client.peer.id));
    run_one(engine, client, args, ahead, now, out);
    tracking::end_caching(client, args);
    drop(gathering);
    if !client.flow.is_open() {
        client.peer.collect(out);
    }
    client.flow
}

fn run_one(
    engine: &Engine,
    client: &mut Client,
    args: Args<'_>,
    ahead: Option<&Foreseen<'_>>,
    now: Millis,
    out: &mut Vec<u8>,
) -> Flow {
    let mut start = out.len();
    // A request that waits, or was run in part, was admitted when it came.
    let goes_on = client.flow == Flow::Again;
    let waits = client.ticket != 0 || goes_on;
    if goes_on {
        client.lap = client.lap.saturating_sub(client.spent());
    }
    client.flow = Flow::Go;
    let block = engine.metrics.block(client.worker());
    let admitted = |found: Found| match waits {
        true => Ok(found),
        false => admit(engine, client, &found, args, now).map(|()| found),
    };
    let found = match lookup(args).and_then(admitted) {
        Ok(found) => found,
        Err(error) => {
            let error = tx::refuse(engine, client, &args[0], error);
            if let Some(found) = find(&args[0]) {
                block.calls(found.number).rejected.add(1);
            }
            block.refuse(error.faces().0);
            Reply::new(out, client.version).error(&error);
            hide_tokens(engine, out, start);
            settle_replies(client, out, start);
            return client.flow;
        }
    };
    if let Some((until, all)) = engine.paused_until(now)
        && !waits
        && (all
            || tx::effects(client, found.spec, flags_of(engine, found.spec, args))
                .has(Flags::WRITE.and(Flags::MAY_REPLICATE)))
    {
        client.peer.held.store(true, Ordering::Relaxed);
        client.flow = Flow::Hold(until);
        return client.flow;
    }
    if client.peer.held.load(Ordering::Relaxed) {
        client.peer.held.store(false, Ordering::Relaxed);
    }
    if !waits && engine.tracking.is_on() {
        tracking::catch_up(client, out);
        start = out.len();
    }
    client.peer.last_command.store(found.number as u32 + 1, Ordering::Relaxed);
    if tx::keeps(client, found.spec) {
        tx::keep(engine, client, found, args, out);
        settle_replies(client, out, start);
        client.lap = engine.clock.micros();
        return client.flow;
    }
    let is_exec = client.is_in_multi() && found.spec.name == "EXEC";
    let was = client.replies;
    call(engine, client, &found, args, ahead, now, out);
    match client.flow {
        Flow::Block(_) => {
            client.peer.held.store(true, Ordering::Relaxed);
            return client.flow;
        }
        Flow::Again => {
            if client.replies != Replies::On {
                out.truncate(start);
            }
            return client.flow;
        }
        _ => {}
    }
    if is_exec {
        tx::settle(client, was, out, start);
    } else {
        settle_replies(client, out, start);
    }
    // What it published or did to a key may have been news to itself; it comes right behind the reply.
    if client.peer.has_mail() {
        client.peer.collect(out);
    }
    client.flow
}

/// Runs a command that may run, and counts it. Its reply stands behind what is in `out`, wanted or not.
fn call(
    engine: &Engine,
    client: &mut Client,
    found: &Found,
    args: Args<'_>,
    ahead: Option<&Foreseen<'_>>,
    now: Millis,
    out: &mut Vec<u8>,
) {
    let (start, began) = (out.len(), client.lap);
    let block = engine.metrics.block(client.worker());
    let waits = client.ticket != 0;
    let is_shown = !waits
        && engine.clients.has_monitors()
        && !client.walks()
        && !found.spec.flags.has(Flags::SKIP_MONITOR.and(Flags::ADMIN));
    // What EXEC runs is shown before EXEC.
    let comes_last = is_shown && found.spec.name == "EXEC";
    if is_shown && !comes_last {
        show_monitors(engine, client, found, args, &client.peer.addr.monitored());
    }

    let notes = engine.tracking.is_on() && tracking::is_noted(client, found.spec);
    if notes {
        tracking::note(engine, client, found.spec, args, now);
    }
    let reply = Reply::new(out, client.version);
    let mut ctx = Ctx { engine, client, now, reply, spec: found.spec, ahead, is_scripted: false };
    let result = match waits {
        true => blocking::resume(&mut ctx),
        false => (found.spec.run)(&mut ctx, args),
    };
    let failed = result.is_err() || ctx.reply.is_error(start);
    if let Err(error) = result {
        ctx.reply.rewind(start);
        ctx.reply.error(&error);
        block.refuse(error.faces().0);
        hide_tokens(engine, out, start);
    } else if failed {
        // A script has returned it, or CLIENT UNBLOCK. Its first word is counted by name, so it is no token by then.
        hide_tokens(engine, out, start);
        let code = out[start + 1..].split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
        block.refuse(&String::from_utf8_lossy(code));
    }
    if notes {
        tracking::note(engine, client, found.spec, args, now);
    }
    if comes_last {
        show_monitors(engine, client, found, args, &client.peer.addr.monitored());
    }
    if !client.never_waits {
        blocking::serve(engine, client.worker(), now);
    }
    if client.flow.is_open() {
        return;
    }

    let ended = engine.clock.micros();
    let mut micros = ended.saturating_sub(began);
    if let Flow::Sleep(ttl) = client.flow {
        // The client will have waited for it when it gets its answer.
        micros += ttl.0.saturating_mul(1000);
    }
    client.lap = ended;
    let calls = block.calls(found.number);
    block.commands.add(1);
    calls.took(micros);
    calls.failed.add(u64::from(failed));
    watch_time(engine, client, found, args, micros, now);
}

/// Some errors repeat what was sent. Client libraries log errors, so a token must not stand in one.
fn hide_tokens(engine: &Engine, out: &mut Vec<u8>, start: usize) {
    if let Cow::Owned(shown) = engine.records().redacted(&out[start..]) {
        out.truncate(start);
        out.extend_from_slice(&shown);
    }
}

/// Whether the command may run at all: rights first, then memory.
fn admit(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, now: Millis) -> Result<()> {
    let spec = found.spec;
    // Most servers have the default user alone, who may do everything.
    if client.user.is_some() || engine.acl.is_guarded() {
        acl::admit(engine, client, found, args, now)?;
    }
    tx::admit(client, spec)?;
    // Before room is made: what a script works with does not go while it runs.
    if (client.is_outside || engine.scripts.is_busy()) && !spec.flags.has(Flags::ALLOW_BUSY) {
        return Err(engine.scripts.busy());
    }
    let needs_room = tx::effects(client, spec, spec.flags).has(Flags::DENYOOM);
    // Who keeps copies of what it reads hears before what has to go.
    let makes_room = needs_room || engine.tracking.is_on() && tracking::is_noted(client, spec);
    if makes_room && !engine.make_room(now) && needs_room {
        return Err(Error::OutOfMemory);
    }
    if engine.hot.is_unsaved() && tx::effects(client, spec, spec.flags).has(Flags::WRITE) {
        return Err(Error::Unsaved);
    }
    // In RESP2 a message cannot be told from a reply, so that there must be no replies to tell it from.
    if client.version == Version::Resp2 && client.peer.is_subscriber() && !pubsub::is_allowed(spec) {
        return Err(pubsub::not_allowed(found));
    }
    Ok(())
}

/// The flags of a request: those of its command, unless a script says more of itself.
fn flags_of(engine: &Engine, spec: &Spec, args: Args<'_>) -> Flags {
    #[cfg(feature = "server")]
    return script::flags(engine, spec, args);
    #[cfg(not(feature = "server"))]
    {
        let _ = (engine, args);
        spec.flags
    }
}

/// Takes back replies that the client does not want.
fn settle_replies(client: &mut Client, out: &mut Vec<u8>, start: usize) {
    let pushed = std::mem::take(&mut client.pushed);
    if client.replies != Replies::On && !pushed {
        out.truncate(start);
    }
    client.replies = match client.replies {
        Replies::SkipNext => Replies::Skip,
        Replies::Skip => Replies::On,
        stays => stays,
    };
}

/// Keeps slow commands for SLOWLOG and LATENCY.
fn watch_time(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, micros: u64, now: Millis) {
    if engine.hot.slower_than().is_some_and(|limit| micros >= limit)
        && !found.spec.flags.has(Flags::SKIP_SLOWLOG)
        && engine.hot.slowlog_max() > 0
    {
        let slow = Slow {
            id: 0,
            at: engine.clock.to_wall(now) / 1000,
            micros,
            words: Slowlog::cut(shown_words(engine, found, args)),
            addr: client.peer.addr.to_string(),
            name: client.peer.labels().name,
        };
        engine.slowlog.push(slow, engine.hot.slowlog_max());
    }
    let threshold = engine.hot.latency_threshold();
    if threshold > 0 && micros >= threshold * 1000 {
        let event = if found.spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        engine.latency.note(event, engine.clock.to_wall(now) / 1000, micros / 1000);
    }
}

/// Shows a request to those who watch, as Redis words it, tokens replaced.
fn show_monitors(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, who: &str) {
    let micros = engine.clock.wall_micros();
    let mut line = format!("+{}.{:06} [{} {who}]", micros / 1_000_000, micros % 1_000_000, client.db());
    for word in shown_words(engine, found, args) {
        line.push(' ');
        words::quote_into(&word, &mut line);
    }
    line.push_str("\r\n");
    for peer in engine.clients.all() {
        if peer.monitor.load(Ordering::Relaxed) && peer.id != client.peer.id {
            let limit = match engine.hot.output_limit(peer.is_subscriber()).hard {
                0 => usize::MAX,
                limit => limit as usize,
            };
            peer.post(line.as_bytes(), limit);
        }
    }
}

/// The words of a request as they may be kept and shown: no password, no token.
fn shown_words<'a>(engine: &'a Engine, found: &Found, args: Args<'a>) -> impl ExactSizeIterator<Item = Cow<'a, [u8]>> {
    let secret = found.spec.secret;
    args.iter().enumerate().map(move |(at, word)| match secret(args, at) {
        true => Cow::Borrowed(&b"(redacted)"[..]),
        false => engine.records().redacted(word),
    })
}

#[cfg(test)]
mod tests;
