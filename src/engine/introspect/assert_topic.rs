//! ASSERT TOPIC: waits until a topic is as the statement says, or fails.

use crate::engine::Engine;
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::{AssertTopic, PropertyValue};
use std::time::Duration;

/// How long ASSERT waits without a TIMEOUT clause.
const ASSERT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Longest TIMEOUT: the request waits with the statement.
const ASSERT_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Time between two checks.
pub(in crate::engine) const ASSERT_STEP: Duration = Duration::from_millis(50);
/// ksqlDB's code of an assertion that failed.
pub(in crate::engine) const ASSERTION_FAILED: u32 = 41_700;

impl Engine {
    /// Checks until the topic is as asserted, or the timeout has passed.
    pub(in crate::engine) fn assert_topic(&self, assert: &AssertTopic, session: &Session) -> Result<Entity> {
        self.check_topic(session, &assert.topic)?;
        let wanted = Wanted::of(assert)?;
        let timeout = assert_timeout(assert.timeout_ms);
        let begin = self.inner.clock.monotonic();
        loop {
            let Some(failure) = self.fails(assert, &wanted)? else {
                return Ok(Entity::AssertedTopic { topic: assert.topic.clone(), exists: assert.exists });
            };
            if self.inner.clock.monotonic() >= begin + timeout {
                return Err(Error::statement(failure).with_code(ASSERTION_FAILED));
            }
            self.inner.clock.sleep(ASSERT_STEP);
        }
    }

    fn fails(&self, assert: &AssertTopic, wanted: &Wanted) -> Result<Option<String>> {
        let name = &assert.topic;
        let found = self.inner.log.topic(name)?;
        if !assert.exists {
            return Ok(found.map(|_| format!("Topic {name} exists.")));
        }
        let Some(found) = found else { return Ok(Some(format!("Topic {name} does not exist."))) };
        let mut wrong = Vec::new();
        for (what, wanted, has) in [
            ("partitions", wanted.partitions, u64::from(found.partitions)),
            ("replicas", wanted.replicas, u64::from(found.replicas)),
        ] {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != has) {
                wrong.push(format!("Mismatched {what}: expected {wanted}, was {has}"));
            }
        }
        Ok((!wrong.is_empty()).then(|| format!("Topic {name} is not as expected. {}.", wrong.join(". "))))
    }
}

/// How long an assertion with this TIMEOUT waits.
pub(in crate::engine) fn assert_timeout(timeout_ms: Option<i64>) -> Duration {
    match timeout_ms {
        Some(ms) => Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(ASSERT_TIMEOUT_MAX),
        None => ASSERT_TIMEOUT,
    }
}

/// What the WITH clause requires of the topic.
#[derive(Default)]
struct Wanted {
    partitions: Option<u64>,
    replicas: Option<u64>,
}

impl Wanted {
    fn of(assert: &AssertTopic) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for (name, value) in &assert.with {
            let number = match value {
                PropertyValue::Number(text) => text.parse().ok(),
                _ => None,
            };
            let place = match name.value.as_str() {
                "PARTITIONS" => &mut wanted.partitions,
                "REPLICAS" => &mut wanted.replicas,
                other => {
                    let text = format!("Cannot assert unknown topic property: \"{other}\"");
                    return Err(Error::statement(text).at(name.span));
                }
            };
            let wrong = || Error::statement(format!("{} needs a whole number", name.value)).at(name.span);
            *place = Some(number.ok_or_else(wrong)?);
        }
        Ok(wanted)
    }
}
