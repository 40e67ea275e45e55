//! Avro schemas as a graph: nodes by index, so that a type can contain itself.
//!
//! ```text
//! {"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}
//! 0: Record R [next: 2]    1: Null    2: Union [1, 0]
//! ```
//!
//! Made of a [`tree`], with what Connect's annotations (`connect.*`) say. The sizes of types that always take as many bytes are
//! computed once: what takes none is never walked, however often the schema repeats it.

use super::tree::{self, AvroSchema, NamedKind, Primitive, Type};
use serde_json::Value;
use std::collections::HashMap;

/// Index of a node.
pub(crate) type Id = usize;

/// Branches of a union, each with its index.
pub(super) type Branches = Vec<(usize, Id)>;

/// Limit of nesting, of schemas and of values of recursive types.
pub(super) const DEPTH_MAX: usize = 512;

/// A parsed schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
    root: Id,
    /// By node: how many bytes every value takes, if they are always as many.
    sizes: Vec<Option<u64>>,
}

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Full name of a record, an enum or a fixed.
    pub(crate) name: Option<String>,
    pub(crate) notes: Notes,
}

/// What kind of type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(Id),
    Map(Id),
    Union(Vec<Id>),
    Record(Vec<Field>),
    /// Its symbols.
    Enum(Vec<String>),
    Fixed(usize),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: Id,
    pub(crate) default: Option<Value>,
}

/// Properties that change what a type means.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Notes {
    /// `logicalType`
    pub(crate) logical: Option<String>,
    pub(crate) precision: Option<i64>,
    pub(crate) scale: Option<i64>,
    /// `connect.type`
    pub(crate) connect_type: Option<String>,
    /// `connect.internal.type`
    pub(crate) internal_type: Option<String>,
}

impl Schema {
    /// Parses a text; `references` are texts whose named types it may use, in order.
    pub(crate) fn parse<'a>(text: &str, references: impl Iterator<Item = &'a str>) -> Result<Schema, String> {
        let references = references.map(json).collect::<Result<Vec<Value>, String>>()?;
        let (nodes, root) = Builder::of(&AvroSchema::of_json(&json(text)?, &references, false)?).build()?;
        let mut schema = Schema { sizes: vec![None; nodes.len()], nodes, root };
        schema.measure();
        Ok(schema)
    }

    pub(crate) fn root(&self) -> Id {
        self.root
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// How many bytes every value of the type takes, if they are always as many.
    pub(super) fn size(&self, id: Id) -> Option<u64> {
        self.sizes[id]
    }

    /// The branches of a union without null, and the index of null; `None` = it is no union.
    pub(super) fn union(&self, id: Id) -> Option<(Branches, Option<usize>)> {
        let Kind::Union(branches) = &self.node(id).kind else { return None };
        let null = branches.iter().position(|b| self.node(*b).kind == Kind::Null);
        Some((branches.iter().copied().enumerate().filter(|(i, _)| Some(*i) != null).collect(), null))
    }

    /// Fields of the entries, where Connect wrote a map as an array of them.
    pub(super) fn map_entries(&self, items: Id) -> Option<&[Field]> {
        let node = self.node(items);
        let Kind::Record(fields) = &node.kind else { return None };
        let is_entry = node.notes.internal_type.as_deref() == Some("MapEntry")
            || node.name.as_deref() == Some("io.confluent.connect.avro.MapEntry");
        let has = |name: &str| fields.iter().any(|f| f.name == name);
        (is_entry && has("key") && has("value")).then_some(fields)
    }

    /// Whether the type has this logical type.
    pub(super) fn is_logical(&self, id: Id, name: &str) -> bool {
        self.node(id).notes.logical.as_deref().is_some_and(|logical| logical.eq_ignore_ascii_case(name))
    }

    fn measure(&mut self) {
        let mut seen = vec![false; self.nodes.len()];
        for id in 0..self.nodes.len() {
            self.measure_one(id, &mut seen, 0);
        }
    }

    /// A type that contains itself has no fixed size; neither has one that is nested too deeply to be read.
    fn measure_one(&mut self, id: Id, seen: &mut [bool], depth: usize) {
        if std::mem::replace(&mut seen[id], true) || depth > DEPTH_MAX {
            return;
        }
        self.sizes[id] = match &self.nodes[id].kind {
            Kind::Null => Some(0),
            Kind::Boolean => Some(1),
            Kind::Float => Some(4),
            Kind::Double => Some(8),
            Kind::Fixed(size) => Some(*size as u64),
            Kind::Record(fields) => {
                let types: Vec<Id> = fields.iter().map(|f| f.ty).collect();
                types.iter().for_each(|ty| self.measure_one(*ty, seen, depth + 1));
                types.iter().try_fold(0u64, |sum, ty| self.sizes[*ty].map(|size| sum.saturating_add(size)))
            }
            Kind::Array(item) | Kind::Map(item) => {
                let item = *item;
                self.measure_one(item, seen, depth + 1);
                None
            }
            Kind::Union(branches) => {
                let branches = branches.clone();
                branches.iter().for_each(|branch| self.measure_one(*branch, seen, depth + 1));
                None
            }
            Kind::Int | Kind::Long | Kind::Bytes | Kind::String | Kind::Enum(_) => None,
        };
    }
}

