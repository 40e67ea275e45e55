//! Copies of large values by window functions: compared with the memory that is left before they are made.
//!
//! ```text
//! FIRST_VALUE(t) OVER ()              each row gets a copy of one value
//! array_agg(y) OVER (ORDER BY y)      each row gets all values up to it
//! LAG(t, 1000, 'a long text')         the first thousand rows get the text
//! ```
//!
//! DataFusion keeps one result per row and then makes a column of them at once, which no counter could stop any more. Numbers
//! are not measured: a copy is not larger than the row that it belongs to.

use super::nodes::external;
use crate::functions::bounded::sizes;
use crate::memory;
use arrow::array::{Array, ArrayData, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use std::ops::Range;
use std::sync::Arc;

/// Results up to this size are not counted: a number or short text.
const SMALL_RESULT_BYTES: usize = 64;
/// The column that is made of the results grows while it is written: it doubles, and what it was is still there.
const GROWTH: usize = 3;

/// Can a value of this type be larger than a few words?
pub(super) fn is_wide(ty: &DataType) -> bool {
    ty.primitive_width().is_none() && !matches!(ty, DataType::Boolean | DataType::Null)
}

/// Fails before the results of a window's rows need more memory than the query has left.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Bytes of the results of the rows at hand.
    given: usize,
    /// Where those rows are: a window that needs not all of them at once gets others, whose results are a new column.
    rows: usize,
}

impl Copies {
    /// The next result, of a row among those of `column`; `peers` rows share it at least.
    pub(super) fn check(&mut self, result: &ScalarValue, column: Option<&ArrayRef>, peers: usize) -> Result<()> {
        let bytes = result.size() - size_of_val(result);
        if bytes <= SMALL_RESULT_BYTES {
            return Ok(());
        }
        memory::reserve(bytes.saturating_mul(peers)).map_err(external)?;
        let rows = column.map_or(0, |column| place(&column.to_data()));
        if rows != self.rows {
            (self.given, self.rows) = (0, rows);
        }
        self.given = self.given.saturating_add(bytes);
        memory::reserve(self.given.saturating_mul(GROWTH)).map_err(external)
    }
}

/// Where an array's values are, whichever part of them it shows.
fn place(data: &ArrayData) -> usize {
    match data.buffers().first() {
        Some(buffer) => buffer.data_ptr().as_ptr() as usize,
        None => data.child_data().first().map_or(0, place),
    }
}

/// The window function with its copies measured; `is_plain` = NULLs count as other values.
pub(super) fn measured(function: &Arc<WindowUDF>, is_plain: bool) -> Arc<WindowUDF> {
    match function.inner().downcast_ref::<Measured>() {
        Some(_) => function.clone(),
        None => Arc::new(WindowUDF::from(Measured { function: function.clone(), is_plain })),
    }
}

/// The name of a function that is called as it was written: from the first row to the last, NULLs among them.
pub(super) fn plain_name(function: &WindowUDF) -> Option<&str> {
    let measured = function.inner().downcast_ref::<Measured>().filter(|measured| measured.is_plain)?;
    Some(measured.function.name())
}

/// A function that is DataFusion's in all but its evaluator.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Measured {
    function: Arc<WindowUDF>,
    /// Neither reversed nor with IGNORE NULLS.
    is_plain: bool,
}

impl WindowUDFImpl for Measured {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn expressions(&self, args: ExpressionArgs<'_>) -> Vec<Arc<dyn PhysicalExpr>> {
        self.function.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        let is_wide = args.input_fields().first().is_some_and(|field| is_wide(field.data_type()));
        let constant = |at: usize| args.input_exprs().get(at)?.downcast_ref::<Literal>().map(|l| l.value().clone());
        let default_bytes = constant(2).map_or(0, |default| default.size() - size_of_val(&default));
        let shift = match constant(1) {
            Some(ScalarValue::Int64(Some(shift))) => usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX),
            _ => 1,
        };
        let repeats = args.ignore_nulls();
        let inner = self.function.partition_evaluator_factory(args)?;
        // Row by row DataFusion's LEAD with IGNORE NULLS loses count of the values ahead, and gives the default in their place.
        let at_once = repeats && ["lag", "lead"].contains(&self.function.name());
        Ok(match is_wide || at_once {
            true => Box::new(Evaluator { inner, default_bytes, shift, repeats, at_once, copies: Copies::default() }),
            false => inner,
        })
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        self.function.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.function.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.function.reverse_expr() {
            ReversedUDWF::Reversed(function) => ReversedUDWF::Reversed(measured(&function, false)),
            other => other,
        }
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.function.inner().limit_effect(args)
    }
}

#[derive(Debug)]
struct Evaluator {
    inner: Box<dyn PartitionEvaluator>,
    /// What LAG and LEAD give to rows before the first or behind the last, and to how many.
    default_bytes: usize,
    shift: usize,
    /// One value may be the result of many rows, because NULLs are passed over.
    repeats: bool,
    /// The results are right only if they are made for a whole partition at once.
    at_once: bool,
    copies: Copies,
}

impl Evaluator {
    /// The most that a column of results can need.
    fn most(&self, values: &ArrayRef, rows: usize) -> Result<usize> {
        let repeated = match self.repeats {
            true => sizes::bytes(values).into_iter().max().unwrap_or(0).saturating_mul(values.null_count() as u64),
            false => 0,
        };
        let repeated = usize::try_from(repeated).unwrap_or(usize::MAX);
        let defaults = self.default_bytes.saturating_mul(self.shift.min(rows));
        Ok(values.to_data().get_slice_memory_size()?.saturating_add(repeated).saturating_add(defaults))
    }
}

impl PartitionEvaluator for Evaluator {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        if let Some(values) = values.first() {
            memory::reserve(self.most(values, rows)?).map_err(external)?;
        }
        self.inner.evaluate_all(values, rows)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let result = self.inner.evaluate(values, range)?;
        self.copies.check(&result, values.first(), 1)?;
        Ok(result)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        self.inner.evaluate_all_with_rank(rows, ranks)
    }

    fn supports_bounded_execution(&self) -> bool {
        !self.at_once && self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
