//! Settings: what an engine is started with, and the properties that SET changes for a session ([`properties`]).
//!
//! Only this module reads the environment and draws random numbers, so that everything else is reproducible.

pub mod kafka;
pub mod private;
pub mod properties;

mod client_names;
mod cluster;
mod connect;
mod node_secret;
mod outbound;
mod registry;

pub use properties::{
    BATCH_MEMORY_BYTES, BATCH_TIMEOUT_MS, CEILINGS, EMIT_INTERVAL, FAIL_ON_PRODUCTION_ERROR, PROPERTIES, Property,
    property_of,
};

pub use cluster::DEFAULT_SLOT;
pub use connect::{CONNECT, CONNECT_SETTINGS, CONNECT_URL, ConnectConfig};
pub use node_secret::NodeSecret;
pub use outbound::Authorization;
pub use registry::{REGISTRY, REGISTRY_SETTINGS, REGISTRY_URL, RegistryConfig};

use crate::error::{Error, Result};
use crate::workers::Schedule;
use cluster::CLUSTER_SETTINGS;
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
    /// ksqlDB's `ksql.service.id`: identifies this service on a Kafka cluster; part of all internal names.
    pub service_id: String,
    /// Properties in force unless a session overrides them.
    pub properties: BTreeMap<String, String>,
    /// How the work of queries is given to workers.
    pub schedule: Schedule,
}

/// ksqlDB's property for the directory of local state.
const STATE_DIR: &str = "ksql.streams.state.dir";

/// Memory for the rows of stream-stream joins of all queries; more spills to files.
const JOIN_MEMORY: &str = "tidegate.join.memory.bytes";

/// Growth of a changelog after which the state behind it is written to a file; 0 = never.
const SNAPSHOT_BYTES: &str = "tidegate.state.snapshot.bytes";

/// Batches that several queries read are kept for the others: bytes of their records, and bytes of their rows; 0 = each query
/// reads for itself.
const SHARED_READING: &str = "tidegate.shared.reading.bytes";

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
/// Their default, as in ksqlDB (`KsqlConfig`): internal topics of Confluent's products, the broker, the registry and Connect.
pub const SYSTEM_TOPICS: &str = "_confluent.*,__confluent.*,_schemas,__consumer_offsets,__transaction_state,\
     connect-configs,connect-offsets,connect-status,connect-statuses";
/// Backtracking limit of one match of such a pattern.
const TOPIC_BACKTRACKS_MAX: usize = 10_000;
/// Bytes that all queries without EMIT together may spill to files.
const BATCH_SCRATCH: &str = "tidegate.batch.scratch.bytes";
/// Free space that they leave on that disk.
const BATCH_SCRATCH_FREE: &str = "tidegate.batch.scratch.free.bytes";

/// Concurrent queries without EMIT per user.
pub(crate) const BATCH_USER_QUERIES_PROPERTY: &str = "tidegate.batch.user.queries";
/// Half of the total limit: one user leaves the other half, two can use up all.
const BATCH_USER_QUERIES: usize = 32;

/// Settings in bytes that are fixed at the start.
const BYTES_OF_THE_START: [&str; 5] = [JOIN_MEMORY, SNAPSHOT_BYTES, SHARED_READING, BATCH_SCRATCH, BATCH_SCRATCH_FREE];

/// Queries without EMIT per second.
pub(crate) const PULL_QPS: &str = "ksql.query.pull.max.qps";
/// Concurrent queries without EMIT.
pub(crate) const PULL_CONCURRENT: &str = "ksql.query.pull.max.concurrent.requests";
/// Volume of their results per hour.
pub(crate) const PULL_MEGABYTES: &str = "ksql.query.pull.max.hourly.bandwidth.megabytes";

/// ksqlDB's limits of queries without EMIT, with the smallest value that each may have.
const PULL_LIMITS: [(&str, u32); 3] = [(PULL_QPS, 1), (PULL_CONCURRENT, 0), (PULL_MEGABYTES, 0)];

