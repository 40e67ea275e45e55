//! A query without EMIT over the committed rows of a table: find or scan, decode, WHERE, SELECT.
//!
//! ```text
//! Access -> View::find | Snapshot -> records -> SourceDecoder -> FilterProjectOperator (WHERE, projection) -> columns
//! ```
//!
//! The bytes are decoded by the same code as a topic's, so that the result is that of a batch query over the topic. Only what a
//! lookup needs is copied while the view is locked; decoding comes after that.

pub mod materialized_view;

use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::change::ChangeBatch;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::operator::{Operator, OperatorOutput};
use crate::execute::pipeline::{InputColumn, Pipeline, RowSpec, Scan};
use crate::execute::record::source::{BadRecord, SourceDecoder};
use crate::execute::record::writer_ids::{self, WriterIds};
use crate::format::frame::SharedSchemas;
use crate::format::{Encoder, Side};
use crate::log::{HeadersRef, RecordRef, RecordSet};
use crate::plan::PullPlan;
use crate::plan::WindowBounds;
use crate::plan::pull::Access;
use crate::types::{Column, SqlType};
use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use materialized_view::{FoundRow, KeyRange, Snapshot, View};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows that a scan decodes at once.
const SCAN_ROWS: usize = 2_048;
/// Decoders that wait for the next query of a prepared statement.
const IDLE_WORKERS_MAX: usize = 16;

/// Keys and their windows, ready to be looked up.
pub type Keys = Vec<(Vec<u8>, WindowBounds)>;

/// A compiled query.
#[derive(Debug)]
pub struct Pull {
    scan: Scan,
    rows: RowSpec,
    access: Way,
    /// For EXPLAIN.
    access_name: &'static str,
    columns: Vec<Column>,
    /// Which columns of the result are the table's key, or bounds of its window.
    keys: Vec<bool>,
    limit: Option<u64>,
    /// Schemas of the records.
    schemas: SharedSchemas,
    /// Decoders and programs that were used and are free.
    workers: Mutex<Vec<Worker>>,
}

#[derive(Debug)]
enum Way {
    Keys(Keys),
    All(KeyRange, WindowBounds),
}

/// Turns records into rows of the result.
#[derive(Debug)]
struct Worker {
    decoder: SourceDecoder,
    writer_ids: WriterIds,
    rows: FilterProjectOperator,
    records: RecordSet,
}

impl Pull {
    /// The query of this plan; `None` = it reads what only the topic has (ROWPARTITION, ROWOFFSET), or is no plain SELECT.
    pub fn new(plan: &PullPlan, pipeline: Pipeline, schemas: &SharedSchemas) -> Result<Option<Pull>> {
        let Pipeline { mut scans, joins, rows, explode, aggregate, .. } = pipeline;
        let plain = joins.is_empty() && explode.is_none() && aggregate.is_none() && scans.len() == 1;
        let Some(scan) = scans.pop().filter(|s| plain && !s.row_partition && !s.row_offset) else { return Ok(None) };
        let mut rows = RowSpec { keep_absent: false, drop_null_values: true, drop_null_keys: false, ..rows };
        if let Some(literals) = &plan.literals {
            // The lookup implies these conditions, also for another key.
            let mut place = 0..;
            rows.keep.retain(|_| place.next().is_some_and(|at| !literals.iter().any(|(implied, _)| *implied == at)));
        }
        let is_key = |slot: Option<&InputColumn>| {
            matches!(slot, Some(InputColumn::Key(_) | InputColumn::WindowStart | InputColumn::WindowEnd))
        };
        let keys = rows.value.iter().map(|p| p.as_column().is_some_and(|c| is_key(rows.slots.get(c)))).collect();
        let access = match &plan.access {
            Access::Keys(list) => Way::Keys(encoded(&scan, list)?),
            Access::Range(range, windows) => {
                let bound = |value: &Option<ScalarValue>| bytes_of(&scan, value.as_ref());
                Way::All(KeyRange::of(&scan.source, bound(&range.0)?, bound(&range.1)?), *windows)
            }
            Access::Scan(windows) => Way::All(KeyRange::ALL, *windows),
        };
        Ok(Some(Pull {
            scan,
            rows,
            access,
            access_name: plan.access.name(),
            columns: plan.columns.clone(),
            keys,
            limit: plan.limit,
            schemas: schemas.clone(),
            workers: Mutex::new(Vec::new()),
        }))
    }

