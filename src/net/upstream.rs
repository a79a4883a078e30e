//! The source over HTTP/1.1: calls to the application behind the session doors.
//!
//! Each worker has an [`Upstream`] of its own, because a connection lives on the runtime that opened it; what all
//! workers share (how many calls run at once, whether the application answers) is in [`Reach`]. Redirects are not
//! followed, nothing is decompressed, and nothing here knows what a session is.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::dial::{Dial, Io, Place, Trust};
use crate::config;
use crate::session::Failure;

/// Bytes of an answer's head at most. Chunked session cookies come to 16 KB; nginx's default of 4 KB loses them.
const HEAD_MAX: usize = 64 * 1024;

/// Connections a worker keeps open while they are idle.
const IDLE_MAX: usize = 32;

/// How long an idle connection is trusted. Node closes its own after 5 s, so that most stale ones are never tried.
const IDLE_FOR: Duration = Duration::from_secs(4);

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
    base: String,
    slots: Arc<Semaphore>,
    news: Mutex<News>,
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
        Reach::by(Dial::new(place), to.authority(), to.base.clone(), connections)
    }

    /// What is reached by other ways too: its `Host`, and what goes before each path.
    pub fn by(dial: Dial, authority: String, base: String, connections: usize) -> Reach {
        Reach {
            dial,
            authority,
            base,
            slots: Arc::new(Semaphore::new(connections.max(1))),
            news: Mutex::new(News { failures: 0, at: None, last: None }),
        }
    }

    /// `host:port` as a Host header has it.
    pub fn authority(&self) -> &str {
        &self.authority
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
    /// once in `NEWS_FOR`.
    pub async fn ready(&self) -> Result<(), Failure> {
        let due = {
            let mut news = self.news.lock();
            let due = news.at.is_none_or(|at| at.elapsed() > NEWS_FOR);
            if due {
                // Taken before the try, so that a hundred probes at once are one connection.
                news.at = Some(Instant::now());
            }
            due
        };
        if due {
            match tokio::time::timeout(TRY_FOR, self.connect()).await {
                Ok(Ok(_)) => self.heard(Ok(())),
                _ => {
                    let mut news = self.news.lock();
                    news.failures = news.failures.max(DOWN_AFTER);
                    news.last = Some(Failure::Refused);
                }
            }
        }
        let news = *self.news.lock();
        match news.last {
            Some(failure) if news.failures >= DOWN_AFTER => Err(failure),
            _ => Ok(()),
        }
    }
}

impl Reach {
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
}

/// The body of a request to the application.
pub enum Outgoing {
    /// Bytes that are here already.
    Full(Option<Bytes>),
    /// A client's body, as it comes in.
    Stream(Incoming),
}

impl Outgoing {
    /// No body at all.
    pub fn empty() -> Outgoing {
        Outgoing::Full(None)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Outgoing::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Full(bytes) => bytes.is_none(),
            Outgoing::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Outgoing::Stream(body) => body.size_hint(),
        }
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
        let answer = timeout_at(deadline.into(), self.begin(request)).await.unwrap_or(Err(Failure::Timeout));
        self.reach.heard(answer.as_ref().map(drop).map_err(|failure| *failure));
        answer
    }

    /// Sends one request and reads its whole answer, up to `limit` bytes of body, until the deadline.
    pub async fn ask(
        &self,
        request: Request<Outgoing>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Response<Bytes>, Failure> {
        let whole = async {
            let (parts, body) = self.begin(request).await?.into_parts();
            // A body that is announced as too long is not begun.
            if body.size_hint().lower() > limit as u64 {
                return Err(Failure::TooLarge);
            }
            Ok(Response::from_parts(parts, read_all(body, limit).await?))
        };
        let answer = timeout_at(deadline.into(), whole).await.unwrap_or(Err(Failure::Timeout));
        self.reach.heard(answer.as_ref().map(drop).map_err(|failure| *failure));
        answer
    }

    async fn begin(&self, mut request: Request<Outgoing>) -> Result<Response<Borrowed>, Failure> {
        let slots = Arc::clone(&self.reach.slots);
        let Ok(slot) = slots.acquire_owned().await else {
            return Err(Failure::Refused);
        };
        self.aim(&mut request);
        if let Some(line) = self.idle_line().await {
            let again = again(&request);
            match self.send(line, request).await {
                Ok(answer) => return Ok(self.lend(answer, slot)),
                // The application closed the connection while it was idle, as it may: nothing of this request was
                // answered, so it is sent once more over a new one.
                Err(Unsent::Whole(back)) => request = *back,
                Err(Unsent::Silent) => request = again.ok_or(Failure::Reset)?,
                Err(Unsent::Broken) => return Err(Failure::Reset),
            }
        }
        let line = self.connect().await?;
        match self.send(line, request).await {
            Ok(answer) => Ok(self.lend(answer, slot)),
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

    async fn idle_line(&self) -> Option<Line> {
        loop {
            let Idle { mut line, since } = self.idle.borrow_mut().pop()?;
            // The newest is on top: when it is too old, so are all below.
            if since.elapsed() > IDLE_FOR {
                self.idle.borrow_mut().clear();
                return None;
            }
            if line.sender.ready().await.is_ok() {
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
        tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(Line { sender, heard })
    }

    async fn send(&self, mut line: Line, request: Request<Outgoing>) -> Result<(Response<Incoming>, Line), Unsent> {
        let before = line.heard.get();
        match line.sender.try_send_request(request).await {
            Ok(answer) => Ok((answer, line)),
            Err(mut error) => match error.take_message() {
                Some(request) => Err(Unsent::Whole(Box::new(request))),
                None if line.heard.get() == before && !error.error().is_parse() => Err(Unsent::Silent),
                None => Err(Unsent::Broken),
            },
        }
    }

    fn lend(&self, (answer, line): (Response<Incoming>, Line), slot: OwnedSemaphorePermit) -> Response<Borrowed> {
        answer.map(|body| {
            let loan = Loan { line, idle: Rc::clone(&self.idle), _slot: slot };
            let mut body = Borrowed { body, loan: Some(loan) };
            body.settle();
            body
        })
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

/// A copy to send again, for what may be sent twice.
fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
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
    _slot: OwnedSemaphorePermit,
}

impl Borrowed {
    fn settle(&mut self) {
        if !self.body.is_end_stream() {
            return;
        }
        if let Some(Loan { line, idle, _slot }) = self.loan.take() {
            let mut idle = idle.borrow_mut();
            if !line.sender.is_closed() && idle.len() < IDLE_MAX {
                idle.push(Idle { line, since: Instant::now() });
            }
        }
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
