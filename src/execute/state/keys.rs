//! Group keys in three shapes: columns (what operators pass on), table keys (what is hashed), and the bytes of the internal
//! key format (what changelogs hold, and what decides the order of groups that leave together).
//!
//! A single INTEGER or BIGINT is hashed as a number, a single STRING or BYTES as its own bytes, anything else as Arrow's
//! row encoding, which can be turned back into columns.

use super::key_table::{KeyTable, Probe};
use super::segment::Segments;
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::change::ChangeBatch;
use crate::format::{Decoder, Encoder};
use crate::types::{Column, SqlType};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use std::ops::Range;
use std::sync::Arc;

/// A group by segment number and ordinal.
pub(crate) type GroupRef = (u32, u32);

/// How the keys of one operator are held.
#[derive(Debug)]
pub(crate) struct KeyLayout {
    shape: KeyKind,
    encoder: Encoder,
    decoder: Decoder,
}

#[derive(Debug)]
enum KeyKind {
    Integer,
    Bigint,
    Text,
    Binary,
    Rows(RowConverter),
}

/// The keys of a batch, ready to be looked up.
#[derive(Debug)]
pub(crate) enum BatchKeys<'a> {
    Integer(&'a [i32]),
    Bigint(&'a [i64]),
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Rows(Rows),
}

/// Key bytes of several groups, in the internal key format.
#[derive(Debug, Default)]
pub(crate) struct KeyBytes {
    pub(crate) data: Vec<u8>,
    pub(crate) ranges: Vec<Range<usize>>,
}

impl KeyBytes {
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        &self.data[self.ranges[at].clone()]
    }

    /// Indices of the keys in the order of their bytes.
    pub(crate) fn order(&self) -> Vec<u32> {
        let prefix = |key: &[u8]| {
            let mut first = [0u8; 8];
            let n = key.len().min(8);
            first[..n].copy_from_slice(&key[..n]);
            u64::from_be_bytes(first)
        };
        let mut order: Vec<(u64, u32)> = (0..self.ranges.len()).map(|i| (prefix(self.get(i)), i as u32)).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.get(a.1 as usize).cmp(self.get(b.1 as usize))));
        order.into_iter().map(|o| o.1).collect()
    }
}

impl KeyLayout {
    pub(crate) fn new(format: Format, columns: &[Column]) -> Result<KeyLayout> {
        let shape = match columns {
            [] => {
                return Err(Error::statement("GROUP BY needs at least one column")
                    .with_hint("GROUP BY a column, or leave EMIT out: a count of all rows then ends"));
            }
            [Column { ty: SqlType::Integer, .. }] => KeyKind::Integer,
            [Column { ty: SqlType::Bigint, .. }] => KeyKind::Bigint,
            [Column { ty: SqlType::String, .. }] => KeyKind::Text,
            [Column { ty: SqlType::Bytes, .. }] => KeyKind::Binary,
            several => {
                let fields: Vec<SortField> = several.iter().map(|c| SortField::new(c.ty.arrow())).collect();
                if !RowConverter::supports_fields(&fields) {
                    return Err(Error::statement("a key column cannot be or contain a MAP"));
                }
                KeyKind::Rows(RowConverter::new(fields)?)
            }
        };
        let (format, all): (_, Vec<usize>) = (format.internal(), (0..columns.len()).collect());
        let decoder = Decoder::new(format, columns, &all, false)?;
        Ok(KeyLayout { shape, encoder: Encoder::new(format, columns, false)?, decoder })
    }

