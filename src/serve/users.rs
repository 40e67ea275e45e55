//! Who may ask, and for what: a file of users, their roles, and what proves who they are.
//!
//! ```text
//! # name  role    secret: a password or a bearer token, of which only a hash is kept     topics: all if not named
//! alice   admin   pbkdf2-sha256:600000:<salt>:<hash>
//! grafana reader  sha256:<hash of the token>                                             topics=orders,clicks-*
//! ```
//!
//! `tidegate user` writes such lines. A password costs a tenth of a second to check, on purpose; one that was right is
//! remembered, as a hash, for as long as the server runs.

use super::limits::PASSWORD_CHECKS_MAX;
use crate::config::random_id;
use crate::engine::authorization::{Principal, Role, TopicRights};
use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use ring::{digest, pbkdf2};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use tokio::sync::Semaphore;

/// Rounds of PBKDF2 for new passwords.
pub const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
/// Bytes of a SHA-256.
const HASH_BYTES: usize = digest::SHA256_OUTPUT_LEN;
/// Right passwords that are remembered.
const REMEMBERED_MAX: usize = 1_000;

/// What proves who somebody is.
#[derive(Debug)]
enum Secret {
    Password { rounds: NonZeroU32, salt: Vec<u8>, hash: [u8; HASH_BYTES] },
    Token([u8; HASH_BYTES]),
}

#[derive(Debug)]
struct User {
    principal: Principal,
    secret: Secret,
}

/// Everybody who may ask.
#[derive(Debug)]
pub struct Users {
    users: Vec<User>,
    /// Hashes of credentials that were right, and their users.
    remembered: Mutex<HashMap<[u8; HASH_BYTES], Principal>>,
    checks: Semaphore,
}

impl Users {
    /// Reads a file of users.
    pub fn read(file: &Path) -> Result<Users> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Error::io(format!("cannot read {}", file.display())).with_detail(e.to_string()))?;
        Users::parse(&text).map_err(|(line, what)| {
            Error::statement(format!("{}:{line}: {what}", file.display()))
                .with_hint("a line is NAME ROLE SECRET [topics=NAME,PREFIX*,...]; `tidegate user` writes one")
        })
    }

    fn parse(text: &str) -> Result<Users, (usize, String)> {
        let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let users: Vec<User> = lines.map(|(n, line)| user(line).map_err(|e| (n, e))).collect::<Result<_, _>>()?;
        let named = |user: &User| matches!(user.secret, Secret::Password { .. }).then(|| user.principal.name.clone());
        let mut names: Vec<_> = users.iter().filter_map(named).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err((1, format!("{} has two passwords", twice[0])));
        }
        if users.is_empty() {
            return Err((1, "there are no users".to_owned()));
        }
        Ok(Users { users, remembered: Mutex::default(), checks: Semaphore::new(PASSWORD_CHECKS_MAX) })
    }

    /// The user of this name: for a door that has proved the name in another way, such as a client certificate.
    pub fn by_name(&self, name: &str) -> Option<Principal> {
        self.users.iter().map(|user| &user.principal).find(|principal| &*principal.name == name).cloned()
    }

    /// The user who sends this `authorization` header.
    pub(super) async fn principal(self: &std::sync::Arc<Users>, header: &str) -> Option<Principal> {
        let (scheme, credentials) = header.trim().split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => self.of_token(credentials.trim()),
            "basic" => {
                let hash = sha256(credentials.trim().as_bytes());
                if let Some(known) = self.remembered.lock().get(&hash) {
                    return Some(known.clone());
                }
                let decoded = STANDARD.decode(credentials.trim()).ok()?;
                let decoded = String::from_utf8(decoded).ok()?;
                let (users, _turn) = (self.clone(), self.checks.acquire().await.ok()?);
                let found = tokio::task::spawn_blocking(move || {
                    let (name, password) = decoded.split_once(':')?;
                    users.of_password(name, password)
                });
                let found = found.await.ok()??;
                let mut remembered = self.remembered.lock();
                if remembered.len() < REMEMBERED_MAX {
                    remembered.insert(hash, found.clone());
                }
                Some(found)
            }
            _ => None,
        }
    }

    fn of_token(&self, token: &str) -> Option<Principal> {
        let brought = sha256(token.as_bytes());
        let same = |user: &&User| matches!(&user.secret, Secret::Token(hash) if is_same(hash, &brought));
        self.users.iter().find(same).map(|user| user.principal.clone())
    }

    fn of_password(&self, name: &str, password: &str) -> Option<Principal> {
        let is_named = |u: &&User| &*u.principal.name == name && matches!(u.secret, Secret::Password { .. });
        let named = self.users.iter().find(is_named);
        let Some(User { principal, secret: Secret::Password { rounds, salt, hash }, .. }) = named else {
            // As much work as for somebody who is there: how long it takes tells nobody's name.
            let mut unused = [0; HASH_BYTES];
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, b"nobody", password.as_bytes(), &mut unused);
            return None;
        };
        let right = pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt, password.as_bytes(), hash);
        right.ok().map(|()| principal.clone())
    }
}

