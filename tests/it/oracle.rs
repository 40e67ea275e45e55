//! The batch oracle: what a continuous query has come to at the end of a random history is what the same SELECT without
//! EMIT answers over it. Every shape runs in `Each` and in `Last`, in pieces of random size, through
//! restarts, aborted and doubtful commits.
//!
//! The sessions of one partition and the joins of streams are the same operators in both, so that there it compares the
//! ways to them; everything else in a batch query runs in DataFusion.
//!
//! A failure names its seed and its statement; `TIDEGATE_ORACLE_SEED` runs one seed.

use crate::batches::{Dice, seeds};
use crate::history::{History, LAST, LAST_GROUP, SOURCES};
use crate::rows;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig, environment};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Kind;
use tidegate::log::Log;
use tidegate::log::simulated::{Faults, SimulatedLog};
use tidegate::types::clock::{ManualClock, SharedClock};

/// Shapes of statements, which share the cases of the law.
const SHAPES: u64 = 14;
/// Records of a history.
const ROWS: usize = 120;

/// A statement: `CREATE kind o AS SELECT <own> <rest>`; the batch answer has the columns of `read` instead.
#[derive(Debug)]
struct Shape {
    table: bool,
    /// Columns, without those that a windowed table has anyway.
    select: String,
    /// Window bounds among the columns.
    windowed: bool,
    rest: String,
    /// EMIT FINAL: at the end all windows are closed.
    last_only: bool,
    /// Rows that only the continuous query has: groups that have lost all of their rows.
    empty_groups: bool,
    /// What comes out depends on the order in which several partitions are read: then each record comes alone.
    ordered: bool,
}

struct World {
    log: Arc<SimulatedLog>,
    clock: SharedClock,
    engine: Engine,
}

impl World {
    fn new(seed: u64) -> World {
        let clock: SharedClock = ManualClock::at(0);
        let log = SimulatedLog::new(seed, clock.clone());
        let engine = World::open(&log, &clock);
        World { log, clock, engine }
    }

    fn open(log: &Arc<SimulatedLog>, clock: &SharedClock) -> Engine {
        Engine::over(log.clone(), Config::new(LogConfig::Temporary), clock.clone(), Drive::ByHand).unwrap()
    }

