//! Terms of the records: references and modes.

use serde_json::{Value, json};

/// A reference as it is stored: the name in the text, and the version that it means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The name in the text that refers to it.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// The version.
    pub version: i32,
}

/// What may be registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// New schemas, which get the next id.
    #[default]
    ReadWrite,
    /// Nothing.
    ReadOnly,
    /// New schemas that bring their id; versions are not compared.
    Import,
}

impl Mode {
    const ALL: [(Mode, &'static str); 3] =
        [(Mode::ReadWrite, "READWRITE"), (Mode::ReadOnly, "READONLY"), (Mode::Import, "IMPORT")];

    /// The mode of this name, in any case.
    pub fn named(name: &str) -> Option<Mode> {
        // Confluent's READONLY_OVERRIDE is a READONLY that takes precedence over the modes of subjects.
        let name = if name.eq_ignore_ascii_case("READONLY_OVERRIDE") { "READONLY" } else { name };
        Mode::ALL.into_iter().find(|(_, own)| own.eq_ignore_ascii_case(name)).map(|(mode, _)| mode)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Mode::ALL.into_iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }
}

impl Name {
    /// `{"name":"a.proto","subject":"a","version":1}`
    pub fn read(value: &Value) -> Option<Name> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let version = value.get("version").and_then(Value::as_i64).and_then(|version| i32::try_from(version).ok());
        Some(Name { name: text("name")?, subject: text("subject")?, version: version? })
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        json!({"name": self.name, "subject": self.subject, "version": self.version})
    }
}
