//! PROTOBUF_NOSR: the columns are the message.
//!
//! ```text
//! A INT, B STRING    5, "x"    08 05 12 01 78
//! ```
//!
//! An unwrapped column is a message as well: a DECIMAL, DATE, TIME, TIMESTAMP or STRUCT its own, any other scalar one of Google's
//! wrappers (`StringValue` and so on), whose field 1 it is, as in a row of one column. The difference is NULL, which is a null
//! payload then.

use super::read::{self, Fault, MessagePlan, Value};
use super::wire::{Wire, each};
use super::{own, reason, typed, write};
use crate::catalog::Nullable;
use crate::error::Result;
use crate::format::Bad;
use crate::format::cells::Cells;
use crate::format::json::encode::Source;
use crate::format::rows::{Payloads, RowReader, RowWriter};
use crate::types::{Column, SqlType};
use arrow::array::ArrayRef;

/// Decodes payloads into columns.
#[derive(Debug)]
pub(in crate::format) struct Reader {
    columns: Vec<(String, SqlType)>,
    cells: Vec<Cells>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Message(Box<MessagePlan>),
    /// The payload is the only column's own message.
    Alone(Value),
    /// The columns have a type of which there is no message.
    Refused(String),
}

impl Reader {
    /// The columns, each with whether it is materialized; `alone`: the only column is unwrapped.
    pub(in crate::format) fn new(columns: &[(&Column, bool)], alone: bool) -> Reader {
        let cells = columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect();
        let columns = typed(columns);
        let body = body(&columns, alone && columns.iter().all(|(_, ty)| has_own_message(ty)));
        Reader { cells, body: body.unwrap_or_else(Body::Refused), columns }
    }

    fn read(&mut self, payload: &[u8]) -> Result<(), Fault> {
        match (&mut self.body, self.cells.as_mut_slice()) {
            (Body::Message(plan), cells) => plan.read(payload, cells),
            (Body::Alone(value), [cells]) => {
                each(payload, |_, _| Some(())).ok_or(Fault::Malformed)?;
                value.push(cells, Wire::Bytes(payload)).map_err(|_| Fault::Field(0))?;
                if !cells.keep {
                    cells.truncate(0);
                }
                Ok(())
            }
            (Body::Refused(reason), _) => Err(Fault::Kind(reason.as_str().into())),
            (Body::Alone(_), _) => Err(Fault::Malformed),
        }
    }
}

fn body(columns: &[(String, SqlType)], own_message: bool) -> std::result::Result<Body, String> {
    let named: Vec<_> = columns.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
    let (file, name) = own::schema(&named, Nullable::None)?;
    if let (true, [column]) = (own_message, columns)
        && let Some(value) = read::alone(&file, &name, column)
    {
        return Ok(Body::Alone(value));
    }
    let message = file.message(&name).ok_or("there is no message of the columns")?;
    Ok(Body::Message(Box::new(read::compile(&file, message, columns))))
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], rows: usize) -> Result<bool, Bad> {
        self.read(payload).map(|()| true).map_err(|fault| {
            self.truncate(rows);
            Bad { reason: reason(fault, &self.columns) }
        })
    }

    fn cells(&mut self) -> &mut [Cells] {
        &mut self.cells
    }
}

/// Encodes columns.
#[derive(Debug)]
pub(in crate::format) struct Writer {
    columns: Vec<(String, SqlType)>,
    /// How the message is written; or why none can be.
    layout: std::result::Result<write::Layout, String>,
    /// The only column is unwrapped.
    bare: bool,
    own_message: bool,
}

impl Writer {
    pub(in crate::format) fn new(columns: &[(&Column, bool)], bare: bool) -> Writer {
        let columns = typed(columns);
        let named: Vec<_> = columns.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
        let layout = own::schema(&named, Nullable::None).and_then(|(file, name)| {
            let message = file.message(&name).ok_or("there is no message of the columns")?;
            Ok(write::layout(&file, message, &columns))
        });
        let own_message = bare && columns.iter().all(|(_, ty)| has_own_message(ty));
        Writer { layout, bare, own_message, columns }
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let unwrapped = columns.first().filter(|_| self.bare);
        let sources = columns.iter().zip(&self.columns).map(|(column, (_, ty))| Source::new(column, ty));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        out.each(unwrapped, |row, data| match &self.layout {
            Err(reason) => Err(reason.clone().into()),
            Ok(layout) if self.own_message => layout.write_alone(&sources[0], row, data),
            Ok(layout) => layout.write(&sources, row, data),
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
