//! What a call will cost, row by row, as its bound counts it: bytes of the value that it makes, steps of its work, or
//! bytes of its pattern. Estimates are upper bounds; where one may be far too high, the arguments are looked at.

use super::sizes::{PerRow, Texts, bytes, elements, numbers};
use super::{Bound, VALUE_BYTES_MAX, series};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

/// Bytes that a character of padding has at most.
const CHARACTER_BYTES: u64 = 4;
/// Bytes that two of a format (`%c`) become at most, halved.
const FORMAT_FACTOR: u64 = 32;
/// Bytes of an element's place, or of a number as text.
const ELEMENT_BYTES: u64 = 8;
/// Bytes of a value as text, in multiples of its own.
const TEXT_FACTOR: u64 = 4;

/// The arguments of a call.
#[derive(Debug)]
pub(super) struct Cost<'a> {
    args: &'a [ColumnarValue],
    /// Rows that differ: one where all arguments are constants.
    rows: usize,
}

impl<'a> Cost<'a> {
    pub(super) fn new(args: &'a [ColumnarValue], rows: usize) -> Cost<'a> {
        let constant = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        Cost { args, rows: if constant { 1 } else { rows } }
    }

    fn bytes(&self, index: usize) -> Result<PerRow<u64>> {
        match self.args.get(index) {
            Some(arg) => PerRow::of(arg, |array| Ok(bytes(array))),
            None => PerRow::of(&ColumnarValue::Scalar(datafusion::common::ScalarValue::Null), |_| Ok(vec![0])),
        }
    }

    fn elements(&self, index: usize) -> Result<PerRow<u64>> {
        match self.args.get(index) {
            Some(arg) => PerRow::of(arg, |array| Ok(elements(array))),
            None => self.bytes(index),
        }
    }

    /// A size that an argument names; what is below zero or NULL makes nothing.
    fn named(&self, index: usize) -> Result<PerRow<u64>> {
        match self.args.get(index) {
            Some(arg) => PerRow::of(arg, |array| {
                let positive = |n: Option<i64>| u64::try_from(n.unwrap_or(0)).unwrap_or(0);
                Ok(numbers(array)?.into_iter().map(positive).collect())
            }),
            None => self.bytes(index),
        }
    }

    fn is_nested(&self, index: usize) -> bool {
        self.args.get(index).is_some_and(|arg| arg.data_type().is_nested())
    }

    fn each(&self, cost: impl FnMut(usize) -> u64) -> Result<Vec<u64>> {
        Ok((0..self.rows).map(cost).collect())
    }

    /// By row.
    pub(super) fn of(&self, bound: Bound, name: &str) -> Result<Vec<u64>> {
        match bound {
            Bound::Sum => self.sum(),
            Bound::Times => {
                let (text, times) = (self.bytes(0)?, self.named(1)?);
                self.each(|row| text.get(row).saturating_mul(times.get(row)))
            }
            Bound::Padded => {
                let length = self.named(1)?;
                self.each(|row| length.get(row).saturating_mul(CHARACTER_BYTES))
            }
            Bound::Replaced => self.replaced(),
            Bound::PatternReplaced => self.pattern_replaced(),
            Bound::Pattern => {
                let pattern = self.bytes(1)?;
                self.each(|row| pattern.get(row))
            }
            Bound::Formatted => {
                let format = self.bytes(1)?;
                self.each(|row| format.get(row).saturating_mul(FORMAT_FACTOR))
            }
            Bound::Series => series::costs(self.args, self.rows, name),
            Bound::Elements => {
                let (element, times) = (self.bytes(0)?, self.named(1)?);
                self.each(|row| (element.get(row) + ELEMENT_BYTES).saturating_mul(times.get(row)))
            }
            Bound::Resized => {
                let (list, length, element) = (self.bytes(0)?, self.named(1)?, self.bytes(2)?);
                let filled = |row| (element.get(row) + 2 * ELEMENT_BYTES).saturating_mul(length.get(row));
                self.each(|row| list.get(row).saturating_add(filled(row)))
            }
            Bound::ElementsReplaced => {
                let (list, count, to) = (self.bytes(0)?, self.elements(0)?, self.bytes(2)?);
                self.each(|row| list.get(row).saturating_add(count.get(row).saturating_mul(to.get(row))))
            }
            Bound::Joined => self.joined(name),
            Bound::Compared => {
                let long = |index| {
                    if self.is_nested(index) { self.elements(index) } else { self.bytes(index) }
                };
                let (left, right) = (long(0)?, long(1)?);
                // A value that is looked for in a list is one step for each of them.
                let single = self.is_nested(0) && !self.is_nested(1);
                self.each(|row| left.get(row).saturating_mul(if single { 1 } else { right.get(row) }))
            }
            Bound::Given | Bound::Centroids(_) | Bound::Kept | Bound::Streamed => self.each(|_| 0),
        }
    }

    fn sum(&self) -> Result<Vec<u64>> {
        let parts = (0..self.args.len()).map(|i| self.bytes(i)).collect::<Result<Vec<_>>>()?;
        self.each(|row| parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.get(row))))
    }

    /// `concat_ws(between, a, b, ..)` or `array_to_string(list, between, for_null)`.
    fn joined(&self, name: &str) -> Result<Vec<u64>> {
        if name == "concat_ws" {
            let (all, between) = (self.sum()?, self.bytes(0)?);
            let gaps = self.args.len() as u64;
            return self.each(|row| all[row].saturating_add(between.get(row).saturating_mul(gaps)));
        }
        let (list, between, for_null) = (self.bytes(0)?, self.bytes(1)?, self.bytes(2)?);
        // A list of lists is written with its inner elements: no more of them than it has bytes.
        let nested = self.args.first().is_some_and(|a| is_list_of_lists(&a.data_type()));
        let count = if nested { self.bytes(0)? } else { self.elements(0)? };
        self.each(|row| {
            let gap = between.get(row).saturating_add(for_null.get(row)).saturating_add(ELEMENT_BYTES);
            count.get(row).saturating_mul(gap).saturating_add(list.get(row).saturating_mul(TEXT_FACTOR))
        })
    }

    fn replaced(&self) -> Result<Vec<u64>> {
        let (text, from, to) = (self.bytes(0)?, self.bytes(1)?, self.bytes(2)?);
        let roughly = |row: usize| {
            let matches = text.get(row) / from.get(row).max(1) + 1;
            text.get(row).saturating_add(matches.saturating_mul(to.get(row)))
        };
        let mut costs: Vec<u64> = (0..self.rows).map(roughly).collect();
        if costs.iter().any(|cost| *cost > VALUE_BYTES_MAX) {
            let (texts, froms) = (Texts::of(&self.args[0])?, Texts::of(&self.args[1])?);
            for (row, cost) in costs.iter_mut().enumerate().filter(|(_, cost)| **cost > VALUE_BYTES_MAX) {
                let found = texts.get(row).zip(froms.get(row)).map_or(0, |(text, from)| text.matches(from).count());
                *cost = text.get(row).saturating_add((found as u64).saturating_mul(to.get(row)));
            }
        }
        Ok(costs)
    }

    /// `regexp_replace(text, pattern, replacement, flags)`: each match becomes the replacement, in which `$1` or `\1` is a
    /// part of the match.
    fn pattern_replaced(&self) -> Result<Vec<u64>> {
        let (text, pattern, to) = (self.bytes(0)?, self.bytes(1)?, self.bytes(2)?);
        let tos = Texts::of(&self.args[2])?;
        let flags = self.args.get(3).map(Texts::of).transpose()?;
        self.each(|row| {
            if pattern.get(row) > super::PATTERN_BYTES_MAX {
                return u64::MAX;
            }
            let all = flags.as_ref().and_then(|f| f.get(row)).is_some_and(|f| f.contains('g'));
            let parts = tos.get(row).map_or(0, |to| to.matches(['$', '\\']).count()) as u64;
            let matches = if all { text.get(row) + 1 } else { 1 };
            let written = matches.saturating_mul(to.get(row));
            text.get(row).saturating_mul(parts + 1).saturating_add(written)
        })
    }
}

fn is_list_of_lists(ty: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType::{FixedSizeList, LargeList, List};
    match ty {
        List(item) | LargeList(item) | FixedSizeList(item, _) => item.data_type().is_nested(),
        _ => false,
    }
}
