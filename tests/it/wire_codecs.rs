//! The codecs against rows that ksqlDB's own serializers wrote (`golden.tsv`), and against themselves.

use crate::wire::{Referenced, Schema, SchemaKind, unframe};
use serde_json::{Value, json};

/// Format, nullable representation, schema, and the payloads of [`full`] and of a row of NULLs, with frames of id 1.
/// In the last two rows the bytes of `BY` are ours: the program that ran the serializers handed over a buffer already read.
const GOLDEN: &str = include_str!("../support/wire/golden.tsv");

fn full() -> Value {
    serde_json::from_str(
        r#"{"B":true,"I":1,"L":2,"D":1.5,"DEC":12.50,"S":"hi","BY":"AQI=","DT":2,"TM":1000,"TS":1234,"A":[1,2],"M":{"k":7}}"#,
    )
    .expect("the tree is JSON")
}

/// What is read back of NULLs: where a format cannot write NULL, the default.
fn nulls(format: &str, nullable: &str) -> Value {
    let mut tree = full();
    for (name, value) in tree.as_object_mut().expect("the tree is an object") {
        *value = match (format, nullable, name.as_str()) {
            ("PROTOBUF", _, "A") => json!([]),
            ("PROTOBUF", _, "M") => json!({}),
            ("PROTOBUF", "", "B") => json!(false),
            ("PROTOBUF", "", "I" | "L") => json!(0),
            ("PROTOBUF", "", "D") => json!(0.0),
            ("PROTOBUF", "", "S" | "BY") => json!(""),
            _ => Value::Null,
        };
    }
    tree
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("it is ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("it is hexadecimal")).collect()
}

fn schema(kind: &str, text: &str) -> Schema {
    Schema::parse(SchemaKind::named(kind).expect("the format is known"), text, &[]).expect("the schema can be read")
}

fn back(schema: &Schema, bytes: &[u8]) -> Value {
    let (_, payload) = unframe(bytes).expect("it has a frame");
    schema.decode(payload).expect("the payload can be read")
}

#[test]
fn what_ksqldb_wrote_is_written_and_read_alike() {
    assert_eq!(GOLDEN.lines().count(), 5);
    for line in GOLDEN.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [format, nullable, text, of_full, of_nulls] = columns[..] else { panic!("a row has five columns: {line}") };
        let schema = schema(format, text);
        let expected = nulls(format, nullable);
        for (tree, bytes) in [(full(), of_full), (json!({}), of_nulls)] {
            let written = schema.encode(1, None, &tree).expect("the tree can be written");
            match format {
                // The order of properties is the schema's, which ksqlDB takes from a hash map.
                "JSON_SR" => {
                    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(&bytes[5..]).expect("it is JSON");
                    assert_eq!(read(&written), read(&unhex(bytes)), "{format} {nullable}");
                }
                _ => assert_eq!(hex(&written), bytes, "{format} {nullable}"),
            }
        }
        assert_eq!(back(&schema, &unhex(of_full)), full(), "{format} {nullable}");
        assert_eq!(back(&schema, &unhex(of_nulls)), expected, "{format} {nullable}");
    }
}

