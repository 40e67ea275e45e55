//! JSON_CONCAT: `||` of JSON, as PostgreSQL has it.
//!
//! ```text
//! {"a":1} || {"b":2}   {"a":1,"b":2}      the later member counts
//! [1] || [2]           [1,2]
//! 1 || [2]             [1,2]              what is no array counts as an array of one
//! 1 || 2               [1,2]
//! ```

use super::Param::Is;
use super::json::{JSON, read};
use super::kernel::{Texts, strings};
use super::{Entry, ErrorSink, Overload, Returns, Volatility, entry};
use crate::error::Result;
use crate::types::SqlType::String as Text;
use datafusion::logical_expr::ColumnarValue;
use serde_json::Value;

pub(super) static ENTRIES: &[Entry] = &[entry!(
    "JSON_CONCAT",
    JSON,
    "Joins JSON: members of objects, elements of arrays; what is no array counts as an array of one.",
    ["JSON_CONCAT('{\"a\": 1}', '{\"b\": 2}')" => "{\"a\":1,\"b\":2}", "JSON_CONCAT('[1]', '2')" => "[1,2]"],
    [Overload {
        params: &[Is(Text)],
        variadic: true,
        returns: Returns::Type(Text),
        can_fail: true,
        check: None,
        cause: None,
        volatility: Volatility::Immutable,
        implementation: concat,
    }]
)];

fn concat(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
    let texts = Texts::all(args, 0)?;
    strings(rows, |row, out| {
        let mut whole: Option<Value> = None;
        for text in &texts {
            let Some(value) = text.get(row).and_then(|t| read(t, row, errors)) else { return false };
            whole = Some(match whole {
                None => value,
                Some(before) => merged(before, value),
            });
        }
        out.push_str(&whole.unwrap_or(Value::Null).to_string());
        true
    })
}

fn merged(left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Object(mut left), Value::Object(right)) => {
            left.extend(right);
            Value::Object(left)
        }
        (left, right) => {
            let items = |value: Value| match value {
                Value::Array(items) => items,
                other => vec![other],
            };
            let mut all = items(left);
            all.extend(items(right));
            Value::Array(all)
        }
    }
}
