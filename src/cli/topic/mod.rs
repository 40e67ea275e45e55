//! `tidegate topic`: topics as they lie in the log, without SQL.

mod produce;

use super::args::{Format, TopicCommand};
use super::interrupt::Interrupt;
use super::render::{Row, Screen, Shown, Sink, WAIT, quoted};
use crate::engine::introspect::topics::{TopicLine, Topics, missing};
use crate::engine::result::rows::OutputColumn;
use crate::error::{Error, Result};
use crate::format::sniff::{self, base64_of};
use crate::log::RecordRef;
use crate::present::Outcome;
use crate::types::SqlType;
use crate::types::temporal::timestamp_text;
use produce::{Lines, Producer};
use std::io::Read;

/// The offset that means "everything that is there".
const ALL: i64 = -1;

/// Shown for a missing key or value.
const NOTHING: &str = "<null>";

/// What a topic command needs of the world.
pub struct Tools<'a> {
    /// The topics.
    pub topics: &'a dyn Topics,
    /// Lines to produce.
    pub input: Box<dyn Read + Send>,
    /// Milliseconds since 1970, now.
    pub now_ms: &'a dyn Fn() -> i64,
    /// The partition of a key among so many.
    pub partition: &'a dyn Fn(&[u8], u32) -> i32,
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
}

impl std::fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tools({:?})", self.topics)
    }
}

/// Carries out a topic command.
pub fn run(command: &TopicCommand, tools: Tools<'_>, screen: &mut Screen<'_>) -> Result<Shown> {
    match command {
        TopicCommand::List { all } => list(tools.topics, *all, screen),
        TopicCommand::Produce { topic, key_separator, partitions } => {
            produce(tools, topic, key_separator.as_deref(), *partitions, screen)
        }
        TopicCommand::DeleteRecords { topic, before, all: _, partition } => {
            delete_records(tools.topics, topic, *before, *partition, screen)
        }
        TopicCommand::Print { topic, from_beginning, limit, exit_at_end } => {
            print(tools, topic, *from_beginning, *limit, *exit_at_end, screen)
        }
    }
}

fn list(topics: &dyn Topics, all: bool, screen: &mut Screen<'_>) -> Result<Shown> {
    let shown = topics.all()?.into_iter().filter(|t| all || !t.name.starts_with('_'));
    let row = |t: TopicLine| vec![t.name, t.partitions.to_string(), t.replicas.to_string(), t.offsets.to_string()];
    let columns = ["Topic", "Partitions", "Replicas", "Offsets"].map(str::to_owned).to_vec();
    screen.show(Outcome::Table { title: None, columns, rows: shown.map(row).collect() }, &|| false)
}

/// Deletes the records before an offset, in one partition or all; `None` = all records.
fn delete_records(
    topics: &dyn Topics,
    topic: &str,
    before: Option<u64>,
    only: Option<u32>,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let count = topics.partitions(topic)?.ok_or_else(|| missing(topic))?;
    let wanted = match only {
        Some(one) if one >= count => {
            return Err(Error::not_found(format!("topic {topic} has no partition {one}"))
                .with_detail(format!("it has {count} partitions, numbered from 0")));
        }
        Some(one) => one..one + 1,
        None => 0..count,
    };
    let before = before.map_or(Ok(ALL), i64::try_from).map_err(|_| Error::statement("offset out of range"))?;
    let mut rows = Vec::new();
    for partition in wanted {
        let low = topics.delete_records(topic, partition as i32, before)?;
        rows.push(vec![partition.to_string(), low.to_string()]);
    }
    let columns = ["Partition", "First offset"].map(str::to_owned).to_vec();
    screen.show(Outcome::Table { title: None, columns, rows }, &|| false)
}

fn produce(
    tools: Tools<'_>,
    topic: &str,
    separator: Option<&str>,
    create: Option<u32>,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let partitions = match (tools.topics.partitions(topic)?, create) {
        (Some(count), _) => count,
        (None, Some(wanted)) => tools.topics.create(topic, wanted).map(|()| wanted)?,
        (None, None) => return Err(missing(topic).with_hint("--partitions N creates it")),
    };
    let Tools { topics, now_ms, partition, .. } = tools;
    let producer = Producer { topics, topic, partitions, separator, now_ms, partition };
    producer.run(&mut Lines::of(tools.input)?, tools.interrupt, screen)
}

fn print(
    tools: Tools<'_>,
    topic: &str,
    from_beginning: bool,
    limit: Option<u64>,
    exit_at_end: bool,
    screen: &mut Screen<'_>,
) -> Result<Shown> {
    let mut tail = tools.topics.tail(topic, from_beginning)?;
    let columns = ["partition", "offset", "timestamp", "key", "value"];
    let columns = columns.map(|name| OutputColumn { name: name.to_owned(), ty: SqlType::String }).to_vec();
    let mut sink = Sink::new(screen.format, columns, screen.width, screen.options);
    let mut shown = Shown::default();
    while limit.is_none_or(|l| shown.rows < l) {
        if tools.interrupt.asked() {
            shown.interrupted = true;
            break;
        }
        let fetched = tail.poll(WAIT)?;
        let left = limit.map_or(usize::MAX, |l| (l - shown.rows) as usize);
        let mut written = Ok(());
        let mut count = 0;
        for run in fetched.runs() {
            run.for_each(|r| {
                if count == left || written.is_err() {
                    return;
                }
                count += 1;
                written = match screen.format {
                    Format::Table => writeln!(screen.out, "{}", line(run.slot, &r)).map_err(Error::from),
                    _ => sink.row(screen.out, row(run.slot, &r)),
                };
            });
        }
        written?;
        shown.rows += count as u64;
        screen.out.flush()?;
        if exit_at_end && fetched.is_empty() && tail.at_end() {
            break;
        }
    }
    if screen.format != Format::Table {
        sink.finish(screen.out)?;
        screen.out.flush()?;
    }
    Ok(shown)
}

/// `partition/offset  time  key: ...  value: ...`
fn line(partition: usize, r: &RecordRef<'_>) -> String {
    let key = r.key.map_or_else(|| NOTHING.to_owned(), |key| sniff::key(key).text);
    let value = r.value.map_or_else(|| NOTHING.to_owned(), |value| sniff::value(value).text);
    format!("{partition}/{}  {}Z  key: {key}  value: {value}", r.offset, timestamp_text(r.timestamp))
}

fn row(partition: usize, r: &RecordRef<'_>) -> Row {
    let numbers = [partition.to_string(), r.offset.to_string(), r.timestamp.to_string()];
    let json = numbers.iter().cloned().chain([json(r.key), json(r.value)]).collect();
    let cells = [r.key.map(|key| sniff::key(key).text), r.value.map(|value| sniff::value(value).text)];
    Row { cells: numbers.into_iter().map(Some).chain(cells).collect(), json, tombstone: false }
}

/// A JSON string, or `{"base64": ...}` for bytes that are no text.
fn json(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => "null".to_owned(),
        Some((Ok(text), _)) => quoted(text),
        Some((Err(_), bytes)) => format!("{{\"base64\":{}}}", quoted(&base64_of(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_told_apart_in_json() {
        assert_eq!(json(Some(b"\xff\x00")), "{\"base64\":\"/wA=\"}");
        assert_eq!((json(None), json(Some(b"a\""))), ("null".to_owned(), "\"a\\\"\"".to_owned()));
    }
}
