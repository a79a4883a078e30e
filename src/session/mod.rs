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
//! ```
//! use cloakroom::clock::{ManualClock, Ttl};
//! use cloakroom::session::{LookUp, Origin, Outcome, SessionCache, Settings, Source, SourceAnswer};
//! use cloakroom::store::Store;
//!
//! let clock = ManualClock::default();
//! let settings = Settings { source: Source::Upstream, ..Settings::default() };
//! let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
//! let (families, answers) = (stores.remove(1), stores.remove(0));
//! let sessions = SessionCache::new(answers, families, settings);
//!
//! // The first check is a call to the source ...
//! let tokens = sessions.tokens([b"next-auth.session-token=abc".as_slice()]);
//! let LookUp::Fill(fill) = sessions.look_up(&tokens, clock.now()) else { panic!("nothing is known yet") };
//! let body = r#"{"user":{"name":"alice"},"expires":"2099-01-01T00:00:00.000Z"}"#;
//! let answer = SourceAnswer::new(200, body).with("content-type", "application/json");
//! sessions.complete(fill, Outcome::Answered(answer), clock.now());
//!
//! // ... and the next is not.
//! clock.advance(Ttl::seconds(4));
//! let LookUp::Answer(answer) = sessions.look_up(&tokens, clock.now()) else { panic!("it was stored") };
//! assert_eq!((answer.origin, &answer.body[..]), (Origin::Cache, body.as_bytes()));
//! ```
//!
//! A library that needs no door of its own keeps sessions in the store alone:
//!
//! ```
//! use cloakroom::session::{LookUp, SessionCache, Settings};
//! use cloakroom::clock::Ttl;
//! use cloakroom::store::Store;
//!
//! let mut stores = Store::builder().build_family(2);
//! let (families, answers) = (stores.remove(1), stores.remove(0));
//! let sessions = SessionCache::new(answers.clone(), families, Settings::default());
//!
//! answers.put(b"auth:session:abc", br#"{"user":{"name":"alice"}}"#, Ttl::seconds(5)).unwrap();
//! let tokens = sessions.tokens([b"next-auth.session-token=abc".as_slice()]);
//! let LookUp::Answer(answer) = sessions.look_up(&tokens, answers.clock().now()) else { panic!("nobody else to ask") };
//! assert_eq!(&answer.body[..], br#"{"user":{"name":"alice"}}"#);
//! ```
//!
//! With the application's secret the tokens tell themselves whose they are, and nobody is asked:
//!
//! ```
//! # use cloakroom::clock::{ManualClock, Ttl};
//! # use cloakroom::store::Store;
//! use cloakroom::session::{Claims, Keyring, LookUp, NextAuth, Profile, Secrets, SessionCache, Settings, Source};
//!
//! # let clock = ManualClock::default();
//! # let unix = clock.now().0 / 1000;
//! let secrets = Secrets::new(["NEXTAUTH_SECRET"]).unwrap();
//! let keyring = Keyring::new(Profile::NextAuth, "next-auth.session-token", &secrets);
//! let token = keyring.encode(Claims::read(br#"{"name":"alice"}"#).unwrap(), unix, 3600, [7; 32]);
//!
//! let settings = Settings { source: Source::NextAuth(NextAuth::new(secrets)), ..Settings::default() };
//! let mut stores = Store::builder().clock(clock.clone()).fence(settings.fence()).build_family(2);
//! let (families, answers) = (stores.remove(1), stores.remove(0));
//! let sessions = SessionCache::new(answers, families, settings);
//!
//! let cookies = [format!("next-auth.session-token={token}")];
//! let cookies = || cookies.iter().map(String::as_bytes);
//! let LookUp::Fill(fill) = sessions.look_up(&sessions.tokens(cookies()), clock.now()) else { panic!("not stored yet") };
//! let dice = [8; 32]; // from the system's randomness
//! let answer = sessions.decode(fill, cookies(), false, dice, clock.now());
//! assert!(answer.body.starts_with(br#"{"user":{"name":"alice"},"expires":"#));
//! ```

mod answer;
mod cache;
mod claims;
mod cookie;
mod counters;
mod credential;
mod csrf;
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

pub use answer::{Answer, Header, Origin, PRIVATE, is_private, speaks_to_caches};
pub use cache::{LookUp, PassWhy, SessionCache};
pub use claims::Claims;
pub use cookie::Tokens;
pub use counters::{Counters, Row};
pub use credential::is_credential;
pub use csrf::may_vouch;
pub use family::for_disk;
pub use flight::{Fill, Wait};
pub use headers::{Route, carries_via, connection_names, passes_down, passes_up, route};
pub use hit::Hit;
pub use jwt::{DICE, Keyring, Secrets, TokenFault};
pub use nextauth::NextAuth;
pub use pass::{Observed, Passage};
pub use service::{SESSION_PATH, Service};
pub use signout::{Ended, SignOut};
pub use source::{Failure, Outcome, Source, SourceAnswer};
pub use story::{Account, Event, State, Told};
pub use users::{Everywhere, User};
pub use verify::Verified;

/// Which of NextAuth's libraries has made a session cookie, and with it what an empty session looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// next-auth 4: `next-auth.session-token`, `{}`.
    NextAuth,
    /// Auth.js (next-auth 5, @auth/core): `authjs.session-token`, `null`.
    AuthJs,
}

impl Profile {
    /// The session cookie over plain HTTP; over HTTPS the same with `__Secure-` in front.
    pub fn cookie(self) -> &'static str {
        match self {
            Profile::NextAuth => "next-auth.session-token",
            Profile::AuthJs => "authjs.session-token",
        }
    }

    /// The body of a check that found nobody signed in.
    pub fn empty_body(self) -> &'static str {
        match self {
            Profile::NextAuth => "{}",
            Profile::AuthJs => "null",
        }
    }
}

/// What a check is answered when the source fails and no earlier answer may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The failure, with `Retry-After`: a status that claims nothing about the user.
    Pass,
    /// `200` with the empty session, so that pages render as for a visitor.
    Empty,
}

/// How sessions are cached.
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
    pub fn fence(&self) -> Ttl {
        let stale = if self.source == Source::Upstream { self.stale } else { Ttl(0) };
        let longest = self.timeout.0.saturating_add(self.ttl.0).max(self.ttl.0.saturating_add(stale.0));
        Ttl(longest.saturating_add(MARGIN.0))
    }
}
