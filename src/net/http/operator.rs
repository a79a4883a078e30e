//! What is for those who operate the server, and not for everybody whom a proxy lets through.
//!
//! With `admin-token` whoever shows the token is let in, from wherever. Without one only who is on this machine: the
//! connection comes from it, the host that was asked for is it, and no header says that somebody handed the request
//! on. Headers only ever take rights away here, so there is nothing to forge; but a proxy on this machine that adds none
//! and names the server by its loopback address cannot be told from an operator, and needs a token, or must not hand
//! `/metrics` on.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{AUTHORIZATION, FORWARDED, HOST, HeaderName, HeaderValue, VIA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Response, StatusCode};

use super::answer::{self, Out};
use super::{Caller, Visit};
use crate::engine::acl::same_secret;

/// What proxies add, beside whatever begins with [`X_FORWARDED`]. Each browser adds none of them.
const HANDED_ON: [HeaderName; 3] = [FORWARDED, VIA, HeaderName::from_static("x-real-ip")];

/// `-for`, `-host` and `-proto`, `-port`, `-server`, `-prefix`: some proxies add but one of them.
const X_FORWARDED: &str = "x-forwarded-";

impl Visit {
    /// The refusal of who is no operator.
    pub(super) fn refuse_stranger(&self, parts: &Parts) -> Option<Response<Out>> {
        let engine = &self.door.hall.engine;
        let token = engine.with_config(|config| config.admin_token.clone());
        if token.is_empty() {
            let line = "this is for this machine alone, and for nothing that came through a proxy: set admin-token to \
                        read it from elsewhere";
            return (!is_here(self.peer, &parts.headers)).then(|| answer::text(StatusCode::FORBIDDEN, line));
        }
        let given = parts.headers.get(AUTHORIZATION).and_then(|value| secret(value.as_bytes()));
        match self.denies(given.as_deref(), &token)? {
            Denied::Waits(seconds) => {
                let line = "too many wrong tokens from this address";
                return Some(answer::later(answer::text(StatusCode::TOO_MANY_REQUESTS, line), seconds));
            }
            Denied::Wrong => {}
        }
        let line = "the admin-token is due: as a bearer's, or as the password with any name";
        let mut response = answer::text(StatusCode::UNAUTHORIZED, line);
        for scheme in ["Bearer realm=\"cloakroom\"", "Basic realm=\"cloakroom\", charset=\"UTF-8\""] {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        Some(response)
    }

    /// Why a token that was given, or none, lets nobody in where another is due; nothing if it does.
    pub(super) fn denies(&self, given: Option<&[u8]>, token: &str) -> Option<Denied> {
        self.admits(given, &[token]).err()
    }

    /// Which of these tokens was given, by its place, or why nobody is let in. An empty one is nobody's.
    pub(super) fn admits(&self, given: Option<&[u8]>, tokens: &[&str]) -> Result<usize, Denied> {
        let engine = &self.door.hall.engine;
        let (ip, now) = (self.peer.addr.map(|addr| addr.ip()), self.door.now());
        let block = engine.metrics.block(self.door.worker);
        let given = given.ok_or(Denied::Wrong)?;
        if let Some(wait) = engine.guesses.wait(ip, now) {
            block.delayed_logins.add(1);
            return Err(Denied::Waits(wait.0.div_ceil(1000)));
        }
        let is_given = |token: &&str| !token.is_empty() && same_secret(given, token.as_bytes());
        if let Some(place) = tokens.iter().position(is_given) {
            return Ok(place);
        }
        block.auth_failures.add(1);
        engine.guesses.note(ip, now);
        Err(Denied::Wrong)
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Too many wrong tokens came from there; for how many seconds none is looked at.
    Waits(u64),
    /// The token is wrong, or there is none.
    Wrong,
}

/// The token behind `Bearer`, or the password behind `Basic`, which is how a browser asks a person for it.
pub(super) fn secret(value: &[u8]) -> Option<Vec<u8>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, given) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(given.to_vec());
    }
    let pair = scheme.eq_ignore_ascii_case(b"basic").then(|| BASE64_STANDARD.decode(given).ok())??;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Whether somebody on this machine asks for himself. The host is looked at because a page on another site can have a
/// browser on this machine ask whatever its own name leads to.
fn is_here(peer: Caller, headers: &HeaderMap) -> bool {
    peer.ip().is_loopback()
        && !headers.keys().any(|name| HANDED_ON.contains(name) || name.as_str().starts_with(X_FORWARDED))
        && headers.get_all(HOST).iter().all(|host| names_here(host.as_bytes()))
}

fn names_here(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn here(from: &str, lines: &[(&'static str, &str)]) -> bool {
        let from: SocketAddr = from.parse().expect("an address");
        let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")));
        is_here(from.into(), &lines.collect())
    }

    #[test]
    fn only_who_asks_for_himself_on_this_machine_is_here() {
        for host in ["localhost:8379", "127.0.0.1", "[::1]:8379", "LOCALHOST"] {
            assert!(here("127.0.0.1:4000", &[("host", host)]), "{host}");
        }
        assert!(here("[::ffff:127.0.0.1]:4000", &[("host", "localhost")]));
        assert!(!here("10.0.0.9:4000", &[("host", "localhost")]));
        for host in
            ["shop.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example:80", "127.0.0.1@evil"]
        {
            assert!(!here("127.0.0.1:4000", &[("host", host)]), "{host}");
        }
        let forwarded = ["for", "host", "proto", "port"].map(|what| format!("{X_FORWARDED}{what}"));
        let forwarded = forwarded.iter().map(|name| name.parse().expect("a name"));
        for name in HANDED_ON.into_iter().chain(forwarded) {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
            headers.insert(name.clone(), HeaderValue::from_static("127.0.0.1"));
            let local: SocketAddr = "127.0.0.1:4000".parse().expect("an address");
            assert!(!is_here(local.into(), &headers), "{name}");
        }
    }

    #[test]
    fn a_token_stands_behind_its_scheme() {
        let given = |value: &str| secret(value.as_bytes()).map(|given| String::from_utf8_lossy(&given).into_owned());
        assert_eq!(given("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(given("bearer  abc ").as_deref(), Some("abc"));
        // Somebody's name, and a password with a colon in it.
        assert_eq!(given("Basic bWU6YTpi").as_deref(), Some("a:b"));
        for value in ["Basic abc", "Basic !", "Basic YWJj", "Bear", "Digest abc", ""] {
            assert_eq!(given(value), None, "{value}");
        }
    }
}
