//! Statements to plans. Pure: no I/O, no clock.

pub mod scalar;
