//! The mark of a command, which no query can forge: a MAC under a secret of its log.
//!
//! ```text
//! offset 0..9    commands of an earlier build, without a mark: replayed as they are
//! offset 10      the epoch: {"format":2,"engine":"0.1.0","epoch":"<secret>"}   header tidegate-epoch
//! offset 11      a command                                                     header tidegate-command = HMAC-SHA256
//! offset 12      a record without a header, or with another MAC: not a command
//! ```
//!
//! Queries and INSERT add no headers; a sink forwards those of its source's records, whose MAC covers another value. So neither
//! rows nor copies of commands pass for commands. The epoch is written at the first start of a build that supports it: from then
//! on a record without a mark is ignored. Clients that may read and write the topic directly are a matter of the cluster's ACLs.

use crate::config::random_id;
use crate::error::{Error, Result};
use crate::log::{Header, HeadersRef, RecordSet};
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Version of the format of epochs and marks.
const MARK_FORMAT: u32 = 2;
/// Epochs before the first marked command, which selects one: there are two if a process died while it wrote the first.
const EPOCHS_MAX: usize = 8;

/// The role of a marked record. It is authenticated, so that one role cannot pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The secret of what follows.
    Epoch,
    /// A command.
    Command,
    /// What `tidegate repair` has removed.
    Repair,
    /// The service was terminated: all of its processes end.
    End,
}

impl Role {
    const ALL: [Role; 4] = [Role::Epoch, Role::Command, Role::Repair, Role::End];

    /// The name of the header.
    fn header(self) -> &'static str {
        match self {
            Role::Epoch => "tidegate-epoch",
            Role::Command => "tidegate-command",
            Role::Repair => "tidegate-repair",
            Role::End => "tidegate-end",
        }
    }
}

/// The secret of a log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[derive(Serialize, Deserialize)]
struct Epoch {
    format: u32,
    engine: String,
    epoch: String,
}

impl Secret {
    /// 256 random bits.
    pub(super) fn random() -> Result<Secret> {
        Ok(Secret(format!("{:032x}{:032x}", random_id()?, random_id()?)))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes())
    }

    /// What is authenticated: the role and the value.
    fn text(role: Role, value: &[u8]) -> Vec<u8> {
        [role.header().as_bytes(), &[0], value].concat()
    }

    fn holds(&self, role: Role, value: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.key(), &Secret::text(role, value), mac).is_ok()
    }

    /// Adds a marked record.
    pub(super) fn push(&self, set: &mut RecordSet, role: Role, now_ms: i64, key: &str, value: &[u8]) {
        let mac = hmac::sign(&self.key(), &Secret::text(role, value)).as_ref().to_vec();
        let header = Header { key: role.header().to_owned(), value: Some(mac) };
        set.headers.push((set.rows.len() as u32, vec![header]));
        set.push(0, now_ms, Some(key.as_bytes()), Some(value));
    }

    /// Adds the epoch with this secret.
    pub(super) fn push_epoch(&self, set: &mut RecordSet, now_ms: i64, engine: &str) -> Result<()> {
        let epoch = Epoch { format: MARK_FORMAT, engine: engine.to_owned(), epoch: self.0.clone() };
        let value = serde_json::to_vec(&epoch).map_err(|e| Error::bug("an epoch cannot be written").because(e))?;
        self.push(set, Role::Epoch, now_ms, "epoch", &value);
        Ok(())
    }
}

/// The verdict on a record's mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is no epoch yet, and no mark.
    Unmarked,
    /// Written by the service.
    Genuine(Role),
    /// Not written by the service.
    Foreign(&'static str),
    /// Written by a newer build.
    Newer(String),
}

/// Checks the marks of a log's records, in order.
#[derive(Debug, Default)]
pub(super) struct Judge {
    secrets: Vec<Secret>,
    /// A marked record has selected the secret.
    decided: bool,
}

impl Judge {
    /// The secret for new records, if there is one. All processes that have read as far choose the same.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.secrets.last()
    }

    pub(super) fn judge(&mut self, value: &[u8], headers: &HeadersRef<'_>) -> Verdict {
        let headers = headers.to_vec();
        let found = Role::ALL.into_iter().find_map(|role| {
            let header = headers.iter().find(|h| h.key == role.header())?;
            Some((role, header.value.as_deref().unwrap_or_default()))
        });
        match found {
            None if self.secrets.is_empty() => Verdict::Unmarked,
            None => Verdict::Foreign("it does not carry the mark of this service's commands"),
            Some((Role::Epoch, mac)) => self.epoch(value, mac),
            Some((role, mac)) => match self.secrets.iter().find(|secret| secret.holds(role, value, mac)).cloned() {
                None => Verdict::Foreign("its mark is not that of this service's commands"),
                Some(secret) => {
                    (self.secrets, self.decided) = (vec![secret], true);
                    Verdict::Genuine(role)
                }
            },
        }
    }

    fn epoch(&mut self, value: &[u8], mac: &[u8]) -> Verdict {
        let Ok(epoch) = serde_json::from_slice::<Epoch>(value) else {
            return Verdict::Foreign("it is no epoch, though it is marked as one");
        };
        if epoch.format > MARK_FORMAT {
            return Verdict::Newer(epoch.engine);
        }
        let secret = Secret(epoch.epoch);
        if !secret.holds(Role::Epoch, value, mac) {
            return Verdict::Foreign("it is an epoch with a wrong mark");
        }
        // A retry after a lost response.
        if self.secrets.contains(&secret) {
            return Verdict::Genuine(Role::Epoch);
        }
        if self.decided || self.secrets.len() >= EPOCHS_MAX {
            return Verdict::Foreign("it is an epoch after the first one");
        }
        self.secrets.push(secret);
        Verdict::Genuine(Role::Epoch)
    }
}
