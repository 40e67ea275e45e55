//! Table functions: they make several rows of one. Each is computed as the array of its rows.

use super::Param::ArrayOfAny;
use super::kernel::{ELEMENTS_MAX, Lists, Picks, list};
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::logical_expr::ColumnarValue;

const TABLE: &str = "TABLE";

/// All of them. The type that an overload returns is the ARRAY of what each row gets.
pub(super) static ENTRIES: &[Entry] = &[
    entry!(
        "EXPLODE",
        TABLE,
        "Makes a row of each element.",
        ["EXPLODE(ARRAY[1, 2])" => "[1, 2]"],
        [Overload::new(&[ArrayOfAny], Returns::Same(0), |args, _, _| Ok(args[0].clone()))]
    ),
    entry!(
        "CUBE_EXPLODE",
        TABLE,
        "Makes a row of each combination of the elements, NULL standing for those left out.",
        ["CUBE_EXPLODE(ARRAY[1, 2])" => "[[null, null], [null, 2], [1, null], [1, 2]]"],
        [Overload::fallible(&[ArrayOfAny], Returns::Of(array_of), cube)]
    ),
];

fn array_of(args: &[SqlType]) -> SqlType {
    SqlType::Array(Box::new(args.first().cloned().unwrap_or(SqlType::String)))
}

/// An element that is NULL already has no other form.
fn cube(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let lists = Lists::new(args, 0)?;
    let mut picks = Picks::default();
    let (mut lengths, mut valid) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in 0..rows {
        let Some(places) = lists.get(row) else {
            lengths.push(0);
            valid.push(false);
            continue;
        };
        let places: Vec<usize> = places.collect();
        let changing: Vec<usize> = (0..places.len()).filter(|i| !lists.items().is_null(places[*i])).collect();
        let combinations = 1usize.checked_shl(changing.len() as u32).filter(|n| *n <= ELEMENTS_MAX);
        let Some(combinations) = combinations else {
            errors.fail(row);
            lengths.push(0);
            valid.push(false);
            continue;
        };
        for combination in 0..combinations {
            for (i, place) in places.iter().enumerate() {
                // The first element changes slowest.
                let bit = changing.iter().position(|c| *c == i).map(|n| changing.len() - 1 - n);
                picks.push(bit.filter(|bit| combination >> bit & 1 == 1).map(|_| *place));
            }
            picks.close(true);
        }
        lengths.push(combinations);
        valid.push(true);
    }
    let (offsets, nulls, values) = picks.parts(lists.items())?;
    let inner = list(offsets, nulls, values)?;
    let nulls = Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0);
    Ok(ColumnarValue::Array(list(OffsetBuffer::from_lengths(lengths), nulls, inner)?))
}
