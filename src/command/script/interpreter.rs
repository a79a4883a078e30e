//! A Lua state that has learnt what Redis' scripts may do, and nothing else.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::iter::once;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use mlua::chunk::ChunkMode;
use mlua::{
    Either, FromLuaMulti, Function, HookTriggers, IntoLua, Lua, LuaOptions, MultiValue, StdLib, Table, Value, Variadic,
    VmState,
};
use parking_lot::Mutex;

use super::args::{Arguments, answer, number, raise_reply, raised};
use super::bounds::Bounds;
use super::convert::{self, Names};
use super::random::Random;
use super::server::Desk;
use super::shebang::FLAGS;
use super::{bit, msgpack, pack, server, sha1};
use crate::clock::Clock;
use crate::command::connection::REDIS_VERSION;
use crate::engine::{self, Running, Sha};
use crate::resp::Args;

/// Bytes that the scripts of one worker may hold. While there is a limit, whatever Rust does with a state is a protected
/// call, so there is one only while a script runs and while Rust makes what may be large.
const MEMORY_MAX: usize = 512 * 1024 * 1024;

/// Bytes that a script may hold however little there is: less than any use has been found for.
const MEMORY_MIN: usize = 8 * 1024 * 1024;
/// Bytes that Rust may make into values without a limit. What takes 4 bytes of a reply, as a list of nothing does, takes 72 in
/// Lua.
const UNLIMITED_MAX: usize = 1024 * 1024;

/// Bytes after a script at which a state is thrown away: it is mostly garbage.
const MEMORY_KEPT: usize = 64 * 1024 * 1024;

/// Steps in which it is said how many bytes a state holds: each script changes it, and to say so counts for all workers.
const STEP: usize = 64 * 1024;

/// Scripts that a state keeps compiled.
const COMPILED_MAX: usize = 1000;

/// Instructions between two looks at the clock: some tens of microseconds.
const INSTRUCTIONS: u32 = 10_000;

/// What is said of a script that was ended.
pub(super) const KILLED: &str = "Script killed by user with SCRIPT KILL.";

/// What a script is called in messages.
const NAME: &str = "@user_script";

/// See the module's text.
pub(super) struct Interpreter {
    pub lua: Lua,
    /// What its texts are called in messages.
    name: &'static str,
    run: Function,
    pub names: Names,
    /// What a server works with, until the next one.
    pub desk: Desk,
    /// Functions that load a library, find a callback of one, and forget one.
    load: Function,
    callback: Function,
    forget: Function,
    /// Scripts, and the number of each.
    scripts: Vec<Function>,
    compiled: HashMap<Sha, usize, RandomState>,
    /// The line at which a script was ended because somebody wanted so, one up; 0 if none was.
    killed_at: Arc<AtomicUsize>,
    fallen: Fallen,
    pub bounds: Bounds,
    /// Bytes that are held, if they were looked at since the last run.
    used: Cell<Option<usize>>,
}

/// A panic that a script has met in something it called. Lua must not see it: a script could catch it and go on, and what
/// handles errors would meet it again at each look.
#[derive(Clone, Default)]
pub(super) struct Fallen(Arc<Met>);

#[derive(Default)]
struct Met {
    /// There is one. Who asks is the one thread that runs the script.
    has: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Fallen {
    /// Calls something for a script. Once that has panicked the script gets nothing any more.
    pub fn guard<R>(&self, f: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
        if !self.0.has.load(Ordering::Relaxed) {
            match catch_unwind(AssertUnwindSafe(f)) {
                Ok(result) => return result,
                Err(panic) => {
                    *self.0.panic.lock() = Some(panic);
                    self.0.has.store(true, Ordering::Relaxed);
                }
            }
        }
        Err(mlua::Error::runtime("ERR a handler panicked"))
    }

    /// Goes on with the panic where no Lua is in between.
    fn resume(&self) {
        if self.0.has.load(Ordering::Relaxed) {
            self.0.has.store(false, Ordering::Relaxed);
            let panic = self.0.panic.lock().take();
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
        }
    }
}

/// What an interpreter runs.
#[derive(Clone, Copy)]
pub(super) enum Run<'a> {
    /// The script of this number.
    Script(usize),
    /// A function of a library.
    Function(&'a Function),
}

/// A word on its way to Lua: one that is a `str` is copied there at once, and needs no place of its own before.
type Word<'a> = Either<&'a str, Other<'a>>;

enum Other<'a> {
    Bytes(&'a [u8]),
    /// No word, but what comes behind the last one: from here on the state may hold so many bytes.
    Limit(usize),
}

impl IntoLua for Other<'_> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Other::Bytes(bytes) => lua.create_string(bytes).map(Value::String),
            Other::Limit(most) => lua.set_memory_limit(most).map(|_| Value::Nil),
        }
    }
}

