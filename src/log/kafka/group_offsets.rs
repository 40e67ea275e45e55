//! Committed offsets of all groups of a process, through one client.
//!
//! A group's coordinator serves offsets to any client, member or not. So one consumer that joins nothing reads and writes them for
//! all queries, in the requests of an administrator, which name the group:
//!
//! ```text
//! committed   the last ones                              what lag is computed from; who owns a query
//! stable      the last ones, once none is pending        where a query continues (K3)
//! refresh     a write that changes nothing               makes the coordinator's state current (K9)
//! ```
//!
//! The client is replaced when librdkafka cannot be trusted with it any more: after a request that was waited for in vain, and
//! when a coordinator has moved. Requests in flight keep the earlier one until they have ended.

use super::client::{Events, failed_with, retire};
use super::ffi::{commit_offset, committed_offsets, delete_group};
use super::topics::REQUEST_TIMEOUT;
use super::{KafkaLog, make_client};
use crate::error::Result;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for one response: a coordinator that is there responds at once, also when offsets are pending.
const TRY_WAIT: Duration = Duration::from_secs(3);
/// Pause between two attempts to read stable offsets.
const PAUSE: Duration = Duration::from_millis(20);
/// The offsets of a commit that has returned are readable within this time, unless the broker has just been killed.
pub(super) const VISIBLE_WAIT: Duration = Duration::from_millis(500);
/// Groups are spread over the partitions of this topic by a hash of their names.
const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Its partitions unless the broker is configured otherwise (`offsets.topic.num.partitions`), where they cannot be read.
const OFFSETS_PARTITIONS: u32 = 50;

/// The client, made when it is first needed.
#[derive(Default)]
pub(super) struct GroupOffsets(Mutex<Option<Arc<Client>>>);

/// Closed in a thread of its own by the last that uses it.
struct Client(Option<BaseConsumer<Events>>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(retire);
    }
}

impl KafkaLog {
    /// Performs a request, and repeats it while the coordinator moves or starts, in the time that the caller has.
    fn at_coordinator<T>(
        &self,
        timeout: Duration,
        request: impl Fn(&rdkafka::client::Client<Events>, Duration) -> Result<T, RDKafkaErrorCode>,
    ) -> Result<T, RDKafkaErrorCode> {
        let deadline = self.clock().monotonic() + timeout;
        loop {
            let left = deadline.saturating_sub(self.clock().monotonic());
            match self.ask_once(&|client| request(client, left)) {
                Err(code) if is_moving(code) && left > PAUSE => self.clock().sleep(PAUSE),
                result => return result,
            }
        }
    }

    /// Performs one request, and drops the client where that is necessary.
    fn ask_once<T>(
        &self,
        request: &dyn Fn(&rdkafka::client::Client<Events>) -> Result<T, RDKafkaErrorCode>,
    ) -> Result<T, RDKafkaErrorCode> {
        let client = self.offsets_client().map_err(|_| RDKafkaErrorCode::Fail)?;
        let Some(consumer) = &client.0 else { return Err(RDKafkaErrorCode::Fail) };
        // It has no poll loop: this serves its log lines.
        let _ = consumer.poll(Duration::ZERO);
        let result = request(consumer.client());
        if matches!(result, Err(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::NotCoordinator)) {
            let outworn = self.group_offsets_client().0.lock().take_if(|present| Arc::ptr_eq(present, &client));
            drop(outworn);
        }
        result
    }

    fn offsets_client(&self) -> Result<Arc<Client>> {
        if let Some(client) = &*self.group_offsets_client().0.lock() {
            return Ok(client.clone());
        }
        // Made without the lock; of two that are made at once, one is dropped.
        let events = Events::new("offsets", self.clock().clone());
        let settings = self.settings().metadata_client("tidegate-offsets", "read_uncommitted");
        let made = Arc::new(Client(Some(make_client(&settings, events, "make a client")?)));
        Ok(self.group_offsets_client().0.lock().get_or_insert(made).clone())
    }

