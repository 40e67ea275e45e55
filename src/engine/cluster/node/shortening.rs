//! Keeps the control topic short: now and then a snapshot, and the deletion of what an earlier one replaces.
//!
//! ```text
//! 0 ... 999  S      the proposer appends a snapshot after 1,000 records; if another record comes first, it appends one again
//! S ... 2,000  S'   S' is in: what is before S is deleted. A process that reads slowly still finds S, or begins again with it
//! ```
//!
//! A start reads at most some 2,000 records and two snapshots, however old the service is.

use super::{Heard, Shared};
use crate::engine::cluster::proposer::is_proposer;
use crate::engine::cluster::record::Entry;
use crate::error::Result;
use crate::log::TopicPartition;
use crate::threads;
use std::sync::Arc;

/// Records between two snapshots: a start reads so many in a few milliseconds.
const SNAPSHOT_RECORDS: i64 = 1_000;
/// The largest snapshot: half of what a broker takes as one record unless its settings say otherwise. Some 2,000 queries.
const SNAPSHOT_BYTES_MAX: usize = 512 << 10;
/// How long a snapshot is awaited before another one is appended.
const AGAIN_MS: u64 = 1_000;
/// The kind of the thread that deletes: the broker may take its time, and the speaker has pulses to send.
const KIND: &str = "cluster-shortening";

/// Offsets of the latest two snapshots in the control topic; zero where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Snapshots {
    earlier: i64,
    latest: i64,
}

impl Snapshots {
    /// A snapshot was read that counts.
    pub(super) fn accepted(&mut self, offset: i64) {
        if offset > self.latest {
            (self.earlier, self.latest) = (self.latest, offset);
        }
    }
}

/// What the speaker remembers about it.
#[derive(Debug, Default)]
pub(super) struct Shortening {
    again_at_ms: u64,
    /// Records before this offset were deleted, or tried to be.
    deleted_before: i64,
    is_too_large: bool,
}

impl Shortening {
    /// The snapshot to append now, if any.
    pub(super) fn due(&mut self, heard: &Heard, shared: &Shared, now_ms: u64) -> Result<Option<Entry>> {
        let Heard { control, hearing, snapshots, .. } = heard;
        let is_due = control.next_offset() - snapshots.latest >= SNAPSHOT_RECORDS && now_ms >= self.again_at_ms;
        if !is_due || self.is_too_large || !is_proposer(now_ms, &shared.me, control, hearing) {
            return Ok(None);
        }
        self.again_at_ms = now_ms + AGAIN_MS;
        let entry = Entry::Snapshot(Box::new(control.snapshot()));
        let bytes = entry.clone().encode()?.len();
        if bytes > SNAPSHOT_BYTES_MAX {
            self.is_too_large = true;
            tracing::warn!(bytes, topic = %shared.topics.control, "too many queries for a snapshot: the topic is not shortened");
            return Ok(None);
        }
        Ok(Some(entry))
    }

    /// Deletes what the latest snapshot but one replaces.
    pub(super) fn delete(&mut self, shared: &Arc<Shared>) {
        let heard = shared.heard.lock();
        let before = heard.snapshots.earlier;
        if before <= self.deleted_before || !is_proposer(shared.now_ms(), &shared.me, &heard.control, &heard.hearing) {
            return;
        }
        drop(heard);
        self.deleted_before = before;
        let (shared, service) = (shared.clone(), shared.service.clone());
        let spawned = threads::spawn(KIND, service, move || {
            let at = TopicPartition::new(shared.topics.control.clone(), 0);
            if let Err(error) = shared.log.delete_records(&at, before) {
                tracing::warn!(%error, topic = %at.topic, before, "records that a snapshot replaces cannot be deleted");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "records that a snapshot replaces are not deleted");
        }
    }
}
