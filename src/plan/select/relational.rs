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

use crate::catalog::{Catalog, Format, Source, Wire};
use crate::error::{Error, Result};
use crate::functions::Registry;
use crate::parse::query::{Body, Relational, SelectBody, SetOperator, SortKey};
use crate::parse::span_of;
use crate::parse::statement::{Name, Select, SelectItem, SourceKind};
use crate::plan::nodes::table::{ORDINAL, PRESENT, SourceTable};
use crate::plan::nodes::{Compute, call};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::context::{Purpose, unique};
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::plan::{Settings, select};
use crate::types::{Column, Schema, pseudo};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, SortExpr, cast, lit};
use sqlparser::ast::{Expr, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The rows of a query, its columns in order.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Rows {
    pub plan: LogicalPlan,
    pub columns: Vec<Column>,
    /// Streams and tables that are read.
    pub reads: BTreeSet<String>,
}

/// Where a column of ORDER BY is.
enum Key {
    /// A column of the result.
    Output(usize),
    /// An expression.
    Computed(Box<Expr>),
}

/// What names mean at one place.
#[derive(Clone)]
struct Scope<'a> {
    catalog: Catalog,
    /// Queries that stand for sources of the catalogue here.
    derived: BTreeMap<String, Rows>,
    settings: &'a Settings,
}

/// Binds a query.
pub(in crate::plan) fn bind(query: &Relational, catalog: &Catalog, settings: &Settings) -> Result<Rows> {
    Scope { catalog: catalog.clone(), derived: BTreeMap::new(), settings }.query(query)
}

/// Whether sqlparser's reading of the query may mean something where this one failed: it names functions that are not
/// ours, or joins without our conditions.
pub(in crate::plan) fn is_beyond(query: &Relational) -> bool {
    let mut beyond = false;
    query.for_each_select(&mut |select| {
        beyond |= !select.joins.is_empty();
        let items = select.items.iter().filter_map(|item| match item {
            SelectItem::Expr { expr, .. } => Some(expr),
            _ => None,
        });
        let clauses = select.filter.iter().chain(&select.having).chain(&select.group_by);
        items.chain(clauses).for_each(|expr| beyond |= names_foreign_function(expr));
    });
    beyond || query.order_by.iter().any(|key| names_foreign_function(&key.expr))
}

fn names_foreign_function(expr: &Expr) -> bool {
    let mut found = false;
    expression::replace(expr, &mut |e| {
        if let Expr::Function(function) = e {
            let name = expression::function_name(function);
            let known = Registry::find(&name).is_some() || Registry::table(&name).is_some();
            found |= !known && function.over.is_none() && !expression::is_aggregate(&name) && name != "GROUPING";
        }
        None
    });
    found
}

impl Scope<'_> {
    fn query(&self, query: &Relational) -> Result<Rows> {
        let mut scope = self.clone();
        for (name, definition) in &query.with {
            let rows = scope.query(definition)?;
            scope.define(name, rows);
        }
        let visible = match &query.body {
            Body::Select(body) => {
                // Once, for the binding with further sort keys sees them, too.
                scope.define_derived(body)?;
                scope.bound(body)?
            }
            body => scope.body(body)?,
        };
        let keys = query.order_by.iter().map(|key| output_key(key, &visible.columns)).collect::<Result<Vec<_>>>()?;
        let (rows, places) = scope.with_keys(&query.body, visible.clone(), keys)?;
        let width = visible.columns.len();
        let sorts = places.iter().zip(&query.order_by).map(|(place, key)| {
            let column = PlanExpr::Column(rows.plan.schema().columns()[*place].clone());
            SortExpr { expr: column, asc: !key.descending, nulls_first: key.nulls_first }
        });
        let sorts: Vec<SortExpr> = sorts.collect();
        let mut plan = rows.plan;
        if !sorts.is_empty() {
            plan = LogicalPlanBuilder::from(plan).sort(sorts)?.build()?;
        }
        if query.limit.is_some() || query.offset > 0 {
            let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            plan = LogicalPlanBuilder::from(plan).limit(whole(query.offset), query.limit.map(whole))?.build()?;
        }
        if plan.schema().fields().len() > width {
            let columns = plan.schema().columns().into_iter().take(width);
            plan = Compute::plan(columns.map(|c| (c.name.clone(), PlanExpr::Column(c))).collect(), plan)?;
        }
        Ok(Rows { plan, ..visible })
    }

    /// A query is known by a name from here on.
    fn define(&mut self, name: &Name, rows: Rows) {
        self.catalog.define(source_of(&name.value, &rows.columns));
        self.derived.insert(name.value.clone(), rows);
    }

    fn body(&self, body: &Body) -> Result<Rows> {
        match body {
            Body::Select(body) => {
                let mut scope = self.clone();
                scope.define_derived(body)?;
                scope.bound(body)
            }
            Body::Set { operator, all, sides } => {
                let [left, right] = &**sides;
                combine(*operator, *all, self.body(left)?, self.body(right)?)
            }
            Body::Nested(query) => self.query(query),
        }
    }

    /// Binds the queries in FROM.
    fn define_derived(&mut self, body: &SelectBody) -> Result<()> {
        for (name, query) in &body.derived {
            let rows = self.query(query)?;
            self.define(name, rows);
        }
        Ok(())
    }

    /// Binds a SELECT whose queries in FROM are defined.
    fn bound(&self, body: &SelectBody) -> Result<Rows> {
        let rows = self.select(&body.select)?;
        if body.distinct { distinct(rows) } else { Ok(rows) }
    }

    /// Binds one SELECT, and replaces each scan of a defined name by the plan of its query.
    fn select(&self, select: &Select) -> Result<Rows> {
        let bound = select::bind(select, Purpose::Batch, &self.catalog, self.settings)?;
        let mut reads = BTreeSet::new();
        for name in bound.reads {
            match self.derived.get(&name) {
                Some(rows) => reads.extend(rows.reads.iter().cloned()),
                None => {
                    reads.insert(name);
                }
            }
        }
        let plan = bound.plan.transform_up(|node| self.put_in(node))?.data;
        Ok(Rows { plan, columns: bound.value, reads })
    }

    fn put_in(&self, node: LogicalPlan) -> datafusion::common::Result<Transformed<LogicalPlan>> {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Some(table) = scan.source.downcast_ref::<SourceTable>() else { return Ok(Transformed::no(node)) };
        let Some(rows) = self.derived.get(&table.source().name).filter(|_| table.source().is_derived()) else {
            return Ok(Transformed::no(node));
        };
        let plan = LogicalPlanBuilder::from(numbered(rows).map_err(datafusion_error)?)
            .alias(scan.table_name.clone())?
            .build()?;
        Ok(Transformed::yes(plan))
    }

    /// The rows with a column for every key that is none of theirs, and where each key is.
    fn with_keys(&self, body: &Body, visible: Rows, keys: Vec<Key>) -> Result<(Rows, Vec<usize>)> {
        let computed: Vec<&Expr> = keys.iter().filter_map(Key::computed).collect();
        let width = visible.columns.len();
        let mut next = width..;
        let mut place = |key: &Key| match key {
            Key::Output(place) => *place,
            Key::Computed(_) => next.next().unwrap_or(width),
        };
        let places = keys.iter().map(&mut place).collect();
        if computed.is_empty() {
            return Ok((visible, places));
        }
        if let Body::Select(body) = body
            && !body.distinct
        {
            // They see what the SELECT list sees: columns that are not selected, aggregates.
            let mut wider = body.select.clone();
            wider.items.extend(computed.iter().enumerate().map(|(n, expr)| SelectItem::Expr {
                expr: (*expr).clone(),
                alias: Some(Name { value: format!("#key_{n}"), span: span_of(*expr).unwrap_or_default() }),
                span: span_of(*expr).unwrap_or_default(),
            }));
            match self.select(&wider) {
                Ok(rows) => return Ok((rows, places)),
                // An expression over the names of the result, perhaps.
                Err(error) => {
                    return with_computed(visible, &computed).map(|rows| (rows, places)).map_err(|_| error);
                }
            }
        }
        Ok((with_computed(visible, &computed)?, places))
    }
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
fn output_key(key: &SortKey, columns: &[Column]) -> Result<Key> {
    let at = |error: Error| error.at_some(span_of(&key.expr));
    match &key.expr {
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
            None => Ok(Key::Computed(Box::new(key.expr.clone()))),
        },
        _ => Ok(Key::Computed(Box::new(key.expr.clone()))),
    }
}

