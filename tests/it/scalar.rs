//! Scalar programs: ksqlDB's meaning by example, against a row-by-row model, and under any split of a batch.

use arrow::array::*;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int32Type};
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use proptest::prelude::*;
use sqlparser::ast::Expr;
use sqlparser::dialect::Dialect;
use sqlparser::parser::Parser;
use std::sync::Arc;
use tidegate::error::{Error, Result};
use tidegate::plan::scalar::*;
use tidegate::types::SqlType;

/// Enough of the SQL dialect for expressions.
#[derive(Debug)]
struct Expressions;

impl Dialect for Expressions {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_'
    }
    fn is_identifier_part(&self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_'
    }
    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        true
    }
}

fn parse(sql: &str) -> Expr {
    // STRUCT<...> is a type in the generic dialect only.
    let generic = sqlparser::dialect::GenericDialect {};
    let dialect: &dyn Dialect = if sql.contains("STRUCT<") { &generic } else { &Expressions };
    Parser::new(dialect).try_with_sql(sql).unwrap().parse_expr().unwrap_or_else(|e| panic!("{sql}: {e}"))
}

struct Table {
    names: Vec<(&'static str, SqlType)>,
    columns: Vec<ArrayRef>,
    rows: usize,
}

impl Scope for Table {
    fn column(&self, _: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
        let found = self.names.iter().position(|(n, _)| *n == name);
        let index = found.ok_or_else(|| Error::statement(format!("SELECT column '{name}' cannot be resolved.")))?;
        Ok((index, self.names[index].1.clone()))
    }
}

impl Table {
    fn input(&self) -> Columns<'_> {
        Columns { columns: &self.columns, rows: self.rows }
    }

    fn slice(&self, from: usize, rows: usize) -> Table {
        let columns = self.columns.iter().map(|c| c.slice(from, rows)).collect();
        Table { names: self.names.clone(), columns, rows }
    }
}

/// Four rows: usual, NULL, extreme, odd.
fn table() -> Table {
    use SqlType::*;
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(10), Some(20), None]),
        None,
        Some(vec![]),
        Some(vec![Some(7)]),
    ]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    map.keys().append_value("j");
    map.values().append_null();
    map.append(true).unwrap();
    let structure = Struct(vec![("F".into(), Integer), ("G".into(), String)]);
    let DataType::Struct(fields) = structure.arrow() else { unreachable!() };
    let structs = StructArray::new(
        fields,
        vec![
            Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)])),
            Arc::new(StringArray::from(vec![Some("x"), Some("y"), Some("z"), None])),
        ],
        Some(vec![true, false, true, true].into()),
    );
    let columns: Vec<(&'static str, SqlType, ArrayRef)> = vec![
        ("A", Integer, Arc::new(Int32Array::from(vec![Some(7), None, Some(i32::MAX), Some(i32::MIN)]))),
        ("B", Boolean, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]))),
        ("Z", Integer, Arc::new(Int32Array::from(vec![0, 0, 0, -1]))),
        ("S", String, Arc::new(StringArray::from(vec![Some("12"), None, Some("x"), Some(" 34 ")]))),
        ("L", Bigint, Arc::new(Int64Array::from(vec![Some(5), None, Some(i64::MAX), Some(i64::MIN)]))),
        ("D", Double, Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(-0.0)]))),
        (
            "C",
            Decimal(5, 2),
            Arc::new(
                Decimal128Array::from(vec![Some(150), None, Some(99999), Some(-5)])
                    .with_precision_and_scale(5, 2)
                    .unwrap(),
            ),
        ),
        (
            "T",
            Timestamp,
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None, Some(1_583_020_800_000), Some(-1)])),
        ),
        ("ROWTIME", Bigint, Arc::new(Int64Array::from(vec![0, 1, 1_583_020_800_000, 3]))),
        ("ARR", Array(Box::new(Integer)), Arc::new(list)),
        ("M", Map(Box::new(String), Box::new(Integer)), Arc::new(map.finish())),
        ("ST", structure, Arc::new(structs)),
    ];
    Table {
        names: columns.iter().map(|(n, t, _)| (*n, t.clone())).collect(),
        columns: columns.into_iter().map(|(_, _, c)| c).collect(),
        rows: 4,
    }
}

type Log = Vec<(u16, Reason, Vec<usize>)>;

fn log(errors: &RowErrors) -> Log {
    errors.caught().iter().map(|c| (c.boundary, c.reason, c.rows.set_indices().collect())).collect()
}

fn texts(array: &dyn Array) -> Vec<String> {
    let text = |i| if array.is_null(i) { "NULL".to_string() } else { array_value_to_string(array, i).unwrap() };
    (0..array.len()).map(text).collect()
}

