//! Joins of streams over history: the operators of the continuous query, given all that the topics hold in canonical order.
//!
//! The joins of a statement are one leaf in DataFusion's plan; what is above them runs as in every batch query. At the
//! end of the history nothing can match any more what still waits: it leaves. A join without GRACE has no batch meaning of
//! its own (it says "no match" before it knows): it waits as long as it would have kept its rows.

use super::super::run::drawn::leaves::Leaf;
use super::super::run::drawn::meter::Reading;
use super::super::scan::deleted::GapCheck;
use super::super::scan::parts;
use super::super::scan::snapshot::Snapshot;
use super::super::{Counts, History};
use super::external;
use crate::error::{Error, Kind, Result};
use crate::execute::change::ChangeBatch;
use crate::execute::compile;
use crate::execute::operator::stream_stream_join::DEFAULT_GRACE_MS;
use crate::execute::operator::{EmitMode, OperatorOutput};
use crate::execute::pipeline::Pipeline;
use crate::execute::record::source::SourceDecoder;
use crate::execute::record::writer_ids::WriterIds;
use crate::execute::task::canonical_order::CanonicalOrder;
use crate::execute::task::topology::Topology;
use crate::log::{Assignment, Isolation, Run, Start};
use crate::memory;
use crate::parse::statement::SourceKind;
use crate::plan;
use crate::plan::nodes::downcast;
use crate::plan::nodes::join::{HIDDEN, Join, Rule};
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::types::clock::SystemClock;
use crate::types::pseudo;
use crate::workers::Crew;
use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Batches read ahead of who uses them.
const READ_AHEAD_BATCHES: usize = 2;
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// Polls without any progress after which a query fails: half a minute, about what a broker takes to come back.
const IDLE_POLLS_MAX: u32 = 300;

/// The joins of a plan as a table, in the place of the last one.
pub(crate) fn lower(node: LogicalPlan, history: &History, counts: &Arc<Counts>) -> DfResult<Transformed<LogicalPlan>> {
    // The states of tables are joined as such: see `join_tables`.
    if downcast::<Join>(&node).is_none_or(|join| join.rule.is_table()) {
        return Ok(Transformed::no(node));
    }
    let schema: Schema = node.schema().as_arrow().clone();
    let table = JoinTable { plan: node, schema: Arc::new(schema), history: history.clone(), counts: counts.clone() };
    let scan = TableScanBuilder::new(TableReference::bare("#joined"), provider_as_source(Arc::new(table))).build()?;
    Ok(Transformed::new(unqualified(LogicalPlan::TableScan(scan))?, true, TreeNodeRecursion::Jump))
}

/// The columns above are known without the name of a table.
fn unqualified(scan: LogicalPlan) -> DfResult<LogicalPlan> {
    let columns = scan.schema().columns().into_iter();
    let columns = columns.map(|c| Expr::Column(c.clone()).alias(c.name)).collect::<Vec<_>>();
    LogicalPlanBuilder::from(scan).project(columns)?.build()
}

#[derive(Debug)]
struct JoinTable {
    plan: LogicalPlan,
    schema: SchemaRef,
    history: History,
    counts: Arc<Counts>,
}

#[async_trait::async_trait]
impl TableProvider for JoinTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let places = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema.project(places)?);
        let stream = self.stream(places, schema.clone()).map_err(external)?;
        let leaf = Leaf { nodes: plan::explain::nodes(&self.plan), reading: stream.reading.clone() };
        let stream: Arc<dyn PartitionStream> = Arc::new(stream);
        self.counts.leaves.add(&stream, leaf);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![stream], None, [], false, limit)?))
    }
}

impl JoinTable {
    fn stream(&self, places: &[usize], schema: SchemaRef) -> Result<JoinStream> {
        let hidden = self.schema.fields().len() - HIDDEN.len();
        let read: Vec<usize> = places.iter().copied().filter(|p| *p < hidden).collect();
        let mut pipeline = compile::joins(&self.plan, &read)?;
        for stage in &mut pipeline.joins {
            if let Rule::Within(within) = &mut stage.rule
                && within.grace_ms.is_none()
            {
                self.counts.waited.store(true, Ordering::Relaxed);
                within.grace_ms = Some(DEFAULT_GRACE_MS);
            }
        }
        let snapshots = pipeline.scans.iter().map(|s| Snapshot::take(&s.source, &self.history, &self.counts));
        let snapshots = snapshots.collect::<Result<Vec<_>>>()?;
        for snapshot in &snapshots {
            self.counts.grown.fetch_or(snapshot.has_grown(), Ordering::Relaxed);
            self.counts.scanned.plan(snapshot.len(), snapshot.len());
        }
        let (history, counts, reading) = (self.history.clone(), self.counts.clone(), Arc::default());
        Ok(JoinStream { pipeline, snapshots, schema, history, counts, reading })
    }
}

