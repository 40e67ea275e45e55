//! The writing side of a query: one transaction an epoch, exactly once.
//!
//! The objects: a static member of the query's group that subscribes to its task topic only ([`GroupMember`]), whose
//! generation stands in every commit; a transactional producer ([`Producer`]) named after group and slot; two consumers that
//! ask for committed offsets, one that waits for open transactions (`stable`) and one that does not (`read_uncommitted`).
//!
//! A commit: produce all rows, wait for the counted reports, take the group's standing, **see that no task was taken from
//! us since the epoch began**, send offsets and blobs, commit. What is never done, because rows were doubled or lost by it
//! on a real broker: trusting an `Ok` after a request that may have been repeated (the producer is replaced before the
//! next transaction), using a producer after a failure, guessing an unknown outcome (it stands in the blob). A transaction
//! is not aborted either, because librdkafka may end the process when it is (see [`super::ffi`]): its producer is dropped,
//! and the start of the next one ends it at the broker.
//!
//! The task topic has one partition a task, beside whose offset stands the task's [`CommitMetadata`], and a last one for the text
//! of the query as a whole.

mod early_delivery;
mod hanging_transactions;
mod recovery;
mod retained_commits;
mod task_topic;
mod unknown_outcome;

use super::KafkaLog;
use super::client::{BATCH_BYTES, Events, RETRY_BACKOFF_MS};
use super::commit_metadata::{CommitMetadata, InputOffset};
use super::ffi::CallError;
use super::group_member::{GroupMember, busy};
use super::producer::Producer;
use super::{process_identity, stable};
use crate::error::{Error, Kind, Result};
use crate::log::{
    CommitOutcome, CommittedOffset, Epoch, Log, METADATA_BYTES_MAX, RecordSet, TopicPartition, TransactionalWriter,
    WriterSpec,
};
use crate::{mutant, threads};
use parking_lot::Mutex;
use rdkafka::consumer::BaseConsumer;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use early_delivery::EarlyDelivery;
use retained_commits::RetainedCommit;
use task_topic::ensure_task_topic;
pub(super) use task_topic::task_topic;

/// Time for `init_transactions`; it takes 0.05 to 1 s.
const INIT_WAIT: Duration = Duration::from_secs(30);
/// Time for sending offsets.
const OFFSETS_WAIT: Duration = Duration::from_secs(30);
/// librdkafka gives a commit up after 9.9 s (its socket timeout here) unless the broker is away; later, we do.
const COMMIT_WAIT: Duration = Duration::from_secs(15);
/// A request was perhaps repeated if the call took this long: the pause before repeating is at least 0.8 of the setting.
const REPEATED_AFTER: Duration = Duration::from_millis(RETRY_BACKOFF_MS as u64 * 8 / 10);
/// First pause after a failure, and the longest; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long to wait for the transactions of earlier owners.
pub(super) const STABLE_WAIT: Duration = Duration::from_secs(60);

/// The sessions of this process: `CLUSTER GROUP SLOT`. A second one of the same name would fence the first.
static OPEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Frees a name of [`OPEN`].
struct Claim(String);

impl Claim {
    fn new(name: String) -> Option<Claim> {
        let new = OPEN.lock().insert(name.clone());
        // Not `then_some`: a claim that is made and dropped would free the name.
        new.then(|| Claim(name))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        OPEN.lock().remove(&self.0);
    }
}

