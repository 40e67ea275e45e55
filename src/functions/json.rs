//! JSON inside strings, read. A text that is no JSON is an error.

use super::Param::{Anything, Is};
use super::kernel::{Arg, Texts, booleans, numbers, strings, text_lists};
use super::{Constants, Entry, ErrorSink, Overload, Returns, entry};
use crate::error::Result;
use crate::types::SqlType;
use crate::types::SqlType::{Boolean, Integer, String as Text};
use crate::types::display::write_value;
use arrow::array::{MapBuilder, MapFieldNames, StringBuilder};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::logical_expr::ColumnarValue;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const JSON: &str = "JSON";

pub(super) static ENTRIES: &[Entry] = &[
    entry!("EXTRACTJSONFIELD", JSON, "Returns the value at a path such as $.log.cloud[0].region as text.",
        ["EXTRACTJSONFIELD('{\"a\": [{\"b\": 1}]}', '$.a[0].b')" => "1"],
        [Overload::fallible(&[Is(Text), Is(Text)], Returns::Type(Text), extract).explained(cause).checked(check_path)]),
    entry!("IS_JSON_STRING", JSON, "Returns whether a text is valid JSON.",
    ["IS_JSON_STRING('[1, 2]')" => "true", "IS_JSON_STRING('abc')" => "false"],
    [Overload::new(&[Is(Text)], Returns::Type(Boolean), |args, rows, _| {
        let texts = Texts::new(args, 0)?;
        booleans(rows, |row| Some(texts.get(row).is_some_and(|t| parse(t).is_some())))
    })]),
    entry!("JSON_ARRAY_CONTAINS", JSON, "Returns whether an array in JSON has an element.",
        ["JSON_ARRAY_CONTAINS('[1, \"a\"]', 'a')" => "true"],
        [Overload::fallible(&[Is(Text), Anything], Returns::Type(Boolean), contains).explained(cause)]),
    entry!("JSON_ARRAY_LENGTH", JSON, "Returns the number of elements of an array in JSON; NULL for anything else.",
    ["JSON_ARRAY_LENGTH('[1, [2, 3]]')" => "2"],
    [Overload::fallible(&[Is(Text)], Returns::Type(Integer), |args, rows, errors| {
        let texts = Texts::new(args, 0)?;
        numbers::<Int32Type>(rows, |row| Some(read(texts.get(row)?, row, errors)?.as_array()?.len() as i32))
    }).explained(cause)]),
    entry!("JSON_ITEMS", JSON, "Returns the elements of an array in JSON, each as JSON.",
    ["JSON_ITEMS('[1, \"a\"]')" => "[1, \"a\"]"],
    [Overload::fallible(&[Is(Text)], Returns::Strings, |args, rows, errors| {
        let texts = Texts::new(args, 0)?;
        text_lists(rows, |row, out| {
            let Some(value) = texts.get(row).and_then(|t| read(t, row, errors)) else { return false };
            out.extend(value.as_array().into_iter().flatten().map(Value::to_string));
            value.is_array()
        })
    }).explained(cause)]),
    entry!("JSON_KEYS", JSON, "Returns the names of the members of an object in JSON; NULL for anything else.",
    ["JSON_KEYS('{\"a\": 1, \"b\": 2}')" => "[a, b]"],
    [Overload::fallible(&[Is(Text)], Returns::Strings, |args, rows, errors| {
        let texts = Texts::new(args, 0)?;
        text_lists(rows, |row, out| {
            let Some(value) = texts.get(row).and_then(|t| read(t, row, errors)) else { return false };
            out.extend(value.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
            value.is_object()
        })
    }).explained(cause)]),
    entry!("JSON_RECORDS", JSON, "Returns the members of an object in JSON as a map of texts.",
        ["JSON_RECORDS('{\"a\": 1, \"b\": \"c\"}')" => "{a=1, b=c}"],
        [Overload::fallible(&[Is(Text)], Returns::Of(text_map), records).explained(cause)]),
];

/// A text that is no JSON, in ksqlDB's words.
fn cause(row: &Constants<'_>) -> Option<String> {
    let text = row.text(0)?;
    first_value(text).is_none().then(|| format!("Invalid JSON format: {text}"))
}

fn text_map(_: &[SqlType]) -> SqlType {
    SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::String))
}

/// The value of a text; `None` = it is no JSON.
pub(super) fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// The same, and the row fails without.
pub(super) fn read(text: &str, row: usize, errors: &mut ErrorSink) -> Option<Value> {
    let value = parse(text);
    if value.is_none() {
        errors.fail(row);
    }
    value
}

fn contains(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let (texts, wanted) = (Texts::new(args, 0)?, Arg::new(args, 1)?);
    let is_text = *wanted.array().data_type() == DataType::Utf8;
    let mut shown = String::new();
    booleans(rows, |row| {
        let Some(value) = texts.get(row).and_then(|t| read(t, row, errors)) else { return Some(false) };
        let Some(items) = value.as_array() else { return Some(false) };
        if wanted.is_null(row) {
            return Some(items.iter().any(Value::is_null));
        }
        shown.clear();
        write_value(wanted.array(), wanted.place(row), &mut shown);
        Some(items.iter().any(|item| match item {
            Value::String(text) => is_text && *text == shown,
            Value::Number(number) => !is_text && same_number(&number.to_string(), &shown),
            Value::Bool(flag) => !is_text && flag.to_string() == shown,
            _ => false,
        }))
    })
}

fn same_number(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(x), Ok(y)) if x == y)
}

fn records(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let texts = Texts::new(args, 0)?;
    let names = MapFieldNames { entry: "entries".to_owned(), key: "keys".to_owned(), value: "values".to_owned() };
    let mut out = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in 0..rows {
        let value = texts.get(row).and_then(|t| read(t, row, errors));
        let members = value.as_ref().and_then(Value::as_object);
        for (name, value) in members.into_iter().flatten() {
            out.keys().append_value(name);
            match value {
                Value::String(text) => out.values().append_value(text),
                other => out.values().append_value(other.to_string()),
            }
        }
        out.append(members.is_some())?;
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}

/// A constant path has to be one.
fn check_path(constants: &Constants<'_>) -> std::result::Result<(), String> {
    match constants.text(1) {
        Some(path) if steps(path).is_none() => Err(format!("'{path}' is no path into JSON, such as $.a.b[0]")),
        _ => Ok(()),
    }
}

/// The first value of a text; what follows it does not count, as in ksqlDB.
fn first_value(text: &str) -> Option<Value> {
    serde_json::Deserializer::from_str(text).into_iter().next()?.ok()
}

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
        let (Some(Some(steps)), Some(root)) = (known.get(path), first_value(text)) else {
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
            // No array has an element before its first.
            None => Step::Item(usize::try_from(inside.parse::<i64>().ok()?).unwrap_or(usize::MAX)),
        });
        rest = &after[end + 1..];
    }
    Some(out)
}
