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

/// Nobody is shown, asked or stored for this header, whatever way it goes.
#[track_caller]
fn goes_nowhere(desk: &Desk, header: &[u8]) {
    let (tokens, shown) = (desk.sessions.tokens([header]), String::from_utf8_lossy(header));
    match desk.sessions.look_up(&tokens, desk.now()) {
        LookUp::Answer(answer) => assert_eq!(user(&answer), None, "{shown}"),
        other => panic!("{shown}: {other:?}"),
    }
    assert!(desk.sessions.hit(&tokens, desk.now(), |_| ()).is_none(), "{shown}");
    for passage in [Passage::Check, Passage::Update] {
        let answer =
            desk.sessions.admit(&tokens, passage, desk.now()).unwrap_or_else(|| panic!("{shown} is handed on"));
        assert_eq!(user(&answer), None, "{shown}");
    }
    // Nor does a page or a sign-in of the application's see it.
    let left = desk.sessions.without_dead(&tokens, [header], desk.now()).unwrap_or_else(|| panic!("{shown} is left"));
    assert!(left.iter().all(|line| line == "a=b"), "{shown}: {left:?}");
}

#[test]
fn a_signed_out_jwt_stays_so_however_its_letters_are_written() {
    let vectors = include_str!("../../../tests/data/nextauth/vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let mut changed = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let (name, token) = (vector["cookie_name"].as_str().unwrap(), vector["token"].as_str().unwrap());
        if !name.ends_with("session-token") || !token.starts_with("ey") || token.split('.').count() != 5 {
            continue;
        }
        let desk = Desk::with(Settings { source: Source::Upstream, cookie_max: 64 * 1024, ..Settings::default() });
        let whole = format!("{name}={token}");
        let _ends = desk.sign_out(&whole, Some(&deletes()));
        assert_eq!(desk.hit(&whole).origin, Origin::Fence);
        let (start, last) = token.split_at(token.len() - 1);
        let text = token.rfind('.').unwrap() - 5;
        let put = |letters: &str| format!("{}{letters}{}", &token[..text], &token[text..]);
        let mut others = vec![put("!"), put("%21"), put("%0A"), put("="), put("*"), put("%"), put("@")];
        for end in ["=", "==", "!", "%3D", "%20", "=abc", "~", "%7E", "%C2%A0"] {
            others.push(format!("{token}{end}"));
        }
        if token.contains('-') || token.contains('_') {
            let at = token.rfind(['-', '_']).unwrap();
            others.push(token.replace('-', "+").replace('_', "/"));
            others.push(format!(
                "{}%2{}{}",
                &token[..at],
                if &token[at..=at] == "-" { "B" } else { "F" },
                &token[at + 1..]
            ));
        }
        // Bits that stand for nothing, as there are four of in a tag of 16 bytes, and two in one of 32.
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let value = letters.find(last).unwrap();
        others.extend([1, 2, 3].map(|bits| format!("{start}{}", &letters[value ^ bits..=value ^ bits])));
        for other in others {
            goes_nowhere(&desk, format!("{name}={other}").as_bytes());
            goes_nowhere(&desk, format!("{name}={other}; {name}=junk").as_bytes());
            goes_nowhere(&desk, format!("{name}.0={}; {name}.1={}", &other[..20], &other[20..]).as_bytes());
            changed += 1;
        }
        // Encoded, it is the same token wherever it is decoded; where it is not, it is none.
        goes_nowhere(&desk, whole.replace('.', "%2E").as_bytes());
    }
    assert!(changed > 100, "{changed}");
}

