//! Taking over a query (K2, K3): who owns it, and how earlier owners are kept from writing.
//!
//! ```text
//! refuse_living_owner   the same slot is held by a process of this machine that lives           K1
//! confirm               does the control topic name this process, in which term?               K2
//! take_over             fence the others -> stable offsets -> ownership commit -> taken         K3
//! ```
//!
//! A fence is the initialization of a producer with the other's transactional id: its producer can neither write nor commit any
//! more, and what it left open is aborted. Such a process makes a new producer and asks the control topic, which names us.

use super::{KafkaWriter, element};
use crate::error::{Error, Kind, Result};
use crate::log::Claimed;
use crate::log::kafka::KafkaLog;
use crate::log::kafka::client::BATCH_BYTES;
use crate::log::kafka::commit_metadata::CommitMetadata;
use crate::log::kafka::group_offsets::VISIBLE_WAIT;
use crate::log::kafka::process_identity::{self, Liveness, busy};
use crate::log::kafka::producer::Producer;
use crate::threads;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

/// Timeout of one fence; with an open transaction it takes 0.6 to 1 s.
const FENCE_WAIT: Duration = Duration::from_secs(10);
/// Fences at a time: each is a client of four threads.
const FENCES_MAX: usize = 16;

impl KafkaWriter {
    /// K1: an error if a process of this machine that lives has committed as this slot. Elsewhere the claim decides.
    pub(super) fn refuse_living_owner(&self) -> Result<()> {
        let lives = |task: &CommitMetadata| {
            let process = &task.process;
            task.owner == self.owner
                && !process_identity::is_own(process)
                && process_identity::liveness(process) == Liveness::Alive
        };
        match self.commit_metadata(&self.pending_tasks()?).into_iter().flatten().find(lives) {
            Some(task) => Err(busy(&self.spec.group, &task.process)),
            None => Ok(()),
        }
    }

    /// K2: asks the claim, after a producer was initialized.
    pub(super) fn confirm(&mut self) -> Result<()> {
        match self.claim.confirm()? {
            Claimed::Owned { term, others } if self.term == Some(term) || !self.is_taken => {
                if self.term != Some(term) {
                    (self.term, self.fenced_ids) = (Some(term), BTreeSet::new());
                }
                self.others = others;
                Ok(())
            }
            Claimed::Owned { term, .. } => Err(lost(format!("it was assigned anew, in term {term}"))),
            Claimed::Lost { reason } => Err(lost(reason)),
        }
    }

    /// K3: fences earlier owners, reads their offsets and commits them again with our name. That proves that our commits are
    /// accepted, and names us to the next owner.
    pub(super) fn take_over(&mut self) -> Result<()> {
        let list = loop {
            let others = self.others.iter().map(|slot| format!("{}-{slot}", self.spec.group));
            let named = others.chain(self.committed_owners()?).collect();
            self.fence(named)?;
            let list = self.read_tasks().map_err(|error| self.explain_pending_offsets(error))?;
            if self.is_settled(&self.commit_metadata(&list))? {
                break list;
            }
        };
        let metadata = self.commit_metadata(&list);
        self.query_metadata = element(&list, &self.topic, self.spec.tasks as i32).map(|o| o.metadata);
        let offsets = self.offsets_in_metadata(&metadata);
        let sequence = self.next_sequence();
        self.write_ownership(&sequence, &offsets)
            .map_err(|f| Error::io("could not take over the query").with_detail(f.reason))?;
        self.last_commit = sequence;
        self.is_taken = true;
        self.claim.taken(self.term.unwrap_or(0))
    }

