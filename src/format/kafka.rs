//! KAFKA: the serializers of Kafka's clients (`IntegerSerializer` and so on): one column, no names, no coercion.
//!
//! ```text
//! INTEGER   4 bytes, big-endian          STRING   UTF-8; invalid sequences become U+FFFD
//! BIGINT    8 bytes, big-endian          BYTES    unchanged
//! DOUBLE    8 bytes, IEEE 754, big-endian
//! ```

use super::Bad;
use super::cells::{Cells, Data};
use super::json::encode::Source;
use super::rows::{Payloads, RowReader, RowWriter};
use crate::error::Result;
use crate::types::{Column, SqlType};
use arrow::array::ArrayRef;

/// Decodes payloads into the only column.
#[derive(Debug)]
pub(super) struct Reader {
    cells: Cells,
    /// The column's name, for messages.
    name: String,
}

impl Reader {
    pub(super) fn new(column: &Column, keep: bool) -> Reader {
        Reader { cells: Cells::new(&column.ty, keep), name: column.name.clone() }
    }
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], _: usize) -> Result<bool, Bad> {
        push(&mut self.cells, payload, &self.name).map(|()| true)
    }

    fn cells(&mut self) -> &mut [Cells] {
        std::slice::from_mut(&mut self.cells)
    }
}

/// Encodes the only column.
#[derive(Debug)]
pub(super) struct Writer(SqlType);

impl Writer {
    pub(super) fn new(ty: &SqlType) -> Writer {
        Writer(ty.clone())
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let source = Source::new(&columns[0], &self.0)?;
        out.each(Some(&columns[0]), |row, data| {
            write(&source, row, data);
            Ok(())
        });
        Ok(())
    }
}

/// Appends one value; `name` is the column's.
fn push(cells: &mut Cells, payload: &[u8], name: &str) -> Result<(), Bad> {
    match &mut cells.data {
        Data::Integer(values) => values.push(i32::from_be_bytes(exactly(payload, name, "INTEGER")?)),
        Data::Bigint(values) => values.push(i64::from_be_bytes(exactly(payload, name, "BIGINT")?)),
        Data::Double(values) => values.push(f64::from_be_bytes(exactly(payload, name, "DOUBLE")?)),
        Data::String(pieces) => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => pieces.push(text.as_bytes()),
            Err(_) => pieces.push(String::from_utf8_lossy(payload).as_bytes()),
        },
        Data::Bytes(pieces) => pieces.push(payload),
        _ => unreachable!("other types are refused when the decoder is made"),
    }
    if !cells.keep {
        cells.truncate(0);
    }
    Ok(())
}

fn exactly<const N: usize>(payload: &[u8], name: &str, ty: &str) -> Result<[u8; N], Bad> {
    payload.try_into().map_err(|_| Bad {
        reason: format!("column `{name}`: {ty} takes {N} bytes, the payload has {}", payload.len()),
    })
}

/// Appends one value's bytes; it is not NULL.
fn write(source: &Source<'_>, row: usize, out: &mut Vec<u8>) {
    match source {
        Source::Integer(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
        Source::Bigint(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
        Source::Double(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
        Source::String(a) => out.extend_from_slice(a.value(row).as_bytes()),
        Source::Bytes(a) => out.extend_from_slice(a.value(row)),
        _ => unreachable!("other types are refused when the encoder is made"),
    }
}
