//! Formats in statements: their names, the errors of what they cannot carry, and single values that are written unwrapped.

use crate::catalog::{DELIMITER, Format, can_stand_alone, check, described};
use crate::error::{Error, Result};
use crate::types::{Column, Role, SqlType, nearest, quoted};

/// The error for values in Kafka's own format that an operation would have to write into a topic of its own.
pub(super) fn kafka_value(sources: &[&str], operation: &str) -> Error {
    Error::statement(format!(
        "Source(s) {} are using the 'KAFKA' value format. This format does not yet support {operation}.\nThe KAFKA format is \
         primarily intended for use as a key format. It can be used as a value format, but can not be used in any operation \
         that requires a repartition or changelog topic.\nRemoving this limitation requires enhancements to the core of KSQL. \
         This will come in a future release. Until then, avoid using the KAFKA format for values.\nIf you have an existing \
         topic with KAFKA formatted values you can duplicate the data and serialize using Avro or JSON with a statement such \
         as: \n\n'CREATE STREAM <new-stream-name> WITH(VALUE_FORMAT='Avro') AS SELECT * FROM \
         <existing-kafka-formated-stream-name>;'\nFor more info see https://github.com/confluentinc/ksql/issues/3060",
        sources.join(", ")
    ))
    .with_hint(format!("CREATE STREAM {0}_JSON WITH (VALUE_FORMAT='JSON') AS SELECT * FROM {0};", sources[0]))
}

/// Names of formats, for hints.
const NAMES: [&str; 8] = ["JSON", "AVRO", "PROTOBUF", "JSON_SR", "DELIMITED", "KAFKA", "PROTOBUF_NOSR", "NONE"];

/// A format by its name in WITH, whatever its case.
pub fn by_name(name: &str) -> Result<Format> {
    match name.trim().to_ascii_uppercase().as_str() {
        "NONE" => Ok(Format::None),
        "KAFKA" => Ok(Format::Kafka),
        "JSON" => Ok(Format::Json),
        "PROTOBUF_NOSR" => Ok(Format::ProtobufNosr),
        "DELIMITED" => Ok(Format::Delimited(DELIMITER)),
        "AVRO" => Ok(Format::Avro),
        "PROTOBUF" => Ok(Format::Protobuf),
        "JSON_SR" => Ok(Format::JsonSr),
        other => {
            let error = Error::statement(format!("Unknown format: {other}"));
            Err(match nearest(other, NAMES.into_iter()) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint(format!("formats are {}", NAMES.join(", "))),
            })
        }
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
    check(format, key).map_err(|e| refusal("Key", format, key, e.message()))
}

/// Fails where the value columns do not fit the format.
pub fn check_value(format: Format, value: &[Column]) -> Result<()> {
    let stored: Vec<Column> = value.iter().filter(|c| c.role == Role::Value).cloned().collect();
    check(format, &stored).map_err(|e| refusal("Value", format, &stored, e.message()))
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

/// Whether a single value column is written unwrapped, given WITH and the session.
pub fn unwrapped(format: Format, value: &[Column], asked: Option<bool>, default: Option<bool>) -> Result<bool> {
    let single = value.iter().filter(|c| c.role == Role::Value).count() == 1;
    if let Some(wrap) = asked {
        let both = matches!(format, Format::Json | Format::ProtobufNosr | Format::Avro | Format::JsonSr);
        let refused = if format == Format::Protobuf { !wrap } else { wrap || format == Format::None };
        if !both && refused {
            let text = format!("Format '{}' does not support 'WRAP_SINGLE_VALUE' set to '{wrap}'.", format.name());
            return Err(Error::statement(text));
        }
        if !single {
            return Err(Error::statement("'WRAP_SINGLE_VALUE' is only valid for single-field value schemas"));
        }
    }
    Ok(match format {
        Format::Kafka => true,
        Format::None | Format::Delimited(_) => false,
        Format::Protobuf => false,
        Format::Json | Format::Avro | Format::JsonSr => single && asked.or(default) == Some(false),
        Format::ProtobufNosr => {
            let alone = single && asked.or(default) == Some(false);
            if let Some(column) = value.iter().find(|c| alone && c.role == Role::Value && !can_stand_alone(&c.ty)) {
                return Err(Error::statement("'WRAP_SINGLE_VALUE' set to 'false' leaves no message around the value")
                    .with_detail(format!("PROTOBUF_NOSR has none for {} {}", quoted(&column.name), column.ty)));
            }
            alone
        }
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

fn has_map(ty: &SqlType) -> bool {
    match ty {
        SqlType::Map(..) => true,
        SqlType::Array(item) => has_map(item),
        SqlType::Struct(fields) => fields.iter().any(|f| has_map(&f.1)),
        _ => false,
    }
}

/// `` `K` INTEGER KEY, `V` STRING ``
pub(super) fn list(columns: &[Column]) -> String {
    described(&columns.iter().collect::<Vec<_>>())
}
