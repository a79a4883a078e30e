//! The plain session check, answered without hyper: the one request that comes many times a page.
//!
//! Only what admits no second reading is taken: a whole head, in one piece, that asks for exactly the session path, or
//! that of proxies (`verify`), with `GET` and HTTP/1.1, and has no header that speaks of a body, of framing or of another protocol. Anything else,
//! also half a head, is handed to hyper with every byte, and hyper keeps that connection. So nothing is ever refused
//! here, and the two never take turns on one connection. The head itself is parsed by httparse, as hyper's is.

use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::relay::TRACEPARENT;
use super::{Caller, Door, trace};
use crate::clock::{Clock, Millis};
use crate::session::{Answer, LookUp, SESSION_PATH, SessionCache, Tokens};

/// How the request begins, to the letter.
const START: &[u8] = b"GET /api/auth/session HTTP/1.1\r\n";
const VERIFY: &[u8] = b"GET /api/auth/verify HTTP/1.1\r\n";

/// How a check begins on the path of a session service other than NextAuth.
pub(super) fn start(sessions: &SessionCache) -> Option<Box<[u8]>> {
    let service = sessions.service();
    (!service.is_next_auth()).then(|| format!("GET {} HTTP/1.1\r\n", service.path()).into_bytes().into())
}

/// Header lines of a head; browsers send about twenty. With more, hyper decides.
const LINES_MAX: usize = 48;

/// Room for the header lines of one head.
type Lines<'b> = [MaybeUninit<httparse::Header<'b>>; LINES_MAX];

/// A plain session check.
struct Check<'l, 'b> {
    lines: &'l [httparse::Header<'b>],
    path: &'b str,
    /// Bytes of the head.
    len: usize,
    /// Whether a proxy asks.
    verifies: bool,
}

impl<'l, 'b> Check<'l, 'b> {
    /// Reads a plain check at the beginning of `bytes`; `None` if it is anything else, or not whole.
    /// `own` is how a check begins on the path of a session service other than NextAuth.
    fn read(bytes: &'b [u8], own: Option<&[u8]>, room: &'l mut Lines<'b>) -> Option<Check<'l, 'b>> {
        let is_own = || own.is_some_and(|own| bytes.starts_with(own));
        let verifies = !bytes.starts_with(START) && !is_own();
        if verifies && !bytes.starts_with(VERIFY) {
            return None;
        }
        let mut request = httparse::Request::new(&mut []);
        let httparse::Status::Complete(len) = request.parse_with_uninit_headers(bytes, room).ok()? else {
            return None;
        };
        let path = request.path?;
        let lines: &'l [httparse::Header<'b>] = request.headers;
        if !ends_in_crlf(&bytes[..len], lines) {
            return None;
        }
        let mut hosts = 0;
        for line in lines {
            match kind(line.name, line.value) {
                Kind::Host => hosts += 1,
                Kind::Plain => {}
                Kind::Other => return None,
            }
        }
        (hosts == 1).then_some(Check { lines, path, len, verifies })
    }

    /// What the request shows who it is with.
    fn tokens(&self, sessions: &SessionCache) -> Tokens {
        match sessions.service().is_next_auth() {
            true => sessions.tokens(self.cookies()),
            false => sessions.credentials(|| self.lines.iter().map(|line| (line.name.as_bytes(), line.value))),
        }
    }

    /// The values of the `Cookie` headers.
    fn cookies(&self) -> impl Iterator<Item = &'b [u8]> {
        self.lines.iter().filter(|line| line.name.eq_ignore_ascii_case("cookie")).map(|line| line.value)
    }

    /// The head of a session check as hyper would give it, for the upstream.
    fn parts(&self) -> Parts {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_static(SESSION_PATH);
        for line in self.lines {
            let name = HeaderName::from_bytes(line.name.as_bytes());
            // Both have passed httparse, which is no laxer.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) {
                request.headers_mut().append(name, value);
            }
        }
        request.into_parts().0
    }
}