fn word(bytes: &[u8]) -> Word<'_> {
    str::from_utf8(bytes).map_or(Either::Right(Other::Bytes(bytes)), Either::Left)
}

/// What a run gives back. Its end is the end of the limit, which is cheap to say as long as the state is in hand.
struct Back {
    values: MultiValue,
    /// Bytes that the state holds.
    used: usize,
}

impl FromLuaMulti for Back {
    fn from_lua_multi(values: MultiValue, lua: &Lua) -> mlua::Result<Back> {
        lua.set_memory_limit(0)?;
        Ok(Back { values, used: lua.used_memory() })
    }
}

/// How a script ended.
pub(super) enum Ending {
    /// With a value.
    Value(Value),
    /// With a table that is a reply for its elements alone.
    Plain(Table),
    /// With such a table of few elements, which are here.
    Elements(MultiValue),
    /// With an error, and where that was.
    Failed { text: Vec<u8>, place: Option<(String, usize)> },
}

impl Interpreter {
    pub fn new(running: Arc<Running>, clock: Clock) -> mlua::Result<Interpreter> {
        Interpreter::make(NAME, false, running, clock)
    }

    /// A state for libraries of functions, which are called so in messages.
    pub fn for_functions(name: &'static str, running: Arc<Running>, clock: Clock) -> mlua::Result<Interpreter> {
        Interpreter::make(name, true, running, clock)
    }

    fn make(name: &'static str, has_functions: bool, running: Arc<Running>, clock: Clock) -> mlua::Result<Interpreter> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let json: Function = chunk(&lua, "=cjson", include_str!("json.lua"))?;
        let sandbox: Function = chunk(&lua, "=redis", include_str!("sandbox.lua"))?;
        let fallen = Fallen::default();
        let bounds = Bounds::new(running.clone(), clock.clone(), MEMORY_MAX);
        let host = host(&lua, json, &fallen, &bounds)?;
        host.raw_set("has_functions", has_functions)?;
        host.raw_set("flags", FLAGS)?;
        let (environment, run, load, callback, forget): (Table, _, _, _, _) = sandbox.call(host)?;
        lua.set_globals(environment)?;
        let names = Names::new(&lua)?;
        let interpreter = Interpreter {
            lua,
            name,
            run,
            names,
            desk: Desk::default(),
            load,
            callback,
            forget,
            scripts: Vec::new(),
            compiled: HashMap::default(),
            killed_at: Arc::default(),
            fallen,
            bounds,
            used: Cell::default(),
        };
        interpreter.watch(running, clock)?;
        Ok(interpreter)
    }

