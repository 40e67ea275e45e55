//! From a registered schema to columns: CREATE without columns of its own, and `*_SCHEMA_ID`.
//!
//! ```text
//! VALUE_FORMAT = 'AVRO'                         latest version of t-value    names become upper case
//! VALUE_FORMAT = 'AVRO', VALUE_SCHEMA_ID = 7    schema 7                     names as they are
//! KEY_FORMAT = 'AVRO'                           latest version of t-key      one column ROWKEY
//! ```
//!
//! The messages are ksqlDB's (`SchemaRegistryTopicSchemaSupplier`, `DefaultSchemaInjector`).

use crate::catalog::{Format, SchemaText, SchemaType, WireSchema};
use crate::engine::schemas::facts::SchemaFacts;
use crate::error::{Error, Kind, Result};
use crate::format::schema::{Inference, message_path, schema_names, schema_to_columns};
use crate::plan::{Facts, SchemaFact, SchemaRequest};
use crate::registry::{Registered, RegistryError};

/// Looks up what is requested, and reads it.
pub(in crate::engine) fn infer_all(
    requests: &[SchemaRequest],
    schemas: &mut dyn SchemaFacts,
    facts: &mut Facts,
) -> Result<()> {
    for request in requests {
        let fact = Some(infer(request, schemas)?);
        match request.is_key {
            true => facts.key_schema = fact,
            false => facts.value_schema = fact,
        }
    }
    Ok(())
}

fn infer(request: &SchemaRequest, schemas: &mut dyn SchemaFacts) -> Result<SchemaFact> {
    let found = find(request, schemas)?;
    let schema = &*found.schema;
    check_type(request, schema)?;
    let full_name = full_name(request, schema)?;
    let inference = Inference {
        key: request.is_key,
        unwrapped: request.is_unwrapped && !request.is_key,
        full_name: full_name.as_deref(),
        upper_case: request.id.is_none(),
    };
    let columns = schema_to_columns(schema, &inference).map_err(|reason| untranslatable(request, schema, &reason))?;
    if request.is_key && columns.len() > 1 {
        let topic = &request.topic;
        return Err(Error::statement(format!(
            "The key schema for topic: {topic} contains multiple columns, which is not supported by ksqlDB at this \
             time.\nSchema:{}",
            schema.text
        )));
    }
    let message = match request.format {
        Format::Protobuf => {
            let path = message_path(schema, full_name.as_deref());
            path.map_err(|reason| untranslatable(request, schema, &reason))?.1
        }
        _ => Vec::new(),
    };
    let Registered { subject, version, id, .. } = found;
    let schema = WireSchema { subject, version, id, by_id: request.id.is_some(), text: schema.clone(), message };
    Ok(SchemaFact { columns, full_name, schema })
}

fn find(request: &SchemaRequest, schemas: &mut dyn SchemaFacts) -> Result<Registered> {
    let subject = request.subject();
    let found = match request.id {
        // Its version under the subject is known when it is registered there.
        Some(id) => schemas.by_id(id, &subject).map(|schema| Some(Registered { subject, version: 0, id, schema })),
        None => schemas.latest(&subject),
    };
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(not_found(request)),
        Err(RegistryError::Refused(error)) if matches!(error.status, 401 | 403 | 404) => {
            Err(not_found(request).with_detail(error.to_string()))
        }
        Err(error) => Err(failed(request, &error)),
    }
}

fn part(request: &SchemaRequest) -> &'static str {
    if request.is_key { "key" } else { "value" }
}