fn select(sql: &str) -> (Vec<String>, Log, SqlType) {
    let table = table();
    let typed = bind(&parse(sql), &table, Boundary::SelectItem).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut errors = RowErrors::new();
    let array = typed.program.eval_array(&table.input(), &mut errors).unwrap();
    assert_eq!(*array.data_type(), typed.ty.arrow(), "{sql}");
    assert_eq!(array.len(), table.rows, "{sql}");
    assert!(typed.program.can_fail() || errors.caught().is_empty(), "{sql} logs, but cannot fail");
    let (mut values, mut entries) = (vec![], vec![]);
    for row in 0..table.rows {
        let (value, entry) = run(&typed.program, &table.slice(row, 1), row);
        values.extend(value);
        entries.extend(entry);
    }
    assert_eq!(run(&typed.program, &table, 0), (values, entries), "{sql} row by row");
    let (none, _) = run(&typed.program, &table.slice(2, 0), 0);
    assert!(none.is_empty(), "{sql} on no rows");
    (texts(&array), log(&errors), typed.ty)
}

#[track_caller]
fn values(sql: &str, expected: [&str; 4]) {
    assert_eq!(select(sql).0, expected, "{sql}");
}

#[track_caller]
fn typed(sql: &str, ty: &str, expected: [&str; 4]) {
    let (values, _, found) = select(sql);
    assert_eq!((values, found.to_string()), (expected.map(str::to_string).to_vec(), ty.to_string()), "{sql}");
}

#[track_caller]
fn logged(sql: &str, expected: [&str; 4], entries: &[(u16, Reason, &[usize])]) {
    let (values, log, _) = select(sql);
    let entries: Log = entries.iter().map(|(b, r, rows)| (*b, *r, rows.to_vec())).collect();
    assert_eq!((values, log), (expected.map(str::to_string).to_vec(), entries), "{sql}");
}

#[track_caller]
fn kept(sql: &str, expected: &[usize], dropped: &[usize]) {
    let table = table();
    let typed = bind(&parse(sql), &table, Boundary::Where).unwrap_or_else(|e| panic!("{sql}: {e}"));
    let mut errors = RowErrors::new();
    let passed = typed.program.predicate(&table.input(), &mut errors).unwrap();
    let passed = passed.unwrap_or_else(|| BooleanBuffer::new_set(table.rows));
    let bad: Vec<usize> = log(&errors).into_iter().flat_map(|(_, _, rows)| rows).collect();
    assert_eq!((passed.set_indices().collect::<Vec<_>>(), bad), (expected.to_vec(), dropped.to_vec()), "{sql}");
}

#[track_caller]
fn refused(sql: &str, message: &str) {
    let error = bind(&parse(sql), &table(), Boundary::SelectItem).map(|t| t.program.to_string()).unwrap_err();
    assert!(error.message().contains(message), "{sql}: {error:?}");
}

#[test]
fn an_error_passes_calls_and_stops_at_boundaries() {
    use Reason::*;
    logged("COALESCE(A + 1, 0)", ["8", "NULL", "-2147483648", "-2147483647"], &[(0, NullOperand, &[1])]);
    logged("COALESCE(1, A + 1)", ["1", "NULL", "1", "1"], &[(0, NullOperand, &[1])]);
    logged("COALESCE(CAST(S AS INT), 0)", ["12", "0", "0", "34"], &[(1, Cast, &[2])]);
    logged("ARRAY[1 / Z, 2]", ["[, 2]", "[, 2]", "[, 2]", "[-1, 2]"], &[(1, DivisionByZero, &[0, 1, 2])]);
    logged("Z = 1 AND 1 / Z = 1", ["false"; 4], &[]);
    logged("1 / Z = 1 AND Z = 1", ["NULL", "NULL", "NULL", "false"], &[(0, DivisionByZero, &[0, 1, 2])]);
    logged("B AND TRUE", ["true", "NULL", "false", "true"], &[(0, NullBoolean, &[1])]);
    logged("B OR TRUE", ["true", "NULL", "true", "true"], &[(0, NullBoolean, &[1])]);
    logged("TRUE OR B", ["true"; 4], &[]);
    logged("NOT B", ["false", "NULL", "true", "false"], &[(0, NullBoolean, &[1])]);
    // One entry, not two: the right side is not asked for a row that failed.
    logged(
        "(A + 1) * CAST(S AS INT)",
        ["96", "NULL", "NULL", "34"],
        &[(1, Cast, &[2]), (0, NullOperand, &[1]), (0, NullOperand, &[2])],
    );
    logged("CASE WHEN Z = 0 THEN -1 ELSE 7 / Z END", ["-1", "-1", "-1", "-7"], &[]);
    logged("CASE WHEN B THEN 1 ELSE 2 END", ["1", "NULL", "2", "1"], &[(0, NullBoolean, &[1])]);
    logged("STRUCT(X := 1 / Z, Y := 2)->Y", ["2"; 4], &[(1, DivisionByZero, &[0, 1, 2])]);
    logged(
        "CONCAT('<', CAST(A / Z AS STRING), '>')",
        ["<>", "<>", "<>", "<-2147483648>"],
        &[(1, NullOperand, &[1]), (1, DivisionByZero, &[0, 2])],
    );
}

