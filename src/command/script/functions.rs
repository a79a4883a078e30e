//! FUNCTION, FCALL: functions that are loaded once, in libraries, and called by name.

use std::sync::Arc;

use super::interpreter::Run;
use super::library::{ENGINE, RESTORING_MAX, Runtime, promises};
use super::{Call, RUN, RUN_RO, killed};
use crate::command::spec::tips;
use crate::command::words::Words as _;
use crate::command::{Arity, Ctx, Flags, Group, Spec, help, wrong_count};
use crate::engine::{Called, Engine, Function, Libraries, Library, Restoring};
use crate::error::{Error, Result};
use crate::glob;
use crate::rdb::{self, Reader, kind};
use crate::resp::{Args, Reply};

use Arity::{AtLeast, Exactly};

const ROW: Spec = Spec { group: Group::Scripting, since: "7.0.0", ..Spec::BASE };
const CALL: Spec = Spec {
    usage: "function numkeys [key [key ...]] [arg [arg ...]]",
    cost: "O(N) where N is what the function does.",
    since: "7.0.0",
    ..RUN
};

pub(in crate::command) const COMMANDS: &[Spec] = &[
    Spec { name: "FCALL", run: fcall, summary: "Invokes a function.", ..CALL },
    Spec {
        name: "FCALL_RO",
        run: fcall_ro,
        flags: RUN_RO.flags,
        keys: RUN_RO.keys,
        summary: "Invokes a read-only function.",
        ..CALL
    },
    Spec {
        name: "FUNCTION",
        arity: AtLeast(2),
        cost: "Depends on subcommand.",
        summary: "A container for function commands.",
        subs: SUBCOMMANDS,
        ..ROW
    },
];

const SUB: Spec = Spec { flags: Flags::NOSCRIPT, ..ROW };
/// Those that change what is there. They need memory if they bring something.
const CHANGES: Spec = Spec { flags: Flags::NOSCRIPT.and(Flags::WRITE), tips: tips::ALL_SHARDS, ..ROW };
const BRINGS: Spec = Spec { flags: CHANGES.flags.and(Flags::DENYOOM), ..CHANGES };

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "DELETE",
        run: delete,
        arity: Exactly(3),
        usage: "library-name",
        summary: "Deletes a library and its functions.",
        ..CHANGES
    },
    Spec {
        name: "DUMP",
        run: dump,
        arity: Exactly(2),
        cost: "O(N) where N is the number of functions.",
        summary: "Dumps all libraries into a serialized binary payload.",
        ..SUB
    },
    Spec {
        name: "FLUSH",
        run: flush,
        arity: AtLeast(2),
        usage: "[ASYNC | SYNC]",
        cost: "O(N) where N is the number of functions deleted.",
        summary: "Deletes all libraries and functions.",
        ..CHANGES
    },
    Spec {
        name: "HELP",
        run: |ctx, _| help::answer(ctx, "FUNCTION", HELP),
        arity: Exactly(2),
        flags: Flags::LOADING.and(Flags::STALE),
        summary: "Returns helpful text about the different subcommands.",
        ..ROW
    },
    Spec {
        name: "KILL",
        run: |ctx, _| killed(ctx, true),
        arity: Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        summary: "Terminates a function during execution.",
        ..ROW
    },
    Spec {
        name: "LIST",
        run: list,
        arity: AtLeast(2),
        usage: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        cost: "O(N) where N is the number of functions.",
        tips: tips::ORDER_VARIES,
        summary: "Returns information about all libraries.",
        ..SUB
    },
    Spec {
        name: "LOAD",
        run: load,
        arity: AtLeast(3),
        usage: "[REPLACE] function-code",
        summary: "Creates a library.",
        ..BRINGS
    },
    Spec {
        name: "RESTORE",
        run: restore,
        arity: AtLeast(3),
        usage: "serialized-value [FLUSH | APPEND | REPLACE]",
        cost: "O(N) where N is the number of functions on the payload.",
        summary: "Restores all libraries from a payload.",
        ..BRINGS
    },
    Spec {
        name: "STATS",
        run: stats,
        arity: Exactly(2),
        flags: Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
        tips: tips::SHARDS_DIFFER,
        summary: "Returns information about a function during execution.",
        ..ROW
    },
];

const HELP: &[&str] = &[
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <kind::FUNCTION NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Library description",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of failure",
    "      in case of functions name collision with another library).",
];

// ---- calling ------------------------------------------------------------------------------------------------------

fn fcall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    run(ctx, args, false)
}

fn fcall_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    run(ctx, args, true)
}

