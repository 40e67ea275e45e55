//! Maps.

use super::Param::{ArrayOfAny, Is, Map, Strings};
use super::equality::Distinct;
use super::kernel::{Arg, Lists, Picks, list};
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::{Error, Result};
use crate::types::SqlType;
use crate::types::SqlType::{Boolean, String as Text};
use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use std::ops::Range;
use std::sync::Arc;

const MAP: &str = "MAP";

pub(super) static ENTRIES: &[Entry] = &[
    entry!("MAP_KEYS", MAP, "Returns the keys as an array.", ["MAP_KEYS(MAP('a' := 1, 'b' := 2))" => "[a, b]"], [
        Overload::new(&[Map], Returns::Of(keys_type), |a, _, _| half(a, |map| map.keys().clone()))
    ]),
    entry!("MAP_VALUES", MAP, "Returns the values as an array.", ["MAP_VALUES(MAP('a' := 1, 'b' := 2))" => "[1, 2]"], [
        Overload::new(&[Map], Returns::Of(values_type), |a, _, _| half(a, |map| map.values().clone()))
    ]),
    entry!("MAP_UNION", MAP, "Returns the entries of both maps; where both have a key, the second one's counts.",
        ["MAP_UNION(MAP('a' := 1, 'b' := 2), MAP('b' := 3))" => "{a=1, b=3}"],
        [Overload::new(&[Map, Map], Returns::Same(0), union)]),
    entry!("AS_MAP", MAP, "Makes a map of an array of keys and one of values.",
        ["AS_MAP(ARRAY['a', 'b'], ARRAY[1, 2])" => "{a=1, b=2}"],
        [Overload::fallible(&[Strings, ArrayOfAny], Returns::Of(as_map_type), as_map)]),
    entry!("ENTRIES", MAP, "Returns the entries as an array of structs with K and V, by key if the second argument is true.",
        ["ENTRIES(MAP('b' := 1, 'a' := 2), TRUE)" => "[Struct{K=a,V=2}, Struct{K=b,V=1}]"],
        [Overload::new(&[Map, Is(Boolean)], Returns::Of(entries_type), entries)]),
    entry!("SPLIT_TO_MAP", "STRING", "Makes a map of a text with entries between one text and keys before another.",
        ["SPLIT_TO_MAP('a:1/b:2', '/', ':')" => "{a=1, b=2}"],
        [Overload::new(&[Is(Text), Is(Text), Is(Text)], Returns::Of(text_map_type), split_to_map)]),
];

fn keys_type(args: &[SqlType]) -> SqlType {
    match args.first() {
        Some(SqlType::Map(key, _)) => SqlType::Array(key.clone()),
        _ => SqlType::Array(Box::new(SqlType::String)),
    }
}

fn values_type(args: &[SqlType]) -> SqlType {
    match args.first() {
        Some(SqlType::Map(_, value)) => SqlType::Array(value.clone()),
        _ => SqlType::Array(Box::new(SqlType::String)),
    }
}

fn entries_type(args: &[SqlType]) -> SqlType {
    let (key, value) = match args.first() {
        Some(SqlType::Map(key, value)) => ((**key).clone(), (**value).clone()),
        _ => (SqlType::String, SqlType::String),
    };
    SqlType::Array(Box::new(SqlType::Struct(vec![("K".to_owned(), key), ("V".to_owned(), value)])))
}

fn as_map_type(args: &[SqlType]) -> SqlType {
    match args.get(1) {
        Some(SqlType::Array(item)) => SqlType::Map(Box::new(SqlType::String), item.clone()),
        _ => text_map_type(args),
    }
}

fn text_map_type(_: &[SqlType]) -> SqlType {
    SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::String))
}

/// A MAP argument.
struct Maps {
    arg: Arg,
    map: MapArray,
}

impl Maps {
    fn new(args: &[ColumnarValue], index: usize) -> Result<Maps> {
        let arg = Arg::new(args, index)?;
        let map = arg.array().as_map_opt().ok_or_else(|| Error::bug("an argument is no MAP"))?.clone();
        Ok(Maps { arg, map })
    }

    /// Places of one row's entries; `None` for NULL.
    fn get(&self, row: usize) -> Option<Range<usize>> {
        let place = self.arg.place(row);
        let offsets = self.map.value_offsets();
        self.map.is_valid(place).then(|| offsets[place] as usize..offsets[place + 1] as usize)
    }
}

/// The keys or the values of each row: the same lists over one of the two columns.
fn half(args: &[ColumnarValue], column: impl Fn(&MapArray) -> ArrayRef) -> Result<ColumnarValue> {
    let maps = Maps::new(args, 0)?;
    let lists = list(maps.map.offsets().clone(), maps.map.nulls().cloned(), column(&maps.map))?;
    match &args[0] {
        ColumnarValue::Array(_) => Ok(ColumnarValue::Array(lists)),
        ColumnarValue::Scalar(_) => Ok(ColumnarValue::Array(lists.slice(0, 1))),
    }
}

/// A MAP column of its parts; equal keys were sorted out before.
fn map(
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    keys: ArrayRef,
    values: ArrayRef,
) -> Result<ColumnarValue> {
    let ty = |array: &ArrayRef| SqlType::from_arrow(array.data_type()).ok_or_else(|| Error::bug("no SQL type"));
    let DataType::Map(field, _) = SqlType::Map(Box::new(ty(&keys)?), Box::new(ty(&values)?)).arrow() else {
        return Err(Error::bug("a MAP is not an Arrow map"));
    };
    let DataType::Struct(fields) = field.data_type() else { return Err(Error::bug("a MAP has no entries")) };
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(ColumnarValue::Array(Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, false)?)))
}

