//! The source over HTTP/1.1: calls to the application behind the session doors.
//!
//! Each worker has an [`Upstream`] of its own, because a connection lives on the runtime that opened it; what all
//! workers share (how many calls run at once, whether the application answers) is in [`Reach`]. Redirects are not
//! followed here, nothing is decompressed, and nothing here knows what a session is.

mod outgoing;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::HeaderValue;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{timeout, timeout_at};

pub use self::outgoing::{Outgoing, Upload};
use super::dial::{Dial, Io, Place, Trust};
use crate::config;
use crate::session::Failure;

/// Bytes of an answer's head at most. Chunked session cookies come to 16 KB; nginx's default of 4 KB loses them.
const HEAD_MAX: usize = 64 * 1024;

/// Connections a worker keeps open while they are idle.
const IDLE_MAX: usize = 32;

/// How long an idle connection is trusted. Node closes its own after 5 s, so that most stale ones are never tried.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// How long an idle connection is trusted with what cannot be sent twice.
const IDLE_FOR_ONCE: Duration = Duration::from_secs(1);

/// One in so many connections is for session checks and sign-outs alone. The others may also have calls whose pace a client
/// sets, with a body that is still coming or an answer that goes out as it is read, so that nothing a client withholds stops
/// checks.
const RESERVE: usize = 4;

/// One in so many of the others may have a body that is still coming, so that nothing a client withholds stops sign-ins, whose
/// bodies are short and there before they are handed on.
const UPLOADS: usize = 2;

/// How long the rest of a request may take whose answer is here already.
const REST_FOR: Duration = Duration::from_secs(60);

/// After so long without a call the application is tried again before `/readyz` speaks of it.
const NEWS_FOR: Duration = Duration::from_secs(5);

/// How long that try may take.
const TRY_FOR: Duration = Duration::from_millis(500);

/// Failed calls in a row after which the application counts as down: one reset is no outage.
const DOWN_AFTER: u32 = 3;

/// What all workers know of the application.
pub struct Reach {
    dial: Dial,
    authority: String,
    host_header: String,
    /// Whether it is asked for its own host, and not for that of clients.
    is_own_host: bool,
    base: String,
    /// Connections that are free.
    slots: Arc<Semaphore>,
    /// Those of them that calls may have whose pace a client sets.
    paced: Arc<Semaphore>,
    /// Those of these that may have a body which is still coming.
    uploads: Arc<Semaphore>,
    news: Mutex<News>,
    /// Held by who finds out whether it answers.
    trying: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct News {
    failures: u32,
    at: Option<Instant>,
    last: Option<Failure>,
}

impl Reach {
    /// The application there, asked over at most so many connections at once.
    pub fn new(to: &config::Upstream, connections: usize) -> Reach {
        let tls = to.is_secure.then(Trust::default);
        let place = Place::Tcp { host: to.host.clone(), port: to.port, tls };
        let reach = Reach::by(Dial::new(place), to.authority(), to.base.clone(), connections);
        Reach { host_header: to.host_header(), ..reach }
    }

    /// What is reached by other ways too: its `Host`, and what goes before each path.
    pub fn by(dial: Dial, authority: String, base: String, connections: usize) -> Reach {
        let connections = connections.max(1);
        let reserve = connections.div_ceil(RESERVE).min(connections - 1);
        Reach {
            dial,
            host_header: authority.clone(),
            authority,
            is_own_host: false,
            base,
            slots: Arc::new(Semaphore::new(connections)),
            paced: Arc::new(Semaphore::new(connections - reserve)),
            uploads: Arc::new(Semaphore::new(((connections - reserve) / UPLOADS).max(1))),
            news: Mutex::new(News { failures: 0, at: None, last: None }),
            trying: tokio::sync::Mutex::default(),
        }
    }

    /// The same, asked for its own host.
    pub fn with_own_host(self, is_own_host: bool) -> Reach {
        Reach { is_own_host, ..self }
    }

    /// `host:port` as a Host header has it.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The Host header to send it where the client has asked for this one.
    pub fn host(&self, asked: Option<HeaderValue>) -> Option<HeaderValue> {
        match asked {
            Some(asked) if !self.is_own_host => Some(asked),
            _ => HeaderValue::from_str(&self.host_header).ok(),
        }
    }

    /// What goes before each path.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn heard(&self, outcome: Result<(), Failure>) {
        let mut news = self.news.lock();
        news.at = Some(Instant::now());
        match outcome {
            Ok(()) => (news.failures, news.last) = (0, None),
            Err(failure) => (news.failures, news.last) = (news.failures.saturating_add(1), Some(failure)),
        }
    }

