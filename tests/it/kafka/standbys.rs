//! A process that keeps the state of another one's queries up to date, and takes them over with it.

use super::*;
use crate::harness::records::read_topic;
use serde_json::Value;
use std::collections::BTreeMap;

/// Records before and after the owner is killed, and their keys.
const RECORDS: i32 = 20_000;
const LATER: i32 = 500;
const KEYS: i32 = 3_000;
/// For a start, a plan and a pulse.
const PATIENCE: Duration = Duration::from_secs(60);
const STANDBY: &str = "ksql.streams.num.standby.replicas=1";
/// What a standby that is up to date may have left to read: less than a commit.
const LEFT_MAX: usize = 100;

fn write(log: &KafkaLog, source: &str, numbers: std::ops::Range<i32>) {
    let mut records = RecordSet::default();
    for n in numbers {
        let (key, value) = (format!("k{}", n % KEYS), format!(r#"{{"V":{n}}}"#));
        records.push(n % 2, 1, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    log.append(source, &records).unwrap();
}

/// The latest value of each key.
fn table(log: &KafkaLog, sink: &str) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let records = read_topic(log, sink).unwrap();
    let rows = records.into_iter().filter_map(|record| Some((text(&record.key?), text(&record.value?))));
    rows.collect()
}

/// The state lags of the hosts by query: records read, and records that are left.
fn lags(server: &Server) -> BTreeMap<String, (i64, i64)> {
    let status: Value = serde_json::from_str(&server.get("/clusterStatus").unwrap()).unwrap();
    let hosts = status["clusterStatus"].as_object().unwrap().values();
    let stores = hosts.flat_map(|host| host["hostStoreLags"]["stateStoreLags"].as_object().unwrap());
    let sum = |partitions: &Value, what: &str| {
        partitions["lagByPartition"].as_object().unwrap().values().map(|lag| lag[what].as_i64().unwrap()).sum()
    };
    let lag = |(store, partitions): (&String, &Value)| {
        (store.clone(), (sum(partitions, "currentOffsetPosition"), sum(partitions, "offsetLag")))
    };
    stores.map(lag).collect()
}

#[test]
fn a_standby_takes_a_query_over_with_the_state_that_it_has() {
    let test = "a_standby_takes_a_query_over_with_the_state_that_it_has";
    let Some(broker) = broker::shared(test) else { return };
    let (folder, log) = (tempfile::tempdir().unwrap(), connect(&broker.bootstrap));
    let (service, source, sink) = (fresh("standbys"), topic(&log, "standbys-in", 2).name, fresh("standbys-out"));
    let start = |slot: &str| process_with(&broker.bootstrap, &service, slot, folder.path(), &[STANDBY]);
    let (a, b) = (start("a"), start("b"));
    a.ksql(&format!(
        "CREATE STREAM s (k STRING KEY, v INT) WITH (KAFKA_TOPIC='{source}', VALUE_FORMAT='JSON');
         CREATE TABLE c WITH (KAFKA_TOPIC='{sink}') AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM s GROUP BY k;"
    ))
    .unwrap();
    write(&log, &source, 0..RECORDS);
    let shown = |server: &Server| -> Value { serde_json::from_str(&server.ksql("SHOW QUERIES;").unwrap()).unwrap() };
    for server in [&a, &b] {
        until("each process shows a standby that has read all groups", PATIENCE, || {
            let is_done = lags(server).values().any(|(read, left)| *read >= i64::from(KEYS) && *left == 0);
            let query = &shown(server)[0]["queries"][0];
            (is_done && query["standbys"][0]["lag"] == 0 && query["host"] != query["standbys"][0]["host"]).then_some(())
        });
    }
    let described = b.ksql("DESCRIBE C EXTENDED;").unwrap();
    assert!(described.contains("standby: 127.0.0.1:"), "{described}");
    let owner = shown(&a)[0]["queries"][0]["host"].as_str().unwrap().to_owned();
    let (dead, other, slot) = if a.base.ends_with(&owner) { (a, b, "b") } else { (b, a, "a") };
    drop(dead);
    write(&log, &source, RECORDS..RECORDS + LATER);
    let mut want: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for n in 0..RECORDS + LATER {
        let (count, sum) = want.entry(format!("k{}", n % KEYS)).or_default();
        (*count, *sum) = (*count + 1, *sum + i64::from(n));
    }
    let row = |(key, (count, sum)): (String, (i64, i64))| (key, format!(r#"{{"N":{count},"TOTAL":{sum}}}"#));
    let want: BTreeMap<String, String> = want.into_iter().map(row).collect();
    until("the counts go on from the state of the standby", PATIENCE, || (table(&log, &sink) == want).then_some(()));
    until("the new owner is no standby any more", PATIENCE, || lags(&other).is_empty().then_some(()));
    let said = std::fs::read_to_string(folder.path().join(format!("{slot}.log"))).unwrap();
    let taken: Vec<&str> = said.lines().filter(|line| line.contains("a standby takes the query over")).collect();
    let left = taken.first().and_then(|line| line.split_once("entries=")).map(|(_, number)| number.trim());
    assert!(left.and_then(|left| left.parse::<usize>().ok()).is_some_and(|left| left <= LEFT_MAX), "{taken:?}\n{said}");
    drop(other);
}
