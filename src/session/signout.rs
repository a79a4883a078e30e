//! Sign-outs. A fence is laid on every name that a family is known by before the source hears of it, so that what
//! began before can neither be stored nor shown; it is lifted only if the source answers and lets the session live.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tracing::debug;

use super::answer::{Answer, Header, Origin};
use super::cache::{Core, SessionCache};
use super::cookie::Tokens;
use super::counters::add;
use super::source::{Kind, Says, SourceAnswer};
use super::story::Event;
use crate::clock::{Millis, Ttl};
use crate::store::NameBuf;

/// The longest that a signed-out token is remembered: browsers keep no cookie longer than 400 days.
pub(super) const REVOKE_MAX: Ttl = Ttl::seconds(400 * 24 * 60 * 60);

/// How much longer than its expiry a token may be taken for good: NextAuth allows 15 s, the rest is for clocks that differ.
const TOLERANCE: Ttl = Ttl::seconds(60);

/// Bytes of memory that a fence takes at most, entry, place in the table and reminder together.
pub(super) const FENCE_BYTES: usize = 88;

/// A sign-out that was begun: its fences stand. Give it to [`SessionCache::end_sign_out`]; dropped, it counts as one
/// that took place, as one whose source did not answer does: logging out works while the source is down.
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
/// drop(sessions.begin_sign_out(&tokens, hands.now()));
/// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// assert_eq!(answer.origin, Origin::Fence);
/// ```
#[must_use = "a dropped sign-out is taken for one that took place"]
pub struct SignOut {
    cache: SessionCache,
    tokens: Tokens,
    ticket: u64,
    begun: Millis,
    /// When the session would have ended by itself, if that is known.
    expires: Option<Millis>,
    /// Whether anything is known of the family: a made-up token is known to nobody.
    is_known: bool,
    names: Vec<NameBuf>,
    /// The same, to be asked.
    known: HashSet<NameBuf>,
    done: bool,
}

/// How a sign-out ended.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let sign_out = sessions.begin_sign_out(&tokens, hands.now());
/// assert_eq!(sessions.end_sign_out(sign_out, None, hands.now()), Ended::SignedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The token is dead here.
    SignedOut,
    /// The source let the session live; so do we.
    Refused,
}

impl SessionCache {
    /// Fences the family of a token, before the sign-out is handed on.
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
    /// let sign_out = sessions.begin_sign_out(&tokens, hands.now());
    /// // While the source is asked, nobody is told of a session any more.
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(answer.origin, Origin::Fence);
    /// # drop(sign_out);
    /// ```
    pub fn begin_sign_out(&self, tokens: &Tokens, now: Millis) -> SignOut {
        let ticket = self.core.tickets.fetch_add(1, Ordering::Relaxed);
        let mut sign_out = SignOut {
            cache: self.clone(),
            tokens: tokens.clone(),
            ticket,
            begun: now,
            expires: None,
            is_known: false,
            names: Vec::new(),
            known: HashSet::new(),
            done: false,
        };
        sign_out.fence(now + self.settings().fence(), None, now);
        sign_out
    }

