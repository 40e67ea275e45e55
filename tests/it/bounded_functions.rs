//! No value, function or cast ends the process: every function that a query can name, with arguments made to hurt, in every
//! place of a query, against a server that may have 2 GiB of addresses. It refuses or returns something bounded, soon, and
//! runs the next query.

use crate::http::Server;
use datafusion::execution::SessionStateDefaults;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::functions::bounded::{ALLOWED, Bound, Sort};
use tidegate::functions::{Registry, aggregate};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::types::clock::SystemClock;

/// Addresses of the server, in KiB.
const ADDRESSES_KIB: u64 = 2 << 20;
/// Processor time of one statement.
const CPU_MAX: Duration = Duration::from_secs(2);
/// The server's own bound of a query.
const TIMEOUT: &str = "tidegate.batch.timeout.ms=1500";

/// The same where an answer is expected, also of a busy machine.
pub(crate) const PATIENT: &str = "tidegate.batch.timeout.ms=60000";

/// For a row with a text of a megabyte.
pub(crate) const SOURCES: &str = "CREATE STREAM s (k STRING KEY, t STRING, n BIGINT, d DOUBLE, a ARRAY<BIGINT>) \
                       WITH (kafka_topic='s', value_format='JSON', partitions=1);";

fn server() -> Server {
    with_timeout(TIMEOUT)
}

pub(crate) fn with_timeout(timeout: &str) -> Server {
    let server = Server::within(ADDRESSES_KIB, &["--temp", "--set", timeout]);
    server.ksql(SOURCES);
    server.ksql(&format!(
        "INSERT INTO s (k, t, n, d, a) VALUES ('k', '{}', 1, 1.5, ARRAY[1, 2, 3]);",
        "a".repeat(1_000_000)
    ));
    server
}

/// Arguments, where `#` is a text of a megabyte and `@` an array.
fn arguments() -> Vec<String> {
    let (least, most) = ("-9223372036854775808", "9223372036854775807");
    let texts = ["", "#", "#, #", "#, #, #", "#, '', #, 'g'", "@", "@, @", "@, #", "#, #, @", "@, 1, #"];
    let mut all = texts.map(str::to_owned).to_vec();
    for n in ["2147483648", least, most] {
        all.extend(["?", "#, ?", "#, ?, #", "@, ?"].map(|frame| frame.replace('?', n)));
    }
    all.extend(
        ["#, ?, #", "@, ?, #", "?, #", "1.5, 0.5, ?", "0, ?, 1"].map(|frame| frame.replace('?', "1099511627776")),
    );
    all.extend([format!("{least}, {most}"), format!("{most}, {least}, -1")]);
    all.push("TIMESTAMP '2000-01-01T00:00:00', TIMESTAMP '2200-01-01T00:00:00', INTERVAL '1' SECOND".to_owned());
    all.push("TIMESTAMP '2000-01-01T00:00:00', #".to_owned());
    all
}

/// DataFusion's functions in the place where each can stand.
fn datafusion_calls() -> Vec<String> {
    let text = "repeat('a', 1000000)";
    let array = "string_to_array(repeat('a,', 100000), ',')";
    let mut calls = Vec::new();
    for function in ALLOWED {
        for arguments in arguments() {
            let call = format!("{}({})", function.name, arguments.replace('#', text).replace('@', array));
            calls.push(match function.sort {
                Sort::Scalar => format!("SELECT {call} AS x;"),
                Sort::Aggregate => format!("SELECT {call} AS x FROM (VALUES (1)) v(y);"),
                Sort::Window => format!("SELECT {call} OVER () AS x FROM (VALUES (1), (2)) v(y);"),
                Sort::Table => format!("SELECT COUNT(*) AS x FROM {call};"),
            });
        }
    }
    calls
}

