//! Deletion: soft first, so that ids still resolve, then permanently.

use super::record::{Record, SchemaRecord};
use super::refusal;
use super::store::{Store, Version};
use super::{Builtin, query};
use crate::registry::Result;

impl Builtin {
    /// Deletes a subject: softly, or permanently after that. Yields its versions.
    pub fn delete(&self, subject: &str, permanent: bool) -> Result<Vec<i32>> {
        self.topic.change(|store| if permanent { purge(store, subject) } else { soft(store, subject) })
    }

    /// Deletes a version: softly, or permanently after that; `None` = the latest. Yields its number.
    pub fn delete_version(&self, subject: &str, version: Option<i32>, permanent: bool) -> Result<i32> {
        self.topic.change(|store| {
            let version = query::version(store, subject, version, true)?;
            check_references(store, subject, version.version)?;
            let number = version.version;
            match (permanent, version.is_deleted) {
                (false, true) => Err(refusal::version_is_deleted(subject, number)),
                (true, false) => Err(refusal::version_is_not_deleted(subject, number)),
                (true, true) => {
                    let gone = Record::NoSchema { subject: subject.to_owned(), version: number };
                    Ok((number, vec![gone, Record::LastId(store.last_id())]))
                }
                (false, false) => Ok((number, vec![deleted(subject, version)])),
            }
        })
    }
}

fn soft(store: &Store, subject: &str) -> Result<(Vec<i32>, Vec<Record>)> {
    let live: Vec<i32> = store.live(subject).map(|version| version.version).collect();
    let Some(last) = live.last() else {
        return Err(match store.versions(subject).next() {
            Some(_) => refusal::subject_is_deleted(subject),
            None => refusal::no_subject(subject),
        });
    };
    live.iter().try_for_each(|version| check_references(store, subject, *version))?;
    let mut records = vec![Record::DeleteSubject { subject: subject.to_owned(), version: *last }];
    // Settings of a subject end with it.
    if store.level(Some(subject)).is_some() {
        records.push(Record::Level { subject: Some(subject.to_owned()), level: None });
    }
    if store.mode(Some(subject)).is_some() {
        records.push(Record::Mode { subject: Some(subject.to_owned()), mode: None });
    }
    Ok((live, records))
}

fn purge(store: &Store, subject: &str) -> Result<(Vec<i32>, Vec<Record>)> {
    let all: Vec<i32> = store.versions(subject).map(|version| version.version).collect();
    if all.is_empty() {
        return Err(refusal::no_subject(subject));
    }
    if store.live(subject).next().is_some() {
        return Err(refusal::subject_is_not_deleted(subject));
    }
    all.iter().try_for_each(|version| check_references(store, subject, *version))?;
    let gone = |version: &i32| Record::NoSchema { subject: subject.to_owned(), version: *version };
    let mut records: Vec<Record> = all.iter().map(gone).collect();
    // Compaction forgets the records; their ids are in payloads, and must not come to mean other schemas.
    records.push(Record::LastId(store.last_id()));
    Ok((all, records))
}

fn check_references(store: &Store, subject: &str, version: i32) -> Result<()> {
    match store.referring(subject, version).is_empty() {
        true => Ok(()),
        false => Err(refusal::is_referenced(subject, version)),
    }
}

fn deleted(subject: &str, version: &Version) -> Record {
    let schema = &version.schema;
    Record::Schema(Box::new(SchemaRecord {
        subject: subject.to_owned(),
        version: version.version,
        id: version.id,
        kind: schema.kind,
        references: schema.references.clone(),
        text: schema.text.to_string(),
        is_deleted: true,
        rest: schema.rest.clone(),
    }))
}
