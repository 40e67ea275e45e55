//! The laws of grouped aggregates, on random rows: any split gives what the model gives; `Last` is its fold; abort and
//! replay is as if nothing had happened; a restart from the changelog continues as if there had been none.

use crate::batches::{Dice, batch, cuts, records, same, seeds};
use crate::copied_state::{Met, Snapshots, compacted, restore};
use crate::model::{self, Grouping, KEPT, Rec, Val};
use std::ops::Range;
use tidegate::catalog::Format;
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::session_window::SessionWindowOperator;
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec};
use tidegate::execute::state::ChangelogEntry;
use tidegate::functions::aggregate::Aggregate;
use tidegate::types::time::{Window, WindowKind};
use tidegate::types::{Column, SqlType};

/// Rows of a case.
const ROWS: usize = 100;

fn value_types() -> Vec<SqlType> {
    let list = SqlType::Array(Box::new(SqlType::Integer));
    vec![SqlType::Integer, SqlType::Bigint, SqlType::Double, SqlType::Decimal(3, 1), SqlType::String, list]
}

/// One random query with its input.
#[derive(Debug)]
struct Case {
    key: Vec<SqlType>,
    grouping: Grouping,
    rows: Vec<Rec>,
}

fn key_types(seed: u64) -> Vec<SqlType> {
    match seed % 5 {
        0 => vec![SqlType::Bigint],
        1 => vec![SqlType::String],
        2 => vec![SqlType::Integer],
        3 => vec![SqlType::String, SqlType::Integer],
        _ => vec![SqlType::Bigint, SqlType::Boolean, SqlType::String],
    }
}

fn key_value(ty: &SqlType, id: i64) -> Val {
    match ty {
        SqlType::Bigint => Val::Long(id - 2),
        SqlType::Integer => Val::Int(id as i32 - 2),
        SqlType::Boolean => Val::Bool(id % 2 == 0),
        _ => Val::Text(format!("key {id} of some length")),
    }
}

/// Rows out of order within and beyond grace, with equal times, NULL arguments, NULL keys, null values and keys, several
/// rows and gaps in `seq`.
///
/// `exact` = numbers whose sums are the same in any order, as merging sessions add them up in another one.
fn rows(dice: &mut Dice, key: &[SqlType], n: usize, exact: bool) -> Vec<Rec> {
    let (mut now, mut seq) = (0, 0);
    let (keys, span, back) = (1 + dice.below(7), 1 + dice.below(8), 1 + dice.below(150));
    let mut rows = Vec::new();
    for _ in 0..n {
        now += dice.below(span + 1);
        seq += [0, 1, 1, 3][dice.below(4) as usize];
        let time = (now - if dice.one_in(3) { dice.below(back) } else { 0 }).max(0);
        let id = dice.below(keys);
        let mut group: Vec<Val> = key.iter().map(|ty| key_value(ty, id)).collect();
        if dice.one_in(25) {
            group[0] = Val::Null;
        }
        let big = dice.one_in(4);
        let mut value = vec![
            Val::Int(if big { i32::MAX - 3 } else { dice.below(100) as i32 - 50 }),
            Val::Long(if big { i64::MAX - 3 } else { dice.below(100) - 50 }),
            Val::Double(match exact {
                true => [0.5, -0.0, 64.0, 2.5, -7.25, 0.0][dice.below(6) as usize],
                false => [0.1, -0.0, 1e300, 2.5, -7.25, 0.0][dice.below(6) as usize],
            }),
            Val::Decimal(i128::from(if exact { dice.below(7) - 3 } else { dice.below(700) - 300 })),
            Val::Text(["", "a", "b", "\u{FFFD}", "\u{1F600}"][dice.below(5) as usize].to_owned()),
            Val::List((0..dice.below(3)).map(|_| if dice.one_in(4) { Val::Null } else { Val::Int(7) }).collect()),
        ];
        value.iter_mut().for_each(|v| *v = if dice.one_in(8) { Val::Null } else { v.clone() });
        let key = (!dice.one_in(30)).then_some(group);
        let new = (!dice.one_in(30)).then_some(value);
        rows.push(Rec { key, window: None, old: None, new, time, seq });
    }
    rows
}

