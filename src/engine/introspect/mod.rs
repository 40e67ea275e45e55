//! Statements that inspect the engine: SHOW, DESCRIBE, EXPLAIN, ASSERT, PRINT, and names for completion. None of them
//! changes anything.

pub mod function_help;
pub mod names;
mod native_functions;
mod plan_place;
pub mod plan_tree;
pub mod records;
pub mod text;
pub mod topics;

pub(in crate::engine) mod assert_topic;
pub(in crate::engine) mod refreshed;
pub(in crate::engine) mod show;

mod connectors;
mod print;
pub(in crate::engine) mod print_framed;

use crate::engine::Engine;
use crate::engine::intent::Inquiry;
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::Result;

impl Inquiry<'_> {
    /// Its result; `text` is the statement's.
    pub(in crate::engine) fn reply(&self, engine: &Engine, text: &str, session: &Session) -> Result<Entity> {
        match self {
            Inquiry::Show(show) => engine.show(show, session),
            Inquiry::Describe { name, extended } => engine.describe(name, *extended, session),
            Inquiry::DescribeFunction(name) => function_help::describe_function(name),
            Inquiry::DescribeConnector(name) => engine.describe_connector(name, session),
            Inquiry::ExplainQuery(id) => engine.explain_query(id, session),
            Inquiry::Explain(intent) => engine.explain(intent, text, session),
            Inquiry::AssertTopic(assert) => engine.assert_topic(assert, session),
            Inquiry::AssertSchema(assert) => engine.assert_schema(assert, text),
        }
    }
}
