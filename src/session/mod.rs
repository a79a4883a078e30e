//! The session engine: what the answer to a session check is, without knowing that there is a network.
//!
//! A [`SessionCache`] is asked about the session cookie of a request. It answers from the store, or says that the
//! source is to be asked, once, however many ask: the first gets a [`Fill`], the others a [`Wait`]. Sign-outs lay
//! fences, so that nothing that began before them can bring a session back. Nothing here opens a socket, waits or asks
//! a clock: whoever owns the sockets carries the bytes and says what time it is, and every race is a test of plain calls.
//!
//! The body of a session lies in the store under `auth:session:~hash`, where a Redis client that names
//! `auth:session:<token>` reads, writes and deletes the same entry. What only HTTP needs (status, header lines, the
//! newest cookie of a rolling token, the names of a family) lies in a store that no command reaches, and dies by a
//! deadline as everything does.
//!
//! Words: a *family* is one login: the token that was seen first and those it was rotated to. A *fill* asks the source
//! once, a *wait* shares the answer under way, a *fence* refuses what began before a sign-out.
//!
//! A [`SessionCache`] with a store of its own is [`embedded`](SessionCache::embedded); the first check is a call to the
//! source, and those after it are not:
//!
//! ```
//! use cloakroom::clock::{ManualClock, Ttl};
//! use cloakroom::session::{LookUp, Origin, Outcome, SessionCache, Settings, Source, SourceAnswer};
//!
//! let hands = ManualClock::default();
//! let settings = Settings { source: Source::Upstream, ..Settings::default() };
//! let sessions = SessionCache::embedded(settings, hands.clone());
//!
//! let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
//! let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!("nothing is known yet") };
//! let body = r#"{"user":{"name":"alice"},"expires":"2099-01-01T00:00:00.000Z"}"#;
//! let answer = SourceAnswer::new(200, body).with("content-type", "application/json");
//! sessions.complete(fill, Outcome::Answered(answer), hands.now());
//!
//! hands.advance(Ttl::seconds(4));
//! let LookUp::Answer(answer) = sessions.look_up(&tokens, hands.now()) else { panic!("it was stored") };
//! assert_eq!((answer.origin, &answer.body[..]), (Origin::Cache, body.as_bytes()));
//! ```
//!
//! With the application's secret the tokens tell themselves whose they are, and nobody is asked:
//!
//! ```
//! # use cloakroom::clock::ManualClock;
//! use cloakroom::session::{Claims, Keyring, LookUp, NextAuth, Profile, Secrets, SessionCache, Settings, Source};
//!
//! # let hands = ManualClock::default();
//! let secrets = Secrets::new(["NEXTAUTH_SECRET"]).expect("one that is not empty");
//! let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
//! let token = keyring.encode(Claims::read(br#"{"name":"alice"}"#)?, hands.now().0 / 1000, 3600, [7; 32]);
//!
//! let settings = Settings { source: Source::NextAuth(NextAuth::new(secrets)), ..Settings::default() };
//! let sessions = SessionCache::embedded(settings, hands.clone());
//! let cookie = format!("next-auth.session-token={token}");
//! let cookies = || [cookie.as_bytes()];
//! let LookUp::Fill(fill) = sessions.look_up(&sessions.tokens(cookies()), hands.now()) else { panic!("not stored yet") };
//! let dice = [8; 32]; // from the system's randomness
//! let answer = sessions.decode(fill, cookies(), false, dice, hands.now());
//! assert!(answer.body.starts_with(br#"{"user":{"name":"alice"},"expires":"#));
//! # Ok::<(), cloakroom::session::TokenFault>(())
//! ```

mod answer;
mod cache;
mod claims;
mod complaints;
mod cookie;
mod counters;
mod credential;
mod csrf;
mod dead;
mod family;
mod fill;
mod flight;
mod headers;
mod hit;
mod jwt;
mod nextauth;
mod pass;
mod service;
mod signout;
mod source;
mod story;
mod sync;
mod time;
mod users;
mod verify;

#[cfg(test)]
mod tests;

use crate::clock::Ttl;
use crate::config::ClaimHeaders;

pub use answer::{Answer, Header, Origin};
pub use cache::{LookUp, PassWhy, SessionCache};
pub use claims::Claims;
pub use cookie::Tokens;
pub use counters::{Counters, Row};
pub use flight::{Fill, Wait};
pub use headers::Route;
pub use hit::Hit;
pub use jwt::{DICE, Keyring, Secrets, TokenFault};
pub use nextauth::NextAuth;
pub use pass::{Observed, Passage};
pub use service::Service;
pub use signout::{Ended, SignIn, SignOut};
pub use source::{Failure, Outcome, Source, SourceAnswer};
pub use users::{Everywhere, User};
pub use verify::Verified;

#[cfg_attr(doc, doc(hidden))]
pub use {
    answer::{PRIVATE, is_private, speaks_to_caches},
    credential::is_credential,
    csrf::may_vouch,
    family::for_disk,
    headers::{carries_via, claims_identity, connection_names, passes_down, passes_up, route},
    story::{Account, Event, State, Told},
};

/// Which of NextAuth's libraries has made a session cookie, and with it what an empty session looks like.
///
/// ```
/// use cloakroom::session::Profile;
///
/// assert_eq!(Profile::NextAuth.cookie(), "next-auth.session-token");
/// assert_eq!(Profile::AuthJs.empty_body(), "null");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// next-auth 4: `next-auth.session-token`, `{}`.
    NextAuth,
    /// Auth.js (next-auth 5, @auth/core): `authjs.session-token`, `null`.
    AuthJs,
}

