//! Servers that are measured from outside: cloakroom as cargo has built it, and its peers where they are installed. Each
//! is a process of its own on a port of its own, and ends when dropped.
//!
//! Two of them are libraries, which the bench program itself serves when it is started with their argument: a program
//! that starts them calls [`serve_if_asked`] before it does anything else.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{self, Process};
use super::words;

/// The argument that makes a bench program a mini-redis server.
const MINI_REDIS: &str = "--serve-mini-redis";
/// The argument that makes it an HTTP server of hyper alone: one answer for whatever is asked.
const BARE_HYPER: &str = "--serve-hyper";

/// A server that listens.
pub struct Running {
    /// What it costs can be asked here.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Where a server may run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// On the servers' core alone, away from the load.
    One,
    /// Wherever the system puts it.
    All,
}

impl Cores {
    fn command(self, program: &Path) -> Command {
        match self {
            Cores::One => process::on_server_core(program),
            Cores::All => Command::new(program),
        }
    }
}

/// Serves as one of the peers that are libraries, if this program was started for that; `None` if it was not.
pub fn serve_if_asked() -> Option<io::Result<()>> {
    match std::env::args().nth(1).as_deref() {
        Some(MINI_REDIS) => Some(serve_mini_redis()),
        Some(BARE_HYPER) => Some(serve_hyper()),
        _ => None,
    }
}

/// A program of the system, or a line that says that it is missing.
pub fn peer(program: &str) -> Option<PathBuf> {
    let found = process::installed(program);
    if found.is_none() {
        println!("{program} is NOT INSTALLED: its figures, and all ratios to it, are missing below");
    }
    found
}

/// The binary that cargo has built for this run, with one worker on the servers' core. `door` is `resp` or `http`.
pub fn cloakroom(door: &str, arguments: &[&str]) -> io::Result<Running> {
    cloakroom_on(Cores::One, Some(1), door, arguments)
}

/// The same with so many workers, or with as many as it chooses itself.
pub fn cloakroom_on(cores: Cores, workers: Option<usize>, door: &str, arguments: &[&str]) -> io::Result<Running> {
    let mut command = cores.command(Path::new(env!("CARGO_BIN_EXE_cloakroom")));
    command.args(["--bind", "127.0.0.1", "--port", "0", "--http-port", "0", "--loglevel", "warning"]);
    if let Some(workers) = workers {
        command.args(["--workers", &workers.to_string()]);
    }
    let mut process = Process::start(command.args(arguments))?;
    let address = process.listens(&format!("({door})"))?;
    Ok(Running { process, address })
}

/// redis-server, or Valkey's, which takes the same arguments: nothing is written to disk. Later arguments win.
pub fn redis(program: &Path, arguments: &[&str]) -> io::Result<Running> {
    let port = process::free_port()?;
    let mut command = process::on_server_core(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.args(["--loglevel", "warning", "--daemonize", "no"]).args(arguments);
    let mut process = Process::start(&mut command)?;
    let address = process.answers(port)?;
    Ok(Running { process, address })
}

/// mini-redis is a library; this program runs it in a process of its own.
pub fn mini_redis() -> io::Result<Running> {
    let mut process = Process::start(process::on_server_core(&std::env::current_exe()?).arg(MINI_REDIS))?;
    let address = process.listens("mini-redis")?;
    Ok(Running { process, address })
}

fn serve_mini_redis() -> io::Result<()> {
    // A work-stealing runtime, as its own binary has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {} (mini-redis)", listener.local_addr()?);
        mini_redis::server::run(listener, std::future::pending::<()>()).await.map_err(io::Error::other)
    })
}

/// What hyper costs that does nothing but read a request and write an answer: the least that a server on it can cost.
pub fn bare_hyper() -> io::Result<Running> {
    let mut process = Process::start(process::on_server_core(&std::env::current_exe()?).arg(BARE_HYPER))?;
    let address = process.listens("hyper")?;
    Ok(Running { process, address })
}

fn serve_hyper() -> io::Result<()> {
    let body = bytes::Bytes::from(words::body());
    let answer = move |_| {
        let body = http_body_util::Full::new(body.clone());
        let lines = [
            ("content-type", "application/json"),
            ("cache-control", "private, no-cache, no-store"),
            ("x-session-source", "cache"),
            ("x-response-time", "0.01ms"),
        ];
        let builder =
            lines.iter().fold(hyper::Response::builder(), |builder, (name, value)| builder.header(*name, *value));
        std::future::ready(builder.body(body))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {} (hyper)", listener.local_addr()?);
        loop {
            let stream = hyper_util::rt::TokioIo::new(listener.accept().await?.0);
            let service = hyper::service::service_fn(answer.clone());
            tokio::task::spawn_local(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
        }
    })
}

/// nginx as a micro-cache: five seconds, one entry for each cookie, one call for each entry.
pub fn nginx(program: &Path, folder: &Path, upstream: SocketAddr) -> io::Result<Running> {
    let port = process::free_port()?;
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {at}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log stderr crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n{temporary}    \
             proxy_cache_path {at}/cache keys_zone=sessions:10m;\n    \
             upstream application {{ server {upstream}; keepalive 16; }}\n    \
             server {{\n        listen 127.0.0.1:{port}; keepalive_requests 1000000000;\n        \
                 location / {{\n            \
                     proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection '';\n            \
                     proxy_cache sessions; proxy_cache_key $http_cookie; proxy_cache_valid 200 5s;\n            \
                     proxy_cache_lock on; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;\n        \
                 }}\n    }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = process::on_server_core(program);
    let mut process = Process::start(command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(&file))?;
    let address = process.answers(port)?;
    Ok(Running { process, address })
}
