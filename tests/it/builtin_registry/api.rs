//! Every endpoint with its codes and texts.

use super::{Client, error, record};
use crate::http::Server;
use serde_json::{Value, json};

#[test]
fn schemas_are_registered_and_read() {
    let server = Server::start();
    let client = Client::of(&server);
    assert_eq!(client.get("/subjects"), (200, json!([])));
    let spaced = r#"{ "type" : "record", "name": "n.A", "fields": [ {"type": "int", "name": "x"} ] }"#;
    let canonical = r#"{"type":"record","name":"A","namespace":"n","fields":[{"name":"x","type":"int"}]}"#;
    assert_eq!(client.post("/subjects/t-value/versions", json!({ "schema": spaced })), (200, json!({ "id": 1 })));
    // Again, in other words, and under another subject: one id.
    assert_eq!(client.register("t-value", canonical), 1);
    assert_eq!(client.register("u-value", spaced), 1);
    let nullable = json!({ "schema": format!("[\"null\",{canonical}]") });
    assert_eq!(client.post("/subjects/t-value/versions", nullable), (200, json!({ "id": 2 })));
    let described = json!({ "subject": "t-value", "version": 1, "id": 1, "schema": canonical });
    assert_eq!(client.get("/subjects/t-value/versions/1"), (200, described.clone()));
    assert_eq!(client.post("/subjects/t-value", json!({ "schema": spaced })), (200, described));
    assert_eq!(client.get("/subjects/t-value/versions/latest").1["version"], 2);
    assert_eq!(client.get("/subjects/t-value/versions/-1").1["id"], 2);
    assert_eq!(client.get("/subjects/t-value/versions/1/schema"), (200, serde_json::from_str(canonical).unwrap()));
    assert_eq!(client.get("/subjects/t-value/versions"), (200, json!([1, 2])));
    assert_eq!(client.get("/subjects"), (200, json!(["t-value", "u-value"])));
    assert_eq!(client.get("/subjects?subjectPrefix=u"), (200, json!(["u-value"])));
    assert_eq!(client.get("/subjects?subjectPrefix=:*:&offset=1&limit=5"), (200, json!(["u-value"])));
    assert_eq!(client.get("/schemas/ids/1"), (200, json!({ "schema": canonical })));
    assert_eq!(client.get("/schemas/ids/1?fetchMaxId=true&subject=t-value").1["maxId"], 2);
    assert_eq!(client.get("/schemas/ids/1/schema"), (200, serde_json::from_str(canonical).unwrap()));
    assert_eq!(client.get("/schemas/ids/1/subjects"), (200, json!(["t-value", "u-value"])));
    let both = json!([{ "subject": "t-value", "version": 1 }, { "subject": "u-value", "version": 1 }]);
    assert_eq!(client.get("/schemas/ids/1/versions"), (200, both));
    let listed = client.get("/schemas?subjectPrefix=t&latestOnly=true").1;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["version"]), (1, &json!(2)));
    assert_eq!(client.get("/schemas/types"), (200, json!(["JSON", "PROTOBUF", "AVRO"])));
    assert_eq!((client.get(""), client.get("/")), ((200, json!({})), (200, json!({}))));
    assert_eq!(client.get("/contexts"), (200, json!(["."])));
    assert!(client.get("/v1/metadata/id").1["scope"]["clusters"]["kafka-cluster"].is_string());
    assert_eq!(client.get("/v1/metadata/version").1["version"], env!("CARGO_PKG_VERSION"));
    let associations = "/associations/resources/-/t?resourceType=topic&associationType=value";
    assert_eq!(client.get(associations), error(404, 40410, "Association for 't' not found."));
}

