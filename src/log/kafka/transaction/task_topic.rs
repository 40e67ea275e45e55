//! The task topic of a group: one partition per task, and a last one for the metadata of the query. Nothing is written to it.

use crate::error::{Error, Result};
use crate::log::kafka::KafkaLog;
use crate::log::{Log, TopicSpec};

/// Name of a group's task topic.
pub(in crate::log::kafka) fn task_topic(group: &str) -> String {
    format!("{group}-tasks")
}

/// Creates the task topic unless it exists, and returns its id. K12: another number of partitions is refused.
pub(in crate::log::kafka) fn ensure_task_topic(log: &KafkaLog, topic: &str, tasks: u32) -> Result<u128> {
    let found = match log.topic(topic)? {
        Some(info) => info,
        None => match log.create_topic(&TopicSpec::new(topic, tasks + 1)) {
            Ok(info) => info,
            // Another process may have created it meanwhile.
            Err(error) => log.topic(topic)?.ok_or(error)?,
        },
    };
    if found.partitions == tasks + 1 {
        return Ok(found.id.0);
    }
    Err(Error::io(format!("internal topic {topic} has {} partitions instead of {}", found.partitions, tasks + 1))
        .with_hint("an input topic was repartitioned: drop the query and create it again"))
}
