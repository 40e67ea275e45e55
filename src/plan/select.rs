//! A SELECT in ksqlDB's grammar to a bound plan.
//!
//! ```text
//! Compute  key columns, value columns            SELECT
//! [Keep]                                         HAVING
//! [Aggregate]                                    GROUP BY: native, over plain columns
//! [TimeWindow]                                   WINDOW
//! [Rekey]                                        GROUP BY, PARTITION BY
//! [Compute]                                      group keys, aggregate arguments
//! [Keep ...]                                     WHERE: one node for each part of a top-level AND
//! TableScan
//! ```

use crate::catalog::{Catalog, KeyWindow, Source};
use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::parse::statement::{Emit, Select, SelectItem, SourceKind};
use crate::plan::nodes::{Compute, Keep, Rekey};
use crate::plan::projection::{self, Item, Over};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::scope::Names;
use crate::plan::table::SourceTable;
use crate::plan::{Settings, call, explode, expression, formats, from, grouping};
use crate::types::{Column, SqlType, pseudo};
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use sqlparser::ast::{Expr, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whom the rows are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Purpose<'a> {
    /// A stream or table of this name.
    Persistent(&'a str),
    /// A stream that is there already: numbers widen to its columns.
    Into(&'a Source),
    /// A client that follows the changes.
    Push,
    /// A client that wants the state of now.
    Batch,
}

impl<'a> Purpose<'a> {
    pub(super) fn is_persistent(self) -> bool {
        matches!(self, Purpose::Persistent(_) | Purpose::Into(_))
    }

    /// The name of what is written.
    pub(super) fn target(self) -> Option<&'a str> {
        match self {
            Purpose::Persistent(name) => Some(name),
            Purpose::Into(target) => Some(&target.name),
            Purpose::Push | Purpose::Batch => None,
        }
    }

    /// The type that a value column has in what is written, if it widens to it by itself.
    fn widened(self, name: &str, ty: &SqlType) -> Option<&'a SqlType> {
        let Purpose::Into(target) = self else { return None };
        let wanted = target.schema.value.iter().find(|c| c.name == name).map(|c| &c.ty)?;
        (wanted != ty && ty.common(wanted).as_ref() == Some(wanted)).then_some(wanted)
    }
}

/// A SELECT, bound.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// The plan; its columns are those of `key`, then those of `value`. For a client all are in `value`.
    pub plan: LogicalPlan,
    pub key: Vec<Column>,
    pub value: Vec<Column>,
    /// The result is a table.
    pub table: bool,
    /// The result's key is windowed.
    pub window: Option<KeyWindow>,
    /// How long a windowed result is kept, if the statement says so.
    pub kept_ms: Option<i64>,
    /// What is read; for joins it stands for all of them.
    pub source: Arc<Source>,
    /// Streams and tables that are read.
    pub reads: Vec<String>,
}

/// What binding needs at every step.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub select: &'a Select,
    pub purpose: Purpose<'a>,
    pub settings: &'a Settings,
    pub source: Arc<Source>,
    /// The source's name in this statement.
    pub alias: String,
    /// Columns of the scan.
    pub names: Names,
    /// Streams and tables that are read.
    pub reads: Vec<String>,
}

