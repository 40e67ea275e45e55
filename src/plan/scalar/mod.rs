//! Scalar programs: ksqlDB's expression meaning on Arrow columns, in one place.
//!
//! `bind` turns an expression into a [`Program`], a typed tree over numbered columns; [`Program::eval`] runs it on a batch.
//! Meaning is two-valued with an error state beside NULL: `a > 5` is false for a NULL `a`, so `NOT (a > 5)` keeps the row,
//! whereas `a + 1` *throws* for it, and the throw passes NOT, CASE and COALESCE up to the next boundary. That is where a
//! `Guard`, which turns the row into NULL and notes it for the log:
//!
//! ```text
//! SELECT COALESCE(a + 1, 0)            ->  Guard#0(COALESCE(a + 1, 0))             NULL a: NULL, one entry
//! SELECT COALESCE(CAST(s AS INT), 0)   ->  Guard#0(COALESCE(Guard#1(CAST ...), 0)) bad s: 0, one entry
//! ```
//!
//! Kernels run over all rows of a batch and put wrong rows into a bitmap afterwards; only AND, OR, CASE and fallible leaves
//! look at which rows are selected. Values in rows that are not selected, or in error, have no meaning.

mod arithmetic;
mod bind;
mod cast;
mod cause;
mod compare;
mod decimal;
mod errors;
mod eval;
mod lambda;
mod literal;
mod nested;
mod operands;
mod program;
mod show;
mod text;

pub use bind::extensions;
pub(crate) use bind::native;
pub use bind::{Boundary, Scope, Typed, bind, bind_to, constant, is_time_column, sql_type, typed_constant};
pub(in crate::plan) use bind::{compared_rows, interval_millis, row_values};
pub use errors::{Caught, Reason, RowErrors, Selection};
pub use program::{Arithmetic, Body, Comparison, Higher, Program};

use arrow::array::ArrayRef;

/// The columns of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// One array per column; [`Program::Column`] counts in it.
    pub columns: &'a [ArrayRef],
    /// How many rows each of them has.
    pub rows: usize,
}
