//! Which records of a source a query reads: all that there were when it was submitted, less those that the query cannot need.
//!
//! ```text
//! WHERE ROWTIME >= 5000 AND ROWPARTITION = 1      partition 0: nothing    partition 1: from the first piece with such a time on
//! ```
//!
//! Leaving records out changes neither the rows that are left nor their order; where it might, they are read.

use super::super::run::drawn::meter::Reading;
use super::super::{Counts, History};
use super::bounds::Bounds;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::format::frame::SharedSchemas;
use crate::log::{ALL_TIMES, Log, Span, TopicPartition};
use crate::parse::statement::SourceKind;
use std::ops::Range;
use std::sync::Arc;

/// Where each partition begins and where it ended when the query was submitted.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub source: Arc<Source>,
    pub schemas: SharedSchemas,
    pub ends: Vec<(TopicPartition, i64)>,
    /// By partition of `ends`: what of it is read.
    pub spans: Vec<Vec<Span>>,
    /// What was read of it.
    pub reading: Arc<Reading>,
}

impl Snapshot {
    /// The source as it is now; empty for a plan that is only shown.
    pub(crate) fn take(source: &Arc<Source>, history: &History, counts: &Counts) -> Result<Snapshot> {
        let (schemas, reading) = (history.schemas.clone(), Arc::default());
        if counts.is_shown {
            return Ok(Snapshot { source: source.clone(), schemas, ends: Vec::new(), spans: Vec::new(), reading });
        }
        let log = &history.log;
        let Some(topic) = log.topic(&source.topic)? else {
            return Err(Error::not_found(format!("topic {} of {} does not exist", source.topic, source.name)));
        };
        let name: Arc<str> = source.topic.as_str().into();
        let (mut ends, mut spans) = (Vec::new(), Vec::new());
        for partition in 0..topic.partitions {
            let partition = TopicPartition::new(name.clone(), partition as i32);
            let marks = log.watermarks(&partition)?;
            let known = history.ranges.as_ref().and_then(|ranges| ranges.get(&partition));
            let range = known.cloned().unwrap_or_else(|| counts.range_of(&partition, marks.low..marks.stable));
            if !range.is_empty() {
                ends.push((partition, range.end));
                spans.push(vec![Span::whole(range)]);
            }
        }
        Ok(Snapshot { source: source.clone(), schemas, ends, spans, reading })
    }

    /// Leaves out what the bounds rule out, as far as the rows that are left come in the same order and mean the same.
    pub(crate) fn narrow(&mut self, bounds: &Bounds, log: &dyn Log) -> Result<()> {
        if bounds.is_all() {
            return Ok(());
        }
        let whole = std::mem::take(&mut self.ends).into_iter().zip(std::mem::take(&mut self.spans));
        let kept = whole.filter(|((place, _), _)| bounds.partitions.contains(&i64::from(place.partition)));
        (self.ends, self.spans) = kept.unzip();
        let several = self.ends.len() > 1;
        // The time of a row is not its record's where a column says it.
        let stamped = self.source.timestamp.is_some();
        let times = if stamped { &ALL_TIMES } else { &bounds.times };
        for ((place, end), spans) in self.ends.iter().zip(&mut self.spans) {
            let whole = spans.first().map_or(*end..*end, |s| s.offsets.clone());
            let wanted = match stamped && several {
                true => whole.start,
                false => whole.start.max(*bounds.offsets.start()),
            };
            let is_table = self.source.kind == SourceKind::Table;
            // A later record of a key takes the place of an earlier one, whatever its own place and time.
            let until = if is_table { *end } else { bounds.offsets.end().saturating_add(1).min(*end) };
            let mut found = match wanted < until && !times.is_empty() {
                true => log.spans(place, wanted..until, times)?,
                false => Vec::new(),
            };
            if is_table && let Some(first) = found.first_mut() {
                first.offsets.end = *end;
                found.truncate(1);
            }
            // Without the times of what was left out the order of this partition among the others is unknown.
            if several && found.iter().any(|s| s.latest_before.is_none()) {
                found = vec![Span::whole(whole.start..until)];
            }
            *spans = found;
        }
        let mut left = self.spans.iter().map(|s| !s.is_empty());
        self.ends.retain(|_| left.next() == Some(true));
        self.spans.retain(|s| !s.is_empty());
        Ok(())
    }

    /// What is read of a partition: its place, the first offset and the one behind the last.
    pub(crate) fn of(&self, partition: i32) -> Option<(&TopicPartition, Range<i64>)> {
        let at = self.ends.iter().position(|(place, _)| place.partition == partition)?;
        let start = self.spans[at].first().map_or(self.ends[at].1, |s| s.offsets.start);
        Some((&self.ends[at].0, start..self.ends[at].1))
    }

    /// Are there partitions beyond those that the source knows?
    pub(crate) fn has_grown(&self) -> bool {
        self.ends.iter().any(|(place, _)| place.partition >= self.source.partitions as i32)
    }

    /// How many offsets are read.
    pub(crate) fn len(&self) -> u64 {
        self.spans.iter().flatten().map(|s| s.offsets.end.abs_diff(s.offsets.start)).sum()
    }
}
