//! Damaged schemas and payloads of PROTOBUF and JSON_SR: no panic, no hang, no memory, and nothing of a bad record in the columns; and
//! the bombs that an attacker who knows the formats would send.

use super::Dice;
use super::registry::{column_list, decode, schema, shared};
use crate::alone::{Memory, alone};
use std::time::Duration;
use tidegate::catalog::{Format, SchemaText, SchemaType, Wire};
use tidegate::format::schema::{Inference, schema_to_columns};
use tidegate::format::{Decoder, Side};
use tidegate::types::clock::SystemClock;

const SCHEMAS: &[&str] = &[
    r#"syntax = "proto3"; package p.q; import "google/protobuf/wrappers.proto"; import "confluent/type/decimal.proto";
       message A { int32 a = 1; repeated string b = 2; map<string, B> m = 3; oneof o { B c = 4; string d = 5; }
       confluent.type.Decimal e = 6 [(confluent.field_meta) = {params: [{key: "precision", value: "8"}]}];
       message B { A next = 1; E e = 2; google.protobuf.StringValue s = 3; } enum E { X = 0; Y = -1; } reserved 9, 10 to max; }"#,
    r#"syntax = "proto2"; message A { required int32 p = 1; optional string s = 2 [default = "d"]; repeated double r = 4 [packed=true];
       optional group G = 3 { optional int32 z = 1; } extensions 100 to 199; } extend A { optional int32 x = 100; }
       service S { rpc R (A) returns (A) {} }"#,
    "Cgd0LnByb3RvIhUKAU0SDAoBYxgBIAEoBVIBYxIMCgFk",
    r##"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"array","items":{"$ref":"#/$defs/d"}},
        "m":{"type":"array","connect.type":"map","items":{"type":"object","properties":{"key":{"type":["null","string"]},
        "value":{"oneOf":[{"type":"null"},{"type":"number"}]}}}},"u":{"oneOf":[{"type":"integer"},{"$ref":"#"}]},
        "x":{"allOf":[{"properties":{"y":{"const":1}}},{"$ref":"#/$defs/d"}]}},"$defs":{"d":{"type":"object","properties":{"e":{}}}}}"##,
];

const TOKENS: &[&[u8]] = &[
    b"message",
    b"{",
    b"}",
    b"\"",
    b"[",
    b"]",
    b"<",
    b"oneof",
    b"map<",
    b"=",
    b";",
    b"\\",
    b"/*",
    b"//",
    b"import",
    b"$ref",
    b"#",
    b"oneOf",
    b"allOf",
    b"null",
    b"0",
    b"-1",
    b"99999999999999999999",
    b".",
    b"google.protobuf.Value",
    b"\xff",
    b"\x0a",
    b"\x0b",
    b"\x0c",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"{\"a\":",
    b":",
    b",",
];

fn damaged(dice: &mut Dice, of: &[u8]) -> Vec<u8> {
    let mut bytes = of.to_vec();
    for _ in 0..1 + dice.roll(4) {
        let at = dice.roll(bytes.len() + 1);
        let until = (at + dice.roll(6)).min(bytes.len());
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..until)),
            2 => drop(bytes.splice(at..until, dice.pick(TOKENS).iter().copied())),
            3 => {
                let piece = bytes[at..until].repeat(1 + dice.roll(50));
                drop(bytes.splice(at..at, piece));
            }
            _ if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            _ => {}
        }
    }
    bytes
}

fn kind_of(text: &str) -> SchemaType {
    if text.starts_with('{') { SchemaType::Json } else { SchemaType::Protobuf }
}

fn infer(text: &SchemaText) -> Result<Vec<(String, tidegate::types::SqlType)>, String> {
    schema_to_columns(text, &Inference { key: false, unwrapped: false, full_name: None, upper_case: true })
}

#[test]
fn damaged_schemas_are_refused_or_read() {
    let (dice, mut read) = (&mut Dice(17), 0);
    for n in 0..20_000 {
        let of = SCHEMAS[n % SCHEMAS.len()];
        let bytes = damaged(dice, of.as_bytes());
        let text = String::from_utf8_lossy(&bytes);
        let found = infer(&schema(kind_of(of), &text));
        read += usize::from(found.is_ok());
    }
    assert!(read > 100, "{read} are still schemas");
}

