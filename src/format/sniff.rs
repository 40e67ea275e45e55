//! Guesses the format of a record from its bytes, and renders it (PRINT; ksqlDB's `RecordFormatter`).

use crate::types::base64;
use crate::types::temporal::timestamp_text;

/// The year 2100: a key that ends with a larger number is not windowed.
const LAST_WINDOW_START_MS: i64 = 4_102_444_800_000;

/// Eight bytes with a larger value are more likely a double or part of something else.
const BIGINT_LIKELY_MAX: u64 = 1 << 53;

/// Rendered bytes, and their apparent format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable {
    /// The rendered text.
    pub text: String,
    /// ksqlDB's name of the format.
    pub format: &'static str,
}

fn readable(text: String, format: &'static str) -> Readable {
    Readable { text, format }
}

/// A key. Keys of windowed tables end with the start of the window, milliseconds in eight bytes.
pub fn key(bytes: &[u8]) -> Readable {
    if plain(bytes).is_none()
        && let Some((key, start)) = window_of(bytes)
    {
        let inner = value(key);
        return readable(format!("{} @ {start}", inner.text), windowed(inner.format));
    }
    value(bytes)
}

/// A key that appears to end with the start of a window: the key itself, and that time.
pub fn window_of(bytes: &[u8]) -> Option<(&[u8], String)> {
    let (key, start) = bytes.split_last_chunk::<8>().filter(|(key, _)| !key.is_empty())?;
    let start = i64::from_be_bytes(*start);
    (0..LAST_WINDOW_START_MS).contains(&start).then(|| (key, format!("{}Z", timestamp_text(start))))
}

fn windowed(format: &str) -> &'static str {
    match format {
        "KAFKA_STRING" => "TIMEWINDOW(KAFKA_STRING)",
        "KAFKA_INT" => "TIMEWINDOW(KAFKA_INT)",
        "KAFKA_BIGINT" => "TIMEWINDOW(KAFKA_BIGINT)",
        "JSON" => "TIMEWINDOW(JSON)",
        _ => "UNRECOGNIZED_BYTES",
    }
}

/// A value: text unchanged, numbers of the format KAFKA with their type, anything else in base64.
pub fn value(bytes: &[u8]) -> Readable {
    if let Some(text) = plain(bytes) {
        let is_json = text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        return readable(text.to_owned(), if is_json { "JSON" } else { "KAFKA_STRING" });
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return readable(format!("{} (INTEGER)", i32::from_be_bytes(four)), "KAFKA_INT");
    }
    match <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes) {
        Ok(number) if number.unsigned_abs() < BIGINT_LIKELY_MAX => {
            readable(format!("{number} (BIGINT)"), "KAFKA_BIGINT")
        }
        _ => readable(format!("base64:{}", base64_of(bytes)), "UNRECOGNIZED_BYTES"),
    }
}

/// Text without control characters.
fn plain(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// Bytes in base64.
pub fn base64_of(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(bytes, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_kind_can_be_read() {
        let hour = 1_795_255_200_000_i64.to_be_bytes();
        let read = |bytes: &[u8]| {
            let Readable { text, format } = key(bytes);
            format!("{format} {text}")
        };
        assert_eq!(read("é 1".as_bytes()), "KAFKA_STRING é 1");
        assert_eq!(read(&[b"k2".as_slice(), &hour].concat()), "TIMEWINDOW(KAFKA_STRING) k2 @ 2026-11-21T10:00:00.000Z");
        assert_eq!(
            read(&[&7_i32.to_be_bytes()[..], &hour].concat()),
            "TIMEWINDOW(KAFKA_INT) 7 (INTEGER) @ 2026-11-21T10:00:00.000Z"
        );
        assert_eq!(read(&(-2_i32).to_be_bytes()), "KAFKA_INT -2 (INTEGER)");
        assert_eq!(read(&77_i64.to_be_bytes()), "KAFKA_BIGINT 77 (BIGINT)");
        assert_eq!(read(b"{\"A\": [1]}"), "JSON {\"A\": [1]}");
        assert_eq!(read(b"{\"A\": "), "KAFKA_STRING {\"A\": ");
        assert_eq!(read(b"\xff\x00"), "UNRECOGNIZED_BYTES base64:/wA=");
    }
}
