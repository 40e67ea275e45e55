//! Topics that are deleted, made anew or given more partitions under running queries.

use super::*;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

/// Two looks at topics, and what a busy machine adds.
const NOTICED_MAX: Duration = Duration::from_secs(60);

fn grow(broker: &str, topic: &str, partitions: usize) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let wanted = [NewPartitions::new(topic, partitions)];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let results = runtime.block_on(admin.create_partitions(&wanted, &AdminOptions::new())).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn rows(log: &KafkaLog, topic: &str, partitions: i32, values: &[&str]) {
    for partition in 0..partitions {
        let rows: Vec<_> = values.iter().map(|v| (partition, 1000, "k", *v)).collect();
        log.append(topic, &set(&rows)).unwrap();
    }
}

fn reason(engine: &Engine, sink: &str) -> String {
    until(&format!("{sink} stops"), NOTICED_MAX, || match state_of(engine, sink) {
        State::Error(reason) => Some(reason),
        _ => None,
    })
}

/// Records that it has read; more than there are when it had to begin an epoch again.
fn consumed(engine: &Engine, sink: &str) -> u64 {
    let id = format!("_{sink}_");
    engine.queries().iter().find(|(q, _)| q.contains(&id)).map_or(0, |(_, query)| query.counts().consumed)
}

/// What is said, that a restart says it too, and that the way out which is named is one.
#[test]
fn a_query_stops_when_its_topic_is_not_the_one_it_began_with() {
    let Some(broker) = broker::shared("a_query_stops_when_its_topic_is_not_the_one_it_began_with") else { return };
    let (log, service) = (connect(&broker.bootstrap), fresh("changes_"));
    let name = |stem: &str| format!("{stem}-{service}");
    for (stem, partitions) in [("anew", 1), ("grown", 2), ("gone", 1), ("same", 1)] {
        log.create_topic(&TopicSpec::new(name(stem), partitions)).unwrap();
        rows(&log, &name(stem), partitions as i32, &["{\"N\":1}", "{\"N\":2}"]);
    }
    let settings = || KafkaSettings::new(&broker.bootstrap);
    let first = engine(settings(), &service);
    for stem in ["anew", "grown", "gone", "same"] {
        let with = format!("WITH (KAFKA_TOPIC='{}', VALUE_FORMAT='JSON')", name(stem));
        run(&first, &format!("CREATE STREAM {stem} (k STRING KEY, n INT) {with};"));
        let out = format!("KAFKA_TOPIC='{}'", name(&format!("counts-{stem}")));
        run(&first, &format!("CREATE TABLE c_{stem} WITH ({out}) AS SELECT k, COUNT(*) AS n FROM {stem} GROUP BY k;"));
    }
    let plain = format!("WITH (KAFKA_TOPIC='{}')", name("plain"));
    run(&first, &format!("CREATE STREAM p_grown {plain} AS SELECT k, n + 1 AS n FROM grown;"));
    for (sink, rows) in [("C_ANEW", 2), ("C_GROWN", 4), ("C_GONE", 2), ("C_SAME", 2), ("P_GROWN", 4)] {
        until(sink, NOTICED_MAX, || (consumed(&first, sink) >= rows).then_some(()));
    }

    log.delete_topic(&name("anew")).unwrap();
    log.create_topic(&TopicSpec::new(name("anew"), 1)).unwrap();
    // As many rows as before: no offset shows that they are others.
    rows(&log, &name("anew"), 1, &["{\"N\":7}", "{\"N\":8}", "{\"N\":9}"]);
    grow(&broker.bootstrap, &name("grown"), 3);
    log.delete_topic(&name("gone")).unwrap();

    let expected = [
        ("C_ANEW", format!("topic {} was deleted and created again while this query read it", name("anew"))),
        ("C_GONE", format!("topic {} was deleted while this query read it", name("gone"))),
        ("C_GROWN", format!("topic {} has 3 partitions now, this query was made for 2", name("grown"))),
        ("P_GROWN", format!("topic {} has 3 partitions now, this query was made for 2", name("grown"))),
    ];
    for (sink, text) in &expected {
        let reason = reason(&first, sink);
        assert!(reason.contains(text), "{sink}: {reason}");
    }
    assert!(reason(&first, "C_ANEW").contains("DROP TABLE C_ANEW DELETE TOPIC"), "{}", reason(&first, "C_ANEW"));
    let grown = reason(&first, "P_GROWN");
    assert!(grown.contains("DROP STREAM P_GROWN DELETE TOPIC, then DROP STREAM GROWN"), "{grown}");
    rows(&log, &name("same"), 1, &["{\"N\":3}"]);
    until("the others go on", NOTICED_MAX, || (consumed(&first, "C_SAME") >= 3).then_some(()));
    assert_eq!(state_of(&first, "C_SAME"), State::Running);
    first.close();
    drop(first);

    let second = engine(settings(), &service);
    for (sink, text) in &expected {
        let reason = reason(&second, sink);
        assert!(reason.contains(text), "{sink} after a restart: {reason}");
    }
    assert_eq!(state_of(&second, "C_SAME"), State::Running);
    // The way out that is named.
    let out = format!("KAFKA_TOPIC='{}'", name("counts-anew"));
    run(&second, "DROP TABLE c_anew DELETE TOPIC;");
    run(&second, &format!("CREATE TABLE c_anew WITH ({out}) AS SELECT k, COUNT(*) AS n FROM anew GROUP BY k;"));
    run(&second, "DROP TABLE c_grown DELETE TOPIC; DROP STREAM p_grown DELETE TOPIC; DROP STREAM grown;");
    let with = format!("WITH (KAFKA_TOPIC='{}', VALUE_FORMAT='JSON')", name("grown"));
    run(&second, &format!("CREATE STREAM grown (k STRING KEY, n INT) {with};"));
    run(&second, &format!("CREATE STREAM p_grown {plain} AS SELECT k, n + 1 AS n FROM grown;"));
    until("c_anew counts", NOTICED_MAX, || (consumed(&second, "C_ANEW") >= 3).then_some(()));
    until("p_grown reads", NOTICED_MAX, || (consumed(&second, "P_GROWN") >= 4).then_some(()));
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!((state_of(&second, "C_ANEW"), state_of(&second, "P_GROWN")), (State::Running, State::Running));
    let counts = read_settled(&log, &name("counts-anew"), 0);
    assert_eq!(values(&counts).last().map(String::as_str), Some("{\"N\":3}"));
    second.close();
}

