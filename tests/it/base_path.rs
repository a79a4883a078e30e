//! Sessions under another path than `/api/auth`: Auth.js' `/auth`, Next's own `basePath` before NextAuth's, and what other
//! services and the server itself have below it. The real @auth/express is in `tests/clients/authjs_express.mjs`.

use super::binary::{Binary, command};
use super::browser::{Answer, ask};
use super::cli::{checked, level};
use super::decoded::{ALICE, SECRET, start as decoding, token};
use super::faulty::{Faulty, Mode};
use super::http::before;
use super::profiles::{Fake, Seen, front, get, get_plainly, said};
use super::support::Running;

const BASES: [&str; 2] = ["/auth", "/docs/api/auth"];
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const GONE: &str = "next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax";

fn user(token: &str) -> String {
    format!(r#"{{"user":{{"name":"{token}","id":"{token}"}},"expires":"2099-01-01T00:00:00.000Z"}}"#)
}

/// NextAuth under this path, and nothing beside it.
fn next_auth(base: &'static str) -> Fake {
    Fake::start(move |seen: &Seen| {
        let token = seen.cookie("next-auth.session-token");
        match (seen.method.as_str(), seen.target.strip_prefix(base).unwrap_or_default()) {
            ("GET" | "POST", "/session" | "/session?x") => said(200, &token.map_or("{}".to_owned(), user)),
            ("GET", "/csrf") => said(200, r#"{"csrfToken":"good"}"#)
                .with("Set-Cookie", "next-auth.csrf-token=good%7C5f3e; Path=/; HttpOnly"),
            ("POST", "/signout") => said(200, r#"{"url":"/bye"}"#).with("Set-Cookie", GONE),
            ("POST", "/callback/credentials") => {
                said(302, "").with("Location", "/").with("Set-Cookie", "next-auth.session-token=bob; Path=/; HttpOnly")
            }
            ("GET", "/me") => said(200, &token.map_or("nobody".to_owned(), str::to_owned)),
            _ => said(404, "no such page"),
        }
    })
}

fn sign_out(server: &Running, path: &str, cookies: &str, more: &[(&str, &str)]) -> Answer {
    let headers = [&[("Cookie", cookies), FORM], more].concat();
    ask(server.http, "POST", path, &headers, "csrfToken=good&callbackUrl=%2F&json=true")
}

#[test]
fn all_that_is_known_of_next_auth_is_known_of_it_under_another_path() {
    for base in BASES {
        let fake = next_auth(base);
        let server = front(&fake, &[("profile", "nextauth"), ("base-path", base)]);
        let at = |action: &str| format!("{base}/{action}");
        let cookies = "next-auth.session-token=alice; next-auth.csrf-token=good%7C5f3e";
        let alice = [("Cookie", cookies)];

        // A check is asked once, on either door, and is then a hit.
        let first = get_plainly(&server, &at("session"), &alice);
        assert_eq!(
            (first.status, first.body.as_str(), first.header("x-session-source")),
            (200, &*user("alice"), "nextauth")
        );
        for answer in [get_plainly(&server, &at("session"), &alice), get(&server, &at("session"), &alice)] {
            assert_eq!((answer.body.as_str(), answer.header("x-session-source")), (&*user("alice"), "cache"));
        }
        for verified in [get_plainly(&server, &at("verify"), &alice), get(&server, &at("verify/orders?x"), &alice)] {
            assert_eq!((verified.status, verified.header("x-session-user-id")), (200, "alice"));
        }
        assert_eq!(get(&server, &at("verify"), &[]).status, 401);
        assert_eq!(fake.calls("GET", &at("session")), 1);

        // So is one that a proxy is the first to ask for; other spellings go past the cache.
        assert_eq!(get_plainly(&server, &at("verify"), &[("Cookie", "next-auth.session-token=carl")]).status, 200);
        assert_eq!(get(&server, &at("session/"), &alice).header("x-session-source"), "cache");
        assert_eq!(get(&server, &at("session?x"), &alice).header("x-session-source"), "nextauth");
        assert_eq!((fake.calls("GET", &at("session")), fake.calls("GET", &at("session?x"))), (2, 1));

        // What is under /api/auth is nobody's, and it is said where to ask.
        for path in
            ["/api/auth/session", "/api/auth/verify", &format!("{base}x/session"), &format!("{base}/../session")]
        {
            for answer in [get_plainly(&server, path, &alice), get(&server, path, &alice)] {
                assert_eq!(answer.status, 404, "{path}");
                assert!(answer.body.contains(&format!("there are {base}/* (base-path)")), "{}", answer.body);
            }
        }

        // A sign-in in another's browser, an update, a page: all handed on to where they are.
        let sent = ask(server.http, "POST", &at("callback/credentials"), &[("Cookie", cookies), FORM], "name=bob");
        assert_eq!((sent.status, sent.header("set-cookie")), (302, "next-auth.session-token=bob; Path=/; HttpOnly"));
        assert_eq!(ask(server.http, "POST", &at("session"), &alice, "{}").body, user("alice"));
        assert_eq!((get(&server, &at("me"), &alice).body.as_str(), fake.calls("POST", &at("session"))), ("alice", 1));
        assert_eq!(get(&server, &at("csrf"), &[]).body, r#"{"csrfToken":"good"}"#);

        // A page of another site is refused, and next-auth's client sent to the page for signing out by hand.
        let refused = sign_out(&server, &at("signout"), cookies, &[("Sec-Fetch-Site", "cross-site")]);
        let page = format!(r#""url":"{base}/signout?csrf=true""#);
        assert!(refused.status == 403 && refused.body.contains(&page), "{}", refused.body);
        assert!(get(&server, &at("session"), &alice).body.contains("alice"));

        // A sign-out is final, and what was signed out is in no cookie that is handed on.
        let out = sign_out(&server, &at("signout"), cookies, &[]);
        assert_eq!((out.body.as_str(), out.header("set-cookie")), (r#"{"url":"/bye"}"#, GONE));
        for gone in [get_plainly(&server, &at("session"), &alice), get(&server, &at("session"), &alice)] {
            assert_eq!((&*gone.body, gone.header("cache-status")), ("{}", "cloakroom; hit; detail=signed-out"));
        }
        assert_eq!(get_plainly(&server, &at("verify"), &alice).status, 401);
        assert_eq!(get(&server, &at("me"), &alice).body, "nobody");

        // On every device.
        let dora = "next-auth.session-token=dora; next-auth.csrf-token=good%7C5f3e";
        let other = [("Cookie", "next-auth.session-token=dora")];
        let unvouched = sign_out(&server, &at("signout-everywhere"), "next-auth.session-token=dora", &[]);
        assert!(unvouched.body.contains(&format!("get one from {base}/csrf")), "{}", unvouched.body);
        let out = sign_out(&server, &at("signout-everywhere"), dora, &[]);
        assert_eq!((out.status, out.body.as_str()), (200, r#"{"sessions":1,"success":true}"#));
        assert_eq!(get_plainly(&server, &at("session"), &other).body, "{}");
    }
}

#[test]
fn the_upstreams_own_path_comes_before_it() {
    let fake = next_auth("/shop/auth");
    let url = format!("http://{}/shop", fake.addr);
    let server = Running::start(&[("upstream", &url), ("profile", "nextauth"), ("base-path", "/auth")]);
    let alice = [("Cookie", "next-auth.session-token=alice")];
    assert_eq!(get_plainly(&server, "/auth/session", &alice).body, user("alice"));
    assert_eq!(get(&server, "/auth/me", &alice).body, "alice");
    assert_eq!(get(&server, "/shop/auth/session", &alice).status, 404);
    assert_eq!((fake.calls("GET", "/shop/auth/session"), fake.calls("GET", "/shop/auth/me")), (1, 1));
}

#[test]
fn an_upstream_that_wants_a_closing_slash_is_asked_with_one() {
    let upstream = Faulty::start();
    upstream.behave(Mode::Slashes);
    let server = before(upstream.addr, &[("profile", "nextauth"), ("base-path", "/docs/api/auth")]);
    for token in ["alice.1", "bob.1"] {
        let cookie = format!("next-auth.session-token={token}");
        get_plainly(&server, "/docs/api/auth/session", &[("Cookie", &cookie)]);
        assert_eq!(upstream.last().line, "GET /docs/api/auth/session/ HTTP/1.1");
    }
    assert_eq!(upstream.seen.lock().len(), 3, "the slash is learned once");
}

#[test]
fn tokens_are_decoded_under_it_without_an_upstream() {
    for base in BASES {
        let server = decoding(&[("base-path", base)]);
        let at = |action: &str| format!("{base}/{action}");
        let session = format!("next-auth.session-token={}", token(SECRET, ALICE, 1, 0));
        let check = || get_plainly(&server, &at("session"), &[("Cookie", &session)]);
        assert_eq!(check().header("x-session-source"), "nextauth");
        assert_eq!(
            get_plainly(&server, &at("verify"), &[("Cookie", &session)]).header("x-session-email"),
            "alice@example.test"
        );
        let given = get(&server, &at("csrf"), &[("Cookie", &session)]);
        let csrf = given.body.split('"').nth(3).expect("a token").to_owned();
        let cookies = format!("{session}; {}", given.header("set-cookie").split(';').next().expect("a cookie"));
        let form = |csrf: &str| format!("csrfToken={csrf}&callbackUrl=%2Fsignin&json=true");
        let headers = [("Cookie", cookies.as_str()), FORM];
        let refused = ask(server.http, "POST", &at("signout"), &headers, &form("0"));
        assert_eq!(refused.body, format!(r#"{{"url":"http://{}{base}/signout?csrf=true"}}"#, server.http));
        assert_eq!(ask(server.http, "POST", &at("csrf"), &headers, &form("0")).status, 405);
        assert_eq!(get(&server, &at("signout"), &headers).status, 405);
        let missing = get(&server, &at("providers"), &headers);
        assert!(missing.status == 404 && missing.body.contains(&format!("under {base};")), "{}", missing.body);
        assert!(check().body.contains("alice"));
        let out = ask(server.http, "POST", &at("signout"), &headers, &form(&csrf));
        assert_eq!((out.body, out.status), (format!(r#"{{"url":"http://{}/signin"}}"#, server.http), 200));
        assert_eq!(check().header("cache-status"), "cloakroom; hit; detail=signed-out");
        assert_eq!(get(&server, "/api/auth/csrf", &[]).status, 404);
    }
}

#[test]
fn with_the_store_alone_there_is_what_the_application_writes() {
    let server = Running::start(&[("base-path", "/auth")]);
    server.client().send("SET auth:session:t '{\"user\":{\"id\":\"7\"}}'\r\n").hears("+OK\r\n");
    let alice = [("Cookie", "next-auth.session-token=t")];
    assert_eq!(get_plainly(&server, "/auth/session", &alice).body, r#"{"user":{"id":"7"}}"#);
    assert!(get(&server, "/auth/providers", &alice).body.contains("there are only /auth/session, /auth/verify,"));
    assert_eq!(ask(server.http, "POST", "/auth/signout", &alice, "").body, r#"{"success":true}"#);
    assert_eq!(get_plainly(&server, "/auth/session", &alice).body, "{}");
}

#[test]
fn better_auth_has_its_paths_below_it_as_well() {
    let fake = Fake::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("GET", "/auth/get-session") => said(200, r#"{"session":{},"user":{"id":"7"}}"#),
        ("POST", "/auth/sign-out") => said(200, r#"{"success":true}"#),
        ("GET", "/auth/list-sessions") => said(200, "[]"),
        _ => said(404, "{}"),
    });
    let server = front(&fake, &[("profile", "better-auth"), ("base-path", "/auth")]);
    let alice = [("Cookie", "better-auth.session_token=alice.1")];
    for path in ["/auth/get-session", "/auth/session"] {
        assert_eq!(get_plainly(&server, path, &alice).body, r#"{"session":{},"user":{"id":"7"}}"#);
    }
    assert_eq!(get_plainly(&server, "/auth/verify", &alice).header("x-session-user-id"), "7");
    assert_eq!(fake.calls("GET", "/auth/get-session"), 1);
    assert_eq!(get(&server, "/auth/list-sessions", &alice).body, "[]");
    assert_eq!(get(&server, "/api/auth/get-session", &alice).status, 404);
    assert_eq!(ask(server.http, "POST", "/auth/sign-out", &alice, "{}").status, 200);
    assert_eq!(get_plainly(&server, "/auth/get-session", &alice).body, "null");
}

#[test]
fn other_services_keep_their_paths_and_the_servers_own_move() {
    let fake = Fake::start(|seen| match (seen.method.as_str(), seen.target.as_str(), seen.header("x-session-token")) {
        ("GET", "/sessions/whoami", "alice") => said(200, r#"{"identity":{"id":"7"}}"#),
        ("GET", "/self-service/login/api", _) => said(200, "a flow"),
        _ => said(401, "{}"),
    });
    let server = front(&fake, &[("profile", "kratos"), ("base-path", "/auth")]);
    let alice = [("X-Session-Token", "alice")];
    for path in ["/sessions/whoami", "/auth/session"] {
        assert_eq!(get_plainly(&server, path, &alice).body, r#"{"identity":{"id":"7"}}"#, "{path}");
    }
    assert_eq!(get_plainly(&server, "/auth/verify", &alice).header("x-session-user-id"), "7");
    assert_eq!(fake.calls("GET", "/sessions/whoami"), 1);
    assert_eq!(get(&server, "/self-service/login/api", &alice).body, "a flow");
    assert_eq!(get(&server, "/api/auth/session", &alice).status, 404);
    assert_eq!(ask(server.http, "POST", "/auth/signout", &alice, "").body, r#"{"success":true}"#);
    get_plainly(&server, "/auth/session", &alice);
    assert_eq!(fake.calls("GET", "/sessions/whoami"), 2, "what was stored is cleared");
}

#[test]
fn it_stays_as_it_was_at_the_start() {
    let server = Running::start(&[("base-path", "/auth")]);
    let mut client = server.client();
    client.send("CONFIG GET base-path\r\n").hears("*2\r\n$9\r\nbase-path\r\n$5\r\n/auth\r\n");
    server.client().send("CONFIG SET base-path /api/auth\r\n").hears("-ERR CONFIG SET failed");
    client.send("CONFIG SET base-path /auth\r\n").hears("+OK\r\n");
    assert_eq!(get(&server, "/auth/session", &[]).status, 200);
}

#[test]
fn check_tells_where_the_application_has_its_sessions() {
    let checked = |fake: &Fake, path: &str, more: &[&str]| {
        let url = format!("http://{}{path}", fake.addr);
        checked(&[&["--port", "0", "--http-port", "0", "--upstream", &url], more].concat()).1
    };
    let fake = next_auth("/auth");
    let found = checked(&fake, "", &[]);
    assert_eq!(level(&found, "upstream", "has its sessions under /auth, and not at /api/auth/session"), "problem");
    assert_eq!(level(&found, "upstream", "set base-path /auth"), "problem");
    let found = checked(&fake, "", &["--base-path", "/auth"]);
    assert_eq!(level(&found, "upstream", "answers session checks with 200"), "ok");
    assert_eq!(level(&found, "cookies", "next-auth.session-token"), "ok");
    // Where nobody can guess it, it is said what there is to set; a page that is there for every path is no session.
    let fake = next_auth("/docs/api/auth");
    let found = checked(&fake, "", &[]);
    assert_eq!(level(&found, "upstream", "set base-path to NextAuth's basePath if that is not /api/auth"), "problem");
    let found = checked(&fake, "/docs", &["--base-path", "/docs/api/auth"]);
    assert_eq!(level(&found, "upstream", "leave /docs out of upstream: base-path begins with it"), "problem");
    assert_eq!(level(&checked(&fake, "/docs", &[]), "upstream", "answers session checks"), "ok");
    let pages = Fake::start(|seen| match seen.target.as_str() {
        "/auth/get-session" => said(200, "null"),
        _ => said(200, "<!doctype html>"),
    });
    let found = checked(&pages, "", &["--profile", "better-auth"]);
    assert_eq!(level(&found, "upstream", "set base-path /auth"), "problem");
    let found = checked(&pages, "", &["--profile", "better-auth", "--session-path", "/me"]);
    assert_eq!(level(&found, "upstream", "set upstream to where better-auth is"), "problem");
    // Whoever is at the port is known for a cloakroom, whatever its base-path.
    let server = Running::start(&[("base-path", "/docs/api/auth")]);
    let (_, found) = super::cli::checked(&["--port", "0", "--http-port", &server.http.port().to_string()]);
    assert_eq!(level(&found, "http-port", "cloakroom's HTTP port answers there"), "warning");
}

#[test]
fn a_path_that_is_not_there_is_logged_with_what_to_look_at() {
    let fake = next_auth("/docs/api/auth");
    let binary = Binary::start(&["--upstream", &format!("http://{}", fake.addr), "--base-path", "/auth"]);
    let asked = ask(binary.http, "GET", "/auth/session", &[("Cookie", "next-auth.session-token=alice")], "");
    assert_eq!((asked.status, asked.header("cache-status")), (404, "cloakroom; fwd=miss; fwd-status=404"));
    binary.signal("TERM");
    let said = binary.ended().1;
    assert!(said.contains(&format!("sessions are asked for at http://{}/auth/session", fake.addr)), "{said}");
    assert!(said.contains("Session source has no such path: is base-path its basePath?"), "{said}");
}

#[test]
fn the_subcommands_ask_where_the_environment_says() {
    let fake = next_auth("/auth");
    let server = front(&fake, &[("profile", "nextauth"), ("base-path", "/auth")]);
    let url = format!("http://{}", server.http);
    let run = |arguments: &[&str], base: Option<&str>| {
        let (mut command, _home) = command(&[arguments, &["--url", &url]].concat()).into_parts();
        command.envs(base.map(|base| ("CLOAKROOM_BASE_PATH", base)));
        let output = command.output().expect("a binary");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, _) = run(&["get", "alice"], Some("/auth"));
    assert!(code == Some(0) && said.contains(r#""id": "alice""#), "{said}");
    let (code, _, errors) = run(&["get", "alice"], None);
    assert!(code == Some(1) && errors.contains("set CLOAKROOM_BASE_PATH to its base-path"), "{errors}");
    let (code, said, _) = run(&["signout", "alice"], None);
    assert!(code == Some(0) && said.starts_with("signed out here"), "{said}");
    assert_eq!(run(&["get", "alice"], Some("/auth")).0, Some(3));
    let bench = ["bench", "--seconds", "1", "--clients", "2"];
    let (_, said, _) = run(&bench, Some("/auth"));
    assert!(said.contains("session checks without a cookie") && !said.contains("errors"), "{said}");
    let (_, said, _) = run(&bench, None);
    assert!(said.contains("errors, such as status 404 (set CLOAKROOM_BASE_PATH to its base-path)"), "{said}");
    let (code, _, errors) = run(&["get", "alice"], Some("auth"));
    assert!(code == Some(2) && errors.contains("begin with a slash, such as /auth"), "{errors}");
}
