//! ALTER STREAM|TABLE, and ASSERT, which waits for the world to be as it should.

use crate::engine::Engine;
use crate::engine::command::Effect;
use crate::engine::command::status::{self, noun};
use crate::engine::ddl::apply::plain_status;
use crate::engine::result::entity::Entity;
use crate::engine::session::Session;
use crate::error::{Error, Result, Span};
use crate::parse::statement::{Alter, AssertTopic, Parsed, PropertyValue};
use crate::plan;
use std::time::Duration;

/// How long ASSERT waits if the statement does not say.
const ASSERT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Longest time that it may be told to wait: the request waits with it.
const ASSERT_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Time between two looks.
const ASSERT_STEP: Duration = Duration::from_millis(50);
/// ksqlDB's code of an assertion that failed.
const ASSERTION_FAILED: u32 = 41_700;

impl Engine {
    pub(in crate::engine) fn alter_source(&self, alter: &Alter, parsed: &Parsed, session: &Session) -> Result<Entity> {
        let mut ddl = self.ddl(&parsed.text)?;
        let source = plan::alter_source(alter, &ddl.catalog, &parsed.text)?;
        self.check_topic(session, &source.topic)?;
        let effect = Effect::CreateSource(Box::new(source.clone()));
        let sequence = self.record(&mut ddl, &parsed.text, session, effect)?;
        ddl.change(|state| state.catalog_mut().put(source));
        let command_id = status::changed(alter.kind, &alter.name.value, "alter");
        Ok(ddl.finish(plain_status(command_id, &format!("{} altered", noun(alter.kind)), sequence)))
    }

    /// Looks until the topic is as it should be, or time is up.
    pub(in crate::engine) fn assert_topic(&self, assert: &AssertTopic, session: &Session) -> Result<Entity> {
        self.check_topic(session, &assert.topic)?;
        let wanted = Wanted::of(assert)?;
        let timeout = match assert.timeout_ms {
            Some(ms) => Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(ASSERT_TIMEOUT_MAX),
            None => ASSERT_TIMEOUT,
        };
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

/// The answer to every ASSERT SCHEMA, NOT EXISTS too: a registry that is not there can be asked nothing, so that ksqlDB fails
/// at once in the same way.
pub(in crate::engine) fn no_registry(parsed: &Parsed) -> Error {
    Error::statement("Cannot check schema existence: KSQL is not configured to use a schema registry.")
        .with_hint("Tidegate does not speak to a schema registry yet")
        .with_code(ASSERTION_FAILED)
        .at(Span::new(0, parsed.text.len()))
}

/// What WITH asks of the topic.
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
