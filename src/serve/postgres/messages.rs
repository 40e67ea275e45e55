//! The messages of protocol 3 as values: bytes in, messages out, and back. Pure: no socket, no clock.
//!
//! ```text
//! startup   length:i32 code:i32 ...                  SSLRequest, GSSENCRequest, CancelRequest, or version and parameters
//! later     tag:u8 length:i32 body                   Query 'Q', Parse 'P', Bind 'B', ...
//! ```
//!
//! A length is checked before anything is allocated, and a buffer grows only by bytes that have arrived: a message that
//! announces a gigabyte costs nothing. Counts inside of a message are checked against the bytes that are left in it.

use bytes::{Buf, Bytes, BytesMut};

/// Longest startup packet and longest message before the client is authenticated, as in Postgres.
pub(super) const STARTUP_BYTES_MAX: usize = 10_000;
/// Longest message of an authenticated client: as long as a body over HTTP.
pub(super) const MESSAGE_BYTES_MAX: usize = crate::serve::limits::BODY_BYTES_MAX;
/// Protocol 3.0.
pub(super) const VERSION_3: i32 = 196_608;
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// Length of a secret in a CancelRequest: four bytes in protocol 3.0, more in 3.2.
const SECRET_BYTES_MAX: usize = 256;

/// What the first packet of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Startup {
    Ssl,
    Gss,
    Cancel {
        process: i32,
        secret: Vec<u8>,
    },
    /// Version and parameters, in their order.
    Session {
        version: i32,
        parameters: Vec<(String, String)>,
    },
}

/// What a parameter or a result column is encoded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Text,
    Binary,
}

/// Values of a Bind message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) parameters: Vec<(Encoding, Option<Bytes>)>,
    /// Encodings of the result: none, one for all, or one a column.
    pub(super) results: Vec<Encoding>,
}

/// A message of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frontend {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    DescribeStatement(String),
    DescribePortal(String),
    Execute {
        portal: String,
        rows_max: usize,
    },
    CloseStatement(String),
    ClosePortal(String),
    Sync,
    Flush,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    /// Password, SASLInitialResponse or SASLResponse: the context decides.
    Password(Bytes),
    Terminate,
    /// A message that this server has no use for: FunctionCall.
    Other(u8),
}

/// The client breaks the protocol: the connection ends with this message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

fn broken(what: impl Into<String>) -> Broken {
    Broken(what.into())
}

/// The first packet, when all of it has arrived.
pub(super) fn startup(buffer: &mut BytesMut) -> Result<Option<Startup>, Broken> {
    let Some(length) = length(buffer, 0, 8, STARTUP_BYTES_MAX)? else { return Ok(None) };
    if buffer.len() < length {
        return Ok(None);
    }
    let mut body = buffer.split_to(length).freeze();
    body.advance(4);
    let code = body.get_i32();
    Ok(Some(match code {
        SSL_REQUEST => Startup::Ssl,
        GSS_REQUEST => Startup::Gss,
        CANCEL_REQUEST => {
            if body.len() < 8 || body.len() > 4 + SECRET_BYTES_MAX {
                return Err(broken("invalid length of a cancel request"));
            }
            Startup::Cancel { process: body.get_i32(), secret: body.to_vec() }
        }
        version if version >> 16 == 3 => Startup::Session { version, parameters: parameters(body)? },
        version => {
            return Err(broken(format!("unsupported frontend protocol {}.{}", version >> 16, version & 0xffff)));
        }
    }))
}

fn parameters(mut body: Bytes) -> Result<Vec<(String, String)>, Broken> {
    let mut all = Vec::new();
    loop {
        let name = text(&mut body)?;
        if name.is_empty() {
            return Ok(all);
        }
        all.push((name, text(&mut body)?));
    }
}

/// The length that begins at `at`, which counts itself; `None` = it has not arrived.
fn length(buffer: &BytesMut, at: usize, least: usize, most: usize) -> Result<Option<usize>, Broken> {
    let Some(bytes) = buffer.get(at..at + 4) else { return Ok(None) };
    let length = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    match usize::try_from(length) {
        Ok(length) if (least..=most).contains(&length) => Ok(Some(length)),
        _ => Err(broken(format!("invalid message length {length}, at most {most} bytes are allowed"))),
    }
}

