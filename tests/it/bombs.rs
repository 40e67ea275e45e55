//! Statements made to hurt: nested too deeply, too long, too many parts, in every place of the grammar where such a thing can
//! stand. Each is refused (or read) soon, by the parser, the planner, the command line and the server, and the process lives.
//!
//! The bound is 100 ms on a quiet machine with optimisation; here it is generous, because the tests share theirs and run
//! without.

use crate::http::{PATIENCE, Server, TIDEGATE, earliest};
use crate::plan::World;
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;
use tidegate::types::clock::SystemClock;

/// Longest time for one statement.
const BOMB_MAX: Duration = Duration::from_secs(2);

const TABLES: &str = "CREATE STREAM s (k STRING KEY, a INT, b STRING, l ARRAY<INT>) \
                      WITH (kafka_topic='s', value_format='JSON', partitions=1); \
                      CREATE TABLE t (k STRING PRIMARY KEY, a INT) WITH (kafka_topic='t', value_format='JSON', partitions=1);";

/// `open` and `close` so many times around `inner`.
fn around(open: &str, inner: &str, close: &str, times: usize) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

/// Expressions that are too much.
fn expressions() -> Vec<(&'static str, String)> {
    vec![
        ("parentheses", around("(", "a", ")", 1_000)),
        ("additions", format!("a{}", " + 1".repeat(100_000))),
        ("many bytes", format!("a + {}", "1".repeat(1 << 20))),
        ("OR", format!("a = 1{}", " OR a = 1".repeat(20_000))),
        ("NOT", format!("{}a = 1", "NOT ".repeat(20_000))),
        ("minus", format!("{}a", "- ".repeat(20_000))),
        ("concatenation", format!("b{}", " || b".repeat(20_000))),
        ("BETWEEN", format!("a{}", " BETWEEN 1 AND 2".repeat(10_000))),
        ("LIKE", format!("b{}", " LIKE b".repeat(20_000))),
        ("IN list", format!("a IN (1{})", ", 1".repeat(150_000))),
        ("IN in IN", around("a IN (", "1", ")", 1_000)),
        ("CASE in WHEN", around("CASE WHEN a = ", "1", " THEN 1 ELSE 2 END", 1_000)),
        ("CASE in ELSE", around("CASE WHEN a = 1 THEN 1 ELSE ", "2", " END", 1_000)),
        ("many WHEN", format!("CASE{} END", " WHEN a = 1 THEN 2".repeat(20_000))),
        ("calls", around("ABS(", "a", ")", 1_000)),
        ("many arguments", format!("CONCAT(b{})", ", b".repeat(60_000))),
        ("lambdas", around("REDUCE(l, 0, (x, y) => ", "x", ")", 500)),
        ("arrays", around("ARRAY[", "a", "]", 1_000)),
        ("maps", around("MAP('x' := ", "a", ")", 1_000)),
        ("structs", around("STRUCT(x := ", "a", ")", 1_000)),
        ("fields", format!("a{}", "->x".repeat(40_000))),
        ("subscripts", format!("l{}", "[1]".repeat(30_000))),
        ("casts", around("CAST(", "a", " AS INT)", 1_000)),
        ("a cast's type", format!("CAST(a AS {})", around("ARRAY<", "INT", ">", 1_000))),
        ("subqueries", around("(SELECT a FROM s WHERE a = ", "1", ")", 500)),
        ("quotes", format!("'{}", "''".repeat(400_000))),
        ("a comment", format!("(a /*{}*/)", "x".repeat(1 << 20))),
    ]
}

/// Where an expression can stand.
const PLACES: &[(&str, &str)] = &[
    ("SELECT", "SELECT # AS x FROM s EMIT CHANGES;"),
    ("WHERE", "SELECT a FROM s WHERE # = a EMIT CHANGES;"),
    ("GROUP BY", "SELECT COUNT(*) AS n FROM s GROUP BY # EMIT CHANGES;"),
    ("HAVING", "SELECT a, COUNT(*) AS n FROM s GROUP BY a HAVING # = a EMIT CHANGES;"),
    ("aggregate", "SELECT a, SUM(#) AS n FROM s GROUP BY a EMIT CHANGES;"),
    ("PARTITION BY", "CREATE STREAM o AS SELECT * FROM s PARTITION BY #;"),
    ("EXPLODE", "SELECT EXPLODE(ARRAY[#]) AS x FROM s EMIT CHANGES;"),
    ("ON", "SELECT s.a FROM s JOIN t ON # = t.k EMIT CHANGES;"),
    ("CASE", "SELECT CASE WHEN a = 1 THEN # ELSE # END AS x FROM s EMIT CHANGES;"),
    ("lambda", "SELECT TRANSFORM(l, x => #) AS x FROM s EMIT CHANGES;"),
    ("CTAS", "CREATE TABLE o AS SELECT a, MAX(#) AS x FROM s GROUP BY a;"),
    ("batch", "SELECT # AS x FROM s ORDER BY #;"),
    ("VALUES", "INSERT INTO s (k, a) VALUES ('k', #);"),
    ("CTE", "WITH w AS (SELECT # AS x FROM s) SELECT * FROM w;"),
    ("EXPLAIN", "EXPLAIN SELECT # AS x FROM s EMIT CHANGES;"),
];

