//! Late rows that are kept: `WITH (LATE_TOPIC = 'name')`.
//!
//! A row that missed a window is written as the record that it came from: same partition, time, key, value and headers, in
//! the transaction of the rows that were not late. Whoever wants it in after all declares a stream over that topic. A row
//! that missed one hopping window and made another is kept too.

use crate::execute::record::too_large::TooLarge;
use crate::log::size::record_bytes;
use crate::log::{Header, RecordRef, RecordSet, Run};
use std::sync::Arc;

/// Late records of the running epoch.
#[derive(Debug)]
pub(crate) struct LateRecords {
    topic: Arc<str>,
    set: RecordSet,
    /// Size of the largest record that the topic takes.
    limit: usize,
    /// Records that are larger, until they are taken.
    large: Vec<TooLarge>,
}

impl LateRecords {
    /// For a topic that takes no record of more than `limit` bytes.
    pub(crate) fn new(topic: Arc<str>, limit: usize) -> LateRecords {
        LateRecords { topic, set: RecordSet::default(), limit, large: Vec::new() }
    }

    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The records that were left out because they are larger.
    pub(crate) fn take_large(&mut self) -> Vec<TooLarge> {
        std::mem::take(&mut self.large)
    }

    /// Keeps those records whose ordinals are named; the first record of each run has the ordinal at its place in `starts`.
    pub(crate) fn keep(&mut self, runs: &[Run], starts: &[u64], partition: i32, mut late: Vec<u64>) {
        late.sort_unstable();
        late.dedup();
        let mut late = late.into_iter().peekable();
        for (run, first) in runs.iter().zip(starts) {
            let mut seq = *first;
            run.for_each(|record| {
                if late.next_if_eq(&seq).is_some() {
                    self.push(partition, &record, run.headers((seq - first) as usize));
                }
                seq += 1;
            });
        }
    }

    fn push(&mut self, partition: i32, record: &RecordRef<'_>, headers: Vec<Header>) {
        let bytes = record_bytes(record.key.map(<[u8]>::len), record.value.map(<[u8]>::len), &headers);
        if bytes > self.limit {
            self.large.push(TooLarge::new(partition, record.key, bytes));
            return;
        }
        if !headers.is_empty() {
            self.set.headers.push((self.set.rows.len() as u32, headers));
        }
        self.set.push(partition, record.timestamp, record.key, record.value);
    }

    /// Bytes that wait for the commit.
    pub(crate) fn bytes(&self) -> usize {
        self.set.data.len()
    }

    /// What the commit writes, if anything.
    pub(crate) fn take(&mut self) -> Option<(Arc<str>, Arc<RecordSet>)> {
        (!self.set.is_empty()).then(|| (self.topic.clone(), Arc::new(std::mem::take(&mut self.set))))
    }

    /// The epoch was aborted.
    pub(crate) fn clear(&mut self) {
        self.set.clear();
    }
}
