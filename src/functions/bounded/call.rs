//! A function of DataFusion behind a bound: every value is estimated before it is made, and rows that would make much
//! together are worked on in parts, with a look at the query's own bounds between them.

use super::cost::Cost;
use super::sizes::repeated;
use super::{Allowed, Bound, PATTERN_BYTES_MAX, STEPS_MAX, Sort, VALUE_BYTES_MAX, external};
use crate::error::Error;
use crate::memory;
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ExprSchema, Result};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::sync::Arc;

/// Bytes that one call makes at once, as estimated; more are made in parts.
const PART_BYTES: u64 = 64 << 20;
/// Steps of one call: a second of work, after which the query's time is looked at.
const PART_STEPS: u64 = 1 << 28;

/// The function as it may be called; `None` = it may not.
pub(super) fn bounded(
    function: Arc<ScalarUDF>,
    allowed: impl Fn(&str, Sort) -> Option<&'static Allowed>,
) -> Option<Arc<ScalarUDF>> {
    match allowed(function.name(), Sort::Scalar)?.bound {
        Bound::Given => Some(function),
        bound => Some(Arc::new(ScalarUDF::from(Bounded::new(function, bound)))),
    }
}

/// A function and its bound.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounded {
    function: Arc<ScalarUDF>,
    bound: Bound,
}

impl Bounded {
    /// The function, within the bound.
    pub(crate) fn new(function: Arc<ScalarUDF>, bound: Bound) -> Bounded {
        Bounded { function, bound }
    }

    /// What one value may cost, and what a part of the rows may.
    fn limits(&self) -> (u64, u64) {
        match self.bound {
            Bound::Compared => (STEPS_MAX, PART_STEPS),
            Bound::Pattern => (PATTERN_BYTES_MAX, u64::MAX),
            _ => (VALUE_BYTES_MAX, PART_BYTES),
        }
    }

    fn refused(&self, cost: u64) -> Error {
        let name = self.function.name();
        let (most, _) = self.limits();
        let told = match self.bound {
            Bound::Compared => format!("{cost} steps for one value are too many: {name} takes at most {most}"),
            Bound::Pattern => format!("a pattern of {cost} bytes is too long: {name} takes at most {most}"),
            _ => format!("a value of {cost} bytes is too large: {name} makes at most {most}"),
        };
        Error::statement(told).with_hint("give it shorter values; COMPATIBILITY.md lists the bound of every function")
    }

    /// Works on the rows part by part.
    fn in_parts(&self, args: &ScalarFunctionArgs, costs: &[u64], most: u64) -> Result<ColumnarValue> {
        let mut made: Vec<ArrayRef> = Vec::new();
        let mut start = 0;
        while start < costs.len() {
            let mut sum = 0_u64;
            let fits = |cost: &&u64| {
                sum = sum.saturating_add(**cost);
                sum <= most
            };
            let rows = costs[start..].iter().take_while(fits).count().max(1);
            memory::check().map_err(external)?;
            if self.bound != Bound::Compared {
                let bytes: u64 = costs[start..start + rows].iter().sum();
                memory::reserve(bytes as usize).map_err(external)?;
            }
            let part = self.function.invoke_with_args(sliced(args, start, rows))?;
            made.push(repeated(part, rows)?);
            start += rows;
        }
        let made: Vec<&dyn Array> = made.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&made)?))
    }
}

fn sliced(args: &ScalarFunctionArgs, start: usize, rows: usize) -> ScalarFunctionArgs {
    let part = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
        ColumnarValue::Scalar(_) => arg.clone(),
    };
    ScalarFunctionArgs { args: args.args.iter().map(part).collect(), number_rows: rows, ..args.clone() }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        #[expect(deprecated, reason = "the planner still asks")]
        self.function.inner().is_nullable(args, schema)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (value_most, part_most) = self.limits();
        let costs = Cost::new(&args.args, args.number_rows).of(self.bound, self.function.name())?;
        if let Some(cost) = costs.iter().find(|cost| **cost > value_most) {
            return Err(external(self.refused(*cost)));
        }
        let all = costs.iter().fold(0_u64, |sum, cost| sum.saturating_add(*cost));
        if all > part_most && costs.len() > 1 {
            return self.in_parts(&args, &costs, part_most);
        }
        if self.limits().0 == VALUE_BYTES_MAX {
            memory::reserve(all as usize).map_err(external)?;
        }
        self.function.invoke_with_args(args)
    }

    fn short_circuits(&self) -> bool {
        self.function.short_circuits()
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.function.evaluate_bounds(input)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.function.output_ordering(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }
}
