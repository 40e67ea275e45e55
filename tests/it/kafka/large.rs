//! Rows that are too large for a topic of a real broker: the broker never sees them, so that no transaction fails by one.

use super::*;
use crate::too_large::{LIMIT, append, around_the_limit, copy, value};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(log: &KafkaLog) -> KafkaSettings {
    KafkaSettings::new(log.describe().trim_start_matches("Kafka at "))
}

/// Sets `max.message.bytes` of a topic.
fn widen(log: &KafkaLog, topic: &str, bytes: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", log.describe().trim_start_matches("Kafka at "));
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let bytes = bytes.to_string();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let altered = futures::executor::block_on(admin.alter_configs(&[change], &AdminOptions::new())).unwrap();
    altered.into_iter().for_each(|one| drop(one.unwrap()));
    let limit = || log.record_bytes_max(&[topic]).unwrap() == [bytes.parse().ok()];
    until("the broker knows", PATIENCE, || limit().then_some(()));
}

fn keys(log: &KafkaLog, topic: &str) -> Vec<String> {
    read_settled(log, topic, 0).iter().map(|r| String::from_utf8(r.key.clone().unwrap()).unwrap()).collect()
}

#[test]
fn a_row_that_is_too_large_is_left_out_and_the_query_continues() {
    let Some(log) = subject("a_row_that_is_too_large_is_left_out_and_the_query_continues") else { return };
    let (source, sink) = (fresh("wide"), fresh("narrow"));
    let engine = engine(settings(&log), &format!("{}_", fresh("large")));
    copy(&engine, (&source, &sink), false);
    append(&*log, &source, &around_the_limit());
    until("the others", PATIENCE, || (keys(&log, &sink) == ["a", "b", "d"]).then_some(()));
    // Rows that fit one by one and not together: no batch of them is larger than the topic takes.
    let many: Vec<(&str, String)> = (0..500).map(|_| ("m", value(300))).collect();
    append(&*log, &source, &many);
    until("all of them", PATIENCE, || (keys(&log, &sink).len() == 503).then_some(()));
    assert_eq!(state_of(&engine, "COPIED"), State::Running);
    assert_eq!(engine.queries()[0].1.counts().bad, 1);
    engine.close();
}

#[test]
fn a_query_that_a_row_has_stopped_is_resumed_when_the_topic_takes_it() {
    let Some(log) = subject("a_query_that_a_row_has_stopped_is_resumed_when_the_topic_takes_it") else { return };
    let (source, sink) = (fresh("wide"), fresh("narrow"));
    let engine = engine(settings(&log), &format!("{}_", fresh("large")));
    copy(&engine, (&source, &sink), true);
    append(&*log, &source, &around_the_limit()[..2]);
    until("the small ones", PATIENCE, || (keys(&log, &sink) == ["a", "b"]).then_some(()));
    append(&*log, &source, &around_the_limit()[2..]);
    let reason = until("it stops", PATIENCE, || match state_of(&engine, "COPIED") {
        State::Error(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("with key \"c\" is too large for topic") && reason.contains(&sink), "{reason}");
    assert_eq!(keys(&log, &sink), ["a", "b"]);
    widen(&log, &sink, 10 * LIMIT);
    run(&engine, "RESUME ALL;");
    until("all", PATIENCE, || (keys(&log, &sink) == ["a", "b", "c", "d"]).then_some(()));
    assert_eq!(state_of(&engine, "COPIED"), State::Running);
    // And the other way round: what the topic takes is less than when the query began.
    widen(&log, &sink, LIMIT);
    append(&*log, &source, &[("e", value(3 * LIMIT)), ("f", value(100))]);
    let reason = until("it stops again", PATIENCE, || match state_of(&engine, "COPIED") {
        State::Error(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("with key \"e\"") && reason.contains(&format!("is {LIMIT}")), "{reason}");
    assert_eq!(keys(&log, &sink), ["a", "b", "c", "d"]);
    engine.close();
}

#[test]
fn rows_delivered_ahead_of_commits_are_measured_too() {
    let Some(log) = subject("rows_delivered_ahead_of_commits_are_measured_too") else { return };
    let (source, sink) = (fresh("wide"), fresh("narrow"));
    let engine = engine(settings(&log), &format!("{}_", fresh("large")));
    let mut session = Statements::default();
    engine.run("SET 'processing.guarantee' = 'at_least_once';", &mut session).unwrap();
    log.create_topic(&TopicSpec::new(&sink, 1).with("max.message.bytes", LIMIT)).unwrap();
    let sql = format!(
        "SET 'ksql.fail.on.production.error' = 'false';
         CREATE STREAM s (k STRING KEY, t STRING) WITH (KAFKA_TOPIC='{source}', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM copied WITH (KAFKA_TOPIC='{sink}', PARTITIONS=1) AS SELECT * FROM s;"
    );
    engine.run(&sql, &mut session).unwrap();
    append(&*log, &source, &around_the_limit());
    let many: Vec<(&str, String)> = (0..500).map(|_| ("m", value(300))).collect();
    append(&*log, &source, &many);
    until("all of them", PATIENCE, || (keys(&log, &sink).len() == 503).then_some(()));
    assert_eq!(state_of(&engine, "COPIED"), State::Running);
    engine.close();
}

#[test]
fn records_outside_of_queries_are_measured_too() {
    let Some(log) = subject("records_outside_of_queries_are_measured_too") else { return };
    let narrow = log.create_topic(&TopicSpec::new(fresh("narrow"), 1).with("max.message.bytes", LIMIT)).unwrap().name;
    let many: Vec<(&str, String)> = (0..100).map(|_| ("m", value(300))).collect();
    append(&*log, &narrow, &many);
    let mut wide = set(&[(0, 1, "a", "small")]);
    wide.push(0, 1, Some(b"c"), Some(value(LIMIT + 1).as_bytes()));
    let error = log.append(&narrow, &wide).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Data, &*format!("a record is too large for topic {narrow}")));
    assert_eq!(read_settled(&log, &narrow, 0).len(), 100, "all of them or none");
    widen(&log, &narrow, 2 * LIMIT);
    log.append(&narrow, &wide).unwrap();
    assert_eq!(read_settled(&log, &narrow, 0).len(), 102);
}
