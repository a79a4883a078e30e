//! One RESP client: bytes in, bytes out.
//!
//! A batch is one read, all whole requests that it completed, and one write. What a request leaves unfinished is the
//! client's own; everything else happens in buffers that all clients of a worker share, so that an idle client holds
//! none. Reading goes on while output is blocked: a client that writes ten thousand commands before it reads must not
//! deadlock; the output limits end it if it never does.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::strangers::{TLS_ALERT, is_tls};
use super::worker::{Scratch, Shared, Watch};
use crate::clock::{Millis, Ttl};
use crate::command::{self, Client, Flow};
use crate::engine::{Engine, Peer};
use crate::resp::request::guess_key;
use crate::resp::{Parser, Reply};

/// Bytes of output after which a batch is written even though requests are left, so that one long pipeline of large
/// replies does not pile up in memory.
const FLUSH: usize = 256 * 1024;

/// Bytes of requests that are kept for a client whose commands are being held, beyond which it is not read.
const HELD_MAX: usize = 64 * 1024;

/// What a client waits for.
enum Event {
    Read(usize),
    Writable,
    Bell,
    Timer,
    Draining,
}

/// Why a client ends.
enum End {
    /// It left, or was asked to.
    Gone,
    /// Output is flushed first, within reason.
    Flush,
}

struct Connection<'a> {
    stream: TcpStream,
    shared: &'a Shared,
    engine: &'a Engine,
    peer: Arc<Peer>,
    client: Client,
    parser: Parser,
    /// Requests that are not whole yet, or held.
    input: Vec<u8>,
    /// Replies that the socket did not take, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// Until when requests are held.
    held: Option<Millis>,
    /// The reply to a command that sleeps, sent when it wakes.
    late: Vec<u8>,
    /// Since when the output has been over its soft limit.
    over_soft: Option<Instant>,
    /// When it was last heard.
    active: Millis,
    timer: Option<Pin<Box<Sleep>>>,
    bell_set: bool,
}

/// Serves a client until it leaves.
pub(super) async fn serve(stream: TcpStream, watch: Watch, scratch: Scratch) {
    let shared = &*watch.shared;
    let engine = &*shared.engine;
    let (Ok(addr), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let now = engine.clock.now();
    let peer = engine.clients.enter(addr.to_string(), local.to_string(), super::descriptor(&stream), now);
    let is_local = addr.ip().to_canonical().is_loopback();
    let client = Client::new(engine, peer.clone(), watch.worker, is_local);
    let mut connection = Connection {
        stream,
        shared,
        engine,
        peer: peer.clone(),
        client,
        parser: Parser::new(),
        input: Vec::new(),
        output: Vec::new(),
        sent: 0,
        held: None,
        late: Vec::new(),
        over_soft: None,
        active: now,
        timer: None,
        bell_set: false,
    };
    let _leave = Leave { engine, peer };
    match connection.run(&scratch).await {
        Ok(End::Gone) => {}
        // In a box, as it is larger than all of the rest and seldom comes.
        Ok(End::Flush) => Box::pin(connection.flush_and_close()).await,
        Err(error) => tracing::debug!(client = connection.peer.id, %error, "client lost"),
    }
}

/// Strikes a client off the list however its task ends.
struct Leave<'a> {
    engine: &'a Engine,
    peer: Arc<Peer>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.engine.clients.leave(&self.peer);
    }
}

