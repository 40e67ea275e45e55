//! A topic that goes away under a query that reads it: the query ends and says what to do, now and after a restart.

use std::path::Path;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::query::persistent::State;
use tidegate::engine::session::Session;
use tidegate::log::TopicSpec;
use tidegate::types::clock::SystemClock;

const PATIENCE: Duration = Duration::from_secs(30);

fn open(dir: &Path) -> Engine {
    Engine::open(Config::new(LogConfig::Embedded(dir.to_path_buf())), SystemClock::shared()).unwrap()
}

fn run(engine: &Engine, sql: &str) {
    engine.run(sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

fn until(what: &str, engine: &Engine, done: impl Fn(&State, u64) -> bool) -> State {
    let clock = SystemClock::shared();
    let begin = clock.monotonic();
    loop {
        let query = &engine.queries()[0].1;
        let state = query.state();
        if done(&state, query.counts().commits) {
            return state;
        }
        assert!(clock.monotonic() < begin + PATIENCE, "{what}: {state:?}");
        clock.sleep(Duration::from_millis(10));
    }
}

fn until_failed(engine: &Engine, expected: &[&str]) {
    let state = until("it ends", engine, |state, _| matches!(state, State::Error(_)));
    let State::Error(reason) = state else { unreachable!() };
    for text in expected {
        assert!(reason.contains(text), "{text:?} is not in {reason}");
    }
}

const STREAM: &str = "(k STRING KEY, n INT) WITH (KAFKA_TOPIC='shared', VALUE_FORMAT='JSON', PARTITIONS=1);";

#[test]
fn a_query_ends_when_its_topic_is_deleted_or_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    run(&engine, &format!("CREATE STREAM a {STREAM} CREATE STREAM b {STREAM} INSERT INTO a (k, n) VALUES ('x', 1);"));
    run(&engine, "CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM b GROUP BY k;");
    until("it commits", &engine, |_, commits| commits > 0);
    // The topic is that of `b`, too: a statement does not delete it, whoever has the log can.
    let refused = engine.run("DROP STREAM a DELETE TOPIC;", &mut Session::default()).unwrap_err();
    assert_eq!(refused.message(), "Refusing to delete topic. Found other data sources (B) using topic shared");
    engine.log().delete_topic("shared").unwrap();
    until_failed(&engine, &["topic shared was deleted", "create the topic again, then DROP TABLE C DELETE TOPIC"]);
    engine.close();
    drop(engine);

    let engine = open(dir.path());
    until_failed(&engine, &["topic shared was deleted while this query read it", "DROP TABLE C DELETE TOPIC"]);
    engine.log().create_topic(&TopicSpec::new("shared", 1)).unwrap();
    engine.close();
    drop(engine);

    let engine = open(dir.path());
    until_failed(&engine, &["topic shared was deleted and created again while this query read it"]);
    run(&engine, "DROP TABLE c DELETE TOPIC; CREATE TABLE c AS SELECT k, COUNT(*) AS n FROM b GROUP BY k;");
    run(&engine, "INSERT INTO b (k, n) VALUES ('y', 1);");
    until("the way out", &engine, |state, commits| *state == State::Running && commits > 0);
    engine.close();
}