    fn run(&self, sql: &str, last: bool) {
        let mut session = Session::default();
        session.set("auto.offset.reset", "earliest").unwrap();
        session.set("cache.max.bytes.buffering", if last { "10000000" } else { "0" }).unwrap();
        self.engine.run(sql, &mut session).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// The rows of a SELECT, sorted; those that only close windows are left out.
    fn rows(&self, sql: &str) -> Vec<String> {
        let mut answers = self.engine.run(sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let Some(Answer::Rows(stream)) = answers.pop() else { panic!("no rows: {sql}") };
        let mut rows = rows::collect(stream).unwrap_or_else(|e| panic!("{sql}: {e:?}")).rows;
        let group = |row: &str| row.split(" | ").next().and_then(|cell| cell.parse::<i64>().ok());
        rows.retain(|row| !row.contains(LAST) && group(row).is_none_or(|g| g < LAST_GROUP));
        rows.sort();
        rows
    }

    /// Lets the queries run for some turns on a log that aborts, loses responses and hands out records as it likes, and die.
    fn torment(&mut self, dice: &mut Dice) {
        let resolve_after = Duration::from_secs(1);
        let shuffle = if dice.one_in(2) { 500 } else { 0 };
        let faults =
            Faults { abort: 150, unknown: 150, resolve_after, fence: 100, short_poll: 300, empty_poll: 200, shuffle };
        self.log.faults(faults);
        for (_, query) in self.engine.queries() {
            if let Err(error) = query.drive_for(dice.below(12) as usize) {
                assert_eq!(error.kind(), Kind::Fenced, "{error}");
            }
        }
        if dice.one_in(3) {
            self.log.crash();
            self.engine = World::open(&self.log, &self.clock);
        }
        self.log.faults(Faults::default());
    }

    fn restart(&mut self) {
        self.engine.close();
        self.engine = World::open(&self.log, &self.clock);
    }
}

impl Shape {
    fn create(&self, name: &str) -> String {
        let kind = if self.table { "TABLE" } else { "STREAM" };
        let emit = if self.last_only { "EMIT FINAL" } else { "EMIT CHANGES" };
        format!("CREATE {kind} {name} WITH (KAFKA_TOPIC='{name}') AS SELECT {} {} {emit};", self.select, self.rest)
    }

    /// Names of the columns.
    fn names(&self) -> String {
        let names = self.select.split(", ").filter_map(|c| c.rsplit_once(" AS ")).map(|c| c.1);
        let (key, others): (Vec<&str>, Vec<&str>) = names.partition(|n| *n == "k0");
        [key, if self.windowed { vec!["WINDOWSTART", "WINDOWEND"] } else { vec![] }, others].concat().join(", ")
    }

    fn batch(&self) -> String {
        let bounds = if self.windowed { " AS k0, WINDOWSTART, WINDOWEND" } else { " AS k0" };
        format!("SELECT {} {};", self.select.replacen(" AS k0", bounds, 1), self.rest)
    }
}

/// The end state is the batch answer.
fn check(seed: u64, dice: &mut Dice, shape: &Shape) -> usize {
    let history = History::random(dice, ROWS);
    let mut world = World::new(seed);
    world.run(&SOURCES.replace("{P}", &history.partitions.to_string()), false);
    // While a query lags it reads the partitions batch by batch.
    let alone = shape.ordered && history.partitions > 1;
    let before = alone || dice.one_in(2);
    let shaken = dice.one_in(2);
    let create = |world: &World| {
        world.run(&shape.create("o_each"), false);
        world.run(&shape.create("o_last"), true);
    };
    if before {
        create(&world);
    }
    let mut records = &history.records[..];
    while !records.is_empty() {
        let most = if alone { 1 } else { [3, 20, 200][dice.below(3) as usize] };
        let (piece, others) = records.split_at((1 + dice.below(most) as usize).min(records.len()));
        records = others;
        for topic in History::topics() {
            let set = History::set(piece, topic);
            if !set.is_empty() {
                world.log.append(topic, &set).unwrap();
            }
        }
        if before {
            if shaken && dice.one_in(4) {
                world.torment(dice);
            }
            world.engine.drive().unwrap();
            if dice.one_in(20) {
                world.restart();
            }
        }
    }
    if !before {
        create(&world);
        world.engine.drive().unwrap();
    }
    let want = world.rows(&shape.batch());
    for name in ["o_each", "o_last"] {
        // Groups without rows have COUNT(*) 0: the second column.
        let empty = |row: &String| shape.empty_groups && row.split(" | ").nth(1) == Some("0");
        // A pull query would not see the windows that have left the retention.
        let read = format!("SELECT {} FROM {name}", shape.names());
        let windowed = shape.rest.contains("WINDOW");
        let mut got = world.rows(&if windowed { format!("SELECT * FROM ({read});") } else { format!("{read};") });
        got.retain(|row| !empty(row));
        if got != want {
            let only = |a: &[String], b: &[String]| a.iter().filter(|r| !b.contains(r)).cloned().collect::<Vec<_>>();
            panic!(
                "TIDEGATE_ORACLE_SEED={seed}: {name} of {} rows, batch {} rows\n{}\n{}\nonly continuous {:#?}\nonly \
                 batch {:#?}\n{} partitions, made before: {before}, shaken: {shaken}",
                got.len(),
                want.len(),
                shape.create(name),
                shape.batch(),
                only(&got, &want),
                only(&want, &got),
                history.partitions,
            );
        }
    }
    want.len()
}

/// Runs random statements of a shape over random histories.
fn oracle(salt: u64, least: usize, make: fn(&mut Dice) -> Shape) {
    let number = |name: &str| environment(name).map(|n| n.parse::<u64>().unwrap());
    let seeds = match number("TIDEGATE_ORACLE_SEED") {
        Some(seed) => seed..seed + 1,
        None => seeds(SHAPES),
    };
    let (count, mut compared) = (seeds.end - seeds.start, 0);
    for seed in seeds {
        let mut dice = Dice(seed ^ salt);
        let shape = make(&mut dice);
        compared += check(seed, &mut dice, &shape);
    }
    assert!(compared >= least * count as usize, "only {compared} rows were compared");
}

fn pick<'a>(dice: &mut Dice, from: &[&'a str]) -> &'a str {
    from[dice.below(from.len() as i64) as usize]
}

