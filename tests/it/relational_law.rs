//! Joins and subqueries over history, on random rows with NULLs: against nested loops, and against each other where SQL says that
//! two forms mean the same (IN, EXISTS and a semi join; a cross join with WHERE and an inner join with ON; WITH and a query in
//! FROM).

use crate::batches::Dice;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet};
use tidegate::types::clock::{ManualClock, SharedClock};
use tidegate::types::display::write_value;

/// Tables of random rows.
const SEEDS: u64 = 12;

/// A row of both streams: a number and a letter, either of them perhaps NULL.
type Row = (Option<i64>, Option<&'static str>);

struct World {
    engine: Engine,
    left: Vec<Row>,
    right: Vec<Row>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice(seed ^ 0x4E57);
        let clock: SharedClock = ManualClock::at(0);
        let log = SimulatedLog::new(1, clock.clone());
        let engine = Engine::over(log.clone(), Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
        let mut fill = |name: &str| -> Vec<Row> {
            let create = format!(
                "CREATE STREAM {name} (n INT, w STRING) WITH (kafka_topic='{name}', partitions=1, value_format='JSON');"
            );
            engine.run(&create, &mut Session::default()).unwrap();
            let mut row = || -> Row {
                let number = (!dice.one_in(5)).then(|| dice.below(4));
                (number, (!dice.one_in(5)).then(|| ["a", "b", "c"][dice.below(3) as usize]))
            };
            let rows: Vec<Row> = (0..dice_rows(seed, name)).map(|_| row()).collect();
            let mut set = RecordSet::default();
            for (time, (n, w)) in rows.iter().enumerate() {
                let value = serde_json::json!({ "N": n, "W": w }).to_string();
                set.push(0, time as i64, None, Some(value.as_bytes()));
            }
            log.append(name, &set).unwrap();
            rows
        };
        let (left, right) = (fill("l"), fill("r"));
        World { engine, left, right }
    }

    /// The rows of a query, sorted.
    fn rows(&self, sql: &str) -> Vec<String> {
        let mut answers =
            self.engine.run(&format!("{sql};"), &mut Session::default()).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
        let Some(Answer::Rows(mut stream)) = answers.pop() else { panic!("{sql}: no rows") };
        let mut rows = Vec::new();
        loop {
            match stream.next(Duration::from_secs(10)).unwrap_or_else(|e| panic!("{sql}\n{e:?}")) {
                RowEvent::Rows { columns, .. } => {
                    let count = columns.first().map_or(0, |c| c.len());
                    for row in 0..count {
                        let mut text = String::new();
                        for column in &columns {
                            write_value(column, row, &mut text);
                            text.push('|');
                        }
                        rows.push(text);
                    }
                }
                RowEvent::Idle => {}
                RowEvent::Done(_) => break,
            }
        }
        rows.sort();
        rows
    }

    fn same(&self, forms: &[&str]) {
        let first = self.rows(forms[0]);
        for form in &forms[1..] {
            assert_eq!(self.rows(form), first, "{form}\nis not\n{}", forms[0]);
        }
    }
}

/// Now and then a stream is empty.
fn dice_rows(seed: u64, name: &str) -> u64 {
    match (seed % 6, name) {
        (4, "r") | (5, "l") => 0,
        (n, "l") => 6 + n,
        (n, _) => 3 + n,
    }
}

fn shown(number: Option<i64>) -> String {
    number.map_or("null".to_owned(), |n| n.to_string())
}

fn text(letter: Option<&str>) -> String {
    letter.unwrap_or("null").to_owned()
}

fn sorted(rows: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().collect();
    rows.sort();
    rows
}

fn each_world(check: impl Fn(&World)) {
    (0..SEEDS).for_each(|seed| check(&World::new(seed)));
}

/// `l KIND JOIN r ON l.w = r.w AND l.n <= r.n`, by loops.
fn joined(world: &World, keep_left: bool, keep_right: bool) -> Vec<String> {
    let meets = |l: &Row, r: &Row| l.1.is_some() && l.1 == r.1 && l.0.zip(r.0).is_some_and(|(a, b)| a <= b);
    let mut rows = Vec::new();
    for l in &world.left {
        let met: Vec<&Row> = world.right.iter().filter(|r| meets(l, r)).collect();
        rows.extend(met.iter().map(|r| format!("{}|{}|{}|", shown(l.0), text(l.1), shown(r.0))));
        if met.is_empty() && keep_left {
            rows.push(format!("{}|{}|null|", shown(l.0), text(l.1)));
        }
    }
    for r in &world.right {
        if keep_right && !world.left.iter().any(|l| meets(l, r)) {
            rows.push(format!("null|null|{}|", shown(r.0)));
        }
    }
    sorted(rows)
}

#[test]
pub(crate) fn joins_on_several_conditions_are_those_of_nested_loops() {
    each_world(|world| {
        let kinds = [("", false, false), ("LEFT", true, false), ("RIGHT", false, true), ("FULL", true, true)];
        for (kind, left, right) in kinds {
            let expected = joined(world, left, right);
            let on = "ON l.w = r.w AND l.n <= r.n";
            for sql in [
                format!("SELECT l.n, l.w, r.n FROM l {kind} JOIN r {on}"),
                format!("SELECT l.n, l.w, r.n FROM l {kind} JOIN r {on} ORDER BY l.n"),
                format!("SELECT l.n, l.w, r.n FROM (SELECT * FROM l) AS l {kind} JOIN (SELECT * FROM r) r {on}"),
                format!("WITH x AS (SELECT * FROM r) SELECT l.n, l.w, r.n FROM l {kind} JOIN x AS r {on}"),
                format!("SELECT * FROM (SELECT l.n AS a, l.w AS b, r.n AS c FROM l {kind} JOIN r {on}) AS d"),
                format!("SELECT l.n, l.w, r.n FROM l {kind} JOIN r {on} UNION ALL SELECT n, w, n FROM l WHERE FALSE"),
            ] {
                assert_eq!(world.rows(&sql), expected, "{sql}");
            }
        }
    });
}

#[test]
fn a_cross_join_with_a_condition_is_an_inner_join() {
    each_world(|world| {
        for condition in
            ["l.w = r.w", "l.n < r.n", "l.w = r.w AND l.n + 1 = r.n", "l.n = r.n OR l.w = r.w", "NOT (l.n = r.n)"]
        {
            let columns = "l.n, l.w, r.n, r.w";
            world.same(&[
                &format!("SELECT {columns} FROM l JOIN r ON {condition}"),
                &format!("SELECT {columns} FROM l, r WHERE {condition}"),
                &format!("SELECT {columns} FROM l CROSS JOIN r WHERE {condition}"),
                &format!("SELECT {columns} FROM r JOIN l ON {condition}"),
                &format!("SELECT a, b, c, d FROM (SELECT l.n AS a, l.w AS b, r.n AS c, r.w AS d FROM l, r WHERE {condition}) AS x"),
                &format!("SELECT l.n, l.w, x.n, x.w FROM l, LATERAL (SELECT * FROM r WHERE {condition}) AS x"),
            ]);
        }
        world.same(&["SELECT w, l.n, r.n FROM l JOIN r USING (w)", "SELECT l.w, l.n, r.n FROM l JOIN r ON l.w = r.w"]);
        world.same(&["SELECT n, w FROM l NATURAL JOIN r", "SELECT l.n, l.w FROM l JOIN r ON l.n = r.n AND l.w = r.w"]);
        world.same(&[
            "SELECT n FROM l FULL JOIN r USING (n)",
            "SELECT COALESCE(l.n, r.n) FROM l FULL JOIN r ON l.n = r.n",
        ]);
        world.same(&[
            "SELECT a.n, b.n FROM l a JOIN l b ON a.w = b.w",
            "WITH x AS (SELECT * FROM l) SELECT l.n, x.n FROM l JOIN x ON l.w = x.w",
        ]);
    });
}

#[test]
fn in_exists_and_a_semi_join_are_one() {
    each_world(|world| {
        world.same(&[
            "SELECT n, w FROM l WHERE w IN (SELECT w FROM r)",
            "SELECT n, w FROM l WHERE EXISTS (SELECT * FROM r WHERE r.w = l.w)",
            "SELECT n, w FROM l WHERE w = ANY(SELECT w FROM r)",
            "SELECT l.n, l.w FROM l JOIN (SELECT DISTINCT w FROM r) x ON l.w = x.w",
            "SELECT n, w FROM l WHERE 0 < (SELECT COUNT(*) FROM r WHERE r.w = l.w)",
            "SELECT a.n, a.w FROM l a WHERE (SELECT COUNT(*) FROM r WHERE r.w = a.w) <> 0 ORDER BY (SELECT MAX(n) FROM r)",
        ]);
        world.same(&[
            "SELECT n, w FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.w = l.w AND r.n >= l.n)",
            "SELECT l.n, l.w FROM l LEFT JOIN (SELECT n, w, TRUE AS met FROM r) x ON l.w = x.w AND x.n >= l.n WHERE x.met IS NULL",
            "SELECT n, w FROM l WHERE 0 = (SELECT COUNT(*) FROM r WHERE l.w = w AND r.n >= l.n)",
        ]);
    });
}

/// What `value IN (list)` is in SQL.
fn is_in(value: Option<i64>, list: &[Option<i64>]) -> Option<bool> {
    match value {
        _ if list.is_empty() => Some(false),
        None => None,
        Some(value) if list.contains(&Some(value)) => Some(true),
        Some(_) if list.contains(&None) => None,
        Some(_) => Some(false),
    }
}

#[test]
pub(crate) fn in_knows_three_values() {
    each_world(|world| {
        let list: Vec<Option<i64>> = world.right.iter().map(|r| r.0).collect();
        let of = |l: &Row| {
            let same: Vec<Option<i64>> =
                world.right.iter().filter(|r| r.1.is_some() && r.1 == l.1).map(|r| r.0).collect();
            is_in(l.0, &same)
        };
        let said = |value: Option<bool>| value.map_or("null", |b| if b { "true" } else { "false" }).to_owned();
        let plain = world.left.iter().map(|l| format!("{}|{}|", shown(l.0), said(is_in(l.0, &list))));
        assert_eq!(world.rows("SELECT n, n IN (SELECT n FROM r) FROM l"), sorted(plain));
        let negated = world.left.iter().map(|l| format!("{}|{}|", shown(l.0), said(of(l).map(|b| !b))));
        assert_eq!(world.rows("SELECT n, n NOT IN (SELECT n FROM r WHERE r.w = l.w) FROM l"), sorted(negated));
        let kept = world.left.iter().filter(|l| is_in(l.0, &list) == Some(false)).map(|l| format!("{}|", shown(l.0)));
        assert_eq!(world.rows("SELECT n FROM l WHERE n NOT IN (SELECT n FROM r)"), sorted(kept));
        let kept = world.left.iter().filter(|l| of(l) == Some(true)).map(|l| format!("{}|", shown(l.0)));
        assert_eq!(world.rows("SELECT n FROM l WHERE n IN (SELECT r.n FROM r WHERE r.w = l.w)"), sorted(kept));
    });
}

/// What `row IN (list)` is in SQL: of a pair that differs somewhere it is known that it is not equal, whatever is NULL beside it.
fn row_is_in(row: &Row, list: &[&Row]) -> Option<bool> {
    let equal = |r: &Row| match (row.0.zip(r.0).map(|(a, b)| a == b), row.1.zip(r.1).map(|(a, b)| a == b)) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let equal: Vec<Option<bool>> = list.iter().map(|r| equal(r)).collect();
    if equal.contains(&Some(true)) {
        return Some(true);
    }
    if equal.contains(&None) { None } else { Some(false) }
}

/// Comparisons of rows as they are written out: with NULL nothing is less, equal or different.
fn row_compares(op: &str, l: &Row, r: &Row) -> bool {
    let (equal, less) = (l.0.is_some() && l.0 == r.0, l.0.zip(r.0).is_some_and(|(a, b)| a < b));
    let more = l.0.zip(r.0).is_some_and(|(a, b)| a > b);
    let last = |holds: fn(&str, &str) -> bool| l.1.zip(r.1).is_some_and(|(a, b)| holds(a, b));
    match op {
        "=" => equal && last(|a, b| a == b),
        "<>" => less || more || last(|a, b| a != b),
        "<" => less || equal && last(|a, b| a < b),
        "<=" => less || equal && last(|a, b| a <= b),
        ">" => more || equal && last(|a, b| a > b),
        _ => more || equal && last(|a, b| a >= b),
    }
}

#[test]
pub(crate) fn rows_of_values_in_a_query_know_three_values() {
    let said = |value: Option<bool>| value.map_or("null", |b| if b { "true" } else { "false" }).to_owned();
    let line = |l: &Row, value: String| format!("{}|{}|{value}|", shown(l.0), text(l.1));
    each_world(|world| {
        let all: Vec<&Row> = world.right.iter().collect();
        let near = |l: &Row| -> Vec<&Row> {
            let meets = |r: &Row| l.1.is_some() && l.1 == r.1 || l.0.is_some() && l.0 == r.0;
            world.right.iter().filter(|r| meets(r)).collect()
        };
        let expected =
            |value: &dyn Fn(&Row) -> Option<bool>| sorted(world.left.iter().map(|l| line(l, said(value(l)))));
        let not = |value: Option<bool>| value.map(|b| !b);
        for form in ["(n, w) IN (SELECT n, w FROM r)", "(n, w) = ANY (SELECT n, w FROM r)"] {
            assert_eq!(world.rows(&format!("SELECT n, w, {form} FROM l")), expected(&|l| row_is_in(l, &all)), "{form}");
        }
        let correlated = "(SELECT n, w FROM r WHERE r.w = l.w OR r.n = l.n)";
        // Rows of which every set of places may be open, and longer ones.
        let long = "(n, 1, w, 2, w) NOT IN (SELECT n, 1, w, 2, w FROM r WHERE r.w = l.w OR r.n = l.n)".to_owned();
        for form in [format!("(n, w) NOT IN {correlated}"), format!("(n, w) <> ALL {correlated}"), long] {
            let rows = world.rows(&format!("SELECT n, w, {form} FROM l"));
            assert_eq!(rows, expected(&|l| not(row_is_in(l, &near(l)))), "{form}");
        }
        let absent = |l: &&Row| row_is_in(l, &all) == Some(false);
        let kept = world.left.iter().filter(absent).map(|l| format!("{}|{}|", shown(l.0), text(l.1)));
        assert_eq!(world.rows("SELECT n, w FROM l WHERE (n, w) NOT IN (SELECT n, w FROM r)"), sorted(kept));
        for op in ["=", "<>", "<", "<=", ">", ">="] {
            let any = |l: &Row| Some(all.iter().any(|r| row_compares(op, l, r)));
            let every = |l: &Row| Some(near(l).iter().all(|r| row_compares(op, l, r)));
            if op != "=" {
                let sql = format!("SELECT n, w, (n, w) {op} ANY (SELECT n, w FROM r) FROM l");
                assert_eq!(world.rows(&sql), expected(&any), "{sql}");
            }
            if op != "<>" {
                let sql = format!("SELECT n, w, (n, w) {op} ALL {correlated} FROM l");
                assert_eq!(world.rows(&sql), expected(&every), "{sql}");
            }
        }
    });
}

/// A comment that makes batches of 16 rows of a query.
const PADDING: usize = 1 << 20;

#[test]
fn lag_and_row_number_are_what_datafusion_computes_row_by_row() {
    let world = World::new(0);
    let padding = "x".repeat(PADDING);
    // Partitions of one row and of hundreds, one of them NULL, and values that are NULL.
    let key = "CASE WHEN y % 5 = 0 THEN y ELSE CASE WHEN y % 7 > 0 THEN y % 7 END END";
    let rows = format!(
        "(SELECT y, {key} AS k, CASE WHEN y % 4 > 0 THEN y % 10 END AS v FROM generate_series(1, 700) AS g(y)) AS q"
    );
    for over in ["PARTITION BY k ORDER BY v, y", "PARTITION BY k, v ORDER BY y DESC", "ORDER BY v DESC, y"] {
        // A default is DataFusion's own operator's.
        for (value, back, of) in [("v", 1, "BIGINT"), ("v", 3, "BIGINT"), ("CAST(v AS STRING)", 20, "STRING")] {
            let form = |rest: &str, comment: &str| {
                format!("SELECT y, LAG({value}, {back}{rest}) OVER ({over}) AS l FROM {rows} /*{comment}*/")
            };
            let theirs = format!(", CAST(NULL AS {of})");
            world.same(&[&form(&theirs, ""), &form("", ""), &form("", &padding)]);
        }
        let counted = format!("SELECT y, COUNT(*) OVER ({over} ROWS UNBOUNDED PRECEDING) AS n FROM {rows}");
        let numbered = |comment: &str| format!("SELECT y, ROW_NUMBER() OVER ({over}) AS n FROM {rows} /*{comment}*/");
        world.same(&[&counted, &numbered(""), &numbered(&padding)]);
    }
    let explain = format!("EXPLAIN SELECT LAG(v) OVER (PARTITION BY k ORDER BY y) AS before FROM {rows};");
    let plan = format!("{:?}", world.engine.run(&explain, &mut Session::default()).unwrap());
    assert!(plan.contains("Window: LAG(V) OVER (PARTITION BY K)"), "{plan}");
}

#[test]
fn equal_rows_are_counted_by_intersect_all_and_except_all() {
    each_world(|world| {
        let mut counts: std::collections::BTreeMap<Row, (usize, usize)> = std::collections::BTreeMap::new();
        world.left.iter().for_each(|row| counts.entry(*row).or_default().0 += 1);
        world.right.iter().for_each(|row| counts.entry(*row).or_default().1 += 1);
        let repeated = |times: &dyn Fn(usize, usize) -> usize| {
            let line = |(row, (l, r)): (&Row, &(usize, usize))| {
                vec![format!("{}|{}|", shown(row.0), text(row.1)); times(*l, *r)]
            };
            sorted(counts.iter().flat_map(line))
        };
        let both = "SELECT n, w FROM l INTERSECT ALL SELECT n, w FROM r";
        assert_eq!(world.rows(both), repeated(&|l, r| l.min(r)));
        let rest = "SELECT n, w FROM l EXCEPT ALL SELECT n, w FROM r";
        assert_eq!(world.rows(rest), repeated(&|l, r| l.saturating_sub(r)));
    });
}

#[test]
fn a_correlated_value_is_that_of_its_row() {
    each_world(|world| {
        let value = |l: &Row, all: &dyn Fn(Vec<Option<i64>>) -> String| {
            all(world.right.iter().filter(|r| r.1.is_some() && r.1 == l.1).map(|r| r.0).collect())
        };
        let count = |rows: Vec<Option<i64>>| rows.len().to_string();
        let most = |rows: Vec<Option<i64>>| shown(rows.into_iter().flatten().max());
        let expected = |all: &dyn Fn(Vec<Option<i64>>) -> String| {
            sorted(world.left.iter().map(|l| format!("{}|{}|", shown(l.0), value(l, all))))
        };
        for sql in [
            "SELECT n, (SELECT COUNT(*) FROM r WHERE r.w = l.w) FROM l",
            "SELECT a.n, (SELECT COUNT(*) FROM r WHERE w = a.w) FROM l a ORDER BY a.n",
            "SELECT n, x.c FROM l, LATERAL (SELECT COUNT(*) AS c FROM r WHERE r.w = l.w) AS x",
            "WITH x AS (SELECT n, w FROM l) SELECT n, (SELECT COUNT(*) FROM r WHERE r.w = x.w) FROM x",
        ] {
            assert_eq!(world.rows(sql), expected(&count), "{sql}");
        }
        for sql in [
            "SELECT n, (SELECT MAX(n) FROM r WHERE r.w = l.w) FROM l",
            "SELECT n, (SELECT n FROM r WHERE r.w = l.w AND n IS NOT NULL ORDER BY n DESC LIMIT 1) FROM l",
            "SELECT n, (SELECT MAX(x.n) FROM (SELECT * FROM r) x WHERE x.w = l.w GROUP BY x.w) FROM l",
            "SELECT n, (SELECT MAX(n) FROM (SELECT n FROM r WHERE r.w = l.w) x) FROM l",
            "SELECT n, (SELECT x.n FROM (SELECT n, ROW_NUMBER() OVER (ORDER BY n DESC) AS p FROM r WHERE r.w = l.w AND n IS NOT NULL) x WHERE p = 1) FROM l",
            "SELECT l.n, x.n FROM l LEFT JOIN LATERAL (SELECT n FROM r WHERE r.w = l.w AND n IS NOT NULL ORDER BY n DESC LIMIT 1) x ON TRUE",
        ] {
            assert_eq!(world.rows(sql), expected(&most), "{sql}");
        }
    });
}