type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// See the module.
pub(super) struct KafkaWriter {
    log: KafkaLog,
    spec: WriterSpec,
    /// The task topic, and its identity: another one means that the group was deleted.
    topic: String,
    topic_id: u128,
    /// Our transactional id.
    owner: String,
    /// Our client id, for the processes after us.
    process: String,
    /// `None` only between a failure and its resolution.
    producer: Option<Producer>,
    /// For rows outside of transactions, once there are some.
    early: Option<EarlyDelivery>,
    /// No batch is larger.
    batch_bytes: usize,
    member: GroupMember,
    read_committed: BaseConsumer<Events>,
    read_uncommitted: BaseConsumer<Events>,
    /// Latest known offsets of the query's inputs; all are committed each time, so that none expires.
    offsets: Offsets,
    /// Identities of the input topics, so that a topic made anew is not read from its predecessor's offset.
    ids: BTreeMap<Arc<str>, u128>,
    query_metadata: Option<String>,
    /// First part of our sequences, up to and with a full stop: this start of this process.
    start: String,
    count: u64,
    /// Sequence of the last commit that is known to stand.
    last_commit: String,
    /// [`GroupMember::expired`] when the running epoch began.
    revocations: u64,
    /// The last transaction may have had a repeated request.
    replace_producer: bool,
    /// The broker was asked to commit the running attempt: from then on it may stand although an error came back.
    commit_requested: bool,
    /// Partitions in which nothing of ours was left open by a failure.
    checked_partitions: BTreeSet<TopicPartition>,
    /// Something has failed since the session began.
    has_failed: bool,
    /// Where the last committed row of each partition stands.
    last_rows: BTreeMap<TopicPartition, i64>,
    /// The last commit, and earlier ones that a broker may have forgotten.
    retained: Vec<RetainedCommit>,
    pause: Duration,
    last_check: Duration,
    /// Why nothing can be written any more.
    ended: Option<(Kind, String)>,
    _claim: Claim,
}

impl fmt::Debug for KafkaWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaWriter").field("spec", &self.spec).field("last_commit", &self.last_commit).finish()
    }
}

/// Why an attempt to commit failed.
struct Failure {
    reason: String,
    /// Nothing but another input helps: the records themselves are refused.
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
    /// Takes all tasks of a query: see [`Log::transactional_writer`].
    pub(super) fn open(log: &KafkaLog, spec: &WriterSpec) -> Result<KafkaWriter> {
        let name = format!("{} {} {}", log.cluster_id()?, spec.group, spec.slot);
        let claim = Claim::new(name).ok_or_else(|| busy(&spec.group, &process_identity::own()))?;
        let topic = task_topic(&spec.group);
        let topic_id = ensure_task_topic(log, &topic, spec.tasks)?;
        let read_committed = log.offsets_of(&spec.group, "read_committed")?;
        let read_uncommitted = log.offsets_of(&spec.group, "read_uncommitted")?;
        let last_owner = || recovery::last_owner(&read_uncommitted, &topic);
        let member = GroupMember::join(log, &spec.group, &spec.slot, &topic, &last_owner)?;
        member.wait_for_tasks(spec.tasks as usize + 1)?;
        let owner = format!("{}-{}", spec.group, spec.slot);
        let start = format!("{}.{}.", log.clock().now_ms(), std::process::id());
        let revocations = member.revocations();
        let mut session = KafkaWriter {
            log: log.clone(),
            spec: spec.clone(),
            topic,
            topic_id,
            owner,
            process: process_identity::own(),
            producer: None,
            early: None,
            batch_bytes: BATCH_BYTES,
            member,
            read_committed,
            read_uncommitted,
            offsets: BTreeMap::new(),
            ids: BTreeMap::new(),
            query_metadata: None,
            start,
            count: 0,
            last_commit: String::new(),
            revocations,
            replace_producer: false,
            commit_requested: false,
            checked_partitions: BTreeSet::new(),
            has_failed: false,
            last_rows: BTreeMap::new(),
            retained: Vec::new(),
            pause: PAUSE_MIN,
            last_check: log.clock().monotonic(),
            ended: None,
            _claim: claim,
        };
        session.producer = Some(session.new_producer()?);
        session.take_over()?;
        Ok(session)
    }

    /// A producer that has shut out every earlier one of this slot and ended its transaction.
    fn new_producer(&self) -> Result<Producer> {
        let config = self.log.settings().transactional(&self.owner, self.batch_bytes);
        let producer = Producer::new(&config, &self.owner, self.log.clock().clone())?;
        producer
            .raw()
            .init_transactions(INIT_WAIT)
            .map_err(|e| Error::io("could not begin writing").with_detail(e.to_string()).because(e.code))?;
        Ok(producer)
    }

