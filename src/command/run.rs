//! Running one request: whether it may run, what it answers, and what is counted of it.
//!
//! Nearly all requests come from clients that have begun nothing, to a server on which nothing is out of the ordinary. That
//! is two questions, and such a request is run plainly. For any other, each thing that may concern it is looked at.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::table::lookup;
use super::{Client, Ctx, Flags, Flow, Found, Replies, Spec, acl, blocking, find, pubsub, tracking, tx, words};
use crate::clock::Millis;
use crate::engine::{Engine, Oddity, Slow, Slowlog};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply, Version};
use crate::store::Foreseen;

impl Client {
    /// Whether it has begun nothing that its next request is to be looked at more closely for, or its last one has left.
    #[inline]
    fn is_plain(&self) -> bool {
        // All of it at once, as it is nearly always true.
        self.authenticated
            & self.user.is_none()
            & self.begun.is_none()
            & (self.ticket == 0)
            & matches!(self.flow, Flow::Go)
            & matches!(self.replies, Replies::On)
            & !self.pushed
            & !self.is_outside
            & !self.peer.is_subscriber()
            & !self.peer.has_mail()
    }
}

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
    match lookup(args) {
        Ok(found) if client.is_plain() && !engine.unusual.is_any() => {
            run_plainly(engine, client, found, args, ahead, now, out)
        }
        found => run_closely(engine, client, found, args, ahead, now, out),
    }
}

/// Runs a request that nothing but its own row can speak against.
#[inline]
fn run_plainly(
    engine: &Engine,
    client: &mut Client,
    found: &'static Found,
    args: Args<'_>,
    ahead: Option<&Foreseen<'_>>,
    now: Millis,
    out: &mut Vec<u8>,
) -> Flow {
    let spec = found.spec;
    if spec.flags.has(Flags::DENYOOM) && !engine.make_room(now) {
        return refuse(engine, client, args, Error::OutOfMemory, out);
    }
    let (start, began) = (out.len(), client.lap);
    client.peer.last_command.store(found.number as u32 + 1, Ordering::Relaxed);
    let reply = Reply::within(out, client.version, spec.reply_max(engine.hot.reply_max()));
    let mut ctx = Ctx { engine, client, now, reply, spec, ahead, is_scripted: false };
    let result = (spec.run)(&mut ctx, args);
    let result = ctx.reply.outcome(result);
    let failed = has_failed(engine, client, result, start, out);
    blocking::serve(engine, client.worker(), now);
    let is_plain = client.is_plain();
    if is_plain || !client.flow.is_open() {
        count(engine, client, found, args, began, failed, now);
    }
    if is_plain { Flow::Go } else { settle(client, None, out, start) }
}

#[inline(never)]
fn run_closely(
    engine: &Engine,
    client: &mut Client,
    found: Result<&'static Found>,
    args: Args<'_>,
    ahead: Option<&Foreseen<'_>>,
    now: Millis,
    out: &mut Vec<u8>,
) -> Flow {
    if !engine.tracking.is_on() {
        return run_one(engine, client, found, args, ahead, now, out);
    }
    let gathering = engine.tracking.gather(Some(client.peer.id));
    run_one(engine, client, found, args, ahead, now, out);
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
    found: Result<&'static Found>,
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
    let admitted = |found: &'static Found| match waits {
        true => Ok(found),
        false => admit(engine, client, found, args, now).map(|()| found),
    };
    let found = match found.and_then(admitted) {
        Ok(found) => found,
        Err(error) => return refuse(engine, client, args, error, out),
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
    call(engine, client, found, args, ahead, now, out);
    settle(client, is_exec.then_some(was), out, start)
}

/// Answers a request that may not run.
#[cold]
fn refuse(engine: &Engine, client: &mut Client, args: Args<'_>, error: Error, out: &mut Vec<u8>) -> Flow {
    let (start, block) = (out.len(), engine.metrics.block(client.worker()));
    let error = tx::refuse(engine, client, &args[0], error);
    if let Some(found) = find(&args[0]) {
        block.calls(found.number).rejected.add(1);
    }
    block.refuse(error.faces().0);
    Reply::new(out, client.version).error(&error);
    hide_tokens(engine, out, start);
    settle_replies(client, out, start);
    client.flow
}

