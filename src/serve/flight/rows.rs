//! Rows on their way to a client: batches from the engine as they are, in the messages of Arrow Flight.
//!
//! ```text
//! thread of the query --batches, at most QUEUED_BATCHES--> encoder --FlightData--> HTTP/2 stream
//! ```
//!
//! Small batches that arrive within [`GATHERED_FOR`] are sent as one, so that a push query costs no message per row and
//! delays none noticeably. A client that takes nothing for `READER_PATIENCE` is dropped; one that leaves ends its query.
//! Only a result that was completed ends with status OK.

use super::handles::Running;
use super::statement::Started;
use super::{Messages, schema, status};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::{Error, Kind, Result};
use crate::serve::limits::{READER_PATIENCE, STREAMS_MAX};
use crate::serve::stream::Listed;
use crate::serve::{App, REQUEST, on_thread, stopping};
use crate::threads;
use crate::types::cell;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

/// Rows of a message.
const ROWS_MAX: usize = 8_192;
/// How long rows wait for others to be sent together with them.
const GATHERED_FOR: Duration = Duration::from_millis(50);
/// How often a thread that waits looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);
/// Batches between the thread and the encoder: one that is encoded, and one that is ready.
const QUEUED_BATCHES: usize = 2;

/// What goes from the thread to the encoder. A channel that closes without `End` was left by a thread that failed, or that had a
/// client which does not read.
enum Item {
    Batch(RecordBatch),
    Failed(Status),
    End,
}

/// Why a result ends early.
enum Early {
    /// The reason goes to the client.
    Failed(Status),
    /// The client has left.
    Gone,
    /// The client does not read.
    Stuck,
}

/// The messages of a batch that is there already.
pub(super) fn of_batch(batch: RecordBatch) -> Messages<FlightData> {
    let builder = FlightDataEncoderBuilder::new().with_schema(batch.schema());
    let batches = (batch.num_rows() > 0).then_some(Ok(batch));
    builder.build(stream::iter(batches)).map_err(Status::from).boxed()
}

/// The messages of a result.
pub(super) fn of_started(app: &Arc<App>, started: Started, running: Running) -> Result<Messages<FlightData>, Status> {
    let (rows, with_op) = match started {
        Started::Table(batch) => return Ok(of_batch(batch)),
        Started::Rows { rows, with_op } => (rows, with_op),
    };
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        let error = Error::new(Kind::Busy, format!("the limit of {STREAMS_MAX} streamed results is reached"));
        status::of(&error.with_hint("close one of them"), None)
    })?;
    let schema = schema(rows.columns(), with_op);
    let builder = FlightDataEncoderBuilder::new().with_schema(schema.clone());
    let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
    let stuck = Arc::<AtomicBool>::default();
    let bounded = rows.is_bounded();
    let held = app.stopping.answer(bounded);
    let (app, is_stuck) = (app.clone(), stuck.clone());
    on_thread(move || {
        let pump = Pump { app: &app, running: &running, sender, stuck: &is_stuck, schema, with_op, bounded };
        pump.run(rows);
        drop((permit, held));
    })
    .map_err(|busy| status::of(&busy, None))?;
    let batches = stream::unfold(Some((receiver, stuck)), |channel| async move {
        let (mut receiver, stuck) = channel?;
        match receiver.recv().await {
            Some(Item::Batch(batch)) => Some((Ok(batch), Some((receiver, stuck)))),
            Some(Item::End) => None,
            Some(Item::Failed(status)) => Some((Err(FlightError::from(status)), None)),
            None => Some((Err(FlightError::from(cut_off(stuck.load(Ordering::Acquire)))), None)),
        }
    });
    // The schema leaves at once, before there is a row.
    Ok(builder.build(batches).map_err(Status::from).boxed())
}

/// The status of a result whose end could not be put into the channel.
fn cut_off(is_stuck: bool) -> Status {
    match is_stuck {
        true => Status::resource_exhausted(format!(
            "the client did not read for {} s, so that the query was ended",
            READER_PATIENCE.as_secs()
        )),
        false => Status::internal("the result was cut off"),
    }
}

/// Pulls rows and sends them until the query ends, the client leaves, the result is closed or the server stops.
struct Pump<'a> {
    app: &'a App,
    running: &'a Running,
    sender: mpsc::Sender<Item>,
    /// Set before the channel closes, where the client does not read.
    stuck: &'a AtomicBool,
    schema: SchemaRef,
    with_op: bool,
    /// The rows end by themselves.
    bounded: bool,
}

