//! PRINT: the raw records of a topic, as rows.

use crate::engine::introspect::print_framed::Framed;
use crate::engine::introspect::topics::{LogTopics, Tail, TailFrom, Topics};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Result};
use crate::format::sniff::Readable;
use crate::log::{RecordRef, Run};
use crate::parse::statement::Print;
use crate::types::SqlType;
use arrow::array::{Int32Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The columns of the result.
const COLUMNS: [(&str, SqlType); 5] = [
    ("rowtime", SqlType::Timestamp),
    ("key", SqlType::String),
    ("value", SqlType::String),
    ("partition", SqlType::Integer),
    ("offset", SqlType::Bigint),
];

impl Engine {
    pub(in crate::engine) fn print(&self, print: &Print, session: &Session) -> Result<Answer> {
        self.check_topic(session, &print.topic)?;
        if print.interval == Some(0) {
            return Err(Error::statement("INTERVAL must be greater than zero")
                .with_hint("INTERVAL 2 shows every second record"));
        }
        let topics = LogTopics::new(self.inner.log.clone(), self.inner.topics.clone());
        if topics.partitions(&print.topic)?.is_none() {
            let error = Error::statement(format!("Could not find topic '{}'", print.topic));
            return Err(error.with_hint("SHOW TOPICS lists what exists; put a name with lower-case letters in quotes"));
        }
        let from = if print.from_beginning { TailFrom::Beginning } else { TailFrom::End };
        let columns = COLUMNS.map(|(name, ty)| OutputColumn { name: name.to_owned(), ty });
        Ok(Answer::Rows(Box::new(Printed {
            tail: topics.tail(&print.topic, from)?,
            columns: columns.to_vec(),
            interval: print.interval.unwrap_or(1).max(1),
            seen: 0,
            left: print.limit.unwrap_or(u64::MAX),
            framed: Framed::new(self.shared_schemas(), &print.topic),
            keys: BTreeSet::new(),
            values: BTreeSet::new(),
        })))
    }
}

/// Records of a topic.
struct Printed {
    tail: Box<dyn Tail>,
    columns: Vec<OutputColumn>,
    /// Every n-th record is shown, starting with the first.
    interval: u64,
    seen: u64,
    left: u64,
    /// Payloads that name a registered schema.
    framed: Framed,
    /// The formats that keys and values appear to have.
    keys: BTreeSet<&'static str>,
    values: BTreeSet<&'static str>,
}

#[derive(Default)]
struct Rows {
    times: TimestampMillisecondBuilder,
    keys: StringBuilder,
    values: StringBuilder,
    partitions: Int32Builder,
    offsets: Int64Builder,
    count: usize,
}

impl Printed {
    fn take(&mut self, run: &Run, rows: &mut Rows) {
        run.for_each(|r| {
            let wanted = self.left > 0 && self.seen.is_multiple_of(self.interval);
            self.seen += 1;
            if wanted {
                self.left -= 1;
                self.put(run.slot, &r, rows);
            }
        });
    }

    fn put(&mut self, partition: usize, r: &RecordRef<'_>, rows: &mut Rows) {
        let (key, value) = self.framed.sides(r);
        let text = |read: Option<Readable>, formats: &mut BTreeSet<&'static str>| {
            let Readable { text, format } = read?;
            formats.insert(format);
            Some(text)
        };
        rows.times.append_value(r.timestamp);
        rows.keys.append_option(text(key, &mut self.keys));
        rows.values.append_option(text(value, &mut self.values));
        rows.partitions.append_value(partition as i32);
        rows.offsets.append_value(r.offset);
        rows.count += 1;
    }
}

impl RowStream for Printed {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        if self.left == 0 {
            return Ok(RowEvent::Done(Some("Limit Reached".to_owned())));
        }
        let mut rows = Rows::default();
        self.framed.begin();
        for run in self.tail.poll(timeout)?.runs() {
            self.take(run, &mut rows);
        }
        if rows.count == 0 {
            return Ok(RowEvent::Idle);
        }
        Ok(RowEvent::Rows {
            columns: vec![
                Arc::new(rows.times.finish()),
                Arc::new(rows.keys.finish()),
                Arc::new(rows.values.finish()),
                Arc::new(rows.partitions.finish()),
                Arc::new(rows.offsets.finish()),
            ],
            tombstones: Vec::new(),
        })
    }

    fn notice(&self) -> Option<String> {
        let line = |what: &str, formats: &BTreeSet<&'static str>| {
            let formats: Vec<&str> = formats.iter().copied().collect();
            let seen = if formats.is_empty() { "no data processed".to_owned() } else { formats.join(" or ") };
            format!("{what} format: {seen}")
        };
        let trouble = self.framed.trouble().map(|reason| format!("\n{reason}")).unwrap_or_default();
        Some(format!("{}\n{}{trouble}", line("Key", &self.keys), line("Value", &self.values)))
    }
}
