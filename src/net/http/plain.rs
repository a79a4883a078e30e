//! The plain session check, answered without hyper: the one request that comes many times a page.
//!
//! Only what admits no second reading is taken: a whole head, in a few pieces at most, that asks for exactly the session
//! path, or that of proxies (`verify`), with `GET` and HTTP/1.1, and has no header that speaks of a body, of framing or of
//! another protocol. Anything else is handed to hyper with every byte, and hyper keeps that connection. Half a head that
//! may become such a one is kept for a moment, as the network cuts where it likes, and then handed to hyper too. So
//! nothing is ever refused here, and the two never take turns on one connection. The head itself is parsed by httparse,
//! as hyper's is.

mod check;

use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use http::request::Parts;
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use self::check::{Check, LINES_MAX, may_become_one};
pub use self::check::{Starts, compare_readings};
use super::relay::{self, TRACEPARENT, TRACESTATE, X_FORWARDED_PROTO};
use super::{Asked, Caller, Door, trace};
use crate::clock::{Clock, Millis};
use crate::engine::{Charge, Hold};
use crate::net::otlp::Seen;
use crate::session::{Answer, LookUp, Origin, Tokens};

/// What a worker's plain checks share, so that an idle client holds no buffer.
pub(super) struct Desk {
    input: Box<[u8]>,
    output: Vec<u8>,
    date: Date,
}

/// Bytes that are read at once: a few pipelined checks, or the largest head that is taken here.
const READ: usize = 16 * 1024;

/// Bytes of output that a worker keeps room for. With so many, what came behind waits until the client has taken them: the
/// smallest checks are answered with eight times their size.
const OUTPUT: usize = 64 * 1024;

/// Pieces that a head may come in. Each is looked at from the beginning, which is not to be more than a few times the work.
const PIECES: u8 = 4;

/// How long half a head is kept here: what the network has cut in two is whole within a second. Then hyper waits for the rest.
const HALF_FOR: Duration = Duration::from_secs(1);

/// Bytes that a client has sent and that are yet to be answered.
struct Rest {
    bytes: Vec<u8>,
    /// Pieces in which half a head has come that they are; 0 for what is to be looked at.
    pieces: u8,
    _charge: Hold,
}

impl Default for Desk {
    fn default() -> Desk {
        let date = Date { second: u64::MAX, text: String::new(), asked: 0 };
        Desk { input: vec![0; READ].into(), output: Vec::new(), date }
    }
}

/// The date of answers, made anew once a second.
struct Date {
    second: u64,
    text: String,
    /// When it was last asked for, in the clock's microseconds: when the last answer was made.
    asked: u64,
}

impl Date {
    fn at(&mut self, micros: u64, clock: &Clock) -> &str {
        self.asked = micros;
        let second = micros / 1_000_000;
        if self.second != second {
            self.second = second;
            self.text.clear();
            let time = UNIX_EPOCH + Duration::from_micros(clock.wall_micros());
            // Writing to a string cannot fail.
            let _ = write!(self.text, "{}", httpdate::HttpDate::from(time));
        }
        &self.text
    }
}

/// What is to be done when everything that came has been looked at.
enum Next {
    /// More is to be read.
    Read,
    /// The client has gone.
    Gone,
    /// The client is to take its answers before these are looked at.
    Later(Vec<u8>),
    /// The beginning of what may be a check, and whether other checks came before it.
    Half(Vec<u8>, bool),
    /// The bytes of something else than a plain check.
    Other(Bytes),
    /// A check that cannot be answered at once.
    Ask(Box<Ask>),
}

/// A check for which the source is being asked.
struct Ask {
    asked: Asked,
    tokens: Tokens,
    parts: Parts,
    /// Whether a proxy asks.
    verifies: bool,
    started: u64,
    /// What came behind it.
    rest: Vec<u8>,
}

