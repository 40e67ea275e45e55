//! TOPK and TOPKDISTINCT: the `k` highest values of a group, highest first; of equal ones the earlier comes first.
//!
//! ```text
//! words: handle | entries      bytes: length, rank | length, item | length, rank | ...
//! ```

use super::cells::{Cells, ListCell};
use super::fixed_size::NO_UNDO;
use super::heap::Heap;
use super::items::Items;
use super::lists::{entries, push};
use super::machine::{Machine, Values};

/// The `k` highest of a group. `ranks` decide, `values` are answered.
pub(super) struct Top<'a> {
    pub(super) ranks: Option<Items>,
    pub(super) values: Values<'a>,
    pub(super) k: usize,
    pub(super) distinct: bool,
}

impl Top<'_> {
    fn take(&self, words: &mut [i64], heap: &mut Heap, rank: &[u8], item: &[u8]) {
        let full = words[1] as usize >= self.k;
        let (mut before, mut last) = (None, 0);
        let mut parts = entries(heap.get(words[0]));
        while let (Some((place, known)), Some(_)) = (parts.next(), parts.next()) {
            if self.distinct && known == rank {
                return;
            }
            if before.is_none() && known < rank {
                before = Some(place);
            }
            last = place;
        }
        if full && before.is_none() {
            return;
        }
        drop(parts);
        let bytes = heap.edit(&mut words[0]);
        if full {
            bytes.truncate(last);
        } else {
            words[1] += 1;
        }
        let at = before.unwrap_or(bytes.len());
        let behind = bytes.split_off(at);
        push(bytes, rank);
        push(bytes, item);
        bytes.extend_from_slice(&behind);
    }
}

impl Machine for Top<'_> {
    const WORDS: usize = 2;
    type Cell = ListCell;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut ListCell {
        match cells {
            Cells::List(cell) => cell,
            _ => unreachable!("an accumulator is given the cells that it made"),
        }
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        if let Some(rank) = self.ranks.as_ref().and_then(|r| r.get(row)) {
            self.take(words, heap, rank, self.values.added(row));
        }
        true
    }

    fn undo(&self, _: &mut [i64], _: &mut Heap, _: usize) -> bool {
        unreachable!("{}", NO_UNDO)
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        let other = heap.get(from[0]).to_vec();
        let mut parts = entries(&other);
        while let (Some((_, rank)), Some((_, item))) = (parts.next(), parts.next()) {
            self.take(words, heap, rank, item);
        }
        true
    }

    fn peek(&self, words: &[i64], heap: &Heap, out: &mut ListCell) {
        for (_, item) in entries(heap.get(words[0])).skip(1).step_by(2) {
            out.items.push(Some(item));
        }
        out.close(true);
    }

    fn blank(&self, out: &mut ListCell) {
        out.close(false);
    }
}
