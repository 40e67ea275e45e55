//! Lengths and positions in UTF-16 units, in which ksqlDB counts: a character beyond U+FFFF has two.
//!
//! ```text
//! 😀ab    length 4; position 3 is a; the part from 1 to 1 is half of a character
//! ```
//!
//! Java keeps such halves and loses them when text is written; texts here are always whole. So half a character becomes the
//! replacement character U+FFFD, which is one unit long: lengths are Java's, whatever was cut.

/// The length of a text.
pub(super) fn length(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(char::len_utf16).sum()
}

/// Appends the units from `start` to `end`, neither of them beyond the text.
pub(super) fn push_slice(text: &str, start: usize, end: usize, out: &mut String) {
    if text.is_ascii() {
        return out.push_str(&text[start..end]);
    }
    if start >= end {
        return;
    }
    let (head, from) = place(text, start);
    let (to, tail) = place(text, end);
    if head < from {
        out.push(char::REPLACEMENT_CHARACTER);
    }
    out.push_str(&text[from..to]);
    if to < tail {
        out.push(char::REPLACEMENT_CHARACTER);
    }
}

/// The units of a byte offset.
pub(super) fn units(text: &str, offset: usize) -> usize {
    length(&text[..offset])
}

/// The byte offsets between which a unit lies: both are its place, or those of the character that it cuts in half.
fn place(text: &str, unit: usize) -> (usize, usize) {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        if units >= unit {
            return (at, at);
        }
        units += c.len_utf16();
        if units > unit {
            return (at, at + c.len_utf8());
        }
    }
    (text.len(), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_the_length_that_was_asked_for() {
        let text = "a😀bé𝄞";
        let all = length(text);
        assert_eq!(all, 7);
        for start in 0..=all {
            for end in start..=all {
                let mut out = String::new();
                push_slice(text, start, end, &mut out);
                assert_eq!(length(&out), end - start, "{start}..{end}: {out}");
            }
        }
        let mut out = String::new();
        push_slice(text, 2, 6, &mut out);
        assert_eq!(out, "\u{fffd}bé\u{fffd}");
        assert_eq!(units(text, 5), 3);
    }
}
