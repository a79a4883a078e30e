//! What a proxy is told that asks who is signed in: a status, and on 200 the claims of the session as header lines.
//!
//! The session is found as for any check; here its answer is turned into one for a proxy. What is made of a session (its
//! claims, and the session signed) is kept as a *badge* beside the family's record, with the body that it was made of.
//! It is shown only while that very body is what a check would be answered with, so whatever ends a session ends it too.

use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use smallvec::SmallVec;

use super::answer::{Answer, Header, Origin, PRIVATE, line};
use super::cache::{Core, NO_COOKIE, SessionCache};
use super::cookie::{Seen, Tokens};
use super::counters::add;
use super::family::{Reader, View, badge_key, put};
use super::hit::Hit;
use super::service::Service;
use super::source::Says;
use crate::clock::{Millis, Ttl};
use crate::config::ClaimHeader;
use crate::store::{Look, NameBuf};

/// How long a signed session is good at most: it is for the request that it came with.
const SIGNED_FOR: Ttl = Ttl::seconds(60);

/// How long a badge is shown, so that a signature that is handed out is still good for half its time.
const BADGE_FOR: Ttl = Ttl::seconds(30);

/// Bytes of a header's value. Longer claims are left out, as half an identity would be somebody else's.
const VALUE_MAX: usize = 2048;

/// Bytes of a session that are signed with it: with its cookie the head must fit into a proxy's buffer.
const SESSION_MAX: usize = 4096;

/// Values of a claim that is a list.
const LIST_MAX: usize = 256;

/// The header lines that there always are, if the session has what they tell.
const OWN: [(&str, &[&[&str]]); 4] = [
    ("x-session-user-id", ID),
    ("x-session-email", &[&["user", "email"]]),
    ("x-session-name", &[&["user", "name"]]),
    ("x-session-expires", &[&["expires"]]),
];

/// Where sessions have who it is.
const ID: &[&[&str]] = &[&["user", "id"], &["user", "sub"]];

/// A badge as it lies in the store. Nearly all fit without an allocation.
type Block = SmallVec<[u8; 2048]>;

/// A session that a proxy is told of, where it lies.
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
/// # let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// # sessions.verdict(&tokens, answer, hands.now());
/// let mut id = Vec::new();
/// sessions.verified_hit(&tokens, hands.now(), |verified| {
///     verified.lines(|name, value| if name == b"x-session-user-id" { id = value.to_vec() });
/// });
/// assert_eq!(id, b"7");
/// ```
pub struct Verified<'a> {
    /// The badge's lines.
    lines: Reader<'a>,
    hit: &'a Hit<'a>,
}

impl Verified<'_> {
    /// Every header line in turn, names in lower case. The status is 200 and there is no body.
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
    /// # let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// # sessions.verdict(&tokens, answer, hands.now());
    /// let mut names = Vec::new();
    /// sessions.verified_hit(&tokens, hands.now(), |verified| verified.lines(|name, _| names.push(name.to_vec())));
    /// assert!(names.contains(&b"x-session-user-id".to_vec()));
    /// ```
    pub fn lines(&self, mut line: impl FnMut(&[u8], &[u8])) {
        line(b"cache-control", PRIVATE.as_bytes());
        let mut from = self.lines;
        while let (Some(name), Some(value)) = (from.bytes(), from.bytes()) {
            line(name, value);
        }
        if let Some(cookie) = only(self.hit.newest_cookies()) {
            line(b"set-cookie", cookie);
        }
        self.hit.marks(line);
    }
}

/// What a session's answer says to a proxy.
enum Verdict {
    /// Somebody is signed in, until this Unix time in milliseconds if it is told.
    In(Option<u64>),
    Out,
    /// Somebody is, and has to do more before it counts.
    Barred,
    /// The source failed, and nothing can be said.
    Unknown,
}

