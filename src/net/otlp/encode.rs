//! What a collector is sent, in OTLP's JSON encoding: `ExportMetricsServiceRequest` and `ExportTraceServiceRequest`.
//!
//! Numbers of 64 bits are texts there, and those of traces and spans hexadecimal digits. Names of attributes are those of
//! OpenTelemetry's semantic conventions, and what they have no name for begins with `cloakroom.`.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::spans::{End, Span};
use crate::clock::{Clock, Millis};
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

/// Flags of a span beside those of its trace: it is known whether its parent is elsewhere, and it is.
const KNOWN_PARENT: u32 = 0x100;
const REMOTE_PARENT: u32 = 0x200;

/// Writes what is sent.
pub struct Encoder {
    resource: Json,
    scope: Json,
    upstream: Option<Upstream>,
    /// When the server started.
    started: Millis,
    /// When metrics were written last.
    last: Millis,
    /// Since when each counter counts, and how far it was.
    counters: HashMap<String, (Millis, u64)>,
}

impl Encoder {
    /// For the server of this name, and of these attributes before others, that started then, and asks that upstream.
    pub fn new(instance: &str, told: &[(String, String)], started: Millis, upstream: Option<Upstream>) -> Encoder {
        let version = env!("CARGO_PKG_VERSION");
        let own = [("service.name", "cloakroom"), ("service.version", version), ("service.instance.id", instance)];
        let own = own.into_iter().filter(|(key, _)| told.iter().all(|(other, _)| other != key));
        let told = told.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Encoder {
            resource: json!({ "attributes": own.chain(told).map(|(key, value)| text(key, value)).collect::<Vec<_>>() }),
            scope: json!({ "name": "cloakroom", "version": version }),
            upstream,
            started,
            last: started,
            counters: HashMap::new(),
        }
    }

    /// The figures as they are now. Instants are told as this clock has them in Unix time now: whoever sets it back or forward
    /// moves the starts too, so that none comes to lie behind the time that it counts to.
    pub fn metrics(&mut self, figures: &[Figure], clock: &Clock) -> Vec<u8> {
        let now = clock.now();
        let lead = clock.to_wall(now) as i64 - now.0 as i64;
        let metrics: Vec<Json> = figures.iter().map(|figure| self.metric(figure, now, lead)).collect();
        self.last = now;
        let scopes = json!([{ "scope": self.scope, "metrics": metrics }]);
        json!({ "resourceMetrics": [{ "resource": self.resource, "scopeMetrics": scopes }] }).to_string().into()
    }