    /// Looks at the clock while scripts run.
    fn watch(&self, running: Arc<Running>, clock: Clock) -> mlua::Result<()> {
        let killed_at = self.killed_at.clone();
        let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS);
        self.lua.set_global_hook(triggers, move |lua, place| {
            if !running.look(clock.micros(), || clock.micros()) {
                return Ok(VmState::Continue);
            }
            killed_at.store(place.current_line().unwrap_or_default() + 1, Ordering::Relaxed);
            // A script that catches the error hears it again at each line.
            let triggers = HookTriggers::new().every_line().every_nth_instruction(1);
            lua.set_global_hook(triggers, |_, _| Err(killed()))?;
            Err(killed())
        })
    }

    /// The number of a script that is compiled.
    pub fn compiled(&self, sha: &Sha) -> Option<usize> {
        self.compiled.get(sha).copied()
    }

    /// Compiles a text that is not yet; gives its number, or says what is wrong with it.
    pub fn compile(&mut self, sha: &Sha, text: &[u8]) -> Result<usize, String> {
        let function = self.chunk(text)?;
        if self.scripts.len() == COMPILED_MAX {
            self.scripts.clear();
            self.compiled.clear();
        }
        self.scripts.push(function);
        let number = self.scripts.len() - 1;
        self.compiled.insert(*sha, number);
        Ok(number)
    }

    /// A text as a function, or what is wrong with it.
    pub fn chunk(&self, text: &[u8]) -> Result<Function, String> {
        let chunk = self.lua.load(text).set_name(self.name).set_mode(ChunkMode::Text);
        // While Lua reads a text it holds things that its collector knows nothing of, so the collector rests.
        self.lua.gc_stop();
        let made = limited(&self.lua, self.bounds.most(), || chunk.into_function());
        self.lua.gc_restart();
        made.map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        })
    }

    /// Runs the text of a library, which registers its functions, until so many microseconds on the clock at most; a message
    /// is what went wrong.
    pub fn load(
        &self,
        chunk: Function,
        number: u64,
        ends: u64,
        running: &Arc<Running>,
        clock: &Clock,
    ) -> mlua::Result<Result<Vec<engine::Function>, String>> {
        let now = clock.clone();
        self.lua.set_global_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS), move |_, _| {
            match now.micros() < ends {
                true => Ok(VmState::Continue),
                false => Err(raise_reply("ERR FUNCTION LOAD timeout")),
            }
        })?;
        self.bounds.set_loading(ends.max(1));
        let loaded = limited(&self.lua, self.bounds.most(), || self.load.call::<Value>((chunk, number)));
        self.bounds.set_loading(0);
        self.watch(running.clone(), clock.clone())?;
        let Value::Table(list) = loaded.as_ref().map_err(Clone::clone)? else {
            return Ok(Err(loaded?.to_string()?));
        };
        let functions = list.sequence_values::<Table>().map(|registered| {
            let registered = registered?;
            let description = match registered.raw_get(2)? {
                Value::String(text) => Some(text.as_bytes().to_vec().into()),
                _ => None,
            };
            let set: Table = registered.raw_get(3)?;
            let mut flags = Vec::new();
            for (at, flag) in FLAGS.iter().enumerate() {
                if set.raw_get::<bool>(at + 1)? {
                    flags.push(*flag);
                }
            }
            Ok(engine::Function { name: registered.raw_get(1)?, description, flags })
        });
        functions.collect::<mlua::Result<_>>().map(Ok)
    }

    /// A function that a library has registered.
    pub fn callback(&self, library: u64, name: &str) -> mlua::Result<Function> {
        self.callback.call((library, name))
    }

    /// Forgets what a library has registered.
    pub fn forget(&self, library: u64) -> mlua::Result<()> {
        self.forget.call(library)
    }

    /// Runs something with these keys and arguments.
    pub fn run(&self, what: Run<'_>, keys: Args<'_>, argv: Args<'_>) -> mlua::Result<Ending> {
        // A word that is empty takes as much room in a table as one of so many bytes.
        const LEAST: usize = 16;
        // Words that Lua takes one after the other; more come in tables.
        const FEW: usize = 32;
        let (lua, most) = (&self.lua, self.bounds.most());
        let script = match what {
            Run::Script(number) => &self.scripts[number],
            Run::Function(function) => function,
        };
        let size = |words: Args<'_>| words.iter().map(|word| word.len() + LEAST).sum::<usize>();
        let is_small = size(keys) + size(argv) <= UNLIMITED_MAX;
        let result = if is_small && keys.len() + argv.len() <= FEW {
            let words = keys.iter().chain(argv.iter()).map(word);
            let words: Variadic<_> = words.chain(once(Either::Right(Other::Limit(most)))).collect();
            self.run.call::<(bool, u8, Back)>((script, keys.len(), words))
        } else {
            let tables = || Ok((convert::list(lua, keys)?, convert::list(lua, argv)?));
            let (keys, argv) = if is_small { tables() } else { limited(lua, most, tables) }?;
            limited(lua, most, || self.run.call((script, false, keys, argv)))
        };
        if result.is_err() {
            lua.set_memory_limit(0)?;
        }
        self.fallen.resume();
        if let Some(line) = self.killed_at.load(Ordering::Relaxed).checked_sub(1) {
            let text = format!("ERR {KILLED}").into_bytes();
            return Ok(Ending::Failed { text, place: Some((self.name.to_owned(), line)) });
        }
        let (worked, kind, Back { mut values, used }) = result?;
        self.used.set(Some(used));
        if worked && kind == 2 {
            return Ok(Ending::Elements(values));
        }
        match (worked, values.pop_front().unwrap_or(Value::Nil)) {
            (true, Value::Table(table)) if kind == 1 => Ok(Ending::Plain(table)),
            (true, value) => Ok(Ending::Value(value)),
            (false, Value::Table(problem)) => {
                let text = match problem.raw_get::<Value>("err")? {
                    Value::String(text) => text.as_bytes().to_vec(),
                    _ => b"ERR unknown error".to_vec(),
                };
                let place: (Option<String>, Option<usize>) = (problem.raw_get("source")?, problem.raw_get("line")?);
                Ok(Ending::Failed { text, place: place.0.zip(place.1) })
            }
            (false, problem) => {
                // No handler ran: there was no room for it.
                let text = problem.to_string().unwrap_or_default();
                Ok(Ending::Failed { text: format!("ERR {text}").into_bytes(), place: None })
            }
        }
    }

    /// The bytes of this state or a few more, if the next script may have it.
    pub fn kept(&self, maxmemory: u64) -> Option<usize> {
        let used = self.used.take().unwrap_or_else(|| self.lua.used_memory());
        let kept = MEMORY_KEPT.min(share(maxmemory));
        (self.killed_at.load(Ordering::Relaxed) == 0 && used < kept).then(|| used.next_multiple_of(STEP))
    }

    /// The same for a state that holds what would have to be made again: garbage is no reason to throw it away.
    pub fn kept_after_collecting(&self, maxmemory: u64) -> Option<usize> {
        self.kept(maxmemory).or_else(|| self.lua.gc_collect().ok().and_then(|()| self.kept(maxmemory)))
    }

    /// Lets scripts hold what they may where so much is there for all.
    pub fn limit(&self, maxmemory: u64) {
        self.bounds.set_most(MEMORY_MAX.min(share(maxmemory)));
    }
}

