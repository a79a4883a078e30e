//! What NextAuth and Auth.js really answered, replayed through the engine.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;

/// A recorded exchange.
pub(super) struct Exchange {
    pub name: String,
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    cookies: Vec<Vec<u8>>,
    request_body: Vec<u8>,
    pub answer: SourceAnswer,
}

pub(super) fn exchanges() -> Vec<Exchange> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/nextauth/exchanges");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| parse(path.file_name()?.to_str()?, &std::fs::read(path).unwrap());
    files.iter().filter_map(read).collect()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// `None` for notes that hold no exchange.
fn parse(name: &str, text: &[u8]) -> Option<Exchange> {
    const REQUEST: &[u8] = b"=== REQUEST ===\n";
    const RESPONSE: &[u8] = b"=== RESPONSE ===\n";
    let request = &text[find(text, REQUEST)? + REQUEST.len()..];
    let at = find(request, RESPONSE)?;
    let (request, response) = (&request[..at], &request[at + RESPONSE.len()..]);
    let (line, headers, request_body) = message(request);
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
    let cookies = headers.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value.to_vec()).collect();
    let (line, headers, body) = message(response);
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
    let body = if chunked { unchunked(&body) } else { body[..length.unwrap_or(0).min(body.len())].to_vec() };
    let headers = headers.into_iter().map(|(name, value)| (Bytes::from(name), Bytes::from(value))).collect();
    let answer = SourceAnswer { status, headers, body: body.into() };
    Some(Exchange { name: name.to_owned(), method, path: path.to_owned(), query, cookies, request_body, answer })
}

/// First line, header lines, body.
type Message = (String, Vec<(String, Vec<u8>)>, Vec<u8>);

fn message(text: &[u8]) -> Message {
    let end = find(text, b"\r\n\r\n").unwrap_or(text.len());
    let mut lines = text[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
    let header = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..at]).ok()?.to_ascii_lowercase();
        Some((name, line[at + 1..].trim_ascii().to_vec()))
    };
    (first, lines.filter_map(header).collect(), text.get(end + 4..).unwrap_or_default().to_vec())
}

fn unchunked(mut text: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = find(text, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&text[..at]).unwrap_or("0").trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        let rest = &text[at + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        text = rest.get(size + 2..).unwrap_or_default();
    }
    body
}

/// A desk at the time of the recordings: 2026-11-23T20:00:00Z, before every recorded session ends.
fn desk(exchange: &Exchange) -> Desk {
    let profile = if exchange.name.starts_with("v4") { Profile::NextAuth } else { Profile::AuthJs };
    let settings =
        Settings { source: Source::Upstream, profile: Some(profile), cookie_max: 64 * 1024, ..Settings::default() };
    let desk = Desk::with(settings);
    desk.wait(Millis(1_795_464_000_000).since(desk.now()));
    desk
}

fn session_lines(desk: &Desk, headers: &[Header]) -> Vec<Bytes> {
    let lines =
        headers.iter().filter(|(name, value)| name.as_ref() == b"set-cookie" && desk.sessions.is_session_cookie(value));
    lines.map(|(_, value)| value.clone()).collect()
}

#[test]
fn every_recorded_exchange_does_what_the_rules_say() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for exchange in exchanges() {
        let desk = desk(&exchange);
        let tokens = desk.sessions.tokens(exchange.cookies.iter().map(Vec::as_slice));
        let what = match route("/api/auth", &exchange.method, &exchange.path, exchange.query.as_deref(), true) {
            Route::Check => check(&desk, &exchange, &tokens),
            Route::Update => update(&desk, &exchange, &tokens),
            Route::SignOut => sign_out(&desk, &exchange, &tokens),
            Route::OtherCheck => past(&desk, &exchange, &tokens, Passage::Check),
            Route::SignIn => sign_in(&desk, &exchange, &tokens),
            Route::Page => past(&desk, &exchange, &tokens, Passage::Page),
            Route::Verify | Route::Clear | Route::SignOutEverywhere | Route::Elsewhere => "elsewhere",
        };
        *seen.entry(what).or_default() += 1;
    }
    assert!(seen.values().sum::<usize>() >= 160, "{seen:?}");
    for (what, least) in
        [("stored", 25), ("signed out", 15), ("no cookie", 6), ("updated", 5), ("left", 10), ("refused", 4)]
    {
        assert!(seen.get(what).is_some_and(|count| *count >= least), "{what}: {seen:?}");
    }
}

