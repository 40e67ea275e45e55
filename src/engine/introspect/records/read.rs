//! Reading records: where to start, when to stop, and how much is held.
//!
//! ```text
//! offset 1200    from that offset in each partition      time T     from the first record at or after T
//! last 100       the last records over all partitions    live       and then on, as records arrive
//! ```
//!
//! What is read without `live` is bounded: by [`LIMIT_MAX`] records, [`BYTES_MAX`] bytes and [`PATIENCE`], and by what the topic
//! contained when reading began. It comes ordered by time, partition and offset.

use super::condition::Condition;
use super::decode::{Decoding, Form};
use super::line::RecordLine;
use crate::catalog::Source;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::log::{Assignment, Isolation, Reader, RecordRef, Run, Start, TopicPartition};
use crate::types::clock::SharedClock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Records that one request gets, unless it reads live.
pub const LIMIT_MAX: usize = 10_000;
/// Bytes of keys, values and headers that one request gets, unless it reads live.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long one request reads, unless it reads live: a condition may be met by no record.
const PATIENCE: Duration = Duration::from_secs(20);
/// With a condition, the last records of a partition among which the last ones that meet it are looked for.
const LOOKED_BACK_MAX: i64 = 100_000;
/// Records per poll.
const POLL_RECORDS: usize = 1_000;
/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At this offset of each partition, or the first that is retained.
    Offset(i64),
    /// At the first record of this time, in milliseconds since 1970.
    Time(i64),
    /// So many records before the end.
    Last(usize),
    /// At the end.
    Now,
}

/// What is read.
#[derive(Clone, Debug)]
pub struct RecordsQuery {
    /// One partition, or all.
    pub partition: Option<i32>,
    /// Where reading starts.
    pub from: From,
    /// Most records, at most [`LIMIT_MAX`].
    pub limit: usize,
    /// How they are decoded.
    pub form: Form,
    /// The stream or table that declares them, where several do.
    pub source: Option<String>,
    /// A condition in SQL.
    pub condition: Option<String>,
    /// Reading continues as records arrive.
    pub is_live: bool,
}

/// Records that are being read.
pub struct Records {
    reader: Box<dyn Reader>,
    /// Partition and end of each slot, as it was at the start.
    slots: Vec<(i32, i64)>,
    decoding: Decoding,
    condition: Option<Condition>,
    clock: SharedClock,
    query: RecordsQuery,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Records({:?})", self.query)
    }
}

impl Engine {
    /// Opens the records of a topic.
    pub fn records(&self, topic: &str, query: RecordsQuery, session: &Session) -> Result<Records> {
        self.check_alive()?;
        self.check_topic(session, topic)?;
        let info = self.log().topic(topic)?.ok_or_else(|| {
            Error::not_found(format!("topic {topic} does not exist")).with_hint("GET /api/v1/topics lists what exists")
        })?;
        let partitions = match query.partition {
            Some(one) if !(0..info.partitions as i32).contains(&one) => {
                let text = format!("topic {topic} has no partition {one}");
                return Err(Error::statement(text).with_detail(format!("it has {} partitions", info.partitions)));
            }
            Some(one) => one..one + 1,
            None => 0..info.partitions as i32,
        };
        let source = self.declared(topic, query.source.as_deref(), session)?;
        let condition = match (&query.condition, &source) {
            (None, _) => None,
            (Some(condition), Some(source)) => Some(self.condition(condition, source, session)?),
            (Some(_), None) => {
                return Err(Error::statement(format!("no stream or table is declared over topic {topic}"))
                    .with_hint("CREATE STREAM declares the columns that a condition is about"));
            }
        };
        let decoding = Decoding::new(query.form, source.as_ref(), topic, self.shared_schemas())?;
        let (mut assignment, mut slots) = (Vec::new(), Vec::new());
        for partition in partitions {
            let place = TopicPartition::new(topic, partition);
            let marks = self.log().watermarks(&place)?;
            let start = match query.from {
                From::Offset(offset) => offset.clamp(marks.low, marks.stable),
                From::Time(time) => self.log().offset_for_time(&place, time)?.unwrap_or(marks.stable),
                From::Last(_) if condition.is_some() => marks.low.max(marks.stable - LOOKED_BACK_MAX),
                From::Last(count) => marks.low.max(marks.stable - i64::try_from(count).unwrap_or(i64::MAX)),
                From::Now => marks.stable,
            };
            assignment.push(Assignment { topic: place.topic, partition, start: Start::Offset(start) });
            slots.push((partition, marks.stable));
        }
        let reader = self.log().reader(assignment, Isolation::ReadCommitted)?;
        Ok(Records { reader, slots, decoding, condition, clock: self.clock().clone(), query })
    }