#[derive(Debug)]
struct JoinStream {
    pipeline: Pipeline,
    snapshots: Vec<Snapshot>,
    schema: SchemaRef,
    history: History,
    counts: Arc<Counts>,
    /// What was read of all its topics.
    reading: Arc<Reading>,
}

impl PartitionStream for JoinStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), READ_AHEAD_BATCHES);
        let (sender, rows) = (builder.tx(), context.session_config().batch_size());
        let (pipeline, snapshots) = (self.pipeline.clone(), self.snapshots.clone());
        let (schema, history, counts) = (self.schema.clone(), self.history.clone(), self.counts.clone());
        let reading = self.reading.clone();
        builder.spawn_blocking(memory::carried(move || {
            let clock = SystemClock::shared();
            let mut since = clock.monotonic();
            // Waiting for who takes the rows is no work.
            let send = &mut |batch: RecordBatch| {
                reading.worked(clock.monotonic().saturating_sub(since));
                let taken = parts(&batch, rows).all(|part| sender.blocking_send(Ok(part)).is_ok());
                since = clock.monotonic();
                taken
            };
            let replay = Replay::new(&pipeline, &snapshots, &history, schema, &reading).map_err(external)?;
            replay.run(&counts, history.rows, send).map_err(external)
        }));
        builder.build()
    }
}

/// One pass over the history.
struct Replay {
    topology: Topology,
    decoders: Vec<SourceDecoder>,
    writer_ids: Vec<WriterIds>,
    /// By input: its place in the reader's list, and where it ends; `None` = it holds nothing.
    ends: Vec<Option<(usize, i64)>>,
    /// Inputs in the order of the reader's list.
    slots: Vec<usize>,
    /// In the same order: what notices that records are deleted before they are read, and the first that a poll brought.
    places: Vec<(GapCheck, Option<i64>)>,
    reader: Box<dyn crate::log::Reader>,
    order: CanonicalOrder,
    schema: SchemaRef,
    reading: Arc<Reading>,
    seq: u64,
    written: i64,
}

impl Replay {
    fn new(
        pipeline: &Pipeline,
        snapshots: &[Snapshot],
        history: &History,
        schema: SchemaRef,
        reading: &Arc<Reading>,
    ) -> Result<Replay> {
        let (mut decoders, mut ends, mut slots, mut places, mut assignment) = (vec![], vec![], vec![], vec![], vec![]);
        let (mut tables, mut writer_ids) = (Vec::new(), Vec::new());
        for (scan, snapshot) in pipeline.scans.iter().zip(snapshots) {
            for partition in 0..scan.source.partitions as i32 {
                let read = snapshot.of(partition);
                ends.push(read.as_ref().map(|(_, range)| (assignment.len(), range.end)));
                if let Some((place, range)) = read {
                    slots.push(decoders.len());
                    places.push((GapCheck::new(&history.log, place, range.start), None));
                    let start = Start::Offset(range.start);
                    assignment.push(Assignment { topic: place.topic.clone(), partition, start });
                }
                decoders.push(SourceDecoder::new(scan, partition, &history.schemas)?);
                writer_ids.push(WriterIds::of(&scan.source, &history.schemas));
                tables.push(scan.source.kind == SourceKind::Table);
            }
        }
        Ok(Replay {
            topology: Topology::new(pipeline, EmitMode::EveryChange, &history.spill_pool, &Crew::alone())?,
            order: CanonicalOrder::new(&tables),
            reader: history.log.reader(assignment, Isolation::ReadCommitted)?,
            decoders,
            writer_ids,
            ends,
            slots,
            places,
            schema,
            reading: reading.clone(),
            seq: 0,
            written: 0,
        })
    }

