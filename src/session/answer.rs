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
#[non_exhaustive]
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
pub const PRIVATE: &str = "private, no-cache, no-store";

/// The header lines of a session answer made here, which are NextAuth's own.
pub(super) const PLAIN: [(&str, &str); 4] =
    [("cache-control", PRIVATE), ("content-type", "application/json"), ("expires", "0"), ("pragma", "no-cache")];

/// Header lines that are ours to write, whatever the source says: the message is a new one (RFC 9110, 6.6.1; RFC 9111, 5.1),
/// which nobody has kept yet, and what took how long is told of this request.
const OURS: [&str; 4] = ["age", "date", "x-response-time", "x-session-source"];

/// Header lines of one exchange with the source (RFC 9110, 11.6.3 and 11.7.3; RFC 9211; Server Timing): told to who waited for
/// it, and to nobody again.
const OF_ONE_EXCHANGE: [&str; 4] =
    ["authentication-info", "cache-status", "proxy-authentication-info", "server-timing"];

fn among(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether a header line may be told again with a stored answer. Cookies are one asker's.
pub(super) fn may_be_told_again(name: &[u8]) -> bool {
    name != b"set-cookie" && !among(&OF_ONE_EXCHANGE, name)
}

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

    /// The value of our own `Cache-Status`, which is behind those of caches that the source is behind.
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
        let own = self.headers.iter().rev().find(|(name, _)| name.as_ref() == b"cache-status");
        own.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or_default()
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
        keep(&mut headers, |name, _| passes_down(name) && !speaks_to_caches(name) && !among(&OURS, name));
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
    let lines = headers.iter().filter(|(name, _)| name.as_ref() == b"cache-control");
    if !is_private(lines.map(|(_, value)| value.as_ref())) {
        keep(headers, |name, _| name != b"cache-control");
        headers.push(line("cache-control", PRIVATE.as_bytes()));
    }
}

/// Whether the values of an answer's `Cache-Control` lines keep it from everybody but its asker; else [`PRIVATE`] is due.
pub fn is_private<'v>(values: impl Iterator<Item = &'v [u8]>) -> bool {
    let (mut is_private, mut is_kept, mut is_public) = (false, true, false);
    for word in values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
        is_private |= word.eq_ignore_ascii_case(b"private");
        is_kept &= !word.eq_ignore_ascii_case(b"no-store");
        is_public |= word.eq_ignore_ascii_case(b"public");
    }
    is_private && !is_kept && !is_public
}

/// Whether a header line of an answer is for caches on its way alone, and says what `cache-control` then cannot take back.
pub fn speaks_to_caches(name: &[u8]) -> bool {
    shares_beyond(name)
}
