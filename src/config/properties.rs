//! Properties that SET and requests change: one table of names, meanings, defaults and valid values, and typed access to the
//! values in force.
//!
//! ```text
//! SET 'ksql.streams.commit.interval.ms' = '200';   the canonical name is commit.interval.ms
//! millis(&properties, COMMIT_INTERVAL)             Some(200 ms); None = the default, which depends on the log
//! ```
//!
//! Names without a `tidegate.` prefix are ksqlDB's (`KsqlConfig`), Kafka Streams' (`StreamsConfig`) and Kafka's. A property that has
//! no effect here says so in its entry, and a test fails when the engine never reads one that claims an effect.

use std::collections::BTreeMap;
use std::time::Duration;

/// Where a new query starts.
pub const AUTO_OFFSET_RESET: &str = "auto.offset.reset";
/// Kafka Streams' record cache.
pub const CACHE_BYTES: &str = "cache.max.bytes.buffering";
/// Longest time between two commits.
pub const COMMIT_INTERVAL: &str = "commit.interval.ms";
/// Longest time between two emissions.
pub const EMIT_INTERVAL_MS: &str = "emit.interval.ms";
/// ksqlDB's switch for rows that their topic refuses.
pub const FAIL_ON_PRODUCTION_ERROR: &str = "ksql.fail.on.production.error";
/// Key format of statements without one.
pub const KEY_FORMAT: &str = "ksql.persistence.default.format.key";
/// Value format of statements without one.
pub const VALUE_FORMAT: &str = "ksql.persistence.default.format.value";
/// Whether a single value column is wrapped.
pub const WRAP_SINGLE_VALUES: &str = "ksql.persistence.wrap.single.values";
/// Prefix of the topics of CREATE AS SELECT.
pub const TOPIC_PREFIX: &str = "ksql.output.topic.name.prefix";
/// Whether pull queries may scan.
pub const PULL_TABLE_SCAN: &str = "ksql.query.pull.table.scan.enabled";
/// Whether pull queries may ask for key ranges.
pub const PULL_RANGE_SCAN: &str = "ksql.query.pull.range.scan.enabled";
/// Whether pull queries may have LIMIT.
pub const PULL_LIMIT_CLAUSE: &str = "ksql.query.pull.limit.clause.enabled";
/// Whether streams may be pulled.
pub const PULL_STREAM: &str = "ksql.query.pull.stream.enabled";
/// Whether a followed view serves a pull query whose owner cannot.
pub const PULL_STANDBY_READS: &str = "ksql.query.pull.enable.standby.reads";
/// How long the owner of a pull query is waited for.
pub const PULL_FORWARDING_TIMEOUT: &str = "ksql.query.pull.forwarding.timeout.ms";
/// Offsets that a pull query may be behind its table.
pub const PULL_MAX_OFFSET_LAG: &str = "ksql.query.pull.max.allowed.offset.lag";
/// Time that a pull query may be behind its table.
pub const PULL_MAX_LAG_MS: &str = "tidegate.pull.max.lag.ms";
/// Kafka Streams' threads per query: how many workers it has at most.
pub const STREAM_THREADS: &str = "num.stream.threads";
/// Kafka Streams' number of processes that keep the state of a query up to date, beside the one that runs it.
pub const STANDBY_REPLICAS: &str = "num.standby.replicas";
/// Exactly or at least once.
pub const PROCESSING_GUARANTEE: &str = "processing.guarantee";
/// Whether a query may read what it writes.
pub const ALLOW_LOOPS: &str = "tidegate.allow.loops";
/// Memory of a query without EMIT.
pub const BATCH_MEMORY: &str = "tidegate.batch.memory.bytes";
/// Time of a query without EMIT.
pub const BATCH_TIMEOUT: &str = "tidegate.batch.timeout.ms";
/// ksqlDB's language alone, or with Tidegate's additions.
pub const DIALECT: &str = "tidegate.dialect";

/// Time between emissions while a query lags, unless `emit.interval.ms` says otherwise.
pub const EMIT_INTERVAL: Duration = Duration::from_millis(50);

/// Memory of a query without EMIT.
pub const BATCH_MEMORY_BYTES: usize = 256 << 20;
/// Time of a query without EMIT: a scan of 100 GB takes less.
pub const BATCH_TIMEOUT_MS: u64 = 600_000;
/// A view learns once a second how far it is behind: less would refuse what is current.
const PULL_LAG_MS_MIN: u64 = 2_000;
/// Each has the whole state in memory.
const STANDBY_REPLICAS_MAX: u64 = 16;
/// Less does not even hold the batches that a sort merges.
const BATCH_MEMORY_BYTES_MIN: usize = 32 << 20;

