//! The live page, its figures and one token's story, over sockets. How it looks is for a browser (tests/e2e).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::browser::{Answer, ask, check, sign_out};
use super::faulty::Faulty;
use super::http::before;
use super::profiles::{USER, front, get, jwt, supabase};
use super::support::{PATIENCE, Peer, Running, until};

/// A page's events.
struct Live(BufReader<TcpStream>);

impl Live {
    /// Asks for the figures; the status, and the stream behind the head.
    fn open(server: &Running) -> (u16, Live) {
        let mut peer = Peer::connect(server.http);
        peer.send("GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut stream = BufReader::new(peer.0);
        let (mut line, mut head) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).expect("a head");
            head += &line;
        }
        let status = head[9..12].parse().expect("a status");
        assert!(status != 200 || head.contains("content-type: text/event-stream\r\n"), "{head}");
        (status, Live(stream))
    }

    /// The next figures; `None` at the end.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("a line in time") == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect("figures"));
            }
        }
    }

    /// Reads on until the figures are as they should be.
    fn until(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        let patience = std::time::Instant::now() + PATIENCE;
        loop {
            let figures = self.next().expect("more figures");
            if holds(&figures) {
                return figures;
            }
            assert!(std::time::Instant::now() < patience, "{figures}");
        }
    }
}

fn story(server: &Running, pasted: &str, headers: &[(&str, &str)]) -> Answer {
    ask(server.http, "POST", "/story", headers, pasted)
}

#[test]
fn the_page_is_one_file_that_lets_nothing_else_in() {
    let server = Running::start(&[]);
    let page = ask(server.http, "GET", "/", &[], "");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    for link in ["http://", "https://", "src=", "@import", "url("] {
        let outside = page.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains(link), "{link}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(ask(server.http, "POST", "/", &[], "").status, 405);
    assert_eq!(ask(server.http, "GET", "/story", &[], "").status, 405);
}

#[test]
fn the_page_is_for_operators_alone() {
    let forwarded = [("X-Forwarded-For", "127.0.0.1")];
    let open = Running::start(&[]);
    let guarded = Running::start(&[("admin-token", "sesame")]);
    for (method, path) in [("GET", "/"), ("GET", "/live"), ("POST", "/story")] {
        assert_eq!(ask(open.http, method, path, &forwarded, "").status, 403, "{path}");
        assert_eq!(ask(guarded.http, method, path, &[], "").status, 401, "{path}");
        // "me:wrong"
        assert_eq!(ask(guarded.http, method, path, &[("Authorization", "Basic bWU6d3Jvbmc=")], "").status, 401);
    }
    // "me:sesame", as a browser sends what a person has typed.
    let known = [("Authorization", "Basic bWU6c2VzYW1l")];
    assert_eq!(ask(guarded.http, "GET", "/", &known, "").status, 200);
    assert_eq!(story(&guarded, "x", &known).status, 200);
    let elsewhere = [("Sec-Fetch-Site", "cross-site")];
    assert_eq!(story(&open, "x", &elsewhere).status, 403);
}

#[test]
fn figures_come_by_the_second_and_end_with_the_server() {
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[("slowlog-log-slower-than", "0")]);
    let (status, mut live) = Live::open(&server);
    assert_eq!(status, 200);
    let first = live.next().expect("figures");
    assert_eq!(first["sessions"]["hits"], 0);
    for _ in 0..3 {
        check(server.http, "alice.1");
    }
    server.client().send("SET coat blue PX 1\r\n").hears("+OK\r\n");
    // Of one check the parts may be told in two seconds' figures.
    let counted = |figures: &Value, name: &str| figures[name].as_array().and_then(|steps| steps.last()?.as_u64());
    let figures = live.until(|figures| {
        let is_checked = figures["sessions"]["hits"] == 2 && counted(figures, "check_micros") == Some(3);
        is_checked && figures["expired"].as_u64() >= Some(1) && counted(figures, "lag_micros") >= Some(1)
    });
    assert_eq!(figures["sessions"]["misses"], 1);
    assert_eq!(figures["events"][0]["what"], "stored");
    let metrics = ask(server.http, "GET", "/metrics", &[], "").body;
    let name = "cloakroom_session_check_duration_seconds";
    assert!(metrics.contains(&format!("{name}_bucket{{le=\"+Inf\"}} 3\n")), "{metrics}");
    assert!(metrics.contains(&format!("{name}_bucket{{le=\"0.000001\"}} ")));
    assert!(metrics.contains(&format!("{name}_count 3\n")) && metrics.contains("cloakroom_expiry_lag_seconds_sum "));
    assert!(figures["slow"].as_array().is_some_and(|slow| slow.iter().any(|one| one["line"] == "SET coat blue PX 1")));
    assert!(!figures.to_string().contains("alice.1"), "{figures}");
    assert!(figures["at"].as_u64() > first["at"].as_u64());
    server.engine.shut_down();
    while live.next().is_some() {}
}