/// Their default and largest value, which means no limit.
const PULL_LIMIT_NONE: u32 = i32::MAX as u32;

/// ksqlDB's default service id.
pub const DEFAULT_SERVICE_ID: &str = "default_";

impl Config {
    /// Defaults over the given log: reading starts at `earliest`, as the prompt and scripts expect.
    pub fn new(log: LogConfig) -> Config {
        let mut properties = BTreeMap::new();
        properties.insert(AUTO_OFFSET_RESET.to_owned(), "earliest".to_owned());
        Config { log, service_id: DEFAULT_SERVICE_ID.to_owned(), properties, schedule: Schedule::default() }
    }

    /// Directory of spill files: the property `ksql.streams.state.dir`, or a folder of the data directory, which has space if the
    /// topics have. `None` = a directory of the process below the system's temporary directory.
    pub fn scratch_dir(&self) -> Option<PathBuf> {
        match (self.properties.get(STATE_DIR), &self.log) {
            (Some(dir), _) => Some(PathBuf::from(dir)),
            (None, LogConfig::Embedded(data)) => Some(data.join("scratch")),
            (None, LogConfig::Temporary | LogConfig::Kafka { .. }) => None,
        }
    }

    /// Directory of snapshots of state: below the property `ksql.streams.state.dir`, or in the data directory. `None` = there is
    /// none that outlives the process.
    pub fn snapshot_dir(&self) -> Option<PathBuf> {
        match (self.properties.get(STATE_DIR), &self.log) {
            (Some(dir), _) => Some(PathBuf::from(dir).join("snapshots")),
            (None, LogConfig::Embedded(data)) => Some(data.join("snapshots")),
            (None, LogConfig::Temporary | LogConfig::Kafka { .. }) => None,
        }
    }

    /// Growth of a changelog that is worth a snapshot: the property `tidegate.state.snapshot.bytes`, if it is set.
    pub fn snapshot_bytes(&self) -> Option<u64> {
        self.properties.get(SNAPSHOT_BYTES).and_then(|bytes| bytes.parse().ok())
    }

    /// What queries that read the same keep for each other: the property `tidegate.shared.reading.bytes`; 0 = each reads for itself.
    /// Off by default: it saves work for queries that follow a topic together, and costs more than it saves while they catch up
    /// (docs/performance.md).
    pub fn shared_reading(&self) -> usize {
        self.properties.get(SHARED_READING).and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
    }

    /// Memory for the rows of joins: the property `tidegate.join.memory.bytes`, if it is set.
    pub fn join_memory(&self) -> Option<usize> {
        self.properties.get(JOIN_MEMORY).and_then(|bytes| bytes.parse().ok())
    }

    /// File of the audit log, if there is one.
    pub fn audit_file(&self) -> Option<PathBuf> {
        self.properties.get(AUDIT_FILE).map(PathBuf::from)
    }

    /// Topic of the audit log, if there is one.
    pub fn audit_topic(&self) -> Option<&str> {
        self.properties.get(AUDIT_TOPIC).map(String::as_str)
    }

    /// Whether all users are read-only.
    pub fn is_read_only(&self) -> bool {
        self.properties.get(READ_ONLY).is_some_and(|value| value == "true")
    }

    /// Limit of the spill files of all queries without EMIT, and the free space that they leave.
    pub fn batch_scratch(&self) -> (u64, u64) {
        let bytes = |name: &str| self.properties.get(name).and_then(|bytes| bytes.parse().ok());
        (
            bytes(BATCH_SCRATCH).unwrap_or(BATCH_SCRATCH_BYTES),
            bytes(BATCH_SCRATCH_FREE).unwrap_or(BATCH_SCRATCH_FREE_BYTES),
        )
    }

    /// Limit of concurrent queries without EMIT per user.
    pub fn batch_user_queries(&self) -> usize {
        let most = self.properties.get(BATCH_USER_QUERIES_PROPERTY).and_then(|queries| queries.parse().ok());
        most.unwrap_or(BATCH_USER_QUERIES)
    }

