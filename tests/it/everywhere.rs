//! Signing out on every device, for users and for operators.

use super::binary::Binary;
use super::browser::{Answer, ask, check};
use super::decoded::{self, SECRET, csrf, token};
use super::faulty::{Faulty, Mode};
use super::http::before;
use super::support::{Peer, Running};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const ONE: &str = "/admin/session";
const PATH: &str = "/api/auth/signout-everywhere";

fn end_all(server: std::net::SocketAddr, user: &str) -> Answer {
    ask(server, "DELETE", &format!("/admin/sessions?user={user}"), &[], "")
}

#[test]
fn a_user_ends_his_sessions_and_nobody_elses() {
    let server = decoded::start(&[]);
    let of = |sub: &str, dice| token(SECRET, &format!(r#"{{"name":"{sub}","sub":"{sub}"}}"#), dice, 1800);
    let (phone, laptop, idle, bob) = (of("alice", 1), of("alice", 2), of("alice", 3), of("bob", 4));
    for token in [&phone, &laptop, &bob] {
        assert!(check(server.http, token).body.contains("name"));
    }
    let session = format!("next-auth.session-token={phone}");
    let (token, cookie) = csrf(server.http, &session);
    let cookies = format!("{session}; {cookie}");
    let ask_to = |cookies: &str, form: &str, more: &[(&str, &str)]| {
        ask(server.http, "POST", PATH, &[&[("Cookie", cookies), FORM], more].concat(), form)
    };
    let form = format!("csrfToken={token}");
    assert_eq!(ask_to(&session, &form, &[]).status, 403);
    assert_eq!(ask_to(&cookies, "", &[]).status, 403);
    assert_eq!(ask_to(&cookies, &form, &[("Sec-Fetch-Site", "cross-site")]).status, 403);
    assert_eq!(ask_to(&cookie, &form, &[]).status, 401);
    assert!(check(server.http, &laptop).body.contains("alice"));

    let answer = ask_to(&cookies, &form, &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"sessions":2,"success":true}"#));
    assert_eq!(answer.header("set-cookie"), "next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    for token in [&phone, &laptop, &idle] {
        assert_eq!(check(server.http, token).body, "{}");
    }
    assert!(check(server.http, &bob).body.contains("bob"));
}

#[test]
fn an_operator_ends_the_sessions_of_a_user_whatever_they_come_from() {
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[]);
    // The upstream's users have neither id nor mail, so it is the store that says who they are.
    for (number, user) in ["alice%40a", "bob"].iter().enumerate() {
        for device in 0..3 {
            let body = format!(r#"{{"user":{{"email":"{}"}}}}"#, user.replace("%40", "@"));
            let key = format!("auth:session:{number}.{device}");
            server
                .engine
                .store(0)
                .put(key.as_bytes(), body.as_bytes(), cloakroom::clock::Ttl::seconds(60))
                .expect("room");
        }
    }
    assert_eq!(end_all(server.http, "nobody").body, r#"{"sessions":0}"#);
    let server = Running::start(&[("admin-token", "open")]);
    let mut client = Peer::connect(server.resp);
    for (token, user) in [("a1", "alice@a"), ("a2", "alice@a"), ("b1", "bob")] {
        let body = format!(r#"{{"user":{{"email":"{user}"}}}}"#);
        client.send(format!(
            "*3\r\n$3\r\nSET\r\n${}\r\nauth:session:{token}\r\n${}\r\n{body}\r\n",
            13 + token.len(),
            body.len()
        ));
        client.hears("+OK\r\n");
    }
    assert_eq!(end_all(server.http, "alice%40a").status, 401);
    let told = |path: &str, method: &str| ask(server.http, method, path, &[("Authorization", "Bearer open")], "");
    assert_eq!(told("/admin/sessions", "DELETE").status, 400);
    assert_eq!(told("/admin/sessions?user=", "DELETE").status, 400);
    assert_eq!(told("/admin/sessions?user=bob", "GET").status, 405);
    assert_eq!(told("/admin/sessions?user=alice%40a", "DELETE").body, r#"{"sessions":2}"#);
    assert_eq!((check(server.http, "a1").body, check(server.http, "a2").body), ("{}".to_owned(), "{}".to_owned()));
    assert!(check(server.http, "b1").body.contains("bob"));
    // With the store alone a user asks for himself without a csrf token, as he signs out without one.
    let own = ask(server.http, "POST", PATH, &[("Cookie", "next-auth.session-token=b1")], "");
    assert_eq!((own.status, own.body.as_str()), (200, r#"{"sessions":1,"success":true}"#));
    assert_eq!(check(server.http, "b1").body, "{}");
}

#[test]
fn an_operator_ends_the_session_of_one_token() {
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[("admin-token", "open")]);
    let end = |token: &str| {
        let sent = [("Authorization", "Bearer open"), ("X-Session-Token", token)];
        ask(server.http, "DELETE", ONE, &sent, "")
    };
    let shown = "Cookie: a=b; next-auth.session-token=carl.1";
    for (user, told) in [("alice", "alice.1"), ("bob", "next-auth.session-token=bob.1"), ("carl", shown)] {
        check(server.http, &format!("{user}.1"));
        // Which the upstream rolled to the next.
        assert!(check(server.http, &format!("{user}.2")).body.contains(user));
        let calls = upstream.checks();
        assert_eq!(ask(server.http, "DELETE", ONE, &[("X-Session-Token", told)], "").status, 401);
        // As the session itself says that it lasts until 2099.
        assert_eq!(end(told).body, r#"{"refused_seconds":34560000,"sessions":1}"#, "{told}");
        for number in [1, 2] {
            assert_eq!(check(server.http, &format!("{user}.{number}")).body, "{}");
        }
        assert_eq!(upstream.checks(), calls, "and nobody asks whether that is so");
    }
    // A token that was never seen here is refused as well.
    assert_eq!(end("dora.1").body, r#"{"refused_seconds":2592060,"sessions":0}"#);
    let calls = upstream.checks();
    assert_eq!((check(server.http, "dora.1").body, upstream.checks()), ("{}".to_owned(), calls));
    assert!(check(server.http, "eve.1").body.contains("eve"));
    let open = ("Authorization", "Bearer open");
    let told = |headers: &[(&str, &str)]| ask(server.http, "DELETE", ONE, headers, "").status;
    assert_eq!(told(&[open, ("X-Session-Token", "eve.1"), ("X-Session-Token", "eve.2")]), 400);
    assert_eq!((told(&[open]), end("").status), (400, 400));
    assert_eq!((end(";").status, end(&"x".repeat(20_000)).status), (404, 404));
    assert_eq!(ask(server.http, "POST", ONE, &[open, ("X-Session-Token", "eve.1")], "").status, 405);
    assert!(check(server.http, "eve.1").body.contains("eve"));
}

#[test]
fn what_was_ended_stays_so_after_a_kill() {
    let (dir, file) = (tempfile::tempdir().expect("a directory"), decoded::secret_file(SECRET));
    let arguments = [
        "--dir",
        dir.path().to_str().expect("a path"),
        "--fence-log",
        "yes",
        "--secret-file",
        file.path().to_str().expect("a path"),
    ];
    let server = Binary::start(&arguments);
    let of = |dice| token(SECRET, r#"{"name":"alice","sub":"alice"}"#, dice, 1800);
    assert!(check(server.http, &of(1)).body.contains("alice"));
    assert_eq!(end_all(server.http, "alice").body, r#"{"sessions":1}"#);
    let one = token(SECRET, r#"{"name":"carl","sub":"carl"}"#, 4, 1800);
    let ended = ask(server.http, "DELETE", ONE, &[("X-Session-Token", &one)], "");
    assert_eq!(ended.body, r#"{"refused_seconds":2592060,"sessions":0}"#);
    server.kill();
    let server = Binary::start(&arguments);
    // The one that was there, and one that was not.
    for dice in [1, 2] {
        assert_eq!(check(server.http, &of(dice)).body, "{}");
    }
    assert_eq!(check(server.http, &one).body, "{}");
    assert!(check(server.http, &token(SECRET, r#"{"name":"bob","sub":"bob"}"#, 3, 1800)).body.contains("bob"));
}

#[test]
fn an_upstream_is_asked_whose_sessions_they_are_as_for_any_check() {
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[]);
    let cookies = "next-auth.session-token=alice.1; next-auth.csrf-token=good%7C5f3e";
    ask(server.http, "POST", PATH, &[("Cookie", cookies), FORM], "csrfToken=good");
    assert_eq!((upstream.last().line.as_str(), upstream.checks()), ("GET /api/auth/session HTTP/1.1", 1));
    // While it fails nobody can be said to be signed out.
    upstream.behave(Mode::Broken500);
    let cookies = "next-auth.session-token=bob.1; next-auth.csrf-token=good%7C5f3e";
    let answer = ask(server.http, "POST", PATH, &[("Cookie", cookies), FORM], "csrfToken=good");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.body);
}
