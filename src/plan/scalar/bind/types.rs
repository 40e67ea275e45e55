//! Types as sqlparser reads them.

use crate::error::{Error, Result};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};
use sqlparser::ast::{ArrayElemTypeDef, DataType, ExactNumberInfo};

/// The SQL type that a type's syntax means.
pub fn sql_type(ty: &DataType) -> Result<SqlType> {
    Ok(match ty {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::Int(_) | DataType::Integer(_) => SqlType::Integer,
        DataType::BigInt(_) => SqlType::Bigint,
        DataType::Double(_) => SqlType::Double,
        DataType::Varchar(_) | DataType::String(_) => SqlType::String,
        DataType::Bytes(_) => SqlType::Bytes,
        DataType::Date => SqlType::Date,
        DataType::Time(..) => SqlType::Time,
        DataType::Timestamp(..) => SqlType::Timestamp,
        DataType::Decimal(info) | DataType::Dec(info) => decimal(info)?,
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, _)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => SqlType::Array(Box::new(sql_type(item)?)),
        DataType::Map(key, value) => SqlType::Map(Box::new(sql_type(key)?), Box::new(sql_type(value)?)),
        DataType::Struct(fields, _) => {
            let mut out = vec![];
            for field in fields {
                let Some(name) = &field.field_name else {
                    return Err(Error::statement(format!("a field of {ty} has no name")));
                };
                out.push((name.value.clone(), sql_type(&field.field_type)?));
            }
            SqlType::Struct(out)
        }
        DataType::Custom(name, args) if args.is_empty() => match name.to_string().to_uppercase().as_str() {
            "STRING" => SqlType::String,
            "BYTES" => SqlType::Bytes,
            _ => return Err(Error::statement(format!("Cannot resolve unknown type: {name}"))),
        },
        other => return Err(Error::statement(format!("Cannot resolve unknown type: {other}"))),
    })
}

fn decimal(info: &ExactNumberInfo) -> Result<SqlType> {
    let ExactNumberInfo::PrecisionAndScale(precision, scale) = info else {
        return Err(Error::statement("DECIMAL needs a precision and a scale").with_hint("for example DECIMAL(10, 2)"));
    };
    if *precision < 1 {
        return Err(Error::statement(format!("DECIMAL precision must be >= 1: DECIMAL({precision}, {scale})")));
    }
    if *scale < 0 {
        return Err(Error::statement(format!("DECIMAL scale must be >= 0: DECIMAL({precision}, {scale})")));
    }
    if *precision < *scale as u64 {
        return Err(Error::statement(format!("DECIMAL precision must be >= scale: DECIMAL({precision}, {scale})")));
    }
    if *precision > u64::from(DECIMAL_PRECISION_MAX) {
        return Err(Error::statement(format!("DECIMAL precision must be <= {DECIMAL_PRECISION_MAX}: {precision}")));
    }
    Ok(SqlType::Decimal(*precision as u8, *scale as i8))
}
