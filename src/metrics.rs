//! Counters, one padded block per worker, added up when somebody asks.
//!
//! Each worker writes only its own block, so that counting costs a load and a store on a line that nobody shares.
//! What is counted per command is indexed by the command's number in the command table, which this floor does not
//! know; it is told how many there are.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// What one worker counts.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Block {
            $($(#[doc = $doc])+ pub $name: Count,)+
            calls: Box<[Calls]>,
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
                for calls in &self.calls {
                    for count in [&calls.calls, &calls.micros, &calls.rejected, &calls.failed] {
                        count.reset();
                    }
                }
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
    /// Error replies.
    errors,
    /// Failed AUTHs.
    auth_failures,
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
        &self.blocks[worker % (self.blocks.len() - 1)]
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
        metrics.block(1).calls(2).micros.add(7);
        assert_eq!((metrics.sums().commands, metrics.command(2)), (5, [0, 7, 0, 0]));
        metrics.reset();
        assert_eq!((metrics.sums().commands, metrics.command(2)), (0, [0; 4]));
    }
}
