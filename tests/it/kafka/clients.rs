//! What other clients make of what we write, and we of what they write: partitions of keys, windowed keys, keys of several
//! columns. The clients are Kafka's own, in Java, and kcat where it is installed.

use super::*;
use std::collections::BTreeSet;
use std::process::Command;
use tidegate::log::partition;

const KEYS: usize = 1_000;
const PARTITIONS: u32 = 7;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a Java program prints, with Kafka's class path.
fn java(args: &[&str]) -> String {
    let output = broker::java(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}\n{out}{err}");
    out.into_owned()
}

#[test]
fn keys_lie_where_javas_producer_puts_them() {
    let Some(broker) = broker::shared("keys_lie_where_javas_producer_puts_them") else { return };
    let log = connect(&broker.bootstrap);
    let topic = topic(&log, "keys", PARTITIONS).name;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/Keys.java");
    java(&[program, &broker.bootstrap, &topic, &KEYS.to_string()]);
    let mut used = BTreeSet::new();
    let mut count = 0;
    for p in 0..PARTITIONS as i32 {
        for record in read_all(&log, &topic, p, Isolation::ReadCommitted) {
            let key = record.key.unwrap();
            assert_eq!(partition::java(&key, PARTITIONS), p, "{key:?}");
            used.insert(p);
            count += 1;
        }
    }
    assert_eq!((count, used.len()), (KEYS, PARTITIONS as usize));
}

/// Kafka's console consumer: key and value of each record, as it shows them.
fn consume(broker: &str, topic: &str, records: usize, key: &[&str]) -> BTreeSet<String> {
    let count = records.to_string();
    let mut args = vec!["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker];
    args.extend(["--topic", topic, "--from-beginning", "--isolation-level", "read_committed"]);
    args.extend(["--max-messages", &count, "--timeout-ms", "30000", "--formatter-property", "print.key=true"]);
    key.iter().for_each(|property| args.extend(["--formatter-property", property]));
    java(&args).lines().filter(|line| line.contains('\t')).map(str::to_owned).collect()
}

fn expected(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn other_clients_read_our_keys() {
    let Some(broker) = broker::shared("other_clients_read_our_keys") else { return };
    let (log, service) = (connect(&broker.bootstrap), fresh("keys_"));
    let engine = engine(KafkaSettings::new(&broker.bootstrap), &service);
    let name = |stem: &str| format!("{stem}-{service}");
    let with = format!("WITH (KAFKA_TOPIC='{}', PARTITIONS=1, VALUE_FORMAT='JSON')", name("in"));
    run(&engine, &format!("CREATE STREAM s (k STRING KEY, g INT, n INT) {with};"));
    for (sink, window, key) in [
        ("tumbling", "WINDOW TUMBLING (SIZE 10 SECONDS)", "k"),
        ("sessions", "WINDOW SESSION (5 SECONDS)", "k"),
        ("pairs", "", "k, g"),
    ] {
        let with =
            format!("WITH (KAFKA_TOPIC='{}', KEY_FORMAT='{}')", name(sink), if key == "k" { "KAFKA" } else { "JSON" });
        run(
            &engine,
            &format!("CREATE TABLE {sink} {with} AS SELECT {key}, COUNT(*) AS c FROM s {window} GROUP BY {key};"),
        );
    }
    for (time, k, g) in [(1000, "a", 1), (3000, "a", 2), (12_000, "ü", 1)] {
        run(&engine, &format!("INSERT INTO s (ROWTIME, k, g, n) VALUES ({time}, '{k}', {g}, 0);"));
    }
    let last = |topic: &str| log.watermarks(&at(topic, 0)).unwrap().stable;
    until("every row is counted", PATIENCE, || {
        let done = engine.queries().iter().all(|(_, q)| q.counts().consumed >= 3 && q.counts().produced >= 2);
        (done && ["tumbling", "sessions", "pairs"].iter().all(|t| last(&name(t)) > 2)).then_some(())
    });
    engine.close();
    let records = |topic: &str| read_settled(&log, &name(topic), 0);
    let inner =
        "key.deserializer.windowed.inner.deserializer.class=org.apache.kafka.common.serialization.Serdes$StringSerde";

    let time = [
        "key.deserializer=org.apache.kafka.streams.kstream.TimeWindowedDeserializer",
        inner,
        "key.deserializer.window.size.ms=10000",
    ];
    let found = consume(&broker.bootstrap, &name("tumbling"), records("tumbling").len(), &time);
    let wanted = expected(&["[a@0/10000]\t{\"C\":2}", "[ü@10000/20000]\t{\"C\":1}"]);
    assert!(found.is_superset(&wanted), "{found:?}");

    let session = ["key.deserializer=org.apache.kafka.streams.kstream.SessionWindowedDeserializer", inner];
    let found = consume(&broker.bootstrap, &name("sessions"), records("sessions").len(), &session);
    let wanted = expected(&["[a@1000/3000]\t{\"C\":2}", "[ü@12000/12000]\t{\"C\":1}"]);
    assert!(found.is_superset(&wanted), "{found:?}");

    let found = consume(&broker.bootstrap, &name("pairs"), records("pairs").len(), &[]);
    let pairs = expected(&[
        "{\"K\":\"a\",\"G\":1}\t{\"C\":1}",
        "{\"K\":\"a\",\"G\":2}\t{\"C\":1}",
        "{\"K\":\"ü\",\"G\":1}\t{\"C\":1}",
    ]);
    assert!(found.is_superset(&pairs), "{found:?}");

    kafkajs(
        &broker.bootstrap,
        &[
            (&name("tumbling"), records("tumbling").len()),
            (&name("sessions"), records("sessions").len()),
            (&name("pairs"), records("pairs").len()),
        ],
    );

    // kcat shows bytes as they are.
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", &broker.bootstrap, "-C", "-e", "-q", "-f", "%k\t%s\n", "-t", &name("pairs")]);
    match kcat.output() {
        Ok(output) => {
            let found: BTreeSet<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
            assert!(found.is_superset(&pairs), "{found:?} {}", String::from_utf8_lossy(&output.stderr));
        }
        Err(_) => broker::skipped("other_clients_read_our_keys", "kcat is not installed"),
    }
}

/// The same with kafkajs, which gives the bytes of a key: the window's bounds stand behind it, eight bytes each.
fn kafkajs(bootstrap: &str, topics: &[(&str, usize); 3]) {
    let Some(packages) = crate::clients::prepared("other_clients_read_our_keys", &["node"]) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/kafkajs.js");
    let wanted = topics.map(|(topic, records)| format!("{topic}={records}"));
    let mut node = Command::new("timeout");
    node.args(["120", "node", script, bootstrap]).args(wanted).env("NODE_PATH", packages);
    let output = node.output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{errors}");
    let hex = |key: &str, bounds: &[i64]| {
        let key = key.bytes().chain(bounds.iter().flat_map(|bound| bound.to_be_bytes()));
        key.map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let [(tumbling, _), (sessions, _), (pairs, _)] = topics;
    for line in [
        format!("{tumbling}\t{}\t{{\"C\":2}}", hex("a", &[0])),
        format!("{tumbling}\t{}\t{{\"C\":1}}", hex("ü", &[10_000])),
        format!("{sessions}\t{}\t{{\"C\":2}}", hex("a", &[3_000, 1_000])),
        format!("{pairs}\t{}\t{{\"C\":1}}", hex("{\"K\":\"ü\",\"G\":1}", &[])),
    ] {
        assert!(out.lines().any(|l| l == line), "{line}\n{out}");
    }
}
