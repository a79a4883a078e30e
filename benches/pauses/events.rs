//! How late a subscriber hears that a key has expired, where very many others have deadlines too.
//!
//! Keys die one by one at known instants while somebody is subscribed to `__keyevent@0__:expired`. The others die much
//! later in one run, and all the time in another. What has not been heard of when the patience is over counts as that late.
//! A thread that only sleeps until such instants, on the servers' core, says how late the machine itself is.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Options;
use crate::support::histogram::Histogram;
use crate::support::process::{LOAD_CORE, SERVER_CORE, pin_this_thread};
use crate::support::words::Dice;

use super::filler::{Shape, fill_each};
use super::rounds::{Rounds, connect, contestants, start};

/// What the p99 of the lag may be, in milliseconds.
const LAG_MAX: f64 = 10.0;

/// Keys that die one by one, and are listened for.
const BRIEF: u32 = 1000;
/// From the first writing to the first death.
const LEAD: Duration = Duration::from_secs(1);
/// How long the last ones are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Over how many seconds the others die where they die all the time.
const SPREAD: usize = 300;

/// The instants that the machine alone is measured at, and what lies between two.
const NAPS: u32 = 1000;
const NAP: Duration = Duration::from_millis(2);

const MACHINE: &str = "the machine alone";

/// In how many seconds one of the others dies.
type Lifetime = fn(&mut Dice) -> usize;

/// When the others die.
const OTHERS: [(&str, Lifetime); 2] =
    [("others die tomorrow", |_| 86_400), ("others die all the time", |dice| 1 + dice.below(SPREAD))];

fn lag_among(what: &str) -> String {
    format!("deadline to event, {what}")
}

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "events of a thousand keys that die one by one, among so many small ones with deadlines of their own";
    let mut rounds = Rounds::new("events", about, options);
    for _ in 0..options.rounds {
        rounds.distribution("late from a sleep", MACHINE, &naps()?);
        for name in contestants() {
            for (what, ttl) in OTHERS {
                measure(name, what, ttl, options, &mut rounds)?;
            }
        }
    }
    rounds.conclude(|_, figure| {
        if OTHERS.iter().any(|(what, _)| figure.what == format!("{}, p99", lag_among(what))) {
            figure.at_most(LAG_MAX);
        }
    })
}

/// How late a thread wakes that does nothing.
fn naps() -> io::Result<Histogram> {
    let sleeper = std::thread::spawn(|| {
        pin_this_thread(Some(SERVER_CORE));
        let (mut samples, began) = (Histogram::new(), Instant::now());
        for number in 1..=NAPS {
            let at = began + NAP * number;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            samples.record(at.elapsed());
        }
        samples
    });
    sleeper.join().map_err(|_| io::Error::other("the sleeper panicked"))
}

fn measure(name: &str, what: &str, ttl: Lifetime, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let server = start(name)?;
    let mut connection = connect(&server)?;
    let mut listener = connect(&server)?;
    let mut dice = Dice::new(5);
    fill_each(server.address, Shape::Small, 0..options.entries, "EX", move |_| ttl(&mut dice).to_string())?;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "notify-keyspace-events", "Ex"])
        .query(&mut connection)
        .map_err(io::Error::other)?;
    listener.set_read_timeout(Some(PATIENCE)).map_err(io::Error::other)?;
    let mut heard = listener.as_pubsub();
    heard.subscribe("__keyevent@0__:expired").map_err(io::Error::other)?;

    let apart = options.duration / BRIEF;
    let (began, unix) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?);
    // Deadlines are whole milliseconds; what is cut off is no lag.
    let deadline = |number: u32| Duration::from_millis((unix + LEAD + apart * number).as_millis() as u64);
    let at = |number: u32| began + (deadline(number) - unix);
    let mut pipe = redis::pipe();
    for number in 0..BRIEF {
        let deadline = deadline(number).as_millis().to_string();
        pipe.cmd("SET").arg(format!("brief:{number}")).arg("x").arg("PXAT").arg(deadline).ignore();
    }
    let () = pipe.query(&mut connection).map_err(io::Error::other)?;
    if Instant::now() > at(0) {
        return Err(io::Error::other(format!("{name} took too long to write what is to die")));
    }

    let end = at(BRIEF - 1) + PATIENCE;
    let lags = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_this_thread(Some(LOAD_CORE));
            let mut lags: Vec<Option<Duration>> = vec![None; BRIEF as usize];
            let mut missing = BRIEF;
            while missing > 0 && Instant::now() < end {
                // An error is the end of the patience: where nobody else dies, nothing comes any more.
                let Ok(message) = heard.get_message() else { break };
                let now = Instant::now();
                let key: String = message.get_payload().map_err(io::Error::other)?;
                let number = key.strip_prefix("brief:").and_then(|number| number.parse::<u32>().ok());
                if let Some(number) = number.filter(|number| *number < BRIEF)
                    && lags[number as usize].is_none()
                {
                    lags[number as usize] = Some(now.saturating_duration_since(at(number)));
                    missing -= 1;
                }
            }
            Ok::<_, io::Error>(lags)
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the listener panicked")))
    })?;
    let came = lags.iter().flatten().count();
    let mut samples = Histogram::new();
    for (number, lag) in (0..).zip(&lags) {
        samples.record(lag.unwrap_or_else(|| Instant::now().saturating_duration_since(at(number))));
    }
    rounds.distribution(&lag_among(what), name, &samples);
    rounds.note(&format!("events that came, {what}"), name, came as f64, "of 1000");
    Ok(())
}
