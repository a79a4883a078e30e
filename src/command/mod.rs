//! Commands: from the words of a request to the bytes of its reply, with no socket in sight.
//!
//! A [`Client`] runs requests on an [`Engine`]; [`Flow`] says what whoever carries its bytes is to do next.
//!
//! ```
//! use cloakroom::{Config, clock::Clock, command::Client, engine::Engine, resp::Words};
//!
//! let engine = Engine::embedded(Config::default(), Clock::system());
//! let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
//! let mut out = Vec::new();
//! for line in ["RPUSH queue a b c", "LRANGE queue -2 -1"] {
//!     let words = Words::of_line(line.as_bytes()).expect("quotes that match");
//!     client.run(&engine, words.args(), engine.clock.now(), &mut out);
//! }
//! assert_eq!(out, b":3\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
//! ```
//!
//! Every command is a row beside its handler, in the family it belongs to. `find` looks a name up in a table that
//! the compiler has laid out; `run` checks arity, authentication, pauses and memory by what the row says, calls the
//! handler, and rewinds what it wrote if it fails. This module deliberately knows nothing of sessions: they meet in
//! the store.

mod acl;
mod bitfield;
mod bitmap;
mod blocking;
mod client;
mod client_list;
mod cluster;
mod config;
#[cfg_attr(doc, doc(hidden))]
pub mod connection;
mod debug;
mod docs;
mod dump;
mod expire;
mod flush;
mod generic;
mod growth;
mod hash;
mod help;
mod info;
mod latency;
mod lcs;
mod list;
mod memory;
mod pubsub;
mod read;
mod reference;
mod replication;
mod rest;
mod run;
mod save;
mod scan;
#[cfg(feature = "server")]
mod script;
mod server;
mod set;
mod slowlog;
mod sort;
mod spec;
mod string;
mod table;
mod tracking;
mod tx;
mod usage;
mod words;
mod zset;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

#[cfg(feature = "server")]
#[cfg_attr(doc, doc(hidden))]
pub use script::functions::put_libraries;
#[cfg_attr(doc, doc(hidden))]
pub use {
    acl::{load_users, may_read_all, reload_users},
    blocking::{forget, is_answered},
    connection::REDIS_VERSION,
    reference::{COMMANDS_BEGIN, COMMANDS_END, commands_reference, commands_reference_in},
    rest::{Scope, check_alone, run_alone},
    run::{may_run_script, run},
    spec::{Arity, Flags, Group, Handler, Keys, Spec},
    table::{COUNT, Found, all, find, find_full, numbered},
};

use crate::clock::{Clock, Millis, Ttl};
use crate::config::Config;
use crate::engine::acl::User;
use crate::engine::{Engine, Peer};
use crate::resp::{Args, Limits, Reply, Version};
use crate::store::{Foreseen, Store, Ticket};
#[cfg(feature = "server")]
use run::show_monitors;
use run::{call, flags_of};
use table::{lookup, wrong_count};

/// All families.
const FAMILIES: &[&[Spec]] = &[
    connection::COMMANDS,
    acl::COMMANDS,
    client::COMMANDS,
    docs::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    server::COMMANDS,
    flush::COMMANDS,
    save::COMMANDS,
    replication::COMMANDS,
    cluster::COMMANDS,
    memory::COMMANDS,
    debug::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    generic::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    dump::COMMANDS,
    sort::COMMANDS,
    string::COMMANDS,
    lcs::COMMANDS,
    bitmap::COMMANDS,
    bitfield::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    blocking::COMMANDS,
    set::COMMANDS,
    zset::COMMANDS,
    zset::algebra::COMMANDS,
    zset::pop::COMMANDS,
    zset::range::COMMANDS,
    tx::COMMANDS,
    #[cfg(feature = "server")]
    script::COMMANDS,
    #[cfg(feature = "server")]
    script::functions::COMMANDS,
    pubsub::COMMANDS,
];

