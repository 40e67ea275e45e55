//! K14: the outcome of a failed commit.
//!
//! The commit metadata says which, as long as the broker keeps its promises. One that was killed and restarted may not (see
//! [`super::hanging_transactions`]): it forgets to write markers, so that offsets stay pending, and the marker of one commit
//! can come so late that it commits rows of the next. Therefore the rows are examined as well: `read_committed` readers see
//! those of the failed epoch whose delivery was reported, or they do not.
//!
//! - The metadata carries the sequence of the commit: it was committed.
//! - Some rows are visible: it has to be committed, whatever was requested. The rows that are not visible are written once more,
//!   together with the offsets; the marker of that transaction ends what the same producer id left pending.
//! - Neither: no reader has seen any of it. Open rows are aborted, and the epoch is repeated.

use super::hanging_transactions::OPEN_AFTER;
use super::{Failure, KafkaWriter};
use crate::error::{Error, Result};
use crate::log::kafka::client::Delivery;
use crate::log::{Assignment, Epoch, Isolation, Log, RecordSet, Start, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long another client's transaction may hold back open rows before they count as ours with a forgotten marker: longer
/// than the transaction timeout of any Tidegate process plus the broker's scan interval for such transactions.
pub(super) const OPEN_ROW_WAIT: Duration = Duration::from_secs(15);
/// Interval of polling a partition's last stable offset.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Rows below the last stable offset are read within this time unless the broker is unreachable.
const READ_WAIT: Duration = Duration::from_secs(10);
/// Records per poll when searching for one record of each partition.
const LOOK_RECORDS: usize = 64;

/// Delivered rows of an epoch per partition.
pub(super) type Deliveries = BTreeMap<TopicPartition, Delivery>;

/// How a commit ended, as far as is known. The initialization of a new producer decides the old transaction for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not known yet.
    Unknown,
    /// Rows are visible, the offsets are not committed.
    Visible,
    /// Committed.
    Committed,
    /// Not committed; what it left open has to be ended.
    Aborted,
}

/// The state of rows whose transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Visible,
    Aborted,
}

/// A failed commit that is being resolved.
pub(super) struct UnknownOutcome<'a> {
    pub(super) sequence: &'a str,
    /// `None`: the commit failed before anything was written.
    pub(super) epoch: Option<&'a Epoch>,
    pub(super) delivered: Deliveries,
    /// Whether the broker was asked to commit it.
    pub(super) commit_requested: bool,
    pub(super) verdict: Verdict,
}

/// What the commit metadata says.
pub(super) enum CommittedBy {
    /// All tasks carry this commit of this writer.
    Ours(String),
    /// There is no commit yet.
    NoOne,
    /// Some task carries a commit of another owner; this says whose.
    Other(String),
}

impl KafkaWriter {
    /// Determines the outcome, after a new producer was initialized.
    pub(super) fn verdict(&mut self, unknown: &UnknownOutcome<'_>) -> Result<Verdict> {
        let known = unknown.commit_requested && self.offsets_are_stable();
        if known && matches!(self.read_last_commit()?, CommittedBy::Ours(found) if found == unknown.sequence) {
            return Ok(Verdict::Committed);
        }
        if !self.visible(&unknown.delivered)?.is_empty() {
            tracing::warn!(target: "kafka", writer = self.owner, "rows of a failed commit are visible");
            return Ok(Verdict::Visible);
        }
        // Examining the rows took a while; the broker may only have been slow.
        if unknown.commit_requested && !known && self.offsets_are_stable() {
            return Err(Error::io("the committed offsets became readable late"));
        }
        Ok(Verdict::Aborted)
    }

    /// Takes the commit as our last one.
    pub(super) fn accept(&mut self, unknown: &mut UnknownOutcome<'_>) {
        unknown.verdict = Verdict::Committed;
        self.last_commit = unknown.sequence.to_owned();
        if let Some(epoch) = unknown.epoch {
            self.offsets.extend(epoch.offsets.iter().cloned());
            self.query_metadata = Some(epoch.metadata.clone());
        }
    }

    /// Whether the offsets can be read now; false while any are pending.
    pub(super) fn offsets_are_stable(&self) -> bool {
        self.log.stable(&self.spec.group, &self.task_list(), OPEN_AFTER).is_ok()
    }

    /// Whether the row's partition has a marker for its transaction by `deadline`.
    pub(super) fn is_closed_by(&self, at: &TopicPartition, offset: i64, deadline: Duration) -> Result<bool> {
        while self.log.watermarks(at)?.stable <= offset {
            if self.log.clock().monotonic() > deadline {
                return Ok(false);
            }
            self.log.clock().sleep(LOOK_PAUSE);
        }
        Ok(true)
    }

    /// Whether the transaction of a row has ended, within [`OPEN_ROW_WAIT`].
    pub(super) fn is_closed(&self, at: &TopicPartition, offset: i64) -> Result<bool> {
        self.is_closed_by(at, offset, self.log.clock().monotonic() + OPEN_ROW_WAIT)
    }

