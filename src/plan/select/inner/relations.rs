//! What the names of sources mean in one statement: streams and tables of the catalogue, and queries that have a name in it.
//!
//! ```text
//! FROM orders o                     the catalogue's
//! WITH big AS (SELECT ...) ... big  a query: bound once, and its plan is put in the place of each scan
//! FROM (SELECT ...) AS x (a, b)     the same, under a name that only the parser gives
//! ```
//!
//! A query has no time and no place of its own: it is a stream without key, whose rows come in the order in which the query
//! returns them.

use super::series;
use crate::catalog::{Catalog, Format, Source, Wire};
use crate::error::{Error, Result};
use crate::functions::Registry;
use crate::parse::query::{Body, Definition, Distinct, Relational, SelectBody};
use crate::parse::span_of;
use crate::parse::statement::{Derived, Name, Relation, Select, SelectItem, SourceKind};
use crate::plan::Settings;
use crate::plan::nodes::Compute;
use crate::plan::nodes::system::{PREFIX, SystemSource, SystemTable};
use crate::plan::nodes::table::{ORDINAL, PRESENT, SourceTable};
use crate::plan::select::expression;
use crate::types::{Column, Schema, SqlType, pseudo};
use datafusion::common::TableReference;
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use sqlparser::ast::Expr;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// The rows of a query, its columns in order.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Rows {
    pub plan: LogicalPlan,
    pub columns: Vec<Column>,
}

