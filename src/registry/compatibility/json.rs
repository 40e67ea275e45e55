//! Whether one JSON schema accepts what another has described: the rules of Confluent's registry for types, objects, arrays,
//! enums, limits and unions. What those keywords do not decide is not guessed: a difference in any other keyword that limits
//! values counts as incompatible, and says so.
//!
//! ```text
//! writer  {"properties":{"a":{"type":"string"}}}
//! reader  {"properties":{"a":{"type":"string"},"b":{"type":"string"}}}
//! OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL at #/properties/b: the writer was free to put a number there
//! ```
//!
//! An object is *open* if it allows properties that it does not name, *closed* if it allows none.

mod limits;
mod object;
mod union;

use super::{DEPTH_MAX, Difference, PAIRS_MAX};
use crate::registry::schema::json::JsonSchema;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Keywords that limit values and are not compared: they have to be equal.
const NOT_COMPARED: [&str; 20] = [
    "patternProperties",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
    "additionalItems",
    "prefixItems",
    "not",
    "if",
    "then",
    "else",
    "$dynamicRef",
    "$recursiveRef",
    "contentSchema",
    "contentEncoding",
];
/// Sentences, and the kinds of difference that they describe.
const TEMPLATES: &[(&str, &[&str])] = &[
    (
        "The keyword at path '{path}' in the {reader} schema is not present in the {writer} schema",
        &[
            "MAX_LENGTH_ADDED",
            "MIN_LENGTH_ADDED",
            "PATTERN_ADDED",
            "MAXIMUM_ADDED",
            "MINIMUM_ADDED",
            "EXCLUSIVE_MAXIMUM_ADDED",
            "EXCLUSIVE_MINIMUM_ADDED",
            "MULTIPLE_OF_ADDED",
            "REQUIRED_ATTRIBUTE_ADDED",
            "MAX_PROPERTIES_ADDED",
            "MIN_PROPERTIES_ADDED",
            "ADDITIONAL_PROPERTIES_REMOVED",
            "MAX_ITEMS_ADDED",
            "MIN_ITEMS_ADDED",
            "UNIQUE_ITEMS_ADDED",
        ],
    ),
    (
        "The value at path '{path}' in the {reader} schema is more than its value in the {writer} schema",
        &[
            "MIN_LENGTH_INCREASED",
            "MINIMUM_INCREASED",
            "EXCLUSIVE_MINIMUM_INCREASED",
            "MIN_PROPERTIES_INCREASED",
            "MIN_ITEMS_INCREASED",
            "MULTIPLE_OF_EXPANDED",
        ],
    ),
    (
        "The value at path '{path}' in the {reader} schema is less than its value in the {writer} schema",
        &[
            "MAX_LENGTH_DECREASED",
            "MAXIMUM_DECREASED",
            "EXCLUSIVE_MAXIMUM_DECREASED",
            "MAX_PROPERTIES_DECREASED",
            "MAX_ITEMS_DECREASED",
        ],
    ),
    (
        "The value at path '{path}' is different between the {reader} and {writer} schema",
        &["PATTERN_CHANGED", "MULTIPLE_OF_CHANGED"],
    ),
    (
        "An array or combined type at path '{path}' has fewer elements in the {reader} schema than the {writer} schema",
        &["ENUM_ARRAY_NARROWED", "SUM_TYPE_NARROWED", "ADDITIONAL_PROPERTIES_NARROWED"],
    ),
    (
        "An array or combined type at path '{path}' has more elements in the {reader} schema than the {writer} schema",
        &["PRODUCT_TYPE_EXTENDED"],
    ),
    (
        "A type at path '{path}' is different between the {reader} schema and the {writer} schema",
        &[
            "TYPE_CHANGED",
            "TYPE_NARROWED",
            "COMBINED_TYPE_CHANGED",
            "COMBINED_TYPE_SUBSCHEMAS_CHANGED",
            "ENUM_ARRAY_CHANGED",
        ],
    ),
    (
        "The {reader} schema has an open content model and has a property or item at path '{path}' which is missing \
             in the {writer} schema",
        &[
            "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
            "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL",
            "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
        ],
    ),
    (
        "The {reader} schema has an unopen content model and has a required property at path '{path}' which is \
             missing in the {writer} schema",
        &["REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL"],
    ),
    (
        "The {reader} schema has a closed content model and is missing a property or item present at path '{path}' \
             in the {writer} schema",
        &["PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"],
    ),
    (
        "A property or item is missing in the {reader} schema but present at path '{path}' in the {writer} schema \
             and is not covered by its partially open content model",
        &["PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"],
    ),
    (
        "The {reader} schema has a property or item at path '{path}' which is missing in the {writer} schema and is \
             not covered by its partially open content model",
        &["PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"],
    ),
    (
        "The keyword at path '{path}' differs between the {reader} schema and the {writer} schema, and Tidegate does \
             not compare its meaning",
        &["KEYWORD_NOT_COMPARED"],
    ),
    (
        "The reference at path '{path}' leads to no schema, in the {reader} schema or in the {writer} schema",
        &["UNRESOLVED_REFERENCE"],
    ),
];
/// Schemas between a reference and what it leads to in the end.
const REFERENCES_MAX: usize = 32;

/// Why `reader` cannot read what `writer` describes; empty = it can.
pub fn differences(reader: &JsonSchema, writer: &JsonSchema) -> Vec<Difference> {
    let mut check = Check { reader, writer, open: HashSet::new(), left: PAIRS_MAX, found: Vec::new() };
    check.pair(&reader.root, &writer.root, "#");
    check.found
}

