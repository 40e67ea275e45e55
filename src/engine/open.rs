//! Opening an engine: the log, the engine's parts, and the replay of the command log.

use crate::catalog::topics::TopicRules;
use crate::config::{Config, DEFAULT_SLOT, LogConfig};
use crate::connect::Connect;
use crate::engine::access::audit::Audit;
use crate::engine::cluster::node::{Introduction, Node};
use crate::engine::command::tail::Tail;
use crate::engine::command::{CommandLog, History, Recorded};
use crate::engine::facts::history;
use crate::engine::facts::sampler::Sampler;
use crate::engine::query::processing_log::{self, ProcessingLog};
use crate::engine::query::pull::forward::Processes;
use crate::engine::query::pull::limits::PullLimits;
use crate::engine::query::topic_monitor::TopicMonitor;
use crate::engine::query::user_quota::UserQuota;
use crate::engine::snapshot::Published;
use crate::engine::{Drive, Engine, Inner};
use crate::error::{Kind, Result};
use crate::execute::record::shared_rows::SharedRows;
use crate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool, SpillQuota};
use crate::execute::task::snapshot::{self, Snapshots};
use crate::execute::task::topic_identity::TopicRegistry;
use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::log::kafka::{KafkaLog, KafkaSettings};
use crate::log::{Log, ServiceLock};
use crate::registry::Schemas;
use crate::registry::builtin::Builtin;
use crate::registry::client::Client;
use crate::registry::writers::WriterIds;
use crate::types::clock::SharedClock;
use crate::workers::Workers;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long acquiring the service on Kafka is tried again: lost requests, each of which takes its timeout of ten seconds, are no
/// reason not to start. Each failed attempt is logged.
const OWN_WAIT: Duration = Duration::from_secs(90);
/// Pause between two attempts.
const OWN_PAUSE: Duration = Duration::from_millis(200);

/// An opened command log.
struct Opened {
    commands: CommandLog,
    tail: Option<Arc<Tail>>,
    recorded: Vec<Recorded>,
    /// Sequence number of the next command.
    next: u64,
    skipped_commands: u64,
}

/// The registry of an engine.
struct Registries {
    /// For statements.
    all: Arc<dyn Schemas>,
    /// The same, which tries each request once: the readers of records repeat theirs.
    once: Arc<dyn Schemas>,
    /// The same, if it is the built-in one.
    builtin: Option<Arc<Builtin>>,
}

impl Engine {
    /// Opens the configured log and starts all queries.
    pub fn open(config: Config, clock: SharedClock) -> Result<Engine> {
        let log = Engine::open_log(&config, &clock)?;
        Engine::over(log, config, clock, Drive::Threads)
    }

    /// The configured log, without an engine.
    pub fn open_log(config: &Config, clock: &SharedClock) -> Result<Arc<dyn Log>> {
        Ok(match &config.log {
            LogConfig::Embedded(dir) => EmbeddedLog::open(dir, embedded_options(config), clock.clone())?,
            LogConfig::Temporary => EmbeddedLog::in_memory_with(embedded_options(config), clock.clone())?,
            LogConfig::Kafka { bootstrap, properties } => {
                let settings = KafkaSettings { bootstrap: bootstrap.clone(), properties: properties.clone() };
                KafkaLog::connect(settings, clock.clone())?
            }
        })
    }

    /// An engine over a given log, with the configured registry: the built-in one unless a URL names another.
    pub fn over(log: Arc<dyn Log>, config: Config, clock: SharedClock, drive: Drive) -> Result<Engine> {
        let registries = match config.registry()? {
            None => {
                let builtin = Arc::new(Builtin::new(log.clone(), clock.clone()));
                Registries { all: builtin.clone(), once: builtin.clone(), builtin: Some(builtin) }
            }
            Some(settings) => {
                let client = Client::new(&settings, config.schemas_dir().as_deref())?;
                let once = Arc::new(client.without_retries());
                Registries { all: Arc::new(client), once, builtin: None }
            }
        };
        Engine::over_registry(log, config, clock, drive, registries)
    }

