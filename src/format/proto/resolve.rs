//! Links a schema: finds what it imports, and the type that each name means.
//!
//! ```text
//! package p; message A { message B {} B b = 1; q.C c = 2; }      B is p.A.B;  q.C is looked for as p.A.q.C, p.q.C, q.C
//! ```
//!
//! A name is looked for in the innermost scope first; a leading dot makes it absolute. Imports are seen through imports as well,
//! public or not: what a registry has accepted is to be read.

use super::schema::{Enum, File, Message, Source, Syntax, Type, join};
use super::{descriptor, known, text};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The largest text that is read: a registry's schema is a record of a topic, a mebibyte at most.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Limit of files that a schema may import, itself included.
const FILES_MAX: usize = 256;

/// Limits of an absolute name: looking one up tries every scope around it.
const NAME_BYTES_MAX: usize = 1024;
const SCOPES_MAX: usize = 64;

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Enum,
}

/// Parses a schema with the texts of its references by import path.
pub(crate) fn parse(main: &str, references: &[(&str, &str)]) -> Result<File, String> {
    let mut main = source(main)?;
    let (mut imported, missing_imports) = imports(&main, references)?;
    let mut kinds = HashMap::new();
    for file in std::iter::once(&main).chain(&imported) {
        declare(&file.package, &file.messages, &file.enums, &mut kinds)?;
    }
    let (mut messages, mut enums) = (BTreeMap::new(), BTreeMap::new());
    for file in std::iter::once(&mut main).chain(&mut imported) {
        link(&file.package, &mut file.messages, &kinds, file.syntax)?;
        collect(&file.package, &file.messages, &file.enums, &mut messages, &mut enums);
    }
    Ok(File { main, messages, enums, missing_imports })
}

/// One file: text, or a FileDescriptorProto in base64, as some clients register it.
fn source(text: &str) -> Result<Source, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the schema has {} bytes, and {TEXT_BYTES_MAX} are read at most", text.len()));
    }
    match descriptor::bytes(text) {
        Some(bytes) => descriptor::read(&bytes),
        None => text::read(text),
    }
}

/// Every file that is imported, and the paths that lead nowhere.
fn imports(main: &Source, references: &[(&str, &str)]) -> Result<(Vec<Source>, Vec<String>), String> {
    let (mut found, mut missing, mut seen) = (vec![], vec![], HashSet::new());
    let mut open: Vec<String> = main.imports.iter().rev().cloned().collect();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if seen.len() >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files are imported"));
        }
        let given = references.iter().find(|(name, _)| *name == path).map(|(_, text)| *text);
        let Some(text) = given.or_else(|| known::text(&path)) else {
            missing.push(path);
            continue;
        };
        let file = source(text).map_err(|reason| format!("{path}: {reason}"))?;
        open.extend(file.imports.iter().rev().cloned());
        found.push(file);
    }
    Ok((found, missing))
}

fn declare(scope: &str, messages: &[Message], enums: &[Enum], kinds: &mut HashMap<String, Kind>) -> Result<(), String> {
    let mut add = |name: &str, kind| {
        let name = join(scope, name);
        if name.len() > NAME_BYTES_MAX || name.matches('.').count() > SCOPES_MAX {
            return Err(format!("a name is longer than {NAME_BYTES_MAX} bytes, or has more than {SCOPES_MAX} parts"));
        }
        match kinds.insert(name.clone(), kind) {
            Some(_) => Err(format!("\"{name}\" is already defined.")),
            None => Ok(()),
        }
    };
    enums.iter().try_for_each(|e| add(&e.name, Kind::Enum))?;
    messages.iter().try_for_each(|m| add(&m.name, Kind::Message))?;
    messages.iter().try_for_each(|m| declare(&join(scope, &m.name), &m.messages, &m.enums, kinds))
}

/// Replaces the names of types by what they mean.
fn link(scope: &str, messages: &mut [Message], kinds: &HashMap<String, Kind>, syntax: Syntax) -> Result<(), String> {
    for message in messages {
        message.syntax = syntax;
        let inside = join(scope, &message.name);
        unique(&inside, message)?;
        for field in &mut message.fields {
            let (name, group) = match &field.ty {
                Type::Named(name) => (name, false),
                Type::Group(name) => (name, true),
                Type::Scalar(_) | Type::Message(_) | Type::Enum(_) => continue,
            };
            let Some((found, kind)) = lookup(&inside, name, kinds) else {
                return Err(format!("{inside}.{}: \"{name}\" is not defined.", field.name));
            };
            field.ty = match kind {
                Kind::Message if group => Type::Group(found),
                Kind::Message => Type::Message(found),
                Kind::Enum => Type::Enum(found),
            };
        }
        link(&inside, &mut message.messages, kinds, syntax)?;
    }
    Ok(())
}

/// A message has each field number and each name once.
fn unique(name: &str, message: &Message) -> Result<(), String> {
    let (mut numbers, mut names) = (HashMap::new(), HashSet::new());
    for field in &message.fields {
        if let Some(other) = numbers.insert(field.number, &field.name) {
            return Err(format!(
                "{name}.{}: Field number {} has already been used in \"{name}\" by field \"{other}\".",
                field.name, field.number
            ));
        }
        if !names.insert(&field.name) {
            return Err(format!("\"{}\" is already defined in \"{name}\".", field.name));
        }
    }
    Ok(())
}

fn lookup(scope: &str, name: &str, kinds: &HashMap<String, Kind>) -> Option<(String, Kind)> {
    if let Some(absolute) = name.strip_prefix('.') {
        return kinds.get(absolute).map(|kind| (absolute.to_owned(), *kind));
    }
    let mut scope = scope;
    loop {
        let candidate = join(scope, name);
        if let Some(kind) = kinds.get(&candidate) {
            return Some((candidate, *kind));
        }
        if scope.is_empty() {
            return None;
        }
        scope = scope.rfind('.').map_or("", |dot| &scope[..dot]);
    }
}

/// Enters all types under their absolute names. The nested ones have entries of their own, and are left out of the outer ones.
fn collect(
    scope: &str,
    found: &[Message],
    enums: &[Enum],
    messages: &mut BTreeMap<String, Message>,
    all_enums: &mut BTreeMap<String, Enum>,
) {
    for found in enums {
        all_enums.insert(join(scope, &found.name), found.clone());
    }
    for message in found {
        let inside = join(scope, &message.name);
        collect(&inside, &message.messages, &message.enums, messages, all_enums);
        let Message { name, fields, oneofs, map_entry, syntax, .. } = message;
        let (name, fields, oneofs) = (name.clone(), fields.clone(), oneofs.clone());
        let (messages_inside, enums) = (vec![], vec![]);
        let flat =
            Message { name, fields, oneofs, map_entry: *map_entry, syntax: *syntax, messages: messages_inside, enums };
        messages.insert(inside, flat);
    }
}
