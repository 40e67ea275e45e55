//! The processing log: which records queries skipped and why, as a stream that can be queried like any other.
//!
//! ```sql
//! SELECT TIME, LOGGER, MESSAGE->`TOPIC`, MESSAGE->PARTITION, MESSAGE->OFFSET, MESSAGE->DESERIALIZATIONERROR->ERRORMESSAGE
//! FROM KSQL_PROCESSING_LOG;
//! ```
//!
//! The records have ksqlDB's form (`ProcessingLogMessageSchema`), with topic, partition and offset of the bad record in addition.
//! Topic and stream are created when the first record is skipped, unless `ksql.logging.processing.stream.auto.create` is
//! `false`. A query never waits for this log, and a flood of bad records does not fill the disk: a query logs a bounded number per
//! topic and ten seconds, with the number that it left out, and the topic retains a week, at most 64 MiB. DESCRIBE EXTENDED
//! counts all of them.

use crate::catalog::topics;
use crate::config::Config;
use crate::engine::access::Principal;
use crate::engine::query::persistent::problem_counts::Problems;
use crate::engine::session::Session;
use crate::engine::{Engine, Inner};
use crate::error::{Kind, Result};
use crate::execute::record::source::{BadRecord, Stage};
use crate::log::{RecordSet, TopicSpec};
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The stream's name.
pub const STREAM: &str = "KSQL_PROCESSING_LOG";
/// ksqlDB's property for whether the stream is created.
pub const AUTO_CREATE: &str = "ksql.logging.processing.stream.auto.create";

/// The kind of its thread.
const KIND: &str = "processing-log";
/// Entries of one query about one topic within [`PERIOD`].
const ENTRIES_MAX: u64 = 100;
const PERIOD: Duration = Duration::from_secs(10);
/// Entries in the queue; more are dropped, and counted.
const WAITING_MAX: usize = 1_000;
/// How long closing the engine waits for the last entries.
const FLUSH_WAIT: Duration = Duration::from_secs(2);
/// Longest reason that is recorded.
const REASON_BYTES_MAX: usize = 4_096;
/// The topic's retention.
const RETENTION_MS: i64 = 7 * 24 * 3_600_000;
const RETENTION_BYTES: i64 = 64 << 20;
const SEGMENT_BYTES: i64 = 8 << 20;

/// Accepts skipped records from queries. Cheap to clone; the default discards them.
#[derive(Clone, Debug, Default)]
pub struct ProcessingLog {
    /// `None` = no stream is written.
    outlet: Option<Arc<Outlet>>,
    /// All of them, counted.
    problems: Problems,
    /// `None` in the default.
    clock: Option<SharedClock>,
}

#[derive(Debug)]
struct Outlet {
    sender: SyncSender<Message>,
    clock: SharedClock,
    /// By query and topic.
    budgets: Mutex<BTreeMap<(String, Arc<str>), Budget>>,
}

/// How much of [`ENTRIES_MAX`] is used.
#[derive(Debug, Default)]
struct Budget {
    since: Duration,
    used: u64,
    left_out: u64,
}

#[derive(Debug)]
enum Message {
    /// A record of the log: time and value.
    Entry(i64, Value),
    /// Acknowledged once everything before it is written.
    Flush(SyncSender<()>),
}

/// The receiving end of the queue, until its thread is started.
#[derive(Debug)]
pub(in crate::engine) struct Inlet(Receiver<Message>);

impl ProcessingLog {
    /// The processing log of this configuration; its thread is [`start`]ed once the engine exists.
    pub(in crate::engine) fn new(config: &Config, clock: &SharedClock) -> (ProcessingLog, Option<Inlet>) {
        if config.properties.get(AUTO_CREATE).is_none_or(|v| v != "true") {
            return (ProcessingLog { clock: Some(clock.clone()), ..ProcessingLog::default() }, None);
        }
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let outlet = Outlet { sender, clock: clock.clone(), budgets: Mutex::default() };
        let outlet = Some(Arc::new(outlet));
        let log = ProcessingLog { outlet, problems: Problems::default(), clock: Some(clock.clone()) };
        (log, Some(Inlet(receiver)))
    }

    /// Reports a record that a query skipped.
    pub(in crate::engine) fn skipped(&self, query: &str, record: &BadRecord) {
        if let Some(clock) = &self.clock {
            self.problems.note(query, record, clock.now_ms());
        }
        let Some(outlet) = &self.outlet else { return };
        let (now, time) = (outlet.clock.monotonic(), outlet.clock.now_ms());
        let mut budgets = outlet.budgets.lock();
        let budget = budgets.entry((query.to_owned(), record.topic.clone())).or_default();
        if now.saturating_sub(budget.since) >= PERIOD {
            let before = std::mem::replace(budget, Budget { since: now, ..Budget::default() });
            if before.left_out > 0 {
                let entry = Message::Entry(time, left_out(query, record, before.left_out, time));
                budget.left_out = u64::from(outlet.sender.try_send(entry).is_err()) * before.left_out;
            }
        }
        let entry = || Message::Entry(time, entry(query, record, time));
        if budget.used < ENTRIES_MAX && outlet.sender.try_send(entry()).is_ok() {
            budget.used += 1;
        } else {
            budget.left_out += 1;
        }
    }

    /// Skipped records by query and reason.
    pub(in crate::engine) fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Waits a bounded time until everything accepted is written.
    pub(in crate::engine) fn flush(&self) {
        let Some(outlet) = &self.outlet else { return };
        let (done, is_done) = sync_channel(1);
        if outlet.sender.try_send(Message::Flush(done)).is_ok() {
            // Without a reply the entries are lost, as in a crash.
            let _ = is_done.recv_timeout(FLUSH_WAIT);
        }
    }
}

