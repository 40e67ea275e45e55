//! Columns to messages, by the fields of a schema's message.
//!
//! ```text
//! columns  A INT, B ARRAY<BIGINT>    message { repeated int64 B = 7; optional int32 A = 9; }
//! row 5, [1, 2]                      48 05  3a 02 01 02
//! ```
//!
//! Fields are written in the order of the columns. A field without presence is left out at its default, and every field at NULL. A value
//! for which the message has no place makes its row unwritten, with the reason.

use super::SECONDS;
use super::infer::{Kind, kind, oneof_name};
use super::schema::{Field, File, Label, Message, Scalar, Syntax};
use crate::format::json::encode::Source;
use crate::format::rows::Refusal;
use crate::types::{SqlType, calendar};
use arrow::array::Array;
use arrow::datatypes::i256;
use std::collections::HashMap;

/// How a message is written from columns, or from the fields of a STRUCT.
#[derive(Debug)]
pub(super) struct Layout {
    fields: Vec<Place>,
}

/// Where a column goes.
#[derive(Debug)]
pub(super) struct Place {
    number: u32,
    how: How,
    /// Written even at its default.
    explicit: bool,
    /// NULL is refused: the reason.
    required: Option<String>,
}

/// How one value is written.
#[derive(Debug)]
enum How {
    Scalar(Scalar),
    Enum(HashMap<String, i32>),
    Decimal,
    Date,
    Time,
    Timestamp,
    Message(Layout),
    Wrapper(Scalar),
    Repeated {
        item: Box<How>,
        packed: bool,
    },
    Entries {
        key: Box<Place>,
        value: Box<Place>,
    },
    /// A STRUCT of which at most one field is not NULL.
    OneOf(Layout),
    /// No value can be written: the reason.
    Refused(String),
}

/// The layout of columns in a message of a schema.
pub(super) fn layout(file: &File, message: &Message, columns: &[(String, SqlType)]) -> Layout {
    let fields = columns.iter().map(|(name, ty)| place_of(file, message, name, ty)).collect::<Vec<_>>();
    let missing = message.fields.iter().find(|f| f.label == Label::Required && !taken(&fields, f));
    let refused = missing.map(|field| Place {
        number: 0,
        how: How::Refused(format!("Missing value for required field: [{}] of the schema in the registry", field.name)),
        explicit: true,
        required: None,
    });
    Layout { fields: refused.into_iter().chain(fields).collect() }
}

fn taken(places: &[Place], field: &Field) -> bool {
    places.iter().any(|place| place.number == field.number)
}

/// The field of a column: by its name, else by its name in upper case.
fn place_of(file: &File, message: &Message, name: &str, ty: &SqlType) -> Place {
    let exact = message.fields.iter().find(|f| f.name == name);
    let field = exact.or_else(|| message.fields.iter().find(|f| f.name.to_uppercase() == name));
    if let Some(field) = field.filter(|f| f.oneof.is_none()) {
        return place(file, message.syntax, field, ty);
    }
    let oneof = (0..message.oneofs.len()).find(|index| {
        let oneof = oneof_name(message, *index);
        oneof == name || oneof.to_uppercase() == name
    });
    let how = match (oneof, ty) {
        (Some(index), SqlType::Struct(fields)) => {
            let member = |name: &str| {
                let mut own = message.fields.iter().filter(|f| f.oneof == Some(index));
                own.find(|f| f.name == *name || f.name.to_uppercase() == *name)
            };
            let places = fields.iter().map(|(name, ty)| match member(name) {
                Some(field) => place(file, message.syntax, field, ty),
                None => refused(name),
            });
            How::OneOf(Layout { fields: places.collect() })
        }
        _ => return refused(name),
    };
    Place { number: 0, how, explicit: true, required: None }
}

/// ksqlDB's words.
fn refused(name: &str) -> Place {
    let reason = format!("Schema from Schema Registry misses field with name: {name}");
    Place { number: 0, how: How::Refused(reason), explicit: true, required: None }
}

