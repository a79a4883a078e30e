//! What certificates say of themselves: for when, and for whom. rustls tells neither, but why it would not take one at the
//! beginning and at the end of time, and for a name that nobody has.

use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore};

use crate::config::Config;
use crate::net::pem;

/// A name that is nobody's: RFC 2606 keeps its end free.
const NOBODY: &str = "nobody.invalid";

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// From when on it is valid.
    pub begins: SystemTime,
    /// Until when.
    pub ends: SystemTime,
    /// The names and addresses that it is for, as clients look at them.
    pub names: Vec<String>,
}

/// The certificates that the settings have the server show, its own first. Empty where there is no TLS, or no reading them.
pub fn certificates(config: &Config) -> Vec<Certificate> {
    if !config.uses_tls() {
        return Vec::new();
    }
    let chain = pem::chain(&config.tls_cert_file).unwrap_or_default();
    chain.iter().filter_map(|der| Certificate::read(der)).collect()
}

impl Certificate {
    fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
        let parsed = ParsedCertificate::try_from(der).ok()?;
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let at = |seconds| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            // When it is valid is looked at before who has signed it.
            verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], time, algorithms).err()
        };
        let begins = match at(0)? {
            Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => not_before.as_secs(),
            _ => 0,
        };
        let ends = match at(u64::MAX)? {
            Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => not_after.as_secs(),
            _ => return None,
        };
        let names = match verify_server_name(&parsed, &ServerName::try_from(NOBODY).ok()?) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => presented,
            _ => Vec::new(),
        };
        let when = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Some(Certificate {
            begins: when(begins)?,
            ends: when(ends)?,
            names: names.iter().map(|name| bare(name)).collect(),
        })
    }
}

/// A name as rustls shows it, `DnsName("localhost")` or `IpAddress(127.0.0.1)`, without what kind it is of.
fn bare(shown: &str) -> String {
    let inside = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(shown);
    inside.trim_matches('"').to_owned()
}
