//! How late an entry is reclaimed that dies among very many others which do not.
//!
//! Entries die one by one at known instants while DBSIZE is asked all the time: what is missing has been reclaimed, and
//! the first that goes is taken for the first that died. That flatters a server which finds its dead in another order;
//! the mean is right for any order.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Options;
use crate::support::histogram::Histogram;

use super::filler::{Shape, fill};
use super::rounds::{Rounds, connect, contestants, start};

/// What the p99 of the lag may be, in milliseconds.
const LAG_MAX: f64 = 10.0;

/// From one death to the next.
const APART: Duration = Duration::from_millis(20);
/// From the first writing to the first death.
const LEAD: Duration = Duration::from_millis(500);
/// How long the last ones are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions: the answer is as fine as this.
const LOOK_EACH: Duration = Duration::from_micros(500);

const LATE: &str = "deadline to reclaim";

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "entries that die one by one, 20 ms apart, among so many small ones that do not; seen by DBSIZE";
    let mut rounds = Rounds::new("lag", about, options);
    for _ in 0..options.rounds {
        for name in contestants() {
            measure(name, options, &mut rounds)?;
        }
    }
    rounds.conclude(|_, figure| {
        if figure.what == format!("{LATE}, p99") {
            figure.at_most(LAG_MAX);
        }
    })
}

fn measure(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let server = start(name)?;
    let mut connection = connect(&server)?;
    fill(server.address, Shape::Small, 0..options.entries, ["EX", "86400"])?;
    let count = (options.duration.as_millis() / APART.as_millis()).max(1) as u32;

    let (began, unix) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?);
    // Deadlines are whole milliseconds; what is cut off is added to what our clock says of them.
    let first = Duration::from_millis((unix + LEAD).as_millis() as u64);
    let first_at = began + (first - unix);
    let mut pipe = redis::pipe();
    for number in 0..count {
        let deadline = (first + APART * number).as_millis().to_string();
        pipe.cmd("SET").arg(format!("brief:{number}")).arg("x").arg("PXAT").arg(deadline).ignore();
    }
    let () = pipe.query(&mut connection).map_err(io::Error::other)?;
    if Instant::now() > first_at {
        return Err(io::Error::other(format!("{name} took too long to write what is to die")));
    }

    let all = options.entries + u64::from(count);
    let mut samples = Histogram::new();
    let mut gone = 0;
    let mut sum = Duration::ZERO;
    let end = first_at + APART * count + PATIENCE;
    while gone < count && Instant::now() < end {
        std::thread::sleep(LOOK_EACH);
        let left: u64 = redis::cmd("DBSIZE").query(&mut connection).map_err(io::Error::other)?;
        let now = Instant::now();
        while u64::from(gone) < all.saturating_sub(left) {
            let lag = now.saturating_duration_since(first_at + APART * gone);
            samples.record(lag);
            sum += lag;
            gone += 1;
        }
    }
    rounds.note("reclaimed in time", name, f64::from(gone) / f64::from(count) * 100.0, "%");
    // What has not gone by now is at least as late as this.
    for number in gone..count {
        let lag = Instant::now().saturating_duration_since(first_at + APART * number);
        samples.record(lag);
        sum += lag;
    }
    rounds.distribution(LATE, name, &samples);
    rounds.note(&format!("{LATE}, mean"), name, super::rounds::millis(sum / count), "ms");
    Ok(())
}
