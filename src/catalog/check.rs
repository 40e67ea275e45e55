//! What the formats can carry, with the reasons in ksqlDB's words.

use super::Format;
use crate::error::{Error, Result};
use crate::types::{Column, Role, SqlType, quoted};

/// Refuses columns that a format cannot carry.
pub fn check(format: Format, columns: &[Column]) -> Result<()> {
    let columns = carried(columns);
    let refused = |ty: &SqlType| format!("The '{}' format does not support type '{}'", format.name(), base_name(ty));
    match format {
        Format::None if columns.is_empty() => Ok(()),
        Format::None => Err(Error::statement(format!(
            "The 'NONE' format can only be used when no columns are defined. Got: [{}]",
            described(&columns)
        ))),
        Format::Kafka => {
            if let Some(column) = columns.iter().find(|c| !is_plain(&c.ty)) {
                return Err(Error::statement(refused(&column.ty)));
            }
            if columns.len() > 1 {
                let got = described(&columns);
                let text = format!("The 'KAFKA' format only supports a single field. Got: [{got}]");
                return Err(Error::statement(text));
            }
            Ok(())
        }
        Format::Delimited(_) => match columns.iter().find(|c| is_nested(&c.ty)) {
            Some(column) => Err(Error::statement(format!("{}, column: {}", refused(&column.ty), quoted(&column.name)))),
            None => Ok(()),
        },
        Format::ProtobufNosr if matches!(*columns, [c] if c.role == Role::Key && !can_stand_alone(&c.ty)) => {
            Err(Error::statement(format!("{} as the only key column", refused(&columns[0].ty))))
        }
        Format::Protobuf if columns.iter().any(|c| has_list_in(&c.ty, &|ty| matches!(ty, SqlType::Array(_)))) => {
            Err(Error::statement("Array cannot be nested"))
        }
        Format::Protobuf if columns.iter().any(|c| has_list_in(&c.ty, &|ty| matches!(ty, SqlType::Map(..)))) => {
            Err(Error::statement("An ARRAY of MAP cannot be written as PROTOBUF")
                .with_hint("an ARRAY of STRUCT with the MAP as a field can"))
        }
        _ if columns.iter().all(|c| maps_have_text_keys(&c.ty)) => Ok(()),
        Format::ProtobufNosr | Format::Protobuf => Err(Error::statement(
            "PROTOBUF format only supports MAP types with STRING keys. See https://github.com/confluentinc/ksql/issues/6177.",
        )),
        Format::Avro => Err(Error::statement("Avro only supports MAPs with STRING keys")),
        Format::Json | Format::JsonSr => Err(Error::statement("JSON only supports MAP types with STRING keys")),
    }
}

/// Can a PROTOBUF payload be a value of this type, with no message around it? Lists are fields and nothing else.
pub fn can_stand_alone(ty: &SqlType) -> bool {
    !matches!(ty, SqlType::Array(_) | SqlType::Map(..))
}

/// Types that Kafka has a serialiser for.
fn is_plain(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::String | SqlType::Bytes)
}

fn is_nested(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_))
}

fn maps_have_text_keys(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(item) => maps_have_text_keys(item),
        SqlType::Map(key, value) => **key == SqlType::String && maps_have_text_keys(value),
        SqlType::Struct(fields) => fields.iter().all(|(_, ty)| maps_have_text_keys(ty)),
        _ => true,
    }
}

/// Whether an ARRAY somewhere in a type has such items.
fn has_list_in(ty: &SqlType, items: &dyn Fn(&SqlType) -> bool) -> bool {
    match ty {
        SqlType::Array(item) => items(item) || has_list_in(item, items),
        SqlType::Map(_, value) => has_list_in(value, items),
        SqlType::Struct(fields) => fields.iter().any(|(_, ty)| has_list_in(ty, items)),
        _ => false,
    }
}

/// Columns that are part of the payload: all but header columns.
pub fn carried(columns: &[Column]) -> Vec<&Column> {
    columns.iter().filter(|c| !matches!(c.role, Role::Header(_))).collect()
}

/// `` `K` INTEGER KEY, `V` STRING ``
pub fn described(columns: &[&Column]) -> String {
    let one = |c: &&Column| format!("{} {}{}", quoted(&c.name), c.ty, if c.role == Role::Key { " KEY" } else { "" });
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The name of a type without what is in its brackets: `DECIMAL`, `ARRAY`.
pub fn base_name(ty: &SqlType) -> String {
    let name = ty.to_string();
    name.split(['(', '<']).next().unwrap_or(&name).to_owned()
}