#[test]
fn where_has_no_inner_boundaries() {
    kept("NOT (A > 5)", &[1, 3], &[]);
    kept("NOT (A + 1 > 5)", &[2, 3], &[1]);
    kept("COALESCE(CAST(S AS INT), 0) = 0", &[1], &[2]);
    kept("B", &[0, 3], &[]);
    kept("A IS NULL", &[1], &[]);
    kept("TRUE", &[0, 1, 2, 3], &[]);
    kept("NULL", &[], &[]);
}

#[test]
fn integers_wrap_and_doubles_do_not_fail() {
    use Reason::*;
    typed("A + 1", "INTEGER", ["8", "NULL", "-2147483648", "-2147483647"]);
    typed("A / -1", "INTEGER", ["-7", "NULL", "-2147483647", "-2147483648"]);
    typed("L * 2", "BIGINT", ["10", "NULL", "-2", "0"]);
    typed("-A", "INTEGER", ["-7", "NULL", "-2147483647", "-2147483648"]);
    typed("L % 3", "BIGINT", ["2", "NULL", "1", "-2"]);
    typed("A % Z", "INTEGER", ["NULL", "NULL", "NULL", "0"]);
    logged("7 / 0", ["NULL"; 4], &[(0, DivisionByZero, &[0, 1, 2, 3])]);
    logged("7.0e0 / 0", ["inf"; 4], &[]);
    typed("7 / 2", "INTEGER", ["3"; 4]);
    typed("-7 / 2", "INTEGER", ["-3"; 4]);
    typed("2147483648", "BIGINT", ["2147483648"; 4]);
    typed("-2147483648", "INTEGER", ["-2147483648"; 4]);
    typed("A + L", "BIGINT", ["12", "NULL", "-9223372034707292162", "9223372034707292160"]);
    typed("A + D", "DOUBLE", ["8.5", "NULL", "NaN", "-2147483648.0"]);
    values("D = D", ["true", "false", "false", "true"]);
    values("D <> 3e0", ["true", "false", "false", "true"]);
    values("D = 0e0", ["false", "false", "false", "true"]);
    values("NOT (D < 3e0)", ["false", "true", "true", "false"]);
}

#[test]
fn decimals_are_exact_or_fail() {
    use Reason::*;
    typed("C + 1", "DECIMAL(13, 2)", ["2.50", "NULL", "1000.99", "0.95"]);
    typed("C * C", "DECIMAL(11, 4)", ["2.2500", "NULL", "999980.0001", "0.0025"]);
    typed("1.5", "DECIMAL(2, 1)", ["1.5"; 4]);
    typed("0.05", "DECIMAL(2, 2)", ["0.05"; 4]);
    typed("L * 0.908", "DECIMAL(23, 3)", ["4.540", "NULL", "8374821809464136432.756", "-8374821809464136433.664"]);
    logged(
        "C / 3",
        ["0.5000000000000", "NULL", "333.3300000000000", "NULL"],
        &[(0, NullOperand, &[1]), (0, Inexact, &[3])],
    );
    typed("C / 0.0", "DECIMAL(10, 6)", ["NULL"; 4]);
    // 999.99 % 0.4: Java refuses, because the whole quotient has more digits than the result.
    typed("C % 0.4", "DECIMAL(2, 2)", ["0.30", "NULL", "NULL", "-0.05"]);
    typed("C + D", "DOUBLE", ["3.0", "NULL", "NaN", "-0.05"]);
    typed("CAST(C AS DECIMAL(4, 1))", "DECIMAL(4, 1)", ["1.5", "NULL", "NULL", "-0.1"]);
    typed("CAST('12.345' AS DECIMAL(4, 2))", "DECIMAL(4, 2)", ["12.35"; 4]);
    values("C > 1.4", ["true", "false", "true", "false"]);
    values("C = D", ["true", "false", "false", "false"]);
    values("C < L", ["true", "false", "true", "false"]);
    typed("DECIMAL '1.20'", "DECIMAL(3, 2)", ["1.20"; 4]);
}

