//! `tidegate datagen`: generated records for tutorials and tests, as ksql-datagen writes them.
//!
//! Into a log that this process or the owner of the directory has open, records are appended as they are: the key in Kafka's
//! format, the value with all fields. To a server rows are inserted by statements, in any format that it has. Rows follow from the seed, so that two
//! runs write the same.

use crate::cli::Session;
use crate::cli::interrupt::Interrupt;
use crate::cli::render::WAIT;
use crate::engine::datagen::Spec;
use crate::engine::datagen::templates::{Template, TemplateColumn};
use crate::engine::introspect::topics::Topics;
use crate::error::{Error, Result};
use crate::log::RecordSet;
use crate::types::clock::SharedClock;
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

/// Records that are written at once.
const RECORDS_PER_APPEND: u64 = 1_000;
/// Statements that are sent before the next look at the clock.
const STATEMENTS_PER_STEP: u64 = 100;

/// Takes the rows that are due.
type Hand<'a> = dyn FnMut(&[Map<String, Value>]) -> Result<()> + 'a;

/// The form of generated values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ValueFormat {
    /// One JSON object.
    #[default]
    Json,
    /// Comma-separated values.
    #[value(alias = "csv")]
    Delimited,
}

/// What is to be generated.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) spec: Spec,
    pub(super) topic: &'a str,
    pub(super) format: ValueFormat,
    pub(super) partitions: u32,
    /// Each row is shown, too.
    pub(super) print: bool,
}

/// What it needs of the world.
pub(super) struct Tools<'a> {
    pub(super) clock: SharedClock,
    pub(super) interrupt: &'a Interrupt,
    /// The partition of a key among so many.
    pub(super) partition: &'a dyn Fn(&[u8], u32) -> i32,
    pub(super) out: &'a mut dyn Write,
}

impl Debug for Tools<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tools({:?})", self.clock)
    }
}