/// Retention overtakes a stopped query: it continues with what is left, as Kafka Streams does.
#[test]
fn a_query_goes_on_with_what_retention_has_left() {
    let Some(broker) = broker::shared("a_query_goes_on_with_what_retention_has_left") else { return };
    let (log, service) = (connect(&broker.bootstrap), fresh("overtaken_"));
    let (input, output) = (fresh("overtaken-in"), fresh("overtaken-out"));
    log.create_topic(&TopicSpec::new(&input, 1)).unwrap();
    let numbers = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("{{\"N\":{n}}}")).collect::<Vec<_>>();
    let write = |range| rows(&log, &input, 1, &numbers(range).iter().map(String::as_str).collect::<Vec<_>>());
    let copied = |engine: &Engine, expected: Vec<String>| {
        let id = "_COPIED_";
        until("rows are copied", NOTICED_MAX, || {
            let state = engine.queries().iter().find(|(q, _)| q.contains(id)).map(|(_, query)| query.state());
            assert!(!matches!(state, Some(State::Error(_))), "{state:?}");
            (log.topic(&output).unwrap().is_some() && values(&read_settled(&log, &output, 0)) == expected).then_some(())
        });
    };
    write(0..2);
    let first = engine(KafkaSettings::new(&broker.bootstrap), &service);
    run(&first, &format!("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='{input}', VALUE_FORMAT='JSON');"));
    run(&first, &format!("CREATE STREAM copied WITH (KAFKA_TOPIC='{output}') AS SELECT n FROM s;"));
    copied(&first, numbers(0..2));
    first.close();
    drop(first);
    write(2..10);
    assert_eq!(log.delete_records(&at(&input, 0), 6).unwrap(), 6);
    let second = engine(KafkaSettings::new(&broker.bootstrap), &service);
    copied(&second, [numbers(0..2), numbers(6..10)].concat());
    second.close();
}