#[test]
fn comparisons_are_two_valued() {
    values("A = 7", ["true", "false", "false", "false"]);
    values("A <> 7", ["false", "false", "true", "true"]);
    values("NOT (A = 7)", ["false", "true", "true", "true"]);
    values("A IS DISTINCT FROM 7", ["false", "true", "true", "true"]);
    values("A IS DISTINCT FROM NULL", ["true", "false", "true", "true"]);
    values("A IS NOT DISTINCT FROM NULL", ["false", "true", "false", "false"]);
    values("A BETWEEN 1 AND 10", ["true", "false", "false", "false"]);
    values("A NOT BETWEEN 1 AND 10", ["false", "true", "true", "true"]);
    values("A IN (7, NULL, 9)", ["true", "false", "false", "false"]);
    values("A NOT IN (7)", ["false", "true", "true", "true"]);
    values("A IN ('7', 8)", ["true", "false", "false", "false"]);
    values("L >= A", ["false", "false", "true", "false"]);
    values("S LIKE '1%'", ["true", "false", "false", "false"]);
    values("S LIKE '_'", ["false", "false", "true", "false"]);
    values("S NOT LIKE '%2'", ["false", "true", "true", "true"]);
    values("'a%c' LIKE 'a!%c' ESCAPE '!'", ["true"; 4]);
    values("'abc' LIKE 'a!%c' ESCAPE '!'", ["false"; 4]);
    values("'xaabaac' LIKE '%a_%c'", ["true"; 4]);
    values("ARR = ARRAY[7]", ["false", "false", "false", "true"]);
    // U+1F600 is two surrogates, which come before U+FF5E in UTF-16.
    values("'\u{1F600}' < '\u{FF5E}'", ["true"; 4]);
    values("T < '1970-01-02'", ["true", "false", "false", "true"]);
    values("ROWTIME = '2020-03-01'", ["false", "false", "true", "false"]);
    values("ROWTIME BETWEEN '2020' AND '2021'", ["false", "false", "true", "false"]);
    values("ARR IN (ARRAY['7'], ARR)", ["true", "false", "true", "true"]);
    refused(
        "ARR IN (ARR, ARRAY['10', 'not 10'])",
        "Invalid Predicate: invalid input syntax for type INTEGER: \"not 10\"",
    );
    refused("A IN (10, TRUE)", "Invalid Predicate: operator does not exist: INTEGER = BOOLEAN (true)");
    refused("S IN (10, D)", "Invalid Predicate: operator does not exist: STRING = DOUBLE (D)");
    refused("GREATEST(S, A)", "Function 'greatest' does not accept parameters (STRING, INTEGER).");
    refused("A = NULL", "Comparison with NULL not supported: A = NULL");
    refused("A = S", "Cannot compare A (INTEGER) to S (STRING) with EQUAL");
    refused("B < TRUE", "Cannot compare");
    refused("NOPE = 1", "SELECT column 'NOPE' cannot be resolved");
    refused("A + B", "Unsupported arithmetic types. INTEGER BOOLEAN");
    refused("LENN(S)", "Can't find any functions with the name 'LENN'");
    refused("NULL", "Can't infer a type of null");
}

