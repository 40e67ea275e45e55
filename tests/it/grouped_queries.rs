//! Laws of aggregates and window functions over history, on random queries: what stands around a query changes none of its
//! rows, and each extension of GROUP BY, OVER and FILTER is the plain query that it abbreviates.
//!
//! `TIDEGATE_LAW_SEEDS=n` sets another number of cases.

use crate::batches::Dice;
use arrow::array::ArrayRef;
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet};
use tidegate::types::clock::{ManualClock, SharedClock};
use tidegate::types::display::write_value;

/// Cases of each law in an ordinary run, one a seed: one is up to thirty queries.
const CASES: u64 = 24;
/// Rows of the stream that is queried.
const ROWS: i64 = 40;

type Rows = Vec<Vec<String>>;

struct History(Engine);

impl History {
    fn new(seed: u64) -> History {
        let mut dice = Dice(seed ^ 0x6E0);
        let clock: SharedClock = ManualClock::at(0);
        let log = SimulatedLog::new(1, clock.clone());
        let engine = Engine::over(log.clone(), Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
        let create = "CREATE STREAM s (k STRING KEY, w STRING, n INT, b BIGINT, a ARRAY<INT>) \
                      WITH (kafka_topic='s', partitions=2, value_format='JSON');";
        engine.run(create, &mut Session::default()).unwrap();
        let mut set = RecordSet::default();
        let mut time = 0;
        for _ in 0..ROWS {
            time += dice.below(4_000);
            let key = ["a", "b", "c", "d"][dice.below(4) as usize];
            let number = |dice: &mut Dice| match dice.one_in(5) {
                true => "null".to_owned(),
                false => (dice.below(7) - 2).to_string(),
            };
            let word = ["\"x\"", "\"y\"", "\"zz\"", "null"][dice.below(4) as usize];
            let list: Vec<String> = (0..dice.below(3)).map(|_| number(&mut dice)).collect();
            let (n, b) = (number(&mut dice), number(&mut dice));
            let value = format!("{{\"W\":{word},\"N\":{n},\"B\":{b},\"A\":[{}]}}", list.join(","));
            set.push(dice.below(2) as i32, time, Some(key.as_bytes()), Some(value.as_bytes()));
        }
        log.append("s", &set).unwrap();
        History(engine)
    }

    fn rows(&self, sql: &str) -> Rows {
        let run = || -> Result<Rows, String> {
            let answers = self.0.run(&format!("{sql};"), &mut Session::default());
            let Some(Answer::Rows(mut stream)) = answers.map_err(|e| format!("{e:?}"))?.pop() else {
                return Err("no rows".to_owned());
            };
            let mut rows = Vec::new();
            loop {
                match stream.next(Duration::from_secs(20)).map_err(|e| format!("{e:?}"))? {
                    RowEvent::Rows { columns, .. } => rows.extend(cells(&columns)),
                    RowEvent::Idle => {}
                    RowEvent::Done(_) => return Ok(rows),
                }
            }
        };
        run().unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    fn sorted(&self, sql: &str) -> Rows {
        let mut rows = self.rows(sql);
        rows.sort();
        rows
    }

    fn agree(&self, one: &str, other: &str) {
        assert_eq!(self.sorted(one), self.sorted(other), "\n{one}\n{other}");
    }

    /// What stands around the query changes none of its rows.
    fn same_inside_of_others(&self, sql: &str) {
        let rows = self.sorted(sql);
        let empty = format!("SELECT * FROM ({sql}) AS e WHERE 1 = 0");
        for whole in [
            format!("{sql} ORDER BY 1"),
            format!("SELECT * FROM ({sql}) AS q"),
            format!("WITH q AS ({sql}) SELECT * FROM q OFFSET 0"),
            format!("{sql} UNION ALL {empty}"),
            format!("{empty} UNION ALL ({sql})"),
        ] {
            assert_eq!(rows, self.sorted(&whole), "\n{sql}\n{whole}");
        }
    }
}

fn cells(columns: &[ArrayRef]) -> Rows {
    let rows = columns.first().map_or(0, |c| c.len());
    let cell = |column: &ArrayRef, row| {
        let mut text = String::new();
        write_value(column, row, &mut text);
        text
    };
    (0..rows).map(|row| columns.iter().map(|c| cell(c, row)).collect()).collect()
}

/// Writes parts of queries.
struct Writer(Dice);

impl Writer {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.below(of.len() as i64) as usize]
    }

