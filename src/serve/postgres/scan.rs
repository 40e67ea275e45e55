//! The words of a statement with their places: enough to recognise what a client says beside its queries, and to find
//! parameters and quoted names, in any dialect. It parses nothing.

use crate::error::Span;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Token<'a> {
    /// A keyword or a plain name, as written.
    Word(&'a str),
    /// A name in double quotes or back quotes, without them.
    Quoted(String),
    /// A string, without its quotes.
    Text(String),
    Number(&'a str),
    /// `$n`
    Parameter(usize),
    Symbol(char),
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub(in crate::serve) fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own.eq_ignore_ascii_case(word))
    }

    /// A name as SQL reads it: in lower case unless it is quoted. Numbers and texts are taken, too: values of SET.
    pub(in crate::serve) fn name(&self) -> Option<String> {
        Some(match self {
            Token::Word(word) => word.to_lowercase(),
            Token::Quoted(name) | Token::Text(name) => name.clone(),
            Token::Number(number) => (*number).to_owned(),
            Token::Parameter(_) | Token::Symbol(_) => return None,
        })
    }
}

/// The tokens of a text, one by one.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// All tokens of a text.
pub(in crate::serve) fn scan(text: &str) -> Scanner<'_> {
    Scanner { text, at: 0 }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = (Token<'a>, Span);

    fn next(&mut self) -> Option<(Token<'a>, Span)> {
        self.skip_blank();
        let (text, start) = (self.text, self.at);
        let first = text[start..].chars().next()?;
        let rest = &text[start..];
        let token = match first {
            '\'' => Token::Text(self.quoted('\'', false)),
            'e' | 'E' if rest[1..].starts_with('\'') => {
                self.at += 1;
                Token::Text(self.quoted('\'', true))
            }
            '"' | '`' => Token::Quoted(self.quoted(first, false)),
            '$' => self.dollar(),
            c if c.is_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(rest.len());
                self.at += end;
                Token::Word(&rest[..end])
            }
            c if c.is_ascii_digit() => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(rest.len());
                self.at += end;
                Token::Number(&rest[..end])
            }
            c => {
                self.at += c.len_utf8();
                Token::Symbol(c)
            }
        };
        Some((token, Span::new(start, self.at)))
    }
}

impl<'a> Scanner<'a> {
    /// The place of the next token.
    pub(in crate::serve) fn rest(&self) -> usize {
        let mut ahead = self.clone();
        ahead.skip_blank();
        ahead.at
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            let rest = &rest[blank..];
            let comment = match rest {
                _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
                _ => return,
            };
            self.at += comment;
        }
    }

    /// What is in quotes; doubled ones mean themselves. A text that is not closed ends with the statement.
    fn quoted(&mut self, quote: char, escapes: bool) -> String {
        let mut inner = String::new();
        self.at += 1;
        let mut chars = self.text[self.at..].char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if escapes => match chars.next() {
                    Some((_, 'n')) => inner.push('\n'),
                    Some((_, 't')) => inner.push('\t'),
                    Some((_, other)) => inner.push(other),
                    None => {}
                },
                c if c == quote => match chars.peek() {
                    Some((_, next)) if *next == quote => {
                        chars.next();
                        inner.push(quote);
                    }
                    _ => {
                        self.at += at + 1;
                        return inner;
                    }
                },
                other => inner.push(other),
            }
        }
        self.at = self.text.len();
        inner
    }

    /// `$1`, `$tag$ ... $tag$`, or a dollar sign.
    fn dollar(&mut self) -> Token<'a> {
        let rest = &self.text[self.at + 1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if let Ok(number) = rest[..digits].parse() {
            self.at += 1 + digits;
            return Token::Parameter(number);
        }
        let tag = rest.find('$').filter(|end| rest[..*end].chars().all(|c| c.is_alphanumeric() || c == '_'));
        if let Some(tag) = tag {
            let (mark, body) = (&self.text[self.at..self.at + tag + 2], &rest[tag + 1..]);
            if let Some(end) = body.find(mark) {
                self.at += 2 * mark.len() + end;
                return Token::Text(body[..end].to_owned());
            }
        }
        self.at += 1;
        Token::Symbol('$')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_places() {
        let text = "SELECT /* $9 */ \"a\"\"b\", 'it''s', $1 -- '\n, E'\\'' , $x$ '$1' $x$ , ${v}";
        let tokens: Vec<_> = scan(text).map(|(token, _)| token).collect();
        let comma = Token::Symbol(',');
        let expected = [
            Token::Word("SELECT"),
            Token::Quoted("a\"b".to_owned()),
            comma.clone(),
            Token::Text("it's".to_owned()),
            comma.clone(),
            Token::Parameter(1),
            comma.clone(),
            Token::Text("'".to_owned()),
            comma.clone(),
            Token::Text(" '$1' ".to_owned()),
            comma,
            Token::Symbol('$'),
            Token::Symbol('{'),
            Token::Word("v"),
            Token::Symbol('}'),
        ];
        assert_eq!(tokens, expected);
        assert!(
            scan(text)
                .all(|(token, span)| !matches!(token, Token::Parameter(1)) || &text[span.start..span.end] == "$1")
        );
    }

    #[test]
    fn unclosed_texts_end_with_the_statement() {
        for text in ["'a", "\"차", "/* x", "$a$ b", "e'\\", "$", "-- x", "'a\\'", "$99999999999999999999999"] {
            assert!(scan(text).count() < 8, "{text}");
        }
    }
}
