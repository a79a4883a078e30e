//! Distributions of durations. Samples are counted in buckets less than one per cent wide, so that millions of them cost
//! a fixed 60 KB and none is left out; the largest is kept as it was.

use std::fmt;
use std::time::Duration;

/// Buckets per power of two, as bits: 128, each less than 0.8 % wide.
const FINE: u32 = 7;
/// A hundred and forty years in nanoseconds; nothing that is timed here takes longer.
const LONGEST: u64 = u64::MAX / 4;

/// Counts of durations.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
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

    /// How many samples there are.
    pub fn len(&self) -> u64 {
        self.total
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

/// A duration with three or four digits and its unit.
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

/// The distributions of one run, and what their p99 must stay below.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    samples: Histogram,
    limit: Option<Duration>,
}

impl Report {
    /// Adds a row, unless nothing was measured.
    pub fn add(&mut self, name: &str, samples: Histogram, limit: Option<Duration>) {
        if samples.len() > 0 {
            self.rows.push(Row { name: name.to_owned(), samples, limit });
        }
    }

    /// Prints all rows and tells whether every p99 is below its limit.
    pub fn print(&self) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        println!("\ndistributions of single samples, warm-up included");
        println!("{:width$} {:>10} {:>10} {:>10} {:>10} {:>10}", "", "samples", "p50", "p90", "p99", "max");
        let mut holds = true;
        for Row { name, samples, limit } in &self.rows {
            let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| samples.at(share));
            let late = limit.is_some_and(|limit| p99 >= limit);
            let verdict = match limit {
                Some(limit) if late => format!("  FAILED: p99 must be below {}", Short(*limit)),
                _ => String::new(),
            };
            let [p50, p90, p99, max] = [p50, p90, p99, samples.max()].map(Short);
            println!("{name:width$} {:>10} {p50:>10} {p90:>10} {p99:>10} {max:>10}{verdict}", samples.len());
            holds &= !late;
        }
        holds
    }
}
