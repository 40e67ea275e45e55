//! Record bytes to columns and back: one [`Decoder`] or [`Encoder`] for one side (key or value) of a source.
//!
//! ```text
//! push(payload) per record, pop() to take one back  ->  finish(): columns, and which rows have an image at all
//! encode(columns)  ->  all rows' bytes in one buffer, a range per row
//! ```
//!
//! A decoder materializes only the wanted columns but checks all of them: a record with a value that its declared column does
//! not accept is bad, and leaves no trace. A null payload is a row without an image; so is JSON's `null`. A single column is
//! *unwrapped* in a key, and in a value if the source says so (`WRAP_SINGLE_VALUE`, ksqlDB's `SerdeFeature`); there a NULL is a
//! null payload.
//!
//! A format is a [`rows::RowReader`] and a [`rows::RowWriter`]; `reader` and `writer` below are where they are chosen. Payloads of
//! formats with a registry carry the id of the schema by which they were written ([`frame`]); [`schema`] makes schemas of columns and
//! columns of schemas.

pub(crate) mod avro;
pub mod canonical;
mod cells;
mod connect;
mod delimited;
pub mod frame;
mod json;
pub(crate) mod json_sr;
mod kafka;
pub(crate) mod proto;
mod rows;
pub mod schema;
pub mod sniff;
mod varint;
pub mod window_key;

pub use crate::catalog::check;
pub use avro::tree as avro_tree;

use crate::catalog::{Format, Source, Wire, carried};
use crate::error::{Error, Result};
use crate::types::{Column, Role, SqlType};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use frame::{NoSchemas, SharedSchemas};
use rows::{Nothing, Payloads, Refusal, RowReader, RowWriter};
use std::ops::Range;
use std::sync::Arc;

/// Limit of payload bytes per batch: decoding may double the size of text, and Arrow's offsets have 31 bits.
pub const BATCH_BYTES_MAX: usize = 1_000_000_000;

/// Why a record was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// What is wrong, without the data.
    pub reason: String,
}

/// One side of a source: how its bytes are laid out.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The format.
    pub format: Format,
    /// All columns of the side.
    pub columns: &'a [Column],
    /// A single value column is not wrapped. A single key column never is, but in PROTOBUF.
    pub unwrapped: bool,
    /// The schema, in a format with a registry.
    pub wire: &'a Wire,
}

