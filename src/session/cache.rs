//! Looking up and filling: the two ends of a session check.
//!
//! A hit takes no lock but the store's own. Everything that changes what is known of a session (the start and the end
//! of a fill, a sign-out, what an answer's cookies say) happens under the engine's one lock, so these are single steps
//! to each other. Commands of Redis clients are not: they come between any two looks at the store, and so a body is
//! read last and written last, and the store refuses a write where a fence has been laid.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tracing::debug;

use super::answer::{Answer, Origin};
use super::complaints::Complaints;
use super::cookie::{Change, CookieNames, Seen, Side, Tokens};
use super::counters::{Counters, add};
use super::family::{Block, View};
use super::fill::Trouble;
use super::flight::{Fill, Flight, Landing, Wait};
use super::hit::Hit;
use super::nextauth::Vault;
use super::source::{Failure, Kind, Outcome, Source, SourceAnswer};
use super::story::{Event, Story};
use super::sync::Steps;
use super::{Profile, Service, Settings};
use crate::clock::{Clock, Millis, Ttl};
use crate::config::Namespace;
use crate::store::{Look, NameBuf, Store};

/// What a session check comes to.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// // Whoever serves a check does one of four things.
/// match sessions.look_up(&tokens, hands.now()) {
///     LookUp::Answer(answer) => println!("{} {:?}", answer.status, answer.body),
///     LookUp::Fill(fill) => {
///         // Ask the source with the request's own cookies, in a task that ends even if the client leaves, and then:
///         let outcome = Outcome::Answered(SourceAnswer::new(200, "{}"));
///         println!("{:?}", sessions.complete(fill, outcome, hands.now()).body);
///     }
///     LookUp::Wait(_wait) => println!("poll_wait() until it is there"),
///     LookUp::Pass(why) => println!("ask the source for this request alone: {why:?}"),
/// }
/// ```
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
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// // Which of the two NextAuth reads cannot be told.
/// let twice = sessions.tokens([&b"next-auth.session-token=a; next-auth.session-token=b"[..]]);
/// assert!(matches!(sessions.look_up(&twice, hands.now()), LookUp::Pass(PassWhy::Ambiguous)));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassWhy {
    /// It cannot be told which token the source will read.
    Ambiguous,
    /// There is more session cookie than is read here.
    TooLong,
    /// No cookie told yet which library answers, and so what an empty session looks like.
    ProfileUnknown,
}

/// The session cache. Clones share it; all of it may be called from any thread.
///
/// ```
/// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
/// # use cloakroom::session::*;
/// # let hands = ManualClock::default();
/// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
/// # let sessions = SessionCache::embedded(settings, hands.clone());
/// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
/// // The first check asks, and all that come meanwhile wait for the same answer.
/// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!("nothing is known yet") };
/// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Wait(_)));
/// let session = SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#);
/// sessions.complete(fill, Outcome::Answered(session), hands.now());
///
/// // Then nobody asks, for as long as the settings' `ttl`.
/// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Answer(_)));
/// hands.advance(Ttl::seconds(5));
/// let LookUp::Fill(late) = sessions.look_up(&tokens, hands.now()) else { panic!("it has died") };
///
/// // A sign-out is final, also for an answer that was under way.
/// let sign_out = sessions.begin_sign_out(&tokens, hands.now());
/// sessions.end_sign_out(sign_out, None, hands.now());
/// let session = SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#);
/// let answer = sessions.complete(late, Outcome::Answered(session), hands.now());
/// assert_eq!((answer.origin, &answer.body[..]), (Origin::Fence, &b"{}"[..]));
/// ```
#[derive(Clone)]
pub struct SessionCache {
    pub(super) core: Arc<Core>,
}

/// Calls to the source that are under way and may still be stored, by the name of the family. One that was voided by an
/// update or a sign-in is no longer listed; one that a sign-out came over finds its fence.
pub(super) type Flights = HashMap<NameBuf, Arc<Flight>>;

/// Who is told of a sign-out: the hashed names, without the namespace's prefix, and until when they are dead, in
/// milliseconds of Unix time.
pub(super) type Witness = dyn Fn(&[&[u8]], u64) + Send + Sync;

