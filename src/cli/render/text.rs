//! Cells as text: what is safe on a terminal, and how each format for programs writes a value.

use crate::error::{Error, Result};

/// A DOUBLE is written without an exponent between these magnitudes.
const PLAIN: std::ops::Range<f64> = 1e-5..1e15;

/// Text as JSON.
pub(in crate::cli) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn json_of(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<String> {
    let mut out = Vec::new();
    write(&mut out)?;
    String::from_utf8(out).map_err(|e| Error::bug("a cell is not text").because(e))
}

/// RFC 4180. NULL is nothing at all, an empty text is `""`.
pub(super) fn csv_cell(text: Option<&str>) -> String {
    match text {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    }
}

/// The text format of PostgreSQL's COPY: NULL is `\N`, and a backslash comes before what would end a cell or a line.
pub(super) fn tsv_cell(text: Option<&str>) -> String {
    let Some(text) = text else { return "\\N".to_owned() };
    if !text.contains(['\\', '\t', '\n', '\r']) {
        return text.to_owned();
    }
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

/// A cell of a Markdown table: on one line, with its bars escaped.
pub(super) fn markdown_cell(text: &str) -> String {
    text.replace('|', "\\|").replace("\r\n", "<br>").replace(['\n', '\r'], "<br>")
}

/// `50006659.0` for `5.0006659E7`, the form that ksqlDB gives to large and small numbers.
pub(super) fn plain_number(text: String) -> String {
    if !text.contains(['E', 'e']) {
        return text;
    }
    match text.parse::<f64>() {
        Ok(number) if PLAIN.contains(&number.abs()) => format!("{number:?}"),
        _ => text,
    }
}

/// Data cannot move the cursor, colour the screen or turn the order of what is read around: such characters are shown as
/// escapes.
pub(in crate::cli) fn printable(text: &str) -> String {
    if !text.contains(is_unsafe) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if is_unsafe(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Unicode's control characters and `Bidi_Control`, with which a text reads other than it is.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same for text that we wrote ourselves: it has lines.
pub(super) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain_where_people_read_them_so() {
        let plain = |text: &str| plain_number(text.to_owned());
        assert_eq!((plain("5.0006659E7").as_str(), plain("1.0E-4").as_str()), ("50006659.0", "0.0001"));
        assert_eq!((plain("1.0E15").as_str(), plain("-1.23E8").as_str()), ("1.0E15", "-123000000.0"));
        assert_eq!((plain("1.5").as_str(), plain("Infinity").as_str()), ("1.5", "Infinity"));
    }

    #[test]
    fn formats_for_programs_keep_a_cell_on_one_line() {
        assert_eq!((tsv_cell(None).as_str(), tsv_cell(Some("a\tb\n\\N")).as_str()), ("\\N", "a\\tb\\n\\\\N"));
        assert_eq!(markdown_cell("a|b\nc"), "a\\|b<br>c");
        assert_eq!((csv_cell(None), csv_cell(Some(""))), (String::new(), "\"\"".to_owned()));
    }
}
