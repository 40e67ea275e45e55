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
pub(super) mod inner;
mod over;
mod projection;
pub(super) mod purpose;
pub(super) mod relational;
pub(super) mod scope;
mod sets;

use self::context::{Bound, Clauses, Context, Key, Purpose};
use self::inner::relations::{self, Relations};
use self::inner::subquery;
use self::projection::{Item, SelectInput};
use self::scope::Names;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::parse::statement::{Condition, Derived, Emit, Select, SelectItem, SourceKind};
use crate::plan::formats;
use crate::plan::nodes::table::{Origin, SourceTable};
use crate::plan::nodes::{Compute, Rekey};
use crate::plan::scalar::{self, Boundary};
use crate::types::pseudo;
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::{Expr, Value};

/// Binds a SELECT.
pub(super) fn bind(select: &Select, purpose: Purpose<'_>, relations: &Relations<'_>) -> Result<Bound> {
    if purpose != Purpose::Batch {
        check_plain(select)?;
    }
    let (select, relations) = relations.with_from(select)?;
    let select = &*over::inlined(&select)?;
    let settings = relations.settings();
    if !select.joins.is_empty() {
        let joined = from::bind(select, purpose, &relations)?;
        let from::Joined { plan, source, names, select, reads, written } = joined;
        check_emit(&select)?;
        let written = Some(written);
        let (alias, clauses) = (String::new(), Clauses::default());
        let context = Context {
            select: &select,
            purpose,
            settings,
            relations: relations.clone(),
            written,
            source,
            alias,
            names,
            reads,
            clauses,
        };
        return bind_over(context, plan);
    }
    let source = relations.require(&select.from.name)?;
    check_source(&source, select, purpose)?;
    let alias = select.from.known_as().value.clone();
    let table = SourceTable::new(source.clone());
    let names = scan_names(&table, &alias).with_aliases(&select.items);
    let scan = relations.leaf(&source, &alias)?;
    let reads = vec![source.name.clone()];
    let relations = relations.clone();
    let clauses = Clauses::default();
    let context = Context { select, purpose, settings, relations, written: None, source, alias, names, reads, clauses };
    bind_over(context, scan)
}

