//! TLS: certificates and keys from files, and the handshake.
//!
//! What was read stands until it is read again and found sound; clients that are there keep what they came in with.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::server::TlsStream;

use super::pem;
use super::strangers::is_tls;
use crate::config::{ClientAuth, Config, Param, Refusal, TlsVersions};
use crate::engine::Deed;

/// The doors that TLS is spoken at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Resp,
    Http,
}

/// What both doors show and ask for, as it was last read. A handle.
#[derive(Clone)]
pub(super) struct Tls(Arc<RwLock<Papers>>);

/// One reading of the files.
#[derive(Clone)]
pub(super) struct Papers {
    resp: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

/// Why nobody came in.
#[derive(Debug)]
pub(super) enum Refused {
    /// It took too long, or went away: nothing to tell anybody.
    Gone,
    /// It does not speak TLS, and was told so.
    Plain,
    /// The handshake failed.
    Failed(io::Error),
}

impl Papers {
    /// Reads the files that the settings name; what is wrong, in one line, if they do not fit.
    pub fn read(config: &Config) -> Result<Papers, String> {
        let asked = match config.tls_auth_clients {
            // HTTPS is for browsers, which have no certificates.
            _ if !config.tls_port.is_on() => None,
            ClientAuth::No => None,
            ClientAuth::Yes => Some(true),
            ClientAuth::Optional => Some(false),
        };
        let verifier: Arc<dyn ClientCertVerifier> = match asked {
            None => Arc::new(NoClientAuth),
            Some(must) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities(config)?.into(), provider());
                let verifier = if must { verifier } else { verifier.allow_unauthenticated() };
                verifier.build().map_err(|error| format!("tls-ca-cert-file: {error}"))?
            }
        };
        let (chain, key) = (chain(&config.tls_cert_file)?, key(&config.tls_key_file)?);
        let build = |verifier, key| {
            let built = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&versions(config))
                .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key));
            let (cert_file, key_file) = (&config.tls_cert_file, &config.tls_key_file);
            built.map(Arc::new).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                    "tls-key-file {key_file} does not belong to tls-cert-file {cert_file}: name the key that it was made with"
                ),
                error => format!("tls-cert-file {cert_file} and tls-key-file {key_file} cannot be used together: {error}"),
            })
        };
        Ok(Papers { resp: build(verifier, key.clone_key())?, http: build(Arc::new(NoClientAuth), key)? })
    }
}

impl Tls {
    pub fn new(papers: Papers) -> Tls {
        Tls(Arc::new(RwLock::new(papers)))
    }

    /// Shows these from now on.
    pub fn replace(&self, papers: Papers) {
        *self.0.write() = papers;
    }

    /// Shakes hands with a client, which has so long for all of it, or says why not.
    pub async fn accept(
        &self,
        mut stream: TcpStream,
        side: Side,
        patience: Duration,
    ) -> Result<TlsStream<TcpStream>, Refused> {
        let papers = self.0.read().clone();
        let papers = match side {
            Side::Resp => papers.resp,
            Side::Http => papers.http,
        };
        let shaken = tokio::time::timeout(patience, async {
            let mut first = [0];
            match stream.peek(&mut first).await {
                Ok(1) if !is_tls(&first) => {
                    turn_away(&mut stream, side).await;
                    Err(Refused::Plain)
                }
                Ok(1) => TlsAcceptor::from(papers).accept(stream).await.map_err(failed),
                _ => Err(Refused::Gone),
            }
        });
        shaken.await.unwrap_or(Err(Refused::Gone))
    }
}

/// Reads the files anew if settings were named by which they are found and understood, and gives what shows them once the
/// settings stand. As in Redis a setting that is set to what it was has its file read all the same, and what is wrong with
/// them is said in the log alone.
pub(super) fn judge(tls: Option<&Tls>, after: &Config, named: &[&'static Param]) -> Result<Option<Deed>, Refusal> {
    let (Some(tls), Some(first)) = (tls, named.iter().find(|param| FILES.contains(&param.name))) else {
        return Ok(None);
    };
    let (tls, papers) = (tls.clone(), Papers::read(after));
    let papers = papers.map_err(|why| {
        tracing::warn!("CONFIG SET: certificates stay as they are: {why}");
        Refusal::Value(first.name.to_owned(), "Unable to update TLS configuration. Check server logs.".to_owned())
    })?;
    Ok(Some(Box::new(move || tls.replace(papers))))
}

/// The settings that [`Papers`] are made from.
const FILES: [&str; 6] =
    ["tls-cert-file", "tls-key-file", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients", "tls-protocols"];

fn failed(error: io::Error) -> Refused {
    match error.kind() {
        // Port scanners and health checks leave like this, and so does who takes no certificate of an unknown name.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Refused::Gone,
        _ => Refused::Failed(error),
    }
}

/// Tells a client that speaks no TLS what to do.
async fn turn_away(stream: &mut TcpStream, side: Side) {
    let farewell: &[u8] = match side {
        Side::Resp => b"-ERR this port speaks TLS: connect with TLS (redis-cli --tls, rediss://)\r\n",
        Side::Http => {
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
              Content-Length: 32\r\n\r\nthis port speaks TLS: use https\n"
        }
    };
    // What was sent is read, as closing over unread bytes would take the farewell back.
    let mut sent = [0; 4096];
    let _ = stream.read(&mut sent).await;
    let _ = stream.write_all(farewell).await;
    let _ = stream.shutdown().await;
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn versions(config: &Config) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = config.tls_protocols;
    let all = wanted == TlsVersions::default();
    let of = |version, is_wanted: bool| (all || is_wanted).then_some(version);
    [of(&TLS13, wanted.v1_3), of(&TLS12, wanted.v1_2)].into_iter().flatten().collect()
}

fn chain(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::chain(file).map_err(|why| format!("tls-cert-file {file}: {why}"))
}

fn key(file: &str) -> Result<PrivateKeyDer<'static>, String> {
    pem::key(file).map_err(|why| format!("tls-key-file {file}: {why}"))
}

/// What the certificates of clients are checked by.
fn authorities(config: &Config) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let mut files: Vec<PathBuf> = Vec::new();
    if !config.tls_ca_cert_file.is_empty() {
        files.push(PathBuf::from(&config.tls_ca_cert_file));
    }
    if !config.tls_ca_cert_dir.is_empty() {
        let folder = &config.tls_ca_cert_dir;
        let entries = fs::read_dir(folder).map_err(|error| format!("tls-ca-cert-dir {folder}: {error}"))?;
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    for file in files {
        let wrong = |why: String| format!("tls-ca-cert-file {}: {why}", file.display());
        for certificate in pem::certificates(&file).map_err(wrong)? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err("tls-ca-cert-file: there is no certificate in it".to_owned());
    }
    Ok(roots)
}
