//! A range of keys, compared by their bytes: rows outside of it need not be decoded to be left out.
//!
//! ```text
//! id > 'b' AND id <= 'k'     "b"..="k" of the key's bytes     n >= -5     from ff ff ff fb on, signed
//! ```
//!
//! A range may hold too much, never too little: the condition is asked again of what it holds. Only keys in Kafka's own format
//! can be compared by their bytes; Java orders texts by their UTF-16 units, so that texts in which that makes a difference, or which
//! are none, are in every range.

use crate::catalog::{Format, Source};
use crate::types::SqlType;

/// Bounds of a key; both ends belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Numbers, whose first bit is their sign.
    signed: bool,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: KeyRange = KeyRange { signed: false, low: None, high: None };

    /// The keys of this table between those with these bytes.
    pub fn of(source: &Source, low: Option<Vec<u8>>, high: Option<Vec<u8>>) -> KeyRange {
        let [column] = source.schema.key.as_slice() else { return KeyRange::ALL };
        let signed = match (source.key_format, &column.ty) {
            (Format::Kafka, SqlType::Integer | SqlType::Bigint) => true,
            (Format::Kafka, SqlType::String) => false,
            _ => return KeyRange::ALL,
        };
        let comparable = |bound: Option<Vec<u8>>| bound.filter(|bytes| signed || is_plain(bytes));
        KeyRange { signed, low: comparable(low), high: comparable(high) }
    }

    /// Is every key in it?
    pub fn is_all(&self) -> bool {
        self.low.is_none() && self.high.is_none()
    }

    /// Is a key with these bytes, its window left out, in it?
    pub fn has(&self, key: &[u8]) -> bool {
        let above = self.low.as_deref().is_none_or(|low| self.turned(key) >= self.turned(low));
        let below = self.high.as_deref().is_none_or(|high| self.turned(key) <= self.turned(high));
        above && below || !self.signed && !is_plain(key)
    }

    /// What is ordered as the keys are.
    fn turned<'a>(&self, key: &'a [u8]) -> (u8, &'a [u8]) {
        match key {
            [first, rest @ ..] if self.signed => (first ^ 0x80, rest),
            _ => (0, key),
        }
    }
}

/// Texts whose bytes are ordered as Java orders them: nothing from U+E000 on, which begins with 0xEE and above.
fn is_plain(text: &[u8]) -> bool {
    text.is_ascii() || text.iter().all(|byte| *byte < 0xEE) && simdutf8::basic::from_utf8(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::text::compare_utf16;
    use proptest::prelude::*;

    fn range(signed: bool, low: Option<&[u8]>, high: Option<&[u8]>) -> KeyRange {
        let comparable = |bound: Option<&[u8]>| bound.filter(|b| signed || is_plain(b)).map(<[u8]>::to_vec);
        KeyRange { signed, low: comparable(low), high: comparable(high) }
    }

    proptest! {
        #[test]
        fn no_number_of_the_range_is_left_out_and_no_other_is_in_it(key: i32, low: i32, high: i32, near in -2..3) {
            let key = if near == 0 { key } else { low.wrapping_add(near) };
            let [bytes, from, to] = [key, low, high].map(i32::to_be_bytes);
            prop_assert_eq!(range(true, Some(&from), Some(&to)).has(&bytes), low <= key && key <= high);
            prop_assert_eq!(range(true, Some(&from), None).has(&bytes), low <= key);
        }

        #[test]
        fn no_text_of_the_range_is_left_out(key in TEXT, low in TEXT, high in TEXT) {
            let inside = compare_utf16(&low, &key).is_le() && compare_utf16(&key, &high).is_le();
            let told = range(false, Some(low.as_bytes()), Some(high.as_bytes())).has(key.as_bytes());
            prop_assert!(told || !inside);
            let plain = [&key, &low, &high].iter().all(|text| is_plain(text.as_bytes()));
            prop_assert!(!plain || told == inside);
        }
    }

    /// Few letters, so that texts are near one another, of all kinds of length.
    const TEXT: &str = "[ab\u{7f}é가\u{d7ff}\u{e000}\u{ffff}😀]{0,4}";

    #[test]
    fn what_is_no_text_is_in_every_range() {
        assert!(range(false, Some(b"b"), Some(b"c")).has(&[b'z', 0xC0]));
        assert!(!range(false, Some(b"b"), Some(b"c")).has(b"a"));
        assert!(range(false, None, Some(b"c")).has(b""));
        assert!(!range(false, Some(b"\0"), None).has(b""));
    }
}
