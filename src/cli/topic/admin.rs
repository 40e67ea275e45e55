//! `tidegate topic create`, `alter`, `describe`, `delete` and `delete-records`.

use crate::cli::render::{Screen, Shown};
use crate::engine::introspect::topics::{TopicDetail, Topics, missing};
use crate::error::{Error, Result};
use crate::log::{TopicChanges, check_partition};
use crate::present::Outcome;
use std::collections::BTreeMap;
use std::time::Duration;

/// The offset that means "everything that is there".
const ALL: i64 = -1;

/// The setting that `--retention` is.
const RETENTION: &str = "retention.ms";

/// What a topic is created with.
pub(super) struct Wanted<'a> {
    pub(super) partitions: u32,
    pub(super) retention: Option<Duration>,
    pub(super) config: &'a [(String, String)],
}

pub(super) fn create(
    topics: &dyn Topics,
    topic: &str,
    wanted: &Wanted<'_>,
    if_not_exists: bool,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    if if_not_exists && topics.partitions(topic)?.is_some() {
        return said(format!("topic {topic} exists already"), screen);
    }
    let mut config: BTreeMap<String, String> = wanted.config.iter().cloned().collect();
    if let Some(time) = wanted.retention {
        config.insert(RETENTION.to_owned(), time.as_millis().to_string());
    }
    topics.create(topic, wanted.partitions, &config)?;
    said(format!("created topic {topic} with {}", counted(wanted.partitions)), screen)
}

/// Changes settings of a topic.
pub(super) fn alter(
    topics: &dyn Topics,
    topic: &str,
    retention: Option<Duration>,
    config: &[(String, String)],
    reset: &[String],
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let mut changes: TopicChanges = reset.iter().map(|name| (name.clone(), None)).collect();
    let retention = retention.map(|time| (RETENTION.to_owned(), time.as_millis().to_string()));
    for (name, value) in config.iter().cloned().chain(retention) {
        if changes.insert(name.clone(), Some(value)).is_some() {
            return Err(Error::statement(format!("{name} is named twice")));
        }
    }
    topics.alter(topic, &changes)?;
    let shown = changes.iter().map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => format!("{name} is its default"),
    });
    said(format!("altered topic {topic}: {}", shown.collect::<Vec<_>>().join(", ")), screen)
}

pub(super) fn delete(topics: &dyn Topics, topic: &str, if_exists: bool, screen: &mut Screen<'_>) -> Result<Shown> {
    if if_exists && topics.partitions(topic)?.is_none() {
        return said(format!("topic {topic} does not exist"), screen);
    }
    topics.delete(topic)?;
    said(format!("deleted topic {topic}"), screen)
}

/// The settings of a topic, and its partitions.
pub(super) fn describe(topics: &dyn Topics, topic: &str, screen: &mut Screen<'_>) -> Result<Shown> {
    let TopicDetail { replicas, offsets, config } = topics.describe(topic)?.ok_or_else(|| missing(topic))?;
    let records: i64 = offsets.iter().map(|(low, high)| high - low).sum();
    let mut facts = vec![
        ("Topic", topic.to_owned()),
        ("Partitions", offsets.len().to_string()),
        ("Replicas", replicas.to_string()),
        ("Offsets", records.to_string()),
    ];
    if !config.contains_key(RETENTION) {
        facts.push((RETENTION, "(default)".to_owned()));
    }
    facts.extend(config.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let facts = facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut shown = screen.show(table(&["Fact", "Value"], facts), &|| false)?;
    let partition = |(n, (low, high)): (usize, &(i64, i64))| vec![n.to_string(), low.to_string(), high.to_string()];
    let rows = offsets.iter().enumerate().map(partition).collect();
    shown.add(screen.show(table(&["Partition", "First offset", "End"], rows), &|| false)?);
    Ok(shown)
}

/// Deletes the records before an offset, in one partition or all; `None` = all records.
pub(super) fn delete_records(
    topics: &dyn Topics,
    topic: &str,
    before: Option<u64>,
    only: Option<u32>,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let count = topics.partitions(topic)?.ok_or_else(|| missing(topic))?;
    check_partition(topic, only, count)?;
    let wanted = match only {
        Some(one) => one..one + 1,
        None => 0..count,
    };
    let before = before.map_or(Ok(ALL), i64::try_from).map_err(|_| Error::statement("offset out of range"))?;
    let mut rows = Vec::new();
    for partition in wanted {
        let low = topics.delete_records(topic, partition as i32, before)?;
        rows.push(vec![partition.to_string(), low.to_string()]);
    }
    screen.show(table(&["Partition", "First offset"], rows), &|| false)
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> Outcome {
    Outcome::Table { title: None, columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows }
}

fn said(message: String, screen: &mut Screen<'_>) -> Result<Shown> {
    screen.show(Outcome::Message(message), &|| false)
}

fn counted(partitions: u32) -> String {
    format!("{partitions} {}", if partitions == 1 { "partition" } else { "partitions" })
}
