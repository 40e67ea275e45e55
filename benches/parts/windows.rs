//! COUNT, SUM and MAX per BIGINT key in windows, beside the loop that any program would need: one update of a hash table
//! a row. Rows are at random keys, one in twenty is out of order, in windows by up to a tenth of them; a commit every 32 batches.

use super::{ratio, spent};
use arrow::array::{ArrayRef, Int64Array};
use hashbrown::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::session_window::SessionWindowOperator;
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec};
use tidegate::functions::aggregate::{Aggregate, Comparable};
use tidegate::types::time::{Window, WindowKind};
use tidegate::types::{Column, SqlType};

const BATCH_ROWS: usize = 8192;
/// Milliseconds of event time: a row each.
const WINDOW_MS: i64 = 600_000;
const ROWS: usize = 3_000_000;
/// Batches between emissions and between commits, of 8,192 rows: a commit a quarter of a million rows.
const EMIT_ROWS: usize = 65_536;
const COMMIT_ROWS: usize = 262_144;

pub(crate) fn windows() {
    for (keys, rows) in [(1_000, ROWS), (100_000, ROWS), (1_000_000, ROWS)] {
        let input = input(keys, rows, BATCH_ROWS, WINDOW_MS / 10);
        let floor = best(|| table_loop(&input));
        println!("{:<42} {floor:7.1} ns/row", format!("a hash table's update, {keys} keys"));
        for (name, mode) in [("Each", EmitMode::EveryChange), ("Last", EmitMode::LatestPerKey)] {
            let tumbling = WindowKind::Tumbling { size_ms: WINDOW_MS };
            let cost = best(|| run(&mut *grouping(tumbling, mode, false), &input, mode));
            ratio(&format!("tumbling {name}, {keys} keys"), cost, floor);
        }
    }
    let single = input(100_000, 300_000, 1, WINDOW_MS / 10);
    let tumbling = WindowKind::Tumbling { size_ms: WINDOW_MS };
    let cost = best(|| run(&mut *grouping(tumbling, EmitMode::EveryChange, false), &single, EmitMode::EveryChange));
    println!("{:<42} {cost:7.1} ns/row {:6.2} M rows/s", "tumbling Each, 100000 keys, batches of 1", 1e3 / cost);
    hopping();
}

/// EMIT FINAL with 600 rows a key and window: what panes cost.
fn hopping() {
    let input = input(1_000, ROWS, BATCH_ROWS, WINDOW_MS / 10);
    let whole = WindowKind::Hopping { size_ms: WINDOW_MS, advance_ms: WINDOW_MS };
    let alone = best(|| run(&mut *grouping(whole, EmitMode::EveryChange, true), &input, EmitMode::EveryChange));
    println!("{:<42} {alone:7.1} ns/row", "EMIT FINAL, size/slide 1, 600 rows a key");
    for slides in [6, 60] {
        let kind = WindowKind::Hopping { size_ms: WINDOW_MS, advance_ms: WINDOW_MS / slides };
        let cost = best(|| run(&mut *grouping(kind, EmitMode::EveryChange, true), &input, EmitMode::EveryChange));
        ratio(&format!("EMIT FINAL, size/slide {slides}, to size/slide 1"), cost, alone);
    }
}

pub(crate) fn sessions() {
    for keys in [1_000, 100_000] {
        // A key comes every `keys` milliseconds on average: about seven rows a session.
        let input = input(keys, ROWS, BATCH_ROWS, keys);
        sessions_over(&format!("{keys} keys"), &input, keys * 2, keys);
    }
    // Ten rows a millisecond, at most half a second late: a gap of a second makes nearly every row a session of its own,
    // one of twenty seconds joins about seven.
    let mut dense = input(100_000, ROWS, BATCH_ROWS, 5_000);
    for batch in &mut dense {
        batch.rowtime = batch.rowtime.iter().map(|time| time / 10).collect::<Vec<_>>().into();
    }
    for gap in [1_000, 20_000] {
        sessions_over(&format!("100000 keys, 10 rows/ms, gap {gap} ms"), &dense, gap, 1_000);
    }
}

