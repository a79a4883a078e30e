//! Tokens decoded here: what NextAuth answers, without NextAuth.

use super::recorded::{Exchange, exchanges};
use super::*;

const SECRET: &str = "cloakroom-test-secret-0123456789abcdef";

fn settings(profile: Profile, claims: &[(&str, &str)]) -> Settings {
    let claims = claims.iter().map(|(field, claim)| ((*field).to_owned(), (*claim).to_owned())).collect();
    let source = NextAuth::new(Secrets::new([SECRET]).unwrap()).with_claims(claims);
    Settings { source: Source::NextAuth(source), profile: Some(profile), cookie_max: 64 * 1024, ..Settings::default() }
}

fn desk(profile: Profile) -> Desk {
    Desk::with(settings(profile, &[]))
}

fn unix(desk: &Desk) -> u64 {
    desk.now().0 / 1000
}

/// The token of a user, made now to last an hour.
fn token(desk: &Desk, profile: Profile, cookie: &str, claims: &str) -> String {
    let ring = Keyring::new(profile, cookie, &Secrets::new([SECRET]).unwrap());
    let mut dice = [0; DICE];
    // Each token another, as in life.
    dice[..8].copy_from_slice(&(desk.now().0 ^ claims.len() as u64).to_le_bytes());
    ring.encode(Claims::read(claims.as_bytes()).unwrap(), unix(desk), 3600, dice)
}

fn v4(desk: &Desk, claims: &str) -> String {
    token(desk, Profile::NextAuth, "next-auth.session-token", claims)
}

const ALICE: &str = r#"{"name":"Alice","email":"alice@example.test","picture":null,"sub":"7","role":"admin"}"#;

/// A check whose fill is decoded.
#[track_caller]
fn decode(desk: &Desk, cookies: &str) -> Answer {
    let fill = desk.miss(cookies);
    desk.sessions.decode(fill, [cookies.as_bytes()], false, [5; DICE], desk.now())
}

