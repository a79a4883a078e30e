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
mod scan;
#[cfg(feature = "server")]
mod script;
mod server;
mod set;
mod slowlog;
mod sort;
mod spec;
mod string;
mod tracking;
mod tx;
mod usage;
mod words;
mod zset;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use acl::{load_users, may_read_all};
pub use blocking::{forget, is_answered};
pub use reference::{COMMANDS_BEGIN, COMMANDS_END, commands_reference, commands_reference_in};
pub use spec::{Arity, Flags, Group, Handler, Keys, Spec};

use crate::clock::{Millis, Ttl};
use crate::engine::acl::User;
use crate::engine::{Engine, Peer, Slow, Slowlog};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply, Version};

use crate::store::{Foreseen, Store, Ticket};

/// All families.
const FAMILIES: &[&[Spec]] = &[
    connection::COMMANDS,
    acl::COMMANDS,
    client::COMMANDS,
    docs::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    server::COMMANDS,
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
    pubsub::COMMANDS,
];

/// One client's state, as its commands see it.
pub struct Client {
    /// What it shares with others.
    pub peer: Arc<Peer>,
    /// The worker that serves it.
    pub worker: usize,
    /// Its database.
    pub db: usize,
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
    /// What waits for an EXEC.
    tx: Option<Box<tx::Tx>>,
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
    /// Serve this client nothing for so long, and send the reply only then.
    Sleep(Ttl),
}

impl Client {
    /// A client that has just come in.
    pub fn new(engine: &Engine, peer: Arc<Peer>, worker: usize, is_local: bool) -> Client {
        Client {
            peer,
            worker,
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
            tx: None,
        }
    }

    /// Selects a database that exists.
    fn select(&mut self, db: usize) {
        self.db = db;
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
}

impl<'a> Ctx<'a> {
    /// The store of the client's database.
    pub fn store(&self) -> &'a Store {
        self.engine.store(self.client.db)
    }
}

// ---- the table --------------------------------------------------------------------------------------------------

/// Slots of the lookup table: a power of two, several times the number of commands, so that probes are short.
const SLOTS: usize = 1024;

/// Letters of the longest name that is looked up.
const NAME_MAX: usize = 32;

const TOP: usize = count(FAMILIES);

/// The table: a slot has the position of its command, one up, or zero.
static SLOT: [u16; SLOTS] = lay_out();
static TOP_LEVEL: [&Spec; TOP] = flatten();
/// The number of each top-level command; its subcommands have the numbers behind it.
static NUMBER: [u16; TOP] = number();

/// How many commands and subcommands there are.
pub const COUNT: usize = {
    let (mut sum, mut at) = (0, 0);
    let all = flatten();
    while at < TOP {
        sum += 1 + all[at].subs.len();
        at += 1;
    }
    sum
};

const fn count(families: &[&[Spec]]) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < families.len() {
        sum += families[at].len();
        at += 1;
    }
    sum
}

const fn flatten() -> [&'static Spec; TOP] {
    let mut all = [&FAMILIES[0][0]; TOP];
    let (mut family, mut filled) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            all[filled] = &FAMILIES[family][row];
            filled += 1;
            row += 1;
        }
        family += 1;
    }
    all
}

const fn number() -> [u16; TOP] {
    let all = flatten();
    let mut numbers = [0; TOP];
    let (mut at, mut next) = (0, 0);
    while at < TOP {
        numbers[at] = next;
        next += 1 + all[at].subs.len() as u16;
        at += 1;
    }
    numbers
}

