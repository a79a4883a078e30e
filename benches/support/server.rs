//! cloakroom inside the bench's own process, on real sockets and threads of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use cloakroom::config::Config;
use cloakroom::engine::Engine;
use cloakroom::net::server::{Server, Way};

/// A running server; it ends when dropped.
pub struct InProcess {
    engine: Arc<Engine>,
    resp: SocketAddr,
    http: SocketAddr,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl InProcess {
    /// Starts one worker on free ports, with these settings besides.
    pub fn start(settings: &[(&str, &str)]) -> InProcess {
        let mut config = Config::default();
        let free = [("bind", "127.0.0.1"), ("port", "0"), ("http-port", "0"), ("workers", "1")];
        for (name, value) in free.iter().chain(settings) {
            config.set(name, value).expect("a setting that exists");
        }
        let server = Server::bind(config).expect("free ports");
        let (resp, http) = (server.addresses(Way::Resp)[0], server.addresses(Way::Http)[0]);
        let engine = server.engine().clone();
        let thread = std::thread::spawn(move || server.run());
        InProcess { engine, resp, http, thread: Some(thread) }
    }

    /// What its clients share.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The RESP door.
    pub fn resp(&self) -> SocketAddr {
        self.resp
    }

    /// The HTTP door.
    pub fn http(&self) -> SocketAddr {
        self.http
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.engine.shut_down();
        if let Some(thread) = self.thread.take() {
            // A panic over there has already been printed.
            let _ = thread.join();
        }
    }
}
