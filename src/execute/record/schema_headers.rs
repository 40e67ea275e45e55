//! Records that name their schema in a header instead of in front of the payload.
//!
//! ```text
//! __value_schema_id: 01 <GUID>     value: 02 06 61 62 63      no frame: newer serializers write so if they are told to
//! ```
//!
//! Such a payload may look like one that is framed, so the header decides. It is not supported: the record is bad, and says why.

use crate::catalog::Source;
use crate::log::HeadersRef;

/// The headers, and what each of them is of.
const NAMES: [(&str, &str); 2] = [("__key_schema_id", "key"), ("__value_schema_id", "value")];

/// Looks for the headers where a side has a format with a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemaHeaders([bool; 2]);

impl SchemaHeaders {
    /// For the records of this source.
    pub(crate) fn of(source: &Source) -> SchemaHeaders {
        let key = source.key_format.schema_type().is_some() && !source.schema.key.is_empty();
        SchemaHeaders([key, source.value_format.schema_type().is_some()])
    }

    /// The error says why the record cannot be read.
    #[inline]
    pub(crate) fn check(self, headers: &HeadersRef<'_>) -> Result<(), String> {
        match headers {
            HeadersRef::None => Ok(()),
            headers if self.0 != [false; 2] => self.look(headers),
            _ => Ok(()),
        }
    }

    fn look(self, headers: &HeadersRef<'_>) -> Result<(), String> {
        let headers = headers.to_vec();
        let sides = NAMES.iter().zip(self.0).filter(|(_, wanted)| *wanted);
        let found = sides.map(|(side, _)| side).find(|(name, _)| headers.iter().any(|header| header.key == *name));
        match found {
            None => Ok(()),
            Some((name, side)) => Err(format!(
                "{side}: its schema is named in the header {name}, which is not supported: the serializer has to write the \
                 schema's id in front of the payload"
            )),
        }
    }
}
