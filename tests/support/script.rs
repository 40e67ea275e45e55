//! Commands of a file of behaviour, carried out.
//!
//! ```text
//! sql                 the lines below are statements; one line or more for each answer, errors with their place
//! run FILE            the same for a file of queries/demo; of what is selected only the columns are printed
//! produce TOPIC       each line is a record: KEY | VALUE @ TIME [pN]; <null> is null. Without pN the key decides, as in Java
//! topic TOPIC         all its records, by partition: KEY [START..END] | VALUE @ TIME pN
//! query               one SELECT: its columns, then its rows
//! agree               two SELECTs, whose rows must be equal in any order; they are printed once, sorted
//! restart             the engine is closed and opened again
//! ```

use crate::records::{KeyBounds, Stored, decode, encode, read_topic, split_window, with_window};
use crate::render;
use crate::rows::{Rows, collect};
use crate::world::World;
use std::sync::Arc;
use tidegate::catalog::{Format, Source};
use tidegate::engine::Answer;
use tidegate::engine::session::Session;
use tidegate::error::{Error, Result};
use tidegate::log::{RecordSet, partition};

/// How null is written.
const NULL: &str = "<null>";

/// Carries out one block; returns what it prints. An `Err` is the test's own fault.
pub(crate) fn carry_out(world: &World, session: &mut Session, command: &str, body: &str) -> Result<String> {
    let (name, argument) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "sql" => {
            let text = statements(world, session, body)?;
            world.settle()?;
            Ok(text)
        }
        "run" => {
            let text = demo(world, session, argument)?;
            world.settle()?;
            Ok(text)
        }
        "produce" => {
            let text = produce(world, argument, body)?;
            world.settle()?;
            Ok(text)
        }
        "topic" => topic(world, argument),
        "query" => Ok(match select(world, session, body) {
            Ok(rows) => rows.print(),
            Err(e) => render::error(&e, body),
        }),
        "agree" => Ok(agree(world, session, body).unwrap_or_else(|e| render::error(&e, body))),
        _ => Err(Error::statement(format!("no command is called '{name}'"))),
    }
}

fn statements(world: &World, session: &mut Session, body: &str) -> Result<String> {
    let parsed = match world.engine().parse(body, session) {
        Ok(parsed) => parsed,
        Err(e) => return Ok(render::error(&e, body)),
    };
    let mut text = String::new();
    for statement in parsed {
        text += &match world.engine().execute(&statement, session) {
            Ok(Answer::Entity(entity)) => render::entity(&entity),
            Ok(Answer::Rows(rows)) => collect(rows)?.print(),
            Err(e) => render::error(&e, body),
        };
    }
    Ok(text)
}

/// A demonstration: it inserts at the present time and ends with a live query, so that its rows are left to the test.
fn demo(world: &World, session: &mut Session, file: &str) -> Result<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries/demo").join(file);
    let body = std::fs::read_to_string(path)?;
    let mut text = String::new();
    for statement in world.engine().parse(&body, session)? {
        text += &match world.engine().execute(&statement, session)? {
            Answer::Entity(entity) => render::entity(&entity),
            Answer::Rows(rows) => rows.columns().iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" | ") + "\n",
        };
        // As over a prompt: what one statement made is there for the next.
        world.settle()?;
    }
    Ok(text)
}

fn select(world: &World, session: &mut Session, text: &str) -> Result<Rows> {
    let mut answers = world.engine().run(text, session)?;
    match (answers.pop(), answers.is_empty()) {
        (Some(Answer::Rows(rows)), true) => collect(rows),
        _ => Err(Error::statement("one SELECT is expected here")),
    }
}

fn agree(world: &World, session: &mut Session, body: &str) -> Result<String> {
    let mut sorted = Vec::new();
    for answer in world.engine().run(body, session)? {
        let Answer::Rows(rows) = answer else { return Err(Error::statement("two SELECTs are expected here")) };
        let mut rows = collect(rows)?;
        rows.rows.sort();
        sorted.push(rows);
    }
    let [one, other] = sorted.as_slice() else { return Err(Error::statement("two SELECTs are expected here")) };
    match one.rows == other.rows {
        true => Ok(one.print()),
        false => Ok(format!("DISAGREE\n{}and\n{}", one.print(), other.print())),
    }
}

