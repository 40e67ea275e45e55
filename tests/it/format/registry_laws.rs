//! PROTOBUF and JSON_SR of random columns and rows, against the codecs of `support/wire`, which share nothing with the engine's: what
//! the engine writes they read as the same tree, and what they write the engine reads.

use super::registry::{one, shared};
use super::round_trip::{some_columns, some_json};
use super::{Dice, rows};
use crate::wire::{Schema, SchemaKind, unframe};
use arrow::array::ArrayRef;
use serde_json::Value;
use tidegate::catalog::{Format, Nullable, SchemaText, Wire};
use tidegate::format::schema::{Derivation, columns_to_schema};
use tidegate::format::{Decoder, Encoder, Side, check};
use tidegate::types::{Column, SqlType};

const SEEDS: u64 = 60;

/// Columns that the format carries, and whose decimals the other codec holds.
fn carried(dice: &mut Dice, format: Format) -> Vec<Column> {
    loop {
        let columns: Vec<Column> = some_columns(dice).into_iter().filter(|c| is_narrow(&c.ty)).collect();
        if !columns.is_empty() && check(format, &columns).is_ok() {
            return columns;
        }
    }
}

fn is_narrow(ty: &SqlType) -> bool {
    match ty {
        SqlType::Decimal(precision, _) => *precision <= 38,
        SqlType::Array(item) => is_narrow(item),
        SqlType::Map(_, value) => is_narrow(value),
        SqlType::Struct(fields) => fields.iter().all(|(_, ty)| is_narrow(ty)),
        _ => true,
    }
}

fn schema_of(format: Format, columns: &[Column], nullable: Nullable) -> SchemaText {
    let by = Derivation { key: false, source: "S", unwrapped: false, full_name: None, nullable };
    columns_to_schema(format, columns, &by).expect("the columns have a schema")
}

fn json_decoder(columns: &[Column]) -> Decoder {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    Decoder::new(Format::Json, columns, &wanted, false).expect("the columns can be read")
}

/// Rows as trees.
fn trees(columns: &[Column], arrays: &[ArrayRef], n: usize) -> Vec<Value> {
    let mut encoder = Encoder::new(Format::Json, columns, false).expect("the columns can be written");
    let (mut data, mut ranges) = (vec![], vec![]);
    encoder.encode(arrays, None, n, &mut data, &mut ranges).expect("the columns fit");
    let tree = |range: &Option<std::ops::Range<usize>>| {
        serde_json::from_slice(&data[range.clone().expect("the row has an image")]).expect("the row is JSON")
    };
    ranges.iter().map(tree).collect()
}

/// Equal trees: NULL is as if it were absent, and numbers are compared by value.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.to_string() == b.to_string() || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let within = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
                a.iter().all(|(name, value)| alike(value, b.get(name).unwrap_or(&Value::Null)))
            };
            within(a, b) && within(b, a)
        }
        (a, b) => a == b,
    }
}

fn law(format: Format, kind: SchemaKind, nullable: Nullable) {
    let (mut written, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let dice = &mut Dice(seed);
        let columns = carried(dice, format);
        let text = schema_of(format, &columns, nullable);
        let other = Schema::parse(kind, &text.text, &[]).expect("the other codec reads the schema");
        let wire = Wire { nullable, ..one(1, text.clone(), vec![], false) };
        let side = Side { format, columns: &columns, unwrapped: false, wire: &wire };
        let mut json = json_decoder(&columns);
        let n = 1 + dice.roll(30);
        for _ in 0..n {
            let members = columns.iter().map(|c| (c.name.clone(), some_json(dice, &c.ty)));
            let row = Value::Object(members.collect());
            json.push(Some(row.to_string().as_bytes())).unwrap_or_else(|bad| panic!("seed {seed}: {}", bad.reason));
        }
        let (arrays, _) = json.finish();
        let mut encoder = Encoder::of(side).expect("the columns can be written");
        let (mut data, mut ranges) = (vec![], vec![]);
        let bad = encoder.encode(&arrays, None, n, &mut data, &mut ranges).expect("the columns fit");
        assert!(bad.iter().all(|(_, bad)| bad.reason.contains("has no place")), "seed {seed}: {bad:?}");
        let wanted: Vec<usize> = (0..columns.len()).collect();
        let mut own = Decoder::of(side, &wanted, &shared(text.clone())).expect("the columns can be read");
        let mut foreign = Decoder::of(side, &wanted, &shared(text)).expect("the columns can be read");
        let mut read = vec![];
        for payload in ranges.iter().flatten().map(|range| &data[range.clone()]) {
            own.push(Some(payload)).unwrap_or_else(|bad| panic!("seed {seed}: {}", bad.reason));
            let tree = match other.decode(unframe(payload).expect("it has a frame").1) {
                // Its calendar ends before ours does.
                Err(reason) if reason.contains("a date does not exist") => {
                    own.pop();
                    continue;
                }
                tree => tree.unwrap_or_else(|reason| panic!("seed {seed}: {reason} in {payload:02x?}")),
            };
            let theirs = other.encode(1, None, &tree).unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
            foreign.push(Some(&theirs)).unwrap_or_else(|bad| panic!("seed {seed}: {}", bad.reason));
            read.push(tree);
        }
        let kept = own.len();
        written += kept;
        refused += bad.len();
        let (own, foreign) = (own.finish().0, foreign.finish().0);
        for (i, (ours, theirs)) in trees(&columns, &own, kept).iter().zip(&read).enumerate() {
            assert!(alike(ours, theirs), "seed {seed} row {i}:\n{ours}\n{theirs}");
        }
        let images = |arrays| rows(&columns, (arrays, None), kept);
        assert_eq!(images(own.clone()), images(foreign), "seed {seed}: their bytes mean the same");
        if format == Format::JsonSr {
            assert_eq!(images(own), images(arrays), "seed {seed}: JSON_SR loses nothing");
        }
    }
    assert!(written > 100 && (format == Format::Protobuf || refused == 0), "{written} rows, {refused} refused");
}

