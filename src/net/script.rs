//! A request that may run a script runs on a stack of its own, so that a script which takes long can be left where it is
//! while the other clients of its worker hear so, and one of them may end it.
//!
//! Nearly all are done at once, and have changed stacks twice. Where one takes long, the engine calls [`pause`] now and then,
//! which comes back when the client's task goes on with it. Everything that the request works with is its own meanwhile.
//! A worker has one such stack. While something rests on it, no other script begins; what might run one is refused
//! for that, which needs no stack.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use scoped_tls_hkt::scoped_thread_local;

use super::worker::STACK;
use crate::clock::Millis;
use crate::command::{self, Client, Flow};
use crate::engine::Engine;
use crate::resp::{Args, Words};

/// Bytes of words and of replies that are kept room for until the next script.
const KEPT: usize = 64 * 1024;

// What runs on the stack of this thread: how it is left, and whether it rests. An interpreter calls back through C, which
// hands on neither. Both are set while something runs or rests on the stack, of which a thread has one at a time.
scoped_thread_local!(static YIELDER: Yielder<(), ()>);
scoped_thread_local!(static RESTS: Cell<bool>);

/// Leaves the script that runs on this thread until its client's task goes on with it. Elsewhere it does nothing.
pub(super) fn pause() {
    if YIELDER.is_set() && !RESTS.with(|rests| rests.replace(true)) {
        YIELDER.with(|yielder| yielder.suspend(()));
        RESTS.with(|rests| rests.set(false));
    }
}

/// What a worker's scripts run with, one after the other. It is made for the first one.
#[derive(Default)]
pub(super) struct Stage {
    stack: Option<DefaultStack>,
    engine: Option<Arc<Engine>>,
    words: Words,
    output: Vec<u8>,
    /// Whether any has run since this was asked.
    has_run: bool,
}

/// A request that has not come to its end yet.
pub(super) struct Script {
    engine: Arc<Engine>,
    worker: usize,
    /// `None` when it has come to its end.
    routine: Option<Routine>,
}

type Routine = Coroutine<(), (), Done, DefaultStack>;

/// What is given back at the end.
struct Done {
    engine: Arc<Engine>,
    client: Client,
    words: Words,
    output: Vec<u8>,
    /// What the connection is to do, or what a panic said.
    flow: Result<Flow, Box<dyn Any + Send>>,
}

impl Stage {
    /// Runs a request and writes its reply behind what is in `output`. If it takes long, what is left to do of it is given
    /// instead, and so is the client, in whose place stands another.
    pub fn run(
        &mut self,
        engine: &Arc<Engine>,
        client: &mut Client,
        args: Args<'_>,
        now: Millis,
        output: &mut Vec<u8>,
    ) -> Result<Flow, Script> {
        self.has_run = true;
        let stack = match YIELDER.is_set() {
            true => None,
            false => self.stack.take().or_else(|| DefaultStack::new(STACK).ok()),
        };
        let Some(stack) = stack else { return Ok(command::run(engine, client, args, None, now, output)) };
        let (mut words, mut reply) = (std::mem::take(&mut self.words), std::mem::take(&mut self.output));
        args.iter().for_each(|word| words.push(word));
        let shared = self.engine.take().unwrap_or_else(|| engine.clone());
        let (worker, mut client_of_it) = (client.worker(), client.hand_over());
        let run = move |yielder: &Yielder<(), ()>, ()| {
            let run = || command::run(&shared, &mut client_of_it, words.args(), None, now, &mut reply);
            let run = || RESTS.set(&Cell::new(false), || YIELDER.set(yielder, run));
            // The client is given back in any case.
            let flow = catch_unwind(AssertUnwindSafe(run));
            Done { engine: shared, client: client_of_it, words, output: reply, flow }
        };
        let mut routine = Coroutine::with_stack(stack, run);
        match routine.resume(()) {
            CoroutineResult::Return(done) => Ok(self.end(routine, done, client, output)),
            CoroutineResult::Yield(()) => {
                engine.set_resting(worker, true);
                Err(Script { engine: engine.clone(), worker, routine: Some(routine) })
            }
        }
    }

    /// Whether a script has run since this was last asked.
    pub fn take_has_run(&mut self) -> bool {
        std::mem::take(&mut self.has_run)
    }

