//! TRANSFORM, FILTER and REDUCE.
//!
//! A lambda's body is a program of its own over its parameters and what it takes from outside. TRANSFORM and FILTER run it
//! once over the elements of all rows, laid out side by side; REDUCE runs it once per position, over all rows that have an
//! element there. An error inside is an error of the row that the element belongs to.

use super::errors::{Reason, RowErrors, Selection};
use super::{Body, Columns, Higher};
use crate::error::{Error, Result};
use crate::functions::bounded::sizes::repeated;
use crate::functions::equal;
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use std::ops::Range;
use std::sync::Arc;

/// The elements of all rows side by side.
struct Elements {
    /// One array, or keys and values.
    columns: Vec<ArrayRef>,
    /// Where each row's elements are; `None` = the row is NULL or not selected.
    ranges: Vec<Option<Range<usize>>>,
}

impl Elements {
    fn of(collection: &ArrayRef, wanted: &Selection) -> Result<Elements> {
        let (offsets, columns) = match collection.data_type() {
            DataType::List(_) => {
                let list = collection.as_list::<i32>();
                (list.value_offsets(), vec![list.values().clone()])
            }
            DataType::Map(..) => {
                let map = collection.as_map();
                (map.value_offsets(), vec![map.keys().clone(), map.values().clone()])
            }
            other => return Err(Error::bug(format!("a lambda over {other}"))),
        };
        let wanted = |row: usize| wanted.0.as_ref().is_none_or(|w| w.value(row));
        let range = |row: usize| {
            (collection.is_valid(row) && wanted(row)).then(|| offsets[row] as usize..offsets[row + 1] as usize)
        };
        Ok(Elements { columns, ranges: (0..collection.len()).map(range).collect() })
    }

    /// Place and row of every element.
    fn flat(&self) -> (UInt64Array, Vec<u32>) {
        let rows = self.ranges.iter().enumerate().filter_map(|(row, range)| Some((row as u32, range.clone()?)));
        let all = rows.flat_map(|(row, range)| range.map(move |place| (place as u64, row)));
        let (places, parents): (Vec<u64>, Vec<u32>) = all.unzip();
        (UInt64Array::from(places), parents)
    }

    fn at(&self, places: &UInt64Array) -> Result<Vec<ArrayRef>> {
        self.columns.iter().map(|c| Ok(take(c, places, None)?)).collect()
    }
}

/// Where a call's rows come from.
pub(super) struct Outside<'a> {
    pub(super) input: &'a Columns<'a>,
    pub(super) selection: &'a Selection,
}

impl Body {
    /// Runs the body over `parameters`, row `i` of which belongs to row `parents[i]` outside.
    fn run(
        &self,
        mut parameters: Vec<ArrayRef>,
        parents: &[u32],
        outside: &Outside<'_>,
        errors: &mut RowErrors,
    ) -> Result<ArrayRef> {
        let rows = UInt32Array::from(parents.to_vec());
        for capture in &self.captures {
            let value = repeated(capture.eval(outside.input, outside.selection, errors)?, outside.input.rows)?;
            parameters.push(take(&value, &rows, None)?);
        }
        let mut inner = RowErrors::new();
        let input = Columns { columns: &parameters, rows: parents.len() };
        let value = repeated(self.program.eval(&input, &Selection::all(), &mut inner)?, parents.len())?;
        errors.take_over(inner, parents, outside.input.rows, outside.selection);
        Ok(value)
    }
}

/// The call's value for every row.
pub(super) fn eval(
    kind: Higher,
    args: &[ColumnarValue],
    bodies: &[Body],
    ty: &SqlType,
    outside: &Outside<'_>,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let rows = outside.input.rows;
    let collection = repeated(args.first().ok_or_else(|| Error::bug("a lambda over nothing"))?.clone(), rows)?;
    let elements = Elements::of(&collection, &errors.healthy(outside.selection))?;
    let body = bodies.first().ok_or_else(|| Error::bug("a call without its lambda"))?;
    if kind == Higher::Reduce {
        let state = repeated(args.get(1).ok_or_else(|| Error::bug("REDUCE without its state"))?.clone(), rows)?;
        return Ok(ColumnarValue::Array(reduce(body, &elements, state, outside, errors)?));
    }
    let (places, parents) = elements.flat();
    let parameters = elements.at(&places)?;
    let first = body.run(parameters.clone(), &parents, outside, errors)?;
    let array = match (kind, bodies.get(1)) {
        (Higher::Filter, _) => filter(&elements, &parameters, &parents, &first, outside, errors)?,
        (_, None) => list(&elements, first)?,
        (_, Some(second)) => {
            let values = second.run(parameters, &parents, outside, errors)?;
            map(&elements, &parents, (first, values), ty, outside, errors)?
        }
    };
    Ok(ColumnarValue::Array(array))
}

/// Which rows have a value, and where the others' elements end.
fn shape(ranges: impl Iterator<Item = Option<usize>>) -> (OffsetBuffer<i32>, NullBuffer) {
    let (lengths, valid): (Vec<usize>, Vec<bool>) = ranges.map(|l| (l.unwrap_or(0), l.is_some())).unzip();
    (OffsetBuffer::from_lengths(lengths), NullBuffer::from(valid))
}

fn list(elements: &Elements, values: ArrayRef) -> Result<ArrayRef> {
    let (offsets, nulls) = shape(elements.ranges.iter().map(|r| r.as_ref().map(Range::len)));
    let field = Arc::new(arrow::datatypes::Field::new("item", values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(nulls))?))
}

