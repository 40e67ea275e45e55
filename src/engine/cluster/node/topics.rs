//! The two topics by which the processes of a service know of each other, both with one partition.
//!
//! ```text
//! _confluent-ksql-SERVICE_control_topic   who owns which query; shortened by snapshots   record.rs
//! _confluent-ksql-SERVICE_pulse_topic     that a process lives, and what its queries do  pulse.rs
//! ```

use crate::catalog::topics::INTERNAL_PREFIX;
use crate::error::Result;
use crate::log::{Assignment, Isolation, Log, Reader, RecordSet, Start, TopicPartition, TopicSpec};
use std::sync::Arc;

/// How long a pulse is kept: for a look at what happened, and longer than any reader needs to come back.
const PULSE_RETENTION_MS: i64 = 300_000;
/// The place of the control topic in a reader of both.
pub(super) const CONTROL: usize = 0;

/// Their names.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    pub(super) control: Arc<str>,
    pub(super) pulse: Arc<str>,
}

impl Topics {
    /// Those of a service, which are created if they do not exist.
    pub(super) fn ensure(log: &dyn Log, service_id: &str) -> Result<Topics> {
        let name = |what: &str| format!("{INTERNAL_PREFIX}{service_id}_{what}_topic");
        let (control, pulse) = (name("control"), name("pulse"));
        ensure(log, TopicSpec::new(&control, 1).with("retention.ms", -1).with("cleanup.policy", "delete"))?;
        let kept = TopicSpec::new(&pulse, 1).with("retention.ms", PULSE_RETENTION_MS);
        ensure(log, kept.with("cleanup.policy", "delete"))?;
        Ok(Topics { control: control.into(), pulse: pulse.into() })
    }

    /// A reader of both: of the control topic from this offset or from its beginning, if that is later; of pulses from now on.
    pub(super) fn reader(&self, log: &dyn Log, control: i64) -> Result<Box<dyn Reader>> {
        let from = |topic: &Arc<str>, start| Assignment { topic: topic.clone(), partition: 0, start };
        let begin = log.watermarks(&TopicPartition::new(self.control.clone(), 0))?.low;
        let control = Start::Offset(control.max(begin));
        let both = vec![from(&self.control, control), from(&self.pulse, Start::Latest)];
        log.reader(both, Isolation::ReadUncommitted)
    }

    /// The offset of the next record of the control topic as of now.
    pub(super) fn control_end(&self, log: &dyn Log) -> Result<i64> {
        log.end(&TopicPartition::new(self.control.clone(), 0))
    }
}

/// Another process may create it at the same time.
fn ensure(log: &dyn Log, spec: TopicSpec) -> Result<()> {
    if log.topic(&spec.name)?.is_some() {
        return Ok(());
    }
    match log.create_topic(&spec) {
        Err(error) if log.topic(&spec.name)?.is_none() => Err(error),
        _ => Ok(()),
    }
}

/// Appends one record.
pub(super) fn append(log: &dyn Log, topic: &str, now_ms: i64, value: &[u8]) -> Result<()> {
    let mut set = RecordSet::default();
    set.push(0, now_ms, None, Some(value));
    log.append(topic, &set)
}
