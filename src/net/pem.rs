//! Certificates and keys as PEM files have them.

use std::fs;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates in a file, none of them being an error.
pub(super) fn chain(file: impl AsRef<Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = certificates(file.as_ref())?;
    if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
}

/// The certificates in a file.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// The first private key in a file.
pub(super) fn key(file: impl AsRef<Path>) -> Result<PrivateKeyDer<'static>, String> {
    let text = fs::read(file).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        _ if memchr::memmem::find(&text, b"ENCRYPTED").is_some() => {
            "the key is encrypted; write it to a file of its own without a password (openssl pkey -in key.pem -out \
             plain.pem)"
                .to_owned()
        }
        pem::Error::NoItemsFound => "there is no private key in it".to_owned(),
        error => error.to_string(),
    })
}
