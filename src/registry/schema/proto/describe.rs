//! A Protobuf schema as the bytes of a `FileDescriptorProto`, for clients that ask for `format=serialized` (Python's).
//!
//! The numbers are those of `google/protobuf/descriptor.proto`; `format::proto::descriptor` reads what is written here.

use crate::format::proto::{Enum, Field, File, Label, Message, Scalar, Syntax, Type};

/// The descriptor of the schema itself; clients read those of its imports by their references.
pub(super) fn file(file: &File) -> Vec<u8> {
    let main = &file.main;
    let mut out = Vec::new();
    text(&mut out, 1, "schema.proto");
    if !main.package.is_empty() {
        text(&mut out, 2, &main.package);
    }
    main.imports.iter().for_each(|import| text(&mut out, 3, import));
    main.messages.iter().for_each(|own| bytes(&mut out, 4, &message(own, main.syntax)));
    main.enums.iter().for_each(|own| bytes(&mut out, 5, &enumeration(own)));
    match main.syntax {
        Syntax::Proto2 => {}
        Syntax::Proto3 => text(&mut out, 12, "proto3"),
        Syntax::Edition => {
            text(&mut out, 12, "editions");
            // EDITION_2023
            number(&mut out, 14, 1000);
        }
    }
    out
}

fn message(own: &Message, syntax: Syntax) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, &own.name);
    // proto3's `optional` is a oneof of its own, after those that were written.
    let mut synthetic = Vec::new();
    for own_field in &own.fields {
        let is_optional = syntax == Syntax::Proto3 && own_field.label == Label::Optional && own_field.oneof.is_none();
        let oneof = match is_optional {
            true => {
                synthetic.push(format!("_{}", own_field.name));
                Some(own.oneofs.len() + synthetic.len() - 1)
            }
            false => own_field.oneof,
        };
        bytes(&mut out, 2, &field(own_field, oneof, is_optional));
    }
    own.messages.iter().for_each(|inner| bytes(&mut out, 3, &message(inner, syntax)));
    own.enums.iter().for_each(|inner| bytes(&mut out, 4, &enumeration(inner)));
    if own.map_entry {
        let mut options = Vec::new();
        number(&mut options, 7, 1);
        bytes(&mut out, 7, &options);
    }
    for oneof in own.oneofs.iter().chain(&synthetic) {
        let mut declaration = Vec::new();
        text(&mut declaration, 1, oneof);
        bytes(&mut out, 8, &declaration);
    }
    out
}

fn field(own: &Field, oneof: Option<usize>, is_optional: bool) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, &own.name);
    number(&mut out, 3, u64::from(own.number));
    number(
        &mut out,
        4,
        match own.label {
            Label::Implicit | Label::Optional => 1,
            Label::Required => 2,
            Label::Repeated => 3,
        },
    );
    let (code, name) = match &own.ty {
        Type::Scalar(scalar) => (code(*scalar), None),
        Type::Group(name) => (10, Some(name)),
        Type::Message(name) => (11, Some(name)),
        Type::Enum(name) => (14, Some(name)),
        Type::Named(name) => (11, Some(name)),
    };
    number(&mut out, 5, code);
    if let Some(name) = name {
        text(&mut out, 6, &format!(".{name}"));
    }
    if let Some(index) = oneof {
        number(&mut out, 9, index as u64);
    }
    if is_optional {
        number(&mut out, 17, 1);
    }
    out
}

fn code(scalar: Scalar) -> u64 {
    match scalar {
        Scalar::Double => 1,
        Scalar::Float => 2,
        Scalar::Int64 => 3,
        Scalar::Uint64 => 4,
        Scalar::Int32 => 5,
        Scalar::Fixed64 => 6,
        Scalar::Fixed32 => 7,
        Scalar::Bool => 8,
        Scalar::String => 9,
        Scalar::Bytes => 12,
        Scalar::Uint32 => 13,
        Scalar::Sfixed32 => 15,
        Scalar::Sfixed64 => 16,
        Scalar::Sint32 => 17,
        Scalar::Sint64 => 18,
    }
}

fn enumeration(own: &Enum) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, 1, &own.name);
    for (name, value) in &own.values {
        let mut inner = Vec::new();
        text(&mut inner, 1, name);
        // A negative int32 is written as ten bytes.
        number(&mut inner, 2, i64::from(*value) as u64);
        bytes(&mut out, 2, &inner);
    }
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn text(out: &mut Vec<u8>, field: u64, value: &str) {
    bytes(out, field, value.as_bytes());
}
