//! Where a cursor is in a statement that may be unfinished: its clause, and the streams and tables that the statement names.
//!
//! ```text
//! SELECT a, | FROM s x JOIN t ON x.b = t.b     an expression, the start of an item; sources S and T, x = S
//! ```

use crate::error::Span;
use crate::parse::text::scan::{Token, scan};

/// What can be at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// Columns and functions.
    Expression,
    /// The properties of WITH.
    With,
    /// The columns of INSERT.
    Columns,
    /// Anything else.
    Other,
}

/// A place in a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) clause: Clause,
    /// The item has just begun: the word that is written is its first.
    pub(super) is_fresh: bool,
    /// Streams and tables that the statement names, as the catalogue spells them.
    pub(super) sources: Vec<String>,
    /// The source that the name before a dot means.
    pub(super) qualifier: Option<String>,
    /// Within WITH: the property whose value is written.
    pub(super) property: Option<String>,
}

/// A token as the catalogue would spell it.
#[derive(Clone, Debug)]
struct Piece {
    token: Token,
    text: String,
    span: Span,
}

impl Place {
    pub(super) fn of(text: &str, at: usize) -> Place {
        let all: Vec<Piece> = scan(text).into_iter().filter_map(|(token, span)| piece(text, token, span)).collect();
        let is_end = |piece: &Piece| piece.text == ";" && piece.token == Token::Mark;
        let first = all.iter().rposition(|piece| is_end(piece) && piece.span.end <= at).map_or(0, |n| n + 1);
        let last = all.iter().position(|piece| is_end(piece) && piece.span.start >= at).unwrap_or(all.len());
        let statement = all.get(first..last).unwrap_or_default();
        let before: Vec<&Piece> =
            statement.iter().filter(|piece| piece.span.end < at || is_before(piece, at)).collect();
        let named = sources(statement);
        let (clause, is_fresh) = clause(&before);
        let qualifier = match before[..] {
            [.., name, dot] if dot.text == "." => Some(name.text.clone()),
            _ => None,
        };
        let meant = |name: String| named.iter().find(|(_, alias)| *alias == name).map(|(source, _)| source.clone());
        Place {
            clause,
            is_fresh,
            qualifier: qualifier.and_then(meant),
            property: property(&before).filter(|_| clause == Clause::With),
            sources: named.into_iter().map(|(source, _)| source).collect(),
        }
    }
}

/// A mark directly before the cursor is complete, a word may still be written.
fn is_before(piece: &Piece, at: usize) -> bool {
    piece.span.end == at && piece.token == Token::Mark
}

fn piece(text: &str, token: Token, span: Span) -> Option<Piece> {
    let written = &text[span.start..span.end];
    let text = match token {
        Token::Word => written.to_uppercase(),
        Token::Quoted => written.trim_matches(['`', '"']).to_owned(),
        Token::Mark | Token::Text => written.to_owned(),
        Token::Comment | Token::LineComment => return None,
    };
    Some(Piece { token, text, span })
}

/// Sources behind FROM, JOIN and INTO, each with the name by which the statement calls it.
fn sources(statement: &[Piece]) -> Vec<(String, String)> {
    let is_name = |piece: &&Piece| matches!(piece.token, Token::Word | Token::Quoted);
    let mut all = Vec::new();
    for (n, piece) in statement.iter().enumerate() {
        let is_source = piece.token == Token::Word && matches!(piece.text.as_str(), "FROM" | "JOIN" | "INTO");
        let Some(source) = statement.get(n + 1).filter(|_| is_source).filter(is_name) else { continue };
        let mut next = statement.get(n + 2);
        if next.is_some_and(|piece| piece.text == "AS") {
            next = statement.get(n + 3);
        }
        let is_alias = |piece: &&Piece| {
            is_name(piece) && crate::parse::words::KEYWORDS.binary_search(&piece.text.as_str()).is_err()
        };
        if let Some(alias) = next.filter(is_alias) {
            all.push((source.text.clone(), alias.text.clone()));
        }
        all.push((source.text.clone(), source.text.clone()));
    }
    let mut seen = std::collections::BTreeSet::new();
    // The pair of a name with itself stays beside that of an alias: both are understood.
    all.retain(|pair| seen.insert(pair.clone()));
    all
}

/// The clause at the end of these tokens, and whether an item has just begun there.
fn clause(before: &[&Piece]) -> (Clause, bool) {
    let mut open = vec![Clause::Other];
    let mut last = "";
    // `INTO name (`: the columns of INSERT.
    let mut target = 0;
    for piece in before {
        let word = piece.text.as_str();
        let now = open.last().copied().unwrap_or(Clause::Other);
        let set = |open: &mut Vec<Clause>, clause| {
            if let Some(top) = open.last_mut() {
                *top = clause;
            }
        };
        match (piece.token, word) {
            (Token::Mark, "(") => open.push(match now {
                _ if last == "WITH" => Clause::With,
                _ if target == 1 => Clause::Columns,
                Clause::Expression => Clause::Expression,
                _ => Clause::Other,
            }),
            (Token::Mark, ")") if open.len() > 1 => _ = open.pop(),
            (
                Token::Word,
                "SELECT" | "WHERE" | "ON" | "BY" | "HAVING" | "QUALIFY" | "AND" | "OR" | "WHEN" | "THEN" | "ELSE",
            ) if now != Clause::With => set(&mut open, Clause::Expression),
            (Token::Word, "FROM" | "JOIN" | "WINDOW" | "EMIT" | "LIMIT" | "WITHIN" | "VALUES" | "INTO")
                if now != Clause::With =>
            {
                set(&mut open, Clause::Other);
            }
            _ => {}
        }
        target = match (last, target) {
            ("INTO", _) => 1,
            _ => 0,
        };
        last = word;
    }
    let is_fresh = matches!(last, "," | "(");
    (open.last().copied().unwrap_or(Clause::Other), is_fresh)
}

/// `NAME =` at the end.
fn property(before: &[&Piece]) -> Option<String> {
    let ended = match before {
        [rest @ .., text] if text.token == Token::Text => rest,
        all => all,
    };
    match ended {
        [.., name, equals] if equals.text == "=" => Some(name.text.clone()),
        _ => None,
    }
}
