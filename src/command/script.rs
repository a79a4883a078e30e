//! Scripts in Lua, which run alone: nobody else sees what they have done by half.
//!
//! A text is kept by its SHA-1 in the engine and compiled in the Lua state of the worker that runs it. What a script
//! sees of Lua is told in `sandbox.lua`.

mod args;
mod bit;
mod bounds;
mod convert;
pub(super) mod functions;
mod interpreter;
mod library;
mod msgpack;
mod pack;
mod random;
mod server;
mod shebang;

use std::cell::RefCell;

use sha1::{Digest as _, Sha1};

use super::help;
use super::spec::tips;
use super::words::Words as _;
use super::{Arity, Ctx, Flags, Found, Group, Keys, Spec};
use crate::clock::Ttl;
use crate::engine::{Engine, Killed, Sha};
use crate::error::{Error, Result};
use crate::resp::{Args, Reply, Version};

use Arity::{AtLeast, Exactly};
use convert::Writer;
use interpreter::{Ending, Interpreter, Run};
use server::Server;
use shebang::Promises;

const ROW: Spec = Spec { group: Group::Scripting, since: "2.6.0", ..Spec::BASE };
const RUN: Spec = Spec {
    arity: AtLeast(3),
    flags: Flags::NOSCRIPT
        .and(Flags::STALE)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::MOVABLE_KEYS)
        .and(Flags::MAY_REPLICATE)
        .and(Flags::NO_MANDATORY_KEYS),
    keys: Keys::counted(2).with(&["RW", "access", "update"]),
    usage: "script numkeys [key [key ...]] [arg [arg ...]]",
    cost: "O(N) where N is what the script does.",
    ..ROW
};
const RUN_RO: Spec = Spec {
    flags: RUN.flags.without(Flags::MAY_REPLICATE).and(Flags::READONLY),
    keys: Keys::counted(2).with(&["RO", "access"]),
    since: "7.0.0",
    ..RUN
};

pub(super) const COMMANDS: &[Spec] = &[
    Spec { name: "EVAL", run: eval, summary: "Executes a server-side Lua script.", ..RUN },
    Spec {
        name: "EVALSHA",
        run: evalsha,
        usage: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Executes a server-side Lua script by SHA1 digest.",
        ..RUN
    },
    Spec {
        name: "EVALSHA_RO",
        run: evalsha_ro,
        usage: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Executes a read-only server-side Lua script by SHA1 digest.",
        ..RUN_RO
    },
    Spec { name: "EVAL_RO", run: eval_ro, summary: "Executes a read-only server-side Lua script.", ..RUN_RO },
    Spec {
        name: "SCRIPT",
        arity: AtLeast(2),
        cost: "Depends on subcommand.",
        summary: "A container for Lua scripts management commands.",
        subs: SUBCOMMANDS,
        ..ROW
    },
];

const SUB: Spec = Spec { flags: Flags::NOSCRIPT, ..ROW };

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "DEBUG",
        run: debug,
        arity: Exactly(3),
        usage: "<YES | SYNC | NO>",
        since: "3.2.0",
        summary: "Sets the debug mode of server-side Lua scripts.",
        ..SUB
    },
    Spec {
        name: "EXISTS",
        run: exists,
        arity: AtLeast(3),
        usage: "sha1 [sha1 ...]",
        cost: "O(N) with N being the number of scripts to check.",
        tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
        summary: "Determines whether server-side Lua scripts exist in the script cache.",
        ..SUB
    },
    Spec {
        name: "FLUSH",
        run: flush,
        arity: AtLeast(2),
        usage: "[ASYNC | SYNC]",
        cost: "O(N) with N being the number of scripts in cache.",
        tips: tips::ALL_NODES,
        summary: "Removes all server-side Lua scripts from the script cache.",
        ..SUB
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "SCRIPT", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "5.0.0",
        summary: "Returns helpful text about the different subcommands.",
        ..SUB
    },
    Spec {
        name: "KILL",
        run: |ctx, _| killed(ctx, false),
        arity: Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        summary: "Terminates a server-side Lua script during execution.",
        ..SUB
    },
    Spec {
        name: "LOAD",
        run: load,
        arity: Exactly(3),
        flags: Flags::NOSCRIPT.and(Flags::STALE),
        usage: "script",
        cost: "O(N) with N being the length in bytes of the script body.",
        tips: tips::ALL_NODES,
        summary: "Loads a server-side Lua script to the script cache.",
        ..SUB
    },
];

