//! What a broker forgot to end.
//!
//! A new producer may begin when every partition of its predecessor's transaction holds a marker: this is what makes a
//! retry safe. Kafka 4.3.1 breaks it in one case. A broker that was killed comes up again as the coordinator of a
//! transaction before it has read its own metadata to the end; it takes partitions that it does not know yet for
//! deleted, skips their markers ("these partitions are likely deleted already and hence can be skipped") and calls the
//! transaction ended. The rows stay open, and the *next* transaction of the same producer id, ours, commits them with
//! its own: an epoch that was given up would stand in the topic beside its repetition.
//!
//! So before a producer writes a partition for the first time since a failure, a transaction of our own is begun on it and
//! given up: the start of the next producer aborts it, and its marker ends whatever our producer id has left. It is not
//! asked first whether anything is open: a broker that has just come up may return a high watermark of some seconds ago
//! and see no open rows. Only at the start of a session, when nothing has failed, a look must do. Another owner's open
//! transaction is not touched by this.
//!
//! What is open may also be of a commit that *was* answered with Ok: the marker of its rows, or of its offsets, is what
//! the broker forgot. That must be committed, not aborted. For rows, the commit of the next epoch does it, so nothing is
//! aborted in a partition whose last committed row is not closed; should that epoch fail, the rows are written again (see
//! [`super::retained_commits`]). Offsets are simply committed once more. They are pending in the partition that holds the group's
//! offsets, which then answers "not stable yet" for ever.

use super::{Failure, KafkaWriter, OFFSETS_WAIT, written};
use crate::error::{Error, Result};
use crate::log::kafka::client::failed;
use crate::log::kafka::commit_metadata::CommitMetadata;
use crate::log::kafka::committed_list;
use crate::log::kafka::topics::ANSWER_WAIT;
use crate::log::{Epoch, Log, RecordSet, TopicPartition};
use rdkafka::TopicPartitionList;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A broker says within this time what stands, unless something is open; then it never does.
pub(super) const OPEN_AFTER: Duration = Duration::from_secs(3);

impl KafkaWriter {
    /// Ends what is open in the partitions that `epoch` writes and that were not looked at since the last failure.
    pub(super) fn end_hanging_transactions(&mut self, epoch: &Epoch) -> Result<(), Failure> {
        let mut fresh = written(epoch);
        fresh.retain(|at| !self.checked_partitions.contains(at));
        let mut open = BTreeSet::new();
        for at in &fresh {
            if self.may_be_open(at)? {
                open.insert(at.clone());
            }
        }
        if !open.is_empty() {
            self.abort_in(&open, epoch)?;
        }
        self.checked_partitions.append(&mut fresh);
        Ok(())
    }

    /// Whether rows may be open that were given up.
    fn may_be_open(&self, at: &TopicPartition) -> Result<bool> {
        match self.last_rows.get(at) {
            _ if !self.has_failed => {
                let marks = self.log.watermarks(at)?;
                Ok(marks.stable < marks.high)
            }
            Some(committed) if !self.is_closed(at, *committed)? => {
                tracing::warn!(target: "kafka", "{} of {} waits for the next commit", at.partition, at.topic);
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// An aborted transaction on these partitions: one of the rows of `epoch` each, which nobody will see.
    fn abort_in(&mut self, open: &BTreeSet<TopicPartition>, epoch: &Epoch) -> Result<(), Failure> {
        tracing::info!(target: "kafka", "{} ends what is open in {} partitions", self.owner, open.len());
        let mut rows = Vec::with_capacity(epoch.records.len());
        for (topic, records) in &epoch.records {
            let mut one = RecordSet::default();
            for at in open.iter().filter(|at| at.topic == *topic) {
                let row = records.rows.iter().position(|row| row.partition == at.partition);
                let row = row.ok_or_else(|| Failure::of("a partition without a row"))?;
                one.push(at.partition, records.rows[row].timestamp, records.key(row), records.value(row));
            }
            rows.push((topic.clone(), Arc::new(one)));
        }
        self.write_rows(&rows)?;
        self.replace().map_err(|error| Failure::of(error.to_string()))
    }

    /// Ends pending offsets of our producer id, if there are any. Only when it is known that those of the last attempt
    /// were not to be committed.
    pub(super) fn end_hanging_offsets(&mut self) -> Result<()> {
        if self.offsets_are_stable() {
            return Ok(());
        }
        let list = committed_list(&self.read_uncommitted, &self.task_list(), ANSWER_WAIT)
            .map_err(|e| failed("read the committed tasks", e))?;
        let blobs = self.commit_metadata(&list);
        if blobs.iter().flatten().any(|blob| blob.owner == self.owner && blob.sequence != self.last_commit) {
            return self.commit_last_offsets_again(&blobs);
        }
        tracing::info!(target: "kafka", "{} ends what is open in its offsets", self.owner);
        let (Some(producer), Some(standing)) = (self.producer.as_ref(), self.member.group_metadata()) else {
            return Ok(());
        };
        let raw = producer.raw();
        raw.begin().map_err(|e| Error::io(format!("begin: {e}")))?;
        // A refusal does no harm: the partition was made part of the transaction before.
        if let Err(error) = raw.send_offsets(&list, &standing, OFFSETS_WAIT) {
            tracing::debug!(target: "kafka", "offsets to be aborted: {error}");
        }
        self.replace()
    }

    /// Commits the offsets of our last commit once more: it was answered with Ok, and they are pending.
    fn commit_last_offsets_again(&mut self, blobs: &[Option<CommitMetadata>]) -> Result<()> {
        tracing::warn!(target: "kafka", "{} repeats the offsets of commit {}", self.owner, self.last_commit);
        let kept = self.offsets_in_metadata(blobs);
        let (sequence, text) = (self.last_commit.clone(), self.query_metadata.clone());
        let known = if self.offsets.is_empty() { kept } else { self.offsets.clone() };
        let list = self.offset_list(&sequence, &self.offsets, &known, text.as_deref());
        self.commit_only_offsets(&list.map_err(|f| Error::io(f.reason))?)
    }

    /// A transaction of offsets alone, by a producer that is not used again.
    pub(super) fn commit_only_offsets(&mut self, list: &TopicPartitionList) -> Result<()> {
        let begin = self.producer.as_ref().map(|producer| producer.raw().begin());
        begin.transpose().map_err(|e| Error::io(format!("begin: {e}")))?;
        let done = self.commit_offsets(list, self.member.revocations());
        self.producer = None;
        done.map_err(|f| Error::io("could not commit offsets").with_detail(f.reason))?;
        self.producer = Some(self.new_producer()?);
        Ok(())
    }

    /// Gives the open transaction up with its producer; the new one has ended it before it can write anything.
    fn replace(&mut self) -> Result<()> {
        self.producer = None;
        self.producer = Some(self.new_producer()?);
        Ok(())
    }
}
