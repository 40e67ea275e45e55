//! Avro schemas as they are written: names resolved, everything kept that the canonical text and a check of compatibility need
//! (aliases, defaults, documentation, properties of other tools).
//!
//! ```text
//! {"type":"record","name":"n.A","fields":[{"name":"x","type":"int"},{"name":"next","type":["null","A"]}]}
//!   named   n.A = record x: int, next: union of null and Named("n.A")
//!   root    Named("n.A")
//! ```
//!
//! A recursive schema is a graph by name, so that nothing here recurses without end. Payloads are not read by it: `schema` makes
//! of it what plans are compiled from.

mod default;
mod parse;
mod print;

pub(super) use parse::check_part;

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A schema.
#[derive(Clone, Debug)]
pub struct AvroSchema {
    /// The schema itself.
    pub root: Type,
    /// Records, enums and fixed types by full name, those of references included.
    pub named: BTreeMap<Arc<str>, Named>,
}

/// A type in a schema.
#[derive(Clone, Debug)]
pub enum Type {
    /// `null` to `string`.
    Primitive(Primitive, Properties),
    /// An array of this.
    Array(Box<Type>, Properties),
    /// A map from strings to this.
    Map(Box<Type>, Properties),
    /// One of these.
    Union(Vec<Type>),
    /// The named type of this full name.
    Named(Arc<str>),
}

/// The types without structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// No value.
    Null,
    /// A truth value.
    Boolean,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// 32 bits, floating.
    Float,
    /// 64 bits, floating.
    Double,
    /// Bytes.
    Bytes,
    /// Text.
    String,
}

/// Attributes that Avro itself does not define, in the order of the text.
pub type Properties = Vec<(String, Value)>;

/// A type with a name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Namespace and name.
    pub name: Name,
    /// Documentation.
    pub doc: Option<String>,
    /// Other full names.
    pub aliases: Vec<Name>,
    /// Attributes of other tools.
    pub properties: Properties,
    /// What it is.
    pub kind: NamedKind,
    /// Whether this text defines it; otherwise a reference does.
    pub is_own: bool,
}

/// What a named type is.
#[derive(Clone, Debug)]
pub enum NamedKind {
    /// A record, or an error.
    Record {
        /// `error` instead of `record`.
        is_error: bool,
        /// Its fields.
        fields: Vec<Field>,
    },
    /// One of these symbols.
    Enum {
        /// The symbols.
        symbols: Vec<String>,
        /// What a reader takes for a symbol that it does not know.
        default: Option<String>,
    },
    /// So many bytes.
    Fixed {
        /// The number.
        size: u64,
    },
}

/// A field of a record.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub schema: Type,
    /// Documentation.
    pub doc: Option<String>,
    /// What a reader takes where the writer has no such field.
    pub default: Option<Value>,
    /// `descending` or `ignore`.
    pub order: Option<String>,
    /// Other names.
    pub aliases: Vec<String>,
    /// Attributes of other tools.
    pub properties: Properties,
}

/// A name and its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Without the namespace.
    pub simple: String,
    /// `None` = the null namespace.
    pub space: Option<String>,
}

impl Primitive {
    const ALL: [(Primitive, &'static str); 8] = [
        (Primitive::Null, "null"),
        (Primitive::Boolean, "boolean"),
        (Primitive::Int, "int"),
        (Primitive::Long, "long"),
        (Primitive::Float, "float"),
        (Primitive::Double, "double"),
        (Primitive::Bytes, "bytes"),
        (Primitive::String, "string"),
    ];

    /// The type of this name.
    pub fn named(name: &str) -> Option<Primitive> {
        Primitive::ALL.into_iter().find(|(_, own)| *own == name).map(|(primitive, _)| primitive)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Primitive::ALL.into_iter().find(|(primitive, _)| *primitive == self).map_or("", |(_, name)| name)
    }
}

impl Name {
    /// A name in a text: with dots it is a full name, without it belongs to the namespace around it.
    pub fn of(text: &str, space: Option<&str>) -> Name {
        match text.rsplit_once('.') {
            Some((space, simple)) => Name { simple: simple.to_owned(), space: some(space) },
            None => Name { simple: text.to_owned(), space: space.and_then(some) },
        }
    }

    /// Namespace and name.
    pub fn full(&self) -> String {
        match &self.space {
            Some(space) => format!("{space}.{}", self.simple),
            None => self.simple.clone(),
        }
    }
}

fn some(space: &str) -> Option<String> {
    (!space.is_empty()).then(|| space.to_owned())
}

impl AvroSchema {
    /// The word for a type, as Avro's Java library prints it: `RECORD`, `INT`.
    pub fn kind(&self, schema: &Type) -> &'static str {
        match schema {
            Type::Primitive(primitive, _) => match primitive {
                Primitive::Null => "NULL",
                Primitive::Boolean => "BOOLEAN",
                Primitive::Int => "INT",
                Primitive::Long => "LONG",
                Primitive::Float => "FLOAT",
                Primitive::Double => "DOUBLE",
                Primitive::Bytes => "BYTES",
                Primitive::String => "STRING",
            },
            Type::Array(..) => "ARRAY",
            Type::Map(..) => "MAP",
            Type::Union(_) => "UNION",
            Type::Named(name) => match self.named.get(name).map(|named| &named.kind) {
                Some(NamedKind::Enum { .. }) => "ENUM",
                Some(NamedKind::Fixed { .. }) => "FIXED",
                Some(NamedKind::Record { .. }) | None => "RECORD",
            },
        }
    }
}
