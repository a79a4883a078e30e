//! Counts what a hit allocates, from the bytes of a request to the bytes of its reply, and fails when it is more than it
//! was: nothing for a GET, and for a session check what hyper needs for a request and its answer.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{HeaderValue, Request, Response};
use bytes::Bytes;
use cloakroom::clock::{Clock, Ttl};
use cloakroom::command::{self, Client};
use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parser};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use support::http::Client as Conversation;
use support::server::InProcess;
use support::upstream::Upstream;
use support::words::{self, KEY, PLAIN, SECRET, VALUE};

/// Allocations of a GET that hits, with the socket or without: keys are hashed on the stack, replies written in place.
const GET_MAX: u64 = 0;

/// Allocations of a session check that hits. The last row shows what hyper needs when nobody looks at anything.
const CHECK_MAX: u64 = 0;

/// The header lines of a hit, whose values do not matter here.
const HEAD: &[(&str, &str)] = &[
    ("cache-control", "private, no-cache, no-store"),
    ("content-type", "application/json"),
    ("expires", "0"),
    ("pragma", "no-cache"),
    ("x-session-source", "cache"),
    ("cache-status", "cloakroom; hit; ttl=5"),
    ("x-response-time", "0.01ms"),
];

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
    show("the same answer from bare hyper", bare_hyper());
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a row and tells whether it is within its limit.
fn judge(name: &str, count: u64, limit: u64) -> bool {
    let holds = count <= limit * HITS;
    let verdict = if holds { "" } else { "  FAILED" };
    println!("{name:38} {count:>8}  {:>6.2} each, {limit} at most{verdict}", count as f64 / HITS as f64);
    holds
}

/// Prints a row that is there to be compared with.
fn show(name: &str, count: u64) {
    println!("{name:38} {count:>8}  {:>6.2} each", count as f64 / HITS as f64);
}

/// What is allocated by so many calls, once everything is warm.
fn count(mut hit: impl FnMut()) -> u64 {
    (0..WARM_UP).for_each(|_| hit());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..HITS).for_each(|_| hit());
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn get(prefix: &str) -> u64 {
    let mut config = Config::default();
    // Whoever keeps slow commands copies their words, and on a busy machine any command may be slow.
    config.set("slowlog-log-slower-than", "-1").expect("a setting");
    let engine = Engine::new(config, Clock::system(), 1, command::COUNT);
    let (key, value) = (words::key(prefix, 1, KEY), words::value(VALUE));
    engine.store(0).put(key.as_bytes(), value.as_bytes(), LONG).expect("nothing is fenced");
    let now = engine.clock.now();
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let peer = engine.clients.enter(address, address, 0, now);
    let mut client = Client::new(&engine, peer, 0, true);
    let (request, expected) = (words::request(&["GET", &key]), words::bulk(&value));
    let (mut parser, mut out) = (Parser::new(), Vec::new());
    count(|| {
        out.clear();
        let len = parser.parse(&request, &Limits::default()).expect("a sound request");
        assert_eq!(len, Some(request.len()));
        let args = parser.args(&request);
        let ahead = engine.store(0).foresee(&args[1], 0);
        command::run(&engine, &mut client, args, ahead.as_ref(), now, &mut out);
        assert!(out == expected, "a hit");
    })
}

fn get_over_socket(prefix: &str) -> u64 {
    let server = InProcess::start(&[("slowlog-log-slower-than", "-1")]);
    let (key, value) = (words::key(prefix, 1, KEY), words::value(VALUE));
    server.engine().store(0).put(key.as_bytes(), value.as_bytes(), LONG).expect("nothing is fenced");
    let (request, expected) = (words::request(&["GET", &key]), words::bulk(&value));
    let mut client = Conversation::connect(server.resp()).expect("the RESP door");
    count(|| client.say(&request, &expected).expect("a hit"))
}

fn check_over_socket() -> u64 {
    let upstream = Upstream::start(Duration::ZERO, None).expect("a free port");
    let url = upstream.url();
    let server = InProcess::start(&[("upstream", &url), ("session-ttl", "3600s")]);
    let (request, body) = (words::check(1), words::body());
    let mut client = Conversation::connect(server.http()).expect("the HTTP door");
    let allocations = count(|| assert!(client.ask(&request).expect("an answer") == body.as_bytes(), "a hit"));
    assert_eq!(upstream.calls(), 1, "all but the first are hits");
    allocations
}

/// What hyper itself needs for such a request and an answer with as many header lines.
fn bare_hyper() -> u64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let (stream, _) = listener.accept().await.expect("one client");
            let body = Bytes::from(words::body());
            let service = service_fn(move |request: Request<Incoming>| {
                let mut response = Response::new(Full::new(body.clone()));
                for (name, value) in HEAD {
                    response.headers_mut().insert(*name, HeaderValue::from_static(value));
                }
                drop(request);
                async { Ok::<_, Infallible>(response) }
            });
            // It ends when its only client has left.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.expect("a sound connection");
        });
    });
    let (request, body) = (words::check(1), words::body());
    let mut client = Conversation::connect(address).expect("hyper");
    let allocations = count(|| assert!(client.ask(&request).expect("an answer") == body.as_bytes(), "an answer"));
    drop(client);
    server.join().expect("hyper ends");
    allocations
}