const HELP: &[&str] = &[
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];

/// The SHA-1 of a text, in hexadecimal digits.
fn sha1(text: &[u8]) -> Sha {
    let mut sha = [0; 40];
    for (pair, byte) in sha.chunks_exact_mut(2).zip(Sha1::digest(text)) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    sha
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 0xf)]
}

/// What was given as a SHA-1, if it is as long as one.
fn given_sha(word: &[u8]) -> Option<Sha> {
    let mut sha: Sha = word.try_into().ok()?;
    sha.make_ascii_lowercase();
    Some(sha)
}

// ---- running ------------------------------------------------------------------------------------------------------

fn eval(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    run_text(ctx, args, false)
}

fn eval_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    run_text(ctx, args, true)
}

fn evalsha(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    run_sha(ctx, args, false)
}

fn evalsha_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    run_sha(ctx, args, true)
}

fn run_text(ctx: &mut Ctx<'_>, args: Args<'_>, is_readonly: bool) -> Result<()> {
    let call = Call::new(args, args.int(2)?, is_readonly)?;
    let text = args.word(1);
    let promises = promises(text)?;
    call.run(ctx, sha1(text), promises, Some(text))
}

fn run_sha(ctx: &mut Ctx<'_>, args: Args<'_>, is_readonly: bool) -> Result<()> {
    let call = Call::new(args, args.int(2)?, is_readonly)?;
    let sha = given_sha(args.word(1)).ok_or(Error::NoScript)?;
    let promises = ctx.engine.scripts.with_text(&sha, promises).ok_or(Error::NoScript)??;
    call.run(ctx, sha, promises, None)
}

/// What a text promises.
fn promises(text: &[u8]) -> Result<Promises> {
    shebang::read(text).map(|(promises, _)| promises).map_err(|problem| Error::Refused(problem.into()))
}

/// The flags of a command, but that a script or function which promises to change nothing runs where changes have to wait.
pub(super) fn flags(engine: &Engine, spec: &Spec, args: Args<'_>) -> Flags {
    if spec.group != Group::Scripting || !spec.flags.has(Flags::MAY_REPLICATE) {
        return spec.flags;
    }
    let no_writes = |text: &[u8]| shebang::read(text).is_ok_and(|(promises, _)| promises.no_writes);
    let changes_nothing = match spec.name {
        "EVALSHA" => {
            given_sha(args.word(1)).and_then(|sha| engine.scripts.with_text(&sha, no_writes)).unwrap_or_default()
        }
        "FCALL" => functions::changes_nothing(engine, args.word(1)),
        _ => no_writes(args.word(1)),
    };
    match changes_nothing {
        true => spec.flags.without(Flags::MAY_REPLICATE),
        false => spec.flags,
    }
}

/// Shows a request that runs a script: before the commands it runs, and not at the usual place, where it would be shown
/// twice.
fn show_monitors(ctx: &Ctx<'_>, args: Args<'_>) {
    if ctx.engine.clients.has_monitors() {
        let found = Found { spec: ctx.spec, container: None, number: 0 };
        super::show_monitors(ctx.engine, ctx.client, &found, args, &ctx.client.peer.addr.monitored());
    }
}

/// Microseconds on the engine's clock after which others are told that what begins at `now` takes long.
fn patience_ends(engine: &Engine, now: u64) -> u64 {
    let patience = engine.hot.busy_after().map_or(u64::MAX, |millis| millis.saturating_mul(1000));
    now.saturating_add(patience)
}

/// One run of a script or function.
struct Call<'a> {
    keys: Args<'a>,
    argv: Args<'a>,
    args: Args<'a>,
    is_readonly: bool,
}

