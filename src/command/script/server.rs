//! The server as a script sees it: commands whose replies are values.

use std::cell::RefCell;

use mlua::{BString, Either, Function, Lua, MultiValue, Table, Value};
use scoped_tls_hkt::scoped_thread_local;

use super::args::{self, number, raise_reply};
use super::convert;
use super::interpreter::{Fallen, KILLED, unlimited};
use crate::clock::{Millis, Ttl};
use crate::command::{self, Client, Ctx, Flags, Flow, Found, Spec, acl, tracking};
use crate::engine::Engine;
use crate::error::Error;
use crate::num::Double;
use crate::resp::{Args, Reply, Version, Words, error_of};

/// See the module's text.
pub(super) struct Server<'a> {
    pub engine: &'a Engine,
    pub client: &'a mut Client,
    pub now: Millis,
    /// The version of the replies that the script asked for.
    pub speaks: Version,
    /// The script may not change data.
    pub is_readonly: bool,
    /// There was no memory to be had when it began, and it has not said that it needs none.
    pub is_short_of_memory: bool,
    /// What ran the script, and its words.
    pub called: (&'static Spec, Args<'a>),
    /// What DEBUG SLEEP asked for in all.
    pub slept: Ttl,
    pub desk: Desk,
}

/// Room for one command, from one to the next.
#[derive(Default)]
pub(super) struct Desk {
    words: Words,
    /// A reply, before it is a value.
    reply: Vec<u8>,
}

impl Desk {
    /// The room that is worth keeping until the next script.
    pub fn cleared(mut self) -> Desk {
        /// Bytes of words and of replies.
        const KEPT: usize = 64 * 1024;
        self.words.clear();
        self.reply.clear();
        match self.words.heap().max(self.reply.capacity()) <= KEPT {
            true => self,
            false => Desk::default(),
        }
    }
}

