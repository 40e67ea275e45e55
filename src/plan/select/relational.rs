//! Queries over history beyond one SELECT: every SELECT in them is bound as ksqlDB's are, and native nodes sort, cut off,
//! compare and combine their columns.
//!
//! ```text
//! [Compute]              without the columns that are there to be sorted by
//! [Limit]                LIMIT, OFFSET
//! [Sort]                 ORDER BY
//! [Distinct, Union ...]  over columns of one type
//! bound SELECT           a name of WITH, or a query in FROM, in the place of its scan
//! ```
//!
//! So a word around a SELECT changes nothing of what its expressions, joins, NULLs and errors mean.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::parse::query::{Body, Distinct, Relational, SetOperator};
use crate::parse::span_of;
use crate::parse::statement::{Condition, Join, JoinKind, Name, Relation, Select, SelectItem};
use crate::plan::nodes::{Compute, call, tuple};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::context::{Bound, Purpose, unique};
use crate::plan::select::expression;
use crate::plan::select::inner::correlate::outer_id;
use crate::plan::select::inner::relations::{FOR, Relations, Rows};
use crate::plan::select::inner::values;
use crate::plan::select::scope::Names;
use crate::plan::{Settings, select};
use crate::types::Column;
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::{Expr as PlanExpr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, SortExpr, lit};
use sqlparser::ast::{Expr, Value, WindowType};

/// Where a column of ORDER BY is.
enum Key {
    /// A column of the result.
    Output(usize),
    /// An expression.
    Computed(Box<Expr>),
}

/// Binds a query; returns its rows and the streams and tables that it reads.
pub(in crate::plan) fn bind(query: &Relational, catalog: &Catalog, settings: &Settings) -> Result<(Rows, Vec<String>)> {
    let relations = Relations::over_history(catalog, settings, rows);
    let rows = rows(query, &relations).map_err(|e| relations.in_words(e))?;
    Ok((rows, relations.reads()))
}

/// Binds a SELECT in ksqlDB's grammar.
pub(in crate::plan) fn bind_select(select: &Select, catalog: &Catalog, settings: &Settings) -> Result<Bound> {
    let relations = Relations::over_history(catalog, settings, rows);
    let bound = select::bind(select, Purpose::Batch, &relations).map_err(|e| relations.in_words(e))?;
    Ok(Bound { reads: relations.reads(), ..bound })
}

/// Binds a query. One that names columns of the rows around it has one column more, which says for which of them a row is.
fn rows(query: &Relational, relations: &Relations<'_>) -> Result<Rows> {
    let relations = relations.with_definitions(&query.with)?;
    let visible = body(&query.body, &relations)?;
    let hidden = usize::from(relations.outer().is_some());
    let width = visible.columns.len() - hidden;
    let first_of = match &query.body {
        Body::Select(select) => select.distinct.by(),
        _ => &[],
    };
    let keys = query.order_by.iter().map(|key| &key.expr).chain(first_of);
    let keys = keys.map(|key| output_key(key, &visible.columns[..width])).collect::<Result<Vec<_>>>()?;
    let (rows, places) = with_keys(query, visible.clone(), keys, &relations)?;
    let columns = rows.plan.schema().columns();
    let sorts = places.iter().zip(&query.order_by).map(|(place, key)| {
        let column = PlanExpr::Column(columns[*place].clone());
        let ty = rows.plan.schema().field(*place).data_type();
        match ty.is_nested() && tuple::is_sortable(ty) {
            true => tuple::ordered(column, key.descending, key.nulls_first).sort(true, false),
            false => SortExpr { expr: column, asc: !key.descending, nulls_first: key.nulls_first },
        }
    });
    let sorts: Vec<SortExpr> = sorts.collect();
    let last = columns.len() - hidden;
    let mut plan = rows.plan;
    if !first_of.is_empty() {
        let groups = places[query.order_by.len()..].iter().copied().chain((hidden > 0).then_some(last));
        let groups = groups.map(|place| PlanExpr::Column(columns[place].clone())).collect();
        plan = cut_each(plan, ("#first", tuple::tuple(groups)), sorts.clone(), (0, Some(1)))?;
    }
    let cut = query.limit.is_some() || query.offset > 0;
    if hidden > 0 && cut {
        plan =
            cut_each(plan, ("#number", PlanExpr::Column(columns[last].clone())), sorts, (query.offset, query.limit))?;
    } else {
        if !sorts.is_empty() {
            plan = LogicalPlanBuilder::from(plan).sort(sorts)?.build()?;
        }
        if cut {
            let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            plan = LogicalPlanBuilder::from(plan).limit(whole(query.offset), query.limit.map(whole))?.build()?;
        }
    }
    let all = plan.schema().columns();
    if all.len() > width + hidden {
        let kept = (0..width).chain((hidden > 0).then_some(last)).map(|place| all[place].clone());
        plan = Compute::plan(kept.map(|c| (c.name.clone(), PlanExpr::Column(c))).collect(), plan)?;
    }
    Ok(Rows { plan, ..visible })
}

