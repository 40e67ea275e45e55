//! A bound plan to a [`Pipeline`].
//!
//! Reads the bound plan, never an optimised one, and prunes columns itself: the scan decodes what some program reads, and
//! program column numbers become places in a list of [`InputColumn`]s.

mod leaf;
pub mod upgrade;

use crate::error::{Error, Result};
use crate::execute::pipeline::{
    AggregateCall, AggregateSpec, ExplodeSpec, Hop, InputColumn, OutputSpec, Pipeline, RowSpec,
};
use crate::plan::nodes::call;
use crate::plan::nodes::join::is_join;
use crate::plan::nodes::{Compute, Explode, Keep, Rekey, Sink, TimeWindow, downcast};
use crate::plan::scalar::Program;
use crate::types::{Column, SqlType};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use leaf::{Inputs, Leaf};
use std::collections::BTreeSet;

/// Stable name of the hop below a grouping.
const HOP_NAME: &str = "Aggregate-GroupBy";
/// Stable name of a grouping's state.
const AGGREGATE_NAME: &str = "Aggregate-Aggregate-Materialize";

/// The pipeline of a bound plan with a Sink at its root.
pub fn pipeline(plan: &LogicalPlan) -> Result<Pipeline> {
    let sink: &Sink = downcast(plan).ok_or_else(|| unexpected("a Sink", plan))?;
    let (rekey, below) = match downcast::<Rekey>(sink.input()) {
        Some(rekey) if !rekey.grouping => (Some(rekey), rekey.input()),
        _ => (None, sink.input()),
    };
    let compute: &Compute = downcast(below).ok_or_else(|| unexpected("a Compute", below))?;
    let (keeps, below) = keeps(compute.input());
    match below {
        LogicalPlan::Aggregate(aggregate) => grouped(sink, compute, &keeps, aggregate),
        below if let Some(explode) = downcast::<Explode>(below) => {
            exploded(sink, compute, explode, below.schema(), rekey.is_some())
        }
        LogicalPlan::TableScan(_) => flat(sink, compute, &keeps, below, rekey.is_some()),
        joins if is_join(joins) => flat(sink, compute, &keeps, joins, rekey.is_some()),
        other => Err(unexpected("a scan, a join or an aggregate", other)),
    }
}

/// The joins of a bound plan alone: what comes out are these columns of the last one, as values.
pub(crate) fn joins(join: &LogicalPlan, columns: &[usize]) -> Result<Pipeline> {
    let leaf = Leaf::of(join)?;
    let value = columns.iter().map(|c| Program::column(*c, leaf.schema.field(*c).name().as_str())).collect();
    let mut rows = RowSpec { value, same_key: true, ..RowSpec::default() };
    let Inputs { scans, joins } = leaf.number(&mut rows)?;
    let output = OutputSpec { key: vec![], value: vec![], window: None, table: false, timestamp: None };
    Ok(Pipeline {
        scans,
        joins,
        gather: None,
        rows,
        explode: None,
        table: None,
        hop: None,
        aggregate: None,
        after: None,
        output,
    })
}

fn unexpected(wanted: &str, plan: &LogicalPlan) -> Error {
    Error::bug(format!("{wanted} was expected in a bound plan, not {}", plan.display()))
}

/// The filters on top of a node, in the order in which they are to run, and the node.
fn keeps(mut plan: &LogicalPlan) -> (Vec<&Keep>, &LogicalPlan) {
    let mut keeps = Vec::new();
    while let Some(keep) = downcast::<Keep>(plan) {
        keeps.push(keep);
        plan = keep.input();
    }
    keeps.reverse();
    (keeps, plan)
}

/// No grouping: one stage.
fn flat(sink: &Sink, compute: &Compute, keeps: &[&Keep], scan: &LogicalPlan, rekeyed: bool) -> Result<Pipeline> {
    let leaf = Leaf::of(scan)?;
    let filter = predicates(keeps, &leaf.schema)?;
    let all = programs(&compute.expressions, &leaf.schema)?;
    let (key, value) = all.split_at(sink.key.len());
    let same_key = !rekeyed;
    // A row that leaves the filter is a tombstone only if it was there: only then is there something to know.
    let table = (leaf.is_table() && !keeps.is_empty()).then(|| leaf.table_spec(Vec::new(), 0));
    let mut spec = RowSpec {
        slots: Vec::new(),
        keep: filter,
        key: if same_key { vec![] } else { key.to_vec() },
        value: value.to_vec(),
        drop_null_keys: false,
        drop_null_values: !keeps.is_empty(),
        same_key,
        keep_absent: table.is_some(),
        groups: 0,
    };
    let Inputs { scans, joins } = leaf.number(&mut spec)?;
    let (gather, output) = (leaf.gather(), output(sink));
    let (explode, hop, aggregate, after) = (None, None, None, None);
    Ok(Pipeline { scans, joins, gather, rows: spec, explode, table, hop, aggregate, after, output })
}

