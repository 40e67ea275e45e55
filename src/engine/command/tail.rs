//! The tail of the command log: it reads what follows the replay, and applies it. Where several processes write the log, nothing
//! else changes the catalogue.
//!
//! ```text
//! statement      expect(value) -> append -> wait ------------------------> applied: its record counts
//!                                                                          overtaken: it is planned again
//! the log        ... 6 (another process) | 7 (another process) | 7 (own)
//! tail           apply 6, apply 7: planned again from the record           own 7 does not count: its place is taken
//! ```
//!
//! So a statement may be given to any process. All of them apply the same commands in the same order, and an append needs no
//! transaction: whether it counts follows from its place (`acceptance`).
//!
//! A log that cannot be read is tried again with growing pauses, and is listed among what needs attention. What can never be applied, a
//! command of a newer build or the end of the topic, halts the tail: from then on this process carries out no statement that changes
//! the catalogue, and says why. Queries and everything that reads continue.
//!
//! A log with one process has no tail: its statements apply their own commands.

mod follow;
mod race;

use super::append::bytes;
use super::fold::{Fold, Taken};
use super::mark::Role;
use super::{Command, Prepared};
use crate::config::random_id;
use crate::engine::query::persistent::Query;
use crate::engine::{Drive, Engine};
use crate::error::{Error, Kind, Result};
use crate::log::{Assignment, Fetched, Isolation, Log, Reader, Start, TopicId, TopicPartition};
use crate::types::clock::SharedClock;
use follow::Follower;
use parking_lot::{Condvar, Mutex};
use race::Race;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a statement waits until its process has read the log to its end, before and after its append.
const CATCH_UP_WAIT: Duration = Duration::from_secs(10);
/// Records per poll.
const POLL_RECORDS: usize = 1_000;
/// How long a poll waits where the caller reads himself.
const PUMP_WAIT: Duration = Duration::from_millis(100);

/// The tail of a process.
#[derive(Debug)]
pub(in crate::engine) struct Tail {
    log: Arc<dyn Log>,
    clock: SharedClock,
    topic: String,
    /// The topic's identity: another one of the same name is another service's history.
    id: TopicId,
    /// This process, in its commands.
    process: String,
    /// Who holds it reads and applies.
    reading: Mutex<Reading>,
    progress: Mutex<Progress>,
    /// `progress` has changed, or the tail was halted.
    changed: Condvar,
    /// Why nothing is applied any more.
    halted: OnceLock<Error>,
    /// Ends a poll of the present reader.
    waker: Mutex<Option<Waker>>,
    /// The thread; `None` with [`Drive::ByHand`], and before it is started.
    follower: Mutex<Option<Follower>>,
}

