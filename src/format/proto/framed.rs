//! PROTOBUF: payloads that name their schema and the message in it.
//!
//! ```text
//! 00 00000007 00 08 05    schema 7, first message, field 1 = 5
//! ```
//!
//! A payload is read by the message that it names, whatever `*_SCHEMA_FULL_NAME` says. A plan is made for each (schema, message) that
//! is met, and kept. The schema of the source itself needs no registry. A key of one column is a message too.

use super::read::{self, MessagePlan};
use super::{parse, reason, typed, write};
use crate::catalog::{SchemaRef, SchemaText, WireSchema};
use crate::error::{Error, Result};
use crate::format::Bad;
use crate::format::cells::Cells;
use crate::format::frame::{self, SharedSchemas, Writer as Known};
use crate::format::json::encode::Source;
use crate::format::rows::{Payloads, RowReader, RowWriter};
use crate::types::{Column, SqlType};
use arrow::array::ArrayRef;
use std::sync::Arc;

/// Limit of plans. Beyond it all are made again, so that a topic of many schemas cannot fill the memory.
const PLANS_MAX: usize = 256;

/// Decodes payloads into columns.
#[derive(Debug)]
pub(in crate::format) struct Reader {
    columns: Vec<(String, SqlType)>,
    cells: Vec<Cells>,
    own: Option<Arc<WireSchema>>,
    schemas: SharedSchemas,
    plans: Vec<Plan>,
    /// The plan of the last payload.
    last: usize,
}

/// What payloads of one message are read by.
#[derive(Debug)]
struct Plan {
    id: SchemaRef,
    /// The message indexes as they are written.
    indexes: Vec<u8>,
    /// Why no payload of it can be read, if none can be.
    plan: std::result::Result<Box<MessagePlan>, String>,
}

impl Reader {
    /// The columns, each with whether it is materialized.
    pub(in crate::format) fn new(
        columns: &[(&Column, bool)],
        own: Option<Arc<WireSchema>>,
        schemas: SharedSchemas,
    ) -> Reader {
        let cells = columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect();
        Reader { columns: typed(columns), cells, own, schemas, plans: vec![], last: 0 }
    }

    /// The place of the plan for a payload's message, and the message's bytes.
    #[inline(always)]
    fn plan<'a>(&mut self, id: SchemaRef, rest: &'a [u8]) -> Result<(usize, &'a [u8]), String> {
        if let Some(last) = self.plans.get(self.last)
            && last.id == id
            && let Some(body) = rest.strip_prefix(last.indexes.as_slice())
        {
            return Ok((self.last, body));
        }
        self.other_plan(id, rest)
    }

    #[cold]
    fn other_plan<'a>(&mut self, id: SchemaRef, rest: &'a [u8]) -> Result<(usize, &'a [u8]), String> {
        let Some((path, body)) = frame::message_indexes(rest) else {
            return Err("the payload has no valid message indexes behind its schema id".to_owned());
        };
        let indexes = &rest[..rest.len() - body.len()];
        if let Some(at) = self.plans.iter().position(|plan| plan.id == id && plan.indexes == indexes) {
            self.last = at;
            return Ok((at, body));
        }
        let schema = self.schema(id)?;
        let plan = compile(&schema, id, &path, &self.columns).map(Box::new);
        if self.plans.len() == PLANS_MAX {
            self.plans.clear();
        }
        self.plans.push(Plan { id, indexes: indexes.to_vec(), plan });
        self.last = self.plans.len() - 1;
        Ok((self.last, body))
    }

    fn schema(&self, id: SchemaRef) -> Result<Arc<SchemaText>, String> {
        if let Some(own) = self.own.as_ref().filter(|own| own.name() == Some(id)) {
            return Ok(Arc::new(own.text.clone()));
        }
        match self.schemas.get(id) {
            Known::Known(schema) => Ok(schema),
            other => Err(frame::missing(id, &other).into_owned()),
        }
    }

    fn read(&mut self, payload: &[u8]) -> Result<(), String> {
        let (id, rest) = frame::split(payload).map_err(|bad| bad.reason)?;
        let (at, body) = self.plan(id, rest)?;
        match &mut self.plans[at].plan {
            Ok(plan) => plan.read(body, &mut self.cells).map_err(|fault| reason(fault, &self.columns)),
            Err(reason) => Err(reason.clone()),
        }
    }
}

fn compile(
    schema: &SchemaText,
    id: SchemaRef,
    path: &[i32],
    columns: &[(String, SqlType)],
) -> std::result::Result<MessagePlan, String> {
    if schema.kind != crate::catalog::SchemaType::Protobuf {
        return Err(format!("schema {id} is of type {}, not PROTOBUF", schema.kind.name()));
    }
    let file = parse(schema).map_err(|reason| format!("schema {id} cannot be read: {reason}"))?;
    let Some((_, message)) = file.at(path) else {
        return Err(format!("schema {id} has no message at the indexes {path:?} of the payload"));
    };
    Ok(read::compile(&file, message, columns))
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], rows: usize) -> Result<bool, Bad> {
        self.read(payload).map(|()| true).map_err(|reason| {
            self.truncate(rows);
            Bad { reason }
        })
    }

    fn cells(&mut self) -> &mut [Cells] {
        &mut self.cells
    }
}

/// Encodes columns by the registered schema.
#[derive(Debug)]
pub(in crate::format) struct Writer {
    columns: Vec<(String, SqlType)>,
    layout: write::Layout,
    /// The frame and the message indexes.
    prefix: Vec<u8>,
}

impl Writer {
    /// A writer of the schema's message; an error if the schema cannot be read.
    pub(in crate::format) fn new(columns: &[(&Column, bool)], schema: Option<&WireSchema>) -> Result<Writer> {
        let schema = schema.ok_or_else(|| Error::bug("a PROTOBUF topic has no registered schema to be written by"))?;
        let columns = typed(columns);
        let wrong = |reason: String| {
            Error::statement(format!("schema {} of subject `{}` cannot be used", schema.id, schema.subject))
                .with_detail(reason)
        };
        let file = parse(&schema.text).map_err(wrong)?;
        let path = if schema.message.is_empty() { &[0][..] } else { &schema.message };
        let found = file.at(path).ok_or_else(|| wrong(format!("it has no message at the indexes {path:?}")))?;
        let mut prefix = vec![];
        frame::write(schema.id as u32, &mut prefix);
        frame::write_indexes(path, &mut prefix);
        Ok(Writer { layout: write::layout(&file, found.1, &columns), columns, prefix })
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let sources = columns.iter().zip(&self.columns).map(|(column, (_, ty))| Source::new(column, ty));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        out.each(None, |row, data| {
            data.extend_from_slice(&self.prefix);
            self.layout.write(&sources, row, data)
        });
        Ok(())
    }
}
