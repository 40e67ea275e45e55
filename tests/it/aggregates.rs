//! Aggregate functions: names to meanings, and ksqlDB's quirks.

use crate::batches::{column, value};
use crate::model::{Val, result};
use tidegate::functions::accumulate::{
    Accumulator, Arguments, Changes, Heap, Op, Results, State, Step, Work, overflow,
};
use tidegate::functions::aggregate::{Aggregate, Argument, Comparable, Limits, Literal, is_aggregate_name, resolve};
use tidegate::types::SqlType;

fn resolved(name: &str, types: &[SqlType]) -> tidegate::error::Result<Option<Aggregate>> {
    let given: Vec<Argument> = types.iter().map(|ty| Argument { ty: ty.clone(), literal: None }).collect();
    resolve(name, &given, Limits::default())
}

/// With a literal behind the column.
fn with_literals(name: &str, ty: &SqlType, literals: &[Literal]) -> Aggregate {
    let mut given = vec![Argument { ty: ty.clone(), literal: None }];
    for &literal in literals {
        let ty = if matches!(literal, Literal::Integer(_)) { SqlType::Integer } else { SqlType::Boolean };
        given.push(Argument { ty, literal: Some(literal) });
    }
    resolve(name, &given, Limits::default()).unwrap().unwrap()
}

/// The aggregate of a column, through the state words.
fn run_function(function: &Aggregate, ty: &SqlType, values: &[Val]) -> Val {
    let accumulator = Accumulator::new(function.clone(), 1).unwrap();
    let (mut words, width) = (vec![0; 1 + accumulator.width()], 1 + accumulator.width());
    let rows: Vec<u32> = (0..values.len() as u32).collect();
    let argument = column(ty, values);
    let changes = Changes { slots: &vec![0; rows.len()], rows: &rows };
    let mut heap = Heap::default();
    let mut state = State { words: &mut words, width, heap: &mut heap };
    accumulator.add(&mut state, changes, Some(&argument), Results::default(), &mut Vec::new()).unwrap();
    let mut cells = accumulator.cells();
    accumulator.peek(&words, width, &heap, &[0], &mut cells);
    let column = accumulator.finish(cells).unwrap();
    assert_eq!(column.data_type(), &function.output().arrow());
    value(&column, 0)
}

/// The aggregate of a column, by name.
fn run(name: &str, ty: SqlType, values: &[Val]) -> Val {
    run_function(&resolved(name, std::slice::from_ref(&ty)).unwrap().unwrap(), &ty, values)
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
fn a_decimal_sum_has_the_largest_precision_and_tells_what_does_not_fit() {
    let values = [Val::Decimal(99), Val::Decimal(1), Val::Decimal(-9)];
    assert_eq!(run("SUM", SqlType::Decimal(2, 1), &values), Val::Decimal(91));
    assert_eq!(resolved("SUM", &[SqlType::Decimal(2, 1)]).unwrap(), Some(Aggregate::SumDecimal(38, 1)));
    let narrow = Limits { narrow_sums: true, ..Limits::default() };
    let given = [Argument { ty: SqlType::Decimal(2, 1), literal: None }];
    assert_eq!(resolve("SUM", &given, narrow).unwrap(), Some(Aggregate::SumDecimal(2, 1)));
    let widest = Val::Decimal(10i128.pow(38) - 1);
    let (ty, function) = (SqlType::Decimal(38, 0), Aggregate::SumDecimal(38, 0));
    assert_eq!(misfits(&function, &ty, &[widest.clone(), Val::Decimal(1), Val::Decimal(-1)]), [1]);
    assert_eq!(misfits(&function, &ty, &[widest]), [0u32; 0]);
    let error = overflow(Some("SUM(X)"), &function);
    assert_eq!(error.message(), "numeric overflow: SUM(X) has more digits than DECIMAL(38, 0)");
    assert!(error.hint().is_some_and(|hint| hint.contains("CAST(x AS DOUBLE)")), "{error}");
}

/// Rows whose value does not fit.
fn misfits(function: &Aggregate, ty: &SqlType, values: &[Val]) -> Vec<u32> {
    let accumulator = Accumulator::new(function.clone(), 0).unwrap();
    let (mut words, mut heap) = (vec![0; accumulator.width()], Heap::default());
    let rows: Vec<u32> = (0..values.len() as u32).collect();
    let mut state = State { width: words.len(), words: &mut words, heap: &mut heap };
    let changes = Changes { slots: &vec![0; rows.len()], rows: &rows };
    let mut unfit = Vec::new();
    accumulator.add(&mut state, changes, Some(&column(ty, values)), Results::default(), &mut unfit).unwrap();
    unfit
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
            let function = resolved(name, &[SqlType::Integer]).unwrap().unwrap();
            assert_eq!(run(name, SqlType::Integer, &values), result(&function, &values), "{name} of {list:?}");
        }
    }
}