/// Ends a poll.
struct Waker(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

#[derive(Debug)]
struct Reading {
    /// `None` = to be opened at the position.
    reader: Option<Box<dyn Reader>>,
    fold: Fold,
}

/// How far the tail is.
#[derive(Debug)]
struct Progress {
    /// Offset of the first record that is not applied.
    position: i64,
    /// What a statement waits for. There is one at a time: it holds the DDL lock.
    awaited: Option<Awaited>,
    /// Why the log cannot be read at the moment, and since when, milliseconds since 1970.
    trouble: Option<(String, i64)>,
    /// Processes that lose the race for a place again and again.
    race: Race,
    /// Records that were neither commands nor anything else of this service.
    skipped: u64,
}

/// A record that a statement waits for.
#[derive(Debug)]
struct Awaited {
    value: Vec<u8>,
    /// Its place; that of the end of the service is behind all.
    sequence: u64,
    prepared: Option<Prepared>,
    outcome: Option<Outcome>,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::engine) enum Outcome {
    /// It counts and is applied; the queries that it ended, which still run.
    Applied(Vec<Arc<Query>>),
    /// Another process was faster.
    Overtaken,
}

impl Progress {
    /// What is waited for, if it is a record with this value.
    fn own(&mut self, value: &[u8]) -> Option<&mut Awaited> {
        self.awaited.as_mut().filter(|awaited| awaited.outcome.is_none() && awaited.value == value)
    }
}

impl Tail {
    /// The tail of a log that was replayed up to `offset`.
    pub(in crate::engine) fn new(
        (log, clock): (Arc<dyn Log>, SharedClock),
        topic: String,
        fold: Fold,
        offset: i64,
    ) -> Result<Arc<Tail>> {
        let found = log.topic(&topic)?.ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
        let (reading, process) = (Reading { reader: None, fold }, format!("{:032x}", random_id()?));
        let progress = Progress { position: offset, awaited: None, trouble: None, race: Race::default(), skipped: 0 };
        Ok(Arc::new(Tail {
            log,
            clock,
            topic,
            id: found.id,
            process,
            reading: Mutex::new(reading),
            progress: Mutex::new(progress),
            changed: Condvar::new(),
            halted: OnceLock::new(),
            waker: Mutex::new(None),
            follower: Mutex::new(None),
        }))
    }

    /// This process, as its commands name it.
    pub(in crate::engine) fn process(&self) -> String {
        self.process.clone()
    }

    /// Why the log cannot be read at the moment, and since when.
    pub(in crate::engine) fn trouble(&self) -> Option<(String, i64)> {
        self.progress.lock().trouble.clone()
    }

    /// Records that were skipped since the replay.
    pub(in crate::engine) fn skipped(&self) -> u64 {
        self.progress.lock().skipped
    }

    /// An error once nothing is applied any more.
    pub(in crate::engine) fn check(&self) -> Result<()> {
        self.halted.get().map_or(Ok(()), |why| Err(why.without_cause()))
    }

    /// Ends the tail for a reason that a later try would not mend.
    fn halt(&self, why: Error) {
        if self.halted.get().is_none() {
            tracing::error!(topic = self.topic, error = %why, "the command log is not followed any more");
        }
        // Under the lock, so that who has just checked is woken.
        let progress = self.progress.lock();
        let _ = self.halted.set(why);
        drop(progress);
        self.changed.notify_all();
    }

    /// The offset behind the last record of the log.
    fn end(&self) -> Result<i64> {
        self.log.end(&TopicPartition::new(self.topic.as_str(), 0))
    }

    fn poll(&self, reading: &mut Reading, wait: Duration) -> Result<Fetched> {
        let reader = match &mut reading.reader {
            Some(reader) => reader,
            None => {
                let start = Start::Offset(self.progress.lock().position);
                let from = Assignment { topic: self.topic.as_str().into(), partition: 0, start };
                let reader = reading.reader.insert(self.log.reader(vec![from], Isolation::ReadCommitted)?);
                *self.waker.lock() = Some(Waker(reader.waker()));
                reader
            }
        };
        reader.poll(POLL_RECORDS, wait)
    }

    fn wake(&self) {
        if let Some(Waker(wake)) = &*self.waker.lock() {
            wake();
        }
    }

    /// Whether a statement that begins should give way to other processes, which were overtaken again and again.
    pub(in crate::engine) fn gives_way(&self) -> bool {
        self.progress.lock().race.is_unfair(&self.process, self.clock.monotonic())
    }

    /// Applies what was read.
    fn take(&self, engine: &Engine, reading: &mut Reading, fetched: &Fetched) -> Result<()> {
        let mut all: Vec<(i64, Vec<u8>, Result<Taken>)> = Vec::with_capacity(fetched.len());
        for run in fetched.runs() {
            run.for_each(|record| {
                let value = record.value.unwrap_or_default().to_vec();
                all.push((record.offset, value, reading.fold.take(&self.topic, &record)));
            });
        }
        engine.inner.commands.adopt(&reading.fold);
        for (offset, value, taken) in all {
            self.apply(engine, &value, taken?, offset)?;
            self.progress.lock().position = offset + 1;
        }
        // Behind the records there may be gaps.
        let reached = reading.reader.as_ref().map_or(0, |reader| reader.position(0));
        let mut progress = self.progress.lock();
        progress.position = progress.position.max(reached);
        drop(progress);
        self.changed.notify_all();
        Ok(())
    }

    fn apply(&self, engine: &Engine, value: &[u8], taken: Taken, offset: i64) -> Result<()> {
        match taken {
            Taken::Nothing => {}
            Taken::Command(recorded) => {
                let (is_own, prepared) = self.claim(value);
                self.progress.lock().race.won(recorded.command.process.as_deref());
                let ended = engine.apply(&recorded, prepared);
                match is_own {
                    true => self.decide(Outcome::Applied(ended)),
                    false => {
                        engine.follow_up(&recorded.command, ended);
                        self.overtake(recorded.command.sequence);
                    }
                }
            }
            Taken::Overtaken(process) => {
                let now = self.clock.monotonic();
                self.progress.lock().race.lost(process, now);
                self.reject(value);
            }
            Taken::Skipped(reason) => {
                self.progress.lock().skipped += 1;
                tracing::warn!(topic = self.topic, offset, reason, "skipped a record of the command log");
                self.reject(value);
            }
            Taken::Removal(removal) if removal.offsets.is_empty() => {}
            Taken::Removal(_) => return Err(removed()),
            Taken::End => {
                let (is_own, _) = self.claim(value);
                let ended = engine.end_here();
                match is_own {
                    true => self.decide(Outcome::Applied(ended)),
                    false => ended.into_iter().for_each(|query| engine.stop_query(query)),
                }
                return engine.check_alive();
            }
        }
        Ok(())
    }

    /// Whether a record is the awaited one, with what was made ready for it.
    fn claim(&self, value: &[u8]) -> (bool, Option<Prepared>) {
        match self.progress.lock().own(value) {
            Some(awaited) => (true, awaited.prepared.take()),
            None => (false, None),
        }
    }

    fn decide(&self, outcome: Outcome) {
        if let Some(awaited) = &mut self.progress.lock().awaited {
            awaited.outcome = Some(outcome);
        }
        self.changed.notify_all();
    }

    /// The place of a command is taken: is it the one that is waited for?
    fn overtake(&self, sequence: u64) {
        let is_over = |awaited: &&mut Awaited| awaited.outcome.is_none() && awaited.sequence <= sequence;
        if let Some(awaited) = self.progress.lock().awaited.as_mut().filter(is_over) {
            awaited.outcome = Some(Outcome::Overtaken);
        }
        self.changed.notify_all();
    }

    /// A record does not count: is it the one that is waited for?
    fn reject(&self, value: &[u8]) {
        if let Some(awaited) = self.progress.lock().own(value) {
            awaited.outcome = Some(Outcome::Overtaken);
        }
        self.changed.notify_all();
    }

    /// Takes the outcome, or what was made ready if there is none: the statement does not wait any more.
    fn leave(&self) -> Option<Outcome> {
        // Dropped after the lock is released: a query that was made ready ends.
        let awaited = self.progress.lock().awaited.take();
        awaited.and_then(|awaited| awaited.outcome)
    }

    /// The error of one who has waited too long.
    fn behind(&self) -> Error {
        let error = Error::new(Kind::Busy, "this process has not read the command log to its end in time");
        let error = match self.trouble() {
            Some((trouble, _)) => error.with_detail(trouble),
            None => error.with_detail(format!("topic {}", self.topic)),
        };
        error.with_hint("try again; if it lasts, check that the brokers respond")
    }
}

impl Engine {
    /// Applies all commands that other processes have recorded so far. Waits a bounded time for the thread that does so, or does it
    /// itself with [`Drive::ByHand`].
    pub fn read_commands(&self) -> Result<()> {
        let Some(tail) = &self.inner.tail else { return Ok(()) };
        tail.check()?;
        let end = tail.end()?;
        self.read_until(tail, |progress| progress.position >= end)
    }

    /// Appends a command and waits until it is applied, or overtaken by that of another process.
    pub(in crate::engine) fn append_shared(
        &self,
        tail: &Tail,
        command: &Command,
        prepared: Option<Prepared>,
    ) -> Result<Outcome> {
        let value = bytes(command)?;
        let sent = || self.inner.commands.send(&*self.inner.log, command, &value, self.inner.clock.now_ms());
        self.expect(tail, (value.as_slice(), command.sequence), prepared, sent)
    }

    /// Records the end of the service, and waits until it is applied here.
    pub(in crate::engine) fn append_end(&self, tail: &Tail) -> Result<Vec<Arc<Query>>> {
        let value = format!("{{\"process\":\"{}\"}}", tail.process()).into_bytes();
        let now_ms = self.inner.clock.now_ms();
        let sent = || self.inner.commands.write_marked(&*self.inner.log, Role::End, "end", &value, now_ms);
        match self.expect(tail, (value.as_slice(), u64::MAX), None, sent)? {
            Outcome::Applied(ended) => Ok(ended),
            Outcome::Overtaken => Err(Error::bug("the end of a service has no place that could be taken")),
        }
    }

    fn expect(
        &self,
        tail: &Tail,
        (value, sequence): (&[u8], u64),
        prepared: Option<Prepared>,
        send: impl FnOnce() -> Result<()>,
    ) -> Result<Outcome> {
        let awaited = Awaited { value: value.to_vec(), sequence, prepared, outcome: None };
        tail.progress.lock().awaited = Some(awaited);
        let decided = |progress: &Progress| progress.awaited.as_ref().is_none_or(|awaited| awaited.outcome.is_some());
        let waited = match send() {
            Ok(()) => self.read_until(tail, decided),
            // Not confirmed: it has succeeded if it is there all the same. If it arrives later, it counts as another process's.
            Err(error) => match self.read_commands() {
                Ok(()) if decided(&tail.progress.lock()) => Ok(()),
                // The error of the append says more than that of the attempt to look.
                Ok(()) | Err(_) => Err(error),
            },
        };
        match tail.leave() {
            Some(outcome) => Ok(outcome),
            None => {
                waited?;
                Err(Error::bug("the outcome of a command was lost"))
            }
        }
    }

    /// Waits until the tail has come so far.
    fn read_until(&self, tail: &Tail, is_reached: impl Fn(&Progress) -> bool) -> Result<()> {
        let deadline = self.inner.clock.monotonic() + CATCH_UP_WAIT;
        if self.inner.drive == Drive::ByHand {
            let mut reading = tail.reading.lock();
            while !is_reached(&tail.progress.lock()) {
                tail.look();
                tail.check()?;
                let fetched = tail.read(&mut reading, PUMP_WAIT)?;
                tail.take_all(self, &mut reading, &fetched)?;
                if self.inner.clock.monotonic() > deadline {
                    return Err(tail.behind());
                }
            }
            return Ok(());
        }
        let mut progress = tail.progress.lock();
        while !is_reached(&progress) {
            tail.check()?;
            let left = deadline.saturating_sub(self.inner.clock.monotonic());
            if left.is_zero() {
                drop(progress);
                return Err(tail.behind());
            }
            tail.changed.wait_for(&mut progress, left);
        }
        Ok(())
    }
}

/// The error for a command that was removed from the log after it was applied here.
fn removed() -> Error {
    Error::new(Kind::Busy, "tidegate repair has removed commands while this process was running")
        .with_detail("its catalogue has what they did; that of a process that starts now has not")
        .with_hint("restart tidegate: it replays the command log")
}
