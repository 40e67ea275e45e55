//! A registry in memory whose ids and versions the caller can choose: for tests and the conformance runner.
//!
//! ```
//! use tidegate::catalog::{SchemaText, SchemaType};
//! use tidegate::registry::{Schemas, fixed::Fixed};
//!
//! let registry = Fixed::default();
//! let schema = SchemaText { kind: SchemaType::Avro, text: r#""int""#.into(), references: vec![] };
//! assert_eq!(registry.put("t-value", 7, &schema).version, 1);
//! assert_eq!(registry.register("t-value", &schema).unwrap().id, 7);
//! ```
//!
//! It reads no schema: every schema is compatible with every other. [`Fixed::refuse`] and [`Fixed::go_away`] make calls fail.

use crate::catalog::{Guid, SchemaText};
use crate::registry::{
    Compatibility, Registered, RegistryError, Result, SCHEMA_NOT_FOUND, SUBJECT_NOT_FOUND, Schemas, VERSION_NOT_FOUND,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

/// A registry in memory.
#[derive(Debug, Default)]
pub struct Fixed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    schemas: BTreeMap<i32, Arc<SchemaText>>,
    /// Versions by subject. Those of a deleted subject are kept, and not live.
    subjects: BTreeMap<String, Vec<Version>>,
    /// Errors of the registration under a subject.
    refusals: BTreeMap<String, RegistryError>,
    /// Why every call fails.
    away: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    version: i32,
    id: i32,
    live: bool,
}

impl Fixed {
    /// Adds a schema as the next version of a subject, under this id, which means this schema from now on.
    pub fn put(&self, subject: &str, id: i32, schema: &SchemaText) -> Registered {
        self.state.lock().put(subject, id, schema)
    }

    /// Lets every registration under a subject fail in this way; `None` = no longer.
    pub fn refuse(&self, subject: &str, error: Option<RegistryError>) {
        let mut state = self.state.lock();
        match error {
            Some(error) => _ = state.refusals.insert(subject.to_owned(), error),
            None => _ = state.refusals.remove(subject),
        }
    }

    /// Lets every call fail with this reason; `None` = no longer.
    pub fn go_away(&self, reason: Option<&str>) {
        self.state.lock().away = reason.map(str::to_owned);
    }

    fn state(&self) -> Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        match &state.away {
            Some(reason) => Err(RegistryError::Unreachable(reason.clone())),
            None => Ok(state),
        }
    }
}

impl State {
    fn put(&mut self, subject: &str, id: i32, schema: &SchemaText) -> Registered {
        let schema = Arc::new(schema.clone());
        self.schemas.insert(id, schema.clone());
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        let version = versions.last().map_or(1, |last| last.version + 1);
        versions.push(Version { version, id, live: true });
        Registered { subject: subject.to_owned(), version, id, schema }
    }

    fn live(&self, subject: &str) -> Result<Vec<Version>> {
        let versions = self.subjects.get(subject).into_iter().flatten();
        let live: Vec<Version> = versions.filter(|version| version.live).copied().collect();
        match live.is_empty() {
            true => Err(RegistryError::refused(404, SUBJECT_NOT_FOUND, format!("Subject '{subject}' not found."))),
            false => Ok(live),
        }
    }

    fn registered(&self, subject: &str, version: Version) -> Result<Registered> {
        let schema = self.schemas.get(&version.id).cloned().ok_or_else(|| no_schema(version.id))?;
        Ok(Registered { subject: subject.to_owned(), version: version.version, id: version.id, schema })
    }

    fn find(&self, subject: &str, schema: &SchemaText) -> Option<Registered> {
        let live = self.live(subject).ok()?;
        let mut all = live.into_iter().filter_map(|version| self.registered(subject, version).ok());
        all.find(|registered| *registered.schema == *schema)
    }
}

