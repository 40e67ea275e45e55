//! SQL types, their Arrow types, and schemas.
//!
//! A row has key columns and value columns, because Kafka's records have two byte strings; no column is in both. Pseudo columns
//! (ROWTIME and the like) are not part of a schema: every source has them (ksqlDB's `SystemColumns`).

pub mod base64;
pub mod calendar;
pub mod cell;
pub mod clock;
pub mod decimal;
pub mod decimal_text;
pub mod display;
pub mod java_double;
pub mod java_time;
mod names;
pub mod temporal;
pub mod text;
pub mod time;
pub mod zone;

pub use names::nearest;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The largest DECIMAL precision that Arrow can carry.
pub const DECIMAL_PRECISION_MAX: u8 = 76;

/// A ksqlDB type. Every value of every type may be NULL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SqlType {
    /// `true` or `false`.
    Boolean,
    /// 32 bits, wraps around.
    Integer,
    /// 64 bits, wraps around.
    Bigint,
    /// IEEE 754, 64 bits.
    Double,
    /// Exact number: precision (digits in all), scale (digits after the point).
    Decimal(u8, i8),
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since midnight.
    Time,
    /// Milliseconds since 1970-01-01, no zone.
    Timestamp,
    /// A list.
    Array(Box<SqlType>),
    /// Key type (STRING in topics) and value type.
    Map(Box<SqlType>, Box<SqlType>),
    /// Named fields, in order.
    Struct(Vec<(String, SqlType)>),
}

impl SqlType {
    /// The Arrow type of a column of this type.
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::Integer => DataType::Int32,
            SqlType::Bigint => DataType::Int64,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal(p, s) if *p <= 38 => DataType::Decimal128(*p, *s),
            SqlType::Decimal(p, s) => DataType::Decimal256(*p, *s),
            SqlType::String => DataType::Utf8,
            SqlType::Bytes => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time32(TimeUnit::Millisecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            SqlType::Array(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
            SqlType::Map(key, value) => {
                let entries = Fields::from(vec![
                    Field::new("keys", key.arrow(), false),
                    Field::new("values", value.arrow(), true),
                ]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
            }
            SqlType::Struct(fields) => {
                DataType::Struct(fields.iter().map(|(n, t)| Field::new(n, t.arrow(), true)).collect())
            }
        }
    }

    /// The SQL type of an Arrow type, if there is one.
    pub fn from_arrow(ty: &DataType) -> Option<SqlType> {
        Some(match ty {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => SqlType::Integer,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => SqlType::Bigint,
            DataType::Float32 | DataType::Float64 => SqlType::Double,
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => SqlType::Decimal(*p, *s),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::String,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => SqlType::Bytes,
            DataType::Date32 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
            DataType::Timestamp(_, _) => SqlType::Timestamp,
            DataType::List(f) | DataType::LargeList(f) => SqlType::Array(Box::new(SqlType::from_arrow(f.data_type())?)),
            DataType::Map(f, _) => match f.data_type() {
                DataType::Struct(kv) if kv.len() == 2 => SqlType::Map(
                    Box::new(SqlType::from_arrow(kv[0].data_type())?),
                    Box::new(SqlType::from_arrow(kv[1].data_type())?),
                ),
                _ => return None,
            },
            DataType::Struct(fields) => SqlType::Struct(
                fields
                    .iter()
                    .map(|f| Some((f.name().clone(), SqlType::from_arrow(f.data_type())?)))
                    .collect::<Option<_>>()?,
            ),
            _ => return None,
        })
    }

    /// INTEGER, BIGINT, DOUBLE or DECIMAL.
    pub fn is_numeric(&self) -> bool {
        matches!(self, SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::Decimal(..))
    }

    /// Precision and scale of an exact number: INTEGER counts as DECIMAL(10, 0), BIGINT as DECIMAL(19, 0).
    pub fn exact(&self) -> Option<(u8, i8)> {
        match self {
            SqlType::Integer => Some((10, 0)),
            SqlType::Bigint => Some((19, 0)),
            SqlType::Decimal(p, s) => Some((*p, *s)),
            _ => None,
        }
    }

    /// The common type that both widen to without a CAST: INTEGER -> BIGINT -> DECIMAL -> DOUBLE (ksqlDB's
    /// `SqlBaseType.canImplicitlyCast`), also inside nested types.
    pub fn common(&self, other: &SqlType) -> Option<SqlType> {
        use SqlType::*;
        Some(match (self, other) {
            (a, b) if a == b => a.clone(),
            (Double, b) if b.is_numeric() => Double,
            (a, Double) if a.is_numeric() => Double,
            (Integer, Bigint) | (Bigint, Integer) => Bigint,
            (Array(a), Array(b)) => Array(Box::new(a.common(b)?)),
            (Map(k, v), Map(l, w)) => Map(Box::new(k.common(l)?), Box::new(v.common(w)?)),
            (Struct(a), Struct(b)) => {
                let mut fields = vec![];
                for (name, ty) in a {
                    fields.push(match b.iter().find(|(n, _)| n == name) {
                        Some((_, other)) => (name.clone(), ty.common(other)?),
                        None => (name.clone(), ty.clone()),
                    });
                }
                fields.extend(b.iter().filter(|(name, _)| a.iter().all(|(n, _)| n != name)).cloned());
                Struct(fields)
            }
            (a, b) => {
                let ((p, s), (q, t)) = (a.exact()?, b.exact()?);
                let whole = (i16::from(p) - i16::from(s)).max(i16::from(q) - i16::from(t));
                let precision = whole + i16::from(s.max(t));
                Decimal(precision.min(i16::from(DECIMAL_PRECISION_MAX)) as u8, s.max(t))
            }
        })
    }
}

impl fmt::Display for SqlType {
    /// The type as ksqlDB prints it: `INTEGER`, `STRING`, `DECIMAL(4, 2)`, `ARRAY<STRING>`, ``STRUCT<`A` INTEGER>``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Boolean => f.write_str("BOOLEAN"),
            SqlType::Integer => f.write_str("INTEGER"),
            SqlType::Bigint => f.write_str("BIGINT"),
            SqlType::Double => f.write_str("DOUBLE"),
            SqlType::Decimal(p, s) => write!(f, "DECIMAL({p}, {s})"),
            SqlType::String => f.write_str("STRING"),
            SqlType::Bytes => f.write_str("BYTES"),
            SqlType::Date => f.write_str("DATE"),
            SqlType::Time => f.write_str("TIME"),
            SqlType::Timestamp => f.write_str("TIMESTAMP"),
            SqlType::Array(item) => write!(f, "ARRAY<{item}>"),
            SqlType::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            SqlType::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, (name, ty)) in fields.iter().enumerate() {
                    write!(f, "{}{} {ty}", if i > 0 { ", " } else { "" }, quoted(name))?;
                }
                f.write_str(">")
            }
        }
    }
}

