//! JSON inside strings.

use super::Param::Is;
use super::kernel::{Texts, strings};
use super::{Entry, ErrorSink, Overload, Returns};
use crate::error::Result;
use crate::types::SqlType::String as Text;
use datafusion::logical_expr::ColumnarValue;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) static ENTRIES: &[Entry] = &[Entry {
    name: "EXTRACTJSONFIELD",
    category: "JSON",
    description: "Returns the value at a path such as $.log.cloud[0].region as text.",
    overloads: &[Overload {
        params: &[Is(Text), Is(Text)],
        variadic: false,
        returns: Returns::Type(Text),
        can_fail: true,
        implementation: extract,
    }],
}];

enum Step {
    Member(String),
    Item(usize),
}

fn extract(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, paths) = (Texts::new(args, 0)?, Texts::new(args, 1)?);
    // A path is nearly always one constant.
    let mut known: BTreeMap<String, Option<Vec<Step>>> = BTreeMap::new();
    strings(rows, |row, out| {
        let (Some(text), Some(path)) = (texts.get(row), paths.get(row)) else { return false };
        if !known.contains_key(path) {
            known.insert(path.to_string(), steps(path));
        }
        let (Some(Some(steps)), Ok(root)) = (known.get(path), serde_json::from_str::<Value>(text)) else {
            errors.fail(row);
            return false;
        };
        let found = steps.iter().try_fold(&root, |value, step| match step {
            Step::Member(name) => value.get(name),
            Step::Item(index) => value.get(index),
        });
        match found {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => {
                out.push_str(text);
                true
            }
            Some(other) => {
                out.push_str(&other.to_string());
                true
            }
        }
    })
}

/// `$.a.b[0]['c']`
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut out = vec![];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return None;
            }
            out.push(Step::Member(after[..end].to_string()));
            rest = &after[end..];
            continue;
        }
        let after = rest.strip_prefix('[')?;
        let end = after.find(']')?;
        let inside = &after[..end];
        let quoted = ['\'', '"'].iter().find_map(|q| inside.strip_prefix(*q)?.strip_suffix(*q));
        out.push(match quoted {
            Some(name) => Step::Member(name.to_string()),
            None => Step::Item(inside.parse().ok()?),
        });
        rest = &after[end + 1..];
    }
    Some(out)
}
