//! The server as a script sees it: commands whose replies are values.

use mlua::{Lua, MultiValue, Value};

use super::args::{self, number, raise_reply};
use super::convert;
use super::interpreter::KILLED;
use crate::clock::Millis;
use crate::command::{self, Client, Ctx, Flags, Flow, Found, Spec, acl, tracking};
use crate::engine::Engine;
use crate::error::Error;
use crate::num::Double;
use crate::resp::{Args, Reply, Version, Words};

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
    /// Replies, before they are values.
    pub scratch: Vec<u8>,
}

impl Server<'_> {
    /// Runs a command and gives its reply; one that is an error is raised.
    pub fn call(&mut self, lua: &Lua, values: MultiValue) -> mlua::Result<Value> {
        self.reply(lua, values)?.map_err(raise_reply)
    }

    /// Runs a command and gives its reply, be it an error.
    pub fn try_call(&mut self, lua: &Lua, values: MultiValue) -> mlua::Result<Value> {
        match self.reply(lua, values)? {
            Ok(value) => Ok(value),
            Err(text) => convert::field(lua, "err", lua.create_string(text)?),
        }
    }

    fn reply(&mut self, lua: &Lua, values: MultiValue) -> mlua::Result<Result<Value, Vec<u8>>> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let ran = words(values).and_then(|words| self.dispatch(&words, &mut scratch));
        let result = match ran {
            Err(text) => Ok(Err(text.into_bytes())),
            Ok(()) => match convert::error_text(&scratch) {
                Some(text) => Ok(Err(text.to_vec())),
                None => convert::to_lua(lua, &scratch).map(Ok),
            },
        };
        self.scratch = scratch;
        result
    }

    /// Checks and runs a command; its reply is written to `out`.
    fn dispatch(&mut self, words: &Words, out: &mut Vec<u8>) -> Result<(), String> {
        let (engine, args) = (self.engine, words.args());
        let found = command::lookup(args).map_err(|error| match error {
            Error::Arity(_) => "ERR Wrong number of args calling Redis command from script".to_owned(),
            _ => "ERR Unknown Redis command called from script".to_owned(),
        })?;
        self.check(&found)?;
        acl::admit_scripted(engine, self.client, &found, args, self.now)?;
        if engine.clients.has_monitors() && !found.spec.flags.has(Flags::SKIP_MONITOR.and(Flags::ADMIN)) {
            command::show_monitors(engine, self.client, &found, args, "lua");
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
        let reply = Reply::new(out, self.speaks);
        let mut ctx =
            Ctx { engine, client: self.client, now: self.now, reply, spec: found.spec, ahead: None, is_scripted: true };
        let waited = std::mem::replace(&mut ctx.client.never_waits, true);
        let result = (found.spec.run)(&mut ctx, args);
        ctx.client.never_waits = waited;
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
        if flags.has(Flags::NOSCRIPT) && !self.engine.scripts.may_run_all() {
            return Err("ERR This Redis command is not allowed from script".to_owned());
        }
        if self.is_readonly && flags.has(Flags::WRITE.and(Flags::MAY_REPLICATE)) {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        // Half a change is worse than a little memory too much.
        if self.is_short_of_memory && flags.has(Flags::DENYOOM) && !self.engine.scripts.has_written() {
            let error = Error::OutOfMemory;
            return Err(format!("{} {error}", error.faces().0));
        }
        Ok(())
    }

    /// `redis.setresp`: the version of replies from now on.
    pub fn set_version(&mut self, values: &MultiValue) -> mlua::Result<()> {
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
    pub fn may_run(&self, values: MultiValue) -> mlua::Result<bool> {
        let words = words(values).map_err(raise_reply)?;
        match command::lookup(words.args()) {
            Ok(found) => Ok(acl::may_run(self.engine, self.client, &found, words.args())),
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
    let words: Vec<String> = values
        .iter()
        .skip(1)
        .filter(|value| matches!(args::kind(value), "string" | "number"))
        .filter_map(|value| value.to_string().ok())
        .collect();
    let text = words.join(" ");
    match level as i64 {
        0 | 1 => tracing::debug!(target: "script", "{text}"),
        2 => tracing::info!(target: "script", "{text}"),
        3 => tracing::warn!(target: "script", "{text}"),
        _ => return Err(raise_reply("ERR Invalid debug level.")),
    }
    Ok(())
}

/// The words of a command.
fn words(values: MultiValue) -> Result<Words, String> {
    if values.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call".to_owned());
    }
    let mut words = Words::new();
    for value in &values {
        match value {
            Value::String(text) => words.push(&text.as_bytes()),
            Value::Integer(number) => words.push(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Number(number) => words.push(Double(*number).to_string().as_bytes()),
            _ => return Err("ERR Lua redis lib command arguments must be strings or integers".to_owned()),
        }
    }
    Ok(words)
}
