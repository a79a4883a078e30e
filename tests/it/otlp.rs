//! What an OpenTelemetry collector gets, and that one which is slow, away or refuses costs nobody anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;

use super::binary::{Binary, command, run};
use super::browser::{Answer, ask, check, cookie};
use super::faulty::{Faulty, Mode};
use super::http::metric;
use super::support::{PATIENCE, Peer, Running, free_port, until};
use super::tls::Office;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const RECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector that keeps what it is sent.
struct Collector {
    addr: SocketAddr,
    /// Paths and documents, as they came.
    seen: Mutex<Vec<(String, Value)>>,
    /// The heads they came with.
    heads: Mutex<Vec<HeaderMap>>,
    status: AtomicU16,
    /// What it answers.
    answer: Mutex<String>,
    /// Whether it says nothing to what comes now.
    stalls: AtomicBool,
}

impl Collector {
    /// Starts one on a port and a thread of its own, which live as long as the tests do.
    fn start() -> Arc<Collector> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let collector = Arc::new(Collector {
            addr: listener.local_addr().expect("an address"),
            seen: Mutex::default(),
            heads: Mutex::default(),
            status: AtomicU16::new(200),
            answer: Mutex::new("{}".to_owned()),
            stalls: AtomicBool::new(false),
        });
        let host = collector.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, host.accept(listener));
        });
        collector
    }

    async fn accept(self: Arc<Collector>, listener: std::net::TcpListener) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            let host = self.clone();
            let service = service_fn(move |request| {
                let host = host.clone();
                async move { Ok::<_, Infallible>(host.take(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::task::spawn_local(async move { drop(connection.await) });
        }
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if self.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        assert_eq!(request.method(), "POST");
        assert_eq!(request.headers()["content-type"], "application/json");
        let path = request.uri().path().to_owned();
        self.heads.lock().push(request.headers().clone());
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let status = self.status.load(Ordering::SeqCst);
        if status == 200 {
            self.seen.lock().push((path, serde_json::from_slice(&body).expect("JSON")));
        }
        let mut response = Response::new(Full::new(Bytes::from(self.answer.lock().clone())));
        *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
        response
    }

    /// The values of a header in all that has come since it was asked last.
    fn values(&self, name: &str) -> Vec<String> {
        let heads = std::mem::take(&mut *self.heads.lock());
        heads.iter().filter_map(|head| head.get(name)?.to_str().ok().map(str::to_owned)).collect()
    }

    /// The settings that send there, often.
    fn settings(&self) -> [(&'static str, String); 2] {
        [("otlp-endpoint", format!("http://{}/otlp", self.addr)), ("otlp-interval", "100ms".to_owned())]
    }

    /// Sets of metrics that have come.
    fn metrics(&self) -> Vec<Value> {
        let seen = self.seen.lock();
        let metrics = seen.iter().filter(|(path, _)| path == "/otlp/v1/metrics");
        metrics.map(|(_, all)| all["resourceMetrics"][0].clone()).collect()
    }

    /// Spans that have come.
    fn spans(&self) -> Vec<Value> {
        let seen = self.seen.lock();
        let traces = seen.iter().filter(|(path, _)| path == "/otlp/v1/traces");
        let spans = |all: &Value| all["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().expect("spans");
        traces.flat_map(|(_, all)| spans(all)).collect()
    }

    /// The spans, once there are so many.
    fn wait_for(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} spans have come"), || self.spans().len() >= count);
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

/// A server in front of an upstream, that sends to a collector.
fn start(collector: &Collector, upstream: &Faulty, more: &[(&str, &str)]) -> Running {
    let (settings, url) = (collector.settings(), format!("http://{}", upstream.addr));
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.push(("upstream", &url));
    all.extend_from_slice(more);
    Running::start(&all)
}

/// A check with a `traceparent`, which hyper reads as its connection is to close.
fn traced(server: &Running, path: &str, token: &str, parent: &str) -> Answer {
    let cookie = cookie(token);
    ask(server.http, "GET", path, &[("Cookie", cookie.as_str()), ("traceparent", parent)], "")
}

/// The same as a plain check, as most come.
fn plain(path: &str, token: &str, parent: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nTraceParent: {parent}\r\nCookie: {}\r\n\r\n", cookie(token))
}

/// What an attribute says.
fn attribute<'v>(of: &'v Value, key: &str) -> &'v str {
    let attributes = of["attributes"].as_array().expect("attributes");
    let found = attributes.iter().find(|one| one["key"] == key).map(|one| &one["value"]);
    found.and_then(|value| value.as_object()?.values().next()?.as_str()).unwrap_or_default()
}

#[test]
fn metrics_are_those_of_the_page_with_who_counts_them() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[]);
    let mut client = server.client();
    client.send("SET a 1\r\nGET a\r\nGET b\r\n").hears("+OK\r\n$1\r\n1\r\n$-1\r\n");
    check(server.http, "alice.1");
    let of = |all: &Value, name: &str| {
        let metrics = all["scopeMetrics"][0]["metrics"].as_array().cloned().expect("metrics");
        metrics.into_iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    let hits = |all: &Value| of(all, "cloakroom_keyspace_hits")["sum"]["dataPoints"][0]["asInt"].clone();
    until("the read was told", || collector.metrics().last().is_some_and(|all| hits(all) != "0"));
    until("the check was told", || {
        let all = collector.metrics().pop().expect("metrics");
        of(&all, "cloakroom_session_check_duration_seconds")["histogram"]["dataPoints"][0]["count"] == "1"
    });
    let all = collector.metrics().pop().expect("metrics");
    let resource = &all["resource"];
    assert_eq!(attribute(resource, "service.name"), "cloakroom");
    assert_eq!(attribute(resource, "service.version"), env!("CARGO_PKG_VERSION"));
    let mut client = redis::Client::open(format!("redis://{}", server.resp)).expect("an address");
    let info: String = redis::cmd("INFO").arg("server").query(&mut client).expect("text");
    let id = attribute(resource, "service.instance.id");
    assert!(!id.is_empty() && info.contains(&format!("run_id:{id}")), "{id}");
    // Each family of the page is there, and is what it is there.
    let page = ask(server.http, "GET", "/metrics", &[("Accept", "application/openmetrics-text")], "").body;
    let mut families = 0;
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a kind");
        let metric = of(&all, name);
        assert!(metric[if kind == "counter" { "sum" } else { kind }].is_object(), "{name} {kind}");
        assert!(!metric["description"].as_str().expect("help").is_empty(), "{name}");
        families += 1;
    }
    assert_eq!(all["scopeMetrics"][0]["metrics"].as_array().map(Vec::len), Some(families));
}

#[test]
fn a_recorded_check_is_a_span_and_what_is_asked_for_it_another_below() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[("session-ttl", "60s")]);
    upstream.take_your_time(20);
    assert_eq!(traced(&server, "/api/auth/session", "alice.1", RECORDED).header("x-session-source"), "nextauth");
    let spans = collector.wait_for(2);
    let of = |spans: &[Value], kind: u8| spans.iter().find(|span| span["kind"] == kind).cloned().expect("a span");
    let (outer, inner) = (of(&spans, 2), of(&spans, 3));
    assert_eq!((&outer["traceId"], &inner["traceId"]), (&TRACE.into(), &TRACE.into()));
    assert_eq!((&outer["parentSpanId"], &inner["parentSpanId"]), (&PARENT.into(), &outer["spanId"]));
    let told = format!("00-{TRACE}-{}-01", inner["spanId"].as_str().expect("digits"));
    assert_eq!(upstream.last().all("traceparent").collect::<Vec<_>>(), [told]);
    assert_eq!(outer["name"], "GET /api/auth/session");
    let attributes = ["http.request.method", "url.path", "http.response.status_code", "cloakroom.source"];
    assert_eq!(attributes.map(|key| attribute(&outer, key)), ["GET", "/api/auth/session", "200", "nextauth"]);
    assert_eq!(attribute(&inner, "server.port"), upstream.addr.port().to_string());
    assert_eq!(attribute(&inner, "url.full"), format!("http://{}/api/auth/session", upstream.addr));
    let time = |span: &Value, key: &str| span[key].as_str().expect("a time").parse::<u64>().expect("a number");
    let lasted = |span| time(span, "endTimeUnixNano") - time(span, "startTimeUnixNano");
    assert!(lasted(&outer) >= lasted(&inner) && lasted(&inner) >= 20_000_000, "{spans:#?}");
    assert!(time(&outer, "startTimeUnixNano") <= time(&inner, "startTimeUnixNano"));
    // Hits, by either reader, and for a proxy; none of them asks anybody.
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    traced(&server, "/api/auth/verify/of?what=secret", "alice.1", RECORDED);
    let mut client = Peer::connect(server.http);
    client.send(plain("/api/auth/session", "alice.1", RECORDED)).hears("HTTP/1.1 200 ");
    client.send(plain("/api/auth/verify", "alice.1", RECORDED));
    // Past the cache: a span, and a call below it.
    traced(&server, "/api/auth/session?secret", "alice.1", RECORDED);
    let spans = collector.wait_for(8).split_off(2);
    let names = |path: &str| {
        let of_path = spans.iter().filter(|span| attribute(span, "url.path") == path);
        of_path.map(|span| attribute(span, "cloakroom.source").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/api/auth/verify"), ["cache", "cache"]);
    assert_eq!(names("/api/auth/session"), ["cache", "cache", "nextauth"]);
    let mut ids: Vec<String> = collector.spans().iter().map(|span| span["spanId"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
    until("they were counted", || metric(&server, "otlp_spans_total") == 8);
    // Nothing of all that was told tells who came, however the path is spelled.
    traced(&server, "/api/auth/session;secret", "alice.1", RECORDED);
    server.stop();
    let all = format!("{:?}", collector.seen.lock());
    for secret in ["alice", "session-token", "secret"] {
        assert!(!all.contains(secret), "{secret} was told");
    }
}

#[test]
fn a_plain_check_that_has_to_wait_is_followed_too_and_so_is_one_that_fails() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[("session-error", "pass")]);
    let mut client = Peer::connect(server.http);
    client.send(plain("/api/auth/session", "alice.1", RECORDED)).hears("HTTP/1.1 200 ");
    let spans = collector.wait_for(2);
    assert_eq!(spans.iter().map(|span| span["kind"].as_u64()).collect::<Vec<_>>(), [Some(3), Some(2)]);
    assert_eq!(spans[0]["parentSpanId"], spans[1]["spanId"]);
    upstream.behave(Mode::Gibberish);
    traced(&server, "/api/auth/session", "bob.1", RECORDED);
    let spans = collector.wait_for(4).split_off(2);
    assert_eq!((&spans[0]["status"]["code"], &spans[1]["status"]["code"]), (&2.into(), &2.into()));
    assert!(["reset", "malformed"].contains(&attribute(&spans[0], "error.type")), "{}", spans[0]);
    assert_eq!(attribute(&spans[1], "http.response.status_code"), attribute(&spans[1], "error.type"));
}

#[test]
fn a_span_has_the_paths_that_there_are_under_another_base_path() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let url = format!("http://{}/api", upstream.addr);
    let server = start(&collector, &upstream, &[("upstream", &url), ("base-path", "/auth")]);
    traced(&server, "/auth/session", "alice.1", RECORDED);
    let spans = collector.wait_for(2);
    let (inner, outer) = (&spans[0], &spans[1]);
    assert_eq!((attribute(outer, "url.path"), &outer["name"]), ("/auth/session", &"GET /auth/session".into()));
    assert_eq!(attribute(inner, "url.full"), format!("{url}/auth/session"));
    let mut client = Peer::connect(server.http);
    client.send(plain("/auth/session", "alice.1", RECORDED)).hears("HTTP/1.1 200 ");
    traced(&server, "/auth/verify/of?what=secret", "alice.1", RECORDED);
    let paths = collector.wait_for(4).split_off(2);
    assert_eq!(
        paths.iter().map(|span| attribute(span, "url.path")).collect::<Vec<_>>(),
        ["/auth/session", "/auth/verify"]
    );
}