impl<'a> Side<'a> {
    /// The key of a source.
    pub fn key(source: &'a Source) -> Side<'a> {
        Side { format: source.key_format, columns: &source.schema.key, unwrapped: true, wire: &source.key_wire }
    }

    /// The value of a source.
    pub fn value(source: &'a Source) -> Side<'a> {
        Side {
            format: source.value_format,
            columns: &source.schema.value,
            unwrapped: source.unwrapped_value,
            wire: &source.value_wire,
        }
    }
}

/// A side as a format's reader or writer takes it.
struct Layout<'a> {
    /// The columns in the payload, each with whether it is materialized.
    columns: Vec<(&'a Column, bool)>,
    /// The only column is not wrapped.
    bare: bool,
    wire: &'a Wire,
    schemas: &'a SharedSchemas,
}

/// The one place where a format's reader is chosen.
fn reader(format: Format, layout: &Layout<'_>) -> Result<Box<dyn RowReader>> {
    let Layout { columns, bare, wire, schemas } = layout;
    Ok(match format {
        Format::None => Box::new(Nothing { always_absent: true }),
        _ if columns.is_empty() => Box::new(Nothing { always_absent: false }),
        Format::Kafka => Box::new(kafka::Reader::new(columns[0].0, columns[0].1)),
        Format::Json => Box::new(json::Reader::new(columns, *bare)),
        Format::ProtobufNosr => Box::new(proto::Reader::new(columns, *bare)),
        Format::Protobuf => Box::new(proto::FramedReader::new(columns, wire.schema.clone(), (*schemas).clone())),
        Format::Delimited(delimiter) => Box::new(delimited::Reader::new(delimiter, columns)),
        Format::Avro => Box::new(avro::Reader::new(layout)),
        Format::JsonSr => Box::new(json_sr::Reader::new(columns, *bare, wire.schema.clone(), (*schemas).clone())),
    })
}

/// The one place where a format's writer is chosen.
fn writer(format: Format, layout: &Layout<'_>) -> Result<Box<dyn RowWriter>> {
    let Layout { columns, bare, wire, .. } = layout;
    Ok(match format {
        Format::None => Box::new(Nothing { always_absent: true }),
        _ if columns.is_empty() => Box::new(Nothing { always_absent: true }),
        Format::Kafka => Box::new(kafka::Writer::new(&columns[0].0.ty)),
        Format::Json => Box::new(json::encode::Writer::new(columns, *bare)),
        Format::ProtobufNosr => Box::new(proto::Writer::new(columns, *bare)),
        Format::Protobuf => Box::new(proto::FramedWriter::new(columns, wire.schema.as_deref())?),
        Format::Delimited(delimiter) => Box::new(delimited::Writer::new(delimiter)),
        Format::Avro => Box::new(avro::Writer::new(layout)?),
        Format::JsonSr => Box::new(json_sr::Writer::new(columns, *bare, wire.schema.as_deref())?),
    })
}

/// A single key column is never wrapped, a single value column if the source says so. PROTOBUF has no unwrapped values.
fn is_bare(format: Format, columns: &[&Column], unwrapped: bool) -> Result<bool> {
    match columns {
        _ if format == Format::Protobuf => Ok(false),
        [_] if matches!(format, Format::Kafka | Format::Delimited(_)) => Ok(true),
        [column] => Ok(unwrapped || column.role == Role::Key),
        _ if unwrapped && columns.iter().any(|c| c.role != Role::Key) => {
            Err(Error::statement("'WRAP_SINGLE_VALUE' is only valid for single-field value schemas"))
        }
        _ => Ok(false),
    }
}

/// Decodes keys or values of a source into columns.
#[derive(Debug)]
pub struct Decoder {
    reader: Box<dyn RowReader>,
    /// Index of the reader's column per output column.
    outputs: Vec<usize>,
    rows: usize,
    /// Rows without an image, ascending.
    absent: Vec<u32>,
    /// Payload bytes since the last `finish`.
    bytes: usize,
}

impl Decoder {
    /// A decoder of a format without a registry. `columns` are all declared ones of that side; `wanted` the indices of those
    /// that are materialised, in the order in which they come out. The others are still checked. A header column cannot be
    /// wanted: it is not in the payload.
    pub fn new(format: Format, columns: &[Column], wanted: &[usize], unwrapped: bool) -> Result<Decoder> {
        let schemas: SharedSchemas = Arc::new(NoSchemas);
        Decoder::of(Side { format, columns, unwrapped, wire: &Wire::default() }, wanted, &schemas)
    }

    /// A decoder of one side of a source; `schemas` are those of the records' writers.
    pub fn of(side: Side<'_>, wanted: &[usize], schemas: &SharedSchemas) -> Result<Decoder> {
        let Side { format, columns, unwrapped, wire } = side;
        check(format, columns)?;
        let keeps: Vec<(&Column, bool)> = columns
            .iter()
            .enumerate()
            .filter(|(_, c)| !matches!(c.role, Role::Header(_)))
            .map(|(i, c)| (c, wanted.contains(&i)))
            .collect();
        let mut outputs = vec![];
        for &index in wanted {
            let column = columns.get(index).filter(|c| !matches!(c.role, Role::Header(_)));
            let column = column.ok_or_else(|| Error::bug("a column is wanted that the payload does not have"))?;
            let place = keeps.iter().position(|(c, _)| std::ptr::eq(*c, column));
            outputs.push(place.expect("the column was just found in the same list"));
        }
        let carried: Vec<&Column> = keeps.iter().map(|(c, _)| *c).collect();
        let bare = is_bare(format, &carried, unwrapped)?;
        let reader = reader(format, &Layout { columns: keeps, bare, wire, schemas })?;
        Ok(Decoder { reader, outputs, rows: 0, absent: vec![], bytes: 0 })
    }

    /// Appends a row; `None` is a null payload, a row without an image whose columns are NULL. On `Err` nothing is
    /// appended.
    #[inline]
    pub fn push(&mut self, payload: Option<&[u8]>) -> Result<(), Bad> {
        let present = match payload {
            None => false,
            Some(payload) => {
                self.take_room(payload.len())?;
                self.reader.push(payload, self.rows)?
            }
        };
        if !present {
            self.push_absent();
        }
        self.rows += 1;
        Ok(())
    }

    fn take_room(&mut self, bytes: usize) -> Result<(), Bad> {
        if !self.has_room(bytes) {
            return Err(Bad { reason: format!("a batch takes {BATCH_BYTES_MAX} bytes and is full") });
        }
        self.bytes += bytes;
        Ok(())
    }

    #[cold]
    fn push_absent(&mut self) {
        self.absent.push(self.rows as u32);
        self.reader.push_null();
    }

    /// Removes the last row, whose other part was bad. Does nothing if there is none.
    pub fn pop(&mut self) {
        self.rows = self.rows.saturating_sub(1);
        self.reader.truncate(self.rows);
        if self.absent.last().is_some_and(|&row| row as usize >= self.rows) {
            self.absent.pop();
        }
    }

    /// Rows since the last `finish`.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether a payload of this size fits into the batch; otherwise call `finish` first.
    pub fn has_room(&self, bytes: usize) -> bool {
        bytes <= BATCH_BYTES_MAX - self.bytes
    }

    /// Returns the wanted columns and which rows have an image (`None` = all), and starts the next batch.
    pub fn finish(&mut self) -> (Vec<ArrayRef>, Option<NullBuffer>) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let present = cells::validity(&mut self.absent, rows);
        let mut columns: Vec<ArrayRef> = vec![];
        for (i, &place) in self.outputs.iter().enumerate() {
            let column = match self.outputs[..i].iter().position(|&p| p == place) {
                Some(before) => columns[before].clone(),
                None => self.reader.finish(place),
            };
            debug_assert_eq!(column.len(), rows);
            columns.push(column);
        }
        (columns, present)
    }
}

/// Encodes keys or values of records.
#[derive(Debug)]
pub struct Encoder {
    types: Vec<SqlType>,
    writer: Box<dyn RowWriter>,
}

impl Encoder {
    /// An encoder of a format without a registry. An error for column types that the format does not support.
    pub fn new(format: Format, columns: &[Column], unwrapped: bool) -> Result<Encoder> {
        Encoder::of(Side { format, columns, unwrapped, wire: &Wire::default() })
    }