fn case(seed: u64) -> Case {
    let mut dice = Dice(seed);
    let advance = 1 + dice.below(20);
    let size = match dice.below(3) {
        0 => advance,
        1 => advance * (1 + dice.below(6)),
        _ => advance + dice.below(40),
    };
    let grace = dice.below(3) * dice.below(40);
    let retention = dice.below(3) * dice.below(30);
    let retention = if dice.one_in(2) { KEPT } else { size + grace + retention };
    let windows = (!dice.one_in(6)).then_some(model::Windows { size, advance, grace, retention });
    let calls = model::all_calls().into_iter().filter(|_| dice.one_in(4)).collect();
    let grouping = Grouping { windows, sessions: None, final_only: false, with_old: dice.one_in(2), calls };
    let key = key_types(seed);
    let rows = rows(&mut dice, &key, ROWS, false);
    Case { key, grouping, rows }
}

/// With sessions. Aggregates whose answer depends on how sessions were merged are left to tests of their own.
fn session_case(seed: u64) -> Case {
    let mut dice = Dice(seed ^ 0x5E55);
    let sessions = Some((1 + dice.below(12), dice.below(3) * dice.below(40)));
    let by_merging = |function: &Aggregate| match function {
        Aggregate::Offset { latest, count, .. } => *latest && count.is_some(),
        other => matches!(other, Aggregate::Deviation { .. }),
    };
    let calls = model::all_calls().into_iter().filter(|c| !by_merging(&c.0) && dice.one_in(4)).collect();
    let grouping = Grouping { windows: None, sessions, final_only: false, with_old: dice.one_in(2), calls };
    let key = key_types(seed);
    let rows = rows(&mut dice, &key, ROWS, true);
    Case { key, grouping, rows }
}

/// A random query of each kind.
fn cases(seed: u64) -> [Case; 2] {
    [case(seed), session_case(seed)]
}

impl Case {
    fn operator(&self, mode: EmitMode) -> Box<dyn Operator> {
        let sessions = self.grouping.sessions.map(|(gap_ms, grace)| Window {
            kind: WindowKind::Session { gap_ms },
            grace_ms: Some(grace),
            retention_ms: None,
        });
        let window = self.grouping.windows.map(|w| Window {
            kind: match w.size == w.advance {
                true => WindowKind::Tumbling { size_ms: w.size },
                false => WindowKind::Hopping { size_ms: w.size, advance_ms: w.advance },
            },
            grace_ms: Some(w.grace),
            retention_ms: (w.retention != KEPT).then_some(w.retention),
        });
        let call = |(function, arguments): &(Aggregate, Vec<usize>)| AggregateCall {
            function: function.clone(),
            arguments: arguments.clone(),
        };
        let spec = AggregateSpec {
            name: "Aggregate-Aggregate-Materialize".into(),
            window: window.or(sessions),
            final_only: self.grouping.final_only,
            loses_windows: self.grouping.windows.is_some_and(|w| w.retention != KEPT),
            texts: Vec::new(),
            calls: self.grouping.calls.iter().map(call).collect(),
            key_format: if self.key.len() == 1 { Format::Kafka } else { Format::Json },
            key: self.key.iter().enumerate().map(|(i, ty)| Column::key(format!("K{i}"), ty.clone())).collect(),
        };
        let old = self.grouping.with_old;
        if sessions.is_some() {
            let operator = SessionWindowOperator::new(&spec, mode).unwrap();
            return Box::new(if old { operator.with_old() } else { operator });
        }
        let operator = AggregateOperator::new(&spec, mode).unwrap();
        Box::new(if old { operator.with_old() } else { operator })
    }