/// The cookies of a browser after an answer.
fn after(answer: &Answer) -> String {
    let kept = set_cookies(answer).into_iter().filter(|line| !line.contains("Max-Age=0"));
    kept.map(|line| line.split(';').next().unwrap()).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_token_is_answered_as_nextauth_answers_it_and_then_from_the_store() {
    let desk = desk(Profile::NextAuth);
    let cookies = cookie(&v4(&desk, ALICE));
    let answer = decode(&desk, &cookies);
    let expires = "2023-12-14T22:13:20.000Z";
    let body =
        format!(r#"{{"user":{{"name":"Alice","email":"alice@example.test","image":null}},"expires":"{expires}"}}"#);
    assert_eq!((answer.status, &answer.body[..], answer.origin), (200, body.as_bytes(), Origin::Source));
    assert_eq!(answer.header("cache-control"), Some(&b"private, no-cache, no-store"[..]));
    let [line] = set_cookies(&answer)[..] else { panic!("one cookie") };
    assert!(line.ends_with("; Path=/; Expires=Thu, 14 Dec 2023 22:13:20 GMT; HttpOnly; SameSite=Lax"), "{line}");
    // A hit; the token from before gets the newest cookie again, the newest does not.
    let line = line.to_owned();
    assert_eq!(set_cookies(&desk.hit(&cookies)), [&line]);
    let newest = after(&answer);
    assert_eq!((desk.hit(&newest).body, set_cookies(&desk.hit(&newest)).len()), (answer.body.clone(), 0));
    // After the TTL it rolls on.
    desk.wait(Ttl::seconds(6));
    let rolled = decode(&desk, &newest);
    assert_eq!(user(&rolled).as_deref(), Some("Alice"));
    assert!(rolled.body.ends_with(b"\"2023-12-14T22:13:26.000Z\"}"));
    assert_eq!(desk.count("source_failures"), 0);
}

#[test]
fn claims_are_shown_only_if_they_are_named() {
    let desk =
        Desk::with(settings(Profile::NextAuth, &[("id", "sub"), ("role", "role"), ("team", "team"), ("name", "role")]));
    let answer = decode(&desk, &cookie(&v4(&desk, ALICE)));
    let shown = r#"{"user":{"name":"admin","email":"alice@example.test","image":null,"id":"7","role":"admin"},"#;
    assert!(answer.body.starts_with(shown.as_bytes()), "{answer:?}");
    let answer = decode(&desk, &cookie(&v4(&desk, "{}")));
    assert!(answer.body.starts_with(br#"{"user":{},"expires":"#), "{answer:?}");
}

#[test]
fn a_token_that_does_not_hold_is_nobody_and_its_cookie_goes() {
    for (profile, name, empty) in [
        (Profile::NextAuth, "next-auth.session-token", "{}"),
        (Profile::NextAuth, "__Secure-next-auth.session-token", "{}"),
        (Profile::AuthJs, "__Secure-authjs.session-token", "null"),
    ] {
        let desk = desk(profile);
        let early = token(&desk, profile, name, ALICE);
        desk.wait(Ttl::seconds(3600 + 15));
        for bad in ["garbage", "a.b.c.d.e", &early] {
            let answer = decode(&desk, &format!("a=b; {name}={bad}"));
            assert_eq!((answer.status, &answer.body[..]), (200, empty.as_bytes()));
            let secure = if name.starts_with("__") { "; Secure" } else { "" };
            assert_eq!(set_cookies(&answer), [format!("{name}=; Max-Age=0; Path=/; HttpOnly{secure}; SameSite=Lax")]);
        }
        assert_eq!((desk.keys(), desk.families.len()), (0, 0));
    }
}

#[test]
fn large_tokens_come_and_go_in_chunks() {
    for (profile, size) in [(Profile::NextAuth, 3933), (Profile::AuthJs, 3936)] {
        let (desk, name) = (desk(profile), profile.cookie());
        let large = format!(r#"{{"name":"Alice","blob":"{}"}}"#, "x".repeat(8000));
        let large = token(&desk, profile, name, &large);
        let chunk = |(at, chunk): (usize, &[u8])| format!("{name}.{at}={}", std::str::from_utf8(chunk).unwrap());
        let chunks: Vec<String> = large.as_bytes().chunks(size).enumerate().map(chunk).collect();
        // One more than is needed is deleted.
        let extra = format!("{}; {name}.9=", chunks.join("; "));
        let answer = decode(&desk, &extra);
        let lengths: Vec<usize> =
            set_cookies(&answer).iter().map(|line| line.split([';', '=']).nth(1).unwrap().len()).collect();
        assert_eq!(lengths[..lengths.len() - 1], vec![size; lengths.len() - 1]);
        assert_eq!(lengths.len(), chunks.len());
        assert_eq!(user(&desk.hit(&after(&answer))).as_deref(), Some("Alice"));
        // A chunk that is left over makes nonsense of it: all are deleted, as NextAuth does it.
        let broken = format!("{}; {name}.7=zz", chunks.join("; "));
        let answer = decode(&desk, &broken);
        let gone = set_cookies(&answer);
        assert_eq!((gone.len(), user(&answer)), (chunks.len() + 1, None));
        assert!(gone.iter().all(|line| line.contains("=; Max-Age=0;")), "{gone:?}");
    }
    // A token that has become small leaves no chunk behind.
    let desk = desk(Profile::NextAuth);
    let small = v4(&desk, ALICE);
    let (one, two) = small.split_at(100);
    let name = "next-auth.session-token";
    let answer = decode(&desk, &format!("{name}.0={one}; {name}.1={two}"));
    let lines = set_cookies(&answer);
    assert!(
        lines[0].starts_with(&format!("{name}.0=; Max-Age=0"))
            && lines[1].starts_with(&format!("{name}.1=; Max-Age=0"))
    );
    assert!(lines[2].starts_with(&format!("{name}=ey")), "{lines:?}");
    assert_eq!(user(&desk.hit(&after(&answer))).as_deref(), Some("Alice"));
}

#[test]
fn of_two_cookies_the_one_counts_that_only_https_can_set() {
    let desk = desk(Profile::NextAuth);
    let (plain, secure) = (v4(&desk, r#"{"name":"Mallory"}"#), v4(&desk, ALICE));
    let cookies = format!("{}; __Secure-{}", cookie(&plain), cookie(&secure));
    let answer = decode(&desk, &cookies);
    assert_eq!(user(&answer).as_deref(), Some("Alice"));
    assert!(set_cookies(&answer).iter().all(|line| line.starts_with("__Secure-")));
    assert_eq!(user(&desk.hit(&cookies)).as_deref(), Some("Alice"));
}

#[test]
fn under_a_name_of_its_own_a_cookie_is_as_secure_as_its_request() {
    for (name, https, secure) in [("my.sid", false, false), ("my.sid", true, true), ("__Host-sid", false, true)] {
        let desk = Desk::with(Settings { cookie: Some(name.to_owned()), ..settings(Profile::AuthJs, &[]) });
        let cookies = format!("{name}={}", token(&desk, Profile::AuthJs, name, ALICE));
        let fill = desk.miss(&cookies);
        let answer = desk.sessions.decode(fill, [cookies.as_bytes()], https, [5; DICE], desk.now());
        assert_eq!(user(&answer).as_deref(), Some("Alice"));
        let line = set_cookies(&answer)[0];
        assert_eq!((line.starts_with(&format!("{name}=ey")), line.contains("; Secure")), (true, secure), "{line}");
    }
}

#[test]
fn other_secrets_are_taken_while_it_runs() {
    let desk = desk(Profile::NextAuth);
    let old = v4(&desk, ALICE);
    let put = |secrets: &[&str]| {
        let source = NextAuth::new(Secrets::new(secrets.iter().copied()).unwrap());
        desk.sessions.change(|settings| settings.source = Source::NextAuth(source));
    };
    put(&["new", SECRET]);
    let answer = decode(&desk, &cookie(&old));
    assert_eq!(user(&answer).as_deref(), Some("Alice"));
    put(&["new"]);
    desk.wait(Ttl::seconds(6));
    assert_eq!(user(&decode(&desk, &after(&answer))).as_deref(), Some("Alice"));
    desk.wait(Ttl::seconds(70));
    assert_eq!(user(&decode(&desk, &cookie(&old))), None);
}

#[test]
fn a_sign_out_holds_for_as_long_as_the_token_would() {
    let desk = desk(Profile::NextAuth);
    desk.sessions.change(|settings| settings.max_age = Ttl::seconds(60));
    let old = cookie(&v4(&desk, ALICE));
    let newest = after(&decode(&desk, &old));
    desk.sessions.sign_out(&desk.tokens(&newest), [newest.as_bytes()], desk.now());
    for cookies in [&old, &newest] {
        assert_eq!(desk.hit(cookies).origin, Origin::Fence);
    }
    // Of one that was never checked here, the token itself tells how long it would have been good.
    let other = cookie(&v4(&desk, r#"{"sub":"8"}"#));
    desk.sessions.sign_out(&desk.tokens(&other), [other.as_bytes()], desk.now());
    desk.wait(Ttl::seconds(3600 + 14));
    assert_eq!(desk.hit(&other).origin, Origin::Fence);
    desk.wait(Ttl::seconds(60));
    assert_eq!(user(&decode(&desk, &other)), None);
}

#[test]
fn the_seeds_step_forgets_the_answer_and_signs_nobody_out() {
    let desk = desk(Profile::NextAuth);
    let cookies = cookie(&v4(&desk, ALICE));
    let newest = after(&decode(&desk, &cookies));
    assert_eq!(&desk.sessions.clear(&desk.tokens(&newest), desk.now()).body[..], br#"{"success":true}"#);
    assert_eq!(user(&decode(&desk, &newest)).as_deref(), Some("Alice"));
}

#[test]
fn a_csrf_token_is_the_libraries_own() {
    let vectors: serde_json::Value = serde_json::from_slice(
        &std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/nextauth/vectors.json")).unwrap(),
    )
    .unwrap();
    for vector in vectors["csrf"].as_array().unwrap() {
        let profile = if vector["lib"] == "v4" { Profile::NextAuth } else { Profile::AuthJs };
        let secrets = match &vector["secret"] {
            serde_json::Value::Array(list) => Secrets::new(list.iter().map(|secret| secret.as_str().unwrap())),
            secret => Secrets::new([secret.as_str().unwrap()]),
        };
        let mut settings = settings(profile, &[]);
        settings.source = Source::NextAuth(NextAuth::new(secrets.unwrap()));
        let desk = Desk::with(settings);
        let token = vector["csrfToken"].as_str().unwrap();
        let name = if profile == Profile::NextAuth { "next-auth.csrf-token" } else { "authjs.csrf-token" };
        let value = vector["cookie_value"].as_str().unwrap();
        let vouches = |cookies: &str, https: bool, given: &str| {
            desk.sessions.vouches(&desk.tokens(cookies), [cookies.as_bytes()], https, given.as_bytes())
        };
        for value in [value.to_owned(), value.replace('|', "%7C"), value.replace('|', "%7c")] {
            assert!(vouches(&format!("a=b; {name}={value}"), false, token));
            assert!(vouches(&format!("__Host-{name}={value}"), true, token));
            // What any neighbour can set counts for nothing where there is HTTPS.
            assert!(!vouches(&format!("{name}={value}"), true, token));
            assert!(!vouches(&format!("{name}={value}; __Secure-{}=x", profile.cookie()), false, token));
            assert!(!vouches(&format!("{name}={value}"), false, &token.replace('0', "1")));
            assert!(!vouches(&format!("{name}={value}0"), false, token));
            assert!(!vouches(&format!("other={value}"), false, token));
        }
        // One that is made here has the same form.
        let cookies = format!("{name}={value}");
        let again = desk.sessions.csrf(&desk.tokens(&cookies), [cookies.as_bytes()], false, [0; DICE]).unwrap();
        assert_eq!(
            (again.body.clone(), set_cookies(&again).len()),
            (format!(r#"{{"csrfToken":"{token}"}}"#).into(), 0)
        );
        let dice = std::array::from_fn(|at| u8::from_str_radix(&token[2 * at..2 * at + 2], 16).unwrap());
        for (https, host, secure) in [(false, "", ""), (true, "__Host-", "; Secure")] {
            let made = desk.sessions.csrf(&desk.tokens("a=b"), [b"a=b".as_slice()], https, dice).unwrap();
            let value = value.replace('|', "%7C");
            assert_eq!(set_cookies(&made), [format!("{host}{name}={value}; Path=/; HttpOnly{secure}; SameSite=Lax")]);
        }
    }
    let other = Desk::upstream();
    assert_eq!(other.sessions.csrf(&other.tokens(""), [b"".as_slice()], false, [0; DICE]), None);
}

/// The recorded application shows two claims more; its secret is unknown, so its tokens are made anew from what it answered.
#[test]
fn recorded_sessions_are_answered_with_the_very_same_head_and_body() {
    let mut seen = 0;
    for exchange in exchanges().iter().filter(|exchange| is_rolling(exchange)) {
        let profile = if exchange.name.starts_with("v4") { Profile::NextAuth } else { Profile::AuthJs };
        let body: serde_json::Value = serde_json::from_slice(&exchange.answer.body).unwrap();
        let desk = Desk::with(settings(profile, &[("id", "sub"), ("role", "role")]));
        let expires = super::super::time::unix_millis(body["expires"].as_str().unwrap()).unwrap();
        desk.wait(Millis(expires - 30 * 86_400_000).since(desk.now()));
        let user = &body["user"];
        let claims = serde_json::json!({
            "name": user["name"], "email": user["email"], "picture": user["image"], "sub": user["id"], "role": user["role"],
        });
        let secure = if exchange.name.contains("https") { "__Secure-" } else { "" };
        let name = format!("{secure}{}", profile.cookie());
        let cookies = format!("{name}={}", token(&desk, profile, &name, &claims.to_string()));
        let answer = decode(&desk, &cookies);
        assert_eq!(answer.body, exchange.answer.body, "{}", exchange.name);
        for header in ["cache-control", "content-type", "expires", "pragma"] {
            assert_eq!(answer.header(header), exchange.answer.header(header), "{} {header}", exchange.name);
        }
        let attributes = |line: &str| {
            let (pair, rest) = line.split_once(';').unwrap();
            (pair.split('=').next().unwrap().to_owned(), rest.to_owned())
        };
        let recorded = exchange.answer.headers.iter().filter(|(header, _)| header.as_ref() == b"set-cookie");
        let recorded = recorded.map(|(_, line)| attributes(std::str::from_utf8(line).unwrap()));
        let recorded: Vec<_> = recorded.filter(|(own, _)| *own == name).collect();
        let ours: Vec<_> = set_cookies(&answer).into_iter().map(attributes).collect();
        // Where a second has gone by between body and cookie, the recording says so.
        if ours != recorded {
            let without = |lines: &[(String, String)]| {
                lines
                    .iter()
                    .map(|(name, rest)| (name.clone(), rest.split("Expires=").next().map(str::to_owned)))
                    .collect::<Vec<_>>()
            };
            assert_eq!(without(&ours), without(&recorded), "{}", exchange.name);
        }
        seen += 1;
    }
    assert!(seen >= 12, "{seen}");
}

/// A check that was answered with one rolled cookie and no large token.
fn is_rolling(exchange: &Exchange) -> bool {
    exchange.name.contains("-jwt")
        && exchange.method == "GET"
        && exchange.path == "/api/auth/session"
        && exchange.query.is_none()
        && exchange.answer.body.starts_with(b"{\"user\":{\"name\"")
        && !exchange.name.contains("chunk")
}
