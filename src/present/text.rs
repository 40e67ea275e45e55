//! Results as text: the engine's entities as sentences and tables.

use super::{connector, table};
use crate::catalog::{SchemaType, Source};
use crate::engine::Answer;
use crate::engine::result::entity::{
    DescribedSchema, Description, Entity, Explanation, FunctionRow, QueryRow, Reading, SchemaRow, StandbyFacts, Status,
    TopicRow,
};
use crate::parse::statement::SourceKind;
use crate::present::Outcome;
use crate::types::Role;
use crate::types::temporal::timestamp_text;
use std::sync::Arc;

/// A result, ready to be shown.
pub fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Rows(rows) => Outcome::Rows(rows),
        Answer::Entity(entity) => entity_outcome(&entity),
    }
}

/// The message, and a line for each warning.
fn status_text(status: &Status) -> String {
    let warnings = status.warnings.iter().map(|warning| format!("\nwarning: {warning}"));
    [status.message.clone()].into_iter().chain(warnings).collect()
}

fn entity_outcome(entity: &Entity) -> Outcome {
    match entity {
        Entity::Done => Outcome::Many(Vec::new()),
        Entity::Status(status) => Outcome::Message(status_text(status)),
        Entity::AssertedTopic { topic, exists: true } => Outcome::Message(format!("Topic {topic} exists.")),
        Entity::AssertedTopic { topic, exists: false } => Outcome::Message(format!("Topic {topic} does not exist.")),
        Entity::AssertedSchema { subject, id, exists } => {
            let subject = subject.as_ref().map(|subject| format!(" subject {subject}")).unwrap_or_default();
            let id = id.map(|id| format!(" id {id}")).unwrap_or_default();
            let state = if *exists { "exists" } else { "does not exist" };
            Outcome::Message(format!("Schema with{subject}{id} {state}."))
        }
        Entity::Schemas(rows) => table(None, &["Subject", "Version", "Id", "Type"], rows.iter().map(schema_cells)),
        Entity::Connector(entity) => connector::outcome(entity),
        Entity::Warning(text) => Outcome::Message(text.clone()),
        Entity::Sources(_, sources) => {
            table(None, &["Name", "Topic", "Key format", "Value format", "Windowed"], sources.iter().map(source_cells))
        }
        Entity::Topics(topics) => topic_table(topics),
        Entity::Queries(queries) => {
            let is_shared = queries.iter().any(|query| query.host.is_some());
            let has_standbys = queries.iter().any(|query| !query.standbys.is_empty());
            let titles = ["Query", "Type", "Status", "Sink", "Topic", "Statement", "Runs on", "Standbys"];
            let shown = titles.len() - usize::from(!is_shared) - usize::from(!is_shared || !has_standbys);
            let cells = |query| query_cells(query).into_iter().take(shown).collect();
            table(None, &titles[..shown], queries.iter().map(cells))
        }
        Entity::Description(description) => describe(description),
        Entity::Descriptions(all) => Outcome::Many(all.iter().map(describe).collect()),
        Entity::PushTerminated(id) => Outcome::Message(format!("Query {id} terminated.")),
        Entity::Properties(rows) => table(
            None,
            &["Property", "Value", "From"],
            rows.iter().map(|(name, value, from)| vec![name.clone(), value.clone(), (*from).to_owned()]),
        ),
        Entity::Variables(rows) => table(None, &["Variable", "Value"], pairs(rows)),
        Entity::Types(rows) => table(None, &["Type", "Definition"], pairs(rows)),
        Entity::Functions(rows) => {
            let row = |f: &FunctionRow| vec![f.name.clone(), f.kind.to_owned(), f.description.clone()];
            table(None, &["Function", "Kind", "Description"], rows.iter().map(row))
        }
        Entity::Function(help) => {
            let mut rows = vec![
                ("Name", help.name.clone()),
                (
                    "Kind",
                    match help.kind == help.category {
                        true => help.kind.to_owned(),
                        false => format!("{}, {}", help.kind, help.category),
                    },
                ),
                ("Overview", help.description.to_string()),
            ];
            rows.extend(help.signatures.iter().map(|s| ("Call", s.call(&help.name))));
            rows.extend(help.examples.iter().map(|(call, result)| ("Example", format!("{call} => {result}"))));
            let cells = rows.into_iter().map(|(what, text)| vec![what.to_owned(), text]);
            table(None, &["Function", ""], cells)
        }
        Entity::Explanation(explanation) => explain(explanation),
        Entity::Explanations(all) => Outcome::Many(all.iter().map(explain).collect()),
    }
}