fn sessions_over(what: &str, input: &[ChangeBatch], gap_ms: i64, grace_ms: i64) {
    let floor = best(|| table_loop(input));
    for (name, mode) in [("Each", EmitMode::EveryChange), ("Last", EmitMode::LatestPerKey)] {
        let cost = best(|| {
            let mut spec = spec(WindowKind::Session { gap_ms }, false);
            spec.window.iter_mut().for_each(|w| w.grace_ms = Some(grace_ms));
            let mut operator = SessionWindowOperator::new(&spec, mode).expect("the window is a session");
            run(&mut operator, input, mode)
        });
        ratio(&format!("session {name}, {what}"), cost, floor);
    }
}

fn spec(kind: WindowKind, final_only: bool) -> AggregateSpec {
    let call = |function, arguments| AggregateCall { function, arguments };
    let max = Aggregate::Max(Comparable::Bigint);
    AggregateSpec {
        name: "groups".to_owned(),
        window: Some(Window { kind, grace_ms: Some(WINDOW_MS / 10), retention_ms: None }),
        final_only,
        loses_windows: false,
        texts: Vec::new(),
        calls: vec![call(Aggregate::CountRows, vec![]), call(Aggregate::SumBigint, vec![0]), call(max, vec![0])],
        key_format: Format::Kafka,
        key: vec![Column::key("K", SqlType::Bigint)],
    }
}

fn grouping(kind: WindowKind, mode: EmitMode, final_only: bool) -> Box<dyn Operator> {
    Box::new(AggregateOperator::new(&spec(kind, final_only), mode).expect("the key is plain"))
}

/// Rows at random keys; one in twenty is late by up to `late` milliseconds.
fn input(keys: i64, rows: usize, batch: usize, late: i64) -> Vec<ChangeBatch> {
    let mut state = 7u64;
    let mut dice = move |n: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64 % n
    };
    let mut one = |first: usize| {
        let rows = batch.min(rows - first);
        let key: ArrayRef = Arc::new((0..rows).map(|_| dice(keys)).collect::<Int64Array>());
        let value: ArrayRef = Arc::new((0..rows).map(|_| dice(1_000)).collect::<Int64Array>());
        let mut behind = || if dice(20) == 0 { dice(late) } else { 0 };
        let rowtime: Vec<i64> = (0..rows).map(|i| ((first + i) as i64 - behind()).max(0)).collect();
        ChangeBatch {
            key: vec![key],
            key_present: None,
            new: RowImage { columns: vec![value], present: None },
            old: None,
            rowtime: rowtime.into(),
            window: None,
            seq: (first as u64..(first + rows) as u64).collect::<Vec<_>>().into(),
        }
    };
    (0..rows).step_by(batch).map(&mut one).collect()
}

/// Nanoseconds a row, best of three.
fn best(mut work: impl FnMut() -> (f64, usize)) -> f64 {
    (0..3).map(|_| work()).map(|(nanos, rows)| nanos / rows as f64).fold(f64::MAX, f64::min)
}

fn run(operator: &mut dyn Operator, input: &[ChangeBatch], mode: EmitMode) -> (f64, usize) {
    let (mut rows, mut emitted, mut committed) = (0, 0, 0);
    let nanos = spent(|| {
        for batch in input {
            let mut out = OperatorOutput::default();
            operator.step(&[Some(batch)], &mut out).expect("rows are good");
            rows += batch.len();
            if mode == EmitMode::LatestPerKey && rows - emitted >= EMIT_ROWS {
                operator.emit(&mut out).expect("rows are good");
                emitted = rows;
            }
            if rows - committed >= COMMIT_ROWS {
                operator.emit(&mut out).expect("rows are good");
                operator.commit();
                committed = rows;
            }
            black_box(&out);
        }
    });
    (nanos, rows)
}

/// The floor: the window and key of each row looked up in one hash table, three numbers changed.
fn table_loop(input: &[ChangeBatch]) -> (f64, usize) {
    let mut rows = 0;
    let nanos = spent(|| {
        let mut groups: HashMap<(i64, i64), (i64, i64, i64)> = HashMap::new();
        for batch in input {
            let keys = batch.key[0].as_any().downcast_ref::<Int64Array>().expect("keys are numbers").values();
            let values =
                batch.new.columns[0].as_any().downcast_ref::<Int64Array>().expect("values are numbers").values();
            for ((key, value), time) in keys.iter().zip(values).zip(&batch.rowtime) {
                let group = groups.entry((time - time % WINDOW_MS, *key)).or_insert((0, 0, i64::MIN));
                *group = (group.0 + 1, group.1.wrapping_add(*value), group.2.max(*value));
            }
            rows += batch.len();
        }
        black_box(groups.len());
    });
    (nanos, rows)
}
