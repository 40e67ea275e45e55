//! Aggregate functions.

/// An aggregate with its argument types resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// COUNT(*)
    CountRows,
}
