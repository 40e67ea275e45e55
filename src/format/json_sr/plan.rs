//! How the payloads of one writer's schema get into columns: made once per (schema, columns).
//!
//! ```text
//! writer   {"properties":{"c":{"type":"string"},"a":{"type":"integer"},"n":{..}}}
//! columns  A BIGINT, D DATE
//! plan     c unread, a -> A as int64, n unread;  D is always NULL
//! ```
//!
//! A column takes the last property, in Connect's order, whose name is its own, or is its own in upper case. Types are compared here.
//! A column whose property has a type that it does not take makes every record bad, whether the property is there or not; below
//! a STRUCT, an ARRAY or a MAP only where there is a value (ksqlDB's `ConnectDataTranslator`).

use super::infer::UNION_FIELD;
use super::schema::{Node, Schema};
use super::shape::{Ty, shape};
use crate::format::connect::mismatch;
use crate::format::json::gaps::Gaps;
use crate::types::SqlType;

/// What to do with an object.
#[derive(Debug)]
pub(super) struct ObjectPlan {
    /// The properties of the schema.
    pub(super) members: Vec<Member>,
    /// For each column the member that it takes.
    pub(super) columns: Vec<Option<usize>>,
    /// Two columns take one member.
    pub(super) overlapping: bool,
    pub(super) gaps: Gaps,
    /// A column's type does not fit its property's: no object can be read.
    pub(super) fault: Option<Box<str>>,
}

/// A property.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// The column that takes it.
    pub(super) column: Option<usize>,
    pub(super) value: Value,
}

/// A value, and whether it may be `null`.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) take: Take,
    pub(super) nullable: bool,
}

/// How a value gets into its column.
#[derive(Debug)]
pub(super) enum Take {
    /// No column takes it.
    Unread,
    /// An integer: also of a DATE, TIME or TIMESTAMP.
    Int,
    /// `true`: rounded to 32 bits.
    Double(bool),
    Text,
    Boolean,
    Bytes,
    /// A number, or the bytes of its unscaled value in base64, with this scale.
    Decimal(i64),
    /// An integer's, a number's or a boolean's text.
    IntText,
    DoubleText(bool),
    BooleanText,
    Array(Box<Value>),
    /// An object whose members are the entries.
    Map(Box<Value>),
    /// An array of entries.
    Entries {
        key: Box<Value>,
        value: Box<Value>,
    },
    Struct(Box<ObjectPlan>),
    Union(Vec<Branch>),
    /// The column cannot take it: the reason.
    Mismatch(Box<str>),
}

/// A branch of a union.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    /// The field of the STRUCT that takes it.
    pub(super) field: Option<usize>,
    pub(super) value: Value,
}

/// By what a value is seen to be of a branch (`JsonSchemaData.isSimpleSchema`).
#[derive(Debug)]
pub(super) enum BranchKind {
    Integer,
    Number,
    Text,
    Boolean,
    Array,
    Map,
    /// The branch with the most of an object's names.
    Object(Vec<String>),
}

/// The whole payload.
#[derive(Debug)]
pub(super) enum Root {
    Object(Box<ObjectPlan>),
    Bare(Value),
    /// The schema is not that of an object.
    Refused(Box<str>),
}

/// The plan for a schema; `bare`: the payload is the only column's value.
pub(super) fn compile(schema: &Schema, columns: &[(String, SqlType)], bare: bool) -> Root {
    if let (true, [(_, ty)]) = (bare, columns) {
        return match value(schema.root(), ty, "") {
            Ok(value) => Root::Bare(value),
            Err(reason) => Root::Refused(reason.into()),
        };
    }
    let members = shape(schema.root()).and_then(|shape| named(shape.ty));
    match members {
        Ok(members) => Root::Object(Box::new(object(members, columns, ""))),
        Err(reason) => Root::Refused(reason.into()),
    }
}

/// The members of an object.
pub(super) fn named(ty: Ty<'_>) -> Result<Vec<(&str, Node<'_>)>, String> {
    match ty {
        Ty::Struct(members) => Ok(members),
        other => Err(format!("Cannot deserialize type {} as type struct for path: ", connect(&other))),
    }
}

