//! Hit ratio when memory is short: the default policy beside Redis' allkeys-lru and allkeys-lfu.
//!
//! A client asks for keys and, as cache clients do, writes what was not there. Each server is given as much memory as so
//! many entries take in it, so that what is compared is whom it lets go and not how small it keeps them. The shapes are
//! those that caches are usually judged by: popularity by Zipf's law with scans in between, which frequency serves
//! best; and sessions that are asked for in bursts and never again, which recency serves best.
//!
//! Besides, logins that nobody asks for lie in each server while answers churn: those under `sess:` must all be there
//! in the end. The figures are written to `target/peers`, so that they stand in the table of `make peers`.
//!
//! `cargo bench --bench ratio -- --requests 200000` is a quick look.

mod support;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use support::figures::{Figures, OURS};
use support::process::{LOAD_CORE, pin_this_thread};
use support::servers::{self, REDIS, Running};
use support::words::{self, Dice};

/// Entries that fit.
const ENTRIES: u64 = 50_000;
/// Keys that are asked for by Zipf's law.
const KEYS: usize = 1_000_000;
/// Fresh keys in a row that a scan asks for, and how often in a hundred thousand requests one begins.
const SCAN: u64 = 10_000;
const SCANS: usize = 3;
/// Sessions at a time, twice what fits, and the pages that one sees on average.
const SESSIONS: usize = 100_000;
const PAGES: f64 = 12.0;
/// Bytes of a value.
const VALUE_LEN: usize = 100;
/// Requests that are sent at once.
const BATCH: usize = 16;
/// The longest that an answer may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much worse than the better of Redis' policies ours may be, in points.
const POINTS: f64 = 1.0;

const PART: &str = "hit ratio when memory is short";
const LOGINS: &str = "logins left while answers churn";

/// Who is compared: a name in the table, and the policy.
const POLICIES: [(&str, &str); 3] = [(OURS, ""), ("redis lru", "allkeys-lru"), ("redis lfu", "allkeys-lfu")];

/// What is asked for.
#[derive(Clone, Copy)]
enum Shape {
    Zipf(f64),
    Churn,
}

const SHAPES: [(&str, Shape); 3] = [
    ("zipf 0.9 with scans", Shape::Zipf(0.9)),
    ("zipf 1.1 with scans", Shape::Zipf(1.1)),
    ("session churn", Shape::Churn),
];

fn main() -> ExitCode {
    match servers::serve_if_asked().unwrap_or_else(|| requests().and_then(compare)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratio: {error}");
            ExitCode::FAILURE
        }
    }
}

fn requests() -> io::Result<usize> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    match (words.next().as_deref(), words.next()) {
        (None, _) => Ok(3_000_000),
        (Some("--requests"), Some(count)) => count.parse().map_err(io::Error::other),
        (Some(word), _) => Err(io::Error::other(format!("cannot read {word}"))),
    }
}

fn compare(requests: usize) -> io::Result<()> {
    pin_this_thread(Some(LOAD_CORE));
    let redis = servers::peer(REDIS);
    let mut figures = Figures::new("ratio", &format!("{requests} requests, memory for {ENTRIES} entries"));
    for (what, shape) in SHAPES {
        let keys = shape.keys(requests);
        let mut ratios = Vec::new();
        for (name, policy) in POLICIES {
            let Some(mut server) = Limited::start(redis.as_deref(), policy)? else { continue };
            server.forget()?;
            let ratio = server.ask(&keys)? * 100.0;
            let entries = server.say(&["DBSIZE"])?;
            println!("{what}: {name} {ratio:.1} %, {} entries in the end", entries.trim_start_matches(':'));
            ratios.push((name, ratio));
        }
        let best = ratios.iter().filter(|(name, _)| *name != OURS).map(|(_, ratio)| *ratio).reduce(f64::max);
        for (name, ratio) in ratios {
            let figure = figures.add(PART, what, name, ratio, "%");
            if name == OURS {
                figure.goal(format!("≥ the better − {POINTS}"), best.map(|best| ratio >= best - POINTS));
            }
        }
    }
    let keys = Shape::Churn.keys(requests);
    for (name, policy) in POLICIES {
        let Some(mut server) = Limited::start(redis.as_deref(), policy)? else { continue };
        let logins: Vec<String> = (0..ENTRIES / 4).map(|number| format!("sess:{number:012}")).collect();
        server.forget()?;
        server.write(&logins)?;
        server.ask(&keys)?;
        let left = server.read(&logins)?.iter().filter(|there| **there).count() as f64 / logins.len() as f64 * 100.0;
        println!("{LOGINS}: {name} {left:.1} %");
        let figure = figures.add(PART, LOGINS, name, left, "%");
        if name == OURS {
            figure.at_least(100.0);
        }
    }
    figures.write()
}

impl Shape {
    /// The keys that are asked for, in order.
    fn keys(self, count: usize) -> Vec<String> {
        let mut numbers = match self {
            Shape::Zipf(skew) => zipf_with_scans(skew, count),
            Shape::Churn => churn(count),
        };
        numbers.truncate(count);
        numbers.into_iter().map(|number| format!("some:{number:012}")).collect()
    }
}

/// A share between 0 and 1.
fn share(dice: &mut Dice) -> f64 {
    (dice.roll() >> 11) as f64 / (1u64 << 53) as f64
}

