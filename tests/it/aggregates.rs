//! Aggregate functions: names to meanings, and ksqlDB's quirks.

use crate::batches::{column, value};
use crate::model::{Val, result};
use tidegate::functions::accumulate::{Accumulator, Changes, Words};
use tidegate::functions::aggregate::{Aggregate, Comparable, is_aggregate_name, resolve};
use tidegate::types::SqlType;

/// The aggregate of a column, by name, through the state words.
fn run(name: &str, ty: SqlType, values: &[Val]) -> Val {
    let function = resolve(name, std::slice::from_ref(&ty)).unwrap().unwrap();
    let accumulator = Accumulator::new(function, 1);
    let (mut words, width) = (vec![0; 1 + accumulator.width()], 1 + accumulator.width());
    let rows: Vec<u32> = (0..values.len() as u32).collect();
    let argument = column(&ty, values);
    let changes = Changes { slots: &vec![0; rows.len()], rows: &rows };
    let mut state = Words { words: &mut words, width };
    accumulator.add(&mut state, changes, Some(&argument), None, None, &mut Vec::new()).unwrap();
    let mut cells = accumulator.cells();
    accumulator.peek(&words, width, &[0], &mut cells);
    let column = cells.finish(&function).unwrap();
    assert_eq!(column.data_type(), &function.output().arrow());
    value(&column, 0)
}

#[test]
fn sums_start_at_zero_keep_their_type_and_wrap_around() {
    assert_eq!(run("sum", SqlType::Integer, &[Val::Null]), Val::Int(0));
    assert_eq!(run("SUM", SqlType::Integer, &[Val::Int(i32::MAX), Val::Int(1)]), Val::Int(i32::MIN));
    assert_eq!(run("SUM", SqlType::Bigint, &[Val::Long(i64::MAX), Val::Long(1)]), Val::Long(i64::MIN));
    assert_eq!(run("SUM", SqlType::Double, &[]), Val::Double(0.0));
    let decimals = [Val::Decimal(99), Val::Decimal(-5), Val::Null, Val::Decimal(4)];
    assert_eq!(run("SUM", SqlType::Decimal(2, 1), &decimals), Val::Decimal(98));
}

#[test]
fn a_decimal_sum_leaves_out_what_does_not_fit_any_more() {
    let values = [Val::Decimal(99), Val::Decimal(1), Val::Decimal(-9)];
    assert_eq!(run("SUM", SqlType::Decimal(2, 1), &values), Val::Decimal(90));
    let widest = 10i128.pow(38) - 1;
    let values = [Val::Decimal(widest), Val::Decimal(widest), Val::Decimal(-1)];
    assert_eq!(run("SUM", SqlType::Decimal(38, 0), &values), Val::Decimal(widest - 1));
}

#[test]
fn averages_of_nothing_are_zero_and_integers_add_up_in_32_bits() {
    assert_eq!(run("AVG", SqlType::Bigint, &[Val::Null]), Val::Double(0.0));
    assert_eq!(
        run("AVG", SqlType::Integer, &[Val::Int(i32::MAX), Val::Int(1)]),
        Val::Double(f64::from(i32::MIN) / 2.0)
    );
    assert_eq!(run("AVG", SqlType::Integer, &[Val::Int(1), Val::Null, Val::Int(2)]), Val::Double(1.5));
    assert_eq!(run("AVG", SqlType::Double, &[Val::Double(0.5), Val::Double(1.0)]), Val::Double(0.75));
}

#[test]
fn counts_skip_null_arguments() {
    assert_eq!(run("COUNT", SqlType::String, &[Val::Text("a".into()), Val::Null, Val::Text("a".into())]), Val::Long(2));
    assert_eq!(run("COUNT", SqlType::Boolean, &[Val::Null]), Val::Long(0));
}

#[test]
fn extremes_of_nothing_are_null_and_doubles_compare_as_in_java() {
    assert_eq!(run("MIN", SqlType::Integer, &[Val::Null]), Val::Null);
    assert_eq!(run("MAX", SqlType::Bigint, &[Val::Long(-5), Val::Null, Val::Long(-7)]), Val::Long(-5));
    assert_eq!(run("MIN", SqlType::Decimal(5, 2), &[Val::Decimal(3), Val::Decimal(-4)]), Val::Decimal(-4));
    let doubles = [0.0, -0.0, f64::NAN, f64::INFINITY].map(Val::Double);
    assert_eq!(run("MAX", SqlType::Double, &doubles), Val::Double(f64::NAN));
    assert_eq!(run("MIN", SqlType::Double, &doubles), Val::Double(-0.0));
    assert_eq!(run("MIN", SqlType::Double, &[-f64::NAN, f64::INFINITY].map(Val::Double)), Val::Double(f64::INFINITY));
}

#[test]
fn the_model_agrees_about_lists_of_values() {
    let lists: [&[i32]; 4] = [&[], &[7], &[3, -9, 3], &[i32::MAX, i32::MAX, 1]];
    for list in lists {
        let values: Vec<Val> = list.iter().map(|&v| Val::Int(v)).collect();
        for name in ["COUNT", "SUM", "AVG", "MIN", "MAX"] {
            let function = resolve(name, &[SqlType::Integer]).unwrap().unwrap();
            assert_eq!(run(name, SqlType::Integer, &values), result(function, &values), "{name} of {list:?}");
        }
    }
}

#[test]
fn names_resolve_by_argument_types() {
    assert_eq!(resolve("COUNT", &[]).unwrap(), Some(Aggregate::CountRows));
    assert_eq!(resolve("UCASE", &[SqlType::String]).unwrap(), None);
    assert_eq!(resolve("max", &[SqlType::Date]).unwrap(), Some(Aggregate::Max(Comparable::Date)));
    assert!(is_aggregate_name("topk") && !is_aggregate_name("ABS"));
    for (name, ty) in [
        ("MAX", SqlType::Timestamp),
        ("MIN", SqlType::Time),
        ("SUM", SqlType::Decimal(6, 2)),
        ("SUM", SqlType::Integer),
    ] {
        let function = resolve(name, std::slice::from_ref(&ty)).unwrap().unwrap();
        assert_eq!(function.output(), ty, "{name} keeps its argument's type");
    }
    let message = |name: &str, types: &[SqlType]| resolve(name, types).unwrap_err().to_string();
    assert_eq!(message("SUM", &[SqlType::String]), "Function 'SUM' does not accept parameters (STRING).");
    assert_eq!(message("AVG", &[SqlType::Decimal(4, 2)]), "Function 'AVG' does not accept parameters (DECIMAL(4, 2)).");
    assert_eq!(message("TOPK", &[SqlType::Integer]), "aggregate function TOPK is not supported yet");
}
