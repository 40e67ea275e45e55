//! Arrays and maps.

use super::Param::{Any, ArrayOfAny};
use super::kernel::{Arg, numbers};
use super::{Entry, ErrorSink, Overload, Returns};
use crate::error::Result;
use crate::types::SqlType::{Boolean, Integer};
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

const ARRAY: &str = "ARRAY";

pub(super) static ENTRIES: &[Entry] = &[
    Entry {
        name: "ARRAY_LENGTH",
        category: ARRAY,
        description: "Returns the number of elements.",
        overloads: &[Overload {
            params: &[ArrayOfAny],
            variadic: false,
            returns: Returns::Type(Integer),
            can_fail: false,
            implementation: length,
        }],
    },
    Entry {
        name: "ARRAY_CONTAINS",
        category: ARRAY,
        description: "Returns whether the array has an element equal to the second argument.",
        overloads: &[Overload {
            params: &[ArrayOfAny, Any],
            variadic: false,
            returns: Returns::Type(Boolean),
            can_fail: false,
            implementation: contains,
        }],
    },
];

fn length(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let arg = Arg::new(args, 0)?;
    let list = arg.array().as_list::<i32>();
    numbers::<Int32Type>(rows, |row| (!arg.is_null(row)).then(|| list.value_length(arg.place(row))))
}

fn contains(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let (lists, wanted) = (Arg::new(args, 0)?, Arg::new(args, 1)?);
    let list = lists.array().as_list::<i32>();
    let (items, offsets) = (list.values(), list.value_offsets());
    let found = BooleanBuffer::collect_bool(rows, |row| {
        let place = lists.place(row);
        let wanted = wanted.array().slice(wanted.place(row), 1);
        let mut places = offsets[place] as usize..offsets[place + 1] as usize;
        !lists.is_null(row) && places.any(|i| items.slice(i, 1).as_ref() == wanted.as_ref())
    });
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(found, None))))
}
