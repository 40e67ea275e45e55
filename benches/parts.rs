//! What each part of the path costs, in nanoseconds of processor time per event, beside a yardstick measured in the same run.
//!
//! `cargo bench --bench parts [-- codec|registry|log|joins|windows|sessions|scalar|long-join|pull|latency|cores]`; without a name all
//! but the last four, which take long, or need the machine for themselves.
//! One line per part: best, median and worst of the repetitions, or the best and its ratio to the yardstick.
#![allow(clippy::disallowed_methods, clippy::print_stdout, missing_docs)]

#[path = "parts/avro.rs"]
mod avro;
#[path = "bids.rs"]
mod bids;
#[path = "parts/cores.rs"]
mod cores;
#[path = "parts/formats.rs"]
mod formats;
#[path = "parts/joins.rs"]
mod joins;
#[path = "parts/latency.rs"]
mod latency;
#[path = "parts/log.rs"]
mod log;
#[path = "parts/long_join.rs"]
mod long_join;
#[path = "parts/pull.rs"]
mod pull;
#[path = "parts/registry.rs"]
mod registry;
#[path = "parts/scalar.rs"]
mod scalar;
#[path = "parts/windows.rs"]
mod windows;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bids::Bids;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tidegate::catalog::Format;
use tidegate::format::{Decoder, Encoder};
use tidegate::types::{Column, SqlType};

const EVENTS: u64 = 100_000;
const BATCH_ROWS: usize = 2048;
const REPETITIONS: usize = 7;
/// Some kernels count a thread's time in steps of milliseconds: one measurement is many.
const PASSES: u64 = 10;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let parts: [(&str, fn()); 7] = [
        ("codec", codec),
        ("registry", registry::registry),
        ("log", log::log),
        ("joins", joins::joins),
        ("windows", windows::windows),
        ("sessions", windows::sessions),
        ("scalar", scalar::scalar),
    ];
    parts.iter().filter(|(name, _)| is_wanted(name)).for_each(|(_, part)| part());
    if wanted.iter().any(|w| w == "long-join") {
        long_join::long_join();
    }
    if wanted.iter().any(|w| w == "pull") {
        pull::pull();
    }
    if wanted.iter().any(|w| w == "latency") {
        latency::latency();
    }
    if wanted.iter().any(|w| w == "cores") {
        cores::cores();
    }
}

/// Processor time of a piece of work, in nanoseconds.
fn spent(work: impl FnOnce()) -> f64 {
    let start = processor_time();
    work();
    (processor_time() - start).as_nanos() as f64
}

/// A cost a row beside that of the yardstick.
fn ratio(name: &str, cost: f64, floor: f64) {
    println!("{name:<42} {cost:7.1} ns/row {:6.2} M rows/s   {:5.2} of {floor:.1}", 1e3 / cost, cost / floor);
}

fn columns() -> Vec<Column> {
    let types = [
        ("AUCTION", SqlType::Bigint),
        ("BIDDER", SqlType::Bigint),
        ("PRICE", SqlType::Bigint),
        ("CHANNEL", SqlType::String),
        ("URL", SqlType::String),
        ("DATETIME", SqlType::Bigint),
        ("EXTRA", SqlType::String),
    ];
    types.into_iter().map(|(name, ty)| Column::value(name, ty)).collect()
}

fn codec() {
    let source = Bids::new();
    let (mut block, mut ranges, mut one) = (vec![], vec![], vec![]);
    for n in 0..EVENTS {
        source.write(n, &mut one);
        ranges.push(block.len()..block.len() + one.len());
        block.extend_from_slice(&one);
    }
    let payloads: Vec<&[u8]> = ranges.into_iter().map(|r| &block[r]).collect();
    let columns = columns();
    for (name, wanted) in [("decode, 2 of 7", vec![0, 5]), ("decode, 7 of 7", (0..7).collect())] {
        let mut decoder = Decoder::new(Format::Json, &columns, &wanted, false).expect("the columns are plain");
        report(name, || {
            for batch in payloads.chunks(BATCH_ROWS) {
                batch.iter().for_each(|p| decoder.push(Some(p)).expect("a bid is good"));
                black_box(decoder.finish());
            }
        });
    }
    report("unchecked scan, 2 of 7", || {
        payloads.iter().for_each(|p| {
            black_box(unchecked_scan(p));
        });
    });
    for (name, wanted) in [("arrow-json, 2 of 7", vec![0, 5]), ("arrow-json, 7 of 7", (0..7).collect())] {
        report(name, || arrow_json_decode(&payloads, &wanted));
    }
    let batches = decoded(&payloads, &columns);
    let mut encoder = Encoder::new(Format::Json, &columns, false).expect("the columns are plain");
    let (mut data, mut out) = (vec![], vec![]);
    report("encode a bid", || {
        for batch in &batches {
            data.clear();
            out.clear();
            encoder.encode(batch, None, batch[0].len(), &mut data, &mut out).expect("the columns are the encoder's");
            black_box(&data);
        }
    });
    report("arrow-json, encode a bid", || batches.iter().for_each(|batch| arrow_json_encode(batch, &columns)));
    formats::formats();
    avro::avro();
}

