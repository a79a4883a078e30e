//! Load: threads with a runtime each, connections with one batch under way each, and every answer looked at.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout_at;

use super::super::target::{GONE, own_config, wire};
use crate::metrics::Histogram;
use crate::net::client::{Address, Dial, Io, Place, Reply, Site, Wire, untrusted, write_request};

/// Keys and sessions that are asked for: more than a shard has, few enough to be put there at once.
const KEYS: usize = 1000;

/// How much longer they live than they are needed, so that they die by themselves when nobody clears them.
const LIFE_MORE: Duration = Duration::from_secs(60);

/// How long connections may take to be there, and the last answers when time is up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of answers that may have come without making one whole.
const ANSWERS_MAX: usize = 64 << 20;

/// How often progress is told.
const EACH: Duration = Duration::from_millis(100);

/// How much.
pub struct Load {
    pub clients: usize,
    pub pipeline: usize,
    pub duration: Duration,
    /// Bytes of a value.
    pub size: usize,
}

/// Of what.
pub enum Kind {
    /// Session checks over HTTP on this path, by these `Cookie` headers in turn, or by none.
    Checks { to: Site, path: String, cookies: Vec<String> },
    /// GETs and SETs, so many of each in turn.
    Commands { to: Address, ratio: (u32, u32) },
}

/// What came of it.
pub struct Outcome {
    pub operations: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    pub elapsed: Duration,
    /// Times of batches.
    pub latency: Histogram,
}

impl Outcome {
    /// Operations of a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

impl Kind {
    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Kind::Checks { cookies, .. } if cookies.is_empty() => "session checks without a cookie".to_owned(),
            Kind::Checks { .. } => "session checks".to_owned(),
            Kind::Commands { ratio: (get, set), .. } => format!("GET and SET {get}:{set}"),
        }
    }

    fn place(&self) -> &Place {
        match self {
            Kind::Checks { to, .. } => &to.place,
            Kind::Commands { to, .. } => &to.place,
        }
    }
}

/// The `Cookie` header of a token.
pub fn cookie(token: &str) -> String {
    format!("next-auth.session-token={token}")
}

/// Puts sessions there for checks to find, and gives their `Cookie` headers.
pub fn put_sessions(redis: &Address, load: &Load) -> Result<Vec<String>, String> {
    let prefix = own_config().map_err(|problem| problem.line)?.session().prefix.clone();
    let round = getrandom::u64().map_err(|error| format!("no randomness: {error}"))?;
    let (mut wire, life) = (greet(redis)?, load.life());
    let body =
        br#"{"user":{"name":"Bench","email":"bench@example.org","image":null},"expires":"2099-01-01T00:00:00.000Z"}"#;
    let tokens: Vec<String> = (0..KEYS).map(|number| format!("cloakroom-bench-{round:016x}-{number}")).collect();
    for token in &tokens {
        let key = [&prefix, token.as_bytes()].concat();
        wire.send(&[b"SET", &key, body, b"EX", life.as_bytes()])?;
    }
    answers(&mut wire, redis, tokens.len())?;
    Ok(tokens.iter().map(|token| cookie(token)).collect())
}

/// Connects, and hears what is said to a first word: who speaks something else may hang up on many.
fn greet(redis: &Address) -> Result<Wire, String> {
    let mut wire = wire(redis)?;
    wire.ask(&[b"PING"])?.ok().map_err(|why| redis.trouble(&why))?;
    Ok(wire)
}

fn answers(wire: &mut Wire, redis: &Address, count: usize) -> Result<(), String> {
    wire.flush()?;
    (0..count).try_for_each(|_| wire.receive()?.ok().map_err(|why| redis.trouble(&why)))
}

fn key(number: usize) -> String {
    format!("cloakroom:bench:{number}")
}

