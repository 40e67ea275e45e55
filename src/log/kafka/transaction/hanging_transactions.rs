//! K15: transactions that a broker forgot to end ("hanging transactions", KIP-664).
//!
//! A new producer may begin once every partition of its predecessor's transaction has a marker: that is what makes a retry
//! safe. Kafka 4.3.1 violates it in one case. A broker that was killed becomes the coordinator of a transaction again before
//! it has read its own metadata to the end; it takes partitions that it does not know yet for deleted, skips their markers
//! ("these partitions are likely deleted already and hence can be skipped", TransactionMarkerChannelManager) and completes
//! the transaction. The rows stay open, and the *next* transaction of the same producer id, ours, commits them with its own:
//! an epoch that was given up would be in the topic beside its repetition.
//!
//! So before a producer writes to a partition for the first time since a failure, a transaction is begun there and given up:
//! the next producer's start aborts it, and its marker ends whatever our producer id has left open. Whether anything is open
//! is not checked first, since a broker that has just started may return a high watermark that is seconds old and hide open
//! rows. Only when a writer is opened, before any failure, a check of the watermarks suffices. Open transactions of other
//! producers are not affected.
//!
//! The open rows may also belong to a commit that returned Ok and whose marker the broker forgot. Those must be committed, not
//! aborted. For rows, the commit of the next epoch does so; nothing is aborted in a partition whose last committed row is
//! still open, and should that epoch fail, the rows are written again (see [`super::retained_commits`]). Offsets are committed
//! once more. They are pending in the group's partition of `__consumer_offsets`, which otherwise returns
//! UNSTABLE_OFFSET_COMMIT for ever.

use super::{Failure, KafkaWriter, OFFSETS_WAIT, written};
use crate::error::{Error, Result};
use crate::log::kafka::commit_metadata::CommitMetadata;
use crate::log::{Epoch, Log, RecordSet, TopicPartition};
use rdkafka::TopicPartitionList;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A broker returns stable offsets within this time, unless a transaction is open; then it may never do so.
pub(super) const OPEN_AFTER: Duration = Duration::from_secs(3);

impl KafkaWriter {
    /// Ends hanging transactions in the partitions that `epoch` writes and that have not been checked since the last failure.
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

    /// Whether the partition may have open rows that were given up.
    fn may_be_open(&self, at: &TopicPartition) -> Result<bool> {
        match self.last_rows.get(at) {
            _ if !self.has_failed => {
                let marks = self.log.watermarks(at)?;
                Ok(marks.stable < marks.high)
            }
            Some(committed) if !self.is_closed(at, *committed)? => {
                tracing::warn!(target: "kafka", topic = &*at.topic, partition = at.partition,
                    "the last commit has no marker yet; the next commit provides one");
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// A transaction in these partitions that is given up: one row of `epoch` each, which will not become visible.
    fn abort_in(&mut self, open: &BTreeSet<TopicPartition>, epoch: &Epoch) -> Result<(), Failure> {
        tracing::info!(target: "kafka", writer = self.owner, partitions = open.len(), "ending hanging transactions");
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

    /// Ends pending offsets of our producer id, if there are any. Called only when it is known that those of the last attempt
    /// are not to be committed.
    pub(super) fn end_hanging_offsets(&mut self) -> Result<()> {
        if self.offsets_are_stable() {
            return Ok(());
        }
        let list = self.pending_tasks()?;
        let tasks = self.commit_metadata(&list);
        if tasks.iter().flatten().any(|task| task.owner == self.owner && task.sequence != self.last_commit) {
            return self.commit_last_offsets_again(&tasks);
        }
        tracing::info!(target: "kafka", writer = self.owner, "ending pending offsets");
        let group = self.group().map_err(|f| Error::io(f.reason))?;
        let Some(producer) = self.producer.as_ref() else { return Ok(()) };
        let raw = producer.raw();
        raw.begin().map_err(|e| Error::io(format!("begin: {e}")))?;
        // An error is harmless: the partition became part of the transaction before.
        if let Err(error) = raw.send_offsets(&list, &group, OFFSETS_WAIT) {
            tracing::debug!(target: "kafka", writer = self.owner, %error, "could not send the offsets to be aborted");
        }
        self.replace()
    }

    /// Commits the offsets of the last commit once more: it returned Ok, and they are pending.
    fn commit_last_offsets_again(&mut self, tasks: &[Option<CommitMetadata>]) -> Result<()> {
        tracing::warn!(target: "kafka", writer = self.owner, commit = self.last_commit, "committing pending offsets again");
        let found = self.offsets_in_metadata(tasks);
        let (sequence, text) = (self.last_commit.clone(), self.query_metadata.clone());
        let known = if self.offsets.is_empty() { found } else { self.offsets.clone() };
        let list = self.offset_list(&sequence, &self.offsets, &known, text.as_deref());
        self.commit_only_offsets(&list.map_err(|f| Error::io(f.reason))?)
    }

    /// A transaction of offsets alone, by a producer that is not used afterwards.
    pub(super) fn commit_only_offsets(&mut self, list: &TopicPartitionList) -> Result<()> {
        let begin = self.producer.as_ref().map(|producer| producer.raw().begin());
        begin.transpose().map_err(|e| Error::io(format!("begin: {e}")))?;
        let done = self.commit_offsets(list);
        self.producer = None;
        done.map_err(|f| Error::io("could not commit offsets").with_detail(f.reason))?;
        self.producer = Some(self.new_producer()?);
        Ok(())
    }

    /// K13: gives up the open transaction with its producer; the new one ends it before it can write anything.
    fn replace(&mut self) -> Result<()> {
        self.producer = None;
        self.producer = Some(self.new_producer()?);
        Ok(())
    }
}
