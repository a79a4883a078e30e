//! Counts what a hit allocates, from the bytes of a request to the bytes of its reply, and fails when it is more than it
//! was: nothing for a GET, and for a session check what hyper needs for a request and its answer.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cloakroom::clock::{Clock, Ttl};
use cloakroom::command::{self, Client};
use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parser};

use support::http;
use support::server::InProcess;
use support::upstream::Upstream;
use support::words::{self, KEY, PLAIN, SECRET, VALUE};

/// Allocations of a GET that hits, with the socket or without: keys are hashed on the stack, replies written in place.
const GET_MAX: u64 = 0;

/// Allocations of a session check that hits.
const CHECK_MAX: u64 = 0;

/// Hits that are counted.
const HITS: u64 = 2000;
/// Hits before that, so that buffers have their size and hyper its connection.
const WARM_UP: u64 = 200;

/// Longer than the bench.
const LONG: Ttl = Ttl::seconds(3600);

/// Allocations of the whole process: the server has threads of its own, and the clients here make none.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, counted.
struct Counting;

// An allocator cannot be written without unsafe code; this one only counts and hands on.
#[allow(unsafe_code)]
// SAFETY: every call goes on to the system's allocator unchanged, so its promises hold here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above; the block came from the system's allocator.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn main() -> ExitCode {
    let mut holds = true;
    println!("allocations of {HITS} hits");
    for (name, prefix) in [("plain key", PLAIN), ("session key", SECRET)] {
        holds &= judge(&format!("GET, {name}, bytes to bytes"), get(prefix), GET_MAX);
        holds &= judge(&format!("GET, {name}, over a socket"), get_over_socket(prefix), GET_MAX);
    }
    holds &= judge("GET /api/auth/session over a socket", check_over_socket(), CHECK_MAX);
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a row and tells whether it is within its limit.
fn judge(name: &str, count: u64, limit: u64) -> bool {
    let holds = count <= limit * HITS;
    let verdict = if holds { "" } else { "  FAILED" };
    println!("{name:38} {count:>8}  {:>6.2} each, {limit} at most{verdict}", count as f64 / HITS as f64);
    holds
}

/// What is allocated by so many calls, once everything is warm.
fn count(mut hit: impl FnMut()) -> u64 {
    (0..WARM_UP).for_each(|_| hit());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..HITS).for_each(|_| hit());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn get(prefix: &str) -> u64 {
    let engine = Engine::new(Config::default(), Clock::system(), 1, command::COUNT);
    let (key, value) = (words::key(prefix, 1, KEY), words::value(VALUE));
    engine.store(0).put(key.as_bytes(), value.as_bytes(), LONG).expect("nothing is fenced");
    let now = engine.clock.now();
    let peer = engine.clients.enter("127.0.0.1:1".into(), "127.0.0.1:6379".into(), 0, now);
    let mut client = Client::new(&engine, peer, 0, true);
    let (request, expected) = (words::request(&["GET", &key]), words::bulk(&value));
    let (mut parser, mut out) = (Parser::new(), Vec::new());
    count(|| {
        out.clear();
        let len = parser.parse(&request, &Limits::default()).expect("a sound request");
        assert_eq!(len, Some(request.len()));
        command::run(&engine, &mut client, parser.args(&request), now, &mut out);
        assert!(out == expected, "a hit");
    })
}

fn get_over_socket(prefix: &str) -> u64 {
    let server = InProcess::start(&[]);
    let (key, value) = (words::key(prefix, 1, KEY), words::value(VALUE));
    server.engine().store(0).put(key.as_bytes(), value.as_bytes(), LONG).expect("nothing is fenced");
    let (request, expected) = (words::request(&["GET", &key]), words::bulk(&value));
    let mut client = http::Client::connect(server.resp()).expect("the RESP door");
    count(|| client.say(&request, &expected).expect("a hit"))
}

fn check_over_socket() -> u64 {
    let upstream = Upstream::start(Duration::ZERO, None).expect("a free port");
    let url = upstream.url();
    let server = InProcess::start(&[("upstream", &url), ("session-ttl", "3600s")]);
    let (request, body) = (words::check(1), words::body());
    let mut client = http::Client::connect(server.http()).expect("the HTTP door");
    let allocations = count(|| assert!(client.ask(&request).expect("an answer") == body.as_bytes(), "a hit"));
    assert_eq!(upstream.calls(), 1, "all but the first are hits");
    allocations
}
