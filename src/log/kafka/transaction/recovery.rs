//! Resolving a failed commit (K9).
//!
//! The steps are the same whatever the error was: make the coordinator current, look whether the query is still ours, initialize
//! a new producer, which decides the old transaction, read the commit metadata, and commit it again with our name.

use super::fence::taken_over;
use super::unknown_outcome::{CommittedBy, Deliveries, UnknownOutcome, Verdict};
use super::{Failure, KafkaWriter, Offsets, PAUSE_MAX, PAUSE_MIN, STABLE_WAIT};
use crate::error::{Error, Kind, Result};
use crate::log::kafka::client::failed_with;
use crate::log::kafka::commit_metadata::CommitMetadata;
use crate::log::kafka::topics::REQUEST_TIMEOUT;
use crate::log::{CommitOutcome, Epoch, TopicPartition};
use rdkafka::TopicPartitionList;
use std::collections::BTreeMap;
use std::time::Duration;

/// K9: how long a failed commit is resolved before the writer ends with an error.
const RESOLVE_WAIT: Duration = Duration::from_secs(300);
/// K10: interval of reading back the last commit.
const CHECK_PAUSE: Duration = Duration::from_secs(5);
/// K10: timeout of reading it back; a timeout proves nothing.
const CHECK_WAIT: Duration = Duration::from_secs(1);
/// K10: how long a broker may return an older commit before the last one counts as lost.
const STALE_WAIT: Duration = Duration::from_secs(15);

impl KafkaWriter {
    /// The committed offsets of the tasks, whether or not a transaction contains newer ones.
    pub(super) fn pending_tasks(&self) -> Result<TopicPartitionList> {
        let read = self.log.last_offsets(&self.spec.group, &self.task_list(), REQUEST_TIMEOUT);
        read.map_err(|code| failed_with("read the committed tasks", code))
    }

    /// Why committed offsets cannot be read: the broker is unreachable, or a transaction stays pending. Our own ones have been
    /// ended by the new producers, so either the broker has forgotten one (see [`super::hanging_transactions`]) or another
    /// client holds one open. Whether that is to be committed or aborted cannot be decided here.
    pub(super) fn explain_pending_offsets(&self, error: Error) -> Error {
        if self.pending_tasks().is_err() {
            return error;
        }
        let (group, seconds) = (&self.spec.group, STABLE_WAIT.as_secs());
        Error::io(format!("offsets of group {group} have been pending for {seconds} s"))
            .with_detail("a transaction wrote them, and the broker does not end it")
            .with_hint(format!(
                "find it with `kafka-transactions.sh find-hanging --topic __consumer_offsets` and, if the last rows of the query \
                 are not in its topics, end it with `kafka-transactions.sh abort`; the query ({}) then continues",
                self.owner
            ))
    }

    /// K4: the input offsets in the commit metadata.
    pub(super) fn offsets_in_metadata(&mut self, metadata: &[Option<CommitMetadata>]) -> Offsets {
        let mut found = BTreeMap::new();
        for (task, metadata) in metadata.iter().enumerate() {
            for input in metadata.iter().flat_map(|m| &m.offsets) {
                let at = TopicPartition::new(input.topic.as_str(), task as i32);
                self.ids.insert(at.topic.clone(), input.id());
                found.insert(at, input.offset());
            }
        }
        found
    }

    /// Commits the metadata alone, with the offsets that it had before.
    pub(super) fn write_ownership(&mut self, sequence: &str, offsets: &Offsets) -> Result<(), Failure> {
        let producer = self.producer.as_ref().ok_or_else(|| Failure::of("no producer"))?;
        producer.raw().begin().map_err(|e| Failure::call("begin", e))?;
        let list = self.offset_list(sequence, &Offsets::new(), offsets, self.query_metadata.as_deref())?;
        self.commit_offsets(&list)
    }

    pub(super) fn read_last_commit(&self) -> Result<CommittedBy> {
        let list = self.read_tasks()?;
        let mut last = CommittedBy::NoOne;
        for task in self.commit_metadata(&list).into_iter().flatten() {
            match &last {
                _ if !self.is_own(&task.owner, &task.sequence) => return Ok(CommittedBy::Other(taken_over(&task))),
                CommittedBy::Ours(sequence) if *sequence != task.sequence => {
                    return Err(Error::bug("the tasks of a query carry different commits"));
                }
                _ => last = CommittedBy::Ours(task.sequence),
            }
        }
        Ok(last)
    }

