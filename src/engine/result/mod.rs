//! What a statement returns, as data: facts about the engine (`entity`) or the rows of a query (`rows`). How they are shown is
//! not decided here.

pub mod connector;
pub mod entity;
pub mod rows;
