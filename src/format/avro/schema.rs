//! Avro schemas as a graph: nodes by index, so that a type can contain itself.
//!
//! ```text
//! {"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}
//! 0: Record R [next: 1]    1: Union [2, 0]    2: Null
//! ```
//!
//! Parsed as Java's `Schema.Parser` does, with what Connect's annotations (`connect.*`) say. The sizes of types that always take
//! as many bytes are computed once: what takes none is never walked, however often the schema repeats it.

use serde_json::{Map, Value};
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
    /// Full names that it also has.
    pub(crate) aliases: Vec<String>,
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
    /// Symbols, and the default for unknown ones.
    Enum(Vec<String>, Option<String>),
    Fixed(usize),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
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
        let mut parser = Parser { nodes: vec![], names: HashMap::new() };
        for reference in references {
            parser.text(reference)?;
        }
        let root = parser.text(text)?;
        let mut schema = Schema { sizes: vec![None; parser.nodes.len()], nodes: parser.nodes, root };
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
            Kind::Int | Kind::Long | Kind::Bytes | Kind::String | Kind::Enum(..) => None,
        };
    }
}

/// Checks a name as Java does.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let first = letters.next().ok_or_else(|| "Empty name".to_owned())?;
    if !(first.is_alphabetic() || first == '_') {
        return Err(format!("Illegal initial character: {name}"));
    }
    if letters.any(|c| !(c.is_alphanumeric() || c == '_')) {
        return Err(format!("Illegal character in: {name}"));
    }
    Ok(())
}

struct Parser {
    nodes: Vec<Node>,
    /// Named types by full name.
    names: HashMap<String, Id>,
}

