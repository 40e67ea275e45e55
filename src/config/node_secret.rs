//! Settings of a service of several processes: how they know each other.
//!
//! ```text
//! head -c 32 /dev/urandom | base64 > cluster.secret; chmod 600 cluster.secret
//! --set tidegate.cluster.secret.file=cluster.secret      the same file for every process of the service
//! --set tidegate.cluster.ca.file=ca.pem                  the certificates by which processes with TLS are trusted
//! ```
//!
//! A request from one process to another carries a token that is derived from the secret; the secret itself is never sent. Without TLS
//! the token can be read on the way, as a password can.

use super::Config;
use super::private;
use crate::error::{Error, Result};
use ring::hmac;
use std::fmt;
use std::path::PathBuf;

/// The file with the secret of the processes of a service.
pub(super) const SECRET_FILE: &str = "tidegate.cluster.secret.file";
/// PEM file of the certificates that processes are trusted by.
pub(super) const CA_FILE: &str = "tidegate.cluster.ca.file";
/// The fewest bytes of a secret: as many as of the key of a SHA-256 HMAC.
const SECRET_BYTES_MIN: usize = 32;
/// The most: it is no secret, but some other file.
const SECRET_BYTES_MAX: usize = 4_096;
/// What a token is made for.
const PURPOSE: &[u8] = b"tidegate: a request between processes of a service";

/// What only the processes of a service know.
#[derive(Clone)]
pub struct NodeSecret(Vec<u8>);

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeSecret")
    }
}

impl NodeSecret {
    /// That of a file's content; blanks around it do not count.
    pub fn of(bytes: &[u8]) -> Result<NodeSecret> {
        let secret = bytes.trim_ascii();
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
            return Err(Error::statement(format!(
                "a cluster secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, not {}",
                secret.len()
            ))
            .with_hint("head -c 32 /dev/urandom | base64 > FILE makes one"));
        }
        Ok(NodeSecret(secret.to_vec()))
    }

    /// What a request to another process carries.
    pub fn token(&self) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), PURPOSE);
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Config {
    /// Reads the secret of the processes of this service; `None` = none is configured.
    pub fn cluster_secret(&self) -> Result<Option<NodeSecret>> {
        let Some(file) = self.properties.get(SECRET_FILE).map(PathBuf::from) else { return Ok(None) };
        let named = |e: Error| e.with_detail(format!("{SECRET_FILE} is {}", file.display()));
        let bytes = std::fs::read(&file)
            .map_err(|e| Error::io("the cluster secret cannot be read").with_hint(e.to_string()))
            .map_err(named)?;
        private::warn_if_open(&file, "the cluster secret");
        NodeSecret::of(&bytes).map(Some).map_err(named)
    }

    /// The certificates by which processes with TLS are trusted; `None` = those of the system.
    pub fn cluster_ca(&self) -> Option<PathBuf> {
        self.properties.get(CA_FILE).map(PathBuf::from)
    }

    /// An error if several processes with these addresses would form a service without knowing each other: any client that
    /// reaches one of them could then speak for a user. Processes of one machine may, as a server of one machine needs no users.
    pub fn check_cluster_addresses<'a>(&self, addresses: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let addresses: Vec<&str> = addresses.into_iter().collect();
        let public = addresses.iter().find(|address| !is_loopback(address));
        let Some(public) = public.filter(|_| addresses.len() > 1 && !self.properties.contains_key(SECRET_FILE)) else {
            return Ok(());
        };
        Err(Error::statement(format!("refusing to join the processes of service {} without a secret", self.service_id))
            .with_detail(format!("{} processes, one of them at {public}", addresses.len()))
            .with_hint(format!(
                "give every process --set {SECRET_FILE}=FILE with the same file (head -c 32 /dev/urandom | base64 > FILE)"
            )))
    }
}

/// Whether a URL names this machine alone.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let name = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => place.rsplit_once(':').map_or(place, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;

    #[test]
    fn a_secret_is_long_enough_and_makes_one_token() {
        for wrong in [&b"short"[..], &[b'x'; 31], &[b' '; 100], &[b'x'; 5_000]] {
            assert!(NodeSecret::of(wrong).is_err(), "{} bytes", wrong.len());
        }
        let token = |text: &str| NodeSecret::of(text.as_bytes()).unwrap().token();
        let (a, b) = ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdeF");
        assert_eq!(token(a), token(&format!("\n{a}\n")));
        assert_ne!(token(a), token(b));
        assert_eq!(token(a).len(), 64);
        assert!(!token(a).contains(a) && !format!("{:?}", NodeSecret::of(a.as_bytes())).contains(a));
    }

    #[test]
    fn processes_of_several_machines_need_a_secret() {
        let mut config = Config::new(LogConfig::Temporary);
        let here = ["http://127.0.0.1:8088", "http://localhost:8089", "https://[::1]:8090/", "http://127.9.9.9"];
        config.check_cluster_addresses(here).unwrap();
        config.check_cluster_addresses(["http://10.0.0.7:8088"]).unwrap();
        for there in
            ["http://10.0.0.7:8088", "https://a.example:8088", "http://localhost.example:1", "http://[fe80::1]:8088"]
        {
            let error = config.check_cluster_addresses([here[0], there]).unwrap_err();
            assert!(error.message().contains("without a secret") && error.hint().unwrap().contains(SECRET_FILE));
        }
        config.set(SECRET_FILE, "cluster.secret").unwrap();
        config.check_cluster_addresses(["http://10.0.0.7:8088", "http://10.0.0.8:8088"]).unwrap();
        assert!(config.cluster_secret().is_err(), "the file is not there");
    }
}
