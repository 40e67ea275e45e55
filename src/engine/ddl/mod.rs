//! Statements that change the catalogue.
//!
//! ```text
//! Change --plan(catalogue, facts, queries, settings)--> Planned { steps, reply, touches }          plan
//!
//! live      lock -> plan -> each step: topics -> command log -> catalogue -> queries -> topics       carry_out
//! sandbox           plan -> each step: effect applied to a copy, for every statement of a request    sandbox
//! replay            plan -> the query of a recorded statement, which runs again                      command::replay
//! ```
//!
//! What a statement means is decided in [`plan()`] alone: an [`Effect`](crate::catalog::Effect) on the catalogue, and the
//! actions that go with it. Statements of this kind are carried out one after the other ([`lock`]).

pub(in crate::engine) mod carry_out;
pub mod datagen;
pub(in crate::engine) mod lock;
mod panic_guard;
pub(in crate::engine) mod plan;
pub(in crate::engine) mod sandbox;
pub(in crate::engine) mod shut_down;
pub(in crate::engine) mod terminate_cluster;

use crate::parse::statement::{Alter, CreateAs, CreateSource, CreateType, Drop, InsertSelect, Name};

/// A statement that changes the catalogue.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Change<'a> {
    /// CREATE STREAM, CREATE TABLE.
    CreateSource(&'a CreateSource),
    /// CREATE STREAM AS SELECT, CREATE TABLE AS SELECT.
    CreateAs(&'a CreateAs),
    /// INSERT INTO ... SELECT.
    InsertSelect(&'a InsertSelect),
    /// ALTER STREAM, ALTER TABLE.
    Alter(&'a Alter),
    /// DROP STREAM, DROP TABLE.
    Drop(&'a Drop),
    /// CREATE TYPE.
    CreateType(&'a CreateType),
    /// DROP TYPE.
    DropType {
        /// The type's name.
        name: &'a Name,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// TERMINATE of one persistent query, or of all.
    Terminate(Option<&'a str>),
    /// PAUSE (`paused`) or RESUME of one persistent query, or of all.
    Pause {
        /// The query; `None` = all.
        id: Option<&'a str>,
        /// PAUSE or RESUME.
        paused: bool,
    },
}