fn put_keys(redis: &Address, load: &Load) -> Result<(), String> {
    let (mut wire, life) = (greet(redis)?, load.life());
    let value = vec![b'x'; load.size];
    for number in 0..KEYS {
        wire.send(&[b"SET", key(number).as_bytes(), &value, b"EX", life.as_bytes()])?;
    }
    answers(&mut wire, redis, KEYS)
}

/// Takes the keys away. Where that fails they die by themselves.
pub fn clear(redis: &Address) {
    let Ok(mut wire) = wire(redis) else { return };
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let words: Vec<&[u8]> = [&b"UNLINK"[..]].into_iter().chain(keys.iter().map(String::as_bytes)).collect();
    let _: Result<Reply, String> = wire.ask(&words);
}

impl Load {
    /// Seconds that what is put there lives: all kinds of load may need it.
    fn life(&self) -> String {
        (2 * self.duration + LIFE_MORE).as_secs().to_string()
    }

    /// Runs it for its time, and tells how far it is a few times a second.
    pub fn run(&self, kind: &Kind, mut tell: impl FnMut(Duration, &AtomicU64)) -> Result<Outcome, String> {
        if let Kind::Commands { to, .. } = kind {
            put_keys(to, self)?;
        }
        // Half of the cores, so that a server on this machine has the rest.
        let threads = (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, self.clients);
        let began = Instant::now();
        let talk = Arc::new(Talk {
            is_http: matches!(kind, Kind::Checks { .. }),
            dial: Dial::new(kind.place().clone()),
            place: kind.place().to_string(),
            requests: self.requests(kind),
            hello: hello(kind),
            pipeline: self.pipeline,
            until: began + self.duration,
            done: AtomicU64::new(0),
        });
        let done = &talk.done;
        let parts = std::thread::scope(|scope| {
            let run = |number: usize| {
                let clients = self.clients / threads + usize::from(number < self.clients % threads);
                let talk = talk.clone();
                move || talk.run(clients, number)
            };
            let running: Vec<_> = (0..threads).map(|number| scope.spawn(run(number))).collect();
            while running.iter().any(|thread| !thread.is_finished()) {
                std::thread::sleep(EACH);
                tell(began.elapsed().min(self.duration), done);
            }
            let joined =
                running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("the load panicked".into())));
            joined.collect::<Result<Vec<Tally>, String>>()
        })?;
        let mut whole = Outcome {
            operations: done.load(Ordering::Relaxed),
            errors: 0,
            first_error: None,
            elapsed: parts.iter().map(|part| part.ended).max().unwrap_or(began).saturating_duration_since(began),
            latency: Histogram::new(),
        };
        for part in parts {
            whole.latency.add(&part.latency);
            whole.errors += part.errors;
            whole.first_error = whole.first_error.or(part.first_error);
        }
        Ok(whole)
    }

    /// Requests that take turns, as bytes.
    fn requests(&self, kind: &Kind) -> Vec<Vec<u8>> {
        match kind {
            Kind::Checks { to, path, cookies } => {
                let head = format!("GET {}{path} HTTP/1.1\r\nHost: {}\r\n", to.base, to.authority());
                match cookies.is_empty() {
                    true => vec![format!("{head}\r\n").into_bytes()],
                    false => {
                        cookies.iter().map(|cookie| format!("{head}Cookie: {cookie}\r\n\r\n").into_bytes()).collect()
                    }
                }
            }
            Kind::Commands { ratio: (get, set), .. } => {
                let (value, life) = ("x".repeat(self.size), self.life());
                let turns = (*get + *set) as usize;
                // As many as have each key and keep the ratio, so spread that SETs do not come in a row.
                let request = |number: usize| {
                    let key = key(number % KEYS);
                    let (turn, sets) = (number % turns, *set as usize);
                    match (turn + 1) * sets / turns > turn * sets / turns {
                        true => words(&[b"SET", key.as_bytes(), value.as_bytes(), b"EX", life.as_bytes()]),
                        false => words(&[b"GET", key.as_bytes()]),
                    }
                };
                let many = KEYS.div_ceil(turns) * turns;
                (0..many).map(request).collect()
            }
        }
    }
}

