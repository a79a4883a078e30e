//! Scripts: their texts by the SHA-1 of each, the interpreter of each worker, and what is known of the one that runs.
//!
//! The engine knows no language. An interpreter is whatever a worker has put here, and is lent to it for one script.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use super::{Charge, Charges, Oddity, Unusual};
use crate::error::Error;
use crate::resp::{Args, Words};

/// 40 hexadecimal digits in lower case.
pub type Sha = [u8; 40];

/// Texts that came with EVAL and are kept for EVALSHA. Programs that build a text for every call would fill the memory.
const EVALUATED_MAX: usize = 500;

/// Microseconds that a script which takes long runs before others have their turn.
const SLICE: u64 = 1_000;
/// Bytes that a text takes beside its own.
const TEXT_BYTES: usize = 128;

/// A worker's interpreter, of which nothing is known here.
pub(super) type Interpreter = Box<dyn Any + Send>;

/// Where it is kept, with the bytes that it holds.
pub(super) type Place = Mutex<Option<(Interpreter, usize)>>;

/// Lends the interpreter of a place, which `make` makes if there is none. `f` tells how many bytes it holds then, if it is
/// worth keeping.
pub(super) fn lend<T: Any + Send, E, R>(
    place: &Place,
    charges: &Charges,
    make: impl FnOnce() -> Result<T, E>,
    f: impl FnOnce(&mut T) -> (R, Option<usize>),
) -> Result<R, E> {
    let mut place = place.lock();
    let (any, before) = place.take().unzip();
    let mut charged = Charged { charges, bytes: before.unwrap_or(0) };
    let mut interpreter = match any.and_then(|any: Interpreter| any.downcast::<T>().ok()) {
        Some(interpreter) => interpreter,
        None => Box::new(make()?),
    };
    let (result, heap) = f(&mut interpreter);
    // After a panic it is not put back either.
    if let Some(heap) = heap {
        charges.change(Charge::Lua, std::mem::take(&mut charged.bytes), heap);
        *place = Some((interpreter, heap));
    }
    Ok(result)
}

/// What an interpreter that is lent was charged for; if it is not put back, that is over.
struct Charged<'a> {
    charges: &'a Charges,
    bytes: usize,
}

impl Drop for Charged<'_> {
    fn drop(&mut self) {
        self.charges.change(Charge::Lua, self.bytes, 0);
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Scripts {
    texts: Mutex<Texts>,
    interpreters: Box<[Place]>,
    charges: Arc<Charges>,
    running: Arc<Running>,
    /// They may run what is not for scripts; DEBUG SET-DISABLE-DENY-SCRIPTS.
    may_run_all: AtomicBool,
}

#[derive(Default)]
struct Texts {
    by_sha: HashMap<Sha, Text, RandomState>,
    /// Those that came with EVAL, the oldest first. A text that was loaded since is passed over.
    evaluated: VecDeque<Sha>,
    bytes: usize,
}

struct Text {
    body: Arc<[u8]>,
    /// It was loaded, and stays until somebody flushes.
    is_loaded: bool,
}

/// What is known of the script that runs. Scripts run alone, so there is one at most, and who runs it is the only one that
/// writes most of this.
#[derive(Default)]
pub struct Running {
    /// One runs.
    is_on: AtomicBool,
    /// Microseconds on the engine's clock after which others are told that it takes long.
    patience_ends: AtomicU64,
    /// Where it is said that it takes so long that others are told so.
    unusual: Arc<Unusual>,
    has_written: AtomicBool,
    is_to_end: AtomicBool,
    /// The function that runs, if it is no script.
    function: Mutex<Option<Called>>,
    /// The server ends, and no script keeps it from that.
    are_all_to_end: AtomicBool,
    /// Gives the worker's other clients a turn while a script waits.
    pause: OnceLock<fn()>,
    /// Microseconds on the engine's clock at which they have the next one.
    slice_ends: AtomicU64,
}

/// The function that runs, for FUNCTION STATS.
#[derive(Clone, Default)]
pub struct Called {
    /// Its name.
    pub name: String,
    /// The request that runs it, as far as it is kept.
    pub words: Words,
    /// Microseconds on the engine's clock when it began.
    pub began: u64,
}

impl Called {
    /// Notes a call. Of a long request only the first words are kept: they are there to tell one call from another.
    pub fn new(name: &str, request: Args<'_>, began: u64) -> Called {
        /// Bytes of a request that are kept.
        const KEPT_MAX: usize = 16 * 1024;
        let mut room = KEPT_MAX;
        let fits = |word: &&[u8]| {
            let fits = word.len() <= room;
            room -= word.len().min(room);
            fits
        };
        Called { name: name.to_owned(), words: request.iter().take_while(fits).collect(), began }
    }
}

/// What came of SCRIPT KILL or FUNCTION KILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It will end.
    Yes,
    /// None runs, or not for long yet.
    NoneRuns,
    /// It has changed data, and half a change is worse than a long one.
    HasWritten,
    /// It is a function where a script was meant, or the other way round.
    IsOther,
}

