//! The server's certificate and key.

use crate::error::{Error, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What is agreed on with a client: HTTP/2 before HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Reads a chain of certificates and its key, both PEM.
pub(super) fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor> {
    let wrong = |file: &Path, e: &dyn std::fmt::Display| {
        Error::io(format!("cannot use {}", file.display())).with_detail(e.to_string())
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect).map_err(|e| wrong(certificates, &e))?;
    if chain.is_empty() {
        return Err(wrong(certificates, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| wrong(certificates, &e))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