/// A name in back quotes; those inside are doubled.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Names of pseudo columns.
pub mod pseudo {
    /// Event time, BIGINT milliseconds.
    pub const ROWTIME: &str = "ROWTIME";
    /// Partition of the record, INTEGER.
    pub const ROWPARTITION: &str = "ROWPARTITION";
    /// Offset of the record, BIGINT.
    pub const ROWOFFSET: &str = "ROWOFFSET";
    /// First millisecond of the row's window, BIGINT.
    pub const WINDOWSTART: &str = "WINDOWSTART";
    /// One past the last millisecond of a time window, last event of a session; BIGINT.
    pub const WINDOWEND: &str = "WINDOWEND";
    /// All of them; no column may have such a name.
    pub const ALL: [&str; 5] = [ROWTIME, ROWPARTITION, ROWOFFSET, WINDOWSTART, WINDOWEND];
}

/// The part of a record that contains a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// In the record's key.
    Key,
    /// In the record's value.
    Value,
    /// In the record's headers: all of them (`None`) or the last one with that key.
    Header(Option<String>),
}

/// A named, typed column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Exact name; upper case unless it was quoted.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// The part of the record that contains it.
    pub role: Role,
}

impl Column {
    /// A column of the key.
    pub fn key(name: impl Into<String>, ty: SqlType) -> Column {
        Column { name: name.into(), ty, role: Role::Key }
    }

    /// A column of the value.
    pub fn value(name: impl Into<String>, ty: SqlType) -> Column {
        Column { name: name.into(), ty, role: Role::Value }
    }

    /// The Arrow field: nullable, as every column.
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.ty.arrow(), true)
    }
}

/// Key columns and the others (value and header columns) in declared order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Schema {
    /// The record's key; empty = the source has none.
    pub key: Vec<Column>,
    /// Value and header columns.
    pub value: Vec<Column>,
}

impl Schema {
    /// Key columns, then the others.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().chain(&self.value)
    }

    /// The column with exactly this name.
    pub fn find(&self, name: &str) -> Option<&Column> {
        self.columns().find(|c| c.name == name)
    }
}

impl fmt::Display for Schema {
    /// As ksqlDB prints it: ``` `ID` STRING KEY, `N` INTEGER ```.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, c) in self.columns().enumerate() {
            write!(f, "{}{} {}", if i > 0 { ", " } else { "" }, quoted(&c.name), c.ty)?;
            match &c.role {
                Role::Key => f.write_str(" KEY")?,
                Role::Value => {}
                Role::Header(None) => f.write_str(" HEADERS")?,
                Role::Header(Some(key)) => write!(f, " HEADER('{key}')")?,
            }
        }
        Ok(())
    }
}