/// The value of a property that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(u64),
    /// None: without the property the statement decides.
    None,
    /// Depends on where the topics are: [`super::Config::commit_interval`].
    OfTheLog,
}

/// A property that SET and requests may change.
#[derive(Debug)]
pub struct Property {
    /// Name without the prefix `ksql.streams.`.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Its value unless it is set.
    pub default: DefaultValue,
    /// Why setting it changes nothing, if it does not. It is accepted for the sake of ksqlDB's clients and scripts.
    pub without_effect: Option<&'static str>,
    /// Whether a text is a valid value.
    pub(super) check: fn(&str) -> bool,
}

const fn property(name: &'static str, help: &'static str, default: DefaultValue, check: fn(&str) -> bool) -> Property {
    Property { name, help, default, without_effect: None, check }
}

/// All properties that SET takes.
pub const PROPERTIES: &[Property] = &[
    property(AUTO_OFFSET_RESET, "where a new query starts: earliest or latest", DefaultValue::Text("earliest"), |v| {
        matches!(v, "earliest" | "latest")
    }),
    property(
        CACHE_BYTES,
        "0 = write every change; otherwise the last change of a key per emission",
        DefaultValue::Number(10_000_000),
        is_number,
    ),
    property(
        COMMIT_INTERVAL,
        "longest time between two commits of a query: 100 on Kafka (5000 under at_least_once), 20 on the embedded log",
        DefaultValue::OfTheLog,
        is_number,
    ),
    property(
        EMIT_INTERVAL_MS,
        "longest time between two emissions while a query lags",
        DefaultValue::Number(EMIT_INTERVAL.as_millis() as u64),
        is_number,
    ),
    property(
        FAIL_ON_PRODUCTION_ERROR,
        "a row too large for its topic stops the query (true, the default), or is logged and left out",
        DefaultValue::Text("true"),
        is_boolean,
    ),
    property(KEY_FORMAT, "key format where a statement names none", DefaultValue::Text("KAFKA"), any),
    property(VALUE_FORMAT, "value format where a statement names none", DefaultValue::None, any),
    property(WRAP_SINGLE_VALUES, "a single value column is a field of an object", DefaultValue::None, is_boolean),
    property(TOPIC_PREFIX, "put before the topic names of CREATE AS SELECT", DefaultValue::None, any),
    property(PULL_TABLE_SCAN, "pull queries may scan", DefaultValue::Text("true"), is_boolean),
    property(PULL_RANGE_SCAN, "pull queries may ask for key ranges", DefaultValue::Text("true"), is_boolean),
    property(PULL_LIMIT_CLAUSE, "pull queries may have LIMIT", DefaultValue::Text("true"), is_boolean),
    property(PULL_STREAM, "streams may be pulled", DefaultValue::Text("true"), is_boolean),
    property(
        PULL_STANDBY_READS,
        "a process that does not run a table's query serves pull queries where the one that does cannot",
        DefaultValue::Text("true"),
        is_boolean,
    ),
    property(
        PULL_FORWARDING_TIMEOUT,
        "how long the process that runs a table's query is waited for, in milliseconds",
        DefaultValue::Number(20_000),
        is_number,
    ),
    property(
        PULL_MAX_OFFSET_LAG,
        "offsets that a pull query may be behind the topic of its table, in a process that does not run the table's query",
        DefaultValue::Number(i64::MAX as u64),
        |v| v.parse::<i64>().is_ok_and(|offsets| offsets >= 0),
    ),
    property(
        PULL_MAX_LAG_MS,
        "the same in milliseconds, at least 2000, because ends are asked for once a second; unless it is set, any lag",
        DefaultValue::None,
        |v| v.parse::<u64>().is_ok_and(|ms| ms >= PULL_LAG_MS_MIN),
    ),
    property(
        STREAM_THREADS,
        "most threads that work on a query at once; unless it is set, as many as there are cores",
        DefaultValue::None,
        |v| v.parse::<u32>().is_ok_and(|threads| threads > 0),
    ),
    property(
        STANDBY_REPLICAS,
        "how many processes of the service keep the state of a query up to date, beside the one that runs it, at most 16",
        DefaultValue::Number(0),
        |v| v.parse::<u64>().is_ok_and(|standbys| standbys <= STANDBY_REPLICAS_MAX),
    ),
    property(PROCESSING_GUARANTEE, "exactly_once_v2 or at_least_once", DefaultValue::Text("exactly_once_v2"), |v| {
        matches!(v, "exactly_once_v2" | "exactly_once" | "at_least_once")
    }),
    property(
        ALLOW_LOOPS,
        "true = a query may read the topic that it writes, by itself or through others",
        DefaultValue::Text("false"),
        is_boolean,
    ),
    property(
        BATCH_MEMORY,
        "memory of a query without EMIT, at least 33554432 (32 MiB); what does not fit goes to files",
        DefaultValue::Number(BATCH_MEMORY_BYTES as u64),
        |v| v.parse::<usize>().is_ok_and(|bytes| bytes >= BATCH_MEMORY_BYTES_MIN),
    ),
    property(
        BATCH_TIMEOUT,
        "longest time of a query without EMIT, in milliseconds; waiting for its reader does not count",
        DefaultValue::Number(BATCH_TIMEOUT_MS),
        |v| v.parse::<u64>().is_ok_and(|ms| ms > 0),
    ),
    property(DIALECT, "ksqldb = reject what ksqlDB rejects", DefaultValue::Text("tidegate"), |v| {
        matches!(v, "ksqldb" | "tidegate")
    }),
];

