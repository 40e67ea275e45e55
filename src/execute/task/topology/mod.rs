//! The operators of one query: joins, if there are some, then stage 1 per partition of what they or the source bring, then
//! stage 2 per hop partition, exchanged in memory. Where a table's earlier rows matter, stage 1 ends with its state.
//!
//! Rows that change key go to the partition that Java's murmur2 of their new key bytes names, although they stay in this
//! process: late rows, windows and changelogs depend on the partition, and must be the same when the exchange runs through
//! a topic.

pub(super) mod head;
pub(super) mod spare;
pub(super) mod stage_tasks;

mod exchange;
mod join_stages;
mod step;

use super::progress::Metering;
use crate::error::{Error, Result};
use crate::execute::operator::aggregate::AggregateOperator;
use crate::execute::operator::explode::Explode;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::operator::session_window::SessionWindowOperator;
use crate::execute::operator::table::TableOperator;
use crate::execute::operator::{EmitMode, Operator, OperatorSize, SnapshotPlace};
use crate::execute::pipeline::{AggregateSpec, Pipeline, changelog_topic};
use crate::execute::stage::StageKind;
use crate::execute::state::entry_batch::EntryBatch;
use crate::execute::state::spill_pool::SpillPool;
use crate::log::RecordSet;
use crate::types::time::WindowKind;
use crate::workers::Crew;
use exchange::Exchange;
use head::Head;
use join_stages::JoinStages;
use spare::Spare;
use stage_tasks::StageTasks;
use std::sync::Arc;

/// Between the memos of several operators.
const METADATA_SEPARATOR: &str = ";";
/// Between a memo and the number of living entries. Versions that know no such number take it for a word of the memo that is theirs
/// to ignore.
const LIVING_SEPARATOR: &str = " #";

/// Joins, stage 1, the exchange, stage 2.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(super) crew: Crew,
    pub(super) joins: JoinStages,
    /// Rows of a table with one key in several partitions come together before all else.
    pub(super) gather: Option<Exchange>,
    pub(super) head: Arc<Head>,
    /// Tasks of stage 1: partitions of what feeds it.
    partitions: usize,
    /// A table's state, per source partition; none where it does not matter.
    pub(super) tables: StageTasks,
    pub(super) groups: StageTasks,
    pub(super) after: Option<Arc<FilterProjectOperator>>,
    /// Names of the stores: of the table, and of the grouping.
    names: (Option<String>, Option<String>),
    pub(super) mode_last: bool,
    /// The last operator with state is a table's, and folds.
    pub(super) folds: bool,
    /// Operators hold changes not yet emitted.
    pub(super) unemitted: bool,
    /// Rows that operators with state have taken since the last emission, and since the last commit: what there may be to do.
    pub(super) rows_to_emit: usize,
    pub(super) rows_to_commit: usize,
    pub(super) metering: Metering,
}