fn words(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write_request(&mut out, words);
    out
}

/// What a connection says first, each with one answer.
fn hello(kind: &Kind) -> Vec<Vec<u8>> {
    let Kind::Commands { to, .. } = kind else { return Vec::new() };
    let login = to.login().map(|login| words(&login));
    let select = to.database.map(|number| words(&[b"SELECT", number.to_string().as_bytes()]));
    login.into_iter().chain(select).collect()
}

/// What all connections say, and to whom.
struct Talk {
    is_http: bool,
    dial: Dial,
    /// Where that leads.
    place: String,
    requests: Vec<Vec<u8>>,
    hello: Vec<Vec<u8>>,
    pipeline: usize,
    until: Instant,
    done: AtomicU64,
}

struct Tally {
    latency: Histogram,
    errors: u64,
    first_error: Option<String>,
    ended: Instant,
}

impl Talk {
    /// The connections of one thread.
    fn run(self: Arc<Self>, clients: usize, number: usize) -> Result<Tally, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
        let tally = Tally { latency: Histogram::new(), errors: 0, first_error: None, ended: Instant::now() };
        let tally = Rc::new(RefCell::new(tally));
        let talks = async {
            let mut talks = JoinSet::new();
            for client in 0..clients {
                let (talk, tally) = (self.clone(), tally.clone());
                talks.spawn_local(async move { talk.converse(number * 7919 + client * 131, &tally).await });
            }
            while let Some(ended) = talks.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            io::Result::Ok(())
        };
        let place = &self.place;
        LocalSet::new().block_on(&runtime, talks).map_err(|error| match self.dial.trouble() {
            Some(why) => format!("cannot reach {place}: {}", untrusted(&why)),
            None => format!("{place}: {error}: {GONE}"),
        })?;
        let mut tally = tally.borrow_mut();
        let latency = std::mem::take(&mut tally.latency);
        Ok(Tally { latency, errors: tally.errors, first_error: tally.first_error.take(), ended: Instant::now() })
    }

    /// Sends batch after batch on one connection until time is up.
    async fn converse(&self, first: usize, tally: &RefCell<Tally>) -> io::Result<()> {
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let patience = (self.until + PATIENCE).into();
        let mut stream = timeout_at(patience, self.dial.connect()).await.map_err(|_| late())??;
        let (mut output, mut input) = (self.hello.concat(), Vec::new());
        stream.write_all(&output).await?;
        stream.flush().await?;
        let heard = timeout_at(patience, self.hear(&mut stream, &mut input, self.hello.len())).await;
        if let Some(why) = heard.map_err(|_| late())??.1 {
            return Err(io::Error::other(why));
        }
        let mut next = first;
        while Instant::now() < self.until {
            output.clear();
            for _ in 0..self.pipeline {
                output.extend_from_slice(&self.requests[next % self.requests.len()]);
                next = next.wrapping_add(1);
            }
            let began = Instant::now();
            let batch = async {
                stream.write_all(&output).await?;
                stream.flush().await?;
                self.hear(&mut stream, &mut input, self.pipeline).await
            };
            let (errors, first_error) = timeout_at(patience, batch).await.map_err(|_| late())??;
            let mut tally = tally.borrow_mut();
            tally.latency.record(began.elapsed());
            tally.errors += errors;
            if tally.first_error.is_none() {
                tally.first_error = first_error;
            }
            self.done.fetch_add(self.pipeline as u64 - errors, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads so many answers. How many were errors, and the first.
    async fn hear(
        &self,
        stream: &mut Box<dyn Io>,
        input: &mut Vec<u8>,
        count: usize,
    ) -> io::Result<(u64, Option<String>)> {
        let (mut errors, mut first, mut missing) = (0, None, count);
        while missing > 0 {
            let mut used = 0;
            while missing > 0
                && let Some((len, error)) = self.answer(&input[used..])?
            {
                used += len;
                missing -= 1;
                errors += u64::from(error.is_some());
                first = first.or(error);
            }
            input.drain(..used);
            if missing > 0 {
                if input.len() > ANSWERS_MAX {
                    return Err(io::Error::other("an answer without an end"));
                }
                if stream.read_buf(input).await? == 0 {
                    return Err(io::Error::other("it has closed the connection"));
                }
            }
        }
        Ok((errors, first))
    }

    /// The length of the answer that the bytes begin with, and what is wrong with it; `None` while it is not whole.
    fn answer(&self, bytes: &[u8]) -> io::Result<Option<(usize, Option<String>)>> {
        if self.is_http { http_answer(bytes) } else { resp_answer(bytes) }
    }
}

fn nonsense() -> io::Error {
    io::Error::other("it gives answers of another protocol")
}

fn resp_answer(bytes: &[u8]) -> io::Result<Option<(usize, Option<String>)>> {
    let Some(line) = memchr::memmem::find(bytes, b"\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(bytes.get(1..line).unwrap_or_default());
    match bytes[0] {
        b'+' | b':' => Ok(Some((line + 2, None))),
        b'-' => Ok(Some((line + 2, Some(text.into_owned())))),
        b'$' => {
            let len: i64 = text.parse().map_err(|_| nonsense())?;
            if len > ANSWERS_MAX as i64 {
                return Err(nonsense());
            }
            let end = line + 2 + usize::try_from(len).map_or(0, |len| len + 2);
            Ok((end <= bytes.len()).then_some((end, None)))
        }
        _ => Err(nonsense()),
    }
}

fn http_answer(bytes: &[u8]) -> io::Result<Option<(usize, Option<String>)>> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut lines);
    let Ok(parsed) = head.parse(bytes) else { return Err(nonsense()) };
    let httparse::Status::Complete(body) = parsed else { return Ok(None) };
    let len = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let len =
        len.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok()).ok_or_else(nonsense)?;
    let status = head.code.unwrap_or(0);
    let error = (status != 200).then(|| match status {
        404 => "status 404 (set CLOAKROOM_BASE_PATH to its base-path)".to_owned(),
        _ => format!("status {status}"),
    });
    Ok((body + len <= bytes.len()).then_some((body + len, error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_they_end() {
        assert_eq!(resp_answer(b"+OK\r\n$").ok(), Some(Some((5, None))));
        assert_eq!(resp_answer(b"$3\r\nabc\r").ok(), Some(None));
        assert_eq!(resp_answer(b"$3\r\nabc\r\n").ok(), Some(Some((9, None))));
        assert_eq!(resp_answer(b"$-1\r\n").ok(), Some(Some((5, None))));
        assert_eq!(resp_answer(b"-OOM x\r\n").ok(), Some(Some((8, Some("OOM x".into())))));
        assert!(resp_answer(b"HTTP/1.1 400\r\n").is_err());
        assert_eq!(http_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}x").ok(), Some(Some((40, None))));
        assert_eq!(http_answer(b"HTTP/1.1 200 OK\r\ncontent-len").ok(), Some(None));
        let status = http_answer(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").ok();
        assert!(matches!(status, Some(Some((_, Some(why)))) if why == "status 503"));
        assert!(http_answer(b"-ERR\r\n").is_err());
    }

    #[test]
    fn gets_and_sets_take_turns_by_their_ratio() {
        let load = Load { clients: 1, pipeline: 1, duration: Duration::ZERO, size: 3 };
        for (ratio, sets) in [((10, 1), 91), ((0, 1), 1000), ((1, 0), 0), ((1, 3), 750)] {
            let kind = Kind::Commands { to: Address::own(1, String::new()), ratio };
            let requests = load.requests(&kind);
            let found = requests.iter().filter(|request| request.windows(3).any(|word| word == b"SET")).count();
            assert_eq!(found, sets, "{ratio:?}");
        }
    }
}