impl Pump<'_> {
    fn run(&self, mut rows: Box<dyn RowStream>) {
        let listed = Listed::new(self.app, rows.id());
        let ended = threads::guard(REQUEST, "", || self.rows(&mut *rows, &listed));
        let last = match ended {
            Ok(Ok(())) => Item::End,
            Ok(Err(Early::Failed(status))) => Item::Failed(status),
            Ok(Err(Early::Gone)) => return,
            Ok(Err(Early::Stuck)) => {
                self.stuck.store(true, Ordering::Release);
                self.app.counters.dropped.fetch_add(1, Ordering::Relaxed);
                let query = rows.id().unwrap_or("a query without an id");
                tracing::warn!(query, "dropped slow client");
                return;
            }
            Err(panic) => Item::Failed(status::of(&panic, None)),
        };
        // The query has ended: its client does not keep it.
        drop(rows);
        let _ = self.send(last, &|| None);
    }

    /// Sends all rows.
    fn rows(&self, rows: &mut dyn RowStream, listed: &Listed<'_>) -> Result<(), Early> {
        let clock = self.app.engine.clock();
        let over = || self.over(listed);
        let mut waiting: Vec<RecordBatch> = Vec::new();
        let (mut count, mut since) = (0, Duration::ZERO);
        loop {
            if let Some(over) = over() {
                return over.map_err(Early::Failed);
            }
            let left = match waiting.is_empty() {
                true => LOOK,
                false => GATHERED_FOR.saturating_sub(clock.monotonic().saturating_sub(since)),
            };
            let event = rows.next(left).map_err(|error| Early::Failed(status::of(&error, None)))?;
            let is_done = matches!(event, RowEvent::Done(_));
            if let RowEvent::Rows { columns, tombstones } = event {
                let batch = self.batch(&columns, rows.columns(), &tombstones);
                let batch = batch.map_err(|error| Early::Failed(status::of(&error, None)))?;
                if batch.num_rows() > 0 {
                    if waiting.is_empty() {
                        since = clock.monotonic();
                    }
                    count += batch.num_rows();
                    waiting.push(batch);
                }
            } else if self.sender.is_closed() {
                return Err(Early::Gone);
            }
            let is_time = clock.monotonic().saturating_sub(since) >= GATHERED_FOR;
            if !waiting.is_empty() && (is_done || is_time || count >= ROWS_MAX) {
                self.flush(&std::mem::take(&mut waiting), rows, &over)?;
                count = 0;
            }
            if is_done {
                return Ok(());
            }
        }
    }

    /// How the result is to end now, if so. A push query that is closed has no other end; a part of a bounded result is not to
    /// be mistaken for the whole.
    fn over(&self, listed: &Listed<'_>) -> Option<Result<(), Status>> {
        if self.app.stopping.ends(self.bounded) {
            return Some(Err(status::of(&stopping::error(), None)));
        }
        if self.running.closed.load(Ordering::Acquire) {
            return Some(Err(Status::cancelled("the query was cancelled")));
        }
        let is_closed = listed.closed.load(Ordering::Acquire);
        is_closed.then(|| if self.bounded { Err(Status::cancelled("the query was closed")) } else { Ok(()) })
    }

    /// The rows as a batch of the schema that was announced.
    fn batch(&self, columns: &[ArrayRef], described: &[OutputColumn], tombstones: &[bool]) -> Result<RecordBatch> {
        let mut settled: Vec<ArrayRef> =
            columns.iter().zip(described).map(|(column, described)| cell::settled(column, &described.ty)).collect();
        let is_deleted = |row: usize| tombstones.get(row).is_some_and(|deleted| *deleted);
        let length = columns.first().map_or(0, |column| column.len());
        if self.with_op {
            let ops: StringArray =
                (0..length).map(|row| Some(if is_deleted(row) { "delete" } else { "upsert" })).collect();
            settled.insert(0, Arc::new(ops));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), settled)?;
        if self.with_op || !tombstones.contains(&true) {
            return Ok(batch);
        }
        let kept: BooleanArray = (0..length).map(|row| Some(!is_deleted(row))).collect();
        Ok(filter_record_batch(&batch, &kept)?)
    }

    fn flush(
        &self,
        waiting: &[RecordBatch],
        rows: &dyn RowStream,
        over: &dyn Fn() -> Option<Result<(), Status>>,
    ) -> Result<(), Early> {
        let batch = match waiting {
            [one] => one.clone(),
            many => concat_batches(&self.schema, many)
                .map_err(|error| Early::Failed(status::of(&Error::from(error), None)))?,
        };
        let mut from = 0;
        while from < batch.num_rows() {
            let part = batch.slice(from, ROWS_MAX.min(batch.num_rows() - from));
            from += part.num_rows();
            let bytes = part.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
            rows.sent(bytes.sum());
            self.send(Item::Batch(part), over)?;
        }
        Ok(())
    }

    /// Waits for room in the channel; `over` is asked meanwhile.
    fn send(&self, item: Item, over: &dyn Fn() -> Option<Result<(), Status>>) -> Result<(), Early> {
        let clock = self.app.engine.clock();
        let begun = clock.monotonic();
        loop {
            // A permit, so that the item stays here while there is no room.
            match Handle::current().block_on(timeout(LOOK, self.sender.reserve())) {
                Ok(Ok(room)) => {
                    room.send(item);
                    return Ok(());
                }
                Ok(Err(_)) => return Err(Early::Gone),
                Err(_) => {}
            }
            if clock.monotonic().saturating_sub(begun) > READER_PATIENCE {
                return Err(Early::Stuck);
            }
            if let Some(Err(status)) = over() {
                return Err(Early::Failed(status));
            }
        }
    }
}
