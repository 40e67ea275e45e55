//! Settings: what an engine is started with, and the properties that SET changes for a session.
//!
//! Only this module reads the environment and draws random numbers, so that everything below can be repeated.

pub mod kafka;
pub mod private;
pub mod properties;

mod client_names;

pub use properties::{CEILINGS, FAIL_ON_PRODUCTION_ERROR, PROPERTIES, Property, property_of};

use crate::error::{Error, Result};
use fancy_regex::{Regex, RegexBuilder};
use kafka::ClientProperties;
use properties::{AUTO_OFFSET_RESET, DefaultValue, is_boolean, is_number};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where the topics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogConfig {
    /// The embedded log in a data directory.
    Embedded(PathBuf),
    /// The embedded log in memory: gone with the process.
    Temporary,
    /// Apache Kafka, with client properties in librdkafka's names.
    Kafka {
        /// `host:port,host:port`
        bootstrap: String,
        /// Further client properties.
        properties: ClientProperties,
    },
}

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the topics are.
    pub log: LogConfig,
    /// Processes with one service id on one Kafka are one Tidegate; stem of all internal names.
    pub service_id: String,
    /// Properties in force unless a session overrides them.
    pub properties: BTreeMap<String, String>,
}

/// ksqlDB's property for the directory of local state.
const STATE_DIR: &str = "ksql.streams.state.dir";

/// Memory for the rows that joins of streams keep, of all queries together; what is more goes to files.
const JOIN_MEMORY: &str = "tidegate.join.memory.bytes";

/// The file of the audit log.
pub(crate) const AUDIT_FILE: &str = "tidegate.audit.file";
/// The topic of the audit log.
pub(crate) const AUDIT_TOPIC: &str = "tidegate.audit.topic";
/// `true` = no user changes anything.
pub(crate) const READ_ONLY: &str = "tidegate.read.only";
/// ksqlDB's property for the topics that no statement writes.
pub const READONLY_TOPICS: &str = "ksql.readonly.topics";
/// ksqlDB's property for the topics that SHOW TOPICS leaves out.
pub const HIDDEN_TOPICS: &str = "ksql.hidden.topics";
/// Their default: what Confluent's products, the broker, the registry and Connect keep in topics.
pub const SYSTEM_TOPICS: &str = "_confluent.*,__confluent.*,_schemas,__consumer_offsets,__transaction_state,\
     connect-configs,connect-offsets,connect-status,connect-statuses";
/// Steps back that one match of such a pattern may take.
const TOPIC_BACKTRACKS_MAX: usize = 10_000;
/// Bytes that all queries without EMIT together may put into files.
const BATCH_SCRATCH: &str = "tidegate.batch.scratch.bytes";
/// Bytes that they leave free on that disk.
const BATCH_SCRATCH_FREE: &str = "tidegate.batch.scratch.free.bytes";

/// Queries without EMIT that one user runs at once.
pub(crate) const BATCH_USER_QUERIES_PROPERTY: &str = "tidegate.batch.user.queries";
/// Half of all that run at once: two users who take all that they can leave nothing, one leaves the other half.
const BATCH_USER_QUERIES: usize = 32;

/// Numbers of bytes that only the start decides.
const BYTES_OF_THE_START: [&str; 3] = [JOIN_MEMORY, BATCH_SCRATCH, BATCH_SCRATCH_FREE];

/// Queries without EMIT in a second.
pub(crate) const PULL_QPS: &str = "ksql.query.pull.max.qps";
/// Queries without EMIT at once.
pub(crate) const PULL_CONCURRENT: &str = "ksql.query.pull.max.concurrent.requests";
/// What they answer within an hour.
pub(crate) const PULL_MEGABYTES: &str = "ksql.query.pull.max.hourly.bandwidth.megabytes";

/// ksqlDB's limits of queries without EMIT, with the smallest value that each may have.
const PULL_LIMITS: [(&str, u32); 3] = [(PULL_QPS, 1), (PULL_CONCURRENT, 0), (PULL_MEGABYTES, 0)];