/// LIMIT and OFFSET for the rows of each value: for each of the rows around, or what DISTINCT ON keeps.
fn cut_each(
    plan: LogicalPlan,
    (name, each): (&str, PlanExpr),
    sorts: Vec<SortExpr>,
    (offset, limit): (u64, Option<u64>),
) -> Result<LogicalPlan> {
    let number = row_number().partition_by(vec![each]);
    let number = if sorts.is_empty() { number } else { number.order_by(sorts) }.build()?.alias(name);
    let plan = LogicalPlanBuilder::from(plan).window(vec![number])?.build()?;
    let columns = plan.schema().columns();
    let number =
        columns.last().cloned().map(PlanExpr::Column).ok_or_else(|| Error::bug("a window without a column"))?;
    let mut kept = number.clone().gt(lit(offset));
    if let Some(limit) = limit {
        kept = kept.and(number.lt_eq(lit(offset.saturating_add(limit))));
    }
    Ok(LogicalPlanBuilder::from(plan).filter(kept)?.build()?)
}

fn body(body: &Body, relations: &Relations<'_>) -> Result<Rows> {
    match body {
        Body::Select(select) => {
            let rows = one_select(&select.select, relations)?;
            // DISTINCT ON needs the order, and is left to the query around.
            if select.distinct == Distinct::Rows { distinct(rows) } else { Ok(rows) }
        }
        Body::Values(rows) => values::bind(rows, relations),
        Body::Set { operator, all, sides } => {
            let [left, right] = &**sides;
            combine(*operator, *all, side(left, relations)?, side(right, relations)?)
        }
        Body::Nested(query) => rows(query, relations),
    }
}

/// A side of a UNION, INTERSECT or EXCEPT, which has no order of its own.
fn side(side: &Body, relations: &Relations<'_>) -> Result<Rows> {
    match side {
        Body::Select(select) if !select.distinct.by().is_empty() => rows(&Relational::of(side.clone()), relations),
        _ => body(side, relations),
    }
}

/// Binds one SELECT; one with a query around reads also what it names of the rows there.
fn one_select(select: &Select, relations: &Relations<'_>) -> Result<Rows> {
    let around = relations.outer().map(|alias| within(select, alias));
    let bound = select::bind(around.as_ref().unwrap_or(select), Purpose::Batch, relations)?;
    Ok(Rows { plan: bound.plan, columns: bound.value })
}

/// The SELECT with the rows around as its first source, and with the number of the row around as its last column.
fn within(select: &Select, alias: &str) -> Select {
    let mut select = select.clone();
    let span = select.from.name.span;
    let relation =
        Relation { name: Name { value: alias.to_owned(), span }, alias: None, columns: Vec::new(), derived: None };
    let first = std::mem::replace(&mut select.from, relation);
    select.joins.insert(0, Join { kind: JoinKind::Inner, right: first, within: None, on: Condition::Comma });
    let id = outer_id(alias);
    let groups = !select.group_by.is_empty() || select.window.is_some();
    let calls = |item: &SelectItem| match item {
        SelectItem::Expr { expr, .. } => !expression::aggregates(expr).is_empty(),
        _ => false,
    };
    if groups || select.having.is_some() || select.items.iter().any(calls) {
        select.group_by.push(id.clone());
    }
    // Windows of rows are those of one row around.
    for item in &mut select.items {
        if let SelectItem::Expr { expr, .. } = item {
            *expr = over_each(expr, &id);
        }
    }
    select.qualify = select.qualify.as_ref().map(|expr| over_each(expr, &id));
    for (_, spec) in select.windows.iter_mut().filter(|(_, spec)| spec.window_name.is_none()) {
        spec.partition_by.push(id.clone());
    }
    let name = Name { value: FOR.to_owned(), span };
    select.items.push(SelectItem::Expr { expr: id, alias: Some(name), span });
    select
}

