//! Answers as text for files of behaviour: one fact a line, cells between ` | `.

use tidegate::engine::result::entity::{Description, Entity, Explanation, QueryRow};
use tidegate::error::Error;
use tidegate::parse::statement::SourceKind;
use tidegate::types::quoted;

/// An entity; nothing for statements that answer nothing.
pub(crate) fn entity(entity: &Entity) -> String {
    match entity {
        Entity::Done => "done\n".to_owned(),
        Entity::Status(status) => format!("{}\n", status.message),
        Entity::AssertedTopic { topic, exists } => format!("topic {topic} exists: {exists}\n"),
        Entity::AssertedSchema { subject, id, exists } => {
            let subject = subject.as_deref().unwrap_or("-");
            let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
            format!("schema {subject} id {id} exists: {exists}\n")
        }
        Entity::Schemas(rows) => lines(rows.iter().map(|row| match row.latest {
            Some((version, id, kind)) => format!("{} | {version} | {id} | {}", row.subject, kind.name()),
            None => row.subject.clone(),
        })),
        Entity::Connector(entity) => format!("{entity:?}\n"),
        Entity::Warning(why) => format!("warning: {why}\n"),
        Entity::Sources(_, sources) => lines(sources.iter().map(|s| {
            let windowed = if s.window.is_some() { " | windowed" } else { "" };
            format!("{} | {} | {} | {}{windowed}", s.name, s.topic, s.key_format.name(), s.value_format.name())
        })),
        Entity::Topics(topics) => lines(topics.iter().map(|t| format!("{} | {}", t.name, t.partitions))),
        Entity::Queries(queries) => lines(queries.iter().map(query)),
        Entity::Description(d) => description(d),
        Entity::Descriptions(all) => all.iter().map(description).collect(),
        Entity::PushTerminated(id) => format!("{id} terminated\n"),
        Entity::Properties(rows) => lines(rows.iter().map(|(n, v, from)| format!("{n} | {v} | {from}"))),
        Entity::Variables(rows) => lines(rows.iter().map(|(n, v)| format!("{n} | {v}"))),
        Entity::Functions(rows) => lines(rows.iter().map(|f| format!("{} | {}", f.name, f.kind))),
        Entity::Types(rows) => lines(rows.iter().map(|(n, ty)| format!("{n} | {ty}"))),
        Entity::Function(help) => {
            let calls: Vec<_> = help.signatures.iter().map(|s| s.call(&help.name)).collect();
            let signatures = calls.join("\n");
            let examples = help.examples.iter().map(|(call, result)| format!("\n{call} => {result}"));
            format!(
                "{} ({}, {}): {}\n{signatures}{}\n",
                help.name,
                help.kind,
                help.category,
                help.description,
                examples.collect::<String>()
            )
        }
        Entity::Explanation(e) => explanation(e),
        Entity::Explanations(all) => all.iter().map(explanation).collect(),
    }
}

fn lines(rows: impl Iterator<Item = String>) -> String {
    rows.map(|r| format!("{r}\n")).collect()
}

fn query(q: &QueryRow) -> String {
    let trouble = q.trouble.as_ref().map_or_else(String::new, |t| format!(" | {t}"));
    format!("{} | {} | {} | {}{trouble}", q.id, q.kind, q.state, q.sink.as_deref().unwrap_or("-"))
}

fn description(d: &Description) -> String {
    let s = &d.source;
    let kind = if s.kind == SourceKind::Stream { "STREAM" } else { "TABLE" };
    let windowed = s.window.as_ref().map_or_else(String::new, |w| format!(" {:?}", w.kind));
    let mut text = format!(
        "{kind} {} on {} ({} partitions), key {}{windowed}, value {}\n",
        s.name,
        s.topic,
        s.partitions,
        s.key_format.name(),
        s.value_format.name()
    );
    for c in &s.schema.key {
        text += &format!("  {} {} KEY\n", quoted(&c.name), c.ty);
    }
    for c in &s.schema.value {
        text += &format!("  {} {}\n", quoted(&c.name), c.ty);
    }
    for schema in &d.schemas {
        let newer = schema.newer.map_or_else(String::new, |newer| format!(", version {newer} is newer"));
        let (part, subject, version, id) = (schema.part, &schema.subject, schema.version, schema.id);
        text += &format!("{part} schema {subject} version {version} id {id}{newer}\n");
    }
    d.readers.iter().for_each(|q| text += &format!("read by {}\n", q.id));
    d.writers.iter().for_each(|q| text += &format!("written by {}\n", q.id));
    text
}

fn explanation(e: &Explanation) -> String {
    let id = e.query.as_ref().map_or_else(String::new, |query| format!("{}\n", query.id));
    format!("{id}reads {}\ngives {}\n{}\n", e.sources.join(", "), e.schema, e.plan)
}

/// An error with its hint and the place in the text, marked by carets.
pub(crate) fn error(error: &Error, text: &str) -> String {
    let mut out = format!("error: {error}\n");
    if let Some(span) = error.span() {
        let begin = text[..span.start.min(text.len())].rfind('\n').map_or(0, |n| n + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let column = text[begin..span.start.min(text.len())].chars().count();
        let marked = text.get(span.start..span.end.min(begin + line.len())).map_or(1, |t| t.chars().count().max(1));
        out += &format!("  {line}\n  {}{}\n", " ".repeat(column), "^".repeat(marked));
    }
    if let Some(hint) = error.hint() {
        out += &format!("hint: {hint}\n");
    }
    out
}
