//! The reader of `queries/`, under the name that the checks know.

#[path = "../../support/golden.rs"]
#[allow(dead_code)]
pub(crate) mod golden;
