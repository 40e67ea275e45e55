//! The operators of one query: stage 1 per source partition, stage 2 per hop partition, exchanged in memory.
//! Where a table's earlier rows matter, stage 1 ends with its state.
//!
//! Rows that change key go to the partition that Java's murmur2 of their new key bytes names, although they stay in this
//! process: late rows, windows and changelogs depend on the partition, and must be the same when the exchange runs through
//! a topic.

use crate::error::Result;
use crate::execute::aggregate::AggregateOperator;
use crate::execute::pipeline::{Hop, Pipeline};
use crate::execute::row::RowOperator;
use crate::execute::table::TableOperator;
use crate::execute::{ChangeBatch, Mode, Operator, Out};
use crate::format::Encoder;
use crate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicPartition, partition};
use arrow::buffer::BooleanBuffer;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long one poll waits while state is restored; a restore itself ends at the changelog's end.
const RESTORE_POLL: Duration = Duration::from_millis(100);

/// Stage 1, the exchange, stage 2.
#[derive(Debug, Default)]
pub struct Stages {
    rows: Vec<RowOperator>,
    /// A table's state, per source partition; none where it does not matter.
    tables: Vec<TableOperator>,
    exchange: Option<Exchange>,
    groups: Vec<AggregateOperator>,
    after: Option<RowOperator>,
    /// Names of the stores: of the table, and of the grouping.
    stores: (Option<String>, Option<String>),
    mode_last: bool,
    /// Tasks of stage 2 that hold changes not yet emitted.
    unemitted: bool,
}

#[derive(Debug)]
struct Exchange {
    key: Encoder,
    partitions: u32,
    bytes: Vec<u8>,
    ranges: Vec<Option<Range<usize>>>,
    targets: Vec<i32>,
}

impl Exchange {
    fn new(hop: &Hop) -> Result<Exchange> {
        Ok(Exchange {
            key: Encoder::new(hop.key_format, &hop.key, true)?,
            partitions: hop.partitions,
            bytes: Vec::new(),
            ranges: Vec::new(),
            targets: Vec::new(),
        })
    }

    /// The rows of each partition that got any, ascending by partition.
    fn split(&mut self, batch: &ChangeBatch) -> Result<Vec<(usize, ChangeBatch)>> {
        if self.partitions == 1 {
            return Ok(vec![(0, batch.clone())]);
        }
        self.bytes.clear();
        self.ranges.clear();
        self.key.encode(&batch.key, batch.key_present.as_ref(), batch.len(), &mut self.bytes, &mut self.ranges)?;
        self.targets.clear();
        let (bytes, count) = (&self.bytes, self.partitions);
        let target = |r: &Option<Range<usize>>| r.clone().map_or(0, |r| partition::java(&bytes[r], count));
        self.targets.extend(self.ranges.iter().map(target));
        let mut parts = Vec::new();
        for p in 0..count as i32 {
            let rows = BooleanBuffer::collect_bool(batch.len(), |row| self.targets[row] == p);
            match rows.count_set_bits() {
                0 => {}
                n if n == batch.len() => parts.push((p as usize, batch.clone())),
                _ => parts.push((p as usize, batch.filter(&rows)?)),
            }
        }
        Ok(parts)
    }
}

impl Stages {
    /// Operators for a source with `partitions` partitions.
    pub fn new(pipeline: &Pipeline, mode: Mode, partitions: u32) -> Result<Stages> {
        let rows = (0..partitions).map(|_| RowOperator::new(&pipeline.rows)).collect();
        let tasks = pipeline.hop.as_ref().map_or(partitions, |h| h.partitions);
        let groups = match &pipeline.aggregate {
            None => Vec::new(),
            Some(spec) => {
                // HAVING needs to know whether a group passed before, to write a tombstone when it leaves.
                let having = pipeline.after.as_ref().is_some_and(|after| !after.keep.is_empty());
                let group = || AggregateOperator::new(spec, mode).map(|g| if having { g.with_old() } else { g });
                (0..tasks).map(|_| group()).collect::<Result<_>>()?
            }
        };
        let over_table = pipeline.table.is_some();
        let groups: Vec<AggregateOperator> =
            groups.into_iter().map(|g: AggregateOperator| if over_table { g.over_table() } else { g }).collect();
        let tables = pipeline.table.iter().flat_map(|spec| (0..partitions).map(|_| TableOperator::new(spec)));
        Ok(Stages {
            rows,
            tables: tables.collect::<Result<_>>()?,
            exchange: pipeline.hop.as_ref().map(Exchange::new).transpose()?,
            groups,
            after: pipeline.after.as_ref().map(RowOperator::new),
            stores: (
                pipeline.table.as_ref().map(|t| t.name.clone()),
                pipeline.aggregate.as_ref().map(|a| a.name.clone()),
            ),
            mode_last: mode == Mode::Last,
            unemitted: false,
        })
    }

    /// Number of stage 2 tasks.
    pub fn partitions(&self) -> u32 {
        self.groups.len() as u32
    }

    /// Does the order between partitions matter? Only where rows of several partitions meet in one task.
    pub fn ordered(&self) -> bool {
        self.exchange.is_some()
    }

    /// Changed groups wait for an emission.
    pub fn has_unemitted(&self) -> bool {
        self.unemitted
    }

