//! The server: binds its doors, starts the workers, deals out clients, and ends in good order.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::fences::FenceLog;
use super::http::Hall;
use super::keyfile::KeyFile;
use super::snapshot::{self, Keeper};
use super::worker::{self, Arrival, Entrance, Shared, Worker};
use super::{Patience, descriptors, machine, prometheus, script};
use crate::clock::Clock;
use crate::command;
use crate::config::{Bind, Config, FenceLogging};
use crate::engine::Engine;

/// How long accepting rests when the process has no descriptors left: long enough not to spin, short enough to be back
/// within a second.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// How long a script may go on when the server ends; what its worker's other clients are owed takes some time, too.
const SCRIPT_MAX: Duration = Duration::from_secs(3);

/// How often that is said while it lasts.
const EXHAUSTED_SAID_EACH: Duration = Duration::from_secs(60);

/// What one HTTP client too many is told.
const HOUSE_FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 29\r\nconnection: close\r\n\r\n\
    max number of clients reached";
/// What of the memory `maxmemory auto` is. The rest is for what is counted nowhere: code, stacks, the kernel's buffers of
/// sockets, and what the allocator cannot fill.
const MEMORY_PERCENT: u64 = 75;

/// A server whose doors are open, but who does not yet answer.
pub struct Server {
    shared: Arc<Shared>,
    resp: Vec<TcpListener>,
    http: Vec<TcpListener>,
    workers: usize,
    runtime: Runtime,
    signals: Signals,
    keeper: Keeper,
}

/// What asks a server to end. Listened to from the moment the doors are open, so that none is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Why a server could not start, in one line that says the cure.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Opens both doors. Raises the limit of descriptors of this process if `maxclients` and `http-maxclients` need more,
    /// or lowers these two to what there is.
    pub fn bind(mut config: Config) -> Result<Server, StartError> {
        budget(&mut config);
        let backlog = config.tcp_backlog as i32;
        let resp = open(&config.bind.0, config.port, backlog, "port")?;
        let http = open(config.http_addresses(), config.http_port, backlog, "http-port")?;
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        descriptors::make_room(&mut config, workers).map_err(StartError)?;
        let keyfile = KeyFile::open(&config.directory()).map_err(StartError)?;
        let snapshot = config.snapshot_path();
        let (key, kept) = (keyfile.key().clone(), config.fence_log);
        let keyfile = Arc::new(keyfile);
        let engine = Arc::new(Engine::with_key(config, Clock::system(), workers, command::COUNT, key));
        command::load_users(&engine).map_err(StartError)?;
        engine.scripts.on_busy(script::pause);
        if let Some(read) = snapshot::load(&engine, &snapshot, true).map_err(StartError)? {
            let covered = engine.changes_made();
            let mut standing = engine.snapshots.standing();
            (standing.loaded, standing.covered) = ([read.entries, read.expired], covered);
        }
        let keeper = Keeper::default();
        engine.snapshots.set_keeper(keeper.share());
        if let Some(address) = resp.first().and_then(|listener| listener.local_addr().ok()) {
            engine.set_port(address.port());
        }
        let source = engine.clone();
        let mut hall = Hall::new(engine.clone(), move || prometheus::text(&source));
        if kept != FenceLogging::No {
            match FenceLog::open(keyfile, hall.sessions(), kept == FenceLogging::Yes) {
                Ok(fences) => hall.keep_sign_outs(fences),
                Err(why) if kept == FenceLogging::Yes => return Err(StartError(why)),
                Err(why) => tracing::warn!("a restart will sign in again who signs out here: {why}"),
            }
        }
        let hall = Arc::new(hall);
        let sessions = hall.sessions().clone();
        engine.add_report("Sessions", move || sessions.counters().rows());
        let (runtime, signals) = prepare().map_err(|error| StartError(format!("cannot start: {error}")))?;
        let shared = Arc::new(Shared::new(engine, hall));
        Ok(Server { shared, resp, http, workers, runtime, signals, keeper })
    }

    /// The same with another patience, for tests that have none themselves.
    pub fn with_patience(mut self, patience: Patience) -> Server {
        // Before the workers start nobody else has them.
        let hall = Arc::get_mut(&mut self.shared).and_then(|shared| Arc::get_mut(&mut shared.hall));
        if let Some(hall) = hall {
            hall.set_patience(patience);
        }
        self
    }

    /// The addresses of the RESP door.
    pub fn resp_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.resp)
    }

    /// The addresses of the HTTP door.
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.http)
    }

    /// What all clients share.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    /// Serves until somebody asks for the end: [`Engine::shut_down`], SHUTDOWN, SIGTERM or SIGINT. Then every client
    /// may finish what it is doing.
    pub fn run(self) -> io::Result<()> {
        let mut workers = Vec::with_capacity(self.workers);
        for number in 0..self.workers {
            workers.push(worker::start(number, self.shared.clone())?);
        }
        let Server { shared, resp, http, runtime, mut signals, keeper, .. } = self;
        let scribe = keeper.start(&shared.engine)?;
        let doors = [resp.as_slice(), http.as_slice()];
        let accepted = runtime.block_on(accept_all(&shared, doors, &mut signals, &workers));
        // Who sees that the server ends finds its doors closed.
        drop((resp, http));
        tracing::info!("ending; clients may finish");
        shared.drain();
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
        shared.hall.close();
        scribe.end();
        if shared.engine.saves_at_end() {
            crate::engine::Keeper::save(&keeper, &shared.engine, true).map_err(|error| {
                io::Error::other(format!("the last snapshot could not be written, the one before it is kept: {error}"))
            })?;
        }
        accepted
    }
}

