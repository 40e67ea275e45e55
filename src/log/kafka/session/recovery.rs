//! Taking a query over, and finding out how a commit ended.
//!
//! One rule for every doubt: see that the place is still ours, make a new producer (which decides the old transaction for
//! good), read what stands beside the task offsets, and write our name there again.

use super::doubt::{Doubt, Landed, Verdict};
use super::*;
use crate::log::kafka::member::rightful_owner;

/// How long to go on finding out how a commit ended before the session is given up.
const RESOLVE_WAIT: Duration = Duration::from_secs(300);
/// How often our own last commit is read back.
const CHECK_PAUSE: Duration = Duration::from_secs(5);
/// How long that may take; nothing is known if it takes longer.
const CHECK_WAIT: Duration = Duration::from_secs(1);
/// How long a broker may tell an older commit than our last one.
const STALE_WAIT: Duration = Duration::from_secs(15);

/// What the blobs say.
pub(super) enum Standing {
    /// All tasks hold this commit of ours.
    Ours(String),
    /// Nobody has committed yet.
    Nobody,
    /// Some task was committed by somebody else.
    Other(String),
}

impl KafkaSession {
    /// Reads what the last owner left, ends what it left open, and writes our name over its own: this proves that the
    /// group takes our commits, and makes us found by the next owner.
    pub(super) fn take_over(&mut self) -> Result<()> {
        for other in self.other_owners()? {
            self.shut_out(&other);
        }
        let list = self.read_tasks().map_err(|error| self.told_why_unread(error))?;
        let blobs = self.blobs(&list);
        self.text = element(&list, &self.topic, self.spec.tasks as i32).map(|o| o.metadata);
        let kept = self.kept(&blobs);
        let sequence = self.next_sequence();
        self.write_ownership(&sequence, &kept)
            .map_err(|f| Error::io("could not take the query over").with_detail(f.reason))?;
        self.standing = sequence;
        self.mark = self.member.expired();
        Ok(())
    }

    /// Why committed offsets cannot be read: the broker is away, or something is pending that nobody ends. Everything of
    /// ours was ended by the new producers, so the broker has forgotten it (see [`super::orphans`]), or somebody else holds
    /// a transaction open. Whether to commit or to abort that cannot be known here.
    fn told_why_unread(&self, error: Error) -> Error {
        if committed_list(&self.hasty, &self.task_list(), ANSWER_WAIT).is_err() {
            return error;
        }
        let (group, seconds) = (&self.spec.group, STABLE_WAIT.as_secs());
        Error::io(format!("offsets of group {group} have been pending for {seconds} s"))
            .with_detail("a transaction wrote them and the broker does not end it")
            .with_hint(format!(
                "find it with `kafka-transactions.sh find-hanging --topic __consumer_offsets` and, if what the query wrote \
                 last is not in its topics, end it with `kafka-transactions.sh abort`; the query ({}) then goes on",
                self.owner
            ))
    }

    /// The input offsets that stand in the blobs.
    pub(super) fn kept(&mut self, blobs: &[Option<Blob>]) -> Offsets {
        let mut kept = BTreeMap::new();
        for (task, blob) in blobs.iter().enumerate() {
            for place in blob.iter().flat_map(|b| &b.offsets) {
                let at = TopicPartition::new(place.topic.as_str(), task as i32);
                self.ids.insert(at.topic.clone(), place.id());
                kept.insert(at, place.offset());
            }
        }
        kept
    }

    /// Commits the blobs alone, with what they held before.
    fn write_ownership(&mut self, sequence: &str, kept: &Offsets) -> Result<(), Failure> {
        let expired = self.member.expired();
        let sender = self.sender.as_ref().ok_or_else(|| Failure::of("no producer"))?;
        sender.outlet().begin().map_err(|e| Failure::call("begin", e))?;
        let list = self.offset_list(sequence, &Offsets::new(), kept, self.text.as_deref())?;
        self.finish(&list, expired)
    }

