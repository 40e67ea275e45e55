//! A Protobuf schema as the text of a `.proto` file.
//!
//! Names of types are absolute, with a leading dot, so that no inner name hides them. Options are not printed.

use crate::format::proto::{Enum, Field, File, Label, Message, Syntax, Type};
use std::fmt::Write;

/// The text of the schema itself, without its imports' texts.
pub(super) fn file(file: &File) -> String {
    let mut out = String::new();
    let main = &file.main;
    out.push_str(match main.syntax {
        Syntax::Proto2 => "syntax = \"proto2\";\n",
        Syntax::Proto3 => "syntax = \"proto3\";\n",
        Syntax::Edition => "edition = \"2023\";\n",
    });
    if !main.package.is_empty() {
        let _ = writeln!(out, "package {};", main.package);
    }
    out.push('\n');
    for import in &main.imports {
        let _ = writeln!(out, "import {import:?};");
    }
    if !main.imports.is_empty() {
        out.push('\n');
    }
    for message in &main.messages {
        let prefix = if main.package.is_empty() { String::new() } else { format!("{}.", main.package) };
        print(&mut out, message, &prefix, 0);
    }
    main.enums.iter().for_each(|own| enumeration(&mut out, own, 0));
    out
}

fn indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

/// A message; `prefix` is what its full name starts with.
fn print(out: &mut String, message: &Message, prefix: &str, depth: usize) {
    indent(out, depth);
    let _ = writeln!(out, "message {} {{", message.name);
    body(out, message, prefix, depth);
    indent(out, depth);
    out.push_str("}\n");
}

fn body(out: &mut String, message: &Message, prefix: &str, depth: usize) {
    let own = format!("{prefix}{}.", message.name);
    let nested = |name: &str| name.strip_prefix(&own).and_then(|name| message.messages.iter().find(|m| m.name == name));
    for field in message.fields.iter().filter(|field| field.oneof.is_none()) {
        print_field(out, field, nested(type_name(field)), &own, depth + 1);
    }
    for (index, oneof) in message.oneofs.iter().enumerate() {
        indent(out, depth + 1);
        let _ = writeln!(out, "oneof {oneof} {{");
        for field in message.fields.iter().filter(|field| field.oneof == Some(index)) {
            print_field(out, field, nested(type_name(field)), &own, depth + 2);
        }
        indent(out, depth + 1);
        out.push_str("}\n");
    }
    let groups: Vec<&str> = message.fields.iter().filter(|f| matches!(f.ty, Type::Group(_))).map(type_name).collect();
    for inner in &message.messages {
        // Entries and groups are printed where they are used.
        let is_group = groups.iter().any(|group| group.strip_prefix(&own) == Some(inner.name.as_str()));
        if !inner.map_entry && !is_group {
            print(out, inner, &own, depth + 1);
        }
    }
    message.enums.iter().for_each(|inner| enumeration(out, inner, depth + 1));
}

fn type_name(field: &Field) -> &str {
    match &field.ty {
        Type::Message(name) | Type::Enum(name) | Type::Group(name) | Type::Named(name) => name,
        Type::Scalar(scalar) => scalar.name(),
    }
}

fn print_field(out: &mut String, field: &Field, nested: Option<&Message>, prefix: &str, depth: usize) {
    indent(out, depth);
    if let (Type::Message(_), Some(entry)) = (&field.ty, nested.filter(|nested| nested.map_entry)) {
        let part = |number| entry.field(number).map_or_else(|| "string".to_owned(), written);
        let _ = writeln!(out, "map<{}, {}> {} = {};", part(1), part(2), field.name, field.number);
        return;
    }
    out.push_str(match field.label {
        Label::Implicit => "",
        // A field of a oneof has no label.
        Label::Optional if field.oneof.is_some() => "",
        Label::Optional => "optional ",
        Label::Required => "required ",
        Label::Repeated => "repeated ",
    });
    match (&field.ty, nested) {
        (Type::Group(_), Some(group)) => {
            let _ = writeln!(out, "group {} = {} {{", group.name, field.number);
            body(out, group, prefix, depth);
            indent(out, depth);
            out.push_str("}\n");
        }
        _ => {
            let _ = writeln!(out, "{} {} = {};", written(field), field.name, field.number);
        }
    }
}

/// A type in a field.
fn written(field: &Field) -> String {
    match &field.ty {
        Type::Scalar(scalar) => scalar.name().to_owned(),
        Type::Named(name) => name.clone(),
        Type::Message(name) | Type::Enum(name) | Type::Group(name) => format!(".{name}"),
    }
}

fn enumeration(out: &mut String, own: &Enum, depth: usize) {
    indent(out, depth);
    let _ = writeln!(out, "enum {} {{", own.name);
    let has_alias =
        own.values.iter().enumerate().any(|(at, (_, n))| own.values[..at].iter().any(|(_, other)| other == n));
    if has_alias {
        indent(out, depth + 1);
        out.push_str("option allow_alias = true;\n");
    }
    for (name, number) in &own.values {
        indent(out, depth + 1);
        let _ = writeln!(out, "{name} = {number};");
    }
    indent(out, depth);
    out.push_str("}\n");
}
