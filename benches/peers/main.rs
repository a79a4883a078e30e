//! cloakroom beside other servers under the same load: what a request costs them, and what an entry weighs.
//!
//! Servers run as processes of their own on one core, the load on another. They take turns, round by round, and the
//! median of the rounds counts: on a machine with noisy neighbours only figures of the same run can be compared. What
//! is compared is the CPU time of an operation (user and system time of the server divided by operations), which
//! holds still where throughput does not.
//!
//! `cargo bench --bench peers -- --rounds 1 --seconds 0.2 --entries 20000` is a quick look;
//! `--only resp`, `http` or `memory` leaves out the rest.

#[path = "../support/mod.rs"]
mod support;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use support::histogram::Short;
use support::load::{self, Load, Outcome, Reply, Requests};
use support::process;
use support::servers::{self, Running, bare_hyper, cloakroom, mini_redis, nginx, peer, redis};
use support::upstream::Upstream;
use support::words::{self, KEY, PLAIN, SECRET, VALUE};

/// Connections of every load.
const CONNECTIONS: usize = 50;
/// Keys of the Redis protocol's load.
const KEYS: u64 = 20_000;
/// Sessions whose checks are the load over HTTP; few, so that nearly all are hits although each lives five seconds.
const SESSIONS: u64 = 100;
/// Seconds for which entries live that are to be read: longer than any load, as only hits are compared.
const READ_TTL: &str = "600";
/// Batches of requests: one at a time, and pipelined.
const DEPTHS: [usize; 2] = [1, 16];

/// What cloakroom is to cost at most, as a share of redis-server, in the order of [`cells`].
const RESP_GOALS: [f64; 4] = [1.0, 0.75, 1.0, 0.75];
/// The same over HTTP, as a share of nginx.
const HTTP_GOAL: f64 = 0.6;

struct Options {
    rounds: usize,
    seconds: f64,
    entries: u64,
    only: Option<String>,
}

