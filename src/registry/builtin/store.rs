//! The content of the registry: a fold of the records of `_schemas`. Pure: no topic, no clock.
//!
//! ```text
//! SCHEMA t-value 1 id 1          t-value: 1 -> id 1
//! SCHEMA u-value 1 id 1          u-value: 1 -> id 1                    one schema has one id
//! DELETE_SUBJECT t-value 1       t-value: 1 -> id 1, soft-deleted      the id still resolves
//! SCHEMA t-value 1 null          t-value is gone                       id 1 is still that of u-value
//! ```
//!
//! Of two records that assign one id to two schemas the first counts: two processes may write at the same time, and both reach
//! the same state. A later record of a version replaces the earlier one.

use super::record::{Record, SchemaRecord};
use super::terms::{Mode, Name};
use crate::catalog::{Guid, Reference, SchemaText, SchemaType};
use crate::registry::compatibility::Level;
use crate::registry::schema::Parsed;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Schemas that one schema may refer to, directly or not. It also bounds the recursion: references form no cycle, because a
/// version exists before others refer to it, but a foreign topic may claim anything.
pub const REFERENCES_MAX: usize = 256;

/// The state.
#[derive(Debug, Default)]
pub struct Store {
    subjects: BTreeMap<String, BTreeMap<i32, Version>>,
    /// Schemas by id, with the number of versions that have it.
    schemas: BTreeMap<i32, (Arc<Schema>, usize)>,
    /// Ids by language and identity; there are several where only the references differ.
    identities: HashMap<(SchemaType, Identity), Vec<i32>>,
    /// The largest id that was ever assigned.
    last_id: i32,
    level: Option<Level>,
    levels: BTreeMap<String, Level>,
    mode: Option<Mode>,
    modes: BTreeMap<String, Mode>,
}

/// SHA-256 of the text that identifies a schema.
type Identity = [u8; 32];

/// A version of a subject.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its number.
    pub version: i32,
    /// Id of the schema.
    pub id: i32,
    /// The schema.
    pub schema: Arc<Schema>,
    /// Whether it is soft-deleted.
    pub is_deleted: bool,
}

/// A schema as it is stored.
#[derive(Debug, PartialEq)]
pub struct Schema {
    /// Its language.
    pub kind: SchemaType,
    /// Its text.
    pub text: Arc<str>,
    /// Its direct references.
    pub references: Vec<Name>,
    /// Members of its record that have no meaning here.
    pub rest: Map<String, Value>,
    /// Its GUID: that of its record, where Confluent's registry wrote one, else derived from text and references.
    pub guid: Guid,
    identity: Identity,
}

impl Schema {
    /// The schema of a record, with the text that identifies it.
    pub(super) fn of(record: &SchemaRecord, identity: &str) -> Schema {
        Schema::with(record.clone(), sha256(identity))
    }

    fn with(record: SchemaRecord, identity: Identity) -> Schema {
        let SchemaRecord { kind, text, references, rest, .. } = record;
        let given = rest.get("guid").and_then(Value::as_str).and_then(Guid::parse);
        let names = references.iter().map(|r| (r.name.as_str(), r.subject.as_str(), r.version));
        let guid = given.unwrap_or_else(|| Guid::derive(&text, names));
        Schema { kind, text: text.into(), references, rest, guid, identity }
    }

    /// Whether the direct references are these, in any order.
    pub fn refers_as(&self, references: &[Name]) -> bool {
        let sorted = |names: &[Name]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        sorted(&self.references) == sorted(references)
    }
}

fn sha256(text: &str) -> Identity {
    let mut identity = [0; 32];
    identity.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    identity
}

