//! Registration: which version of a subject a schema is, and how it becomes one.
//!
//! ```text
//! the subject has it        its version; nothing is written, whatever the mode
//! mode                      READWRITE: no id is given    IMPORT: an id may be given    READONLY: refused
//! compatibility             with the live versions, at the subject's level; not in IMPORT
//! id                        that of the same schema in another subject, or the largest ever assigned + 1
//! version                   the largest, soft-deleted ones included, + 1
//! ```

use super::record::{Record, SchemaRecord};
use super::refusal;
use super::store::{REFERENCES_MAX, Schema, Store, Unresolved, Version};
use super::terms::{Mode, Name};
use super::{Builtin, SCHEMA_BYTES_MAX, SUBJECT_BYTES_MAX};
use crate::catalog::{Reference, SchemaText, SchemaType};
use crate::registry::Result;
use crate::registry::compatibility::{Earlier, Level, check};
use crate::registry::schema::Parsed;
use serde_json::Map;

/// A schema that a client sends.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// Its language.
    pub kind: SchemaType,
    /// Its text.
    pub text: String,
    /// What it refers to.
    pub references: References,
    /// The id that it shall have, in mode IMPORT.
    pub id: Option<i32>,
    /// The version that it shall be, in mode IMPORT.
    pub version: Option<i32>,
    /// Whether texts that differ in the order of attributes only are one schema.
    pub normalize: bool,
}

/// The references of a schema.
#[derive(Clone, Debug)]
pub enum References {
    /// Direct references, as the API has them. Version -1 is the latest.
    Direct(Vec<Name>),
    /// Direct and indirect references with their texts, as the engine has them.
    Resolved(Vec<Reference>),
}

/// A schema that was read, in the terms of the store.
struct Prepared {
    parsed: Parsed,
    kind: SchemaType,
    /// The text to store.
    text: String,
    identity: String,
    normalize: bool,
    /// Direct references; for the engine all of them.
    names: Vec<Name>,
    /// All of them with their texts, if the engine gave them.
    resolved: Option<Vec<Reference>>,
}

impl Builtin {
    /// Registers a schema under a subject, unless the subject has it.
    pub fn register_schema(&self, subject: &str, submitted: &Submitted) -> Result<Version> {
        check_subject(subject)?;
        self.topic.settle(|store| plan(store, subject, submitted))
    }

    /// The version of a subject that has this schema.
    pub fn find_schema(&self, subject: &str, submitted: &Submitted, deleted: bool) -> Result<Version> {
        self.topic.read(|store| {
            if store.versions(subject).all(|version| version.is_deleted && !deleted) {
                return Err(refusal::no_subject(subject));
            }
            let prepared = prepare(store, submitted, false)?;
            prepared.find(store, subject, deleted).cloned().ok_or_else(refusal::no_schema)
        })
    }

    /// Why the schema is not compatible with a version of the subject, or with all that its level compares (`None`); empty = it
    /// is.
    pub fn incompatibilities(&self, subject: &str, version: Option<i32>, submitted: &Submitted) -> Result<Vec<String>> {
        self.topic.read(|store| {
            let prepared = prepare(store, submitted, true)?;
            let live: Vec<&Version> = match version {
                None => store.live(subject).collect(),
                Some(number) => {
                    let found = store.live(subject).find(|live| live.version == number);
                    let missing = || match store.live(subject).next() {
                        None => refusal::no_subject(subject),
                        Some(_) => refusal::no_version(number),
                    };
                    vec![found.ok_or_else(missing)?]
                }
            };
            Ok(prepared.compare(store, &live, store.level_for(subject)))
        })
    }

    /// The same with the latest version. A subject without one is compatible with everything.
    pub fn incompatibilities_with_latest(&self, subject: &str, submitted: &Submitted) -> Result<Vec<String>> {
        self.topic.read(|store| {
            let prepared = prepare(store, submitted, true)?;
            let latest: Vec<&Version> = store.live(subject).next_back().into_iter().collect();
            Ok(prepared.compare(store, &latest, store.level_for(subject)))
        })
    }
}