#[test]
fn what_is_not_recorded_goes_on_as_it_came_and_leaves_no_span() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[]);
    let unrecorded = RECORDED.replace("-01", "-00");
    traced(&server, "/api/auth/session", "alice.1", &unrecorded);
    assert_eq!(upstream.last().header("traceparent"), Some(unrecorded.clone()));
    traced(&server, "/api/auth/session", "alice.1", &unrecorded);
    traced(&server, "/api/auth/session", "bob.1", "rubbish-01");
    assert_eq!(upstream.last().header("traceparent").as_deref(), Some("rubbish-01"));
    check(server.http, "carol.1");
    assert_eq!(upstream.last().header("traceparent"), None);
    let mut client = Peer::connect(server.http);
    client.send(plain("/api/auth/session", "alice.1", &unrecorded)).hears("HTTP/1.1 200 ");
    // Whatever was left before has been sent when the server has ended.
    server.stop();
    assert!(!collector.metrics().is_empty());
    assert_eq!(collector.spans(), Vec::<Value>::new());
}

#[test]
fn without_a_collector_a_trace_goes_on_as_it_came() {
    let upstream = Faulty::start();
    let server = super::http::before(upstream.addr, &[]);
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    assert_eq!(upstream.last().header("traceparent").as_deref(), Some(RECORDED));
    assert!(!ask(server.http, "GET", "/metrics", &[], "").body.contains("otlp"));
}

