//! K16: the rows of the last commit, retained until they are known to be committed.
//!
//! A broker that is killed may forget the markers of a commit that returned Ok (see [`super::hanging_transactions`]). The rows
//! stay open, and the end of the next transaction in their partition decides them. If that is a commit, nothing is lost. If
//! the next epoch fails, its abort takes the rows of the previous commit along, whose offsets are committed. No order of
//! requests avoids this, because the broker may die at any moment after its Ok; waiting for the marker in every partition
//! after each commit would, at the price of a round trip.
//!
//! So the rows of the last commit are retained until the next one has succeeded, at no cost but memory. After a failure they
//! are looked for, and those that were aborted are written again before anything else. While requests may have been repeated,
//! which is what the death of a broker looks like when no call fails, earlier commits are retained as well, until the
//! watermarks show that their transactions have ended.
//!
//! Not covered: a broker that forgets a marker, *and* this process killed before its next commit has returned.

use super::unknown_outcome::{Deliveries, Fate, OPEN_ROW_WAIT, filtered};
use super::{Failure, KafkaWriter};
use crate::error::{Error, Kind, Result};
use crate::log::{Epoch, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of retained rows. Beyond that, a commit waits for the markers in its partitions.
const RETAINED_BYTES_MAX: usize = 64 << 20;
/// Retained commits; more than one only while a restarted broker is suspected of having forgotten markers.
const RETAINED_COMMITS_MAX: usize = 8;
/// A topic counts as deleted when the cluster has not known it for this long; one that has just started knows none.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A successful commit.
pub(super) struct RetainedCommit {
    epoch: Epoch,
    /// Its rows that are not known to be committed.
    delivered: Deliveries,
    /// A broker may have forgotten its markers: it is checked before it is released.
    suspect: bool,
    /// Since when the cluster has not known one of its topics.
    missing_since: Option<Duration>,
}

impl RetainedCommit {
    fn bytes(&self) -> usize {
        self.epoch.records.iter().map(|(_, records)| records.data.len()).sum()
    }
}

impl KafkaWriter {
    /// Retains a successful commit in place of the previous one. `sure`: nothing suggests that a broker died meanwhile.
    pub(super) fn retain_commit(&mut self, epoch: &Epoch, delivered: Deliveries, sure: bool) {
        self.last_rows.extend(delivered.iter().map(|(at, delivery)| (at.clone(), delivery.last)));
        if sure {
            self.retained.retain(|commit| commit.suspect);
        } else {
            self.retained.iter_mut().for_each(|commit| commit.suspect = true);
        }
        if !delivered.is_empty() {
            let epoch = Epoch { records: epoch.records.clone(), ..Epoch::default() };
            self.retained.push(RetainedCommit { epoch, delivered, suspect: !sure, missing_since: None });
        }
        let bytes: usize = self.retained.iter().map(RetainedCommit::bytes).sum();
        if bytes > RETAINED_BYTES_MAX {
            let deadline = self.log.clock().monotonic() + OPEN_ROW_WAIT;
            self.retained.iter_mut().for_each(|commit| commit.suspect = true);
            self.release_by(deadline);
        }
        let surplus = self.retained.len().saturating_sub(RETAINED_COMMITS_MAX);
        for commit in self.retained.drain(..surplus) {
            let partitions: Vec<String> = commit.delivered.keys().map(place).collect();
            tracing::warn!(target: "kafka", writer = self.owner, partitions = partitions.join(", "),
                "rows of a released commit are still open");
        }
    }

    /// Releases suspect commits whose transactions have ended. We have aborted nothing since, so only their own markers can
    /// have ended them.
    pub(super) fn release_closed(&mut self) {
        if self.retained.iter().any(|commit| commit.suspect) {
            self.release_by(self.log.clock().monotonic());
        }
    }

    fn release_by(&mut self, deadline: Duration) {
        let mut all = std::mem::take(&mut self.retained);
        for commit in all.iter_mut().filter(|commit| commit.suspect) {
            // What cannot be checked now stays retained.
            commit.delivered.retain(|at, delivery| !matches!(self.is_closed_by(at, delivery.last, deadline), Ok(true)));
        }
        all.retain(|commit| !commit.delivered.is_empty());
        self.retained = all;
    }

    /// After a failure: writes rows of successful commits again that were aborted, without touching offsets. After an error,
    /// not everything was checked or written; repeat it with a new producer.
    pub(super) fn restore_lost(&mut self) -> Result<()> {
        let mut all = std::mem::take(&mut self.retained);
        let done = all.iter_mut().try_for_each(|commit| self.restore(commit));
        all.retain(|commit| !commit.delivered.is_empty());
        self.retained = all;
        done
    }

    fn restore(&mut self, commit: &mut RetainedCommit) -> Result<()> {
        commit.suspect = true;
        let fates = match self.fates(&commit.delivered) {
            Ok(fates) => fates,
            Err(error) if error.kind() == Kind::NotFound && self.is_gone(commit) => {
                commit.delivered.clear();
                return Ok(());
            }
            Err(error) => return Err(Error::io("could not check the rows of the last commit").because(error)),
        };
        commit.missing_since = None;
        commit.delivered.retain(|at, _| fates.get(at) != Some(&Fate::Visible));
        let lost: BTreeSet<TopicPartition> =
            fates.into_iter().filter(|(_, fate)| *fate == Fate::Aborted).map(|(at, _)| at).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let partitions: Vec<String> = lost.iter().map(place).collect();
        tracing::warn!(target: "kafka", writer = self.owner, commit = self.last_commit, partitions = partitions.join(", "),
            "a broker lost rows of a commit; writing them again");
        let again = only(&commit.epoch, &lost);
        let (delivered, written) = self.write_alone(&again);
        self.last_rows.extend(delivered.iter().map(|(at, delivery)| (at.clone(), delivery.last)));
        commit.delivered.extend(delivered);
        written.map_err(|f| Error::io("could not write the rows of the last commit again").with_detail(f.reason))
    }

    /// Commits rows of an earlier commit with the committed offsets unchanged. Returns the deliveries also after a failure.
    fn write_alone(&mut self, epoch: &Epoch) -> (Deliveries, Result<(), Failure>) {
        self.checked_partitions.clear();
        if let Err(failure) = self.end_hanging_transactions(epoch) {
            return (Deliveries::new(), Err(failure));
        }
        let (sequence, text) = (self.last_commit.clone(), self.query_metadata.clone());
        let written = self.write_rows(&epoch.records).and_then(|()| {
            let list = self.offset_list(&sequence, &self.offsets, &self.offsets, text.as_deref())?;
            self.commit_offsets(&list)
        });
        let delivered = self.producer.as_ref().map(|producer| producer.events().take_deliveries()).unwrap_or_default();
        self.producer = None;
        let written = written.and_then(|()| {
            self.producer = Some(self.new_producer()?);
            Ok(())
        });
        (delivered, written)
    }

    /// Whether the topics of a commit that the cluster does not know have been deleted.
    fn is_gone(&self, commit: &mut RetainedCommit) -> bool {
        let now = self.log.clock().monotonic();
        now.saturating_sub(*commit.missing_since.get_or_insert(now)) > GONE_AFTER
    }
}

/// A partition as a log line names it.
fn place(at: &TopicPartition) -> String {
    format!("{}-{}", at.topic, at.partition)
}

/// The rows of an epoch in these partitions.
fn only(epoch: &Epoch, partitions: &BTreeSet<TopicPartition>) -> Epoch {
    let mut some = Epoch::default();
    for (topic, records) in &epoch.records {
        let wanted = |partition| partitions.contains(&TopicPartition::new(topic.clone(), partition));
        let set = filtered(records, wanted);
        if !set.is_empty() {
            some.records.push((topic.clone(), Arc::new(set)));
        }
    }
    some
}