    /// A number; some of them cannot be computed in some rows.
    fn number(&mut self) -> String {
        match self.0.below(8) {
            0 => "n + b".to_owned(),
            1 => "12 / n".to_owned(),
            2 => "LEN(w)".to_owned(),
            3 => "CASE WHEN n > b THEN n ELSE 0 END".to_owned(),
            4 => "REDUCE(a, 0, (s, x) => s + x)".to_owned(),
            5 => "b * 2".to_owned(),
            _ => self.pick(&["n", "b"]).to_owned(),
        }
    }

    fn condition(&mut self) -> String {
        let number = self.number();
        match self.0.below(5) {
            0 => format!("NOT ({number} > 1)"),
            1 => "w IS NULL".to_owned(),
            2 => "w = 'x' OR n > 2".to_owned(),
            3 => "10 / b > 2".to_owned(),
            _ => format!("{number} < {}", self.0.below(4)),
        }
    }

    /// A key of a group that is never NULL for a reason of the row alone.
    fn key(&mut self) -> &'static str {
        self.pick(&["k", "w", "n", "UCASE(w)", "n / 2", "SUBSTRING(k, 1, 1)", "b + n", "LEN(w)"])
    }

    /// Two different keys.
    fn keys(&mut self) -> [&'static str; 2] {
        loop {
            let keys = [self.key(), self.key()];
            if keys[0] != keys[1] {
                return keys;
            }
        }
    }

    /// An aggregate that NULLs change nothing of, with what stands between its name and its argument.
    fn aggregate(&mut self) -> &'static str {
        self.pick(&[
            "COUNT",
            "SUM",
            "MIN",
            "MAX",
            "AVG",
            "MEDIAN",
            "STDDEV",
            "VAR_POP",
            "BIT_OR",
            "APPROX_DISTINCT",
            "COUNT_DISTINCT",
            "LATEST_BY_OFFSET",
            "STDDEV_SAMPLE",
        ])
    }

    /// A number that the aggregate takes.
    fn argument(&mut self, aggregate: &str) -> String {
        let number = self.number();
        if aggregate == "STDDEV_SAMPLE" { format!("CAST({number} AS DOUBLE)") } else { number }
    }

    fn call(&mut self) -> String {
        let aggregate = self.aggregate();
        let argument = self.argument(aggregate);
        match self.0.below(6) {
            0 => "COUNT(*)".to_owned(),
            1 => format!("{aggregate}({argument}) FILTER (WHERE {})", self.condition()),
            2 => format!("COUNT(DISTINCT {argument})"),
            3 => format!("COLLECT_LIST({argument} ORDER BY k, ROWTIME, ROWPARTITION, ROWOFFSET)"),
            _ => format!("{aggregate}({argument})"),
        }
    }

    fn over(&mut self) -> String {
        let order = "ROWTIME, ROWPARTITION, ROWOFFSET";
        let argument = self.number();
        let partition = self.pick(&["", "PARTITION BY k ", "PARTITION BY w ", "PARTITION BY n, k "]);
        let frame = self.pick(&[
            "",
            " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            " ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING",
        ]);
        let function = match self.0.below(7) {
            0 => "ROW_NUMBER()".to_owned(),
            1 => format!("LAG({argument}, 2)"),
            2 => format!("FIRST_VALUE({argument})"),
            3 => format!("COUNT(*) FILTER (WHERE {})", self.condition()),
            _ => {
                let aggregate = self.aggregate();
                format!("{aggregate}({})", self.argument(aggregate))
            }
        };
        format!("{function} OVER ({partition}ORDER BY {order}{frame})")
    }
}

fn cases(law: impl Fn(&History, &mut Writer)) {
    let all = tidegate::config::environment("TIDEGATE_LAW_SEEDS").map_or(CASES, |n| n.parse().unwrap());
    let histories = [History::new(1), History::new(2)];
    for seed in 0..all {
        law(&histories[(seed % 2) as usize], &mut Writer(Dice(seed)));
    }
}

