//! Arrays element by element; arrays as sets stand in `sets`.

use super::Param::{Any, ArrayOfAny, Is};
use super::equality::equal;
use super::kernel::{Arg, ELEMENTS_MAX, Lists, Numbers, Picks, Texts, booleans, list, numbers, strings};
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType;
use crate::types::SqlType::{Bigint, Boolean, Integer, String as Text};
use crate::types::display::write_value;
use crate::types::text::compare_utf16;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, make_comparator};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::logical_expr::ColumnarValue;
use std::cmp::Ordering;
use std::sync::Arc;

pub(super) const ARRAY: &str = "ARRAY";

pub(super) static ENTRIES: &[Entry] = &[
    entry!("ARRAY_LENGTH", ARRAY, "Returns the number of elements.", ["ARRAY_LENGTH(ARRAY[1, 2])" => "2"], [
        Overload::new(&[ArrayOfAny], Returns::Type(Integer), |args, rows, _| {
            let lists = Lists::new(args, 0)?;
            numbers::<Int32Type>(rows, |row| lists.get(row).map(|r| r.len() as i32))
        })
    ]),
    entry!("ARRAY_CONTAINS", ARRAY, "Returns whether the array has an element equal to the second argument.",
        ["ARRAY_CONTAINS(ARRAY['a', 'b'], 'b')" => "true"],
        [Overload::new(&[ArrayOfAny, Any], Returns::Type(Boolean), contains)]),
    entry!("ARRAY_MAX", ARRAY, "Returns the greatest element; NULLs are passed over.",
        ["ARRAY_MAX(ARRAY[3, NULL, 5])" => "5"],
        [Overload::new(&[ArrayOfAny], Returns::Of(item), |a, r, _| extreme(a, r, Ordering::Greater))]),
    entry!("ARRAY_MIN", ARRAY, "Returns the least element; NULLs are passed over.",
        ["ARRAY_MIN(ARRAY['b', 'B', 'a'])" => "B"],
        [Overload::new(&[ArrayOfAny], Returns::Of(item), |a, r, _| extreme(a, r, Ordering::Less))]),
    entry!("ARRAY_SORT", ARRAY, "Returns the elements in order, 'ASC' or 'DESC'; NULLs stand last.",
        ["ARRAY_SORT(ARRAY[3, NULL, 1])" => "[1, 3, null]", "ARRAY_SORT(ARRAY[3, 1, 2], 'DESC')" => "[3, 2, 1]"],
        [Overload::new(&[ArrayOfAny], Returns::Same(0), sort),
         Overload::new(&[ArrayOfAny, Is(Text)], Returns::Same(0), sort)]),
    entry!("ARRAY_REMOVE", ARRAY, "Returns the array without the elements equal to the second argument.",
        ["ARRAY_REMOVE(ARRAY[1, 2, 1], 1)" => "[2]"],
        [Overload::new(&[ArrayOfAny, Any], Returns::Same(0), remove)]),
    entry!("ARRAY_JOIN", ARRAY, "Joins the elements into a text, with a comma or the second argument between them.",
        ["ARRAY_JOIN(ARRAY[1, NULL, 3], '; ')" => "1; null; 3"],
        [Overload::fallible(&[ArrayOfAny], Returns::Type(Text), join),
         Overload::fallible(&[ArrayOfAny, Is(Text)], Returns::Type(Text), join)]),
    entry!("SLICE", ARRAY, "Returns the elements from one position to another, both counted from 1 and included.",
        ["SLICE(ARRAY[1, 2, 3, 4], 2, 3)" => "[2, 3]"],
        [Overload::new(&[ArrayOfAny, Is(Integer), Is(Integer)], Returns::Same(0), slice)]),
    entry!("GENERATE_SERIES", ARRAY, "Returns the numbers from one to another, one or a given step apart.",
        ["GENERATE_SERIES(1, 4)" => "[1, 2, 3, 4]", "GENERATE_SERIES(5, 1, -2)" => "[5, 3, 1]"],
        [Overload::fallible(&[Is(Integer), Is(Integer)], Returns::Of(of_first), series::<Int32Type>),
         Overload::fallible(&[Is(Bigint), Is(Bigint)], Returns::Of(of_first), series::<Int64Type>),
         Overload::fallible(&[Is(Integer), Is(Integer), Is(Integer)], Returns::Of(of_first), series::<Int32Type>),
         Overload::fallible(&[Is(Bigint), Is(Bigint), Is(Integer)], Returns::Of(of_first), series::<Int64Type>)]),
];

/// ARRAY of the first argument's type.
pub(super) fn of_first(args: &[SqlType]) -> SqlType {
    SqlType::Array(Box::new(args.first().cloned().unwrap_or(SqlType::String)))
}

/// Type of the elements.
fn item(args: &[SqlType]) -> SqlType {
    match args.first() {
        Some(SqlType::Array(item)) => (**item).clone(),
        _ => SqlType::String,
    }
}

fn contains(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (lists, wanted) = (Lists::new(args, 0)?, Arg::new(args, 1)?);
    booleans(rows, |row| {
        let found = |place| equal(lists.items(), place, wanted.array(), wanted.place(row));
        Some(lists.get(row).is_some_and(|mut places| places.any(found)))
    })
}

fn remove(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (lists, bad) = (Lists::new(args, 0)?, Arg::new(args, 1)?);
    let mut picks = Picks::default();
    for row in 0..rows {
        let places = lists.get(row);
        let valid = places.is_some();
        for place in places.into_iter().flatten() {
            if !equal(lists.items(), place, bad.array(), bad.place(row)) {
                picks.push(Some(place));
            }
        }
        picks.close(valid);
    }
    picks.finish(lists.items())
}