/// Tidegate's own, over a row.
fn own_calls() -> Vec<String> {
    let names =
        Registry::all().chain(Registry::tables()).map(|entry| entry.name).chain(aggregate::NAMES.iter().copied());
    // Names that ksqlDB leaves free are DataFusion's, here too.
    let free = ALLOWED.iter().filter(|f| f.sort == Sort::Scalar && f.bound != Bound::Given).map(|f| f.name);
    let names: BTreeSet<&str> = names.chain(free).collect();
    let call = |name: &str, arguments: &String| {
        format!("SELECT {name}({}) AS x FROM s;", arguments.replace('#', "t").replace('@', "a"))
    };
    names.iter().flat_map(|name| arguments().iter().map(|a| call(name, a)).collect::<Vec<_>>()).collect()
}

/// Asks everything; names what took too long.
fn each_is_bounded(server: &Server, statements: &[String]) {
    let mut slow = Vec::new();
    let mut before = server.cpu();
    for (i, sql) in statements.iter().enumerate() {
        server.query(sql);
        let after = server.cpu();
        if after - before > CPU_MAX {
            slow.push(format!("{:?} {}", after - before, &sql[..sql.len().min(200)]));
        }
        before = after;
        if i % 100 == 0 {
            answers(server);
        }
    }
    answers(server);
    assert!(slow.is_empty(), "{} of {} took too long:\n{}", slow.len(), statements.len(), slow.join("\n"));
}

pub(crate) fn answers(server: &Server) {
    let (status, body) = server.query("SELECT 1 + 1 AS two;");
    assert!(status == 200 && body.contains("[2]"), "{status} {body}");
}

#[test]
fn every_function_of_datafusion_is_bounded() {
    each_is_bounded(&server(), &datafusion_calls());
}

#[test]
fn every_function_of_our_own_is_bounded() {
    each_is_bounded(&server(), &own_calls());
}

/// Bytes of an answer that is bounded.
const BODY_MAX: usize = 64 << 10;

/// Expressions that make too much, and the places in which one can stand.
const TOO_MUCH: &[&str] = &[
    "repeat('a', 2000000000)",
    "rpad('a', 2000000000, 'b')",
    "array_length(array_repeat(1, 200000000))",
    "array_length(range(0, 1000000000))",
    "array_length(generate_series(0, 1000000000))",
    "CAST(repeat('9', 1000000) AS DECIMAL(38, 0))",
    "replace(repeat('a', 1000000), 'a', repeat('b', 1000000))",
    "regexp_replace(repeat('a', 1000000), '', repeat('b', 1000000), 'g')",
    "levenshtein(repeat('a', 1000000), repeat('b', 1000000))",
];
const PLACES: &[&str] = &[
    "SELECT # AS x;",
    "SELECT # AS x FROM (VALUES (1)) v(y);",
    "SELECT 1 AS x FROM (VALUES (1)) v(y) WHERE # IS NOT NULL;",
    "WITH w AS (SELECT # AS x) SELECT x FROM w;",
    "SELECT x FROM (SELECT # AS x) AS q;",
    "SELECT (SELECT #) AS x;",
    "SELECT y AS x FROM (VALUES (1), (2)) v(y) ORDER BY CASE WHEN y = 1 THEN CAST(# AS STRING) END, y;",
    "SELECT COUNT(*) AS x FROM (VALUES (1)) v(y) GROUP BY #;",
    "SELECT COUNT(*) AS x FROM (VALUES (1)) v(y) HAVING MAX(#) IS NOT NULL;",
    "SELECT MAX(#) AS x FROM (VALUES (1)) v(y);",
    "SELECT MAX(#) OVER (ORDER BY y) AS x FROM (VALUES (1)) v(y);",
    "SELECT RANK() OVER (PARTITION BY # ORDER BY y) AS x FROM (VALUES (1)) v(y);",
    "SELECT x FROM (VALUES (#)) v(x);",
    "SELECT a.y AS x FROM (VALUES (1)) a(y) JOIN (VALUES (1)) b(y) ON a.y = b.y AND # IS NOT NULL;",
    "SELECT CASE WHEN y = 1 THEN # END AS x FROM (VALUES (1)) v(y);",
    "SELECT 1 AS x UNION ALL SELECT length(CAST(# AS STRING)) AS x;",
    "SELECT COUNT(*) FILTER (WHERE # IS NOT NULL) AS x FROM (VALUES (1)) v(y);",
    "SELECT y AS x FROM (VALUES (1)) v(y) WHERE EXISTS (SELECT 1 WHERE # IS NOT NULL);",
    "WITH RECURSIVE w AS (SELECT # AS x UNION ALL SELECT x FROM w) SELECT x FROM w LIMIT 1;",
    "SELECT COUNT(*) AS x FROM generate_series(1, length(CAST(# AS STRING)));",
];
/// The same where functions are ksqlDB's: what is too much for one row is NULL there, and the query continues.
const OWN_PLACES: &[&str] = &[
    "SELECT # AS x FROM s;",
    "WITH w AS (SELECT k FROM s) SELECT # AS x FROM w;",
    "WITH w AS (SELECT k FROM s) SELECT coalesce(CAST(# AS STRING), k) AS x FROM w ORDER BY x;",
];