/// The first of them are those that hopping windows share with EMIT FINAL.
const SHARED: usize = 21;
const CALLS: [&str; 58] = [
    "COUNT(*)",
    "COUNT(a)",
    "COUNT(l)",
    "SUM(a)",
    "SUM(b)",
    "SUM(e)",
    "SUM(a + 1)",
    "AVG(a)",
    "AVG(b)",
    "MIN(a)",
    "MIN(b)",
    "MIN(d)",
    "MIN(e)",
    "MIN(y)",
    "MIN(z)",
    "MAX(a)",
    "MAX(b)",
    "MAX(d)",
    "MAX(e)",
    "MAX(y)",
    "MAX(z)",
    "SUM(d)",
    "AVG(d)",
    "MIN(w)",
    "MAX(w)",
    "COLLECT_LIST(a)",
    "COLLECT_LIST(w)",
    "COLLECT_LIST(e)",
    "COLLECT_LIST(l)",
    "COLLECT_SET(a)",
    "COLLECT_SET(w)",
    "EARLIEST_BY_OFFSET(w)",
    "EARLIEST_BY_OFFSET(a, false)",
    "EARLIEST_BY_OFFSET(d, 3)",
    "EARLIEST_BY_OFFSET(w, 3, false)",
    "LATEST_BY_OFFSET(w)",
    "LATEST_BY_OFFSET(a, false)",
    "LATEST_BY_OFFSET(e)",
    "LATEST_BY_OFFSET(d, 3)",
    "LATEST_BY_OFFSET(w, 3, false)",
    "TOPK(a, 3)",
    "TOPK(d, 2)",
    "TOPK(w, 2)",
    "TOPK(a, w, 2)",
    "TOPKDISTINCT(a, 3)",
    "TOPKDISTINCT(w, 2)",
    "HISTOGRAM(w)",
    "ATTR(w)",
    "ATTR(a)",
    "COUNT_DISTINCT(w)",
    "COUNT_DISTINCT(a)",
    "COUNT_DISTINCT(e)",
    "STDDEV_SAMPLE(a)",
    "STDDEV_SAMPLE(d)",
    "STDDEV_SAMP(b)",
    "CORRELATION(a, a)",
    "CORRELATION(d, d)",
    "SUM_LIST(l)",
];

/// `group AS k0, call AS c1, ...`
fn grouped(dice: &mut Dice, group: &str, calls: &[&str]) -> String {
    let count = 2 + dice.below(3);
    let calls = (1..=count).map(|i| format!(", {} AS c{i}", pick(dice, calls)));
    format!("{group} AS k0{}", calls.collect::<String>())
}

fn filter(dice: &mut Dice) -> &'static str {
    pick(dice, &["", "", "WHERE a > -3", "WHERE NOT (b + 1 > 50)", "WHERE w <> 'a'"])
}

fn having(dice: &mut Dice) -> &'static str {
    pick(dice, &["", "", "HAVING COUNT(*) > 2", "HAVING SUM(a) > 3", "HAVING NOT (MAX(a) / MIN(a) > 1)"])
}

fn groups(dice: &mut Dice, window: Option<String>) -> Shape {
    let group = pick(dice, &["id", "g", "w", "a % 3"]);
    let windowed = window.is_some();
    Shape {
        table: true,
        select: grouped(dice, group, &CALLS),
        windowed,
        rest: format!("FROM s {} {} GROUP BY {group} {}", window.unwrap_or_default(), filter(dice), having(dice)),
        last_only: false,
        empty_groups: false,
        ordered: group != "id",
    }
}

fn grace(dice: &mut Dice) -> String {
    format!("GRACE PERIOD {} MILLISECONDS", dice.below(3) * dice.below(100))
}

#[test]
fn sessions() {
    oracle(0x5E5, 3, |dice| {
        let window = format!("WINDOW SESSION ({} MILLISECONDS, {})", 1 + dice.below(40), grace(dice));
        groups(dice, Some(window))
    });
}

/// Groups of which the last rows of a history are a part, so that all windows close.
fn closing(dice: &mut Dice, window: String) -> Shape {
    let group = pick(dice, &["id", "g"]);
    // Half of them only with aggregates that hopping windows share.
    let calls = if dice.one_in(2) { &CALLS[..] } else { &CALLS[..SHARED] };
    let filter = pick(dice, &["", "WHERE NOT (a > 5)"]);
    Shape {
        select: grouped(dice, group, calls),
        rest: format!("FROM s {window} {filter} GROUP BY {group}"),
        ordered: group != "id",
        last_only: true,
        ..groups(dice, Some(String::new()))
    }
}