    /// An error if a session or a request exceeds a ceiling of the process.
    pub fn check_ceiling(&self, name: &str, value: &str) -> Result<()> {
        let name = name.strip_prefix("ksql.streams.").unwrap_or(name);
        let Some((name, default)) = CEILINGS.iter().find(|(known, _)| *known == name) else { return Ok(()) };
        let set = self.properties.get(*name).and_then(|most| most.parse().ok());
        let Some(most) = set.or(*default) else { return Ok(()) };
        // `check_property` refuses what is not a number; a number beyond 64 bits is too large.
        let wanted = value.trim();
        let digits = !wanted.is_empty() && wanted.bytes().all(|b| b.is_ascii_digit());
        if !digits || wanted.parse::<u64>().is_ok_and(|wanted| wanted <= most) {
            return Ok(());
        }
        Err(Error::statement(format!("{name} is at most {most} here, not {wanted}"))
            .with_detail("a session or a request can only lower what the process was started with")
            .with_hint(format!("start the process with --set {name}={wanted} to allow it")))
    }

    /// One of ksqlDB's limits of queries without EMIT; `None` = no limit.
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

    /// Sets a property at the start: one that is fixed at the start, or the default of one that SET changes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = match name {
            STATE_DIR | AUDIT_FILE | AUDIT_TOPIC => name.to_owned(),
            READ_ONLY if is_boolean(value) => name.to_owned(),
            READ_ONLY => return Err(Error::statement(format!("{name} is true or false, not {value}"))),
            _ if name.starts_with(REGISTRY) => {
                registry::check(&name[REGISTRY.len()..], value).map(|()| name.to_owned())?
            }
            _ if name.starts_with(CONNECT) => {
                connect::check(&name[CONNECT.len()..], value).map(|()| name.to_owned())?
            }
            _ if CLUSTER_SETTINGS.contains(&name) => cluster::check(name, value).map(|()| name.to_owned())?,
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

    /// Default time between commits. A commit to the embedded log takes a tenth of a millisecond, one to Kafka several. On Kafka it
    /// is that of Kafka Streams with exactly-once (`EOS_DEFAULT_COMMIT_INTERVAL_MS`): rows are visible within 300 ms, 99 of 100.
    /// With at-least-once rows do not wait for a commit, but a commit delays rows: with 5 s less than one in a hundred.
    pub fn commit_interval(&self, at_least_once: bool) -> Duration {
        match self.log {
            LogConfig::Kafka { .. } if at_least_once => Duration::from_secs(5),
            LogConfig::Kafka { .. } => Duration::from_millis(100),
            LogConfig::Embedded(_) | LogConfig::Temporary => Duration::from_millis(20),
        }
    }
}

/// The default data directory: `$XDG_DATA_HOME/tidegate`, else `~/.local/share/tidegate`.
pub fn default_data_dir() -> Result<PathBuf> {
    user_dir("XDG_DATA_HOME", ".local/share").ok_or_else(|| {
        Error::statement("no data directory is known: neither XDG_DATA_HOME nor HOME is set")
            .with_hint("name one with --data DIR, or keep nothing with --temp")
    })
}

/// The directory `tidegate` of the XDG Base Directory Specification below an environment variable, else below `HOME`.
pub fn user_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    let base = environment(variable)
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(below_home)));
    base.map(|base| base.join("tidegate"))
}

/// The setting of a registry or of Kafka Connect that this variable means: `KSQL_CONNECT_URL` is `ksql.connect.url`.
pub fn service_setting(variable: &str) -> Option<String> {
    let registry = REGISTRY_SETTINGS.iter().map(|(name, _)| format!("{REGISTRY}{name}"));
    let connect = CONNECT_SETTINGS.iter().map(|(name, _)| format!("{CONNECT}{name}"));
    registry.chain(connect).find(|name| name.replace('.', "_").eq_ignore_ascii_case(variable))
}

