//! Queries of one process that read the same topic take batches and rows from each other, and bring what they would bring alone: the
//! same rows in the same order, and the same bad records, wherever each query is, however little is kept for the others.

use crate::batches::Dice;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::execute::compile;
use tidegate::execute::operator::EmitMode;
use tidegate::execute::record::shared_rows::SharedRows;
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::execute::task::spec::{ExecutionSpec, Guarantee, Target};
use tidegate::execute::task::topic_identity::TopicRegistry;
use tidegate::execute::task::{Execution, Progress};
use tidegate::format::frame::NoSchemas;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions, Fsync};
use tidegate::log::{Assignment, Header, Isolation, Log, RecordSet, Sole, Start};
use tidegate::parse::statement::Statement;
use tidegate::plan::{self, Settings};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};
use tidegate::workers::{Schedule, Workers};

/// Bytes that hold everything here.
const AMPLE: usize = 64 << 20;
/// Bytes that hold less than the rows of most batches.
const TINY: usize = 20_000;

const SOURCES: &str = "
    CREATE STREAM events (id INT KEY, team STRING, n INT, moment STRING, all_headers ARRAY<STRUCT<key STRING, value BYTES>> HEADERS)
      WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', PARTITIONS=2);
    CREATE STREAM twins (id INT KEY, team STRING, n INT, moment STRING, all_headers ARRAY<STRUCT<key STRING, value BYTES>> HEADERS)
      WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON');
    CREATE STREAM timed (id INT KEY, team STRING, n INT, moment STRING)
      WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON', TIMESTAMP='moment', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss');
    CREATE TABLE latest (id INT PRIMARY KEY, team STRING, n INT) WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON');
    CREATE STREAM keyless (n INT, team STRING) WITH (KAFKA_TOPIC='events', VALUE_FORMAT='JSON');";

const QUERIES: [&str; 14] = [
    "SELECT * FROM events EMIT CHANGES;",
    "SELECT id, 100 / (n - 7) AS share FROM events WHERE n % 3 <> 0 EMIT CHANGES;",
    "SELECT team, COUNT(*) AS c, SUM(n) AS s FROM events GROUP BY team EMIT CHANGES;",
    "SELECT id, ROWPARTITION AS p, ROWOFFSET AS o, all_headers FROM events EMIT CHANGES;",
    "SELECT id, ROWPARTITION AS p, ROWOFFSET AS o, ROWTIME AS t FROM timed EMIT CHANGES;",
    "SELECT team, COUNT(*) AS c FROM timed WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY team EMIT CHANGES;",
    "SELECT id, n FROM latest WHERE n > 10 EMIT CHANGES;",
    "SELECT team, COUNT(*) AS c FROM latest GROUP BY team EMIT CHANGES;",
    "SELECT n FROM keyless EMIT CHANGES;",
    "SELECT id, team FROM twins EMIT CHANGES;",
    "SELECT id, team FROM timed EMIT CHANGES;",
    "SELECT id, MAX(n) AS m, LATEST_BY_OFFSET(team) AS t FROM events GROUP BY id EMIT CHANGES;",
    "SELECT a.id, a.n AS one, b.team AS two FROM events a JOIN twins b WITHIN 20 MILLISECONDS ON a.id = b.id EMIT CHANGES;",
    "SELECT team, SUM(n) AS s FROM latest GROUP BY team EMIT CHANGES;",
];