#[test]
fn schemas_have_guids_for_clients_that_know_them() {
    let server = Server::start();
    let old = Client::of(&server);
    let new = Client { takes_unknown: true, ..Client::of(&server) };
    // What Confluent's registry derives.
    let guid = "ef524ea1-b91e-7317-3d93-8ade36c1db32";
    let registered = json!({ "id": 1, "version": 1, "guid": guid });
    assert_eq!(new.post("/subjects/t-value/versions", json!({ "schema": "\"int\"" })), (200, registered));
    assert_eq!(old.post("/subjects/u-value/versions", json!({ "schema": "\"int\"" })), (200, json!({ "id": 1 })));
    assert_eq!(new.get("/subjects/u-value/versions/1").1["guid"], guid);
    assert_eq!(new.get("/schemas/ids/1"), (200, json!({ "guid": guid, "schema": "\"int\"" })));
    assert_eq!(old.get("/schemas/ids/1"), (200, json!({ "schema": "\"int\"" })));
    assert_eq!(old.get(&format!("/schemas/guids/{guid}")), (200, json!({ "schema": "\"int\"" })));
    assert_eq!(old.get(&format!("/schemas/guids/{guid}/ids")), (200, json!([{ "context": ".", "id": 1 }])));
    for unknown in ["ef524ea1-b91e-7317-3d93-8ade36c1db33", "x"] {
        let missing = error(404, 40403, &format!("Schema {unknown} not found"));
        assert_eq!(old.get(&format!("/schemas/guids/{unknown}")), missing);
    }
    // Another schema that refers to it, by its direct references.
    let referring = json!({ "schema": "\"int\"", "references": [{ "name": "x", "subject": "t-value", "version": 1 }] });
    let other = new.post("/subjects/t-value/versions", referring).1;
    assert!(other["id"] == 2 && other["guid"] != guid, "{other}");
}

#[test]
fn what_is_missing_or_wrong_has_a_code_and_a_text() {
    let server = Server::start();
    let client = Client::of(&server);
    client.register("t-value", &record(&["a"]));
    let no_subject = error(404, 40401, "Subject 'none' not found.");
    for path in ["/subjects/none/versions", "/subjects/none/versions/1", "/subjects/none/versions/latest/schema"] {
        assert_eq!(client.get(path), no_subject, "{path}");
    }
    assert_eq!(client.post("/subjects/none", json!({ "schema": "\"int\"" })), no_subject);
    assert_eq!(client.delete("/subjects/none"), no_subject);
    assert_eq!(client.get("/subjects/t-value/versions/9"), error(404, 40402, "Version 9 not found."));
    assert_eq!(client.delete("/subjects/t-value/versions/9"), error(404, 40402, "Version 9 not found."));
    assert_eq!(client.get("/schemas/ids/99"), error(404, 40403, "Schema 99 not found"));
    assert_eq!(client.get("/schemas/ids/99/subjects"), error(404, 40403, "Schema 99 not found"));
    assert_eq!(client.post("/subjects/t-value", json!({ "schema": "\"int\"" })), error(404, 40403, "Schema not found"));
    let version = |text: &str| {
        format!(
            "The specified version '{text}' is not a valid version id. Allowed values are between [1, 2^31-1] and the \
             string \"latest\""
        )
    };
    for wrong in ["0", "-2", "first", "99999999999"] {
        assert_eq!(client.get(&format!("/subjects/t-value/versions/{wrong}")), error(422, 42202, &version(wrong)));
    }
    let register = |body: Value| client.post("/subjects/t-value/versions", body);
    assert_eq!(register(json!({})), error(422, 42201, "Empty schema"));
    assert_eq!(register(json!({ "schema": " " })), error(422, 42201, "Empty schema"));
    let nope = "Invalid schema of type AVRO, details: Type not supported: nope";
    assert_eq!(register(json!({ "schema": "{\"type\":\"nope\"}" })), error(422, 42201, nope));
    let wrong = "Invalid schema of type JSON, details: #/type: unknown type: \"nope\"";
    assert_eq!(register(json!({ "schemaType": "JSON", "schema": "{\"type\":\"nope\"}" })), error(422, 42201, wrong));
    let (status, body) = register(json!({ "schemaType": "PROTOBUF", "schema": "message {" }));
    assert!(
        status == 422 && body["message"].as_str().unwrap().starts_with("Invalid schema of type PROTOBUF, "),
        "{body}"
    );
    assert_eq!(register(json!({ "schemaType": "X", "schema": "x" })), error(422, 42201, "Invalid schema type X"));
    let rules = "ruleSet is not supported by the built-in schema registry";
    assert_eq!(register(json!({ "schema": "\"int\"", "ruleSet": {} })), error(422, 42210, rules));
    assert_eq!(register(json!({ "schema": "\"int\"", "ruleSet": null, "metadata": null })).0, 409, "nothing is given");
    let default = "Invalid schema of type AVRO, details: Invalid default for field a: 1 not a \"string\"";
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string","default":1}]}"#;
    assert_eq!(register(json!({ "schema": schema })), error(422, 42201, default));
    for body in ["[]", "\"x\"", "1"] {
        let (status, body) = client.post("/subjects/t-value/versions", serde_json::from_str(body).unwrap());
        assert_eq!((status, &body["error_code"]), (400, &json!(400)), "{body}");
    }
    let (status, body) = client.post(&format!("/subjects/{}/versions", "a%0Ab"), json!({ "schema": "\"int\"" }));
    assert_eq!((status, &body["error_code"]), (422, &json!(42208)), "{body}");
    // Names of subjects are taken as they are, once decoded.
    client.register("a%2Fb%20c%3F", "\"int\"");
    assert_eq!(client.get("/subjects?subjectPrefix=a"), (200, json!(["a/b c?"])));
}

