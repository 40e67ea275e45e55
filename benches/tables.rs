//! What tables cost, in nanoseconds of processor time per change: their state with old values, GROUP BY over them, and joins with them.
//!
//! `cargo bench --bench tables`. One line a case: number of keys, rows a batch, nanoseconds of each part.
#![allow(clippy::disallowed_methods, clippy::print_stdout, missing_docs)]

use arrow::array::{ArrayRef, Int64Array, StringArray};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tidegate::catalog::Format;
use tidegate::error::Result;
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::table::TableOperator;
use tidegate::execute::operator::table_join::{StreamTableJoin, TableTableJoin};
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec, TableSpec};
use tidegate::functions::aggregate::Aggregate;
use tidegate::parse::statement::JoinKind;
use tidegate::types::{Column, SqlType};

/// Changes a case, and the number of groups that they are in.
const CHANGES: usize = 2_000_000;
const GROUPS: u64 = 1_000;
/// Batches between two emissions, and between two commits.
const EMIT_BATCHES: usize = 32;
const COMMIT_BATCHES: usize = 128;

fn main() -> Result<()> {
    println!("   keys  text  batch | state  group by  together | join  lookup   (ns a change)");
    for (keys, text, rows) in [
        (1_000, false, 2048),
        (100_000, false, 2048),
        (100_000, true, 2048),
        (100_000, false, 64),
        (1_000_000, false, 2048),
    ] {
        let input = changes(keys, rows, text);
        let (state, group) = grouping(&input, text)?;
        let (join, lookup) = joins(&input, text)?;
        let each = |time: Duration| time.as_nanos() as f64 / CHANGES as f64;
        let (state, group, join, lookup) = (each(state), each(group), each(join), each(lookup));
        let together = state + group;
        println!("{keys:7} {text:5} {rows:6} | {state:5.0}  {group:8.0}  {together:8.0} | {join:4.0}  {lookup:6.0}");
    }
    Ok(())
}

/// Changes of rows (group, number) at random keys.
fn changes(keys: u64, rows: usize, text: bool) -> Vec<ChangeBatch> {
    let mut state = 7u64;
    let mut dice = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % n) as i64
    };
    let mut batch = |number: usize| {
        let mut column = |n: u64| (0..rows).map(|_| dice(n)).collect::<Vec<i64>>();
        let (ids, group, value) = (column(keys), column(GROUPS), column(1_000));
        let key: ArrayRef = match text {
            true => Arc::new(ids.iter().map(|id| Some(format!("key number {id}"))).collect::<StringArray>()),
            false => Arc::new(Int64Array::from(ids)),
        };
        let first = (number * rows) as u64;
        ChangeBatch {
            key: vec![key],
            key_present: None,
            new: RowImage {
                columns: vec![Arc::new(Int64Array::from(group)), Arc::new(Int64Array::from(value))],
                present: None,
            },
            old: None,
            rowtime: (first as i64..first as i64 + rows as i64).collect::<Vec<_>>().into(),
            window: None,
            seq: (first..first + rows as u64).collect::<Vec<_>>().into(),
        }
    };
    (0..CHANGES / rows).map(&mut batch).collect()
}

fn key(text: bool) -> Vec<Column> {
    vec![Column::key("K", if text { SqlType::String } else { SqlType::Bigint })]
}

fn columns() -> Vec<Column> {
    vec![Column::value("G", SqlType::Bigint), Column::value("V", SqlType::Bigint)]
}

/// COUNT(*) and SUM by group, from a table that is full already: the time of the table's state, and of the grouping.
fn grouping(input: &[ChangeBatch], text: bool) -> Result<(Duration, Duration)> {
    let spec = TableSpec {
        name: "table".to_owned(),
        key_format: Format::Kafka,
        key: key(text),
        columns: columns(),
        groups: 1,
    };
    let call = |function, arguments| AggregateCall { function, arguments };
    let aggregate = AggregateSpec {
        name: "groups".to_owned(),
        window: None,
        final_only: false,
        loses_windows: false,
        texts: Vec::new(),
        calls: vec![call(Aggregate::CountRows, vec![]), call(Aggregate::SumBigint, vec![0])],
        key_format: Format::Kafka,
        key: vec![Column::key("G", SqlType::Bigint)],
    };
    let mut table = TableOperator::new(&spec, EmitMode::EveryChange)?;
    let mut groups = AggregateOperator::new(&aggregate, EmitMode::LatestPerKey)?.over_table();
    let (mut state, mut group) = (Duration::ZERO, Duration::ZERO);
    for timed in [false, true] {
        for (i, batch) in input.iter().enumerate() {
            let (mut changes, mut out) = (OperatorOutput::default(), OperatorOutput::default());
            let start = processor_time();
            table.step(&[Some(batch)], &mut changes)?;
            let stored = processor_time() - start;
            for batch in &changes.batches {
                groups.step(&[Some(batch)], &mut out)?;
            }
            if (i + 1) % EMIT_BATCHES == 0 {
                groups.emit(&mut out)?;
            }
            let grouped = processor_time() - start - stored;
            if (i + 1) % COMMIT_BATCHES == 0 {
                groups.emit(&mut out)?;
                groups.commit();
                table.commit();
            }
            if timed {
                state += stored;
                group += grouped;
            }
        }
    }
    Ok((state, group))
}

/// A table joined with itself, and looked up by a stream.
fn joins(input: &[ChangeBatch], text: bool) -> Result<(Duration, Duration)> {
    let (key, columns) = (key(text), columns());
    let mut join =
        TableTableJoin::new(JoinKind::Inner, Format::Kafka, &key, [&columns, &columns], EmitMode::EveryChange)?;
    let mut lookup = StreamTableJoin::new(true, Format::Kafka, &key, &columns)?;
    for batch in input {
        join.step(&[None, Some(batch)], &mut OperatorOutput::default())?;
        lookup.step(&[None, Some(batch)], &mut OperatorOutput::default())?;
    }
    join.commit();
    lookup.commit();
    let start = processor_time();
    for (i, batch) in input.iter().enumerate() {
        join.step(&[Some(batch), None], &mut OperatorOutput::default())?;
        if (i + 1) % COMMIT_BATCHES == 0 {
            join.commit();
        }
    }
    let joined = processor_time() - start;
    let start = processor_time();
    for batch in input {
        lookup.step(&[Some(batch), None], &mut OperatorOutput::default())?;
    }
    Ok((joined, processor_time() - start))
}

/// Time that this thread has run, so that a busy machine does not count; wall time where the kernel does not tell.
fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
