//! The registry's promises: every documented example yields what it states, and every function has one.

use sqlparser::ast::{Expr, Ident, ObjectName};
use std::collections::BTreeSet;
use tidegate::error::{Error, Result};
use tidegate::functions::{Entry, Registry};
use tidegate::parse::parse;
use tidegate::parse::statement::{SelectItem, Statement};
use tidegate::plan::scalar::{Boundary, Columns, RowErrors, Scope, bind};
use tidegate::types::SqlType;
use tidegate::types::display::write_value;

struct Nothing;

impl Scope for Nothing {
    fn column(&self, _: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
        Err(Error::statement(format!("no column {name}")))
    }
}

/// An expression as a statement has it.
fn parsed(text: &str) -> Expr {
    let parsed = parse(&format!("SELECT {text} FROM s EMIT CHANGES;")).unwrap_or_else(|e| panic!("{text}: {e}"));
    let Statement::Select(select) = &parsed[0].statement else { panic!("{text} is no SELECT") };
    let [SelectItem::Expr { expr, .. }] = select.items.as_slice() else { panic!("{text} is not one expression") };
    expr.clone()
}

/// Its value as text.
fn value_of(text: &str, expr: &Expr) -> String {
    let typed = bind(expr, &Nothing, Boundary::SelectItem).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut errors = RowErrors::new();
    let array = typed.program.eval_array(&Columns { columns: &[], rows: 1 }, &mut errors).unwrap();
    assert!(errors.caught().is_empty(), "{text} failed: {:?}", errors.caught());
    assert_eq!(array.data_type(), &typed.ty.arrow(), "{text} has another type than it was bound to");
    let mut out = String::new();
    write_value(&array, 0, &mut out);
    out
}

fn value(text: &str) -> String {
    value_of(text, &parsed(text))
}

fn check(entry: &Entry, table: bool) -> Option<String> {
    assert!(!entry.examples.is_empty(), "{} has no example", entry.name);
    let wrong = entry.examples.iter().filter_map(|(text, expected)| {
        let mut expr = parsed(text);
        if let (true, Expr::Function(function)) = (table, &mut expr) {
            // The planner's name for a table function where it may stand.
            function.name = ObjectName::from(vec![Ident::new(format!("#{}", entry.name))]);
        }
        let got = value_of(text, &expr);
        (got != *expected).then(|| format!("{text}: {got}, not {expected}"))
    });
    let wrong: Vec<String> = wrong.collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

#[test]
fn every_example_yields_what_it_states() {
    let scalar = Registry::all().filter_map(|entry| check(entry, false));
    let wrong: Vec<String> = scalar.chain(Registry::tables().filter_map(|entry| check(entry, true))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_name_is_registered_twice() {
    let names: Vec<&str> = Registry::all().chain(Registry::tables()).map(|entry| entry.name).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(once.len(), names.len());
    // With TRANSFORM, FILTER and REDUCE these are the 129 scalar and 2 table functions of ksqlDB.
    assert_eq!(names.len() + 3, 129 + 2, "{names:?}");
}

#[test]
fn lambdas_nest_and_take_values_from_outside() {
    for (text, expected) in [
        ("TRANSFORM(ARRAY[1, 2], x => TRANSFORM(ARRAY[10, 20], y => x + y))", "[[11, 21], [12, 22]]"),
        ("FILTER(MAP('a' := 1, 'b' := 2), (k, v) => v > 1 AND k <> 'a')", "{b=2}"),
        ("REDUCE(ARRAY[1, 2, 3], 10, (s, x) => s + x)", "16"),
        ("TRANSFORM(MAP('a' := 1), (k, v) => UCASE(k), (k, v) => v + 1)", "{A=2}"),
        ("REDUCE(CAST(NULL AS ARRAY<INT>), 7, (s, x) => s + x)", "7"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn a_pattern_that_explodes_is_an_error_soon() {
    let text = format!("REGEXP_EXTRACT('(a+)+(?=b)c', '{}')", "a".repeat(64));
    let typed = bind(&parsed(&text), &Nothing, Boundary::SelectItem).unwrap();
    let mut errors = RowErrors::new();
    typed.program.eval_array(&Columns { columns: &[], rows: 1 }, &mut errors).unwrap();
    assert_eq!(errors.caught().len(), 1);
}
