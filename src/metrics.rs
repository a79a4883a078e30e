//! Counters, one padded block per worker, added up when somebody asks.
//!
//! Each worker writes only its own block, so that counting costs a load and a store on a line that nobody shares.
//! What is counted per command is indexed by the command's number in the command table, which this floor does not
//! know; it is told how many there are.

mod histogram;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use histogram::{Histogram, Short};

/// Steps of a distribution of microseconds, each twice as long as the one before; the last is open and starts at
/// about four seconds.
pub const STEPS: usize = 24;

/// Error codes that one worker tells apart, as in Redis: who makes up codes must not fill the memory.
const CODES_MAX: usize = 128;

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds without a locked instruction: only the block's own worker writes.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// What has been counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Calls of one command.
#[derive(Debug, Default)]
pub struct Calls {
    /// Times it ran.
    pub calls: Count,
    /// Microseconds it took in all.
    pub micros: Count,
    /// Times it was refused before it ran.
    pub rejected: Count,
    /// Times it ran and answered an error.
    pub failed: Count,
    /// Times it ran, by how long it took: at most a microsecond, at most two, at most four.
    steps: [Count; STEPS],
}

impl Calls {
    /// Counts a call and its microseconds.
    pub fn took(&self, micros: u64) {
        self.calls.add(1);
        self.micros.add(micros);
        let step = u64::BITS - micros.saturating_sub(1).leading_zeros();
        self.steps[(step as usize).min(STEPS - 1)].add(1);
    }

    fn reset(&self) {
        for count in [&self.calls, &self.micros, &self.rejected, &self.failed].into_iter().chain(&self.steps) {
            count.reset();
        }
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What one worker counts.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Block {
            $($(#[doc = $doc])+ pub $name: Count,)+
            /// Session checks over HTTP.
            pub checks: Calls,
            /// How late what had died was reclaimed; the janitor counts in its own.
            pub lag: Calls,
            calls: Box<[Calls]>,
            codes: Mutex<BTreeMap<String, u64>>,
        }

        /// The sum of all workers' blocks.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Sums {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Block {
            fn add_to(&self, sums: &mut Sums) {
                $(sums.$name += self.$name.get();)+
            }

            fn reset(&self) {
                $(self.$name.reset();)+
                for calls in self.calls.iter().chain([&self.checks, &self.lag]) {
                    calls.reset();
                }
                self.codes().clear();
            }
        }
    };
}

counts! {
    /// Commands that were processed.
    commands,
    /// Clients that were accepted on the RESP door.
    connections,
    /// Clients that were refused for `maxclients`.
    rejected_connections,
    /// Bytes read from RESP clients.
    input_bytes,
    /// Bytes written to RESP clients.
    output_bytes,
    /// Reads from RESP clients.
    reads,
    /// Writes to RESP clients.
    writes,
    /// Clients closed for breaking the protocol.
    protocol_errors,
    /// Clients closed because they read too slowly.
    output_limit_disconnections,
    /// Clients closed because their request grew too large.
    query_limit_disconnections,
    /// Clients closed because all together held too much, and they most.
    evicted_clients,
    /// Error replies.
    errors,
    /// Failed AUTHs.
    auth_failures,
    /// AUTHs that were not looked at because too many from the same address had failed.
    delayed_logins,
    /// Requests denied for their command.
    denied_commands,
    /// Requests denied for one of their keys.
    denied_keys,
    /// Requests denied for one of their channels.
    denied_channels,
    /// HTTP clients that were accepted.
    http_connections,
    /// HTTP requests that were answered.
    http_requests,
    /// Handlers that panicked; each cost its client.
    panics,
}

impl Block {
    /// The counters of a command by its number.
    pub fn calls(&self, number: usize) -> &Calls {
        &self.calls[number]
    }

    /// Counts an error reply by its code.
    pub fn refuse(&self, code: &str) {
        self.errors.add(1);
        let mut codes = self.codes();
        if let Some(count) = codes.get_mut(code) {
            *count += 1;
        } else if codes.len() < CODES_MAX {
            codes.insert(code.to_owned(), 1);
        }
    }

