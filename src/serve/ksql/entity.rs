//! Answers as ksqlDB's JSON entities.

use crate::catalog::Source;
use crate::connect::body::Plugin;
use crate::engine::result::connector::{ConnectorDescription, ConnectorEntity, ConnectorRow};
use crate::engine::result::entity::{
    DescribedSchema, Description, Entity, Explanation, FunctionHelp, FunctionRow, QueryRow, Reading, SchemaRow,
    Signature, StandbyFacts, Status, TopicRow,
};
use crate::parse::statement::SourceKind;
use crate::types::{Role, Schema, SqlType};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The entity of one statement; `None` for statements that return nothing (INSERT VALUES, SET). `host` is `HOST:PORT` of this
/// server: ksqlDB's clients require the state of a query on each host. The required fields are those of ksqlDB's classes in
/// `io.confluent.ksql.rest.entity`, which its clients read with a deserialiser that refuses an entity without them.
pub(in crate::serve) fn to_json(entity: &Entity, text: &str, host: &str) -> Option<Value> {
    let statement = format!("{text};");
    let mut value = match entity {
        Entity::Done => return None,
        Entity::Status(status) => current_status(status),
        Entity::AssertedTopic { topic, exists } => {
            json!({ "@type": "assert_topic", "topicName": topic, "exists": exists, "warnings": [] })
        }
        Entity::AssertedSchema { subject, id, exists } => {
            json!({ "@type": "assert_schema", "subject": subject, "id": id, "exists": exists, "warnings": [] })
        }
        Entity::Schemas(rows) => {
            json!({ "@type": "schemas", "schemas": rows.iter().map(schema_row).collect::<Vec<_>>() })
        }
        Entity::Connector(entity) => connector(entity),
        Entity::Warning(message) => json!({ "@type": "warning_entity", "message": message }),
        Entity::Sources(kind, sources) => {
            let (tag, list) = match kind {
                SourceKind::Stream => ("streams", "streams"),
                SourceKind::Table => ("tables", "tables"),
            };
            let rows: Vec<Value> = sources.iter().map(|s| source_row(s)).collect();
            json!({ "@type": tag, list: rows })
        }
        Entity::Topics(topics) => {
            let extended = topics.iter().any(|t| t.readers.is_some());
            let tag = if extended { "kafka_topics_extended" } else { "kafka_topics" };
            json!({ "@type": tag, "topics": topics.iter().map(topic_row).collect::<Vec<_>>() })
        }
        Entity::Queries(queries) => {
            json!({ "@type": "queries", "queries": queries.iter().map(query_row).collect::<Vec<_>>() })
        }
        Entity::Description(description) => {
            json!({ "@type": "sourceDescription", "sourceDescription": describe(description) })
        }
        Entity::Descriptions(all) => {
            json!({ "@type": "source_descriptions", "sourceDescriptions": all.iter().map(describe).collect::<Vec<_>>() })
        }
        Entity::PushTerminated(id) => json!({ "@type": "terminate_query", "queryId": id, "wasTerminated": true }),
        Entity::Properties(rows) => properties(rows),
        Entity::Variables(rows) => {
            let row = |(name, value): &(String, String)| json!({ "name": name, "value": value });
            json!({ "@type": "variables", "variables": rows.iter().map(row).collect::<Vec<_>>() })
        }
        Entity::Functions(rows) => {
            let row = |f: &FunctionRow| json!({ "name": f.name, "type": kind_of(f.kind), "category": "" });
            json!({ "@type": "function_names", "functions": rows.iter().map(row).collect::<Vec<_>>() })
        }
        Entity::Types(rows) => {
            let types: BTreeMap<_, _> = rows.iter().map(|(n, t)| (n.clone(), type_json(t))).collect();
            json!({ "@type": "type_list", "types": types })
        }
        Entity::Function(help) => function_help(help),
        Entity::Explanation(explanation) => {
            json!({ "@type": "queryDescription", "queryDescription": explain(explanation, host) })
        }
        Entity::Explanations(all) => {
            let all: Vec<_> = all.iter().map(|explanation| explain(explanation, host)).collect();
            json!({ "@type": "query_descriptions", "queryDescriptions": all })
        }
    };
    value["statementText"] = json!(statement);
    if value.get("warnings").is_none() {
        value["warnings"] = json!([]);
    }
    Some(value)
}