impl Scripts {
    /// No scripts, and room for the interpreters of so many workers.
    pub(super) fn new(workers: usize, charges: Arc<Charges>, unusual: Arc<Unusual>) -> Scripts {
        let interpreters = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        let running = Arc::new(Running { unusual, ..Running::default() });
        Scripts { interpreters, charges, running, ..Scripts::default() }
    }

    /// The text of this SHA-1.
    pub fn get(&self, sha: &Sha) -> Option<Arc<[u8]>> {
        self.texts.lock().by_sha.get(sha).map(|text| text.body.clone())
    }

    /// Keeps a text: for good if it was loaded, or until many others came with EVAL.
    pub fn keep(&self, sha: Sha, body: &[u8], is_loaded: bool) {
        let mut texts = self.texts.lock();
        if let Some(text) = texts.by_sha.get_mut(&sha) {
            text.is_loaded |= is_loaded;
            return;
        }
        texts.bytes += body.len();
        self.charges.change(Charge::Texts, 0, body.len() + TEXT_BYTES);
        texts.by_sha.insert(sha, Text { body: body.into(), is_loaded });
        if is_loaded {
            return;
        }
        texts.evaluated.push_back(sha);
        if texts.evaluated.len() > EVALUATED_MAX
            && let Some(oldest) = texts.evaluated.pop_front()
            && texts.by_sha.get(&oldest).is_some_and(|text| !text.is_loaded)
            && let Some(text) = texts.by_sha.remove(&oldest)
        {
            texts.bytes -= text.body.len();
            self.charges.change(Charge::Texts, text.body.len() + TEXT_BYTES, 0);
        }
    }

    /// Shows `f` the text of this SHA-1.
    pub fn with_text<R>(&self, sha: &Sha, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.texts.lock().by_sha.get(sha).map(|text| f(&text.body))
    }

    /// Whether a text is kept.
    pub fn has(&self, sha: &Sha) -> bool {
        self.texts.lock().by_sha.contains_key(sha)
    }

    /// Forgets all texts and interpreters, but one that runs.
    pub fn flush(&self) {
        let texts = std::mem::take(&mut *self.texts.lock());
        self.charges.change(Charge::Texts, texts.bytes + texts.by_sha.len() * TEXT_BYTES, 0);
        for interpreter in &self.interpreters {
            if let Some(mut interpreter) = interpreter.try_lock()
                && let Some((_, heap)) = interpreter.take()
            {
                self.charges.change(Charge::Lua, heap, 0);
            }
        }
    }

    /// How many texts there are, and their bytes.
    pub fn sizes(&self) -> (usize, usize) {
        let texts = self.texts.lock();
        (texts.by_sha.len(), texts.bytes)
    }

    /// Lends a worker its interpreter, which `make` makes if there is none. `f` says how many bytes it holds
    /// now, if it is worth keeping.
    pub fn with_interpreter<T: Any + Send, E, R>(
        &self,
        worker: usize,
        make: impl FnOnce() -> Result<T, E>,
        f: impl FnOnce(&mut T) -> (R, Option<usize>),
    ) -> Result<R, E> {
        lend(&self.interpreters[worker % self.interpreters.len()], &self.charges, make, f)
    }

    // ---- the script that runs ----------------------------------------------------------------------------------

    /// What is known of the script that runs, for whoever looks after it.
    pub fn running(&self) -> Arc<Running> {
        self.running.clone()
    }

