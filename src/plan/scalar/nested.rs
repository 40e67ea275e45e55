//! ARRAY, MAP and STRUCT: made, taken apart and compared.

use super::errors::{Reason, RowErrors, Selection};
use crate::error::{Error, Result};
use crate::functions::bounded::sizes::repeated;
use crate::functions::equal;
use crate::types::SqlType;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, MapArray, StringArray, StructArray, UInt64Array,
    make_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

/// `ARRAY[...]` of one column per element.
pub(super) fn array(items: Vec<ColumnarValue>, item: &SqlType, rows: usize) -> Result<ColumnarValue> {
    let count = items.len();
    let columns = columns(items, rows)?;
    let places: Vec<_> = (0..rows).flat_map(|row| (0..count).map(move |column| (column, row))).collect();
    let values = interleaved(&columns, &places, &item.arrow())?;
    let field = Arc::new(Field::new("item", item.arrow(), true));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(count, rows));
    Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(field, offsets, values, None)?)))
}

/// `MAP(k := v, ...)` of key and value columns in turn; of equal keys the last one stays, a NULL key throws.
pub(super) fn map(
    parts: Vec<ColumnarValue>,
    key: &SqlType,
    value: &SqlType,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let mut columns = columns(parts, rows)?;
    if *key == SqlType::String {
        // In Java a text of no value is written as "null".
        for column in columns.iter_mut().step_by(2).filter(|c| c.null_count() > 0) {
            let texts = column.as_string::<i32>();
            *column = Arc::new(texts.iter().map(|t| t.or(Some("null"))).collect::<StringArray>());
        }
    }
    let entries = columns.len() / 2;
    let key_at = |entry: usize| &columns[entry * 2];
    let (mut keys, mut values, mut lengths) = (vec![], vec![], Vec::with_capacity(rows));
    let mut bad = vec![false; rows];
    for (row, bad) in bad.iter_mut().enumerate() {
        let before = keys.len();
        for entry in 0..entries {
            if key_at(entry).is_null(row) {
                *bad = true;
                continue;
            }
            if !(entry + 1..entries).any(|later| equal(key_at(entry), row, key_at(later), row)) {
                keys.push((entry * 2, row));
                values.push((entry * 2 + 1, row));
            }
        }
        lengths.push(keys.len() - before);
    }
    errors.raise(Reason::NullOperand, selection, &BooleanBuffer::from(bad));
    let DataType::Map(field, _) = SqlType::Map(Box::new(key.clone()), Box::new(value.clone())).arrow() else {
        return Err(Error::bug("a MAP is not an Arrow map"));
    };
    let DataType::Struct(fields) = field.data_type() else { return Err(Error::bug("a MAP has no entries")) };

    // The other half is replaced by empty columns, so that positions need no renumbering.
    let pick = |odd: usize, places: &[(usize, usize)], ty: &DataType| {
        let empty = arrow::array::new_empty_array(ty);
        let columns: Vec<ArrayRef> =
            columns.iter().enumerate().map(|(i, c)| if i % 2 == odd { c.clone() } else { empty.clone() }).collect();
        interleaved(&columns, places, ty)
    };
    let keys = pick(0, &keys, fields[0].data_type())?;
    let values = pick(1, &values, fields[1].data_type())?;
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ColumnarValue::Array(Arc::new(MapArray::try_new(field.clone(), offsets, entries, None, false)?)))
}

/// `STRUCT(f := v, ...)`
pub(super) fn structure<'a>(
    values: Vec<ColumnarValue>,
    fields: impl Iterator<Item = (&'a str, &'a SqlType)>,
    rows: usize,
) -> Result<ColumnarValue> {
    let fields: Fields = fields.map(|(name, ty)| Field::new(name, ty.arrow(), true)).collect();
    let array = StructArray::try_new_with_length(fields, columns(values, rows)?, None, rows)?;
    Ok(ColumnarValue::Array(Arc::new(array)))
}

