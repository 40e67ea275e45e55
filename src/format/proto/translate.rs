//! Columns to a `.proto` text, as ksqlDB registers it (Connect's `ProtobufData`).
//!
//! ```text
//! A INT, M MAP<STRING, INT>    ->    syntax = "proto3";
//!
//!                                    message ConnectDefault1 {
//!                                      int32 A = 1;
//!                                      repeated ConnectDefault2Entry M = 2;
//!
//!                                      message ConnectDefault2Entry {
//!                                        string key = 1;
//!                                        int32 value = 2;
//!                                      }
//!                                    }
//! ```
//!
//! Nested messages are counted over the whole schema, a STRUCT or MAP before what it contains. Their name is not seen in a payload.

use super::known;
use super::schema::Scalar;
use crate::catalog::Nullable;
use crate::types::SqlType;

/// The beginning of a made-up message name. A full name that begins with it counts as none.
const DEFAULT_NAME: &str = "ConnectDefault";

/// The text for these columns.
pub(in crate::format) fn text(
    columns: &[(&str, &SqlType)],
    full_name: Option<&str>,
    nullable: Nullable,
) -> Result<String, String> {
    let given = full_name.filter(|name| !name.starts_with(DEFAULT_NAME));
    let first = format!("{DEFAULT_NAME}1");
    let (package, name) = match given {
        Some(name) => name.rsplit_once('.').unwrap_or(("", name)),
        None => ("", first.as_str()),
    };
    if let Some(bad) = package.split('.').chain([name]).find(|part| !part.is_empty() && !is_identifier(part)) {
        return Err(invalid(bad, bad));
    }
    let mut writer = Writer { nullable, imports: vec![], count: if given.is_some() { 0 } else { 1 } };
    let scope = if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") };
    let body = writer.message(name, &scope, columns)?;
    let mut text = "syntax = \"proto3\";\n".to_owned();
    if !package.is_empty() {
        text += &format!("package {package};\n");
    }
    text.push('\n');
    for path in &writer.imports {
        text += &format!("import \"{path}\";\n");
    }
    if !writer.imports.is_empty() {
        text.push('\n');
    }
    Ok(text + &body)
}

struct Writer {
    nullable: Nullable,
    /// In the order of their first use.
    imports: Vec<&'static str>,
    /// Messages that have a made-up name so far.
    count: usize,
}

/// What a field of a message is written as.
struct Written {
    repeated: bool,
    ty: String,
    /// After the number.
    options: String,
}

impl Writer {
    fn message(&mut self, name: &str, scope: &str, fields: &[(&str, &SqlType)]) -> Result<String, String> {
        let mut nested = String::new();
        let mut text = format!("message {name} {{\n");
        for (i, (field, ty)) in fields.iter().enumerate() {
            if !is_identifier(field) {
                return Err(invalid(&format!("{scope}.{field}"), field));
            }
            let written = self.field(ty, scope, &mut nested)?;
            let label = match (written.repeated, self.nullable) {
                (true, _) => "repeated ",
                (false, Nullable::Optional) => "optional ",
                (false, _) => "",
            };
            text += &format!("  {label}{} {field} = {}{};\n", written.ty, i + 1, written.options);
        }
        Ok(close(text, &nested))
    }

    /// A field's type; the messages that it needs are appended to `nested`.
    fn field(&mut self, ty: &SqlType, scope: &str, nested: &mut String) -> Result<Written, String> {
        match ty {
            SqlType::Array(item) => match &**item {
                SqlType::Array(_) => Err("Array cannot be nested".to_owned()),
                SqlType::Map(..) => Err("An ARRAY of MAP cannot be written as PROTOBUF".to_owned()),
                item => Ok(Written { repeated: true, ..self.field(item, scope, nested)? }),
            },
            SqlType::Map(key, value) => {
                let name = format!("{}Entry", self.next_name());
                let (scope, mut inner) = (format!("{scope}.{name}"), String::new());
                let key = self.field(key, &scope, &mut inner)?;
                let value = self.field(value, &scope, &mut inner)?;
                let label = if value.repeated { "repeated " } else { "" };
                let mut text = format!("message {name} {{\n  {} key = 1;\n", key.ty);
                text += &format!("  {label}{} value = 2{};\n", value.ty, value.options);
                nested.push_str(&close(text, &inner));
                Ok(Written { repeated: true, ty: name, options: String::new() })
            }
            SqlType::Struct(fields) => {
                let name = self.next_name();
                let fields: Vec<_> = fields.iter().map(|(name, ty)| (name.as_str(), ty)).collect();
                nested.push_str(&self.message(&name, &format!("{scope}.{name}"), &fields)?);
                Ok(Written { repeated: false, ty: name, options: String::new() })
            }
            scalar => Ok(self.scalar(scalar)),
        }
    }

    fn scalar(&mut self, ty: &SqlType) -> Written {
        let (name, path) = match ty {
            SqlType::Decimal(..) => (known::DECIMAL, "confluent/type/decimal.proto"),
            SqlType::Date => (known::DATE, "google/type/date.proto"),
            SqlType::Time => (known::TIME, "google/type/timeofday.proto"),
            SqlType::Timestamp => (known::TIMESTAMP, "google/protobuf/timestamp.proto"),
            scalar => match (self.nullable, wire_type(scalar)) {
                (Nullable::Wrapper, Some((_, wrapper))) => (wrapper, "google/protobuf/wrappers.proto"),
                (_, Some((scalar, _))) => (scalar.name(), ""),
                (_, None) => ("", ""),
            },
        };
        if !path.is_empty() && !self.imports.contains(&path) {
            self.imports.push(path);
        }
        let options = match ty {
            SqlType::Decimal(precision, scale) => meta(*precision, *scale),
            _ => String::new(),
        };
        Written { repeated: false, ty: name.to_owned(), options }
    }

    fn next_name(&mut self) -> String {
        self.count += 1;
        format!("{DEFAULT_NAME}{}", self.count)
    }
}

/// The scalar type of a column, and the wrapper of it.
pub(super) fn wire_type(ty: &SqlType) -> Option<(Scalar, &'static str)> {
    Some(match ty {
        SqlType::Boolean => (Scalar::Bool, "google.protobuf.BoolValue"),
        SqlType::Integer => (Scalar::Int32, "google.protobuf.Int32Value"),
        SqlType::Bigint => (Scalar::Int64, "google.protobuf.Int64Value"),
        SqlType::Double => (Scalar::Double, "google.protobuf.DoubleValue"),
        SqlType::String => (Scalar::String, "google.protobuf.StringValue"),
        SqlType::Bytes => (Scalar::Bytes, "google.protobuf.BytesValue"),
        _ => return None,
    })
}

fn meta(precision: u8, scale: i8) -> String {
    let param =
        |key: &str, value: String| format!("      {{\n        value: \"{value}\",\n        key: \"{key}\"\n      }}");
    format!(
        " [(confluent.field_meta) = {{\n    params: [\n{},\n{}\n    ]\n  }}]",
        param("precision", precision.to_string()),
        param("scale", scale.to_string())
    )
}

/// Ends a message after its nested ones, which are indented line by line, the empty ones too.
fn close(mut text: String, nested: &str) -> String {
    if !nested.is_empty() {
        text.push('\n');
        for line in nested.lines() {
            text += &format!("  {line}\n");
        }
    }
    text + "}\n"
}

fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn invalid(path: &str, name: &str) -> String {
    format!("Invalid protobuf schema definition: {path}: \"{name}\" is not a valid identifier.")
}