    /// The sign-out of whoever decodes the tokens, told with the values of the request's `Cookie` headers: a token that opens
    /// is dead until its own end at least.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::NextAuth(NextAuth::new(Secrets::new(["a secret"]).unwrap())), ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let cookies = || [&b"next-auth.session-token=abc"[..]];
    /// sessions.sign_out(&sessions.tokens(cookies()), cookies(), hands.now());
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(answer.origin, Origin::Fence);
    /// ```
    pub fn sign_out<'a>(&self, tokens: &Tokens, cookies: impl IntoIterator<Item = &'a [u8]>, now: Millis) {
        let ends = self.core.token_end(tokens, cookies);
        let mut sign_out = self.begin_sign_out(tokens, now);
        sign_out.expires = sign_out.expires.max(ends);
        sign_out.is_known |= ends.is_some();
        self.end_sign_out(sign_out, None, now);
    }

    /// Ends a session for who may end any, whatever memory its fences take; `true` if anything was known of it.
    #[cfg_attr(doc, doc(hidden))]
    pub fn end_session(&self, tokens: &Tokens, now: Millis) -> bool {
        let mut sign_out = self.begin_sign_out(tokens, now);
        let was_known = std::mem::replace(&mut sign_out.is_known, true);
        self.end_sign_out(sign_out, None, now);
        was_known
    }

    /// Ends a family by its name.
    pub(super) fn end_family(&self, family: NameBuf, now: Millis) {
        let ticket = self.core.tickets.fetch_add(1, Ordering::Relaxed);
        let mut sign_out = SignOut {
            cache: self.clone(),
            tokens: Tokens::none(),
            ticket,
            begun: now,
            expires: None,
            is_known: true,
            names: vec![family.clone()],
            known: HashSet::from([family]),
            done: false,
        };
        sign_out.fence(now + self.settings().fence(), None, now);
        self.end_sign_out(sign_out, None, now);
    }

    /// Ends a sign-out with what the source said; `None` if it said nothing. The source's answer is handed out as it is.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let sign_out = sessions.begin_sign_out(&tokens, hands.now());
    /// // NextAuth answers without deleting the cookie: the csrf token was wrong, and the session lives.
    /// let refused = SourceAnswer::new(200, "{}");
    /// assert_eq!(sessions.end_sign_out(sign_out, Some(&refused), hands.now()), Ended::Refused);
    /// assert!(!matches!(sessions.look_up(&tokens, hands.now()), LookUp::Answer(_)), "asked anew, not refused");
    /// ```
    pub fn end_sign_out(&self, mut sign_out: SignOut, answer: Option<&SourceAnswer>, now: Millis) -> Ended {
        sign_out.done = true;
        let lives = |answer: &SourceAnswer| !answer.is_failure() && !self.core.ends_session(answer);
        if answer.is_some_and(lives) {
            sign_out.undo(now);
            add(&self.core.counters.sign_outs_refused);
            self.tell(&sign_out.tokens, Event::SignOutRefused, now);
            return Ended::Refused;
        }
        sign_out.confirm(now);
        Ended::SignedOut
    }

    /// Clears what is stored for a token: the first of the five steps of a logout button, which changes nothing at the
    /// source. With the store alone it is the sign-out itself. The answer is `{"success":true}`.
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
    /// assert_eq!(&sessions.clear(&tokens, hands.now()).body[..], br#"{"success":true}"#);
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
    /// ```
    pub fn clear(&self, tokens: &Tokens, now: Millis) -> Answer {
        if self.core.source == Kind::StoreAlone {
            let sign_out = self.begin_sign_out(tokens, now);
            self.end_sign_out(sign_out, None, now);
        } else {
            // The family stays: the sign-out that follows must still know every token of this login.
            self.invalidate(tokens, now);
        }
        add(&self.core.counters.cleared);
        self.tell(tokens, Event::Cleared, now);
        if let Some(key) = tokens.key() {
            debug!(session = %self.core.shown(key), "Session cache cleared");
        }
        let body = Bytes::from_static(br#"{"success":true}"#);
        self.core.mark(Answer::plain(200, body, Origin::Cache), "cloakroom; hit; detail=cleared")
    }
}

/// What outlives the process: sign-outs that somebody writes down and hands in again.
impl SessionCache {
    /// Names who is told of each sign-out that took place and lasts, before it is answered: the names that are dead, hashed and without
    /// the namespace's prefix, and until when, in milliseconds of Unix time; 0 says that they are dead no longer, as somebody has
    /// signed in with the same token. Names that were told before and are signed out again may be left out for an hour. It
    /// must not take long. The first one stays.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// use std::sync::mpsc;
    ///
    /// let (told, heard) = mpsc::channel();
    /// sessions.on_sign_out(move |names, until| drop(told.send((names.len(), until))));
    /// sessions.sign_out(&tokens, [], hands.now());
    /// let (names, until) = heard.recv()?;
    /// assert!(names == 1 && until > hands.now().0);
    /// # Ok::<(), mpsc::RecvError>(())
    /// ```
    pub fn on_sign_out(&self, witness: impl Fn(&[&[u8]], u64) + Send + Sync + 'static) {
        // A second one is not asked for by anybody.
        let _ = self.core.witness.set(Box::new(witness));
    }

