//! The load generator: one thread on a core of its own, many connections, each with one batch under way. Every byte that
//! comes back is compared with what must come back, so that a miss or an error is never counted as an operation.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::histogram::Histogram;
use super::http::{self, expect, more};
use super::process::{LOAD_CORE, pin_this_thread};
use super::words::Dice;

/// Requests that are written at once while a store is filled.
const FILL_BATCH: usize = 64;

/// How long the last batches may take when time is up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests in the bytes that are sent, shared by all connections.
pub type Requests = Arc<[Vec<u8>]>;

/// What comes back for each request.
#[derive(Clone, Copy)]
pub enum Reply<'a> {
    /// Exactly these bytes.
    Bytes(&'a [u8]),
    /// An HTTP answer with this body.
    Body(&'a [u8]),
    /// A reply of the Redis protocol that is no error.
    NoError,
}

/// Which request comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// Any of them.
    Random,
    /// One after another, each once; when there are no more, the load has ended.
    Once,
}

/// A load.
pub struct Load<'a> {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Connections, all opened before the clock starts.
    pub connections: usize,
    /// Requests of a batch.
    pub depth: usize,
    /// How long.
    pub duration: Duration,
    /// What is asked.
    pub requests: Requests,
    /// In which order.
    pub pick: Pick,
    /// What must come back.
    pub reply: Reply<'a>,
}

/// What a load has measured.
pub struct Outcome {
    /// Requests that were answered as they must be.
    pub operations: u64,
    /// How far the probe moved from before the first request to after the last reply.
    pub cpu: Duration,
    /// The time that took.
    pub elapsed: Duration,
    /// Times of batches.
    pub latency: Histogram,
}

impl Outcome {
    /// Operations of a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU time of one operation, in microseconds.
    pub fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }
}

struct Tally {
    /// Requests sent in order so far.
    sent: usize,
    operations: u64,
    latency: Histogram,
}

impl Load<'_> {
    /// Runs the load. `probe` reads the server's CPU time.
    pub fn run(self, probe: impl Fn() -> io::Result<Duration> + Send) -> io::Result<Outcome> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                pin_this_thread(Some(LOAD_CORE));
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                LocalSet::new().block_on(&runtime, self.drive(probe))
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the load generator panicked")))
        })
    }

    async fn drive(self, probe: impl Fn() -> io::Result<Duration>) -> io::Result<Outcome> {
        let mut streams = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let stop = Rc::new(Cell::new(false));
        let tally = Rc::new(RefCell::new(Tally { sent: 0, operations: 0, latency: Histogram::new() }));
        let (before, began) = (probe()?, Instant::now());
        let mut tasks = tokio::task::JoinSet::new();
        for (number, stream) in streams.into_iter().enumerate() {
            let (requests, stop, tally) = (self.requests.clone(), stop.clone(), tally.clone());
            let dice = Dice::new(number as u64 + 1);
            let expected = match self.reply {
                Reply::Bytes(bytes) => Expected::Bytes(bytes.repeat(self.depth)),
                Reply::Body(body) => Expected::Body(body.to_vec()),
                Reply::NoError => Expected::NoErrors(self.depth),
            };
            let (depth, pick) = (self.depth, self.pick);
            let plan = Plan { requests, pick, depth, expected };
            tasks.spawn_local(async move { converse(stream, &plan, dice, &stop, &tally).await });
        }
        // A connection that ends before its time has failed, or there is nothing left to ask.
        let early = timeout(self.duration, tasks.join_next()).await;
        stop.set(true);
        if let Ok(Some(ended)) = early {
            ended.map_err(io::Error::other)??;
        }
        while let Some(ended) = timeout(PATIENCE, tasks.join_next()).await? {
            ended.map_err(io::Error::other)??;
        }
        let (cpu, elapsed) = (probe()?.saturating_sub(before), began.elapsed());
        let mut tally = tally.borrow_mut();
        let latency = std::mem::replace(&mut tally.latency, Histogram::new());
        Ok(Outcome { operations: tally.operations, cpu, elapsed, latency })
    }
}

enum Expected {
    Bytes(Vec<u8>),
    Body(Vec<u8>),
    NoErrors(usize),
}

/// What a connection asks and hears.
struct Plan {
    requests: Requests,
    pick: Pick,
    depth: usize,
    expected: Expected,
}

impl Plan {
    fn next(&self, dice: &mut Dice, tally: &RefCell<Tally>) -> Option<&[u8]> {
        let at = match self.pick {
            Pick::Random => dice.below(self.requests.len()),
            Pick::Once => {
                let sent = &mut tally.borrow_mut().sent;
                *sent += 1;
                *sent - 1
            }
        };
        self.requests.get(at).map(Vec::as_slice)
    }
}

