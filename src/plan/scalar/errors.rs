//! The error state beside NULL: which rows threw, why, and where it was caught.
//!
//! A row error is one bit of a bitmap over the whole batch, so rows keep their numbers whatever part of them is being
//! evaluated. Raised bitmaps are disjoint: a row that failed once takes no further part until a boundary catches it. On
//! clean data no bitmap exists at all. The writer of the log makes the text, from boundary, reason and row.

use arrow::buffer::{BooleanBuffer, buffer_bin_and_not};
use std::fmt;

/// Rows still to be evaluated; `None` = all of them.
#[derive(Clone, Debug, Default)]
pub struct Selection(pub Option<BooleanBuffer>);

impl Selection {
    /// Every row.
    pub fn all() -> Selection {
        Selection(None)
    }

    /// The selected rows that are also in `rows`.
    pub fn and(&self, rows: &BooleanBuffer) -> Selection {
        Selection(Some(match &self.0 {
            None => rows.clone(),
            Some(selected) => selected & rows,
        }))
    }

    /// The selected rows that are not in `rows`.
    pub fn minus(&self, rows: Option<&BooleanBuffer>) -> Selection {
        match rows {
            None => self.clone(),
            Some(rows) => Selection(Some(match &self.0 {
                None => !rows,
                Some(selected) => and_not(selected, rows),
            })),
        }
    }

    /// As a bitmap over `rows` rows.
    pub fn bits(&self, rows: usize) -> BooleanBuffer {
        self.0.clone().unwrap_or_else(|| BooleanBuffer::new_set(rows))
    }

    /// No row is left.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(|rows| !rows.has_true())
    }
}

/// `a AND NOT b` in one pass.
fn and_not(a: &BooleanBuffer, b: &BooleanBuffer) -> BooleanBuffer {
    let bits = buffer_bin_and_not(a.inner(), a.offset(), b.inner(), b.offset(), a.len());
    BooleanBuffer::new(bits, 0, a.len())
}

/// Why a row failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Arithmetic on NULL.
    NullOperand,
    /// An integer or DECIMAL divided by zero.
    DivisionByZero,
    /// A DECIMAL result that needs rounding.
    Inexact,
    /// A value that does not fit its DECIMAL type.
    Overflow,
    /// A value that cannot be cast.
    Cast,
    /// A function refused its arguments.
    Function,
    /// NULL where AND, OR, NOT or CASE needs true or false.
    NullBoolean,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NullOperand => "arithmetic on NULL",
            Reason::DivisionByZero => "/ by zero",
            Reason::Inexact => "Rounding necessary",
            Reason::Overflow => "Numeric field overflow",
            Reason::Cast => "the value cannot be cast",
            Reason::Function => "the function failed on its arguments",
            Reason::NullBoolean => "NULL is neither true nor false",
        })
    }
}

/// Rows in which one boundary caught one kind of error: one log entry for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Caught {
    /// The guard's number in its program; [`super::Program::boundary`] gives its expression.
    pub boundary: u16,
    /// What happened.
    pub reason: Reason,
    /// The rows.
    pub rows: BooleanBuffer,
}

/// The errors of one evaluation of one batch.
#[derive(Debug, Default)]
pub struct RowErrors {
    /// Thrown and not caught yet, in the order of throwing; disjoint.
    open: Vec<(Reason, BooleanBuffer)>,
    /// Union of `open`.
    any: Option<BooleanBuffer>,
    caught: Vec<Caught>,
}

impl RowErrors {
    /// Nothing failed yet.
    pub fn new() -> RowErrors {
        RowErrors::default()
    }

    /// What the boundaries caught so far.
    pub fn caught(&self) -> &[Caught] {
        &self.caught
    }

    /// Takes what the boundaries caught.
    pub fn take_caught(&mut self) -> Vec<Caught> {
        std::mem::take(&mut self.caught)
    }

    /// Some row is in the error state now.
    pub(super) fn any_open(&self) -> bool {
        self.any.is_some()
    }

    /// The rows of `selection` that are not in error.
    pub(super) fn healthy(&self, selection: &Selection) -> Selection {
        selection.minus(self.any.as_ref())
    }

    /// Puts `rows` into the error state, as far as they are selected and not in it already.
    pub(super) fn raise(&mut self, reason: Reason, selection: &Selection, rows: &BooleanBuffer) {
        let rows = match (&selection.0, &self.any) {
            (None, None) => rows.clone(),
            (None, Some(any)) => and_not(rows, any),
            (Some(selected), None) => selected & rows,
            (Some(selected), Some(any)) => and_not(&(selected & rows), any),
        };
        if !rows.has_true() {
            return;
        }
        self.any = Some(match &self.any {
            None => rows.clone(),
            Some(any) => any | &rows,
        });
        self.open.push((reason, rows));
    }

    /// Takes the errors of an evaluation whose row `i` belongs to row `parents[i]` of `rows` here.
    pub(super) fn take_over(&mut self, inner: RowErrors, parents: &[u32], rows: usize, selection: &Selection) {
        let outer = |bits: &BooleanBuffer| {
            let mut bad = vec![false; rows];
            bits.set_indices().for_each(|i| bad[parents[i] as usize] = true);
            BooleanBuffer::from(bad)
        };
        for (reason, bits) in &inner.open {
            self.raise(*reason, selection, &outer(bits));
        }
        self.caught.extend(inner.caught.into_iter().map(|c| Caught { rows: outer(&c.rows), ..c }));
    }

    /// The point up to which a later [`RowErrors::catch`] leaves errors alone.
    pub(super) fn mark(&self) -> usize {
        self.open.len()
    }

    /// Turns the errors thrown since `mark` into entries of `boundary` and returns their rows.
    pub(super) fn catch(&mut self, mark: usize, boundary: u16) -> Option<BooleanBuffer> {
        if self.open.len() == mark {
            return None;
        }
        let mut bad: Option<BooleanBuffer> = None;
        for (reason, rows) in self.open.drain(mark..) {
            bad = Some(match &bad {
                None => rows.clone(),
                Some(bad) => bad | &rows,
            });
            self.caught.push(Caught { boundary, reason, rows });
        }
        self.any = self.open.iter().fold(None, |any: Option<BooleanBuffer>, (_, rows)| {
            Some(match any {
                None => rows.clone(),
                Some(any) => &any | rows,
            })
        });
        bad
    }
}
