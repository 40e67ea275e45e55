//! Queries inside of expressions: each becomes a column of the rows that the expression sees.
//!
//! ```text
//! WHERE n > (SELECT AVG(n) FROM s)           #query_0: the one value, joined to every row
//! WHERE EXISTS (SELECT * FROM t WHERE t.k = s.k)
//!                                            D: what the rows have in k, each once, with an #id
//!                                            inner query over D and t: for which #id are there rows
//!                                            #exists_0: joined to the rows by their #id
//! ```
//!
//! A correlated query is bound as any other one, over one relation more: D. So whatever a query may say, it may say around a
//! column of the rows outside, and DataFusion sees joins of plain columns.

use super::asked::{Attached, Inner, Outer, by_name, grouped};
use super::correlate::{self, Captured, Outside};
use super::pairs;
use super::quantified::{self, Extreme, Part};
use super::relations::{ID, Relations, Rows};
use super::sides::{Side, check_size};
use crate::error::{Error, Result, Span};
use crate::parse::query::{Relational, Subquery};
use crate::parse::span_of;
use crate::plan::nodes::{Compute, call, tuple};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::context::Context;
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::types::{Column, SqlType};
use datafusion::functions_aggregate::expr_fn::{count, first_value};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator};

/// What is asked of a query.
#[derive(Clone, Debug, PartialEq)]
enum Ask {
    /// Its one value.
    Value,
    /// Whether it returns rows.
    Exists,
    /// Whether it returns this value.
    In { value: Box<Expr>, negated: bool },
    /// The same where NULL means as much as false: a condition of WHERE.
    Found { value: Box<Expr> },
    /// An end of its values, for ANY and ALL.
    Extreme(Extreme),
    /// Whether this row of values and one of its rows meet the condition (`pairs.rs` says what it names).
    Some { row: Vec<Expr>, condition: Box<Expr> },
    /// One of the columns of its one row.
    Cell { place: usize, width: usize },
}

/// A column that an expression needs.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    /// The name of the query in the statement.
    query: String,
    ask: Ask,
    /// The name of the column.
    column: String,
}

impl Context<'_> {
    /// The plan with a column for every query in the expressions, and the expressions over it. `outside` finds a column of the
    /// plan from how a query names it.
    pub(in crate::plan::select) fn attach(
        &self,
        exprs: Vec<Expr>,
        names: &Names,
        plan: LogicalPlan,
        outside: &Outside<'_>,
    ) -> Result<Attached> {
        let mut attached = Attached { exprs, names: names.clone(), plan };
        if self.select.queries.is_empty() {
            return Ok(attached);
        }
        let mut wanted = Vec::new();
        let mut refused = None;
        attached.exprs = attached.exprs.iter().map(|expr| take(expr, &mut wanted, &mut refused)).collect();
        if let Some(error) = refused {
            return Err(error);
        }
        // Domains are taken from the rows as they were: each attached column would double what the next one reads.
        let base = (names.clone(), attached.plan.clone());
        for want in wanted {
            let Some(query) = self.select.queries.iter().find(|q| q.name.value == want.query) else {
                return Err(Error::bug(format!("there is no query {}", want.query)));
            };
            let at = query.name.span;
            let mut inner = inner_rows(query, &base, &self.relations, outside).map_err(|e| e.at(at))?;
            // Columns that were attached before have taken the names of their sources from the others.
            let around = inner.around.iter().map(|column| by_name(column, &base.1, &attached.plan));
            inner.around = around.collect::<Result<_>>()?;
            let (plan, ty) = column(&want, inner, &attached, at).map_err(|e| e.at(at))?;
            check_size(&plan)?;
            let place = attached.plan.schema().fields().len();
            attached.names.add(&want.column, place, ty);
            attached.plan = plan;
        }
        Ok(attached)
    }

    /// A column of the rows before grouping, from how a query names it.
    pub(in crate::plan::select) fn outside(&self, written: &Expr) -> Option<Expr> {
        if let Some(meaning) = &self.written {
            let flat = (meaning.0)(written)?;
            return expression::as_name(&flat).is_some_and(|name| self.names.has(name)).then_some(flat);
        }
        let normal = expression::normal(written, &self.alias);
        expression::as_name(&normal).is_some_and(|name| self.names.has(name)).then_some(normal)
    }
}

