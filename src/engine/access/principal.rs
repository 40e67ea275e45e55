//! Who executes a statement: the role of a user, and the topics that the user may work with.

use crate::error::{Error, Result};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Error code of a denied statement: ksqlDB's 40300.
pub(in crate::engine) const FORBIDDEN: u32 = 40_300;
/// Patterns in one list of topics: a bound on the cost of each check.
const PATTERNS_MAX: usize = 100;

/// What a user may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Reads: SELECT, SHOW, DESCRIBE, EXPLAIN, PRINT.
    Reader,
    /// Also writes: CREATE, INSERT, ALTER, PAUSE, RESUME, TERMINATE, VERIFY.
    Writer,
    /// Also DROP, the topics of the engine, and the end of the service.
    Admin,
}

impl Role {
    /// The role of this name.
    pub fn named(name: &str) -> Option<Role> {
        [Role::Reader, Role::Writer, Role::Admin].into_iter().find(|role| role.name() == name)
    }

    /// Its name, as in a file of users.
    pub fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The topics that a user may work with: all, or those that match a pattern. A pattern is a topic's name, or a prefix followed
/// by `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRights(Option<Arc<[String]>>);

impl TopicRights {
    /// `orders,clicks-*`
    pub fn parse(list: &str) -> Result<TopicRights, String> {
        let patterns: Vec<String> = list.split(',').map(|pattern| pattern.trim().to_owned()).collect();
        if patterns.len() > PATTERNS_MAX {
            return Err(format!("{} topics are named, at most {PATTERNS_MAX} can be", patterns.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        for pattern in &patterns {
            if pattern.is_empty() || !pattern.strip_suffix('*').unwrap_or(pattern).chars().all(allowed) {
                return Err(format!("{pattern:?} is neither the name of a topic nor a prefix followed by *"));
            }
        }
        Ok(TopicRights(Some(patterns.into())))
    }

    /// Whether all topics are permitted.
    pub fn is_unlimited(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the topic is permitted.
    pub fn include(&self, topic: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => topic == pattern,
        };
        self.0.as_ref().is_none_or(|patterns| patterns.iter().any(fits))
    }
}

impl fmt::Display for TopicRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("all topics"),
            Some(patterns) => write!(f, "{}", patterns.join(", ")),
        }
    }
}

/// The user behind a statement. A [`Session`] carries it from the interface to [`Engine::execute`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's name; `local` on a data directory and on a server without users.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The topics with which they may do it.
    pub topics: TopicRights,
    /// The peer's address, for a connection.
    pub address: Option<SocketAddr>,
    /// The engine itself, which may write on a read-only server, too.
    pub(super) is_engine: bool,
}

impl Principal {
    /// A user.
    pub fn new(name: &str, role: Role, topics: TopicRights) -> Principal {
        Principal { name: name.into(), role, topics, address: None, is_engine: false }
    }

    /// The user of a data directory, or of a server without users: an administrator.
    pub fn local() -> Principal {
        Principal::new("local", Role::Admin, TopicRights::default())
    }

    /// The engine itself, which maintains streams of its own.
    pub(in crate::engine) fn engine() -> Principal {
        Principal { is_engine: true, ..Principal::new("tidegate", Role::Admin, TopicRights::default()) }
    }

    /// The same with the peer's address.
    pub fn at(self, address: Option<SocketAddr>) -> Principal {
        Principal { address, ..self }
    }

    /// An error unless the user has at least this role; `what` names the action, as a statement's words.
    pub fn require(&self, needed: Role, what: &str) -> Result<()> {
        match self.role >= needed {
            true => Ok(()),
            false => Err(Error::statement(format!("{what} requires role {needed}"))
                .with_code(FORBIDDEN)
                .with_detail(format!("{} has role {}", self.name, self.role))
                .with_hint("an administrator assigns roles in the server's users file")),
        }
    }

    /// An error for a user who is limited to some topics, for an action that concerns all of them.
    pub fn require_all_topics(&self, what: &str) -> Result<()> {
        match self.topics.is_unlimited() {
            true => Ok(()),
            false => Err(Error::statement(format!("{what} requires access to all topics"))
                .with_code(FORBIDDEN)
                .with_detail(format!("{} may work with these topics: {}", self.name, self.topics))),
        }
    }
}
