//! Late rows that are kept: `WITH (LATE_TOPIC = 'name')`.
//!
//! A row that missed a window is written as the record that it came from: same partition, time, key, value and headers, in
//! the transaction of the rows that were not late. Whoever wants it in after all declares a stream over that topic. A row
//! that missed one hopping window and made another is kept too.

use crate::log::{RecordSet, Run};
use std::sync::Arc;

/// Late records of the running epoch.
#[derive(Debug)]
pub(super) struct LateRecords {
    topic: Arc<str>,
    set: RecordSet,
}

impl LateRecords {
    pub(super) fn new(topic: Arc<str>) -> LateRecords {
        LateRecords { topic, set: RecordSet::default() }
    }

    /// Keeps those records of a run whose ordinals are named; the run's first record has the ordinal `first`.
    pub(super) fn keep(&mut self, run: &Run, partition: i32, first: u64, mut late: Vec<u64>) {
        late.sort_unstable();
        late.dedup();
        let mut late = late.into_iter().peekable();
        let mut index = 0;
        run.for_each(|record| {
            if late.next_if_eq(&(first + index as u64)).is_some() {
                let headers = run.headers(index);
                if !headers.is_empty() {
                    self.set.headers.push((self.set.rows.len() as u32, headers));
                }
                self.set.push(partition, record.timestamp, record.key, record.value);
            }
            index += 1;
        });
    }

    /// Bytes that wait for the commit.
    pub(super) fn bytes(&self) -> usize {
        self.set.data.len()
    }

    /// What the commit writes, if anything.
    pub(super) fn take(&mut self) -> Option<(Arc<str>, RecordSet)> {
        (!self.set.is_empty()).then(|| (self.topic.clone(), std::mem::take(&mut self.set)))
    }

    /// The epoch was aborted.
    pub(super) fn clear(&mut self) {
        self.set.clear();
    }
}
