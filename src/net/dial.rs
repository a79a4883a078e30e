//! Ways to servers elsewhere: over TCP, with TLS where it is wanted, or through a Unix socket.

mod secure;
mod trust;

use std::fmt;
use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::secure::Security;
pub use self::trust::Trust;
use super::system::{UnixStream, connect_unix};

/// What bytes go over.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Place {
    /// At a port.
    Tcp {
        /// Name or address; an IPv6 address without its brackets.
        host: String,
        /// The port.
        port: u16,
        /// By what it is known, where TLS is spoken.
        tls: Option<Trust>,
    },
    /// At a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Place {
    /// `host:port`, or the path of the socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How a server is connected to, as often as is wanted.
pub struct Dial {
    place: Place,
    security: Option<Security>,
}

impl Dial {
    /// To the server there.
    pub fn new(place: Place) -> Dial {
        let security = match &place {
            Place::Tcp { host, tls: Some(trust), .. } => Some(Security::new(host, trust)),
            _ => None,
        };
        Dial { place, security }
    }

    /// A connection, after the handshake where there is one.
    pub async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let (host, port) = match &self.place {
            Place::Tcp { host, port, .. } => (host.as_str(), *port),
            Place::Unix(path) => {
                let stream = connect_unix(path)?;
                stream.set_nonblocking(true)?;
                return Ok(Box::new(UnixStream::from_std(stream)?));
            }
        };
        let stream = TcpStream::connect((host, port)).await?;
        // A request is one write; there is nothing for Nagle to gather. A socket that refuses works all the same.
        let _ = stream.set_nodelay(true);
        match &self.security {
            None => Ok(Box::new(stream)),
            Some(security) => security.shake_hands(stream).await,
        }
    }

    /// Why the last handshake failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.security.as_ref().and_then(Security::trouble)
    }
}
