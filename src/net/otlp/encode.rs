//! What a collector is sent, in OTLP's JSON encoding: `ExportMetricsServiceRequest` and `ExportTraceServiceRequest`.
//!
//! Numbers of 64 bits are texts there, and those of traces and spans hexadecimal digits. Names of attributes are those of
//! OpenTelemetry's semantic conventions, and what they have no name for begins with `cloakroom.`.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::spans::{End, Span};
use crate::config::Upstream;
use crate::metrics::STEPS;
use crate::net::figures::{Figure, Value, bounds, seconds};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: figures count from a start on.
const CUMULATIVE: u8 = 2;

/// `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT`.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// Flags of a span: its trace is recorded, and it is known whether its parent is elsewhere, and it is.
const SAMPLED: u32 = 1;
const KNOWN_PARENT: u32 = 0x100;
const REMOTE_PARENT: u32 = 0x200;

/// Writes what is sent.
pub struct Encoder {
    resource: Json,
    scope: Json,
    upstream: Option<Upstream>,
    /// When the server started, in microseconds of Unix time.
    started: u64,
    /// When metrics were written last.
    last: u64,
    /// Since when each counter counts, and how far it was.
    counters: HashMap<String, (u64, u64)>,
}

impl Encoder {
    /// For the server of this name that started then, in microseconds of Unix time, and asks that upstream.
    pub fn new(instance: &str, started: u64, upstream: Option<Upstream>) -> Encoder {
        let version = env!("CARGO_PKG_VERSION");
        let resource = [("service.name", "cloakroom"), ("service.version", version), ("service.instance.id", instance)];
        Encoder {
            resource: json!({ "attributes": resource.map(|(key, value)| text(key, value)) }),
            scope: json!({ "name": "cloakroom", "version": version }),
            upstream,
            started,
            last: started,
            counters: HashMap::new(),
        }
    }

    /// The figures as they are now, in microseconds of Unix time.
    pub fn metrics(&mut self, figures: &[Figure], now: u64) -> Vec<u8> {
        let metrics: Vec<Json> = figures.iter().map(|figure| self.metric(figure, now)).collect();
        self.last = now;
        let scopes = json!([{ "scope": self.scope, "metrics": metrics }]);
        json!({ "resourceMetrics": [{ "resource": self.resource, "scopeMetrics": scopes }] }).to_string().into()
    }

    fn metric(&mut self, figure: &Figure, now: u64) -> Json {
        let time = nanos(now);
        // A backend that takes them for Prometheus adds the ending of counters, and units that are not there yet.
        let name = figure.family();
        let unit = match figure.unit() {
            Some("seconds") => "s",
            Some("bytes") => "By",
            _ => "",
        };
        let mut metric = json!({ "name": name, "description": figure.help, "unit": unit });
        let (kind, data) = match &figure.value {
            Value::Gauge(value) => {
                ("gauge", json!({ "dataPoints": [{ "timeUnixNano": time, "asInt": whole(*value) }] }))
            }
            Value::Counter(value) => {
                let start = nanos(self.start(name, *value));
                let point = json!({ "startTimeUnixNano": start, "timeUnixNano": time, "asInt": whole(*value) });
                let sum = json!({ "aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": [point] });
                ("sum", sum)
            }
            Value::Histogram(steps, micros) => {
                let start = nanos(self.start(name, steps[STEPS - 1]));
                let below = [0].into_iter().chain(steps.iter().copied());
                let counts: Vec<String> =
                    steps.iter().zip(below).map(|(upto, below)| upto.saturating_sub(below).to_string()).collect();
                let point = json!({
                    "startTimeUnixNano": start,
                    "timeUnixNano": time,
                    "count": steps[STEPS - 1].to_string(),
                    "sum": seconds(*micros),
                    "bucketCounts": counts,
                    "explicitBounds": bounds().collect::<Vec<f64>>(),
                });
                ("histogram", json!({ "aggregationTemporality": CUMULATIVE, "dataPoints": [point] }))
            }
        };
        metric[kind] = data;
        metric
    }

    /// Since when a counter counts that has come to this. One that has fallen was set back (CONFIG RESETSTAT) since the
    /// figures were written last.
    fn start(&mut self, name: &str, value: u64) -> u64 {
        match self.counters.get_mut(name) {
            Some((start, last)) => {
                if value < *last {
                    *start = self.last;
                }
                *last = value;
                *start
            }
            None => {
                self.counters.insert(name.to_owned(), (self.started, value));
                self.started
            }
        }
    }

