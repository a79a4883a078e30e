//! What all clients share: databases, settings, clients, logs and counters.
//!
//! RESP and HTTP meet only here, and only in the store. The engine knows no socket and no runtime; whoever waits gives
//! it a waker.
//!
//! ```
//! use cloakroom::{Config, clock::{Clock, Ttl}, command::Client, engine::Engine, resp::Words};
//!
//! let engine = Engine::embedded(Config::default(), Clock::system());
//! engine.store(0).put(b"coat", b"blue", Ttl::seconds(60))?;
//!
//! let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
//! let (request, mut out) = (Words::of_line(b"TTL coat").expect("words"), Vec::new());
//! client.run(&engine, request.args(), engine.clock.now(), &mut out);
//! assert_eq!(out, b":60\r\n");
//! # Ok::<(), cloakroom::Error>(())
//! ```

#[cfg_attr(doc, doc(hidden))]
pub mod acl;
mod addr;
mod charges;
mod clients;
mod ending;
mod functions;
mod gate;
#[cfg(test)]
mod gate_tests;
mod guesses;
mod hot;
mod latency;
mod machine;
mod memory;
mod pubsub;
mod rates;
mod room;
mod scripts;
mod slowlog;
mod snapshots;
mod sync;
mod tracking;
mod unusual;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard, RwLock};

#[cfg_attr(doc, doc(hidden))]
pub use {
    addr::Addr,
    charges::{Charge, Charges, Hold},
    clients::{Clients, Labels, Peer, Pending},
    functions::{Function, Functions, Libraries, Library, Restoring},
    gate::Turn,
    hot::Hot,
    latency::{Event, Latency},
    machine::{Machine, Processor},
    pubsub::{Pubsub, Topic},
    rates::{Now, Rates},
    room::{Room, Waiting},
    scripts::{Called, Killed, Running, Scripts, Sha},
    slowlog::{Slow, Slowlog},
    snapshots::{Keeper, Snapshots, Standing},
    tracking::{Gathering, Mode, Overlap, Tracked, Tracking},
    unusual::{Oddity, Unusual},
};

use acl::Acl;
use gate::Gate;
use guesses::Guesses;
use machine::Nowhere;

use crate::clock::{Clock, Millis, Ttl};
use crate::config::{self, Config, Namespace, Param, PubsubDefault, Refusal, SessionSource};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::store::{Lot, NamingKey, Stats, Store};

/// A fence outlasts whatever began before it: a call to the upstream, the TTL of what it brought, the time that an
/// earlier answer may be shown while the upstream fails, and this.
const FENCE_MARGIN: Ttl = Ttl::seconds(3);

