//! How the columns are written by a registered schema: compiled once, bound to the arrays of each batch by `write`.
//!
//! The schema is the one that the columns give, or one that was there before (`VALUE_SCHEMA_ID`). Then its fields may be in another
//! order, more, or of other types: a field without a column has its default or null, and what cannot be written makes the row bad.

use super::plan::connect_name;
use super::schema::{Field, Id, Kind, Schema};
use super::translate::{branch_name, field_name};
use crate::format::frame::put_zigzag;
use crate::format::rows::Refusal;
use crate::types::SqlType;
use serde_json::Value as Json;

/// A value with its NULL.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) null: OnNull,
    /// The branch of a union that the value is.
    pub(super) tag: Option<u8>,
    pub(super) value: Value,
}

/// What is written for a NULL.
#[derive(Debug)]
pub(super) enum OnNull {
    Bytes(Box<[u8]>),
    Refused(String),
}

/// How a value is written.
#[derive(Debug)]
pub(super) enum Value {
    Int,
    Long,
    Float,
    Double,
    Boolean,
    String,
    Enum(Vec<String>),
    Bytes,
    Fixed(usize),
    /// The column's scale, the schema's precision and scale, and its size if it is fixed.
    Decimal {
        from: i32,
        precision: u8,
        scale: i8,
        size: Option<usize>,
    },
    Array(Box<Put>),
    Map(Box<Put>),
    /// A map as an array of entries, with the parts of one.
    Entries(Vec<Part>),
    Record(Vec<Part>),
    /// A STRUCT as a union: for each of its fields the branch.
    Union(Vec<Put>),
}

/// A field of a record, in the schema's order.
#[derive(Debug)]
pub(super) enum Part {
    /// From the column of this index.
    Column(usize, Put),
    /// A field without a column.
    Constant(Box<[u8]>),
    /// No record can be written.
    Refused(String),
}

/// How a payload is written.
#[derive(Debug)]
pub(super) enum Root {
    /// A record of the columns, after these bytes.
    Record(Box<[u8]>, Vec<Part>),
    /// The only column.
    Value(Put),
}

/// The layout of these columns; `unwrapped`: the only one is the payload.
pub(super) fn root(schema: &Schema, columns: &[(String, SqlType)], unwrapped: bool) -> Result<Root, String> {
    if let ([(name, ty)], true) = (columns, unwrapped) {
        return put(schema, schema.root(), ty, name, None).map(Root::Value);
    }
    let wanted = |id: Id| if let Kind::Record(fields) = &schema.node(id).kind { Some(fields) } else { None };
    let columns: Vec<(String, &SqlType)> = columns.iter().map(|(name, ty)| (field_name(name), ty)).collect();
    if let Some(fields) = wanted(schema.root()) {
        return Ok(Root::Record(Box::default(), parts(schema, fields, &columns)));
    }
    let branches = schema.union(schema.root()).map(|(branches, _)| branches).unwrap_or_default();
    match branches.iter().find_map(|(at, id)| Some((*at, wanted(*id)?))) {
        Some((at, fields)) => Ok(Root::Record(index(at).into(), parts(schema, fields, &columns))),
        None => Err("the schema is no record, which has the columns as its fields".to_owned()),
    }
}

/// The parts of a record.
fn parts(schema: &Schema, fields: &[Field], columns: &[(String, &SqlType)]) -> Vec<Part> {
    let missing = columns.iter().find(|(name, _)| !fields.iter().any(|f| f.name == *name));
    if let Some((name, _)) = missing {
        return vec![Part::Refused(format!("Schema from Schema Registry misses field with name: {name}"))];
    }
    let part = |field: &Field| match columns.iter().position(|(name, _)| *name == field.name) {
        Some(at) => match put(schema, field.ty, columns[at].1, &field.name, field.default.as_ref()) {
            Ok(put) => Part::Column(at, put),
            Err(reason) => Part::Refused(reason),
        },
        None => constant(schema, field),
    };
    fields.iter().map(part).collect()
}

