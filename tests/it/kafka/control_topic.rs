//! The control topic of a service is shortened, and processes that start behind the deleted records agree with the others.

use super::*;
use tidegate::engine::cluster::names::{QueryName, Slot, Term, Unit};
use tidegate::engine::cluster::record::Entry;

/// More than two snapshots' worth.
const RECORDS: usize = 2_500;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the queries of a service run, by a process.
fn hosts(server: &Server) -> Vec<Option<String>> {
    let shown: serde_json::Value = serde_json::from_str(&server.ksql("SHOW QUERIES;").unwrap()).unwrap();
    let host = |query: &serde_json::Value| query["host"].as_str().map(str::to_owned);
    shown[0]["queries"].as_array().unwrap().iter().map(host).collect()
}

#[test]
fn the_control_topic_is_shortened_and_a_process_starts_behind_what_was_deleted() {
    let test = "the_control_topic_is_shortened_and_a_process_starts_behind_what_was_deleted";
    let Some(broker) = broker::shared(test) else { return };
    let (folder, log) = (tempfile::tempdir().unwrap(), connect(&broker.bootstrap));
    let service = fresh("shortened");
    let control = format!("_confluent-ksql-{service}_control_topic");
    let (source, sink) = (topic(&log, "control-in", 1).name, fresh("control-out"));
    let a = process(&broker.bootstrap, &service, "a", folder.path());
    a.ksql(&format!(
        "CREATE STREAM s (v INT) WITH (KAFKA_TOPIC='{source}', VALUE_FORMAT='JSON');
         CREATE STREAM c WITH (KAFKA_TOPIC='{sink}') AS SELECT * FROM s;"
    ))
    .unwrap();
    // Of a query that there is not: they change nothing.
    let late = Entry::Confirm { unit: Unit::new(&QueryName::new("gone"), 0), slot: Slot::new("z"), term: Term(1) };
    let late = late.encode().unwrap();
    for _ in 0..RECORDS / 100 {
        let mut records = RecordSet::default();
        (0..100).for_each(|_| records.push(0, 1, None, Some(&late)));
        log.append(&control, &records).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    until("the first thousand are deleted", PATIENCE, || {
        (log.watermarks(&at(&control, 0)).unwrap().low >= 1_000).then_some(())
    });
    // Only the snapshot says who owned the query before.
    drop(a);
    let b = process(&broker.bootstrap, &service, "b", folder.path());
    let mut records = RecordSet::default();
    records.push(0, 1, None, Some(br#"{"V":1}"#));
    log.append(&source, &records).unwrap();
    until("the query runs in the process that has joined", PATIENCE, || {
        (log.watermarks(&at(&sink, 0)).unwrap().high > 0).then_some(())
    });
    let a = process(&broker.bootstrap, &service, "a", folder.path());
    until("both agree about who runs it", PATIENCE, || {
        let said = hosts(&b);
        (matches!(said.as_slice(), [Some(_)]) && hosts(&a) == said).then_some(())
    });
}
