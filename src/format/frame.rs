//! The frame around the payloads of formats with a registry.
//!
//! ```text
//! 00  schema id (4 bytes, big-endian)  payload
//! 00  schema id (4 bytes, big-endian)  message indexes  payload          PROTOBUF
//! 01  schema GUID (16 bytes)           payload
//! 01  schema GUID (16 bytes)           message indexes  payload          PROTOBUF
//! ```
//!
//! A GUID is read, and never written. Everything in front of the payload may be in a header of the record instead, which
//! `execute::record::schema_headers` puts back where it is read here.
//!
//! The indexes say which message of the schema the payload is, a level of nesting each: their number and they themselves as
//! zigzag varints; `00` alone is the first message.

use super::Bad;
use super::Refusal;
use crate::catalog::{Guid, SchemaRef, SchemaText};
use std::fmt::Debug;
use std::sync::Arc;

/// Limit of message indexes: nesting that no schema has.
const INDEXES_MAX: u64 = 100;

/// The schemas by which records were written.
pub trait WriterSchemas: Send + Sync + Debug {
    /// The schema of this name. Does no I/O: what was not looked up before is [`Writer::Unknown`].
    fn get(&self, id: SchemaRef) -> Writer;

    /// Whether [`WriterSchemas::resolve`] would ask for it.
    fn is_due(&self, id: SchemaRef) -> bool {
        matches!(self.get(id), Writer::Unknown)
    }

    /// Looks up a schema that records of this subject name. It takes as long as a registry takes to respond, and the caller holds
    /// no lock. The error says why there is no response: then nothing is known of the schema.
    fn resolve(&self, _id: SchemaRef, _subject: &str) -> Result<(), String> {
        Ok(())
    }
}

/// What is known of a schema that payloads name.
#[derive(Clone, Debug)]
pub enum Writer {
    /// The schema.
    Known(Arc<SchemaText>),
    /// There is none, for this reason.
    Missing(String),
    /// It has not been looked up.
    Unknown,
}

/// No schemas but those that sources carry themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSchemas;

impl WriterSchemas for NoSchemas {
    fn get(&self, _: SchemaRef) -> Writer {
        Writer::Unknown
    }
}

/// Writer schemas that decoders share.
pub type SharedSchemas = Arc<dyn WriterSchemas>;

/// The schema that a payload names, and what follows its name. The reason speaks of the frame only.
#[inline]
pub fn split(payload: &[u8]) -> Result<(SchemaRef, &[u8]), Bad> {
    match payload {
        [0, a, b, c, d, rest @ ..] => Ok((SchemaRef::Id(u32::from_be_bytes([*a, *b, *c, *d])), rest)),
        _ => split_guid(payload).ok_or_else(|| unframed(payload)),
    }
}

#[cold]
fn split_guid(payload: &[u8]) -> Option<(SchemaRef, &[u8])> {
    let (guid, rest) = payload.strip_prefix(&[1])?.split_first_chunk::<16>()?;
    Some((SchemaRef::Guid(Guid(*guid)), rest))
}

/// The schema that a payload names, if it has a frame.
pub fn id_of(payload: &[u8]) -> Option<SchemaRef> {
    split(payload).ok().map(|(id, _)| id)
}

#[cold]
fn unframed(payload: &[u8]) -> Bad {
    let reason = match payload.first() {
        Some(1) => format!("the payload has {} bytes, fewer than the frame of a schema's GUID", payload.len()),
        Some(0) => format!("the payload has {} bytes, fewer than the frame of a schema id", payload.len()),
        Some(byte) => format!("the payload begins with byte {byte}, not with the magic byte 0 of a schema id"),
        None => "the payload is empty and has no schema id".to_owned(),
    };
    Bad { reason }
}

/// The message indexes at the start of what follows the id, and the payload behind them.
pub fn message_indexes(mut rest: &[u8]) -> Option<(Vec<i32>, &[u8])> {
    let count = zigzag(&mut rest)?;
    if count == 0 {
        return Some((vec![0], rest));
    }
    let count = u64::try_from(count).ok().filter(|count| *count <= INDEXES_MAX)?;
    let indexes = (0..count).map(|_| i32::try_from(zigzag(&mut rest)?).ok().filter(|i| *i >= 0));
    let indexes = indexes.collect::<Option<Vec<i32>>>()?;
    Some((indexes, rest))
}