    /// Are table keys numbers?
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.shape, KeyKind::Integer | KeyKind::Bigint)
    }

    /// The key columns of a batch. Rows with a NULL in any of them must not be looked up: see [`null_keys`].
    pub(crate) fn read<'a>(&self, columns: &'a [ArrayRef]) -> Result<BatchKeys<'a>> {
        let mismatch = || Error::bug("the key columns have not the types of the group key");
        let first = columns.first().ok_or_else(mismatch)?;
        Ok(match &self.shape {
            KeyKind::Integer => {
                BatchKeys::Integer(first.as_primitive_opt::<Int32Type>().ok_or_else(mismatch)?.values())
            }
            KeyKind::Bigint => BatchKeys::Bigint(first.as_primitive_opt::<Int64Type>().ok_or_else(mismatch)?.values()),
            KeyKind::Text => BatchKeys::Text(first.as_string_opt().ok_or_else(mismatch)?),
            KeyKind::Binary => BatchKeys::Binary(first.as_binary_opt().ok_or_else(mismatch)?),
            KeyKind::Rows(converter) => BatchKeys::Rows(converter.convert_columns(columns)?),
        })
    }

    /// The key columns of these groups.
    pub(crate) fn columns(&self, segments: &Segments, groups: &[GroupRef]) -> Result<Vec<ArrayRef>> {
        self.columns_of(groups.iter().map(|&(segment, nth)| (&segments.get(segment).keys, nth)))
    }

    /// The columns of these keys, each an ordinal in a table.
    pub(crate) fn columns_of<'a>(&self, keys: impl Iterator<Item = (&'a KeyTable, u32)>) -> Result<Vec<ArrayRef>> {
        Ok(match &self.shape {
            KeyKind::Integer => {
                vec![Arc::new(Int32Array::from_iter_values(keys.map(|(table, nth)| table.number(nth) as i32)))]
            }
            KeyKind::Bigint => vec![Arc::new(Int64Array::from_iter_values(keys.map(|(table, nth)| table.number(nth))))],
            KeyKind::Text => {
                let text = keys.map(|(table, nth)| {
                    std::str::from_utf8(table.bytes(nth)).expect("the bytes of a text key are a string's")
                });
                vec![Arc::new(StringArray::from_iter_values(text))]
            }
            KeyKind::Binary => {
                vec![Arc::new(BinaryArray::from_iter_values(keys.map(|(table, nth)| table.bytes(nth))))]
            }
            KeyKind::Rows(converter) => {
                let parser = converter.parser();
                converter.convert_rows(keys.map(|(table, nth)| parser.parse(table.bytes(nth))))?
            }
        })
    }

    /// The key bytes of these groups.
    pub(crate) fn encode(&mut self, segments: &Segments, groups: &[GroupRef]) -> Result<KeyBytes> {
        let columns = self.columns(segments, groups)?;
        self.encode_columns(&columns, groups.len())
    }

    /// The key bytes of these key columns.
    pub(crate) fn encode_columns(&mut self, columns: &[ArrayRef], rows: usize) -> Result<KeyBytes> {
        let (mut data, mut ranges) = (Vec::new(), Vec::new());
        let refused = self.encoder.encode(columns, None, rows, &mut data, &mut ranges)?;
        if let Some((_, bad)) = refused.into_iter().next() {
            return Err(Error::bug("a key has no bytes").with_detail(bad.reason));
        }
        let ranges: Option<Vec<Range<usize>>> = ranges.into_iter().collect();
        Ok(KeyBytes { data, ranges: ranges.ok_or_else(|| Error::bug("a key has no bytes"))? })
    }

    /// The key columns that these bytes mean.
    pub(crate) fn decode<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        for key in keys {
            let pushed = self.decoder.push(Some(key));
            pushed.map_err(|bad| Error::data("a stored group key cannot be read").with_detail(bad.reason))?;
        }
        Ok(self.decoder.finish().0)
    }
}

impl BatchKeys<'_> {
    #[inline(always)]
    pub(crate) fn probe(&self, row: usize) -> Probe {
        match self {
            BatchKeys::Integer(values) => Probe::number(i64::from(values[row])),
            BatchKeys::Bigint(values) => Probe::number(values[row]),
            _ => Probe::bytes(self.bytes(row)),
        }
    }

    /// The key's bytes; empty where keys are numbers.
    #[inline(always)]
    pub(crate) fn bytes(&self, row: usize) -> &[u8] {
        match self {
            BatchKeys::Integer(_) | BatchKeys::Bigint(_) => &[],
            BatchKeys::Text(values) => values.value(row).as_bytes(),
            BatchKeys::Binary(values) => values.value(row),
            BatchKeys::Rows(rows) => rows.row(row).data(),
        }
    }
}

/// Rows that have a key, no NULL in it, and a value; `None` = all.
pub(crate) fn usable(batch: &ChangeBatch) -> Option<NullBuffer> {
    let usable = NullBuffer::union(keyed(batch).as_ref(), batch.new.present.as_ref());
    usable.filter(|u| u.null_count() > 0)
}

/// Rows that have a key and no NULL in it; `None` = all.
pub(crate) fn keyed(batch: &ChangeBatch) -> Option<NullBuffer> {
    let nulls = batch.key.iter().map(|c| c.logical_nulls());
    let keyed = nulls.fold(batch.key_present.clone(), |all, one| NullBuffer::union(all.as_ref(), one.as_ref()));
    keyed.filter(|k| k.null_count() > 0)
}
