//! What a proxy is told that asks who is signed in, over sockets.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::browser::{Answer, ask, check, cookie, send, sign_out};
use super::faulty::{Faulty, Mode};
use super::http::{before, metric};
use super::support::{Running, free_port, until};

const PATH: &str = "/api/auth/verify";

/// A server in front of a good upstream, with a directory of its own for the keys that it signs with.
fn front(dir: &tempfile::TempDir, settings: &[(&str, &str)]) -> (Running, std::sync::Arc<Faulty>) {
    let upstream = Faulty::start();
    let dir = dir.path().to_str().expect("a plain path");
    let own = [("dir", dir), ("session-error", "pass")];
    (before(upstream.addr, &[&own[..], settings].concat()), upstream)
}

fn verify(to: SocketAddr, token: &str) -> Answer {
    ask(to, "GET", PATH, &[("Cookie", &cookie(token))], "")
}

#[test]
fn a_proxy_and_a_browser_share_one_call_to_the_upstream() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, upstream) = front(&dir, &[]);
    let first = verify(server.http, "alice.1");
    assert_eq!((first.status, first.body.as_str()), (200, ""));
    assert_eq!((first.header("x-session-name"), first.header("x-session-source")), ("alice", "nextauth"));
    assert_eq!(first.header("x-session-expires"), "2099-01-01T00:00:00.000Z");
    assert!(first.header("set-cookie").starts_with("next-auth.session-token=alice.2;"));
    assert!(first.header("cache-status").starts_with("cloakroom; fwd=miss"));
    // What went up was a session check.
    assert_eq!(upstream.last().line, "GET /api/auth/session HTTP/1.1");
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        for path in ["", "?x=1", "/orders/7?x=1"] {
            let body = if matches!(method, "GET" | "HEAD") { "" } else { "something" };
            let hit = ask(server.http, method, &format!("{PATH}{path}"), &[("Cookie", &cookie("alice.2"))], body);
            assert_eq!((hit.status, hit.header("x-session-source")), (200, "cache"), "{method} {path}");
            assert_eq!((hit.header("x-session-name"), hit.body.as_str()), ("alice", ""));
            assert!(hit.header("x-response-time").ends_with("ms"));
        }
    }
    assert_eq!(check(server.http, "alice.2").header("x-session-source"), "cache");
    assert_eq!(upstream.checks(), 1);
    // And the other way round.
    check(server.http, "bob.1");
    assert_eq!(verify(server.http, "bob.1").header("x-session-source"), "cache");
    assert_eq!(upstream.checks(), 2);
}

#[test]
fn a_hundred_questions_at_once_are_one_call_and_one_signature() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, upstream) = front(&dir, &[("workers", "1")]);
    upstream.take_your_time(80);
    let cookie = cookie("alice.1");
    let mut asked: Vec<TcpStream> =
        (0..100).map(|_| send(server.http, "GET", PATH, &[("Cookie", &cookie)], "")).collect();
    let signed: Vec<String> = asked
        .iter_mut()
        .map(|stream| {
            let answer = Answer::read(stream);
            assert_eq!((answer.status, answer.header("x-session-name")), (200, "alice"));
            answer.header("x-session").to_owned()
        })
        .collect();
    assert!(signed[0].split('.').count() == 3 && signed.iter().all(|other| *other == signed[0]));
    assert_eq!((upstream.checks(), metric(&server, "sessions_signed_total")), (1, 1));
}

#[test]
fn who_is_not_signed_in_is_turned_away_and_who_cannot_be_told_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, upstream) = front(&dir, &[]);
    let nobody = ask(server.http, "GET", PATH, &[], "");
    assert_eq!((nobody.status, nobody.body.as_str(), upstream.checks()), (401, "", 0));
    assert_eq!(verify(server.http, "nobody").status, 401);
    assert_eq!(verify(server.http, "alice.1").status, 200);
    assert_eq!(sign_out(server.http, "alice.1").status, 200);
    for token in ["alice.1", "alice.2"] {
        let out = verify(server.http, token);
        assert_eq!((out.status, out.body.as_str(), out.header("x-session-name")), (401, "", ""));
    }
    for mode in [Mode::Broken500, Mode::TooMany, Mode::Html, Mode::ResetMidBody, Mode::Elsewhere301, Mode::Gibberish] {
        upstream.behave(mode);
        let down = verify(server.http, "carol.1");
        assert_eq!((down.status, down.body.as_str()), (503, ""), "{mode:?}");
        let after = if mode == Mode::TooMany { "7" } else { "1" };
        assert_eq!(down.header("retry-after"), after, "{mode:?}");
    }
    drop(server);
    let (nobody, _kept) = free_port();
    let nowhere = before(nobody, &[]);
    assert_eq!(verify(nowhere.http, "alice.1").status, 503);
}