/// One client's state, as its commands see it.
///
/// ```
/// use cloakroom::{Config, clock::Clock, command::{Client, Flow}, engine::Engine, resp::Words};
///
/// let engine = Engine::embedded(Config::default(), Clock::system());
/// let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
/// let mut out = Vec::new();
/// for line in ["HSET coat colour blue", "HGETALL coat", "QUIT"] {
///     let words = Words::of_line(line.as_bytes()).expect("quotes that match");
///     if client.run(&engine, words.args(), engine.clock.now(), &mut out) == Flow::Close {
///         break;
///     }
/// }
/// assert_eq!(out, b":1\r\n*2\r\n$6\r\ncolour\r\n$4\r\nblue\r\n+OK\r\n");
/// client.leave(&engine);
/// ```
pub struct Client {
    /// What it shares with others.
    pub(crate) peer: Arc<Peer>,
    /// The worker that serves it, and its database.
    worker: u32,
    db: u32,
    /// RESP2 or RESP3.
    pub(crate) version: Version,
    /// Whether it has authenticated, or need not.
    pub(crate) authenticated: bool,
    /// Whom it has logged in as, if not as the default user.
    user: Option<Arc<User>>,
    /// Whether it comes from this machine.
    pub(crate) is_local: bool,
    /// CLIENT NO-TOUCH.
    pub(crate) no_touch: bool,
    /// CLIENT REPLY.
    pub(crate) replies: Replies,
    /// Whether this command's reply goes out even to a client that wants none, as what was pushed to it does.
    pub(crate) pushed: bool,
    /// What the connection is to do after this command.
    pub(crate) flow: Flow,
    /// Microseconds on the engine's clock when the last command ended, or the batch began.
    pub(crate) lap: u64,
    /// Whether its worker has been left outside of the stores, where a script takes too long.
    pub(crate) is_outside: bool,
    /// Whether its commands find out at once that there is nothing, as they are run together with others: by a transaction
    /// or a script.
    pub(crate) never_waits: bool,
    /// What it holds while its request waits for a key, 0 if it does not.
    pub(crate) ticket: Ticket,
    /// What it has begun with one request and ends with another: few have, and not for long.
    begun: Option<Box<Begun>>,
}

/// What a client has begun and not ended.
#[derive(Default)]
struct Begun {
    tx: tx::Tx,
    /// A walk over all keys, of which it has more turns to come.
    walk: Option<scan::Walk>,
    /// A flush, of which it has.
    flush: Option<flush::Flush>,
    /// A CLIENT KILL that waits.
    kill: Option<client::Kill>,
    /// A SAVE that waits, and how many there were before it.
    save: Option<u64>,
    /// Microseconds that the turns of any of them have taken.
    spent: u64,
}

impl Begun {
    fn has_turns(&self) -> bool {
        self.walk.is_some() || self.flush.is_some() || self.kill.is_some() || self.save.is_some()
    }
}

/// Which replies a client wants.
#[cfg_attr(doc, doc(hidden))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// None for the next command.
    SkipNext,
    /// None for this command.
    Skip,
}

/// What the connection is to do after a command.
///
/// ```
/// use cloakroom::{Config, clock::{ManualClock, Ttl}, command::{Client, Flow}, engine::Engine, resp::Words};
///
/// let hands = ManualClock::default();
/// let engine = Engine::embedded(Config::default(), hands.clone());
/// let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
/// let mut out = Vec::new();
///
/// // Waits for an element for two seconds at most: nothing is answered yet.
/// let request = Words::of_line(b"BLPOP queue 2").expect("words");
/// let flow = client.run(&engine, request.args(), hands.now(), &mut out);
/// assert_eq!((flow, out.is_empty()), (Flow::Block(hands.now() + Ttl::seconds(2)), true));
///
/// // The same request again when its time has come, or its waker was woken.
/// hands.advance(Ttl::seconds(2));
/// let flow = client.run(&engine, request.args(), hands.now(), &mut out);
/// assert_eq!((flow, &out[..]), (Flow::Go, &b"*-1\r\n"[..]));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next request.
    Go,
    /// Send what there is and close.
    Close,
    /// The request was not run: offer it again at this instant, or when rung.
    Hold(Millis),
    /// The request waits for a key: offer it again at this instant, or when called.
    Block(Millis),
    /// A part of the request was run: offer it again when others have had their turn.
    Again,
    /// Serve this client nothing for so long, and send the reply only then.
    Sleep(Ttl),
}