/// Binds everything after FROM.
fn bind_over(context: Context<'_>, mut plan: LogicalPlan) -> Result<Bound> {
    let (select, purpose) = (context.select, context.purpose);
    if select.window.is_some() && !relations::has_time(&context.source) {
        return Err(Error::statement("WINDOW needs the time of a row, which a query in FROM has not")
            .at(select.from.known_as().span)
            .with_hint("select ROWTIME in the query"));
    }
    if let Some(filter) = &select.filter {
        plan = context.filtered(filter, plan).map_err(|e| e.at_some(span_of(filter)))?;
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
    let mut items = projection::items(&select.items, &input)?;
    let clauses = clauses::of(&context, &items)?;
    let mut context = Context { clauses, ..context };
    plan = context.with_queries(&mut items, plan)?;
    let exploding = items.iter().any(|i| explode::has_calls(&i.expr));
    let conditions = context.clauses.having.iter().chain(&context.clauses.qualify);
    let aggregated = items.iter().map(|i| &i.expr).chain(conditions).any(|e| !expression::aggregates(e).is_empty());
    if aggregated || !select.group_by.is_empty() || select.window.is_some() || select.having.is_some() {
        // Groups have their own key; what PARTITION BY names has to be there nevertheless.
        context.partition_keys(&items)?;
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

/// What only a query over history has: each with what a continuous query has in its place.
fn check_plain(select: &Select) -> Result<()> {
    let named = "CREATE STREAM or TABLE ... AS SELECT gives a query a name, which can be joined";
    if let Some(inner) = select.queries.first() {
        let error = Error::statement("a subquery is supported in a query over history, without EMIT, only");
        return Err(error.at(inner.name.span).with_hint(named));
    }
    for relation in select.relations() {
        let what = match relation.derived.as_deref() {
            None if relation.columns.is_empty() => continue,
            None => "names for the columns of a source are",
            Some(Derived::Query { .. }) => "a query in FROM is",
            Some(Derived::Call(_)) => "a function in FROM is",
            Some(Derived::Nothing) => "SELECT without FROM is",
        };
        let error = Error::statement(format!("{what} supported in a query over history, without EMIT, only"));
        let hint = match relation.derived.as_deref() {
            Some(Derived::Call(_)) => "SELECT EXPLODE(array) makes a row of each element",
            Some(Derived::Query { .. }) => named,
            _ => "AS names columns in the SELECT list",
        };
        return Err(error.at(relation.known_as().span).with_hint(hint));
    }
    let crossed = select.joins.iter().find(|join| !matches!(join.on, Condition::On(_)));
    match crossed {
        None => Ok(()),
        Some(join) => {
            let error =
                Error::statement("a continuous query joins by ON: INNER, LEFT, RIGHT or FULL OUTER JOIN ... ON");
            let hint = "without EMIT, sources may also be joined by CROSS JOIN, USING, NATURAL JOIN and commas";
            Err(error.at(join.right.known_as().span).with_hint(hint))
        }
    }
}

fn check_source(source: &Source, select: &Select, purpose: Purpose<'_>) -> Result<()> {
    let fail = |text: &str| Err(Error::statement(text).at(select.from.name.span));
    if purpose.is_persistent() && source.kind == SourceKind::Table && source.window.is_some() {
        return fail("KSQL does not support persistent queries on windowed tables.");
    }
    check_emit(select).map_err(|e| e.at(select.from.name.span))
}

impl Context<'_> {
    /// WHERE: first what asks no query.
    fn filtered(&self, filter: &Expr, mut plan: LogicalPlan) -> Result<LogicalPlan> {
        let names = self.names.of("WHERE").before_window(self.select.window.is_some());
        let clause = ("WHERE", Boundary::Where);
        let filter = expression::normal(filter, &self.alias);
        let parts = expression::conjuncts(&filter).into_iter().cloned();
        let (asking, plain): (Vec<Expr>, Vec<Expr>) = parts.partition(subquery::has_queries);
        if let Some(plain) = plain.into_iter().reduce(expression::and) {
            plan = self.keep(&plain, &names, clause, plan)?;
        }
        for part in asking {
            let attached =
                self.attach(vec![subquery::condition(&part)], &names, plan, &|written| self.outside(written))?;
            plan = attached.plan;
            for part in &attached.exprs {
                plan = self.keep(part, &attached.names, clause, plan)?;
            }
        }
        Ok(plan)
    }

    /// The plan with a column for each query of the SELECT list that is asked of the rows before grouping.
    fn with_queries(&mut self, items: &mut [Item], plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.select.queries.is_empty() {
            return Ok(plan);
        }
        let conditions = self.clauses.having.iter().chain(&self.clauses.qualify);
        let grouping = !self.select.group_by.is_empty()
            || items.iter().map(|i| &i.expr).chain(conditions).any(|e| !expression::aggregates(e).is_empty());
        let whole: Vec<Expr> = match grouping {
            false => items.iter().map(|item| item.expr.clone()).collect(),
            // Before grouping only what aggregates take is asked; the rest sees the groups.
            true => {
                let calls = items.iter().flat_map(|item| expression::aggregates(&item.expr)).map(Expr::Function);
                calls.filter(subquery::has_queries_inside).collect()
            }
        };
        let attached = self.attach(whole.clone(), &self.names, plan, &|written| self.outside(written))?;
        for item in items {
            item.expr = expression::replace(&item.expr, &mut |part| {
                whole.iter().position(|e| e == part).map(|place| attached.exprs[place].clone())
            });
        }
        self.names = attached.names;
        Ok(attached.plan)
    }
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
        // A result that goes to people has no key: there PARTITION BY decides what `*` means, and nothing else.
        let keys = self.partition_keys(&items)?;
        let keys = if self.purpose.is_persistent() { keys } else { vec![] };
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
        let star = |i: &SelectItem| matches!(i, SelectItem::Star { left_out, .. } if left_out.is_empty());
        if !self.select.items.iter().any(star) {
            return items;
        }
        let mut namer = projection::Namer::new(&self.source.schema);
        let missing = keys.iter().filter(|k| !items.iter().any(|i| i.expr == k.expr));
        let first: Vec<Item> =
            missing.map(|k| Item { name: namer.key(&k.expr), expr: k.expr.clone(), span: None }).collect();
        let is_key = |i: &Item| self.select.partition_by.iter().any(|e| expression::normal(e, &self.alias) == i.expr);
        let was_key =
            |i: &Item| i.span.is_none() && !is_key(i) && self.source.schema.key.iter().any(|c| c.name == i.name);
        let (last, middle): (Vec<Item>, Vec<Item>) = items.into_iter().partition(was_key);
        first.into_iter().chain(middle).chain(last).collect()
    }

    fn partition_keys(&self, items: &[Item]) -> Result<Vec<Key>> {
        let known = self.names.of("PARTITION BY");
        let mut keys = Vec::new();
        for written in &self.select.partition_by {
            let expr = expression::normal(written, &self.alias);
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
            // To the letter ksqlDB's of a persistent query, which names no place.
            let placed = |e: Error| if self.purpose.is_persistent() { e } else { e.at_some(span_of(written)) };
            let ty = scalar::bind(&expr, &names, Boundary::PartitionBy).map_err(placed)?.ty;
            keys.push(Key { expr, ty, boundary: Boundary::PartitionBy });
        }
        Ok(keys)
    }
}
