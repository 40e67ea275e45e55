//! A schema as a `FileDescriptorProto` in base64, as Python's serializer registers it.
//!
//! ```text
//! FileDescriptorProto   name 1, package 2, dependency 3, message_type 4, enum_type 5, options 8, syntax 12, edition 14
//! DescriptorProto       name 1, field 2, nested_type 3, enum_type 4, options 7 { map_entry 7 }, oneof_decl 8
//! FieldDescriptorProto  name 1, number 3, label 4, type 5, type_name 6, options 8 { packed 2, field_meta 1088 }, oneof_index 9,
//!                       proto3_optional 17
//! EnumDescriptorProto   name 1, value 2 { name 1, number 2 }
//! ```
//!
//! The fields of other numbers are options and descriptions that no column depends on.

use super::schema::{Enum, Field, Label, Message, Scalar, Source, Syntax, Type};
use super::text::NESTING_MAX;
use super::wire::{Wire, each};
use crate::types::base64;

/// `confluent.field_meta`, an extension of `FieldOptions`: `Meta { map<string, string> params = 2; }`.
const FIELD_META: u32 = 1088;

/// The bytes of a descriptor, if `text` is base64: no `.proto` text that says anything is.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let digits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
    if text.is_empty() || !text.bytes().all(digits) {
        return None;
    }
    let mut bytes = vec![];
    base64::decode(text.as_bytes(), &mut bytes)?;
    Some(bytes)
}

/// Reads a `FileDescriptorProto`.
pub(super) fn read(bytes: &[u8]) -> Result<Source, String> {
    file(bytes).ok_or_else(|| "the schema is base64, but not of a FileDescriptorProto".to_owned())
}

fn file(bytes: &[u8]) -> Option<Source> {
    let mut source = Source::default();
    // What a field means depends on the syntax, which comes last.
    each(bytes, |number, value| {
        match (number, value) {
            (12, Wire::Bytes(b"proto3")) => source.syntax = Syntax::Proto3,
            (12, Wire::Bytes(b"editions")) | (14, Wire::Varint(_)) => source.syntax = Syntax::Edition,
            _ => {}
        }
        Some(())
    })?;
    each(bytes, |number, value| {
        match (number, value) {
            (2, value) => source.package = text(value)?,
            (3, value) => source.imports.push(text(value)?),
            (4, Wire::Bytes(b)) => {
                let message = message(b, source.syntax, 0)?;
                source.order.push(message.name.clone());
                source.messages.push(message);
            }
            (5, Wire::Bytes(b)) => {
                let found = enumeration(b)?;
                source.order.push(found.name.clone());
                source.enums.push(found);
            }
            _ => {}
        }
        Some(())
    })?;
    Some(source)
}

fn text(value: Wire<'_>) -> Option<String> {
    let Wire::Bytes(bytes) = value else { return None };
    String::from_utf8(bytes.to_vec()).ok()
}

fn message(bytes: &[u8], syntax: Syntax, depth: usize) -> Option<Message> {
    if depth == NESTING_MAX {
        return None;
    }
    let mut message = Message::default();
    let mut fields = vec![];
    each(bytes, |number, value| {
        match (number, value) {
            (1, value) => message.name = text(value)?,
            (2, Wire::Bytes(b)) => fields.push(field(b, syntax)?),
            (3, Wire::Bytes(b)) => message.messages.push(self::message(b, syntax, depth + 1)?),
            (4, Wire::Bytes(b)) => message.enums.push(enumeration(b)?),
            (7, Wire::Bytes(b)) => message.map_entry = flag(b, 7)? == Some(true),
            (8, Wire::Bytes(b)) => each(b, |number, value| {
                if number == 1 {
                    message.oneofs.push(text(value)?);
                }
                Some(())
            })?,
            _ => {}
        }
        Some(())
    })?;
    // The oneof of a proto3 `optional` is made up, and was not written.
    let real = |index: usize| fields.iter().any(|(f, synthetic)| f.oneof == Some(index) && !*synthetic);
    let kept: Vec<usize> = (0..message.oneofs.len()).filter(|index| real(*index)).collect();
    message.fields = fields
        .iter()
        .map(|(field, _)| {
            let oneof = field.oneof.and_then(|index| kept.iter().position(|k| *k == index));
            Field { oneof, ..field.clone() }
        })
        .collect();
    message.oneofs = kept.iter().map(|index| message.oneofs[*index].clone()).collect();
    Some(message)
}

