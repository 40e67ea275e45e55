//! Statements that look at the registry: ASSERT SCHEMA, SHOW SCHEMAS, and the schemas in DESCRIBE EXTENDED.

use crate::catalog::{Source, Wire};
use crate::engine::Engine;
use crate::engine::introspect::assert_topic::{ASSERT_STEP, ASSERTION_FAILED, assert_timeout};
use crate::engine::result::entity::{DescribedSchema, Entity, SchemaRow};
use crate::engine::schemas::facts::topic_of;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result, Span};
use crate::parse::statement::AssertSchema;
use crate::registry::{RegistryError, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND};

/// Subjects whose latest version SHOW SCHEMAS looks up, a request each; the others are listed by their names.
const DETAILED_MAX: usize = 500;

impl Engine {
    /// Checks until the schema is as asserted, or the timeout has passed.
    pub(in crate::engine) fn assert_schema(&self, assert: &AssertSchema, text: &str) -> Result<Entity> {
        let AssertSchema { exists, subject, id, timeout_ms } = assert;
        let begin = self.inner.clock.monotonic();
        let timeout = assert_timeout(*timeout_ms);
        loop {
            if self.schema_exists(subject.as_deref(), *id).map_err(|e| e.at(Span::new(0, text.len())))? == *exists {
                return Ok(Entity::AssertedSchema { subject: subject.clone(), id: *id, exists: *exists });
            }
            if self.inner.clock.monotonic() >= begin + timeout {
                let subject = subject.as_ref().map(|subject| format!(" subject name {subject}")).unwrap_or_default();
                let id = id.map(|id| format!(" id {id}")).unwrap_or_default();
                let state = if *exists { "does not exist" } else { "exists" };
                return Err(Error::statement(format!("Schema with{subject}{id} {state}")).with_code(ASSERTION_FAILED));
            }
            self.inner.clock.sleep(ASSERT_STEP);
        }
    }

    fn schema_exists(&self, subject: Option<&str>, id: Option<u64>) -> Result<bool> {
        let check = || {
            let registry = self.registry();
            let id = match id.map(i32::try_from) {
                // No registry has such an id.
                Some(Err(_)) => return Ok(false),
                Some(Ok(id)) => Some(id),
                None => None,
            };
            match (subject, id) {
                (Some(subject), Some(id)) => Ok(registry.subjects_of(id)?.iter().any(|found| found == subject)),
                (Some(subject), None) => registry.versions(subject).map(|versions| !versions.is_empty()),
                (None, Some(id)) => registry.by_id(id, None).map(|_| true),
                (None, None) => Ok(false),
            }
        };
        match check() {
            Ok(exists) => Ok(exists),
            // Apicurio has no codes of its own for some of its responses.
            Err(RegistryError::Refused(error))
                if error.status == 404 && matches!(error.code, SUBJECT_NOT_FOUND | SCHEMA_NOT_FOUND | 404) =>
            {
                Ok(false)
            }
            Err(error) => {
                let text = format!("Cannot check schema existence: {error}");
                Err(Error::statement(text).with_code(ASSERTION_FAILED))
            }
        }
    }

    /// Subjects of the registry, without those of topics that the user may not see.
    pub(in crate::engine) fn show_schemas(&self, session: &Session) -> Result<Entity> {
        let failed = |error: RegistryError| match error {
            RegistryError::Unreachable(reason) => Error::io("the subjects cannot be listed").with_detail(reason),
            RegistryError::Refused(error) => Error::new(Kind::Statement, error.to_string()),
        };
        let registry = self.registry();
        let rights = &session.principal().topics;
        let may_see = |subject: &String| rights.include(topic_of(subject));
        let mut rows = Vec::new();
        for subject in registry.subjects().map_err(failed)?.into_iter().filter(may_see) {
            let latest = if rows.len() < DETAILED_MAX { self.latest(&subject).map_err(failed)? } else { None };
            rows.push(SchemaRow {
                subject,
                latest: latest.map(|latest| (latest.version, latest.id, latest.schema.kind)),
            });
        }
        Ok(Entity::Schemas(rows))
    }

    /// The schemas of a source, and whether there are newer versions. A registry that does not respond says nothing of those.
    pub(in crate::engine) fn described_schemas(&self, source: &Source) -> Vec<DescribedSchema> {
        let described = |part: &'static str, wire: &Wire| {
            let schema = wire.schema.as_deref()?;
            let latest = self.latest(&schema.subject).ok().flatten();
            let newer = latest.map(|latest| latest.version).filter(|version| *version > schema.version);
            let (subject, kind) = (schema.subject.clone(), schema.text.kind);
            let text = schema.text.text.clone();
            Some(DescribedSchema { part, subject, version: schema.version, id: schema.id, kind, text, newer })
        };
        [described("key", &source.key_wire), described("value", &source.value_wire)].into_iter().flatten().collect()
    }
}
