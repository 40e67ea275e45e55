//! Apache Kafka.

use crate::log::{Header, RecordRef};

/// Messages of one partition, as librdkafka handed them over.
#[derive(Debug)]
pub struct Messages {}

impl Messages {
    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        0
    }

    /// Calls `each` for every record.
    pub(crate) fn for_each(&self, _each: impl FnMut(RecordRef<'_>)) {}

    /// Timestamp of the first record.
    pub(crate) fn first_timestamp(&self) -> i64 {
        0
    }
}

/// Headers of a message, still in librdkafka's memory.
#[derive(Clone, Copy, Debug)]
pub struct RawHeaders<'a>(std::marker::PhantomData<&'a ()>);

impl RawHeaders<'_> {
    /// Copies them out.
    pub fn to_vec(&self) -> Vec<Header> {
        Vec::new()
    }
}
