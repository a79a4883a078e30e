//! `verify` under `base-path`: who is signed in, for a proxy that asks before it lets a request in.
//!
//! Any method is taken, and any path behind it: Envoy sends those of the request that it asks about. Whatever came, the
//! source is asked for the session as a browser would ask.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};

use super::answer::{self, Out};
use super::relay::X_FORWARDED_HOST;
use super::{Door, Visit};
use crate::clock::Millis;
use crate::config::Redirect;
use crate::session::{Answer, LookUp, SessionCache, Tokens};

/// Where the keys are that sessions are signed with (RFC 7517).
pub(super) const KEYS_PATH: &str = "/.well-known/jwks.json";

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Looks a session up for a proxy. Whose empty answer it would be does not matter here, so without a cookie nobody is
/// asked.
pub(super) fn look_up(sessions: &SessionCache, tokens: &Tokens, now: Millis) -> LookUp {
    if tokens.is_empty() { LookUp::Answer(sessions.nobody(tokens)) } else { sessions.look_up(tokens, now) }
}

impl Door {
    pub(super) fn verifies(&self) -> bool {
        self.hall.engine.with_config(|config| config.verify.is_on)
    }

    /// What a session's answer is to a proxy that came with these headers.
    pub(super) fn verdict(&self, tokens: &Tokens, answer: Answer, headers: &HeaderMap) -> Answer {
        let mut answer = self.with_sessions(|sessions, now| sessions.verdict(tokens, answer, now));
        if answer.status == 401
            && let Some(to) = self.hall.engine.with_config(|config| redirect(&config.verify.redirect, headers))
        {
            answer.status = 302;
            answer.headers.push((Bytes::from_static(b"location"), to.into()));
        }
        answer
    }
}

impl Visit {
    /// Answers a proxy.
    pub(super) async fn verify(&self, mut parts: Parts) -> Response<Out> {
        let door = &self.door;
        let tokens = door.tokens(&parts);
        parts.method = Method::GET;
        parts.uri = door.hall.session_uri();
        let looked = door.with_sessions(|sessions, now| look_up(sessions, &tokens, now));
        let answer = door.answer(looked, &tokens, &parts, self.peer).await;
        let answer = door.verdict(&tokens, answer, &parts.headers);
        door.followed(&parts, &answer);
        answer::session(answer)
    }

    /// The keys that sessions are signed with.
    pub(super) fn keys(&self) -> Response<Out> {
        let hall = &self.door.hall;
        let signing = hall.signing.as_ref().filter(|_| hall.engine.with_config(|config| config.verify.jws));
        let Some(signing) = signing else {
            return answer::text(StatusCode::NOT_FOUND, "no session is signed here (--verify-jws yes)");
        };
        let mut response =
            Response::new(Out::Full(Bytes::from(signing.published(hall.engine.clock.wall_micros() / 1_000_000))));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        // Half of how long a key is published before it signs.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        response
    }
}

/// Where a browser is sent that opens a page and is not signed in. Only where the proxy has told what was asked for, as
/// those do that hand a redirect on. The page to come back to is told only to its own host, and as a path, so that what
/// a request says of hosts leads nobody away.
fn redirect(to: &Redirect, headers: &HeaderMap) -> Option<String> {
    let url = to.url()?;
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (method, page) = (text(X_FORWARDED_METHOD)?, text(X_FORWARDED_URI)?);
    let opens = |mode: &HeaderValue| mode == "navigate";
    let is_page = matches!(method, "GET" | "HEAD")
        && text(ACCEPT)?.to_ascii_lowercase().contains("text/html")
        && headers.get("sec-fetch-mode").is_none_or(opens);
    if !is_page {
        return None;
    }
    let is_home = text(X_FORWARDED_HOST).is_some_and(|host| host.eq_ignore_ascii_case(to.host()));
    let path = page.split('?').next().unwrap_or_default();
    if is_home && path.trim_end_matches('/') == to.path().trim_end_matches('/') {
        // Around for ever.
        return None;
    }
    let mut location = url.to_owned();
    // `//` and `/\` begin a host for browsers, and so they do with a tab in between.
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if is_home && page.starts_with('/') && !page.starts_with("//") && page.bytes().all(plain) {
        location.push(if url.contains('?') { '&' } else { '?' });
        location.push_str("callbackUrl=");
        for byte in page.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    location.push(byte.into())
                }
                _ => location.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    Some(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(to: &str, lines: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().expect("a value"));
        }
        redirect(&to.parse().expect("a URL"), &headers)
    }

    fn opened(page: &str) -> Vec<(&'static str, &str)> {
        vec![
            ("accept", "text/html,application/xhtml+xml"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-uri", page),
        ]
    }

    const SIGN_IN: &str = "https://shop.example/signin";

    #[test]
    fn a_browser_that_opens_a_page_comes_back_to_it() {
        let to = sent(SIGN_IN, &opened("/orders?id=7&x=a%20b"));
        assert_eq!(to.as_deref(), Some("https://shop.example/signin?callbackUrl=/orders%3Fid%3D7%26x%3Da%2520b"));
        let to = sent("https://shop.example/signin?x=1", &opened("/"));
        assert_eq!(to.as_deref(), Some("https://shop.example/signin?x=1&callbackUrl=/"));
    }

    #[test]
    fn nobody_is_led_away() {
        for page in
            ["//evil.example/", "/\\evil.example", "/\t/evil.example", "/ /evil", "https://evil.example/", "evil", ""]
        {
            assert_eq!(sent(SIGN_IN, &opened(page)).as_deref(), Some(SIGN_IN), "{page}");
        }
        // Another host's page is no path here.
        assert_eq!(sent("https://login.example/", &opened("/orders")).as_deref(), Some("https://login.example/"));
    }

    #[test]
    fn what_opens_no_page_is_told_no_page() {
        assert_eq!(sent("", &opened("/orders")), None);
        let without = |name: &str| opened("/orders").into_iter().filter(|line| line.0 != name).collect::<Vec<_>>();
        for name in ["accept", "x-forwarded-method", "x-forwarded-uri"] {
            assert_eq!(sent(SIGN_IN, &without(name)), None, "{name}");
        }
        for line in [("accept", "application/json"), ("x-forwarded-method", "POST"), ("sec-fetch-mode", "cors")] {
            assert_eq!(sent(SIGN_IN, &[opened("/orders"), vec![line]].concat()), None, "{line:?}");
        }
        // The page that signs in is asked about too: that is a mistake, and no circle.
        assert_eq!(sent(SIGN_IN, &opened("/signin?callbackUrl=/")), None);
    }
}