fn union(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (left, right) = (Maps::new(args, 0)?, Maps::new(args, 1)?);
    let keys: ArrayRef = concat(&[left.map.keys().as_ref(), right.map.keys().as_ref()])?;
    let values: ArrayRef = concat(&[left.map.values().as_ref(), right.map.values().as_ref()])?;
    let shift = left.map.keys().len();
    let mut seconds = Distinct::new(&keys);
    let mut picks = Picks::default();
    for row in 0..rows {
        let (first, second) = (left.get(row), right.get(row).map(|r| r.start + shift..r.end + shift));
        let valid = first.is_some() || second.is_some();
        seconds.clear();
        second.clone().into_iter().flatten().for_each(|p| _ = seconds.insert(p));
        let kept = first.into_iter().flatten().filter(|p| !seconds.contains(*p));
        kept.chain(second.into_iter().flatten()).for_each(|p| picks.push(Some(p)));
        picks.close(valid);
    }
    entries_at(picks, &keys, &values)
}

/// A MAP column whose entries are places in keys and values alike.
fn entries_at(picks: Picks, keys: &ArrayRef, values: &ArrayRef) -> Result<ColumnarValue> {
    let places: ArrayRef = Arc::new(arrow::array::UInt64Array::from_iter_values(0..keys.len() as u64));
    let (offsets, nulls, places) = picks.parts(&places)?;
    let places = places.as_primitive::<arrow::datatypes::UInt64Type>();
    map(offsets, nulls, take(keys, places, None)?, take(values, places, None)?)
}

/// Missing values are NULL, a NULL key is an error; of equal keys the last one counts.
fn as_map(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (keys, values) = (Lists::new(args, 0)?, Lists::new(args, 1)?);
    let mut seen = Distinct::new(keys.items());
    let (mut key_picks, mut value_picks) = (Picks::default(), Picks::default());
    let mut places: Vec<(usize, Option<usize>)> = Vec::new();
    for row in 0..rows {
        places.clear();
        let mut valid = true;
        match (keys.get(row), values.get(row)) {
            (Some(names), Some(items)) => {
                if names.clone().any(|p| keys.items().is_null(p)) {
                    errors.fail(row);
                    valid = false;
                } else {
                    places.extend(names.enumerate().map(|(i, key)| (key, items.clone().nth(i))));
                }
            }
            _ => valid = false,
        }
        seen.clear();
        let last: Vec<bool> = places.iter().rev().map(|(key, _)| seen.insert(*key)).collect();
        for ((key, value), last) in places.iter().zip(last.iter().rev()) {
            if *last {
                key_picks.push(Some(*key));
                value_picks.push(*value);
            }
        }
        key_picks.close(valid);
        value_picks.close(valid);
    }
    let (offsets, nulls, keys) = key_picks.parts(keys.items())?;
    let (_, _, values) = value_picks.parts(values.items())?;
    map(offsets, nulls, keys, values)
}

fn entries(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (maps, sorted) = (Maps::new(args, 0)?, Arg::new(args, 1)?);
    let keys = maps.map.keys().as_string_opt::<i32>().cloned();
    let (key, value) = (maps.map.keys(), maps.map.values());
    let SqlType::Array(pair) =
        entries_type(&[SqlType::from_arrow(maps.map.data_type()).ok_or_else(|| Error::bug("no SQL type"))?])
    else {
        return Err(Error::bug("entries are an ARRAY"));
    };
    let DataType::Struct(fields) = pair.arrow() else { return Err(Error::bug("an entry is a STRUCT")) };
    let pairs: ArrayRef = Arc::new(StructArray::try_new(fields, vec![key.clone(), value.clone()], None)?);
    let mut picks = Picks::default();
    for row in 0..rows {
        let places = maps.get(row).filter(|_| !sorted.is_null(row));
        let valid = places.is_some();
        let mut places: Vec<usize> = places.into_iter().flatten().collect();
        if let Some(keys) = &keys
            && valid
            && sorted.array().as_boolean().value(sorted.place(row))
        {
            places.sort_by(|a, b| crate::types::text::compare_utf16(keys.value(*a), keys.value(*b)));
        }
        places.into_iter().for_each(|p| picks.push(Some(p)));
        picks.close(valid);
    }
    picks.finish(&pairs)
}

fn split_to_map(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let texts = super::kernel::Texts::all(args, 0)?;
    let (mut keys, mut values) = (StringBuilder::new(), StringBuilder::new());
    let (mut lengths, mut valid) = (Vec::new(), Vec::new());
    let mut entries: Vec<(&str, &str)> = Vec::new();
    for row in 0..rows {
        entries.clear();
        let parts = texts[0].get(row).zip(texts[1].get(row)).zip(texts[2].get(row));
        let parts = parts.filter(|((_, a), b)| !a.is_empty() && !b.is_empty());
        if let Some(((text, between), inside)) = parts {
            for entry in text.split(between) {
                let mut halves = entry.split(inside).filter(|part| !part.is_empty());
                if let (Some(key), Some(value)) = (halves.next(), halves.next()) {
                    entries.retain(|(known, _)| *known != key);
                    entries.push((key, value));
                }
            }
        }
        entries.iter().for_each(|(key, value)| {
            keys.append_value(key);
            values.append_value(value);
        });
        lengths.push(entries.len());
        valid.push(parts.is_some());
    }
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    map(OffsetBuffer::from_lengths(lengths), nulls, Arc::new(keys.finish()), Arc::new(values.finish()))
}
