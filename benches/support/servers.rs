//! Servers that are measured from outside: cloakroom as cargo has built it, and its peers where they are installed. Each
//! is a process of its own on a port of its own, and ends when dropped.
//!
//! Two of them are libraries, which the bench program itself serves when it is started with their argument: a program
//! that starts them calls [`serve_if_asked`] before it does anything else.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::figures::OURS;
use super::process::{self, Process};
use super::words;

/// The argument that makes a bench program a mini-redis server.
const SERVE_MINI_REDIS: &str = "--serve-mini-redis";
/// The argument that makes it an HTTP server of hyper alone: one answer for whatever is asked.
const SERVE_HYPER: &str = "--serve-hyper";

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
        Some(SERVE_MINI_REDIS) => Some(serve_mini_redis()),
        Some(SERVE_HYPER) => Some(serve_hyper()),
        _ => None,
    }
}

/// A server of the Redis protocol that can be started again and again.
pub struct Kind {
    /// What it is called in tables.
    pub name: &'static str,
    command: Box<dyn Fn(Cores, u16) -> io::Result<Command>>,
}

impl Kind {
    /// Ours, with so many workers, or with as many as it chooses itself.
    pub fn cloakroom(workers: Option<usize>) -> Kind {
        Kind::new(OURS, move |cores, port| Ok(cloakroom_command(cores, workers, port)))
    }

    fn new(name: &'static str, command: impl Fn(Cores, u16) -> io::Result<Command> + 'static) -> Kind {
        Kind { name, command: Box::new(command) }
    }

    /// Starts it and waits until it listens.
    pub fn start(&self, cores: Cores) -> io::Result<Running> {
        let port = process::free_port()?;
        let mut process = self.launch(cores, port)?;
        let address = process.answers(port)?;
        Ok(Running { process, address })
    }

    /// Starts it and does not wait.
    pub fn launch(&self, cores: Cores, port: u16) -> io::Result<Process> {
        Process::start(&mut (self.command)(cores, port)?)
    }
}

/// Whom cloakroom is compared with: what Debian has, and what the environment names.
pub struct Peers {
    /// Servers of the Redis protocol.
    pub resp: Vec<Kind>,
    /// Caches before an application.
    pub nginx: Option<PathBuf>,
    /// See `nginx`.
    pub varnish: Option<PathBuf>,
    /// What was found, and which version of it.
    pub versions: Vec<(&'static str, String)>,
}

/// The names of peers in tables.
pub const REDIS: &str = "redis-server";
/// See [`REDIS`].
pub const NGINX: &str = "nginx";
/// See [`REDIS`].
pub const VARNISH: &str = "varnish";
/// See [`REDIS`].
pub const MINI_REDIS: &str = "mini-redis";
const VALKEY: &str = "valkey";
/// See [`REDIS`].
pub const POGOCACHE: &str = "pogocache";

impl Peers {
    /// Looks for all of them, and says who is missing.
    pub fn find() -> io::Result<Peers> {
        let mut peers = Peers { resp: Vec::new(), nginx: peer(NGINX), varnish: None, versions: Vec::new() };
        if let Some(program) = peer(REDIS) {
            peers.versions.push((REDIS, version(&program, "--version")?));
            peers.resp.push(Kind::new(REDIS, move |cores, port| Ok(redis_command(&program, cores, port))));
        }
        peers.versions.push((MINI_REDIS, locked_version(MINI_REDIS)));
        peers.resp.push(Kind::new(MINI_REDIS, |cores, port| own_command(cores, SERVE_MINI_REDIS, port)));
        if let Some(program) = named("VALKEY_SERVER", VALKEY)? {
            peers.versions.push((VALKEY, version(&program, "--version")?));
            peers.resp.push(Kind::new(VALKEY, move |cores, port| Ok(redis_command(&program, cores, port))));
        }
        if let Some(program) = named("POGOCACHE", POGOCACHE)? {
            peers.versions.push((POGOCACHE, version(&program, "--version")?));
            peers.resp.push(Kind::new(POGOCACHE, move |cores, port| Ok(pogocache_command(&program, cores, port))));
        }
        if let Some(program) = &peers.nginx {
            peers.versions.push((NGINX, version(program, "-v")?));
        }
        peers.varnish = named("VARNISHD", VARNISH)?;
        if let Some(program) = &peers.varnish {
            peers.versions.push((VARNISH, version(program, "-V")?));
        }
        peers.versions.push(("hyper", locked_version("hyper")));
        Ok(peers)
    }
}

/// A program that the environment names; one that is named must be there.
fn named(variable: &str, server: &str) -> io::Result<Option<PathBuf>> {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        println!("{variable} names no program: {server} is left out");
        return Ok(None);
    };
    if path.is_absolute() && path.is_file() {
        return Ok(Some(path));
    }
    Err(io::Error::other(format!("{variable}={} is not the absolute path of a program", path.display())))
}