    /// The partitions whose last delivered row is visible to `read_committed` readers.
    fn visible(&self, delivered: &Deliveries) -> Result<BTreeSet<TopicPartition>> {
        let fates = self.fates(delivered)?.into_iter();
        Ok(fates.filter(|(_, fate)| *fate == Fate::Visible).map(|(at, _)| at).collect())
    }

    /// The fate of rows by the last delivered one of each partition. Open ones are left out.
    pub(super) fn fates(&self, delivered: &Deliveries) -> Result<BTreeMap<TopicPartition, Fate>> {
        let clock = self.log.clock().clone();
        let deadline = clock.monotonic() + OPEN_ROW_WAIT;
        let mut wanted = Vec::with_capacity(delivered.len());
        for (at, delivery) in delivered {
            if self.is_closed_by(at, delivery.last, deadline)? {
                wanted.push((at, delivery.last));
            }
        }
        let start = |&(at, last): &(&TopicPartition, i64)| Assignment {
            topic: at.topic.clone(),
            partition: at.partition,
            start: Start::Offset(last),
        };
        let mut found: BTreeMap<_, _> = wanted.iter().map(|(at, _)| ((*at).clone(), Fate::Aborted)).collect();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut reader = self.log.reader(wanted.iter().map(start).collect(), Isolation::ReadCommitted)?;
        let deadline = clock.monotonic() + READ_WAIT;
        while wanted.iter().enumerate().any(|(slot, (_, last))| reader.position(slot) <= *last) {
            for run in reader.poll(LOOK_RECORDS, LOOK_PAUSE)?.runs() {
                let (at, last) = wanted[run.slot];
                run.for_each(|record| {
                    if record.offset == last {
                        found.insert(at.clone(), Fate::Visible);
                    }
                });
            }
            if clock.monotonic() > deadline {
                return Err(Error::io("could not read rows whose transaction has ended"));
            }
        }
        Ok(found)
    }

    /// Completes an epoch of which some rows are visible: writes the missing ones, and the offsets.
    pub(super) fn complete(&mut self, unknown: &mut UnknownOutcome<'_>, epoch: &Epoch) -> Result<()> {
        let visible = self.visible(&unknown.delivered)?;
        let mut there = unknown.delivered.clone();
        there.retain(|at, _| visible.contains(at));
        let rest = missing(epoch, &there);
        // The producer is a new one.
        self.checked_partitions.clear();
        self.end_hanging_transactions(&rest).map_err(|f| Error::io(f.reason))?;
        let written = self.write_rest(&rest, unknown.sequence);
        // The rows of this attempt may turn out to be visible as well.
        let delivered = self.producer.as_ref().map(|producer| producer.events().take_deliveries()).unwrap_or_default();
        for (at, delivery) in delivered {
            let before = there.get(&at).map_or(0, |l| l.rows);
            unknown.delivered.insert(at, Delivery { rows: before + delivery.rows, ..delivery });
        }
        self.producer = None;
        written.map_err(|f| Error::io("could not complete a commit").with_detail(f.reason))?;
        self.producer = Some(self.new_producer()?);
        Ok(())
    }

    fn write_rest(&mut self, rest: &Epoch, sequence: &str) -> Result<(), Failure> {
        self.write_rows(&rest.records)?;
        let mut inputs = self.offsets.clone();
        inputs.extend(rest.offsets.iter().cloned());
        let list = self.offset_list(sequence, &inputs, &inputs, Some(&rest.metadata))?;
        self.commit_offsets(&list)
    }
}

/// The epoch without the leading rows of each partition that are visible.
fn missing(epoch: &Epoch, there: &Deliveries) -> Epoch {
    let mut rest = Epoch { records: Vec::new(), offsets: epoch.offsets.clone(), metadata: epoch.metadata.clone() };
    for (topic, records) in &epoch.records {
        let counts =
            there.iter().filter(|(at, _)| at.topic == *topic).map(|(at, delivery)| (at.partition, delivery.rows));
        let mut counts: BTreeMap<i32, u64> = counts.collect();
        let set = filtered(records, |partition| match counts.get_mut(&partition).filter(|count| **count > 0) {
            Some(count) => {
                *count -= 1;
                false
            }
            None => true,
        });
        if !set.is_empty() {
            rest.records.push((topic.clone(), Arc::new(set)));
        }
    }
    rest
}

/// The rows, in order, for which `is_wanted` accepts the partition. It is called once per row.
pub(super) fn filtered(records: &RecordSet, mut is_wanted: impl FnMut(i32) -> bool) -> RecordSet {
    let mut set = RecordSet::default();
    for (index, row) in records.rows.iter().enumerate() {
        if is_wanted(row.partition) {
            if !records.headers(index).is_empty() {
                set.headers.push((set.rows.len() as u32, records.headers(index).to_vec()));
            }
            set.push(row.partition, row.timestamp, records.key(index), records.value(index));
        }
    }
    set
}
