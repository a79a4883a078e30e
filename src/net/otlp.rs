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
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{sleep_until, timeout_at};

use self::encode::Encoder;
use self::pace::{News, Pace};
pub use self::parent::TraceParent;
use self::spans::{BATCH_MAX, QUEUE_MAX, Span};
pub use self::spans::{Call, Seen, Spans, Trail};
use super::figures::figures;
use super::upstream::{Outgoing, Reach, Upstream};
use crate::config::{self, OtlpHeaders};
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

/// Letters of what the collector says that are logged.
const WORDS_MAX: usize = 200;

/// Letters of a word in a header's value from which it may be a secret.
const SECRET_MIN: usize = 4;

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
    metrics: Signal,
    traces: Signal,
}

/// One of the kinds of things that are sent.
struct Signal {
    what: &'static str,
    path: &'static str,
    pace: Pace,
    due: Instant,
    /// Whether the collector has refused parts of what it took last, or had something to say of it.
    has_reservations: bool,
}

impl Signal {
    fn new(what: &'static str, path: &'static str, every: Duration) -> Signal {
        Signal { what, path, pace: Pace::new(every), due: Instant::now() + every, has_reservations: false }
    }

    /// The collector has taken it, with this answer: how much of it was refused all the same, which is said once.
    fn taken(&mut self, answer: &[u8], headers: &OtlpHeaders, collector: &str) -> u64 {
        let (refused, said) = encode::reservations(answer);
        let has_reservations = refused > 0 || said.is_some();
        if has_reservations && !self.has_reservations {
            let (what, said) = (self.what, said.map(|said| line(said, headers)).unwrap_or_default());
            tracing::warn!(collector, said, "the OTLP collector refuses {refused} of the {what} that it takes");
        }
        self.has_reservations = has_reservations;
        refused
    }
}

/// Why the collector did not take something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// It was not reached, or said nothing that could be understood.
    Failure(Failure),
    /// It answered with this status, may have asked for some time, and may have said why.
    Status(u16, Option<Duration>, Option<String>),
}

impl Refusal {
    /// Whether the same may be taken later: by the words of OTLP's specification, these statuses alone say so.
    fn is_passing(&self) -> bool {
        match self {
            Refusal::Failure(failure) => matches!(failure, Failure::Refused | Failure::Timeout | Failure::Reset),
            Refusal::Status(status, ..) => matches!(status, 429 | 502 | 503 | 504),
        }
    }

    fn asked(&self) -> Option<Duration> {
        match self {
            Refusal::Failure(_) => None,
            Refusal::Status(_, asked, _) => *asked,
        }
    }

    /// What helps, where that can be told from here.
    fn cure(&self) -> &'static str {
        match self {
            Refusal::Status(401 | 403, ..) => ", and what it knows senders by is set in otlp-headers",
            _ => "",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Failure(failure) => f.write_str(failure.word()),
            Refusal::Status(status, _, None) => write!(f, "status {status}"),
            Refusal::Status(status, _, Some(why)) => write!(f, "status {status}: {why}"),
        }
    }
}

