//! The operators of one query: joins, if there are some, then stage 1 per partition of what they or the source bring, then
//! stage 2 per hop partition, exchanged in memory. Where a table's earlier rows matter, stage 1 ends with its state.
//!
//! Rows that change key go to the partition that Java's murmur2 of their new key bytes names, although they stay in this
//! process: late rows, windows and changelogs depend on the partition, and must be the same when the exchange runs through
//! a topic.

use super::exchange::Exchange;
use super::join_stages::JoinStages;
use super::progress::Metering;
use super::spec::BATCH_ROWS_MAX;
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::operator::aggregate::AggregateOperator;
use crate::execute::operator::explode::Explode;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::operator::session_window::SessionWindowOperator;
use crate::execute::operator::table::TableOperator;
use crate::execute::operator::{EmitMode, Operator, OperatorOutput, OperatorSize};
use crate::execute::pipeline::{AggregateSpec, Pipeline, changelog_topic};
use crate::execute::stage::StageKind;
use crate::execute::state::spill_pool::SpillPool;
use crate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicPartition};
use crate::types::time::WindowKind;
use std::sync::Arc;
use std::time::Duration;

/// How long one poll waits while state is restored; a restore itself ends at the changelog's end.
const RESTORE_POLL: Duration = Duration::from_millis(100);

/// Between the memos of several operators.
const METADATA_SEPARATOR: &str = ";";

/// Joins, stage 1, the exchange, stage 2.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    joins: JoinStages,
    /// Rows of a table with one key in several partitions come together before all else.
    gather: Option<Exchange>,
    rows: Vec<FilterProjectOperator>,
    /// A table's state, per source partition; none where it does not matter.
    tables: Vec<TableOperator>,
    explode: Option<(Explode, FilterProjectOperator)>,
    exchange: Option<Exchange>,
    groups: Vec<Box<dyn Operator>>,
    after: Option<FilterProjectOperator>,
    /// Names of the stores: of the table, and of the grouping.
    names: (Option<String>, Option<String>),
    mode_last: bool,
    /// The last operator with state is a table's, and folds.
    folds: bool,
    /// Operators hold changes not yet emitted.
    unemitted: bool,
    metering: Metering,
}

impl Topology {
    /// The operators of a pipeline; `spill_pool` is for what does not fit into memory.
    pub(crate) fn new(pipeline: &Pipeline, mode: EmitMode, spill_pool: &Arc<SpillPool>) -> Result<Topology> {
        let partitions = pipeline.partitions();
        // Rows of a table for a reader, not for a topic: they carry their key among their columns, or not at all.
        let read = pipeline.output.table && pipeline.output.key.is_empty();
        let operator =
            |spec| if read { FilterProjectOperator::new(spec).for_reader() } else { FilterProjectOperator::new(spec) };
        // The last of them makes the columns of the result.
        let last = |spec| operator(spec).named(&pipeline.output.value);
        let is_last = pipeline.aggregate.is_none() && pipeline.explode.is_none();
        let rows = |_| if is_last { last(&pipeline.rows) } else { operator(&pipeline.rows) };
        let rows = (0..partitions).map(rows).collect();
        let tasks = pipeline.hop.as_ref().map_or(partitions, |h| h.partitions);
        let groups = match &pipeline.aggregate {
            None => Vec::new(),
            Some(spec) => {
                // HAVING needs to know whether a group passed before, to write a tombstone when it leaves.
                let having = pipeline.after.as_ref().is_some_and(|after| !after.keep.is_empty());
                (0..tasks).map(|_| grouping(spec, mode, having, pipeline.table.is_some())).collect::<Result<_>>()?
            }
        };
        let tables = pipeline.table.iter().flat_map(|spec| (0..partitions).map(|_| TableOperator::new(spec, mode)));
        // One operator folds: the last one. Those before it hand on every change.
        let last_is_join = pipeline.table.is_none() && pipeline.aggregate.is_none();
        let join_folds = last_is_join && pipeline.joins.last().is_some_and(|join| join.rule.is_table());
        let table_folds = pipeline.table.is_some() && pipeline.aggregate.is_none();
        Ok(Topology {
            joins: JoinStages::new(pipeline, if last_is_join { mode } else { EmitMode::EveryChange }, spill_pool)?,
            gather: pipeline.gather.as_ref().map(Exchange::new).transpose()?,
            rows,
            tables: tables.collect::<Result<_>>()?,
            explode: pipeline.explode.as_ref().map(|spec| (Explode::new(spec.arrays.clone()), last(&spec.after))),
            exchange: pipeline.hop.as_ref().map(Exchange::new).transpose()?,
            groups,
            after: pipeline.after.as_ref().map(last),
            names: (
                pipeline.table.as_ref().map(|t| t.name.clone()),
                pipeline.aggregate.as_ref().map(|a| a.name.clone()),
            ),
            mode_last: mode == EmitMode::LatestPerKey,
            folds: mode == EmitMode::LatestPerKey && (join_folds || table_folds),
            unemitted: false,
            metering: Metering::default(),
        })
    }