/// Binds a query inside of another one.
pub(in crate::plan) type BindQuery = fn(&Relational, &Relations<'_>) -> Result<Rows>;

/// Queries bound for one statement.
const BOUND_MAX: usize = 2_000;

/// The name of the column that says for which row around it a row of a correlated query is.
pub(in crate::plan) const FOR: &str = "#for";

/// The name of that column among those of the rows around the query.
pub(in crate::plan) const ID: &str = "id";

/// What a name in a statement means: a column of the joined rows, from how it is written.
#[derive(Clone)]
pub(in crate::plan) struct Written(pub Arc<Meaning>);

/// The function behind it.
pub(in crate::plan) type Meaning = dyn Fn(&Expr) -> Option<Expr>;

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

/// The relations that a query can name.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Relations<'a> {
    catalog: &'a Catalog,
    settings: &'a Settings,
    /// `None` where queries inside of others are not allowed.
    bind: Option<BindQuery>,
    named: BTreeMap<String, Arc<NamedRows>>,
    /// The relation that holds the columns of the query around this one, where it names some of them.
    outer: Option<String>,
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct NamedRows {
    source: Arc<Source>,
    rows: Rows,
}

/// What all scopes of a statement share.
#[derive(Debug, Default)]
struct Shared {
    /// Streams and tables that are read.
    reads: RefCell<BTreeSet<String>>,
    /// Queries that were bound, by their place in the text: some are asked for again.
    known: RefCell<HashMap<usize, Rows>>,
    next: Cell<usize>,
    /// How many queries were bound.
    bound: Cell<usize>,
    /// Columns of rows around a query, as plans name them, and as they were written.
    written: RefCell<Vec<(String, String)>>,
}

impl<'a> Relations<'a> {
    /// Streams and tables alone.
    pub(in crate::plan) fn of_catalog(catalog: &'a Catalog, settings: &'a Settings) -> Relations<'a> {
        Relations { catalog, settings, bind: None, named: BTreeMap::new(), outer: None, shared: Rc::default() }
    }

    /// Those, and queries, which `bind` binds.
    pub(in crate::plan) fn over_history(
        catalog: &'a Catalog,
        settings: &'a Settings,
        bind: BindQuery,
    ) -> Relations<'a> {
        Relations { bind: Some(bind), ..Relations::of_catalog(catalog, settings) }
    }

    pub(in crate::plan) fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// Streams and tables that were named so far.
    pub(in crate::plan) fn reads(&self) -> Vec<String> {
        self.shared.reads.borrow().iter().cloned().collect()
    }

    /// A name with a number that no other has.
    pub(in crate::plan::select) fn numbered(&self, prefix: &str) -> String {
        let n = self.shared.next.get();
        self.shared.next.set(n + 1);
        format!("{prefix}{n}")
    }

    /// A column of the rows around a query is called so in the plan, and was written in another way.
    pub(in crate::plan::select) fn name_outside(&self, alias: &str, column: &str, written: String) {
        let mut known = self.shared.written.borrow_mut();
        known.extend(["_", ".", "`.`"].map(|between| (format!("{alias}{between}{column}"), written.clone())));
    }

    /// An error of the statement in the words of the statement: queries inside of expressions and columns of the rows around them are
    /// not named as in the plan.
    pub(in crate::plan::select) fn in_words(&self, error: Error) -> Error {
        let mut text = error.message().to_owned();
        // The last ones first: `#outer_1_1` begins like `#outer_1_12`.
        for (name, written) in self.shared.written.borrow().iter().rev() {
            text = text.replace(&format!("`{name}`"), written).replace(name, written);
        }
        for prefix in ["#query_", "#exists_", "#found_"] {
            while let Some(start) = text.find(prefix) {
                let behind = &text[start + prefix.len()..];
                let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
                text.replace_range(start..start + prefix.len() + digits, "(SELECT ...)");
            }
        }
        if text == error.message() { error } else { error.reworded(text) }
    }

    /// What a name means.
    pub(in crate::plan::select) fn require(&self, name: &Name) -> Result<Arc<Source>> {
        if let Some(named) = self.named.get(&name.value) {
            return Ok(named.source.clone());
        }
        if name.value.starts_with(PREFIX) {
            let table = self.system(name)?;
            self.shared.reads.borrow_mut().insert(table.name().to_owned());
            return Ok(Arc::new(source_of(table.name(), &table.columns())));
        }
        let source = self.catalog.require(&name.value).map_err(|e| e.at(name.span))?;
        self.shared.reads.borrow_mut().insert(source.name.clone());
        Ok(source.clone())
    }

    /// The system table of this name; only queries without EMIT read one.
    fn system(&self, name: &Name) -> Result<SystemTable> {
        let written = name.value.to_lowercase();
        let Some(table) = SystemTable::of(&name.value) else {
            let error = Error::statement(format!("there is no table {written}")).at(name.span);
            let all = SystemTable::ALL.map(|table| table.name().to_lowercase()).join(", ");
            return Err(error.with_hint(format!("system tables are {all}")));
        };
        if self.bind.is_none() {
            return Err(Error::statement(format!("{written} can only be read by queries without EMIT"))
                .with_detail("it holds the present state of the engine, which is no stream of changes")
                .with_hint("leave EMIT CHANGES out, and repeat the query to see what has changed")
                .at(name.span));
        }
        Ok(table)
    }

    /// The leaf of a source that is known as `alias`.
    pub(in crate::plan::select) fn leaf(&self, source: &Arc<Source>, alias: &str) -> Result<LogicalPlan> {
        if let Some(named) = self.named.get(&source.name).filter(|_| source.is_derived()) {
            return Ok(LogicalPlanBuilder::from(numbered(&named.rows)?).alias(TableReference::bare(alias))?.build()?);
        }
        if let Some(table) = SystemTable::of(&source.name).filter(|_| source.is_derived()) {
            let leaf = TableScanBuilder::new(TableReference::bare(table.name()), Arc::new(SystemSource::new(table)));
            let rows = Rows { plan: LogicalPlan::TableScan(leaf.build()?), columns: table.columns() };
            return Ok(LogicalPlanBuilder::from(numbered(&rows)?).alias(TableReference::bare(alias))?.build()?);
        }
        let table = SourceTable::new(source.clone());
        Ok(LogicalPlan::TableScan(TableScanBuilder::new(TableReference::bare(alias), Arc::new(table)).build()?))
    }

    /// A query is known by a name from here on.
    pub(in crate::plan) fn define(&mut self, name: &str, rows: Rows) {
        let source = Arc::new(source_of(name, &rows.columns));
        self.named.insert(name.to_owned(), Arc::new(NamedRows { source, rows }));
    }

    /// The rows of a defined name.
    pub(in crate::plan::select) fn rows_of(&self, name: &str) -> Option<&Rows> {
        self.named.get(name).map(|named| &named.rows)
    }

    /// The relation with the columns of the query around.
    pub(in crate::plan) fn outer(&self) -> Option<&str> {
        self.outer.as_deref()
    }

    /// The same as for a query that names columns of the one around it.
    pub(in crate::plan::select) fn within_any(&self) -> Relations<'a> {
        Relations { outer: Some(String::new()), ..self.clone() }
    }

    /// The same for a query that names no column of the one around it.
    pub(in crate::plan) fn alone(&self) -> Relations<'a> {
        Relations { outer: None, ..self.clone() }
    }

    /// The same for a query that names columns of these rows around it.
    pub(in crate::plan::select) fn within(&self, name: String, rows: Rows) -> Relations<'a> {
        let mut inner = self.clone();
        inner.define(&name, rows);
        Relations { outer: Some(name), ..inner }
    }

    /// Binds a query inside of this one. `place` is that of its text, where it may be asked for again.
    pub(in crate::plan::select) fn query(&self, query: &Relational, place: Option<usize>) -> Result<Rows> {
        let bind = self.bind.ok_or_else(|| Error::bug("a query inside of one that cannot have it"))?;
        if let Some(rows) = place.and_then(|place| self.shared.known.borrow().get(&place).cloned()) {
            return Ok(rows);
        }
        // A sorted query is bound twice, and so is each that it holds.
        let bound = self.shared.bound.get() + 1;
        self.shared.bound.set(bound);
        if bound > BOUND_MAX {
            return Err(Error::statement("the query has too many parts")
                .with_detail(format!("at most {BOUND_MAX} queries, those counted again that are planned again")));
        }
        let rows = bind(query, self)?;
        if let Some(place) = place {
            self.shared.known.borrow_mut().insert(place, rows.clone());
        }
        Ok(rows)
    }

    /// The same with the queries of WITH, each of which sees those before it.
    pub(in crate::plan) fn with_definitions(&self, definitions: &[Definition]) -> Result<Relations<'a>> {
        let mut inner = self.clone();
        for Definition { name, columns, query } in definitions {
            let rows = inner.alone().query(query, Some(name.span.start))?;
            inner.define(&name.value, renamed(rows, columns, &name.value)?);
        }
        Ok(inner)
    }

    /// The SELECT with what is in its FROM under names, and these names. What sees sources to its left is left as it is,
    /// also in the first place where a query around is to its left.
    pub(in crate::plan::select) fn with_from<'s>(
        &self,
        select: &'s Select,
    ) -> Result<(Cow<'s, Select>, Relations<'a>)> {
        if select.relations().all(|relation| relation.derived.is_none() && relation.columns.is_empty()) {
            return Ok((Cow::Borrowed(select), self.clone()));
        }
        let mut select = select.clone();
        let mut inner = self.clone();
        for (place, relation) in select.relations_mut().enumerate() {
            let to_the_left = place > 0 || self.outer.is_some();
            if let Some(Derived::Call(call)) = relation.derived.as_deref() {
                if let Some((plan, columns)) = series::numbers(call)? {
                    let rows = Rows { plan, columns };
                    inner.define(&relation.name.value, renamed(rows, &relation.columns, &relation.known_as().value)?);
                    continue;
                }
                let query = exploded(call, relation)?;
                relation.derived = Some(Box::new(Derived::Query { lateral: true, query }));
            }
            let start = Some(relation.name.span.start);
            let rows = match relation.derived.as_deref() {
                Some(Derived::Query { lateral: true, .. }) if to_the_left => continue,
                Some(Derived::Query { query, .. }) => self.alone().query(query, start)?,
                Some(Derived::Nothing | Derived::Call(_)) => one_row()?,
                None if relation.columns.is_empty() => continue,
                None => {
                    let whole = Relation { alias: None, columns: Vec::new(), ..relation.clone() };
                    let rows = self.alone().query(&all_of(whole), None)?;
                    relation.name.value = self.numbered("#renamed_");
                    rows
                }
            };
            inner.define(&relation.name.value, renamed(rows, &relation.columns, &relation.known_as().value)?);
        }
        Ok((Cow::Owned(select), inner))
    }
}

