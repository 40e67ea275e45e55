//! Places in a text as programs outside count them: in UTF-16 code units, as browsers, JDBC and editors do.
//!
//! ```text
//! SELECT '한국' FROM nosuch    the span of `nosuch` is 21..27 in bytes, 17..23 in UTF-16, line 1, column 18
//! ```
//!
//! Inside of Tidegate a [`Span`] counts bytes. It is converted once, where a text leaves or arrives.

use crate::error::Span;

/// A range of a text in UTF-16 code units, with the line and the column of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First code unit.
    pub start: usize,
    /// One past the last code unit.
    pub end: usize,
    /// Line of the start, from 1.
    pub line: usize,
    /// Column of the start in code units, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a span in its text. A span beyond the end, or within a character, is moved back to where a character begins.
    pub fn of(text: &str, span: Span) -> Place {
        let start = boundary(text, span.start);
        let end = boundary(text, span.end.max(span.start));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            start: utf16(before),
            end: utf16(&text[..end]),
            line: before.matches('\n').count() + 1,
            column: utf16(&before[line_start..]) + 1,
        }
    }
}

/// The byte at which the code unit `at` of a text begins; the end of the text if it has fewer.
pub fn byte_of(text: &str, at: usize) -> usize {
    let mut units = 0;
    for (byte, c) in text.char_indices() {
        if units + c.len_utf16() > at {
            return byte;
        }
        units += c.len_utf16();
    }
    text.len()
}

/// Code units of a text.
pub fn utf16(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_utf16() {
        let text = "SELECT '한국' FROM nosuch";
        let at = text.find("nosuch").unwrap();
        let place = Place::of(text, Span::new(at, at + 6));
        assert_eq!(place, Place { start: 17, end: 23, line: 1, column: 18 });
        assert_eq!(byte_of(text, 17), at);
        let text = "-- 🐟\nSELECT 🐟x";
        let at = text.find('x').unwrap();
        assert_eq!(Place::of(text, Span::new(at, at + 1)), Place { start: 15, end: 16, line: 2, column: 10 });
        assert_eq!(byte_of(text, 4), 3, "the middle of a pair is its start");
        assert_eq!((byte_of(text, 15), byte_of(text, 99)), (at, text.len()));
        assert_eq!(Place::of("한", Span::new(1, 9)), Place { start: 0, end: 1, line: 1, column: 1 });
    }
}