/// A field that no column is written to.
fn constant(schema: &Schema, field: &Field) -> Part {
    let mut out = vec![];
    if field.default.as_ref().is_some_and(|default| write_default(schema, field.ty, default, &mut out).is_some()) {
        return Part::Constant(out.into());
    }
    match schema.union(field.ty) {
        Some((_, Some(null))) => Part::Constant(index(null).into()),
        _ => Part::Refused(format!(
            "Missing default value for required Avro field: [{}]. This field appears in Avro schema in Schema Registry",
            field.name
        )),
    }
}

fn index(at: usize) -> Vec<u8> {
    let mut out = vec![];
    put_zigzag(at as i64, &mut out);
    out
}

/// How a column is written as a type of the schema.
fn put(schema: &Schema, id: Id, ty: &SqlType, name: &str, default: Option<&Json>) -> Result<Put, String> {
    let Some((branches, null)) = schema.union(id) else {
        let mut out = vec![];
        let null = match default.and_then(|default| write_default(schema, id, default, &mut out)) {
            Some(()) => OnNull::Bytes(out.into()),
            None => OnNull::Refused(format!(
                "Invalid value: null used for required field: \"{name}\", schema type: {}",
                connect_name(schema, id).to_uppercase()
            )),
        };
        return Ok(Put { null, tag: None, value: value(schema, id, ty, name)? });
    };
    let null = match null {
        Some(at) => OnNull::Bytes(index(at).into()),
        None => OnNull::Refused(format!("Invalid value: null used for required field: \"{name}\", schema type: union")),
    };
    let mut refused = format!("field {name} is a union without a type for {ty}");
    for (at, branch) in &branches {
        match value(schema, *branch, ty, name) {
            Ok(value) => {
                let tag = u8::try_from(*at * 2).ok().filter(|tag| *tag < 0x80);
                let tag = tag.ok_or_else(|| format!("the union of field {name} has more than 64 branches"))?;
                return Ok(Put { null, tag: Some(tag), value });
            }
            Err(reason) if branches.len() == 1 => refused = reason,
            Err(_) => {}
        }
    }
    match ty {
        SqlType::Struct(fields) if branches.len() > 1 => {
            let branch = |(field, ty): &(String, SqlType)| {
                let named = branches.iter().find(|(_, id)| branch_name(schema, *id).eq_ignore_ascii_case(field));
                let (at, id) = named.ok_or_else(|| format!("the union of field {name} has no branch {field}"))?;
                let tag = u8::try_from(*at * 2).ok().filter(|tag| *tag < 0x80);
                let value = value(schema, *id, ty, field)?;
                Ok(Put { null: OnNull::Refused(String::new()), tag, value })
            };
            let value = Value::Union(fields.iter().map(branch).collect::<Result<_, String>>()?);
            Ok(Put { null, tag: None, value })
        }
        _ => Err(refused),
    }
}