/// A condition of WHERE, in which `x IN (query)` need not tell NULL from false.
pub(in crate::plan::select) fn condition(part: &Expr) -> Expr {
    match part {
        Expr::Nested(inner) => condition(inner),
        Expr::InList { expr, list, negated: false } => match list.as_slice() {
            [Expr::Identifier(name)] if name.value.starts_with("#query_") => {
                let name = Expr::Identifier(Ident::with_quote('`', name.value.replacen("#query_", "#found_", 1)));
                Expr::InList { expr: expr.clone(), list: vec![name], negated: false }
            }
            _ => part.clone(),
        },
        _ => part.clone(),
    }
}

/// Is it the name of a query?
pub(in crate::plan::select) fn is_query(name: &str) -> bool {
    ["#query_", "#exists_", "#in_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Does the expression hold a query?
pub(in crate::plan::select) fn has_queries(expr: &Expr) -> bool {
    expression::columns_outside_aggregates(expr).iter().any(|name| is_query(name))
}

/// The same also inside of aggregates.
pub(in crate::plan::select) fn has_queries_inside(expr: &Expr) -> bool {
    expression::written_names(expr).iter().any(|(name, _)| is_query(name))
}

/// The expression with columns in the place of queries.
fn take(expr: &Expr, wanted: &mut Vec<Wanted>, refused: &mut Option<Error>) -> Expr {
    expression::replace(expr, &mut |part| {
        let (query, ask) = match part {
            Expr::Identifier(name) if name.value.starts_with("#exists_") => (name.value.clone(), Ask::Exists),
            Expr::Identifier(name) if name.value.starts_with("#query_") => (name.value.clone(), Ask::Value),
            Expr::InList { expr, list, negated } => match list.as_slice() {
                [Expr::Identifier(name)] if name.value.starts_with("#query_") => {
                    let value = Box::new(sought(expr, wanted, refused));
                    (name.value.clone(), Ask::In { value, negated: *negated })
                }
                [Expr::Identifier(name)] if name.value.starts_with("#found_") => {
                    let value = Box::new(sought(expr, wanted, refused));
                    (name.value.replacen("#found_", "#query_", 1), Ask::Found { value })
                }
                _ => return None,
            },
            Expr::BinaryOp { left, op, right } => return row_compared(left, op, right, wanted, refused),
            Expr::AnyOp { left, compare_op, right, .. } | Expr::AllOp { left, compare_op, right } => {
                let name = query_name(right)?.to_owned();
                let any = matches!(part, Expr::AnyOp { .. });
                let value = sought(left, wanted, refused);
                match (any, compare_op) {
                    (true, BinaryOperator::Eq) => (name, Ask::In { value: Box::new(value), negated: false }),
                    (false, BinaryOperator::NotEq) => (name, Ask::In { value: Box::new(value), negated: true }),
                    _ => {
                        if let Expr::Tuple(row) = value {
                            return row_quantified(row, (compare_op, any), name, wanted, refused);
                        }
                        let mut column = |part: Part| match part {
                            Part::Of(extreme) => want(name.clone(), Ask::Extreme(extreme), wanted),
                            Part::Exists => want(name.clone(), Ask::Exists, wanted),
                        };
                        let compared = quantified::comparison(&value, compare_op, any, &mut column);
                        if compared.is_none() {
                            let error = Error::statement(format!("{compare_op} does not go with ANY or ALL"));
                            refused.get_or_insert(error.at_some(span_of(&**left)));
                        }
                        return compared;
                    }
                }
            }
            _ => return None,
        };
        Some(want(query, ask, wanted))
    })
}

/// The name of an expression that is a column in place of a query.
fn query_name(expr: &Expr) -> Option<&str> {
    expression::as_name(expr).filter(|name| name.starts_with("#query_"))
}

/// A value that is sought in a query; a row of values without further parentheses around it.
fn sought(expr: &Expr, wanted: &mut Vec<Wanted>, refused: &mut Option<Error>) -> Expr {
    match scalar::row_values(expr) {
        Some(values) => Expr::Tuple(values.iter().map(|value| take(value, wanted, refused)).collect()),
        None => take(expr, wanted, refused),
    }
}

/// `(a, b) < (SELECT x, y ...)`: the columns of the query's one row in the place of the query.
fn row_compared(
    left: &Expr,
    op: &BinaryOperator,
    right: &Expr,
    wanted: &mut Vec<Wanted>,
    refused: &mut Option<Error>,
) -> Option<Expr> {
    let (row, query) = match (scalar::row_values(left), scalar::row_values(right)) {
        (Some(row), None) => (row, query_name(right)?),
        (None, Some(row)) => (row, query_name(left)?),
        _ => return None,
    };
    let width = row.len();
    let cells = (0..width).map(|place| want(query.to_owned(), Ask::Cell { place, width }, wanted));
    let cells = Box::new(Expr::Tuple(cells.collect()));
    let row = Box::new(sought(&Expr::Tuple(row.to_vec()), wanted, refused));
    let (left, right) = if scalar::row_values(left).is_some() { (row, cells) } else { (cells, row) };
    Some(Expr::BinaryOp { left, op: op.clone(), right })
}

/// `(a, b) < ANY (query)`: a row of the query meets the comparison. ALL: there is none that does not.
fn row_quantified(
    row: Vec<Expr>,
    (op, any): (&BinaryOperator, bool),
    query: String,
    wanted: &mut Vec<Wanted>,
    refused: &mut Option<Error>,
) -> Option<Expr> {
    let condition = match pairs::comparison(row.len(), op) {
        Ok(condition) => Box::new(condition),
        Err(error) => {
            refused.get_or_insert(error);
            return None;
        }
    };
    let negated = |expr: Box<Expr>| Expr::UnaryOp { op: UnaryOperator::Not, expr };
    Some(match any {
        true => want(query, Ask::Some { row, condition }, wanted),
        false => negated(Box::new(want(query, Ask::Some { row, condition: Box::new(negated(condition)) }, wanted))),
    })
}

/// The column of what is asked of a query.
fn want(query: String, ask: Ask, wanted: &mut Vec<Wanted>) -> Expr {
    if let Some(known) = wanted.iter().find(|w| w.query == query && w.ask == ask) {
        return expression::identifier(&known.column);
    }
    let of_query = matches!(ask, Ask::Value) || query.starts_with("#exists_");
    let (column, expr) = match of_query {
        true => (query.clone(), expression::identifier(&query)),
        false => quantified::name(wanted.len(), &query),
    };
    wanted.push(Wanted { query, ask, column });
    expr
}

fn inner_rows(
    query: &Subquery,
    (names, plan): &(Names, LogicalPlan),
    relations: &Relations<'_>,
    outside: &Outside<'_>,
) -> Result<Inner> {
    let place = Some(query.name.span.start);
    correlated(&query.query, place, (names, plan), relations, outside)
}

/// Binds a query that may name columns of the rows around it.
fn correlated(
    query: &Relational,
    place: Option<usize>,
    (names, plan): (&Names, &LogicalPlan),
    relations: &Relations<'_>,
    outside: &Outside<'_>,
) -> Result<Inner> {
    let alias = relations.numbered("#outer_");
    let Captured { query: rewritten, columns } = correlate::capture(query, relations, &alias, outside)?;
    if columns.is_empty() {
        return Ok(Inner { rows: relations.alone().query(query, place)?, around: Vec::new() });
    }
    let mut domain = Vec::new();
    let mut fields = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        let Typed { program, ty } = scalar::bind(column, names, Boundary::PartitionBy)?;
        if !tuple::is_possible(&ty) {
            let text = format!("a query inside of an expression cannot name {}", expression::text(column));
            return Err(Error::statement(text).with_detail(format!("its type is {ty}")));
        }
        relations.name_outside(&alias, &number.to_string(), expression::text(column));
        domain.push((number.to_string(), call::call(&program, &ty, plan.schema())));
        fields.push(Column::value(number.to_string(), ty));
    }
    let around: Vec<PlanExpr> = domain.iter().map(|(_, expr)| expr.clone()).collect();
    domain.push((ID.to_owned(), tuple::tuple(around.clone())));
    fields.push(Column::value(ID, SqlType::Bytes));
    let distinct = LogicalPlanBuilder::from(Compute::plan(domain, plan.clone())?).distinct()?.build()?;
    let relations = relations.within(alias, Rows { plan: distinct, columns: fields });
    Ok(Inner { rows: relations.query(&rewritten, None)?, around })
}

/// A query in FROM that sees the columns of the sources to its left.
pub(in crate::plan::select) struct Lateral {
    /// Its rows; with [`Lateral::id`] their last column is [`FOR`].
    pub rows: Rows,
    /// What the rows to its left have in the columns that it names.
    pub id: Option<PlanExpr>,
}

/// Binds a LATERAL query over the rows to its left.
pub(in crate::plan::select) fn lateral(
    query: &Relational,
    (names, plan): (&Names, &LogicalPlan),
    relations: &Relations<'_>,
    outside: &Outside<'_>,
) -> Result<Lateral> {
    let inner = correlated(query, None, (names, plan), relations, outside)?;
    let id = (!inner.around.is_empty()).then(|| tuple::tuple(inner.around));
    Ok(Lateral { rows: inner.rows, id })
}

/// The plan with one more column, and its type.
fn column(want: &Wanted, inner: Inner, attached: &Attached, at: Span) -> Result<(LogicalPlan, SqlType)> {
    let around = inner.around.clone();
    let outer = Outer::new(&attached.plan, around)?;
    match &want.ask {
        Ask::Value | Ask::Cell { .. } => {
            let (value, ty) = match &want.ask {
                Ask::Cell { place, width } if inner.width() == *width => inner.at(*place, None)?,
                Ask::Cell { width, .. } => return Err(pairs::other_width(*width, inner.width())),
                _ => inner.one(None)?,
            };
            let plan = inner.computed(vec![("#value".to_owned(), value)])?;
            let value = first_value(PlanExpr::Column(plan.schema().columns()[0].clone()), vec![]).alias("#value");
            let rows = count(lit(1_i64)).alias("#rows");
            let group = grouped(&plan);
            let plan = LogicalPlanBuilder::from(plan).aggregate(group, vec![value, rows])?.build()?;
            let value = |side: &Side| Ok(tuple::single(vec![side.right("#value"), side.right("#rows")], &ty, at));
            Ok((outer.with(plan, Vec::new(), &want.column, &value)?, ty))
        }
        Ask::Exists => {
            let plan = LogicalPlanBuilder::from(inner.computed(vec![("#there".to_owned(), lit(true))])?);
            let plan = if inner.is_correlated() { plan.distinct()? } else { plan.limit(0, Some(1))? };
            let value = |side: &Side| Ok(side.right("#there").is_not_null());
            Ok((outer.with(plan.build()?, Vec::new(), &want.column, &value)?, SqlType::Boolean))
        }
        Ask::Extreme(extreme) => {
            let (value, ty) = inner.one(None)?;
            let plan = inner.computed(vec![("#value".to_owned(), value)])?;
            let value = PlanExpr::Column(plan.schema().columns()[0].clone());
            let (aggregates, ty) = quantified::aggregates(*extreme, value, ty)?;
            let group = grouped(&plan);
            let plan = LogicalPlanBuilder::from(plan).aggregate(group, aggregates)?.build()?;
            let value = |side: &Side| {
                Ok(match extreme {
                    Extreme::Complete => side.right("#rows").eq(side.right("#known")),
                    _ => side.right("#end"),
                })
            };
            Ok((outer.with(plan, Vec::new(), &want.column, &value)?, ty))
        }
        Ask::In { value, negated } => {
            let plan = pairs::found(&outer, &inner, (value, Some(*negated)), attached, &want.column)?;
            Ok((plan, SqlType::Boolean))
        }
        Ask::Found { value } => {
            Ok((pairs::found(&outer, &inner, (value, None), attached, &want.column)?, SqlType::Boolean))
        }
        Ask::Some { row, condition } => {
            Ok((pairs::some(&outer, &inner, (row, condition), attached, &want.column)?, SqlType::Boolean))
        }
    }
}
