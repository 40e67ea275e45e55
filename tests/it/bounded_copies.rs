//! No query ends the process by copying: window functions, joins, sorts and windows that give many rows a copy of a large value.
//! It is answered in small batches, or refused with the bound that would be passed, before the copies are made.

use crate::bounded_functions::{PATIENT, SOURCES, answers, end, numbers, with_timeout};
use crate::http::Server;
use std::sync::Arc;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::types::clock::SystemClock;

/// A megabyte in the first of 20,000 rows: a copy in each of them has 20 GB.
const ROWS: &str =
    "(SELECT y, CASE WHEN y = 1 THEN repeat('a', 1000000) END AS t FROM generate_series(1, 20000) AS g(y)) q";

/// Window functions that give many rows a copy of it.
const COPIES: &[&str] = &[
    "FIRST_VALUE(t) OVER ()",
    "FIRST_VALUE(t) OVER (ORDER BY y)",
    "LAST_VALUE(t) OVER (ORDER BY y DESC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
    "NTH_VALUE(t, 1) OVER (ORDER BY y)",
    "LAG(t) IGNORE NULLS OVER (ORDER BY y)",
    "LEAD(t) IGNORE NULLS OVER (ORDER BY y DESC)",
    "FIRST_VALUE(ARRAY[t]) OVER (ORDER BY y)",
    "MAX(t) OVER ()",
    "MAX(t) OVER (ORDER BY y)",
    "MAX(t) FILTER (WHERE y = 1) OVER ()",
    "string_agg(t, ',') OVER (ORDER BY y ROWS 15000 PRECEDING)",
    "array_agg(y) OVER (ORDER BY y ROWS 15000 PRECEDING)",
    "COLLECT_SET(t) OVER (ORDER BY y)",
];

#[test]
fn copies_of_a_windows_results_are_bounded() {
    let server = with_timeout(PATIENT);
    let mut wrong = Vec::new();
    for call in COPIES {
        let (status, body) = server.query(&format!("SELECT COUNT(x) AS n FROM (SELECT {call} AS x FROM {ROWS}) AS r;"));
        if !body.contains("bytes of memory that it may hold") {
            wrong.push(format!("{status} {call}: {body:.300}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What moves a large value, and copies it not, works; so do results of a sensible size.
    for (call, count) in [("LAG(t)", 1), ("LEAD(t, 10)", 0), ("FIRST_VALUE(y)", 20_000), ("LAST_VALUE(t)", 1)] {
        let sql = format!("SELECT COUNT(x) AS n FROM (SELECT {call} OVER (ORDER BY y) AS x FROM {ROWS}) AS r;");
        assert_eq!(numbers(server.lines(&sql)), [count], "{call}");
    }
    answers(&server);
}

/// An engine whose queries may hold 128 MiB, over a row of a megabyte in `s` and small ones in `r`.
fn narrow() -> (Engine, Session) {
    let clock = SystemClock::shared();
    let log: Arc<SimulatedLog> = SimulatedLog::new(1, clock.clone());
    for (topic, rows, text) in [("s", 1, 1_000_000), ("r", 400, 1)] {
        log.create_topic(&TopicSpec::new(topic, 1)).unwrap();
        let mut records = RecordSet::default();
        let value = format!("{{\"N\": 1, \"T\": \"{}\"}}", "a".repeat(text));
        (0..rows).for_each(|n| records.push(0, 1_000_000 + n, Some(b"k"), Some(value.as_bytes())));
        log.append(topic, &records).unwrap();
    }
    let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
    let mut session = Session::default();
    let create = "CREATE STREAM r (k STRING KEY, t STRING) WITH (kafka_topic='r', value_format='JSON');";
    let memory = "SET 'tidegate.batch.memory.bytes' = '33554432';";
    engine.run(&format!("{SOURCES} {create} {memory}"), &mut session).unwrap();
    (engine, session)
}

#[test]
fn rows_with_a_large_value_are_made_in_small_batches() {
    let (engine, mut session) = narrow();
    // Each of them has 400 megabytes of copies in 400 rows, and may hold 128.
    let series = "generate_series(1, 400) AS g(y)";
    for from in [
        format!("s CROSS JOIN {series}"),
        format!("{series} CROSS JOIN s"),
        format!("(SELECT t, n FROM s) AS q JOIN (SELECT y / 1000 + 1 AS m FROM {series}) AS p ON n = m"),
        format!("(SELECT y / 1000 + 1 AS m FROM {series}) AS p LEFT JOIN (SELECT t, n FROM s) AS q ON n = m"),
        format!("s JOIN {series} ON t > CAST(y AS STRING)"),
        format!("(SELECT repeat('b', 1000000) AS t FROM {series}) AS q"),
        format!("(SELECT CASE WHEN y > 1 THEN repeat('b', 1000000) ELSE 'c' END AS t FROM {series}) AS q"),
        "(SELECT s.t AS t FROM s JOIN r WITHIN 1 HOUR ON s.k = r.k) AS q".to_owned(),
        format!("(SELECT t, y FROM s CROSS JOIN {series} WHERE t > '') AS q"),
        format!("(SELECT repeat('b', 1000000) AS t FROM {series} WHERE y > 0) AS q WHERE t > ''"),
        format!("(SELECT t FROM s CROSS JOIN {series} ORDER BY y DESC) AS q"),
    ] {
        assert_eq!(end(&engine, &format!("SELECT t FROM {from};"), &mut session), Ok(400), "{from}");
    }
    let hopping = "SELECT k, MAX(t) AS m FROM s WINDOW HOPPING (SIZE 400 SECONDS, ADVANCE BY 1 SECOND) GROUP BY k;";
    assert_eq!(end(&engine, hopping, &mut session), Ok(400));
    assert_eq!(end(&engine, "SELECT 1 AS one;", &mut session), Ok(1));
}

#[test]
fn a_column_of_large_texts_that_grows_does_not_end_the_process() {
    // A buffer of a gigabyte that doubles has no room here.
    let server = Server::within(2 << 20, &["--temp"]);
    let text = "repeat('b', 1000000) || CAST(y AS STRING)";
    let sql = format!("SELECT SUM(CAST(LEN({text}) AS BIGINT)) AS n FROM generate_series(1, 1500) AS g(y);");
    let (_, body) = server.query(&sql);
    assert!(body.contains("1500004893") || body.contains("bytes of memory that it may hold"), "{body:.300}");
    answers(&server);
}
