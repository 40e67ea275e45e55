//! Payloads that name their schema: the frame, and JSON.
//!
//! ```text
//! 00 00000007 {"A":5}    schema 7
//! ```
//!
//! A plan is made for each schema that is met, and kept. The schema of the source itself needs no registry.

use super::plan::{self, Root};
use super::read::{Fault, read};
use super::{parse, write};
use crate::catalog::{SchemaRef, SchemaText, SchemaType, WireSchema};
use crate::error::{Error, Result};
use crate::format::Bad;
use crate::format::cells::Cells;
use crate::format::frame::{self, SharedSchemas, Writer as Known};
use crate::format::json::encode::Source;
use crate::format::json::scan::{self, blank, literal};
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
    /// The payload is the only column's value.
    bare: bool,
    own: Option<Arc<WireSchema>>,
    schemas: SharedSchemas,
    /// By the name of the schema.
    plans: Vec<(SchemaRef, Root)>,
    /// The plan of the last payload.
    last: usize,
}

impl Reader {
    /// The columns, each with whether it is materialized.
    pub(in crate::format) fn new(
        columns: &[(&Column, bool)],
        bare: bool,
        own: Option<Arc<WireSchema>>,
        schemas: SharedSchemas,
    ) -> Reader {
        let cells = columns.iter().map(|(c, keep)| Cells::new(&c.ty, *keep)).collect();
        let columns = columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect();
        Reader { columns, cells, bare, own, schemas, plans: vec![], last: 0 }
    }

    #[cold]
    fn other_plan(&mut self, id: SchemaRef) -> std::result::Result<usize, String> {
        if let Some(at) = self.plans.iter().position(|(known, _)| *known == id) {
            return Ok(at);
        }
        let own = self.own.as_ref().filter(|own| own.name() == Some(id));
        let root = match own.map(|own| compile(&own.text, id, &self.columns, self.bare)) {
            Some(root) => root,
            None => match self.schemas.get(id) {
                Known::Known(schema) => compile(&schema, id, &self.columns, self.bare),
                other => return Err(frame::missing(id, &other).into_owned()),
            },
        };
        if self.plans.len() == PLANS_MAX {
            self.plans.clear();
        }
        self.plans.push((id, root));
        Ok(self.plans.len() - 1)
    }

    fn read(&mut self, payload: &[u8], rows: usize) -> std::result::Result<bool, String> {
        let (id, d) = frame::split(payload).map_err(|bad| bad.reason)?;
        if self.plans.get(self.last).is_none_or(|(known, _)| *known != id) {
            self.last = self.other_plan(id)?;
        }
        let read = match &mut self.plans[self.last].1 {
            Root::Object(object) => object.read(d, 0, &mut self.cells),
            Root::Bare(value) => {
                let start = blank(d, 0);
                if value.nullable && literal(d, start, b"null").is_ok() {
                    return Ok(false);
                }
                read(value, &mut self.cells[0], d, start)
            }
            Root::Refused(reason) => Err(Fault::Kind(reason.clone())),
        };
        match read {
            Ok(_) => Ok(true),
            Err(fault) => self.read_again(d, rows, fault).map(|()| true).map_err(|fault| reason(&fault)),
        }
    }

    /// A name was repeated: the object is read by the full rule.
    #[cold]
    fn read_again(&mut self, d: &[u8], rows: usize, fault: Fault) -> std::result::Result<(), Fault> {
        self.truncate(rows);
        match (&mut self.plans[self.last].1, fault) {
            (Root::Object(object), Fault::Json(scan::Fault::Twice)) => {
                object.exact(d, blank(d, 0), &mut self.cells).map(drop)
            }
            (_, fault) => Err(fault),
        }
    }
}

fn compile(schema: &SchemaText, id: SchemaRef, columns: &[(String, SqlType)], bare: bool) -> Root {
    if schema.kind != SchemaType::Json {
        return Root::Refused(format!("schema {id} is of type {}, not JSON", schema.kind.name()).into());
    }
    match parse(schema) {
        Ok(schema) => plan::compile(&schema, columns, bare),
        Err(reason) => Root::Refused(format!("schema {id} cannot be read: {reason}").into()),
    }
}

fn reason(fault: &Fault) -> String {
    match fault {
        Fault::Json(scan::Fault::Syntax(at)) => {
            format!("the payload is not valid JSON at byte {at} behind its schema id")
        }
        Fault::Json(scan::Fault::Type(at)) => {
            format!("the value at byte {at} behind the schema id is not of the type that the schema says")
        }
        Fault::Json(scan::Fault::Twice) => "a member came twice".to_owned(),
        Fault::Null(at) => {
            format!("the schema has no null where the payload has one at byte {at} behind its schema id")
        }
        Fault::Kind(reason) => reason.to_string(),
    }
}

impl RowReader for Reader {
    fn push(&mut self, payload: &[u8], rows: usize) -> std::result::Result<bool, Bad> {
        self.read(payload, rows).map_err(|reason| {
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
    form: write::Form,
    /// The only column is not wrapped.
    bare: bool,
    id: u32,
}

impl Writer {
    /// A writer by the schema; an error if it cannot be read.
    pub(in crate::format) fn new(
        columns: &[(&Column, bool)],
        bare: bool,
        schema: Option<&WireSchema>,
    ) -> Result<Writer> {
        let schema = schema.ok_or_else(|| Error::bug("a JSON_SR topic has no registered schema to be written by"))?;
        let parsed = parse(&schema.text).map_err(|reason| {
            Error::statement(format!("schema {} of subject `{}` cannot be used", schema.id, schema.subject))
                .with_detail(reason)
        })?;
        let columns: Vec<_> = columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect();
        Ok(Writer { form: write::payload(&parsed, &columns, bare), columns, bare, id: schema.id as u32 })
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        let sources = columns.iter().zip(&self.columns).map(|(column, (_, ty))| Source::new(column, ty));
        let sources = sources.collect::<Result<Vec<_>>>()?;
        let unwrapped = columns.first().filter(|_| self.bare);
        out.each(unwrapped, |row, data| {
            frame::write(self.id, data);
            match self.bare {
                true => self.form.write(&sources[0], row, data),
                false => self.form.write_row(&sources, row, data),
            }
        });
        Ok(())
    }
}
