//! The server: binds its doors, starts the workers, deals out clients, and ends in good order.
//!
//! ```
//! use cloakroom::{Config, server::{Server, Way}};
//!
//! let mut config = Config::default();
//! for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1")] {
//!     config.set(name, value)?;
//! }
//! let server = Server::bind(config)?;
//! println!("RESP at {:?}, HTTP at {:?}", server.addresses(Way::Resp), server.addresses(Way::Http));
//! // `server.run()` serves until it is told to end.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

pub use super::doors::Way;
use super::doors::{Acceptor, Listener, Stream, open_all};
use super::fences::FenceLog;
use super::here::Here;
use super::http::Hall;
use super::keyfile::KeyFile;
use super::otlp::Otlp;
use super::reload::Reloader;
#[cfg_attr(doc, doc(hidden))]
pub use super::reload::Settings;
use super::signing::SigningKeys;
use super::snapshot::{self, Keeper};
use super::system::{self, Signal, Signals};
use super::tls::{Papers, Tls};
use super::worker::{self, Arrival, DRAIN_MAX, Shared, Watch, Worker};
use super::{Patience, descriptors, machine, prometheus, script, secrets, tls};
use crate::clock::Clock;
use crate::command;
use crate::config::{Config, FenceLogging};
use crate::engine::Engine;

/// How long accepting rests when the process has no descriptors left: long enough not to spin, short enough to be back
/// within a second.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// How long a script may go on when the server ends; what its worker's other clients are owed takes some time, too.
const SCRIPT_MAX: Duration = Duration::from_secs(3);

/// How long a collector may take for what is left when the server ends, within the time that clients have for that.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How often that is said while it lasts.
const EXHAUSTED_SAID_EACH: Duration = Duration::from_secs(60);

/// What one HTTP client too many is told.
const HOUSE_FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 29\r\nconnection: close\r\n\r\n\
    max number of clients reached";
/// What of the memory `maxmemory auto` is. The rest is for what is counted nowhere: code, stacks, the kernel's buffers of
/// sockets, and what the allocator cannot fill.
#[cfg_attr(doc, doc(hidden))]
pub const MEMORY_PERCENT: u64 = 75;

/// A server whose doors are open, but who does not yet answer.
///
/// ```
/// use std::net::TcpStream;
/// use cloakroom::{Config, server::{Server, Way}};
///
/// let mut config = Config::default();
/// for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no")] {
///     config.set(name, value)?;
/// }
/// let server = Server::bind(config)?;
/// let (address, engine) = (server.addresses(Way::Resp)[0], server.engine().clone());
/// let served = std::thread::spawn(move || server.run());
///
/// let client = TcpStream::connect(address)?;
/// engine.shut_down();
/// served.join().expect("no panic")?;
/// # drop(client);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    shared: Arc<Shared>,
    doors: Vec<Listener>,
    workers: usize,
    runtime: Runtime,
    /// Listened to from the moment the doors are open, so that none is lost.
    signals: Signals,
    keeper: Keeper,
    otlp: Option<Otlp>,
    settings: Option<Settings>,
    /// The socket of who waits to hear that it serves.
    supervisor: Option<OsString>,
}