const fn hash(name: &[u8]) -> usize {
    // The letters as one number: their low five bits, which are the same in both cases.
    let (mut word, mut at) = (name.len() as u64, 0);
    while at < name.len() {
        word = word.rotate_left(5) ^ (name[at] & 0x1f) as u64;
        at += 1;
    }
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn lay_out() -> [u16; SLOTS] {
    let all = flatten();
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < TOP {
        let mut slot = hash(all[at].name.as_bytes());
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = at as u16 + 1;
        at += 1;
    }
    slots
}

/// A command that was found, with its number.
#[derive(Clone, Copy)]
pub struct Found {
    /// Its row; a subcommand's own row where there is one.
    pub spec: &'static Spec,
    /// The row of its container, if it is a subcommand.
    pub container: Option<&'static Spec>,
    /// Its number, for counters.
    pub number: usize,
}

impl Found {
    /// The lower-case name, `container|sub` for a subcommand.
    pub fn full_name(&self) -> String {
        match self.container {
            Some(container) => format!("{}|{}", container.name, self.spec.name).to_lowercase(),
            None => self.spec.name.to_lowercase(),
        }
    }
}

/// The command of this name, in any case.
pub fn find(name: &[u8]) -> Option<Found> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut slot = hash(name);
    while let Some(at) = usize::from(SLOT[slot]).checked_sub(1) {
        let spec = TOP_LEVEL[at];
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(Found { spec, container: None, number: usize::from(NUMBER[at]) });
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// The command or subcommand of a full name, `get` or `client|list`.
pub fn find_full(name: &[u8]) -> Option<Found> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let found = find(parts.next()?)?;
    match parts.next() {
        Some(sub) => found.subcommand(sub),
        None => Some(found),
    }
}

impl Found {
    /// Its subcommands.
    pub fn subcommands(self) -> impl Iterator<Item = Found> {
        let row = move |(at, spec): (usize, &'static Spec)| Found {
            spec,
            container: Some(self.spec),
            number: self.number + 1 + at,
        };
        self.spec.subs.iter().enumerate().map(row)
    }

    /// The subcommand of this name, in any case.
    pub fn subcommand(self, name: &[u8]) -> Option<Found> {
        let at = self.spec.subs.iter().position(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Found { spec: &self.spec.subs[at], container: Some(self.spec), number: self.number + 1 + at })
    }
}

/// All commands, without their subcommands.
pub fn all() -> impl ExactSizeIterator<Item = Found> {
    let found =
        |(at, number): (usize, &u16)| Found { spec: TOP_LEVEL[at], container: None, number: usize::from(*number) };
    NUMBER.iter().enumerate().map(found)
}

/// The command or subcommand of a number.
pub fn numbered(number: usize) -> Option<Found> {
    all().find_map(|found| {
        let sub = number.checked_sub(found.number)?;
        match sub {
            0 => Some(found),
            _ => {
                let spec = found.spec.subs.get(sub - 1)?;
                Some(Found { spec, container: Some(found.spec), number })
            }
        }
    })
}

/// Which row a request's words mean, and whether their count fits.
fn lookup(args: Args<'_>) -> Result<Found> {
    let Some(found) = find(&args[0]) else { return Err(unknown(args)) };
    let found = match args.get(1).filter(|_| !found.spec.subs.is_empty()) {
        None => found,
        Some(word) => found.subcommand(word).ok_or_else(|| {
            let given = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
            Error::UnknownSubcommand(given, found.spec.name)
        })?,
    };
    if !found.spec.arity.admits(args.len()) {
        return Err(Error::Arity(found.full_name().into()));
    }
    Ok(found)
}

/// Redis' words for a subcommand that was given more words than it knows.
fn wrong_count(container: &str, given: &[u8]) -> Error {
    let given = String::from_utf8_lossy(&given[..given.len().min(128)]);
    let text = format!("unknown subcommand or wrong number of arguments for '{given}'. Try {container} HELP.");
    Error::Refused(text.into())
}

/// Redis' words for a command that is not there, with as much of the request as it shows.
fn unknown(args: Args<'_>) -> Error {
    const SHOWN: usize = 128;
    let show = |word: &[u8], room: usize| String::from_utf8_lossy(&word[..word.len().min(room)]).into_owned();
    let mut rest = String::new();
    for word in args.iter().skip(1) {
        if rest.len() >= SHOWN {
            break;
        }
        let shown = show(word, SHOWN - rest.len());
        rest.push_str(&format!("'{shown}' "));
    }
    Error::UnknownCommand(format!("'{}', with args beginning with: {rest}", show(&args[0], SHOWN)))
}

// ---- running ----------------------------------------------------------------------------------------------------

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
    if !matches!(client.flow, Flow::Hold(_) | Flow::Block(_)) {
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
    client.flow = Flow::Go;
    let block = engine.metrics.block(client.worker);
    // A request that waits was admitted when it came.
    let waits = client.ticket != 0;
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
        && (all || tx::effects(client, found.spec).has(Flags::WRITE.and(Flags::MAY_REPLICATE)))
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
    if let Flow::Block(_) = client.flow {
        client.peer.held.store(true, Ordering::Relaxed);
        return client.flow;
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
    let block = engine.metrics.block(client.worker);
    let waits = client.ticket != 0;
    let is_shown =
        !waits && engine.clients.has_monitors() && !found.spec.flags.has(Flags::SKIP_MONITOR.and(Flags::ADMIN));
    // What EXEC runs is shown before EXEC.
    let comes_last = is_shown && found.spec.name == "EXEC";
    if is_shown && !comes_last {
        show_monitors(engine, client, found, args, &client.peer.addr.to_string());
    }

    let notes = engine.tracking.is_on() && tracking::is_noted(client, found.spec);
    if notes {
        tracking::note(engine, client, found.spec, args, now);
    }
    let reply = Reply::new(out, client.version);
    let mut ctx = Ctx { engine, client, now, reply, spec: found.spec, ahead };
    let result = match waits {
        true => blocking::resume(&mut ctx),
        false => (found.spec.run)(&mut ctx, args),
    };
    let failed = result.is_err() || waits && ctx.reply.is_error(start);
    if let Err(error) = result {
        ctx.reply.rewind(start);
        ctx.reply.error(&error);
        block.refuse(error.faces().0);
        hide_tokens(engine, out, start);
    }
    if notes {
        tracking::note(engine, client, found.spec, args, now);
    }
    if comes_last {
        show_monitors(engine, client, found, args, &client.peer.addr.to_string());
    }
    if !client.never_waits {
        blocking::serve(engine, client.worker, now);
    }
    if let Flow::Block(_) = client.flow {
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
    let needs_room = tx::effects(client, spec).has(Flags::DENYOOM);
    // Who keeps copies of what it reads hears before what has to go.
    let makes_room = needs_room || engine.tracking.is_on() && tracking::is_noted(client, spec);
    if makes_room && !engine.make_room(now) && needs_room {
        return Err(Error::OutOfMemory);
    }
    if (client.is_outside || engine.scripts.is_busy()) && !spec.flags.has(Flags::ALLOW_BUSY) {
        return Err(Error::Busy);
    }
    // In RESP2 a message cannot be told from a reply, so that there must be no replies to tell it from.
    if client.version == Version::Resp2 && client.peer.is_subscriber() && !pubsub::is_allowed(spec) {
        return Err(pubsub::not_allowed(found));
    }
    Ok(())
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
    let mut line = format!("+{}.{:06} [{} {who}]", micros / 1_000_000, micros % 1_000_000, client.db);
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
