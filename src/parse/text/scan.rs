//! Tokens of a text that may be unfinished or wrong: for completion, for the layout of a text, for what an editor asks.
//!
//! ```text
//! SELECT a, 'it''s' FROM `s` -- all     Word Word Mark Text Word Text Comment
//! ```
//!
//! No token is refused, and nothing is looked up. Statements are read by [`parse`](crate::parse::parse), which is stricter.

use crate::error::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A word or a number, without quotes.
    Word,
    /// `'...'`, which may lack its end.
    Text,
    /// A name in back quotes or double quotes, which may lack its end.
    Quoted,
    /// One character of anything else; `->`, `=>`, `::`, `<=`, `>=`, `<>` and `!=` are two.
    Mark,
    /// `-- ...`, without the end of the line.
    LineComment,
    /// `/* ... */`, which may lack its end.
    Comment,
}

/// The tokens of a text with their places, in order; spaces are left out.
pub fn scan(text: &str) -> Vec<(Token, Span)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = token(&text[at..], c);
        tokens.push((token, Span::new(at, at + length)));
        at += length;
    }
    tokens
}

fn token(rest: &str, first: char) -> (Token, usize) {
    let until = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("--") {
        return (Token::LineComment, until(rest.find('\n')));
    }
    if rest.starts_with("/*") {
        return (Token::Comment, until(rest.find("*/").map(|n| n + 2)));
    }
    match first {
        '\'' => (Token::Text, quoted(rest, '\'')),
        '`' | '"' => (Token::Quoted, quoted(rest, first)),
        c if is_word_char(c) => (Token::Word, until(rest.find(|c| !is_word_char(c)))),
        c => {
            let two = ["->", "=>", "::", "<=", ">=", "<>", "!="].iter().any(|mark| rest.starts_with(mark));
            (Token::Mark, if two { 2 } else { c.len_utf8() })
        }
    }
}

/// Length of a quoted text; a doubled quote is one of its characters.
fn quoted(rest: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(n) = rest[at..].find(quote) {
        at += n + 1;
        match rest[at..].starts_with(quote) {
            true => at += 1,
            false => return at,
        }
    }
    rest.len()
}

/// May the character be part of a word without quotes?
pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@' || c == '$'
}

/// Places of the words of a text, in order: what is in quotes or in a comment is none.
pub fn words_of(text: &str) -> impl Iterator<Item = Span> {
    scan(text).into_iter().filter(|(token, _)| *token == Token::Word).map(|(_, span)| span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_but_spaces_is_in_one_token() {
        for text in
            ["SELECT a, 'it''s' FROM `s` -- all\n/* x */ \"", "'open", "/* open", "한국 -> 🐟", "a::b<>1 ${x}", ""]
        {
            let tokens = scan(text);
            let mut at = 0;
            for (_, span) in &tokens {
                assert!(text[at..span.start].trim().is_empty() && span.end > span.start, "{text}: {tokens:?}");
                at = span.end;
            }
            assert!(text[at..].trim().is_empty(), "{text}");
        }
        let kinds: Vec<Token> = scan("a 'it''s' `q` -- c").into_iter().map(|t| t.0).collect();
        assert_eq!(kinds, [Token::Word, Token::Text, Token::Quoted, Token::LineComment]);
    }
}
