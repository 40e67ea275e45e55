//! AVRO against rows that ksqlDB's own serializers made for inputs of ours (`avro/*.tsv`): schemas of columns, columns of schemas,
//! every kind of writer into every type of column, payloads and what is written.

use super::oracle::V;
use super::registered::{decoder, schemas, side, written_by};
use super::rows;
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use std::sync::Arc;
use tidegate::catalog::{Format, SchemaText, SchemaType, Wire};
use tidegate::format::frame::{self, NoSchemas, SharedSchemas};
use tidegate::format::schema::{Derivation, Inference, columns_to_schema, schema_to_columns};
use tidegate::format::{Decoder, Encoder};
use tidegate::types::{Column, SqlType};

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![];
    frame::write(id, &mut payload);
    payload.extend_from_slice(body);
    payload
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Splits at commas outside of brackets.
fn list(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut out) = (0, 0, vec![]);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push(text[from..].trim());
    out
}

fn ty(text: &str) -> SqlType {
    let inside = |from: &str| text.strip_prefix(from).and_then(|rest| rest.strip_suffix(['>', ')'])).map(list);
    if let Some(parts) = inside("DECIMAL(") {
        return SqlType::Decimal(parts[0].parse().unwrap(), parts[1].parse().unwrap());
    }
    if let Some(parts) = inside("ARRAY<") {
        return SqlType::Array(Box::new(ty(parts[0])));
    }
    if let Some(parts) = inside("MAP<") {
        return SqlType::Map(Box::new(ty(parts[0])), Box::new(ty(parts[1])));
    }
    if let Some(parts) = inside("STRUCT<") {
        let field = |part: &&str| part.split_once(' ').map(|(name, of)| (name.to_owned(), ty(of))).unwrap();
        return SqlType::Struct(parts.iter().map(field).collect());
    }
    match text {
        "BOOLEAN" => SqlType::Boolean,
        "INTEGER" => SqlType::Integer,
        "BIGINT" => SqlType::Bigint,
        "DOUBLE" => SqlType::Double,
        "STRING" => SqlType::String,
        "BYTES" => SqlType::Bytes,
        "DATE" => SqlType::Date,
        "TIME" => SqlType::Time,
        "TIMESTAMP" => SqlType::Timestamp,
        other => panic!("no type {other}"),
    }
}

fn columns(text: &str) -> Vec<Column> {
    list(text).iter().map(|c| c.split_once(' ').map(|(name, of)| Column::value(name, ty(of))).unwrap()).collect()
}

/// The lines of a file, with as many fields.
fn lines<const N: usize>(text: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    text.lines().map(|line| line.split('\t').collect::<Vec<_>>().try_into().expect("the file has so many fields"))
}

/// The rows as JSON.
fn json(columns: &[Column], unwrapped: bool, (arrays, present): &(Vec<ArrayRef>, Option<NullBuffer>)) -> Vec<String> {
    let mut encoder = Encoder::new(Format::Json, columns, unwrapped).unwrap();
    let (mut data, mut ranges) = (vec![], vec![]);
    let rows = arrays[0].len();
    assert_eq!(encoder.encode(arrays, present.as_ref(), rows, &mut data, &mut ranges).unwrap(), vec![]);
    let text = |range: Option<std::ops::Range<usize>>| match range {
        Some(range) => String::from_utf8(data[range].to_vec()).unwrap(),
        None => "null".to_owned(),
    };
    ranges.into_iter().map(text).collect()
}

/// What a decoder makes of a payload: JSON, or the reason.
fn read(columns: &[Column], unwrapped: bool, writer: &str, body: &[u8]) -> Result<String, String> {
    let mut decoder = decoder(columns, unwrapped, &schemas(&[(7, writer)]));
    decoder.push(Some(&framed(7, body))).map_err(|bad| bad.reason)?;
    Ok(json(columns, unwrapped, &decoder.finish()).remove(0))
}

fn expect(got: &Result<String, String>, expected: &str, of: &str) {
    match (got, expected.split_at(2)) {
        (Ok(got), ("= ", expected)) => assert_eq!(got, expected, "{of}"),
        (Err(reason), ("! ", expected)) => assert!(expected.is_empty() || reason.trim() == expected, "{of}: {reason}"),
        _ => panic!("{of}: {got:?}, not {expected}"),
    }
}

