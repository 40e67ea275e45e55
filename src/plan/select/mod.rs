//! A SELECT in ksqlDB's grammar to a bound plan.
//!
//! ```text
//! Compute  key columns, value columns            SELECT
//! [Keep]                                         QUALIFY
//! [Window ...]                                   OVER: native, over plain columns
//! [Keep]                                         HAVING
//! [Aggregate]                                    GROUP BY: native, over plain columns
//! [TimeWindow]                                   WINDOW
//! [Rekey]                                        GROUP BY, PARTITION BY
//! [Compute]                                      group keys, aggregate arguments
//! [Keep ...]                                     WHERE: one node for each part of a top-level AND
//! TableScan
//! ```

mod callee;
mod clauses;
pub(super) mod context;
mod explode;
pub(super) mod expression;
mod from;
mod grouping;
mod groups;
mod over;
mod projection;
pub(super) mod relational;
pub(super) mod scope;
mod sets;

use self::clauses::Clauses;
use self::context::{Bound, Context, Key, Purpose};
use self::projection::{Item, SelectInput};
use self::scope::Names;
use crate::catalog::{Catalog, Source};
use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::parse::statement::{Emit, Select, SelectItem, SourceKind};
use crate::plan::nodes::table::{Origin, SourceTable};
use crate::plan::nodes::{Compute, Rekey};
use crate::plan::scalar::{self, Boundary};
use crate::plan::{Settings, formats};
use crate::types::pseudo;
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use sqlparser::ast::{Expr, Value};
use std::sync::Arc;

/// Binds a SELECT.
pub(super) fn bind(select: &Select, purpose: Purpose<'_>, catalog: &Catalog, settings: &Settings) -> Result<Bound> {
    let select = &*over::inlined(select)?;
    if !select.joins.is_empty() {
        let joined = from::bind(select, purpose, catalog, settings)?;
        let from::Joined { plan, source, names, select, reads } = joined;
        check_emit(&select)?;
        let (alias, clauses) = (String::new(), Clauses::default());
        let context = Context { select: &select, purpose, settings, source, alias, names, reads, clauses };
        return bind_over(context, plan);
    }
    let source = catalog.require(&select.from.name.value).map_err(|e| e.at(select.from.name.span))?.clone();
    check_source(&source, select, purpose)?;
    let alias = select.from.alias.as_ref().unwrap_or(&select.from.name).value.clone();
    let table = SourceTable::new(source.clone());
    let names = scan_names(&table, &alias).with_aliases(&select.items);
    let scan = TableScanBuilder::new(TableReference::bare(alias.clone()), Arc::new(table)).build()?;
    let reads = vec![source.name.clone()];
    let clauses = Clauses::default();
    let context = Context { select, purpose, settings, source, alias, names, reads, clauses };
    bind_over(context, LogicalPlan::TableScan(scan))
}

/// Binds everything after FROM.
fn bind_over(context: Context<'_>, mut plan: LogicalPlan) -> Result<Bound> {
    let (select, purpose) = (context.select, context.purpose);
    if let Some(filter) = &select.filter {
        let kept = context.keep(
            filter,
            &context.names.of("WHERE").before_window(select.window.is_some()),
            ("WHERE", Boundary::Where),
            plan,
        );
        plan = kept.map_err(|e| e.at_some(span_of(filter)))?;
    }
    let shown: &[&str] = match context.source.window {
        Some(_) if !purpose.is_persistent() => &[pseudo::WINDOWSTART, pseudo::WINDOWEND],
        _ => &[],
    };
    let partition_by: Vec<Expr> = select.partition_by.iter().map(|e| expression::normal(e, &context.alias)).collect();
    let input = SelectInput {
        alias: &context.alias,
        schema: &context.source.schema,
        names: &context.names,
        shown,
        persistent: purpose.is_persistent(),
        partition_by: &partition_by,
    };
    let items = projection::items(&select.items, &input)?;
    let clauses = clauses::of(&context, &items)?;
    let context = Context { clauses, ..context };
    let exploding = items.iter().any(|i| explode::has_calls(&i.expr));
    let conditions = context.clauses.having.iter().chain(&context.clauses.qualify);
    let aggregated = items.iter().map(|i| &i.expr).chain(conditions).any(|e| !expression::aggregates(e).is_empty());
    if aggregated || !select.group_by.is_empty() || select.window.is_some() || select.having.is_some() {
        if !exploding {
            return grouping::bind(&context, items, aggregated, plan);
        }
        if purpose != Purpose::Batch || context.settings.strict {
            return Err(Error::statement("Table functions cannot be used with aggregations."));
        }
        let (context, items, plan) = exploded(context, items, plan)?;
        grouping::bind(&context, items, aggregated, plan)
    } else if exploding {
        let (context, items, plan) = exploded(context, items, plan)?;
        context.flat(items, plan)
    } else {
        context.flat(items, plan)
    }
}

/// Takes rows apart below everything else: items and clauses over the exploded rows.
fn exploded<'a>(
    context: Context<'a>,
    items: Vec<Item>,
    plan: LogicalPlan,
) -> Result<(Context<'a>, Vec<Item>, LogicalPlan)> {
    let unnamed = |expr: &Expr| Item { name: String::new(), expr: expr.clone(), span: None };
    let Clauses { group_by, having, qualify } = &context.clauses;
    let clauses = group_by.iter().chain(having).chain(qualify).map(unnamed);
    let (width, groups) = (items.len(), group_by.len());
    let (having, qualify) = (having.is_some(), qualify.is_some());
    let all = items.into_iter().chain(clauses).collect();
    let (mut items, names, plan) = explode::bind(&context, all, plan)?;
    let mut rest = items.split_off(width).into_iter().map(|item| item.expr);
    let group_by = rest.by_ref().take(groups).collect();
    let having = if having { rest.next() } else { None };
    let qualify = if qualify { rest.next() } else { None };
    Ok((Context { names, clauses: Clauses { group_by, having, qualify }, ..context }, items, plan))
}