fn place(file: &File, syntax: Syntax, field: &Field, ty: &SqlType) -> Place {
    let how = match (kind(file, field), field.label, ty) {
        (Some(Kind::Entry(entry)), _, SqlType::Map(key, value)) => entries(file, entry, key, value),
        (Some(Kind::Entry(_)), ..) => None,
        (Some(kind), Label::Repeated, SqlType::Array(item)) => {
            let packed = field.is_packed(syntax);
            self::how(file, kind, item).map(|item| How::Repeated { item: Box::new(item), packed })
        }
        (Some(_), Label::Repeated, _) | (None, ..) => None,
        (Some(kind), _, ty) => self::how(file, kind, ty),
    };
    let wrong = || How::Refused(format!("a value of type {ty} cannot be written to the field `{}`", field.name));
    let required = (field.label == Label::Required)
        .then(|| format!("Invalid value: null used for required field: \"{}\"", field.name));
    Place {
        number: field.number,
        how: how.unwrap_or_else(wrong),
        explicit: !matches!(field.label, Label::Implicit | Label::Repeated),
        required,
    }
}

fn entries(file: &File, entry: &Message, key: &SqlType, value: &SqlType) -> Option<How> {
    let part = |name: &str| entry.fields.iter().find(|f| f.name == name);
    let (key, value) = (place(file, entry.syntax, part("key")?, key), place(file, entry.syntax, part("value")?, value));
    Some(How::Entries { key: Box::new(Place { explicit: true, ..key }), value: Box::new(value) })
}

/// How values of a type are written to a field of this kind; `None` if they cannot be.
fn how(file: &File, kind: Kind<'_>, ty: &SqlType) -> Option<How> {
    Some(match (kind, ty) {
        (Kind::Scalar(scalar), ty) if fits(scalar, ty) => How::Scalar(scalar),
        (Kind::Wrapper(scalar), ty) if fits(scalar, ty) => How::Wrapper(scalar),
        (Kind::Enum(known), SqlType::String) => {
            How::Enum(known.values.iter().rev().map(|(name, number)| (name.clone(), *number)).collect())
        }
        (Kind::Decimal, SqlType::Decimal(..)) => How::Decimal,
        (Kind::Date, SqlType::Date) => How::Date,
        (Kind::Time, SqlType::Time) => How::Time,
        (Kind::Timestamp, SqlType::Timestamp) => How::Timestamp,
        (Kind::Message(_, message), SqlType::Struct(fields)) => How::Message(layout(file, message, fields)),
        _ => return None,
    })
}

/// Whether a scalar field has room for values of a type. A uint32 is a BIGINT whose values may be too large, which is seen then.
fn fits(scalar: Scalar, ty: &SqlType) -> bool {
    match ty {
        SqlType::Boolean => scalar == Scalar::Bool,
        SqlType::Integer => {
            !matches!(scalar, Scalar::Bool | Scalar::String | Scalar::Bytes | Scalar::Double | Scalar::Float)
        }
        SqlType::Bigint => matches!(
            scalar,
            Scalar::Int64
                | Scalar::Uint64
                | Scalar::Sint64
                | Scalar::Fixed64
                | Scalar::Sfixed64
                | Scalar::Uint32
                | Scalar::Fixed32
        ),
        SqlType::Double => matches!(scalar, Scalar::Double | Scalar::Float),
        SqlType::String => scalar == Scalar::String,
        SqlType::Bytes => scalar == Scalar::Bytes,
        _ => false,
    }
}

type Written = Result<(), Refusal>;

