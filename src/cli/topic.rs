//! `tidegate topic`: topics as they lie in the log, without SQL.

use super::args::TopicCommand;
use super::interrupt::Interrupt;
use super::render::{Screen, Shown, WAIT};
use super::value::base64;
use crate::engine::outcome::Outcome;
use crate::error::{Error, Result};
use crate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicPartition, TopicSpec};
use std::io::BufRead;
use std::sync::Arc;

/// Records taken at once.
const RECORDS_PER_POLL: usize = 1_000;

/// Records written at once.
const RECORDS_PER_APPEND: usize = 1_000;

/// What a topic command needs of the world.
pub struct Tools<'a> {
    /// The log.
    pub log: &'a dyn Log,
    /// Lines to produce.
    pub input: &'a mut dyn BufRead,
    /// Milliseconds since 1970, now.
    pub now_ms: &'a dyn Fn() -> i64,
    /// The partition of a key among so many.
    pub partition: &'a dyn Fn(&[u8], u32) -> i32,
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
}

impl std::fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tools({:?})", self.log)
    }
}

/// Carries out a topic command.
pub fn run(command: &TopicCommand, tools: Tools<'_>, screen: &mut Screen<'_>) -> Result<Shown> {
    match command {
        TopicCommand::List { all } => list(tools.log, *all, screen),
        TopicCommand::Produce { topic, key_separator, partitions } => {
            produce(tools, topic, key_separator.as_deref(), *partitions, screen)
        }
        TopicCommand::Print { topic, from_beginning, limit, exit_at_end } => {
            print(tools, topic, *from_beginning, *limit, *exit_at_end, screen)
        }
    }
}

fn list(log: &dyn Log, all: bool, screen: &mut Screen<'_>) -> Result<Shown> {
    let mut rows = Vec::new();
    for topic in log.topics()?.into_iter().filter(|t| all || !t.name.starts_with('_')) {
        let mut records = 0;
        for partition in 0..topic.partitions as i32 {
            let marks = log.watermarks(&TopicPartition::new(topic.name.as_str(), partition))?;
            records += marks.high - marks.low;
        }
        rows.push(vec![topic.name, topic.partitions.to_string(), topic.replicas.to_string(), records.to_string()]);
    }
    let columns = ["Topic", "Partitions", "Replicas", "Offsets"].map(str::to_owned).to_vec();
    screen.show(Outcome::Table { title: None, columns, rows }, &|| false)
}

fn missing(topic: &str) -> Error {
    Error::not_found(format!("topic {topic} does not exist")).with_hint("tidegate topic list shows what exists")
}

fn produce(
    tools: Tools<'_>,
    topic: &str,
    separator: Option<&str>,
    create: Option<u32>,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let info = match (tools.log.topic(topic)?, create) {
        (Some(info), _) => info,
        (None, Some(partitions)) => tools.log.create_topic(&TopicSpec::new(topic, partitions))?,
        (None, None) => return Err(missing(topic).with_hint("--partitions N creates it")),
    };
    let mut records = RecordSet::default();
    let mut count: u64 = 0;
    let mut line = String::new();
    while !tools.interrupt.asked() {
        line.clear();
        let read = tools.input.read_line(&mut line)?;
        let text = line.trim_end_matches(['\n', '\r']);
        if read > 0 && !text.is_empty() {
            let (key, value) = match separator {
                Some(separator) => {
                    let (key, value) = text.split_once(separator).ok_or_else(|| {
                        Error::data(format!("line {} has no {separator:?}", count + 1))
                            .with_detail("nothing after it is written")
                    })?;
                    (Some(key), value)
                }
                None => (None, text),
            };
            let partition = match key {
                Some(key) => (tools.partition)(key.as_bytes(), info.partitions),
                None => (count % u64::from(info.partitions)) as i32,
            };
            records.push(partition, (tools.now_ms)(), key.map(str::as_bytes), Some(value.as_bytes()));
            count += 1;
        }
        if records.len() >= RECORDS_PER_APPEND || read == 0 {
            if !records.is_empty() {
                tools.log.append(topic, &records)?;
                records.clear();
            }
            if read == 0 {
                break;
            }
        }
    }
    screen.show(Outcome::Message(format!("{count} records written to {topic}")), &|| false)?;
    Ok(Shown { rows: count, interrupted: tools.interrupt.asked(), ..Shown::default() })
}

fn print(
    tools: Tools<'_>,
    topic: &str,
    from_beginning: bool,
    limit: Option<u64>,
    exit_at_end: bool,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let info = tools.log.topic(topic)?.ok_or_else(|| missing(topic))?;
    let name: Arc<str> = Arc::from(topic);
    let start = if from_beginning { Start::Earliest } else { Start::Latest };
    let slots = 0..info.partitions as i32;
    let assignment = slots.map(|partition| Assignment { topic: name.clone(), partition, start }).collect();
    let mut reader = tools.log.reader(assignment, Isolation::ReadCommitted)?;
    let mut shown = Shown::default();
    while limit.is_none_or(|l| shown.rows < l) {
        if tools.interrupt.asked() {
            shown.interrupted = true;
            break;
        }
        let fetched = reader.poll(RECORDS_PER_POLL, WAIT)?;
        let mut lines = Vec::new();
        for run in fetched.runs() {
            run.for_each(|r| {
                let part = |bytes: Option<&[u8]>| bytes.map_or_else(|| "<null>".to_owned(), readable);
                let (key, value) = (part(r.key), part(r.value));
                lines.push(format!("{}/{}  {}  key: {key}  value: {value}", run.slot, r.offset, r.timestamp));
            });
        }
        let left = limit.map_or(usize::MAX, |l| (l - shown.rows) as usize);
        for line in lines.iter().take(left) {
            writeln!(screen.out, "{line}")?;
            shown.rows += 1;
        }
        screen.out.flush()?;
        if exit_at_end && fetched.is_empty() && (0..info.partitions as usize).all(|slot| reader.at_end(slot)) {
            break;
        }
    }
    Ok(shown)
}

/// Text as it is, without control characters; anything else in base64.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("base64:{}", base64(bytes)),
    }
}
