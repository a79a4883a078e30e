//! Sign-outs.
use super::*;
use crate::clock::Millis;
/// A sign-out that was begun: its fences stand. Dropped, they stay.
#[derive(Debug)]
#[must_use]
pub struct SignOut {}
/// How a sign-out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The token is dead here.
    SignedOut,
    /// The source let the session live; so do we.
    Refused,
}
impl SessionCache {
    /// Fences the family of a token, before the sign-out is handed on.
    pub fn begin_sign_out(&self, tokens: &Tokens, now: Millis) -> SignOut { unimplemented!() }
    /// Ends a sign-out with what the source said; `None` if it said nothing. The source's answer is handed out as it is.
    pub fn end_sign_out(&self, sign_out: SignOut, answer: Option<&SourceAnswer>, now: Millis) -> Ended { unimplemented!() }
    /// Clears what is stored for a token: the first of the five steps of a logout button, which changes nothing at the
    /// source. With the store alone it is the sign-out itself. The answer is `{"success":true}`.
    pub fn clear(&self, tokens: &Tokens, now: Millis) -> Answer { unimplemented!() }
    /// Forgets a family: the next check asks the source anew.
    pub fn drop_family(&self, tokens: &Tokens, now: Millis) { unimplemented!() }
}
