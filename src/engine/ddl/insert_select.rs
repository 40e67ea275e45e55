//! INSERT INTO ... SELECT: one more query that writes a stream.

use crate::engine::Engine;
use crate::engine::command::status;
use crate::engine::result::entity::{Entity, Status};
use crate::engine::session::Session;
use crate::error::Result;
use crate::parse::statement::{InsertSelect, Parsed, SourceKind};
use crate::plan;

impl Engine {
    pub(in crate::engine) fn insert_select(
        &self,
        insert: &InsertSelect,
        parsed: &Parsed,
        session: &Session,
    ) -> Result<Entity> {
        let properties = self.properties(session);
        let settings = self.settings(&properties)?;
        let mut ddl = self.ddl(&parsed.text)?;
        let id = format!("INSERTQUERY_{}", ddl.next);
        let plan = plan::insert_select(insert, &id, &ddl.catalog, &settings)?;
        let id = plan.id.clone();
        let sequence = self.start_query(&mut ddl, plan, parsed, session, &properties)?;
        let command_id = status::created(SourceKind::Stream, &insert.target.value);
        let message = format!("Created query with ID {id}");
        Ok(ddl.finish(Status { command_id, message, query_id: Some(id), sequence }))
    }
}
