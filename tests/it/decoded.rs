//! The HTTP door without an upstream, where NextAuth's tokens are decoded with the application's secret.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use cloakroom::session::{Claims, DICE, Keyring, Profile, Secrets};

use super::binary::{Binary, command};
use super::browser::{Answer, ask, check};
use super::faulty::Faulty;
use super::support::{Peer, Running, until};

pub const SECRET: &str = "cloakroom-test-secret-0123456789abcdef";

/// A file with these secrets.
pub fn secret_file(secrets: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), secrets).expect("written");
    file
}

/// A server that decodes tokens of next-auth 4, or of what the settings say.
pub fn start(settings: &[(&str, &str)]) -> Running {
    let file = secret_file(SECRET);
    let path = file.path().to_str().expect("a plain path");
    let mut all = vec![("source", "nextauth"), ("secret-file", path), ("profile", "nextauth")];
    all.extend_from_slice(settings);
    Running::start(&all)
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// A token of a user, made so many seconds ago to last an hour.
pub fn token(secret: &str, claims: &str, dice: u8, ago: u64) -> String {
    let ring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &Secrets::new([secret]).expect("a secret"));
    ring.encode(Claims::read(claims.as_bytes()).expect("claims"), unix() - ago, 3600, [dice; DICE])
}

pub const ALICE: &str = r#"{"name":"alice","email":"alice@example.test","picture":null,"sub":"alice","role":"admin"}"#;

