//! Arrays as sets: elements once, in the order of their first appearance.

use super::Param::ArrayOfAny;
use super::array::ARRAY;
use super::equality::Distinct;
use super::kernel::{Lists, Picks};
use super::{Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use datafusion::logical_expr::ColumnarValue;

pub(super) static ENTRIES: &[Entry] = &[
    entry!("ARRAY_DISTINCT", ARRAY, "Returns the elements without repetitions.",
        ["ARRAY_DISTINCT(ARRAY[1, 2, 1, 3])" => "[1, 2, 3]"],
        [Overload::new(&[ArrayOfAny], Returns::Same(0), distinct)]),
    entry!("ARRAY_UNION", ARRAY, "Returns the elements of both arrays without repetitions.",
        ["ARRAY_UNION(ARRAY[1, 2], ARRAY[2, 3])" => "[1, 2, 3]"],
        [Overload::new(&[ArrayOfAny, ArrayOfAny], Returns::Same(0), |a, r, e| both(a, r, e, Keep::Union))]),
    entry!("ARRAY_INTERSECT", ARRAY, "Returns the elements that both arrays have, without repetitions.",
        ["ARRAY_INTERSECT(ARRAY[1, 2, 3], ARRAY[3, 1])" => "[1, 3]"],
        [Overload::new(&[ArrayOfAny, ArrayOfAny], Returns::Same(0), |a, r, e| both(a, r, e, Keep::Intersection))]),
    entry!("ARRAY_EXCEPT", ARRAY, "Returns the elements of the first array that the second has not, without repetitions.",
        ["ARRAY_EXCEPT(ARRAY[1, 2, 3], ARRAY[2])" => "[1, 3]"],
        [Overload::new(&[ArrayOfAny, ArrayOfAny], Returns::Same(0), |a, r, e| both(a, r, e, Keep::Difference))]),
    entry!("ARRAY_CONCAT", ARRAY, "Returns the elements of the first array, then those of the second.",
        ["ARRAY_CONCAT(ARRAY[1, 2], ARRAY[2])" => "[1, 2, 2]"],
        [Overload::new(&[ArrayOfAny, ArrayOfAny], Returns::Same(0), |a, r, e| both(a, r, e, Keep::All))]),
];

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    All,
    Union,
    Intersection,
    Difference,
}

fn distinct(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let lists = Lists::new(args, 0)?;
    let mut seen = Distinct::new(lists.items());
    let mut picks = Picks::default();
    for row in 0..rows {
        let places = lists.get(row);
        let valid = places.is_some();
        seen.clear();
        places.into_iter().flatten().filter(|p| seen.insert(*p)).for_each(|p| picks.push(Some(p)));
        picks.close(valid);
    }
    picks.finish(lists.items())
}

fn both(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink, keep: Keep) -> Result<ColumnarValue> {
    let (left, right) = (Lists::new(args, 0)?, Lists::new(args, 1)?);
    // One array of all elements: those of the right side stand behind those of the left.
    let items: ArrayRef = concat(&[left.items().as_ref(), right.items().as_ref()])?;
    let shift = left.items().len();
    let (mut others, mut seen) = (Distinct::new(&items), Distinct::new(&items));
    let mut picks = Picks::default();
    for row in 0..rows {
        let moved = right.get(row).map(|r| r.start + shift..r.end + shift);
        let (first, second) = (left.get(row), moved);
        if keep == Keep::All {
            let valid = first.is_some() || second.is_some();
            first.into_iter().chain(second).flatten().for_each(|p| picks.push(Some(p)));
            picks.close(valid);
            continue;
        }
        let (Some(first), Some(second)) = (first, second) else {
            picks.close(false);
            continue;
        };
        seen.clear();
        if keep == Keep::Union {
            first.chain(second).filter(|p| seen.insert(*p)).for_each(|p| picks.push(Some(p)));
        } else {
            others.clear();
            second.for_each(|p| _ = others.insert(p));
            let wanted = keep == Keep::Intersection;
            let chosen = first.filter(|p| others.contains(*p) == wanted && seen.insert(*p));
            chosen.for_each(|p| picks.push(Some(p)));
        }
        picks.close(true);
    }
    picks.finish(&items)
}
