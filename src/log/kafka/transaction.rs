//! The transactional writer of a query: one transaction per epoch, exactly once.
//!
//! The rules of the protocol, K1 to K16, are in `docs/exactly-once.md`; the code that follows one names it.
//!
//! A writer consists of a transactional producer named after group and slot ([`Producer`]), and of the [`Claim`] by which it
//! learns whether its process owns the query. Committed offsets are read through a client that all writers of the process share
//! (see [`super::group_offsets`]). The group has no members: its coordinator stores offsets, and nothing else.
//!
//! ```text
//! new producer  init_transactions -> confirm: does the control topic still name this process? (K2)
//! commit (K5)   end hanging transactions (K15) -> produce all rows -> count their delivery reports (K6)
//!               -> send offsets and commit metadata -> commit, watched (K7)
//! Ok            a request may have been repeated? replace the producer before the next transaction (K8)
//! any error     drop the producer, never abort (K13); find out how the commit ended (K9, K14): see `recovery`
//! ```
//!
//! The task topic has one partition per task, whose offset carries the task's [`CommitMetadata`], and a last one whose offset
//! carries the metadata of the query.

mod early_delivery;
mod fence;
mod hanging_transactions;
mod lasting_offsets;
mod recovery;
mod retained_commits;
mod slot_claim;
mod task_topic;
mod unknown_outcome;

use super::KafkaLog;
use super::client::{BATCH_BYTES, RETRY_BACKOFF_MS};
use super::commit_metadata::{CommitMetadata, InputOffset};
use super::ffi::{CallError, GroupMetadata};
use super::process_identity::{self, busy};
use super::producer::{COMMIT_WAIT, Producer};
use crate::error::{Error, Kind, Result};
use crate::log::{
    Claim, CommitOutcome, CommittedOffset, Epoch, METADATA_BYTES_MAX, RecordSet, TopicPartition, TransactionalWriter,
    WriterSpec,
};
use crate::mutant;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use early_delivery::EarlyDelivery;
use retained_commits::RetainedCommit;
pub(super) use slot_claim::SlotClaim;
pub(super) use task_topic::{ensure_task_topic, task_topic};

/// Timeout of `init_transactions`, which takes 0.05 to 1 s.
const INIT_WAIT: Duration = Duration::from_secs(30);
/// Timeout of sending offsets.
const OFFSETS_WAIT: Duration = Duration::from_secs(30);
/// K8: a call that took this long may have repeated its request. The pause before a repetition is at least 0.8 of
/// `retry.backoff.ms`.
const REPEATED_AFTER: Duration = Duration::from_millis(RETRY_BACKOFF_MS as u64 * 8 / 10);
/// First and longest pause after a failure; each is twice the previous one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// K3: how long to wait for transactions of earlier owners to end.
pub(super) const STABLE_WAIT: Duration = Duration::from_secs(60);

type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// The error of a writer that cannot be used any more.
const WRITER_ENDED: &str = "the transactional writer of this query has ended";

