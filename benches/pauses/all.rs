//! What asks for all keys at once: KEYS, DBSIZE and FLUSHALL, and what others wait for meanwhile.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Options;
use crate::support::figures::OURS;
use crate::support::histogram::Histogram;
use crate::support::http::expect;
use crate::support::process::{LOAD_CORE, pin_this_thread};
use crate::support::servers::Running;
use crate::support::words::{KEY, SECRET, key, request};

use super::filler::{BATCH, Shape, fill, give_way, small_key};
use super::probe::{Prober, Questions};
use super::rounds::{Rounds, connect, contestants, millis, start};

/// What the p99 of others may be, in milliseconds.
const OTHERS_MAX: f64 = 5.0;

/// What is asked for: patterns that fit few keys and all, how many there are, and that all go.
const ASKED: [(&str, &[&str]); 5] = [
    ("KEYS, few fit", &["KEYS", "entry:*00000"]),
    ("KEYS, all fit", &["KEYS", "*"]),
    ("DBSIZE", &["DBSIZE"]),
    ("FLUSHALL ASYNC", &["FLUSHALL", "ASYNC"]),
    ("FLUSHALL SYNC", &["FLUSHALL", "SYNC"]),
];

/// One sign-out for so many entries: each leaves a fence, which a flush must find and keep.
const ENTRIES_PER_FENCE: u64 = 100;

fn meanwhile(what: &str) -> String {
    format!("GET during {what}")
}

/// Measures it.
pub fn run(options: &Options) -> io::Result<()> {
    let about = "commands about all of the small entries there are, GETs meanwhile";
    let mut rounds = Rounds::new("all", about, options);
    for _ in 0..options.rounds {
        for name in contestants() {
            measure(name, options, &mut rounds)?;
        }
    }
    rounds.conclude(|_, figure| {
        if ASKED.iter().any(|(what, _)| figure.what == format!("{}, p99", meanwhile(what))) {
            figure.at_most(OTHERS_MAX);
        }
    })
}

fn measure(name: &str, options: &Options, rounds: &mut Rounds) -> io::Result<()> {
    let (shape, count) = (Shape::Small, options.entries);
    let server = start(name)?;
    // One connection is for what may be longer than a client who does not read is allowed.
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "client-output-buffer-limit", "normal 0 0 0"])
        .query(&mut connect(&server)?)
        .map_err(io::Error::other)?;
    let mut is_full = false;
    for (what, words) in ASKED {
        let flushes = words[0] == "FLUSHALL";
        if !is_full {
            fill(server.address, shape, 0..count, ["EX", "86400"])?;
            is_full = true;
        }
        if flushes && name == OURS {
            sign_out(&server, count / ENTRIES_PER_FENCE)?;
        }
        // A flush takes away what would be asked for.
        let questions = if flushes { shape.idle_questions(count..count + 1000) } else { shape.questions(0..count) };
        let spans = ask(&server, &request(words), &questions, if flushes { Some(1) } else { None }, options)?;
        rounds.distribution(&format!("GET before {what}"), name, &spans.before);
        rounds.distribution(&meanwhile(what), name, &spans.during);
        rounds.note(&format!("{what}, a call"), name, millis(spans.calls.at(0.5)), "ms");
        is_full &= !flushes;
    }
    Ok(())
}

/// How long calls took, and what others waited before and meanwhile.
struct Spans {
    before: Histogram,
    during: Histogram,
    calls: Histogram,
}

/// Asks the same again and again for as long as is measured, or so many times and then no more.
fn ask(
    server: &Running,
    request: &[u8],
    questions: &Questions,
    most: Option<u64>,
    options: &Options,
) -> io::Result<Spans> {
    let window = options.duration;
    let prober = Prober::start(server.address, questions)?;
    let began = Instant::now();
    std::thread::sleep(window);
    let asked = Instant::now();
    let address = server.address;
    let calls = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin_this_thread(Some(LOAD_CORE));
            give_way();
            let mut stream = BufReader::with_capacity(1 << 16, TcpStream::connect(address)?);
            let mut calls = Histogram::new();
            while asked.elapsed() < window && most.is_none_or(|most| calls.len() < most) {
                let call = Instant::now();
                stream.get_mut().write_all(request)?;
                take_reply(&mut stream)?;
                calls.record(call.elapsed());
            }
            Ok(calls)
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("who asks panicked")))
    })?;
    std::thread::sleep(window.saturating_sub(asked.elapsed()));
    let end = Instant::now();
    let samples = prober.stop()?;
    // The end of what was before is given to neither: threads start.
    let apart = Duration::from_millis(50);
    Ok(Spans { before: samples.between(began, asked - apart), during: samples.between(asked, end), calls })
}

/// Reads a reply: a line, and behind that of an array as many names of one length as it says.
fn take_reply(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    match line.as_bytes().first() {
        Some(b'*') => {
            let count = line[1..].trim().parse::<u64>().map_err(io::Error::other)?;
            let bytes = count * format!("$15\r\n{}\r\n", small_key(0)).len() as u64;
            let taken = io::copy(&mut stream.by_ref().take(bytes), &mut io::sink())?;
            if taken == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
        Some(b':' | b'+') => Ok(()),
        _ => Err(io::Error::other(format!("an answer that was not looked for: {line:?}"))),
    }
}

/// Signs out so many sessions that never were.
fn sign_out(server: &Running, count: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(server.address)?;
    let mut replies = Vec::new();
    for first in (0..count).step_by(BATCH) {
        let numbers = first..count.min(first + BATCH as u64);
        let wanted = b":0\r\n".repeat((numbers.end - numbers.start) as usize);
        let requests = numbers.flat_map(|number| request(&["DEL", &key(SECRET, number, KEY)]));
        stream.write_all(&requests.collect::<Vec<u8>>())?;
        replies.resize(wanted.len(), 0);
        stream.read_exact(&mut replies)?;
        expect(&replies, &wanted)?;
    }
    Ok(())
}
