//! Libraries of functions: what their first line says, and the Lua state that has them all.

use std::collections::HashSet;
use std::sync::Arc;

use super::interpreter::Interpreter;
use super::shebang::{FLAGS, Promises};
use crate::clock::Clock;
use crate::engine::{Engine, Function, Libraries, Library, Running};
use crate::error::{Error, Result};
use crate::resp::Words;

/// What functions are called in messages.
const NAME: &str = "@user_function";

/// The only engine, in the letters in which it is listed.
pub(super) const ENGINE: &str = "LUA";

/// Microseconds that a library may take to register its functions, as in Redis.
const LOADING_MAX: u64 = 500_000;

/// The same for all libraries that are restored at once: nobody else is served meanwhile.
pub(super) const RESTORING_MAX: u64 = 5_000_000;

const BAD_NAME: Error = Error::refused(
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
);
const BAD_HEAD: Error = Error::refused("Invalid library metadata");

/// The Lua state of all functions.
pub(super) struct Runtime {
    pub interpreter: Interpreter,
    /// The libraries as they were at the last look.
    seen: Arc<Libraries>,
    /// The numbers of those that are in the state.
    loaded: HashSet<u64>,
    /// Microseconds on the clock until which libraries may be loaded.
    ends: u64,
    running: Arc<Running>,
    clock: Clock,
}

impl Runtime {
    /// Lends the state of an engine to `f`, made anew if it was of no use any more.
    pub fn with<R>(engine: &Engine, f: impl FnOnce(&mut Runtime) -> R) -> mlua::Result<R> {
        let make = || -> mlua::Result<Runtime> {
            let (running, clock) = (engine.scripts.running(), engine.clock.clone());
            let interpreter = Interpreter::for_functions(NAME, running.clone(), clock.clone())?;
            Ok(Runtime { interpreter, seen: Arc::default(), loaded: HashSet::new(), ends: 0, running, clock })
        };
        engine.functions.with_interpreter(make, |runtime: &mut Runtime| {
            runtime.allow(LOADING_MAX);
            let result = f(runtime);
            (result, runtime.interpreter.kept_after_collecting(engine.hot.maxmemory()))
        })
    }

    /// Gives what is loaded so many microseconds from now on.
    pub fn allow(&mut self, micros: u64) {
        self.ends = self.clock.micros().saturating_add(micros);
    }

    /// Forgets what is no library any more.
    pub fn follow(&mut self, libraries: &Arc<Libraries>) -> mlua::Result<()> {
        if Arc::ptr_eq(&self.seen, libraries) {
            return Ok(());
        }
        let there: HashSet<u64> = libraries.iter().map(|library| library.number).collect();
        for number in self.loaded.extract_if(|number| !there.contains(number)) {
            self.interpreter.forget(number)?;
        }
        self.seen = libraries.clone();
        Ok(())
    }

    /// The callback of a function, whose library is loaded if it is not there.
    pub fn callback(&mut self, library: &Library, function: &Function) -> Result<mlua::Function> {
        if !self.loaded.contains(&library.number) {
            let (_, body) = head(&library.code)?;
            self.load_text(library.number, body)?;
        }
        self.interpreter.callback(library.number, &function.name).map_err(|error| super::failed(&error))
    }

    /// Makes a library of a text and loads it. `admits` is asked whether one of its name may come, before the text runs.
    pub fn load(&mut self, number: u64, code: &[u8], admits: impl FnOnce(&str) -> Result<()>) -> Result<Library> {
        let (name, body) = head(code)?;
        admits(&name)?;
        let functions = self.load_text(number, body)?;
        if functions.is_empty() {
            self.forget(number);
            return Err(Error::refused("No functions registered"));
        }
        Ok(Library { number, name, code: code.into(), functions })
    }

    /// Forgets a library that was loaded in vain.
    pub fn forget(&mut self, number: u64) {
        self.loaded.remove(&number);
        // It fails where there is no memory, and then the state is thrown away.
        let _ = self.interpreter.forget(number);
    }

    fn load_text(&mut self, number: u64, body: &[u8]) -> Result<Vec<Function>> {
        let chunk = self
            .interpreter
            .chunk(body)
            .map_err(|problem| Error::Refused(format!("Error compiling function: {problem}").into()))?;
        let outcome = self.interpreter.load(chunk, number, self.ends, &self.running, &self.clock);
        let mut functions = outcome
            .map_err(|error| super::failed(&error))?
            .map_err(|problem| Error::Refused(format!("Error registering functions: {problem}").into()))?;
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        self.loaded.insert(number);
        Ok(functions)
    }
}

/// The name in a library's first line, and the text to compile, which begins with the end of that line.
fn head(code: &[u8]) -> Result<(String, &[u8])> {
    if !code.starts_with(b"#!") {
        return Err(Error::refused("Missing library metadata"));
    }
    let end = code.iter().position(|byte| matches!(byte, b'\n' | 0)).filter(|end| code[*end] == b'\n');
    let (line, body) = code.split_at(end.ok_or(BAD_HEAD)?);
    let line = Words::of_line(line).ok_or(BAD_HEAD)?;
    let (mut words, mut name) = (line.args().iter(), None);
    let engine = words.next().and_then(|word| word.get(2..)).unwrap_or_default();
    for word in words {
        let given = word.split_at_checked(NAME_IS.len()).filter(|(key, _)| key.eq_ignore_ascii_case(NAME_IS));
        match given {
            None => return Err(quoting("Invalid metadata value given: ", word, "")),
            Some(_) if name.is_some() => {
                return Err(Error::refused("Invalid metadata value, name argument was given multiple times"));
            }
            Some((_, given)) => name = Some(given.to_vec()),
        }
    }
    let name = name.ok_or(Error::refused("Library name was not given"))?;
    let name = String::from_utf8(name).ok().filter(|name| is_name(name)).ok_or(BAD_NAME)?;
    if !engine.eq_ignore_ascii_case(ENGINE.as_bytes()) {
        return Err(quoting("Engine '", engine, "' not found"));
    }
    Ok((name, body))
}

const NAME_IS: &[u8] = b"name=";

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn quoting(before: &str, given: &[u8], after: &str) -> Error {
    Error::Refused(format!("{before}{}{after}", String::from_utf8_lossy(given)).into())
}

/// What a function with these flags promises.
pub(super) fn promises(function: &Function) -> Promises {
    let has = |flag| function.flags.contains(&flag);
    Promises { are_made: true, no_writes: has(FLAGS[0]), allow_oom: has(FLAGS[1]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_says_its_name_in_its_first_line() {
        let read = |code: &[u8]| head(code).map(|(name, body)| (name, body.len())).map_err(|error| error.to_string());
        assert_eq!(read(b"#!lua name=a_1\nx"), Ok(("a_1".into(), 2)));
        assert_eq!(read(b"#!LUA  \"NAME=a\" \nx"), Ok(("a".into(), 2)));
        for (code, problem) in [
            ("", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua\0 name=a\n", "Invalid library metadata"),
            ("#!lua name=\"a\n", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
            ("#!lua nam\n", "Invalid metadata value given: nam"),
            ("#! name=a\n", "Engine '' not found"),
            ("#!js name=a\n", "Engine 'js' not found"),
        ] {
            assert_eq!(read(code.as_bytes()), Err(problem.into()), "{code:?}");
        }
        for name in ["", "a-b", "\u{e9}"] {
            let text = read(format!("#!lua name={name}\n").as_bytes()).expect_err("a bad name");
            assert!(text.starts_with("Library names can only contain letters"), "{text}");
        }
    }
}