    /// Whether the application answers, by the last calls; when there was none lately it is connected to, at most
    /// once in `NEWS_FOR`. A hundred probes at once are one connection, and all wait for what becomes of it.
    pub async fn ready(&self) -> Result<(), Failure> {
        if !self.has_news() {
            let _alone = self.trying.lock().await;
            if !self.has_news() {
                self.attempt().await;
            }
        }
        let news = *self.news.lock();
        match news.last {
            Some(failure) if news.failures >= DOWN_AFTER => Err(failure),
            _ => Ok(()),
        }
    }

    fn has_news(&self) -> bool {
        self.news.lock().at.is_some_and(|at| at.elapsed() <= NEWS_FOR)
    }

    /// Connects to it, to see whether that can be done. If not it is down, however few calls have failed.
    async fn attempt(&self) {
        match timeout(TRY_FOR, self.connect()).await.unwrap_or(Err(Failure::Timeout)) {
            Ok(_) => self.heard(Ok(())),
            Err(failure) => {
                let mut news = self.news.lock();
                let failures = news.failures.max(DOWN_AFTER);
                *news = News { failures, at: Some(Instant::now()), last: Some(failure) };
            }
        }
    }
}

/// A call's place among those that run at once.
struct Slot {
    _slot: OwnedSemaphorePermit,
    _paced: Option<OwnedSemaphorePermit>,
    _upload: Option<OwnedSemaphorePermit>,
}

impl Reach {
    /// Waits for a place.
    async fn slot(&self, pace: Pace) -> Result<Slot, Failure> {
        let take = |slots: &Arc<Semaphore>| Arc::clone(slots).acquire_owned();
        // First among their like, so that no more of them wait in front of checks than may run.
        let some = async |slots, is_due| match is_due {
            true => take(slots).await.map(Some).map_err(|_| Failure::Refused),
            false => Ok(None),
        };
        let upload = some(&self.uploads, pace == Pace::Upload).await?;
        let paced = some(&self.paced, pace != Pace::Own).await?;
        let slot = take(&self.slots).await.map_err(|_| Failure::Refused)?;
        Ok(Slot { _slot: slot, _paced: paced, _upload: upload })
    }

    /// A connection to it.
    async fn connect(&self) -> Result<Box<dyn Io>, Failure> {
        self.dial.connect().await.map_err(|_| Failure::Refused)
    }

    /// Why TLS to it failed the last time, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.dial.trouble()
    }
}

/// One worker's connections to the application.
#[derive(Clone)]
pub struct Upstream {
    reach: Arc<Reach>,
    idle: Rc<RefCell<Vec<Idle>>>,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// One open connection.
struct Line {
    sender: SendRequest<Outgoing>,
    /// Bytes that have come in over it.
    heard: Rc<Cell<u64>>,
    /// What carries them.
    task: AbortHandle,
    /// Whether it has answered.
    has_answered: bool,
    /// Whether it has answered again, so that the application is known to keep it open behind an answer.
    is_kept: bool,
    /// How long it is trusted while it is idle.
    idle_for: Duration,
}

impl Line {
    /// Notes that it has answered, and what was said of its time to come.
    fn answered(&mut self, answer: &Response<Incoming>) {
        self.is_kept = std::mem::replace(&mut self.has_answered, true);
        if let Some(told) = keep_alive(answer.headers()) {
            self.idle_for = (told * 4 / 5).min(IDLE_FOR);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Left to itself it would go on with a request that nobody waits for any more, as long as the client likes.
        if !self.sender.is_ready() {
            self.task.abort();
        }
    }
}

/// Who says how long a call lasts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// The application, until the deadline.
    Own,
    /// A client, who reads the answer as it comes.
    Client,
    /// A client whose body is still coming.
    Upload,
}

/// How far a call has come, which decides whether its failure says anything of the application.
struct Call {
    since: Instant,
    deadline: Instant,
    upload: Rc<Cell<Upload>>,
    /// When it had a connection to use or to open.
    started: Cell<Option<Instant>>,
    /// Whether a connection stands, and the request is on its way.
    is_sending: Cell<bool>,
}

impl Call {
    fn new(request: &Request<Outgoing>, deadline: Instant) -> Call {
        let (started, is_sending) = (Cell::new(None), Cell::new(false));
        Call { since: Instant::now(), deadline, upload: request.body().upload(), started, is_sending }
    }

