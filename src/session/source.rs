//! What stands behind the cache, as the engine sees it: an answer or a failure. Who carries it is nobody's business here.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::answer::Header;
use super::nextauth::NextAuth;
use super::time::unix_millis;

/// What is asked when the store knows nothing of a token.
///
/// ```
/// use cloakroom::session::{Settings, Source};
///
/// // The default: an app keeps its sessions in the store.
/// assert_eq!(Settings::default().source, Source::StoreAlone);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: an app writes its sessions into the store, and what is not there is no session.
    StoreAlone,
    /// An HTTP server that runs NextAuth or Auth.js, or answers as they do.
    Upstream,
    /// Nobody either: the token says it all, to who has the application's secret.
    NextAuth(NextAuth),
}

/// A source without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    StoreAlone,
    Upstream,
    NextAuth,
}

impl Source {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Source::StoreAlone => Kind::StoreAlone,
            Source::Upstream => Kind::Upstream,
            Source::NextAuth(_) => Kind::NextAuth,
        }
    }

    /// The secrets that tokens are decoded with, if they are.
    ///
    /// ```
    /// # use cloakroom::session::Source;
    /// assert_eq!(Source::Upstream.secrets(), None);
    /// ```
    pub fn secrets(&self) -> Option<&super::Secrets> {
        match self {
            Source::NextAuth(source) => Some(source.secrets()),
            Source::StoreAlone | Source::Upstream => None,
        }
    }
}

/// An answer of the source, whole.
///
/// ```
/// use cloakroom::session::SourceAnswer;
///
/// let answer = SourceAnswer::new(200, r#"{"user":{}}"#)
///     .with("content-type", "application/json")
///     .with("set-cookie", "next-auth.session-token=def; Path=/; HttpOnly");
/// assert_eq!(answer.headers.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Header lines in order, names in lower case, each `set-cookie` a line of its own.
    pub headers: Vec<Header>,
    /// The body's bytes.
    pub body: Bytes,
}

/// Why the source gave no answer.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// let answer = sessions.complete(fill, Outcome::Failed(Failure::Timeout), hands.now());
/// assert_eq!(answer.cache_status(), "cloakroom; fwd=miss; detail=timeout");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, no such host, no route.
    Refused,
    /// It took longer than it may.
    Timeout,
    /// The connection broke in the middle.
    Reset,
    /// The head or the body is larger than is taken.
    TooLarge,
    /// What came is not HTTP.
    Malformed,
    /// The fill was dropped before it was completed.
    Abandoned,
}

/// How a call to the source ended.
///
/// ```
/// use cloakroom::session::{Outcome, SourceAnswer};
///
/// // A 500 is an answer too; what is made of it is not the caller's affair.
/// let outcome = Outcome::Answered(SourceAnswer::new(500, "oh no"));
/// assert!(matches!(outcome, Outcome::Answered(answer) if answer.is_failure()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, whatever it says.
    Answered(SourceAnswer),
    /// With none.
    Failed(Failure),
}

impl Failure {
    /// The word for it in `Cache-Status` and logs.
    ///
    /// ```
    /// # use cloakroom::session::{Failure, SourceAnswer};
    /// assert_eq!(Failure::TooLarge.word(), "too-large");
    /// ```
    pub fn word(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Timeout => "timeout",
            Failure::Reset => "reset",
            Failure::TooLarge => "too-large",
            Failure::Malformed => "malformed",
            Failure::Abandoned => "abandoned",
        }
    }

    /// The status of a gateway that tells of it.
    ///
    /// ```
    /// # use cloakroom::session::{Failure, SourceAnswer};
    /// assert_eq!(Failure::Timeout.status(), 504);
    /// ```
    pub fn status(self) -> u16 {
        match self {
            Failure::Timeout => 504,
            Failure::Refused | Failure::Abandoned => 503,
            Failure::Reset | Failure::TooLarge | Failure::Malformed => 502,
        }
    }
}

