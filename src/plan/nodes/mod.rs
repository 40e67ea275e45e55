//! The nodes of a bound plan that have no equivalent in SQL.
//!
//! ```text
//! Keep        rows for which a program is true                          (WHERE, HAVING)
//! Compute     new columns from programs                                 (SELECT, group keys, aggregate arguments)
//! Explode     a row for each element of arrays                          (EXPLODE)
//! Rekey       rows get a new key, and perhaps another partition         (GROUP BY, PARTITION BY)
//! TimeWindow  a row once per window that it falls into; late rows go    (WINDOW)
//! Sink        what leaves: key and value columns                        (CREATE AS, INSERT INTO, push queries)
//! ```

pub mod call;
pub mod join;
pub mod system;
pub mod table;
pub mod tuple;

use self::table::{ORDINAL, PRESENT};
use crate::catalog::{Format, KeyWindow};
use crate::plan::explain::partitions;
use crate::types::time::Window;
use crate::types::{Column as SqlColumn, pseudo};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Rows for which the program is true.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keep {
    /// BOOLEAN.
    pub predicate: Expr,
    /// `HAVING` or `WHERE`.
    pub clause: &'static str,
    input: LogicalPlan,
}

/// New columns from programs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compute {
    /// One a column, aliased.
    pub expressions: Vec<Expr>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

/// A row for each element: the columns from `first` on are arrays, and hold their elements above.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Explode {
    /// The first array.
    pub first: usize,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

/// Rows get a new key: the first `key` columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rekey {
    /// Key columns, as internal topics hold them.
    pub key: Vec<SqlColumn>,
    /// Format of the key bytes that decide the partition and are written to internal topics.
    pub key_format: Format,
    /// Partitions after the change; `None` = rows stay where they are (the key is the source's).
    pub partitions: Option<u32>,
    /// Rows whose key is NULL or whose value is absent are dropped (GROUP BY).
    pub grouping: bool,
    columns: Vec<Expr>,
    input: LogicalPlan,
}

/// A row once per window that it falls into, with the bounds; late rows are dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeWindow {
    /// The windows.
    pub window: Window,
    /// EMIT FINAL.
    pub final_only: bool,
    /// EMIT FINAL loses windows where time jumps, as in ksqlDB.
    pub loses_windows: bool,
    times: Vec<Expr>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

/// The output of the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sink {
    /// Stream or table written; `None` = a push query's reader.
    pub name: Option<String>,
    /// Key columns: the first of the input.
    pub key: Vec<SqlColumn>,
    /// Value columns: those after them.
    pub value: Vec<SqlColumn>,
    /// The key is windowed.
    pub window: Option<KeyWindow>,
    /// It is a table.
    pub table: bool,
    /// Value column that stamps the records.
    pub timestamp: Option<usize>,
    input: LogicalPlan,
}

impl Keep {
    /// A plan that keeps the rows of `input`.
    pub fn plan(predicate: Expr, clause: &'static str, input: LogicalPlan) -> LogicalPlan {
        extension(Keep { predicate, clause, input })
    }

    /// The node below.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl Compute {
    /// A plan that computes named columns from `input`.
    pub fn plan(columns: Vec<(String, Expr)>, input: LogicalPlan) -> Result<LogicalPlan> {
        let mut fields = Vec::with_capacity(columns.len());
        let mut expressions = Vec::with_capacity(columns.len());
        for (name, expr) in columns {
            let ty = expr.get_type(input.schema())?;
            fields.push((None, Arc::new(Field::new(&name, ty, true))));
            expressions.push(expr.alias(name));
        }
        let schema = schema(fields)?;
        Ok(extension(Compute { expressions, input, schema }))
    }

