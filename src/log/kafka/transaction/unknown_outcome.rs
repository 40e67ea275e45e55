//! What became of a commit that failed.
//!
//! The blob beside the offsets says it, if the broker does all that it promises. A broker that is killed and started
//! again does not (see [`super::hanging_transactions`]): it forgets to tell partitions that a transaction has ended, so that offsets
//! stay pending for ever; and the marker of one commit can come so late that it commits rows of the next. So the rows
//! are asked as well: those of the failed epoch whose delivery was reported are visible to readers, or not.
//!
//! - The blob is there: it was committed.
//! - Rows are visible: it must be committed, whatever the broker was asked for. What is not visible yet is written once
//!   more, and with it the offsets; the marker of that transaction ends what was pending of the same producer id.
//! - Neither: nobody has seen anything of it. What is still open is aborted, and the epoch is repeated.

use super::hanging_transactions::OPEN_AFTER;
use super::{Failure, KafkaWriter};
use crate::error::{Error, Result};
use crate::log::kafka::client::Delivery;
use crate::log::kafka::stable;
use crate::log::{Assignment, Epoch, Isolation, Log, RecordSet, Start, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long open rows may be held back by somebody else's transaction before they count as ours that were forgotten:
/// more than the transaction timeout of any Tidegate process and the broker's scan for such transactions.
pub(super) const OPEN_ROW_WAIT: Duration = Duration::from_secs(15);
/// Pause between two looks at a partition's stable offset.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Rows below the stable offset are read within this time, or the broker is away.
const READ_WAIT: Duration = Duration::from_secs(10);
/// Records asked for at a time when one of each partition is looked for.
const LOOK_RECORDS: usize = 64;

/// What was delivered of an epoch, partition by partition.
pub(super) type Deliveries = BTreeMap<TopicPartition, Delivery>;

/// How a commit ended, as far as it is known. Once a new producer was made the old transaction is decided for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Unknown,
    /// Rows of it are visible, its offsets are not.
    Visible,
    /// It stands.
    Committed,
    /// It does not: what it left open is to be ended.
    Aborted,
}

/// What became of rows whose transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Visible,
    Aborted,
}

/// A commit that failed and whose end is looked for.
pub(super) struct UnknownOutcome<'a> {
    pub(super) sequence: &'a str,
    /// `None`: it failed before anything was written.
    pub(super) epoch: Option<&'a Epoch>,
    pub(super) delivered: Deliveries,
    /// The broker was asked to commit it.
    pub(super) commit_requested: bool,
    pub(super) verdict: Verdict,
}

/// What the blobs say.
pub(super) enum CommittedBy {
    /// All tasks hold this commit of ours.
    Ours(String),
    /// Nobody has committed yet.
    NoOne,
    /// Some task was committed by somebody else.
    Other(String),
}

impl KafkaWriter {
    /// What became of it; a new producer was made before.
    pub(super) fn verdict(&mut self, unknown: &UnknownOutcome<'_>) -> Result<Verdict> {
        let known = unknown.commit_requested && self.offsets_are_stable();
        if known && matches!(self.read_last_commit()?, CommittedBy::Ours(found) if found == unknown.sequence) {
            return Ok(Verdict::Committed);
        }
        if !self.visible(&unknown.delivered)?.is_empty() {
            tracing::warn!(target: "kafka", "rows of a failed commit of {} are visible", self.owner);
            return Ok(Verdict::Visible);
        }
        // That took its time: perhaps the broker was only slow.
        if unknown.commit_requested && !known && self.offsets_are_stable() {
            return Err(Error::io("the offsets can be read only now"));
        }
        Ok(Verdict::Aborted)
    }

    /// The commit in doubt is our last one.
    pub(super) fn accept(&mut self, unknown: &mut UnknownOutcome<'_>) {
        unknown.verdict = Verdict::Committed;
        self.last_commit = unknown.sequence.to_owned();
        if let Some(epoch) = unknown.epoch {
            self.offsets.extend(epoch.offsets.iter().cloned());
            self.query_metadata = Some(epoch.metadata.clone());
        }
    }

    /// Whether the offsets can be read now; not while something is pending.
    pub(super) fn offsets_are_stable(&self) -> bool {
        stable(&self.read_committed, &self.task_list(), self.log.clock(), OPEN_AFTER).is_ok()
    }

    /// Whether the transaction of this row has ended by `deadline`, as its partition sees it.
    pub(super) fn is_closed_by(&self, at: &TopicPartition, offset: i64, deadline: Duration) -> Result<bool> {
        while self.log.watermarks(at)?.stable <= offset {
            if self.log.clock().monotonic() > deadline {
                return Ok(false);
            }
            self.log.clock().sleep(LOOK_PAUSE);
        }
        Ok(true)
    }

    /// Whether the transaction of this row has ended.
    pub(super) fn is_closed(&self, at: &TopicPartition, offset: i64) -> Result<bool> {
        self.is_closed_by(at, offset, self.log.clock().monotonic() + OPEN_ROW_WAIT)
    }

    /// The partitions whose last row that delivered is seen by readers of committed rows.
    fn visible(&self, delivered: &Deliveries) -> Result<BTreeSet<TopicPartition>> {
        let fates = self.fates(delivered)?.into_iter();
        Ok(fates.filter(|(_, fate)| *fate == Fate::Visible).map(|(at, _)| at).collect())
    }

    /// What became of rows, by the last one that delivered in each partition. Those that are still open are left out.
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
                return Err(Error::io("rows whose transaction has ended could not be read"));
            }
        }
        Ok(found)
    }

    /// Writes what is missing of an epoch whose rows are visible in part, or in full but without their offsets.
    pub(super) fn complete(&mut self, unknown: &mut UnknownOutcome<'_>, epoch: &Epoch) -> Result<()> {
        let visible = self.visible(&unknown.delivered)?;
        let mut there = unknown.delivered.clone();
        there.retain(|at, _| visible.contains(at));
        let rest = missing(epoch, &there);
        // The producer is a new one.
        self.checked_partitions.clear();
        self.end_hanging_transactions(&rest).map_err(|f| Error::io(f.reason))?;
        let written = self.write_rest(&rest, unknown.sequence);
        // What this attempt has delivered may turn out to be visible, too.
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
        self.commit_offsets(&list, self.member.revocations())
    }
}

/// The epoch without the first rows of each partition that are there.
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

/// The rows that are wanted, in their order; asked by the partition of each.
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
