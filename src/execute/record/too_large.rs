//! A row that is larger than a record of its topic may be: found by the sink, reported by the query.

use std::fmt::Write;

/// Bytes of a key that are shown.
const KEY_BYTES_SHOWN: usize = 200;

/// A row that its topic does not take.
#[derive(Debug)]
pub(crate) struct TooLarge {
    /// Partition that it was meant for.
    pub(crate) partition: i32,
    /// Its key as text; `None` = it has none.
    pub(crate) key: Option<String>,
    /// Its size, as [`record_bytes`] counts it.
    pub(crate) bytes: usize,
}

impl TooLarge {
    pub(crate) fn new(partition: i32, key: Option<&[u8]>, bytes: usize) -> TooLarge {
        TooLarge { partition, key: key.map(shown), bytes }
    }
}

/// The bytes of a key for people: text in quotes, or hexadecimal digits where it is no text.
fn shown(key: &[u8]) -> String {
    let cut = key.len() > KEY_BYTES_SHOWN;
    let key = &key[..key.len().min(KEY_BYTES_SHOWN)];
    let mut text = match std::str::from_utf8(key) {
        Ok(text) if !text.contains(char::is_control) => format!("{text:?}"),
        // A character that was cut in two is no reason to show the others as digits.
        Err(e) if cut && e.error_len().is_none() && e.valid_up_to() > 0 => {
            format!("{:?}", String::from_utf8_lossy(&key[..e.valid_up_to()]))
        }
        _ => key.iter().fold("0x".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    };
    if cut {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_text_or_as_digits() {
        assert_eq!(shown(b"abc"), "\"abc\"");
        assert_eq!(shown(&[0, 0, 1, 255]), "0x000001ff");
        let long = shown("é".repeat(150).as_bytes());
        assert!(long.starts_with("\"éé") && long.ends_with("é\"..."), "{long}");
    }
}
