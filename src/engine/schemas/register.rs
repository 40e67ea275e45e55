//! From columns to a registered schema: what a statement that writes a topic registers, and how.
//!
//! ```text
//! CREATE with columns        registered if the subject has no schema, else nothing: who writes first registers
//! CREATE ... AS SELECT       registered always; *_SCHEMA_ID: that schema, which has to get that id
//! INSERT INTO ... SELECT     registered, unless the target records the schema by which it is written
//! ```
//!
//! A schema that means the same as the latest version of its subject is that version: the order of fields in a JSON schema, or
//! spaces, make no new one. The messages are ksqlDB's (`SchemaRegisterInjector`).

use crate::catalog::{Format, SchemaText, SchemaType, Source, Wire, WireSchema};
use crate::engine::Engine;
use crate::engine::schemas::facts::SchemaFacts;
use crate::error::{Error, Kind, Result};
use crate::format::schema::{Derivation, columns_to_schema, message_path};
use crate::plan::subject;
use crate::registry::{Compatibility, INCOMPATIBLE, Registered, RegistryError, SchemaError};
use crate::types::{Column, Role};
use serde_json::Value;
use std::sync::Arc;

/// A schema that a statement registers before its command is recorded.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Registration {
    /// Of the key, or of the value.
    pub(in crate::engine) is_key: bool,
    /// The subject.
    pub(in crate::engine) subject: String,
    /// The schema.
    pub(in crate::engine) schema: SchemaText,
    /// Which message of a PROTOBUF schema.
    message: Vec<i32>,
    /// `*_SCHEMA_ID`: the id that the schema has to get.
    id: Option<i32>,
}

/// When a statement registers a schema of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum When {
    /// The subject has no schema.
    Absent,
    /// Always.
    Always,
    /// The source does not record by which schema it is written.
    Unwritten,
}

/// One side of a source.
struct Part<'a> {
    is_key: bool,
    format: Format,
    columns: Vec<Column>,
    wire: &'a Wire,
    source: &'a Source,
}

