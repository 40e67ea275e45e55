//! Records whose frames are in their headers instead of in front of their payloads.
//!
//! ```text
//! __value_schema_id: 01 <GUID>     value: 02 06 61 62 63      newer serializers write so if they are told to
//! read as                          value: 01 <GUID> 02 06 61 62 63
//! ```
//!
//! Such a payload may look like one that is framed, so the header decides; of several the last one counts. A header is what would be
//! in front of the payload, so that the decoders of payloads need not know of headers. A null payload remains null.

use crate::catalog::Source;
use crate::log::{Header, HeadersRef, RecordRef};
use std::borrow::Cow;

/// The headers of key and value.
const NAMES: [&str; 2] = ["__key_schema_id", "__value_schema_id"];
/// Longest frame in a header: a GUID and the message indexes of the deepest schema. A longer header is not read as a frame.
pub(crate) const FRAME_BYTES_MAX: usize = 1 + 16 + 1024;

/// Frames the sides of records that have a format with a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemaHeaders([bool; 2]);

/// Key and value as if their frames had been in front of them.
pub(crate) type Framed<'a> = (Option<Cow<'a, [u8]>>, Option<Cow<'a, [u8]>>);

impl SchemaHeaders {
    /// For the records of this source.
    pub(crate) fn of(source: &Source) -> SchemaHeaders {
        let key = source.key_format.schema_type().is_some() && !source.schema.key.is_empty();
        SchemaHeaders([key, source.value_format.schema_type().is_some()])
    }

    /// For records of which nothing is known.
    pub(crate) const ANY: SchemaHeaders = SchemaHeaders([true; 2]);

    /// Whether one of these headers may be a frame.
    #[inline]
    pub(crate) fn are_looked_at(self, headers: &HeadersRef<'_>) -> bool {
        !matches!(headers, HeadersRef::None) && self.0 != [false; 2]
    }

    /// How many bytes framing may add to each side of a record.
    #[inline]
    pub(crate) fn bytes_added_max(self, headers: &HeadersRef<'_>) -> usize {
        if self.are_looked_at(headers) { FRAME_BYTES_MAX } else { 0 }
    }

    /// The sides of a record, copied only where a header is a frame.
    #[inline]
    pub(crate) fn framed<'a>(self, record: &RecordRef<'a>) -> Framed<'a> {
        let sides = [record.key, record.value];
        let [key, value] = match self.are_looked_at(&record.headers) {
            true => self.put_together(&record.headers, sides),
            false => sides.map(|side| side.map(Cow::Borrowed)),
        };
        (key, value)
    }

    fn put_together<'a>(self, headers: &HeadersRef<'_>, sides: [Option<&'a [u8]>; 2]) -> [Option<Cow<'a, [u8]>>; 2] {
        let headers = headers.to_vec();
        let mut wanted = self.0.iter().zip(NAMES);
        sides.map(|side| {
            let name = wanted.next().filter(|(wanted, _)| **wanted).map(|(_, name)| name);
            let header = name.and_then(|name| headers.iter().rev().find(|header| header.key == name));
            let frame =
                header.and_then(|header| header.value.as_deref()).filter(|frame| frame.len() <= FRAME_BYTES_MAX);
            side.map(|payload| match frame {
                Some(frame) => Cow::Owned([frame, payload].concat()),
                None => Cow::Borrowed(payload),
            })
        })
    }
}

/// The headers of an input row that its output keeps: what is written has a frame of its own in front, or none.
pub(crate) fn forwarded(mut headers: Vec<Header>) -> Vec<Header> {
    headers.retain(|header| !NAMES.contains(&header.key.as_str()));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(of: SchemaHeaders, headers: &[Header], key: Option<&[u8]>, value: Option<&[u8]>) -> [Option<Vec<u8>>; 2] {
        let headers = HeadersRef::Decoded(headers);
        let record = RecordRef { offset: 0, timestamp: 0, key, value, headers };
        let (key, value) = of.framed(&record);
        [key.map(Cow::into_owned), value.map(Cow::into_owned)]
    }

    #[test]
    fn the_last_header_of_a_side_is_put_in_front_of_it() {
        let header = |key: &str, value: Option<&[u8]>| Header { key: key.into(), value: value.map(<[u8]>::to_vec) };
        let headers = [
            header("__value_schema_id", Some(b"old")),
            header("x", Some(b"other")),
            header("__value_schema_id", Some(b"new")),
        ];
        let sides = [Some(b"k".to_vec()), Some(b"newv".to_vec())];
        assert_eq!(framed(SchemaHeaders::ANY, &headers, Some(b"k"), Some(b"v")), sides);
        let as_it_is = [Some(b"k".to_vec()), Some(b"v".to_vec())];
        assert_eq!(framed(SchemaHeaders([true, false]), &headers, Some(b"k"), Some(b"v")), as_it_is);
        assert_eq!(framed(SchemaHeaders::ANY, &headers, None, None), [None, None], "a tombstone remains one");
        assert_eq!(forwarded(headers.to_vec()), [header("x", Some(b"other"))]);
        let none = [header("__key_schema_id", None), header("__value_schema_id", Some(&[1; FRAME_BYTES_MAX + 1]))];
        assert_eq!(framed(SchemaHeaders::ANY, &none, Some(b"k"), Some(b"v")), as_it_is);
    }
}
