//! Durable statements: one topic, one partition, replayed at every start.
//!
//! A record holds what was said *and what it meant*: names, types, formats, topics and partition counts as they were
//! resolved when the statement was carried out. Replay never looks at the outside world again, so that a topic that got
//! more partitions, or a default that changed, cannot change a query behind its owner's back.

use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::log::{Assignment, Isolation, Log, RecordSet, Start, TopicPartition, TopicSpec};
use crate::types::SqlType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Version of the record format; a newer one is refused, with a message.
pub const COMMAND_FORMAT: u32 = 1;
/// How long one poll waits during the replay; the replay itself ends at the topic's end.
const REPLAY_POLL: Duration = Duration::from_millis(100);
/// Records taken per poll during the replay.
const REPLAY_RECORDS: usize = 1_000;

/// One carried-out statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// [`COMMAND_FORMAT`] of whoever wrote it.
    pub format: u32,
    /// Version of Tidegate that wrote it.
    pub engine: String,
    /// Its place: 0, 1, 2 ... without gaps.
    pub sequence: u64,
    /// The statement, after substitution of variables.
    pub statement: String,
    /// The user who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Session properties in force.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What it meant.
    pub effect: Effect,
}

/// What a statement did to the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A stream or table was registered.
    CreateSource(Box<Source>),
    /// A persistent query and the source that it writes were created.
    CreateQuery {
        /// The query's id.
        id: String,
        /// The source it writes, as resolved.
        sink: Box<Source>,
        /// The sources it reads.
        reads: Vec<String>,
        /// Offsets by partition that `latest` meant, for a query that began there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begin: Option<Vec<i64>>,
    },
    /// A stream or table was dropped, with the query that wrote it.
    Drop {
        /// Its name.
        name: String,
    },
    /// A type got a name.
    CreateType {
        /// The name.
        name: String,
        /// The type.
        ty: SqlType,
    },
    /// A type's name was dropped.
    DropType {
        /// The name.
        name: String,
    },
    /// A query was terminated.
    Terminate {
        /// Its id.
        id: String,
    },
    /// A query was paused (`true`) or resumed.
    Pause {
        /// Its id.
        id: String,
        /// Paused or resumed.
        paused: bool,
    },
}

/// The topic of commands.
#[derive(Debug)]
pub struct CommandLog {
    topic: String,
}

impl CommandLog {
    /// The command log of a service; the topic is created when it does not exist.
    pub fn open(log: &dyn Log, service_id: &str) -> Result<CommandLog> {
        let topic = format!("_confluent-ksql-{service_id}_command_topic");
        if log.topic(&topic)?.is_none() {
            log.create_topic(&TopicSpec::new(&topic, 1).with("retention.ms", -1).with("cleanup.policy", "delete"))?;
        }
        Ok(CommandLog { topic })
    }

    /// All commands, in order.
    pub fn replay(&self, log: &dyn Log) -> Result<Vec<Command>> {
        let partition = TopicPartition::new(self.topic.as_str(), 0);
        let end = log.watermarks(&partition)?.high;
        let from = Assignment { topic: partition.topic.clone(), partition: 0, start: Start::Earliest };
        let mut reader = log.reader(vec![from], Isolation::ReadCommitted)?;
        let mut commands = Vec::new();
        while reader.position(0) < end {
            for run in reader.poll(REPLAY_RECORDS, REPLAY_POLL)?.runs() {
                let mut failure = None;
                run.for_each(|r| match self.read(r.offset, r.value.unwrap_or_default()) {
                    Ok(command) => commands.push(command),
                    Err(e) => failure = Some(failure.take().unwrap_or(e)),
                });
                if let Some(e) = failure {
                    return Err(e);
                }
            }
        }
        Ok(commands)
    }

    fn read(&self, offset: i64, bytes: &[u8]) -> Result<Command> {
        let place = || format!("topic {}, offset {offset}", self.topic);
        let command: Command = serde_json::from_slice(bytes).map_err(|e| {
            Error::io("the command log holds a record that cannot be read").with_detail(place()).because(e)
        })?;
        if command.format > COMMAND_FORMAT {
            return Err(Error::io(format!("the command log was written by a newer Tidegate ({})", command.engine))
                .with_detail(place())
                .with_hint("start that version, or a newer one"));
        }
        Ok(command)
    }

    /// Forgets all commands.
    pub fn delete(&self, log: &dyn Log) -> Result<()> {
        log.delete_topic(&self.topic)
    }

    /// Makes a command durable.
    pub fn append(&self, log: &dyn Log, command: &Command, now_ms: i64) -> Result<()> {
        let value = serde_json::to_vec(command).map_err(|e| Error::bug("a command cannot be written").because(e))?;
        let mut set = RecordSet::default();
        set.push(0, now_ms, Some(command.sequence.to_string().as_bytes()), Some(&value));
        log.append(&self.topic, &set)
    }
}