fn properties(rows: &[(String, String, &str)]) -> Value {
    let row = |(name, value, scope): &(String, String, &str)| json!({ "name": name, "scope": "KSQL", "value": value, "editable": true, "level": scope });
    let named = |from: &str| -> Vec<&str> {
        rows.iter().filter(|(_, _, scope)| *scope == from).map(|(name, ..)| name.as_str()).collect()
    };
    json!({
        "@type": "properties",
        "properties": rows.iter().map(row).collect::<Vec<_>>(),
        "overwrittenProperties": named("SESSION"),
        "defaultProperties": named("DEFAULT"),
    })
}

/// A kind that ksqlDB's clients know: they read no others.
fn kind_of(kind: &'static str) -> &'static str {
    if kind == "WINDOW" { "AGGREGATE" } else { kind }
}

fn function_help(help: &FunctionHelp) -> Value {
    let overload = |signature: &Signature| function(signature, &help.description);
    let example = |(call, result): &(&str, &str)| json!({ "call": call, "result": result });
    json!({
        "@type": "describe_function",
        "name": help.name,
        "description": help.description,
        "author": "",
        "version": "",
        "path": "internal",
        "type": kind_of(help.kind),
        "functions": help.signatures.iter().map(overload).collect::<Vec<_>>(),
        "examples": help.examples.iter().map(example).collect::<Vec<_>>(),
    })
}

fn current_status(status: &Status) -> Value {
    json!({
        "@type": "currentStatus",
        "commandId": status.command_id,
        "commandStatus": { "status": "SUCCESS", "message": status.message, "queryId": status.query_id },
        "commandSequenceNumber": status.sequence,
        "warnings": messages(&status.warnings),
    })
}

fn topic_row(topic: &TopicRow) -> Value {
    let mut row = json!({ "name": topic.name, "replicaInfo": vec![topic.replicas; topic.partitions as usize] });
    if let Some(readers) = topic.readers {
        row["consumerCount"] = json!(readers);
        row["consumerGroupCount"] = json!(readers);
    }
    if let Some(bytes) = topic.bytes {
        row["bytes"] = json!(bytes);
    }
    row
}

fn source_row(source: &Source) -> Value {
    json!({
        "type": kind(source.kind),
        "name": source.name,
        "topic": source.topic,
        "keyFormat": source.key_format.name(),
        "valueFormat": source.value_format.name(),
        "isWindowed": source.window.is_some(),
    })
}

fn kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "STREAM",
        SourceKind::Table => "TABLE",
    }
}

/// A state in ksqlDB's words, which its clients count: a query that waits for the broker is RUNNING there.
fn known_state(state: &str) -> &str {
    if state == "WAITING" { "RUNNING" } else { state }
}

fn query_row(query: &QueryRow) -> Value {
    // What it waits for, or why it has ended, is in a field that ksqlDB's clients ignore.
    let state = known_state(&query.state);
    let mut row = json!({
        "queryString": format!("{};", query.sql),
        "sinks": query.sink.iter().collect::<Vec<_>>(),
        "sinkKafkaTopics": query.sink_topic.iter().collect::<Vec<_>>(),
        "id": query.id,
        "statusCount": { state: 1 },
        "queryType": query.kind,
        "state": state,
    });
    if let Some(trouble) = &query.trouble {
        row["trouble"] = json!(trouble);
    }
    if let Some(host) = &query.host {
        row["host"] = json!(host);
    }
    if !query.standbys.is_empty() {
        let standby = |standby: &StandbyFacts| json!({ "host": standby.host, "lag": standby.lag });
        row["standbys"] = query.standbys.iter().map(standby).collect();
    }
    row
}

fn schema_row(row: &SchemaRow) -> Value {
    match row.latest {
        Some((version, id, kind)) => {
            json!({ "subject": row.subject, "version": version, "id": id, "type": kind.name() })
        }
        None => json!({ "subject": row.subject }),
    }
}