fn no_schema(id: impl Display) -> RegistryError {
    RegistryError::refused(404, SCHEMA_NOT_FOUND, format!("Schema {id} not found"))
}

impl Schemas for Fixed {
    fn by_id(&self, id: i32, _: Option<&str>) -> Result<Arc<SchemaText>> {
        self.state()?.schemas.get(&id).cloned().ok_or_else(|| no_schema(id))
    }

    fn by_guid(&self, guid: Guid) -> Result<Arc<SchemaText>> {
        let state = self.state()?;
        let found = state.schemas.values().find(|schema| guid_of(schema) == guid);
        found.cloned().ok_or_else(|| no_schema(guid))
    }

    fn latest(&self, subject: &str) -> Result<Registered> {
        let state = self.state()?;
        let live = state.live(subject)?;
        let last = live.last().copied().ok_or_else(|| no_version(0))?;
        state.registered(subject, last)
    }

    fn version(&self, subject: &str, version: i32) -> Result<Registered> {
        let state = self.state()?;
        let found = state.live(subject)?.into_iter().find(|live| live.version == version);
        state.registered(subject, found.ok_or_else(|| no_version(version))?)
    }

    fn lookup(&self, subject: &str, schema: &SchemaText) -> Result<Registered> {
        let state = self.state()?;
        state.live(subject)?;
        state.find(subject, schema).ok_or_else(|| RegistryError::refused(404, SCHEMA_NOT_FOUND, "Schema not found"))
    }

    fn register(&self, subject: &str, schema: &SchemaText) -> Result<Registered> {
        let mut state = self.state()?;
        if let Some(error) = state.refusals.get(subject) {
            return Err(error.clone());
        }
        if let Some(found) = state.find(subject, schema) {
            return Ok(found);
        }
        let known = state.schemas.iter().find(|(_, known)| ***known == *schema).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| state.schemas.last_key_value().map_or(1, |(last, _)| last + 1));
        Ok(state.put(subject, id, schema))
    }

    fn is_compatible(&self, subject: &str, _: &SchemaText) -> Result<Compatibility> {
        let state = self.state()?;
        match state.refusals.get(subject) {
            Some(RegistryError::Refused(error)) => Ok(Compatibility::Incompatible(vec![error.message.clone()])),
            Some(unreachable) => Err(unreachable.clone()),
            None => Ok(Compatibility::Compatible),
        }
    }

    fn delete_subject(&self, subject: &str) -> Result<Vec<i32>> {
        let mut state = self.state()?;
        let deleted = state.live(subject)?.iter().map(|version| version.version).collect();
        state.subjects.entry(subject.to_owned()).or_default().iter_mut().for_each(|version| version.live = false);
        Ok(deleted)
    }

    fn subjects_of(&self, id: i32) -> Result<Vec<String>> {
        let state = self.state()?;
        if !state.schemas.contains_key(&id) {
            return Err(no_schema(id));
        }
        let has = |versions: &Vec<Version>| versions.iter().any(|version| version.live && version.id == id);
        Ok(state.subjects.iter().filter(|(_, versions)| has(versions)).map(|(subject, _)| subject.clone()).collect())
    }

    fn subjects(&self) -> Result<Vec<String>> {
        let state = self.state()?;
        let live = state.subjects.iter().filter(|(_, versions)| versions.iter().any(|version| version.live));
        Ok(live.map(|(subject, _)| subject.clone()).collect())
    }

    fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        Ok(self.state()?.live(subject)?.iter().map(|version| version.version).collect())
    }
}

/// The GUID of a schema that refers to all of its references directly.
pub fn guid_of(schema: &SchemaText) -> Guid {
    let references = schema.references.iter();
    Guid::derive(&schema.text, references.map(|r| (r.name.as_str(), r.subject.as_str(), r.version)))
}

fn no_version(version: i32) -> RegistryError {
    RegistryError::refused(404, VERSION_NOT_FOUND, format!("Version {version} not found."))
}