    fn step(&self, operator: &mut dyn Operator, range: std::ops::Range<usize>, out: &mut OperatorOutput) {
        operator.step(&[Some(&batch(&self.rows[range], &self.key, &value_types()))], out).unwrap();
    }
}

fn bad(out: &OperatorOutput) -> Vec<u64> {
    out.bad.iter().map(|b| b.0).collect()
}

#[test]
pub(crate) fn each_equals_the_model_under_any_split() {
    for (seed, case) in seeds(2).flat_map(|seed| cases(seed).map(|case| (seed, case))) {
        let want = model::group(&case.rows, &case.grouping);
        for how in 0..4 {
            let (mut operator, mut out) = (case.operator(EmitMode::EveryChange), OperatorOutput::default());
            for cut in cuts(&mut Dice(seed ^ 77), case.rows.len(), how).windows(2) {
                case.step(operator.as_mut(), cut[0]..cut[1], &mut out);
            }
            same(&format!("seed {seed}, split {how}"), &records(&out), &want.records);
            assert_eq!(out.late, want.late, "seed {seed}, split {how}: late rows");
            assert_eq!(bad(&out), want.bad, "seed {seed}, split {how}: bad rows");
        }
    }
}

#[test]
pub(crate) fn last_is_the_fold_of_each() {
    for (seed, case) in seeds(2).flat_map(|seed| cases(seed).map(|case| (seed, case))) {
        // Whether something was there before, the fold must know also where the old values are not asked for.
        let all = model::group(&case.rows, &Grouping { with_old: true, ..case.grouping.clone() }).records;
        for how in 0..4 {
            let mut dice = Dice(seed ^ 99);
            let (mut operator, mut out, mut want, mut done) =
                (case.operator(EmitMode::LatestPerKey), OperatorOutput::default(), vec![], 0);
            for cut in cuts(&mut dice, case.rows.len(), how).windows(2) {
                case.step(operator.as_mut(), cut[0]..cut[1], &mut out);
                // Only at a border of `seq` does the model know which of its records belong to the emission.
                let border = cut[1] == case.rows.len() || case.rows[cut[1]].seq != case.rows[cut[1] - 1].seq;
                if border && (dice.one_in(3) || cut[1] == case.rows.len()) {
                    operator.emit(&mut out).unwrap();
                    let seq = case.rows[cut[1] - 1].seq;
                    let until = all.partition_point(|r| r.seq <= seq);
                    want.extend(model::fold(&all[done..until], seq));
                    done = until;
                }
                if border && dice.one_in(4) {
                    let until = all.partition_point(|r| r.seq <= case.rows[cut[1] - 1].seq);
                    operator.emit(&mut out).unwrap();
                    want.extend(model::fold(&all[done..until], case.rows[cut[1] - 1].seq));
                    done = until;
                    operator.commit();
                }
            }
            if !case.grouping.with_old {
                want.iter_mut().for_each(|r| r.old = None);
            }
            same(&format!("seed {seed}, split {how}"), &records(&out), &want);
        }
    }
}

/// Only aggregates that hopping windows share: with EMIT FINAL rows are kept by pane.
fn shared_case(seed: u64) -> Case {
    let mut dice = Dice(seed ^ 0x9A9E);
    let mut case = case(seed);
    let shared = |c: &(Aggregate, Vec<usize>)| c.0.leaves();
    case.grouping.calls = model::all_calls().into_iter().filter(|c| shared(c) && dice.one_in(3)).collect();
    if let Some(windows) = &mut case.grouping.windows {
        let advance = windows.advance;
        let size = advance * (2 + dice.below(6));
        let retention = if windows.retention == KEPT { KEPT } else { windows.retention - windows.size + size };
        *windows = model::Windows { size, retention, ..*windows };
    }
    case
}

