//! What a proxy is told that asks who is signed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

impl Desk {
    /// What a proxy is told, when the source need not be asked.
    fn told(&self, cookie: &str) -> Answer {
        let tokens = self.tokens(cookie);
        let shown = self.sessions.verified_hit(&tokens, self.now(), |told| {
            let mut headers = Vec::new();
            told.lines(|name, value| headers.push((name.to_vec().into(), value.to_vec().into())));
            Answer { status: 200, headers, body: Default::default(), origin: Origin::Cache }
        });
        shown.unwrap_or_else(|| self.verdict(cookie, self.hit(cookie)))
    }

    pub fn verdict(&self, cookie: &str, answer: Answer) -> Answer {
        self.sessions.verdict(&self.tokens(cookie), answer, self.now())
    }

    /// Who a proxy is told is signed in, if it is told without anything being made.
    pub fn at_hand(&self, cookie: &str) -> Option<String> {
        self.sessions.verified_hit(&self.tokens(cookie), self.now(), |told| {
            let mut name = String::new();
            told.lines(|line, value| {
                if line == b"x-session-name" {
                    name = String::from_utf8(value.to_vec()).unwrap();
                }
            });
            name
        })
    }

    fn is_at_hand(&self, cookie: &str) -> bool {
        self.at_hand(cookie).is_some()
    }

    /// Signs by writing down; gives the number of signatures so far.
    fn sign(&self) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        self.sessions.sign_with(move |claims, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            Some(String::from_utf8(claims.to_vec()).unwrap())
        });
        count
    }

    /// The header lines made of a session.
    fn lines(&self, session: &str) -> Vec<(String, String)> {
        let cookie = cookie("shown");
        let answer = SourceAnswer::new(200, session.to_owned());
        let answer = self.sessions.passed(&self.tokens(&cookie), Passage::Check, Outcome::Answered(answer), self.now());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let lines = self.verdict(&cookie, answer).headers.into_iter().map(|(name, value)| (text(&name), text(&value)));
        let ours = ["cache-control", "x-session-source", "cache-status"];
        lines.filter(|(name, _)| !ours.contains(&name.as_str())).collect()
    }
}

fn with_headers(headers: &str) -> Desk {
    Desk::with(Settings { source: Source::Upstream, headers: headers.parse().unwrap(), ..Settings::default() })
}

pub fn text(answer: &Answer, name: &str) -> String {
    answer.header(name).map(|value| String::from_utf8(value.to_vec()).unwrap()).unwrap_or_default()
}

