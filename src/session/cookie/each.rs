//! What each of the session cookies of a request means by itself.

use smallvec::SmallVec;

use super::join::{Part, Reading, join};
use super::{CookieNames, cookies_of};

/// A session cookie of a request, all its chunks together.
pub(in crate::session) struct Meant {
    /// Which of the known names it has.
    pub known: usize,
    /// The tokens that it may be.
    pub tokens: Vec<Vec<u8>>,
    /// Whether it is the one token, and whether it is no other than these.
    pub is_clear: bool,
    pub is_whole: bool,
}

impl CookieNames {
    /// The session cookies in the values of `Cookie` headers.
    pub fn each<'a>(&self, cookies: impl IntoIterator<Item = &'a [u8]>) -> SmallVec<[Meant; 1]> {
        let mut parts: SmallVec<[Part<'a>; 4]> = SmallVec::new();
        for cookie in cookies.into_iter().flat_map(cookies_of) {
            parts.extend(self.part(cookie));
        }
        let meant = |known| {
            let own: SmallVec<[&Part<'_>; 4]> = parts.iter().filter(|part| part.known == known).collect();
            // One that is empty alone says nothing.
            if own.iter().all(|part| part.is_empty()) {
                return None;
            }
            Some(match join(&own) {
                Reading::Clear(token) => {
                    // Others may take it for a token that it is not.
                    let is_clear = !self.is_bent_in(&own, &token);
                    Meant { known, tokens: vec![token.into_owned()], is_clear, is_whole: is_clear }
                }
                Reading::Unclear(tokens, is_whole) => Meant { known, tokens, is_clear: false, is_whole },
            })
        };
        (0..self.known.len()).filter_map(meant).collect()
    }

    /// Which of the known names a cookie's name is to any parser, or begins with.
    pub fn known_by(&self, cookie: &[u8]) -> Option<usize> {
        self.part(cookie).ok().map(|part| part.known)
    }
}
