//! Rows that come as JSON objects instead of INSERT statements: each becomes the statement that it stands for, so that
//! both ways mean the same.

use crate::catalog::Source;
use crate::catalog::topics::Deed;
use crate::engine::Engine;
use crate::engine::access::Role;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::types::SqlType;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How deep a row may nest: a value is turned into text by recursion.
const NESTING_MAX: usize = 64;

impl Engine {
    /// Checks that rows may be written to `target`, in the words of a request: quoted or upper-cased here.
    pub fn check_insert_target(&self, target: &str, session: &Session) -> Result<()> {
        self.check_alive()?;
        self.require(session.principal(), Role::Writer, "INSERT")?;
        let name = name(target);
        let catalog = self.catalog();
        let source = catalog
            .source(&name)
            .ok_or_else(|| Error::statement(format!("Cannot insert values into an unknown stream/table: `{name}`")))?;
        self.check_topic(session, &source.topic)?;
        if source.window.is_some() || source.read_only {
            let what = if source.read_only { "read-only" } else { "windowed" };
            return Err(Error::statement(format!("Cannot insert into {name}: it is {what}")));
        }
        self.inner.topics.check(&source.topic, Deed::InsertValues)
    }

    /// Writes one row, durably, without a record in the audit log: the door writes one for all rows. Names of columns are
    /// upper-cased unless they are in back quotes. As ksqlDB's `KeyValueExtractor` reads a row: every key column is required, and
    /// fields that are no columns are ignored.
    pub fn insert_row(&self, target: &str, row: &Map<String, Value>, session: &mut Session) -> Result<()> {
        let name = name(target);
        let source = self.catalog().require(&name)?.clone();
        let statement = statement(&source, row)?;
        for parsed in crate::parse::parse(&statement)? {
            self.carry_out(&parsed, session)?;
        }
        Ok(())
    }
}

/// A name as SQL reads it.
fn name(text: &str) -> String {
    match text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => text.to_uppercase(),
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn statement(source: &Source, row: &Map<String, Value>) -> Result<String> {
    let given: BTreeMap<String, &Value> = row.iter().map(|(column, value)| (name(column), value)).collect();
    for key in &source.schema.key {
        if given.get(&key.name).is_none_or(|value| value.is_null()) {
            return Err(Error::statement(format!("Key field must be specified: {}", key.name)));
        }
    }
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (column, value) in given {
        let found = source.schema.columns().find(|c| c.name == column);
        let ty = match found {
            Some(found) => &found.ty,
            None if column == "ROWTIME" => &SqlType::Bigint,
            None => continue,
        };
        let mut text = String::new();
        literal(value, ty, NESTING_MAX, &mut text).map_err(|e| e.with_detail(format!("in column {column}")))?;
        columns.push(quoted(&column));
        values.push(text);
    }
    // A row of which nothing is known is a row of NULLs.
    if columns.is_empty()
        && let Some(first) = source.schema.value.first()
    {
        columns.push(quoted(&first.name));
        values.push("NULL".to_owned());
    }
    Ok(format!("INSERT INTO {} ({}) VALUES ({})", quoted(&source.name), columns.join(", "), values.join(", ")))
}

/// The SQL of a JSON value for a column of this type.
fn literal(value: &Value, ty: &SqlType, depth: usize, out: &mut String) -> Result<()> {
    if depth == 0 {
        return Err(Error::statement(format!("a value nests deeper than {NESTING_MAX} levels")));
    }
    match (value, ty) {
        (Value::Null, _) => out.push_str("NULL"),
        (Value::Bool(true), _) => out.push_str("TRUE"),
        (Value::Bool(false), _) => out.push_str("FALSE"),
        (Value::Number(number), _) => out.push_str(&number.to_string()),
        (Value::String(text), SqlType::Bytes) => {
            out.push_str("TO_BYTES(");
            string(text, out);
            out.push_str(", 'base64')");
        }
        (Value::String(text), _) => string(text, out),
        (Value::Array(items), SqlType::Array(item)) => {
            out.push_str("ARRAY[");
            separated(items, out, |value, out| literal(value, item, depth - 1, out))?;
            out.push(']');
        }
        (Value::Object(fields), SqlType::Map(_, item)) => {
            out.push_str("MAP(");
            separated(fields, out, |(key, value), out| {
                string(key, out);
                out.push_str(" := ");
                literal(value, item, depth - 1, out)
            })?;
            out.push(')');
        }
        (Value::Object(fields), SqlType::Struct(known)) => {
            out.push_str("STRUCT(");
            separated(fields, out, |(key, value), out| {
                let key = name(key);
                let found = known.iter().find(|(field, _)| *field == key);
                let (_, ty) = found.ok_or_else(|| Error::statement(format!("there is no field {}", quoted(&key))))?;
                let _ = write!(out, "{} := ", quoted(&key));
                literal(value, ty, depth - 1, out)
            })?;
            out.push(')');
        }
        (Value::Array(_) | Value::Object(_), _) => {
            return Err(Error::statement(format!("{value} is no value of type {ty}")));
        }
    }
    Ok(())
}

fn separated<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut String,
    mut each: impl FnMut(T, &mut String) -> Result<()>,
) -> Result<()> {
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        each(item, out)?;
    }
    Ok(())
}

fn string(text: &str, out: &mut String) {
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
}
