//! Text to tokens: sqlparser's tokenizer under our dialect, then three changes.
//!
//! - Words without quotes are upper-cased, so that every identifier of every tree carries its catalogue name.
//! - Places are byte offsets: line 1, column = offset + 1. [`super::span_of`] turns a tree's place back into a [`Span`].
//! - A statement whose tree could be too deep to walk, compare or drop on an ordinary stack is refused here, before the
//!   tree exists.

use super::dialect::KsqlDialect;
use super::expansion::{self, QUERY_PARTS_MAX};
use super::span::{bytes_of, tree_span};
use super::syntax_error::SYNTAX_ERROR;
use super::text::split::split;
use crate::error::{Error, Result, Span};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

/// Longest statement: far above any that is written, far below what hurts.
pub const STATEMENT_BYTES_MAX: usize = 1024 * 1024;

/// Most tokens in a statement: a generated INSERT or IN list of tens of thousands of values still passes.
pub const TOKENS_MAX: usize = 100_000;

/// Deepest nesting of parentheses and brackets.
pub const NESTING_MAX: usize = 128;

/// Most operators that may end up below one another in one expression, counted before it is read: dropping a tree of
/// this depth needs less than a tenth of a 2 MiB stack.
pub const OPERATORS_MAX: usize = 1_000;

/// Deepest nesting of queries in queries: reading them again and again to distinguish a join in parentheses from a subquery
/// takes time that doubles with the level.
pub const QUERY_NESTING_MAX: usize = 16;

/// Most UNION, EXCEPT and INTERSECT in a statement: each is one level of the tree.
pub const SET_OPERATIONS_MAX: usize = 64;

/// The tokens of one statement without space and comments, and an upper bound of its tree's depth.
pub(super) fn lex(text: &str) -> Result<(Vec<TokenWithSpan>, usize)> {
    let whole = Span::new(0, text.len());
    if text.len() > STATEMENT_BYTES_MAX {
        return Err(limit("the statement is too long", format!("{} bytes, at most {STATEMENT_BYTES_MAX}", text.len()))
            .at(whole));
    }
    // Before anything else is done with them: a statement of nothing but words is refused in no time.
    check_words(split(text).iter().map(|piece| piece.words).sum(), whole)?;
    let mut offsets = Offsets { text, line: 1, column: 1, byte: 0 };
    let tokens = Tokenizer::new(&KsqlDialect::default(), text).tokenize_with_location().map_err(|e| {
        let start = offsets.seek(e.location);
        Error::statement(format!("{}{}", SYNTAX_ERROR, lower_first(&e.message))).at(Span::new(start, text.len()))
    })?;
    let tokens = without_continuations(tokens);
    let is_word = |token: &Token| !matches!(token, Token::Whitespace(_) | Token::EOF);
    let words = tokens.iter().filter(|t| is_word(&t.token)).count();
    check_words(words, whole)?;
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(words);
    for TokenWithSpan { mut token, span } in tokens {
        if !is_word(&token) {
            continue;
        }
        let (mut start, end) = (offsets.seek(span.start), offsets.seek(span.end));
        // ksqlDB has no suffix for long numbers: `1L` is a name that begins with a digit, and so is what continues from there.
        match &token {
            Token::Number(digits, true) => token = name(format!("{digits}L")),
            Token::Number(digits, false) if is_digits(digits) && follows_name(out.last(), start) => {
                token = name(digits.clone());
            }
            _ => {}
        }
        if let Token::Word(word) = &mut token
            && word.quote_style.is_none()
        {
            word.value.make_ascii_uppercase();
            if let Some((digits, from)) = digits_before(out.last(), start) {
                word.value.insert_str(0, &digits);
                word.keyword = Keyword::NoKeyword;
                start = from;
                out.pop();
            }
        }
        out.push(TokenWithSpan { token, span: tree_span(start, end) });
    }
    quote_digits(&mut out);
    let depth = check_shape(&out)?;
    Ok((out, depth))
}

/// A backslash at the end of a line, with which ksqlDB's prompt continues a statement, is space.
fn without_continuations(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let blank = |token: &Token| matches!(token, Token::Whitespace(Whitespace::Space | Whitespace::Tab));
    for at in 0..tokens.len() {
        if tokens[at].token != Token::Backslash {
            continue;
        }
        let after = tokens[at + 1..].iter().map(|t| &t.token).find(|token| !blank(token));
        let ends_line = matches!(after, None | Some(Token::EOF | Token::Whitespace(Whitespace::Newline)));
        if ends_line {
            tokens[at].token = Token::Whitespace(Whitespace::Space);
        }
    }
    tokens
}

fn check_words(words: usize, whole: Span) -> Result<()> {
    if words > TOKENS_MAX {
        return Err(limit("the statement has too many tokens", format!("{words}, at most {TOKENS_MAX}")).at(whole));
    }
    Ok(())
}

