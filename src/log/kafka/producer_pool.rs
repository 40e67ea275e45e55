//! Producers for writes outside of transactions: INSERT VALUES, the command log, the processing log.
//!
//! Delivery reports are counted per producer, so an append needs one of its own, which it borrows here. No lock is held while
//! the cluster responds, and an append that waits for one broker does not delay others.

use super::client::{BATCH_BYTES, KafkaSettings};
use super::producer::{DRAIN_WAIT, Producer};
use crate::error::{Error, Kind, Result};
use crate::types::clock::SharedClock;
use parking_lot::{Condvar, Mutex};

/// Producers at a time: each has a few threads, and a connection to each broker that it writes to.
const LENT_MAX: usize = 8;

/// Idle producers, and the number of borrowed ones.
pub(super) struct ProducerPool {
    pool: Mutex<Pool>,
    /// Signalled when one is returned.
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Producer>,
    lent: usize,
}

impl ProducerPool {
    /// A pool with one producer.
    pub(super) fn new(first: Producer) -> ProducerPool {
        ProducerPool { pool: Mutex::new(Pool { idle: vec![first], lent: 0 }), returned: Condvar::new() }
    }

    /// Performs one append. A producer whose append failed is not used again: late reports would falsify its count.
    pub(super) fn lend<T>(
        &self,
        settings: &KafkaSettings,
        clock: &SharedClock,
        append: impl FnOnce(&mut Producer) -> Result<T>,
    ) -> Result<T> {
        let mut loan = self.take()?;
        let mut producer = match loan.producer.take() {
            Some(producer) => producer,
            None => plain_producer(settings, clock)?,
        };
        let done = append(&mut producer)?;
        loan.producer = Some(producer);
        Ok(done)
    }

    /// Borrows a producer, an idle one if there is any.
    fn take(&self) -> Result<Loan<'_>> {
        let mut pool = self.pool.lock();
        // Each borrowed producer is returned within its own time limit.
        if self.returned.wait_while_for(&mut pool, |pool| pool.lent == LENT_MAX, DRAIN_WAIT).timed_out() {
            return Err(Error::new(Kind::Busy, format!("{LENT_MAX} writes are waiting for the cluster to respond"))
                .with_hint("try again when the brokers respond"));
        }
        pool.lent += 1;
        Ok(Loan { owner: self, producer: pool.idle.pop() })
    }
}

/// A producer without transactions.
pub(super) fn plain_producer(settings: &KafkaSettings, clock: &SharedClock) -> Result<Producer> {
    Producer::new(&settings.producer(BATCH_BYTES), "producer", clock.clone())
}

/// A borrowed producer. Dropping it returns the slot to the pool, with the producer if that may be used again.
struct Loan<'a> {
    owner: &'a ProducerPool,
    producer: Option<Producer>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = self.owner.pool.lock();
        pool.lent -= 1;
        pool.idle.extend(self.producer.take());
        drop(pool);
        self.owner.returned.notify_one();
    }
}