/// `SELECT * FROM relation`
fn all_of(relation: Relation) -> Relational {
    around(Select::all_of(relation))
}

fn around(select: Select) -> Relational {
    let body = Body::Select(Box::new(SelectBody { select, distinct: Distinct::No }));
    Relational::of(body)
}

/// `UNNEST(array, ...)` in FROM as the SELECT that it means: a row for each element.
fn exploded(call: &Expr, relation: &Relation) -> Result<Relational> {
    let place = span_of(call).unwrap_or(relation.name.span);
    let refused = || {
        Error::statement(format!("{} is no function that returns rows", expression::text(call)))
            .at(place)
            .with_hint("UNNEST(array), EXPLODE(array) and GENERATE_SERIES(from, to) do")
    };
    let Expr::Function(function) = call else { return Err(refused()) };
    let name = expression::function_name(function);
    let arguments: Vec<Expr> = expression::arguments(function).unwrap_or_default().into_iter().cloned().collect();
    let arrays = match name.as_str() {
        "UNNEST" if !arguments.is_empty() => arguments,
        "GENERATE_SERIES" => vec![call.clone()],
        name if Registry::table(name).is_some() => arguments,
        _ => return Err(refused()),
    };
    let one_row = Relation {
        name: Name { value: format!("{}_row", relation.name.value), span: relation.name.span },
        alias: None,
        columns: Vec::new(),
        derived: Some(Box::new(Derived::Nothing)),
    };
    let alias = relation.alias.clone().unwrap_or(Name { value: name, span: place });
    let items = arrays.into_iter().map(|array| SelectItem::Expr {
        expr: expression::call("EXPLODE", vec![array]),
        alias: Some(alias.clone()),
        span: place,
    });
    Ok(around(Select { items: items.collect(), ..Select::all_of(one_row) }))
}