fn source_of(world: &World, topic: &str) -> Option<Arc<Source>> {
    let catalog = world.engine().catalog();
    catalog.all().find(|s| s.topic == topic).cloned()
}

fn produce(world: &World, topic: &str, body: &str) -> Result<String> {
    let source = source_of(world, topic);
    let partitions =
        world.log().topic(topic)?.ok_or_else(|| Error::not_found(format!("topic {topic} does not exist")))?.partitions;
    let mut set = RecordSet::default();
    for line in body.lines() {
        let record = record(line, source.as_deref())?;
        let target =
            record.partition.unwrap_or_else(|| record.key.as_deref().map_or(0, |k| partition::java(k, partitions)));
        set.push(target, record.timestamp, record.key.as_deref(), record.value.as_deref());
    }
    world.log().append(topic, &set)?;
    Ok(String::new())
}

struct Typed {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    partition: Option<i32>,
}

/// `KEY [START..END] | VALUE @ TIME pN`
fn record(line: &str, source: Option<&Source>) -> Result<Typed> {
    let wrong = || Error::statement(format!("'{line}' is not KEY | VALUE @ TIME"));
    let (key, rest) = line.split_once(" | ").ok_or_else(wrong)?;
    let (value, when) = rest.rsplit_once(" @ ").ok_or_else(wrong)?;
    let (time, partition) = match when.split_once(" p") {
        Some((time, p)) => (time, Some(p.parse().map_err(|_| wrong())?)),
        None => (when, None),
    };
    let (key, window) = match key.strip_suffix(']').and_then(|k| k.rsplit_once(" [")) {
        Some((key, bounds)) => (key, Some(bounds.split_once("..").ok_or_else(wrong)?)),
        None => (key, None),
    };
    let side = |text: &str, key: bool| -> Result<Option<Vec<u8>>> {
        match (text, source) {
            (NULL, _) => Ok(None),
            (text, None) => Ok(Some(text.as_bytes().to_vec())),
            (text, Some(s)) if key => encode(s.key_format, &s.schema.key, text).map(Some),
            (text, Some(s)) => encode(s.value_format, &s.schema.value, text).map(Some),
        }
    };
    let mut key = side(key, true)?;
    if let (Some(bytes), Some((start, end))) = (&mut key, window) {
        let number = |n: &str| n.parse().map_err(|_| wrong());
        *bytes =
            with_window(std::mem::take(bytes), KeyBounds { session: false, start: number(start)?, end: number(end)? });
    }
    Ok(Typed { key, value: side(value, false)?, timestamp: time.parse().map_err(|_| wrong())?, partition })
}

fn topic(world: &World, name: &str) -> Result<String> {
    let source = source_of(world, name);
    let records = read_topic(world.log(), name)?;
    Ok(records.iter().map(|r| stored(r, source.as_deref()) + "\n").collect())
}

fn stored(r: &Stored, source: Option<&Source>) -> String {
    let (key, value) = match source {
        Some(s) => {
            let key = r.key.as_ref().map(|key| {
                let (bare, window) = split_window(s, key);
                let window = window.map_or_else(String::new, |w| format!(" [{}..{}]", w.start, w.end));
                decode(s.key_format, &s.schema.key, bare) + &window
            });
            (key, r.value.as_ref().map(|v| decode(s.value_format, &s.schema.value, v)))
        }
        None => {
            let text = |bytes: &Vec<u8>| decode(Format::None, &[], bytes);
            (r.key.as_ref().map(text), r.value.as_ref().map(text))
        }
    };
    let headers = match r.headers.is_empty() {
        true => String::new(),
        false => format!(" {:?}", r.headers.iter().map(|h| &h.key).collect::<Vec<_>>()),
    };
    let null = || NULL.to_owned();
    format!("{} | {} @ {} p{}{headers}", key.unwrap_or_else(null), value.unwrap_or_else(null), r.timestamp, r.partition)
}
