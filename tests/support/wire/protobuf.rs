//! PROTOBUF: descriptions of messages, which are read from a `.proto` text or made from columns, and how trees are written by
//! them (`proto_read` reads).

use super::{decimal, double, lookup, scalar_text, whole};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{Datelike, Days, NaiveDate};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The messages of a file and of those that it imports, by their full names.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) messages: BTreeMap<String, Message>,
    pub(crate) enums: BTreeMap<String, Enum>,
    /// The messages at the top of the file, in its order.
    pub(crate) roots: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
    pub(crate) oneofs: Vec<String>,
    /// Full names of the messages inside, in their order.
    pub(crate) nested: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Enum {
    pub(crate) values: Vec<(String, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Of proto3: absent is the default.
    Plain,
    Optional,
    Required,
    Repeated,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) ty: Type,
    pub(crate) label: Label,
    pub(crate) oneof: Option<usize>,
    /// Of a decimal; what is written says its own.
    pub(crate) scale: Option<u32>,
    pub(crate) packed: bool,
    /// The message in which its type's name is looked up first.
    pub(crate) scope: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Type {
    Scalar(Scalar),
    /// Before [`File::resolve`] any name; after it the full name of a message.
    Message(String),
    Enum(String),
    Map(Box<Type>, Box<Type>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

impl Type {
    pub(super) fn named(name: &str) -> Type {
        Type::Scalar(match name {
            "double" => Scalar::Double,
            "float" => Scalar::Float,
            "int32" => Scalar::Int32,
            "int64" => Scalar::Int64,
            "uint32" => Scalar::Uint32,
            "uint64" => Scalar::Uint64,
            "sint32" => Scalar::Sint32,
            "sint64" => Scalar::Sint64,
            "fixed32" => Scalar::Fixed32,
            "fixed64" => Scalar::Fixed64,
            "sfixed32" => Scalar::Sfixed32,
            "sfixed64" => Scalar::Sfixed64,
            "bool" => Scalar::Bool,
            "string" => Scalar::String,
            "bytes" => Scalar::Bytes,
            _ => return Type::Message(name.to_owned()),
        })
    }

    pub(super) fn is_packable(&self) -> bool {
        matches!(self, Type::Enum(_) | Type::Scalar(_)) && !matches!(self, Type::Scalar(Scalar::String | Scalar::Bytes))
    }
}

impl File {
    /// Finds what the names of types mean: the innermost scope first.
    pub(super) fn resolve(&mut self) -> Result<(), String> {
        let mut messages = std::mem::take(&mut self.messages);
        let names: Vec<String> = messages.keys().cloned().collect();
        let find = |name: &str, scope: &str| -> Result<Type, String> {
            let mut scope = if name.starts_with('.') { "" } else { scope };
            let name = name.trim_start_matches('.');
            loop {
                let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
                match (names.binary_search(&full).is_ok(), self.enums.contains_key(&full)) {
                    (true, _) => return Ok(Type::Message(full)),
                    (_, true) => return Ok(Type::Enum(full)),
                    _ if scope.is_empty() => return Err(format!("the type {name} is not defined")),
                    _ => scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer),
                }
            }
        };
        for field in messages.values_mut().flat_map(|m| &mut m.fields) {
            let scope = field.scope.clone();
            let resolve = |ty: &mut Type| -> Result<(), String> {
                if let Type::Message(name) = ty {
                    *ty = find(name, &scope)?;
                }
                Ok(())
            };
            match &mut field.ty {
                Type::Map(key, value) => [key, value].into_iter().try_for_each(|ty| resolve(ty))?,
                ty => resolve(ty)?,
            }
        }
        self.messages = messages;
        Ok(())
    }

    pub(super) fn message(&self, name: &str) -> Result<&Message, String> {
        self.messages.get(name).ok_or_else(|| format!("the message {name} is not defined"))
    }

    /// Where a message is: its place at the top of the file, then among the messages of the one around it.
    fn path(&self, name: &str) -> Option<Vec<u64>> {
        if let Some(n) = self.roots.iter().position(|root| root == name) {
            return Some(vec![n as u64]);
        }
        let (outer, _) = name.rsplit_once('.')?;
        let mut path = self.path(outer)?;
        path.push(self.messages.get(outer)?.nested.iter().position(|nested| nested == name)? as u64);
        Some(path)
    }

    /// The full name of a message, which may be given without the package.
    fn written<'a>(&'a self, name: Option<&'a str>) -> Result<&'a str, String> {
        match name {
            None => self.roots.first().map(String::as_str).ok_or_else(|| "the schema has no message".to_owned()),
            Some(name) => {
                let ending = format!(".{name}");
                let root = || self.roots.iter().find(|root| root.ends_with(&ending)).map(String::as_str);
                self.messages
                    .contains_key(name)
                    .then_some(name)
                    .or_else(root)
                    .ok_or_else(|| format!("no message {name}"))
            }
        }
    }

    /// The index of the message and the message.
    pub(super) fn encode_indexed(&self, name: Option<&str>, tree: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let name = self.written(name)?;
        let path = self.path(name).ok_or_else(|| format!("the message {name} is imported"))?;
        let zigzag = |n: u64| n << 1;
        if path == [0] {
            out.push(0);
        } else {
            varint(zigzag(path.len() as u64), out);
            path.iter().for_each(|n| varint(zigzag(*n), out));
        }
        self.encode(name, tree, out)
    }

    /// The fields of a message.
    pub(crate) fn encode(&self, name: &str, tree: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        if self.special(name, None, tree, out)?.is_some() {
            return Ok(());
        }
        let message = self.message(name)?;
        let object = tree.as_object().ok_or_else(|| format!("{tree} is no message {name}"))?;
        for field in &message.fields {
            let inside = field.oneof.and_then(|n| lookup(object, &format!("{}_{n}", message.oneofs[n]))?.as_object());
            if let Some(value) = lookup(inside.unwrap_or(object), &field.name) {
                self.write(field, value, out).map_err(|e| format!("{}: {e}", field.name))?;
            }
        }
        Ok(())
    }

    /// A message that stands for a scalar; `None` = it is an ordinary one.
    fn special(&self, name: &str, scale: Option<u32>, value: &Value, out: &mut Vec<u8>) -> Result<Option<()>, String> {
        let mut numbers = |values: &[i64]| {
            for (n, value) in values.iter().enumerate().filter(|(_, value)| **value != 0) {
                varint((n as u64 + 1) << 3, out);
                varint(*value as u64, out);
            }
        };
        match name {
            "google.protobuf.Timestamp" if !value.is_object() => {
                let ms = whole(value)?;
                numbers(&[ms.div_euclid(1000), ms.rem_euclid(1000) * 1_000_000]);
            }
            "google.type.Date" if !value.is_object() => {
                let days = whole(value)?;
                let epoch = NaiveDate::default();
                let distance = Days::new(days.unsigned_abs());
                let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) };
                let date = date.ok_or_else(|| format!("{days} days are out of range"))?;
                numbers(&[i64::from(date.year()), i64::from(date.month()), i64::from(date.day())]);
            }
            "google.type.TimeOfDay" if !value.is_object() => {
                let ms = whole(value)?;
                numbers(&[ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000 * 1_000_000]);
            }
            "confluent.type.Decimal" if !value.is_object() => {
                let text = scalar_text(value);
                let scale = scale.unwrap_or_else(|| decimal::scale_of(&text));
                let unscaled = decimal::unscaled(&text, scale)?;
                write_bytes(1, &decimal::to_bytes(unscaled), out);
                varint(2 << 3, out);
                varint(unscaled.unsigned_abs().checked_ilog10().map_or(1, |digits| u64::from(digits) + 1), out);
                varint(3 << 3, out);
                varint(u64::from(scale), out);
            }
            _ if is_wrapper(name) => {
                let field = self.message(name)?.fields.first().ok_or("a wrapper has a field")?;
                self.write(field, value, out)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    fn write(&self, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match (&field.ty, field.label, value) {
            (Type::Map(key, item), _, Value::Object(all)) => {
                for (k, v) in all {
                    let mut entry = Vec::new();
                    self.write_one(1, key, None, &json!(k), &mut entry)?;
                    if !v.is_null() {
                        self.write_one(2, item, None, v, &mut entry)?;
                    }
                    write_bytes(field.number, &entry, out);
                }
                Ok(())
            }
            (Type::Message(name), Label::Repeated, Value::Object(all)) if self.is_entry(name) => {
                all.iter().try_for_each(|(k, v)| {
                    let mut entry = Vec::new();
                    self.encode(name, &json!({ "key": k, "value": v }), &mut entry)?;
                    write_bytes(field.number, &entry, out);
                    Ok(())
                })
            }
            (ty, Label::Repeated, Value::Array(all)) if field.packed && ty.is_packable() => {
                let mut packed = Vec::new();
                all.iter().try_for_each(|item| self.write_bare(ty, item, &mut packed))?;
                if !all.is_empty() {
                    write_bytes(field.number, &packed, out);
                }
                Ok(())
            }
            (ty, Label::Repeated, Value::Array(all)) => {
                all.iter().try_for_each(|item| self.write_one(field.number, ty, field.scale, item, out))
            }
            (_, Label::Repeated, _) => Err(format!("{value} is neither an array nor a map")),
            (ty, _, _) => self.write_one(field.number, ty, field.scale, value, out),
        }
    }

    /// A value behind its tag.
    fn write_one(&self, n: u64, ty: &Type, scale: Option<u32>, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        match ty {
            Type::Message(name) => {
                let mut inner = Vec::new();
                if self.special(name, scale, value, &mut inner)?.is_none() {
                    self.encode(name, value, &mut inner)?;
                }
                write_bytes(n, &inner, out);
                Ok(())
            }
            Type::Scalar(Scalar::String) => {
                write_bytes(n, scalar_text(value).as_bytes(), out);
                Ok(())
            }
            Type::Scalar(Scalar::Bytes) => {
                let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
                write_bytes(n, &bytes.ok_or_else(|| format!("{value} is no base64"))?, out);
                Ok(())
            }
            Type::Map(..) => Err("a map is no item".to_owned()),
            ty => {
                varint(n << 3 | wire_type(ty), out);
                self.write_bare(ty, value, out)
            }
        }
    }

    /// A number or boolean without its tag.
    fn write_bare(&self, ty: &Type, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
        let scalar = match ty {
            Type::Scalar(scalar) => *scalar,
            Type::Enum(name) => {
                let text = scalar_text(value);
                let symbol = self.enums[name].values.iter().find(|(symbol, _)| *symbol == text);
                varint(symbol.ok_or_else(|| format!("{name} has no symbol {text}"))?.1 as u64, out);
                return Ok(());
            }
            _ => return Err("a message cannot be packed".to_owned()),
        };
        match scalar {
            Scalar::Double => out.extend(double(value)?.to_le_bytes()),
            Scalar::Float => out.extend((double(value)? as f32).to_le_bytes()),
            Scalar::Bool => out.push(u8::from(value.as_bool().ok_or_else(|| format!("{value} is no boolean"))?)),
            Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 => varint(whole(value)? as u64, out),
            Scalar::Sint32 | Scalar::Sint64 => {
                let n = whole(value)?;
                varint(((n << 1) ^ (n >> 63)) as u64, out);
            }
            Scalar::Fixed32 | Scalar::Sfixed32 => out.extend((whole(value)? as u32).to_le_bytes()),
            Scalar::Fixed64 | Scalar::Sfixed64 => out.extend(whole(value)?.to_le_bytes()),
            Scalar::String | Scalar::Bytes => return Err("text cannot be packed".to_owned()),
        }
        Ok(())
    }

    /// Entries of a map under ksqlDB's own name for them.
    pub(super) fn is_entry(&self, name: &str) -> bool {
        let fields = self.messages.get(name).map(|m| m.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>());
        name.ends_with("Entry") && fields.is_some_and(|fields| fields == ["key", "value"])
    }
}

/// `google.protobuf.Int32Value` and its like.
pub(super) fn is_wrapper(name: &str) -> bool {
    name.strip_prefix("google.protobuf.").is_some_and(|name| name.ends_with("Value"))
}

pub(super) fn wire_type(ty: &Type) -> u64 {
    match ty {
        Type::Scalar(Scalar::Double | Scalar::Fixed64 | Scalar::Sfixed64) => 1,
        Type::Scalar(Scalar::Float | Scalar::Fixed32 | Scalar::Sfixed32) => 5,
        Type::Scalar(Scalar::String | Scalar::Bytes) | Type::Message(_) | Type::Map(..) => 2,
        Type::Scalar(_) | Type::Enum(_) => 0,
    }
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn write_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