#[test]
fn tokens_that_are_no_jwts_may_have_any_letters() {
    let desk = Desk::upstream();
    for token in [
        "0c9a4f60-5c3e-4f0e-8f0a-7a3f5f0c9a4f",
        "a.b.c",
        "a.b.c.d.e",
        "east.coast.office",
        "v4.local.AAECAw",
        "v4.public.AAECAx.AAECAx",
        "s%3Aid.c2lnbmF0dXJl",
        "tok.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8%3D",
        "base64-eyJhY2Nlc3NfdG9rZW4iOiJleSJ9",
        "eyJ1c2VyIjoiYSJ9",
        "eyJ1c2VyIjoiYSJ9.sig-x",
        "eyJ1c2VyIjoiYSJ9.x.y.z",
        "eyJ1c2VyIjoiYWIifQ==.Zx4rPQ.AAECAwQFBgcICQoLDA0ODxAREhM",
        ".eJyrViotTi1SslJKzFGqBQAf8AQ0.Zx4rPQ.AAECAwQFBgcICQoLDA0ODxAREhM",
        "MTcwMHx4fA==",
        "a==",
        "user=1=",
    ] {
        assert!(matches!(desk.check(&cookie(token)), LookUp::Fill(_)), "{token}");
    }
    // What signs in the same way, and what is padded, has no second spelling either.
    for token in [
        "eyJ1c2VyIjoiYWIifQ==.Zx4rPQ.AAECAwQFBgcICQoLDA0ODxAREhN",
        ".eJyrViotTi1SslJKzFGqBQAf8AQ0.Zx4rPQ.AAECAwQFBgcICQoLDA0ODxAREhM=",
        "tok.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9%3D",
        "MTcwMHx4fB==",
    ] {
        goes_nowhere(&desk, cookie(token).as_bytes());
    }
    // With the store alone nobody else reads them, and what an app has put there is there.
    let desk = Desk::alone();
    desk.redis_set("eyJhbGciOi.x.y", &body("alice"), Ttl::seconds(60)).unwrap();
    assert_eq!(user(&desk.hit(&cookie("eyJhbGciOi.x.y"))).as_deref(), Some("alice"));
}

#[test]
fn what_parsers_read_each_in_their_way_goes_nowhere() {
    let desk = Desk::upstream();
    desk.sign_out(&cookie("T"), Some(&deletes()));
    let cases: &[&[u8]] = &[
        // A parser that takes off the first letter and the last where the first is a quote.
        b"next-auth.session-token=\"Tx",
        b"next-auth.session-token=\"T",
        b"next-auth.session-token=\"%54\"",
        // JavaScript trims a no-break space, others do not; and some know more blanks.
        b"next-auth.session-token=T\xa0",
        b"next-auth.session-token=\xa0T",
        b"\xa0next-auth.session-token=T",
        b"next-auth.session-token\xa0=T",
        b"\x85next-auth.session-token=T",
        b"\xa0next-auth.session-token=T; next-auth.session-token=junk",
        b"next-auth.session-token=junk; \xa0next-auth.session-token=T",
        b"next-auth.session-token\xa0=T; next-auth.session-token=junk",
        b"\xef\xbb\xbfnext-auth.session-token=T; next-auth.session-token=junk",
        // Some take a blank for a part of the name.
        b"a=b; \tnext-auth.session-token.0=junk; next-auth.session-token.1=T",
        b"next-auth.session-token =j; next-auth.session-token=T",
        // Some decode names.
        b"next%2Dauth.session-token=T",
        // Where the first one counts, it counts if it is empty.
        b"next-auth.session-token=; next-auth.session-token=junk; next-auth.session-token.1=T; next-auth.session-token=x",
        b"next-auth.session-token.1=T; next-auth.session-token=; next-auth.session-token.0=x",
        b"next-auth.session-token=T junk",
        b"next-auth.session-token=T,junk",
        b"next-auth.session-token=a%zz",
        b"next-auth.session-token=a%ff",
        b"next-auth.session-token=a%00",
        b"next-auth.session-token",
        "next-auth.session-token=ü".as_bytes(),
        b"next-auth.session-token=\xff\xfe",
    ];
    for case in cases {
        goes_nowhere(&desk, case);
    }
    assert_eq!((desk.count("passed"), desk.count("misses")), (0, 0));
    // One cookie alone has blanks that nobody takes for a part of it.
    for case in ["\tnext-auth.session-token=T", "next-auth.session-token = T", "a=b ; next-auth.session-token=T ;c=d"] {
        assert_eq!(desk.hit(case).origin, Origin::Fence, "{case}");
    }
    let first = "next-auth.session-token=; next-auth.session-token=junk; next-auth.session-token.1=T";
    let sees = desk.tokens(first);
    assert!(sees.names().contains(desk.tokens(&cookie("T")).key().unwrap()), "the first may count, which is empty");
}

