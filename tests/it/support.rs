//! A server in this process, and plain sockets to it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::net::Patience;
use cloakroom::net::server::{Server, Way};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// How long a test waits for anything before it says that nothing came.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A server on free ports of 127.0.0.1, ended when dropped.
pub struct Running {
    pub resp: SocketAddr,
    #[allow(dead_code)]
    pub http: SocketAddr,
    pub engine: Arc<Engine>,
    thread: Option<JoinHandle<()>>,
    _home: TempDir,
}

impl Running {
    /// Starts one with these settings.
    pub fn start(settings: &[(&str, &str)]) -> Running {
        Running::with_patience(Patience::default(), settings)
    }

    /// Starts one with this patience and these settings.
    pub fn with_patience(patience: Patience, settings: &[(&str, &str)]) -> Running {
        Bound::new(patience, settings).run()
    }

    /// A RESP client.
    pub fn client(&self) -> Peer {
        Peer::connect(self.resp)
    }

    /// Asks it to end and waits until it has.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.engine.shut_down();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok(), "the server panicked");
        }
    }
}

/// A server whose doors are open, and behind which nobody answers yet.
pub struct Bound {
    server: Server,
    home: TempDir,
    pub resp: SocketAddr,
    pub http: SocketAddr,
}

impl Bound {
    pub fn new(patience: Patience, settings: &[(&str, &str)]) -> Bound {
        let mut config = Config::default();
        // Unless a test says where, it keeps its files where they are gone with it.
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().to_str().expect("a plain path");
        let own = [("port", "0"), ("http-port", "0"), ("workers", "2"), ("fence-log", "no"), ("dir", dir)];
        for (name, value) in own.iter().chain(settings) {
            config.set(name, value).unwrap_or_else(|refusal| panic!("{name} {value}: {refusal}"));
        }
        let server = Server::bind(config).expect("free ports").with_patience(patience);
        // Where there is no plain door, the one that is there.
        let door = |ways: [Way; 2]| ways.into_iter().flat_map(|way| server.addresses(way)).next();
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        let resp = door([Way::Resp, Way::RespTls]).unwrap_or(none);
        let http = door([Way::Http, Way::HttpTls]).unwrap_or(none);
        Bound { server, home, resp, http }
    }

    pub fn run(self) -> Running {
        let Bound { server, home, resp, http } = self;
        let engine = server.engine().clone();
        let thread = std::thread::spawn(move || server.run().expect("a server that ends well"));
        Running { resp, http, engine, thread: Some(thread), _home: home }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until this holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What this finds out in less than `limit`. On a machine that is too busy for that it is tried again; what a fault of the
/// server's would make slow is slow each time, which is told.
#[track_caller]
pub fn within<T>(limit: Duration, mut attempt: impl FnMut() -> T) -> T {
    let patience = Instant::now() + PATIENCE;
    loop {
        let began = Instant::now();
        let found = attempt();
        if began.elapsed() < limit {
            return found;
        }
        assert!(Instant::now() < patience, "it never took less than {limit:?}");
    }
}

/// A port where nobody listens, nor anybody will who is not told of it: as long as the socket lives, the system gives it to
/// nobody who asks for any. A server that is told to take it may, as all of them set SO_REUSEADDR.
pub fn free_port() -> (SocketAddr, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    (socket.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address"), socket)
}

/// A real Redis on a free port, killed when dropped.
pub struct Redis {
    child: Child,
    pub addr: SocketAddr,
    _port: Socket,
}

impl Redis {
    /// One with these arguments, which keeps nothing on disk unless they say so.
    pub fn start(arguments: &[&str]) -> Redis {
        let (addr, port) = free_port();
        let port_text = addr.port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(arguments);
        let child = command.stdout(Stdio::null()).spawn().expect("redis-server is installed; tests/tools.sh gets it");
        let mut redis = Redis { child, addr, _port: port };
        until("redis-server listens", || TcpStream::connect(redis.addr).is_ok());
        let ended = redis.child.try_wait().expect("a child");
        assert!(ended.is_none(), "redis-server has ended, and somebody else is on its port");
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket that is told what to send and what to expect.
pub struct Peer(pub TcpStream);

impl Peer {
    pub fn connect(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Peer(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Peer {
        self.0.write_all(bytes.as_ref()).expect("a peer that listens");
        self
    }

    /// The next bytes are exactly these.
    #[track_caller]
    pub fn hears(&mut self, expected: impl AsRef<[u8]>) -> &mut Peer {
        let expected = expected.as_ref();
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
        self
    }

    /// Everything up to these bytes, which come last of it.
    #[track_caller]
    pub fn up_to(&mut self, end: &str) -> Vec<u8> {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !heard.ends_with(end.as_bytes()) {
            if let Err(error) = self.0.read_exact(&mut byte) {
                panic!("no {end:?}: {error}, and so far: {:?}", String::from_utf8_lossy(&heard));
            }
            heard.push(byte[0]);
        }
        heard
    }

    /// Everything until the server closes.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("not closed after {PATIENCE:?}, and so far: {:?}", String::from_utf8_lossy(&rest));
            }
            // A reset is an end too; what came before it counts.
            Ok(_) | Err(_) => rest,
        }
    }
}