/// EXPLODE: what the projection reads and the arrays first, then the projection.
fn exploded(sink: &Sink, compute: &Compute, explode: &Explode, schema: &DFSchema, rekeyed: bool) -> Result<Pipeline> {
    let all = programs(&compute.expressions, schema)?;
    let (key, value) = all.split_at(sink.key.len());
    let below: &Compute = downcast(explode.input()).ok_or_else(|| unexpected("a Compute", explode.input()))?;
    let (wheres, scan) = keeps(below.input());
    let leaf = Leaf::of(scan)?;
    let mut read: BTreeSet<usize> = all.iter().flat_map(reads).collect();
    read.extend(explode.first..below.expressions.len());
    let read: Vec<usize> = read.into_iter().collect();
    let inputs = programs(&below.expressions, &leaf.schema)?;
    let row = |value: Vec<Program>| RowSpec { same_key: true, value, ..RowSpec::default() };
    let mut rows = row(read.iter().map(|column| inputs[*column].clone()).collect());
    rows.keep = predicates(&wheres, &leaf.schema)?;
    rows.drop_null_values = true;
    let Inputs { scans, joins } = leaf.number(&mut rows)?;
    let mut after = row(value.to_vec());
    if rekeyed {
        after.same_key = false;
        after.key = key.to_vec();
    }
    let place = |column: usize| read.binary_search(&column).map_err(|_| Error::bug("a column was not passed on"));
    renumber(&mut after, &|column| place(column).map(InputColumn::Value))?;
    let arrays = (explode.first..below.expressions.len()).map(place).collect::<Result<_>>()?;
    let explode = Some(ExplodeSpec { arrays, after });
    Ok(Pipeline {
        scans,
        joins,
        gather: None,
        rows,
        explode,
        table: None,
        hop: None,
        aggregate: None,
        after: None,
        output: output(sink),
    })
}

/// A grouping: two stages, if rows change partition.
fn grouped(sink: &Sink, compute: &Compute, having: &[&Keep], aggregate: &Aggregate) -> Result<Pipeline> {
    let mut below = aggregate.input.as_ref();
    let window = downcast::<TimeWindow>(below);
    if let Some(window) = window {
        below = window.input();
    }
    let rekey: &Rekey = downcast(below).ok_or_else(|| unexpected("a Rekey", below))?;
    let groups: &Compute = downcast(rekey.input()).ok_or_else(|| unexpected("a Compute", rekey.input()))?;
    let (wheres, scan) = keeps(groups.input());
    let leaf = Leaf::of(scan)?;
    let keys = rekey.key.len();
    let calls = calls(aggregate, keys)?;
    let arguments = calls.iter().flat_map(|c| &c.arguments).max().map_or(0, |last| last + 1);
    let all = programs(&groups.expressions[..keys + arguments], &leaf.schema)?;
    // Over a table the new key is known only once the old row is: until then the group keys are values.
    let table = leaf.is_table().then(|| {
        let arguments = groups.schema().fields()[keys..keys + arguments].iter();
        let types = arguments.map(|f| SqlType::from_arrow(f.data_type()).ok_or_else(|| Error::bug("an odd argument")));
        let types = rekey.key.iter().map(|c| Ok(c.ty.clone())).chain(types);
        let columns = types.enumerate().map(|(i, ty)| Ok(Column::value(format!("C{i}"), ty?)));
        Ok::<_, Error>(leaf.table_spec(columns.collect::<Result<_>>()?, keys))
    });
    let table = table.transpose()?;
    let same_key = rekey.partitions.is_none() || table.is_some();
    let mut rows = RowSpec {
        slots: Vec::new(),
        keep: predicates(&wheres, &leaf.schema)?,
        key: if same_key { vec![] } else { all[..keys].to_vec() },
        value: all[if table.is_some() { 0 } else { keys }..].to_vec(),
        drop_null_keys: table.is_none(),
        drop_null_values: true,
        same_key,
        keep_absent: table.is_some(),
        groups: table.as_ref().map_or(0, |_| keys),
    };
    let Inputs { scans, joins } = leaf.number(&mut rows)?;
    let hop = rekey.partitions.map(|partitions| Hop {
        name: HOP_NAME.to_owned(),
        partitions,
        key_format: rekey.key_format,
        key: rekey.key.clone(),
    });
    let spec = AggregateSpec {
        name: AGGREGATE_NAME.to_owned(),
        window: window.map(|w| w.window),
        final_only: window.is_some_and(|w| w.final_only),
        loses_windows: window.is_some_and(|w| w.loses_windows),
        texts: aggregate.aggr_expr.iter().map(|e| call::aggregate_text(e).unwrap_or_default().to_owned()).collect(),
        calls,
        key_format: rekey.key_format,
        key: rekey.key.clone(),
    };
    let after = after(sink, compute, having, &aggregate.schema, (keys, window.is_some()))?;
    let (gather, aggregate, after) = (leaf.gather(), Some(spec), Some(after));
    Ok(Pipeline { scans, joins, gather, rows, explode: None, table, hop, aggregate, after, output: output(sink) })
}

