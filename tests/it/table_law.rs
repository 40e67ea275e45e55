//! The laws of tables, on random changes: any split gives what the model gives; `Last` is its fold, through aborts and
//! restarts; abort and replay is as if nothing had happened; a restart from the changelog continues as if there had been none.

use crate::batches::{Dice, batch, cuts, records, same, seeds};
use crate::copied_state::{Met, Snapshots};
use crate::model::{self, Rec, Val};
use crate::table_model::{
    Alone, Sided, TableGrouping, group_table, join_foreign, join_tables, known_tombstones, look_up,
};
use tidegate::catalog::Format;
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::foreign_key_join::{ForeignKeyInput, ForeignKeyJoin};
use tidegate::execute::operator::table::TableOperator;
use tidegate::execute::operator::table_join::{StreamTableJoin, TableTableJoin};
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec, TableSpec};
use tidegate::execute::state::ChangelogEntry;
use tidegate::functions::aggregate::Aggregate;
use tidegate::parse::statement::JoinKind;
use tidegate::types::{Column, SqlType};

/// Changes of a case.
const ROWS: usize = 80;

/// The value columns of the left, or only, side: the group or foreign key, then arguments; and of the right side.
const LEFT: [SqlType; 5] =
    [SqlType::Bigint, SqlType::Integer, SqlType::Bigint, SqlType::Double, SqlType::Decimal(6, 1)];
const RIGHT: [SqlType; 2] = [SqlType::String, SqlType::Integer];

fn keys(seed: u64) -> Vec<SqlType> {
    match seed % 3 {
        0 => vec![SqlType::Bigint],
        1 => vec![SqlType::String],
        _ => vec![SqlType::String, SqlType::Integer],
    }
}

fn key(types: &[SqlType], id: i64) -> Vec<Val> {
    let one = |ty: &SqlType| match ty {
        SqlType::Bigint => Val::Long(id - 3),
        // A key of several columns may hold NULL.
        SqlType::Integer if id == 1 => Val::Null,
        SqlType::Integer => Val::Int(id as i32),
        _ => Val::Text(format!("{id} is the key")),
    };
    types.iter().map(one).collect()
}

fn format(key: &[SqlType]) -> Format {
    if key.len() == 1 { Format::Kafka } else { Format::Json }
}

fn columns(types: &[SqlType], key: bool) -> Vec<Column> {
    let named = |(i, ty): (usize, &SqlType)| match key {
        true => Column::key(format!("K{i}"), ty.clone()),
        false => Column::value(format!("V{i}"), ty.clone()),
    };
    types.iter().enumerate().map(named).collect()
}

/// Changes out of order in time, tombstones, rows all NULL; sums that no order of adding changes.
fn change(dice: &mut Dice, key: Vec<Val>, side: usize, seq: u64) -> Rec {
    let mut row = match side {
        0 => vec![
            Val::Long(dice.below(5) - 1),
            Val::Int(dice.below(100) as i32 - 50),
            Val::Long(if dice.one_in(5) { i64::MAX - 3 } else { dice.below(100) }),
            Val::Double(dice.below(64) as f64 / 4.0),
            Val::Decimal(i128::from(dice.below(700) - 300)),
        ],
        _ => vec![Val::Text(format!("right {}", dice.below(9))), Val::Int(dice.below(9) as i32)],
    };
    let all = dice.one_in(20);
    row.iter_mut().for_each(|v| *v = if all || dice.one_in(9) { Val::Null } else { v.clone() });
    let time = 1000 + seq as i64 - dice.below(40);
    Rec { key: Some(key), window: None, old: None, new: (!dice.one_in(5)).then_some(row), time, seq }
}

/// Changes of one table (`right` = none), or of two.
fn changes(seed: u64, left: &[SqlType], right: Option<&[SqlType]>) -> Vec<Sided> {
    let mut dice = Dice(seed ^ 0xABCD);
    let ids = 1 + dice.below(9);
    let one = |seq: usize| {
        let side = usize::from(right.is_some() && dice.one_in(2));
        let types = if side == 1 { right.unwrap_or(left) } else { left };
        let key = key(types, dice.below(ids));
        (side, change(&mut dice, key, side, 2 * seq as u64))
    };
    (0..ROWS).map(one).collect()
}