    /// Columns of the result, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Which of them are the table's key, or bounds of its window.
    pub fn keys(&self) -> &[bool] {
        &self.keys
    }

    /// `key lookup`, `key range`, `full scan of state`
    pub fn access(&self) -> &'static str {
        self.access_name
    }

    /// How many keys are looked up; `None` = the table is scanned.
    pub fn lookups(&self) -> Option<usize> {
        match &self.access {
            Way::Keys(keys) => Some(keys.len()),
            Way::All(..) => None,
        }
    }

    /// The keys in the bytes that the view has.
    pub fn encode(&self, keys: &[(Vec<ScalarValue>, WindowBounds)]) -> Result<Keys> {
        encoded(&self.scan, keys)
    }

    /// Types of the key columns.
    pub fn key_types(&self) -> impl Iterator<Item = &SqlType> {
        self.scan.source.schema.key.iter().map(|c| &c.ty)
    }

    /// The windows of the only key that is looked up.
    pub fn windows(&self) -> Option<WindowBounds> {
        match &self.access {
            Way::Keys(keys) => keys.first().filter(|_| keys.len() == 1).map(|(_, windows)| *windows),
            Way::All(..) => None,
        }
    }

    /// Starts the query; `None` = the view is not open. `keys` take the place of the query's own.
    pub fn rows(self: &Arc<Self>, view: &View, keys: Option<&Keys>) -> Result<Option<PullRows>> {
        let mut worker = match self.workers.lock().pop() {
            Some(worker) => worker,
            None => Worker::new(&self.scan, &self.rows, &self.schemas)?,
        };
        let (snapshot, range, windows) = match (&self.access, keys) {
            (Way::Keys(own), keys) => {
                let records = &mut worker.records;
                if !view.find(keys.unwrap_or(own), &mut |found| push(records, found)) {
                    return Ok(None);
                }
                (None, KeyRange::ALL, WindowBounds::ALL)
            }
            (Way::All(range, windows), _) => match view.snapshot() {
                None => return Ok(None),
                snapshot => (snapshot, range.clone(), *windows),
            },
        };
        let left = self.limit.map_or(u64::MAX, |limit| limit);
        Ok(Some(PullRows {
            pull: self.clone(),
            worker: Some(worker),
            snapshot,
            range,
            windows,
            left,
            bad: 0,
            done: false,
        }))
    }
}

/// Bytes of the keys as the sink writes them, each once.
fn encoded(scan: &Scan, keys: &[(Vec<ScalarValue>, WindowBounds)]) -> Result<Keys> {
    let source = &scan.source;
    let column = |at: usize| ScalarValue::iter_to_array(keys.iter().map(|(values, _)| values[at].clone()));
    let columns = (0..source.schema.key.len()).map(column).collect::<Result<Vec<ArrayRef>, _>>()?;
    let (mut data, mut ranges) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::of(Side::key(source))?;
    let refused = encoder.encode(&columns, None, keys.len(), &mut data, &mut ranges)?;
    if let Some((_, bad)) = refused.into_iter().next() {
        return Err(Error::statement("the key cannot be written").with_detail(bad.reason));
    }
    let mut all: BTreeMap<Vec<u8>, WindowBounds> = BTreeMap::new();
    for (range, (_, windows)) in ranges.into_iter().zip(keys) {
        let range = range.ok_or_else(|| Error::bug("a key has no bytes"))?;
        let known = all.entry(data[range].to_vec()).or_insert(*windows);
        *known = known.or(*windows);
    }
    Ok(all.into_iter().collect())
}