impl Next {
    /// What there is to do when no more comes behind half a head, if there is one.
    fn end(half: &[u8]) -> Next {
        if half.is_empty() { Next::Gone } else { Next::Other(Bytes::copy_from_slice(half)) }
    }
}

impl Door {
    /// Answers plain checks until the client goes, or is to go, or asks for something else: the bytes of that.
    pub(super) async fn answer_checks<S>(
        self: &Rc<Self>,
        stream: &mut S,
        peer: Caller,
        leaving: &watch::Receiver<bool>,
    ) -> Option<Bytes>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let patience = self.hall.patience;
        let mut told = leaving.clone();
        let mut told = pin!(told.wait_for(|leaving| *leaving));
        let mut alarm = pin!(sleep(patience.first_byte));
        let clock = &self.hall.engine.clock;
        // When it last did something, in the clock's microseconds, and how long it may do nothing.
        let (mut active, mut limit) = (clock.micros(), patience.first_byte);
        let mut rest: Option<Box<Rest>> = None;
        loop {
            let mut unsent = Vec::new();
            let next = if let Some(rest) = rest.take_if(|rest| rest.pieces == 0) {
                self.run(&rest.bytes, peer, &mut unsent, &mut self.desk.borrow_mut().date)
            } else {
                poll_fn(|cx| {
                    let half = rest.as_ref().map_or(&[][..], |rest| &rest.bytes);
                    if let Poll::Ready(next) = self.poll_read(cx, stream, peer, half, &mut unsent) {
                        return Poll::Ready(next);
                    }
                    if told.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Next::end(half));
                    }
                    // Setting an alarm at every request costs more than one that finds nothing to do.
                    while alarm.as_mut().poll(cx).is_ready() {
                        let idle = Duration::from_micros(clock.micros().saturating_sub(active));
                        if idle >= limit {
                            return Poll::Ready(Next::end(half));
                        }
                        alarm.as_mut().reset(Instant::now() + (limit - idle));
                    }
                    Poll::Pending
                })
                .await
            };
            let pieces = rest.take().map_or(0, |rest| rest.pieces);
            let mut now = None;
            if !unsent.is_empty() {
                Box::pin(self.write_out(stream, &unsent)).await?;
                now = Some(clock.micros());
            }
            match next {
                // Who never leaves a moment without a request is told too.
                Next::Read if leaving.has_changed().unwrap_or(true) => return None,
                Next::Read => {}
                Next::Gone => return None,
                Next::Later(bytes) => rest = self.rest(bytes, 0),
                Next::Half(bytes, is_new) => {
                    let pieces = if is_new { 1 } else { pieces + 1 };
                    if pieces > PIECES || leaving.has_changed().unwrap_or(true) {
                        return Some(bytes.into());
                    }
                    rest = self.rest(bytes, pieces);
                    if pieces == 1 {
                        (active, limit) = (clock.micros(), HALF_FOR.min(patience.head));
                        alarm.as_mut().reset(Instant::now() + limit);
                    }
                    continue;
                }
                Next::Other(bytes) => return Some(bytes),
                // In a box, so that a client does not hold room for a call to the upstream while it makes none.
                Next::Ask(ask) => {
                    let bytes = Box::pin(self.answer_ask(*ask, stream, peer)).await?;
                    rest = self.rest(bytes, 0);
                    now = Some(clock.micros());
                }
            }
            // Asking the clock once more after an answer that was taken at once would cost as much as finding the session.
            (active, limit) = (now.unwrap_or_else(|| self.desk.borrow().date.asked), patience.head);
        }
    }

    /// What a client has sent and is not answered yet, which is charged.
    fn rest(&self, bytes: Vec<u8>, pieces: u8) -> Option<Box<Rest>> {
        let hold = || self.hall.engine.charges().hold(Charge::Http, bytes.len());
        (!bytes.is_empty()).then(hold).map(|_charge| Box::new(Rest { bytes, pieces, _charge }))
    }

    /// Answers a check for which somebody else is to be waited, and gives back what came behind it.
    async fn answer_ask<S>(self: &Rc<Self>, ask: Ask, stream: &mut S, peer: Caller) -> Option<Vec<u8>>
    where
        S: AsyncWrite + Unpin,
    {
        let mut answer = self.find_out(ask.asked, &ask.tokens, &ask.parts, peer).await;
        if ask.verifies {
            answer = self.verdict(&ask.tokens, answer, &ask.parts.headers);
        }
        self.followed(&ask.parts, &answer);
        let mut out = Vec::new();
        self.write_answer(&mut out, &answer, ask.started, &mut self.desk.borrow_mut().date);
        self.write_out(stream, &out).await?;
        Some(ask.rest)
    }

    /// Writes what the client has yet to take, as long as it is patient. It is charged meanwhile, with what came behind it.
    async fn write_out<S: AsyncWrite + Unpin>(&self, stream: &mut S, bytes: &[u8]) -> Option<()> {
        let _charge = self.hall.engine.charges().hold(Charge::Http, bytes.len() + READ);
        timeout(self.hall.patience.body, stream.write_all(bytes)).await.ok()?.ok()
    }

    /// Reads once, behind the `half` of a head that has come before, answers what can be answered at once, and writes that.
    /// What the socket does not take is `unsent`.
    fn poll_read<S>(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        stream: &mut S,
        peer: Caller,
        half: &[u8],
        unsent: &mut Vec<u8>,
    ) -> Poll<Next>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let desk = &mut *self.desk.borrow_mut();
        let mut input = ReadBuf::new(&mut desk.input);
        input.put_slice(half);
        if ready!(Pin::new(&mut *stream).poll_read(cx, &mut input)).is_err() || input.filled().len() == half.len() {
            return Poll::Ready(Next::end(half));
        }
        desk.output.clear();
        desk.output.shrink_to(OUTPUT);
        let next = self.run(input.filled(), peer, &mut desk.output, &mut desk.date);
        let mut sent = 0;
        while sent < desk.output.len() {
            match Pin::new(&mut *stream).poll_write(cx, &desk.output[sent..]) {
                Poll::Ready(Ok(some @ 1..)) => sent += some,
                Poll::Ready(_) => return Poll::Ready(Next::Gone),
                Poll::Pending => {
                    unsent.extend_from_slice(&desk.output[sent..]);
                    break;
                }
            }
        }
        Poll::Ready(next)
    }
}

