//! A condition in SQL on the records of a topic: planned as WHERE of a continuous query over the source that declares them.
//!
//! ```text
//! speed > 200 AND ROWTIME > '2026-11-29'  ->  SELECT ROWPARTITION, ROWOFFSET FROM readings WHERE ... EMIT CHANGES
//!                                         ->  its decoder and its first operator, on each run of records
//! ```
//!
//! A record that cannot be decoded meets no condition.

use crate::catalog::Source;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, Result, Span};
use crate::execute::compile;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::operator::{Operator, OperatorOutput};
use crate::execute::pipeline::Pipeline;
use crate::execute::record::source::SourceDecoder;
use crate::format::frame::SharedSchemas;
use crate::log::Run;
use crate::parse::statement::Statement;
use crate::parse::words::written;
use crate::plan;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use std::collections::{BTreeMap, BTreeSet};

/// A planned condition.
pub(super) struct Condition {
    pipeline: Pipeline,
    schemas: SharedSchemas,
    partitions: BTreeMap<i32, (SourceDecoder, FilterProjectOperator)>,
    next: u64,
}

impl Engine {
    /// Plans a condition on the records of a source.
    pub(super) fn condition(&self, condition: &str, source: &Source, session: &Session) -> Result<Condition> {
        let head = format!("SELECT ROWPARTITION, ROWOFFSET FROM {} WHERE (", written(&source.name));
        let text = format!("{head}{condition}\n) EMIT CHANGES;");
        // Places in errors are those of the condition.
        let of_condition = |error: Error| match error.span() {
            Some(span) => {
                let at = |at: usize| at.saturating_sub(head.len()).min(condition.len());
                error.only_at(Span::new(at(span.start), at(span.end)))
            }
            None => error,
        };
        let parsed = self.parse(&text, session).map_err(of_condition)?;
        let is_plain = |statement: &Statement| match statement {
            Statement::Select(select) => select.joins.is_empty() && select.group_by.is_empty() && select.emit.is_some(),
            _ => false,
        };
        let [only] = parsed.as_slice() else { return Err(no_condition()) };
        let Statement::Select(select) = &only.statement else { return Err(no_condition()) };
        if !is_plain(&only.statement) {
            return Err(no_condition());
        }
        let settings = self.settings(&self.properties(session))?;
        let catalog = self.catalog();
        let planned = plan::push_query(select, &catalog, &settings).and_then(|plan| {
            self.check_sources(session, &catalog, &plan.reads)?;
            compile::pipeline(&plan.logical)
        });
        let pipeline = planned.map_err(|e| of_condition(e.told_in(&only.text, only.begin)))?;
        let is_simple = pipeline.scans.len() == 1 && pipeline.joins.is_empty() && pipeline.aggregate.is_none();
        if !is_simple || pipeline.explode.is_some() {
            return Err(no_condition());
        }
        Ok(Condition { pipeline, schemas: self.shared_schemas(), partitions: BTreeMap::new(), next: 0 })
    }
}

fn no_condition() -> Error {
    Error::statement("it is not one condition on the columns of the records")
        .with_hint("write what could follow WHERE, for example speed > 200")
}

impl Condition {
    /// The offsets of the records of a run that meet it.
    pub(super) fn met(&mut self, partition: i32, run: &Run) -> Result<BTreeSet<i64>> {
        let (decoder, operator) = match self.partitions.entry(partition) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let decoder = SourceDecoder::new(&self.pipeline.scans[0], partition, &self.schemas)?;
                new.insert((decoder, FilterProjectOperator::new(&self.pipeline.rows)))
            }
        };
        let mut bad = Vec::new();
        let next = &mut self.next;
        run.for_each(|record| {
            *next += 1;
            decoder.push(&record, *next, &mut bad);
        });
        let mut met = BTreeSet::new();
        for batch in decoder.finish(&mut bad)? {
            let mut out = OperatorOutput::default();
            operator.step(&[Some(&batch)], &mut out)?;
            for rows in out.batches {
                let Some(offsets) = rows.new.columns.get(1).and_then(|c| c.as_primitive_opt::<Int64Type>()) else {
                    continue;
                };
                // A row of a table that does not meet it stays, without a value.
                let is_there = |row: usize| rows.new.present.as_ref().is_none_or(|present| present.is_valid(row));
                met.extend((0..offsets.len()).filter(|&row| is_there(row)).map(|row| offsets.value(row)));
            }
        }
        Ok(met)
    }
}
