//! Generated data: the same rows for a seed by command and by statement, which continue after a restart and end with DROP.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::session::Session;
use tidegate::log::TopicPartition;
use tidegate::types::clock::SystemClock;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
const PATIENCE: Duration = Duration::from_secs(30);

fn open(folder: &Path) -> Engine {
    Engine::open(Config::new(LogConfig::Embedded(folder.to_path_buf())), SystemClock::shared()).unwrap()
}

fn run(engine: &Engine, sql: &str) {
    engine.run(sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn refused(engine: &Engine, sql: &str) -> String {
    let error = engine.run(sql, &mut Session::default()).expect_err(sql);
    format!("{error} {}", error.hint().unwrap_or_default())
}

fn written(engine: &Engine, topic: &str) -> i64 {
    engine.log().watermarks(&TopicPartition::new(topic, 0)).unwrap().high
}

fn until(engine: &Engine, topic: &str, records: i64) {
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while written(engine, topic) < records {
        assert!(clock.monotonic() < end, "{} of {records} records", written(engine, topic));
        clock.sleep(Duration::from_millis(10));
    }
}

fn tidegate(args: &[&str]) -> String {
    let output = Command::new(TIDEGATE).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The values of a topic, in order.
fn values(folder: &Path, topic: &str) -> Vec<String> {
    let data = folder.to_str().unwrap();
    let printed = tidegate(&["--data", data, "topic", "print", topic, "-b", "-e", "-f", "%v"]);
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn a_generated_stream_continues_after_a_restart_and_ends_with_drop() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    run(&engine, "CREATE STREAM orders WITH (SOURCE='datagen', RATE=400, COUNT=60, SEED=3, KAFKA_TOPIC='o');");
    until(&engine, "o", 5);
    engine.close();
    drop(engine);
    let engine = open(folder.path());
    until(&engine, "o", 60);
    run(
        &engine,
        "CREATE TABLE counts AS SELECT address->state AS s, COUNT(*) AS n FROM orders GROUP BY address->state;",
    );
    // A second stream without an end, which DROP ends.
    run(
        &engine,
        "CREATE STREAM c WITH (SOURCE='datagen', QUICKSTART='cars', RATE=1000, VALUE_FORMAT='DELIMITED', KAFKA_TOPIC='c');",
    );
    until(&engine, "c", 20);
    run(&engine, "DROP STREAM c;");
    SystemClock::shared().sleep(Duration::from_millis(200));
    let stopped = written(&engine, "c");
    SystemClock::shared().sleep(Duration::from_millis(200));
    assert_eq!((written(&engine, "c"), written(&engine, "o")), (stopped, 60));
    engine.close();
    drop(engine);

    // The same rows by another way: of the same seed, in the same order, however often it was interrupted.
    let other = tempfile::tempdir().unwrap();
    let engine = open(other.path());
    run(
        &engine,
        "CREATE STREAM again WITH (SOURCE='datagen', QUICKSTART='orders', RATE=100000, COUNT=60, SEED=3, KAFKA_TOPIC='o');",
    );
    until(&engine, "o", 60);
    engine.close();
    drop(engine);
    let (first, second) = (values(folder.path(), "o"), values(other.path(), "o"));
    assert_eq!(first.len(), 60);
    assert_eq!(first, second);
}

#[test]
fn the_command_writes_the_same_rows_for_a_seed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let generate = |topic: &str, seed: &str| {
        let count = ["--count", "25", "--rate", "100000", "--seed", seed, "--topic", topic];
        tidegate(&[&["--data", data, "-q", "datagen", "pageviews"], &count[..]].concat());
        values(folder.path(), topic)
    };
    let (first, same, other) = (generate("a", "1"), generate("b", "1"), generate("c", "2"));
    assert_eq!((first.len(), &first), (25, &same));
    assert_ne!(first, other);
    // A stream over it, as the command says.
    let sql = "CREATE STREAM p (viewtime BIGINT KEY, userid VARCHAR, pageid VARCHAR) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON');\
               SELECT COUNT(*) AS n, COUNT(viewtime) AS k FROM p;";
    assert_eq!(tidegate(&["--data", data, "-q", "-o", "csv", "-c", sql]), "N,K\n25,25\n");
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    assert!(refused(&engine, "CREATE STREAM ordes WITH (SOURCE='datagen');").contains("did you mean orders?"));
    let rate = refused(&engine, "CREATE STREAM orders WITH (SOURCE='datagen', RATE=0);");
    assert!(rate.contains("RATE must be a number from 1 to 100000"), "{rate}");
    let column = refused(&engine, "CREATE STREAM cars (wings INT) WITH (SOURCE='datagen');");
    assert!(column.contains("cars has no column WINGS"), "{column}");
    assert!(refused(&engine, "CREATE STREAM x WITH (SOURCE='magic');").contains("unknown source magic"));
    engine.close();
}