/// Takes a header line's name and value.
type Line<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

impl Door {
    /// Answers the checks in `bytes`, up to the first that cannot be answered at once. For that the source is asked before
    /// anything else is waited for, be it that this client reads: others may be waiting for it.
    fn run(self: &Rc<Self>, bytes: &[u8], peer: Caller, out: &mut Vec<u8>, date: &mut Date) -> Next {
        let (sessions, clock) = (&self.hall.sessions, &self.hall.engine.clock);
        let mut turn = self.hall.engine.enter(self.worker);
        let mut used = 0;
        while used < bytes.len() {
            if out.len() >= OUTPUT {
                return Next::Later(bytes[used..].to_vec());
            }
            turn.give_way(|| self.hall.engine.scripts.is_busy(), || ());
            let mut room = [const { MaybeUninit::uninit() }; LINES_MAX];
            let starts = &self.hall.starts;
            let Some(check) = Check::read(&bytes[used..], starts, &mut room) else {
                if may_become_one(&bytes[used..], starts) {
                    return Next::Half(bytes[used..].to_vec(), used > 0);
                }
                return Next::Other(Bytes::copy_from_slice(&bytes[used..]));
            };
            if check.verifies && !self.verifies() {
                return Next::Other(Bytes::copy_from_slice(&bytes[used..]));
            }
            used += check.len;
            self.hall.engine.metrics.block(self.worker).http_requests.add(1);
            let started = clock.micros();
            let tokens = check.tokens(sessions);
            let now = Millis(started / 1000);
            let verifies = check.verifies;
            let shown = if verifies {
                sessions.verified_hit(&tokens, now, |told| {
                    self.write(out, (200, b""), |line| told.lines(line), started, date);
                    200
                })
            } else {
                sessions.hit(&tokens, now, |hit| {
                    self.write(out, (hit.status, hit.body), |line| hit.lines(line), started, date);
                    hit.status
                })
            };
            if let Some(status) = shown {
                if self.hall.spans.is_some() {
                    self.leave_span(&check, peer, started, status);
                }
                continue;
            }
            let looked =
                if verifies { super::verify::look_up(sessions, &tokens, now) } else { sessions.look_up(&tokens, now) };
            match looked {
                LookUp::Answer(mut answer) if !verifies => {
                    if answer.origin == Origin::Fence {
                        super::bid_farewell(sessions, &mut answer, &tokens, check.cookies(), now);
                    }
                    self.write_answer(out, &answer, started, date);
                    if self.hall.spans.is_some() {
                        self.leave_span(&check, peer, started, answer.status);
                    }
                }
                looked => {
                    let (mut parts, rest) = (check.parts(self.hall.session_uri()), bytes[used..].to_vec());
                    self.follow_since(&mut parts, peer, check.path, started);
                    drop(turn);
                    let asked = self.set_out(looked, &parts, peer);
                    return Next::Ask(Box::new(Ask { asked, tokens, parts, verifies, started, rest }));
                }
            }
        }
        Next::Read
    }

