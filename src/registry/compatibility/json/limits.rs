//! Limits of numbers and strings, and lists of values.

use super::Check;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// A limit and what it is called when it is new, and when it has become narrower.
pub(super) struct Limit {
    name: &'static str,
    added: &'static str,
    narrowed: &'static str,
    is_upper: bool,
}

const NUMBER: [Limit; 4] = [
    upper("maximum", "MAXIMUM_ADDED", "MAXIMUM_DECREASED"),
    lower("minimum", "MINIMUM_ADDED", "MINIMUM_INCREASED"),
    upper("exclusiveMaximum", "EXCLUSIVE_MAXIMUM_ADDED", "EXCLUSIVE_MAXIMUM_DECREASED"),
    lower("exclusiveMinimum", "EXCLUSIVE_MINIMUM_ADDED", "EXCLUSIVE_MINIMUM_INCREASED"),
];
const STRING: [Limit; 2] = [
    upper("maxLength", "MAX_LENGTH_ADDED", "MAX_LENGTH_DECREASED"),
    lower("minLength", "MIN_LENGTH_ADDED", "MIN_LENGTH_INCREASED"),
];
pub(super) const OBJECT: [Limit; 2] = [
    upper("maxProperties", "MAX_PROPERTIES_ADDED", "MAX_PROPERTIES_DECREASED"),
    lower("minProperties", "MIN_PROPERTIES_ADDED", "MIN_PROPERTIES_INCREASED"),
];
const ARRAY: [Limit; 2] = [
    upper("maxItems", "MAX_ITEMS_ADDED", "MAX_ITEMS_DECREASED"),
    lower("minItems", "MIN_ITEMS_ADDED", "MIN_ITEMS_INCREASED"),
];

const fn upper(name: &'static str, added: &'static str, narrowed: &'static str) -> Limit {
    Limit { name, added, narrowed, is_upper: true }
}

const fn lower(name: &'static str, added: &'static str, narrowed: &'static str) -> Limit {
    Limit { name, added, narrowed, is_upper: false }
}

impl<'a> Check<'a> {
    pub(super) fn limits(&mut self, limits: &[Limit], new: &Object, old: &Object, path: &str) {
        for limit in limits {
            let Some(value) = new.get(limit.name) else { continue };
            let path = format!("{path}/{}", limit.name);
            match (old.get(limit.name), number(value)) {
                (Some(old), _) if old == value => {}
                (None, _) => self.add(limit.added, &path),
                (Some(old), value) => match (number(old), value) {
                    (Some(old), Some(new)) if limit.is_upper && new >= old || !limit.is_upper && new <= old => {}
                    _ => self.add(limit.narrowed, &path),
                },
            }
        }
    }

    pub(super) fn number(&mut self, new: &Object, old: &Object, path: &str) {
        self.limits(&NUMBER, new, old, path);
        let is_integer = |schema: &Object| schema.get("type").and_then(Value::as_str) == Some("integer");
        if is_integer(new) && !is_integer(old) {
            self.add("TYPE_NARROWED", path);
        }
        let Some(step) = new.get("multipleOf") else { return };
        let path = format!("{path}/multipleOf");
        match old.get("multipleOf") {
            Some(old) if old == step => {}
            None => self.add("MULTIPLE_OF_ADDED", &path),
            Some(old) => match (number(step), number(old)) {
                // What was a multiple of the old one is one of the new one.
                (Some(new), Some(old)) if new != 0.0 && old % new == 0.0 => {}
                (Some(new), Some(old)) if old != 0.0 && new % old == 0.0 => self.add("MULTIPLE_OF_EXPANDED", &path),
                _ => self.add("MULTIPLE_OF_CHANGED", &path),
            },
        }
    }

    pub(super) fn string(&mut self, new: &Object, old: &Object, path: &str) {
        self.limits(&STRING, new, old, path);
        match (new.get("pattern"), old.get("pattern")) {
            (Some(_), None) => self.add("PATTERN_ADDED", &format!("{path}/pattern")),
            (Some(new), Some(old)) if new != old => self.add("PATTERN_CHANGED", &format!("{path}/pattern")),
            _ => {}
        }
    }

    pub(super) fn array(&mut self, new: &'a Object, old: &'a Object, path: &str) {
        self.limits(&ARRAY, new, old, path);
        let is_unique = |schema: &Object| schema.get("uniqueItems").and_then(Value::as_bool) == Some(true);
        if is_unique(new) && !is_unique(old) {
            self.add("UNIQUE_ITEMS_ADDED", &format!("{path}/uniqueItems"));
        }
        let path = format!("{path}/items");
        match (new.get("items"), old.get("items")) {
            (new, old) if new == old => {}
            (Some(Value::Array(_)), _) | (_, Some(Value::Array(_))) => self.add("KEYWORD_NOT_COMPARED", &path),
            (Some(new), Some(old)) => self.pair(new, old, &path),
            (Some(new), None) => self.pair(new, &Value::Bool(true), &path),
            (None, _) => {}
        }
    }

    pub(super) fn enumeration(&mut self, new: &Object, old: &Object, path: &str) {
        let (new, old) = (values(new), values(old));
        let keeps = old.iter().all(|value| new.contains(value));
        if !keeps {
            let is_narrowed = new.iter().all(|value| old.contains(value));
            let kind = if is_narrowed { "ENUM_ARRAY_NARROWED" } else { "ENUM_ARRAY_CHANGED" };
            self.add(kind, &format!("{path}/enum"));
        }
    }

    /// Several types: each of the old ones has to be there.
    pub(super) fn types(&mut self, new: &'a Object, old: &'a Object, path: &str) {
        let (own, written) = (types(new), types(old));
        let accepts = |name: &&str| own.contains(name) || *name == "integer" && own.contains(&"number");
        if !written.iter().all(accepts) {
            self.add(if own.len() < written.len() { "SUM_TYPE_NARROWED" } else { "TYPE_CHANGED" }, path);
        }
        if written.iter().any(|name| matches!(*name, "number" | "integer")) {
            self.limits(&NUMBER, new, old, path);
        }
        if written.contains(&"string") {
            self.string(new, old, path);
        }
        if written.contains(&"object") {
            self.object(new, old, path);
        }
        if written.contains(&"array") {
            self.array(new, old, path);
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

/// The values of `enum`, or that of `const`.
fn values(schema: &Object) -> Vec<&Value> {
    let listed = schema.get("enum").and_then(Value::as_array).map(|list| list.iter().collect());
    listed.unwrap_or_else(|| schema.get("const").into_iter().collect())
}

fn types(schema: &Object) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name],
        _ => Vec::new(),
    }
}
