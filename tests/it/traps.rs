//! Traps of sessions, joins and hopping windows, one a test, worked out by hand: rules that are easily got wrong and that
//! a random case meets too seldom. Those of time windows stand in `windows.rs`.

use crate::batches::{batch, records};
use crate::model::{Rec, Val};
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::session_window::SessionWindowOperator;
use tidegate::execute::operator::stream_stream_join::StreamStreamJoin;
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec, Input, JoinSide, JoinStage, RowSpec};
use tidegate::execute::state::spill_pool::SpillPool;
use tidegate::functions::aggregate::Aggregate;
use tidegate::parse::statement::{JoinKind, Within};
use tidegate::plan::nodes::join::Rule;
use tidegate::types::time::{Window, WindowKind};
use tidegate::types::{Column, SqlType};

const NUMBER: [SqlType; 1] = [SqlType::Bigint];

fn sum(kind: WindowKind, grace_ms: i64, final_only: bool) -> AggregateSpec {
    AggregateSpec {
        name: "Aggregate-Aggregate-Materialize".into(),
        window: Some(Window { kind, grace_ms: Some(grace_ms), retention_ms: None }),
        final_only,
        loses_windows: false,
        texts: Vec::new(),
        calls: vec![AggregateCall { function: Aggregate::SumBigint, arguments: vec![0] }],
        key_format: Format::Kafka,
        key: vec![Column::key("K", SqlType::Bigint)],
    }
}

fn sessions(gap_ms: i64, grace_ms: i64, mode: EmitMode) -> SessionWindowOperator {
    SessionWindowOperator::new(&sum(WindowKind::Session { gap_ms }, grace_ms, false), mode).unwrap()
}

/// A record: key and value may be missing.
fn rec(seq: u64, key: Option<i64>, time: i64, value: Option<i64>) -> Rec {
    let one = |v: i64| vec![Val::Long(v)];
    Rec { key: key.map(one), window: None, old: None, new: value.map(one), time, seq }
}

/// Takes rows of (key, time, value) and numbers them from `seq` on.
fn feed(operator: &mut dyn Operator, seq: u64, rows: &[(i64, i64, i64)]) -> OperatorOutput {
    let rows: Vec<Rec> = (seq..).zip(rows).map(|(seq, r)| rec(seq, Some(r.0), r.1, Some(r.2))).collect();
    let mut out = OperatorOutput::default();
    operator.step(&[Some(&batch(&rows, &NUMBER, &NUMBER))], &mut out).unwrap();
    out
}

fn emit(operator: &mut dyn Operator) -> OperatorOutput {
    let mut out = OperatorOutput::default();
    operator.emit(&mut out).unwrap();
    out
}

fn number(image: &Option<Vec<Val>>, column: usize) -> Option<i64> {
    match image.as_ref().map(|i| &i[column]) {
        Some(Val::Long(v)) => Some(*v),
        _ => None,
    }
}

/// Key, bounds, old and new sum.
type Seen = (i64, (i64, i64), Option<i64>, Option<i64>);

fn seen(out: &OperatorOutput) -> Vec<Seen> {
    let row = |r: &Rec| (number(&r.key, 0).unwrap(), r.window.unwrap(), number(&r.old, 0), number(&r.new, 0));
    records(out).iter().map(row).collect()
}

#[test]
fn a_closed_session_is_not_seen_by_a_row_in_its_reach() {
    // The session ends at 0; with gap 10 and grace 5 it is open up to stream time 15, that millisecond included.
    for (time, want) in
        [(15, vec![(1, (0, 0), None, None), (1, (0, 10), None, Some(3))]), (16, vec![(1, (10, 10), None, Some(2))])]
    {
        let mut operator = sessions(10, 5, EmitMode::EveryChange);
        feed(&mut operator, 0, &[(1, 0, 1), (2, time, 9)]);
        let out = feed(&mut operator, 2, &[(1, 10, 2)]);
        assert_eq!((seen(&out), out.late), (want, 0), "stream time {time}");
    }
}

#[test]
fn last_of_sessions_stands_where_each_changed_first_and_what_came_and_went_vanishes() {
    let mut operator = sessions(10, 100, EmitMode::LatestPerKey).with_old();
    feed(&mut operator, 0, &[(1, 0, 1)]);
    assert_eq!(seen(&emit(&mut operator)), [(1, (0, 0), None, Some(1))]);
    operator.commit();
    // [0, 0] goes, [0, 5] comes and goes, [0, 8] stays: tombstones do not stand before all rows.
    feed(&mut operator, 1, &[(2, 50, 7), (1, 5, 2), (3, 60, 8), (1, 8, 4)]);
    let want = [
        (2, (50, 50), None, Some(7)),
        (1, (0, 0), Some(1), None),
        (3, (60, 60), None, Some(8)),
        (1, (0, 8), None, Some(7)),
    ];
    assert_eq!(seen(&emit(&mut operator)), want);
}