/// Why a server could not start, in one line that says the cure.
///
/// ```
/// # use cloakroom::{Config, server::Server};
/// # let mut config = Config::default();
/// # for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no"), ("workers", "1")] {
/// #     config.set(name, value)?;
/// # }
/// let somebody_else = std::net::TcpListener::bind("127.0.0.1:0")?;
/// config.set("port", &somebody_else.local_addr()?.port().to_string())?;
/// let why = Server::bind(config).err().expect("there can be only one").to_string();
/// assert!(why.contains("port"), "{why}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Opens the doors. Raises the limit of descriptors of this process if `maxclients` and `http-maxclients` need more,
    /// or lowers these two to what there is.
    ///
    /// ```
    /// # use cloakroom::{Config, server::{Server, Way}};
    /// # let mut config = Config::default();
    /// # for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no"), ("workers", "1")] {
    /// #     config.set(name, value)?;
    /// # }
    /// let server = Server::bind(config)?;
    /// assert_ne!(server.addresses(Way::Resp)[0].port(), 0, "one that was free");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind(mut config: Config) -> Result<Server, StartError> {
        let tell_budget = budget(&mut config);
        let tls = config.uses_tls().then(|| Papers::read(&config)).transpose().map_err(StartError)?.map(Tls::new);
        let secrets = secrets::read(&config).map_err(StartError)?;
        let doors = open_all(&config).map_err(StartError)?;
        let workers = workers(&config);
        descriptors::make_room(&mut config, workers).map_err(StartError)?;
        let keyfile = KeyFile::open(&config.directory()).map_err(StartError)?;
        let clock = Clock::system();
        let signing = SigningKeys::open(&config.directory(), config.verify.key_age, clock.wall_micros() / 1_000_000);
        let signing = signing.map_err(StartError)?;
        let snapshot = config.snapshot_path();
        let (key, kept) = (keyfile.key().clone(), config.fence_log);
        let keyfile = Arc::new(keyfile);
        let engine = Arc::new(Engine::with_key(config, clock, workers, command::COUNT, key));
        engine.run_on(Here);
        command::load_users(&engine).map_err(StartError)?;
        engine.scripts.on_busy(script::pause);
        let shown = tls.clone();
        engine.on_configure(move |before, after, named| {
            descriptors::judge(before, after, workers)?;
            tls::judge(shown.as_ref(), after, named)
        });
        if let Some(read) = snapshot::load(&engine, &snapshot, true).map_err(StartError)? {
            let covered = engine.changes_made();
            let mut standing = engine.snapshots.standing();
            (standing.loaded, standing.covered) = ([read.entries, read.expired], covered);
        }
        if engine.with_config(|config| !config.save.is_empty()) {
            // Now rather than with the first snapshot: who puts files there meanwhile finds the key that they are to fit, and a
            // folder that takes nothing is told of at once.
            if let Err(error) = keyfile.save() {
                tracing::warn!("snapshots cannot be written: {}", snapshot::about(&keyfile.path(), &error));
            }
        }
        let keeper = Keeper::default();
        engine.snapshots.set_keeper(keeper.share());
        // As in Redis, 0 if there is no plain door.
        engine.set_port(addresses(&doors, Way::Resp).first().map_or(0, SocketAddr::port));
        let source = engine.clone();
        let mut hall = Hall::new(engine.clone(), secrets, move |form| prometheus::text(&source, form));
        if kept != FenceLogging::No {
            match FenceLog::open(keyfile, hall.sessions(), kept == FenceLogging::Yes) {
                Ok(fences) => hall.keep_sign_outs(fences),
                Err(why) if kept == FenceLogging::Yes => return Err(StartError(why)),
                Err(why) => tracing::warn!("a restart will sign in again who signs out here: {why}"),
            }
        }
        hall.sign_with(signing);
        let otlp = Otlp::open(&engine);
        hall.trace_to(otlp.as_ref().map(Otlp::spans));
        let hall = Arc::new(hall);
        let sessions = hall.sessions().clone();
        engine.add_report("Sessions", move || sessions.counters().rows());
        let (runtime, signals) = prepare().map_err(|error| StartError(format!("cannot start: {error}")))?;
        let shared = Arc::new(Shared::new(engine, hall, tls));
        tell_budget();
        Ok(Server { shared, doors, workers, runtime, signals, settings: None, keeper, otlp, supervisor: None })
    }

    /// The same with another patience, for tests that have none themselves.
    #[cfg_attr(doc, doc(hidden))]
    pub fn with_patience(mut self, patience: Patience) -> Server {
        // Before the workers start nobody else has them.
        let hall = Arc::get_mut(&mut self.shared).and_then(|shared| Arc::get_mut(&mut shared.hall));
        if let Some(hall) = hall {
            hall.set_patience(patience);
        }
        self
    }

    /// The same, which reads its settings in this way when it gets a SIGHUP. Without one it reads only users and
    /// certificates again.
    #[cfg_attr(doc, doc(hidden))]
    pub fn with_settings(self, settings: Settings) -> Server {
        Server { settings: Some(settings), ..self }
    }

    /// The same, which tells systemd when it serves and when it begins to end, at the socket that `NOTIFY_SOCKET` names.
    #[cfg_attr(doc, doc(hidden))]
    pub fn with_supervisor(self, socket: Option<OsString>) -> Server {
        Server { supervisor: socket, ..self }
    }

    /// The addresses of the doors of a kind; a Unix socket has none.
    ///
    /// ```
    /// # use cloakroom::{Config, server::{Server, Way}};
    /// # let mut config = Config::default();
    /// # for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no"), ("workers", "1")] {
    /// #     config.set(name, value)?;
    /// # }
    /// let server = Server::bind(config)?;
    /// assert_eq!(server.addresses(Way::Http).len(), 1);
    /// assert!(server.addresses(Way::HttpTls).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn addresses(&self, way: Way) -> Vec<SocketAddr> {
        addresses(&self.doors, way)
    }

    /// Every door: where it is, and what is spoken there.
    ///
    /// ```
    /// # use cloakroom::{Config, server::{Server, Way}};
    /// # let mut config = Config::default();
    /// # for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no"), ("workers", "1")] {
    /// #     config.set(name, value)?;
    /// # }
    /// let server = Server::bind(config)?;
    /// for (place, way) in server.doors() {
    ///     println!("{} at {place}", way.name());
    /// }
    /// assert_eq!(server.doors().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn doors(&self) -> impl Iterator<Item = (String, Way)> {
        self.doors.iter().map(|door| (door.to_string(), door.way))
    }

    /// What all clients share.
    ///
    /// ```
    /// # use cloakroom::{Config, server::{Server, Way}};
    /// # let mut config = Config::default();
    /// # for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no"), ("workers", "1")] {
    /// #     config.set(name, value)?;
    /// # }
    /// use cloakroom::clock::Ttl;
    ///
    /// let server = Server::bind(config)?;
    /// // What the program puts there is what its clients find.
    /// server.engine().store(0).put(b"coat", b"blue", Ttl::seconds(60))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    /// Serves until somebody asks for the end: [`Engine::shut_down`], SHUTDOWN, SIGTERM or SIGINT. Then every client
    /// may finish what it is doing.
    ///
    /// ```
    /// # use cloakroom::{Config, server::{Server, Way}};
    /// # let mut config = Config::default();
    /// # for (name, value) in [("port", "0"), ("http-port", "0"), ("bind", "127.0.0.1"), ("fence-log", "no"), ("workers", "1")] {
    /// #     config.set(name, value)?;
    /// # }
    /// let server = Server::bind(config)?;
    /// let engine = server.engine().clone();
    /// let served = std::thread::spawn(move || server.run());
    /// engine.shut_down();
    /// served.join().expect("no panic")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(self) -> io::Result<()> {
        let mut workers = Vec::with_capacity(self.workers);
        for number in 0..self.workers {
            workers.push(worker::start(number, self.shared.clone())?);
        }
        let Server { shared, doors, runtime, mut signals, settings, keeper, otlp, supervisor, .. } = self;
        let scribe = keeper.start(&shared.engine)?;
        let otlp = otlp.map(Otlp::start).transpose()?;
        let mut reloader = Reloader::new(shared.clone(), settings);
        let tell = |state: &str| {
            if let Some(Err(error)) = supervisor.as_ref().map(|socket| system::tell_supervisor(socket, state)) {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be told {state}");
            }
        };
        // The kernel holds who comes from when the doors were opened.
        tell("READY=1");
        let accepted = runtime.block_on(accept_all(&shared, &doors, (&mut signals, &mut reloader), &workers));
        tell("STOPPING=1");
        // Who sees that the server ends finds its doors closed.
        drop(doors);
        tracing::info!("ending; clients may finish");
        shared.drain();
        let drained_by = Instant::now() + DRAIN_MAX;
        // Without their inboxes they end when their clients have.
        let threads: Vec<_> = workers.into_iter().map(|worker| worker.thread).collect();
        let patience = Instant::now() + SCRIPT_MAX;
        while Instant::now() < patience && threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if shared.engine.scripts.end_all() {
            tracing::warn!("a script that does not end was ended");
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        if let Some(otlp) = otlp {
            otlp.end(drained_by.min(Instant::now() + FLUSH_MAX));
        }
        shared.hall.close();
        scribe.end();
        if shared.engine.saves_at_end() {
            crate::engine::Keeper::save(&keeper, &shared.engine).map_err(|error| {
                io::Error::other(format!("the last snapshot could not be written, the one before it is kept: {error}"))
            })?;
        }
        accepted
    }
}