/// Finds out how much memory there is for data, and says what was made of it.
fn budget(config: &mut Config) {
    match machine::memory() {
        Some(found) => {
            config.found_memory(found.bytes / 100 * MEMORY_PERCENT);
            if config.maxmemory_auto {
                tracing::info!(
                    maxmemory = config.maxmemory,
                    "{MEMORY_PERCENT} % of the {} bytes of {}",
                    found.bytes,
                    found.place
                );
            }
        }
        None if config.maxmemory_auto => {
            tracing::warn!("cannot tell how much memory there is: maxmemory is unlimited until it is set");
        }
        None => {}
    }
}

/// Accepts on all doors until the end.
async fn accept_all(
    shared: &Arc<Shared>,
    [resp, http]: [&[TcpListener]; 2],
    signals: &mut Signals,
    workers: &[Worker],
) -> io::Result<()> {
    let mut doors = tokio::task::JoinSet::new();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut next = 0;
            for (listeners, entrance) in [(resp, Entrance::Resp), (http, Entrance::Http)] {
                for listener in listeners {
                    let listener = listener.try_clone()?;
                    listener.set_nonblocking(true)?;
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let arrivals: Vec<_> = workers.iter().map(|worker| worker.arrivals.clone()).collect();
                    doors.spawn_local(accept(listener, entrance, next, arrivals, shared.clone()));
                    next += 1;
                }
            }
            let hall = shared.hall.clone();
            doors.spawn_local(async move { hall.greet_upstream().await });
            until_the_end(&shared.engine, signals).await;
            Ok(())
        })
        .await
}

/// Accepts on one door and deals clients out in turn.
async fn accept(
    listener: tokio::net::TcpListener,
    entrance: Entrance,
    first: usize,
    arrivals: Vec<tokio::sync::mpsc::UnboundedSender<Arrival>>,
    shared: Arc<Shared>,
) {
    let mut turn = first;
    let mut said: Option<Instant> = None;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
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
        let Some(watch) = shared.admit(entrance, turn % arrivals.len()) else {
            // As Redis does it: said without waiting, and nobody minds if it does not arrive.
            let _ = stream.try_write(match entrance {
                Entrance::Resp => &b"-ERR max number of clients reached\r\n"[..],
                Entrance::Http => HOUSE_FULL,
            });
            continue;
        };
        let _ = stream.set_nodelay(true);
        keep_alive(&stream, shared.engine.hot.keepalive());
        let Ok(stream) = stream.into_std() else { continue };
        if arrivals[turn % arrivals.len()].send(Arrival { stream, watch }).is_err() {
            return;
        }
        turn = turn.wrapping_add(1);
    }
}

/// Has the kernel look after a peer that has gone without a word: first after so many seconds of silence, then twice more
/// at a third of that, as Redis does. 0 is never.
fn keep_alive(stream: &tokio::net::TcpStream, seconds: u64) {
    if seconds > 0 {
        let [time, interval] = [seconds, (seconds / 3).max(1)].map(Duration::from_secs);
        let probes = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(3);
        let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
    }
}

/// Waits for SIGTERM, SIGINT or a request to shut down.
async fn until_the_end(engine: &Engine, signals: &mut Signals) {
    let asked = std::future::poll_fn(|cx| match engine.is_shutting_down(cx.waker()) {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    });
    tokio::select! {
        _ = signals.terminate.recv() => {
            tracing::info!("SIGTERM");
            engine.note_signal(|config| &config.shutdown_on_sigterm);
        }
        _ = signals.interrupt.recv() => {
            tracing::info!("SIGINT");
            engine.note_signal(|config| &config.shutdown_on_sigint);
        }
        () = asked => {}
    }
}

/// The acceptor's runtime, listening to signals.
fn prepare() -> io::Result<(Runtime, Signals)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signals = Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    drop(entered);
    Ok((runtime, signals))
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Opens a port on every address. Port 0 picks one on the first address and takes the same on the others.
fn open(binds: &[Bind], port: u16, backlog: i32, setting: &str) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for bind in binds {
        let port = addresses(&listeners).first().map_or(port, SocketAddr::port);
        let address = SocketAddr::new(bind.address, port);
        match listen(address, backlog) {
            Ok(listener) => listeners.push(listener),
            Err(error) if bind.optional => tracing::debug!(%address, %error, "optional address left out"),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError(format!(
                    "{address} is in use: stop what listens there, or choose another {setting} (0 picks a free one)"
                )));
            }
            Err(error) => return Err(StartError(format!("cannot listen on {address} ({setting}): {error}"))),
        }
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for the old server's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
