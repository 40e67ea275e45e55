//! Two streams joined without GRACE over 20 hours of event time: 20 million rows, all of which stay joinable for a day. How
//! much memory that takes, and whether each row that comes out is the one that should.
//!
//! Row `n` of either side has its time at `n` * 7.2 ms. One right row in twenty has the key of a left row up to five
//! minutes before it; one in a thousand has key and time of the left row with half its number: hours late, it finds its
//! partner in a file. All others have a key of their own.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use std::time::Instant;
use tidegate::catalog::Format;
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::operator::stream_stream_join::StreamStreamJoin;
use tidegate::execute::operator::{Operator, OperatorOutput};
use tidegate::execute::pipeline::{Input, JoinSide, JoinStage, RowSpec};
use tidegate::execute::state::spill_pool::{MEMORY_BYTES, SpillPool};
use tidegate::parse::statement::{JoinKind, Within};
use tidegate::plan::nodes::join::Rule;
use tidegate::types::{Column, SqlType};

const ROWS_A_SIDE: i64 = 10_000_000;
const BATCH_ROWS: i64 = 4096;
const COMMIT_BATCHES: i64 = 16;
const WITHIN_MS: i64 = 10 * 60 * 1000;

/// Time of row `n` of a side.
fn time(n: i64) -> i64 {
    n * 72 / 10
}

/// The left row whose key and, perhaps, time right row `n` has.
fn partner(n: i64) -> Option<(i64, i64)> {
    if n % 1000 == 501 {
        return Some((n / 2, time(n / 2)));
    }
    let back = n / 20 % 40_000;
    (n % 20 == 0 && n >= back).then(|| (n - back, time(n)))
}

pub(crate) fn long_join() {
    let within = Within { before_ms: WITHIN_MS, after_ms: WITHIN_MS, grace_ms: None };
    let spill_pool = SpillPool::new(std::env::temp_dir().join("tidegate-bench"), MEMORY_BYTES);
    let mut operator = StreamStreamJoin::new(&stage(within), within, &spill_pool).expect("the key is plain");
    let (mut alone, mut joined, mut entries) = (0, 0, Vec::new());
    let start = Instant::now();
    for (nth, first) in (0..ROWS_A_SIDE).step_by(BATCH_ROWS as usize).enumerate() {
        let rows = first..(first + BATCH_ROWS).min(ROWS_A_SIDE);
        let (left, right) = (side(0, rows.clone()), side(1, rows));
        let mut out = OperatorOutput::default();
        operator.step(&[Some(&left), Some(&right)], &mut out).expect("rows are good");
        out.batches.iter().for_each(|batch| check(batch, &mut alone, &mut joined));
        if nth as i64 % COMMIT_BATCHES == 0 {
            entries.clear();
            operator.changelog(&mut entries).expect("rows are good");
            operator.commit();
        }
    }
    let wanted = (0..ROWS_A_SIDE).filter(|n| partner(*n).is_some()).count();
    assert_eq!(joined, wanted, "pairs");
    assert_eq!(alone, ROWS_A_SIDE, "left rows that first stand alone");
    let rows = 2 * ROWS_A_SIDE;
    let nanos = start.elapsed().as_nanos() as f64 / rows as f64;
    println!("join LEFT without GRACE, {rows} rows over {} h of event time", time(ROWS_A_SIDE) / 3_600_000);
    println!("  {joined} pairs, {alone} left rows alone, each checked; {nanos:.0} ns/row with its changelog");
    println!("  most memory at any time: {} (all joins may hold {} MiB of rows)", high_water(), MEMORY_BYTES >> 20);
}

/// Every left row stands alone once, as its partner comes later; each pair is one that belongs together.
fn check(batch: &ChangeBatch, alone: &mut i64, joined: &mut usize) {
    let column = |i: usize| batch.new.columns[i].as_primitive::<Int64Type>();
    let (left, right) = (column(0), column(2));
    for row in 0..batch.len() {
        if right.is_null(row) {
            *alone += 1;
            continue;
        }
        let (left, right) = (left.value(row), right.value(row));
        let (wanted, at) = partner(right).expect("a row without a partner was joined");
        assert_eq!(left, wanted, "partner of right row {right}");
        assert_eq!(batch.rowtime[row], time(left).max(at), "time of right row {right}");
        assert_eq!(batch.new.columns[1].as_string::<i32>().value(row), text(left), "text of left row {left}");
        *joined += 1;
    }
}

fn text(n: i64) -> String {
    format!("something about row {n}")
}

fn side(port: i64, rows: std::ops::Range<i64>) -> ChangeBatch {
    let other = |n: i64| partner(n).map_or((-n - 1, time(n)), |(key, at)| (key, at));
    let key_time = |n: i64| if port == 0 { (n, time(n)) } else { other(n) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.clone())),
        Arc::new(rows.clone().map(|n| Some(text(n))).collect::<StringArray>()),
    ];
    ChangeBatch {
        key: vec![Arc::new(Int64Array::from_iter_values(rows.clone().map(|n| key_time(n).0)))],
        key_present: None,
        new: RowImage { columns, present: None },
        old: None,
        rowtime: rows.clone().map(|n| key_time(n).1).collect(),
        window: None,
        seq: rows.map(|n| (2 * n + port) as u64).collect(),
    }
}

fn stage(within: Within) -> JoinStage {
    let side = |i: usize| JoinSide {
        input: Input::Scan(i),
        rows: RowSpec::default(),
        hop: None,
        columns: vec![SqlType::Bigint.arrow(), SqlType::String.arrow()],
    };
    JoinStage {
        name: "Join".into(),
        kind: JoinKind::Left,
        rule: Rule::Within(within),
        key: Column::key("K", SqlType::Bigint),
        key_format: Format::Kafka,
        partitions: 1,
        window: None,
        sides: [side(0), side(1)],
    }
}

/// The most memory that this process has had, as the kernel tells it.
fn high_water() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.map_or_else(|| "not told by this system".to_owned(), |l| l.trim().to_owned())
}
