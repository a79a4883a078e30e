//! By what a server is known over TLS: the system's roots, those in a file, or nothing.
//!
//! The system's are found where it keeps them, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` say.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::super::pem;

/// By what a server is known, and what is shown to it.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// A file with the certificates of authorities that takes the place of the system's roots.
    pub authorities: Option<String>,
    /// Whether anybody is taken for the server.
    pub is_blind: bool,
    /// Files with a certificate of one's own and its key, for a server that asks for one.
    pub shown: Option<(String, String)>,
}

impl Trust {
    /// What rustls makes connections by; what is wrong with a file, in one line.
    pub fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match self.is_blind {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            false => builder.with_root_certificates(self.roots()?),
        };
        let Some((certificate, key)) = &self.shown else { return Ok(builder.with_no_client_auth()) };
        let chain = pem::chain(certificate).map_err(|why| format!("{certificate}: {why}"))?;
        let secret = pem::key(key).map_err(|why| format!("{key}: {why}"))?;
        let built = builder.with_client_auth_cert(chain, secret);
        built.map_err(|error| format!("{certificate} and {key} cannot be used together: {error}"))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.authorities {
            for certificate in pem::chain(file).map_err(|why| format!("{file}: {why}"))? {
                roots.add(certificate).map_err(|error| format!("{file}: {error}"))?;
            }
            return Ok(roots);
        }
        // Systems have some that nobody can read; what is left decides.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        match roots.is_empty() {
            true => {
                Err("no root certificates were found: install the system's (ca-certificates), or name a file with \
                         SSL_CERT_FILE"
                    .to_owned())
            }
            false => Ok(roots),
        }
    }
}

/// Takes any certificate. That whoever shows it has its key is looked at all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
