//! cloakroom beside other servers under the same load: what a request costs them, and what an entry weighs.
//!
//! Servers run as processes of their own on one core, the load on another. They take turns, round by round, and the
//! median of the rounds counts: on a machine with noisy neighbours only figures of the same run can be compared. What
//! is compared is the CPU time of an operation (user and system time of the server divided by operations), which
//! holds still where throughput does not.
//!
//! `cargo bench --bench peers -- --rounds 1 --seconds 0.2 --entries 20000` is a quick look; `--only` and the name of a
//! part leaves out the rest. `--report` measures nothing: it puts what this and other programs have measured into one
//! table, and draws it into `docs/peers.svg`.
//!
//! redis-server and nginx are taken from the system. `VALKEY_SERVER`, `POGOCACHE` and `VARNISHD` name more peers by the
//! absolute paths of their binaries; `benches/support/servers.rs` has the arguments that each is given.

#[path = "../support/mod.rs"]
mod support;

mod chart;
mod http;
mod idle;
mod memory;
mod misses;
mod report;
mod resp;
mod types;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use support::figures::Figures;
use support::process;
use support::servers::{self, Peers};

/// Connections of every load.
const CONNECTIONS: usize = 50;

/// What can be measured alone.
struct Part {
    name: &'static str,
    run: fn(&Options, &Peers, &mut Figures) -> io::Result<()>,
}

const PARTS: &[Part] = &[
    Part { name: "resp", run: resp::compare },
    Part { name: "workers", run: resp::compare_workers },
    Part { name: "http", run: http::compare },
    Part { name: "misses", run: misses::compare },
    Part { name: "memory", run: memory::compare },
    Part { name: "idle", run: idle::compare },
    Part { name: "types", run: types::compare },
];

/// What the command line says.
struct Options {
    rounds: usize,
    seconds: f64,
    entries: u64,
    only: Option<String>,
    report: bool,
}

impl Options {
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn main() -> ExitCode {
    let result = servers::serve_if_asked().unwrap_or_else(|| options().and_then(|options| compare(&options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> io::Result<Options> {
    let mut options = Options { rounds: 5, seconds: 1.0, entries: 200_000, only: None, report: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = match word.as_str() {
            // Cargo says so to every bench.
            "--bench" => continue,
            "--report" => {
                options.report = true;
                continue;
            }
            _ => words.next().unwrap_or_default(),
        };
        let wrong = || io::Error::other(format!("cannot read {word} {value:?}"));
        match word.as_str() {
            "--rounds" => options.rounds = value.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(wrong)?,
            "--seconds" => {
                options.seconds = value.parse().ok().filter(|s| (0.01..=60.0).contains(s)).ok_or_else(wrong)?
            }
            "--entries" => options.entries = value.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?,
            "--only" if PARTS.iter().any(|part| part.name == value) => options.only = Some(value),
            _ => return Err(wrong()),
        }
    }
    Ok(options)
}

fn compare(options: &Options) -> io::Result<()> {
    if options.report {
        let files = Figures::read_all()?;
        report::print(&files);
        return chart::draw(&files);
    }
    if !process::can_pin() {
        println!("no taskset or a single core: servers and load share cores, and figures are noisy");
    }
    let peers = Peers::find()?;
    let conditions = format!("medians of {} rounds of {} s", options.rounds, options.seconds);
    let mut files = Vec::new();
    for (number, part) in PARTS.iter().enumerate() {
        if options.only.as_deref().is_some_and(|only| only != part.name) {
            continue;
        }
        // The numbers keep the parts in this order; a part that is measured again replaces only itself.
        let mut figures = Figures::new(&format!("peers-{}-{}", number + 1, part.name), &conditions);
        peers.versions.iter().for_each(|(server, version)| figures.version(server, version));
        (part.run)(options, &peers, &mut figures)?;
        figures.write()?;
        files.push(figures);
    }
    report::print(&files);
    Ok(())
}

/// Says where a run has got to; the figures come at the end.
fn progress(part: &str, round: usize, options: &Options) {
    eprintln!("{part}: round {} of {} done", round + 1, options.rounds);
}

/// An error that says whose it is.
fn failed(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