/// Whole statements that are too much.
fn statements() -> Vec<(&'static str, String)> {
    let ctes: String = (0..5_000).map(|i| format!(", w{} AS (SELECT * FROM w{i})", i + 1)).collect();
    let joins: String = (0..5_000).map(|i| format!(" JOIN t t{i} ON s.k = t{i}.k")).collect();
    let columns: String = (0..200_000).map(|i| format!(", c{i} INT")).collect();
    vec![
        ("UNION ALL", format!("SELECT a FROM s{};", " UNION ALL SELECT a FROM s".repeat(20_000))),
        ("a megabyte of names", format!("SELECT {}a FROM s EMIT CHANGES;", "a, ".repeat(400_000))),
        ("a megabyte of one name", format!("SELECT {} FROM s EMIT CHANGES;", "a".repeat(1 << 20))),
        ("a megabyte of text", format!("INSERT INTO s (k) VALUES ('{}');", "x".repeat(1 << 20))),
        ("CTEs", format!("WITH w0 AS (SELECT a FROM s){ctes} SELECT * FROM w5000;")),
        ("doubling CTEs", {
            let twice: String = (0..40).map(|i| format!(", w{} AS (SELECT x.a FROM w{i} x, w{i} y)", i + 1)).collect();
            format!("WITH w0 AS (SELECT a FROM s){twice} SELECT * FROM w40;")
        }),
        ("doubling CTEs in FROM", {
            let twice: String = (0..40).map(|i| format!(", w{} AS (SELECT x.a FROM w{i} x, w{i} y)", i + 1)).collect();
            format!("SELECT * FROM (WITH w0 AS (SELECT a FROM s){twice} SELECT * FROM w40) q;")
        }),
        ("CTE in CTE", format!("{} SELECT 1;", around("WITH w AS (", "SELECT 1", ")", 500))),
        ("joins", format!("SELECT s.a FROM s{joins} EMIT CHANGES;")),
        ("joins in parentheses", format!("SELECT 1 FROM {};", around("(s JOIN ", "t ON s.k = t.k", ")", 500))),
        // Each is bound once more for its key.
        ("sorted subqueries", {
            let nested = around("(SELECT x.a FROM s x WHERE x.a = y.a ORDER BY x.a + ", "y.a", " LIMIT 1)", 30);
            format!("SELECT {nested} AS x FROM s y;")
        }),
        ("subqueries side by side", {
            let inner = "(SELECT MAX(x.a) FROM s x WHERE x.a = y.a), ".repeat(30);
            let middle =
                format!("(SELECT COUNT(*) FROM (SELECT {inner} 1 AS z FROM s y) q WHERE q.z = w.a), ").repeat(30);
            format!("SELECT {middle} 1 AS v FROM s w;")
        }),
        ("queries in FROM", format!("{};", around("SELECT * FROM (", "SELECT 1", ") q", 500))),
        (
            "array type",
            format!(
                "CREATE STREAM x (a {}) WITH (kafka_topic='s', value_format='JSON');",
                around("ARRAY<", "INT", ">", 1_000)
            ),
        ),
        ("map type", format!("CREATE TYPE x AS {};", around("MAP<STRING, ", "INT", ">", 1_000))),
        ("struct type", format!("CREATE TYPE x AS {};", around("STRUCT<f ", "INT", ">", 1_000))),
        ("struct type with many fields", format!("CREATE TYPE x AS STRUCT<c INT{columns}>;")),
        ("columns", format!("CREATE STREAM x (c INT{columns}) WITH (kafka_topic='s', value_format='JSON');")),
        ("properties", format!("CREATE STREAM x (c INT) WITH ({});", "a='b', ".repeat(100_000))),
        ("nothing but parentheses", "(".repeat(1 << 20)),
        ("nothing but semicolons in brackets", format!("SELECT {}", "[;".repeat(100_000))),
        ("EXPLAIN EXPLAIN", format!("{}SELECT 1;", "EXPLAIN ".repeat(10_000))),
    ]
}

fn bombs() -> impl Iterator<Item = (String, String)> {
    let whole = statements().into_iter().map(|(name, text)| (name.to_owned(), text));
    let placed = PLACES.iter().flat_map(|(place, frame)| {
        expressions().into_iter().map(move |(name, text)| (format!("{name} in {place}"), frame.replace('#', &text)))
    });
    whole.chain(placed)
}

#[test]
fn parser_and_planner_refuse_them_soon() {
    let (clock, mut late) = (SystemClock::shared(), Vec::new());
    for (name, text) in bombs() {
        let mut world = World::new(TABLES);
        let begin = clock.monotonic();
        let refused = world.run(&text).map(drop);
        let took = clock.monotonic() - begin;
        assert!(refused.is_err(), "{name} was taken");
        if took > BOMB_MAX {
            late.push(format!("{name}: {took:?}"));
        }
    }
    assert!(late.is_empty(), "{}", late.join("\n"));
}