/// Bytes of the one key column with this value, where keys are compared by their bytes.
fn bytes_of(scan: &Scan, value: Option<&ScalarValue>) -> Result<Option<Vec<u8>>> {
    let Some(value) = value.filter(|_| scan.source.key_format == Format::Kafka) else { return Ok(None) };
    let keys = encoded(scan, &[(vec![value.clone()], WindowBounds::ALL)])?;
    Ok(keys.into_iter().next().map(|(bytes, _)| bytes))
}

fn push(records: &mut RecordSet, found: FoundRow<'_>) {
    records.push(found.partition, found.timestamp, Some(found.key), Some(found.value));
}

impl Worker {
    fn new(scan: &Scan, rows: &RowSpec, schemas: &SharedSchemas) -> Result<Worker> {
        Ok(Worker {
            decoder: SourceDecoder::new(scan, 0, schemas)?,
            writer_ids: WriterIds::of(&scan.source, schemas),
            rows: FilterProjectOperator::new(rows),
            records: RecordSet::default(),
        })
    }

    /// The rows of the result that the records give; also counts those that cannot be read.
    fn answer(&mut self, bad: &mut u64) -> Result<Vec<ChangeBatch>> {
        let (mut unread, mut out) = (Vec::<BadRecord>::new(), OperatorOutput::default());
        for (at, row) in self.records.rows.iter().enumerate() {
            let record = RecordRef {
                offset: 0,
                timestamp: row.timestamp,
                key: self.records.key(at),
                value: self.records.value(at),
                headers: HeadersRef::None,
            };
            self.writer_ids.resolve_record(&record).map_err(writer_ids::unreachable)?;
            self.decoder.push(&record, at as u64, &mut unread);
        }
        let batches = self.decoder.finish(&mut unread)?;
        self.records.clear();
        for batch in &batches {
            self.rows.step(&[Some(batch)], &mut out)?;
        }
        *bad += unread.len() as u64;
        Ok(out.batches)
    }
}

/// Rows of the result, batch by batch, all of one commit.
#[derive(Debug)]
pub struct PullRows {
    pull: Arc<Pull>,
    worker: Option<Worker>,
    /// What is left of a scan.
    snapshot: Option<Snapshot>,
    range: KeyRange,
    windows: WindowBounds,
    left: u64,
    bad: u64,
    done: bool,
}

impl PullRows {
    /// The query.
    pub fn pull(&self) -> &Arc<Pull> {
        &self.pull
    }

    /// Records that could not be read.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// The next rows, a column of the result each; `None` = there are no more.
    pub fn more(&mut self) -> Result<Option<Vec<ArrayRef>>> {
        let Some(worker) = &mut self.worker else { return Ok(None) };
        let mut columns: Vec<Vec<ArrayRef>> = Vec::new();
        while columns.is_empty() && !self.done && self.left > 0 {
            self.done = match &mut self.snapshot {
                None => true,
                Some(snapshot) => {
                    let records = &mut worker.records;
                    !snapshot.next(SCAN_ROWS, &self.range, &self.windows, &mut |found| push(records, found))
                }
            };
            for batch in worker.answer(&mut self.bad)? {
                let rows = batch.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if rows > 0 {
                    self.left -= rows as u64;
                    columns.push(batch.slice(0, rows).new.columns);
                }
            }
        }
        let mut pieces = columns.into_iter();
        let Some(first) = pieces.next() else {
            self.give_back();
            return Ok(None);
        };
        // Nearly always one; more when the records are huge.
        let mut all = first;
        for piece in pieces {
            for (column, more) in all.iter_mut().zip(piece) {
                *column = arrow::compute::concat(&[column.as_ref(), more.as_ref()])?;
            }
        }
        Ok(Some(all))
    }

    fn give_back(&mut self) {
        if let Some(worker) = self.worker.take().filter(|w| w.decoder.is_empty()) {
            let mut idle = self.pull.workers.lock();
            if idle.len() < IDLE_WORKERS_MAX {
                idle.push(Worker { records: RecordSet::default(), ..worker });
            }
        }
    }
}
