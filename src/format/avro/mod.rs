//! AVRO: Avro by the schemas of a registry (ksqlDB's `AvroFormat`, Connect's `AvroConverter`).
//!
//! ```text
//! tree       the text of a schema, with all that it says
//! schema     a schema as a graph of types
//! translate  columns to a schema and back
//! plan       a writer's schema and the declared columns: what to do with each field
//! cursor     the bytes of a payload
//! read       payloads to columns, by a plan
//! layout     the columns and the registered schema: how each is written
//! write      columns to payloads, by a layout
//! ```
//!
//! Each payload names the schema of its writer. A batch may come from several writers: there is a plan for each, and all of them
//! append to the same columns.

mod cursor;
mod layout;
mod plan;
mod read;
mod schema;
mod translate;
pub mod tree;
mod write;

pub(crate) use schema::Schema;
pub(in crate::format) use translate::{name, payload_type, text as columns_to_text};
pub(super) use write::Writer;

use super::cells::Cells;
use super::frame::{self, SharedSchemas, Writer as WriterSchema};
use super::rows::RowReader;
use super::{Bad, Layout};
use crate::catalog::{SchemaRef, SchemaText, WireSchema};
use crate::types::SqlType;
use plan::Plan;
use std::sync::Arc;

/// Plans of one reader. A topic has as many writer's schemas as it had versions; more are compiled again when they come.
const PLANS_MAX: usize = 256;

/// Parses a schema with its references.
pub(crate) fn parse(schema: &SchemaText) -> Result<Schema, String> {
    Schema::parse(&schema.text, schema.references.iter().map(|r| &*r.text))
}

/// Decodes payloads into columns.
#[derive(Debug)]
pub(super) struct Reader {
    /// Names, types, and whether they are materialized.
    columns: Vec<(String, SqlType, bool)>,
    cells: Vec<Cells>,
    /// The only column is unwrapped.
    bare: bool,
    /// The registered schema of the source, and the others.
    own: Option<Arc<WireSchema>>,
    schemas: SharedSchemas,
    /// By the name of their schema, in the order in which they were needed.
    plans: Vec<(SchemaRef, Result<Plan, String>)>,
    /// Place of the last one that was used.
    last: usize,
}

impl Reader {
    pub(super) fn new(layout: &Layout<'_>) -> Reader {
        let columns = &layout.columns;
        Reader {
            cells: columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect(),
            columns: columns.iter().map(|(c, keep)| (c.name.clone(), c.ty.clone(), *keep)).collect(),
            bare: layout.bare,
            own: layout.wire.schema.clone(),
            schemas: layout.schemas.clone(),
            plans: vec![],
            last: 0,
        }
    }

    /// Makes `last` the plan of this writer.
    #[cold]
    #[inline(never)]
    fn find(&mut self, id: SchemaRef) -> Result<(), Bad> {
        if let Some(place) = self.plans.iter().position(|(known, _)| *known == id) {
            self.last = place;
            return Ok(());
        }
        let plan = match self.own.as_ref().filter(|own| own.name() == Some(id)) {
            Some(own) => self.compile(&own.text),
            None => match self.schemas.get(id) {
                WriterSchema::Known(text) => self.compile(&text),
                other => return Err(Bad { reason: frame::missing(id, &other).into_owned() }),
            },
        };
        if self.plans.len() == PLANS_MAX {
            self.plans.clear();
        }
        self.last = self.plans.len();
        self.plans.push((id, plan.map_err(|reason| format!("schema {id}: {reason}"))));
        Ok(())
    }

    fn compile(&self, text: &SchemaText) -> Result<Plan, String> {
        if text.kind != crate::catalog::SchemaType::Avro {
            return Err(format!("it is of type {}, not AVRO", text.kind.name()));
        }
        Ok(Plan::new(parse(text)?, &self.columns, self.bare))
    }
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], rows: usize) -> Result<bool, Bad> {
        let (id, body) = frame::split(payload)?;
        if self.plans.get(self.last).is_none_or(|(known, _)| *known != id) {
            self.find(id)?;
        }
        match &self.plans[self.last].1 {
            Ok(plan) => read::payload(plan, &mut self.cells, body).map_err(|fault| {
                self.cells.iter_mut().for_each(|c| c.truncate(rows));
                Bad { reason: fault.reason(&plan.reasons) }
            }),
            Err(reason) => Err(Bad { reason: reason.clone() }),
        }
    }

    fn cells(&mut self) -> &mut [Cells] {
        &mut self.cells
    }
}
