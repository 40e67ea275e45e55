//! The file of users: their names and roles, and how each authenticates.
//!
//! ```text
//! # name  role    secret: the hash of a password or of a bearer token        topics: all if not named
//! alice   admin   $pbkdf2-sha256$i=600000,l=32$<salt>$<hash>
//! grafana reader  sha256:<hash of the token>                                 topics=orders,clicks-*
//! loader  writer  certificate
//! ```
//!
//! `tidegate user` writes such lines. A password is a PHC string (<https://github.com/P-H-C/phc-string-format>), with the
//! parameters of RustCrypto's `pbkdf2`; `pbkdf2-sha256:ROUNDS:SALT:HASH` in hexadecimal, which
//! earlier versions wrote, is still read. `SCRAM-SHA-256$...` is a password as Postgres keeps it ([`super::verifier`]). A token is 256 random bits, so that one round of SHA-256 protects it.
//!
//! Checking a password takes a tenth of a second, on purpose: [`super::login`] bounds how many are checked. `certificate` means
//! a client certificate of the authority that the server trusts (`--client-ca`); one with that name also authenticates a user
//! who has a password or a token.

use super::verifier::{self, Verifier};
pub(crate) use super::verifier::{HASH_BYTES, is_same, sha256};
use crate::config::random_id;
use crate::engine::access::{Principal, Role, TopicRights};
use crate::error::{Error, Result};
use phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use ring::pbkdf2;
use std::num::NonZeroU32;
use std::path::Path;

/// Rounds of PBKDF2 for new passwords, and the fewest that are accepted: OWASP's recommendation for SHA-256.
pub const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("not zero");
/// The most rounds that are accepted: two seconds of a core for each check.
const ROUNDS_MAX: u32 = 10_000_000;
/// The shortest salt that is accepted (NIST SP 800-132, section 5.1).
const SALT_BYTES_MIN: usize = 16;
/// The algorithm of passwords, as PHC strings name it, and its parameters: rounds and length of the hash.
const ALGORITHM: Ident = Ident::new_unwrap("pbkdf2-sha256");
const ROUNDS_PARAMETER: &str = "i";
const LENGTH_PARAMETER: &str = "l";

const NOT_SHA256: &str = "the hash is not a SHA-256";

/// How a user authenticates.
#[derive(Debug)]
enum Secret {
    Password { rounds: NonZeroU32, salt: Vec<u8>, hash: [u8; HASH_BYTES] },
    Scram(Verifier),
    Token([u8; HASH_BYTES]),
    Certificate,
}

#[derive(Debug)]
struct User {
    principal: Principal,
    secret: Secret,
}

/// All users.
#[derive(Debug)]
pub struct Users {
    users: Vec<User>,
    /// The largest number of rounds in the file: every check takes as many, whether the user exists or not.
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

    /// One user, who authenticates with the token that is returned.
    pub(crate) fn of_token(name: &str, role: Role) -> Result<(Users, String)> {
        let (token, line) = token_line(name, role)?;
        let users = Users::parse(&line).map_err(|(_, what)| Error::bug(format!("a users line of our own: {what}")))?;
        Ok((users, token))
    }

    fn parse(text: &str) -> Result<Users, (usize, String)> {
        let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let users: Vec<User> = lines.map(|(n, line)| user(line).map_err(|e| (n, e))).collect::<Result<_, _>>()?;
        type Is = fn(&Secret) -> bool;
        let once: [(&str, Is); 2] = [
            ("passwords", |secret| matches!(secret, Secret::Password { .. } | Secret::Scram(_))),
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
            return Err((1, "no users".to_owned()));
        }
        let rounds = users.iter().filter_map(|user| match user.secret {
            Secret::Password { rounds, .. } | Secret::Scram(Verifier { rounds, .. }) => Some(rounds.get()),
            Secret::Token(_) | Secret::Certificate => None,
        });
        let rounds = rounds.max().unwrap_or(ROUNDS.get());
        Ok(Users { users, rounds })
    }

    /// Number of lines.
    pub(crate) fn count(&self) -> usize {
        self.users.len()
    }

    /// The user with this token.
    pub(crate) fn by_token(&self, token: &str) -> Option<Principal> {
        let presented = sha256(token.as_bytes());
        let same = |user: &&User| matches!(&user.secret, Secret::Token(hash) if is_same(hash, &presented));
        self.users.iter().find(same).map(|user| user.principal.clone())
    }