impl Exporter {
    fn new(otlp: Otlp) -> Exporter {
        let Otlp { engine, endpoint, spans, waiting } = otlp;
        let (every, told, upstream) = engine.with_config(|config| {
            (config.otlp.interval.duration(), config.otlp.attributes.clone(), config.upstream.clone())
        });
        Exporter {
            encoder: Encoder::new(&engine.run_id, told.pairs(), engine.started, upstream),
            collector: Upstream::new(Arc::new(Reach::new(&endpoint, 1))),
            batch: Vec::new(),
            metrics: Signal::new("metrics", METRICS_PATH, every),
            traces: Signal::new("traces", TRACES_PATH, every.min(SPANS_EVERY)),
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
            let (metrics_at, spans_at) = (self.metrics.due, self.traces.due);
            let counts = self.spans.counts().clone();
            // A collector that fails is not tried oftener because there is more for it.
            let full = tokio::select! {
                () = sleep_until(metrics_at.min(spans_at).into()) => false,
                () = counts.full.notified(), if !self.traces.pace.fails() => true,
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
        let body = self.encoder.metrics(&figures(&self.engine), &self.engine.clock);
        let headers = self.headers();
        let outcome = self.post(self.metrics.path, body, &headers).await;
        let outcome = outcome.map(|answer| self.metrics.taken(&answer, &headers, self.collector.reach().authority()));
        // Each set is what there is to tell, so one that was not taken is sent again by the next.
        self.note(|exporter| &mut exporter.metrics, outcome.map(drop));
    }

    async fn send_spans(&mut self) {
        let mut outcome = Ok(());
        for _ in 0..TURN_MAX {
            self.gather();
            if self.batch.is_empty() {
                break;
            }
            let (body, headers) = (self.encoder.spans(&self.batch), self.headers());
            let sent = self.post(self.traces.path, body, &headers).await;
            let counts = self.spans.counts();
            let count = self.batch.len() as u64;
            match sent {
                Ok(answer) => {
                    let refused = self.traces.taken(&answer, &headers, self.collector.reach().authority()).min(count);
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
        self.note(|exporter| &mut exporter.traces, outcome);
    }

    /// Takes what waits, without waiting for more.
    fn gather(&mut self) {
        while self.batch.len() < BATCH_MAX
            && let Ok(span) = self.waiting.try_recv()
        {
            self.batch.push(span);
        }
    }

    /// Says what has changed, and sets when the next is sent.
    fn note(&mut self, of: fn(&mut Exporter) -> &mut Signal, outcome: Result<(), Refusal>) {
        let signal = of(self);
        let (wait, news) = match &outcome {
            Ok(()) => signal.pace.sent(),
            Err(refusal) if refusal.is_passing() => signal.pace.failed(refusal.asked(), dice()),
            Err(_) => signal.pace.refused(dice()),
        };
        signal.due = Instant::now() + wait;
        let what = signal.what;
        let collector = self.collector.reach().authority();
        match (news, &outcome) {
            (Some(News::Fails), Err(why)) => {
                let cure = why.cure();
                tracing::warn!(collector, "the OTLP collector does not take {what} ({why}); it is tried again{cure}");
            }
            (Some(News::Recovered), _) => tracing::info!(collector, "the OTLP collector takes {what} again"),
            _ => {}
        }
        self.spans.counts().failures.fetch_add(outcome.is_err().into(), Ordering::Relaxed);
    }

    /// Those that go with everything, as they are set now.
    fn headers(&self) -> OtlpHeaders {
        self.engine.with_config(|config| config.otlp.headers.clone())
    }

    async fn post(&self, path: &'static str, body: Vec<u8>, headers: &OtlpHeaders) -> Result<Bytes, Refusal> {
        let request = request(path, body, self.collector.reach().host(None), headers);
        let deadline = Instant::now() + SEND_MAX;
        let answer = self.collector.call(request, deadline).await;
        let (head, body) = answer.map_err(Refusal::Failure)?.into_parts();
        // What the status says holds, whatever comes of the rest.
        let rest = timeout_at(deadline.into(), Limited::new(body, ANSWER_MAX).collect()).await;
        let said = rest.ok().and_then(Result::ok).map(|said| said.to_bytes()).unwrap_or_default();
        if head.status.is_success() {
            return Ok(said);
        }
        let asked = head.headers.get(RETRY_AFTER).and_then(|value| asked(value.to_str().ok()?, SystemTime::now()));
        let why = encode::reason(&said).map(|why| line(why, headers));
        Err(Refusal::Status(head.status.as_u16(), asked, why))
    }
}

/// A request to the collector.
fn request(path: &'static str, body: Vec<u8>, host: Option<HeaderValue>, more: &OtlpHeaders) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::Full(Some(body.into())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(path);
    let headers = request.headers_mut();
    headers.extend(host.map(|host| (HOST, host)));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("cloakroom/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(lines(more));
    request
}

/// The headers of the setting.
pub fn lines(of: &OtlpHeaders) -> HeaderMap {
    let line = |(name, value): &(String, String)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    of.lines().iter().filter_map(line).collect()
}

/// What `Retry-After` asks for: seconds, or until then.
fn asked(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// What a collector says as a line of the log, without what it was shown: some repeat a key that they do not know.
fn line(said: String, headers: &OtlpHeaders) -> String {
    let shown = headers.lines().iter().flat_map(|(_, value)| value.split(' '));
    let said = shown.filter(|word| word.len() >= SECRET_MIN).fold(said, |said, word| said.replace(word, "***"));
    said.chars().take(WORDS_MAX).collect()
}

/// Chance, for how long to wait.
fn dice() -> u32 {
    let mut dice = [0; 4];
    getrandom::fill(&mut dice).expect("the system has randomness");
    u32::from_ne_bytes(dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_headers_that_are_set_beside_its_own() {
        let of = |endpoint: &str, more: &str| {
            let reach = Reach::new(&endpoint.parse().expect("a URL"), 1);
            let request = request(METRICS_PATH, Vec::new(), reach.host(None), &more.parse().expect("headers"));
            let line =
                |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("text"));
            request.headers().iter().map(line).collect::<Vec<_>>()
        };
        let agent = concat!("user-agent: cloakroom/", env!("CARGO_PKG_VERSION"));
        let kind = "content-type: application/json";
        assert_eq!(of("https://api.example/otlp", ""), ["host: api.example", agent, kind]);
        assert_eq!(of("http://[::1]:4318", "Api-Key=a%2Cb"), ["host: [::1]:4318", agent, kind, "api-key: a,b"]);
        assert_eq!(of("https://a:80", "user-agent=x"), ["host: a:80", "user-agent: x", kind]);
        let shown = format!("{:?}", lines(&"api-key=s3cret".parse().expect("headers")));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn time_is_asked_for_in_seconds_or_by_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (value, seconds) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(asked(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn a_key_that_a_collector_repeats_is_not_logged() {
        let headers = "authorization=Basic%20s3cret,x-team=shop,a=of".parse().expect("headers");
        assert_eq!(line("no team of shop knows s3cret".to_owned(), &headers), "no team of *** knows ***");
        assert_eq!(line("x".repeat(1000), &headers).len(), WORDS_MAX);
    }
}
