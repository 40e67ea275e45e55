//! Columns to JSON, by the schema that the payloads name.
//!
//! ```text
//! M MAP<STRING, INT> {k: 7}    [{"key":"k","value":7}]    by the schema that `translate` makes
//!                              {"k":7}                    by a schema whose map is an object
//! ```
//!
//! Names are those of the schema. What the schema has beyond the columns is left out. A value for which it has no place makes its row
//! unwritten, with the reason.

use super::plan::named;
use super::schema::{Node, Schema};
use super::shape::{Ty, shape};
use crate::format::json::encode::{Source, member, write_string};
use crate::format::rows::Refusal;
use crate::types::SqlType;

/// How values of a column are written.
#[derive(Debug)]
pub(super) enum Form {
    /// As JSON has them without a schema.
    Plain,
    Array(Item),
    /// An object whose members are the entries.
    Map(Item),
    /// An array of entries.
    Entries(Item),
    Struct(Vec<Place>),
    /// A union: the branch whose field is not NULL.
    Union(Vec<Option<Form>>),
    /// No value can be written: the reason.
    Refused(String),
}

/// The form of a nested value, and whether it may be NULL.
#[derive(Debug)]
pub(super) struct Item {
    form: Box<Form>,
    required: Option<&'static str>,
}

/// A column of an object.
#[derive(Debug)]
pub(super) struct Place {
    /// `,"name":`
    prefix: Vec<u8>,
    name: String,
    form: Form,
    /// NULL is refused: the type's name in Connect.
    required: Option<&'static str>,
}

type Written = Result<(), Refusal>;

/// The form of a payload of these columns.
pub(super) fn payload(schema: &Schema, columns: &[(String, SqlType)], bare: bool) -> Form {
    if let (true, [(_, ty)]) = (bare, columns) {
        return form(schema.root(), ty);
    }
    match shape(schema.root()).and_then(|shape| named(shape.ty)) {
        Ok(members) => Form::Struct(places(&members, columns)),
        Err(reason) => Form::Refused(reason),
    }
}

