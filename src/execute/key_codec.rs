//! Key columns to the bytes of the internal key format and back.

use super::keys::KeyBytes;
use crate::catalog::Format;
use crate::error::Result;
use crate::types::Column;
use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};

/// The codec of one group key.
#[derive(Debug)]
pub(super) struct KeyCodec {
    converter: RowConverter,
}

impl KeyCodec {
    pub(super) fn new(_format: Format, columns: &[Column]) -> Result<KeyCodec> {
        let fields = columns.iter().map(|c| SortField::new(c.ty.arrow())).collect();
        Ok(KeyCodec { converter: RowConverter::new(fields)? })
    }

    pub(super) fn encode(&self, columns: &[ArrayRef], _rows: usize) -> Result<KeyBytes> {
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
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(keys.map(|k| parser.parse(k)))?)
    }
}