impl Layout {
    /// Appends one row's message.
    #[inline(always)]
    pub(super) fn write(&self, columns: &[Source<'_>], row: usize, out: &mut Vec<u8>) -> Written {
        // A leading place without a column refuses every row.
        let (refused, fields) = self.fields.split_at(self.fields.len() - columns.len());
        refused.iter().try_for_each(|place| place.refuse())?;
        fields.iter().zip(columns).try_for_each(|(place, column)| place.write(column, row, out))
    }

    /// Appends the only column's own message.
    pub(super) fn write_alone(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        self.fields.iter().try_for_each(|place| place.how.body(column, row, out))
    }

    fn write_struct(&self, columns: &[(Vec<u8>, Source<'_>)], row: usize, out: &mut Vec<u8>) -> Written {
        let (refused, fields) = self.fields.split_at(self.fields.len() - columns.len());
        refused.iter().try_for_each(|place| place.refuse())?;
        fields.iter().zip(columns).try_for_each(|(place, (_, column))| place.write(column, row, out))
    }
}

impl Place {
    fn refuse(&self) -> Written {
        match &self.how {
            How::Refused(reason) => Err(reason.clone().into()),
            _ => Ok(()),
        }
    }

    /// Appends the field of one row.
    #[inline(always)]
    fn write(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        match (&self.how, column) {
            (How::Scalar(Scalar::Int64), Source::Bigint(a)) if a.is_valid(row) => {
                self.varint(a.value(row) as u64, out);
                Ok(())
            }
            (How::Scalar(Scalar::Int32), Source::Integer(a)) if a.is_valid(row) => {
                self.varint(i64::from(a.value(row)) as u64, out);
                Ok(())
            }
            (How::Scalar(Scalar::String), Source::String(a)) if a.is_valid(row) => {
                self.bytes(a.value(row).as_bytes(), out);
                Ok(())
            }
            _ => self.write_other(column, row, out),
        }
    }

    #[inline(always)]
    fn varint(&self, value: u64, out: &mut Vec<u8>) {
        if self.explicit || value != 0 {
            put_tag(self.number, 0, out);
            put_varint(value, out);
        }
    }

    #[inline(always)]
    fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.explicit || !bytes.is_empty() {
            put_tag(self.number, 2, out);
            put_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
    }

    fn write_other(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        self.refuse()?;
        if column.is_null(row) {
            return match &self.required {
                Some(reason) => Err(reason.clone().into()),
                None => Ok(()),
            };
        }
        match (&self.how, column) {
            (How::Repeated { item, packed }, Source::Array(list, items)) => {
                let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
                if range.clone().any(|i| items.is_null(i)) {
                    return Err("an ARRAY holds NULL, for which PROTOBUF has no place".into());
                }
                if *packed && !range.is_empty() {
                    put_tag(self.number, 2, out);
                    return nested(out, |out| range.clone().try_for_each(|i| item.body(items, i, out)));
                }
                range.into_iter().try_for_each(|i| {
                    put_tag(self.number, item.wire_type(), out);
                    item.value(items, i, out)
                })
            }
            (How::Entries { key, value }, Source::Map(map, keys, values)) => {
                let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
                let keys = Source::String(keys);
                range.into_iter().try_for_each(|i| {
                    put_tag(self.number, 2, out);
                    nested(out, |out| {
                        key.write(&keys, i, out)?;
                        value.write(values, i, out)
                    })
                })
            }
            (How::OneOf(layout), Source::Struct(_, members)) => {
                let set = layout.fields.iter().zip(members).find(|(_, (_, member))| !member.is_null(row));
                set.map_or(Ok(()), |(place, (_, member))| place.write(member, row, out))
            }
            (How::Scalar(_) | How::Enum(_), _) => {
                let start = out.len();
                put_tag(self.number, self.how.wire_type(), out);
                let body = out.len();
                self.how.value(column, row, out)?;
                if !self.explicit && out[body..].iter().all(|b| *b == 0) {
                    // The default: a varint or length of 0, or eight bytes of 0.
                    out.truncate(start);
                }
                Ok(())
            }
            _ => {
                put_tag(self.number, 2, out);
                self.how.value(column, row, out)
            }
        }
    }
}

impl How {
    fn wire_type(&self) -> u64 {
        match self {
            How::Scalar(Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64) => 1,
            How::Scalar(Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32) => 5,
            How::Scalar(Scalar::String | Scalar::Bytes) => 2,
            How::Scalar(_) | How::Enum(_) => 0,
            _ => 2,
        }
    }

    /// Appends a value that is not NULL, with its length where the wire type has one.
    fn value(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        match self.wire_type() {
            2 => nested(out, |out| self.body(column, row, out)),
            _ => self.body(column, row, out),
        }
    }

    /// Appends a value that is not NULL, without its length.
    pub(super) fn body(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        match (self, column) {
            (How::Message(layout), Source::Struct(_, fields)) => return layout.write_struct(fields, row, out),
            (How::Wrapper(scalar), column) => {
                let place = Place { number: 1, how: How::Scalar(*scalar), explicit: false, required: None };
                return place.write(column, row, out);
            }
            (How::Enum(numbers), Source::String(a)) => {
                let Some(number) = numbers.get(a.value(row)) else {
                    return Err(format!("the schema's enum has no value `{}`", a.value(row)).into());
                };
                put_varint(i64::from(*number) as u64, out);
            }
            (How::Decimal, Source::Decimal(a, scale)) => put_decimal(i256::from_i128(a.value(row)), *scale, out),
            (How::Decimal, Source::WideDecimal(a, scale)) => put_decimal(a.value(row), *scale, out),
            (How::Date, Source::Date(a)) => return put_date(a.value(row), out),
            (How::Time, Source::Time(a)) => put_time(a.value(row), out),
            (How::Timestamp, Source::Timestamp(a)) => return put_timestamp(a.value(row), out),
            (How::Scalar(scalar), column) => return put_scalar(*scalar, column, row, out),
            _ => return Err("PROTOBUF has no message for a column's type".into()),
        }
        Ok(())
    }
}

fn put_scalar(scalar: Scalar, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
    let number = match column {
        Source::Integer(a) => i64::from(a.value(row)),
        Source::Bigint(a) => a.value(row),
        Source::Boolean(a) => i64::from(a.value(row)),
        Source::Double(a) => {
            match scalar {
                Scalar::Float => out.extend_from_slice(&(a.value(row) as f32).to_le_bytes()),
                _ => out.extend_from_slice(&a.value(row).to_le_bytes()),
            }
            return Ok(());
        }
        Source::String(a) => {
            out.extend_from_slice(a.value(row).as_bytes());
            return Ok(());
        }
        Source::Bytes(a) => {
            out.extend_from_slice(a.value(row));
            return Ok(());
        }
        _ => return Err("PROTOBUF has no scalar for a column's type".into()),
    };
    let small =
        || u32::try_from(number).map_err(|_| Refusal::from(format!("{number} does not fit into an unsigned field")));
    match scalar {
        Scalar::Uint32 => put_varint(u64::from(small()?), out),
        Scalar::Fixed32 => out.extend_from_slice(&small()?.to_le_bytes()),
        Scalar::Sfixed32 => out.extend_from_slice(&(number as i32).to_le_bytes()),
        Scalar::Fixed64 | Scalar::Sfixed64 => out.extend_from_slice(&number.to_le_bytes()),
        Scalar::Sint32 | Scalar::Sint64 => put_varint(((number << 1) ^ (number >> 63)) as u64, out),
        _ => put_varint(number as u64, out),
    }
    Ok(())
}

#[inline(always)]
fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline(always)]
fn put_tag(number: u32, wire_type: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | wire_type, out);
}

/// Appends what `write` appends, with its length before it.
fn nested(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Written) -> Written {
    let start = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return Ok(());
    }
    let mut prefix = vec![];
    put_varint(length as u64, &mut prefix);
    out.splice(start..=start, prefix);
    Ok(())
}

