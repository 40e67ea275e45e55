//! The layout of a text: keywords in upper case, a clause a line, one space where there were several.
//!
//! ```text
//! select car,count(*) as n   from readings where speed>10 group by car emit changes;
//!
//! SELECT car,count(*) AS n
//! FROM readings
//! WHERE speed>10
//! GROUP BY car
//! EMIT CHANGES;
//! ```
//!
//! Names, texts, numbers and comments stay as they were written. A statement that cannot be parsed, or that would mean something else
//! afterwards, stays as it is.

use super::scan::{Token, scan};
use crate::error::Span;
use crate::parse::types::CustomTypes;
use crate::parse::words::KEYWORDS;
use crate::parse::{Piece, parse_piece, split};

/// Words that begin a line, outside of parentheses.
const CLAUSES: [&str; 19] = [
    "FROM",
    "WHERE",
    "GROUP",
    "PARTITION",
    "HAVING",
    "WINDOW",
    "EMIT",
    "LIMIT",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "CROSS",
    "ORDER",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "QUALIFY",
];
/// Statements that are laid out by clauses; the others stay on their line.
const WITH_CLAUSES: [&str; 4] = ["SELECT", "CREATE", "INSERT", "WITH"];
/// A list of columns that is longer is broken at its commas.
const LINE_CHARS_MAX: usize = 100;

/// Lays a text out. Types with names are those of the catalogue.
pub fn layout(text: &str, types: &CustomTypes) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len() + text.len() / 8), 0);
    for piece in split(text) {
        out.push_str(&text[at..piece.span.start]);
        out.push_str(&statement(piece, types).unwrap_or_else(|| piece.text.to_owned()));
        at = piece.span.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The statement laid out; `None` = it stays as it is.
fn statement(piece: Piece<'_>, types: &CustomTypes) -> Option<String> {
    let printed = |text: &str| {
        let whole = Piece { text, span: Span::new(0, text.len()), ..piece };
        parse_piece(text, whole, types).ok().map(|parsed| parsed.statement.to_string())
    };
    let before = printed(piece.text)?;
    let laid_out = lines(piece.text);
    (printed(&laid_out)? == before).then_some(laid_out)
}

fn lines(text: &str) -> String {
    let tokens = scan(text);
    let word_at = |n: usize| {
        let word = tokens.get(n).filter(|(token, _)| *token == Token::Word);
        word.map(|(_, span)| text[span.start..span.end].to_uppercase()).unwrap_or_default()
    };
    let is_laid_out = WITH_CLAUSES.contains(&word_at(0).as_str());
    let (mut out, mut depth, mut end, mut clause_began) = (String::new(), 0_usize, 0, 0);
    for (n, (token, span)) in tokens.iter().enumerate() {
        let written = &text[span.start..span.end];
        let (upper, last) = (word_at(n), if n > 0 { word_at(n - 1) } else { String::new() });
        let after_comment = n > 0 && tokens[n - 1].0 == Token::LineComment;
        let breaks = depth == 0 && is_laid_out && is_clause(&upper, &last, n);
        if n > 0 && (after_comment || breaks) {
            out.push('\n');
            clause_began = out.len();
        } else if span.start > end || needs_space(&out) && *token == Token::LineComment {
            let is_long = out.len() - clause_began > LINE_CHARS_MAX && out.ends_with(',') && depth == 0 && is_laid_out;
            out.push_str(if is_long { "\n    " } else { " " });
            if is_long {
                clause_began = out.len();
            }
        }
        match written {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_keyword = *token == Token::Word && KEYWORDS.binary_search(&upper.as_str()).is_ok();
        // A field behind a dot or an arrow is a name, whatever it is called.
        let is_part = n > 0 && matches!(&text[tokens[n - 1].1.start..tokens[n - 1].1.end], "." | "->");
        out.push_str(if is_keyword && !is_part { &upper } else { written });
        end = span.end;
    }
    out
}

fn needs_space(out: &str) -> bool {
    !out.is_empty() && !out.ends_with(char::is_whitespace)
}

/// Does the word begin a clause?
fn is_clause(word: &str, last: &str, at: usize) -> bool {
    match word {
        // `LEFT JOIN`, `LEFT OUTER JOIN`, `CREATE ... AS SELECT`, `UNION ALL SELECT`.
        "JOIN" => !["LEFT", "RIGHT", "FULL", "INNER", "OUTER", "CROSS"].contains(&last),
        "SELECT" => at > 0 && last != "EXPLAIN",
        // `IS DISTINCT FROM`, `EXTRACT(... FROM ...)` is in parentheses.
        "FROM" => last != "DISTINCT",
        _ => CLAUSES.contains(&word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(text: &str) -> String {
        layout(text, &CustomTypes::new())
    }

    #[test]
    fn clauses_begin_lines_and_keywords_are_upper_case() {
        assert_eq!(
            laid("select car,count(*) as n   from readings where speed>10 group by car emit changes; show   streams;"),
            "SELECT car,count(*) AS n\nFROM readings\nWHERE speed>10\nGROUP BY car\nEMIT CHANGES; SHOW STREAMS;"
        );
        assert_eq!(
            laid(
                "create table t as select l.id, (select max(a) from x where b = 1) m from l left outer join r on l.id = r.id"
            ),
            "CREATE TABLE t AS\nSELECT l.id, (SELECT max(a) FROM x WHERE b = 1) m\nFROM l\nLEFT OUTER JOIN r ON l.id = r.id"
        );
    }

    #[test]
    fn what_is_not_layout_stays() {
        let text = "-- what '한국' is\nSELECT `from`, 'where  x' -- all\n FROM s; /* end */";
        assert_eq!(laid(text), "-- what '한국' is\nSELECT `from`, 'where  x' -- all\nFROM s; /* end */");
        for text in ["SELEC nonsense   from", "", "  ", "select '"] {
            assert_eq!(laid(text), text);
        }
        let once = laid("select a from s emit changes;");
        assert_eq!(laid(&once), once);
    }
}