#[test]
fn casts_follow_java() {
    typed("CAST(D AS INT)", "INTEGER", ["1", "NULL", "0", "0"]);
    typed("CAST(L AS INT)", "INTEGER", ["5", "NULL", "-1", "0"]);
    typed("CAST(1e300 AS BIGINT)", "BIGINT", ["9223372036854775807"; 4]);
    typed("CAST(D AS VARCHAR)", "STRING", ["1.5", "NULL", "NaN", "-0.0"]);
    typed("CAST(1e10 AS VARCHAR)", "STRING", ["1.0E10"; 4]);
    typed("CAST(C AS VARCHAR)", "STRING", ["1.50", "NULL", "999.99", "-0.05"]);
    typed("CAST(C AS INT)", "INTEGER", ["1", "NULL", "999", "0"]);
    typed("CAST(S AS BIGINT)", "BIGINT", ["12", "NULL", "NULL", "34"]);
    typed("CAST('YE' AS BOOLEAN)", "BOOLEAN", ["true"; 4]);
    typed("CAST('yesno' AS BOOLEAN)", "BOOLEAN", ["false"; 4]);
    typed(
        "CAST(T AS VARCHAR)",
        "STRING",
        ["1970-01-01T00:00:00.000", "NULL", "2020-03-01T00:00:00.000", "1969-12-31T23:59:59.999"],
    );
    typed("CAST(CAST(T AS DATE) AS VARCHAR)", "STRING", ["1970-01-01", "NULL", "2020-03-01", "1969-12-31"]);
    typed("CAST(ARR AS ARRAY<VARCHAR>)", "ARRAY<STRING>", ["[10, 20, ]", "NULL", "[]", "[7]"]);
    typed("CAST(ARR AS VARCHAR)", "STRING", ["[10, 20, null]", "NULL", "[]", "[7]"]);
    typed("CAST('aGk=' AS BYTES)", "BYTES", ["6869"; 4]);
    typed("CAST(5 AS DECIMAL(3, 2))", "DECIMAL(3, 2)", ["5.00"; 4]);
    typed("CAST(NULL AS BIGINT)", "BIGINT", ["NULL"; 4]);
    typed("CAST(ST AS STRUCT<G STRING, N INT, F BIGINT>)->F", "BIGINT", ["1", "NULL", "NULL", "4"]);
    typed("CAST(ST AS VARCHAR)", "STRING", ["Struct{F=1,G=x}", "NULL", "Struct{G=z}", "Struct{F=4}"]);
    logged("CAST(ARRAY[S, '1'] AS ARRAY<INT>)", ["[12, 1]", "[, 1]", "NULL", "[34, 1]"], &[(1, Reason::Cast, &[2])]);
    typed("CAST(D AS DECIMAL(3, 1))", "DECIMAL(3, 1)", ["1.5", "NULL", "NULL", "0.0"]);
    refused("CAST(A AS DECIMAL(2, 3))", "DECIMAL precision must be >= scale");
    refused(
        "1.0000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
        "Invalid numeric",
    );
    refused("CAST(A AS DATE)", "Cast of INTEGER to DATE is not supported");
}

#[test]
fn nested_values_are_made_and_taken_apart() {
    typed("ARR[1]", "INTEGER", ["10", "NULL", "NULL", "7"]);
    typed("ARR[-1]", "INTEGER", ["NULL", "NULL", "NULL", "7"]);
    typed("ARR[0]", "INTEGER", ["NULL"; 4]);
    typed("M['k']", "INTEGER", ["1", "NULL", "NULL", "NULL"]);
    typed("ST->F", "INTEGER", ["1", "NULL", "NULL", "4"]);
    typed("(ST->G) || '!'", "STRING", ["x!", "!", "z!", "!"]);
    typed("ARRAY[A, 1, NULL][2]", "INTEGER", ["1"; 4]);
    typed("ARRAY[1, L]", "ARRAY<BIGINT>", ["[1, 5]", "[1, ]", "[1, 9223372036854775807]", "[1, -9223372036854775808]"]);
    typed("MAP('a' := A, 'b' := 2)['a']", "INTEGER", ["7", "NULL", "2147483647", "-2147483648"]);
    typed("MAP('a' := 1, 'a' := 2)", "MAP<STRING, INTEGER>", ["{a: 2}"; 4]);
    typed("STRUCT(P := A, Q := 'q')->P", "INTEGER", ["7", "NULL", "2147483647", "-2147483648"]);
    typed("CASE WHEN A = 7 THEN 1 WHEN A > 7 THEN L END", "BIGINT", ["1", "NULL", "9223372036854775807", "NULL"]);
    typed("CASE A WHEN 7 THEN 'seven' ELSE 'other' END", "STRING", ["seven", "other", "other", "other"]);
    refused("ARRAY[1, 'x']", "invalid input syntax for type INTEGER: \"x\"");
    refused("MAP()", "Map constructor cannot be empty");
    refused("ARRAY[NULL]", "Cannot construct an array with all NULL elements");
    refused("ST->H", "Could not find field 'H'");
    refused("CASE WHEN B THEN 1 ELSE ARR END", "operator does not exist");
}

