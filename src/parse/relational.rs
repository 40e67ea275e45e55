//! Queries over history as the parser returns them: SELECTs in ksqlDB's grammar, and what SQL puts around them.

use super::print::{expression, write_select};
use super::statement::{Name, Select};
use sqlparser::ast::Expr;
use std::fmt::{Display, Formatter, Result};

/// A query over history: SELECTs in ksqlDB's grammar, and what SQL puts around them.
#[derive(Clone, Debug)]
pub struct Relational {
    /// WITH: each query sees those before it.
    pub with: Vec<(Name, Relational)>,
    /// What is sorted and cut off.
    pub body: Body,
    /// ORDER BY.
    pub order_by: Vec<SortKey>,
    /// LIMIT.
    pub limit: Option<u64>,
    /// Rows that are left out first.
    pub offset: u64,
    /// The same statement as sqlparser reads it, for what our planner cannot plan yet; at the top only.
    pub sql: Option<Box<sqlparser::ast::Query>>,
}

impl PartialEq for Relational {
    /// How sqlparser reads it does not count: it keeps more of how a statement was written.
    fn eq(&self, other: &Relational) -> bool {
        let parts = |query: &Relational| (query.limit, query.offset);
        parts(self) == parts(other)
            && self.with == other.with
            && self.body == other.body
            && self.order_by == other.order_by
    }
}

/// The rows of a [`Relational`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A SELECT.
    Select(Box<SelectBody>),
    /// UNION, INTERSECT, EXCEPT.
    Set {
        /// Which of them.
        operator: SetOperator,
        /// ALL: duplicates stay.
        all: bool,
        /// Left and right.
        sides: Box<[Body; 2]>,
    },
    /// A query in parentheses.
    Nested(Box<Relational>),
}

/// A SELECT inside of a [`Relational`].
#[derive(Clone, Debug, PartialEq)]
pub struct SelectBody {
    /// The SELECT, without EMIT and LIMIT.
    pub select: Select,
    /// DISTINCT.
    pub distinct: bool,
    /// Queries in FROM, under the names by which `select` has them.
    pub derived: Vec<(Name, Relational)>,
}

/// What combines the rows of two queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperator {
    /// UNION.
    Union,
    /// INTERSECT.
    Intersect,
    /// EXCEPT.
    Except,
}

/// One entry of ORDER BY.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// An output column's name or number, or an expression.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST, which is what DESC means by itself.
    pub nulls_first: bool,
}

impl Relational {
    /// Calls `visit` with every SELECT in it.
    pub fn for_each_select(&self, visit: &mut dyn FnMut(&Select)) {
        self.with.iter().for_each(|(_, query)| query.for_each_select(visit));
        self.body.for_each_select(visit);
    }
}

impl Body {
    fn for_each_select(&self, visit: &mut dyn FnMut(&Select)) {
        match self {
            Body::Select(body) => {
                body.derived.iter().for_each(|(_, query)| query.for_each_select(visit));
                visit(&body.select);
            }
            Body::Set { sides, .. } => sides.iter().for_each(|side| side.for_each_select(visit)),
            Body::Nested(query) => query.for_each_select(visit),
        }
    }
}

impl Display for Relational {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (i, (name, query)) in self.with.iter().enumerate() {
            write!(f, "{} {name} AS ({query})", if i == 0 { "WITH" } else { "," })?;
        }
        if !self.with.is_empty() {
            f.write_str(" ")?;
        }
        self.body.fmt(f)?;
        for (i, key) in self.order_by.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { " ORDER BY " } else { ", " }, expression(&key.expr))?;
            f.write_str(if key.descending { " DESC" } else { "" })?;
            if key.nulls_first != key.descending {
                f.write_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" })?;
            }
        }
        if let Some(limit) = self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        if self.offset > 0 { write!(f, " OFFSET {}", self.offset) } else { Ok(()) }
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Body::Select(body) => {
                let from = &body.select.from;
                match body.derived.iter().find(|(name, _)| *name == from.name) {
                    None => write_select(f, &body.select, body.distinct, from),
                    Some((_, query)) => {
                        let alias = from.alias.as_ref().map_or_else(String::new, |alias| format!(" AS {alias}"));
                        write_select(f, &body.select, body.distinct, &format!("({query}){alias}"))
                    }
                }
            }
            Body::Set { operator, all, sides } => {
                let word = match operator {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except => "EXCEPT",
                };
                for (i, side) in sides.iter().enumerate() {
                    if i == 1 {
                        write!(f, " {word}{} ", if *all { " ALL" } else { "" })?;
                    }
                    // What binds otherwise stands in parentheses, and is Nested.
                    side.fmt(f)?;
                }
                Ok(())
            }
            Body::Nested(query) => write!(f, "({query})"),
        }
    }
}
