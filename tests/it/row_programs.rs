//! Filters and projections against the model: alone, before a grouping and after one (HAVING).

use crate::batches::{Dice, batch, cuts, records, same};
use crate::model::{self, Expr, Grouping, Projection, Rec, Val};
use datafusion::common::ScalarValue;
use tidegate::catalog::Format;
use tidegate::execute::change::ChangeBatch;
use tidegate::execute::operator::aggregate::AggregateOperator;
use tidegate::execute::operator::filter_project::FilterProjectOperator;
use tidegate::execute::operator::{EmitMode, Operator, OperatorOutput};
use tidegate::execute::pipeline::{AggregateCall, AggregateSpec, InputColumn, RowSpec};
use tidegate::functions::aggregate::Aggregate;
use tidegate::plan::scalar::{Arithmetic, Comparison, Program};
use tidegate::types::time::{Window, WindowKind};
use tidegate::types::{Column, SqlType};

const SEEDS: u64 = 400;

/// Two BIGINT columns in the value, one in the key.
const KEY: [SqlType; 1] = [SqlType::Bigint];
const VALUE: [SqlType; 2] = [SqlType::Bigint, SqlType::Bigint];

/// More slots than any program reads: unread ones must not matter.
const SLOTS: [InputColumn; 5] =
    [InputColumn::WindowEnd, InputColumn::Value(0), InputColumn::Rowtime, InputColumn::Value(1), InputColumn::Key(0)];

fn program(expr: &Expr) -> Program {
    let column = |slot| Program::column(SLOTS.iter().position(|s| *s == slot).unwrap(), "C");
    let pair = |a: &Expr, b: &Expr| (Box::new(program(a)), Box::new(program(b)));
    match expr {
        Expr::Key(i) => column(InputColumn::Key(*i)),
        Expr::Value(i) => column(InputColumn::Value(*i)),
        Expr::Time => column(InputColumn::Rowtime),
        Expr::Lit(v) => Program::Literal(ScalarValue::Int64(Some(*v))),
        Expr::Add(a, b) => {
            let (left, right) = pair(a, b);
            Program::Arithmetic { op: Arithmetic::Add, left, right, ty: SqlType::Bigint }
        }
        Expr::Div(a, b) => {
            let (left, right) = pair(a, b);
            Program::Arithmetic { op: Arithmetic::Divide, left, right, ty: SqlType::Bigint }
        }
        Expr::Greater(a, b) => {
            let (left, right) = pair(a, b);
            Program::Compare { op: Comparison::Greater, left, right }
        }
        Expr::Not(a) => Program::Not(Box::new(program(a))),
        Expr::And(a, b) => {
            let (left, right) = pair(a, b);
            Program::And(left, right)
        }
    }
}

fn operator(spec: &Projection) -> FilterProjectOperator {
    let guarded = |e: &Expr| Program::Guard { boundary: 0, inner: Box::new(program(e)) };
    FilterProjectOperator::new(&RowSpec {
        keep_absent: false,
        groups: 0,
        slots: SLOTS.to_vec(),
        keep: spec.keep.iter().map(guarded).collect(),
        key: spec.key.iter().flatten().map(guarded).collect(),
        value: spec.value.iter().map(guarded).collect(),
        drop_null_keys: spec.drop_null_keys,
        drop_null_values: spec.drop_null_values,
        same_key: spec.key.is_none(),
    })
}

fn number(dice: &mut Dice, depth: i64) -> Expr {
    match dice.below(if depth == 0 { 4 } else { 7 }) {
        0 => Expr::Value(0),
        1 => Expr::Value(1),
        2 => Expr::Lit(dice.below(7) - 3),
        3 if dice.one_in(2) => Expr::Time,
        3 => Expr::Key(0),
        4 => Expr::Div(Box::new(number(dice, depth - 1)), Box::new(number(dice, depth - 1))),
        _ => Expr::Add(Box::new(number(dice, depth - 1)), Box::new(number(dice, depth - 1))),
    }
}

fn condition(dice: &mut Dice, depth: i64) -> Expr {
    match dice.below(if depth == 0 { 1 } else { 4 }) {
        1 => Expr::Not(Box::new(condition(dice, depth - 1))),
        2 => Expr::And(Box::new(condition(dice, depth - 1)), Box::new(condition(dice, depth - 1))),
        _ => Expr::Greater(Box::new(number(dice, 2)), Box::new(number(dice, 2))),
    }
}

