//! Rows that are too large for the topic that they are written to.
//!
//! A broker refuses such a row, and with it the whole transaction, each time that it is sent. So the limits of all topics
//! that a query writes are read when it starts, and every row is measured before it joins an epoch:
//!
//! ```text
//! row of COPIED, 2,000,081 bytes, topic COPIED takes 1,048,588
//!   -> the processing log, with topic, key and size
//!   -> ksql.fail.on.production.error = true: the query stops in ERROR, nothing of the epoch is written
//!                                    = false: the row is left out, the query continues
//! ```
//!
//! A record of a changelog is never left out, because the state would be another one after a restart: the query stops.

use super::Execution;
use super::spec::{BAD_RECORDS_KEPT, ExecutionSpec, Target};
use crate::error::{Error, Kind, Result};
use crate::execute::pipeline::changelog_topic;
use crate::execute::record::source::{BadRecord, Stage};
use crate::execute::record::too_large::TooLarge;
use crate::log::size::{OVERHEAD_BYTES_MAX, record_bytes};
use crate::log::{Log, RecordSet};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The largest record of each topic that a query writes.
#[derive(Debug, Default)]
pub(super) struct Limits(BTreeMap<String, usize>);

impl Limits {
    /// Asks for those of all topics that the query writes.
    pub(super) fn of(log: &dyn Log, spec: &ExecutionSpec) -> Result<Limits> {
        let Target::Topic(sink) = &spec.target else { return Ok(Limits::default()) };
        let stores = spec.pipeline.stores();
        let changelogs = stores.iter().map(|(store, _)| changelog_topic(&spec.group, store));
        let topics: Vec<String> =
            [sink.topic.clone()].into_iter().chain(spec.late_topic.clone()).chain(changelogs).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let limits = log.record_bytes_max(&names)?;
        Ok(Limits(topics.into_iter().zip(limits).filter_map(|(topic, limit)| Some((topic, limit?))).collect()))
    }

    /// That of one topic.
    pub(super) fn limit(&self, topic: &str) -> usize {
        self.0.get(topic).copied().unwrap_or(usize::MAX)
    }

    /// The smallest of all.
    pub(super) fn smallest(&self) -> Option<usize> {
        self.0.values().copied().min()
    }
}

impl Execution {
    /// Reports rows that do not fit into a topic; an error if the query is to stop at them.
    pub(super) fn refuse(&mut self, topic: &Arc<str>, rows: Vec<TooLarge>) -> Result<()> {
        let mut first = None;
        for row in rows {
            let limit = self.limits.limit(topic);
            let reason = reason(&row, topic, limit);
            self.progress.bad.fetch_add(1, Ordering::Relaxed);
            if self.bad.len() < BAD_RECORDS_KEPT {
                let TooLarge { partition, key, bytes } = row;
                let stage = Stage::Produce { key, bytes };
                self.bad.push(BadRecord { topic: topic.clone(), partition, offset: -1, reason: reason.clone(), stage });
            }
            first.get_or_insert(reason);
        }
        match first.filter(|_| self.spec.fail_on_production_error) {
            None => Ok(()),
            Some(reason) => Err(Error::data(reason).with_hint(format!(
                "raise max.message.bytes of topic {topic} and RESUME the query, or leave such rows out: start tidegate \
                 with --set ksql.fail.on.production.error=false"
            ))),
        }
    }

    /// An error if a changelog does not take one of these records.
    pub(super) fn check_changelogs(&mut self, sets: &[(Arc<str>, Arc<RecordSet>)]) -> Result<()> {
        for (topic, set) in sets {
            let limit = self.limits.limit(topic);
            // No record is larger than all of them together.
            if set.data.len().saturating_add(OVERHEAD_BYTES_MAX) <= limit {
                continue;
            }
            let bytes = |row: usize| record_bytes(set.key(row).map(<[u8]>::len), set.value(row).map(<[u8]>::len), &[]);
            let Some((row, bytes)) = (0..set.len()).map(|row| (row, bytes(row))).find(|(_, bytes)| *bytes > limit)
            else {
                continue;
            };
            let large = TooLarge::new(set.rows[row].partition, set.key(row), bytes);
            let reason = reason(&large, topic, limit);
            self.refuse(topic, vec![large])?;
            return Err(Error::data(reason)
                .with_detail("the record holds state of the query, so it cannot be left out")
                .with_hint(format!("raise max.message.bytes of topic {topic} and RESUME the query")));
        }
        Ok(())
    }

    /// The records that were skipped since the last turn that ended well: what is left when one fails.
    pub fn take_bad(&mut self) -> Vec<BadRecord> {
        std::mem::take(&mut self.bad)
    }

    /// A failure because of a topic that takes less than it did when the query began: the query starts again, and measures
    /// its rows by what the topic takes now.
    pub fn explain_refusal(&self, error: Error, log: &dyn Log) -> Error {
        if error.kind() != Kind::Data {
            return error;
        }
        match Limits::of(log, &self.spec) {
            Ok(now) if now.0 != self.limits.0 => {
                Error::new(Kind::Busy, "max.message.bytes of a topic has changed").because(error)
            }
            _ => error,
        }
    }
}

fn reason(row: &TooLarge, topic: &str, limit: usize) -> String {
    let mut reason = "a row".to_owned();
    if let Some(key) = &row.key {
        let _ = write!(reason, " with key {key}");
    }
    let _ = write!(reason, " is too large for topic {topic}: it has {} bytes, max.message.bytes is {limit}", row.bytes);
    reason
}