fn filter(
    elements: &Elements,
    parameters: &[ArrayRef],
    parents: &[u32],
    kept: &ArrayRef,
    outside: &Outside<'_>,
    errors: &mut RowErrors,
) -> Result<ArrayRef> {
    let kept = kept.as_boolean_opt().ok_or_else(|| Error::bug("FILTER's lambda is not BOOLEAN"))?;
    let undecided = (0..kept.len()).filter(|i| kept.is_null(*i)).map(|i| parents[i]);
    raise(Reason::NullBoolean, undecided, outside, errors);
    let chosen: Vec<u64> = (0..kept.len()).filter(|i| kept.is_valid(*i) && kept.value(*i)).map(|i| i as u64).collect();
    let mut lengths: Vec<Option<usize>> = elements.ranges.iter().map(|r| r.as_ref().map(|_| 0)).collect();
    for place in &chosen {
        *lengths[parents[*place as usize] as usize].get_or_insert(0) += 1;
    }
    let (offsets, nulls) = shape(lengths.into_iter());
    let chosen = UInt64Array::from(chosen);
    match parameters {
        [items] => {
            let field = Arc::new(arrow::datatypes::Field::new("item", items.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(field, offsets, take(items, &chosen, None)?, Some(nulls))?))
        }
        [keys, values] => mapped(offsets, nulls, (take(keys, &chosen, None)?, take(values, &chosen, None)?)),
        _ => Err(Error::bug("a collection has one or two columns")),
    }
}

/// Of equal keys the last one counts; a NULL key is an error.
fn map(
    elements: &Elements,
    parents: &[u32],
    (keys, values): (ArrayRef, ArrayRef),
    ty: &SqlType,
    outside: &Outside<'_>,
    errors: &mut RowErrors,
) -> Result<ArrayRef> {
    raise(Reason::NullOperand, (0..keys.len()).filter(|i| keys.is_null(*i)).map(|i| parents[i]), outside, errors);
    let (mut places, mut lengths) = (Vec::new(), Vec::new());
    let mut start = 0;
    for range in &elements.ranges {
        let Some(range) = range else {
            lengths.push(None);
            continue;
        };
        let (before, end) = (places.len(), start + range.len());
        for place in (start..end).filter(|p| keys.is_valid(*p)) {
            if !(place + 1..end).any(|later| equal(&keys, place, &keys, later)) {
                places.push(place as u64);
            }
        }
        lengths.push(Some(places.len() - before));
        start = end;
    }
    let (offsets, nulls) = shape(lengths.into_iter());
    let places = UInt64Array::from(places);
    let array = mapped(offsets, nulls, (take(&keys, &places, None)?, take(&values, &places, None)?))?;
    if *array.data_type() != ty.arrow() {
        return Err(Error::bug("a transformed map has another type than it was bound to"));
    }
    Ok(array)
}

fn mapped(offsets: OffsetBuffer<i32>, nulls: NullBuffer, (keys, values): (ArrayRef, ArrayRef)) -> Result<ArrayRef> {
    let ty = |array: &ArrayRef| SqlType::from_arrow(array.data_type()).ok_or_else(|| Error::bug("no SQL type"));
    let DataType::Map(field, _) = SqlType::Map(Box::new(ty(&keys)?), Box::new(ty(&values)?)).arrow() else {
        return Err(Error::bug("a MAP is not an Arrow map"));
    };
    let DataType::Struct(fields) = field.data_type() else { return Err(Error::bug("a MAP has no entries")) };
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, Some(nulls), false)?))
}

/// A NULL state stays NULL; without a collection the state stays as it is.
fn reduce(
    body: &Body,
    elements: &Elements,
    mut state: ArrayRef,
    outside: &Outside<'_>,
    errors: &mut RowErrors,
) -> Result<ArrayRef> {
    let rows = outside.input.rows;
    let longest = elements.ranges.iter().flatten().map(Range::len).max().unwrap_or(0);
    for step in 0..longest {
        let healthy = errors.healthy(outside.selection);
        let wanted = |row: usize| healthy.0.as_ref().is_none_or(|h| h.value(row)) && state.is_valid(row);
        let active = elements.ranges.iter().enumerate().filter_map(|(row, range)| {
            let place = range.clone()?.nth(step)?;
            wanted(row).then_some((row as u32, place as u64))
        });
        let (parents, places): (Vec<u32>, Vec<u64>) = active.unzip();
        if parents.is_empty() {
            break;
        }
        let mut parameters = vec![take(&state, &UInt32Array::from(parents.clone()), None)?];
        parameters.extend(elements.at(&UInt64Array::from(places))?);
        let next = body.run(parameters, &parents, outside, errors)?;
        let mut from: Vec<u64> = (0..rows as u64).collect();
        for (i, row) in parents.iter().enumerate() {
            from[*row as usize] = (rows + i) as u64;
        }
        let both = concat(&[state.as_ref(), next.as_ref()])?;
        state = take(&both, &UInt64Array::from(from), None)?;
    }
    Ok(state)
}

fn raise(reason: Reason, rows: impl Iterator<Item = u32>, outside: &Outside<'_>, errors: &mut RowErrors) {
    let mut bad: Option<Vec<bool>> = None;
    for row in rows {
        bad.get_or_insert_with(|| vec![false; outside.input.rows])[row as usize] = true;
    }
    if let Some(bad) = bad {
        errors.raise(reason, outside.selection, &BooleanBuffer::from(bad));
    }
}