#[test]
pub(crate) fn final_equals_the_model_under_any_split() {
    let mut written = 0;
    let cases = |seed| cases(seed).into_iter().chain([shared_case(seed)]);
    for (seed, mut case) in seeds(2).flat_map(|seed| cases(seed).map(move |case| (seed, case))) {
        (case.grouping.final_only, case.grouping.with_old) = (true, false);
        if case.grouping.windows.is_none() && case.grouping.sessions.is_none() {
            continue;
        }
        let want = model::group(&case.rows, &case.grouping);
        written += want.records.len();
        for how in 0..4 {
            let mode = if how % 2 == 0 { EmitMode::EveryChange } else { EmitMode::LatestPerKey };
            let (mut operator, mut out) = (case.operator(mode), OperatorOutput::default());
            for cut in cuts(&mut Dice(seed ^ 55), case.rows.len(), how).windows(2) {
                case.step(operator.as_mut(), cut[0]..cut[1], &mut out);
                if cut[1] % 3 == 0 {
                    operator.emit(&mut out).unwrap();
                    operator.commit();
                }
            }
            same(&format!("seed {seed}, split {how}"), &records(&out), &want.records);
            assert_eq!(out.late, want.late, "seed {seed}, split {how}: late rows");
        }
    }
    assert!(written > 10_000, "only {written} records were compared");
}

/// Every form of emission, for the laws about commits.
fn forms(seed: u64) -> Vec<(Case, EmitMode)> {
    let mut forms = Vec::new();
    for make in [case, session_case, shared_case] {
        forms.extend([(make(seed), EmitMode::EveryChange), (make(seed), EmitMode::LatestPerKey)]);
        let mut last = make(seed);
        if last.grouping.windows.is_some() || last.grouping.sessions.is_some() {
            (last.grouping.final_only, last.grouping.with_old) = (true, false);
            forms.push((last, EmitMode::LatestPerKey));
        }
    }
    forms
}

#[test]
pub(crate) fn abort_and_replay_is_no_abort() {
    for seed in seeds(4) {
        for (case, mode) in forms(seed) {
            let mut dice = Dice(seed ^ 33);
            let (mut plain, mut shaky) = (case.operator(mode), case.operator(mode));
            let (mut want, mut got) = (OperatorOutput::default(), OperatorOutput::default());
            for cut in cuts(&mut dice, case.rows.len(), 3).windows(2) {
                let part = cut[0] + dice.below((cut[1] - cut[0]) as i64 + 1) as usize;
                let mut lost = OperatorOutput::default();
                case.step(shaky.as_mut(), cut[0]..part, &mut lost);
                if dice.one_in(2) {
                    shaky.emit(&mut lost).unwrap();
                    shaky.changelog(&mut Vec::new()).unwrap();
                }
                shaky.abort();
                for (operator, out) in [(&mut plain, &mut want), (&mut shaky, &mut got)] {
                    case.step(operator.as_mut(), cut[0]..cut[1], out);
                    operator.emit(out).unwrap();
                }
                let (mut a, mut b) = (Vec::new(), Vec::new());
                plain.changelog(&mut a).unwrap();
                shaky.changelog(&mut b).unwrap();
                assert!(by_key(a) == by_key(b), "seed {seed}: deltas");
                assert_eq!(plain.offset_metadata(), shaky.offset_metadata(), "seed {seed}");
                plain.commit();
                shaky.commit();
            }
            same(&format!("seed {seed}, {mode:?}"), &records(&got), &records(&want));
            assert_eq!((got.late, bad(&got)), (want.late, bad(&want)), "seed {seed}");
        }
    }
}

fn by_key(mut entries: Vec<ChangelogEntry>) -> Vec<ChangelogEntry> {
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    assert!(entries.windows(2).all(|d| d[0].key != d[1].key), "two entries for one key in one commit");
    entries
}