/// A type of a tree to a node.
struct Builder<'a> {
    tree: &'a AvroSchema,
    nodes: Vec<Node>,
    /// Named types by full name: they have their nodes before any of them is looked into, so that nothing here recurses through
    /// names.
    names: HashMap<&'a str, Id>,
}

impl<'a> Builder<'a> {
    fn of(tree: &'a AvroSchema) -> Builder<'a> {
        let names = tree.named.keys().enumerate().map(|(id, name)| (&**name, id)).collect();
        Builder { tree, nodes: vec![], names }
    }

    fn build(mut self) -> Result<(Vec<Node>, Id), String> {
        for (name, named) in &self.tree.named {
            let notes = notes(&named.properties);
            self.nodes.push(Node { kind: Kind::Null, name: Some(name.to_string()), notes });
        }
        for (id, named) in self.tree.named.values().enumerate() {
            self.nodes[id].kind = match &named.kind {
                NamedKind::Record { fields, .. } => {
                    Kind::Record(fields.iter().map(|field| self.field(field)).collect::<Result<_, _>>()?)
                }
                NamedKind::Enum { symbols, .. } => Kind::Enum(symbols.clone()),
                NamedKind::Fixed { size } => {
                    let size = i32::try_from(*size).map_err(|_| format!("Invalid or no size: {size}"))?;
                    Kind::Fixed(size as usize)
                }
            };
        }
        let root = self.ty(&self.tree.root)?;
        Ok((self.nodes, root))
    }

    fn field(&mut self, field: &'a tree::Field) -> Result<Field, String> {
        Ok(Field { name: field.name.clone(), ty: self.ty(&field.schema)?, default: field.default.clone() })
    }

    fn ty(&mut self, ty: &'a Type) -> Result<Id, String> {
        let (kind, properties) = match ty {
            Type::Named(name) => {
                return self.names.get(&**name).copied().ok_or_else(|| format!("\"{name}\" is not a defined name"));
            }
            Type::Primitive(primitive, properties) => (primitive_kind(*primitive), &properties[..]),
            Type::Array(items, properties) => (Kind::Array(self.ty(items)?), &properties[..]),
            Type::Map(values, properties) => (Kind::Map(self.ty(values)?), &properties[..]),
            Type::Union(branches) => {
                (Kind::Union(branches.iter().map(|branch| self.ty(branch)).collect::<Result<_, _>>()?), &[][..])
            }
        };
        self.nodes.push(Node { kind, name: None, notes: notes(properties) });
        Ok(self.nodes.len() - 1)
    }
}

fn primitive_kind(primitive: Primitive) -> Kind {
    match primitive {
        Primitive::Null => Kind::Null,
        Primitive::Boolean => Kind::Boolean,
        Primitive::Int => Kind::Int,
        Primitive::Long => Kind::Long,
        Primitive::Float => Kind::Float,
        Primitive::Double => Kind::Double,
        Primitive::Bytes => Kind::Bytes,
        Primitive::String => Kind::String,
    }
}

impl Kind {
    /// The name of the type in a schema.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Int => "int",
            Kind::Long => "long",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Bytes => "bytes",
            Kind::String => "string",
            Kind::Array(_) => "array",
            Kind::Map(_) => "map",
            Kind::Union(_) => "union",
            Kind::Record(_) => "record",
            Kind::Enum(_) => "enum",
            Kind::Fixed(_) => "fixed",
        }
    }
}

