//! How long things take, measured where they happen: in the process, over a real socket, at the source, at a deadline.
//!
//! Criterion says how fast on average and whether that has changed since the last run. Beside it every single sample is
//! counted, printed as a distribution at the end, and judged: the program fails when the p99 of a hit, or of the
//! janitor's lag, reaches ten milliseconds.

mod support;

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
use cloakroom::command::{self, Client};
use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::resp::{Limits, Parser};
use cloakroom::store::{Store, Sweep};
use criterion::{Criterion, SamplingMode, Throughput};

use support::histogram::{Histogram, Report};
use support::http;
use support::server::InProcess;
use support::upstream::Upstream;
use support::words::{self, Dice, KEY, PLAIN, SECRET, VALUE};

/// What the hit path's p99, and the janitor's, must stay below.
const LATE: Duration = Duration::from_millis(10);

/// Requests of a batch.
const BATCH: usize = 32;
/// Entries among which hits are spread, as many as the comparison with other servers uses.
const ENTRIES: u64 = 20_000;
/// Checks that arrive at once.
const BURST: usize = 100;
/// How long the source takes to answer the first of them.
const SOURCE: Duration = Duration::from_millis(80);
/// Entries that one sweep finds dead.
const DUE: u64 = 100_000;
/// Entries with deadlines that must not keep the janitor from being punctual.
const OTHERS: u64 = 1_000_000;
/// How long the janitor may take before the bench gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any bench.
const LONG: Ttl = Ttl::seconds(3600);