/// What of `maxmemory` a state may hold: scripts run one at a time, and beside them there must be room for data.
fn share(maxmemory: u64) -> usize {
    match maxmemory {
        0 => usize::MAX,
        bytes => usize::try_from(bytes / 4).unwrap_or(usize::MAX).max(MEMORY_MIN),
    }
}

/// Runs something while a state may hold so much and no more.
fn limited<R>(lua: &Lua, most: usize, f: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
    lua.set_memory_limit(most)?;
    let result = f();
    lua.set_memory_limit(0)?;
    result
}

/// Makes something of so many bytes for a script that runs: without its limit if that is little, and if the script has room.
pub(super) fn unlimited<R>(lua: &Lua, size: usize, f: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
    if size > UNLIMITED_MAX {
        return f();
    }
    let most = lua.set_memory_limit(0)?;
    if lua.used_memory() >= most {
        lua.set_memory_limit(most)?;
        return f();
    }
    let result = f();
    lua.set_memory_limit(most)?;
    result
}

fn killed() -> mlua::Error {
    mlua::Error::runtime(KILLED)
}

fn chunk(lua: &Lua, name: &str, text: &str) -> mlua::Result<Function> {
    lua.load(text).set_name(name).set_mode(ChunkMode::Text).into_function()
}

/// What Rust has to offer to the sandbox.
fn host(lua: &Lua, json: Function, fallen: &Fallen, bounds: &Bounds) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("json", json)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("bit", bit::library(lua)?)?;
    table.raw_set("struct", pack::library(lua, bounds)?)?;
    table.raw_set("cmsgpack", msgpack::library(lua, bounds)?)?;
    table.raw_set("version", REDIS_VERSION)?;
    table.raw_set("version_number", version_number(REDIS_VERSION))?;
    table.raw_set("place", lua.create_function(|lua, ()| Ok(place(lua)))?)?;
    table.raw_set(
        "problem",
        lua.create_function(|lua, value: Value| {
            let Value::Error(error) = value else { return Ok((Value::Nil, false)) };
            let raised = raised(&error);
            Ok((Value::String(lua.create_string(raised.text)?), raised.is_reply))
        })?,
    )?;
    table.raw_set(
        "checked",
        lua.create_function(|lua, function: Function| {
            lua.create_function(move |lua, values: MultiValue| {
                let mut values = function.call::<MultiValue>(values)?;
                let worked = values.pop_front().is_some_and(|worked| worked == Value::Boolean(true));
                match (worked, values.front()) {
                    (false, Some(Value::String(message))) => answer(Err(message.to_string_lossy()), lua),
                    _ => Ok(values),
                }
            })
        })?,
    )?;
    server::put_functions(lua, &table, fallen)?;
    let guard = fallen.clone();
    table.raw_set("log", lua.create_function(move |_, values| guard.guard(|| server::log(&values)))?)?;
    table.raw_set(
        "sha1hex",
        lua.create_function(|lua, values: MultiValue| {
            if values.len() != 1 {
                return Err(raise_reply("ERR wrong number of arguments"));
            }
            let text = Arguments::new("sha1hex", values).bytes(1).unwrap_or_default();
            lua.create_string(sha1(&text))
        })?,
    )?;
    table.raw_set(
        "set_repl",
        lua.create_function(|_, values: MultiValue| {
            if values.len() != 1 {
                return Err(raise_reply("ERR redis.set_repl() requires two arguments."));
            }
            match values.front().and_then(number) {
                Some(flags) if (0.0..=3.0).contains(&flags) => Ok(()),
                _ => Err(raise_reply(
                    "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
                )),
            }
        })?,
    )?;
    let random = Random::default();
    let dice = random.clone();
    table.raw_set(
        "random",
        lua.create_function(move |lua, values| {
            let number = between(&dice, &Arguments::new("random", values));
            answer(number.map(|number| vec![Value::Number(number)]), lua)
        })?,
    )?;
    table.raw_set(
        "randomseed",
        lua.create_function(move |lua, values: MultiValue| {
            let seed = Arguments::new("randomseed", values).number(1);
            answer(
                seed.map(|seed| {
                    random.seed(seed as i64);
                    Vec::new()
                }),
                lua,
            )
        })?,
    )?;
    Ok(table)
}

