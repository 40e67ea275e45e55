//! The Kafka log against a real Apache Kafka broker.

#![allow(clippy::disallowed_methods, reason = "a real broker goes by real time")]

mod away;
mod broker;
mod changes;
mod claims;
mod clients;
mod cluster;
mod commands;
mod connect;
mod contract;
mod control_topic;
mod coordinator;
mod crash;
mod elsewhere;
mod faults;
mod foreign;
mod forgotten;
mod frames;
mod generators;
mod large;
mod panics;
mod pipelines;
mod proxy;
mod reading;
mod records;
mod room;
mod schemas;
mod secure;
mod sessions;
mod standbys;

use crate::crash::Server;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::command::repair::Wanted;
use tidegate::engine::query::persistent::State;
use tidegate::engine::session::Session as Statements;
use tidegate::error::{Kind, Result};
use tidegate::log::kafka::{KafkaLog, KafkaSettings};
use tidegate::log::{
    Assignment, CommittedOffset, Epoch, Header, Isolation, Log, OwnedRecord, RecordSet, Sole, Start, TopicInfo,
    TopicPartition, TopicSpec, WriterSpec,
};
use tidegate::types::clock::SystemClock;

/// What the contract suite runs against; `None` = no broker on this machine.
pub(crate) fn subject(test: &str) -> Option<Arc<KafkaLog>> {
    broker::shared(test).map(|b| connect(&b.bootstrap))
}

fn connect(bootstrap: &str) -> Arc<KafkaLog> {
    KafkaLog::connect(KafkaSettings::new(bootstrap), SystemClock::shared()).expect("the broker runs")
}

/// An engine of its own: other engines on the cluster are not in its way.
fn engine(settings: KafkaSettings, service: &str) -> Engine {
    let KafkaSettings { bootstrap, properties } = settings;
    let mut config = Config::new(LogConfig::Kafka { bootstrap, properties });
    service.clone_into(&mut config.service_id);
    Engine::open(config, SystemClock::shared()).expect("the broker runs")
}

fn run(engine: &Engine, sql: &str) {
    engine.run(sql, &mut Statements::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// What the query that writes `sink` is doing.
fn state_of(engine: &Engine, sink: &str) -> State {
    let id = format!("_{sink}_");
    engine.queries().iter().find(|(q, _)| q.contains(&id)).map(|(_, query)| query.state()).expect("it was created")
}

/// Waits for something that has to come.
fn until<T>(what: &str, patience: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A process of a service, whose output goes to a file of its slot.
fn process(bootstrap: &str, service: &str, slot: &str, folder: &Path) -> Server {
    process_with(bootstrap, service, slot, folder, &[])
}

/// The same with more properties.
fn process_with(bootstrap: &str, service: &str, slot: &str, folder: &Path, settings: &[&str]) -> Server {
    let slot_setting = format!("tidegate.slot={slot}");
    let mut place = vec!["--bootstrap-servers", bootstrap, "--service-id", service, "--set", &slot_setting];
    settings.iter().for_each(|setting| place.extend(["--set", setting]));
    let output = folder.join(format!("{slot}.log"));
    let place: Vec<String> = place.into_iter().map(str::to_owned).collect();
    Server::start_with(&place, None, &SystemClock::shared(), &output)
}

/// A name that no other test uses.
fn fresh(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn topic(log: &KafkaLog, stem: &str, partitions: u32) -> TopicInfo {
    log.create_topic(&TopicSpec::new(fresh(stem), partitions)).unwrap()
}

fn spec(stem: &str, tasks: u32) -> WriterSpec {
    WriterSpec { group: fresh(stem), slot: "slot-0".into(), tasks }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn offset(offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset { offset, metadata: metadata.into() }
}

fn set(rows: &[(i32, i64, &str, &str)]) -> RecordSet {
    let mut records = RecordSet::default();
    for (partition, timestamp, key, value) in rows {
        records.push(*partition, *timestamp, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    records
}

/// An epoch of some rows to one topic, and one offset.
fn epoch(topic: &str, records: RecordSet, offsets: Vec<(TopicPartition, CommittedOffset)>, metadata: &str) -> Epoch {
    Epoch { records: vec![(Arc::from(topic), records.into())], offsets, metadata: metadata.into() }
}

/// All records of a partition, from the beginning until the reader has passed the end of this moment.
fn read_all(log: &KafkaLog, topic: &str, partition: i32, isolation: Isolation) -> Vec<OwnedRecord> {
    try_read_all(log, topic, partition, isolation).unwrap()
}

fn try_read_all(log: &KafkaLog, topic: &str, partition: i32, isolation: Isolation) -> Result<Vec<OwnedRecord>> {
    let end = log.watermarks(&at(topic, partition))?;
    let end = if isolation == Isolation::ReadCommitted { end.stable } else { end.high };
    let assignment = vec![Assignment { topic: topic.into(), partition, start: Start::Earliest }];
    let mut reader = log.reader(assignment, isolation)?;
    let mut records = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while reader.position(0) < end {
        assert!(Instant::now() < deadline, "stuck at {} of {end}: {:?}", reader.position(0), reader.trouble());
        take(&reader.poll(1000, Duration::from_millis(100))?, &mut records);
    }
    Ok(records)
}

/// The same once no transaction is open: a commit's markers reach its partitions shortly after it has returned.
fn read_settled(log: &KafkaLog, topic: &str, partition: i32) -> Vec<OwnedRecord> {
    try_read_settled(log, topic, partition).unwrap()
}

fn try_read_settled(log: &KafkaLog, topic: &str, partition: i32) -> Result<Vec<OwnedRecord>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let marks = log.watermarks(&at(topic, partition))?
        && marks.stable < marks.high
    {
        assert!(Instant::now() < deadline, "{marks:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    try_read_all(log, topic, partition, Isolation::ReadCommitted)
}

fn take(fetched: &tidegate::log::Fetched, records: &mut Vec<OwnedRecord>) {
    for run in fetched.runs() {
        run.for_each(|r| {
            records.push(OwnedRecord {
                offset: r.offset,
                timestamp: r.timestamp,
                key: r.key.map(<[u8]>::to_vec),
                value: r.value.map(<[u8]>::to_vec),
                headers: r.headers.to_vec(),
            });
        });
    }
}

fn values(records: &[OwnedRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or(b"NULL")).into_owned()).collect()
}

fn header(key: &str, value: Option<&[u8]>) -> Header {
    Header { key: key.into(), value: value.map(<[u8]>::to_vec) }
}
