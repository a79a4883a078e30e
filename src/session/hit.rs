//! A stored session where it lies: what most checks are answered with, borrowed, so that it costs no allocation.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::answer::{Answer, Origin, PLAIN};
use super::family::View;
use super::source::{Says, says};
use crate::clock::Ttl;

/// A stored session that a check is answered with.
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
/// let written = sessions.hit(&tokens, hands.now(), |hit| {
///     let mut head = format!("HTTP/1.1 {} OK\r\n", hit.status).into_bytes();
///     hit.lines(|name, value| head.extend_from_slice(&[name, b": ", value, b"\r\n"].concat()));
///     [head.as_slice(), b"\r\n", hit.body].concat()
/// });
/// assert!(written.is_some_and(|written| written.ends_with(br#""name":"alice"}}"#)));
/// ```
pub struct Hit<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body's bytes.
    pub body: &'a [u8],
    /// How much longer it is good; `None` if a command has set it without an end.
    ttl: Option<Ttl>,
    /// What the source said with it, if it is what a fill has stored.
    filled: Option<View<'a>>,
    /// The newest cookies of the family, for who came with an older one.
    newest: Option<View<'a>>,
}

impl<'a> Hit<'a> {
    /// What a stored body is to one who has this `key`: what was filled comes with its header lines, what a command
    /// has set without. `None` if it is no session.
    pub(super) fn of(record: Option<View<'a>>, key: &[u8], body: &'a [u8], ttl: Option<Ttl>) -> Option<Hit<'a>> {
        let filled = record.filter(|record| record.body == body);
        if filled.is_none() && !matches!(says(body), Says::SignedIn(_)) {
            return None;
        }
        let newest = record.filter(|record| record.is_superseded(key));
        Some(Hit { status: filled.map_or(200, |record| record.status), body, ttl, filled, newest })
    }

    /// Every header line in turn, names in lower case; no framing, no hop-by-hop.
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
    /// let mut names = Vec::new();
    /// sessions.hit(&tokens, hands.now(), |hit| hit.lines(|name, _| names.push(name.to_vec())));
    /// assert!(names.contains(&b"cache-status".to_vec()) && !names.contains(&b"content-length".to_vec()));
    /// ```
    pub fn lines(&self, mut line: impl FnMut(&[u8], &[u8])) {
        match self.filled {
            Some(record) => record.headers().for_each(|(name, value)| line(name, value)),
            None => PLAIN.iter().for_each(|(name, value)| line(name.as_bytes(), value.as_bytes())),
        }
        self.newest_cookies().for_each(|cookie| line(b"set-cookie", cookie));
        self.marks(line);
    }

    /// The `set-cookie` lines of the newest token, for who came with an older one.
    pub(super) fn newest_cookies(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.newest.into_iter().flat_map(|record| record.cookies())
    }

    /// The lines that say where it comes from.
    pub(super) fn marks(&self, mut line: impl FnMut(&[u8], &[u8])) {
        line(b"x-session-source", b"cache");
        let Some(ttl) = self.ttl else { return line(b"cache-status", b"cloakroom; hit") };
        let mut status: SmallVec<[u8; 64]> = SmallVec::from_slice(b"cloakroom; hit; ttl=");
        status.extend_from_slice(itoa::Buffer::new().format(ttl.0 / 1000).as_bytes());
        line(b"cache-status", &status);
    }

    /// The same as an answer of its own.
    pub(super) fn to_answer(&self) -> Answer {
        let mut block = BytesMut::with_capacity(512);
        let mut ends = Vec::with_capacity(12);
        self.lines(|name, value| {
            block.extend_from_slice(name);
            block.extend_from_slice(value);
            ends.push((name.len(), value.len()));
        });
        let mut block = block.freeze();
        let headers = ends.into_iter().map(|(name, value)| (block.split_to(name), block.split_to(value))).collect();
        Answer { status: self.status, headers, body: Bytes::copy_from_slice(self.body), origin: Origin::Cache }
    }
}

impl std::fmt::Debug for Hit<'_> {
    /// Nothing of what is in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hit").field("status", &self.status).field("len", &self.body.len()).finish_non_exhaustive()
    }
}