impl SourceAnswer {
    /// An answer without headers.
    ///
    /// ```
    /// # use cloakroom::session::{Failure, SourceAnswer};
    /// assert_eq!(SourceAnswer::new(200, "{}").body, "{}");
    /// ```
    pub fn new(status: u16, body: impl Into<Bytes>) -> SourceAnswer {
        SourceAnswer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with one more header line. The name is to be given in lower case.
    ///
    /// ```
    /// # use cloakroom::session::{Failure, SourceAnswer};
    /// let answer = SourceAnswer::new(429, "").with("retry-after", "7");
    /// assert_eq!(answer.header("retry-after"), Some(&b"7"[..]));
    /// ```
    pub fn with(mut self, name: &'static str, value: impl Into<Bytes>) -> SourceAnswer {
        self.headers.push((Bytes::from_static(name.as_bytes()), value.into()));
        self
    }

    /// The first header line of this name.
    ///
    /// ```
    /// # use cloakroom::session::SourceAnswer;
    /// let answer = SourceAnswer::new(200, "{}").with("content-type", "application/json");
    /// assert_eq!(answer.header("Content-Type"), Some(&b"application/json"[..]));
    /// ```
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        header(&self.headers, name)
    }

    /// Whether the source is in trouble, so that its answer says nothing about the user.
    ///
    /// ```
    /// # use cloakroom::session::{Failure, SourceAnswer};
    /// assert!([429, 500, 503].map(|status| SourceAnswer::new(status, "")).iter().all(SourceAnswer::is_failure));
    /// assert!(!SourceAnswer::new(401, "").is_failure());
    /// ```
    pub fn is_failure(&self) -> bool {
        is_failure(self.status)
    }
}

/// Whether an answer of this status says that the source is in trouble, and nothing about the user.
pub(super) fn is_failure(status: u16) -> bool {
    status == 429 || status >= 500
}

/// The first header line of this name.
pub(super) fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| &value[..])
}

/// What a body says about the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Somebody is signed in, until this Unix time in milliseconds if it is told.
    SignedIn(Option<u64>),
    /// `{}` or `null`.
    SignedOut,
    /// Somebody who has to do more before it is a session, such as show a second factor.
    Barred,
    /// No session at all: HTML, half an object, a number.
    Nonsense,
}

/// Where a body tells when its session ends: from the outside in, the names that the member may have.
pub(super) type Ending = &'static [&'static [&'static str]];

/// Where NextAuth tells it.
pub(super) const EXPIRES: Ending = &[&["expires"]];

/// Reads a body of NextAuth's; of any other all but the end.
pub(super) fn says(body: &[u8]) -> Says {
    says_by(body, EXPIRES)
}

/// Reads a body. Sessions are JSON objects, of which only the one word is looked at: it costs no allocation. What stands in
/// the others has to be JSON, but may be a number that no float holds, or as deep as it likes.
pub(super) fn says_by(body: &[u8], ending: Ending) -> Says {
    // What is passed over is not looked at letter by letter.
    let Ok(text) = std::str::from_utf8(body) else { return Says::Nonsense };
    let mut reader = serde_json::Deserializer::from_str(text);
    let says = Session(ending).deserialize(&mut reader);
    says.and_then(|says| reader.end().map(|()| says)).unwrap_or(Says::Nonsense)
}

/// Reads a session.
struct Session(Ending);

impl<'de> DeserializeSeed<'de> for Session {
    type Value = Says;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Says, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Session {
    type Value = Says;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session")
    }

    fn visit_unit<E>(self) -> Result<Says, E> {
        Ok(Says::SignedOut)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Says, M::Error> {
        let Some((names, below)) = self.0.split_first() else { return Ok(Says::Nonsense) };
        let mut says = Says::SignedOut;
        while let Some(is_ending) = map.next_key_seed(Among(names))? {
            says = match (is_ending, says) {
                (true, Says::SignedIn(known)) if names.len() > 1 => {
                    Says::SignedIn(map.next_value_seed(Instant(below))?.or(known))
                }
                (true, _) => Says::SignedIn(map.next_value_seed(Instant(below))?),
                (false, Says::SignedIn(expires)) => map.next_value::<IgnoredAny>().map(|_| Says::SignedIn(expires))?,
                (false, _) => map.next_value::<IgnoredAny>().map(|_| Says::SignedIn(None))?,
            };
        }
        Ok(says)
    }
}

/// Whether a member has one of these names.
struct Among<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Among<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Among<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0.contains(&name))
    }
}

