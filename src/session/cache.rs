//! Looking up and filling: the two ends of a session check.
use super::*;
use super::answer::Answer;
use super::cookie::Tokens;
use super::flight::{Fill, Wait};
use super::source::Outcome;
use crate::clock::Millis;
use crate::store::Store;
use std::sync::Arc;
use std::task::{Poll, Waker};
use super::counters::Counters;

/// What a session check comes to.
#[derive(Debug)]
pub enum LookUp {
    /// This is the answer.
    Answer(Answer),
    /// The source is to be asked, by whoever holds this, once.
    Fill(Fill),
    /// The source is being asked; the answer is shared.
    Wait(Wait),
    /// The request goes past the cache. What comes back is shown to [`SessionCache::passed`] before it is handed out.
    Pass(PassWhy),
}

/// Why a check goes past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassWhy {
    /// It cannot be told which token the source will read.
    Ambiguous,
    /// There is more session cookie than is read here.
    TooLong,
    /// No cookie told yet which library answers, and so what an empty session looks like.
    ProfileUnknown,
    /// It asks for more than the session: a query, another method.
    NotPlain,
}

/// The session cache. Clones share it; all of it may be called from any thread.
#[derive(Clone)]
pub struct SessionCache { pub(super) core: Arc<Core> }
pub(super) struct Core { }

impl SessionCache {
    /// A cache on two stores of one family: `answers` is what commands see, `families` is reached by nobody else.
    pub fn new(answers: Store, families: Store, settings: Settings) -> SessionCache { unimplemented!() }
    /// The settings it was made with.
    pub fn settings(&self) -> &Settings { unimplemented!() }
    /// What it counts.
    pub fn counters(&self) -> &Counters { unimplemented!() }
    /// Reads the values of a request's `Cookie` headers, once.
    pub fn tokens<'a>(&self, cookies: impl IntoIterator<Item = &'a [u8]>) -> Tokens { unimplemented!() }
    /// Looks a session up: `GET` on exactly the session path, without a query.
    pub fn look_up(&self, tokens: &Tokens, now: Millis) -> LookUp { unimplemented!() }
    /// Ends a fill: stores what may be stored, wakes who waits, and gives the asker's answer.
    pub fn complete(&self, fill: Fill, outcome: Outcome, now: Millis) -> Answer { unimplemented!() }
    /// The shared answer, when it is there; otherwise `waker` is woken when it is. Ask again with the time it is then.
    pub fn poll_wait(&self, wait: &Wait, waker: &Waker, now: Millis) -> Poll<Answer> { unimplemented!() }
    /// The shared answer as it is when whoever waits can wait no longer: the last good one, or the failure.
    pub fn give_up(&self, wait: Wait, now: Millis) -> Answer { unimplemented!() }
    pub(super) fn abandon(&self, fill: &mut Fill) { unimplemented!() }
}