/// Control characters and endless names have no place in a key that people read.
fn check_subject(subject: &str) -> Result<()> {
    let is_valid = !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX && !subject.contains(char::is_control);
    if is_valid { Ok(()) } else { Err(refusal::invalid_subject(subject)) }
}

fn plan(store: &Store, subject: &str, submitted: &Submitted) -> Result<(Version, Vec<Record>)> {
    let prepared = prepare(store, submitted, true)?;
    if let Some(version) = prepared.find(store, subject, false)
        && submitted.id.is_none_or(|id| id == version.id)
    {
        return Ok((version.clone(), Vec::new()));
    }
    let mode = store.mode_for(Some(subject));
    check_mode(mode, subject, submitted)?;
    if mode != Mode::Import {
        let live: Vec<&Version> = store.live(subject).collect();
        let messages = prepared.compare(store, &live, store.level_for(subject));
        if !messages.is_empty() {
            return Err(refusal::incompatible(subject, &messages));
        }
    }
    let id = prepared.id(store, submitted)?;
    let last = store.versions(subject).next_back().map_or(0, |version| version.version);
    let version = match submitted.version.filter(|version| *version > 0 && mode == Mode::Import) {
        Some(given) => given,
        None => last.checked_add(1).ok_or_else(|| refusal::not_permitted("there are no further versions"))?,
    };
    if store.live(subject).any(|live| live.version == version && live.id != id) {
        return Err(refusal::not_permitted(format!("Overwrite new schema with version {version} is not permitted.")));
    }
    Ok(prepared.record(subject, version, id))
}

fn check_mode(mode: Mode, subject: &str, submitted: &Submitted) -> Result<()> {
    let why = match (mode, submitted.id) {
        (Mode::ReadOnly, _) => "is in read-only mode",
        (Mode::ReadWrite, Some(_)) => "is not in import mode",
        (Mode::Import, None) => "is not in read-write mode",
        (Mode::ReadWrite, None) | (Mode::Import, Some(_)) => return Ok(()),
    };
    Err(refusal::not_permitted(format!("Subject {subject} {why}")))
}

/// Reads what a client sent, with what it refers to.
fn prepare(store: &Store, submitted: &Submitted, checked: bool) -> Result<Prepared> {
    let kind = submitted.kind;
    if submitted.text.trim().is_empty() {
        return Err(refusal::empty_schema());
    }
    if submitted.text.len() > SCHEMA_BYTES_MAX {
        return Err(refusal::too_large());
    }
    let (names, resolved) = match &submitted.references {
        References::Direct(names) => (concrete(store, names), None),
        References::Resolved(references) => {
            let name = |r: &Reference| Name { name: r.name.clone(), subject: r.subject.clone(), version: r.version };
            (references.iter().map(name).collect(), Some(references.clone()))
        }
    };
    if names.len() > REFERENCES_MAX {
        return Err(refusal::unresolved(kind, &Unresolved::TooMany));
    }
    let references = store.resolve(&names).map_err(|why| refusal::unresolved(kind, &why))?;
    let schema = SchemaText { kind, text: submitted.text.as_str().into(), references };
    let parsed = Parsed::parse(&schema, checked).map_err(|why| refusal::invalid_schema(kind, &why))?;
    let normalize = submitted.normalize;
    let text = match normalize {
        true => parsed.normalized(&submitted.text),
        false => parsed.canonical(&submitted.text),
    };
    let identity = if normalize { parsed.normalized_identity() } else { parsed.identity() };
    Ok(Prepared { parsed, kind, text, identity, normalize, names, resolved })
}

/// Version -1 of a reference is the latest.
fn concrete(store: &Store, names: &[Name]) -> Vec<Name> {
    let latest = |subject: &str| store.live(subject).next_back().map(|version| version.version);
    let version = |name: &Name| match name.version {
        -1 => latest(&name.subject).unwrap_or(-1),
        version => version,
    };
    names.iter().map(|name| Name { version: version(name), ..name.clone() }).collect()
}

