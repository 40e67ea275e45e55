//! What stands in FROM: sources, their joins as continuous queries have them, and all that history alone can join.

use super::writer::{Columns, Form, Writer, is_scalar};
use tidegate::types::SqlType::{self, Bigint, Integer, String as Text};

/// What FROM has.
pub(super) struct Relation {
    pub(super) text: String,
    pub(super) columns: Columns,
    pub(super) form: Form,
    /// What a continuous query has to select first.
    pub(super) key: Option<&'static str>,
    pub(super) splits: bool,
}

impl Writer<'_> {
    pub(super) fn from(&mut self, depth: u32) -> Relation {
        match self.dice.below(if depth == 0 { 6 } else { 16 }) {
            0..=3 => source("s"),
            4 => source("r"),
            5 => {
                let name = self.pick(&["t", "v"]);
                source(name)
            }
            6 => self.as_of(),
            7 => self.within(),
            8 => self.tables(),
            9 => self.common(depth),
            10 => self.cross(),
            11 => self.lateral(),
            12 | 13 => self.joined(depth),
            _ => {
                let inner = self.select(depth - 1);
                let name = self.name("q");
                Relation {
                    text: format!("({}) AS {name}", inner.text),
                    columns: inner.columns,
                    form: Form::History,
                    key: None,
                    splits: false,
                }
            }
        }
    }

    /// A stream with a table as of each row.
    fn as_of(&mut self) -> Relation {
        let kind = self.pick(&["JOIN", "LEFT JOIN", "INNER JOIN"]);
        let text = format!("s {kind} t ON s.k = t.k");
        joined_sources(text, &["s", "t"], Form::Rows, "s.k")
    }

    /// Two streams within a time; only what matches is known before the end.
    fn within(&mut self) -> Relation {
        let kind = self.pick(&["JOIN", "INNER JOIN", "LEFT JOIN", "FULL OUTER JOIN"]);
        let within = self.pick(&["5 SECONDS", "(2 SECONDS, 8 SECONDS)", "1 MINUTE"]);
        let text = format!("s {kind} r WITHIN {within} GRACE PERIOD 10 SECONDS ON s.k = r.k");
        let form = if kind.starts_with('J') || kind.starts_with('I') { Form::Rows } else { Form::History };
        let mut relation = joined_sources(text, &["s", "r"], form.clone(), "s.k");
        if form == Form::History {
            relation.key = None;
        }
        relation
    }

    /// Tables by key and by foreign key.
    fn tables(&mut self) -> Relation {
        match self.dice.below(3) {
            0 => joined_sources("v JOIN t ON v.k = t.k".to_owned(), &["v", "t"], Form::Table(1), "v.k"),
            1 => joined_sources("v LEFT JOIN t ON v.k = t.k".to_owned(), &["v", "t"], Form::Table(1), "v.k"),
            _ => joined_sources("u JOIN t ON u.fk = t.k".to_owned(), &["u", "t"], Form::Table(1), "u.id"),
        }
    }

    /// A name of WITH.
    fn common(&mut self, depth: u32) -> Relation {
        let inner = self.select(depth - 1);
        let name = self.name("w");
        self.with.push((name.clone(), inner.text));
        Relation { text: name, columns: inner.columns, form: Form::History, key: None, splits: false }
    }

    fn cross(&mut self) -> Relation {
        let (text, more): (&str, &[(&str, SqlType)]) = match self.dice.below(4) {
            0 => ("s CROSS JOIN (VALUES (1, 'x'), (2, 'zz')) AS d(p, q)", &[("p", Integer), ("q", Text)]),
            1 => ("s, (VALUES (1), (NULL)) AS d(p)", &[("p", Integer)]),
            2 => ("s JOIN GENERATE_SERIES(1, 3) AS g(p) ON s.n >= g.p", &[("p", Bigint)]),
            _ => ("s CROSS JOIN (SELECT MAX(n) AS p FROM r) AS d", &[("p", Integer)]),
        };
        let mut relation = source("s");
        relation.columns.extend(more.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())));
        Relation { text: text.to_owned(), form: Form::History, key: None, splits: false, ..relation }
    }

    fn lateral(&mut self) -> Relation {
        let (text, ty) = match self.dice.below(3) {
            0 => ("s, LATERAL (SELECT s.n + 1 AS l) AS d", Integer),
            1 => ("s CROSS JOIN LATERAL (SELECT MAX(r.n) AS l FROM r WHERE r.k = s.k) AS d", Integer),
            _ => ("s CROSS JOIN UNNEST(s.a) AS d(l)", Integer),
        };
        let mut relation = source("s");
        relation.columns = relation.columns.into_iter().map(|(name, ty)| (format!("s.{name}"), ty)).collect();
        relation.columns.push(("l".to_owned(), ty));
        Relation { text: text.to_owned(), form: Form::History, key: None, splits: false, ..relation }
    }

    /// Two queries, by several conditions.
    fn joined(&mut self, depth: u32) -> Relation {
        let (left, right) = (self.select(depth - 1), self.select(depth - 1));
        let (a, b) = (self.name("a"), self.name("b"));
        let qualified = |name: &str, columns: &Columns| -> Columns {
            columns.iter().map(|(column, ty)| (format!("{name}.{column}"), ty.clone())).collect()
        };
        let (lefts, rights) = (qualified(&a, &left.columns), qualified(&b, &right.columns));
        let kind = self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "INNER JOIN"]);
        let ty = lefts.iter().map(|c| &c.1).find(|ty| rights.iter().any(|r| r.1 == **ty) && is_scalar(ty)).cloned();
        let on = match &ty {
            Some(ty) => {
                let of = |side: &Columns| side.iter().find(|c| c.1 == *ty).map(|c| c.0.clone()).unwrap_or_default();
                format!("{} = {}", of(&lefts), of(&rights))
            }
            None => format!("{} = {}", self.simple(&lefts, &Integer), self.simple(&rights, &Integer)),
        };
        let more = match self.dice.below(3) {
            0 => format!(" AND {} < {}", self.simple(&lefts, &Integer), self.simple(&rights, &Integer)),
            _ => String::new(),
        };
        Relation {
            text: format!("({}) AS {a} {kind} ({}) AS {b} ON {on}{more}", left.text, right.text),
            columns: lefts.into_iter().chain(rights).collect(),
            form: Form::History,
            key: None,
            splits: false,
        }
    }
}

