//! The thread that reads control topic and pulses.
//!
//! ```text
//! a control record               folded (C1, C2); a later Hello counts as heard; the queries look whose they are
//! a pulse                        its process is alive
//! the log cannot be read         said, and tried again: queries keep what they own, and cannot commit anyway
//! a record of a newer format,    this process cannot know any more who owns what: it owns nothing, and says so
//! or records are missing
//! ```

use super::pulse::{CountsElsewhere, PULSE_FORMAT, Pulse};
use super::topics::CONTROL;
use super::{Heard, Shared};
use crate::engine::cluster::control::Applied;
use crate::engine::cluster::record::{Decoded, Entry};
use crate::error::Result;
use crate::log::{Reader, RecordRef};
use crate::threads;
use std::sync::Arc;
use std::time::Duration;

/// The kind of its thread.
pub(super) const KIND: &str = "cluster-listener";
/// How long one poll waits: the latest at which a stop is noticed.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// Records of one poll.
const POLL_RECORDS: usize = 1_000;
/// Pause after the log could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Reads until the node ends, or cannot know any more who owns what.
pub(super) fn listen(shared: &Arc<Shared>) {
    while !shared.stopping() && shared.heard.lock().failed.is_none() {
        let read = threads::guard(KIND, &shared.service, || read(shared)).and_then(|read| read);
        if let Err(error) = read {
            tracing::warn!(%error, slot = %shared.me, "the control topic of the service cannot be read");
            let mut heard = shared.heard.lock();
            heard.trouble = Some(error.to_string());
            if !shared.stopping() {
                shared.changed.wait_for(&mut heard, TROUBLE_PAUSE);
            }
        }
    }
}

/// Reads on from where the fold is.
fn read(shared: &Shared) -> Result<()> {
    let next = shared.heard.lock().control.next_offset();
    let mut reader = shared.topics.reader(&*shared.log, next)?;
    while !shared.stopping() {
        let is_control = poll(shared, &mut *reader)?;
        if is_control && let Some(queries) = shared.queries.get() {
            queries.assigned();
        }
        if shared.heard.lock().failed.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

/// Takes what one poll returns; whether there were control records.
fn poll(shared: &Shared, reader: &mut dyn Reader) -> Result<bool> {
    let fetched = reader.poll(POLL_RECORDS, POLL_WAIT)?;
    let trouble = reader.trouble();
    if fetched.is_empty() && trouble.is_none() && shared.heard.lock().trouble.is_none() {
        return Ok(false);
    }
    let now = shared.now_ms();
    let mut heard = shared.heard.lock();
    let before = heard.control.next_offset();
    heard.trouble = trouble;
    for run in fetched.runs() {
        run.for_each(|record| match run.slot == CONTROL {
            true => heard.control_record(&record, now),
            false => heard.pulse(&record, now),
        });
    }
    let is_control = heard.control.next_offset() != before || heard.failed.is_some();
    heard.is_news |= is_control;
    drop(heard);
    shared.changed.notify_all();
    Ok(is_control)
}

impl Heard {
    fn control_record(&mut self, record: &RecordRef<'_>, now_ms: u64) {
        if self.failed.is_some() {
            return;
        }
        let applied = match Entry::decode(record.value.unwrap_or_default()) {
            Ok(Decoded::Entry(entry)) => {
                if let Entry::Hello(hello) = &entry {
                    match self.membership.is_joined(&self.control) {
                        true => self.hearing.hello(&hello.slot, now_ms),
                        false => self.hearing.recall(&hello.slot, now_ms),
                    }
                }
                let applied = self.control.apply(record.offset, &entry);
                if let (Entry::Snapshot(snapshot), Ok(Applied::Accepted)) = (&entry, &applied) {
                    self.snapshots.accepted(record.offset);
                    // Their Hellos may be gone.
                    snapshot.members.iter().for_each(|member| self.hearing.recall(&member.hello.slot, now_ms));
                }
                applied.map(|_| ())
            }
            Ok(Decoded::Foreign(reason)) => {
                tracing::warn!(offset = record.offset, reason, "skipped a foreign record of the control topic");
                self.control.skip(record.offset);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = applied {
            tracing::error!(%error, "this process owns no query any more");
            self.failed = Some(error);
        }
    }

    fn pulse(&mut self, record: &RecordRef<'_>, now_ms: u64) {
        let pulse = serde_json::from_slice::<Pulse>(record.value.unwrap_or_default());
        let Some(pulse) = pulse.ok().filter(|pulse| pulse.format == PULSE_FORMAT) else { return };
        self.hearing.pulse(&pulse.slot, pulse.incarnation, now_ms);
        // A start that was replaced may still send.
        let earlier = self.control.member(&pulse.slot).map_or(&[][..], |member| member.earlier.as_slice());
        if !earlier.contains(&pulse.incarnation) {
            self.count(&pulse);
            self.pulses.insert(pulse.slot.clone(), pulse);
        }
    }

    /// Notes the counters of a pulse that has them.
    fn count(&mut self, pulse: &Pulse) {
        let is_counted = pulse.queries.iter().any(|query| query.counts.is_some());
        if pulse.slot == self.membership.hello().slot || !is_counted && !pulse.queries.is_empty() {
            return;
        }
        let runs = |id: &str| pulse.queries.iter().any(|query| query.id == id);
        self.counts.retain(|id, counts| counts.slot != pulse.slot || runs(id));
        for query in &pulse.queries {
            let Some(latest) = query.counts.clone() else { continue };
            let before = self.counts.remove(&query.id);
            let counts = CountsElsewhere::follow(before, &pulse.slot, pulse.sent_ms, latest);
            self.counts.insert(query.id.clone(), counts);
        }
    }
}