#[test]
fn what_is_left_is_sent_when_the_server_ends() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[("otlp-interval", "1h")]);
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    server.stop();
    assert_eq!((collector.spans().len(), collector.metrics().len()), (2, 1));
}

/// Sends so many plain checks, and waits for their answers.
fn flood(server: &Running, count: usize) {
    let mut client = Peer::connect(server.http);
    for _ in 0..count / 100 {
        client.send(plain("/api/auth/session", "alice.1", RECORDED).repeat(100));
        let (mut heard, mut bytes) = (0, Vec::new());
        while heard < 100 {
            let mut some = [0; 64 * 1024];
            let len = std::io::Read::read(&mut client.0, &mut some).expect("answers");
            assert!(len > 0, "the server has hung up");
            bytes.extend_from_slice(&some[..len]);
            heard = bytes.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
        }
    }
}

#[test]
fn a_collector_that_is_away_harms_nobody_and_what_is_kept_for_it_has_an_end() {
    let (nobody, _socket) = free_port();
    let (url, upstream) = (format!("http://{nobody}"), Faulty::start());
    let settings = [("otlp-endpoint", url.as_str()), ("otlp-interval", "100ms"), ("session-ttl", "60s")];
    let server = super::http::before(upstream.addr, &settings);
    check(server.http, "alice.1");
    until("it was not taken", || metric(&server, "otlp_failures_total") >= 1);
    flood(&server, 4000);
    assert_eq!(metric(&server, "otlp_spans_total"), 0);
    // The queue holds 2048, and what was being sent another 512.
    let dropped = metric(&server, "otlp_spans_dropped_total");
    assert!((4000 - 2048 - 512..=4000 - 2048).contains(&dropped), "{dropped}");
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < PATIENCE);
}

