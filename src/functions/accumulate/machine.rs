//! What the one loop of [`super::Accumulator`] drives: an aggregate over the columns of one pass.

use super::cells::{Cell, Cells, Native};
use super::fixed_size::{FixedSizeAggregate, NO_LEAVE};
use super::heap::Heap;
use arrow::buffer::NullBuffer;
use arrow::row::Rows;

/// An aggregate with the columns that it reads. Rows are positions in them.
pub(super) trait Machine {
    /// Words of its state in a group.
    const WORDS: usize;
    /// Where its results go.
    type Cell;
    /// The column of results, by its kind.
    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Self::Cell;
    /// Takes a row of the new columns; false = the result would not fit, nothing changed.
    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool;
    /// Takes back a row of the old columns.
    fn undo(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool;
    /// Takes in what another group has seen.
    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool;
    /// Takes out what another group has seen, which this one has seen too; false = the remaining state cannot be computed.
    fn leave(&self, _words: &mut [i64], _from: &[i64]) -> bool {
        unreachable!("{NO_LEAVE}")
    }
    /// Appends the result.
    fn peek(&self, words: &[i64], heap: &Heap, out: &mut Self::Cell);
    /// Appends a NULL.
    fn blank(&self, out: &mut Self::Cell);
}

/// Values of a native type in a column.
#[derive(Clone, Copy)]
pub(super) struct Plain<'a, T> {
    pub(super) values: &'a [T],
    pub(super) nulls: Option<&'a NullBuffer>,
}

/// What may stand in a row: a value, or nothing.
pub(super) trait Input {
    type Item;
    fn get(&self, row: usize) -> Option<Self::Item>;
}

impl<T: Copy> Input for Plain<'_, T> {
    type Item = T;
    #[inline(always)]
    fn get(&self, row: usize) -> Option<T> {
        self.nulls.is_none_or(|n| n.is_valid(row)).then(|| self.values[row])
    }
}

/// Two columns: a row counts when both have a value.
pub(super) struct Pairs(pub(super) Vec<Option<(f64, f64)>>);

impl Input for Pairs {
    type Item = (f64, f64);
    fn get(&self, row: usize) -> Option<(f64, f64)> {
        self.0[row]
    }
}

/// A fold of fixed size over a column.
pub(super) struct Simple<F, I> {
    pub(super) fold: F,
    pub(super) new: I,
    pub(super) old: I,
}

impl<F: FixedSizeAggregate, I: Input<Item = F::In>> Machine for Simple<F, I> {
    const WORDS: usize = F::WORDS;
    type Cell = Cell<F::Out>;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Cell<F::Out> {
        F::Out::cell(cells)
    }

    #[inline(always)]
    fn add(&self, words: &mut [i64], _: &mut Heap, row: usize) -> bool {
        self.new.get(row).is_none_or(|value| self.fold.add(words, value))
    }

    #[inline(always)]
    fn undo(&self, words: &mut [i64], _: &mut Heap, row: usize) -> bool {
        self.old.get(row).is_none_or(|value| self.fold.undo(words, value))
    }

    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64], _: &mut Heap) -> bool {
        self.fold.merge(words, from)
    }

    #[inline(always)]
    fn leave(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.fold.leave(words, from)
    }

    #[inline(always)]
    fn peek(&self, words: &[i64], _: &Heap, out: &mut Cell<F::Out>) {
        out.push(self.fold.peek(words));
    }

    fn blank(&self, out: &mut Cell<F::Out>) {
        out.push(None);
    }
}

/// COUNT: rows in which the argument is not NULL.
pub(super) struct Counting {
    pub(super) new: Option<NullBuffer>,
    pub(super) old: Option<NullBuffer>,
}

impl Machine for Counting {
    const WORDS: usize = 1;
    type Cell = Cell<i64>;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Cell<i64> {
        i64::cell(cells)
    }

    #[inline(always)]
    fn add(&self, words: &mut [i64], _: &mut Heap, row: usize) -> bool {
        words[0] += i64::from(self.new.as_ref().is_none_or(|n| n.is_valid(row)));
        true
    }

