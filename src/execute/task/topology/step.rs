//! Rows through a topology: each stage takes all rows of a round, then the next one does.
//!
//! ```text
//! batch 0 -> head -> parts of tasks 0, 2 --\         task 0: part of batch 0, then of batch 1, ...   one worker at a time
//! batch 1 -> head -> parts of tasks 0, 1 ---+----->  task 1: ...                                     side by side
//!    side by side                                    ---> what came out, in the order of (batch, part)
//! ```
//!
//! A task sees its rows in the order of the batches, and what tasks write is put in the order in which one thread would have
//! written it.

use super::Topology;
use super::head::Prepared;
use super::stage_tasks::ROW_WEIGHT;
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::operator::OperatorOutput;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::stage::StageKind;
use crate::execute::task::progress::Metering;
use std::sync::Arc;

/// Rows for a task: the number of the batch that they come from, the task, the rows.
type Part = (usize, usize, ChangeBatch);

impl Topology {
    /// The joined rows of a pipeline that only joins, by task: those that the rows of an interval of ordinals cause, or,
    /// with `finish`, those that leave because nothing will come any more.
    pub(crate) fn joined(
        &mut self,
        batches: &[(usize, ChangeBatch)],
        finish: Option<u64>,
        out: &mut OperatorOutput,
    ) -> Result<Vec<(usize, ChangeBatch)>> {
        let joined = match finish {
            None => self.joins.step(batches, out)?,
            Some(seq) => self.joins.finish(seq, out)?,
        };
        let mut projected = Vec::new();
        for (task, batch) in joined {
            let mut rows = OperatorOutput::default();
            self.head.rows.apply(&batch, &mut rows)?;
            projected.extend(rows.batches.into_iter().map(|batch| (task, batch)));
        }
        Ok(projected)
    }

    /// Takes the rows of an interval of ordinals, by input partition.
    pub(crate) fn step_all(&mut self, batches: &[(usize, ChangeBatch)], out: &mut OperatorOutput) -> Result<()> {
        self.rows_to_emit += row_count(batches.iter().map(|(_, batch)| batch));
        self.rows_to_commit += row_count(batches.iter().map(|(_, batch)| batch));
        let joined = match &mut self.gather {
            Some(gather) => gather.gather(batches)?,
            None => self.joins.step(batches, out)?,
        };
        self.unemitted |= self.folds;
        let prepared = self.prepare(joined)?;
        let parts = self.keep(prepared, &mut |_, mut prepared| out.bad.append(&mut prepared.bad))?;
        if self.groups.is_empty() {
            out.batches.extend(parts.into_iter().map(|(_, _, batch)| batch));
            return Ok(());
        }
        // Rows of several joined batches meet in a group by their ordinals.
        let mut merged = Vec::with_capacity(self.groups.len());
        for (task, parts) in by_task(parts) {
            let batch = ChangeBatch::merge(parts.into_iter().map(|(_, (_, _, batch))| batch).collect())?;
            merged.extend(batch.map(|batch| (0, task, batch)));
        }
        for (_, second) in self.group(merged)? {
            append(out, second);
        }
        Ok(())
    }

    /// Runs the stages over the prepared batches of a round, in their order; returns the output of each batch.
    pub(crate) fn step_round(&mut self, prepared: Vec<Prepared>) -> Result<Vec<OperatorOutput>> {
        let mut outs: Vec<OperatorOutput> = prepared.iter().map(|_| OperatorOutput::default()).collect();
        let rows = prepared.iter().map(Prepared::len).sum::<usize>();
        (self.rows_to_emit, self.rows_to_commit) = (self.rows_to_emit + rows, self.rows_to_commit + rows);
        let parts = self.keep(prepared, &mut |nth, mut prepared| outs[nth].bad.append(&mut prepared.bad))?;
        if self.groups.is_empty() {
            self.unemitted |= self.folds;
            parts.into_iter().for_each(|(nth, _, batch)| outs[nth].batches.push(batch));
            return Ok(outs);
        }
        for (nth, second) in self.group(parts)? {
            append(&mut outs[nth], second);
        }
        Ok(outs)
    }

    /// What the head makes of joined rows.
    fn prepare(&self, joined: Vec<(usize, ChangeBatch)>) -> Result<Vec<Prepared>> {
        let (head, rows) = (self.head.clone(), row_count(joined.iter().map(|(_, batch)| batch)));
        self.crew.run(rows * ROW_WEIGHT, joined, move |(task, batch)| head.prepare(task, &batch))
    }