/// The next message, when all of it has arrived.
pub(super) fn next(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Frontend>, Broken> {
    let Some(length) = length(buffer, 1, 4, bytes_max)? else { return Ok(None) };
    if buffer.len() < length + 1 {
        return Ok(None);
    }
    let mut body = buffer.split_to(length + 1).freeze();
    let tag = body.get_u8();
    body.advance(4);
    message(tag, body).map(Some)
}

fn message(tag: u8, mut body: Bytes) -> Result<Frontend, Broken> {
    let message = match tag {
        b'Q' => Frontend::Query(text(&mut body)?),
        b'P' => {
            let (name, sql) = (text(&mut body)?, text(&mut body)?);
            let count = counted(&mut body, 4)?;
            Frontend::Parse { name, sql, types: (0..count).map(|_| body.get_u32()).collect() }
        }
        b'B' => Frontend::Bind(bind(&mut body)?),
        b'D' | b'C' => {
            let kind = byte(&mut body)?;
            let name = text(&mut body)?;
            match (tag, kind) {
                (b'D', b'S') => Frontend::DescribeStatement(name),
                (b'D', b'P') => Frontend::DescribePortal(name),
                (b'C', b'S') => Frontend::CloseStatement(name),
                (b'C', b'P') => Frontend::ClosePortal(name),
                _ => return Err(broken(format!("invalid message subtype {kind}"))),
            }
        }
        b'E' => {
            let portal = text(&mut body)?;
            let rows_max = int32(&mut body)?;
            // Negative numbers mean no limit, as zero does.
            Frontend::Execute { portal, rows_max: usize::try_from(rows_max).unwrap_or(0) }
        }
        b'S' => Frontend::Sync,
        b'H' => Frontend::Flush,
        b'd' => Frontend::CopyData(body.split_off(0)),
        b'c' => Frontend::CopyDone,
        b'f' => Frontend::CopyFail(text(&mut body)?),
        b'p' => Frontend::Password(body.split_off(0)),
        b'X' => Frontend::Terminate,
        b'F' => {
            body.clear();
            Frontend::Other(tag)
        }
        other => return Err(broken(format!("invalid frontend message type {other}"))),
    };
    match body.is_empty() {
        true => Ok(message),
        false => Err(broken(format!("{} bytes are left over in a message of type {:?}", body.len(), tag as char))),
    }
}

fn bind(body: &mut Bytes) -> Result<Bind, Broken> {
    let (portal, statement) = (text(body)?, text(body)?);
    let given = encodings(body)?;
    // Each value has at least its length.
    let count = counted(body, 4)?;
    if given.len() > 1 && given.len() != count {
        return Err(broken(format!("bind message has {} parameter formats but {count} parameters", given.len())));
    }
    let mut parameters = Vec::with_capacity(count);
    for at in 0..count {
        let value = match int32(body)? {
            -1 => None,
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= body.len());
                Some(body.split_to(length.ok_or_else(|| broken("a parameter is longer than its message"))?))
            }
        };
        let encoding = given.get(at).or(given.first()).copied().unwrap_or(Encoding::Text);
        parameters.push((encoding, value));
    }
    let results = encodings(body)?;
    Ok(Bind { portal, statement, parameters, results })
}

fn encodings(body: &mut Bytes) -> Result<Vec<Encoding>, Broken> {
    let count = counted(body, 2)?;
    let each = (0..count).map(|_| match body.get_i16() {
        0 => Ok(Encoding::Text),
        1 => Ok(Encoding::Binary),
        other => Err(broken(format!("unsupported format code {other}"))),
    });
    each.collect()
}

/// A count of items that take at least so many bytes each.
fn counted(body: &mut Bytes, bytes_each: usize) -> Result<usize, Broken> {
    if body.len() < 2 {
        return Err(broken("a message ends early"));
    }
    let count = usize::from(body.get_u16());
    match count * bytes_each <= body.len() {
        true => Ok(count),
        false => Err(broken("a message ends early")),
    }
}

fn byte(body: &mut Bytes) -> Result<u8, Broken> {
    if body.is_empty() { Err(broken("a message ends early")) } else { Ok(body.get_u8()) }
}

fn int32(body: &mut Bytes) -> Result<i32, Broken> {
    if body.len() < 4 { Err(broken("a message ends early")) } else { Ok(body.get_i32()) }
}

