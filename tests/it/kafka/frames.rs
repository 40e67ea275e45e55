//! As much of Kafka's frames as the fault proxy needs: which request it is, and of which transactional id.

use std::io::Read;
use std::net::TcpStream;

pub(super) const PRODUCE: i16 = 0;
pub(super) const INIT: i16 = 22;
pub(super) const ADD_PARTITIONS: i16 = 24;
pub(super) const ADD_OFFSETS: i16 = 25;
pub(super) const END: i16 = 26;
pub(super) const OFFSETS: i16 = 28;
/// Every request of a transactional producer.
pub(super) const TRANSACTIONAL: &[i16] = &[PRODUCE, INIT, ADD_PARTITIONS, ADD_OFFSETS, END, OFFSETS];
/// A frame that is longer is none of Kafka's.
const FRAME_MAX: usize = 200 << 20;

/// The part of a request that is looked at.
pub(super) struct Request {
    pub(super) api: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
    /// Transactional id, where faults may hit.
    pub(super) id: Option<String>,
}

pub(super) fn name(request: i16) -> &'static str {
    match request {
        PRODUCE => "Produce",
        INIT => "InitProducerId",
        ADD_PARTITIONS => "AddPartitionsToTxn",
        ADD_OFFSETS => "AddOffsetsToTxn",
        END => "EndTxn",
        OFFSETS => "TxnOffsetCommit",
        _ => "another request",
    }
}

pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads one frame with its length.
pub(super) fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let size = u32::from_be_bytes(length) as usize;
    if size > FRAME_MAX {
        return None;
    }
    let mut bytes = vec![0; size + 4];
    bytes[..4].copy_from_slice(&length);
    stream.read_exact(&mut bytes[4..]).ok()?;
    Some(bytes)
}

pub(super) fn parse(frame: &[u8]) -> Option<Request> {
    let api = i16::from_be_bytes(number(frame, 4)?);
    let version = i16::from_be_bytes(number(frame, 6)?);
    let correlation = i32::from_be_bytes(number(frame, 8)?);
    let id = if TRANSACTIONAL.contains(&api) { transactional_id(frame, api, version) } else { None };
    Some(Request { api, version, correlation, id })
}

/// The first field of these requests' bodies; `None` for producers without transactions. In newer versions strings are
/// compact and the header ends with tags, of which there are none.
fn transactional_id(frame: &[u8], api: i16, version: i16) -> Option<String> {
    let client = i16::from_be_bytes(number(frame, 12)?).max(0) as usize;
    let body = 14 + client;
    let flexible = match api {
        PRODUCE => 9,
        INIT => 2,
        _ => 3,
    };
    let (start, length) = if version >= flexible {
        // Ids are shorter than 127 bytes here.
        (body + 2, usize::from(*frame.get(body + 1)?).checked_sub(1)?)
    } else {
        (body + 2, usize::try_from(i16::from_be_bytes(number(frame, body)?)).ok()?)
    };
    String::from_utf8(frame.get(start..start + length)?.to_vec()).ok()
}

/// The answer to an EndTxn that has done what it was asked for.
pub(super) fn ended(correlation: i32, version: i16) -> Vec<u8> {
    // No throttling, no error; between them and after them newer versions have empty tags.
    let (before, after): (&[u8], &[u8]) = if version < 3 { (&[], &[]) } else { (&[0], &[0]) };
    let body = [&correlation.to_be_bytes(), before, &[0; 6], after].concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}