    /// Committed offsets, whether or not a transaction contains newer ones.
    pub(super) fn last_offsets(
        &self,
        group: &str,
        wanted: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<TopicPartitionList, RDKafkaErrorCode> {
        self.read_offsets(group, wanted, false, timeout)
    }

    /// The same with those of every commit that has returned. What stays pending for longer is not waited for.
    pub(super) fn recent_offsets(
        &self,
        group: &str,
        wanted: &TopicPartitionList,
    ) -> Result<TopicPartitionList, RDKafkaErrorCode> {
        match self.stable(group, wanted, VISIBLE_WAIT) {
            Ok(list) => Ok(list),
            Err(_) => self.last_offsets(group, wanted, REQUEST_TIMEOUT),
        }
    }

    /// Committed offsets; an error while an open transaction contains newer ones.
    pub(super) fn stable_now(
        &self,
        group: &str,
        wanted: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<TopicPartitionList, RDKafkaErrorCode> {
        self.read_offsets(group, wanted, true, timeout)
    }

    /// K3: committed offsets once no open transaction contains newer ones; `patience` is how long one may stay open.
    pub(super) fn stable(
        &self,
        group: &str,
        wanted: &TopicPartitionList,
        patience: Duration,
    ) -> Result<TopicPartitionList> {
        let deadline = self.clock().monotonic() + patience;
        loop {
            match self.stable_now(group, wanted, TRY_WAIT) {
                Ok(list) => return Ok(list),
                Err(code) if self.clock().monotonic() > deadline => {
                    return Err(failed_with("read the committed offsets", code));
                }
                Err(_) => self.clock().sleep(PAUSE),
            }
        }
    }

    fn read_offsets(
        &self,
        group: &str,
        wanted: &TopicPartitionList,
        is_stable: bool,
        timeout: Duration,
    ) -> Result<TopicPartitionList, RDKafkaErrorCode> {
        if wanted.count() == 0 {
            return Ok(TopicPartitionList::new());
        }
        let each = distinct(wanted);
        self.at_coordinator(timeout, |client, left| committed_offsets(client, group, Some(&each), is_stable, left))
    }

    /// K9: makes the coordinator of a group write something, after which it returns what was committed last.
    ///
    /// One that has just loaded more than 16,384 records returns the state at the last multiple of that number until its first
    /// write (Kafka 4.3.1 after a kill -9). The offset that is written is that of another group in the same partition of the
    /// coordinator's topic, because no offset of the group itself is known yet; that group is deleted at once. `topic` is one
    /// that exists.
    pub(super) fn refresh(&self, group: &str, topic: &str) -> Result<()> {
        let partitions = match self.partitions(OFFSETS_TOPIC) {
            // There are no offsets yet.
            Ok(None) => return Ok(()),
            Ok(Some(count)) => count,
            // It may not be described by everyone.
            Err(_) => OFFSETS_PARTITIONS,
        };
        let beside = neighbour(group, partitions);
        let written =
            self.at_coordinator(REQUEST_TIMEOUT, |client, left| commit_offset(client, &beside, (topic, 0, 0), left));
        written.map_err(|code| failed_with(&format!("write to the coordinator of group {group}"), code))?;
        // What remains after an error expires.
        if let Err(error) = self.ask_once(&|client| delete_group(client, &beside, REQUEST_TIMEOUT)) {
            tracing::debug!(target: "kafka", group = beside, %error, "could not delete a group");
        }
        Ok(())
    }
}

/// Errors that end by themselves: a coordinator that moves, that loads its offsets, that has not heard of a new topic yet, or whose
/// connection was cut.
fn is_moving(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::UnknownTopicOrPartition
            | Code::BrokerTransportFailure
    )
}

/// Each partition once: librdkafka refuses a request that names one twice, as a join of two streams over one topic does.
fn distinct(wanted: &TopicPartitionList) -> TopicPartitionList {
    let (mut seen, mut each) = (BTreeSet::new(), TopicPartitionList::new());
    for place in wanted.elements() {
        if seen.insert((place.topic().to_owned(), place.partition())) {
            each.add_partition(place.topic(), place.partition());
        }
    }
    each
}

/// The name of a group in the same partition of the coordinator's topic: the group's own with a number behind it.
fn neighbour(group: &str, partitions: u32) -> String {
    let wanted = coordinator_partition(group, partitions);
    let mut names = (0_u32..).map(|number| format!("{group}-refresh-{number}"));
    names.find(|name| coordinator_partition(name, partitions) == wanted).unwrap_or_default()
}

/// The partition of the coordinator's topic that holds a group: `Utils.abs(groupId.hashCode()) % partitions` in Java.
fn coordinator_partition(group: &str, partitions: u32) -> u32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `kafka-consumer-groups.sh`'s rule, computed with jshell.
    #[test]
    fn a_neighbour_is_in_the_same_partition() {
        assert_eq!(coordinator_partition("abc", 50), 96_354 % 50);
        assert_eq!(coordinator_partition("polygenelubricants", 50), 0);
        for group in ["g", "_confluent-ksql-default_query_CTAS_T_1", ""] {
            let beside = neighbour(group, 50);
            assert_ne!(beside, group);
            assert_eq!(coordinator_partition(&beside, 50), coordinator_partition(group, 50));
        }
    }
}
