//! What standard SQL has and ksqlDB's grammar lacks: one list, with where each of it works.
//!
//! The binder knows the expressions in `extension`, and the sources, joins and queries in `select`. The table in
//! `docs/language.md` is this list, which a test compares.

/// Where an extension works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over history, in push queries and in persistent queries.
    Everywhere,
    /// Over history; a continuous query has this in its place.
    History(&'static str),
}

/// One thing that ksqlDB's grammar lacks.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// How it is written.
    pub syntax: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Where it works.
    pub reach: Reach,
}

const fn everywhere(syntax: &'static str, meaning: &'static str) -> Extension {
    Extension { syntax, meaning, reach: Reach::Everywhere }
}

const fn history(syntax: &'static str, meaning: &'static str, instead: &'static str) -> Extension {
    Extension { syntax, meaning, reach: Reach::History(instead) }
}

/// All of them.
pub const EXTENSIONS: &[Extension] = &[
    everywhere("s ILIKE 'a%'", "LIKE in any case"),
    everywhere("s SIMILAR TO '(a|b)%'", "a constant pattern of SQL's regular expressions"),
    everywhere("s ~ '^a.*z$'", "a regular expression is found in the text; also !~, and in any case ~* and !~*"),
    everywhere("b IS [NOT] TRUE, FALSE, UNKNOWN", "never NULL"),
    everywhere("a IS [NOT] DISTINCT FROM b", "a comparison in which NULL equals NULL"),
    everywhere("x BETWEEN SYMMETRIC a AND b", "the bounds in either order"),
    everywhere("x::INT", "CAST(x AS INT)"),
    everywhere("s || t", "CONCAT(s, t)"),
    everywhere("t + INTERVAL '1' HOUR", "also '1 day 2 hours', and - ; of a DATE, TIME, TIMESTAMP or ROWTIME"),
    everywhere("EXTRACT(YEAR FROM t)", "also QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND, EPOCH"),
    everywhere("date_trunc('hour', t)", "and the other scalar functions of COMPATIBILITY.md's list"),
    everywhere("t AT TIME ZONE 'Asia/Tokyo'", "CONVERT_TZ(t, 'UTC', 'Asia/Tokyo')"),
    everywhere("(a, b) < (1, 2), (a, b) IN ((1, 2))", "rows of values, compared from left to right"),
    everywhere("x = ANY(a)", "x is an element of the array a"),
    everywhere("POSITION('b' IN s)", "INSTR(s, 'b')"),
    everywhere("SUBSTRING(s FROM 2 FOR 3)", "SUBSTRING(s, 2, 3)"),
    everywhere("TRIM(BOTH 'x' FROM s)", "also LEADING and TRAILING"),
    everywhere("OVERLAY(s PLACING 'x' FROM 2 FOR 3)", "s with another text in the place of a part"),
    everywhere("* EXCLUDE (a, b)", "* without some columns; also s.* EXCLUDE (a)"),
    everywhere("FROM (a JOIN b ON ...) JOIN c ON ...", "the first joins in parentheses"),
    history("ON a = b AND c < d", "any conditions, also without an equality", "one equality in ON, and WHERE"),
    history("CROSS JOIN, FROM a, b", "each row with each", "a JOIN on a column that is the same in all rows"),
    history("USING (c), NATURAL JOIN", "equal columns, shown once", "ON a.c = b.c"),
    history("a x JOIN a y", "a source with itself", "a second stream over the same topic"),
    history("FROM (SELECT ...) AS d (x, y)", "a query as a source", "CREATE STREAM or TABLE ... AS SELECT"),
    history("LATERAL (SELECT ...)", "a query that sees the sources to its left", "a JOIN"),
    history("UNNEST(a), GENERATE_SERIES(1, 3)", "rows of an array, in FROM", "EXPLODE in the SELECT list"),
    history("(SELECT ...), [NOT] IN, [NOT] EXISTS", "queries in any expression", "a JOIN with a table"),
    history(
        "< ANY (SELECT ...), = ALL (SELECT ...)",
        "every comparison, with some or all values",
        "a JOIN with a table",
    ),
    history("(a, b) IN (SELECT ...)", "rows of values, sought in a query", "a JOIN with a table"),
    history("VALUES (1, 'a'), TABLE t, SELECT 1", "a query without SELECT or FROM", "INSERT INTO ... VALUES"),
    history("WITH, UNION, INTERSECT, EXCEPT", "queries of queries", "INSERT INTO ... SELECT adds a source to a stream"),
    history("DISTINCT, ORDER BY, LIMIT, OFFSET, FETCH", "of a result that ends", "GROUP BY; LIMIT ends a push query"),
    history(
        "DISTINCT ON (a) ... ORDER BY a, b",
        "the first row for each value of a",
        "GROUP BY with EARLIEST_BY_OFFSET",
    ),
];

/// The list as a table of Markdown.
pub fn table() -> String {
    let mut out = String::from("| written | means | continuous queries |\n|---|---|---|\n");
    for Extension { syntax, meaning, reach } in EXTENSIONS {
        let reach = match reach {
            Reach::Everywhere => "yes".to_owned(),
            Reach::History(instead) => format!("instead: {instead}"),
        };
        let syntax = syntax.replace('|', "\\|");
        out.push_str(&format!("| `{syntax}` | {meaning} | {reach} |\n"));
    }
    out
}