fn run(ctx: &mut Ctx<'_>, args: Args<'_>, is_readonly: bool) -> Result<()> {
    super::show_monitors(ctx, args);
    let (engine, worker) = (ctx.engine, ctx.client.worker());
    // Libraries change meanwhile, unless one is alone.
    engine.alone(worker, ctx.now, |now| {
        ctx.now = now;
        let libraries = engine.functions.libraries();
        let (library, function) = libraries.function(args.word(1)).ok_or(Error::refused("Function not found"))?;
        let keys = args.int_or(2, Error::refused("Bad number of keys provided"))?;
        let call = Call::new(args, keys, is_readonly)?;
        call.admit(ctx, promises(function))?;
        let ran = Runtime::with(engine, |runtime| run_in(runtime, &call, ctx, &libraries, (library, function)));
        ran.unwrap_or_else(|error| Err(super::failed(&error)))
    })?
}

fn run_in(
    runtime: &mut Runtime,
    call: &Call<'_>,
    ctx: &mut Ctx<'_>,
    libraries: &Arc<Libraries>,
    (library, function): (&Library, &Function),
) -> Result<()> {
    let engine = ctx.engine;
    runtime.follow(libraries).map_err(|error| super::failed(&error))?;
    let callback = runtime.callback(library, function)?;
    let began = engine.clock.micros();
    let called = Called::new(&function.name, call.args, began);
    let (name, promises) = (function.name.as_bytes(), promises(function));
    let run = || call.run_in(&mut runtime.interpreter, Run::Function(&callback), ctx, name, promises, began);
    engine.scripts.run_function(called, super::patience_ends(engine, began), run)
}

/// Whether a function has promised to change nothing.
pub(super) fn changes_nothing(engine: &Engine, name: &[u8]) -> bool {
    engine.functions.libraries().function(name).is_some_and(|(_, function)| promises(function).no_writes)
}

// ---- changing what is there ---------------------------------------------------------------------------------------

fn load(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let last = args.len() - 1;
    for at in 2..last {
        if !args.is(at, "REPLACE") {
            let given = String::from_utf8_lossy(args.word(at)).into_owned();
            return Err(Error::Refused(format!("Unknown option given: {given}").into()));
        }
    }
    let (functions, replaces) = (&ctx.engine.functions, last > 2);
    let loaded = Runtime::with(ctx.engine, |runtime| {
        let (libraries, number) = (functions.libraries(), functions.next_number());
        runtime.follow(&libraries).map_err(|error| super::failed(&error))?;
        // Whoever would be refused anyway is refused before its text runs.
        let admits = |name: &str| match libraries.library(name.as_bytes()) {
            Some(_) if !replaces => Err(Error::Refused(format!("Library '{name}' already exists").into())),
            _ => Ok(()),
        };
        let library = runtime.load(number, args.word(last), admits)?;
        let name = library.name.clone();
        functions.load(library, replaces).inspect_err(|_| runtime.forget(number))?;
        Ok(name)
    });
    let name = loaded.map_err(|error| super::failed(&error))??;
    ctx.reply.bulk(name.as_bytes());
    Ok(())
}

fn delete(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if !ctx.engine.functions.delete(args.word(2)) {
        return Err(Error::refused("Library not found"));
    }
    ctx.reply.ok();
    Ok(())
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    match args.len() {
        2 => {}
        3 if args.is(2, "ASYNC") || args.is(2, "SYNC") => {}
        3 => return Err(Error::refused("FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => return Err(wrong_count("FUNCTION", args.word(1))),
    }
    ctx.engine.functions.flush();
    ctx.reply.ok();
    Ok(())
}

fn dump(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let mut out = Vec::new();
    for library in ctx.engine.functions.libraries().iter() {
        out.push(kind::FUNCTION);
        rdb::put_string(&mut out, &library.code);
    }
    rdb::seal(&mut out);
    ctx.reply.bulk(&out);
    Ok(())
}

fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    if args.len() > 4 {
        return Err(wrong_count("FUNCTION", args.word(1)));
    }
    let how = match args.get(3) {
        None => Restoring::Append,
        Some(_) if args.is(3, "APPEND") => Restoring::Append,
        Some(_) if args.is(3, "REPLACE") => Restoring::Replace,
        Some(_) if args.is(3, "FLUSH") => Restoring::Flush,
        Some(_) => {
            return Err(Error::refused("Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."));
        }
    };
    let payload = rdb::unseal(args.word(2)).ok_or(Error::refused("DUMP payload version or checksum are wrong"))?;
    let (engine, most) = (ctx.engine, ctx.engine.hot.bulk_max());
    put_all(engine, how, |make| read_dump(Reader::new(payload), most, make))?;
    ctx.reply.ok();
    Ok(())
}

/// Puts libraries in that were in a snapshot; those of the same names go.
pub fn put_libraries(engine: &Engine, codes: &[Vec<u8>]) -> Result<()> {
    if codes.is_empty() {
        return Ok(());
    }
    put_all(engine, Restoring::Replace, |make| {
        let mut libraries = Libraries::default();
        codes.iter().try_for_each(|code| libraries.put(make(code)?, false))?;
        Ok(libraries)
    })
}

/// Puts many libraries in, or none: those that `read` has made of their texts.
fn put_all(
    engine: &Engine,
    how: Restoring,
    read: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<Library>) -> Result<Libraries>,
) -> Result<()> {
    let put = Runtime::with(engine, |runtime| {
        runtime.follow(&engine.functions.libraries()).map_err(|error| super::failed(&error))?;
        runtime.allow(RESTORING_MAX);
        let mut numbers = Vec::new();
        let read = read(&mut |code| {
            let number = engine.functions.next_number();
            numbers.push(number);
            runtime.load(number, code, |_| Ok(()))
        });
        let result = read.and_then(|libraries| engine.functions.restore(libraries, how));
        if result.is_err() {
            numbers.into_iter().for_each(|number| runtime.forget(number));
        }
        result
    });
    put.map_err(|error| super::failed(&error))?
}