/// Binds a SELECT.
pub(super) fn bind(select: &Select, purpose: Purpose<'_>, catalog: &Catalog, settings: &Settings) -> Result<Bound> {
    if !select.joins.is_empty() {
        let joined = from::bind(select, purpose, catalog, settings)?;
        let from::Joined { plan, source, names, select, reads } = joined;
        check_emit(&select)?;
        let context = Context { select: &select, purpose, settings, source, alias: String::new(), names, reads };
        return bind_over(context, plan);
    }
    let source = catalog.require(&select.from.name.value).map_err(|e| e.at(select.from.name.span))?.clone();
    check_source(&source, select, purpose)?;
    let alias = select.from.alias.as_ref().unwrap_or(&select.from.name).value.clone();
    let table = SourceTable::new(source.clone());
    let names = scan_names(&table, &alias);
    let scan = TableScanBuilder::new(TableReference::bare(alias.clone()), Arc::new(table)).build()?;
    let reads = vec![source.name.clone()];
    let context = Context { select, purpose, settings, source, alias, names, reads };
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
    let over = Over {
        alias: &context.alias,
        schema: &context.source.schema,
        names: &context.names,
        shown,
        persistent: purpose.is_persistent(),
        partition_by: &partition_by,
    };
    let items = projection::items(&select.items, &over)?;
    let exploding = items.iter().any(|i| explode::has_calls(&i.expr));
    let aggregated = items.iter().map(|i| &i.expr).chain(&select.having).any(|e| !expression::aggregates(e).is_empty());
    if aggregated || !select.group_by.is_empty() || select.window.is_some() || select.having.is_some() {
        if exploding {
            return Err(Error::statement("Table functions cannot be used with aggregations."));
        }
        grouping::bind(&context, items, aggregated, plan)
    } else if exploding {
        let (items, names, plan) = explode::bind(&context, items, plan)?;
        Context { names, ..context }.flat(items, plan)
    } else {
        context.flat(items, plan)
    }
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
        if !field.name().starts_with('#') {
            names.add(field.name(), i, table.sql_type(i));
        }
    }
    names
}

impl Context<'_> {
    /// Rows for which `filter` is true: one node for each part of a top-level AND.
    pub(super) fn keep(
        &self,
        filter: &Expr,
        names: &Names,
        (clause, boundary): (&'static str, Boundary),
        mut plan: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let filter = expression::normal(filter, &self.alias);
        for part in expression::conjuncts(&filter) {
            let Typed { program, ty } = scalar::bind(part, names, boundary)?;
            if ty != SqlType::Boolean {
                return Err(Error::statement(format!(
                    "Type error in {clause} expression: Should evaluate to boolean but is {} ({ty}) instead.",
                    expression::text(part)
                )));
            }
            plan = Keep::plan(call::call(&program, &ty, plan.schema()), clause, plan);
        }
        Ok(plan)
    }

    /// A SELECT without GROUP BY.
    fn flat(&self, items: Vec<Item>, plan: LogicalPlan) -> Result<Bound> {
        let table = self.source.kind == SourceKind::Table;
        let window = self.source.window;
        let names = self.names.of("SELECT");
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
            let ty = scalar::bind(&expr, &names, Boundary::PartitionBy)?.ty;
            keys.push(Key { expr, ty, boundary: Boundary::PartitionBy });
        }
        Ok(keys)
    }

    /// The columns that leave: key columns in the key's order, then the others as they are selected.
    pub(super) fn columns(
        &self,
        items: &[Item],
        keys: &[Key],
        what: &str,
        names: &Names,
        plan: &LogicalPlan,
    ) -> Result<Columns> {
        let mut out = Columns::default();
        let mut used = BTreeSet::new();
        // What cannot be computed at all is told before a key that is not selected.
        let places = key_items(items, keys, what, self.purpose).map_err(|missing| {
            let bound = items.iter().map(|i| scalar::bind(&i.expr, names, Boundary::SelectItem));
            bound.filter_map(Result::err).next().unwrap_or(missing)
        })?;
        for (place, key) in places.into_iter().zip(keys) {
            let item = &items[place];
            used.insert(place);
            let Typed { program, ty } = scalar::bind(&key.expr, names, key.boundary)?;
            out.0.push((item.name.clone(), call::call(&program, &ty, plan.schema())));
            out.1.push(Column::key(&item.name, key.ty.clone()));
        }
        for (_, item) in items.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
            let at = |e: Error| if let Some(span) = item.span { e.at(span) } else { e };
            let mut typed = scalar::bind(&item.expr, names, Boundary::SelectItem).map_err(at)?;
            if let Some(wanted) = self.purpose.widened(&item.name, &typed.ty) {
                typed = scalar::bind_to(&item.expr, names, Boundary::SelectItem, wanted).map_err(at)?;
            }
            let Typed { program, ty } = typed;
            if self.purpose.is_persistent() && out.0.iter().any(|c| c.0 == item.name) {
                let column = Column::value(&item.name, ty);
                let text = format!("Duplicate value columns found in schema: {}", formats::list(&[column]));
                return Err(at(Error::statement(text)));
            }
            out.0.push((item.name.clone(), call::call(&program, &ty, plan.schema())));
            out.2.push(Column::value(&item.name, ty));
        }
        if out.2.is_empty() && self.purpose.is_persistent() {
            return Err(Error::statement("The projection contains no value columns."));
        }
        unique(&mut out.0);
        Ok(out)
    }
}