    /// Fences names again that an earlier process has told of, in the order in which it has, and tells how many. They match if the
    /// store hashes under the same key.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let until = hands.now().0 + 60_000;
    /// assert_eq!(sessions.restore_sign_out([&b"~AAAAAAAAAAAAAAAAAAAAAA"[..]].into_iter(), until), 1);
    /// assert_eq!(sessions.restore_sign_out([&b"~AAAAAAAAAAAAAAAAAAAAAA"[..]].into_iter(), 0), 0, "it has fallen");
    /// ```
    pub fn restore_sign_out<'n>(&self, names: impl Iterator<Item = &'n [u8]>, until: u64) -> u64 {
        let core = &self.core;
        // Of a cut it must be known what the wall clock said; which name is a user's, nobody knows.
        let mark = until;
        let (now, until) = (core.answers.clock().now(), core.answers.clock().from_wall(until));
        let prefix = &core.settings().prefix;
        if mark == 0 {
            for name in names {
                core.answers.unfence(&[prefix, name].concat(), now);
            }
            return 0;
        }
        let restore = |name: &[u8]| {
            core.answers.fence_marked(&[prefix, name].concat(), mark, until.min(now + REVOKE_MAX), now);
        };
        if until > now { names.map(restore).count() as u64 } else { 0 }
    }
}

impl SignOut {
    /// Fences every name that the family is known by now. With `ends` for good, so that the newest cookie is forgotten too, and
    /// those names that have no such fence yet, or one that ends earlier, are told to who writes them down.
    fn fence(&mut self, until: Millis, ends: Option<Told>, now: Millis) {
        let core = self.cache.core.clone();
        let _flights = core.steps.lock(&core.flights);
        let mut own = self.tokens.names();
        own.extend_from_slice(&self.names);
        let mut families: Vec<NameBuf> = own.iter().map(|name| core.family_of(name, now).0).collect();
        families.sort_unstable();
        families.dedup();
        // And those that are tied to them.
        let members =
            families.iter().filter_map(|family| core.whole_record(family, now)).flat_map(|record| record.members);
        let mut tied: Vec<NameBuf> = members.map(|member| core.family_of(&member.name, now).0).collect();
        tied.sort_unstable();
        tied.dedup();
        tied.retain(|family| families.binary_search(family).is_err());
        families.extend(tied);
        // Each name once, however many of the families know it.
        let (mut once, mut fresh) = (HashSet::new(), Vec::new());
        let mut fence = |sign_out: &mut SignOut, name: &NameBuf, family: &NameBuf| {
            if !once.insert(name.clone()) {
                return;
            }
            let stands = |told: Told| core.answers.fence_of(name, now).is_some_and(|fence| fence.until >= told.enough);
            match ends {
                // It falls when it was told to, so that the one that is due is told in time.
                Some(told) if stands(told) => sign_out.fence_one(name, family, now, now),
                ends => {
                    sign_out.fence_one(name, family, until, now);
                    fresh.extend(ends.map(|_| name.clone()));
                }
            }
        };
        // The families first: a hit that is under way reads a family's body last.
        for family in &families {
            self.note_expiry(family, now);
            fence(self, family, family);
        }
        for family in &families {
            let Some(mut record) = core.whole_record(family, now) else { continue };
            for member in &record.members {
                let (own, _) = core.family_of(&member.name, now);
                fence(self, &member.name, &own);
            }
            record.body = Bytes::new();
            if ends.is_some() {
                record.newest = None;
                record.cookies.clear();
            }
            core.save_record(family, &record, now);
        }
        for name in &own {
            let (family, _) = core.family_of(name, now);
            fence(self, name, &family);
        }
        // Under the lock: who finds a name fenced for good, and so does not tell of it, comes after who has.
        if ends.is_some_and(|told| told.lasts) {
            core.bear_witness(&fresh, core.answers.clock().to_wall(until));
        }
    }

