//! Sign-outs and `kill -9`: who was told that they are signed out is so in the next process too.

use std::sync::atomic::Ordering;

use super::binary::Binary;
use super::browser::{Answer, ask, check, cookie, send_sign_out, sign_out};
use super::faulty::{Faulty, Mode};
use super::profiles::{Fake, said};
use super::support::Peer;

/// A server on a directory, in front of an upstream.
fn start(dir: &tempfile::TempDir, upstream: &Faulty) -> Binary {
    let url = format!("http://{}", upstream.addr);
    let dir = dir.path().to_str().expect("a plain path");
    Binary::start(&["--dir", dir, "--fence-log", "yes", "--upstream", &url, "--upstream-connections", "64"])
}

fn counter(server: &Binary, name: &str) -> u64 {
    let text = ask(server.http, "GET", "/metrics", &[], "").body;
    let row = text.lines().find_map(|line| line.strip_prefix(&format!("cloakroom_fences_{name}_total ")));
    row.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

#[test]
fn who_signed_out_stays_so_after_a_kill() {
    let (upstream, dir) = (Faulty::start(), tempfile::tempdir().expect("a directory"));
    let server = start(&dir, &upstream);
    // Three tokens of one login, as a session rolls.
    for token in ["alice.1", "alice.2"] {
        assert!(check(server.http, token).body.contains("alice"), "{token}");
    }
    assert!(check(server.http, "bob.1").body.contains("bob"));
    assert_eq!(sign_out(server.http, "alice.2").status, 200);
    server.kill();

    // The upstream has no memory of the sign-out: a JWT is good until it expires.
    let server = start(&dir, &upstream);
    let calls = upstream.checks();
    for token in ["alice.1", "alice.2"] {
        let answer = check(server.http, token);
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{token}");
        assert!(answer.header("cache-status").contains("signed-out"), "{}", answer.header("cache-status"));
        // Nor by way of the store or of another method.
        let posted = ask(server.http, "POST", "/api/auth/session", &[("Cookie", &cookie(token))], "{}");
        assert!(!posted.body.contains("alice"), "{}", posted.body);
    }
    assert_eq!(upstream.checks(), calls);
    assert!(check(server.http, "bob.1").body.contains("bob"));
    Peer::connect(server.resp).send("SET auth:session:alice.1 x\r\n").hears("-FENCED ");
    // And once more, from a log that this process has not written.
    server.kill();
    let server = start(&dir, &upstream);
    assert_eq!(check(server.http, "alice.2").body, "{}");
}

#[test]
fn who_was_signed_out_by_a_page_stays_so_after_a_kill() {
    let (upstream, dir) = (Faulty::start(), tempfile::tempdir().expect("a directory"));
    let server = start(&dir, &upstream);
    for token in ["alice.1", "bob.1"] {
        check(server.http, token);
    }
    let headers = [("Cookie", cookie("alice.2")), ("Next-Action", "7f1c".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = ask(server.http, "POST", "/api/auth/leave", &headers, "");
    assert_eq!(page.status, 303);
    assert!(page.header("set-cookie").starts_with("next-auth.session-token=; "), "the browser forgets it, too");
    server.kill();
    let server = start(&dir, &upstream);
    let calls = upstream.checks();
    for token in ["alice.1", "alice.2"] {
        assert_eq!(check(server.http, token).body, "{}", "{token}");
    }
    assert_eq!(upstream.checks(), calls);
    assert!(check(server.http, "bob.2").body.contains("bob"));
}

#[test]
fn a_sign_out_with_an_upstream_that_fails_stays_too() {
    let (upstream, dir) = (Faulty::start(), tempfile::tempdir().expect("a directory"));
    let server = start(&dir, &upstream);
    assert!(check(server.http, "alice.1").body.contains("alice"));
    upstream.behave(Mode::Broken500);
    assert_eq!(sign_out(server.http, "alice.1").status, 500);
    server.kill();
    upstream.behave(Mode::Good);
    assert_eq!(check(start(&dir, &upstream).http, "alice.1").body, "{}");
}

#[test]
fn a_thousand_sign_outs_at_once_stay_after_a_kill() {
    const PEOPLE: usize = 1000;
    let (upstream, dir) = (Faulty::start(), tempfile::tempdir().expect("a directory"));
    let server = start(&dir, &upstream);
    // Two hundred at a time, which is what this process may have open.
    for round in 0..PEOPLE / 200 {
        let asked: Vec<_> =
            (0..200).map(|person| send_sign_out(server.http, &format!("p{}.1", round * 200 + person))).collect();
        for mut stream in asked {
            assert_eq!(Answer::read(&mut stream).status, 200);
        }
    }
    let (added, syncs) = (counter(&server, "added"), counter(&server, "syncs"));
    assert_eq!(added, PEOPLE as u64);
    // How many share one depends on the disk; that they do, on nothing: see the tests of `net::fences`.
    println!("{added} sign-outs, {syncs} syncs");
    server.kill();
    let server = start(&dir, &upstream);
    let calls = upstream.checks.load(Ordering::SeqCst);
    for person in (0..PEOPLE).step_by(37) {
        assert_eq!(check(server.http, &format!("p{person}.1")).body, "{}");
    }
    assert_eq!(upstream.checks.load(Ordering::SeqCst), calls);
}

#[test]
fn who_signs_in_again_with_the_same_cookie_is_let_in_and_stays_so_after_a_kill() {
    // An application whose cookie is the signed name of its user, the same at each sign-in.
    let fake = Fake::start(|seen| {
        let told = r#"{"user":{"id":"7","name":"alice"}}"#;
        match (seen.target.as_str(), seen.cookie("sid")) {
            ("/api/login", _) => said(200, "{}").with("Set-Cookie", "sid=alice.sig; Path=/; HttpOnly"),
            ("/api/logout", _) => said(200, "{}").with("Set-Cookie", "sid=; Max-Age=0; Path=/"),
            // One that sets its cookie again with all that it answers.
            ("/api/page", Some(sid)) => said(200, told).with("Set-Cookie", format!("sid={sid}; Path=/")),
            ("/api/me", Some("alice.sig")) => said(200, told),
            _ => said(401, "{}"),
        }
    });
    let (dir, url) = (tempfile::tempdir().expect("a directory"), format!("http://{}", fake.addr));
    let path = dir.path().to_str().expect("a plain path");
    let start = || {
        let own = ["--profile", "generic", "--session-path", "/api/me", "--session-cookie", "sid"];
        let more = ["--session-signout-path", "/api/logout", "--dir", path, "--fence-log", "yes", "--upstream", &url];
        Binary::start(&[&own[..], &more[..]].concat())
    };
    let to = |server: &Binary, method: &str, path: &str, cookies: &str| {
        ask(server.http, method, path, &[("Cookie", cookies)], "").status
    };
    let sid = "sid=alice.sig";
    let server = start();
    assert_eq!((to(&server, "GET", "/api/me", sid), to(&server, "POST", "/api/logout", sid)), (200, 200));
    assert_eq!(to(&server, "GET", "/api/me", sid), 401);
    // No page that shows the dead cookie brings it back.
    assert_eq!((to(&server, "POST", "/api/page", sid), to(&server, "GET", "/api/me", sid)), (401, 401));
    assert_eq!((to(&server, "POST", "/api/login", sid), to(&server, "GET", "/api/me", sid)), (200, 200));
    server.kill();
    let server = start();
    assert_eq!(to(&server, "GET", "/api/me", sid), 200);
    assert_eq!((to(&server, "POST", "/api/logout", sid), to(&server, "GET", "/api/me", sid)), (200, 401));
    server.kill();
    let server = start();
    assert_eq!(to(&server, "GET", "/api/me", sid), 401);
    assert_eq!((to(&server, "POST", "/api/login", ""), to(&server, "GET", "/api/me", sid)), (200, 200));
}