#[test]
fn what_makes_too_much_is_refused_in_every_place() {
    let server = server();
    let mut wrong = Vec::new();
    for (place, expression) in PLACES.iter().flat_map(|p| TOO_MUCH.iter().map(move |e| (p, e))) {
        let sql = place.replace('#', expression);
        let before = server.cpu();
        let (status, body) = server.query(&sql);
        // What is too much for one row is NULL there, as every error of a row.
        if body.len() > BODY_MAX || server.cpu() - before > CPU_MAX {
            wrong.push(format!("{status} {:?} {sql}: {body:.200}", server.cpu() - before));
        }
    }
    for (place, expression) in OWN_PLACES.iter().flat_map(|p| TOO_MUCH.iter().map(move |e| (p, e))) {
        let sql = place.replace('#', expression);
        let before = server.cpu();
        let (status, body) = server.query(&sql);
        let bounded = body.contains("error") || body.contains("[null]") || body.contains("[\"k\"]");
        if !bounded || server.cpu() - before > CPU_MAX {
            wrong.push(format!("{status} {:?} {sql}: {body:.200}", server.cpu() - before));
        }
    }
    answers(&server);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_refusals_say_what_is_wrong() {
    let server = with_timeout(PATIENT);
    for (sql, told) in [
        ("SELECT approx_percentile_cont(x, 0.5, 100000000000) AS s FROM (VALUES (1.0)) t(x);", "from 1 to 10000"),
        ("SELECT version() AS x;", "Can't find any functions with the name 'VERSION'"),
        ("SELECT arrow_cast(1, 'FixedSizeBinary(2147483647)') AS x;", "Can't find any functions with the name"),
        // A copy for each row: 29 GB and 14 GB.
        (
            "SELECT array_agg(y) OVER () AS x FROM generate_series(1, 60000) AS g(y);",
            "bytes of memory that it may hold",
        ),
        (
            "SELECT COLLECT_LIST(y) OVER (ORDER BY y) AS x FROM generate_series(1, 60000) AS g(y);",
            "bytes of memory that it may hold",
        ),
        ("SELECT * FROM range(1, length(repeat('a', 10)) + NULL);", "in FROM is a constant"),
        ("SELECT * FROM version(1);", "is no function that returns rows"),
    ] {
        let (status, body) = server.query(sql);
        assert!(body.contains("error") && body.contains(told), "{sql}: {status} {body:.2000}");
    }
    let (_, body) =
        server.query("SELECT CAST(repeat('9', 1000000) AS DECIMAL(38,0)) AS x, REPEAT('a', 2000000000) AS y;");
    assert!(body.contains("[null,null]"), "{body}");
    answers(&server);
}

/// The numbers that a query's rows hold, without the header and the end.
pub(crate) fn numbers(rows: impl Iterator<Item = Value>) -> Vec<i64> {
    rows.filter_map(|row| row.as_array().and_then(|r| r.first()?.as_i64())).collect()
}

#[test]
fn explode_needs_memory_for_its_rows_alone_and_equals_emit_changes() {
    let server = with_timeout(PATIENT);
    for n in [1_000, 100_000_i64] {
        let sql = format!("SELECT EXPLODE(GENERATE_SERIES(1, {n})) AS x FROM s");
        let bounded = numbers(server.lines(&format!("{sql};")));
        assert!(bounded.iter().copied().eq(1..=n), "{} rows", bounded.len());
        let pushed = numbers(server.lines(&format!("{sql} EMIT CHANGES LIMIT {n};")));
        assert_eq!(bounded, pushed);
    }
    // An array of a record, beside a text that every row repeats: refused or answered, and the process lives.
    let elements = vec!["1"; 40_000].join(", ");
    server.ksql(&format!("INSERT INTO s (k, t, a) VALUES ('x', 'y', ARRAY[{elements}]);"));
    assert_eq!(numbers(server.lines("SELECT EXPLODE(a) AS x FROM s;")).len(), 40_003);
    server.query("SELECT COUNT(*) AS n FROM (SELECT a, unnest(a) AS x FROM s) AS q;");
    server.query("SELECT COUNT(*) AS n FROM (SELECT t, unnest(a) AS x FROM s) AS q;");
    answers(&server);
}

#[test]
fn datafusion_has_no_function_that_is_neither_listed_nor_refused() {
    let engine = engine(Config::new(LogConfig::Temporary));
    let scalars: BTreeSet<String> =
        SessionStateDefaults::default_scalar_functions().iter().map(|f| f.name().to_owned()).collect();
    let aggregates: BTreeSet<String> =
        SessionStateDefaults::default_aggregate_functions().iter().map(|f| f.name().to_owned()).collect();
    let windows: BTreeSet<String> =
        SessionStateDefaults::default_window_functions().iter().map(|f| f.name().to_owned()).collect();
    let tables: BTreeSet<String> =
        SessionStateDefaults::default_table_functions().iter().map(|f| f.name().to_owned()).collect();
    for (sort, there) in
        [(Sort::Scalar, scalars), (Sort::Aggregate, aggregates), (Sort::Window, windows), (Sort::Table, tables)]
    {
        let listed: BTreeSet<String> = ALLOWED.iter().filter(|f| f.sort == sort).map(|f| f.name.to_owned()).collect();
        assert_eq!(listed.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "{sort:?} that are not there");
        for name in there.difference(&listed) {
            let sql = match sort {
                Sort::Table => format!("SELECT * FROM {name}(1);"),
                Sort::Window => format!("SELECT {name}() OVER () AS x FROM (VALUES (1)) v(y);"),
                Sort::Scalar | Sort::Aggregate => format!("SELECT \"{name}\"(1) AS x FROM (VALUES (1)) v(y);"),
            };
            let refused = end(&engine, &sql, &mut Session::default()).expect_err(&sql);
            let known =
                ["find any functions", "no function that returns rows", "is no window function", "nvalid function"];
            assert!(known.iter().any(|words| refused.contains(words)), "{sql}: {refused}");
        }
    }
}

pub(crate) fn engine(config: Config) -> Engine {
    let clock = SystemClock::shared();
    Engine::over(SimulatedLog::new(1, clock.clone()), config, clock, Drive::ByHand).unwrap()
}

/// What becomes of a query: how many rows it has, or why it fails.
pub(crate) fn end(engine: &Engine, sql: &str, session: &mut Session) -> Result<usize, String> {
    let told = |e: tidegate::error::Error| format!("{e} {:?}", e.hint());
    let mut count = 0;
    for answer in engine.run(sql, session).map_err(told)? {
        let Answer::Rows(mut rows) = answer else { continue };
        loop {
            match rows.next(Duration::from_secs(1)).map_err(told)? {
                RowEvent::Rows { columns, .. } => count += columns.first().map_or(0, |c| c.len()),
                RowEvent::Idle => {}
                RowEvent::Done(_) => break,
            }
        }
    }
    Ok(count)
}

#[test]
fn a_query_without_end_is_ended_by_its_time() {
    let engine = engine(Config::new(LogConfig::Temporary));
    let mut session = Session::default();
    engine.run("SET 'tidegate.batch.timeout.ms' = '300';", &mut session).unwrap();
    for sql in [
        "SELECT COUNT(*) AS c FROM generate_series(1, 1000000000000);",
        "SELECT COUNT(*) AS c FROM generate_series(1, 1000000) a JOIN generate_series(1, 1000000) b ON a.`value` <> b.`value`;",
    ] {
        let clock = SystemClock::shared();
        let ended = end(&engine, sql, &mut session).expect_err(sql);
        assert!(ended.contains("longer than 300 ms") && ended.contains("tidegate.batch.timeout.ms"), "{ended}");
        assert!(clock.monotonic() < Duration::from_secs(10), "{sql}");
    }
}

#[test]
fn what_no_operator_counts_is_counted_at_the_allocator() {
    let engine = engine(Config::new(LogConfig::Temporary));
    let mut session = Session::default();
    engine.run("SET 'tidegate.batch.memory.bytes' = '33554432';", &mut session).unwrap();
    // A window over everything keeps all rows, and no operator says so.
    let sql = "SELECT COUNT(*) AS c FROM (SELECT max(`value`) OVER () AS m, t FROM \
               (SELECT `value`, repeat('a', 1000) || CAST(`value` AS STRING) AS t FROM generate_series(1, 1000000)) q) r \
               WHERE m > length(t);";
    let ended = end(&engine, sql, &mut session).expect_err(sql);
    assert!(ended.contains("bytes of memory that it may hold"), "{ended}");
    assert_eq!(end(&engine, "SELECT 1 AS one;", &mut session), Ok(1));
}

#[test]
fn functions_over_many_rows_stay_within_the_memory_of_the_query() {
    let clock = SystemClock::shared();
    let log = SimulatedLog::new(1, clock.clone());
    log.create_topic(&TopicSpec::new("s", 1)).unwrap();
    let mut records = RecordSet::default();
    (0..1_000).for_each(|n| records.push(0, n, None, Some(br#"{"T": "a"}"#)));
    log.append("s", &records).unwrap();
    let engine = Engine::over(log, Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
    let mut session = Session::default();
    engine.run(&format!("{SOURCES} SET 'tidegate.batch.memory.bytes' = '33554432';"), &mut session).unwrap();
    let constant = "x".repeat(900_000);
    for (sql, fits) in [
        // A quarter of a megabyte in each of 1,000 rows; a constant of the statement, which is answered in small batches.
        ("SELECT LPAD(t, 262144, 'b') AS x FROM s;".to_owned(), false),
        ("SELECT REPEAT(t, 262144) AS x FROM s;".to_owned(), false),
        ("WITH w AS (SELECT t FROM s) SELECT repeat(t, 262144) AS x FROM w;".to_owned(), false),
        (format!("SELECT '{constant}' AS x FROM s;"), true),
        (format!("WITH w AS (SELECT t FROM s) SELECT '{constant}' AS x FROM w;"), true),
    ] {
        match end(&engine, &sql, &mut session) {
            Ok(rows) => assert_eq!(rows, 1_000, "{sql:.80}"),
            Err(e) => assert!(!fits && e.contains("of memory that it may hold"), "{sql:.80}: {e}"),
        }
    }
}

#[test]
fn nobody_raises_what_the_process_was_started_with() {
    let mut config = Config::new(LogConfig::Temporary);
    for (name, value) in [("tidegate.batch.memory.bytes", "67108864"), ("ksql.functions.collect_list.limit", "2")] {
        config.set(name, value).unwrap();
    }
    let engine = engine(config);
    for (name, most, more) in [
        ("tidegate.batch.memory.bytes", "67108864", "999999999999999"),
        ("tidegate.batch.timeout.ms", "600000", "600001"),
        ("ksql.functions.collect_list.limit", "2", "3"),
        ("ksql.functions.collect_list.limit", "2", "99999999999999999999999999"),
    ] {
        let mut session = Session::default();
        let refused = end(&engine, &format!("SET '{name}' = '{more}';"), &mut session).expect_err(name);
        assert!(refused.contains("is at most") && refused.contains("--set"), "{refused}");
        end(&engine, &format!("SET '{name}' = '{most}'; SELECT 1 AS one;"), &mut session).unwrap();
        // Properties of a request come without a SET.
        if let Ok(mut session) = Session::default().with_properties([(name.to_owned(), more.to_owned())]) {
            let refused = end(&engine, "SELECT 1 AS one;", &mut session).expect_err(name);
            assert!(refused.contains("is at most"), "{refused}");
        }
    }
}
