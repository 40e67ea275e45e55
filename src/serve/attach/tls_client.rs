//! TLS to a server: whom to trust, and the handshake.
//!
//! Trusted are the certificates of `--ca FILE`, or those of the system, where its distribution keeps them. `--cert` and
//! `--key` name the certificate that is shown to a server that asks for one.

use crate::error::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
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

/// PEM files of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// Certificates to trust instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// The certificate that is shown to a server that asks for one.
    pub(crate) cert: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
}

/// How to reach one server.
#[derive(Clone)]
pub(crate) struct Secure {
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
    pub(crate) fn new(address: &str, files: &TlsFiles) -> Result<Secure> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|e| Error::statement(format!("{address}: {e}")))?;
        let mut trusted = RootCertStore::empty();
        match &files.ca {
            Some(file) => {
                let wrong = |e: &dyn fmt::Display| wrong(file, e);
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
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::bug("TLS has no version").because(e))?
            .with_root_certificates(trusted);
        let mut config = match files.cert.as_deref().zip(files.key.as_deref()) {
            None => config.with_no_client_auth(),
            Some((certificates, key)) => {
                let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
                let chain: Vec<CertificateDer<'static>> = chain.map_err(|e| wrong(certificates, &e))?;
                let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e))?;
                config.with_client_auth_cert(chain, private).map_err(|e| wrong(certificates, &e))?
            }
        };
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Secure { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// The handshake.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn wrong(file: &Path, e: &dyn fmt::Display) -> Error {
    Error::io(format!("cannot use {}", file.display())).with_detail(e.to_string())
}

/// What to do about a certificate that is not trusted; `None` = it failed for another reason. Under TLS 1.3 a server that wants a
/// certificate says so after the handshake; it has read no request then.
pub(crate) fn hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match of_tls(error)? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("name the certificate, or that of its authority, with --ca FILE")
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            Some(
                "a server's certificate must not be an authority's: \
                 openssl req -x509 -addext basicConstraints=critical,CA:FALSE makes one for a server",
            )
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some("call the server by a name that is in its certificate"),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Some("the server needs a new certificate")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server wants a client's certificate: --cert FILE and --key FILE")
        }
        _ => None,
    }
}

/// The cause that came from TLS.
fn of_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut ends = causes.filter_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref());
    ends.next()
}