    /// The user whom a certificate names. If a name has several lines, that of `certificate` counts; without one, the lines have
    /// to grant the same rights.
    pub(crate) fn by_certificate(&self, names: &[String]) -> Option<Principal> {
        let of = |name: &String| {
            let lines: Vec<&User> = self.users.iter().filter(|user| *user.principal.name == **name).collect();
            let own = lines.iter().find(|user| matches!(user.secret, Secret::Certificate));
            let agree = lines.windows(2).all(|pair| pair[0].principal == pair[1].principal);
            own.or_else(|| lines.first().filter(|_| agree)).map(|user| user.principal.clone())
        };
        names.iter().find_map(of)
    }

    /// The user with this password. It takes the same time for every name, so that the time does not reveal which names exist.
    pub(crate) fn by_password(&self, name: &str, password: &str) -> Option<Principal> {
        let Some((principal, rounds, right)) = self.with_password(name).and_then(|user| match &user.secret {
            Secret::Password { rounds, salt, hash } => {
                let right = pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, salt, password.as_bytes(), hash);
                Some((&user.principal, rounds, right.is_ok()))
            }
            Secret::Scram(verifier) => Some((&user.principal, &verifier.rounds, verifier.is_of(password))),
            Secret::Token(_) | Secret::Certificate => None,
        }) else {
            burn(self.rounds, password);
            return None;
        };
        burn(self.rounds - rounds.get(), password);
        right.then(|| principal.clone())
    }

    /// The user of this name who has a password.
    fn with_password(&self, name: &str) -> Option<&User> {
        let is_named = |user: &&User| {
            &*user.principal.name == name && matches!(user.secret, Secret::Password { .. } | Secret::Scram(_))
        };
        self.users.iter().find(is_named)
    }

    /// The user of this name who has a password, and what SCRAM needs of it.
    pub(crate) fn verifier(&self, name: &str) -> Option<(Principal, Verifier)> {
        let user = self.with_password(name)?;
        let verifier = match &user.secret {
            Secret::Password { rounds, salt, hash } => Verifier::of_salted(hash, salt.clone(), *rounds),
            Secret::Scram(verifier) => verifier.clone(),
            Secret::Token(_) | Secret::Certificate => return None,
        };
        Some((user.principal.clone(), verifier))
    }

    /// Whether a user of this name has a token and no password.
    pub(crate) fn has_only_token(&self, name: &str) -> bool {
        let is_of = |user: &User| &*user.principal.name == name && matches!(user.secret, Secret::Token(_));
        self.with_password(name).is_none() && self.users.iter().any(is_of)
    }

    /// The rounds that SCRAM names for a user whom the file does not contain.
    pub(crate) fn rounds_of_others(&self) -> NonZeroU32 {
        NonZeroU32::new(self.rounds).unwrap_or(ROUNDS)
    }
}

/// Takes as long as this many rounds.
fn burn(rounds: u32, password: &str) {
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
        _ => return Err(format!("expected 3 or 4 words, got {}", parts.len())),
    };
    let topics = match topics.map(|topics| topics.strip_prefix("topics=")) {
        None => TopicRights::default(),
        Some(Some(list)) => TopicRights::parse(list)?,
        // Never shows the word itself: it may be part of a password.
        Some(None) => return Err("expected topics=NAME,PREFIX*,... after the secret".to_owned()),
    };
    let role = Role::named(role).ok_or_else(|| format!("unknown role {role}, expected reader, writer or admin"))?;
    Ok(User { principal: Principal::new(name, role, topics), secret: read_secret(secret)? })
}

fn read_secret(secret: &str) -> Result<Secret, String> {
    if secret.starts_with('$') {
        return read_phc(secret);
    }
    if secret.starts_with(verifier::PREFIX) {
        return Verifier::parse(secret).map(Secret::Scram);
    }
    let parts: Vec<&str> = secret.split(':').collect();
    Ok(match parts[..] {
        ["sha256", hash] => Secret::Token(from_hex(hash)?.try_into().map_err(|_| NOT_SHA256)?),
        ["pbkdf2-sha256", rounds, salt, hash] => Secret::Password {
            rounds: checked_rounds(rounds)?,
            salt: checked_salt(from_hex(salt)?)?,
            hash: from_hex(hash)?.try_into().map_err(|_| NOT_SHA256)?,
        },
        ["certificate"] => Secret::Certificate,
        // Never shows the secret itself: it may be a password in plain text.
        _ => {
            return Err("invalid secret, expected a PHC string of pbkdf2-sha256, sha256:HASH or certificate".to_owned());
        }
    })
}

