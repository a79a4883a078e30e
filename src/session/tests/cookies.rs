//! Cookies as browsers, attackers and NextAuth's own vectors have them.

use super::*;
use crate::session::cookie::{Seen, Side};

/// What a cookie header is read as, told by whether it is the same session as a plain token's.
fn same(desk: &Desk, header: &str, name: &str, token: &str) -> bool {
    desk.tokens(header).key() == desk.tokens(&format!("{name}={token}")).key()
}

#[track_caller]
fn passes(desk: &Desk, header: &[u8]) -> PassWhy {
    match desk.sessions.look_up(&desk.sessions.tokens([header]), desk.now()) {
        LookUp::Pass(why) => why,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(header)),
    }
}

#[test]
fn cookies_are_joined_as_the_libraries_join_them() {
    let vectors = include_str!("../../../tests/data/nextauth/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let readings = vectors["cookie_readings"].as_array().unwrap();
    assert_eq!(readings.len(), 4);
    for reading in readings {
        let text = |key: &str| reading[key].as_str().unwrap();
        let profile = Profile::AuthJs;
        let profile = if text("cookie_name") == profile.cookie() { profile } else { Profile::NextAuth };
        let desk = Desk::with(Settings { profile: Some(profile), ..Settings::default() });
        let (header, value) = (text("cookie_header"), text("value"));
        if value.is_empty() {
            // No plain session cookie; the secure one is a cookie of its own.
            assert!(matches!(desk.tokens(header).seen, Seen::One { side: Side::Secure, .. }));
        } else {
            assert!(same(&desk, header, text("cookie_name"), value), "{}", text("note"));
        }
    }
}

#[test]
fn real_tokens_are_one_session_whole_or_in_chunks() {
    let vectors = include_str!("../../../tests/data/nextauth/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let settings = Settings { cookie_max: 64 * 1024, ..Settings::default() };
    let desk = Desk::with(settings);
    let mut chunked = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let (name, token) = (vector["cookie_name"].as_str().unwrap(), vector["token"].as_str().unwrap());
        if !name.ends_with("session-token") || token.is_empty() {
            continue;
        }
        let pair = |cookie: &serde_json::Value| {
            format!("{}={}", cookie["name"].as_str().unwrap(), cookie["value"].as_str().unwrap())
        };
        let Some(cookies) = vector["cookies"].as_array() else { continue };
        let cookies: Vec<String> = cookies.iter().map(pair).collect();
        chunked += usize::from(cookies.len() > 1);
        let whole = desk.tokens(&format!("{name}={token}")).key().cloned().unwrap();
        let forward = cookies.join("; ");
        let backward = cookies.iter().rev().cloned().collect::<Vec<_>>().join(";");
        for header in [forward, backward] {
            assert_eq!(desk.tokens(&header).key(), Some(&whole), "{}", vector["id"]);
        }
    }
    assert!(chunked > 0);
}

#[test]
fn two_users_never_meet_whatever_the_order_and_spacing() {
    let desk = Desk::upstream();
    let others = ["theme=dark", "next-auth.csrf-token=a%7Cb", "next-auth.callback-url=http%3A%2F%2Fx", "empty=", "odd"];
    let mut headers = Vec::new();
    for who in ["alice", "bob"] {
        for at in 0..=others.len() {
            for separator in ["; ", ";", " ;  ", ";;", ";\t"] {
                let mut cookies: Vec<String> = others.iter().map(|other| (*other).to_owned()).collect();
                cookies.insert(at, cookie(&format!("token-of-{who}")));
                headers.push((who, cookies.join(separator)));
                headers.push((who, format!("{};", cookies.join(separator))));
            }
        }
    }
    desk.fill(&cookie("token-of-alice"), told("alice"));
    desk.fill(&cookie("token-of-bob"), told("bob"));
    // Interleaved: one of each in turn.
    let half = headers.len() / 2;
    for at in 0..half {
        for (who, header) in [&headers[at], &headers[half + at]] {
            assert_eq!(user(&desk.hit(header)).as_deref(), Some(*who), "{header}");
        }
    }
}

#[test]
fn cookies_may_come_in_several_header_lines() {
    let desk = Desk::upstream();
    let lines = [b"a=b".as_slice(), b"next-auth.session-token.1=B", b"next-auth.session-token.0=A"];
    assert_eq!(desk.sessions.tokens(lines).key(), desk.tokens(&cookie("AB")).key());
}

#[test]
fn what_is_ambiguous_goes_past_the_cache() {
    let desk = Desk::upstream();
    let cases: &[&[u8]] = &[
        b"next-auth.session-token=a; next-auth.session-token=b",
        b"next-auth.session-token.0=a; next-auth.session-token.0=b; next-auth.session-token.1=c",
        b"next-auth.session-token=\"a\"",
        b"next-auth.session-token=a b",
        b"next-auth.session-token=a,b",
        b"next-auth.session-token=a%zz",
        b"next-auth.session-token=a%ff",
        b"next-auth.session-token",
        "next-auth.session-token=ü".as_bytes(),
        b"next-auth.session-token=\xff\xfe",
        b"next-auth.session-token=a; __Secure-next-auth.session-token=\"b\"",
    ];
    for case in cases {
        assert_eq!(passes(&desk, case), PassWhy::Ambiguous);
    }
    assert_eq!(desk.count("passed"), cases.len() as u64);
    let auto = Desk::with(Settings { source: Source::Upstream, ..Settings::default() });
    assert_eq!(passes(&auto, b"next-auth.session-token=a; authjs.session-token=b"), PassWhy::Ambiguous);
    // With the store alone nobody else can tell either.
    assert_eq!(user(&Desk::alone().hit("next-auth.session-token=a; next-auth.session-token=b")), None);
}

#[test]
fn nobody_is_signed_in_by_cookies_that_may_mean_tokens_that_are_not_known() {
    let many = [&"next-auth.session-token=j; ".repeat(32), "next-auth.session-token=tokA"].concat();
    let chunks = [&"next-auth.session-token.0=to; ".repeat(32), "next-auth.session-token.1=kA"].concat();
    for header in [
        "next-auth.session-token=x; next-auth.session-token.1=a; next-auth.session-token.0=b",
        "next-auth.session-token.0x1=kA; next-auth.session-token.0=to",
        "next-auth.session-token.+1=kA; next-auth.session-token.0=to",
        "next-auth.session-token.0; next-auth.session-token.1=tokA",
        "next-auth.session-token.0=to; next-auth.session-token.1=\"kA\"",
        &many,
        &chunks,
    ] {
        let desk = Desk::upstream();
        let answer = desk.hit(header);
        assert_eq!((answer.origin, user(&answer)), (Origin::Nothing, None), "{header}");
        let tokens = desk.tokens(header);
        for passage in [Passage::Check, Passage::Update] {
            let answer = desk.sessions.admit(&tokens, passage, desk.now()).expect("an answer");
            assert_eq!(user(&answer), None, "{header}");
        }
        // Signing in is possible all the same.
        assert_eq!(desk.sessions.admit(&tokens, Passage::SignIn, desk.now()), None);
    }
}

#[test]
fn what_is_clear_is_not_taken_for_ambiguous() {
    let desk = Desk::upstream();
    let name = "next-auth.session-token";
    for (header, token) in [
        ("next-auth.session-token=a; next-auth.session-token=a", "a"),
        ("next-auth.session-token.0=A; next-auth.session-token.2=C", "AC"),
        ("next-auth.session-token.2=C; next-auth.session-token.0=A", "AC"),
        ("next-auth.session-token=; next-auth.session-token.0=A", "A"),
        ("next-auth.session-token=a%2Bb", "a+b"),
        ("next-auth.session-token=a==", "a=="),
        ("next-auth.session-token = a", "a"),
    ] {
        if token == "a+b" {
            assert!(same(&desk, header, name, "a+b"));
        }
        assert!(same(&desk, header, name, token), "{header}");
    }
    let chunks: Vec<String> = (0..32).rev().map(|at| format!("{name}.{at}={}", (b'a' + at % 26) as char)).collect();
    let joined: String = (0..32).map(|at: u8| (b'a' + at % 26) as char).collect();
    assert!(same(&desk, &chunks.join("; "), name, &joined));
}

#[test]
fn more_than_is_read_goes_past_the_cache() {
    let desk = Desk::upstream();
    let max = desk.sessions.settings().cookie_max;
    let _asks = desk.miss(&cookie(&"x".repeat(max)));
    assert_eq!(passes(&desk, cookie(&"x".repeat(max + 1)).as_bytes()), PassWhy::TooLong);
    assert_eq!(passes(&desk, cookie(&"x".repeat(64 * 1024)).as_bytes()), PassWhy::TooLong);
    let chunks: Vec<String> = (0..200).map(|at| format!("next-auth.session-token.{at}=x")).collect();
    assert_eq!(desk.hit(&chunks.join("; ")).origin, Origin::Nothing);
}

#[test]
fn a_fence_holds_for_what_goes_past_the_cache_whichever_token_is_meant() {
    let twice = "next-auth.session-token=a; next-auth.session-token=b";
    for token in ["a", "b"] {
        let desk = Desk::upstream();
        desk.sign_out(&cookie(token), Some(&deletes()));
        assert_eq!(desk.hit(twice).origin, Origin::Fence);
    }
    let desk = Desk::upstream();
    desk.sign_out(twice, Some(&deletes()));
    for header in [&cookie("a"), &cookie("b"), "next-auth.session-token=\"b\"", "next-auth.session-token=%61"] {
        assert_eq!(desk.hit(header).origin, Origin::Fence, "{header}");
    }
    let long = cookie(&"x".repeat(9000));
    desk.sign_out(&long, Some(&deletes()));
    assert_eq!(desk.hit(&long).origin, Origin::Fence);
}

#[test]
fn the_profile_is_read_from_the_cookies() {
    let desk = Desk::with(Settings::default());
    assert_eq!(desk.tokens("authjs.session-token=a").profile, Profile::AuthJs);
    assert_eq!(desk.tokens("__Secure-authjs.session-token.0=a").profile, Profile::AuthJs);
    assert_eq!(desk.tokens("next-auth.session-token=a").profile, Profile::NextAuth);
    assert_eq!(&desk.hit("__Secure-authjs.session-token=a").body[..], b"null");
    let settings = Settings { cookie: Some("app.sid".into()), profile: Some(Profile::AuthJs), ..Settings::default() };
    let desk = Desk::with(settings);
    assert!(matches!(desk.tokens("app.sid=a; authjs.session-token=b").seen, Seen::One { .. }));
    assert!(desk.tokens("authjs.session-token=b").is_empty());
}

#[test]
fn a_browser_cannot_name_a_stored_entry() {
    let desk = Desk::alone();
    desk.redis_set("t1", &body("alice"), Ttl::seconds(60)).unwrap();
    let stored = desk.answers.secret_name(b"auth:session:", b"t1");
    let hash = std::str::from_utf8(&stored[b"auth:session:".len()..]).unwrap();
    assert_eq!(user(&desk.hit(&cookie(hash))), None);
    assert_eq!(user(&desk.hit(&cookie("t1"))).as_deref(), Some("alice"));
}

#[test]
fn the_store_alone_shows_objects_and_prefers_the_cookie_of_https() {
    let desk = Desk::alone();
    for (token, value) in
        [("n", "null"), ("s", "\"text\""), ("h", "<html>"), ("l", "[]"), ("e", "{}"), ("half", "{\"user")]
    {
        desk.redis_set(token, value, Ttl::seconds(60)).unwrap();
        let answer = desk.hit(&cookie(token));
        assert_eq!((answer.status, &answer.body[..]), (200, &b"{}"[..]), "{value}");
    }
    assert_eq!(desk.hit(&cookie("unknown")).origin, Origin::Nothing);
    let both = "next-auth.session-token=p; __Secure-next-auth.session-token=s1";
    desk.redis_set("p", &body("plain"), Ttl::seconds(60)).unwrap();
    assert_eq!(user(&desk.hit(both)).as_deref(), Some("plain"));
    desk.redis_set("s1", &body("secure"), Ttl::seconds(60)).unwrap();
    let answer = desk.hit(both);
    assert_eq!(user(&answer).as_deref(), Some("secure"));
    assert_eq!(answer.header("content-type"), Some(&b"application/json"[..]));
    desk.redis_del("s1");
    desk.redis_del("p");
    assert_eq!(desk.hit(both).origin, Origin::Fence);
}