impl<'a> Part<'a> {
    /// The sides that have a format with a registry, and columns.
    fn all(source: &'a Source) -> impl Iterator<Item = Part<'a>> {
        let value = source.schema.value.iter().filter(|column| column.role == Role::Value).cloned().collect();
        let (key_wire, value_wire) = (&source.key_wire, &source.value_wire);
        let key = source.schema.key.clone();
        let sides = [
            Part { is_key: true, format: source.key_format, columns: key, wire: key_wire, source },
            Part { is_key: false, format: source.value_format, columns: value, wire: value_wire, source },
        ];
        sides.into_iter().filter(|part| part.format.schema_type().is_some() && !part.columns.is_empty())
    }

    fn subject(&self) -> String {
        subject(&self.source.topic, self.is_key)
    }

    /// The schema that its columns make.
    fn own(&self) -> Result<SchemaText> {
        let by = Derivation {
            key: self.is_key,
            source: &self.source.name,
            unwrapped: self.is_key && self.columns.len() == 1 || !self.is_key && self.source.unwrapped_value,
            full_name: self.wire.full_name.as_deref(),
            nullable: self.wire.nullable,
        };
        columns_to_schema(self.format, &self.columns, &by)
    }

    fn message(&self, schema: &SchemaText) -> Result<Vec<i32>> {
        message_of(schema, self.wire.full_name.as_deref())
    }

    /// By which schema records are written, if that is recorded: one that was given by its id, or is what the columns make.
    /// What columns were inferred from was written by others, and serves PROTOBUF alone.
    fn written_by(&self) -> Result<Option<Arc<WireSchema>>> {
        let Some(schema) = &self.wire.schema else { return Ok(None) };
        let own = schema.by_id || self.format == Format::Protobuf || means_the_same(&schema.text, &self.own()?);
        Ok(own.then(|| schema.clone()))
    }
}

/// What a statement registers for the source that it creates or writes. What is known already is put into the source.
pub(in crate::engine) fn registrations(
    source: &mut Source,
    when: When,
    schemas: &mut dyn SchemaFacts,
) -> Result<Vec<Registration>> {
    if schemas.is_replay() {
        return Ok(Vec::new());
    }
    let (mut registrations, mut known) = (Vec::new(), Vec::new());
    for part in Part::all(source) {
        match registration(&part, when, schemas)? {
            Needed::Nothing => {}
            Needed::Known(schema) => known.push((part.is_key, schema)),
            Needed::Registration(registration) => registrations.push(registration),
        }
    }
    known.into_iter().for_each(|(is_key, schema)| put(source, is_key, schema));
    Ok(registrations)
}

/// What a side of a source needs.
enum Needed {
    Nothing,
    Known(WireSchema),
    Registration(Registration),
}

fn registration(part: &Part<'_>, when: When, schemas: &mut dyn SchemaFacts) -> Result<Needed> {
    let subject = part.subject();
    if let Some(schema) = part.wire.schema.as_deref().filter(|schema| schema.by_id) {
        if when == When::Unwritten {
            return Ok(Needed::Nothing);
        }
        let (schema, message) = (schema.text.clone(), schema.message.clone());
        let id = part.wire.schema.as_ref().map(|schema| schema.id);
        check(&subject, &schema, schemas)?;
        return Ok(Needed::Registration(Registration { is_key: part.is_key, subject, schema, message, id }));
    }
    let own = part.own()?;
    // Its columns are those of the latest version: nothing new is made of them.
    if part.wire.schema.is_some() && when == When::Absent || when == When::Unwritten && part.written_by()?.is_some() {
        return Ok(Needed::Nothing);
    }
    let latest = schemas.latest(&subject).map_err(|error| not_registered(&error))?;
    let message = part.message(&own)?;
    if let Some(Registered { version, id, schema, .. }) = &latest {
        if means_the_same(schema, &own) {
            let message = part.message(schema)?;
            let (version, id, text) = (*version, *id, SchemaText::clone(schema));
            return Ok(Needed::Known(WireSchema { subject, version, id, by_id: false, text, message }));
        }
        if when == When::Absent {
            return Ok(Needed::Nothing);
        }
        check(&subject, &own, schemas)?;
    }
    Ok(Needed::Registration(Registration { is_key: part.is_key, subject, schema: own, message, id: None }))
}

/// Refuses what the registry would refuse, before a topic is created for it.
fn check(subject: &str, schema: &SchemaText, schemas: &mut dyn SchemaFacts) -> Result<()> {
    match schemas.compatibility(subject, schema).map_err(|error| not_registered(&error))? {
        Compatibility::Compatible => Ok(()),
        Compatibility::Incompatible(differences) => {
            let message = format!(
                "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]",
                differences.join(", ")
            );
            Err(not_registered(&RegistryError::Refused(SchemaError { status: 409, code: 409, message })))
        }
    }
}

fn not_registered(error: &RegistryError) -> Error {
    let text = |reason: String| format!("Could not register schema for topic: {reason}");
    match error {
        RegistryError::Unreachable(reason) => {
            Error::new(Kind::Io, "Could not register schema for topic").with_detail(reason.clone())
        }
        RegistryError::Refused(error) => {
            let code = if error.code == INCOMPATIBLE { 409 } else { error.code };
            let error = SchemaError { code, ..error.clone() };
            Error::statement(text(text(error.to_string())))
        }
    }
}

fn message_of(schema: &SchemaText, full_name: Option<&str>) -> Result<Vec<i32>> {
    match schema.kind {
        // The name that a PROTOBUF schema of our own has need not be the one that was asked for.
        SchemaType::Protobuf => {
            let found = message_path(schema, full_name).or_else(|_| message_path(schema, None));
            found.map(|(_, path)| path).map_err(Error::statement)
        }
        SchemaType::Avro | SchemaType::Json => Ok(Vec::new()),
    }
}

/// Whether two schemas mean the same: texts of JSON in any order of members, `.proto` files with any spaces.
pub(in crate::engine) fn means_the_same(a: &SchemaText, b: &SchemaText) -> bool {
    if a.kind != b.kind || a.references != b.references {
        return false;
    }
    match a.kind {
        SchemaType::Avro | SchemaType::Json => match (parsed(a), parsed(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a.text == b.text,
        },
        SchemaType::Protobuf => a.text.split_whitespace().eq(b.text.split_whitespace()),
    }
}

fn parsed(schema: &SchemaText) -> Option<Value> {
    serde_json::from_str(&schema.text).ok()
}

fn put(source: &mut Source, is_key: bool, schema: WireSchema) {
    let wire = if is_key { &mut source.key_wire } else { &mut source.value_wire };
    wire.schema = Some(Arc::new(schema));
}

impl Engine {
    /// Registers schemas, and records in the source what they became.
    pub(in crate::engine) fn register(&self, source: &mut Source, registrations: &[Registration]) -> Result<()> {
        for registration in registrations {
            let Registration { is_key, subject, schema, message, id } = registration;
            let registered = self.registry().register(subject, schema);
            let registered = registered.map_err(|error| not_registered(&error))?;
            if let Some(id) = id.filter(|id| *id != registered.id) {
                let (topic, got, text) = (&source.topic, registered.id, &schema.text);
                let part = if *is_key { "KEY" } else { "VALUE" };
                return Err(Error::statement(format!(
                    "Schema id registered is {got} which is different from provided {part}_SCHEMA_ID {id}.\nTopic: \
                     {topic}\nSubject: {subject}\nSchema: {text}"
                )));
            }
            let Registered { version, id: new, .. } = registered;
            let (subject, text, message) = (subject.clone(), schema.clone(), message.clone());
            put(source, *is_key, WireSchema { subject, version, id: new, by_id: id.is_some(), text, message });
        }
        self.inner.writers.learn(source);
        Ok(())
    }

    /// Deletes the subjects of a topic that is deleted. One that does not exist is deleted already.
    pub(in crate::engine) fn delete_subjects(&self, topic: &str, subjects: &[String]) -> Result<()> {
        for subject in subjects {
            match self.registry().delete_subject(subject) {
                Ok(_) => {}
                Err(error) if error.is_missing() => {}
                Err(error) => {
                    let text = format!("Could not clean up the schema registry for topic: {topic}");
                    return Err(match error {
                        RegistryError::Unreachable(reason) => Error::new(Kind::Io, text).with_detail(reason),
                        RegistryError::Refused(error) => Error::statement(text).with_detail(error.to_string()),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The schema that the key columns of a source make.
pub(in crate::engine) fn own_key(source: &Source) -> Result<SchemaText> {
    let key = Part::all(source).find(|part| part.is_key);
    key.map_or_else(|| Err(Error::bug("a key without a schema")), |key| key.own())
}

/// The subjects of a source's topic.
pub(in crate::engine) fn subjects(source: &Source) -> Vec<String> {
    Part::all(source).map(|part| part.subject()).collect()
}