    #[inline(always)]
    fn undo(&self, words: &mut [i64], _: &mut Heap, row: usize) -> bool {
        words[0] -= i64::from(self.old.as_ref().is_none_or(|n| n.is_valid(row)));
        true
    }

    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64], _: &mut Heap) -> bool {
        words[0] += from[0];
        true
    }

    #[inline(always)]
    fn leave(&self, words: &mut [i64], from: &[i64]) -> bool {
        words[0] -= from[0];
        true
    }

    #[inline(always)]
    fn peek(&self, words: &[i64], _: &Heap, out: &mut Cell<i64>) {
        out.push(Some(words[0]));
    }

    fn blank(&self, out: &mut Cell<i64>) {
        out.push(None);
    }
}

/// A fold that takes every item of a row's list.
pub(super) struct EachOf<F, I> {
    pub(super) fold: F,
    pub(super) new: Spread<I>,
    pub(super) old: Spread<I>,
}

/// Items of lists, and which of them are a row's.
pub(super) struct Spread<I> {
    pub(super) items: I,
    /// One more than rows; empty where there is no column.
    pub(super) offsets: Vec<i32>,
    pub(super) nulls: Option<NullBuffer>,
}

impl<I: Input> Spread<I> {
    fn each(&self, row: usize) -> impl Iterator<Item = I::Item> {
        let there = self.nulls.as_ref().is_none_or(|n| n.is_valid(row));
        let range = if there { self.offsets[row] as usize..self.offsets[row + 1] as usize } else { 0..0 };
        range.filter_map(|at| self.items.get(at))
    }
}

impl<F: FixedSizeAggregate, I: Input<Item = F::In>> Machine for EachOf<F, I> {
    const WORDS: usize = F::WORDS;
    type Cell = Cell<F::Out>;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Cell<F::Out> {
        F::Out::cell(cells)
    }

    fn add(&self, words: &mut [i64], _: &mut Heap, row: usize) -> bool {
        // Every value is taken, also after one that does not fit.
        let mut fits = true;
        self.new.each(row).for_each(|value| fits &= self.fold.add(words, value));
        fits
    }

    fn undo(&self, words: &mut [i64], _: &mut Heap, row: usize) -> bool {
        let mut fits = true;
        self.old.each(row).for_each(|value| fits &= self.fold.undo(words, value));
        fits
    }

    fn merge(&self, words: &mut [i64], from: &[i64], _: &mut Heap) -> bool {
        self.fold.merge(words, from)
    }

    fn peek(&self, words: &[i64], _: &Heap, out: &mut Cell<F::Out>) {
        out.push(self.fold.peek(words));
    }

    fn blank(&self, out: &mut Cell<F::Out>) {
        out.push(None);
    }
}

/// Values as byte strings, for aggregates that keep them. NULL has bytes too.
#[derive(Default)]
pub(super) struct Values<'a> {
    pub(super) new: Encoded<'a>,
    pub(super) old: Encoded<'a>,
}

/// One column as byte strings.
#[derive(Default)]
pub(super) enum Encoded<'a> {
    /// There is no column, so that no value is asked for.
    #[default]
    None,
    /// Any type, by [`super::items::ItemCodec`].
    Rows(Rows, Option<NullBuffer>),
    /// STRING and BYTES as they are.
    Text(&'a arrow::array::StringArray),
    Bytes(&'a arrow::array::BinaryArray),
}

impl Encoded<'_> {
    #[inline]
    fn get(&self, row: usize) -> &[u8] {
        match self {
            Encoded::None => &[],
            Encoded::Rows(rows, _) => rows.row(row).data(),
            Encoded::Text(text) => text.value(row).as_bytes(),
            Encoded::Bytes(bytes) => bytes.value(row),
        }
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        use arrow::array::Array;
        match self {
            Encoded::None => true,
            Encoded::Rows(_, nulls) => nulls.as_ref().is_some_and(|n| n.is_null(row)),
            Encoded::Text(text) => text.is_null(row),
            Encoded::Bytes(bytes) => bytes.is_null(row),
        }
    }
}

impl Values<'_> {
    #[inline]
    pub(super) fn added(&self, row: usize) -> &[u8] {
        self.new.get(row)
    }

    #[inline]
    pub(super) fn removed(&self, row: usize) -> &[u8] {
        self.old.get(row)
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.new.is_null(row)
    }

    #[inline]
    pub(super) fn is_old_null(&self, row: usize) -> bool {
        self.old.is_null(row)
    }
}
