//! Queries as the parser returns them: a SELECT in ksqlDB's grammar, and what SQL puts around it over history.

use crate::error::Span;
use crate::types::time::Window;
use sqlparser::ast::{Expr, WindowSpec};

/// A name and its place in the statement's text.
#[derive(Clone, Debug)]
pub struct Name {
    /// Upper-cased unless quoted.
    pub value: String,
    /// Its place.
    pub span: Span,
}

impl PartialEq for Name {
    /// The place does not count: a printed statement is parsed again.
    fn eq(&self, other: &Name) -> bool {
        self.value == other.value
    }
}

/// A SELECT in ksqlDB's grammar.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// What is selected.
    pub items: Vec<SelectItem>,
    /// FROM.
    pub from: Relation,
    /// JOINs, left to right.
    pub joins: Vec<Join>,
    /// WINDOW.
    pub window: Option<Window>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY; GROUPING SETS, ROLLUP and CUBE are entries of the list.
    pub group_by: Vec<Expr>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
    /// `WINDOW name AS (...)`: what OVER may name.
    pub windows: Vec<(Name, WindowSpec)>,
    /// QUALIFY: a condition on the results of window functions.
    pub qualify: Option<Expr>,
    /// EMIT; `None` = not written.
    pub emit: Option<Emit>,
    /// LIMIT.
    pub limit: Option<u64>,
}

/// One entry of the SELECT list.
#[derive(Clone, Debug)]
pub enum SelectItem {
    /// `*`
    All,
    /// `alias.*`
    AllOf(Name),
    /// `struct->*`
    AllFields(Expr),
    /// `expr [AS alias]`
    Expr {
        /// Expression.
        expr: Expr,
        /// Its name, if given.
        alias: Option<Name>,
        /// The place of the expression.
        span: Span,
    },
}

impl PartialEq for SelectItem {
    /// The place does not count: a printed statement is parsed again.
    fn eq(&self, other: &SelectItem) -> bool {
        match (self, other) {
            (SelectItem::All, SelectItem::All) => true,
            (SelectItem::AllOf(a), SelectItem::AllOf(b)) => a == b,
            (SelectItem::AllFields(a), SelectItem::AllFields(b)) => a == b,
            (SelectItem::Expr { expr: a, alias: n, .. }, SelectItem::Expr { expr: b, alias: m, .. }) => {
                a == b && n == m
            }
            _ => false,
        }
    }
}

/// A source in FROM.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// Stream or table.
    pub name: Name,
    /// Alias.
    pub alias: Option<Name>,
}

/// A JOIN clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// INNER, LEFT, RIGHT, FULL.
    pub kind: JoinKind,
    /// Joined source.
    pub right: Relation,
    /// WITHIN.
    pub within: Option<Within>,
    /// ON.
    pub on: Expr,
}

/// Kinds of joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// Matches only.
    Inner,
    /// All of the left.
    Left,
    /// All of the right.
    Right,
    /// All of both.
    Full,
}

/// WITHIN (before, after) GRACE PERIOD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Within {
    /// How far the right row may lie before the left one.
    pub before_ms: i64,
    /// How far the right row may lie after the left one.
    pub after_ms: i64,
    /// GRACE PERIOD.
    pub grace_ms: Option<i64>,
}

/// EMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Every change.
    Changes,
    /// One row a window, when it closes.
    Final,
}

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
