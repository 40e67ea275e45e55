//! SCRAM-SHA-256 as a server (RFC 5802, RFC 7677): the client proves that it knows a password, which is never sent. Pure.
//!
//! ```text
//! client  n,,n=,r=NONCE                       server  r=NONCE+OURS,s=SALT,i=ROUNDS
//! client  c=biws,r=NONCE+OURS,p=PROOF         server  v=SIGNATURE
//! ```
//!
//! The server keeps StoredKey and ServerKey, which do not suffice to log in. There is no channel binding: a client that asks for
//! it (`p=`) chose another mechanism than the one that was offered, and is refused.

use crate::serve::auth::users::is_same;
use crate::serve::auth::verifier::Verifier;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

/// The only mechanism.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
/// Longest nonce of a client; those of libpq have 24 characters.
const NONCE_BYTES_MAX: usize = 256;

/// Why an exchange ends: the client broke the protocol, or the proof is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Protocol(&'static str),
    Proof,
}

/// An exchange after its first message.
#[derive(Debug)]
pub(super) struct Exchange {
    verifier: Verifier,
    /// The channel binding flags that the client sent, which its last message repeats.
    header: String,
    nonce: String,
    /// Both first messages, as they are signed.
    first: String,
}

/// Reads the client's first message; returns the exchange, and the answer. `ours` is this server's part of the nonce.
pub(super) fn begin(verifier: Verifier, message: &[u8], ours: &str) -> Result<(Exchange, String), Failed> {
    let message = std::str::from_utf8(message).map_err(|_| Failed::Protocol("the first SCRAM message is not UTF-8"))?;
    let header_len = match message.get(..2) {
        Some("n," | "y,") => message[2..].find(',').map(|at| at + 3),
        Some("p=") => return Err(Failed::Protocol("channel binding was not offered")),
        _ => None,
    };
    let (header, bare) = header_len
        .and_then(|at| message.split_at_checked(at))
        .ok_or(Failed::Protocol("the first SCRAM message has no header"))?;
    // The user's name is that of the startup packet.
    let nonce = attribute(bare, "r").filter(|nonce| (1..=NONCE_BYTES_MAX).contains(&nonce.len()));
    let nonce = nonce.ok_or(Failed::Protocol("the first SCRAM message has no valid nonce"))?;
    if bare.starts_with("m=") {
        return Err(Failed::Protocol("a mandatory SCRAM extension is not supported"));
    }
    let nonce = format!("{nonce}{ours}");
    let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.rounds);
    let first = format!("{bare},{answer}");
    Ok((Exchange { verifier, header: header.to_owned(), nonce, first }, answer))
}

impl Exchange {
    /// Checks the client's last message; returns the proof that this server knows the password's keys, too.
    pub(super) fn finish(&self, message: &[u8]) -> Result<String, Failed> {
        let message = std::str::from_utf8(message).map_err(|_| Failed::Protocol("a SCRAM message is not UTF-8"))?;
        let Some((unproven, proof)) = message.rsplit_once(",p=") else {
            return Err(Failed::Protocol("the last SCRAM message has no proof"));
        };
        let header = attribute(unproven, "c").and_then(|encoded| STANDARD.decode(encoded).ok());
        if header.as_deref() != Some(self.header.as_bytes()) {
            return Err(Failed::Protocol("the channel binding of SCRAM does not match"));
        }
        if attribute(unproven, "r") != Some(self.nonce.as_str()) {
            return Err(Failed::Protocol("the nonce of SCRAM does not match"));
        }
        let proof = STANDARD.decode(proof).map_err(|_| Failed::Protocol("the proof of SCRAM is not base64"))?;
        let signed = format!("{},{unproven}", self.first);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        if proof.len() != signature.as_ref().len() {
            return Err(Failed::Proof);
        }
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(p, s)| p ^ s).collect();
        if !is_same(digest::digest(&digest::SHA256, &client_key).as_ref(), &self.verifier.stored_key) {
            return Err(Failed::Proof);
        }
        Ok(format!("v={}", STANDARD.encode(sign(&self.verifier.server_key, signed.as_bytes()))))
    }
}

fn sign(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

/// The value of `name=value` in a list with commas.
fn attribute<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn verifier(password: &str) -> Verifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Verifier::of_password(password, salt, std::num::NonZeroU32::new(4096).unwrap())
    }

    #[test]
    fn the_exchange_of_the_rfc_is_accepted() {
        let (exchange, answer) = begin(verifier("pencil"), FIRST.as_bytes(), OURS).unwrap();
        assert_eq!(answer, format!("r=rOprNGfwEbeRWgbNEkqO{OURS},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = exchange.finish(LAST.as_bytes());
        assert_eq!(last.as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        let (other, _) = begin(verifier("Pencil"), FIRST.as_bytes(), OURS).unwrap();
        assert_eq!(other.finish(LAST.as_bytes()), Err(Failed::Proof));
    }

    #[test]
    fn broken_exchanges_are_refused() {
        for first in ["", "n", "n,,", "n,,n=u", "p=tls-unique,,n=,r=x", "x,,n=,r=x", "n,,m=1,r=x", "n,,n=,r="] {
            assert!(begin(verifier("p"), first.as_bytes(), OURS).is_err(), "{first}");
        }
        let (exchange, _) = begin(verifier("pencil"), FIRST.as_bytes(), OURS).unwrap();
        for last in
            ["", "c=biws", &LAST.replace("biws", "eSws"), &LAST.replace("r=rO", "r=xx"), &LAST[..LAST.len() - 9]]
        {
            assert!(exchange.finish(last.as_bytes()).is_err(), "{last}");
        }
    }
}
