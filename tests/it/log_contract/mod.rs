//! What every log promises, written once and checked for each implementation.
//!
//! A behaviour is a function over a [`Subject`]; an implementation is plugged in by running [`all`] on its own subject.
//! Behaviours name their topics after themselves, so that one broker can serve them all.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod offsets;
mod reading;
mod records;
mod sessions;
mod subjects;
mod topics;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tidegate::log::{
    Assignment, Epoch, Fetched, Header, Isolation, Log, OwnedRecord, Reader, RecordSet, Sole, Start, TopicInfo,
    TopicPartition, TopicSpec, WriterSpec,
};

/// A log under test.
pub(crate) trait Subject {
    /// The log as it is.
    fn log(&self) -> Arc<dyn Log>;
    /// Ends everything and opens the same data again; one that lives in memory only stays as it is.
    fn reopen(&mut self);
    /// How long to wait for something that should come.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }
    /// Is a second session of a group refused (`Kind::Busy`)? If not, it fences the first.
    fn refuses_second_session(&self) -> bool;
}

/// A behaviour: its name and its check.
pub(crate) type Behaviour = (&'static str, fn(&mut dyn Subject));

/// All behaviours.
pub(crate) fn all() -> Vec<Behaviour> {
    [topics::ALL, records::ALL, reading::ALL, offsets::ALL, sessions::ALL].concat()
}

/// Runs all behaviours, each on a subject of its own, and names those that fail.
pub(crate) fn run(mut fresh: impl FnMut() -> Box<dyn Subject>) {
    let mut failed = Vec::new();
    for (name, check) in all() {
        let mut subject = fresh();
        if catch_unwind(AssertUnwindSafe(|| check(&mut *subject))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "behaviours that do not hold: {failed:?}");
}

#[test]
fn there_are_enough_behaviours_and_no_name_twice() {
    let mut names: Vec<_> = all().into_iter().map(|b| b.0).collect();
    assert!(names.len() >= 30, "{}", names.len());
    names.sort_unstable();
    assert!(names.windows(2).all(|w| w[0] != w[1]));
}

/// Creates a topic.
fn topic(log: &dyn Log, name: &str, partitions: u32) -> TopicInfo {
    log.create_topic(&TopicSpec::new(name, partitions)).unwrap()
}

/// Records in partition 0, with times 1000, 1001, ...
fn set(values: &[&str]) -> RecordSet {
    set_at(0, 1000, values)
}

/// Records in a partition, with times from `first`.
fn set_at(partition: i32, first: i64, values: &[&str]) -> RecordSet {
    let mut records = RecordSet::default();
    for (at, value) in values.iter().enumerate() {
        records.push(partition, first + at as i64, Some(b"k"), Some(value.as_bytes()));
    }
    records
}

fn assigned(topic: &str, partition: i32, start: Start) -> Assignment {
    Assignment { topic: topic.into(), partition, start }
}

fn reader(log: &dyn Log, topic: &str, start: Start) -> Box<dyn Reader> {
    log.reader(vec![assigned(topic, 0, start)], Isolation::ReadCommitted).unwrap()
}

/// Copies records out, each with its slot.
fn owned(fetched: &Fetched) -> Vec<(usize, OwnedRecord)> {
    let mut out = Vec::new();
    for run in fetched.runs() {
        run.for_each(|r| {
            let record = OwnedRecord {
                offset: r.offset,
                timestamp: r.timestamp,
                key: r.key.map(<[u8]>::to_vec),
                value: r.value.map(<[u8]>::to_vec),
                headers: r.headers.to_vec(),
            };
            out.push((run.slot, record));
        });
    }
    out
}

/// Polls until `count` records came.
fn take(subject: &dyn Subject, reader: &mut dyn Reader, count: usize) -> Vec<(usize, OwnedRecord)> {
    let mut out = Vec::new();
    while out.len() < count {
        let fetched = reader.poll(count - out.len(), subject.patience()).unwrap();
        assert!(!fetched.is_empty(), "{} of {count} records came: {out:?}", out.len());
        out.extend(owned(&fetched));
    }
    out
}

/// All records of partition 0.
fn read_all(log: &dyn Log, topic: &str) -> Vec<OwnedRecord> {
    read_partition(log, topic, 0)
}

/// All records of a partition, read until the end is reached.
fn read_partition(log: &dyn Log, topic: &str, partition: i32) -> Vec<OwnedRecord> {
    let high = log.watermarks(&TopicPartition::new(topic, partition)).unwrap().stable;
    let mut reader = log.reader(vec![assigned(topic, partition, Start::Earliest)], Isolation::ReadCommitted).unwrap();
    let mut out = Vec::new();
    while reader.position(0) < high {
        out.extend(owned(&reader.poll(1000, Duration::from_millis(200)).unwrap()).into_iter().map(|r| r.1));
    }
    out
}

fn values(records: &[OwnedRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value.clone().unwrap()).unwrap()).collect()
}

fn slot_values(records: &[(usize, OwnedRecord)]) -> Vec<String> {
    records.iter().map(|(_, r)| String::from_utf8(r.value.clone().unwrap()).unwrap()).collect()
}

fn header(key: &str, value: Option<&[u8]>) -> Header {
    Header { key: key.to_owned(), value: value.map(<[u8]>::to_vec) }
}

fn session_spec(group: &str) -> WriterSpec {
    WriterSpec { group: group.to_owned(), slot: "0".to_owned(), tasks: 4 }
}

fn epoch(topic: &str, records: RecordSet) -> Epoch {
    Epoch { records: vec![(topic.into(), records.into())], ..Epoch::default() }
}
