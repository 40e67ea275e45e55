//! Windowed keys in Kafka Streams' layout (`TimeWindowedSerializer`, `SessionWindowedSerializer`): the key's own bytes, then the
//! window's bounds, eight bytes each, big-endian.
//!
//! ```text
//! TUMBLING, HOPPING   key ++ start          (the end is start + size, and is not stored)
//! SESSION             key ++ end ++ start
//! ```

/// Bytes of one bound.
const BOUND_BYTES: usize = 8;

/// Appends the bound of a time window to the key in `out`.
pub fn append_time(start: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&start.to_be_bytes());
}

/// Appends the bounds of a session to the key in `out`.
pub fn append_session(end: i64, start: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&end.to_be_bytes());
    out.extend_from_slice(&start.to_be_bytes());
}

/// Key bytes and start of a time window; `None` if there are too few bytes.
pub fn split_time(bytes: &[u8]) -> Option<(&[u8], i64)> {
    let (key, start) = bytes.split_last_chunk::<BOUND_BYTES>()?;
    Some((key, i64::from_be_bytes(*start)))
}

/// Key bytes, end and start of a session; `None` if there are too few bytes.
pub fn split_session(bytes: &[u8]) -> Option<(&[u8], i64, i64)> {
    let (rest, start) = split_time(bytes)?;
    let (key, end) = split_time(rest)?;
    Some((key, end, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_come_back() {
        let mut bytes = b"key".to_vec();
        append_time(-5, &mut bytes);
        assert_eq!(bytes.len(), 11);
        assert_eq!(split_time(&bytes), Some((&b"key"[..], -5)));
        let mut bytes = vec![];
        append_session(i64::MAX, 7, &mut bytes);
        assert_eq!(bytes[..8], [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(split_session(&bytes), Some((&b""[..], i64::MAX, 7)));
        assert_eq!(split_session(&bytes[1..]), None);
        assert_eq!(split_time(b"1234567"), None);
    }
}