#[test]
fn who_is_signed_in_is_told_in_headers_and_nobody_else_in_a_status() {
    let desk = Desk::upstream();
    let session = r#"{"user":{"id":"7","name":"Alice","email":"a@b.example"},"expires":"2023-11-15T22:13:20.000Z"}"#;
    let source =
        SourceAnswer::new(200, session).with("content-type", "application/json").with("x-powered-by", "Next.js");
    let first = desk.verdict(&cookie("t1"), desk.fill(&cookie("t1"), source));
    for (answer, origin) in [(&first, "nextauth"), (&desk.told(&cookie("t1")), "cache")] {
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert_eq!(text(answer, "x-session-user-id"), "7");
        assert_eq!(text(answer, "x-session-name"), "Alice");
        assert_eq!(text(answer, "x-session-email"), "a@b.example");
        assert_eq!(text(answer, "x-session-expires"), "2023-11-15T22:13:20.000Z");
        assert_eq!(text(answer, "x-session-source"), origin);
        assert!(answer.cache_status().starts_with("cloakroom; "));
        assert!(text(answer, "cache-control").contains("no-store"));
        // Nobody signs here.
        for name in ["content-type", "x-powered-by", "x-session"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
    }
    let nobody = desk.verdict("a=b", desk.sessions.nobody(&desk.tokens("a=b")));
    assert_eq!((nobody.status, nobody.body.len(), text(&nobody, "x-session-source")), (401, 0, "cache".to_owned()));
    let out = desk.verdict(&cookie("t9"), desk.fill(&cookie("t9"), SourceAnswer::new(200, "{}")));
    assert_eq!((out.status, out.body.len()), (401, 0));
    assert_eq!((desk.count("verified"), desk.count("verify_refused"), desk.count("verify_unknown")), (2, 2, 0));
}

#[test]
fn a_source_that_fails_refuses_nobody_and_the_last_good_answer_lets_in() {
    for on_error in [OnError::Empty, OnError::Pass] {
        let desk = Desk::with(Settings { source: Source::Upstream, on_error, ..Settings::default() });
        let down = desk.fail(desk.miss(&cookie("t1")), Failure::Refused);
        let down = desk.verdict(&cookie("t1"), down);
        assert_eq!((down.status, text(&down, "retry-after"), down.body.len()), (503, "1".to_owned(), 0));
        // Nonsense says nothing of anybody, and neither does a page that is not there.
        for (answer, status) in [
            (SourceAnswer::new(200, "<html>"), 503),
            (SourceAnswer::new(404, "{}"), 503),
            (SourceAnswer::new(301, ""), 503),
            (SourceAnswer::new(500, "{}"), 503),
            (SourceAnswer::new(401, "{}"), 401),
            (SourceAnswer::new(403, ""), 401),
        ] {
            let told = desk.verdict(&cookie("t2"), desk.fill(&cookie("t2"), answer.clone()));
            assert_eq!(told.status, status, "{answer:?}");
        }
        desk.fill(&cookie("t3"), told("alice"));
        desk.wait(Ttl::seconds(6));
        let stale = desk.fail(desk.miss(&cookie("t3")), Failure::Timeout);
        let stale = desk.verdict(&cookie("t3"), stale);
        assert_eq!((stale.status, text(&stale, "x-session-name")), (200, "alice".to_owned()));
        assert!(stale.cache_status().contains("fwd=stale"));
        desk.wait(Ttl::seconds(60));
        let down = desk.fail(desk.miss(&cookie("t3")), Failure::Timeout);
        assert_eq!(desk.verdict(&cookie("t3"), down).status, 503);
        // When to come again is the source's to say.
        let limited = desk.fill(&cookie("t4"), SourceAnswer::new(429, "").with("retry-after", "7"));
        let told = desk.verdict(&cookie("t4"), limited);
        assert_eq!((told.status, text(&told, "retry-after")), (503, "7".to_owned()));
    }
}

#[test]
fn a_sign_out_turns_the_next_request_away() {
    let desk = Desk::upstream();
    desk.fill(&cookie("t1"), signed_in("alice", "t2"));
    assert_eq!(desk.told(&cookie("t1")).status, 200);
    assert!(desk.is_at_hand(&cookie("t1")));
    desk.sign_out(&cookie("t2"), Some(&deletes()));
    for token in ["t1", "t2"] {
        assert!(!desk.is_at_hand(&cookie(token)));
        assert_eq!(desk.told(&cookie(token)).status, 401);
    }
    // One by a Redis client too.
    desk.fill(&cookie("u1"), told("bob"));
    assert_eq!(desk.told(&cookie("u1")).status, 200);
    assert!(desk.redis_del("u1"));
    assert_eq!(desk.told(&cookie("u1")).status, 401);
}

#[test]
fn what_is_told_is_made_once_for_each_answer_and_is_never_anothers() {
    let desk = Desk::upstream();
    let signed = desk.sign();
    for user in ["alice", "bob"] {
        let first = desk.fill(&cookie(user), told(user));
        desk.verdict(&cookie(user), first);
    }
    for _ in 0..10 {
        for user in ["alice", "bob"] {
            assert!(desk.is_at_hand(&cookie(user)));
            assert_eq!(text(&desk.told(&cookie(user)), "x-session-name"), user);
        }
    }
    assert_eq!((signed.load(Ordering::Relaxed), desk.count("signed")), (2, 2));
    // Another answer is told anew, whoever wrote it.
    let until = desk.now() + Ttl::seconds(5);
    let put = |slot: &mut crate::store::Slot<'_>, fresh: crate::store::Fresh<'_>| slot.put(fresh.until(until));
    let body = br#"{"user":{"name":"carol"}}"#;
    desk.answers.write(b"auth:session:bob", body, desk.now(), put).unwrap();
    assert!(!desk.is_at_hand(&cookie("bob")));
    assert_eq!(text(&desk.told(&cookie("bob")), "x-session-name"), "carol");
    assert_eq!(text(&desk.told(&cookie("alice")), "x-session-name"), "alice");
    assert_eq!(signed.load(Ordering::Relaxed), 3);
}

#[test]
fn who_waits_for_an_answer_shares_its_signature() {
    let desk = Desk::upstream();
    let signed = desk.sign();
    let fill = desk.miss(&cookie("t1"));
    let waits: Vec<Wait> = (0..99).map(|_| desk.joins(&cookie("t1"))).collect();
    let own = desk.complete(fill, signed_in("alice", "t2"));
    assert_eq!(desk.verdict(&cookie("t1"), own).status, 200);
    for wait in &waits {
        let told = desk.verdict(&cookie("t1"), desk.shared(wait).unwrap());
        assert_eq!((told.status, set_cookies(&told)), (200, vec![rolled_to("t2").as_str()]));
    }
    assert_eq!((signed.load(Ordering::Relaxed), desk.count("source_calls")), (1, 1));
}

#[test]
fn a_signature_lasts_a_minute_or_until_the_session_ends_and_is_renewed_at_half() {
    let settings = Settings { ttl: Ttl::seconds(600), stale: Ttl(0), source: Source::Upstream, ..Settings::default() };
    let desk = Desk::with(settings);
    let signed = desk.sign();
    let claims_of = |token: &str| -> serde_json::Value {
        serde_json::from_slice(desk.told(&cookie(token)).header("x-session").unwrap()).unwrap()
    };
    let claims = || claims_of("t1");
    let body = r#"{"user":{"id":7,"name":"Alice","email":"a@b.example"},"expires":"2023-11-15T22:13:20.000Z"}"#;
    desk.fill(&cookie("t1"), SourceAnswer::new(200, body));
    let first = claims();
    let issued = desk.answers.clock().to_wall(desk.now()) / 1000;
    let expected = serde_json::json!({
        "iss": "cloakroom", "iat": issued, "exp": issued + 60, "sub": "7", "name": "Alice", "email": "a@b.example",
        "session": serde_json::from_str::<serde_json::Value>(body).unwrap(),
    });
    assert_eq!(first, expected);
    desk.wait(Ttl::seconds(29));
    assert_eq!((claims(), signed.load(Ordering::Relaxed)), (first, 1));
    desk.wait(Ttl::seconds(1));
    assert_eq!((claims()["iat"].as_u64(), signed.load(Ordering::Relaxed)), (Some(issued + 30), 2));
    // A session with ten seconds to live.
    let ends = "2023-11-14T22:14:00.000Z";
    let unix = 1_700_000_040;
    assert_eq!(issued + 40, unix);
    desk.fill(&cookie("t2"), SourceAnswer::new(200, format!(r#"{{"user":{{"name":"a"}},"expires":"{ends}"}}"#)));
    assert_eq!(claims_of("t2")["exp"].as_u64(), Some(unix));
    desk.wait(Ttl::seconds(10));
    assert!(!desk.is_at_hand(&cookie("t2")));
}

#[test]
fn a_session_that_has_ended_lets_nobody_in() {
    let desk = Desk::alone();
    desk.redis_set("t1", r#"{"user":{"name":"a"},"expires":"2001-01-01T00:00:00Z"}"#, Ttl::seconds(5)).unwrap();
    assert_eq!(desk.told(&cookie("t1")).status, 401);
    desk.redis_set("t2", r#"{"user":{"name":"a"}}"#, Ttl::seconds(5)).unwrap();
    assert_eq!(desk.told(&cookie("t2")).status, 200);
    desk.redis_set("t3", "[1]", Ttl::seconds(5)).unwrap();
    assert_eq!(desk.told(&cookie("t3")).status, 401);
    assert_eq!(desk.told(&cookie("t4")).status, 401);
}

#[test]
fn a_rolled_cookie_is_handed_on_whole_or_not_at_all() {
    let desk = Desk::upstream();
    let other = "next-auth.csrf-token=x; Path=/";
    let first = desk.fill(&cookie("t1"), signed_in("alice", "t2").with("set-cookie", other));
    assert_eq!(set_cookies(&desk.verdict(&cookie("t1"), first)), [rolled_to("t2")]);
    for _ in 0..2 {
        assert_eq!(set_cookies(&desk.told(&cookie("t1"))), [rolled_to("t2")]);
        assert!(set_cookies(&desk.told(&cookie("t2"))).is_empty());
    }
    let chunk = |number: u8| format!("next-auth.session-token.{number}=c{number}; Path=/");
    let source = told("bob").with("set-cookie", chunk(0)).with("set-cookie", chunk(1));
    let first = desk.fill(&cookie("u1"), source);
    assert_eq!(set_cookies(&first).len(), 2);
    assert!(set_cookies(&desk.verdict(&cookie("u1"), first)).is_empty());
    for _ in 0..2 {
        assert!(set_cookies(&desk.told(&cookie("u1"))).is_empty());
    }
}

#[test]
fn no_name_makes_a_line_or_a_list_of_itself() {
    let desk = with_headers("user.groups=X-Groups,user.admin=X-Admin,user.age=X-Age");
    let lines = desk.lines(
        r#"{"user":{"name":" Zoë\r\nX-Admin: true\u0000%","email":"a,b@c","groups":["a,b","ü",7],"admin":false,"age":1.5}}"#,
    );
    let expected = [
        ("x-session-email", "a,b@c"),
        ("x-session-name", "%20Zo%C3%AB%0D%0AX-Admin: true%00%25"),
        ("x-groups", "a%2Cb,%C3%BC,7"),
        ("x-admin", "false"),
    ];
    assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    // What would be cut, rounded or guessed is left out.
    let long = "x".repeat(3000);
    for user in [
        format!(r#""email":"{long}""#),
        r#""id":1e30,"name":null,"email":"""#.to_owned(),
        r#""id":123456789012345678901234567890"#.to_owned(),
        r#""id":{"a":1},"name":[[1]],"email":[]"#.to_owned(),
    ] {
        assert_eq!(desk.lines(&format!(r#"{{"user":{{{user}}}}}"#)), [], "{user}");
    }
}

#[test]
fn presets_and_own_headers_are_told_beside_the_others() {
    let session = r#"{"user":{"id":"7","email":"a@b","name":"A","role":"admin"}}"#;
    let names = |headers: &str| -> Vec<String> {
        let lines = with_headers(headers).lines(session);
        lines.into_iter().skip(3).map(|(name, value)| format!("{name}: {value}")).collect()
    };
    assert_eq!(
        names("x-auth-request"),
        ["x-auth-request-user: 7", "x-auth-request-email: a@b", "x-auth-request-groups: admin"]
    );
    assert_eq!(
        names("remote,user.role=X-Role"),
        ["remote-user: 7", "remote-name: A", "remote-email: a@b", "remote-groups: admin", "x-role: admin"]
    );
    // A header of ours that is named again is what the setting says, though it finds nothing.
    let desk = with_headers("user.uid=X-Session-User-Id,user.role=X-Session-Name");
    let lines = desk.lines(session);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1], ("x-session-name".to_owned(), "admin".to_owned()));
}

#[test]
fn other_settings_hold_at_once() {
    let desk = Desk::upstream();
    let signed = desk.sign();
    desk.fill(&cookie("t1"), told("alice"));
    assert!(desk.told(&cookie("t1")).header("x-session").is_some());
    desk.sessions.change(|settings| {
        settings.signs = false;
        settings.headers = "user.name=X-Who".parse().unwrap();
    });
    assert!(!desk.is_at_hand(&cookie("t1")));
    let told = desk.told(&cookie("t1"));
    assert_eq!((told.header("x-session"), text(&told, "x-who")), (None, "alice".to_owned()));
    assert_eq!(signed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_large_session_is_signed_without_its_body() {
    let desk = Desk::upstream();
    desk.sign();
    let picture = "x".repeat(5000);
    let body = format!(r#"{{"user":{{"name":"a","picture":"{picture}"}},"expires":"2023-11-15T22:13:20.000Z"}}"#);
    desk.fill(&cookie("t1"), SourceAnswer::new(200, body));
    let told = desk.told(&cookie("t1"));
    let claims: serde_json::Value = serde_json::from_slice(told.header("x-session").unwrap()).unwrap();
    assert_eq!((claims["name"].as_str(), claims.get("session")), (Some("a"), None));
}
