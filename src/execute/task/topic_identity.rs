//! Are the topics of running queries still those with which the queries began?
//!
//! A query's offsets, its state and its output belong to the records that it has read. When one of its topics is deleted,
//! or created again under its name, or an input gets more partitions, these records are gone or keys live elsewhere than
//! before, and continuing would be silently wrong. So the ids of all topics of a query are part of the metadata of each of
//! its commits ([`TopicIdentities::text`]) and are compared when it starts ([`TopicIdentities::open`]), and one request for
//! all queries of a process is repeated every few seconds ([`TopicRegistry::refresh`]):
//!
//! ```text
//! CSAS_CARS_1 reads cars (id 7f..., 4 partitions)      now: cars is id 0b...
//!   -> ERROR: topic cars was deleted and created again while this query read it
//! ```
//!
//! What it does not do: notice a change within those seconds, or repair anything.

use crate::catalog::Source;
use crate::error::{Error, Kind, Result};
use crate::log::{Identity, Log, METADATA_BYTES_MAX, TopicId};
use crate::parse::statement::SourceKind;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Time between two looks: one small request, and how long a query may continue on a topic that was replaced.
pub const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// So many looks in a row must miss a topic before it counts as deleted: a broker that has just started may not know all
/// of its topics yet.
const MISSING_LOOKS: u32 = 2;
/// Room in a commit's text for what is not ids of topics.
const TEXT_BYTES_RESERVED: usize = 64;

/// The topics of all queries of a process.
#[derive(Debug, Default)]
pub struct TopicRegistry {
    queries: Mutex<Vec<Weak<TopicIdentities>>>,
    /// Why the last refresh failed.
    trouble: Mutex<Option<String>>,
}

impl TopicRegistry {
    /// Nobody is watched yet.
    pub fn new() -> Arc<TopicRegistry> {
        Arc::default()
    }

    /// Asks for the topics of all queries and lets each compare.
    pub fn refresh(&self, log: &dyn Log) {
        let queries: Vec<Arc<TopicIdentities>> = {
            let mut queries = self.queries.lock();
            queries.retain(|q| q.strong_count() > 0);
            queries.iter().filter_map(Weak::upgrade).collect()
        };
        let names: BTreeSet<&str> = queries.iter().flat_map(|q| q.names()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        if names.is_empty() {
            return self.set_trouble(None);
        }
        match log.identities(&names) {
            Ok(found) => {
                self.set_trouble(None);
                let now: BTreeMap<&str, Option<Identity>> = names.iter().copied().zip(found).collect();
                queries.iter().for_each(|q| q.compare(&now));
            }
            Err(error) => self.set_trouble(Some(format!("{} does not respond: {error}", log.describe()))),
        }
    }

    /// Notes why the topics cannot be looked at, or that they can be again.
    pub fn set_trouble(&self, trouble: Option<String>) {
        let mut told = self.trouble.lock();
        match (&*told, &trouble) {
            (None, Some(why)) => tracing::warn!("{why}"),
            (Some(_), None) => tracing::info!("the topics of queries can be checked again"),
            _ => {}
        }
        *told = trouble;
    }

    /// Why the cluster cannot be reached at present: queries wait.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    pub(super) fn register(&self, query: &Arc<TopicIdentities>) {
        self.queries.lock().push(Arc::downgrade(query));
    }
}

/// What a topic is to its query.
#[derive(Debug)]
pub(super) enum Role {
    /// Read as this source.
    Input(Arc<Source>),
    /// Written: rows, late rows, changelogs.
    Output,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    role: Role,
    /// `None` = it was not there when the query began; its first use reports that.
    id: Option<TopicId>,
}

/// What happened to a topic.
#[derive(Clone, Copy, Debug)]
enum Change {
    Deleted,
    Replaced,
    /// It has so many partitions now.
    Grown(u32),
}

/// The topics of one query.
#[derive(Debug)]
pub(crate) struct TopicIdentities {
    topics: Vec<Topic>,
    /// What the query writes; `None` = its rows go to a reader.
    sink: Option<Arc<Source>>,
    /// The ids as JSON, without the braces around.
    ids: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By topic: looks in a row that did not find it.
    missing: Vec<u32>,
    /// The first change that was noticed: place in `topics`.
    first_change: Option<(usize, Change)>,
}

/// What a commit's text says of topics: hexadecimal ids by name.
#[derive(Default, Deserialize)]
struct Text {
    #[serde(default)]
    topics: BTreeMap<String, String>,
}

