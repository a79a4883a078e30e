//! TLS to a server: its certificate must be for its name, and good by what it is known by.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Io, Trust};

/// Who a server must prove to be, and by which roots.
pub(super) struct Security {
    /// Or why nobody can be trusted.
    connector: Result<(ServerName<'static>, TlsConnector), String>,
    /// Why the last handshake failed, if it did: it is logged once until one has succeeded again.
    trouble: Mutex<Option<String>>,
}

impl Security {
    /// For the server of this name or address.
    pub fn new(host: &str, trust: &Trust) -> Security {
        let connector = trust.config().and_then(|config| {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
            Ok((name, TlsConnector::from(Arc::new(config))))
        });
        if let Err(why) = &connector {
            tracing::error!("nobody can be trusted over TLS: {why}");
        }
        Security { connector, trouble: Mutex::new(None) }
    }

    /// Shakes hands.
    pub async fn shake_hands(&self, stream: TcpStream) -> io::Result<Box<dyn Io>> {
        let (name, connector) = self.connector.as_ref().map_err(|why| io::Error::other(why.clone()))?;
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => {
                *self.trouble.lock() = None;
                Ok(Box::new(stream))
            }
            Err(error) => {
                if self.trouble.lock().replace(error.to_string()).is_none() {
                    tracing::warn!(%error, "TLS handshake with {} failed", name.to_str());
                }
                Err(error)
            }
        }
    }

    /// Why that failed the last time, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone().or_else(|| self.connector.as_ref().err().cloned())
    }
}