#[test]
fn protobuf_rows_mean_the_same_to_another_codec() {
    law(Format::Protobuf, SchemaKind::Protobuf, Nullable::None);
}

#[test]
fn protobuf_rows_with_optional_fields_mean_the_same_to_another_codec() {
    law(Format::Protobuf, SchemaKind::Protobuf, Nullable::Optional);
}

#[test]
fn protobuf_rows_with_wrappers_mean_the_same_to_another_codec() {
    law(Format::Protobuf, SchemaKind::Protobuf, Nullable::Wrapper);
}

#[test]
fn json_sr_rows_mean_the_same_to_another_codec() {
    law(Format::JsonSr, SchemaKind::Json, Nullable::None);
}

/// Every scalar of Protobuf into every type of column: what is taken is what ksqlDB takes (`golden/protobuf_decode.tsv` has examples).
#[test]
fn each_type_of_column_takes_its_types_of_fields() {
    let fields = [
        ("int32", "int32"),
        ("sint32", "int32"),
        ("sfixed32", "int32"),
        ("uint32", "int64"),
        ("fixed32", "int64"),
        ("int64", "int64"),
        ("uint64", "int64"),
        ("sint64", "int64"),
        ("fixed64", "int64"),
        ("sfixed64", "int64"),
        ("float", "float32"),
        ("double", "float64"),
        ("bool", "boolean"),
        ("string", "string"),
        ("E", "string"),
        ("bytes", "bytes"),
        ("google.type.Date", "int32"),
        ("google.type.TimeOfDay", "int32"),
        ("google.protobuf.Timestamp", "int64"),
        ("confluent.type.Decimal", "decimal"),
        ("repeated int32", "array"),
        ("map<string, int32>", "map"),
        ("N", "struct"),
    ];
    let columns: [(&str, &[&str]); 13] = [
        ("INT", &["int32"]),
        ("BIGINT", &["int32", "int64"]),
        ("DOUBLE", &["float32", "float64"]),
        ("STRING", &["string", "int32", "int64", "float32", "float64", "boolean"]),
        ("BOOLEAN", &["boolean"]),
        ("DECIMAL(5, 2)", &["decimal"]),
        ("BYTES", &["bytes"]),
        ("DATE", &["int32"]),
        ("TIME", &["int32"]),
        ("TIMESTAMP", &["int32", "int64"]),
        ("ARRAY<INT>", &["array"]),
        ("MAP<STRING, INT>", &["map"]),
        ("STRUCT<X INT>", &["struct"]),
    ];
    let imports = ["google/type/date", "google/type/timeofday", "google/protobuf/timestamp", "confluent/type/decimal"];
    let imports: String = imports.iter().map(|path| format!("import \"{path}.proto\"; ")).collect();
    for (field, connect) in fields {
        let text = format!(
            "syntax = \"proto3\"; {imports} message M {{ {field} c = 1; enum E {{ A = 0; }} message N {{ int32 x = 1; }} }}"
        );
        let text = super::registry::schema(tidegate::catalog::SchemaType::Protobuf, &text);
        for (ty, takes) in columns {
            let read = super::registry::decode(Format::Protobuf, &format!("C {ty}"), &text, "00", false);
            assert_eq!(read.is_ok(), takes.contains(&connect), "{field} into {ty}: {read:?}");
            if let Err(reason) = read {
                assert!(reason.starts_with("Cannot deserialize type "), "{field} into {ty}: {reason}");
            }
        }
    }
}
