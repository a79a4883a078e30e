//! A worker: one thread, one single-threaded runtime, and the clients it was dealt.
//!
//! Clients never migrate. What they have in common on a worker, the scratch buffers, needs no lock.

use std::cell::{RefCell, RefMut};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_rustls::server::TlsStream;

use super::http::{Caller, Door, Hall};
use super::resp;
use super::script::Stage;
use super::strangers::Strangers;
use super::system::{self, UnixStream};
use super::tls::{Refused, Side, Tls};
use crate::engine::Engine;
use crate::resp::Parser;

/// Bytes that are read at once; many pipelined requests, and more than the socket holds of most.
const READ: usize = 64 * 1024;

/// Bytes of a worker's stack, and of the one that its scripts have, of which few are ever touched. Two hundred functions of
/// Lua's libraries may call each other through scripts, each with a buffer of 8 KB: more than the usual stack holds.
pub(super) const STACK: usize = 8 * 1024 * 1024;

/// How long clients may take to finish when the server ends.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What all workers share.
pub(super) struct Shared {
    pub engine: Arc<Engine>,
    pub hall: Arc<Hall>,
    /// Tells HTTP clients that the server is ending.
    pub ending: watch::Sender<bool>,
    /// Clients that came to the RESP door with another protocol.
    pub strangers: Strangers,
    /// How many clients have come in by each door and not left yet.
    inside: [AtomicUsize; 2],
    /// The same, and those with whom hands could not be shaken, at the doors for TLS.
    pub tls_strangers: [Strangers; 2],
    pub tls: Option<Tls>,
    draining: AtomicBool,
}

/// Which of the two a client has come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    Resp,
    Http,
}

impl Shared {
    pub fn new(engine: Arc<Engine>, hall: Arc<Hall>, tls: Option<Tls>) -> Shared {
        Shared {
            engine,
            hall,
            ending: watch::Sender::new(false),
            strangers: Strangers::default(),
            inside: Default::default(),
            tls_strangers: Default::default(),
            tls,
            draining: AtomicBool::new(false),
        }
    }

    /// Takes a place for a client, to be given back when the `Watch` is dropped; `None` if all are taken. It is taken where
    /// clients are accepted: those who wait for their worker count too.
    pub fn admit(self: &Arc<Self>, entrance: Entrance, worker: usize) -> Option<Watch> {
        let most = match entrance {
            Entrance::Resp => self.engine.hot.max_clients(),
            Entrance::Http => self.engine.hot.max_http_clients(),
        };
        let inside = &self.inside[entrance as usize];
        if inside.fetch_add(1, Ordering::Relaxed) >= most {
            inside.fetch_sub(1, Ordering::Relaxed);
            self.engine.metrics.shared().rejected_connections.add(1);
            return None;
        }
        Some(Watch { shared: self.clone(), worker: worker as u32, entrance })
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Lets every client finish what it is doing and go.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        // One that does not take long may come to its end.
        if self.engine.scripts.is_busy() {
            self.engine.scripts.end_all();
        }
        self.ending.send_replace(true);
        self.engine.clients.ring_all();
    }
}

/// A worker's buffers, lent to whichever client has its turn.
pub(super) type Scratch = Rc<RefCell<Buffers>>;

#[derive(Default)]
pub(super) struct Buffers {
    pub input: Box<[u8]>,
    pub output: Vec<u8>,
    pub parser: Parser,
    pub stage: Stage,
}

impl Buffers {
    /// Lends them for one turn. What still is in them was for a client whose handler panicked, and is for nobody else.
    pub fn lend(scratch: &Scratch) -> RefMut<'_, Buffers> {
        let mut buffers = scratch.borrow_mut();
        buffers.output.clear();
        buffers.parser.restart();
        buffers
    }
}

/// A client that was accepted and is dealt to a worker.
pub(super) struct Arrival {
    pub guest: Guest,
    pub watch: Watch,
}

/// What it came over.
pub(super) enum Guest {
    Resp(std::net::TcpStream),
    /// RESP too; the path that the client came to.
    Unix(system::unknown::UnixStream, Arc<str>),
    Http(std::net::TcpStream),
    HttpUnix(system::unknown::UnixStream),
    /// Hands are to be shaken first.
    Tls(std::net::TcpStream, Side),
}

impl Guest {
    /// Has what it says sent at once, and the kernel look after it when it has gone without a word: first after so many
    /// seconds of silence, then twice more at a third of that, as Redis does. 0 is never. Not done where clients are
    /// accepted, as all who come at once would wait for it.
    fn make_ready(&self, keepalive: u64) {
        let (Guest::Resp(stream) | Guest::Http(stream) | Guest::Tls(stream, _)) = self else { return };
        // One that has gone already is found out by whoever reads from it.
        let _ = stream.set_nodelay(true);
        if keepalive > 0 {
            let [time, interval] = [keepalive, (keepalive / 3).max(1)].map(Duration::from_secs);
            let probes = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(3);
            let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
        }
    }
}

/// The acceptor's end of a worker.
pub(super) struct Worker {
    pub arrivals: mpsc::UnboundedSender<Arrival>,
    pub thread: JoinHandle<()>,
}