/// A schema of a source; ksqlDB has no such field.
fn described_schema(schema: &DescribedSchema) -> Value {
    let DescribedSchema { part, subject, version, id, kind, text, newer } = schema;
    json!({
        "part": part,
        "subject": subject,
        "version": version,
        "id": id,
        "type": kind.name(),
        "schema": &**text,
        "latestVersion": newer.unwrap_or(*version),
    })
}

/// A result of a statement about connectors, with its warnings.
fn connector(entity: &ConnectorEntity) -> Value {
    match entity {
        ConnectorEntity::Created(info) => json!({ "@type": "connector_info", "info": info, "warnings": [] }),
        ConnectorEntity::Dropped(name) => json!({ "@type": "drop_connector", "connectorName": name, "warnings": [] }),
        ConnectorEntity::List { rows, warnings } => json!({
            "@type": "connector_list",
            "connectors": rows.iter().map(connector_row).collect::<Vec<_>>(),
            "warnings": messages(warnings),
        }),
        ConnectorEntity::Plugins(plugins) => json!({
            "@type": "connector_plugins_list",
            "connectorsPlugins": plugins.iter().map(plugin).collect::<Vec<_>>(),
            "warnings": [],
        }),
        ConnectorEntity::Description(description) => {
            let ConnectorDescription { class, status, sources, topics, warnings } = &**description;
            json!({
                "@type": "connector_description",
                "connectorClass": class,
                "status": status,
                "sources": sources.iter().map(related).collect::<Vec<_>>(),
                "topics": topics,
                "warnings": messages(warnings),
            })
        }
    }
}

fn connector_row(row: &ConnectorRow) -> Value {
    json!({ "name": row.name, "type": row.kind, "className": row.class, "state": row.state })
}

fn plugin(plugin: &Plugin) -> Value {
    json!({ "className": plugin.class, "type": plugin.kind, "version": plugin.version })
}

fn messages(warnings: &[String]) -> Value {
    warnings.iter().map(|message| json!({ "message": message })).collect()
}

/// A source over a connector's topic. ksqlDB leaves out its queries, too.
fn related(source: &Arc<Source>) -> Value {
    describe(&Description {
        source: source.clone(),
        readers: Vec::new(),
        writers: Vec::new(),
        offsets: Vec::new(),
        reading: Vec::new(),
        schemas: Vec::new(),
        extended: false,
    })
}

fn describe(description: &Description) -> Value {
    let source = &description.source;
    let windowed = source.window.map(|w| w.kind.name());
    let rows = |queries: &[QueryRow]| queries.iter().map(query_row).collect::<Vec<_>>();
    let mut described = json!({
            "name": source.name,
            "windowType": windowed,
            "readQueries": rows(&description.readers),
            "writeQueries": rows(&description.writers),
            "fields": fields(&source.schema),
            "type": kind(source.kind),
            "timestamp": source.timestamp.as_ref().map_or("", |t| t.column.as_str()),
            "statistics": statistics(description),
            "errorStats": errors(description),
            "clusterStatistics": [],
            "clusterErrorStats": [],
            "extended": description.extended,
            "keyFormat": source.key_format.name(),
            "valueFormat": source.value_format.name(),
            "topic": source.topic,
            "partitions": if description.extended { source.partitions } else { 0 },
            "replication": u32::from(description.extended),
            "statement": format!("{};", source.sql),
            "queryOffsetSummaries": summaries(description),
            "sourceConstraints": [],
    });
    if !description.schemas.is_empty() {
        described["schemas"] = description.schemas.iter().map(described_schema).collect();
    }
    described
}

/// What the queries that write it have written.
fn statistics(description: &Description) -> String {
    if !description.extended || description.writers.is_empty() {
        return String::new();
    }
    let writes = |reading: &&Reading| description.writers.iter().any(|writer| writer.id == reading.id);
    let said: Vec<String> = description.reading.iter().filter(writes).map(Reading::statistics).collect();
    said.join("\n")
}