/// Signs claims at a Unix time in seconds: a JWS in its compact form, or nothing if it cannot.
pub(super) type Signer = dyn Fn(&[u8], u64) -> Option<String> + Send + Sync;

pub(super) struct Core {
    /// Bodies, aliases and fences: what commands see of sessions.
    pub answers: Store,
    /// Records of families.
    pub families: Store,
    /// Those settings that stay as they were at the start.
    pub source: Kind,
    pub service: Service,
    pub prefix_len: usize,
    settings: RwLock<Arc<Settings>>,
    /// The settings' bound, where a hit reads it without taking part in a count.
    body_max: AtomicUsize,
    pub names: CookieNames,
    pub counters: Counters,
    pub steps: Steps,
    /// The last decisions that were no hits.
    pub story: Story,
    /// What was logged of a source that fails.
    pub complaints: Complaints,
    /// The engine's lock.
    pub flights: Mutex<Flights>,
    pub tickets: AtomicU64,
    /// Who writes sign-outs down.
    pub witness: OnceLock<Box<Witness>>,
    /// Who signs sessions.
    pub signer: OnceLock<Box<Signer>>,
    /// How often settings have changed: what was made of a session before is made anew.
    pub changes: AtomicU64,
    /// What tokens are decoded with, if they are.
    pub vault: RwLock<Option<Arc<Vault>>>,
    /// The profile that the source's own cookies have told: 0 for none yet.
    learned: AtomicU8,
}

/// Where the answer to a check without a session cookie comes from.
pub(super) const NO_COOKIE: &str = "cloakroom; hit; detail=no-cookie";
/// The same where cookies are such that it is not known which tokens they may mean.
pub(super) const UNREADABLE: &str = "cloakroom; detail=ambiguous";

/// What a look at the store found.
pub(super) enum Glance {
    Fenced,
    Live(Answer),
    Absent,
}