/// A name of the message or record; with an id, that of the schema itself.
fn full_name(request: &SchemaRequest, schema: &SchemaText) -> Result<Option<String>> {
    let names = || schema_names(schema).map_err(|reason| untranslatable(request, schema, &reason));
    if request.format != Format::Protobuf {
        return Ok(match (&request.full_name, request.id) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(_)) => names()?.into_iter().next(),
            (None, None) => None,
        });
    }
    if let Some(name) = &request.full_name {
        // As ksqlDB: there is no such schema.
        let found = message_path(schema, Some(name));
        return found.map(|(name, _)| Some(name)).map_err(|reason| not_found(request).with_detail(reason));
    }
    let names = names()?;
    match names.as_slice() {
        [] | [_] => Ok(request.id.and(names.into_iter().next())),
        _ => {
            let (part, property) = if request.is_key { ("Key", "KEY") } else { ("Value", "VALUE") };
            let list: Vec<String> = names.iter().map(|name| format!("- {name}")).collect();
            Err(Error::statement(format!(
                "{part} schema has multiple schema definitions. \n\n{}\n\nPlease specify a schema full name in the WITH \
                 clause using {property}_SCHEMA_FULL_NAME",
                list.join("\n")
            )))
        }
    }
}

fn check_type(request: &SchemaRequest, schema: &SchemaText) -> Result<()> {
    if request.format.schema_type() == Some(schema.kind) {
        return Ok(());
    }
    let (part, property) = if request.is_key { ("Key", "KEY_FORMAT") } else { ("Value", "VALUE_FORMAT") };
    let (actual, topic, expected) = (schema.kind.name(), &request.topic, request.format.name());
    let error = Error::statement(format!(
        "{part} schema is not in the expected format. You may want to set {property} to '{actual}'.\ntopic: \
         {topic}\nexpected format: {expected}\nactual format from Schema Registry: {actual}"
    ));
    Err(match schema.kind {
        // ksqlDB's text names the type of the schema, not the format.
        SchemaType::Json => error.with_hint(format!("the format of JSON schemas is {property}='JSON_SR'")),
        SchemaType::Avro | SchemaType::Protobuf => error,
    })
}

fn not_found(request: &SchemaRequest) -> Error {
    let SchemaRequest { topic, id, .. } = request;
    let messages = if request.is_key { "keys" } else { "values" };
    let with_id = id.map(|id| format!(" with schema id: {id}")).unwrap_or_default();
    Error::statement(format!(
        "Schema for message {messages} on topic '{topic}'{with_id} does not exist in the Schema Registry.\nSubject: {}\nPossible \
         causes include:\n- The topic itself does not exist\n\t-> Use SHOW TOPICS; to check\n- Messages on the topic are not \
         serialized using a format Schema Registry supports\n\t-> Use PRINT '{topic}' FROM BEGINNING; to verify\n- Messages on \
         the topic have not been serialized using a Confluent Schema Registry supported serializer\n\t-> See \
         https://docs.confluent.io/current/schema-registry/docs/serializer-formatter.html\n- The schema is registered on a \
         different instance of the Schema Registry\n\t-> Use the REST API to list available subjects\t\
         https://docs.confluent.io/current/schema-registry/docs/api.html#get--subjects\n- You do not have permissions to access \
         the Schema Registry.\n\t-> See https://docs.confluent.io/current/schema-registry/docs/security.html",
        request.subject()
    ))
    .with_hint("SHOW SCHEMAS lists the subjects; columns that are listed in the statement need no schema")
}

fn failed(request: &SchemaRequest, error: &RegistryError) -> Error {
    let id = request.id.map(|id| format!(", schema id: {id}")).unwrap_or_default();
    let text =
        format!("Schema registry fetch for topic {} request failed for topic: {}{id}", part(request), request.topic);
    match error {
        RegistryError::Unreachable(reason) => Error::new(Kind::Io, text).with_detail(reason.clone()),
        RegistryError::Refused(error) => Error::statement(text).with_detail(error.to_string()),
    }
}

fn untranslatable(request: &SchemaRequest, schema: &SchemaText, reason: &str) -> Error {
    Error::statement(format!(
        "Unable to verify if the {} schema for topic: {} is compatible with ksqlDB.\nReason: {reason}\n\nPlease see \
         https://github.com/confluentinc/ksql/issues/ to see if this particular reason is already known.\nIf not, log a new \
         issue, including this full error message.\nSchema:{}",
        part(request),
        request.topic,
        schema.text
    ))
}