impl Flow {
    /// The same for a request whose parts have asked for so much sleep.
    fn after(self, slept: Ttl) -> Flow {
        if self == Flow::Go && slept != Ttl(0) { Flow::Sleep(slept) } else { self }
    }

    /// Whether the request is to be offered again.
    fn is_open(self) -> bool {
        matches!(self, Flow::Hold(_) | Flow::Block(_) | Flow::Again)
    }
}

/// A server without sockets, for whoever has bytes of their own to answer.
impl Engine {
    /// An engine that runs commands on one thread at a time, with databases of its own. Other threads may use its
    /// [stores](Engine::store) meanwhile. What `save`, `dir` and the ports are set to is nobody's concern here.
    ///
    /// ```
    /// use cloakroom::{Config, clock::{ManualClock, Ttl}, command::Client, engine::Engine, resp::Words};
    ///
    /// let hands = ManualClock::default();
    /// let engine = Engine::embedded(Config::default(), hands.clone());
    /// let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    /// let mut say = |line: &str| {
    ///     let words = Words::of_line(line.as_bytes()).expect("quotes that match");
    ///     let mut out = Vec::new();
    ///     client.run(&engine, words.args(), engine.clock.now(), &mut out);
    ///     String::from_utf8(out).expect("text")
    /// };
    /// assert_eq!(say("SET coat blue EX 5"), "+OK\r\n");
    /// hands.advance(Ttl::seconds(5));
    /// assert_eq!(say("GET coat"), "$-1\r\n");
    /// ```
    pub fn embedded(config: Config, clock: impl Into<Clock>) -> Engine {
        Engine::new(config, clock.into(), 1, COUNT)
    }
}

/// A client whose bytes somebody else carries.
impl Client {
    /// A client that has just come from this address, which CLIENT LIST shows. On the first database, with RESP2, and to log
    /// in if the settings ask for a password. When it has gone, let it [leave](Client::leave).
    ///
    /// ```
    /// use cloakroom::{Config, clock::Clock, command::Client, engine::Engine};
    ///
    /// let engine = Engine::embedded(Config::default(), Clock::system());
    /// let client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    /// assert_eq!((client.id(), client.db()), (1, 0));
    /// ```
    pub fn connect(engine: &Engine, from: SocketAddr) -> Client {
        let to = SocketAddr::from(([127, 0, 0, 1], engine.port()));
        let peer = engine.clients.enter(from, to, -1, engine.clock.now());
        let is_local = peer.addr.is_local();
        Client::new(engine, peer, 0, is_local)
    }

    /// Its number, which no other client of this engine ever has.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::Clock, command::Client, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// let [one, other] = [1, 2].map(|port| Client::connect(&engine, ([127, 0, 0, 1], port).into()));
    /// assert_ne!(one.id(), other.id());
    /// ```
    pub fn id(&self) -> u64 {
        self.peer.id
    }

    /// What its requests may weigh now: little until it has logged in, and then what the settings say.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::Clock, command::Client, engine::Engine};
    /// let mut config = Config::default();
    /// config.set("requirepass", "a-password")?;
    /// let engine = Engine::embedded(config, Clock::system());
    /// let client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    /// assert!(!client.limits(&engine).authenticated);
    /// # Ok::<(), cloakroom::config::Refusal>(())
    /// ```
    pub fn limits(&self, engine: &Engine) -> Limits {
        engine.hot.limits(self.authenticated)
    }

    /// Runs one request, `args`, which must not be empty, and writes its reply behind what is in `out`. What the caller is to do
    /// next is the answer; see [`Flow`].
    ///
    /// Errors are replies: nothing that a client says makes this fail.
    ///
    /// ```
    /// use cloakroom::{Config, clock::Clock, command::{Client, Flow}, engine::Engine, resp::Words};
    ///
    /// let engine = Engine::embedded(Config::default(), Clock::system());
    /// let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    /// let mut out = Vec::new();
    ///
    /// let request: Words = [&b"GET"[..]].into_iter().collect();
    /// let flow = client.run(&engine, request.args(), engine.clock.now(), &mut out);
    /// assert_eq!(flow, Flow::Go);
    /// assert_eq!(out, b"-ERR wrong number of arguments for 'get' command\r\n");
    /// ```
    ///
    /// # Panics
    /// When `args` is empty.
    pub fn run(&mut self, engine: &Engine, args: Args<'_>, now: Millis, out: &mut Vec<u8>) -> Flow {
        self.lap = engine.clock.micros();
        run(engine, self, args, None, now, out)
    }