#[test]
fn closed_sessions() {
    oracle(0x5E6, 3, |dice| {
        let window = format!("WINDOW SESSION ({} MILLISECONDS, {})", 1 + dice.below(40), grace(dice));
        closing(dice, window)
    });
}

#[test]
fn closed_time_windows() {
    oracle(0x71F, 3, |dice| {
        let window = time_window(dice);
        closing(dice, window)
    });
}

fn time_window(dice: &mut Dice) -> String {
    let advance = 1 + dice.below(60);
    let size = advance * (1 + dice.below(5)) + if dice.one_in(3) { dice.below(20) } else { 0 };
    match dice.one_in(2) {
        true => format!("WINDOW TUMBLING (SIZE {size} MILLISECONDS, {})", grace(dice)),
        false => {
            format!("WINDOW HOPPING (SIZE {size} MILLISECONDS, ADVANCE BY {advance} MILLISECONDS, {})", grace(dice))
        }
    }
}

#[test]
fn time_windows() {
    oracle(0x71E, 3, |dice| {
        let window = time_window(dice);
        groups(dice, Some(window))
    });
}

#[test]
fn groups_without_windows() {
    oracle(0x6E0, 1, |dice| groups(dice, None));
}

const UNDONE: [&str; 12] = [
    "COUNT(*)",
    "COUNT(n)",
    "SUM(n)",
    "AVG(n)",
    "SUM(d)",
    "AVG(d)",
    "SUM(e)",
    "COUNT(f)",
    "COUNT(e)",
    "SUM(n * 2)",
    "AVG(n + 1)",
    "SUM(CAST(n AS BIGINT))",
];

#[test]
fn groups_of_a_table() {
    oracle(0x7AB, 0, |dice| {
        let group = pick(dice, &["g", "k", "f", "n % 3"]);
        let filter = pick(dice, &["", "", "WHERE n > 0", "WHERE NOT (n + 1 > 5)", "WHERE f <> 'k0'"]);
        let having = pick(dice, &["", "", "HAVING COUNT(*) > 1", "HAVING SUM(n) > 3"]);
        let calls = grouped(dice, group, &UNDONE).replacen(" AS k0", " AS k0, COUNT(*) AS c0", 1);
        Shape {
            table: true,
            select: calls,
            windowed: false,
            rest: format!("FROM t {filter} GROUP BY {group} {having}"),
            last_only: false,
            empty_groups: true,
            ordered: false,
        }
    });
}

#[test]
fn filtered_tables() {
    oracle(0xF17, 0, |dice| Shape {
        table: true,
        select: "k AS k0, n AS c1, n / 2 AS c2, f AS c3, COALESCE(n + 1, 0) AS c4".to_owned(),
        windowed: false,
        rest: format!("FROM t {}", pick(dice, &["WHERE n > 0", "WHERE NOT (n > 5)", "WHERE NOT (n + 1 > 5)", ""])),
        last_only: false,
        empty_groups: false,
        ordered: false,
    });
}

/// A join's two sides under their names, and its kind.
fn joined(dice: &mut Dice, kinds: &[&str], sides: [(&str, &str); 2], columns: [&str; 2]) -> (String, String) {
    let kind = pick(dice, kinds);
    let [(left, left_key), (right, right_key)] = sides;
    let key = match kind {
        "FULL OUTER" => "ROWKEY".to_owned(),
        "RIGHT" => format!("{right}.{right_key}"),
        _ => format!("{left}.{left_key}"),
    };
    let keys = match kind {
        "FULL OUTER" => format!("{key} AS k0, {left}.{left_key} AS c1, {right}.{right_key} AS c2"),
        // ksqlDB takes the left column for the key, although it is NULL in a row without a left side.
        "RIGHT" => format!("{key} AS k0"),
        _ => format!("{key} AS k0, {right}.{right_key} AS c1"),
    };
    (format!("{keys}, {left}.{} AS c3, {right}.{} AS c4", columns[0], columns[1]), kind.to_owned())
}

#[test]
fn streams_within_a_time() {
    oracle(0x301, 1, |dice| {
        let key = pick(dice, &["id", "id", "g"]);
        let (select, kind) =
            joined(dice, &["INNER", "LEFT", "RIGHT", "FULL OUTER"], [("s", key), ("r", key)], ["a", "m"]);
        let within = match dice.one_in(2) {
            true => format!("{} MILLISECONDS", dice.below(120)),
            false => format!("({} MILLISECONDS, {} MILLISECONDS)", dice.below(90), dice.below(90)),
        };
        Shape {
            table: false,
            select,
            windowed: false,
            rest: format!("FROM s {kind} JOIN r WITHIN {within} {} ON s.{key} = r.{key}", grace(dice)),
            last_only: false,
            empty_groups: false,
            ordered: false,
        }
    });
}