impl TopicIdentities {
    /// Looks at a query's topics as it begins, compares them with those of its last commit, and has them watched.
    pub(super) fn open(
        log: &dyn Log,
        topics: Vec<(String, Role)>,
        sink: Option<Arc<Source>>,
        last_commit: Option<&str>,
    ) -> Result<Arc<TopicIdentities>> {
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        let now = log.identities(&names)?;
        // A text that is not ours holds no ids: then what is there now is what the query goes by.
        let before = last_commit.and_then(|text| serde_json::from_str::<Text>(text).ok()).unwrap_or_default();
        let topic = |((name, role), now): ((String, Role), &Option<Identity>)| {
            let known = before.topics.get(&name).and_then(|id| u128::from_str_radix(id, 16).ok());
            Topic { name: name.into(), role, id: known.map(TopicId).or(now.map(|now| now.id)) }
        };
        let topics: Vec<Topic> = topics.into_iter().zip(&now).map(topic).collect();
        let ids = ids_text(&topics);
        let seen = Mutex::new(Seen { missing: vec![0; topics.len()], first_change: None });
        let topic_identities = Arc::new(TopicIdentities { topics, sink, ids, seen });
        for (at, now) in now.into_iter().enumerate() {
            if let Some(change) = topic_identities.topics[at].change(now) {
                return Err(topic_identities.error(at, change));
            }
        }
        Ok(topic_identities)
    }

    /// The text of a commit.
    pub(crate) fn text(&self, commit: u64) -> String {
        format!("{{\"commit\":{commit},\"topics\":{{{}}}}}", self.ids)
    }

    /// An error once a topic is not what it was.
    pub(crate) fn check(&self) -> Result<()> {
        match self.seen.lock().first_change {
            Some((at, change)) => Err(self.error(at, change)),
            None => Ok(()),
        }
    }

    /// Adds to a failure that a topic is gone what can be done about it.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match error.kind() {
            Kind::NotFound if error.hint().is_none() => error.with_hint(self.remedy(Change::Deleted, None)),
            _ => error,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|t| &*t.name)
    }

    fn compare(&self, now: &BTreeMap<&str, Option<Identity>>) {
        let mut seen = self.seen.lock();
        for (at, topic) in self.topics.iter().enumerate() {
            let Some(now) = now.get(&*topic.name) else { continue };
            seen.missing[at] = if now.is_none() { seen.missing[at] + 1 } else { 0 };
            let change = topic.change(*now);
            let sure = !matches!(change, Some(Change::Deleted)) || seen.missing[at] >= MISSING_LOOKS;
            if let Some(change) = change.filter(|_| sure) {
                seen.first_change.get_or_insert((at, change));
            }
        }
    }

    fn error(&self, at: usize, change: Change) -> Error {
        let topic = &self.topics[at];
        let (name, verb) = match &topic.role {
            Role::Input(_) => (&topic.name, "read"),
            Role::Output => (&topic.name, "wrote"),
        };
        let message = match change {
            Change::Deleted => format!("topic {name} was deleted while this query {verb} it"),
            Change::Replaced => format!("topic {name} was deleted and created again while this query {verb} it"),
            Change::Grown(now) => {
                let before = topic.role.partitions();
                format!("topic {name} has {now} partitions now, this query was made for {before}")
            }
        };
        let input = match &topic.role {
            Role::Input(source) => Some(&**source),
            Role::Output => None,
        };
        Error::statement(message).with_hint(self.remedy(change, input))
    }

    /// What to do, in statements.
    fn remedy(&self, change: Change, input: Option<&Source>) -> String {
        let mut steps = Vec::new();
        if let Change::Deleted = change {
            steps.push("create the topic again".to_owned());
        }
        let declared = match (change, input) {
            (Change::Grown(_), Some(source)) => Some(format!("DROP {} {}", noun(source.kind), source.name)),
            _ => None,
        };
        match &self.sink {
            // Made by the query itself: it goes with it.
            Some(sink) if sink.created_by.is_some() => {
                steps.push(format!("DROP {} {} DELETE TOPIC", noun(sink.kind), sink.name));
            }
            Some(_) => steps.push("TERMINATE this query".to_owned()),
            None => {}
        }
        let again = match (&self.sink, &declared) {
            (Some(_), Some(_)) => "give the statements that created them again",
            (Some(_), None) => "give its statement again",
            (None, Some(_)) => "create it again, and start the SELECT again",
            (None, None) => "start the SELECT again",
        };
        steps.extend(declared);
        steps.push(again.to_owned());
        steps.join(", then ")
    }
}

impl Role {
    fn partitions(&self) -> u32 {
        match self {
            Role::Input(source) => source.partitions,
            Role::Output => 0,
        }
    }
}

impl Topic {
    fn change(&self, now: Option<Identity>) -> Option<Change> {
        let before = self.id?;
        match (now, &self.role) {
            (None, _) => Some(Change::Deleted),
            (Some(now), _) if now.id != before => Some(Change::Replaced),
            // More partitions under what a query writes do no harm: it continues with those that it knows.
            (Some(now), Role::Input(source)) if now.partitions > source.partitions => {
                Some(Change::Grown(now.partitions))
            }
            _ => None,
        }
    }
}

fn ids_text(topics: &[Topic]) -> String {
    let mut text = String::new();
    for topic in topics {
        let Some(TopicId(id)) = topic.id else { continue };
        // Names of topics hold nothing that JSON would escape.
        let entry = format!("{}\"{}\":\"{id:x}\"", if text.is_empty() { "" } else { "," }, topic.name);
        if text.len() + entry.len() + TEXT_BYTES_RESERVED <= METADATA_BYTES_MAX {
            text.push_str(&entry);
        }
    }
    text
}

fn noun(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "STREAM",
        SourceKind::Table => "TABLE",
    }
}
