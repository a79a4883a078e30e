//! Distributions of durations, for those who measure: `cloakroom bench` and the benches. Samples are counted in buckets
//! less than one per cent wide, so that millions of them cost a fixed 60 KB and none is left out; the largest is kept as it
//! was.

use std::fmt;
use std::time::Duration;

/// Buckets per power of two, as bits: 128, each less than 0.8 % wide.
const FINE: u32 = 7;
/// A hundred and forty years in nanoseconds; nothing that is timed here takes longer.
const LONGEST: u64 = u64::MAX / 4;

/// Counts of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl Histogram {
    /// Nothing yet.
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; bucket(LONGEST) + 1], total: 0, max: 0 }
    }

    /// Counts one sample.
    pub fn record(&mut self, sample: Duration) {
        let nanos = u64::try_from(sample.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts what another has counted.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many samples there are.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many samples took longer than `from` and at most `to`, as exactly as the buckets are wide.
    pub fn between(&self, from: Duration, to: Duration) -> u64 {
        let place = |time: Duration| bucket(u64::try_from(time.as_nanos()).unwrap_or(LONGEST).min(LONGEST));
        self.counts[(place(from) + 1).min(self.counts.len())..=place(to).max(place(from))].iter().sum()
    }

    /// The duration that this share of all samples did not exceed.
    pub fn at(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_nanos(top(index).min(self.max));
            }
        }
        self.max()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }
}

fn bucket(nanos: u64) -> usize {
    let bits = nanos.checked_ilog2().unwrap_or(0);
    let Some(shift) = bits.checked_sub(FINE) else { return nanos as usize };
    ((shift as usize + 1) << FINE) + (nanos >> shift) as usize - (1 << FINE)
}

/// The longest duration that falls into a bucket.
fn top(bucket: usize) -> u64 {
    match (bucket >> FINE).checked_sub(1) {
        None => bucket as u64,
        Some(shift) => (((bucket as u64 & ((1 << FINE) - 1)) + (1 << FINE) + 1) << shift) - 1,
    }
}

/// A duration with three or four digits and its unit, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos() as f64;
        let (value, unit) = match nanos {
            n if n < 1e3 => (n, "ns"),
            n if n < 1e6 => (n / 1e3, "µs"),
            n => (n / 1e6, "ms"),
        };
        let decimals = if unit == "ns" || value >= 100.0 { 0 } else { 2 };
        f.pad(&format!("{value:.decimals$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_ranges_are_within_a_bucket_and_two_add_up() {
        let (mut odd, mut even) = (Histogram::new(), Histogram::default());
        for micros in 1..=1000 {
            let half = if micros % 2 == 0 { &mut even } else { &mut odd };
            half.record(Duration::from_micros(micros));
        }
        even.add(&odd);
        assert_eq!((even.len(), even.max()), (1000, Duration::from_micros(1000)));
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let at = even.at(share).as_secs_f64() * 1e6;
            assert!((at / micros - 1.0).abs() < 0.01, "{share}: {at}");
        }
        let between = even.between(Duration::from_micros(100), Duration::from_micros(200));
        assert!((98..=102).contains(&between), "{between}");
        assert_eq!(even.between(Duration::ZERO, Duration::from_secs(9)), 1000);
        assert_eq!(even.between(Duration::from_secs(9), Duration::from_secs(9)), 0);
    }

    #[test]
    fn a_duration_is_shown_with_its_unit() {
        let shown = |nanos| Short(Duration::from_nanos(nanos)).to_string();
        assert_eq!(
            [shown(7), shown(1_234), shown(123_456), shown(1_500_000)],
            ["7 ns", "1.23 µs", "123 µs", "1.50 ms"]
        );
    }
}