    fn fence_one(&mut self, name: &NameBuf, family: &NameBuf, until: Millis, now: Millis) {
        let core = &self.cache.core;
        if self.known.insert(name.clone()) {
            self.names.push(name.clone());
        }
        core.steps.step();
        // The note is for sign-outs at the same time; what was signed out for good has no family to go back to.
        core.note_family(name, family, until.min(now + core.settings().fence()), now);
        core.answers.fence(name, self.ticket, until, now);
    }

    /// The sign-out was refused: lifts the fences, and links what they had parted.
    fn undo(&self, now: Millis) {
        let core = &self.cache.core;
        let flights = core.steps.lock(&core.flights);
        let links: Vec<_> = self.names.iter().map(|name| (name, core.family_of(name, now))).collect();
        for (name, (family, linked)) in links {
            // The fence stays if somebody else has asked for it too.
            if core.answers.lift(name, self.ticket, now) {
                core.drop_note(name, now);
                if linked {
                    core.join(&family, name, &flights, now);
                }
            }
        }
    }

    fn note_expiry(&mut self, family: &NameBuf, now: Millis) {
        let core = &self.cache.core;
        let record = core.record(family, now);
        self.is_known |= record.is_some();
        let told = record.map(|record| record.expires).filter(|expires| *expires != Millis::NEVER);
        let body = || {
            let says = core.answers.peek(family, now, |value| value.string().map(|body| core.service.says(body)))?;
            let Ok(Says::SignedIn(Some(unix))) = says else { return None };
            Some(core.answers.clock().from_wall(unix))
        };
        self.expires = self.expires.max(told.or_else(body));
        self.is_known |= self.expires.is_some();
    }

    /// Until when the tokens are dead. What is known of the session's end tells that of the tokens that were seen; one of
    /// the same login may have been made without this door, on a page or by an update, and as late as now. And what a
    /// session says of its end is the app's word, while a token goes by its own. So it is never less than a session may last
    /// from now on.
    fn ends(&self, now: Millis) -> Millis {
        let (core, settings) = (&self.cache.core, self.cache.settings());
        let short = now + settings.fence();
        if !settings.revoke {
            return short;
        }
        // Anybody can make tokens up and sign them out. What memory that takes is bounded, and nobody's real session is
        // given up for it: those who were seen here have their fences all the same.
        if !self.is_known && core.answers.hidden().saturating_mul(FENCE_BYTES) > settings.fences_room {
            add(&core.counters.sign_outs_forgotten);
            return short;
        }
        let last = self.expires.map_or(now, |expires| expires.max(now)).max(now + settings.max_age);
        short.max((last + TOLERANCE).min(now + REVOKE_MAX))
    }

    /// The sign-out took place.
    fn confirm(&mut self, now: Millis) {
        let until = self.ends(now);
        // Names that joined meanwhile are fenced too.
        self.fence(until, Some(Told::of(until, now, self.cache.core.brief())), now);
        if !self.names.is_empty() {
            add(&self.cache.core.counters.sign_outs);
            self.cache.tell(&self.tokens, Event::SignedOut, now);
            debug!(until = until.0, "Session signed out");
        }
    }
}

/// The longest that a fence may fall before a repeated sign-out says, so that it need not be written down again.
const REPEAT: Ttl = Ttl::seconds(60 * 60);

/// Of which fences who writes sign-outs down is told.
#[derive(Clone, Copy)]
struct Told {
    /// Whether they stand longer than what is under way: a fence of seconds is of no use to another process.
    lasts: bool,
    /// A name whose fence stands so long already was told.
    enough: Millis,
}

impl Told {
    /// Of those until then, where those up to a `brief` time may be of sign-outs that are under way, or of commands. Anybody can
    /// sign the same token out again and again, and each record is written and kept.
    fn of(until: Millis, now: Millis, brief: Ttl) -> Told {
        let slack = Ttl((until.since(now).0 / 16).min(REPEAT.0));
        let enough = Millis(until.0.saturating_sub(slack.0)).max(now + brief + Ttl(1));
        Told { lasts: until > now + brief, enough }
    }
}

