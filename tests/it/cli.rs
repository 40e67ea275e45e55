//! Answers and errors as people and programs see them.

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    MapBuilder, StringArray, StringBuilder, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::Int32Type;
use clap::Parser;
use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tidegate::cli::args::{Arguments, Command, Format, Source, TopicCommand};
use tidegate::cli::interrupt::Interrupt;
use tidegate::cli::render::{HELD_ROWS_MAX, Screen, Shown};
use tidegate::cli::report::{is_broken_pipe, rendered};
use tidegate::cli::{Session, script};
use tidegate::engine::introspect::names::Names;
use tidegate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use tidegate::error::{Error, Result, Span};
use tidegate::present::Outcome;
use tidegate::types::SqlType;
use tidegate::types::cell::{settled, text, write_json};
use tidegate::types::clock::SystemClock;

/// A stream of given events, idle after them.
struct Told {
    columns: Vec<OutputColumn>,
    events: VecDeque<Result<RowEvent>>,
    notice: Option<String>,
}

impl RowStream for Told {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        self.events.pop_front().unwrap_or_else(|| {
            SystemClock::shared().sleep(timeout);
            Ok(RowEvent::Idle)
        })
    }

    fn notice(&self) -> Option<String> {
        self.notice.clone()
    }
}

fn rows(ids: &[&str], counts: &[Option<i64>]) -> Result<RowEvent> {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(ids.to_vec())), Arc::new(Int64Array::from(counts.to_vec()))];
    Ok(RowEvent::Rows { columns, tombstones: counts.iter().map(Option::is_none).collect() })
}

fn told(events: Vec<Result<RowEvent>>) -> Outcome {
    let column = |name: &str, ty| OutputColumn { name: name.to_owned(), ty };
    let columns = vec![column("CAR", SqlType::String), column("n", SqlType::Bigint)];
    Outcome::Rows(Box::new(Told { columns, events: events.into(), notice: Some("2 late rows dropped".to_owned()) }))
}

fn shown(format: Format, width: Option<usize>, outcome: Outcome) -> String {
    let mut out = Vec::new();
    Screen::new(&mut out, format, width).show(outcome, &|| false).expect("a vector takes everything");
    String::from_utf8(out).expect("only text is written")
}

fn two_rows() -> Outcome {
    told(vec![rows(&["a,b", "é\x1b[31m"], &[Some(1), None]), Ok(RowEvent::Done(Some("Limit Reached".to_owned())))])
}

#[test]
fn a_finished_answer_is_laid_out_as_a_table() {
    let text = shown(Format::Table, None, two_rows());
    assert_eq!(
        text,
        "\
+-------------+-------------+
| CAR         |           n |
+=============+=============+
| a,b         |           1 |
| é\\u{1b}[31m | <tombstone> |
+-------------+-------------+
(2 rows)
Limit Reached
2 late rows dropped
"
    );
}

#[test]
fn every_format_shows_every_row() {
    assert_eq!(
        shown(Format::Json, None, two_rows()),
        "{\"CAR\":\"a,b\",\"n\":1}\n{\"CAR\":\"é\\u001b[31m\",\"n\":null,\"@tombstone\":true}\n"
    );
    assert_eq!(shown(Format::Csv, None, two_rows()), "CAR,n\n\"a,b\",1\né\u{1b}[31m,\n");
    assert_eq!(shown(Format::Csv, None, told(vec![Ok(RowEvent::Done(None))])), "CAR,n\n");
    let vertical = shown(Format::Vertical, None, two_rows());
    assert!(vertical.starts_with("-[ row 1 ]--------------------\nCAR | a,b\nn   | 1\n-[ row 2 ]"), "{vertical}");
}

#[test]
fn what_is_to_be_known_does_not_stand_among_rows_for_programs() {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, Format::Csv, None);
    let shown = screen.show(two_rows(), &|| false).unwrap();
    assert_eq!(shown.notes, ["Limit Reached", "2 late rows dropped"]);
    assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 3);
}