/// The rows that a decoder makes of payloads are those of the good ones alone.
#[test]
fn damaged_payloads_leave_nothing_behind() {
    let protobuf = r#"syntax = "proto3"; import "google/protobuf/wrappers.proto"; import "google/type/date.proto";
        message A { int32 a = 1; repeated string b = 2; map<string, int64> m = 3; N n = 4; A next = 5; oneof o { int32 p = 6;
        string q = 7; } google.protobuf.Int32Value w = 8; google.type.Date d = 9; repeated sint64 r = 10; string unread = 11;
        message N { double x = 1; repeated N y = 2; } }"#;
    let columns = "A INT, B ARRAY<STRING>, M MAP<STRING, BIGINT>, N STRUCT<X DOUBLE>, O_0 STRUCT<P INT, Q STRING>, W INT, D DATE, R ARRAY<BIGINT>";
    let payload = b"\0\x08\x05\x12\x01a\x12\x02bc\x1a\x05\x0a\x01k\x10\x01\x1a\x05\x0a\x01l\x10\x02\x22\x09\x09\0\0\0\0\0\0\xf8\x3f\
        \x2a\x02\x08\x07\x3a\x01q\x42\x02\x08\x09\x4a\x07\x08\xe8\x0f\x10\x02\x18\x1d\x52\x03\x02\x04\x05\x5a\x01u";
    undamaged(Format::Protobuf, &schema(SchemaType::Protobuf, protobuf), columns, payload);
    let json = r#"{"type":"object","properties":{"a":{"type":"integer","connect.type":"int32"},"b":{"type":"array","items":{"type":"string"}},
        "m":{"type":"array","connect.type":"map","items":{"type":"object","properties":{"key":{"type":["null","string"]},
        "value":{"type":["null","integer"]}}}},"n":{"type":["null","object"],"properties":{"x":{"type":"number"}}},
        "o":{"type":["integer","string"]},"z":{"type":"string"}}}"#;
    let columns = "A INT, B ARRAY<STRING>, M MAP<STRING, BIGINT>, N STRUCT<X DOUBLE>, O STRUCT<`IO.CONFLUENT.CONNECT.JSON.ONEOF.FIELD.0` BIGINT>";
    let payload = br#"{"a":5,"b":["a","bc\n"],"m":[{"key":"k","value":1},{"value":null,"key":"l"}],"n":{"x":1.5},"o":"q","z":"u"}"#;
    undamaged(Format::JsonSr, &schema(SchemaType::Json, json), columns, payload);
}

fn undamaged(format: Format, text: &SchemaText, columns: &str, payload: &[u8]) {
    let columns = column_list(columns);
    let wire = Wire::default();
    let side = Side { format, columns: &columns, unwrapped: false, wire: &wire };
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let decoder = || Decoder::of(side, &wanted, &shared(text.clone())).expect("the columns can be read");
    let (mut mixed, mut alone, dice) = (decoder(), decoder(), &mut Dice(4));
    let (mut good, mut bad) = (0, 0);
    for n in 0..20_000 {
        let body = if n % 7 == 0 { payload.to_vec() } else { damaged(dice, payload) };
        let framed = [&[0, 0, 0, 0, 1][..], &body].concat();
        match mixed.push(Some(&framed)) {
            Ok(()) => {
                alone.push(Some(&framed)).expect("what is good is good alone");
                good += 1;
            }
            Err(found) => {
                assert!(!found.reason.is_empty());
                bad += 1;
            }
        }
        if n % 64 == 63 {
            let (mixed, alone) = (mixed.finish(), alone.finish());
            assert_eq!(mixed.0, alone.0, "batch up to {n}");
        }
    }
    assert!(good > 3000 && bad > 1000, "{good} good, {bad} bad");
}

