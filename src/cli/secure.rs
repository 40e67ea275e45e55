//! TLS to a server: whom to trust, and the handshake.
//!
//! Trusted are the certificates of `--ca FILE`, or those of the system, where its distribution keeps them.

use crate::error::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where systems keep the certificates that they trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What the client speaks.
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// How to reach one server.
#[derive(Clone)]
pub(super) struct Secure {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secure({:?})", self.name)
    }
}

impl Secure {
    /// For the server at `host:port`.
    pub(super) fn new(address: &str, ca: Option<&Path>) -> Result<Secure> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|e| Error::statement(format!("{address}: {e}")))?;
        let mut trusted = RootCertStore::empty();
        match ca {
            Some(file) => {
                let wrong = |e: &dyn fmt::Display| {
                    Error::io(format!("cannot use {}", file.display())).with_detail(e.to_string())
                };
                for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(&e))? {
                    trusted.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
                }
                if trusted.is_empty() {
                    return Err(wrong(&"there is no certificate in it"));
                }
            }
            None => {
                let found = SYSTEM.iter().find_map(|file| CertificateDer::pem_file_iter(file).ok());
                // One that cannot be read is one that is not trusted.
                trusted.add_parsable_certificates(found.into_iter().flatten().flatten());
            }
        }
        if trusted.is_empty() {
            return Err(Error::io("no trusted certificates are found on this system")
                .with_hint("name a file of certificates with --ca FILE"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::bug("TLS has no version").because(e))?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Secure { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// The handshake.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
