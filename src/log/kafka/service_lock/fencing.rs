//! Whether the broker fences: refuses an earlier producer of a transactional id once a later one was initialized.
//!
//! Every query rests on it (K2, K3), and other systems that speak Kafka's protocol need not do it. So two producers of one id are
//! made at the start, and the earlier one must not get any further:
//!
//! ```text
//! earlier   init   begin, offsets, commit                       begin, offsets --> refused, or the start is
//! later                                     init
//! ```
//!
//! It takes about 0.2 s. An error of another kind proves nothing; it is that of a broker that cannot be reached.

use crate::error::{Error, Result};
use crate::log::kafka::KafkaLog;
use crate::log::kafka::client::BATCH_BYTES;
use crate::log::kafka::ffi::{CallError, GroupMetadata};
use crate::log::kafka::producer::{COMMIT_WAIT, Producer};
use rdkafka::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

/// Timeout of one request.
const WAIT: Duration = Duration::from_secs(30);

/// How a producer learns that a later one of its transactional id was initialized.
pub(in crate::log::kafka) const FENCED: [RDKafkaErrorCode; 3] =
    [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::ProducerFenced, RDKafkaErrorCode::InvalidProducerEpoch];

/// Checks it with producers of this transactional id, whose transactions contain these offsets of the group.
pub(super) fn check(log: &KafkaLog, group: &str, id: &str, offsets: &TopicPartitionList) -> Result<()> {
    let earlier = initialized(log, id)?;
    send(&earlier, group, offsets).map_err(failed)?;
    earlier.commit(id, COMMIT_WAIT).map_err(|e| Error::io(DOING).with_detail(e))?;
    let _later = initialized(log, id)?;
    match send(&earlier, group, offsets) {
        Err(error) if FENCED.contains(&error.code) => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => Err(Error::statement(
            "these brokers do not fence earlier producers, so that no query could be exact on them",
        )
        .with_detail(format!("a producer of transactional id {id} could write after a later one was initialized"))
        .with_hint("use Apache Kafka 2.5 or newer, or brokers that implement KIP-98 and KIP-447")),
    }
}

const DOING: &str = "could not check whether the brokers fence earlier producers";

fn failed(error: CallError) -> Error {
    Error::io(DOING).with_detail(error.to_string()).because(error.code)
}

fn initialized(log: &KafkaLog, id: &str) -> Result<Producer> {
    let producer = Producer::new(&log.settings().transactional(id, BATCH_BYTES), id, log.clock().clone())?;
    producer.raw().init_transactions(WAIT).map_err(failed)?;
    Ok(producer)
}

fn send(producer: &Producer, group: &str, offsets: &TopicPartitionList) -> std::result::Result<(), CallError> {
    let invalid = || CallError { code: RDKafkaErrorCode::InvalidGroupId, reason: "no name of a group".into() };
    let group = GroupMetadata::of(group).ok_or_else(invalid)?;
    producer.raw().begin()?;
    producer.raw().send_offsets(offsets, &group, WAIT)
}
