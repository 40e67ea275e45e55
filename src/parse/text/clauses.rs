//! The clauses of a statement with one SELECT, and where each is in its text: what made a node of a plan can be shown.
//!
//! ```text
//! CREATE TABLE t AS SELECT car, COUNT(*) FROM readings r JOIN cars c ON r.car = c.id WHERE speed > 0 GROUP BY car;
//! ^header           ^select             ^from   ^relations    ^joins                 ^filter         ^group
//! ```
//!
//! The text has been parsed before: here its words are only found. A text with several SELECTs (UNION, a query inside of another
//! one) has no clauses, because a clause of one of them would be taken for that of another.

use super::scan::{Token, scan};
use crate::error::Span;

/// Where the clauses are. What is not written is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clauses {
    /// `CREATE TABLE t WITH (...)`, `INSERT INTO t`: what is before the query.
    pub header: Option<Span>,
    /// `SELECT ...`
    pub select: Option<Span>,
    /// Sources in the order of FROM, with their aliases.
    pub relations: Vec<Span>,
    /// `LEFT JOIN c ON ...`
    pub joins: Vec<Span>,
    /// `WINDOW ...`
    pub window: Option<Span>,
    /// `WHERE ...`
    pub filter: Option<Span>,
    /// `GROUP BY ...`
    pub group: Option<Span>,
    /// `PARTITION BY ...`
    pub partition: Option<Span>,
    /// `HAVING ...`
    pub having: Option<Span>,
    /// `ORDER BY ...`
    pub order: Option<Span>,
    /// `EMIT CHANGES`
    pub emit: Option<Span>,
    /// `LIMIT n`
    pub limit: Option<Span>,
}

/// What a word begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Select,
    From,
    /// A comma between sources, or behind the condition of a join.
    Next,
    Join,
    /// The condition of a join: it ends the source before it.
    On,
    Window,
    Filter,
    Group,
    Partition,
    Having,
    Order,
    Emit,
    Limit,
    /// A clause that makes no node of its own.
    Other,
}

/// Words that stand before JOIN and belong to it.
const JOIN_KINDS: [&str; 7] = ["INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "OUTER"];

impl Clauses {
    /// The clauses of a statement that was parsed; `None` = it has no SELECT, or several.
    pub fn of(text: &str) -> Option<Clauses> {
        let tokens = Tokens::of(text);
        let begins = tokens.begins()?;
        let mut clauses = Clauses::default();
        let first = begins.first()?.0;
        clauses.header = tokens.header(first);
        for (nth, &(at, begin)) in begins.iter().enumerate() {
            let next = begins[nth + 1..].iter();
            let end = next.clone().next().map_or(tokens.0.len(), |(at, _)| *at);
            let span = tokens.span(at, end);
            match begin {
                Begin::Select => clauses.select = span,
                Begin::From | Begin::Next => clauses.relations.extend(tokens.span(at + 1, end)),
                Begin::Join => {
                    let named = tokens.0[at..end].iter().position(|token| token.word == "JOIN")? + at + 1;
                    clauses.relations.extend(tokens.span(named, end));
                    let whole =
                        next.clone().find(|(_, begin)| *begin != Begin::On).map_or(tokens.0.len(), |(at, _)| *at);
                    clauses.joins.extend(tokens.span(at, whole));
                }
                Begin::On | Begin::Other => {}
                Begin::Window => clauses.window = span,
                Begin::Filter => clauses.filter = span,
                Begin::Group => clauses.group = span,
                Begin::Partition => clauses.partition = span,
                Begin::Having => clauses.having = span,
                Begin::Order => clauses.order = span,
                Begin::Emit => clauses.emit = span,
                Begin::Limit => clauses.limit = span,
            }
        }
        Some(clauses)
    }
}

/// A token outside of parentheses, or a group in parentheses.
struct Piece<'a> {
    span: Span,
    text: &'a str,
    /// Its word in upper case; empty = it is none, or it is part of a qualified name.
    word: String,
    /// A SELECT is inside of the parentheses.
    has_select: bool,
}

