//! Key columns to the bytes of the internal key format and back.

use super::keys::KeyBytes;
use crate::catalog::Format;
use crate::error::Result;
use crate::types::{Column, SqlType};
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use std::sync::Arc;

/// The codec of one group key.
#[derive(Debug)]
pub(super) struct KeyCodec {
    converter: RowConverter,
    types: Vec<SqlType>,
}

impl KeyCodec {
    pub(super) fn new(_format: Format, columns: &[Column]) -> Result<KeyCodec> {
        let fields = columns.iter().map(|c| SortField::new(c.ty.arrow())).collect();
        let types = columns.iter().map(|c| c.ty.clone()).collect();
        Ok(KeyCodec { converter: RowConverter::new(fields)?, types })
    }

    pub(super) fn encode(&self, columns: &[ArrayRef], _rows: usize) -> Result<KeyBytes> {
        if let [column] = columns
            && let Some(numbers) = big_endian(column)
        {
            return Ok(numbers);
        }
        let rows = self.converter.convert_columns(columns)?;
        let mut keys = KeyBytes::default();
        for row in &rows {
            let start = keys.data.len();
            keys.data.extend_from_slice(row.data());
            keys.ranges.push(start..keys.data.len());
        }
        Ok(keys)
    }

    pub(super) fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let number = |k: &[u8]| k.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        match self.types[..] {
            [SqlType::Integer] => {
                return Ok(vec![Arc::new(Int32Array::from_iter_values(keys.map(|k| number(k) as i32)))]);
            }
            [SqlType::Bigint] => {
                return Ok(vec![Arc::new(Int64Array::from_iter_values(keys.map(|k| number(k) as i64)))]);
            }
            _ => {}
        }
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(keys.map(|k| parser.parse(k)))?)
    }
}

fn big_endian(column: &ArrayRef) -> Option<KeyBytes> {
    let (data, size): (Vec<u8>, usize) = if let Some(c) = column.as_primitive_opt::<Int32Type>() {
        (c.values().iter().flat_map(|v| v.to_be_bytes()).collect(), 4)
    } else {
        (column.as_primitive_opt::<Int64Type>()?.values().iter().flat_map(|v| v.to_be_bytes()).collect(), 8)
    };
    let ranges = (0..column.len()).map(|i| i * size..(i + 1) * size).collect();
    Some(KeyBytes { data, ranges })
}
