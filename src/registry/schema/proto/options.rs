//! The options of a `.proto` text, which its tree does not have: texts that differ in them are two schemas.
//!
//! ```text
//! option java_package = "a.b";  message M { int32 x = 1 [deprecated = true]; }      option java_package="a.b" [deprecated=true]
//! ```

/// All options in the order of the text, without blanks and comments.
pub(super) fn of(text: &str) -> String {
    let text = stripped(text);
    let mut found = String::new();
    for statement in text.split_inclusive([';', '{', '}']) {
        if statement.starts_with("option ") {
            found.push_str(statement);
        } else if let (Some(start), Some(end)) = (statement.find('['), statement.rfind(']'))
            && start < end
        {
            found.push_str(&statement[start..=end]);
        }
    }
    found
}

/// The text without comments, and with blanks only where two words would become one. Strings are kept; a sign of the grammar in
/// one only makes a statement end early, in equal texts at the same place.
fn stripped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut blank = false;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            blank = true;
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
            blank = true;
        } else if c == '"' || c == '\'' {
            let length = string(rest, c);
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            blank = false;
        } else {
            rest = &rest[c.len_utf8()..];
            if c.is_whitespace() {
                blank = true;
                continue;
            }
            if blank && is_word(c) && out.ends_with(is_word) {
                out.push(' ');
            }
            blank = false;
            out.push(c);
        }
    }
    out
}

/// Bytes of the string at the start of the text.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