/// Sends batches of requests until told to stop, or until there are no more.
async fn converse(
    mut stream: TcpStream,
    plan: &Plan,
    mut dice: Dice,
    stop: &Cell<bool>,
    tally: &RefCell<Tally>,
) -> io::Result<()> {
    let mut output = Vec::new();
    let mut input = vec![0; http::ROOM];
    while !stop.get() {
        output.clear();
        for _ in 0..plan.depth {
            let Some(request) = plan.next(&mut dice, tally) else { return Ok(()) };
            output.extend_from_slice(request);
        }
        let began = Instant::now();
        stream.write_all(&output).await?;
        match &plan.expected {
            Expected::Bytes(bytes) => read_bytes(&mut stream, &mut input, bytes).await?,
            Expected::Body(body) => read_answer(&mut stream, &mut input, body).await?,
            Expected::NoErrors(count) => read_replies(&mut stream, &mut input, *count).await?,
        }
        let mut tally = tally.borrow_mut();
        tally.latency.record(began.elapsed());
        tally.operations += plan.depth as u64;
    }
    Ok(())
}

async fn read_bytes(stream: &mut TcpStream, input: &mut [u8], expected: &[u8]) -> io::Result<()> {
    let mut seen = 0;
    while seen < expected.len() {
        let end = input.len().min(expected.len() - seen);
        let got = more(stream.read(&mut input[..end]).await?)?;
        expect(&input[..got], &expected[seen..seen + got])?;
        seen += got;
    }
    Ok(())
}

async fn read_answer(stream: &mut TcpStream, input: &mut [u8], body: &[u8]) -> io::Result<()> {
    let mut len = 0;
    loop {
        len += more(stream.read(&mut input[len..]).await?)?;
        if let Some(range) = http::answer(&input[..len])? {
            return expect(&input[range], body);
        }
    }
}

async fn read_replies(stream: &mut TcpStream, input: &mut [u8], count: usize) -> io::Result<()> {
    let (mut len, mut missing) = (0, count);
    loop {
        len += more(stream.read(&mut input[len..]).await?)?;
        let mut used = 0;
        while missing > 0
            && let Some(end) = reply_end(&input[used..len])?
        {
            used += end;
            missing -= 1;
        }
        if missing == 0 {
            return expect(&input[used..len], b"");
        }
        input.copy_within(used..len, 0);
        len -= used;
    }
}

/// Where the reply ends that the bytes begin with; `None` while it is not all there. An error is an error.
fn reply_end(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(line) = memchr::memmem::find(bytes, b"\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(bytes.get(1..line).unwrap_or_default());
    let mut end = line + 2;
    if let b'$' | b'*' = bytes[0] {
        let length: i64 = text.parse().map_err(io::Error::other)?;
        match bytes[0] {
            b'$' if length >= 0 => end += length as usize + 2,
            _ => {
                for _ in 0..length {
                    let Some(element) = reply_end(&bytes[end.min(bytes.len())..])? else { return Ok(None) };
                    end += element;
                }
            }
        }
    } else if bytes[0] == b'-' {
        return Err(io::Error::other(format!("a request failed: {text}")));
    }
    Ok((end <= bytes.len()).then_some(end))
}

/// Sends every request once, in order, over one connection, and waits for the reply to each; none may be an error.
pub fn ask_all(address: SocketAddr, requests: Vec<Vec<u8>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = TcpStream::connect(address).await?;
        let mut input = vec![0; http::ROOM];
        for batch in requests.chunks(FILL_BATCH) {
            stream.write_all(&batch.concat()).await?;
            timeout(PATIENCE, read_replies(&mut stream, &mut input, batch.len())).await??;
        }
        Ok(())
    })
}

/// Sends every request once, in order, over one connection. Writing and reading go on side by side: a server that sends
/// each reply by itself, and waits for its acknowledgement, would otherwise rest 40 ms after every batch.
pub fn fill(
    address: SocketAddr,
    mut requests: impl ExactSizeIterator<Item = Vec<u8>> + Send,
    reply: &[u8],
) -> io::Result<()> {
    let mut replies = std::net::TcpStream::connect(address)?;
    replies.set_read_timeout(Some(PATIENCE))?;
    let mut stream = replies.try_clone()?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut missing = requests.len();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut batch = Vec::new();
            while requests.len() > 0 {
                batch.clear();
                requests.by_ref().take(FILL_BATCH).for_each(|request| batch.extend_from_slice(&request));
                stream.write_all(&batch)?;
            }
            io::Result::Ok(())
        });
        let expected = reply.repeat(FILL_BATCH);
        let mut input = vec![0; expected.len()];
        while missing > 0 {
            let wanted = reply.len() * missing.min(FILL_BATCH);
            replies.read_exact(&mut input[..wanted])?;
            expect(&input[..wanted], &expected[..wanted])?;
            missing -= missing.min(FILL_BATCH);
        }
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
    })
}