/// See the module.
pub(super) struct KafkaWriter {
    log: KafkaLog,
    spec: WriterSpec,
    /// The task topic and its id. Another id means that the group was deleted.
    topic: String,
    topic_id: u128,
    /// Transactional id of this writer.
    owner: String,
    /// Client id of this process, which later owners read.
    process: String,
    /// `None` only between a failure and its resolution.
    producer: Option<Producer>,
    /// Producer of rows outside of transactions, once there are any.
    early: Option<EarlyDelivery>,
    /// Upper limit of a batch.
    batch_bytes: usize,
    /// Whether this process owns the query (K2).
    claim: Arc<dyn Claim>,
    /// The term in which it does, once it was confirmed; 0 = there is no control topic.
    term: Option<u64>,
    /// The ownership commit of that term has succeeded: the writer is of no later one.
    is_taken: bool,
    /// Slots that may still write, by the control topic.
    others: Vec<String>,
    /// Transactional ids that were fenced in this term. They are not fenced again: two processes that take one query from each
    /// other would do so for ever.
    fenced_ids: BTreeSet<String>,
    /// K4: latest known offsets of the query's inputs. Every commit contains all of them, so that none expires.
    offsets: Offsets,
    /// Ids of the input topics, so that a recreated topic is not read from the offset of its predecessor.
    ids: BTreeMap<Arc<str>, u128>,
    /// Metadata of the query as of the last commit.
    query_metadata: Option<String>,
    /// Prefix of all sequences of this start of this process, up to and including a full stop.
    start: String,
    count: u64,
    /// Sequence of the last commit that is known to have succeeded.
    last_commit: String,
    /// K8: a request of the last transaction may have been repeated.
    replace_producer: bool,
    /// The broker was asked to commit the running attempt. From then on it may be committed although an error was returned.
    commit_requested: bool,
    /// K15: partitions without a hanging transaction of this writer.
    checked_partitions: BTreeSet<TopicPartition>,
    /// Whether any commit has failed since the writer was opened.
    has_failed: bool,
    /// Offset of the last committed row per partition.
    last_rows: BTreeMap<TopicPartition, i64>,
    /// K16: the last commit, and earlier ones while a broker is suspected of having forgotten their markers.
    retained: Vec<RetainedCommit>,
    /// Pause after the next failure.
    pause: Duration,
    /// K4: when the last commit succeeded, and when a group of an earlier version gets a member next.
    last_success: Duration,
    next_renewal: Duration,
    /// K10: when the last commit was read back.
    last_check: Duration,
    /// Why the writer has ended, once it has.
    ended: Option<(Kind, String)>,
    _claim: SlotClaim,
}

impl fmt::Debug for KafkaWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaWriter").field("spec", &self.spec).field("last_commit", &self.last_commit).finish()
    }
}

/// Why an attempt to commit failed.
struct Failure {
    reason: String,
    /// The records themselves are refused: repeating the epoch would fail again.
    data: Option<Error>,
}

impl Failure {
    fn call(doing: &str, error: CallError) -> Failure {
        Failure { reason: format!("{doing}: {error}"), data: None }
    }

    fn of(reason: impl Into<String>) -> Failure {
        Failure { reason: reason.into(), data: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let reason = error.to_string();
        Failure { reason, data: (error.kind() == Kind::Data).then_some(error) }
    }
}

impl KafkaWriter {
    /// Takes over all tasks of a query: see [`Log::transactional_writer`].
    pub(super) fn open(log: &KafkaLog, spec: &WriterSpec, claim: &Arc<dyn Claim>) -> Result<KafkaWriter> {
        let slot_claim =
            SlotClaim::new(log, &spec.group, &spec.slot).ok_or_else(|| busy(&spec.group, &process_identity::own()))?;
        let topic = task_topic(&spec.group);
        let topic_id = ensure_task_topic(log, &topic, spec.tasks)?;
        let owner = format!("{}-{}", spec.group, spec.slot);
        let start = format!("{}.{}.", log.clock().now_ms(), std::process::id());
        let mut writer = KafkaWriter {
            log: log.clone(),
            spec: spec.clone(),
            topic,
            topic_id,
            owner,
            process: process_identity::own(),
            producer: None,
            early: None,
            batch_bytes: BATCH_BYTES,
            claim: claim.clone(),
            term: None,
            is_taken: false,
            others: Vec::new(),
            fenced_ids: BTreeSet::new(),
            offsets: BTreeMap::new(),
            ids: BTreeMap::new(),
            query_metadata: None,
            start,
            count: 0,
            last_commit: String::new(),
            replace_producer: false,
            commit_requested: false,
            checked_partitions: BTreeSet::new(),
            has_failed: false,
            last_rows: BTreeMap::new(),
            retained: Vec::new(),
            pause: PAUSE_MIN,
            last_success: log.clock().monotonic(),
            next_renewal: KafkaWriter::first_renewal(log),
            last_check: log.clock().monotonic(),
            ended: None,
            _claim: slot_claim,
        };
        writer.log.refresh(&spec.group, &writer.topic)?;
        writer.refuse_living_owner()?;
        writer.producer = Some(writer.new_producer()?);
        writer.take_over()?;
        Ok(writer)
    }

