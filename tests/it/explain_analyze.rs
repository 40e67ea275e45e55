//! EXPLAIN ANALYZE: the query is run, and its plan comes with what each node did; its rights and limits are those of the query.

use crate::http::Server;
use serde_json::Value;

const ROWS: usize = 300;

fn server() -> Server {
    let server = Server::start();
    server.ksql("CREATE STREAM r (car STRING KEY, n INT) WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON', PARTITIONS=2);");
    let inserts: String = (0..ROWS).map(|n| format!("INSERT INTO r VALUES ('car-{}', {n});", n % 7)).collect();
    server.ksql(&inserts);
    server
}

/// The lines of the plan.
fn analyzed(server: &Server, sql: &str) -> Vec<String> {
    let (status, text) = server.query(&format!("EXPLAIN ANALYZE {sql}"));
    assert_eq!(status, 200, "{text}");
    let mut lines = text.lines();
    let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header["columnNames"], serde_json::json!(["PLAN"]));
    let cell = |line: &str| match serde_json::from_str(line).unwrap() {
        Value::Array(cells) => cells[0].as_str().unwrap().to_owned(),
        other => panic!("{other}"),
    };
    lines.filter(|line| line.starts_with('[')).map(cell).collect()
}

/// The line of the node that begins so.
fn line<'l>(lines: &'l [String], node: &str) -> &'l str {
    let found = lines.iter().find(|line| line.trim_start_matches([' ', '└', '├', '│', '─']).starts_with(node));
    found.unwrap_or_else(|| panic!("no {node} in {lines:#?}"))
}

#[test]
fn every_node_says_how_many_rows_it_passed_on() {
    let server = server();
    let sql = "SELECT car, COUNT(*) AS c FROM r WHERE n >= 100 GROUP BY car ORDER BY c DESC, car LIMIT 3;";
    let lines = analyzed(&server, sql);
    let scan = line(&lines, "Scan: stream R (topic r, 2 partitions");
    assert!(scan.contains("[300 rows, 300 records, ") && scan.ends_with(" ms]"), "{scan}");
    assert!(line(&lines, "Keep: WHERE (N >= 100)").contains("[200 rows, "), "{lines:#?}");
    assert!(line(&lines, "Aggregate: COUNT(*) by CAR").contains("[7 rows, "), "{lines:#?}");
    assert!(line(&lines, "Sort: COUNT(*) DESC, CAR, first 3").contains("[3 rows, "), "{lines:#?}");
    let last = lines.last().unwrap();
    assert!(last.starts_with("3 rows in ") && last.contains(", 300 records read, "), "{last}");
    // Records that the bounds rule out are not read.
    let lines = analyzed(&server, "SELECT n FROM r WHERE ROWPARTITION = 1;");
    let scan = line(&lines, "Scan: ");
    let last = lines.last().unwrap();
    assert!(scan.contains("only ROWPARTITION = 1") && last.contains(" of 300 records read"), "{lines:#?}");
    // LIMIT of a plain SELECT ends the query.
    assert!(analyzed(&server, "SELECT n FROM r LIMIT 5;").last().unwrap().starts_with("5 rows in "));
    let joined = analyzed(&server, "SELECT a.n FROM r a JOIN r b WITHIN 1 HOUR ON a.car = b.car;");
    let join = line(&joined, "Join: INNER, within");
    assert!(join.contains(" rows, 600 records, "), "{joined:#?}");
    assert_eq!(joined.iter().filter(|line| line.contains("Scan: stream R")).count(), 2, "{joined:#?}");
}

#[test]
fn a_lookup_is_run_as_such_and_other_statements_are_refused() {
    let server = server();
    server.ksql("CREATE TABLE t AS SELECT car, COUNT(*) AS c FROM r GROUP BY car;");
    let lines = analyzed(&server, "SELECT * FROM t WHERE car = 'car-1';");
    assert!(lines.len() == 1 && lines[0].starts_with("Pull: ") && lines[0].contains("  [1 row, "), "{lines:?}");
    // The plan that is kept of it is that of the query.
    let (_, rows) = server.query("SELECT * FROM t WHERE car = 'car-1';");
    assert!(rows.contains("car-1") && !rows.contains("Pull"), "{rows}");
    for sql in ["EXPLAIN ANALYZE SELECT n FROM r EMIT CHANGES;", "EXPLAIN ANALYZE SHOW STREAMS;"] {
        let (status, said) = server.query(sql);
        assert!(status == 400 && said.contains("EXPLAIN ANALYZE takes a query without EMIT"), "{sql}: {said}");
    }
    let (status, said) = server.query("EXPLAIN ANALYZE SELECT nope FROM r;");
    assert!(status == 400 && said.contains("NOPE"), "{said}");
}

#[test]
fn it_ends_with_the_time_of_a_query() {
    let server = Server::at(&["--temp", "--set", "tidegate.batch.timeout.ms=300"]);
    let sql = "EXPLAIN ANALYZE SELECT COUNT(*) AS c FROM generate_series(1, 100000) a(x), generate_series(1, 100000) b(y) WHERE x * y < 0;";
    let (_, said) = server.query(sql);
    assert!(said.contains("the query ran longer than 300 ms"), "{said}");
}

/// Rows with a NULL meet those that are equal beside it by hash: no node has as many rows as there are pairs.
#[test]
fn a_row_that_is_sought_in_a_query_with_nulls_is_not_compared_with_each() {
    let server = Server::start();
    for (name, row) in [("l", "({n}, NULL)"), ("r", "(NULL, {n})")] {
        let columns = "(a INT, b INT) WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);";
        server.ksql(&format!("CREATE STREAM {name} {}", columns.replace("{name}", name)));
        let rows: String =
            (0..ROWS).map(|n| format!("INSERT INTO {name} VALUES {};", row.replace("{n}", &n.to_string()))).collect();
        server.ksql(&rows);
    }
    let sql = "SELECT a FROM l WHERE (a, b) NOT IN (SELECT a, b FROM r);";
    let lines = analyzed(&server, sql);
    let rows = |line: &String| -> Option<usize> {
        let (_, facts) = line.rsplit_once('[')?;
        facts.split(' ').next()?.replace(',', "").parse().ok()
    };
    let most = lines.iter().filter_map(rows).max().unwrap();
    assert!((4 * ROWS..8 * ROWS).contains(&most), "{lines:#?}");
    // Each may be equal to one that is listed.
    let (_, kept) = server.query(sql);
    assert_eq!(kept.lines().filter(|line| line.starts_with('[')).count(), 0, "{kept}");
}
