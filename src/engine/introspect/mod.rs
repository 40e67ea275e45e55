//! What an engine says about itself: SHOW, DESCRIBE, EXPLAIN, ASSERT, PRINT, and names for completion. Nothing
//! here changes anything.

pub mod function_help;
pub mod names;
pub mod topics;

pub(in crate::engine) mod assert_topic;
pub(in crate::engine) mod refreshed;
pub(in crate::engine) mod show;

mod print;

use crate::engine::Engine;
use crate::engine::intent::Intent;
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::Result;
use crate::parse::statement::{AssertTopic, Name, Show};

/// A statement that asks about the engine.
pub(in crate::engine) enum Inquiry<'a> {
    /// SHOW, LIST.
    Show(&'a Show),
    /// DESCRIBE.
    Describe {
        /// Stream or table.
        name: &'a Name,
        /// EXTENDED.
        extended: bool,
    },
    /// DESCRIBE FUNCTION.
    DescribeFunction(&'a Name),
    /// EXPLAIN of a persistent query.
    ExplainQuery(&'a Name),
    /// EXPLAIN of a statement.
    Explain(Box<Intent<'a>>),
    /// ASSERT TOPIC.
    AssertTopic(&'a AssertTopic),
}

impl Engine {
    /// What the engine says; `text` is the statement's.
    pub(in crate::engine) fn inquire(&self, inquiry: &Inquiry<'_>, text: &str, session: &Session) -> Result<Entity> {
        match inquiry {
            Inquiry::Show(show) => self.show(show, session),
            Inquiry::Describe { name, extended } => self.describe(name, *extended, session),
            Inquiry::DescribeFunction(name) => function_help::describe_function(name),
            Inquiry::ExplainQuery(id) => self.explain_query(id, session),
            Inquiry::Explain(intent) => self.explain(intent, text, session),
            Inquiry::AssertTopic(assert) => self.assert_topic(assert, session),
        }
    }
}
