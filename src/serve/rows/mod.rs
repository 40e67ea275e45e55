//! How rows are written: three forms of one result set, and the lines of PRINT.
//!
//! ```text
//! lines   {"queryId":..,"columnNames":[..],"columnTypes":[..]}\n [..]\n [..]\n
//! array   [{"queryId":..},\n [..],\n [..]]
//! rows    [{"header":{"queryId":..,"schema":".."}},\n {"row":{"columns":[..]}},\n {"finalMessage":".."}]
//! table   [{"header":{"queryId":..,"schema":".."}},\n {"row":{"columns":[..]}}]
//! text    Key format: ..\nValue format: ..\nrowtime: .., key: .., value: .., partition: ..\n
//! ```
//!
//! In `rows` the `,\n` follows each element at once, because ksqlDB's Java clients read line by line (`RecordParser`) and would
//! see every element one later; a final message or an error ends the array. The rows of a pulled table end without a message.
//!
//! Clients take the first line to be the header and nothing else, so each of these pieces is a body frame of its own.

pub(super) mod print_lines;
pub(super) mod queue;

use super::error;
use super::ksql::entity::type_json;
use crate::engine::result::rows::{OutputColumn, RowStream};
use crate::error::{Error, Result};
use crate::types::cell;
use arrow::array::ArrayRef;
use axum::http::header::HeaderMap;
use serde_json::{Value, json};

/// The newline-delimited form.
pub(crate) const DELIMITED: &str = "application/vnd.ksqlapi.delimited.v1";
/// ksqlDB's own JSON.
pub(crate) const KSQL: &str = "application/vnd.ksql.v1+json";
/// The final message of rows that ended without one: their query was closed from outside.
const ENDED: &str = "Query terminated";
/// Plain JSON.
pub(crate) const JSON: &str = "application/json";

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One JSON value a line.
    Lines,
    /// One JSON array of a header and rows.
    Array,
    /// One JSON array of tagged objects; besides the next one the only form with tombstones.
    Rows,
    /// The same of a pulled table, which has no final message.
    TableRows,
    /// The same objects, each on its own, after a list of columns: messages of a WebSocket.
    Messages,
    /// Lines of text, for PRINT only.
    Text,
}

/// The media types that a request names, in its order; empty = it takes anything.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<String> {
    let named = headers.get_all("accept").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let bare = named.map(|v| v.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    bare.filter(|v| !v.is_empty()).collect()
}

/// The error for a request that wants none of what there is.
pub(crate) fn not_acceptable(wanted: &[String], offered: &[&str]) -> Error {
    Error::statement(format!("unsupported media type {}", wanted.join(", ")))
        .with_code(40600)
        .with_hint(format!("accept {}", offered.join(" or ")))
}

impl Shape {
    /// The form that a request accepts; `default` if it accepts any.
    pub(crate) fn wanted(headers: &HeaderMap, default: Shape) -> Result<Shape> {
        let named = accepted(headers);
        let shape = |name: &String| match name.as_str() {
            DELIMITED => Some(Shape::Lines),
            KSQL => Some(Shape::Rows),
            JSON if default == Shape::Rows => Some(Shape::Rows),
            JSON => Some(Shape::Array),
            "*/*" | "application/*" => Some(default),
            _ => None,
        };
        match named.iter().find_map(shape) {
            Some(shape) => Ok(shape),
            None if named.is_empty() => Ok(default),
            None => Err(not_acceptable(&named, &[DELIMITED, JSON, KSQL])),
        }
    }

    /// The form of PRINT: text, if the client accepts it. The older endpoint does not check.
    pub(crate) fn printed(self, headers: &HeaderMap) -> Result<Shape> {
        let named = accepted(headers);
        let takes =
            |name: &String| matches!(name.as_str(), DELIMITED | "*/*" | "application/*" | "text/*" | "text/plain");
        match matches!(self, Shape::Lines | Shape::Messages) || named.is_empty() || named.iter().any(takes) {
            true => Ok(Shape::Text),
            false => Err(not_acceptable(&named, &[DELIMITED])),
        }
    }

