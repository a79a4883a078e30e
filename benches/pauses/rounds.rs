//! Who is measured, and what becomes of the numbers of several rounds: medians, shown with the goals they have.

use std::io;
use std::time::Duration;

use redis::Connection;

use crate::Options;
use crate::support::figures::{Figure, Figures, OURS, median, number};
use crate::support::histogram::{Histogram, Short};
use crate::support::servers::{self, Running};

/// The peer that is measured beside.
pub const REDIS: &str = "redis-server";

/// The servers that are there; ours first.
pub fn contestants() -> Vec<&'static str> {
    let mut names = vec![OURS];
    names.extend(servers::peer(REDIS).map(|_| REDIS));
    names
}

/// Starts one of them, with no limit to its memory.
pub fn start(name: &str) -> io::Result<Running> {
    let unlimited = ["--maxmemory", "0"];
    if name == OURS {
        return servers::cloakroom("resp", &unlimited);
    }
    let program = servers::peer(name).ok_or_else(|| io::Error::other(format!("{name} has vanished")))?;
    servers::redis(&program, &unlimited)
}

/// A connection for questions whose time does not matter.
pub fn connect(server: &Running) -> io::Result<Connection> {
    let client = redis::Client::open(format!("redis://{}/", server.address)).map_err(io::Error::other)?;
    client.get_connection().map_err(io::Error::other)
}

/// A number from INFO.
pub fn info(connection: &mut Connection, section: &str, field: &str) -> io::Result<f64> {
    let info: redis::InfoDict = redis::cmd("INFO").arg(section).query(connection).map_err(io::Error::other)?;
    info.get(field).ok_or_else(|| io::Error::other(format!("INFO says nothing of {field}")))
}

/// One number of every round, about one server.
struct Row {
    what: String,
    server: String,
    unit: &'static str,
    values: Vec<f64>,
}

/// What the rounds of a part have measured.
pub struct Rounds {
    part: &'static str,
    rows: Vec<Row>,
    figures: Figures,
}

impl Rounds {
    /// Begins a part and says so.
    pub fn new(part: &'static str, about: &str, options: &Options) -> Rounds {
        let Options { rounds, entries, duration } = options;
        let conditions =
            format!("{about}; {entries} entries, {} s, median of {rounds}", number(duration.as_secs_f64()));
        println!("\n{part}: {conditions}");
        println!("{:58} {:>9} {:>10} {:>10} {:>10} {:>10}", "", "samples", "p50", "p99", "p99.99", "max");
        Rounds { part, rows: Vec::new(), figures: Figures::new(&format!("pauses-{part}"), &conditions) }
    }

    /// Notes a number of this round.
    pub fn note(&mut self, what: &str, server: &str, value: f64, unit: &'static str) {
        match self.rows.iter_mut().find(|row| row.what == what && row.server == server) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { what: what.to_owned(), server: server.to_owned(), unit, values: vec![value] }),
        }
    }

    /// Prints a distribution and notes its p99 and its maximum, in milliseconds.
    pub fn distribution(&mut self, what: &str, server: &str, samples: &Histogram) {
        let [p50, p99, last] = [0.5, 0.99, 0.9999].map(|share| Short(samples.at(share)));
        let max = Short(samples.max());
        let name = format!("{server}: {what}");
        println!("{name:58} {:>9} {p50:>10} {p99:>10} {last:>10} {max:>10}", samples.len());
        self.note(&format!("{what}, p99"), server, millis(samples.at(0.99)), "ms");
        self.note(&format!("{what}, max"), server, millis(samples.max()), "ms");
    }

    /// The median of the rounds.
    pub fn median(&self, what: &str, server: &str) -> Option<f64> {
        self.row(what, server).map(|row| median(&row.values))
    }

    fn row(&self, what: &str, server: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.what == what && row.server == server)
    }

    /// Makes figures of the medians, lets `judge` say what each of ours is to be, prints and writes all of them.
    pub fn conclude(mut self, judge: impl Fn(&Rounds, &mut Figure)) -> io::Result<()> {
        let mut figures = std::mem::replace(&mut self.figures, Figures::new("", ""));
        println!();
        for row in &self.rows {
            let figure = figures.add(self.part, &row.what, &row.server, median(&row.values), row.unit);
            if row.server == OURS {
                judge(&self, figure);
            }
            println!("{}", line(figure));
        }
        figures.write()
    }
}

fn line(figure: &Figure) -> String {
    let name = format!("{}: {}", figure.server, figure.what);
    let ratio = figure.ratio.as_ref().map(|ratio| format!(", {:.2} × {}", ratio.value, ratio.to)).unwrap_or_default();
    let goal = figure.goal.as_ref().map(|goal| {
        let verdict = match goal.holds {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "cannot be told here",
        };
        format!("  goal {}: {verdict}", goal.text)
    });
    format!("{name:70} {:>9} {}{ratio}{}", number(figure.value), figure.unit, goal.unwrap_or_default())
}

/// A duration as a figure.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
