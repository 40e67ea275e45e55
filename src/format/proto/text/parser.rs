//! The position in the tokens of a `.proto` text, and what both definitions and options are made of: signs, words, paths, strings.

use super::lexer::Token;
use crate::format::proto::schema::Source;

/// Limit of messages in messages, and of braces in options: protoc's (`Parser`'s recursion limit).
pub(in crate::format::proto) const NESTING_MAX: usize = 32;

/// What was read, or what is wrong.
pub(super) type Read<T> = Result<T, String>;

/// A text as tokens, and what was made of those before `at`.
pub(super) struct Parser {
    pub(super) tokens: Vec<(Token, u32)>,
    pub(super) at: usize,
    pub(super) source: Source,
    /// The file's `features.field_presence` is IMPLICIT.
    pub(super) implicit: bool,
}

impl Parser {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, n: usize) -> Option<&Token> {
        self.tokens.get(self.at + n).map(|(token, _)| token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).map(|(token, _)| token.clone());
        self.at += 1;
        token
    }

    /// "line 3: expected ..., found ..."
    pub(super) fn expected<T>(&self, what: &str) -> Read<T> {
        let last = self.tokens.last().map_or(1, |(_, line)| *line);
        let (found, line) = match self.tokens.get(self.at) {
            Some((Token::Word(word), line)) => (format!("`{word}`"), *line),
            Some((Token::Sign(c), line)) => (format!("`{}`", char::from(*c)), *line),
            Some((Token::Integer(n), line)) => (n.to_string(), *line),
            Some((Token::Float, line)) => ("a number".to_owned(), *line),
            Some((Token::Text(_), line)) => ("a string".to_owned(), *line),
            None => ("the end".to_owned(), last),
        };
        Err(format!("line {line}: expected {what}, found {found}"))
    }

    pub(super) fn is(&self, sign: u8) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    pub(super) fn is_word(&self, n: usize, word: &str) -> bool {
        matches!(self.ahead(n), Some(Token::Word(w)) if w == word)
    }

    /// Takes the sign if it is next.
    pub(super) fn take(&mut self, sign: u8) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: u8) -> Read<()> {
        if self.take(sign) { Ok(()) } else { self.expected(&format!("`{}`", char::from(sign))) }
    }

    pub(super) fn word(&mut self) -> Read<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => self.expected("a name"),
        }
    }

    /// `a.b.c` or `.a.b.c`.
    pub(super) fn path(&mut self) -> Read<String> {
        let mut path = if self.take(b'.') { ".".to_owned() } else { String::new() };
        path += &self.word()?;
        while self.take(b'.') {
            path.push('.');
            path += &self.word()?;
        }
        Ok(path)
    }

    /// A string; adjacent ones are one.
    pub(super) fn text(&mut self) -> Read<String> {
        let Some(Token::Text(_)) = self.peek() else { return self.expected("a string") };
        let mut text = String::new();
        while let Some(Token::Text(part)) = self.peek() {
            text += part;
            self.at += 1;
        }
        Ok(text)
    }
}
