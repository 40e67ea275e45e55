//! Text as Java sees it: strings are ordered by UTF-16 code units.

use std::cmp::Ordering;

/// The order of `String.compareTo`. It differs from the order of the UTF-8 bytes only where a character beyond U+FFFF meets one
/// from U+E000 to U+FFFF: the former are two surrogates (0xD800...) in UTF-16.
pub fn compare_utf16(a: &str, b: &str) -> Ordering {
    let order = a.as_bytes().cmp(b.as_bytes());
    if order == Ordering::Equal || !has_supplementary(a.as_bytes()) && !has_supplementary(b.as_bytes()) {
        return order;
    }
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Whether the text contains a character beyond U+FFFF.
pub fn has_supplementary(bytes: &[u8]) -> bool {
    bytes.iter().any(|b| *b >= 0xF0)
}
