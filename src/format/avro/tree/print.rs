//! The canonical text of an Avro schema: what Avro's Java library prints, and with it every registry of Confluent's stores.
//!
//! ```text
//! { "name": "n.A", "type": "record", "fields": [ {"type": {"type": "int"}, "name": "x"} ] }
//! {"type":"record","name":"A","namespace":"n","fields":[{"name":"x","type":"int"}]}
//! ```
//!
//! A type is defined where it is met first, and named afterwards.

use super::{AvroSchema, Field, Name, Named, NamedKind, Primitive, Properties, Type};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

impl AvroSchema {
    /// The canonical text.
    pub fn canonical(&self) -> String {
        Printer::over(self, false).schema(&self.root, None).to_string()
    }

    /// The same with attributes of other tools in the order of their names: the text of `normalize=true`.
    pub fn normalized(&self) -> String {
        Printer::over(self, true).schema(&self.root, None).to_string()
    }

    pub(super) fn print_type(&self, schema: &Type) -> String {
        Printer::over(self, false).schema(schema, None).to_string()
    }
}

struct Printer<'a> {
    schema: &'a AvroSchema,
    is_sorted: bool,
    /// Types that are defined by now.
    defined: BTreeSet<&'a str>,
}

impl<'a> Printer<'a> {
    fn over(schema: &'a AvroSchema, is_sorted: bool) -> Printer<'a> {
        Printer { schema, is_sorted, defined: BTreeSet::new() }
    }

    fn schema(&mut self, schema: &'a Type, space: Option<&str>) -> Value {
        match schema {
            Type::Primitive(primitive, properties) if properties.is_empty() => primitive.name().into(),
            Type::Primitive(primitive, properties) => self.object("type", primitive.name().into(), properties),
            Type::Array(items, properties) => {
                let items = self.schema(items, space);
                self.collection("array", "items", items, properties)
            }
            Type::Map(values, properties) => {
                let values = self.schema(values, space);
                self.collection("map", "values", values, properties)
            }
            Type::Union(branches) => branches.iter().map(|branch| self.schema(branch, space)).collect(),
            Type::Named(full) => match self.schema.named.get_key_value(full) {
                Some((full, named)) if named.is_own && self.defined.insert(full) => self.definition(named, space),
                Some((_, named)) => qualified(&named.name, space).into(),
                None => full.to_string().into(),
            },
        }
    }

    fn object(&self, name: &str, value: Value, properties: &Properties) -> Value {
        let mut object = Map::new();
        object.insert(name.to_owned(), value);
        self.add(&mut object, properties);
        Value::Object(object)
    }

    fn collection(&self, kind: &str, inner: &str, schema: Value, properties: &Properties) -> Value {
        let mut object = Map::new();
        object.insert("type".to_owned(), kind.into());
        object.insert(inner.to_owned(), schema);
        self.add(&mut object, properties);
        Value::Object(object)
    }

    fn add(&self, object: &mut Map<String, Value>, properties: &Properties) {
        let mut properties: Vec<_> = properties.iter().collect();
        if self.is_sorted {
            properties.sort_by(|a, b| a.0.cmp(&b.0));
        }
        for (name, value) in properties {
            object.insert(name.clone(), value.clone());
        }
    }

    fn definition(&mut self, named: &'a Named, space: Option<&str>) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("type", named.kind.word().into());
        put("name", named.name.simple.clone().into());
        let own = named.name.space.as_deref();
        if own != space {
            put("namespace", own.unwrap_or_default().into());
        }
        if let Some(doc) = &named.doc {
            put("doc", doc.clone().into());
        }
        match &named.kind {
            NamedKind::Record { fields, .. } => {
                let fields = fields.iter().map(|field| self.field(field, own)).collect();
                put("fields", fields);
            }
            NamedKind::Enum { symbols, default } => {
                put("symbols", symbols.iter().cloned().collect());
                if let Some(default) = default {
                    put("default", default.clone().into());
                }
            }
            NamedKind::Fixed { size } => {
                put("size", (*size).into());
            }
        }
        self.add(&mut object, &named.properties);
        if !named.aliases.is_empty() {
            let aliases = named.aliases.iter().map(|alias| qualified(alias, own)).collect();
            object.insert("aliases".to_owned(), aliases);
        }
        Value::Object(object)
    }

    fn field(&mut self, field: &'a Field, space: Option<&str>) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("name", field.name.clone().into());
        put("type", self.schema(&field.schema, space));
        if let Some(doc) = &field.doc {
            put("doc", doc.clone().into());
        }
        if let Some(default) = &field.default {
            put("default", default.clone());
        }
        if let Some(order) = &field.order {
            put("order", order.clone().into());
        }
        if !field.aliases.is_empty() {
            put("aliases", field.aliases.iter().cloned().collect());
        }
        self.add(&mut object, &field.properties);
        Value::Object(object)
    }
}

impl NamedKind {
    fn word(&self) -> &'static str {
        match self {
            NamedKind::Record { is_error: false, .. } => "record",
            NamedKind::Record { is_error: true, .. } => "error",
            NamedKind::Enum { .. } => "enum",
            NamedKind::Fixed { .. } => "fixed",
        }
    }
}

/// A name as it is written within a namespace.
fn qualified(name: &Name, space: Option<&str>) -> String {
    match name.space.is_some() && name.space.as_deref() == space && Primitive::named(&name.simple).is_none() {
        true => name.simple.clone(),
        false => name.full(),
    }
}
