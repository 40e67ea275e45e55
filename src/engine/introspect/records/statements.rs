//! Statements that were carried out, as the command log has them.

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::engine::command::{CommandLog, CommandStatus};
use crate::error::Result;

/// A statement that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStatement {
    /// Its place in the command log.
    pub sequence: u64,
    /// When it was recorded, milliseconds since 1970.
    pub time: i64,
    /// Its text.
    pub sql: String,
    /// What was replied.
    pub message: String,
}

impl Engine {
    /// All of them, in order. The command log is read from its start.
    pub fn recorded_statements(&self) -> Result<Vec<RecordedStatement>> {
        let (_, history) = CommandLog::open(&**self.log(), &self.config().service_id)?;
        let mut catalog = Catalog::default();
        let each = history.commands.into_iter().map(|recorded| {
            let status = recorded.command.status.clone();
            let status = status.unwrap_or_else(|| CommandStatus::of_effect(&recorded.command.effect, &catalog));
            catalog.apply(&recorded.command.effect);
            RecordedStatement {
                sequence: recorded.command.sequence,
                time: recorded.timestamp,
                sql: recorded.command.statement,
                message: status.at(0).message,
            }
        });
        Ok(each.collect())
    }
}
