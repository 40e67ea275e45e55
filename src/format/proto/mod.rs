//! PROTOBUF_NOSR: a message whose fields are the columns, numbered from 1, without a schema registry (ksqlDB's
//! `ProtobufNoSRSerdeFactory`).
//!
//! ```text
//! BOOLEAN bool   INTEGER int32   BIGINT int64   DOUBLE double   STRING string   BYTES bytes
//! DECIMAL    { bytes value = 1; uint32 precision = 2; int32 scale = 3 }     value: two's complement, big-endian
//! DATE       { int32 year = 1; int32 month = 2; int32 day = 3 }             from year 1 on
//! TIME       { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4 }
//! TIMESTAMP  { int64 seconds = 1; int32 nanos = 2 }                         years 1 to 9999
//! ARRAY repeated   MAP repeated { key = 1; value = 2 }   STRUCT a message
//!
//! schema, lexer, text, options, descriptor, known, resolve    schemas of a registry, as text or as descriptors
//! infer, translate    schema to columns, columns to schema
//! wire    bytes to fields
//! read    fields to columns
//! write   columns to bytes
//! ```
//!
//! There is no NULL for scalars: a missing one is 0, false or empty (proto3's implicit presence). A missing message is NULL. An
//! element of an ARRAY cannot be missing: a row with such a NULL is not written.
//!
//! An unwrapped column is a message as well: a DECIMAL, DATE, TIME, TIMESTAMP or STRUCT its own, any other scalar one of Google's
//! wrappers (`StringValue` and so on), whose field 1 it is, as in a row of one column. The difference is NULL, which is a null
//! payload then.

mod descriptor;
mod infer;
mod known;
mod lexer;
mod options;
mod read;
mod resolve;
mod schema;
mod text;
mod translate;
mod wire;
mod write;

pub(super) use infer::{columns, no_message};
pub(crate) use schema::{Enum, Field, File, Label, Message, Scalar, Source, Syntax, Type};
pub(super) use translate::text as columns_to_text;

use super::Bad;
use super::cells::Cells;
use super::rows::{Payloads, RowReader, RowWriter};
use crate::catalog::SchemaText;
use crate::error::Result;
use crate::types::{Column, SqlType};
use arrow::array::ArrayRef;
use read::Fault;

/// First and last second of a TIMESTAMP, in the years 1 and 9999: the range of `google.protobuf.Timestamp`.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Parses a schema with its references.
pub(crate) fn parse(schema: &SchemaText) -> std::result::Result<File, String> {
    let references: Vec<_> = schema.references.iter().map(|r| (r.name.as_str(), &*r.text)).collect();
    resolve::parse(&schema.text, &references)
}

/// Decodes payloads into columns.
#[derive(Debug)]
pub(super) struct Reader {
    /// Names and types, for messages.
    columns: Vec<(String, SqlType)>,
    cells: Vec<Cells>,
    /// Whether the payload is the only column's own message.
    own_message: bool,
}

impl Reader {
    /// The columns, each with whether it is materialized; `alone`: the only column is unwrapped.
    pub(super) fn new(columns: &[(&Column, bool)], alone: bool) -> Reader {
        let cells = columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect();
        let named = columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect();
        Reader { columns: named, cells, own_message: alone && columns.iter().all(|(c, _)| has_own_message(&c.ty)) }
    }
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], rows: usize) -> Result<bool, Bad> {
        let read = match (self.own_message, self.cells.as_mut_slice()) {
            (true, [cells]) => read::alone(cells, payload),
            (_, cells) => read::message(cells, payload),
        };
        read.map(|()| true).map_err(|fault| {
            self.truncate(rows);
            let reason = match fault {
                Fault::Message => "the payload is no Protobuf message".to_owned(),
                Fault::Field(column) => {
                    let (name, ty) = &self.columns[column];
                    format!("column `{name}`: the field is no {ty}")
                }
            };
            Bad { reason }
        })
    }

    fn push_null(&mut self) {
        self.cells.iter_mut().for_each(Cells::push_null);
    }

    fn truncate(&mut self, rows: usize) {
        self.cells.iter_mut().for_each(|c| c.truncate(rows));
    }

    fn finish(&mut self, column: usize) -> ArrayRef {
        self.cells[column].finish()
    }
}

/// Encodes columns.
#[derive(Debug)]
pub(super) struct Writer {
    /// The only column is unwrapped.
    pub(super) bare: bool,
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let unwrapped = columns.first().filter(|_| self.bare);
        out.each(unwrapped, |row, data| {
            let written = match unwrapped {
                Some(column) => write::write_alone(column, row, data),
                None => write::write(columns, row, data),
            };
            written.map_err(Into::into)
        });
        Ok(())
    }
}

/// Whether a value of this type is a message on the wire, not a scalar.
fn has_own_message(ty: &SqlType) -> bool {
    match ty {
        SqlType::Decimal(..) | SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Struct(_) => true,
        SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Double => false,
        SqlType::String | SqlType::Bytes | SqlType::Array(_) | SqlType::Map(..) => false,
    }
}