#[test]
fn a_collector_that_says_nothing_holds_nobody_up_for_long() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    collector.stalls.store(true, Ordering::SeqCst);
    let server = start(&collector, &upstream, &[("session-ttl", "60s")]);
    check(server.http, "alice.1");
    std::thread::sleep(Duration::from_millis(150));
    flood(&server, 1000);
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < PATIENCE);
}

#[test]
fn what_was_refused_for_now_comes_later_and_what_was_refused_for_good_does_not() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[("session-ttl", "60s")]);
    collector.status.store(503, Ordering::SeqCst);
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    until("it was refused", || metric(&server, "otlp_failures_total") >= 2);
    collector.status.store(200, Ordering::SeqCst);
    collector.wait_for(2);
    collector.status.store(400, Ordering::SeqCst);
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    until("it was dropped", || metric(&server, "otlp_spans_dropped_total") == 1);
    assert_eq!(metric(&server, "otlp_spans_total"), 2);
}

#[test]
fn check_tells_whether_the_collector_takes_anything() {
    let (collector, (nobody, _socket)) = (Collector::start(), free_port());
    for (endpoint, says) in [
        (format!("http://{}/otlp", collector.addr), "ok       otlp-endpoint"),
        (format!("http://{nobody}"), "warning  otlp-endpoint"),
    ] {
        let (code, said, errors) = run(&["check", "--port", "0", "--http-port", "0", "--otlp-endpoint", &endpoint]);
        assert!(code == Some(0) && said.contains(says), "{said}{errors}");
    }
    assert_eq!(collector.metrics().len(), 1);
    // One that wants a key, and one that would get it in the clear: no address of this machine's alone.
    collector.status.store(403, Ordering::SeqCst);
    let (wants, wide) = (format!("http://{}/otlp", collector.addr), format!("http://0.0.0.0:{}", nobody.port()));
    for (endpoint, says, is_clear) in [(&wants, "set otlp-headers to what", false), (&wide, "in the clear", true)] {
        let mut launch = command(&["check", "--port", "0", "--http-port", "0", "--otlp-endpoint", endpoint]);
        launch.env("CLOAKROOM_OTLP_HEADERS", "x-key=s3cret");
        let (mut command, _home) = launch.into_parts();
        let said = String::from_utf8(command.output().expect("a binary").stdout).expect("text");
        assert!(said.contains(says) && said.contains("in the clear") == is_clear, "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_span_tells_the_state_of_its_trace_and_what_the_browser_asked_by() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let server = start(&collector, &upstream, &[("session-ttl", "60s")]);
    let cookie = cookie("alice.1");
    let secure = [("X-Forwarded-Proto", "https, http"), ("tracestate", "ot=th:8,a=1")];
    let own = [("Cookie", cookie.as_str()), ("traceparent", RECORDED), ("tracestate", "b@c=2")];
    // By hyper, and to the upstream, which has the lines as they came.
    ask(server.http, "GET", "/api/auth/session", &[&secure[..], &own].concat(), "");
    let told = upstream.last();
    assert_eq!(told.all("tracestate").collect::<Vec<_>>().join(","), "ot=th:8,a=1,b@c=2");
    // A plain hit, and a plain check that has to wait.
    let line = |(name, value): (&str, &str)| format!("{name}: {value}\r\n");
    let lines: String = secure.into_iter().map(line).collect();
    for token in ["alice.1", "bob.1"] {
        let head = plain("/api/auth/session", token, RECORDED).replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1);
        Peer::connect(server.http).send(head).hears("HTTP/1.1 200 ");
    }
    let spans = collector.wait_for(5);
    let states: Vec<&str> = spans.iter().filter_map(|span| span["traceState"].as_str()).collect();
    assert_eq!(states[..2], ["ot=th:8,a=1,b@c=2"; 2]);
    assert_eq!(states[2..], ["ot=th:8,a=1"; 3]);
    let schemes: Vec<&str> = spans.iter().map(|span| attribute(span, "url.scheme")).collect();
    assert_eq!(schemes, ["", "https", "https", "", "https"]);
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    let spans = collector.wait_for(6);
    assert_eq!((&spans[5]["traceState"], attribute(&spans[5], "url.scheme")), (&"".into(), "http"));
    // Which of two traces it is part of nobody can tell.
    let twice = [("Cookie", cookie.as_str()), ("traceparent", RECORDED), ("traceparent", RECORDED)];
    ask(server.http, "GET", "/api/auth/session", &twice, "");
    server.stop();
    assert_eq!(collector.spans().len(), 6);
}

#[test]
fn headers_and_attributes_go_with_everything_as_they_are_set() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    let attributes = "deployment.environment.name=a%2Cb,service.name=shop";
    let server = start(
        &collector,
        &upstream,
        &[("otlp-headers", "x-key=f1rst,authorization=Basic%20dTpw"), ("otlp-resource-attributes", attributes)],
    );
    traced(&server, "/api/auth/session", "alice.1", RECORDED);
    collector.wait_for(2);
    until("metrics have come", || !collector.metrics().is_empty());
    for (_, all) in collector.seen.lock().iter() {
        let resource = &all.as_object().and_then(|all| all.values().next()).expect("one member")[0]["resource"];
        let names = ["service.name", "deployment.environment.name", "service.version"];
        assert_eq!(names.map(|name| attribute(resource, name)), ["shop", "a,b", env!("CARGO_PKG_VERSION")]);
        assert_eq!(resource["attributes"].as_array().map(Vec::len), Some(4), "{resource}");
    }
    let heads = collector.heads.lock().clone();
    assert!(heads.len() > 1 && heads.iter().all(|head| head["x-key"] == "f1rst"), "{heads:?}");
    assert!(heads.iter().all(|head| head["authorization"] == "Basic dTpw" && !head.contains_key("content-encoding")));
    let mut client = server.client();
    client.send("CONFIG SET otlp-headers x-key=s3cond\r\n").hears("+OK\r\n");
    until("they have changed", || collector.values("x-key").last().is_some_and(|key| key == "s3cond"));
    assert!(collector.values("authorization").is_empty());
    client
        .send("CONFIG SET otlp-headers Host=evil\r\n")
        .hears("-ERR CONFIG SET failed (possibly related to argument 'otlp-headers') - host is not");
    // Nobody sees them who does not ask for them.
    let page = ask(server.http, "GET", "/metrics", &[], "").body;
    assert!(!page.contains("s3cond"));
}

