//! Figures and traces for a collector of OpenTelemetry's, by OTLP over HTTP in its JSON encoding, where `otlp-endpoint` names one.
//!
//! Metrics are the rows of `/metrics`, sent every so often. Traces are those of session checks that come with a `traceparent`
//! which says that they are recorded; nobody begins one here. A thread of its own sends, so that a collector that is slow or
//! away costs no client anything: what it does not take in time is tried again after a while that doubles, and what there is
//! no room for meanwhile is dropped and counted. Both are said once, when they begin and when they end.

mod encode;
mod pace;
mod parent;
mod spans;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Uri};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{sleep_until, timeout_at};

use self::encode::Encoder;
use self::pace::{News, Pace};
pub use self::parent::TraceParent;
use self::spans::{BATCH_MAX, QUEUE_MAX, Span};
pub use self::spans::{Call, Spans, Trail};
use super::figures::figures;
use super::upstream::{Outgoing, Reach, Upstream};
use crate::config;
use crate::engine::Engine;
use crate::session::Failure;

/// Where metrics are sent, below the endpoint.
pub const METRICS_PATH: &str = "/v1/metrics";

/// Where traces are.
const TRACES_PATH: &str = "/v1/traces";

/// How long the collector may take, as with OpenTelemetry's own exporters.
const SEND_MAX: Duration = Duration::from_secs(10);

/// How often spans are sent, if there are any: as theirs are.
const SPANS_EVERY: Duration = Duration::from_secs(5);

/// Bytes of the collector's answer at most. It says how much of a batch was refused, and why.
const ANSWER_MAX: usize = 64 * 1024;

/// Batches that are sent in one turn: what the queue holds.
const TURN_MAX: usize = QUEUE_MAX / BATCH_MAX;

/// What will send, once it is started.
pub struct Otlp {
    engine: Arc<Engine>,
    endpoint: config::Upstream,
    spans: Spans,
    waiting: mpsc::Receiver<Span>,
}

/// The thread that sends.
pub struct Sender {
    thread: JoinHandle<()>,
    ending: oneshot::Sender<Instant>,
}

impl Otlp {
    /// For the collector that the settings name, if they name one.
    pub fn open(engine: &Arc<Engine>) -> Option<Otlp> {
        let endpoint = engine.with_config(|config| config.otlp.endpoint.clone())?;
        let (spans, waiting) = Spans::new(engine.clock.clone());
        let counts = spans.counts().clone();
        engine.add_report("Otlp", move || counts.rows());
        Some(Otlp { engine: engine.clone(), endpoint, spans, waiting })
    }

    /// Where spans are left.
    pub fn spans(&self) -> Spans {
        self.spans.clone()
    }

    /// Starts the thread.
    pub fn start(self) -> io::Result<Sender> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ending, told) = oneshot::channel();
        let work = move || {
            LocalSet::new().block_on(&runtime, async move { Exporter::new(self).run(told).await });
            // A name that is still being looked up is nobody's any more.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("otlp".into()).spawn(work)?;
        Ok(Sender { thread, ending })
    }
}

impl Sender {
    /// Sends what is left, until then, and ends.
    pub fn end(self, deadline: Instant) {
        // A thread that has panicked hears nothing.
        let _ = self.ending.send(deadline);
        if self.thread.join().is_err() {
            tracing::error!("sending by OTLP had panicked");
        }
    }
}

struct Exporter {
    engine: Arc<Engine>,
    encoder: Encoder,
    collector: Upstream,
    spans: Spans,
    waiting: mpsc::Receiver<Span>,
    /// Those that are being sent, until they have been taken.
    batch: Vec<Span>,
    metrics_due: (Pace, Instant),
    spans_due: (Pace, Instant),
}

/// Why the collector did not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It was not reached, or said nothing that could be understood.
    Failure(Failure),
    /// It answered with this status, and may have asked for some time.
    Status(u16, Option<Duration>),
}

impl Refusal {
    /// Whether the same may be taken later: by the words of OTLP's specification, these statuses alone say so.
    fn is_passing(self) -> bool {
        match self {
            Refusal::Failure(failure) => matches!(failure, Failure::Refused | Failure::Timeout | Failure::Reset),
            Refusal::Status(status, _) => matches!(status, 429 | 502 | 503 | 504),
        }
    }

    fn asked(self) -> Option<Duration> {
        match self {
            Refusal::Failure(_) => None,
            Refusal::Status(_, asked) => asked,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Failure(failure) => f.write_str(failure.word()),
            Refusal::Status(status, _) => write!(f, "status {status}"),
        }
    }
}

