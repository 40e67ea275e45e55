//! COLLECT_LIST, COLLECT_SET, EARLIEST_BY_OFFSET, LATEST_BY_OFFSET, and MIN and MAX of byte strings: aggregates that keep
//! values.
//!
//! ```text
//! COLLECT_*:           words: handle | items        bytes: length, value | length, value | ...
//! *_BY_OFFSET(x):      words: handle | arrival      bytes: value
//! *_BY_OFFSET(x, n):   words: handle | items        bytes: length, arrival, value | ...
//! MIN, MAX:            words: handle | seen         bytes: value
//! ```

use super::cells::{BytesCell, Cells, ListCell};
use super::fixed_size::NO_UNDO;
use super::heap::Heap;
use super::items::Items;
use super::machine::{Machine, Values};

/// Appends one entry.
pub(super) fn push(bytes: &mut Vec<u8>, entry: &[u8]) {
    bytes.extend_from_slice(&(entry.len() as u32).to_le_bytes());
    bytes.extend_from_slice(entry);
}

/// The entries of a list in order, each with its place.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = bytes.get(at..at + 4)?.try_into().map(u32::from_le_bytes).expect("four bytes") as usize;
        let (start, place) = (at + 4, at);
        at = start + length;
        Some((place, &bytes[start..at]))
    })
}

/// Removes the entry at `place`.
pub(super) fn remove(bytes: &mut Vec<u8>, place: usize, entry: usize) {
    bytes.drain(place..place + 4 + entry);
}

fn list(cells: &mut Cells) -> &mut ListCell {
    match cells {
        Cells::List(cell) => cell,
        _ => unreachable!("an accumulator is given the cells that it made"),
    }
}

pub(super) fn item(cells: &mut Cells) -> &mut Items {
    match cells {
        Cells::Item(items) => items,
        _ => unreachable!("an accumulator is given the cells that it made"),
    }
}

/// COLLECT_LIST and COLLECT_SET.
pub(super) struct Collect<'a> {
    pub(super) values: Values<'a>,
    pub(super) distinct: bool,
    pub(super) limit: usize,
}

impl Collect<'_> {
    fn take(&self, words: &mut [i64], heap: &mut Heap, value: &[u8]) {
        let full = words[1] as usize >= self.limit;
        if full || (self.distinct && entries(heap.get(words[0])).any(|(_, known)| known == value)) {
            return;
        }
        push(heap.edit(&mut words[0]), value);
        words[1] += 1;
    }
}

impl Machine for Collect<'_> {
    const WORDS: usize = 2;
    type Cell = ListCell;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut ListCell {
        list(cells)
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        self.take(words, heap, self.values.added(row));
        true
    }

    /// Takes the last equal item out.
    fn undo(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        let value = self.values.removed(row);
        let last = entries(heap.get(words[0])).filter(|(_, known)| *known == value).last();
        if let Some(place) = last.map(|(place, _)| place) {
            remove(heap.edit(&mut words[0]), place, value.len());
            words[1] -= 1;
        }
        true
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        let other = heap.get(from[0]).to_vec();
        entries(&other).for_each(|(_, value)| self.take(words, heap, value));
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut ListCell) {
        entries(heap.get(words[0])).for_each(|(_, value)| out.items.push(Some(value)));
        out.close(true);
    }

    fn blank(&self, out: &mut ListCell) {
        out.close(false);
    }
}

/// EARLIEST_BY_OFFSET and LATEST_BY_OFFSET of one value. The count of arrivals decides which came earlier.
pub(super) struct OneByOffset<'a> {
    pub(super) values: Values<'a>,
    pub(super) latest: bool,
    pub(super) ignore_nulls: bool,
}

impl Machine for OneByOffset<'_> {
    const WORDS: usize = 2;
    type Cell = Items;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Items {
        item(cells)
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        if (self.ignore_nulls && self.values.is_null(row)) || (words[1] != 0 && !self.latest) {
            return true;
        }
        words[1] = heap.arrival(row);
        let bytes = heap.edit(&mut words[0]);
        bytes.clear();
        bytes.extend_from_slice(self.values.added(row));
        true
    }

    fn undo(&self, _: &mut [i64], _: &mut Heap, _: usize) -> bool {
        unreachable!("{}", NO_UNDO)
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        let other_wins = if self.latest { from[1] > words[1] } else { from[1] < words[1] };
        if from[1] != 0 && (words[1] == 0 || other_wins) {
            let other = heap.get(from[0]).to_vec();
            words[1] = from[1];
            *heap.edit(&mut words[0]) = other;
        }
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut Items) {
        out.push((words[1] != 0).then(|| heap.get(words[0])));
    }

    fn blank(&self, out: &mut Items) {
        out.push(None);
    }
}

