//! Requests that go past the cache.
use super::*;
use crate::clock::Millis;
/// What kind of request goes past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// A session check that is not plain, or whose token is not clear.
    Check,
    /// `POST` on the session path: the app changes the session.
    Update,
    /// Whatever may sign somebody in.
    SignIn,
    /// Anything else.
    Page,
}

/// What is to be done with an answer that went past the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Hand it on as it is.
    Untouched,
    /// The token was signed out meanwhile: hand it on without its `set-cookie` lines of the session
    /// ([`SessionCache::is_session_cookie`]), and instead of a session's body the empty one.
    SignedOut,
}

impl SessionCache {
    /// Before a request is handed on past the cache. `Some`: it is not to be handed on, this is the answer.
    pub fn admit(&self, tokens: &Tokens, passage: Passage, now: Millis) -> Option<Answer> { unimplemented!() }
    /// After the head of an answer came back: what its cookies mean for the cache, and what to do with it.
    pub fn observe(&self, tokens: &Tokens, passage: Passage, headers: &[Header], now: Millis) -> Observed { unimplemented!() }
    /// The same for an answer that is there whole, as session checks and updates are: what to hand out.
    pub fn passed(&self, tokens: &Tokens, passage: Passage, outcome: Outcome, now: Millis) -> Answer { unimplemented!() }
    /// Whether a `set-cookie` line is about a session cookie.
    pub fn is_session_cookie(&self, set_cookie: &[u8]) -> bool { unimplemented!() }
}
