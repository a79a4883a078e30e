//! Somebody who asks for values at a steady rate, and how long each answer takes.
//!
//! A request whose turn came while the one before was still unanswered counts from its turn: a pause is felt by everybody
//! who would have asked meanwhile, not by one alone. What the prober itself is late, because the system woke it late, is
//! nobody's wait.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::histogram::Histogram;
use crate::support::http::Client;
use crate::support::process::{LOAD_CORE, pin_this_thread};
use crate::support::words::Dice;

/// Connections that take turns.
const CONNECTIONS: usize = 4;

/// From one turn to the next: four thousand requests a second, a few per cent of what a server can do.
const INTERVAL: Duration = Duration::from_micros(250);

/// What is asked, and the one answer to all of it.
#[derive(Clone)]
pub struct Questions {
    /// Requests, asked in random order.
    pub requests: Arc<[Vec<u8>]>,
    /// The reply to each.
    pub reply: Vec<u8>,
}

/// When somebody asked, and how long that took.
struct Sample {
    at: Instant,
    took: Duration,
}

/// All answers of a prober.
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Those asked for in a span of time.
    pub fn between(&self, from: Instant, to: Instant) -> Histogram {
        let mut histogram = Histogram::new();
        let within = self.0.iter().filter(|sample| (from..to).contains(&sample.at));
        within.for_each(|sample| histogram.record(sample.took));
        histogram
    }
}

/// A thread that asks until it is told to stop.
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Samples>>>,
}

impl Prober {
    /// Connects and begins to ask.
    pub fn start(address: SocketAddr, questions: &Questions) -> io::Result<Prober> {
        let clients = (0..CONNECTIONS).map(|_| Client::connect(address)).collect::<io::Result<Vec<_>>>()?;
        let (stop, questions) = (Arc::new(AtomicBool::new(false)), questions.clone());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            pin_this_thread(Some(LOAD_CORE));
            ask(clients, &questions, &stopped)
        });
        Ok(Prober { stop, thread: Some(thread) })
    }

    /// Stops, and hands over what was seen; an error if an answer was wrong or did not come.
    pub fn stop(mut self) -> io::Result<Samples> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| Err(io::Error::other("the prober panicked")))
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask(mut clients: Vec<Client>, questions: &Questions, stop: &AtomicBool) -> io::Result<Samples> {
    let mut samples = Vec::new();
    let mut dice = Dice::new(1);
    let mut turn = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < turn {
            std::thread::sleep(turn - now);
            // Ours, if it was too long.
            turn = Instant::now();
        }
        let request = &questions.requests[dice.below(questions.requests.len())];
        let at = samples.len() % CONNECTIONS;
        clients[at].say(request, &questions.reply)?;
        samples.push(Sample { at: turn, took: turn.elapsed() });
        turn += INTERVAL;
    }
    Ok(Samples(samples))
}