    /// The same with a registry of the caller's.
    pub fn with_registry(
        log: Arc<dyn Log>,
        config: Config,
        clock: SharedClock,
        drive: Drive,
        registry: Arc<dyn Schemas>,
    ) -> Result<Engine> {
        let registries = Registries { all: registry.clone(), once: registry, builtin: None };
        Engine::over_registry(log, config, clock, drive, registries)
    }

    fn over_registry(
        log: Arc<dyn Log>,
        config: Config,
        clock: SharedClock,
        drive: Drive,
        Registries { all: registry, once, builtin }: Registries,
    ) -> Result<Engine> {
        let connect = Connect::new(config.connect()?);
        let (owner, node) = (own(&*log, &config, &clock)?, joined(&log, &config, &clock, drive)?);
        let Opened { commands, tail, recorded, next, skipped_commands } = opened(&log, &config, &clock)?;
        let (spill_pool, shared_rows) = (spill_pool(&config), SharedRows::new(config.shared_reading()));
        let snapshots = snapshots(&config, &log, drive)?;
        let (watch, workers) = (TopicRegistry::new(), Workers::new(config.schedule));
        let (state, past) = (Arc::<Published>::default(), Arc::<history::History>::default());
        let (topic_monitor, sampler) = match drive {
            Drive::Threads => {
                let below = (log.clone(), clock.clone());
                let monitor = TopicMonitor::new(watch.clone(), log.clone(), &config.service_id)?;
                (Some(monitor), Some(Sampler::new(state.clone(), past.clone(), below, &config.service_id)?))
            }
            Drive::ByHand => (None, None),
        };
        let (audit, (processing, inlet)) = (Audit::open(&config, &log, &clock)?, ProcessingLog::new(&config, &clock));
        let (topics, user_quota) = (Arc::new(TopicRules::of(&config)?), UserQuota::new(config.batch_user_queries()));
        let writers = Arc::new(WriterIds::new(once, clock.clone()));
        let inner = Inner {
            processes: Processes::new(&log, &clock, &config.service_id),
            tail,
            builtin,
            connect,
            topics,
            processing,
            pulls: Arc::new(PullLimits::new(&config, clock.clone())),
            user_quota,
            config,
            spill_pool,
            shared_rows,
            workers,
            snapshots,
            registry,
            writers,
            watch,
            _topic_monitor: topic_monitor,
            log,
            clock,
            drive,
            commands,
            skipped_commands,
            _owner: owner,
            node,
            ddl: Default::default(),
            state,
            pushes: Arc::default(),
            over: AtomicBool::new(false),
            inconsistent: OnceLock::new(),
            plan_cache: Default::default(),
            recent_topics: Default::default(),
            positions: Default::default(),
            history: past,
            _sampler: sampler,
            audit,
            generators: Default::default(),
        };
        let engine = Engine { inner: Arc::new(inner) };
        processing_log::start(inlet, &engine.inner)?;
        engine.start(recorded, next)?;
        Ok(engine)
    }

    /// Begins where the command log ends: the queries run, and what other processes record is followed.
    fn start(&self, recorded: Vec<Recorded>, next: u64) -> Result<()> {
        self.replay(recorded, next)?;
        if let Some(tail) = self.inner.tail.as_ref().filter(|_| self.inner.drive == Drive::Threads) {
            tail.follow(self)?;
        }
        self.generate()?;
        self.take_part();
        self.remove_stray_snapshots();
        Ok(())
    }

    /// Deletes the snapshots of queries that another process of this service has dropped.
    fn remove_stray_snapshots(&self) {
        if let Some(snapshots) = &self.inner.snapshots {
            let stems: Vec<String> = self.queries().iter().map(|(_, query)| format!("{}-", query.group())).collect();
            snapshots.retain(&self.group(""), |topic| stems.iter().any(|stem| topic.starts_with(stem.as_str())));
        }
    }
}