impl<'a> Call<'a> {
    /// A run with so many keys, as the words say.
    fn new(args: Args<'a>, count: i64, is_readonly: bool) -> Result<Call<'a>> {
        let count = usize::try_from(count).map_err(|_| Error::refused("Number of keys can't be negative"))?;
        if count > args.len() - 3 {
            return Err(Error::refused("Number of keys can't be greater than number of args"));
        }
        let rest = args.tail(3);
        Ok(Call { keys: rest.head(count), argv: rest.tail(count), args, is_readonly })
    }

    /// Checks what the script promises, and runs it alone. A text that is given may be new; others are kept.
    fn run(&self, ctx: &mut Ctx<'_>, sha: Sha, promises: Promises, given: Option<&[u8]>) -> Result<()> {
        self.admit(ctx, promises)?;
        show_monitors(ctx, self.args);
        let (engine, worker, asked) = (ctx.engine, ctx.client.worker(), ctx.now);
        let make = || Interpreter::new(engine.scripts.running(), engine.clock.clone());
        let run = |interpreter: &mut Interpreter, began: u64, ctx: &mut Ctx<'_>| {
            interpreter.limit(engine.hot.maxmemory());
            let result = compiled(engine, interpreter, &sha, given)
                .and_then(|number| self.run_in(interpreter, Run::Script(number), ctx, &sha, promises, began));
            (result, interpreter.kept(engine.hot.maxmemory()))
        };
        let ran = engine.alone(worker, asked, |now| {
            ctx.now = now;
            let began = engine.clock.micros();
            let run = |interpreter: &mut Interpreter| run(interpreter, began, ctx);
            engine.scripts.run(patience_ends(engine, began), || engine.scripts.with_interpreter(worker, make, run))
        });
        ran?.unwrap_or_else(|error| Err(failed(&error)))
    }

    /// Whether the script may run at all.
    fn admit(&self, ctx: &Ctx<'_>, promises: Promises) -> Result<()> {
        if !promises.are_made {
            return Ok(());
        }
        if self.is_readonly && !promises.no_writes {
            return Err(Error::refused("Can not execute a script with write flag using *_ro command."));
        }
        if !promises.allow_oom && !promises.no_writes && !ctx.engine.make_room(ctx.now) {
            return Err(Error::ScriptOutOfMemory);
        }
        Ok(())
    }

    fn run_in(
        &self,
        interpreter: &mut Interpreter,
        what: Run<'_>,
        ctx: &mut Ctx<'_>,
        name: &[u8],
        promises: Promises,
        began: u64,
    ) -> Result<()> {
        let Ctx { engine, client, now, reply, spec, .. } = ctx;
        let (db, version, replies, flow) = (client.db(), client.version, client.replies, client.flow);
        let (lap, mark) = (client.lap, reply.mark());
        let is_short_of_memory = !promises.allow_oom && !engine.make_room(*now);
        client.lap = began;
        let server = RefCell::new(Server {
            engine,
            client,
            now: *now,
            speaks: Version::Resp2,
            is_readonly: self.is_readonly || promises.no_writes,
            is_short_of_memory,
            called: (spec, self.args),
            slept: Ttl(0),
            desk: std::mem::take(&mut interpreter.desk),
        });
        let ending = server::lend(&server, || interpreter.run(what, self.keys, self.argv));
        // As much as it may hold itself: what it has taken out may be nowhere else any more.
        reply.bound(engine.hot.gathered_max());
        let speaks = server.borrow().speaks;
        let result = ending.and_then(|ending| finish(reply, ending, interpreter, name, speaks));
        let Server { client, desk, slept, .. } = server.into_inner();
        interpreter.desk = desk.cleared();
        // It has slept when it is answered, as after EXEC; others go on meanwhile.
        (client.version, client.replies, client.flow, client.lap) = (version, replies, flow.after(slept), lap);
        if client.db() != db {
            client.select(db);
        }
        match result {
            Ok(None) => Ok(()),
            Ok(Some(text)) => {
                let shown = super::run::shown(engine, text.as_bytes(), super::run::ERROR_MAX);
                reply.raw_error(&String::from_utf8_lossy(&shown));
                Ok(())
            }
            Err(error) => {
                reply.rewind(mark);
                Err(failed(&error))
            }
        }
    }
}