#[test]
fn columns_have_the_schema_that_ksqldb_registers() {
    for [name, kind, declared, expected] in lines(include_str!("avro/schemas.tsv")) {
        let (kind, rest) = kind.split_once(' ').unwrap_or((kind, ""));
        let by = Derivation {
            key: kind == "key",
            source: rest,
            unwrapped: kind == "unwrapped",
            full_name: (kind == "value" && !rest.is_empty()).then_some(rest),
            nullable: Default::default(),
        };
        let got = columns_to_schema(Format::Avro, &columns(declared), &by);
        match (got, expected.strip_prefix("! ")) {
            (Ok(schema), None) => assert_eq!(&*schema.text, expected, "{name}"),
            (Err(e), Some(expected)) => assert_eq!(e.message(), expected, "{name}"),
            (got, _) => panic!("{name}: {got:?}"),
        }
    }
    for (source, name) in [("MY_OUT_1x", "MyOut1xKey"), ("S", "SKey")] {
        let by = Derivation { key: true, source, unwrapped: true, full_name: None, nullable: Default::default() };
        let schema = columns_to_schema(Format::Avro, &columns("A INTEGER, B INTEGER"), &by).unwrap();
        assert!(schema.text.contains(&format!("\"io.confluent.ksql.avro_schemas.{name}\"")), "{}", schema.text);
    }
    let by =
        Derivation { key: true, source: "Lower-case", unwrapped: true, full_name: None, nullable: Default::default() };
    let refused = columns_to_schema(Format::Avro, &columns("A INTEGER, B INTEGER"), &by).unwrap_err();
    assert_eq!(refused.message(), "Schema is not compatible with Avro: Illegal character in: Lower-caseKey");
}

#[test]
fn a_schema_gives_the_columns_that_ksqldb_infers() {
    for [name, kind, schema, expected] in lines(include_str!("avro/inferred.tsv")) {
        let schema = SchemaText::new(SchemaType::Avro, schema);
        let by = Inference { key: false, unwrapped: kind == "unwrapped", full_name: None, upper_case: true };
        match (schema_to_columns(&schema, &by), expected.strip_prefix("! ")) {
            (Ok(got), None) => {
                let got: Vec<String> = got.iter().map(|(name, ty)| format!("`{name}` {ty}")).collect();
                assert_eq!(got.join(", "), expected.replace("< >", "<>"), "{name}");
            }
            (Err(reason), Some("StackOverflowError: null")) => {
                assert!(reason.starts_with("the record n.R contains itself at c"), "{name}: {reason}");
            }
            (Err(reason), Some(expected)) => {
                assert_eq!(reason, expected.split_once(": ").unwrap().1, "{name}");
            }
            (got, _) => panic!("{name}: {got:?}, not {expected}"),
        }
    }
}

#[test]
fn with_an_id_names_are_as_written() {
    let schema =
        SchemaText::new(SchemaType::Avro, r#"{"type":"record","name":"R","fields":[{"name":"aB","type":"int"}]}"#);
    let by = Inference { key: false, unwrapped: false, full_name: None, upper_case: false };
    assert_eq!(schema_to_columns(&schema, &by).unwrap(), [("aB".to_owned(), SqlType::Integer)]);
    let key = Inference { key: true, ..by };
    let expected = SqlType::Struct(vec![("aB".to_owned(), SqlType::Integer)]);
    assert_eq!(schema_to_columns(&schema, &key).unwrap(), [("ROWKEY".to_owned(), expected)]);
}

#[test]
fn what_repeats_itself_without_end_is_refused() {
    // 2^40 columns in 41 lines.
    let mut fields = vec![r#"{"name":"f0","type":{"type":"record","name":"R0","fields":[]}}"#.to_owned()];
    for i in 1..=40 {
        let before = i - 1;
        fields.push(format!(
            r#"{{"name":"f{i}","type":{{"type":"record","name":"R{i}","fields":[{{"name":"a","type":"R{before}"}},{{"name":"b","type":"R{before}"}}]}}}}"#
        ));
    }
    let text = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
    let by = Inference { key: false, unwrapped: false, full_name: None, upper_case: true };
    let refused = schema_to_columns(&SchemaText::new(SchemaType::Avro, text.as_str()), &by).unwrap_err();
    assert!(refused.contains("types"), "{refused}");
    // Its values take no bytes: they are not walked over one by one.
    assert_eq!(read(&columns("ZZ INTEGER"), false, &text, b""), Ok("{\"ZZ\":null}".to_owned()));
    let array = r#"{"name":"l","type":{"type":"array","items":"R40"}}"#;
    let text = text.replace("]}}]}", &format!("]}}}},{array}]}}"));
    assert_eq!(read(&columns("ZZ INTEGER"), false, &text, &unhex("feffffff0f00")), Ok("{\"ZZ\":null}".to_owned()));
}

#[test]
fn every_writer_into_every_column() {
    for [writer, to, body, expected] in lines(include_str!("avro/matrix.tsv")) {
        let columns = [Column::value("C", ty(to))];
        let record =
            format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{{"name":"c","type":{writer}}}]}}"#);
        let got = read(&columns, false, &record, &unhex(body));
        let expected = match expected.strip_prefix("= ") {
            Some(value) => format!("= {{\"C\":{value}}}"),
            None => expected.to_owned(),
        };
        expect(&got, &expected, &format!("{writer} into {to}"));
        // Declared and not read: good and bad as before.
        let both = [columns[0].clone(), Column::value("ZZ", SqlType::Integer)];
        let wire = Wire::default();
        let mut unread = Decoder::of(side(&both, false, &wire), &[1], &schemas(&[(7, &record)])).unwrap();
        assert_eq!(unread.push(Some(&framed(7, &unhex(body)))).is_ok(), got.is_ok(), "{writer} into {to}, not read");
        assert!(unread.finish().0[0].len() == usize::from(got.is_ok()));
        // Unwrapped, with no record around it. A NULL is no value then.
        let bare = read(&columns, true, writer, &unhex(body));
        assert_eq!(bare.is_ok(), got.is_ok(), "{writer} into unwrapped {to}");
    }
}