/// EARLIEST_BY_OFFSET and LATEST_BY_OFFSET of `count` values, in order of arrival.
///
/// When sessions merge ksqlDB keeps the earliest of both sides, for LATEST too; so does this.
pub(super) struct SomeByOffset<'a> {
    pub(super) values: Values<'a>,
    pub(super) latest: bool,
    pub(super) ignore_nulls: bool,
    pub(super) count: usize,
}

/// Bytes of an arrival before the value.
const ARRIVAL: usize = 8;

impl Machine for SomeByOffset<'_> {
    const WORDS: usize = 2;
    type Cell = ListCell;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut ListCell {
        list(cells)
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        let full = words[1] as usize >= self.count;
        if (self.ignore_nulls && self.values.is_null(row)) || (full && !self.latest) {
            return true;
        }
        let (arrival, value) = (heap.arrival(row), self.values.added(row));
        let bytes = heap.edit(&mut words[0]);
        if full {
            let first = entries(bytes).next().map_or(0, |(_, e)| e.len());
            remove(bytes, 0, first);
        } else {
            words[1] += 1;
        }
        bytes.extend_from_slice(&((ARRIVAL + value.len()) as u32).to_le_bytes());
        bytes.extend_from_slice(&arrival.to_le_bytes());
        bytes.extend_from_slice(value);
        true
    }

    fn undo(&self, _: &mut [i64], _: &mut Heap, _: usize) -> bool {
        unreachable!("{}", NO_UNDO)
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        if from[1] == 0 {
            return true;
        }
        let (left, right) = (heap.get(words[0]).to_vec(), heap.get(from[0]).to_vec());
        let arrival = |e: &[u8]| e.first_chunk::<ARRIVAL>().map_or(0, |a| i64::from_le_bytes(*a));
        let mut all: Vec<&[u8]> = entries(&left).chain(entries(&right)).map(|(_, e)| e).collect();
        all.sort_by_key(|e| arrival(e));
        all.truncate(self.count);
        words[1] = all.len() as i64;
        let bytes = heap.edit(&mut words[0]);
        bytes.clear();
        all.iter().for_each(|e| push(bytes, e));
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut ListCell) {
        entries(heap.get(words[0])).for_each(|(_, e)| out.items.push(Some(&e[ARRIVAL..])));
        out.close(true);
    }

    fn blank(&self, out: &mut ListCell) {
        out.close(false);
    }
}

/// MIN and MAX of STRING and BYTES, which are compared as `rank` maps their bytes.
pub(super) struct ExtremeBytes<'a> {
    pub(super) values: Values<'a>,
    pub(super) highest: bool,
    pub(super) rank: fn(u8) -> u8,
}

impl ExtremeBytes<'_> {
    fn take(&self, words: &mut [i64], heap: &mut Heap, value: &[u8]) {
        let held = heap.get(words[0]);
        let order = value.iter().map(|&b| (self.rank)(b)).cmp(held.iter().map(|&b| (self.rank)(b)));
        if words[1] == 0 || (if self.highest { order.is_gt() } else { order.is_lt() }) {
            words[1] = 1;
            let bytes = heap.edit(&mut words[0]);
            bytes.clear();
            bytes.extend_from_slice(value);
        }
    }
}

impl Machine for ExtremeBytes<'_> {
    const WORDS: usize = 2;
    type Cell = BytesCell;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut BytesCell {
        match cells {
            Cells::Bytes(cell) => cell,
            _ => unreachable!("an accumulator is given the cells that it made"),
        }
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        if !self.values.is_null(row) {
            self.take(words, heap, self.values.added(row));
        }
        true
    }

    fn undo(&self, _: &mut [i64], _: &mut Heap, _: usize) -> bool {
        unreachable!("{}", NO_UNDO)
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        if from[1] != 0 {
            let other = heap.get(from[0]).to_vec();
            self.take(words, heap, &other);
        }
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut BytesCell) {
        out.push((words[1] != 0).then(|| heap.get(words[0])));
    }

    fn blank(&self, out: &mut BytesCell) {
        out.push(None);
    }
}