/// The command log, with what is in it, and what follows it from there on where other processes write to it.
fn opened(log: &Arc<dyn Log>, config: &Config, clock: &SharedClock) -> Result<Opened> {
    let (commands, history) = CommandLog::open(&**log, &config.service_id)?;
    history.warn(&config.service_id);
    if let Err(error) = commands.mark(&**log, clock.now_ms()) {
        tracing::warn!(%error, "the command log cannot be marked: the next statement tries again");
    }
    let History { commands: recorded, skipped_count: skipped_commands, end, fold, .. } = history;
    let next = fold.next();
    let tail = match log.is_shared() {
        true => Some(Tail::new((log.clone(), clock.clone()), CommandLog::topic(&config.service_id), fold, end)?),
        false => None,
    };
    Ok(Opened { commands, tail, recorded, next, skipped_commands })
}

/// On Kafka several processes share the queries of a service; this one joins them.
fn joined(log: &Arc<dyn Log>, config: &Config, clock: &SharedClock, drive: Drive) -> Result<Option<Node>> {
    match (&config.log, drive) {
        (LogConfig::Kafka { .. }, Drive::Threads) => {
            let address = config.advertised_listener().map(str::to_owned);
            let introduction = Introduction { slot: config.slot().to_owned(), address };
            Node::join(log.clone(), clock.clone(), &config.service_id, introduction).map(Some)
        }
        _ => Ok(None),
    }
}

/// Settings of the embedded log.
fn embedded_options(config: &Config) -> EmbeddedOptions {
    let usual = EmbeddedOptions::default();
    EmbeddedOptions { shared_bytes: config.shared_reading(), ..usual }
}

/// Spill space of the joins of a process.
fn spill_pool(config: &Config) -> Arc<SpillPool> {
    let (bytes, free) = config.batch_scratch();
    let memory = config.join_memory().unwrap_or(MEMORY_BYTES);
    SpillPool::with_quota(config.scratch_dir(), memory, SpillQuota { bytes, free })
}

/// Where state is written, if there is a directory that outlives the process.
fn snapshots(config: &Config, log: &Arc<dyn Log>, drive: Drive) -> Result<Option<Arc<Snapshots>>> {
    match (config.snapshot_dir(), config.snapshot_bytes().unwrap_or(snapshot::CHANGELOG_BYTES)) {
        (None, _) | (_, 0) => Ok(None),
        (Some(dir), bytes) => Snapshots::new(dir, log.clone(), bytes, drive == Drive::Threads).map(Some),
    }
}

/// Acquires the service id: a second process fails here, before it changes anything. A data directory has a lock instead.
pub(super) fn own(log: &dyn Log, config: &Config, clock: &SharedClock) -> Result<Option<Box<dyn ServiceLock>>> {
    let LogConfig::Kafka { .. } = config.log else { return Ok(None) };
    // Processes with other slots are welcome. Earlier builds had the first of these groups.
    let suffix = if config.slot() == DEFAULT_SLOT { String::new() } else { format!("-{}", config.slot()) };
    let group = format!("_confluent-ksql-{}_engine{suffix}", config.service_id);
    let deadline = clock.monotonic() + OWN_WAIT;
    loop {
        match log.service_lock(&group, config.slot()) {
            Ok(lock) => return Ok(lock),
            Err(e) if e.kind() == Kind::Io && clock.monotonic() < deadline => {
                tracing::warn!(error = %e, "could not acquire this service: retrying");
                clock.sleep(OWN_PAUSE);
            }
            Err(e) if e.kind() == Kind::Busy => {
                return Err(e.with_hint("stop it, or give this one a service id of its own with --service-id"));
            }
            Err(e) => return Err(e),
        }
    }
}