impl SessionCache {
    /// Names who signs sessions: given claims as JSON and the Unix time in seconds, it gives a JWS in its compact form. It
    /// is called while no other worker is alone with the stores, and must not wait. The first one stays.
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
    /// sessions.sign_with(|_claims, _unix| Some("header.claims.signature".to_owned()));
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// let verdict = sessions.verdict(&tokens, answer, hands.now());
    /// assert_eq!(verdict.header("x-session"), Some(&b"header.claims.signature"[..]));
    /// ```
    pub fn sign_with(&self, signer: impl Fn(&[u8], u64) -> Option<String> + Send + Sync + 'static) {
        drop(self.core.signer.set(Box::new(signer)));
    }

    /// Has everything that was signed so far signed anew when it is asked for.
    #[cfg_attr(doc, doc(hidden))]
    pub fn sign_anew(&self) {
        self.core.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows what a proxy is told where it lies, if it has been made already, without allocating. If not, look the session
    /// up and have its answer turned into one for the proxy by [`verdict`](SessionCache::verdict).
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
    /// assert!(sessions.verified_hit(&tokens, hands.now(), |_| ()).is_none(), "not made yet");
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// sessions.verdict(&tokens, answer, hands.now());
    /// assert!(sessions.verified_hit(&tokens, hands.now(), |_| ()).is_some());
    /// ```
    pub fn verified_hit<R>(&self, tokens: &Tokens, now: Millis, f: impl FnOnce(&Verified<'_>) -> R) -> Option<R> {
        let core = &self.core;
        let Seen::One { key, .. } = &tokens.seen else { return None };
        let badge = core.badge(&core.answers.canonical(key, now), now)?;
        let (body, lines) = core.read_badge(&badge)?;
        let (look, _) = core.found(key, now, |bytes, ttl, block| {
            let hit = (bytes == body).then(|| Hit::of(block.and_then(View::read), key, bytes, ttl))??;
            Some(f(&Verified { lines, hit: &hit }))
        });
        let Look::Live(Some(Some(shown))) = look else { return None };
        core.count_hit(key);
        add(&core.counters.verified);
        Some(shown)
    }

    /// The answer to a check that came without a session cookie.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let nobody = sessions.tokens([]);
    /// let verdict = sessions.verdict(&nobody, sessions.nobody(&nobody), hands.now());
    /// assert_eq!(verdict.status, 401);
    /// ```
    pub fn nobody(&self, tokens: &Tokens) -> Answer {
        self.core.nothing(tokens, NO_COOKIE)
    }

    /// Turns the answer to a session check into one for a proxy: 200 with who it is, 401 if nobody is signed in, 403 if
    /// somebody is who must show a second factor, 503 if the source failed and nothing earlier may be shown. The body is empty.
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
    /// let verdict = sessions.verdict(&tokens, answer, hands.now());
    /// assert_eq!((verdict.status, verdict.header("x-session-user-id")), (200, Some(&b"7"[..])));
    /// ```
    pub fn verdict(&self, tokens: &Tokens, answer: Answer, now: Millis) -> Answer {
        let core = &self.core;
        let mut headers = vec![line("cache-control", PRIVATE.as_bytes())];
        let status = match core.judge(&answer, now) {
            Verdict::In(expires) => {
                add(&core.counters.verified);
                headers.extend(core.told(tokens, &answer, expires, now));
                200
            }
            Verdict::Out => {
                add(&core.counters.verify_refused);
                401
            }
            Verdict::Barred => {
                add(&core.counters.verify_refused);
                403
            }
            Verdict::Unknown => {
                add(&core.counters.verify_unknown);
                let later = || Bytes::from_static(b"1");
                let after = answer.header("retry-after").map_or_else(later, Bytes::copy_from_slice);
                headers.push((Bytes::from_static(b"retry-after"), after));
                503
            }
        };
        let named = |wanted: &'static [u8]| answer.headers.iter().filter(move |(name, _)| name.as_ref() == wanted);
        let of_session = |line: &&Header| core.names.is_session(&line.1);
        headers.extend(only(named(b"set-cookie").filter(of_session)).cloned());
        headers.extend(named(b"x-session-source").cloned());
        headers.extend(named(b"cache-status").cloned());
        Answer { status, headers, body: Bytes::new(), origin: answer.origin }
    }
}

/// The line of a rolled token. One in chunks takes several lines, of which most proxies hand on the first alone: half a
/// token is none, and the one that the browser has is still good.
fn only<T>(mut lines: impl Iterator<Item = T>) -> Option<T> {
    let first = lines.next();
    if lines.next().is_some() { None } else { first }
}

impl Core {
    fn judge(&self, answer: &Answer, now: Millis) -> Verdict {
        match (answer.origin, answer.status) {
            (Origin::Failure, _) => Verdict::Unknown,
            (Origin::Fence | Origin::Nothing, _) => Verdict::Out,
            (Origin::Cache | Origin::Source | Origin::Stale, status) => {
                match self.service.hears(status, &answer.body) {
                    Says::SignedIn(expires) if expires.is_none_or(|at| self.answers.clock().to_wall(now) < at) => {
                        Verdict::In(expires)
                    }
                    Says::SignedIn(_) | Says::SignedOut => Verdict::Out,
                    Says::Barred => Verdict::Barred,
                    Says::Nonsense if matches!(status, 401 | 403) => Verdict::Out,
                    Says::Nonsense => Verdict::Unknown,
                }
            }
        }
    }

    /// What a proxy is told of a session, which is made once and kept.
    fn told(&self, tokens: &Tokens, answer: &Answer, expires: Option<u64>, now: Millis) -> Vec<Header> {
        let family = tokens.key().map(|key| self.answers.canonical(key, now));
        if let Some(badge) = family.as_ref().and_then(|family| self.badge(family, now))
            && let Some((body, mut lines)) = self.read_badge(&badge)
            && body == answer.body
        {
            let next = || Some((Bytes::copy_from_slice(lines.bytes()?), Bytes::copy_from_slice(lines.bytes()?)));
            return std::iter::from_fn(next).collect();
        }
        // Read first: a change meanwhile has it made anew.
        let changes = self.changes.load(Ordering::Relaxed);
        let lines = self.make(&answer.body, expires, now);
        if let Some(family) = family {
            let until = expires.map_or(Millis::NEVER, |unix| self.answers.clock().from_wall(unix));
            self.keep_badge(&family, &answer.body, &lines, changes, until.min(now + BADGE_FOR), now);
        }
        lines
    }

    fn make(&self, body: &Bytes, expires: Option<u64>, now: Millis) -> Vec<Header> {
        // Deeper than is read here no claim lies; who is signed in is then told by the status alone.
        let Ok(session) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
        let settings = self.settings();
        let mut lines: Vec<Header> = Vec::new();
        let mut tell = |name: &str, claim: Option<&Value>| {
            let line = claim.and_then(header_value).map(|value| (Bytes::copy_from_slice(name.as_bytes()), value));
            lines.extend(line);
        };
        let others = settings.headers.lines();
        for (name, paths) in OWN {
            // What a setting says of a name counts, also where it finds nothing.
            if others.iter().all(|other| other.name != name) {
                tell(name, first(&self.service, &session, paths));
            }
        }
        for ClaimHeader { claims, name } in others {
            tell(name, claims.iter().find_map(|path| self.service.claim(&session, path)));
        }
        if settings.signs
            && let Some(signer) = self.signer.get()
        {
            let issued = self.answers.clock().to_wall(now) / 1000;
            let until = (issued + SIGNED_FOR.0 / 1000).min(expires.map_or(u64::MAX, |at| at / 1000));
            let signed = (issued < until)
                .then(|| signer(&claims(&self.service, &session, body, issued, until), issued))
                .flatten();
            if let Some(signed) = signed {
                add(&self.counters.signed);
                lines.push((Bytes::from_static(b"x-session"), signed.into()));
            }
        }
        lines
    }

    fn badge(&self, family: &NameBuf, now: Millis) -> Option<Block> {
        let copy = |value: crate::store::Value<'_>| value.string().map(Block::from_slice).ok();
        self.families.peek(&badge_key(family), now, copy)?
    }

    /// The body that a badge was made of, and its lines; nothing if it was made by other settings.
    fn read_badge<'b>(&self, badge: &'b [u8]) -> Option<(&'b [u8], Reader<'b>)> {
        let mut from = Reader(badge);
        let current = from.u64()? == self.changes.load(Ordering::Relaxed);
        let body = from.bytes()?;
        current.then_some((body, from))
    }

    fn keep_badge(&self, family: &NameBuf, body: &[u8], lines: &[Header], changes: u64, until: Millis, now: Millis) {
        let mut block = BytesMut::with_capacity(1024 + body.len());
        block.put_u64(changes);
        put(&mut block, body);
        for (name, value) in lines {
            put(&mut block, name);
            put(&mut block, value);
        }
        // The key is in no namespace, so nothing can refuse it.
        let kept = self.families.write(&badge_key(family), &block, now, |slot, fresh| slot.put(fresh.until(until)));
        debug_assert!(kept.is_ok());
    }
}

/// The claim at a path: members from the outside in.
pub(super) fn find<'v>(session: &'v Value, path: &[impl AsRef<str>]) -> Option<&'v Value> {
    let claim = path.iter().try_fold(session, |value, name| value.get(name.as_ref()))?;
    let says_something = match claim {
        Value::Null | Value::Object(_) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    says_something.then_some(claim)
}