/// Operators in a row, with the changelog of each.
struct Line {
    operators: Vec<Box<dyn Operator>>,
    /// Of the two ports of the first: key and value types.
    ports: [(Vec<SqlType>, Vec<SqlType>); 2],
}

impl Line {
    fn step(&mut self, changes: &[Sided], out: &mut OperatorOutput) {
        let port = |side: usize| {
            let rows: Vec<Rec> = changes.iter().filter(|c| c.0 == side).map(|c| c.1.clone()).collect();
            let (key, value) = &self.ports[side];
            (!rows.is_empty()).then(|| batch(&rows, key, value))
        };
        let ports = [port(0), port(1)];
        let mut batches = OperatorOutput::default();
        self.operators[0].step(&[ports[0].as_ref(), ports[1].as_ref()], &mut batches).unwrap();
        for operator in &mut self.operators[1..] {
            let mut next = OperatorOutput::default();
            for batch in &batches.batches {
                operator.step(&[Some(batch)], &mut next).unwrap();
            }
            batches = next;
        }
        assert!(batches.bad.is_empty(), "{:?}", batches.bad);
        out.batches.append(&mut batches.batches);
    }

    fn emit(&mut self, out: &mut OperatorOutput) {
        self.operators.last_mut().unwrap().emit(out).unwrap();
    }

    fn changelog(&mut self) -> Vec<Vec<ChangelogEntry>> {
        let one = |operator: &mut Box<dyn Operator>| {
            let mut entries = Vec::new();
            operator.changelog(&mut entries).unwrap();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            assert!(entries.windows(2).all(|d| d[0].key != d[1].key), "two entries for one key in one commit");
            entries
        };
        self.operators.iter_mut().map(one).collect()
    }

    fn commit(&mut self) {
        self.operators.iter_mut().for_each(|o| o.commit());
    }

    /// `fresh`, with what this one has committed.
    fn restarted(&self, mut fresh: Line, logs: &[Vec<ChangelogEntry>]) -> Line {
        let memos: Vec<String> = self.operators.iter().map(|o| o.offset_metadata()).collect();
        for ((operator, log), offset_metadata) in fresh.operators.iter_mut().zip(logs).zip(&memos) {
            for delta in log {
                operator.restore(&delta.key, delta.value.as_deref(), delta.timestamp).unwrap();
            }
            operator.restore_metadata(offset_metadata).unwrap();
        }
        fresh
    }
}

/// What the operators write of these: no old image, unless they were asked for it.
fn written(all: &[Rec], with_old: bool) -> Vec<Rec> {
    all.iter().map(|r| Rec { old: r.old.clone().filter(|_| with_old), ..r.clone() }).collect()
}

/// Any split gives what the model gives.
fn check_splits(what: &str, seed: u64, line: &dyn Fn(EmitMode) -> Line, changes: &[Sided], want: &[Rec]) {
    for how in 0..4 {
        let (mut line, mut out, mut dice) = (line(EmitMode::EveryChange), OperatorOutput::default(), Dice(seed ^ 77));
        for cut in cuts(&mut dice, changes.len(), how).windows(2) {
            line.step(&changes[cut[0]..cut[1]], &mut out);
            if dice.one_in(4) {
                line.emit(&mut out);
                line.commit();
            }
        }
        line.emit(&mut out);
        same(&format!("{what}, seed {seed}, split {how}"), &records(&out), want);
    }
}