    /// Notes that a script runs while `f` does, and from when on it takes long.
    pub fn run<R>(&self, patience_ends: u64, f: impl FnOnce() -> R) -> R {
        struct End<'a>(&'a Running);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                if self.0.unusual.is(Oddity::Busy) {
                    self.0.unusual.set(Oddity::Busy, false);
                }
                self.0.is_on.store(false, Ordering::Release);
            }
        }
        self.running.patience_ends.store(patience_ends, Ordering::Relaxed);
        self.running.has_written.store(false, Ordering::Relaxed);
        self.running.is_to_end.store(false, Ordering::Relaxed);
        self.running.slice_ends.store(0, Ordering::Relaxed);
        // Who sees that one runs sees what is known of it.
        self.running.is_on.store(true, Ordering::Release);
        let _end = End(&self.running);
        f()
    }

    /// The same for a function.
    pub fn run_function<R>(&self, called: Called, patience_ends: u64, f: impl FnOnce() -> R) -> R {
        struct End<'a>(&'a Running);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                *self.0.function.lock() = None;
            }
        }
        *self.running.function.lock() = Some(called);
        let _end = End(&self.running);
        self.run(patience_ends, f)
    }

    /// The function that runs, if one does.
    pub fn called(&self) -> Option<Called> {
        self.running.function.lock().clone()
    }

    /// Whether a function or a script runs.
    pub fn is_running(&self) -> bool {
        self.running.is_on.load(Ordering::Acquire)
    }

    /// What others are told while one runs that takes long.
    pub fn busy(&self) -> Error {
        match self.running.function.lock().is_some() {
            true => Error::BusyFunction,
            false => Error::Busy,
        }
    }

    /// Whether a script has run for so long that others are told so.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.running.unusual.is(Oddity::Busy)
    }

    /// Whether the script that runs is to end, as [`Running::look`] tells.
    pub fn look(&self, now: u64, later: impl FnOnce() -> u64) -> bool {
        self.running.look(now, later)
    }

    /// Notes that the script has changed data.
    pub fn set_written(&self) {
        self.running.has_written.store(true, Ordering::Relaxed);
    }

    /// Whether the script has changed data.
    pub fn has_written(&self) -> bool {
        self.running.has_written.load(Ordering::Relaxed)
    }

    /// Lets scripts run what is not for scripts, or not.
    pub fn let_run_all(&self, on: bool) {
        self.may_run_all.store(on, Ordering::Relaxed);
    }

    /// Whether scripts may run what is not for scripts.
    pub fn may_run_all(&self) -> bool {
        self.may_run_all.load(Ordering::Relaxed)
    }

    /// Tells how a script that takes long gives the other clients of its worker a turn: a function that returns when they
    /// have had it.
    pub fn on_busy(&self, pause: fn()) {
        // Who told so first is right.
        let _ = self.running.pause.set(pause);
    }

    /// Ends the script that runs, whatever it has done.
    pub fn end(&self) {
        self.running.is_to_end.store(true, Ordering::SeqCst);
    }

    /// Ends the script that runs and all that come, as the server ends; tells whether one runs.
    pub fn end_all(&self) -> bool {
        self.running.are_all_to_end.store(true, Ordering::SeqCst);
        self.is_running()
    }

    /// Asks what runs to end, if it is a script or if it is a function.
    pub fn kill(&self, function: bool) -> Killed {
        if !self.is_running() {
            return Killed::NoneRuns;
        }
        if self.has_written() {
            return Killed::HasWritten;
        }
        if self.running.function.lock().is_some() != function {
            return Killed::IsOther;
        }
        self.running.is_to_end.store(true, Ordering::SeqCst);
        Killed::Yes
    }
}