fn check(desk: &Desk, exchange: &Exchange, tokens: &Tokens) -> &'static str {
    let (name, source) = (&exchange.name, &exchange.answer);
    let fill = match desk.sessions.look_up(tokens, desk.now()) {
        LookUp::Fill(fill) => fill,
        LookUp::Answer(answer) => {
            // Rule 10: what we say without a cookie is what the library says.
            assert!(tokens.is_empty(), "{name}");
            if source.status == 200 {
                assert_eq!((answer.status, &answer.body), (200, &source.body), "{name}");
                assert_eq!(answer.header("cache-control"), source.header("cache-control"), "{name}");
            }
            return "no cookie";
        }
        // The recorded left-over beside two chunks is an order that JavaScript's sort decides.
        LookUp::Pass(why) => {
            assert_eq!(why, PassWhy::Ambiguous, "{name}");
            assert!(name.contains("plus-stale-plain-cookie"), "{name}");
            return past(desk, exchange, tokens, Passage::Check);
        }
        LookUp::Wait(_) => panic!("{name}"),
    };
    let LookUp::Wait(wait) = desk.sessions.look_up(tokens, desk.now()) else { panic!("{name}") };
    let answer = desk.complete(fill, source.clone());
    assert_eq!((answer.status, &answer.body), (source.status, &source.body), "{name}");
    if source.is_failure() {
        assert_eq!(desk.keys(), 0, "{name}");
        return "failed";
    }
    // Every cookie line reaches its asker, and only those of the session who waits.
    let all = |headers: &[Header]| headers.iter().filter(|(name, _)| name.as_ref() == b"set-cookie").count();
    assert_eq!(all(&answer.headers), all(&source.headers), "{name}");
    let lines = session_lines(desk, &source.headers);
    let shared = desk.shared(&wait).unwrap();
    assert_eq!(
        (shared.status, &shared.body, all(&shared.headers)),
        (source.status, &source.body, lines.len()),
        "{name}"
    );
    if source.status != 200
        || source.body == "{}"
        || source.body == "null"
        || source.header("content-encoding").is_some()
    {
        assert_eq!(desk.keys(), 0, "{name}");
        return "signed out";
    }
    assert_eq!(desk.keys(), 1, "{name}");
    let LookUp::Answer(hit) = desk.sessions.look_up(tokens, desk.now()) else { panic!("{name}") };
    assert_eq!((hit.status, &hit.body), (200, &source.body), "{name}");
    // The asker's own token is superseded unless the strategy is a database's; the new one is the newest.
    let unchanged = name.contains("-db-");
    assert_eq!(session_lines(desk, &hit.headers), if unchanged { Vec::new() } else { lines.clone() }, "{name}");
    let pairs: Vec<&[u8]> = lines.iter().map(|line| line.split(|byte| *byte == b';').next().unwrap()).collect();
    let LookUp::Answer(hit) = desk.sessions.look_up(&desk.sessions.tokens(pairs), desk.now()) else { panic!("{name}") };
    assert_eq!((&hit.body, all(&hit.headers)), (&source.body, 0), "{name}");
    "stored"
}

fn update(desk: &Desk, exchange: &Exchange, tokens: &Tokens) -> &'static str {
    assert_eq!(desk.sessions.admit(tokens, Passage::Update, desk.now()), None);
    let outcome = Outcome::Answered(exchange.answer.clone());
    let answer = desk.sessions.passed(tokens, Passage::Update, outcome, desk.now());
    assert_eq!((answer.status, &answer.body), (exchange.answer.status, &exchange.answer.body), "{}", exchange.name);
    assert_eq!(
        session_lines(desk, &answer.headers),
        session_lines(desk, &exchange.answer.headers),
        "{}",
        exchange.name
    );
    assert_eq!(desk.keys(), 0, "{}", exchange.name);
    "updated"
}

fn sign_out(desk: &Desk, exchange: &Exchange, tokens: &Tokens) -> &'static str {
    let sign_out = desk.sessions.begin_sign_out(tokens, desk.now());
    let ended = desk.sessions.end_sign_out(sign_out, Some(&exchange.answer), desk.now());
    let took = exchange.name.contains("-ok") || exchange.name.contains("redirect") || exchange.name.contains("db-08");
    assert_eq!(ended == Ended::SignedOut, took, "{}", exchange.name);
    assert_eq!(desk.sessions.admit(tokens, Passage::Check, desk.now()).is_some(), took, "{}", exchange.name);
    // The body tells whether it is a sign-out or the seed's step.
    let csrf = find(&exchange.request_body, b"csrfToken=").is_some();
    assert!(csrf || !took, "{}", exchange.name);
    if took { "left" } else { "refused" }
}

fn sign_in(desk: &Desk, exchange: &Exchange, tokens: &Tokens) -> &'static str {
    let headers = &exchange.answer.headers;
    assert_eq!(desk.sessions.observe(tokens, Passage::SignIn, 200, headers, desk.now()), Observed::Untouched);
    assert_eq!(desk.keys(), 0);
    "sign-in"
}

fn past(desk: &Desk, exchange: &Exchange, tokens: &Tokens, passage: Passage) -> &'static str {
    assert_eq!(desk.sessions.admit(tokens, passage, desk.now()), None, "{}", exchange.name);
    let outcome = Outcome::Answered(exchange.answer.clone());
    let answer = desk.sessions.passed(tokens, passage, outcome, desk.now());
    assert_eq!((answer.status, &answer.body), (exchange.answer.status, &exchange.answer.body), "{}", exchange.name);
    assert_eq!(desk.keys(), 0, "{}", exchange.name);
    "past"
}