impl SessionCache {
    /// A cache with a store of its own, whose namespace and fences are as the settings need them.
    ///
    /// ```
    /// use cloakroom::clock::{Clock, Ttl};
    /// use cloakroom::session::{LookUp, SessionCache, Settings};
    ///
    /// // The app writes its sessions itself, and nobody else is asked.
    /// let sessions = SessionCache::embedded(Settings::default(), Clock::system());
    /// sessions.store().put(b"auth:session:abc", br#"{"user":{"name":"alice"}}"#, Ttl::seconds(60))?;
    ///
    /// let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, sessions.store().clock().now()) else { panic!() };
    /// assert_eq!(&answer.body[..], br#"{"user":{"name":"alice"}}"#);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn embedded(settings: Settings, clock: impl Into<Clock>) -> SessionCache {
        let sessions = Namespace {
            secret: true,
            fence: true,
            login: settings.source == Source::StoreAlone,
            ..Namespace::new(Namespace::SESSION, settings.prefix.clone(), settings.ttl)
        };
        let builder = Store::builder().clock(clock).namespaces(vec![sessions]).fence(settings.fence());
        let mut stores = builder.build_family(2);
        let families = stores.pop().unwrap_or_default();
        SessionCache::new(stores.pop().unwrap_or_default(), families, settings)
    }

    /// Where the sessions' bodies lie, under the settings' prefix: what an app may read, write and remove itself.
    ///
    /// ```
    /// use cloakroom::clock::Clock;
    /// use cloakroom::session::{LookUp, Origin, SessionCache, Settings};
    ///
    /// let sessions = SessionCache::embedded(Settings::default(), Clock::system());
    /// sessions.store().remove(b"auth:session:abc"); // a sign-out, as a Redis client does it
    ///
    /// let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let LookUp::Answer(answer) = sessions.look_up(&tokens, sessions.store().clock().now()) else { panic!() };
    /// assert_eq!(answer.origin, Origin::Fence);
    /// ```
    pub fn store(&self) -> &Store {
        &self.core.answers
    }

    /// Gives back the memory of all that has died, by the store's own clock, and tells when to come again.
    ///
    /// ```
    /// use cloakroom::clock::{ManualClock, Ttl};
    /// use cloakroom::session::{SessionCache, Settings};
    ///
    /// let hands = ManualClock::default();
    /// let sessions = SessionCache::embedded(Settings::default(), hands.clone());
    /// sessions.store().put(b"auth:session:abc", b"{}", Ttl::seconds(5))?;
    /// hands.advance(Ttl::seconds(5));
    /// sessions.sweep_now();
    /// assert!(sessions.store().is_empty());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn sweep_now(&self) -> Millis {
        self.core.answers.sweep_now().min(self.core.families.sweep_now())
    }

    /// A cache on two stores of one family: `answers` is what commands see, `families` is reached by nobody else. The
    /// namespace of the settings' `prefix` should be secret and fenced; where it is not, a `DEL` is no sign-out and
    /// nothing stale is shown.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// use cloakroom::{Config, engine::Engine};
    ///
    /// // On the stores of an engine, so that Redis clients see the same sessions.
    /// let engine = Engine::embedded(Config::default(), hands.clone());
    /// let sessions = SessionCache::new(engine.store(0).clone(), engine.records().clone(), Settings::default());
    /// sessions.store().put(b"auth:session:abc", br#"{"user":{}}"#, Ttl::seconds(5))?;
    /// assert!(engine.store(0).fetch(b"auth:session:abc").is_some());
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn new(answers: Store, families: Store, settings: Settings) -> SessionCache {
        let service = settings.service.clone().with_cookie(settings.cookie.as_deref());
        let core = Core {
            names: CookieNames::new(&settings, &service),
            service,
            counters: Counters::default(),
            source: settings.source.kind(),
            prefix_len: settings.prefix.len(),
            body_max: AtomicUsize::new(settings.body_max),
            steps: Steps::default(),
            story: Story::default(),
            complaints: Complaints::default(),
            flights: Mutex::default(),
            tickets: AtomicU64::new(1),
            witness: OnceLock::new(),
            signer: OnceLock::new(),
            changes: AtomicU64::new(0),
            vault: RwLock::default(),
            learned: AtomicU8::new(0),
            answers,
            families,
            settings: RwLock::new(Arc::new(settings)),
        };
        core.refill_vault(&core.settings().source);
        SessionCache { core: Arc::new(core) }
    }

    /// The settings as they are now.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert_eq!(sessions.settings().ttl, Ttl::seconds(5));
    /// ```
    pub fn settings(&self) -> Arc<Settings> {
        self.core.settings()
    }

    /// Changes `ttl`, `stale`, `timeout`, `on_error`, `revoke`, `max_age`, `fences_room`, `body_max`, `headers` and `signs` for
    /// what comes from now on, and the secrets and claims of [`Source::NextAuth`](super::Source::NextAuth). The others, and the
    /// store's fences, stay as they were at the start.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// sessions.change(|settings| settings.ttl = Ttl::seconds(10));
    /// assert_eq!(sessions.settings().ttl, Ttl::seconds(10));
    /// ```
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.core.settings.write();
        change(Arc::make_mut(&mut settings));
        self.core.body_max.store(settings.body_max, Ordering::Relaxed);
        self.core.changes.fetch_add(1, Ordering::Relaxed);
        let source = settings.source.clone();
        drop(settings);
        self.core.refill_vault(&source);
    }

    /// Whose sessions they are.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert!(sessions.service().is_next_auth());
    /// ```
    pub fn service(&self) -> &Service {
        &self.core.service
    }

    /// What it counts.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// sessions.look_up(&tokens, hands.now());
    /// let misses = sessions.counters().rows().into_iter().find(|(name, _, _)| *name == "misses");
    /// assert_eq!(misses.map(|(_, _, count)| count), Some(1));
    /// ```
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Reads the values of a request's `Cookie` headers, once.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let tokens = sessions.tokens([&b"theme=dark"[..], b"__Secure-next-auth.session-token=abc"]);
    /// assert!(!tokens.is_empty());
    /// assert!(sessions.tokens([&b"theme=dark"[..]]).is_empty());
    /// ```
    pub fn tokens<'a>(&self, cookies: impl IntoIterator<Item = &'a [u8]>) -> Tokens {
        self.core.names.read(&self.core.answers, cookies, self.core.learned())
    }

    /// A name that the session cookie has.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert_eq!(sessions.cookie_name(), "next-auth.session-token");
    /// ```
    pub fn cookie_name(&self) -> String {
        let settings = self.settings();
        if let Some(cookie) = &self.core.service.cookie {
            return cookie.clone().into_owned();
        }
        let profile = settings.profile.or_else(|| self.core.learned()).unwrap_or(Profile::NextAuth);
        settings.cookie.clone().unwrap_or_else(|| profile.cookie().to_owned())
    }

    /// Shows a stored session where it lies, if that is what the check is to be answered with, without allocating. If
    /// not, [`look_up`](SessionCache::look_up) tells what is to be done.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// # let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// # sessions.complete(fill, Outcome::Answered(SourceAnswer::new(200, r#"{"user":{"id":"7","name":"alice"}}"#)), hands.now());
    /// let len = sessions.hit(&tokens, hands.now(), |hit| hit.body.len());
    /// assert_eq!(len, Some(34));
    /// ```
    pub fn hit<R>(&self, tokens: &Tokens, now: Millis, f: impl FnOnce(&Hit<'_>) -> R) -> Option<R> {
        // Of two cookies one may be signed out, which takes more than one look.
        let Seen::One { key, .. } = &tokens.seen else { return None };
        let (look, _) = self.core.found(key, now, |bytes, ttl, block| {
            Hit::of(block.and_then(View::read), key, bytes, ttl).map(|hit| f(&hit))
        });
        let Look::Live(Some(Some(shown))) = look else { return None };
        self.core.count_hit(key);
        Some(shown)
    }

    /// Looks a session up: `GET` on exactly the session path, without a query.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
    /// // Who shows no cookie is nobody, and no call is made for that.
    /// let v4 = sessions.tokens([&b"next-auth.csrf-token=x"[..]]);
    /// assert!(matches!(sessions.look_up(&v4, hands.now()), LookUp::Answer(_)));
    /// ```
    pub fn look_up(&self, tokens: &Tokens, now: Millis) -> LookUp {
        let core = &self.core;
        let (asks, passes) = (core.source != Kind::StoreAlone, core.source == Kind::Upstream);
        match &tokens.seen {
            Seen::None if passes && !tokens.profile_known => {
                add(&core.counters.passed);
                LookUp::Pass(PassWhy::ProfileUnknown)
            }
            Seen::None => LookUp::Answer(core.nothing(tokens, NO_COOKIE)),
            Seen::Unclear { is_whole: true, .. } if core.signed_out(tokens, None, now) => {
                LookUp::Answer(core.fenced(tokens))
            }
            Seen::Unclear { why, names, is_whole: true } if passes => {
                add(&core.counters.passed);
                names.first().into_iter().for_each(|name| core.tell(name, Event::Passed(*why), now));
                LookUp::Pass(*why)
            }
            Seen::Unclear { .. } => LookUp::Answer(core.nothing(tokens, UNREADABLE)),
            Seen::One { key, .. } | Seen::Both { key, .. } => match core.glance(tokens, now) {
                Glance::Live(answer) => LookUp::Answer(core.hit(key, answer)),
                Glance::Fenced => LookUp::Answer(core.fenced(tokens)),
                Glance::Absent if asks => self.take_off(tokens, key, now),
                Glance::Absent => {
                    core.tell(key, Event::Absent, now);
                    LookUp::Answer(core.nothing(tokens, "cloakroom; detail=absent"))
                }
            },
        }
    }

    /// Nothing is stored: begins a call to the source, or shares the one that is under way.
    fn take_off(&self, tokens: &Tokens, key: &NameBuf, now: Millis) -> LookUp {
        let core = &self.core;
        let mut flights = core.steps.lock(&core.flights);
        // Another call may have ended since the look, or a sign-out begun.
        match core.glance(tokens, now) {
            Glance::Live(answer) => return LookUp::Answer(core.hit(key, answer)),
            Glance::Fenced => return LookUp::Answer(core.fenced(tokens)),
            Glance::Absent => {}
        }
        let family = core.answers.canonical(key, now);
        let behind = core.whole_record(&family, now).is_some_and(|record| record.is_behind(key));
        // What a token from before an update is answered is not shared with those who have the newer one.
        let mut listed = if behind { key.clone() } else { family.clone() };
        if behind {
            // No name ends in a zero byte, so this is nobody's but theirs who have the same old token.
            listed.push(0);
        }
        if let Some(flight) = flights.get(&listed) {
            return LookUp::Wait(Wait { flight: flight.clone(), family, tokens: tokens.clone() });
        }
        if !behind && let Some(answer) = core.bridged(tokens, &family, now) {
            return LookUp::Answer(answer);
        }
        let flight = Arc::new(Flight::default());
        flights.insert(listed.clone(), flight.clone());
        drop(flights);
        core.tell(key, core.why_asked(&family, behind, now), now);
        add(&core.counters.misses);
        let (cache, tokens) = (self.clone(), tokens.clone());
        let (subject, user, ends) = (None, None, None);
        LookUp::Fill(Fill {
            cache,
            flight,
            listed,
            family,
            tokens,
            started: now,
            behind,
            subject,
            user,
            ends,
            done: false,
        })
    }

    /// Ends a fill: stores what may be stored, wakes who waits, and gives the asker's answer.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// // The source is down, and nothing earlier is known: as for a visitor, and nothing is stored.
    /// let answer = sessions.complete(fill, Outcome::Failed(Failure::Refused), hands.now());
    /// assert_eq!((answer.status, answer.origin, &answer.body[..]), (200, Origin::Failure, &b"{}"[..]));
    /// assert!(matches!(sessions.look_up(&tokens, hands.now()), LookUp::Fill(_)));
    /// ```
    pub fn complete(&self, mut fill: Fill, outcome: Outcome, now: Millis) -> Answer {
        fill.user = self.core.user_in(&outcome, fill.subject.as_deref()).map(|user| user.as_slice().into());
        let (answer, landing) = {
            let mut flights = self.core.steps.lock(&self.core.flights);
            let listed = self.core.unlist(&fill, &mut flights);
            self.core.settle(&fill, listed, outcome, &mut flights, now)
        };
        fill.flight.land(landing, &self.core.steps);
        // Not before: if anything above panics, the fill is dropped, and that answers those who wait.
        fill.done = true;
        answer
    }

    /// A fill was dropped: those who wait are answered for the failure it is.
    pub(super) fn abandon(&self, fill: &mut Fill) {
        self.core.unlist(fill, &mut self.core.steps.lock(&self.core.flights));
        fill.flight.land(Landing::Failed(Failure::Abandoned), &self.core.steps);
    }

    /// The shared answer, when it is there; otherwise `waker` is woken when it is. Ask again with the time it is then.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// use std::task::{Poll, Waker};
    ///
    /// let LookUp::Fill(fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// let LookUp::Wait(wait) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// assert!(sessions.poll_wait(&wait, Waker::noop(), hands.now()).is_pending());
    ///
    /// let session = SourceAnswer::new(200, r#"{"user":{"name":"alice"}}"#);
    /// sessions.complete(fill, Outcome::Answered(session), hands.now());
    /// let Poll::Ready(answer) = sessions.poll_wait(&wait, Waker::noop(), hands.now()) else { panic!() };
    /// assert!(answer.cache_status().ends_with("collapsed"));
    /// ```
    pub fn poll_wait(&self, wait: &Wait, waker: &Waker, now: Millis) -> Poll<Answer> {
        let Some(landing) = wait.flight.landing(waker, &self.core.steps) else { return Poll::Pending };
        let core = &self.core;
        core.counters.check(&core.counters.waits);
        Poll::Ready(match landing {
            // A sign-out may have come since the call ended and before this waiter was woken.
            Landing::Answer(_, used)
                if core.signed_out(&wait.tokens, used, now) || core.is_fenced(&wait.family, now) =>
            {
                core.fenced(&wait.tokens)
            }
            Landing::Answer(answer, _) => answer,
            Landing::Troubled(answer) => core.after_failure(&wait.tokens, Trouble::Answer(answer), now),
            Landing::Failed(failure) => core.after_failure(&wait.tokens, Trouble::Failure(failure), now),
        })
    }

    /// The answer for one who can wait no longer: the last good one, or the failure.
    ///
    /// ```
    /// # use cloakroom::clock::{Clock, ManualClock, Millis, Ttl};
    /// # use cloakroom::session::*;
    /// # let hands = ManualClock::default();
    /// # let settings = Settings { source: Source::Upstream, ..Settings::default() };
    /// # let sessions = SessionCache::embedded(settings, hands.clone());
    /// # let tokens = sessions.tokens([&b"next-auth.session-token=abc"[..]]);
    /// let LookUp::Fill(_fill) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// let LookUp::Wait(wait) = sessions.look_up(&tokens, hands.now()) else { panic!() };
    /// hands.advance(sessions.settings().timeout);
    /// assert_eq!(sessions.give_up(wait, hands.now()).origin, Origin::Failure);
    /// ```
    pub fn give_up(&self, wait: Wait, now: Millis) -> Answer {
        self.core.counters.check(&self.core.counters.waits);
        self.core.after_failure(&wait.tokens, Trouble::Failure(Failure::Timeout), now)
    }
}