    /// A producer that has fenced all earlier ones of this slot and ended their transactions, and after whose initialization this
    /// process was still the owner (K2); else the error is [`Kind::Fenced`].
    fn new_producer(&mut self) -> Result<Producer> {
        let config = self.log.settings().transactional(&self.owner, self.batch_bytes);
        let producer = Producer::new(&config, &self.owner, self.log.clock().clone())?;
        producer
            .raw()
            .init_transactions(INIT_WAIT)
            .map_err(|e| Error::io("could not initialize transactions").with_detail(e.to_string()).because(e.code))?;
        self.confirm()?;
        Ok(producer)
    }

    fn task_list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.spec.tasks as i32);
        list
    }

    fn read_tasks(&self) -> Result<TopicPartitionList> {
        self.log.stable(&self.spec.group, &self.task_list(), STABLE_WAIT)
    }

    fn commit_metadata(&self, list: &TopicPartitionList) -> Vec<Option<CommitMetadata>> {
        let tasks = 0..self.spec.tasks as i32;
        tasks.map(|task| element(list, &self.topic, task).and_then(|o| CommitMetadata::parse(&o.metadata))).collect()
    }

    fn next_sequence(&mut self) -> String {
        self.count += 1;
        format!("{}{}", self.start, self.count)
    }

    /// The offsets of one commit: of the inputs, and of the task topic with its metadata.
    fn offset_list(
        &self,
        sequence: &str,
        inputs: &Offsets,
        known: &Offsets,
        text: Option<&str>,
    ) -> Result<TopicPartitionList, Failure> {
        let mut list = TopicPartitionList::new();
        let mut put = |topic: &str, partition: i32, offset: i64, metadata: &str| {
            let added = list.add_partition_offset(topic, partition, Offset::Offset(offset));
            added.map_err(|e| Failure::of(e.to_string()))?;
            if !metadata.is_empty() {
                let found = list.find_partition(topic, partition);
                found.ok_or_else(|| Failure::of("an offset was not added"))?.set_metadata(metadata);
            }
            Ok::<(), Failure>(())
        };
        for (at, offset) in inputs {
            put(&at.topic, at.partition, offset.offset, &offset.metadata)?;
        }
        for task in 0..self.spec.tasks as i32 {
            let own = known.iter().filter(|(at, _)| at.partition == task);
            let id = |topic: &Arc<str>| self.ids.get(topic).copied().unwrap_or(0);
            let own = own.map(|(at, o)| InputOffset::new(&at.topic, id(&at.topic), o)).collect();
            put(
                &self.topic,
                task,
                0,
                &CommitMetadata::new(&self.owner, &self.process, sequence, self.term.unwrap_or(0), own).text(),
            )?;
        }
        if let Some(text) = text {
            put(&self.topic, self.spec.tasks as i32, 0, text)?;
        }
        Ok(list)
    }

    /// Looks up what a commit needs to know: the partitions that are written, and the ids of inputs.
    fn look_up(&mut self, epoch: &Epoch) -> Result<()> {
        for (topic, records) in &epoch.records {
            self.log.check(topic, records)?;
        }
        self.look_up_topic_ids(epoch)
    }

    /// The outcome of an epoch that is not and will not be visible. Consecutive ones ask for longer pauses.
    fn aborted(&mut self, reason: String) -> CommitOutcome {
        let retry_after = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        CommitOutcome::Aborted { reason, retry_after }
    }

    /// Looks up the ids of inputs that are committed for the first time.
    fn look_up_topic_ids(&mut self, epoch: &Epoch) -> Result<()> {
        let new = epoch.offsets.iter().map(|(at, _)| &at.topic).chain(self.offsets.keys().map(|at| &at.topic));
        let new: BTreeSet<Arc<str>> = new.filter(|topic| !self.ids.contains_key(*topic)).cloned().collect();
        if !new.is_empty() {
            let names: Vec<&str> = new.iter().map(|topic| &**topic).collect();
            let ids = self.log.ids(&names)?;
            self.ids.extend(new.into_iter().zip(ids));
        }
        Ok(())
    }

    /// One attempt to commit, in the order of K5.
    fn attempt(&mut self, epoch: &Epoch, sequence: &str) -> Result<(), Failure> {
        self.end_hanging_transactions(epoch)?;
        self.write_rows(&epoch.records)?;
        let list = self.offset_list(sequence, &self.offsets, &self.offsets, Some(&epoch.metadata))?;
        self.commit_offsets(&list)
    }

    /// Begins a transaction, writes rows and waits for their delivery.
    fn write_rows(&mut self, records: &[(Arc<str>, Arc<RecordSet>)]) -> Result<(), Failure> {
        let producer = self.producer.as_mut().ok_or_else(|| Failure::of("no producer"))?;
        producer.raw().begin().map_err(|e| Failure::call("begin", e))?;
        // Deliveries are counted per transaction.
        producer.events().take_deliveries();
        for (topic, records) in records {
            producer.send(topic, records)?;
        }
        Ok(producer.drain()?)
    }

    /// Sends offsets, once per transaction (K5), and commits.
    fn commit_offsets(&mut self, list: &TopicPartitionList) -> Result<(), Failure> {
        let clock = self.log.clock().clone();
        let producer = self.producer.as_ref().ok_or_else(|| Failure::of("no producer"))?;
        let group = self.group()?;
        let begin = clock.monotonic();
        producer.raw().send_offsets(list, &group, OFFSETS_WAIT).map_err(|e| Failure::call("send offsets", e))?;
        let sent = clock.monotonic();
        self.commit_requested = true;
        producer.commit(&self.owner, COMMIT_WAIT).map_err(Failure::of)?;
        let done = clock.monotonic();
        // K8
        let slow = sent.saturating_sub(begin) >= REPEATED_AFTER || done.saturating_sub(sent) >= REPEATED_AFTER;
        self.replace_producer = slow || self.producer.as_ref().is_none_or(|s| s.events().suspicious());
        Ok(())
    }

    /// The group as a producer that is no member names it: what fences is the producer's epoch (K5).
    fn group(&self) -> Result<GroupMetadata, Failure> {
        GroupMetadata::of(&self.spec.group).ok_or_else(|| Failure::of("not a name of a group"))
    }

    /// Updates the state after a successful commit.
    fn committed_epoch(&mut self, epoch: &Epoch) {
        let now = self.log.clock().monotonic();
        let mut recent = self.log.recent().lock();
        for at in written(epoch) {
            // K15: should a marker of this commit be missing, that of the next one takes its place.
            self.checked_partitions.insert(at.clone());
            recent.insert(at, now);
        }
        drop(recent);
        self.query_metadata = Some(epoch.metadata.clone());
        self.pause = PAUSE_MIN;
        self.last_success = now;
    }
}