impl Topology {
    /// The operators of a pipeline; `spill_pool` is for what does not fit into memory, `crew` works in them.
    pub(crate) fn new(
        pipeline: &Pipeline,
        mode: EmitMode,
        spill_pool: &Arc<SpillPool>,
        crew: &Crew,
    ) -> Result<Topology> {
        let partitions = pipeline.partitions();
        // Rows of a table for a reader, not for a topic: they carry their key among their columns, or not at all.
        let read = pipeline.output.table && pipeline.output.key.is_empty();
        let operator =
            |spec| if read { FilterProjectOperator::new(spec).for_reader() } else { FilterProjectOperator::new(spec) };
        // The last of them makes the columns of the result.
        let last = |spec| operator(spec).named(&pipeline.output.value);
        let is_last = pipeline.aggregate.is_none() && pipeline.explode.is_none();
        let rows = if is_last { last(&pipeline.rows) } else { operator(&pipeline.rows) };
        let tasks = pipeline.hop.as_ref().map_or(partitions, |h| h.partitions);
        let groups = match &pipeline.aggregate {
            None => StageTasks::default(),
            Some(spec) => {
                // HAVING needs to know whether a group passed before, to write a tombstone when it leaves.
                let having = pipeline.after.as_ref().is_some_and(|after| !after.keep.is_empty());
                (0..tasks).map(|_| grouping(spec, mode, having, pipeline.table.is_some())).collect::<Result<_>>()?
            }
        };
        let tables =
            pipeline.table.iter().flat_map(|spec| (0..partitions).map(move |_| TableOperator::new(spec, mode)));
        let tables = tables.map(|table| Ok(Box::new(table?) as Box<dyn Operator>));
        // One operator folds: the last one. Those before it hand on every change.
        let last_is_join = pipeline.table.is_none() && pipeline.aggregate.is_none();
        let join_folds = last_is_join && pipeline.joins.last().is_some_and(|join| join.rule.is_table());
        let table_folds = pipeline.table.is_some() && pipeline.aggregate.is_none();
        // Without a grouping behind it no row has to move.
        let hop = pipeline.hop.clone().filter(|_| pipeline.aggregate.is_some());
        let head = Head {
            rows,
            explode: pipeline.explode.as_ref().map(|spec| (Explode::new(spec.arrays.clone()), last(&spec.after))),
            exchange: hop.map(|hop| Spare::new(move || Exchange::new(&hop))).transpose()?,
            has_table: pipeline.table.is_some(),
            metering: Metering::default(),
        };
        let join_mode = if last_is_join { mode } else { EmitMode::EveryChange };
        Ok(Topology {
            crew: crew.clone(),
            joins: JoinStages::new(pipeline, join_mode, spill_pool, crew)?,
            gather: pipeline.gather.as_ref().map(Exchange::new).transpose()?,
            head: Arc::new(head),
            partitions: partitions as usize,
            tables: tables.collect::<Result<_>>()?,
            groups,
            after: pipeline.after.as_ref().map(last).map(Arc::new),
            names: (
                pipeline.table.as_ref().map(|t| t.name.clone()),
                pipeline.aggregate.as_ref().map(|a| a.name.clone()),
            ),
            mode_last: mode == EmitMode::LatestPerKey,
            folds: mode == EmitMode::LatestPerKey && (join_folds || table_folds),
            unemitted: false,
            rows_to_emit: 0,
            rows_to_commit: 0,
            metering: Metering::default(),
        })
    }

    /// The same, whose stages count.
    pub(crate) fn measured(mut self, metering: &Metering) -> Topology {
        self.metering = metering.clone();
        self.joins.measured(metering);
        if let Some(head) = Arc::get_mut(&mut self.head) {
            head.metering = metering.clone();
        }
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
        self.groups.len().max(self.partitions) as u32
    }

    /// Stage 1 without its state, which workers may do for any batch at any time.
    pub(crate) fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// Do rows of several inputs meet one by one? Then all of an interval of ordinals has to come at once.
    pub(crate) fn meets(&self) -> bool {
        !self.joins.is_empty() || self.gather.is_some()
    }

    /// Does the order between partitions matter? Only where rows of several partitions meet in one task.
    pub(crate) fn ordered(&self) -> bool {
        self.head.exchange.is_some()
    }

    /// Changed groups wait for an emission.
    pub(crate) fn has_unemitted(&self) -> bool {
        self.unemitted
    }

    /// Every stage that keeps state: its store's name and its tasks.
    fn stages(&mut self) -> Vec<(&str, &mut StageTasks)> {
        let tables = self.names.0.as_deref().map(|name| (name, &mut self.tables));
        let groups = self.names.1.as_deref().map(|name| (name, &mut self.groups));
        self.joins.stages().chain(tables).chain(groups).collect()
    }

