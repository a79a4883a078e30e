//! What can be found out of a server before it starts, by the very code that will start it. Nothing is left behind.

mod certificates;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;

use super::doors::listen;
use super::here::Here;
use super::{descriptors, machine, secrets, snapshot, system, tls};
use crate::clock::Clock;
use crate::command;
use crate::config::Config;
use crate::engine::Engine;

pub use self::certificates::{Certificate, certificates};
pub use super::descriptors::Outlook;
pub use super::doors::Way;
pub use super::otlp::{METRICS_PATH, lines as otlp_lines};

/// A door that the settings want.
pub struct Door {
    /// What is spoken there.
    pub way: Way,
    /// Its address, or its path.
    pub place: String,
    /// The address that a client of this machine would take; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// The setting that names it.
    pub setting: &'static str,
    /// Why it could not be opened.
    pub trouble: Option<io::Error>,
}

/// Tries all doors that have a place of their own; those with port 0 find one.
pub fn doors(config: &Config) -> Vec<Door> {
    let tls = |port: crate::config::TlsPort| (port.number() != 0).then_some(port.number());
    let (resp, http) = (config.bind.0.as_slice(), config.http_addresses());
    let mut found = Vec::new();
    for (way, binds, port) in [
        (Way::Resp, resp, config.plain_port()),
        (Way::RespTls, resp, tls(config.tls_port)),
        (Way::Http, http, config.plain_http_port()),
        (Way::HttpTls, http, tls(config.http_tls_port)),
    ] {
        let Some(port) = port.filter(|port| *port != 0) else { continue };
        for bind in binds {
            let address = SocketAddr::new(bind.address, port);
            let trouble = listen(address, 1).err();
            if bind.optional && trouble.as_ref().is_some_and(|error| error.kind() != io::ErrorKind::AddrInUse) {
                continue;
            }
            let near = match bind.address {
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            let near = Some(SocketAddr::new(near, port));
            found.push(Door { way, place: address.to_string(), address: near, setting: way.setting(), trouble });
        }
    }
    for (way, path) in [(Way::Unix, &config.unixsocket), (Way::HttpUnix, &config.http_unixsocket)] {
        if !path.is_empty() {
            found.push(Door { way, place: path.clone(), address: None, setting: way.setting(), trouble: socket(path) });
        }
    }
    found
}

/// Why a socket could not be put there. One that nobody listens at is replaced.
fn socket(path: &str) -> Option<io::Error> {
    if system::connect_unix(Path::new(path)).is_ok() {
        return Some(io::ErrorKind::AddrInUse.into());
    }
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    writable(folder).err()
}

/// Whether everybody on this machine may read a file, as far as the system tells.
pub fn is_readable_by_all(file: &str) -> bool {
    std::fs::File::open(file).is_ok_and(|file| system::grants(&file, 0o004))
}

/// Whether files can be made in a folder: one without a name is, where the system can, else one that goes at once.
pub fn writable(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".cloakroom-check-{}", std::process::id()));
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(&path)
}

/// What answers at an address, in bytes, to a PING of Redis' protocol. Every server of cloakroom knows that.
pub fn answer_to_ping(address: SocketAddr, within: std::time::Duration) -> io::Result<Vec<u8>> {
    answer_to(b"*1\r\n$4\r\nPING\r\n", address, within)
}

/// What answers at an address, in bytes, to a request of HTTP for what no application has; cloakroom says what there is instead.
pub fn answer_to_get(address: SocketAddr, within: std::time::Duration) -> io::Result<Vec<u8>> {
    answer_to(b"GET /.cloakroom-check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", address, within)
}

fn answer_to(request: &[u8], address: SocketAddr, within: std::time::Duration) -> io::Result<Vec<u8>> {
    use io::{Read as _, Write as _};
    let mut stream = TcpStream::connect_timeout(&address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    stream.write_all(request)?;
    let mut heard = vec![0; 1024];
    let len = stream.read(&mut heard)?;
    heard.truncate(len);
    Ok(heard)
}

/// How much memory there is for the process in bytes, and whose that is; `None` where nothing tells.
pub fn memory() -> Option<(u64, &'static str)> {
    machine::memory().map(|found| (found.bytes, found.place))
}

/// Whether there are descriptors for as many clients as the settings let in.
pub fn descriptors(config: &Config) -> Outlook {
    descriptors::outlook(config, super::server::workers(config))
}

/// Whether the snapshot would be read at a start: how many entries it has, or what is wrong in one line with its cure; `None` if
/// there is none.
pub fn snapshot(config: &Config) -> Result<Option<u64>, String> {
    snapshot::inspect(config, &config.snapshot_path())
}

/// What is wrong with the files that the settings name: certificates, secrets and users, each in one line with its cure.
pub fn files(config: &Config) -> [(&'static str, Result<(), String>); 3] {
    let papers = if config.uses_tls() { tls::Papers::read(config).map(drop) } else { Ok(()) };
    let secrets = secrets::read(config).map(drop);
    let engine = Engine::new(config.clone(), Clock::system(), 1, command::COUNT);
    engine.run_on(Here);
    [("certificates", papers), ("secret-file", secrets), ("users", command::load_users(&engine))]
}