impl fmt::Debug for Server {
    /// Where its doors are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doors: Vec<String> = self.doors().map(|(place, way)| format!("{} at {place}", way.name())).collect();
        f.debug_struct("Server").field("doors", &doors).finish_non_exhaustive()
    }
}

/// How many threads serve clients.
pub(super) fn workers(config: &Config) -> usize {
    match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers as usize,
    }
}

/// Finds out how much memory there is for data, and gives what is to be said of it once the server stands.
fn budget(config: &mut Config) -> impl FnOnce() + use<> {
    let found = machine::memory();
    if let Some(found) = &found {
        config.found_memory(found.bytes / 100 * MEMORY_PERCENT);
    }
    let (maxmemory, is_auto) = (config.maxmemory, config.maxmemory_auto);
    move || match found {
        _ if !is_auto => {}
        Some(found) => {
            let (mib, whole) = (maxmemory >> 20, found.bytes >> 20);
            tracing::info!("maxmemory is {mib} MiB, {MEMORY_PERCENT} % of what {} has ({whole} MiB)", found.place);
        }
        None => tracing::warn!("cannot tell how much memory there is: maxmemory is unlimited until it is set"),
    }
}

/// Accepts on all doors until the end.
async fn accept_all(
    shared: &Arc<Shared>,
    listeners: &[Listener],
    (signals, reloader): (&mut Signals, &mut Reloader),
    workers: &[Worker],
) -> io::Result<()> {
    let mut doors = tokio::task::JoinSet::new();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            for (first, listener) in listeners.iter().enumerate() {
                let arrivals: Vec<_> = workers.iter().map(|worker| worker.arrivals.clone()).collect();
                let acceptor = listener.acceptor()?;
                doors.spawn_local(accept(acceptor, listener.way, first, arrivals, shared.clone()));
            }
            let hall = shared.hall.clone();
            doors.spawn_local(async move { hall.greet_upstream().await });
            until_the_end(&shared.engine, signals, reloader).await;
            Ok(())
        })
        .await
}

