//! The end of a fill: what a call to the source comes to, for its asker, for those who wait, and for the store.
//!
//! All of it runs under the engine's lock. What is stored, is stored in this order: links and record first, the body
//! last, because the store refuses the body when a command has signed the session out meanwhile.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::OnError;
use super::answer::{Answer, Origin, may_be_told_again};
use super::cache::{Core, Flights, Glance};
use super::cookie::{Change, Seen, Tokens};
use super::counters::add;
use super::family::Record;
use super::flight::{Fill, Landing};
use super::source::{Failure, Outcome, Says, SourceAnswer};
use super::story::Event;
use crate::clock::{Millis, Ttl};
use crate::error::Result;
use crate::store::{Class, Fresh, NameBuf, Slot};

/// How long a source that fails is let alone at least: a page's checks come within it, and none notices it.
const PAUSE_MIN: Ttl = Ttl::seconds(1);
/// And at most, so that a `Retry-After` of hours does not keep it from being asked when it is well again.
const PAUSE_MAX: Ttl = Ttl::seconds(60);

/// How the source failed.
pub(super) enum Trouble {
    Failure(Failure),
    /// A 429 or a 5xx, without anybody's cookies.
    Answer(Answer),
}

/// What became of a good answer.
enum Stored {
    For(Ttl),
    Not,
    Fenced,
}

impl Core {
    /// Takes a flight off the list; `false` if it was voided.
    pub fn unlist(&self, fill: &Fill, flights: &mut Flights) -> bool {
        let listed = flights.get(&fill.listed).is_some_and(|flight| Arc::ptr_eq(flight, &fill.flight));
        if listed {
            flights.remove(&fill.listed);
        }
        listed
    }

    /// What a fill comes to: for its asker, and for those who wait.
    pub fn settle(
        &self,
        fill: &Fill,
        listed: bool,
        outcome: Outcome,
        flights: &mut Flights,
        now: Millis,
    ) -> (Answer, Landing) {
        // One that lasted longer than a fence may have slept through a whole sign-out.
        let outlived = now.since(fill.started) >= self.fence_length();
        let outcome = if outlived { Outcome::Failed(Failure::Timeout) } else { outcome };
        match outcome {
            Outcome::Failed(failure) => {
                self.counters.call(None);
                self.tell(&fill.family, Event::Failed(failure), now);
                self.complain(fill, "Session source failed", Some(failure), None, now);
                let answer = self.after_failure(&fill.tokens, Trouble::Failure(failure), now);
                self.let_alone(fill, &answer, failure.word(), None, now);
                (answer, Landing::Failed(failure))
            }
            Outcome::Answered(answer) if answer.is_failure() => {
                self.counters.call(Some(answer.status));
                self.tell(&fill.family, Event::Refused(answer.status), now);
                self.complain(fill, "Session source failed", None, Some(answer.status), now);
                let mut answer = Answer::of(answer, Origin::Failure);
                answer.strip_cookies(|_| true);
                let own = self.after_failure(&fill.tokens, Trouble::Answer(answer.clone()), now);
                self.let_alone(fill, &own, &answer.status.to_string(), answer.header("retry-after"), now);
                (own, Landing::Troubled(answer))
            }
            Outcome::Answered(answer) => {
                self.counters.call(Some(answer.status));
                self.settle_answer(fill, listed, answer, flights, now)
            }
        }
    }

    fn settle_answer(
        &self,
        fill: &Fill,
        listed: bool,
        answer: SourceAnswer,
        flights: &mut Flights,
        now: Millis,
    ) -> (Answer, Landing) {
        let change = self.change(&answer.headers);
        self.learn(&fill.tokens, &answer);
        let used = change.side();
        let fenced = || {
            let answer = self.fenced(&fill.tokens);
            (answer.clone(), Landing::Answer(answer, None))
        };
        if self.signed_out(&fill.tokens, used, now)
            || self.is_fenced(&fill.family, now)
            || fill.user.as_ref().is_some_and(|user| self.cut_off(user, now) >= Some(fill.started))
        {
            return fenced();
        }
        let said = match answer.header("content-encoding") {
            None => self.service.hears(answer.status, &answer.body),
            Some(_) => Says::Nonsense,
        };
        match said {
            Says::Nonsense => {
                let what = match answer.status {
                    404 if self.service.is_below_base() => {
                        "Session source has no such path: is base-path its basePath?"
                    }
                    _ => "Session source answers what is no session",
                };
                self.complain(fill, what, None, Some(answer.status), now)
            }
            _ => self.be_content(now),
        }
        let current = listed && !fill.behind;
        let mut shown = Answer::of(answer, Origin::Source);
        let mut status = format!("cloakroom; fwd=miss; fwd-status={}", shown.status);
        let mut event = Event::Unfit(shown.status);
        match said {
            Says::SignedIn(expires) if current && !change.takes_away() => {
                match self.store(fill, &change, &shown, expires, flights, now) {
                    Stored::For(ttl) => {
                        event = Event::Stored(ttl);
                        status += &format!("; stored; ttl={}", ttl.0 / 1000);
                    }
                    Stored::Not => {}
                    Stored::Fenced => return fenced(),
                }
            }
            // The source knows of no session: nothing earlier may be shown from now on.
            _ if current && (change.takes_away() || said == Says::SignedOut) => {
                event = Event::Nobody(shown.status);
                self.disband(&fill.family, flights, now);
            }
            // The login is one, but what was said of it before holds no longer.
            Says::Barred if current => self.invalidate(&fill.family, flights, now),
            // What began before an update must not undo its cookie.
            _ if !current => {
                shown.strip_cookies(|line| self.names.is_session(line));
                let newest = self.record(&fill.family, now).filter(|record| record.updated);
                newest.into_iter().flat_map(|record| record.cookies).for_each(|line| shown.set_cookie(line));
            }
            _ => {}
        }
        self.tell(&fill.family, event, now);
        let mut shared = shown.clone();
        shared.strip_cookies(|line| !self.names.is_session(line));
        debug!(session = %self.shown(&fill.family), status = shown.status, "Session API - Cache miss, generated session");
        (self.mark(shown, status.clone()), Landing::Answer(self.mark(shared, status + "; collapsed"), used))
    }