impl Store {
    /// Applies the next record; an error says why it is ignored.
    pub fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Schema(record) => return self.put(*record),
            Record::NoSchema { subject, version } => self.remove(&subject, version),
            Record::Level { subject: None, level } => self.level = level,
            Record::Level { subject: Some(subject), level } => set(&mut self.levels, subject, level),
            Record::Mode { subject: None, mode } => self.mode = mode,
            Record::Mode { subject: Some(subject), mode } => set(&mut self.modes, subject, mode),
            Record::DeleteSubject { subject, version: last } => {
                let versions = self.subjects.get_mut(&subject).into_iter().flatten();
                versions.filter(|(version, _)| **version <= last).for_each(|(_, version)| version.is_deleted = true);
            }
            Record::Clear { subject } => self.clear(subject.as_deref()),
            Record::LastId(id) => self.last_id = self.last_id.max(id),
        }
        Ok(())
    }

    fn put(&mut self, record: SchemaRecord) -> Result<(), String> {
        let identity = self.identity_of(&record);
        let SchemaRecord { subject, version, id, kind, is_deleted, .. } = record.clone();
        if let Some((known, uses)) = self.schemas.get(&id)
            && (known.kind, known.identity) != (kind, identity)
        {
            let here = self.subjects.get(&subject).and_then(|versions| versions.get(&version));
            // The only version of an id may be rewritten with another text.
            if *uses > 1 || here.is_none_or(|here| here.id != id) {
                return Err(format!("id {id} of version {version} of {subject} belongs to another schema"));
            }
        }
        self.remove(&subject, version);
        let schema = match self.schemas.get_mut(&id) {
            Some((schema, uses)) => {
                *uses += 1;
                schema.clone()
            }
            None => {
                let schema = Arc::new(Schema::with(record, identity));
                self.schemas.insert(id, (schema.clone(), 1));
                let ids = self.identities.entry((kind, identity)).or_default();
                ids.push(id);
                ids.sort_unstable();
                schema
            }
        };
        self.last_id = self.last_id.max(id);
        let version = Version { version, id, schema, is_deleted };
        self.subjects.entry(subject).or_default().insert(version.version, version);
        Ok(())
    }

    /// A foreign text is compared by its canonical form, too; one that cannot be read is compared as it is.
    fn identity_of(&self, record: &SchemaRecord) -> Identity {
        let references = self.resolve(&record.references).unwrap_or_default();
        let text = SchemaText { kind: record.kind, text: record.text.as_str().into(), references };
        match Parsed::parse(&text, false) {
            Ok(parsed) => sha256(&parsed.identity()),
            Err(_) => sha256(&record.text),
        }
    }

    fn remove(&mut self, subject: &str, version: i32) {
        let Some(versions) = self.subjects.get_mut(subject) else { return };
        let removed = versions.remove(&version);
        if versions.is_empty() {
            self.subjects.remove(subject);
        }
        let Some(removed) = removed else { return };
        let Some((schema, uses)) = self.schemas.get_mut(&removed.id) else { return };
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        let key = (schema.kind, schema.identity);
        self.schemas.remove(&removed.id);
        if let Some(ids) = self.identities.get_mut(&key) {
            ids.retain(|id| *id != removed.id);
            if ids.is_empty() {
                self.identities.remove(&key);
            }
        }
    }

    fn clear(&mut self, subject: Option<&str>) {
        let all = self.subjects.iter().filter(|(name, _)| subject.is_none_or(|subject| subject == *name));
        let deleted = all.flat_map(|(name, versions)| {
            versions.values().filter(|version| version.is_deleted).map(move |version| (name.clone(), version.version))
        });
        for (subject, version) in deleted.collect::<Vec<_>>() {
            self.remove(&subject, version);
        }
    }

    /// The schema of an id.
    pub fn schema(&self, id: i32) -> Option<&Arc<Schema>> {
        self.schemas.get(&id).map(|(schema, _)| schema)
    }

    /// The schema of a GUID, and its id. Asked once for each GUID that a reader meets, so that no index is kept.
    pub fn schema_of_guid(&self, guid: Guid) -> Option<(i32, &Arc<Schema>)> {
        let mut all = self.schemas.iter().map(|(id, (schema, _))| (*id, schema));
        all.find(|(_, schema)| schema.guid == guid)
    }

    /// All subjects with their versions, soft-deleted ones included.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, impl DoubleEndedIterator<Item = &Version> + Clone)> {
        self.subjects.iter().map(|(subject, versions)| (subject.as_str(), versions.values()))
    }

    /// Versions of a subject, ascending, soft-deleted ones included.
    pub fn versions(&self, subject: &str) -> impl DoubleEndedIterator<Item = &Version> {
        self.subjects.get(subject).into_iter().flat_map(|versions| versions.values())
    }

    /// Versions of a subject that are not deleted, ascending.
    pub fn live(&self, subject: &str) -> impl DoubleEndedIterator<Item = &Version> {
        self.versions(subject).filter(|version| !version.is_deleted)
    }

    /// Ids of the schemas with this identity, ascending.
    pub fn known(&self, kind: SchemaType, identity: &str) -> &[i32] {
        self.identities.get(&(kind, sha256(identity))).map_or(&[], Vec::as_slice)
    }

    /// The largest id that was ever assigned.
    pub fn last_id(&self) -> i32 {
        self.last_id
    }

    /// The level that is set for a subject, or globally.
    pub fn level(&self, subject: Option<&str>) -> Option<Level> {
        subject.map_or(self.level, |subject| self.levels.get(subject).copied())
    }

    /// The level that applies to a subject.
    pub fn level_for(&self, subject: &str) -> Level {
        self.level(Some(subject)).or(self.level).unwrap_or_default()
    }

    /// The mode that is set for a subject, or globally.
    pub fn mode(&self, subject: Option<&str>) -> Option<Mode> {
        subject.map_or(self.mode, |subject| self.modes.get(subject).copied())
    }

    /// The mode that applies to a subject, or globally.
    pub fn mode_for(&self, subject: Option<&str>) -> Mode {
        self.mode(subject).or(self.mode).unwrap_or_default()
    }

    /// Ids of the schemas of live versions that refer to a version, ascending.
    pub fn referring(&self, subject: &str, version: i32) -> Vec<i32> {
        let refers = |schema: &Schema| {
            schema.references.iter().any(|reference| reference.subject == subject && reference.version == version)
        };
        let live = self.subjects.values().flat_map(BTreeMap::values).filter(|version| !version.is_deleted);
        let mut ids: Vec<i32> = live.filter(|version| refers(&version.schema)).map(|version| version.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The texts of these references, each after those that it refers to itself.
    pub fn resolve(&self, references: &[Name]) -> Result<Vec<Reference>, Unresolved> {
        let mut resolving = Resolving { store: self, found: Vec::new(), seen: HashSet::new() };
        references.iter().try_for_each(|reference| resolving.take(reference))?;
        Ok(resolving.found)
    }

    /// A schema with the texts of its references.
    pub fn text(&self, schema: &Schema) -> Result<SchemaText, Unresolved> {
        let references = self.resolve(&schema.references)?;
        Ok(SchemaText { kind: schema.kind, text: schema.text.clone(), references })
    }
}

/// Why references cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// This one does not exist.
    Missing(Name),
    /// There are more than [`REFERENCES_MAX`].
    TooMany,
}

struct Resolving<'a> {
    store: &'a Store,
    found: Vec<Reference>,
    seen: HashSet<Name>,
}

impl Resolving<'_> {
    fn take(&mut self, reference: &Name) -> Result<(), Unresolved> {
        if !self.seen.insert(reference.clone()) {
            return Ok(());
        }
        if self.seen.len() > REFERENCES_MAX {
            return Err(Unresolved::TooMany);
        }
        let versions = self.store.subjects.get(&reference.subject);
        let Some(version) = versions.and_then(|versions| versions.get(&reference.version)) else {
            return Err(Unresolved::Missing(reference.clone()));
        };
        let schema = version.schema.clone();
        schema.references.iter().try_for_each(|inner| self.take(inner))?;
        let Name { name, subject, version } = reference.clone();
        self.found.push(Reference { name, subject, version, text: schema.text.clone() });
        Ok(())
    }
}

fn set<T>(of: &mut BTreeMap<String, T>, subject: String, value: Option<T>) {
    match value {
        Some(value) => _ = of.insert(subject, value),
        None => _ = of.remove(&subject),
    }
}