fn zipf_with_scans(skew: f64, count: usize) -> Vec<u64> {
    let mut sum = 0.0;
    let weights = (1..=KEYS).map(|rank| (rank as f64).powf(-skew));
    let upto: Vec<f64> = weights.map(|weight| (sum += weight, sum).1).collect();
    let (mut dice, mut numbers, mut fresh) = (Dice::new(1), Vec::with_capacity(count), KEYS as u64);
    while numbers.len() < count {
        if dice.below(100_000) < SCANS {
            numbers.extend(fresh..fresh + SCAN);
            fresh += SCAN;
        }
        let at = share(&mut dice) * sum;
        numbers.push(upto.partition_point(|upto| *upto < at) as u64);
    }
    numbers
}

/// Sessions come, ask a few times for each page that they see, and go.
fn churn(count: usize) -> Vec<u64> {
    let (mut dice, mut numbers, mut last) = (Dice::new(2), Vec::with_capacity(count), 0);
    let mut fresh = |dice: &mut Dice| {
        last += 1;
        (last, (share(dice).max(1e-9).ln() * -PAGES) as u32 + 1)
    };
    let mut sessions: Vec<(u64, u32)> = (0..SESSIONS / 2).map(|_| fresh(&mut dice)).collect();
    while numbers.len() < count {
        let at = dice.below(sessions.len());
        let checks = 1 + dice.below(4);
        numbers.extend(std::iter::repeat_n(sessions[at].0, checks));
        sessions[at].1 -= 1;
        if sessions[at].1 == 0 {
            sessions[at] = fresh(&mut dice);
        }
    }
    numbers
}

/// A server with memory for so many entries.
struct Limited {
    stream: TcpStream,
    value: String,
    // Ends the server when dropped.
    _server: Running,
}

impl Limited {
    /// Ours without a policy; `None` without a redis-server.
    fn start(redis: Option<&std::path::Path>, policy: &str) -> io::Result<Option<Limited>> {
        let server = match redis {
            _ if policy.is_empty() => servers::cloakroom("resp", &[])?,
            Some(program) => servers::redis(program, &["--maxmemory-policy", policy])?,
            None => return Ok(None),
        };
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut limited = Limited { stream, value: words::value(VALUE_LEN), _server: server };
        let fill: Vec<String> = (0..ENTRIES).map(|number| format!("fill:{number:012}")).collect();
        limited.write(&fill)?;
        let info = limited.say(&["INFO", "memory"])?;
        let used =
            info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap_or_default().trim().to_owned();
        limited.say(&["CONFIG", "SET", "maxmemory", &used])?;
        Ok(Some(limited))
    }

    /// Empties it.
    fn forget(&mut self) -> io::Result<()> {
        self.say(&["FLUSHALL", "SYNC"]).map(|_| ())
    }

    /// One command whose reply is a line or a string.
    fn say(&mut self, words: &[&str]) -> io::Result<String> {
        self.stream.write_all(&words::request(words))?;
        let head = self.line()?;
        let Some(len) = head.strip_prefix('$') else {
            return if head.starts_with('-') { Err(io::Error::other(head)) } else { Ok(head) };
        };
        let mut text = vec![0; len.parse::<usize>().map_err(io::Error::other)? + 2];
        self.stream.read_exact(&mut text)?;
        String::from_utf8(text).map_err(io::Error::other)
    }

    fn line(&mut self) -> io::Result<String> {
        let (mut line, mut byte) = (String::new(), [0]);
        while !line.ends_with("\r\n") {
            self.stream.read_exact(&mut byte)?;
            line.push(char::from(byte[0]));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Asks for keys, writes those that are not there, and tells the share of hits after the first third.
    fn ask(&mut self, keys: &[String]) -> io::Result<f64> {
        let (mut hits, mut asked) = (0, 0);
        for (number, batch) in keys.chunks(BATCH).enumerate() {
            let there = self.read_batch(batch)?;
            if number * BATCH > keys.len() / 3 {
                hits += there.iter().filter(|there| **there).count();
                asked += there.len();
            }
            let missed = batch.iter().zip(&there).filter(|(_, there)| !**there).map(|(key, _)| key);
            self.write_batch(missed)?;
        }
        Ok(hits as f64 / asked.max(1) as f64)
    }

    /// Which of these keys are there.
    fn read(&mut self, keys: &[String]) -> io::Result<Vec<bool>> {
        let mut all = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            all.extend(self.read_batch(batch)?);
        }
        Ok(all)
    }

    fn read_batch(&mut self, keys: &[String]) -> io::Result<Vec<bool>> {
        let requests: Vec<u8> = keys.iter().flat_map(|key| words::request(&["GET", key])).collect();
        self.stream.write_all(&requests)?;
        let hit = words::bulk(&self.value);
        let (mut there, mut input, mut at) = (Vec::with_capacity(keys.len()), Vec::new(), 0);
        while there.len() < keys.len() {
            let rest = &input[at..];
            if rest.starts_with(b"$-1\r\n") {
                there.push(false);
                at += 5;
            } else if rest.starts_with(&hit) {
                there.push(true);
                at += hit.len();
            } else {
                let mut more = [0; 8192];
                match self.stream.read(&mut more)? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    len => input.extend_from_slice(&more[..len]),
                }
            }
        }
        Ok(there)
    }

    fn write(&mut self, keys: &[String]) -> io::Result<()> {
        keys.chunks(BATCH).try_for_each(|batch| self.write_batch(batch))
    }

    fn write_batch<'k>(&mut self, keys: impl IntoIterator<Item = &'k String>) -> io::Result<()> {
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for key in keys {
            requests.extend(words::request(&["SET", key, &self.value]));
            replies.extend_from_slice(b"+OK\r\n");
        }
        self.stream.write_all(&requests)?;
        let mut input = vec![0; replies.len()];
        self.stream.read_exact(&mut input)?;
        support::http::expect(&input, &replies)
    }
}
