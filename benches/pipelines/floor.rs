//! The floor: librdkafka's batch call, a scan for just the columns that the query reads, and a filter or a hash count.
//! No plan, no types, no NULLs, no check of the rest of a record, nothing that could be restarted.
//!
//! It reads through [`tidegate::log::Reader`], which adds the check of checksums and the sorting of messages by partition
//! to the bare call. A floor over librdkafka's C interface with the same settings read at most 0.02 us less.
//!
//! For q0 and q1 the floor also writes: it finds all seven members, puts their bytes behind other names (and multiplies the
//! price), and hands them with the offsets to the transactional producer of [`tidegate::log::TransactionalWriter`], as often as the
//! engine commits.

use crate::host::{Meter, tell};
use crate::topics::DIVISOR;
use crate::{Fallible, Options, PARTITIONS};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::log::kafka::{KafkaLog, KafkaSettings};
use tidegate::log::{
    Assignment, CommitOutcome, CommittedOffset, Epoch, Isolation, Log, RecordRef, RecordSet, Sole, Start,
    TopicPartition, TopicSpec, WriterSpec,
};
use tidegate::types::clock::SystemClock;

/// Records of one batch.
const BATCH: usize = 4096;
/// Milliseconds of a window.
const WINDOW: i64 = 10_000;
/// Time between commits, as the engine has it by default.
const COMMIT: Duration = Duration::from_millis(200);
/// Bytes after which a commit does not wait, as the engine has it.
const COMMIT_BYTES: usize = 32 << 20;
/// Members of a bid as the engine writes them.
const NAMES: [&[u8]; 7] =
    [b"\"AUCTION\":", b"\"BIDDER\":", b"\"PRICE\":", b"\"CHANNEL\":", b"\"URL\":", b"\"DATETIME\":", b"\"EXTRA\":"];

