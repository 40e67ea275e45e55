//! Functions: name -> signatures -> implementation and documentation.

pub mod accumulate;
pub mod aggregate;
mod fold;