/// Expressions by name, key columns, value columns.
pub(super) type Columns = (Vec<(String, datafusion::logical_expr::Expr)>, Vec<Column>, Vec<Column>);

/// A column of the result's key, before it is named.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// In [`expression::normal`] form.
    pub expr: Expr,
    pub ty: SqlType,
    pub boundary: Boundary,
}

impl Key {
    fn of(column: &Column) -> Key {
        Key { expr: expression::identifier(&column.name), ty: column.ty.clone(), boundary: Boundary::SelectItem }
    }
}

/// Every key is selected exactly once.
pub(super) fn check_keys(items: &[Item], keys: &[Key], what: &str, purpose: Purpose<'_>) -> Result<()> {
    key_items(items, keys, what, purpose).map(|_| ())
}

/// For each key the place of the one item that selects it.
fn key_items(items: &[Item], keys: &[Key], what: &str, purpose: Purpose<'_>) -> Result<Vec<usize>> {
    let Some(target) = purpose.target() else { return Ok(vec![]) };
    let mut places = Vec::new();
    let mut missing = false;
    for key in keys {
        let found: Vec<usize> = (0..items.len()).filter(|i| items[*i].expr == key.expr).collect();
        match found.as_slice() {
            [] => missing = true,
            [one] => places.push(*one),
            several => {
                let aliases: Vec<String> = several.iter().map(|i| items[*i].name.clone()).collect();
                return Err(twice(what, &expression::text(&key.expr), &aliases));
            }
        }
    }
    if missing {
        // Of grouping expressions only the missing ones are told.
        let selected = |key: &Key| what == "grouping expression" && items.iter().any(|i| i.expr == key.expr);
        let texts: Vec<String> = keys.iter().filter(|k| !selected(k)).map(|k| expression::text(&k.expr)).collect();
        let plural = if texts.len() > 1 { "s" } else { "" };
        return Err(Error::statement(format!(
            "Key missing from projection (ie, SELECT). See https://cnfl.io/2LV7ouS.\nThe query used to build `{target}` \
             must include the {what}{plural} {} in its projection (eg, SELECT {}...).",
            and(&texts),
            texts.join(", ")
        )));
    }
    Ok(places)
}

fn twice(what: &str, key: &str, aliases: &[String]) -> Error {
    Error::statement(if what == "grouping expression" {
        let aliases: Vec<String> = aliases.iter().map(|a| format!("`{a}`")).collect();
        format!("The projection contains a key column more than once: {}.", and(&aliases))
    } else {
        format!("The projection contains a key column (`{key}`) more than once, aliased as: {}.", and(aliases))
    })
}

/// `A, B and C`
pub(super) fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A result for people may hold a name twice; a plan may not.
pub(super) fn unique(columns: &mut [(String, datafusion::logical_expr::Expr)]) {
    let mut seen = BTreeSet::new();
    for (name, _) in columns {
        let mut free = name.clone();
        for n in 1.. {
            if seen.insert(free.clone()) {
                break;
            }
            free = format!("{name}_{n}");
        }
        *name = free;
    }
}
