//! Numbers by chance that are the same for every run of a script, those that Redis gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A linear congruence over 48 bits, as `lrand48` is specified by POSIX.
#[derive(Clone, Debug, Default)]
pub(super) struct Random(Arc<AtomicU64>);

const FACTOR: u64 = 0x5_deec_e66d;
const ADDEND: u64 = 0xb;
const BITS: u64 = (1 << 48) - 1;
/// The lowest bits of a generator that was just seeded.
const SEEDED: u64 = 0x330e;
const MAX: u64 = 0x7fff_ffff;

impl Random {
    /// Starts the row of a seed.
    pub fn seed(&self, seed: i64) {
        self.0.store((seed as u64 & 0xffff_ffff) << 16 | SEEDED, Ordering::Relaxed);
    }

    /// The next number from 0 to 1, 1 excluded.
    pub fn next(&self) -> f64 {
        let state = self.0.load(Ordering::Relaxed).wrapping_mul(FACTOR).wrapping_add(ADDEND) & BITS;
        self.0.store(state, Ordering::Relaxed);
        ((state >> 17) % MAX) as f64 / MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_that_of_redis() {
        let random = Random::default();
        random.seed(0);
        let first = (random.next() * 1000.0).floor() + 1.0;
        assert_eq!((first, format!("{:.14}", random.next())), (171.0, "0.74990198048496".to_owned()));
    }
}
