//! Spans of session checks whose traces are recorded, from where they end until they are sent.
//!
//! A [`Trail`] goes with such a request, a [`Call`] with what the upstream is asked for it. When either ends, a [`Span`] is
//! left in a queue that is never waited for: what it has no room for is counted and gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderValue, Method};
use tokio::sync::{Notify, mpsc};

use super::parent::TraceParent;
use crate::clock::Clock;
use crate::engine::Rows;
use crate::session::Failure;

/// Spans that wait to be sent, as many as OpenTelemetry's own batches do: half a megabyte, while a collector
/// is away, or one and a half where every trace has as long a state as there may be.
pub const QUEUE_MAX: usize = 2048;

/// Spans that are sent at once, as many as there as well. So many are not waited with.
pub const BATCH_MAX: usize = 512;

/// Bytes of a `tracestate` at most: so much the W3C asks everybody to hand on.
const STATE_MAX: usize = 512;

/// The bits of a `traceparent` that are handed on: that the trace is recorded, and that its number was drawn.
const KNOWN_FLAGS: u8 = 3;

/// Where ended spans are left.
#[derive(Clone)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    clock: Clock,
    counts: Arc<Counts>,
}

/// What is known of sending.
#[derive(Default)]
pub struct Counts {
    /// Spans that the collector took.
    pub sent: AtomicU64,
    /// Spans that nobody got.
    pub dropped: AtomicU64,
    /// Batches and sets of metrics that were not taken.
    pub failures: AtomicU64,
    /// Rung when a whole batch waits.
    pub full: Notify,
}

/// A number that nobody else has drawn.
pub type SpanId = u64;

/// What a span is part of, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: u128,
    /// Its own number.
    pub id: SpanId,
    /// The span that it is a part of.
    pub parent: SpanId,
    /// The trace's flags, those that are known.
    pub flags: u8,
    /// What tracing systems have told each other of the trace, as it came; empty if that is nothing.
    pub state: Arc<str>,
    /// From when to when, in microseconds of Unix time.
    pub time: (u64, u64),
    /// The request's method.
    pub method: &'static str,
    /// Its path, without a query.
    pub path: Box<str>,
    /// What came of it.
    pub end: End,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A check by `https` or not was answered with this status, from there.
    Check(bool, u16, &'static str),
    /// The upstream answered with this status, or failed.
    Call(Result<u16, Failure>),
}

/// A request as tracing sees it.
#[derive(Clone, Copy)]
pub struct Seen<'r> {
    /// When it came, in the clock's microseconds.
    pub began: u64,
    /// Its method.
    pub method: &'r Method,
    /// The path that is told of it, without a query.
    pub path: &'r str,
    /// Whether the browser asked by `https`.
    pub is_secure: bool,
}

/// A request whose trace is recorded.
#[derive(Clone)]
pub struct Trail {
    trace: u128,
    flags: u8,
    state: Arc<str>,
    is_secure: bool,
    id: SpanId,
    parent: SpanId,
    began: u64,
    /// What is to be added to the clock's microseconds for those of Unix time.
    lead: i64,
    method: &'static str,
    path: Box<str>,
}

/// A call to the upstream for such a request.
#[derive(Clone)]
pub struct Call(Trail);