fn calls(aggregate: &Aggregate, keys: usize) -> Result<Vec<AggregateCall>> {
    let input = aggregate.input.schema();
    let mut calls = Vec::new();
    for expr in &aggregate.aggr_expr {
        let (function, args) =
            call::aggregate_of(expr).ok_or_else(|| Error::bug(format!("{expr} is no aggregate of ours")))?;
        let place = |arg: &Expr| match arg {
            Expr::Column(column) => Ok(call::index(column, input)? - keys),
            other => Err(Error::bug(format!("{other} is no column"))),
        };
        calls.push(AggregateCall {
            function: function.clone(),
            arguments: args.iter().map(place).collect::<Result<_>>()?,
        });
    }
    Ok(calls)
}

/// HAVING and SELECT over group keys, window bounds and results.
fn after(
    sink: &Sink,
    compute: &Compute,
    having: &[&Keep],
    schema: &DFSchema,
    (keys, windowed): (usize, bool),
) -> Result<RowSpec> {
    let all = programs(&compute.expressions, schema)?;
    let mut spec = RowSpec {
        slots: Vec::new(),
        keep: predicates(having, schema)?,
        key: vec![],
        value: all[sink.key.len()..].to_vec(),
        drop_null_keys: false,
        drop_null_values: false,
        same_key: true,
        keep_absent: false,
        groups: 0,
    };
    let bounds = if windowed { 2 } else { 0 };
    renumber(&mut spec, &|column| {
        Ok(match column {
            c if c < keys => InputColumn::Key(c),
            c if c < keys + bounds && c == keys => InputColumn::WindowStart,
            c if c < keys + bounds => InputColumn::WindowEnd,
            c => InputColumn::Value(c - keys - bounds),
        })
    })?;
    Ok(spec)
}

fn output(sink: &Sink) -> OutputSpec {
    OutputSpec {
        key: sink.key.clone(),
        value: sink.value.clone(),
        window: sink.window,
        table: sink.table,
        timestamp: sink.timestamp,
    }
}

fn predicates(keeps: &[&Keep], input: &DFSchema) -> Result<Vec<Program>> {
    keeps.iter().map(|k| call::program(&k.predicate, input)).collect()
}

fn programs(expressions: &[Expr], input: &DFSchema) -> Result<Vec<Program>> {
    expressions.iter().map(|e| call::program(e, input)).collect()
}

fn reads(program: &Program) -> Vec<usize> {
    program.reads().into_iter().collect()
}

/// Turns plan column numbers into places in `spec.slots`.
fn renumber(spec: &mut RowSpec, slot: &dyn Fn(usize) -> Result<InputColumn>) -> Result<()> {
    let columns: BTreeSet<usize> = spec.keep.iter().chain(&spec.key).chain(&spec.value).flat_map(reads).collect();
    let columns: Vec<usize> = columns.into_iter().collect();
    spec.slots = columns.iter().map(|c| slot(*c)).collect::<Result<_>>()?;
    let number = |column: usize| columns.binary_search(&column).expect("every column that is read was collected");
    for program in spec.keep.iter_mut().chain(&mut spec.key).chain(&mut spec.value) {
        program.remap(&number);
    }
    Ok(())
}
