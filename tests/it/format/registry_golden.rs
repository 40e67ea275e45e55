//! PROTOBUF and JSON_SR against rows that ksqlDB's own serializers produced for inputs of ours (`golden/*.tsv`): schemas of columns,
//! columns of schemas, payloads read by a writer's schema, bytes written.

use super::registry::{column_list, decode, encode, one, schema};
use tidegate::catalog::{Format, Nullable, SchemaType, Wire};
use tidegate::format::schema::{Derivation, Inference, columns_to_schema, schema_to_columns};
use tidegate::types::SqlType;

/// The rows of a file, without the lines that begin with `#`.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| line.split('\t').collect())
}

fn nullable(name: &str) -> Nullable {
    match name {
        "optional" => Nullable::Optional,
        "wrapper" => Nullable::Wrapper,
        _ => Nullable::None,
    }
}

fn format(name: &str) -> Format {
    if name == "PROTOBUF" { Format::Protobuf } else { Format::JsonSr }
}

fn given(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

fn listed(columns: &[(String, SqlType)]) -> String {
    let one = |(name, ty): &(String, SqlType)| format!("`{name}` {ty}");
    let text = columns.iter().map(one).collect::<Vec<_>>().join(", ");
    format!("[{}]", text.replace("STRUCT<>", "STRUCT< >"))
}

fn derivation<'a>(full_name: Option<&'a str>, nullable: Nullable, unwrapped: bool) -> Derivation<'a> {
    Derivation { key: false, source: "S", unwrapped, full_name, nullable }
}

fn check_inference(kind: SchemaType, text: &'static str) {
    let mut count = 0;
    for row in rows(text) {
        let [full_name, unwrapped, text, wanted] = row[..] else { panic!("{row:?}") };
        let by = Inference {
            key: false,
            unwrapped: unwrapped == "unwrapped",
            full_name: given(full_name),
            upper_case: true,
        };
        match schema_to_columns(&schema(kind, text), &by) {
            Ok(columns) => assert_eq!(listed(&columns), wanted, "{text}"),
            Err(reason) => assert_eq!(wanted, "bad", "{text}: {reason}"),
        }
        count += 1;
    }
    assert!(count > 40, "{count} rows");
}

#[test]
fn columns_are_taken_from_protobuf_schemas() {
    check_inference(SchemaType::Protobuf, include_str!("golden/protobuf_infer.tsv"));
}

#[test]
fn columns_are_taken_from_json_schemas() {
    check_inference(SchemaType::Json, include_str!("golden/json_sr_infer.tsv"));
}

#[test]
fn protobuf_schemas_are_written_as_ksqldb_writes_them() {
    for row in rows(include_str!("golden/protobuf_schema.tsv")) {
        let [columns, full_name, representation, wanted] = row[..] else { panic!("{row:?}") };
        let by = derivation(given(full_name), nullable(representation), false);
        match columns_to_schema(Format::Protobuf, &column_list(columns), &by) {
            Ok(schema) => assert_eq!(schema.text.replace('\n', "\\n"), wanted, "{columns}"),
            Err(error) => assert_eq!(format!("bad {}", error.message()), wanted, "{columns}"),
        }
    }
}

#[test]
fn protobuf_payloads_are_read_by_their_writers_schema() {
    for row in rows(include_str!("golden/protobuf_decode.tsv")) {
        let [name, columns, text, body, wanted] = row[..] else { panic!("{row:?}") };
        let found = decode(Format::Protobuf, columns, &schema(SchemaType::Protobuf, text), body, false);
        match (found, wanted.strip_prefix("bad")) {
            (Ok(row), _) => assert_eq!(row, wanted, "{name}"),
            (Err(reason), Some(why)) => assert!(why.trim().is_empty() || reason == why.trim(), "{name}: {reason}"),
            (Err(reason), None) => panic!("{name}: {reason}"),
        }
    }
}

