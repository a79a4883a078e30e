//! A walk over all keys with SCAN, in small steps and in large ones, while others ask for values.

use std::io;
use std::time::Instant;

use crate::Options;
use crate::support::histogram::Histogram;
use crate::support::process::{LOAD_CORE, pin_this_thread};
use crate::support::servers::Running;

use super::filler::{Shape, fill, give_way};
use super::probe::Prober;
use super::rounds::{Rounds, connect, contestants, start};

/// What the p99 of others may be while somebody scans, in milliseconds.
const OTHERS_MAX: f64 = 5.0;

/// Keys that one call looks at.
const COUNTS: [usize; 2] = [10, 1000];

const QUIETLY: &str = "GET, quiet";

fn meanwhile(count: usize) -> String {
    format!("GET during SCAN COUNT {count}")
}

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "SCAN of small entries as fast as it goes, GETs of all of them meanwhile";
    let mut rounds = Rounds::new("scan", about, options);
    for _ in 0..options.rounds {
        for name in contestants() {
            measure(name, options, &mut rounds)?;
        }
    }
    rounds.conclude(|_, figure| {
        if COUNTS.iter().any(|count| figure.what == format!("{}, p99", meanwhile(*count))) {
            figure.at_most(OTHERS_MAX);
        }
    })
}

fn measure(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let shape = Shape::Small;
    let server = start(name)?;
    fill(server.address, shape, 0..options.entries, ["EX", "86400"])?;
    let prober = Prober::start(server.address, &shape.questions(0..options.entries))?;
    let mut spans = vec![(QUIETLY.to_owned(), Instant::now())];
    std::thread::sleep(options.duration);
    let mut walks = Vec::new();
    for count in COUNTS {
        spans.push((meanwhile(count), Instant::now()));
        walks.push((count, walk(&server, count, options)?));
    }
    let end = Instant::now();
    let samples = prober.stop()?;
    for (at, (what, from)) in spans.iter().enumerate() {
        let to = spans.get(at + 1).map_or(end, |next| next.1);
        rounds.distribution(what, name, &samples.between(*from, to));
    }
    for (count, (calls, keys)) in walks {
        rounds.distribution(&format!("SCAN COUNT {count}, a call"), name, &calls);
        let rate = keys as f64 / options.duration.as_secs_f64();
        rounds.note(&format!("SCAN COUNT {count}, keys"), name, rate, "keys/s");
    }
    Ok(())
}

/// Scans for as long as it is told to, from the beginning again if it comes to the end. Tells how long calls took, and
/// how many keys they brought.
fn walk(server: &Running, count: usize, options: &Options) -> io::Result<(Histogram, u64)> {
    let mut connection = connect(server)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_this_thread(Some(LOAD_CORE));
            give_way();
            let began = Instant::now();
            let (mut samples, mut cursor, mut seen) = (Histogram::new(), 0, 0);
            while began.elapsed() < options.duration {
                let call = Instant::now();
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("COUNT").arg(count);
                let (next, keys): (u64, Vec<Vec<u8>>) = scan.query(&mut connection).map_err(io::Error::other)?;
                samples.record(call.elapsed());
                cursor = next;
                seen += keys.len() as u64;
            }
            Ok((samples, seen))
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the scan panicked")))
    })
}
