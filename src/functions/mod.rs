//! Functions: name -> signatures -> implementation and documentation.

pub mod aggregate;
