//! A stream or table for DataFusion: a bounded scan of a topic, or the state that a topic leaves behind.

pub(super) mod bounds;
mod decoding;
pub(super) mod deleted;
mod layout;
pub(super) mod progress;
mod read;
mod rows;
pub(super) mod snapshot;
pub(super) mod system;

use super::nodes::external;
use super::run::drawn::leaves::Leaf;
use super::{Counts, History};
use crate::catalog::Source;
use crate::error::Result;
use crate::log::Log;
use crate::memory;
use crate::parse::statement::SourceKind;
use crate::plan::explain::scan_of;
use crate::plan::nodes::table::{Origin, SourceTable};
use crate::types::clock::SystemClock;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int32Type, SchemaRef};
use bounds::Bounds;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use read::Replay;
use snapshot::Snapshot;
use std::collections::HashMap;
use std::sync::Arc;

/// Batches read ahead of who uses them.
const READ_AHEAD_BATCHES: usize = 2;
/// Rows of one batch of a table's state.
const STATE_BATCH_ROWS: usize = 8192;

/// A source in a batch query.
#[derive(Debug)]
pub(crate) struct BatchTable {
    source: Arc<Source>,
    /// Its columns here.
    origins: Vec<Origin>,
    schema: SchemaRef,
    history: History,
    counts: Arc<Counts>,
    /// What the conditions above it say of its records.
    bounds: Bounds,
}

impl BatchTable {
    /// With those columns of the source's table for which `shown` says so.
    pub(crate) fn new(
        source: &Arc<Source>,
        shown: &dyn Fn(Origin) -> bool,
        history: &History,
        counts: &Arc<Counts>,
    ) -> Result<BatchTable> {
        let table = SourceTable::new(source.clone());
        let all = table.origins();
        let places: Vec<usize> = (0..all.len()).filter(|i| shown(all[*i])).collect();
        let schema = Arc::new(table.schema().project(&places)?);
        let origins = places.iter().map(|i| all[*i]).collect();
        let (history, counts, bounds) = (history.clone(), counts.clone(), Bounds::all());
        Ok(BatchTable { source: source.clone(), origins, schema, history, counts, bounds })
    }

    /// Reads what is within the bounds, perhaps more.
    pub(crate) fn within(self, bounds: Bounds) -> BatchTable {
        BatchTable { bounds, ..self }
    }

    /// For EXPLAIN: what is read, and of which records.
    fn in_words(&self, bounds: &Bounds) -> String {
        let is_table = self.source.kind == SourceKind::Table;
        let last = if is_table { ", the last row of each key" } else { "" };
        let only = bounds.in_words();
        let only = if only.is_empty() { only } else { format!(", only {only}") };
        format!("{}{last}{only}", scan_of(&self.source))
    }

    fn bounds_of(&self, filter: &Expr) -> Bounds {
        let place = |name: &str| self.schema.index_of(name).ok().map(|i| self.origins[i]);
        Bounds::of_expr(filter, &place)
    }
}

#[async_trait::async_trait]
impl TableProvider for BatchTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // What was read is looked at again: bounds leave out whole pieces of a topic, not rows.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.bounds_of(filter).is_all() {
            true => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.origins.len()).collect();
        let places = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema.project(places)?);
        let bounds = filters.iter().fold(self.bounds.clone(), |all, filter| all.and(&self.bounds_of(filter)));
        let mut snapshot = Snapshot::take(&self.source, &self.history, &self.counts).map_err(external)?;
        let retained = snapshot.len();
        snapshot.narrow(&bounds, self.history.log.as_ref()).map_err(external)?;
        self.counts.scanned.plan(snapshot.len(), retained);
        let leaf = Leaf { nodes: vec![(self.in_words(&bounds), None)], reading: snapshot.reading.clone() };
        let stream = TopicStream {
            snapshot,
            origins: places.iter().map(|i| self.origins[*i]).collect(),
            schema: schema.clone(),
            log: self.history.log.clone(),
            counts: self.counts.clone(),
        };
        let stream: Arc<dyn PartitionStream> = Arc::new(stream);
        self.counts.leaves.add(&stream, leaf);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![stream], None, [], false, limit)?))
    }
}

/// Reads the snapshot of a source.
#[derive(Debug)]
struct TopicStream {
    snapshot: Snapshot,
    origins: Vec<Origin>,
    schema: SchemaRef,
    log: Arc<dyn Log>,
    counts: Arc<Counts>,
}