/// `$pbkdf2-sha256$i=ROUNDS,l=32$SALT$HASH`
fn read_phc(text: &str) -> Result<Secret, String> {
    let phc = PasswordHash::new(text).map_err(|e| format!("invalid PHC string: {e}"))?;
    if phc.algorithm != ALGORITHM || phc.version.is_some() {
        return Err(format!("unsupported password hash, expected ${ALGORITHM}$"));
    }
    if let Some((unknown, _)) =
        phc.params.iter().find(|(name, _)| ![ROUNDS_PARAMETER, LENGTH_PARAMETER].contains(&&**name))
    {
        return Err(format!("unknown parameter {unknown} of the password hash"));
    }
    let rounds = phc.params.get_str(ROUNDS_PARAMETER).ok_or("the password hash has no number of rounds, i=ROUNDS")?;
    let (salt, hash) = phc.salt.zip(phc.hash).ok_or("the password hash has no salt or no hash")?;
    Ok(Secret::Password {
        rounds: checked_rounds(rounds)?,
        salt: checked_salt(salt.to_vec())?,
        hash: hash.as_bytes().try_into().map_err(|_| NOT_SHA256)?,
    })
}

fn write_phc(rounds: NonZeroU32, salt: &[u8], hash: &[u8; HASH_BYTES]) -> phc::Result<String> {
    let mut params = ParamsString::new();
    params.add_decimal(ROUNDS_PARAMETER, rounds.get())?;
    params.add_decimal(LENGTH_PARAMETER, HASH_BYTES as u32)?;
    let (salt, hash) = (Some(Salt::new(salt)?), Some(Output::new(hash)?));
    Ok(PasswordHash { algorithm: ALGORITHM, version: None, params, salt, hash }.to_string())
}

/// Enough rounds to slow down an attacker who has the file, and not so many that they slow down this server.
fn checked_rounds(rounds: &str) -> Result<NonZeroU32, String> {
    let number: NonZeroU32 = rounds.parse().map_err(|_| format!("invalid number of rounds {rounds}"))?;
    match number.get() {
        n if n < ROUNDS.get() => Err(format!("too few rounds to protect a password: {n}, expected at least {ROUNDS}")),
        n if n > ROUNDS_MAX => Err(format!("too many rounds to check in time: {n}, expected at most {ROUNDS_MAX}")),
        _ => Ok(number),
    }
}

fn checked_salt(salt: Vec<u8>) -> Result<Vec<u8>, String> {
    match salt.len() >= SALT_BYTES_MIN {
        true => Ok(salt),
        false => Err(format!("the salt is shorter than {SALT_BYTES_MIN} bytes")),
    }
}

/// A line for a user with a password.
pub fn password_line(name: &str, role: Role, password: &str) -> Result<String> {
    let salt = random_id()?.to_be_bytes();
    let mut hash = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), &mut hash);
    let secret =
        write_phc(ROUNDS, &salt, &hash).map_err(|e| Error::bug("a password hash cannot be written").because(e))?;
    Ok(format!("{} {} {secret}", checked_name(name)?, role.name()))
}

/// A line for a user with a password, as Postgres keeps it.
pub fn scram_line(name: &str, role: Role, password: &str) -> Result<String> {
    let salt = random_id()?.to_be_bytes().to_vec();
    let verifier = Verifier::of_password(password, salt, verifier::ROUNDS);
    Ok(format!("{} {} {verifier}", checked_name(name)?, role.name()))
}

/// A new token, and a line for its user.
pub fn token_line(name: &str, role: Role) -> Result<(String, String)> {
    let token = format!("{:032x}{:032x}", random_id()?, random_id()?);
    let line = format!("{} {} sha256:{}", checked_name(name)?, role.name(), hex(&sha256(token.as_bytes())));
    Ok((token, line))
}

/// A line for a user with a client certificate.
pub fn certificate_line(name: &str, role: Role) -> Result<String> {
    Ok(format!("{} {} certificate", checked_name(name)?, role.name()))
}

