//! One call to the source that is under way, its asker and those who wait for it.
//!
//! No runtime is known here: who waits leaves a [`Waker`] of the standard library, and the end of the flight wakes
//! them all at once. An end cannot be missed, as the result and the wakers are behind one lock.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::answer::Answer;
use super::cache::SessionCache;
use super::cookie::{Side, Tokens};
use super::source::Failure;
use super::sync::Steps;
use crate::clock::Millis;
use crate::store::NameBuf;

/// How a flight ended for those who waited.
#[derive(Clone)]
pub(super) enum Landing {
    /// With this answer, which holds nothing that belongs to its asker alone, and the cookie that the source has read.
    Answer(Answer, Option<Side>),
    /// Without one; each waiter is answered for its own time.
    Failed(Failure),
    /// With a failure that was an answer: a 429 or a 5xx.
    Troubled(Answer),
}

#[derive(Default)]
struct State {
    landing: Option<Landing>,
    wakers: Vec<Waker>,
}

/// What asker and waiters share.
#[derive(Default)]
pub(super) struct Flight {
    state: Mutex<State>,
}

impl Flight {
    /// Ends the flight and wakes who waits. The first end counts.
    pub fn land(&self, landing: Landing, steps: &Steps) {
        let wakers = {
            let mut state = steps.lock(&self.state);
            state.landing.get_or_insert(landing);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How it ended, or a promise to wake.
    pub fn landing(&self, waker: &Waker, steps: &Steps) -> Option<Landing> {
        let mut state = steps.lock(&self.state);
        if state.landing.is_none() && !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        state.landing.clone()
    }
}

/// The right and the duty to ask the source once. Hand it to [`SessionCache::complete`] with what the source said. Who
/// drops it ends the flight, and those who wait are answered as after a failure: nobody is stuck, nobody is let loose.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// use std::task::Waker;
///
/// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// let LookUp::Wait(wait) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// drop(fill); // whoever had it has failed
/// assert!(sessions.poll_wait(&wait, Waker::noop(), hands.now()).is_ready());
/// ```
#[must_use = "a dropped fill answers those who wait with a failure"]
pub struct Fill {
    pub(super) cache: SessionCache,
    pub(super) flight: Arc<Flight>,
    /// Under which name the flight is listed.
    pub(super) listed: NameBuf,
    /// The family's name when the flight began.
    pub(super) family: NameBuf,
    pub(super) tokens: Tokens,
    pub(super) started: Millis,
    /// Whether the asker's token had been replaced by an update when the flight began.
    pub(super) behind: bool,
    /// Whom the token names, where it can be read.
    pub(super) subject: Option<Box<str>>,
    /// The name of the list of the user's families, once an answer has told who it is.
    pub(super) user: Option<Box<[u8]>>,
    /// When the token ends by its own words, in milliseconds of Unix time.
    pub(super) ends: Option<u64>,
    pub(super) done: bool,
}

impl Fill {
    /// When the call began; it may take the settings' `timeout` from here.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert_eq!(fill.started(), hands.now());
    /// ```
    pub fn started(&self) -> Millis {
        self.started
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.done {
            let cache = self.cache.clone();
            cache.abandon(self);
        }
    }
}

/// A share in a call that is under way. Poll it with [`SessionCache::poll_wait`].
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// use std::future::poll_fn;
///
/// async fn shared(sessions: SessionCache, wait: Wait) -> Answer {
///     let clock = sessions.store().clock().clone();
///     poll_fn(|context| sessions.poll_wait(&wait, context.waker(), clock.now())).await
/// }
/// ```
pub struct Wait {
    pub(super) flight: Arc<Flight>,
    /// The family's name when the wait began.
    pub(super) family: NameBuf,
    pub(super) tokens: Tokens,
}

impl std::fmt::Debug for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fill").field("started", &self.started).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wait")
    }
}