/// A text as JSON. A bare name is a primitive schema, as some registries keep them.
fn json(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_) if Primitive::named(text.trim()).is_some() => Ok(Value::String(text.trim().to_owned())),
        Err(e) => Err(format!("the schema is no JSON: {e}")),
    }
}

fn notes(properties: &[(String, Value)]) -> Notes {
    let get = |name: &str| properties.iter().find(|(own, _)| own == name).map(|(_, value)| value);
    let text = |name: &str| get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| get(name).and_then(Value::as_i64);
    Notes {
        logical: text("logicalType"),
        precision: number("precision"),
        scale: number("scale"),
        connect_type: text("connect.type"),
        internal_type: text("connect.internal.type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Schema, String> {
        Schema::parse(text, std::iter::empty())
    }

    #[test]
    fn names_are_resolved_in_their_namespace() {
        let text = r#"{"type":"record","name":"R","namespace":"n","fields":[
            {"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}},{"name":"b","type":"E"},{"name":"c","type":"n.E"},
            {"name":"d","type":["null","R"]}]}"#;
        let schema = parse(text).unwrap();
        let Kind::Record(fields) = &schema.node(schema.root()).kind else { panic!("it is a record") };
        assert_eq!(fields[0].ty, fields[1].ty);
        assert_eq!(fields[0].ty, fields[2].ty);
        assert_eq!(schema.node(fields[0].ty).name.as_deref(), Some("n.E"));
        assert_eq!(schema.union(fields[3].ty), Some((vec![(1, schema.root())], Some(0))));
    }

    #[test]
    fn a_reference_defines_names() {
        let reference = r#"{"type":"record","name":"n.P","fields":[]}"#;
        let schema = Schema::parse(r#"{"type":"array","items":"n.P"}"#, [reference].into_iter()).unwrap();
        assert_eq!(schema.node(schema.root()).kind, Kind::Array(0));
        assert_eq!(schema.size(0), Some(0));
    }

    #[test]
    fn what_java_refuses_is_refused() {
        for (text, reason) in [
            ("{", "the schema is no JSON"),
            (r#"{"type":"record","name":"1x","fields":[]}"#, "Illegal initial character: 1x"),
            (r#"{"type":"record","name":"R","fields":[{"name":"a-b","type":"int"}]}"#, "Illegal character in: a-b"),
            (r#"["int",["null"]]"#, "Nested union"),
            (r#"["int","int"]"#, "Duplicate in union:int"),
            (r#"{"type":"array","items":"Foo"}"#, "Undefined name: \"Foo\""),
            (r#"{"type":"fixed","name":"F"}"#, "Invalid or no size"),
            (r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":2}]"#, "Can't redefine: F"),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
                "Duplicate field a",
            ),
            ("7", "Schema not yet supported: 7"),
        ] {
            let got = parse(text).unwrap_err();
            assert!(got.starts_with(reason), "{text}: {got}");
        }
        let deep = format!("{}\"int\"{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn sizes_are_those_of_all_values() {
        let size = |text: &str| {
            let schema = parse(text).unwrap();
            schema.size(schema.root())
        };
        assert_eq!(size("\"double\""), Some(8));
        assert_eq!(size("\"int\""), None);
        assert_eq!(
            size(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"float"},{"name":"b","type":"null"}]}"#),
            Some(4)
        );
        assert_eq!(size(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"R"}]}"#), None);
    }
}
