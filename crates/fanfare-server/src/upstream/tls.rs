//! Whom the hub trusts to be an upstream.

use std::{error::Error, fmt, io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// The certificates that a connection may be vouched for with.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// The certificates that were given; none if they are the system's.
    given: Option<Arc<[u8]>>,
}

impl Tls {
    /// Trusts whom the system trusts.
    pub fn system() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Stores of systems hold certificates that no library reads; the others do.
        let (added, _ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(TlsError::NoSystemRoots);
        }
        Self::with(roots, None)
    }

    /// Trusts whom these certificates vouch for, and nobody else.
    pub fn of_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| TlsError::NotPem)?;
            roots.add(certificate).map_err(TlsError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NotPem);
        }
        Self::with(roots, Some(pem.into()))
    }

    fn with(roots: RootCertStore, given: Option<Arc<[u8]>>) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // One protocol, so none is negotiated: HTTP/1.1, a connection for each stream.
        Ok(Self { config: Arc::new(config), given })
    }

    /// Shakes hands with a host.
    pub(super) async fn connect(
        &self,
        host: &str,
        socket: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await
    }
}

impl PartialEq for Tls {
    /// The system's certificates count as the same whenever they were read.
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given.is_some() { "Tls(ca_file)" } else { "Tls(system)" })
    }
}

/// Why there is nobody to trust; whoever configured the hub or its machine is at fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate cannot be used.
    Certificate(rustls::Error),
    /// A file has no certificate in it.
    NotPem,
    /// The system has none.
    NoSystemRoots,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "a certificate cannot be used: {error}"),
            Self::NotPem => f.write_str("it holds no certificate in PEM"),
            Self::NoSystemRoots => f.write_str(
                "this system has no certificates to trust (package ca-certificates), and no \
                 `ca_file` is set",
            ),
        }
    }
}

impl Error for TlsError {}

/// Random bytes that nobody can guess; none if the system has none.
pub(super) fn random_128() -> Option<u128> {
    let mut bytes = [0; 16];
    ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(u128::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_none() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            assert!(Tls::of_pem(pem).is_err());
        }
        let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Tls::of_pem(pem), Err(TlsError::Certificate(_))));
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random_128().unwrap(), random_128().unwrap());
    }
}
