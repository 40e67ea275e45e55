//! The test tools themselves: a tool that reads wrongly would make every test that uses it worthless.

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/golden.rs"]
pub(crate) mod golden;
#[path = "../support/layer.rs"]
mod layer;
#[path = "../support/records.rs"]
pub(crate) mod records;

use golden::{Golden, difference, tidy};
use records::{KeyBounds, decode, encode, read_topic, split_window, with_window};
use tidegate::catalog::{Format, KeyWindow, Source, Wire};
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::parse::statement::SourceKind;
use tidegate::types::time::WindowKind;
use tidegate::types::{Column, Schema, SqlType};

#[test]
fn a_file_of_behaviour_is_read_and_printed_unchanged() {
    let text = "# story\n# more\n\nsql\nA;\n\nB;\n---\nout 1\nout 2\n\n# about b\nproduce t\na | 1 @ 2\n---\n\ntopic t\n---\nx\n";
    let golden = Golden::parse(text).unwrap();
    assert_eq!(golden.print(), text);
    let seen: Vec<_> = golden.blocks.iter().map(|b| (b.line, b.command.as_str(), b.expected.as_str())).collect();
    assert_eq!(seen, [(4, "sql", "out 1\nout 2\n"), (13, "produce t", ""), (17, "topic t", "x\n")]);
    assert_eq!(golden.blocks[0].body, "A;\n\nB;\n");
    assert!(Golden::parse("sql\nA;\n").is_err(), "a block without an end");
}

#[test]
fn differences_are_shown_and_blank_lines_left_out() {
    assert_eq!(tidy("a  \n\nb"), "a\nb\n");
    assert_eq!(difference("a\nb\n", "a\nc\nd\n"), "  a\n- b\n+ c\n+ d\n");
}

#[test]
fn text_and_bytes_of_kafka_scalars() {
    let check = |ty: SqlType, text: &str, bytes: &[u8]| {
        let columns = [Column::value("X", ty)];
        assert_eq!(encode(Format::Kafka, &columns, text).unwrap(), bytes);
        assert_eq!(decode(Format::Kafka, &columns, bytes), text);
    };
    check(SqlType::Integer, "258", &[0, 0, 1, 2]);
    check(SqlType::Bigint, "-2", &[255, 255, 255, 255, 255, 255, 255, 254]);
    check(SqlType::Double, "1.0", &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    check(SqlType::Double, "1.5E10", &1.5e10f64.to_be_bytes());
    check(SqlType::Double, "1.0E10", &1e10f64.to_be_bytes());
    check(SqlType::String, "héllo", "héllo".as_bytes());
    assert_eq!(decode(Format::Kafka, &[Column::value("X", SqlType::Integer)], &[1, 255]), "0x01ff");
    assert!(encode(Format::Kafka, &[Column::value("X", SqlType::Integer)], "x").is_err());
    assert_eq!(encode(Format::Json, &[], "{\"A\":1.0}").unwrap(), b"{\"A\":1.0}");
}

fn windowed(kind: WindowKind) -> Source {
    Source {
        name: "T".to_owned(),
        kind: SourceKind::Table,
        schema: Schema { key: vec![Column::key("K", SqlType::String)], value: Vec::new() },
        topic: "t".to_owned(),
        partitions: 1,
        key_format: Format::Kafka,
        value_format: Format::Json,
        key_wire: Wire::default(),
        value_wire: Wire::default(),
        unwrapped_value: false,
        window: Some(KeyWindow { kind }),
        timestamp: None,
        read_only: false,
        created_by: None,
        sql: String::new(),
    }
}

#[test]
fn windows_stand_behind_the_key() {
    let time = KeyBounds { session: false, start: 1, end: 11 };
    let bytes = with_window(b"k".to_vec(), time);
    assert_eq!(bytes, [b'k', 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(split_window(&windowed(WindowKind::Tumbling { size_ms: 10 }), &bytes), (&b"k"[..], Some(time)));
    let session = KeyBounds { session: true, start: 1, end: 2 };
    let bytes = with_window(b"k".to_vec(), session);
    assert_eq!(bytes, [b'k', 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1], "a session's end comes first");
    assert_eq!(split_window(&windowed(WindowKind::Session { gap_ms: 10 }), &bytes), (&b"k"[..], Some(session)));
    assert_eq!(split_window(&windowed(WindowKind::Session { gap_ms: 10 }), b"short"), (&b"short"[..], None));
}

#[test]
fn the_standing_clock_stands() {
    let clock = clock::StandingClock::virtual_time();
    let before = clock.monotonic();
    clock.sleep(std::time::Duration::from_millis(70));
    assert_eq!((clock.now_ms(), clock.monotonic() - before), (0, std::time::Duration::from_millis(70)));
}

#[test]
fn layers_on_one_log_do_not_see_each_other() {
    let below = SimulatedLog::new(1, clock::StandingClock::virtual_time());
    let (one, other) = (layer::Layer::over(below.clone(), "one."), layer::Layer::over(below.clone(), "other."));
    for layer in [&one, &other] {
        layer.create_topic(&TopicSpec::new("t", 2)).unwrap();
    }
    let mut set = RecordSet::default();
    set.push(1, 5, Some(b"k"), None);
    set.push(0, 6, None, Some(b"v"));
    one.append("t", &set).unwrap();
    let names: Vec<_> = one.topics().unwrap().into_iter().map(|t| t.name).collect();
    assert_eq!((names, below.topics().unwrap().len()), (vec!["t".to_owned()], 2));
    let taped: Vec<_> = one.taped("t").iter().map(|r| (r.partition, r.timestamp)).collect();
    assert_eq!(taped, [(1, 5), (0, 6)], "in the order of writing");
    let stored: Vec<_> = read_topic(&*one, "t").unwrap().iter().map(|r| (r.partition, r.timestamp)).collect();
    assert_eq!(stored, [(0, 6), (1, 5)], "by partition");
    assert!(other.taped("t").is_empty() && read_topic(&*other, "t").unwrap().is_empty());
}