/// The state of one server: its databases, settings, users and channels, for all clients. It owns no socket and no thread.
///
/// [`Client`](crate::command::Client) runs commands on it.
///
/// ```
/// use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
///
/// let mut config = Config::default();
/// config.set("databases", "2")?;
/// let engine = Engine::embedded(config, Clock::system());
/// // What the program stores itself is what its clients see.
/// engine.store(0).put(b"coat", b"blue", Ttl::seconds(60)).expect("room");
///
/// // Whoever runs an engine sweeps: here, and again when it is told to.
/// let next = engine.all_stores().map(|store| store.sweep_now()).min();
/// assert!(next > Some(engine.clock.now()));
/// # Ok::<(), cloakroom::config::Refusal>(())
/// ```
pub struct Engine {
    /// The clock that the edge reads.
    pub clock: Clock,
    /// The settings that requests look at.
    #[cfg_attr(doc, doc(hidden))]
    pub hot: Hot,
    /// What is out of the ordinary now.
    pub(crate) unusual: Arc<Unusual>,
    /// Who may do what.
    #[cfg_attr(doc, doc(hidden))]
    pub acl: Acl,
    /// Who guesses passwords.
    pub(crate) guesses: Guesses,
    /// The clients of the RESP door.
    #[cfg_attr(doc, doc(hidden))]
    pub clients: Arc<Clients>,
    /// Who of the workers is at the stores, and who must be alone.
    gate: Gate,
    /// Who hears what.
    #[cfg_attr(doc, doc(hidden))]
    pub pubsub: Arc<Pubsub>,
    /// Who has read which keys.
    pub(crate) tracking: Tracking,
    /// Commands that took long.
    pub(crate) slowlog: Slowlog,
    /// Events that took long.
    pub(crate) latency: Latency,
    /// Counters.
    #[cfg_attr(doc, doc(hidden))]
    pub metrics: Metrics,
    /// Scripts.
    #[cfg_attr(doc, doc(hidden))]
    pub scripts: Scripts,
    /// Libraries of functions.
    pub(crate) functions: Functions,
    /// How snapshots stand.
    pub(crate) snapshots: Snapshots,
    /// When the server started.
    pub(crate) started: Millis,
    /// 40 hexadecimal digits that name this run.
    pub(crate) run_id: String,
    config: RwLock<Config>,
    stores: Vec<Store>,
    /// Which store each database is; SWAPDB exchanges them.
    order: Arc<[AtomicUsize]>,
    /// The store that no command can name, for the session engine's records.
    records: Store,
    /// Until when commands are held, and whether all are or those that write.
    pause: Mutex<(Millis, bool)>,
    room: Mutex<Room>,
    dice: AtomicU64,
    shutdown: AtomicBool,
    shutdown_bell: Mutex<Option<Waker>>,
    reports: RwLock<Vec<Report>>,
    /// Bytes that are no entries'.
    charges: Arc<Charges>,
    /// Bytes that the process takes and nothing counts, as far as they are too much.
    waste: AtomicU64,
    /// As long as no more bytes than this are in use, room need not be made, and use is no higher than ever before.
    ease: AtomicU64,
    /// Held by who finds out how many that are.
    easing: Mutex<()>,
    /// Held by who chooses clients to cut.
    cutting: Mutex<()>,
    /// How often clients still leave their turn to those who were cut.
    turns_to_go: AtomicUsize,
    /// The most memory that was ever seen in use.
    peak: AtomicU64,
    /// The RESP door's port, when it was picked at start.
    port: AtomicU16,
    /// How busy the server is.
    rates: Rates,
    /// Whether what has died is reclaimed before somebody asks for it.
    active_expire: AtomicBool,
    /// What a replica would know this data set by.
    replication_id: Mutex<String>,
    /// Who may refuse settings that make sense together and not on this machine.
    judge: OnceLock<Box<Judge>>,
    /// Who acts on settings outside of the engine.
    followers: RwLock<Vec<Box<Follower>>>,
    /// What all of this runs on.
    machine: OnceLock<Box<dyn Machine>>,
}