impl Connection<'_> {
    async fn run(&mut self, scratch: &Scratch) -> io::Result<End> {
        loop {
            let event = poll_fn(|cx| self.poll_event(cx, scratch)).await?;
            if self.peer.is_killed() {
                return Ok(End::Flush);
            }
            match event {
                Event::Draining => return Ok(End::Flush),
                Event::Writable => self.write_rest()?,
                Event::Bell => self.take_mail(scratch)?,
                Event::Timer => {
                    if let Some(end) = self.timer_fired(scratch)? {
                        return Ok(end);
                    }
                }
                Event::Read(got) => {
                    if let Some(end) = self.take(got, scratch)? {
                        return Ok(end);
                    }
                }
            }
            if let Some(end) = self.check_output() {
                return Ok(end);
            }
            self.set_timer();
            self.publish();
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<Event>> {
        if !self.bell_set {
            // A task keeps its waker for life.
            self.peer.set_bell(cx.waker());
            self.bell_set = true;
        }
        if self.shared.is_draining() {
            return Poll::Ready(Ok(Event::Draining));
        }
        if self.peer.is_killed() || self.peer.has_mail() {
            return Poll::Ready(Ok(Event::Bell));
        }
        if self.held.is_some_and(|until| !self.still_held(until)) {
            return Poll::Ready(Ok(Event::Timer));
        }
        if !self.output.is_empty() && self.stream.poll_write_ready(cx)?.is_ready() {
            return Poll::Ready(Ok(Event::Writable));
        }
        let deaf = self.held.is_some() && (self.is_asleep() || self.input.len() >= HELD_MAX);
        if !deaf && let Poll::Ready(got) = self.poll_read(cx, scratch) {
            return Poll::Ready(got.map(Event::Read));
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.timer = None;
            return Poll::Ready(Ok(Event::Timer));
        }
        Poll::Pending
    }

    fn still_held(&self, until: Millis) -> bool {
        let now = self.engine.clock.now();
        // A pause may have ended early; a sleep of this client's own has no bell.
        now < until && (self.client.flow != Flow::Hold(until) || self.engine.paused_until(now).is_some())
    }

    /// Whether a command of this client's own is what its next requests wait for. As Redis does, nothing is read then:
    /// who says all it has to say and closes its end is answered all the same.
    fn is_asleep(&self) -> bool {
        matches!(self.client.flow, Flow::Sleep(_))
    }

    /// Reads once, to the end of the client's own input or, if it has none, to the scratch buffer, where it must be
    /// taken before another client has its turn. Reading and waiting are one step for tokio, which then knows from a
    /// short read that nothing is left, and saves the call that would say so.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &Scratch) -> Poll<io::Result<usize>> {
        let scratch = &mut *scratch.borrow_mut();
        if self.input.is_empty() {
            let mut input = ReadBuf::new(&mut scratch.input);
            return Pin::new(&mut self.stream).poll_read(cx, &mut input).map_ok(|()| input.filled().len());
        }
        // The rest of a request is read to where its beginning is. How much room is made follows what has arrived,
        // never what was announced.
        let room = self.parser.needs().max(scratch.input.len());
        self.input.reserve(room);
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Takes what was read, and runs what is whole.
    fn take(&mut self, got: usize, scratch: &Scratch) -> io::Result<Option<End>> {
        if got == 0 {
            return Ok(Some(if self.output.is_empty() { End::Gone } else { End::Flush }));
        }
        let scratch = &mut *scratch.borrow_mut();
        let block = self.engine.metrics.block(self.client.worker);
        block.reads.add(1);
        block.input_bytes.add(got as u64);
        if self.held.is_some() {
            self.active = self.engine.clock.now();
            if self.input.is_empty() {
                self.input.extend_from_slice(&scratch.input[..got]);
            }
            return Ok(None);
        }
        if self.input.is_empty() {
            let (input, output) = (&scratch.input[..got], &mut scratch.output);
            let (used, end) = self.run_batch(input, output)?;
            self.input.extend_from_slice(&scratch.input[used..got]);
            self.write(&mut scratch.output)?;
            Ok(end)
        } else {
            self.run_own(&mut scratch.output)
        }
    }

    /// Runs what is whole of the client's own input.
    fn run_own(&mut self, output: &mut Vec<u8>) -> io::Result<Option<End>> {
        let mut input = std::mem::take(&mut self.input);
        let (used, end) = self.run_batch(&input, output)?;
        if used < input.len() {
            input.drain(..used);
            self.input = input;
        }
        self.write(output)?;
        Ok(end)
    }

    /// Runs all whole requests in `input` and tells how many bytes they were.
    fn run_batch(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<(usize, Option<End>)> {
        let engine = self.engine;
        let micros = engine.clock.micros();
        let now = Millis(micros / 1000);
        self.client.lap = micros;
        self.active = now;
        self.peer.last_seen.store(now.0, Ordering::Relaxed);
        self.peer.query_buffer[0].store(input.len() as u32, Ordering::Relaxed);
        let mut used = 0;
        let mut end = None;
        self.held = None;
        if is_tls(input) {
            self.note_stranger("TLS");
            output.extend_from_slice(TLS_ALERT.as_bytes());
            return Ok((input.len(), Some(End::Flush)));
        }
        self.foresee(input);
        while used < input.len() {
            let limits = engine.hot.limits(self.client.authenticated);
            let rest = &input[used..];
            let len = match self.parser.parse(rest, &limits) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) => {
                    engine.metrics.block(self.client.worker).protocol_errors.add(1);
                    tracing::info!(client = self.peer.id, addr = %self.peer.addr, %error, "protocol error");
                    Reply::new(output, self.client.version).error(&error);
                    end = Some(End::Flush);
                    used = input.len();
                    break;
                }
            };
            let args = self.parser.args(rest);
            if is_http(args.get(0)) {
                self.note_stranger("HTTP");
                end = Some(End::Gone);
                used = input.len();
                break;
            }
            self.foresee(&rest[len..]);
            let start = output.len();
            let flow =
                if args.is_empty() { Flow::Go } else { command::run(engine, &mut self.client, args, now, output) };
            match flow {
                Flow::Go => used += len,
                Flow::Hold(until) => {
                    self.held = Some(until);
                    break;
                }
                Flow::Sleep(ttl) => {
                    used += len;
                    self.held = Some(now + ttl);
                    self.late = output.split_off(start);
                    break;
                }
                Flow::Close => {
                    used = input.len();
                    end = Some(End::Flush);
                    break;
                }
            }
            if output.len() >= FLUSH {
                self.write(output)?;
                if let Some(over) = self.check_output() {
                    end = Some(over);
                    used = input.len();
                    break;
                }
            }
        }
        self.parser.rest();
        Ok((used, end))
    }

    /// What the request at the beginning of `bytes` probably needs is on its way while other things are done.
    fn foresee(&self, bytes: &[u8]) {
        if let Some((key, len)) = guess_key(bytes) {
            self.engine.store(self.client.db).foresee(key, len);
        }
    }

    fn note_stranger(&self, protocol: &str) {
        // A client that is gone by now has no address, and need not be told of.
        if let Ok(addr) = self.stream.peer_addr() {
            self.shared.strangers.note("RESP", protocol, addr.ip());
        }
    }

    /// Sends what others left in the mailbox.
    fn take_mail(&mut self, scratch: &Scratch) -> io::Result<()> {
        let scratch = &mut *scratch.borrow_mut();
        self.peer.collect(&mut scratch.output);
        self.write(&mut scratch.output)
    }

    /// Writes a batch's replies: at once as far as the socket takes them, the rest is the client's own.
    fn write(&mut self, output: &mut Vec<u8>) -> io::Result<()> {
        let mut taken = 0;
        if self.output.is_empty() {
            while taken < output.len() {
                match self.stream.try_write(&output[taken..]) {
                    Ok(sent) => {
                        self.count_write(sent);
                        taken += sent;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        output.clear();
                        return Err(error);
                    }
                }
            }
        }
        self.output.extend_from_slice(&output[taken..]);
        output.clear();
        // One large reply must not make the worker's buffer large for ever.
        output.shrink_to(FLUSH);
        Ok(())
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.try_write(&self.output[self.sent..]) {
                Ok(sent) => {
                    self.count_write(sent);
                    self.sent += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.sent > self.output.len() / 2 {
                        self.output.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        self.sent = 0;
        Ok(())
    }

    fn count_write(&self, sent: usize) {
        let block = self.engine.metrics.block(self.client.worker);
        block.writes.add(1);
        block.output_bytes.add(sent as u64);
    }

    /// Ends a client that does not read what it asked for.
    fn check_output(&mut self) -> Option<End> {
        let waiting = self.output.len() - self.sent;
        let hard = self.engine.hot.output_hard();
        let (soft, seconds) = self.engine.hot.output_soft();
        if soft == 0 || waiting <= soft {
            self.over_soft = None;
        } else if self.over_soft.is_none() {
            self.over_soft = Some(Instant::now());
        }
        let too_long = self.over_soft.is_some_and(|since| since.elapsed() >= Duration::from_secs(seconds));
        if (hard > 0 && waiting > hard) || too_long {
            self.engine.metrics.block(self.client.worker).output_limit_disconnections.add(1);
            tracing::warn!(addr = %self.peer.addr, bytes = waiting, "client closed: it does not read its replies");
            return Some(End::Gone);
        }
        None
    }

    /// Sets the timer to the soonest of what the client waits for.
    fn set_timer(&mut self) {
        let mut soonest: Option<Instant> = None;
        let mut consider = |at: Instant| soonest = Some(soonest.map_or(at, |other| other.min(at)));
        if let Some(until) = self.held {
            let left = until.since(self.engine.clock.now());
            // Rounded up, so that it has really passed.
            consider(Instant::now() + left.duration() + Duration::from_millis(1));
        }
        if let Some(since) = self.over_soft {
            consider(since + Duration::from_secs(self.engine.hot.output_soft().1));
        }
        if let Some(limit) = self.idle_limit() {
            let left = (self.active + limit).since(self.engine.clock.now());
            consider(Instant::now() + left.duration());
        }
        match (soonest, &mut self.timer) {
            (None, timer) => *timer = None,
            // An idle timer that fires early looks at the clock and sets itself anew; cheaper than moving it each time.
            (Some(at), Some(timer)) if timer.deadline() <= at => {}
            (Some(at), timer) => *timer = Some(Box::pin(sleep_until(at))),
        }
    }

    /// How long the client may be silent. Who is made to wait is not.
    fn idle_limit(&self) -> Option<Ttl> {
        match self.engine.hot.timeout() {
            0 => None,
            _ if self.held.is_some() => None,
            seconds => Some(Ttl::seconds(seconds)),
        }
    }

    fn timer_fired(&mut self, scratch: &Scratch) -> io::Result<Option<End>> {
        if let Some(until) = self.held
            && !self.still_held(until)
        {
            self.held = None;
            self.active = self.engine.clock.now();
            let output = &mut scratch.borrow_mut().output;
            output.append(&mut std::mem::take(&mut self.late));
            return if self.input.is_empty() { self.write(output).map(|()| None) } else { self.run_own(output) };
        }
        let idle = self.idle_limit().is_some_and(|limit| self.active + limit <= self.engine.clock.now());
        Ok(idle.then_some(End::Gone))
    }

    /// Tells CLIENT LIST what it cannot know.
    fn publish(&self) {
        self.peer.query_buffer[0].store(self.input.len() as u32, Ordering::Relaxed);
        self.peer.query_buffer[1].store(self.input.capacity() as u32, Ordering::Relaxed);
        self.peer.output_buffer.store((self.output.len() - self.sent) as u64, Ordering::Relaxed);
    }

    /// Sends the last replies, but does not wait for ever for somebody who is not reading.
    async fn flush_and_close(&mut self) {
        /// Enough for a slow link, short enough for a shutdown.
        const PATIENCE: Duration = Duration::from_secs(2);
        let flush = async {
            while !self.output.is_empty() {
                if self.stream.writable().await.is_err() || self.write_rest().is_err() {
                    return;
                }
            }
        };
        // Whether it took everything or not, it is closed now.
        let _ = tokio::time::timeout(PATIENCE, flush).await;
    }
}

/// The first word of a request that a browser was tricked into sending, or of an HTTP client at the wrong port.
fn is_http(word: Option<&[u8]>) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(b"POST") || word.eq_ignore_ascii_case(b"Host:"))
}
