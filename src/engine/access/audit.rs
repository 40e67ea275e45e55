//! The audit log: who did what, from where, and with which outcome; one JSON object per line.
//!
//! ```text
//! {"time":"2026-11-29T10:00:00.000Z","event":"statement","user":"ada","role":"admin","address":"10.0.0.7:51123",
//!  "kind":"DROP STREAM","statement":"DROP STREAM s","outcome":"done","duration_ms":3}
//! ```
//!
//! It is written to a file (`--audit-log FILE`, mode 0600, reopened when it was rotated) and, on request, to a topic, by a
//! thread behind a bounded queue: a statement waits for a place at most [`WAIT_MAX`]; a lookup, and any other record of a thread
//! that serves connections, does not wait. A record that could not be written is counted, logged at level ERROR, and reported in
//! the audit log itself once that can be written again; the statement is carried out all the same.
//!
//! Statements are recorded verbatim, without data and secrets: the values of INSERT VALUES, of DEFINE and of settings whose name
//! suggests a secret are replaced, and so are the settings of connectors, which hold passwords. Of an unsupported statement only the
//! kind is recorded.

mod ended;
mod text;

pub(in crate::engine) use ended::Recorded;

use crate::config::Config;
use crate::engine::access::{FORBIDDEN, Principal};
use crate::error::{Error, Result};
use crate::log::{Log, RecordSet, TopicSpec};
use crate::parse::statement::Parsed;
use crate::threads;
use crate::types::clock::SharedClock;
use crate::types::temporal::timestamp_text;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "audit-log";
/// Records in the queue: some megabytes with texts of at most 8 KiB.
const WAITING_MAX: usize = 1_000;
/// Records per write.
const AT_ONCE_MAX: usize = 1_000;
/// How long a statement waits for a place in the queue.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Time between two attempts.
const STEP: Duration = Duration::from_millis(2);
/// How long closing the engine waits for the last records.
const FLUSH_WAIT: Duration = Duration::from_secs(2);
/// Failed logins that are recorded within [`PERIOD`]: they need no permission.
const FAILED_LOGINS_MAX: u64 = 100;
const PERIOD: Duration = Duration::from_secs(10);
/// Longest error message, and longest name of a failed login.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Accepts records. Cheap to clone; the default discards them.
#[derive(Clone, Debug, Default)]
pub struct Audit(Option<Arc<Outlet>>);

#[derive(Debug)]
struct Outlet {
    sender: SyncSender<Message>,
    clock: SharedClock,
    /// Records that were not written, since the start.
    lost: Arc<AtomicU64>,
    /// How much of [`FAILED_LOGINS_MAX`] is used: since when, how many, how many were left out.
    failed_logins: Mutex<(Duration, u64, u64)>,
}

#[derive(Debug)]
enum Message {
    /// A record: its time and its line.
    Record(i64, String),
    /// Acknowledged once everything before it is written.
    Flush(SyncSender<()>),
}