/// The rows under other names for their first columns.
fn renamed(mut rows: Rows, names: &[Name], source: &str) -> Result<Rows> {
    if let Some(extra) = names.get(rows.columns.len()) {
        let text = format!("{source} has {} columns, and {} names were given", rows.columns.len(), names.len());
        return Err(Error::statement(text).at(extra.span));
    }
    for (column, name) in rows.columns.iter_mut().zip(names) {
        column.name.clone_from(&name.value);
    }
    Ok(rows)
}

/// One row without columns.
fn one_row() -> Result<Rows> {
    Ok(Rows { plan: LogicalPlanBuilder::empty(true).build()?, columns: Vec::new() })
}

/// What represents a query in the catalogue: a stream without key, time and topic.
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

/// The rows with the columns that every scan has. Their order is that in which the query returns them; they have no place,
/// and a time only where the query returns ROWTIME.
fn numbered(rows: &Rows) -> Result<LogicalPlan> {
    let number = row_number().alias("#number");
    let plan = LogicalPlanBuilder::from(rows.plan.clone()).window(vec![number])?.build()?;
    let (schema, width) = (plan.schema().clone(), rows.columns.len());
    let column = |place: usize| PlanExpr::Column(schema.columns()[place].clone());
    let time = match rows.columns.iter().position(is_time) {
        Some(place) => column(place),
        None => lit(0_i64),
    };
    let mut columns: Vec<(String, PlanExpr)> = vec![
        (pseudo::ROWTIME.to_owned(), time),
        (pseudo::ROWPARTITION.to_owned(), lit(0_i32)),
        (pseudo::ROWOFFSET.to_owned(), lit(0_i64)),
        (ORDINAL.to_owned(), cast(column(width), arrow::datatypes::DataType::Int64)),
        (PRESENT.to_owned(), lit(true)),
    ];
    // Names are looked up by place: those of the hidden columns are the ones that are kept.
    columns.extend(rows.columns.iter().enumerate().map(|(place, field)| (field.name.clone(), column(place))));
    unique(&mut columns);
    columns.rotate_left(5);
    Ok(Compute::plan(columns, plan)?)
}

/// Is it the time of the row?
fn is_time(column: &Column) -> bool {
    column.name == pseudo::ROWTIME && column.ty == SqlType::Bigint
}

/// Have the rows of the source a time?
pub(in crate::plan::select) fn has_time(source: &Source) -> bool {
    !source.is_derived() || source.schema.value.iter().any(is_time)
}

/// A result for people may hold a name twice; a plan may not.
pub(in crate::plan) fn unique(columns: &mut [(String, PlanExpr)]) {
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