#[test]
fn incompatible_schemas_are_refused_with_confluents_words() {
    let server = Server::start();
    let client = Client::of(&server);
    let (old, new) = (record(&["a"]), record(&["a", "x"]));
    client.register("t-value", &old);
    let difference = "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'x' at path '/fields/1' in the \
                      new schema has no default value and is missing in the old schema', additionalInfo:'x'}";
    let quoted = format!("{{oldSchema: '{old}'}}");
    let level = "{validateFields: 'false', compatibility: 'BACKWARD'}";
    let text = format!(
        "Schema being registered is incompatible with an earlier schema for subject \"t-value\", details: [{difference}, \
         {{oldSchemaVersion: 1}}, {quoted}, {level}]"
    );
    let body = json!({ "schema": new });
    assert_eq!(client.post("/subjects/t-value/versions", body.clone()), error(409, 40901, &text));
    for path in ["versions/latest", "versions/1", "versions"] {
        let path = format!("/compatibility/subjects/t-value/{path}");
        assert_eq!(client.post(&path, body.clone()), (200, json!({ "is_compatible": false })), "{path}");
        let messages = json!([difference, "{oldSchemaVersion: 1}", quoted, level]);
        let verbose = client.post(&format!("{path}?verbose=true"), body.clone());
        assert_eq!(verbose, (200, json!({ "is_compatible": false, "messages": messages })), "{path}");
    }
    let ok = json!({ "schema": record(&["a", "x=?"]) });
    let compatible = client.post("/compatibility/subjects/t-value/versions/latest?verbose=true", ok.clone());
    assert_eq!(compatible, (200, json!({ "is_compatible": true, "messages": [] })));
    assert_eq!(client.post("/subjects/t-value/versions", ok), (200, json!({ "id": 2 })));
    // A subject that does not exist is compatible with everything; a version that does not is missing.
    let anything = json!({ "schema": "\"int\"" });
    let latest = client.post("/compatibility/subjects/none/versions/latest", anything.clone());
    assert_eq!(latest, (200, json!({ "is_compatible": true })));
    let missing = client.post("/compatibility/subjects/none/versions/1", anything.clone());
    assert_eq!(missing, error(404, 40401, "Subject 'none' not found."));
    let missing = client.post("/compatibility/subjects/t-value/versions/7", anything);
    assert_eq!(missing, error(404, 40402, "Version 7 not found."));
    // Another language is never compatible.
    let (status, body) = client.post("/subjects/t-value/versions", json!({ "schemaType": "JSON", "schema": "{}" }));
    assert!(status == 409 && body["message"].as_str().unwrap().contains("different schema type"), "{body}");
}

