//! One query over one topic, to its end: into a topic exactly once, or into a blackhole.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidegate::config::Config;
use tidegate::engine::query::State;
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::error::{Error, Result};
use tidegate::execute::Mode;
use tidegate::execute::compile;
use tidegate::execute::execution::{Execution, ExecutionSpec, Target};
use tidegate::log::{Log, Start};
use tidegate::parse::statement::Statement;
use tidegate::plan::{self, Settings};
use tidegate::types::clock::SharedClock;

/// How long one look at a running query waits.
const LOOK: Duration = Duration::from_millis(10);

fn select(query: &str) -> &'static str {
    match query {
        "q2" => "SELECT auction, price FROM bid WHERE auction % 123 = 0 EMIT CHANGES;",
        _ => {
            "SELECT auction, COUNT(*) AS bids FROM bid WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY auction EMIT CHANGES;"
        }
    }
}

/// What to run.
pub(crate) struct Job<'a> {
    pub(crate) topic: &'a str,
    pub(crate) query: &'a str,
    pub(crate) sink: &'a str,
    pub(crate) events: u64,
}

/// Rows that were written.
pub(crate) fn run(log: Arc<dyn Log>, clock: SharedClock, config: Config, job: &Job<'_>) -> Result<u64> {
    let engine = Engine::over(log.clone(), config, clock.clone(), Drive::Threads)?;
    let source = format!(
        "CREATE STREAM bid (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime BIGINT, extra STRING)
         WITH (KAFKA_TOPIC='{}', VALUE_FORMAT='JSON');",
        job.topic
    );
    engine.run(&source, &mut Session::default())?;
    match job.sink {
        "blackhole" => blackhole(&engine, &*log, clock, job),
        _ => into_topic(&engine, &clock, job),
    }
}

fn blackhole(engine: &Engine, log: &dyn Log, clock: SharedClock, job: &Job<'_>) -> Result<u64> {
    let parsed = engine.parse(select(job.query), &Session::default())?;
    let Some(Statement::Select(select)) = parsed.first().map(|p| &p.statement) else {
        return Err(Error::bug("the query is no SELECT"));
    };
    let config = engine.config();
    let plan = plan::push_query(select, &engine.catalog(), &Settings::of(&config.properties)?)?;
    let spec = ExecutionSpec {
        pipeline: compile::pipeline(&plan.logical)?,
        target: Target::Rows,
        group: "blackhole".to_owned(),
        mode: Mode::Last,
        start: Start::Earliest,
        commit_interval: config.commit_interval(),
        emit_interval: Duration::from_millis(50),
    };
    let mut execution = Execution::start(log, spec, clock, Arc::default())?;
    let progress = execution.progress().clone();
    loop {
        let idle = execution.turn(LOOK)?.idle;
        if idle && progress.consumed.load(Ordering::Relaxed) >= job.events {
            break;
        }
    }
    Ok(progress.produced.load(Ordering::Relaxed))
}

fn into_topic(engine: &Engine, clock: &SharedClock, job: &Job<'_>) -> Result<u64> {
    let kind = if job.query == "q2" { "STREAM" } else { "TABLE" };
    engine.run(&format!("CREATE {kind} result AS {}", select(job.query)), &mut Session::default())?;
    let (_, query) = engine.queries().pop().ok_or_else(|| Error::bug("no query was made"))?;
    // Its own counters tell when it is done, so that looking costs nothing.
    while query.counts().consumed < job.events || !query.is_idle() {
        if let State::Error(why) = query.state() {
            return Err(Error::io(why));
        }
        clock.sleep(LOOK);
    }
    let rows = query.counts().produced;
    engine.close();
    Ok(rows)
}