/// The number of a script in an interpreter, which compiles it if it has not yet. A text that is given is kept from then on.
fn compiled(engine: &Engine, interpreter: &mut Interpreter, sha: &Sha, given: Option<&[u8]>) -> Result<usize> {
    let compile = |interpreter: &mut Interpreter, text: &[u8]| {
        let (_, body) = shebang::read(text).map_err(|problem| Error::Refused(problem.into()))?;
        interpreter.compile(sha, body).map_err(|problem| uncompiled(&problem))
    };
    let number = match (interpreter.compiled(sha), given) {
        (Some(number), _) => number,
        (None, Some(text)) => compile(interpreter, text)?,
        (None, None) => compile(interpreter, &engine.scripts.get(sha).ok_or(Error::NoScript)?)?,
    };
    if let Some(text) = given {
        engine.scripts.keep(*sha, text, false);
    }
    Ok(number)
}

/// Writes what a script returned, or gives the text of its error.
fn finish(
    reply: &mut Reply<'_>,
    ending: Ending,
    interpreter: &Interpreter,
    name: &[u8],
    speaks: Version,
) -> mlua::Result<Option<String>> {
    let mut writer = Writer { reply, names: &interpreter.names, work: interpreter.bounds.work(), speaks };
    match ending {
        Ending::Elements(values) => {
            writer.elements(values.into_iter().map(Ok), 0)?;
            Ok(None)
        }
        Ending::Plain(table) => {
            writer.elements(table.sequence_values(), 0)?;
            Ok(None)
        }
        Ending::Value(value) => {
            writer.value(&value, 0)?;
            Ok(None)
        }
        Ending::Failed { text, place } => {
            let mut text = String::from_utf8_lossy(&text).into_owned();
            if let Some((source, line)) = place {
                text.push_str(&format!(" script: {}, on {source}:{line}.", String::from_utf8_lossy(name)));
            }
            Ok(Some(text))
        }
    }
}

fn uncompiled(problem: &str) -> Error {
    Error::Refused(format!("Error compiling script (new function): {problem}").into())
}

/// A failure of Lua itself, such as a lack of memory, or of what was done for a script.
fn failed(error: &mlua::Error) -> Error {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.clone();
    }
    Error::Refused(error.to_string().lines().next().unwrap_or_default().to_owned().into())
}

// ---- SCRIPT -------------------------------------------------------------------------------------------------------

fn load(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (engine, text) = (ctx.engine, args.word(2));
    let sha = sha1(text);
    let (_, body) = shebang::read(text).map_err(|problem| Error::Refused(problem.into()))?;
    let make = || Interpreter::new(engine.scripts.running(), engine.clock.clone());
    let compile = |interpreter: &mut Interpreter| {
        let compiled = match interpreter.compiled(&sha) {
            Some(_) => Ok(()),
            None => interpreter.compile(&sha, body).map(drop),
        };
        (compiled, interpreter.kept(engine.hot.maxmemory()))
    };
    engine
        .scripts
        .with_interpreter(ctx.client.worker(), make, compile)
        .map_err(|error| failed(&error))?
        .map_err(|problem| uncompiled(&problem))?;
    engine.scripts.keep(sha, text, true);
    ctx.reply.bulk(&sha);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let asked = args.tail(2);
    ctx.reply.array(asked.len());
    for word in asked.iter() {
        let found = given_sha(word).is_some_and(|sha| ctx.engine.scripts.has(&sha));
        ctx.reply.int(i64::from(found));
    }
    Ok(())
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if args.len() > 3 || args.len() == 3 && !args.is(2, "SYNC") && !args.is(2, "ASYNC") {
        return Err(Error::refused("SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    ctx.engine.scripts.flush();
    ctx.reply.ok();
    Ok(())
}

/// Ends what runs, if it is a function or if it is a script.
fn killed(ctx: &mut Ctx<'_>, function: bool) -> Result<()> {
    match ctx.engine.scripts.kill(function) {
        Killed::Yes => ctx.reply.ok(),
        Killed::NoneRuns => return Err(Error::NotBusy),
        Killed::HasWritten => return Err(Error::Unkillable),
        Killed::IsOther => return Err(ctx.engine.scripts.busy()),
    }
    Ok(())
}

fn debug(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match ["YES", "SYNC", "NO"].iter().position(|mode| args.is(2, mode)) {
        Some(2) => ctx.reply.ok(),
        Some(_) => return Err(Error::refused("there is no debugger for scripts")),
        None => return Err(Error::refused("Use SCRIPT DEBUG YES/SYNC/NO")),
    }
    Ok(())
}