fn projection(dice: &mut Dice) -> Projection {
    // GROUP BY drops rows without a value before it looks at the key.
    let drop_null_keys = dice.one_in(2);
    Projection {
        keep: (0..dice.below(3)).map(|_| condition(dice, 2)).collect(),
        key: (!dice.one_in(3)).then(|| (0..1 + dice.below(2)).map(|_| number(dice, 1)).collect()),
        value: (0..1 + dice.below(3)).map(|_| number(dice, 2)).collect(),
        drop_null_keys,
        drop_null_values: drop_null_keys || dice.one_in(2),
        table: false,
    }
}

fn rows(dice: &mut Dice) -> Vec<Rec> {
    let mut now = 0;
    let value = |dice: &mut Dice| if dice.one_in(6) { Val::Null } else { Val::Long(dice.below(9) - 4) };
    (0..120u64)
        .map(|i| {
            now += dice.below(6);
            let key = (!dice.one_in(12)).then(|| vec![value(dice)]);
            let new = (!dice.one_in(12)).then(|| vec![value(dice), value(dice)]);
            Rec { key, window: None, old: None, new, time: now - dice.below(20).min(now), seq: i / 2 * 3 }
        })
        .collect()
}

/// Sends each piece of the input through all operators.
fn run(operators: &mut [&mut dyn Operator], input: &[ChangeBatch]) -> OperatorOutput {
    let mut total = OperatorOutput::default();
    for batch in input {
        let mut batches = vec![batch.clone()];
        for operator in operators.iter_mut() {
            let mut out = OperatorOutput::default();
            batches.iter().for_each(|b| operator.step(&[Some(b)], &mut out).unwrap());
            batches = out.batches;
            total.bad.append(&mut out.bad);
            total.late += out.late;
        }
        total.batches.extend(batches);
    }
    total
}

fn pieces(rows: &[Rec], seed: u64, how: usize) -> Vec<ChangeBatch> {
    let cuts = cuts(&mut Dice(seed ^ 5), rows.len(), how);
    cuts.windows(2).map(|cut| batch(&rows[cut[0]..cut[1]], &KEY, &VALUE)).collect()
}

fn sorted(mut seqs: Vec<u64>) -> Vec<u64> {
    seqs.sort_unstable();
    seqs
}

fn bad(out: &OperatorOutput) -> Vec<u64> {
    sorted(out.bad.iter().map(|b| b.0).collect())
}

#[test]
fn filters_and_projections_equal_the_model_under_any_split() {
    let (mut passed, mut failed) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let (spec, rows) = (projection(&mut dice), rows(&mut dice));
        let want = model::project(&rows, &spec);
        passed += want.records.len();
        failed += want.bad.len();
        for how in 0..4 {
            let out = run(&mut [&mut operator(&spec)], &pieces(&rows, seed, how));
            same(&format!("seed {seed}, split {how}, {spec:?}"), &records(&out), &want.records);
            assert_eq!(bad(&out), sorted(want.bad.clone()), "seed {seed}, split {how}: bad rows of {spec:?}");
            assert!(how != 1 || out.bad.iter().is_sorted_by_key(|b| b.0), "entries are in the order of rows");
        }
    }
    assert!(passed > 10_000 && failed > 10_000, "{passed} records passed, {failed} failed");
}

fn grouping(dice: &mut Dice, value: usize) -> Grouping {
    let advance = 1 + dice.below(15);
    let windows = (!dice.one_in(4)).then(|| {
        let (size, grace) = (advance * (1 + dice.below(3)), dice.below(30));
        model::Windows { size, advance, grace, retention: size + grace }
    });
    let calls = vec![(Aggregate::SumBigint, vec![dice.below(value as i64) as usize]), (Aggregate::CountRows, vec![])];
    Grouping { windows, sessions: None, final_only: false, with_old: true, calls }
}

fn aggregate(grouping: &Grouping, keys: usize) -> AggregateOperator {
    let spec = AggregateSpec {
        name: "Aggregate-Aggregate-Materialize".into(),
        window: grouping.windows.map(|w| Window {
            kind: WindowKind::Hopping { size_ms: w.size, advance_ms: w.advance },
            grace_ms: Some(w.grace),
            retention_ms: None,
        }),
        final_only: grouping.final_only,
        loses_windows: false,
        texts: Vec::new(),
        calls: grouping
            .calls
            .iter()
            .map(|(function, arguments)| AggregateCall { function: function.clone(), arguments: arguments.clone() })
            .collect(),
        key_format: if keys == 1 { Format::Kafka } else { Format::Json },
        key: (0..keys).map(|i| Column::key(format!("K{i}"), SqlType::Bigint)).collect(),
    };
    AggregateOperator::new(&spec, EmitMode::EveryChange).unwrap().with_old()
}

