//! The server's certificate and key, and those certificates that it takes from clients.
//!
//! With an authority of clients (`--client-ca`) a client may, or has to, bring a certificate that it has signed. Whom such a
//! certificate names is its common name and its DNS names; `users` decides which of these are admitted.

use crate::error::{Error, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// What is agreed on with a client of the HTTP server: HTTP/2 before HTTP/1.1.
pub(crate) const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
/// The protocol of Postgres's clients, which libpq names since version 17.
pub(crate) const POSTGRES: &[&[u8]] = &[b"postgresql"];

/// Object identifier of a common name, 2.5.4.3, as it is encoded.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Tags of DER.
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Clients that bring certificates.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// PEM file of the authorities that sign them.
    pub authorities: std::path::PathBuf,
    /// A client without one does not get in.
    pub required: bool,
}

fn wrong(file: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::io(format!("cannot use {}", file.display())).with_detail(e.to_string())
}

/// Reads a chain of certificates and its key, both PEM, and whose certificates clients may bring; `protocols` are those that a
/// client may name.
pub(crate) fn acceptor(
    certificates: &Path,
    key: &Path,
    clients: Option<&ClientCertificates>,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect).map_err(|e| wrong(certificates, &e))?;
    if chain.is_empty() {
        return Err(wrong(certificates, &"it contains no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(clients) => verifier(clients, &provider)?,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, private))
        .map_err(|e| wrong(certificates, &e))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn verifier(clients: &ClientCertificates, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
    let file = &clients.authorities;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(file, &e))? {
        authorities.add(certificate.map_err(|e| wrong(file, &e))?).map_err(|e| wrong(file, &e))?;
    }
    if authorities.is_empty() {
        return Err(wrong(file, &"it contains no certificate"));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider.clone());
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|e| wrong(file, &e))
}

/// Whom the client's certificate names: its common name, then its DNS names. The certificate has been verified.
pub(crate) fn names(connection: &ServerConnection) -> Vec<String> {
    let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) else { return Vec::new() };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().map(str::to_owned);
    common_name(certificate.subject()).into_iter().chain(dns).collect()
}

/// The last common name of a subject: the most specific one.
fn common_name(subject: &[u8]) -> Option<String> {
    let (mut rest, mut found) = (subject, None);
    while let Some((SET, mut attributes, after)) = element(rest) {
        rest = after;
        while let Some((SEQUENCE, attribute, next)) = element(attributes) {
            attributes = next;
            let Some((OBJECT_IDENTIFIER, COMMON_NAME, value)) = element(attribute) else { continue };
            if let Some((UTF8_STRING | PRINTABLE_STRING | IA5_STRING, text, _)) = element(value) {
                found = std::str::from_utf8(text).ok().map(str::to_owned);
            }
        }
    }
    found
}

/// The first DER element: its tag, its content, and the rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Lengths beyond four bytes do not occur here.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(len)?;
    Some((tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of DER.
    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut bytes = vec![tag];
        match u8::try_from(content.len()) {
            Ok(len @ 0..0x80) => bytes.push(len),
            _ => bytes.extend([&[0x82], &(content.len() as u16).to_be_bytes()[..]].concat()),
        }
        bytes.extend(content);
        bytes
    }

    fn attribute(identifier: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let pair = der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[identifier]), &der(tag, &[text])]);
        der(SET, &[&pair])
    }

    #[test]
    fn the_common_name_is_found_in_a_subject() {
        let organisation = attribute(&[0x55, 0x04, 0x0a], UTF8_STRING, b"alice");
        let subject = |name: &[u8]| [organisation.clone(), name.to_vec()].concat();
        let named = |name: &[u8]| common_name(&subject(name));
        assert_eq!(named(&attribute(COMMON_NAME, UTF8_STRING, b"bob")), Some("bob".to_owned()));
        assert_eq!(named(&attribute(COMMON_NAME, PRINTABLE_STRING, b"bob")), Some("bob".to_owned()));
        let long = "x".repeat(1_000);
        assert_eq!(named(&attribute(COMMON_NAME, UTF8_STRING, long.as_bytes())), Some(long));
        assert_eq!(named(&attribute(COMMON_NAME, 0x1e, b"\0b")), None, "UTF-16");
        assert_eq!(named(&attribute(COMMON_NAME, UTF8_STRING, &[0xff])), None);
        assert_eq!(named(&[]), None, "an organisation is nobody's name");
    }

    #[test]
    fn a_broken_subject_has_no_name() {
        let whole = attribute(COMMON_NAME, UTF8_STRING, b"bob");
        for len in 0..whole.len() {
            assert_eq!(common_name(&whole[..len]), None, "{len} bytes");
        }
        for first in 0..=u8::MAX {
            common_name(&[SET, first, 0xff, 0xff, 0xff, 0xff]);
        }
    }
}