/// Properties that cost memory or time, and their ceiling where the process was started without one. What `--set` gives is a
/// default and a ceiling at once: a session or a request can only lower it.
pub const CEILINGS: [(&str, Option<u64>); 4] = [
    (BATCH_MEMORY, Some(BATCH_MEMORY_BYTES as u64)),
    (BATCH_TIMEOUT, Some(BATCH_TIMEOUT_MS)),
    ("ksql.functions.collect_list.limit", None),
    ("ksql.functions.collect_set.limit", None),
];

/// The entry of a property, by its name with or without `ksql.streams.`.
pub fn property_of(name: &str) -> Option<&'static Property> {
    let short = name.strip_prefix("ksql.streams.").unwrap_or(name);
    PROPERTIES.iter().find(|p| p.name == short)
}

/// The value in force as text; empty where there is none, or where it depends on the log.
pub fn text<'a>(properties: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    match properties.get(name) {
        Some(value) => value,
        None => match property_of(name).map(|p| p.default) {
            Some(DefaultValue::Text(text)) => text,
            _ => "",
        },
    }
}

/// The value in force of a property that is `true` or `false`.
pub fn flag(properties: &BTreeMap<String, String>, name: &str) -> bool {
    text(properties, name) == "true"
}

/// The value in force of a number; `None` where it is not one.
pub fn number(properties: &BTreeMap<String, String>, name: &str) -> Option<u64> {
    match (properties.get(name), property_of(name).map(|p| p.default)) {
        (Some(value), _) => value.parse().ok(),
        (None, Some(DefaultValue::Number(number))) => Some(number),
        (None, _) => None,
    }
}

/// The value in force of a time in milliseconds; `None` where the default depends on the log.
pub fn millis(properties: &BTreeMap<String, String>, name: &str) -> Option<Duration> {
    number(properties, name).map(Duration::from_millis)
}

fn any(_: &str) -> bool {
    true
}

pub(super) fn is_number(value: &str) -> bool {
    value.parse::<u64>().is_ok()
}

pub(super) fn is_boolean(value: &str) -> bool {
    matches!(value, "true" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_a_valid_value() {
        for p in PROPERTIES {
            match p.default {
                DefaultValue::Text(text) => assert!((p.check)(text), "{}", p.name),
                DefaultValue::Number(number) => assert!((p.check)(&number.to_string()), "{}", p.name),
                DefaultValue::None | DefaultValue::OfTheLog => {}
            }
        }
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let none = BTreeMap::new();
        assert_eq!(text(&none, AUTO_OFFSET_RESET), "earliest");
        assert_eq!(millis(&none, EMIT_INTERVAL_MS), Some(EMIT_INTERVAL));
        assert_eq!(millis(&none, COMMIT_INTERVAL), None);
        assert!(flag(&none, FAIL_ON_PRODUCTION_ERROR) && !flag(&none, ALLOW_LOOPS));
        let set = BTreeMap::from([(CACHE_BYTES.to_owned(), "0".to_owned())]);
        assert_eq!((number(&set, CACHE_BYTES), number(&none, CACHE_BYTES)), (Some(0), Some(10_000_000)));
    }
}
