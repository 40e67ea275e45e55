//! One case a rule.

use super::oracle::V;
use super::{all, bid_columns, rows};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::format::{Decoder, Encoder, check};
use tidegate::types::{Column, SqlType};

fn ty(text: &str) -> SqlType {
    match text {
        "BOOLEAN" => SqlType::Boolean,
        "INTEGER" => SqlType::Integer,
        "BIGINT" => SqlType::Bigint,
        "DOUBLE" => SqlType::Double,
        "DECIMAL(4, 2)" => SqlType::Decimal(4, 2),
        "DECIMAL(60, 2)" => SqlType::Decimal(60, 2),
        "STRING" => SqlType::String,
        "BYTES" => SqlType::Bytes,
        "DATE" => SqlType::Date,
        "TIME" => SqlType::Time,
        "TIMESTAMP" => SqlType::Timestamp,
        "ARRAY<STRING>" => SqlType::Array(Box::new(SqlType::String)),
        "ARRAY<INTEGER>" => SqlType::Array(Box::new(SqlType::Integer)),
        "MAP<STRING, INTEGER>" => SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Integer)),
        "STRUCT" => SqlType::Struct(vec![("A".into(), SqlType::Integer), ("b".into(), SqlType::String)]),
        other => panic!("no type {other}"),
    }
}

/// The value of the only column; `None` = bad, twice: as a member and unwrapped.
fn read(name: &str, json: &str) -> Option<V> {
    let columns = [Column::value("C", ty(name))];
    let mut wrapped = all(Format::Json, &columns, false);
    let result = wrapped.push(Some(format!("{{\"c\": {json}}}").as_bytes()));
    let value = result.is_ok().then(|| rows(&columns, wrapped.finish(), 1)[0].clone().unwrap()[0].clone());
    let mut bare = all(Format::Json, &columns, true);
    let result = bare.push(Some(json.as_bytes()));
    let unwrapped =
        result.is_ok().then(|| rows(&columns, bare.finish(), 1)[0].clone().map_or(V::Null, |r| r[0].clone()));
    assert_eq!(value, unwrapped, "{name} {json}, wrapped and unwrapped");
    value
}