#[test]
fn functions_follow_their_null_rules() {
    typed("UCASE('aß')", "STRING", ["ASS"; 4]);
    typed("LEN(S)", "INTEGER", ["2", "NULL", "1", "4"]);
    typed("TRIM(S)", "STRING", ["12", "NULL", "x", "34"]);
    typed("S || 'a' || 'b'", "STRING", ["12ab", "ab", "xab", " 34 ab"]);
    typed("CONCAT_WS('-', S, 'a')", "STRING", ["12-a", "a", "x-a", " 34 -a"]);
    typed("SUBSTRING('abcdef', 2, 3)", "STRING", ["bcd"; 4]);
    typed("SUBSTRING('abcdef', -2)", "STRING", ["ef"; 4]);
    typed("INSTR('corporate floor', 'or', -3, 2)", "INTEGER", ["2"; 4]);
    typed("INSTR('corporate floor', 'or', 3, 2)", "INTEGER", ["14"; 4]);
    typed("LPAD('foo', 7, 'Bar')", "STRING", ["BarBfoo"; 4]);
    typed("RPAD('foo', 2, 'Bar')", "STRING", ["fo"; 4]);
    typed("SPLIT('a,,b', ',')", "ARRAY<STRING>", ["[a, , b]"; 4]);
    typed("ABS(A)", "INTEGER", ["7", "NULL", "2147483647", "-2147483648"]);
    typed("ROUND(-2.5e0)", "BIGINT", ["-2"; 4]);
    typed("ROUND(2.5)", "DECIMAL(1, 0)", ["3"; 4]);
    typed("ROUND(C, 1)", "DECIMAL(5, 2)", ["1.50", "NULL", "NULL", "0.00"]);
    typed("ROUND(C, -3)", "DECIMAL(5, 2)", ["0.00", "NULL", "NULL", "0.00"]);
    typed("LEN('\u{1F600}')", "INTEGER", ["2"; 4]);
    typed("ROUND(2.345e0, 2)", "DOUBLE", ["2.35"; 4]);
    typed("FLOOR(C)", "DECIMAL(5, 2)", ["1.00", "NULL", "999.00", "-1.00"]);
    typed("CEIL(D)", "DOUBLE", ["2.0", "NULL", "NaN", "-0.0"]);
    typed("GREATEST(A, Z)", "INTEGER", ["7", "0", "2147483647", "-1"]);
    typed("IFNULL(S, 'none')", "STRING", ["12", "none", "x", " 34 "]);
    typed("NULLIF(A, 7)", "INTEGER", ["NULL", "NULL", "2147483647", "-2147483648"]);
    typed("UNIX_TIMESTAMP(FROM_UNIXTIME(L))", "BIGINT", ["5", "NULL", "9223372036854775807", "-9223372036854775808"]);
    typed("ARRAY_LENGTH(ARR)", "INTEGER", ["3", "NULL", "0", "1"]);
    typed("ARRAY_CONTAINS(ARR, 7)", "BOOLEAN", ["false", "false", "false", "true"]);
    typed("EXTRACTJSONFIELD('{\"a\":[1,{\"b\":\"x\"}]}', '$.a[1].b')", "STRING", ["x"; 4]);
    typed("EXTRACTJSONFIELD(S, '$.a')", "STRING", ["NULL"; 4]);
    refused("GREATEST(A, L)", "ambiguous");
    refused("UCASE(A, 1)", "Function 'ucase' does not accept parameters (INTEGER, INTEGER)");
}

#[test]
fn datafusions_functions_fail_row_by_row() {
    use Reason::*;
    typed("STARTS_WITH(S, '1')", "BOOLEAN", ["true", "NULL", "false", "false"]);
    // A zero position makes the whole batch fail in DataFusion.
    logged("SPLIT_PART('a-b', '-', Z)", ["NULL", "NULL", "NULL", "b"], &[(0, Function, &[0, 1, 2])]);
}

#[test]
fn constants_take_the_columns_type() {
    let value = |sql: &str, ty: SqlType| constant(&parse(sql), &ty).map(|v| v.to_string()).map_err(|e| e.to_string());
    assert_eq!(value("1", SqlType::Bigint), Ok("1".into()));
    assert_eq!(value("1 + 2", SqlType::Double), Ok("3".into()));
    assert_eq!(value("'5'", SqlType::Integer), Ok("5".into()));
    assert_eq!(constant(&parse("NULL"), &SqlType::String).unwrap(), ScalarValue::Utf8(None));
    assert_eq!(constant(&parse("1.5"), &SqlType::Decimal(4, 2)).unwrap(), ScalarValue::Decimal128(Some(150), 4, 2));
    assert_eq!(constant(&parse("'2020-01-01'"), &SqlType::Date).unwrap(), ScalarValue::Date32(Some(18262)));
    for (sql, ty) in [("A", SqlType::Integer), ("'x'", SqlType::Integer), ("1 / 0", SqlType::Integer)] {
        assert!(constant(&parse(sql), &ty).is_err(), "{sql}");
    }
}

