//! Everything that only reads.

use super::store::{Schema, Store, Version};
use super::{Builtin, refusal};
use crate::catalog::{Guid, SchemaText};
use crate::registry::Result;
use crate::registry::schema::Parsed;
use std::sync::Arc;

/// Which versions are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Those that are not deleted.
    #[default]
    Live,
    /// Soft-deleted ones, too.
    All,
    /// Soft-deleted ones only.
    Deleted,
}

/// A version and its subject.
#[derive(Clone, Debug)]
pub struct Found {
    /// The subject.
    pub subject: String,
    /// The version.
    pub version: Version,
}

impl Filter {
    fn takes(self, version: &Version) -> bool {
        match self {
            Filter::Live => !version.is_deleted,
            Filter::All => true,
            Filter::Deleted => version.is_deleted,
        }
    }
}

impl Builtin {
    /// Subjects that start with a prefix and have such a version, sorted.
    pub fn subject_names(&self, prefix: &str, filter: Filter) -> Result<Vec<String>> {
        self.topic.read(|store| {
            let named = store.subjects().filter(|(subject, _)| subject.starts_with(prefix));
            let taken = named.filter(|(_, versions)| match filter {
                // A subject is deleted when nothing of it is live.
                Filter::Deleted => versions.clone().all(|version| version.is_deleted),
                filter => versions.clone().any(|version| filter.takes(version)),
            });
            Ok(taken.map(|(subject, _)| subject.to_owned()).collect())
        })
    }

    /// Numbers of the versions of a subject, ascending.
    pub fn version_numbers(&self, subject: &str, filter: Filter) -> Result<Vec<i32>> {
        self.topic.read(|store| {
            let taken = |filter: Filter| store.versions(subject).filter(move |version| filter.takes(version));
            let exists = if filter == Filter::Live { Filter::Live } else { Filter::All };
            if taken(exists).next().is_none() {
                return Err(refusal::no_subject(subject));
            }
            Ok(taken(filter).map(|version| version.version).collect())
        })
    }

    /// A version of a subject; `None` = the latest.
    pub fn get(&self, subject: &str, number: Option<i32>, deleted: bool) -> Result<Version> {
        self.topic.read(|store| version(store, subject, number, deleted).cloned())
    }

    /// The schema of an id.
    pub fn schema_of(&self, id: i32) -> Result<Arc<Schema>> {
        self.topic.read(|store| store.schema(id).cloned().ok_or_else(|| refusal::no_schema_of(id)))
    }

    /// The schema of a GUID, and its id.
    pub fn schema_of_guid(&self, guid: Guid) -> Result<(i32, Arc<Schema>)> {
        self.topic.read(|store| {
            let found = store.schema_of_guid(guid).map(|(id, schema)| (id, schema.clone()));
            found.ok_or_else(|| refusal::no_schema_of(guid))
        })
    }

    /// The largest id that was ever assigned.
    pub fn last_id(&self) -> Result<i32> {
        self.topic.read(|store| Ok(store.last_id()))
    }

    /// Subjects and versions that have an id.
    pub fn uses_of(&self, id: i32, filter: Filter) -> Result<Vec<(String, i32)>> {
        self.topic.read(|store| {
            if store.schema(id).is_none() {
                return Err(refusal::no_schema_of(id));
            }
            let all = store.subjects().flat_map(|(subject, versions)| versions.map(move |version| (subject, version)));
            let used = all.filter(|(_, version)| version.id == id && filter.takes(version));
            Ok(used.map(|(subject, version)| (subject.to_owned(), version.version)).collect())
        })
    }

    /// Ids of the schemas that refer to a version.
    pub fn referring(&self, subject: &str, number: Option<i32>) -> Result<Vec<i32>> {
        self.topic.read(|store| {
            let version = version(store, subject, number, true)?;
            Ok(store.referring(subject, version.version))
        })
    }

    /// All versions of subjects that start with a prefix; `latest` = of each the latest only.
    pub fn list(&self, prefix: &str, filter: Filter, latest: bool) -> Result<Vec<Found>> {
        self.topic.read(|store| {
            let mut found = Vec::new();
            for (subject, versions) in store.subjects().filter(|(subject, _)| subject.starts_with(prefix)) {
                let own = |version: &Version| Found { subject: subject.to_owned(), version: version.clone() };
                let mut taken = versions.filter(|version| filter.takes(version));
                match latest {
                    true => found.extend(taken.next_back().map(own)),
                    false => found.extend(taken.map(own)),
                }
            }
            Ok(found)
        })
    }

    /// The text of a schema in another form: `serialized` = a Protobuf descriptor in base64. Other schemas have one form.
    pub fn formatted(&self, schema: &Schema, serialized: bool) -> String {
        let parsed = self.text_of(schema).ok().and_then(|text| Parsed::parse(&text, false).ok());
        match parsed {
            Some(Parsed::Protobuf(parsed)) if serialized => parsed.serialized(&schema.text),
            Some(Parsed::Protobuf(parsed)) => parsed.text(&schema.text),
            _ => schema.text.to_string(),
        }
    }

    /// A schema with the texts of its references.
    pub(super) fn text_of(&self, schema: &Schema) -> Result<SchemaText> {
        self.topic.read(|store| store.text(schema).map_err(|why| refusal::unresolved(schema.kind, &why)))
    }
}

/// A version of a subject; `None` = the latest.
pub(super) fn version<'a>(store: &'a Store, subject: &str, number: Option<i32>, deleted: bool) -> Result<&'a Version> {
    let mut taken = store.versions(subject).filter(|version| deleted || !version.is_deleted).peekable();
    if taken.peek().is_none() {
        return Err(refusal::no_subject(subject));
    }
    match number {
        None => taken.next_back().ok_or_else(|| refusal::no_version(-1)),
        Some(number) => taken.find(|version| version.version == number).ok_or_else(|| refusal::no_version(number)),
    }
}
