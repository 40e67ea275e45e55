//! The messages of the server, as bytes.
//!
//! ```text
//! let mut reply = Reply::default();
//! reply.ready(b'I');            Z 00 00 00 05 I
//! ```

use super::errors::State;
use super::types::PgType;
use crate::error::Error;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) ty: PgType,
    /// 0 = text, 1 = binary.
    pub(super) format: i16,
}

/// How severe an ErrorResponse or a NoticeResponse is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The connection ends.
    Fatal,
    Error,
    Warning,
    Notice,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Fatal => "FATAL",
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Notice => "NOTICE",
        }
    }
}

/// Messages that are being written.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
}

impl Reply {
    /// A message; its length is put in when its body has been written.
    pub(super) fn message(&mut self, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(tag);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        body(&mut self.bytes);
        // A row is bounded by the records that it was made of, far below 2 GiB.
        let length = i32::try_from(self.bytes.len() - at).unwrap_or(i32::MAX);
        self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Authentication messages: a code, and what belongs to it.
    pub(super) fn authentication(&mut self, code: i32, rest: &[u8]) {
        self.message(b'R', |out| {
            int32(out, code);
            out.extend_from_slice(rest);
        });
    }

    pub(super) fn parameter_status(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            text(out, name);
            text(out, value);
        });
    }

    pub(super) fn backend_key(&mut self, process: i32, secret: &[u8]) {
        self.message(b'K', |out| {
            int32(out, process);
            out.extend_from_slice(secret);
        });
    }

    /// NegotiateProtocolVersion: 3.0, and the protocol options that are not known.
    pub(super) fn negotiate(&mut self, unknown: &[&str]) {
        self.message(b'v', |out| {
            int32(out, super::messages::VERSION_3);
            int32(out, unknown.len() as i32);
            unknown.iter().for_each(|name| text(out, name));
        });
    }

    /// ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one.
    pub(super) fn ready(&mut self, status: u8) {
        self.message(b'Z', |out| out.push(status));
    }

    /// A message without a body.
    pub(super) fn empty(&mut self, tag: u8) {
        self.message(tag, |_| {});
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| text(out, tag));
    }

    pub(super) fn parameter_description(&mut self, types: &[u32]) {
        self.message(b't', |out| {
            int16(out, types.len());
            types.iter().for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
        });
    }

    pub(super) fn row_description(&mut self, fields: &[Field]) {
        self.message(b'T', |out| {
            int16(out, fields.len());
            for field in fields {
                text(out, &field.name);
                // Neither a table nor a column of one.
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(&field.ty.oid.to_be_bytes());
                out.extend_from_slice(&field.ty.size.to_be_bytes());
                int32(out, field.ty.modifier);
                out.extend_from_slice(&field.format.to_be_bytes());
            }
        });
    }

    /// CopyOutResponse (`H`) or CopyInResponse (`G`).
    pub(super) fn copy_response(&mut self, tag: u8, binary: bool, columns: usize) {
        self.message(tag, |out| {
            out.push(u8::from(binary));
            int16(out, columns);
            for _ in 0..columns {
                out.extend_from_slice(&[0, u8::from(binary)]);
            }
        });
    }

    /// An ErrorResponse or a NoticeResponse; `position` counts characters of the client's text from 1.
    pub(super) fn problem(&mut self, severity: Severity, state: State, error: &Error, position: Option<usize>) {
        let tag = if matches!(severity, Severity::Fatal | Severity::Error) { b'E' } else { b'N' };
        let position = position.map(|at| at.to_string());
        let parts = [
            (b'S', Some(severity.name())),
            (b'V', Some(severity.name())),
            (b'C', Some(state.0)),
            (b'M', Some(error.message())),
            (b'D', error.detail()),
            (b'H', error.hint()),
            (b'P', position.as_deref()),
        ];
        self.message(tag, |out| {
            for (code, value) in parts {
                let Some(value) = value else { continue };
                out.push(code);
                text(out, value);
            }
            out.push(0);
        });
    }

    /// A NOTICE without more than its text.
    pub(super) fn notice(&mut self, severity: Severity, message: &str) {
        self.problem(severity, State("00000"), &Error::statement(message), None);
    }
}

/// A text that ends with a zero byte; one inside would end it early.
fn text(out: &mut Vec<u8>, value: &str) {
    out.extend(value.bytes().map(|byte| if byte == 0 { b' ' } else { byte }));
    out.push(0);
}

fn int16(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes());
}

pub(super) fn int32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_put_in() {
        let mut reply = Reply::default();
        reply.ready(b'I');
        reply.complete("SELECT 1");
        assert_eq!(reply.bytes, b"Z\0\0\0\x05IC\0\0\0\x0dSELECT 1\0");
    }

    #[test]
    fn an_error_carries_its_parts() {
        let mut reply = Reply::default();
        let error = Error::statement("no such\0column").with_hint("did you mean X?");
        reply.problem(Severity::Error, State("42703"), &error, Some(8));
        assert_eq!(&reply.bytes[5..], b"SERROR\0VERROR\0C42703\0Mno such column\0Hdid you mean X?\0P8\0\0",);
    }
}