    /// Whether such a failure is the application's. It is not where others had the connections for most of the time, nor
    /// while a client withholds the body.
    fn is_news(&self, failure: Failure) -> bool {
        let Some(started) = self.started.get() else { return false };
        let had_time = started - self.since <= self.deadline.saturating_duration_since(started);
        let had_all = !self.is_sending.get() || self.upload.get() == Upload::Whole;
        had_all && (had_time || failure != Failure::Timeout)
    }
}

impl Upstream {
    /// A worker's own connections, none yet.
    pub fn new(reach: Arc<Reach>) -> Upstream {
        Upstream { reach, idle: Rc::default() }
    }

    /// What all workers know of the application.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Sends one request and waits for the head of its answer until the deadline. The body is the caller's to read;
    /// while it is read the connection is its own.
    pub async fn call(&self, request: Request<Outgoing>, deadline: Instant) -> Result<Response<Borrowed>, Failure> {
        let pace = if request.body().is_coming() { Pace::Upload } else { Pace::Client };
        let call = Call::new(&request, deadline);
        self.outcome(&call, self.begin(request, pace, &call)).await
    }

    /// Sends one request and reads its whole answer, up to `limit` bytes of body, until the deadline.
    pub async fn ask(
        &self,
        request: Request<Outgoing>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Response<Bytes>, Failure> {
        let pace = if request.body().is_coming() { Pace::Upload } else { Pace::Own };
        let call = Call::new(&request, deadline);
        let whole = async {
            let (parts, body) = self.begin(request, pace, &call).await?.into_parts();
            // A body that is announced as too long is not begun.
            if body.size_hint().lower() > limit as u64 {
                return Err(Failure::TooLarge);
            }
            Ok(Response::from_parts(parts, read_all(body, limit).await?))
        };
        self.outcome(&call, whole).await
    }

    /// What a call comes to by its deadline; what that says of the application is noted.
    async fn outcome<T>(&self, call: &Call, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let outcome = timeout_at(call.deadline.into(), work).await.unwrap_or(Err(Failure::Timeout));
        match &outcome {
            Ok(_) => self.reach.heard(Ok(())),
            Err(failure) if call.is_news(*failure) => self.reach.heard(Err(*failure)),
            Err(_) => {}
        }
        outcome
    }

    async fn begin(
        &self,
        mut request: Request<Outgoing>,
        pace: Pace,
        call: &Call,
    ) -> Result<Response<Borrowed>, Failure> {
        let slot = self.reach.slot(pace).await?;
        call.started.set(Some(Instant::now()));
        self.aim(&mut request);
        let again = again(&request);
        let line = match &again {
            Some(_) => self.idle_line(|_| true),
            None => self.line_for_once().await,
        };
        if let Some(line) = line {
            call.is_sending.set(true);
            match self.send(line, request).await {
                Ok(answer) => return self.lend(answer, slot),
                // The application closed the connection while it was idle, as it may: nothing of this request was
                // answered, so it is sent once more over a new one.
                Err(Unsent::Whole(back)) => request = *back,
                Err(Unsent::Silent) => request = again.ok_or(Failure::Reset)?,
                Err(Unsent::Broken) => return Err(Failure::Reset),
            }
            call.is_sending.set(false);
        }
        let line = self.connect().await?;
        call.is_sending.set(true);
        match self.send(line, request).await {
            Ok(answer) => self.lend(answer, slot),
            Err(_) => Err(Failure::Reset),
        }
    }

    /// Puts the application's own path in front.
    fn aim(&self, request: &mut Request<Outgoing>) {
        if self.reach.base.is_empty() {
            return;
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        if let Ok(uri) = Uri::try_from(format!("{}{path}", self.reach.base)) {
            *request.uri_mut() = uri;
        }
    }

    /// A connection that can take a request at once; none is waited for. The newest that will do is taken.
    fn idle_line(&self, will_do: impl Fn(&Idle) -> bool) -> Option<Line> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| idle.since.elapsed() <= idle.line.idle_for && idle.line.sender.is_ready());
        let place = idle.iter().rposition(will_do)?;
        Some(idle.remove(place).line)
    }

