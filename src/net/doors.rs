//! Sockets that listen: which there are, and how each is opened.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::system::{self, SocketFile, open_unix};
use super::tls::Side;
use super::worker::{Entrance, Guest};
use crate::config::{Bind, Config};

/// What comes in at a door.
///
/// ```
/// use cloakroom::server::Way;
///
/// assert!(Way::Unix.is_resp() && !Way::HttpTls.is_resp());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// RESP over TCP.
    Resp,
    /// RESP over TLS.
    RespTls,
    /// RESP over a Unix socket.
    Unix,
    /// HTTP.
    Http,
    /// HTTP over a Unix socket.
    HttpUnix,
    /// HTTPS.
    HttpTls,
}

impl Way {
    /// Whether Redis clients come in here.
    ///
    /// ```
    /// # use cloakroom::server::Way;
    /// assert!(Way::RespTls.is_resp());
    /// ```
    pub fn is_resp(self) -> bool {
        matches!(self, Way::Resp | Way::RespTls | Way::Unix)
    }

    /// Whose places its clients take.
    pub(super) fn entrance(self) -> Entrance {
        if self.is_resp() { Entrance::Resp } else { Entrance::Http }
    }

    /// What the server prints of it.
    ///
    /// ```
    /// # use cloakroom::server::Way;
    /// assert_eq!(Way::HttpTls.name(), "https");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Way::Resp => "resp",
            Way::RespTls => "resp over tls",
            Way::Unix => "resp",
            Way::Http | Way::HttpUnix => "http",
            Way::HttpTls => "https",
        }
    }

    /// The setting that names its port or path.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Way::Resp => "port",
            Way::RespTls => "tls-port",
            Way::Unix => "unixsocket",
            Way::Http => "http-port",
            Way::HttpUnix => "http-unixsocket",
            Way::HttpTls => "http-tls-port",
        }
    }
}

/// A socket that listens.
pub(super) struct Listener {
    pub way: Way,
    socket: Listening,
}

enum Listening {
    Tcp(TcpListener),
    Unix(system::unknown::UnixListener, SocketFile),
}

/// Opens all doors that the settings want.
pub(super) fn open_all(config: &Config) -> Result<Vec<Listener>, String> {
    let (resp, http) = (config.bind.0.as_slice(), config.http_addresses());
    let tls = |port: crate::config::TlsPort| port.is_on().then_some(port.number());
    let mut doors = Vec::new();
    for (way, binds, port) in [
        (Way::Resp, resp, config.plain_port()),
        (Way::Http, http, config.plain_http_port()),
        (Way::RespTls, resp, tls(config.tls_port)),
        (Way::HttpTls, http, tls(config.http_tls_port)),
    ] {
        if let Some(port) = port {
            let sockets = open(binds, port, config.tcp_backlog as i32, way.setting())?;
            doors.extend(sockets.into_iter().map(|socket| Listener { way, socket: Listening::Tcp(socket) }));
        }
    }
    for (way, path, mode) in [
        (Way::Unix, &config.unixsocket, config.unixsocketperm),
        (Way::HttpUnix, &config.http_unixsocket, config.http_unixsocketperm),
    ] {
        if !path.is_empty() {
            let (socket, file) = open_unix(Path::new(path), mode.0, way.setting())?;
            doors.push(Listener { way, socket: Listening::Unix(socket, file) });
        }
    }
    Ok(doors)
}

impl Listener {
    /// Where it listens; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Listening::Tcp(listener) => listener.local_addr().ok(),
            Listening::Unix(..) => None,
        }
    }

    /// The acceptor's end of it. To be called on the runtime that accepts.
    pub fn acceptor(&self) -> io::Result<Acceptor> {
        Ok(match &self.socket {
            Listening::Tcp(listener) => {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                Acceptor::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Listening::Unix(listener, file) => {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                let path = file.path.display().to_string().into();
                Acceptor::Unix(system::UnixListener::from_std(listener)?, path)
            }
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Listening::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("an address that is gone"),
            },
            Listening::Unix(_, file) => file.path.display().fmt(f),
        }
    }
}

/// The acceptor's end of a door.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(system::UnixListener, Arc<str>),
}

/// A client that has come in and has yet to be dealt to a worker.
pub(super) enum Stream {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(system::UnixStream, Arc<str>),
}

impl Acceptor {
    /// Waits for the next client.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Acceptor::Tcp(listener) => listener.accept().await.map(|(stream, from)| Stream::Tcp(stream, from)),
            Acceptor::Unix(listener, path) => {
                listener.accept().await.map(|(stream, _)| Stream::Unix(stream, path.clone()))
            }
        }
    }
}

impl Stream {
    /// Whether it comes from this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Stream::Tcp(_, from) => from.ip().to_canonical().is_loopback(),
            Stream::Unix(..) => true,
        }
    }

    /// Says something without waiting; nobody minds if it does not arrive.
    pub fn say(&self, bytes: &[u8]) {
        // Past the runtime, which may not have heard yet that the socket takes something.
        let socket = match self {
            Stream::Tcp(stream, _) => SockRef::from(stream),
            Stream::Unix(stream, _) => SockRef::from(stream),
        };
        let _ = socket.send(bytes);
    }

    /// Takes it off the acceptor's runtime.
    pub fn into_guest(self, way: Way) -> io::Result<Guest> {
        Ok(match self {
            Stream::Unix(stream, path) if way.is_resp() => Guest::Unix(stream.into_std()?, path),
            Stream::Unix(stream, _) => Guest::HttpUnix(stream.into_std()?),
            Stream::Tcp(stream, _) => {
                let stream = stream.into_std()?;
                match way {
                    Way::Resp | Way::Unix => Guest::Resp(stream),
                    Way::RespTls => Guest::Tls(stream, Side::Resp),
                    Way::Http | Way::HttpUnix => Guest::Http(stream),
                    Way::HttpTls => Guest::Tls(stream, Side::Http),
                }
            }
        })
    }
}

/// Opens a port on every address. Port 0 picks one on the first address and takes the same on the others.
fn open(binds: &[Bind], port: u16, backlog: i32, setting: &str) -> Result<Vec<TcpListener>, String> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for bind in binds {
        let picked = listeners.first().and_then(|listener| listener.local_addr().ok());
        let address = SocketAddr::new(bind.address, picked.map_or(port, |first| first.port()));
        match listen(address, backlog) {
            Ok(listener) => listeners.push(listener),
            Err(error) if bind.optional => tracing::debug!(%address, %error, "optional address left out"),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let free = if setting.contains("tls") { "any" } else { "0" };
                return Err(format!(
                    "{address} is in use: stop what listens there, or choose another {setting} ({free} picks a free one)"
                ));
            }
            Err(error) => return Err(format!("cannot listen on {address} ({setting}): {error}")),
        }
    }
    Ok(listeners)
}

/// Listens at an address.
pub(super) fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
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
