//! Protocol buffers: PROTOBUF by the schemas of a registry (Connect's `ProtobufConverter`), and PROTOBUF_NOSR, where the columns
//! are the fields of the message, numbered from 1 (ksqlDB's `ProtobufNoSRSerdeFactory`).
//!
//! ```text
//! BOOLEAN bool   INTEGER int32   BIGINT int64   DOUBLE double   STRING string   BYTES bytes
//! DECIMAL    { bytes value = 1; uint32 precision = 2; int32 scale = 3 }     value: two's complement, big-endian
//! DATE       { int32 year = 1; int32 month = 2; int32 day = 3 }             from year 1 on
//! TIME       { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4 }
//! TIMESTAMP  { int64 seconds = 1; int32 nanos = 2 }                         years 1 to 9999
//! ARRAY repeated   MAP repeated { key = 1; value = 2 }   STRUCT a message
//!
//! schema, text, descriptor, known, resolve    schemas, as text or as descriptors, linked
//! translate, infer     columns to schema, schema to columns
//! own                  the message that columns are without a schema
//! read                 a writer's message and columns to a plan; payloads to columns by it
//! write                columns to payloads, by a schema's message
//! wire                 bytes to fields
//! framed, nosr         the two formats
//! ```
//!
//! There is no NULL for scalars in a message that `translate` makes, unless the source asks for one: a missing one is 0, false or
//! empty (proto3's implicit presence). A missing message is NULL. An element of an ARRAY cannot be missing: a row with such a NULL is
//! not written.

mod descriptor;
mod framed;
mod infer;
mod known;
mod nosr;
mod own;
mod read;
mod resolve;
mod schema;
mod text;
mod translate;
mod wire;
mod write;

pub(super) use infer::{columns, no_message};
pub(crate) use schema::{Enum, Field, File, Label, Message, Scalar, Syntax, Type};
pub(super) use translate::text as columns_to_text;
pub(super) use {framed::Reader as FramedReader, framed::Writer as FramedWriter, nosr::Reader, nosr::Writer};

use crate::catalog::SchemaText;
use crate::types::{Column, SqlType};
use read::Fault;

/// First and last second of a TIMESTAMP, in the years 1 and 9999: the range of `google.protobuf.Timestamp`.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Parses a schema with its references.
pub(crate) fn parse(schema: &SchemaText) -> Result<File, String> {
    let references: Vec<_> = schema.references.iter().map(|r| (r.name.as_str(), &*r.text)).collect();
    resolve::parse(&schema.text, &references)
}

/// Names and types of columns.
fn typed(columns: &[(&Column, bool)]) -> Vec<(String, SqlType)> {
    columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect()
}

/// The reason why a payload is bad.
fn reason(fault: Fault, columns: &[(String, SqlType)]) -> String {
    match fault {
        Fault::Malformed | Fault::Invalid => "the payload is no Protobuf message".to_owned(),
        Fault::Field(column) => {
            let (name, ty) = &columns[column];
            format!("column `{name}`: the field is no {ty}")
        }
        Fault::Kind(reason) => reason.into_string(),
    }
}