#[test]
fn a_stream_with_a_table() {
    oracle(0x302, 1, |dice| {
        let key = pick(dice, &["id", "id", "w"]);
        let (select, kind) = joined(dice, &["INNER", "LEFT"], [("s", key), ("t", "k")], ["a", "n"]);
        Shape {
            table: false,
            select,
            windowed: false,
            rest: format!("FROM s {kind} JOIN t ON s.{key} = t.k"),
            last_only: false,
            empty_groups: false,
            ordered: false,
        }
    });
}

const TABLES: [&str; 4] = ["INNER", "LEFT", "RIGHT", "FULL OUTER"];

#[test]
fn two_tables() {
    oracle(0x303, 0, |dice| {
        let (select, kind) = joined(dice, &TABLES, [("t", "k"), ("u", "k")], ["n", "v"]);
        let filter = pick(dice, &["", "", "WHERE t.n > 0", "WHERE u.v > 0"]);
        Shape {
            table: true,
            select,
            windowed: false,
            rest: format!("FROM t {kind} JOIN u ON t.k = u.k {filter}"),
            last_only: false,
            empty_groups: false,
            ordered: false,
        }
    });
}

#[test]
fn a_foreign_key() {
    oracle(0x304, 0, |dice| {
        let (kind, filter) = (pick(dice, &["INNER", "LEFT"]), pick(dice, &["", "", "WHERE u.v > 0"]));
        Shape {
            table: true,
            select: "t.k AS k0, t.n AS c1, t.f AS c2, u.v AS c3".to_owned(),
            windowed: false,
            rest: format!("FROM t {kind} JOIN u ON t.f = u.k {filter}"),
            last_only: false,
            empty_groups: false,
            ordered: false,
        }
    });
}

#[test]
fn three_tables() {
    oracle(0x305, 0, |dice| {
        let first = pick(dice, &["INNER", "LEFT"]);
        let (second, filter) = (pick(dice, &["INNER", "LEFT"]), pick(dice, &["", "WHERE x.o <> 'a'"]));
        let foreign = pick(dice, &["t.k", "t.f"]);
        Shape {
            table: true,
            select: "t.k AS k0, t.n AS c1, u.v AS c2, x.o AS c3".to_owned(),
            windowed: false,
            rest: format!("FROM t {first} JOIN u ON {foreign} = u.k {second} JOIN x ON t.k = x.k {filter}"),
            last_only: false,
            empty_groups: false,
            ordered: false,
        }
    });
}

#[test]
fn groups_of_joined_tables() {
    oracle(0x306, 0, |dice| {
        let (kind, on) = (pick(dice, &["INNER", "LEFT"]), pick(dice, &["t.k", "t.f"]));
        Shape {
            table: true,
            select: "t.g AS k0, COUNT(*) AS c0, COUNT(u.v) AS c1, SUM(u.v) AS c2, SUM(t.n) AS c3".to_owned(),
            windowed: false,
            rest: format!("FROM t {kind} JOIN u ON {on} = u.k GROUP BY t.g"),
            last_only: false,
            empty_groups: true,
            ordered: false,
        }
    });
}

#[test]
fn groups_of_joined_streams() {
    oracle(0x307, 0, |dice| {
        let window = if dice.one_in(2) { time_window(dice) } else { String::new() };
        let (join, key) = match dice.one_in(2) {
            true => (format!("r WITHIN {} MILLISECONDS {} ON s.id = r.id", dice.below(120), grace(dice)), "s.g"),
            false => ("t ON s.id = t.k".to_owned(), pick(dice, &["s.g", "t.g"])),
        };
        Shape {
            table: true,
            select: format!("{key} AS k0, COUNT(*) AS c0, SUM(s.a) AS c1, LATEST_BY_OFFSET(s.w) AS c2"),
            // ksqlDB does not know the bounds here.
            windowed: false,
            rest: format!("FROM s JOIN {join} {window} GROUP BY {key}"),
            last_only: false,
            empty_groups: false,
            ordered: false,
        }
    });
}