/// What they could not use.
fn errors(description: &Description) -> String {
    if !description.extended {
        return String::new();
    }
    let one = |w: &QueryRow| format!("{}: bad-records: {} late-records: {}", w.id, w.counts.bad, w.counts.late);
    description.writers.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Consumer offsets of the queries that write it.
fn summaries(description: &Description) -> Value {
    let writes = |r: &&Reading| description.writers.iter().any(|w| w.id == r.id);
    let summary = |r: &Reading| {
        let mut topics: Vec<(&str, Vec<Value>)> = Vec::new();
        for p in &r.partitions {
            let offset = json!({
                "partition": p.partition,
                "logStartOffset": p.low,
                "logEndOffset": p.high,
                "consumerOffset": p.committed.unwrap_or(0),
            });
            match topics.last_mut().filter(|(topic, _)| *topic == p.topic) {
                Some((_, offsets)) => offsets.push(offset),
                None => topics.push((&p.topic, vec![offset])),
            }
        }
        let topic = |(topic, offsets): (&str, Vec<Value>)| json!({ "kafkaTopic": topic, "offsets": offsets });
        json!({ "groupId": r.group, "topicSummaries": topics.into_iter().map(topic).collect::<Vec<_>>() })
    };
    description.reading.iter().filter(writes).map(summary).collect()
}

/// One signature, in the form of ksqlDB's `FunctionInfo`. Parameters have no names here.
fn function(signature: &Signature, description: &str) -> Value {
    let last = signature.arguments.len().saturating_sub(1);
    let argument = |(at, ty): (usize, &String)| json!({ "name": "", "type": ty, "description": "", "isVariadic": signature.variadic && at == last });
    json!({
        "arguments": signature.arguments.iter().enumerate().map(argument).collect::<Vec<_>>(),
        "returnType": signature.returns,
        "description": description,
    })
}

fn explain(explanation: &Explanation, host: &str) -> Value {
    let query = explanation.query.as_ref();
    let state = query.map(|q| known_state(q.state));
    let host = query.and_then(|q| q.host.as_deref()).unwrap_or(host);
    json!({
            "id": query.map_or("", |q| q.id.as_str()),
            "statementText": format!("{};", explanation.sql),
            "windowType": explanation.window.map(|window| window.kind.name()),
            "fields": fields(&explanation.schema),
            "sources": explanation.sources,
            "sinks": explanation.sink.iter().collect::<Vec<_>>(),
            "topology": "",
            "executionPlan": explanation.plan,
            "overriddenProperties": {},
            "ksqlHostQueryStatus": state.iter().map(|s| (host.to_owned(), json!(s))).collect::<Map<_, _>>(),
            "queryType": if query.is_some() { "PERSISTENT" } else { "PUSH" },
            "queryErrors": [],
            "tasksMetadata": [],
            "state": state,
            "consumerGroupId": query.map_or("", |q| q.group.as_str()),
    })
}

fn fields(schema: &Schema) -> Vec<Value> {
    let field = |column: &crate::types::Column| {
        let mut field = json!({ "name": column.name, "schema": type_json(&column.ty) });
        match &column.role {
            Role::Key => field["type"] = json!("KEY"),
            Role::Header(key) => {
                field["type"] = json!("HEADER");
                field["headerKey"] = json!(key);
            }
            Role::Value => {}
        }
        field
    };
    schema.columns().map(field).collect()
}

/// A type as the API describes it: base type, fields of a struct, member of an array or map, DECIMAL's parameters.
pub(in crate::serve) fn type_json(ty: &SqlType) -> Value {
    let base = |name: &str| json!({ "type": name, "fields": null, "memberSchema": null });
    match ty {
        SqlType::Array(item) => json!({ "type": "ARRAY", "fields": null, "memberSchema": type_json(item) }),
        SqlType::Map(_, value) => json!({ "type": "MAP", "fields": null, "memberSchema": type_json(value) }),
        SqlType::Struct(fields) => {
            let field = |(name, ty): &(String, SqlType)| json!({ "name": name, "schema": type_json(ty) });
            json!({ "type": "STRUCT", "fields": fields.iter().map(field).collect::<Vec<_>>(), "memberSchema": null })
        }
        SqlType::Decimal(precision, scale) => json!({
            "type": "DECIMAL",
            "fields": null,
            "memberSchema": null,
            "parameters": { "precision": precision, "scale": scale },
        }),
        other => base(&other.to_string()),
    }
}
