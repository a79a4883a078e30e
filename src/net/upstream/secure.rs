//! TLS to the application: its certificate must be for its name, and good by the system's roots.
//!
//! Those are found where the system keeps them, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::session::Failure;

/// What bytes go over.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Who the application must prove to be, and by which roots.
pub(super) struct Security {
    host: String,
    name: Option<ServerName<'static>>,
    connector: Option<TlsConnector>,
    /// Whether a failed handshake was logged since the last good one.
    told: AtomicBool,
}

impl Security {
    /// For the application of this name or address.
    pub fn new(host: &str) -> Security {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Systems have some that nobody can read; what is left decides.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::error!(
                "no root certificates were found, so that no https upstream can be trusted: install the system's \
                 (ca-certificates), or name a file with SSL_CERT_FILE"
            );
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map(|builder| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
        Security {
            host: host.to_owned(),
            name: ServerName::try_from(host.to_owned()).ok(),
            connector: config.ok().map(TlsConnector::from),
            told: AtomicBool::new(false),
        }
    }

    /// Shakes hands. Why that fails is logged once, until it has succeeded again.
    pub async fn shake_hands(&self, stream: TcpStream) -> Result<Box<dyn Io>, Failure> {
        let (Some(name), Some(connector)) = (&self.name, &self.connector) else { return Err(Failure::Refused) };
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => {
                self.told.store(false, Ordering::Relaxed);
                Ok(Box::new(stream))
            }
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "TLS handshake with {} failed", self.host);
                }
                Err(Failure::Refused)
            }
        }
    }
}