impl Audit {
    /// Opens the configured destinations and starts the writing thread; an error if a destination cannot be written.
    pub(in crate::engine) fn open(config: &Config, log: &Arc<dyn Log>, clock: &SharedClock) -> Result<Audit> {
        let (path, topic) = (config.audit_file(), config.audit_topic().map(str::to_owned));
        if path.is_none() && topic.is_none() {
            return Ok(Audit::default());
        }
        let file = path.map(Kept::open).transpose()?;
        if let Some(topic) = &topic
            && log.topic(topic)?.is_none()
        {
            log.create_topic(&TopicSpec::new(topic.as_str(), 1).with("retention.ms", -1))?;
        }
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let lost = Arc::<AtomicU64>::default();
        let outlet = Outlet { sender, clock: clock.clone(), lost: lost.clone(), failed_logins: Mutex::default() };
        let topic = topic.map(|name| (name, Arc::downgrade(log)));
        let label = config.service_id.clone();
        let mut writer = Writer { file, topic, lost, reported: 0, clock: clock.clone(), label: label.clone() };
        threads::spawn(KIND, label, move || writer.run(&receiver))?;
        Ok(Audit(Some(Arc::new(outlet))))
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records that could not be written, since the start.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |outlet| outlet.lost.load(Ordering::Relaxed))
    }

    /// The start time of an action, for its duration.
    pub(in crate::engine) fn begin(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |outlet| outlet.clock.monotonic())
    }

    /// Records a statement that was carried out, denied, or failed. The duration of a query is that of its start; `query` is its id.
    pub(in crate::engine) fn statement(
        &self,
        user: &Principal,
        parsed: &Parsed,
        began: Duration,
        done: Result<Option<&str>, &Error>,
    ) {
        let Some(outlet) = &self.0 else { return };
        let mut record = Map::new();
        record.insert("kind".to_owned(), json!(crate::engine::access::what(&parsed.statement)));
        record.insert("statement".to_owned(), json!(text::recorded(parsed)));
        let data = text::holds_data(&parsed.statement);
        match done {
            Ok(query) => query.into_iter().for_each(|id| _ = record.insert("query".to_owned(), json!(id))),
            Err(e) => failure(&mut record, e, !data),
        }
        outlet.finish(("statement", WAIT_MAX), user, Outcome::of(done.err()), began, record);
    }

    /// Records a lookup that was served from the plan cache.
    pub(in crate::engine) fn lookup(&self, user: &Principal, text: &str, done: Result<(), &Error>) {
        let details = json!({ "kind": "SELECT", "statement": text::shortened(text) });
        self.note("statement", user, details, done);
    }

    /// Records an action that is not a statement: a query that was closed, rows that were written, a request that was denied.
    pub fn note(&self, event: &str, user: &Principal, details: Value, done: Result<(), &Error>) {
        let Some(outlet) = &self.0 else { return };
        let mut record = match details {
            Value::Object(details) => details,
            other => Map::from_iter([("details".to_owned(), other)]),
        };
        if let Err(e) = done {
            failure(&mut record, e, true);
        }
        outlet.finish((event, Duration::ZERO), user, Outcome::of(done.err()), outlet.clock.monotonic(), record);
    }

    /// Records a failed login. Their rate is limited; the number of those left out is recorded.
    pub fn login_failed(&self, name: &str, address: Option<SocketAddr>) {
        let Some(outlet) = &self.0 else { return };
        let mut record = Map::new();
        {
            let now = outlet.clock.monotonic();
            let mut budget = outlet.failed_logins.lock();
            if now.saturating_sub(budget.0) >= PERIOD {
                let left_out = budget.2;
                *budget = (now, 0, 0);
                if left_out > 0 {
                    record.insert("left_out".to_owned(), json!(left_out));
                }
            }
            if budget.1 >= FAILED_LOGINS_MAX {
                budget.2 += 1;
                return;
            }
            budget.1 += 1;
        }
        record.insert("user".to_owned(), json!(cut(name)));
        record.insert("address".to_owned(), json!(address.map(|address| address.to_string())));
        record.insert("outcome".to_owned(), json!("refused"));
        outlet.send(("login", Duration::ZERO), record);
    }

    /// Waits a bounded time until everything accepted is written.
    pub(in crate::engine) fn flush(&self) {
        let Some(outlet) = &self.0 else { return };
        let (done, is_done) = sync_channel(1);
        if outlet.place(Message::Flush(done), WAIT_MAX) {
            let _ = is_done.recv_timeout(FLUSH_WAIT);
        }
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)]
}

/// The outcome of a failed action. A message may quote data.
fn failure(record: &mut Map<String, Value>, error: &Error, with_message: bool) {
    record.insert("code".to_owned(), json!(error.code()));
    if with_message {
        record.insert("message".to_owned(), json!(cut(error.message())));
    }
}

/// What came of an action.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Done,
    /// A permission is missing.
    Refused,
    Failed,
    /// The reader of a query left before its end.
    Closed,
}

impl Outcome {
    fn of(error: Option<&Error>) -> Outcome {
        match error {
            None => Outcome::Done,
            Some(e) if e.code() == FORBIDDEN => Outcome::Refused,
            Some(_) => Outcome::Failed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Closed => "closed",
        }
    }
}

impl Outlet {
    fn finish(
        &self,
        event: (&str, Duration),
        user: &Principal,
        outcome: Outcome,
        began: Duration,
        mut record: Map<String, Value>,
    ) {
        let mut put = |name: &str, value: Value| _ = record.insert(name.to_owned(), value);
        put("user", json!(&*user.name));
        put("role", json!(user.role.name()));
        put("address", json!(user.address.map(|address| address.to_string())));
        put("outcome", json!(outcome.name()));
        let took = self.clock.monotonic().saturating_sub(began);
        put("duration_ms", json!(took.as_millis() as u64));
        self.send(event, record);
    }