    fn codes(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // Nothing panics while it is held.
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All workers' blocks.
#[derive(Debug)]
pub struct Metrics {
    blocks: Box<[Block]>,
}

impl Metrics {
    /// Blocks for so many workers and commands, and one for the acceptor.
    pub fn new(workers: usize, commands: usize) -> Metrics {
        let calls = || (0..commands).map(|_| Calls::default()).collect();
        let block = |_| Block { calls: calls(), ..Block::default() };
        Metrics { blocks: (0..workers.max(1) + 1).map(block).collect() }
    }

    /// The block of whoever is no worker: the acceptor.
    pub fn shared(&self) -> &Block {
        &self.blocks[self.blocks.len() - 1]
    }

    /// A worker's own block.
    pub fn block(&self, worker: usize) -> &Block {
        let workers = self.blocks.len() - 1;
        &self.blocks[if worker < workers { worker } else { worker % workers }]
    }

    /// The sums over all workers.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for block in &self.blocks {
            block.add_to(&mut sums);
        }
        sums
    }

    /// Calls, microseconds, refusals and failures of a command over all workers.
    pub fn command(&self, number: usize) -> [u64; 4] {
        let mut sums = [0; 4];
        for block in &self.blocks {
            let calls = block.calls(number);
            for (sum, count) in sums.iter_mut().zip([&calls.calls, &calls.micros, &calls.rejected, &calls.failed]) {
                *sum += count.get();
            }
        }
        sums
    }

    /// How many calls of a command took at most one microsecond, at most two, at most four, and so on.
    pub fn distribution(&self, number: usize) -> [u64; STEPS] {
        self.distribution_of(|block| block.calls(number))
    }

    /// The same for session checks over HTTP, and the microseconds they took in all.
    pub fn checks(&self) -> ([u64; STEPS], u64) {
        (self.distribution_of(|block| &block.checks), self.blocks.iter().map(|block| block.checks.micros.get()).sum())
    }

    /// The same for how late what had died was reclaimed.
    pub fn lags(&self) -> ([u64; STEPS], u64) {
        (self.distribution_of(|block| &block.lag), self.blocks.iter().map(|block| block.lag.micros.get()).sum())
    }

    fn distribution_of(&self, calls: impl Fn(&Block) -> &Calls) -> [u64; STEPS] {
        let mut sums = [0; STEPS];
        for block in &self.blocks {
            for (sum, count) in sums.iter_mut().zip(&calls(block).steps) {
                *sum += count.get();
            }
        }
        for step in 1..STEPS {
            sums[step] += sums[step - 1];
        }
        sums
    }

    /// Error replies by code.
    pub fn codes(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for block in &self.blocks {
            for (code, count) in &*block.codes() {
                *sums.entry(code.clone()).or_insert(0) += count;
            }
        }
        sums
    }

    /// Starts counting anew. What a worker counts in this very moment may survive it.
    pub fn reset(&self) {
        for block in &self.blocks {
            block.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_over_all_workers_until_reset() {
        let metrics = Metrics::new(2, 3);
        metrics.block(0).commands.add(2);
        metrics.block(1).commands.add(3);
        metrics.block(1).calls(2).took(7);
        metrics.block(0).refuse("ERR");
        metrics.block(1).refuse("ERR");
        assert_eq!((metrics.sums().commands, metrics.command(2)), (5, [1, 7, 0, 0]));
        assert_eq!((metrics.sums().errors, metrics.codes()["ERR"]), (2, 2));
        metrics.reset();
        assert_eq!((metrics.sums().commands, metrics.command(2)), (0, [0; 4]));
        assert_eq!((metrics.codes().len(), metrics.distribution(2)), (0, [0; STEPS]));
    }

    #[test]
    fn a_distribution_is_cumulative_in_doubling_steps() {
        let metrics = Metrics::new(2, 1);
        for (worker, micros) in [0, 1, 2, 3, 4, 5, u64::MAX].into_iter().enumerate() {
            metrics.block(worker).calls(0).took(micros);
        }
        let steps = metrics.distribution(0);
        assert_eq!((&steps[..5], steps[STEPS - 2], steps[STEPS - 1]), (&[2, 3, 5, 6, 6][..], 6, 7));
    }

    #[test]
    fn codes_that_are_made_up_fill_no_memory() {
        let metrics = Metrics::new(1, 0);
        for code in 0..1000 {
            metrics.block(0).refuse(&format!("CODE{code}"));
        }
        assert_eq!((metrics.codes().len(), metrics.sums().errors), (CODES_MAX, 1000));
    }
}