    /// These spans.
    pub fn spans(&self, spans: &[Span]) -> Vec<u8> {
        let spans: Vec<Json> = spans.iter().map(|span| self.span(span)).collect();
        let scopes = json!([{ "scope": self.scope, "spans": spans }]);
        json!({ "resourceSpans": [{ "resource": self.resource, "scopeSpans": scopes }] }).to_string().into()
    }

    fn span(&self, span: &Span) -> Json {
        let Span { trace, id, parent, time: (begin, end), method, path, end: outcome } = span;
        // As the conventions have it for a method that was made up.
        let verb = if *method == "_OTHER" { "HTTP" } else { method };
        let mut attributes = vec![text("http.request.method", method)];
        let (kind, name, flags, status, fails) = match *outcome {
            End::Check(status, source) => {
                attributes.extend([text("url.path", path), text("http.route", path), text("cloakroom.source", source)]);
                let name = format!("{verb} {path}");
                (SERVER, name, SAMPLED | KNOWN_PARENT | REMOTE_PARENT, Some(status), status >= 500)
            }
            End::Call(outcome) => {
                if let Some(upstream) = &self.upstream {
                    attributes.push(text("server.address", &upstream.host));
                    attributes.push(number("server.port", upstream.port));
                    attributes.push(text("url.full", &format!("{upstream}{path}")));
                }
                let (status, fails) = match outcome {
                    Ok(status) => (Some(status), status >= 400),
                    Err(failure) => {
                        attributes.push(text("error.type", failure.word()));
                        (None, true)
                    }
                };
                (CLIENT, verb.to_owned(), SAMPLED | KNOWN_PARENT, status, fails)
            }
        };
        if let Some(status) = status {
            attributes.push(number("http.response.status_code", status));
            if fails {
                attributes.push(text("error.type", &status.to_string()));
            }
        }
        json!({
            "traceId": format!("{trace:032x}"),
            "spanId": format!("{id:016x}"),
            "parentSpanId": format!("{parent:016x}"),
            "flags": flags,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": nanos(*begin),
            "endTimeUnixNano": nanos(*end),
            "attributes": attributes,
            "status": if fails { json!({ "code": ERROR }) } else { json!({}) },
        })
    }
}

/// How many spans of a batch a collector has refused though it took the batch, as its answer says.
pub fn refused(answer: &[u8]) -> u64 {
    let Ok(answer) = serde_json::from_slice::<Json>(answer) else { return 0 };
    match &answer["partialSuccess"]["rejectedSpans"] {
        Json::String(text) => text.parse().unwrap_or(0),
        value => value.as_u64().unwrap_or(0),
    }
}

/// Microseconds of Unix time as OTLP has them.
fn nanos(micros: u64) -> String {
    micros.saturating_mul(1000).to_string()
}