    /// Logs that the source is of no use, unless that was said a moment ago.
    fn complain(&self, fill: &Fill, what: &str, failure: Option<Failure>, status: Option<u16>, now: Millis) {
        let (session, failure) = (self.shown(&fill.family), failure.map(Failure::word));
        match self.complaints.failed(now) {
            Some(more) => {
                let more = Some(more).filter(|more| *more > 0);
                warn!(%session, failure, status, more, "{what}");
            }
            None => debug!(%session, failure, status, "{what}"),
        }
    }

    /// Logs that the source is well again, if it was not.
    fn be_content(&self, now: Millis) {
        if let Some(over) = self.complaints.answered(now) {
            let seconds = over.lasted.0 / 1000;
            info!(failures = over.failures, seconds, "Session source answers again");
        }
    }

    /// The family that a fill's answer belongs to: the one it began with, unless the asker's link to it has died
    /// meanwhile and the token has a family of its own by now.
    fn home(&self, fill: &Fill, key: &NameBuf, flights: &Flights, now: Millis) -> NameBuf {
        let owner = self.answers.canonical(key, now);
        let stays = (owner == fill.family || owner == *key) && self.join(&fill.family, key, flights, now);
        if stays { fill.family.clone() } else { owner }
    }

    /// Stores a good answer, and lets the token that it sets join the family.
    fn store(
        &self,
        fill: &Fill,
        change: &Change,
        shown: &Answer,
        expires: Option<u64>,
        flights: &mut Flights,
        now: Millis,
    ) -> Stored {
        let Some(key) = fill.tokens.key() else { return Stored::Not };
        let family = &self.home(fill, key, flights, now);
        let at = |unix: Option<u64>| unix.map_or(Millis::NEVER, |unix| self.answers.clock().from_wall(unix));
        let expires = at(expires).min(at(fill.ends));
        let keeps_for = self.service.keeps_for(shown);
        let kept_until = keeps_for.map_or(Millis::NEVER, |length| fill.started + Ttl(length));
        let fresh_until = (fill.started + self.settings().ttl).min(expires).min(kept_until);
        let fits = shown.body.len() <= self.settings().body_max;
        if !fits || expires <= now {
            return Stored::Not;
        }
        let mut record = self.whole_record(family, now).unwrap_or_default();
        record.status = shown.status;
        let lasts = |name: &[u8]| may_be_told_again(name) && !self.service.is_fleeting(name);
        record.headers = shown.headers.iter().filter(|(name, _)| lasts(name)).cloned().collect();
        record.body = shown.body.clone();
        record.fresh_until = fresh_until;
        record.stale_until = (fresh_until + self.stale_length()).min(kept_until);
        record.expires = expires;
        record.used = change.side();
        record.user = fill.user.as_deref().map(NameBuf::from_slice).unwrap_or_default();
        let until = self.linked_until(now);
        record.add_member(key, now, until);
        if let Some(newest) = record.newest.clone()
            && !change.is_any()
            && self.join(family, &newest, flights, now)
        {
            // Nothing newer came, so the browser that was given this one still has it.
            record.add_member(&newest, now, until);
        }
        self.roll(family, &mut record, &fill.tokens, change, flights, now);
        self.save_record(family, &record, now);
        self.resume(family, now);
        if fresh_until <= now {
            return Stored::Not;
        }
        self.steps.step();
        // Last, and only here a sign-out by a command is seen for certain: the store refuses the write.
        let put = |slot: &mut Slot<'_>, fresh: Fresh<'_>| {
            slot.put(fresh.until(fresh_until))?;
            // What a client that sets it with EX would tell.
            slot.announce(Class::STRING, "set");
            slot.announce(Class::GENERIC, "expire");
            Result::Ok(())
        };
        if self.answers.write(family, &shown.body, now, put).is_err() {
            self.disband(family, flights, now);
            return Stored::Fenced;
        }
        debug!(session = %self.shown(family), ttl = fresh_until.since(now).0, "Session cache set");
        Stored::For(fresh_until.since(now))
    }