#[test]
fn facts_are_tables_too() {
    let table = || Outcome::Table {
        title: Some("Streams".to_owned()),
        columns: vec!["Name".to_owned(), "Topic".to_owned()],
        rows: vec![vec!["S".to_owned(), String::new()]],
    };
    assert_eq!(shown(Format::Json, None, table()), "{\"Name\":\"S\",\"Topic\":\"\"}\n");
    assert_eq!(shown(Format::Csv, None, table()), "Name,Topic\nS,\"\"\n");
    assert!(shown(Format::Table, None, table()).starts_with("Streams\n+------+"));
    let narrow = shown(Format::Table, Some(20), table());
    assert!(narrow.lines().all(|l| l.chars().count() <= 20), "{narrow}");
    let many = Outcome::Many(vec![Outcome::Message("one\ntwo\x07".to_owned()), table()]);
    assert!(shown(Format::Table, None, many).starts_with("one\ntwo\\u{7}\nStreams\n"));
}

/// What was written up to each flush.
#[derive(Default)]
struct Flushes(Vec<u8>, Vec<String>);

impl Write for Flushes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.1.push(String::from_utf8_lossy(&self.0).into_owned());
        Ok(())
    }
}

#[test]
fn an_answer_without_columns_is_the_sentence_that_it_says() {
    let said = || {
        let events = VecDeque::from([Ok(RowEvent::Done(Some("all is well".to_owned())))]);
        Outcome::Rows(Box::new(Told { columns: vec![], events, notice: None }))
    };
    assert_eq!(shown(Format::Table, Some(80), said()), "all is well\n");
    assert_eq!(shown(Format::Vertical, None, said()), "all is well\n");
    assert_eq!(shown(Format::Csv, None, said()), "");
}

#[test]
fn rows_that_keep_coming_are_shown_as_they_come() {
    let events =
        vec![rows(&["a"], &[Some(1)]), Ok(RowEvent::Idle), rows(&["long-name"], &[Some(2)]), Ok(RowEvent::Done(None))];
    let mut out = Flushes::default();
    Screen::new(&mut out, Format::Table, Some(80)).show(told(events), &|| false).unwrap();
    assert!(out.1.iter().any(|t| t.ends_with("+-----+---+\n| CAR | n |\n+=====+===+\n| a   | 1 |\n")), "{:?}", out.1);
    assert!(out.1.iter().any(|t| t.ends_with("| a   | 1 |\n| long-name | 2 |\n")), "{:?}", out.1);
    let many: Vec<_> =
        (0..HELD_ROWS_MAX + 5).map(|_| rows(&["x"], &[Some(1)])).chain([Ok(RowEvent::Done(None))]).collect();
    let text = shown(Format::Table, None, told(many));
    assert_eq!(text.lines().filter(|l| l.starts_with("| x")).count(), HELD_ROWS_MAX + 5);
}

#[test]
fn an_interrupt_stops_a_live_answer_at_once_and_counts_its_rows() {
    // In the middle of several: other tests run as well.
    let mut all: Vec<Duration> = (0..9).map(|_| interrupted_after()).collect();
    all.sort_unstable();
    assert!(all[all.len() / 2] < Duration::from_millis(100), "{all:?}");
}

/// Time from an interrupt to the end of a live answer of two rows.
fn interrupted_after() -> Duration {
    let interrupt = Interrupt::default();
    let other = interrupt.clone();
    let clock = SystemClock::shared();
    let others = clock.clone();
    let thread = std::thread::spawn(move || {
        others.sleep(Duration::from_millis(120));
        let asked = others.monotonic();
        other.ask();
        asked
    });
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, Format::Table, None);
    let shown = screen.show(told(vec![rows(&["a", "b"], &[Some(1), Some(2)])]), &|| interrupt.asked()).unwrap();
    let took = clock.monotonic() - thread.join().unwrap();
    assert_eq!(shown, Shown { rows: 2, interrupted: true, notes: Vec::new(), scanned: None, messages: Vec::new() });
    assert!(String::from_utf8(out).unwrap().contains("(2 rows, stopped)\n"));
    took
}