/// The yardstick for decoding: finds `auction` and `dateTime` by quotes alone, checks nothing, makes no columns.
fn unchecked_scan(d: &[u8]) -> Option<(u64, u64)> {
    let text_end = |mut i: usize| loop {
        i += memchr::memchr2(b'"', b'\\', &d[i..])?;
        match d[i] {
            b'"' => return Some(i),
            _ => i += 2,
        }
    };
    let (mut i, mut auction, mut time) = (1, None, None);
    loop {
        i += memchr::memchr(b'"', &d[i..])? + 1;
        let end = text_end(i)?;
        let name = &d[i..end];
        i = end + 2;
        if d[i] == b'"' {
            i = text_end(i + 1)? + 1;
            continue;
        }
        let wanted = match name {
            b"auction" => &mut auction,
            b"dateTime" => &mut time,
            _ => continue,
        };
        let mut value = 0u64;
        while d[i].is_ascii_digit() {
            value = value * 10 + u64::from(d[i] - b'0');
            i += 1;
        }
        *wanted = Some(value);
        if let (Some(auction), Some(time)) = (auction, time) {
            return Some((auction, time));
        }
    }
}

fn decoded(payloads: &[&[u8]], columns: &[Column]) -> Vec<Vec<ArrayRef>> {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = Decoder::new(Format::Json, columns, &wanted, false).expect("the columns are plain");
    let batch = |batch: &[&[u8]]| {
        batch.iter().for_each(|p| decoder.push(Some(p)).expect("a bid is good"));
        decoder.finish().0
    };
    payloads.chunks(BATCH_ROWS).map(batch).collect()
}

fn arrow_json_decode(payloads: &[&[u8]], wanted: &[usize]) {
    let names = ["auction", "bidder", "price", "channel", "url", "dateTime", "extra"];
    let field = |&i: &usize| Field::new(names[i], columns()[i].ty.arrow(), true);
    let schema = Arc::new(Schema::new(wanted.iter().map(field).collect::<Vec<_>>()));
    let builder = arrow_json::ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS);
    let mut decoder = builder.build_decoder().expect("the schema is plain");
    for batch in payloads.chunks(BATCH_ROWS) {
        batch.iter().for_each(|p| {
            decoder.decode(p).expect("a bid is good");
        });
        black_box(decoder.flush().expect("a bid is good"));
    }
}

fn arrow_json_encode(batch: &[ArrayRef], columns: &[Column]) {
    let fields: Vec<Field> = columns.iter().map(Column::field).collect();
    debug_assert!(fields.iter().all(|f| f.data_type() != &DataType::Null));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.to_vec()).expect("the columns fit");
    let builder = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow_json::writer::LineDelimited>(Vec::with_capacity(1 << 20));
    writer.write(&batch).expect("a vector takes every byte");
    black_box(writer.into_inner());
}

/// Time that this thread has run, so that a busy machine does not count; wall time where the kernel does not tell.
fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn report(name: &str, mut work: impl FnMut()) {
    work();
    let mut times: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = processor_time();
            (0..PASSES).for_each(|_| work());
            (processor_time() - start).as_nanos() as f64 / (PASSES * EVENTS) as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (best, median, worst) = (times[0], times[REPETITIONS / 2], times[REPETITIONS - 1]);
    println!("{name:<28} {best:7.1} {median:7.1} {worst:7.1} ns/event");
}