    /// The node below.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl Explode {
    /// A plan whose rows hold the elements of the arrays that `input` has from column `first` on.
    pub fn plan(first: usize, input: LogicalPlan) -> Result<LogicalPlan> {
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), f.clone())).collect();
        for (_, field) in &mut fields[first..] {
            let DataType::List(item) = field.data_type() else {
                return datafusion::common::internal_err!("only arrays are taken apart");
            };
            *field = Arc::new(Field::new(field.name(), item.data_type().clone(), true));
        }
        let schema = schema(fields)?;
        Ok(extension(Explode { first, input, schema }))
    }

    /// The node below.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl Rekey {
    /// A plan whose rows have the first columns of `input` as their key.
    pub fn plan(
        key: Vec<SqlColumn>,
        key_format: Format,
        partitions: Option<u32>,
        grouping: bool,
        input: LogicalPlan,
    ) -> LogicalPlan {
        let all = input.schema().columns();
        let wanted = |name: &str| [pseudo::ROWPARTITION, PRESENT].contains(&name);
        let columns = all
            .iter()
            .enumerate()
            .filter(|(i, c)| *i < key.len() || wanted(&c.name))
            .map(|(_, c)| Expr::Column(c.clone()))
            .collect();
        extension(Rekey { key, key_format, partitions, grouping, columns, input })
    }

    /// The node below.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl TimeWindow {
    /// A plan whose rows are assigned to windows: WINDOWSTART and WINDOWEND are its last columns.
    pub fn plan(window: Window, final_only: bool, loses_windows: bool, input: LogicalPlan) -> Result<LogicalPlan> {
        let times = [pseudo::ROWTIME, pseudo::ROWPARTITION, ORDINAL];
        let times = input.schema().columns().into_iter().filter(|c| times.contains(&c.name.as_str()));
        let times = times.map(Expr::Column).collect();
        let schema = windowed(input.schema())?;
        Ok(extension(TimeWindow { window, final_only, loses_windows, times, input, schema }))
    }

    /// The node below.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

impl Sink {
    /// A plan that writes the columns of `input`, key columns first.
    pub fn plan(
        name: Option<String>,
        columns: (Vec<SqlColumn>, Vec<SqlColumn>),
        window: Option<KeyWindow>,
        table: bool,
        timestamp: Option<usize>,
        input: LogicalPlan,
    ) -> LogicalPlan {
        let (key, value) = columns;
        extension(Sink { name, key, value, window, table, timestamp, input })
    }

    /// The node below.
    pub fn input(&self) -> &LogicalPlan {
        &self.input
    }
}

/// The node of type `N`, if that is what the plan's root is.
pub fn downcast<N: 'static>(plan: &LogicalPlan) -> Option<&N> {
    match plan {
        LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref(),
        _ => None,
    }
}

fn extension<N: UserDefinedLogicalNodeCore>(node: N) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

fn schema(fields: Vec<(Option<TableReference>, FieldRef)>) -> Result<DFSchemaRef> {
    Ok(Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?))
}

fn windowed(input: &DFSchema) -> Result<DFSchemaRef> {
    let mut fields: Vec<_> = input.iter().map(|(q, f)| (q.cloned(), f.clone())).collect();
    for name in [pseudo::WINDOWSTART, pseudo::WINDOWEND] {
        fields.push((None, Arc::new(Field::new(name, DataType::Int64, true))));
    }
    schema(fields)
}

/// Columns of `input` that `expressions` read, and `passed`.
fn needed(expressions: &[Expr], input: &LogicalPlan, passed: &[usize]) -> Vec<usize> {
    let mut needed: BTreeSet<usize> = passed.iter().copied().collect();
    for expr in expressions {
        for column in expr.column_refs() {
            needed.extend(input.schema().maybe_index_of_column(column));
        }
    }
    needed.into_iter().collect()
}

fn only(mut inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    match inputs.pop() {
        Some(input) if inputs.is_empty() => Ok(input),
        _ => datafusion::common::internal_err!("this node has one input"),
    }
}

