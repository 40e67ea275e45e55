//! Rows that leave ahead of the commits, under `at_least_once`.
//!
//! They go through a producer without transactions and are not waited for: a query that waits for the broker's answer to
//! one delivery keeps the rows of the next one back for as long. Before a commit takes the offsets behind them all have
//! to be there. A failure, which may be that of earlier rows, makes the query go back to what was committed, and the
//! producer a new one.

use super::KafkaWriter;
use crate::error::{Error, Result};
use crate::log::RecordSet;
use crate::log::kafka::producer::Producer;
use std::sync::Arc;

/// A producer and the last topic that it wrote.
pub(super) struct EarlyDelivery {
    producer: Producer,
    topic: Arc<str>,
}

impl KafkaWriter {
    /// Makes batches no larger than `bytes`. A producer keeps the setting with which it was made, so that the next commit
    /// makes a new one.
    pub(super) fn limit_batch_bytes(&mut self, bytes: usize) {
        if bytes < self.batch_bytes {
            self.batch_bytes = bytes;
            self.early = None;
            self.producer = None;
        }
    }

    /// Sends rows on their way.
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
        let posted = early.producer.post(topic, records);
        posted.or_else(|error| self.drop_early_producer(error))
    }

    /// Everything that was posted has arrived.
    pub(super) fn wait_for_deliveries(&mut self) -> Result<()> {
        let drained = self.early.as_ref().map_or(Ok(()), |early| early.producer.drain());
        drained.or_else(|error| self.drop_early_producer(error))
    }

    /// Late reports would spoil the count of a producer that has failed.
    fn drop_early_producer(&mut self, error: Error) -> Result<()> {
        if let Some(EarlyDelivery { topic, .. }) = self.early.take() {
            // Perhaps it is the topic that is gone.
            self.log.forget_count(&topic);
            self.log.check(&topic, &RecordSet::default())?;
        }
        Err(error)
    }
}
