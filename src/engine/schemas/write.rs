//! The schemas by which INSERT VALUES writes.
//!
//! ```text
//! recorded with the source                 written by it; the registry is not asked
//! else the key                             the latest version of t-key, which has to describe the columns of the source
//! else a PROTOBUF value                    the latest version of t-value: names and numbers are those of the topic
//! else a value                             what the columns make; registered if it is new
//! ```
//!
//! The messages are ksqlDB's (`InsertValuesExecutor`).

use crate::catalog::{Format, SchemaText, SchemaType, Source, WireSchema, carried};
use crate::engine::Engine;
use crate::engine::schemas::register::{When, means_the_same, own_key, registrations};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::format::schema::{Inference, message_path, schema_to_columns};
use crate::plan::subject;
use crate::registry::{Registered, RegistryError};
use std::borrow::Cow;
use std::sync::Arc;

impl Engine {
    /// The source with the schemas by which its records are written. Calls the registry where they are not recorded.
    pub(in crate::engine) fn writable<'a>(&self, source: &'a Source, session: &Session) -> Result<Cow<'a, Source>> {
        let plain = |format: Format| format.schema_type().is_none();
        let value = carried(&source.schema.value);
        let is_whole = value.len() == source.schema.value.len();
        if is_whole && plain(source.key_format) && plain(source.value_format) {
            return Ok(Cow::Borrowed(source));
        }
        let mut written = source.clone();
        // Header columns are read and never written.
        if !is_whole {
            written.schema.value = value.into_iter().cloned().collect();
        }
        if plain(source.key_format) && plain(source.value_format) {
            return Ok(Cow::Owned(written));
        }
        if !plain(source.key_format) && !source.schema.key.is_empty() && source.key_wire.schema.is_none() {
            written.key_wire.schema = Some(Arc::new(self.key_schema(source)?));
        }
        if source.value_format == Format::Protobuf && source.value_wire.schema.is_none() {
            written.value_wire.schema = self.physical_schema(source)?.map(Arc::new);
        }
        let missing = registrations(&mut written, When::Unwritten, &mut self.schema_facts(session))?;
        self.register(&mut written, &missing)?;
        Ok(Cow::Owned(written))
    }

    /// The latest version of the key's subject.
    fn key_schema(&self, source: &Source) -> Result<WireSchema> {
        let subject = subject(&source.topic, true);
        let unknown = || {
            format!(
                "Failed to fetch key schema ({subject}). Please check if schema exists in Schema Registry and/or check \
                 connection with Schema Registry."
            )
        };
        let latest = match self.registry().latest(&subject) {
            Ok(latest) => latest,
            Err(RegistryError::Unreachable(reason)) => return Err(Error::new(Kind::Io, unknown()).with_detail(reason)),
            Err(RegistryError::Refused(error)) => {
                return Err(Error::statement(unknown()).with_detail(error.to_string()));
            }
        };
        let own = own_key(source)?;
        if !describes(&latest.schema, &own, source)? {
            return Err(Error::statement(format!(
                "Cannot INSERT VALUES into data source `{}`. ksqlDB generated schema would overwrite existing key schema.\n\
                 \tExisting Schema: {}\n\tksqlDB Generated: {}",
                source.name, latest.schema.text, own.text
            )));
        }
        wire(latest, source.key_wire.full_name.as_deref())
    }

    /// The latest version of the value's subject, if it has one.
    fn physical_schema(&self, source: &Source) -> Result<Option<WireSchema>> {
        let subject = subject(&source.topic, false);
        match self.latest(&subject) {
            Ok(latest) => latest.map(|latest| wire(latest, source.value_wire.full_name.as_deref())).transpose(),
            Err(error) => {
                let text = format!("the schema of topic {} cannot be looked up", source.topic);
                Err(Error::io(text).with_detail(error.to_string()))
            }
        }
    }
}

/// Whether a registered key schema has the columns of the source.
fn describes(latest: &SchemaText, own: &SchemaText, source: &Source) -> Result<bool> {
    if means_the_same(latest, own) {
        return Ok(true);
    }
    let full_name = source.key_wire.full_name.as_deref();
    let by = Inference { key: true, unwrapped: false, full_name, upper_case: true };
    let read = |schema: &SchemaText| schema_to_columns(schema, &by).ok();
    Ok(latest.kind == own.kind && read(latest).is_some() && read(latest) == read(own))
}

/// A version that is used as it is.
fn wire(found: Registered, full_name: Option<&str>) -> Result<WireSchema> {
    let Registered { subject, version, id, schema } = found;
    let message = match schema.kind {
        SchemaType::Protobuf => {
            let path = message_path(&schema, full_name).or_else(|_| message_path(&schema, None));
            path.map_err(Error::statement)?.1
        }
        SchemaType::Avro | SchemaType::Json => Vec::new(),
    };
    Ok(WireSchema { subject, version, id, by_id: true, text: SchemaText::clone(&schema), message })
}