/// Accepts on one door and deals clients out in turn.
async fn accept(
    acceptor: Acceptor,
    way: Way,
    first: usize,
    arrivals: Vec<tokio::sync::mpsc::UnboundedSender<Arrival>>,
    shared: Arc<Shared>,
) {
    let mut turn = first;
    let mut said: Option<Instant> = None;
    loop {
        let stream = match acceptor.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // A client that left before it was accepted is no reason to rest; a lack of descriptors is.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    if said.is_none_or(|said| said.elapsed() >= EXHAUSTED_SAID_EACH) {
                        tracing::warn!(%error, "cannot accept clients; they wait until it can be done again");
                        said = Some(Instant::now());
                    }
                    tokio::time::sleep(EXHAUSTED).await;
                }
                continue;
            }
        };
        let Some(watch) = let_in(&stream, way, turn % arrivals.len(), &shared) else { continue };
        let Ok(guest) = stream.into_guest(way) else { continue };
        if arrivals[turn % arrivals.len()].send(Arrival { guest, watch }).is_err() {
            return;
        }
        turn = turn.wrapping_add(1);
    }
}

/// Takes a place for a client, or tells it why there is none.
fn let_in(stream: &Stream, way: Way, worker: usize, shared: &Arc<Shared>) -> Option<Watch> {
    if way.is_resp() && !stream.is_local() && is_protected(&shared.engine) {
        stream.say(DENIED);
        shared.engine.metrics.shared().rejected_connections.add(1);
        return None;
    }
    let watch = shared.admit(way.entrance(), worker);
    if watch.is_none() {
        // As Redis does it: said without waiting, and nobody minds if it does not arrive.
        stream.say(if way.is_resp() { b"-ERR max number of clients reached\r\n" } else { HOUSE_FULL });
    }
    watch
}

/// What a client from elsewhere hears while anybody could come in. Clients know Redis' first word.
const DENIED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
    is set for the default user. Set requirepass, or protected-mode no if that is meant.\r\n";

/// Whether clients from elsewhere are kept out: a password that was taken away while the server runs must not open
/// what would not have started so.
fn is_protected(engine: &Engine) -> bool {
    !engine.acl.needs_auth() && engine.with_config(|config| config.protected_mode)
}

/// Waits for SIGTERM, SIGINT or a request to shut down, and reads the settings again for each SIGHUP.
async fn until_the_end(engine: &Engine, signals: &mut Signals, reloader: &mut Reloader) {
    loop {
        let asked = std::future::poll_fn(|cx| match engine.is_shutting_down(cx.waker()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        });
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Terminate => {
                    tracing::info!("SIGTERM");
                    engine.note_signal(|config| &config.shutdown_on_sigterm);
                }
                Signal::Interrupt => {
                    tracing::info!("SIGINT");
                    engine.note_signal(|config| &config.shutdown_on_sigint);
                }
                Signal::Reload => {
                    reloader.run();
                    continue;
                }
            },
            () = asked => {}
        }
        return;
    }
}