/// What next-auth's client does first: the csrf token and its cookie.
pub fn csrf(to: SocketAddr, cookies: &str) -> (String, String) {
    let answer = ask(to, "GET", "/api/auth/csrf", &[("Cookie", cookies)], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let token = answer.body.split('"').nth(3).expect("a token").to_owned();
    let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    (token, cookie)
}

/// What `signOut()` of next-auth sends.
fn sign_out(to: SocketAddr, cookies: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
    let form = format!("csrfToken={token}&callbackUrl=http%3A%2F%2F{to}%2Fsignin&json=true");
    let own = [("Cookie", cookies), ("Content-Type", "application/x-www-form-urlencoded")];
    ask(to, "POST", "/api/auth/signout", &[&own, headers].concat(), &form)
}

#[test]
fn a_check_is_answered_from_the_token_and_then_from_the_store() {
    let server = start(&[("session-claims", "id=sub, role")]);
    let first = check(server.http, &token(SECRET, ALICE, 1, 60));
    let shown = r#"{"user":{"name":"alice","email":"alice@example.test","image":null,"id":"alice","role":"admin"},"#;
    assert!(first.body.starts_with(shown), "{}", first.body);
    assert_eq!((first.status, first.header("x-session-source")), (200, "nextauth"));
    let line = first.header("set-cookie");
    assert!(line.ends_with("GMT; HttpOnly; SameSite=Lax") && line.contains("; Path=/; Expires="), "{line}");
    let rolled = line.split([';', '=']).nth(1).expect("a token").to_owned();
    let hit = check(server.http, &rolled);
    assert_eq!((hit.header("x-session-source"), hit.body.as_str()), ("cache", first.body.as_str()));
    assert_eq!(hit.header("set-cookie"), "");
    // Redis clients find the session under either token.
    Peer::connect(server.resp).send(format!("EXISTS auth:session:{rolled}\r\n")).hears(":1\r\n");
    // The setting can be changed while the server runs, and secrets are in no setting.
    let mut client = server.client();
    client.send("CONFIG SET session-claims role\r\n").hears("+OK\r\n");
    client.send("CONFIG GET session-claims\r\n").hears("*2\r\n$14\r\nsession-claims\r\n$4\r\nrole\r\n");
    let second = check(server.http, &token(SECRET, ALICE, 2, 60));
    assert!(second.body.contains(r#""image":null,"role":"admin"}"#), "{}", second.body);
    client.send("CONFIG SET session-claims a=b=c\r\n").hears("-ERR CONFIG SET failed");
}

#[test]
fn a_token_that_does_not_hold_is_nobody_and_its_cookie_goes() {
    let server = start(&[]);
    let gone = "next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax";
    for bad in ["garbage", &token("another", ALICE, 1, 0), &token(SECRET, ALICE, 1, 3620)] {
        let answer = check(server.http, bad);
        assert_eq!((answer.status, answer.body.as_str(), answer.header("set-cookie")), (200, "{}", gone));
    }
    assert!(check(server.http, &token(SECRET, ALICE, 1, 3600)).body.contains("alice"), "within the tolerance");
    // Only the large head needs another way in, and is answered alike.
    let large = format!(r#"{{"name":"alice","blob":"{}"}}"#, "x".repeat(20_000));
    let large = token(SECRET, &large, 3, 0);
    let chunks: Vec<String> = large
        .as_bytes()
        .chunks(3933)
        .enumerate()
        .map(|(at, chunk)| format!("next-auth.session-token.{at}={}", String::from_utf8_lossy(chunk)))
        .collect();
    let answer = ask(server.http, "GET", "/api/auth/session", &[("Cookie", &chunks.join("; "))], "");
    assert!(answer.body.contains(r#""name":"alice""#), "{answer:?}");
    assert_eq!(answer.all("set-cookie").count(), chunks.len());
    // With a query, and as an update, nothing else is said than by a check.
    let cookies = format!("next-auth.session-token={}", token(SECRET, ALICE, 4, 0));
    for (method, path) in [("GET", "/api/auth/session?x=1"), ("POST", "/api/auth/session")] {
        assert!(ask(server.http, method, path, &[("Cookie", &cookies)], "").body.contains("alice"), "{method} {path}");
    }
}

#[test]
fn next_auths_own_sign_out_works_and_the_token_is_dead() {
    let server = start(&[]);
    let session = format!("next-auth.session-token={}", token(SECRET, ALICE, 1, 0));
    assert!(ask(server.http, "GET", "/api/auth/session", &[("Cookie", &session)], "").body.contains("alice"));
    let (token, cookie) = csrf(server.http, &session);
    assert_eq!(csrf(server.http, &format!("{session}; {cookie}")), (token.clone(), String::new()));
    let cookies = format!("{session}; {cookie}");
    // What another site could send, and what it could not.
    let page = format!(r#"{{"url":"http://{}/api/auth/signout?csrf=true"}}"#, server.http);
    for (cookies, token) in [(&session, token.as_str()), (&cookies, "0"), (&cookies, "")] {
        let answer = sign_out(server.http, cookies, token, &[]);
        assert_eq!((answer.status, answer.body.as_str(), answer.header("set-cookie")), (200, page.as_str(), ""));
    }
    for (cookies, told) in
        [(&session, ("Origin", "https://evil.example")), (&cookies, ("Sec-Fetch-Site", "cross-site"))]
    {
        assert_eq!(sign_out(server.http, cookies, &token, &[told]).status, 403, "{told:?}");
    }
    assert!(ask(server.http, "GET", "/api/auth/session", &[("Cookie", &session)], "").body.contains("alice"));

    let answer = sign_out(server.http, &cookies, &token, &[]);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, format!(r#"{{"url":"http://{}/signin"}}"#, server.http).as_str())
    );
    assert_eq!(answer.header("set-cookie"), "next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    let after = ask(server.http, "GET", "/api/auth/session", &[("Cookie", &session)], "");
    assert_eq!(after.body, "{}");
    assert!(after.header("cache-status").contains("signed-out"), "{}", after.header("cache-status"));
    // Of two cookies both go, though only one counts.
    let both = format!("__Secure-{cookies}; next-auth.session-token=x; __Host-{cookie}");
    let gone = sign_out(server.http, &both, &token, &[]);
    let gone: Vec<_> =
        gone.all("set-cookie").map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(gone, ["__Secure-next-auth.session-token", "next-auth.session-token"]);
    // A form without a script is sent on, and Auth.js' client is told in the head as well.
    let form = [("Cookie", cookies.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
    let sent = ask(server.http, "POST", "/api/auth/signout", &form, &format!("csrfToken={token}&callbackUrl=%2Fbye"));
    assert_eq!((sent.status, sent.header("location")), (302, format!("http://{}/bye", server.http).as_str()));
    let v5 = sign_out(server.http, &cookies, &token, &[("X-Auth-Return-Redirect", "1")]);
    assert_eq!((v5.status, v5.header("location")), (200, format!("http://{}/signin", server.http).as_str()));
    let proxied = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example")];
    let refused = sign_out(server.http, &cookies, &token, &[proxied[0], proxied[1]]);
    assert!(refused.body.contains("https://shop.example/api/auth/signout?csrf=true"), "a plain cookie over HTTPS");
}

#[test]
fn the_bare_step_signs_nobody_out_and_other_paths_say_what_there_is() {
    let server = start(&[]);
    let token = token(SECRET, ALICE, 1, 0);
    let rolled = check(server.http, &token).header("set-cookie").split([';', '=']).nth(1).expect("a token").to_owned();
    let cookies = format!("next-auth.session-token={rolled}");
    let cleared = ask(server.http, "POST", "/api/auth/signout", &[("Cookie", &cookies)], "");
    assert_eq!((cleared.status, cleared.body.as_str()), (200, r#"{"success":true}"#));
    assert_eq!(check(server.http, &rolled).header("x-session-source"), "nextauth");
    for (method, path) in
        [("GET", "/api/auth/providers"), ("POST", "/api/auth/callback/credentials"), ("POST", "/api/auth/_log")]
    {
        let answer = ask(server.http, method, path, &[], "");
        assert_eq!((answer.status, answer.header("content-type")), (404, "application/json"), "{path}");
        assert!(answer.body.starts_with(r#"{"error":"#), "{}", answer.body);
    }
    assert_eq!(ask(server.http, "GET", "/api/auth/signout", &[], "").status, 405);
}

#[test]
fn with_an_upstream_as_well_checks_are_answered_here_and_all_else_there() {
    let upstream = Faulty::start();
    let url = format!("http://{}", upstream.addr);
    let server = start(&[("upstream", &url)]);
    assert!(check(server.http, &token(SECRET, ALICE, 1, 0)).body.contains("alice"));
    assert_eq!(check(server.http, "").body, "{}");
    assert_eq!(upstream.checks(), 0);
    ask(server.http, "GET", "/api/auth/providers?x=1", &[], "");
    assert_eq!(upstream.last().line, "GET /api/auth/providers?x=1 HTTP/1.1");
}

#[test]
fn a_source_that_lacks_something_is_no_start() {
    let said = |arguments: &[&str]| {
        let ended = command(&[&["--port", "0", "--http-port", "0"], arguments].concat()).output().expect("it runs");
        assert!(!ended.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    assert!(said(&["--source", "nextauth"]).contains("set secret-file"));
    assert!(said(&["--source", "upstream"]).contains("set upstream"));
    assert!(said(&["--source", "store", "--upstream", "http://127.0.0.1:1"]).contains("source store asks nobody"));
    assert!(said(&["--secret-file", "/nonexistent/secret"]).contains("secret-file /nonexistent/secret: No such file"));
    let empty = secret_file("\n \n");
    assert!(said(&["--secret-file", empty.path().to_str().expect("a path")]).contains("is empty"));
}

#[test]
fn secrets_are_rotated_with_a_hangup_and_shown_to_nobody() {
    let file = secret_file(SECRET);
    let path = file.path().to_str().expect("a plain path");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).expect("its owner");
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let log_path = log.to_str().expect("a plain path");
    let server = Binary::start(&["--secret-file", path, "--loglevel", "debug", "--logfile", log_path]);
    let said = || std::fs::read_to_string(&log).expect("a log");
    let words = |count: usize| until("the word of a hangup", || said().matches("SIGHUP: ").count() == count);
    let hang_up = || {
        let pid = server.pid().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs").success());
    };
    assert!(check(server.http, &token(SECRET, ALICE, 1, 0)).body.contains("alice"));
    let fresh = token("another-secret-ffff", ALICE, 2, 0);
    assert_eq!(check(server.http, &fresh).body, "{}");
    std::fs::write(path, format!("another-secret-ffff\n{SECRET}\n")).expect("written");
    hang_up();
    words(1);
    assert!(check(server.http, &fresh).body.contains("alice"));
    assert!(check(server.http, &token(SECRET, ALICE, 3, 0)).body.contains("alice"));
    // What cannot be used changes nothing.
    std::fs::write(path, "").expect("written");
    hang_up();
    words(2);
    assert!(check(server.http, &token(SECRET, ALICE, 4, 0)).body.contains("alice"));
    let mut client = Peer::connect(server.resp);
    client.send("CONFIG GET *\r\nQUIT\r\n");
    let shown = String::from_utf8_lossy(&client.rest()).into_owned();
    let said = said();
    assert!(shown.contains("secret-file") && !shown.contains(SECRET) && !shown.contains("another-secret"));
    assert!(said.contains("chmod 600") && said.contains("all stays as it was: secret-file"), "{said}");
    assert!(!said.contains(SECRET) && !said.contains("another-secret") && !said.contains(&fresh[..40]), "{said}");
}