    fn task_list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.spec.tasks as i32);
        list
    }

    fn read_tasks(&self) -> Result<TopicPartitionList> {
        stable(&self.read_committed, &self.task_list(), self.log.clock(), STABLE_WAIT)
    }

    fn commit_metadata(&self, list: &TopicPartitionList) -> Vec<Option<CommitMetadata>> {
        let tasks = 0..self.spec.tasks as i32;
        tasks.map(|task| element(list, &self.topic, task).and_then(|o| CommitMetadata::parse(&o.metadata))).collect()
    }

    fn next_sequence(&mut self) -> String {
        self.count += 1;
        format!("{}{}", self.start, self.count)
    }

    /// Offsets, blobs and text of one commit.
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
            put(&self.topic, task, 0, &CommitMetadata::new(&self.owner, &self.process, sequence, own).text())?;
        }
        if let Some(text) = text {
            put(&self.topic, self.spec.tasks as i32, 0, text)?;
        }
        Ok(list)
    }

    /// Asks the broker what a commit has to know: the partitions that are written, identities of inputs.
    fn look_up(&mut self, epoch: &Epoch) -> Result<()> {
        for (topic, records) in &epoch.records {
            self.log.check(topic, records)?;
        }
        self.look_up_topic_ids(epoch)
    }

    /// Nothing of the epoch is or will be visible; each such answer in a row asks for a longer pause.
    fn aborted(&mut self, reason: String) -> CommitOutcome {
        let retry_after = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        CommitOutcome::Aborted { reason, retry_after }
    }

    /// Looks up the identities of inputs that are committed for the first time.
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

    /// Everything up to the answer of one commit.
    fn attempt(&mut self, epoch: &Epoch, sequence: &str) -> Result<(), Failure> {
        self.end_hanging_transactions(epoch)?;
        self.write_rows(&epoch.records)?;
        let list = self.offset_list(sequence, &self.offsets, &self.offsets, Some(&epoch.metadata))?;
        self.commit_offsets(&list, self.revocations)
    }

    /// Begins a transaction and writes rows until all of them have arrived.
    fn write_rows(&mut self, records: &[(Arc<str>, Arc<RecordSet>)]) -> Result<(), Failure> {
        let producer = self.producer.as_mut().ok_or_else(|| Failure::of("no producer"))?;
        producer.raw().begin().map_err(|e| Failure::call("begin", e))?;
        // Landings are counted per transaction.
        producer.events().take_deliveries();
        for (topic, records) in records {
            producer.send(topic, records)?;
        }
        Ok(producer.drain()?)
    }

    /// Sends offsets and commits, unless tasks were taken from us since `mark`.
    fn commit_offsets(&mut self, list: &TopicPartitionList, mark: u64) -> Result<(), Failure> {
        let clock = self.log.clock().clone();
        let producer = self.producer.as_ref().ok_or_else(|| Failure::of("no producer"))?;
        let standing = self.member.group_metadata().ok_or_else(|| Failure::of("no member of the group at present"))?;
        // After the standing was taken: it may be that of a generation in which the tasks belong to somebody else.
        if self.member.revocations() != mark {
            return Err(Failure::of("tasks were taken away while the epoch ran"));
        }
        let begin = clock.monotonic();
        producer.raw().send_offsets(list, &standing, OFFSETS_WAIT).map_err(|e| Failure::call("send offsets", e))?;
        let sent = clock.monotonic();
        self.commit_requested = true;
        self.commit_with_watchdog()?;
        let done = clock.monotonic();
        let slow = sent.saturating_sub(begin) >= REPEATED_AFTER || done.saturating_sub(sent) >= REPEATED_AFTER;
        self.replace_producer = slow || self.producer.as_ref().is_none_or(|s| s.events().suspicious());
        Ok(())
    }

    /// Commits in a thread of its own: the call has no timeout of its own that could be trusted.
    fn commit_with_watchdog(&self) -> Result<(), Failure> {
        let raw = self.producer.as_ref().ok_or_else(|| Failure::of("no producer"))?.raw().clone();
        let (done, result) = mpsc::sync_channel(1);
        let owner = self.owner.clone();
        let work = move || {
            mutant::trip("kafka-commit", &owner);
            // Nobody listens any more after the watchdog went off.
            let _ = done.send(raw.commit());
        };
        let thread = threads::spawn("kafka-commit", self.owner.as_str(), work);
        thread.map_err(|e| Failure::of(format!("no thread for the commit: {e}")))?;
        match result.recv_timeout(COMMIT_WAIT) {
            Ok(result) => result.map_err(|e| Failure::call("commit", e)),
            Err(_) => Err(Failure::of("commit did not return")),
        }
    }

    /// After a commit that stands.
    fn committed_epoch(&mut self, epoch: &Epoch) {
        let now = self.log.clock().monotonic();
        let mut recent = self.log.recent().lock();
        for at in written(epoch) {
            // Should a marker of this commit be missing, the next one makes up for it.
            self.checked_partitions.insert(at.clone());
            recent.insert(at, now);
        }
        drop(recent);
        self.query_metadata = Some(epoch.metadata.clone());
        self.pause = PAUSE_MIN;
        self.revocations = self.member.revocations();
    }
}