/// What stands for a query in the catalogue: a stream without key, time and topic.
fn source_of(name: &str, columns: &[Column]) -> Source {
    let value = columns.iter().map(|c| Column::value(&c.name, c.ty.clone())).collect();
    Source {
        name: name.to_owned(),
        kind: SourceKind::Stream,
        schema: Schema { key: Vec::new(), value },
        topic: String::new(),
        partitions: 1,
        key_format: Format::Kafka,
        value_format: Format::Json,
        key_wire: Wire::default(),
        value_wire: Wire::default(),
        unwrapped_value: false,
        window: None,
        timestamp: None,
        read_only: true,
        created_by: None,
        sql: String::new(),
    }
}

/// The rows with the columns that every scan has. Their order is that in which the query returns them; they have no time
/// and no place, and no names for them.
fn numbered(rows: &Rows) -> Result<LogicalPlan> {
    let number = row_number().alias("#number");
    let plan = LogicalPlanBuilder::from(rows.plan.clone()).window(vec![number])?.build()?;
    let (schema, width) = (plan.schema().clone(), rows.columns.len());
    let mut columns: Vec<(String, PlanExpr)> = Vec::with_capacity(width + 5);
    for (column, field) in schema.columns().into_iter().zip(&rows.columns) {
        columns.push((field.name.clone(), PlanExpr::Column(column)));
    }
    let number = PlanExpr::Column(schema.columns()[width].clone());
    columns.push((pseudo::ROWTIME.to_owned(), lit(0_i64)));
    columns.push((pseudo::ROWPARTITION.to_owned(), lit(0_i32)));
    columns.push((pseudo::ROWOFFSET.to_owned(), lit(0_i64)));
    columns.push((ORDINAL.to_owned(), cast(number, arrow::datatypes::DataType::Int64)));
    columns.push((PRESENT.to_owned(), lit(true)));
    unique(&mut columns[..width]);
    Ok(Compute::plan(columns, plan)?)
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
    let reads = left.reads.union(&right.reads).cloned().collect();
    let (left, right) = (converted(left, &columns)?, converted(right, &columns)?);
    let plan = match operator {
        SetOperator::Union if all => LogicalPlanBuilder::from(left).union(right)?.build()?,
        SetOperator::Union => LogicalPlanBuilder::from(left).union_distinct(right)?.build()?,
        SetOperator::Intersect => LogicalPlanBuilder::intersect(left, right, all)?,
        SetOperator::Except => LogicalPlanBuilder::except(left, right, all)?,
    };
    Ok(Rows { plan, columns, reads })
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
    Ok(Rows { plan: Compute::plan(columns, rows.plan)?, columns: out, reads: rows.reads })
}

/// An error of ours on its way through a visitor of DataFusion's.
fn datafusion_error(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
