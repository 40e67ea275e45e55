//! Whether one Avro schema can read what another has written: the rules of Avro's Java library (`SchemaCompatibility`), with its
//! words for each difference and its path to it.
//!
//! ```text
//! reader  record A: x int, y string        writer  record A: x int
//! READER_FIELD_MISSING_DEFAULT_VALUE at /fields/1: y
//! ```
//!
//! Two named types are compared once for each pair; a pair within itself counts as compatible, so that recursion ends.

use super::{DEPTH_MAX, Difference, PAIRS_MAX, TOO_LARGE};
use crate::registry::schema::avro::{AvroSchema, Field, Named, NamedKind, Primitive, Type};
use std::collections::{BTreeSet, HashMap};

/// Why `reader` cannot read what `writer` describes; empty = it can.
pub fn differences(reader: &AvroSchema, writer: &AvroSchema) -> Vec<Difference> {
    Check { reader, writer, pairs: HashMap::new(), left: PAIRS_MAX, depth: 0 }.pair(
        &reader.root,
        &writer.root,
        &Path::default(),
    )
}

/// Where in the reader's schema; the root has no part.
#[derive(Clone, Copy, Default)]
struct Path<'p>(Option<(&'p Path<'p>, Part)>);

#[derive(Clone, Copy)]
enum Part {
    Word(&'static str),
    Index(usize),
}

impl Path<'_> {
    fn word(&self, word: &'static str) -> Path<'_> {
        Path(Some((self, Part::Word(word))))
    }

    fn index(&self, index: usize) -> Path<'_> {
        Path(Some((self, Part::Index(index))))
    }

    /// A JSON pointer; the root is `/`.
    fn text(&self) -> String {
        let (mut parts, mut at) = (Vec::new(), self);
        while let Some((outer, part)) = at.0 {
            parts.push(match part {
                Part::Word(word) => word.to_owned(),
                Part::Index(index) => index.to_string(),
            });
            at = outer;
        }
        parts.reverse();
        format!("/{}", parts.join("/"))
    }
}

struct Check<'a> {
    reader: &'a AvroSchema,
    writer: &'a AvroSchema,
    /// Results by pair of named types; `None` = being compared.
    pairs: HashMap<(&'a str, &'a str), Option<Vec<Difference>>>,
    /// Pairs of types that may still be compared.
    left: usize,
    /// Types within types.
    depth: usize,
}

impl<'a> Check<'a> {
    fn pair(&mut self, reader: &'a Type, writer: &'a Type, path: &Path<'_>) -> Vec<Difference> {
        let (Some(left), true) = (self.left.checked_sub(1), self.depth < DEPTH_MAX) else {
            return vec![difference("TOO_LARGE", path, String::new())];
        };
        (self.left, self.depth) = (left, self.depth + 1);
        let found = self.remembered(reader, writer, path);
        self.depth -= 1;
        found
    }

    fn remembered(&mut self, reader: &'a Type, writer: &'a Type, path: &Path<'_>) -> Vec<Difference> {
        let (Type::Named(left), Type::Named(right)) = (reader, writer) else {
            return self.compare(reader, writer, path);
        };
        let names = (&**left, &**right);
        match self.pairs.get(&names) {
            Some(known) => known.clone().unwrap_or_default(),
            None => {
                self.pairs.insert(names, None);
                let found = self.compare(reader, writer, path);
                self.pairs.insert(names, Some(found.clone()));
                found
            }
        }
    }

    fn compare(&mut self, reader: &'a Type, writer: &'a Type, path: &Path<'_>) -> Vec<Difference> {
        match (reader, writer) {
            (Type::Union(_), Type::Union(branches)) => self.each_branch(reader, branches, path),
            // A schema that reads every branch reads the union.
            (_, Type::Union(branches)) => {
                let each = branches.iter().enumerate();
                each.flat_map(|(at, branch)| self.pair(reader, branch, &path.index(at))).collect()
            }
            (Type::Union(branches), _) => {
                // A branch of the same name first: in a union of many records it is the one that reads it.
                let named = branches.iter().filter(|branch| self.is_namesake(branch, writer));
                let all = named.chain(branches).collect::<Vec<_>>();
                let reads = all.iter().any(|branch| self.pair(branch, writer, &Path::default()).is_empty());
                if reads { Vec::new() } else { vec![missing_branch(self.writer.kind(writer), path)] }
            }
            (Type::Array(reader, _), Type::Array(writer, _)) => self.pair(reader, writer, &path.word("items")),
            (Type::Map(reader, _), Type::Map(writer, _)) => self.pair(reader, writer, &path.word("values")),
            (Type::Primitive(left, _), Type::Primitive(right, _)) if is_promoted(*left, *right) => Vec::new(),
            (Type::Named(left), Type::Named(right)) => {
                match (self.reader.named.get(left), self.writer.named.get(right)) {
                    (Some(left), Some(right)) => self.named(left, right, path),
                    _ => Vec::new(),
                }
            }
            _ => vec![mismatch(self.reader.kind(reader), self.writer.kind(writer), path)],
        }
    }