/// `Last` is the fold of what the model gives, whatever is aborted or started anew on the way. `all` has the old images.
fn check_fold(what: &str, seed: u64, line: &dyn Fn(EmitMode) -> Line, changes: &[Sided], all: &[Rec], with_old: bool) {
    for how in 0..4 {
        let (mut last, mut dice) = (line(EmitMode::LatestPerKey), Dice(seed ^ 99));
        let mut logs: Vec<Vec<ChangelogEntry>> = last.operators.iter().map(|_| Vec::new()).collect();
        let (mut got, mut want) = (Vec::new(), Vec::new());
        let (mut done, mut committed) = (0, 0);
        let cuts = cuts(&mut dice, changes.len(), how);
        while committed + 1 < cuts.len() {
            let end = (committed + 1 + dice.below(4) as usize).min(cuts.len() - 1);
            let (mut out, mut folded, mut until) = (OperatorOutput::default(), Vec::new(), done);
            let aborted = dice.one_in(3);
            for at in committed..end {
                last.step(&changes[cuts[at]..cuts[at + 1]], &mut out);
                if dice.one_in(3) || (at + 1 == end && !aborted) {
                    last.emit(&mut out);
                    let from = until;
                    until = all.partition_point(|r| r.seq <= changes[cuts[at + 1] - 1].1.seq);
                    // An emission carries the highest `seq` that reached its operator: that of its last record.
                    folded.extend(model::fold(&all[from..until], all[..until].last().map_or(0, |r| r.seq)));
                }
            }
            if aborted {
                last.operators.iter_mut().for_each(|o| o.abort());
                continue;
            }
            got.extend(records(&out));
            want.extend(folded);
            logs.iter_mut().zip(last.changelog()).for_each(|(log, more)| log.extend(more));
            last.commit();
            (done, committed) = (until, end);
            if dice.one_in(4) {
                last = last.restarted(line(EmitMode::LatestPerKey), &logs);
            }
        }
        same(&format!("{what}, seed {seed}, split {how}: fold"), &got, &written(&want, with_old));
    }
}

/// Abort and replay equals no abort; a restart continues.
fn check_commits(what: &str, seed: u64, line: &dyn Fn() -> Line, changes: &[Sided]) {
    let mut dice = Dice(seed ^ 33);
    let (mut plain, mut shaky, mut restarted) = (line(), line(), line());
    let mut outs = [OperatorOutput::default(), OperatorOutput::default(), OperatorOutput::default()];
    let mut logs: Vec<Vec<ChangelogEntry>> = plain.operators.iter().map(|_| Vec::new()).collect();
    for cut in cuts(&mut dice, changes.len(), 3).windows(2) {
        let part = cut[0] + dice.below((cut[1] - cut[0]) as i64 + 1) as usize;
        let mut lost = OperatorOutput::default();
        shaky.step(&changes[cut[0]..part], &mut lost);
        if dice.one_in(2) {
            shaky.emit(&mut lost);
            shaky.changelog();
        }
        shaky.operators.iter_mut().for_each(|o| o.abort());
        for (line, out) in [&mut plain, &mut shaky, &mut restarted].into_iter().zip(&mut outs) {
            line.step(&changes[cut[0]..cut[1]], out);
            line.emit(out);
        }
        let entries = plain.changelog();
        assert_eq!(entries, shaky.changelog(), "{what}, seed {seed}: deltas after an abort");
        assert_eq!(entries, restarted.changelog(), "{what}, seed {seed}: deltas after a restart");
        logs.iter_mut().zip(entries).for_each(|(log, more)| log.extend(more));
        [&mut plain, &mut shaky, &mut restarted].into_iter().for_each(Line::commit);
        if dice.one_in(3) {
            restarted = restarted.restarted(line(), &logs);
        }
    }
    let [want, shaky, restarted] = outs.map(|out| records(&out));
    same(&format!("{what}, seed {seed}: abort"), &shaky, &want);
    same(&format!("{what}, seed {seed}: restart"), &restarted, &want);
}

