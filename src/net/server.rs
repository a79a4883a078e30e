//! The server: binds its doors, starts the workers, deals out clients, and ends in good order.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use socket2::{SockRef, TcpKeepalive};

pub use super::doors::Way;
use super::doors::{Acceptor, Listener, Stream, open_all};
use super::http::Hall;
use super::prometheus;
use super::reload::Reloader;
pub use super::reload::Settings;
use super::tls::{Papers, Tls};
use super::worker::{self, Arrival, Shared, Worker};
use crate::clock::Clock;
use crate::command;
use crate::config::Config;
use crate::engine::Engine;

/// How long accepting rests when the process has no descriptors left: long enough not to spin, short enough to be back
/// within a second.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// A server whose doors are open, but who does not yet answer.
pub struct Server {
    shared: Arc<Shared>,
    doors: Vec<Listener>,
    workers: usize,
    keepalive: Duration,
    runtime: Runtime,
    signals: Signals,
    settings: Option<Settings>,
}

/// What asks a server to end, or to read its settings again. Listened to from the moment the doors are open, so that none is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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
    /// Opens the doors.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        let tls = config.uses_tls().then(|| Papers::read(&config)).transpose().map_err(StartError)?.map(Tls::new);
        let doors = open_all(&config).map_err(StartError)?;
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        let keepalive = Duration::from_secs(u64::from(config.tcp_keepalive));
        let engine = Arc::new(Engine::new(config, Clock::system(), workers, command::COUNT));
        command::load_users(&engine).map_err(StartError)?;
        // As in Redis, 0 if there is no plain door.
        engine.set_port(addresses(&doors, Way::Resp).first().map_or(0, SocketAddr::port));
        let source = engine.clone();
        let hall = Arc::new(Hall::new(engine.clone(), move || prometheus::text(&source)));
        let sessions = hall.sessions().clone();
        engine.add_report("Sessions", move || sessions.counters().rows());
        let (runtime, signals) = prepare().map_err(|error| StartError(format!("cannot start: {error}")))?;
        let shared = Arc::new(Shared::new(engine, hall, tls));
        Ok(Server { shared, doors, workers, keepalive, runtime, signals, settings: None })
    }

    /// The same, which reads its settings in this way when it gets a SIGHUP. Without one it reads only users and
    /// certificates again.
    pub fn with_settings(self, settings: Settings) -> Server {
        Server { settings: Some(settings), ..self }
    }

    /// The addresses of the doors of a kind; a Unix socket has none.
    pub fn addresses(&self, way: Way) -> Vec<SocketAddr> {
        addresses(&self.doors, way)
    }

    /// Every door: where it is, and what is spoken there.
    pub fn doors(&self) -> impl Iterator<Item = (String, Way)> {
        self.doors.iter().map(|door| (door.to_string(), door.way))
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
        let Server { shared, doors, keepalive, runtime, mut signals, settings, .. } = self;
        let mut reloader = Reloader::new(shared.clone(), settings);
        let accepted =
            runtime.block_on(accept_all(&shared, &doors, keepalive, (&mut signals, &mut reloader), &workers));
        tracing::info!("ending; clients may finish");
        shared.drain();
        for worker in workers {
            drop(worker.arrivals);
            if worker.thread.join().is_err() {
                tracing::error!("a worker had panicked");
            }
        }
        accepted
    }
}

/// Accepts on all doors until the end.
async fn accept_all(
    shared: &Arc<Shared>,
    listeners: &[Listener],
    keepalive: Duration,
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
                doors.spawn_local(accept(acceptor, listener.way, first, arrivals, shared.clone(), keepalive));
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
    keepalive: Duration,
) {
    let mut turn = first;
    loop {
        let stream = match acceptor.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // A client that left before it was accepted is no reason to rest; a lack of descriptors is.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(EXHAUSTED).await;
                }
                continue;
            }
        };
        if way.is_resp() && !stream.is_local() && is_protected(&shared.engine) {
            stream.say(DENIED);
            shared.engine.metrics.shared().rejected_connections.add(1);
            continue;
        }
        if way.is_resp() && shared.engine.clients.len() >= shared.engine.hot.max_clients() {
            // As Redis does it: said without waiting, and nobody minds if it does not arrive.
            stream.say(b"-ERR max number of clients reached\r\n");
            shared.engine.metrics.shared().rejected_connections.add(1);
            continue;
        }
        if let Stream::Tcp(stream, _) = &stream {
            let _ = stream.set_nodelay(true);
            if !keepalive.is_zero() {
                let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive));
            }
        }
        let Ok(arrival) = stream.into_arrival(way) else { continue };
        if arrivals[turn % arrivals.len()].send(arrival).is_err() {
            return;
        }
        turn = turn.wrapping_add(1);
    }
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
            _ = signals.terminate.recv() => tracing::info!("SIGTERM"),
            _ = signals.interrupt.recv() => tracing::info!("SIGINT"),
            _ = signals.hangup.recv() => {
                reloader.run();
                continue;
            }
            () = asked => {}
        }
        return;
    }
}

/// The acceptor's runtime, listening to signals.
fn prepare() -> io::Result<(Runtime, Signals)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    };
    drop(entered);
    Ok((runtime, signals))
}

fn addresses(doors: &[Listener], way: Way) -> Vec<SocketAddr> {
    doors.iter().filter(|door| door.way == way).filter_map(Listener::address).collect()
}