    /// Lets the token that an answer sets join its family as the newest.
    pub fn roll(
        &self,
        family: &NameBuf,
        record: &mut Record,
        tokens: &Tokens,
        change: &Change,
        flights: &Flights,
        now: Millis,
    ) {
        if !change.is_any() {
            return;
        }
        record.newest = None;
        record.cookies.clear();
        let Some(next) = self.names.next(&self.answers, tokens, change) else { return };
        let (Seen::One { key, .. } | Seen::Both { key, .. }) = &next else { return };
        if self.join(family, key, flights, now) {
            let until = self.linked_until(now);
            // Of two cookies each is fenced by itself at a sign-out.
            if let Seen::Both { plain, secure, .. } = &next {
                record.add_member(plain, now, until);
                record.add_member(secure, now, until);
            }
            record.add_member(key, now, until);
            record.newest = Some(key.clone());
            record.cookies = change.lines.clone();
        }
    }

    /// The answer when the source has failed: the last good one within its bound, or what the settings say.
    pub fn after_failure(&self, tokens: &Tokens, trouble: Trouble, now: Millis) -> Answer {
        match self.glance(tokens, now) {
            Glance::Fenced => return self.fenced(tokens),
            Glance::Live(answer) => return answer,
            Glance::Absent => {}
        }
        let why = match &trouble {
            Trouble::Failure(failure) => format!("detail={}", failure.word()),
            Trouble::Answer(answer) => format!("fwd-status={}", answer.status),
        };
        if let Some(answer) = self.stale(tokens, &format!("fwd=stale; {why}"), now) {
            add(&self.counters.stale);
            return answer;
        }
        // Of two cookies one may be signed out, and now nobody tells which one counts.
        if self.signed_out(tokens, None, now) {
            return self.fenced(tokens);
        }
        let status = format!("cloakroom; fwd=miss; {why}");
        if self.settings().on_error == OnError::Empty && self.service.is_quiet() {
            let mut empty = self.empty(tokens, Origin::Failure, status);
            if let Trouble::Answer(answer) = trouble {
                // For who is told of the failure after all, as a proxy is.
                empty.headers.extend(answer.headers.into_iter().filter(|(name, _)| name == "retry-after"));
            }
            return empty;
        }
        match trouble {
            Trouble::Failure(failure) => self.failure(failure, status),
            Trouble::Answer(mut answer) => {
                answer.retry_after();
                self.mark(answer, status)
            }
        }
    }

    /// A source that fails while the last good answer stands in for it is let alone for a while: for as long as the call has
    /// taken, or as the source itself wants it, and for a second at least.
    fn let_alone(&self, fill: &Fill, shown: &Answer, why: &str, after: Option<&[u8]>, now: Millis) {
        let Some(key) = fill.tokens.key().filter(|_| shown.origin == Origin::Stale && !fill.behind) else { return };
        let wanted =
            after.and_then(|after| std::str::from_utf8(after).ok()?.trim().parse().ok()).map_or(Ttl(0), Ttl::seconds);
        let pause = now.since(fill.started).max(wanted).max(PAUSE_MIN).min(PAUSE_MAX);
        self.pause(&self.answers.canonical(key, now), why, now + pause, now);
    }

    /// The last good answer while the source is let alone.
    pub fn bridged(&self, tokens: &Tokens, family: &NameBuf, now: Millis) -> Option<Answer> {
        let why = self.paused(family, now)?;
        let answer = self.stale(tokens, &format!("hit; detail={why}"), now)?;
        self.counters.check(&self.counters.hits);
        add(&self.counters.stale);
        Some(answer)
    }

    /// A failure told as what it is.
    pub fn failure(&self, failure: Failure, cache_status: String) -> Answer {
        let body = format!(r#"{{"error":"session source: {}"}}"#, failure.word());
        let mut answer = Answer::plain(failure.status(), body, Origin::Failure);
        answer.retry_after();
        self.mark(answer, cache_status)
    }

    fn stale(&self, tokens: &Tokens, why: &str, now: Millis) -> Option<Answer> {
        let key = tokens.key()?;
        let family = self.answers.canonical(key, now);
        let record = self.record(&family, now)?;
        let allowed = !record.body.is_empty()
            && now < record.stale_until
            && now < record.fresh_until + self.stale_length()
            && now < record.expires;
        if !allowed || self.signed_out(tokens, record.used, now) {
            return None;
        }
        let age = now.since(record.fresh_until).0 / 1000;
        let superseded = record.newest.as_ref().is_some_and(|newest| newest != key);
        let mut answer =
            Answer { status: record.status, headers: record.headers, body: record.body, origin: Origin::Stale };
        if superseded {
            record.cookies.into_iter().for_each(|line| answer.set_cookie(line));
        }
        Some(self.mark(answer, format!("cloakroom; {why}; ttl=-{age}")))
    }
}
