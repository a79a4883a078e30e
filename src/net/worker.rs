//! A worker: one thread, one single-threaded runtime, and the clients it was dealt.
//!
//! Clients never migrate. What they have in common on a worker, the scratch buffers, needs no lock.

use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::http::{Door, Hall};
use super::resp;
use super::script::Stage;
use super::strangers::Strangers;
use crate::engine::Engine;
use crate::resp::Parser;

/// Bytes that are read at once; many pipelined requests, and more than the socket holds of most.
const READ: usize = 64 * 1024;

/// Bytes of a worker's stack, and of the one that its scripts have, of which few are ever touched. Two hundred functions of Lua's libraries may call each other
/// through scripts, each with a buffer of 8 KB: more than the usual stack holds.
pub(super) const STACK: usize = 8 * 1024 * 1024;

/// How long clients may take to finish when the server ends.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What all workers share.
pub(super) struct Shared {
    pub engine: Arc<Engine>,
    pub hall: Arc<Hall>,
    /// Tells HTTP clients that the server is ending.
    pub ending: watch::Sender<bool>,
    /// Clients that came to the RESP door with another protocol.
    pub strangers: Strangers,
    draining: AtomicBool,
}

impl Shared {
    pub fn new(engine: Arc<Engine>, hall: Arc<Hall>) -> Shared {
        let (ending, draining) = (watch::Sender::new(false), AtomicBool::new(false));
        Shared { engine, hall, ending, strangers: Strangers::default(), draining }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Lets every client finish what it is doing and go.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.engine.scripts.end_all();
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
pub(super) enum Arrival {
    Resp(std::net::TcpStream),
    Http(std::net::TcpStream),
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
    let (shared, scratch) = (shared.clone(), scratch.clone());
    let block = shared.engine.metrics.block(number);
    let watch = Watch { shared: shared.clone(), worker: number };
    match arrival {
        Arrival::Resp(stream) => {
            block.connections.add(1);
            // In a box, which takes 256 bytes and leaves 128 to the task: in one piece they would take 512.
            tokio::task::spawn_local(Box::pin(resp::serve(stream, watch, scratch)));
        }
        Arrival::Http(stream) => {
            block.http_connections.add(1);
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let Ok(peer) = stream.peer_addr() else { return };
            let (door, ending) = (door.clone(), shared.ending.subscribe());
            tokio::task::spawn_local(async move {
                let _held = (&watch, &scratch);
                door.serve(stream, peer, ending).await;
            });
        }
    }
}

/// Sees a handler panic: that ends the client it happened to; it is counted and said, and the worker goes on. A task of
/// its own that waits for the handler would see as much, and weigh as much as a third of a client.
pub(super) struct Watch {
    pub shared: Arc<Shared>,
    pub worker: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.engine.metrics.block(self.worker).panics.add(1);
            tracing::error!("a handler panicked; its client was closed");
        }
    }
}