/// A restart from snapshots continues: of each operator pieces are copied after commits, and each is restarted on its own.
fn check_snapshots(what: &str, seed: u64, line: &dyn Fn() -> Line, changes: &[Sided]) {
    let (mut dice, mut met) = (Dice(seed ^ 55), Met::default());
    let (mut plain, mut copied) = (line(), line());
    let mut outs = [(); 2].map(|()| OperatorOutput::default());
    let mut logs: Vec<Vec<ChangelogEntry>> = plain.operators.iter().map(|_| Vec::new()).collect();
    let mut snapshots: Vec<Snapshots> = logs.iter().map(|_| Snapshots::default()).collect();
    for cut in cuts(&mut dice, changes.len(), 3).windows(2) {
        for (line, out) in [&mut plain, &mut copied].into_iter().zip(&mut outs) {
            line.step(&changes[cut[0]..cut[1]], out);
            line.emit(out);
        }
        let entries = plain.changelog();
        assert_eq!(entries, copied.changelog(), "{what}, seed {seed}: deltas after a restart from snapshots");
        logs.iter_mut().zip(entries).for_each(|(log, more)| log.extend(more));
        let memos: Vec<_> = copied.operators.iter().map(|o| (o.offset_metadata(), o.living())).collect();
        [&mut plain, &mut copied].into_iter().for_each(Line::commit);
        for (nth, operator) in copied.operators.iter_mut().enumerate() {
            snapshots[nth].copy(&mut dice, operator.as_mut(), &logs[nth]);
            if dice.one_in(5) {
                let (memo, living) = &memos[nth];
                let fresh = || line().operators.remove(nth);
                *operator = snapshots[nth].restart(&mut dice, fresh, &logs[nth], (memo, *living), &mut met);
            }
        }
    }
    let [want, copied] = outs.map(|out| records(&out));
    same(&format!("{what}, seed {seed}: restart from snapshots"), &copied, &want);
}

/// Seeds of which one is also checked with snapshots.
const COPIED: u64 = 16;

/// All laws of a line that makes a table; `all` is every change with the row that it replaces.
fn check_table(what: &str, seed: u64, line: &dyn Fn(EmitMode) -> Line, changes: &[Sided], all: &[Rec], with_old: bool) {
    check_splits(what, seed, line, changes, &written(all, with_old));
    check_fold(what, seed, line, changes, all, with_old);
    for mode in [EmitMode::EveryChange, EmitMode::LatestPerKey] {
        check_commits(what, seed, &|| line(mode), changes);
        if seed.is_multiple_of(COPIED) {
            check_snapshots(what, seed, &|| line(mode), changes);
        }
    }
}

fn undo_calls() -> Vec<(Aggregate, Option<usize>)> {
    vec![
        (Aggregate::CountRows, None),
        (Aggregate::Count, Some(0)),
        (Aggregate::SumInteger, Some(0)),
        (Aggregate::AvgInteger, Some(0)),
        (Aggregate::SumBigint, Some(1)),
        (Aggregate::AvgBigint, Some(1)),
        (Aggregate::SumDouble, Some(2)),
        (Aggregate::AvgDouble, Some(2)),
        (Aggregate::SumDecimal(38, 1), Some(3)),
    ]
}

fn grouping(key: &[SqlType], mode: EmitMode, spec: &TableGrouping) -> Line {
    let table = TableSpec {
        name: "KsqlTopic-Reduce".into(),
        key_format: format(key),
        key: columns(key, true),
        columns: columns(&LEFT, false),
        groups: 1,
    };
    let call = |(function, argument): &(Aggregate, Option<usize>)| AggregateCall {
        function: function.clone(),
        arguments: argument.iter().copied().collect(),
    };
    let aggregate = AggregateSpec {
        name: "Aggregate-Aggregate-Materialize".into(),
        window: None,
        final_only: false,
        loses_windows: false,
        texts: Vec::new(),
        calls: spec.calls.iter().map(call).collect(),
        key_format: Format::Kafka,
        key: columns(&LEFT[..1], true),
    };
    let aggregate = AggregateOperator::new(&aggregate, mode).unwrap().over_table();
    let aggregate = if spec.with_old { aggregate.with_old() } else { aggregate };
    Line {
        operators: vec![Box::new(TableOperator::new(&table, mode).unwrap()), Box::new(aggregate)],
        ports: [(key.to_vec(), LEFT.to_vec()), Default::default()],
    }
}

#[test]
fn rows_of_a_table_leave_their_group_before_they_join_another() {
    for seed in seeds(1) {
        let (key, mut dice) = (keys(seed), Dice(seed));
        let calls = undo_calls().into_iter().filter(|_| dice.one_in(2)).collect();
        let spec = TableGrouping { calls, with_old: dice.one_in(2) };
        let changes = changes(seed, &key, None);
        let rows: Vec<Rec> = changes.iter().map(|c| c.1.clone()).collect();
        // Whether something was there before, the fold must know also where the old values are not asked for.
        let all = group_table(&rows, &TableGrouping { with_old: true, ..spec.clone() });
        check_table("grouping", seed, &|mode| grouping(&key, mode, &spec), &changes, &all, spec.with_old);
    }
}