fn places(members: &[(&str, Node<'_>)], columns: &[(String, SqlType)]) -> Vec<Place> {
    let of = |(i, (name, ty)): (usize, &(String, SqlType))| {
        let exact = members.iter().find(|(member, _)| member == name);
        let found = exact.or_else(|| members.iter().find(|(member, _)| member.to_uppercase() == *name));
        let (name, form, required) = match found {
            Some((name, node)) => (*name, form(*node, ty), required(*node)),
            None => {
                let reason = format!("Schema from Schema Registry misses field with name: {name}");
                (name.as_str(), Form::Refused(reason), None)
            }
        };
        Place { prefix: member(i, name), name: name.to_owned(), form, required }
    };
    columns.iter().enumerate().map(of).collect()
}

/// The name of a value's type in Connect, if it may not be NULL.
fn required(node: Node<'_>) -> Option<&'static str> {
    let shape = shape(node).ok().filter(|shape| !shape.nullable)?;
    Some(match shape.ty {
        Ty::Boolean => "BOOLEAN",
        Ty::Int32 | Ty::Date | Ty::Time => "INT32",
        Ty::Int64 | Ty::Timestamp => "INT64",
        Ty::Float32 => "FLOAT32",
        Ty::Float64 => "FLOAT64",
        Ty::String => "STRING",
        Ty::Bytes | Ty::Decimal { .. } => "BYTES",
        Ty::Array(_) => "ARRAY",
        Ty::Map(_) | Ty::Entries { .. } => "MAP",
        Ty::Struct(_) | Ty::Union(_) => "STRUCT",
    })
}

fn form(node: Node<'_>, ty: &SqlType) -> Form {
    let shape = match shape(node) {
        Ok(shape) => shape,
        Err(reason) => return Form::Refused(reason),
    };
    let item = |node: Node<'_>, ty: &SqlType| Item { form: Box::new(form(node, ty)), required: required(node) };
    match (shape.ty, ty) {
        (Ty::Boolean, SqlType::Boolean)
        | (Ty::Int32 | Ty::Int64, SqlType::Integer)
        | (Ty::Int64, SqlType::Bigint)
        | (Ty::Float32 | Ty::Float64, SqlType::Double)
        | (Ty::String, SqlType::String)
        | (Ty::Bytes, SqlType::Bytes)
        | (Ty::Decimal { .. }, SqlType::Decimal(..))
        | (Ty::Date, SqlType::Date)
        | (Ty::Time, SqlType::Time)
        | (Ty::Timestamp | Ty::Int64, SqlType::Timestamp) => Form::Plain,
        (Ty::Array(items), SqlType::Array(of)) => Form::Array(item(items, of)),
        (Ty::Map(values), SqlType::Map(_, of)) => Form::Map(item(values, of)),
        (Ty::Entries { key, value }, SqlType::Map(_, of)) => match required(key) {
            // Connect writes a map whose keys are texts that cannot be NULL as an object.
            Some("STRING") => Form::Map(item(value, of)),
            _ => Form::Entries(item(value, of)),
        },
        (Ty::Struct(members), SqlType::Struct(fields)) => Form::Struct(places(&members, fields)),
        (Ty::Union(branches), SqlType::Struct(fields)) => {
            let branch = |(name, ty): &(String, SqlType)| {
                let number =
                    name.to_lowercase().strip_prefix(&super::infer::UNION_FIELD.to_lowercase())?.parse::<usize>();
                branches.get(number.ok()?).map(|node| form(*node, ty))
            };
            Form::Union(fields.iter().map(branch).collect())
        }
        (_, ty) => Form::Refused(format!("a value of type {ty} cannot be written by the schema in the registry")),
    }
}

impl Form {
    /// Appends one row's object.
    #[inline(always)]
    pub(super) fn write_row(&self, columns: &[Source<'_>], row: usize, out: &mut Vec<u8>) -> Written {
        let places = match self {
            Form::Struct(places) => places,
            Form::Refused(reason) => return Err(reason.clone().into()),
            other => return columns.first().map_or(Ok(()), |column| other.write(column, row, out)),
        };
        out.push(b'{');
        for (place, column) in places.iter().zip(columns) {
            place.write(column, row, out)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends one value.
    pub(super) fn write(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        if let Form::Refused(reason) = self {
            return Err(reason.clone().into());
        }
        if column.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match (self, column) {
            (Form::Array(item), Source::Array(list, items)) => {
                out.push(b'[');
                for (n, i) in range(list.value_offsets(), row).enumerate() {
                    comma(n, out);
                    item.write(items, i, out)?;
                }
                out.push(b']');
            }
            (Form::Map(item), Source::Map(map, keys, values)) => {
                out.push(b'{');
                for (n, i) in range(map.value_offsets(), row).enumerate() {
                    comma(n, out);
                    write_string(keys.value(i).as_bytes(), out);
                    out.push(b':');
                    item.write(values, i, out)?;
                }
                out.push(b'}');
            }
            (Form::Entries(item), Source::Map(map, keys, values)) => {
                out.push(b'[');
                for (n, i) in range(map.value_offsets(), row).enumerate() {
                    comma(n, out);
                    out.extend_from_slice(b"{\"key\":");
                    write_string(keys.value(i).as_bytes(), out);
                    out.extend_from_slice(b",\"value\":");
                    item.write(values, i, out)?;
                    out.push(b'}');
                }
                out.push(b']');
            }
            (Form::Struct(places), Source::Struct(_, fields)) => {
                out.push(b'{');
                for (place, (_, field)) in places.iter().zip(fields) {
                    place.write(field, row, out)?;
                }
                out.push(b'}');
            }
            (Form::Union(branches), Source::Struct(_, fields)) => {
                let set = branches.iter().zip(fields).find(|(_, (_, field))| !field.is_null(row));
                match set {
                    Some((Some(form), (_, field))) => form.write(field, row, out)?,
                    Some((None, _)) => return Err("a field of a union has no branch in the schema".into()),
                    None => out.extend_from_slice(b"null"),
                }
            }
            _ => column.write(row, out),
        }
        Ok(())
    }
}

impl Item {
    fn write(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        match self.required {
            Some(ty) if column.is_null(row) => Err(format!("Invalid value: null used for required {ty} value").into()),
            _ => self.form.write(column, row, out),
        }
    }
}

impl Place {
    #[inline(always)]
    fn write(&self, column: &Source<'_>, row: usize, out: &mut Vec<u8>) -> Written {
        if let Some(ty) = self.required
            && column.is_null(row)
            && !matches!(self.form, Form::Refused(_))
        {
            return Err(self.null(ty));
        }
        out.extend_from_slice(&self.prefix);
        match self.form {
            Form::Plain => {
                column.write(row, out);
                Ok(())
            }
            _ => self.form.write(column, row, out),
        }
    }

    /// ksqlDB's words.
    #[cold]
    fn null(&self, ty: &str) -> Refusal {
        format!("Invalid value: null used for required field: \"{}\", schema type: {ty}", self.name).into()
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

fn comma(n: usize, out: &mut Vec<u8>) {
    if n > 0 {
        out.push(b',');
    }
}