fn names(schema: &DFSchema) -> HashSet<String> {
    schema.field_names().into_iter().chain(schema.fields().iter().map(|f| f.name().clone())).collect()
}

/// Order among plans is of no use to anybody; equal or not is.
macro_rules! unordered {
    ($($node:ty),*) => {$(
        impl PartialOrd for $node {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                (self == other).then_some(Ordering::Equal)
            }
        }
    )*};
}
unordered!(Keep, Compute, Explode, Rekey, TimeWindow, Sink);

impl UserDefinedLogicalNodeCore for Keep {
    fn name(&self) -> &str {
        "Keep"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.predicate.clone()]
    }

    // No filter passes: this one is to run on the rows that the statement gives it.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        names(self.schema())
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keep: {} {}", self.clause, call::text(&self.predicate))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Keep> {
        let predicate = exprs.into_iter().next().unwrap_or_else(|| self.predicate.clone());
        Ok(Keep { predicate, clause: self.clause, input: only(inputs)? })
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![needed(std::slice::from_ref(&self.predicate), &self.input, output)])
    }
}

impl UserDefinedLogicalNodeCore for Compute {
    fn name(&self) -> &str {
        "Compute"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.expressions.clone()
    }

    // Its columns have new names, so that no filter above can be understood below.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        names(&self.schema)
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compute: ")?;
        for (i, expr) in self.expressions.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, call::text(expr))?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Compute> {
        Ok(Compute { expressions: exprs, input: only(inputs)?, schema: self.schema.clone() })
    }

    fn necessary_children_exprs(&self, _output: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![needed(&self.expressions, &self.input, &[])])
    }
}

impl UserDefinedLogicalNodeCore for Explode {
    fn name(&self) -> &str {
        "Explode"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        names(&self.schema)
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.schema.columns();
        let arrays: Vec<&str> = columns[self.first..].iter().map(|c| c.name.as_str()).collect();
        write!(f, "Explode: {}", arrays.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Explode> {
        Ok(Explode { input: only(inputs)?, ..self.clone() })
    }

    // All columns pass: the places of the arrays are counted in them.
    fn necessary_children_exprs(&self, _output: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.schema.fields().len()).collect()])
    }
}

impl UserDefinedLogicalNodeCore for Rekey {
    fn name(&self) -> &str {
        "Rekey"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.columns.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        names(self.schema())
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rekey: ")?;
        for (i, column) in self.key.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, column.name)?;
        }
        match self.partitions {
            Some(n) => write!(f, " as {}, into {}", self.key_format.name(), partitions(n)),
            None if self.grouping => f.write_str(", where they are"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Rekey> {
        Ok(Rekey { columns: exprs, input: only(inputs)?, ..self.clone() })
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![needed(&self.columns, &self.input, output)])
    }
}

impl UserDefinedLogicalNodeCore for TimeWindow {
    fn name(&self) -> &str {
        "TimeWindow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.times.clone()
    }

    // A row filtered out below would not move the time above.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        names(&self.schema)
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeWindow: {}", self.window)?;
        if self.final_only { f.write_str(", when it closes") } else { Ok(()) }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<TimeWindow> {
        let input = only(inputs)?;
        let schema = windowed(input.schema())?;
        let (window, final_only, loses_windows) = (self.window, self.final_only, self.loses_windows);
        Ok(TimeWindow { window, final_only, loses_windows, times: exprs, input, schema })
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let own = self.input.schema().fields().len();
        let passed: Vec<usize> = output.iter().copied().filter(|i| *i < own).collect();
        Some(vec![needed(&self.times, &self.input, &passed)])
    }
}

impl UserDefinedLogicalNodeCore for Sink {
    fn name(&self) -> &str {
        "Sink"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "Sink: {} {name}", if self.table { "table" } else { "stream" }),
            None => f.write_str("Sink: the client"),
        }
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Sink> {
        Ok(Sink { input: only(inputs)?, ..self.clone() })
    }
}