#[test]
fn values_are_coerced_as_ksqldb_does() {
    let (int, text, double) =
        (|v| Some(V::Int(v)), |t: &str| Some(V::Text(t.into())), |d: f64| Some(V::Double(d.to_bits())));
    let decimal = |t: &str| Some(V::Decimal(t.into()));
    let cases = [
        ("BOOLEAN", "true", Some(V::Bool(true))),
        ("BOOLEAN", "\"true\"", None),
        ("BOOLEAN", "1", None),
        ("INTEGER", "12", int(12)),
        ("INTEGER", "-0", int(0)),
        ("INTEGER", "2147483648", int(-2147483648)),
        ("INTEGER", "1.9", int(1)),
        ("INTEGER", "-1.9e1", int(-19)),
        ("INTEGER", "1e400000000", int(0)),
        ("INTEGER", "\"+5\"", int(5)),
        ("INTEGER", "\" 5\"", None),
        ("INTEGER", "\"2147483648\"", None),
        ("INTEGER", "\"1.0\"", None),
        ("INTEGER", "true", None),
        ("INTEGER", "[1]", None),
        ("INTEGER", "01", None),
        ("INTEGER", "null", Some(V::Null)),
        ("BIGINT", "9223372036854775807", int(i64::MAX)),
        ("BIGINT", "9223372036854775808", int(i64::MIN)),
        ("BIGINT", "123456789012345", int(123456789012345)),
        ("BIGINT", "1234567890123456", int(1234567890123456)),
        ("BIGINT", "\"12\\u0033\"", int(123)),
        ("BIGINT", "\"\"", None),
        ("BIGINT", "1.", None),
        ("BIGINT", "-", None),
        ("DOUBLE", "1", double(1.0)),
        ("DOUBLE", "-0", double(0.0)),
        ("DOUBLE", "\"-0\"", double(-0.0)),
        ("DOUBLE", "1e400", double(f64::INFINITY)),
        ("DOUBLE", "\" 1.5d \"", double(1.5)),
        ("DOUBLE", "\"Infinity\"", double(f64::INFINITY)),
        ("DOUBLE", "\"x\"", None),
        ("DOUBLE", "NaN", None),
        ("DECIMAL(4, 2)", "12.3", decimal("1230")),
        ("DECIMAL(4, 2)", "\"12.30\"", decimal("1230")),
        ("DECIMAL(4, 2)", "12.345", None),
        ("DECIMAL(4, 2)", "12.340", decimal("1234")),
        ("DECIMAL(4, 2)", "100", None),
        ("DECIMAL(4, 2)", "1e1", decimal("1000")),
        ("DECIMAL(4, 2)", "true", None),
        (
            "DECIMAL(60, 2)",
            "-1234567890123456789012345678901234567890.5",
            decimal("-123456789012345678901234567890123456789050"),
        ),
        ("STRING", "\"a\\n\\u00e9\\ud83d\\ude00\"", text("a\né😀")),
        ("STRING", "\"\\ud83d\"", text("?")),
        ("STRING", "1e3", text("1E+3")),
        ("STRING", "-0", text("0")),
        ("STRING", "1.50", text("1.50")),
        ("STRING", "true", text("true")),
        ("STRING", "[1, \"a\", null, [true]]", text("[1, a, null, [true]]")),
        ("STRING", "[]", text("[]")),
        (
            "STRING",
            "{ \"b\" : [1, 2.0, {}], \"a\":\"x\\\"\\u001f\", \"b\":null }",
            text("{\"b\":null,\"a\":\"x\\\"\\u001F\"}"),
        ),
        ("STRING", "\"\u{7f}é\"", text("\u{7f}é")),
        ("STRING", "\"a\nb\"", None),
        ("STRING", "\"\\x\"", None),
        ("BYTES", "\"dmFyaWF0aW9ucw==\"", Some(V::Bytes(b"variations".to_vec()))),
        ("BYTES", "\"YQ\"", None),
        ("BYTES", "1", None),
        ("DATE", "-10", int(-10)),
        ("DATE", "\"10\"", int(10)),
        ("DATE", "3000000000", None),
        ("TIME", "86400000", int(86_400_000)),
        ("TIME", "86400001", None),
        ("TIME", "-1", None),
        ("TIMESTAMP", "\"1700000000000\"", int(1_700_000_000_000)),
        ("TIMESTAMP", "1.7", int(1)),
        ("ARRAY<STRING>", "[1, null, \"a\"]", Some(V::List(vec![V::Text("1".into()), V::Null, V::Text("a".into())]))),
        ("ARRAY<STRING>", "\"a\"", None),
        ("ARRAY<STRING>", "{}", None),
        ("ARRAY<INTEGER>", "[1, \"x\"]", None),
        ("ARRAY<INTEGER>", "[1,]", None),
        ("ARRAY<INTEGER>", "[ ]", Some(V::List(vec![]))),
        (
            "MAP<STRING, INTEGER>",
            "{\"a\":\"x\", \"b\":2, \"a\":1, \"\\u0063\":null}",
            Some(V::Map(vec![("a".into(), V::Int(1)), ("b".into(), V::Int(2)), ("c".into(), V::Null)])),
        ),
        ("MAP<STRING, INTEGER>", "[]", None),
        ("MAP<STRING, INTEGER>", "{\"a\":\"x\"}", None),
        ("STRUCT", "{\"b\":1,\"a\":2,\"c\":3}", Some(V::List(vec![V::Int(2), V::Text("1".into())]))),
        ("STRUCT", "{\"B\":1}", Some(V::List(vec![V::Null, V::Null]))),
        ("STRUCT", "{\"a\":\"x\",\"A\":2}", Some(V::List(vec![V::Int(2), V::Null]))),
        ("STRUCT", "{\"a\":\"x\"}", None),
        ("STRUCT", "[]", None),
    ];
    for (name, json, expected) in cases {
        assert_eq!(read(name, json), expected, "{name} {json}");
    }
}