    /// Sends batches until there are none left, or the receiver is gone; so many records are asked for at once.
    fn run(mut self, counts: &Counts, records: usize, send: &mut dyn FnMut(RecordBatch) -> bool) -> Result<()> {
        let mut idle = 0;
        loop {
            let done = (0..self.ends.len()).all(|input| self.at_end(input));
            memory::check()?;
            let before = self.reader.bytes_read().unwrap_or_default();
            let polled = if done { None } else { Some(memory::outside(|| self.reader.poll(records, POLL))?) };
            let bytes = self.reader.bytes_read().unwrap_or_default() - before;
            let mut arrived = 0;
            for run in polled.into_iter().flat_map(|p| p.into_runs()) {
                arrived += run.len();
                self.decode(&run, counts)?;
            }
            for (slot, (place, first)) in self.places.iter_mut().enumerate() {
                place.moved(first.take(), self.reader.position(slot))?;
            }
            counts.scanned.read(arrived as u64, bytes);
            self.reading.read(arrived as u64, bytes);
            idle = if arrived > 0 || done { 0 } else { idle + 1 };
            if idle > IDLE_POLLS_MAX {
                return Err(Error::new(Kind::Io, "the topics of a join cannot be read to their ends"));
            }
            let (mut out, mut parts) = (OperatorOutput::default(), Vec::new());
            loop {
                let ends: Vec<bool> = (0..self.ends.len()).map(|input| self.at_end(input)).collect();
                let taken = self.order.take(&mut self.seq, &|input| !ends[input]);
                if taken.batches.is_empty() {
                    break;
                }
                parts.extend(self.topology.joined(&taken.batches, None, &mut out)?);
                self.topology.commit();
            }
            if done {
                parts.extend(self.topology.joined(&[], Some(self.seq), &mut out)?);
            }
            counts.bad.fetch_add(out.bad.left_out() as u64, Ordering::Relaxed);
            let parts: Vec<ChangeBatch> = parts.into_iter().map(|(task, batch)| with_task(task, batch)).collect();
            let bytes = parts.iter().flat_map(|p| &p.new.columns).map(|c| c.get_array_memory_size()).sum();
            memory::reserve_for_rows(bytes, records)?;
            let sent = match ChangeBatch::merge(parts)? {
                Some(batch) => send(self.shaped(&batch)?),
                None => true,
            };
            if done || !sent {
                return Ok(());
            }
        }
    }

    /// Was everything of this input read?
    fn at_end(&self, input: usize) -> bool {
        self.ends[input].is_none_or(|(slot, end)| self.reader.position(slot) >= end)
    }

    fn decode(&mut self, run: &Run, counts: &Counts) -> Result<()> {
        let input = self.slots[run.slot];
        let end = self.ends[input].map_or(0, |e| e.1);
        let (decoder, first) = (&mut self.decoders[input], &mut self.places[run.slot].1);
        self.writer_ids[input].resolve_within(run)?;
        let mut bad = Vec::new();
        run.for_each(|record| {
            first.get_or_insert(record.offset);
            if record.offset < end {
                decoder.push(&record, record.offset as u64, &mut bad);
            }
        });
        let batches = decoder.finish(&mut bad)?;
        counts.bad.fetch_add(bad.len() as u64, Ordering::Relaxed);
        for batch in batches {
            self.order.push(input, batch);
        }
        Ok(())
    }

    /// The columns that were asked for; the hidden ones are those of the joined rows.
    fn shaped(&mut self, batch: &ChangeBatch) -> Result<RecordBatch> {
        let rows = batch.len();
        let first = self.written;
        self.written += rows as i64;
        let Some((task, values)) = batch.new.columns.split_last() else { return Err(Error::bug("a row without task")) };
        let mut values = values.iter();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in self.schema.fields() {
            columns.push(match field.name().as_str() {
                pseudo::ROWTIME => Arc::new(Int64Array::new(batch.rowtime.clone(), None)),
                pseudo::ROWPARTITION => task.clone(),
                ORDINAL => Arc::new((first..first + rows as i64).collect::<Int64Array>()),
                PRESENT => Arc::new(BooleanArray::from(vec![true; rows])),
                _ => values.next().cloned().ok_or_else(|| Error::bug("a joined column is missing"))?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// The task as one more column: what comes later judges lateness by it.
fn with_task(task: usize, mut batch: ChangeBatch) -> ChangeBatch {
    batch.new.columns.push(Arc::new(Int32Array::from_value(task as i32, batch.len())));
    batch
}
