//! Time windows, one trap a test: what is late to the millisecond, what closes when, what an abort puts back.

use crate::batches::{batch, records};
use crate::model::{Rec, Val};
use tidegate::catalog::Format;
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec};
use tidegate::functions::aggregate::Aggregate;
use tidegate::types::time::{NEVER, Window, WindowKind};
use tidegate::types::{Column, SqlType};

const KEY: [SqlType; 1] = [SqlType::Bigint];
const VALUE: [SqlType; 1] = [SqlType::Bigint];

/// Longer than any jump of time in these tests.
const KEPT: Option<i64> = Some(i64::MAX);

fn tumbling(size_ms: i64, grace_ms: i64) -> Option<Window> {
    Some(Window { kind: WindowKind::Tumbling { size_ms }, grace_ms: Some(grace_ms), retention_ms: KEPT })
}

fn hopping(size_ms: i64, advance_ms: i64, grace_ms: i64) -> Option<Window> {
    Some(Window { kind: WindowKind::Hopping { size_ms, advance_ms }, grace_ms: Some(grace_ms), retention_ms: KEPT })
}

fn spec(window: Option<Window>, final_only: bool) -> AggregateSpec {
    AggregateSpec {
        name: "Aggregate-Aggregate-Materialize".into(),
        window,
        final_only,
        loses_windows: false,
        texts: Vec::new(),
        calls: vec![AggregateCall { function: Aggregate::SumBigint, arguments: vec![0] }],
        key_format: Format::Kafka,
        key: vec![Column::key("K", SqlType::Bigint)],
    }
}

fn operator(window: Option<Window>, final_only: bool, mode: EmitMode) -> AggregateOperator {
    AggregateOperator::new(&spec(window, final_only), mode).unwrap()
}

/// Rows of (seq, key, time, value).
fn rows(rows: &[(u64, i64, i64, i64)]) -> tidegate::execute::change::ChangeBatch {
    let rec = |&(seq, key, time, value): &_| Rec {
        key: Some(vec![Val::Long(key)]),
        window: None,
        old: None,
        new: Some(vec![Val::Long(value)]),
        time,
        seq,
    };
    batch(&rows.iter().map(rec).collect::<Vec<_>>(), &KEY, &VALUE)
}

fn step(operator: &mut AggregateOperator, input: &[(u64, i64, i64, i64)]) -> OperatorOutput {
    let mut out = OperatorOutput::default();
    operator.step(&[Some(&rows(input))], &mut out).unwrap();
    out
}

fn emit(operator: &mut AggregateOperator) -> OperatorOutput {
    let mut out = OperatorOutput::default();
    operator.emit(&mut out).unwrap();
    out
}

/// (seq, key, window start, sum, rowtime) of every output row.
fn seen(out: &OperatorOutput) -> Vec<(u64, i64, i64, i64, i64)> {
    let number = |v: &Val| if let Val::Long(v) = v { *v } else { panic!("not a bigint: {v:?}") };
    let row = |r: &Rec| {
        let (key, sum) = (number(&r.key.as_ref().unwrap()[0]), number(&r.new.as_ref().unwrap()[0]));
        (r.seq, key, r.window.map_or(-1, |w| w.0), sum, r.time)
    };
    records(out).iter().map(row).collect()
}

#[test]
fn a_row_is_late_when_window_end_plus_grace_is_reached_by_stream_time() {
    let mut operator = operator(tumbling(10, 5), false, EmitMode::EveryChange);
    // Stream time 14: the window 0..10 with grace 5 is still open; at 15 it is not.
    let out = step(&mut operator, &[(1, 1, 14, 1), (2, 1, 9, 2), (3, 1, 15, 4), (4, 1, 9, 8)]);
    assert_eq!(seen(&out), [(1, 1, 10, 1, 14), (2, 1, 0, 2, 9), (3, 1, 10, 5, 15)]);
    assert_eq!(out.late, 1);
    assert_eq!(operator.late(), 1);
}

#[test]
fn a_row_is_added_to_each_hopping_window_that_is_still_open() {
    let mut operator = operator(hopping(10, 5, 0), false, EmitMode::EveryChange);
    let out = step(&mut operator, &[(1, 1, 16, 1), (2, 1, 12, 2), (3, 1, 7, 4)]);
    // At stream time 16 the windows 10..20 and 15..25 are open, 5..15 is not.
    assert_eq!(seen(&out), [(1, 1, 10, 1, 16), (1, 1, 15, 1, 16), (2, 1, 10, 3, 16)]);
    assert_eq!(out.late, 3, "12 misses 5..15; 7 misses 0..10 and 5..15");
}