fn check_source(source: &Source, select: &Select, purpose: Purpose<'_>) -> Result<()> {
    let fail = |text: &str| Err(Error::statement(text).at(select.from.name.span));
    if purpose.is_persistent() && source.kind == SourceKind::Table && source.window.is_some() {
        return fail("KSQL does not support persistent queries on windowed tables.");
    }
    check_emit(select).map_err(|e| e.at(select.from.name.span))
}

fn check_emit(select: &Select) -> Result<()> {
    match select.emit == Some(Emit::Final) && select.window.is_none() {
        true => Err(Error::statement("EMIT FINAL is only supported for windowed aggregations.")),
        false => Ok(()),
    }
}

fn scan_names(table: &SourceTable, alias: &str) -> Names {
    let mut names = Names::new("SELECT", alias);
    let schema = datafusion::logical_expr::TableSource::schema(table);
    for (i, field) in schema.fields().iter().enumerate() {
        // Columns behind those of a query have no names in it.
        let hidden = table.source().is_derived() && !matches!(table.origins()[i], Origin::Value(_));
        if !hidden && !field.name().starts_with('#') {
            names.add(field.name(), i, table.sql_type(i));
        }
    }
    names
}

impl Context<'_> {
    /// A SELECT without GROUP BY.
    fn flat(&self, items: Vec<Item>, plan: LogicalPlan) -> Result<Bound> {
        let table = self.source.kind == SourceKind::Table;
        let window = self.source.window;
        let names = self.names.of("SELECT");
        let (items, names, plan) = over::bind(self, items, self.clauses.qualify.clone(), names, plan)?;
        if self.select.partition_by.is_empty() {
            let keys: Vec<Key> = self.source.schema.key.iter().map(Key::of).collect();
            let keys = if self.purpose.is_persistent() { keys } else { vec![] };
            let (columns, key, value) = self.columns(&items, &keys, "key column", &names, &plan)?;
            let plan = Compute::plan(columns, plan)?;
            return Ok(Bound {
                plan,
                key,
                value,
                table,
                window,
                kept_ms: None,
                source: self.source.clone(),
                reads: self.reads.clone(),
            });
        }
        if table {
            return Err(Error::statement("PARTITION BY is only supported for streams."));
        }
        if window.is_some() {
            return Err(Error::statement(
                "Implicit repartitioning of windowed sources is not supported. See https://github.com/confluentinc/ksql/issues/4385.",
            ));
        }
        let keys = if self.purpose.is_persistent() { self.partition_keys(&items)? } else { vec![] };
        let items = self.star_over_partitions(items, &keys);
        let (columns, key, value) = self.columns(&items, &keys, "partitioning expression", &names, &plan)?;
        let mut plan = Compute::plan(columns, plan)?;
        if self.purpose.is_persistent() {
            let key_format = formats::internal_key_format(self.source.key_format, self.settings.key_format, &key);
            plan = Rekey::plan(key.clone(), key_format, None, false, plan);
        }
        Ok(Bound {
            plan,
            key,
            value,
            table: false,
            window: None,
            kept_ms: None,
            source: self.source.clone(),
            reads: self.reads.clone(),
        })
    }

    /// `*` means the columns after PARTITION BY: the new key, also where it is an expression, then the old key at the end.
    fn star_over_partitions(&self, items: Vec<Item>, keys: &[Key]) -> Vec<Item> {
        let star = |i: &SelectItem| matches!(i, SelectItem::All | SelectItem::AllOf(_));
        if !self.select.items.iter().any(star) {
            return items;
        }
        let mut namer = projection::Namer::new(&self.source.schema);
        let missing = keys.iter().filter(|k| !items.iter().any(|i| i.expr == k.expr));
        let first: Vec<Item> =
            missing.map(|k| Item { name: namer.key(&k.expr), expr: k.expr.clone(), span: None }).collect();
        let was_key = |i: &Item| i.span.is_none() && self.source.schema.key.iter().any(|c| c.name == i.name);
        let (last, middle): (Vec<Item>, Vec<Item>) = items.into_iter().partition(was_key);
        first.into_iter().chain(middle).chain(last).collect()
    }

    fn partition_keys(&self, items: &[Item]) -> Result<Vec<Key>> {
        let known = self.names.of("PARTITION BY");
        let mut keys = Vec::new();
        for expr in &self.select.partition_by {
            let expr = expression::normal(expr, &self.alias);
            if matches!(&expr, Expr::Value(v) if v.value == Value::Null) && self.select.partition_by.len() == 1 {
                return Ok(keys);
            }
            let alias = items.iter().any(|i| expression::as_name(&expr) == Some(&i.name) && i.expr != expr);
            let names = match (alias, expression::as_name(&expr)) {
                (true, Some(name)) if !known.has(name) => known.clone().with_note(
                    " '{}' must be a column in the source schema since PARTITION BY is applied on the input.",
                ),
                _ => known.clone(),
            };
            if keys.iter().any(|k: &Key| k.expr == expr) {
                return Err(grouping::twice("PARTITION BY", &expr));
            }
            let ty = scalar::bind(&expr, &names, Boundary::PartitionBy)?.ty;
            keys.push(Key { expr, ty, boundary: Boundary::PartitionBy });
        }
        Ok(keys)
    }
}
