//! Requests that go past the cache: whether they may, and what the answers' cookies mean for what is stored.

use super::answer::{Answer, Header, Origin};
use super::cache::{SessionCache, UNREADABLE};
use super::cookie::{Change, Seen, Tokens};
use super::counters::add;
use super::fill::Trouble;
use super::source::{Failure, Outcome, SourceAnswer, is_failure};
use crate::clock::Millis;
use crate::store::NameBuf;

/// What kind of request goes past the cache.
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
/// // update() changes the session: what was known of it is not shown again.
/// let updated = Outcome::Answered(SourceAnswer::new(200, r#"{"user":{"name":"bob"}}"#));
/// assert!(sessions.admit(&tokens, Passage::Update, hands.now()).is_none());
/// sessions.passed(&tokens, Passage::Update, updated, hands.now());
/// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// A session check that is not plain, or whose token is not clear.
    Check,
    /// `POST` on the session path: the app changes the session.
    Update,
    /// Whatever may sign somebody in, somebody else perhaps.
    SignIn,
    /// Anything else.
    Page,
}

/// What is to be done with an answer that went past the cache.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let said = sessions.observe(&tokens, Passage::Page, 200, &[], hands.now());
/// assert_eq!(said, Observed::Untouched);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Hand it on as it is.
    Untouched,
    /// The token was signed out meanwhile: hand it on without its `set-cookie` lines of the session
    /// ([`SessionCache::is_session_cookie`]), and in place of a session's body the empty one.
    SignedOut,
    /// The answer signs its user out, and so do we: hand it on as it is, once that is kept.
    Ended,
}

impl SessionCache {
    /// Before a request is handed on past the cache. `Some`: it is not to be handed on, this is the answer.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert!(sessions.admit(&tokens, Passage::Check, hands.now()).is_none());
    /// sessions.sign_out(&tokens, [], hands.now());
    /// let refused = sessions.admit(&tokens, Passage::Check, hands.now()).expect("an answer");
    /// assert_eq!(refused.origin, Origin::Fence);
    /// ```
    pub fn admit(&self, tokens: &Tokens, passage: Passage, now: Millis) -> Option<Answer> {
        let core = &self.core;
        match passage {
            // Who was signed out must be able to sign in.
            Passage::SignIn | Passage::Page => return None,
            Passage::Check | Passage::Update => {}
        }
        let dead = match &tokens.seen {
            // One of those that are not known may be a signed-out one.
            Seen::Unclear { is_whole: false, .. } => return Some(core.nothing(tokens, UNREADABLE)),
            Seen::Both { key, plain, secure } => {
                core.is_fenced(key, now) || (core.is_fenced(plain, now) && core.is_fenced(secure, now))
            }
            _ => core.signed_out(tokens, None, now),
        };
        if dead {
            return Some(core.fenced(tokens));
        }
        add(&core.counters.passed);
        if passage == Passage::Update {
            self.invalidate(tokens, now);
        }
        None
    }

    /// After the head of an answer came back: what its cookies mean for the cache, and what to do with it.
    ///
    /// A page that deletes the very session cookies it was sent, as a server action that signs out does, is a sign-out. A
    /// check or an update that does so is none: NextAuth answers like that when its back-end fails, and the next call may
    /// find the session again. Nor is a failure, whatever it deletes.
    ///
    /// What a check or an update sets is the same login's next token. What a page sets may be another user's, as where an app
    /// switches accounts or signs in by a link: nothing is shared with it, but a sign-out of the one ends the other.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// // A page of the app's own has signed somebody out.
    /// let gone = ("set-cookie".into(), "next-auth.session-token=; Max-Age=0; Path=/".into());
    /// let said = sessions.observe(&tokens, Passage::Page, 200, &[gone], hands.now());
    /// assert_eq!(said, Observed::Ended);
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(answer.origin, Origin::Fence);
    /// ```
    pub fn observe(&self, tokens: &Tokens, passage: Passage, status: u16, headers: &[Header], now: Millis) -> Observed {
        let core = &self.core;
        let change = core.change(headers);
        let may_end = matches!(passage, Passage::SignIn | Passage::Page) && !is_failure(status);
        if may_end && let Some(ended) = tokens.ended_by(&change) {
            let sign_out = self.begin_sign_out(&ended, now);
            self.end_sign_out(sign_out, None, now);
            return Observed::Ended;
        }
        if passage == Passage::SignIn {
            // Another user may have signed in on this browser: what was known of the old token is not theirs. It is
            // not fenced either: a sign-in says nothing about other browsers.
            if change.is_any() {
                self.drop_family(tokens, now);
            }
            return Observed::Untouched;
        }
        if passage == Passage::Update {
            self.invalidate(tokens, now);
        }
        let mut flights = core.steps.lock(&core.flights);
        if core.signed_out(tokens, change.side(), now) {
            return Observed::SignedOut;
        }
        let Some(key) = tokens.key() else { return Observed::Untouched };
        let family = core.answers.canonical(key, now);
        if core.is_fenced(&family, now) {
            return Observed::SignedOut;
        }
        if change.takes_away() {
            core.disband(&family, &mut flights, now);
        } else if change.sets() && passage == Passage::Page {
            core.tie(&family, tokens, &change, now);
        } else if change.sets() && core.join(&family, key, &flights, now) {
            let mut record = core.whole_record(&family, now).unwrap_or_default();
            record.add_member(key, now, core.linked_until(now));
            // A token that stays the same names what the session is now; with another one, those before it do not.
            let stays = || core.names.next(&core.answers, tokens, &change).is_some_and(|next| next.key() == Some(key));
            if passage == Passage::Update && !stays() {
                record.update();
            }
            core.roll(&family, &mut record, tokens, &change, &flights, now);
            core.save_record(&family, &record, now);
        }
        Observed::Untouched
    }