fn object(members: Vec<(&str, Node<'_>)>, columns: &[(String, SqlType)], path: &str) -> ObjectPlan {
    let fits = |member: &str, column: &str| member == column || member.to_uppercase() == column;
    let place = |column: &str| members.iter().rposition(|(member, _)| fits(member, column));
    let places: Vec<Option<usize>> = columns.iter().map(|(name, _)| place(name)).collect();
    let mut fault = None;
    let mut made = vec![];
    for (m, (name, node)) in members.iter().enumerate() {
        let column = places.iter().position(|place| *place == Some(m));
        let value = match column {
            Some(column) => {
                let (name, ty) = &columns[column];
                value(*node, ty, &format!("{path}->{name}")).unwrap_or_else(|reason| {
                    fault.get_or_insert_with(|| reason.clone().into());
                    mismatched(reason)
                })
            }
            None => Value { take: Take::Unread, nullable: shape(*node).map_or(true, |shape| shape.nullable) },
        };
        made.push(Member { name: (*name).to_owned(), column, value });
    }
    let mut taken: Vec<usize> = places.iter().flatten().copied().collect();
    taken.sort_unstable();
    let overlapping = taken.windows(2).any(|pair| pair[0] == pair[1]);
    // A second column of one member has to take its type as well.
    for ((name, ty), place) in columns.iter().zip(&places).filter(|_| overlapping) {
        if let Some(Err(reason)) = place.map(|m| value(members[m].1, ty, &format!("{path}->{name}"))) {
            fault.get_or_insert_with(|| reason.into());
        }
    }
    ObjectPlan { members: made, columns: places, overlapping, gaps: Gaps::new(), fault }
}

fn mismatched(reason: String) -> Value {
    Value { take: Take::Mismatch(reason.into()), nullable: false }
}

fn or_mismatched(found: Result<Value, String>) -> Box<Value> {
    Box::new(found.unwrap_or_else(mismatched))
}

/// How a value of a schema gets into a column, or why it does not.
fn value(node: Node<'_>, ty: &SqlType, path: &str) -> Result<Value, String> {
    let shape = shape(node)?;
    let wrong = |ty: &SqlType| mismatch(connect(&shape.ty), ty, path);
    let take = match (&shape.ty, ty) {
        (Ty::Int32 | Ty::Date | Ty::Time, SqlType::Integer | SqlType::Date | SqlType::Time) => Take::Int,
        (Ty::Int32 | Ty::Date | Ty::Time | Ty::Int64 | Ty::Timestamp, SqlType::Bigint | SqlType::Timestamp) => {
            Take::Int
        }
        (Ty::Int32 | Ty::Date | Ty::Time | Ty::Int64 | Ty::Timestamp, SqlType::String) => Take::IntText,
        (Ty::Float32, SqlType::Double) => Take::Double(true),
        (Ty::Float64, SqlType::Double) => Take::Double(false),
        (Ty::Float32, SqlType::String) => Take::DoubleText(true),
        (Ty::Float64, SqlType::String) => Take::DoubleText(false),
        (Ty::Boolean, SqlType::Boolean) => Take::Boolean,
        (Ty::Boolean, SqlType::String) => Take::BooleanText,
        (Ty::String, SqlType::String) => Take::Text,
        (Ty::Bytes, SqlType::Bytes) => Take::Bytes,
        (Ty::Decimal { scale, .. }, SqlType::Decimal(..)) => Take::Decimal(*scale),
        (Ty::Array(items), SqlType::Array(item)) => Take::Array(or_mismatched(value(*items, item, path))),
        (Ty::Map(values), SqlType::Map(_, of)) => Take::Map(or_mismatched(value(*values, of, path))),
        (Ty::Entries { key, value: values }, SqlType::Map(_, of)) => {
            let key = value(*key, &SqlType::String, path)?;
            let value = or_mismatched(value(*values, of, path));
            match (&key.take, key.nullable) {
                // Connect writes such a map as an object.
                (Take::Text, false) => Take::Map(value),
                _ => Take::Entries { key: Box::new(key), value },
            }
        }
        (Ty::Struct(members), SqlType::Struct(fields)) => Take::Struct(Box::new(object(members.clone(), fields, path))),
        (Ty::Union(branches), SqlType::Struct(fields)) => union(branches, fields, path),
        (_, ty) => return Err(wrong(ty)),
    };
    Ok(Value { take, nullable: shape.nullable })
}

fn union(branches: &[Node<'_>], fields: &[(String, SqlType)], path: &str) -> Take {
    let branch = |(i, node): (usize, &Node<'_>)| {
        let name = format!("{UNION_FIELD}{i}");
        let field = fields.iter().position(|(field, _)| *field == name || *field == name.to_uppercase());
        let kind = match shape(*node).map(|shape| shape.ty) {
            Ok(Ty::Int32 | Ty::Int64 | Ty::Date | Ty::Time | Ty::Timestamp) => BranchKind::Integer,
            Ok(Ty::Float32 | Ty::Float64 | Ty::Decimal { .. }) => BranchKind::Number,
            Ok(Ty::Boolean) => BranchKind::Boolean,
            Ok(Ty::Array(_)) => BranchKind::Array,
            Ok(Ty::Map(_) | Ty::Entries { .. }) => BranchKind::Map,
            Ok(Ty::Struct(members)) => BranchKind::Object(members.iter().map(|(name, _)| (*name).to_owned()).collect()),
            Ok(Ty::String | Ty::Bytes | Ty::Union(_)) | Err(_) => BranchKind::Text,
        };
        let value = match field {
            Some(field) => {
                let (name, ty) = &fields[field];
                value(*node, ty, &format!("{path}->{name}")).unwrap_or_else(mismatched)
            }
            None => Value { take: Take::Unread, nullable: true },
        };
        Branch { kind, field, value }
    };
    Take::Union(branches.iter().enumerate().map(branch).collect())
}

/// The name of a type in Connect.
fn connect(ty: &Ty<'_>) -> &'static str {
    match ty {
        Ty::Boolean => "boolean",
        Ty::Int32 | Ty::Date | Ty::Time => "int32",
        Ty::Int64 | Ty::Timestamp => "int64",
        Ty::Float32 => "float32",
        Ty::Float64 => "float64",
        Ty::String => "string",
        Ty::Bytes | Ty::Decimal { .. } => "bytes",
        Ty::Array(_) => "array",
        Ty::Map(_) | Ty::Entries { .. } => "map",
        Ty::Struct(_) | Ty::Union(_) => "struct",
    }
}
