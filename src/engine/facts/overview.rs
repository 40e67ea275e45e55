//! The server at a glance: how much runs and flows, and what needs attention.

use super::process::{ProcessFacts, disk_free_of};
use super::query::{QueryFacts, Rates};
use crate::catalog::topics::INTERNAL_PREFIX;
use crate::config::LogConfig;
use crate::engine::Engine;
use crate::engine::query::condition::State as QueryState;
use crate::engine::session::Session;
use crate::parse::statement::SourceKind;

/// Less free space than this needs attention: a burst fills it before anybody looks again.
const DISK_FREE_MIN: u64 = 1024 * 1024 * 1024;

/// The server at a glance.
#[derive(Clone, Debug)]
pub struct Overview {
    /// `embedded` or `kafka`.
    pub log_kind: &'static str,
    /// Folder, or bootstrap servers; `None` = in memory.
    pub log_place: Option<String>,
    /// Persistent queries by state: running, paused, waiting, error.
    pub queries: [usize; 4],
    /// Streams.
    pub streams: usize,
    /// Tables.
    pub tables: usize,
    /// Topics that SHOW TOPICS lists; `None` = the log does not respond.
    pub topics: Option<usize>,
    /// Sums over all persistent queries.
    pub rates: Rates,
    /// Sum of the lags that are known; `None` = none is.
    pub lag: Option<i64>,
    /// Records that could not be processed.
    pub bad: u64,
    /// Rows dropped as late.
    pub late: u64,
    /// Memory of the state of all queries.
    pub state_bytes: u64,
    /// This process.
    pub process: ProcessFacts,
    /// Free space on the disk of the log.
    pub disk_free: Option<u64>,
    /// What needs attention, worst first.
    pub attention: Vec<Attention>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work, and will not recover by itself.
    Error,
    /// Something may recover by itself, or may become an error.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something that needs attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// The query that it concerns.
    pub query: Option<String>,
    /// The topic that it concerns.
    pub topic: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub text: String,
    /// Since when, milliseconds since 1970; `None` = unknown.
    pub since_ms: Option<i64>,
    /// Statements that help.
    pub statements: Vec<String>,
}

impl Engine {
    /// The server at a glance, as far as the user sees it.
    pub fn overview(&self, session: &Session) -> Overview {
        let facts: Vec<QueryFacts> = self.query_facts(session).into_iter().filter(|query| query.persistent).collect();
        let catalog = self.catalog();
        let count = |kind| catalog.sources(kind).filter(|source| self.may_see(session, source)).count();
        let mut rates = Rates::default();
        facts.iter().for_each(|query| rates += query.rates);
        let disk_free = disk_free_of(&self.inner.config);
        let (log_kind, log_place) = match &self.inner.config.log {
            LogConfig::Embedded(dir) => ("embedded", Some(dir.display().to_string())),
            LogConfig::Temporary => ("embedded", None),
            LogConfig::Kafka { bootstrap, .. } => ("kafka", Some(bootstrap.clone())),
        };
        let of = |word: &str| facts.iter().filter(|query| query.condition.state.word() == word).count();
        Overview {
            log_kind,
            log_place,
            queries: [of("RUNNING"), of("PAUSED"), of("WAITING"), of("ERROR")],
            streams: count(SourceKind::Stream),
            tables: count(SourceKind::Table),
            topics: self.topic_count(session),
            rates,
            lag: facts.iter().filter_map(|query| query.lag).reduce(|a, b| a + b),
            bad: facts.iter().map(|query| query.counts.bad).sum(),
            late: facts.iter().map(|query| query.counts.late).sum(),
            state_bytes: facts.iter().map(|query| query.state_bytes).sum(),
            process: ProcessFacts::read(),
            disk_free,
            attention: self.attention(&facts, disk_free),
        }
    }

    /// Topics that the user sees without ALL.
    fn topic_count(&self, session: &Session) -> Option<usize> {
        let topics = self.recent_topics()?;
        let rights = &session.principal().topics;
        let shown = |name: &&String| !self.topic_rules().is_hidden(name) && rights.include(name);
        Some(topics.iter().map(|topic| &topic.name).filter(shown).count())
    }

    fn attention(&self, facts: &[QueryFacts], disk_free: Option<u64>) -> Vec<Attention> {
        let mut all: Vec<Attention> = facts.iter().filter_map(of_query).collect();
        if let Err(error) = self.inner.log.check_writable() {
            all.push(of_server(Severity::Error, format!("the log accepts no writes: {error}")));
        }
        if let Some(free) = disk_free.filter(|free| *free < DISK_FREE_MIN) {
            let mib = free / 1024 / 1024;
            all.push(of_server(Severity::Warning, format!("the disk of the log has {mib} MiB free")));
        }
        if let Some(tail) = &self.inner.tail {
            if let Err(error) = tail.check() {
                let text = format!("statements that change the catalogue are not carried out: {error}");
                all.push(of_server(Severity::Error, text));
            } else if let Some((trouble, since_ms)) = tail.trouble() {
                let text = format!("the command log cannot be read: {trouble}");
                all.push(Attention { since_ms: Some(since_ms), ..of_server(Severity::Warning, text) });
            }
        }
        if let count @ 1.. = self.skipped_commands() {
            let text =
                format!("{count} records of the command log are not commands and were skipped: see tidegate repair");
            all.push(of_server(Severity::Warning, text));
        }
        all.sort_by_key(|item| (item.severity, item.since_ms));
        all
    }
}

fn of_server(severity: Severity, text: String) -> Attention {
    Attention { query: None, topic: None, severity, text, since_ms: None, statements: Vec::new() }
}

/// Reports a query that does not run and was not paused.
fn of_query(facts: &QueryFacts) -> Option<Attention> {
    let (severity, statements) = match &facts.condition.state {
        QueryState::Error(_) => {
            (Severity::Error, vec![format!("RESUME {};", facts.id), format!("TERMINATE {};", facts.id)])
        }
        QueryState::Waiting(_) => (Severity::Warning, vec![format!("EXPLAIN {};", facts.id)]),
        QueryState::Running | QueryState::Paused => return None,
    };
    let reason = facts.condition.state.reason().unwrap_or_default();
    let topics = facts.topics.iter().chain(&facts.sink_topic).filter(|topic| !topic.starts_with(INTERNAL_PREFIX));
    Some(Attention {
        query: Some(facts.id.clone()),
        // The topic that the reason names.
        topic: topics.filter(|topic| names(reason, topic)).max_by_key(|topic| topic.len()).cloned(),
        severity,
        text: facts.condition.sentence(),
        since_ms: Some(facts.condition.since_ms),
        statements,
    })
}

/// Whether a text names a topic, as a word of its own.
fn names(text: &str, topic: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(topic).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + topic.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_as_a_word() {
        assert!(names("topic sales was deleted", "sales") && names("sales-0: no leader", "sales"));
        assert!(!names("topic sales_eu was deleted", "sales") && !names("presales", "sales"));
    }
}
