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

mod cells;
mod delimited;
mod json;
mod kafka;
mod protobuf;
pub mod sniff;
pub mod window_key;

pub use crate::catalog::check;

use crate::catalog::Format;
use crate::catalog::carried;
use crate::error::{Error, Result};
use crate::types::{Column, Role, SqlType};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use cells::Cells;
use json::encode::{Source, member, write_object};
use std::ops::Range;

/// Limit of payload bytes per batch: decoding may double the size of text, and Arrow's offsets have 31 bits.
pub const BATCH_BYTES_MAX: usize = 1_000_000_000;

/// Why a record was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// What is wrong, without the data.
    pub reason: String,
}

/// A single key column is never wrapped, a single value column if the source says so.
fn is_bare(format: Format, columns: &[&Column], unwrapped: bool) -> Result<bool> {
    match columns {
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
    body: Body,
    /// Index of the body's column per output column.
    outputs: Vec<usize>,
    rows: usize,
    /// Rows without an image, ascending.
    absent: Vec<u32>,
    /// Payload bytes since the last `finish`.
    bytes: usize,
}

#[derive(Debug)]
enum Body {
    /// Ignores payloads; `always_absent`: every payload counts as null.
    Nothing {
        always_absent: bool,
    },
    /// The column's name, for messages.
    Kafka(Box<Cells>, String),
    Json(Box<json::Reader>),
    Delimited(Box<delimited::Reader>),
    Protobuf(Box<protobuf::Reader>),
}

impl Decoder {
    /// `columns` are all declared ones of that side; `wanted` the indices of those that are materialised, in the order in
    /// which they come out. The others are still checked. A header column cannot be wanted: it is not in the payload.
    pub fn new(format: Format, columns: &[Column], wanted: &[usize], unwrapped: bool) -> Result<Decoder> {
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
        let body = match format {
            Format::None => Body::Nothing { always_absent: true },
            _ if keeps.is_empty() => Body::Nothing { always_absent: false },
            Format::Kafka => Body::Kafka(Box::new(Cells::new(&keeps[0].0.ty, keeps[0].1)), keeps[0].0.name.clone()),
            Format::Json => Body::Json(Box::new(json::Reader::new(&keeps, bare))),
            Format::ProtobufNosr => Body::Protobuf(Box::new(protobuf::Reader::new(&keeps, bare))),
            Format::Delimited(delimiter) => Body::Delimited(Box::new(delimited::Reader::new(delimiter, &keeps))),
        };
        Ok(Decoder { body, outputs, rows: 0, absent: vec![], bytes: 0 })
    }

    /// Appends a row; `None` is a null payload, a row without an image whose columns are NULL. On `Err` nothing is
    /// appended.
    #[inline]
    pub fn push(&mut self, payload: Option<&[u8]>) -> Result<(), Bad> {
        let present = match payload {
            None => false,
            Some(payload) => {
                self.take_room(payload.len())?;
                match &mut self.body {
                    Body::Json(reader) => reader.push(payload, self.rows)?,
                    Body::Kafka(cells, name) => kafka::push(cells, payload, name).map(|()| true)?,
                    Body::Delimited(reader) => reader.push(payload, self.rows).map(|()| true)?,
                    Body::Protobuf(reader) => reader.push(payload, self.rows).map(|()| true)?,
                    Body::Nothing { always_absent } => !*always_absent,
                }
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
        match &mut self.body {
            Body::Json(reader) => reader.push_null(),
            Body::Kafka(cells, _) => cells.push_null(),
            Body::Delimited(reader) => reader.push_null(),
            Body::Protobuf(reader) => reader.push_null(),
            Body::Nothing { .. } => {}
        }
    }

    /// Removes the last row, whose other part was bad. Does nothing if there is none.
    pub fn pop(&mut self) {
        self.rows = self.rows.saturating_sub(1);
        match &mut self.body {
            Body::Json(reader) => reader.truncate(self.rows),
            Body::Kafka(cells, _) => cells.truncate(self.rows),
            Body::Delimited(reader) => reader.truncate(self.rows),
            Body::Protobuf(reader) => reader.truncate(self.rows),
            Body::Nothing { .. } => {}
        }
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
                None => match &mut self.body {
                    Body::Json(reader) => reader.finish(place),
                    Body::Kafka(cells, _) => cells.finish(),
                    Body::Delimited(reader) => reader.finish(place),
                    Body::Protobuf(reader) => reader.finish(place),
                    Body::Nothing { .. } => unreachable!("it has no columns"),
                },
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
    format: Format,
    columns: Vec<Column>,
    /// The only column is not wrapped.
    bare: bool,
    /// `{"A":`-style prefixes of the columns.
    names: Vec<Vec<u8>>,
}

impl Encoder {
    /// An error for column types that the format does not support.
    pub fn new(format: Format, columns: &[Column], unwrapped: bool) -> Result<Encoder> {
        check(format, columns)?;
        let carried = carried(columns);
        if carried.len() < columns.len() {
            return Err(Error::bug("header columns are not written"));
        }
        let bare = is_bare(format, &carried, unwrapped)?;
        let names = columns.iter().enumerate().map(|(i, c)| member(i, &c.name)).collect();
        Ok(Encoder { format, columns: columns.to_vec(), bare, names })
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
        if columns.len() != self.columns.len() || columns.iter().any(|c| c.len() != rows) {
            return Err(Error::bug("the columns to encode are not those of the encoder"));
        }
        if columns.is_empty() || self.format == Format::None {
            ranges.extend(std::iter::repeat_n(None, rows));
            return Ok(vec![]);
        }
        let columns = columns.iter().zip(&self.columns).map(|(a, c)| expected(a, &c.ty)).collect::<Result<Vec<_>>>()?;
        let typed = columns.iter().zip(&self.columns).map(|(a, c)| Source::new(a, &c.ty));
        let sources = self.names.iter().cloned().zip(typed.collect::<Result<Vec<_>>>()?).collect::<Vec<_>>();
        let mut field = String::new();
        let mut bad = vec![];
        for row in 0..rows {
            let null = present.is_some_and(|p| p.is_null(row)) || self.bare && sources[0].1.is_null(row);
            if null {
                ranges.push(None);
                continue;
            }
            let start = data.len();
            let mut written = Ok(());
            match (self.format, self.bare) {
                (Format::Kafka, _) => kafka::write(&sources[0].1, row, data),
                (Format::ProtobufNosr, true) => written = protobuf::write_alone(&columns[0], row, data),
                (Format::ProtobufNosr, false) => written = protobuf::write(&columns, row, data),
                (Format::Delimited(delimiter), _) => delimited::write(&columns, row, delimiter, &mut field, data),
                (_, true) => sources[0].1.write(row, data),
                (_, false) => write_object(&sources, row, data),
            }
            if let Err(reason) = written {
                data.truncate(start);
                bad.push((row, Bad { reason: reason.to_owned() }));
                ranges.push(None);
                continue;
            }
            ranges.push(Some(start..data.len()));
        }
        Ok(bad)
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
