//! Who may ask, and for what: a file of users, their roles, and what proves who they are.
//!
//! ```text
//! # name  role    secret: a password or a bearer token, of which only a hash is kept     topics: all if not named
//! alice   admin   pbkdf2-sha256:600000:<salt>:<hash>
//! grafana reader  sha256:<hash of the token>                                             topics=orders,clicks-*
//! loader  writer  certificate
//! ```
//!
//! `tidegate user` writes such lines. A password costs a tenth of a second to check, on purpose: [`super::login`] bounds how
//! many are checked. `certificate` stands for a certificate of the authority that the server trusts (`--client-ca`); one with
//! that name also proves to be a user who has a password or a token.

use crate::config::random_id;
use crate::engine::access::{Principal, Role, TopicRights};
use crate::error::{Error, Result};
use ring::{digest, pbkdf2};
use std::num::NonZeroU32;
use std::path::Path;

/// Rounds of PBKDF2 for new passwords, and the fewest that are taken: what OWASP asks for with SHA-256.
pub const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
/// The most that are taken: two seconds of a core for each check.
const ROUNDS_MAX: u32 = 10_000_000;
/// The shortest salt that is taken, as NIST SP 800-132 asks for.
const SALT_BYTES_MIN: usize = 16;
/// Bytes of a SHA-256.
pub(crate) const HASH_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// What proves who somebody is.
#[derive(Debug)]
enum Secret {
    Password { rounds: NonZeroU32, salt: Vec<u8>, hash: [u8; HASH_BYTES] },
    Token([u8; HASH_BYTES]),
    Certificate,
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
    /// The most rounds that a password of the file has: every check costs as many, whether there is such a user or not.
    rounds: u32,
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
        type Is = fn(&Secret) -> bool;
        let once: [(&str, Is); 2] = [
            ("passwords", |secret| matches!(secret, Secret::Password { .. })),
            ("certificates", |secret| matches!(secret, Secret::Certificate)),
        ];
        for (what, is) in once {
            let with = users.iter().filter(|user| is(&user.secret));
            let mut names: Vec<_> = with.map(|user| user.principal.name.clone()).collect();
            names.sort();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err((1, format!("{} has two {what}", twice[0])));
            }
        }
        if users.is_empty() {
            return Err((1, "there are no users".to_owned()));
        }
        let rounds = users.iter().filter_map(|user| match user.secret {
            Secret::Password { rounds, .. } => Some(rounds.get()),
            Secret::Token(_) | Secret::Certificate => None,
        });
        let rounds = rounds.max().unwrap_or(ROUNDS.get());
        Ok(Users { users, rounds })
    }

    /// How many lines there are.
    pub(crate) fn count(&self) -> usize {
        self.users.len()
    }

    /// The user with this token.
    pub(crate) fn of_token(&self, token: &str) -> Option<Principal> {
        let brought = sha256(token.as_bytes());
        let same = |user: &&User| matches!(&user.secret, Secret::Token(hash) if is_same(hash, &brought));
        self.users.iter().find(same).map(|user| user.principal.clone())
    }

    /// The user whom a certificate names. Of a name with several lines it is the one of `certificate`; where there is none,
    /// the lines have to agree about what the user may do.
    pub(crate) fn of_certificate(&self, names: &[String]) -> Option<Principal> {
        let of = |name: &String| {
            let lines: Vec<&User> = self.users.iter().filter(|user| *user.principal.name == **name).collect();
            let own = lines.iter().find(|user| matches!(user.secret, Secret::Certificate));
            let agree = lines.windows(2).all(|pair| pair[0].principal == pair[1].principal);
            own.or_else(|| lines.first().filter(|_| agree)).map(|user| user.principal.clone())
        };
        names.iter().find_map(of)
    }

    /// The user with this password. It takes as long for every name, so that the time does not show which names exist.
    pub(crate) fn of_password(&self, name: &str, password: &str) -> Option<Principal> {
        let is_named = |u: &&User| &*u.principal.name == name && matches!(u.secret, Secret::Password { .. });
        let named = self.users.iter().find(is_named);
        let Some(User { principal, secret: Secret::Password { rounds, salt, hash }, .. }) = named else {
            spend(self.rounds, password);
            return None;
        };
        let right = pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt, password.as_bytes(), hash);
        spend(self.rounds - rounds.get(), password);
        right.ok().map(|()| principal.clone())
    }
}

/// Takes the time of so many rounds.
fn spend(rounds: u32, password: &str) {
    let Some(rounds) = NonZeroU32::new(rounds) else { return };
    let mut unused = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &[0; SALT_BYTES_MIN], password.as_bytes(), &mut unused);
    std::hint::black_box(unused);
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
            rounds: enough(rounds)?,
            salt: long_enough(bytes(salt)?)?,
            hash: bytes(hash)?.try_into().map_err(|_| "the hash is no SHA-256")?,
        },
        ["certificate"] => Secret::Certificate,
        // Never the secret itself: it may be a password that somebody has written here.
        _ => {
            return Err("the secret is none of pbkdf2-sha256:ROUNDS:SALT:HASH, sha256:HASH and certificate".to_owned());
        }
    };
    Ok(User { principal: Principal::new(name, role, topics), secret })
}

