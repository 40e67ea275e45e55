//! Opening an engine: log, command log, replay, queries.

use crate::catalog::topics::TopicRules;
use crate::catalog::{Catalog, QueryInfo};
use crate::config::{Config, LogConfig};
use crate::engine::access::audit::Audit;
use crate::engine::command::status::{self, Statuses};
use crate::engine::command::{Command, CommandLog, Effect, Recorded};
use crate::engine::query::processing_log::{self, ProcessingLog};
use crate::engine::query::pull_limits::PullLimits;
use crate::engine::query::topic_monitor::TopicMonitor;
use crate::engine::query::user_quota::Turns;
use crate::engine::snapshot::State;
use crate::engine::{Drive, Engine, Inner};
use crate::error::{Kind, Result};
use crate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool, SpillQuota};
use crate::execute::task::topic_identity::TopicRegistry;
use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::log::kafka::{KafkaLog, KafkaSettings};
use crate::log::{Log, TransactionalWriter, WriterSpec};
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How often a process tries to take its place on Kafka: a request that got lost is no reason not to start.
const OWN_TRIES: u32 = 3;
/// After this time it does not begin again: a try that took longer has waited for what does not come, and says so.
const OWN_WAIT: Duration = Duration::from_secs(30);

impl Engine {
    /// Opens the log that the configuration names and starts all queries.
    pub fn open(config: Config, clock: SharedClock) -> Result<Engine> {
        let log = Engine::open_log(&config, &clock)?;
        Engine::over(log, config, clock, Drive::Threads)
    }

    /// The log that the configuration names, without an engine.
    pub fn open_log(config: &Config, clock: &SharedClock) -> Result<Arc<dyn Log>> {
        Ok(match &config.log {
            LogConfig::Embedded(dir) => EmbeddedLog::open(dir, EmbeddedOptions::default(), clock.clone())?,
            LogConfig::Temporary => EmbeddedLog::in_memory(clock.clone())?,
            LogConfig::Kafka { bootstrap, properties } => {
                let settings = KafkaSettings { bootstrap: bootstrap.clone(), properties: properties.clone() };
                KafkaLog::connect(settings, clock.clone())?
            }
        })
    }

    /// An engine over a given log.
    pub fn over(log: Arc<dyn Log>, config: Config, clock: SharedClock, drive: Drive) -> Result<Engine> {
        let owner = own(&*log, &config, &clock)?;
        let (commands, history) = CommandLog::open(&*log, &config.service_id)?;
        history.warn(&config.service_id);
        if let Err(error) = commands.mark(&*log, clock.now_ms()) {
            tracing::warn!(%error, "the command log cannot be marked: the next statement tries again");
        }
        let (bytes, free) = config.batch_scratch();
        let memory = config.join_memory().unwrap_or(MEMORY_BYTES);
        let spill_pool = SpillPool::with_quota(config.scratch_dir(), memory, SpillQuota { bytes, free });
        let watch = TopicRegistry::new();
        let topic_monitor = match drive {
            Drive::Threads => Some(TopicMonitor::new(watch.clone(), log.clone(), &config.service_id)?),
            Drive::ByHand => None,
        };
        let audit = Audit::open(&config, &log, &clock)?;
        let (processing, inlet) = ProcessingLog::new(&config, &clock);
        let pulls = Arc::new(PullLimits::new(&config, clock.clone()));
        let topics = Arc::new(TopicRules::of(&config)?);
        let turns = Turns::new(config.batch_user_queries());
        let inner = Inner {
            topics,
            processing,
            pulls,
            turns,
            config,
            spill_pool,
            watch,
            _topic_monitor: topic_monitor,
            log,
            clock,
            drive,
            commands,
            skipped_commands: history.skipped_count,
            _owner: owner.map(Mutex::new),
            ddl: Default::default(),
            state: Default::default(),
            pushes: Arc::default(),
            over: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            statements: Default::default(),
            topic_names: Default::default(),
            lags: Default::default(),
            audit,
        };
        let engine = Engine { inner: Arc::new(inner) };
        processing_log::start(inlet, &engine.inner)?;
        engine.replay(history.commands)?;
        Ok(engine)
    }

