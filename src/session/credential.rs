//! What a request shows who it is with, where that may be more than a cookie: a bearer, or a header of the service's own.
//!
//! What two servers may read differently is *unclear*, as it is with cookies: a request that shows two tokens goes past the
//! cache, and a fence on either of them holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use smallvec::SmallVec;

use super::cache::{PassWhy, SessionCache};
use super::claims::Claims;
use super::cookie::{Seen, Tokens, plain_value};
use super::flight::Fill;
use super::source::Kind;
use super::users::{User, id_of};

/// Whether a request may show who it is with by a header of this name, with any service. Who names such a header in
/// `Connection` would be looked up by what the source is not shown.
pub fn is_credential(name: &[u8]) -> bool {
    [&b"cookie"[..], b"authorization", b"x-session-token", b"x-session-cookie"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// A header line: its name in any case, and its value.
type Line<'a> = (&'a [u8], &'a [u8]);

/// Tokens in headers, as they came.
type Shown<'a> = SmallVec<[&'a [u8]; 2]>;

/// The values of the header lines of this name that say something.
fn values<'a>(lines: impl Iterator<Item = Line<'a>>, name: &'static [u8]) -> Shown<'a> {
    let lines = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
    lines.map(|(_, value)| value.trim_ascii()).filter(|value| !value.is_empty()).collect()
}

/// A line of a head that may show who a request is with.
fn shown_line(line: &[u8]) -> Option<Line<'_>> {
    const NAMES: [&[u8]; 4] = [b"cookie", b"authorization", b"x-session-token", b"x-session-cookie"];
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)).then_some((name, value))
}

/// The token of an `Authorization` header's value.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

impl SessionCache {
    /// Reads what a request shows who it is with, once: from all its header lines, names and values.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let settings = Settings { source: Source::Upstream, service: Service::supabase(), ..Settings::default() };
    /// let sessions = SessionCache::embedded(settings, hands.clone());
    /// let lines: [(&[u8], &[u8]); 2] = [(b"accept", b"*/*"), (b"authorization", b"Bearer a.b.c")];
    /// let tokens = sessions.credentials(|| lines.into_iter());
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
    /// ```
    pub fn credentials<'a, L: Iterator<Item = Line<'a>>>(&self, lines: impl Fn() -> L) -> Tokens {
        let service = &self.core.service;
        let cookies = lines().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie")).map(|(_, value)| value);
        let tokens = self.tokens(cookies);
        if service.is_next_auth() {
            return tokens;
        }
        let shown = self.shown(&lines);
        let also = service.cookie_header().map(|name| values(lines(), name)).unwrap_or_default();
        let is_plain = also.is_empty() && !self.shows_more(&lines);
        match (shown.tokens.as_slice(), is_plain || tokens.is_empty() && also.is_empty()) {
            ([], true) => tokens,
            ([token], true) if is_plain && !shown.is_unclear && (shown.is_first || tokens.is_empty()) => {
                self.token(token)
            }
            (_, _) => {
                let tokens = shown.tokens.iter().chain(&also).map(|token| self.token(token)).chain([tokens]);
                let (mut names, mut is_whole) = (Vec::new(), true);
                for tokens in tokens {
                    is_whole &= !matches!(tokens.seen, Seen::Unclear { is_whole: false, .. });
                    names.extend(tokens.names());
                }
                Tokens::by_header(Seen::Unclear { names, why: PassWhy::Ambiguous, is_whole })
            }
        }
    }

    /// Whether a request shows what goes up with a check, may count there, and is in no name here.
    fn shows_more<'a, L: Iterator<Item = Line<'a>>>(&self, lines: impl Fn() -> L) -> bool {
        let unread = self.core.service.unread().filter(|_| self.core.source == Kind::Upstream);
        unread.is_some_and(|name| !values(lines(), name).is_empty())
    }

