//! Columns to schemas and back, for the formats with a registry.
//!
//! ```text
//! A INT, B STRING  in PROTOBUF    <->    syntax = "proto3"; message ConnectDefault1 { int32 A = 1; string B = 2; }
//! ```
//!
//! These functions are pure: a schema's references are in its [`SchemaText`]. Reasons are in ksqlDB's words where ksqlDB has some.

use super::{avro, json_sr, proto};
use crate::catalog::{Format, Nullable, SchemaText, SchemaType, carried};
use crate::error::{Error, Result};
use crate::types::{Column, SqlType};

/// The column of a key that is inferred as a whole.
pub const ROWKEY: &str = "ROWKEY";

/// The column of an unwrapped value that is inferred.
pub const ROWVAL: &str = "ROWVAL";

/// What a schema depends on besides the columns.
#[derive(Clone, Copy, Debug)]
pub struct Derivation<'a> {
    /// The columns are a key.
    pub key: bool,
    /// Name of the stream or table.
    pub source: &'a str,
    /// A single column is not wrapped. PROTOBUF wraps it all the same.
    pub unwrapped: bool,
    /// `*_SCHEMA_FULL_NAME`.
    pub full_name: Option<&'a str>,
    /// `*_PROTOBUF_NULLABLE_REPRESENTATION`.
    pub nullable: Nullable,
}

/// How columns are taken from a schema.
#[derive(Clone, Copy, Debug)]
pub struct Inference<'a> {
    /// The schema is a key's: the whole of it is one column, but in PROTOBUF.
    pub key: bool,
    /// The whole value is one column, but in PROTOBUF.
    pub unwrapped: bool,
    /// `*_SCHEMA_FULL_NAME`: which message of a PROTOBUF schema.
    pub full_name: Option<&'a str>,
    /// Names become upper case: the schema was not given by its id.
    pub upper_case: bool,
}

/// The schema by which these columns are written.
pub fn columns_to_schema(format: Format, columns: &[Column], by: &Derivation<'_>) -> Result<SchemaText> {
    let columns: Vec<(&str, &SqlType)> = carried(columns).iter().map(|c| (c.name.as_str(), &c.ty)).collect();
    match format {
        Format::Protobuf => {
            let text = proto::columns_to_text(&columns, by.full_name, by.nullable).map_err(Error::statement)?;
            Ok(SchemaText::new(SchemaType::Protobuf, text))
        }
        Format::Avro => {
            let text = avro::columns_to_text(&columns, by).map_err(Error::statement)?;
            Ok(SchemaText::new(SchemaType::Avro, text))
        }
        Format::JsonSr => Ok(SchemaText::new(SchemaType::Json, json_sr::columns_to_text(&columns, by.unwrapped))),
        other => Err(Error::statement(format!("the format {} has no schemas in a registry", other.name()))),
    }
}

/// The columns of a schema. The reason why there are none is for people.
pub fn schema_to_columns(schema: &SchemaText, by: &Inference<'_>) -> Result<Vec<(String, SqlType)>, String> {
    let whole = match schema.kind {
        SchemaType::Protobuf => return proto::columns(&proto::parse(schema)?, by.full_name, by.upper_case),
        SchemaType::Json => json_sr::payload_type(&json_sr::parse(schema)?, by.upper_case)?,
        SchemaType::Avro => avro::payload_type(&avro::parse(schema)?, by.upper_case)?,
    };
    match whole {
        ty if by.key => Ok(vec![(ROWKEY.to_owned(), ty)]),
        ty if by.unwrapped => Ok(vec![(ROWVAL.to_owned(), ty)]),
        SqlType::Struct(fields) => Ok(fields),
        _ => Err("Schema returned from schema registry is anonymous type. To use this schema with ksqlDB, set \
                  'WRAP_SINGLE_VALUE=false' in the WITH clause properties."
            .to_owned()),
    }
}

/// The names of the types that a schema defines on its top level. Of several in a PROTOBUF schema a statement has to choose one.
pub fn schema_names(schema: &SchemaText) -> Result<Vec<String>, String> {
    match schema.kind {
        SchemaType::Protobuf => Ok(proto::parse(schema)?.names()),
        SchemaType::Json => Ok(json_sr::parse(schema)?.title().into_iter().collect()),
        SchemaType::Avro => Ok(avro::name(&avro::parse(schema)?).into_iter().collect()),
    }
}

/// The full name and the message indexes of the message that a statement has chosen, or of the first one.
pub fn message_path(schema: &SchemaText, full_name: Option<&str>) -> Result<(String, Vec<i32>), String> {
    let file = proto::parse(schema)?;
    let found = file.choose(full_name).map(|(name, _, path)| (name, path));
    found.ok_or_else(|| proto::no_message(full_name))
}
