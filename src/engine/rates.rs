//! How busy the server is, measured between two questions: nothing ticks while nobody asks.

use parking_lot::Mutex;

use crate::metrics::Sums;

/// A rate is taken over at least this many microseconds; who asks again sooner gets the last one.
const SPAN_MIN: u64 = 100_000;

/// Rates of this moment, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Now {
    /// Commands.
    pub commands: u64,
    /// Kilobytes read from RESP clients.
    pub input: f64,
    /// Kilobytes written to them.
    pub output: f64,
}

/// The last sample and what followed from it.
#[derive(Debug, Default)]
pub struct Rates {
    state: Mutex<Option<(u64, [u64; 3], Now)>>,
}

impl Rates {
    /// The rates since the last question. The first one has nothing to compare with and hears zeros.
    pub fn ask(&self, micros: u64, sums: &Sums) -> Now {
        let counts = [sums.commands, sums.input_bytes, sums.output_bytes];
        let mut state = self.state.lock();
        let Some((then, before, last)) = *state else {
            *state = Some((micros, counts, Now::default()));
            return Now::default();
        };
        let span = micros.saturating_sub(then);
        if span < SPAN_MIN {
            return last;
        }
        let rate = |at: usize| counts[at].saturating_sub(before[at]) as f64 * 1e6 / span as f64;
        let now = Now { commands: rate(0) as u64, input: rate(1) / 1024.0, output: rate(2) / 1024.0 };
        *state = Some((micros, counts, now));
        now
    }

    /// Forgets the last sample, whose counts no longer compare.
    pub fn reset(&self) {
        *self.state.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_counted_since_the_last_question() {
        let rates = Rates::default();
        let sums = |commands| Sums { commands, input_bytes: commands * 1024, ..Sums::default() };
        assert_eq!(rates.ask(0, &sums(500)), Now::default());
        assert_eq!(rates.ask(2_000_000, &sums(1500)), Now { commands: 500, input: 500.0, output: 0.0 });
        assert_eq!(rates.ask(2_000_001, &sums(9500)).commands, 500);
        assert_eq!(rates.ask(3_000_000, &sums(1500)).commands, 0);
    }
}