/// What stays below every limit is large, but it can be planned, or is refused for a reason of its own.
fn large() -> Vec<(&'static str, String)> {
    let columns = |n: usize, of: &str| (0..n).map(|i| of.replace('#', &i.to_string())).collect::<Vec<_>>().join(", ");
    let what = "(k STRING PRIMARY KEY, a INT) WITH (kafka_topic='t', value_format='JSON')";
    let tables: String = (0..100).map(|i| format!("CREATE TABLE t{i} {what};")).collect();
    let joins: String = (0..100).map(|i| format!(" JOIN t{i} ON s.k = t{i}.k")).collect();
    vec![
        (
            "columns",
            format!("CREATE STREAM x ({}) WITH (kafka_topic='s', value_format='JSON');", columns(2_000, "c# INT")),
        ),
        ("SELECT list", format!("SELECT {} FROM s EMIT CHANGES;", columns(2_000, "a + # AS c#"))),
        ("IN list", format!("SELECT a FROM s WHERE a IN ({}) EMIT CHANGES;", columns(40_000, "#"))),
        ("INSERT", format!("INSERT INTO s (k, b) VALUES ('k', '{}');", "x".repeat(900_000))),
        ("joins", format!("{tables} SELECT s.a FROM s{joins} EMIT CHANGES;")),
        ("operators", format!("SELECT a{} AS x FROM s EMIT CHANGES;", " + 1".repeat(199))),
        ("WHEN", format!("SELECT CASE{} END AS x FROM s EMIT CHANGES;", " WHEN a = 1 THEN 2".repeat(150))),
        ("UNION ALL", format!("SELECT a FROM s{};", " UNION ALL SELECT a FROM s".repeat(60))),
    ]
}

#[test]
fn what_the_limits_let_through_does_not_take_long() {
    let work = || {
        let clock = SystemClock::shared();
        for (name, text) in large() {
            let mut world = World::new(TABLES);
            let begin = clock.monotonic();
            let planned = world.run(&text).map(drop);
            let took = clock.monotonic() - begin;
            assert!(took < 5 * BOMB_MAX, "{name}: {took:?}, {planned:?}");
        }
    };
    // 199 operators take less than 512 KiB of stack in a release build, and several times as much without optimisation.
    std::thread::Builder::new().stack_size(16 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn the_command_line_refuses_them_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bombs.sql");
    let deep = format!("SELECT {} FROM s EMIT CHANGES;", around("(", "a", ")", 1_000));
    let long = format!("SELECT a{} FROM s EMIT CHANGES;", " + 1".repeat(100_000));
    for (text, reason) in [(&deep, "nested too deeply"), (&long, "too many tokens")] {
        std::fs::write(&file, text).unwrap();
        // The text of an argument is bounded by the system itself: 128 KiB on Linux.
        let by_argument = (text.len() < 100_000).then(|| vec!["-e".to_owned(), text.clone()]);
        let by_file = Some(vec!["-f".to_owned(), file.display().to_string()]);
        for arguments in [by_argument, by_file].into_iter().flatten() {
            let output =
                Command::new(TIDEGATE).args(["sql", "--temp"]).args(&arguments).stdin(Stdio::null()).output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.code().is_some_and(|code| code != 0),
                "{} by {}: {}",
                reason,
                arguments[0],
                output.status
            );
            assert!(told.contains(reason), "{told}");
            assert!(told.len() < 10_000, "an error of {} bytes for {reason}", told.len());
        }
    }
}

#[test]
fn the_server_refuses_them_and_serves_the_next() {
    let server = Server::start();
    server.ksql(TABLES);
    let clock = SystemClock::shared();
    let whole = statements().into_iter().map(|(name, text)| (name.to_owned(), text));
    let first = expressions().into_iter().map(|(name, text)| (name.to_owned(), PLACES[0].1.replace('#', &text)));
    for (name, text) in whole.chain(first) {
        for (path, body) in [
            ("/ksql", json!({ "ksql": text })),
            ("/query-stream", json!({ "sql": text, "properties": earliest() })),
            ("/query", json!({ "ksql": text })),
        ] {
            let begin = clock.monotonic();
            let (status, answer) = server.post(path, &body);
            let took = clock.monotonic() - begin;
            assert!((400..500).contains(&status), "{name} to {path}: {status} {answer}");
            // 413 is the connection's own answer to a body that is too long for every endpoint.
            assert!(status == 413 || answer["message"].is_string(), "{name} to {path}: {answer}");
            assert!(took < 2 * BOMB_MAX && took < PATIENCE, "{name} to {path}: {took:?}");
        }
    }
    let (_, many) = server.post("/ksql", &json!({ "ksql": "SHOW STREAMS; ".repeat(1_001) }));
    assert!(many["message"].as_str().unwrap().contains("at most 1000"), "{many}");
    assert_eq!(server.get("/healthcheck").0, 200);
}
