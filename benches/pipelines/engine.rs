//! The engine on one query: its rows dropped (blackhole), or written to a topic as a persistent query does, exactly once.

use crate::host::{Meter, Usage, tell};
use crate::{Fallible, Options, PARTITIONS};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::session::Session;
use tidegate::execute::change::ChangeBatch;
use tidegate::execute::compile;
use tidegate::execute::operator::EmitMode;
use tidegate::execute::record::shared_rows::SharedRows;
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::execute::task::spec::{ExecutionSpec, Guarantee, Target};
use tidegate::execute::task::topic_identity::TopicRegistry;
use tidegate::execute::task::{Execution, Progress};
use tidegate::format::frame::NoSchemas;
use tidegate::log::{Assignment, Isolation, Log, Sole, Start, TopicPartition};
use tidegate::parse::statement::Statement;
use tidegate::plan::{self, Settings};
use tidegate::types::clock::SystemClock;
use tidegate::workers::{Schedule, Workers};

/// How long a turn may wait; longer than the emit and commit intervals.
const WAIT: Duration = Duration::from_millis(500);
/// The engine's own interval between emissions.
const EMIT: Duration = Duration::from_millis(50);

/// Runs the query until the whole topic is worked through.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let meter = Meter::start(options.or("pid", "self"))?;
    let bootstrap = options.or("bootstrap", "").to_owned();
    let mut config = Config::new(LogConfig::Kafka { bootstrap, properties: Default::default() });
    // One log of commands for each run, in a broker that may outlive it.
    config.service_id = format!("bench_{}_", std::process::id());
    let engine = Engine::open(config, SystemClock::shared())?;
    let mut session = Session::default();
    if let Some(threads) = threads(options)? {
        session.set("num.stream.threads", &threads.to_string())?;
    }
    engine.run(&source(options), &mut session)?;
    let bench = Bench { engine, session, options, events: options.number("events")? };
    let (usage, result) = match options.or("sink", "") {
        "blackhole" => bench.blackhole(&meter)?,
        "topic" => bench.topic(&meter)?,
        other => return Err(format!("there is no sink {other}").into()),
    };
    tell(&usage, result);
    Ok(())
}

/// `--threads N`: so many workers for the query; all cores without it.
fn threads(options: &Options) -> Fallible<Option<usize>> {
    Ok(options.get("threads").map(str::parse).transpose()?)
}

fn source(options: &Options) -> String {
    let time = if options.or("time", "column") == "column" { ", TIMESTAMP = 'datetime'" } else { "" };
    format!(
        "CREATE STREAM bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, datetime BIGINT, \
         extra STRING) WITH (KAFKA_TOPIC = '{}', VALUE_FORMAT = 'JSON'{time});",
        options.or("topic", "")
    )
}

/// The query as a push query reads it, and the statement that would store it.
fn query(options: &Options) -> Fallible<(&'static str, &'static str)> {
    match options.or("query", "") {
        "q2" => Ok(("STREAM", "SELECT auction, price FROM bids WHERE auction % 123 = 0 EMIT CHANGES;")),
        "q0" => Ok(("STREAM", "SELECT * FROM bids EMIT CHANGES;")),
        "q1" => Ok((
            "STREAM",
            "SELECT auction, bidder, 0.908 * price AS price, channel, url, datetime, extra FROM bids EMIT CHANGES;",
        )),
        "tumble" => Ok((
            "TABLE",
            "SELECT auction, COUNT(*) AS cnt FROM bids WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY auction EMIT CHANGES;",
        )),
        other => Err(format!("there is no query {other}").into()),
    }
}

struct Bench<'a> {
    engine: Engine,
    session: Session,
    options: &'a Options,
    events: u64,
}

