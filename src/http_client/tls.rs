//! TLS of the outbound client: which certificates to trust, which one to present.
//!
//! Trusted are the certificates of a named file, or those that the operating system trusts. rustls verifies them either way.

use crate::error::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// PEM files of a client.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate to present to a server that asks for one.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// The configuration for these files.
pub(super) fn config(files: &TlsFiles) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::bug("no TLS version is supported").because(e))?;
    let builder = match &files.ca {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None => {
            let system = Verifier::new(provider).map_err(|e| {
                Error::io("the system's trusted certificates cannot be read")
                    .with_detail(e.to_string())
                    .with_hint("name a file of certificates with --ca FILE")
            })?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(system))
        }
    };
    let Some((certificates, key)) = files.cert.as_deref().zip(files.key.as_deref()) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(|e| unusable(certificates, &e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, &e))?;
    builder.with_client_auth_cert(chain, private).map_err(|e| unusable(certificates, &e))
}

fn authorities(file: &Path) -> Result<RootCertStore> {
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unusable(file, &e))? {
        trusted.add(certificate.map_err(|e| unusable(file, &e))?).map_err(|e| unusable(file, &e))?;
    }
    match trusted.is_empty() {
        true => Err(unusable(file, &"it contains no certificate")),
        false => Ok(trusted),
    }
}

fn unusable(file: &Path, e: &dyn fmt::Display) -> Error {
    Error::io(format!("cannot use {}", file.display())).with_detail(e.to_string())
}

/// What to do about a failed handshake; `None` = TLS is not the cause. Under TLS 1.3 a server that requires a client
/// certificate says so after the handshake; it has read no request then.
pub fn hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match of_tls(error)? {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("name the server's certificate, or that of its authority, with --ca FILE")
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
        ) => Some("use a host name that is in the server's certificate"),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Some("the server needs a new certificate")
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server requires a client certificate: --cert FILE and --key FILE")
        }
        _ => None,
    }
}

/// The cause that came from TLS. I/O errors hold theirs inside, where `source` passes over it.
fn of_tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match inner {
        Some(inner) => of_tls(inner),
        None => of_tls(error.source()?),
    }
}
