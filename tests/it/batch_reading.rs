//! How much of the history a batch query reads, that it reads what it needs, and that it stops when its result is not wanted any more.

use crate::alone::{alone, bytes_read};
use crate::batches::Dice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::{RowEvent, RowStream, Scanned};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::types::cell;
use tidegate::types::clock::{ManualClock, SystemClock};

const STREAM: &str = "CREATE STREAM s (v STRING) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='KAFKA');";
const OTHERS: &str = "
    CREATE STREAM stamped (ts BIGINT) WITH (KAFKA_TOPIC='u', VALUE_FORMAT='KAFKA', TIMESTAMP='ts');
    CREATE TABLE k (id STRING PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='k', VALUE_FORMAT='KAFKA');";

fn embedded(directory: &Path) -> Arc<EmbeddedLog> {
    let options = EmbeddedOptions { fsync: Fsync::Never, segment_bytes: 32 << 20, ..EmbeddedOptions::default() };
    EmbeddedLog::open(directory, options, SystemClock::shared()).unwrap()
}

fn engine(log: Arc<dyn Log>) -> Engine {
    Engine::over(log, Config::new(LogConfig::Temporary), ManualClock::at(0), Drive::ByHand).unwrap()
}

fn query(engine: &Engine, sql: &str) -> Box<dyn RowStream> {
    match engine.run(sql, &mut Session::default()).unwrap().pop() {
        Some(Answer::Rows(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

/// Rows as text, and what was read for them.
pub(crate) fn answer(engine: &Engine, sql: &str) -> (Vec<String>, Scanned) {
    let mut rows = query(engine, sql);
    let mut lines = vec![];
    loop {
        match rows.next(Duration::from_secs(1)).unwrap_or_else(|e| panic!("{sql}: {e}")) {
            RowEvent::Rows { columns, .. } => {
                for row in 0..columns[0].len() {
                    let cells = columns.iter().map(|c| cell::display(c.as_ref(), row).unwrap());
                    lines.push(cells.collect::<Vec<_>>().join(" | "));
                }
            }
            RowEvent::Idle => {}
            RowEvent::Done(_) => return (lines, rows.scanned().unwrap()),
        }
    }
}

const RECORDS: i64 = 100_000;

/// Times rise, but not one by one.
pub(crate) fn time(record: i64) -> i64 {
    1_000_000 + record * 10 + record * 7_919 % 400
}

/// A hundred megabytes whose times rise but not one by one, written once and opened again.
fn make(directory: &Path) {
    let log = embedded(directory);
    log.create_topic(&TopicSpec::new("t", 1)).unwrap();
    for set in 0..RECORDS / 1_000 {
        let mut records = RecordSet::default();
        for n in set * 1_000..(set + 1) * 1_000 {
            records.push(0, time(n), None, Some(format!("{n:01000}").as_bytes()));
        }
        log.append("t", &records).unwrap();
    }
}

#[test]
fn a_condition_on_rowtime_reads_about_as_much_as_it_selects() {
    let name = "a_condition_on_rowtime_reads_about_as_much_as_it_selects";
    alone(module_path!(), name, Duration::from_secs(180), || {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        make(directory.path());
        let engine = engine(embedded(directory.path()));
        engine.run(STREAM, &mut Session::default()).unwrap();
        let before = bytes_read();
        // One record in a hundred.
        let (from, to) = (1_000_000 + RECORDS * 6, 1_000_000 + RECORDS * 6 + RECORDS / 10 - 1);
        let sql = format!("SELECT COUNT(*) AS n FROM s WHERE ROWTIME BETWEEN {from} AND {to};");
        let (rows, scanned) = answer(&engine, &sql);
        let read = before.zip(bytes_read()).map(|(before, after)| after - before);
        let wanted = (0..RECORDS).filter(|n| (from..=to).contains(&time(*n))).count();
        assert_eq!(rows, [wanted.to_string()]);
        let all = RECORDS as u64 * 1_000;
        eprintln!("# {scanned:?} of {all} bytes, {read:?} by system calls");
        assert!(scanned.bytes * 100 < all * 3, "{scanned:?}");
        assert!(read.is_none_or(|read| read * 100 < all * 3), "{read:?}");
        assert!(scanned.records < RECORDS as u64 * 3 / 100 && scanned.retained == RECORDS as u64, "{scanned:?}");
        for (condition, count) in [
            ("ROWTIME >= '1970-01-01T00:33:21'", 0),
            ("ROWOFFSET IN (500, 99000)", 2),
            ("ROWOFFSET < 700 AND ROWOFFSET >= 300", 400),
            ("ROWPARTITION > 0", 0),
        ] {
            let (rows, scanned) = answer(&engine, &format!("SELECT COUNT(*) AS n FROM s WHERE {condition};"));
            assert_eq!(rows, [count.to_string()], "{condition}");
            assert!(scanned.records <= 99_000, "{condition}: {scanned:?}");
        }
    });
}

/// Records of three topics at random times, the same in every log.
fn fill(log: &dyn Log, dice: &mut Dice) {
    for topic in ["t", "u", "k"] {
        log.create_topic(&TopicSpec::new(topic, 3)).unwrap();
    }
    let mut number = 0;
    for _ in 0..30 {
        let (mut t, mut u, mut k) = (RecordSet::default(), RecordSet::default(), RecordSet::default());
        for _ in 0..dice.below(400) {
            number += 1;
            let (partition, time) = (dice.below(3) as i32, (number + dice.below(300)).max(0));
            t.push(partition, time, None, Some(format!("v{number}").as_bytes()));
            u.push(partition, 5, None, Some(&time.to_be_bytes()));
            let (key, value) = (format!("k{}", dice.below(200)), format!("v{number}"));
            let value = (dice.below(9) > 0).then_some(value.as_bytes());
            k.push((key.len() % 3) as i32, time, Some(key.as_bytes()), value);
        }
        for (topic, set) in [("t", &t), ("u", &u), ("k", &k)] {
            log.append(topic, set).unwrap();
        }
    }
}

#[test]
fn what_is_left_out_changes_no_row_and_no_order() {
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let logs: [Arc<dyn Log>; 2] = [SimulatedLog::new(seed, ManualClock::at(0)), embedded(directory.path())];
        for log in logs {
            let dice = &mut Dice(seed);
            fill(&*log, dice);
            let engine = engine(log);
            engine.run(&format!("{STREAM} {OTHERS}"), &mut Session::default()).unwrap();
            for _ in 0..12 {
                let (low, high) = (dice.below(6_000), dice.below(6_000));
                let partition = dice.below(3);
                let conditions = [
                    format!("ROWTIME BETWEEN {} AND {}", low.min(high), low.max(high)),
                    format!("ROWTIME >= {low}"),
                    format!("ROWTIME < {low} AND ROWPARTITION = {partition}"),
                    format!("{high} > ROWTIME AND ROWOFFSET > {}", low / 4),
                    format!("ROWPARTITION IN (0, {partition}) AND ROWOFFSET <= {}", high / 4),
                ];
                for (source, condition) in
                    ["s", "stamped", "k"].iter().flat_map(|s| conditions.iter().map(move |c| (s, c)))
                {
                    // NOT NOT is not looked through: the same question, read in full.
                    let plain = answer(&engine, &format!("SELECT * FROM {source} WHERE NOT (NOT ({condition}));"));
                    let bound = answer(&engine, &format!("SELECT * FROM {source} WHERE {condition};"));
                    assert_eq!(bound.0, plain.0, "seed {seed}: {source} {condition}");
                    assert!(bound.1.records <= plain.1.records, "seed {seed}: {source} {condition}");
                }
            }
        }
    }
}

#[test]
fn a_sort_and_a_grouping_larger_than_their_memory_are_answered() {
    let log = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    log.create_topic(&TopicSpec::new("t", 1)).unwrap();
    let count = 120_000;
    for set in 0..count / 10_000 {
        let mut records = RecordSet::default();
        for n in set * 10_000..(set + 1) * 10_000_i64 {
            // Each number once, in no order.
            records.push(0, n, None, Some(format!("{:0600}", n * 7_919 % count).as_bytes()));
        }
        log.append("t", &records).unwrap();
    }
    let engine = engine(log);
    let mut session = Session::default();
    let small = "SET 'tidegate.batch.memory.bytes' = '33554432';";
    engine.run(&format!("{STREAM} {small}"), &mut session).unwrap();
    for sql in
        ["SELECT v FROM s ORDER BY v", "SELECT v FROM (SELECT v, COUNT(*) AS n FROM s GROUP BY v) AS x ORDER BY v"]
    {
        let Some(Answer::Rows(mut rows)) = engine.run(&format!("{sql};"), &mut session).unwrap().pop() else {
            panic!("no rows")
        };
        let mut next = 0;
        while let Some(event) = Some(rows.next(Duration::from_secs(1)).unwrap_or_else(|e| panic!("{sql}: {e}"))) {
            match event {
                RowEvent::Rows { columns, .. } => {
                    for row in 0..columns[0].len() {
                        assert_eq!(cell::display(columns[0].as_ref(), row).unwrap(), format!("{next:0600}"), "{sql}");
                        next += 1;
                    }
                }
                RowEvent::Idle => {}
                RowEvent::Done(_) => break,
            }
        }
        assert_eq!(next, count, "{sql}");
    }
    let refused = engine.run("SET 'tidegate.batch.memory.bytes' = '1000';", &mut session).unwrap_err();
    assert!(refused.to_string().contains("tidegate.batch.memory.bytes"), "{refused}");
}

#[test]
fn a_query_that_nobody_waits_for_stops_reading() {
    let log = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    log.create_topic(&TopicSpec::new("t", 1)).unwrap();
    let mut records = RecordSet::default();
    (0..200_000).for_each(|n| records.push(0, n, None, Some(b"a value that is long enough")));
    (0..10).for_each(|_| log.append("t", &records).unwrap());
    let engine = engine(log);
    engine.run(STREAM, &mut Session::default()).unwrap();
    let clock = SystemClock::shared();
    let mut rows = query(&engine, "SELECT a.v, COUNT(*) AS n FROM s AS a, s AS b WHERE a.v < b.v GROUP BY a.v;");
    let begin = clock.monotonic();
    let event = rows.next(Duration::from_millis(20)).unwrap();
    assert!(matches!(event, RowEvent::Idle), "{event:?}");
    // The wait was as short as it was asked to be, and so is the end.
    drop(rows);
    let took = clock.monotonic() - begin;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// More than a scan decodes on its own thread.
const LONG: i64 = 120_000;

/// What the log holds of [`a_long_scan_is_decoded_by_several_threads_and_in_order`]: partition, time, payload.
fn long_history() -> Vec<(i32, i64, String)> {
    let dice = &mut Dice(7);
    let record = |n: i64| {
        let time = n + dice.below(300);
        // Every hundredth record or so is none.
        let payload = if dice.below(100) == 0 { format!("{{\"N\": x{n}") } else { format!("{{\"N\": {n}}}") };
        (dice.below(3) as i32, time, payload)
    };
    (0..LONG).map(record).collect()
}

/// `N` of the records in canonical order: the partition whose next row has the earliest turn comes first.
fn in_order(history: &[(i32, i64, String)]) -> Vec<String> {
    let mut latest = [i64::MIN; 3];
    let mut partitions = [const { Vec::new() }; 3];
    for (partition, time, payload) in history {
        let Some(n) = payload.strip_prefix("{\"N\": ").and_then(|p| p.strip_suffix('}')) else { continue };
        let at = *partition as usize;
        latest[at] = latest[at].max(*time);
        partitions[at].push((latest[at], n.to_owned()));
    }
    let mut rows: Vec<(i64, usize, usize, String)> = vec![];
    for (partition, list) in partitions.into_iter().enumerate() {
        rows.extend(list.into_iter().enumerate().map(|(i, (turn, n))| (turn, partition, i, n)));
    }
    rows.sort();
    rows.into_iter().map(|(.., n)| n).collect()
}

#[test]
fn a_long_scan_is_decoded_by_several_threads_and_in_order() {
    let history = long_history();
    let log = SimulatedLog::new(3, ManualClock::at(0));
    log.create_topic(&TopicSpec::new("long", 3)).unwrap();
    for part in history.chunks(1_000) {
        let mut set = RecordSet::default();
        part.iter().for_each(|(partition, time, payload)| set.push(*partition, *time, None, Some(payload.as_bytes())));
        log.append("long", &set).unwrap();
    }
    let engine = engine(log);
    engine
        .run("CREATE STREAM s (n INT) WITH (KAFKA_TOPIC='long', VALUE_FORMAT='JSON');", &mut Session::default())
        .unwrap();
    let expected = in_order(&history);
    let (rows, scanned) = answer(&engine, "SELECT n FROM s;");
    assert_eq!(rows.len(), expected.len());
    assert!(rows == expected, "the first that differs: {:?}", rows.iter().zip(&expected).find(|(a, b)| a != b));
    assert_eq!((scanned.records, scanned.planned), (LONG as u64, LONG as u64));
    let (rows, _) = answer(&engine, "SELECT COUNT(*) AS c, SUM(CAST(n AS BIGINT)) AS s FROM s;");
    let sum: i64 = expected.iter().map(|n| n.parse::<i64>().unwrap()).sum();
    assert_eq!(rows, [format!("{} | {sum}", expected.len())]);
    // Rows that are not wanted any more are not decoded to the end.
    let (rows, scanned) = answer(&engine, "SELECT n FROM s LIMIT 3;");
    assert_eq!(rows, expected[..3]);
    assert!(scanned.records < LONG as u64, "{scanned:?}");
}

#[test]
fn a_panic_of_a_decoding_thread_is_the_query_s_error() {
    let log = SimulatedLog::new(4, ManualClock::at(0));
    log.create_topic(&TopicSpec::new("panics_when_decoded", 1)).unwrap();
    let mut set = RecordSet::default();
    (0..LONG).for_each(|n| set.push(0, n, None, Some(b"1")));
    log.append("panics_when_decoded", &set).unwrap();
    let engine = engine(log);
    let create = "CREATE STREAM s (v STRING) WITH (KAFKA_TOPIC='panics_when_decoded', VALUE_FORMAT='KAFKA');";
    engine.run(create, &mut Session::default()).unwrap();
    tidegate::mutant::seed("batch-decode", "panics_when_decoded", 1);
    let mut rows = query(&engine, "SELECT v FROM s;");
    let error = loop {
        match rows.next(Duration::from_secs(1)) {
            Ok(RowEvent::Done(_)) => {
                // Other tests of this process had all decoding threads: the scan decoded by itself.
                assert_eq!(tidegate::mutant::seeds_left("batch-decode", "panics_when_decoded"), 1, "it was not seen");
                rows = query(&engine, "SELECT v FROM s;");
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.message().contains("a seeded panic in batch-decode"), "{error}");
    let (rows, _) = answer(&engine, "SELECT COUNT(*) AS c FROM s;");
    assert_eq!(rows, [LONG.to_string()]);
}
