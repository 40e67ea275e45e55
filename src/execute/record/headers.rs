//! Header columns: what a record's headers say, as columns.
//!
//! ```text
//! HEADERS          ARRAY<STRUCT<KEY STRING, VALUE BYTES>>: all of them, in order
//! HEADER('key')    BYTES: the last one of that name, NULL if there is none
//! ```

use crate::error::{Error, Result};
use crate::log::HeadersRef;
use crate::types::{Column, Role};
use arrow::array::{ArrayRef, BinaryBuilder, ListArray, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// Header columns under construction; without a wanted column nothing is looked at.
#[derive(Debug)]
pub(crate) struct HeaderColumns {
    columns: Vec<Cells>,
}

#[derive(Debug)]
enum Cells {
    All { item: DataType, lengths: Vec<usize>, keys: StringBuilder, values: BinaryBuilder },
    Last { key: String, values: BinaryBuilder },
}

impl HeaderColumns {
    /// Columns for these declared ones, all of headers.
    pub(crate) fn new(columns: &[&Column]) -> Result<HeaderColumns> {
        let cells = |column: &&Column| match (&column.role, column.ty.arrow()) {
            (Role::Header(Some(key)), _) => Ok(Cells::Last { key: key.clone(), values: BinaryBuilder::new() }),
            (Role::Header(None), DataType::List(item)) => Ok(Cells::All {
                item: item.data_type().clone(),
                lengths: Vec::new(),
                keys: StringBuilder::new(),
                values: BinaryBuilder::new(),
            }),
            _ => Err(Error::bug(format!("{} is no column of headers", column.name))),
        };
        Ok(HeaderColumns { columns: columns.iter().map(cells).collect::<Result<_>>()? })
    }

    /// One more record.
    #[inline]
    pub(crate) fn push(&mut self, headers: &HeadersRef<'_>) {
        if !self.columns.is_empty() {
            self.append(headers);
        }
    }

    fn append(&mut self, headers: &HeadersRef<'_>) {
        let headers = headers.to_vec();
        for column in &mut self.columns {
            match column {
                Cells::All { lengths, keys, values, .. } => {
                    lengths.push(headers.len());
                    for header in &headers {
                        keys.append_value(&header.key);
                        values.append_option(header.value.as_deref());
                    }
                }
                Cells::Last { key, values } => {
                    let last = headers.iter().rev().find(|h| h.key == *key);
                    values.append_option(last.and_then(|h| h.value.as_deref()));
                }
            }
        }
    }

    /// The columns, and begins anew.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let finish = |column: &mut Cells| -> Result<ArrayRef> {
            Ok(match column {
                Cells::Last { values, .. } => Arc::new(values.finish()),
                Cells::All { item, lengths, keys, values } => {
                    let DataType::Struct(fields) = item else { return Err(Error::bug("a header is no STRUCT")) };
                    let parts: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(values.finish())];
                    let entries = StructArray::try_new(fields.clone(), parts, None)?;
                    let field = Arc::new(arrow::datatypes::Field::new("item", item.clone(), true));
                    let offsets = OffsetBuffer::from_lengths(std::mem::take(lengths));
                    Arc::new(ListArray::try_new(field, offsets, Arc::new(entries), None)?)
                }
            })
        };
        self.columns.iter_mut().map(finish).collect()
    }
}