    fn each_branch(&mut self, reader: &'a Type, branches: &'a [Type], path: &Path<'_>) -> Vec<Difference> {
        let mut found = Vec::new();
        for (at, branch) in branches.iter().enumerate() {
            if !self.pair(reader, branch, &Path::default()).is_empty() {
                found.push(missing_branch(self.writer.kind(branch), &path.index(at)));
            }
        }
        found
    }

    fn named(&mut self, reader: &'a Named, writer: &'a Named, path: &Path<'_>) -> Vec<Difference> {
        let mut found = Vec::new();
        let is_same = reader.name.simple == writer.name.simple || reader.aliases.contains(&writer.name);
        let name = || difference("NAME_MISMATCH", &path.word("name"), format!("expected: {}", writer.name.full()));
        match (&reader.kind, &writer.kind) {
            (NamedKind::Fixed { size: own }, NamedKind::Fixed { size }) => {
                found.extend((!is_same).then(name));
                let sizes = || format!("expected: {size}, found: {own}");
                found.extend((own != size).then(|| difference("FIXED_SIZE_MISMATCH", &path.word("size"), sizes())));
            }
            (NamedKind::Enum { symbols: own, default }, NamedKind::Enum { symbols, .. }) => {
                found.extend((!is_same).then(name));
                let missing: BTreeSet<&str> = symbols.iter().filter(|s| !own.contains(s)).map(String::as_str).collect();
                if !missing.is_empty() && default.is_none() {
                    let listed: Vec<&str> = missing.into_iter().collect();
                    let listed = format!("[{}]", listed.join(", "));
                    found.push(difference("MISSING_ENUM_SYMBOLS", &path.word("symbols"), listed));
                }
            }
            (NamedKind::Record { fields: own, .. }, NamedKind::Record { fields, .. }) => {
                found.extend((!is_same).then(name));
                for (at, field) in own.iter().enumerate() {
                    found.extend(self.field(field, fields, &path.word("fields").index(at)));
                }
            }
            _ => {
                let kind = |schema: &AvroSchema, named: &Named| schema.kind(&Type::Named(named.name.full().into()));
                found.push(mismatch(kind(self.reader, reader), kind(self.writer, writer), path));
            }
        }
        found
    }

    fn field(&mut self, field: &'a Field, written: &'a [Field], path: &Path<'_>) -> Vec<Difference> {
        let by_name = |name: &String| written.iter().find(|field| field.name == *name);
        let source = by_name(&field.name).or_else(|| field.aliases.iter().find_map(by_name));
        match source {
            Some(source) => self.pair(&field.schema, &source.schema, &path.word("type")),
            None if field.default.is_some() => Vec::new(),
            // What Avro's library reports of an enum that has a default where the field has none.
            None if self.has_enum_default(&field.schema) => vec![mismatch("ENUM", "RECORD", &path.word("type"))],
            None => vec![difference("READER_FIELD_MISSING_DEFAULT_VALUE", path, field.name.clone())],
        }
    }
}

impl Check<'_> {
    fn is_namesake(&self, reader: &Type, writer: &Type) -> bool {
        let (Type::Named(left), Type::Named(right)) = (reader, writer) else { return false };
        let (left, right) = (self.reader.named.get(left), self.writer.named.get(right));
        left.zip(right).is_some_and(|(left, right)| left.name.simple == right.name.simple)
    }

    fn has_enum_default(&self, schema: &Type) -> bool {
        let Type::Named(name) = schema else { return false };
        let named = self.reader.named.get(name);
        matches!(named.map(|named| &named.kind), Some(NamedKind::Enum { default: Some(_), .. }))
    }
}

fn is_promoted(reader: Primitive, writer: Primitive) -> bool {
    use Primitive::{Bytes, Double, Float, Int, Long, String};
    reader == writer
        || matches!(
            (reader, writer),
            (Long | Float | Double, Int) | (Float | Double, Long) | (Double, Float) | (Bytes, String) | (String, Bytes)
        )
}

fn mismatch(reader: &str, writer: &str, path: &Path<'_>) -> Difference {
    difference("TYPE_MISMATCH", path, format!("reader type: {reader} not compatible with writer type: {writer}"))
}

fn missing_branch(writer: &str, path: &Path<'_>) -> Difference {
    difference("MISSING_UNION_BRANCH", path, format!("reader union lacking writer type: {writer}"))
}

fn difference(kind: &'static str, path: &Path<'_>, info: String) -> Difference {
    let template = match kind {
        "NAME_MISMATCH" => "The name of the schema has changed (path '{path}')",
        "FIXED_SIZE_MISMATCH" => {
            "The size of FIXED type field at path '{path}' in the {reader} schema does not match with the {writer} schema"
        }
        "TYPE_MISMATCH" => {
            "The type (path '{path}') of a field in the {reader} schema does not match with the {writer} schema"
        }
        "MISSING_UNION_BRANCH" => {
            "The {reader} schema is missing a type inside a union field at path '{path}' in the {writer} schema"
        }
        "MISSING_ENUM_SYMBOLS" => {
            "The {reader} schema is missing enum symbols '{info}' at path '{path}' in the {writer} schema"
        }
        "READER_FIELD_MISSING_DEFAULT_VALUE" => {
            "The field '{info}' at path '{path}' in the {reader} schema has no default value and is missing in the \
             {writer} schema"
        }
        _ => TOO_LARGE,
    };
    Difference { kind, template, path: path.text(), info: Some(info) }
}
