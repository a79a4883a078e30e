//! What is done for a script in Rust, where no hook looks at the clock and no limit of Lua's counts bytes.
//!
//! A table may stand in another many times, so that what is written of it has no bound in what Lua holds: sixty tables that
//! each hold the next one twice are 2^60 values. Whoever goes through values for a script takes a [`Work`] and notes each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::args::raise_reply;
use super::interpreter::KILLED;
use crate::clock::Clock;
use crate::engine::Running;
use crate::error::Error;

/// Values, each worth as many bytes as one takes, after which the clock is looked at: some tens of microseconds.
const VALUES: usize = 1_000;
const VALUE_BYTES: usize = 256;

/// What holds for all that a state runs.
#[derive(Clone)]
pub(super) struct Bounds(Arc<State>);

struct State {
    running: Arc<Running>,
    clock: Clock,
    /// Bytes that a script may hold.
    most: AtomicUsize,
    /// Microseconds on the clock at which a library must have been loaded; 0 while none is.
    loaded_by: AtomicU64,
}

impl Bounds {
    pub fn new(running: Arc<Running>, clock: Clock, most: usize) -> Bounds {
        let (most, loaded_by) = (AtomicUsize::new(most), AtomicU64::new(0));
        Bounds(Arc::new(State { running, clock, most, loaded_by }))
    }

    /// Bytes that a script may hold.
    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }

    pub fn set_most(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// Says that a library is loaded until then at most, and no script runs; 0 for the contrary.
    pub fn set_loading(&self, until: u64) {
        self.0.loaded_by.store(until, Ordering::Relaxed);
    }

    /// Whether bytes that lie beside Lua's are more than a script may hold.
    pub fn check(&self, bytes: usize) -> mlua::Result<()> {
        match bytes <= self.most() {
            true => Ok(()),
            false => Err(mlua::Error::MemoryError("not enough memory".to_owned())),
        }
    }

    /// Begins to go through values.
    pub fn work(&self) -> Work {
        Work { bounds: self.clone(), left: VALUES, seen: 0 }
    }

    fn look(&self) -> mlua::Result<()> {
        let State { running, clock, loaded_by, .. } = &*self.0;
        match loaded_by.load(Ordering::Relaxed) {
            0 if running.look(clock.micros(), || clock.micros()) => Err(mlua::Error::external(Error::refused(KILLED))),
            0 => Ok(()),
            ends if clock.micros() >= ends => Err(raise_reply("ERR FUNCTION LOAD timeout")),
            _ => Ok(()),
        }
    }
}

/// A way through values.
pub(super) struct Work {
    bounds: Bounds,
    left: usize,
    seen: usize,
}

impl Work {
    /// Notes one value more, and how many bytes were made so far. Others have their turn, and may end it.
    pub fn step(&mut self, bytes: usize) -> mlua::Result<()> {
        let cost = 1 + bytes.saturating_sub(self.seen) / VALUE_BYTES;
        self.seen = bytes;
        self.spend(cost)
    }

    /// Notes that so many bytes were moved at once.
    pub fn moved(&mut self, bytes: usize) -> mlua::Result<()> {
        self.spend(bytes / (4 * VALUE_BYTES))
    }

    fn spend(&mut self, cost: usize) -> mlua::Result<()> {
        match self.left.checked_sub(cost) {
            Some(left) => self.left = left,
            None => {
                self.left = VALUES;
                self.bounds.look()?;
            }
        }
        Ok(())
    }

    /// The same where the bytes must not be more than a script may hold.
    pub fn step_within(&mut self, bytes: usize) -> mlua::Result<()> {
        self.bounds.check(bytes)?;
        self.step(bytes)
    }
}