/// Their default, which limits nothing; no more is taken.
const PULL_LIMIT_NONE: u32 = i32::MAX as u32;

/// Time between emissions while a query lags, unless `emit.interval.ms` says otherwise.
pub const EMIT_INTERVAL: Duration = Duration::from_millis(50);

/// ksqlDB's default service id.
pub const DEFAULT_SERVICE_ID: &str = "default_";

impl Config {
    /// Defaults over the given log: reading starts at `earliest`, as the prompt and scripts expect.
    pub fn new(log: LogConfig) -> Config {
        let mut properties = BTreeMap::new();
        properties.insert(AUTO_OFFSET_RESET.to_owned(), "earliest".to_owned());
        Config { log, service_id: DEFAULT_SERVICE_ID.to_owned(), properties }
    }

    /// Where operators put what does not fit into memory: the property `ksql.streams.state.dir`, else a folder of the data
    /// directory, which has room where the topics have. `None` = a directory of the process's own, below the system's
    /// temporary one.
    pub fn scratch_dir(&self) -> Option<PathBuf> {
        match (self.properties.get(STATE_DIR), &self.log) {
            (Some(dir), _) => Some(PathBuf::from(dir)),
            (None, LogConfig::Embedded(data)) => Some(data.join("scratch")),
            (None, LogConfig::Temporary | LogConfig::Kafka { .. }) => None,
        }
    }

    /// How many bytes of rows all joins keep in memory: the property `tidegate.join.memory.bytes`, if it is set.
    pub fn join_memory(&self) -> Option<usize> {
        self.properties.get(JOIN_MEMORY).and_then(|bytes| bytes.parse().ok())
    }

    /// The file to which the audit log is written, if it is.
    pub fn audit_file(&self) -> Option<PathBuf> {
        self.properties.get(AUDIT_FILE).map(PathBuf::from)
    }

    /// The topic to which the audit log is written, if it is.
    pub fn audit_topic(&self) -> Option<&str> {
        self.properties.get(AUDIT_TOPIC).map(String::as_str)
    }

    /// Whether every user is refused what changes anything.
    pub fn is_read_only(&self) -> bool {
        self.properties.get(READ_ONLY).is_some_and(|value| value == "true")
    }

    /// How many bytes all queries without EMIT put into files together, and how many they leave free there.
    pub fn batch_scratch(&self) -> (u64, u64) {
        let bytes = |name: &str| self.properties.get(name).and_then(|bytes| bytes.parse().ok());
        (
            bytes(BATCH_SCRATCH).unwrap_or(BATCH_SCRATCH_BYTES),
            bytes(BATCH_SCRATCH_FREE).unwrap_or(BATCH_SCRATCH_FREE_BYTES),
        )
    }

    /// How many queries without EMIT one user runs at once.
    pub fn batch_user_queries(&self) -> usize {
        let most = self.properties.get(BATCH_USER_QUERIES_PROPERTY).and_then(|queries| queries.parse().ok());
        most.unwrap_or(BATCH_USER_QUERIES)
    }

    /// Fails when a session or a request wants more of something than the process gives.
    pub fn check_ceiling(&self, name: &str, value: &str) -> Result<()> {
        let name = name.strip_prefix("ksql.streams.").unwrap_or(name);
        let Some((name, default)) = CEILINGS.iter().find(|(known, _)| *known == name) else { return Ok(()) };
        let set = self.properties.get(*name).and_then(|most| most.parse().ok());
        let Some(most) = set.or(*default) else { return Ok(()) };
        // What is no number is refused where the property is checked; a number beyond 64 bits is too large.
        let wanted = value.trim();
        let digits = !wanted.is_empty() && wanted.bytes().all(|b| b.is_ascii_digit());
        if !digits || wanted.parse::<u64>().is_ok_and(|wanted| wanted <= most) {
            return Ok(());
        }
        Err(Error::statement(format!("{name} is at most {most} here, not {wanted}"))
            .with_detail("a session or a request can only lower what the process was started with")
            .with_hint(format!("start the process with --set {name}={wanted} to allow it")))
    }

