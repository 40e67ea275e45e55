//! An engine over random records, and the rows that a query has in it: over history, pushed, and kept by a persistent query.

use super::writer::{Form, Query};
use crate::batches::Dice;
use arrow::array::{Array, ArrayRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::{RowEvent, RowStream};
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::error::Error;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, partition};
use tidegate::types::clock::{ManualClock, SharedClock, SystemClock};
use tidegate::types::display::write_value;

/// Records of all topics together.
pub(super) const RECORDS: i64 = 90;
/// How long a push query may take to reach the end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) type Rows = Vec<Vec<String>>;
pub(super) type Outcome<T> = Result<T, Error>;

const SOURCES: &str = "
    CREATE STREAM s (k STRING KEY, w STRING, n INT, b BIGINT, a ARRAY<INT>)
      WITH (kafka_topic='s', partitions=#, value_format='JSON');
    CREATE STREAM r (k STRING KEY, n INT, w STRING) WITH (kafka_topic='r', partitions=#, value_format='JSON');
    CREATE TABLE t (k STRING PRIMARY KEY, name STRING, n INT) WITH (kafka_topic='t', partitions=#, value_format='JSON');
    CREATE TABLE v (k STRING PRIMARY KEY, m INT) WITH (kafka_topic='v', partitions=#, value_format='JSON');
    CREATE TABLE u (id INT PRIMARY KEY, fk STRING, m INT) WITH (kafka_topic='u', partitions=#, value_format='JSON');";

/// A record of a topic.
pub(super) struct Record {
    topic: &'static str,
    time: i64,
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<String>,
}

/// An engine over the sources.
pub(super) struct World {
    engine: Engine,
    log: Arc<SimulatedLog>,
    session: Session,
}

impl World {
    pub(super) fn new(partitions: u32) -> World {
        let clock: SharedClock = ManualClock::at(0);
        let log = SimulatedLog::new(1, clock.clone());
        let engine = Engine::over(log.clone(), Config::new(LogConfig::Temporary), clock, Drive::ByHand).unwrap();
        let mut session = Session::default();
        let start = "SET 'auto.offset.reset' = 'earliest';";
        engine.run(&format!("{start}{}", SOURCES.replace('#', &partitions.to_string())), &mut session).unwrap();
        World { engine, log, session }
    }

    pub(super) fn feed(&self, records: &[Record]) {
        for record in records {
            let mut set = RecordSet::default();
            let value = record.value.as_ref().map(String::as_bytes);
            set.push(record.partition, record.time, record.key.as_deref(), value);
            self.log.append(record.topic, &set).unwrap();
        }
    }

    fn stream(&self, sql: &str) -> Outcome<Box<dyn RowStream>> {
        match self.engine.run(&format!("{sql};"), &mut self.session.clone())?.pop() {
            Some(Answer::Rows(stream)) => Ok(stream),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The rows of a query over history, sorted.
    pub(super) fn rows(&self, sql: &str) -> Outcome<Rows> {
        let (mut stream, mut rows) = (self.stream(sql)?, Rows::new());
        loop {
            match stream.next(PATIENCE)? {
                RowEvent::Rows { columns, .. } => rows.extend(cells(&columns)),
                RowEvent::Idle => panic!("{sql}: no end"),
                RowEvent::Done(_) => break,
            }
        }
        rows.sort();
        Ok(rows)
    }

    /// What a push query comes to: `expected`, or else what it had when no more came.
    pub(super) fn pushed(&self, query: &Query, expected: &Rows) -> Outcome<Rows> {
        let mut stream = self.stream(&format!("{} EMIT CHANGES", query.sql()))?;
        let mut state = Pushed::new(&query.form);
        let clock = SystemClock::shared();
        let end = clock.monotonic() + PATIENCE;
        let mut idle = 0;
        loop {
            match stream.next(Duration::from_millis(5))? {
                RowEvent::Rows { columns, tombstones } => {
                    idle = 0;
                    state.take(cells(&columns), &tombstones);
                }
                RowEvent::Idle => idle += 1,
                RowEvent::Done(_) => panic!("{}: a push query without LIMIT ended", query.sql()),
            }
            // What is right is soon right; what is wrong is waited for.
            let rows = filled(query, state.rows());
            if (rows == *expected && idle > 0) || (idle > 200) || clock.monotonic() > end {
                return Ok(rows);
            }
        }
    }

    /// What a persistent query of it holds in the end, when records come in pieces.
    pub(super) fn kept(&self, query: &Query, pieces: &[&[Record]]) -> Outcome<(Rows, Result<String, String>)> {
        let kind = if query.form == Form::Rows { "STREAM" } else { "TABLE" };
        let create = format!("CREATE {kind} o WITH (key_format='JSON') AS {};", query.sql());
        self.engine.run(&create, &mut self.session.clone())?;
        for piece in pieces {
            self.feed(piece);
            self.engine.drive()?;
        }
        self.engine.drive()?;
        let names: Vec<&str> = query.columns.iter().map(|c| c.0.as_str()).collect();
        // What the table holds; a lookup leaves out the windows beyond its retention, as ksqlDB does, and nothing else.
        let all = format!("SELECT {} FROM o", names.join(", "));
        let (rows, looked_up) = (self.rows(&format!("{all} ORDER BY 1")), self.rows(&all)?);
        if let Ok(rows) = &rows {
            let is_windowed = query.text.contains(" WINDOW ");
            assert!(is_windowed || *rows == looked_up, "{all}: {}", query.sql());
            assert!(looked_up.iter().all(|row| rows.contains(row)), "{all}: {}", query.sql());
        }
        let verified = self.verified();
        self.engine.run(&format!("DROP {kind} o DELETE TOPIC;"), &mut self.session.clone())?;
        Ok((filled(query, rows?), verified))
    }
}

impl World {
    /// What VERIFY says of the query that writes `o`.
    fn verified(&self) -> Result<String, String> {
        let queries = self.engine.queries();
        let id = queries.iter().map(|(id, _)| id).find(|id| id.contains("_O_")).expect("o has a query");
        let mut shown = String::new();
        let mut stream = self.stream(&format!("VERIFY QUERY {id}")).map_err(|e| e.message().to_owned())?;
        loop {
            match stream.next(PATIENCE) {
                Ok(RowEvent::Rows { columns, .. }) => shown += &format!("{:?}", cells(&columns)),
                Ok(RowEvent::Idle) => panic!("VERIFY has no end"),
                Ok(RowEvent::Done(text)) => return Ok(text.unwrap_or_default()),
                Err(error) => return Err(format!("{} {shown}", error.message())),
            }
        }
    }
}

/// Rows of a push query.
enum Pushed {
    All(Rows),
    Last(usize, BTreeMap<Vec<String>, Vec<String>>),
}

impl Pushed {
    fn new(form: &Form) -> Pushed {
        match form {
            Form::Table(keys) => Pushed::Last(*keys, BTreeMap::new()),
            _ => Pushed::All(Rows::new()),
        }
    }

    fn take(&mut self, rows: Rows, tombstones: &[bool]) {
        match self {
            Pushed::All(all) => all.extend(rows),
            Pushed::Last(keys, last) => {
                for (i, row) in rows.into_iter().enumerate() {
                    let key = row[..*keys].to_vec();
                    match tombstones.get(i) {
                        Some(true) => last.remove(&key),
                        _ => last.insert(key, row),
                    };
                }
            }
        }
    }

    fn rows(&self) -> Rows {
        let mut rows = match self {
            Pushed::All(all) => all.clone(),
            Pushed::Last(_, last) => last.values().cloned().collect(),
        };
        rows.sort();
        rows
    }
}

fn cells(columns: &[ArrayRef]) -> Rows {
    let rows = columns.first().map_or(0, |c| c.len());
    let cell = |column: &ArrayRef, row| {
        let mut text = String::new();
        write_value(column, row, &mut text);
        // A text that says null is none.
        if column.is_valid(row) && text == "null" { "'null'".to_owned() } else { text }
    };
    (0..rows).map(|row| columns.iter().map(|c| cell(c, row)).collect()).collect()
}

/// Records of all topics in the order of their times.
pub(super) fn records(seed: u64, partitions: u32) -> Vec<Record> {
    let mut dice = Dice(seed ^ 0x6AAA);
    let mut time = 0;
    let mut all = Vec::new();
    for _ in 0..RECORDS {
        time += 1 + dice.below(1_500);
        let number = |dice: &mut Dice| match dice.one_in(6) {
            true => "null".to_owned(),
            false => (dice.below(7) - 2).to_string(),
        };
        let word = |dice: &mut Dice| ["\"x\"", "\"y\"", "\"zz\"", "null"][dice.below(4) as usize];
        let letter = ["a", "b", "c", "d"][dice.below(4) as usize];
        let (n, m, w) = (number(&mut dice), number(&mut dice), word(&mut dice));
        let list: Vec<String> = (0..dice.below(3)).map(|_| number(&mut dice)).collect();
        let is_gone = dice.one_in(6);
        let (topic, value) = match dice.below(10) {
            0..=3 => ("s", format!("{{\"W\":{w},\"N\":{n},\"B\":{m},\"A\":[{}]}}", list.join(","))),
            4 | 5 => ("r", format!("{{\"N\":{n},\"W\":{w}}}")),
            6 | 7 => ("t", format!("{{\"NAME\":{w},\"N\":{n}}}")),
            8 => ("v", format!("{{\"M\":{m}}}")),
            _ => ("u", format!("{{\"FK\":\"{letter}\",\"M\":{m}}}")),
        };
        let is_stream = matches!(topic, "s" | "r");
        let key = match topic {
            "u" => Some((dice.below(4) as i32).to_be_bytes().to_vec()),
            _ if is_stream && dice.one_in(12) => None,
            _ => Some(letter.as_bytes().to_vec()),
        };
        let value = (is_stream || !is_gone).then_some(value);
        let partition = key.as_ref().map_or(0, |key| partition::java(key, partitions));
        all.push(Record { topic, time, partition, key, value });
    }
    all
}

/// Without the groups that all rows have left.
fn filled(query: &Query, mut rows: Rows) -> Rows {
    rows.retain(|row| !query.keeps_empty || row.last().is_none_or(|count| count != "0"));
    rows
}
