//! The server: binds its doors, starts the workers, deals out clients, and ends in good order.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::http::Hall;
use super::prometheus;
use super::script;
use super::worker::{self, Arrival, Shared, Worker};
use crate::clock::Clock;
use crate::command;
use crate::config::{Bind, Config};
use crate::engine::Engine;

/// How long accepting rests when the process has no descriptors left: long enough not to spin, short enough to be back
/// within a second.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// A server whose doors are open, but who does not yet answer.
pub struct Server {
    shared: Arc<Shared>,
    resp: Vec<TcpListener>,
    http: Vec<TcpListener>,
    workers: usize,
    keepalive: Duration,
    runtime: Runtime,
    signals: Signals,
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
    /// Opens both doors.
    pub fn bind(config: Config) -> Result<Server, StartError> {
        let backlog = config.tcp_backlog as i32;
        let resp = open(&config.bind.0, config.port, backlog, "port")?;
        let http = open(config.http_addresses(), config.http_port, backlog, "http-port")?;
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers as usize,
        };
        let keepalive = Duration::from_secs(u64::from(config.tcp_keepalive));
        let engine = Arc::new(Engine::new(config, Clock::system(), workers, command::COUNT));
        command::load_users(&engine).map_err(StartError)?;
        engine.scripts.on_busy(script::pause);
        if let Some(address) = resp.first().and_then(|listener| listener.local_addr().ok()) {
            engine.set_port(address.port());
        }
        let source = engine.clone();
        let hall = Arc::new(Hall::new(engine.clone(), move || prometheus::text(&source)));
        let sessions = hall.sessions().clone();
        engine.add_report("Sessions", move || sessions.counters().rows());
        let (runtime, signals) = prepare().map_err(|error| StartError(format!("cannot start: {error}")))?;
        let shared = Arc::new(Shared::new(engine, hall));
        Ok(Server { shared, resp, http, workers, keepalive, runtime, signals })
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
        let Server { shared, resp, http, keepalive, runtime, mut signals, .. } = self;
        let doors = [resp.as_slice(), http.as_slice()];
        let accepted = runtime.block_on(accept_all(&shared, doors, keepalive, &mut signals, &workers));
        // Who sees that the server ends finds its doors closed.
        drop((resp, http));
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
    [resp, http]: [&[TcpListener]; 2],
    keepalive: Duration,
    signals: &mut Signals,
    workers: &[Worker],
) -> io::Result<()> {
    let mut doors = tokio::task::JoinSet::new();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut next = 0;
            for (listeners, is_resp) in [(resp, true), (http, false)] {
                for listener in listeners {
                    let listener = listener.try_clone()?;
                    listener.set_nonblocking(true)?;
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let arrivals: Vec<_> = workers.iter().map(|worker| worker.arrivals.clone()).collect();
                    doors.spawn_local(accept(listener, is_resp, next, arrivals, shared.clone(), keepalive));
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
    is_resp: bool,
    first: usize,
    arrivals: Vec<tokio::sync::mpsc::UnboundedSender<Arrival>>,
    shared: Arc<Shared>,
    keepalive: Duration,
) {
    let mut turn = first;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A client that left before it was accepted is no reason to rest; a lack of descriptors is.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(EXHAUSTED).await;
                }
                continue;
            }
        };
        if is_resp && shared.engine.clients.len() >= shared.engine.hot.max_clients() {
            // As Redis does it: said without waiting, and nobody minds if it does not arrive.
            let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
            shared.engine.metrics.shared().rejected_connections.add(1);
            continue;
        }
        let _ = stream.set_nodelay(true);
        if !keepalive.is_zero() {
            let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive));
        }
        let Ok(stream) = stream.into_std() else { continue };
        let arrival = if is_resp { Arrival::Resp(stream) } else { Arrival::Http(stream) };
        if arrivals[turn % arrivals.len()].send(arrival).is_err() {
            return;
        }
        turn = turn.wrapping_add(1);
    }
}

/// Waits for SIGTERM, SIGINT or a request to shut down.
async fn until_the_end(engine: &Engine, signals: &mut Signals) {
    let asked = std::future::poll_fn(|cx| match engine.is_shutting_down(cx.waker()) {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    });
    tokio::select! {
        _ = signals.terminate.recv() => tracing::info!("SIGTERM"),
        _ = signals.interrupt.recv() => tracing::info!("SIGINT"),
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
