//! Whether one Protobuf schema can read what another has written: the rules and the words of Confluent's registry.
//!
//! ```text
//! fields are matched by number        names, packages, enums, added and removed fields and messages that are added: no matter
//! FIELD_SCALAR_KIND_CHANGED           int32 -> string; int32 -> int64, bool or an enum is no change: one kind on the wire
//! FIELD_KIND_CHANGED                  a scalar, a message or a map became another of them
//! FIELD_NAMED_TYPE_CHANGED            another message
//! FIELD_NUMERIC_LABEL_CHANGED         optional -> repeated, of a number
//! MESSAGE_REMOVED, ONEOF_FIELD_REMOVED, REQUIRED_FIELD_ADDED, REQUIRED_FIELD_REMOVED
//! MULTIPLE_FIELDS_MOVED_TO_ONEOF, FIELD_MOVED_TO_EXISTING_ONEOF
//! ```

use super::{DEPTH_MAX, Difference, PAIRS_MAX, TOO_LARGE};
use crate::format::proto::{Field, File, Label, Message, Scalar, Type};
use crate::registry::schema::proto::ProtobufSchema;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Why `reader` cannot read what `writer` describes; empty = it can.
pub fn differences(reader: &ProtobufSchema, writer: &ProtobufSchema) -> Vec<Difference> {
    let (new, old) = (reader.file(), writer.file());
    let mut check = Check { new, old, seen: HashSet::new(), left: PAIRS_MAX, depth: 0, found: Vec::new() };
    check.messages(&new.main.messages, &old.main.messages, &[]);
    check.found
}

struct Check<'a> {
    new: &'a File,
    old: &'a File,
    /// Pairs of imported messages that were compared, or are being compared.
    seen: HashSet<(String, String)>,
    /// Fields that may still be compared.
    left: usize,
    /// Messages within messages.
    depth: usize,
    found: Vec<Difference>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    Map,
    Message,
}

/// Scalars that are one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScalarKind {
    Number,
    Signed,
    Bytes,
    Fixed32,
    Fixed64,
    Float,
    Double,
}

impl<'a> Check<'a> {
    fn messages(&mut self, new: &'a [Message], old: &'a [Message], path: &[String]) {
        for written in old.iter().filter(|message| !message.map_entry) {
            let path = [path, std::slice::from_ref(&written.name)].concat();
            match new.iter().find(|message| message.name == written.name) {
                Some(own) => self.message(own, written, &path),
                None => self.add("MESSAGE_REMOVED", &path),
            }
        }
    }

    fn message(&mut self, new: &'a Message, old: &'a Message, path: &[String]) {
        if self.depth >= DEPTH_MAX {
            return self.add("TOO_LARGE", path);
        }
        self.depth += 1;
        self.moved_to_oneofs(new, old, path);
        self.fields(new, old, path);
        self.messages(&new.messages, &old.messages, path);
        self.depth -= 1;
    }

    /// A oneof holds one field at a time: what could be set together before cannot become one.
    fn moved_to_oneofs(&mut self, new: &Message, old: &Message, path: &[String]) {
        for (index, oneof) in new.oneofs.iter().enumerate() {
            let fields = new.fields.iter().filter(|field| field.oneof == Some(index));
            let before: Vec<&Field> = fields.filter_map(|field| old.field(field.number)).collect();
            let moved = before.iter().filter(|field| field.oneof.is_none()).count();
            let path = || [path, std::slice::from_ref(oneof)].concat();
            if moved > 1 {
                self.add("MULTIPLE_FIELDS_MOVED_TO_ONEOF", &path());
            } else if moved == 1 && before.len() > 1 {
                self.add("FIELD_MOVED_TO_EXISTING_ONEOF", &path());
            }
        }
    }

    fn fields(&mut self, new: &'a Message, old: &'a Message, path: &[String]) {
        let by_number = |message: &'a Message| -> BTreeMap<u32, &'a Field> {
            message.fields.iter().map(|field| (field.number, field)).collect()
        };
        let (own, written) = (by_number(new), by_number(old));
        let numbers: BTreeSet<u32> = own.keys().chain(written.keys()).copied().collect();
        for number in numbers {
            let at = [path, &[number.to_string()]].concat();
            match (own.get(&number), written.get(&number)) {
                (Some(own), Some(written)) => self.field(own, written, &at),
                (Some(own), None) if own.label == Label::Required => self.add("REQUIRED_FIELD_ADDED", &at),
                (None, Some(written)) if written.label == Label::Required => self.add("REQUIRED_FIELD_REMOVED", &at),
                (None, Some(written)) => {
                    // As long as the oneof is there: without it all of its fields went.
                    let oneof = written.oneof.and_then(|index| old.oneofs.get(index));
                    if let Some(oneof) = oneof.filter(|oneof| new.oneofs.contains(oneof)) {
                        let at = [path, &[oneof.clone(), number.to_string()]].concat();
                        self.add("ONEOF_FIELD_REMOVED", &at);
                    }
                }
                _ => {}
            }
        }
    }

    fn field(&mut self, new: &'a Field, old: &'a Field, path: &[String]) {
        let Some(left) = self.left.checked_sub(1) else { return self.add("TOO_LARGE", path) };
        self.left = left;
        let (own, written) = (self.kind(self.new, new), self.kind(self.old, old));
        if own != written {
            return self.add("FIELD_KIND_CHANGED", path);
        }
        match own {
            Kind::Scalar => self.scalar(new, old, path),
            Kind::Message => self.message_type(new, old, path),
            Kind::Map => {
                let (Some(new), Some(old)) = (entry(self.new, new), entry(self.old, old)) else { return };
                for number in [1, 2] {
                    if let (Some(new), Some(old)) = (new.field(number), old.field(number)) {
                        self.field(new, old, path);
                    }
                }
            }
        }
    }

