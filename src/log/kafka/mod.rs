//! Apache Kafka.
//!
//! [`KafkaLog`] is a handle on a cluster. Reading ([`reader`]) takes messages in batches and keeps them in librdkafka's
//! memory until the engine has decoded them. Writes outside of transactions use a few shared producers ([`producer_pool`]);
//! a query's rows are written by a transactional writer ([`transaction`]), which implements the exactly-once protocol of
//! `docs/exactly-once.md`. [`ffi`] contains the only unsafe code.
//!
//! Not supported yet: sharing the tasks of one query among processes.

mod client;
mod commit_metadata;
mod ffi;
mod group_offsets;
mod process_identity;
mod producer;
mod producer_pool;
mod reader;
mod repeated_reader;
mod service_lock;
mod thread_headroom;
mod topics;
mod transaction;

pub use client::KafkaSettings;
pub use ffi::{Messages, RawHeaders, library_versions};

use crate::error::{Error, Result};
use crate::log::{
    Assignment, Claim, CommittedOffset, Identity, Isolation, Log, Reader, RecordSet, ServiceLock, Start, TopicChanges,
    TopicInfo, TopicPartition, TopicSpec, TransactionalWriter, Watermarks, WriterSpec, size,
};
use crate::types::clock::SharedClock;
use client::{BATCH_BYTES, Events, failed, refused};
use group_offsets::GroupOffsets;
use parking_lot::Mutex;
use producer::Producer;
use producer_pool::{ProducerPool, plain_producer};
use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thread_headroom::with_headroom;
use topics::REQUEST_TIMEOUT;

/// Timeout of one attempt of the first request, after which a refused login is checked for.
const GREETING_TRY: Duration = Duration::from_millis(500);

/// How long to retry after a login was refused.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// A Kafka cluster. Cheap to clone.
#[derive(Clone)]
pub struct KafkaLog(Arc<Cluster>);

struct Cluster {
    settings: KafkaSettings,
    clock: SharedClock,
    id: String,
    admin: AdminClient<Events>,
    /// Reads topics and high watermarks.
    metadata_client: BaseConsumer<Events>,
    /// Reads last stable offsets.
    committed_client: BaseConsumer<Events>,
    /// Reads the offsets of groups.
    group_offsets: GroupOffsets,
    /// Producers of writes outside of transactions.
    producer_pool: ProducerPool,
    /// Partition counts of topics written to.
    counts: Mutex<BTreeMap<String, u32>>,
    /// Largest records of topics written to by [`Log::append`].
    limits: Mutex<BTreeMap<String, usize>>,
    /// When this process last committed to a partition, until its watermarks are read.
    recent: Mutex<BTreeMap<TopicPartition, Duration>>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("bootstrap", &self.0.settings.bootstrap).finish()
    }
}

impl KafkaLog {
    /// Connects to a cluster; an error if no broker responds.
    pub fn connect(settings: KafkaSettings, clock: SharedClock) -> Result<Arc<KafkaLog>> {
        let events = |name: &str| Events::new(name, clock.clone());
        let admin = make_client(&settings.admin(), events("admin"), "make a client")?;
        let metadata_client: BaseConsumer<Events> =
            make_client(&settings.watermark_client("read_uncommitted"), events("metadata"), "make a client")?;
        let committed_client =
            make_client(&settings.watermark_client("read_committed"), events("metadata"), "make a client")?;
        let producer = plain_producer(&settings, &clock)?;
        let id = greet(&metadata_client, producer.events(), &settings.bootstrap, &clock)?;
        let producer_pool = ProducerPool::new(producer);
        let (counts, limits, recent) = (Mutex::default(), Mutex::default(), Mutex::default());
        let cluster = Cluster {
            settings,
            clock,
            id,
            admin,
            metadata_client,
            committed_client,
            group_offsets: GroupOffsets::default(),
            producer_pool,
            counts,
            limits,
            recent,
        };
        Ok(Arc::new(KafkaLog(Arc::new(cluster))))
    }

    fn settings(&self) -> &KafkaSettings {
        &self.0.settings
    }

    fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    fn counts(&self) -> &Mutex<BTreeMap<String, u32>> {
        &self.0.counts
    }

    fn recent(&self) -> &Mutex<BTreeMap<TopicPartition, Duration>> {
        &self.0.recent
    }

    fn admin(&self) -> &AdminClient<Events> {
        &self.0.admin
    }

    fn group_offsets_client(&self) -> &GroupOffsets {
        &self.0.group_offsets
    }

    fn metadata_client(&self) -> &BaseConsumer<Events> {
        // It has no poll loop: this serves its log lines.
        let _ = self.0.metadata_client.poll(Duration::ZERO);
        &self.0.metadata_client
    }

    fn committed_client(&self) -> &BaseConsumer<Events> {
        let _ = self.0.committed_client.poll(Duration::ZERO);
        &self.0.committed_client
    }

    /// A consumer that reads a group's committed offsets.
    fn offsets_of(&self, group: &str, isolation: &str) -> Result<BaseConsumer<Events>> {
        let events = Events::new(format!("offsets of {group}"), self.clock().clone());
        make_client(&self.settings().metadata_client(group, isolation), events, "make a client")
    }

