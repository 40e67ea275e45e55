//! The built-in registry: Confluent's API over a topic of the log, in this process.
//!
//! ```text
//! record     records of _schemas and their JSON, in terms of references and modes (terms)
//! store      a fold of the records: subjects, versions, ids, levels, modes
//! topic      the topic: read to its end, followed, appended to
//! register   a schema -> its version of a subject, which is new if need be
//! delete     soft, and then permanently
//! settings   levels of compatibility, modes
//! query      everything that only reads
//! client     the trait `Schemas` for the engine
//! ```
//!
//! It is used unless `ksql.schema.registry.url` names another one. Its state is that of the topic: a second process on the same
//! topic, or Confluent's registry, sees what is registered here and the other way round. Contexts, metadata and rules are
//! not supported: a schema that brings rules is refused, what a foreign record has is kept.

mod client;
mod delete;
mod query;
mod record;
mod refusal;
mod register;
mod settings;
mod store;
mod terms;
mod topic;

pub use query::{Filter, Found};
pub use record::{Record, SchemaRecord};
pub use register::{References, Submitted};
pub use store::{REFERENCES_MAX, Schema, Store, Version};
pub use terms::{Mode, Name};
pub use topic::TOPIC;

use crate::log::Log;
use crate::types::clock::SharedClock;
use std::sync::Arc;
use topic::Topic;

/// Largest text of a schema: with the rest of its record it fits into a record of a topic with Kafka's default settings.
pub const SCHEMA_BYTES_MAX: usize = 1_000_000;
/// Longest name of a subject: a topic's name has 249 characters.
pub const SUBJECT_BYTES_MAX: usize = 1_000;

/// The registry. It reads nothing until it is used, and creates its topic with the first schema.
#[derive(Debug)]
pub struct Builtin {
    topic: Topic,
}

impl Builtin {
    /// Over a log.
    pub fn new(log: Arc<dyn Log>, clock: SharedClock) -> Builtin {
        Builtin { topic: Topic::new(log, clock) }
    }
}
