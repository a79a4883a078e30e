//! A server in this process, for a measurement that needs none elsewhere. It keeps nothing on disk when it has ended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::config::Config;
use crate::engine::Engine;
use crate::net::server::{Server, Way};

/// It, ended when dropped.
pub struct Own {
    pub resp: SocketAddr,
    pub http: SocketAddr,
    engine: Arc<Engine>,
    thread: Option<JoinHandle<()>>,
    home: PathBuf,
}

impl Own {
    /// One on free ports of 127.0.0.1, with its files in a folder of its own.
    pub fn start() -> Result<Own, String> {
        let random = getrandom::u64().map_err(|error| format!("no randomness: {error}"))?;
        let home = std::env::temp_dir().join(format!("cloakroom-bench-{random:016x}"));
        let made = std::fs::DirBuilder::new().create(&home);
        made.map_err(|error| {
            format!("cannot make {}: {error}: set TMPDIR to a folder that can be written to", home.display())
        })?;
        Own::start_in(home.clone()).inspect_err(|_| drop(std::fs::remove_dir_all(&home)))
    }

    fn start_in(home: PathBuf) -> Result<Own, String> {
        let mut config = Config::default();
        let dir = home.display().to_string();
        for (name, value) in [("port", "0"), ("http-port", "0"), ("fence-log", "no"), ("dir", &dir)] {
            config.set(name, value).map_err(|refusal| refusal.to_string())?;
        }
        let server = Server::bind(config).map_err(|error| error.to_string())?;
        let door = |way| server.addresses(way).first().copied().ok_or("the server has no door");
        let (resp, http, engine) = (door(Way::Resp)?, door(Way::Http)?, server.engine().clone());
        // How it ends is no part of what was measured.
        let thread = std::thread::spawn(move || drop(server.run()));
        Ok(Own { resp, http, engine, thread: Some(thread), home })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.engine.shut_down();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.home);
    }
}