    /// One for what cannot be sent twice. Some applications close a connection behind their answer and do not say so, and
    /// what meets the end of it is lost: so it must have been kept open before, and be idle for less long than others.
    async fn line_for_once(&self) -> Option<Line> {
        loop {
            let line = self.idle_line(|idle| idle.line.is_kept && idle.since.elapsed() <= IDLE_FOR_ONCE)?;
            // An end of it that has come is heard by the task that carries it, once that has its turn.
            tokio::task::yield_now().await;
            if line.sender.is_ready() {
                return Some(line);
            }
        }
    }

    async fn connect(&self) -> Result<Line, Failure> {
        let stream = self.reach.connect().await?;
        let heard = Rc::new(Cell::new(0));
        let io = TokioIo::new(Counted { stream, heard: Rc::clone(&heard) });
        let (sender, connection) =
            Builder::new().max_buf_size(HEAD_MAX).handshake(io).await.map_err(|_| Failure::Reset)?;
        // Its errors reach whoever waits for an answer over it.
        let task = tokio::task::spawn_local(async move { drop(connection.await) }).abort_handle();
        Ok(Line { sender, heard, task, has_answered: false, is_kept: false, idle_for: IDLE_FOR })
    }

    async fn send(&self, mut line: Line, request: Request<Outgoing>) -> Result<(Response<Incoming>, Line), Unsent> {
        let before = line.heard.get();
        match line.sender.try_send_request(request).await {
            Ok(answer) => {
                line.answered(&answer);
                Ok((answer, line))
            }
            Err(mut error) => match error.take_message() {
                Some(request) => Err(Unsent::Whole(Box::new(request))),
                None if line.heard.get() == before && !error.error().is_parse() => Err(Unsent::Silent),
                None => Err(Unsent::Broken),
            },
        }
    }

    fn lend(&self, (answer, line): (Response<Incoming>, Line), slot: Slot) -> Result<Response<Borrowed>, Failure> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for another protocol, as `Upgrade` goes no further than here.
            return Err(Failure::Malformed);
        }
        Ok(answer.map(|body| {
            let loan = Loan { line, idle: Rc::clone(&self.idle), slot };
            let mut body = Borrowed { body, loan: Some(loan) };
            body.settle();
            body
        }))
    }
}

/// What became of a request that got no answer.
enum Unsent {
    /// It never left.
    Whole(Box<Request<Outgoing>>),
    /// It may have left; not a byte came back.
    Silent,
    /// Something came back, and it was no answer.
    Broken,
}

/// How long the application keeps a connection that is idle, if it says so.
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let told = headers.get_all("keep-alive").iter().filter_map(|value| value.to_str().ok());
    let mut parts = told.flat_map(|told| told.split(',')).filter_map(|part| part.split_once('='));
    let (_, seconds) = parts.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok().map(|seconds: u32| Duration::from_secs(seconds.into()))
}

/// A copy to send again, for what may be sent twice.
pub(super) fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let repeatable = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream();
    repeatable.then(|| {
        let mut copy = Request::new(Outgoing::empty());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

async fn read_all(mut body: Borrowed, limit: usize) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Reset)?;
        let Some(data) = frame.data_ref() else { continue };
        if all.len() + data.len() > limit {
            return Err(Failure::TooLarge);
        }
        all.extend_from_slice(data);
    }
    Ok(all.freeze())
}

/// The body of an answer, with the connection it comes over. Read to its end it gives the connection back; dropped
/// before, it closes it.
pub struct Borrowed {
    body: Incoming,
    loan: Option<Loan>,
}

struct Loan {
    line: Line,
    idle: Rc<RefCell<Vec<Idle>>>,
    slot: Slot,
}

impl Borrowed {
    fn settle(&mut self) {
        if self.body.is_end_stream()
            && let Some(loan) = self.loan.take()
        {
            loan.end();
        }
    }
}

impl Loan {
    /// Gives the connection back, the answer having been read: at once if it can take another request. An application may
    /// answer before it has the whole of a request; until then the connection is that one's.
    fn end(mut self) {
        if self.line.sender.is_ready() {
            return self.give_back();
        }
        if !self.line.sender.is_closed() {
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = timeout(REST_FOR, self.line.sender.ready()).await {
                    self.give_back();
                }
            });
        }
    }

    fn give_back(self) {
        let Loan { line, idle, slot } = self;
        let mut idle = idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { line, since: Instant::now() });
        }
        drop(slot);
    }
}

impl Body for Borrowed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.loan = None,
            _ => self.settle(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that counts what comes in.
struct Counted {
    stream: Box<dyn Io>,
    heard: Rc<Cell<u64>>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.heard.set(self.heard.get() + (buf.filled().len() - before) as u64);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