#[test]
fn what_stands_around_groups_and_windows_changes_nothing() {
    cases(|history, writer| {
        let [a, b] = writer.keys();
        let (calls, condition) = ([writer.call(), writer.call()], writer.condition());
        let group = match writer.0.below(4) {
            0 => format!("ROLLUP({a}, {b})"),
            1 => format!("GROUPING SETS (({a}), ({b}, {a}), ())"),
            _ => format!("{a}, {b}"),
        };
        let grouped = format!("SELECT {a} AS p, {b} AS q, {} AS r, {} AS t", calls[0], calls[1]);
        history.same_inside_of_others(&format!("{grouped} FROM s WHERE {condition} GROUP BY {group}"));
        history.same_inside_of_others(&format!("SELECT {} AS r, {} AS t FROM s", calls[0], calls[1]));
        let over = [writer.over(), writer.over()];
        let windows = format!("SELECT k, {} AS r, {} AS t FROM s WHERE {condition}", over[0], over[1]);
        history.same_inside_of_others(&windows);
        let window = writer.pick(&[
            "TUMBLING (SIZE 10 SECONDS)",
            "HOPPING (SIZE 20 SECONDS, ADVANCE BY 10 SECONDS)",
            "SESSION (3 SECONDS)",
        ]);
        let times =
            format!("SELECT {a} AS p, windowstart AS st, {} AS r FROM s WINDOW {window} GROUP BY {a}", calls[0]);
        history.same_inside_of_others(&times);
        let best = "QUALIFY RANK() OVER (PARTITION BY windowstart ORDER BY COUNT(*) DESC) = 1";
        history.same_inside_of_others(&format!("{times} {best}"));
    });
}

#[test]
pub(crate) fn filter_is_a_case_in_the_argument() {
    cases(|history, writer| {
        let (key, aggregate, condition) = (writer.key(), writer.aggregate(), writer.condition());
        let argument = writer.argument(aggregate);
        history.agree(
            &format!(
                "SELECT {key} AS g, {aggregate}({argument}) FILTER (WHERE {condition}) AS r FROM s GROUP BY {key}"
            ),
            &format!(
                "SELECT {key} AS g, {aggregate}(CASE WHEN {condition} THEN {argument} END) AS r FROM s GROUP BY {key}"
            ),
        );
    });
}

#[test]
pub(crate) fn distinct_in_an_aggregate_is_a_query_of_distinct_rows_below_it() {
    cases(|history, writer| {
        let (key, argument) = (writer.key(), writer.number());
        let aggregate = writer.pick(&["COUNT", "SUM", "MAX", "AVG", "MEDIAN", "ARRAY_AGG", "COLLECT_LIST"]);
        let sorted = aggregate.starts_with('A') && aggregate.len() > 3 || aggregate == "COLLECT_LIST";
        let order = |column: &str| if sorted { format!(" ORDER BY {column}") } else { String::new() };
        let (inside, outside) = (order(&argument), order("v"));
        history.agree(
            &format!("SELECT {key} AS g, {aggregate}(DISTINCT {argument}{inside}) AS r FROM s GROUP BY {key}"),
            &format!(
                "SELECT g, {aggregate}(v{outside}) AS r FROM (SELECT DISTINCT {key} AS g, {argument} AS v FROM s) AS q GROUP BY g"
            ),
        );
    });
}

#[test]
pub(crate) fn grouping_sets_are_groupings_one_below_the_other() {
    cases(|history, writer| {
        let ([a, b], call, condition) = (writer.keys(), writer.call(), writer.condition());
        let null = |key: &str| match key {
            "k" | "w" | "UCASE(w)" | "SUBSTRING(k, 1, 1)" => "CAST(NULL AS STRING)",
            "b + n" => "CAST(NULL AS BIGINT)",
            _ => "CAST(NULL AS INT)",
        };
        let one = |p: bool, q: bool, mask: u8| {
            let (x, y) = (if p { a } else { null(a) }, if q { b } else { null(b) });
            let by: Vec<&str> = [(p, a), (q, b)].into_iter().filter(|k| k.0).map(|k| k.1).collect();
            let by = if by.is_empty() { String::new() } else { format!(" GROUP BY {}", by.join(", ")) };
            format!("SELECT {x} AS p, {y} AS q, {call} AS r, {mask} AS m FROM s WHERE {condition}{by}")
        };
        let (all, left, right, none) =
            (one(true, true, 0), one(true, false, 1), one(false, true, 2), one(false, false, 3));
        let (group, sets) = match writer.0.below(3) {
            0 => (format!("ROLLUP({a}, {b})"), vec![all, left, none]),
            1 => (format!("CUBE({a}, {b})"), vec![all, left, right, none]),
            _ => (format!("GROUPING SETS (({b}), ({a}, {b}), ({b}))"), vec![right.clone(), all, right]),
        };
        let short = format!(
            "SELECT {a} AS p, {b} AS q, {call} AS r, GROUPING({a}, {b}) AS m FROM s WHERE {condition} GROUP BY {group}"
        );
        history.agree(&short, &sets.join(" UNION ALL "));
    });
}

