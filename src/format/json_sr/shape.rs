//! What a JSON Schema says of a value, in the types of Kafka Connect (`JsonSchemaData.toConnectSchema`).
//!
//! ```text
//! {"type":"integer"}                          int64, required
//! {"oneOf":[{"type":"null"},{"type":"integer","connect.type":"int32"}]}    int32, nullable
//! {"oneOf":[{"type":"integer"},{"type":"string"}]}                         a union of two
//! ```
//!
//! Only one level is looked at: the parts of an array, an object or a union are nodes.

use super::schema::Node;
use serde_json::Value;
use std::collections::HashSet;

/// Logical names, as Connect's types are titled.
pub(super) const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
pub(super) const DATE: &str = "org.apache.kafka.connect.data.Date";
pub(super) const TIME: &str = "org.apache.kafka.connect.data.Time";
pub(super) const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";

/// The precision of a DECIMAL that names none.
const PRECISION_DEFAULT: i64 = 64;

/// A value's type, and whether it may be `null`.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub(super) ty: Ty<'a>,
    pub(super) nullable: bool,
}

/// A Connect type.
#[derive(Debug)]
pub(super) enum Ty<'a> {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    Bytes,
    Decimal {
        precision: i64,
        scale: i64,
    },
    Date,
    Time,
    Timestamp,
    Array(Node<'a>),
    /// An object whose members are the entries.
    Map(Node<'a>),
    /// An array of objects with `key` and `value`.
    Entries {
        key: Node<'a>,
        value: Node<'a>,
    },
    Struct(Vec<(&'a str, Node<'a>)>),
    /// The branches but `null`.
    Union(Vec<Node<'a>>),
}

/// Limit of unions in unions that leave one branch, and of `allOf`s in each other.
const WITHIN_MAX: usize = 100;

/// The shape of a node.
pub(super) fn shape(node: Node<'_>) -> Result<Shape<'_>, String> {
    within(node, 0)
}

fn within(node: Node<'_>, depth: usize) -> Result<Shape<'_>, String> {
    if depth == WITHIN_MAX {
        return Err(format!("more than {WITHIN_MAX} unions are in each other"));
    }
    let node = node.followed()?;
    if let Some(types) = node.kinds() {
        return union_of_types(node, types, depth);
    }
    let mut properties = vec![];
    if matches!(node.kind(), None | Some("object")) && node.text("connect.type") != Some("map") {
        collect(node, &mut properties, &mut HashSet::new(), &mut 0)?;
    }
    if !properties.is_empty() {
        return Ok(Shape { ty: Ty::Struct(ordered(properties)), nullable: false });
    }
    for keyword in ["oneOf", "anyOf"] {
        let branches = node.list(keyword);
        if node.kind().is_none() && !branches.is_empty() {
            return union(branches, depth);
        }
    }
    if node.kind().is_none()
        && let Some(part) = node.list("allOf").into_iter().find(|part| part.object().is_some_and(|o| !o.is_empty()))
    {
        return within(part, depth + 1);
    }
    let ty = scalar_or_nested(node, node.kind().or_else(|| implied(node)))?;
    Ok(Shape { ty, nullable: false })
}

/// Objects in `allOf` are merged with the one around: their members, a name once. More `allOf`s than this in each other are a loop.
const MERGED_MAX: usize = 1000;

fn collect<'a>(
    node: Node<'a>,
    found: &mut Vec<(&'a str, Node<'a>)>,
    names: &mut HashSet<&'a str>,
    count: &mut usize,
) -> Result<(), String> {
    *count += 1;
    if *count > MERGED_MAX {
        return Err(format!("more than {MERGED_MAX} schemas are merged by allOf"));
    }
    for (name, member) in node.members("properties") {
        if names.insert(name) {
            found.push((name, member));
        }
    }
    node.list("allOf").into_iter().try_for_each(|part| collect(part.followed()?, found, names, count))
}

/// By `connect.index`; a member without one comes where its name puts it.
fn ordered<'a>(mut found: Vec<(&'a str, Node<'a>)>) -> Vec<(&'a str, Node<'a>)> {
    found.sort_by_key(|(name, _)| *name);
    let mut places: Vec<_> = found
        .into_iter()
        .enumerate()
        .map(|(i, (name, node))| match node.get("connect.index").and_then(Value::as_i64) {
            Some(index) => (index, 0, name, node),
            None => (i as i64, 1, name, node),
        })
        .collect();
    places.sort_by_key(|(index, made_up, name, _)| (*index, *made_up, *name));
    places.into_iter().map(|(.., name, node)| (name, node)).collect()
}

/// `"type": ["null", "string"]`: each branch is the same schema with one of the types.
fn union_of_types<'a>(node: Node<'a>, types: &'a [Value], depth: usize) -> Result<Shape<'a>, String> {
    let named: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
    let others: Vec<&str> = named.iter().copied().filter(|name| *name != "null").collect();
    let nullable = others.len() < named.len();
    match others.as_slice() {
        [] => Err(unsupported("Null")),
        [one] => Ok(Shape { ty: within(node.only(one), depth + 1)?.ty, nullable }),
        several => Ok(Shape { ty: Ty::Union(several.iter().map(|kind| node.only(kind)).collect()), nullable }),
    }
}

fn union(branches: Vec<Node<'_>>, depth: usize) -> Result<Shape<'_>, String> {
    let before = branches.len();
    let mut others = vec![];
    for branch in branches {
        let followed = branch.followed()?;
        if followed.kind() != Some("null") {
            others.push(followed);
        }
    }
    let nullable = others.len() < before;
    match others.as_slice() {
        [] => Err(unsupported("Null")),
        [one] => {
            let Shape { ty, nullable: inner } = within(*one, depth + 1)?;
            Ok(Shape { ty, nullable: nullable || inner })
        }
        _ => Ok(Shape { ty: Ty::Union(others), nullable }),
    }
}

/// The type that keywords imply where `type` is not given.
fn implied(node: Node<'_>) -> Option<&'static str> {
    const WORDS: &[(&str, &[&str])] = &[
        (
            "object",
            &["properties", "additionalProperties", "required", "patternProperties", "minProperties", "maxProperties"],
        ),
        ("array", &["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
        ("string", &["enum", "const", "minLength", "maxLength", "pattern", "format"]),
    ];
    WORDS.iter().find(|(_, words)| words.iter().any(|word| node.get(word).is_some())).map(|(kind, _)| *kind)
}

fn scalar_or_nested<'a>(node: Node<'a>, kind: Option<&str>) -> Result<Ty<'a>, String> {
    let (connect, title) = (node.text("connect.type"), node.text("title"));
    Ok(match (kind, connect) {
        (Some("boolean"), _) => Ty::Boolean,
        (Some("number" | "integer" | "string"), Some("bytes")) if title == Some(DECIMAL) => decimal(node)?,
        (Some("number" | "integer"), Some("int8" | "int16" | "int32")) => match title {
            Some(DATE) => Ty::Date,
            Some(TIME) => Ty::Time,
            _ => Ty::Int32,
        },
        (Some("number"), Some("int64")) | (Some("integer"), None | Some("int64")) => match title {
            Some(TIMESTAMP) => Ty::Timestamp,
            _ => Ty::Int64,
        },
        (Some("number" | "integer"), Some("float32")) => Ty::Float32,
        (Some("number"), _) | (Some("integer"), Some("float64")) => Ty::Float64,
        (Some("integer"), _) => Ty::Int64,
        (Some("string"), Some("bytes")) => Ty::Bytes,
        (Some("string"), _) => Ty::String,
        (Some("array"), Some("map")) => entries(node)?,
        (Some("array"), _) => match node.child("items") {
            Some(items) => Ty::Array(items),
            None => return Err("Array schema did not specify the items type".to_owned()),
        },
        (Some("object"), Some("map")) => match node.child("additionalProperties") {
            Some(values) => Ty::Map(values),
            None => return Err("Map schema did not specify the additionalProperties type".to_owned()),
        },
        (Some("object"), _) => Ty::Struct(ordered(node.members("properties"))),
        (Some("null"), _) => return Err(unsupported("Null")),
        (None, _) if node.get("not").is_some() => return Err(unsupported("Not")),
        (None, _) if node.value() == &Value::Bool(false) => return Err(unsupported("False")),
        (Some(other), _) => return Err(format!("unknown type: [{other}]")),
        (None, _) => return Err("a schema that accepts every value has no SQL type".to_owned()),
    })
}

fn unsupported(kind: &str) -> String {
    format!("Unsupported schema type org.everit.json.schema.{kind}Schema")
}

fn decimal(node: Node<'_>) -> Result<Ty<'_>, String> {
    let param = |name: &str| node.get("connect.parameters").and_then(|p| p.get(name));
    let number = |name: &str, default: Option<i64>| match param(name) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
        None => default,
    };
    let scale = number("scale", None).ok_or("Invalid Decimal schema: scale parameter not found.")?;
    let precision = number("connect.decimal.precision", Some(PRECISION_DEFAULT));
    let precision = precision.ok_or("the precision of a Decimal is no number")?;
    Ok(Ty::Decimal { precision, scale })
}

fn entries<'a>(node: Node<'a>) -> Result<Ty<'a>, String> {
    let items = node.child("items").map(Node::followed).transpose()?;
    let part = |name: &str| {
        let items = items?;
        items.get("properties")?.get(name).map(|value| items.part(value))
    };
    match (part("key"), part("value")) {
        (Some(key), Some(value)) => Ok(Ty::Entries { key, value }),
        _ => Err("Map schema did not specify the key and value type".to_owned()),
    }
}
