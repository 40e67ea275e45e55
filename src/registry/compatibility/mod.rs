//! Compatibility of a schema with earlier versions: which pairs a level compares, in which direction, and how differences are
//! worded.
//!
//! ```text
//! BACKWARD               the new schema reads what the latest version has written
//! FORWARD                the latest version reads what the new schema will write
//! FULL                   both
//! ..._TRANSITIVE         the same with all versions, latest first
//! NONE                   nothing is compared
//! ```
//!
//! The checks themselves are pure functions over two parsed schemas of one language. Their words are those of Confluent's
//! registry, which clients and people search for.

pub mod avro;
pub mod json;
pub mod protobuf;

use crate::registry::schema::Parsed;

/// Pairs of types that one check compares: some hundred times those of the largest schemas that people write, and less than a
/// second's work. Beyond it schemas count as incompatible.
const PAIRS_MAX: usize = 200_000;
/// Types within types that a check follows: deeper than any payload that a reader of this program takes, and well within the
/// stack of a thread.
const DEPTH_MAX: usize = 100;
/// What is said then.
const TOO_LARGE: &str = "The {reader} schema and the {writer} schema are too large to be compared (at path '{path}')";
/// Bytes of an earlier schema that a message quotes, as in Confluent's registry.
const QUOTED_BYTES_MAX: usize = 10 * 1024;
/// Differences that a message lists.
const LISTED_MAX: usize = 100;

/// A reason why one schema cannot read what another has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `TYPE_MISMATCH`
    pub kind: &'static str,
    /// A sentence with `{path}`, `{info}`, `{reader}` and `{writer}`.
    pub template: &'static str,
    /// Where in the schema.
    pub path: String,
    /// Avro's own message.
    pub info: Option<String>,
}

impl Difference {
    /// As Confluent's registry writes it; `reader` and `writer` are `new` and `old` in one order or the other.
    pub fn text(&self, reader: &str, writer: &str) -> String {
        let description = self.description(reader, writer);
        match &self.info {
            Some(info) => {
                format!("{{errorType:'{}', description:'{description}', additionalInfo:'{info}'}}", self.kind)
            }
            None => format!("{{errorType:\"{}\", description:\"{description}\"}}", self.kind),
        }
    }

    fn description(&self, reader: &str, writer: &str) -> String {
        let mut text = String::new();
        let mut rest = self.template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(before);
            text.push_str(match name {
                "path" => &self.path,
                "info" => self.info.as_deref().unwrap_or_default(),
                "reader" => reader,
                _ => writer,
            });
            rest = after;
        }
        text + rest
    }
}

/// How much a new version has to be compatible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Not at all.
    None,
    /// It reads what the latest version has written.
    #[default]
    Backward,
    /// It reads what all versions have written.
    BackwardTransitive,
    /// The latest version reads what it writes.
    Forward,
    /// All versions read what it writes.
    ForwardTransitive,
    /// Both, with the latest version.
    Full,
    /// Both, with all versions.
    FullTransitive,
}

impl Level {
    const ALL: [(Level, &'static str); 7] = [
        (Level::None, "NONE"),
        (Level::Backward, "BACKWARD"),
        (Level::BackwardTransitive, "BACKWARD_TRANSITIVE"),
        (Level::Forward, "FORWARD"),
        (Level::ForwardTransitive, "FORWARD_TRANSITIVE"),
        (Level::Full, "FULL"),
        (Level::FullTransitive, "FULL_TRANSITIVE"),
    ];

    /// The level of this name, in any case.
    pub fn named(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|(_, own)| own.eq_ignore_ascii_case(name)).map(|(level, _)| level)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Level::ALL.into_iter().find(|(level, _)| *level == self).map_or("", |(_, name)| name)
    }

    /// Whether all versions are compared, and not the latest one alone.
    pub fn is_transitive(self) -> bool {
        matches!(self, Level::BackwardTransitive | Level::ForwardTransitive | Level::FullTransitive)
    }
}

/// An earlier version.
#[derive(Debug)]
pub struct Earlier<'a> {
    /// Its number.
    pub version: i32,
    /// Its text, which a message quotes.
    pub text: &'a str,
    /// Its schema.
    pub schema: &'a Parsed,
}

/// Why the schema is not compatible with the versions, which are in order, latest first; empty = it is. The check ends at the first
/// incompatible version.
pub fn check(new: &Parsed, earlier: &[Earlier<'_>], level: Level) -> Vec<String> {
    let compared = if level.is_transitive() { earlier.len() } else { earlier.len().min(1) };
    for old in &earlier[..compared] {
        let mut messages = between(new, old.schema, level);
        if !messages.is_empty() {
            messages.truncate(LISTED_MAX);
            messages.push(format!("{{oldSchemaVersion: {}}}", old.version));
            messages.push(quoted(old.text));
            messages.push(format!("{{validateFields: 'false', compatibility: '{}'}}", level.name()));
            return messages;
        }
    }
    Vec::new()
}

fn quoted(text: &str) -> String {
    match text.len() <= QUOTED_BYTES_MAX {
        true => format!("{{oldSchema: '{text}'}}"),
        false => format!("{{oldSchema: <truncated> '{}...'}}", &text[..text.floor_char_boundary(QUOTED_BYTES_MAX)]),
    }
}

fn between(new: &Parsed, old: &Parsed, level: Level) -> Vec<String> {
    let backward = || texts(new, old, "new", "old");
    let forward = || texts(old, new, "old", "new");
    match level {
        Level::None => Vec::new(),
        Level::Backward | Level::BackwardTransitive => backward(),
        Level::Forward | Level::ForwardTransitive => forward(),
        Level::Full | Level::FullTransitive => [backward(), forward()].concat(),
    }
}

fn texts(reader: &Parsed, writer: &Parsed, reads: &str, writes: &str) -> Vec<String> {
    let found = match (reader, writer) {
        (Parsed::Avro(reader), Parsed::Avro(writer)) => avro::differences(reader, writer),
        (Parsed::Protobuf(reader), Parsed::Protobuf(writer)) => protobuf::differences(reader, writer),
        (Parsed::Json(reader), Parsed::Json(writer)) => json::differences(reader, writer),
        _ => return vec!["Incompatible because of different schema type".to_owned()],
    };
    found.iter().map(|difference| difference.text(reads, writes)).collect()
}