#[test]
fn payloads_are_read_as_ksqldb_reads_them() {
    for [name, kind, declared, writer, body, expected] in lines(include_str!("avro/decoded.tsv")) {
        let got = read(&columns(declared), kind == "unwrapped", writer, &unhex(body));
        expect(&got, expected, name);
    }
}

#[test]
fn payloads_are_written_as_ksqldb_writes_them() {
    for [name, kind, declared, image, expected] in lines(include_str!("avro/encoded.tsv")) {
        let (columns, unwrapped) = (columns(declared), kind == "unwrapped");
        let by = Derivation { key: false, source: "S", unwrapped, full_name: None, nullable: Default::default() };
        let schema = columns_to_schema(Format::Avro, &columns, &by).unwrap();
        let (payload, refused) = written(&columns, unwrapped, &schema.text, image);
        assert_eq!(refused, None, "{name}");
        assert_eq!(payload.as_deref().map_or("null".to_owned(), hex), expected, "{name}");
        if let Some(payload) = payload {
            let mut decoder = decoder(&columns, unwrapped, &schemas(&[(1, &schema.text)]));
            decoder.push(Some(&payload)).unwrap();
            assert_eq!(json(&columns, unwrapped, &decoder.finish()), [image], "{name}");
        }
    }
}

/// The payload of a row that is given as JSON, under id 1, or why there is none.
fn written(columns: &[Column], unwrapped: bool, schema: &str, image: &str) -> (Option<Vec<u8>>, Option<String>) {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let mut source = Decoder::new(Format::Json, columns, &wanted, unwrapped).unwrap();
    source.push(Some(image.as_bytes())).unwrap();
    let (arrays, present) = source.finish();
    let wire = written_by(1, schema);
    let mut encoder = Encoder::of(side(columns, unwrapped, &wire)).unwrap();
    let (mut data, mut ranges) = (vec![], vec![]);
    let bad = encoder.encode(&arrays, present.as_ref(), 1, &mut data, &mut ranges).unwrap();
    (ranges[0].clone().map(|range| data[range].to_vec()), bad.into_iter().next().map(|(_, bad)| bad.reason))
}

