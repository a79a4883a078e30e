//! What a door hands back: status, header lines and body, complete but for what only the door knows (its timing).

use std::borrow::Cow;

use bytes::Bytes;

use super::headers::{passes_down, shares_beyond};
use super::source::SourceAnswer;

/// A header line: its name in lower case, and its value.
///
/// ```
/// use cloakroom::session::{Header, SourceAnswer};
///
/// let line: Header = ("content-type".into(), "application/json".into());
/// let answer = SourceAnswer { status: 200, headers: vec![line], body: "{}".into() };
/// assert_eq!(answer.header("Content-Type"), Some(&b"application/json"[..]));
/// ```
pub type Header = (Bytes, Bytes);

/// Where an answer comes from.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::StoreAlone, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// // Nobody has asked for this one, so nobody knows it.
/// let LookUp::Answer(answer) = sessions.look_up(&sessions.tokens([]), hands.now()) else { panic!() };
/// assert_eq!(answer.origin, Origin::Nothing);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A stored answer.
    Cache,
    /// The source, for this request or for one that was under way.
    Source,
    /// The last good answer, because the source failed.
    Stale,
    /// A sign-out: the token shows nothing any more.
    Fence,
    /// Nothing is known and nobody is to be asked.
    Nothing,
    /// The source failed.
    Failure,
}

/// An answer, ready to be written.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// # let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// # sessions.complete(fill, Outcome::Answered(SourceAnswer::new(200, r#"{"user":{"id":"7","name":"alice"}}"#)), hands.now());
/// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!("it was stored") };
/// assert_eq!((answer.status, answer.origin), (200, Origin::Cache));
/// assert_eq!(&answer.body[..], br#"{"user":{"id":"7","name":"alice"}}"#);
/// assert_eq!(answer.header("x-session-source"), Some(&b"cache"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header lines in order, `x-session-source` and `cache-status` among them; no framing, no hop-by-hop.
    pub headers: Vec<Header>,
    /// The body's bytes.
    pub body: Bytes,
    /// Where it comes from.
    pub origin: Origin,
}

/// What every session answer says to caches on its way.
pub(super) const PRIVATE: &str = "private, no-cache, no-store";

/// The header lines of a session answer made here, which are NextAuth's own.
pub(super) const PLAIN: [(&str, &str); 4] =
    [("cache-control", PRIVATE), ("content-type", "application/json"), ("expires", "0"), ("pragma", "no-cache")];

impl Answer {
    /// The first header line of this name.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// # let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// # sessions.complete(fill, Outcome::Answered(SourceAnswer::new(200, r#"{"user":{"id":"7","name":"alice"}}"#)), hands.now());
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(answer.header("Cache-Control"), Some(&b"private, no-cache, no-store"[..]));
    /// assert_eq!(answer.header("etag"), None);
    /// ```
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        super::source::header(&self.headers, name)
    }

    /// The value of `Cache-Status`.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// # let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// # sessions.complete(fill, Outcome::Answered(SourceAnswer::new(200, r#"{"user":{"id":"7","name":"alice"}}"#)), hands.now());
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(answer.cache_status(), "cloakroom; hit; ttl=5");
    /// ```
    pub fn cache_status(&self) -> &str {
        self.header("cache-status").and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// A session answer made here, not yet marked.
    pub(super) fn plain(status: u16, body: impl Into<Bytes>, origin: Origin) -> Answer {
        let mut headers = Vec::with_capacity(PLAIN.len() + 4);
        headers.extend(PLAIN.map(|(name, value)| line(name, value.as_bytes())));
        Answer { status, headers, body: body.into(), origin }
    }

    /// The source's answer as its asker gets it: every header that is meant for it, kept private.
    pub(super) fn of(answer: SourceAnswer, origin: Origin) -> Answer {
        let mut headers = answer.headers;
        keep(&mut headers, |name, _| passes_down(name) && !shares_beyond(name) && name != b"x-session-source");
        make_private(&mut headers);
        Answer { status: answer.status, headers, body: answer.body, origin }
    }

    /// Adds where it comes from; `source` is what the source is called.
    pub(super) fn marked(mut self, source: &'static str, cache_status: impl Into<Cow<'static, str>>) -> Answer {
        let from = match self.origin {
            Origin::Source | Origin::Failure => source,
            Origin::Cache | Origin::Stale | Origin::Fence | Origin::Nothing => "cache",
        };
        self.headers.push(line("x-session-source", from.as_bytes()));
        let value = match cache_status.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        self.headers.push((Bytes::from_static(b"cache-status"), value));
        self
    }

    /// Takes out the `set-cookie` lines for which `out` says so.
    pub(super) fn strip_cookies(&mut self, out: impl Fn(&[u8]) -> bool) {
        keep(&mut self.headers, |name, value| name != b"set-cookie" || !out(value));
    }

    /// Adds a `set-cookie` line.
    pub(super) fn set_cookie(&mut self, value: Bytes) {
        self.headers.push((Bytes::from_static(b"set-cookie"), value));
    }

    /// Tells clients of a failure to come back later, if the source has not said when.
    pub(super) fn retry_after(&mut self) {
        if self.header("retry-after").is_none() {
            self.headers.push(line("retry-after", b"1"));
        }
    }
}

/// A header line of our own.
pub(super) fn line(name: &'static str, value: &'static [u8]) -> Header {
    (Bytes::from_static(name.as_bytes()), Bytes::from_static(value))
}

fn keep(headers: &mut Vec<Header>, mut keeps: impl FnMut(&[u8], &[u8]) -> bool) {
    headers.retain(|(name, value)| keeps(name, value));
}

/// Makes header lines say `private` and `no-store`, whatever the app says.
pub(super) fn make_private(headers: &mut Vec<Header>) {
    let says = |word: &[u8]| {
        let lines = headers.iter().filter(|(name, _)| name.as_ref() == b"cache-control");
        let mut parts = lines.flat_map(|(_, value)| value.split(|byte| *byte == b','));
        parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
    };
    if !(says(b"private") && says(b"no-store")) || says(b"public") {
        keep(headers, |name, _| name != b"cache-control");
        headers.push(line("cache-control", PRIVATE.as_bytes()));
    }
}