    /// Tells how to wake who carries its bytes: when something was pushed to it ([`collect`](Client::collect)), when what its
    /// request waits for is there, or when it [is to go](Client::is_killed). The last one counts.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    /// use std::task::{Wake, Waker};
    /// use cloakroom::{Config, clock::Clock, command::Client, engine::Engine, resp::Words};
    ///
    /// struct Bell(AtomicBool);
    /// impl Wake for Bell {
    ///     fn wake(self: Arc<Bell>) {
    ///         self.0.store(true, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// let engine = Engine::embedded(Config::default(), Clock::system());
    /// let [mut one, mut other] = [1, 2].map(|port| Client::connect(&engine, ([127, 0, 0, 1], port).into()));
    /// let say = |client: &mut Client, line: &[u8]| {
    ///     let (words, mut out) = (Words::of_line(line).expect("words"), Vec::new());
    ///     client.run(&engine, words.args(), engine.clock.now(), &mut out);
    ///     out
    /// };
    /// let bell = Arc::new(Bell(AtomicBool::new(false)));
    /// one.wake_with(&Waker::from(bell.clone()));
    /// say(&mut one, b"SUBSCRIBE news");
    /// assert_eq!(say(&mut other, b"PUBLISH news rain"), b":1\r\n");
    ///
    /// assert!(bell.0.load(Ordering::Relaxed));
    /// let mut out = Vec::new();
    /// one.collect(&mut out);
    /// assert_eq!(out, b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\nrain\r\n");
    /// ```
    pub fn wake_with(&self, waker: &Waker) {
        self.peer.set_bell(waker);
    }

    /// Moves what others have pushed to it behind what is in `out`: messages of channels, and news of keys that it tracks.
    /// [`wake_with`](Client::wake_with) shows it.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::Clock, command::Client, engine::Engine};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// let client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    /// let mut out = b"+OK\r\n".to_vec();
    /// client.collect(&mut out);
    /// assert_eq!(out, b"+OK\r\n", "nobody has pushed anything");
    /// ```
    pub fn collect(&self, out: &mut Vec<u8>) {
        self.peer.collect(out);
    }

    /// Whether it is to be closed: CLIENT KILL, or it left too much unread.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::Clock, command::Client, engine::Engine, resp::Words};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// let [one, mut other] = [1, 2].map(|port| Client::connect(&engine, ([127, 0, 0, 1], port).into()));
    /// let request = Words::of_line(format!("CLIENT KILL ID {}", one.id()).as_bytes()).expect("words");
    /// other.run(&engine, request.args(), engine.clock.now(), &mut Vec::new());
    /// assert!(one.is_killed() && !other.is_killed());
    /// ```
    pub fn is_killed(&self) -> bool {
        self.peer.is_killed()
    }

    /// It has gone: what it subscribed to, watches, tracks and waits for ends.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::Clock, command::Client, engine::Engine, resp::Words};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// let [mut one, mut other] = [1, 2].map(|port| Client::connect(&engine, ([127, 0, 0, 1], port).into()));
    /// let mut out = Vec::new();
    /// one.run(&engine, Words::of_line(b"SUBSCRIBE news").expect("words").args(), engine.clock.now(), &mut out);
    /// one.leave(&engine);
    ///
    /// out.clear();
    /// other.run(&engine, Words::of_line(b"PUBLISH news rain").expect("words").args(), engine.clock.now(), &mut out);
    /// assert_eq!(out, b":0\r\n", "nobody hears it");
    /// ```
    pub fn leave(mut self, engine: &Engine) {
        forget(engine, &mut self, true);
        self.forget_transaction(engine);
        engine.leave(&self.peer);
    }
}

