//! The HTTP door in front of an upstream that works: routes, hand-through, coalescing, sign-out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloakroom::clock::Ttl;

use super::browser::{Answer, ask, check, cookie, send, send_sign_out, sign_out};
use super::faulty::{Faulty, Mode};
use super::support::{Peer, Running, free_port, until};

const ALICE: &str = r#"{"user":{"name":"alice"},"expires":"2099-01-01T00:00:00.000Z"}"#;

/// A server in front of a good upstream.
fn front(settings: &[(&str, &str)]) -> (Running, Arc<Faulty>) {
    let upstream = Faulty::start();
    (before(upstream.addr, settings), upstream)
}

/// A server in front of whatever is at this address. What it knows it knows for longer than any machine takes for a test.
pub fn before(upstream: SocketAddr, settings: &[(&str, &str)]) -> Running {
    let url = format!("http://{upstream}");
    let mut all = vec![("upstream", url.as_str()), ("session-ttl", "1m")];
    all.extend_from_slice(settings);
    Running::start(&all)
}

/// A counter of `/metrics`.
pub fn metric(server: &Running, name: &str) -> u64 {
    let text = ask(server.http, "GET", "/metrics", &[], "").body;
    let row = text.lines().find_map(|line| line.strip_prefix(&format!("cloakroom_{name} ")).map(str::to_owned));
    row.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

// ---- checks ---------------------------------------------------------------------------------------------------

#[test]
fn a_check_asks_once_and_is_then_a_hit_with_the_same_body() {
    let (server, upstream) = front(&[]);
    let first = check(server.http, "alice.1");
    assert_eq!((first.status, first.body.as_str()), (200, ALICE));
    assert_eq!(first.header("x-session-source"), "nextauth");
    assert!(first.header("set-cookie").starts_with("next-auth.session-token=alice.2;"));
    let hit = check(server.http, "alice.1");
    assert_eq!((hit.status, hit.body.as_str(), hit.header("x-session-source")), (200, ALICE, "cache"));
    assert!(hit.header("cache-status").starts_with("cloakroom; hit"), "{}", hit.header("cache-status"));
    assert!(hit.header("x-response-time").ends_with("ms"));
    assert!(hit.header("cache-control").contains("no-store"));
    // The token it was rotated to is the same session.
    assert_eq!(check(server.http, "alice.2").header("x-session-source"), "cache");
    assert_eq!(upstream.checks(), 1);
}

#[test]
fn who_waited_for_the_source_is_told_how_long_and_its_trace_goes_on() {
    let (server, upstream) = front(&[]);
    upstream.take_your_time(30);
    let (cookie, parent) = (cookie("alice.1"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let headers = [("Cookie", cookie.as_str()), ("traceparent", parent), ("tracestate", "a=b")];
    let first = ask(server.http, "GET", "/api/auth/session", &headers, "");
    assert_eq!(first.header("x-session-source"), "nextauth");
    let waited = first.header("server-timing").strip_prefix("source;dur=").map(str::parse::<f64>);
    assert!(
        waited.is_some_and(|waited| waited.is_ok_and(|waited| waited >= 30.0)),
        "{}",
        first.header("server-timing")
    );
    let seen = upstream.last();
    assert_eq!(seen.header("traceparent").as_deref(), Some(parent));
    assert_eq!(seen.header("tracestate").as_deref(), Some("a=b"));
    let hit = ask(server.http, "GET", "/api/auth/session", &headers, "");
    assert_eq!((hit.header("x-session-source"), hit.header("server-timing")), ("cache", ""));
}

#[test]
fn a_hundred_at_once_are_one_call() {
    let (server, upstream) = front(&[]);
    upstream.take_your_time(80);
    let headers = [("Cookie", "next-auth.session-token=alice.1")];
    let mut asked: Vec<TcpStream> =
        (0..100).map(|_| send(server.http, "GET", "/api/auth/session", &headers, "")).collect();
    for stream in &mut asked {
        assert_eq!(Answer::read(stream).body, ALICE);
    }
    assert_eq!(upstream.checks(), 1);
    assert_eq!(metric(&server, "sessions_waits_total") + metric(&server, "sessions_hits_total"), 99);
}

#[test]
fn two_users_interleaved_never_see_each_other() {
    let (server, _upstream) = front(&[]);
    for round in 1..=10 {
        for user in ["alice", "bob"] {
            let body = check(server.http, &format!("{user}.{round}")).body;
            assert!(body.contains(&format!(r#""name":"{user}""#)), "{user} got {body}");
        }
    }
}

#[test]
fn a_request_without_a_session_cookie_makes_no_call_once_the_library_is_known() {
    let (server, upstream) = front(&[("profile", "nextauth")]);
    let answer = ask(server.http, "GET", "/api/auth/session", &[], "");
    assert_eq!((answer.status, answer.body.as_str(), upstream.checks()), (200, "{}", 0));
    // Not set: the first one is asked about, and its answer's cookies tell.
    let (server, upstream) = front(&[]);
    for source in ["nextauth", "cache", "cache"] {
        let answer = ask(server.http, "GET", "/api/auth/session", &[], "");
        assert_eq!((answer.body.as_str(), answer.header("x-session-source")), ("{}", source));
    }
    assert_eq!(upstream.checks(), 1);
}

#[test]
fn other_methods_and_queries_go_past_the_cache() {
    let (server, upstream) = front(&[]);
    let cookie = cookie("alice.1");
    let headers = [("Cookie", cookie.as_str())];
    assert_eq!(ask(server.http, "HEAD", "/api/auth/session", &headers, "").status, 400);
    for _ in 0..2 {
        let answer = ask(server.http, "GET", "/api/auth/session?update", &headers, "");
        assert_eq!(answer.body, ALICE);
        assert_eq!(upstream.last().line, "GET /api/auth/session?update HTTP/1.1");
    }
    assert_eq!(upstream.checks(), 2);
    // An update is handed on as it is, and the next check asks anew.
    check(server.http, "alice.1");
    let answer = ask(server.http, "POST", "/api/auth/session", &headers, r#"{"csrfToken":"good","data":{}}"#);
    assert_eq!(answer.body, ALICE);
    assert_eq!(upstream.last().body, br#"{"csrfToken":"good","data":{}}"#);
    check(server.http, "alice.1");
    assert_eq!(upstream.checks(), 4);
}

#[test]
fn the_store_alone_answers_what_the_app_has_put_there() {
    let server = Running::start(&[]);
    let body = r#"{"user":{"name":"carol"}}"#;
    let session = server.engine.store(0).put(b"auth:session:abc", body.as_bytes(), Ttl::seconds(5));
    assert!(session.is_ok());
    assert_eq!(check(server.http, "abc").body, body);
    assert_eq!(check(server.http, "abd").body, "{}");
    let refused = ask(server.http, "PUT", "/api/auth/session", &[], "");
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, POST"));
    let nowhere = ask(server.http, "GET", "/api/auth/providers", &[], "");
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.body.contains("--upstream"), "{}", nowhere.body);
    let answer = ask(server.http, "POST", "/api/auth/signout", &[("Cookie", &cookie("abc"))], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
    assert_eq!(check(server.http, "abc").body, "{}");
}

#[test]
fn a_page_of_another_origin_is_told_a_session_that_lets_it_in() {
    let (server, upstream) = front(&[("profile", "nextauth")]);
    let cookie = cookie("alice.1");
    let check = |origin: &str| {
        let headers = [("Cookie", cookie.as_str()), ("Origin", origin)];
        let headers = if origin.is_empty() { &headers[..1] } else { &headers[..] };
        let answer = ask(server.http, "GET", "/api/auth/session", headers, "");
        assert!(answer.body.contains("alice"), "{origin}");
        answer.header("access-control-allow-origin").to_owned()
    };
    let (one, other) = ("https://one.example", "https://other.example");
    // A server that renders a page has no origin, and the page asks behind it.
    assert_eq!((check("").as_str(), check(one).as_str(), check(other).as_str()), ("", one, other));
    let own = format!("http://{}", server.http);
    assert_eq!((check("").as_str(), check(&own).as_str(), upstream.checks()), ("", "", 3));
    // Nobody, too.
    let nobody = ask(server.http, "GET", "/api/auth/session", &[("Origin", one)], "");
    assert_eq!((nobody.body.as_str(), nobody.header("access-control-allow-origin")), ("{}", one));
    assert_eq!(ask(server.http, "GET", "/api/auth/session", &[], "").header("access-control-allow-origin"), "");
    assert_eq!(upstream.checks(), 4);
}

// ---- hand-through ---------------------------------------------------------------------------------------------

#[test]
fn the_upstream_gets_a_request_made_anew() {
    let (server, upstream) = front(&[]);
    let headers = [
        ("Cookie", "a=1"),
        ("Accept-Encoding", "gzip"),
        ("If-None-Match", "x"),
        ("TE", "trailers"),
        ("X-Hop", "1"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-Host", "shop.example"),
    ];
    let more: Vec<_> = headers.into_iter().chain([("Connection", "X-Hop")]).collect();
    ask(server.http, "GET", "/api/auth/providers?x=1", &more, "");
    let seen = upstream.last();
    assert_eq!(seen.line, "GET /api/auth/providers?x=1 HTTP/1.1");
    assert_eq!(seen.header("host"), Some(server.http.to_string()));
    assert_eq!(seen.header("via").as_deref(), Some("1.1 cloakroom"));
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("shop.example"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    for name in ["accept-encoding", "if-none-match", "te", "x-hop", "connection"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[test]
fn what_a_client_says_of_who_is_signed_in_goes_no_further() {
    let (server, upstream) = front(&[("verify-headers", "remote,user.role=X-Role")]);
    let forged = [
        ("X-Session", "1"),
        ("X-Session-User-Id", "1"),
        ("X_Session_User_Id", "1"),
        ("X-Session_Email", "root@shop.example"),
        ("Remote_User", "root"),
        ("x_role", "admin"),
        ("X-Other", "kept"),
    ];
    for (method, path) in [
        ("GET", "/api/auth/session"),
        ("GET", "/api/auth/session?x"),
        ("POST", "/api/auth/session"),
        ("GET", "/api/auth/providers"),
        ("POST", "/api/auth/callback/credentials"),
    ] {
        ask(server.http, method, path, &forged, "");
        let seen = upstream.last();
        let told = |part: &str| seen.headers.iter().filter(|(name, _)| name.contains(part)).count();
        assert_eq!(["session", "remote", "role", "x-other"].map(told), [0, 0, 0, 1], "{method} {path}: {seen:?}");
    }
}

#[test]
fn a_post_without_a_body_tells_the_upstream_that_it_has_none() {
    let (server, upstream) = front(&[]);
    let length = |request: &str| {
        let head = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        Peer::connect(server.http).send(head).rest();
        upstream.last().header("content-length")
    };
    assert_eq!(length("POST /api/auth/callback/credentials").as_deref(), Some("0"));
    assert_eq!(length("GET /api/auth/providers"), None);
}

#[test]
fn the_upstream_is_asked_for_the_host_that_the_settings_say() {
    for (setting, is_own) in [("auto", false), ("client", false), ("upstream", true)] {
        let (server, upstream) = front(&[("upstream-host", setting)]);
        let (own, asked) = (upstream.addr.to_string(), server.http.to_string());
        let host = if is_own { own } else { asked.clone() };
        check(server.http, "alice.1");
        let call = upstream.last();
        assert_eq!((call.header("host"), call.header("x-forwarded-host")), (Some(host.clone()), Some(asked.clone())));
        ask(server.http, "GET", "/api/auth/providers", &[], "");
        let page = upstream.last();
        assert_eq!((page.header("host"), page.header("x-forwarded-host")), (Some(host), Some(asked)));
    }
}

#[test]
fn each_set_cookie_stays_a_line_of_its_own_and_the_answer_private() {
    let (server, _upstream) = front(&[]);
    let answer = ask(server.http, "GET", "/api/auth/csrf", &[], "");
    let cookies: Vec<&str> = answer.all("set-cookie").collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "c=3"]);
    assert_eq!(answer.header("cache-control"), "private, no-cache, no-store");
}

#[test]
fn an_answer_in_pieces_arrives_in_pieces() {
    let (server, upstream) = front(&[]);
    let mut stream = send(server.http, "GET", "/api/auth/drops", &[], "");
    let (mut bytes, mut buf) = (Vec::new(), [0; 4096]);
    // The others go when it is there.
    while !bytes.windows(6).any(|part| part == b"drop 0") {
        let read = stream.read(&mut buf).expect("a piece");
        assert!(read > 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buf[..read]);
    }
    upstream.drops.store(3, Ordering::SeqCst);
    stream.read_to_end(&mut bytes).expect("the others");
    assert_eq!(Answer::parse(&bytes).body, "drop 0drop 1drop 2drop 3");
}

#[test]
fn an_upload_reaches_the_upstream_while_it_is_being_sent() {
    let (server, upstream) = front(&[]);
    const HALF: usize = 300_000;
    let mut stream = TcpStream::connect(server.http).expect("a server");
    let head = format!(
        "POST /api/auth/callback/upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        2 * HALF
    );
    stream.write_all(head.as_bytes()).expect("a head sent");
    stream.write_all(&vec![b'x'; HALF]).expect("half a body sent");
    until("the first half has arrived", || upstream.uploaded.load(Ordering::SeqCst) >= HALF);
    stream.write_all(&vec![b'x'; HALF]).expect("the other half sent");
    assert_eq!(Answer::read(&mut stream).body, format!("{{\"bytes\":{}}}", 2 * HALF));
}

#[test]
fn a_request_that_comes_back_is_told_that_it_is_a_loop() {
    let (server, upstream) = front(&[]);
    let answer = ask(server.http, "GET", "/api/auth/session", &[("Via", "1.1 edge, 1.1 cloakroom")], "");
    assert_eq!(answer.status, 508);
    assert!(answer.body.contains("Via: 1.1 cloakroom"), "{}", answer.body);
    assert!(upstream.seen.lock().is_empty());
    // A server that is its own upstream says so too, and not by falling over.
    let (free, _kept) = free_port();
    let (port, itself) = (free.port().to_string(), format!("http://{free}"));
    let ring = Running::start(&[("http-port", &port), ("upstream", &itself)]);
    assert_eq!(ask(ring.http, "GET", "/api/auth/providers", &[], "").status, 508);
}

#[test]
fn a_connection_that_went_stale_while_idle_costs_nobody_an_error() {
    let (server, upstream) = front(&[("workers", "1")]);
    upstream.behave(Mode::CloseAfterOne);
    for round in 0..4 {
        let answer = check(server.http, &format!("user{round}.1"));
        assert_eq!((answer.status, answer.header("x-session-source")), (200, "nextauth"), "round {round}");
    }
    assert!(upstream.connections.load(Ordering::SeqCst) >= 4);
}

#[test]
fn a_post_meets_no_connection_that_the_upstream_closes_unannounced() {
    // An application each, as no connection of one may be answered on again by the other, and closed then.
    for mode in [Mode::CloseAfterOne, Mode::CloseAfterEach] {
        let (server, upstream) = front(&[("workers", "1")]);
        upstream.behave(mode);
        for round in 0..60 {
            let answer = ask(server.http, "POST", "/api/auth/callback/credentials", &[], "user=alice");
            assert_eq!(answer.status, 200, "{mode:?}, round {round}: {answer:?}");
            // What is sent again where need be leaves connections behind as well.
            if round % 3 == 0 {
                assert_eq!(check(server.http, &format!("{mode:?}{round}.1")).status, 200, "{mode:?}, round {round}");
            }
        }
    }
    // Where connections are kept, they are used for such requests too.
    let (server, upstream) = front(&[("workers", "1")]);
    for round in 0..3 {
        check(server.http, &format!("good{round}.1"));
    }
    let before = upstream.connections.load(Ordering::SeqCst);
    for _ in 0..5 {
        ask(server.http, "POST", "/api/auth/callback/credentials", &[], "user=alice");
    }
    assert!(upstream.connections.load(Ordering::SeqCst) < before + 5);
}

#[test]
fn calls_share_kept_alive_connections() {
    let (server, upstream) = front(&[("workers", "1")]);
    for round in 0..10 {
        check(server.http, &format!("user{round}.1"));
    }
    assert_eq!((upstream.checks(), upstream.connections.load(Ordering::SeqCst)), (10, 1));
}

// ---- signing in and out ---------------------------------------------------------------------------------------

#[test]
fn a_sign_out_ends_the_family_for_good_though_the_token_itself_stays_valid() {
    let (server, upstream) = front(&[]);
    check(server.http, "alice.1");
    let answer = sign_out(server.http, "alice.2");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"url":"http://app/signin"}"#));
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    for token in ["alice.1", "alice.2"] {
        assert_eq!(check(server.http, token).body, "{}", "{token}");
    }
    assert_eq!(upstream.checks(), 1);
    // Signing in again is a new session.
    let answer = ask(server.http, "POST", "/api/auth/callback/credentials", &[], "user=alice2");
    assert!(answer.header("set-cookie").starts_with("next-auth.session-token=alice2.1;"));
    assert!(check(server.http, "alice2.1").body.contains("alice2"));
}

#[test]
fn a_sign_out_without_a_csrf_token_clears_and_is_not_handed_on() {
    let (server, upstream) = front(&[]);
    check(server.http, "alice.1");
    let answer = ask(server.http, "POST", "/api/auth/signout", &[("Cookie", &cookie("alice.1"))], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
    assert_eq!(upstream.seen.lock().len(), 1);
    check(server.http, "alice.1");
    assert_eq!(upstream.checks(), 2);
}

#[test]
fn a_sign_out_that_the_upstream_refuses_changes_nothing() {
    let (server, _upstream) = front(&[]);
    check(server.http, "alice.1");
    let headers = [("Cookie", "next-auth.session-token=alice.1"), ("Content-Type", "application/json")];
    let answer = ask(server.http, "POST", "/api/auth/signout", &headers, r#"{"csrfToken":"bad"}"#);
    assert_eq!((answer.status, answer.all("set-cookie").count()), (200, 0));
    assert!(answer.body.contains("csrf=true"));
    assert_eq!(check(server.http, "alice.1").body, ALICE);
}

#[test]
fn a_sign_out_whose_csrf_token_has_no_cookie_is_the_upstreams_to_judge() {
    let (server, upstream) = front(&[]);
    check(server.http, "alice.1");
    let cookie = cookie("alice.1");
    let headers = [("Cookie", cookie.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    // A page of another site may guess a token, but not the cookie; while the upstream fails it gets nowhere.
    upstream.behave(Mode::ResetMidBody);
    let answer = ask(server.http, "POST", "/api/auth/signout", &headers, "csrfToken=guessed");
    assert_eq!((answer.status, answer.all("set-cookie").count()), (502, 0));
    upstream.behave(Mode::Good);
    assert_eq!(check(server.http, "alice.1").body, ALICE);
    let answer = ask(server.http, "POST", "/api/auth/signout", &headers, "csrfToken=good");
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    // It has signed the user out, whoever asked it to, and so it stays.
    let before = upstream.checks();
    assert_eq!(check(server.http, "alice.1").body, "{}");
    assert_eq!(upstream.checks(), before);
}

#[test]
fn a_form_on_another_site_clears_nothing() {
    let (server, upstream) = front(&[]);
    check(server.http, "alice.1");
    let cookie = cookie("alice.1");
    for forged in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")] {
        let answer = ask(server.http, "POST", "/api/auth/signout", &[("Cookie", &cookie), forged], "");
        assert_eq!(answer.status, 403);
    }
    let alien = ("Origin", "https://evil.example");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    // A client that reads nothing but JSON is told in JSON, and where a person may sign out.
    let sent = [("Cookie", cookie.as_str()), form, alien];
    let answer = ask(server.http, "POST", "/api/auth/signout", &sent, "csrfToken=guessed&json=true");
    let said =
        r#"{"error":"a sign-out must come from the application's own pages","url":"/api/auth/signout?csrf=true"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (403, said));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(check(server.http, "alice.1").header("x-session-source"), "cache");
    assert_eq!(upstream.seen.lock().len(), 1);
}

#[test]
fn a_sign_out_whose_csrf_token_has_its_cookie_comes_from_where_it_may() {
    let (server, _upstream) = front(&[]);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = "csrfToken=good&callbackUrl=http%3A%2F%2Fapp.intra%2F&json=true";
    // A proxy that does not tell which host was asked for, as nginx does unless told to.
    for (at, origin) in ["http://app.intra", "https://shop.example:8443", "null"].into_iter().enumerate() {
        let token = format!("user{at}.1");
        check(server.http, &token);
        let cookies = format!("next-auth.session-token={token}; next-auth.csrf-token=good%7Chash");
        let sent = [("Cookie", cookies.as_str()), form, ("Origin", origin)];
        // The browser's own word is another thing.
        let alien = [&sent[..], &[("Sec-Fetch-Site", "cross-site")]].concat();
        assert_eq!(ask(server.http, "POST", "/api/auth/signout", &alien, body).status, 403, "{origin}");
        assert_eq!(check(server.http, &token).header("x-session-source"), "cache");
        let answer = ask(server.http, "POST", "/api/auth/signout", &sent, body);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"url":"http://app/signin"}"#), "{origin}");
        assert_eq!(check(server.http, &token).body, "{}");
    }
}

#[test]
fn a_sign_out_during_a_check_wins() {
    let (server, upstream) = front(&[]);
    for delay in [0, 5, 20, 40, 60] {
        let token = format!("user{delay}.1");
        upstream.take_your_time(40);
        let headers = [("Cookie", cookie(&token))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut asked = send(server.http, "GET", "/api/auth/session", &headers, "");
        std::thread::sleep(Duration::from_millis(delay));
        upstream.take_your_time(0);
        assert_eq!(sign_out(server.http, &token).status, 200);
        // Whether the check was answered before the sign-out or after it, or came after it, nothing is left of it.
        let answer = Answer::read(&mut asked);
        assert_eq!(check(server.http, &token).body, "{}", "{token} after {delay} ms");
        let rolled = token.replace(".1", ".2");
        if answer.header("set-cookie").contains(&rolled) {
            assert_eq!(check(server.http, &rolled).body, "{}", "{rolled} after {delay} ms");
        } else {
            assert_eq!(answer.body, "{}");
            assert!(answer.all("set-cookie").all(|line| line.starts_with("next-auth.session-token=;")), "{answer:?}");
        }
    }
}

#[test]
fn a_thousand_sign_outs_at_once_leave_nobody_signed_in() {
    // All of them may wait for the slowest machine's upstream.
    let (server, _upstream) = front(&[("upstream-timeout", "1m")]);
    for user in 0..10 {
        check(server.http, &format!("user{user}.1"));
    }
    let mut asked: Vec<TcpStream> =
        (0..1000).map(|number| send_sign_out(server.http, &format!("user{}.1", number % 500))).collect();
    for stream in &mut asked {
        assert_eq!(Answer::read(stream).status, 200);
    }
    for user in 0..500 {
        assert_eq!(check(server.http, &format!("user{user}.1")).body, "{}", "user {user}");
    }
}

// ---- the server's own pages -----------------------------------------------------------------------------------

#[test]
fn the_servers_own_pages_say_how_it_is() {
    let (server, _upstream) = front(&[]);
    assert_eq!(ask(server.http, "GET", "/healthz", &[], "").body, "ok\n");
    assert_eq!(ask(server.http, "GET", "/readyz", &[], "").status, 200);
    assert_eq!(ask(server.http, "POST", "/readyz", &[], "").header("allow"), "GET, HEAD");
    check(server.http, "alice.1");
    check(server.http, "alice.1");
    assert_eq!((metric(&server, "sessions_hits_total"), metric(&server, "sessions_source_calls_total")), (1, 1));
    let lost = ask(server.http, "GET", "/api/other", &[], "");
    assert_eq!(lost.status, 404);
    assert!(lost.body.contains("/readyz"), "{}", lost.body);
}

#[test]
fn an_unreachable_upstream_is_not_ready_and_is_not_asked_at_every_probe() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = before(upstream.local_addr().expect("an address"), &[]);
    upstream.set_nonblocking(true).expect("a socket");
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(server.http, "GET", "/readyz", &[], "").status, 200);
    }
    let probes = std::iter::from_fn(|| upstream.accept().ok()).count();
    // One is good for five seconds, which twenty questions take on no machine but a very slow one.
    assert!((1..=1 + began.elapsed().as_secs() as usize / 5).contains(&probes), "{probes}");
    let (nobody, _kept) = free_port();
    let nowhere = before(nobody, &[]);
    let answer = ask(nowhere.http, "GET", "/readyz", &[], "");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("refused") && answer.body.lines().count() == 1, "{}", answer.body);
}

#[test]
fn requests_follow_each_other_on_one_connection_and_half_a_close_still_gets_its_answer() {
    let (server, _upstream) = front(&[]);
    let mut stream = TcpStream::connect(server.http).expect("a server");
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request.repeat(3).as_bytes()).expect("three requests sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half a close");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the answers");
    assert_eq!(String::from_utf8_lossy(&bytes).matches("HTTP/1.1 200 OK").count(), 3);
}

#[test]
fn a_redis_client_at_the_http_port_is_told_where_it_is() {
    let server = Running::start(&[]);
    let port = server.resp.port();
    let mut peer = Peer::connect(server.http);
    peer.send("*2\r\n$3\r\nDEL\r\n$1\r\na\r\n");
    let heard = String::from_utf8_lossy(&peer.rest()).into_owned();
    assert_eq!(heard, format!("-ERR this is the HTTP port; Redis clients connect to port {port}\r\n"));
    let mut inline = Peer::connect(server.http);
    inline.send("FLUSHALL\r\n\r\n");
    assert!(inline.rest().starts_with(b"HTTP/1.1 400"));
    let mut tls = Peer::connect(server.http);
    tls.send([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    assert_eq!(tls.rest()[..3], [0x15, 3, 1]);
}

#[test]
fn who_signed_out_is_dead_though_the_upstream_goes_on_saying_signed_in() {
    let upstream = Faulty::start();
    let url = format!("http://{}", upstream.addr);
    // So that what is known of a session, and what a short fence keeps out, is soon forgotten.
    let quick = [("session-ttl", "20ms"), ("session-stale", "0"), ("upstream-timeout", "1s"), ("upstream", &url)];
    let server = Running::start(&quick);
    assert!(check(server.http, "alice.1").body.contains("alice"));
    // One that was seen, one that was never seen.
    for token in ["alice.1", "alice.2", "carol.1"] {
        assert_eq!(sign_out(server.http, token).status, 200);
    }
    let calls = upstream.checks();
    // The upstream's second, and a fence's margin.
    std::thread::sleep(Duration::from_secs(1 + 4));
    for token in ["alice.1", "alice.2", "carol.1"] {
        assert_eq!(check(server.http, token).body, "{}", "{token}");
        server.client().send(format!("SET auth:session:{token} x\r\n")).hears("-FENCED ");
    }
    assert_eq!(upstream.checks(), calls, "nobody was asked");
    assert!(check(server.http, "dora.1").body.contains("dora"));
    // Who wants no such memory says so, and that acts at once.
    server.client().send("CONFIG SET session-revoke no\r\n").hears("+OK\r\n");
    assert_eq!(sign_out(server.http, "dora.1").status, 200);
    std::thread::sleep(Duration::from_millis(4200));
    assert!(check(server.http, "dora.1").body.contains("dora"));
}