impl PartitionStream for TopicStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), READ_AHEAD_BATCHES);
        let (sender, rows) = (builder.tx(), context.session_config().batch_size());
        let reading = Reading {
            snapshot: self.snapshot.clone(),
            origins: self.origins.clone(),
            schema: self.schema.clone(),
            ordinal: 0,
        };
        let (log, counts) = (self.log.clone(), self.counts.clone());
        let read = self.snapshot.reading.clone();
        builder.spawn_blocking(memory::carried(move || {
            let clock = SystemClock::shared();
            let mut since = clock.monotonic();
            // Waiting for who takes the rows is no work.
            let send = &mut |batch: RecordBatch| {
                read.worked(clock.monotonic().saturating_sub(since));
                let taken = parts(&batch, rows).all(|part| sender.blocking_send(Ok(part)).is_ok());
                since = clock.monotonic();
                taken
            };
            reading.run(&log, &counts, send).map_err(external)
        }));
        builder.build()
    }
}

/// The batch in parts of so many rows.
pub(crate) fn parts(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows()).step_by(rows).map(move |at| batch.slice(at, rows.min(batch.num_rows() - at)))
}

struct Reading {
    snapshot: Snapshot,
    origins: Vec<Origin>,
    schema: SchemaRef,
    /// Of the next row.
    ordinal: i64,
}

impl Reading {
    /// Sends batches until there are none left, or the receiver is gone.
    fn run(
        mut self,
        log: &Arc<dyn Log>,
        counts: &Arc<Counts>,
        send: &mut dyn FnMut(RecordBatch) -> bool,
    ) -> Result<()> {
        let table = self.snapshot.source.kind == SourceKind::Table;
        let scattered = self.snapshot.source.key_format.schema_type().is_some();
        let mut wanted: Vec<Origin> = self.origins.iter().copied().filter(|o| *o != Origin::Ordinal).collect();
        if table && !wanted.contains(&Origin::Present) {
            wanted.push(Origin::Present);
        }
        let mut replay = Replay::new(&self.snapshot, &wanted, log, counts)?;
        if table {
            for batch in state(&mut replay, wanted.iter().position(|o| *o == Origin::Present), scattered)? {
                if !send(self.shaped(&batch, &wanted)?) {
                    return Ok(());
                }
            }
            return Ok(());
        }
        while let Some(batch) = replay.next()? {
            if !send(self.shaped(&batch, &wanted)?) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The columns that were asked for, with their ordinals.
    fn shaped(&mut self, batch: &RecordBatch, wanted: &[Origin]) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let first = self.ordinal;
        self.ordinal += rows as i64;
        let columns = self.origins.iter().map(|origin| -> ArrayRef {
            match wanted.iter().position(|o| o == origin) {
                Some(at) => batch.column(at + 1).clone(),
                None => Arc::new((first..first + rows as i64).collect::<Int64Array>()),
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns.collect(), &options)?)
    }
}

/// What a table holds after all its records: the last value of each key of each partition, in order of that last change.
/// `scattered`: a key may be in several partitions, because its bytes there depend on the writer.
fn state(replay: &mut Replay, present: Option<usize>, scattered: bool) -> Result<Vec<RecordBatch>> {
    let fields = replay.schema().fields().len();
    let mut batches = Vec::new();
    let mut last: HashMap<(i32, Vec<u8>), (usize, usize)> = HashMap::new();
    while let Some(batch) = replay.next()? {
        let partition = batch.column(fields - 2).as_primitive::<Int32Type>();
        let key = batch.column(fields - 1).as_binary::<i32>();
        let alive = present.map(|at| batch.column(at + 1).as_boolean());
        for row in 0..batch.num_rows() {
            let partition = if scattered { 0 } else { partition.value(row) };
            let name = (partition, key.value(row).to_vec());
            if alive.is_none_or(|a| a.value(row)) {
                last.insert(name, (batches.len(), row));
            } else {
                last.remove(&name);
            }
        }
        batches.push(batch);
    }
    // Sorted, so that the order of the map decides nothing.
    let mut rows: Vec<(usize, usize)> = last.into_values().collect();
    rows.sort_unstable();
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    rows.chunks(STATE_BATCH_ROWS).map(|chunk| Ok(interleave_record_batch(&batches, chunk)?)).collect()
}
