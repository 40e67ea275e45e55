//! Values as text: the result of `CAST(x AS STRING)` (ksqlDB's `CastEvaluator`).

use crate::types::decimal::write_decimal;
use crate::types::java_double::write_java_double;
use crate::types::temporal::{date_text, time_text, timestamp_text};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};

/// Appends a value as Java's `toString` and ksqlDB's CAST print it.
pub fn write_value(array: &dyn Array, row: usize, out: &mut String) {
    if array.is_null(row) {
        return out.push_str("null");
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int32 => out.push_str(itoa::Buffer::new().format(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int64 => out.push_str(itoa::Buffer::new().format(array.as_primitive::<Int64Type>().value(row))),
        DataType::Float64 => {
            let mut text = Vec::with_capacity(24);
            write_java_double(array.as_primitive::<Float64Type>().value(row), &mut text);
            out.extend(text.into_iter().map(char::from));
        }
        DataType::Decimal128(_, s) => {
            write_decimal(i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)), *s, out)
        }
        DataType::Decimal256(_, s) => write_decimal(array.as_primitive::<Decimal256Type>().value(row), *s, out),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::Date32 => out.push_str(&date_text(array.as_primitive::<Date32Type>().value(row))),
        DataType::Time32(_) => out.push_str(&time_text(array.as_primitive::<Time32MillisecondType>().value(row))),
        DataType::Timestamp(..) => {
            out.push_str(&timestamp_text(array.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_value(&items, i, out);
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for i in 0..entries.len() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_value(entries.column(0), i, out);
                out.push('=');
                write_value(entries.column(1), i, out);
            }
            out.push('}');
        }
        DataType::Struct(fields) => {
            let structure = array.as_struct();
            let mut any = false;
            out.push_str("Struct{");
            for (field, column) in fields.iter().zip(structure.columns()) {
                if column.is_valid(row) {
                    out.push_str(if any { "," } else { "" });
                    out.push_str(field.name());
                    out.push('=');
                    write_value(column, row, out);
                    any = true;
                }
            }
            out.push('}');
        }
        _ => {}
    }
}