#[test]
fn a_tombstone_leaves_only_for_a_row_that_was_there() {
    for seed in seeds(1) {
        let key = keys(seed);
        let changes = changes(seed, &key, None);
        let all: Vec<Rec> = changes.iter().map(|c| c.1.clone()).collect();
        let line = |mode: EmitMode| {
            let spec = TableSpec {
                name: "KsqlTopic-Reduce".into(),
                key_format: format(&key),
                key: columns(&key, true),
                columns: vec![],
                groups: 0,
            };
            let operator: Box<dyn Operator> = Box::new(TableOperator::new(&spec, mode).unwrap());
            Line { operators: vec![operator], ports: [(key.clone(), LEFT.to_vec()), Default::default()] }
        };
        check_table("filter", seed, &line, &changes, &known_tombstones(&all), false);
    }
}

/// NULL in a join key meets nothing: joins are by one column.
fn join_key(seed: u64) -> Vec<SqlType> {
    vec![if seed.is_multiple_of(2) { SqlType::Bigint } else { SqlType::String }]
}

fn joining(key: &[SqlType], operator: Box<dyn Operator>) -> Line {
    Line { operators: vec![operator], ports: [(key.to_vec(), LEFT.to_vec()), (key.to_vec(), RIGHT.to_vec())] }
}

const WIDTHS: [usize; 2] = [LEFT.len(), RIGHT.len()];

#[test]
pub(crate) fn tables_join_by_key() {
    for seed in seeds(4) {
        let key = join_key(seed);
        let changes = changes(seed, &key, Some(&key));
        for (kind, left, right) in [
            (JoinKind::Inner, false, false),
            (JoinKind::Left, true, false),
            (JoinKind::Right, false, true),
            (JoinKind::Full, true, true),
        ] {
            let line = |mode: EmitMode| {
                let sides = [columns(&LEFT, false), columns(&RIGHT, false)];
                let join = TableTableJoin::new(kind, Format::Kafka, &columns(&key, true), [&sides[0], &sides[1]], mode);
                joining(&key, Box::new(join.unwrap()))
            };
            let all = join_tables(&changes, Alone { left, right }, WIDTHS);
            check_table(&format!("{kind:?}"), seed, &line, &changes, &all, false);
        }
    }
}

#[test]
fn a_stream_looks_up_what_the_table_is_by_then() {
    for seed in seeds(2) {
        let key = join_key(seed);
        let changes = changes(seed, &key, Some(&key));
        for left in [false, true] {
            let line = |_: EmitMode| {
                let join = StreamTableJoin::new(left, Format::Kafka, &columns(&key, true), &columns(&RIGHT, false));
                joining(&key, Box::new(join.unwrap()))
            };
            check_splits("lookup", seed, &line, &changes, &look_up(&changes, left, WIDTHS));
            check_commits("lookup", seed, &|| line(EmitMode::EveryChange), &changes);
            if seed.is_multiple_of(COPIED) {
                check_snapshots("lookup", seed, &|| line(EmitMode::EveryChange), &changes);
            }
        }
    }
}

#[test]
fn a_foreign_key_follows_its_rows() {
    for seed in seeds(2) {
        let (own, other) = (keys(seed), vec![SqlType::Bigint]);
        let changes = changes(seed, &own, Some(&other));
        for left in [false, true] {
            let line = |mode: EmitMode| {
                let (keys, sides) =
                    ([columns(&own, true), columns(&other, true)], [columns(&LEFT, false), columns(&RIGHT, false)]);
                let side =
                    |i: usize, key_format: Format| ForeignKeyInput { key_format, key: &keys[i], columns: &sides[i] };
                let join = ForeignKeyJoin::new(left, [side(0, format(&own)), side(1, Format::Kafka)], 0, mode).unwrap();
                Line {
                    operators: vec![Box::new(join)],
                    ports: [(own.clone(), LEFT.to_vec()), (other.clone(), RIGHT.to_vec())],
                }
            };
            check_table("foreign key", seed, &line, &changes, &join_foreign(&changes, left, WIDTHS), false);
        }
    }
}
