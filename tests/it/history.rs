//! Random histories of two streams and three tables, in canonical order: times out of order within and beyond grace, equal
//! times, records that come twice, keys and values that are null, NULL columns, tombstones.

use crate::batches::Dice;
use std::collections::VecDeque;
use tidegate::log::{RecordSet, partition};

/// The sources; `{P}` is the number of partitions.
pub(crate) const SOURCES: &str = "
    CREATE STREAM s (id STRING KEY, g INT, a INT, b BIGINT, d DOUBLE, e DECIMAL(6, 1), w STRING, l ARRAY<INT>, y DATE,
      z TIMESTAMP) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS={P});
    CREATE STREAM r (id STRING KEY, g INT, m INT) WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON', PARTITIONS={P});
    CREATE TABLE t (k STRING PRIMARY KEY, g INT, n INT, f STRING, d DOUBLE, e DECIMAL(6, 1))
      WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS={P});
    CREATE TABLE u (k STRING PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='u', VALUE_FORMAT='JSON', PARTITIONS={P});
    CREATE TABLE x (k STRING PRIMARY KEY, o STRING) WITH (KAFKA_TOPIC='x', VALUE_FORMAT='JSON', PARTITIONS={P});";

/// Topics in the order that decides between equal times: tables first.
const TOPICS: [&str; 5] = ["t", "u", "x", "s", "r"];

/// Keys and groups that only close windows, in every partition; rows of them are in no result.
pub(crate) const LAST: &str = "last";
pub(crate) const LAST_GROUP: i64 = 1000;
const LAST_ROWS: i64 = 16;
/// Later than everything by more than any window and grace.
const LAST_MS: i64 = 1_000_000;

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) topic: &'static str,
    partition: i32,
    time: i64,
    key: Option<String>,
    value: Option<String>,
}

/// The records in the order in which a task with all data present would take them.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) partitions: u32,
    pub(crate) records: Vec<Record>,
}

impl History {
    /// `rows` records and more; those of one key stand in one partition.
    pub(crate) fn random(dice: &mut Dice, rows: usize) -> History {
        let partitions = 1 + dice.below(4) as u32;
        let (ids, span, back) = (1 + dice.below(7), 1 + dice.below(12), 1 + dice.below(300));
        let mut queues: Vec<VecDeque<Record>> = vec![VecDeque::new(); TOPICS.len() * partitions as usize];
        let mut now = 0;
        for _ in 0..rows {
            now += dice.below(span + 1);
            let source = dice.below(TOPICS.len() as i64 + 3) as usize;
            // The streams come more often.
            let topic = TOPICS[if source < TOPICS.len() { source } else { 3 + source % 2 }];
            let time = (now - if dice.one_in(3) { dice.below(back) } else { 0 }).max(0);
            let key = (!dice.one_in(25)).then(|| format!("k{}", dice.below(ids)));
            let value = (!dice.one_in(8)).then(|| value(dice, topic, ids));
            let lone = dice.below(i64::from(partitions)) as i32;
            let partition = key.as_ref().map_or(lone, |k| partition::java(k.as_bytes(), partitions));
            let record = Record { topic, partition, time, key, value };
            let queue = &mut queues[place(topic, partition, partitions)];
            queue.push_back(record.clone());
            if dice.one_in(12) {
                queue.push_back(record);
            }
        }
        for i in 0..LAST_ROWS {
            for topic in ["s", "r"] {
                let (key, value) = (format!("{LAST}{i}"), format!("{{\"G\":{}}}", LAST_GROUP + i));
                let partition = partition::java(key.as_bytes(), partitions);
                let record = Record { topic, partition, time: LAST_MS, key: Some(key), value: Some(value) };
                queues[place(topic, partition, partitions)].push_back(record);
            }
        }
        History { partitions, records: canonical(queues) }
    }

    /// Records as a batch for a topic.
    pub(crate) fn set(records: &[Record], topic: &str) -> RecordSet {
        let mut set = RecordSet::default();
        for r in records.iter().filter(|r| r.topic == topic) {
            set.push(r.partition, r.time, r.key.as_deref().map(str::as_bytes), r.value.as_deref().map(str::as_bytes));
        }
        set
    }

    /// All topics.
    pub(crate) fn topics() -> [&'static str; 5] {
        TOPICS
    }
}

fn place(topic: &str, partition: i32, partitions: u32) -> usize {
    let rank = TOPICS.iter().position(|t| *t == topic).unwrap();
    rank * partitions as usize + partition as usize
}

/// The heads of all queues merged by (time, source, partition).
fn canonical(mut queues: Vec<VecDeque<Record>>) -> Vec<Record> {
    let mut all = Vec::new();
    // A record that is no row hides no other.
    let no_row = |r: &Record| r.key.is_none() && ["t", "u", "x"].contains(&r.topic);
    let time = |r: &Record| if no_row(r) { i64::MIN } else { r.time };
    loop {
        let heads = queues.iter().enumerate().filter_map(|(i, q)| Some((time(q.front()?), i)));
        let Some((_, next)) = heads.min() else { return all };
        all.extend(queues[next].pop_front());
    }
}

fn value(dice: &mut Dice, topic: &str, ids: i64) -> String {
    let mut fields = Vec::new();
    let mut field = |dice: &mut Dice, name: &str, text: String| match dice.below(16) {
        0 => fields.push(format!("\"{name}\":null")),
        1 => {}
        _ => fields.push(format!("\"{name}\":{text}")),
    };
    let words = ["", "a", "b", "\u{FFFD}", "\u{1F600}"];
    let double = |dice: &mut Dice| format!("{:?}", (dice.below(64) - 20) as f64 / 4.0);
    let decimal = |dice: &mut Dice| format!("{:?}", (dice.below(64) - 20) as f64 / 2.0);
    let small = |dice: &mut Dice| (dice.below(20) - 8).to_string();
    let group = |dice: &mut Dice| dice.below(4).to_string();
    let word = |dice: &mut Dice| format!("\"{}\"", words[dice.below(5) as usize]);
    let name = |dice: &mut Dice| format!("\"k{}\"", dice.below(ids + 1));
    let big = |dice: &mut Dice| if dice.one_in(6) { i64::MAX - 3 } else { dice.below(100) }.to_string();
    let list = |dice: &mut Dice| {
        let items = (0..dice.below(3)).map(|_| if dice.one_in(4) { "null".to_owned() } else { small(dice) });
        format!("[{}]", items.collect::<Vec<_>>().join(","))
    };
    type Make<'a> = (&'a str, &'a dyn Fn(&mut Dice) -> String);
    let columns: Vec<Make<'_>> = match topic {
        "s" => vec![
            ("G", &group),
            ("A", &small),
            ("B", &big),
            ("D", &double),
            ("E", &decimal),
            ("W", &word),
            ("L", &list),
            ("Y", &small),
            ("Z", &small),
        ],
        "r" => vec![("G", &group), ("M", &small)],
        "t" => vec![("G", &group), ("N", &small), ("F", &name), ("D", &double), ("E", &decimal)],
        "u" => vec![("V", &small)],
        _ => vec![("O", &word)],
    };
    for (name, make) in columns {
        let text = make(dice);
        field(dice, name, text);
    }
    format!("{{{}}}", fields.join(","))
}