impl Bench<'_> {
    fn blackhole(self, meter: &Meter) -> Fallible<(Usage, Option<u64>)> {
        let parsed = self.engine.parse(query(self.options)?.1, &self.session)?;
        let Some(Statement::Select(select)) = parsed.first().map(|p| &p.statement) else {
            return Err("no SELECT".into());
        };
        let plan = plan::push_query(select, &self.engine.catalog(), &Settings::of(&self.engine.config().properties)?)?;
        let spec = ExecutionSpec {
            crew: Workers::new(Schedule::Cores).crew("bench", threads(self.options)?),
            fail_on_production_error: true,
            guarantee: Guarantee::ExactlyOnce,
            view: None,
            late_topic: None,
            spill_pool: SpillPool::new(std::env::temp_dir(), MEMORY_BYTES),
            snapshots: None,
            shared_rows: SharedRows::new(0),
            watch: TopicRegistry::new(),
            schemas: Arc::new(NoSchemas),
            pipeline: compile::pipeline(&plan.logical)?,
            target: Target::Rows,
            group: "bench".to_owned(),
            slot: "0".to_owned(),
            claim: Sole::claim(),
            standbys: 0,
            mode: EmitMode::LatestPerKey,
            start: Start::Earliest,
            begin: None,
            commit_interval: self.engine.config().commit_interval(false),
            emit_interval: EMIT,
        };
        let progress = Arc::new(Progress::default());
        let log = self.engine.log();
        // Adding up what was emitted would be measured too: it is done in a run that is only there to be checked.
        let mut counts = self.options.get("check").map(|_| HashMap::new());
        let mut execution = Execution::start(&**log, spec, self.engine.clock().clone(), progress.clone())?;
        loop {
            let turn = execution.turn(WAIT)?;
            if let Some(counts) = &mut counts {
                turn.rows.iter().try_for_each(|batch| remember(batch, counts))?;
            }
            drop(turn.rows);
            if turn.idle && progress.consumed.load(Ordering::Relaxed) >= self.events {
                break;
            }
        }
        let usage = meter.stop()?;
        if self.options.or("query", "") != "tumble" {
            return Ok((usage, Some(progress.produced.load(Ordering::Relaxed))));
        }
        Ok((usage, counts.map(|counts| counts.values().sum::<i64>() as u64)))
    }

    fn topic(mut self, meter: &Meter) -> Fallible<(Usage, Option<u64>)> {
        let (kind, select) = query(self.options)?;
        let topic = format!("out-{}", std::process::id());
        let with = format!("KAFKA_TOPIC = '{topic}', VALUE_FORMAT = 'JSON', PARTITIONS = {PARTITIONS}");
        self.engine.run(&format!("CREATE {kind} results WITH ({with}) AS {select}"), &mut self.session)?;
        let queries = self.engine.queries();
        let (_, query) = queries.first().ok_or("the query is not listed")?;
        let mut seen = false;
        loop {
            std::thread::sleep(Duration::from_millis(20));
            // Idle is told once a turn: only what is told after the last record was seen counts.
            if seen && query.is_idle() {
                break;
            }
            if query.counts().consumed >= self.events && !seen {
                seen = true;
                std::thread::sleep(WAIT);
            }
            if let tidegate::engine::query::persistent::State::Error(reason) = query.state() {
                return Err(reason.into());
            }
        }
        self.engine.close();
        let usage = meter.stop()?;
        let result = read_back(&**self.engine.log(), &topic, kind == "TABLE")?;
        self.engine.log().delete_topic(&topic)?;
        Ok((usage, Some(result)))
    }
}

/// Notes the last count of each group: columns auction and count.
fn remember(batch: &ChangeBatch, counts: &mut HashMap<(i64, i64), i64>) -> Fallible<()> {
    let column = |i: usize| batch.new.columns.get(i).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let (Some(auctions), Some(found), Some(window)) = (column(0), column(1), &batch.window) else {
        return Err("the counts have other columns".into());
    };
    for row in 0..batch.len() {
        counts.insert((auctions.value(row), window.start[row]), found.value(row));
    }
    Ok(())
}

/// Rows of a stream; of a table the sum over the last count of each key.
fn read_back(log: &dyn Log, topic: &str, table: bool) -> Fallible<u64> {
    let topic: Arc<str> = topic.into();
    let from_start = |partition| Assignment { topic: topic.clone(), partition, start: Start::Earliest };
    let mut reader = log.reader((0..PARTITIONS as i32).map(from_start).collect(), Isolation::ReadCommitted)?;
    let ends = (0..PARTITIONS as i32).map(|p| Ok(log.watermarks(&TopicPartition::new(topic.clone(), p))?.stable));
    let ends = ends.collect::<Fallible<Vec<i64>>>()?;
    let (mut rows, mut last) = (0, HashMap::<Vec<u8>, u64>::new());
    while ends.iter().enumerate().any(|(slot, &end)| reader.position(slot) < end) {
        for run in reader.poll(4096, Duration::from_millis(100))?.runs() {
            rows += run.len() as u64;
            run.for_each(|record| {
                if table {
                    let value: serde_json::Value =
                        serde_json::from_slice(record.value.unwrap_or(b"{}")).unwrap_or_default();
                    last.insert(record.key.unwrap_or_default().to_vec(), value["CNT"].as_u64().unwrap_or(0));
                }
            });
        }
    }
    Ok(if table { last.values().sum() } else { rows })
}