fn value(array: ArrayRef, ty: SqlType) -> (Option<String>, String) {
    let array = settled(&array, &ty);
    let mut json = Vec::new();
    write_json(&array, 0, &mut json).unwrap();
    (text(&array, 0).unwrap(), String::from_utf8(json).unwrap())
}

#[test]
fn values_print_as_ksqldb_users_know_them() {
    let check = |array: ArrayRef, ty: SqlType, shown: &str, json: &str| {
        assert_eq!(value(array, ty), (Some(shown.to_owned()), json.to_owned()));
    };
    check(Arc::new(BooleanArray::from(vec![true])), SqlType::Boolean, "true", "true");
    check(Arc::new(Int32Array::from(vec![-5])), SqlType::Integer, "-5", "-5");
    check(Arc::new(StringArray::from(vec!["a\"\n"])), SqlType::String, "a\"\n", "\"a\\\"\\n\"");
    check(Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])), SqlType::Bytes, "AP8=", "\"AP8=\"");
    check(Arc::new(Date32Array::from(vec![-1])), SqlType::Date, "1969-12-31", "\"1969-12-31\"");
    check(Arc::new(Time32MillisecondArray::from(vec![3_723_004])), SqlType::Time, "01:02:03.004", "\"01:02:03.004\"");
    let timestamp = "1970-01-01T00:00:01.500";
    let quoted = format!("\"{timestamp}\"");
    check(Arc::new(TimestampMillisecondArray::from(vec![1_500])), SqlType::Timestamp, timestamp, &quoted);
    check(Arc::new(TimestampNanosecondArray::from(vec![1_500_000_000])), SqlType::Timestamp, timestamp, &quoted);
    let decimal = Decimal128Array::from(vec![-1_20]).with_precision_and_scale(4, 2).unwrap();
    check(Arc::new(decimal), SqlType::Decimal(4, 2), "-1.20", "-1.20");
    for (number, java) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.001, "0.001"),
        (1.5e-4, "1.5E-4"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1.234e300, "1.234E300"),
        (0.1 + 0.2, "0.30000000000000004"),
    ] {
        check(Arc::new(Float64Array::from(vec![number])), SqlType::Double, java, java);
    }
    check(Arc::new(Float64Array::from(vec![f64::NAN])), SqlType::Double, "NaN", "\"NaN\"");
    assert_eq!(value(Arc::new(Int32Array::from(vec![None])), SqlType::Integer), (None, "null".to_owned()));
}

#[test]
fn collections_print_as_json() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])]);
    let list_type = SqlType::Array(Box::new(SqlType::Integer));
    assert_eq!(value(Arc::new(list.clone()), list_type.clone()).0.unwrap(), "[1,null]");
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_value("v");
    map.append(true).unwrap();
    let map_type = SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::String));
    let map: ArrayRef = Arc::new(map.finish());
    assert_eq!(value(map.clone(), map_type.clone()).0.unwrap(), "{\"k\":\"v\"}");
    let ty = SqlType::Struct(vec![("L".to_owned(), list_type), ("m".to_owned(), map_type)]);
    let arrow::datatypes::DataType::Struct(fields) = ty.arrow() else { unreachable!() };
    let map = arrow::compute::cast(&map, fields[1].data_type()).unwrap();
    let both = StructArray::new(fields, vec![Arc::new(list), map], None);
    assert_eq!(value(Arc::new(both), ty).0.unwrap(), "{\"L\":[1,null],\"m\":{\"k\":\"v\"}}");
}

