//! A Protobuf schema as a tree: files, messages, fields and enums, however they were written.
//!
//! ```text
//! message A { oneof o { int32 p = 1; } map<string, B> m = 2; }
//! Message { name: "A", fields: [p (oneof 0), m: repeated .A.MEntry], messages: [MEntry (map entry)], oneofs: ["o"] }
//! ```
//!
//! A map is what it is on the wire: a repeated message with the fields `key` and `value`. Names of types are absolute and without a
//! leading dot once the file is linked (`resolve`). Options are dropped, except those that change the wire format, and
//! `confluent.field_meta`, in which the precision of a DECIMAL is given.

use std::collections::BTreeMap;

/// A linked schema: a file, and everything that it imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// The schema itself.
    pub(crate) main: Source,
    /// Messages by absolute name, those of imports included.
    pub(super) messages: BTreeMap<String, Message>,
    /// Enums by absolute name.
    pub(super) enums: BTreeMap<String, Enum>,
    /// Imports that are neither among the references nor built in. No type comes from them.
    pub(crate) missing_imports: Vec<String>,
}

/// One parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// The version of the language.
    pub(crate) syntax: Syntax,
    /// The package, or an empty text.
    pub(crate) package: String,
    /// Paths of imported files.
    pub(crate) imports: Vec<String>,
    /// Top-level messages, in the order of the text.
    pub(crate) messages: Vec<Message>,
    /// Top-level enums.
    pub(crate) enums: Vec<Enum>,
    /// Names of messages and enums in the order of the text.
    pub(super) order: Vec<String>,
}

/// The version of the language, which decides what a field without a label means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Also the version of a file that names none.
    #[default]
    Proto2,
    Proto3,
    /// Editions: a field has presence unless a feature says otherwise.
    Edition,
}

/// A message type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its own name, without the outer ones.
    pub(crate) name: String,
    /// In the order of the text.
    pub(crate) fields: Vec<Field>,
    /// Names of the oneofs that were written.
    pub(crate) oneofs: Vec<String>,
    /// Nested messages, entries of maps included.
    pub(crate) messages: Vec<Message>,
    /// Nested enums.
    pub(crate) enums: Vec<Enum>,
    /// The entry of a `map<K, V>`.
    pub(crate) map_entry: bool,
    /// The version of the language of its file.
    pub(crate) syntax: Syntax,
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: u32,
    pub(crate) label: Label,
    pub(crate) ty: Type,
    /// Index into the message's oneofs.
    pub(crate) oneof: Option<usize>,
    /// The `packed` option, if it was given.
    pub(super) packed: Option<bool>,
    /// Parameters of `confluent.field_meta`: `precision`, `scale`.
    pub(super) params: Vec<(String, String)>,
}

/// How often a field may occur, and whether its absence is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// proto3 without a label: absent is the default.
    Implicit,
    /// `optional`: absent is absent.
    Optional,
    Required,
    Repeated,
}

/// A field's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar(Scalar),
    /// A message, by absolute name.
    Message(String),
    /// An enum, by absolute name.
    Enum(String),
    /// A message between two tags (proto2), by absolute name.
    Group(String),
    /// Not linked yet: the name as it was written.
    Named(String),
}

/// The scalar types of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// An enum type: names and numbers, in the order of the text. Numbers may repeat (`allow_alias`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enum {
    pub(crate) name: String,
    pub(crate) values: Vec<(String, i32)>,
}

impl Scalar {
    const ALL: [(Scalar, &'static str); 15] = [
        (Scalar::Double, "double"),
        (Scalar::Float, "float"),
        (Scalar::Int32, "int32"),
        (Scalar::Int64, "int64"),
        (Scalar::Uint32, "uint32"),
        (Scalar::Uint64, "uint64"),
        (Scalar::Sint32, "sint32"),
        (Scalar::Sint64, "sint64"),
        (Scalar::Fixed32, "fixed32"),
        (Scalar::Fixed64, "fixed64"),
        (Scalar::Sfixed32, "sfixed32"),
        (Scalar::Sfixed64, "sfixed64"),
        (Scalar::Bool, "bool"),
        (Scalar::String, "string"),
        (Scalar::Bytes, "bytes"),
    ];

    /// The type of this keyword.
    pub(crate) fn named(name: &str) -> Option<Scalar> {
        Scalar::ALL.iter().find(|(_, n)| *n == name).map(|(scalar, _)| *scalar)
    }

    /// Its keyword.
    pub(crate) fn name(self) -> &'static str {
        Scalar::ALL.iter().find(|(scalar, _)| *scalar == self).map_or("", |(_, name)| name)
    }