/// Starts a worker. The first one also keeps house.
pub(super) fn start(number: usize, shared: Arc<Shared>) -> io::Result<Worker> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (arrivals, mut inbox) = mpsc::unbounded_channel();
    let work = move || {
        let local = LocalSet::new();
        let scratch = Rc::new(RefCell::new(Buffers { input: vec![0; READ].into(), ..Buffers::default() }));
        local.block_on(&runtime, async move {
            if number == 0 {
                tokio::task::spawn_local(super::janitor::run(shared.engine.clone()));
                tokio::task::spawn_local(super::janitor::see_off(shared.engine.clone()));
                tokio::task::spawn_local(super::janitor::weigh(shared.engine.clone()));
            }
            tokio::task::spawn_local(super::janitor::give_back(shared.engine.clone()));
            let door = Door::new(shared.hall.clone(), number);
            while let Some(arrival) = inbox.recv().await {
                serve(arrival, number, &shared, &door, &scratch);
            }
            // The acceptor is gone: the server ends. Its clients were told; give them their time.
            let patience = tokio::time::Instant::now() + DRAIN_MAX;
            while Rc::strong_count(&scratch) > 1 && tokio::time::Instant::now() < patience {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    };
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).stack_size(STACK).spawn(work)?;
    Ok(Worker { arrivals, thread })
}

/// Starts serving a client. Each holds the scratch buffers, so that their count says how many there are.
fn serve(arrival: Arrival, number: usize, shared: &Arc<Shared>, door: &Rc<Door>, scratch: &Scratch) {
    let scratch = scratch.clone();
    let block = shared.engine.metrics.block(number);
    let Arrival { guest, watch } = arrival;
    guest.make_ready(shared.engine.hot.keepalive());
    match guest {
        Guest::Resp(stream) => {
            block.connections.add(1);
            // In a box, which takes 256 bytes and leaves 128 to the task: in one piece they would take 512.
            tokio::task::spawn_local(Box::pin(resp::serve(stream, watch, scratch)));
        }
        Guest::Unix(stream, path) => {
            block.connections.add(1);
            tokio::task::spawn_local(Box::pin(resp::serve((stream, path), watch, scratch)));
        }
        Guest::Http(stream) => {
            block.http_connections.add(1);
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let Ok(peer) = stream.peer_addr() else { return };
            let (door, ending) = (door.clone(), shared.ending.subscribe());
            tokio::task::spawn_local(async move {
                let _held = (&watch, &scratch);
                door.serve(stream, peer.into(), ending).await;
            });
        }
        Guest::HttpUnix(stream) => {
            block.http_connections.add(1);
            let Ok(stream) = UnixStream::from_std(stream) else { return };
            let (door, ending) = (door.clone(), shared.ending.subscribe());
            tokio::task::spawn_local(async move {
                let _held = (&watch, &scratch);
                door.serve(stream, Caller::on_this_machine(), ending).await;
            });
        }
        Guest::Tls(stream, side) => {
            match side {
                Side::Resp => block.connections.add(1),
                Side::Http => block.http_connections.add(1),
            }
            let (door, shared) = (door.clone(), shared.clone());
            tokio::task::spawn_local(Box::pin(async move {
                let Some((stream, peer)) = shake_hands(stream, side, &shared).await else { return };
                match side {
                    Side::Resp => resp::serve(Box::new(stream), watch, scratch).await,
                    Side::Http => {
                        let _held = (&watch, &scratch);
                        let ending = shared.ending.subscribe();
                        door.serve(stream, Caller { is_secure: true, ..peer.into() }, ending).await;
                    }
                }
            }));
        }
    }
}

/// Shakes hands with a client of a door for TLS, unless the server ends meanwhile.
async fn shake_hands(
    stream: std::net::TcpStream,
    side: Side,
    shared: &Shared,
) -> Option<(TlsStream<TcpStream>, SocketAddr)> {
    let stream = TcpStream::from_std(stream).ok()?;
    let (peer, tls) = (stream.peer_addr().ok()?, shared.tls.as_ref()?);
    let mut ending = shared.ending.subscribe();
    let patience = shared.hall.patience().handshake;
    let shaken = tokio::select! {
        shaken = tls.accept(stream, side, patience) => shaken,
        _ = ending.wait_for(|ending| *ending) => return None,
    };
    let (door, strangers) = match side {
        Side::Resp => ("RESP over TLS", &shared.tls_strangers[0]),
        Side::Http => ("HTTPS", &shared.tls_strangers[1]),
    };
    match shaken {
        Ok(stream) => return Some((stream, peer)),
        Err(Refused::Gone) => tracing::debug!(%peer, "TLS client gone before the handshake ended"),
        Err(Refused::Plain) => strangers.note(door, "no TLS", peer.ip()),
        Err(Refused::Failed(error)) => strangers.note_handshake(door, &error, peer.ip()),
    }
    None
}

/// A client's place, given back when it ends. Sees a handler panic, too: that ends the client it happened to; it is counted
/// and said, and the worker goes on. A task of its own that waits for the handler would see as much, and weigh as much as
/// a third of a client.
pub(super) struct Watch {
    pub shared: Arc<Shared>,
    worker: u32,
    entrance: Entrance,
}

impl Watch {
    /// The number of the client's worker.
    pub fn worker(&self) -> usize {
        self.worker as usize
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.inside[self.entrance as usize].fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.shared.engine.metrics.block(self.worker()).panics.add(1);
            tracing::error!("a handler panicked; its client was closed");
        }
    }
}
