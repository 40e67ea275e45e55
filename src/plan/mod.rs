//! Statements to plans. Pure: no I/O, no clock; what has to be known of the environment is passed in as [`Facts`].
//!
//! ```text
//! CREATE STREAM|TABLE         -> source::create_source   -> Source, topic to create
//! CREATE ... AS SELECT        -> query::create_as        -> QueryPlan: bound plan, sink, topic to create
//! INSERT INTO ... SELECT      -> query::insert_select    -> QueryPlan
//! ALTER STREAM|TABLE          -> alter::alter_source     -> Source
//! SELECT ... EMIT             -> query::push_query       -> TransientPlan
//! SELECT                      -> query::batch_query      -> BatchPlan
//! SELECT, of a kept table     -> pull::pull_query        -> PullPlan
//! INSERT INTO ... VALUES      -> insert::insert_values   -> InsertPlan
//! ```
//!
//! The bound plan is a DataFusion `LogicalPlan` over [`nodes::table::SourceTable`]s, whose expressions are closed calls of scalar
//! programs ([`nodes::call::ProgramCall`]) and whose nodes without an equivalent in SQL are in [`nodes`]. The incremental compiler and
//! the batch planner both start from it.

pub mod alter;
pub mod explain;
pub mod formats;
pub mod insert;
pub mod nodes;
pub mod pull;
pub mod query;
pub mod scalar;
pub mod source;

mod facts;
mod loops;
mod properties;
mod select;
mod settings;
mod sink;

pub use alter::alter_source;
pub use facts::{
    Facts, SchemaFact, SchemaRequest, TopicFact, schemas_of_query, schemas_of_source, subject, topics_of_query,
    topics_of_source,
};
pub use insert::{InsertPlan, insert_constants, insert_time, insert_values};
pub use properties::with_properties;
pub use pull::{PullPlan, WindowBounds, pull_query};
pub use query::{
    BatchPlan, QueryPlan, TransientPlan, batch_query, create_as, insert_select, push_query, relational_query,
};
pub use scalar::extensions;
pub use settings::Settings;
pub use source::{CreatePlan, TopicRequest, create_source};

/// A statement that makes something: its plan, or why there is nothing to do (`IF NOT EXISTS`).
#[derive(Clone, Debug)]
pub enum Created<P> {
    /// To be made.
    New(P),
    /// It exists already; the text says so.
    Exists(String),
}