    /// Whether repeated values may be packed into one field.
    pub(super) fn is_packable(self) -> bool {
        !matches!(self, Scalar::String | Scalar::Bytes)
    }
}

impl Message {
    /// A field by its number.
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|f| f.number == number)
    }

    /// Whether a repeated field of this type is a MAP. Besides `map<K, V>` that is what Connect writes for one: a message
    /// `...Entry` of `key` and `value`.
    pub(super) fn is_entry(&self) -> bool {
        let parts = || matches!(&*self.fields, [key, value] if key.name == "key" && value.name == "value");
        self.map_entry || self.name.ends_with("Entry") && parts()
    }
}

impl Field {
    /// Whether repeated values are written packed.
    pub(super) fn is_packed(&self, syntax: Syntax) -> bool {
        let packable = match &self.ty {
            Type::Scalar(scalar) => scalar.is_packable(),
            Type::Enum(_) => true,
            Type::Message(_) | Type::Group(_) | Type::Named(_) => false,
        };
        self.label == Label::Repeated && packable && self.packed.unwrap_or(syntax != Syntax::Proto2)
    }

    /// A number of `confluent.field_meta`.
    pub(super) fn param(&self, key: &str) -> Option<&str> {
        self.params.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl Enum {
    /// The first name of a number.
    pub(crate) fn name_of(&self, number: i32) -> Option<&str> {
        self.values.iter().find(|(_, n)| *n == number).map(|(name, _)| name.as_str())
    }
}

impl Source {
    /// `name` in the package.
    pub(super) fn absolute(&self, name: &str) -> String {
        join(&self.package, name)
    }
}

/// `outer.name`, or `name` alone.
pub(super) fn join(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") }
}

impl File {
    /// A message by absolute name, of the file or of its imports.
    pub(crate) fn message(&self, name: &str) -> Option<&Message> {
        self.messages.get(name)
    }

    /// An enum by absolute name.
    pub(crate) fn enumeration(&self, name: &str) -> Option<&Enum> {
        self.enums.get(name)
    }

    /// Absolute names of the top-level messages and enums, in the order of the text. A statement has to choose one with
    /// `*_SCHEMA_FULL_NAME` when there are several.
    pub(crate) fn names(&self) -> Vec<String> {
        self.main.order.iter().map(|name| self.main.absolute(name)).collect()
    }

    /// The message of this full name with its index path, or the first of the file.
    pub(crate) fn choose(&self, full_name: Option<&str>) -> Option<(String, &Message, Vec<i32>)> {
        let Some(wanted) = full_name else {
            let first = self.main.messages.first()?;
            return Some((self.main.absolute(&first.name), first, vec![0]));
        };
        let inside = match self.main.package.as_str() {
            "" => wanted,
            package => wanted.strip_prefix(package)?.strip_prefix('.')?,
        };
        let (mut path, mut level, mut found) = (vec![], &self.main.messages, None);
        for part in inside.split('.') {
            let at = level.iter().position(|m| m.name == part)?;
            path.push(at as i32);
            found = Some(&level[at]);
            level = &level[at].messages;
        }
        Some((wanted.to_owned(), found?, path))
    }

    /// The message at an index path, as the frame of a payload has it.
    pub(crate) fn at(&self, path: &[i32]) -> Option<(String, &Message)> {
        let (mut name, mut level, mut found) = (self.main.package.clone(), &self.main.messages, None);
        for &index in path {
            let message = level.get(usize::try_from(index).ok()?)?;
            name = join(&name, &message.name);
            level = &message.messages;
            found = Some(message);
        }
        Some((name, found?))
    }
}