impl TransactionalWriter for KafkaWriter {
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        let mut wanted = TopicPartitionList::new();
        for at in partitions {
            wanted.add_partition(&at.topic, at.partition);
        }
        let list = self.log.stable(&self.spec.group, &wanted, STABLE_WAIT)?;
        let tasks = self.read_tasks()?;
        let metadata = self.commit_metadata(&tasks);
        let mut found = Vec::with_capacity(partitions.len());
        for at in partitions {
            let mut offset = element(&list, &at.topic, at.partition);
            if offset.is_none() {
                // K4
                let task = usize::try_from(at.partition).ok().and_then(|task| metadata.get(task)?.as_ref());
                if let Some(input) = task.and_then(|task| task.input(&at.topic)) {
                    let same = self.log.ids(&[&at.topic])? == [input.id()];
                    offset = same.then(|| input.offset());
                }
            }
            if let Some(offset) = &offset {
                self.offsets.insert(at.clone(), offset.clone());
            }
            found.push(offset);
        }
        Ok(found)
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        Ok(self.query_metadata.clone())
    }

    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        self.deliver_early(topic, records)
    }

    fn wants_commit(&self) -> bool {
        self.is_commit_old()
    }

    fn limit_batches(&mut self, bytes: usize) {
        self.limit_batch_bytes(bytes);
    }

    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome> {
        match &self.ended {
            Some((Kind::Fenced, reason)) => return Ok(CommitOutcome::Fenced { reason: reason.clone() }),
            // The next writer finds out what was committed.
            Some((Kind::Io, reason)) => {
                return Err(Error::new(Kind::Busy, WRITER_ENDED).with_detail(reason));
            }
            Some((kind, reason)) => return Err(Error::new(*kind, WRITER_ENDED).with_detail(reason)),
            None => {}
        }
        let texts = epoch.offsets.iter().map(|(_, o)| o.metadata.len());
        if let Some(long) = texts.chain([epoch.metadata.len()]).find(|len| *len > METADATA_BYTES_MAX) {
            return Err(Error::bug(format!("metadata of {long} bytes exceeds the limit of {METADATA_BYTES_MAX}")));
        }
        match self.wait_for_deliveries().and_then(|()| self.look_up(epoch)) {
            // Nothing has been written yet: an unreachable broker is retried as after any failed commit.
            Err(error) if error.kind() == Kind::Io => return Ok(self.aborted(error.to_string())),
            looked_up => looked_up?,
        }
        if let Some(reason) = self.check()? {
            return Ok(self.fenced(reason));
        }
        self.renew_membership();
        self.commit_requested = false;
        self.release_closed();
        let sequence = self.next_sequence();
        if self.replace_producer && !mutant::keeps_producers() || self.producer.is_none() {
            tracing::debug!(target: "kafka", writer = self.owner, "replacing the producer");
            self.producer = None;
            match self.new_producer() {
                Ok(producer) => (self.producer, self.replace_producer) = (Some(producer), false),
                Err(error) => return self.resolve(error.into(), &sequence, None),
            }
        }
        let before = self.offsets.clone();
        self.offsets.extend(epoch.offsets.iter().cloned());
        match self.attempt(epoch, &sequence) {
            Ok(()) => {
                self.last_commit = sequence;
                let delivered = self.producer.as_ref().map(|producer| producer.events().take_deliveries());
                self.retain_commit(epoch, delivered.unwrap_or_default(), !self.replace_producer);
                self.committed_epoch(epoch);
                Ok(CommitOutcome::Committed)
            }
            Err(failure) => {
                // One of the topics may have been deleted.
                epoch.records.iter().for_each(|(topic, _)| self.log.forget_count(topic));
                self.offsets = before;
                self.resolve(failure, &sequence, Some(epoch))
            }
        }
    }
}

/// The partitions that an epoch writes.
fn written(epoch: &Epoch) -> BTreeSet<TopicPartition> {
    let mut all = BTreeSet::new();
    for (topic, records) in &epoch.records {
        let partitions: BTreeSet<i32> = records.rows.iter().map(|row| row.partition).collect();
        all.extend(partitions.into_iter().map(|p| TopicPartition::new(topic.clone(), p)));
    }
    all
}

/// The committed offset of a partition in a list.
pub(super) fn element(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<CommittedOffset> {
    let found = list.find_partition(topic, partition)?;
    match found.offset() {
        Offset::Offset(offset) => Some(CommittedOffset { offset, metadata: found.metadata().to_owned() }),
        _ => None,
    }
}
