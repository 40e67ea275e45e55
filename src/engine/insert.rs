//! INSERT INTO ... SELECT: one more query that writes a stream.

use super::Engine;
use super::entity::{Entity, Status};
use super::session::Session;
use super::statuses;
use crate::error::Result;
use crate::parse::statement::{InsertSelect, Parsed, SourceKind};
use crate::plan;

impl Engine {
    pub(super) fn insert_select(&self, insert: &InsertSelect, parsed: &Parsed, session: &Session) -> Result<Entity> {
        let properties = self.properties(session);
        let settings = self.settings(&properties)?;
        let mut ddl = self.ddl(&parsed.text)?;
        let id = format!("INSERTQUERY_{}", ddl.next);
        let plan = plan::insert_select(insert, &id, &ddl.catalog, &settings)?;
        let id = plan.id.clone();
        let sequence = self.start_query(&mut ddl, plan, parsed, session, &properties)?;
        let command_id = statuses::created(SourceKind::Stream, &insert.target.value);
        let message = format!("Created query with ID {id}");
        Ok(ddl.finish(Status { command_id, message, query_id: Some(id), sequence }))
    }
}