impl Spans {
    /// A queue, and its end.
    pub fn new(clock: Clock) -> (Spans, mpsc::Receiver<Span>) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        (Spans { queue, clock, counts: Arc::default() }, waiting)
    }

    /// What is counted.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Begins to follow a request with these lines of `traceparent` and `tracestate`. `None` unless there is one of the first,
    /// which is sound and says that the trace is recorded.
    pub fn follow<'h>(
        &self,
        mut parents: impl Iterator<Item = &'h [u8]>,
        states: impl Iterator<Item = &'h [u8]>,
        seen: Seen<'_>,
    ) -> Option<Trail> {
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let parent = TraceParent::read(parent).filter(TraceParent::is_sampled)?;
        let Seen { began, method, path, is_secure } = seen;
        let lead = self.clock.wall_micros() as i64 - self.clock.micros() as i64;
        // Of the other bits nobody has said yet what they mean to who comes behind.
        let (trace, flags, above) = (parent.trace_number(), parent.flags & KNOWN_FLAGS, parent.span_number());
        Some(Trail {
            trace,
            flags,
            state: state(states),
            is_secure,
            id: draw(),
            parent: above,
            began,
            lead,
            method: known(method),
            path: path.into(),
        })
    }

    /// The request was answered with this status, from there.
    pub fn answered(&self, trail: &Trail, status: u16, source: &'static str) {
        self.leave(trail, End::Check(trail.is_secure, status, source));
    }

    /// A call for a followed request, which begins now.
    pub fn call(&self, trail: &Trail, path: &str) -> Call {
        Call(Trail { id: draw(), parent: trail.id, began: self.clock.micros(), path: path.into(), ..trail.clone() })
    }

    /// The upstream has answered with this status, or failed.
    pub fn called(&self, call: &Call, outcome: Result<u16, Failure>) {
        self.leave(&call.0, End::Call(outcome));
    }

    fn leave(&self, trail: &Trail, end: End) {
        let wall = |at: u64| at.saturating_add_signed(trail.lead);
        let span = Span {
            trace: trail.trace,
            id: trail.id,
            parent: trail.parent,
            flags: trail.flags,
            state: trail.state.clone(),
            time: (wall(trail.began), wall(self.clock.micros().max(trail.began))),
            method: trail.method,
            path: trail.path.clone(),
            end,
        };
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.max_capacity() - self.queue.capacity() >= BATCH_MAX {
            self.counts.full.notify_one();
        }
    }
}

impl Call {
    /// The header that tells the upstream which span its own are parts of.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        let Call(Trail { trace, id, flags, .. }) = self;
        HeaderValue::try_from(format!("00-{trace:032x}-{id:016x}-{flags:02x}")).ok()
    }
}

impl Counts {
    /// The figures, for INFO and `/metrics`.
    pub fn rows(&self) -> Rows {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        vec![
            ("spans", "Spans that the collector has taken", of(&self.sent)),
            ("spans_dropped", "Spans that were dropped, as the collector was away or refused them", of(&self.dropped)),
            ("failures", "Batches of spans and sets of metrics that the collector did not take", of(&self.failures)),
        ]
    }
}

/// The lines of `tracestate` as one; nothing if they are no such list, or longer than anybody has to hand on.
fn state<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Arc<str> {
    let mut whole = String::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let is_member = |member: &[u8]| member.trim_ascii().is_empty() || member.contains(&b'=');
        let is_sound = line.iter().all(|byte| byte.is_ascii_graphic() || b" \t".contains(byte))
            && line.split(|byte| *byte == b',').all(is_member);
        match std::str::from_utf8(line) {
            Ok(line) if is_sound && whole.len() + usize::from(!whole.is_empty()) + line.len() <= STATE_MAX => {
                whole.push_str(if whole.is_empty() { "" } else { "," });
                whole.push_str(line.trim());
            }
            _ => return Arc::default(),
        }
    }
    whole.into()
}

/// A number for a span; 0 is none.
fn draw() -> SpanId {
    let mut id = [0; 8];
    getrandom::fill(&mut id).expect("the system has randomness");
    SpanId::from_ne_bytes(id).max(1)
}

