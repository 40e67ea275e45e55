//! Session properties that the meaning of a statement depends on, typed. Names and defaults are those of
//! [`crate::config::properties`].

use crate::catalog::Format;
use crate::catalog::topics::TopicRules;
use crate::config::properties::{
    self, ALLOW_LOOPS, DIALECT, KEY_FORMAT, PULL_LIMIT_CLAUSE, PULL_RANGE_SCAN, PULL_STREAM, PULL_TABLE_SCAN,
    TOPIC_PREFIX, VALUE_FORMAT, WRAP_SINGLE_VALUES,
};
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
    /// The defaults of the properties.
    fn default() -> Settings {
        let unset = BTreeMap::new();
        let flag = |name| properties::flag(&unset, name);
        let key_format = formats::by_name(properties::text(&unset, KEY_FORMAT));
        Settings {
            key_format: key_format.expect("the default key format is a format"),
            value_format: None,
            wrap_single_value: None,
            topic_prefix: properties::text(&unset, TOPIC_PREFIX).to_owned(),
            strict: properties::text(&unset, DIALECT) == "ksqldb",
            allow_loops: flag(ALLOW_LOOPS),
            aggregates: Limits::default(),
            pull_scan: flag(PULL_TABLE_SCAN),
            pull_range: flag(PULL_RANGE_SCAN),
            pull_limit: flag(PULL_LIMIT_CLAUSE),
            pull_stream: flag(PULL_STREAM),
            topics: Arc::default(),
        }
    }
}

impl Settings {
    /// The typed view of session properties; those that do not concern planning are skipped.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Settings> {
        let mut settings = Settings::default();
        for (name, value) in properties {
            match name.as_str() {
                KEY_FORMAT => settings.key_format = formats::by_name(value)?,
                VALUE_FORMAT => settings.value_format = Some(formats::by_name(value)?),
                WRAP_SINGLE_VALUES => settings.wrap_single_value = Some(boolean(name, value)?),
                TOPIC_PREFIX => settings.topic_prefix.clone_from(value),
                "ksql.functions.collect_list.limit" => settings.aggregates.collect_list = limit(name, value)?,
                "ksql.functions.collect_set.limit" => settings.aggregates.collect_set = limit(name, value)?,
                PULL_TABLE_SCAN => settings.pull_scan = boolean(name, value)?,
                PULL_RANGE_SCAN => settings.pull_range = boolean(name, value)?,
                PULL_LIMIT_CLAUSE => settings.pull_limit = boolean(name, value)?,
                PULL_STREAM => settings.pull_stream = boolean(name, value)?,
                ALLOW_LOOPS => settings.allow_loops = boolean(name, value)?,
                DIALECT => {
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
        _ => Err(Error::statement(format!("{name} must be true or false, not '{value}'"))),
    }
}

fn limit(name: &str, value: &str) -> Result<usize> {
    value.trim().parse().map_err(|_| Error::statement(format!("{name} must be a whole number, not '{value}'")))
}

fn dialect(value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "ksqldb" => Ok(true),
        "tidegate" => Ok(false),
        _ => Err(Error::statement(format!("tidegate.dialect must be 'tidegate' or 'ksqldb', not '{value}'"))),
    }
}
