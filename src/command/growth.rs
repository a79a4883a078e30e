//! What a short request can make long: it asks for room before it takes memory.
//!
//! A command that comes is run if there is room for it at all, and what it brings came with it. A few words can ask for far
//! more than they are: a bit far behind the end of a string, a copy, strings combined.

use crate::clock::Millis;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::Slot;

/// Bytes that are not asked for: the next command makes room for them.
const UNASKED: usize = 1 << 20;

/// What is asked before a change takes memory, also while shards are held.
pub(super) struct Growth<'a> {
    engine: &'a Engine,
    /// Bytes for which there was no room.
    lacks: usize,
}

impl Growth<'_> {
    /// Asks for so many bytes.
    #[inline]
    pub fn ask(&mut self, bytes: usize) -> Result<()> {
        if bytes <= UNASKED || self.engine.bears(bytes) {
            return Ok(());
        }
        self.lacks = bytes;
        Err(Error::OutOfMemory)
    }

    /// Asks for what it takes to write into the string of a slot up to this end.
    #[inline]
    pub fn ask_up_to(&mut self, slot: &Slot<'_>, end: usize) -> Result<()> {
        let len = slot.string()?.map_or(0, <[u8]>::len).max(end);
        if len <= UNASKED { Ok(()) } else { self.ask(slot.asks_for(len)) }
    }
}

/// Runs a change that asks before it does anything. If there was no room it is run once more when some was made, which
/// nobody can who holds a shard.
#[inline]
pub(super) fn growing<R>(
    engine: &Engine,
    now: Millis,
    mut change: impl FnMut(&mut Growth<'_>) -> Result<R>,
) -> Result<R> {
    let mut growth = Growth { engine, lacks: 0 };
    let result = change(&mut growth);
    if growth.lacks > 0 && engine.makes_room_for(growth.lacks, now) {
        return change(&mut growth);
    }
    result
}
