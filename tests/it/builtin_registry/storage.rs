//! The topic: what survives kill -9, what Confluent's registry has written, two processes at once.

use super::{Client, error, record};
use crate::http::Server;
use serde_json::json;
use std::sync::Arc;
use tidegate::catalog::{Guid, SchemaText, SchemaType};
use tidegate::log::embedded::EmbeddedLog;
use tidegate::log::{Log, RecordSet, TopicSpec};
use tidegate::registry::Schemas;
use tidegate::registry::builtin::{Builtin, Filter, Record, TOPIC};
use tidegate::types::clock::SystemClock;

#[test]
fn ids_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let place = ["--data", directory.path().to_str().unwrap()];
    let server = Server::at(&place);
    let client = Client::of(&server);
    client.register("t", &record(&["a"]));
    client.register("t", &record(&["a", "b=?"]));
    client.put("/config/t", json!({ "compatibility": "FULL" }));
    client.delete("/subjects/t/versions/1");
    client.register("u", "\"int\"");
    client.delete("/subjects/u");
    client.delete("/subjects/u?permanent=true");
    let all = ["/schemas?deleted=true", "/subjects?deleted=true", "/config/t", "/subjects/t/versions?deleted=true"];
    let before: Vec<_> = all.iter().map(|path| client.get(path)).collect();
    // Dropping the server is kill -9.
    drop(server);
    let server = Server::at(&place);
    let client = Client::of(&server);
    assert_eq!(all.iter().map(|path| client.get(path)).collect::<Vec<_>>(), before);
    assert_eq!(client.get("/schemas/ids/3"), error(404, 40403, "Schema 3 not found"));
    assert_eq!(client.register("v", "\"long\""), 4, "the id of what is gone is not assigned again");
}

