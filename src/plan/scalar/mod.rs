//! Scalar programs: ksqlDB's expression meaning on Arrow columns, in one place.

/// A typed expression over numbered columns.
#[derive(Clone, Debug)]
pub struct Program {}