    /// K9: finds out how a failed commit ended, and prepares the writer for the next one.
    pub(super) fn resolve(&mut self, failure: Failure, sequence: &str, epoch: Option<&Epoch>) -> Result<CommitOutcome> {
        tracing::warn!(target: "kafka", writer = self.owner, reason = failure.reason, "a commit failed");
        let mut delivered = Deliveries::new();
        if let Some(producer) = self.producer.take() {
            delivered = producer.events().take_deliveries();
            // K13: dropped here, possibly with requests in flight. The next producer ends its transaction.
        }
        self.checked_partitions.clear();
        self.has_failed = true;
        let deadline = self.log.clock().monotonic() + RESOLVE_WAIT;
        let mut unknown = UnknownOutcome {
            sequence,
            epoch,
            delivered,
            commit_requested: self.commit_requested,
            verdict: Verdict::Unknown,
        };
        let mut pause = PAUSE_MIN;
        loop {
            match self.recover(&mut unknown) {
                Ok(Some(reason)) => return Ok(self.fenced(reason)),
                Ok(None) => break,
                Err(error) if error.kind() == Kind::Fenced => return Ok(self.fenced(error.to_string())),
                Err(error) if error.kind() == Kind::Bug || self.log.clock().monotonic() > deadline => {
                    self.ended = Some((error.kind(), error.to_string()));
                    return Err(error);
                }
                Err(error) => tracing::warn!(target: "kafka", writer = self.owner, %error, "recovery failed"),
            }
            self.log.clock().sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if unknown.verdict == Verdict::Committed {
            if let Some(epoch) = epoch {
                self.committed_epoch(epoch);
            }
            return Ok(CommitOutcome::Committed);
        }
        if let Some(error) = failure.data {
            return Err(error);
        }
        Ok(self.aborted(failure.reason))
    }

    /// One attempt at recovery; `Some` = another process owns the query.
    fn recover(&mut self, unknown: &mut UnknownOutcome<'_>) -> Result<Option<String>> {
        if self.log.ids(&[&self.topic])? != [self.topic_id] {
            return Ok(Some("the group was deleted".to_owned()));
        }
        // K9: else the coordinator may return offsets that are seconds old.
        self.log.refresh(&self.spec.group, &self.topic)?;
        // K1: before a new producer is made, which would fence a rightful new owner.
        if let Some(other) = self.later_owner() {
            return Ok(Some(other));
        }
        self.producer = None;
        self.producer = Some(self.new_producer()?);
        if unknown.verdict == Verdict::Unknown {
            unknown.verdict = self.verdict(unknown)?;
        }
        match (unknown.verdict, unknown.epoch) {
            (Verdict::Visible, Some(epoch)) => self.complete(unknown, epoch)?,
            _ => self.end_hanging_offsets()?,
        }
        match self.read_last_commit()? {
            CommittedBy::Other(reason) => return Ok(Some(reason)),
            CommittedBy::Ours(found) if found == unknown.sequence => self.accept(unknown),
            _ if unknown.verdict == Verdict::Committed => return Err(Error::io("a commit cannot be read any more")),
            _ => {}
        }
        if unknown.verdict == Verdict::Committed
            && let Some(epoch) = unknown.epoch
        {
            // K16: its offsets are committed. Whether its rows are is checked with those of the previous commit.
            self.retain_commit(epoch, std::mem::take(&mut unknown.delivered), false);
        }
        self.restore_lost()?;
        self.take_over().map(|()| None)
    }

    /// Ends the writer: another process owns the query.
    pub(super) fn fenced(&mut self, reason: String) -> CommitOutcome {
        self.ended = Some((Kind::Fenced, reason.clone()));
        self.producer = None;
        CommitOutcome::Fenced { reason }
    }

    /// K10: reads the last commit back from time to time. `Some` = another process owns the query.
    pub(super) fn check(&mut self) -> Result<Option<String>> {
        let now = self.log.clock().monotonic();
        if now.saturating_sub(self.last_check) < CHECK_PAUSE {
            return Ok(None);
        }
        self.last_check = now;
        let mut is_refreshed = false;
        loop {
            let stable = self.log.stable_now(&self.spec.group, &self.task_list(), CHECK_WAIT);
            let Ok(list) = stable else { return Ok(None) };
            let mut tasks = self.commit_metadata(&list).into_iter().flatten();
            let Some(task) = tasks.find(|t| t.owner != self.owner || t.sequence != self.last_commit) else {
                return Ok(None);
            };
            if !self.is_own(task.owner.as_str(), &task.sequence) {
                return Ok(Some(taken_over(&task)));
            }
            // A broker that has just started may return an earlier state.
            if !is_refreshed {
                tracing::warn!(target: "kafka", writer = self.owner, found = task.sequence, expected = self.last_commit,
                    "the broker returned another commit than the last one");
                if self.log.refresh(&self.spec.group, &self.topic).is_err() {
                    return Ok(None);
                }
                is_refreshed = true;
            } else if self.log.clock().monotonic().saturating_sub(now) > STALE_WAIT {
                let message = format!("commit {} of {} was lost", self.last_commit, self.owner);
                let error = Error::new(Kind::Bug, message)
                    .with_detail(format!("the broker returned {}", task.sequence))
                    .with_hint("check whether the broker has lost data; drop the query and create it again");
                self.ended = Some((error.kind(), error.to_string()));
                return Err(error);
            }
            self.log.clock().sleep(PAUSE_MIN);
        }
    }
}
