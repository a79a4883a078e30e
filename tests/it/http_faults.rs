//! The HTTP door between bad requests and a bad upstream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloakroom::net::Patience;

use super::browser::{Answer, ask, check, cookie, send, sign_out};
use super::faulty::{Faulty, Mode};
use super::http::{before, metric};
use super::support::{PATIENCE, Peer, Running, free_port, until, within};

/// A server in front of an upstream that may take twice as long as a test waits for anything.
fn front(settings: &[(&str, &str)]) -> (Running, Arc<Faulty>) {
    let upstream = Faulty::start();
    let mut all = vec![("upstream-timeout", "20s")];
    all.extend_from_slice(settings);
    (before(upstream.addr, &all), upstream)
}

/// The upstream does this from now on. For an answer that never comes 300 ms are enough; no other is cut off by a machine that
/// is slow.
fn behave((server, upstream): (&Running, &Faulty), mode: Mode) {
    let timeout = if matches!(mode, Mode::Stall | Mode::Drip) { "300ms" } else { "20s" };
    server.engine.configure(&[("upstream-timeout", timeout)], true).expect("a setting");
    upstream.behave(mode);
}

const TROUBLES: [Mode; 12] = [
    Mode::Stall,
    Mode::Drip,
    Mode::ResetMidBody,
    Mode::TooMany,
    Mode::Broken500,
    Mode::Html,
    Mode::Elsewhere301,
    Mode::HundredMegabytes,
    Mode::GzipBomb,
    Mode::WrongLength,
    Mode::Gibberish,
    Mode::Switching101,
];

// ---- a bad upstream -------------------------------------------------------------------------------------------

#[test]
fn every_asker_is_answered_in_time_and_nothing_bad_is_kept() {
    let (server, upstream) = front(&[]);
    for (number, mode) in TROUBLES.into_iter().enumerate() {
        let token = format!("user{number}.1");
        behave((&server, &upstream), mode);
        let started = Instant::now();
        let cookie = cookie(&token);
        let headers = [("Cookie", cookie.as_str())];
        let mut asked: Vec<TcpStream> =
            (0..5).map(|_| send(server.http, "GET", "/api/auth/session", &headers, "")).collect();
        for stream in &mut asked {
            let answer = Answer::read(stream);
            assert!(answer.header("cache-control").contains("no-store"), "{mode:?}");
            if !matches!(mode, Mode::Html | Mode::Elsewhere301 | Mode::GzipBomb) {
                assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{mode:?}");
            }
        }
        assert!(started.elapsed() < PATIENCE, "{mode:?} took {:?}", started.elapsed());
        behave((&server, &upstream), Mode::Good);
        let answer = check(server.http, &token);
        assert_eq!(answer.header("x-session-source"), "nextauth", "{mode:?} was kept");
        assert!(answer.body.contains(&format!("user{number}")), "{mode:?}");
    }
}

#[test]
fn the_last_good_session_is_shown_while_the_upstream_fails() {
    let (server, upstream) = front(&[("session-ttl", "50ms")]);
    for (number, mode) in TROUBLES.into_iter().enumerate() {
        if matches!(mode, Mode::Html | Mode::Elsewhere301 | Mode::GzipBomb) {
            // Answers, if odd ones: they are handed on.
            continue;
        }
        let token = format!("user{number}.1");
        behave((&server, &upstream), Mode::Good);
        check(server.http, &token);
        behave((&server, &upstream), mode);
        std::thread::sleep(Duration::from_millis(60));
        let answer = check(server.http, &token);
        assert!(answer.body.contains(&format!("user{number}")), "{mode:?}: {}", answer.body);
        assert!(answer.header("cache-status").contains("stale"), "{mode:?}: {}", answer.header("cache-status"));
    }
    assert!(metric(&server, "sessions_stale_total") >= 8);
}

#[test]
fn a_failure_is_passed_on_where_the_settings_say_so() {
    let (server, upstream) = front(&[("session-error", "pass")]);
    for (mode, status) in [(Mode::TooMany, 429), (Mode::Broken500, 500), (Mode::Stall, 504), (Mode::Gibberish, 502)] {
        behave((&server, &upstream), mode);
        let answer = check(server.http, &format!("user{status}.1"));
        assert_eq!(answer.status, status, "{mode:?}");
        let after = if mode == Mode::TooMany { "7" } else { "1" };
        assert_eq!(answer.header("retry-after"), after, "{mode:?}");
    }
}

