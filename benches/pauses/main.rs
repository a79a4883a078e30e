//! Pauses: how long somebody waits while the server does something large, and what is left in memory afterwards.
//!
//! A million deadlines at once, events of a few among them, growth to ten million entries, a walk over all of them, KEYS
//! and FLUSHALL; and an hour of churn, of which only the memory counts. Somebody else asks for a value at a steady rate
//! meanwhile. Each part says what is measured in a file of its own, and compares with a quiet server, because a machine
//! pauses by itself too; where the C library's allocator and Redis' own clean-up have the same task, redis-server is
//! measured beside.
//!
//! Nothing here fails by time: it prints distributions, goals, and whether they are held. The figures are written to
//! `target/peers`, a file for each part, so that parts which run alone stand in one table.
//!
//! `cargo bench --bench pauses -- --only deadline --entries 20000 --seconds 0.5` is a quick look at one part.

#[path = "../support/mod.rs"]
mod support;

mod all;
mod churn;
mod deadline;
mod events;
mod filler;
mod flush;
mod growth;
mod lag;
mod probe;
mod rounds;
mod scan;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use support::process;

// As in the binary: what churn leaves behind is the allocator's affair too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One thing that may make others wait.
struct Part {
    name: &'static str,
    run: fn(&Options) -> io::Result<()>,
    /// Entries, and how long is measured, unless the command line says otherwise.
    entries: u64,
    seconds: f64,
}

const PARTS: &[Part] = &[
    Part { name: "deadline", run: deadline::run, entries: 1_000_000, seconds: 2.0 },
    Part { name: "lag", run: lag::run, entries: 1_000_000, seconds: 20.0 },
    Part { name: "events", run: events::run, entries: 1_000_000, seconds: 10.0 },
    Part { name: "growth", run: growth::run, entries: 10_000_000, seconds: 5.0 },
    Part { name: "scan", run: scan::run, entries: 10_000_000, seconds: 5.0 },
    Part { name: "all", run: all::run, entries: 10_000_000, seconds: 5.0 },
    Part { name: "churn", run: churn::run, entries: 50_000, seconds: 3600.0 },
    Part { name: "flush", run: flush::run, entries: 1_000_000, seconds: 2.0 },
];

/// How one part is run.
pub struct Options {
    /// How often each server is measured, in turn; medians count.
    pub rounds: usize,
    /// How many entries there are.
    pub entries: u64,
    /// How long is measured. Churn passes it in fast forward.
    pub duration: Duration,
}

/// What the command line asks for.
#[derive(Default)]
struct Wishes {
    only: Option<String>,
    rounds: Option<usize>,
    entries: Option<u64>,
    seconds: Option<f64>,
}

fn main() -> ExitCode {
    let result = churn::live_through_if_asked().unwrap_or_else(|| wishes().and_then(|wishes| measure(&wishes)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pauses: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wishes() -> io::Result<Wishes> {
    let mut wishes = Wishes::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = match word.as_str() {
            // Cargo says so to every bench.
            "--bench" => continue,
            _ => words.next().unwrap_or_default(),
        };
        let wrong = || io::Error::other(format!("cannot read {word} {value:?}"));
        match word.as_str() {
            "--only" if PARTS.iter().any(|part| part.name == value) => wishes.only = Some(value),
            "--rounds" => wishes.rounds = Some(value.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(wrong)?),
            "--entries" => wishes.entries = Some(value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?),
            "--seconds" => {
                let seconds = value.parse().ok().filter(|s| (0.1..=36_000.0).contains(s));
                wishes.seconds = Some(seconds.ok_or_else(wrong)?);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(wishes)
}

fn measure(wishes: &Wishes) -> io::Result<()> {
    if !process::can_pin() {
        println!(
            "no taskset or a single core: servers and load share cores, and the machine's own pauses are measured"
        );
    }
    for part in PARTS.iter().filter(|part| wishes.only.as_deref().is_none_or(|only| only == part.name)) {
        let options = Options {
            rounds: wishes.rounds.unwrap_or(1),
            entries: wishes.entries.unwrap_or(part.entries),
            duration: Duration::from_secs_f64(wishes.seconds.unwrap_or(part.seconds)),
        };
        (part.run)(&options)?;
    }
    Ok(())
}