struct Tokens<'a>(Vec<Piece<'a>>);

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Tokens<'a> {
        let (mut pieces, mut depth): (Vec<Piece<'a>>, usize) = (Vec::new(), 0);
        for (token, span) in scan(text) {
            let said = &text[span.start..span.end];
            match (token, said) {
                (Token::LineComment | Token::Comment, _) => continue,
                (Token::Mark, ";") => break,
                (Token::Mark, ")" | "]") => depth = depth.saturating_sub(1),
                _ => {}
            }
            let is_closing = token == Token::Mark && matches!(said, ")" | "]");
            match pieces.last_mut() {
                Some(group) if depth > 0 || is_closing => {
                    group.span.end = span.end;
                    group.has_select |= token == Token::Word && said.eq_ignore_ascii_case("SELECT");
                }
                before => {
                    let is_part = before.is_some_and(|piece| matches!(piece.text, "." | "->"));
                    let word = if token == Token::Word && !is_part { said.to_uppercase() } else { String::new() };
                    pieces.push(Piece { span, text: said, word, has_select: false });
                }
            }
            if token == Token::Mark && matches!(said, "(" | "[") {
                depth += 1;
            }
        }
        Tokens(pieces)
    }

    fn word(&self, at: usize) -> &str {
        self.0.get(at).map_or("", |piece| piece.word.as_str())
    }

    /// The place of the pieces `from..to`.
    fn span(&self, from: usize, to: usize) -> Option<Span> {
        let (first, last) = (self.0.get(from)?, self.0.get(to.checked_sub(1)?)?);
        (from < to).then(|| Span::new(first.span.start, last.span.end))
    }

    /// What is before the query, without EXPLAIN and without AS.
    fn header(&self, select: usize) -> Option<Span> {
        let from = usize::from(self.word(0) == "EXPLAIN");
        let to = if select > 0 && self.word(select - 1) == "AS" { select - 1 } else { select };
        self.span(from, to).filter(|_| self.word(from) != "WITH")
    }

    /// Where clauses begin, in order; `None` = there is not exactly one SELECT.
    fn begins(&self) -> Option<Vec<(usize, Begin)>> {
        let mut begins: Vec<(usize, Begin)> = Vec::new();
        for at in 0..self.0.len() {
            if self.0[at].has_select || (self.word(at) == "SELECT" && !begins.is_empty()) {
                return None;
            }
            let is_in_from = matches!(begins.last(), Some((_, Begin::From | Begin::Next | Begin::Join | Begin::On)));
            if begins.is_empty() && self.word(at) != "SELECT" {
                continue;
            }
            let Some(begin) = self.begin(at, is_in_from) else { continue };
            let mut from = at;
            if begin == Begin::Join {
                while from > 0 && JOIN_KINDS.contains(&self.word(from - 1)) {
                    from -= 1;
                }
            }
            begins.push((from, begin));
        }
        (!begins.is_empty()).then_some(begins)
    }

    /// What the piece begins, inside of a query.
    fn begin(&self, at: usize, is_in_from: bool) -> Option<Begin> {
        let next = self.word(at + 1);
        Some(match self.word(at) {
            "SELECT" => Begin::Select,
            // IS [NOT] DISTINCT FROM compares.
            "FROM" if self.word(at.wrapping_sub(1)) != "DISTINCT" => Begin::From,
            "JOIN" if is_in_from => Begin::Join,
            "WITHIN" | "ON" | "USING" if is_in_from => Begin::On,
            "WINDOW" if matches!(next, "TUMBLING" | "HOPPING" | "SESSION") => Begin::Window,
            "WINDOW" if self.word(at + 2) == "AS" => Begin::Other,
            "WHERE" => Begin::Filter,
            "GROUP" if next == "BY" => Begin::Group,
            "PARTITION" if next == "BY" => Begin::Partition,
            "HAVING" => Begin::Having,
            "ORDER" if next == "BY" => Begin::Order,
            "EMIT" if matches!(next, "CHANGES" | "FINAL") => Begin::Emit,
            // Else a column of that name.
            "LIMIT" if next == "ALL" || next.starts_with(|c: char| c.is_ascii_digit()) => Begin::Limit,
            "QUALIFY" => Begin::Other,
            "OFFSET" if next.starts_with(|c: char| c.is_ascii_digit()) => Begin::Other,
            _ if is_in_from && self.0[at].text == "," => Begin::Next,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let Some(clauses) = Clauses::of(text) else { return "none".to_owned() };
        let of = |span: Option<Span>| span.map(|span| text[span.start..span.end].to_owned());
        let named = [
            ("header", clauses.header),
            ("select", clauses.select),
            ("window", clauses.window),
            ("filter", clauses.filter),
            ("group", clauses.group),
            ("partition", clauses.partition),
            ("having", clauses.having),
            ("order", clauses.order),
            ("emit", clauses.emit),
            ("limit", clauses.limit),
        ];
        let many =
            |name: &'static str, spans: &[Span]| spans.iter().map(|span| (name, Some(*span))).collect::<Vec<_>>();
        let all = named.into_iter().chain(many("relation", &clauses.relations)).chain(many("join", &clauses.joins));
        all.filter_map(|(name, span)| Some(format!("{name}: {}", of(span)?))).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn clauses_are_found_in_their_text() {
        let text = "-- SELECT of 한국\nexplain CREATE TABLE t WITH (PARTITIONS=1) AS SELECT car, COUNT(*) AS n, \
                    TRIM(LEADING 'x' FROM car) /* FROM */ FROM readings r WINDOW TUMBLING (SIZE 1 HOUR)\n\
                    WHERE a IS NOT DISTINCT FROM b AND s->where = 'GROUP BY' GROUP BY car HAVING COUNT(*) > 1 \
                    EMIT CHANGES; SELECT 1;";
        assert_eq!(
            said(text),
            "header: CREATE TABLE t WITH (PARTITIONS=1)\nselect: SELECT car, COUNT(*) AS n, TRIM(LEADING 'x' FROM car)\n\
             window: WINDOW TUMBLING (SIZE 1 HOUR)\n\
             filter: WHERE a IS NOT DISTINCT FROM b AND s->where = 'GROUP BY'\n\
             group: GROUP BY car\nhaving: HAVING COUNT(*) > 1\nemit: EMIT CHANGES\nrelation: readings r"
        );
        let joined = "INSERT INTO t SELECT * FROM a LEFT OUTER JOIN b x WITHIN 1 HOUR ON a.k = x.k \
                      JOIN c USING (k) PARTITION BY n";
        assert_eq!(
            said(joined),
            "header: INSERT INTO t\nselect: SELECT *\npartition: PARTITION BY n\nrelation: a\nrelation: b x\n\
             relation: c\njoin: LEFT OUTER JOIN b x WITHIN 1 HOUR ON a.k = x.k\njoin: JOIN c USING (k)"
        );
        assert_eq!(
            said("SELECT `FROM`, limit FROM a, b CROSS JOIN c ORDER BY 1 DESC LIMIT 5"),
            "select: SELECT `FROM`, limit\norder: ORDER BY 1 DESC\nlimit: LIMIT 5\nrelation: a\nrelation: b\n\
             relation: c\njoin: CROSS JOIN c"
        );
    }

    #[test]
    fn a_text_without_exactly_one_select_has_none() {
        for text in [
            "SHOW STREAMS",
            "SELECT 1 UNION SELECT 2",
            "SELECT * FROM (SELECT 1)",
            "SELECT * FROM a WHERE k IN (SELECT k FROM b WHERE n = 1)",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "",
        ] {
            assert_eq!(said(text), "none", "{text}");
        }
    }
}