#[test]
fn levels_are_global_or_of_a_subject() {
    let server = Server::start();
    let client = Client::of(&server);
    assert_eq!(client.get("/config"), (200, json!({ "compatibilityLevel": "BACKWARD" })));
    let none = error(404, 40408, "Subject 't-value' does not have subject-level compatibility configured");
    assert_eq!(client.get("/config/t-value"), none);
    let inherited = client.get("/config/t-value?defaultToGlobal=true");
    assert_eq!(inherited, (200, json!({ "compatibilityLevel": "BACKWARD" })));
    let set = |path: &str, level: &str| client.put(path, json!({ "compatibility": level }));
    assert_eq!(set("/config/t-value", "full"), (200, json!({ "compatibility": "FULL" })));
    assert_eq!(client.get("/config/t-value"), (200, json!({ "compatibilityLevel": "FULL" })));
    let invalid = "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, \
                   forward_transitive, and full_transitive";
    assert_eq!(set("/config", "SIDEWAYS"), error(422, 42203, invalid));
    assert_eq!(set("/config", "NONE"), (200, json!({ "compatibility": "NONE" })));
    // NONE takes anything, FULL does not.
    client.register("u-value", "\"int\"");
    client.register("u-value", "\"string\"");
    client.register("t-value", &record(&["a"]));
    let (status, body) = client.post("/subjects/t-value/versions", json!({ "schema": record(&[]) }));
    assert!(
        status == 409 && body["message"].as_str().unwrap().contains("in the old schema has no default value"),
        "{body}"
    );
    assert_eq!(client.delete("/config/t-value"), (200, json!({ "compatibilityLevel": "FULL" })));
    assert_eq!(client.delete("/config/t-value"), error(404, 40401, "Subject 't-value' not found."));
    assert_eq!(client.delete("/config"), (200, json!({ "compatibilityLevel": "NONE" })));
    assert_eq!(client.get("/config"), (200, json!({ "compatibilityLevel": "BACKWARD" })));
}

#[test]
fn transitive_levels_compare_all_versions() {
    let server = Server::start();
    let client = Client::of(&server);
    client.put("/config", json!({ "compatibility": "NONE" }));
    client.register("t", &record(&["a", "b"]));
    client.register("t", &record(&["a"]));
    let check = |level: &str, fields: &[&str]| {
        client.put("/config/t", json!({ "compatibility": level }));
        let body = json!({ "schema": record(fields) });
        client.post("/compatibility/subjects/t/versions", body).1["is_compatible"].as_bool().unwrap()
    };
    // It reads the latest version, and the first one, whose b it drops.
    assert!(check("BACKWARD", &["a"]) && check("BACKWARD_TRANSITIVE", &["a"]));
    // The latest version reads it; the first one misses b.
    assert!(check("FORWARD", &["a", "c"]) && !check("FORWARD_TRANSITIVE", &["a", "c"]));
    assert!(check("FORWARD_TRANSITIVE", &["a", "b"]) && !check("FULL", &["a", "b"]));
    assert!(check("FULL", &["a", "c=?"]) && !check("FULL_TRANSITIVE", &["a", "c=?"]));
    assert!(!check("BACKWARD_TRANSITIVE", &["a:int"]) && check("NONE", &["a:int"]));
}