    /// Takes a batch of source partition `slot`.
    pub fn step(&mut self, slot: usize, batch: &ChangeBatch, out: &mut Out) -> Result<()> {
        let mut first = Out::default();
        self.rows[slot].step(&[Some(batch)], &mut first)?;
        out.bad.append(&mut first.bad);
        if let Some(table) = self.tables.get_mut(slot) {
            for batch in std::mem::take(&mut first.batches) {
                table.step(&[Some(&batch)], &mut first)?;
            }
            out.bad.append(&mut first.bad);
        }
        if self.groups.is_empty() {
            out.batches.append(&mut first.batches);
            return Ok(());
        }
        let mut second = Out::default();
        for batch in first.batches {
            match &mut self.exchange {
                None => self.groups[slot].step(&[Some(&batch)], &mut second)?,
                Some(exchange) => {
                    for (task, part) in exchange.split(&batch)? {
                        self.groups[task].step(&[Some(&part)], &mut second)?;
                    }
                }
            }
            self.unemitted = self.mode_last;
        }
        self.finish(second, out)
    }

    /// Writes what changed since the last emission.
    pub fn emit(&mut self, out: &mut Out) -> Result<()> {
        let mut second = Out::default();
        for group in &mut self.groups {
            group.emit(&mut second)?;
        }
        self.unemitted = false;
        self.finish(second, out)
    }

    /// HAVING and the projection after a grouping.
    fn finish(&mut self, mut second: Out, out: &mut Out) -> Result<()> {
        out.late += second.late;
        out.bad.append(&mut second.bad);
        match &mut self.after {
            None => out.batches.append(&mut second.batches),
            Some(after) => {
                for batch in second.batches {
                    after.step(&[Some(&batch)], out)?;
                }
            }
        }
        Ok(())
    }

    /// What is now durable.
    pub fn commit(&mut self) {
        self.tables.iter_mut().for_each(Operator::commit);
        self.groups.iter_mut().for_each(Operator::commit);
    }

    /// Back to the last commit.
    pub fn abort(&mut self) {
        self.tables.iter_mut().for_each(Operator::abort);
        self.groups.iter_mut().for_each(Operator::abort);
        self.unemitted = false;
    }

    /// Stream time and counts of a task, to be kept with its input's offset.
    pub fn memo(&self, task: usize) -> String {
        self.groups.get(task).map_or_else(String::new, Operator::memo)
    }

    /// Takes every task's memo back.
    pub fn recall<'a>(&mut self, memo: impl Fn(usize) -> &'a str) -> Result<()> {
        for (task, group) in self.groups.iter_mut().enumerate() {
            group.recall(memo(task))?;
        }
        Ok(())
    }

    /// The stores of the query: the name of each, and its operators by partition.
    fn stores(&mut self) -> Vec<(String, Vec<&mut dyn Operator>)> {
        let tables = self.tables.iter_mut().map(|o| -> &mut dyn Operator { o }).collect();
        let groups = self.groups.iter_mut().map(|o| -> &mut dyn Operator { o }).collect();
        let both = [(self.stores.0.clone(), tables), (self.stores.1.clone(), groups)];
        both.into_iter().filter_map(|(name, operators)| Some((name?, operators))).collect()
    }

    /// Appends the changelog records of everything that changed since the last commit.
    pub fn deltas(&mut self, group: &str, records: &mut Vec<(Arc<str>, RecordSet)>) -> Result<()> {
        let mut deltas = Vec::new();
        for (name, operators) in self.stores() {
            let mut set = RecordSet::default();
            for (task, operator) in operators.into_iter().enumerate() {
                operator.deltas(&mut deltas)?;
                for delta in deltas.drain(..) {
                    set.push(task as i32, delta.timestamp.max(0), Some(&delta.key), delta.value.as_deref());
                }
            }
            if !set.is_empty() {
                records.push((changelog_topic(group, &name).into(), set));
            }
        }
        Ok(())
    }

    /// Reads the changelogs to their ends.
    pub fn restore(&mut self, log: &dyn Log, group: &str) -> Result<()> {
        for (name, mut operators) in self.stores() {
            restore(log, changelog_topic(group, &name).into(), &mut operators)?;
        }
        Ok(())
    }
}

/// Reads a changelog to its end. The end is the high watermark before the first read: everything up to it is either committed
/// or was aborted, and the reader's position passes aborted records and markers.
fn restore(log: &dyn Log, topic: Arc<str>, operators: &mut [&mut dyn Operator]) -> Result<()> {
    let tasks: Vec<_> = (0..operators.len() as i32).map(|p| TopicPartition::new(topic.clone(), p)).collect();
    let ends = tasks.iter().map(|t| Ok(log.watermarks(t)?.high)).collect::<Result<Vec<_>>>()?;
    let assignment =
        tasks.iter().map(|t| Assignment { topic: topic.clone(), partition: t.partition, start: Start::Earliest });
    let mut reader = log.reader(assignment.collect(), Isolation::ReadCommitted)?;
    while ends.iter().enumerate().any(|(slot, &end)| reader.position(slot) < end) {
        for run in reader.poll(super::execution::INTAKE_ROWS, RESTORE_POLL)?.runs() {
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

/// Name of a store's changelog topic.
pub fn changelog_topic(group: &str, store: &str) -> String {
    format!("{group}-{store}-changelog")
}
