//! The names that types have in Kafka Connect, whose converters read PROTOBUF and JSON_SR for ksqlDB.

use crate::types::SqlType;

/// Why a column does not take a Connect type, in the words of ksqlDB's `ConnectDataTranslator`.
pub(super) fn mismatch(connect: &str, ty: &SqlType, path: &str) -> String {
    let wanted = match ty {
        SqlType::Integer | SqlType::Date | SqlType::Time => "int32",
        SqlType::Bigint | SqlType::Timestamp => "int64",
        SqlType::Double => "float64",
        SqlType::String => "string",
        SqlType::Boolean => "boolean",
        SqlType::Bytes | SqlType::Decimal(..) => "bytes",
        SqlType::Array(_) => "array",
        SqlType::Map(..) => "map",
        SqlType::Struct(_) => "struct",
    };
    format!("Cannot deserialize type {connect} as type {wanted} for path: {path}")
}