fn main() -> ExitCode {
    let result = servers::serve_if_asked().unwrap_or_else(|| options().and_then(|options| compare(&options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> io::Result<Options> {
    let mut options = Options { rounds: 5, seconds: 1.0, entries: 200_000, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = match word.as_str() {
            // Cargo says so to every bench.
            "--bench" => continue,
            _ => words.next().unwrap_or_default(),
        };
        let wrong = || io::Error::other(format!("cannot read {word} {value:?}"));
        match word.as_str() {
            "--rounds" => options.rounds = value.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(wrong)?,
            "--seconds" => {
                options.seconds = value.parse().ok().filter(|s| (0.01..=60.0).contains(s)).ok_or_else(wrong)?
            }
            "--entries" => options.entries = value.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?,
            "--only" if ["resp", "http", "memory"].contains(&value.as_str()) => options.only = Some(value),
            _ => return Err(wrong()),
        }
    }
    Ok(options)
}

fn compare(options: &Options) -> io::Result<()> {
    if !process::can_pin() {
        println!("no taskset or a single core: servers and load share cores, and figures are noisy");
    }
    let wants = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    if wants("resp") {
        compare_resp(options)?;
    }
    if wants("http") {
        compare_http(options)?;
    }
    if wants("memory") {
        compare_memory(options)?;
    }
    Ok(())
}

// ---- RESP -------------------------------------------------------------------------------------------------------

/// What is measured: GET or SET, and how many requests at a time.
fn cells() -> [(&'static str, usize); 4] {
    let [one, many] = DEPTHS;
    [("GET", one), ("GET", many), ("SET", one), ("SET", many)]
}

struct Contender {
    name: &'static str,
    server: Running,
    load: RespLoad,
    /// For each cell, CPU time of an operation in microseconds and p99 of a batch, one of each a round.
    costs: [Vec<f64>; 4],
    tails: [Vec<f64>; 4],
}

impl Contender {
    fn new(name: &'static str, server: Running, load: &RespLoad) -> Contender {
        Contender { name, server, load: load.clone(), costs: Default::default(), tails: Default::default() }
    }

    fn measure(&self, (command, depth): (&str, usize), duration: Duration) -> io::Result<Outcome> {
        let value = words::bulk(&words::value(VALUE));
        let (requests, reply) = match command {
            "GET" => {
                load::fill(self.server.address, numbers(KEYS).map(|n| set(self.load.prefix, n, READ_TTL)), b"+OK\r\n")?;
                (self.load.gets.clone(), &value[..])
            }
            _ => (self.load.sets.clone(), &b"+OK\r\n"[..]),
        };
        let reply = Reply::Bytes(reply);
        let load = Load { address: self.server.address, connections: CONNECTIONS, depth, duration, requests, reply };
        load.run(|| self.server.process.cpu())
    }
}

/// GETs and SETs of the same keys.
#[derive(Clone)]
struct RespLoad {
    prefix: &'static str,
    gets: Requests,
    sets: Requests,
}

/// Requests for all keys under a prefix; what is written under load lives five or six seconds.
fn resp_load(prefix: &'static str) -> RespLoad {
    let get = |n| words::request(&["GET", &words::key(prefix, n, KEY)]);
    let brief = |n| set(prefix, n, if n % 2 == 0 { "5" } else { "6" });
    RespLoad { prefix, gets: (0..KEYS).map(get).collect(), sets: (0..KEYS).map(brief).collect() }
}

/// The numbers of keys, as an iterator that knows its length.
fn numbers(end: u64) -> impl ExactSizeIterator<Item = u64> + Send {
    (0..end as usize).map(|n| n as u64)
}

fn set(prefix: &str, number: u64, seconds: &str) -> Vec<u8> {
    words::request(&["SET", &words::key(prefix, number, KEY), &words::value(VALUE), "EX", seconds])
}

fn compare_resp(options: &Options) -> io::Result<()> {
    let (secret, plain) = (resp_load(SECRET), resp_load(PLAIN));
    let mut contenders = vec![
        Contender::new("cloakroom, session keys", cloakroom("resp", &[])?, &secret),
        Contender::new("cloakroom, plain keys", cloakroom("resp", &[])?, &plain),
    ];
    if let Some(program) = peer("redis-server") {
        contenders.push(Contender::new("redis-server", redis(&program, &[])?, &secret));
    }
    contenders.push(Contender::new("mini-redis", mini_redis()?, &secret));

    let duration = Duration::from_secs_f64(options.seconds);
    for round in 0..options.rounds {
        for (index, cell) in cells().into_iter().enumerate() {
            for turn in 0..contenders.len() {
                // Nobody is always the first.
                let at = (round + turn) % contenders.len();
                let contender = &mut contenders[at];
                let outcome = contender.measure(cell, duration).map_err(|error| failed(contender.name, error))?;
                contender.costs[index].push(outcome.micros());
                contender.tails[index].push(outcome.latency.at(0.99).as_secs_f64());
            }
        }
        eprintln!("RESP: round {} of {} done", round + 1, options.rounds);
    }

    println!(
        "\nRESP: {CONNECTIONS} connections, {KEYS} keys of {KEY} bytes, values of {VALUE}, medians of {} rounds of {} s",
        options.rounds, options.seconds
    );
    println!("server CPU, µs per operation, and its ratio to redis-server");
    let base: Option<Vec<f64>> = contenders
        .iter()
        .find(|contender| contender.name == "redis-server")
        .map(|redis| redis.costs.iter().map(|costs| median(costs)).collect());
    let heads = cells().map(|(command, depth)| format!("{command}, depth {depth}"));
    table_row("", &heads);
    for contender in &contenders {
        let cost = |cell: usize| with_ratio(median(&contender.costs[cell]), base.as_ref().map(|base| base[cell]));
        table_row(contender.name, &[0, 1, 2, 3].map(cost));
    }
    table_row("goal, at most", &RESP_GOALS.map(|goal| format!("({goal:.2})")));
    println!("p99 of a batch");
    for contender in &contenders {
        let tail = |tails: &Vec<f64>| Short(Duration::from_secs_f64(median(tails))).to_string();
        table_row(contender.name, &contender.tails.each_ref().map(tail));
    }
    Ok(())
}

// ---- HTTP -------------------------------------------------------------------------------------------------------

fn compare_http(options: &Options) -> io::Result<()> {
    let upstream = Upstream::start(Duration::ZERO, Some(process::LOAD_CORE))?;
    let folder = tempfile::tempdir()?;
    let mut contenders = vec![("cloakroom", cloakroom("http", &["--upstream", &upstream.url()])?, vec![], vec![])];
    if let Some(program) = peer("nginx") {
        contenders.push(("nginx micro-cache", nginx(&program, folder.path(), upstream.address())?, vec![], vec![]));
    }
    contenders.push(("hyper alone", bare_hyper()?, vec![], vec![]));
    let requests: Requests = (0..SESSIONS).map(words::check).collect();
    let body = words::body();
    let (mut asked, mut answered) = (0, 0);
    for round in 0..options.rounds {
        let count = contenders.len();
        for turn in 0..count {
            let (name, server, costs, tails) = &mut contenders[(round + turn) % count];
            let load = Load {
                address: server.address,
                connections: CONNECTIONS,
                depth: 1,
                duration: Duration::from_secs_f64(options.seconds),
                requests: requests.clone(),
                reply: Reply::Body(body.as_bytes()),
            };
            let before = upstream.calls();
            let outcome = load.run(|| server.process.cpu()).map_err(|error| failed(name, error))?;
            asked += upstream.calls() - before;
            answered += outcome.operations;
            costs.push(outcome.micros());
            tails.push(outcome.latency.at(0.99).as_secs_f64());
        }
        eprintln!("HTTP: round {} of {} done", round + 1, options.rounds);
    }
    println!(
        "\nHTTP: {CONNECTIONS} connections, {SESSIONS} sessions, cookies of about 400 bytes, bodies of {}, \
         medians of {} rounds of {} s",
        words::BODY,
        options.rounds,
        options.seconds
    );
    println!("{answered} answers, {asked} calls to the source; CPU of a request and its ratio to nginx");
    table_row("", &["µs per request".to_owned(), "p99".to_owned()]);
    let nginx = contenders.iter().find(|(name, ..)| name.starts_with("nginx"));
    let base = nginx.map(|(_, _, costs, _)| median(costs));
    for (name, _, costs, tails) in &contenders {
        let tail = Short(Duration::from_secs_f64(median(tails))).to_string();
        table_row(name, &[with_ratio(median(costs), base), tail]);
    }
    table_row("goal, at most", &[format!("({HTTP_GOAL:.2})")]);
    Ok(())
}

// ---- memory -----------------------------------------------------------------------------------------------------

/// Fills fresh servers with entries that live an hour, and weighs them before and after.
fn compare_memory(options: &Options) -> io::Result<()> {
    let program = peer("redis-server");
    println!("\nmemory: growth of resident bytes per entry, {} entries with a TTL", options.entries);
    table_row("", &[(KEY, VALUE), (15, 32)].map(|(key, value)| format!("{key} + {value} bytes")));
    // A session key with its prefix is longer than fifteen bytes, so that column has plain keys alone.
    let session: &[(&'static str, usize, usize)] = &[(SECRET, KEY, VALUE)];
    let plain: &[(&'static str, usize, usize)] = &[(PLAIN, KEY, VALUE), ("", 15, 32)];
    let weigh = |start: &dyn Fn() -> io::Result<Running>, sizes: &[(&'static str, usize, usize)]| {
        let weigh = |&(prefix, key, value)| weight(&start()?, prefix, key, value, options.entries);
        sizes.iter().map(weigh).collect::<io::Result<Vec<f64>>>()
    };
    let mut rows = vec![
        ("cloakroom, session keys", weigh(&|| cloakroom("resp", &[]), session)?),
        ("cloakroom, plain keys", weigh(&|| cloakroom("resp", &[]), plain)?),
    ];
    if let Some(program) = &program {
        rows.push(("redis-server", weigh(&|| redis(program, &[]), plain)?));
    }
    rows.push(("mini-redis", weigh(&mini_redis, plain)?));
    let base = rows.iter().find(|(name, _)| *name == "redis-server").map(|(_, row)| row.clone());
    for (name, row) in &rows {
        let cells: Vec<String> =
            row.iter().enumerate().map(|(at, bytes)| with_ratio(*bytes, base.as_ref().map(|base| base[at]))).collect();
        table_row(name, &cells);
    }
    Ok(())
}

fn weight(server: &Running, prefix: &str, key: usize, value: usize, entries: u64) -> io::Result<f64> {
    let value = words::value(value);
    let set = |n| words::request(&["SET", &words::key(prefix, n, key), &value, "EX", "3600"]);
    // One connection and one entry first, so that what a server makes only once is not counted.
    load::fill(server.address, std::iter::once(set(entries)), b"+OK\r\n")?;
    let before = server.process.resident()?;
    load::fill(server.address, numbers(entries).map(set), b"+OK\r\n")?;
    Ok(server.process.resident()?.saturating_sub(before) as f64 / entries as f64)
}

// ---- printing ---------------------------------------------------------------------------------------------------

fn failed(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

fn with_ratio(value: f64, base: Option<f64>) -> String {
    let digits = if value < 100.0 { 2 } else { 0 };
    match base {
        Some(base) => format!("{value:.digits$} ({:.2})", value / base),
        None => format!("{value:.digits$}"),
    }
}

fn table_row(name: &str, cells: &[String]) {
    let cells: String = cells.iter().map(|cell| format!(" {cell:>18}")).collect();
    println!("  {name:24}{cells}");
}
