//! `tidegate topic`: topics as they lie in the log, without SQL.

mod admin;
mod print;
mod produce;

use super::args::{ProduceOptions, TopicCommand};
use super::interrupt::Interrupt;
use super::render::{Screen, Shown};
use crate::engine::introspect::topics::{TailFrom, TopicLine, Topics, missing};
use crate::error::{Error, Result};
use crate::log::{RecordSet, check_partition};
use crate::present::Outcome;
use produce::{Destination, Lines, Raw};
use std::collections::BTreeMap;
use std::io::Read;

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
        TopicCommand::Create { topic, partitions, retention, topic_config, if_not_exists } => {
            let wanted = admin::Wanted { partitions: *partitions, retention: *retention, config: topic_config };
            admin::create(tools.topics, topic, &wanted, *if_not_exists, screen)
        }
        TopicCommand::Describe { topic } => admin::describe(tools.topics, topic, screen),
        TopicCommand::Alter { topic, retention, topic_config, reset } => {
            admin::alter(tools.topics, topic, *retention, topic_config, reset, screen)
        }
        TopicCommand::Delete { topic, if_exists } => admin::delete(tools.topics, topic, *if_exists, screen),
        TopicCommand::Produce(options) => produce(tools, options, screen),
        TopicCommand::DeleteRecords { topic, before, all: _, partition } => {
            admin::delete_records(tools.topics, topic, *before, *partition, screen)
        }
        TopicCommand::Print { topic, from_beginning, offset, partition, limit, exit_at_end, format } => {
            let from = match (from_beginning, offset) {
                (_, Some(from)) => *from,
                (true, None) => TailFrom::Beginning,
                (false, None) => TailFrom::End,
            };
            let wanted = print::Wanted {
                topic,
                from,
                partition: *partition,
                limit: *limit,
                exit_at_end: *exit_at_end,
                format: format.as_deref(),
            };
            print::print(&wanted, &tools, screen)
        }
    }
}

fn list(topics: &dyn Topics, all: bool, screen: &mut Screen<'_>) -> Result<Shown> {
    let shown = topics.all()?.into_iter().filter(|t| all || !t.name.starts_with('_'));
    let row = |t: TopicLine| vec![t.name, t.partitions.to_string(), t.replicas.to_string(), t.offsets.to_string()];
    let columns = ["Topic", "Partitions", "Replicas", "Offsets"].map(str::to_owned).to_vec();
    screen.show(Outcome::Table { title: None, columns, rows: shown.map(row).collect() }, &|| false)
}

fn produce(tools: Tools<'_>, options: &ProduceOptions, screen: &mut Screen<'_>) -> Result<Shown> {
    let Tools { topics, input, now_ms, partition, interrupt } = tools;
    let destination = match (&options.into, &options.topic) {
        (Some(target), _) => Destination::declared(topics, target, options),
        (None, Some(topic)) => {
            let partitions = match (topics.partitions(topic)?, options.partitions) {
                (Some(count), _) => count,
                (None, Some(wanted)) => topics.create(topic, wanted, &BTreeMap::new()).map(|()| wanted)?,
                (None, None) => return Err(missing(topic).with_hint("--partitions N creates it")),
            };
            check_partition(topic, options.partition, partitions)?;
            Destination::Topic(Raw {
                topics,
                topic,
                partitions,
                options,
                now_ms,
                partition,
                records: RecordSet::default(),
            })
        }
        (None, None) => return Err(Error::bug("neither a topic nor a stream to write to")),
    };
    produce::run(destination, options, &mut Lines::of(input)?, interrupt, screen)
}