    /// The stream or table by which the records of a topic are declared: the one that is named, or else the first by name.
    pub(in crate::engine) fn declared(
        &self,
        topic: &str,
        named: Option<&str>,
        session: &Session,
    ) -> Result<Option<Arc<Source>>> {
        let catalog = self.catalog();
        match named {
            Some(name) => {
                let source = catalog.source(name).filter(|source| source.topic == topic);
                let source = source.filter(|source| self.may_see(session, source)).cloned();
                source.map(Some).ok_or_else(|| {
                    Error::statement(format!("{name} is not declared over topic {topic}"))
                        .with_hint("GET /api/v1/sources lists streams and tables with their topics")
                })
            }
            None => Ok(catalog.all().find(|source| source.topic == topic).cloned()),
        }
    }
}

impl Records {
    /// Records that arrive within `wait`, in the order in which they are read.
    pub fn next(&mut self, wait: Duration) -> Result<Vec<RecordLine>> {
        let fetched = self.reader.poll(POLL_RECORDS, wait)?;
        self.decoding.begin();
        let mut lines = Vec::new();
        for run in fetched.runs() {
            self.take(run, &mut lines)?;
        }
        Ok(lines)
    }

    fn take(&mut self, run: &Run, lines: &mut Vec<RecordLine>) -> Result<()> {
        let Some(&(partition, _)) = self.slots.get(run.slot) else { return Ok(()) };
        let met = self.condition.as_mut().map(|condition| condition.met(partition, run)).transpose()?;
        let decoding = &mut self.decoding;
        run.for_each(|record| {
            if met.as_ref().is_none_or(|met| met.contains(&record.offset)) {
                lines.push(line(decoding, partition, &record));
            }
        });
        Ok(())
    }

    /// All records up to the end that the topic had at the start, within the bounds; `is_over` ends it early.
    pub fn all(mut self, is_over: &dyn Fn() -> bool) -> Result<Vec<RecordLine>> {
        let (deadline, limit) = (self.clock.monotonic() + PATIENCE, self.query.limit.min(LIMIT_MAX));
        let keeps_last = matches!(self.query.from, From::Last(_));
        let mut kept: BTreeMap<i32, Vec<RecordLine>> = BTreeMap::new();
        let mut bytes = 0;
        while !self.is_at_end(&kept, keeps_last) && bytes < BYTES_MAX && self.clock.monotonic() < deadline && !is_over()
        {
            let lines = self.next(POLL_WAIT)?;
            for line in lines {
                let (_, end) =
                    self.slots.iter().find(|(partition, _)| *partition == line.partition).copied().unwrap_or_default();
                if line.offset >= end {
                    continue;
                }
                let of_partition = kept.entry(line.partition).or_default();
                if !keeps_last && of_partition.len() >= limit {
                    continue;
                }
                bytes += line.bytes();
                of_partition.push(line);
                if keeps_last && of_partition.len() > 2 * limit {
                    bytes -= of_partition.drain(..limit).map(|line| line.bytes()).sum::<usize>();
                }
            }
        }
        let mut all: Vec<RecordLine> = kept.into_values().flatten().collect();
        all.sort_by_key(|line| (line.time, line.partition, line.offset));
        match keeps_last {
            true => drop(all.drain(..all.len().saturating_sub(limit))),
            false => all.truncate(limit),
        }
        Ok(all)
    }

    /// Nothing more has to be read of any partition.
    fn is_at_end(&self, kept: &BTreeMap<i32, Vec<RecordLine>>, keeps_last: bool) -> bool {
        let has_enough =
            |partition: i32| !keeps_last && kept.get(&partition).is_some_and(|lines| lines.len() >= self.query.limit);
        let mut slots = self.slots.iter().enumerate();
        slots.all(|(slot, &(partition, end))| self.reader.position(slot) >= end || has_enough(partition))
    }
}

fn line(decoding: &mut Decoding, partition: i32, record: &RecordRef<'_>) -> RecordLine {
    let decoded = decoding.decode(partition, record);
    RecordLine {
        partition,
        offset: record.offset,
        time: (record.timestamp >= 0).then_some(record.timestamp),
        key: decoded.key,
        value: decoded.value,
        window: decoded.window,
        key_raw: record.key.map(<[u8]>::to_vec),
        value_raw: record.value.map(<[u8]>::to_vec),
        headers: record.headers.to_vec(),
        bad: decoded.bad,
    }
}