/// Protobuf texts and JSON schemas that multiply, repeat themselves or nest; each is refused in a moment.
fn schema_bombs() -> Vec<(&'static str, SchemaType, String)> {
    let proto = |text: String| format!("syntax = \"proto3\"; {text}");
    let doubling = |n: usize| {
        (0..n).map(|i| format!("message M{i} {{ M{j} a = 1; M{j} b = 2; }} ", j = i + 1)).collect::<String>()
            + &format!("message M{n} {{ int32 x = 1; }}")
    };
    let chain = |n: usize| {
        (0..n).map(|i| format!("message M{i} {{ M{j} a = 1; }} ", j = i + 1)).collect::<String>()
            + &format!("message M{n} {{ int32 x = 1; }}")
    };
    let definitions = |n: usize| {
        let one = |i: usize| {
            format!(
                r##""d{i}":{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d{j}"}},"b":{{"$ref":"#/$defs/d{j}"}}}}}},"##,
                j = i + 1
            )
        };
        format!(
            r##"{{"$ref":"#/$defs/d0","$defs":{{{}"d{n}":{{"type":"integer"}}}}}}"##,
            (0..n).map(one).collect::<String>()
        )
    };
    vec![
        ("messages that double", SchemaType::Protobuf, proto(doubling(60))),
        ("a long chain of messages", SchemaType::Protobuf, proto(chain(8_000))),
        ("open braces", SchemaType::Protobuf, proto("message M {".repeat(90_000))),
        (
            "open options",
            SchemaType::Protobuf,
            proto(format!("message M {{ int32 a = 1 [(o) = {}", "[".repeat(900_000))),
        ),
        ("a name of a mebibyte", SchemaType::Protobuf, proto(format!("message {} {{}}", "a".repeat(1_000_000)))),
        (
            "a package of many parts",
            SchemaType::Protobuf,
            proto(format!("package {}a; message M {{ N n = 1; }}", "a.".repeat(400_000))),
        ),
        ("a comment that is not closed", SchemaType::Protobuf, proto("/*".repeat(400_000))),
        (
            "an import of itself",
            SchemaType::Protobuf,
            proto("import \"a.proto\"; import \"a.proto\"; message M { M m = 1; }".into()),
        ),
        ("definitions that double", SchemaType::Json, definitions(60)),
        ("a reference to itself", SchemaType::Json, r##"{"$ref":"#"}"##.into()),
        ("a union of itself", SchemaType::Json, r##"{"oneOf":[{"$ref":"#"}]}"##.into()),
        ("a union of null and itself", SchemaType::Json, r##"{"oneOf":[{"type":"null"},{"$ref":"#"}]}"##.into()),
        ("all of itself", SchemaType::Json, r##"{"allOf":[{"$ref":"#"},{"$ref":"#"}]}"##.into()),
        ("items of itself", SchemaType::Json, r##"{"type":"array","items":{"$ref":"#"}}"##.into()),
        ("open brackets", SchemaType::Json, "[".repeat(1_000_000)),
        ("open objects", SchemaType::Json, r#"{"items":"#.repeat(100_000)),
    ]
}

#[test]
fn bombs_in_schemas_are_refused_in_a_moment() {
    alone(module_path!(), "bombs_in_schemas_are_refused_in_a_moment", Duration::from_secs(120), || {
        let memory = Memory::begin();
        for (name, kind, text) in schema_bombs() {
            let clock = SystemClock::shared();
            let begun = clock.monotonic();
            let found = infer(&schema(kind, &text));
            assert!(found.is_err(), "{name}");
            assert!(clock.monotonic() - begun < Duration::from_secs(20), "{name}: {:?}", clock.monotonic() - begun);
            // The same as a writer's schema: it may be read where its columns end.
            let format = if kind == SchemaType::Json { Format::JsonSr } else { Format::Protobuf };
            let read = decode(format, "X INT", &schema(kind, &text), "00", false);
            assert!(read.is_ok() || read.is_err_and(|reason| !reason.is_empty()), "{name}");
            assert!(clock.monotonic() - begun < Duration::from_secs(40), "{name}: {:?}", clock.monotonic() - begun);
            memory.check();
        }
    });
}

#[test]
fn bombs_in_payloads_are_refused_in_a_moment() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let protobuf = schema(
        SchemaType::Protobuf,
        r#"syntax = "proto3"; message M { int32 c = 1; M next = 2; repeated int32 r = 3; map<string, int32> m = 4; }"#,
    );
    // A message in a message, 200 deep: each is its length and the next.
    let mut nested = vec![];
    for _ in 0..200 {
        let mut outer = vec![0x12];
        let mut length = nested.len();
        while length >= 0x80 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    let entry = b"\x22\x05\x0a\x01k\x10\x01".repeat(100_000);
    let payloads: [(&str, Vec<u8>, bool); 7] = [
        ("messages 200 deep", nested, false),
        ("groups", b"\x2b".repeat(500_000), false),
        ("a length of two gibibytes", b"\x12\xff\xff\xff\xff\x07".to_vec(), false),
        (
            "a varint that does not end",
            b"\x08".iter().copied().chain(std::iter::repeat_n(0xFF, 100_000)).collect(),
            false,
        ),
        ("a hundred thousand entries of one key", entry, true),
        ("packed numbers", [&b"\x1a\xa0\x8d\x06"[..], &[0; 100_000]].concat(), true),
        ("message indexes without end", vec![0xFE; 50], false),
    ];
    for (name, payload, good) in payloads {
        let prefix: &[u8] = if name.starts_with("message indexes") { &[] } else { &[0] };
        let clock = SystemClock::shared();
        let begun = clock.monotonic();
        let body = hex(&[prefix, &payload].concat());
        let read = decode(Format::Protobuf, "C INT, R ARRAY<INT>, M MAP<STRING, INT>", &protobuf, &body, false);
        assert_eq!(read.is_ok(), good, "{name}: {:?}", read.map(|row| row.len()));
        assert!(clock.monotonic() - begun < Duration::from_secs(10), "{name}: {:?}", clock.monotonic() - begun);
    }
    let json =
        schema(SchemaType::Json, r##"{"type":"object","properties":{"c":{"type":"integer"},"n":{"$ref":"#"}}}"##);
    for (name, payload) in
        [("objects", r#"{"n":"#.repeat(500_000)), ("arrays", "[".repeat(1_000_000)), ("digits", "9".repeat(1_000_000))]
    {
        let read = decode(Format::JsonSr, "C BIGINT", &json, &hex(payload.as_bytes()), false);
        assert!(read.is_err(), "{name}");
    }
}
