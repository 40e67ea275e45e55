//! Values of any type as byte strings and back: what lists, sets and rankings keep.
//!
//! The bytes are Arrow's row encoding. Equal values have equal bytes, also maps: their entries are sorted by key first,
//! because a map has no order. For types whose order ksqlDB knows [`Ranks`] gives bytes that compare as the values do.

use crate::error::{Error, Result};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::row::{RowConverter, Rows, SortField};
use std::sync::Arc;

/// Encodes and decodes the values of one type.
#[derive(Debug)]
pub(super) struct ItemCodec {
    converter: RowConverter,
    maps: bool,
    /// The bytes of NULL.
    null: Vec<u8>,
}

/// Byte strings of values, back to back.
#[derive(Debug, Default)]
pub struct Items {
    data: Vec<u8>,
    /// Where each value's bytes are; `None` = NULL.
    ranges: Vec<Option<(usize, usize)>>,
}

impl Items {
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    #[inline]
    pub(super) fn push(&mut self, item: Option<&[u8]>) {
        let start = self.data.len();
        self.ranges.push(item.map(|bytes| {
            self.data.extend_from_slice(bytes);
            (start, start + bytes.len())
        }));
    }

    /// Bytes of a value; `None` = NULL.
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        self.ranges[row].map(|(start, end)| &self.data[start..end])
    }

    #[inline]
    fn push_mapped(&mut self, bytes: &[u8], map: impl Fn(u8) -> u8) {
        let start = self.data.len();
        self.data.extend(bytes.iter().map(|&b| map(b)));
        self.ranges.push(Some((start, self.data.len())));
    }
}

impl ItemCodec {
    pub(super) fn new(ty: &SqlType) -> Result<ItemCodec> {
        let converter = RowConverter::new(vec![SortField::new(ty.arrow())])?;
        let null = converter.convert_columns(&[new_null_array(&ty.arrow(), 1)])?;
        let null = null.row(0).data().to_vec();
        Ok(ItemCodec { converter, maps: has_map(ty), null })
    }

    /// The bytes of every row.
    pub(super) fn encode(&self, column: &ArrayRef) -> Result<Rows> {
        let sorted = if self.maps { Some(sorted_maps(column)?) } else { None };
        Ok(self.converter.convert_columns(std::slice::from_ref(sorted.as_ref().unwrap_or(column)))?)
    }

    /// The column of these values.
    pub(super) fn decode(&self, items: &Items) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let bytes = items.ranges.iter().map(|r| r.map_or(&self.null[..], |(start, end)| &items.data[start..end]));
        let mut columns = self.converter.convert_rows(bytes.map(|b| parser.parse(b)))?;
        columns.pop().ok_or_else(|| Error::bug("a decoded value has no column"))
    }
}

fn has_map(ty: &SqlType) -> bool {
    match ty {
        SqlType::Map(..) => true,
        SqlType::Array(item) => has_map(item),
        SqlType::Struct(fields) => fields.iter().any(|(_, ty)| has_map(ty)),
        _ => false,
    }
}

/// The column with the entries of every map in it sorted by key.
fn sorted_maps(column: &ArrayRef) -> Result<ArrayRef> {
    use arrow::datatypes::DataType;
    Ok(match column.data_type() {
        DataType::Struct(fields) => {
            let parts = column.as_struct().columns().iter().map(sorted_maps).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), parts, column.nulls().cloned())?)
        }
        DataType::List(field) => {
            let list = column.as_list::<i32>();
            let items = sorted_maps(list.values())?;
            Arc::new(ListArray::try_new(field.clone(), list.offsets().clone(), items, list.nulls().cloned())?)
        }
        DataType::Map(field, sorted) => {
            let map = column.as_map();
            let keys = map.keys().as_string_opt::<i32>().ok_or_else(|| Error::bug("a MAP's keys are strings"))?;
            let mut order: Vec<u32> = Vec::with_capacity(keys.len());
            let mut lengths = Vec::with_capacity(map.len());
            for row in 0..map.len() {
                let (start, end) = (map.value_offsets()[row] as u32, map.value_offsets()[row + 1] as u32);
                let from = order.len();
                if map.is_valid(row) {
                    order.extend(start..end);
                    order[from..].sort_by_key(|&at| keys.value(at as usize));
                }
                lengths.push(order.len() - from);
            }
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = take(&entries, &UInt32Array::from(order), None)?;
            let entries = entries.as_struct();
            let parts = vec![entries.column(0).clone(), sorted_maps(entries.column(1))?];
            let entries = StructArray::try_new(entries.fields().clone(), parts, None)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, map.nulls().cloned(), *sorted)?)
        }
        _ => column.clone(),
    })
}

/// Bytes that compare as the values of a column do, in Java's order.
#[derive(Debug)]
pub(super) enum Ranks {
    /// Arrow's row encoding: numbers, dates, times.
    Rows(RowConverter),
    /// By UTF-16 code unit.
    Text,
    /// Byte for byte, as signed numbers.
    Bytes,
}

impl Ranks {
    pub(super) fn new(ty: &SqlType) -> Result<Ranks> {
        Ok(match ty {
            SqlType::String => Ranks::Text,
            SqlType::Bytes => Ranks::Bytes,
            other => Ranks::Rows(RowConverter::new(vec![SortField::new(other.arrow())])?),
        })
    }

    /// The bytes of every row.
    pub(super) fn of(&self, column: &ArrayRef) -> Result<Items> {
        let mut ranks = Items::default();
        let encoded = match self {
            Ranks::Rows(converter) => Some(converter.convert_columns(std::slice::from_ref(column))?),
            _ => None,
        };
        for row in 0..column.len() {
            match (self, &encoded) {
                _ if column.is_null(row) => ranks.push(None),
                (_, Some(rows)) => ranks.push(Some(rows.row(row).data())),
                (Ranks::Text, _) => ranks.push_mapped(column.as_string::<i32>().value(row).as_bytes(), rank_of_text),
                _ => ranks.push_mapped(column.as_binary::<i32>().value(row), rank_of_bytes),
            }
        }
        Ok(ranks)
    }
}

/// UTF-8 sorts by code point; Java by UTF-16 unit, where what needs two units comes before U+E000 to U+FFFF.
#[inline]
pub(super) fn rank_of_text(byte: u8) -> u8 {
    match byte {
        0xEE => 0xF3,
        0xEF => 0xF4,
        0xF0..=0xF4 => byte - 2,
        other => other,
    }
}

/// Java compares bytes as signed numbers.
#[inline]
pub(super) fn rank_of_bytes(byte: u8) -> u8 {
    byte ^ 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    #[test]
    fn text_ranks_as_java_compares_it() {
        let texts = ["", "a", "b", "é", "\u{D7FF}", "\u{1F600}", "\u{10FFFF}", "\u{E000}", "\u{FFFD}"];
        let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let ranks = Ranks::new(&SqlType::String).unwrap().of(&column).unwrap();
        for (a, b) in (0..texts.len()).flat_map(|a| (0..texts.len()).map(move |b| (a, b))) {
            let java = texts[a].encode_utf16().cmp(texts[b].encode_utf16());
            assert_eq!(ranks.get(a).cmp(&ranks.get(b)), java, "{:?} and {:?}", texts[a], texts[b]);
        }
    }
}
