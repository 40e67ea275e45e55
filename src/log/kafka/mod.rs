//! Apache Kafka.
//!
//! [`KafkaLog`] is a handle on a cluster. Reading ([`reader`]) takes messages in batches and keeps them in librdkafka's
//! memory until the engine has decoded them. Writing outside of transactions goes through a few shared producers
//! ([`producer_pool`]); the writing side of a query is a [`transaction`], which holds the exactly-once protocol. [`ffi`] is the only
//! unsafe code.
//!
//! What it does not do yet: share a query's tasks among processes (a second process is refused).

mod client;
mod commit_metadata;
mod ffi;
mod group_member;
mod process_identity;
mod producer;
mod producer_pool;
mod reader;
mod thread_headroom;
mod topics;
mod transaction;

pub use client::KafkaSettings;
pub use ffi::{Messages, RawHeaders, library_versions};

use crate::error::{Error, Result};
use crate::log::{
    Assignment, CommittedOffset, Identity, Isolation, Log, Reader, RecordSet, Start, TopicInfo, TopicPartition,
    TopicSpec, TransactionalWriter, Watermarks, WriterSpec, size,
};
use crate::types::clock::SharedClock;
use client::{BATCH_BYTES, Events, failed, refused};
use parking_lot::Mutex;
use producer::Producer;
use producer_pool::{ProducerPool, plain_producer};
use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thread_headroom::with_headroom;
use topics::ANSWER_WAIT;

/// How long one question for stable offsets may take before it is asked again.
const STABLE_TRY: Duration = Duration::from_millis(400);

/// How long the first question waits before it is looked whether the login was refused.
const GREETING_TRY: Duration = Duration::from_millis(500);

/// How long to go on asking after a login was refused.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// A Kafka cluster. Cheap to clone.
#[derive(Clone)]
pub struct KafkaLog(Arc<Cluster>);

struct Cluster {
    settings: KafkaSettings,
    clock: SharedClock,
    id: String,
    admin: AdminClient<Events>,
    /// Asks for topics and high watermarks.
    asker: BaseConsumer<Events>,
    /// Asks for stable watermarks.
    committed_asker: BaseConsumer<Events>,
    /// Write outside of transactions.
    producer_pool: ProducerPool,
    /// Partition counts of topics written to.
    counts: Mutex<BTreeMap<String, u32>>,
    /// Largest records of topics written to by [`Log::append`].
    limits: Mutex<BTreeMap<String, usize>>,
    /// When this process last committed to a partition, until its watermarks are asked for.
    recent: Mutex<BTreeMap<TopicPartition, Duration>>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("bootstrap", &self.0.settings.bootstrap).finish()
    }
}

impl KafkaLog {
    /// Connects to a cluster; an error if no broker answers.
    pub fn connect(settings: KafkaSettings, clock: SharedClock) -> Result<Arc<KafkaLog>> {
        let events = |name: &str| Events::new(name, clock.clone());
        let admin = make_client(&settings.admin(), events("admin"), "make a client")?;
        let asker: BaseConsumer<Events> =
            make_client(&settings.end_asker("read_uncommitted"), events("metadata"), "make a client")?;
        let committed_asker = make_client(&settings.end_asker("read_committed"), events("metadata"), "make a client")?;
        let producer = plain_producer(&settings, &clock)?;
        let id = greet(&asker, producer.events(), &settings.bootstrap, &clock)?;
        let producer_pool = ProducerPool::new(producer);
        let (counts, limits, recent) = (Mutex::default(), Mutex::default(), Mutex::default());
        let cluster =
            Cluster { settings, clock, id, admin, asker, committed_asker, producer_pool, counts, limits, recent };
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

    fn asker(&self) -> &BaseConsumer<Events> {
        // Nobody polls it: its log lines are taken on the way.
        let _ = self.0.asker.poll(Duration::ZERO);
        &self.0.asker
    }

    fn committed_asker(&self) -> &BaseConsumer<Events> {
        let _ = self.0.committed_asker.poll(Duration::ZERO);
        &self.0.committed_asker
    }

    /// A consumer that can ask for a group's committed offsets.
    fn offsets_of(&self, group: &str, isolation: &str) -> Result<BaseConsumer<Events>> {
        let events = Events::new(format!("offsets of {group}"), self.clock().clone());
        make_client(&self.settings().asker(group, isolation), events, "make a client")
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
            // What lies before was deleted: "this offset, or the next one that exists".
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

    fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        self.create(spec)
    }

    fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        // No topic has such a name, and librdkafka's strings end there.
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

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.delete(name)
    }

    fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.offsets(partition)
    }

    fn offset_for_time(&self, partition: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        self.offset_at(partition, timestamp)
    }

    fn delete_records(&self, partition: &TopicPartition, before: i64) -> Result<i64> {
        self.trim(partition, before)
    }

    fn reader(&self, assignment: Vec<Assignment>, isolation: Isolation) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::KafkaReader::open(self, assignment, isolation)?))
    }

    fn append(&self, topic: &str, records: &RecordSet) -> Result<()> {
        self.check(topic, records)?;
        let (limit, topic) = (self.measure(topic, records)?, Arc::from(topic));
        if limit < BATCH_BYTES && records.len() > 1 {
            // The topic may not take a batch of rows that it takes one by one.
            let mut narrow = Producer::new(&self.settings().producer(limit), "producer", self.clock().clone())?;
            return narrow.send(&topic, records).and_then(|()| narrow.drain());
        }
        self.deliver(&topic, records)
    }

    fn transactional_writer(&self, spec: &WriterSpec) -> Result<Box<dyn TransactionalWriter>> {
        Ok(Box::new(transaction::KafkaWriter::open(self, spec)?))
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
    /// The largest record that a topic takes; an error if one of these is larger. A limit is remembered for as long as all
    /// records fit, so that a topic is asked again when it may have been raised.
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

/// Waits for the first answer of a cluster, which tells its id. A login that is refused ends the wait: `events` are those
/// of another client, which tries the same at the same time and whose own thread takes its errors at once.
fn greet(asker: &BaseConsumer<Events>, events: &Events, bootstrap: &str, clock: &SharedClock) -> Result<String> {
    let begin = clock.monotonic();
    loop {
        if let Some(id) = asker.client().fetch_cluster_id(GREETING_TRY) {
            return Ok(id);
        }
        // Serves the log lines: the last one says what is wrong.
        let _ = asker.poll(Duration::ZERO);
        let waited = clock.monotonic().saturating_sub(begin);
        // Another broker of the list may be a better one.
        if let Some((code, reason)) = events.refusal().filter(|_| waited > REFUSAL_WAIT) {
            return Err(refused(code, bootstrap).with_detail(reason));
        }
        if waited > ANSWER_WAIT {
            let error = Error::io(format!("no Kafka broker answers at {bootstrap}"))
                .with_hint("see that the broker runs and that its address is right");
            return Err(match asker.client().context().trouble() {
                Some(trouble) => error.with_detail(trouble),
                None => error,
            });
        }
    }
}

/// Committed offsets of some partitions; an error of one partition is an error.
fn committed_list(
    consumer: &BaseConsumer<Events>,
    wanted: &TopicPartitionList,
    timeout: Duration,
) -> Result<TopicPartitionList, KafkaError> {
    let _ = consumer.poll(Duration::ZERO);
    let list = consumer.committed_offsets(wanted.clone(), timeout)?;
    for element in list.elements() {
        element.error()?;
    }
    Ok(list)
}

/// The same by a read-committed consumer, for as long as transactions are open that hold new offsets.
fn stable(
    consumer: &BaseConsumer<Events>,
    wanted: &TopicPartitionList,
    clock: &SharedClock,
    patience: Duration,
) -> Result<TopicPartitionList> {
    let deadline = clock.monotonic() + patience;
    loop {
        match committed_list(consumer, wanted, STABLE_TRY) {
            Ok(list) => return Ok(list),
            Err(error) if clock.monotonic() > deadline => return Err(failed("read the committed offsets", error)),
            Err(_) => {}
        }
    }
}