impl Profile {
    /// The session cookie over plain HTTP; over HTTPS the same with `__Secure-` in front.
    ///
    /// ```
    /// # use cloakroom::session::Profile;
    /// assert_eq!(Profile::AuthJs.cookie(), "authjs.session-token");
    /// ```
    pub fn cookie(self) -> &'static str {
        match self {
            Profile::NextAuth => "next-auth.session-token",
            Profile::AuthJs => "authjs.session-token",
        }
    }

    /// The body of a check that found nobody signed in.
    ///
    /// ```
    /// # use cloakroom::session::Profile;
    /// assert_eq!(Profile::NextAuth.empty_body(), "{}");
    /// ```
    pub fn empty_body(self) -> &'static str {
        match self {
            Profile::NextAuth => "{}",
            Profile::AuthJs => "null",
        }
    }
}

/// What a check is answered when the source fails and no earlier answer may be shown.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// let settings = Settings { source: Source::Upstream, on_error: OnError::Pass, ..Settings::default() };
/// let sessions = SessionCache::embedded(settings, hands.clone());
/// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
/// let answer = sessions.complete(fill, Outcome::Failed(Failure::Timeout), hands.now());
/// assert_eq!(answer.status, 504);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The failure, with `Retry-After`: a status that claims nothing about the user.
    Pass,
    /// `200` with the empty session, so that pages render as for a visitor.
    Empty,
}

/// How sessions are cached.
///
/// ```
/// use cloakroom::clock::Ttl;
/// use cloakroom::session::{Settings, Source};
///
/// let settings = Settings { source: Source::Upstream, ttl: Ttl::seconds(10), ..Settings::default() };
/// assert_eq!(settings.prefix, b"auth:session:");
/// assert_eq!(settings.stale, Ttl::seconds(30));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What is asked when the store knows nothing.
    pub source: Source,
    /// Whose sessions they are.
    pub service: Service,
    /// Which of NextAuth's libraries it is, where the service is NextAuth. `None`: read from the cookies of requests and answers.
    pub profile: Option<Profile>,
    /// The app's own name for the session cookie, in place of the profile's two.
    pub cookie: Option<String>,
    /// The namespace of session entries, which should be secret and fenced in the store.
    pub prefix: Vec<u8>,
    /// How long an answer is good, counted from the start of the call.
    pub ttl: Ttl,
    /// How much longer the last good answer may be shown while the source fails.
    pub stale: Ttl,
    /// The longest a call to the source may take. Whoever makes the call keeps to it.
    pub timeout: Ttl,
    /// What is shown when the source fails and nothing stale may be.
    pub on_error: OnError,
    /// Whether a signed-out token stays refused for as long as the source may take it for good.
    pub revoke: bool,
    /// How long a session can last at most from when its newest token was made: NextAuth's `session.maxAge`.
    pub max_age: Ttl,
    /// Bytes that fences may take before sign-outs of tokens that were never seen here are remembered for seconds only.
    pub fences_room: usize,
    /// Session cookies longer than this in sum go past the cache.
    pub cookie_max: usize,
    /// Bodies longer than this are not sessions.
    pub body_max: usize,
    /// Which claims a proxy is told beside who it is.
    pub headers: ClaimHeaders,
    /// Whether a proxy gets the session signed, if there is [somebody to sign](SessionCache::sign_with).
    pub signs: bool,
}

/// Bytes of session cookie that are read by default: two chunks of NextAuth's.
const COOKIE_MAX: usize = 8 * 1024;

/// Bytes of a session's body that are taken by default. Real ones have a few hundred.
const BODY_MAX: usize = 64 * 1024;

/// NextAuth's own `session.maxAge` where an app names none.
const MAX_AGE: Ttl = Ttl::seconds(30 * 24 * 60 * 60);

/// Bytes that fences may take by default before strangers' sign-outs are remembered for seconds only: about half a million.
const FENCES_ROOM: usize = 64 << 20;

/// What is added to lengths that must outlast others, for scheduling and a coarse clock.
const MARGIN: Ttl = Ttl::seconds(3);

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            source: Source::StoreAlone,
            service: Service::next_auth(),
            profile: None,
            cookie: None,
            prefix: b"auth:session:".to_vec(),
            ttl: Ttl::seconds(5),
            stale: Ttl::seconds(30),
            timeout: Ttl::seconds(2),
            on_error: OnError::Empty,
            revoke: true,
            max_age: MAX_AGE,
            fences_room: FENCES_ROOM,
            cookie_max: COOKIE_MAX,
            body_max: BODY_MAX,
            headers: ClaimHeaders::default(),
            signs: true,
        }
    }
}

impl Settings {
    /// How long a fence must stand so that nothing that began before it is around when it falls: neither a call to the
    /// source and what is stored from it, nor an earlier answer that may be shown while the source fails. The store
    /// is to be built with this (`Store::builder().fence(..)`), as its own fences are laid by commands.
    ///
    /// ```
    /// use cloakroom::{Store, clock::Clock, session::{SessionCache, Settings, Source}};
    ///
    /// let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// let mut stores = Store::builder().fence(settings.fence()).build_family(2);
    /// let (families, answers) = (stores.remove(1), stores.remove(0));
    /// let sessions = SessionCache::new(answers, families, settings);
    /// # let _ = sessions;
    /// ```
    pub fn fence(&self) -> Ttl {
        Ttl(self.longest_call().0.saturating_add(MARGIN.0))
    }

    /// The longest that anything may take that a fence is to outlast.
    pub(crate) fn longest_call(&self) -> Ttl {
        let stale = if self.source == Source::Upstream { self.stale } else { Ttl(0) };
        Ttl(self.timeout.0.saturating_add(self.ttl.0).max(self.ttl.0.saturating_add(stale.0)))
    }
}
