//! Rows delivered ahead of the commits, under `at_least_once`.
//!
//! They are sent by a producer without transactions and not awaited: waiting for the broker's response to one delivery would
//! delay the rows of the next. Before a commit covers their input offsets, all of them must have been delivered. After a
//! failure, which may be that of earlier rows, the query rewinds to its committed offsets and the producer is replaced.

use super::KafkaWriter;
use crate::error::{Error, Result};
use crate::log::RecordSet;
use crate::log::kafka::producer::Producer;
use std::sync::Arc;

/// The producer and the topic that it wrote last.
pub(super) struct EarlyDelivery {
    producer: Producer,
    topic: Arc<str>,
}

impl KafkaWriter {
    /// Limits batches to `bytes`. The setting is fixed when a producer is created, so the next commit creates a new one.
    pub(super) fn limit_batch_bytes(&mut self, bytes: usize) {
        if bytes < self.batch_bytes {
            self.batch_bytes = bytes;
            self.early = None;
            self.producer = None;
        }
    }

    /// Sends rows without waiting for their delivery.
    pub(super) fn deliver_early(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        self.log.check(topic, records)?;
        let early = match &mut self.early {
            Some(early) => early,
            none => {
                let config = self.log.settings().producer(self.batch_bytes);
                let producer = Producer::new(&config, "producer", self.log.clock().clone())?;
                none.insert(EarlyDelivery { producer, topic: topic.clone() })
            }
        };
        early.topic.clone_from(topic);
        let sent = early.producer.send_async(topic, records);
        sent.or_else(|error| self.drop_early_producer(error))
    }

    /// Waits for all outstanding deliveries.
    pub(super) fn wait_for_deliveries(&mut self) -> Result<()> {
        let drained = self.early.as_ref().map_or(Ok(()), |early| early.producer.drain());
        drained.or_else(|error| self.drop_early_producer(error))
    }

    /// Drops the producer after a failure: late delivery reports would falsify its count.
    fn drop_early_producer(&mut self, error: Error) -> Result<()> {
        if let Some(EarlyDelivery { topic, .. }) = self.early.take() {
            // The topic may have been deleted.
            self.log.forget_count(&topic);
            self.log.check(&topic, &RecordSet::default())?;
        }
        Err(error)
    }
}