/// A text that ends with a zero byte.
pub(super) fn text(body: &mut Bytes) -> Result<String, Broken> {
    let end = memchr::memchr(0, body).ok_or_else(|| broken("a text in a message is not terminated"))?;
    let text = body.split_to(end);
    body.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| broken("invalid byte sequence for encoding \"UTF8\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(tag: u8, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&[tag][..]);
        bytes.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn read(mut bytes: BytesMut) -> Result<Option<Frontend>, Broken> {
        next(&mut bytes, MESSAGE_BYTES_MAX)
    }

    #[test]
    fn messages_are_read_when_they_are_whole() {
        let whole = framed(b'Q', b"SELECT 1\0");
        for len in 0..whole.len() {
            assert_eq!(read(BytesMut::from(&whole[..len])), Ok(None), "{len} bytes");
        }
        let mut two = whole.clone();
        two.extend_from_slice(&framed(b'S', b""));
        assert_eq!(next(&mut two, 100), Ok(Some(Frontend::Query("SELECT 1".to_owned()))));
        assert_eq!(next(&mut two, 100), Ok(Some(Frontend::Sync)));
        assert_eq!((next(&mut two, 100), two.len()), (Ok(None), 0));
    }

    #[test]
    fn a_bind_has_formats_values_and_result_formats() {
        let body = [&b"p\0s\0"[..], &[0, 1, 0, 1], &[0, 2], &[0, 0, 0, 1, 7], &[255; 4], &[0, 1, 0, 0]].concat();
        let Ok(Some(Frontend::Bind(bind))) = read(framed(b'B', &body)) else { panic!("no bind") };
        assert_eq!((bind.portal.as_str(), bind.statement.as_str()), ("p", "s"));
        let binary = Encoding::Binary;
        assert_eq!(bind.parameters, [(binary, Some(Bytes::from_static(&[7]))), (binary, None)]);
        assert_eq!(bind.results, [Encoding::Text]);
    }

    #[test]
    fn a_startup_is_one_of_four() {
        let packet = |code: i32, rest: &[u8]| {
            let mut bytes = BytesMut::from(&(rest.len() as i32 + 8).to_be_bytes()[..]);
            bytes.extend_from_slice(&code.to_be_bytes());
            bytes.extend_from_slice(rest);
            bytes
        };
        let read = |code, rest: &[u8]| startup(&mut packet(code, rest));
        assert_eq!(read(SSL_REQUEST, b""), Ok(Some(Startup::Ssl)));
        assert_eq!(read(GSS_REQUEST, b""), Ok(Some(Startup::Gss)));
        let cancel = Startup::Cancel { process: 1, secret: vec![0, 0, 0, 2] };
        assert_eq!(read(CANCEL_REQUEST, &[0, 0, 0, 1, 0, 0, 0, 2]), Ok(Some(cancel)));
        let parameters = vec![("user".to_owned(), "me".to_owned())];
        assert_eq!(read(VERSION_3, b"user\0me\0\0"), Ok(Some(Startup::Session { version: VERSION_3, parameters })));
        assert!(read(131_072, b"").is_err());
        assert!(read(VERSION_3, b"user\0").is_err());
        assert!(startup(&mut BytesMut::from(&b"GET / HTTP/1.1"[..])).is_err(), "another protocol");
    }

    #[test]
    fn announced_sizes_allocate_nothing() {
        for length in [i32::MAX, i32::MIN, -1, 0, 3, MESSAGE_BYTES_MAX as i32 + 1] {
            let mut bytes = BytesMut::from(&b"Q"[..]);
            bytes.extend_from_slice(&length.to_be_bytes());
            assert!(read(bytes.clone()).is_err(), "{length}");
            assert!(startup(&mut bytes.split_off(1)).is_err(), "{length}");
        }
        // 65,535 parameters, types, formats in a message of a few bytes.
        for (tag, body) in [
            (b'P', &b"\0\0\xff\xff\0\0\0\0"[..]),
            (b'B', b"\0\0\xff\xff\0\x01"),
            (b'B', b"\0\0\0\0\xff\xff\0\0\0\0"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        ] {
            assert!(read(framed(tag, body)).is_err(), "{body:?}");
        }
    }

    proptest! {
        /// No bytes are a bomb: reading them ends, takes what it returns from the buffer, and never panics.
        #[test]
        fn any_bytes_are_messages_or_an_error(
            tag in prop::sample::select(&b"QPBDCESHdcfpXFz"[..]),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = framed(tag, &body);
            bytes.extend_from_slice(&body);
            let _ = startup(&mut bytes.clone());
            while let Ok(Some(_)) = next(&mut bytes, MESSAGE_BYTES_MAX) {}
        }
    }
}