#[test]
fn names_and_places_of_the_list_are_its_expressions() {
    cases(|history, writer| {
        let ([a, b], call) = (writer.keys(), writer.call());
        let items = format!("SELECT {a} AS ax, {b} AS bx, {call} AS r FROM s");
        let plain = format!("{items} GROUP BY {a}, {b} HAVING COUNT(*) > 1");
        history.agree(&format!("{items} GROUP BY ax, bx HAVING COUNT(*) > 1"), &plain);
        history.agree(&format!("{items} GROUP BY 1, 2 HAVING COUNT(*) > 1"), &plain);
        history.agree(
            &format!("SELECT {a} AS ax, COUNT(*) AS c FROM s GROUP BY ax HAVING c > 2"),
            &format!("SELECT {a} AS ax, COUNT(*) AS c FROM s GROUP BY {a} HAVING COUNT(*) > 2"),
        );
    });
}

#[test]
pub(crate) fn qualify_is_a_where_around_the_query() {
    cases(|history, writer| {
        let (over, limit) = (writer.over(), writer.0.below(4));
        history.agree(
            &format!("SELECT k, n FROM s QUALIFY {over} > {limit}"),
            &format!("SELECT k, n FROM (SELECT k, n, {over} AS r FROM s) AS q WHERE r > {limit}"),
        );
    });
}

/// One row of the model: position, partition, what it is sorted by, the value.
type Row = (String, String, Option<i64>, Option<i64>);

#[test]
pub(crate) fn windows_are_what_a_simple_model_computes() {
    let history = History::new(7);
    let number = |text: &str| text.parse::<i64>().ok();
    let place = "ROWPARTITION * 100 + ROWOFFSET";
    for (partition, order, value) in [("k", "n", "b"), ("w", "b", "n"), ("k", "12 / n", "LEN(w)"), ("n", "b", "n + b")]
    {
        let plain = history.rows(&format!("SELECT {place}, {partition}, {order}, {value} FROM s"));
        let rows: Vec<Row> = plain.iter().map(|r| (r[0].clone(), r[1].clone(), number(&r[2]), number(&r[3]))).collect();
        // NULLs come last.
        let key = |row: &Row| (row.2.is_none(), row.2);
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in &rows {
            let peers: Vec<&Row> = rows.iter().filter(|other| other.1 == row.1).collect();
            let before = peers.iter().filter(|other| key(other) < key(row)).count();
            let mut smaller: Vec<_> = peers.iter().map(|other| key(other)).filter(|other| *other < key(row)).collect();
            smaller.sort_unstable();
            smaller.dedup();
            let seen: Vec<i64> = peers.iter().filter(|other| key(other) <= key(row)).filter_map(|o| o.3).collect();
            let (running, whole) = (seen.iter().sum::<i64>(), peers.iter().filter_map(|o| o.3).sum::<i64>());
            let most = seen.iter().max().map_or("null".to_owned(), ToString::to_string);
            let cells = [before + 1, smaller.len() + 1, seen.len()].map(|n| n.to_string());
            let cells = cells.into_iter().chain([running.to_string(), most, whole.to_string()]);
            expected.insert(row.0.clone(), cells.collect());
        }
        let window = format!("PARTITION BY {partition} ORDER BY {order}");
        let got = history.rows(&format!(
            "SELECT {place}, RANK() OVER w AS a, DENSE_RANK() OVER w AS b1, COUNT({value}) OVER w AS c, \
             SUM({value}) OVER w AS d, MAX({value}) OVER w AS e, SUM({value}) OVER (PARTITION BY {partition}) AS f \
             FROM s WINDOW w AS ({window})"
        ));
        let got: BTreeMap<String, Vec<String>> = got.into_iter().map(|r| (r[0].clone(), r[1..].to_vec())).collect();
        assert_eq!(got, expected, "{window}, {value}");
    }
}