impl Core {
    /// Tells who writes sign-outs down: stored names, and until when they are dead; 0 if they are no longer.
    fn bear_witness(&self, names: &[NameBuf], until: u64) {
        if let Some(witness) = self.witness.get()
            && !names.is_empty()
        {
            let names: Vec<&[u8]> = names.iter().filter_map(|name| name.get(self.prefix_len..)).collect();
            witness(&names, until);
        }
    }
}

/// A request that may sign in, and goes past the cache. See [`SessionCache::begin_sign_in`].
///
/// ```
/// # use cloakroom::clock::ManualClock;
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let sessions = SessionCache::embedded(Settings { source: Source::Upstream, ..Settings::default() }, hands.clone());
/// let sign_in: SignIn = sessions.begin_sign_in();
/// # drop(sign_in);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SignIn {
    /// Sign-outs with this ticket or a later one were begun since.
    since: u64,
}

/// Signing in again with a token that was signed out.
impl SessionCache {
    /// Notes when a request is handed on that may sign somebody in, for [`end_sign_in`](SessionCache::end_sign_in).
    ///
    /// ```
    /// # use cloakroom::clock::ManualClock;
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let sessions = SessionCache::embedded(Settings { source: Source::Upstream, ..Settings::default() }, hands.clone());
    /// let sign_in = sessions.begin_sign_in();
    /// let nobody = sessions.tokens([]);
    /// assert!(!sessions.end_sign_in(sign_in, &nobody, 200, &[], hands.now()), "nothing was signed out before");
    /// ```
    pub fn begin_sign_in(&self) -> SignIn {
        SignIn { since: self.core.tickets.load(Ordering::Relaxed) }
    }

    /// Takes a token for good again that was signed out before a sign-in began whose answer sets it, and says whether there was
    /// one. `tokens` are those that the request was handed on with: what it has shown itself, signed out or not, is not lifted.
    ///
    /// Some applications sign the same token for a user each time. NextAuth does not, and nothing of its is lifted.
    ///
    /// ```
    /// # use cloakroom::clock::ManualClock;
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// let settings = Settings {
    ///     source: Source::Upstream,
    ///     service: Service::generic("/me"),
    ///     cookie: Some("sid".into()),
    ///     ..Settings::default()
    /// };
    /// let sessions = SessionCache::embedded(settings, hands.clone());
    /// let tokens = sessions.tokens([&b"sid=alice.signed"[..]]);
    /// sessions.sign_out(&tokens, [], hands.now());
    ///
    /// let sign_in = sessions.begin_sign_in();
    /// let set = [("set-cookie".into(), "sid=alice.signed; Path=/".into())];
    /// assert!(sessions.end_sign_in(sign_in, &sessions.tokens([]), 200, &set, hands.now()));
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)), "asked again");
    /// ```
    pub fn end_sign_in(&self, began: SignIn, tokens: &Tokens, status: u16, headers: &[Header], now: Millis) -> bool {
        let core = &self.core;
        if core.service.is_next_auth() || !(200..400).contains(&status) {
            return false;
        }
        let change = core.change(headers);
        let Some(next) = core.names.next(&core.answers, tokens, &change).filter(|_| change.sets()) else {
            return false;
        };
        let (shown, bound) = (tokens.names(), now + core.brief());
        let _flights = core.steps.lock(&core.flights);
        let may_be_lifted = |name: &NameBuf| {
            let fence = core.answers.fence_of(name, now);
            // One that is under way, or a command's, falls by itself.
            !shown.contains(name) && fence.is_some_and(|fence| fence.until > bound && fence.ticket < began.since)
        };
        let lifted: Vec<NameBuf> = next.names().into_iter().filter(may_be_lifted).collect();
        for name in &lifted {
            core.answers.unfence(name, now);
            core.drop_note(name, now);
            core.drop_record(name, now);
        }
        core.bear_witness(&lifted, 0);
        if !lifted.is_empty() {
            debug!("Session signed in with the token it had before");
        }
        !lifted.is_empty()
    }
}

impl Drop for SignOut {
    fn drop(&mut self) {
        if !self.done {
            self.done = true;
            self.confirm(self.begun);
        }
    }
}

impl std::fmt::Debug for SignOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignOut").field("names", &self.names.len()).finish_non_exhaustive()
    }
}
