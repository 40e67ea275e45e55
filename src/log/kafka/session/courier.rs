//! Rows that leave ahead of the commits, under `at_least_once`.
//!
//! They go through a producer without transactions and are not waited for: a query that waits for the broker's answer to
//! one delivery keeps the rows of the next one back for as long. Before a commit takes the offsets behind them all have
//! to be there. A failure, which may be that of earlier rows, makes the query go back to what was committed, and the
//! producer a new one.

use super::*;

/// A producer and the last topic that it wrote.
pub(super) struct Courier {
    sender: Sender,
    topic: Arc<str>,
}

impl KafkaSession {
    /// Makes batches no larger than `bytes`. A producer keeps the setting with which it was made, so that the next commit
    /// makes a new one.
    pub(super) fn narrow(&mut self, bytes: usize) {
        if bytes < self.batch_bytes {
            self.batch_bytes = bytes;
            self.courier = None;
            self.sender = None;
        }
    }

    /// Sends rows on their way.
    pub(super) fn post(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        self.log.check(topic, records)?;
        let courier = match &mut self.courier {
            Some(courier) => courier,
            none => {
                let config = self.log.settings().producer(self.batch_bytes);
                let sender = Sender::new(&config, "producer", self.log.clock().clone())?;
                none.insert(Courier { sender, topic: topic.clone() })
            }
        };
        courier.topic.clone_from(topic);
        let posted = courier.sender.post(topic, records);
        posted.or_else(|error| self.lost(error))
    }

    /// Everything that was posted has arrived.
    pub(super) fn arrived(&mut self) -> Result<()> {
        let drained = self.courier.as_ref().map_or(Ok(()), |courier| courier.sender.drain());
        drained.or_else(|error| self.lost(error))
    }

    /// Late reports would spoil the count of a producer that has failed.
    fn lost(&mut self, error: Error) -> Result<()> {
        if let Some(Courier { topic, .. }) = self.courier.take() {
            // Perhaps it is the topic that is gone.
            self.log.forget_count(&topic);
            self.log.check(&topic, &RecordSet::default())?;
        }
        Err(error)
    }
}