impl Wanted<'_> {
    /// The statement that reads what is written.
    pub(super) fn statement(&self) -> String {
        let (template, topic) = (self.spec.template, self.topic);
        // The fields of a delimited value are counted, the key's among them.
        let (key, format) = match self.format {
            ValueFormat::Json => ("KEY", "JSON"),
            ValueFormat::Delimited => ("", "DELIMITED"),
        };
        let columns = template.declaration(key);
        format!(
            "CREATE STREAM {} ({columns}) WITH (KAFKA_TOPIC = '{topic}', VALUE_FORMAT = '{format}');",
            template.name()
        )
    }

    /// Appends records to a topic, which is created where it is missing. Returns how many.
    pub(super) fn append(&self, topics: &dyn Topics, tools: &mut Tools<'_>) -> Result<u64> {
        if self.format == ValueFormat::Delimited && self.spec.template == Template::Orders {
            return Err(Error::statement("DELIMITED has no structs, and orders have an address")
                .with_hint("use --format json, or another template"));
        }
        let partitions = match topics.partitions(self.topic)? {
            Some(count) => count,
            None => topics.create(self.topic, self.partitions, &BTreeMap::new()).map(|()| self.partitions)?,
        };
        let clock = tools.clock.clone();
        let partition = tools.partition;
        self.paced(tools, RECORDS_PER_APPEND, &mut |rows| {
            let mut records = RecordSet::default();
            for row in rows {
                let key = self.key(row)?;
                let value = self.value(row)?;
                records.push(partition(&key, partitions), clock.now_ms(), Some(&key), Some(value.as_bytes()));
            }
            topics.append(self.topic, &records)
        })
    }

    /// Inserts rows by statements into a stream, which is created where it is missing. Returns how many.
    pub(super) fn insert(&self, session: &mut Session, tools: &mut Tools<'_>) -> Result<u64> {
        let name = self.spec.template.name();
        let (topic, partitions) = (self.topic, self.partitions);
        let create = format!(
            "CREATE STREAM IF NOT EXISTS {name} ({}) WITH (KAFKA_TOPIC = '{topic}', VALUE_FORMAT = 'JSON', PARTITIONS = {partitions})",
            self.spec.template.declaration("KEY")
        );
        (session.execute)(&create)?;
        let columns = self.spec.template.columns().iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
        self.paced(tools, STATEMENTS_PER_STEP, &mut |rows| {
            let insert = |row: &Map<String, Value>| {
                let values: Vec<String> = row.values().map(literal).collect();
                format!("INSERT INTO {name} ({columns}) VALUES ({})", values.join(", "))
            };
            rows.iter().try_for_each(|row| (session.execute)(&insert(row)).map(drop))
        })
    }

    /// Hands out rows as they are due, until all are written or the user has enough.
    fn paced(&self, tools: &mut Tools<'_>, most: u64, write: &mut Hand<'_>) -> Result<u64> {
        let (mut begin, mut first, mut next) = (tools.clock.monotonic(), 0, 0);
        while next < self.spec.count && !tools.interrupt.asked() {
            let now = tools.clock.monotonic();
            // The first row comes at once.
            let due = self.spec.due(now - begin).saturating_add(first + 1).min(self.spec.count);
            let end = due.min(next + most);
            if next == end {
                tools.clock.sleep(WAIT.min(Duration::from_millis(1_000 / self.spec.rate.clamp(1, 1_000))));
                continue;
            }
            let rows: Vec<_> = (next..end).map(|i| self.spec.template.row(self.spec.seed, i)).collect();
            write(&rows).map_err(|e| e.and_detail(&format!("rows written before: {next} or more")))?;
            if self.print {
                rows.iter().try_for_each(|row| writeln!(tools.out, "{}", Value::Object(row.clone())))?;
                tools.out.flush()?;
            }
            next = end;
            if due - end > self.spec.rate {
                // It cannot keep up: what is missing is not made up for.
                (begin, first) = (now, end);
            }
        }
        Ok(next)
    }

    /// The key in Kafka's format.
    fn key(&self, row: &Map<String, Value>) -> Result<Vec<u8>> {
        let columns = self.spec.template.columns();
        let Some(TemplateColumn { name, ty, .. }) = columns.iter().find(|c| c.is_key) else { return Ok(Vec::new()) };
        let value = &row[*name];
        let number = || value.as_i64().ok_or_else(|| Error::bug(format!("the key {value} is no {ty}")));
        Ok(match *ty {
            "INT" => {
                i32::try_from(number()?).map_err(|e| Error::bug("a key is no INT").because(e))?.to_be_bytes().to_vec()
            }
            "BIGINT" => number()?.to_be_bytes().to_vec(),
            _ => value.as_str().unwrap_or_default().as_bytes().to_vec(),
        })
    }

    fn value(&self, row: &Map<String, Value>) -> Result<String> {
        match self.format {
            ValueFormat::Json => Ok(Value::Object(row.clone()).to_string()),
            ValueFormat::Delimited => {
                let cell = |value: &Value| match value {
                    Value::String(text) if text.contains(['"', ',', '\n', '\r']) => {
                        format!("\"{}\"", text.replace('"', "\"\""))
                    }
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                Ok(row.values().map(cell).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// A value as SQL writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name} := {}", literal(value));
            format!("STRUCT({})", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(template: Template, format: ValueFormat) -> Wanted<'static> {
        let spec = Spec { template, rate: 10, count: 3, seed: 1 };
        Wanted { spec, topic: "t", format, partitions: 1, print: false }
    }

    #[test]
    fn keys_are_in_kafkas_format_and_values_have_every_field() {
        let orders = wanted(Template::Orders, ValueFormat::Json);
        let row = orders.spec.template.row(1, 258);
        assert_eq!(orders.key(&row).unwrap(), [0, 0, 1, 2]);
        let value: Value = serde_json::from_str(&orders.value(&row).unwrap()).unwrap();
        assert_eq!((&value["orderid"], value["address"]["zipcode"].is_number()), (&Value::from(258), true));
        let clicks = wanted(Template::Clickstream, ValueFormat::Delimited);
        let row = clicks.spec.template.row(1, 0);
        assert_eq!(clicks.value(&row).unwrap().split(',').count(), 6);
        assert!(clicks.statement().starts_with("CREATE STREAM clickstream (ip VARCHAR, userid INT,"));
        assert!(literal(&row["request"]).starts_with("'GET "));
    }
}