/// Starts the writing thread. It ends with the engine, and does not keep it alive.
pub(in crate::engine) fn start(inlet: Option<Inlet>, engine: &Arc<Inner>) -> Result<()> {
    let Some(Inlet(receiver)) = inlet else { return Ok(()) };
    let service = engine.config.service_id.clone();
    let engine = Arc::downgrade(engine);
    threads::spawn(KIND, service.clone(), move || {
        let mut is_there = false;
        // A round that panics loses its entries and its flush; queries are not affected.
        threads::rounds(KIND, &service, || write(&receiver, &engine, &mut is_there));
    })?;
    Ok(())
}

/// Writes the queued messages; waits for the first.
fn write(receiver: &Receiver<Message>, engine: &Weak<Inner>, is_there: &mut bool) -> ControlFlow<()> {
    let Ok(first) = receiver.recv() else { return ControlFlow::Break(()) };
    let (mut records, mut flushed) = (RecordSet::default(), Vec::new());
    for message in std::iter::once(first).chain(receiver.try_iter()) {
        match message {
            Message::Entry(time, value) => records.push(0, time, None, Some(value.to_string().as_bytes())),
            Message::Flush(done) => flushed.push(done),
        }
    }
    if !records.is_empty() {
        let Some(inner) = engine.upgrade() else { return ControlFlow::Break(()) };
        let engine = Engine { inner };
        let topic = topics::processing_log(&engine.inner.config.service_id);
        let log = engine.inner.log.clone();
        // Reset first: if this round fails the next one checks again.
        let made = std::mem::take(is_there);
        let written = if made { Ok(()) } else { make(&engine, &topic) };
        match written.and_then(|()| log.append(&topic, &records)) {
            Ok(()) => *is_there = true,
            Err(error) => {
                tracing::warn!(%error, entries = records.len(), "the processing log cannot be written");
            }
        }
    }
    // The caller may have given up.
    flushed.into_iter().for_each(|done| _ = done.try_send(()));
    ControlFlow::Continue(())
}

/// Creates topic and stream where they are missing.
fn make(engine: &Engine, topic: &str) -> Result<()> {
    if engine.inner.log.topic(topic)?.is_none() {
        let spec = TopicSpec::new(topic, 1)
            .with("retention.ms", RETENTION_MS)
            .with("retention.bytes", RETENTION_BYTES)
            .with("segment.bytes", SEGMENT_BYTES);
        match engine.inner.log.create_topic(&spec) {
            // Another process of this service created it first.
            Err(e) if e.kind() == Kind::Statement => {}
            made => drop(made?),
        }
    }
    let statement = format!(
        "CREATE STREAM IF NOT EXISTS {STREAM} (LOGGER STRING, LEVEL STRING, TIME BIGINT, MESSAGE STRUCT<\
         TYPE INT, \
         DESERIALIZATIONERROR STRUCT<TARGET STRING, ERRORMESSAGE STRING, RECORDB64 STRING, CAUSE ARRAY<STRING>, `TOPIC` STRING>, \
         RECORDPROCESSINGERROR STRUCT<ERRORMESSAGE STRING, RECORD STRING, CAUSE ARRAY<STRING>>, \
         PRODUCTIONERROR STRUCT<ERRORMESSAGE STRING>, \
         SERIALIZATIONERROR STRUCT<TARGET STRING, ERRORMESSAGE STRING, RECORD STRING, CAUSE ARRAY<STRING>, `TOPIC` STRING>, \
         KAFKASTREAMSTHREADERROR STRUCT<ERRORMESSAGE STRING, THREADNAME STRING, CAUSE ARRAY<STRING>>, \
         `TOPIC` STRING, PARTITION INT, `OFFSET` BIGINT, REASON STRING, `KEY` STRING, `SIZE` BIGINT>) \
         WITH (KAFKA_TOPIC='{topic}', VALUE_FORMAT='JSON');"
    );
    engine.run(&statement, &mut Session::of(Principal::engine())).map(drop)
}

/// One skipped record.
fn entry(query: &str, record: &BadRecord, time: i64) -> Value {
    let end = record.reason.floor_char_boundary(REASON_BYTES_MAX);
    let reason = &record.reason[..end];
    let place = |mut message: Value| {
        message["topic"] = json!(&*record.topic);
        message["partition"] = json!(record.partition);
        message["offset"] = json!(record.offset);
        message["reason"] = json!(reason);
        message
    };
    let (step, message) = match &record.stage {
        Stage::Decode => {
            let error = json!({ "target": "record", "errorMessage": reason, "cause": [], "topic": &*record.topic });
            ("Source", place(json!({ "type": 0, "deserializationError": error })))
        }
        Stage::Process | Stage::Null => {
            let error = json!({ "errorMessage": reason, "cause": [] });
            ("Process", place(json!({ "type": 1, "recordProcessingError": error })))
        }
        Stage::Produce { key, bytes } => {
            let mut message = place(json!({ "type": 2, "productionError": { "errorMessage": reason } }));
            (message["offset"], message["key"], message["size"]) = (Value::Null, json!(key), json!(bytes));
            ("Sink", message)
        }
    };
    json!({ "level": "ERROR", "logger": format!("processing.{query}.{step}"), "time": time, "message": message })
}

/// The entry for records beyond the budget.
fn left_out(query: &str, record: &BadRecord, count: u64, time: i64) -> Value {
    let reason = format!("{count} more records were skipped and are not listed");
    let message = json!({ "type": 1, "recordProcessingError": { "errorMessage": reason, "cause": [] },
                          "topic": &*record.topic, "reason": reason });
    json!({ "level": "WARN", "logger": format!("processing.{query}.Limit"), "time": time, "message": message })
}
