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
    /// Queries inside of its expressions, which name them by columns that no stream can have.
    pub queries: Vec<Subquery>,
}

/// A query inside of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The column that represents it in the expression: `#query_n`, or `#exists_n` for EXISTS.
    pub name: Name,
    /// The query.
    pub query: Relational,
}

/// One entry of the SELECT list.
#[derive(Clone, Debug)]
pub enum SelectItem {
    /// `*`, `alias.*`, `* EXCLUDE (column, ...)`
    Star {
        /// The source, if one is named.
        source: Option<Name>,
        /// What is left out.
        left_out: Vec<Name>,
    },
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
            (SelectItem::Star { source: a, left_out: n }, SelectItem::Star { source: b, left_out: m }) => {
                a == b && n == m
            }
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
    /// Stream or table; of a derived one a name that no stream can have.
    pub name: Name,
    /// Alias.
    pub alias: Option<Name>,
    /// Names for its columns, behind the alias.
    pub columns: Vec<Name>,
    /// What the rows come from, if from no stream or table.
    pub derived: Option<Box<Derived>>,
}

/// Rows in FROM that no stream or table holds.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a relation has it in a box")]
pub enum Derived {
    /// `(query)`, or `LATERAL (query)`, which sees the columns of the sources to its left.
    Query {
        /// It sees the sources to its left.
        lateral: bool,
        /// The query.
        query: Relational,
    },
    /// A table function, or UNNEST: a row for each element of an array.
    Call(Expr),
    /// One row without columns: a SELECT without FROM.
    Nothing,
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
    /// Which rows meet.
    pub on: Condition,
}

/// Which rows of two sources meet.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every join has an expression")]
pub enum Condition {
    /// ON: those for which it is true.
    On(Expr),
    /// USING: those whose columns of these names are equal.
    Using(Vec<Name>),
    /// NATURAL: those whose columns of the same name are equal.
    Natural,
    /// CROSS JOIN: each with each.
    Cross,
    /// A comma: each with each.
    Comma,
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
#[derive(Clone, Debug, PartialEq)]
pub struct Relational {
    /// WITH: each query sees those before it.
    pub with: Vec<Definition>,
    /// What is sorted and cut off.
    pub body: Body,
    /// ORDER BY.
    pub order_by: Vec<SortKey>,
    /// LIMIT.
    pub limit: Option<u64>,
    /// Rows that are left out first.
    pub offset: u64,
    /// Queries inside of ORDER BY.
    pub queries: Vec<Subquery>,
}

/// `name (columns) AS (query)` of WITH.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name.
    pub name: Name,
    /// Names for its columns.
    pub columns: Vec<Name>,
    /// The query.
    pub query: Relational,
}

/// The rows of a [`Relational`].
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A SELECT.
    Select(Box<SelectBody>),
    /// VALUES: rows of expressions without columns.
    Values(Vec<Vec<Expr>>),
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
    pub distinct: Distinct,
}

/// Which rows of a SELECT are left out because of others.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Distinct {
    /// None.
    #[default]
    No,
    /// DISTINCT: those that equal another one.
    Rows,
    /// DISTINCT ON: all but the first, in the order of ORDER BY, of those with equal values of these expressions.
    On(Vec<Expr>),
}

impl Distinct {
    /// The expressions of DISTINCT ON; none for the others.
    pub fn by(&self) -> &[Expr] {
        match self {
            Distinct::On(by) => by,
            Distinct::No | Distinct::Rows => &[],
        }
    }
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
    /// All rows of a body, in no order.
    pub fn of(body: Body) -> Relational {
        Relational { with: Vec::new(), body, order_by: Vec::new(), limit: None, offset: 0, queries: Vec::new() }
    }

    /// Calls `visit` with every SELECT in it.
    pub fn for_each_select(&self, visit: &mut dyn FnMut(&Select)) {
        self.with.iter().for_each(|cte| cte.query.for_each_select(visit));
        self.body.for_each_select(visit);
        self.queries.iter().for_each(|inner| inner.query.for_each_select(visit));
    }
}

impl Body {
    fn for_each_select(&self, visit: &mut dyn FnMut(&Select)) {
        match self {
            Body::Select(body) => body.select.for_each_select(visit),
            Body::Values(_) => {}
            Body::Set { sides, .. } => sides.iter().for_each(|side| side.for_each_select(visit)),
            Body::Nested(query) => query.for_each_select(visit),
        }
    }
}

impl Select {
    /// `SELECT * FROM relation`
    pub fn all_of(from: Relation) -> Select {
        Select {
            items: vec![SelectItem::Star { source: None, left_out: Vec::new() }],
            from,
            joins: Vec::new(),
            window: None,
            filter: None,
            group_by: Vec::new(),
            partition_by: Vec::new(),
            having: None,
            windows: Vec::new(),
            qualify: None,
            emit: None,
            limit: None,
            queries: Vec::new(),
        }
    }

    /// Has it only what ksqlDB's grammar has: no query inside of it, and joins of named sources by ON?
    pub fn is_plain(&self) -> bool {
        let named = |relation: &Relation| relation.derived.is_none() && relation.columns.is_empty();
        let on = |join: &Join| matches!(join.on, Condition::On(_));
        self.queries.is_empty() && self.relations().all(named) && self.joins.iter().all(on)
    }

    /// Calls `visit` with every SELECT in it, itself the last.
    pub fn for_each_select(&self, visit: &mut dyn FnMut(&Select)) {
        for query in self.inner_queries() {
            query.for_each_select(visit);
        }
        visit(self);
    }

    /// What is read, from left to right.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        std::iter::once(&self.from).chain(self.joins.iter().map(|join| &join.right))
    }

    /// The same, to be changed.
    pub fn relations_mut(&mut self) -> impl Iterator<Item = &mut Relation> {
        std::iter::once(&mut self.from).chain(self.joins.iter_mut().map(|join| &mut join.right))
    }

    /// Queries in FROM and in its expressions.
    pub fn inner_queries(&self) -> impl Iterator<Item = &Relational> {
        let derived = self.relations().filter_map(|relation| match relation.derived.as_deref() {
            Some(Derived::Query { query, .. }) => Some(query),
            _ => None,
        });
        derived.chain(self.queries.iter().map(|inner| &inner.query))
    }
}
