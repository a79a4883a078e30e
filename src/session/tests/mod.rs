//! The engine, told what time it is and what the source said.

#![allow(clippy::unwrap_used)]

mod cookies;
mod dead;
mod endings;
mod everywhere;
mod faults;
mod nextauth;
mod parsers;
mod races;
mod random;
mod recorded;
mod rules;
mod services;
mod story;
mod vectors;
mod verify;

use std::task::{Context, Poll, Waker};

use super::*;
use crate::clock::{ManualClock, Millis};
use crate::store::Store;

/// A cache between made-up browsers and a made-up source.
pub(super) struct Desk {
    pub clock: ManualClock,
    pub answers: Store,
    pub families: Store,
    pub sessions: SessionCache,
}

impl Desk {
    /// In front of next-auth 4.
    pub fn upstream() -> Desk {
        Desk::with(Settings {
            source: Source::Upstream,
            profile: Some(Profile::NextAuth),
            on_error: OnError::Pass,
            ..Settings::default()
        })
    }

    /// The store alone.
    pub fn alone() -> Desk {
        Desk::with(Settings { profile: Some(Profile::NextAuth), ..Settings::default() })
    }

    pub fn with(settings: Settings) -> Desk {
        let clock = ManualClock::default();
        let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
        let (families, answers) = (stores.remove(1), stores.remove(0));
        let sessions = SessionCache::new(answers.clone(), families.clone(), settings);
        Desk { clock, answers, families, sessions }
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    pub fn wait(&self, ttl: Ttl) {
        self.clock.advance(ttl);
    }

    pub fn tokens(&self, cookie: &str) -> Tokens {
        self.sessions.tokens([cookie.as_bytes()])
    }

    pub fn check(&self, cookie: &str) -> LookUp {
        self.sessions.look_up(&self.tokens(cookie), self.now())
    }

    /// A check that is answered at once.
    #[track_caller]
    pub fn hit(&self, cookie: &str) -> Answer {
        match self.check(cookie) {
            LookUp::Answer(answer) => answer,
            other => panic!("no answer at hand: {other:?}"),
        }
    }

    /// A check that asks the source.
    #[track_caller]
    pub fn miss(&self, cookie: &str) -> Fill {
        match self.check(cookie) {
            LookUp::Fill(fill) => fill,
            other => panic!("no call: {other:?}"),
        }
    }

    /// A check that shares a call.
    #[track_caller]
    pub fn joins(&self, cookie: &str) -> Wait {
        match self.check(cookie) {
            LookUp::Wait(wait) => wait,
            other => panic!("no call under way: {other:?}"),
        }
    }

    /// A check that asks the source and is answered at once.
    #[track_caller]
    pub fn fill(&self, cookie: &str, answer: SourceAnswer) -> Answer {
        let fill = self.miss(cookie);
        self.complete(fill, answer)
    }

    pub fn complete(&self, fill: Fill, answer: SourceAnswer) -> Answer {
        self.sessions.complete(fill, Outcome::Answered(answer), self.now())
    }

    pub fn fail(&self, fill: Fill, failure: Failure) -> Answer {
        self.sessions.complete(fill, Outcome::Failed(failure), self.now())
    }

    /// What a waiter is answered, if anything yet.
    pub fn shared(&self, wait: &Wait) -> Option<Answer> {
        match self.sessions.poll_wait(wait, Context::from_waker(Waker::noop()).waker(), self.now()) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    pub fn sign_out(&self, cookie: &str, answer: Option<&SourceAnswer>) -> Ended {
        let sign_out = self.sessions.begin_sign_out(&self.tokens(cookie), self.now());
        self.sessions.end_sign_out(sign_out, answer, self.now())
    }

    /// What a Redis client reads.
    pub fn redis_get(&self, token: &str) -> Option<Vec<u8>> {
        let key = format!("auth:session:{token}");
        self.answers.get(key.as_bytes(), self.now(), |value| value.string().unwrap().to_vec())
    }

    /// A Redis client's SET with EX.
    pub fn redis_set(&self, token: &str, value: &str, ttl: Ttl) -> crate::error::Result<()> {
        let key = format!("auth:session:{token}");
        let until = self.now() + ttl;
        self.answers.write(key.as_bytes(), value.as_bytes(), self.now(), |slot, fresh| slot.put(fresh.until(until)))
    }

    /// A Redis client's DEL.
    pub fn redis_del(&self, token: &str) -> bool {
        self.answers.with(format!("auth:session:{token}").as_bytes(), self.now(), |slot| slot.remove())
    }

    /// Entries that a Redis client's KEYS would list.
    pub fn keys(&self) -> usize {
        self.answers.len()
    }

    pub fn count(&self, name: &str) -> u64 {
        self.sessions.counters().rows().into_iter().find(|row| row.0 == name).unwrap().2
    }
}

/// A cookie header with this token.
pub(super) fn cookie(token: &str) -> String {
    format!("next-auth.session-token={token}")
}

/// What the source says about a user, with the session cookie it sets.
pub(super) fn signed_in(user: &str, rolled: &str) -> SourceAnswer {
    let answer = told(user);
    if rolled.is_empty() { answer } else { answer.with("set-cookie", rolled_to(rolled)) }
}

/// What the source says about a user, without a cookie.
pub(super) fn told(user: &str) -> SourceAnswer {
    SourceAnswer::new(200, body(user)).with("content-type", "application/json").with("vary", "rsc")
}

/// The session of a user, which ends about a day after the manual clock's start.
pub(super) fn body(user: &str) -> String {
    format!(r#"{{"user":{{"name":"{user}"}},"expires":"2023-11-15T22:13:20.000Z"}}"#)
}

pub(super) fn rolled_to(token: &str) -> String {
    format!("next-auth.session-token={token}; Path=/; HttpOnly; SameSite=Lax")
}

/// The answer to a sign-out that took place.
pub(super) fn deletes() -> SourceAnswer {
    SourceAnswer::new(200, r#"{"url":"/"}"#)
        .with("set-cookie", "next-auth.session-token=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax")
}

/// The session cookies that an answer sets.
pub(super) fn set_cookies(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers.iter().filter(|(name, _)| name.as_ref() == b"set-cookie");
    lines.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect()
}

/// Whose session a body shows.
pub(super) fn user(answer: &Answer) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    Some(value.get("user")?.get("name")?.as_str()?.to_owned())
}