fn limit(message: &str, detail: String) -> Error {
    Error::statement(message).with_detail(detail)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// A word that begins with digits comes as a number and a word without space between them: one name to ksqlDB.
fn digits_before(before: Option<&TokenWithSpan>, start: usize) -> Option<(String, usize)> {
    let TokenWithSpan { token, span } = before?;
    let begun = match token {
        Token::Number(digits, false) if is_digits(digits) => digits,
        Token::Word(word) if word.quote_style.is_none() && word.value.starts_with(|c: char| c.is_ascii_digit()) => {
            &word.value
        }
        _ => return None,
    };
    let at = bytes_of(*span)?;
    (at.end == start).then(|| (begun.clone(), at.start))
}

/// A name that begins with a digit is taken for one in quotes behind a point: printed beside it, its digits would be a number's.
fn quote_digits(tokens: &mut [TokenWithSpan]) {
    for at in 1..tokens.len() {
        let is_behind_point = tokens[at - 1].token == Token::Period;
        if let Token::Word(word) = &mut tokens[at].token
            && is_behind_point
            && word.quote_style.is_none()
            && word.value.starts_with(|c: char| c.is_ascii_digit())
        {
            word.quote_style = Some('`');
        }
    }
}

/// Does a name that begins with a digit end right here?
fn follows_name(before: Option<&TokenWithSpan>, start: usize) -> bool {
    matches!(before, Some(TokenWithSpan { token: Token::Word(_), .. })) && digits_before(before, start).is_some()
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn name(value: String) -> Token {
    Token::Word(Word { value, quote_style: None, keyword: Keyword::NoKeyword })
}

/// Turns the tokenizer's lines and columns, which only grow, into byte offsets in one walk.
struct Offsets<'a> {
    text: &'a str,
    line: u64,
    column: u64,
    byte: usize,
}

impl Offsets<'_> {
    fn seek(&mut self, to: Location) -> usize {
        while (self.line, self.column) < (to.line, to.column) {
            let Some(c) = self.text[self.byte..].chars().next() else { break };
            self.byte += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.byte
    }
}

/// An upper bound of the tree's depth at one level of parentheses: operators of the present part, and the deepest thing
/// in parentheses among its operands.
#[derive(Clone, Copy, Default)]
struct Level {
    is_query: bool,
    operators: usize,
    deepest_part: usize,
    deepest: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.operators + self.deepest_part
    }

    fn next_part(&mut self) {
        self.deepest = self.deepest.max(self.depth());
        self.operators = 0;
        self.deepest_part = 0;
    }
}

/// Refuses what is too deep; returns an upper bound of the tree's depth.
fn check_shape(tokens: &[TokenWithSpan]) -> Result<usize> {
    let mut levels = vec![Level::default()];
    let mut deepest = 0;
    let (mut set_operations, mut selects) = (0, 0);
    let mut after_distinct = false;
    for TokenWithSpan { token, span } in tokens {
        let at = bytes_of(*span).unwrap_or_default();
        let top = levels.last_mut().expect("the outermost level is never popped");
        let mut is_distinct = false;
        match token {
            Token::LParen | Token::LBracket => {
                top.operators += 1;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket => {
                top.next_part();
                let inner = top.deepest + 1;
                if levels.len() > 1 {
                    levels.pop();
                }
                let outer = levels.last_mut().expect("the outermost level is never popped");
                outer.deepest_part = outer.deepest_part.max(inner);
            }
            Token::Comma => top.next_part(),
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => {}
                Keyword::SELECT => {
                    top.is_query = true;
                    top.next_part();
                    selects += 1;
                }
                Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::VALUES => top.next_part(),
                Keyword::FROM if !after_distinct => top.next_part(),
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => set_operations += 1,
                keyword => {
                    is_distinct = keyword == Keyword::DISTINCT;
                    top.operators += 1;
                }
            },
            Token::Number(..) | Token::SingleQuotedString(_) => {}
            _ => top.operators += 1,
        }
        after_distinct = is_distinct;
        deepest = deepest.max(levels.iter().map(Level::depth).sum());
        check_limits(&levels, set_operations, selects).map_err(|e| e.at(at))?;
    }
    Ok(deepest + levels.len())
}

fn check_limits(levels: &[Level], set_operations: usize, selects: usize) -> Result<()> {
    if levels.len() > NESTING_MAX + 1 {
        return Err(limit("the statement is nested too deeply", format!("at most {NESTING_MAX} levels")));
    }
    if levels.iter().filter(|l| l.is_query).count() > QUERY_NESTING_MAX {
        return Err(limit("the queries are nested too deeply", format!("at most {QUERY_NESTING_MAX} levels")));
    }
    if levels.last().is_some_and(|l| l.depth() > OPERATORS_MAX) {
        return Err(limit("the expression is too long", format!("at most {OPERATORS_MAX} operators in a row"))
            .with_hint("IN (...) replaces a chain of OR"));
    }
    if set_operations > SET_OPERATIONS_MAX {
        return Err(limit("the query has too many parts", format!("at most {SET_OPERATIONS_MAX} UNIONs")));
    }
    // Each is a query of its own or one side of a set operation; their trees are large.
    if selects > QUERY_PARTS_MAX as usize + SET_OPERATIONS_MAX {
        return Err(expansion::too_many());
    }
    Ok(())
}