fn user(line: &str) -> Result<User, String> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let (name, role, secret, topics) = match parts[..] {
        [name, role, secret] => (name, role, secret, None),
        [name, role, secret, topics] => (name, role, secret, Some(topics)),
        _ => return Err(format!("{} words instead of 3 or 4", parts.len())),
    };
    let topics = match topics.map(|topics| topics.strip_prefix("topics=")) {
        None => TopicRights::default(),
        Some(Some(list)) => TopicRights::parse(list)?,
        // Never the word itself: it may be a part of a password.
        Some(None) => return Err("behind the secret only topics=NAME,PREFIX*,... may stand".to_owned()),
    };
    let role = Role::named(role).ok_or_else(|| format!("{role} is none of reader, writer, admin"))?;
    let parts: Vec<&str> = secret.split(':').collect();
    let secret = match parts[..] {
        ["sha256", hash] => Secret::Token(bytes(hash)?.try_into().map_err(|_| "the hash is no SHA-256")?),
        ["pbkdf2-sha256", rounds, salt, hash] => Secret::Password {
            rounds: rounds.parse().map_err(|_| format!("{rounds} is no number of rounds"))?,
            salt: bytes(salt)?,
            hash: bytes(hash)?.try_into().map_err(|_| "the hash is no SHA-256")?,
        },
        // Never the secret itself: it may be a password that somebody has written here.
        _ => return Err("the secret is neither pbkdf2-sha256:ROUNDS:SALT:HASH nor sha256:HASH".to_owned()),
    };
    Ok(User { principal: Principal::new(name, role, topics), secret })
}

/// A line for somebody with a password.
pub fn password_line(name: &str, role: Role, password: &str) -> Result<String> {
    let salt = random_id()?.to_be_bytes();
    let mut hash = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), &mut hash);
    Ok(format!("{} {} pbkdf2-sha256:{ROUNDS}:{}:{}", checked(name)?, role.name(), hex(&salt), hex(&hash)))
}

/// A fresh token, and a line for whoever brings it.
pub fn token_line(name: &str, role: Role) -> Result<(String, String)> {
    let token = format!("{:032x}{:032x}", random_id()?, random_id()?);
    let line = format!("{} {} sha256:{}", checked(name)?, role.name(), hex(&sha256(token.as_bytes())));
    Ok((token, line))
}

fn checked(name: &str) -> Result<&str> {
    match name.is_empty() || name.starts_with('#') || name.contains(|c: char| c == ':' || c.is_whitespace()) {
        false => Ok(name),
        true => Err(Error::statement("a user's name has no colon, no space, and no # in front")),
    }
}

fn sha256(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Compares in a time that tells nothing of where they differ.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digit = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let decoded: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
    decoded.filter(|_| hex.len().is_multiple_of(2)).ok_or_else(|| "a hash or salt is not hexadecimal".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn role(users: &Arc<Users>, header: &str) -> Option<Role> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(users.principal(header)).map(|principal| principal.role)
    }

    #[test]
    fn a_line_lets_in_who_it_was_written_for() {
        let (token, guest) = token_line("guest", Role::Reader).unwrap();
        let text = format!("# people\n\n{}\n{guest}\n", password_line("alice", Role::Admin, "p:w").unwrap());
        assert!(!text.contains("p:w") && !text.contains(&token));
        let users = Arc::new(Users::parse(&text).unwrap());
        let basic = |what: &str| format!("Basic {}", STANDARD.encode(what));
        for _ in 0..2 {
            assert_eq!(role(&users, &basic("alice:p:w")), Some(Role::Admin));
        }
        assert_eq!(role(&users, &format!("bearer {token}")), Some(Role::Reader));
        for wrong in ["alice:p", "alice:", "alice", "guest:x", &format!("guest:{token}"), ""] {
            assert_eq!(role(&users, &basic(wrong)), None, "{wrong}");
        }
        for wrong in ["", "Basic", "Basic ???", "Bearer ", "Bearer x", "Digest x"] {
            assert_eq!(role(&users, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn wrong_lines_are_named_and_their_secrets_are_not() {
        for (text, what) in [
            ("", "there are no users"),
            ("alice admin", "2 words"),
            ("alice admin sha256:00 hunter2", "behind the secret"),
            ("alice admin sha256:00 topics=a b", "5 words"),
            ("alice admin sha256:00 topics=a,*b", "\"*b\" is neither"),
            ("alice boss sha256:00", "boss is none of"),
            ("alice admin hunter2", "the secret is neither"),
            ("alice admin sha256:zz", "hexadecimal"),
            ("alice admin sha256:00", "no SHA-256"),
            ("alice admin pbkdf2-sha256:0:00:00", "0 is no number"),
        ] {
            let (_, message) = Users::parse(text).unwrap_err();
            assert!(message.contains(what) && !message.contains("hunter2"), "{text}: {message}");
        }
        assert!(token_line("a:b", Role::Reader).is_err());
    }
}
