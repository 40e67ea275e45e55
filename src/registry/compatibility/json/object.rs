//! Objects: properties, which of them are required, and what else may be there.

use super::limits::OBJECT;
use super::{Check, Kind, kind};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

type Object = Map<String, Value>;

/// What an object says of properties that it does not name.
#[derive(Clone, Copy)]
enum Others<'a> {
    /// Anything goes.
    Open,
    /// Nothing goes.
    Closed,
    /// They have this schema.
    Of(&'a Value),
    /// It depends on their names.
    Pattern,
}

impl<'a> Check<'a> {
    pub(super) fn object(&mut self, new: &'a Object, old: &'a Object, path: &str) {
        self.limits(&OBJECT, new, old, path);
        self.required(new, old, path);
        let (own, written) = (properties(new), properties(old));
        let names: BTreeSet<&String> = own.iter().chain(&written).flat_map(|object| object.keys()).collect();
        for name in names {
            let path = format!("{path}/properties/{name}");
            let find = |object: Option<&'a Object>| object.and_then(|object| object.get(name.as_str()));
            match (find(own), find(written)) {
                (Some(new), Some(old)) => self.pair(new, old, &path),
                (None, Some(old)) => self.removed(old, others(new), &path),
                (Some(property), None) => self.added(name, property, new, others(old), &path),
                (None, None) => {}
            }
        }
        self.additional(new, old, path);
    }

    /// A property of the old schema that the new one does not name.
    fn removed(&mut self, old: &'a Value, others: Others<'a>, path: &str) {
        match others {
            Others::Open => {}
            Others::Of(schema) if self.accepts(schema, old, path) => {}
            Others::Of(_) | Others::Pattern => {
                self.add("PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", path);
            }
            Others::Closed if kind(old) == Kind::Nothing => {}
            Others::Closed => self.add("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", path),
        }
    }

    /// A property of the new schema that the old one did not name, and may have allowed with any value.
    fn added(&mut self, name: &str, property: &'a Value, new: &Object, others: Others<'a>, path: &str) {
        let is_required = required(new).contains(name);
        let has_default = property.get("default").is_some();
        match others {
            Others::Open if kind(property) == Kind::Any => return,
            Others::Open => {
                return self.add(
                    match (is_required, has_default) {
                        (true, true) => "REQUIRED_PROPERTY_WITH_DEFAULT_ADDED_TO_OPEN_CONTENT_MODEL",
                        (true, false) => "REQUIRED_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
                        (false, _) => "OPTIONAL_PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
                    },
                    path,
                );
            }
            Others::Of(schema) if self.accepts(property, schema, path) => {}
            Others::Of(_) | Others::Pattern => {
                self.add("PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", path);
            }
            Others::Closed => {}
        }
        if is_required && !has_default {
            self.add("REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", path);
        }
    }

    fn required(&mut self, new: &Object, old: &Object, path: &str) {
        let (own, written) = (required(new), required(old));
        let (named_new, named_old) = (properties(new), properties(old));
        for name in own.difference(&written) {
            let find = |object: Option<&'_ Object>| object.is_some_and(|object| object.contains_key(*name));
            let property = named_new.and_then(|object| object.get(*name));
            let has_default = property.is_some_and(|property| property.get("default").is_some());
            // A property that is new is judged as a whole.
            let is_new = find(named_new) && !find(named_old);
            if !has_default && !is_new {
                self.add("REQUIRED_ATTRIBUTE_ADDED", &format!("{path}/required/{name}"));
            }
        }
    }

    fn additional(&mut self, new: &'a Object, old: &'a Object, path: &str) {
        let path = format!("{path}/additionalProperties");
        let of = |object: &'a Object| object.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let (new, old) = (of(new), of(old));
        match (new, old) {
            (Value::Bool(true), _) | (_, Value::Bool(false)) => {}
            (Value::Bool(false), _) => self.add("ADDITIONAL_PROPERTIES_REMOVED", &path),
            (_, Value::Bool(true)) if kind(new) == Kind::Any => {}
            (_, Value::Bool(true)) => self.add("ADDITIONAL_PROPERTIES_NARROWED", &path),
            _ => self.pair(new, old, &path),
        }
    }
}

fn properties(schema: &Object) -> Option<&Object> {
    schema.get("properties").and_then(Value::as_object)
}

fn required(schema: &Object) -> BTreeSet<&str> {
    let listed = schema.get("required").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn others(schema: &Object) -> Others<'_> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    if patterns.is_some_and(|patterns| !patterns.is_empty()) {
        return Others::Pattern;
    }
    match schema.get("additionalProperties") {
        None | Some(Value::Bool(true)) => Others::Open,
        Some(Value::Bool(false)) => Others::Closed,
        Some(schema) => Others::Of(schema),
    }
}
