//! Growth: what others wait for, and the one who writes, while a store is filled as fast as it takes entries.
//!
//! A machine pauses by itself, and so does whoever measures. Two controls tell that apart: the same prober while nothing
//! is written, and while the same entries are written again, which grows nothing. And the store alone, in this process,
//! with one thread: of every put also the CPU time is counted, which no neighbour and no network makes longer.

use std::io;
use std::time::{Duration, Instant};

use cloakroom::clock::Ttl;
use cloakroom::store::Store;

use crate::Options;
use crate::support::figures::{Figure, OURS};
use crate::support::histogram::Histogram;

use super::filler::{Shape, fill, fill_beside, small_key};
use super::probe::{Prober, Questions};
use super::rounds::{Rounds, contestants, start};

/// The longest pause that growth may cause, in milliseconds.
const PAUSE_MAX: f64 = 2.0;

/// Longer than the bench.
const TTL: [&str; 2] = ["EX", "86400"];

/// Entries for the prober.
const LASTING: u64 = 1000;

const IDLE: &str = "GET, idle";
const GROWING: &str = "GET while it grows";
const OVERWRITING: &str = "GET while entries are written again";
const GROWTH_BATCH: &str = "batch of 64 SETs, it grows";
const OVERWRITE_BATCH: &str = "batch of 64 SETs, written again";
const PUT: &str = "Store::put, it grows";
const PUT_CPU: &str = "Store::put, it grows, CPU time";
const OVERWRITE: &str = "Store::put, written again";
const OVERWRITE_CPU: &str = "Store::put, written again, CPU time";

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "small entries with a TTL, written in batches of 64, two under way";
    let mut rounds = Rounds::new("growth", about, options);
    for _ in 0..options.rounds {
        for name in contestants() {
            over_sockets(name, options, &mut rounds)?;
        }
        in_process(options, &mut rounds);
    }
    let longest = |what: &str| format!("{what}, max");
    rounds.conclude(|rounds, figure| match &figure.what {
        what if *what == longest(GROWING) => judge(figure, rounds.median(&longest(OVERWRITING), OURS)),
        what if *what == longest(GROWTH_BATCH) => judge(figure, rounds.median(&longest(OVERWRITE_BATCH), OURS)),
        what if *what == longest(PUT) => judge(figure, rounds.median(&longest(OVERWRITE), OURS)),
        what if *what == longest(PUT_CPU) => {
            figure.at_most(PAUSE_MAX);
        }
        _ => {}
    })
}

/// A pause that is too long counts against the server only where the control has none that is.
fn judge(figure: &mut Figure, control: Option<f64>) {
    let noisy = control.is_some_and(|control| control > PAUSE_MAX);
    let holds = figure.value <= PAUSE_MAX;
    figure.over("the control", control);
    figure.goal(format!("≤ {PAUSE_MAX} ms"), (holds || !noisy).then_some(holds));
}

fn over_sockets(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let (shape, count) = (Shape::Small, options.entries);
    let server = start(name)?;
    let address = server.address;
    fill(address, shape, count..count + LASTING, TTL)?;
    let questions = shape.questions(count..count + LASTING);

    let idle = asked_while(address, &questions, || {
        std::thread::sleep(options.duration);
        Ok(())
    })?;
    rounds.distribution(IDLE, name, &idle.1);
    for (asked, batch) in [(GROWING, GROWTH_BATCH), (OVERWRITING, OVERWRITE_BATCH)] {
        let began = Instant::now();
        let (batches, gets) = asked_while(address, &questions, || fill_beside(address, shape, 0..count, TTL))?;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        rounds.distribution(asked, name, &gets);
        rounds.distribution(batch, name, &batches);
        rounds.note(&format!("{batch}, rate"), name, rate, "SET/s");
    }
    Ok(())
}

/// Does something, and tells how long GETs took meanwhile.
fn asked_while<R>(
    address: std::net::SocketAddr,
    questions: &Questions,
    doing: impl FnOnce() -> io::Result<R>,
) -> io::Result<(R, Histogram)> {
    let prober = Prober::start(address, questions)?;
    let began = Instant::now();
    let result = doing()?;
    let ended = Instant::now();
    Ok((result, prober.stop()?.between(began, ended)))
}

fn in_process(options: &Options, rounds: &mut Rounds) {
    let store = Store::new();
    for (wall, cpu) in [(PUT, PUT_CPU), (OVERWRITE, OVERWRITE_CPU)] {
        let (mut passed, mut spent) = (Histogram::new(), Histogram::new());
        for number in 0..options.entries {
            let key = small_key(number);
            let (began, before) = (Instant::now(), own_cpu());
            let put = store.put(key.as_bytes(), &[b'x'; 32], Ttl::seconds(86_400));
            let after = own_cpu();
            passed.record(began.elapsed());
            if let (Some(before), Some(after)) = (before, after) {
                spent.record(after.saturating_sub(before));
            }
            put.expect("nothing is fenced");
        }
        rounds.distribution(wall, OURS, &passed);
        if !spent.is_empty() {
            rounds.distribution(cpu, OURS, &spent);
        }
    }
}

/// User and system time of this thread, where the system tells.
#[cfg(target_os = "linux")]
fn own_cpu() -> Option<Duration> {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(at.tv_sec.unsigned_abs(), at.tv_nsec.unsigned_abs() as u32))
}

#[cfg(not(target_os = "linux"))]
fn own_cpu() -> Option<Duration> {
    None
}