    /// Gives a request's client back, writes its reply, and keeps what the next one needs.
    fn end(&mut self, routine: Routine, done: Done, client: &mut Client, output: &mut Vec<u8>) -> Flow {
        let Done { engine, client: client_of_it, mut words, output: mut reply, flow } = done;
        *client = client_of_it;
        output.extend_from_slice(&reply);
        words.clear();
        reply.clear();
        self.stack = Some(routine.into_stack());
        self.engine = Some(engine);
        self.words = if words.heap() <= KEPT { words } else { Words::new() };
        self.output = if reply.capacity() <= KEPT { reply } else { Vec::new() };
        flow.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Script {
    /// Goes on with a request, to its end or for as long as others can wait.
    pub fn go_on(mut self, stage: &mut Stage, client: &mut Client, output: &mut Vec<u8>) -> Result<Flow, Script> {
        match self.resume().zip(self.routine.take_if(|routine| routine.done())) {
            Some((done, routine)) => Ok(stage.end(routine, done, client, output)),
            None => Err(self),
        }
    }

    fn resume(&mut self) -> Option<Done> {
        let routine = self.routine.as_mut()?;
        // It was let in when it began, and is inside again when it ends.
        let _turn = self.engine.enter(self.worker);
        self.engine.set_resting(self.worker, false);
        match routine.resume(()) {
            CoroutineResult::Return(done) => Some(done),
            CoroutineResult::Yield(()) => {
                self.engine.set_resting(self.worker, true);
                None
            }
        }
    }
}

impl Drop for Script {
    /// Functions of C may lie on its stack, which nothing can clear away but their end.
    fn drop(&mut self) {
        while self.routine.as_ref().is_some_and(|routine| !routine.done()) {
            self.engine.scripts.end();
            self.resume();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;

    /// What a request comes to: its reply, or that it takes long.
    fn run(engine: &Arc<Engine>, stage: &mut Stage, client: &mut Client, words: &[&str]) -> Result<String, Script> {
        let (words, mut output): (Words, _) = (words.iter().map(|word| word.as_bytes()).collect(), Vec::new());
        assert!(command::may_run_script(client, words.args()));
        stage.run(engine, client, words.args(), engine.clock.now(), &mut output)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    #[test]
    fn a_script_that_takes_long_is_left_and_ended_before_it_is_dropped() {
        pause();
        for workers in [1, 2] {
            let mut config = Config::default();
            config.set("busy-reply-threshold", "1").expect("a setting");
            let engine = Arc::new(Engine::new(config, Clock::system(), workers, command::COUNT));
            engine.scripts.on_busy(pause);
            let enter = |port: u16| {
                let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));
                Client::new(&engine, engine.clients.enter(at, at, 9, engine.clock.now()), 0, true)
            };
            let (mut one, mut other, mut stage) = (enter(1), enter(2), Stage::default());
            let turn = engine.enter(0);
            let script = "redis.call('SET', 'a', 'half') while true do pcall(error, 1) end";
            let long = run(&engine, &mut stage, &mut one, &["EVAL", script, "0"]);
            drop(turn);
            let long = long.expect_err("a script that takes long");
            assert!(engine.scripts.is_busy());
            let refused = run(&engine, &mut stage, &mut other, &["evalsha_ro", "x", "0"]).ok();
            assert!(refused.is_some_and(|reply| reply.starts_with("-BUSY ")));
            assert!(engine.alone(0, Millis(0), |_| ()).is_err());
            let long = long.go_on(&mut stage, &mut one, &mut Vec::new()).expect_err("it goes on");
            drop(long);
            assert!(!engine.scripts.is_busy());
            assert!(engine.alone(0, Millis(0), |_| ()).is_ok());
            assert_eq!(
                run(&engine, &mut stage, &mut other, &["Eval", "return 7", "0"]).ok().as_deref(),
                Some(":7\r\n")
            );
            pause();
        }
    }

    #[test]
    fn few_requests_are_taken_for_scripts() {
        let engine = Engine::new(Config::default(), Clock::system(), 1, command::COUNT);
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let mut client = Client::new(&engine, engine.clients.enter(at, at, 9, engine.clock.now()), 0, true);
        let mut may = |text: &str| {
            let words: Words = text.split(' ').map(str::as_bytes).collect();
            let may = command::may_run_script(&client, words.args());
            command::run(&engine, &mut client, words.args(), None, engine.clock.now(), &mut Vec::new());
            may
        };
        for other in ["GET a", "ECHO a", "EXPIRE a 1", "exec", "SCRIPT KILL", "FUNCTION LIST", "flushall", "eva"] {
            assert!(!may(other), "{other}");
        }
        for script in ["eval x 0", "EVAL_RO x 0", "EVALSHA x 0", "EvalSha_RO x 0"] {
            assert!(may(script), "{script}");
        }
        assert_eq!(["MULTI", "GET a", "EXEC"].map(&mut may), [false; 3]);
        assert_eq!(["MULTI", "GET a", "EVAL_RO x 0", "EXEC", "EXEC"].map(may), [false, false, true, true, false]);
    }
}