/// Takes back what the client does not want of a reply, and tells what the connection is to do. `exec` is which replies it
/// wanted before, if it was EXEC.
#[cold]
fn settle(client: &mut Client, exec: Option<Replies>, out: &mut Vec<u8>, start: usize) -> Flow {
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
    match exec {
        Some(was) => tx::settle(client, was, out, start),
        None => settle_replies(client, out, start),
    }
    // What it published or did to a key may have been news to itself; it comes right behind the reply.
    if client.peer.has_mail() {
        client.peer.collect(out);
    }
    client.flow
}

/// Runs a command that may run, and counts it. Its reply stands behind what is in `out`, wanted or not.
pub(super) fn call(
    engine: &Engine,
    client: &mut Client,
    found: &'static Found,
    args: Args<'_>,
    ahead: Option<&Foreseen<'_>>,
    now: Millis,
    out: &mut Vec<u8>,
) {
    let (start, began) = (out.len(), client.lap);
    let waits = client.ticket != 0;
    let is_shown = !waits
        && engine.clients.has_monitors()
        && !client.has_turns()
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
    // Of what EXEC reads, all replies together may be so large.
    let reply = Reply::within(out, client.version, found.spec.reply_max(engine.hot.reply_max()));
    let mut ctx = Ctx { engine, client, now, reply, spec: found.spec, ahead, is_scripted: false };
    let result = match waits {
        true => blocking::resume(&mut ctx),
        false => (found.spec.run)(&mut ctx, args),
    };
    let result = ctx.reply.outcome(result);
    let failed = has_failed(engine, client, result, start, out);
    if notes {
        tracking::note(engine, client, found.spec, args, now);
    }
    if comes_last {
        show_monitors(engine, client, found, args, &client.peer.addr.monitored());
    }
    if !client.never_waits {
        blocking::serve(engine, client.worker(), now);
    }
    if !client.flow.is_open() {
        count(engine, client, found, args, began, failed, now);
    }
}

/// Whether a command has failed. What it refused is answered, in the place of what it wrote.
#[inline]
fn has_failed(engine: &Engine, client: &Client, result: Result<()>, start: usize, out: &mut Vec<u8>) -> bool {
    match result {
        Ok(()) if out.get(start) != Some(&b'-') => return false,
        Ok(()) => note_error(engine, client, out, start),
        Err(error) => answer_error(engine, client, &error, out, start),
    }
    true
}

#[cold]
fn answer_error(engine: &Engine, client: &Client, error: &Error, out: &mut Vec<u8>, start: usize) {
    let mut reply = Reply::new(out, client.version);
    reply.rewind(start);
    reply.error(error);
    engine.metrics.block(client.worker()).refuse(error.faces().0);
    hide_tokens(engine, out, start);
}

/// Notes an error that was written as a reply: a script has returned it, or CLIENT UNBLOCK.
#[cold]
fn note_error(engine: &Engine, client: &Client, out: &mut Vec<u8>, start: usize) {
    // Its first word is counted by name, so it is no token by then.
    hide_tokens(engine, out, start);
    let code = out[start + 1..].split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
    engine.metrics.block(client.worker()).refuse(&String::from_utf8_lossy(code));
}

/// Counts a call that began at this lap.
#[inline]
fn count(engine: &Engine, client: &mut Client, found: &Found, args: Args<'_>, began: u64, failed: bool, now: Millis) {
    let ended = engine.clock.micros();
    let mut micros = ended.saturating_sub(began);
    if let Flow::Sleep(ttl) = client.flow {
        // The client will have waited for it when it gets its answer.
        micros += ttl.0.saturating_mul(1000);
    }
    client.lap = ended;
    let block = engine.metrics.block(client.worker());
    let calls = block.calls(found.number);
    block.commands.add(1);
    calls.took(micros);
    calls.failed.add(u64::from(failed));
    if micros >= engine.hot.noted_from() {
        note_slow(engine, client, found, args, micros, now);
    }
}

