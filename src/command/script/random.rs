//! Numbers by chance for scripts: the row that Redis gives, which goes on from one script to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A linear congruence over 48 bits, as `lrand48` is specified by POSIX.
#[derive(Clone, Debug)]
pub(super) struct Random(Arc<AtomicU64>);

const FACTOR: u64 = 0x5_deec_e66d;
const ADDEND: u64 = 0xb;
const BITS: u64 = (1 << 48) - 1;
/// The lowest bits of a generator that was just seeded.
const SEEDED: u64 = 0x330e;
const MAX: u64 = 0x7fff_ffff;

/// Where a generator begins that nobody has seeded.
const UNSEEDED: u64 = 0x1234_abcd_330e;

impl Default for Random {
    fn default() -> Random {
        Random(Arc::new(AtomicU64::new(UNSEEDED)))
    }
}

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
        let two = || (format!("{:.3}", random.next()), format!("{:.14}", random.next()));
        assert_eq!(two(), ("0.396".to_owned(), "0.84048536971234".to_owned()));
        random.seed(0);
        assert_eq!(two(), ("0.171".to_owned(), "0.74990198051087".to_owned()));
    }
}
