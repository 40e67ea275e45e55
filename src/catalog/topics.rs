//! Whose a topic is: the user's, or the engine's.
//!
//! ```text
//! orders                                       the user's
//! _confluent-ksql-default__command_topic       internal: of this service
//! _confluent-ksql-two_query_CTAS_A_1-...       internal: of another service
//! __consumer_offsets  _schemas  connect-*      internal: of the broker or its neighbours (ksql.readonly.topics)
//! default_ksql_processing_log                  written by the engine, read by anybody
//! ```
//!
//! The name that counts is the one that a plan has come to, whatever it was made of: a property, a prefix, the name of the
//! stream. Nothing but the engine writes to, creates or deletes an internal topic; only administrators look into one.

use crate::config::{Config, HIDDEN_TOPICS, READONLY_TOPICS, SYSTEM_TOPICS, topic_patterns};
use crate::error::{Error, Result};
use fancy_regex::Regex;
use std::sync::LazyLock;

/// Start of the name of every topic that Tidegate or ksqlDB makes for itself, whatever the service.
pub const INTERNAL_PREFIX: &str = "_confluent-ksql-";

/// Which topics are whose, as the server was started.
#[derive(Clone, Debug)]
pub struct TopicRules {
    read_only: Patterns,
    hidden: Patterns,
    /// What queries skip: the engine writes it.
    processing_log: String,
    /// Who did what.
    audit: Option<String>,
}

/// A list of patterns, as one expression over the whole name.
#[derive(Clone, Debug)]
struct Patterns {
    text: String,
    regex: Regex,
}

/// Compiled once: every statement has settings, which begin with the defaults.
static SYSTEM_PATTERNS: LazyLock<Patterns> =
    LazyLock::new(|| Patterns::new(SYSTEM_TOPICS).expect("the list of system topics is a constant that a test reads"));

impl Patterns {
    fn new(text: &str) -> Result<Patterns> {
        Ok(Patterns { text: text.to_owned(), regex: topic_patterns(text)? })
    }

    /// A pattern that takes too long has matched: what is in doubt is not the user's.
    fn matches(&self, topic: &str) -> bool {
        topic.starts_with(INTERNAL_PREFIX) || self.regex.is_match(topic).unwrap_or(true)
    }
}

/// What is done to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicUse {
    /// A SOURCE stream or table is declared over a topic that is there. Authorization is checked elsewhere.
    Read,
    /// Another stream or table is declared over a topic that is there.
    Declare,
    /// A topic is created, or becomes the output of a query.
    Make,
    /// INSERT INTO ... SELECT.
    InsertSelect,
    /// INSERT INTO ... VALUES, and rows over HTTP.
    InsertValues,
    /// The topic is deleted, or records of it.
    Delete,
    /// Its settings are changed.
    Alter,
}

impl TopicRules {
    /// As the configuration says.
    pub fn of(config: &Config) -> Result<TopicRules> {
        let patterns = |name| Patterns::new(config.properties.get(name).map_or(SYSTEM_TOPICS, String::as_str));
        Ok(TopicRules {
            read_only: patterns(READONLY_TOPICS)?,
            hidden: patterns(HIDDEN_TOPICS)?,
            processing_log: processing_log(&config.service_id),
            audit: config.audit_topic().map(str::to_owned),
        })
    }

    /// Belongs to Tidegate, ksqlDB, the broker or what is listed with them: no statement writes it, and only an
    /// administrator reads it.
    pub fn is_internal(&self, topic: &str) -> bool {
        self.read_only.matches(topic) || self.audit.as_deref() == Some(topic)
    }

    /// Is left out by SHOW TOPICS.
    pub fn is_hidden(&self, topic: &str) -> bool {
        self.hidden.matches(topic)
    }

    /// Refuses what may not be done to a topic. The one check: every plan makes it for the topics that it has come to, and the
    /// engine for those that it creates and deletes.
    pub fn check(&self, topic: &str, usage: TopicUse) -> Result<()> {
        let readable_only =
            topic == self.processing_log && !matches!(usage, TopicUse::Declare | TopicUse::Delete | TopicUse::Alter);
        if usage == TopicUse::Read || !self.is_internal(topic) && !readable_only {
            return Ok(());
        }
        let text = match usage {
            TopicUse::Read | TopicUse::Declare | TopicUse::Make => format!("Cannot use the internal topic: {topic}"),
            TopicUse::InsertSelect => format!("Cannot insert into read-only topic: {topic}"),
            TopicUse::InsertValues => format!("Cannot insert values into read-only topic: {topic}"),
            TopicUse::Delete => format!("Cannot delete the internal topic: {topic}"),
            TopicUse::Alter => format!("Cannot alter the internal topic: {topic}"),
        };
        Err(Error::statement(text).with_hint(match usage {
            TopicUse::Declare => {
                "it belongs to Tidegate, ksqlDB or the broker; an administrator may declare it with SOURCE"
            }
            _ => "it belongs to Tidegate, ksqlDB or the broker",
        }))
    }
}

impl Default for TopicRules {
    fn default() -> TopicRules {
        let system = SYSTEM_PATTERNS.clone();
        let processing_log = processing_log(crate::config::DEFAULT_SERVICE_ID);
        TopicRules { read_only: system.clone(), hidden: system, processing_log, audit: None }
    }
}

impl PartialEq for TopicRules {
    fn eq(&self, other: &TopicRules) -> bool {
        let Patterns { text: read_only, .. } = &self.read_only;
        let is_same = (&self.processing_log, &self.audit) == (&other.processing_log, &other.audit);
        is_same && *read_only == other.read_only.text && self.hidden.text == other.hidden.text
    }
}

impl Eq for TopicRules {}

/// The topic of what queries skip.
pub fn processing_log(service_id: &str) -> String {
    format!("{service_id}ksql_processing_log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;

    #[test]
    fn internal_topics_of_any_service_are_told_from_the_users() {
        let rules = TopicRules::default();
        for internal in [
            "_confluent-ksql-default__command_topic",
            "_confluent-ksql-two_query_CTAS_A_1-a-changelog",
            "_confluent-metrics",
            "__confluent.support",
            "__consumer_offsets",
            "__transaction_state",
            "_schemas",
            "connect-configs",
            "connect-statuses",
        ] {
            assert!(rules.is_internal(internal) && rules.is_hidden(internal), "{internal}");
            assert!(rules.check(internal, TopicUse::Make).is_err(), "{internal}");
        }
        for free in ["orders", "_mine", "__mine", "my_schemas", "_schemas2", "x_confluent-ksql-", "connect-configs-2"] {
            assert!(!rules.is_internal(free), "{free}");
        }
    }

    #[test]
    fn the_list_is_a_setting_but_for_tidegates_own() {
        let mut config = Config::new(LogConfig::Temporary);
        config.set(READONLY_TOPICS, "ro_.*, literal").unwrap();
        let rules = TopicRules::of(&config).unwrap();
        assert!(rules.is_internal("ro_x") && rules.is_internal("literal") && !rules.is_internal("_schemas"));
        assert!(rules.is_internal("_confluent-ksql-any_command_topic"));
        assert!(config.set(READONLY_TOPICS, "(").is_err());
    }

    #[test]
    fn the_processing_log_is_read_and_not_written() {
        let rules = TopicRules::default();
        let check = |usage| rules.check("default_ksql_processing_log", usage).is_ok();
        assert!(check(TopicUse::Declare) && check(TopicUse::Delete));
        assert!(!check(TopicUse::Make) && !check(TopicUse::InsertSelect) && !check(TopicUse::InsertValues));
    }
}
