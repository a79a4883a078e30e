//! Signing out on every device, for users and for operators.

use super::binary::Binary;
use super::browser::{Answer, ask, check};
use super::decoded::{self, SECRET, csrf, token};
use super::faulty::{Faulty, Mode};
use super::http::before;
use super::profiles::{Fake, Said, said};
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

/// An application that takes every token it has made for good, as next-auth takes JWTs.
fn trusting() -> Fake {
    Fake::start(|seen| {
        let token = seen.cookie("next-auth.session-token");
        let who = token.map_or("nobody", |token| token.split('.').next().unwrap_or_default());
        let set = |said: Said, token: &str| {
            said.with("Set-Cookie", format!("next-auth.session-token={token}; Path=/; HttpOnly"))
        };
        match seen.target.split('?').next().unwrap_or_default() {
            "/api/auth/session" if token.is_some() => {
                set(said(200, &format!(r#"{{"user":{{"id":"{who}","name":"{who}"}}}}"#)), &format!("{who}.fresh"))
            }
            "/api/auth/session" => said(200, "{}"),
            // As next-auth's: a new account of whoever comes is linked to who is signed in.
            "/api/auth/callback/google" if token.is_some() => {
                set(said(200, &format!("linked to {who}")), &format!("{who}.linked"))
            }
            "/api/auth/callback/google" => set(said(200, "bob is new"), "bob.1"),
            "/api/auth/link" => set(said(200, "by mail"), "bob.2"),
            _ => said(200, &format!("{who}, with {}", seen.header("cookie"))),
        }
    })
}

#[test]
fn who_signs_in_beside_the_cookie_of_a_signed_out_user_is_himself() {
    let fake = trusting();
    let server = super::profiles::front(&fake, &[("profile", "nextauth")]);
    let cookies = "theme=dark; next-auth.session-token=carol.1; next-auth.csrf-token=x%7Cy";
    let to = |method: &str, path: &str| ask(server.http, method, path, &[("Cookie", cookies)], "");
    assert!(to("GET", "/api/auth/session").body.contains("carol"));
    assert!(
        to("GET", "/api/auth/providers").body.starts_with("carol, with theme=dark; next-auth.session-token=carol.1")
    );
    assert_eq!(end_all(server.http, "carol").body, r#"{"sessions":1}"#);
    // Her other device is told to forget the cookie, by whatever it asks, and in pieces too.
    let gone = ["next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"];
    for (method, path) in [
        ("GET", "/api/auth/session"),
        ("GET", "/api/auth/session?x"),
        ("POST", "/api/auth/session"),
        ("GET", "/api/auth/verify"),
    ] {
        let answer = to(method, path);
        assert!(!answer.body.contains("carol"), "{method} {path}");
        assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), gone, "{method} {path}");
    }
    let large = format!("{cookies}; padding={}", "x".repeat(20_000));
    let answer = ask(server.http, "GET", "/api/auth/session", &[("Cookie", &large)], "");
    assert_eq!((answer.body.as_str(), answer.all("set-cookie").collect::<Vec<_>>()), ("{}", gone.to_vec()));
    // If it does not, whoever signs in there is not taken for her.
    let answer = to("POST", "/api/auth/callback/google");
    assert_eq!(
        (answer.body.as_str(), answer.header("set-cookie")),
        ("bob is new", "next-auth.session-token=bob.1; Path=/; HttpOnly")
    );
    let answer = to("GET", "/api/auth/link");
    assert_eq!(
        (answer.body.as_str(), answer.header("set-cookie")),
        ("by mail", "next-auth.session-token=bob.2; Path=/; HttpOnly")
    );
    assert_eq!(to("GET", "/api/auth/providers").body, "nobody, with theme=dark; next-auth.csrf-token=x%7Cy");
    // And is not signed out with her.
    assert!(check(server.http, "bob.2").body.contains("bob"));
}

#[test]
fn a_stolen_token_gets_no_fresh_one_from_the_application_after_a_sign_out_everywhere() {
    let app = Faulty::start();
    let url = format!("http://{}", app.addr);
    let server = decoded::start(&[("upstream", &url)]);
    let of = |sub: &str, dice| token(SECRET, &format!(r#"{{"name":"{sub}","sub":"{sub}"}}"#), dice, 1800);
    let stolen = format!("a=1; next-auth.session-token={}", of("erin", 1));
    let to = |cookies: &str, method: &str, path: &str| ask(server.http, method, path, &[("Cookie", cookies)], "");
    to(&stolen, "GET", "/api/auth/session?x");
    assert_eq!(app.last().header("cookie").as_deref(), Some(stolen.as_str()));
    assert_eq!(end_all(server.http, "erin").body, r#"{"sessions":0}"#);
    let asked = app.seen.lock().len();
    for (method, path) in [
        ("GET", "/api/auth/session"),
        ("GET", "/api/auth/session?x"),
        ("POST", "/api/auth/session"),
        ("HEAD", "/api/auth/session"),
        ("GET", "/api/auth//session"),
        ("GET", "/api/auth/sessio%6e"),
    ] {
        let answer = to(&stolen, method, path);
        assert!(
            answer.header("set-cookie").starts_with("next-auth.session-token=; Max-Age=0"),
            "{method} {path}: {answer:?}"
        );
    }
    assert_eq!(app.seen.lock().len(), asked, "nobody was asked");
    for (method, path) in [("GET", "/api/auth/providers"), ("POST", "/api/auth/callback/google")] {
        to(&stolen, method, path);
        assert_eq!(app.last().header("cookie").as_deref(), Some("a=1"), "{method} {path}");
    }
    // Nobody else is kept from the application.
    let bob = format!("next-auth.session-token={}", of("bob", 2));
    to(&bob, "POST", "/api/auth/session");
    assert_eq!(app.last().header("cookie").as_deref(), Some(bob.as_str()));
}
