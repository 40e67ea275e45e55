//! One form for each key.
//!
//! ```text
//! 00 00000007 02 61    00 00000009 02 61      the key 'a' by the schemas 7 and 9: two keys to a log, one to a table
//! ```
//!
//! Payloads of formats with a registry carry the id of their writer's schema, so the bytes of equal keys differ where a topic
//! had several writers. Whatever finds rows by the bytes of their keys asks for this form first: that of the source's own schema,
//! or the internal format if the source has none.

use super::frame::{SharedSchemas, id_of};
use super::{Decoder, Encoder, Side};
use crate::catalog::SchemaRef;
use crate::error::Result;
use std::borrow::Cow;

/// Brings keys of one source into one form.
#[derive(Debug)]
pub struct CanonicalKey {
    /// Keys of this schema are in the form already.
    own: Option<SchemaRef>,
    decoder: Decoder,
    encoder: Encoder,
}

impl CanonicalKey {
    /// For the keys of this side; `None` = equal keys of its format have equal bytes.
    pub fn new(side: Side<'_>, schemas: &SharedSchemas) -> Result<Option<CanonicalKey>> {
        if side.format.schema_type().is_none() || side.columns.is_empty() {
            return Ok(None);
        }
        let own = side.wire.schema.as_ref().and_then(|own| own.name());
        let encoder = match own {
            Some(_) => Encoder::of(side)?,
            None => Encoder::new(side.format.internal(), side.columns, side.unwrapped)?,
        };
        let all: Vec<usize> = (0..side.columns.len()).collect();
        Ok(Some(CanonicalKey { own, decoder: Decoder::of(side, &all, schemas)?, encoder }))
    }

    /// The form of a key without its window. A key that cannot be read is its own form: its reader reports it.
    pub fn of<'a>(&mut self, key: &'a [u8]) -> Cow<'a, [u8]> {
        if self.own.is_some() && id_of(key) == self.own {
            return Cow::Borrowed(key);
        }
        self.encoded(key).map_or(Cow::Borrowed(key), Cow::Owned)
    }

    /// `None` = it cannot be read, or is NULL.
    fn encoded(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.decoder.push(Some(key)).ok()?;
        let (columns, present) = self.decoder.finish();
        let (mut data, mut ranges) = (Vec::new(), Vec::new());
        self.encoder.encode(&columns, present.as_ref(), 1, &mut data, &mut ranges).ok()?;
        ranges.pop().flatten().map(|range| data[range].to_vec())
    }
}
