//! FLUSHALL: what others wait for while everything goes.

use std::io;
use std::time::{Duration, Instant};

use crate::Options;

use super::filler::{Shape, fill};
use super::probe::Prober;
use super::rounds::{Rounds, connect, contestants, millis, start};

/// Both ways to ask for it.
const WAYS: [&str; 2] = ["SYNC", "ASYNC"];

/// What lies between the quiet time that is measured and the flush.
const APART: Duration = Duration::from_millis(50);

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "FLUSHALL of session-shaped entries, GETs of keys that never were";
    let mut rounds = Rounds::new("flush", about, options);
    for _ in 0..options.rounds {
        for name in contestants() {
            measure(name, options, &mut rounds)?;
        }
    }
    rounds.conclude(|_, _| {})
}

fn measure(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let (shape, count, window) = (Shape::Session, options.entries, options.duration);
    let server = start(name)?;
    let mut connection = connect(&server)?;
    let questions = shape.idle_questions(count..count + 1000);
    for way in WAYS {
        fill(server.address, shape, 0..count, ["EX", "86400"])?;
        let prober = Prober::start(server.address, &questions)?;
        let began = Instant::now();
        std::thread::sleep(window + APART);
        let flushed = Instant::now();
        let () = redis::cmd("FLUSHALL").arg(way).query(&mut connection).map_err(io::Error::other)?;
        let took = flushed.elapsed();
        std::thread::sleep(window.saturating_sub(took));
        let end = Instant::now();
        let samples = prober.stop()?;
        rounds.distribution(&format!("GET before FLUSHALL {way}"), name, &samples.between(began, flushed - APART));
        rounds.distribution(&format!("GET during and after FLUSHALL {way}"), name, &samples.between(flushed, end));
        rounds.note(&format!("FLUSHALL {way}, the call"), name, millis(took), "ms");
    }
    Ok(())
}