/// The expression with calls that go over the rows of one row around.
fn over_each(expr: &Expr, id: &Expr) -> Expr {
    expression::replace(expr, &mut |part| {
        let Expr::Function(function) = part else { return None };
        let Some(WindowType::WindowSpec(spec)) = &function.over else { return None };
        if spec.window_name.is_some() || spec.partition_by.contains(id) {
            return None;
        }
        let mut function = function.clone();
        let mut spec = spec.clone();
        spec.partition_by.push(id.clone());
        function.over = Some(WindowType::WindowSpec(spec));
        Some(Expr::Function(function))
    })
}

/// The rows with a column for every key that is none of theirs, and where each key is.
fn with_keys(
    query: &Relational,
    visible: Rows,
    keys: Vec<Key>,
    relations: &Relations<'_>,
) -> Result<(Rows, Vec<usize>)> {
    let computed: Vec<&Expr> = keys.iter().filter_map(Key::computed).collect();
    let hidden = usize::from(relations.outer().is_some());
    let width = visible.columns.len() - hidden;
    let mut next = width..;
    let mut place = |key: &Key| match key {
        Key::Output(place) => *place,
        Key::Computed(_) => next.next().unwrap_or(width),
    };
    let places: Vec<usize> = keys.iter().map(&mut place).collect();
    if computed.is_empty() {
        return Ok((visible, places));
    }
    if let Body::Select(body) = &query.body
        && body.distinct != Distinct::Rows
    {
        // They see what the SELECT list sees: columns that are not selected, aggregates.
        let mut wider = body.select.clone();
        wider.queries.extend(query.queries.iter().cloned());
        wider.items.extend(computed.iter().enumerate().map(|(n, expr)| SelectItem::Expr {
            expr: (*expr).clone(),
            alias: Some(Name { value: format!("#key_{n}"), span: span_of(*expr).unwrap_or_default() }),
            span: span_of(*expr).unwrap_or_default(),
        }));
        match one_select(&wider, relations) {
            Ok(rows) => return Ok((rows, places)),
            // An expression over the names of the result, perhaps.
            Err(error) if hidden == 0 => {
                return with_computed(visible, &computed).map(|rows| (rows, places)).map_err(|_| error);
            }
            Err(error) => return Err(error),
        }
    }
    if hidden > 0 {
        return Err(Error::statement(
            "ORDER BY of a query that names columns of the rows around it sorts by its columns",
        ));
    }
    Ok((with_computed(visible, &computed)?, places))
}

impl Key {
    fn computed(&self) -> Option<&Expr> {
        match self {
            Key::Output(_) => None,
            Key::Computed(expr) => Some(expr),
        }
    }
}

/// A number is a column's place, a name first of all a column of the result.
fn output_key(key: &Expr, columns: &[Column]) -> Result<Key> {
    let at = |error: Error| error.at_some(span_of(key));
    match key {
        Expr::Value(value) => {
            let Value::Number(number, _) = &value.value else {
                return Err(at(Error::statement("ORDER BY a constant sorts nothing")));
            };
            let place = number.to_string().parse::<usize>().ok().filter(|n| (1..=columns.len()).contains(n));
            let place = place.ok_or_else(|| {
                at(Error::statement(format!("ORDER BY position {number} is not in the SELECT list"))
                    .with_detail(format!("the list has {} columns", columns.len())))
            })?;
            Ok(Key::Output(place - 1))
        }
        Expr::Identifier(name) => match columns.iter().position(|c| c.name == name.value) {
            Some(place) => Ok(Key::Output(place)),
            None => Ok(Key::Computed(Box::new(key.clone()))),
        },
        _ => Ok(Key::Computed(Box::new(key.clone()))),
    }
}

fn distinct(rows: Rows) -> Result<Rows> {
    let plan = LogicalPlanBuilder::from(rows.plan).distinct()?.build()?;
    Ok(Rows { plan, ..rows })
}