// The server of the script that runs on this thread. An interpreter calls back through C, which does not hand it on, and to
// make functions anew for each script that know it costs as much as a short script does.
scoped_thread_local!(static LENT: for<'a> &'a (dyn Serve + 'a));

/// What a script may ask for, but to run a command.
#[derive(Clone, Copy)]
enum Wish {
    SetVersion,
    MayRun,
}

/// A command as a script gives it. Of what may be anything mlua makes a value with a place of its own, which costs more than
/// many a command, so its name is read where it lies.
type Given = (Either<BString, Value>, MultiValue);

trait Serve {
    fn call(&self, lua: &Lua, tries: bool, echo: &Function, given: Given) -> mlua::Result<Value>;
    fn serve(&self, wish: Wish, values: MultiValue) -> mlua::Result<Value>;
}

impl Serve for RefCell<Server<'_>> {
    fn call(&self, lua: &Lua, tries: bool, echo: &Function, given: Given) -> mlua::Result<Value> {
        let mut server = self.try_borrow_mut().map_err(|_| mlua::Error::RecursiveMutCallback)?;
        server.call(lua, tries, echo, given)
    }

    fn serve(&self, wish: Wish, values: MultiValue) -> mlua::Result<Value> {
        let mut server = self.try_borrow_mut().map_err(|_| mlua::Error::RecursiveMutCallback)?;
        match wish {
            Wish::SetVersion => server.set_version(&values).map(|()| Value::Nil),
            Wish::MayRun => server.may_run(values).map(Value::Boolean),
        }
    }
}

/// Lends a server to what `f` runs.
pub(super) fn lend<R>(server: &RefCell<Server<'_>>, f: impl FnOnce() -> R) -> R {
    LENT.set(server, f)
}

/// Puts the functions of the server that is lent into a table.
pub(super) fn put_functions(lua: &Lua, table: &Table, fallen: &Fallen) -> mlua::Result<()> {
    let echo: Function = lua.globals().raw_get("assert")?;
    for (name, tries) in [("call", false), ("pcall", true)] {
        let (guard, echo) = (fallen.clone(), echo.clone());
        let function = lua.create_function(move |lua, given| {
            guard.guard(|| with_lent(|server| server.call(lua, tries, &echo, given)))
        })?;
        table.raw_set(name, function)?;
    }
    for (name, wish) in [("setresp", Wish::SetVersion), ("acl_check_cmd", Wish::MayRun)] {
        let guard = fallen.clone();
        let function =
            lua.create_function(move |_, values| guard.guard(|| with_lent(|server| server.serve(wish, values))))?;
        table.raw_set(name, function)?;
    }
    Ok(())
}

fn with_lent<R>(f: impl FnOnce(&dyn Serve) -> mlua::Result<R>) -> mlua::Result<R> {
    match LENT.is_set() {
        true => LENT.with(|server| f(server)),
        false => Err(raise_reply("ERR There is no server now")),
    }
}

impl Server<'_> {
    /// Runs a command and gives its reply. One that is an error is raised, or given as a value to who tries.
    fn call(&mut self, lua: &Lua, tries: bool, echo: &Function, given: Given) -> mlua::Result<Value> {
        let mut desk = std::mem::take(&mut self.desk);
        desk.words.clear();
        desk.reply.clear();
        let read = read_command(lua, given, echo, self.engine.hot.gathered_max(), &mut desk.words)?;
        let ran = read.and_then(|()| self.dispatch(&desk.words, &mut desk.reply));
        let result = match ran {
            Err(text) => Err(text.into_bytes()),
            Ok(()) => match error_of(&desk.reply) {
                Some(text) => Err(text.to_vec()),
                None => Ok(convert::to_lua(lua, &desk.reply)),
            },
        };
        self.desk = desk;
        match result {
            Ok(value) => value,
            Err(text) if tries => unlimited(lua, text.len(), || convert::field(lua, "err", &text)),
            Err(text) => Err(raise_reply(text)),
        }
    }

    /// Checks and runs a command; its reply is written to `out`.
    fn dispatch(&mut self, words: &Words, out: &mut Vec<u8>) -> Result<(), String> {
        let (engine, args) = (self.engine, words.args());
        let found = command::lookup(args).map_err(|error| match error {
            Error::Arity(_) => "ERR Wrong number of args calling Redis command from script".to_owned(),
            _ => "ERR Unknown Redis command called from script".to_owned(),
        })?;
        let rights = |_| Ok(acl::admit_scripted(engine, self.client, found, args, self.now)?);
        let admitted = self.check(found).and_then(rights);
        if admitted.is_err() {
            engine.metrics.block(self.client.worker()).calls(found.number).rejected.add(1);
        }
        admitted?;
        if engine.clients.has_monitors() && !found.spec.flags.has(Flags::SKIP_MONITOR.and(Flags::ADMIN)) {
            command::show_monitors(engine, self.client, found, args, "lua");
        }
        if found.spec.flags.has(Flags::WRITE) {
            engine.scripts.set_written();
        }
        if engine.tracking.is_on() && tracking::is_noted(self.client, found.spec) {
            // As in Redis 7.0: who runs a script that reads anything keeps what it makes of the keys that it has named.
            let (spec, args) = self.called;
            tracking::note(engine, self.client, spec, args, self.now);
        }
        self.client.version = self.speaks;
        self.client.flow = Flow::Go;
        // It is sent to nobody.
        let most = found.spec.reply_max(engine.hot.gathered_max());
        let reply = Reply::within(out, self.speaks, most);
        let mut ctx =
            Ctx { engine, client: self.client, now: self.now, reply, spec: found.spec, ahead: None, is_scripted: true };
        let waited = std::mem::replace(&mut ctx.client.never_waits, true);
        let result = (found.spec.run)(&mut ctx, args);
        let result = ctx.reply.outcome(result);
        ctx.client.never_waits = waited;
        if let Flow::Sleep(ttl) = ctx.client.flow {
            self.slept = Ttl(self.slept.0.saturating_add(ttl.0));
        }
        let block = engine.metrics.block(ctx.client.worker());
        let failed = result.is_err();
        if let Err(error) = result {
            ctx.reply.rewind(0);
            ctx.reply.error(&error);
            block.refuse(error.faces().0);
        }
        let ended = engine.clock.micros();
        let calls = block.calls(found.number);
        calls.took(ended.saturating_sub(self.client.lap));
        calls.failed.add(u64::from(failed));
        self.client.lap = ended;
        // Between two looks of the interpreter there may be thousands of commands.
        match engine.scripts.look(ended, || engine.clock.micros()) {
            true => Err(format!("ERR {KILLED}")),
            false => Ok(()),
        }
    }

    /// Whether a script may run the command now.
    fn check(&self, found: &Found) -> Result<(), String> {
        let flags = found.spec.flags;
        // Its interpreter is busy with the script that asks.
        let may_run_all = self.engine.scripts.may_run_all() && !found.spec.runs_script();
        if flags.has(Flags::NOSCRIPT) && !may_run_all {
            return Err("ERR This Redis command is not allowed from script".to_owned());
        }
        if self.is_readonly && flags.has(Flags::WRITE.and(Flags::MAY_REPLICATE)) {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        // Half a change is worse than a little memory too much, but not than much.
        let is_short = || {
            self.is_short_of_memory && !self.engine.scripts.has_written() || !self.engine.makes_room_for(0, self.now)
        };
        if flags.has(Flags::DENYOOM) && is_short() {
            let error = Error::OutOfMemory;
            return Err(format!("{} {error}", error.faces().0));
        }
        Ok(())
    }

    /// `redis.setresp`: the version of replies from now on.
    fn set_version(&mut self, values: &MultiValue) -> mlua::Result<()> {
        if values.len() != 1 {
            return Err(raise_reply("ERR redis.setresp() requires one argument."));
        }
        self.speaks = match values.front().and_then(number) {
            Some(2.0) => Version::Resp2,
            Some(3.0) => Version::Resp3,
            _ => return Err(raise_reply("ERR RESP version must be 2 or 3.")),
        };
        Ok(())
    }

    /// `redis.acl_check_cmd`: whether the client may run a command.
    fn may_run(&self, values: MultiValue) -> mlua::Result<bool> {
        let mut words = Words::new();
        read_words(values, self.engine.hot.gathered_max(), &mut words).map_err(raise_reply)?;
        match command::lookup(words.args()) {
            Ok(found) => Ok(acl::may_run(self.engine, self.client, found, words.args())),
            Err(_) => Err(raise_reply("ERR Invalid command passed to redis.acl_check_cmd()")),
        }
    }
}

/// `redis.log`: a level, and words that are one message.
pub(super) fn log(values: &MultiValue) -> mlua::Result<()> {
    if values.len() < 2 {
        return Err(raise_reply("ERR redis.log() requires two arguments or more."));
    }
    let Some(level) = values.front().and_then(number) else {
        return Err(raise_reply("ERR First argument must be a number (log level)."));
    };
    let words = values.iter().skip(1).filter(|value| matches!(args::kind(value), "string" | "number"));
    let mut text = String::new();
    for word in words.filter_map(|value| value.to_string().ok()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word);
        if text.len() > LOGGED_MAX {
            text.truncate(text.floor_char_boundary(LOGGED_MAX));
            break;
        }
    }
    match level as i64 {
        0 | 1 => tracing::debug!(target: "script", "{text}"),
        2 => tracing::info!(target: "script", "{text}"),
        3 => tracing::warn!(target: "script", "{text}"),
        _ => return Err(raise_reply("ERR Invalid debug level.")),
    }
    Ok(())
}