/// Keys and values as Confluent's registry 7 writes them.
const FOREIGN: &[(&str, Option<&str>)] = &[
    (r#"{"keytype":"NOOP","magic":0}"#, None),
    (
        r#"{"keytype":"SCHEMA","subject":"t-value","version":1,"magic":1}"#,
        Some(
            r#"{"subject":"t-value","version":1,"id":5,"schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}","deleted":false}"#,
        ),
    ),
    (
        r#"{"keytype":"SCHEMA","subject":"j-value","version":1,"magic":1}"#,
        Some(
            r#"{"subject":"j-value","version":1,"id":6,"md5":"x","guid":"89791762-2336-4186-9674-299b90a802e2","schemaType":"JSON","references":[],"metadata":{"tags":null},"schema":"{\"type\":\"object\"}","deleted":false}"#,
        ),
    ),
    (
        r#"{"keytype":"SCHEMA","subject":"p-value","version":1,"magic":1}"#,
        Some(
            r#"{"subject":"p-value","version":1,"id":9,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\";\n\nmessage M {\n  int32 x = 1;\n}\n","deleted":false}"#,
        ),
    ),
    (r#"{"keytype":"CONFIG","subject":null,"magic":0}"#, Some(r#"{"compatibilityLevel":"FORWARD"}"#)),
    (
        r#"{"keytype":"CONFIG","subject":"t-value","magic":0}"#,
        Some(r#"{"subject":"t-value","compatibilityLevel":"NONE"}"#),
    ),
    (r#"{"keytype":"MODE","subject":"j-value","magic":0}"#, Some(r#"{"subject":"j-value","mode":"READONLY"}"#)),
    (r#"{"keytype":"DELETE_SUBJECT","subject":"p-value","magic":0}"#, Some(r#"{"subject":"p-value","version":1}"#)),
    (
        r#"{"keytype":"CONTEXT","tenant":"default","context":".","magic":0}"#,
        Some(r#"{"tenant":"default","context":"."}"#),
    ),
    ("not json", Some("x")),
    (
        r#"{"keytype":"SCHEMA","subject":"bad","version":1,"magic":1}"#,
        Some(r#"{"subject":"bad","version":1,"id":5,"schema":"\"int\"","deleted":false}"#),
    ),
];

fn foreign(log: &dyn Log) {
    log.create_topic(&TopicSpec::new(TOPIC, 1).with("cleanup.policy", "compact")).unwrap();
    let mut set = RecordSet::default();
    FOREIGN.iter().for_each(|(key, value)| set.push(0, 1, Some(key.as_bytes()), value.map(str::as_bytes)));
    log.append(TOPIC, &set).unwrap();
}

fn schema(text: &str) -> SchemaText {
    SchemaText { kind: SchemaType::Avro, text: text.into(), references: Vec::new() }
}

#[test]
fn a_topic_of_confluents_registry_is_taken_over() {
    let log: Arc<dyn Log> = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    foreign(&*log);
    let registry = Builtin::new(log.clone(), SystemClock::shared());
    assert_eq!(registry.subjects().unwrap(), ["j-value", "t-value"]);
    assert_eq!(registry.subject_names("", Filter::All).unwrap(), ["j-value", "p-value", "t-value"]);
    assert_eq!(registry.latest("t-value").unwrap().id, 5);
    assert_eq!(registry.by_id(9, None).unwrap().kind, SchemaType::Protobuf, "soft-deleted ids resolve");
    let guid = Guid::parse("89791762-2336-4186-9674-299b90a802e2").unwrap();
    assert_eq!(registry.by_guid(guid).unwrap().kind, SchemaType::Json, "what Confluent's registry assigned");
    let names = |subject| (registry.level(subject, true).unwrap().name(), registry.mode(subject, true).unwrap().name());
    assert_eq!(names(None), ("FORWARD", "READWRITE"));
    assert_eq!((names(Some("t-value")).0, names(Some("j-value")).1), ("NONE", "READONLY"));
    // One text in other words is one schema; new ones go on from the largest id.
    let same = schema(r#"{"name":"R", "type":"record", "fields":[]}"#);
    assert_eq!(registry.register("x-value", &same).unwrap().id, 5);
    let refused = registry.register("x-value", &schema("\"int\"")).unwrap_err().to_string();
    assert!(refused.contains("TYPE_MISMATCH"), "{refused}");
    assert_eq!(registry.register("y-value", &schema("\"int\"")).unwrap().id, 10);
    // What is not understood is kept when the record is written again.
    assert_eq!(registry.delete_version("j-value", Some(1), false).unwrap(), 1);
    let kept = values(&*log).pop().unwrap();
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(
        (&kept["metadata"], &kept["md5"], &kept["deleted"]),
        (&json!({ "tags": null }), &json!("x"), &json!(true))
    );
}

fn values(log: &dyn Log) -> Vec<String> {
    use tidegate::log::{Assignment, Isolation, Start, TopicPartition};
    let all = Assignment { topic: TOPIC.into(), partition: 0, start: Start::Earliest };
    let mut reader = log.reader(vec![all], Isolation::ReadUncommitted).unwrap();
    let end = log.watermarks(&TopicPartition::new(TOPIC, 0)).unwrap().high;
    let mut values = Vec::new();
    while reader.position(0) < end {
        for run in reader.poll(100, std::time::Duration::from_millis(50)).unwrap().runs() {
            run.for_each(|record| values.extend(record.value.map(|value| String::from_utf8_lossy(value).into_owned())));
        }
    }
    values
}

#[test]
fn records_are_written_as_confluents_registry_writes_them() {
    for (key, value) in FOREIGN {
        let Ok(Some(record)) = Record::read(key.as_bytes(), value.map(str::as_bytes)) else { continue };
        let (written, _) = record.write();
        assert_eq!(written, *key, "compaction compares the bytes of keys");
        let again = Record::read(written.as_bytes(), record.write().1.as_deref().map(str::as_bytes));
        assert_eq!(again, Ok(Some(record)));
    }
    for (key, gone) in [
        (r#"{"keytype":"SCHEMA","subject":"t","version":2,"magic":1}"#, true),
        (r#"{"keytype":"CONFIG","subject":null,"magic":0}"#, true),
        (r#"{"keytype":"DELETE_SUBJECT","subject":"t","magic":0}"#, false),
    ] {
        assert_eq!(Record::read(key.as_bytes(), None).unwrap().is_some(), gone, "{key}");
    }
}

#[test]
fn two_processes_on_one_topic_agree() {
    let log: Arc<dyn Log> = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    let registries: Vec<Arc<Builtin>> =
        (0..2).map(|_| Arc::new(Builtin::new(log.clone(), SystemClock::shared()))).collect();
    let threads: Vec<_> = registries
        .iter()
        .cloned()
        .enumerate()
        .map(|(own, registry)| {
            std::thread::spawn(move || {
                for n in 0..40 {
                    // Every third schema is that of the other process, too.
                    let whose = if n % 3 == 0 { "both" } else { ["one", "two"][own] };
                    let text = format!(r#"{{"type":"record","name":"{whose}{n}","fields":[]}}"#);
                    registry.register(&format!("{own}-{n}"), &schema(&text)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let list = |registry: &Builtin| -> Vec<(String, i32, i32, Arc<str>)> {
        let found = registry.list("", Filter::All, false).unwrap();
        found.into_iter().map(|f| (f.subject, f.version.version, f.version.id, f.version.schema.text.clone())).collect()
    };
    // A process that reads the topic from its beginning sees what both have responded.
    let fresh = list(&Builtin::new(log.clone(), SystemClock::shared()));
    assert_eq!(fresh.len(), 80);
    for registry in &registries {
        registry.set_level(Some("read on to the end"), Default::default()).unwrap();
        assert_eq!(list(registry), fresh);
    }
    let texts: std::collections::BTreeMap<i32, &Arc<str>> = fresh.iter().map(|(_, _, id, text)| (*id, text)).collect();
    let distinct: std::collections::BTreeSet<&Arc<str>> = fresh.iter().map(|(_, _, _, text)| text).collect();
    assert_eq!(texts.len(), distinct.len(), "one id for one schema, one schema for one id");
    assert_eq!(distinct.len(), 80 - 14);
}

#[test]
fn a_topic_of_several_partitions_is_refused() {
    let log: Arc<dyn Log> = EmbeddedLog::in_memory(SystemClock::shared()).unwrap();
    log.create_topic(&TopicSpec::new(TOPIC, 2)).unwrap();
    let registry = Builtin::new(log, SystemClock::shared());
    let error = registry.subjects().unwrap_err().to_string();
    assert_eq!(error, "_schemas has 2 partitions, and needs exactly 1");
}
