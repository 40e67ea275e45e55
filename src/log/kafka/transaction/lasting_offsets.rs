//! K4: offsets that do not expire while their query runs.
//!
//! A broker deletes offsets that were committed longer ago than `offsets.retention.minutes` (7 days). A query that has nothing to
//! commit for that long commits what it has again, once an hour.
//!
//! The writers of earlier versions were members of their group. A group that has had a member is one for ever, and the broker
//! then counts from the moment when the last one left, whatever is committed later. So once a day a member joins such a
//! group and leaves it. It owns nothing, and no epoch is open meanwhile.

use super::KafkaWriter;
use crate::error::{Error, Result};
use crate::log::kafka::KafkaLog;
use crate::log::kafka::client::{Events, failed, retire};
use crate::log::kafka::make_client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Duration;

/// Age of the last commit at which it is repeated.
const COMMIT_AGE_MAX: Duration = Duration::from_secs(3600);
/// Age of the last membership at which a group of an earlier version gets another one.
const MEMBERSHIP_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Timeout of looking at a group.
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// A group forms within the broker's rebalance delay (3 s).
const JOIN_WAIT: Duration = Duration::from_secs(30);
/// Timeout of one poll for group events.
const POLL_WAIT: Duration = Duration::from_millis(50);

impl KafkaWriter {
    /// Whether the last commit is so old that it has to be repeated.
    pub(super) fn is_commit_old(&self) -> bool {
        self.log.clock().monotonic().saturating_sub(self.last_success) >= COMMIT_AGE_MAX
    }

    /// Lets a group of an earlier version have a member for a moment, if it has had none for a day.
    pub(super) fn renew_membership(&mut self) {
        let now = self.log.clock().monotonic();
        if now < self.next_renewal {
            return;
        }
        self.next_renewal = now + MEMBERSHIP_AGE_MAX;
        if let Err(error) = join_for_a_moment(&self.log, &self.spec.group, &self.topic) {
            tracing::warn!(target: "kafka", group = self.spec.group, %error, "could not renew the membership of a group");
            self.next_renewal = now + COMMIT_AGE_MAX;
        }
    }

    /// When [`KafkaWriter::renew_membership`] does it first.
    pub(super) fn first_renewal(log: &KafkaLog) -> Duration {
        log.clock().monotonic() + COMMIT_AGE_MAX
    }
}

fn join_for_a_moment(log: &KafkaLog, group: &str, topic: &str) -> Result<()> {
    let found = log.metadata_client().fetch_group_list(Some(group), LOOK_WAIT);
    let found = found.map_err(|e| failed("look at a group", e))?;
    if !found.groups().iter().any(|group| !group.protocol_type().is_empty() && group.members().is_empty()) {
        return Ok(());
    }
    tracing::info!(target: "kafka", group, "renewing the membership of a group of an earlier version");
    let events = Events::new(format!("group {group}"), log.clock().clone());
    let member: BaseConsumer<Events> = make_client(&log.settings().visitor(group), events, "make a group member")?;
    let joined = joined(log, &member, topic);
    // Leaves the group.
    retire(member);
    joined
}

fn joined(log: &KafkaLog, member: &BaseConsumer<Events>, topic: &str) -> Result<()> {
    member.subscribe(&[topic]).map_err(|e| failed("join a group", e))?;
    let deadline = log.clock().monotonic() + JOIN_WAIT;
    loop {
        // Nothing is in the topic; the context has logged errors already.
        let _ = member.poll(POLL_WAIT);
        match member.assignment() {
            Ok(list) if list.count() > 0 => return Ok(()),
            _ if log.clock().monotonic() > deadline => return Err(Error::io("the group did not form in time")),
            _ => {}
        }
    }
}