    /// Whether the last commit is of a writer that cannot commit any more. Otherwise others have to be fenced, and the offsets read
    /// once more; if it is of a later owner than us, the claim is asked again before that.
    fn is_settled(&mut self, metadata: &[Option<CommitMetadata>]) -> Result<bool> {
        let term = self.term.unwrap_or(0);
        // Without a control topic a term means nothing.
        if let Some(later) = metadata.iter().flatten().find(|task| term > 0 && task.term > term) {
            let (owner, later) = (later.owner.clone(), later.term);
            self.confirm()?;
            return match self.term.unwrap_or(0) >= later {
                true => Ok(false),
                false => Err(lost(format!("{owner} has committed in term {later}, this writer is of term {term}"))),
            };
        }
        Ok(self.owners_to_fence(metadata).is_empty())
    }

    /// Other owners in the commit metadata that the control topic does not know: of a time without one, or before it.
    fn owners_to_fence(&self, metadata: &[Option<CommitMetadata>]) -> BTreeSet<String> {
        let has_terms = self.term.unwrap_or(0) > 0;
        let tasks = metadata.iter().flatten().filter(|task| !(has_terms && task.term > 0));
        let owners = tasks.map(|task| &task.owner);
        owners.filter(|owner| **owner != self.owner && !self.fenced_ids.contains(*owner)).cloned().collect()
    }

    /// The same by the commits that are not pending, which can be read at once: an open transaction of another owner would
    /// otherwise be waited for until its timeout.
    fn committed_owners(&self) -> Result<BTreeSet<String>> {
        Ok(self.owners_to_fence(&self.commit_metadata(&self.pending_tasks()?)))
    }

    /// K3: fences these transactional ids, unless that was done in this term. Nothing may be committed before all are.
    fn fence(&mut self, ids: BTreeSet<String>) -> Result<()> {
        let new: Vec<String> =
            ids.into_iter().filter(|id| !self.fenced_ids.contains(id) && *id != self.owner).collect();
        for some in new.chunks(FENCES_MAX) {
            let (done, results) = mpsc::channel();
            for id in some {
                tracing::info!(target: "kafka", owner = *id, "fencing an earlier owner");
                let (log, id, done) = (self.log.clone(), id.clone(), done.clone());
                threads::spawn("kafka-fence", id.clone(), move || {
                    let result = fence(&log, &id);
                    // The receiver is gone after the first error.
                    let _ = done.send((id, result));
                })?;
            }
            drop(done);
            let mut left = some.len();
            for (id, result) in results {
                result?;
                self.fenced_ids.insert(id);
                left -= 1;
            }
            if left > 0 {
                return Err(Error::io("could not fence an earlier owner of the query"));
            }
        }
        Ok(())
    }

    /// Who has committed after us. `None` also while a commit is pending: the last one but that may be our predecessor's.
    pub(super) fn later_owner(&self) -> Option<String> {
        let list = self.log.stable(&self.spec.group, &self.task_list(), VISIBLE_WAIT).ok()?;
        let mut tasks = self.commit_metadata(&list).into_iter().flatten();
        tasks.find(|task| !self.is_own(&task.owner, &task.sequence)).map(|task| taken_over(&task))
    }

    /// Whether a commit is of this writer.
    pub(super) fn is_own(&self, owner: &str, sequence: &str) -> bool {
        owner == self.owner && sequence.starts_with(&self.start)
    }
}

/// Ends what a transactional id has open, and keeps its producers from writing.
fn fence(log: &KafkaLog, id: &str) -> Result<()> {
    let producer = Producer::new(&log.settings().transactional(id, BATCH_BYTES), id, log.clock().clone())?;
    producer.raw().init_transactions(FENCE_WAIT).map_err(|e| {
        Error::io(format!("could not fence {id}, which may still write this query"))
            .with_detail(e.to_string())
            .with_hint("every process of a service needs the right to write with the transactional ids of all of them")
            .because(e.code)
    })
}

/// The error of a writer whose process does not own the query.
fn lost(reason: String) -> Error {
    Error::new(Kind::Fenced, "another process has taken over this query").with_detail(reason)
}

/// That another owner has committed, in words.
pub(super) fn taken_over(task: &CommitMetadata) -> String {
    let process = process_identity::describe(&task.process);
    format!("{process} has taken over the query (as {})", task.owner)
}