    /// Transactional ids that the blobs name and that are not ours.
    fn other_owners(&self) -> Result<BTreeSet<String>> {
        let list = committed_list(&self.hasty, &self.task_list(), ANSWER_WAIT)
            .map_err(|e| failed("read the committed tasks", e))?;
        Ok(self.blobs(&list).into_iter().flatten().map(|b| b.owner).filter(|o| *o != self.owner).collect())
    }

    /// Ends the open transaction of another owner, instead of waiting for its timeout.
    fn shut_out(&self, other: &str) {
        tracing::info!(target: "kafka", "ending what {other} left open");
        let config = self.log.settings().transactional(other, BATCH_BYTES);
        if let Ok(sender) = Sender::new(&config, other, self.log.clock().clone())
            && let Err(error) = sender.outlet().init_transactions(Duration::from_secs(10))
        {
            tracing::warn!(target: "kafka", "could not end what {other} left open: {error}");
        }
    }

    pub(super) fn read_standing(&self) -> Result<Standing> {
        let list = self.read_tasks()?;
        let mut standing = Standing::Nobody;
        for blob in self.blobs(&list).into_iter().flatten() {
            match &standing {
                _ if blob.owner != self.owner || !blob.sequence.starts_with(&self.start) => {
                    return Ok(Standing::Other(blob.owner));
                }
                Standing::Ours(sequence) if *sequence != blob.sequence => {
                    return Err(Error::bug("tasks of one query stand at different commits"));
                }
                _ => standing = Standing::Ours(blob.sequence),
            }
        }
        Ok(standing)
    }