/// Rounds that take an attacker who has the file long enough, and this server not too long.
fn enough(rounds: &str) -> Result<NonZeroU32, String> {
    let number: NonZeroU32 = rounds.parse().map_err(|_| format!("{rounds} is no number of rounds"))?;
    match number.get() {
        n if n < ROUNDS.get() => {
            Err(format!("too few rounds to protect a password: {n}, at least {ROUNDS} are needed"))
        }
        n if n > ROUNDS_MAX => {
            Err(format!("so many rounds take too long to check: {n}, at most {ROUNDS_MAX} are taken"))
        }
        _ => Ok(number),
    }
}

fn long_enough(salt: Vec<u8>) -> Result<Vec<u8>, String> {
    match salt.len() >= SALT_BYTES_MIN {
        true => Ok(salt),
        false => Err(format!("the salt has fewer than {SALT_BYTES_MIN} bytes")),
    }
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

/// A line for a user who brings a certificate.
pub fn certificate_line(name: &str, role: Role) -> Result<String> {
    Ok(format!("{} {} certificate", checked(name)?, role.name()))
}

fn checked(name: &str) -> Result<&str> {
    match name.is_empty() || name.starts_with('#') || name.contains(|c: char| c == ':' || c.is_whitespace()) {
        false => Ok(name),
        true => Err(Error::statement("a user's name has no colon, no space, and no # in front")),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Compares in a time that tells nothing of where they differ.
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
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

    #[test]
    fn a_line_lets_in_who_it_was_written_for() {
        let (token, guest) = token_line("guest", Role::Reader).unwrap();
        let text = format!("# people\n\n{}\n{guest}\n", password_line("alice", Role::Admin, "p:w").unwrap());
        assert!(!text.contains("p:w") && !text.contains(&token));
        let users = Users::parse(&text).unwrap();
        let role = |user: Option<Principal>| user.map(|principal| principal.role);
        assert_eq!(role(users.of_password("alice", "p:w")), Some(Role::Admin));
        assert_eq!(role(users.of_token(&token)), Some(Role::Reader));
        for (name, password) in [("alice", "p"), ("alice", ""), ("guest", "x"), ("guest", token.as_str()), ("", "")] {
            assert_eq!(users.of_password(name, password), None, "{name}:{password}");
        }
        assert_eq!(users.of_token(""), None);
    }

    #[test]
    fn a_certificate_is_for_its_own_line_or_for_lines_that_agree() {
        let hash = "0".repeat(64);
        let lines = [
            &format!("a admin sha256:{hash}"),
            "a reader certificate topics=x",
            &format!("b writer sha256:{hash}"),
            &format!("b admin sha256:{hash}"),
            &format!("c writer sha256:{hash}"),
            &format!("c writer sha256:{hash}"),
        ];
        let users = Users::parse(&lines.join("\n")).unwrap();
        let user = |names: &[&str]| users.of_certificate(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        let own = user(&["a"]).unwrap();
        assert_eq!((own.role, own.topics.is_unlimited()), (Role::Reader, false));
        assert_eq!(user(&["nobody", "c"]).map(|user| user.role), Some(Role::Writer));
        assert_eq!((user(&["b"]), user(&["A"]), user(&[])), (None, None, None));
        assert_eq!(users.of_password("a", ""), None);
        assert_eq!(Users::parse("a admin certificate\na admin certificate").unwrap_err().1, "a has two certificates");
    }

    #[test]
    fn every_name_costs_the_most_rounds_of_the_file() {
        let line = |name: &str, rounds: u32| {
            format!("{name} admin pbkdf2-sha256:{rounds}:{}:{}\n", "0".repeat(32), "0".repeat(64))
        };
        let users = Users::parse(&(line("a", 600_000) + &line("b", 700_000))).unwrap();
        assert_eq!(users.rounds, 700_000);
        assert_eq!(Users::parse("c admin certificate").unwrap().rounds, ROUNDS.get());
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
            ("alice admin hunter2", "the secret is none of"),
            ("alice admin sha256:zz", "hexadecimal"),
            ("alice admin sha256:00", "no SHA-256"),
            ("alice admin pbkdf2-sha256:0:00:00", "0 is no number"),
            ("alice admin pbkdf2-sha256:1:00:00", "too few rounds to protect a password: 1,"),
            ("alice admin pbkdf2-sha256:599999:00:00", "at least 600000"),
            ("alice admin pbkdf2-sha256:4294967295:00:00", "at most 10000000"),
            ("alice admin pbkdf2-sha256:600000:00:00", "the salt has fewer than 16 bytes"),
        ] {
            let (_, message) = Users::parse(text).unwrap_err();
            assert!(message.contains(what) && !message.contains("hunter2"), "{text}: {message}");
        }
        assert!(token_line("a:b", Role::Reader).is_err());
    }
}