/// For fuzzing: a head that is taken here must be one that the sentry lets pass, whole and in pieces, and hyper's parser
/// must see the same lines in it.
#[doc(hidden)]
pub fn compare_readings(bytes: &[u8], step: usize) {
    use super::head::Heads;

    let faults = |step: usize| {
        let mut heads = Heads::default();
        bytes.chunks(step).for_each(|piece| heads.feed(piece));
        (0..8).map(|number| heads.fault(number)).collect::<Vec<_>>()
    };
    let whole = faults(bytes.len().max(1));
    assert_eq!(whole, faults(step), "in pieces of {step}");
    let mut room: Lines<'_> = [const { MaybeUninit::uninit() }; LINES_MAX];
    let Some(check) = Check::read(bytes, None, &mut room) else { return };
    assert_eq!(whole[0], None, "a head that is refused elsewhere");
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut request = httparse::Request::new(&mut lines);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(check.len)));
    let framed = |line: &httparse::Header<'_>| {
        ["content-length", "transfer-encoding"].iter().any(|name| line.name.eq_ignore_ascii_case(name))
    };
    assert!(!request.headers.iter().any(framed), "a body behind it would be the next request");
    assert_eq!(check.parts().headers.len(), request.headers.len(), "a line was lost");
}

/// Whether nothing but CR LF lies between one header line and the next. httparse lets a line end in a bare LF; the door
/// refuses that, and says why.
fn ends_in_crlf(head: &[u8], lines: &[httparse::Header<'_>]) -> bool {
    let start_of = |text: &[u8]| (text.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
    let ends = lines.iter().map(|line| start_of(line.value).wrapping_add(line.value.len()));
    let starts = lines.iter().map(|line| start_of(line.name.as_bytes())).skip(1).chain([head.len() - 2]);
    head.ends_with(b"\r\n") && ends.zip(starts).all(|(end, start)| head.get(end..start) == Some(b"\r\n"))
}

enum Kind {
    Host,
    Plain,
    /// To be judged by hyper and the guards behind it.
    Other,
}

fn kind(name: &str, value: &[u8]) -> Kind {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 if is("te") => Kind::Other,
        3 if is("via") => Kind::Other,
        4 if is("host") => match is_plain_host(value) {
            true => Kind::Host,
            false => Kind::Other,
        },
        6 if is("expect") => Kind::Other,
        7 if is("upgrade") || is("trailer") => Kind::Other,
        10 if is("connection") && !value.eq_ignore_ascii_case(b"keep-alive") => Kind::Other,
        14 if is("content-length") => Kind::Other,
        17 if is("transfer-encoding") => Kind::Other,
        _ => Kind::Plain,
    }
}

/// A host in letters and digits with an optional port, as nearly all are.
fn is_plain_host(value: &[u8]) -> bool {
    let (host, port) = match memchr::memchr(b':', value) {
        Some(colon) => (&value[..colon], &value[colon + 1..]),
        None => (value, &b"0"[..]),
    };
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !host.is_empty() && host.iter().all(letter) && (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
}

/// What a worker's plain checks share, so that an idle client holds no buffer.
pub(super) struct Desk {
    input: Box<[u8]>,
    output: Vec<u8>,
    date: Date,
}

/// Bytes that are read at once: a few pipelined checks, or the largest head that is taken here.
const READ: usize = 16 * 1024;

/// Bytes of output that a worker keeps room for.
const KEPT: usize = 64 * 1024;

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
    /// The bytes of something else than a plain check.
    Other(Bytes),
    /// A check that cannot be answered at once.
    Ask(Box<Ask>),
}

/// A check for which the source is to be asked, or is being asked.
struct Ask {
    looked: LookUp,
    tokens: Tokens,
    parts: Parts,
    /// Whether a proxy asks.
    verifies: bool,
    started: u64,
    /// What came behind it.
    rest: Vec<u8>,
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
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let mut unsent = Vec::new();
            let next = if rest.is_empty() {
                poll_fn(|cx| {
                    if let Poll::Ready(next) = self.poll_read(cx, stream, &mut unsent) {
                        return Poll::Ready(next);
                    }
                    if told.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Next::Gone);
                    }
                    // Setting an alarm at every request costs more than one that finds nothing to do.
                    while alarm.as_mut().poll(cx).is_ready() {
                        let idle = Duration::from_micros(clock.micros().saturating_sub(active));
                        if idle >= limit {
                            return Poll::Ready(Next::Gone);
                        }
                        alarm.as_mut().reset(Instant::now() + (limit - idle));
                    }
                    Poll::Pending
                })
                .await
            } else {
                let bytes = std::mem::take(&mut rest);
                self.run(&bytes, &mut unsent, &mut self.desk.borrow_mut().date)
            };
            let mut now = None;
            if !unsent.is_empty() {
                Box::pin(timeout(patience.body, stream.write_all(&unsent))).await.ok()?.ok()?;
                now = Some(clock.micros());
            }
            match next {
                // Who never leaves a moment without a request is told too.
                Next::Read if leaving.has_changed().unwrap_or(true) => return None,
                Next::Read => {}
                Next::Gone => return None,
                Next::Other(bytes) => return Some(bytes),
                // In a box, so that a client does not hold room for a call to the upstream while it makes none.
                Next::Ask(ask) => {
                    rest = Box::pin(self.answer_ask(*ask, stream, peer)).await?;
                    now = Some(clock.micros());
                }
            }
            // Asking the clock once more after an answer that was taken at once would cost as much as finding the session.
            (active, limit) = (now.unwrap_or_else(|| self.desk.borrow().date.asked), patience.head);
        }
    }

    /// Answers a check for which somebody else is to be waited, and gives back what came behind it.
    async fn answer_ask<S>(self: &Rc<Self>, ask: Ask, stream: &mut S, peer: Caller) -> Option<Vec<u8>>
    where
        S: AsyncWrite + Unpin,
    {
        let mut answer = self.answer(ask.looked, &ask.tokens, &ask.parts, peer).await;
        if ask.verifies {
            answer = self.verdict(&ask.tokens, answer, &ask.parts.headers);
        }
        self.followed(&ask.parts, &answer);
        let mut out = Vec::new();
        self.write_answer(&mut out, &answer, ask.started, &mut self.desk.borrow_mut().date);
        timeout(self.hall.patience.body, stream.write_all(&out)).await.ok()?.ok()?;
        Some(ask.rest)
    }

    /// Reads once, answers what can be answered at once, and writes that. What the socket does not take is `unsent`.
    fn poll_read<S>(&self, cx: &mut Context<'_>, stream: &mut S, unsent: &mut Vec<u8>) -> Poll<Next>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let desk = &mut *self.desk.borrow_mut();
        let mut input = ReadBuf::new(&mut desk.input);
        if ready!(Pin::new(&mut *stream).poll_read(cx, &mut input)).is_err() || input.filled().is_empty() {
            return Poll::Ready(Next::Gone);
        }
        desk.output.clear();
        desk.output.shrink_to(KEPT);
        let next = self.run(input.filled(), &mut desk.output, &mut desk.date);
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
    /// Answers the checks in `bytes`, up to the first that cannot be answered at once.
    fn run(&self, bytes: &[u8], out: &mut Vec<u8>, date: &mut Date) -> Next {
        let (sessions, clock) = (&self.hall.sessions, &self.hall.engine.clock);
        let mut turn = self.hall.engine.enter(self.worker);
        let mut used = 0;
        while used < bytes.len() {
            turn.give_way(|| self.hall.engine.scripts.is_busy(), || ());
            let mut room = [const { MaybeUninit::uninit() }; LINES_MAX];
            let Some(check) = Check::read(&bytes[used..], self.hall.start.as_deref(), &mut room) else {
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
                    self.leave_span(&check, started, status);
                }
                continue;
            }
            let looked =
                if verifies { super::verify::look_up(sessions, &tokens, now) } else { sessions.look_up(&tokens, now) };
            match looked {
                LookUp::Answer(answer) if !verifies => {
                    self.write_answer(out, &answer, started, date);
                    if self.hall.spans.is_some() {
                        self.leave_span(&check, started, answer.status);
                    }
                }
                looked => {
                    let (mut parts, rest) = (check.parts(), bytes[used..].to_vec());
                    self.follow_since(&mut parts, check.path, started);
                    self.hall.aim(&mut parts.uri);
                    return Next::Ask(Box::new(Ask { looked, tokens, parts, verifies, started, rest }));
                }
            }
        }
        Next::Read
    }

    /// Leaves the span of a check that was answered from the store, if its trace is recorded.
    #[cold]
    fn leave_span(&self, check: &Check<'_, '_>, started: u64, status: u16) {
        let mut lines = check.lines.iter();
        if let Some(spans) = &self.hall.spans
            && let Some(line) = lines.find(|line| line.name.eq_ignore_ascii_case(TRACEPARENT.as_str()))
            && let Some(trail) = spans.follow(line.value, started, &Method::GET, check.path)
        {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether bytes are a plain check, and how long it is.
    fn plain(bytes: &str) -> Option<usize> {
        let own = Some(&b"GET /sessions/whoami HTTP/1.1\r\n"[..]);
        Check::read(bytes.as_bytes(), own, &mut [const { MaybeUninit::uninit() }; LINES_MAX]).map(|check| check.len)
    }

    #[test]
    fn a_plain_check_is_whole_and_asks_for_nothing_else() {
        let head = "GET /api/auth/session HTTP/1.1\r\nHost: shop.example:80\r\nCookie: a=b\r\n\r\n";
        assert_eq!(plain(head), Some(head.len()));
        assert_eq!(plain(&format!("{head}GET / HTTP/1.1\r\n")), Some(head.len()));
        assert_eq!(plain(&head.replace("Cookie", "Connection: Keep-Alive\r\nCOOKIE")), Some(head.len() + 24));
        for end in 0..head.len() {
            assert_eq!(plain(&head[..end]), None, "{end} bytes");
        }
        let whoami = head.replace("api/auth/session", "sessions/whoami");
        assert_eq!(plain(&whoami), Some(whoami.len()));
        assert_eq!(plain(&whoami.replace("whoami", "whoami/")), None);
        let verify = head.replace("session", "verify");
        assert_eq!(plain(&verify), Some(verify.len()));
        assert_eq!(plain(&head.replace("session", "verify/session")), None);
        let empty = head.replace("Cookie", "X:\r\nCookie");
        assert_eq!(plain(&empty), Some(empty.len()));
    }

    #[test]
    fn what_two_parsers_may_read_differently_is_left_to_hyper() {
        let with = |lines: &str| plain(&format!("GET /api/auth/session HTTP/1.1\r\n{lines}\r\n"));
        assert!(with("Host: a\r\n").is_some());
        for lines in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a, b\r\n",
            "Host: user@a\r\n",
            "Host: a:123456\r\n",
            "Host: a\nX: 1\r\n",
            "Host: a\r\nX: 1\n",
            "Host: a\r\nX:\n",
            "Host: a\r\nX: 1 \r\n",
            "Host: a\r\nX: 1\n\n",
            "Host: a\r\nContent-Length: 0\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nConnection: keep-alive, cookie\r\n",
            "Host: a\r\nExpect: 100-continue\r\n",
            "Host: a\r\nUpgrade: h2c\r\n",
            "Host: a\r\nVia: 1.1 cloakroom\r\n",
            "Host: a\r\nX: 1\r\n folded\r\n",
            "Host: a\r\nX : 1\r\n",
        ] {
            assert_eq!(with(lines), None, "{lines:?}");
        }
        for start in
            ["GET /api/auth/session?x HTTP/1.1", "GET /api/auth/session HTTP/1.0", "HEAD /api/auth/session HTTP/1.1"]
        {
            assert_eq!(plain(&format!("{start}\r\nHost: a\r\n\r\n")), None, "{start}");
        }
        let many = "X: 1\r\n".repeat(LINES_MAX);
        assert_eq!(with(&format!("Host: a\r\n{many}")), None);
    }

    #[test]
    fn the_upstream_gets_every_line() {
        let head = b"GET /api/auth/session HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nX-One: \xe9\r\nCookie: c=d\r\n\r\n";
        let mut room = [const { MaybeUninit::uninit() }; LINES_MAX];
        let check = Check::read(head, None, &mut room).expect("a plain check");
        assert_eq!(check.cookies().collect::<Vec<_>>(), [b"a=b", b"c=d"]);
        let parts = check.parts();
        assert_eq!((parts.uri.path(), parts.headers.len()), (SESSION_PATH, 4));
        assert_eq!(parts.headers["x-one"].as_bytes(), b"\xe9");
    }
}