#[test]
fn an_error_shows_its_line_its_place_and_what_to_do() {
    let text = "DROP STREAM e; -- é\nSELECT * FORM s;";
    let error = tidegate::parse::parse(text).unwrap_err();
    assert_eq!(
        rendered(&error, text, false),
        "\
error: line 2:10: Syntax Error
       Unexpected 'FORM', expected FROM or a comma
  |
2 | SELECT * FORM s;
  |          ^^^^
  |
  = help: did you mean FROM?
"
    );
    assert!(rendered(&error, text, true).contains('\x1b'));
    assert_eq!(
        rendered(&Error::io("no broker answers").with_detail("a:1"), "", false),
        "error: no broker answers\n |\n = note: a:1\n"
    );
    for span in [Span::new(0, 0), Span::new(19, 19), Span::new(500, 600), Span::new(18, 30)] {
        rendered(&Error::statement("x").at(span), text, false);
        rendered(&Error::statement("x").at(span), "é", false);
        rendered(&Error::statement("x").at(span), "", false);
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_told_apart_from_failures() {
    let mut closed = Closed;
    let mut screen = Screen::new(&mut closed, Format::Json, None);
    let error = screen.show(two_rows(), &|| false).unwrap_err();
    assert!(is_broken_pipe(&error));
    assert!(!is_broken_pipe(&Error::from(std::io::Error::from(std::io::ErrorKind::NotFound))));
}

/// A session that says back what it was given and refuses what it does not like.
fn echo() -> Session {
    Session {
        execute: Box::new(|statement| match statement.find("nowhere") {
            Some(at) => Err(Error::statement("nowhere does not exist").at(Span::new(at, at + 7))),
            None => Ok(Outcome::Message(format!("did {statement}"))),
        }),
        names: Box::new(Names::default),
        notices: Arc::new(Vec::new),
        is_attached: Box::new(|| false),
        place: String::new(),
        greeting: String::new(),
        history: None,
        history_before: None,
        depth: 0,
    }
}

fn script_of(text: &str, interrupt: &Interrupt) -> (u8, String, String) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let mut screen = Screen::new(&mut out, Format::Table, None);
    let code = script::run(&mut echo(), text, &mut screen, &mut errors, false, interrupt).expect("vectors take all");
    let text = |bytes| String::from_utf8(bytes).expect("only text is written");
    (code, text(out), text(errors))
}

#[test]
fn a_script_stops_at_the_first_failure_and_shows_it_in_the_whole_text() {
    let calm = Interrupt::default();
    assert_eq!(
        script_of("SHOW STREAMS; -- x\nSHOW ${what};", &calm),
        (0, "did SHOW STREAMS\ndid SHOW ${what}\n".to_owned(), String::new())
    );
    let (code, out, errors) = script_of("SHOW STREAMS;\nDROP STREAM nowhere;\nSHOW TABLES;", &calm);
    assert_eq!((code, out.as_str()), (1, "did SHOW STREAMS\n"));
    assert!(errors.contains("2 | DROP STREAM nowhere;\n  |             ^^^^^^^\n"), "{errors}");
    let (code, _, errors) = script_of("SHOW STREAMS;\n  SHO TABLES;", &calm);
    assert_eq!(code, 1);
    assert!(
        errors.contains("line 2:3: Syntax Error\n       Unexpected 'SHO'") && errors.contains("did you mean SHOW?"),
        "{errors}"
    );
    let stopped = Interrupt::default();
    stopped.ask();
    assert_eq!(script_of("SHOW STREAMS;", &stopped), (130, String::new(), String::new()));
}

#[test]
fn the_command_line_says_what_it_takes() {
    let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
    assert!(parse("tidegate").unwrap().command.is_none());
    let sql = parse("tidegate --temp sql -e x --output json").unwrap();
    assert!(sql.place.temp && sql.output == Format::Json);
    assert!(matches!(sql.command, Some(Command::Sql { sources, .. }) if sources.0 == [Source::Text("x".to_owned())]));
    let print = parse("tidegate topic print t -b --limit 3 --bootstrap-servers h:1").unwrap();
    assert_eq!(print.place.bootstrap_servers.as_deref(), Some("h:1"));
    assert!(matches!(
        print.command,
        Some(Command::Topic { command: TopicCommand::Print { from_beginning: true, limit: Some(3), .. } })
    ));
    for wrong in
        ["tidegate sql -e x y", "tidegate --temp --data d", "tidegate fly", "tidegate sql -f x y", "tidegate -o xml"]
    {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
    }
}