/// Appends the frame of an id.
#[inline]
pub fn write(id: u32, out: &mut Vec<u8>) {
    let [a, b, c, d] = id.to_be_bytes();
    out.extend_from_slice(&[0, a, b, c, d]);
}

/// Appends message indexes.
pub fn write_indexes(indexes: &[i32], out: &mut Vec<u8>) {
    if indexes == [0] {
        return out.push(0);
    }
    put_zigzag(indexes.len() as i64, out);
    indexes.iter().for_each(|index| put_zigzag(i64::from(*index), out));
}

/// A zigzag varint at the start, of ten bytes at most.
pub(super) fn zigzag(d: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = d.split_first()?;
        *d = rest;
        value |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Appends a zigzag varint.
#[inline]
pub(super) fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Why a decoder has no schema of this name.
pub(super) fn missing(id: SchemaRef, writer: &Writer) -> Refusal {
    match writer {
        Writer::Missing(reason) => format!("schema {id}: {reason}").into(),
        _ => format!("schema {id} is not known").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_and_written() {
        let mut framed = vec![];
        write(258, &mut framed);
        framed.extend_from_slice(b"xy");
        assert_eq!(framed, b"\0\0\0\x01\x02xy");
        assert_eq!(split(&framed).unwrap(), (SchemaRef::Id(258), &b"xy"[..]));
        assert_eq!(id_of(&framed), Some(SchemaRef::Id(258)));
        let guid = Guid(*b"abcdefghijklmnop");
        assert_eq!(split(b"\x01abcdefghijklmnopxy").unwrap(), (SchemaRef::Guid(guid), &b"xy"[..]));
        assert_eq!(id_of(b"\x01abcdefghijklmnop"), Some(SchemaRef::Guid(guid)));
    }

    #[test]
    fn what_has_no_frame_says_why() {
        let reason = |payload: &[u8]| split(payload).unwrap_err().reason;
        assert_eq!(reason(b"\0\0\0\0"), "the payload has 4 bytes, fewer than the frame of a schema id");
        assert_eq!(reason(b""), "the payload is empty and has no schema id");
        assert_eq!(reason(b"{}"), "the payload begins with byte 123, not with the magic byte 0 of a schema id");
        assert_eq!(reason(b"\x01abc"), "the payload has 4 bytes, fewer than the frame of a schema's GUID");
    }

    #[test]
    fn message_indexes_have_a_short_form() {
        let indexes = |bytes: &'static [u8]| message_indexes(bytes).map(|(indexes, rest)| (indexes, rest.to_vec()));
        assert_eq!(indexes(b"\0z"), Some((vec![0], b"z".to_vec())));
        assert_eq!(indexes(b"\x02\0z"), Some((vec![0], b"z".to_vec())));
        assert_eq!(indexes(b"\x04\x02\0z"), Some((vec![1, 0], b"z".to_vec())));
        for bad in
            [&b""[..], b"\x02", b"\x01", b"\x02\x01", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\xfe\xff\x03"]
        {
            assert_eq!(message_indexes(bad), None, "{bad:?}");
        }
        for path in [vec![0], vec![1], vec![1, 0], vec![0, 300]] {
            let mut bytes = vec![];
            write_indexes(&path, &mut bytes);
            assert_eq!(message_indexes(&bytes), Some((path, &b""[..])));
        }
    }

    #[test]
    fn a_varint_has_ten_bytes_at_most() {
        for value in [0, -1, 1, i64::MAX, i64::MIN, 1 << 40] {
            let mut bytes = vec![];
            put_zigzag(value, &mut bytes);
            assert_eq!(zigzag(&mut &bytes[..]), Some(value));
        }
        assert_eq!(zigzag(&mut &[0x80; 11][..]), None);
    }
}
