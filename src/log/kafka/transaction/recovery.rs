//! Taking a query over, and finding out how a commit ended.
//!
//! One rule for every unknown: see that the place is still ours, make a new producer (which decides the old transaction for
//! good), read what stands beside the task offsets, and write our name there again.

use super::unknown_outcome::{CommittedBy, Deliveries, UnknownOutcome, Verdict};
use super::{Failure, KafkaWriter, Offsets, PAUSE_MAX, PAUSE_MIN, STABLE_WAIT, element};
use crate::error::{Error, Kind, Result};
use crate::log::kafka::client::{BATCH_BYTES, Events, failed};
use crate::log::kafka::commit_metadata::CommitMetadata;
use crate::log::kafka::committed_list;
use crate::log::kafka::group_member::{GroupMember, rightful_owner};
use crate::log::kafka::producer::Producer;
use crate::log::kafka::topics::ANSWER_WAIT;
use crate::log::{CommitOutcome, Epoch, TopicPartition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::BaseConsumer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long to go on finding out how a commit ended before the session is given up.
const RESOLVE_WAIT: Duration = Duration::from_secs(300);
/// How often our own last commit is read back.
const CHECK_PAUSE: Duration = Duration::from_secs(5);
/// How long that may take; nothing is known if it takes longer.
const CHECK_WAIT: Duration = Duration::from_secs(1);
/// How long a broker may tell an older commit than our last one.
const STALE_WAIT: Duration = Duration::from_secs(15);

impl KafkaWriter {
    /// Reads what the last owner left, ends what it left open, and writes our name over its own: this proves that the
    /// group takes our commits, and makes us found by the next owner.
    pub(super) fn take_over(&mut self) -> Result<()> {
        for other in self.other_owners()? {
            self.fence(&other);
        }
        let list = self.read_tasks().map_err(|error| self.explain_pending_offsets(error))?;
        let blobs = self.commit_metadata(&list);
        self.query_metadata = element(&list, &self.topic, self.spec.tasks as i32).map(|o| o.metadata);
        let kept = self.offsets_in_metadata(&blobs);
        let sequence = self.next_sequence();
        self.write_ownership(&sequence, &kept)
            .map_err(|f| Error::io("could not take the query over").with_detail(f.reason))?;
        self.last_commit = sequence;
        self.revocations = self.member.revocations();
        Ok(())
    }

    /// Why committed offsets cannot be read: the broker is away, or something is pending that nobody ends. Everything of
    /// ours was ended by the new producers, so the broker has forgotten it (see [`super::hanging_transactions`]), or somebody else holds
    /// a transaction open. Whether to commit or to abort that cannot be known here.
    fn explain_pending_offsets(&self, error: Error) -> Error {
        if committed_list(&self.read_uncommitted, &self.task_list(), ANSWER_WAIT).is_err() {
            return error;
        }
        let (group, seconds) = (&self.spec.group, STABLE_WAIT.as_secs());
        Error::io(format!("offsets of group {group} have been pending for {seconds} s"))
            .with_detail("a transaction wrote them and the broker does not end it")
            .with_hint(format!(
                "find it with `kafka-transactions.sh find-hanging --topic __consumer_offsets` and, if what the query wrote \
                 last is not in its topics, end it with `kafka-transactions.sh abort`; the query ({}) then goes on",
                self.owner
            ))
    }

    /// The input offsets that stand in the blobs.
    pub(super) fn offsets_in_metadata(&mut self, blobs: &[Option<CommitMetadata>]) -> Offsets {
        let mut kept = BTreeMap::new();
        for (task, blob) in blobs.iter().enumerate() {
            for place in blob.iter().flat_map(|b| &b.offsets) {
                let at = TopicPartition::new(place.topic.as_str(), task as i32);
                self.ids.insert(at.topic.clone(), place.id());
                kept.insert(at, place.offset());
            }
        }
        kept
    }

    /// Commits the blobs alone, with what they held before.
    fn write_ownership(&mut self, sequence: &str, kept: &Offsets) -> Result<(), Failure> {
        let expired = self.member.revocations();
        let producer = self.producer.as_ref().ok_or_else(|| Failure::of("no producer"))?;
        producer.raw().begin().map_err(|e| Failure::call("begin", e))?;
        let list = self.offset_list(sequence, &Offsets::new(), kept, self.query_metadata.as_deref())?;
        self.commit_offsets(&list, expired)
    }

    /// Transactional ids that the blobs name and that are not ours.
    fn other_owners(&self) -> Result<BTreeSet<String>> {
        let list = committed_list(&self.read_uncommitted, &self.task_list(), ANSWER_WAIT)
            .map_err(|e| failed("read the committed tasks", e))?;
        Ok(self.commit_metadata(&list).into_iter().flatten().map(|b| b.owner).filter(|o| *o != self.owner).collect())
    }

    /// Ends the open transaction of another owner, instead of waiting for its timeout.
    fn fence(&self, other: &str) {
        tracing::info!(target: "kafka", "ending what {other} left open");
        let config = self.log.settings().transactional(other, BATCH_BYTES);
        if let Ok(producer) = Producer::new(&config, other, self.log.clock().clone())
            && let Err(error) = producer.raw().init_transactions(Duration::from_secs(10))
        {
            tracing::warn!(target: "kafka", "could not end what {other} left open: {error}");
        }
    }

    pub(super) fn read_last_commit(&self) -> Result<CommittedBy> {
        let list = self.read_tasks()?;
        let mut standing = CommittedBy::NoOne;
        for blob in self.commit_metadata(&list).into_iter().flatten() {
            match &standing {
                _ if blob.owner != self.owner || !blob.sequence.starts_with(&self.start) => {
                    return Ok(CommittedBy::Other(blob.owner));
                }
                CommittedBy::Ours(sequence) if *sequence != blob.sequence => {
                    return Err(Error::bug("tasks of one query stand at different commits"));
                }
                _ => standing = CommittedBy::Ours(blob.sequence),
            }
        }
        Ok(standing)
    }

    /// Finds out how a failed commit ended, and makes the session ready for the next one.
    pub(super) fn resolve(&mut self, failure: Failure, sequence: &str, epoch: Option<&Epoch>) -> Result<CommitOutcome> {
        tracing::warn!(target: "kafka", "commit of {}: {}", self.owner, failure.reason);
        let mut delivered = Deliveries::new();
        if let Some(producer) = self.producer.take() {
            delivered = producer.events().take_deliveries();
            // The producer is dropped here, with requests of it perhaps in flight: what it has begun is ended by the next.
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
                Err(error) if error.kind() == Kind::Busy => return Ok(self.fenced(error.to_string())),
                Err(error) if error.kind() == Kind::Bug || self.log.clock().monotonic() > deadline => {
                    self.ended = Some((error.kind(), error.to_string()));
                    return Err(error);
                }
                Err(error) => tracing::warn!(target: "kafka", "recovery of {}: {error}", self.owner),
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

    /// One try at recovery; `Some` = another process owns the query.
    fn recover(&mut self, unknown: &mut UnknownOutcome<'_>) -> Result<Option<String>> {
        if self.log.ids(&[&self.topic])? != [self.topic_id] {
            return Ok(Some("the group was deleted".to_owned()));
        }
        // Asked first: making a producer would shut out whoever rightly has our place now.
        if self.member.lost_place(&self.log)? {
            let last_owner = || last_owner(&self.read_uncommitted, &self.topic);
            let (group, slot) = (&self.spec.group, &self.spec.slot);
            if let Some(who) = rightful_owner(&self.log, group, slot, &self.process, &last_owner)? {
                return Ok(Some(format!("{who} has taken the query over")));
            }
        }
        self.rejoin()?;
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
            CommittedBy::Other(owner) => return Ok(Some(format!("{owner} has taken the query over"))),
            CommittedBy::Ours(found) if found == unknown.sequence => self.accept(unknown),
            _ if unknown.verdict == Verdict::Committed => return Err(Error::io("a commit cannot be read any more")),
            _ => {}
        }
        if unknown.verdict == Verdict::Committed
            && let Some(epoch) = unknown.epoch
        {
            // Its offsets stand. That its rows do is seen with those of the commit before.
            self.retain_commit(epoch, std::mem::take(&mut unknown.delivered), false);
        }
        self.restore_lost()?;
        self.take_over().map(|()| None)
    }

    /// Takes our place in the group anew, which makes the coordinator write: one that has just loaded more than 16,384
    /// records tells what stood at the last multiple of that until it writes something (Kafka 4.3.1 after a kill -9).
    fn rejoin(&mut self) -> Result<()> {
        let last_owner = || last_owner(&self.read_uncommitted, &self.topic);
        self.member.step_back();
        self.member = GroupMember::join(&self.log, &self.spec.group, &self.spec.slot, &self.topic, &last_owner)?;
        // Not owning them is no proof of another owner yet: the next try looks again.
        let waited = self.member.wait_for_tasks(self.spec.tasks as usize + 1);
        waited.map_err(|e| Error::io(e.message()).because(e))
    }

    pub(super) fn fenced(&mut self, reason: String) -> CommitOutcome {
        self.ended = Some((Kind::Fenced, reason.clone()));
        self.producer = None;
        CommitOutcome::Fenced { reason }
    }

    /// Reads our last commit back now and then: `Ok` from a commit is not trusted alone.
    pub(super) fn check(&mut self) -> Result<Option<String>> {
        let now = self.log.clock().monotonic();
        if now.saturating_sub(self.last_check) < CHECK_PAUSE {
            return Ok(None);
        }
        self.last_check = now;
        let mut rejoined = false;
        loop {
            let Ok(list) = committed_list(&self.read_committed, &self.task_list(), CHECK_WAIT) else { return Ok(None) };
            let mut blobs = self.commit_metadata(&list).into_iter().flatten();
            let Some(blob) = blobs.find(|b| b.owner != self.owner || b.sequence != self.last_commit) else {
                return Ok(None);
            };
            if blob.owner != self.owner || !blob.sequence.starts_with(&self.start) {
                return Ok(Some(format!("{} has taken the query over", blob.owner)));
            }
            // A broker that has just come up may tell what stood some time ago.
            if !rejoined {
                tracing::warn!(target: "kafka", "the broker tells commit {} of {}", blob.sequence, self.owner);
                // Whoever has our place now must not be shut out: the commit will find him.
                let kept = self.member.lost_place(&self.log).is_ok_and(|lost| !lost);
                if !kept || self.rejoin().is_err() {
                    return Ok(None);
                }
                (rejoined, self.revocations) = (true, self.member.revocations());
            } else if self.log.clock().monotonic().saturating_sub(now) > STALE_WAIT {
                let message = format!("commit {} of {} was lost", self.last_commit, self.owner);
                let error = Error::new(Kind::Bug, message)
                    .with_detail(format!("the broker holds {}", blob.sequence))
                    .with_hint("see whether the broker has lost data; drop the query and create it again");
                self.ended = Some((error.kind(), error.to_string()));
                return Err(error);
            }
            self.log.clock().sleep(PAUSE_MIN);
        }
    }
}

/// Client id of the process that committed last.
pub(super) fn last_owner(read_uncommitted: &BaseConsumer<Events>, topic: &str) -> Result<Option<String>> {
    let mut first = TopicPartitionList::new();
    first.add_partition(topic, 0);
    let list =
        committed_list(read_uncommitted, &first, ANSWER_WAIT).map_err(|e| failed("read the committed tasks", e))?;
    Ok(element(&list, topic, 0).and_then(|o| CommitMetadata::parse(&o.metadata)).map(|blob| blob.process))
}
