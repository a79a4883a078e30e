//! Tokens
use super::*;
/// What a request's cookies say about the session.
#[derive(Clone, Debug)]
pub struct Tokens { }
impl Tokens {
    /// Whether there is any session cookie.
    pub fn is_empty(&self) -> bool { unimplemented!() }
}