#[test]
fn windows_never_start_below_zero_and_a_negative_time_is_a_bad_row() {
    let mut operator = operator(hopping(10, 3, 0), false, EmitMode::EveryChange);
    let out = step(&mut operator, &[(1, 1, 2, 1), (2, 1, -1, 2), (3, 1, 4, 4)]);
    assert_eq!(seen(&out), [(1, 1, 0, 1, 2), (3, 1, 0, 5, 4), (3, 1, 3, 4, 4)]);
    assert_eq!(out.bad.iter().map(|b| b.0).collect::<Vec<_>>(), [2]);
    assert_eq!(out.late, 0);
}

#[test]
fn extreme_times_and_grace_do_not_wrap_around() {
    let mut patient = operator(tumbling(10, i64::MAX), false, EmitMode::EveryChange);
    assert_eq!(patient.stream_time(), NEVER);
    let out = step(&mut patient, &[(1, 1, 3, 1), (2, 1, i64::MAX - 1, 2), (3, 1, 3, 4)]);
    assert_eq!((out.late, seen(&out).len()), (0, 3));
    let mut strict = operator(tumbling(10, 0), true, EmitMode::EveryChange);
    let out = step(&mut strict, &[(1, 1, 3, 1), (2, 1, i64::MAX, 2)]);
    // The last window ends beyond the range: its end is the range's, and stream time has reached it.
    assert_eq!(seen(&out), [(2, 1, 0, 1, 3)]);
    assert_eq!(out.late, 1);
    let mut dense = operator(hopping(2, 1, 0), false, EmitMode::EveryChange);
    assert_eq!(step(&mut dense, &[(1, 1, i64::MAX, 1)]).late, 2);
}