#[test]
fn modes_decide_what_is_registered() {
    let server = Server::start();
    let client = Client::of(&server);
    assert_eq!(client.get("/mode"), (200, json!({ "mode": "READWRITE" })));
    let none = error(404, 40409, "Subject 't' does not have subject-level mode configured");
    assert_eq!(client.get("/mode/t"), none);
    assert_eq!(client.get("/mode/t?defaultToGlobal=true"), (200, json!({ "mode": "READWRITE" })));
    let given = json!({ "schema": "\"int\"", "id": 7, "version": 3 });
    let refused = error(422, 42205, "Subject t is not in import mode");
    assert_eq!(client.post("/subjects/t/versions", given.clone()), refused);
    assert_eq!(client.put("/mode", json!({ "mode": "IMPORT" })), (200, json!({ "mode": "IMPORT" })));
    assert_eq!(client.post("/subjects/t/versions", given), (200, json!({ "id": 7 })));
    assert_eq!(client.get("/subjects/t/versions/3").1["id"], 7);
    let other = json!({ "schema": "\"string\"", "id": 7 });
    let taken = error(422, 42205, "Overwrite new schema with id 7 is not permitted.");
    assert_eq!(client.post("/subjects/u/versions", other), taken);
    // Nothing is compared, and the version is the next one.
    let next = json!({ "schema": "\"string\"", "id": 100 });
    assert_eq!(client.post("/subjects/t/versions", next), (200, json!({ "id": 100 })));
    assert_eq!(client.get("/subjects/t/versions"), (200, json!([3, 4])));
    let without = error(422, 42205, "Subject t is not in read-write mode");
    assert_eq!(client.post("/subjects/t/versions", json!({ "schema": "\"long\"" })), without);
    assert_eq!(client.put("/mode", json!({ "mode": "READWRITE" })).0, 200);
    assert_eq!(client.register("u", "\"boolean\""), 101, "the largest id + 1");
    let found = error(422, 42205, "Cannot import since found existing subjects");
    assert_eq!(client.put("/mode", json!({ "mode": "IMPORT" })), found);
    assert_eq!(client.put("/mode/u", json!({ "mode": "IMPORT" })), found);
    assert_eq!(client.put("/mode/u?force=true", json!({ "mode": "IMPORT" })).0, 200);
    assert_eq!(client.delete("/mode/u"), (200, json!({ "mode": "IMPORT" })));
    assert_eq!(client.put("/mode/t", json!({ "mode": "readonly" })), (200, json!({ "mode": "READONLY" })));
    let read_only = error(422, 42205, "Subject t is in read-only mode");
    assert_eq!(client.post("/subjects/t/versions", json!({ "schema": "\"bytes\"" })), read_only);
    // What is there is found in any mode.
    assert_eq!(client.register("t", "\"string\""), 100);
    let invalid = "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE, and IMPORT.";
    assert_eq!(client.put("/mode", json!({ "mode": "X" })), error(422, 42204, invalid));
}

