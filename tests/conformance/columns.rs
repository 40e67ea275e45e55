//! PROTOBUF_NOSR records of the cases: the message that a source's columns describe, fields numbered in their order.

use crate::wire::protobuf::{Field, File, Label, Message, Scalar, Type};
use serde_json::Value;
use tidegate::types::{Column, SqlType};

/// The name of the message that the columns make.
const ROOT: &str = "Row";

/// A message of these columns; names are compared without case.
pub(crate) fn encode(columns: &[Column], value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    file(columns).encode(ROOT, value, &mut out)?;
    Ok(out)
}

/// The message as a tree; `None` = it is none.
pub(crate) fn decode(columns: &[Column], payload: &[u8]) -> Option<Value> {
    file(columns).decode(ROOT, payload).ok()
}

fn file(columns: &[Column]) -> File {
    let mut file = File::well_known();
    let fields: Vec<(&str, &SqlType)> = columns.iter().map(|c| (c.name.as_str(), &c.ty)).collect();
    add(&mut file, ROOT, &fields);
    file
}

fn add(file: &mut File, name: &str, columns: &[(&str, &SqlType)]) {
    let mut message = Message::default();
    for (n, (column, ty)) in columns.iter().enumerate() {
        let (ty, label, scale) = field(file, &format!("{name}.{column}"), ty);
        message.fields.push(Field {
            name: (*column).to_owned(),
            number: n as u64 + 1,
            ty,
            label,
            oneof: None,
            scale,
            packed: true,
            scope: String::new(),
        });
    }
    file.messages.insert(name.to_owned(), message);
}

/// The type of a field; messages that it needs are added under its path.
fn field(file: &mut File, path: &str, ty: &SqlType) -> (Type, Label, Option<u32>) {
    let scalar = |scalar| (Type::Scalar(scalar), Label::Plain, None);
    let message = |name: &str| (Type::Message(name.to_owned()), Label::Plain, None);
    match ty {
        SqlType::Boolean => scalar(Scalar::Bool),
        SqlType::Integer => scalar(Scalar::Int32),
        SqlType::Bigint => scalar(Scalar::Int64),
        SqlType::Double => scalar(Scalar::Double),
        SqlType::String => scalar(Scalar::String),
        SqlType::Bytes => scalar(Scalar::Bytes),
        SqlType::Date => message("google.type.Date"),
        SqlType::Time => message("google.type.TimeOfDay"),
        SqlType::Timestamp => message("google.protobuf.Timestamp"),
        SqlType::Decimal(_, scale) => {
            (Type::Message("confluent.type.Decimal".to_owned()), Label::Plain, Some(scale.unsigned_abs().into()))
        }
        SqlType::Array(item) => {
            let (ty, _, scale) = field(file, path, item);
            (ty, Label::Repeated, scale)
        }
        SqlType::Map(key, value) => {
            let (key, ..) = field(file, path, key);
            let (value, ..) = field(file, &format!("{path}.value"), value);
            (Type::Map(Box::new(key), Box::new(value)), Label::Repeated, None)
        }
        SqlType::Struct(fields) => {
            let fields: Vec<(&str, &SqlType)> = fields.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
            add(file, path, &fields);
            message(path)
        }
    }
}