/// The instant that a value tells, itself or in a member; nothing of any other value.
struct Instant(Ending);

impl<'de> DeserializeSeed<'de> for Instant {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Option<u64>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Instant {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<u64>, E> {
        Ok(if self.0.is_empty() { unix_millis(text) } else { None })
    }

    fn visit_unit<E>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Option<u64>, S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Option<u64>, M::Error> {
        let (names, below) = self.0.split_first().map_or((&[][..], &[][..]), |(names, below)| (*names, below));
        let mut instant = None;
        while let Some(is_it) = map.next_key_seed(Among(names))? {
            if is_it {
                instant = map.next_value_seed(Instant(below))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_an_object_that_says_something() {
        assert_eq!(says(b"{}"), Says::SignedOut);
        assert_eq!(says(b" null\n"), Says::SignedOut);
        assert_eq!(says(br#"{"user":{"name":"alice"}}"#), Says::SignedIn(None));
        assert_eq!(says(br#"{"user":{},"expires":"1970-01-01T00:00:01Z"}"#), Says::SignedIn(Some(1000)));
        assert_eq!(says(br#"{"user":{},"expires":"never"}"#), Says::SignedIn(None));
        assert_eq!(says(br#"{"\u0065xpires":"1970-01-01T00:00:01Z","user":[{}],"expires":7}"#), Says::SignedIn(None));
        assert_eq!(says(br#"{"expires":{"a":[1.5,true,null]},"n":1e999}"#), Says::SignedIn(None));
        assert_eq!(says(br#"{"expires":[{}],"a":1,"expires":"1970-01-01T00:00:01Z"}"#), Says::SignedIn(Some(1000)));
        assert_eq!(says(b"{\"user\":\"\xff\"}"), Says::Nonsense);
        let deep = format!("{{\"user\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(says(deep.as_bytes()), Says::SignedIn(None));
        for body in ["", "<html>", "[]", "7", r#""text""#, r#"{"user""#, "{}{}", r#"{"user":{]}"#, "{\"a\":1}\0"] {
            assert_eq!(says(body.as_bytes()), Says::Nonsense, "{body}");
        }
    }

    #[test]
    fn the_end_is_where_the_service_has_it() {
        let nested: Ending = &[&["session"], &["expiresAt"]];
        let at = "1970-01-01T00:00:01Z";
        let body =
            format!(r#"{{"session":{{"id":[{{}}],"expiresAt":"{at}"}},"expiresAt":"x","user":{{"session":1}}}}"#);
        assert_eq!(says_by(body.as_bytes(), nested), Says::SignedIn(Some(1000)));
        for body in [r#"{"session":null}"#, r#"{"session":"1970-01-01T00:00:01Z"}"#, r#"{"session":{"a":1}}"#] {
            assert_eq!(says_by(body.as_bytes(), nested), Says::SignedIn(None), "{body}");
        }
        let either: Ending = &[&["expires", "expires_at"]];
        let body = format!(r#"{{"expires":"{at}","expires_at":1}}"#);
        assert_eq!(says_by(body.as_bytes(), either), Says::SignedIn(Some(1000)));
        assert_eq!(says_by(b"null", nested), Says::SignedOut);
        assert_eq!(says_by(b"{}", nested), Says::SignedOut);
    }
}
