//! The processing log: what was skipped can be asked for, and a flood does not fill the disk.

use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::query::processing_log::AUTO_CREATE;
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::embedded::EmbeddedLog;
use tidegate::log::{Log, RecordSet};
use tidegate::present::Outcome;
use tidegate::present::text::outcome;
use tidegate::types::cell;
use tidegate::types::clock::SystemClock;

/// Longest wait for a query to have read what is there.
const PATIENCE: Duration = Duration::from_secs(30);
const FLOOD: usize = 5_000;

fn rows(engine: &Engine, sql: &str) -> Vec<String> {
    let Some(Answer::Rows(mut rows)) = engine.run(sql, &mut Session::default()).unwrap().pop() else {
        panic!("{sql} has no rows")
    };
    let mut lines = vec![];
    loop {
        match rows.next(PATIENCE).unwrap() {
            RowEvent::Rows { columns, .. } => {
                for row in 0..columns[0].len() {
                    let cells = columns.iter().map(|c| cell::display(c.as_ref(), row).unwrap());
                    lines.push(cells.collect::<Vec<_>>().join(" | "));
                }
            }
            RowEvent::Idle => {}
            RowEvent::Done(_) => return lines,
        }
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Table { rows, .. } => rows.iter().map(|r| r.join(" | ") + "\n").collect(),
        Outcome::Many(all) => all.iter().map(told).collect(),
        Outcome::Message(text) => text.clone(),
        Outcome::Rows(_) => String::new(),
    }
}

fn ask(engine: &Engine, sql: &str) -> String {
    let answers = engine.run(sql, &mut Session::default()).unwrap();
    answers.into_iter().map(|a| told(&outcome(a))).collect()
}

#[test]
fn what_is_skipped_is_a_stream_and_a_flood_is_cut_short() {
    let log = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    let mut config = Config::new(LogConfig::Temporary);
    config.properties.insert(AUTO_CREATE.to_owned(), "true".to_owned());
    let below: Arc<dyn Log> = log.clone();
    let engine = Engine::over(below, config, SystemClock::shared(), Drive::Threads).unwrap();
    ask(&engine, "CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=2);");
    ask(&engine, "CREATE STREAM copy AS SELECT n, 10 / n AS part FROM s EMIT CHANGES;");
    assert!(!ask(&engine, "SHOW STREAMS;").contains("KSQL_PROCESSING_LOG"), "nothing was skipped yet");
    let mut set = RecordSet::default();
    (0..FLOOD).for_each(|n| set.push(1, n as i64, None, Some(b"bad")));
    set.push(1, 9_000, None, Some(br#"{"N":5}"#));
    set.push(0, 9_000, None, Some(br#"{"N":0}"#));
    log.append("t", &set).unwrap();
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    let listed = "SELECT MESSAGE->`TOPIC` AS t, MESSAGE->PARTITION AS p, MESSAGE->`OFFSET` AS o, MESSAGE->REASON AS why \
                  FROM KSQL_PROCESSING_LOG;";
    while rows(&engine, "SELECT n FROM copy;").len() < 2
        || !ask(&engine, "SHOW STREAMS;").contains("KSQL_PROCESSING_LOG")
    {
        assert!(clock.monotonic() < end, "{}", ask(&engine, "SHOW QUERIES EXTENDED;"));
        clock.sleep(Duration::from_millis(20));
    }
    assert!(rows(&engine, "SELECT n, part FROM copy;").contains(&"5 | 2".to_owned()));
    engine.close();
    let all = rows(&engine, listed);
    assert!(all.len() > 1 && all.len() <= 110, "{} entries", all.len());
    assert!(all.iter().all(|line| line.starts_with("t | ")), "{all:?}");
    assert!(all.iter().any(|line| line.starts_with("t | 1 | 0 | ")), "{all:?}");
    let described = ask(&engine, "DESCRIBE s EXTENDED;");
    assert!(described.contains(&FLOOD.to_string()) || described.contains(&(FLOOD + 1).to_string()), "{described}");
    let shape = ask(&engine, "DESCRIBE KSQL_PROCESSING_LOG;");
    for field in ["LOGGER", "LEVEL", "TIME", "MESSAGE"] {
        assert!(shape.contains(field), "{shape}");
    }
    let logger = rows(&engine, "SELECT LEVEL, LOGGER FROM KSQL_PROCESSING_LOG LIMIT 1;");
    assert!(logger[0].starts_with("ERROR | processing.CSAS_COPY_"), "{logger:?}");
}

#[test]
fn a_column_that_is_null_says_why_and_its_row_is_not_counted_as_skipped() {
    let log = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    let mut config = Config::new(LogConfig::Temporary);
    config.properties.insert(AUTO_CREATE.to_owned(), "true".to_owned());
    let below: Arc<dyn Log> = log.clone();
    let engine = Engine::over(below, config, SystemClock::shared(), Drive::Threads).unwrap();
    ask(
        &engine,
        "CREATE STREAM s (t STRING, i INT, n STRING, j STRING) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM o AS SELECT PARSE_TIMESTAMP(t, 'yyyy-MM-dd''T''HH:mm:ss') AS ts, 5 / i AS q, CAST(n AS INT) AS n,
             COALESCE(CAST(n AS INT), 0) AS m, EXTRACTJSONFIELD(j, '$.a') AS j, CAST(t AS DATE) AS d FROM s;",
    );
    let mut set = RecordSet::default();
    set.push(0, 1, None, Some(br#"{"T":"2021-01-01 01:02:03","I":0,"N":"12x","J":"{"}"#));
    log.append("t", &set).unwrap();
    let clock = SystemClock::shared();
    let end = clock.monotonic() + PATIENCE;
    while rows(&engine, "SELECT m FROM o;").is_empty() || !ask(&engine, "SHOW STREAMS;").contains("KSQL_PROCESSING_LOG")
    {
        assert!(clock.monotonic() < end, "{}", ask(&engine, "SHOW QUERIES EXTENDED;"));
        clock.sleep(Duration::from_millis(20));
    }
    assert_eq!(rows(&engine, "SELECT * FROM o;"), ["NULL | NULL | NULL | 0 | NULL | NULL"]);
    let counts = ask(&engine, "DESCRIBE o EXTENDED;");
    assert!(counts.contains(" | RUNNING | 1 | 1 | 0 | 0"), "no record was skipped: {counts}");
    engine.close();
    let mut reasons = rows(&engine, "SELECT MESSAGE->REASON AS why FROM KSQL_PROCESSING_LOG;");
    reasons.sort_unstable();
    let told = [
        "column `D` set to NULL: Text 2021-01-01 01:02:03 could not be read as DATE in CAST(T AS DATE)",
        "column `J` set to NULL: Invalid JSON format: { in EXTRACTJSONFIELD(J, '$.a')",
        "column `N` set to NULL: For input string: \"12x\" in CAST(N AS INTEGER)",
        "column `Q` set to NULL: / by zero in (5 / I)",
        "column `TS` set to NULL: Text 2021-01-01 01:02:03 could not be parsed at index 10 in PARSE_TIMESTAMP(T, \
         'yyyy-MM-dd''T''HH:mm:ss')",
        "part of column `M` set to NULL: For input string: \"12x\" in CAST(N AS INTEGER)",
    ];
    assert_eq!(reasons, told);
}