    /// Leaves the span of a check that was answered from the store, if its trace is recorded.
    #[cold]
    fn leave_span(&self, check: &Check<'_, '_>, peer: Caller, started: u64, status: u16) {
        let Some(spans) = &self.hall.spans else { return };
        let mut parents = check.named(TRACEPARENT).peekable();
        if parents.peek().is_none() {
            return;
        }
        let is_secure = relay::is_https_by(check.named(X_FORWARDED_PROTO).next(), peer);
        let seen = Seen { began: started, method: &Method::GET, path: check.path, is_secure };
        if let Some(trail) = spans.follow(parents, check.named(TRACESTATE), seen) {
            spans.answered(&trail, status, trace::CACHE);
        }
    }

    fn write_answer(&self, out: &mut Vec<u8>, answer: &Answer, started: u64, date: &mut Date) {
        let lines = |line: Line<'_>| answer.headers.iter().for_each(|(name, value)| line(name, value));
        self.write(out, (answer.status, &answer.body), lines, started, date);
    }

    /// Writes an answer as hyper would, in place.
    fn write(
        &self,
        out: &mut Vec<u8>,
        (status, body): (u16, &[u8]),
        lines: impl FnOnce(Line<'_>),
        started: u64,
        date: &mut Date,
    ) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        line(
            out,
            &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", status.canonical_reason().unwrap_or("").as_bytes()],
        );
        lines(&mut |name, value| line(out, &[name, b": ", value]));
        let clock = &self.hall.engine.clock;
        let now = clock.micros();
        let mut number = itoa::Buffer::new();
        let took = now.saturating_sub(started);
        self.hall.engine.metrics.block(self.worker).checks.took(took);
        let hundredths = took / 10;
        let rest = [b'.', b'0' + (hundredths / 10 % 10) as u8, b'0' + (hundredths % 10) as u8];
        line(out, &[b"x-response-time: ", number.format(hundredths / 100).as_bytes(), &rest, b"ms"]);
        let has_body = !(status.is_informational() || matches!(status.as_u16(), 204 | 304));
        if has_body {
            line(out, &[b"content-length: ", number.format(body.len()).as_bytes()]);
        }
        line(out, &[b"date: ", date.at(now, clock).as_bytes()]);
        line(out, &[]);
        if has_body {
            out.extend_from_slice(body);
        }
    }
}

fn line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}
