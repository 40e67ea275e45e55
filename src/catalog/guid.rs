//! How a payload names the schema of its writer: by the registry's number, or by a GUID that is the same in every registry.
//!
//! ```text
//! 7                                       SchemaRef::Id
//! 89791762-2336-4186-9674-299b90a802e2    SchemaRef::Guid
//! ```
//!
//! A number means one schema in one registry only. A GUID is derived from the schema, so that registries that copy schemas from
//! each other agree on it.

use md5::{Digest, Md5};
use std::fmt;

/// The name of a schema in a payload. Its text is the number or the GUID alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaRef {
    /// The registry's number.
    Id(u32),
    /// The GUID.
    Guid(Guid),
}

impl fmt::Display for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaRef::Id(id) => id.fmt(f),
            SchemaRef::Guid(guid) => guid.fmt(f),
        }
    }
}

/// The GUID of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The GUID of a schema with this text and these direct references (name, subject, version): an MD5 digest. Without
    /// references it is the one that Confluent's registry derives.
    pub fn derive<'a>(text: &str, references: impl IntoIterator<Item = (&'a str, &'a str, i32)>) -> Guid {
        let mut digest = Md5::new();
        digest.update(text.as_bytes());
        for (name, subject, version) in references {
            digest.update(name.as_bytes());
            digest.update(subject.as_bytes());
            digest.update(version.to_be_bytes());
        }
        Guid(digest.finalize().into())
    }

    /// The GUID of this text.
    pub fn parse(text: &str) -> Option<Guid> {
        let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
        if text.len() != 36 || !text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == is_dash(at)) {
            return None;
        }
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Guid(bytes))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_and_written() {
        let text = "89791762-2336-4186-9674-299b90a802e2";
        let guid = Guid::parse(text).unwrap();
        assert_eq!(guid.0[..3], [0x89, 0x79, 0x17]);
        assert_eq!(SchemaRef::Guid(guid).to_string(), text);
        assert_eq!(Guid::parse(&text.to_uppercase()), Some(guid));
        for bad in ["", "7", "89791762-2336-4186-9674-299b90a802e", "89791762-2336-4186-9674-299b90a802eg"] {
            assert_eq!(Guid::parse(bad), None, "{bad}");
        }
        assert_eq!(Guid::parse("8979176-22336-4186-9674-299b90a802e2"), None);
        assert_eq!(Guid::parse("+9791762-2336-4186-9674-299b90a802e2"), None);
        assert_eq!(Guid::parse("é9791762-2336-4186-9674-299b90a802e2"), None);
    }

    #[test]
    fn a_guid_is_that_of_confluents_registry() {
        assert_eq!(Guid::derive("\"int\"", []).to_string(), "ef524ea1-b91e-7317-3d93-8ade36c1db32");
        let guid = |version| Guid::derive("\"a.B\"", [("a.B", "b", version)]);
        assert_ne!(guid(1), guid(2));
        assert_ne!(guid(1), Guid::derive("\"a.B\"", []));
    }
}