/// A and B of one payload.
fn pair(a: &str, b: &str, json: &str) -> Option<Vec<V>> {
    let columns = [Column::value(a, SqlType::Integer), Column::value(b, SqlType::Integer)];
    let mut decoder = all(Format::Json, &columns, false);
    decoder.push(Some(json.as_bytes())).ok()?;
    rows(&columns, decoder.finish(), 1).remove(0)
}

#[test]
fn the_exact_name_wins_then_the_upper_cased_one_that_appeared_last() {
    let some = |a, b| Some(vec![a, b]);
    assert_eq!(pair("A", "B", r#"{"b":2,"a":1}"#), some(V::Int(1), V::Int(2)));
    assert_eq!(pair("A", "B", r#"{"a":"bad","A":2}"#), some(V::Int(2), V::Null));
    assert_eq!(pair("A", "B", r#"{"A":null,"a":2}"#), some(V::Null, V::Null));
    assert_eq!(pair("A", "B", r#"{"A":2,"A":"bad"}"#), None);
    assert_eq!(pair("A", "LOW", r#"{"low":1,"Low":2,"low":3}"#), some(V::Null, V::Int(2)));
    assert_eq!(pair("A", "b", r#"{"B":1,"a":5}"#), some(V::Int(5), V::Null));
    // One member feeds both columns.
    assert_eq!(pair("id", "ID", r#"{"id":1}"#), some(V::Int(1), V::Int(1)));
    assert_eq!(pair("id", "ID", r#"{"id":1,"Id":2}"#), some(V::Int(1), V::Int(2)));
    assert_eq!(pair("STRASSE", "B", r#"{"straße":1}"#), some(V::Int(1), V::Null));
    assert_eq!(pair("A", "B", r#"{"\u0061":1}"#), some(V::Int(1), V::Null));
}

#[test]
fn objects_end_where_they_end_and_nothing_less_will_do() {
    let good = ["{}", " {\n} ", r#"{"a":1}x"#, r#"{"a":1}{"#, "{ \"a\" : 1 , \"b\" : 2 }", r#"{"z":[{"y":[]}],"a":1}"#];
    for json in good {
        assert!(pair("A", "B", json).is_some(), "{json}");
    }
    let bad = [
        "",
        " ",
        "[]",
        "[{}]",
        "1",
        "\"a\"",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,,\"b\":2}",
        "{\"a\":tru}",
        "{\"z\":truex}",
        "{\"z\":nul}",
        "{\"z\":01}",
        "{\"z\":1.}",
        "{\"z\":+1}",
        "{\"z\":.5}",
        "{\"z\":[1,]}",
        "{\"z\":[}",
        "{\"z\":\"\t\"}",
        "nullx",
        "\u{feff}{}",
        "{\"a\":1{\"b\":2}",
        "{\"a\":1,\"b\":2]",
        ",\"a\":1}",
        "nul",
    ];
    for json in bad {
        assert_eq!(pair("A", "B", json), None, "{json}");
    }
    let mut decoder = all(Format::Json, &bid_columns(), false);
    for bytes in
        [&b"{\"url\":\"\xff\"}"[..], b"{\"\xc3\x28\":1}", b"{\"url\":\"\xed\xa0\x80\"}", b"{\"url\":\"\xc0\xaf\"}"]
    {
        assert!(decoder.push(Some(bytes)).is_err(), "{bytes:?}");
    }
    let deep = |n: usize| format!("{{\"z\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(pair("A", "B", &deep(1000)).is_some());
    assert!(pair("A", "B", &deep(1001)).is_none());
    assert!(pair("A", "B", &deep(100_000)).is_none());
}

#[test]
fn learned_gaps_of_one_place_do_not_fit_another() {
    let columns = [Column::value("A", SqlType::Integer), Column::value("B", SqlType::Integer)];
    let mut decoder = all(Format::Json, &columns, false);
    for json in [r#"{"a":1,"b":2}"#, r#"{"b":1,"a":2}"#, r#"{"a": 1,"b": 2}"#] {
        decoder.push(Some(json.as_bytes())).unwrap();
    }
    for json in [r#"{"a":1{"b":2}"#, r#","a":1}"#, r#","b":2}"#, r#"{"a":1{"a":2}"#, r#"{"b":1{"a":2,"b":1}"#] {
        assert!(decoder.push(Some(json.as_bytes())).is_err(), "{json}");
    }
    decoder.push(Some(b"{\"a\":  7,\"b\":\n8}")).unwrap();
    assert_eq!(decoder.len(), 4);
    let rows = rows(&columns, decoder.finish(), 4);
    assert_eq!(rows[3], Some(vec![V::Int(7), V::Int(8)]));
}

#[test]
fn ever_new_names_long_names_and_many_columns_are_read() {
    let columns: Vec<Column> = (0..130).map(|i| Column::value(format!("C{i}"), SqlType::Integer)).collect();
    let mut decoder = all(Format::Json, &columns, false);
    let mut expected = vec![];
    for n in 0..400usize {
        let one = n * 7 % 130;
        let long = "x".repeat(n % 90);
        let json = format!("{{\"new{n}\":{n},\"{long}\":[],\"c{one}\":{n},\"c129\":1}}");
        let result = decoder.push(Some(json.as_bytes()));
        result.unwrap_or_else(|bad| panic!("{json}: {}", bad.reason));
        let value = |i| {
            if i == 129 {
                V::Int(1)
            } else if i == one {
                V::Int(n as i64)
            } else {
                V::Null
            }
        };
        expected.push(Some((0..130).map(value).collect::<Vec<_>>()));
    }
    assert_eq!(rows(&columns, decoder.finish(), 400), expected);
    assert!(decoder.push(Some(b"{\"c128\":1,\"C128\":\"x\"}")).is_err());
}

#[test]
fn null_empty_and_absent_are_five_different_inputs() {
    let columns = [Column::value("A", SqlType::String), Column::value("B", SqlType::Integer)];
    let mut decoder = all(Format::Json, &columns, false);
    decoder.push(None).unwrap();
    assert!(decoder.push(Some(b"")).is_err());
    decoder.push(Some(b"{}")).unwrap();
    decoder.push(Some(b" null ")).unwrap();
    decoder.push(Some(b"{\"a\":\"\"}")).unwrap();
    let empty = Some(vec![V::Null, V::Null]);
    assert_eq!(rows(&columns, decoder.finish(), 4), [None, empty, None, Some(vec![V::Text("".into()), V::Null])]);

    let bare = [Column::key("K", SqlType::String)];
    let mut decoder = all(Format::Json, &bare, false);
    for payload in [None, Some(&b""[..]), Some(b"{}"), Some(b"null"), Some(b"\"\"")] {
        decoder.push(payload).unwrap();
    }
    let text = |t: &str| Some(vec![V::Text(t.into())]);
    assert_eq!(rows(&bare, decoder.finish(), 5), [None, text(""), text("{}"), None, text("")]);

    let mut decoder = all(Format::Kafka, &bare, false);
    for payload in [None, Some(&b""[..]), Some(b"null"), Some(b"\xff")] {
        decoder.push(payload).unwrap();
    }
    assert_eq!(rows(&bare, decoder.finish(), 4), [None, text(""), text("null"), text("\u{fffd}")]);
}

#[test]
fn kafka_takes_exact_lengths() {
    let cases = [
        (SqlType::Integer, vec![0xff, 0xff, 0xff, 0xfe], V::Int(-2)),
        (SqlType::Bigint, vec![0, 0, 0, 0, 0, 0, 1, 0], V::Int(256)),
        (SqlType::Double, 1.5f64.to_be_bytes().to_vec(), V::Double(1.5f64.to_bits())),
        (SqlType::Bytes, vec![0, 255], V::Bytes(vec![0, 255])),
    ];
    for (ty, bytes, value) in cases {
        let columns = [Column::key("K", ty.clone())];
        let mut decoder = all(Format::Kafka, &columns, false);
        decoder.push(Some(&bytes)).unwrap();
        if ty != SqlType::Bytes {
            let bad = decoder.push(Some(&bytes[1..])).unwrap_err();
            let (takes, has) = (bytes.len(), bytes.len() - 1);
            assert_eq!(bad.reason, format!("column `K`: {ty} takes {takes} bytes, the payload has {has}"));
        }
        let batch = decoder.finish();
        let mut encoder = Encoder::new(Format::Kafka, &columns, false).unwrap();
        let (mut data, mut ranges) = (vec![], vec![]);
        encoder.encode(&batch.0, None, 1, &mut data, &mut ranges).unwrap();
        assert_eq!(ranges, [Some(0..bytes.len())]);
        assert_eq!(data, bytes);
        assert_eq!(rows(&columns, batch, 1), [Some(vec![value])]);
    }
}

#[test]
fn formats_refuse_what_they_cannot_carry() {
    let refused = |format, columns: &[Column]| check(format, columns).unwrap_err().message().to_owned();
    let column = |ty: &SqlType| Column::key("K", ty.clone());
    assert_eq!(
        refused(Format::Kafka, &[column(&SqlType::Boolean)]),
        "The 'KAFKA' format does not support type 'BOOLEAN'"
    );
    assert_eq!(
        refused(Format::Kafka, &[column(&ty("DECIMAL(4, 2)"))]),
        "The 'KAFKA' format does not support type 'DECIMAL'"
    );
    assert_eq!(
        refused(Format::Kafka, &[column(&ty("ARRAY<STRING>"))]),
        "The 'KAFKA' format does not support type 'ARRAY'"
    );
    let two = [Column::value("V0", SqlType::Integer), Column::value("V1", SqlType::String)];
    let message = "The 'KAFKA' format only supports a single field. Got: [`V0` INTEGER, `V1` STRING]";
    assert_eq!(refused(Format::Kafka, &two), message);
    let map = SqlType::Map(Box::new(SqlType::Integer), Box::new(SqlType::String));
    assert_eq!(
        refused(Format::Json, &[column(&SqlType::Array(Box::new(map)))]),
        "JSON only supports MAP types with STRING keys"
    );
    let message = "The 'NONE' format can only be used when no columns are defined. Got: [`K` STRING KEY]";
    assert_eq!(refused(Format::None, &[column(&SqlType::String)]), message);
    assert!(Encoder::new(Format::Json, &two, true).is_err());
}

#[test]
fn unread_columns_are_checked_and_outputs_follow_the_wanted_order() {
    let columns = bid_columns();
    let mut decoder = Decoder::new(Format::Json, &columns, &[5, 0, 5], false).unwrap();
    decoder.push(Some(br#"{"auction":1,"channel":[1,2],"dateTime":2}"#)).unwrap();
    let bad = decoder.push(Some(br#"{"auction":3,"price":"x","dateTime":4}"#)).unwrap_err();
    assert_eq!(bad.reason, "column `PRICE`: the text at byte 21 is no BIGINT");
    let bad = decoder.push(Some(b"{\"auction\":3,\"url\":\"\x01\"}")).unwrap_err();
    assert_eq!(bad.reason, "the payload is not valid JSON at byte 20");
    decoder.push(Some(br#"{"dateTime":6,"auction":5}"#)).unwrap();
    let (arrays, present) = decoder.finish();
    let ints = |a: &ArrayRef| a.as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(arrays.iter().map(ints).collect::<Vec<_>>(), [[2, 6], [1, 5], [2, 6]]);
    assert!(present.is_none() && arrays.iter().all(|a| a.null_count() == 0));
    let header = Column { name: "H".into(), ty: SqlType::Bytes, role: tidegate::types::Role::Header(None) };
    let with_header = [Column::value("A", SqlType::Integer), header];
    let mut decoder = Decoder::new(Format::Json, &with_header, &[0], true).unwrap();
    decoder.push(Some(b"12")).unwrap();
    assert!(Decoder::new(Format::Json, &with_header, &[1], false).is_err());
}

#[test]
fn json_is_written_as_ksqldb_writes_it() {
    let columns = [
        Column::value("D", SqlType::Double),
        Column::value("q\"uote", SqlType::String),
        Column::value("DEC", SqlType::Decimal(10, 8)),
        Column::value("M", ty("MAP<STRING, INTEGER>")),
        Column::value("S", ty("STRUCT")),
        Column::value("B", SqlType::Bytes),
        Column::value("L", ty("ARRAY<STRING>")),
    ];
    let cases = [
        (
            r#"{"d":1e10,"q\"uote":"a\u001f\b\/é","dec":1,"m":{"x":1,"y":null},"s":{"A":1},"b":"YQ==","l":["a",null]}"#,
            r#"{"D":1.0E10,"q\"uote":"a\u001F\b/é","DEC":1.00000000,"M":{"x":1,"y":null},"S":{"A":1,"b":null},"B":"YQ==","L":["a",null]}"#,
        ),
        (
            r#"{"d":"NaN","dec":1e-8,"m":{},"l":[]}"#,
            r#"{"D":"NaN","q\"uote":null,"DEC":1E-8,"M":{},"S":null,"B":null,"L":[]}"#,
        ),
        (
            r#"{"d":"-Infinity","dec":0}"#,
            r#"{"D":"-Infinity","q\"uote":null,"DEC":0E-8,"M":null,"S":null,"B":null,"L":null}"#,
        ),
    ];
    let mut decoder = all(Format::Json, &columns, false);
    cases.iter().for_each(|(from, _)| decoder.push(Some(from.as_bytes())).unwrap());
    let (arrays, _) = decoder.finish();
    let mut encoder = Encoder::new(Format::Json, &columns, false).unwrap();
    let (mut data, mut ranges) = (b"before".to_vec(), vec![]);
    assert_eq!(encoder.encode(&arrays, None, 3, &mut data, &mut ranges).unwrap(), []);
    let texts: Vec<&str> = ranges.into_iter().map(|r| std::str::from_utf8(&data[r.unwrap()]).unwrap()).collect();
    assert_eq!(texts, cases.map(|(_, to)| to));
}

#[test]
fn null_payloads_are_written_where_there_is_no_image() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let (number, text) = (Column::value("N", SqlType::Bigint), Column::value("T", SqlType::String));
    let present = NullBuffer::from(vec![true, true, false]);
    let write = |format, columns: &[Column], unwrapped, arrays: &[ArrayRef]| {
        let mut encoder = Encoder::new(format, columns, unwrapped).unwrap();
        let (mut data, mut ranges) = (vec![], vec![]);
        encoder.encode(arrays, Some(&present), 3, &mut data, &mut ranges).unwrap();
        let text = |r: std::ops::Range<usize>| String::from_utf8_lossy(&data[r]).into_owned();
        ranges.into_iter().map(|r| r.map_or("-".to_owned(), text)).collect::<Vec<_>>()
    };
    let (one, both) = (std::slice::from_ref(&number), [number.clone(), text.clone()]);
    assert_eq!(write(Format::Json, one, false, std::slice::from_ref(&numbers)), [r#"{"N":1}"#, r#"{"N":null}"#, "-"]);
    assert_eq!(write(Format::Json, one, true, std::slice::from_ref(&numbers)), ["1", "-", "-"]);
    assert_eq!(write(Format::Kafka, one, true, std::slice::from_ref(&numbers))[1..], ["-", "-"]);
    let expected = [r#"{"N":1,"T":"a"}"#, r#"{"N":null,"T":"b"}"#, "-"];
    assert_eq!(write(Format::Json, &both, false, &[numbers.clone(), texts.clone()]), expected);
    let keys = [Column::key("N", SqlType::Bigint), Column::key("T", SqlType::String)];
    assert_eq!(write(Format::Json, &keys, true, &[numbers.clone(), texts.clone()]), expected);
    assert_eq!(write(Format::Json, &keys[..1], false, std::slice::from_ref(&numbers)), ["1", "-", "-"]);
    assert_eq!(write(Format::None, &[], false, &[]), ["-", "-", "-"]);
    let views = arrow::compute::cast(&texts, &arrow::datatypes::DataType::Utf8View).unwrap();
    assert_eq!(write(Format::Kafka, &[text], false, &[views]), ["a", "b", "-"]);
    let mut encoder = Encoder::new(Format::Json, one, false).unwrap();
    assert!(encoder.encode(&[numbers], None, 4, &mut vec![], &mut vec![]).is_err());
}
