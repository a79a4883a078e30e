//! A connection that waits: over TCP, TLS or a Unix socket.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

use crate::net::dial::{Place, Trust};
use crate::net::system::connect_unix;

/// What can be read and written.
trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

/// Two handles of it are one for reading and one for writing, which take turns.
#[derive(Clone)]
pub(super) struct Line(Rc<RefCell<dyn Duplex>>);

impl Line {
    /// Connects. The server has so long to accept and to shake hands, and so long later on to say or take anything.
    pub fn open(place: &Place, accepts: Duration, silence: Duration) -> Result<Line, String> {
        let failed = |error: io::Error| format!("cannot reach {place}: {error}: is a server running there?");
        let (host, port, tls) = match place {
            Place::Tcp { host, port, tls } => (host, *port, tls),
            Place::Unix(path) => {
                let stream = connect_unix(path).map_err(failed)?;
                stream.set_read_timeout(Some(silence)).map_err(failed)?;
                stream.set_write_timeout(Some(silence)).map_err(failed)?;
                return Ok(Line(Rc::new(RefCell::new(stream))));
            }
        };
        let limit = |stream: &TcpStream, within| {
            stream.set_read_timeout(Some(within)).and_then(|()| stream.set_write_timeout(Some(within))).map_err(failed)
        };
        let mut stream = connect(host, port, accepts).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        limit(&stream, if tls.is_some() { accepts } else { silence })?;
        let Some(trust) = tls else { return Ok(Line(Rc::new(RefCell::new(stream)))) };
        let secure = shake_hands(&mut stream, host, trust).map_err(|why| format!("cannot reach {place}: {why}"))?;
        limit(&stream, silence)?;
        Ok(Line(Rc::new(RefCell::new(StreamOwned::new(secure, stream)))))
    }
}

fn connect(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for place in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, within) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn shake_hands(stream: &mut TcpStream, host: &str, trust: &Trust) -> Result<ClientConnection, String> {
    let config = Arc::new(trust.config()?);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut secure = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
    while secure.is_handshaking() {
        secure.complete_io(stream).map_err(|error| untrusted(&in_words(&error)))?;
    }
    Ok(secure)
}

/// What rustls says of a server that was shown no certificate and wants one. It says so when hands are shaken already.
pub(super) const ASKS: &str = "CertificateRequired";

/// What went wrong while hands were shaken, and what helps.
pub fn untrusted(why: &str) -> String {
    let cure = match why {
        _ if why.contains(ASKS) => "it asks for a certificate: --cert and --key name one and its key",
        _ if why.contains("CaUsedAsEndEntity") => {
            "it shows an authority's own certificate, as openssl req -x509 makes: sign one for the server with it, or make \
             it with basicConstraints=CA:FALSE"
        }
        _ if why.contains("certificate") => {
            "its certificate must be for that name and good by the system's roots; --cacert names a file with others"
        }
        _ => "is TLS spoken there?",
    };
    format!("{why}: {cure}")
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not shake hands in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "it has closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}