struct Check<'a> {
    reader: &'a JsonSchema,
    writer: &'a JsonSchema,
    /// Pairs that are being compared, by address: one within itself counts as compatible.
    open: HashSet<(*const Value, *const Value)>,
    /// Pairs that may still be compared.
    left: usize,
    found: Vec<Difference>,
}

/// What kind of schema it is: schemas of two kinds are not compared further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It accepts everything.
    Any,
    /// It accepts nothing.
    Nothing,
    /// One of several values.
    Enum,
    /// `oneOf`, `anyOf`.
    Sum,
    /// `allOf`.
    Product,
    /// A list of types.
    Types,
    String,
    Number,
    Boolean,
    Null,
    Object,
    Array,
}

impl<'a> Check<'a> {
    /// Compares two schemas, at this path of the reader's.
    fn pair(&mut self, reader: &'a Value, writer: &'a Value, path: &str) {
        let Some(left) = self.left.checked_sub(1) else { return self.add("TOO_LARGE", path) };
        self.left = left;
        let (Some(new), Some(old)) = (resolve(reader, self.reader), resolve(writer, self.writer)) else {
            // A reference that leads nowhere: the same one on both sides is the same schema.
            return if reader != writer {
                self.add("UNRESOLVED_REFERENCE", path)
            };
        };
        let pair = (std::ptr::from_ref(new), std::ptr::from_ref(old));
        if self.open.len() >= DEPTH_MAX {
            return self.add("TOO_LARGE", path);
        }
        if self.open.insert(pair) {
            self.resolved(new, old, path);
            self.open.remove(&pair);
        }
    }

    /// Whether two schemas are compatible, without a trace of what is found.
    fn accepts(&mut self, reader: &'a Value, writer: &'a Value, path: &str) -> bool {
        let before = self.found.len();
        self.pair(reader, writer, path);
        let is_accepted = self.found.len() == before;
        self.found.truncate(before);
        is_accepted
    }

    fn resolved(&mut self, new: &'a Value, old: &'a Value, path: &str) {
        let (of_new, of_old) = (kind(new), kind(old));
        match (of_new, of_old) {
            (Kind::Any, _) | (_, Kind::Nothing) => return,
            (Kind::Sum | Kind::Product, _) | (_, Kind::Sum | Kind::Product) => return self.union(new, old, path),
            _ => {}
        }
        let (Value::Object(new), Value::Object(old)) = (new, old) else { return self.add("TYPE_CHANGED", path) };
        // One type may become several.
        let is_extended = of_new == Kind::Types && old.get("type").is_some_and(Value::is_string);
        if of_new != of_old && !is_extended {
            return self.add("TYPE_CHANGED", path);
        }
        match of_new {
            Kind::Enum => self.enumeration(new, old, path),
            Kind::Number => self.number(new, old, path),
            Kind::String => self.string(new, old, path),
            Kind::Object => self.object(new, old, path),
            Kind::Array => self.array(new, old, path),
            Kind::Types => self.types(new, old, path),
            _ => {}
        }
        self.uncompared(new, old, path);
    }

    /// Differences in keywords about whose meaning nothing is said here.
    fn uncompared(&mut self, new: &Map<String, Value>, old: &Map<String, Value>, path: &str) {
        for name in NOT_COMPARED {
            let (new, old) = (new.get(name), old.get(name));
            // One that is taken away limits nothing any more.
            if new.is_some() && new != old {
                self.add("KEYWORD_NOT_COMPARED", &format!("{path}/{name}"));
            }
        }
    }

    fn add(&mut self, kind: &'static str, path: &str) {
        self.found.push(Difference { kind, template: template(kind), path: path.to_owned(), info: None });
    }
}

/// Follows references within the schema and to others.
fn resolve<'a>(schema: &'a Value, within: &'a JsonSchema) -> Option<&'a Value> {
    let (mut schema, mut root) = (schema, &within.root);
    for _ in 0..REFERENCES_MAX {
        let Some(target) = schema.get("$ref").and_then(Value::as_str) else { return Some(schema) };
        let (name, pointer) = target.split_once('#').unwrap_or((target, ""));
        if !name.is_empty() {
            root = within.references.get(name).or_else(|| within.references.get(target))?;
        }
        schema = root.pointer(pointer)?;
    }
    None
}

fn kind(schema: &Value) -> Kind {
    let object = match schema {
        Value::Bool(true) => return Kind::Any,
        Value::Object(object) => object,
        _ => return Kind::Nothing,
    };
    let has = |names: &[&str]| names.iter().any(|name| object.contains_key(*name));
    if has(&["enum", "const"]) {
        return Kind::Enum;
    }
    if has(&["allOf"]) {
        return Kind::Product;
    }
    if has(&["oneOf", "anyOf"]) {
        return Kind::Sum;
    }
    match object.get("type") {
        Some(Value::Array(_)) => Kind::Types,
        Some(Value::String(name)) => match name.as_str() {
            "string" => Kind::String,
            "number" | "integer" => Kind::Number,
            "boolean" => Kind::Boolean,
            "null" => Kind::Null,
            "object" => Kind::Object,
            _ => Kind::Array,
        },
        _ if has(&["properties", "required", "additionalProperties", "patternProperties", "minProperties"]) => {
            Kind::Object
        }
        _ if has(&["items", "prefixItems", "minItems", "maxItems", "uniqueItems"]) => Kind::Array,
        _ if has(&["minLength", "maxLength", "pattern"]) => Kind::String,
        _ if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) => Kind::Number,
        // Keywords of which nothing is known here: compared as they are.
        _ if has(&NOT_COMPARED) => Kind::Object,
        _ => Kind::Any,
    }
}

fn template(kind: &str) -> &'static str {
    let found = TEMPLATES.iter().find(|(_, kinds)| kinds.contains(&kind));
    found.map_or(super::TOO_LARGE, |(template, _)| template)
}