    /// One of ksqlDB's limits of queries without EMIT, if it limits anything.
    pub fn pull_limit(&self, name: &str) -> Option<u32> {
        self.properties.get(name).and_then(|limit| limit.parse().ok()).filter(|limit| *limit < PULL_LIMIT_NONE)
    }

    /// The default of a property as text; empty if it has none.
    pub fn default_of(&self, name: &str) -> String {
        match property_of(name).map(|p| p.default) {
            Some(DefaultValue::Text(text)) => text.to_owned(),
            Some(DefaultValue::Number(number)) => number.to_string(),
            Some(DefaultValue::OfTheLog) => self.commit_interval(false).as_millis().to_string(),
            Some(DefaultValue::None) | None => String::new(),
        }
    }

    /// Sets a property at the start: one that only the start decides, or the default of one that `SET` changes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = match name {
            STATE_DIR | AUDIT_FILE | AUDIT_TOPIC => name.to_owned(),
            READ_ONLY if is_boolean(value) => name.to_owned(),
            READ_ONLY => return Err(Error::statement(format!("{name} is true or false, not {value}"))),
            READONLY_TOPICS | HIDDEN_TOPICS => topic_patterns(value).map(|_| name.to_owned())?,
            BATCH_USER_QUERIES_PROPERTY => match value.parse::<usize>().is_ok_and(|queries| queries > 0) {
                true => name.to_owned(),
                false => return Err(Error::statement(format!("{name} is a number of queries, not {value}"))),
            },
            _ if BYTES_OF_THE_START.contains(&name) => match is_number(value) {
                true => name.to_owned(),
                false => return Err(Error::statement(format!("{name} is a number of bytes, not {value}"))),
            },
            _ => match PULL_LIMITS.iter().find(|(known, _)| *known == name) {
                Some((_, least)) => {
                    check_pull_limit(name, value, *least)?;
                    name.to_owned()
                }
                None => check_property(name, Some(value))?,
            },
        };
        if let Some(reason) = property_of(&name).and_then(|p| p.without_effect) {
            tracing::warn!(property = name, reason, "a property without effect is set");
        }
        self.properties.insert(name, value.to_owned());
        Ok(())
    }

    /// Time between commits: a commit to the embedded log costs a tenth of a millisecond, one to Kafka several. For Kafka it is
    /// what Kafka Streams takes under exactly-once: rows are visible within 300 ms, 99 of 100. Where rows do not wait for it,
    /// it is rather them who should not wait while a commit is made: with 5 s that is less than one in a hundred.
    pub fn commit_interval(&self, at_least_once: bool) -> Duration {
        match self.log {
            LogConfig::Kafka { .. } if at_least_once => Duration::from_secs(5),
            LogConfig::Kafka { .. } => Duration::from_millis(100),
            LogConfig::Embedded(_) | LogConfig::Temporary => Duration::from_millis(20),
        }
    }
}

/// The data directory when none is named: `$XDG_DATA_HOME/tidegate`, else `~/.local/share/tidegate`.
pub fn default_data_dir() -> Result<PathBuf> {
    let base = environment("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    base.map(|b| b.join("tidegate")).ok_or_else(|| {
        Error::statement("no data directory is known: neither XDG_DATA_HOME nor HOME is set")
            .with_hint("name one with --data DIR, or keep nothing with --temp")
    })
}

/// An environment variable, if it is set, not empty, and text.
#[expect(clippy::disallowed_methods, reason = "the environment is configuration, and this is where it is read")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// 128 random bits: identities of clusters and topics, tokens.
#[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub fn random_id() -> Result<u128> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::io("the system gives no random bytes").with_detail(e.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Memory of a query without EMIT.
pub const BATCH_MEMORY_BYTES: usize = 256 << 20;
/// Time of a query without EMIT: a scan of 100 GB takes less.
pub const BATCH_TIMEOUT_MS: u64 = 600_000;
/// What such queries may put into files together, and what they leave free on the disk of these files: the log and the
/// changelogs may be on the same one, and a full disk stops every query.
pub const BATCH_SCRATCH_BYTES: u64 = 100 << 30;
/// See [`BATCH_SCRATCH_BYTES`].
pub const BATCH_SCRATCH_FREE_BYTES: u64 = 1 << 30;

