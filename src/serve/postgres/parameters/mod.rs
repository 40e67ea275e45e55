//! Parameters of statements: where they are, what type they have, and their values as literals.
//!
//! ```text
//! SELECT * FROM s WHERE id = $1 LIMIT $2       $1 is of the type of id, $2 a BIGINT
//! Bind('it''s', 10)                            SELECT * FROM s WHERE id = 'it''s' LIMIT 10
//! ```
//!
//! A type comes from the client (Parse names it by its number), or from the expression next to the parameter (`neighbours`): that
//! expression is planned over the same sources. Values are put into the text as literals (`literals`).

pub(in crate::serve) mod literals;
pub(in crate::serve) mod neighbours;

use super::errors::{Failure, State};
use super::scan::{Token, scan};
use crate::error::Span;

/// Parameters of one statement, as in Postgres.
const PARAMETERS_MAX: usize = 65_535;

/// A text in which parts were replaced, so that its places can be led back.
#[derive(Clone, Debug, Default)]
pub(in crate::serve) struct Filled {
    pub(in crate::serve) text: String,
    /// Place in the new text, and in the old.
    parts: Vec<(Span, Span)>,
}

impl Filled {
    /// The place in the old text.
    pub(in crate::serve) fn original(&self, byte: usize) -> usize {
        let mut shift = 0_isize;
        for (new, old) in &self.parts {
            if byte < new.start {
                break;
            }
            if byte < new.end {
                return old.start;
            }
            shift = old.end as isize - new.end as isize;
        }
        byte.saturating_add_signed(shift)
    }
}

/// The text with each `$n` replaced; `by` gets its number, and whether it is behind LIMIT or OFFSET.
pub(in crate::serve) fn fill(text: &str, mut by: impl FnMut(usize, bool) -> Option<String>) -> Filled {
    let mut after_limit = false;
    rewritten(text, |token| {
        let behind = std::mem::replace(&mut after_limit, token.is("limit") || token.is("offset"));
        match token {
            Token::Parameter(number) => by(*number, behind),
            _ => None,
        }
    })
}

/// The text with each token replaced for which `by` has something else.
pub(in crate::serve) fn rewritten(text: &str, mut by: impl FnMut(&Token<'_>) -> Option<String>) -> Filled {
    let (mut filled, mut from) = (Filled::default(), 0);
    for (token, span) in scan(text) {
        let Some(value) = by(&token) else { continue };
        filled.text.push_str(&text[from..span.start]);
        let start = filled.text.len();
        filled.text.push_str(&value);
        filled.parts.push((Span::new(start, filled.text.len()), span));
        from = span.end;
    }
    filled.text.push_str(&text[from..]);
    filled
}

/// The number of parameters: the largest one.
pub(in crate::serve) fn count(text: &str) -> Result<usize, Failure> {
    let numbers = scan(text).filter_map(|(token, _)| match token {
        Token::Parameter(number) => Some(number),
        _ => None,
    });
    let numbers: Vec<usize> = numbers.collect();
    let count = numbers.iter().copied().max().unwrap_or(0);
    match numbers.iter().all(|number| (1..=PARAMETERS_MAX).contains(number)) {
        true => Ok(count),
        false => Err(Failure::new(State("42P02"), "there is no parameter $0")),
    }
}

/// Parameters that are cast at once, and the types: `$1::oid[]`.
pub(in crate::serve) fn cast_to(text: &str) -> Vec<(usize, String)> {
    let tokens: Vec<_> = scan(text).map(|(token, _)| token).collect();
    let colon = Some(&Token::Symbol(':'));
    let cast = |at: usize| {
        let Token::Parameter(number) = tokens[at] else { return None };
        if (tokens.get(at + 1), tokens.get(at + 2)) != (colon, colon) {
            return None;
        }
        let qualified = tokens.get(at + 4) == Some(&Token::Symbol('.'));
        let place = if qualified { at + 5 } else { at + 3 };
        let array = if tokens.get(place + 1) == Some(&Token::Symbol('[')) { "[]" } else { "" };
        Some((number, tokens.get(place)?.name()? + array))
    };
    (0..tokens.len()).filter_map(cast).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_back_to_the_client_s_text() {
        let text = "SELECT $1, '$2' FROM x LIMIT $10";
        assert_eq!(count(text).ok(), Some(10));
        assert_eq!(
            cast_to("x = any($1::oid[]) AND $2::pg_catalog.text"),
            [(1, "oid[]".to_owned()), (2, "text".to_owned())]
        );
        let filled = fill(text, |number, limit| Some(if limit { "7".to_owned() } else { format!("<<{number}>>") }));
        assert_eq!(filled.text, "SELECT <<1>>, '$2' FROM x LIMIT 7");
        for (new, old) in [(0, 0), (8, 7), (filled.text.find("FROM").unwrap(), text.find("FROM").unwrap())] {
            assert_eq!(filled.original(new), old);
        }
    }
}