/// The method's name, of those that everybody knows: another may be any text.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    methods.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Millis, Ttl};

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn follow(spans: &Spans, parents: &[&[u8]], states: &[&[u8]], seen: Seen<'_>) -> Option<Trail> {
        spans.follow(parents.iter().copied(), states.iter().copied(), seen)
    }

    fn seen(method: &Method) -> Seen<'_> {
        Seen { began: 0, method, path: "/", is_secure: false }
    }

    #[test]
    fn a_call_is_part_of_its_check_and_told_so() {
        let clock = ManualClock::at(Millis(1_000));
        clock.set_wall_offset(5_000);
        let (spans, mut waiting) = Spans::new(clock.clone().into());
        let seen = Seen { began: 1_000_000, path: "/api/auth/session", is_secure: true, ..seen(&Method::GET) };
        let trail = follow(&spans, &[PARENT], &[b"a=1,b=2", b" c=3 "], seen).expect("a recorded trace");
        clock.advance(Ttl(2));
        let call = spans.call(&trail, "/up");
        clock.advance(Ttl(30));
        spans.called(&call, Ok(200));
        clock.advance(Ttl(1));
        spans.answered(&trail, 200, "nextauth");
        let (inner, outer) = (waiting.try_recv().expect("a span"), waiting.try_recv().expect("a span"));
        assert_eq!((inner.trace, outer.trace), (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, inner.trace));
        assert_eq!((inner.parent, outer.parent), (outer.id, 0xb7ad_6b71_6920_3331));
        assert_eq!((outer.time, inner.time), ((6_000_000, 6_033_000), (6_002_000, 6_032_000)));
        assert_eq!((&*inner.path, inner.end), ("/up", End::Call(Ok(200))));
        assert_eq!(outer.end, End::Check(true, 200, "nextauth"));
        assert_eq!([(outer.flags, &*outer.state), (inner.flags, &*inner.state)], [(1, "a=1,b=2,c=3"); 2]);
        let told = call.traceparent().expect("a header");
        assert_eq!(told, format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", inner.id).as_str());
    }

    #[test]
    fn what_is_not_recorded_leaves_nothing() {
        let (spans, _waiting) = Spans::new(ManualClock::default().into());
        for header in [&b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"[..], b"", b"rubbish"] {
            assert!(follow(&spans, &[header], &[], seen(&Method::GET)).is_none());
        }
        // The second bit says how the trace's number was drawn.
        let flags = |flags: &[u8]| follow(&spans, &[&[&PARENT[..53], flags].concat()], &[], seen(&Method::GET));
        assert_eq!(flags(b"ff").map(|trail| trail.flags), Some(3));
        assert!(flags(b"02").is_none());
        // Of two nobody knows which holds.
        assert!(follow(&spans, &[PARENT, PARENT], &[], seen(&Method::GET)).is_none());
    }

    #[test]
    fn what_is_no_state_of_a_trace_is_left_out() {
        let of = |lines: &[&[u8]]| state(lines.iter().copied()).to_string();
        let long = [b"a=".as_slice(), &[b'x'; 510]].concat();
        assert_eq!((of(&[]), of(&[b"", b"a@b=1", b""])), (String::new(), "a@b=1".to_owned()));
        assert_eq!(of(&[&long]).len(), STATE_MAX);
        for lines in [&[&long[..], b"b=1"][..], &[b"a=\xff"], &[b"a=1", b"rubbish"], &[b"a=1,,\x07b=2"]] {
            assert_eq!(of(lines), "", "{lines:?}");
        }
    }

    #[test]
    fn the_queue_has_an_end_and_what_is_too_much_is_counted() {
        let (spans, mut waiting) = Spans::new(ManualClock::default().into());
        let trail = follow(&spans, &[PARENT], &[], seen(&Method::GET)).expect("a recorded trace");
        for _ in 0..QUEUE_MAX + 7 {
            spans.answered(&trail, 200, "cache");
        }
        assert_eq!((spans.counts().dropped.load(Ordering::Relaxed), waiting.len()), (7, QUEUE_MAX));
        waiting.try_recv().expect("a span");
        spans.answered(&trail, 200, "cache");
        assert_eq!((spans.counts().dropped.load(Ordering::Relaxed), waiting.len()), (7, QUEUE_MAX));
    }

    #[test]
    fn a_method_that_was_made_up_is_not_told() {
        let (spans, mut waiting) = Spans::new(ManualClock::default().into());
        let method = Method::from_bytes(b"SECRET").expect("a method");
        let trail = follow(&spans, &[PARENT], &[], seen(&method)).expect("a recorded trace");
        spans.answered(&trail, 401, "cache");
        assert_eq!(waiting.try_recv().expect("a span").method, "_OTHER");
    }
}