    /// The same, operator by operator.
    pub(super) fn stores(&mut self) -> Vec<(&str, Vec<&mut dyn Operator>)> {
        self.stages().into_iter().map(|(name, tasks)| (name, tasks.all())).collect()
    }

    /// What is now durable.
    pub(crate) fn commit(&mut self) {
        self.rows_to_commit = 0;
        self.stores().into_iter().flat_map(|s| s.1).for_each(Operator::commit);
    }

    /// Back to the last commit.
    pub(crate) fn abort(&mut self) {
        self.stores().into_iter().flat_map(|s| s.1).for_each(Operator::abort);
        self.unemitted = false;
        (self.rows_to_emit, self.rows_to_commit) = (0, 0);
    }

    /// Stream times and counts of a task's operators, to be kept with its input's offset.
    pub(crate) fn offset_metadata(&self, task: usize) -> String {
        let stages = [&self.tables, &self.groups].into_iter().filter(|stage| !stage.is_empty());
        let last = stages.map(|stage| stage.get(task));
        let memos = self.joins.tasks(task).chain(last);
        memos.map(|o| o.map_or_else(String::new, memo_of)).collect::<Vec<_>>().join(METADATA_SEPARATOR)
    }

    /// Puts a stage with state back to its beginning, as it is in `fresh`.
    pub(super) fn renew(&mut self, store: usize, mut fresh: Topology) {
        if let (Some(old), Some(new)) = (self.stages().into_iter().nth(store), fresh.stages().into_iter().nth(store)) {
            std::mem::swap(old.1, new.1);
        }
    }

    /// Appends the changelog records of everything that changed since the last commit.
    pub(crate) fn changelog(&mut self, group: &str, records: &mut Vec<(Arc<str>, Arc<RecordSet>)>) -> Result<()> {
        let (crew, rows) = (self.crew.clone(), self.rows_to_commit);
        for (store, tasks) in self.stages() {
            let sets = tasks.run_all(&crew, rows, |task, operator| {
                let (mut entries, mut set) = (Vec::new(), RecordSet::default());
                operator.changelog(&mut entries)?;
                for delta in entries {
                    set.push(task as i32, delta.timestamp.max(0), Some(&delta.key), delta.value.as_deref());
                }
                Ok(set)
            })?;
            let mut set = RecordSet::default();
            sets.into_iter().for_each(|of_task| set.append(of_task));
            if !set.is_empty() {
                records.push((changelog_topic(group, store).into(), Arc::new(set)));
            }
        }
        Ok(())
    }

    /// Can all tasks of a store be copied at present?
    pub(super) fn has_snapshots(&mut self, store: usize) -> bool {
        self.stores().get(store).is_some_and(|(_, tasks)| tasks.iter().all(|task| task.has_snapshots()))
    }

    /// Copies a piece of a task's state; see [`Operator::snapshot`].
    pub(super) fn snapshot(
        &mut self,
        store: usize,
        task: usize,
        place: &mut SnapshotPlace,
        entries: &mut EntryBatch,
    ) -> Result<bool> {
        let mut stores = self.stores();
        let operator = stores.get_mut(store).and_then(|(_, tasks)| tasks.get_mut(task));
        operator.ok_or_else(|| Error::bug("a snapshot of no task"))?.snapshot(place, entries)
    }
}

/// What is kept of an operator with the offset of its input.
fn memo_of(operator: &dyn Operator) -> String {
    let living = operator.living().map_or_else(String::new, |living| format!("{LIVING_SEPARATOR}{living}"));
    operator.offset_metadata() + &living
}

/// The memo of a store's operator in the metadata of a task, and how many living entries its changelog has.
pub(super) fn split_memo(offset_metadata: &str, store: usize) -> (&str, Option<u64>) {
    let memo = offset_metadata.split(METADATA_SEPARATOR).nth(store).unwrap_or_default();
    memo.split_once(LIVING_SEPARATOR).map_or((memo, None), |(memo, living)| (memo, living.parse().ok()))
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