#[test]
fn a_source_that_goes_down_keeps_those_in_who_were() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, upstream) = front(&dir, &[("session-ttl", "50ms")]);
    assert_eq!(verify(server.http, "alice.1").status, 200);
    upstream.behave(Mode::Broken500);
    until("the answer to be no longer fresh", || {
        let answer = verify(server.http, "alice.1");
        assert_eq!((answer.status, answer.header("x-session-name")), (200, "alice"));
        answer.header("cache-status").contains("fwd=stale")
    });
}

#[test]
fn the_signature_is_good_by_the_published_keys_and_after_a_restart() {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    let dir = tempfile::tempdir().expect("a directory");
    let (server, _upstream) = front(&dir, &[]);
    let jws = verify(server.http, "alice.1").header("x-session").to_owned();
    let set = |server: &Running| ask(server.http, "GET", "/.well-known/jwks.json", &[], "");
    let published = set(&server);
    assert_eq!((published.status, published.header("content-type")), (200, "application/jwk-set+json"));
    until("the key to be kept", || dir.path().join("cloakroom.signing").exists());
    drop(server);

    let (server, _upstream) = front(&dir, &[]);
    let keys: serde_json::Value = serde_json::from_str(&set(&server).body).expect("a set");
    let parts: Vec<Vec<u8>> = jws.split('.').map(from_base64).collect();
    let header: serde_json::Value = serde_json::from_slice(&parts[0]).expect("a header");
    let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == header["kid"]).expect("its key");
    let place = |name: &str| from_base64(key[name].as_str().expect("a coordinate"));
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], place("x"), place("y")].concat());
    let signed = jws.rsplit_once('.').expect("three parts").0;
    assert!(key.verify(signed.as_bytes(), &parts[2]).is_ok());
    let claims: serde_json::Value = serde_json::from_slice(&parts[1]).expect("claims");
    assert_eq!((&claims["name"], &claims["session"]["user"]["name"]), (&"alice".into(), &"alice".into()));
    assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(60));

    server.client().send("CONFIG SET verify-jws no\r\n").hears("+OK\r\n");
    assert_eq!(set(&server).status, 404);
    assert_eq!(verify(server.http, "alice.1").header("x-session"), "");
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[test]
fn a_browser_is_led_to_the_sign_in_page_where_the_proxy_hands_that_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, _upstream) = front(&dir, &[("verify-redirect", "https://shop.example/signin")]);
    let proxied = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "shop.example"),
        ("X-Forwarded-Uri", "/orders?id=7"),
    ];
    let page = [&proxied[..], &[("Accept", "text/html")]].concat();
    // By either way of reading requests.
    for start in [PATH, "/api/auth/verify/orders"] {
        let answer = ask(server.http, "GET", start, &page, "");
        assert_eq!((answer.status, answer.body.as_str()), (302, ""));
        assert_eq!(answer.header("location"), "https://shop.example/signin?callbackUrl=/orders%3Fid%3D7");
        let answer = ask(server.http, "GET", start, &[&proxied[..], &[("Accept", "application/json")]].concat(), "");
        assert_eq!((answer.status, answer.header("location")), (401, ""));
    }
    let cookie = cookie("alice.1");
    let signed_in = [&page[..], &[("Cookie", cookie.as_str())]].concat();
    assert_eq!(ask(server.http, "GET", PATH, &signed_in, "").status, 200);
}

#[test]
fn an_application_that_has_this_path_itself_may_keep_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, upstream) = front(&dir, &[("verify", "no")]);
    let answer = ask(server.http, "GET", PATH, &[("Cookie", &cookie("alice.1"))], "");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"csrfToken":"good"}"#));
    assert_eq!(upstream.last().line, "GET /api/auth/verify HTTP/1.1");
    server.client().send("CONFIG SET verify yes\r\n").hears("+OK\r\n");
    assert_eq!(verify(server.http, "alice.1").header("x-session-name"), "alice");
    server.client().send("CONFIG SET verify no\r\n").hears("+OK\r\n");
    assert_eq!(verify(server.http, "alice.1").body, r#"{"csrfToken":"good"}"#);
}

#[test]
fn an_upstream_that_says_nothing_is_waited_for_no_longer_than_for_a_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, upstream) = front(&dir, &[("upstream-timeout", "100ms")]);
    upstream.behave(Mode::Stall);
    let started = Instant::now();
    assert_eq!(verify(server.http, "alice.1").status, 503);
    assert!(started.elapsed() >= Duration::from_millis(100));
}
