//! Protobuf schemas as a registry needs them: `format::proto` parses them, and here they are printed, described and identified.
//!
//! ```text
//! text        syntax = "proto3"; message A { int32 x = 1; }      as Java's serializer, curl and Tidegate register it
//! descriptor  CgExIhAKAUESCwoBeBgBIAEoBQ==                       a FileDescriptorProto in base64, as Python's registers it
//! ```
//!
//! What was submitted is stored and returned; a client that needs the other form gets it made from the tree. The two forms of
//! one schema have one identity, unless options are set: those of a descriptor are not read.

mod describe;
mod options;
mod print;

use crate::catalog::SchemaText;
use crate::format::proto::{self, File};
use crate::types::base64;

/// A schema.
#[derive(Clone, Debug)]
pub struct ProtobufSchema {
    /// Its tree, with those of its imports.
    file: File,
    /// Options of the text, if it is one.
    options: String,
    /// Whether it was submitted as a descriptor.
    is_descriptor: bool,
}

impl ProtobufSchema {
    /// Reads a schema with its references.
    pub fn parse(schema: &SchemaText) -> Result<ProtobufSchema, String> {
        let file = proto::parse(schema)?;
        if let Some(import) = file.missing_imports.first() {
            return Err(format!("the import \"{import}\" is neither among the references nor a well-known file"));
        }
        let is_descriptor = !schema.text.contains([';', '{']);
        let options = if is_descriptor { String::new() } else { options::of(&schema.text) };
        Ok(ProtobufSchema { file, options, is_descriptor })
    }

    /// The tree.
    pub(in crate::registry) fn file(&self) -> &File {
        &self.file
    }

    /// The text of a `.proto` file: what was submitted, or the descriptor as text.
    pub fn text(&self, submitted: &str) -> String {
        if self.is_descriptor { print::file(&self.file) } else { submitted.to_owned() }
    }

    /// The descriptor in base64: what was submitted, or the text as a descriptor.
    pub fn serialized(&self, submitted: &str) -> String {
        match self.is_descriptor {
            true => submitted.to_owned(),
            false => {
                let mut text = Vec::new();
                base64::encode(&describe::file(&self.file), &mut text);
                String::from_utf8(text).unwrap_or_default()
            }
        }
    }

    /// Equal for texts that are one schema, whatever their blanks and comments.
    pub fn identity(&self) -> String {
        format!("{}{}", print::file(&self.file), self.options)
    }
}
