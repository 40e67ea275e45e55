//! The aggregates for DataFusion: the second, simple statement of what each means, to which the incremental one is held.

use super::arranged::Arranged;
use super::copies::measured;
use super::grouped::{self, java_order};
use super::heap_accumulator::Kept;
use super::nodes::external;
use super::windowed::sliding;
use crate::error::Error;
use crate::functions::accumulate::overflow;
use crate::functions::aggregate::{Aggregate, Comparable};
use crate::plan::nodes::call::own_aggregate;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int32Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, NullTreatment, Sort, WindowFunction, WindowFunctionDefinition,
    WindowFunctionParams,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, GroupsAccumulator, Signature, Volatility, lit,
};
use std::sync::Arc;

/// The expression with functions that run in the place of those that only mean.
pub(super) fn lowered(expr: &Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => lowered(&alias.expr).alias(alias.name.clone()),
        Expr::AggregateFunction(call) => {
            let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = call.params.clone();
            let is_count = matches!(own_aggregate(&call.func), Some((Aggregate::Count, _)));
            if is_count && distinct && args.len() == 1 {
                let call = AggregateFunction::new_udf(count_udaf(), args, true, filter, vec![], None);
                return Expr::AggregateFunction(call);
            }
            let (function, args) = runnable(&call.func, args, distinct, &order_by);
            Expr::AggregateFunction(AggregateFunction::new_udf(function, args, false, filter, vec![], null_treatment))
        }
        Expr::WindowFunction(call) => {
            let params = call.params.clone();
            let (fun, params) = match &call.fun {
                WindowFunctionDefinition::WindowUDF(function) => {
                    let is_plain = params.null_treatment != Some(NullTreatment::IgnoreNulls);
                    (WindowFunctionDefinition::WindowUDF(measured(function, is_plain)), params)
                }
                WindowFunctionDefinition::AggregateUDF(function) => {
                    let (function, mut args) = runnable(function, params.args, params.distinct, &[]);
                    let function = sliding(function, args.len(), params.filter.is_some());
                    args.extend(params.filter.map(|condition| *condition));
                    let params = WindowFunctionParams { args, distinct: false, filter: None, ..params };
                    (WindowFunctionDefinition::AggregateUDF(Arc::new(function)), params)
                }
            };
            Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
        }
        other => other.clone(),
    }
}