    /// Media type of the response.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Shape::Lines | Shape::Text => DELIMITED,
            Shape::Array | Shape::Messages => JSON,
            Shape::Rows | Shape::TableRows => KSQL,
        }
    }

    /// The shape for these rows.
    pub(crate) fn of(self, rows: &dyn RowStream) -> Shape {
        match self {
            Shape::Rows if rows.is_table_pull() => Shape::TableRows,
            other => other,
        }
    }

    /// Writes the start of the response.
    pub(crate) fn header(self, rows: &dyn RowStream, out: &mut Vec<u8>) {
        let columns = rows.columns();
        let head = match self {
            Shape::Text => return,
            Shape::Rows | Shape::TableRows => {
                let mark = |at: usize| if rows.is_key(at) { " KEY" } else { "" };
                let column = |(at, c): (usize, &OutputColumn)| format!("`{}` {}{}", c.name, c.ty, mark(at));
                let schema: Vec<_> = columns.iter().enumerate().map(column).collect();
                json!({ "header": { "queryId": rows.id(), "schema": schema.join(", ") } })
            }
            Shape::Messages => {
                let column = |c: &OutputColumn| json!({ "name": c.name, "schema": type_json(&c.ty) });
                Value::Array(columns.iter().map(column).collect())
            }
            Shape::Lines | Shape::Array => {
                let names: Vec<_> = columns.iter().map(|c| c.name.as_str()).collect();
                let types: Vec<_> = columns.iter().map(|c| c.ty.to_string()).collect();
                json!({ "queryId": rows.id(), "columnNames": names, "columnTypes": types })
            }
        };
        if self.is_array() {
            out.push(b'[');
        }
        self.put(&head, out);
    }

    /// A row; the forms without tombstones leave deleted rows out, and `out` as it was. After an error, too, it is as it was.
    pub(crate) fn row(self, columns: &[ArrayRef], row: usize, tombstone: bool, out: &mut Vec<u8>) -> Result<()> {
        if tombstone && !self.is_objects() {
            return Ok(());
        }
        if self == Shape::Text {
            print_lines::line(columns, row, out);
            return Ok(());
        }
        let start = out.len();
        self.separate(out);
        if self.is_objects() {
            out.extend_from_slice(b"{\"row\":{\"columns\":");
        }
        if let Err(e) = cell::write_row(columns, row, out) {
            out.truncate(start);
            return Err(e);
        }
        if self.is_objects() {
            out.extend_from_slice(if tombstone { b",\"tombstone\":true}}" } else { b"}}" });
        }
        self.finish(out);
        Ok(())
    }

    /// Why the rows end: an error. An array is not closed behind it: what broke off is no whole JSON. A WebSocket is closed
    /// with the error instead.
    pub(crate) fn failure(self, error: &Error, out: &mut Vec<u8>) {
        match self {
            Shape::Messages => return,
            Shape::Text => return out.extend_from_slice(format!("{error}\n").as_bytes()),
            _ => self.separate(out),
        }
        let body = error::body(error, None);
        match self {
            Shape::Rows | Shape::TableRows => self.value(&json!({ "errorMessage": body }), out),
            _ => self.put(&body, out),
        }
    }

    /// Writes the end of the response; `message` is why the rows ended.
    pub(crate) fn end(self, message: Option<&str>, out: &mut Vec<u8>) {
        if self == Shape::Rows {
            self.value(&json!({ "finalMessage": message.unwrap_or(ENDED) }), out);
        }
        if self.is_array() {
            out.push(b']');
        }
    }

    fn is_array(self) -> bool {
        matches!(self, Shape::Array | Shape::Rows | Shape::TableRows)
    }

    fn is_objects(self) -> bool {
        matches!(self, Shape::Rows | Shape::TableRows | Shape::Messages)
    }

    fn put(self, value: &Value, out: &mut Vec<u8>) {
        self.value(value, out);
        self.finish(out);
    }

    fn value(self, value: &Value, out: &mut Vec<u8>) {
        out.extend_from_slice(value.to_string().as_bytes());
    }

    fn separate(self, out: &mut Vec<u8>) {
        if matches!(self, Shape::Array | Shape::TableRows) {
            out.extend_from_slice(b",\n");
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        match self {
            Shape::Lines => out.push(b'\n'),
            Shape::Rows => out.extend_from_slice(b",\n"),
            _ => {}
        }
    }
}