impl Core {
    fn learned(&self) -> Option<Profile> {
        match self.learned.load(Ordering::Relaxed) {
            1 => Some(Profile::NextAuth),
            2 => Some(Profile::AuthJs),
            _ => None,
        }
    }

    /// What an answer's cookies do, noting whose cookies the source sets.
    pub fn change(&self, headers: &[super::Header]) -> Change {
        let change = self.names.change(headers);
        if let Some(profile) = change.profile {
            self.learned.store(profile as u8 + 1, Ordering::Relaxed);
        }
        change
    }

    /// Notes by what an empty session looks like whose it is, where nothing else has told that yet.
    pub fn learn(&self, tokens: &Tokens, answer: &SourceAnswer) {
        let profile = match answer.body.trim_ascii() {
            b"null" => Profile::AuthJs,
            b"{}" => Profile::NextAuth,
            _ => return,
        };
        if answer.status == 200 && !tokens.profile_known && self.learned().is_none() {
            self.learned.store(profile as u8 + 1, Ordering::Relaxed);
        }
    }

    /// The answer for a token that was signed out.
    pub fn fenced(&self, tokens: &Tokens) -> Answer {
        add(&self.counters.fenced);
        self.empty(tokens, Origin::Fence, "cloakroom; hit; detail=signed-out")
    }

