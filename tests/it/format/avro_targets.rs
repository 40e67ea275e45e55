//! AVRO payloads for the fuzzers: of ksqlDB's own schema, of writers with other types, and of a schema that contains itself.
//! The second opinion is `avro_oracle`.

use super::avro_oracle::Writer;
use super::registered::{decoder, schemas, side, written_by};
use super::targets::{Difference, Ours, Target, nested_columns};
use super::{all, oracle::V};
use tidegate::catalog::{Format, SchemaRef};
use tidegate::format::schema::{Derivation, columns_to_schema};
use tidegate::format::{Encoder, frame};
use tidegate::types::{Column, SqlType};

const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\x01",
    b"\x02",
    b"\x04",
    b"\x02\x02",
    b"\0\0\0\0\x07",
    b"\0\0\0\0\x08",
    b"\xff\xff\xff\xff\x0f",
    b"\xfe\xff\xff\xff\x0f",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x80\0",
    b"\x03\x04",
    b"\xc3\xa9",
    b"\xff",
    b"\0\0\0\0\0\0\xf0\x3f",
];

/// A writer whose types are others than the columns'.
const FOREIGN: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"skipped","type":["null",{"type":"map","values":["null","double"]}]},
    {"name":"i","type":["int","null"]},
    {"name":"e","type":{"type":"enum","name":"E","symbols":["A","BB"]}},
    {"name":"f","type":"float"},
    {"name":"x","type":["null",{"type":"fixed","name":"F","size":3}]},
    {"name":"u","type":["null","int","string",{"type":"record","name":"P","fields":[{"name":"z","type":"float"}]}]},
    {"name":"m","type":{"type":"map","values":["null","long"]}},
    {"name":"c","type":{"type":"array","items":{"type":"record","name":"C","connect.internal.type":"MapEntry",
        "fields":[{"name":"value","type":"string"},{"name":"key","type":["null","int"]}]}}},
    {"name":"l","type":{"type":"array","items":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}]}},
    {"name":"t","type":{"type":"int","logicalType":"time-millis"}},
    {"name":"b","type":"boolean"}]}"#;

/// A writer whose values may be nested without end, and take no bytes.
const CHAIN: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"next","type":["null","R"]},
    {"name":"nothing","type":{"type":"array","items":"null"}},
    {"name":"n","type":"long"}]}"#;

const DIFFERS: &[Difference] = &[("values that are nested too deeply are refused", |payload| {
    (payload.iter().filter(|b| **b == 2).count() > 400).then_some(Ours::Either)
})];

fn target(columns: Vec<Column>, schema: &str, corpus: Vec<Vec<u8>>) -> Target {
    let decoder = decoder(&columns, false, &schemas(&[(7, schema)]));
    let writer = Writer::new(schema);
    let meaning = move |payload: &[u8], columns: &[Column]| match frame::split(payload) {
        Ok((SchemaRef::Id(7), body)) => writer.decode(body, columns),
        _ => Err(()),
    };
    Target::with(decoder, columns, corpus, TOKENS, meaning, DIFFERS)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut payload = vec![];
    frame::write(7, &mut payload);
    payload.extend_from_slice(body);
    payload
}

/// Targets of AVRO.
pub(crate) fn avro() -> Vec<Target> {
    vec![own(), foreign(), chain()]
}

fn own() -> Target {
    let columns = nested_columns();
    let samples = [
        r#"{"S":{"A":1,"T":"x"},"L":[1.5,2.25,null],"M":{"k":{"A":2,"T":"é"},"j":null},"D":1.5,"PRICE":12,"B":true,"ANY":"z"}"#,
        r#"{"Y":"AAE=","DT":19782,"TM":86399999,"TS":1700000000123,"L":[],"M":{}}"#,
        r#"{"ANY":"text, long enough for two words","PRICE":1234567890123456,"TS":-62135596800000,"L":[-9999.99,0]}"#,
    ];
    let mut json = all(Format::Json, &columns, false);
    samples.iter().for_each(|row| json.push(Some(row.as_bytes())).unwrap());
    let (mut data, mut ranges, (arrays, _)) = (vec![], vec![], json.finish());
    let by = Derivation { key: false, source: "S", unwrapped: false, full_name: None, nullable: Default::default() };
    let schema = columns_to_schema(Format::Avro, &columns, &by).unwrap().text;
    let wire = written_by(7, &schema);
    let mut encoder = Encoder::of(side(&columns, false, &wire)).unwrap();
    assert_eq!(encoder.encode(&arrays, None, samples.len(), &mut data, &mut ranges).unwrap(), vec![]);
    target(columns, &schema, ranges.into_iter().map(|range| data[range.unwrap()].to_vec()).collect())
}

fn foreign() -> Target {
    let (text, long) = (|| Box::new(SqlType::String), || Box::new(SqlType::Bigint));
    let point = SqlType::Struct(vec![("Z".into(), SqlType::Double)]);
    let union = [("INT", SqlType::Bigint), ("STRING", SqlType::String), ("P", point)];
    let types = [
        ("I", SqlType::Bigint),
        ("E", SqlType::String),
        ("F", SqlType::String),
        ("X", SqlType::Bytes),
        ("U", SqlType::Struct(union.map(|(name, ty)| (name.to_owned(), ty)).into())),
        ("M", SqlType::Map(text(), long())),
        ("C", SqlType::Map(text(), text())),
        ("L", SqlType::Array(Box::new(SqlType::Decimal(6, 2)))),
        ("T", SqlType::Time),
        ("B", SqlType::String),
    ];
    let columns = types.map(|(name, ty)| Column::value(name, ty)).into();
    let corpus: [&[u8]; 3] = [
        b"\0\x02\x02\0\0\xc0\x3f\0\0\0\0\0\0\0",
        b"\x02\x02\x02a\x02\0\0\0\0\0\0\xf0\x3f\0\0\x0e\0\xcd\xcc\xcc\x3d\x02abc\x04\x04hi\x02\x02k\x02\x0a\0\x02\x02v\x02\x08\0\x04\x02\x04\x04\xe2\0\0\xd0\x0f\x01",
        b"\0\x02\0\0\0\0\0\0\x06\0\0\x80\x3f\x03\x06\x02k\0\x02k\x02\x02\0\0\x01\x06\x02\x01\x64\0\x80\xb8\xcaR\x02",
    ];
    target(columns, FOREIGN, corpus.into_iter().map(framed).collect())
}

fn chain() -> Target {
    let columns = vec![Column::value("N", SqlType::Bigint)];
    let corpus: [&[u8]; 3] = [b"\0\0\x0e", b"\x02\x02\0\0\x02\0\x04\0\x06", b"\0\xfe\xff\xff\x0f\0\x02"];
    target(columns, CHAIN, corpus.into_iter().map(framed).collect())
}

#[test]
fn the_payloads_to_begin_with_are_good() {
    for (mut target, first) in avro().into_iter().zip([None, Some(V::Int(1)), Some(V::Int(7))]) {
        let corpus = target.corpus().to_vec();
        corpus.iter().enumerate().for_each(|(n, payload)| target.look(payload.clone(), n as u64));
        assert!(
            target.good > 0 && target.good >= target.tried - 1,
            "{} of {} for {first:?}",
            target.good,
            target.tried
        );
        target.compare();
    }
}