fn first<'v>(service: &Service, session: &'v Value, paths: &[&[&str]]) -> Option<&'v Value> {
    paths.iter().find_map(|path| service.claim(session, path))
}

/// A claim as a header's value: texts, whole numbers, yes and no, and lists of them with commas between. What is no plain
/// letter is `%` and two digits, as in URLs, so that neither a line nor a list can be made of what somebody is called.
fn header_value(claim: &Value) -> Option<Bytes> {
    let mut out = Vec::new();
    match claim {
        Value::Array(list) if list.len() <= LIST_MAX => {
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push(&mut out, &scalar(value)?, b",%");
            }
        }
        claim => push(&mut out, &scalar(claim)?, b"%"),
    }
    (!out.is_empty() && out.len() <= VALUE_MAX).then(|| out.into())
}

fn scalar(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(yes) => Some(if *yes { "true" } else { "false" }.into()),
        // Others have been rounded, and two users may have become one.
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string().into()),
        _ => None,
    }
}

fn push(out: &mut Vec<u8>, text: &str, special: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        // A blank at either end would be taken for no part of the value.
        let plain = byte.is_ascii_graphic() || (byte == b' ' && at != 0 && at != last);
        if plain && !special.contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// The claims that are signed, as JSON: who it is, for how long, and the session as it is, if it is not too large.
fn claims(service: &Service, session: &Value, body: &[u8], issued: u64, until: u64) -> Vec<u8> {
    let mut out = format!(r#"{{"iss":"cloakroom","iat":{issued},"exp":{until}"#).into_bytes();
    let told: [(&str, &[&[&str]]); 3] = [("sub", ID), ("name", &[&["user", "name"]]), ("email", &[&["user", "email"]])];
    for (name, paths) in told {
        if let Some(text) = first(service, session, paths).and_then(scalar) {
            out.extend_from_slice(format!(r#","{name}":{}"#, Value::from(text)).as_bytes());
        }
    }
    if body.len() <= SESSION_MAX {
        out.extend_from_slice(b",\"session\":");
        out.extend_from_slice(body);
    }
    out.push(b'}');
    out
}

impl std::fmt::Debug for Verified<'_> {
    /// Nothing of what is in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").field("hit", &self.hit).finish_non_exhaustive()
    }
}
