//! Sessions in a batch query: they are known only when all rows are, so the operator of continuous queries is run over the
//! history, and asked at the end for what is still open.
//!
//! ```text
//! Aggregate(TimeWindow(SESSION), rows)  -->  Sessions(rows): keys | WINDOWSTART | WINDOWEND | results
//! with MEDIAN, DISTINCT, FILTER ...     -->  Aggregate(Explode(Sessions(rows))), the results being lists of the arguments
//! ```

use super::super::Counts;
use super::super::accumulators::lowered;
use crate::error::{Error, Result};
use crate::execute::change::{ChangeBatch, RowImage};
use crate::execute::operator::session_window::SessionWindowOperator;
use crate::execute::operator::{EmitMode, Operator, OperatorOutput};
use crate::execute::pipeline::{AggregateCall, AggregateSpec};
use crate::functions::aggregate::Aggregate as Function;
use crate::plan::nodes::call;
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::plan::nodes::{Explode, Rekey, TimeWindow, downcast};
use crate::types::time::{Window, WindowKind};
use crate::types::{SqlType, pseudo};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Int32Type, Int64Type, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, Result as DfResult};
use datafusion::logical_expr::{Aggregate, Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Groups rows by key and session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sessions {
    window: Window,
    keys: usize,
    rekey: Rekey,
    /// Functions, and the names of their arguments' columns.
    calls: Vec<(Function, Vec<String>)>,
    /// The calls as they were written.
    texts: Vec<String>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl PartialOrd for Sessions {
    fn partial_cmp(&self, other: &Sessions) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Sessions {
    /// The node in the place of an Aggregate over a SESSION window; `None` = it is over something else.
    pub(crate) fn of(aggregate: &Aggregate) -> DfResult<Option<LogicalPlan>> {
        let Some(window) = downcast::<TimeWindow>(&aggregate.input) else { return Ok(None) };
        if !matches!(window.window.kind, WindowKind::Session { .. }) {
            return Ok(None);
        }
        let Some(rekey) = downcast::<Rekey>(window.input()) else {
            return datafusion::common::internal_err!("no Rekey below a SESSION window");
        };
        if aggregate.aggr_expr.iter().any(|expr| call::aggregate_of(expr).is_none()) {
            return Sessions::listed(window.window, rekey, window.input(), aggregate).map(Some);
        }
        let mut calls = Vec::new();
        for expr in &aggregate.aggr_expr {
            let Some((function, arguments)) = call::aggregate_of(expr) else {
                return datafusion::common::internal_err!("{expr} is no aggregate of ours");
            };
            let name = |e: &Expr| match e {
                Expr::Column(column) => Ok(column.name.clone()),
                other => datafusion::common::internal_err!("{other} is no column"),
            };
            calls.push((function.clone(), arguments.iter().map(name).collect::<DfResult<_>>()?));
        }
        let node = Sessions {
            window: window.window,
            keys: rekey.key.len(),
            rekey: rekey.clone(),
            calls,
            texts: aggregate.aggr_expr.iter().map(|e| call::aggregate_text(e).unwrap_or_default().to_owned()).collect(),
            input: window.input().clone(),
            schema: aggregate.schema.clone(),
        };
        Ok(Some(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    }

    /// Sessions that list their rows, which a native Aggregate groups: for what the operator does not know.
    fn listed(window: Window, rekey: &Rekey, input: &LogicalPlan, aggregate: &Aggregate) -> DfResult<LogicalPlan> {
        let keys = rekey.key.len();
        let bounds = keys + 2;
        let group = aggregate.schema.iter().take(bounds);
        let mut fields: Vec<_> = group.map(|(q, field)| (q.cloned(), field.clone())).collect();
        let mut calls = Vec::new();
        for field in &input.schema().fields()[keys..] {
            let name = field.name();
            if [pseudo::ROWTIME, pseudo::ROWPARTITION, PRESENT].contains(&name.as_str()) {
                continue;
            }
            let Some(item) = SqlType::from_arrow(field.data_type()) else {
                return datafusion::common::internal_err!("{name} has a type that no list holds");
            };
            let list = Function::CollectList { item, limit: usize::MAX };
            fields.push((None, Arc::new(Field::new(name, list.output().arrow(), true))));
            calls.push((list, vec![name.clone()]));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        let texts = vec![String::new(); calls.len()];
        let node = Sessions { window, keys, rekey: rekey.clone(), calls, texts, input: input.clone(), schema };
        let sessions = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        let rows = Explode::plan(bounds, sessions)?;
        let calls = aggregate.aggr_expr.iter().map(|call| lowered(&in_order(call))).collect();
        let (group, schema) = (aggregate.group_expr.clone(), aggregate.schema.clone());
        Ok(LogicalPlan::Aggregate(Aggregate::try_new_with_schema(Arc::new(rows), group, calls, schema)?))
    }

    /// What runs it.
    pub(crate) fn runner(&self, counts: &Arc<Counts>) -> Runner {
        Runner { node: self.clone(), operators: BTreeMap::new(), seq: 0, counts: counts.clone() }
    }
}

/// The call over rows in the order in which they came: a list has those of a merged session one after the other.
fn in_order(call: &Expr) -> Expr {
    match call {
        Expr::Alias(alias) => in_order(&alias.expr).alias(alias.name.clone()),
        Expr::AggregateFunction(call) if call.params.order_by.is_empty() && !call.params.distinct => {
            let mut call = call.clone();
            call.params.order_by = vec![datafusion::prelude::ident(ORDINAL).sort(true, false)];
            Expr::AggregateFunction(call)
        }
        other => other.clone(),
    }
}

impl UserDefinedLogicalNodeCore for Sessions {
    fn name(&self) -> &str {
        "Sessions"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    // Its columns are read by name, all of them: nothing below may be pruned or rewritten.
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions: {}", self.window)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Sessions> {
        match inputs.pop() {
            Some(input) if inputs.is_empty() => Ok(Sessions { input, ..self.clone() }),
            _ => datafusion::common::internal_err!("this node has one input"),
        }
    }
}

/// The operators of all partitions at work.
pub(crate) struct Runner {
    node: Sessions,
    operators: BTreeMap<i32, SessionWindowOperator>,
    seq: u64,
    counts: Arc<Counts>,
}

impl Runner {
    /// Takes rows; returns the sessions that they closed.
    pub(crate) fn run(&mut self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let column = |name: &str| -> Result<&ArrayRef> {
            batch.column_by_name(name).ok_or_else(|| Error::bug(format!("no {name} below a SESSION window")))
        };
        let partitions = column(pseudo::ROWPARTITION)?.as_primitive::<Int32Type>().values().clone();
        let mut present: Vec<i32> = partitions.to_vec();
        present.sort_unstable();
        present.dedup();
        let mut out = OperatorOutput::default();
        for partition in present {
            let rows: BooleanArray = partitions.iter().map(|p| Some(*p == partition)).collect();
            let changes = self.changes(&filter_record_batch(batch, &rows)?)?;
            let operator = match self.operators.entry(partition) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => place.insert(self.node.operator()?),
            };
            operator.step(&[Some(&changes)], &mut out)?;
            operator.commit();
        }
        self.answer(out, schema)
    }

    /// No more rows will come: returns the sessions that are still open.
    pub(crate) fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut out = OperatorOutput::default();
        for operator in self.operators.values_mut() {
            operator.close_all(&mut out)?;
        }
        self.answer(out, schema)
    }

    fn changes(&mut self, batch: &RecordBatch) -> Result<ChangeBatch> {
        let named = |name: &String| batch.column_by_name(name).cloned();
        let arguments: Option<Vec<ArrayRef>> = self.node.calls.iter().flat_map(|c| &c.1).map(named).collect();
        let arguments = arguments.ok_or_else(|| Error::bug("an argument is not below its aggregate"))?;
        let rowtime = batch.column_by_name(pseudo::ROWTIME).map(|c| c.as_primitive::<Int64Type>().values().clone());
        let first = self.seq;
        self.seq += batch.num_rows() as u64;
        Ok(ChangeBatch {
            key: batch.columns()[..self.node.keys].to_vec(),
            key_present: None,
            new: RowImage { columns: arguments, present: None },
            old: None,
            rowtime: rowtime.ok_or_else(|| Error::bug("no ROWTIME below a SESSION window"))?,
            window: None,
            seq: (first..self.seq).collect::<Vec<_>>().into(),
        })
    }

    fn answer(&self, out: OperatorOutput, schema: &SchemaRef) -> Result<RecordBatch> {
        self.counts.late.fetch_add(out.late, std::sync::atomic::Ordering::Relaxed);
        self.counts.bad.fetch_add(out.bad.left_out() as u64, std::sync::atomic::Ordering::Relaxed);
        let mut batches = Vec::new();
        for batch in out.batches {
            let mut columns = batch.key;
            if let Some(bounds) = batch.window {
                columns.push(Arc::new(Int64Array::new(bounds.start, None)));
                columns.push(Arc::new(Int64Array::new(bounds.end, None)));
            }
            columns.extend(batch.new.columns);
            batches.push(RecordBatch::try_new(schema.clone(), columns)?);
        }
        Ok(arrow::compute::concat_batches(schema, &batches)?)
    }
}

impl Sessions {
    /// Writes a session when it closes, so that little is held.
    fn operator(&self) -> Result<SessionWindowOperator> {
        let mut next = 0;
        let calls = self.calls.iter().map(|(function, arguments)| {
            next += arguments.len();
            AggregateCall { function: function.clone(), arguments: (next - arguments.len()..next).collect() }
        });
        let spec = AggregateSpec {
            name: String::new(),
            window: Some(self.window),
            final_only: true,
            loses_windows: false,
            texts: self.texts.clone(),
            calls: calls.collect(),
            key_format: self.rekey.key_format,
            key: self.rekey.key.clone(),
        };
        SessionWindowOperator::new(&spec, EmitMode::LatestPerKey)
    }
}