    /// The same, whose stages count.
    pub(crate) fn measured(mut self, metering: &Metering) -> Topology {
        self.metering = metering.clone();
        self.joins.measured(metering);
        self
    }

    /// Notes how much the stages keep, and their stream time.
    pub(crate) fn measure(&mut self) {
        let kinds = (0..self.joins.len()).map(StageKind::Join);
        let kinds = kinds.chain(self.names.0.iter().map(|_| StageKind::Table));
        let kinds: Vec<StageKind> = kinds.chain(self.names.1.iter().map(|_| StageKind::Aggregate)).collect();
        let metering = self.metering.clone();
        let mut time = None;
        for (kind, (_, tasks)) in kinds.into_iter().zip(self.stores()) {
            let size: OperatorSize = tasks.iter().map(|task| task.size()).sum();
            metering.note_size(kind, size);
            time = tasks.iter().filter_map(|task| task.stream_time()).chain(time).max();
        }
        time.iter().for_each(|time| metering.note_stream_time(*time));
    }

    /// Number of tasks of the widest stage.
    pub(crate) fn partitions(&self) -> u32 {
        self.groups.len().max(self.rows.len()) as u32
    }

    /// Do rows of several inputs meet one by one? Then all of an interval of ordinals has to come at once.
    pub(crate) fn meets(&self) -> bool {
        !self.joins.is_empty() || self.gather.is_some()
    }

    /// Does the order between partitions matter? Only where rows of several partitions meet in one task.
    pub(crate) fn ordered(&self) -> bool {
        self.exchange.is_some()
    }