#[test]
fn json_values_are_read_by_their_writers_schema() {
    let mut count = 0;
    for row in rows(include_str!("golden/json_sr_matrix.tsv")) {
        let [ty, text, value, wanted] = row[..] else { panic!("{row:?}") };
        let text = format!(r#"{{"type":"object","properties":{{"c":{text}}}}}"#);
        let body: String = format!(r#"{{"c":{value}}}"#).bytes().map(|b| format!("{b:02x}")).collect();
        let found = decode(Format::JsonSr, &format!("C {ty}"), &schema(SchemaType::Json, &text), &body, false);
        match (found, wanted.strip_prefix("bad")) {
            (Ok(row), _) => assert_eq!(row, format!(r#"{{"C":{wanted}}}"#), "{value} by {text} as {ty}"),
            (Err(reason), Some(why)) if why.contains("Cannot deserialize") => assert_eq!(reason, why.trim()),
            (Err(reason), wanted) => assert!(wanted.is_some(), "{value} by {text} as {ty}: {reason}"),
        }
        count += 1;
    }
    assert!(count > 200, "{count} rows");
}

#[test]
fn json_payloads_follow_connects_rules() {
    let int32 = r#"{"type":"object","properties":{"c":{"type":"integer","connect.type":"int32"}}}"#;
    let long = r#"{"type":"object","properties":{"c":{"type":"integer"}}}"#;
    let union = r#"{"type":"object","properties":{"c":{"oneOf":[{"type":"object","properties":{"x":{"type":"integer"}}},
        {"type":"object","properties":{"y":{"type":"integer"}}},{"type":"string"}]}}}"#;
    let struct_of_union = "C STRUCT<`IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.1` STRUCT<Y BIGINT>, \
                           `IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.2` STRING>";
    let decimal = r#"{"type":"object","properties":{"c":{"type":"number","title":"org.apache.kafka.connect.data.Decimal",
        "connect.type":"bytes","connect.parameters":{"scale":"2","connect.decimal.precision":"5"}}}}"#;
    let other = r#"{"type":"object","properties":{"z":{"type":"integer"}}}"#;
    let text = r#"{"type":"object","properties":{"c":{"type":"string","minLength":5}},"required":["c"]}"#;
    let map = r#"{"type":"object","properties":{"c":{"type":"array","connect.type":"map","items":{"type":"object",
        "properties":{"key":{"oneOf":[{"type":"null"},{"type":"string"}]},"value":{"type":"integer","connect.type":"int32"}}}}}}"#;
    let cases = [
        ("missing", int32, "C INT", "{}", Some(r#"{"C":null}"#)),
        ("extra", int32, "C INT", r#"{"c":1,"d":[2]}"#, Some(r#"{"C":1}"#)),
        ("not in the schema", other, "C INT", r#"{"c":1,"z":2}"#, Some(r#"{"C":null}"#)),
        ("null payload", long, "C BIGINT", "null", None),
        ("null that is not nullable", long, "C BIGINT", r#"{"c":null}"#, None),
        ("no JSON", long, "C BIGINT", "{", None),
        ("nothing", long, "C BIGINT", "", None),
        ("text behind", long, "C BIGINT", r#"{"c":1} x"#, Some(r#"{"C":1}"#)),
        ("twice", long, "C BIGINT", r#"{"c":1,"c":2}"#, Some(r#"{"C":2}"#)),
        ("other case", long, "C BIGINT", r#"{"C":1}"#, Some(r#"{"C":null}"#)),
        ("not validated", text, "C STRING", r#"{"c":"a"}"#, Some(r#"{"C":"a"}"#)),
        ("required and missing", text, "C STRING", "{}", Some(r#"{"C":null}"#)),
        ("escapes", text, "C STRING", r#"{ "\u0063" : "a\tb\u00e9" }"#, Some("{\"C\":\"a\\tb\u{e9}\"}")),
        (
            "union",
            union,
            struct_of_union,
            r#"{"c":{"y":3}}"#,
            Some(
                r#"{"C":{"IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.1":{"Y":3},"IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.2":null}}"#,
            ),
        ),
        (
            "union of a text",
            union,
            struct_of_union,
            r#"{"c":"t"}"#,
            Some(
                r#"{"C":{"IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.1":null,"IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.2":"t"}}"#,
            ),
        ),
        ("decimal of a base64 text", decimal, "C DECIMAL(6, 3)", r#"{"c":"BOI="}"#, Some(r#"{"C":12.500}"#)),
        ("decimal that is too fine", decimal, "C DECIMAL(5, 1)", r#"{"c":12.55}"#, None),
        (
            "entries",
            map,
            "C MAP<STRING, BIGINT>",
            r#"{"c":[{"key":"k","value":7},{"value":1,"key":"l"}]}"#,
            Some(r#"{"C":{"k":7,"l":1}}"#),
        ),
        (
            "entries of one key",
            map,
            "C MAP<STRING, BIGINT>",
            r#"{"c":[{"key":"k","value":7},{"key":"k","value":8}]}"#,
            Some(r#"{"C":{"k":8}}"#),
        ),
        ("an object where entries are", map, "C MAP<STRING, BIGINT>", r#"{"c":{"k":7}}"#, None),
    ];
    for (name, text, columns, payload, wanted) in cases {
        let body: String = payload.bytes().map(|b| format!("{b:02x}")).collect();
        let found = decode(Format::JsonSr, columns, &schema(SchemaType::Json, text), &body, false);
        assert_eq!(found.clone().ok().as_deref(), wanted, "{name}: {found:?}");
    }
}

#[test]
fn bytes_are_those_that_ksqldb_writes() {
    for row in rows(include_str!("golden/encode.tsv")) {
        let [name, representation, unwrapped, columns, value, wanted] = row[..] else { panic!("{row:?}") };
        let (format, unwrapped) = (format(name), unwrapped == "unwrapped");
        let by = derivation(None, nullable(representation), unwrapped);
        let text = columns_to_schema(format, &column_list(columns), &by).expect("the columns have a schema");
        let wire = Wire { nullable: nullable(representation), ..one(1, text, vec![], false) };
        let found = encode(format, columns, &wire, value, unwrapped);
        assert_eq!(found.unwrap_or_else(|_| "bad".to_owned()), wanted, "{name} {representation} {columns} {value}");
    }
}

#[test]
fn a_schema_that_is_given_by_its_id_is_written_as_it_is() {
    for row in rows(include_str!("golden/physical.tsv")) {
        let [name, columns, full_name, value, text, wanted] = row[..] else { panic!("{row:?}") };
        let format = format(name);
        let schema = schema(format.schema_type().expect("it has schemas"), text);
        let path = match format {
            Format::Protobuf => {
                tidegate::format::schema::message_path(&schema, given(full_name)).expect("it is there").1
            }
            _ => vec![],
        };
        let found = encode(format, columns, &one(2, schema, path, true), value, false);
        assert_eq!(found.unwrap_or_else(|reason| format!("bad {reason}")), wanted, "{name} {columns} {value}");
    }
}