#[test]
fn rows_without_key_or_value_do_not_move_stream_time() {
    let mut operator = operator(tumbling(10, 0), false, EmitMode::EveryChange);
    let rec = |seq, key, time, new| Rec { key, window: None, old: None, new, time, seq };
    let (one, sum) = (Some(vec![Val::Long(1)]), Some(vec![Val::Long(5)]));
    let input = [
        rec(1, None, 500, sum.clone()),
        rec(2, Some(vec![Val::Null]), 600, sum.clone()),
        rec(3, one.clone(), 700, None),
        rec(4, one, 3, sum),
    ];
    let mut out = OperatorOutput::default();
    operator.step(&[Some(&batch(&input, &KEY, &VALUE))], &mut out).unwrap();
    assert_eq!(seen(&out), [(4, 1, 0, 5, 3)]);
    assert_eq!(out.bad.iter().map(|b| b.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((operator.stream_time(), out.late), (3, 0));
}

#[test]
fn final_writes_what_a_row_closes_at_that_row_by_start_and_key_bytes() {
    let mut operator = operator(tumbling(10, 0), true, EmitMode::EveryChange);
    let out = step(
        &mut operator,
        &[(1, 7, 3, 1), (2, -1, 4, 2), (3, 5, 5, 4), (4, 5, 1, 8), (5, 5, 35, 16), (6, 5, 12, 32), (7, 9, 40, 64)],
    );
    // KAFKA writes BIGINT big-endian, so -1 comes after the positive keys. The row at 12 is late at 35.
    assert_eq!(seen(&out), [(5, 5, 0, 12, 5), (5, 7, 0, 1, 3), (5, -1, 0, 2, 4), (7, 5, 30, 16, 35)]);
    assert_eq!(out.late, 1);
}

#[test]
fn final_closes_several_windows_oldest_first_and_never_revives_one() {
    let mut operator = operator(hopping(10, 5, 0), true, EmitMode::EveryChange);
    // 12 falls into 5..15 and 10..20; at 16 only the second is open, and 5..15 had no data before.
    let out = step(&mut operator, &[(1, 1, 16, 1), (2, 1, 12, 2), (3, 1, 100, 4)]);
    assert_eq!(seen(&out), [(3, 1, 10, 3, 16), (3, 1, 15, 1, 16)]);
    assert_eq!(out.late, 1);
}

#[test]
fn last_writes_a_change_whose_window_closed_before_the_emission() {
    let mut operator = operator(tumbling(10, 0), false, EmitMode::LatestPerKey);
    assert!(step(&mut operator, &[(1, 1, 3, 1), (2, 2, 15, 2)]).batches.is_empty());
    // The window 0..10 is closed; new groups must not take its slots before the emission.
    step(&mut operator, &[(3, 3, 25, 4), (4, 4, 26, 8)]);
    let out = emit(&mut operator);
    assert_eq!(seen(&out), [(4, 1, 0, 1, 3), (4, 2, 10, 2, 15), (4, 3, 20, 4, 25), (4, 4, 20, 8, 26)]);
    operator.commit();
    step(&mut operator, &[(5, 5, 27, 16)]);
    assert_eq!(seen(&emit(&mut operator)), [(5, 5, 20, 16, 27)]);
}

#[test]
fn an_abort_puts_back_a_window_that_closed_and_time_and_late_rows() {
    let mut operator = operator(tumbling(10, 0), true, EmitMode::EveryChange);
    step(&mut operator, &[(1, 1, 3, 1), (2, 2, 4, 2)]);
    operator.commit();
    let lost = step(&mut operator, &[(3, 1, 5, 4), (4, 3, 6, 8), (5, 1, 30, 16), (6, 1, 5, 32)]);
    assert_eq!((seen(&lost).len(), operator.late(), operator.stream_time()), (3, 1, 30));
    operator.abort();
    assert_eq!((operator.late(), operator.stream_time()), (0, 4));
    let out = step(&mut operator, &[(3, 2, 9, 64), (4, 1, 10, 1)]);
    assert_eq!(seen(&out), [(4, 1, 0, 1, 3), (4, 2, 0, 66, 9)]);
}

#[test]
fn slots_of_a_closed_window_are_used_again_only_after_the_commit() {
    let mut operator = operator(tumbling(10, 0), false, EmitMode::EveryChange);
    let many = |seq: u64, time: i64| (0..200).map(|key| (seq, key, time, key)).collect::<Vec<_>>();
    step(&mut operator, &many(1, 5));
    operator.commit();
    // Window 0..10 closes, 200 groups of other windows come; then all of it is taken back.
    step(&mut operator, &many(2, 15));
    step(&mut operator, &many(3, 25));
    operator.abort();
    let out = step(&mut operator, &many(2, 6));
    let want: Vec<_> = (0..200).map(|key| (2, key, 0, 2 * key, 6)).collect();
    assert_eq!(seen(&out), want);
}

#[test]
fn a_closed_window_leaves_the_changelog() {
    let mut operator = operator(tumbling(10, 0), false, EmitMode::EveryChange);
    let entries = |operator: &mut AggregateOperator| {
        let mut entries = Vec::new();
        operator.changelog(&mut entries).unwrap();
        operator.commit();
        entries
    };
    step(&mut operator, &[(1, 1, 3, 1)]);
    let first = entries(&mut operator);
    let key: Vec<u8> = [1i64.to_be_bytes(), 0i64.to_be_bytes()].concat();
    assert_eq!((first.len(), &first[0].key, first[0].timestamp), (1, &key, 3));
    assert!(first[0].value.is_some());
    // A window that opens and closes between two commits was never written.
    step(&mut operator, &[(2, 1, 13, 1), (3, 1, 23, 1)]);
    let second = entries(&mut operator);
    assert_eq!(second.len(), 2);
    assert_eq!(second.iter().filter(|d| d.value.is_none()).map(|d| &d.key).collect::<Vec<_>>(), [&key]);
}

#[test]
fn state_of_another_version_is_refused() {
    let mut operator = operator(None, false, EmitMode::EveryChange);
    operator.restore(&1i64.to_be_bytes(), Some(&[9, 0, 0]), 0).unwrap();
    assert_eq!(
        operator.restore_metadata("1 0 0").unwrap_err().to_string(),
        "stored aggregate state cannot be used: entry has an unknown version"
    );
    assert!(self::operator(None, false, EmitMode::EveryChange).restore_metadata("2 0 0").is_err());
    assert!(
        self::operator(None, false, EmitMode::EveryChange).restore_metadata("").is_ok(),
        "nothing was committed yet"
    );
}

#[test]
fn what_cannot_run_is_refused_when_the_query_is_created() {
    let refused =
        |window, final_only| AggregateOperator::new(&spec(window, final_only), EmitMode::EveryChange).unwrap_err();
    let session = Window { kind: WindowKind::Session { gap_ms: 5 }, grace_ms: None, retention_ms: None };
    assert_eq!(refused(Some(session), false).to_string(), "SESSION windows are not supported yet");
    assert!(refused(None, true).to_string().contains("EMIT FINAL"));
    assert!(refused(hopping(10, 0, 0), false).to_string().contains("not possible"));
    assert!(refused(hopping(86_400_000, 1, 0), false).to_string().contains("86400000 windows"));
}

#[test]
fn final_writes_a_window_that_time_jumps_over_and_loses_it_in_ksqldbs_dialect_unless_retention_keeps_it() {
    let jump = [(0, 1, 0, 5), (1, 1, 11, 6), (2, 1, 40, 7)];
    // Size 10, grace 2: the row at 40 has a window that starts 40 after the first one and 30 after the second.
    for (retention_ms, kept) in [(None, 0), (Some(29), 0), (Some(30), 1), (Some(40), 2)] {
        let window = Window { kind: WindowKind::Tumbling { size_ms: 10 }, grace_ms: Some(2), retention_ms };
        for (loses_windows, kept) in [(false, 2), (true, kept)] {
            let spec = AggregateSpec { loses_windows, ..spec(Some(window), true) };
            let mut operator = AggregateOperator::new(&spec, EmitMode::EveryChange).unwrap();
            let out = step(&mut operator, &jump);
            assert_eq!(out.batches.iter().map(|b| b.len()).sum::<usize>(), kept, "{retention_ms:?}");
            assert_eq!(out.bad.len(), 2 - kept, "each lost window is logged");
        }
    }
}