impl Running {
    /// Whether the script is to end, as of now. Others hear that it takes long when it does, and have their turn now and then,
    /// after which it is later.
    pub fn look(&self, now: u64, later: impl FnOnce() -> u64) -> bool {
        if now >= self.patience_ends.load(Ordering::Relaxed) {
            self.unusual.set(Oddity::Busy, true);
            if now >= self.slice_ends.load(Ordering::Relaxed)
                && let Some(pause) = self.pause.get()
            {
                pause();
                self.slice_ends.store(later() + SLICE, Ordering::Relaxed);
            }
        }
        self.is_to_end.load(Ordering::Relaxed) || self.are_all_to_end.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn sha(number: usize) -> Sha {
        format!("{number:040}").into_bytes().try_into().expect("40 digits")
    }

    #[test]
    fn texts_that_were_only_evaluated_make_room_for_others() {
        let scripts = Scripts::new(1, Arc::default(), Arc::default());
        scripts.keep(sha(0), b"loaded later", false);
        scripts.keep(sha(1), b"one", false);
        scripts.keep(sha(2), b"loaded", true);
        scripts.keep(sha(0), b"loaded later", true);
        (3..3 + EVALUATED_MAX).for_each(|number| scripts.keep(sha(number), b"return 1", false));
        assert!(scripts.has(&sha(0)) && !scripts.has(&sha(1)) && scripts.has(&sha(2)));
        assert_eq!(scripts.sizes(), (EVALUATED_MAX + 2, 12 + 6 + 8 * EVALUATED_MAX));
        scripts.flush();
        assert_eq!(scripts.sizes(), (0, 0));
    }

    #[test]
    fn a_script_can_be_killed_until_it_writes() {
        let scripts = Scripts::new(1, Arc::default(), Arc::default());
        assert_eq!(scripts.kill(false), Killed::NoneRuns);
        let running = scripts.running();
        scripts.run(9, || {
            assert_eq!(scripts.kill(false), Killed::Yes);
            assert!(running.look(8, || 8) && !scripts.is_busy());
        });
        scripts.run(9, || {
            assert!(!running.look(9, || 9) && scripts.is_busy());
            scripts.set_written();
            assert_eq!(scripts.kill(false), Killed::HasWritten);
            scripts.end();
            assert!(running.look(9, || 9));
        });
        assert!(!scripts.is_busy());
        scripts.end_all();
        scripts.run(9, || assert!(running.look(0, || 0)));
    }

    #[test]
    fn others_have_their_turn_each_slice_once_a_script_takes_long() {
        let scripts = Scripts::new(1, Arc::default(), Arc::default());
        let running = scripts.running();
        static TURNS: AtomicUsize = AtomicUsize::new(0);
        scripts.on_busy(|| {
            TURNS.fetch_add(1, Ordering::Relaxed);
        });
        let turns_at = |micros| {
            running.look(micros, || micros + 1);
            TURNS.load(Ordering::Relaxed)
        };
        scripts.run(9, || assert_eq!([8, 9, 10, 9 + SLICE, 10 + SLICE].map(turns_at), [0, 1, 1, 1, 2]));
        scripts.run(9, || assert_eq!([8, 9].map(turns_at), [2, 3]));
    }

    #[test]
    fn a_function_is_told_from_a_script() {
        let scripts = Scripts::new(1, Arc::default(), Arc::default());
        let words: Words = [&b"FCALL"[..], b"f", b"0", &[b'x'; 20_000], b"y"].into_iter().collect();
        scripts.run_function(Called::new("f", words.args(), 7), 9, || {
            assert_eq!((scripts.kill(false), scripts.busy()), (Killed::IsOther, Error::BusyFunction));
            let called = scripts.called().expect("it runs");
            assert_eq!((&*called.name, called.words.args().len(), called.began), ("f", 3, 7));
            assert_eq!(scripts.kill(true), Killed::Yes);
        });
        assert!(scripts.called().is_none() && !scripts.is_running());
        scripts.run(9, || assert_eq!((scripts.kill(true), scripts.busy()), (Killed::IsOther, Error::Busy)));
    }

    #[test]
    fn an_interpreter_is_made_once_for_each_worker() {
        let charges = Arc::<Charges>::default();
        let scripts = Scripts::new(2, charges.clone(), Arc::default());
        let add = |worker| {
            scripts.with_interpreter(
                worker,
                || Ok::<i32, ()>(0),
                |count| {
                    *count += 1;
                    (*count, Some(100))
                },
            )
        };
        assert_eq!((add(0), add(0), add(1)), (Ok(1), Ok(2), Ok(1)));
        assert_eq!(charges.total(), 200);
        scripts.flush();
        assert_eq!(charges.total(), 0);
        assert_eq!(add(0), Ok(1));
    }
}