/// The order of two places; texts are compared as Java does. NULLs must not be asked for.
fn order(items: &ArrayRef) -> Result<Box<dyn Fn(usize, usize) -> Ordering + Send + Sync + 'static>> {
    if *items.data_type() == DataType::Utf8 {
        let texts = items.as_string::<i32>().clone();
        return Ok(Box::new(move |a, b| compare_utf16(texts.value(a), texts.value(b))));
    }
    Ok(make_comparator(items, items, SortOptions::default())?)
}

fn extreme(args: &[ColumnarValue], rows: usize, wanted: Ordering) -> Result<ColumnarValue> {
    let lists = Lists::new(args, 0)?;
    let (items, order) = (lists.items(), order(lists.items())?);
    let best = |places: std::ops::Range<usize>| {
        let valid = places.filter(|p| items.is_valid(*p));
        valid.reduce(|best, place| if order(place, best) == wanted { place } else { best })
    };
    let places: PrimitiveArray<arrow::datatypes::UInt64Type> =
        (0..rows).map(|row| lists.get(row).and_then(best).map(|p| p as u64)).collect();
    Ok(ColumnarValue::Array(arrow::compute::take(items, &places, None)?))
}

fn sort(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let lists = Lists::new(args, 0)?;
    let directions = if args.len() > 1 { Some(Texts::new(args, 1)?) } else { None };
    let (items, order) = (lists.items(), order(lists.items())?);
    let mut picks = Picks::default();
    let mut places: Vec<usize> = Vec::new();
    for row in 0..rows {
        let direction = directions.as_ref().map_or(Some("ASC"), |d| d.get(row)).map(str::to_ascii_uppercase);
        let descending = match direction.as_deref() {
            Some("ASC" | "ASCENDING") => Some(false),
            Some("DESC" | "DESCENDING") => Some(true),
            _ => None,
        };
        let (Some(range), Some(descending)) = (lists.get(row), descending) else {
            picks.close(false);
            continue;
        };
        places.clear();
        places.extend(range.clone().filter(|p| items.is_valid(*p)));
        places.sort_by(|a, b| if descending { order(*b, *a) } else { order(*a, *b) });
        places.iter().for_each(|p| picks.push(Some(*p)));
        (places.len()..range.len()).for_each(|_| picks.push(None));
        picks.close(true);
    }
    picks.finish(items)
}

fn join(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let lists = Lists::new(args, 0)?;
    let separators = if args.len() > 1 { Some(Texts::new(args, 1)?) } else { None };
    let nested = lists.items().data_type().is_nested();
    strings(rows, |row, out| {
        let Some(places) = lists.get(row) else { return false };
        if nested {
            errors.fail(row);
            return false;
        }
        let separator = separators.as_ref().map_or(",", |s| s.get(row).unwrap_or_default());
        for (i, place) in places.enumerate() {
            out.push_str(if i > 0 { separator } else { "" });
            write_value(lists.items(), place, out);
        }
        true
    })
}

fn slice(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let lists = Lists::new(args, 0)?;
    let (from, to) = (Numbers::<Int32Type>::new(args, 1)?, Numbers::<Int32Type>::new(args, 2)?);
    let mut picks = Picks::default();
    for row in 0..rows {
        let chosen = lists.get(row).and_then(|places| {
            let from = from.get(row).map_or(Some(0), |n| usize::try_from(i64::from(n) - 1).ok())?;
            let to = to.get(row).map_or(Some(places.len()), |n| usize::try_from(n).ok())?;
            (from <= to && to <= places.len()).then(|| places.start + from..places.start + to)
        });
        let valid = chosen.is_some();
        chosen.into_iter().flatten().for_each(|place| picks.push(Some(place)));
        picks.close(valid);
    }
    picks.finish(lists.items())
}

fn series<T: ArrowPrimitiveType>(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue>
where
    T::Native: Into<i64>,
    i64: TryInto<T::Native>,
{
    let (from, to) = (Numbers::<T>::new(args, 0)?, Numbers::<T>::new(args, 1)?);
    let steps = if args.len() > 2 { Some(Numbers::<Int32Type>::new(args, 2)?) } else { None };
    let (mut values, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let before = values.len();
        let bounds = from.get(row).zip(to.get(row)).map(|(a, b)| -> (i64, i64) { (a.into(), b.into()) });
        let step = match (&steps, bounds) {
            (None, Some((from, to))) => Some(if to >= from { 1 } else { -1 }),
            (Some(steps), _) => steps.get(row).map(i64::from),
            (None, None) => None,
        };
        let done = match (bounds, step) {
            (Some((from, to)), Some(step)) if step != 0 && (to == from || (to > from) == (step > 0)) => {
                let count = (i128::from(to) - i128::from(from)) / i128::from(step) + 1;
                let fits = count <= ELEMENTS_MAX as i128;
                if fits {
                    values.extend((0..count as i64).filter_map(|i| (from + i * step).try_into().ok()));
                }
                fits
            }
            _ => false,
        };
        if !done {
            errors.fail(row);
        }
        lengths.push(values.len() - before);
        valid.push(done);
    }
    let items = PrimitiveArray::<T>::new(values.into(), None);
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    Ok(ColumnarValue::Array(list(OffsetBuffer::from_lengths(lengths), nulls, Arc::new(items))?))
}
