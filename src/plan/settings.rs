//! What a statement's meaning depends on beside its text and the outside: session properties.

use crate::catalog::Format;
use crate::catalog::topics::TopicRules;
use crate::error::{Error, Result};
use crate::functions::aggregate::Limits;
use crate::plan::formats;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Session properties in force, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ksql.persistence.default.format.key`
    pub key_format: Format,
    /// `ksql.persistence.default.format.value`; without one, CREATE must name it.
    pub value_format: Option<Format>,
    /// `ksql.persistence.wrap.single.values`
    pub wrap_single_value: Option<bool>,
    /// `ksql.output.topic.name.prefix`
    pub topic_prefix: String,
    /// `tidegate.dialect = 'ksqldb'`: what only Tidegate understands is rejected, and where Tidegate does better than
    /// ksqlDB on purpose, it does as ksqlDB.
    pub strict: bool,
    /// `tidegate.allow.loops`: a query may read what it writes.
    pub allow_loops: bool,
    /// What aggregates obey.
    pub aggregates: Limits,
    /// `ksql.query.pull.table.scan.enabled`
    pub pull_scan: bool,
    /// `ksql.query.pull.range.scan.enabled`
    pub pull_range: bool,
    /// `ksql.query.pull.limit.clause.enabled`
    pub pull_limit: bool,
    /// `ksql.query.pull.stream.enabled`
    pub pull_stream: bool,
    /// Which topics are the engine's: the server's, not the session's.
    pub topics: Arc<TopicRules>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            key_format: Format::Kafka,
            value_format: None,
            wrap_single_value: None,
            topic_prefix: String::new(),
            strict: false,
            allow_loops: false,
            aggregates: Limits::default(),
            pull_scan: true,
            pull_range: true,
            pull_limit: true,
            pull_stream: true,
            topics: Arc::default(),
        }
    }
}

impl Settings {
    /// The typed view of session properties; those that do not concern planning are passed over.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Settings> {
        let mut settings = Settings::default();
        for (name, value) in properties {
            match name.as_str() {
                "ksql.persistence.default.format.key" => settings.key_format = formats::by_name(value)?,
                "ksql.persistence.default.format.value" => settings.value_format = Some(formats::by_name(value)?),
                "ksql.persistence.wrap.single.values" => settings.wrap_single_value = Some(boolean(name, value)?),
                "ksql.output.topic.name.prefix" => settings.topic_prefix.clone_from(value),
                "ksql.functions.collect_list.limit" => settings.aggregates.collect_list = limit(name, value)?,
                "ksql.functions.collect_set.limit" => settings.aggregates.collect_set = limit(name, value)?,
                "ksql.query.pull.table.scan.enabled" => settings.pull_scan = boolean(name, value)?,
                "ksql.query.pull.range.scan.enabled" => settings.pull_range = boolean(name, value)?,
                "ksql.query.pull.limit.clause.enabled" => settings.pull_limit = boolean(name, value)?,
                "ksql.query.pull.stream.enabled" => settings.pull_stream = boolean(name, value)?,
                "tidegate.allow.loops" => settings.allow_loops = boolean(name, value)?,
                "tidegate.dialect" => {
                    settings.strict = dialect(value)?;
                    settings.aggregates.narrow_sums = settings.strict;
                }
                _ => {}
            }
        }
        Ok(settings)
    }
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::statement(format!("{name} is true or false, not '{value}'"))),
    }
}

fn limit(name: &str, value: &str) -> Result<usize> {
    value.trim().parse().map_err(|_| Error::statement(format!("{name} is a whole number, not '{value}'")))
}

fn dialect(value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "ksqldb" => Ok(true),
        "tidegate" => Ok(false),
        _ => Err(Error::statement(format!("tidegate.dialect is 'tidegate' or 'ksqldb', not '{value}'"))),
    }
}