    /// Finds out how a failed commit ended, and makes the session ready for the next one.
    pub(super) fn resolve(&mut self, failure: Failure, sequence: &str, epoch: Option<&Epoch>) -> Result<Outcome> {
        tracing::warn!(target: "kafka", "commit of {}: {}", self.owner, failure.reason);
        let mut landed = Landed::new();
        if let Some(sender) = self.sender.take() {
            landed = sender.events().take_landed();
            // The producer is dropped here, with requests of it perhaps in flight: what it has begun is ended by the next.
        }
        self.looked_at.clear();
        self.failed = true;
        let deadline = self.log.clock().monotonic() + RESOLVE_WAIT;
        let mut doubt = Doubt { sequence, epoch, landed, asked: self.asked, verdict: Verdict::Unknown };
        let mut pause = PAUSE_MIN;
        loop {
            match self.recover(&mut doubt) {
                Ok(Some(reason)) => return Ok(self.fenced(reason)),
                Ok(None) => break,
                Err(error) if error.kind() == Kind::Busy => return Ok(self.fenced(error.to_string())),
                Err(error) if error.kind() == Kind::Bug || self.log.clock().monotonic() > deadline => {
                    self.ended = Some((error.kind(), error.to_string()));
                    return Err(error);
                }
                Err(error) => tracing::warn!(target: "kafka", "recovery of {}: {error}", self.owner),
            }
            self.log.clock().sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        if doubt.verdict == Verdict::Committed {
            if let Some(epoch) = epoch {
                self.settle(epoch);
            }
            return Ok(Outcome::Committed);
        }
        if let Some(error) = failure.data {
            return Err(error);
        }
        Ok(self.aborted(failure.reason))
    }

    /// One try at recovery; `Some` = another process owns the query.
    fn recover(&mut self, doubt: &mut Doubt<'_>) -> Result<Option<String>> {
        if self.log.ids(&[&self.topic])? != [self.topic_id] {
            return Ok(Some("the group was deleted".to_owned()));
        }
        // Asked first: making a producer would shut out whoever rightly has our place now.
        if self.member.lost_place(&self.log)? {
            let last_owner = || last_owner(&self.hasty, &self.topic);
            let (group, slot) = (&self.spec.group, &self.spec.slot);
            if let Some(who) = rightful_owner(&self.log, group, slot, &self.process, &last_owner)? {
                return Ok(Some(format!("{who} has taken the query over")));
            }
        }
        self.rejoin()?;
        self.sender = None;
        self.sender = Some(self.new_sender()?);
        if doubt.verdict == Verdict::Unknown {
            doubt.verdict = self.verdict(doubt)?;
        }
        match (doubt.verdict, doubt.epoch) {
            (Verdict::Visible, Some(epoch)) => self.complete(doubt, epoch)?,
            _ => self.end_orphaned_offsets()?,
        }
        match self.read_standing()? {
            Standing::Other(owner) => return Ok(Some(format!("{owner} has taken the query over"))),
            Standing::Ours(found) if found == doubt.sequence => self.stands(doubt),
            _ if doubt.verdict == Verdict::Committed => return Err(Error::io("a commit cannot be read any more")),
            _ => {}
        }
        if doubt.verdict == Verdict::Committed
            && let Some(epoch) = doubt.epoch
        {
            // Its offsets stand. That its rows do is seen with those of the commit before.
            self.keep(epoch, std::mem::take(&mut doubt.landed), false);
        }
        self.restore_lost()?;
        self.take_over().map(|()| None)
    }

    /// Takes our place in the group anew, which makes the coordinator write: one that has just loaded more than 16,384
    /// records tells what stood at the last multiple of that until it writes something (Kafka 4.3.1 after a kill -9).
    fn rejoin(&mut self) -> Result<()> {
        let last_owner = || last_owner(&self.hasty, &self.topic);
        self.member.step_back();
        self.member = Member::join(&self.log, &self.spec.group, &self.spec.slot, &self.topic, &last_owner)?;
        // Not owning them is no proof of another owner yet: the next try looks again.
        let waited = self.member.wait_for_tasks(self.spec.tasks as usize + 1);
        waited.map_err(|e| Error::io(e.message()).because(e))
    }

    pub(super) fn fenced(&mut self, reason: String) -> Outcome {
        self.ended = Some((Kind::Fenced, reason.clone()));
        self.sender = None;
        Outcome::Fenced { reason }
    }

    /// Reads our last commit back now and then: `Ok` from a commit is not trusted alone.
    pub(super) fn check(&mut self) -> Result<Option<String>> {
        let now = self.log.clock().monotonic();
        if now.saturating_sub(self.checked) < CHECK_PAUSE {
            return Ok(None);
        }
        self.checked = now;
        let mut rejoined = false;
        loop {
            let Ok(list) = committed_list(&self.stable, &self.task_list(), CHECK_WAIT) else { return Ok(None) };
            let mut blobs = self.blobs(&list).into_iter().flatten();
            let Some(blob) = blobs.find(|b| b.owner != self.owner || b.sequence != self.standing) else {
                return Ok(None);
            };
            if blob.owner != self.owner || !blob.sequence.starts_with(&self.start) {
                return Ok(Some(format!("{} has taken the query over", blob.owner)));
            }
            // A broker that has just come up may tell what stood some time ago.
            if !rejoined {
                tracing::warn!(target: "kafka", "the broker tells commit {} of {}", blob.sequence, self.owner);
                // Whoever has our place now must not be shut out: the commit will find him.
                let kept = self.member.lost_place(&self.log).is_ok_and(|lost| !lost);
                if !kept || self.rejoin().is_err() {
                    return Ok(None);
                }
                (rejoined, self.mark) = (true, self.member.expired());
            } else if self.log.clock().monotonic().saturating_sub(now) > STALE_WAIT {
                let message = format!("commit {} of {} was lost", self.standing, self.owner);
                let error = Error::new(Kind::Bug, message)
                    .with_detail(format!("the broker holds {}", blob.sequence))
                    .with_hint("see whether the broker has lost data; drop the query and create it again");
                self.ended = Some((error.kind(), error.to_string()));
                return Err(error);
            }
            self.log.clock().sleep(PAUSE_MIN);
        }
    }
}

/// Client id of the process that committed last.
pub(super) fn last_owner(hasty: &BaseConsumer<Events>, topic: &str) -> Result<Option<String>> {
    let mut first = TopicPartitionList::new();
    first.add_partition(topic, 0);
    let list = committed_list(hasty, &first, ANSWER_WAIT).map_err(|e| failed("read the committed tasks", e))?;
    Ok(element(&list, topic, 0).and_then(|o| Blob::parse(&o.metadata)).map(|blob| blob.process))
}