#[test]
fn a_given_schema_is_written_as_it_is() {
    for [name, declared, schema, image, expected] in lines(include_str!("avro/physical.tsv")) {
        let (payload, refused) = written(&columns(declared), false, schema, image);
        match expected.strip_prefix("! ") {
            Some(reason) => assert_eq!((payload, refused.as_deref()), (None, Some(reason)), "{name}"),
            // ksqlDB's registry had given it the id 2.
            None => assert_eq!(
                (payload.as_deref().map(hex).map(|h| h.replacen('1', "2", 1)), refused),
                (Some(expected.to_owned()), None),
                "{name}"
            ),
        }
    }
    // What ksqlDB refuses although nothing is lost.
    let of = |ty: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"b","type":"string"}},{{"name":"a","type":{ty}}}]}}"#
        )
    };
    for (ty, declared, value, bytes) in [
        ("\"long\"", "INTEGER", "5", "0a"),
        ("\"float\"", "DOUBLE", "1.5", "0000c03f"),
        (r#"{"type":"enum","name":"E","symbols":["X","Y"]}"#, "STRING", "\"Y\"", "02"),
        (
            r#"["null",{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9,"scale":3}]"#,
            "DECIMAL(5, 2)",
            "-1.28",
            "02fffffb00",
        ),
        (r#"["null","int",{"type":"record","name":"P","fields":[]}]"#, "INTEGER", "5", "020a"),
    ] {
        let columns = columns(&format!("a {declared}, b STRING"));
        let (payload, refused) = written(&columns, false, &of(ty), &format!("{{\"a\":{value},\"b\":\"x\"}}"));
        assert_eq!((payload.as_deref().map(hex), refused), (Some(format!("00000000010278{bytes}")), None), "{ty}");
    }
    let (payload, refused) = written(
        &columns("a STRING, b STRING"),
        false,
        &of(r#"{"type":"enum","name":"E","symbols":["X"]}"#),
        r#"{"a":"Z","b":""}"#,
    );
    assert_eq!((payload, refused.as_deref()), (None, Some("Z is no symbol of the enum")));
}

#[test]
fn writers_may_alternate_within_a_batch() {
    let columns = columns("A BIGINT, B STRING");
    let known = [
        (1, r#"{"type":"record","name":"R","fields":[{"name":"A","type":"long"},{"name":"B","type":"string"}]}"#),
        (
            2,
            r#"{"type":"record","name":"R","fields":[{"name":"b","type":["null","string"]},{"name":"x","type":"int"},{"name":"a","type":"int"}]}"#,
        ),
        (3, r#"{"type":"record","name":"R","fields":[{"name":"A","type":"string"}]}"#),
        (4, "{"),
        (5, r#"{"type":"record","name":"R","fields":[{"name":"B","type":"long"}]}"#),
    ];
    let rows_of = |payloads: &[(u32, &str)], cut: usize| {
        let mut decoder = decoder(&columns, false, &schemas(&known));
        let (mut out, mut bad) = (vec![], vec![]);
        for (n, (id, body)) in payloads.iter().enumerate() {
            if n % cut == 0 {
                let rows = decoder.len();
                out.extend(rows_in(&columns, &mut decoder, rows));
            }
            if let Err(e) = decoder.push(Some(&framed(*id, &unhex(body)))) {
                bad.push((n, e.reason));
            }
        }
        let rows = decoder.len();
        out.extend(rows_in(&columns, &mut decoder, rows));
        (out, bad)
    };
    let mut payloads = vec![];
    for _ in 0..9 {
        payloads.extend([
            (1, "020278"),
            (2, "020279000a"),
            (3, "0278"),
            (1, "04"),
            (9, ""),
            (404, ""),
            (4, "00"),
            (5, "0e"),
            (2, "00000c"),
        ]);
    }
    let whole = rows_of(&payloads, usize::MAX);
    let text = |t: &str| V::Text(t.to_owned());
    let expected = [
        Some(vec![V::Int(1), text("x")]),
        Some(vec![V::Int(5), text("y")]),
        Some(vec![V::Null, text("7")]),
        Some(vec![V::Int(6), V::Null]),
    ];
    assert_eq!(whole.0[..4], expected);
    let reasons: Vec<&str> = whole.1[..5].iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons[0], "Cannot deserialize type string as type int64 for path: ->A");
    assert_eq!(reasons[1], "the payload ends within a value");
    assert_eq!(reasons[2], "schema 9 is not known");
    assert_eq!(reasons[3], "schema 404: Schema 404 not found");
    assert!(reasons[4].starts_with("schema 4: the schema is no JSON"), "{}", reasons[4]);
    for cut in 1..12 {
        assert_eq!(rows_of(&payloads, cut), whole, "in batches of {cut}");
    }
}

fn rows_in(columns: &[Column], decoder: &mut Decoder, count: usize) -> Vec<Option<Vec<V>>> {
    rows(columns, decoder.finish(), count)
}

#[test]
fn bad_text_is_repaired_where_it_is() {
    let columns = columns("A STRING, B MAP<STRING, STRING>");
    let writer = r#"{"type":"record","name":"R","fields":[{"name":"a","type":["null","string"]},{"name":"b","type":{"type":"map","values":"string"}}]}"#;
    let mut decoder = decoder(&columns, false, &schemas(&[(1, writer)]));
    // Halves of a letter in two rows are no letter.
    for body in ["0202c300", "0202a900", "0000", "0204c3a9020261040a41ff00"] {
        let _ = decoder.push(Some(&framed(1, &unhex(body))));
    }
    decoder.push(Some(&framed(1, &unhex("0204c3a902026104c3a900")))).unwrap();
    let got = json(&columns, false, &decoder.finish());
    assert_eq!(
        got,
        [r#"{"A":"�","B":{}}"#, r#"{"A":"�","B":{}}"#, r#"{"A":null,"B":{}}"#, r#"{"A":"é","B":{"a":"é"}}"#]
    );
}

#[test]
fn what_a_payload_claims_is_bounded_by_its_bytes() {
    let of = |ty: &str| format!(r#"{{"type":"record","name":"R","fields":[{{"name":"c","type":{ty}}}]}}"#);
    let empty = r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#;
    for (ty, declared, body) in [
        // A length of 2^62, a count of 2^62 and of 2^31, eleven bytes of a number, a negative length.
        ("\"string\"", "STRING", "feffffffffffffff7f"),
        (r#"{"type":"array","items":"int"}"#, "ARRAY<INTEGER>", "feffffffffffffff7f"),
        (r#"{"type":"array","items":"int"}"#, "ARRAY<INTEGER>", "feffffff0f0202"),
        ("\"long\"", "BIGINT", "ffffffffffffffffffffff01"),
        ("\"string\"", "STRING", "01"),
        (empty, "ARRAY<STRUCT<X INTEGER>>", "feffffff0f00"),
        (empty, "ARRAY<STRUCT<X INTEGER>>", "80897a00"),
        (r#"["null","int"]"#, "INTEGER", "04"),
        (r#"{"type":"fixed","name":"F","size":2147483647}"#, "BYTES", "00"),
    ] {
        let got = read(&columns(&format!("C {declared}")), false, &of(ty), &unhex(body));
        assert!(got.is_err(), "{ty} {body}: {got:?}");
        let unread = read(&columns("D INTEGER"), false, &of(ty), &unhex(body));
        assert_eq!(unread.is_err(), ty != empty, "{ty} {body}: {unread:?}");
    }
    assert_eq!(
        read(&columns("C ARRAY<STRUCT<X INTEGER>>"), false, &of(empty), b"\x04\0"),
        Ok(r#"{"C":[{"X":null},{"X":null}]}"#.to_owned())
    );
    let chain =
        r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]},{"name":"c","type":"int"}]}"#;
    let deep = |levels: usize| [vec![2; levels], vec![0], vec![2; levels + 1]].concat();
    assert_eq!(read(&columns("C INTEGER"), false, chain, &deep(100)), Ok("{\"C\":1}".to_owned()));
    assert_eq!(
        read(&columns("C INTEGER"), false, chain, &deep(1_000_000)),
        Err("values are nested too deeply".to_owned())
    );
}

#[test]
fn frames_that_are_none_say_why() {
    let columns = columns("C INTEGER");
    let none: SharedSchemas = Arc::new(NoSchemas);
    let mut decoder = decoder(&columns, false, &none);
    let mut reason = |payload: &[u8]| decoder.push(Some(payload)).unwrap_err().reason;
    assert!(reason(b"").contains("empty"));
    assert!(reason(b"\0\0\0").contains("3 bytes"));
    assert!(reason(&[1; 16]).contains("fewer than the frame of a schema's GUID"));
    assert_eq!(reason(&[1; 17]), "schema 01010101-0101-0101-0101-010101010101 is not known");
    assert!(reason(b"{\"C\":1}").contains("magic byte"));
    assert_eq!(reason(b"\0\0\0\0\x05\x02"), "schema 5 is not known");
    // The source's own schema needs no registry.
    let wire = written_by(5, r#"{"type":"record","name":"R","fields":[{"name":"c","type":"int"}]}"#);
    let mut own = Decoder::of(side(&columns, false, &wire), &[0], &none).unwrap();
    own.push(Some(b"\0\0\0\0\x05\x02")).unwrap();
    assert_eq!(json(&columns, false, &own.finish()), ["{\"C\":1}"]);
}