#[test]
fn programs_know_their_columns_and_print_as_sql() {
    let table = table();
    let bound = |sql: &str| bind(&parse(sql), &table, Boundary::SelectItem).unwrap().program;
    let mut program = bound("A + 1 > L AND S IS NOT NULL");
    assert_eq!(
        program.to_string(),
        "(((A + 1) > L) AND (S IS NOT NULL))".replace("(A + 1)", "CAST((A + 1) AS BIGINT)")
    );
    assert_eq!(program.reads().into_iter().collect::<Vec<_>>(), [0, 3, 4]);
    program.remap(&|i| i + 10);
    assert_eq!(program.reads().into_iter().collect::<Vec<_>>(), [10, 13, 14]);
    assert_eq!(bound("L").as_column(), Some(4));
    assert!(!bound("A = 1 AND S LIKE 'x'").can_fail());
    assert!(bound("A + 1").can_fail());
    let nested = bound("COALESCE(CAST(S AS INT), A)");
    assert_eq!(nested.boundary(1).unwrap().to_string(), "CAST(S AS INTEGER)");
    assert_eq!(nested.boundary(0).unwrap().to_string(), "COALESCE(CAST(S AS INTEGER), A)");
}

/// Expressions of a known type as text, and what they mean for one row by the plainest rules.
#[derive(Clone, Debug)]
enum Model {
    Column(&'static str),
    Int(i32),
    Arith(Box<Model>, char, Box<Model>),
    Coalesce(Box<Model>, Box<Model>),
    Case(Box<Model>, Box<Model>, Box<Model>),
    Reread(Box<Model>),
    Compare(Box<Model>, &'static str, Box<Model>),
    IsNull(Box<Model>),
    And(Box<Model>, Box<Model>),
    Or(Box<Model>, Box<Model>),
    Not(Box<Model>),
    Flag,
}

impl Model {
    fn sql(&self) -> String {
        match self {
            Model::Column(name) => name.to_string(),
            Model::Int(i) => format!("({i})"),
            Model::Arith(x, op, y) => format!("({} {op} {})", x.sql(), y.sql()),
            Model::Coalesce(x, y) => format!("COALESCE({}, {})", x.sql(), y.sql()),
            Model::Case(c, x, y) => format!("(CASE WHEN {} THEN {} ELSE {} END)", c.sql(), x.sql(), y.sql()),
            Model::Reread(x) => format!("CAST(CAST({} AS VARCHAR) AS INT)", x.sql()),
            Model::Compare(x, op, y) => format!("({} {op} {})", x.sql(), y.sql()),
            Model::IsNull(x) => format!("({} IS NULL)", x.sql()),
            Model::And(x, y) => format!("({} AND {})", x.sql(), y.sql()),
            Model::Or(x, y) => format!("({} OR {})", x.sql(), y.sql()),
            Model::Not(x) => format!("(NOT {})", x.sql()),
            Model::Flag => "F".to_string(),
        }
    }

    /// `Err` = thrown. Booleans are 0 and 1.
    fn value(&self, x: Option<i32>, y: Option<i32>, flag: Option<bool>) -> Result<Option<i32>, ()> {
        let of = |m: &Model| m.value(x, y, flag);
        let truth = |m: &Model| of(m)?.map(|v| v == 1).ok_or(());
        Ok(match self {
            Model::Column(name) => {
                if *name == "X" {
                    x
                } else {
                    y
                }
            }
            Model::Flag => flag.map(i32::from),
            Model::Int(i) => Some(*i),
            Model::Arith(a, op, b) => {
                let (a, b) = (of(a)?, of(b)?);
                let (a, b) = (a.ok_or(())?, b.ok_or(())?);
                Some(match op {
                    '+' => a.wrapping_add(b),
                    '-' => a.wrapping_sub(b),
                    '*' => a.wrapping_mul(b),
                    _ if b == 0 => return Err(()),
                    '/' => a.wrapping_div(b),
                    _ => a.wrapping_rem(b),
                })
            }
            Model::Coalesce(a, b) => {
                // A call inside a call is a boundary of its own.
                let arg = |m: &Model| match m {
                    Model::Coalesce(..) => Ok(of(m).unwrap_or(None)),
                    m => of(m),
                };
                let (a, b) = (arg(a)?, arg(b)?);
                a.or(b)
            }
            Model::Case(c, a, b) => {
                if truth(c)? {
                    of(a)?
                } else {
                    of(b)?
                }
            }
            Model::Reread(a) => of(a).unwrap_or(None),
            Model::Compare(a, op, b) => {
                let (a, b) = (of(a)?, of(b)?);
                let holds = |a: i32, b: i32| match *op {
                    "=" => a == b,
                    "<>" => a != b,
                    "<" => a < b,
                    _ => a >= b,
                };
                Some(i32::from(a.zip(b).is_some_and(|(a, b)| holds(a, b))))
            }
            Model::IsNull(a) => Some(i32::from(of(a)?.is_none())),
            Model::And(a, b) => Some(i32::from(truth(a)? && truth(b)?)),
            Model::Or(a, b) => Some(i32::from(truth(a)? || truth(b)?)),
            Model::Not(a) => Some(i32::from(!truth(a)?)),
        })
    }
}

fn number() -> BoxedStrategy<Model> {
    let leaf = prop_oneof![
        Just(Model::Column("X")),
        Just(Model::Column("Y")),
        prop_oneof![-2..3i32, Just(i32::MAX), Just(i32::MIN + 1)].prop_map(Model::Int),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        let op = prop_oneof![Just('+'), Just('-'), Just('*'), Just('/'), Just('%')];
        prop_oneof![
            (pair.clone(), op).prop_map(|((x, y), op)| Model::Arith(x.into(), op, y.into())),
            pair.clone().prop_map(|(x, y)| Model::Coalesce(x.into(), y.into())),
            inner.clone().prop_map(|x| Model::Reread(x.into())),
            (condition(inner), pair).prop_map(|(c, (x, y))| Model::Case(c.into(), x.into(), y.into())),
        ]
    })
    .boxed()
}

fn condition(number: BoxedStrategy<Model>) -> BoxedStrategy<Model> {
    let op = prop_oneof![Just("="), Just("<>"), Just("<"), Just(">=")];
    let leaf = prop_oneof![
        Just(Model::Flag),
        (number.clone(), op, number.clone()).prop_map(|(x, op, y)| Model::Compare(x.into(), op, y.into())),
        number.prop_map(|x| Model::IsNull(x.into())),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(x, y)| Model::And(x.into(), y.into())),
            (inner.clone(), inner.clone()).prop_map(|(x, y)| Model::Or(x.into(), y.into())),
            inner.prop_map(|x| Model::Not(x.into())),
        ]
    })
    .boxed()
}