    fn metric(&mut self, figure: &Figure, now: Millis, lead: i64) -> Json {
        let wall = |at: Millis| nanos(at.0.saturating_add_signed(lead).saturating_mul(1000));
        let time = wall(now);
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
                let start = wall(self.start(name, *value));
                let point = json!({ "startTimeUnixNano": start, "timeUnixNano": time, "asInt": whole(*value) });
                let sum = json!({ "aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": [point] });
                ("sum", sum)
            }
            Value::Histogram(steps, micros) => {
                let start = wall(self.start(name, steps[STEPS - 1]));
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
    fn start(&mut self, name: &str, value: u64) -> Millis {
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
        let Span { trace, id, parent, flags, state, time: (begin, end), method, path, end: outcome } = span;
        // As the conventions have it for a method that was made up.
        let verb = if *method == "_OTHER" { "HTTP" } else { method };
        let mut attributes = vec![text("http.request.method", method)];
        let (kind, name, parents, status, fails) = match *outcome {
            End::Check(is_secure, status, source) => {
                attributes.push(text("url.scheme", if is_secure { "https" } else { "http" }));
                attributes.extend([text("url.path", path), text("http.route", path), text("cloakroom.source", source)]);
                let name = format!("{verb} {path}");
                (SERVER, name, KNOWN_PARENT | REMOTE_PARENT, Some(status), status >= 500)
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
                (CLIENT, verb.to_owned(), KNOWN_PARENT, status, fails)
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
            "traceState": &**state,
            "flags": parents | u32::from(*flags),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": nanos(*begin),
            "endTimeUnixNano": nanos(*end),
            "attributes": attributes,
            "status": if fails { json!({ "code": ERROR }) } else { json!({}) },
        })
    }
}

/// What a collector that took something has to say of it: how many spans or points of it were refused all the same, and what it
/// wants to be known. Nothing if all is well, or if it is no JSON.
pub fn reservations(answer: &[u8]) -> (u64, Option<String>) {
    let Ok(answer) = serde_json::from_slice::<Json>(answer) else { return (0, None) };
    let partly = &answer["partialSuccess"];
    let count = |of: &Json| match of {
        Json::String(text) => text.parse().unwrap_or(0),
        value => value.as_u64().unwrap_or(0),
    };
    let refused = ["rejectedSpans", "rejectedDataPoints"].map(|name| count(&partly[name]));
    (refused[0].max(refused[1]), words(&partly["errorMessage"]))
}

/// Why a collector took nothing, as its answer says, which is a `Status`.
pub fn reason(answer: &[u8]) -> Option<String> {
    words(&serde_json::from_slice::<Json>(answer).ok()?["message"])
}

/// What somebody says, in one line.
fn words(said: &Json) -> Option<String> {
    let said: String = said.as_str()?.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let said = said.trim();
    (!said.is_empty()).then(|| said.to_owned())
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
    use crate::clock::{ManualClock, Ttl};
    use crate::session::Failure;

    const START: u64 = 1_700_000_000_000_000;
    const STARTED: Millis = Millis(START / 1000);

    fn encoder() -> Encoder {
        Encoder::new("run", &[], STARTED, Some("http://[::1]:3000/app".parse().expect("a URL")))
    }

    fn figure(name: &str, value: Value) -> Figure {
        Figure { name: name.to_owned(), help: "Help", value }
    }

    /// The metrics of one scope.
    fn written(encoder: &mut Encoder, figure: Figure, hands: &ManualClock) -> Json {
        let written = encoder.metrics(&[figure], &hands.clone().into());
        let all: Json = serde_json::from_slice(&written).expect("JSON");
        all["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0].clone()
    }

    fn span(end: End) -> Json {
        let span = Span {
            trace: 0xab,
            id: 0xcd,
            parent: 0xef,
            flags: 3,
            state: "a=1".into(),
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
        let (mut encoder, hands) = (encoder(), ManualClock::at(STARTED));
        let mut start = |value, after: u64| {
            hands.advance(Ttl(10));
            let metric = written(&mut encoder, figure("x_bytes_total", Value::Counter(value)), &hands);
            assert_eq!((&metric["name"], &metric["unit"]), (&json!("x_bytes"), &json!("By")));
            assert_eq!(
                (&metric["sum"]["isMonotonic"], &metric["sum"]["aggregationTemporality"]),
                (&json!(true), &json!(2))
            );
            let point = &metric["sum"]["dataPoints"][0];
            assert_eq!(point["asInt"], json!(value.to_string()));
            assert_eq!(point["timeUnixNano"], json!(((START + after * 1000) * 1000).to_string()));
            let start = point["startTimeUnixNano"].as_str().expect("a text").parse::<u64>().expect("a number");
            (start / 1000 - START) / 1000
        };
        assert_eq!([start(7, 10), start(7, 20), start(9, 30), start(3, 40), start(4, 50)], [0, 0, 0, 30, 30]);
    }

    #[test]
    fn a_gauge_is_a_number_and_no_number_is_too_large() {
        let metric = written(&mut encoder(), figure("x_keys", Value::Gauge(u64::MAX)), &ManualClock::at(STARTED));
        assert_eq!(metric["gauge"]["dataPoints"][0]["asInt"], json!("9223372036854775807"));
        assert_eq!((&metric["unit"], metric.get("sum")), (&json!(""), None));
    }

    #[test]
    fn a_histogram_has_each_step_alone_and_one_bound_less() {
        let mut steps = [5; STEPS];
        (steps[0], steps[1], steps[STEPS - 1]) = (2, 3, 6);
        let value = Value::Histogram(Box::new(steps), 1_500_000);
        let metric = written(&mut encoder(), figure("x_seconds", value), &ManualClock::at(STARTED));
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
        let span = span(End::Check(true, 200, "cache"));
        assert_eq!(
            (&span["name"], &span["kind"], &span["status"]),
            (&json!("GET /api/auth/session"), &json!(2), &json!({}))
        );
        let ids = [&span["traceId"], &span["spanId"], &span["parentSpanId"]].map(|id| id.as_str().expect("digits"));
        assert_eq!(ids, ["000000000000000000000000000000ab", "00000000000000cd", "00000000000000ef"]);
        assert_eq!((&span["flags"], &span["traceState"]), (&json!(0x303), &json!("a=1")));
        assert_eq!(
            attributes(&span),
            [
                "http.request.method=GET",
                "url.scheme=https",
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
    fn a_clock_that_is_set_back_leaves_no_start_behind_its_end() {
        let (mut encoder, hands) = (encoder(), ManualClock::at(STARTED));
        hands.advance(Ttl(10_000));
        hands.set_wall_offset(-3_600_000);
        let metric = written(&mut encoder, figure("x_total", Value::Counter(1)), &hands);
        let point = &metric["sum"]["dataPoints"][0];
        let time = |key: &str| point[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time");
        assert_eq!(time("timeUnixNano"), (START - 3_590_000_000) * 1000);
        assert_eq!(time("timeUnixNano") - time("startTimeUnixNano"), 10_000_000_000);
    }

    #[test]
    fn what_a_collector_refuses_of_what_it_takes_is_read_from_its_answer() {
        let no = || Some("no".to_owned());
        assert_eq!(reservations(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#), (3, no()));
        assert_eq!(reservations(br#"{"partialSuccess":{"rejectedDataPoints":3}}"#), (3, None));
        assert_eq!(reservations(br#"{"partialSuccess":{"errorMessage":" no\n"}}"#), (0, no()));
        for answer in
            [&b"{}"[..], b"", b"null", br#"{"partialSuccess":{}}"#, br#"{"partialSuccess":{"rejectedSpans":-1}}"#]
        {
            assert_eq!(reservations(answer), (0, None));
        }
        assert_eq!(reason(br#"{"code":16,"message":"no"}"#), no());
        assert_eq!(reason(b"<html>").or(reason(b"{}")).or(reason(br#"{"message":7}"#)), None);
    }
}
