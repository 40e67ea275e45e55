//! Records that were fetched, on their way to the queues: the schemas of their ids are looked up first.
//!
//! ```text
//! poll --> runs --> every id known? --> queues
//!                   registry away: the runs are held, nothing more is fetched, the query is WAITING with the reason
//! ```
//!
//! What is held was not processed, so that a stop or a restart loses nothing.

use super::Execution;
use super::measurement::finds_records;
use super::spec::{BATCH_ROWS_MAX, ROUND_BYTES_MAX, ROUND_RECORDS_MAX};
use crate::error::{Error, Result};
use crate::log::{Fetched, Run};
use std::collections::VecDeque;
use std::time::Duration;

/// First and longest pause before the registry is asked again.
const ASK_MIN: Duration = Duration::from_millis(200);
const ASK_MAX: Duration = Duration::from_secs(5);

/// What waits for the registry.
#[derive(Debug, Default)]
pub(super) struct Held {
    runs: VecDeque<Run>,
    /// Why.
    reason: Option<String>,
    /// When the registry is asked again, and how long after that.
    again: Duration,
    pause: Duration,
    /// Why a round is short: returned by the next fetch, so that what came before it is processed.
    failed: Option<Error>,
}

impl Held {
    /// Why records wait, if they do.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.clone()
    }

    /// Whether records wait.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether records of this slot wait: they are behind the reader's position, and not processed.
    pub(super) fn includes(&self, slot: usize) -> bool {
        self.runs.iter().any(|run| run.slot == slot)
    }

    /// Forgets the records: they are read again.
    pub(super) fn clear(&mut self) {
        *self = Held::default();
    }
}

impl Execution {
    /// Fetches the records of a round, and puts those whose schemas are known into the queues; returns how many.
    pub(super) fn fetch(&mut self, wait: Duration) -> Result<usize> {
        if let Some(error) = self.held.failed.take() {
            return Err(error);
        }
        let mut failed = None;
        if self.held.is_empty() {
            let patience = self.patience(wait);
            let is_work = patience.is_zero() || finds_records(&*self.reader, self.inputs.len());
            let begun = self.clock.monotonic();
            let mut fetched: Fetched = self.reader.poll(BATCH_ROWS_MAX, patience)?;
            if !is_work {
                self.measurement.note_wait(self.clock.monotonic().saturating_sub(begun));
            }
            let (mut records, mut bytes) = (0, 0);
            loop {
                let full = fetched.len() >= BATCH_ROWS_MAX;
                records += fetched.len();
                bytes += fetched.runs().iter().map(Run::bytes).sum::<u64>();
                self.held.runs.extend(fetched.into_runs());
                // A poll that brought less has emptied the reader; what a round cannot take waits there.
                if !full || records >= ROUND_RECORDS_MAX || bytes >= ROUND_BYTES_MAX as u64 {
                    break;
                }
                match self.reader.poll(BATCH_ROWS_MAX, Duration::ZERO) {
                    Ok(more) => fetched = more,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
        } else {
            let now = self.clock.monotonic();
            self.clock.sleep(self.held.again.saturating_sub(now).min(wait));
            self.measurement.note_wait(self.clock.monotonic().saturating_sub(now));
            if self.clock.monotonic() < self.held.again {
                return Ok(0);
            }
        }
        let mut arrived = 0;
        while let Some(run) = self.held.runs.front() {
            if let Err(reason) = self.writer_ids[run.slot].resolve(run) {
                let pause = self.held.pause.saturating_mul(2).clamp(ASK_MIN, ASK_MAX);
                (self.held.pause, self.held.again) = (pause, self.clock.monotonic() + pause);
                self.held.reason = Some(reason);
                return Ok(arrived);
            }
            let Some(run) = self.held.runs.pop_front() else { break };
            arrived += run.len();
            self.queued += run.len();
            self.queues[run.slot].push_back(run);
        }
        self.held.clear();
        self.held.failed = failed;
        Ok(arrived)
    }
}