/// Good records and bad ones of every kind, tombstones, some with headers, some without a key.
fn records(log: &dyn Log, dice: &mut Dice, count: usize) {
    let mut set = RecordSet::default();
    for row in 0..count {
        let (id, n) = (dice.below(900) as i32, dice.below(50));
        let moment =
            if dice.one_in(70) { "never".to_owned() } else { format!("2026-01-01 00:{:02}:00", dice.below(60)) };
        let value = format!(r#"{{"TEAM":"team {}","N":{n},"MOMENT":"{moment}"}}"#, dice.below(40));
        let value = match dice.below(90) {
            0 => "{no".to_owned(),
            1 => r#"{"TEAM":"a\ud800b","N":"x"}"#.to_owned(),
            _ => value,
        };
        let value = (!dice.one_in(40)).then_some(value.as_bytes());
        if dice.one_in(30) {
            let header = Header { key: "row".into(), value: Some(row.to_be_bytes().into()) };
            set.headers.push((row as u32, vec![header]));
        }
        let key = id.to_be_bytes();
        set.push(id % 2, 1_000 + row as i64, (!dice.one_in(80)).then_some(&key), value);
    }
    log.append("events", &set).unwrap();
}

/// Queries side by side in one thread, each of which does a turn when it is told to.
struct Bench {
    log: Arc<EmbeddedLog>,
    engine: Engine,
    clock: SharedClock,
    rows: Arc<SharedRows>,
    workers: Arc<Workers>,
    running: Vec<Running>,
}

struct Running {
    execution: Execution,
    /// What came out: rows with time and ordinal, and bad records.
    out: Vec<String>,
}

impl Bench {
    fn new(bytes: usize, schedule: Schedule) -> Bench {
        let clock: SharedClock = ManualClock::at(0);
        let options = EmbeddedOptions { shared_bytes: bytes, ..EmbeddedOptions::default() };
        let log = EmbeddedLog::in_memory_with(options, clock.clone()).unwrap();
        let config = Config::new(LogConfig::Temporary);
        let engine = Engine::over(log.clone(), config, clock.clone(), Drive::ByHand).unwrap();
        engine.run(SOURCES, &mut Session::default()).unwrap();
        let (rows, workers) = (SharedRows::new(bytes), Workers::new(schedule));
        Bench { log, engine, clock, rows, workers, running: Vec::new() }
    }

    fn start(&mut self, sql: &str, start: Start) {
        let parsed = self.engine.parse(sql, &Session::default()).unwrap();
        let Some(Statement::Select(select)) = parsed.first().map(|p| &p.statement) else {
            panic!("{sql}: not a SELECT")
        };
        let settings = Settings::of(&self.engine.config().properties).unwrap();
        let plan =
            plan::push_query(select, &self.engine.catalog(), &settings).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let spec = ExecutionSpec {
            pipeline: compile::pipeline(&plan.logical).unwrap(),
            target: Target::Rows,
            group: format!("q{}", self.running.len()),
            slot: "0".to_owned(),
            claim: Sole::claim(),
            standbys: 0,
            mode: EmitMode::EveryChange,
            start,
            begin: None,
            commit_interval: Duration::from_secs(1),
            emit_interval: Duration::from_secs(1),
            guarantee: Guarantee::ExactlyOnce,
            fail_on_production_error: true,
            late_topic: None,
            crew: self.workers.crew("bench", None),
            spill_pool: SpillPool::new(std::env::temp_dir(), MEMORY_BYTES),
            snapshots: None,
            shared_rows: self.rows.clone(),
            watch: TopicRegistry::new(),
            schemas: Arc::new(NoSchemas),
            view: None,
        };
        let execution = Execution::start(&*self.log, spec, self.clock.clone(), Arc::new(Progress::default())).unwrap();
        self.running.push(Running { execution, out: Vec::new() });
    }

    /// A turn of a query; returns whether it had nothing to do.
    fn turn(&mut self, query: usize) -> bool {
        let Running { execution, out } = &mut self.running[query];
        let turn = execution.turn(Duration::ZERO).unwrap();
        out.extend(turn.bad.iter().map(|bad| format!("{bad:?}")));
        for batch in &turn.rows {
            let arrays: Vec<_> = batch.key.iter().chain(&batch.new.columns).collect();
            let options = FormatOptions::default().with_null("NULL");
            let columns: Vec<_> = arrays.iter().map(|a| ArrayFormatter::try_new(a, &options).unwrap()).collect();
            for row in 0..batch.len() {
                let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
                let is_there = (batch.has_key(row), batch.new.has(row));
                out.push(format!("{} {} {is_there:?} {values:?}", batch.seq[row], batch.rowtime[row]));
            }
        }
        turn.records == 0 && turn.idle
    }

    fn finish(&mut self) {
        while (0..self.running.len()).filter(|query| !self.turn(*query)).count() > 0 {}
    }
}

/// What the queries bring, begun at any time and at any place, in turns at random while records come in.
fn out(bytes: usize, schedule: Schedule) -> (Vec<Vec<String>>, Bench) {
    let (mut bench, mut dice) = (Bench::new(bytes, schedule), Dice(29));
    QUERIES.iter().for_each(|sql| bench.start(sql, Start::Earliest));
    records(&*bench.log, &mut dice, 6_000);
    let mut waiting = QUERIES.iter().rev();
    for _ in 0..150 {
        match dice.below(10) {
            0 => {
                let count = [1, 40, 700, 2_500][dice.below(4) as usize];
                records(&*bench.log, &mut dice, count);
            }
            1 => waiting.next().into_iter().for_each(|sql| bench.start(sql, Start::Earliest)),
            2 => waiting.next().into_iter().for_each(|sql| bench.start(sql, Start::Latest)),
            _ => drop(bench.turn(dice.below(bench.running.len() as i64) as usize)),
        }
    }
    bench.finish();
    (bench.running.iter().map(|running| running.out.clone()).collect(), bench)
}

#[test]
fn what_queries_bring_is_the_same_whatever_they_share() {
    let (alone, bench) = out(0, Schedule::Eager(0));
    assert_eq!((bench.log.sharing().unwrap().taken, bench.rows.counts().taken), (0, 0));
    let bad = |out: &[String]| out.iter().filter(|line| line.contains("BadRecord")).count();
    for (query, out) in alone[..QUERIES.len()].iter().enumerate() {
        assert!(bad(out) > 50 && out.len() > bad(out) + 100, "{}: {} of {}", QUERIES[query], bad(out), out.len());
    }
    // Its source takes the time from a column that the query does not read.
    for line in alone[4].iter().filter(|line| !line.contains("BadRecord") && !line.contains("NULL")) {
        let values: Vec<&str> = line.split('"').collect();
        let (id, partition): (i32, i32) = (values[3].parse().unwrap(), values[5].parse().unwrap());
        assert_eq!(id % 2, partition, "{line}");
    }
    for (bytes, schedule) in [
        (AMPLE, Schedule::Eager(0)),
        (TINY, Schedule::Eager(0)),
        (AMPLE, Schedule::Eager(2)),
        (AMPLE, Schedule::Drawn(5)),
    ] {
        let (shared, bench) = out(bytes, schedule);
        for (query, (one, other)) in alone.iter().zip(&shared).enumerate() {
            let first = one.iter().zip(other).find(|(one, other)| one != other);
            assert_eq!((first, other.len()), (None, one.len()), "{bytes} {schedule:?}: query {query} differs");
        }
        let (log, rows) = (bench.log.sharing().unwrap(), bench.rows.counts());
        assert!(
            rows.decoded > 0 && (bytes == TINY || log.taken > log.decoded && rows.taken > rows.decoded),
            "{log:?} {rows:?}"
        );
        assert!(bench.rows.bytes() <= bytes, "{} bytes of rows are kept", bench.rows.bytes());
    }
}

/// So many queries that want different columns: batches that were read, decoded for several of them, and taken.
fn shared_by(queries: usize) -> (u64, u64, u64) {
    let mut bench = Bench::new(AMPLE, Schedule::Eager(0));
    for query in 0..queries {
        let columns = ["n", "team", "moment", "n, team", "team, moment"][query % 5];
        bench.start(&format!("SELECT id, {columns} FROM events WHERE n <> {query} EMIT CHANGES;"), Start::Earliest);
    }
    records(&*bench.log, &mut Dice(7), 20_000);
    bench.finish();
    let (log, rows) = (bench.log.sharing().unwrap(), bench.rows.counts());
    (log.decoded, rows.decoded, rows.taken)
}

#[test]
fn ten_queries_read_and_decode_a_topic_as_often_as_one() {
    let (one, ten) = (shared_by(1), shared_by(10));
    assert_eq!((one.1, one.2), (0, 0), "a query alone shares nothing");
    assert!(
        one.0 > 3 && ten == (one.0, one.0, 9 * one.0),
        "batches read, decoded and taken: {one:?} by one, {ten:?} by ten"
    );
}

#[test]
fn readers_take_batches_from_each_other_until_compaction_or_retention_replaces_them() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { fsync: Fsync::Never, shared_bytes: 16 * 1024 * 1024, ..EmbeddedOptions::default() };
    let log = EmbeddedLog::open(directory.path(), options, SystemClock::shared()).unwrap();
    log.create_topic(&tidegate::log::TopicSpec::new("events", 2)).unwrap();
    records(&*log, &mut Dice(3), 9_000);
    let partition = |start| Assignment { topic: "events".into(), partition: 0, start };
    let reader = |start| log.reader(vec![partition(start)], Isolation::ReadCommitted).unwrap();
    let all = |reader: &mut Box<dyn tidegate::log::Reader>| {
        let mut records = Vec::new();
        loop {
            let fetched = reader.poll(700, Duration::ZERO).unwrap();
            if fetched.is_empty() {
                return records;
            }
            for run in fetched.runs() {
                run.for_each(|r| records.push((r.offset, r.timestamp, r.value.map(<[u8]>::to_vec))));
            }
        }
    };
    let (mut first, mut second, mut third) =
        (reader(Start::Earliest), reader(Start::Offset(100)), reader(Start::Earliest));
    let records_of_first = all(&mut first);
    let read = log.sharing().unwrap();
    assert_eq!(all(&mut second), records_of_first[100..]);
    assert_eq!(all(&mut third), records_of_first);
    let then = log.sharing().unwrap();
    assert_eq!((then.decoded, then.taken - read.taken), (read.decoded, 2 * read.decoded));
    assert_eq!(second.bytes_read(), Some(0));
    // What is deleted is not read from what was kept.
    log.delete_records(&tidegate::log::TopicPartition::new("events", 0), 4_000).unwrap();
    let mut fourth = reader(Start::Earliest);
    assert_eq!(all(&mut fourth), records_of_first[4_000..]);
}
