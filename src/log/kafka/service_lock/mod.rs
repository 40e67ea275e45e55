//! The place of a process in its service: one process per slot (K1).
//!
//! ```text
//! place     static member of the group `..._engine`, instance id = slot       a second process of the slot is refused at once
//! holder    offset metadata of the group's task topic: who holds the place    ... and is told who holds it
//! fencing   does the broker refuse an earlier producer of a transactional id?   without that no query would be exact
//! ```
//!
//! The place keeps an operator from starting a service twice. That two writers cannot both write a query does not rest on it:
//! see [`super::transaction`].

mod fencing;
mod group_member;

use super::KafkaLog;
use super::commit_metadata::CommitMetadata;
use super::process_identity::{self, busy};
use super::topics::REQUEST_TIMEOUT;
use super::transaction::{SlotClaim, element, ensure_task_topic, task_topic};
use crate::error::Result;
use crate::log::ServiceLock;
use group_member::GroupMember;
use rdkafka::{Offset, TopicPartitionList};
use std::fmt;

/// The task topic has a partition for the holder, and one for the check of fencing.
const TASKS: u32 = 1;

/// A place that this process holds until it is dropped or ends.
pub(super) struct KafkaServiceLock {
    _member: GroupMember,
    _claim: SlotClaim,
    group: String,
}

impl fmt::Debug for KafkaServiceLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaServiceLock").field("group", &self.group).finish()
    }
}

impl ServiceLock for KafkaServiceLock {}

impl KafkaServiceLock {
    /// Takes the place, or an error of [`Kind::Busy`] that names its holder; and checks that the broker fences.
    pub(super) fn acquire(log: &KafkaLog, group: &str, slot: &str) -> Result<KafkaServiceLock> {
        let claim = SlotClaim::new(log, group, slot).ok_or_else(|| busy(group, &process_identity::own()))?;
        let topic = task_topic(group);
        ensure_task_topic(log, &topic, TASKS)?;
        log.refresh(group, &topic)?;
        let holder = || last_holder(log, group, &topic);
        let member = GroupMember::join(log, group, slot, &topic, &holder)?;
        member.wait_for_tasks(TASKS as usize + 1)?;
        let owner = format!("{group}-{slot}");
        // An earlier version reads it as the commit of a writer.
        let sequence = format!("{}.{}.1", log.clock().now_ms(), std::process::id());
        let metadata = CommitMetadata::new(&owner, &process_identity::own(), &sequence, 0, Vec::new());
        member.commit(&list(&topic, 0, &metadata.text())?)?;
        fencing::check(log, group, &format!("{owner}-fencing"), &list(&topic, 1, "")?)?;
        Ok(KafkaServiceLock { _member: member, _claim: claim, group: group.to_owned() })
    }
}

/// Client id of the process that took the place last.
fn last_holder(log: &KafkaLog, group: &str, topic: &str) -> Result<Option<String>> {
    let mut first = TopicPartitionList::new();
    first.add_partition(topic, 0);
    let list = log.last_offsets(group, &first, REQUEST_TIMEOUT);
    let list = list.map_err(|code| super::client::failed_with("read who holds the service", code))?;
    Ok(element(&list, topic, 0).and_then(|o| CommitMetadata::parse(&o.metadata)).map(|holder| holder.process))
}

/// An offset of a partition of the task topic, with this text.
fn list(topic: &str, partition: i32, metadata: &str) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    let added = list.add_partition_offset(topic, partition, Offset::Offset(0));
    added.map_err(|e| super::client::failed("name an offset", e))?;
    if let Some(mut found) = list.find_partition(topic, partition) {
        found.set_metadata(metadata);
    }
    Ok(list)
}
