//! A schema to columns (Connect's `ProtobufData.toConnectSchema`, then ksqlDB's `ConnectSchemaTranslator`).
//!
//! ```text
//! message M { uint32 a = 1; oneof o { int32 p = 2; } repeated E e = 3; }
//!     ->  O_0 STRUCT<P INTEGER>, A BIGINT, E ARRAY<STRING>
//! ```
//!
//! Oneofs come first, then the fields in the order of the text. Names are in upper case unless the schema was given by its id. Groups
//! are dropped. A message that contains itself has no STRUCT, and is refused with the path to it.

use super::known;
use super::schema::{Enum, Field, File, Label, Message, Scalar, Type};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

/// A DECIMAL of which the schema says nothing.
const PRECISION_DEFAULT: u8 = 64;

/// Limit of fields in all STRUCTs together. Messages that are used several times multiply.
const FIELDS_MAX: usize = 10_000;

/// Limit of STRUCTs in STRUCTs: the depth to which payloads are read.
const DEPTH_MAX: usize = 100;

/// What a field's value is, one element of it if the field is repeated.
pub(super) enum Kind<'a> {
    Scalar(Scalar),
    Enum(&'a Enum),
    /// One of Google's wrappers: a nullable scalar.
    Wrapper(Scalar),
    Decimal,
    Date,
    Time,
    Timestamp,
    /// With its absolute name.
    Message(&'a str, &'a Message),
    /// The repeated entries of a MAP.
    Entry(&'a Message),
    Group,
}

/// What a field is; `None` if the schema is not linked.
pub(super) fn kind<'a>(file: &'a File, field: &'a Field) -> Option<Kind<'a>> {
    let name = match &field.ty {
        Type::Scalar(scalar) => return Some(Kind::Scalar(*scalar)),
        Type::Enum(name) => return file.enumeration(name).map(Kind::Enum),
        Type::Group(_) => return Some(Kind::Group),
        Type::Named(_) => return None,
        Type::Message(name) => name,
    };
    let message = file.message(name)?;
    Some(match name.as_str() {
        known::DECIMAL => Kind::Decimal,
        known::DATE => Kind::Date,
        known::TIME => Kind::Time,
        known::TIMESTAMP => Kind::Timestamp,
        name if known::is_wrapper(name) => match message.fields.first().map(|f| &f.ty) {
            Some(Type::Scalar(scalar)) => Kind::Wrapper(*scalar),
            _ => return None,
        },
        _ if field.label == Label::Repeated && message.is_entry() => Kind::Entry(message),
        name => Kind::Message(name, message),
    })
}

/// The name of the STRUCT that a oneof is.
pub(super) fn oneof_name(message: &Message, index: usize) -> String {
    format!("{}_{index}", message.oneofs[index])
}

/// The columns of a message of the schema.
pub(in crate::format) fn columns(
    file: &File,
    full_name: Option<&str>,
    upper_case: bool,
) -> Result<Vec<(String, SqlType)>, String> {
    let Some((name, message, _)) = file.choose(full_name) else {
        return Err(no_message(full_name));
    };
    Inference { file, upper_case, inside: vec![name], count: 0 }.fields(message, "")
}

/// The reason why no message was chosen.
pub(in crate::format) fn no_message(full_name: Option<&str>) -> String {
    match full_name {
        Some(name) => format!("the schema has no message `{name}`"),
        None => "the schema has no message".to_owned(),
    }
}

struct Inference<'a> {
    file: &'a File,
    upper_case: bool,
    /// Names of the messages around.
    inside: Vec<String>,
    /// Fields so far.
    count: usize,
}