/// `array[i]`
pub(super) fn element(
    array: &ColumnarValue,
    index: &ColumnarValue,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let (array, index) = (repeated(array.clone(), rows)?, repeated(index.clone(), rows)?);
    let list = array.as_list_opt::<i32>().ok_or_else(|| Error::bug("a subscript of something that is no ARRAY"))?;
    let index = index.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::bug("a subscript is not BIGINT"))?;
    if let Some(nulls) = index.nulls() {
        let missing = !nulls.inner();
        let missing = list.nulls().map_or(missing.clone(), |n| &missing & n.inner());
        errors.raise(Reason::NullOperand, selection, &missing);
    }
    let offsets = list.value_offsets();
    let places: Int64Array = (0..rows)
        .map(|row| {
            if list.is_null(row) || index.is_null(row) {
                return None;
            }
            let (start, end) = (i64::from(offsets[row]), i64::from(offsets[row + 1]));
            let place = match index.value(row) {
                0 => return None,
                i if i > 0 => start.checked_add(i - 1)?,
                i => end.checked_add(i)?,
            };
            (start..end).contains(&place).then_some(place)
        })
        .collect();
    Ok(ColumnarValue::Array(take(list.values(), &places, None)?))
}

/// `map['k']`
pub(super) fn entry(map: &ColumnarValue, key: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    let (map, key) = (repeated(map.clone(), rows)?, repeated(key.clone(), rows)?);
    let map = map.as_map_opt().ok_or_else(|| Error::bug("a key of something that is no MAP"))?;
    let offsets = map.value_offsets();
    let same: Box<dyn Fn(usize, usize) -> bool> = match (map.keys().as_string_opt::<i32>(), key.as_string_opt::<i32>())
    {
        (Some(keys), Some(key)) => Box::new(move |place, row| keys.value(place) == key.value(row)),
        _ => Box::new(|place, row| equal(map.keys(), place, &key, row)),
    };
    let places: UInt64Array = (0..rows)
        .map(|row| {
            if map.is_null(row) || key.is_null(row) {
                return None;
            }
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            (start..end).rev().find(|&place| same(place, row)).map(|place| place as u64)
        })
        .collect();
    Ok(ColumnarValue::Array(take(map.values(), &places, None)?))
}

/// `struct->field`
pub(super) fn field(value: &ColumnarValue, index: usize, rows: usize) -> Result<ColumnarValue> {
    let array = repeated(value.clone(), rows)?;
    let structure = array.as_struct_opt().ok_or_else(|| Error::bug("a field of something that is no STRUCT"))?;
    let column = structure.column(index);
    let Some(nulls) = structure.nulls().filter(|n| n.null_count() > 0) else {
        return Ok(ColumnarValue::Array(column.clone()));
    };
    let valid = NullBuffer::union(Some(nulls), column.nulls());
    Ok(ColumnarValue::Array(with_nulls(column, valid)?))
}

/// The same values with NULL in other rows.
pub(super) fn with_nulls(column: &ArrayRef, valid: Option<NullBuffer>) -> Result<ArrayRef> {
    // A slice of a BOOLEAN column may start within a byte, where no bitmap of its own can be put beside its data.
    if let Some(booleans) = column.as_boolean_opt() {
        return Ok(Arc::new(BooleanArray::new(booleans.values().clone(), valid)));
    }
    Ok(make_array(column.to_data().into_builder().nulls(valid).build()?))
}

fn columns(values: Vec<ColumnarValue>, rows: usize) -> Result<Vec<ArrayRef>> {
    values.into_iter().map(|v| Ok(repeated(v, rows)?)).collect()
}

fn interleaved(columns: &[ArrayRef], places: &[(usize, usize)], ty: &DataType) -> Result<ArrayRef> {
    if places.is_empty() {
        return Ok(arrow::array::new_empty_array(ty));
    }
    Ok(interleave(&columns.iter().map(|c| c.as_ref()).collect::<Vec<_>>(), places)?)
}
