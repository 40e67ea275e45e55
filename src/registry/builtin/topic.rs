//! The topic `_schemas`: read from its beginning to its end, and followed from there.
//!
//! ```text
//! read     state older than a second, or something is missing -> read on to the end of the topic -> respond
//! write    lock -> read on to the end -> plan -> append -> read on, over what was appended -> respond
//! ```
//!
//! Another process may write to the same topic. It shows when the end is read: what it wrote before ours counts first
//! (`store`), and a registration that lost its id that way is planned again.
//!
//! The lock of the writers is held across calls of the log, as the lock of statements is (`engine::ddl::lock`): a plan has to
//! hold until its records are there. Readers never wait for it, unless something is missing.

use super::record::Record;
use super::store::Store;
use crate::config::random_id;
use crate::log::{Assignment, Isolation, Log, Reader, RecordSet, Start, TopicId, TopicPartition, TopicSpec};
use crate::registry::{RegistryError, Result};
use crate::types::clock::SharedClock;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::Duration;

/// The name of the topic, as in Confluent's registry.
pub const TOPIC: &str = "_schemas";
/// Age of the state from which on a reader looks for new records: other processes rarely write.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// The same where something was not found: it may have been registered elsewhere just now.
const FRESH_FOR_MISSING: Duration = Duration::from_millis(100);
/// How long reading to the end may take: a full topic of a busy broker takes seconds.
const READ_WAIT: Duration = Duration::from_secs(20);
/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// Records per poll.
const POLL_RECORDS: usize = 1_000;
/// How long a change waits for those before it.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Plans of one change; each further one means that another process assigned the same id at the same moment. One that registers
/// many schemas in a row may win most of these races.
const ATTEMPTS_MAX: u64 = 100;
/// Longest pause before another plan: a random one, so that two processes do not stay in step.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// State and topic.
#[derive(Debug)]
pub(super) struct Topic {
    log: Arc<dyn Log>,
    clock: SharedClock,
    store: RwLock<Store>,
    tail: Mutex<Tail>,
    /// When the end was read last.
    read_at: Mutex<Option<Duration>>,
}

/// What reads the topic.
#[derive(Debug, Default)]
struct Tail {
    reader: Option<(TopicId, Box<dyn Reader>)>,
}

impl Topic {
    pub(super) fn new(log: Arc<dyn Log>, clock: SharedClock) -> Topic {
        let (store, tail, read_at) = Default::default();
        Topic { log, clock, store, tail, read_at }
    }

    /// Runs a query over the state.
    pub(super) fn read<T>(&self, query: impl Fn(&Store) -> Result<T>) -> Result<T> {
        let age = self.age();
        if age.is_none() {
            self.refresh(&mut *self.lock()?)?;
        } else if age.is_some_and(|age| age >= FRESH_FOR)
            && let Some(mut tail) = self.tail.try_lock()
        {
            self.refresh(&mut tail)?;
        }
        match query(&self.store.read()) {
            Err(e) if e.is_missing() && self.age().is_none_or(|age| age >= FRESH_FOR_MISSING) => {}
            result => return result,
        }
        self.refresh(&mut *self.lock()?)?;
        query(&self.store.read())
    }

    /// Carries out a change: what it yields, and the records that make it; none = it has been made already.
    pub(super) fn change<T>(&self, plan: impl Fn(&Store) -> Result<(T, Vec<Record>)>) -> Result<T> {
        let mut tail = self.lock()?;
        self.refresh(&mut tail)?;
        let (result, records) = plan(&self.store.read())?;
        self.append(&mut tail, &records)?;
        Ok(result)
    }

    /// The same for a change that is planned again until there is nothing left to write.
    pub(super) fn settle<T>(&self, plan: impl Fn(&Store) -> Result<(T, Vec<Record>)>) -> Result<T> {
        let mut tail = self.lock()?;
        self.refresh(&mut tail)?;
        for attempt in 0..ATTEMPTS_MAX {
            // The first plan is written, the second one finds that it counts.
            if attempt > 1 {
                self.clock.sleep(pause(attempt)?);
            }
            let (result, records) = plan(&self.store.read())?;
            if records.is_empty() {
                return Ok(result);
            }
            self.append(&mut tail, &records)?;
        }
        Err(RegistryError::Unreachable(format!("another process keeps writing to {TOPIC} at the same time")))
    }