#[test]
fn filter_group_having_equals_the_model_under_any_split() {
    let (mut tombstones, mut written) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice(seed ^ 0xABCD);
        let before = Projection { drop_null_keys: true, drop_null_values: true, ..projection(&mut dice) };
        let grouping = grouping(&mut dice, before.value.len());
        let having = Projection {
            keep: vec![condition(&mut dice, 1)],
            key: None,
            drop_null_keys: false,
            drop_null_values: false,
            table: true,
            ..projection(&mut dice)
        };
        let rows = rows(&mut dice);
        let first = model::project(&rows, &before);
        let second = model::group(&first.records, &grouping);
        let third = model::project(&second.records, &having);
        tombstones += third.records.iter().filter(|r| r.new.is_none()).count();
        written += third.records.len();
        let errors = sorted([first.bad, second.bad, third.bad].concat());
        for how in 0..4 {
            let mut chain =
                (operator(&before), aggregate(&grouping, before.key.as_ref().map_or(1, Vec::len)), operator(&having));
            let out = run(&mut [&mut chain.0, &mut chain.1, &mut chain.2], &pieces(&rows, seed, how));
            same(&format!("seed {seed}, split {how}"), &records(&out), &third.records);
            assert_eq!((bad(&out), out.late), (errors.clone(), second.late), "seed {seed}, split {how}");
        }
    }
    assert!(tombstones > 100 && written > 3_000, "{tombstones} tombstones of {written}");
}

#[test]
fn entries_name_the_expression_and_the_reason() {
    let (zero, a) = (Box::new(Expr::Lit(0)), Box::new(Expr::Value(0)));
    let divided = Expr::Div(a.clone(), zero);
    let spec = Projection {
        keep: vec![],
        key: Some(vec![divided.clone()]),
        value: vec![Expr::Value(1), Expr::Add(a.clone(), a)],
        drop_null_keys: true,
        drop_null_values: true,
        table: false,
    };
    let rec = |seq, a| Rec { key: None, window: None, old: None, new: Some(vec![a, Val::Long(1)]), time: 0, seq };
    let out = run(&mut [&mut operator(&spec)], &[batch(&[rec(7, Val::Long(1)), rec(8, Val::Null)], &KEY, &VALUE)]);
    assert!(out.batches.is_empty());
    let reasons: Vec<_> = out.bad.iter().collect();
    let excluded = "Error calculating group-by column with index 0. The source row will be excluded from the table.:";
    assert_eq!(reasons.len(), 3);
    assert!(reasons[0].0 == 7 && reasons[0].1.starts_with(excluded), "{reasons:?}");
    assert!(reasons[1].0 == 8 && reasons[1].1.starts_with(excluded), "{reasons:?}");
    assert!(
        reasons[2].0 == 8 && reasons[2].1.starts_with("expression 1 set to NULL: arithmetic on NULL in "),
        "{reasons:?}"
    );
}

#[test]
fn a_null_group_key_is_reported_once_and_a_missing_key_travels_elsewhere() {
    let null_key = |drop_null_keys| Projection {
        keep: vec![],
        key: Some(vec![Expr::Value(0)]),
        value: vec![Expr::Value(1)],
        drop_null_keys,
        drop_null_values: true,
        table: false,
    };
    let row = Rec { key: None, window: None, old: None, new: Some(vec![Val::Null, Val::Long(1)]), time: 0, seq: 4 };
    let input = [batch(std::slice::from_ref(&row), &KEY, &VALUE)];
    let grouped = run(&mut [&mut operator(&null_key(true))], &input);
    assert!(grouped.batches.is_empty());
    assert_eq!(
        grouped.bad.iter().collect::<Vec<_>>(),
        [(4, "Group-by column with index 0 resolved to null. The source row will be excluded from the table.")]
    );
    let moved = run(&mut [&mut operator(&null_key(false))], &input);
    assert_eq!(records(&moved), [Rec { new: Some(vec![Val::Long(1)]), ..row }]);
    assert!(moved.bad.is_empty());
}