    /// The answer to a check that found nobody signed in.
    pub fn empty(&self, tokens: &Tokens, origin: Origin, cache_status: impl Into<Cow<'static, str>>) -> Answer {
        let answer = match self.service.is_next_auth() {
            true => Answer::plain(200, tokens.profile.empty_body(), origin),
            false => self.service.empty(origin),
        };
        self.mark(answer, cache_status)
    }

    /// Adds to an answer where it comes from.
    pub fn mark(&self, answer: Answer, cache_status: impl Into<Cow<'static, str>>) -> Answer {
        answer.marked(self.service.word(), cache_status)
    }

    pub fn nothing(&self, tokens: &Tokens, cache_status: &'static str) -> Answer {
        self.counters.check(&self.counters.empty);
        self.empty(tokens, Origin::Nothing, cache_status)
    }

    fn hit(&self, key: &NameBuf, answer: Answer) -> Answer {
        self.count_hit(key);
        answer
    }

    pub fn count_hit(&self, key: &NameBuf) {
        self.counters.check(&self.counters.hits);
        debug!(session = %self.shown(key), "Session API - Cache hit");
    }

    /// A stored name as logs show it: the hash, never a token.
    pub fn shown<'a>(&self, name: &'a NameBuf) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(&name[self.prefix_len.min(name.len())..])
    }

    pub fn is_fenced(&self, name: &NameBuf, now: Millis) -> bool {
        self.steps.step();
        matches!(self.answers.look(name, now, |_| ()), Look::Fenced(_))
    }

    /// Whether a sign-out stands against these tokens, as far as it can be told. Of two cookies only the `used` one
    /// counts; if it cannot be told which that is, either.
    pub fn signed_out(&self, tokens: &Tokens, used: Option<Side>, now: Millis) -> bool {
        match &tokens.seen {
            Seen::None => false,
            Seen::One { key, .. } => self.is_fenced(key, now),
            Seen::Unclear { names, is_whole, .. } => !is_whole || names.iter().any(|name| self.is_fenced(name, now)),
            Seen::Both { key, plain, secure } => {
                self.is_fenced(key, now)
                    || match used {
                        Some(Side::Plain) => self.is_fenced(plain, now),
                        Some(Side::Secure) => self.is_fenced(secure, now),
                        None => self.is_fenced(plain, now) || self.is_fenced(secure, now),
                    }
            }
        }
    }

    /// What the store has for these tokens.
    pub fn glance(&self, tokens: &Tokens, now: Millis) -> Glance {
        match (&tokens.seen, self.source) {
            (Seen::One { key, .. }, _) => self.glance_at(tokens, key, now),
            (Seen::Both { plain, secure, .. }, Kind::StoreAlone) => {
                // Nobody else can say which cookie counts. The one that only HTTPS can set comes first.
                match self.glance_at(tokens, secure, now) {
                    Glance::Absent => self.glance_at(tokens, plain, now),
                    Glance::Fenced => match self.glance_at(tokens, plain, now) {
                        Glance::Absent => Glance::Fenced,
                        other => other,
                    },
                    live => live,
                }
            }
            (Seen::Both { key, plain, secure }, Kind::Upstream | Kind::NextAuth) => {
                if self.is_fenced(plain, now) && self.is_fenced(secure, now) {
                    return Glance::Fenced;
                }
                self.glance_at(tokens, key, now)
            }
            _ => Glance::Absent,
        }
    }

    fn glance_at(&self, tokens: &Tokens, key: &NameBuf, now: Millis) -> Glance {
        let (look, block) = self.found(key, now, |bytes, ttl, _| (Bytes::copy_from_slice(bytes), ttl));
        match look {
            Look::Fenced(_) => Glance::Fenced,
            Look::Absent => Glance::Absent,
            // A value that cannot be a session was not put there by us.
            Look::Live(None) => Glance::Live(self.no_session(tokens)),
            Look::Live(Some((body, ttl))) => {
                let record = block.as_deref().and_then(View::read);
                // Of a single cookie the look itself has told; of two, one may be signed out.
                let used = record.filter(|record| record.body == body).and_then(|record| record.used);
                if matches!(tokens.seen, Seen::Both { .. })
                    && self.source != Kind::StoreAlone
                    && self.signed_out(tokens, used, now)
                {
                    return Glance::Fenced;
                }
                let hit = Hit::of(record, key, &body, ttl).map(|hit| hit.to_answer());
                Glance::Live(hit.unwrap_or_else(|| self.no_session(tokens)))
            }
        }
    }

    /// Shows what is stored for a key: its bytes, if they may be a session, how much longer they live, and the record
    /// of the family, which is given back as well.
    pub fn found<R>(
        &self,
        key: &NameBuf,
        now: Millis,
        f: impl FnOnce(&[u8], Option<Ttl>, Option<&[u8]>) -> R,
    ) -> (Look<Option<R>>, Option<Block>) {
        self.steps.step();
        let family = self.answers.canonical(key, now);
        self.steps.step();
        let block = self.record_block(&family, now);
        self.steps.step();
        let max = self.body_max.load(Ordering::Relaxed);
        // The body last: if it is there now, no sign-out had begun when the rest was read.
        let look = self.answers.look(&family, now, |value| {
            let bytes = value.string().ok().filter(|bytes| bytes.len() <= max)?;
            let ttl = value.deadline().since(now);
            let ttl = if value.deadline() == Millis::NEVER { None } else { Some(ttl) };
            Some(f(bytes, ttl, block.as_deref()))
        });
        (look, block)
    }

    fn no_session(&self, tokens: &Tokens) -> Answer {
        self.empty(tokens, Origin::Cache, "cloakroom; hit; detail=no-session")
    }

    /// How long the shortest fence stands.
    pub fn fence_length(&self) -> Ttl {
        let settings = self.settings();
        let own = settings.fence();
        self.answers.fence_length(&settings.prefix).map_or(own, |fence| fence.min(own))
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// How long a good answer may be shown after it went stale. What a command has removed must not be shown when the
    /// fence that the removal laid has fallen, so this is less than the setting if the store's fences are short.
    pub fn stale_length(&self) -> Ttl {
        let settings = self.settings();
        let fence = self.answers.fence_length(&settings.prefix).map_or(0, |fence| fence.0);
        settings.stale.min(Ttl(fence.saturating_sub(settings.ttl.0)))
    }
}

impl std::fmt::Debug for SessionCache {
    /// Settings and stores' sizes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("answers", &self.core.answers).finish_non_exhaustive()
    }
}