    fn start_offset(&self, assignment: &Assignment, isolation: Isolation) -> Result<i64> {
        let marks = self.offsets(&TopicPartition::new(assignment.topic.clone(), assignment.partition))?;
        let end = match isolation {
            Isolation::ReadCommitted => marks.stable,
            Isolation::ReadUncommitted => marks.high,
        };
        Ok(match assignment.start {
            Start::Earliest => marks.low,
            Start::Latest => end,
            // Earlier records were deleted: "this offset, or the next one that exists".
            Start::Offset(offset) => offset.max(marks.low),
        })
    }
}

impl Log for KafkaLog {
    fn describe(&self) -> String {
        format!("Kafka at {}", self.0.settings.bootstrap)
    }

    fn cluster_id(&self) -> Result<String> {
        Ok(self.0.id.clone())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        self.create(spec)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        // Not a topic name, and librdkafka's strings end at a NUL.
        if name.contains('\0') { Ok(None) } else { self.describe_topic(name) }
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        self.all_topics()
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<Identity>>> {
        self.identify(names)
    }

    fn record_bytes_max(&self, topics: &[&str]) -> Result<Vec<Option<usize>>> {
        self.largest(topics)
    }

    fn alter_topic(&self, name: &str, changes: &TopicChanges) -> Result<()> {
        self.alter(name, changes)
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.delete(name)
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.offsets(partition)
    }

    fn end(&self, partition: &TopicPartition) -> Result<i64> {
        self.end_offset(partition)
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        self.offset_at(partition, timestamp)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64> {
        self.trim(partition, before)
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        repeated_reader::open(self, assignment, isolation)
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.check(topic, records)?;
        let (limit, topic) = (self.measure(topic, records)?, Arc::from(topic));
        if limit < BATCH_BYTES && records.len() > 1 {
            // The topic may refuse a batch although it accepts each of its rows.
            let mut narrow = Producer::new(&self.settings().producer(limit), "producer", self.clock().clone())?;
            return narrow.send(&topic, records).and_then(|()| narrow.drain());
        }
        self.deliver(&topic, records)
    }

    fn transactional_writer(&self, spec: &WriterSpec, claim: &Arc<dyn Claim>) -> Result<Box<dyn TransactionalWriter>> {
        Ok(Box::new(transaction::KafkaWriter::open(self, spec, claim)?))
    }

    fn service_lock(&self, group: &str, slot: &str) -> Result<Option<Box<dyn ServiceLock>>> {
        Ok(Some(Box::new(service_lock::KafkaServiceLock::acquire(self, group, slot)?)))
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.group_offsets(group, partitions)
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.forget_group(group)
    }
}

/// A client of librdkafka with these settings.
fn make_client<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
    doing: &str,
) -> Result<T> {
    with_headroom(|| config.create_with_context(context).map_err(|e| failed(doing, e)))
}

impl KafkaLog {
    /// The record size limit of a topic; an error if one of these records exceeds it. A limit is cached for as long as all
    /// records fit, and read again when one does not, because it may have been raised.
    fn measure(&self, topic: &str, records: &RecordSet) -> Result<usize> {
        let known = self.0.limits.lock().get(topic).copied();
        if let Some(limit) = known.filter(|limit| size::check(topic, *limit, records).is_ok()) {
            return Ok(limit);
        }
        let limit = self.largest(&[topic])?.pop().flatten().unwrap_or(usize::MAX);
        self.0.limits.lock().insert(topic.to_owned(), limit);
        size::check(topic, limit, records)?;
        Ok(limit)
    }

    /// Writes rows outside of any transaction.
    fn deliver(&self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        let result = self.0.producer_pool.lend(self.settings(), self.clock(), |producer| {
            producer.send(topic, records).and_then(|()| producer.drain())
        });
        if result.is_err() {
            self.forget_count(topic);
            self.check(topic, records)?;
        }
        result
    }
}

/// Waits for the first response of a cluster, which contains its id. A refused login ends the wait: `events` are those of
/// another client, which connects at the same time and whose own thread receives its errors at once.
fn greet(
    metadata_client: &BaseConsumer<Events>,
    events: &Events,
    bootstrap: &str,
    clock: &SharedClock,
) -> Result<String> {
    let begin = clock.monotonic();
    loop {
        if let Some(id) = metadata_client.client().fetch_cluster_id(GREETING_TRY) {
            return Ok(id);
        }
        // Serves the log lines; the last one contains the reason.
        let _ = metadata_client.poll(Duration::ZERO);
        let waited = clock.monotonic().saturating_sub(begin);
        // Another broker of the list may accept it.
        if let Some((code, reason)) = events.refusal().filter(|_| waited > REFUSAL_WAIT) {
            return Err(refused(code, bootstrap).with_detail(reason));
        }
        if waited > REQUEST_TIMEOUT {
            let error = Error::io(format!("no response from a Kafka broker at {bootstrap}"))
                .with_hint("check that the broker is running and that its address is right");
            return Err(match metadata_client.client().context().trouble() {
                Some(trouble) => error.with_detail(trouble),
                None => error,
            });
        }
    }
}
