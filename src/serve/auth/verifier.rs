//! What SCRAM-SHA-256 needs of a password (RFC 5802), and its text: the one that Postgres keeps in `pg_authid`.
//!
//! ```text
//! SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>       salt and keys in base64
//! ```
//!
//! Neither key is enough to log in. A PBKDF2 hash of the same rounds and salt is SCRAM's SaltedPassword, from which both keys
//! follow, so that users whose line has one can log in by SCRAM, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// Bytes of a SHA-256.
pub(crate) const HASH_BYTES: usize = digest::SHA256_OUTPUT_LEN;
/// The beginning of the text.
pub(crate) const PREFIX: &str = "SCRAM-SHA-256$";
/// Rounds for new lines. Some drivers refuse more than 100,000, because the server decides how long they compute.
pub(crate) const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
/// The fewest rounds that are accepted: those of Postgres (RFC 7677, section 4).
const ROUNDS_MIN: u32 = 4096;
/// The most: a check of the password takes two seconds of a core.
const ROUNDS_MAX: u32 = 10_000_000;
/// Salts of Postgres have 16 bytes.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// Salt, rounds and both keys.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    pub(crate) rounds: NonZeroU32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: [u8; HASH_BYTES],
    pub(crate) server_key: [u8; HASH_BYTES],
}

impl Verifier {
    /// Of a password.
    pub(crate) fn of_password(password: &str, salt: Vec<u8>, rounds: NonZeroU32) -> Verifier {
        let mut salted = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
        Verifier::of_salted(&salted, salt, rounds)
    }

    /// Of a password's PBKDF2 hash.
    pub(crate) fn of_salted(salted: &[u8; HASH_BYTES], salt: Vec<u8>, rounds: NonZeroU32) -> Verifier {
        let key = hmac::Key::new(hmac::HMAC_SHA256, salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let mut server_key = [0; HASH_BYTES];
        server_key.copy_from_slice(hmac::sign(&key, b"Server Key").as_ref());
        Verifier { rounds, salt, stored_key: sha256(client_key.as_ref()), server_key }
    }

    /// Whether it is that of this password.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        let other = Verifier::of_password(password, self.salt.clone(), self.rounds);
        is_same(&other.stored_key, &self.stored_key)
    }

    /// Reads the text.
    pub(crate) fn parse(text: &str) -> Result<Verifier, String> {
        let invalid =
            || "invalid SCRAM-SHA-256 secret, expected SCRAM-SHA-256$ROUNDS:SALT$STOREDKEY:SERVERKEY".to_owned();
        let rest = text.strip_prefix(PREFIX).ok_or_else(invalid)?;
        let (head, keys) = rest.split_once('$').ok_or_else(invalid)?;
        let (rounds, salt) = head.split_once(':').ok_or_else(invalid)?;
        let (stored, server) = keys.split_once(':').ok_or_else(invalid)?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| invalid());
        let key = |text: &str| bytes(text)?.try_into().map_err(|_| invalid());
        let rounds: NonZeroU32 = rounds.parse().map_err(|_| invalid())?;
        if !(ROUNDS_MIN..=ROUNDS_MAX).contains(&rounds.get()) {
            return Err(format!("a SCRAM-SHA-256 secret has {rounds} rounds, expected {ROUNDS_MIN} to {ROUNDS_MAX}"));
        }
        let salt = bytes(salt)?;
        if !SALT_BYTES.contains(&salt.len()) {
            return Err(format!("the salt of a SCRAM-SHA-256 secret has {} bytes", salt.len()));
        }
        Ok(Verifier { rounds, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encoded = |bytes: &[u8]| STANDARD.encode(bytes);
        let (stored, server) = (encoded(&self.stored_key), encoded(&self.server_key));
        write!(f, "{PREFIX}{}:{}${stored}:{server}", self.rounds, encoded(&self.salt))
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Compares in a time that does not depend on where they differ.
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Python's hashlib and hmac for the password "pencil" and the salt of RFC 7677.
    #[test]
    fn the_text_is_read_and_written() {
        let rounds = NonZeroU32::new(4096).unwrap();
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let made = Verifier::of_password("pencil", salt, rounds);
        let text = made.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{text}");
        let read = Verifier::parse(&text).unwrap();
        assert!(read.is_of("pencil") && !read.is_of("Pencil"));
        assert_eq!(read.server_key, made.server_key);
    }

    #[test]
    fn wrong_texts_are_refused() {
        let keys = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let salt = "AAAAAAAAAAAAAAAAAAAAAA==";
        for text in [
            "SCRAM-SHA-256$".to_owned(),
            format!("SCRAM-SHA-256$4095:{salt}${keys}:{keys}"),
            format!("SCRAM-SHA-256$99999999:{salt}${keys}:{keys}"),
            format!("SCRAM-SHA-256$4096:AAAA${keys}:{keys}"),
            format!("SCRAM-SHA-256$4096:{salt}${keys}"),
            format!("SCRAM-SHA-256$4096:{salt}$hunter2:{keys}"),
        ] {
            let message = Verifier::parse(&text).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(Verifier::parse(&format!("SCRAM-SHA-256$4096:{salt}${keys}:{keys}")).is_ok());
    }
}
