//! Many entries with one deadline: what others wait for while they die, and when their memory is back.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Options;
use crate::support::figures::OURS;
use crate::support::servers::Running;

use super::filler::{Shape, fill};
use super::probe::Prober;
use super::rounds::{Rounds, connect, contestants, info, start};

/// What the p99 may become while they die, as a multiple of the quiet one.
const RATIO_MAX: f64 = 2.0;
/// Seconds after which the memory is to be back.
const BACK_MAX: f64 = 5.0;

/// Of what the filling took, the share that may still be held when memory counts as back.
const LEFT: f64 = 0.1;

/// Time for an entry to be written, so generous that all are there long before they die.
const FILL_EACH: Duration = Duration::from_micros(12);
/// Quiet after that, of which the last part is measured.
const QUIET: Duration = Duration::from_secs(3);
/// What lies between the quiet time that is measured and the deadline.
const APART: Duration = Duration::from_millis(100);
/// How often the memory is looked at, and for how long.
const LOOK_EACH: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(20);

/// Entries that outlive all this, for the prober.
const LASTING: u64 = 1000;

const QUIETLY: &str = "GET, quiet";
const MEANWHILE: &str = "GET, after the deadline";
const RESIDENT: &str = "resident memory back after";
const USED: &str = "used memory back after";

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "session-shaped entries with one deadline, GETs of others";
    let mut rounds = Rounds::new("deadline", about, options);
    for _ in 0..options.rounds {
        for name in contestants() {
            measure(name, options, &mut rounds)?;
        }
    }
    rounds.conclude(|rounds, figure| match figure.what.as_str() {
        what if what == format!("{MEANWHILE}, p99") => {
            let base = rounds.median(&format!("{QUIETLY}, p99"), OURS);
            figure.over("quiet", base).ratio_at_most(RATIO_MAX, "quiet");
        }
        RESIDENT | USED => {
            figure.at_most(BACK_MAX);
        }
        _ => {}
    })
}

/// Bytes of a server, from outside and as it counts them.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    used: f64,
}

impl Memory {
    fn of(server: &Running, connection: &mut redis::Connection) -> io::Result<Memory> {
        let used = info(connection, "memory", "used_memory")?;
        Ok(Memory { resident: server.process.resident()? as f64, used })
    }
}

fn measure(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let (shape, count, window) = (Shape::Session, options.entries, options.duration);
    let server = start(name)?;
    let mut connection = connect(&server)?;
    fill(server.address, shape, count..count + LASTING, ["EX", "86400"])?;
    let questions = shape.questions(count..count + LASTING);
    let before = Memory::of(&server, &mut connection)?;

    let lead = FILL_EACH * u32::try_from(count).unwrap_or(u32::MAX) + QUIET.max(window + 2 * APART);
    let deadline = Instant::now() + lead;
    let unix = (SystemTime::now() + lead).duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
    fill(server.address, shape, 0..count, ["PXAT", &unix.as_millis().to_string()])?;
    let held = Memory::of(&server, &mut connection)?;
    let quiet = deadline - APART - window;
    if Instant::now() > quiet {
        return Err(io::Error::other(format!("{name} was not filled before the deadline came near")));
    }
    let prober = Prober::start(server.address, &questions)?;
    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));

    let (mut resident, mut used) = (None, None);
    let is_back = |now: f64, before: f64, held: f64| now <= before + (held - before) * LEFT;
    let mut prober = Some(prober);
    let mut samples = None;
    while deadline.elapsed() < LOOK_MAX && (resident.is_none() || used.is_none() || prober.is_some()) {
        std::thread::sleep(LOOK_EACH);
        let after = deadline.elapsed();
        // The server is not asked while others are measured; what it says later is then the later instant.
        if is_back(server.process.resident()? as f64, before.resident, held.resident) {
            resident.get_or_insert(after);
        }
        if after > window {
            if let Some(prober) = prober.take() {
                samples = Some(prober.stop()?);
            }
            if used.is_none() && is_back(info(&mut connection, "memory", "used_memory")?, before.used, held.used) {
                used = Some(after);
            }
        }
    }
    let samples = samples.ok_or_else(|| io::Error::other("the window is longer than the memory is watched"))?;
    rounds.distribution(QUIETLY, name, &samples.between(quiet, deadline - APART));
    rounds.distribution(MEANWHILE, name, &samples.between(deadline, deadline + window));
    let megabytes = |bytes: f64| bytes / 1e6;
    rounds.note("resident memory, filled", name, megabytes(held.resident - before.resident), "MB");
    rounds.note(RESIDENT, name, resident.unwrap_or(LOOK_MAX).as_secs_f64(), "s");
    rounds.note(USED, name, used.unwrap_or(LOOK_MAX).as_secs_f64(), "s");
    let left = Memory::of(&server, &mut connection)?;
    rounds.note("resident memory, left over", name, megabytes(left.resident - before.resident), "MB");
    Ok(())
}