impl Parser {
    fn text(&mut self, text: &str) -> Result<Id, String> {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            // A bare name, as some registries keep primitive schemas.
            Err(_) if primitive(text.trim()).is_some() => Value::String(text.trim().to_owned()),
            Err(e) => return Err(format!("the schema is no JSON: {e}")),
        };
        self.ty(&value, "")
    }

    fn push(&mut self, kind: Kind, notes: Notes) -> Id {
        self.nodes.push(Node { kind, name: None, aliases: vec![], notes });
        self.nodes.len() - 1
    }

    fn ty(&mut self, value: &Value, namespace: &str) -> Result<Id, String> {
        match value {
            Value::String(name) => match primitive(name) {
                Some(kind) => Ok(self.push(kind, Notes::default())),
                None => self.named(name, namespace),
            },
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("a type is a name, an object or an array, not {other}")),
        }
    }

    fn named(&self, name: &str, namespace: &str) -> Result<Id, String> {
        let found = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| format!("\"{name}\" is not a defined name"))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<Id, String> {
        let types = branches.iter().map(|b| self.ty(b, namespace)).collect::<Result<Vec<Id>, _>>()?;
        for (i, ty) in types.iter().enumerate() {
            let node = &self.nodes[*ty];
            if matches!(node.kind, Kind::Union(_)) {
                return Err("Nested union".to_owned());
            }
            let name = self.branch_name(*ty);
            if types[..i].iter().any(|before| self.branch_name(*before) == name) {
                return Err(format!("Duplicate in union:{name}"));
            }
        }
        Ok(self.push(Kind::Union(types), Notes::default()))
    }

    fn branch_name(&self, id: Id) -> &str {
        let node = &self.nodes[id];
        node.name.as_deref().unwrap_or_else(|| node.kind.type_name())
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Id, String> {
        let notes = notes(object);
        let ty = object.get("type").ok_or_else(|| format!("No type: {}", Value::Object(object.clone())))?;
        let Value::String(ty) = ty else { return self.ty(ty, namespace) };
        match ty.as_str() {
            "array" => {
                let items = object.get("items").ok_or("Array has no items type")?;
                let items = self.ty(items, namespace)?;
                Ok(self.push(Kind::Array(items), notes))
            }
            "map" => {
                let values = object.get("values").ok_or("Map has no values type")?;
                let values = self.ty(values, namespace)?;
                Ok(self.push(Kind::Map(values), notes))
            }
            "record" | "error" => self.record(object, namespace, notes),
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array).ok_or("Enum has no symbols")?;
                let symbols = symbols.iter().map(|s| s.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                let symbols = symbols.ok_or("a symbol of an enum is a string")?;
                for (i, symbol) in symbols.iter().enumerate() {
                    check_name(symbol)?;
                    if symbols[..i].contains(symbol) {
                        return Err(format!("Duplicate enum symbol: {symbol}"));
                    }
                }
                let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
                if let Some(unknown) = default.as_ref().filter(|d| !symbols.contains(d)) {
                    return Err(format!("The Enum Default: {unknown} is not in the enum symbol set: {symbols:?}"));
                }
                self.define(object, namespace, Kind::Enum(symbols, default), notes).map(|(id, _)| id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|n| i32::try_from(n).ok());
                let size = size.ok_or("Invalid or no size")?;
                self.define(object, namespace, Kind::Fixed(size as usize), notes).map(|(id, _)| id)
            }
            name => match primitive(name) {
                Some(kind) => Ok(self.push(kind, notes)),
                None => self.named(name, namespace),
            },
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str, notes: Notes) -> Result<Id, String> {
        let (id, own) = self.define(object, namespace, Kind::Record(vec![]), notes)?;
        let list = object.get("fields").and_then(Value::as_array).ok_or("Record has no fields")?;
        let mut fields: Vec<Field> = vec![];
        let mut names = std::collections::HashSet::new();
        for field in list {
            let name = field.get("name").and_then(Value::as_str).ok_or("No field name")?;
            check_name(name)?;
            if !names.insert(name) {
                let record = self.nodes[id].name.clone().unwrap_or_default();
                return Err(format!("Duplicate field {name} in record {record}"));
            }
            let ty = field.get("type").ok_or_else(|| format!("No type for the field {name}"))?;
            let ty = self.ty(ty, &own).map_err(|reason| match reason.starts_with('"') {
                true => format!(
                    "{reason}. The type of the \"{name}\" field must be a defined name or a {{\"type\": ...}} expression."
                ),
                false => reason,
            })?;
            let default = field.get("default").cloned();
            fields.push(Field { name: name.to_owned(), aliases: texts(field.get("aliases")), ty, default });
        }
        self.nodes[id].kind = Kind::Record(fields);
        Ok(id)
    }

    /// Adds a named type; also returns its namespace.
    fn define(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        kind: Kind,
        notes: Notes,
    ) -> Result<(Id, String), String> {
        let name = object.get("name").and_then(Value::as_str).ok_or("No name in schema")?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        let (own, last) = full.rsplit_once('.').unwrap_or(("", &full));
        check_name(last)?;
        if primitive(&full).is_some() {
            return Err(format!("Schemas may not be named after primitives: {full}"));
        }
        let aliases = texts(object.get("aliases")).iter().map(|alias| full_name(alias, own)).collect();
        let own = own.to_owned();
        if self.names.contains_key(&full) {
            return Err(format!("Can't redefine: {full}"));
        }
        let id = self.nodes.len();
        self.names.insert(full.clone(), id);
        self.nodes.push(Node { kind, name: Some(full), aliases, notes });
        Ok((id, own))
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
            Kind::Enum(..) => "enum",
            Kind::Fixed(_) => "fixed",
        }
    }
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.trim_start_matches('.').to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn notes(object: &Map<String, Value>) -> Notes {
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| object.get(name).and_then(Value::as_i64);
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
            (r#"{"type":"array","items":"Foo"}"#, "\"Foo\" is not a defined name"),
            (r#"{"type":"fixed","name":"F"}"#, "Invalid or no size"),
            (r#"[{"type":"fixed","name":"F","size":1},{"type":"fixed","name":"F","size":2}]"#, "Can't redefine: F"),
            (
                r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
                "Duplicate field a",
            ),
            ("7", "a type is"),
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
