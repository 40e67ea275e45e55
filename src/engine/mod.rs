//! The engine's façade.

pub mod outcome;