impl Exporter {
    fn new(otlp: Otlp) -> Exporter {
        let Otlp { engine, endpoint, spans, waiting } = otlp;
        let (every, upstream) = engine.with_config(|config| (config.otlp.interval.duration(), config.upstream.clone()));
        let started = engine.clock.to_wall(engine.started) * 1000;
        let now = Instant::now();
        let due = |every: Duration| (Pace::new(every), now + every);
        Exporter {
            encoder: Encoder::new(&engine.run_id, started, upstream),
            collector: Upstream::new(Arc::new(Reach::new(&endpoint, 1))),
            batch: Vec::new(),
            metrics_due: due(every),
            spans_due: due(every.min(SPANS_EVERY)),
            engine,
            spans,
            waiting,
        }
    }

    async fn run(mut self, told: oneshot::Receiver<Instant>) {
        let deadline = tokio::select! {
            biased;
            deadline = told => deadline,
            () = self.go_on() => return,
        };
        // Whoever does not say until when it may take has gone.
        let Ok(deadline) = deadline else { return };
        let last = async {
            self.send_spans().await;
            self.send_metrics().await;
        };
        if timeout_at(deadline.into(), last).await.is_err() {
            tracing::warn!("the OTLP collector did not take in time what was left");
        }
    }

    async fn go_on(&mut self) {
        loop {
            let (metrics_at, spans_at) = (self.metrics_due.1, self.spans_due.1);
            let counts = self.spans.counts().clone();
            // A collector that fails is not tried oftener because there is more for it.
            let full = tokio::select! {
                () = sleep_until(metrics_at.min(spans_at).into()) => false,
                () = counts.full.notified(), if !self.spans_due.0.fails() => true,
            };
            if full || spans_at <= Instant::now() {
                self.send_spans().await;
            }
            if metrics_at <= Instant::now() {
                self.send_metrics().await;
            }
        }
    }

    async fn send_metrics(&mut self) {
        let now = self.engine.clock.wall_micros();
        let body = self.encoder.metrics(&figures(&self.engine), now);
        let outcome = self.post(METRICS_PATH, body).await.map(drop);
        let wait = self.note("metrics", outcome);
        // Each set is what there is to tell, so one that was not taken is sent again by the next.
        self.metrics_due.1 = Instant::now() + wait;
    }

    async fn send_spans(&mut self) {
        let mut outcome = Ok(());
        for _ in 0..TURN_MAX {
            self.gather();
            if self.batch.is_empty() {
                break;
            }
            let sent = self.post(TRACES_PATH, self.encoder.spans(&self.batch)).await;
            let counts = self.spans.counts();
            let count = self.batch.len() as u64;
            match sent {
                Ok(answer) => {
                    let refused = encode::refused(&answer).min(count);
                    counts.sent.fetch_add(count - refused, Ordering::Relaxed);
                    counts.dropped.fetch_add(refused, Ordering::Relaxed);
                    self.batch.clear();
                }
                Err(refusal) => {
                    if !refusal.is_passing() {
                        counts.dropped.fetch_add(count, Ordering::Relaxed);
                        self.batch.clear();
                    }
                    outcome = Err(refusal);
                    break;
                }
            }
        }
        let wait = self.note("traces", outcome);
        self.spans_due.1 = Instant::now() + wait;
    }

    /// Takes what waits, without waiting for more.
    fn gather(&mut self) {
        while self.batch.len() < BATCH_MAX
            && let Ok(span) = self.waiting.try_recv()
        {
            self.batch.push(span);
        }
    }

    /// Says what has changed, and how long to wait until the next.
    fn note(&mut self, what: &'static str, outcome: Result<(), Refusal>) -> Duration {
        let pace = if what == "metrics" { &mut self.metrics_due.0 } else { &mut self.spans_due.0 };
        let (wait, news) = match outcome {
            Ok(()) => pace.sent(),
            Err(refusal) => pace.failed(refusal.asked()),
        };
        let collector = self.collector.reach().authority();
        match (news, outcome) {
            (Some(News::Fails), Err(why)) => {
                tracing::warn!(collector, "the OTLP collector does not take {what} ({why}); it is tried again");
            }
            (Some(News::Recovered), _) => tracing::info!(collector, "the OTLP collector takes {what} again"),
            _ => {}
        }
        self.spans.counts().failures.fetch_add(outcome.is_err().into(), Ordering::Relaxed);
        wait
    }

    async fn post(&self, path: &'static str, body: Vec<u8>) -> Result<Bytes, Refusal> {
        let request = request(path, body, self.collector.reach().authority());
        let answer = self.collector.ask(request, ANSWER_MAX, Instant::now() + SEND_MAX).await;
        let (head, answer) = answer.map_err(Refusal::Failure)?.into_parts();
        if head.status.is_success() {
            return Ok(answer);
        }
        let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Refusal::Status(head.status.as_u16(), asked.map(Duration::from_secs)))
    }
}

/// A request to the collector.
fn request(path: &'static str, body: Vec<u8>, authority: &str) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::Full(Some(body.into())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    let headers = request.headers_mut();
    headers.extend(HeaderValue::from_str(authority).ok().map(|host| (HOST, host)));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("cloakroom/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}