#[test]
fn what_a_collector_says_is_logged_once_and_without_the_key_that_it_repeats() {
    let (collector, upstream) = (Collector::start(), Faulty::start());
    collector.status.store(401, Ordering::SeqCst);
    *collector.answer.lock() = r#"{"code":16,"message":"nobody knows\n k3y-0f-ours"}"#.to_owned();
    let (endpoint, url) = (format!("http://{}/otlp", collector.addr), format!("http://{}", upstream.addr));
    let mut launch = command(&["--port", "0", "--http-port", "0", "--otlp-endpoint", &endpoint, "--upstream", &url]);
    launch.env("CLOAKROOM_OTLP_HEADERS", "x-key=k3y-0f-ours").env("CLOAKROOM_OTLP_INTERVAL", "100ms");
    let binary = Binary::of(launch, ["(resp)", "(http)"]);
    let info = || String::from_utf8(Peer::connect(binary.resp).send("INFO otlp\r\nQUIT\r\n").rest()).expect("text");
    until("it was refused", || info().contains("\r\nfailures:") && !info().contains("\r\nfailures:0"));
    {
        // Both at once: whoever is taken is told this.
        let mut answer = collector.answer.lock();
        collector.status.store(200, Ordering::SeqCst);
        *answer = r#"{"partialSuccess":{"rejectedDataPoints":"7","errorMessage":"too old"}}"#.to_owned();
    }
    until("it was taken", || collector.metrics().len() >= 2);
    *collector.answer.lock() = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too long"}}"#.to_owned();
    let cookie = cookie("alice.1");
    ask(binary.http, "GET", "/api/auth/session", &[("Cookie", &cookie), ("traceparent", RECORDED)], "");
    // Its two spans may come together or not.
    until("it was taken in part", || !info().contains("\r\nspans_dropped:0"));
    binary.signal("TERM");
    let (code, said) = binary.ended();
    assert_eq!(code, Some(0));
    for (once, what) in [
        ("status 401: nobody knows  ***", "a reason"),
        ("set in otlp-headers", "a cure"),
        ("takes metrics again", "its end"),
        ("refuses 7 of the metrics", "points"),
        ("too old", "why"),
        ("refuses 1 of the traces", "spans"),
    ] {
        assert_eq!(said.matches(once).count(), 1, "{what}: {said}");
    }
    assert!(!said.contains("k3y"), "{said}");
}