/// UNION, INTERSECT, EXCEPT: columns by their places, under the names of the left query, in a type that holds both.
fn combine(operator: SetOperator, all: bool, left: Rows, right: Rows) -> Result<Rows> {
    if left.columns.len() != right.columns.len() {
        return Err(Error::statement(format!(
            "the queries of a UNION, INTERSECT or EXCEPT need as many columns each: {} and {}",
            left.columns.len(),
            right.columns.len()
        )));
    }
    let mut columns = Vec::with_capacity(left.columns.len());
    for (a, b) in left.columns.iter().zip(&right.columns) {
        let common = a.ty.common(&b.ty).ok_or_else(|| {
            Error::statement(format!("column {} is {} in one query and {} in the other", a.name, a.ty, b.ty))
                .with_hint("CAST one of them")
        })?;
        columns.push(Column::value(&a.name, common));
    }
    let (left, right) = (converted(left, &columns)?, converted(right, &columns)?);
    let plan = match operator {
        SetOperator::Union if all && !mutant::on(Mutant::UnionDeduplicates) => {
            LogicalPlanBuilder::from(left).union(right)?.build()?
        }
        SetOperator::Union => LogicalPlanBuilder::from(left).union_distinct(right)?.build()?,
        SetOperator::Intersect if all => each_once(left, right, LogicalPlanBuilder::intersect)?,
        SetOperator::Except if all => each_once(left, right, LogicalPlanBuilder::except)?,
        SetOperator::Intersect => LogicalPlanBuilder::intersect(left, right, false)?,
        SetOperator::Except => LogicalPlanBuilder::except(left, right, false)?,
    };
    Ok(Rows { plan, columns })
}

/// INTERSECT ALL and EXCEPT ALL: equal rows are numbered on both sides, so that each meets one other row at most. (DataFusion's own
/// joins keep a row as often as it is on the left side, or not at all.)
fn each_once(
    left: LogicalPlan,
    right: LogicalPlan,
    combined: fn(LogicalPlan, LogicalPlan, bool) -> datafusion::common::Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let width = left.schema().fields().len();
    let numbered = |plan: LogicalPlan| -> Result<LogicalPlan> {
        let values = plan.schema().columns().into_iter().map(PlanExpr::Column).collect();
        let number = row_number().partition_by(vec![tuple::tuple(values)]).build()?.alias("#number");
        Ok(LogicalPlanBuilder::from(plan).window(vec![number])?.build()?)
    };
    let plan = combined(numbered(left)?, numbered(right)?, false)?;
    let kept = plan.schema().columns().into_iter().take(width);
    Ok(Compute::plan(kept.map(|c| (c.name.clone(), PlanExpr::Column(c))).collect(), plan)?)
}

/// The rows with their columns in these types, under these names.
fn converted(rows: Rows, columns: &[Column]) -> Result<LogicalPlan> {
    let mut names = Names::new("SELECT", "");
    rows.columns.iter().enumerate().for_each(|(i, c)| names.add(&place_name(i), i, c.ty.clone()));
    let mut out = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        let place = expression::identifier(&place_name(i));
        let Typed { program, ty } = scalar::bind_to(&place, &names, Boundary::SelectItem, &column.ty)?;
        out.push((column.name.clone(), call::call(&program, &ty, rows.plan.schema())));
    }
    unique(&mut out);
    Ok(Compute::plan(out, rows.plan)?)
}

/// A name that no column has: two may have the same.
fn place_name(place: usize) -> String {
    format!("#{place}")
}

/// The rows and, behind them, expressions over the names of their columns.
fn with_computed(rows: Rows, computed: &[&Expr]) -> Result<Rows> {
    let mut names = Names::new("ORDER BY", "");
    rows.columns.iter().enumerate().for_each(|(i, c)| names.add(&c.name, i, c.ty.clone()));
    let schema = rows.plan.schema().clone();
    let mut columns: Vec<(String, PlanExpr)> =
        schema.columns().into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
    let mut out = rows.columns.clone();
    for (n, expr) in computed.iter().enumerate() {
        let Typed { program, ty } = scalar::bind(&expression::normal(expr, ""), &names, Boundary::SelectItem)
            .map_err(|e| e.at_some(span_of(*expr)))?;
        let name = format!("#key_{n}");
        columns.push((name.clone(), call::call(&program, &ty, &schema)));
        out.push(Column::value(&name, ty));
    }
    Ok(Rows { plan: Compute::plan(columns, rows.plan)?, columns: out })
}
