//! TO_JSON_STRING: any value as JSON.

use super::Param::Anything;
use super::json::JSON;
use super::kernel::{Arg, strings};
use super::{Entry, Overload, Returns, entry};
use crate::types::SqlType::String as Text;
use crate::types::base64;
use crate::types::display::write_value;
use crate::types::temporal::{date_text, time_text, timestamp_text};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Time32MillisecondType, TimestampMillisecondType};

pub(super) static ENTRIES: &[Entry] = &[entry!("TO_JSON_STRING", JSON, "Returns a value as JSON.",
["TO_JSON_STRING(ARRAY['a', NULL])" => "[\"a\",null]",
 "TO_JSON_STRING(STRUCT(x := 1, d := DATE '1972-09-27'))" => "{\"X\":1,\"D\":\"1972-09-27\"}"],
[Overload::new(&[Anything], Returns::Type(Text), |args, rows, _| {
    let values = Arg::new(args, 0)?;
    strings(rows, |row, out| {
        write(values.array(), values.place(row), out);
        true
    })
})])];

fn write(array: &dyn Array, row: usize, out: &mut String) {
    if array.is_null(row) {
        return out.push_str("null");
    }
    match array.data_type() {
        DataType::Utf8 => quoted(array.as_string::<i32>().value(row), out),
        DataType::Binary => {
            let mut text = Vec::new();
            base64::encode(array.as_binary::<i32>().value(row), &mut text);
            quoted(&String::from_utf8_lossy(&text), out);
        }
        DataType::Date32 => quoted(&date_text(array.as_primitive::<Date32Type>().value(row)), out),
        DataType::Time32(_) => quoted(&time_text(array.as_primitive::<Time32MillisecondType>().value(row)), out),
        DataType::Timestamp(..) => {
            quoted(&timestamp_text(array.as_primitive::<TimestampMillisecondType>().value(row)), out)
        }
        DataType::Float64 if !array.as_primitive::<Float64Type>().value(row).is_finite() => {
            let mut text = String::new();
            write_value(array, row, &mut text);
            quoted(&text, out);
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                out.push_str(if i > 0 { "," } else { "" });
                write(&items, i, out);
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let mut name = String::new();
            out.push('{');
            for i in 0..entries.len() {
                out.push_str(if i > 0 { "," } else { "" });
                name.clear();
                write_value(entries.column(0), i, &mut name);
                quoted(&name, out);
                out.push(':');
                write(entries.column(1), i, out);
            }
            out.push('}');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (i, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                quoted(field.name(), out);
                out.push(':');
                write(column, row, out);
            }
            out.push('}');
        }
        _ => write_value(array, row, out),
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