#[test]
fn deletion_is_soft_first() {
    let server = Server::start();
    let client = Client::of(&server);
    client.register("t", &record(&["a"]));
    client.register("t", &record(&["a", "b=?"]));
    let kept = "Subject 't' Version 1 was not deleted first before being permanently deleted";
    assert_eq!(client.delete("/subjects/t/versions/1?permanent=true"), error(404, 40407, kept));
    assert_eq!(client.delete("/subjects/t/versions/1"), (200, json!(1)));
    let gone = "Subject 't' Version 1 was soft deleted.Set permanent=true to delete permanently";
    assert_eq!(client.delete("/subjects/t/versions/1"), error(404, 40406, gone));
    assert_eq!(client.get("/subjects/t/versions"), (200, json!([2])));
    assert_eq!(client.get("/subjects/t/versions?deleted=true"), (200, json!([1, 2])));
    assert_eq!(client.get("/subjects/t/versions?deletedOnly=true"), (200, json!([1])));
    assert_eq!(client.get("/subjects/t/versions/1"), error(404, 40402, "Version 1 not found."));
    assert_eq!(client.get("/subjects/t/versions/1?deleted=true").0, 200);
    assert_eq!(client.get("/schemas/ids/1").0, 200, "payloads still name it");
    let kept = "Subject 't' was not deleted first before being permanently deleted";
    assert_eq!(client.delete("/subjects/t?permanent=true"), error(404, 40405, kept));
    assert_eq!(client.delete("/subjects/t"), (200, json!([2])));
    let gone = "Subject 't' was soft deleted.Set permanent=true to delete permanently";
    assert_eq!(client.delete("/subjects/t"), error(404, 40404, gone));
    assert_eq!(
        (client.get("/subjects"), client.get("/subjects?deleted=true")),
        ((200, json!([])), (200, json!(["t"])))
    );
    let (schema, path) = (json!({ "schema": record(&["a"]) }), "/subjects/t");
    assert_eq!(client.post(path, schema.clone()), error(404, 40401, "Subject 't' not found."));
    assert_eq!(client.post("/subjects/t?deleted=true", schema).1["version"], 1);
    // Registered again it is a new version with its old id.
    assert_eq!(client.register("t", &record(&["a"])), 1);
    assert_eq!(client.get("/subjects/t/versions/latest").1["version"], 3);
    assert_eq!(client.delete("/subjects/t"), (200, json!([3])));
    assert_eq!(client.delete("/subjects/t?permanent=true"), (200, json!([1, 2, 3])));
    assert_eq!(client.get("/schemas/ids/1"), error(404, 40403, "Schema 1 not found"));
    assert_eq!(client.register("t", "\"int\""), 3, "an id is never assigned again");
    assert_eq!(client.get("/subjects/t/versions"), (200, json!([1])));
}

#[test]
fn references_are_resolved_and_keep_what_they_name() {
    let server = Server::start();
    let client = Client::of(&server);
    let address = r#"{"type":"record","name":"Address","fields":[{"name":"street","type":"string"}]}"#;
    client.register("address", address);
    let person = r#"{"type":"record","name":"Person","fields":[{"name":"home","type":"Address"}]}"#;
    let reference = json!({ "name": "Address", "subject": "address", "version": 1 });
    let body = json!({ "schema": person, "references": [reference] });
    let (_, alone) = client.post("/subjects/person/versions", json!({ "schema": person }));
    assert!(alone["message"].as_str().unwrap().contains("\"Address\" is not a defined name"), "{alone}");
    assert_eq!(client.post("/subjects/person/versions", body.clone()), (200, json!({ "id": 2 })));
    let described = client.post("/subjects/person", body).1;
    assert_eq!((&described["references"], &described["schema"]), (&json!([reference]), &json!(person)));
    assert_eq!(client.get("/schemas/ids/2").1["references"], json!([reference]));
    assert_eq!(client.get("/subjects/address/versions/1/referencedby"), (200, json!([2])));
    let kept = "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=address,version=1}.";
    assert_eq!(client.delete("/subjects/address/versions/1"), error(422, 42206, kept));
    assert_eq!(client.delete("/subjects/address"), error(422, 42206, kept));
    let missing =
        json!({ "schema": person, "references": [{ "name": "Address", "subject": "address", "version": 9 }] });
    let why = "Invalid schema of type AVRO, details: No schema reference found for subject \"address\" and version 9";
    assert_eq!(client.post("/subjects/person/versions", missing), error(422, 42201, why));
    assert_eq!(client.delete("/subjects/person"), (200, json!([1])));
    assert_eq!(client.delete("/subjects/address"), (200, json!([1])), "nothing refers to it any more");
    // Imports of Protobuf and $refs of JSON go the same way.
    let common = "syntax = \"proto3\"; package c; message Id { int64 n = 1; }";
    client.post("/subjects/common/versions", json!({ "schemaType": "PROTOBUF", "schema": common }));
    let order = "syntax = \"proto3\"; import \"common.proto\"; message Order { c.Id id = 1; }";
    let import = json!([{ "name": "common.proto", "subject": "common", "version": -1 }]);
    let body = json!({ "schemaType": "PROTOBUF", "schema": order, "references": import });
    assert_eq!(client.post("/subjects/order/versions", body).0, 200);
    assert_eq!(client.get("/subjects/order/versions/1").1["references"][0]["version"], 1, "-1 is the latest");
    let alone = json!({ "schemaType": "PROTOBUF", "schema": order });
    assert_eq!(client.post("/subjects/order/versions", alone).1["error_code"], 42201);
}

