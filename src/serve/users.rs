//! Who may ask, and for what: a file of users, their roles, and what proves who they are.
//!
//! ```text
//! # name  role    secret: a password or a bearer token, of which only a hash is kept
//! alice   admin   pbkdf2-sha256:600000:<salt>:<hash>
//! grafana reader  sha256:<hash of the token>
//! ```
//!
//! `tidegate user` writes such lines. A password costs a tenth of a second to check, on purpose; one that was right is
//! remembered, as a hash, for as long as the server runs.

use super::limits::PASSWORD_CHECKS_MAX;
use crate::config::random_id;
use crate::error::{Error, Result};
use crate::parse::statement::Statement;
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

/// What somebody may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Look: SELECT, SHOW, DESCRIBE, EXPLAIN, PRINT.
    Reader,
    /// Make: CREATE, INSERT, ALTER, PAUSE, RESUME, TERMINATE.
    Writer,
    /// Everything: DROP, too.
    Admin,
}

impl Role {
    fn named(name: &str) -> Option<Role> {
        [Role::Reader, Role::Writer, Role::Admin].into_iter().find(|role| role.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }

    /// What a statement takes.
    fn needed(statement: &Statement) -> Role {
        match statement {
            Statement::Select(_)
            | Statement::Batch(_)
            | Statement::Show(_)
            | Statement::Describe { .. }
            | Statement::DescribeFunction(_)
            | Statement::ExplainQuery(_)
            | Statement::Explain(_)
            | Statement::Print(_)
            | Statement::Verify(_)
            | Statement::Set { .. }
            | Statement::Unset(_)
            | Statement::Define { .. }
            | Statement::Undefine(_)
            | Statement::AssertTopic(_)
            | Statement::AssertSchema(_) => Role::Reader,
            Statement::Drop(_) | Statement::DropType { .. } => Role::Admin,
            _ => Role::Writer,
        }
    }

    /// Whether one of this role may do it.
    pub(super) fn check(self, statement: &Statement) -> Result<()> {
        self.at_least(Role::needed(statement))
    }

    /// Whether one of this role may do what takes `needed`.
    pub(super) fn at_least(self, needed: Role) -> Result<()> {
        match self >= needed {
            true => Ok(()),
            false => {
                let (mine, wanted) = (self.name(), needed.name());
                Err(Error::statement(format!("You are forbidden from doing this as a {mine}"))
                    .with_code(40300)
                    .with_hint(format!("it takes the role {wanted}")))
            }
        }
    }
}

/// What proves who somebody is.
#[derive(Debug)]
enum Secret {
    Password { rounds: NonZeroU32, salt: Vec<u8>, hash: [u8; HASH_BYTES] },
    Token([u8; HASH_BYTES]),
}

#[derive(Debug)]
struct User {
    name: String,
    role: Role,
    secret: Secret,
}

/// Everybody who may ask.
#[derive(Debug)]
pub struct Users {
    users: Vec<User>,
    /// Hashes of credentials that were right, and their users' roles.
    remembered: Mutex<HashMap<[u8; HASH_BYTES], Role>>,
    checks: Semaphore,
}

impl Users {
    /// Reads a file of users.
    pub fn read(file: &Path) -> Result<Users> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Error::io(format!("cannot read {}", file.display())).with_detail(e.to_string()))?;
        Users::parse(&text).map_err(|(line, what)| {
            Error::statement(format!("{}:{line}: {what}", file.display()))
                .with_hint("a line is NAME ROLE SECRET; `tidegate user` writes one")
        })
    }

    fn parse(text: &str) -> Result<Users, (usize, String)> {
        let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let users: Vec<User> = lines.map(|(n, line)| user(line).map_err(|e| (n, e))).collect::<Result<_, _>>()?;
        let named = |user: &User| matches!(user.secret, Secret::Password { .. }).then(|| user.name.clone());
        let mut names: Vec<String> = users.iter().filter_map(named).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err((1, format!("{} has two passwords", twice[0])));
        }
        if users.is_empty() {
            return Err((1, "there are no users".to_owned()));
        }
        Ok(Users { users, remembered: Mutex::default(), checks: Semaphore::new(PASSWORD_CHECKS_MAX) })
    }

    /// The role of whoever sends this `authorization` header.
    pub(super) async fn role(self: &std::sync::Arc<Users>, header: &str) -> Option<Role> {
        let (scheme, credentials) = header.trim().split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => self.of_token(credentials.trim()),
            "basic" => {
                let hash = sha256(credentials.trim().as_bytes());
                if let Some(role) = self.remembered.lock().get(&hash) {
                    return Some(*role);
                }
                let decoded = STANDARD.decode(credentials.trim()).ok()?;
                let decoded = String::from_utf8(decoded).ok()?;
                let (users, _turn) = (self.clone(), self.checks.acquire().await.ok()?);
                let role = tokio::task::spawn_blocking(move || {
                    let (name, password) = decoded.split_once(':')?;
                    users.of_password(name, password)
                });
                let role = role.await.ok()??;
                let mut remembered = self.remembered.lock();
                if remembered.len() < REMEMBERED_MAX {
                    remembered.insert(hash, role);
                }
                Some(role)
            }
            _ => None,
        }
    }

    fn of_token(&self, token: &str) -> Option<Role> {
        let brought = sha256(token.as_bytes());
        let same = |user: &&User| matches!(&user.secret, Secret::Token(hash) if is_same(hash, &brought));
        self.users.iter().find(same).map(|user| user.role)
    }

    fn of_password(&self, name: &str, password: &str) -> Option<Role> {
        let named = self.users.iter().find(|u| u.name == name && matches!(u.secret, Secret::Password { .. }));
        let Some(User { role, secret: Secret::Password { rounds, salt, hash }, .. }) = named else {
            // As much work as for somebody who is there: how long it takes tells nobody's name.
            let mut unused = [0; HASH_BYTES];
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, b"nobody", password.as_bytes(), &mut unused);
            return None;
        };
        let right = pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt, password.as_bytes(), hash);
        right.ok().map(|()| *role)
    }
}

fn user(line: &str) -> Result<User, String> {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let [name, role, secret] = parts[..] else { return Err(format!("{} words instead of 3", parts.len())) };
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
    Ok(User { name: name.to_owned(), role, secret })
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
        runtime.block_on(users.role(header))
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

    #[test]
    fn each_role_includes_the_ones_before_it() {
        let parsed = |text: &str| crate::parse::parse(text).unwrap().remove(0).statement;
        let select = parsed("SELECT * FROM s EMIT CHANGES;");
        let insert = parsed("INSERT INTO s VALUES (1);");
        let drop = parsed("DROP STREAM s;");
        for (role, may) in
            [(Role::Reader, [true, false, false]), (Role::Writer, [true, true, false]), (Role::Admin, [true; 3])]
        {
            assert_eq!([&select, &insert, &drop].map(|s| role.check(s).is_ok()), may, "{role:?}");
        }
        assert_eq!(Role::Reader.check(&drop).unwrap_err().code(), 40300);
    }
}