fn value(schema: &Schema, id: Id, ty: &SqlType, name: &str) -> Result<Value, String> {
    use SqlType as S;
    let node = schema.node(id);
    let decimal = schema.is_logical(id, "decimal");
    Ok(match (ty, &node.kind) {
        (S::Boolean, Kind::Boolean) => Value::Boolean,
        (S::Integer | S::Date | S::Time, Kind::Int) => Value::Int,
        (S::Integer, Kind::Long) | (S::Bigint | S::Timestamp, Kind::Long) => Value::Long,
        (S::Double, Kind::Double) => Value::Double,
        (S::Double, Kind::Float) => Value::Float,
        (S::String, Kind::String) => Value::String,
        (S::String, Kind::Enum(symbols)) => Value::Enum(symbols.clone()),
        (S::Bytes, Kind::Bytes) if !decimal => Value::Bytes,
        (S::Bytes, Kind::Fixed(size)) if !decimal => Value::Fixed(*size),
        (S::Decimal(own, from), kind @ (Kind::Bytes | Kind::Fixed(_))) if decimal => {
            let size = if let Kind::Fixed(size) = kind { Some(*size) } else { None };
            let precision = node.notes.precision.map_or(Ok(*own), u8::try_from);
            match (precision, i8::try_from(node.notes.scale.unwrap_or(0))) {
                (Ok(precision), Ok(scale)) => Value::Decimal { from: i32::from(*from), precision, scale, size },
                _ => return Err(format!("field {name} has more digits than a DECIMAL")),
            }
        }
        (S::Array(item), Kind::Array(items)) if schema.map_entries(*items).is_none() => {
            Value::Array(Box::new(put(schema, *items, item, name, None)?))
        }
        (S::Map(_, item), Kind::Map(values)) => Value::Map(Box::new(put(schema, *values, item, name, None)?)),
        (S::Map(_, item), Kind::Array(items)) if schema.map_entries(*items).is_some() => {
            let entry = [("key".to_owned(), &S::String), ("value".to_owned(), &**item)];
            Value::Entries(parts(schema, schema.map_entries(*items).unwrap_or_default(), &entry))
        }
        (S::Struct(fields), Kind::Record(record)) => {
            let fields: Vec<(String, &S)> = fields.iter().map(|(name, ty)| (field_name(name), ty)).collect();
            Value::Record(parts(schema, record, &fields))
        }
        (ty, kind) => {
            return Err(format!("field {name} is of type {}, which {ty} is not written as", kind.type_name()));
        }
    })
}

/// Appends a field's default; `None` = it is none.
fn write_default(schema: &Schema, id: Id, default: &Json, out: &mut Vec<u8>) -> Option<()> {
    match (&schema.node(id).kind, default) {
        (Kind::Null, Json::Null) => {}
        (Kind::Boolean, Json::Bool(value)) => out.push(u8::from(*value)),
        (Kind::Int | Kind::Long, Json::Number(n)) => put_zigzag(n.as_i64()?, out),
        (Kind::Float, Json::Number(n)) => out.extend_from_slice(&(n.as_f64()? as f32).to_le_bytes()),
        (Kind::Double, Json::Number(n)) => out.extend_from_slice(&n.as_f64()?.to_le_bytes()),
        (Kind::String, Json::String(text)) => write_bytes(text.as_bytes(), out),
        (Kind::Bytes, Json::String(text)) => write_bytes(&latin(text)?, out),
        (Kind::Fixed(size), Json::String(text)) => out.extend_from_slice(&latin(text).filter(|b| b.len() == *size)?),
        (Kind::Enum(symbols), Json::String(text)) => {
            put_zigzag(symbols.iter().position(|s| s == text)? as i64, out);
        }
        (Kind::Array(item), Json::Array(items)) => {
            if !items.is_empty() {
                put_zigzag(items.len() as i64, out);
                items.iter().try_for_each(|value| write_default(schema, *item, value, out))?;
            }
            out.push(0);
        }
        (Kind::Map(item), Json::Object(entries)) => {
            if !entries.is_empty() {
                put_zigzag(entries.len() as i64, out);
                for (key, value) in entries {
                    write_bytes(key.as_bytes(), out);
                    write_default(schema, *item, value, out)?;
                }
            }
            out.push(0);
        }
        (Kind::Record(fields), Json::Object(members)) => {
            for field in fields {
                write_default(schema, field.ty, members.get(&field.name).or(field.default.as_ref())?, out)?;
            }
        }
        (Kind::Union(branches), value) => {
            let start = out.len();
            for (at, branch) in branches.iter().enumerate() {
                put_zigzag(at as i64, out);
                if write_default(schema, *branch, value, out).is_some() {
                    return Some(());
                }
                out.truncate(start);
            }
            return None;
        }
        _ => return None,
    }
    Some(())
}

/// Bytes as Avro's JSON has them: a character each.
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// Appends a length and as many bytes.
#[inline]
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_zigzag(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// A reason that is known before any row is.
pub(super) fn refusal(reason: &str) -> Refusal {
    reason.to_owned().into()
}
