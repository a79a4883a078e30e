//! What the session doors count. Relaxed atomics: the figures are for people and graphs, and decide nothing but one
//! thing, whether the source is limiting us, which is a figure too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A row of the figures: name, what it says, value.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let (name, help, value): Row = sessions.counters().rows()[0];
/// assert_eq!((name, help, value), ("hits", "Session checks answered from the store", 0));
/// ```
pub type Row = (&'static str, &'static str, u64);

macro_rules! counters {
    ($($name:ident $help:literal)*) => {
        /// The counters of a [`SessionCache`](super::SessionCache).
        ///
        /// ```
        /// # use cloakroom::clock::Clock;
        /// # use cloakroom::session::{SessionCache, Settings};
        /// # let sessions = SessionCache::embedded(Settings::default(), Clock::system());
        /// let count = |name| sessions.counters().rows().into_iter().find(|row| row.0 == name).map(|row| row.2);
        /// sessions.look_up(&sessions.tokens([]), sessions.store().clock().now());
        /// assert_eq!((count("empty"), count("hits")), (Some(1), Some(0)));
        /// ```
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(super) $name: AtomicU64,)*
            /// Whether the last answer of the source was a 429.
            is_limited: AtomicBool,
        }

        impl Counters {
            /// Every counter now, for INFO and for Prometheus.
            ///
            /// ```
            /// # use cloakroom::clock::Clock;
            /// # use cloakroom::session::{SessionCache, Settings};
            /// # let sessions = SessionCache::embedded(Settings::default(), Clock::system());
            /// assert!(sessions.counters().rows().iter().all(|(_, _, count)| *count == 0));
            /// ```
            pub fn rows(&self) -> Vec<Row> {
                vec![$((stringify!($name), $help, self.$name.load(Ordering::Relaxed)),)*]
            }

            /// Sets every counter to zero.
            ///
            /// ```
            /// # use cloakroom::clock::Clock;
            /// # use cloakroom::session::{SessionCache, Settings};
            /// # let sessions = SessionCache::embedded(Settings::default(), Clock::system());
            /// sessions.look_up(&sessions.tokens([]), sessions.store().clock().now());
            /// sessions.counters().reset();
            /// assert!(sessions.counters().rows().iter().all(|(_, _, count)| *count == 0));
            /// ```
            pub fn reset(&self) {
                $(self.$name.store(0, Ordering::Relaxed);)*
            }
        }
    };
}

counters! {
    hits "Session checks answered from the store"
    misses "Session checks that found nothing in the store and asked the source"
    waits "Session checks that shared a call to the source that was under way"
    stale "Session checks answered with the last good answer because the source failed"
    empty "Session checks answered without a session because no cookie came or nothing is stored"
    fenced "Session checks answered without a session because the token was signed out"
    passed "Session requests that went past the cache"
    source_calls "Answers and failures of the source that ended a fill"
    source_failures "Fills that ended in a failure, a 429 or a 5xx"
    limited "Fills that the source answered with 429"
    limited_averted "Checks answered without a call to the source since it last answered 429"
    sign_outs "Sign-outs that took place"
    sign_outs_refused "Sign-outs that the source refused"
    sign_outs_forgotten "Sign-outs of tokens never seen here that are kept for seconds only, as fences take their share of memory"
    cleared "Sessions cleared on request"
    verified "Requests that a proxy was told to let in"
    verify_refused "Requests that a proxy was told to turn away, as nobody is signed in"
    verify_unknown "Requests that a proxy was told nothing of, as the source failed"
    signed "Sessions signed for X-Session"
}

impl Counters {
    /// Counts one check. What is not a call to the source while the source limits us is a 429 averted.
    pub(super) fn check(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        if self.is_limited.load(Ordering::Relaxed) {
            self.limited_averted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the end of a call; the status is `None` if there was no answer, which says nothing about limits.
    pub(super) fn call(&self, status: Option<u16>) {
        add(&self.source_calls);
        let limited = status == Some(429);
        if status.is_none_or(|status| limited || status >= 500) {
            add(&self.source_failures);
        }
        if limited {
            add(&self.limited);
        }
        if status.is_some() {
            self.is_limited.store(limited, Ordering::Relaxed);
        }
    }
}

/// Counts one.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
