//! The wire format: varints, and the fields of a message in their order.
//!
//! A message is valid if protobuf-java accepts it (`CodedInputStream`): a tag is its low 32 bits, groups, which no column uses, are
//! skipped, and an end-group tag needs its start.

use crate::format::varint::short;

/// Limit of nested groups (the recursion limit of `CodedInputStream`).
const GROUPS_MAX: usize = 100;

/// A field's value on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// Reads a varint from the start.
#[inline(always)]
pub(super) fn varint(d: &mut &[u8]) -> Option<u64> {
    if let [byte, rest @ ..] = *d
        && *byte < 0x80
    {
        *d = rest;
        return Some(u64::from(*byte));
    }
    match short(d) {
        Some((value, length)) => {
            *d = &d[length..];
            Some(value)
        }
        None => varint_of_bytes(d),
    }
}

#[inline(never)]
fn varint_of_bytes(d: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = d.split_first()?;
        *d = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Visits number and value of every field but groups; `None` = not a message, or `visit` returned it.
pub(super) fn each<'a>(mut d: &'a [u8], mut visit: impl FnMut(u32, Wire<'a>) -> Option<()>) -> Option<()> {
    while !d.is_empty() {
        if let (number, Some(value)) = field(&mut d)? {
            visit(number, value)?;
        }
    }
    Some(())
}

/// The next field: its number, and its value unless it is a group.
#[inline(always)]
pub(super) fn field<'a>(d: &mut &'a [u8]) -> Option<(u32, Option<Wire<'a>>)> {
    match tag(d)? {
        (number, 3) => {
            skip_group(d, number)?;
            Some((number, None))
        }
        (number, kind) => Some((number, Some(value(d, kind)?))),
    }
}

/// The first fields of a message of integers.
pub(super) fn numbers<const N: usize>(bytes: &[u8]) -> Option<[i64; N]> {
    let mut out = [0; N];
    each(bytes, |number, value| {
        if let (Some(slot), Wire::Varint(n)) = (out.get_mut(number as usize - 1), value) {
            *slot = n as i64;
        }
        Some(())
    })?;
    Some(out)
}

/// Number and wire type of the next field.
#[inline(always)]
fn tag(d: &mut &[u8]) -> Option<(u32, u32)> {
    let tag = varint(d)? as u32;
    (tag >> 3 != 0).then_some((tag >> 3, tag & 7))
}

/// A value of this wire type.
#[inline(always)]
fn value<'a>(d: &mut &'a [u8], kind: u32) -> Option<Wire<'a>> {
    Some(match kind {
        0 => Wire::Varint(varint(d)?),
        1 => {
            let (bytes, rest) = d.split_first_chunk::<8>()?;
            *d = rest;
            Wire::Fixed64(u64::from_le_bytes(*bytes))
        }
        2 => Wire::Bytes(sized(d)?),
        5 => {
            let (bytes, rest) = d.split_first_chunk::<4>()?;
            *d = rest;
            Wire::Fixed32(u32::from_le_bytes(*bytes))
        }
        _ => return None,
    })
}

/// A length and as many bytes.
#[inline(always)]
pub(super) fn sized<'a>(d: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = i32::try_from(varint(d)? as u32).ok()?;
    let (bytes, rest) = d.split_at_checked(length as usize)?;
    *d = rest;
    Some(bytes)
}

#[cold]
fn skip_group(d: &mut &[u8], number: u32) -> Option<()> {
    let mut open = vec![number];
    while let Some(&innermost) = open.last() {
        match tag(d)? {
            (number, 3) if open.len() < GROUPS_MAX => open.push(number),
            (number, 4) if number == innermost => drop(open.pop()),
            (_, kind) => drop(value(d, kind)?),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(d: &[u8]) -> Option<Vec<u32>> {
        let mut seen = vec![];
        each(d, |number, _| {
            seen.push(number);
            Some(())
        })?;
        Some(seen)
    }

    #[test]
    fn what_no_column_is_made_of_is_walked_over() {
        assert_eq!(numbers(b"\x08\x01\x15\0\0\0\0\x12\x01x"), Some(vec![1, 2, 2]));
        // A group of field 3 with another one and a value in it.
        assert_eq!(numbers(b"\x1b\x23\x08\x05\x24\x1c\x08\x01"), Some(vec![1]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let groups = [[0x1b; 101].as_slice(), &[0x1c; 101]].concat();
        for bad in [&b"\x1b"[..], b"\x1c", b"\x1b\x24", b"\0", b"\x12\x05abcd", b"\x08", b"\x0e", &groups] {
            assert_eq!(numbers(bad), None, "{bad:?}");
        }
        assert_eq!(numbers(&[[0x1b; 100].as_slice(), &[0x1c; 100]].concat()), Some(vec![]));
    }
}