#[test]
fn a_protobuf_schema_has_two_forms_and_one_id() {
    let server = Server::start();
    let client = Client::of(&server);
    let text = "syntax = \"proto3\";\npackage p;\n// with a comment\nmessage A { int32 x = 1; map<string, B> m = 2; \
                oneof o { string s = 3; B b = 4; } optional int64 y = 5; enum E { Z = 0; } repeated E e = 6;\n message B {} }";
    let register = |schema: &Value| {
        let body = json!({ "schemaType": "PROTOBUF", "schema": schema });
        client.post("/subjects/a/versions", body)
    };
    assert_eq!(register(&json!(text)), (200, json!({ "id": 1 })));
    assert_eq!(client.get("/schemas/ids/1"), (200, json!({ "schemaType": "PROTOBUF", "schema": text })));
    let descriptor = client.get("/schemas/ids/1?format=serialized").1["schema"].clone();
    assert!(!descriptor.as_str().unwrap().contains(';'), "{descriptor}");
    assert_eq!(register(&descriptor), (200, json!({ "id": 1 })), "the same schema, as Python sends it");
    // What was registered as a descriptor is read as text by the others, and means the same.
    let second = Server::start();
    let other = Client::of(&second);
    let body = json!({ "schemaType": "PROTOBUF", "schema": descriptor });
    assert_eq!(other.post("/subjects/a/versions", body), (200, json!({ "id": 1 })));
    let read = other.get("/schemas/ids/1").1["schema"].as_str().unwrap().to_owned();
    assert!(
        read.starts_with("syntax = \"proto3\";\npackage p;\n") && read.contains("map<string, .p.A.B> m = 2;"),
        "{read}"
    );
    assert!(read.contains("optional int64 y = 5;") && read.contains("oneof o {"), "{read}");
    assert_eq!(register(&json!(read)), (200, json!({ "id": 1 })));
    assert_eq!(other.get("/schemas/ids/1?format=serialized").1["schema"], descriptor);
}

#[test]
fn normalized_texts_are_one_schema() {
    let server = Server::start();
    let client = Client::of(&server);
    let register = |schema: &str, normalize: &str| {
        let body = json!({ "schemaType": "JSON", "schema": schema });
        client.post(&format!("/subjects/t/versions?normalize={normalize}"), body).1["id"].as_i64().unwrap()
    };
    let (one, other) = (r#"{"type":"object","title":"T"}"#, r#"{"title":"T","type":"object"}"#);
    assert_eq!(register(one, "false"), 1);
    assert_eq!(register(other, "True"), 1, "the order of names does not count");
    assert_eq!(register(other, "False"), 2, "as it was written it does");
}

#[test]
fn a_registry_elsewhere_takes_the_place_of_this_one() {
    let server = Server::at(&["--temp", "--set", "ksql.schema.registry.url=http://127.0.0.1:9"]);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let response = agent.get(format!("http://{}/schema-registry/subjects", server.address)).call().unwrap();
    assert_eq!(response.status(), 404);
    let text = response.into_body().read_to_string().unwrap();
    assert!(
        text.contains("the built-in schema registry is not used") && text.contains("ksql.schema.registry.url"),
        "{text}"
    );
    let server = Server::at(&["--temp", "--set", "ksql.schema.registry.url=built-in"]);
    assert_eq!(Client::of(&server).get("/subjects"), (200, json!([])));
}
