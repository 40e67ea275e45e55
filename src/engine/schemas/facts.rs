//! What a plan may ask of the registry, and the three that respond: the registry, a sandbox over it, and the command log.

use crate::catalog::{SchemaText, Source, WireSchema};
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::registry::{Compatibility, Registered, RegistryError, Result, SCHEMA_NOT_FOUND};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version and id of a schema that only the sandbox knows.
const NOT_REGISTERED: i32 = -1;

/// What a plan may ask. Nothing is changed.
pub(in crate::engine) trait SchemaFacts {
    /// The schema of an id.
    fn by_id(&mut self, id: i32, subject: &str) -> Result<Arc<SchemaText>>;

    /// The latest version of a subject, if it has one.
    fn latest(&mut self, subject: &str) -> Result<Option<Registered>>;

    /// Whether a schema can be registered.
    fn compatibility(&mut self, subject: &str, schema: &SchemaText) -> Result<Compatibility>;

    /// Whether what a statement registers is left out: a statement of the command log registered it long ago.
    fn is_replay(&self) -> bool {
        false
    }
}

/// The registry as it is now.
pub(in crate::engine) struct Live<'a> {
    pub(super) engine: &'a Engine,
    /// Who asks.
    pub(super) session: &'a Session,
}

impl Live<'_> {
    /// A user who may not read a topic learns nothing of its schemas.
    fn check(&self, subject: &str) -> Result<()> {
        let checked = self.engine.check_topic(self.session, topic_of(subject));
        checked.map_err(|error| RegistryError::refused(403, 403, error.to_string()))
    }
}

impl SchemaFacts for Live<'_> {
    fn by_id(&mut self, id: i32, subject: &str) -> Result<Arc<SchemaText>> {
        self.check(subject)?;
        self.engine.registry().by_id(id, Some(subject))
    }

    fn latest(&mut self, subject: &str) -> Result<Option<Registered>> {
        self.check(subject)?;
        self.engine.latest(subject)
    }

    fn compatibility(&mut self, subject: &str, schema: &SchemaText) -> Result<Compatibility> {
        self.engine.registry().is_compatible(subject, schema)
    }
}

/// Subjects as the statements before this one leave them: `None` = deleted.
#[derive(Debug, Default)]
pub(in crate::engine) struct SchemaSandbox(pub(in crate::engine) BTreeMap<String, Option<SchemaText>>);

/// A sandbox over the registry.
pub(in crate::engine) struct Overlaid<'a> {
    pub(in crate::engine) live: Live<'a>,
    pub(in crate::engine) sandbox: &'a SchemaSandbox,
}

impl SchemaFacts for Overlaid<'_> {
    fn by_id(&mut self, id: i32, subject: &str) -> Result<Arc<SchemaText>> {
        self.live.by_id(id, subject)
    }

    fn latest(&mut self, subject: &str) -> Result<Option<Registered>> {
        match self.sandbox.0.get(subject) {
            None => self.live.latest(subject),
            Some(None) => Ok(None),
            Some(Some(schema)) => Ok(Some(Registered {
                subject: subject.to_owned(),
                version: NOT_REGISTERED,
                id: NOT_REGISTERED,
                schema: Arc::new(schema.clone()),
            })),
        }
    }

    fn compatibility(&mut self, subject: &str, schema: &SchemaText) -> Result<Compatibility> {
        match self.sandbox.0.get(subject) {
            None => self.live.compatibility(subject, schema),
            // Compared with what is registered by then, when the statement is carried out.
            Some(_) => Ok(Compatibility::Compatible),
        }
    }
}

/// What was resolved when a statement was carried out.
pub(in crate::engine) struct AsRecorded<'a>(pub(in crate::engine) &'a Source);

impl SchemaFacts for AsRecorded<'_> {
    fn by_id(&mut self, id: i32, _: &str) -> Result<Arc<SchemaText>> {
        let wires = [&self.0.key_wire, &self.0.value_wire];
        let mut schemas = wires.into_iter().filter_map(|wire| wire.schema.as_deref());
        let found = schemas.find(|schema: &&WireSchema| schema.id == id);
        let text = format!("the command log does not have the schema with id {id}");
        found
            .map(|schema| Arc::new(schema.text.clone()))
            .ok_or_else(|| RegistryError::refused(404, SCHEMA_NOT_FOUND, text))
    }

    fn latest(&mut self, _: &str) -> Result<Option<Registered>> {
        Ok(None)
    }

    fn compatibility(&mut self, _: &str, _: &SchemaText) -> Result<Compatibility> {
        Ok(Compatibility::Compatible)
    }

    fn is_replay(&self) -> bool {
        true
    }
}

/// The topic to which a subject belongs; the whole subject, if it is none of a topic.
pub(in crate::engine) fn topic_of(subject: &str) -> &str {
    subject.strip_suffix("-value").or_else(|| subject.strip_suffix("-key")).unwrap_or(subject)
}