fn main() -> ExitCode {
    let mut benches = Benches {
        criterion: Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .configure_from_args(),
        report: Report::default(),
    };
    in_process(&mut benches);
    over_sockets(&mut benches);
    burst(&mut benches);
    expiry(&mut benches);
    benches.criterion.final_summary();
    if benches.report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Criterion, and the distributions beside it.
struct Benches {
    criterion: Criterion,
    report: Report,
}

/// How one bench is run.
struct Plan {
    name: &'static str,
    elements: usize,
    limit: Option<Duration>,
    /// Long operations, of which criterion is to make as few as it can.
    long: bool,
}

impl Plan {
    fn hit(name: &'static str, elements: usize) -> Plan {
        Plan { name, elements, limit: Some(LATE), long: false }
    }
}

impl Benches {
    /// Prepares and measures, unless the command line has left it out. An operation tells how long it took, so that
    /// what it does before and after is not counted.
    fn bench<Op: FnMut() -> Duration>(&mut self, plan: Plan, prepare: impl Fn() -> Op) {
        let mut samples = Histogram::new();
        let mut prepared = None;
        let mut group = self.criterion.benchmark_group("cloakroom");
        group.throughput(Throughput::Elements(plan.elements as u64));
        if plan.long {
            group.sampling_mode(SamplingMode::Flat).sample_size(10);
        }
        group.bench_function(plan.name, |bencher| {
            let operation = prepared.get_or_insert_with(&prepare);
            bencher.iter_custom(|iterations| {
                let mut sum = Duration::ZERO;
                for _ in 0..iterations {
                    let sample = operation();
                    samples.record(sample);
                    sum += sample;
                }
                sum
            });
        });
        group.finish();
        self.report.add(plan.name, samples, plan.limit);
    }
}

/// Makes an operation of something that is timed from beginning to end.
fn timed(mut operation: impl FnMut()) -> impl FnMut() -> Duration {
    move || {
        let began = Instant::now();
        operation();
        began.elapsed()
    }
}

// ---- in the process ---------------------------------------------------------------------------------------------

fn in_process(benches: &mut Benches) {
    let keys = |prefix, len| (0..ENTRIES).map(|n| words::key(prefix, n, len).into_bytes()).collect::<Vec<_>>();
    benches.bench(Plan::hit("get: 16-byte keys, batch of 32", BATCH), || store_hits(keys("", 16)));
    benches.bench(Plan::hit("get: 343-byte keys, batch of 32", BATCH), || store_hits(keys(PLAIN, KEY)));
    benches.bench(Plan::hit("get: 343-byte session keys, batch of 32", BATCH), || store_hits(keys(SECRET, KEY)));
    let requests = |prefix, len| {
        let key = |n| words::key(prefix, n, len);
        (0..ENTRIES).map(key).collect::<Vec<_>>()
    };
    benches.bench(Plan::hit("bytes to bytes: 16-byte keys, batch of 32", BATCH), || command_hits(requests("", 16)));
    benches
        .bench(Plan::hit("bytes to bytes: 343-byte keys, batch of 32", BATCH), || command_hits(requests(PLAIN, KEY)));
    benches.bench(Plan::hit("bytes to bytes: 343-byte session keys, batch of 32", BATCH), || {
        command_hits(requests(SECRET, KEY))
    });
}

fn store_hits(keys: Vec<Vec<u8>>) -> impl FnMut() -> Duration {
    let store = Store::new();
    let value = words::value(VALUE);
    for key in &keys {
        store.put(key, value.as_bytes(), LONG).expect("nothing is fenced");
    }
    let now = store.clock().now();
    let mut dice = Dice::new(1);
    timed(move || {
        for _ in 0..BATCH {
            let key = &keys[dice.below(keys.len())];
            let len = store.get(key, now, |value| value.string().map(<[u8]>::len));
            assert!(matches!(black_box(len), Some(Ok(VALUE))), "a hit");
        }
    })
}

fn command_hits(keys: Vec<String>) -> impl FnMut() -> Duration {
    let engine = Engine::new(Config::default(), Clock::system(), 1, command::COUNT);
    let value = words::value(VALUE);
    for key in &keys {
        engine.store(0).put(key.as_bytes(), value.as_bytes(), LONG).expect("nothing is fenced");
    }
    let now = engine.clock.now();
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let peer = engine.clients.enter(address, address, 0, now);
    let mut client = Client::new(&engine, peer, 0, true);
    let batches: Vec<Vec<u8>> =
        keys.chunks(BATCH).map(|keys| keys.iter().flat_map(|key| words::request(&["GET", key])).collect()).collect();
    let expected = words::bulk(&value).repeat(BATCH);
    let (mut parser, mut out, mut dice) = (Parser::new(), Vec::new(), Dice::new(1));
    timed(move || {
        let mut request = &batches[dice.below(batches.len())][..];
        out.clear();
        while let Ok(Some(len)) = parser.parse(request, &Limits::default()) {
            let args = parser.args(request);
            let ahead = engine.store(0).foresee(&args[1], 0);
            command::run(&engine, &mut client, args, ahead.as_ref(), now, &mut out);
            request = &request[len..];
        }
        assert!(out == expected, "the value, {BATCH} times");
    })
}

// ---- over sockets -----------------------------------------------------------------------------------------------

fn over_sockets(benches: &mut Benches) {
    benches.bench(Plan::hit("RESP hit over a socket", 1), || {
        let server = InProcess::start(&[]);
        let value = words::value(VALUE);
        let keys: Vec<String> = (0..ENTRIES).map(|n| words::key(SECRET, n, KEY)).collect();
        for key in &keys {
            server.engine().store(0).put(key.as_bytes(), value.as_bytes(), LONG).expect("nothing is fenced");
        }
        let requests: Vec<Vec<u8>> = keys.iter().map(|key| words::request(&["GET", key])).collect();
        let mut client = http::Client::connect(server.resp()).expect("the RESP door");
        let (reply, mut dice) = (words::bulk(&value), Dice::new(1));
        timed(move || {
            client.say(&requests[dice.below(requests.len())], &reply).expect("a hit");
            black_box(&server);
        })
    });
    benches.bench(Plan::hit("HTTP hit over a socket", 1), || {
        let mut door = Door::open(Duration::ZERO);
        let (request, body) = (words::check(0), words::body());
        door.check(&request, &body);
        timed(move || {
            door.check(&request, &body);
            assert_eq!(door.calls(), 1, "all other checks are hits");
        })
    });
    benches.bench(Plan { limit: None, ..Plan::hit("HTTP miss, source at once", 1) }, || {
        let mut door = Door::open(Duration::ZERO);
        let body = words::body();
        let mut asked = 0;
        move || {
            asked += 1;
            let request = words::check(asked);
            let began = Instant::now();
            door.check(&request, &body);
            let took = began.elapsed();
            assert_eq!(door.calls(), asked, "every check is a miss");
            took
        }
    });
}

/// The session door before an application, and a client.
struct Door {
    client: http::Client,
    server: InProcess,
    upstream: Upstream,
}

impl Door {
    fn open(delay: Duration) -> Door {
        let upstream = Upstream::start(delay, None).expect("a free port");
        // A hit is to stay one for as long as the bench runs.
        let settings = [("upstream", upstream.url()), ("session-ttl", "3600s".to_owned())];
        let server = InProcess::start(&settings.each_ref().map(|(name, value)| (*name, value.as_str())));
        let client = http::Client::connect(server.http()).expect("the HTTP door");
        Door { client, server, upstream }
    }

    /// One check, with the answer it must have.
    fn check(&mut self, request: &[u8], body: &str) {
        assert!(self.client.ask(request).expect("an answer") == body.as_bytes(), "the session");
    }

    /// How often the application was asked.
    fn calls(&self) -> u64 {
        self.upstream.calls()
    }
}

/// A hundred checks of a token that nobody knows yet: one call, and the time until the last has its answer.
fn burst(benches: &mut Benches) {
    let plan = Plan { limit: None, long: true, ..Plan::hit("HTTP burst of 100 on a source of 80 ms", BURST) };
    benches.bench(plan, || {
        let door = Door::open(SOURCE);
        let address = door.server.http();
        let mut clients: Vec<_> = (0..BURST).map(|_| http::Client::connect(address).expect("the HTTP door")).collect();
        let body = words::body();
        let mut round = 0;
        move || {
            round += 1;
            let request = words::check(round);
            let (request, body) = (&request, body.as_bytes());
            let start = std::sync::Barrier::new(BURST + 1);
            let start = &start;
            let took = std::thread::scope(|scope| {
                let asks: Vec<_> = clients
                    .iter_mut()
                    .map(|client| {
                        scope.spawn(move || {
                            start.wait();
                            assert_eq!(client.ask(request).expect("an answer"), body);
                            Instant::now()
                        })
                    })
                    .collect();
                start.wait();
                let began = Instant::now();
                let ended = asks.into_iter().map(|ask| ask.join().expect("an answer")).max();
                ended.map_or(Duration::ZERO, |ended| ended.saturating_duration_since(began))
            });
            assert_eq!(door.calls(), round, "one call for all");
            took
        }
    });
}

// ---- expiry -----------------------------------------------------------------------------------------------------

fn expiry(benches: &mut Benches) {
    let plan = Plan { limit: None, long: true, ..Plan::hit("sweep of 100 000 dead entries", DUE as usize) };
    benches.bench(plan, || {
        let clock = ManualClock::default();
        let store = Store::builder().clock(clock.clone()).build();
        move || {
            fill(&store, DUE, |n| Ttl(1 + n % 1000));
            clock.advance(Ttl::seconds(1));
            let began = Instant::now();
            while store.sweep(clock.now()) == Sweep::MoreDue {}
            let took = began.elapsed();
            assert!(store.is_empty(), "all are gone");
            took
        }
    });
    let plan = Plan { long: true, ..Plan::hit("deadline to reclaim, 1 000 000 other deadlines", 1) };
    benches.bench(plan, || {
        let server = InProcess::start(&[]);
        let engine = server.engine().clone();
        fill(engine.store(0), OTHERS, |n| Ttl(LONG.0 + n % 1_000_000));
        let mut dice = Dice::new(1);
        move || {
            black_box(&server);
            lag(&engine, Ttl(1 + dice.roll() % 5))
        }
    });
}

/// Writes entries of fifteen and thirty-two bytes.
fn fill(store: &Store, count: u64, ttl: impl Fn(u64) -> Ttl) {
    for n in 0..count {
        store.put(format!("entry:{n:09}").as_bytes(), &[b'x'; 32], ttl(n)).expect("nothing is fenced");
    }
}

/// How long after its deadline an entry that lives for `ttl` is reclaimed.
fn lag(engine: &Arc<Engine>, ttl: Ttl) -> Duration {
    let store = engine.store(0);
    let deadline: Millis = engine.clock.now() + ttl;
    store
        .write(b"brief", b"x", engine.clock.now(), |slot, fresh| slot.put(fresh.until(deadline)))
        .expect("nothing is fenced");
    assert_eq!(store.next_due(), deadline, "all others live longer");
    let began = Instant::now();
    // Asked from time to time and not all the time: the janitor may be on the same core.
    while store.next_due() <= deadline {
        assert!(began.elapsed() < PATIENCE, "the janitor does not come");
        std::thread::sleep(Duration::from_micros(50));
    }
    Duration::from_micros(engine.clock.micros().saturating_sub(deadline.0 * 1000))
}