    /// The rows of each task of the grouping, or those that come out where there is none: a table's state is in between. `noted`
    /// takes the rest of each batch.
    fn keep(&mut self, prepared: Vec<Prepared>, noted: &mut dyn FnMut(usize, Prepared)) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        for (nth, mut prepared) in prepared.into_iter().enumerate() {
            parts.extend(prepared.parts.drain(..).map(|(task, batch)| (nth, task, batch)));
            noted(nth, prepared);
        }
        if self.tables.is_empty() {
            return Ok(parts);
        }
        let (crew, rows) = (self.crew.clone(), row_count(parts.iter().map(|(_, _, batch)| batch)));
        let (head, metering) = (self.head.clone(), self.metering.clone());
        let done = self.tables.run(&crew, rows, by_task(parts), move |task, table, parts: Vec<(usize, Part)>| {
            let mut kept = Vec::with_capacity(parts.len());
            for (place, (nth, _, batch)) in parts {
                let (mut first, begun) = (OperatorOutput::default(), metering.begin());
                table.step(&[Some(&batch)], &mut first)?;
                metering.note(StageKind::Table, begun, (batch.len(), row_count(&first.batches)));
                let mut prepared = Prepared { parts: Vec::new(), bad: first.bad };
                for batch in first.batches {
                    head.onward(task, batch, &mut prepared)?;
                }
                kept.push((place, (nth, prepared)));
            }
            Ok(kept)
        })?;
        let mut parts = Vec::new();
        for (nth, mut prepared) in in_place(done) {
            parts.extend(prepared.parts.drain(..).map(|(task, batch)| (nth, task, batch)));
            noted(nth, prepared);
        }
        Ok(parts)
    }

    /// Runs the aggregation over the rows; returns the output by the batch that caused it.
    fn group(&mut self, parts: Vec<Part>) -> Result<Vec<(usize, OperatorOutput)>> {
        if !parts.is_empty() {
            self.unemitted = self.mode_last;
        }
        let (crew, rows) = (self.crew.clone(), row_count(parts.iter().map(|(_, _, batch)| batch)));
        let last = self.last();
        let done = self.groups.run(&crew, rows, by_task(parts), move |_, group, parts: Vec<(usize, Part)>| {
            let mut all = Vec::with_capacity(parts.len());
            for (place, (nth, _, batch)) in parts {
                let (mut second, begun) = (OperatorOutput::default(), last.metering.begin());
                group.step(&[Some(&batch)], &mut second)?;
                last.metering.note(StageKind::Aggregate, begun, (batch.len(), row_count(&second.batches)));
                all.push((place, (nth, last.finish(second)?)));
            }
            Ok(all)
        })?;
        Ok(in_place(done))
    }

    /// Writes what changed since the last emission.
    pub(crate) fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        let joined = self.joins.emit(out)?;
        let prepared = self.prepare(joined)?;
        let parts = self.keep(prepared, &mut |_, mut prepared| out.bad.append(&mut prepared.bad))?;
        out.batches.extend(parts.into_iter().map(|(_, _, batch)| batch));
        let (crew, rows) = (self.crew.clone(), std::mem::take(&mut self.rows_to_emit));
        let metering = self.metering.clone();
        let tables = self.tables.run_all(&crew, rows, move |_, table| {
            let (mut own, begun) = (OperatorOutput::default(), metering.begin());
            table.emit(&mut own)?;
            metering.note(StageKind::Table, begun, (0, row_count(&own.batches)));
            Ok(own)
        })?;
        tables.into_iter().for_each(|own| append(out, own));
        let last = self.last();
        let groups = self.groups.run_all(&crew, rows, move |_, group| {
            let (mut second, begun) = (OperatorOutput::default(), last.metering.begin());
            group.emit(&mut second)?;
            last.metering.note(StageKind::Aggregate, begun, (0, row_count(&second.batches)));
            last.finish(second)
        })?;
        groups.into_iter().for_each(|second| append(out, second));
        self.unemitted = false;
        Ok(())
    }

    fn last(&self) -> Last {
        Last { after: self.after.clone(), metering: self.metering.clone() }
    }
}

/// What follows a grouping: HAVING and the projection.
struct Last {
    after: Option<Arc<FilterProjectOperator>>,
    metering: Metering,
}

impl Last {
    fn finish(&self, mut second: OperatorOutput) -> Result<OperatorOutput> {
        self.metering.note_late(StageKind::Aggregate, second.late);
        let Some(after) = &self.after else { return Ok(second) };
        let (begun, rows) = (self.metering.begin(), row_count(&second.batches));
        for batch in std::mem::take(&mut second.batches) {
            after.apply(&batch, &mut second)?;
        }
        self.metering.note(StageKind::Having, begun, (rows, row_count(&second.batches)));
        Ok(second)
    }
}

/// The parts of each task that has any, in order, with their places among all.
fn by_task(parts: Vec<Part>) -> impl Iterator<Item = (usize, Vec<(usize, Part)>)> {
    let mut tasks: Vec<Vec<(usize, Part)>> = Vec::new();
    for (place, part) in parts.into_iter().enumerate() {
        if tasks.len() <= part.1 {
            tasks.resize_with(part.1 + 1, Vec::new);
        }
        tasks[part.1].push((place, part));
    }
    tasks.into_iter().enumerate().filter(|(_, parts)| !parts.is_empty())
}

/// What tasks made of their parts, in the order of the parts.
fn in_place<T>(done: Vec<Vec<(usize, T)>>) -> Vec<T> {
    let mut all: Vec<(usize, T)> = done.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, made)| made).collect()
}

fn append(out: &mut OperatorOutput, mut more: OperatorOutput) {
    out.batches.append(&mut more.batches);
    out.late += more.late;
    out.late_rows.append(&mut more.late_rows);
    out.bad.append(&mut more.bad);
}

fn row_count<'a>(batches: impl IntoIterator<Item = &'a ChangeBatch>) -> usize {
    batches.into_iter().map(ChangeBatch::len).sum()
}