/// The acceptor's runtime, listening to signals.
fn prepare() -> io::Result<(Runtime, Signals)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signals = Signals::listen()?;
    drop(entered);
    Ok((runtime, signals))
}

fn addresses(doors: &[Listener], way: Way) -> Vec<SocketAddr> {
    doors.iter().filter(|door| door.way == way).filter_map(Listener::address).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A house without anybody, who does not ask for a password.
    fn open_house(settings: &[(&str, &str)]) -> Arc<Shared> {
        let mut config = Config::default();
        for (name, value) in settings {
            config.set(name, value).expect("a setting");
        }
        let engine = Arc::new(Engine::new(config, Clock::system(), 1, command::COUNT));
        let hall = Hall::new(engine.clone(), None, |_| String::new());
        Arc::new(Shared::new(engine, Arc::new(hall), None))
    }

    /// What a client hears that comes from `from`, if it is not let in. The bytes go over loopback all the same.
    fn turned_away(shared: &Arc<Shared>, way: Way, from: &str) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let door = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(door.local_addr().expect("its address")).expect("a door");
        let (accepted, _) = door.accept().expect("a client");
        accepted.set_nonblocking(true).expect("a socket");
        let watch = runtime.block_on(async {
            let accepted = tokio::net::TcpStream::from_std(accepted).expect("a socket");
            let_in(&Stream::Tcp(accepted, from.parse().expect("an address")), way, 0, shared)
        });
        let mut heard = String::new();
        client.read_to_string(&mut heard).expect("text and an end");
        assert_eq!(watch.is_some(), heard.is_empty(), "{heard}");
        watch.is_none().then_some(heard)
    }

    #[test]
    fn who_comes_from_elsewhere_is_denied_while_there_is_no_password() {
        let shared = open_house(&[("requirepass", "sesame")]);
        let is_denied = |way, from| {
            let heard = turned_away(&shared, way, from);
            assert!(heard.iter().all(|heard| heard.starts_with("-DENIED Redis is running in protected mode")));
            heard.is_some()
        };
        let elsewhere = ["203.0.113.7:4000", "[2001:db8::7]:4000", "[::ffff:203.0.113.7]:4000"];
        let here = ["127.0.0.1:4000", "127.9.9.9:4000", "[::1]:4000", "[::ffff:127.0.0.1]:4000"];
        assert!(!elsewhere.iter().any(|from| is_denied(Way::Resp, from)), "the password is asked for inside");
        shared.engine.configure(&[("requirepass", "")], true).expect("it may be taken away");
        assert!(elsewhere.iter().all(|from| is_denied(Way::Resp, from) && is_denied(Way::RespTls, from)));
        assert_eq!(shared.engine.metrics.sums().rejected_connections, 6);
        assert!(!here.iter().any(|from| is_denied(Way::Resp, from)));
        // Sessions are for whoever has their token.
        assert!(!is_denied(Way::Http, elsewhere[0]));
        shared.engine.configure(&[("protected-mode", "no")], true).expect("it may be meant");
        assert!(!is_denied(Way::Resp, elsewhere[0]));
        shared.engine.configure(&[("protected-mode", "yes")], true).expect("or not");
        assert!(is_denied(Way::Resp, elsewhere[0]));
        shared.engine.configure(&[("requirepass", "sesame")], true).expect("a password again");
        assert!(!is_denied(Way::Resp, elsewhere[0]));
    }

    #[test]
    fn one_too_many_is_told_so_and_a_place_is_free_when_its_client_has_gone() {
        let shared = open_house(&[("maxclients", "1"), ("http-maxclients", "1")]);
        for (way, full) in [(Way::Resp, "-ERR max number of clients"), (Way::Http, "HTTP/1.1 503 ")] {
            let one = shared.admit(way.entrance(), 0);
            assert!(one.is_some());
            assert!(turned_away(&shared, way, "127.0.0.1:4000").is_some_and(|heard| heard.starts_with(full)));
            drop(one);
            assert_eq!(turned_away(&shared, way, "127.0.0.1:4000"), None);
        }
    }
}