impl std::fmt::Debug for Client {
    /// Who it is, and nothing of what it says.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Client");
        out.field("id", &self.id()).field("db", &self.db).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has just come in.
    #[cfg_attr(doc, doc(hidden))]
    pub fn new(engine: &Engine, peer: Arc<Peer>, worker: usize, is_local: bool) -> Client {
        Client {
            peer,
            worker: worker as u32,
            db: 0,
            version: Version::Resp2,
            authenticated: !engine.acl.needs_auth(),
            user: None,
            is_local,
            no_touch: false,
            replies: Replies::On,
            pushed: false,
            flow: Flow::Go,
            lap: engine.clock.micros(),
            is_outside: false,
            never_waits: false,
            ticket: 0,
            begun: None,
        }
    }

    /// The worker that serves it.
    #[cfg_attr(doc, doc(hidden))]
    pub fn worker(&self) -> usize {
        self.worker as usize
    }

    /// Hands it over to where one of its requests runs, and leaves in its place one that nothing is to be asked of: its
    /// peer is the same.
    #[cfg_attr(doc, doc(hidden))]
    pub fn hand_over(&mut self) -> Client {
        let stand_in = Client { peer: self.peer.clone(), user: None, begun: None, ..*self };
        std::mem::replace(self, stand_in)
    }

    /// The number of the database it has selected.
    ///
    /// ```
    /// # use cloakroom::{Config, clock::Clock, command::Client, engine::Engine, resp::Words};
    /// # let engine = Engine::embedded(Config::default(), Clock::system());
    /// let mut client = Client::connect(&engine, ([127, 0, 0, 1], 50_000).into());
    /// client.run(&engine, Words::of_line(b"SELECT 3").expect("words").args(), engine.clock.now(), &mut Vec::new());
    /// assert_eq!(client.db(), 3);
    /// ```
    pub fn db(&self) -> usize {
        self.db as usize
    }

    /// Selects a database that exists.
    fn select(&mut self, db: usize) {
        self.db = db as u32;
        self.peer.db.store(db as u8, Ordering::Relaxed);
    }

    /// Who it is.
    fn user<'a>(&'a self, engine: &'a Engine) -> &'a Arc<User> {
        self.user.as_ref().unwrap_or(engine.acl.default_user())
    }

    /// Makes it a user, the default one for `None`.
    fn set_user(&mut self, user: Option<Arc<User>>) {
        self.peer.set_user(user.clone());
        self.user = user;
    }

    /// Whether its reads count as accesses.
    fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.peer.no_touch.store(on, Ordering::Relaxed);
    }

    /// Microseconds that the turns of a request have taken which has more of them to come.
    fn spent(&self) -> u64 {
        self.begun.as_ref().filter(|begun| begun.has_turns()).map_or(0, |begun| begun.spent)
    }

    /// Whether a request of its has more turns to come.
    fn has_turns(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.has_turns())
    }

    /// Ends a turn of a request that has more of them to come; `keep` keeps what it goes on with.
    fn keep_for_later(&mut self, engine: &Engine, keep: impl FnOnce(&mut Begun)) {
        let begun = self.begun.get_or_insert_default();
        begun.spent = engine.clock.micros().saturating_sub(self.lap);
        keep(begun);
        self.flow = Flow::Again;
    }

    /// Frees what is kept for turns, unless there is a transaction in it.
    fn end_turns(&mut self) {
        self.begun.take_if(|begun| !begun.has_turns() && begun.tx.is_empty());
    }

    /// Changes the protocol. Whoever pushes to it looks at this too, so it is done where nobody can push meanwhile.
    fn speak(&mut self, version: Version) {
        self.version = version;
        self.peer.protocol.store(if version == Version::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }
}

/// What a handler works with.
#[cfg_attr(doc, doc(hidden))]
pub struct Ctx<'a> {
    /// What all clients share.
    pub engine: &'a Engine,
    /// Who asks.
    pub client: &'a mut Client,
    /// The time, read once for the batch.
    pub now: Millis,
    /// Where the answer goes.
    pub reply: Reply<'a>,
    /// The row of the command that runs.
    pub spec: &'static Spec,
    /// A key that was foreseen to be asked for.
    pub ahead: Option<&'a Foreseen<'a>>,
    /// Whether a script runs it.
    pub is_scripted: bool,
}

impl<'a> Ctx<'a> {
    /// The store of the client's database.
    pub fn store(&self) -> &'a Store {
        self.engine.store(self.client.db())
    }
}

#[cfg(test)]
mod tests;