/// Bytes of a message that a script may log.
const LOGGED_MAX: usize = 64 * 1024;

const NO_WORD: &str = "ERR Please specify at least one argument for this redis lib call";
const NOT_A_WORD: &str = "ERR Lua redis lib command arguments must be strings or integers";

const TOO_LARGE: &str = "ERR the words of this command are larger than a quarter of 'maxmemory'";

/// Reads the words of a command, which may take so many bytes.
fn read_words(values: MultiValue, most: usize, words: &mut Words) -> Result<(), String> {
    if values.is_empty() {
        return Err(NO_WORD.to_owned());
    }
    values.iter().try_for_each(|value| read_word(value, most, words))
}

fn read_word(value: &Value, most: usize, words: &mut Words) -> Result<(), String> {
    // One text may be many of them.
    if words.size() > most {
        return Err(TOO_LARGE.to_owned());
    }
    match value {
        Value::String(text) => words.push(&text.as_bytes()),
        Value::Integer(number) => words.push(itoa::Buffer::new().format(*number).as_bytes()),
        Value::Number(number) => words.push(Double(*number).to_string().as_bytes()),
        _ => return Err(NOT_A_WORD.to_owned()),
    }
    Ok(())
}

/// Reads the words of a command of which the name has been read. Texts among the others, if they are few, go through a function
/// that gives back what it is given, as what Lua gives back is read where it lies: to look at a value's bytes counts it
/// twice more and takes memory.
fn read_command(
    lua: &Lua,
    (name, others): Given,
    echo: &Function,
    most: usize,
    words: &mut Words,
) -> mlua::Result<Result<(), String>> {
    /// Words that are read where they lie.
    const FEW: usize = 6;
    match name {
        Either::Left(name) => words.push(&name),
        Either::Right(Value::Nil) if others.is_empty() => return Ok(Err(NO_WORD.to_owned())),
        Either::Right(_) => return Ok(Err(NOT_A_WORD.to_owned())),
    }
    if others.is_empty() {
        return Ok(Ok(()));
    }
    // All of them may be the same.
    let are_short = lua.used_memory() <= most / FEW;
    if others.len() > FEW || !are_short || !others.iter().all(|value| matches!(value, Value::String(_))) {
        return Ok(others.iter().try_for_each(|value| read_word(value, most, words)));
    }
    type Few = Option<BString>;
    let (one, two, three, four, five, six) = echo.call::<(Few, Few, Few, Few, Few, Few)>(others)?;
    [one, two, three, four, five, six].into_iter().flatten().for_each(|text| words.push(&text));
    Ok(Ok(()))
}
