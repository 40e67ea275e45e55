//! The last commit, kept until its rows are known to be committed.
//!
//! A broker that is killed may forget the markers of a commit that it has answered with Ok (see [`super::orphans`]). The
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

use super::doubt::{Fate, OPEN_ROW_WAIT, filtered};
use super::*;

/// Rows of commits that are kept: beyond that, a commit waits until its partitions hold its markers.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Commits that are kept. More than one only while a broker that has come back is in doubt about what it did before.
const KEPT_COMMITS_MAX: usize = 8;
/// A topic is deleted if the cluster has not known it for this long: one that has just started does not know any.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// A commit that stands.
pub(super) struct Kept {
    epoch: Epoch,
    /// Where its rows are that are not known to be committed.
    landed: Landed,
    /// A broker may have forgotten about it: to be looked at before it is let go.
    unsure: bool,
    /// Since when the cluster has not known one of its topics.
    missing_since: Option<Duration>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.epoch.records.iter().map(|(_, records)| records.data.len()).sum()
    }
}

impl KafkaSession {
    /// Keeps a commit that stands in place of the one before. `sure`: nothing suggests that a broker died meanwhile.
    pub(super) fn keep(&mut self, epoch: &Epoch, landed: Landed, sure: bool) {
        self.landed.extend(landed.iter().map(|(at, landing)| (at.clone(), landing.last)));
        if sure {
            self.kept.retain(|kept| kept.unsure);
        } else {
            self.kept.iter_mut().for_each(|kept| kept.unsure = true);
        }
        if !landed.is_empty() {
            let epoch = Epoch { records: epoch.records.clone(), ..Epoch::default() };
            self.kept.push(Kept { epoch, landed, unsure: !sure, missing_since: None });
        }
        let bytes: usize = self.kept.iter().map(Kept::bytes).sum();
        if bytes > KEPT_BYTES_MAX {
            let deadline = self.log.clock().monotonic() + OPEN_ROW_WAIT;
            self.kept.iter_mut().for_each(|kept| kept.unsure = true);
            self.release_by(deadline);
        }
        let surplus = self.kept.len().saturating_sub(KEPT_COMMITS_MAX);
        for kept in self.kept.drain(..surplus) {
            let partitions: Vec<String> = kept.landed.keys().map(place).collect();
            tracing::warn!(target: "kafka", "rows of {} in {} are still open", self.owner, partitions.join(", "));
        }
    }

    /// Lets go of the commits in doubt whose rows are closed. Nothing of ours was aborted since, so that only their own
    /// markers can have closed them.
    pub(super) fn release_closed(&mut self) {
        if self.kept.iter().any(|kept| kept.unsure) {
            self.release_by(self.log.clock().monotonic());
        }
    }

    fn release_by(&mut self, deadline: Duration) {
        let mut all = std::mem::take(&mut self.kept);
        for kept in all.iter_mut().filter(|kept| kept.unsure) {
            // What cannot be asked now is kept.
            kept.landed.retain(|at, landing| !matches!(self.is_closed_by(at, landing.last, deadline), Ok(true)));
        }
        all.retain(|kept| !kept.landed.is_empty());
        self.kept = all;
    }

    /// After a failure: writes again what was aborted of commits that stand. Their offsets are not touched. An error: not
    /// everything could be looked at or written; to be repeated with a new producer.
    pub(super) fn restore_lost(&mut self) -> Result<()> {
        let mut all = std::mem::take(&mut self.kept);
        let done = all.iter_mut().try_for_each(|kept| self.restore(kept));
        all.retain(|kept| !kept.landed.is_empty());
        self.kept = all;
        done
    }

    fn restore(&mut self, kept: &mut Kept) -> Result<()> {
        kept.unsure = true;
        let fates = match self.fates(&kept.landed) {
            Ok(fates) => fates,
            Err(error) if error.kind() == Kind::NotFound && self.is_gone(kept) => {
                kept.landed.clear();
                return Ok(());
            }
            Err(error) => return Err(Error::io("could not look for the rows of the last commit").because(error)),
        };
        kept.missing_since = None;
        kept.landed.retain(|at, _| fates.get(at) != Some(&Fate::Visible));
        let lost: BTreeSet<TopicPartition> =
            fates.into_iter().filter(|(_, fate)| *fate == Fate::Aborted).map(|(at, _)| at).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let partitions: Vec<String> = lost.iter().map(place).collect();
        tracing::warn!(target: "kafka", "a broker lost rows of commit {} of {}; writing those of {} again",
            self.standing, self.owner, partitions.join(", "));
        let again = only(&kept.epoch, &lost);
        let (landed, written) = self.write_alone(&again);
        self.landed.extend(landed.iter().map(|(at, landing)| (at.clone(), landing.last)));
        kept.landed.extend(landed);
        written.map_err(|f| Error::io("could not write the rows of the last commit again").with_detail(f.reason))
    }

    /// Commits rows of an earlier commit with the offsets that stand; where they landed, also if that failed.
    fn write_alone(&mut self, epoch: &Epoch) -> (Landed, Result<(), Failure>) {
        self.looked_at.clear();
        if let Err(failure) = self.end_orphans(epoch) {
            return (Landed::new(), Err(failure));
        }
        let (sequence, text) = (self.standing.clone(), self.text.clone());
        let written = self.write_rows(&epoch.records).and_then(|()| {
            let list = self.offset_list(&sequence, &self.offsets, &self.offsets, text.as_deref())?;
            self.finish(&list, self.member.expired())
        });
        let landed = self.sender.as_ref().map(|sender| sender.events().take_landed()).unwrap_or_default();
        self.sender = None;
        let written = written.and_then(|()| {
            self.sender = Some(self.new_sender()?);
            Ok(())
        });
        (landed, written)
    }

    /// Whether topics of a commit, which the cluster does not know now, were deleted.
    fn is_gone(&self, kept: &mut Kept) -> bool {
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
