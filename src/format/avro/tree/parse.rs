//! The text of an Avro schema to its tree. The rules and the messages are those of Avro's Java library.

use super::{AvroSchema, Field, Name, Named, NamedKind, Primitive, Properties, Type};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Attributes of a schema that Avro defines.
const OF_SCHEMA: [&str; 10] =
    ["type", "name", "namespace", "doc", "fields", "symbols", "items", "values", "size", "aliases"];
/// Attributes of a field that Avro defines.
const OF_FIELD: [&str; 6] = ["name", "type", "doc", "default", "order", "aliases"];

impl AvroSchema {
    /// Reads a schema after the texts that it refers to, in their order. `checked` = defaults have to fit their types.
    pub fn parse<'a>(
        text: &str,
        references: impl IntoIterator<Item = &'a str>,
        checked: bool,
    ) -> Result<AvroSchema, String> {
        let references = references.into_iter().map(json).collect::<Result<Vec<Value>, String>>()?;
        AvroSchema::of_json(&json(text)?, &references, checked)
    }

    /// The same of texts that are JSON already.
    pub fn of_json(value: &Value, references: &[Value], checked: bool) -> Result<AvroSchema, String> {
        let mut parser = Parser::default();
        references.iter().try_for_each(|reference| parser.schema(reference, None).map(drop))?;
        parser.is_own = true;
        parser.checked = checked;
        let root = parser.schema(value, None)?;
        let schema = AvroSchema { root, named: parser.named };
        for (field, default, of) in parser.defaults {
            if !schema.is_default(&of, &default) {
                let text = schema.print_type(&of);
                return Err(format!("Invalid default for field {field}: {default} not a {text}"));
            }
        }
        Ok(schema)
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

#[derive(Default)]
struct Parser {
    named: BTreeMap<Arc<str>, Named>,
    /// Names whose definition has begun.
    declared: BTreeSet<Arc<str>>,
    is_own: bool,
    checked: bool,
    /// Defaults that are checked at the end, when all names are known.
    defaults: Vec<(String, Value, Type)>,
}

impl Parser {
    fn schema(&mut self, value: &Value, space: Option<&str>) -> Result<Type, String> {
        match value {
            Value::String(name) => self.by_name(name, space).ok_or_else(|| undefined(name)),
            Value::Array(branches) => self.union(branches, space),
            Value::Object(object) => self.object(object, value, space),
            _ => Err(format!("Schema not yet supported: {value}")),
        }
    }

    /// A primitive type, or a type that is declared: in this namespace, or else in the null namespace.
    fn by_name(&self, name: &str, space: Option<&str>) -> Option<Type> {
        if let Some(primitive) = Primitive::named(name) {
            return Some(Type::Primitive(primitive, Vec::new()));
        }
        let full = Name::of(name, space).full();
        let known = [full.as_str(), name].into_iter().find_map(|full| self.declared.get(full));
        known.map(|full| Type::Named(full.clone()))
    }

    fn union(&mut self, branches: &[Value], space: Option<&str>) -> Result<Type, String> {
        let (mut types, mut seen) = (Vec::new(), BTreeSet::new());
        for branch in branches {
            let branch = self.schema(branch, space)?;
            let name = match &branch {
                Type::Union(_) => {
                    return Err(format!("Nested union: {}", Value::from(branches.to_vec())));
                }
                Type::Primitive(primitive, _) => primitive.name().to_owned(),
                Type::Array(..) => "array".to_owned(),
                Type::Map(..) => "map".to_owned(),
                Type::Named(full) => full.to_string(),
            };
            if !seen.insert(name.clone()) {
                return Err(format!("Duplicate in union:{name}"));
            }
            types.push(branch);
        }
        Ok(Type::Union(types))
    }

    fn object(&mut self, object: &Map<String, Value>, value: &Value, space: Option<&str>) -> Result<Type, String> {
        let Some(kind) = object.get("type").and_then(Value::as_str) else {
            return Err(format!("No type: {value}"));
        };
        if let Some(primitive) = Primitive::named(kind) {
            return Ok(Type::Primitive(primitive, properties(object, &OF_SCHEMA)));
        }
        let inner =
            |what: &str, name: &str| object.get(name).ok_or_else(|| format!("{what} has no {name} type: {value}"));
        match kind {
            "array" => {
                let items = self.schema(inner("Array", "items")?, space)?;
                Ok(Type::Array(Box::new(items), properties(object, &OF_SCHEMA)))
            }
            "map" => {
                let values = self.schema(inner("Map", "values")?, space)?;
                Ok(Type::Map(Box::new(values), properties(object, &OF_SCHEMA)))
            }
            "record" | "error" | "enum" | "fixed" => self.definition(kind, object, space),
            name => self.by_name(name, space).ok_or_else(|| format!("Type not supported: {name}")),
        }
    }

    fn definition(&mut self, kind: &str, object: &Map<String, Value>, space: Option<&str>) -> Result<Type, String> {
        let Some(text) = object.get("name").and_then(Value::as_str) else {
            return Err(format!("No name in schema: {}", Value::Object(object.clone())));
        };
        let own_space = object.get("namespace").and_then(Value::as_str);
        let name = Name::of(text, own_space.or(space));
        check_name(&name)?;
        let full: Arc<str> = name.full().into();
        if Primitive::named(&full).is_some() {
            return Err(format!("Schemas may not be named after primitives: {full}"));
        }
        if !self.declared.insert(full.clone()) {
            return Err(format!("Can't redefine: {full}"));
        }
        let space = name.space.as_deref();
        let kind = match kind {
            "enum" => enumeration(object)?,
            "fixed" => fixed(object)?,
            _ => NamedKind::Record { is_error: kind == "error", fields: self.fields(object, &name)? },
        };
        let mut properties = properties(object, &OF_SCHEMA);
        if matches!(kind, NamedKind::Enum { .. }) {
            properties.retain(|(name, _)| name != "default");
        }
        let aliases = texts(object, "aliases")?.iter().map(|alias| Name::of(alias, space)).collect();
        let doc = object.get("doc").and_then(Value::as_str).map(str::to_owned);
        let named = Named { doc, aliases, properties, kind, is_own: self.is_own, name };
        self.named.insert(full.clone(), named);
        Ok(Type::Named(full))
    }

    fn fields(&mut self, object: &Map<String, Value>, record: &Name) -> Result<Vec<Field>, String> {
        let Some(list) = object.get("fields").and_then(Value::as_array) else {
            return Err(format!("Record has no fields: {}", Value::Object(object.clone())));
        };
        let (mut fields, mut seen) = (Vec::with_capacity(list.len()), BTreeSet::new());
        for field in list {
            let field = self.field(field, record)?;
            if !seen.insert(field.name.clone()) {
                return Err(format!("Duplicate field {} in record {}", field.name, record.full()));
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn field(&mut self, value: &Value, record: &Name) -> Result<Field, String> {
        let object = value.as_object().ok_or_else(|| format!("No field name: {value}"))?;
        let name = object.get("name").and_then(Value::as_str).ok_or_else(|| format!("No field name: {value}"))?;
        check_part(name)?;
        let schema = match object.get("type") {
            None => return Err(format!("No field type: {value}")),
            Some(Value::String(text)) => self.by_name(text, record.space.as_deref()).ok_or_else(|| {
                format!(
                    "\"{text}\" is not a defined name. The type of the \"{name}\" field must be a defined name or a \
                     {{\"type\": ...}} expression."
                )
            })?,
            Some(schema) => self.schema(schema, record.space.as_deref())?,
        };
        let default = object.get("default").cloned();
        if let Some(default) = default.as_ref().filter(|_| self.checked) {
            self.defaults.push((name.to_owned(), default.clone(), schema.clone()));
        }
        let order = object.get("order").and_then(Value::as_str).map(str::to_lowercase);
        Ok(Field {
            schema,
            default,
            doc: object.get("doc").and_then(Value::as_str).map(str::to_owned),
            order: order.filter(|order| order != "ascending"),
            aliases: texts(object, "aliases")?,
            properties: properties(object, &OF_FIELD),
            name: name.to_owned(),
        })
    }
}

fn enumeration(object: &Map<String, Value>) -> Result<NamedKind, String> {
    if !object.contains_key("symbols") {
        return Err(format!("Enum has no symbols: {}", Value::Object(object.clone())));
    }
    let symbols = texts(object, "symbols")?;
    let mut seen = BTreeSet::new();
    for symbol in &symbols {
        check_part(symbol)?;
        if !seen.insert(symbol) {
            return Err(format!("Duplicate enum symbol: {symbol}"));
        }
    }
    let default = object.get("default").and_then(Value::as_str).map(str::to_owned);
    match &default {
        Some(default) if !symbols.contains(default) => {
            let symbols = symbols.join(", ");
            Err(format!("The Enum Default: {default} is not in the enum symbol set: [{symbols}]"))
        }
        _ => Ok(NamedKind::Enum { symbols, default }),
    }
}

fn fixed(object: &Map<String, Value>) -> Result<NamedKind, String> {
    let size = object.get("size").and_then(Value::as_u64);
    let size = size.ok_or_else(|| format!("Invalid or no size: {}", Value::Object(object.clone())))?;
    Ok(NamedKind::Fixed { size })
}

fn properties(object: &Map<String, Value>, reserved: &[&str]) -> Properties {
    let own = object.iter().filter(|(name, _)| !reserved.contains(&name.as_str()));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn texts(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = object.get(name) else { return Ok(Vec::new()) };
    let list = value.as_array().and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    list.ok_or_else(|| format!("{name} not an array of strings: {value}"))
}

fn undefined(name: &str) -> String {
    format!("Undefined name: \"{name}\"")
}

fn check_name(name: &Name) -> Result<(), String> {
    let space = name.space.as_deref().unwrap_or_default();
    let parts = space.split('.').filter(|part| !part.is_empty());
    parts.chain([name.simple.as_str()]).try_for_each(check_part)
}

/// Checks a name without dots as Java does.
pub(in crate::format::avro) fn check_part(name: &str) -> Result<(), String> {
    let Some(first) = name.chars().next() else { return Err("Empty name".to_owned()) };
    if !first.is_alphabetic() && first != '_' {
        return Err(format!("Illegal initial character: {name}"));
    }
    match name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        true => Ok(()),
        false => Err(format!("Illegal character in: {name}")),
    }
}
