//! Session services other than NextAuth behind the HTTP door, over sockets. The upstreams answer as the real ones do, as
//! far as their sources tell: Kratos' `/sessions/whoami` and logouts, GoTrue's `/user` and `/logout`, better-auth's
//! `/get-session` and `/sign-out`. The real better-auth is in `tests/clients/better_auth.mjs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::browser::{Answer, ask, send};
use super::http::{before, metric};
use super::support::{Peer, Running, free_port, until};

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    fn is(&self, method: &str, target: &str) -> bool {
        self.method == method && self.target == target
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.header("cookie").split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    fn bearer(&self) -> &str {
        self.header("authorization").strip_prefix("Bearer ").unwrap_or_default()
    }
}

/// A status, header lines and a body.
pub struct Said(u16, Vec<(&'static str, String)>, String);

pub fn said(status: u16, body: &str) -> Said {
    Said(status, vec![("Content-Type", "application/json".to_owned())], body.to_owned())
}

impl Said {
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Said {
        self.1.push((name, value.into()));
        self
    }
}

/// An upstream that answers as it is told.
pub struct Fake {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// One on a port and threads of its own, which live as long as the tests do.
    pub fn start(answer: impl Fn(&Seen) -> Said + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let fake = Fake { addr, seen: seen.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        fake
    }

    pub fn calls(&self, method: &str, target: &str) -> usize {
        self.seen.lock().iter().filter(|seen| seen.is(method, target)).count()
    }

    fn last(&self) -> Seen {
        self.seen.lock().last().cloned().expect("a request has come")
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>, answer: &dyn Fn(&Seen) -> Said) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines[0].split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut request = Seen { method, target, headers, body: String::new() };
        let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
        stream.read_exact(&mut body).ok()?;
        request.body = String::from_utf8_lossy(&body).into_owned();
        seen.lock().push(request.clone());
        let Said(status, headers, body) = answer(&request);
        let mut head = format!("HTTP/1.1 {status} Said\r\n");
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        if status != 204 {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        out.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    }
}

/// A server for a profile in front of an upstream.
pub fn front(fake: &Fake, settings: &[(&str, &str)]) -> Running {
    before(fake.addr, settings)
}

pub fn get(server: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(server.http, "GET", path, headers, "")
}

/// The same on a connection that is kept, where the plain door answers it.
pub fn get_plainly(server: &Running, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut peer = Peer::connect(server.http);
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.0.read_exact(&mut byte).expect("a head");
        bytes.push(byte[0]);
    }
    let length = Answer::parse(&bytes).header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    peer.0.read_exact(&mut body).expect("a body");
    Answer::parse(&[bytes, body].concat())
}

/// Asks a hundred times at once; all answers.
fn storm(server: &Running, path: &str, headers: &[(&str, &str)]) -> Vec<Answer> {
    let mut asked: Vec<TcpStream> = (0..100).map(|_| send(server.http, "GET", path, headers, "")).collect();
    asked.iter_mut().map(Answer::read).collect()
}

// ---- Ory Kratos -----------------------------------------------------------------------------------------------

const WHOAMI: &str = "/sessions/whoami";

/// A session of `<user>`, whose token is `<user>.<anything>`.
fn kratos_session(user: &str) -> String {
    format!(
        r#"{{"id":"5f1c","active":true,"expires_at":"2099-01-01T00:00:00.5Z","authenticated_at":"2026-01-01T00:00:00Z","authenticator_assurance_level":"aal1","authentication_methods":[{{"method":"password","aal":"aal1"}}],"issued_at":"2026-01-01T00:00:00Z","identity":{{"id":"id-{user}","schema_id":"default","state":"active","traits":{{"email":"{user}@shop.example"}},"metadata_public":null}},"devices":[]}}"#
    )
}

fn kratos() -> Fake {
    let dead: Mutex<Vec<String>> = Mutex::default();
    Fake::start(move |seen| {
        let token = match (seen.header("x-session-token"), seen.cookie("ory_kratos_session")) {
            ("", Some(cookie)) => cookie.to_owned(),
            ("", None) => seen.bearer().to_owned(),
            (token, _) => token.to_owned(),
        };
        let path = seen.target.split('?').next().unwrap_or_default();
        match (seen.method.as_str(), path) {
            (_, WHOAMI) => {
                std::thread::sleep(Duration::from_millis(if token.starts_with("slow") { 80 } else { 0 }));
                let user = token.split('.').next().unwrap_or_default();
                match user {
                    _ if dead.lock().contains(&token) => kratos_error(401, "session_inactive"),
                    "" | "nobody" => kratos_error(401, "session_inactive"),
                    "half" => kratos_error(403, "session_aal2_required"),
                    _ => said(200, &kratos_session(user))
                        .with("X-Kratos-Authenticated-Identity-Id", format!("id-{user}"))
                        .with("Ory-Session-Cache-For", if user == "brief" { "1" } else { "86400" }),
                }
            }
            ("DELETE", "/self-service/logout/api") => {
                let body: serde_json::Value = serde_json::from_str(&seen.body).expect("JSON");
                dead.lock().push(body["session_token"].as_str().expect("a token").to_owned());
                Said(204, Vec::new(), String::new())
            }
            ("GET", "/self-service/logout") if seen.target.ends_with("?token=good") => {
                dead.lock().push(token);
                Said(303, Vec::new(), String::new())
                    .with("Location", "/")
                    .with("Set-Cookie", "ory_kratos_session=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0")
            }
            ("GET", "/self-service/logout") => kratos_error(403, "security_csrf_violation"),
            ("POST", "/self-service/settings") => said(200, "{}"),
            _ => said(404, "{}"),
        }
    })
}

fn kratos_error(code: u16, id: &str) -> Said {
    said(code, &format!(r#"{{"error":{{"id":"{id}","code":{code},"status":"No","message":"no"}}}}"#))
}

#[test]
fn kratos_is_asked_once_for_a_hundred_by_whatever_the_token_comes_in() {
    let fake = kratos();
    let server = front(&fake, &[("profile", "kratos"), ("workers", "1")]);
    let cases = [
        [("Cookie", "other=1; ory_kratos_session=slow1.c")],
        [("X-Session-Token", "slow2.t")],
        [("Authorization", "Bearer slow3.b")],
    ];
    for (at, headers) in cases.iter().enumerate() {
        let user = format!("slow{}", at + 1);
        let body = kratos_session(&user);
        for answer in storm(&server, WHOAMI, headers) {
            assert_eq!((answer.status, answer.body.as_str()), (200, body.as_str()));
            assert_eq!(answer.header("x-kratos-authenticated-identity-id"), format!("id-{user}"));
        }
        // NextAuth's path is another name for it, and both are answered at the plain door.
        for path in [WHOAMI, "/api/auth/session"] {
            let hit = get_plainly(&server, path, headers);
            assert_eq!((hit.status, hit.body.as_str(), hit.header("x-session-source")), (200, body.as_str(), "cache"));
            assert_eq!(get(&server, path, headers).header("x-session-source"), "cache");
        }
        assert_eq!(fake.calls("GET", WHOAMI), at + 1);
    }
    let proxy = get(&server, "/api/auth/verify", &cases[1]);
    assert_eq!((proxy.status, proxy.header("x-session-user-id")), (200, "id-slow2"));
    assert_eq!(proxy.header("x-session-email"), "slow2@shop.example");
    assert_eq!(fake.calls("GET", WHOAMI), 3);
    assert_eq!(fake.calls("GET", "/api/auth/session"), 0);
}

#[test]
fn what_a_session_is_looked_up_by_is_shown_to_the_upstream_whatever_connection_says() {
    let fake = kratos();
    let server = front(&fake, &[("profile", "kratos")]);
    let cookie = ("Cookie", "ory_kratos_session=alice.1");
    for (name, value) in [("X-Session-Token", "nobody.1"), ("Authorization", "Bearer nobody.2")] {
        let headers = [(name, value), ("Connection", name)];
        assert_eq!(get(&server, WHOAMI, &headers).status, 401, "{name}");
        get(&server, WHOAMI, &[&headers[..], &[cookie]].concat());
        assert_eq!(fake.last().header(&name.to_ascii_lowercase()), value);
        assert_eq!(get(&server, WHOAMI, &headers[..1]).status, 401, "{name}");
    }
    // Nor does another spelling of its path lead past a sign-out.
    assert_eq!(get(&server, WHOAMI, &[cookie]).status, 200);
    ask(server.http, "POST", "/api/auth/signout", &[cookie], "");
    assert_eq!(get(&server, "/self-service/logout?token=good", &[cookie]).status, 303);
    for path in ["/sessions/whoam%69", "//sessions/whoami/", "/sessions/./whoami?x=1"] {
        assert_ne!(get(&server, path, &[cookie]).status, 200, "{path}");
    }
}

#[test]
fn kratos_tells_nobody_and_half_somebody_by_a_status_that_is_never_kept() {
    let fake = kratos();
    let server = front(&fake, &[("profile", "kratos")]);
    let status = |path: &str, headers: &[(&str, &str)]| get(&server, path, headers).status;
    assert_eq!((status(WHOAMI, &[]), status("/api/auth/verify", &[]), fake.seen.lock().len()), (401, 401, 0));
    for round in 1..=2 {
        let half = get_plainly(&server, WHOAMI, &[("Cookie", "ory_kratos_session=half.1")]);
        assert_eq!((half.status, half.body.contains("session_aal2_required")), (403, true));
        assert_eq!(half.header("x-session-source"), "kratos");
        assert_eq!(status("/api/auth/session", &[("X-Session-Token", "nobody")]), 401);
        assert_eq!(fake.calls("GET", WHOAMI), 2 * round);
    }
    assert_eq!(status("/api/auth/verify", &[("Cookie", "ory_kratos_session=half.1")]), 403);
    // What goes past the cache goes to the same path.
    assert_eq!(status("/api/auth/session?tokenize_as=x", &[("X-Session-Token", "a.1")]), 200);
    assert_eq!(fake.last().target, "/sessions/whoami?tokenize_as=x");
    let two = [("Cookie", "ory_kratos_session=a.1"), ("Authorization", "Bearer b.1")];
    for _ in 0..2 {
        assert_eq!(get(&server, WHOAMI, &two).header("cache-status"), "cloakroom; fwd=bypass; fwd-status=200");
    }
    assert_eq!(status("/elsewhere", &[]), 404);
    assert_eq!(status("/schemas/default", &[]), 404);
    assert_eq!(fake.last().target, "/schemas/default");
}

#[test]
fn kratos_may_shorten_how_long_it_is_believed() {
    let fake = kratos();
    let server = front(&fake, &[("profile", "kratos"), ("session-ttl", "1m")]);
    let brief = [("X-Session-Token", "brief.1")];
    let first = get(&server, WHOAMI, &brief);
    assert_eq!((first.status, first.header("ory-session-cache-for")), (200, "1"));
    assert_eq!(get(&server, WHOAMI, &[("X-Session-Token", "long.1")]).header("ory-session-cache-for"), "86400");
    until("the answer to be asked for again", || {
        let again = get(&server, WHOAMI, &brief);
        assert_eq!(again.status, 200);
        again.header("x-session-source") == "kratos"
    });
    assert_eq!(get(&server, WHOAMI, &[("X-Session-Token", "long.1")]).header("x-session-source"), "cache");
}

#[test]
fn both_logouts_of_kratos_are_final() {
    let fake = kratos();
    let server = front(&fake, &[("profile", "kratos")]);
    let (app, browser) = ([("X-Session-Token", "alice.t")], [("Cookie", "ory_kratos_session=alice.c")]);
    for headers in [&app, &browser] {
        assert_eq!(get(&server, WHOAMI, headers).status, 200);
    }
    let json = [("Content-Type", "application/json")];
    let out = ask(server.http, "DELETE", "/self-service/logout/api", &json, r#"{"session_token":"alice.t"}"#);
    assert_eq!(out.status, 204);
    let calls = fake.calls("GET", WHOAMI);
    let gone = get_plainly(&server, WHOAMI, &app);
    assert_eq!((gone.status, gone.header("cache-status")), (401, "cloakroom; hit; detail=signed-out"));
    assert_eq!(get(&server, WHOAMI, &browser).status, 200, "the other login is another token");
    assert_eq!(get(&server, "/self-service/logout?token=bad", &browser).status, 403);
    assert_eq!(get(&server, WHOAMI, &browser).header("x-session-source"), "cache");
    let left = get(&server, "/self-service/logout?token=good", &browser);
    assert_eq!((left.status, left.header("location")), (303, "/"));
    assert_eq!((get(&server, WHOAMI, &browser).status, fake.calls("GET", WHOAMI)), (401, calls));
    assert_eq!(metric(&server, "sessions_sign_outs_total"), 2);
}

#[test]
fn what_was_changed_is_asked_for_anew() {
    let fake = kratos();
    let server = front(&fake, &[("profile", "kratos")]);
    let headers = [("Cookie", "ory_kratos_session=alice.c")];
    get(&server, WHOAMI, &headers);
    assert_eq!(ask(server.http, "POST", "/self-service/settings", &headers, "traits.email=x").status, 200);
    assert_eq!(get(&server, WHOAMI, &headers).header("x-session-source"), "kratos");
    assert_eq!(fake.calls("GET", WHOAMI), 2);
}

#[test]
fn kratos_is_stood_in_for_while_it_is_down_and_nobody_is_called_nobody() {
    let down = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = down.clone();
    let fake = Fake::start(move |_| match down.load(std::sync::atomic::Ordering::SeqCst) {
        true => said(503, "{}"),
        false => said(200, &kratos_session("alice")),
    });
    let server = front(&fake, &[("profile", "kratos"), ("session-ttl", "50ms")]);
    let known = [("X-Session-Token", "alice.t")];
    assert_eq!(get(&server, WHOAMI, &known).status, 200);
    switch.store(true, std::sync::atomic::Ordering::SeqCst);
    until("the answer to be no longer fresh", || {
        let answer = get(&server, WHOAMI, &known);
        assert_eq!((answer.status, answer.body.as_str()), (200, kratos_session("alice").as_str()));
        answer.header("cache-status").contains("fwd=stale")
    });
    let other = get(&server, WHOAMI, &[("X-Session-Token", "bob.t")]);
    assert_eq!((other.status, other.header("retry-after")), (503, "1"));
    assert_eq!(get(&server, "/api/auth/verify", &[("X-Session-Token", "bob.t")]).status, 503);
}

// ---- Supabase -------------------------------------------------------------------------------------------------

pub const USER: &str = "/auth/v1/user";

/// A JWT that names a user, unsigned: the upstream here looks at no signature.
pub fn jwt(user: &str, number: u32) -> String {
    let payload: String = to_base64(format!(r#"{{"sub":"id-{user}","exp":4070908800}}"#).as_bytes());
    format!("eyJhbGciOiJIUzI1NiJ9.{payload}.{}", to_base64(format!("signed {number}").as_bytes()))
}

fn to_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).for_each(|at| out.push(LETTERS[(bits >> (18 - 6 * at) & 63) as usize].into()));
    }
    out
}

pub fn supabase() -> Fake {
    let dead: Mutex<Vec<String>> = Mutex::default();
    Fake::start(move |seen| {
        let token = seen.bearer().to_owned();
        let user = ["alice", "bob"].into_iter().find(|user| jwt(user, 0).split('.').nth(1) == token.split('.').nth(1));
        let path = seen.target.split('?').next().unwrap_or_default();
        if seen.header("apikey").is_empty() {
            return said(401, r#"{"message":"No API key found in request"}"#);
        }
        let Some(user) = user else {
            return said(403, r#"{"code":403,"error_code":"bad_jwt","msg":"invalid JWT"}"#);
        };
        if dead.lock().contains(&token) {
            return said(403, r#"{"code":403,"error_code":"session_not_found","msg":"no such session"}"#);
        }
        match (seen.method.as_str(), path) {
            ("GET", USER) => {
                std::thread::sleep(Duration::from_millis(40));
                said(200, &gotrue_user(user))
            }
            ("PUT", USER) => said(200, &gotrue_user(user)),
            ("POST", "/auth/v1/logout") => {
                if !seen.target.ends_with("scope=others") {
                    dead.lock().push(token);
                }
                Said(204, Vec::new(), String::new())
            }
            _ => said(404, "{}"),
        }
    })
}

fn gotrue_user(user: &str) -> String {
    format!(
        r#"{{"id":"id-{user}","aud":"authenticated","role":"authenticated","email":"{user}@shop.example","phone":"","app_metadata":{{"provider":"email"}},"user_metadata":{{"full_name":"{user}"}},"identities":[],"is_anonymous":false}}"#
    )
}

#[test]
fn supabase_is_asked_once_a_token_and_gets_the_key_that_came() {
    let fake = supabase();
    let server = front(&fake, &[("profile", "supabase"), ("workers", "1")]);
    let bearer = |user: &str, number| format!("Bearer {}", jwt(user, number));
    let (alice, bob) = (bearer("alice", 1), bearer("bob", 1));
    for answer in storm(&server, USER, &[("Authorization", &alice), ("apikey", "anon")]) {
        assert_eq!((answer.status, answer.body), (200, gotrue_user("alice")));
    }
    assert_eq!((fake.calls("GET", USER), fake.last().header("apikey")), (1, "anon"));
    assert_eq!(get_plainly(&server, USER, &[("authorization", &alice)]).header("x-session-source"), "cache");
    for _ in 0..3 {
        for (user, bearer) in [("alice", &alice), ("bob", &bob)] {
            let headers = [("Authorization", bearer.as_str()), ("apikey", "anon")];
            assert_eq!(get(&server, USER, &headers).body, gotrue_user(user));
            assert_eq!(get(&server, "/api/auth/verify", &headers).header("x-session-user-id"), format!("id-{user}"));
        }
    }
    assert_eq!(fake.calls("GET", USER), 2);
    let key = [("Authorization", alice.as_str()), ("apikey", "anon")];
    assert_eq!(ask(server.http, "PUT", USER, &key, "{}").status, 200);
    assert_eq!(get(&server, USER, &key).header("x-session-source"), "supabase", "it has changed");
    assert_eq!(get(&server, USER, &[("apikey", "anon")]).status, 401);
    assert_eq!(get(&server, USER, &[("apikey", "anon"), ("Authorization", "Bearer x.y.z")]).status, 403);
    // No token is stored as it is.
    let keys = server.client().send("KEYS *\r\n").0.try_clone().expect("a socket");
    let mut reply = vec![0; 64];
    let read = (&keys).read(&mut reply).expect("a reply");
    assert!(read > 0 && !String::from_utf8_lossy(&reply).contains("eyJ"));
}

#[test]
fn a_global_logout_of_supabase_ends_every_device_and_others_spares_this_one() {
    let fake = supabase();
    let server = front(&fake, &[("profile", "supabase")]);
    let tokens: Vec<String> = (0..3).map(|number| format!("Bearer {}", jwt("alice", number))).collect();
    let of = |at: usize| [("Authorization", tokens[at].as_str()), ("apikey", "anon")];
    let logout =
        |at: usize, scope: &str| ask(server.http, "POST", &format!("/auth/v1/logout{scope}"), &of(at), "").status;
    (0..3).for_each(|at| assert_eq!(get(&server, USER, &of(at)).status, 200));
    assert_eq!(logout(0, "?scope=others"), 204);
    assert_eq!(get(&server, USER, &of(0)).status, 200);
    // Without its key the gateway signs nobody out.
    let (out, bare) = ("/auth/v1/logout", [("Authorization", tokens[0].as_str())]);
    assert_eq!(ask(server.http, "POST", out, &bare, "").status, 401);
    assert_eq!(get(&server, USER, &of(0)).status, 200);
    assert_eq!(logout(0, "?scope=local"), 204);
    let gone = get(&server, USER, &of(0));
    assert_eq!((gone.status, gone.body.contains("session_not_found")), (403, true));
    assert_eq!(gone.header("x-session-source"), "cache");
    assert_eq!(get(&server, USER, &of(1)).header("x-session-source"), "cache");
    assert_eq!(logout(1, ""), 204);
    for at in 0..3 {
        assert_eq!(get(&server, USER, &of(at)).header("cache-status"), "cloakroom; hit; detail=signed-out", "{at}");
    }
}

// ---- better-auth ----------------------------------------------------------------------------------------------

const BETTER: &str = "/api/auth/get-session";

fn better_auth() -> Fake {
    Fake::start(|seen| {
        let token = seen.cookie("better-auth.session_token").unwrap_or_default();
        let user = token.split('.').next().unwrap_or_default();
        let path = seen.target.split('?').next().unwrap_or_default();
        let gone =
            ("better-auth.session_token=; Max-Age=0; Path=/; HttpOnly", "better-auth.session_data=; Max-Age=0; Path=/");
        match (seen.method.as_str(), path) {
            ("GET", BETTER) if user.is_empty() => said(200, "null"),
            ("GET", BETTER) => {
                let body = format!(
                    r#"{{"session":{{"expiresAt":"2099-01-01T00:00:00.000Z","token":"{user}","userId":"id-{user}"}},"user":{{"name":"{user}","email":"{user}@shop.example","id":"id-{user}"}}}}"#
                );
                said(200, &body).with("Set-Cookie", "better-auth.session_data=cached; Max-Age=300; Path=/")
            }
            ("POST", "/api/auth/sign-out") if seen.header("origin") == "http://evil.example" => {
                said(403, r#"{"code":"INVALID_ORIGIN","message":"Invalid origin"}"#)
            }
            ("POST", "/api/auth/sign-out") => {
                said(200, r#"{"success":true}"#).with("Set-Cookie", gone.0).with("Set-Cookie", gone.1)
            }
            // A link in a mail signs somebody else in on this browser.
            ("GET", "/api/auth/magic-link/verify") => Said(302, Vec::new(), String::new())
                .with("Location", "/")
                .with("Set-Cookie", "better-auth.session_token=bob.1; Max-Age=600; Path=/; HttpOnly"),
            _ => said(404, "{}"),
        }
    })
}

#[test]
fn better_auth_answers_on_its_own_path_and_a_sign_out_is_final() {
    let fake = better_auth();
    let server = front(&fake, &[("profile", "better-auth")]);
    let alice = [("Cookie", "better-auth.session_data=x; better-auth.session_token=alice.sig%3D")];
    let first = get(&server, BETTER, &alice);
    assert_eq!((first.status, first.header("x-session-source")), (200, "better-auth"));
    assert!(first.header("set-cookie").starts_with("better-auth.session_data="));
    let hit = get_plainly(&server, BETTER, &alice);
    assert_eq!((hit.body, hit.headers.iter().any(|line| line.0 == "set-cookie")), (first.body, false));
    assert_eq!(get(&server, BETTER, &[("Cookie", "better-auth.session_data=x")]).body, "null");
    // A page of another site gets what the service says, and is no sign-out here.
    let foreign = [alice[0], ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(ask(server.http, "POST", "/api/auth/sign-out", &foreign, "{}").status, 403);
    assert_eq!(get(&server, BETTER, &alice).header("x-session-source"), "cache");
    let out = ask(server.http, "POST", "/api/auth/sign-out", &alice, "{}");
    assert_eq!((out.status, out.body.as_str(), out.all("set-cookie").count()), (200, r#"{"success":true}"#, 2));
    let gone = get(&server, BETTER, &alice);
    assert_eq!((gone.body.as_str(), gone.header("cache-status")), ("null", "cloakroom; hit; detail=signed-out"));
    assert_eq!(fake.calls("GET", BETTER), 1);
}

#[test]
fn who_is_signed_in_by_a_link_is_not_who_was_before() {
    let fake = better_auth();
    let server = front(&fake, &[("profile", "better-auth")]);
    let (alice, bob) =
        ([("Cookie", "better-auth.session_token=alice.1")], [("Cookie", "better-auth.session_token=bob.1")]);
    assert!(get(&server, BETTER, &alice).body.contains("id-alice"));
    assert_eq!(get(&server, "/api/auth/magic-link/verify?token=t", &alice).status, 302);
    assert!(get(&server, BETTER, &bob).body.contains("id-bob"));
    assert!(get(&server, BETTER, &alice).body.contains("id-alice"));
}

#[test]
fn a_sign_out_holds_while_better_auth_is_down() {
    let (nobody, _kept) = free_port();
    let server = before(nobody, &[("profile", "better-auth")]);
    let alice = [("Cookie", "better-auth.session_token=alice.1")];
    let out = ask(server.http, "POST", "/api/auth/sign-out", &alice, "{}");
    assert_eq!(
        (out.status, out.header("set-cookie")),
        (503, "better-auth.session_token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax")
    );
    assert_eq!(get(&server, BETTER, &alice).header("cache-status"), "cloakroom; hit; detail=signed-out");
}

// ---- others ---------------------------------------------------------------------------------------------------

#[test]
fn a_generic_service_is_asked_on_its_path_by_bearer_or_cookie() {
    let fake = Fake::start(|seen| {
        let token = seen.cookie("sid").map_or_else(|| seen.bearer().to_owned(), str::to_owned);
        match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", "/api/me") if token.is_empty() || token == "old" => said(404, "nobody"),
            ("GET", "/api/me") => said(200, &format!(r#"{{"id":"{token}","email":"{token}@shop.example"}}"#)),
            ("POST", "/api/leave") => said(200, "bye"),
            _ => said(200, "other"),
        }
    });
    let own = [
        ("profile", "generic"),
        ("session-path", "/api/me"),
        ("session-signout-path", "/api/leave"),
        ("session-nobody", "404,null"),
    ];
    let bearers = front(&fake, &own);
    let cookies = front(&fake, &[&own[..], &[("session-cookie", "sid")]].concat());
    for (server, name, value) in [(&bearers, "Authorization", "Bearer b1"), (&cookies, "Cookie", "sid=c1")] {
        let headers = [(name, value)];
        let calls = fake.calls("GET", "/api/me");
        let id = &value[value.len() - 2..];
        let first = get(server, "/api/auth/session", &headers);
        assert_eq!(
            (first.body, first.headers.iter().any(|line| line.1 == "upstream")),
            (format!(r#"{{"id":"{id}","email":"{id}@shop.example"}}"#), true)
        );
        assert_eq!(get_plainly(server, "/api/me", &headers).header("x-session-source"), "cache");
        assert_eq!(get(server, "/api/auth/verify", &headers).header("x-session-user-id"), id);
        assert_eq!(fake.calls("GET", "/api/me"), calls + 1);
        assert_eq!(get(server, "/api/orders", &headers).body, "other", "what lies beside it is handed on");
        assert_eq!(get(server, "/else", &headers).status, 404);
        assert_eq!(ask(server.http, "POST", "/api/leave", &headers, "").body, "bye");
        let gone = get(server, "/api/me", &headers);
        assert_eq!((gone.status, gone.header("cache-status")), (404, "cloakroom; hit; detail=signed-out"));
        assert_eq!(get(server, "/api/me", &[]).status, 404);
    }
    let old = [("Authorization", "Bearer old")];
    assert_eq!((get(&bearers, "/api/me", &old).status, get(&bearers, "/api/auth/verify", &old).status), (404, 401));
}

#[test]
fn with_the_store_alone_an_application_writes_what_a_profile_answers() {
    let server = Running::start(&[("profile", "kratos")]);
    let body = kratos_session("alice");
    let mut client = server.client();
    client.send(format!("*3\r\n$3\r\nSET\r\n$20\r\nauth:session:alice.t\r\n${}\r\n{body}\r\n", body.len()));
    client.hears("+OK\r\n");
    let alice = [("X-Session-Token", "alice.t")];
    assert_eq!(get(&server, WHOAMI, &alice).body, body);
    assert_eq!(get(&server, "/api/auth/verify", &alice).header("x-session-user-id"), "id-alice");
    assert_eq!(get(&server, WHOAMI, &[("X-Session-Token", "bob.t")]).status, 401);
    let out = ask(server.http, "DELETE", "/self-service/logout/api", &[], r#"{"session_token":"alice.t"}"#);
    assert_eq!(out.status, 200);
    assert_eq!(get(&server, WHOAMI, &alice).status, 401);
}