fn topic_table(topics: &[TopicRow]) -> Outcome {
    let mut columns = vec!["Topic", "Partitions", "Replicas"];
    if topics.iter().any(|t| t.readers.is_some()) {
        columns.push("Queries");
    }
    let has_bytes = topics.iter().any(|t| t.bytes.is_some());
    if has_bytes {
        columns.push("Bytes");
    }
    let row = |t: &TopicRow| {
        let cells = [t.name.clone(), t.partitions.to_string(), t.replicas.to_string()];
        let bytes = has_bytes.then(|| t.bytes.map_or_else(String::new, |bytes| bytes.to_string()));
        cells.into_iter().chain(t.readers.map(|n| n.to_string())).chain(bytes).collect()
    };
    table(None, &columns, topics.iter().map(row))
}

fn pairs<T: ToString>(rows: &[(String, T)]) -> impl Iterator<Item = Vec<String>> {
    rows.iter().map(|(name, value)| vec![name.clone(), value.to_string()])
}

fn source_cells(source: &Arc<Source>) -> Vec<String> {
    let windowed = source.window.is_some().to_string();
    let formats = (source.key_format.name().to_owned(), source.value_format.name().to_owned());
    vec![source.name.clone(), source.topic.clone(), formats.0, formats.1, windowed]
}

fn schema_cells(row: &SchemaRow) -> Vec<String> {
    let latest =
        |(version, id, kind): (i32, i32, SchemaType)| [version.to_string(), id.to_string(), kind.name().to_owned()];
    let cells = row.latest.map(latest).unwrap_or_default();
    std::iter::once(row.subject.clone()).chain(cells).collect()
}

/// `orders-value version 2, id 7`
fn described_schema(schema: &DescribedSchema) -> String {
    let DescribedSchema { subject, version, id, newer, .. } = schema;
    let version = if *version > 0 { format!(" version {version},") } else { String::new() };
    let newer = newer.map(|newer| format!(" (version {newer} is newer)")).unwrap_or_default();
    format!("{subject}{version} id {id}{newer}")
}

fn query_cells(query: &QueryRow) -> Vec<String> {
    let state = state_cell(query);
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let statement = one_line(&query.sql);
    let (kind, host) = (query.kind.to_owned(), text(&query.host));
    let standbys = query.standbys.iter().map(StandbyFacts::sentence).collect::<Vec<_>>().join(", ");
    vec![query.id.clone(), kind, state, text(&query.sink), text(&query.sink_topic), statement, host, standbys]
}

/// A statement as a cell shows it.
fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `WAITING: no broker responds ...`
fn state_cell(query: &QueryRow) -> String {
    match &query.trouble {
        Some(trouble) => format!("{}: {trouble}", query.state),
        None => query.state.clone(),
    }
}