/// Names that [`Config::set`] takes, but for those of registries and of Kafka Connect.
pub fn property_names() -> impl Iterator<Item = &'static str> {
    let of_the_start = [STATE_DIR, AUDIT_FILE, AUDIT_TOPIC, READ_ONLY, READONLY_TOPICS, HIDDEN_TOPICS];
    let limits = PULL_LIMITS.iter().map(|(name, _)| *name);
    let numbers = [BATCH_USER_QUERIES_PROPERTY].into_iter().chain(BYTES_OF_THE_START.iter().copied()).chain(limits);
    let of_the_start = of_the_start.into_iter().chain(CLUSTER_SETTINGS);
    PROPERTIES.iter().map(|property| property.name).chain(of_the_start).chain(numbers)
}

/// The machine's name, from the file in which Linux reports it; `None` = unknown.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// An environment variable, if it is set, not empty, and text.
#[expect(clippy::disallowed_methods, reason = "the environment is configuration, and this is where it is read")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The environment variables whose names begin so, without that prefix, in order. Values that are no text are left out.
pub fn environment_below(prefix: &str) -> Vec<(String, String)> {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut all: Vec<_> = text
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value)))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .collect();
    all.sort();
    all
}

/// 128 random bits: ids of clusters and topics, tokens.
#[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub fn random_id() -> Result<u128> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::io("the system provides no random bytes").with_detail(e.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Limit of the spill files of such queries, and the space that they leave free: the log may be on the same disk, and a full disk
/// stops every query.
pub const BATCH_SCRATCH_BYTES: u64 = 100 << 30;
/// See [`BATCH_SCRATCH_BYTES`].
pub const BATCH_SCRATCH_FREE_BYTES: u64 = 1 << 30;

/// ksqlDB's settings of the server itself.
const OF_THE_SERVER: [&str; 4] = ["bootstrap.servers", "ksql.service.id", "listeners", "ksql.extension.dir"];

fn check_pull_limit(name: &str, value: &str, least: u32) -> Result<()> {
    match value.parse::<u32>().is_ok_and(|limit| (least..=PULL_LIMIT_NONE).contains(&limit)) {
        true => Ok(()),
        false => Err(Error::statement(format!("Invalid value {value} for configuration {name}"))
            .with_hint(format!("a whole number from {least} to {PULL_LIMIT_NONE}, which limits nothing"))),
    }
}

/// Compiles a comma-separated list of names and regular expressions to one expression over a whole name.
pub fn topic_patterns(list: &str) -> Result<Regex> {
    let entries: Vec<&str> = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let each: Vec<String> = entries.iter().map(|entry| format!("(?:{entry})")).collect();
    // An empty list matches no name.
    let any = if each.is_empty() { "(?!)".to_owned() } else { each.join("|") };
    RegexBuilder::new(&format!("^(?:{any})$")).backtrack_limit(TOPIC_BACKTRACKS_MAX).build().map_err(|e| {
        Error::statement(format!("{list} is not a list of topics"))
            .with_detail(e.to_string())
            .with_hint("names or regular expressions, with commas between them")
    })
}

/// Whether it is fixed at the start of the process, with `--set`.
fn is_of_the_start(name: &str) -> bool {
    [STATE_DIR, AUDIT_FILE, AUDIT_TOPIC, READ_ONLY, READONLY_TOPICS, HIDDEN_TOPICS, BATCH_USER_QUERIES_PROPERTY]
        .contains(&name)
        || BYTES_OF_THE_START.contains(&name)
        || CLUSTER_SETTINGS.contains(&name)
        || PULL_LIMITS.iter().any(|(known, _)| *known == name)
        || name.starts_with(REGISTRY)
        || name.starts_with(CONNECT)
}

fn near(name: &str) -> Option<&'static str> {
    crate::types::nearest(name, PROPERTIES.iter().map(|p| p.name))
}

/// The canonical name of a property, without `ksql.streams.`; an unknown one is an error. Other `ksql.*` settings of
/// ksqlDB are accepted without effect.
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
        // Other settings of ksqlDB are accepted; one that resembles ours is a typing error.
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