/// What only the start of a server decides.
const OF_THE_SERVER: [&str; 4] = ["bootstrap.servers", "ksql.service.id", "listeners", "ksql.extension.dir"];

fn check_pull_limit(name: &str, value: &str, least: u32) -> Result<()> {
    match value.parse::<u32>().is_ok_and(|limit| (least..=PULL_LIMIT_NONE).contains(&limit)) {
        true => Ok(()),
        false => Err(Error::statement(format!("Invalid value {value} for configuration {name}"))
            .with_hint(format!("a whole number from {least} to {PULL_LIMIT_NONE}, which limits nothing"))),
    }
}

/// One expression over a whole name of a comma-separated list of names and regular expressions.
pub fn topic_patterns(list: &str) -> Result<Regex> {
    let entries: Vec<&str> = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let each: Vec<String> = entries.iter().map(|entry| format!("(?:{entry})")).collect();
    // No entry matches nothing.
    let any = if each.is_empty() { "(?!)".to_owned() } else { each.join("|") };
    RegexBuilder::new(&format!("^(?:{any})$")).backtrack_limit(TOPIC_BACKTRACKS_MAX).build().map_err(|e| {
        Error::statement(format!("{list} is no list of topics"))
            .with_detail(e.to_string())
            .with_hint("names or regular expressions, with commas between them")
    })
}

/// Is it decided by the start of the process, with `--set`?
fn is_of_the_start(name: &str) -> bool {
    [STATE_DIR, AUDIT_FILE, AUDIT_TOPIC, READ_ONLY, READONLY_TOPICS, HIDDEN_TOPICS, BATCH_USER_QUERIES_PROPERTY]
        .contains(&name)
        || BYTES_OF_THE_START.contains(&name)
        || PULL_LIMITS.iter().any(|(known, _)| *known == name)
}

fn near(name: &str) -> Option<&'static str> {
    crate::types::nearest(name, PROPERTIES.iter().map(|p| p.name))
}

/// The canonical name of a property, without `ksql.streams.`; an unknown one is an error. Other `ksql.*` settings of
/// ksqlDB are accepted as they are: they mean nothing here.
pub fn check_property(name: &str, value: Option<&str>) -> Result<String> {
    let short = name.strip_prefix("ksql.streams.").unwrap_or(name);
    if OF_THE_SERVER.contains(&short) || OF_THE_SERVER.contains(&name) || is_of_the_start(name) {
        return Err(Error::statement(format!("Cannot override property '{name}'")).with_hint(match name {
            name if is_of_the_start(name) => "it belongs to the process, which is started with --set NAME=VALUE",
            _ => "it belongs to the process, which is started with it",
        }));
    }
    match PROPERTIES.iter().find(|p| p.name == short) {
        Some(p) => match value {
            Some(v) if !(p.check)(v) => Err(Error::statement(format!("Invalid value {v} for configuration {short}"))
                .with_hint(format!("{short}: {}", p.help))),
            _ => Ok(short.to_owned()),
        },
        // Accepted as ksqlDB accepts it, and without effect.
        None if client_names::is_known(short) => Ok(name.to_owned()),
        // A setting of Kafka Streams that means nothing here is welcome; one that is nearly ours is a slip.
        None if name.starts_with("ksql.") && (short == name || near(short).is_none()) => Ok(name.to_owned()),
        None if name.starts_with("kafka.") => {
            Err(Error::statement(format!("{name} is a setting of the process, not of a session"))
                .with_hint("put it into the file of --kafka-config"))
        }
        None => {
            let near = near(short);
            let error = Error::statement(format!(
                "Not recognizable as ksql, streams, consumer, or producer property: '{name}'"
            ));
            Err(match near {
                Some(near) => error.with_hint(format!("did you mean '{near}'?")),
                None => error.with_hint("SHOW PROPERTIES lists what can be set"),
            })
        }
    }
}