fn small() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![2 => Just(None), 6 => (-2..3i32).prop_map(Some), 1 => Just(Some(i32::MAX)), 1 => Just(Some(i32::MIN))]
}

type Row = (Option<i32>, Option<i32>, Option<bool>);

fn batch(rows: &[Row]) -> Table {
    Table {
        names: vec![("X", SqlType::Integer), ("Y", SqlType::Integer), ("F", SqlType::Boolean)],
        columns: vec![
            Arc::new(rows.iter().map(|r| r.0).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|r| r.1).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|r| r.2).collect::<BooleanArray>()),
        ],
        rows: rows.len(),
    }
}

/// Values, and log entries as (row, boundary, reason) in order of rows.
fn run(program: &Program, table: &Table, base: usize) -> (Vec<String>, Vec<(usize, u16, Reason)>) {
    let mut errors = RowErrors::new();
    let array = program.eval_array(&table.input(), &mut errors).unwrap();
    let mut entries: Vec<_> =
        log(&errors).into_iter().flat_map(|(b, r, rows)| rows.into_iter().map(move |row| (row + base, b, r))).collect();
    entries.sort();
    (texts(&array), entries)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// A program gives what the model gives, for every row.
    #[test]
    fn programs_agree_with_the_model(model in number(), rows in prop::collection::vec((small(), small(), any::<Option<bool>>()), 0..24)) {
        let table = batch(&rows);
        let typed = bind(&parse(&model.sql()), &table, Boundary::SelectItem).unwrap();
        let (values, _) = run(&typed.program, &table, 0);
        let expected: Vec<String> = rows.iter().map(|(x, y, f)| match model.value(*x, *y, *f) {
            Ok(Some(v)) => v.to_string(),
            _ => "NULL".to_string(),
        }).collect();
        prop_assert_eq!(values, expected, "{}", model.sql());
    }

    /// A row's value and its log entries do not depend on the rows beside it.
    #[test]
    fn batches_may_be_split_anywhere(
        condition in condition(number()),
        rows in prop::collection::vec((small(), small(), any::<Option<bool>>()), 0..24),
        cut in 0..24usize,
        boundary in prop_oneof![Just(Boundary::SelectItem), Just(Boundary::Where)],
    ) {
        let table = batch(&rows);
        let typed = bind(&parse(&condition.sql()), &table, boundary).unwrap();
        let whole = run(&typed.program, &table, 0);
        let cut = cut.min(rows.len());
        let (mut left, right) = (run(&typed.program, &table.slice(0, cut), 0), run(&typed.program, &table.slice(cut, rows.len() - cut), cut));
        left.0.extend(right.0);
        left.1.extend(right.1);
        prop_assert_eq!(&whole, &left, "{} cut at {}", condition.sql(), cut);
        let (mut values, mut entries) = (vec![], vec![]);
        for row in 0..rows.len() {
            let (value, entry) = run(&typed.program, &table.slice(row, 1), row);
            values.extend(value);
            entries.extend(entry);
        }
        prop_assert_eq!(whole, (values, entries), "{} row by row", condition.sql());
    }
}