#[test]
fn a_merged_session_keeps_its_slot_until_the_emission_and_the_commit() {
    let mut operator = sessions(10, 100, EmitMode::LatestPerKey).with_old();
    feed(&mut operator, 0, &[(1, 0, 1), (1, 20, 2)]);
    emit(&mut operator);
    operator.commit();
    // The two become one; sessions of other keys must not lie where the merged one lay.
    feed(&mut operator, 2, &[(1, 10, 4), (2, 30, 50), (3, 31, 60)]);
    let merged = [
        (1, (0, 0), Some(1), None),
        (1, (20, 20), Some(2), None),
        (1, (0, 20), None, Some(7)),
        (2, (30, 30), None, Some(50)),
        (3, (31, 31), None, Some(60)),
    ];
    assert_eq!(seen(&emit(&mut operator)), merged);
    operator.abort();
    feed(&mut operator, 2, &[(1, 1, 8)]);
    let want = [(1, (0, 0), Some(1), None), (1, (0, 1), None, Some(9))];
    assert_eq!(seen(&emit(&mut operator)), want, "both are there again");
}

pub(crate) fn join(kind: JoinKind, before_ms: i64, after_ms: i64, grace_ms: Option<i64>) -> StreamStreamJoin {
    let within = Within { before_ms, after_ms, grace_ms };
    let side = |i| JoinSide {
        input: Input::Scan(i),
        rows: RowSpec::default(),
        hop: None,
        columns: vec![SqlType::Bigint.arrow()],
    };
    let stage = JoinStage {
        name: "Join".into(),
        kind,
        rule: Rule::Within(within),
        key: Column::key("K", SqlType::Bigint),
        key_format: Format::Kafka,
        partitions: 1,
        window: None,
        sides: [side(0), side(1)],
    };
    let spill_pool: Arc<SpillPool> = SpillPool::new(std::env::temp_dir().join("tidegate-tests"), usize::MAX);
    StreamStreamJoin::new(&stage, within, &spill_pool).unwrap()
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// Takes records of both sides, each in a step of its own; returns (`seq`, left value, right value).
fn meet(operator: &mut StreamStreamJoin, rows: &[(usize, Rec)]) -> Vec<(u64, Option<i64>, Option<i64>)> {
    let mut out = OperatorOutput::default();
    for (side, row) in rows {
        let batch = batch(std::slice::from_ref(row), &NUMBER, &NUMBER);
        let ports = if *side == LEFT { [Some(&batch), None] } else { [None, Some(&batch)] };
        operator.step(&ports, &mut out).unwrap();
    }
    assert_eq!(out.late, 0, "a join drops nothing as late");
    records(&out).iter().map(|r| (r.seq, number(&r.new, 0), number(&r.new, 1))).collect()
}

fn row(seq: u64, key: i64, time: i64, value: i64) -> Rec {
    rec(seq, Some(key), time, Some(value))
}

#[test]
fn a_join_buffer_expires_by_the_time_of_its_own_side() {
    // Kept for before + after + grace = 25 of the own side's time; the left side is a thousand ahead.
    let mut operator = join(JoinKind::Inner, 10, 10, Some(5));
    let early = [(RIGHT, row(0, 1, 0, 100)), (LEFT, row(1, 2, 1000, 1)), (LEFT, row(2, 1, 5, 2))];
    assert_eq!(meet(&mut operator, &early), [(2, Some(2), Some(100))], "the right side is young");
    let stored = [(RIGHT, row(3, 1, 6, 200))];
    assert_eq!(meet(&mut operator, &stored), [], "the left row was too old for its own side to be kept");
    // To the millisecond: what is exactly 25 old is gone.
    let edge = [(RIGHT, row(4, 3, 24, 0)), (LEFT, row(5, 1, 0, 3)), (RIGHT, row(6, 3, 25, 0)), (LEFT, row(7, 1, 0, 4))];
    assert_eq!(meet(&mut operator, &edge), [(5, Some(3), Some(100)), (5, Some(3), Some(200)), (7, Some(4), Some(200))]);
}

#[test]
fn a_row_is_padded_at_once_without_regard_to_grace_and_may_still_match() {
    let mut operator = join(JoinKind::Left, 10, 10, Some(50));
    let on_time = [(RIGHT, row(0, 9, 10, 0)), (LEFT, row(1, 1, 0, 1))];
    assert_eq!(meet(&mut operator, &on_time), [], "0 + 10 is not before 10: it waits");
    let behind = [(RIGHT, row(2, 9, 11, 0)), (LEFT, row(3, 2, 0, 2))];
    assert_eq!(meet(&mut operator, &behind), [(3, Some(2), None)], "0 + 10 is before 11, grace or not");
    assert_eq!(meet(&mut operator, &[(RIGHT, row(4, 2, 5, 100))]), [(4, Some(2), Some(100))]);
}

#[test]
fn what_waits_is_padded_by_a_record_at_stream_time_before_its_own_matches() {
    let mut operator = join(JoinKind::Full, 10, 10, Some(5));
    let waiting = [
        (LEFT, row(0, 2, 0, 1)),
        (LEFT, row(1, -1, 0, 2)),
        (LEFT, row(2, 2, 0, 3)),
        (RIGHT, row(3, 4, 0, 4)),
        (LEFT, row(4, 7, 10, 5)),
    ];
    assert_eq!(meet(&mut operator, &waiting), []);
    assert_eq!(meet(&mut operator, &[(RIGHT, row(5, 8, 15, 6))]), [], "0 + 10 + 5 is not before 15");
    // By time, side, key bytes (a negative BIGINT is the greater) and arrival; then what the record meets.
    let closing = meet(&mut operator, &[(RIGHT, row(6, 7, 16, 7))]);
    let right_first =
        vec![(6, None, Some(4)), (6, Some(1), None), (6, Some(3), None), (6, Some(2), None), (6, Some(5), Some(7))];
    assert_eq!(closing, right_first);
}

#[test]
fn a_record_without_key_or_value_moves_the_time_of_a_join_and_closes_nothing() {
    for lost in [rec(1, None, 100, Some(9)), rec(1, Some(1), 100, None)] {
        let mut operator = join(JoinKind::Left, 10, 10, Some(0));
        let moved = [(LEFT, row(0, 1, 0, 1)), (RIGHT, lost)];
        assert_eq!(meet(&mut operator, &moved), [], "nothing is closed");
        let behind = [(LEFT, row(2, 2, 89, 2))];
        assert_eq!(meet(&mut operator, &behind), [(2, Some(2), None)], "89 + 10 is before 100");
        let closing = [(RIGHT, row(3, 5, 100, 3))];
        assert_eq!(meet(&mut operator, &closing), [(3, Some(1), None)]);
    }
}

#[test]
fn a_left_row_without_a_key_is_padded_at_once() {
    let mut operator = join(JoinKind::Left, 10, 10, Some(0));
    assert_eq!(meet(&mut operator, &[(LEFT, rec(0, None, 0, Some(1)))]), [(0, Some(1), None)]);
    assert_eq!(meet(&mut operator, &[(LEFT, rec(1, Some(1), 0, None))]), [], "without a value it is nothing");
}

#[test]
fn a_waiting_row_outlives_its_buffer() {
    let mut operator = join(JoinKind::Left, 10, 10, Some(0));
    let purged = [
        (LEFT, row(0, 1, 0, 1)),
        // The shared time is far ahead, moved by what closes nothing; then the left side's own passes what is kept.
        (RIGHT, rec(1, None, 1000, None)),
        (LEFT, row(2, 2, 500, 2)),
        (LEFT, row(3, 3, 600, 3)),
    ];
    assert_eq!(meet(&mut operator, &purged), [(2, Some(2), None), (3, Some(3), None)]);
    assert_eq!(meet(&mut operator, &[(RIGHT, row(4, 1, 3, 100))]), [], "it is no match any more");
    operator.commit();
    assert_eq!(meet(&mut operator, &[(RIGHT, row(5, 9, 1000, 5))]), [(5, Some(1), None)], "its values are still there");
}

#[test]
fn sixty_panes_write_a_row_for_each_key_and_window_however_few_rows_it_has() {
    // Output rows per input row: 60 windows of each row, shared by the rows of a key in a window. A measurement with few
    // rows per key and window measures its output.
    let written = |rows_a_slide: i64| {
        let kind = WindowKind::Hopping { size_ms: 600, advance_ms: 10 };
        let mut operator = AggregateOperator::new(&sum(kind, 0, true), EmitMode::LatestPerKey).unwrap();
        let (mut rows, mut seq) = (0, 0);
        for slide in 0..200 {
            let input: Vec<_> = (0..rows_a_slide).map(|i| (1, 600 + slide * 10 + i % 10, 1)).collect();
            rows += seen(&feed(&mut operator, seq, &input)).len();
            seq += input.len() as u64;
        }
        rows
    };
    assert_eq!((written(1), written(50)), (199, 199), "as many windows have closed");
}