/// Reads the libraries of a dump, each made of its text by `make`.
fn read_dump(mut reader: Reader<'_>, most: usize, mut make: impl FnMut(&[u8]) -> Result<Library>) -> Result<Libraries> {
    let mut libraries = Libraries::default();
    while !reader.is_done() {
        let code = match reader.byte() {
            Some(kind::FUNCTION) => reader.string(most).ok_or(Error::refused("Failed loading library payload"))?,
            Some(kind::OLD_FUNCTION) => read_early(&mut reader, most)
                .ok_or(Error::refused("failed loading the given functions payload"))?
                .into(),
            _ => return Err(Error::refused("given type is not a function")),
        };
        libraries.put(make(&code)?, false)?;
    }
    Ok(libraries)
}

/// A library whose name, engine and perhaps description stand before its text.
fn read_early(reader: &mut Reader<'_>, most: usize) -> Option<Vec<u8>> {
    let (name, engine) = (reader.string(most)?, reader.string(most)?);
    if reader.count()? > 0 {
        reader.string(most)?;
    }
    let text = reader.string(most)?;
    Some([b"#!", &*engine, b" name=", &*name, b"\n", &*text].concat())
}

// ---- telling ------------------------------------------------------------------------------------------------------

fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<()> {
    let (mut pattern, mut with_code, mut at) = (None, false, 2);
    while at < args.len() {
        if !with_code && args.is(at, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && args.is(at, "LIBRARYNAME") {
            at += 1;
            pattern = Some(args.get(at).ok_or(Error::refused("library name argument was not given"))?);
        } else {
            let given = String::from_utf8_lossy(args.word(at)).replace(['\r', '\n'], " ");
            return Err(Error::Refused(format!("Unknown argument {given}").into()));
        }
        at += 1;
    }
    let libraries = ctx.engine.functions.libraries();
    let is_meant =
        |library: &&Arc<Library>| pattern.is_none_or(|pattern| glob::matches(pattern, library.name.as_bytes(), true));
    ctx.reply.array(libraries.iter().filter(is_meant).count());
    libraries.iter().filter(is_meant).for_each(|library| show(&mut ctx.reply, library, with_code));
    Ok(())
}

fn show(reply: &mut Reply<'_>, library: &Library, with_code: bool) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(ENGINE.as_bytes());
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(function.name.as_bytes());
        reply.bulk(b"description");
        reply.bulk_or_null(function.description.as_deref());
        reply.bulk(b"flags");
        reply.set(function.flags.len());
        function.flags.iter().for_each(|flag| reply.simple(flag));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.code);
    }
}

fn stats(ctx: &mut Ctx<'_>, _: Args<'_>) -> Result<()> {
    let (engine, reply) = (ctx.engine, &mut ctx.reply);
    let called = engine.scripts.called();
    if called.is_none() && engine.scripts.is_running() {
        return Err(Error::Busy);
    }
    reply.map(2);
    reply.bulk(b"running_script");
    match called {
        None => reply.null(),
        Some(called) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(called.name.as_bytes());
            reply.bulk(b"command");
            reply.array(called.words.args().len());
            // It is somebody else's request.
            called.words.args().iter().for_each(|word| reply.bulk(&engine.records().redacted(word)));
            reply.bulk(b"duration_ms");
            reply.int((engine.clock.micros().saturating_sub(called.began) / 1000) as i64);
        }
    }
    let (libraries, functions) = engine.functions.libraries().counts();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(ENGINE.as_bytes());
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.count(libraries);
    reply.bulk(b"functions_count");
    reply.count(functions);
    Ok(())
}