/// An integer field; 0 is omitted.
fn put_number(number: u32, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        put_tag(number, 0, out);
        put_varint(value as u64, out);
    }
}

fn put_date(days: i32, out: &mut Vec<u8>) -> Written {
    let (year, month, day) = calendar::from_days(days.into());
    if year < 1 {
        return Err("a DATE is before year 1, for which PROTOBUF has no place".into());
    }
    put_number(1, year, out);
    put_number(2, month, out);
    put_number(3, day, out);
    Ok(())
}

fn put_time(ms: i32, out: &mut Vec<u8>) {
    let ms = i64::from(ms);
    put_number(1, ms / 3_600_000, out);
    put_number(2, ms / 60_000 % 60, out);
    put_number(3, ms / 1000 % 60, out);
    put_number(4, ms % 1000 * 1_000_000, out);
}

fn put_timestamp(ms: i64, out: &mut Vec<u8>) -> Written {
    if !SECONDS.contains(&ms.div_euclid(1000)) {
        return Err("a TIMESTAMP is outside of the years 1 to 9999, for which PROTOBUF has no place".into());
    }
    put_number(1, ms.div_euclid(1000), out);
    put_number(2, ms.rem_euclid(1000) * 1_000_000, out);
    Ok(())
}

/// The precision is that of the value: its digits, as `BigDecimal.precision` counts them.
fn put_decimal(value: i256, scale: i8, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let sign = if value < i256::ZERO { 0xFF } else { 0 };
    // The shortest two's complement that keeps the sign.
    let mut start = 0;
    while start < 31 && bytes[start] == sign && (bytes[start + 1] ^ sign) & 0x80 == 0 {
        start += 1;
    }
    put_tag(1, 2, out);
    put_varint((32 - start) as u64, out);
    out.extend_from_slice(&bytes[start..]);
    let digits = match value.to_i128() {
        Some(value) => value.unsigned_abs().checked_ilog10().map_or(1, |n| i64::from(n) + 1),
        None => value.to_string().trim_start_matches('-').len() as i64,
    };
    put_number(2, digits, out);
    put_number(3, i64::from(scale), out);
}