    fn lock(&self) -> Result<parking_lot::MutexGuard<'_, Tail>> {
        let busy = || RegistryError::Unreachable(format!("{TOPIC} is busy with another change"));
        self.tail.try_lock_for(LOCK_WAIT).ok_or_else(busy)
    }

    fn age(&self) -> Option<Duration> {
        self.read_at.lock().map(|at| self.clock.monotonic().saturating_sub(at))
    }

    fn append(&self, tail: &mut Tail, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if tail.reader.is_none() {
            let spec = TopicSpec::new(TOPIC, 1).with("cleanup.policy", "compact");
            // Another process may have created it in between.
            if let Err(e) = self.log.create_topic(&spec)
                && self.log.topic(TOPIC).map_err(failed)?.is_none()
            {
                return Err(failed(e));
            }
        }
        let now_ms = self.clock.now_ms();
        let mut set = RecordSet::default();
        for record in records {
            let (key, value) = record.write();
            set.push(0, now_ms, Some(key.as_bytes()), value.as_deref().map(str::as_bytes));
        }
        self.log.append(TOPIC, &set).map_err(failed)?;
        self.refresh(tail)
    }

    /// Reads to the end of the topic. A topic that was deleted, or deleted and created again, is read from its beginning.
    fn refresh(&self, tail: &mut Tail) -> Result<()> {
        let identity = self.log.identities(&[TOPIC]).map_err(failed)?.into_iter().next().flatten();
        let Some(identity) = identity else {
            if tail.reader.take().is_some() {
                *self.store.write() = Store::default();
            }
            *self.read_at.lock() = Some(self.clock.monotonic());
            return Ok(());
        };
        if identity.partitions != 1 {
            let found = identity.partitions;
            return Err(RegistryError::Unreachable(format!("{TOPIC} has {found} partitions, and needs exactly 1")));
        }
        if tail.reader.as_ref().is_none_or(|(id, _)| *id != identity.id) {
            let all = Assignment { topic: TOPIC.into(), partition: 0, start: Start::Earliest };
            let reader = self.log.reader(vec![all], Isolation::ReadUncommitted).map_err(failed)?;
            *self.store.write() = Store::default();
            tail.reader = Some((identity.id, reader));
        }
        self.follow(tail)
    }

    fn follow(&self, tail: &mut Tail) -> Result<()> {
        let Some((_, reader)) = &mut tail.reader else { return Ok(()) };
        let end = self.log.watermarks(&TopicPartition::new(TOPIC, 0)).map_err(failed)?.high;
        let deadline = self.clock.monotonic() + READ_WAIT;
        while reader.position(0) < end {
            if self.clock.monotonic() > deadline {
                let trouble = reader.trouble().unwrap_or_else(|| "no records arrive".to_owned());
                return Err(RegistryError::Unreachable(format!("{TOPIC} cannot be read to its end: {trouble}")));
            }
            let fetched = reader.poll(POLL_RECORDS, POLL_WAIT).map_err(failed)?;
            let mut store = self.store.write();
            for run in fetched.runs() {
                run.for_each(|record| {
                    let key = record.key.unwrap_or_default();
                    let read = Record::read(key, record.value).and_then(|record| match record {
                        Some(record) => store.apply(record),
                        None => Ok(()),
                    });
                    if let Err(reason) = read {
                        let offset = record.offset;
                        tracing::warn!(topic = TOPIC, offset, reason, "a record of the schema registry is ignored");
                    }
                });
            }
        }
        *self.read_at.lock() = Some(self.clock.monotonic());
        Ok(())
    }
}

/// The pause before an attempt: a random one of up to as many milliseconds as there were attempts.
fn pause(attempt: u64) -> Result<Duration> {
    let longest = Duration::from_millis(attempt).min(PAUSE_MAX);
    let part = random_id().map_err(failed)? % 1_000;
    Ok(longest * part as u32 / 1_000)
}

fn failed(error: crate::error::Error) -> RegistryError {
    RegistryError::Unreachable(error.to_string())
}
