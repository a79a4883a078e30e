//! Who is signed in where: the families of each user, so that all of them can be ended at once.
//!
//! A family's record names its user, and beside the records lies a list for each user: the families, and until when each
//! record lives. It is written with every record, forgets what has died, and dies with the last. Users lie there hashed, as
//! tokens do. A user's own sign-out everywhere leaves a *cut*: what began before it for this user is not stored, and a
//! token that was made before it is taken for none, wherever it has been meanwhile. It is a fence under the user's
//! hashed name, so it is kept and restored as every sign-out is; its deadline tells when it was laid, and its mark what the
//! wall clock said then.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value as Json;

use super::answer::{Answer, Origin};
use super::cache::{Core, SessionCache};
use super::cookie::{Seen, Tokens};
use super::family::{Reader, USER, key_of, put};
use super::service::Service;
use super::signout::REVOKE_MAX;
use super::source::{Kind, Outcome};
use crate::clock::Millis;
use crate::store::{Cursor, Look, NameBuf};

/// Families of one user that are kept on the list: more devices than anybody has, and less than an app that signs the
/// same user in for each of its calls would fill memory with. Of more, those that die first are not on it.
const FAMILIES_MAX: usize = 512;

/// What is in front of a user's id before it is hashed. No cookie can have a zero byte, so no token is called like a user.
const MARK: &[u8] = b"\0user\0";

/// Stored sessions that are looked at in one step.
const STEP: usize = 512;

/// A user, by his hashed id: `user.id` of the session; else the token's `sub`, where tokens are decoded here; else
/// `user.email`.
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
/// let user = sessions.user(&tokens, hands.now());
/// assert_eq!(user, Some(sessions.user_called("7")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(NameBuf);

/// The id that a JSON value stands for: a text that is not empty, or a number.
pub(super) fn id_of(json: &str) -> Option<String> {
    serde_json::from_str(json).ok().and_then(|value| id(&value))
}

