//! Sessions of the simulated log: a commit ends in every way that Kafka knows.

use super::{Group, Shared, World};
use crate::error::{Error, Kind, Result};
use crate::log::{
    CommitOutcome, CommittedOffset, Epoch, METADATA_BYTES_MAX, RecordSet, TopicId, TopicPartition, TransactionalWriter,
};
use std::sync::Arc;
use std::time::Duration;

/// The pause that an aborted commit asks for.
const ABORT_RETRY: Duration = Duration::from_millis(10);

/// A session.
#[derive(Debug)]
pub(super) struct SimulatedWriter {
    shared: Arc<Shared>,
    group: String,
    token: u64,
}

/// What the seed has in store for a commit.
enum Fate {
    Commit,
    Abort(&'static str),
    Fence,
}

impl SimulatedWriter {
    /// Takes the group, from its present owner if it has one.
    pub(super) fn open(shared: &Arc<Shared>, group: &str) -> SimulatedWriter {
        let mut world = shared.world.lock();
        world.last_session += 1;
        let token = world.last_session;
        world.owners.insert(group.to_owned(), token);
        drop(world);
        SimulatedWriter { shared: shared.clone(), group: group.to_owned(), token }
    }

    fn owns(&self, world: &World) -> bool {
        world.owners.get(&self.group) == Some(&self.token)
    }

    fn check(&self, world: &World) -> Result<()> {
        match self.owns(world) {
            true => Ok(()),
            false => Err(Error::new(Kind::Fenced, self.fenced())),
        }
    }

    fn fenced(&self) -> String {
        format!("group {} has another owner", self.group)
    }

    /// Draws the outcome of the commit. An unknown one takes a while, during which anything may happen.
    fn fate(&self) -> Fate {
        let mut world = self.shared.world.lock();
        let faults = world.faults;
        if world.rng.happens(faults.fence) {
            return Fate::Fence;
        }
        if world.rng.happens(faults.unknown) {
            let committed = world.rng.happens(500);
            drop(world);
            self.shared.clock.sleep(faults.resolve_after);
            return if committed {
                Fate::Commit
            } else {
                Fate::Abort("the answer was lost and the transaction aborted")
            };
        }
        if world.rng.happens(faults.abort) { Fate::Abort("the transaction aborted") } else { Fate::Commit }
    }
}

impl TransactionalWriter for SimulatedWriter {
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        let world = self.shared.world.lock();
        self.check(&world)?;
        Ok(world.committed(&self.group, partitions))
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        let world = self.shared.world.lock();
        self.check(&world)?;
        Ok(world.groups.get(&self.group).and_then(|g| g.metadata.clone()))
    }

    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        let mut world = self.shared.world.lock();
        self.check(&world)?;
        world.check(topic, records)?;
        world.write(&[(topic.clone(), records)], false, false);
        Ok(())
    }

    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome> {
        let fate = self.fate();
        let mut world = self.shared.world.lock();
        if matches!(fate, Fate::Fence) && self.owns(&world) {
            world.owners.remove(&self.group);
        }
        if !self.owns(&world) {
            return Ok(CommitOutcome::Fenced { reason: self.fenced() });
        }
        let offsets = check(&world, epoch)?;
        let sets: Vec<(Arc<str>, &RecordSet)> =
            epoch.records.iter().map(|(name, set)| (name.clone(), &**set)).collect();
        if let Fate::Abort(reason) = fate {
            world.write(&sets, true, true);
            return Ok(CommitOutcome::Aborted { reason: reason.to_owned(), retry_after: ABORT_RETRY });
        }
        world.write(&sets, true, false);
        let group: &mut Group = world.groups.entry(self.group.clone()).or_default();
        group.offsets.extend(offsets);
        group.metadata = Some(epoch.metadata.clone());
        Ok(CommitOutcome::Committed)
    }
}

impl Drop for SimulatedWriter {
    fn drop(&mut self) {
        let mut world = self.shared.world.lock();
        if self.owns(&world) {
            world.owners.remove(&self.group);
        }
    }
}

/// Fails as the commit would, before anything is written.
fn check(world: &World, epoch: &Epoch) -> Result<Vec<((TopicId, i32), CommittedOffset)>> {
    for (topic, records) in &epoch.records {
        world.check(topic, records)?;
    }
    let longest = epoch.offsets.iter().map(|o| o.1.metadata.len()).chain([epoch.metadata.len()]).max();
    if longest.is_some_and(|len| len > METADATA_BYTES_MAX) {
        return Err(Error::bug(format!("the text kept with a commit is longer than {METADATA_BYTES_MAX} bytes")));
    }
    let offset = |(place, committed): &(TopicPartition, CommittedOffset)| {
        world.partition(place)?;
        Ok(((world.topic(&place.topic)?.info.id, place.partition), committed.clone()))
    };
    epoch.offsets.iter().map(offset).collect()
}