impl TransactionalWriter for KafkaWriter {
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        let mut wanted = TopicPartitionList::new();
        for at in partitions {
            wanted.add_partition(&at.topic, at.partition);
        }
        let list = stable(&self.read_committed, &wanted, self.log.clock(), STABLE_WAIT)?;
        let tasks = self.read_tasks()?;
        let blobs = self.commit_metadata(&tasks);
        let mut found = Vec::with_capacity(partitions.len());
        for at in partitions {
            let mut offset = element(&list, &at.topic, at.partition);
            if offset.is_none() {
                let blob = usize::try_from(at.partition).ok().and_then(|task| blobs.get(task)?.as_ref());
                if let Some(place) = blob.and_then(|b| b.place(&at.topic)) {
                    let same = self.log.ids(&[&at.topic])? == [place.id()];
                    offset = same.then(|| place.offset());
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

    fn limit_batches(&mut self, bytes: usize) {
        self.limit_batch_bytes(bytes);
    }

    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome> {
        match &self.ended {
            Some((Kind::Fenced, reason)) => return Ok(CommitOutcome::Fenced { reason: reason.clone() }),
            // A new session finds out what stands.
            Some((Kind::Io, reason)) => {
                return Err(Error::new(Kind::Busy, "this query's session has ended").with_detail(reason));
            }
            Some((kind, reason)) => return Err(Error::new(*kind, "this query's session has ended").with_detail(reason)),
            None => {}
        }
        let texts = epoch.offsets.iter().map(|(_, o)| o.metadata.len());
        if let Some(long) = texts.chain([epoch.metadata.len()]).find(|len| *len > METADATA_BYTES_MAX) {
            return Err(Error::bug(format!("a text of {long} bytes does not fit beside an offset")));
        }
        match self.wait_for_deliveries().and_then(|()| self.look_up(epoch)) {
            // Nothing was written yet: a broker that is away is waited for as in any other failed commit.
            Err(error) if error.kind() == Kind::Io => return Ok(self.aborted(error.to_string())),
            looked_up => looked_up?,
        }
        if let Some(reason) = self.check()? {
            return Ok(self.fenced(reason));
        }
        self.commit_requested = false;
        self.release_closed();
        let sequence = self.next_sequence();
        if self.replace_producer && !mutant::keeps_producers() || self.producer.is_none() {
            tracing::debug!(target: "kafka", "replacing the producer of {}", self.owner);
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
                // One of the topics may be gone.
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

/// The committed offset of one partition in a list.
pub(super) fn element(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<CommittedOffset> {
    let found = list.find_partition(topic, partition)?;
    match found.offset() {
        Offset::Offset(offset) => Some(CommittedOffset { offset, metadata: found.metadata().to_owned() }),
        _ => None,
    }
}