    fn kind(&self, file: &File, field: &Field) -> Kind {
        match &field.ty {
            Type::Scalar(_) | Type::Enum(_) => Kind::Scalar,
            _ if entry(file, field).is_some() => Kind::Map,
            _ => Kind::Message,
        }
    }

    fn scalar(&mut self, new: &Field, old: &Field, path: &[String]) {
        let (own, written) = (scalar_kind(new), scalar_kind(old));
        if own != written {
            return self.add("FIELD_SCALAR_KIND_CHANGED", path);
        }
        let has_label = |field: &Field| field.label != Label::Implicit && field.oneof.is_none();
        let is_changed = has_label(new) && has_label(old) && new.label != old.label;
        if is_changed && own != ScalarKind::Bytes {
            self.add("FIELD_NUMERIC_LABEL_CHANGED", path);
        }
    }

    fn message_type(&mut self, new: &'a Field, old: &'a Field, path: &[String]) {
        let (Some(own), Some(written)) = (message_name(new), message_name(old)) else { return };
        let (name, is_own) = local(self.new, own);
        let (name_before, was_own) = local(self.old, written);
        if name != name_before {
            return self.add("FIELD_NAMED_TYPE_CHANGED", path);
        }
        // Messages of the schemas themselves are compared where they are defined.
        if is_own && was_own || !self.seen.insert((own.to_owned(), written.to_owned())) {
            return;
        }
        if let (Some(inner), Some(inner_before)) = (self.new.message(own), self.old.message(written)) {
            let before = self.found.len();
            let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
            self.message(inner, inner_before, &parts);
            if self.found.len() > before {
                self.add("FIELD_NAMED_TYPE_CHANGED", path);
            }
        }
    }

    fn add(&mut self, kind: &'static str, path: &[String]) {
        self.found.push(Difference {
            kind,
            template: template(kind),
            path: format!("#/{}", path.join("/")),
            info: None,
        });
    }
}

/// The entry of a map.
fn entry<'a>(file: &'a File, field: &Field) -> Option<&'a Message> {
    let name = message_name(field).filter(|_| field.label == Label::Repeated)?;
    file.message(name).filter(|message| message.map_entry)
}

fn message_name(field: &Field) -> Option<&str> {
    match &field.ty {
        Type::Message(name) | Type::Group(name) | Type::Named(name) => Some(name),
        Type::Scalar(_) | Type::Enum(_) => None,
    }
}

/// A name without the schema's package, and whether the schema itself defines it.
fn local<'a>(file: &File, name: &'a str) -> (&'a str, bool) {
    let package = &file.main.package;
    let inner = match package.is_empty() {
        true => Some(name),
        false => name.strip_prefix(package.as_str()).and_then(|rest| rest.strip_prefix('.')),
    };
    let is_own = inner.is_some_and(|inner| {
        let first = inner.split('.').next().unwrap_or_default();
        file.main.messages.iter().any(|message| message.name == first)
    });
    match inner.filter(|_| is_own) {
        Some(inner) => (inner, true),
        None => (name, false),
    }
}

fn scalar_kind(field: &Field) -> ScalarKind {
    match &field.ty {
        Type::Scalar(scalar) => match scalar {
            Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 | Scalar::Bool => ScalarKind::Number,
            Scalar::Sint32 | Scalar::Sint64 => ScalarKind::Signed,
            Scalar::String | Scalar::Bytes => ScalarKind::Bytes,
            Scalar::Fixed32 | Scalar::Sfixed32 => ScalarKind::Fixed32,
            Scalar::Fixed64 | Scalar::Sfixed64 => ScalarKind::Fixed64,
            Scalar::Float => ScalarKind::Float,
            Scalar::Double => ScalarKind::Double,
        },
        _ => ScalarKind::Number,
    }
}

fn template(kind: &str) -> &'static str {
    match kind {
        "MESSAGE_REMOVED" => "The {reader} schema is missing a MESSAGE type at path '{path}' in the {writer} schema",
        "FIELD_KIND_CHANGED" => {
            "The type of a field at path '{path}' in the {reader} schema does not match the {writer} schema"
        }
        "FIELD_SCALAR_KIND_CHANGED" => {
            "The kind of a SCALAR field at path '{path}' in the {reader} schema does not match its kind in the {writer} schema"
        }
        "FIELD_NAMED_TYPE_CHANGED" => {
            "The type of a MESSAGE field at path '{path}' in the {reader} schema does not match its type in the {writer} \
             schema"
        }
        "FIELD_NUMERIC_LABEL_CHANGED" => {
            "The label for a NUMERIC field at path '{path}' in the {reader} schema does not match its label in the {writer} \
             schema"
        }
        "REQUIRED_FIELD_ADDED" => {
            "A required field  at path '{path}' in the {reader} schema is missing in the {writer} schema"
        }
        "REQUIRED_FIELD_REMOVED" => {
            "The {reader} schema is missing a required field at path: '{path}' in the {writer} schema"
        }
        "ONEOF_FIELD_REMOVED" => "The {reader} schema is missing a oneof field at path '{path}' in the {writer} schema",
        "MULTIPLE_FIELDS_MOVED_TO_ONEOF" => {
            "Multiple fields in the oneof at path '{path}' in the {reader} schema are outside a oneof in the {writer} schema"
        }
        "FIELD_MOVED_TO_EXISTING_ONEOF" => {
            "A field in the oneof at path '{path}' in the {reader} schema is outside an existing oneof in the {writer} schema"
        }
        _ => TOO_LARGE,
    }
}
