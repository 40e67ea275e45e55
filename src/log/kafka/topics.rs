//! Topics and groups of a Kafka cluster: create, describe, delete, offsets.

use super::client::{failed, failed_with};
use super::ffi::{Described, describe_topics, forget_offsets};
use super::session::{element, task_topic};
use super::{KafkaLog, committed_list};
use crate::error::{Error, Result};
use crate::log::{CommittedOffset, TopicId, TopicInfo, TopicPartition, TopicSpec, Watermarks};
use rdkafka::admin::{AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
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

/// How long the cluster may take to answer a question.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a new topic may take until every partition has a leader, or an old one until it is gone.
const SETTLE_WAIT: Duration = Duration::from_secs(30);
/// How often to look whether it has.
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
        let results = wait(self.admin().create_topics([&topic], &options())).map_err(|e| failed(&doing, e))?;
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
        let metadata = self.asker().fetch_metadata(None, ANSWER_WAIT).map_err(|e| failed("list topics", e))?;
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
        if names.is_empty() {
            return Ok(Vec::new());
        }
        describe_topics(self.asker().client(), names, ANSWER_WAIT).map_err(|code| failed_with("describe topics", code))
    }

    /// Settings that were made for the topics themselves.
    fn configs(&self, topics: &[(&str, Described)]) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let mut all = BTreeMap::new();
        if topics.is_empty() {
            return Ok(all);
        }
        let wanted: Vec<_> = topics.iter().map(|(name, _)| ResourceSpecifier::Topic(name)).collect();
        let results =
            wait(self.admin().describe_configs(&wanted, &options())).map_err(|e| failed("describe topics", e))?;
        for ((name, _), result) in topics.iter().zip(results) {
            // A topic that was deleted meanwhile, or whose settings we may not see.
            let Ok(resource) = result else { continue };
            let own = resource.entries.into_iter().filter(|e| e.source == ConfigSource::DynamicTopic);
            all.insert((*name).to_owned(), own.filter_map(|e| Some((e.name, e.value?))).collect());
        }
        Ok(all)
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
        let doing = format!("look at {}-{}", at.topic, at.partition);
        let ask = |consumer: &BaseConsumer<_>| {
            consumer.fetch_watermarks(&at.topic, at.partition, ANSWER_WAIT).map_err(|e| failed(&doing, e))
        };
        // The stable one first: then it cannot be above the high one.
        let (_, stable) = ask(self.committed_asker())?;
        let (low, high) = ask(self.asker())?;
        Ok(Watermarks { low, stable: stable.clamp(low, high), high })
    }

    pub(super) fn offset_at(&self, at: &TopicPartition, timestamp: i64) -> Result<Option<i64>> {
        let doing = format!("find a time in {}-{}", at.topic, at.partition);
        let mut list = TopicPartitionList::new();
        // Negative numbers have other meanings in this request; no record is older than 1970.
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(timestamp.max(0)))
            .map_err(|e| failed(&doing, e))?;
        let found = self.asker().offsets_for_times(list, ANSWER_WAIT).map_err(|e| failed(&doing, e))?;
        let Some(element) = found.find_partition(&at.topic, at.partition) else { return Ok(None) };
        element.error().map_err(|e| failed(&doing, e))?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    }

    pub(super) fn group_offsets(&self, group: &str, at: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        let mut wanted = TopicPartitionList::new();
        for at in at {
            wanted.add_partition(&at.topic, at.partition);
        }
        let consumer = self.offsets_of(group, "read_uncommitted")?;
        let list = committed_list(&consumer, &wanted, ANSWER_WAIT)
            .map_err(|e| failed(&format!("read the offsets of group {group}"), e))?;
        super::client::retire(consumer);
        Ok(at.iter().map(|at| element(&list, &at.topic, at.partition)).collect())
    }

    /// A static member stays in its group until its session ends, and a group with members cannot be deleted. So the task
    /// topic goes, and with it the blobs; the other offsets are deleted one by one, which is allowed for topics that no
    /// member subscribes to. The broker removes the empty group by itself.
    pub(super) fn forget_group(&self, group: &str) -> Result<()> {
        let doing = format!("delete group {group}");
        if self.describe_raw(&[&task_topic(group)])?.pop().flatten().is_some() {
            self.delete(&task_topic(group))?;
        }
        let results = match wait(self.admin().delete_groups(&[group], &options())) {
            Ok(results) => results,
            Err(error) => return Err(failed(&doing, error)),
        };
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((_, RDKafkaErrorCode::NonEmptyGroup)) => {
                    forget_offsets(self.asker().client(), group, ANSWER_WAIT).map_err(|c| failed_with(&doing, c))?;
                }
                Err((_, code)) => return Err(failed_with(&doing, code)),
            }
        }
        Ok(())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_WAIT)).operation_timeout(Some(ANSWER_WAIT))
}

/// Blocks until rdkafka's answer is there; its own thread makes it.
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