/// A boolean field of a message of options.
fn flag(bytes: &[u8], wanted: u32) -> Option<Option<bool>> {
    let mut found = None;
    each(bytes, |number, value| {
        if let (true, Wire::Varint(n)) = (number == wanted, value) {
            found = Some(n != 0);
        }
        Some(())
    })?;
    Some(found)
}

/// A field, and whether its oneof encodes `optional`.
fn field(bytes: &[u8], syntax: Syntax) -> Option<(Field, bool)> {
    let (mut name, mut number, mut label, mut kind, mut named) = (String::new(), 0, 1, 0, None);
    let (mut oneof, mut optional, mut packed, mut params) = (None, false, None, vec![]);
    each(bytes, |field, value| {
        match (field, value) {
            (1, value) => name = text(value)?,
            (3, Wire::Varint(n)) => number = n as u32,
            (4, Wire::Varint(n)) => label = n,
            (5, Wire::Varint(n)) => kind = n,
            (6, value) => named = Some(text(value)?),
            (8, Wire::Bytes(b)) => {
                packed = flag(b, 2)?;
                params = meta(b)?;
            }
            (9, Wire::Varint(n)) => oneof = Some(usize::try_from(n).ok()?),
            (17, Wire::Varint(n)) => optional = n != 0,
            _ => {}
        }
        Some(())
    })?;
    let label = match label {
        3 => Label::Repeated,
        2 => Label::Required,
        _ if syntax == Syntax::Proto3 && !optional && oneof.is_none() => Label::Implicit,
        _ => Label::Optional,
    };
    let ty = match (kind, named) {
        (10, Some(name)) => Type::Group(name),
        (_, Some(name)) => Type::Named(name),
        (kind, None) => Type::Scalar(scalar(kind)?),
    };
    (number > 0).then_some((Field { name, number, label, ty, oneof, packed, params }, optional))
}

/// `FieldDescriptorProto.Type`.
fn scalar(kind: u64) -> Option<Scalar> {
    Some(match kind {
        1 => Scalar::Double,
        2 => Scalar::Float,
        3 => Scalar::Int64,
        4 => Scalar::Uint64,
        5 => Scalar::Int32,
        6 => Scalar::Fixed64,
        7 => Scalar::Fixed32,
        8 => Scalar::Bool,
        9 => Scalar::String,
        12 => Scalar::Bytes,
        13 => Scalar::Uint32,
        15 => Scalar::Sfixed32,
        16 => Scalar::Sfixed64,
        17 => Scalar::Sint32,
        18 => Scalar::Sint64,
        _ => return None,
    })
}

/// The parameters of `confluent.field_meta` in a message of options.
fn meta(options: &[u8]) -> Option<Vec<(String, String)>> {
    let mut params = vec![];
    each(options, |number, value| {
        let (FIELD_META, Wire::Bytes(meta)) = (number, value) else { return Some(()) };
        each(meta, |number, value| {
            let (2, Wire::Bytes(entry)) = (number, value) else { return Some(()) };
            let (mut key, mut param) = (String::new(), String::new());
            each(entry, |number, value| {
                match number {
                    1 => key = text(value)?,
                    2 => param = text(value)?,
                    _ => {}
                }
                Some(())
            })?;
            params.push((key, param));
            Some(())
        })
    })?;
    Some(params)
}

fn enumeration(bytes: &[u8]) -> Option<Enum> {
    let mut found = Enum::default();
    each(bytes, |number, value| {
        match (number, value) {
            (1, value) => found.name = text(value)?,
            (2, Wire::Bytes(b)) => {
                let (mut name, mut number) = (String::new(), 0);
                each(b, |field, value| {
                    match (field, value) {
                        (1, value) => name = text(value)?,
                        (2, Wire::Varint(n)) => number = n as i32,
                        _ => {}
                    }
                    Some(())
                })?;
                found.values.push((name, number));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(found)
}