    /// Builds catalogue and queries from the commands. A query that cannot be planned any more is listed as ERROR; the
    /// others start.
    fn replay(&self, history: Vec<Recorded>) -> Result<()> {
        let mut replayed = Replayed::default();
        let mut next = 0;
        for Recorded { command, .. } in history {
            next = next.max(command.sequence + 1);
            replayed.statuses.note(status::told(&command, &replayed.catalog));
            replayed.take(command);
        }
        let mut state = State { statuses: Arc::new(replayed.statuses), next, ..State::default() };
        for created in replayed.alive {
            let sink = Arc::new(created.sink);
            let (query, text) = self.plan_again(&created.command, &created.id, &sink, &created.before, created.paused);
            // Where its late rows go is in its text.
            if let Some(late_topic) = query.spec().and_then(|spec| spec.late_topic.clone())
                && let Some(info) = replayed.catalog.query(&created.id).cloned()
            {
                replayed.catalog.put_query(QueryInfo { late_topic: Some(late_topic), ..info });
            }
            state.order.push(created.id.clone());
            state.texts.insert(created.id.clone(), Arc::new(text));
            state.queries.insert(created.id, Arc::new(query));
        }
        state.catalog = Arc::new(replayed.catalog);
        let mut ddl = self.ddl("the replay of the command log")?;
        ddl.change(|present| *present = state);
        if self.inner.drive == Drive::Threads {
            for query in ddl.queries.values() {
                query.spawn()?;
            }
        }
        Ok(())
    }
}

/// One process a service id: a second one is refused here, before it could touch anything. A data directory has its lock.
pub(super) fn own(log: &dyn Log, config: &Config, clock: &SharedClock) -> Result<Option<Box<dyn TransactionalWriter>>> {
    let LogConfig::Kafka { .. } = config.log else { return Ok(None) };
    let group = format!("_confluent-ksql-{}_engine", config.service_id);
    let spec = WriterSpec { group, slot: "0".to_owned(), tasks: 1 };
    let (mut tries, deadline) = (1, clock.monotonic() + OWN_WAIT);
    loop {
        match log.transactional_writer(&spec) {
            Ok(session) => return Ok(Some(session)),
            Err(e) if e.kind() == Kind::Io && tries < OWN_TRIES && clock.monotonic() < deadline => {
                tracing::warn!(error = %e, "could not take this service over: trying again");
                tries += 1;
            }
            Err(e) if e.kind() == Kind::Busy => {
                return Err(e.with_hint("stop it, or give this one a service id of its own with --service-id"));
            }
            Err(e) => return Err(e),
        }
    }
}

/// What the commands add up to.
#[derive(Default)]
struct Replayed {
    catalog: Catalog,
    statuses: Statuses,
    alive: Vec<Created>,
}

/// A query that was created and not ended.
struct Created {
    id: String,
    command: Command,
    sink: crate::catalog::Source,
    /// The catalogue as it was when the statement was carried out.
    before: Catalog,
    paused: bool,
}

impl Replayed {
    fn take(&mut self, command: Command) {
        match command.effect.clone() {
            Effect::CreateSource(source) => self.catalog.put(*source),
            Effect::CreateQuery { id, sink, reads, .. } => {
                let before = self.catalog.clone();
                self.catalog.put((*sink).clone());
                self.catalog.put_query(QueryInfo {
                    id: id.clone(),
                    reads,
                    writes: sink.name.clone(),
                    late_topic: None,
                });
                let created = Created { id, command, sink: *sink, before, paused: false };
                match self.alive.iter_mut().find(|c| c.id == created.id) {
                    // Replaced: the same query, in its place and in its state.
                    Some(replaced) => *replaced = Created { paused: replaced.paused, ..created },
                    None => self.alive.push(created),
                }
            }
            Effect::Drop { name } => {
                if let Some(kind) = self.catalog.source(&name).map(|s| s.kind)
                    && let Ok((_, Some(query))) = self.catalog.drop_source(&name, kind)
                {
                    self.alive.retain(|c| c.id != query.id);
                }
            }
            Effect::CreateType { name, ty } => self.catalog.put_type(name, ty),
            Effect::DropType { name } => _ = self.catalog.remove_type(&name),
            Effect::Terminate { id } => {
                self.catalog.remove_query(&id);
                self.alive.retain(|c| c.id != id);
            }
            Effect::Pause { id, paused } => {
                self.alive.iter_mut().filter(|c| c.id == id).for_each(|c| c.paused = paused);
            }
        }
    }
}

/// Properties of a command as a map.
pub(super) fn with_defaults(config: &Config, properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = config.properties.clone();
    all.extend(properties.clone());
    all
}
