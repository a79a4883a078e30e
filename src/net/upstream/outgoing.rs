//! The body of a request to the application: bytes that are here, or a client's as it comes in.

use std::cell::Cell;
use std::error::Error;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

/// Bytes a second that a client's body must come with, as long as it is waited for. The slowest of networks are faster.
const RATE_MIN: u64 = 1024;

/// The part of the patience with one pause that a body may take which comes slower, so that a byte now and then holds a
/// connection to the application for no more than that.
const GRACE_PART: u32 = 3;

type Fault = Box<dyn Error + Send + Sync>;

/// The body of a request to the application.
pub enum Outgoing {
    /// Bytes that are here already.
    Full(Option<Bytes>),
    /// A client's body, as it comes in.
    Stream(Box<Stream>),
}

/// How far a client's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// There is more to come.
    Coming,
    /// All of it has come.
    Whole,
    /// It stopped coming for longer than it may.
    Stalled,
    /// The client has gone in the middle of it, or what it sent was no body.
    Broken,
}

/// A client's body, given up when it pauses too long or comes too slowly.
pub struct Stream {
    body: Incoming,
    /// How long it may pause.
    patience: Duration,
    pause: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How long it was waited for so far, and how many bytes have come.
    waited: Duration,
    come: u64,
    upload: Rc<Cell<Upload>>,
}

impl Outgoing {
    /// No body at all.
    pub fn empty() -> Outgoing {
        Outgoing::Full(None)
    }

    /// A client's body, which may pause for so long. One that comes very slowly may take a part of that in all.
    pub fn stream(body: Incoming, patience: Duration) -> Outgoing {
        if body.is_end_stream() {
            return Outgoing::empty();
        }
        let upload = Rc::new(Cell::new(Upload::Coming));
        Outgoing::Stream(Box::new(Stream { body, patience, pause: None, waited: Duration::ZERO, come: 0, upload }))
    }

    /// Whether it comes from a client, who may take long for it.
    pub(super) fn is_coming(&self) -> bool {
        matches!(self, Outgoing::Stream(_))
    }

    /// Tells how far it has come, for as long as anybody asks.
    pub fn upload(&self) -> Rc<Cell<Upload>> {
        match self {
            Outgoing::Full(_) => Rc::new(Cell::new(Upload::Whole)),
            Outgoing::Stream(stream) => Rc::clone(&stream.upload),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            // While the application takes nothing nobody asks, and no pause of the client's is counted.
            let due = self.patience / GRACE_PART + Duration::from_secs(self.come / RATE_MIN);
            let patience = self.patience.min(due.saturating_sub(self.waited));
            let (_, pause) = self.pause.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(patience))));
            ready!(pause.as_mut().poll(cx));
            self.upload.set(Upload::Stalled);
            return Poll::Ready(Some(Err("the body stopped coming".into())));
        };
        if let Some((since, _)) = self.pause.take() {
            self.waited += since.elapsed();
        }
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.come += data.map_or(0, |data| data.len() as u64);
        match &frame {
            Some(Err(_)) => self.upload.set(Upload::Broken),
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.upload.set(Upload::Whole),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Outgoing::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Full(bytes) => bytes.is_none(),
            Outgoing::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Outgoing::Stream(stream) => stream.body.size_hint(),
        }
    }
}
