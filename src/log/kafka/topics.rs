//! Topics and groups of a Kafka cluster: create, describe, delete, offsets.

use super::KafkaLog;
use super::client::{Events, failed, failed_with};
use super::ffi::{Described, alter_topic, delete_group, describe_topics, forget_offsets};
use super::transaction::{element, task_topic};
use crate::error::{Error, Result};
use crate::log::{
    CommittedOffset, Identity, RecordSet, TopicChanges, TopicId, TopicInfo, TopicPartition, TopicSpec, Watermarks, size,
};
use rdkafka::admin::{AdminOptions, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Timeout of a request to the cluster.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often topics are described before that has failed: librdkafka sends the request to the broker that was the controller in the last
/// metadata, also when that one has just been killed. Any broker that lives names another one.
const DESCRIBE_TRIES: u32 = 3;
/// The parts of the wait of one try, and of the request for metadata before the next one: all of them are the whole wait.
const DESCRIBE_PART: u32 = 4;
const METADATA_PART: u32 = 8;
/// Timeout of a request that is repeated every few seconds.
const IDENTITY_WAIT: Duration = Duration::from_secs(5);
/// How long a new topic may take until every partition has a leader, or a deleted one until it is gone.
const SETTLE_WAIT: Duration = Duration::from_secs(30);
/// How long a partition that exists may be without a leader that the client knows.
const LEADER_WAIT: Duration = Duration::from_secs(5);
/// How long the markers of a commit may take to reach its partitions; they take milliseconds.
const MARKER_WAIT: Duration = Duration::from_secs(1);
/// Interval of checking for the markers.
const MARKER_PAUSE: Duration = Duration::from_millis(2);
/// Interval of checking whether a topic change has taken effect.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

impl KafkaLog {
    pub(super) fn create(&self, spec: &TopicSpec) -> Result<TopicInfo> {
        let doing = format!("create topic {}", spec.name);
        if spec.partitions == 0 {
            return Err(Error::statement(format!("topic {} needs at least one partition", spec.name)));
        }
        // -1 asks for the broker's default.
        let replicas = TopicReplication::Fixed(spec.replicas.map_or(-1, i32::from));
        let mut topic = NewTopic::new(&spec.name, spec.partitions as i32, replicas);
        for (key, value) in &spec.config {
            topic = topic.set(key, value);
        }
        let results = wait(self.admin().create_topics([&topic], &options())).map_err(|e| match e {
            KafkaError::Nul(_) | KafkaError::AdminOpCreation(_) => {
                Error::statement(format!("{:?} cannot be the name of a topic", spec.name)).because(e)
            }
            e => failed(&doing, e),
        })?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    return Err(Error::statement(format!("topic {name} exists already")));
                }
                Err((_, code)) => return Err(failed_with(&doing, code)),
            }
        }
        let deadline = self.clock().monotonic() + SETTLE_WAIT;
        loop {
            let described = self.describe_raw(&[&spec.name])?.pop().flatten();
            if described.is_some_and(|d| d.ready && d.partitions == spec.partitions) {
                return self.describe_topic(&spec.name)?.ok_or_else(|| Error::io(format!("{} is gone", spec.name)));
            }
            if self.clock().monotonic() > deadline {
                return Err(Error::io(format!("topic {} was created but has no leader yet", spec.name)));
            }
            self.clock().sleep(SETTLE_PAUSE);
        }
    }

    pub(super) fn describe_topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        Ok(self.infos(&[name])?.pop())
    }

    pub(super) fn all_topics(&self) -> Result<Vec<TopicInfo>> {
        let metadata =
            self.metadata_client().fetch_metadata(None, REQUEST_TIMEOUT).map_err(|e| failed("list topics", e))?;
        let mut names: Vec<&str> = metadata.topics().iter().map(|t| t.name()).collect();
        names.sort_unstable();
        self.infos(&names)
    }

    /// The topics that exist among `names`, in their order.
    fn infos(&self, names: &[&str]) -> Result<Vec<TopicInfo>> {
        let described = self.describe_raw(names)?;
        let known: Vec<(&str, Described)> =
            names.iter().zip(described).filter_map(|(name, d)| Some((*name, d?))).collect();
        let mut configs = self.configs(&known)?;
        let info = |(name, d): (&str, Described)| TopicInfo {
            name: name.to_owned(),
            id: TopicId(d.id),
            partitions: d.partitions,
            replicas: d.replicas,
            config: configs.remove(name).unwrap_or_default(),
        };
        Ok(known.into_iter().map(info).collect())
    }

    fn describe_raw(&self, names: &[&str]) -> Result<Vec<Option<Described>>> {
        self.describe_within(names, REQUEST_TIMEOUT)
    }

    fn describe_within(&self, names: &[&str], wait: Duration) -> Result<Vec<Option<Described>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        use RDKafkaErrorCode as Code;
        let (client, mut tries) = (self.metadata_client().client(), DESCRIBE_TRIES);
        loop {
            tries -= 1;
            match describe_topics(client, names, wait / DESCRIBE_PART) {
                Err(Code::BrokerTransportFailure | Code::OperationTimedOut) if tries > 0 => {
                    // Without a response the next try says why.
                    let _ = client.fetch_metadata(names.first().copied(), wait / METADATA_PART);
                }
                described => return described.map_err(|code| failed_with("describe topics", code)),
            }
        }
    }

    /// Ids and partition counts. Times out earlier than other requests, because it also shows whether the cluster is reachable.
    pub(super) fn identify(&self, names: &[&str]) -> Result<Vec<Option<Identity>>> {
        let identity = |d: Described| Identity { id: TopicId(d.id), partitions: d.partitions };
        let found = self.describe_within(names, IDENTITY_WAIT)?;
        Ok(found.into_iter().map(|d| d.map(identity)).collect())
    }

    /// Settings that are set on the topics themselves.
    fn configs(&self, topics: &[(&str, Described)]) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let mut all = BTreeMap::new();
        if topics.is_empty() {
            return Ok(all);
        }
        let wanted: Vec<_> = topics.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        let results =
            wait(self.admin().describe_configs(&wanted, &options())).map_err(|e| failed("describe topics", e))?;
        for ((name, _), result) in topics.iter().zip(results) {
            // A topic that was deleted meanwhile, or whose settings this client is not authorized to read.
            let Ok(resource) = result else { continue };
            let own = resource.entries.into_iter().filter(|e| e.source == ConfigSource::DynamicTopic);
            all.insert((*name).to_owned(), own.filter_map(|e| Some((e.name, e.value?))).collect());
        }
        Ok(all)
    }

    /// `max.message.bytes` of topics, wherever it is set; `None` = unknown, because the topic does not exist or this client is
    /// not authorized to read its settings.
    pub(super) fn largest(&self, topics: &[&str]) -> Result<Vec<Option<usize>>> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let doing = "ask topics for their largest records";
        let results = wait(self.admin().describe_configs(&wanted, &options())).map_err(|e| failed(doing, e))?;
        let bytes = |resource: &ConfigResource| resource.get(size::MAX_MESSAGE_BYTES)?.value.as_ref()?.parse().ok();
        Ok(results.into_iter().map(|result| result.ok().as_ref().and_then(bytes)).collect())
    }

    /// Deletes the records below `before`, or all of them.
    pub(super) fn trim(&self, at: &TopicPartition, before: i64) -> Result<i64> {
        let doing = format!("delete records of {}-{}", at.topic, at.partition);
        let high = self.offsets(at)?.high;
        if before > high {
            return Err(crate::log::topic::beyond_the_end(at, before, high));
        }
        let mut list = TopicPartitionList::new();
        // -1 means "all" in DeleteRecords.
        let offset = if before < 0 { Offset::End } else { Offset::Offset(before) };
        list.add_partition_offset(&at.topic, at.partition, offset).map_err(|e| failed(&doing, e))?;
        let done = wait(self.admin().delete_records(&list, &options())).map_err(|e| failed(&doing, e))?;
        let element = done.find_partition(&at.topic, at.partition);
        match element.map(|e| (e.error(), e.offset())) {
            Some((Ok(()), Offset::Offset(low))) => Ok(low),
            Some((Err(error), _)) => Err(failed(&doing, error)),
            _ => Ok(self.offsets(at)?.low),
        }
    }

    pub(super) fn alter(&self, name: &str, changes: &TopicChanges) -> Result<()> {
        let doing = format!("alter topic {name}");
        let refused = alter_topic(self.metadata_client().client(), name, changes, REQUEST_TIMEOUT);
        if let Some((code, reason)) = refused.map_err(|code| failed_with(&doing, code))? {
            let error = failed_with(&doing, code);
            return Err(if reason.is_empty() { error } else { error.with_detail(reason) });
        }
        self.forget_count(name);
        // The broker confirms the change before each of its parts has it.
        let deadline = self.clock().monotonic() + SETTLE_WAIT;
        let has = |info: &TopicInfo| changes.iter().all(|(key, value)| info.config.get(key) == value.as_ref());
        while self.describe_topic(name)?.is_some_and(|info| !has(&info)) && self.clock().monotonic() < deadline {
            self.clock().sleep(SETTLE_PAUSE);
        }
        Ok(())
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let doing = format!("delete topic {name}");
        let results = wait(self.admin().delete_topics(&[name], &options())).map_err(|e| failed(&doing, e))?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                    return Err(Error::not_found(format!("topic {name} does not exist")));
                }
                Err((_, code)) => return Err(failed_with(&doing, code)),
            }
        }
        self.forget_count(name);
        let deadline = self.clock().monotonic() + SETTLE_WAIT;
        while self.describe_raw(&[name])?.pop().flatten().is_some() {
            if self.clock().monotonic() > deadline {
                return Err(Error::io(format!("topic {name} was not deleted in time")));
            }
            self.clock().sleep(SETTLE_PAUSE);
        }
        Ok(())
    }

    pub(super) fn offsets(&self, at: &TopicPartition) -> Result<Watermarks> {
        // The stable one first: then it cannot be above the high one.
        let (_, mut stable) = self.ask(self.committed_client(), at)?;
        let (low, high) = self.ask(self.metadata_client(), at)?;
        // This process sees its own commits, although their markers arrive after the commit's response.
        let recent = self.recent().lock().remove(at);
        if let Some(committed) = recent {
            while stable < high && self.clock().monotonic().saturating_sub(committed) < MARKER_WAIT {
                self.clock().sleep(MARKER_PAUSE);
                stable = self.ask(self.committed_client(), at)?.1;
            }
        }
        Ok(Watermarks { low, stable: stable.clamp(low, high), high })
    }

    pub(super) fn end_offset(&self, at: &TopicPartition) -> Result<i64> {
        Ok(self.ask(self.metadata_client(), at)?.1)
    }

    /// First and last offset of a partition.
    fn ask(&self, consumer: &BaseConsumer<Events>, at: &TopicPartition) -> Result<(i64, i64)> {
        let doing = format!("look at {}-{}", at.topic, at.partition);
        self.patiently(&doing, at, || consumer.fetch_watermarks(&at.topic, at.partition, REQUEST_TIMEOUT))
    }

    /// Sends a request to the leader of a partition, and retries while there is none or the client does not know it yet, as is
    /// usual for a new topic.
    fn patiently<T>(&self, doing: &str, at: &TopicPartition, ask: impl Fn() -> Result<T, KafkaError>) -> Result<T> {
        use RDKafkaErrorCode as Code;
        let deadline = self.clock().monotonic() + LEADER_WAIT;
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let leaderless = match error.rdkafka_error_code() {
                Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable) => true,
                // librdkafka also reports a partition without a leader this way.
                Some(Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic) => {
                    self.partitions(&at.topic)?.is_some_and(|n| (0..n as i32).contains(&at.partition))
                }
                _ => false,
            };
            if !leaderless {
                return Err(failed(doing, error));
            }
            if self.clock().monotonic() > deadline {
                return Err(no_leader(at).because(error));
            }
            self.clock().sleep(SETTLE_PAUSE);
        }
    }

    /// Number of partitions of a topic; `None` = does not exist.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        Ok(self.describe_raw(&[topic])?.pop().flatten().map(|d| d.partitions))
    }

    /// Ids of topics; 0 = does not exist.
    pub(super) fn ids(&self, topics: &[&str]) -> Result<Vec<u128>> {
        Ok(self.describe_raw(topics)?.into_iter().map(|d| d.map_or(0, |d| d.id)).collect())
    }

    /// Refuses records that no broker would accept, before any of them is sent. Partition counts are cached: they only grow,
    /// and the deletion of a topic is noticed when its rows are not delivered.
    pub(super) fn check(&self, topic: &str, records: &RecordSet) -> Result<()> {
        let mut needed = 0;
        for row in &records.rows {
            if row.timestamp < 0 {
                return Err(Error::data(format!("a record for topic {topic} has a timestamp before 1970")));
            }
            let Ok(partition) = u32::try_from(row.partition) else {
                return Err(Error::not_found(format!("topic {topic} has no partition {}", row.partition)));
            };
            needed = needed.max(partition + 1);
        }
        if self.counts().lock().get(topic).is_some_and(|known| *known >= needed.max(1)) {
            return Ok(());
        }
        let found = self.partitions(topic)?.ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?;
        if needed > found {
            return Err(Error::not_found(format!("topic {topic} has no partition {}", needed - 1)));
        }
        self.counts().lock().insert(topic.to_owned(), found);
        Ok(())
    }

    /// Forgets the cached properties of a topic.
    pub(super) fn forget_count(&self, topic: &str) {
        self.counts().lock().remove(topic);
        self.0.limits.lock().remove(topic);
    }

    pub(super) fn offset_at(&self, at: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        let doing = format!("find a time in {}-{}", at.topic, at.partition);
        let mut list = TopicPartitionList::new();
        // Negative timestamps have other meanings in ListOffsets; no record is older than 1970.
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(timestamp.max(0)))
            .map_err(|e| failed(&doing, e))?;
        self.patiently(&doing, at, || {
            let found = self.metadata_client().offsets_for_times(list.clone(), REQUEST_TIMEOUT)?;
            let Some(element) = found.find_partition(&at.topic, at.partition) else { return Ok(None) };
            element.error()?;
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
        })
    }

    pub(super) fn group_offsets(&self, group: &str, at: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        let mut wanted = TopicPartitionList::new();
        for at in at {
            wanted.add_partition(&at.topic, at.partition);
        }
        let list = self.recent_offsets(group, &wanted);
        let list = list.map_err(|code| failed_with(&format!("read the offsets of group {group}"), code))?;
        Ok(at.iter().map(|at| element(&list, &at.topic, at.partition)).collect())
    }

    /// A static member stays in its group until its session ends, and a group with members cannot be deleted. So the task topic
    /// is deleted, and with it the commit metadata; the other offsets are deleted one by one (OffsetDelete, KIP-496), which is
    /// allowed for topics that no member subscribes to. The broker removes the empty group by itself.
    pub(super) fn forget_group(&self, group: &str) -> Result<()> {
        let doing = format!("delete group {group}");
        if self.describe_raw(&[&task_topic(group)])?.pop().flatten().is_some() {
            self.delete(&task_topic(group))?;
        }
        // Dropped whatever comes of it: a coordinator that comes back later must not find requests that have timed out.
        let client = self.offsets_of(group, "read_uncommitted")?;
        let deleted = match delete_group(client.client(), group, REQUEST_TIMEOUT) {
            Err(RDKafkaErrorCode::GroupIdNotFound) => Ok(()),
            Err(RDKafkaErrorCode::NonEmptyGroup) => forget_offsets(client.client(), group, REQUEST_TIMEOUT),
            deleted => deleted,
        };
        super::client::retire(client);
        deleted.map_err(|code| failed_with(&doing, code))
    }
}

/// The error for a partition without a leader. It returns with its broker, so this is not a missing topic.
fn no_leader(at: &TopicPartition) -> Error {
    Error::io(format!("partition {} of topic {} has no leader", at.partition, at.topic)).with_hint(
        "check that the brokers of its replicas are running: kafka-topics.sh --describe --unavailable-partitions lists it",
    )
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

/// Blocks until rdkafka's response is available; its own thread produces it.
fn wait<T>(future: impl Future<Output = Result<T, KafkaError>>) -> Result<T, KafkaError> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}
