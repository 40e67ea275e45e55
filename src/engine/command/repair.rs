//! `tidegate repair`: shows the command log, and removes records that do not belong there.
//!
//! ```text
//! offset 4   skipped: it cannot be read as a command: not json
//! offset 5   DROP STREAM readings;
//! repair --remove      offset 4 is not reported any more
//! repair --offset 5    offset 5 is not replayed any more
//! ```
//!
//! The log is append-only: a removal is one more record, which carries the service's mark as a command does. So a crash at any
//! point leaves the log either as it was or repaired.

use crate::engine::command::{CommandLog, History, Removal};
use crate::engine::open::own;
use crate::engine::{Config, Engine};
use crate::error::{Error, Result};
use crate::types::clock::SharedClock;

/// What is to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All records that are no commands.
    pub skipped: bool,
    /// These records, commands too.
    pub offsets: Vec<i64>,
}

/// What was found and removed.
#[derive(Debug)]
pub struct Report {
    /// The topic.
    pub topic: String,
    /// Its contents before the removal.
    pub history: History,
    /// Records that were removed.
    pub removed: u64,
}

impl Engine {
    /// Inspects the configured command log, on which no service may be running, and removes what is wanted.
    pub fn repair(config: &Config, clock: &SharedClock, wanted: &Wanted) -> Result<Report> {
        let log = Engine::open_log(config, clock)?;
        let topic = CommandLog::topic(&config.service_id);
        if log.topic(&topic)?.is_none() {
            return Err(Error::not_found(format!("there is no command log of the service {}", config.service_id))
                .with_detail(format!("topic {topic} on the {}", log.describe()))
                .with_hint("--service-id names another service"));
        }
        let _owner = own(&*log, config, clock)?;
        let (commands, history) = CommandLog::open(&*log, &config.service_id)?;
        let known = |offset: &i64| {
            let is_command = history.commands.iter().any(|c| c.offset == *offset);
            is_command || history.skipped.iter().any(|s| s.offset == *offset)
        };
        if let Some(unknown) = wanted.offsets.iter().find(|offset| !known(offset)) {
            return Err(Error::not_found(format!("there is nothing to remove at offset {unknown} of topic {topic}"))
                .with_hint("tidegate repair --all shows what there is"));
        }
        let is_named = |offset: i64| wanted.offsets.contains(&offset);
        let mut removed = history.commands.iter().filter(|c| is_named(c.offset)).count() as u64;
        removed += match wanted.skipped {
            true => history.skipped_count,
            false => history.skipped.iter().filter(|s| is_named(s.offset)).count() as u64,
        };
        if removed > 0 {
            let below = if wanted.skipped { history.end } else { 0 };
            commands.remove(&*log, &Removal { below, offsets: wanted.offsets.clone() }, clock.now_ms())?;
        }
        Ok(Report { topic, history, removed })
    }
}