#[test]
fn redirects_are_handed_on_and_never_followed() {
    let (server, upstream) = front(&[]);
    upstream.behave(Mode::Elsewhere301);
    let answer = check(server.http, "alice.1");
    assert_eq!((answer.status, answer.header("location")), (301, "http://127.0.0.1:1/"));
    assert_eq!(upstream.checks(), 1);
}

#[test]
fn an_upstream_that_wants_a_closing_slash_is_asked_with_one() {
    let (server, upstream) = front(&[]);
    upstream.behave(Mode::Slashes);
    let cookie = cookie("alice.1");
    let own = [("Cookie", cookie.as_str())];
    // An update cannot be sent twice: its client is led to the other path, which leads nobody round in a circle.
    let led = ask(server.http, "POST", "/api/auth/session", &own, "{}");
    assert_eq!((led.status, led.header("location")), (308, "/api/auth/session/"));
    for path in ["/api/auth/session/", "/api/auth/session"] {
        assert_eq!(ask(server.http, "POST", path, &own, "{}").status, 200, "{path}");
    }
    let asked = |(server, upstream): &(Running, Arc<Faulty>), path: &str| {
        let before = upstream.seen.lock().len();
        let answer = ask(server.http, "GET", path, &own, "");
        let lines = upstream.seen.lock()[before..].iter().map(|seen| seen.line.clone()).collect::<Vec<_>>();
        (answer.status, answer.header("x-session-source").to_owned(), lines)
    };
    let fresh = front(&[]);
    fresh.1.behave(Mode::Slashes);
    let both = ["GET /api/auth/session HTTP/1.1", "GET /api/auth/session/ HTTP/1.1"];
    for (path, source, lines) in [
        ("/api/auth/session", "nextauth", &both[..]),
        ("/api/auth/session/", "cache", &[]),
        ("/api/auth/session", "cache", &[]),
        ("/api/auth/verify", "cache", &[]),
        ("/api/auth/session?x", "nextauth", &["GET /api/auth/session/?x HTTP/1.1"]),
    ] {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(asked(&fresh, path), (200, source.to_owned(), lines), "{path}");
    }
    let other = super::browser::cookie("bob.1");
    let checked = ask(fresh.0.http, "GET", "/api/auth/session/", &[("Cookie", &other)], "");
    assert!(checked.body.contains("bob"), "{}", checked.body);
    assert_eq!(fresh.1.last().line, both[1]);
    // A sign-out on either path.
    let cookies = format!("{cookie}; next-auth.csrf-token=good%7C5f3e");
    let form = [("Cookie", cookies.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(ask(fresh.0.http, "POST", "/api/auth/signout", &form, "csrfToken=good").status, 308);
    assert_eq!(asked(&fresh, "/api/auth/session").1, "nextauth", "it was not signed out");
    assert_eq!(ask(fresh.0.http, "POST", "/api/auth/signout/", &form, "csrfToken=good").status, 200);
    assert!(check(fresh.0.http, "alice.1").header("cache-status").contains("signed-out"));
}

#[test]
fn an_update_may_take_longer_than_a_check() {
    let (server, upstream) = front(&[("upstream-timeout", "300ms")]);
    upstream.take_your_time(600);
    let answer = ask(server.http, "POST", "/api/auth/session", &[("Cookie", &cookie("alice.1"))], "{}");
    assert_eq!(answer.status, 200, "{}", answer.header("cache-status"));
    assert!(answer.header("set-cookie").starts_with("next-auth.session-token=alice.2"));
    assert!(check(server.http, "bob.1").header("cache-status").contains("timeout"));
}

#[test]
fn another_protocol_is_handed_to_nobody() {
    let (server, upstream) = front(&[("session-error", "pass")]);
    let page = ask(server.http, "GET", "/api/auth/switch", &[], "");
    assert_eq!((page.status, page.body.as_str()), (502, "the upstream fails: malformed\n"));
    upstream.behave(Mode::Switching101);
    assert_eq!(check(server.http, "alice.1").status, 502);
    assert_eq!(ask(server.http, "POST", "/api/auth/session", &[("Cookie", &cookie("alice.1"))], "{}").status, 502);
}

#[test]
fn of_a_hundred_megabytes_only_the_first_are_taken() {
    let (server, upstream) = front(&[("upstream-timeout", "5s")]);
    upstream.behave(Mode::HundredMegabytes);
    let answer = check(server.http, "alice.1");
    assert!(answer.header("cache-status").contains("too-large"), "{}", answer.header("cache-status"));
    // What lies in both sockets' buffers was sent, and no more.
    std::thread::sleep(Duration::from_millis(100));
    assert!(upstream.uploaded.load(Ordering::SeqCst) < 20 << 20);
}

#[test]
fn foreign_cookies_and_open_caching_reach_only_their_asker() {
    let (server, upstream) = front(&[]);
    upstream.behave(Mode::Foreign);
    let first = check(server.http, "alice.1");
    assert_eq!(first.all("set-cookie").filter(|line| line.starts_with("tracker")).count(), 1);
    assert!(!first.header("cache-control").contains("public"));
    let second = check(server.http, "alice.1");
    assert_eq!(second.all("set-cookie").filter(|line| line.starts_with("tracker")).count(), 0);
    assert!(check(server.http, "bob.1").body.contains("bob"));
}

#[test]
fn an_upstream_that_is_not_there_signs_nobody_out_and_lets_nobody_wait() {
    let (nobody, _kept) = free_port();
    let server = before(nobody, &[("upstream-timeout", "20s")]);
    let started = Instant::now();
    let answer = check(server.http, "alice.1");
    assert_eq!((answer.status, answer.body.as_str(), answer.all("set-cookie").count()), (200, "{}", 0));
    assert!(answer.header("cache-status").contains("refused"), "{}", answer.header("cache-status"));
    let page = ask(server.http, "GET", "/api/auth/providers", &[], "");
    assert_eq!((page.status, page.body.as_str()), (503, "the upstream fails: refused\n"));
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_sign_out_of_auth_js_without_a_csrf_token_is_the_upstreams_to_judge() {
    let (server, _upstream) = front(&[]);
    let cookie = cookie("alice.1");
    let own = [("Cookie", cookie.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let asks = [own[0], own[1], ("X-Auth-Return-Redirect", "1")];
    check(server.http, "alice.1");
    // The application's own step, which signs nobody out.
    assert_eq!(ask(server.http, "POST", "/api/auth/signout", &own, "").body, r#"{"success":true}"#);
    assert!(check(server.http, "alice.1").body.contains("alice"));
    let answer = ask(server.http, "POST", "/api/auth/signout", &asks, "callbackUrl=%2F");
    assert!(answer.header("set-cookie").starts_with("next-auth.session-token=; Max-Age=0"), "{answer:?}");
    assert!(check(server.http, "alice.1").header("cache-status").contains("signed-out"));
    let foreign = [asks[0], asks[1], asks[2], ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(ask(server.http, "POST", "/api/auth/signout", &foreign, "callbackUrl=%2F").status, 403);
}

#[test]
fn a_sign_out_holds_while_the_upstream_is_in_trouble() {
    let (server, upstream) = front(&[]);
    for (number, mode) in
        [Mode::Stall, Mode::ResetMidBody, Mode::TooMany, Mode::Broken500, Mode::Gibberish].into_iter().enumerate()
    {
        let token = format!("user{number}.1");
        behave((&server, &upstream), Mode::Good);
        check(server.http, &token);
        behave((&server, &upstream), mode);
        let answer = sign_out(server.http, &token);
        assert!(answer.status >= 429, "{mode:?}: {}", answer.status);
        assert!(answer.body.starts_with(r#"{"error":"the session is closed here"#), "{mode:?}: {}", answer.body);
        let deleted =
            answer.all("set-cookie").any(|line| line.starts_with("next-auth.session-token=; Max-Age=0; Path=/"));
        assert!(deleted, "{mode:?}");
        behave((&server, &upstream), Mode::Good);
        for token in [&token, &token.replace(".1", ".2")] {
            assert_eq!(check(server.http, token).body, "{}", "{mode:?} {token}");
        }
    }
    // The same with nobody there at all.
    let (nobody, _kept) = free_port();
    let server = before(nobody, &[]);
    assert_eq!(sign_out(server.http, "alice.1").status, 503);
    assert!(check(server.http, "alice.1").header("cache-status").contains("signed-out"));
}

#[test]
fn a_fill_goes_on_when_its_asker_leaves_at_any_point() {
    let (server, upstream) = front(&[]);
    upstream.take_your_time(60);
    for (number, leave_after) in [0, 10, 30, 70].into_iter().enumerate() {
        let token = format!("user{number}.1");
        let cookie = cookie(&token);
        let headers = [("Cookie", cookie.as_str())];
        let calls = upstream.checks();
        let asker = send(server.http, "GET", "/api/auth/session", &headers, "");
        std::thread::sleep(Duration::from_millis(leave_after));
        // A reset, so that the server notices at once.
        socket2::SockRef::from(&asker).set_linger(Some(Duration::ZERO)).expect("a socket");
        until("the call is made", || upstream.checks() > calls);
        let mut waiter = send(server.http, "GET", "/api/auth/session", &headers, "");
        drop(asker);
        assert!(Answer::read(&mut waiter).body.contains(&format!("user{number}")));
        assert_eq!(upstream.checks(), calls + 1, "leaving after {leave_after} ms");
        assert_eq!(check(server.http, &token).header("x-session-source"), "cache");
    }
}

#[test]
fn a_sign_out_is_carried_out_when_its_asker_leaves() {
    let (server, upstream) = front(&[]);
    check(server.http, "alice.1");
    upstream.take_your_time(50);
    let asker = super::browser::send_sign_out(server.http, "alice.1");
    until("it is asked for", || upstream.last().line.contains("signout"));
    socket2::SockRef::from(&asker).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(asker);
    until("it is counted", || metric(&server, "sessions_sign_outs_total") == 1);
    assert_eq!(check(server.http, "alice.1").body, "{}");
}

#[test]
fn a_full_house_upstream_answers_the_rest_in_time() {
    let (server, upstream) = front(&[("upstream-connections", "2"), ("upstream-timeout", "1s")]);
    upstream.behave(Mode::Stall);
    let started = Instant::now();
    let mut asked: Vec<TcpStream> = (0..20)
        .map(|user| {
            let cookie = cookie(&format!("user{user}.1"));
            send(server.http, "GET", "/api/auth/session", &[("Cookie", &cookie)], "")
        })
        .collect();
    // In the middle of the first two calls, nobody else has got through.
    until("they have got through", || upstream.connections.load(Ordering::SeqCst) >= 2);
    std::thread::sleep(Duration::from_millis(100));
    let reached = upstream.connections.load(Ordering::SeqCst);
    assert!(started.elapsed() > Duration::from_millis(900) || reached == 2, "{reached} connections");
    for stream in &mut asked {
        assert_eq!(Answer::read(stream).body, "{}");
    }
    // Two at a time would take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    upstream.behave(Mode::Good);
    assert!(check(server.http, "alice.1").body.contains("alice"));
}

// ---- clients between others and the upstream -----------------------------------------------------------------

/// A client that begins a request with a body and sends one byte of that.
fn withhold(server: &Running, path: &str) -> Peer {
    let mut peer = Peer::connect(server.http);
    peer.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx"));
    peer
}

#[test]
fn a_connection_over_which_a_request_is_still_being_sent_is_nobody_elses() {
    let (server, upstream) = front(&[("workers", "1"), ("upstream-timeout", "5s")]);
    let mut early: Vec<Peer> = (0..3).map(|_| withhold(&server, "/api/auth/early")).collect();
    for peer in &mut early {
        peer.hears("HTTP/1.1 401 ");
    }
    for user in 0..4 {
        let answer = check(server.http, &format!("user{user}.1"));
        assert!(answer.body.contains("user"), "{}", answer.header("cache-status"));
    }
    // They went one after the other over a connection of their own.
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
    // A body that comes in the end reaches the upstream whole.
    early[0].send(vec![b'x'; 99_999]);
    until("it is there", || upstream.last().line.contains("early"));
    assert_eq!(upstream.last().body.len(), 100_000);
}

#[test]
fn what_clients_withhold_stops_no_check() {
    let (server, upstream) = front(&[("upstream-connections", "8"), ("upstream-timeout", "5s")]);
    for (number, path) in ["/api/auth/session", "/api/auth/signin"].into_iter().enumerate() {
        let before = upstream.heads.load(Ordering::SeqCst);
        let _withheld: Vec<Peer> = (0..16).map(|_| withhold(&server, path)).collect();
        until("they have what they may have", || upstream.heads.load(Ordering::SeqCst) >= before + 3);
        for user in 0..3 {
            let answer = check(server.http, &format!("user{number}{user}.1"));
            assert!(answer.body.contains("user"), "{path}: {}", answer.header("cache-status"));
        }
        let cookie = cookie(&format!("other{number}.1"));
        assert_eq!(ask(server.http, "GET", "/api/auth/verify", &[("Cookie", &cookie)], "").status, 200, "{path}");
        assert_eq!(ask(server.http, "GET", "/readyz", &[], "").status, 200, "{path}");
    }
}

#[test]
fn what_clients_withhold_stops_no_sign_in() {
    let (server, upstream) = front(&[("upstream-connections", "8"), ("upstream-timeout", "20s")]);
    for length in [100, 100_000] {
        let before = upstream.heads.load(Ordering::SeqCst);
        let withheld = (0..16).map(|_| {
            let mut peer = Peer::connect(server.http);
            let head = "POST /api/auth/callback/credentials HTTP/1.1\r\nHost: a\r\nContent-Length";
            peer.send(format!("{head}: {length}\r\n\r\nx"));
            peer
        });
        let _withheld: Vec<Peer> = withheld.collect();
        match length {
            // Nothing tells that nothing comes but time.
            100 => std::thread::sleep(Duration::from_millis(100)),
            _ => until("they have what they may have", || upstream.heads.load(Ordering::SeqCst) >= before + 3),
        }
        let started = Instant::now();
        let answer = ask(server.http, "POST", "/api/auth/callback/credentials", &[], "user=alice");
        assert!(answer.header("set-cookie").starts_with("next-auth.session-token=alice.1"), "{answer:?}");
        assert_eq!(ask(server.http, "GET", "/api/auth/csrf", &[], "").status, 200);
        assert!(started.elapsed() < PATIENCE, "{length}: {:?}", started.elapsed());
        // Nothing of a short body goes up before all of it is there.
        let heads = upstream.heads.load(Ordering::SeqCst) - before;
        assert_eq!(heads, if length == 100 { 2 } else { 2 + 3 }, "{length}");
    }
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    let upstream = Faulty::start();
    let url = format!("http://{}", upstream.addr);
    let patience = Patience { body: Duration::from_millis(300), ..Patience::default() };
    let server = Running::with_patience(patience, &[("upstream", &url), ("upstream-connections", "1")]);
    let rest = withhold(&server, "/api/auth/signin").rest();
    assert_eq!(Answer::parse(&rest).status, 408, "{}", String::from_utf8_lossy(&rest));
    // Its connection to the upstream is free again.
    assert!(check(server.http, "alice.1").body.contains("alice"));
    // Nor is one waited for without end whose answer is here already.
    let mut early = withhold(&server, "/api/auth/early");
    assert_eq!(Answer::parse(&early.rest()).status, 401);
    until("the next is served", || check(server.http, "bob.1").body.contains("bob"));
}

#[test]
fn a_body_that_comes_a_byte_now_and_then_is_given_up_though_it_never_pauses_for_long() {
    let upstream = Faulty::start();
    let url = format!("http://{}", upstream.addr);
    let patience = Patience { body: Duration::from_secs(3), ..Patience::default() };
    let server = Running::with_patience(patience, &[("upstream", &url), ("upstream-connections", "1")]);
    let mut peer = withhold(&server, "/api/auth/signin");
    peer.0.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    let mut heard = Vec::new();
    until("it is given up", || {
        // What is sent behind the answer may meet a closed connection.
        let _ = peer.0.write_all(b"x");
        let mut piece = [0; 1024];
        let come = peer.0.read(&mut piece).unwrap_or(0);
        heard.extend_from_slice(&piece[..come]);
        !heard.is_empty()
    });
    assert!(heard.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&heard));
    // All that came before that were a few dozen bytes.
    assert!(upstream.uploaded.load(Ordering::SeqCst) < 2_000);
    assert!(check(server.http, "alice.1").body.contains("alice"));
}

#[test]
fn clients_have_no_say_in_whether_the_upstream_counts_as_ready() {
    let (server, upstream) = front(&[("upstream-connections", "1"), ("upstream-timeout", "300ms")]);
    let is_ready = || ask(server.http, "GET", "/readyz", &[], "").status == 200;
    check(server.http, "alice.1");
    // Bodies that do not come in time, nor at all.
    let withheld: Vec<Peer> = (0..5).map(|_| withhold(&server, "/api/auth/session")).collect();
    for mut peer in withheld {
        peer.hears("HTTP/1.1 ");
        assert!(is_ready());
    }
    for _ in 0..5 {
        drop(withhold(&server, "/api/auth/signin"));
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_ready());
    // A connection that others have.
    upstream.take_your_time(200);
    let asked: Vec<TcpStream> = (0..9)
        .map(|user| {
            let cookie = cookie(&format!("user{user}.1"));
            send(server.http, "GET", "/api/auth/session", &[("Cookie", &cookie)], "")
        })
        .collect();
    asked.into_iter().for_each(|mut stream| assert_eq!(Answer::read(&mut stream).status, 200));
    assert!(is_ready());
    // What the upstream itself leaves undone is told as ever.
    upstream.behave(Mode::Stall);
    for user in 0..3 {
        check(server.http, &format!("late{user}.1"));
    }
    assert!(!is_ready());
}

// ---- bad requests ---------------------------------------------------------------------------------------------

/// The status of the first answer, and whether the connection ended after it, though the bytes hold more requests.
fn told(server: &Running, bytes: &[u8]) -> (u16, usize) {
    let mut peer = Peer::connect(server.http);
    peer.send(bytes);
    let rest = peer.rest();
    let answers = String::from_utf8_lossy(&rest).matches("HTTP/1.1 ").count();
    (Answer::parse(&rest).status, answers)
}

#[test]
fn what_two_parsers_may_read_differently_is_refused_and_the_connection_ends() {
    let (server, upstream) = front(&[]);
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/auth/signin HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n folded\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\nHost: a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\nX-B: 1\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nX-A: a\0b\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET http://other/api/auth/csrf HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT other:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\nHost: a\n\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nX-A: b\rX-C: d\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1\r\nHost: a\r\nX(A): b\r\n\r\n",
        "GET /api/auth/csrf HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET  /api/auth/csrf HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /api/auth/csrf HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET //other/api/auth/csrf\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd",
        "POST /api/auth/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ];
    for case in cases {
        assert_eq!(told(&server, format!("{case}{smuggled}").as_bytes()), (400, 1), "{case:?}");
        // The same where plain checks are answered without hyper, and where they are handed on.
        for path in ["/api/auth/session", "/api/auth/session?x"] {
            let case = case.replace("/api/auth/csrf", path).replace("/api/auth/signin", path);
            assert_eq!(told(&server, format!("{case}{smuggled}").as_bytes()), (400, 1), "{case:?}");
        }
    }
    assert!(upstream.seen.lock().is_empty(), "{:?}", upstream.seen.lock().last());
    assert_eq!(told(&server, smuggled.replace("GET", "G\0T").as_bytes()).0, 400);
}

#[test]
fn a_chunked_body_is_taken_and_is_the_last_on_its_connection() {
    let server = Running::start(&[]);
    let chunked =
        "POST /api/auth/signout HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n0\r\n\r\n";
    let after = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(told(&server, format!("{chunked}{after}").as_bytes()), (200, 1));
}

#[test]
fn heads_of_chunked_cookies_pass_and_larger_ones_are_too_large() {
    let (server, upstream) = front(&[]);
    let long = format!("theme={}", "x".repeat(40_000));
    let answer = ask(server.http, "GET", "/api/auth/csrf", &[("Cookie", &long)], "");
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.last().header("cookie"), Some(long));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}", "x".repeat(70_000));
    let mut stream = TcpStream::connect(server.http).expect("a server");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    // The server may close before it has taken all of it.
    let _ = stream.write_all(endless.as_bytes());
    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes).expect("an answer");
    assert!(bytes[..read].starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&bytes[..read]));
}

/// A socket that is closed with bytes unread in it resets its connection, and an answer on its way is lost.
#[test]
fn who_is_refused_while_still_sending_hears_why() {
    let server = Running::start(&[]);
    let large = "x".repeat(70_000);
    // Who has said nothing for 300 ms is not heard out any longer.
    let told = within(Duration::from_millis(250), || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(server.http)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = "POST /api/auth/signout HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        stream.write_all(format!("{head}{large}").as_bytes())?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        for _ in 0..10 {
            stream.write_all(large.as_bytes())?;
        }
        let mut told = String::from_utf8_lossy(&first).into_owned();
        stream.read_to_string(&mut told)?;
        Ok(told)
    });
    let told = told.expect("a server that hears it out, the whole answer, and its end");
    assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("\r\nconnection: close\r\n"), "{told}");
}

#[test]
fn a_sign_out_with_a_body_of_its_own_size_is_refused() {
    let server = Running::start(&[]);
    let mut stream = send(server.http, "POST", "/api/auth/signout", &[("Cookie", &cookie("a"))], &"x".repeat(70_000));
    assert_eq!(Answer::read(&mut stream).status, 413);
}