    /// Changed groups wait for an emission.
    pub(crate) fn has_unemitted(&self) -> bool {
        self.unemitted
    }

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
            self.rows[task].step(&[Some(&batch)], &mut rows)?;
            projected.extend(rows.batches.into_iter().map(|batch| (task, batch)));
        }
        Ok(projected)
    }

    /// Takes the rows of an interval of ordinals, by input partition.
    pub(crate) fn step_all(&mut self, batches: &[(usize, ChangeBatch)], out: &mut OperatorOutput) -> Result<()> {
        let joined = match &mut self.gather {
            Some(gather) => gather.gather(batches)?,
            None => self.joins.step(batches, out)?,
        };
        self.unemitted |= self.folds;
        if self.groups.is_empty() {
            return joined.iter().try_for_each(|(task, batch)| self.step(*task, batch, out));
        }
        let mut parts: Vec<Vec<ChangeBatch>> = vec![Vec::new(); self.groups.len()];
        for (task, batch) in joined {
            for batch in self.first(task, &batch, out)? {
                match &mut self.exchange {
                    None => parts[task].push(batch),
                    Some(exchange) => {
                        let begun = self.metering.begin();
                        exchange.split(&batch)?.into_iter().for_each(|(task, part)| parts[task].push(part));
                        self.metering.note(StageKind::Exchange, begun, (batch.len(), batch.len()));
                    }
                }
            }
        }
        let mut second = OperatorOutput::default();
        let (begun, mut rows) = (self.metering.begin(), 0);
        for (group, parts) in self.groups.iter_mut().zip(parts) {
            if let Some(batch) = ChangeBatch::merge(parts)? {
                rows += batch.len();
                group.step(&[Some(&batch)], &mut second)?;
                self.unemitted = self.mode_last;
            }
        }
        self.grouped(begun, rows, &second);
        self.finish(second, out)
    }

    /// Takes a batch of partition `slot` of the source, or of the last join.
    pub(crate) fn step(&mut self, slot: usize, batch: &ChangeBatch, out: &mut OperatorOutput) -> Result<()> {
        let mut first = self.first(slot, batch, out)?;
        if let Some((explode, after)) = &mut self.explode {
            for batch in &first {
                let begun = self.metering.begin();
                let exploded = explode.apply(batch, &mut out.bad)?;
                after.step(&[Some(&exploded)], out)?;
                self.metering.note(StageKind::Explode, begun, (batch.len(), exploded.len()));
            }
            return Ok(());
        }
        if self.groups.is_empty() {
            self.unemitted |= self.folds;
            out.batches.append(&mut first);
            return Ok(());
        }
        let mut parts = Vec::with_capacity(first.len());
        for batch in first {
            match &mut self.exchange {
                None => parts.push((slot, batch)),
                Some(exchange) => {
                    let begun = self.metering.begin();
                    parts.extend(exchange.split(&batch)?);
                    self.metering.note(StageKind::Exchange, begun, (batch.len(), batch.len()));
                }
            }
            self.unemitted = self.mode_last;
        }
        let mut second = OperatorOutput::default();
        let (begun, rows) = (self.metering.begin(), parts.iter().map(|(_, part)| part.len()).sum());
        for (task, part) in parts {
            self.groups[task].step(&[Some(&part)], &mut second)?;
        }
        self.grouped(begun, rows, &second);
        self.finish(second, out)
    }

    /// Stage 1 of a task: rows, and the state of a table.
    fn first(&mut self, task: usize, batch: &ChangeBatch, out: &mut OperatorOutput) -> Result<Vec<ChangeBatch>> {
        let mut first = OperatorOutput::default();
        let begun = self.metering.begin();
        self.rows[task].step(&[Some(batch)], &mut first)?;
        let passed = row_count(&first);
        let begun = self.metering.note(StageKind::Rows, begun, (batch.len(), passed));
        if let Some(table) = self.tables.get_mut(task) {
            for batch in std::mem::take(&mut first.batches) {
                table.step(&[Some(&batch)], &mut first)?;
            }
            self.metering.note(StageKind::Table, begun, (passed, row_count(&first)));
        }
        out.bad.append(&mut first.bad);
        Ok(first.batches)
    }

    /// Writes what changed since the last emission.
    pub(crate) fn emit(&mut self, out: &mut OperatorOutput) -> Result<()> {
        for (task, batch) in self.joins.emit(out)? {
            let mut rows = self.first(task, &batch, out)?;
            out.batches.append(&mut rows);
        }
        if !self.tables.is_empty() {
            let (begun, before) = (self.metering.begin(), row_count(out));
            self.tables.iter_mut().try_for_each(|table| table.emit(out))?;
            self.metering.note(StageKind::Table, begun, (0, row_count(out) - before));
        }
        let mut second = OperatorOutput::default();
        let begun = self.metering.begin();
        for group in &mut self.groups {
            group.emit(&mut second)?;
        }
        self.grouped(begun, 0, &second);
        self.unemitted = false;
        self.finish(second, out)
    }

    /// Notes what a grouping did that began then, with so many rows.
    fn grouped(&self, begun: Duration, rows: usize, second: &OperatorOutput) {
        self.metering.note(StageKind::Aggregate, begun, (rows, row_count(second)));
        self.metering.note_late(StageKind::Aggregate, second.late);
    }

    /// HAVING and the projection after a grouping.
    fn finish(&mut self, mut second: OperatorOutput, out: &mut OperatorOutput) -> Result<()> {
        out.late += second.late;
        out.late_rows.append(&mut second.late_rows);
        out.bad.append(&mut second.bad);
        match &mut self.after {
            None => out.batches.append(&mut second.batches),
            Some(after) => {
                let (begun, rows, before) = (self.metering.begin(), row_count(&second), row_count(out));
                for batch in second.batches {
                    after.step(&[Some(&batch)], out)?;
                }
                self.metering.note(StageKind::Having, begun, (rows, row_count(out) - before));
            }
        }
        Ok(())
    }

    /// Every operator that keeps state: its store's name and its tasks.
    fn stores(&mut self) -> Vec<(&str, Vec<&mut dyn Operator>)> {
        let tables = self.tables.iter_mut().map(|t| t as &mut dyn Operator).collect();
        let tables = self.names.0.as_deref().map(|name| (name, tables));
        let groups = self.groups.iter_mut().map(|g| &mut **g as &mut dyn Operator).collect();
        let groups = self.names.1.as_deref().map(|name| (name, groups));
        self.joins.stores().chain(tables).chain(groups).collect()
    }

    /// What is now durable.
    pub(crate) fn commit(&mut self) {
        self.stores().into_iter().flat_map(|s| s.1).for_each(Operator::commit);
    }

    /// Back to the last commit.
    pub(crate) fn abort(&mut self) {
        self.stores().into_iter().flat_map(|s| s.1).for_each(Operator::abort);
        self.unemitted = false;
    }

    /// Stream times and counts of a task's operators, to be kept with its input's offset.
    pub(crate) fn offset_metadata(&self, task: usize) -> String {
        let table = self.tables.get(task).map(|t| t as &dyn Operator);
        let group = self.groups.get(task).map(|g| &**g as &dyn Operator);
        let last = [(!self.tables.is_empty()).then_some(table), (!self.groups.is_empty()).then_some(group)];
        let memos = self.joins.tasks(task).chain(last.into_iter().flatten());
        let memos = memos.map(|o| o.map_or_else(String::new, Operator::offset_metadata));
        memos.collect::<Vec<_>>().join(METADATA_SEPARATOR)
    }

    /// Takes every task's memo back.
    pub(crate) fn restore_metadata<'a>(&mut self, offset_metadata: impl Fn(usize) -> &'a str) -> Result<()> {
        for (nth, (_, tasks)) in self.stores().into_iter().enumerate() {
            for (task, operator) in tasks.into_iter().enumerate() {
                operator
                    .restore_metadata(offset_metadata(task).split(METADATA_SEPARATOR).nth(nth).unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Appends the changelog records of everything that changed since the last commit.
    pub(crate) fn changelog(&mut self, group: &str, records: &mut Vec<(Arc<str>, Arc<RecordSet>)>) -> Result<()> {
        let mut entries = Vec::new();
        for (store, tasks) in self.stores() {
            let mut set = RecordSet::default();
            for (task, operator) in tasks.into_iter().enumerate() {
                operator.changelog(&mut entries)?;
                for delta in entries.drain(..) {
                    set.push(task as i32, delta.timestamp.max(0), Some(&delta.key), delta.value.as_deref());
                }
            }
            if !set.is_empty() {
                records.push((changelog_topic(group, store).into(), Arc::new(set)));
            }
        }
        Ok(())
    }

    /// Reads the changelogs to their ends.
    pub(crate) fn restore(&mut self, log: &dyn Log, group: &str) -> Result<()> {
        for (store, mut tasks) in self.stores() {
            restore(log, &changelog_topic(group, store).into(), &mut tasks)?;
        }
        Ok(())
    }
}

/// Rows that operators wrote.
fn row_count(out: &OperatorOutput) -> usize {
    out.batches.iter().map(ChangeBatch::len).sum()
}

/// The operator of a grouping; `with_old` = it also writes the value before each change.
fn grouping(spec: &AggregateSpec, mode: EmitMode, with_old: bool, over_table: bool) -> Result<Box<dyn Operator>> {
    Ok(match spec.window.map(|w| w.kind) {
        Some(WindowKind::Session { .. }) => {
            let sessions = SessionWindowOperator::new(spec, mode)?;
            Box::new(if with_old { sessions.with_old() } else { sessions })
        }
        _ => {
            let groups = AggregateOperator::new(spec, mode)?;
            let groups = if over_table { groups.over_table() } else { groups };
            Box::new(if with_old { groups.with_old() } else { groups })
        }
    })
}

/// K11: reads all partitions of a changelog to their ends. The end is the high watermark before the first read: everything up
/// to it was either committed or aborted, and the reader's position passes aborted records and markers (KAFKA-10167).
fn restore(log: &dyn Log, topic: &Arc<str>, operators: &mut [&mut dyn Operator]) -> Result<()> {
    let tasks: Vec<_> = (0..operators.len() as i32).map(|p| TopicPartition::new(topic.clone(), p)).collect();
    let ends = tasks.iter().map(|t| Ok(log.watermarks(t)?.high)).collect::<Result<Vec<_>>>()?;
    let assignment =
        tasks.iter().map(|t| Assignment { topic: topic.clone(), partition: t.partition, start: Start::Earliest });
    let mut reader = log.reader(assignment.collect(), Isolation::ReadCommitted)?;
    while ends.iter().enumerate().any(|(slot, &end)| reader.position(slot) < end) {
        for run in reader.poll(BATCH_ROWS_MAX, RESTORE_POLL)?.runs() {
            let operator = &mut operators[run.slot];
            let mut result = Ok(());
            run.for_each(|r| {
                if result.is_ok() {
                    result = operator.restore(r.key.unwrap_or_default(), r.value, r.timestamp);
                }
            });
            result?;
        }
    }
    Ok(())
}
