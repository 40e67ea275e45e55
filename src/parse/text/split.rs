//! Where one statement ends and the next begins, without parsing either.
//!
//! A semicolon ends a statement unless it is inside a `'string'`, a `` `name` ``, a `"name"`, a `-- comment` or a
//! `/* comment */`. Quotes are doubled to mean themselves, so closing and opening again at once needs no special case.

use crate::error::{Error, Result, Span};
use crate::parse::syntax_error::line_and_column;

/// The text of one statement inside a longer text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// From its first to its last character that is neither space nor comment, without the semicolon.
    pub text: &'a str,
    /// Its place in the whole text.
    pub span: Span,
    /// A semicolon followed.
    pub complete: bool,
    /// A lower bound of its number of tokens: every run of text between spaces and commas is at least one.
    pub words: usize,
}

/// The statements of a text, in order; comments and empty statements are left out.
pub fn split(text: &str) -> Vec<Piece<'_>> {
    scan(text).0
}

/// Nothing is left open: every statement ends with a semicolon, every quote and comment is closed. A blank text is
/// complete.
pub fn is_complete(text: &str) -> bool {
    let (pieces, open) = scan(text);
    open.is_none() && pieces.iter().all(|p| p.complete)
}

/// Fails where a block comment is opened that nothing closes: all that follows it would be no part of the text.
pub fn check_comments(text: &str) -> Result<()> {
    let Some(start) = scan(text).1 else { return Ok(()) };
    let (line, column) = line_and_column(text, start);
    Err(Error::statement(format!("comment opened at line {line}:{column} is not closed"))
        .with_hint("close it with */")
        .at(Span::new(start, start + 2)))
}

/// The pieces, and where a block comment begins in which the text ends.
fn scan(text: &str) -> (Vec<Piece<'_>>, Option<usize>) {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    let mut content: Option<Span> = None;
    let mut words = Words::default();
    let mut at = 0;
    while at < bytes.len() {
        let from = at;
        match bytes[at] {
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |n| at + n);
                words.within = false;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => match memchr::memmem::find(&bytes[at + 2..], b"*/") {
                Some(n) => {
                    at += 2 + n + 2;
                    words.within = false;
                    continue;
                }
                None => {
                    push(&mut pieces, text, content, words, false);
                    return (pieces, Some(from));
                }
            },
            b';' => {
                push(&mut pieces, text, content.take(), std::mem::take(&mut words), true);
                at += 1;
                continue;
            }
            quote @ (b'\'' | b'"' | b'`') => {
                at = memchr::memchr(quote, &bytes[at + 1..]).map_or(bytes.len(), |n| at + 1 + n + 1);
                words.go_on();
            }
            space if space.is_ascii_whitespace() => {
                at += 1;
                words.within = false;
                continue;
            }
            b',' => {
                at += 1;
                words.count += 1;
                words.within = false;
            }
            // A mark that editors put in front of a file.
            0xEF if at == 0 && text.starts_with('\u{feff}') => {
                at += '\u{feff}'.len_utf8();
                continue;
            }
            _ => {
                at += 1;
                words.go_on();
            }
        }
        content = Some(Span::new(content.map_or(from, |c| c.start), at));
    }
    push(&mut pieces, text, content, words, false);
    (pieces, None)
}

/// Counts the runs of text between spaces, and commas.
#[derive(Clone, Copy, Default)]
struct Words {
    count: usize,
    within: bool,
}

impl Words {
    fn go_on(&mut self) {
        self.count += usize::from(!self.within);
        self.within = true;
    }
}

fn push<'a>(pieces: &mut Vec<Piece<'a>>, text: &'a str, content: Option<Span>, words: Words, complete: bool) {
    if let Some(span) = content {
        pieces.push(Piece { text: &text[span.start..span.end], span, complete, words: words.count });
    }
}
