//! The transactional writer of the embedded log: one owner per group in this process, and the lock of the directory excludes
//! other processes. A commit either succeeds or is an error; there is no unknown outcome to resolve.

use super::commit::{Shared, Staged};
use super::entry::Progress;
use crate::error::{Error, Kind, Result};
use crate::log::{
    CommitOutcome, CommittedOffset, Epoch, METADATA_BYTES_MAX, RecordSet, TopicPartition, TransactionalWriter,
};
use std::sync::Arc;
use std::time::Duration;

/// Pause after a failed write: most likely the disk is full, and space has to be freed.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct EmbeddedWriter {
    shared: Arc<Shared>,
    group: String,
    /// Distinguishes this writer from an earlier one of the same group.
    token: u64,
}

impl EmbeddedWriter {
    /// Claims the group.
    pub(super) fn open(shared: &Arc<Shared>, group: &str) -> Result<EmbeddedWriter> {
        let token = shared.group_owners.lock().claim(group)?;
        Ok(EmbeddedWriter { shared: shared.clone(), group: group.to_owned(), token })
    }

    fn owns(&self) -> bool {
        self.shared.group_owners.lock().owns(&self.group, self.token)
    }

    fn check(&self) -> Result<()> {
        match self.owns() {
            true => Ok(()),
            false => Err(Error::new(Kind::Fenced, self.fenced())),
        }
    }

    fn fenced(&self) -> String {
        format!("group {} was deleted", self.group)
    }

    fn progress(&self, epoch: &Epoch) -> Result<Progress> {
        let too_long = |what: &str| Error::bug(format!("{what} is longer than {METADATA_BYTES_MAX} bytes"));
        if epoch.metadata.len() > METADATA_BYTES_MAX {
            return Err(too_long("the metadata of a query"));
        }
        let offset = |(partition, committed): &(TopicPartition, CommittedOffset)| {
            if committed.metadata.len() > METADATA_BYTES_MAX {
                return Err(too_long("the metadata of an offset"));
            }
            let (topic, number) = self.shared.identify(partition)?;
            Ok((topic, number, committed.clone()))
        };
        let offsets = epoch.offsets.iter().map(offset).collect::<Result<_>>()?;
        Ok(Progress { group: self.group.clone(), offsets, metadata: epoch.metadata.clone() })
    }
}

impl TransactionalWriter for EmbeddedWriter {
    fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>> {
        self.check()?;
        Ok(self.shared.committed(&self.group, partitions))
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        self.check()?;
        Ok(self.shared.catalog.read().manifest.groups.get(&self.group).and_then(|g| g.metadata.clone()))
    }

    fn deliver(&mut self, topic: &Arc<str>, records: &RecordSet) -> Result<()> {
        self.check()?;
        self.shared.append(topic, records)
    }

    fn commit(&mut self, epoch: &Epoch) -> Result<CommitOutcome> {
        if !self.owns() {
            return Ok(CommitOutcome::Fenced { reason: self.fenced() });
        }
        let mut staged = Staged::default();
        for (topic, records) in &epoch.records {
            staged.add(&self.shared.topic(topic)?, records)?;
        }
        let progress = self.progress(epoch)?;
        match self.shared.commit(staged, Some(progress), || self.owns()) {
            Ok(true) => Ok(CommitOutcome::Committed),
            Ok(false) => Ok(CommitOutcome::Fenced { reason: self.fenced() }),
            Err(e) if e.kind() == Kind::Io && !self.shared.write().is_broken() => {
                Ok(CommitOutcome::Aborted { reason: e.to_string(), retry_after: DISK_RETRY })
            }
            Err(e) => Err(e),
        }
    }
}

impl Drop for EmbeddedWriter {
    fn drop(&mut self) {
        self.shared.group_owners.lock().release(&self.group, self.token);
    }
}

impl Shared {
    /// Committed offsets of a group.
    pub(super) fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Vec<Option<CommittedOffset>> {
        let catalog = self.catalog.read();
        let group = catalog.manifest.groups.get(group);
        let offset = |p: &TopicPartition| {
            let topic = catalog.topics.get(&*p.topic)?;
            group?.offsets.get(&(topic.info.id.0, p.partition)).cloned()
        };
        partitions.iter().map(offset).collect()
    }
}