impl Inference<'_> {
    fn fields(&mut self, message: &Message, path: &str) -> Result<Vec<(String, SqlType)>, String> {
        let mut found: Vec<(String, SqlType)> = vec![];
        for index in 0..message.oneofs.len() {
            let mut members = vec![];
            for field in message.fields.iter().filter(|f| f.oneof == Some(index)) {
                self.field(field, path, &mut members)?;
            }
            self.add(&oneof_name(message, index), SqlType::Struct(members), &mut found)?;
        }
        for field in message.fields.iter().filter(|f| f.oneof.is_none()) {
            self.field(field, path, &mut found)?;
        }
        Ok(found)
    }

    fn field(&mut self, field: &Field, path: &str, found: &mut Vec<(String, SqlType)>) -> Result<(), String> {
        let path = format!("{path}->{}", field.name);
        let Some(ty) = self.ty(field, &path)? else { return Ok(()) };
        self.add(&field.name, ty, found)
    }

    fn add(&mut self, name: &str, ty: SqlType, found: &mut Vec<(String, SqlType)>) -> Result<(), String> {
        let name = if self.upper_case { name.to_uppercase() } else { name.to_owned() };
        if found.iter().any(|(other, _)| *other == name) {
            return Err(format!("Cannot create field because of field name duplication {name}"));
        }
        self.count += 1;
        if self.count > FIELDS_MAX {
            return Err(format!("the schema has more than {FIELDS_MAX} fields"));
        }
        found.push((name, ty));
        Ok(())
    }

    /// The type of a field; `None` if it is dropped.
    fn ty(&mut self, field: &Field, path: &str) -> Result<Option<SqlType>, String> {
        let kind = kind(self.file, field).ok_or_else(|| format!("the type of {path} is not defined"))?;
        let one = match kind {
            Kind::Group => return Ok(None),
            Kind::Entry(entry) => {
                let Some(value) = entry.fields.iter().find(|f| f.name == "value") else { return Ok(None) };
                let value = self.ty(value, path)?;
                return Ok(value.map(|value| SqlType::Map(Box::new(SqlType::String), Box::new(value))));
            }
            Kind::Scalar(scalar) | Kind::Wrapper(scalar) => scalar_type(scalar),
            Kind::Enum(_) => SqlType::String,
            Kind::Decimal => decimal(field, path)?,
            Kind::Date => SqlType::Date,
            Kind::Time => SqlType::Time,
            Kind::Timestamp => SqlType::Timestamp,
            Kind::Message(name, message) => {
                if self.inside.iter().any(|outer| outer == name) {
                    return Err(format!("the schema is recursive: {path} is a {name} inside of a {name}"));
                }
                if self.inside.len() == DEPTH_MAX {
                    return Err(format!("messages are nested more than {DEPTH_MAX} deep at {path}"));
                }
                self.inside.push(name.to_owned());
                let fields = self.fields(message, path)?;
                self.inside.pop();
                SqlType::Struct(fields)
            }
        };
        Ok(Some(match field.label {
            Label::Repeated => SqlType::Array(Box::new(one)),
            _ => one,
        }))
    }
}

fn scalar_type(scalar: Scalar) -> SqlType {
    match scalar {
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => SqlType::Integer,
        Scalar::Uint32 | Scalar::Fixed32 => SqlType::Bigint,
        Scalar::Int64 | Scalar::Uint64 | Scalar::Sint64 | Scalar::Fixed64 | Scalar::Sfixed64 => SqlType::Bigint,
        Scalar::Float | Scalar::Double => SqlType::Double,
        Scalar::Bool => SqlType::Boolean,
        Scalar::String => SqlType::String,
        Scalar::Bytes => SqlType::Bytes,
    }
}

fn decimal(field: &Field, path: &str) -> Result<SqlType, String> {
    let param = |key: &str, default: i64| field.param(key).map_or(Some(default), |text| text.parse().ok());
    let (precision, scale) = (param("precision", PRECISION_DEFAULT.into()), param("scale", 0));
    if let (Some(precision), Some(scale)) = (precision, scale)
        && (1..=i64::from(DECIMAL_PRECISION_MAX)).contains(&precision)
        && (0..=precision).contains(&scale)
    {
        return Ok(SqlType::Decimal(precision as u8, scale as i8));
    }
    Err(format!(
        "{path} is a DECIMAL of precision {} and scale {}, and DECIMAL has {DECIMAL_PRECISION_MAX} digits at most",
        field.param("precision").unwrap_or("64"),
        field.param("scale").unwrap_or("0")
    ))
}