fn id(value: &Json) -> Option<String> {
    match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whose session a body is.
pub(super) fn owner(service: &Service, body: &[u8], subject: Option<&str>) -> Option<String> {
    let body: Json = serde_json::from_slice(body).ok()?;
    let field = |name: &str| service.claim(&body, &["user", name]).and_then(id);
    field("id").or_else(|| subject.map(str::to_owned)).or_else(|| field("email"))
}

/// The families on a list that live.
fn listed(block: &[u8], now: Millis) -> Vec<(Millis, NameBuf)> {
    let mut from = Reader(block);
    let mut families = Vec::new();
    while let (Some(until), Some(name)) = (from.u64(), from.bytes()) {
        if until > now.0 {
            families.push((Millis(until), NameBuf::from_slice(name)));
        }
    }
    families
}

fn written(families: &[(Millis, NameBuf)]) -> Bytes {
    let mut block = BytesMut::with_capacity(families.len() * 64);
    for (until, family) in families {
        block.put_u64(until.0);
        put(&mut block, family);
    }
    block.freeze()
}

/// A list with its times moved by so many milliseconds.
pub(super) fn shifted(block: &[u8], shift: i64) -> Option<Bytes> {
    let mut families = listed(block, Millis(0));
    families.iter_mut().for_each(|(until, _)| until.0 = until.0.saturating_add_signed(shift));
    Some(written(&families))
}

impl Core {
    /// The hashed name of a user.
    pub fn user_name(&self, id: &str) -> NameBuf {
        self.answers.secret_name(&self.settings().prefix, &[MARK, id.as_bytes()].concat())
    }

    /// Whose session an answer shows.
    pub fn user_in(&self, outcome: &Outcome, subject: Option<&str>) -> Option<NameBuf> {
        match outcome {
            Outcome::Answered(answer) if answer.status == 200 => {
                owner(&self.service, &answer.body, subject).map(|id| self.user_name(&id))
            }
            _ => None,
        }
    }

    /// Notes that a family is this user's, and how long its record lives.
    pub fn enlist(&self, user: &NameBuf, family: &[u8], until: Millis, now: Millis) {
        let mut families = self.list(user, now);
        families.retain(|(_, known)| known.as_slice() != family);
        if families.len() >= FAMILIES_MAX {
            let first = families.iter().enumerate().min_by_key(|(_, (until, _))| *until).map(|(at, _)| at);
            first.map(|at| families.swap_remove(at));
        }
        families.push((until, NameBuf::from_slice(family)));
        let last = families.iter().map(|(until, _)| *until).max().unwrap_or(until);
        // The key is in no namespace, so nothing can refuse it.
        let put = |slot: &mut crate::store::Slot<'_>, fresh: crate::store::Fresh<'_>| slot.put(fresh.until(last));
        let kept = self.families.write(&key_of(USER, user), &written(&families), now, put);
        debug_assert!(kept.is_ok());
    }

    fn list(&self, user: &NameBuf, now: Millis) -> Vec<(Millis, NameBuf)> {
        let read = |value: crate::store::Value<'_>| value.string().map(|block| listed(block, now)).ok();
        self.families.peek(&key_of(USER, user), now, read).flatten().unwrap_or_default()
    }

    /// When this user was last signed out everywhere.
    pub fn cut_off(&self, user: &[u8], now: Millis) -> Option<Millis> {
        match self.answers.look(user, now, |_| ()) {
            Look::Fenced(until) => Some(Millis(until.0.saturating_sub(REVOKE_MAX.0))),
            _ => None,
        }
    }

    /// The same in seconds of Unix time, as the wall clock went then: what it has been set to since changes nothing about
    /// which tokens had been made before.
    pub fn cut_second(&self, user: &[u8], now: Millis) -> Option<u64> {
        let fence = self.answers.fence_of(user, now)?;
        // One from a snapshot has no mark.
        let until = fence.mark.unwrap_or_else(|| self.answers.clock().to_wall(fence.until));
        Some(until.saturating_sub(REVOKE_MAX.0) / 1000)
    }

    fn lay_cut(&self, user: &NameBuf, now: Millis) {
        let until = now + REVOKE_MAX;
        let wall = self.answers.clock().to_wall(until);
        self.answers.fence_marked(user, wall, until, now);
        if let Some(witness) = self.witness.get()
            && let Some(name) = user.get(self.prefix_len..)
        {
            witness(&[name], wall);
        }
    }
}

impl SessionCache {
    /// Who has this id.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert_ne!(sessions.user_called("7"), sessions.user_called("8"));
    /// ```
    pub fn user_called(&self, id: &str) -> User {
        User(self.core.user_name(id))
    }

    /// Who is signed in with these tokens, as far as it is stored here.
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
    /// assert!(sessions.user(&tokens, hands.now()).is_some());
    /// assert!(sessions.user(&sessions.tokens([]), hands.now()).is_none());
    /// ```
    pub fn user(&self, tokens: &Tokens, now: Millis) -> Option<User> {
        let core = &self.core;
        let names = match &tokens.seen {
            Seen::One { key, .. } => vec![key],
            // The cookie that only HTTPS can set comes first.
            Seen::Both { key, plain, secure } => vec![key, secure, plain],
            Seen::None | Seen::Unclear { .. } => Vec::new(),
        };
        names.into_iter().find_map(|name| {
            let family = core.answers.canonical(name, now);
            let Look::Live(body) = core.answers.look(&family, now, |value| value.string().map(<[u8]>::to_vec)) else {
                return None;
            };
            let body = body.ok()?;
            // What a Redis client has written since is not what the record is of.
            let record =
                core.whole_record(&family, now).filter(|record| record.body == body && !record.user.is_empty());
            let user = record.map(|record| record.user);
            user.or_else(|| owner(&core.service, &body, None).map(|id| core.user_name(&id))).map(User)
        })
    }

    /// Whose session an answer shows, if it says so.
    #[cfg_attr(doc, doc(hidden))]
    pub fn user_of(&self, answer: &Answer) -> Option<User> {
        let says = matches!(answer.origin, Origin::Cache | Origin::Source) && answer.status == 200;
        let id = says.then(|| owner(&self.core.service, &answer.body, None)).flatten()?;
        Some(self.user_called(&id))
    }

    /// Begins to end every session of a user. Nothing of his that began before this is stored any more, and no token of his
    /// that was made before is taken where tokens are decoded here. [`Everywhere::step`] does the rest.
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
    /// let mut everywhere = sessions.end_everywhere(sessions.user_called("7"), hands.now());
    /// while !everywhere.step(hands.now()) {}
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(answer.origin, Origin::Fence);
    /// ```
    pub fn end_everywhere(&self, user: User, now: Millis) -> Everywhere {
        let alone = self.core.source == Kind::StoreAlone;
        if !alone {
            self.core.lay_cut(&user.0, now);
        }
        // After the cut, and under the lock that fills are stored under: what was stored before it is on the list.
        let list = {
            let _flights = self.core.steps.lock(&self.core.flights);
            self.core.list(&user.0, now)
        };
        let families = list.into_iter().map(|(_, family)| family).collect();
        Everywhere { cache: self.clone(), user, families, cursor: alone.then_some(Cursor::START), ended: 0 }
    }
}

/// A sign-out everywhere that was begun.
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
/// let mut everywhere = sessions.end_everywhere(sessions.user_called("7"), hands.now());
/// while !everywhere.step(hands.now()) {
///     std::thread::yield_now(); // others have their turn
/// }
/// assert_eq!(everywhere.ended(), 1);
/// ```
#[must_use = "step() ends the sessions"]
pub struct Everywhere {
    cache: SessionCache,
    user: User,
    families: Vec<NameBuf>,
    /// Where the look at all stored sessions stands, with the store alone, which has no list of whose they are.
    cursor: Option<Cursor>,
    ended: usize,
}

/// Families that are ended in one step.
const ENDS: usize = 16;

impl Everywhere {
    /// Ends some of the sessions; `true` when all are. Each step takes less than a millisecond or so.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let mut everywhere = sessions.end_everywhere(sessions.user_called("nobody"), hands.now());
    /// assert!(everywhere.step(hands.now()));
    /// ```
    pub fn step(&mut self, now: Millis) -> bool {
        if self.families.is_empty()
            && let Some(cursor) = self.cursor
        {
            let next = self.look(cursor, now);
            self.cursor = (next != Cursor::START).then_some(next);
        }
        for _ in 0..ENDS {
            let Some(family) = self.families.pop() else { break };
            self.cache.end_family(family, now);
            self.ended += 1;
        }
        self.families.is_empty() && self.cursor.is_none()
    }

    /// How many sessions were ended so far.
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
    /// let mut everywhere = sessions.end_everywhere(sessions.user_called("7"), hands.now());
    /// assert_eq!(everywhere.ended(), 0);
    /// while !everywhere.step(hands.now()) {}
    /// assert_eq!(everywhere.ended(), 1);
    /// ```
    pub fn ended(&self) -> usize {
        self.ended
    }

    /// Looks for sessions of the user among those that apps have stored.
    fn look(&mut self, cursor: Cursor, now: Millis) -> Cursor {
        let core = &self.cache.core;
        let (prefix, most) = (core.settings().prefix.clone(), core.settings().body_max);
        core.answers.scan(cursor, STEP, now, |value| {
            let body = value.string().ok().filter(|body| value.name().starts_with(&prefix) && body.len() <= most);
            let owner = body.and_then(|body| owner(&core.service, body, None));
            if owner.is_some_and(|id| core.user_name(&id) == self.user.0) {
                self.families.push(NameBuf::from_slice(value.name()));
            }
            // A body takes as long to read as some dozens of keys.
            body.map_or(1, |body| 8 + body.len() / 64)
        })
    }
}

impl std::fmt::Debug for Everywhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Everywhere").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Whether a token was made after a cut. Tokens tell whole seconds, and one of the very second may have been made before.
pub(super) fn is_after(issued: Option<f64>, cut: u64) -> bool {
    issued.is_some_and(|issued| issued > cut as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_by_id_then_subject_then_mail() {
        let service = Service::next_auth();
        let owner = |body: &str, subject| owner(&service, body.as_bytes(), subject);
        assert_eq!(owner(r#"{"user":{"id":"7","email":"a@b"}}"#, Some("s")).as_deref(), Some("7"));
        assert_eq!(owner(r#"{"user":{"id":7}}"#, None).as_deref(), Some("7"));
        assert_eq!(owner(r#"{"user":{"id":null,"email":"a@b"}}"#, Some("s")).as_deref(), Some("s"));
        assert_eq!(owner(r#"{"user":{"email":"a@b"}}"#, None).as_deref(), Some("a@b"));
        for body in ["", "{}", "null", r#"{"user":{"id":""}}"#, r#"{"user":"alice"}"#] {
            assert_eq!(owner(body, None), None, "{body}");
        }
    }

    #[test]
    fn a_list_moves_with_the_clock_and_loses_what_is_dead() {
        let list = vec![(Millis(5), NameBuf::from_slice(b"a")), (Millis(9), NameBuf::from_slice(b"b"))];
        let block = shifted(&written(&list), 100).expect("a list");
        assert_eq!(listed(&block, Millis(105)), vec![(Millis(109), NameBuf::from_slice(b"b"))]);
        assert_eq!(listed(b"\0\0", Millis(0)), Vec::new());
    }

    #[test]
    fn tokens_of_the_very_second_are_older_than_the_cut() {
        assert!(is_after(Some(8.0), 7));
        for issued in [None, Some(7.0), Some(6.0), Some(f64::NAN)] {
            assert!(!is_after(issued, 7), "{issued:?}");
        }
    }
}