/// The function that runs, and what it gets: behind the arguments, what they are sorted by.
fn runnable(
    function: &Arc<AggregateUDF>,
    mut args: Vec<Expr>,
    distinct: bool,
    order_by: &[Sort],
) -> (Arc<AggregateUDF>, Vec<Expr>) {
    let (function, counts) = match own_aggregate(function) {
        None => (function.clone(), false),
        Some((aggregate, text)) => {
            // An accumulator learns how many rows there are from a column only.
            if args.is_empty() {
                args.push(lit(true));
            }
            let signature = Signature::any(args.len(), Volatility::Immutable);
            let (aggregate, text) = (aggregate.clone(), text.to_owned());
            let counts = aggregate == Aggregate::Count;
            (Arc::new(AggregateUDF::from(BatchAggregate { aggregate, text, signature })), counts)
        }
    };
    if !distinct && order_by.is_empty() {
        return (function, args);
    }
    let arity = args.len();
    let options = order_by.iter().map(|key| SortOptions { descending: !key.asc, nulls_first: key.nulls_first });
    let arranged = Arranged::new(function, arity, distinct, counts, options.collect());
    args.extend(order_by.iter().map(|key| key.expr.clone()));
    (Arc::new(AggregateUDF::from(arranged)), args)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BatchAggregate {
    aggregate: Aggregate,
    /// As it was written.
    text: String,
    signature: Signature,
}

impl AggregateUDFImpl for BatchAggregate {
    fn name(&self) -> &str {
        match &self.aggregate {
            Aggregate::CountRows | Aggregate::Count => "ksql_count",
            Aggregate::Min(_) => "ksql_min",
            Aggregate::Max(_) => "ksql_max",
            Aggregate::AvgInteger | Aggregate::AvgBigint | Aggregate::AvgDouble => "ksql_avg",
            aggregate if is_simple(aggregate) => "ksql_sum",
            _ => "ksql_aggregate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.aggregate.output().arrow())
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(match is_simple(&self.aggregate) {
            true => Box::new(State::new(&self.aggregate, &self.text)?),
            false => Box::new(Kept::new(&self.aggregate, &self.text)?),
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.of_groups(&args).is_some()
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.of_groups(&args).ok_or_else(|| external(Error::bug(format!("{} has no accumulator of groups", self.text))))
    }

    /// Of no rows at all: what a window without rows gives.
    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        match is_simple(&self.aggregate) {
            true => State::new(&self.aggregate, &self.text)?.evaluate(),
            false => Kept::new(&self.aggregate, &self.text)?.evaluate(),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = args.name;
        if !is_simple(&self.aggregate) {
            return Ok(vec![Arc::new(Field::new(format!("{name}[state]"), DataType::Binary, true))]);
        }
        let state = State::new(&self.aggregate, &self.text)?.sum.data_type();
        Ok(vec![
            Arc::new(Field::new(format!("{name}[value]"), state, true)),
            Arc::new(Field::new(format!("{name}[count]"), DataType::Int64, true)),
        ])
    }
}

impl BatchAggregate {
    fn of_groups(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
        grouped::of(&self.aggregate, &self.text, args.expr_fields.first()?.data_type())
    }
}

/// Is it stated here? The others run as in a continuous query.
fn is_simple(aggregate: &Aggregate) -> bool {
    let text = |ty: &Comparable| matches!(ty, Comparable::String | Comparable::Bytes);
    match aggregate {
        Aggregate::CountRows
        | Aggregate::Count
        | Aggregate::SumInteger
        | Aggregate::SumBigint
        | Aggregate::SumDouble
        | Aggregate::SumDecimal(..)
        | Aggregate::AvgInteger
        | Aggregate::AvgBigint
        | Aggregate::AvgDouble => true,
        Aggregate::Min(ty) | Aggregate::Max(ty) => !text(ty),
        _ => false,
    }
}

/// One group: a value in the making, and how many rows went into it.
#[derive(Debug)]
pub(super) struct State {
    aggregate: Aggregate,
    text: String,
    sum: ScalarValue,
    count: i64,
}

impl State {
    pub(super) fn new(aggregate: &Aggregate, text: &str) -> Result<State> {
        let sum = match aggregate {
            Aggregate::CountRows | Aggregate::Count | Aggregate::SumBigint | Aggregate::AvgBigint => {
                ScalarValue::Int64(Some(0))
            }
            Aggregate::SumInteger | Aggregate::AvgInteger => ScalarValue::Int32(Some(0)),
            Aggregate::SumDouble | Aggregate::AvgDouble => ScalarValue::Float64(Some(0.0)),
            Aggregate::SumDecimal(p, s) => ScalarValue::Decimal128(Some(0), *p, *s),
            other => ScalarValue::try_from(&other.output().arrow())?,
        };
        Ok(State { aggregate: aggregate.clone(), text: text.to_owned(), sum, count: 0 })
    }

    /// Adds what is not NULL in `values`.
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let extreme = matches!(self.aggregate, Aggregate::Min(_) | Aggregate::Max(_));
        match &mut self.sum {
            ScalarValue::Int32(Some(sum)) if !extreme => {
                *sum = values.as_primitive::<Int32Type>().iter().flatten().fold(*sum, i32::wrapping_add);
            }
            ScalarValue::Int64(Some(sum)) if !extreme => {
                *sum = values.as_primitive::<Int64Type>().iter().flatten().fold(*sum, i64::wrapping_add);
            }
            ScalarValue::Float64(Some(sum)) if !extreme => {
                *sum = values.as_primitive::<Float64Type>().iter().flatten().fold(*sum, |a, b| a + b);
            }
            ScalarValue::Decimal128(Some(sum), precision, _) if !extreme => {
                let limit = 10_i128.pow(u32::from(*precision));
                for value in values.as_primitive::<Decimal128Type>().iter().flatten() {
                    let next = sum.checked_add(value).filter(|n| n.abs() < limit);
                    let Some(next) = next else { return Err(external(overflow(Some(&self.text), &self.aggregate))) };
                    *sum = next;
                }
            }
            _ => return self.extreme(values),
        }
        Ok(())
    }

    fn extreme(&mut self, values: &ArrayRef) -> Result<()> {
        let double = matches!(self.aggregate, Aggregate::Min(Comparable::Double) | Aggregate::Max(Comparable::Double));
        let smallest = matches!(self.aggregate, Aggregate::Min(_));
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = ScalarValue::try_from_array(values, row)?;
            let better = match (&value, &self.sum) {
                (_, best) if best.is_null() => true,
                // Java's order: NaN is the highest, -0.0 is below 0.0.
                (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) if double => {
                    let order = java_order(*a).total_cmp(&java_order(*b));
                    if smallest { order.is_lt() } else { order.is_gt() }
                }
                (value, best) if smallest => value < best,
                (value, best) => value > best,
            };
            if better {
                self.sum = value;
            }
        }
        Ok(())
    }
}

impl Accumulator for State {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match (&self.aggregate, values) {
            (_, []) => exec_err!("COUNT(*) is counted over a column"),
            (Aggregate::CountRows, [rows, ..]) => {
                self.count += rows.len() as i64;
                Ok(())
            }
            (Aggregate::Count, [values, ..]) => {
                self.count += (values.len() - values.null_count()) as i64;
                Ok(())
            }
            (_, [values, ..]) => {
                self.count += (values.len() - values.null_count()) as i64;
                self.add(values)
            }
        }
    }

    /// Exactly what was added is taken back; of sums of DOUBLEs and extremes nothing is.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values, ..] = values else { return exec_err!("COUNT(*) is counted over a column") };
        let rows = match self.aggregate {
            Aggregate::CountRows => values.len(),
            _ => values.len() - values.null_count(),
        };
        self.count -= rows as i64;
        match &mut self.sum {
            _ if matches!(self.aggregate, Aggregate::CountRows | Aggregate::Count) => {}
            ScalarValue::Int32(Some(sum)) => {
                *sum = values.as_primitive::<Int32Type>().iter().flatten().fold(*sum, i32::wrapping_sub);
            }
            ScalarValue::Int64(Some(sum)) => {
                *sum = values.as_primitive::<Int64Type>().iter().flatten().fold(*sum, i64::wrapping_sub);
            }
            other => return exec_err!("a value cannot be taken back out of {other}"),
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        matches!(
            self.aggregate,
            Aggregate::CountRows
                | Aggregate::Count
                | Aggregate::SumInteger
                | Aggregate::SumBigint
                | Aggregate::AvgInteger
                | Aggregate::AvgBigint
        )
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mean = |sum: f64, count: i64| ScalarValue::Float64(Some(if count == 0 { 0.0 } else { sum / count as f64 }));
        Ok(match (&self.aggregate, &self.sum) {
            (Aggregate::CountRows | Aggregate::Count, _) => ScalarValue::Int64(Some(self.count)),
            (Aggregate::AvgInteger, ScalarValue::Int32(Some(sum))) => mean(f64::from(*sum), self.count),
            (Aggregate::AvgBigint, ScalarValue::Int64(Some(sum))) => mean(*sum as f64, self.count),
            (Aggregate::AvgDouble, ScalarValue::Float64(Some(sum))) => mean(*sum, self.count),
            (_, sum) => sum.clone(),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sum.size() - size_of_val(&self.sum)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.sum.clone(), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sums, counts] = states else { return exec_err!("a group's state has two parts") };
        self.add(sums)?;
        self.count += counts.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }
}
