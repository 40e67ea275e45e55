//! When a query emits, how it commits, and what it does after an aborted commit.

use super::Execution;
use super::late_records::LateRecords;
use super::output::Origin;
use super::snapshot::LAST_POLL;
use super::spec::{DELIVERY_BYTES, EPOCH_BYTES_MAX, Guarantee};
use crate::error::{Error, Kind, Result};
use crate::execute::operator::OperatorOutput;
use crate::log::{CommitOutcome, CommittedOffset, Epoch, TopicPartition};
use crate::mutant::{self, Mutant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pause after rows could not be delivered: the log is away, or its disk is full.
const DELIVERY_RETRY: Duration = Duration::from_secs(1);

impl Execution {
    pub(super) fn emit_and_commit(&mut self, drained: bool) -> Result<()> {
        let now = self.clock.monotonic();
        let commit_due = self.session.is_some()
            && self.dirty
            && (now >= self.last_commit + self.spec.commit_interval || self.unsent() > EPOCH_BYTES_MAX);
        if self.topology.has_unemitted() && (drained || commit_due || now >= self.last_emit + self.spec.emit_interval) {
            let mut out = OperatorOutput::default();
            self.topology.emit(&mut out)?;
            self.write(out, 0, Origin::Unknown)?;
            self.last_emit = now;
        }
        if self.spec.guarantee == Guarantee::AtLeastOnce && !self.deliver(drained, now)? {
            return Ok(());
        }
        if self.session.is_none() {
            // Undo images are needed until everything was emitted.
            if !self.topology.has_unemitted() {
                self.topology.commit();
                self.dirty = false;
            }
        } else if commit_due {
            self.commit()?;
        }
        Ok(())
    }

    /// Writes what was emitted ahead of the commit, when there is no more to come at once, or enough, or for long enough;
    /// `false` = it could not be written, and the query has gone back.
    fn deliver(&mut self, drained: bool, now: Duration) -> Result<bool> {
        let (Some(session), Some(sink)) = (&mut self.session, &self.sink) else { return Ok(true) };
        let enough = self.pending.data.len() > DELIVERY_BYTES || now >= self.last_delivery + self.spec.emit_interval;
        if self.pending.is_empty() || !(drained || enough) {
            return Ok(true);
        }
        self.last_delivery = now;
        match session.deliver(sink.topic(), &self.pending) {
            Ok(()) => {
                self.spec.view.iter().for_each(|view| view.publish(Some(&self.pending)));
                self.pending.clear();
                Ok(true)
            }
            Err(e) if e.kind() == Kind::Io => self.rewind(e.to_string(), DELIVERY_RETRY).map(|()| false),
            Err(e) => Err(e),
        }
    }

    /// One transaction: rows, changelog, offsets with stream times.
    pub(super) fn commit(&mut self) -> Result<()> {
        let _span = tracing::debug_span!("commit", group = %self.spec.group, sequence = self.commits + 1).entered();
        let began = self.clock.monotonic();
        self.snapshots.before_commit();
        if self.topology.has_unemitted() {
            let mut out = OperatorOutput::default();
            self.topology.emit(&mut out)?;
            self.write(out, 0, Origin::Unknown)?;
        }
        let mut epoch = Epoch { metadata: self.topic_identities.text(self.commits + 1), ..Epoch::default() };
        if let Some(sink) = &self.sink
            && !self.pending.is_empty()
        {
            epoch.records.push((sink.topic().clone(), Arc::new(std::mem::take(&mut self.pending))));
        }
        epoch.records.extend(self.late.as_mut().and_then(LateRecords::take));
        let rows = epoch.records.len();
        self.topology.changelog(&self.spec.group, &mut epoch.records)?;
        self.check_changelogs(&epoch.records[rows..])?;
        let mut reached = Vec::with_capacity(self.inputs.len());
        for slot in 0..self.inputs.len() {
            // An empty queue means that everything before the reader's position was processed, markers included.
            let empty =
                self.queues[slot].is_empty() && self.canonical.order.is_empty(slot) && !self.held.includes(slot);
            let offset =
                if empty { self.reader.position(slot).max(self.processed[slot]) } else { self.processed[slot] };
            reached.push(offset);
        }
        epoch.offsets = pack(&self.inputs, &reached, |slot| self.topology.offset_metadata(slot));
        let session = self.session.as_mut().ok_or_else(|| Error::bug("a query without session does not commit"))?;
        if mutant::on(Mutant::OffsetsBeforeRows) {
            let early = Epoch { records: Vec::new(), offsets: epoch.offsets.clone(), metadata: epoch.metadata.clone() };
            session.commit(&early)?;
        }
        let outcome = match session.commit(&epoch) {
            Ok(outcome) => outcome,
            // The log could not take it (a full disk): nothing was written; try again.
            Err(e) if e.kind() == Kind::Io => {
                CommitOutcome::Aborted { reason: e.to_string(), retry_after: Duration::from_secs(1) }
            }
            Err(e) => return Err(e),
        };
        self.last_commit = self.clock.monotonic();
        let records: usize = epoch.records.iter().map(|(_, set)| set.len()).sum();
        tracing::debug!(records, elapsed_ms = (self.last_commit - began).as_millis() as u64, ?outcome, "commit done");
        match outcome {
            CommitOutcome::Committed => {
                self.progress.commit_times.record(self.last_commit.saturating_sub(began));
                self.topology.commit();
                self.snapshots.after_commit(&epoch.records[rows..], &mut self.topology, &self.clock);
                if let Some(view) = &self.spec.view {
                    let sink = self.sink.as_ref().map(|sink| sink.topic());
                    let rows = epoch.records.iter().find(|(topic, _)| Some(topic) == sink);
                    view.publish(rows.map(|(_, rows)| &**rows));
                }
                self.committed = reached;
                self.commits += 1;
                self.dirty = false;
                self.trouble = None;
                self.progress.commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            CommitOutcome::Aborted { reason, retry_after } => self.rewind(reason, retry_after),
            CommitOutcome::Fenced { reason } => {
                Err(Error::new(Kind::Fenced, "another process has taken over this query").with_detail(reason))
            }
        }
    }

    /// Copies the committed state, while there is time.
    pub(super) fn write_last_snapshots(&mut self) -> Result<()> {
        let Some(until) = self.snapshots.begin_last() else { return Ok(()) };
        while self.retry_at.is_none() && self.clock.monotonic() < until {
            if self.snapshots.at_rest(&mut self.topology, &self.clock) {
                self.commit()?;
            } else if self.snapshots.is_busy() {
                self.clock.sleep(LAST_POLL);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Back to what was committed.
    fn rewind(&mut self, reason: String, retry_after: Duration) -> Result<()> {
        tracing::warn!(group = %self.spec.group, %reason, "commit aborted; going back to the committed offsets");
        self.topology.abort();
        self.pending.clear();
        self.late.iter_mut().for_each(LateRecords::clear);
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.held.clear();
        self.queued = 0;
        self.canonical.rewind(&self.committed);
        for slot in 0..self.inputs.len() {
            self.processed[slot] = self.committed[slot];
            self.reader.seek(slot, self.committed[slot])?;
        }
        self.trouble = Some(reason);
        self.retry_at = Some(self.clock.monotonic() + retry_after);
        // Where it began is committed before any row; an aborted first commit is still owed.
        self.dirty = self.commits == 0;
        Ok(())
    }
}

/// Begins the metadata of a partition that several slots read, and precedes what is kept of each further one. No memo contains it.
const SLOT: char = '&';

/// What a commit says of the inputs: an offset and a memo for each partition. Two streams over one topic are two slots that read one
/// partition, each at its own pace: the offset is the smallest, and the metadata has, slot by slot, how far ahead it is, and its memo.
fn pack(
    inputs: &[TopicPartition],
    reached: &[i64],
    memo: impl Fn(usize) -> String,
) -> Vec<(TopicPartition, CommittedOffset)> {
    let mut slots: BTreeMap<&TopicPartition, Vec<usize>> = BTreeMap::new();
    inputs.iter().enumerate().for_each(|(slot, input)| slots.entry(input).or_default().push(slot));
    let packed = |slots: &[usize]| {
        let offset = slots.iter().map(|&slot| reached[slot]).min().unwrap_or_default();
        let metadata = match slots {
            [slot] => memo(*slot),
            _ => slots.iter().map(|&slot| format!("{SLOT}{} {}", reached[slot] - offset, memo(slot))).collect(),
        };
        CommittedOffset { offset, metadata }
    };
    slots.into_iter().map(|(input, slots)| (input.clone(), packed(&slots))).collect()
}

/// The offset and the memo of each slot, of what was committed for its partition. Earlier builds kept those of the last slot alone.
pub(super) fn unpack(inputs: &[TopicPartition], known: Vec<Option<CommittedOffset>>) -> Vec<Option<CommittedOffset>> {
    let mut seen: BTreeMap<&TopicPartition, usize> = BTreeMap::new();
    let of_slots = inputs.iter().zip(known).map(|(input, known)| {
        let nth = seen.entry(input).and_modify(|nth| *nth += 1).or_default();
        let known = known?;
        let of_slot = known.metadata.strip_prefix(SLOT).and_then(|slots| slots.split(SLOT).nth(*nth)?.split_once(' '));
        let Some((ahead, memo)) = of_slot else { return Some(known) };
        let offset = known.offset + ahead.parse::<i64>().unwrap_or(0);
        Some(CommittedOffset { offset, metadata: memo.to_owned() })
    });
    of_slots.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_one_partition_share_its_offset_and_metadata() {
        let at = |topic: &str, partition| TopicPartition::new(topic, partition);
        let inputs = [at("a", 0), at("a", 1), at("b", 0), at("a", 0), at("a", 1), at("a", 0)];
        let reached = [10, 5, 7, 4, 5, 12];
        let memo = |slot: usize| if slot == 4 { String::new() } else { format!("1 {slot}#3;x") };
        let packed = pack(&inputs, &reached, memo);
        let text = |offset: i64, metadata: &str| CommittedOffset { offset, metadata: metadata.into() };
        let expected = [
            (at("a", 0), text(4, "&6 1 0#3;x&0 1 3#3;x&8 1 5#3;x")),
            (at("a", 1), text(5, "&0 1 1#3;x&0 ")),
            (at("b", 0), text(7, "1 2#3;x")),
        ];
        assert_eq!(packed, expected);
        let known = |input| packed.iter().find(|(at, _)| at == input).map(|(_, offset)| offset.clone());
        let slots = unpack(&inputs, inputs.iter().map(known).collect());
        let whole = reached.iter().enumerate().map(|(slot, &offset)| Some(text(offset, &memo(slot))));
        assert_eq!(slots, whole.collect::<Vec<_>>());
        // Of an earlier build, and of none.
        let old = vec![Some(text(9, "1 2")), None];
        assert_eq!(unpack(&[at("a", 0), at("a", 0)], old.clone()), old);
    }
}
