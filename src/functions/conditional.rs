//! COALESCE, IFNULL, NULLIF, GREATEST, LEAST, AS_VALUE. They are functions like others: every argument is evaluated.

use super::Param::Any;
use super::kernel::Arg;
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::functions::bounded::sizes::repeated;
use crate::types::text::compare_utf16;
use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use std::cmp::Ordering;

const CONDITIONAL: &str = "CONDITIONAL";

pub(super) static ENTRIES: &[Entry] = &[
    entry!("COALESCE", CONDITIONAL, "Returns the first argument that is not NULL.", ["COALESCE(NULL, 'a', 'b')" => "a"], [
        Overload::variadic(&[Any], Returns::Same(0), coalesce)
    ]),
    entry!("IFNULL", CONDITIONAL, "Returns the first argument, or the second one if the first is NULL.",
        ["IFNULL(NULL, 5)" => "5"],
        [Overload::new(&[Any, Any], Returns::Same(0), coalesce)]),
    entry!("NULLIF", CONDITIONAL, "Returns NULL if both arguments are equal, the first argument otherwise.",
        ["NULLIF(1, 2)" => "1"],
        [Overload::new(&[Any, Any], Returns::Same(0), null_if)]),
    entry!("GREATEST", CONDITIONAL, "Returns the greatest argument; NULLs are passed over.",
        ["GREATEST(3, NULL, 5)" => "5"],
        [Overload::variadic(&[Any], Returns::Same(0), |args, rows, _| extreme(args, rows, Ordering::Greater))]),
    entry!("LEAST", CONDITIONAL, "Returns the least argument; NULLs are passed over.", ["LEAST('b', 'a')" => "a"], [
        Overload::variadic(&[Any], Returns::Same(0), |args, rows, _| extreme(args, rows, Ordering::Less))
    ]),
    entry!("AS_VALUE", "OTHER", "Copies a key column into the value.", ["AS_VALUE('a')" => "a"], [
        Overload::new(&[Any], Returns::Same(0), |args, _, _| Ok(args[0].clone()))
    ]),
];

fn arrays(args: &[ColumnarValue], rows: usize) -> Result<Vec<ArrayRef>> {
    args.iter().map(|a| Ok(repeated(a.clone(), rows)?)).collect()
}

fn pick(arrays: &[ArrayRef], rows: usize, which: impl Fn(usize) -> usize) -> Result<ColumnarValue> {
    if rows == 0 {
        return Ok(ColumnarValue::Array(arrays[0].slice(0, 0)));
    }
    let places: Vec<_> = (0..rows).map(|row| (which(row), row)).collect();
    let arrays: Vec<_> = arrays.iter().map(|a| a.as_ref()).collect();
    Ok(ColumnarValue::Array(interleave(&arrays, &places)?))
}

fn coalesce(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    if let ColumnarValue::Array(first) = &args[0]
        && first.null_count() == 0
    {
        return Ok(args[0].clone());
    }
    let arrays = arrays(args, rows)?;
    pick(&arrays, rows, |row| (0..arrays.len()).find(|i| arrays[*i].is_valid(row)).unwrap_or(0))
}

fn null_if(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let mut arrays = arrays(args, rows)?;
    let equal =
        |row: usize| arrays[0].is_valid(row) && arrays[0].slice(row, 1).as_ref() == arrays[1].slice(row, 1).as_ref();
    let equal: Vec<bool> = (0..rows).map(equal).collect();
    arrays[1] = arrow::array::new_null_array(arrays[0].data_type(), rows);
    pick(&arrays, rows, |row| usize::from(equal[row]))
}

fn extreme(args: &[ColumnarValue], rows: usize, wanted: Ordering) -> Result<ColumnarValue> {
    let arrays = arrays(args, rows)?;
    let mut best = vec![0usize; rows];
    for candidate in 1..arrays.len() {
        for (row, best) in best.iter_mut().enumerate() {
            if arrays[candidate].is_valid(row)
                && (arrays[*best].is_null(row) || order(&arrays[candidate], &arrays[*best], row)? == wanted)
            {
                *best = candidate;
            }
        }
    }
    pick(&arrays, rows, |row| best[row])
}

fn order(a: &ArrayRef, b: &ArrayRef, row: usize) -> Result<Ordering> {
    if *a.data_type() == DataType::Utf8 {
        return Ok(compare_utf16(a.as_string::<i32>().value(row), b.as_string::<i32>().value(row)));
    }
    let (a, b) = (Arg::new(&[ColumnarValue::Array(a.slice(row, 1))], 0)?, b.slice(row, 1));
    Ok(make_comparator(a.array(), &b, SortOptions::default())?(0, 0))
}
