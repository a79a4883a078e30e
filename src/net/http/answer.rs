//! Answers on their way out: bodies that are here and bodies that are still coming.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::relay;
use crate::net::upstream::Borrowed;
use crate::session::{Answer, Header};

const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");

/// How long an upstream may pause in the middle of an answer that is handed through. nginx waits as long.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The body of an answer.
pub(super) enum Out {
    Full(Bytes),
    /// Events, as they come.
    Events(mpsc::Receiver<Bytes>),
    /// The upstream's, as it comes.
    Stream(Box<Stream>),
}

/// The upstream's body, given up when it pauses too long.
pub(super) struct Stream {
    body: Borrowed,
    pause: Pin<Box<Sleep>>,
}

impl Out {
    pub(super) fn stream(body: Borrowed) -> Out {
        Out::Stream(Box::new(Stream { body, pause: Box::pin(tokio::time::sleep(PAUSE_MAX)) }))
    }
}

impl Body for Out {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Out::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Out::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Out::Events(events) => events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
            Out::Stream(stream) => match Pin::new(&mut stream.body).poll_frame(cx) {
                Poll::Ready(frame) => {
                    stream.pause.as_mut().reset(Instant::now() + PAUSE_MAX);
                    Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
                }
                Poll::Pending => {
                    stream.pause.as_mut().poll(cx).map(|()| Some(Err("the upstream paused too long".into())))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Out::Full(bytes) => bytes.is_empty(),
            Out::Events(_) => false,
            Out::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Out::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Out::Events(_) => SizeHint::default(),
            Out::Stream(stream) => stream.body.size_hint(),
        }
    }
}

/// A line of text for whoever reads it, a person or a log.
pub(super) fn text(status: StatusCode, line: impl Into<String>) -> Response<Out> {
    let mut line = line.into();
    line.push('\n');
    let mut response = Response::new(Out::Full(Bytes::from(line)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Events as a browser's `EventSource` reads them, for as long as some come.
pub(super) fn events(coming: mpsc::Receiver<Bytes>) -> Response<Out> {
    let mut response = text(StatusCode::OK, "");
    *response.body_mut() = Out::Events(coming);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx passes what has no length on at once only when it is told so.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// A JSON document, for programs.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Out> {
    let mut response = text(status, "");
    *response.body_mut() = Out::Full(Bytes::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    relay::keep_private(response.headers_mut());
    response
}

/// A request that no two parsers might read alike: the connection ends with it.
pub(super) fn refusal(why: &str) -> Response<Out> {
    closing(text(StatusCode::BAD_REQUEST, why))
}

/// The last answer on its connection.
pub(super) fn closing(mut response: Response<Out>) -> Response<Out> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// To be asked again in so many seconds.
pub(super) fn later(mut response: Response<Out>, seconds: u64) -> Response<Out> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Another method is due.
pub(super) fn not_allowed(allow: &'static str) -> Response<Out> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {allow}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// The engine's answer.
pub(super) fn session(answer: Answer) -> Response<Out> {
    let (status, headers) = relay::head(answer.status, answer.headers);
    let mut response = Response::new(Out::Full(answer.body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// How long somebody else was waited for, for `Server-Timing`, which browsers show beside their own figures.
pub(super) fn waited(took: Duration) -> Header {
    let hundredths = took.as_micros() / 10;
    let value = format!("source;dur={}.{:02}", hundredths / 100, hundredths % 100);
    (Bytes::from_static(b"server-timing"), value.into())
}

/// Adds how long it took, in milliseconds with two decimals: a hit takes less than one.
pub(super) fn timed(mut response: Response<Out>, took: Duration) -> Response<Out> {
    let hundredths = took.as_micros() / 10;
    if let Ok(value) = HeaderValue::try_from(format!("{}.{:02}ms", hundredths / 100, hundredths % 100)) {
        response.headers_mut().insert(X_RESPONSE_TIME, value);
    }
    response
}
