//! Reading one statement word by word: what is next, what was expected instead, and where.

use super::dialect::KsqlDialect;
use super::lex::NESTING_MAX;
use super::span::bytes_of;
use super::syntax_error::{EXPECTING, SYNTAX_ERROR};
use super::tree;
use super::types;
use super::words::{KEYWORDS, RESERVED};
use crate::error::{Error, Result, Span};
use crate::parse::query::{Relational, Subquery};
use crate::parse::statement::Name;
use crate::types::{SqlType, nearest};
use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use std::ops::Range;

/// Reads a query in parentheses: what a reader of expressions and sources does not know by itself.
pub(super) type Nested = fn(&mut Reader<'_>) -> Result<Relational>;

/// A parser over one statement's tokens.
pub(super) struct Reader<'a> {
    pub(super) parser: Parser<'a>,
    pub(super) dialect: &'a KsqlDialect,
    text: &'a str,
    places: Vec<Span>,
    tokens: Vec<TokenWithSpan>,
    /// Queries that were read inside of expressions and belong to no clause yet.
    queries: Vec<Subquery>,
    /// The number of the next name for what has none.
    next_name: usize,
    nested: Nested,
    /// How many queries the one at hand is inside of.
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        dialect: &'a KsqlDialect,
        text: &'a str,
        tokens: Vec<TokenWithSpan>,
        nested: Nested,
    ) -> Reader<'a> {
        let places = tokens.iter().map(|t| bytes_of(t.span).unwrap_or_default()).collect();
        let parser = parser(dialect, tokens.clone());
        Reader { parser, dialect, text, places, tokens, queries: Vec::new(), next_name: 0, nested, depth: 0 }
    }

    /// A query in parentheses.
    pub(super) fn nested_query(&mut self) -> Result<Relational> {
        (self.nested)(self)
    }

    /// Reads what is inside of the parentheses of a query.
    pub(super) fn inside<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Is the query at hand in parentheses?
    pub(super) fn is_inside(&self) -> bool {
        self.depth > 0
    }

    /// The token at a place in the statement.
    pub(super) fn token_at(&self, place: usize) -> &Token {
        self.tokens.get(place).map_or(&Token::EOF, |t| &t.token)
    }

    /// A name that no statement can write by accident.
    pub(super) fn internal_name(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("#{prefix}_{}", self.next_name - 1)
    }

    /// Puts a name in the place of the query that these tokens are, and goes back to the token at `position`.
    pub(super) fn replace(&mut self, range: Range<usize>, subquery: Subquery, position: usize) {
        let mut token = self.tokens[range.start].clone();
        if let Some(last) = self.tokens.get(range.end - 1) {
            token.span.end = last.span.end;
        }
        let name = &subquery.name;
        let word = Word { value: name.value.clone(), quote_style: Some('`'), keyword: Keyword::NoKeyword };
        token.token = Token::Word(word);
        self.tokens.splice(range.clone(), [token]);
        self.places.splice(range, [name.span]);
        self.parser = parser(self.dialect, self.tokens.clone());
        self.skip(position);
        self.queries.push(subquery);
    }

    /// The queries inside of the expressions read since the last call.
    pub(super) fn take_queries(&mut self) -> Vec<Subquery> {
        std::mem::take(&mut self.queries)
    }

    /// Gives queries back that belong to an outer clause.
    pub(super) fn keep_queries(&mut self, queries: Vec<Subquery>) {
        self.queries = queries;
    }

    /// How many tokens were read.
    pub(super) fn position(&self) -> usize {
        self.parser.index().min(self.places.len())
    }

    /// The place of the n-th token from here; behind the last one, the end of the text.
    pub(super) fn place(&self, n: usize) -> Span {
        let end = Span::new(self.text.len(), self.text.len());
        self.places.get(self.position() + n).copied().unwrap_or(end)
    }

    /// From the token at `start` up to what was read last.
    pub(super) fn since(&self, start: usize) -> Span {
        let end = self.position().saturating_sub(1).max(start);
        match (self.places.get(start), self.places.get(end)) {
            (Some(first), Some(last)) => Span::new(first.start, last.end),
            _ => self.place(0),
        }
    }

    pub(super) fn source(&self, span: Span) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    pub(super) fn token(&self, n: usize) -> &Token {
        &self.parser.peek_nth_token_ref(n).token
    }

    /// The n-th token from here as a word without quotes, upper-cased; empty if it is something else.
    pub(super) fn word(&self, n: usize) -> &str {
        match self.token(n) {
            Token::Word(w) if w.quote_style.is_none() => &w.value,
            _ => "",
        }
    }

    pub(super) fn at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(n) == *word)
    }

    pub(super) fn at_end(&self) -> bool {
        *self.token(0) == Token::EOF
    }

    /// How many tokens are left.
    pub(super) fn remaining(&self) -> usize {
        self.places.len() - self.position()
    }

    pub(super) fn skip(&mut self, n: usize) {
        for _ in 0..n {
            self.parser.advance_token();
        }
    }

    /// Reads these words if all of them come next.
    pub(super) fn accept(&mut self, words: &[&str]) -> bool {
        let ahead = self.at_words(words);
        if ahead {
            self.skip(words.len());
        }
        ahead
    }

    /// Reads one of these words if it comes next.
    pub(super) fn accept_any<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().find(|w| **w == self.word(0)).copied()?;
        self.skip(1);
        Some(found)
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.accept(&[word]) {
                return self.unexpected(word, &[word]);
            }
        }
        Ok(())
    }

    pub(super) fn accept_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.accept_token(token) { Ok(()) } else { self.unexpected(&format!("'{token}'"), &[]) }
    }

    pub(super) fn expect_end(&mut self, candidates: &[&str]) -> Result<()> {
        if self.at_end() { Ok(()) } else { self.unexpected("the end of the statement", candidates) }
    }

    /// A name: any word in quotes, or one without that is not reserved.
    pub(super) fn name(&mut self, what: &str) -> Result<Name> {
        let span = self.place(0);
        let value = match self.token(0) {
            Token::Word(w) if w.quote_style.is_some() || !RESERVED.contains(&w.value.as_str()) => w.value.clone(),
            Token::Word(_) => {
                let error: Result<Name> = self.unexpected(what, &[]);
                return error.map_err(|e| match e.hint() {
                    Some(_) => e,
                    None => e.with_hint(format!("quote it to use it as a name: `{}`", self.source(span))),
                });
            }
            _ => return self.unexpected(what, &[]),
        };
        self.skip(1);
        Ok(Name { value, span })
    }

    /// `'text'`
    pub(super) fn string(&mut self, what: &str) -> Result<String> {
        let Token::SingleQuotedString(text) = self.token(0) else { return self.unexpected(what, &[]) };
        let text = text.clone();
        self.skip(1);
        Ok(text)
    }

    /// A whole number that is not negative.
    pub(super) fn count(&mut self, what: &str) -> Result<u64> {
        let Token::Number(text, _) = self.token(0) else { return self.unexpected(what, &[]) };
        let Ok(number) = text.parse::<u64>() else { return self.unexpected(what, &[]) };
        self.skip(1);
        Ok(number)
    }

    pub(super) fn column_type(&mut self) -> Result<SqlType> {
        let read = types::parse_type(&mut self.parser, &self.dialect.types);
        self.lift(read)
    }

    /// One expression, without subqueries.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        let start = self.position();
        let mut expr = self.expr_or_star()?;
        if tree::is_all_fields(&expr) || tree::normalise(&mut expr)? {
            let detail = "->* is allowed only as an entry of the SELECT list";
            return Err(Error::statement("->* is not an expression").with_detail(detail).at(self.since(start)));
        }
        Ok(expr)
    }

    /// One expression or `struct->*`, as a SELECT list has them; not yet normalised.
    pub(super) fn expr_or_star(&mut self) -> Result<Expr> {
        let read = self.parser.parse_expr();
        self.lift(read)
    }

    pub(super) fn list<T>(&mut self, mut entry: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut list = vec![entry(self)?];
        while self.accept_token(&Token::Comma) {
            list.push(entry(self)?);
        }
        Ok(list)
    }

    /// The next token is not allowed here. A word, or the word before it, that is nearly one of `candidates`
    /// is taken for a slip.
    pub(super) fn unexpected<T>(&self, expected: &str, candidates: &[&str]) -> Result<T> {
        let at = self.place(0);
        let found = match self.at_end() {
            true => "the end of the statement".to_owned(),
            false => shown(self.source(at)),
        };
        let error = Error::statement(format!("{SYNTAX_ERROR}Unexpected {found}, expected {expected}")).at(at);
        let slip = |n: &str| match KEYWORDS.binary_search(&n) {
            Ok(_) => None,
            Err(_) => nearest(n, candidates.iter().copied()).filter(|c| !n.is_empty() && *c != n),
        };
        let before = match self.position().checked_sub(1) {
            Some(n) => self.source(self.places[n]).to_ascii_uppercase(),
            None => String::new(),
        };
        let foreign = (self.position() == 0).then(|| foreign(self.word(0))).flatten();
        Err(match slip(self.word(0)).or_else(|| slip(&before)) {
            _ if foreign.is_some() => error.with_hint(foreign.unwrap_or_default()),
            Some(meant) => error.with_hint(format!("did you mean {meant}?")),
            None => error,
        })
    }

    /// The same in ksqlDB's words: one of these would be allowed here.
    pub(super) fn expecting<T>(&self, expected: &str) -> Result<T> {
        Err(Error::statement(format!("{SYNTAX_ERROR}{EXPECTING}{expected}}}")).at(self.place(0)))
    }

    /// The place of the first token behind `end`.
    pub(super) fn behind(&self, end: usize) -> Span {
        let next = self.places.iter().find(|p| p.start >= end).copied();
        next.unwrap_or(Span::new(self.text.len(), self.text.len()))
    }

    /// sqlparser's errors in our words and places.
    pub(super) fn lift<T>(&self, read: Result<T, ParserError>) -> Result<T> {
        let message = match read {
            Ok(value) => return Ok(value),
            Err(ParserError::RecursionLimitExceeded) => {
                let error = Error::statement("the statement is nested too deeply");
                return Err(error.with_detail(format!("at most {NESTING_MAX} levels")).at(self.place(0)));
            }
            Err(ParserError::ParserError(message) | ParserError::TokenizerError(message)) => message,
        };
        // sqlparser knows the operator's precedence, and not what it does.
        if message.starts_with("No infix parser for token") {
            let at = self.since(self.position().saturating_sub(1));
            return Err(Error::statement(format!("operator {} is not supported", self.source(at))).at(at));
        }
        let (message, start) = match message.rsplit_once(" at Line: 1, Column: ") {
            Some((message, column)) => (message, column.parse::<usize>().ok().map(|c| c.saturating_sub(1))),
            None => (message.as_str(), None),
        };
        let index = start.and_then(|s| self.places.binary_search_by_key(&s, |p| p.start).ok());
        let at = match (index, start) {
            (Some(index), _) => self.places[index],
            (None, Some(start)) => Span::new(start.min(self.text.len()), self.text.len()),
            (None, None) => Span::new(self.text.len(), self.text.len()),
        };
        if message.starts_with(EXPECTING) {
            return Err(Error::statement(format!("{SYNTAX_ERROR}{message}")).at(at));
        }
        let Some((expected, _)) = message.strip_prefix("Expected: ").and_then(|m| m.rsplit_once(", found: ")) else {
            return Err(Error::statement(message).at(at));
        };
        let found =
            if at.start == at.end { "the end of the statement".into() } else { format!("'{}'", self.source(at)) };
        Err(Error::statement(format!("{SYNTAX_ERROR}Unexpected {found}, expected {expected}")).at(at))
    }
}

fn parser(dialect: &KsqlDialect, tokens: Vec<TokenWithSpan>) -> Parser<'_> {
    Parser::new(dialect).with_recursion_limit(2 * NESTING_MAX).with_tokens_with_locations(tokens)
}

/// A word of the text, with the number of a letter that looks like another one or like nothing.
fn shown(source: &str) -> String {
    match source.chars().next().filter(|c| !c.is_ascii()) {
        Some(c) => format!("'{source}' (U+{:04X})", u32::from(c)),
        None => format!("'{source}'"),
    }
}

/// What to do instead of a statement that other systems have.
fn foreign(word: &str) -> Option<&'static str> {
    match word {
        "UPDATE" | "MERGE" | "UPSERT" => {
            Some("a table follows its topic: INSERT INTO ... VALUES with the same key replaces a row")
        }
        "DELETE" | "TRUNCATE" => Some(
            "a table follows its topic: a record without a value deletes the row of its key (printf 'KEY:null' | tidegate topic produce TOPIC -k :)",
        ),
        "USE" | "BEGIN" | "COMMIT" | "ROLLBACK" => Some("databases and transactions of statements are not supported"),
        _ => None,
    }
}