#[test]
fn a_token_has_a_story_that_does_not_show_it() {
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[]);
    let told = |pasted: &str| -> Value {
        let answer = story(&server, pasted, &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.body);
        assert!(!answer.body.contains("alice.1"), "{}", answer.body);
        serde_json::from_str(&answer.body).expect("a story")
    };
    assert_eq!(told("alice.1")["state"], "absent");
    check(server.http, "alice.1");
    // A token alone, a cookie, and a header with its name are all one.
    for pasted in
        ["alice.1", " alice.1\n", "next-auth.session-token=alice.1", "Cookie: a=b; next-auth.session-token=alice.1"]
    {
        let it = told(pasted);
        assert_eq!((&it["state"], &it["events"][1]["what"]), (&"stored".into(), &"new".into()), "{pasted}: {it}");
    }
    assert_eq!(told("theme=dark")["state"], "absent");
    assert_eq!(sign_out(server.http, "alice.1").status, 200);
    let it = told("alice.1");
    assert_eq!((&it["state"], &it["events"][0]["what"]), (&"signed-out".into(), &"signed-out".into()));
    assert_eq!(told("")["state"], "no-cookie");
    assert_eq!(story(&server, &"x".repeat(70_000), &[]).status, 413);
}

#[test]
fn only_so_many_pages_are_open_and_their_places_are_free_again() {
    let server = Running::start(&[]);
    let mut open: Vec<Live> = Vec::new();
    let refused = loop {
        match Live::open(&server) {
            (200, live) if open.len() < 100 => open.push(live),
            (status, _) => break status,
        }
    };
    assert_eq!((refused, open.len()), (503, 32));
    open.clear();
    until("a place is free", || Live::open(&server).0 == 200);
    // Who reads nothing but stays costs no more than what lies on its way.
    let mut stalled = Peer::connect(server.http);
    stalled.0.write_all(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a server");
    server.client().send("PING\r\n").hears("+PONG\r\n");
    let mut byte = [0; 1];
    stalled.0.read_exact(&mut byte).expect("an answer");
}

#[test]
fn a_bearer_has_a_story_by_whatever_shows_it() {
    let service = supabase();
    let server = front(&service, &[("profile", "supabase")]);
    let token = jwt("alice", 1);
    let state = |pasted: &str| -> String {
        let answer = story(&server, pasted, &[]);
        assert!(answer.status == 200 && !answer.body.contains(&token), "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).expect("a story")["state"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(state(&token), "absent");
    let bearer = format!("Bearer {token}");
    assert_eq!(get(&server, USER, &[("Authorization", &bearer), ("apikey", "anon")]).status, 200);
    let head = format!("GET /auth/v1/user HTTP/1.1\r\nHost: x\r\nAUTHORIZATION: {bearer}\r\napikey: anon\r\n");
    for pasted in [&token, &bearer, &format!(" Authorization: {bearer}\n"), &head] {
        assert_eq!(state(pasted), "stored", "{pasted}");
    }
    assert_eq!(state("Authorization: Basic YTpi"), "no-cookie");
    assert_eq!(state(&format!("Authorization: {bearer}\nAuthorization: Bearer x")), "ambiguous");
    // NextAuth looks at cookies alone.
    let upstream = Faulty::start();
    let server = before(upstream.addr, &[]);
    let answer = story(&server, "Authorization: Bearer alice.1", &[]);
    assert!(answer.body.contains("no-cookie"), "{}", answer.body);
}
