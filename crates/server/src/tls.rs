//! TLS in front of HTTP. Certificate and key are read once, when the node starts.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on keys.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// The files, as they are named.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The certificate and those between it and its authority, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} for TLS: {why}")]
pub struct Unusable {
    path: PathBuf,
    why: String,
}

/// Speaks TLS for the node.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Reads both files, and holds them against each other.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn read(setup: &Setup) -> Result<Self, Unusable> {
        let chain = CertificateDer::pem_file_iter(&setup.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(&setup.cert, error))?;
        if chain.is_empty() {
            return Err(unusable(&setup.cert, "there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&setup.key)
            .map_err(|error| unusable(&setup.key, error))?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| unusable(&setup.cert, error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Agrees on keys with a client.
    ///
    /// # Errors
    /// The client speaks something else, or takes too long.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let accepted = timeout(HANDSHAKE_TIME_MAX, self.0.accept(stream)).await;
        accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn unusable(path: &Path, why: impl Display) -> Unusable {
    Unusable { path: path.to_owned(), why: why.to_string() }
}
