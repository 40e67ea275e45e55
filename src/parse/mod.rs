//! Text to statements. Pure: nothing is looked up here.

pub mod statement;
