//! The built-in registry as the engine uses it.

use super::query::Filter;
use super::register::{References, Submitted};
use super::store::Version;
use super::{Builtin, Schema};
use crate::catalog::{Guid, SchemaText};
use crate::registry::{Compatibility, Registered, Result, Schemas};
use std::sync::Arc;

impl Builtin {
    fn registered(&self, subject: &str, version: &Version) -> Result<Registered> {
        let schema = self.resolved(&version.schema)?;
        Ok(Registered { subject: subject.to_owned(), version: version.version, id: version.id, schema })
    }

    fn resolved(&self, schema: &Schema) -> Result<Arc<SchemaText>> {
        self.text_of(schema).map(Arc::new)
    }
}

fn submitted(schema: &SchemaText) -> Submitted {
    Submitted {
        kind: schema.kind,
        text: schema.text.to_string(),
        references: References::Resolved(schema.references.clone()),
        id: None,
        version: None,
        normalize: false,
    }
}

impl Schemas for Builtin {
    fn by_id(&self, id: i32, _subject: Option<&str>) -> Result<Arc<SchemaText>> {
        self.resolved(&*self.schema_of(id)?)
    }

    fn by_guid(&self, guid: Guid) -> Result<Arc<SchemaText>> {
        self.resolved(&self.schema_of_guid(guid)?.1)
    }

    fn latest(&self, subject: &str) -> Result<Registered> {
        self.registered(subject, &self.get(subject, None, false)?)
    }

    fn version(&self, subject: &str, version: i32) -> Result<Registered> {
        self.registered(subject, &self.get(subject, Some(version), false)?)
    }

    fn lookup(&self, subject: &str, schema: &SchemaText) -> Result<Registered> {
        self.registered(subject, &self.find_schema(subject, &submitted(schema), false)?)
    }

    fn register(&self, subject: &str, schema: &SchemaText) -> Result<Registered> {
        self.registered(subject, &self.register_schema(subject, &submitted(schema))?)
    }

    fn is_compatible(&self, subject: &str, schema: &SchemaText) -> Result<Compatibility> {
        let messages = self.incompatibilities(subject, None, &submitted(schema))?;
        Ok(match messages.is_empty() {
            true => Compatibility::Compatible,
            false => Compatibility::Incompatible(messages),
        })
    }

    fn delete_subject(&self, subject: &str) -> Result<Vec<i32>> {
        self.delete(subject, false)
    }

    fn subjects_of(&self, id: i32) -> Result<Vec<String>> {
        let mut subjects: Vec<String> =
            self.uses_of(id, Filter::Live)?.into_iter().map(|(subject, _)| subject).collect();
        subjects.dedup();
        Ok(subjects)
    }

    fn subjects(&self) -> Result<Vec<String>> {
        self.subject_names("", Filter::Live)
    }

    fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        self.version_numbers(subject, Filter::Live)
    }
}