/// Bytes of an error's text. Scripts may answer with any; nobody reads more.
pub(super) const ERROR_MAX: usize = 16 * 1024;

/// Bytes of a word that MONITOR shows: enough for all keys and most values.
const MONITORED_MAX: usize = 4 * 1024;

/// Some errors repeat what was sent. Client libraries log errors, so a token must not stand in one.
fn hide_tokens(engine: &Engine, out: &mut Vec<u8>, start: usize) {
    let is_line = |text: &&[u8]| text.len() > ERROR_MAX && !text.contains(&b'\r');
    if let Some(line) = out[start..].strip_suffix(b"\r\n").filter(is_line) {
        let shown = shown(engine, line, ERROR_MAX).into_owned();
        out.truncate(start);
        out.extend_from_slice(&shown);
        out.extend_from_slice(b"\r\n");
    } else if let Cow::Owned(shown) = engine.records().redacted(&out[start..]) {
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
    if engine.unusual.is(Oddity::Unsaved) && tx::effects(client, spec, spec.flags).has(Flags::WRITE) {
        return Err(Error::Unsaved);
    }
    // In RESP2 a message cannot be told from a reply, so that there must be no replies to tell it from.
    if client.version == Version::Resp2 && client.peer.is_subscriber() && !pubsub::is_allowed(spec) {
        return Err(pubsub::not_allowed(found));
    }
    Ok(())
}

/// The flags of a request: those of its command, unless a script says more of itself.
pub(super) fn flags_of(engine: &Engine, spec: &Spec, args: Args<'_>) -> Flags {
    #[cfg(feature = "server")]
    return super::script::flags(engine, spec, args);
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
#[cold]
fn note_slow(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, micros: u64, now: Millis) {
    if engine.hot.slower_than().is_some_and(|limit| micros >= limit)
        && !found.spec.flags.has(Flags::SKIP_SLOWLOG)
        && engine.hot.slowlog_max() > 0
    {
        let slow = Slow {
            id: 0,
            at: engine.clock.to_wall(now) / 1000,
            micros,
            words: Slowlog::cut(shown_words(engine, found, args, Slowlog::WORD_MAX)),
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
pub(super) fn show_monitors(engine: &Engine, client: &Client, found: &Found, args: Args<'_>, who: &str) {
    let micros = engine.clock.wall_micros();
    let mut line = format!("+{}.{:06} [{} {who}]", micros / 1_000_000, micros % 1_000_000, client.db());
    for word in shown_words(engine, found, args, MONITORED_MAX) {
        line.push(' ');
        words::quote_into(&word, &mut line);
    }
    line.push_str("\r\n");
    for peer in engine.clients.monitors() {
        if peer.id != client.peer.id {
            let limit = match engine.hot.output_limit(peer.is_subscriber()).hard {
                0 => usize::MAX,
                limit => limit as usize,
            };
            peer.post(line.as_bytes(), limit);
        }
    }
}

/// So many bytes of a word as it may be kept and shown, without tokens, and how many more there are.
pub(super) fn shown<'a>(engine: &Engine, word: &'a [u8], most: usize) -> Cow<'a, [u8]> {
    let (word, left_out) = engine.records().redacted_start(word, most);
    Slowlog::cut_word(word, left_out)
}

/// The words of a request as they may be kept and shown, each so long: no password, no token.
fn shown_words<'a>(
    engine: &'a Engine,
    found: &Found,
    args: Args<'a>,
    most: usize,
) -> impl ExactSizeIterator<Item = Cow<'a, [u8]>> {
    let secret = found.spec.secret;
    args.iter().enumerate().map(move |(at, word)| match secret(args, at) {
        true => Cow::Borrowed(&b"(redacted)"[..]),
        false => shown(engine, word, most),
    })
}
