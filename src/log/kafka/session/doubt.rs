//! What became of a commit that failed.
//!
//! The blob beside the offsets says it, if the broker does all that it promises. A broker that is killed and started
//! again does not (see [`super::orphans`]): it forgets to tell partitions that a transaction has ended, so that offsets
//! stay pending for ever; and the marker of one commit can come so late that it commits rows of the next. So the rows
//! are asked as well: those of the failed epoch whose delivery was reported are visible to readers, or not.
//!
//! - The blob is there: it was committed.
//! - Rows are visible: it must be committed, whatever the broker was asked for. What is not visible yet is written once
//!   more, and with it the offsets; the marker of that transaction ends what was pending of the same producer id.
//! - Neither: nobody has seen anything of it. What is still open is aborted, and the epoch is repeated.

use super::orphans::OPEN_AFTER;
use super::recovery::Standing;
use super::*;
use crate::log::kafka::client::Landing;
use crate::log::{Assignment, Isolation, Start};

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
pub(super) type Landed = BTreeMap<TopicPartition, Landing>;

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
pub(super) struct Doubt<'a> {
    pub(super) sequence: &'a str,
    /// `None`: it failed before anything was written.
    pub(super) epoch: Option<&'a Epoch>,
    pub(super) landed: Landed,
    /// The broker was asked to commit it.
    pub(super) asked: bool,
    pub(super) verdict: Verdict,
}

impl KafkaSession {
    /// What became of it; a new producer was made before.
    pub(super) fn verdict(&mut self, doubt: &Doubt<'_>) -> Result<Verdict> {
        let known = doubt.asked && self.offsets_are_stable();
        if known && matches!(self.read_standing()?, Standing::Ours(found) if found == doubt.sequence) {
            return Ok(Verdict::Committed);
        }
        if !self.visible(&doubt.landed)?.is_empty() {
            tracing::warn!(target: "kafka", "rows of a failed commit of {} are visible", self.owner);
            return Ok(Verdict::Visible);
        }
        // That took its time: perhaps the broker was only slow.
        if doubt.asked && !known && self.offsets_are_stable() {
            return Err(Error::io("the offsets can be read only now"));
        }
        Ok(Verdict::Aborted)
    }

    /// The commit in doubt is our last one.
    pub(super) fn stands(&mut self, doubt: &mut Doubt<'_>) {
        doubt.verdict = Verdict::Committed;
        self.standing = doubt.sequence.to_owned();
        if let Some(epoch) = doubt.epoch {
            self.offsets.extend(epoch.offsets.iter().cloned());
            self.text = Some(epoch.blob.clone());
        }
    }

    /// Whether the offsets can be read now; not while something is pending.
    pub(super) fn offsets_are_stable(&self) -> bool {
        stable(&self.stable, &self.task_list(), self.log.clock(), OPEN_AFTER).is_ok()
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

    /// The partitions whose last row that landed is seen by readers of committed rows.
    fn visible(&self, landed: &Landed) -> Result<BTreeSet<TopicPartition>> {
        let fates = self.fates(landed)?.into_iter();
        Ok(fates.filter(|(_, fate)| *fate == Fate::Visible).map(|(at, _)| at).collect())
    }

    /// What became of rows, by the last one that landed in each partition. Those that are still open are left out.
    pub(super) fn fates(&self, landed: &Landed) -> Result<BTreeMap<TopicPartition, Fate>> {
        let clock = self.log.clock().clone();
        let deadline = clock.monotonic() + OPEN_ROW_WAIT;
        let mut wanted = Vec::with_capacity(landed.len());
        for (at, landing) in landed {
            if self.is_closed_by(at, landing.last, deadline)? {
                wanted.push((at, landing.last));
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
    pub(super) fn complete(&mut self, doubt: &mut Doubt<'_>, epoch: &Epoch) -> Result<()> {
        let visible = self.visible(&doubt.landed)?;
        let mut there = doubt.landed.clone();
        there.retain(|at, _| visible.contains(at));
        let rest = missing(epoch, &there);
        // The producer is a new one.
        self.looked_at.clear();
        self.end_orphans(&rest).map_err(|f| Error::io(f.reason))?;
        let written = self.write_rest(&rest, doubt.sequence);
        // What this attempt has delivered may turn out to be visible, too.
        let landed = self.sender.as_ref().map(|sender| sender.events().take_landed()).unwrap_or_default();
        for (at, landing) in landed {
            let before = there.get(&at).map_or(0, |l| l.rows);
            doubt.landed.insert(at, Landing { rows: before + landing.rows, ..landing });
        }
        self.sender = None;
        written.map_err(|f| Error::io("could not complete a commit").with_detail(f.reason))?;
        self.sender = Some(self.new_sender()?);
        Ok(())
    }

    fn write_rest(&mut self, rest: &Epoch, sequence: &str) -> Result<(), Failure> {
        self.write_rows(&rest.records)?;
        let mut inputs = self.offsets.clone();
        inputs.extend(rest.offsets.iter().cloned());
        let list = self.offset_list(sequence, &inputs, &inputs, Some(&rest.blob))?;
        self.finish(&list, self.member.expired())
    }
}

/// The epoch without the first rows of each partition that are there.
fn missing(epoch: &Epoch, there: &Landed) -> Epoch {
    let mut rest = Epoch { records: Vec::new(), offsets: epoch.offsets.clone(), blob: epoch.blob.clone() };
    for (topic, records) in &epoch.records {
        let counts =
            there.iter().filter(|(at, _)| at.topic == *topic).map(|(at, landing)| (at.partition, landing.rows));
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