/// What is done with each record.
type Work = Box<dyn FnMut(&mut State, RecordRef<'_>)>;

/// Reads the whole topic.
pub(crate) fn run(options: &Options) -> Fallible<()> {
    let meter = Meter::start(options.or("pid", "self"))?;
    let log = KafkaLog::connect(KafkaSettings::new(options.or("bootstrap", "")), SystemClock::shared())?;
    if matches!(options.or("query", ""), "q0" | "q1") {
        return copy(options, &meter, &*log);
    }
    let topic: Arc<str> = options.or("topic", "").into();
    let from_start = |partition| Assignment { topic: topic.clone(), partition, start: Start::Earliest };
    let mut reader = log.reader((0..PARTITIONS as i32).map(from_start).collect(), Isolation::ReadUncommitted)?;
    let (events, column) = (options.number("events")?, options.or("time", "column") == "column");
    let mut state = State::default();
    let mut work: Work = match (options.or("query", ""), column) {
        ("read", _) => Box::new(|state, r| state.bytes += r.value.map_or(0, <[u8]>::len)),
        ("q2", true) => Box::new(|state, r| {
            let [auction, price, time] = scan(r.value.unwrap_or_default(), [b"auction", b"price", b"dateTime"]);
            state.filter(auction, price, time);
        }),
        ("q2", false) => Box::new(|state, r| {
            let [auction, price] = scan(r.value.unwrap_or_default(), [b"auction", b"price"]);
            state.filter(auction, price, r.timestamp);
        }),
        ("tumble", true) => Box::new(|state, r| {
            let [auction, time] = scan(r.value.unwrap_or_default(), [b"auction", b"dateTime"]);
            state.count(auction, time);
        }),
        ("tumble", false) => Box::new(|state, r| {
            let [auction] = scan(r.value.unwrap_or_default(), [b"auction"]);
            state.count(auction, r.timestamp);
        }),
        (other, _) => return Err(format!("there is no query {other}").into()),
    };
    let mut taken = 0;
    while taken < events {
        for run in reader.poll(BATCH, Duration::from_millis(100))?.runs() {
            taken += run.len() as u64;
            run.for_each(|record| work(&mut state, record));
        }
    }
    let counted: u64 = state.groups.values().flat_map(HashMap::values).sum();
    let result = match options.or("query", "") {
        "read" if black_box(state.bytes) > 0 => taken,
        "tumble" => counted,
        _ => black_box(&state.kept).len() as u64,
    };
    tell(&meter.stop()?, Some(result));
    Ok(())
}

/// q0 and q1 from topic to topic.
fn copy(options: &Options, meter: &Meter, log: &dyn Log) -> Fallible<()> {
    let (topic, out): (Arc<str>, Arc<str>) =
        (options.or("topic", "").into(), format!("copy-{}", std::process::id()).into());
    log.create_topic(&TopicSpec::new(&*out, PARTITIONS))?;
    let partitions = 0..PARTITIONS as i32;
    let inputs: Vec<_> = partitions.clone().map(|p| TopicPartition::new(topic.clone(), p)).collect();
    let from_start = |partition| Assignment { topic: topic.clone(), partition, start: Start::Earliest };
    let mut reader = log.reader(partitions.map(from_start).collect(), Isolation::ReadCommitted)?;
    let spec = WriterSpec { group: out.to_string(), slot: "slot-0".into(), tasks: PARTITIONS };
    let mut session = log.transactional_writer(&spec, &Sole::claim())?;
    let (events, priced) = (options.number("events")?, options.or("query", "") == "q1");
    let (mut set, mut value, mut taken, mut committed) = (RecordSet::default(), Vec::new(), 0, Instant::now());
    while taken < events {
        for run in reader.poll(BATCH, COMMIT)?.runs() {
            taken += run.len() as u64;
            run.for_each(|record| {
                copied(record.value.unwrap_or_default(), priced, &mut value);
                set.push(run.slot as i32, record.timestamp, record.key, Some(&value));
            });
        }
        if taken == events || committed.elapsed() >= COMMIT || set.data.len() > COMMIT_BYTES {
            let offset = |slot| CommittedOffset { offset: reader.position(slot), metadata: String::new() };
            let offsets = inputs.iter().enumerate().map(|(slot, at)| (at.clone(), offset(slot))).collect();
            let records = vec![(out.clone(), Arc::new(std::mem::take(&mut set)))];
            let outcome = session.commit(&Epoch { records, offsets, metadata: String::new() })?;
            if outcome != CommitOutcome::Committed {
                return Err(format!("{outcome:?}").into());
            }
            committed = Instant::now();
        }
    }
    let usage = meter.stop()?;
    let written = inputs
        .iter()
        .map(|at| Ok(log.watermarks(&TopicPartition::new(out.clone(), at.partition))?.stable))
        .collect::<Fallible<Vec<i64>>>()?
        .iter()
        .sum::<i64>();
    log.delete_topic(&out)?;
    // Markers have offsets, too.
    tell(&usage, Some(if written as u64 >= events { events } else { written as u64 }));
    Ok(())
}

/// A bid with other names, and perhaps another price. As [`scan`], no parser.
fn copied(bid: &[u8], priced: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut rest = bid;
    for (nth, name) in NAMES.iter().enumerate() {
        let Some(colon) = memchr::memchr(b':', rest) else { return };
        rest = &rest[colon + 1..];
        let end = match rest.first() {
            Some(b'"') => memchr::memchr(b'"', &rest[1..]).map_or(rest.len(), |n| n + 2),
            _ => memchr::memchr2(b',', b'}', rest).unwrap_or(rest.len()),
        };
        out.push(if nth == 0 { b'{' } else { b',' });
        out.extend_from_slice(name);
        if priced && nth == 2 {
            let price = rest[..end].iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')) * 908;
            // Writing to a vector does not fail.
            let _ = write!(out, "{}.{:03}", price / 1000, price % 1000);
        } else {
            out.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
    out.push(b'}');
}

#[derive(Default)]
struct State {
    kept: Vec<(i64, i64, i64)>,
    /// Size of all values.
    bytes: usize,
    /// Counts by window and auction: a table per window stays in the cache while its window runs.
    groups: BTreeMap<i64, HashMap<i64, u64>>,
}

impl State {
    fn filter(&mut self, auction: i64, price: i64, time: i64) {
        if auction % DIVISOR == 0 {
            self.kept.push((auction, price, time));
        }
    }

    fn count(&mut self, auction: i64, time: i64) {
        *self.groups.entry(time / WINDOW).or_default().entry(auction).or_default() += 1;
    }
}

/// Number members of a flat object, in the order in which they stand there; ends with the last. Not a parser: strings are
/// passed over with their escapes, nothing else is looked at.
pub(crate) fn scan<const N: usize>(d: &[u8], names: [&[u8]; N]) -> [i64; N] {
    let string_end = |mut at: usize| loop {
        let Some(n) = memchr::memchr2(b'"', b'\\', &d[at..]) else { return d.len() };
        if d[at + n] == b'"' {
            return at + n;
        }
        at += n + 2;
    };
    let (mut found, mut next, mut i) = ([0; N], 0, 0);
    while next < N {
        let Some(n) = memchr::memchr(b'"', &d[i..]) else { break };
        let start = i + n + 1;
        let end = string_end(start);
        i = end + 2;
        if d.get(i) == Some(&b'"') {
            i = string_end(i + 1) + 1;
        } else if &d[start..end] == names[next] {
            while let Some(digit) = d.get(i).filter(|c| c.is_ascii_digit()) {
                found[next] = found[next] * 10 + i64::from(digit - b'0');
                i += 1;
            }
            next += 1;
        }
    }
    found
}