#[test]
fn no_cookie_is_called_like_two_tokens_or_like_a_user() {
    let desk = Desk::upstream();
    let both = "next-auth.session-token=p; __Secure-next-auth.session-token=s";
    desk.fill(both, signed_in("gina", "newest"));
    assert_eq!(user(&desk.hit(both)).as_deref(), Some("gina"));
    // The hashed names of both tokens, as a listing shows them.
    let names =
        [cookie("p"), "__Secure-next-auth.session-token=s".into()].map(|it| desk.tokens(&it).key().unwrap().clone());
    let [plain, secure] = names.map(|name| String::from_utf8(name.to_vec()).unwrap());
    let made_up = cookie(&format!("{plain}{secure}"));
    assert!(matches!(desk.check(&made_up), LookUp::Fill(_)), "nobody's until the source says whose");

    // Nor is a user signed out by who knows no more than what is put in front of his id.
    for mark in ["%00user%007", "%00both%00", "\u{0}user\u{0}7"] {
        for header in
            [cookie(mark), format!("{}; {}", cookie(mark), cookie("x")), format!("{}; {}", cookie("x"), cookie(mark))]
        {
            assert!(desk.tokens(&header).names().iter().all(|name| *name != desk.sessions.core.user_name("7")));
        }
        let token = desk.sessions.token(mark.replace("%00", "\0").as_bytes());
        assert!(token.names().is_empty() && token.key().is_none());
    }
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
fn to_delete_a_cookie_of_another_scope_takes_nothing_from_what_is_set() {
    let set = rolled_to("t2");
    for other in ["Domain=.shop.example; Path=/", "Path=/app"] {
        let gone = format!("next-auth.session-token=; Max-Age=0; {other}");
        for lines in [[&set, &gone], [&gone, &set]] {
            let desk = Desk::upstream();
            let source = lines.iter().fold(told("alice"), |answer, line| answer.with("set-cookie", (*line).clone()));
            let page =
                desk.sessions.observe(&desk.tokens(&cookie("t1")), Passage::Page, 200, &source.headers, desk.now());
            assert_eq!(page, Observed::Untouched, "{lines:?}");
            let desk = Desk::upstream();
            desk.fill(&cookie("t1"), source);
            assert_eq!(desk.hit(&cookie("t2")).origin, Origin::Cache, "{lines:?}");
        }
    }
    // Of one and the same cookie the last line counts.
    let gone = "next-auth.session-token=; Max-Age=0; path=/; HttpOnly";
    let desk = Desk::upstream();
    let lines = [set.as_str(), gone].map(|line| ("set-cookie".into(), line.to_owned().into()));
    let page = desk.sessions.observe(&desk.tokens(&cookie("t1")), Passage::Page, 200, &lines, desk.now());
    assert_eq!(page, Observed::Ended);
}

#[test]
fn a_cookie_of_the_apps_own_is_rolled_whichever_library_sets_it() {
    for helper in ["authjs.callback-url=x; Path=/", "next-auth.callback-url=x; Path=/"] {
        let settings = Settings { source: Source::Upstream, cookie: Some("sid".into()), ..Settings::default() };
        let desk = Desk::with(settings);
        let source = told("alice").with("set-cookie", helper).with("set-cookie", "sid=t2; Path=/");
        desk.fill("sid=t1", source);
        assert_eq!(desk.hit("sid=t2").origin, Origin::Cache);
        desk.sign_out("sid=t2", None);
        let empty = if helper.starts_with("authjs") { "null" } else { "{}" };
        assert_eq!(&desk.hit("sid=t1").body[..], empty.as_bytes());
    }
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
