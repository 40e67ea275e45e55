//! HISTOGRAM and ATTR: how often each value of a group was seen.
//!
//! ```text
//! words: handle | entries      bytes: length, count, value | length, count, value | ...
//! ```

use super::cells::{Cells, CountsCell};
use super::heap::Heap;
use super::items::Items;
use super::lists::{entries, item, remove};
use super::machine::{Machine, Values};

/// ksqlDB's HISTOGRAM counts the first thousand values only.
const HISTOGRAM_VALUES_MAX: i64 = 1000;
/// Bytes of a count before the value.
const COUNT: usize = 8;

/// Adds `by` to the count of a value; at 0 the value is forgotten. A new one is not taken when there are `limit`.
fn shift(words: &mut [i64], heap: &mut Heap, value: &[u8], by: i64, limit: i64) {
    let known = entries(heap.get(words[0])).find(|(_, e)| &e[COUNT..] == value);
    match known.map(|(place, e)| (place, count(e))) {
        Some((place, count)) if count + by <= 0 => {
            remove(heap.edit(&mut words[0]), place, COUNT + value.len());
            words[1] -= 1;
        }
        Some((place, count)) => {
            let bytes = heap.edit(&mut words[0]);
            bytes[place + 4..place + 4 + COUNT].copy_from_slice(&(count + by).to_le_bytes());
        }
        None if by > 0 && words[1] < limit => {
            let bytes = heap.edit(&mut words[0]);
            bytes.extend_from_slice(&((COUNT + value.len()) as u32).to_le_bytes());
            bytes.extend_from_slice(&by.to_le_bytes());
            bytes.extend_from_slice(value);
            words[1] += 1;
        }
        None => {}
    }
}

fn count(entry: &[u8]) -> i64 {
    entry.first_chunk::<COUNT>().map_or(0, |c| i64::from_le_bytes(*c))
}

fn merge(words: &mut [i64], from: &[i64], heap: &mut Heap, limit: i64) {
    let other = heap.get(from[0]).to_vec();
    entries(&other).for_each(|(_, e)| shift(words, heap, &e[COUNT..], count(e), limit));
}

/// HISTOGRAM of strings.
pub(super) struct Histogram<'a> {
    pub(super) values: Values<'a>,
}

impl Machine for Histogram<'_> {
    const WORDS: usize = 2;
    type Cell = CountsCell;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut CountsCell {
        match cells {
            Cells::Counts(cell) => cell,
            _ => unreachable!("an accumulator is given the cells that it made"),
        }
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        if !self.values.is_null(row) {
            shift(words, heap, self.values.added(row), 1, HISTOGRAM_VALUES_MAX);
        }
        true
    }

    fn undo(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        if !self.values.is_old_null(row) {
            shift(words, heap, self.values.removed(row), -1, HISTOGRAM_VALUES_MAX);
        }
        true
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        merge(words, from, heap, HISTOGRAM_VALUES_MAX);
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut CountsCell) {
        entries(heap.get(words[0])).for_each(|(_, e)| out.push(&e[COUNT..], count(e)));
        out.close(true);
    }

    fn blank(&self, out: &mut CountsCell) {
        out.close(false);
    }
}

/// ATTR: the value, if all rows of the group have the same.
pub(super) struct Attr<'a> {
    pub(super) values: Values<'a>,
}

impl Machine for Attr<'_> {
    const WORDS: usize = 2;
    type Cell = Items;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Items {
        item(cells)
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        shift(words, heap, self.values.added(row), 1, i64::MAX);
        true
    }

    fn undo(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        shift(words, heap, self.values.removed(row), -1, i64::MAX);
        true
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        merge(words, from, heap, i64::MAX);
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut Items) {
        let only = entries(heap.get(words[0])).next().filter(|_| words[1] == 1);
        out.push(only.map(|(_, e)| &e[COUNT..]));
    }

    fn blank(&self, out: &mut Items) {
        out.push(None);
    }
}
