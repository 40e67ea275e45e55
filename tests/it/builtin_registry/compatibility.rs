//! Checks of compatibility, as pure functions.
//!
//! `avro.jsonl` holds schemas of ours and what Avro's Java library 1.12.0 makes of them: canonical texts, errors, and what
//! `SchemaCompatibility` finds for pairs of reader and writer.

use serde_json::Value;
use tidegate::catalog::{SchemaText, SchemaType};
use tidegate::registry::compatibility::{Earlier, Level, avro, check, json, protobuf};
use tidegate::registry::schema::Parsed;
use tidegate::registry::schema::avro::AvroSchema;

const GOLDEN: &str = include_str!("avro.jsonl");

fn rows() -> impl Iterator<Item = Value> {
    GOLDEN.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn avro_texts_are_printed_and_refused_as_by_avros_library() {
    let texts: Vec<Value> = rows().filter(|row| row["text"].is_string()).collect();
    assert!(texts.len() > 30);
    for row in texts {
        let text = row["text"].as_str().unwrap();
        let read = AvroSchema::parse(text, [], true).map(|schema| schema.canonical());
        match (&row["canonical"], &row["error"]) {
            (Value::String(canonical), _) => assert_eq!(read.as_ref(), Ok(canonical)),
            (_, Value::String(error)) => assert_eq!(read.as_ref(), Err(error)),
            // The library's message names a class or an offset.
            _ => assert!(read.is_err(), "{text}"),
        }
    }
}

#[test]
fn avro_pairs_are_judged_as_by_avros_library() {
    let pairs: Vec<Value> = rows().filter(|row| row["reader"].is_string()).collect();
    assert!(pairs.len() > 300);
    for row in pairs {
        let schema = |name: &str| AvroSchema::parse(row[name].as_str().unwrap(), [], true).unwrap();
        let found = avro::differences(&schema("reader"), &schema("writer"));
        let found: Vec<String> =
            found.iter().map(|d| format!("{} {} {}", d.kind, d.path, d.info.as_deref().unwrap_or_default())).collect();
        assert_eq!(Value::from(found), row["differences"], "{} reads {}", row["reader"], row["writer"]);
    }
}

fn parsed(kind: SchemaType, text: &str) -> Parsed {
    let schema = SchemaText { kind, text: text.into(), references: Vec::new() };
    Parsed::parse(&schema, true).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The kinds and paths of what is found when `new` reads `old`.
fn found(kind: SchemaType, new: &str, old: &str) -> String {
    let differences = match (parsed(kind, new), parsed(kind, old)) {
        (Parsed::Protobuf(new), Parsed::Protobuf(old)) => protobuf::differences(&new, &old),
        (Parsed::Json(new), Parsed::Json(old)) => json::differences(&new, &old),
        _ => unreachable!("both are of one kind"),
    };
    differences.iter().map(|d| format!("{} {}", d.kind, d.path)).collect::<Vec<_>>().join("; ")
}

#[test]
fn protobuf_is_compared_by_numbers_and_kinds_on_the_wire() {
    let body = |text: &str| {
        format!("syntax = \"proto3\"; message A {{ {text} }} message B {{ int32 q = 1; }} enum E {{ Z = 0; }}")
    };
    let cases = [
        // Names, additions and removals do not matter.
        ("int32 y = 1;", "int32 x = 1;", ""),
        ("int32 x = 1; string z = 2;", "int32 x = 1;", ""),
        ("", "int32 x = 1;", ""),
        // One kind on the wire.
        ("int64 x = 1;", "int32 x = 1;", ""),
        ("bool x = 1;", "uint64 x = 1;", ""),
        ("E x = 1;", "int32 x = 1;", ""),
        ("bytes x = 1;", "string x = 1;", ""),
        ("sfixed32 x = 1;", "fixed32 x = 1;", ""),
        // Several.
        ("string x = 1;", "int32 x = 1;", "FIELD_SCALAR_KIND_CHANGED #/A/1"),
        ("sint32 x = 1;", "int32 x = 1;", "FIELD_SCALAR_KIND_CHANGED #/A/1"),
        ("fixed64 x = 1;", "fixed32 x = 1;", "FIELD_SCALAR_KIND_CHANGED #/A/1"),
        ("double x = 1;", "float x = 1;", "FIELD_SCALAR_KIND_CHANGED #/A/1"),
        ("B x = 1;", "int32 x = 1;", "FIELD_KIND_CHANGED #/A/1"),
        ("map<string, int32> x = 1;", "repeated B x = 1;", "FIELD_KIND_CHANGED #/A/1"),
        ("map<string, string> x = 1;", "map<string, int32> x = 1;", "FIELD_SCALAR_KIND_CHANGED #/A/1"),
        ("map<string, int64> x = 1;", "map<string, int32> x = 1;", ""),
        ("A x = 1;", "B x = 1;", "FIELD_NAMED_TYPE_CHANGED #/A/1"),
        // Labels that are written.
        ("repeated int32 x = 1;", "optional int32 x = 1;", "FIELD_NUMERIC_LABEL_CHANGED #/A/1"),
        ("repeated string x = 1;", "optional string x = 1;", ""),
        // Oneofs.
        ("oneof o { int32 x = 1; }", "int32 x = 1;", ""),
        ("oneof o { int32 x = 1; int32 y = 2; }", "int32 x = 1; int32 y = 2;", "MULTIPLE_FIELDS_MOVED_TO_ONEOF #/A/o"),
        (
            "oneof o { int32 x = 1; int32 y = 2; }",
            "oneof o { int32 x = 1; } int32 y = 2;",
            "FIELD_MOVED_TO_EXISTING_ONEOF #/A/o",
        ),
        ("oneof o { int32 x = 1; }", "oneof o { int32 x = 1; int32 y = 2; }", "ONEOF_FIELD_REMOVED #/A/o/2"),
        ("oneof o { int32 x = 1; int32 y = 2; }", "oneof o { int32 x = 1; }", ""),
        ("int32 x = 1; int32 y = 2;", "oneof o { int32 x = 1; int32 y = 2; }", ""),
        ("oneof o { string x = 1; }", "oneof o { int32 x = 1; }", "FIELD_SCALAR_KIND_CHANGED #/A/1"),
        // Within.
        ("message C { string x = 1; }", "message C { int32 x = 1; }", "FIELD_SCALAR_KIND_CHANGED #/A/C/1"),
        ("", "message C { int32 x = 1; }", "MESSAGE_REMOVED #/A/C"),
    ];
    for (new, old, expected) in cases {
        assert_eq!(found(SchemaType::Protobuf, &body(new), &body(old)), expected, "{new} reads {old}");
    }
    let required = "syntax = \"proto2\"; message A { required int32 x = 1; }";
    let empty = "syntax = \"proto2\"; package other; message A { }";
    assert_eq!(found(SchemaType::Protobuf, required, empty), "REQUIRED_FIELD_ADDED #/A/1");
    assert_eq!(found(SchemaType::Protobuf, empty, required), "REQUIRED_FIELD_REMOVED #/A/1");
    assert_eq!(found(SchemaType::Protobuf, empty, "syntax = \"proto3\"; message A {} enum F { Z = 0; }"), "");
}

#[test]
fn json_is_compared_by_types_properties_and_limits() {
    let object = |rest: &str| format!(r#"{{"type":"object","properties":{{"a":{{"type":"string"}}}}{rest}}}"#);
    let two = |rest: &str| {
        format!(r#"{{"type":"object","properties":{{"a":{{"type":"string"}},"b":{{"type":"string"}}}}{rest}}}"#)
    };
    let closed = r#","additionalProperties":false"#;
    let cases = [
        (object(""), object(""), ""),
        (object(r#","title":"x","description":"y""#), object(""), ""),
        // Open objects may hold anything under the new name.
        (two(""), object(""), "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL #/properties/b"),
        (two(r#","required":["b"]"#), object(""), "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL #/properties/b"),
        (object(""), two(""), ""),
        (two(closed), object(closed), ""),
        (object(closed), two(closed), "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL #/properties/b"),
        (object(closed), object(""), "ADDITIONAL_PROPERTIES_REMOVED #/additionalProperties"),
        (object(""), object(closed), ""),
        (
            two(r#","required":["b"],"additionalProperties":false"#),
            object(closed),
            "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL #/properties/b",
        ),
        (object(r#","required":["a"]"#), object(""), "REQUIRED_ATTRIBUTE_ADDED #/required/a"),
        (object(""), object(r#","required":["a"]"#), ""),
        (two(""), object(r#","additionalProperties":{"type":"string"}"#), "ADDITIONAL"),
        (r#"{"type":"number"}"#.into(), r#"{"type":"integer"}"#.into(), ""),
        (r#"{"type":"integer"}"#.into(), r#"{"type":"number"}"#.into(), "TYPE_NARROWED #"),
        (r#"{"type":"string"}"#.into(), r#"{"type":"number"}"#.into(), "TYPE_CHANGED #"),
        (r#"{}"#.into(), r#"{"type":"number"}"#.into(), ""),
        (r#"true"#.into(), r#"{"type":"number"}"#.into(), ""),
        (r#"{"type":"number"}"#.into(), r#"{}"#.into(), "TYPE_CHANGED #"),
        (r#"{"type":["string","null"]}"#.into(), r#"{"type":"string"}"#.into(), ""),
        (r#"{"type":"string"}"#.into(), r#"{"type":["string","null"]}"#.into(), "TYPE_CHANGED #"),
        (
            r#"{"type":["string","null"]}"#.into(),
            r#"{"type":["string","null","integer"]}"#.into(),
            "SUM_TYPE_NARROWED #",
        ),
        (r#"{"enum":["a","b"]}"#.into(), r#"{"enum":["a"]}"#.into(), ""),
        (r#"{"enum":["a"]}"#.into(), r#"{"enum":["a","b"]}"#.into(), "ENUM_ARRAY_NARROWED #/enum"),
        (r#"{"enum":["a"]}"#.into(), r#"{"const":"b"}"#.into(), "ENUM_ARRAY_CHANGED #/enum"),
        (r#"{"type":"string","maxLength":5}"#.into(), r#"{"type":"string"}"#.into(), "MAX_LENGTH_ADDED #/maxLength"),
        (
            r#"{"type":"string","maxLength":5}"#.into(),
            r#"{"type":"string","maxLength":6}"#.into(),
            "MAX_LENGTH_DECREASED #/maxLength",
        ),
        (r#"{"type":"string","maxLength":6}"#.into(), r#"{"type":"string","maxLength":5}"#.into(), ""),
        (
            r#"{"type":"number","minimum":1}"#.into(),
            r#"{"type":"number","minimum":0}"#.into(),
            "MINIMUM_INCREASED #/minimum",
        ),
        (r#"{"type":"number","multipleOf":2}"#.into(), r#"{"type":"number","multipleOf":4}"#.into(), ""),
        (
            r#"{"type":"number","multipleOf":4}"#.into(),
            r#"{"type":"number","multipleOf":2}"#.into(),
            "MULTIPLE_OF_EXPANDED #/multipleOf",
        ),
        (
            r#"{"type":"array","items":{"type":"string"}}"#.into(),
            r#"{"type":"array","items":{"type":"number"}}"#.into(),
            "TYPE_CHANGED #/items",
        ),
        (r#"{"type":"array","items":[{}]}"#.into(), r#"{"type":"array"}"#.into(), "KEYWORD_NOT_COMPARED #/items"),
        (
            r#"{"oneOf":[{"type":"null"},{"type":"string"}]}"#.into(),
            r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#.into(),
            "",
        ),
        (r#"{"oneOf":[{"type":"null"},{"type":"string"}]}"#.into(), r#"{"type":"string"}"#.into(), ""),
        (
            r#"{"oneOf":[{"type":"null"}]}"#.into(),
            r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#.into(),
            "SUM_TYPE_NARROWED #",
        ),
        (
            r#"{"allOf":[{"type":"string"},{"maxLength":3}]}"#.into(),
            r#"{"allOf":[{"type":"string"}]}"#.into(),
            "PRODUCT_TYPE_EXTENDED #",
        ),
        (r#"{"allOf":[{"type":"string"}]}"#.into(), r#"{"allOf":[{"type":"string"},{"maxLength":3}]}"#.into(), ""),
        // What is not compared is incompatible, and says so.
        (
            r#"{"type":"object","patternProperties":{"^a":{}}}"#.into(),
            r#"{"type":"object"}"#.into(),
            "KEYWORD_NOT_COMPARED #/patternProperties",
        ),
        (r#"{"type":"object"}"#.into(), r#"{"type":"object","propertyNames":{"maxLength":3}}"#.into(), ""),
        // A recursive schema is compared once.
        (
            r##"{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}}}}}"##.into(),
            r##"{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}}}}}"##.into(),
            "",
        ),
    ];
    for (new, old, expected) in cases {
        let found = found(SchemaType::Json, &new, &old);
        match expected {
            "ADDITIONAL" => assert!(found.is_empty(), "{new} reads {old}: covered by additionalProperties: {found}"),
            expected => assert_eq!(found, expected, "{new} reads {old}"),
        }
    }
}

#[test]
fn a_level_says_in_which_direction_and_how_far() {
    let of = |fields: &str| parsed(SchemaType::Avro, &format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#));
    let (a, ab) = (r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#);
    let (one, two) = (of(a), of(ab));
    let messages =
        |new: &Parsed, old: &Parsed, level| check(new, &[Earlier { version: 3, text: "T", schema: old }], level);
    assert!(messages(&one, &two, Level::Backward).is_empty() && !messages(&two, &one, Level::Backward).is_empty());
    assert!(messages(&two, &one, Level::Forward).is_empty() && !messages(&one, &two, Level::Forward).is_empty());
    assert!(messages(&two, &one, Level::None).is_empty());
    let both = messages(&two, &one, Level::Full);
    assert_eq!(
        both[1..],
        ["{oldSchemaVersion: 3}", "{oldSchema: 'T'}", "{validateFields: 'false', compatibility: 'FULL'}"]
    );
    let forward = messages(&one, &two, Level::ForwardTransitive);
    assert!(
        forward[0].contains("in the old schema has no default value and is missing in the new schema"),
        "{forward:?}"
    );
    // The first incompatible one, latest first.
    let earlier =
        [Earlier { version: 2, text: "two", schema: &two }, Earlier { version: 1, text: "one", schema: &one }];
    assert!(check(&two, &earlier, Level::Backward).is_empty());
    assert_eq!(check(&two, &earlier, Level::BackwardTransitive)[1], "{oldSchemaVersion: 1}");
    let long = "x".repeat(20_000);
    let quoted = &check(&two, &[Earlier { version: 1, text: &long, schema: &one }], Level::Backward)[2];
    assert!(quoted.starts_with("{oldSchema: <truncated> 'xxx") && quoted.len() < 11_000);
}
