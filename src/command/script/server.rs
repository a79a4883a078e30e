//! The server as a script sees it: commands whose replies are values.

use mlua::{Lua, MultiValue, Value};

use super::args;
use super::convert;
use crate::clock::Millis;
use crate::command::{self, Client, Ctx, Flags, Flow, Found};
use crate::engine::Engine;
use crate::error::Error;
use crate::num::Double;
use crate::resp::{Reply, Version, Words};

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
    /// Replies, before they are values.
    pub scratch: Vec<u8>,
}

impl Server<'_> {
    /// Runs a command. Gives whether it failed, and the reply.
    pub fn call(&mut self, lua: &Lua, values: MultiValue) -> mlua::Result<(bool, Value)> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let ran = words(values, "this redis lib call").and_then(|words| self.dispatch(&words, &mut scratch));
        let result = match ran {
            Err(text) => convert::field(lua, "err", text).map(|error| (true, error)),
            Ok(()) => match convert::error_text(&scratch) {
                Some(text) => {
                    lua.create_string(text).and_then(|text| convert::field(lua, "err", text)).map(|error| (true, error))
                }
                None => convert::to_lua(lua, &scratch).map(|value| (false, value)),
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
        if engine.clients.has_monitors() && !found.spec.flags.has(Flags::SKIP_MONITOR.and(Flags::ADMIN)) {
            command::show_monitors(engine, self.client, &found, args, "lua");
        }
        if found.spec.flags.has(Flags::WRITE) {
            engine.scripts.set_written();
        }
        self.client.version = self.speaks;
        self.client.flow = Flow::Go;
        let reply = Reply::new(out, self.speaks);
        let mut ctx = Ctx { engine, client: self.client, now: self.now, reply, spec: found.spec, ahead: None };
        let result = (found.spec.run)(&mut ctx, args);
        let block = engine.metrics.block(ctx.client.worker);
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
        Ok(())
    }

    /// Whether a script may run the command now.
    fn check(&self, found: &Found) -> Result<(), String> {
        let flags = found.spec.flags;
        if flags.has(Flags::NOSCRIPT) {
            return Err("ERR This Redis command is not allowed from script".to_owned());
        }
        if self.is_readonly && flags.has(Flags::WRITE) {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        // Half a change is worse than a little memory too much.
        if self.is_short_of_memory && flags.has(Flags::DENYOOM) && !self.engine.scripts.has_written() {
            let error = Error::OutOfMemory;
            return Err(format!("{} {error}", error.faces().0));
        }
        Ok(())
    }

    /// What scripts ask beside commands. Gives whether it worked, and the answer.
    pub fn ask(&mut self, mut values: MultiValue) -> (bool, Value) {
        let topic = values.pop_front().and_then(|topic| topic.to_string().ok()).unwrap_or_default();
        match topic.as_str() {
            "setresp" => {
                let is_3 = values.front().and_then(Value::as_f64) == Some(3.0);
                self.speaks = if is_3 { Version::Resp3 } else { Version::Resp2 };
                (true, Value::Nil)
            }
            "log" => {
                let level = values.front().and_then(Value::as_f64).unwrap_or_default();
                let text = values.get(1).and_then(|text| text.to_string().ok()).unwrap_or_default();
                match level as u8 {
                    0 | 1 => tracing::debug!(target: "script", "{text}"),
                    2 => tracing::info!(target: "script", "{text}"),
                    _ => tracing::warn!(target: "script", "{text}"),
                }
                (true, Value::Nil)
            }
            // Whoever may run scripts may run what they run.
            "may" => match words(values, "this redis lib call") {
                Ok(words) => (command::lookup(words.args()).is_ok(), Value::Boolean(true)),
                Err(_) => (false, Value::Nil),
            },
            _ => (false, Value::Nil),
        }
    }
}

/// The words of a command.
fn words(values: MultiValue, what: &str) -> Result<Words, String> {
    if values.is_empty() {
        return Err(format!("ERR Please specify at least one argument for {what}"));
    }
    let mut words = Words::new();
    for value in &values {
        match value {
            Value::String(text) => words.push(&text.as_bytes()),
            Value::Integer(number) => words.push(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Number(number) => words.push(Double(*number).to_string().as_bytes()),
            other => {
                debug_assert!(args::kind(other) != "string");
                return Err("ERR Lua redis lib command arguments must be strings or integers".to_owned());
            }
        }
    }
    Ok(words)
}