    /// `patience` is how long the caller may wait for a place.
    fn send(&self, (event, patience): (&str, Duration), record: Map<String, Value>) {
        let now = self.clock.now_ms();
        if !self.place(Message::Record(now, line(now, event, record)), patience) {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            // The writing thread may hang for long. The first loss is logged, then every power of two.
            if lost.is_power_of_two() {
                tracing::error!(lost, "the audit log does not keep up: records are lost");
            }
        }
    }

    /// False = there was no place in time.
    fn place(&self, mut message: Message, patience: Duration) -> bool {
        let began = self.clock.monotonic();
        loop {
            match self.sender.try_send(message) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if self.clock.monotonic().saturating_sub(began) >= patience => return false,
                Err(TrySendError::Full(back)) => {
                    message = back;
                    self.clock.sleep(STEP);
                }
            }
        }
    }
}

/// A record as it is written: time and event come first.
fn line(now_ms: i64, event: &str, record: Map<String, Value>) -> String {
    let rest = Value::Object(record).to_string();
    format!("{{\"time\":\"{}Z\",\"event\":{},{}", timestamp_text(now_ms), Value::from(event), &rest[1..])
}

/// The writing thread's side.
struct Writer {
    file: Option<Kept>,
    topic: Option<(String, Weak<dyn Log>)>,
    lost: Arc<AtomicU64>,
    /// How many of `lost` were reported.
    reported: u64,
    clock: SharedClock,
    /// The service.
    label: String,
}

impl Writer {
    fn run(&mut self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            let (mut records, mut flushed) = (Vec::new(), Vec::new());
            for message in std::iter::once(first).chain(receiver.try_iter().take(AT_ONCE_MAX - 1)) {
                match message {
                    Message::Record(time, line) => records.push((time, line)),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            let (count, lost) = (records.len() as u64, self.lost.load(Ordering::Relaxed));
            self.tell_lost(lost, &mut records);
            let label = self.label.clone();
            match threads::guard(KIND, &label, || self.write(&records)).flatten() {
                Ok(()) if records.is_empty() => {}
                Ok(()) => self.reported = lost,
                Err(error) => {
                    self.lost.fetch_add(count, Ordering::Relaxed);
                    tracing::error!(%error, records = count, "the audit log cannot be written: records are lost");
                }
            }
            // The caller may have given up.
            flushed.into_iter().for_each(|done| _ = done.try_send(()));
        }
    }

    /// Records the gap in the log itself.
    fn tell_lost(&self, lost: u64, records: &mut Vec<(i64, String)>) {
        if lost > self.reported && !records.is_empty() {
            let (now, count) = (self.clock.now_ms(), lost - self.reported);
            tracing::error!(records = count, "records of the audit log were lost");
            records.insert(0, (now, line(now, "lost", Map::from_iter([("records".to_owned(), json!(count))]))));
        }
    }

    fn write(&mut self, records: &[(i64, String)]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let to_file = self.file.as_mut().map_or(Ok(()), |file| file.write(records));
        let to_topic = match &self.topic {
            None => Ok(()),
            Some((name, log)) => {
                let Some(log) = log.upgrade() else { return to_file };
                let mut set = RecordSet::default();
                records.iter().for_each(|(time, line)| set.push(0, *time, None, Some(line.as_bytes())));
                log.append(name, &set)
            }
        };
        to_file.and(to_topic)
    }
}

/// An append-only file that may be rotated.
struct Kept {
    path: PathBuf,
    file: File,
}

impl Kept {
    fn open(path: PathBuf) -> Result<Kept> {
        let file = create(&path).map_err(|e| {
            Error::io(format!("cannot write the audit log {}", path.display()))
                .with_detail(e.to_string())
                .with_hint("name a file in a folder that this user may write, with --audit-log")
        })?;
        Ok(Kept { path, file })
    }

    fn write(&mut self, records: &[(i64, String)]) -> Result<()> {
        // Rotated, or removed.
        let is_here = |file: &File| {
            let (here, there) = (file.metadata()?, std::fs::metadata(&self.path)?);
            Ok::<_, std::io::Error>((here.dev(), here.ino()) == (there.dev(), there.ino()))
        };
        if !is_here(&self.file).unwrap_or(false) {
            self.file = create(&self.path)?;
        }
        let mut text = String::with_capacity(records.iter().map(|(_, line)| line.len() + 1).sum());
        for (_, line) in records {
            text.push_str(line);
            text.push('\n');
        }
        self.file.write_all(text.as_bytes())?;
        Ok(self.file.sync_data()?)
    }
}

/// A new file is readable by its owner only: statements may be confidential.
fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
