//! Texts before they are parsed, and without being parsed: where statements end, tokens, layout, places for programs outside.

pub mod clauses;
pub mod layout;
pub mod place;
pub mod scan;
pub(super) mod split;