/// The columns of a source.
fn declared(name: &str) -> Columns {
    let columns: &[(&str, SqlType)] = match name {
        "s" => &[("k", Text), ("w", Text), ("n", Integer), ("b", Bigint)],
        "r" => &[("k", Text), ("n", Integer), ("w", Text)],
        "t" => &[("k", Text), ("name", Text), ("n", Integer)],
        "v" => &[("k", Text), ("m", Integer)],
        _ => &[("id", Integer), ("fk", Text), ("m", Integer)],
    };
    let mut all: Columns = columns.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect();
    if name == "s" {
        all.push(("a".to_owned(), SqlType::Array(Box::new(Integer))));
    }
    all
}

pub(super) fn source(name: &str) -> Relation {
    let is_stream = matches!(name, "s" | "r");
    Relation {
        text: name.to_owned(),
        columns: declared(name),
        form: if is_stream { Form::Rows } else { Form::Table(1) },
        key: Some("k"),
        splits: name == "s",
    }
}

fn joined_sources(text: String, sources: &[&str], form: Form, key: &'static str) -> Relation {
    let qualified = |source: &&str| -> Columns {
        declared(source).into_iter().map(|(name, ty)| (format!("{source}.{name}"), ty)).collect()
    };
    Relation { text, columns: sources.iter().flat_map(qualified).collect(), form, key: Some(key), splits: false }
}
