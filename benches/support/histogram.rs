//! The distributions of one run, as a table with limits.

use std::time::Duration;

pub use cloakroom::metrics::{Histogram, Short};

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
        if !samples.is_empty() {
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