/// Is shown the settings as they are and as they would be, and those that were named, changed or not.
type Judge = dyn Fn(&Config, &Config, &[&'static Param]) -> Result<Option<Deed>, Refusal> + Send + Sync;

/// What is to be done once settings stand. It cannot fail.
#[cfg_attr(doc, doc(hidden))]
pub type Deed = Box<dyn FnOnce()>;

/// Is shown the settings after each change.
type Follower = dyn Fn(&Config) + Send + Sync;

/// Somebody else's rows in INFO and `/metrics`: (name, help, value).
#[cfg_attr(doc, doc(hidden))]
pub type Rows = Vec<(&'static str, &'static str, u64)>;

/// A section of INFO that is not the engine's own.
struct Report {
    section: &'static str,
    rows: Box<dyn Fn() -> Rows + Send + Sync>,
}

impl Engine {
    /// An engine for so many workers and commands, whose secret names nobody but itself can match.
    #[cfg_attr(doc, doc(hidden))]
    pub fn new(config: Config, clock: Clock, workers: usize, commands: usize) -> Engine {
        Engine::with_key(config, clock, workers, commands, NamingKey::random())
    }

    /// The same, with the key that secret names are hashed under.
    #[cfg_attr(doc, doc(hidden))]
    pub fn with_key(config: Config, clock: Clock, workers: usize, commands: usize, key: NamingKey) -> Engine {
        let stale = config.upstream.as_ref().map_or(Ttl(0), |_| config.session_stale);
        let longest = config.upstream_timeout.max(stale);
        let fence = Ttl(longest.0.saturating_add(config.session().ttl.0).saturating_add(FENCE_MARGIN.0));
        let mut namespaces = config.namespaces.0.clone();
        // With the store alone sessions are no copies: people stay signed in as long as they live.
        let sessions = namespaces.iter_mut().find(|space| space.name == Namespace::SESSION);
        if let Some(sessions) = sessions.filter(|_| config.session_source() == SessionSource::Store) {
            sessions.login = true;
        }
        let mut stores = Store::builder()
            .clock(clock.clone())
            .namespaces(namespaces)
            .fence(fence)
            .naming_key(key)
            .build_family(config.databases + 1);
        let records = stores.pop().unwrap_or_default();
        let mut dice = [0; 8];
        getrandom::fill(&mut dice).expect("the system has randomness");
        let dice = u64::from_le_bytes(dice) | 1;
        let charges = Arc::<Charges>::default();
        let unusual = Arc::<Unusual>::default();
        let clients = Arc::new(Clients::new(charges.clone(), unusual.clone()));
        let pubsub = Arc::new(Pubsub::new(charges.clone()));
        let changes = (records.changes().clone(), records.number());
        let tracking = Tracking::new(clients.clone(), pubsub.clone(), changes, charges.clone(), unusual.clone());
        let engine = Engine {
            hot: Hot::default(),
            acl: Acl::new(commands, unusual.clone(), charges.clone()),
            guesses: Guesses::default(),
            clients,
            gate: Gate::new(workers),
            pubsub,
            tracking,
            slowlog: Slowlog::new(charges.clone()),
            latency: Latency::default(),
            metrics: Metrics::new(workers, commands),
            scripts: Scripts::new(workers, charges.clone(), unusual.clone()),
            unusual,
            functions: Functions::new(charges.clone()),
            snapshots: Snapshots::new(&clock),
            started: clock.now(),
            run_id: random_id(),
            clock,
            order: (0..stores.len()).map(AtomicUsize::new).collect(),
            stores,
            records,
            config: RwLock::new(Config::default()),
            pause: Mutex::default(),
            room: Mutex::new(Room::new(charges.clone())),
            dice: AtomicU64::new(dice),
            shutdown: AtomicBool::new(false),
            shutdown_bell: Mutex::default(),
            reports: RwLock::default(),
            charges,
            waste: AtomicU64::new(0),
            ease: AtomicU64::new(0),
            easing: Mutex::default(),
            cutting: Mutex::default(),
            turns_to_go: AtomicUsize::new(0),
            peak: AtomicU64::new(0),
            port: AtomicU16::new(config.port),
            rates: Rates::default(),
            active_expire: AtomicBool::new(true),
            replication_id: Mutex::new(random_id()),
            judge: OnceLock::new(),
            followers: RwLock::default(),
            machine: OnceLock::new(),
        };
        engine.listen();
        engine.apply(&config);
        engine.acl.set_default_password(&config.requirepass);
        *engine.config.write() = config;
        engine
    }

    /// Lets a worker at the stores for a batch of requests. Where a script takes so long that others are told, it is left
    /// outside.
    #[cfg_attr(doc, doc(hidden))]
    pub fn enter(&self, worker: usize) -> Turn<'_> {
        self.gate.enter(worker, || self.scripts.is_busy())
    }

    /// Runs something while no other worker is at the stores, unless a script takes so long that others are told. It is told
    /// the time: what it was when it was asked for may be long ago.
    #[cfg_attr(doc, doc(hidden))]
    pub fn alone<R>(&self, worker: usize, asked: Millis, f: impl FnOnce(Millis) -> R) -> Result<R, Error> {
        let ran = self.gate.alone(
            worker,
            || self.scripts.is_busy(),
            |waited| f(if waited { self.clock.now() } else { asked }),
        );
        ran.ok_or_else(|| self.scripts.busy())
    }

    /// Says that what a worker does alone rests while it does other things, or goes on.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_resting(&self, worker: usize, rests: bool) {
        self.gate.set_resting(worker, rests);
    }

    /// A copy of the settings.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// assert_eq!(engine.config().get("databases").as_deref(), Some("16"));
    /// ```
    pub fn config(&self) -> Config {
        self.config.read().clone()
    }

    /// Reads the settings in place.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// let policy = engine.with_config(|config| config.get("maxmemory-policy"));
    /// assert_eq!(policy.as_deref(), Some("logins-last"));
    /// ```
    pub fn with_config<R>(&self, f: impl FnOnce(&Config) -> R) -> R {
        f(&self.config.read())
    }

    /// CONFIG SET: all pairs or none.
    #[cfg_attr(doc, doc(hidden))]
    pub fn configure(&self, pairs: &[(&str, &str)], local: bool) -> Result<Vec<&'static Param>, Refusal> {
        let mut config = self.config.write();
        let mut draft = config.clone();
        let changed = draft.set_live(pairs, local)?;
        let named: Vec<_> = pairs.iter().filter_map(|(name, _)| config::find(name)).collect();
        let deed = self.judge.get().map_or(Ok(None), |judge| judge(&config, &draft, &named))?;
        *config = draft;
        self.apply(&config);
        if let Some(deed) = deed {
            deed();
        }
        if changed.iter().any(|param| param.name == "requirepass") {
            self.acl.set_default_password(&config.requirepass);
        }
        Ok(changed)
    }

    /// Whether these settings could be taken over on this machine.
    #[cfg_attr(doc, doc(hidden))]
    pub fn consider(&self, draft: &Config) -> Result<(), Refusal> {
        self.judge.get().map_or(Ok(()), |judge| judge(&self.config.read(), draft, &[]).map(drop))
    }

    /// Takes these settings over from others, which were read again and make sense together.
    #[cfg_attr(doc, doc(hidden))]
    pub fn adopt(&self, params: &[&'static Param], from: &Config) {
        let mut config = self.config.write();
        for param in params {
            // What one configuration shows another reads.
            let _ = config.set(param.name, &param.get(from));
        }
        self.apply(&config);
        if params.iter().any(|param| param.name == "requirepass") {
            self.acl.set_default_password(&config.requirepass);
        }
    }

    /// Names who may refuse settings that are to change while the server runs: it is shown the settings as they are and as
    /// they would be, and those that were named, and gives what is to be done once they stand. The first one stays. It must
    /// not ask the engine for its settings.
    #[cfg_attr(doc, doc(hidden))]
    pub fn on_configure(
        &self,
        judge: impl Fn(&Config, &Config, &[&'static Param]) -> Result<Option<Deed>, Refusal> + Send + Sync + 'static,
    ) {
        // A second one is not asked for by anybody.
        let _ = self.judge.set(Box::new(judge));
    }

    /// Names who is shown the settings whenever they have changed. It must not ask the engine for them.
    #[cfg_attr(doc, doc(hidden))]
    pub fn follow(&self, follower: impl Fn(&Config) + Send + Sync + 'static) {
        self.followers.write().push(Box::new(follower));
    }

    /// Says what the engine runs on. The first one stays.
    #[cfg_attr(doc, doc(hidden))]
    pub fn run_on(&self, machine: impl Machine + 'static) {
        let _ = self.machine.set(Box::new(machine));
    }

    /// What the engine runs on.
    #[cfg_attr(doc, doc(hidden))]
    pub fn machine(&self) -> &dyn Machine {
        self.machine.get().map_or(&Nowhere, |machine| &**machine)
    }

    /// Has events of keys published under the number that their database has at that moment.
    fn listen(&self) {
        let (pubsub, order) = (self.pubsub.clone(), self.order.clone());
        self.records.on_event(move |event| {
            // The store of records is none of the databases.
            if !pubsub.is_empty()
                && let Some(db) = order.iter().position(|store| store.load(Ordering::Relaxed) == event.store)
            {
                pubsub.note(event, db);
            }
        });
    }

    /// Strikes a client that is gone off all lists.
    #[cfg_attr(doc, doc(hidden))]
    pub fn leave(&self, peer: &Peer) {
        self.tracking.disable(peer);
        self.pubsub.leave(peer);
        self.clients.leave(peer);
    }

    fn apply(&self, config: &Config) {
        self.records.want_events(self.pubsub.set(config));
        self.hot.set(config);
        self.settle_ease();
        self.tracking.set(config);
        self.acl.set_all_channels(config.acl_pubsub_default == PubsubDefault::AllChannels);
        self.records.set_policy(config.maxmemory_policy, config.lfu_log_factor, config.lfu_decay_time);
        self.records.set_compact(config.compact);
        self.records.set_lazily(config.lazily);
        self.slowlog.truncate(config.slowlog_max_len);
        self.judge_writes(config);
        self.followers.read().iter().for_each(|follower| follower(config));
    }

    /// Notes the port that was picked for port 0.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }

    /// The port of the RESP door.
    #[cfg_attr(doc, doc(hidden))]
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// How many databases there are.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// assert_eq!(engine.databases(), 16);
    /// ```
    pub fn databases(&self) -> usize {
        self.stores.len()
    }

    /// The store behind a database number that exists.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// engine.store(3).put(b"coat", b"blue", Ttl::seconds(60))?;
    /// assert_eq!(engine.store(0).fetch(b"coat"), None);
    /// # Ok::<(), cloakroom::Error>(())
    /// ```
    pub fn store(&self, db: usize) -> &Store {
        &self.stores[self.order[db].load(Ordering::Relaxed)]
    }

    /// Every database's store, by number.
    #[cfg_attr(doc, doc(hidden))]
    pub fn keyspaces(&self) -> impl Iterator<Item = &Store> {
        (0..self.databases()).map(|db| self.store(db))
    }

    /// Entries in all databases, and what became of them and of reads.
    #[cfg_attr(doc, doc(hidden))]
    pub fn keyspace_totals(&self) -> (u64, Stats) {
        let (mut keys, mut seen) = (0, Stats::default());
        for store in self.keyspaces() {
            keys += store.len() as u64;
            seen += store.stats();
        }
        (keys, seen)
    }

    /// Every database's store with its number, as they are at one instant.
    #[cfg_attr(doc, doc(hidden))]
    pub fn numbered_stores(&self) -> Vec<(usize, Store)> {
        // SWAPDB holds the same lock.
        let _still = self.config.read();
        (0..self.databases()).map(|db| (db, self.store(db).clone())).collect()
    }

    /// All stores and the hidden one, in no order that means anything.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// assert_eq!(engine.all_stores().count(), 16 + 1);
    /// ```
    pub fn all_stores(&self) -> impl Iterator<Item = &Store> {
        self.stores.iter().chain([&self.records])
    }

    /// The store that no command can name.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::{Clock, Ttl}, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// use cloakroom::session::{SessionCache, Settings};
    ///
    /// // Sessions that Redis' commands see, and their records, which they do not.
    /// let sessions = SessionCache::new(engine.store(0).clone(), engine.records().clone(), Settings::default());
    /// # let _ = sessions;
    /// ```
    pub fn records(&self) -> &Store {
        &self.records
    }

    /// Exchanges two databases for all clients at once. Who calls it is alone.
    #[cfg_attr(doc, doc(hidden))]
    pub fn swap(&self, one: usize, other: usize, now: Millis) {
        // The write lock on the settings serves as the mutex; two swaps at once must not lose a store.
        let _alone = self.config.write();
        Store::swap_watchers(self.store(one), self.store(other), now);
        let first = self.order[one].load(Ordering::Relaxed);
        let second = self.order[other].swap(first, Ordering::Relaxed);
        self.order[one].store(second, Ordering::Relaxed);
    }

    /// The room of requests that wait, locked. It is locked before any shard.
    #[cfg_attr(doc, doc(hidden))]
    pub fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock()
    }

    /// A number that nobody can foresee from outside; not for secrets.
    #[cfg_attr(doc, doc(hidden))]
    pub fn chance(&self) -> u64 {
        let mut dice = self.dice.load(Ordering::Relaxed);
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.store(dice, Ordering::Relaxed);
        dice.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// How many commands and bytes a second there are, as far as INFO has been asked.
    #[cfg_attr(doc, doc(hidden))]
    pub fn rates(&self) -> Now {
        self.rates.ask(self.clock.micros(), &self.metrics.sums())
    }

    // ---- flushing and expiring --------------------------------------------------------------------------------

    /// Empties databases, whole. What they held is freed little by little.
    #[cfg_attr(doc, doc(hidden))]
    pub fn flush<'s>(&self, stores: impl IntoIterator<Item = &'s Store>, lot: &Lot) {
        stores.into_iter().for_each(|store| store.clear_for(lot));
        self.tell_flushed();
    }

    /// Tells those who keep copies that databases were emptied.
    #[cfg_attr(doc, doc(hidden))]
    pub fn tell_flushed(&self) {
        self.tracking.flush();
    }

    /// Collections and entries that wait to be freed little by little, and those that were.
    #[cfg_attr(doc, doc(hidden))]
    pub fn lazily_freed(&self) -> (u64, u64) {
        self.records.lazily_freed()
    }

    /// Starts all counters anew.
    #[cfg_attr(doc, doc(hidden))]
    pub fn reset_stats(&self) {
        self.metrics.reset();
        self.all_stores().for_each(Store::reset_stats);
        self.rates.reset();
    }

    /// Whether the janitor may reclaim what has died; DEBUG SET-ACTIVE-EXPIRE.
    #[cfg_attr(doc, doc(hidden))]
    pub fn expires_actively(&self) -> bool {
        self.active_expire.load(Ordering::Relaxed)
    }

    /// Lets the janitor work, or not.
    #[cfg_attr(doc, doc(hidden))]
    pub fn set_active_expire(&self, on: bool) {
        self.active_expire.store(on, Ordering::Relaxed);
    }

    /// 40 hexadecimal digits that name the data set.
    #[cfg_attr(doc, doc(hidden))]
    pub fn replication_id(&self) -> String {
        self.replication_id.lock().clone()
    }

    /// Gives the data set another name.
    #[cfg_attr(doc, doc(hidden))]
    pub fn change_replication_id(&self) {
        *self.replication_id.lock() = random_id();
    }

    // ---- reports --------------------------------------------------------------------------------------------

    /// Adds a section to INFO and `/metrics`.
    #[cfg_attr(doc, doc(hidden))]
    pub fn add_report(&self, section: &'static str, rows: impl Fn() -> Rows + Send + Sync + 'static) {
        self.reports.write().push(Report { section, rows: Box::new(rows) });
    }

    /// The added sections and their rows.
    #[cfg_attr(doc, doc(hidden))]
    pub fn reports(&self) -> Vec<(&'static str, Rows)> {
        self.reports.read().iter().map(|report| (report.section, (report.rows)())).collect()
    }
}

/// 40 hexadecimal digits, as Redis names runs and data sets.
fn random_id() -> String {
    let mut id = [0; 20];
    getrandom::fill(&mut id).expect("the system has randomness");
    crate::num::hex(&id)
}

impl std::fmt::Debug for Engine {
    /// Counts only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Engine");
        out.field("databases", &self.databases()).field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}