impl Prepared {
    /// The version of a subject that has this schema; the latest, if there are several.
    fn find<'a>(&self, store: &'a Store, subject: &str, deleted: bool) -> Option<&'a Version> {
        let known = store.known(self.kind, &self.identity);
        let versions = || store.versions(subject).rev().filter(|version| deleted || !version.is_deleted);
        let is_same = |version: &&Version| known.contains(&version.id) && self.refers_as(store, &version.schema);
        versions().find(is_same).or_else(|| {
            // Texts that were not normalized when they were stored.
            let is_normal = |version: &&Version| {
                let text = store.text(&version.schema).ok().filter(|text| text.kind == self.kind);
                let parsed = text.and_then(|text| Parsed::parse(&text, false).ok());
                parsed.is_some_and(|parsed| parsed.normalized_identity() == self.identity)
                    && self.refers_as(store, &version.schema)
            };
            versions().filter(|_| self.normalize).find(is_normal)
        })
    }

    fn refers_as(&self, store: &Store, schema: &Schema) -> bool {
        if schema.refers_as(&self.names) {
            return true;
        }
        let Some(resolved) = &self.resolved else { return false };
        store.resolve(&schema.references).is_ok_and(|known| {
            known.len() == resolved.len() && known.iter().all(|reference| resolved.contains(reference))
        })
    }

    /// The id of the schema: the one that it has in another subject, the given one, or the next.
    fn id(&self, store: &Store, submitted: &Submitted) -> Result<i32> {
        if let Some(id) = submitted.id {
            let taken = store.schema(id).is_some_and(|known| {
                !store.known(self.kind, &self.identity).contains(&id) || !self.refers_as(store, known)
            });
            return match taken || id < 0 {
                true => Err(refusal::not_permitted(format!("Overwrite new schema with id {id} is not permitted."))),
                false => Ok(id),
            };
        }
        let same = |id: &&i32| store.schema(**id).is_some_and(|schema| self.refers_as(store, schema));
        match store.known(self.kind, &self.identity).iter().find(same) {
            Some(id) => Ok(*id),
            None => store.last_id().checked_add(1).ok_or_else(|| refusal::not_permitted("there are no further ids")),
        }
    }

    fn compare(&self, store: &Store, live: &[&Version], level: Level) -> Vec<String> {
        let compared = if level.is_transitive() { live.len() } else { live.len().min(1) };
        let mut parsed = Vec::new();
        for version in live.iter().rev().take(compared).filter(|_| level != Level::None) {
            // A foreign text that cannot be read cannot be compared either.
            match store.text(&version.schema).map(|text| Parsed::parse(&text, false)) {
                Ok(Ok(schema)) => parsed.push((version, schema)),
                Ok(Err(why)) => return vec![format!("Version {} cannot be read: {why}", version.version)],
                Err(_) => return vec![format!("References of version {} cannot be resolved", version.version)],
            }
        }
        let earlier = |(version, schema)| -> Earlier<'_> {
            let version: &&&Version = version;
            Earlier { version: version.version, text: &version.schema.text, schema }
        };
        let earlier: Vec<Earlier<'_>> = parsed.iter().map(|(version, schema)| earlier((version, schema))).collect();
        check(&self.parsed, &earlier, level)
    }

    fn record(&self, subject: &str, version: i32, id: i32) -> (Version, Vec<Record>) {
        let record = SchemaRecord {
            subject: subject.to_owned(),
            version,
            id,
            kind: self.kind,
            references: self.names.clone(),
            text: self.text.clone(),
            is_deleted: false,
            rest: Map::new(),
        };
        let schema = Schema::of(&record, &self.identity);
        (Version { version, id, schema: schema.into(), is_deleted: false }, vec![Record::Schema(Box::new(record))])
    }
}