#[test]
fn names_resolve_by_argument_types() {
    assert_eq!(resolved("COUNT", &[]).unwrap(), Some(Aggregate::CountRows));
    assert_eq!(resolved("UCASE", &[SqlType::String]).unwrap(), None);
    assert_eq!(resolved("max", &[SqlType::Date]).unwrap(), Some(Aggregate::Max(Comparable::Date)));
    assert!(is_aggregate_name("topk") && !is_aggregate_name("ABS"));
    for (name, ty) in [
        ("MAX", SqlType::Timestamp),
        ("MIN", SqlType::Time),
        ("SUM", SqlType::Decimal(38, 2)),
        ("SUM", SqlType::Integer),
    ] {
        let function = resolved(name, std::slice::from_ref(&ty)).unwrap().unwrap();
        assert_eq!(function.output(), ty, "{name} keeps its argument's type");
    }
    let message = |name: &str, types: &[SqlType]| resolved(name, types).unwrap_err().to_string();
    assert_eq!(message("SUM", &[SqlType::String]), "Function 'SUM' does not accept parameters (STRING).");
    assert_eq!(message("AVG", &[SqlType::Decimal(4, 2)]), "Function 'AVG' does not accept parameters (DECIMAL(4, 2)).");
    assert_eq!(message("TOPK", &[SqlType::Integer]), "Function 'TOPK' does not accept parameters (INTEGER).");
}

fn ints(values: &[i32]) -> Vec<Val> {
    values.iter().map(|&v| Val::Int(v)).collect()
}

#[test]
fn rankings_keep_the_earlier_of_equal_values() {
    let values = ints(&[3, 9, 3, 1, 9, 4]);
    let top = |name| {
        run_function(&with_literals(name, &SqlType::Integer, &[Literal::Integer(3)]), &SqlType::Integer, &values)
    };
    assert_eq!(top("TOPK"), Val::List(ints(&[9, 9, 4])));
    assert_eq!(top("TOPKDISTINCT"), Val::List(ints(&[9, 4, 3])));
}

#[test]
fn literal_parameters_say_how_many_and_whether_nulls_count() {
    let values = [Val::Int(1), Val::Null, Val::Int(3)];
    let by = |name, literals: &[Literal]| {
        run_function(&with_literals(name, &SqlType::Integer, literals), &SqlType::Integer, &values)
    };
    let (two, nulls) = (Literal::Integer(2), Literal::Boolean(false));
    assert_eq!(by("LATEST_BY_OFFSET", &[]), Val::Int(3));
    assert_eq!(by("EARLIEST_BY_OFFSET", &[two]), Val::List(ints(&[1, 3])));
    assert_eq!(by("LATEST_BY_OFFSET", &[two, nulls]), Val::List(vec![Val::Null, Val::Int(3)]));
    let wrong = [("LATEST_BY_OFFSET", Literal::Integer(0)), ("TOPK", Literal::Integer(-1))];
    for (name, literal) in wrong {
        let column = Argument { ty: SqlType::Integer, literal: None };
        let given = [column, Argument { ty: SqlType::Integer, literal: Some(literal) }];
        let message = resolve(name, &given, Limits::default()).unwrap_err().to_string();
        assert!(message.contains("positive"), "{message}");
    }
}

/// Every aggregate that can undo is, after taking values back, as if it had never seen them; and two groups that merge are
/// as one that saw both.
#[test]
fn undo_and_merge_are_what_they_say() {
    let functions: Vec<(&str, SqlType)> = vec![
        ("COUNT", SqlType::Integer),
        ("SUM", SqlType::Integer),
        ("AVG", SqlType::Integer),
        ("STDDEV_SAMPLE", SqlType::Integer),
        ("COLLECT_LIST", SqlType::Integer),
        ("COLLECT_SET", SqlType::Integer),
        ("ATTR", SqlType::Integer),
        ("MIN", SqlType::Integer),
        ("COUNT_DISTINCT", SqlType::Integer),
    ];
    let values = ints(&[4, 7, 4, 9, 2, 4]);
    for (name, ty) in functions {
        let function = resolved(name, std::slice::from_ref(&ty)).unwrap().unwrap();
        let accumulator = Accumulator::new(function.clone(), 0).unwrap();
        let width = accumulator.width();
        let argument = [column(&ty, &values)];
        let run = |steps: &[Step]| {
            let (mut words, mut heap) = (vec![0; 2 * width], Heap::default());
            let mut state = State { words: &mut words, width, heap: &mut heap };
            let arguments = Arguments { new: &argument, old: &argument };
            accumulator.run(&mut state, Work::Program(steps), arguments, Results::default(), &mut vec![]).unwrap();
            let mut cells = accumulator.cells();
            accumulator.peek(&words, width, &heap, &[0], &mut cells);
            value(&accumulator.finish(cells).unwrap(), 0)
        };
        let step = |op, slot, with| Step { op, slot, with };
        let add = |slot, rows: std::ops::Range<u32>| rows.map(move |row| step(Op::Add, slot, row));
        let mut merged: Vec<Step> = add(0, 0..2).chain(add(1, 2..6)).collect();
        merged.push(step(Op::Merge, 0, 1));
        assert_eq!(run(&merged), result(&function, &values), "{name}: merge");
        if function.undoable() {
            let mut undone: Vec<Step> = add(0, 0..6).collect();
            undone.extend([5, 3, 4].map(|row| step(Op::Undo, 0, row)));
            assert_eq!(run(&undone), result(&function, &values[..3]), "{name}: undo");
        }
    }
}
