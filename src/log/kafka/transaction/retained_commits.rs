//! The last commit, kept until its rows are known to be committed.
//!
//! A broker that is killed may forget the markers of a commit that it has answered with Ok (see [`super::hanging_transactions`]). The
//! rows stay open, and whatever ends the next transaction in their partition decides them. If that is a commit, nothing
//! is lost. If the next epoch fails, the abort of it takes along the rows of the commit before, whose offsets stand. No
//! order of requests avoids this: the broker may die at any moment after its Ok. Asking every partition for its marker
//! after each commit would, at the price of a round trip.
//!
//! So the rows of the last commit are kept until another one stands, at no cost but memory. After a failure they are
//! looked for, and those that were aborted are written again before anything else is. While requests may have been
//! repeated, which is what the death of a broker looks like when no call fails, earlier commits are kept as well, until a
//! look at their partitions shows them closed.
//!
//! What remains: a broker that forgets a marker, *and* this process killed before its next commit has returned.

use super::unknown_outcome::{Deliveries, Fate, OPEN_ROW_WAIT, filtered};
use super::{Failure, KafkaWriter};
use crate::error::{Error, Kind, Result};
use crate::log::{Epoch, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Rows of commits that are kept: beyond that, a commit waits until its partitions hold its markers.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Commits that are kept. More than one only while a broker that has come back is in doubt about what it did before.
const KEPT_COMMITS_MAX: usize = 8;
/// A topic is deleted if the cluster has not known it for this long: one that has just started does not know any.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A commit that stands.
pub(super) struct RetainedCommit {
    epoch: Epoch,
    /// Where its rows are that are not known to be committed.
    delivered: Deliveries,
    /// A broker may have forgotten about it: to be looked at before it is let go.
    unsure: bool,
    /// Since when the cluster has not known one of its topics.
    missing_since: Option<Duration>,
}

impl RetainedCommit {
    fn bytes(&self) -> usize {
        self.epoch.records.iter().map(|(_, records)| records.data.len()).sum()
    }
}

impl KafkaWriter {
    /// Keeps a commit that stands in place of the one before. `sure`: nothing suggests that a broker died meanwhile.
    pub(super) fn retain_commit(&mut self, epoch: &Epoch, delivered: Deliveries, sure: bool) {
        self.last_rows.extend(delivered.iter().map(|(at, delivery)| (at.clone(), delivery.last)));
        if sure {
            self.retained.retain(|kept| kept.unsure);
        } else {
            self.retained.iter_mut().for_each(|kept| kept.unsure = true);
        }
        if !delivered.is_empty() {
            let epoch = Epoch { records: epoch.records.clone(), ..Epoch::default() };
            self.retained.push(RetainedCommit { epoch, delivered, unsure: !sure, missing_since: None });
        }
        let bytes: usize = self.retained.iter().map(RetainedCommit::bytes).sum();
        if bytes > KEPT_BYTES_MAX {
            let deadline = self.log.clock().monotonic() + OPEN_ROW_WAIT;
            self.retained.iter_mut().for_each(|kept| kept.unsure = true);
            self.release_by(deadline);
        }
        let surplus = self.retained.len().saturating_sub(KEPT_COMMITS_MAX);
        for kept in self.retained.drain(..surplus) {
            let partitions: Vec<String> = kept.delivered.keys().map(place).collect();
            tracing::warn!(target: "kafka", "rows of {} in {} are still open", self.owner, partitions.join(", "));
        }
    }

    /// Lets go of the commits in doubt whose rows are closed. Nothing of ours was aborted since, so that only their own
    /// markers can have closed them.
    pub(super) fn release_closed(&mut self) {
        if self.retained.iter().any(|kept| kept.unsure) {
            self.release_by(self.log.clock().monotonic());
        }
    }

    fn release_by(&mut self, deadline: Duration) {
        let mut all = std::mem::take(&mut self.retained);
        for kept in all.iter_mut().filter(|kept| kept.unsure) {
            // What cannot be asked now is kept.
            kept.delivered.retain(|at, delivery| !matches!(self.is_closed_by(at, delivery.last, deadline), Ok(true)));
        }
        all.retain(|kept| !kept.delivered.is_empty());
        self.retained = all;
    }

    /// After a failure: writes again what was aborted of commits that stand. Their offsets are not touched. An error: not
    /// everything could be looked at or written; to be repeated with a new producer.
    pub(super) fn restore_lost(&mut self) -> Result<()> {
        let mut all = std::mem::take(&mut self.retained);
        let done = all.iter_mut().try_for_each(|kept| self.restore(kept));
        all.retain(|kept| !kept.delivered.is_empty());
        self.retained = all;
        done
    }

    fn restore(&mut self, kept: &mut RetainedCommit) -> Result<()> {
        kept.unsure = true;
        let fates = match self.fates(&kept.delivered) {
            Ok(fates) => fates,
            Err(error) if error.kind() == Kind::NotFound && self.is_gone(kept) => {
                kept.delivered.clear();
                return Ok(());
            }
            Err(error) => return Err(Error::io("could not look for the rows of the last commit").because(error)),
        };
        kept.missing_since = None;
        kept.delivered.retain(|at, _| fates.get(at) != Some(&Fate::Visible));
        let lost: BTreeSet<TopicPartition> =
            fates.into_iter().filter(|(_, fate)| *fate == Fate::Aborted).map(|(at, _)| at).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let partitions: Vec<String> = lost.iter().map(place).collect();
        tracing::warn!(target: "kafka", "a broker lost rows of commit {} of {}; writing those of {} again",
            self.last_commit, self.owner, partitions.join(", "));
        let again = only(&kept.epoch, &lost);
        let (delivered, written) = self.write_alone(&again);
        self.last_rows.extend(delivered.iter().map(|(at, delivery)| (at.clone(), delivery.last)));
        kept.delivered.extend(delivered);
        written.map_err(|f| Error::io("could not write the rows of the last commit again").with_detail(f.reason))
    }

    /// Commits rows of an earlier commit with the offsets that stand; where they delivered, also if that failed.
    fn write_alone(&mut self, epoch: &Epoch) -> (Deliveries, Result<(), Failure>) {
        self.checked_partitions.clear();
        if let Err(failure) = self.end_hanging_transactions(epoch) {
            return (Deliveries::new(), Err(failure));
        }
        let (sequence, text) = (self.last_commit.clone(), self.query_metadata.clone());
        let written = self.write_rows(&epoch.records).and_then(|()| {
            let list = self.offset_list(&sequence, &self.offsets, &self.offsets, text.as_deref())?;
            self.commit_offsets(&list, self.member.revocations())
        });
        let delivered = self.producer.as_ref().map(|producer| producer.events().take_deliveries()).unwrap_or_default();
        self.producer = None;
        let written = written.and_then(|()| {
            self.producer = Some(self.new_producer()?);
            Ok(())
        });
        (delivered, written)
    }

    /// Whether topics of a commit, which the cluster does not know now, were deleted.
    fn is_gone(&self, kept: &mut RetainedCommit) -> bool {
        let now = self.log.clock().monotonic();
        now.saturating_sub(*kept.missing_since.get_or_insert(now)) > GONE_AFTER
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