    /// The same for an answer that is there whole, as checks and updates are: what to hand out.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let outcome = Outcome::Answered(SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#));
    /// let answer = sessions.passed(&tokens, Passage::Check, outcome, hands.now());
    /// assert_eq!(answer.cache_status(), "cloakroom; fwd=bypass; fwd-status=200");
    /// ```
    pub fn passed(&self, tokens: &Tokens, passage: Passage, outcome: Outcome, now: Millis) -> Answer {
        let core = &self.core;
        let answer = match outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Failed(failure) => {
                self.observe(tokens, passage, failure.status(), &[], now);
                return self.pass_failure(tokens, passage, failure, now);
            }
        };
        // A source in trouble signs nobody out.
        let failed = answer.is_failure();
        let headers = if failed { &[] } else { &answer.headers[..] };
        if self.observe(tokens, passage, answer.status, headers, now) == Observed::SignedOut {
            return core.fenced(tokens);
        }
        if passage == Passage::Check {
            core.learn(tokens, &answer);
        }
        let status = format!("cloakroom; fwd=bypass; fwd-status={}", answer.status);
        let mut shown = Answer::of(answer, if failed { Origin::Failure } else { Origin::Source });
        if failed {
            shown.strip_cookies(|line| core.names.is_session(line));
            shown.retry_after();
        }
        core.mark(shown, status)
    }

    fn pass_failure(&self, tokens: &Tokens, passage: Passage, failure: Failure, now: Millis) -> Answer {
        let core = &self.core;
        if passage == Passage::Check {
            return core.after_failure(tokens, Trouble::Failure(failure), now);
        }
        // An update that failed is never told as a session, whatever is shown for failed checks.
        core.failure(failure, format!("cloakroom; fwd=bypass; detail={}", failure.word()))
    }

    /// Whether a `set-cookie` line is about a session cookie.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert!(sessions.is_session_cookie(b"next-auth.session-token=abc; Path=/"));
    /// assert!(!sessions.is_session_cookie(b"theme=dark"));
    /// ```
    pub fn is_session_cookie(&self, set_cookie: &[u8]) -> bool {
        self.core.names.is_session(set_cookie)
    }

    /// Forgets a family: the next check asks the source anew. Nothing is fenced. With the store alone there is nothing
    /// to ask anew, and nothing is forgotten.
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
    /// sessions.drop_family(&tokens, hands.now());
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
    /// ```
    pub fn drop_family(&self, tokens: &Tokens, now: Millis) {
        let mut flights = self.core.steps.lock(&self.core.flights);
        for family in self.core.forgettable(tokens, now) {
            self.core.disband(&family, &mut flights, now);
        }
    }

    /// Forgets what was answered; the families stay, and the next check asks anew.
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
    /// sessions.invalidate(&tokens, hands.now());
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
    /// ```
    pub fn invalidate(&self, tokens: &Tokens, now: Millis) {
        let mut flights = self.core.steps.lock(&self.core.flights);
        for family in self.core.forgettable(tokens, now) {
            self.core.invalidate(&family, &mut flights, now);
        }
    }
}

impl super::cache::Core {
    /// The families of tokens that can be asked for anew.
    fn forgettable(&self, tokens: &Tokens, now: Millis) -> Vec<NameBuf> {
        if self.source == super::source::Kind::StoreAlone {
            return Vec::new();
        }
        tokens.names().iter().map(|name| self.answers.canonical(name, now)).collect()
    }

    /// Whether the answer to a sign-out ends the session.
    pub fn ends_session(&self, answer: &SourceAnswer) -> bool {
        let change: Change = self.change(&answer.headers);
        self.service.has_ended(answer.status, change.takes_away())
    }
}
