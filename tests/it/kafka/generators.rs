//! Generated streams in a service of several processes: one of them writes, and another one when that is killed.

use super::*;
use crate::harness::records::read_topic;
use std::collections::BTreeSet;

/// Rows of the stream, and how many a second: it lives long enough to be moved.
const ROWS: i64 = 4_000;
const RATE: i64 = 500;
/// For a start, a take-over and the rows that are left.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_rows_of_a_generator_are_written_by_one_process_and_by_another_when_that_is_killed() {
    let test = "the_rows_of_a_generator_are_written_by_one_process_and_by_another_when_that_is_killed";
    let Some(broker) = broker::shared(test) else { return };
    let (folder, log) = (tempfile::tempdir().unwrap(), connect(&broker.bootstrap));
    let (service, topic) = (fresh("generators"), fresh("generated"));
    let written = || log.watermarks(&at(&topic, 0)).unwrap().high;
    let reach = |records: i64| {
        until("rows are written", PATIENCE, || (written() >= records).then_some(()));
    };
    let first = process(&broker.bootstrap, &service, "a", folder.path());
    first
        .ksql(&format!(
            "CREATE STREAM orders WITH (SOURCE='datagen', RATE={RATE}, COUNT={ROWS}, KAFKA_TOPIC='{topic}', PARTITIONS=1);"
        ))
        .unwrap();
    reach(1);
    let second = process(&broker.bootstrap, &service, "b", folder.path());
    reach(written() + RATE);
    assert!(written() < ROWS, "it ended too early to be moved");
    drop(first);
    reach(ROWS);
    let first = process(&broker.bootstrap, &service, "a", folder.path());
    let status: serde_json::Value = serde_json::from_str(&first.get("/clusterStatus").unwrap()).unwrap();
    let hosts = status["clusterStatus"].as_object().unwrap();
    let queries: Vec<_> = hosts.values().flat_map(|host| host["activeStandbyPerQuery"].as_object().unwrap()).collect();
    assert!(hosts.len() == 2 && queries.is_empty(), "{status}");
    // Dropped and created again by the other process, it continues behind what is there.
    first.ksql("DROP STREAM orders;").unwrap();
    first
        .ksql(&format!(
            "CREATE STREAM orders WITH (SOURCE='datagen', RATE={RATE}, COUNT={}, KAFKA_TOPIC='{topic}', PARTITIONS=1);",
            ROWS + RATE
        ))
        .unwrap();
    reach(ROWS + RATE);
    // A second generator would still write.
    std::thread::sleep(Duration::from_millis(1_500));
    let records = read_topic(&*log, &topic).unwrap();
    let ids: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
    assert_eq!((records.len(), ids.len()), ((ROWS + RATE) as usize, (ROWS + RATE) as usize), "rows, and ids of them");
    drop(second);
}