/// A version as one number, eight bits for each part.
fn version_number(version: &str) -> u32 {
    version.split('.').fold(0, |sum, part| sum << 8 | part.parse::<u32>().unwrap_or_default())
}

/// A number by chance as `math.random` gives it: from 0 to 1, from 1 to the argument, or between two.
fn between(random: &Random, args: &Arguments) -> Result<f64, String> {
    let (low, high, at) = match args.len() {
        0 => return Ok(random.next()),
        1 => (1.0, args.number(1)?.trunc(), 1),
        2 => (args.number(1)?.trunc(), args.number(2)?.trunc(), 2),
        _ => return Err("wrong number of arguments".to_owned()),
    };
    if low > high {
        return Err(args.bad(at, "interval is empty"));
    }
    Ok((random.next() * (high - low + 1.0)).floor() + low)
}

/// The innermost place in a script: the name of its text and the line.
fn place(lua: &Lua) -> (Option<String>, Option<usize>) {
    /// Functions of the sandbox that may stand between an error and the script.
    const LEVELS: usize = 16;
    for level in 1..LEVELS {
        let found = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let is_script = matches!(source.what, "Lua" | "main");
            let name = source.source.filter(|name| is_script && !["=redis", "=cjson"].contains(&&**name))?;
            Some((name.into_owned(), frame.current_line()?))
        });
        match found {
            None => break,
            Some(Some((name, line))) => return (Some(name), Some(line)),
            Some(None) => {}
        }
    }
    (None, None)
}
