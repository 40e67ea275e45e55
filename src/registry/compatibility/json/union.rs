//! `oneOf`, `anyOf` and `allOf`.

use super::{Check, Kind, kind};
use serde_json::{Map, Value};

/// Keywords that say nothing of values.
const ANNOTATIONS: [&str; 12] = [
    "title",
    "description",
    "default",
    "examples",
    "$id",
    "id",
    "$schema",
    "$comment",
    "definitions",
    "$defs",
    "readOnly",
    "writeOnly",
];
const COMBINED: [&str; 3] = ["oneOf", "anyOf", "allOf"];

impl<'a> Check<'a> {
    /// Compares two schemas of which one at least is combined of others.
    pub(super) fn union(&mut self, new: &'a Value, old: &'a Value, path: &str) {
        let (of_new, of_old) = (combined(new), combined(old));
        match (of_new, of_old) {
            (Some((criterion, branches)), Some((written, old_branches))) => {
                if !same_rest(new, old) {
                    return self.add("KEYWORD_NOT_COMPARED", path);
                }
                match (criterion, written) {
                    ("allOf", "allOf") => self.product(branches, old_branches, path),
                    ("allOf", _) | (_, "allOf") => self.add("COMBINED_TYPE_CHANGED", path),
                    // A value that matches exactly one branch matches any; not the other way round.
                    ("oneOf", "anyOf") => self.add("COMBINED_TYPE_CHANGED", path),
                    _ => self.sum(criterion, branches, old_branches, path),
                }
            }
            (Some((criterion, branches)), None) => {
                let at = |index: usize| format!("{path}/{criterion}/{index}");
                let is_sum = kind(new) == Kind::Sum || branches.len() == 1;
                let mut each = branches.iter().enumerate();
                let accepts =
                    is_sum && !has_rest(new) && each.any(|(index, branch)| self.accepts(branch, old, &at(index)));
                if !accepts {
                    self.add("TYPE_CHANGED", path);
                }
            }
            (None, Some((_, [only]))) if !has_rest(old) => self.pair(new, only, path),
            _ => self.add("TYPE_CHANGED", path),
        }
    }

    fn sum(&mut self, criterion: &str, branches: &'a [Value], old: &'a [Value], path: &str) {
        let at = |index: usize| format!("{path}/{criterion}/{index}");
        let is_read = |check: &mut Self, old: &'a Value| {
            branches.iter().enumerate().any(|(index, branch)| check.accepts(branch, old, &at(index)))
        };
        if !old.iter().all(|old| is_read(self, old)) {
            let is_narrowed = branches.len() < old.len();
            self.add(if is_narrowed { "SUM_TYPE_NARROWED" } else { "COMBINED_TYPE_SUBSCHEMAS_CHANGED" }, path);
        }
    }

    /// Every part of the new schema has to accept what a part of the old one has guaranteed.
    fn product(&mut self, branches: &'a [Value], old: &'a [Value], path: &str) {
        let at = |index: usize| format!("{path}/allOf/{index}");
        let mut each = branches.iter().enumerate();
        let all = each.all(|(index, branch)| old.iter().any(|old| self.accepts(branch, old, &at(index))));
        if !all {
            let is_extended = branches.len() > old.len();
            self.add(if is_extended { "PRODUCT_TYPE_EXTENDED" } else { "COMBINED_TYPE_SUBSCHEMAS_CHANGED" }, path);
        }
    }
}

/// The keyword that combines, and what; of several keywords the first one, the others belong to the rest.
fn combined(schema: &Value) -> Option<(&'static str, &[Value])> {
    if !matches!(kind(schema), Kind::Sum | Kind::Product) {
        return None;
    }
    let find = |name: &'static str| Some((name, schema.get(name)?.as_array()?.as_slice()));
    match kind(schema) {
        Kind::Product => find("allOf"),
        _ => find("oneOf").or_else(|| find("anyOf")),
    }
}

/// What a combined schema says besides.
fn rest(schema: &Value) -> Map<String, Value> {
    let own = combined(schema).map(|(name, _)| name);
    let object = schema.as_object().into_iter().flatten();
    let counts = |name: &str| !ANNOTATIONS.contains(&name) && Some(name) != own && !name.starts_with("connect.");
    object.filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn has_rest(schema: &Value) -> bool {
    !rest(schema).is_empty()
}

fn same_rest(new: &Value, old: &Value) -> bool {
    let (mut new, mut old) = (rest(new), rest(old));
    COMBINED.iter().for_each(|name| {
        // Two different combinations side by side are compared as they are.
        if new.get(*name) == old.get(*name) {
            new.remove(*name);
            old.remove(*name);
        }
    });
    new == old
}