    /// Reads what a person has pasted: lines of a request's head, what stands in `Cookie` or behind `Authorization`, or a
    /// token alone.
    #[cfg_attr(doc, doc(hidden))]
    pub fn pasted(&self, text: &[u8]) -> Tokens {
        let text = text.trim_ascii();
        let lines: SmallVec<[Line<'_>; 4]> = text.split(|byte| *byte == b'\n').filter_map(shown_line).collect();
        if !lines.is_empty() {
            return self.credentials(|| lines.iter().copied());
        }
        if bearer(text).is_some() {
            return self.credentials(|| std::iter::once((&b"authorization"[..], text)));
        }
        // The names of cookies tell nothing of a single token.
        match self.tokens([text]) {
            tokens if !tokens.is_empty() || text.is_empty() => tokens,
            _ if self.core.service.is_next_auth() => {
                self.tokens([&[self.cookie_name().as_bytes(), b"=", text].concat()[..]])
            }
            _ => self.token(text),
        }
    }

    /// The token that stands alone, as if a request had shown it in a header.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// sessions.store().put(b"auth:session:abc", br#"{"user":{"name":"alice"}}"#, Ttl::seconds(5))?;
    /// assert!(sessions.hit(&sessions.token(b"abc"), hands.now(), |_| ()).is_some());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn token(&self, token: &[u8]) -> Tokens {
        let names = &self.core.names;
        let decoded = plain_value(token);
        let why = if token.len() > names.max { PassWhy::TooLong } else { PassWhy::Ambiguous };
        // As it is sent and as some decode it: if either is bent, whoever reads it may mean another token.
        let is_whole = decoded.as_deref().is_some_and(|decoded| !names.is_bent(token) && !names.is_bent(decoded));
        let named = decoded.as_deref().unwrap_or(token);
        // What has a zero byte is no token, but may be what a user is called by.
        let name = (!named.contains(&0)).then(|| names.name(&self.core.answers, named));
        Tokens::by_header(match name {
            Some(key) if is_whole && token.len() <= names.max => Seen::One { key, side: super::cookie::Side::Plain },
            name => Seen::Unclear { names: name.into_iter().collect(), why, is_whole },
        })
    }

    fn shown<'a, L: Iterator<Item = Line<'a>>>(&self, lines: impl Fn() -> L) -> Headers<'a> {
        let service = &self.core.service;
        if let Some(name) = service.header() {
            let tokens = values(lines(), name);
            if !tokens.is_empty() {
                return Headers { tokens, is_first: true, is_unclear: false };
            }
        }
        let lines = values(lines(), b"authorization");
        let is_unclear = lines.len() > 1;
        let tokens = lines.into_iter().filter(|_| service.bearer).filter_map(bearer).collect();
        Headers { tokens, is_first: false, is_unclear }
    }

    /// Whom the bearer of a request names, if it is a JWT. It is true only if the service has taken that bearer.
    #[cfg_attr(doc, doc(hidden))]
    pub fn bearer_user<'a, L: Iterator<Item = Line<'a>>>(&self, lines: impl Fn() -> L) -> Option<User> {
        let shown = self.shown(lines);
        let [token] = shown.tokens.as_slice() else { return None };
        let id = payload(token)?.get("sub").and_then(id_of)?;
        Some(self.user_called(&id))
    }

    /// Tells a fill when the token of its request ends, if that is a JWT that says so: these are the request's lines.
    #[cfg_attr(doc, doc(hidden))]
    pub fn bound<'a, L: Iterator<Item = Line<'a>>>(&self, fill: &mut Fill, lines: impl Fn() -> L) {
        if fill.tokens.by_header
            && let [token] = self.shown(lines).tokens.as_slice()
        {
            fill.ends = end_of(token);
        }
    }
}

/// Tokens that came in headers.
struct Headers<'a> {
    tokens: Shown<'a>,
    /// Whether cookies do not count beside them.
    is_first: bool,
    /// Whether there are lines of which it is not known which one counts.
    is_unclear: bool,
}

/// What a JWT says, whoever has written it.
fn payload(token: &[u8]) -> Option<Claims> {
    let mut parts = token.split(|byte| *byte == b'.');
    let payload = parts.nth(1).filter(|_| parts.count() == 1)?;
    Claims::read(&BASE64URL.decode(payload).ok()?).ok()
}

/// When a JWT ends by its own words, in milliseconds of Unix time. Whether they are true is for the service to say: what
/// is made up here makes an answer's life shorter, and no longer.
fn end_of(token: &[u8]) -> Option<u64> {
    Some((payload(token)?.number("exp")? * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_told_from_other_schemes() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER  abc "), Some(&b"abc"[..]));
        for value in [&b"Bearer"[..], b"Bearer ", b"Basic abc", b"Bearerabc", b""] {
            assert_eq!(bearer(value), None);
        }
    }

    #[test]
    fn a_token_tells_its_end() {
        let token = |payload: &str| format!("e30.{}.c2ln", BASE64URL.encode(payload));
        assert_eq!(end_of(token(r#"{"sub":"7","exp":1700000000}"#).as_bytes()), Some(1_700_000_000_000));
        for other in [token("{}"), token(r#"{"exp":null}"#), token("x"), "a.b".to_owned(), "MP2YW".to_owned()] {
            assert_eq!(end_of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(end_of(format!("{}.x", token(r#"{"exp":1}"#)).as_bytes()), None);
    }
}