#[test]
fn numbers_of_avro_are_zigzag_and_decimals_take_the_fewest_bytes() {
    let long = schema("AVRO", "\"long\"");
    for (n, bytes) in [(0i64, "00"), (-1, "01"), (1, "02"), (63, "7e"), (64, "8001"), (-65, "8101")] {
        let written = long.encode(7, None, &json!(n)).expect("it can be written");
        assert_eq!(hex(&written), format!("0000000007{bytes}"));
        assert_eq!(back(&long, &written), json!(n));
    }
    let decimal = schema("AVRO", r#"{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}"#);
    for (text, bytes) in
        [("0.00", "0200"), ("1.27", "027f"), ("1.28", "040080"), ("-1.28", "0280"), ("-1.29", "04ff7f")]
    {
        let tree: Value = serde_json::from_str(text).expect("it is a number");
        let written = decimal.encode(7, None, &tree).expect("it can be written");
        assert_eq!(hex(&written), format!("0000000007{bytes}"), "{text}");
        assert_eq!(back(&decimal, &written).to_string(), text);
    }
    assert!(decimal.encode(7, None, &json!(1.255)).is_err());
}

#[test]
fn maps_unions_enums_and_names_of_avro_are_read() {
    let text = r#"{"type":"record","name":"R","namespace":"n","fields":[
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
        {"name":"again","type":["null","E"]},
        {"name":"m","type":{"type":"map","values":["null","int"]}},
        {"name":"f","type":{"type":"fixed","name":"x.F","size":2}},
        {"name":"next","type":["null","R"]}]}"#;
    let schema = schema("AVRO", text);
    let tree = json!({"e":"B","again":"A","m":{"k":1,"n":null},"f":"AQI=","next":
        {"e":"A","again":null,"m":{},"f":"AAA=","next":null}});
    let written = schema.encode(1, None, &tree).expect("it can be written");
    assert_eq!(hex(&written[5..]), "020200040 26b0202026e0000010202000000000000".replace(' ', ""));
    assert_eq!(back(&schema, &written), tree);
    assert!(schema.encode(1, None, &json!({"e":"C"})).is_err());
    // A block with a negative count says its size, too.
    let ints = Schema::parse(SchemaKind::Avro, r#"{"type":"array","items":"int"}"#, &[]).expect("it can be read");
    assert_eq!(ints.decode(&unhex("0304020400")).expect("it can be read"), json!([1, 2]));
    assert!(ints.decode(&unhex("0402")).is_err());
}

#[test]
fn messages_are_found_by_name_and_by_index() {
    let text = r#"syntax = "proto3"; package p; // the first is not the one that is written
        message A { int32 x = 1; message In { string s = 2; } }
        message B { optional int64 y = 3; oneof o { string q = 4; A.In in = 5; } repeated sint32 z = 6; Color c = 7;
          map<string, double> m = 8; float f = 9; fixed64 g = 10; other.E e = 11; }
        /* enum */ enum Color { RED = 0; BLUE = 5 [deprecated = true]; } service S { rpc M (A) returns (B) {} }"#;
    let other = Referenced {
        name: "other.proto".to_owned(),
        text: "syntax = \"proto3\"; package other; message E { bool b = 1; }".to_owned(),
    };
    let schema =
        Schema::parse(SchemaKind::Protobuf, text, std::slice::from_ref(&other)).expect("the schema can be read");
    let tree = json!({"Y":0,"O_0":{"in":{"S":"s"}},"z":[-1,1],"c":"BLUE","m":{"k":1.5},"f":0.5,"g":3,"e":{"b":true}});
    let written = schema.encode(1, Some("p.B"), &tree).expect("it can be written");
    assert_eq!(hex(&written[5..8]), "020218");
    let read =
        json!({"y":0,"o_0":{"q":null,"in":{"s":"s"}},"z":[-1,1],"c":"BLUE","m":{"k":1.5},"f":0.5,"g":3,"e":{"b":true}});
    assert_eq!(back(&schema, &written), read);
    let nested = schema.encode(1, Some("p.A.In"), &json!({"s":"x"})).expect("it can be written");
    assert_eq!(hex(&nested[5..]), "0400001201 78".replace(' ', ""));
    assert_eq!(back(&schema, &nested), json!({"s":"x"}));
    assert!(schema.encode(1, Some("p.C"), &json!({})).is_err());
    assert_eq!(schema.decode(&unhex("0202")).expect("it can be read")["y"], Value::Null);
    assert!(schema.decode(&unhex("0208")).is_err());
}

#[test]
fn json_is_written_as_its_schema_says() {
    let text = r##"{"type":"object","properties":{
        "m":{"type":"object","connect.type":"map","additionalProperties":{"type":"integer"}},
        "n":{"oneOf":[{"type":"null"},{"type":"string"}]},"o":{"type":"string"},"d":{"$ref":"#/definitions/D"}},
        "definitions":{"D":{"type":"number","title":"org.apache.kafka.connect.data.Decimal","connect.type":"bytes",
            "connect.parameters":{"scale":"2"}}}}"##;
    let schema = schema("JSON", text);
    let written = schema.encode(3, None, &json!({"M":{"k":1},"D":"05.1","unknown":1})).expect("it can be written");
    assert_eq!(std::str::from_utf8(&written[5..]), Ok(r#"{"m":{"k":1},"n":null,"d":5.10}"#));
}