fn checked_name(name: &str) -> Result<&str> {
    match name.is_empty() || name.starts_with('#') || name.contains(|c: char| c == ':' || c.is_whitespace()) {
        false => Ok(name),
        true => Err(Error::statement("a user name must not be empty, contain a colon or a space, or start with #")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(hex: &str) -> Result<Vec<u8>, String> {
    let digit = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let decoded: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
    decoded.filter(|_| hex.len().is_multiple_of(2)).ok_or_else(|| "a hash or salt is not hexadecimal".to_owned())
}

/// A user, for tests of what keeps users.
#[cfg(test)]
pub(crate) fn reader(name: &str) -> Principal {
    Principal::new(name, Role::Reader, TopicRights::default())
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
        assert_eq!(role(users.by_password("alice", "p:w")), Some(Role::Admin));
        assert_eq!(role(users.by_token(&token)), Some(Role::Reader));
        for (name, password) in [("alice", "p"), ("alice", ""), ("guest", "x"), ("guest", token.as_str()), ("", "")] {
            assert_eq!(users.by_password(name, password), None, "{name}:{password}");
        }
        assert_eq!(users.by_token(""), None);
    }

    #[test]
    fn a_scram_line_is_for_passwords_of_both_doors() {
        let text = scram_line("alice", Role::Writer, "p:w").unwrap();
        assert!(text.starts_with("alice writer SCRAM-SHA-256$100000:"), "{text}");
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.by_password("alice", "p:w").map(|user| user.role), Some(Role::Writer));
        assert_eq!(users.by_password("alice", "p"), None);
        let (user, verifier) = users.verifier("alice").unwrap();
        assert!(&*user.name == "alice" && verifier.is_of("p:w"));
        assert!(users.verifier("bob").is_none());
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
        let user = |names: &[&str]| users.by_certificate(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        let own = user(&["a"]).unwrap();
        assert_eq!((own.role, own.topics.is_unlimited()), (Role::Reader, false));
        assert_eq!(user(&["nobody", "c"]).map(|user| user.role), Some(Role::Writer));
        assert_eq!((user(&["b"]), user(&["A"]), user(&[])), (None, None, None));
        assert_eq!(users.by_password("a", ""), None);
        assert_eq!(Users::parse("a admin certificate\na admin certificate").unwrap_err().1, "a has two certificates");
    }

    /// The hashes of "password" with sixteen bytes `salt...`, made with Python's hashlib.pbkdf2_hmac, in the syntax of today and
    /// in that of earlier versions.
    #[test]
    fn hashes_of_other_programs_and_of_earlier_versions_are_read() {
        let phc = "$pbkdf2-sha256$i=600000,l=32$c2FsdHNhbHRzYWx0c2FsdA$MlfPduVqnMTjr6Vhw/1NqmlSth6RxONllVEhBCz7lKI";
        let former = "pbkdf2-sha256:600000:73616c7473616c7473616c7473616c74:3257cf76e56a9cc4e3afa561c3fd4daa6952b61e91c4e365955121042cfb94a2";
        for secret in [phc, former] {
            let users = Users::parse(&format!("alice writer {secret}")).unwrap();
            assert_eq!(users.by_password("alice", "password").map(|user| user.role), Some(Role::Writer), "{secret}");
            assert_eq!(users.by_password("alice", "passwort"), None, "{secret}");
        }
        let line = password_line("bob", Role::Reader, "x").unwrap();
        assert!(line.starts_with("bob reader $pbkdf2-sha256$i=600000,l=32$"), "{line}");
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
            ("", "no users"),
            ("alice admin", "3 or 4 words, got 2"),
            ("alice admin sha256:00 hunter2", "after the secret"),
            ("alice admin sha256:00 topics=a b", "got 5"),
            ("alice admin sha256:00 topics=a,*b", "\"*b\" is neither"),
            ("alice boss sha256:00", "unknown role boss"),
            ("alice admin hunter2", "invalid secret"),
            ("alice admin sha256:zz", "hexadecimal"),
            ("alice admin sha256:00", "not a SHA-256"),
            ("alice admin pbkdf2-sha256:0:00:00", "invalid number of rounds 0"),
            ("alice admin pbkdf2-sha256:1:00:00", "too few rounds to protect a password: 1,"),
            ("alice admin pbkdf2-sha256:599999:00:00", "at least 600000"),
            ("alice admin pbkdf2-sha256:4294967295:00:00", "at most 10000000"),
            ("alice admin pbkdf2-sha256:600000:00:00", "the salt is shorter than 16 bytes"),
            ("alice admin $hunter2", "unsupported password hash"),
            ("alice admin $argon2id$v=19$m=1,t=1$hunter2hunter2$", "invalid PHC string"),
            (
                "alice admin $pbkdf2-sha512$i=600000$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA",
                "unsupported password hash",
            ),
            ("alice admin $pbkdf2-sha256$i=600000,x=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA", "unknown parameter x"),
            ("alice admin $pbkdf2-sha256$l=32$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA", "no number of rounds"),
            ("alice admin $pbkdf2-sha256$i=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA", "too few rounds"),
            ("alice admin $pbkdf2-sha256$i=600000$AAAAAAAAAAA$AAAAAAAAAAAAAAAA", "the salt is shorter"),
            ("alice admin $pbkdf2-sha256$i=600000$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAA", "not a SHA-256"),
            ("alice admin $pbkdf2-sha256$i=600000", "no salt"),
        ] {
            let (_, message) = Users::parse(text).unwrap_err();
            assert!(message.contains(what) && !message.contains("hunter2"), "{text}: {message}");
        }
        assert!(token_line("a:b", Role::Reader).is_err());
    }
}