/// The version that a program says it has, wherever it says so.
fn version(program: &Path, flag: &str) -> io::Result<String> {
    let output = Command::new(program).arg(flag).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let numbers = said.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let version = numbers.map(|number| number.trim_matches('.')).find(|number| number.contains('.'));
    Ok(version.unwrap_or("of unknown version").to_owned())
}

/// The version of a library that this program was built with.
fn locked_version(library: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let lines = lock.split_once(&format!("name = \"{library}\"\nversion = \"")).map(|(_, lines)| lines);
    lines.and_then(|lines| lines.split('"').next()).unwrap_or("of unknown version").to_owned()
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
    let mut process = Process::start(cloakroom_command(cores, workers, 0).args(arguments))?;
    let address = process.listens(&format!("({door})"))?;
    Ok(Running { process, address })
}

fn cloakroom_command(cores: Cores, workers: Option<usize>, port: u16) -> Command {
    let mut command = cores.command(Path::new(env!("CARGO_BIN_EXE_cloakroom")));
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--http-port", "0", "--loglevel", "warning"]);
    if let Some(workers) = workers {
        command.args(["--workers", &workers.to_string()]);
    }
    command
}

/// redis-server, or Valkey's, which takes the same arguments: nothing is written to disk. Later arguments win.
pub fn redis(program: &Path, arguments: &[&str]) -> io::Result<Running> {
    let port = process::free_port()?;
    let mut process = Process::start(redis_command(program, Cores::One, port).args(arguments))?;
    let address = process.answers(port)?;
    Ok(Running { process, address })
}

fn redis_command(program: &Path, cores: Cores, port: u16) -> Command {
    let mut command = cores.command(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.args(["--loglevel", "warning", "--daemonize", "no"]);
    command
}

/// pogocache with one thread, as the others have; all else as it comes. Its default of 1024 clients is too few here.
fn pogocache_command(program: &Path, cores: Cores, port: u16) -> Command {
    let mut command = cores.command(program);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "--threads", "1", "--maxconns", "10000"]);
    command
}

/// mini-redis is a library; this program runs it in a process of its own.
pub fn mini_redis() -> io::Result<Running> {
    let mut process = Process::start(&mut own_command(Cores::One, SERVE_MINI_REDIS, 0)?)?;
    let address = process.listens("mini-redis")?;
    Ok(Running { process, address })
}

/// This program itself, as one of the peers that are libraries.
fn own_command(cores: Cores, role: &str, port: u16) -> io::Result<Command> {
    let mut command = cores.command(&std::env::current_exe()?);
    command.args([role, &port.to_string()]);
    Ok(command)
}

/// The port that a peer was told to listen on.
fn own_port() -> u16 {
    std::env::args().nth(2).and_then(|port| port.parse().ok()).unwrap_or(0)
}

fn serve_mini_redis() -> io::Result<()> {
    // A work-stealing runtime, as its own binary has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", own_port())).await?;
        println!("listening on {} (mini-redis)", listener.local_addr()?);
        mini_redis::server::run(listener, std::future::pending::<()>()).await.map_err(io::Error::other)
    })
}

/// What hyper costs that does nothing but read a request and write an answer: the least that a server on it can cost.
pub fn bare_hyper() -> io::Result<Running> {
    let mut process = Process::start(&mut own_command(Cores::One, SERVE_HYPER, 0)?)?;
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
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", own_port())).await?;
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

/// Varnish with the rules of nginx: five seconds, one entry for each cookie, one call for each entry, all in memory. It
/// serves from a child of the process that is started.
pub fn varnish(program: &Path, folder: &Path, upstream: SocketAddr) -> io::Result<Running> {
    let port = process::free_port()?;
    let rules = format!(
        "vcl 4.1;\n\
         backend application {{ .host = \"{}\"; .port = \"{}\"; }}\n\
         sub vcl_recv {{ return (hash); }}\n\
         sub vcl_hash {{ hash_data(req.http.cookie); return (lookup); }}\n\
         sub vcl_backend_response {{\n    \
             set beresp.ttl = 5s; set beresp.grace = 0s; set beresp.keep = 0s;\n    \
             unset beresp.http.set-cookie; unset beresp.http.vary;\n    return (deliver);\n}}\n",
        upstream.ip(),
        upstream.port()
    );
    let file = folder.join("varnish.vcl");
    std::fs::write(&file, rules)?;
    let mut command = process::on_server_core(program);
    command.args(["-F", "-j", "none", "-T", "none", "-s", "malloc,256m", "-a"]).arg(format!("127.0.0.1:{port}"));
    let mut process = Process::start(command.arg("-f").arg(&file).arg("-n").arg(folder.join("varnish")))?;
    let address = process.answers(port)?;
    Ok(Running { process, address })
}