#[test]
fn a_collector_over_https_must_prove_who_it_is() {
    let (collector, office) = (Collector::start(), Office::open());
    // Another server hands on what comes by TLS to the collector.
    let front = office.serve(&[("upstream", &format!("http://{}", collector.addr))]);
    let endpoint = format!("https://localhost:{}/api/auth", front.http.port());
    let arguments = ["check", "--port", "0", "--http-port", "0", "--otlp-endpoint", &endpoint];
    let strange = Office::open();
    for (roots, says) in [
        (office.text("ca.pem"), "ok       otlp-endpoint"),
        (strange.text("ca.pem"), "is there, but TLS fails"),
        ("/dev/null".to_owned(), "is there, but TLS fails"),
    ] {
        let mut launch = command(&arguments);
        launch.env("SSL_CERT_FILE", &roots).env_remove("SSL_CERT_DIR").env("CLOAKROOM_OTLP_HEADERS", "x-key=of-check");
        let (mut command, _home) = launch.into_parts();
        let output = command.output().expect("a binary");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(says), "{roots}: {said}");
    }
    assert_eq!(collector.values("x-key"), ["of-check"]);
    let mut launch = command(&["--port", "0", "--http-port", "0", "--otlp-endpoint", &endpoint]);
    launch.env("SSL_CERT_FILE", office.text("ca.pem")).env("CLOAKROOM_OTLP_INTERVAL", "100ms");
    let binary = Binary::of(launch, ["(resp)", "(http)"]);
    let came = || collector.seen.lock().iter().filter(|(path, _)| path == "/api/auth/v1/metrics").count();
    until("metrics came over TLS", || came() > 1);
    drop(binary);
}