fn describe(description: &Description) -> Outcome {
    let source = &description.source;
    let key = match source.kind {
        SourceKind::Stream => "(key)".to_owned(),
        SourceKind::Table => "(primary key)".to_owned(),
    };
    let key = match source.window {
        Some(window) => format!("{key} (window: {})", window.kind.name()),
        None => key,
    };
    let kind = |role: &Role| match role {
        Role::Key => key.clone(),
        Role::Header(_) => "(header)".to_owned(),
        Role::Value => String::new(),
    };
    let fields = source
        .schema
        .columns()
        .map(|c| vec![c.name.clone(), format!("{} {}", c.ty, kind(&c.role)).trim_end().to_owned()]);
    let mut all = vec![table(Some(format!("Name: {}", source.name)), &["Field", "Type"], fields)];
    if !description.extended {
        return all.remove(0);
    }
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let mut facts = vec![
        fact("Type", format!("{:?}", source.kind).to_uppercase()),
        fact("Topic", format!("{} ({} partitions)", source.topic, source.partitions)),
        fact("Key format", source.key_format.name().to_owned()),
        fact("Value format", source.value_format.name().to_owned()),
        fact("Statement", one_line(&source.sql)),
    ];
    for schema in &description.schemas {
        let name = if schema.part == "key" { "Key schema" } else { "Value schema" };
        facts.push(fact(name, described_schema(schema)));
    }
    if let Some(timestamp) = &source.timestamp {
        facts.push(fact("Timestamp", timestamp.column.clone()));
    }
    all.push(table(None, &["Fact", "Value"], facts.into_iter()));
    let offsets =
        description.offsets.iter().map(|(p, low, high)| vec![p.to_string(), low.to_string(), high.to_string()]);
    all.push(table(Some("Offsets".to_owned()), &["Partition", "Low", "High"], offsets));
    for (title, queries) in
        [("Queries that read it", &description.readers), ("Queries that write it", &description.writers)]
    {
        if !queries.is_empty() {
            let columns = ["Query", "Status", "Consumed", "Produced", "Bad", "Late", "Commits", "Lag", "Read/s"];
            let cells = queries.iter().map(|query| count_cells(query, &description.reading));
            all.push(table(Some(title.to_owned()), &columns, cells));
        }
    }
    if !description.reading.is_empty() {
        let columns =
            ["Query", "Since", "Bytes in", "Bytes out", "State keys", "State bytes", "Busy", "Commit p99", "Restarts"];
        all.push(table(Some("What they do".to_owned()), &columns, description.reading.iter().map(fact_cells)));
    }
    Outcome::Many(all)
}

fn count_cells(query: &QueryRow, reading: &[Reading]) -> Vec<String> {
    let c = query.counts;
    let counts = [c.consumed, c.produced, c.bad, c.late, c.commits];
    let own = reading.iter().find(|r| r.id == query.id);
    let lag = own.and_then(|r| r.lag).map_or_else(String::new, |lag| lag.to_string());
    let rate = own.map_or_else(String::new, |r| format!("{:.1}", r.per_second));
    let counts = counts.iter().map(u64::to_string);
    [query.id.clone(), state_cell(query)].into_iter().chain(counts).chain([lag, rate]).collect()
}

fn fact_cells(reading: &Reading) -> Vec<String> {
    let facts = &reading.facts;
    let commit = facts.commit_times.quantile_millis(0.99).map_or_else(String::new, |ms| format!("{ms:.1} ms"));
    let numbers = [facts.bytes_in, facts.bytes_out, facts.state_keys, facts.state_bytes].map(|n| n.to_string());
    let since = format!("{}Z", timestamp_text(facts.condition.since_ms));
    let busy = format!("{:.1} %", facts.rates.busy_share * 100.0);
    let last = [busy, commit, facts.restarts.to_string()];
    [reading.id.clone(), since].into_iter().chain(numbers).chain(last).collect()
}

fn explain(explanation: &Explanation) -> Outcome {
    let id = explanation.query.as_ref().map_or(String::new(), |query| format!("Query: {}\n", query.id));
    let sources = explanation.sources.join(", ");
    let plan = explanation.plan.trim_end();
    Outcome::Message(format!("{id}Reads: {sources}\nColumns: {}\n\n{plan}", explanation.schema))
}