/// An operator that is restarted at random from entries that `restored` makes of its changelog writes what an unbroken one does.
fn restarts(seeds: Range<u64>, salt: u64, restored: impl Fn(&mut Dice, &[ChangelogEntry], &mut dyn Operator)) {
    for seed in seeds {
        for (case, mode) in forms(seed) {
            let mut dice = Dice(seed ^ salt);
            let (mut plain, mut restarted) = (case.operator(mode), case.operator(mode));
            let (mut want, mut got, mut changelog) = (OperatorOutput::default(), OperatorOutput::default(), Vec::new());
            for cut in cuts(&mut dice, case.rows.len(), 3).windows(2) {
                for (operator, out) in [(&mut plain, &mut want), (&mut restarted, &mut got)] {
                    case.step(operator.as_mut(), cut[0]..cut[1], out);
                    operator.emit(out).unwrap();
                }
                restarted.changelog(&mut changelog).unwrap();
                let offset_metadata = restarted.offset_metadata();
                plain.commit();
                restarted.commit();
                if dice.one_in(3) {
                    restarted = case.operator(mode);
                    restored(&mut dice, &changelog, restarted.as_mut());
                    restarted.restore_metadata(&offset_metadata).unwrap();
                }
            }
            same(&format!("seed {seed}, {mode:?}"), &records(&got), &records(&want));
            assert_eq!(got.late, want.late, "seed {seed}");
            assert_eq!(plain.offset_metadata(), restarted.offset_metadata(), "seed {seed}");
        }
    }
}

#[test]
pub(crate) fn a_restart_from_the_changelog_goes_on() {
    restarts(seeds(4), 11, |_, changelog, operator| restore(operator, changelog).unwrap());
}

#[test]
pub(crate) fn a_restart_from_a_compacted_changelog_goes_on() {
    restarts(seeds(40), 12, |dice, changelog, operator| {
        // The part that was not compacted may begin anywhere.
        let (old, new) = changelog.split_at(dice.below(changelog.len() as i64 + 1) as usize);
        restore(operator, compacted(old).into_iter().chain(new)).unwrap();
    });
}

/// Pieces of a snapshot are copied at several commits, with aborts between them, and the changelog behind it is compacted.
#[test]
pub(crate) fn a_restart_from_a_snapshot_goes_on() {
    let mut met = Met::default();
    for seed in seeds(40) {
        for (case, mode) in forms(seed) {
            let mut dice = Dice(seed ^ 13);
            let (mut plain, mut restarted) = (case.operator(mode), case.operator(mode));
            let (mut want, mut got, mut changelog) = (OperatorOutput::default(), OperatorOutput::default(), Vec::new());
            let mut snapshots = Snapshots::default();
            for cut in cuts(&mut dice, case.rows.len(), 3).windows(2) {
                if dice.one_in(4) {
                    let mut lost = OperatorOutput::default();
                    case.step(restarted.as_mut(), cut[0]..cut[1], &mut lost);
                    restarted.abort();
                }
                for (operator, out) in [(&mut plain, &mut want), (&mut restarted, &mut got)] {
                    case.step(operator.as_mut(), cut[0]..cut[1], out);
                    operator.emit(out).unwrap();
                }
                restarted.changelog(&mut changelog).unwrap();
                let (offset_metadata, living) = (restarted.offset_metadata(), restarted.living());
                plain.commit();
                restarted.commit();
                snapshots.copy(&mut dice, restarted.as_mut(), &changelog);
                if dice.one_in(4) {
                    let memo = (offset_metadata.as_str(), living);
                    restarted = snapshots.restart(&mut dice, || case.operator(mode), &changelog, memo, &mut met);
                }
            }
            same(&format!("seed {seed}, {mode:?}"), &records(&got), &records(&want));
            assert_eq!(got.late, want.late, "seed {seed}");
            assert_eq!(plain.offset_metadata(), restarted.offset_metadata(), "seed {seed}");
        }
    }
    assert!(met.used > 0 && met.several > 0 && met.refused > 0, "{met:?}");
}