/// A whole number, which is signed there.
fn whole(value: u64) -> String {
    value.min(i64::MAX as u64).to_string()
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u16) -> Json {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Failure;

    const START: u64 = 1_700_000_000_000_000;

    fn encoder() -> Encoder {
        Encoder::new("run", START, Some("http://[::1]:3000/app".parse().expect("a URL")))
    }

    fn figure(name: &str, value: Value) -> Figure {
        Figure { name: name.to_owned(), help: "Help", value }
    }

    /// The metrics of one scope.
    fn written(encoder: &mut Encoder, figure: Figure, now: u64) -> Json {
        let all: Json = serde_json::from_slice(&encoder.metrics(&[figure], now)).expect("JSON");
        all["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0].clone()
    }

    fn span(end: End) -> Json {
        let span = Span {
            trace: 0xab,
            id: 0xcd,
            parent: 0xef,
            time: (START, START + 1),
            method: "GET",
            path: "/api/auth/session".into(),
            end,
        };
        let all: Json = serde_json::from_slice(&encoder().spans(&[span])).expect("JSON");
        all["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    }

    /// The attributes, one a line.
    fn attributes(of: &Json) -> Vec<String> {
        let shown =
            |value: &Json| value.as_object().and_then(|value| value.values().next()?.as_str()).map(str::to_owned);
        let line =
            |one: &Json| format!("{}={}", one["key"].as_str().unwrap_or("?"), shown(&one["value"]).unwrap_or_default());
        of["attributes"].as_array().expect("attributes").iter().map(line).collect()
    }

    #[test]
    fn a_counter_counts_since_the_start_and_anew_once_it_was_set_back() {
        let mut encoder = encoder();
        let mut start = |value, after: u64| {
            let metric = written(&mut encoder, figure("x_bytes_total", Value::Counter(value)), START + after);
            assert_eq!((&metric["name"], &metric["unit"]), (&json!("x_bytes"), &json!("By")));
            assert_eq!(
                (&metric["sum"]["isMonotonic"], &metric["sum"]["aggregationTemporality"]),
                (&json!(true), &json!(2))
            );
            let point = &metric["sum"]["dataPoints"][0];
            assert_eq!(point["asInt"], json!(value.to_string()));
            assert_eq!(point["timeUnixNano"], json!(((START + after) * 1000).to_string()));
            let start = point["startTimeUnixNano"].as_str().expect("a text").parse::<u64>().expect("a number");
            start / 1000 - START
        };
        assert_eq!([start(7, 10), start(7, 20), start(9, 30), start(3, 40), start(4, 50)], [0, 0, 0, 30, 30]);
    }

    #[test]
    fn a_gauge_is_a_number_and_no_number_is_too_large() {
        let metric = written(&mut encoder(), figure("x_keys", Value::Gauge(u64::MAX)), START);
        assert_eq!(metric["gauge"]["dataPoints"][0]["asInt"], json!("9223372036854775807"));
        assert_eq!((&metric["unit"], metric.get("sum")), (&json!(""), None));
    }

    #[test]
    fn a_histogram_has_each_step_alone_and_one_bound_less() {
        let mut steps = [5; STEPS];
        (steps[0], steps[1], steps[STEPS - 1]) = (2, 3, 6);
        let value = Value::Histogram(Box::new(steps), 1_500_000);
        let metric = written(&mut encoder(), figure("x_seconds", value), START);
        let point = &metric["histogram"]["dataPoints"][0];
        let counts: Vec<&str> =
            point["bucketCounts"].as_array().expect("counts").iter().filter_map(Json::as_str).collect();
        assert_eq!((&counts[..4], counts[STEPS - 1], counts.len()), (&["2", "1", "2", "0"][..], "1", STEPS));
        let limits = point["explicitBounds"].as_array().expect("bounds");
        assert_eq!((limits.len(), limits[0].as_f64(), limits[20].as_f64()), (STEPS - 1, Some(1e-6), Some(1.048_576)));
        assert_eq!((&point["count"], &point["sum"], &metric["unit"]), (&json!("6"), &json!(1.5), &json!("s")));
    }

    #[test]
    fn a_check_says_where_its_answer_is_from() {
        let span = span(End::Check(200, "cache"));
        assert_eq!(
            (&span["name"], &span["kind"], &span["status"]),
            (&json!("GET /api/auth/session"), &json!(2), &json!({}))
        );
        let ids = [&span["traceId"], &span["spanId"], &span["parentSpanId"]].map(|id| id.as_str().expect("digits"));
        assert_eq!(ids, ["000000000000000000000000000000ab", "00000000000000cd", "00000000000000ef"]);
        assert_eq!(
            attributes(&span),
            [
                "http.request.method=GET",
                "url.path=/api/auth/session",
                "http.route=/api/auth/session",
                "cloakroom.source=cache",
                "http.response.status_code=200"
            ]
        );
    }

    #[test]
    fn a_call_says_who_was_asked_and_why_it_failed() {
        let of = |outcome| {
            let span = span(End::Call(outcome));
            let rest = attributes(&span).split_off(4);
            (span["kind"].clone(), span["status"]["code"].clone(), rest)
        };
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(of(Ok(200)), (json!(3), Json::Null, lines(&["http.response.status_code=200"])));
        assert_eq!(of(Ok(401)), (json!(3), json!(2), lines(&["http.response.status_code=401", "error.type=401"])));
        assert_eq!(of(Err(Failure::Timeout)), (json!(3), json!(2), lines(&["error.type=timeout"])));
        let asked = attributes(&span(End::Call(Ok(200))));
        assert_eq!(
            asked[1..4],
            ["server.address=::1", "server.port=3000", "url.full=http://[::1]:3000/app/api/auth/session"]
        );
    }

    #[test]
    fn what_a_collector_refuses_of_a_batch_is_read_from_its_answer() {
        assert_eq!(refused(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#), 3);
        assert_eq!(refused(br#"{"partialSuccess":{"rejectedSpans":3}}"#), 3);
        for answer in
            [&b"{}"[..], b"", b"null", br#"{"partialSuccess":{}}"#, br#"{"partialSuccess":{"rejectedSpans":-1}}"#]
        {
            assert_eq!(refused(answer), 0);
        }
    }
}
