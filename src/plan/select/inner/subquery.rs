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

use super::correlate::{self, Captured, Outside};
use super::quantified::{self, Extreme, Part};
use super::relations::{FOR, ID, Relations, Rows};
use super::sides::{Side, check_size};
use crate::error::{Error, Result, Span};
use crate::mutant::{self, Mutant};
use crate::parse::query::{Relational, Subquery};
use crate::parse::span_of;
use crate::parse::statement::JoinKind;
use crate::plan::nodes::{Compute, call, tuple};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::context::Context;
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::types::{Column, SqlType};
use datafusion::functions_aggregate::expr_fn::{count, first_value};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit, when};
use sqlparser::ast::{BinaryOperator, Expr, Ident};

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

/// Expressions over a plan.
pub(in crate::plan::select) struct Attached {
    pub exprs: Vec<Expr>,
    pub names: Names,
    pub plan: LogicalPlan,
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
                    let value = Box::new(take(expr, wanted, refused));
                    (name.value.clone(), Ask::In { value, negated: *negated })
                }
                [Expr::Identifier(name)] if name.value.starts_with("#found_") => {
                    let value = Box::new(take(expr, wanted, refused));
                    (name.value.replacen("#found_", "#query_", 1), Ask::Found { value })
                }
                _ => return None,
            },
            Expr::AnyOp { left, compare_op, right, .. } | Expr::AllOp { left, compare_op, right } => {
                let name = expression::as_name(right).filter(|name| name.starts_with("#query_"))?.to_owned();
                let any = matches!(part, Expr::AnyOp { .. });
                let value = take(left, wanted, refused);
                match (any, compare_op) {
                    (true, BinaryOperator::Eq) => (name, Ask::In { value: Box::new(value), negated: false }),
                    (false, BinaryOperator::NotEq) => (name, Ask::In { value: Box::new(value), negated: true }),
                    _ => {
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

/// The rows of a query inside, and the columns of the rows around that it names: then its last column is [`FOR`].
struct Inner {
    rows: Rows,
    around: Vec<PlanExpr>,
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

impl Inner {
    fn is_correlated(&self) -> bool {
        !self.around.is_empty()
    }

    /// How many columns the query returns.
    fn width(&self) -> usize {
        self.rows.columns.len() - usize::from(self.is_correlated())
    }

    /// The one column of the query, in the given type.
    fn one(&self, wanted: Option<&SqlType>) -> Result<(PlanExpr, SqlType)> {
        if self.width() != 1 {
            return Err(wrong_width(self.width()));
        }
        self.at(0, wanted)
    }

    /// One of its columns, in the given type.
    fn at(&self, place: usize, wanted: Option<&SqlType>) -> Result<(PlanExpr, SqlType)> {
        let Some(column) = self.rows.columns.get(place) else { return Err(wrong_width(place)) };
        let mut names = Names::new("SELECT", "");
        names.add("#0", place, column.ty.clone());
        let ty = wanted.unwrap_or(&column.ty);
        let typed = scalar::bind_to(&expression::identifier("#0"), &names, Boundary::SelectItem, ty)?;
        Ok((call::call(&typed.program, ty, self.rows.plan.schema()), ty.clone()))
    }

    /// The column that says for which row around a row is.
    fn id(&self) -> Option<PlanExpr> {
        let columns = self.rows.plan.schema().columns();
        self.is_correlated().then(|| PlanExpr::Column(columns[self.width()].clone()))
    }
}

fn wrong_width(width: usize) -> Error {
    Error::statement(format!("a query in the place of a value returns one column, and this one returns {width}"))
}

/// The plan with one more column, and its type.
fn column(want: &Wanted, inner: Inner, attached: &Attached, at: Span) -> Result<(LogicalPlan, SqlType)> {
    let around = inner.around.clone();
    let outer = Outer::new(&attached.plan, around)?;
    match &want.ask {
        Ask::Value => {
            let (value, ty) = inner.one(None)?;
            let mut columns = vec![("#value".to_owned(), value)];
            columns.extend(inner.id().map(|id| (FOR.to_owned(), id)));
            let plan = Compute::plan(columns, inner.rows.plan.clone())?;
            let value = first_value(PlanExpr::Column(plan.schema().columns()[0].clone()), vec![]).alias("#value");
            let rows = count(lit(1_i64)).alias("#rows");
            let group = grouped(&plan);
            let plan = LogicalPlanBuilder::from(plan).aggregate(group, vec![value, rows])?.build()?;
            let value = |side: &Side| Ok(tuple::single(vec![side.right("#value"), side.right("#rows")], &ty, at));
            Ok((outer.with(plan, Vec::new(), &want.column, &value)?, ty))
        }
        Ask::Exists => {
            let mut columns = vec![("#there".to_owned(), lit(true))];
            columns.extend(inner.id().map(|id| (FOR.to_owned(), id)));
            let plan = LogicalPlanBuilder::from(Compute::plan(columns, inner.rows.plan.clone())?);
            let plan = if inner.is_correlated() { plan.distinct()? } else { plan.limit(0, Some(1))? };
            let value = |side: &Side| Ok(side.right("#there").is_not_null());
            Ok((outer.with(plan.build()?, Vec::new(), &want.column, &value)?, SqlType::Boolean))
        }
        Ask::Extreme(extreme) => {
            let (value, ty) = inner.one(None)?;
            let mut columns = vec![("#value".to_owned(), value)];
            columns.extend(inner.id().map(|id| (FOR.to_owned(), id)));
            let plan = Compute::plan(columns, inner.rows.plan.clone())?;
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
            let plan = found(&outer, inner, (value, Some(*negated)), attached, &want.column)?;
            Ok((plan, SqlType::Boolean))
        }
        Ask::Found { value } => Ok((found(&outer, inner, (value, None), attached, &want.column)?, SqlType::Boolean)),
    }
}

/// `#for`, where the plan has it.
fn grouped(plan: &LogicalPlan) -> Vec<PlanExpr> {
    plan.schema().columns().into_iter().filter(|c| c.name == FOR).map(PlanExpr::Column).collect()
}

/// The rows around.
struct Outer {
    plan: LogicalPlan,
    width: usize,
    around: Vec<PlanExpr>,
}

impl Outer {
    fn new(plan: &LogicalPlan, around: Vec<PlanExpr>) -> Result<Outer> {
        Ok(Outer { plan: plan.clone(), width: plan.schema().fields().len(), around })
    }

    /// The rows with what belongs to each of them: one more column, which `value` computes of both.
    fn with(
        &self,
        right: LogicalPlan,
        keys: Vec<(PlanExpr, &str)>,
        name: &str,
        value: &dyn Fn(&Side) -> Result<PlanExpr>,
    ) -> Result<LogicalPlan> {
        let mut keys: Vec<(PlanExpr, String)> = keys.into_iter().map(|(e, n)| (e, n.to_owned())).collect();
        if !self.around.is_empty() {
            keys.push((tuple::tuple(self.around.clone()), FOR.to_owned()));
        }
        let side = Side::join(self.plan.clone(), right, JoinKind::Left, keys, None)?;
        let mut columns: Vec<PlanExpr> = (0..self.width).map(|i| side.left_at(i)).collect();
        columns.push(value(&side)?.alias(name));
        Ok(LogicalPlanBuilder::from(side.plan).project(columns)?.build()?)
    }
}

/// `value [NOT] IN (query)`: true if the query returns it; else NULL if it is NULL or the query returns NULL, and false
/// otherwise. Nothing is in a query without rows, not even NULL.
fn found(
    outer: &Outer,
    inner: Inner,
    (value, negated): (&Expr, Option<bool>),
    attached: &Attached,
    name: &str,
) -> Result<LogicalPlan> {
    let (value, listed) = match value {
        Expr::Tuple(values) => {
            if inner.width() != values.len() {
                let (values, width) = (values.len(), inner.width());
                let text = format!("a row of {values} values is sought in a query that returns {width}");
                return Err(Error::statement(text));
            }
            let pairs = values.iter().enumerate().map(|(place, value)| pair(value, &inner, place, attached));
            let (values, listed) = pairs.collect::<Result<Vec<_>>>()?.into_iter().unzip();
            (tuple::whole_tuple(values), tuple::whole_tuple(listed))
        }
        value => {
            inner.one(None)?;
            pair(value, &inner, 0, attached)?
        }
    };
    let mut columns = vec![("#value".to_owned(), listed)];
    columns.extend(inner.id().map(|id| (FOR.to_owned(), id)));
    let values = Compute::plan(columns, inner.rows.plan.clone())?;
    // First what the value is, once for each row, then the two joins.
    let with_value = {
        let all = outer.plan.schema().columns();
        let mut columns: Vec<(String, PlanExpr)> =
            all.into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
        columns.push(("#sought".to_owned(), value));
        Compute::plan(columns, outer.plan.clone())?
    };
    let around = outer.around.iter().map(|e| by_name(e, &outer.plan, &with_value)).collect::<Result<Vec<_>>>()?;
    let outer = Outer { width: outer.width + 1, plan: with_value, around };
    let sought = |plan: &LogicalPlan| PlanExpr::Column(plan.schema().columns()[outer.width - 1].clone());
    let distinct = LogicalPlanBuilder::from(values.clone()).distinct()?.build()?;
    let matched = |side: &Side| Ok(side.right("#value").is_not_null());
    let plan = outer.with(distinct, vec![(sought(&outer.plan), "#value")], "#matched", &matched)?;
    let only = |plan: LogicalPlan, width: usize| -> Result<LogicalPlan> {
        let columns = plan.schema().columns();
        let last = columns.len() - 1;
        let kept = (0..width).map(|i| PlanExpr::Column(columns[i].clone()));
        let answer = PlanExpr::Column(columns[last].clone()).alias(name);
        Ok(LogicalPlanBuilder::from(plan).project(kept.chain([answer]))?.build()?)
    };
    let Some(negated) = negated else { return only(plan, outer.width - 1) };
    let around = outer.around.iter().map(|e| by_name(e, &outer.plan, &plan)).collect::<Result<Vec<_>>>()?;
    let outer = Outer { plan, width: outer.width + 1, around };
    let group = grouped(&values);
    let first = PlanExpr::Column(values.schema().columns()[0].clone());
    let counts = vec![count(lit(1_i64)).alias("#rows"), count(first).alias("#known")];
    let counts = LogicalPlanBuilder::from(values).aggregate(group, counts)?.build()?;
    let width = outer.width - 2;
    let answer = |side: &Side| {
        let (rows, known) = (side.right("#rows"), side.right("#known"));
        let none = rows.clone().is_null().or(rows.clone().eq(lit(0_i64)));
        let unknown = side.left_at(width).is_null().or(rows.gt(known));
        let null = PlanExpr::Literal(datafusion::common::ScalarValue::Boolean(None), None);
        Ok(when(side.left_at(width + 1), lit(!negated))
            .when(none, lit(negated))
            .when(unknown, if mutant::on(Mutant::UnknownIsTrue) { lit(true) } else { null })
            .otherwise(lit(negated))?)
    };
    only(outer.with(counts, Vec::new(), name, &answer)?, width)
}

/// A value of the rows around and a column of the query, in one type.
fn pair(value: &Expr, inner: &Inner, place: usize, attached: &Attached) -> Result<(PlanExpr, PlanExpr)> {
    let Typed { ty, .. } = scalar::bind(value, &attached.names, Boundary::SelectItem)?;
    let (_, listed) = inner.at(place, None)?;
    let common = ty.common(&listed).ok_or_else(|| {
        Error::statement(format!(
            "Cannot compare {} ({ty}) to the values of a query ({listed})",
            expression::text(value)
        ))
        .with_hint("CAST one of them")
    })?;
    let (listed, _) = inner.at(place, Some(&common))?;
    let Typed { program, .. } = scalar::bind_to(value, &attached.names, Boundary::SelectItem, &common)?;
    Ok((call::call(&program, &common, attached.plan.schema()), listed))
}

/// A column of one plan in another one that begins with its columns.
fn by_name(expr: &PlanExpr, from: &LogicalPlan, to: &LogicalPlan) -> Result<PlanExpr> {
    let PlanExpr::Column(column) = expr else { return Err(Error::bug(format!("{expr} is no column"))) };
    let place = call::index(column, from.schema())?;
    Ok(PlanExpr::Column(to.schema().columns()[place].clone()))
}