    /// An encoder of one side of a source, in a format with a registry by the schema of its [`Wire`].
    pub fn of(side: Side<'_>) -> Result<Encoder> {
        let Side { format, columns, unwrapped, wire } = side;
        check(format, columns)?;
        let carried = carried(columns);
        if carried.len() < columns.len() {
            return Err(Error::bug("header columns are not written"));
        }
        let bare = is_bare(format, &carried, unwrapped)?;
        let schemas: SharedSchemas = Arc::new(NoSchemas);
        let columns = columns.iter().map(|c| (c, true)).collect();
        let layout = Layout { columns, bare, wire, schemas: &schemas };
        let types = layout.columns.iter().map(|(c, _)| c.ty.clone()).collect();
        Ok(Encoder { types, writer: writer(format, &layout)? })
    }

    /// Appends every row's bytes to `data` and one range per row to `ranges` (`None` = a null payload: the row has no
    /// image, its unwrapped column is NULL, or there are no columns). Returns the rows that could not be encoded, which get no
    /// payload either.
    pub fn encode(
        &mut self,
        columns: &[ArrayRef],
        present: Option<&NullBuffer>,
        rows: usize,
        data: &mut Vec<u8>,
        ranges: &mut Vec<Option<Range<usize>>>,
    ) -> Result<Vec<(usize, Bad)>> {
        if columns.len() != self.types.len() || columns.iter().any(|c| c.len() != rows) {
            return Err(Error::bug("the columns to encode are not those of the encoder"));
        }
        let columns = columns.iter().zip(&self.types).map(|(a, ty)| expected(a, ty)).collect::<Result<Vec<_>>>()?;
        let mut out = Payloads { rows, present, data, ranges, bad: vec![] };
        self.writer.write(&columns, &mut out)?;
        Ok(out.bad)
    }
}

/// The column in the Arrow type of `ty`. Another Arrow type of the same SQL type, such as a string view, is cast.
fn expected(column: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let wanted = ty.arrow();
    if column.data_type().equals_datatype(&wanted) {
        return Ok(column.clone());
    }
    Ok(arrow::compute::cast(column, &wanted)?)
}
