//! What the formats can hold. KAFKA: one primitive column. JSON: everything but maps with other than STRING keys. NONE: no
//! column at all.

use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::types::{Column, Role, SqlType, quoted};

/// ksqlDB's formats that are known but not carried out yet.
const LATER: [&str; 5] = ["AVRO", "PROTOBUF", "PROTOBUF_NOSR", "JSON_SR", "DELIMITED"];

/// A format by its name in WITH, whatever its case.
pub fn by_name(name: &str) -> Result<Format> {
    match name.trim().to_ascii_uppercase().as_str() {
        "NONE" => Ok(Format::None),
        "KAFKA" => Ok(Format::Kafka),
        "JSON" => Ok(Format::Json),
        other if LATER.contains(&other) => Err(Error::statement(format!("the format {other} is not supported yet"))
            .with_hint("the formats are JSON, KAFKA and NONE")),
        other => Err(Error::statement(format!("Unknown format: {other}"))),
    }
}

/// Fails where the key columns do not fit the format; says so as ksqlDB does.
pub fn check_key(format: Format, key: &[Column]) -> Result<()> {
    for column in key {
        if has_map(&column.ty) {
            return Err(Error::statement(format!(
                "Map keys, including types that contain maps, are not supported as they may lead to unexpected behavior \
                 due to inconsistent serialization. Key column name: {}. Column type: {}. \
                 See https://github.com/confluentinc/ksql/issues/6621 for more.",
                quoted(&column.name),
                column.ty
            )));
        }
    }
    check(format, key).map_err(|reason| refusal("Key", format, key, &reason))
}

/// Fails where the value columns do not fit the format.
pub fn check_value(format: Format, value: &[Column]) -> Result<()> {
    let stored: Vec<Column> = value.iter().filter(|c| c.role == Role::Value).cloned().collect();
    check(format, &stored).map_err(|reason| refusal("Value", format, &stored, &reason))
}

/// Can a value of this format hold a list?
pub fn holds_lists(format: Format) -> bool {
    let list = SqlType::Array(Box::new(SqlType::Struct(vec![("F".to_owned(), SqlType::Bigint)])));
    check(format, &[Column::value("C", list)]).is_ok()
}

/// The format of an internal topic whose key columns are these: the source's, unless it cannot hold them.
pub fn internal_key_format(format: Format, default: Format, key: &[Column]) -> Format {
    let wanted = if format == Format::None { default } else { format };
    if check(wanted, key).is_ok() { wanted } else { Format::Json }
}

/// Whether a single value column stands alone in the payload, given what WITH and the session say.
pub fn unwrapped(format: Format, value: &[Column], asked: Option<bool>, default: Option<bool>) -> Result<bool> {
    let single = value.iter().filter(|c| c.role == Role::Value).count() == 1;
    if let Some(wrap) = asked {
        if format != Format::Json && (wrap || format == Format::None) {
            let text = format!("Format '{}' does not support 'WRAP_SINGLE_VALUE' set to '{wrap}'.", format.name());
            return Err(Error::statement(text));
        }
        if !single {
            return Err(Error::statement("'WRAP_SINGLE_VALUE' is only valid for single-field value schemas"));
        }
    }
    Ok(match format {
        Format::Kafka => true,
        Format::None => false,
        Format::Json => single && asked.or(default) == Some(false),
    })
}

fn refusal(part: &str, format: Format, columns: &[Column], reason: &str) -> Error {
    let text = match format {
        // ksqlDB knows before it looks at any type.
        Format::None => reason.to_owned(),
        _ => format!(
            "{part} format does not support schema.\nformat: {}\nschema: Persistence{{columns=[{}], features=[]}}\nreason: {reason}",
            format.name(),
            list(columns)
        ),
    };
    Error::statement(text)
}

fn check(format: Format, columns: &[Column]) -> Result<(), String> {
    match format {
        Format::None if columns.is_empty() => Ok(()),
        Format::None => {
            Err(format!("The 'NONE' format can only be used when no columns are defined. Got: [{}]", list(columns)))
        }
        Format::Kafka => {
            if let Some(kind) = columns.iter().find_map(|c| kafka_refuses(&c.ty)) {
                return Err(format!("The 'KAFKA' format does not support type '{kind}'"));
            }
            if columns.len() > 1 {
                return Err(format!("The 'KAFKA' format only supports a single field. Got: [{}]", list(columns)));
            }
            Ok(())
        }
        Format::Json => match columns.iter().any(|c| has_odd_map(&c.ty)) {
            true => Err("JSON only supports MAP types with STRING keys".to_owned()),
            false => Ok(()),
        },
    }
}

fn kafka_refuses(ty: &SqlType) -> Option<&'static str> {
    match ty {
        SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::String | SqlType::Bytes => None,
        SqlType::Boolean => Some("BOOLEAN"),
        SqlType::Decimal(..) => Some("DECIMAL"),
        SqlType::Date => Some("DATE"),
        SqlType::Time => Some("TIME"),
        SqlType::Timestamp => Some("TIMESTAMP"),
        SqlType::Array(_) => Some("ARRAY"),
        SqlType::Map(..) => Some("MAP"),
        SqlType::Struct(_) => Some("STRUCT"),
    }
}

fn has_map(ty: &SqlType) -> bool {
    match ty {
        SqlType::Map(..) => true,
        SqlType::Array(item) => has_map(item),
        SqlType::Struct(fields) => fields.iter().any(|f| has_map(&f.1)),
        _ => false,
    }
}

fn has_odd_map(ty: &SqlType) -> bool {
    match ty {
        SqlType::Map(key, value) => **key != SqlType::String || has_odd_map(value),
        SqlType::Array(item) => has_odd_map(item),
        SqlType::Struct(fields) => fields.iter().any(|f| has_odd_map(&f.1)),
        _ => false,
    }
}

/// `` `K` INTEGER KEY, `V` STRING ``
pub(super) fn list(columns: &[Column]) -> String {
    let one = |c: &Column| format!("{} {}{}", quoted(&c.name), c.ty, if c.role == Role::Key { " KEY" } else { "" });
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}
