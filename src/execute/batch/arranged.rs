//! Aggregates over values that are arranged first: each once, or in an order.
//!
//! ```text
//! COLLECT_LIST(DISTINCT a)           values that were not seen yet go on to COLLECT_LIST
//! STRING_AGG(a, ',' ORDER BY t)      rows wait; in the end they are sorted and go to STRING_AGG
//! ```
//!
//! So every aggregate can be called so, whether it knows about order and duplicates or not.

use super::nodes::external;
use crate::memory;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat, filter, is_not_null, lexsort_to_indices, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use std::collections::HashSet;
use std::sync::Arc;

/// An aggregate whose rows are taken once each, or sorted.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Arranged {
    function: Arc<AggregateUDF>,
    /// How many columns it reads; those behind them are sorted by.
    arity: usize,
    distinct: bool,
    /// Rows with a NULL among the arguments do not count.
    without_nulls: bool,
    order: Vec<SortOptions>,
    signature: Signature,
}

impl Arranged {
    pub(super) fn new(
        function: Arc<AggregateUDF>,
        arity: usize,
        distinct: bool,
        without_nulls: bool,
        order: Vec<SortOptions>,
    ) -> Arranged {
        let signature = Signature::any(arity + order.len(), Volatility::Immutable);
        Arranged { function, arity, distinct, without_nulls, order, signature }
    }
}

impl AggregateUDFImpl for Arranged {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(&types[..self.arity])
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.function.return_field(&fields[..self.arity])
    }

    fn default_value(&self, ty: &DataType) -> Result<ScalarValue> {
        self.function.default_value(ty)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let maker = Maker::new(self.function.clone(), &args, self.arity);
        let seen = match self.distinct {
            true => Some(Seen::new(args.expr_fields[..self.arity].iter().map(|f| f.data_type().clone()))?),
            false => None,
        };
        let inner = maker.make()?;
        let (order, without_nulls) = (self.order.clone(), self.without_nulls);
        Ok(Box::new(Rows { inner, maker, seen, without_nulls, order, waiting: Vec::new() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |(i, field): (usize, &FieldRef)| {
            let item = Field::new_list_field(field.data_type().clone(), true);
            Arc::new(Field::new_list(format!("{}[{i}]", args.name), item, true))
        };
        Ok(args.input_fields.iter().enumerate().map(list).collect())
    }
}

/// Makes accumulators of a function again and again.
#[derive(Debug)]
pub(super) struct Maker {
    function: Arc<AggregateUDF>,
    schema: Schema,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
    returns: FieldRef,
    ignore_nulls: bool,
    name: String,
}

impl Maker {
    pub(super) fn new(function: Arc<AggregateUDF>, args: &AccumulatorArgs<'_>, arity: usize) -> Maker {
        Maker {
            function,
            schema: args.schema.clone(),
            exprs: args.exprs[..arity].to_vec(),
            fields: args.expr_fields[..arity].to_vec(),
            returns: args.return_field.clone(),
            ignore_nulls: args.ignore_nulls,
            name: args.name.to_owned(),
        }
    }

    pub(super) fn args(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: self.returns.clone(),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &[],
            is_reversed: false,
            name: &self.name,
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        }
    }

    pub(super) fn make(&self) -> Result<Box<dyn Accumulator>> {
        self.function.accumulator(self.args())
    }
}

/// Rows that were seen.
#[derive(Debug)]
struct Seen {
    converter: RowConverter,
    rows: HashSet<Box<[u8]>>,
    /// Bytes of the rows.
    bytes: usize,
}

impl Seen {
    fn new(types: impl Iterator<Item = DataType>) -> Result<Seen> {
        let converter = RowConverter::new(types.map(SortField::new).collect())?;
        Ok(Seen { converter, rows: HashSet::new(), bytes: 0 })
    }

    /// Which rows are new.
    fn new_among(&mut self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        let rows = self.converter.convert_columns(columns)?;
        let mut new = Vec::with_capacity(rows.num_rows());
        for row in &rows {
            let is_new = !self.rows.contains(row.as_ref());
            if is_new {
                self.bytes += row.as_ref().len();
                self.rows.insert(row.as_ref().into());
            }
            new.push(is_new);
        }
        Ok(new.into())
    }
}

/// One group of an [`Arranged`] aggregate.
#[derive(Debug)]
struct Rows {
    inner: Box<dyn Accumulator>,
    maker: Maker,
    seen: Option<Seen>,
    without_nulls: bool,
    order: Vec<SortOptions>,
    /// Columns of the rows so far, where the function cannot have them yet or others may ask for them.
    waiting: Vec<Vec<ArrayRef>>,
}

impl Rows {
    fn arity(&self) -> usize {
        self.maker.exprs.len()
    }

    /// All rows that wait, each column as one.
    fn whole(&self) -> Result<Option<Vec<ArrayRef>>> {
        whole(self.waiting.iter())
    }
}

pub(super) fn whole<'a>(parts: impl Iterator<Item = &'a Vec<ArrayRef>> + Clone) -> Result<Option<Vec<ArrayRef>>> {
    let Some(width) = parts.clone().next().map(Vec::len) else { return Ok(None) };
    let column = |i: usize| {
        let arrays: Vec<&dyn Array> = parts.clone().map(|part| part[i].as_ref()).collect();
        Ok(concat(&arrays)?)
    };
    (0..width).map(column).collect::<Result<Vec<_>>>().map(Some)
}

pub(super) fn kept(columns: &[ArrayRef], rows: &BooleanArray) -> Result<Vec<ArrayRef>> {
    columns.iter().map(|column| Ok(filter(column, rows)?)).collect()
}

/// A part of a larger array keeps all of it: what waits is copied.
fn copied(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let all = |column: &ArrayRef| UInt32Array::from_iter_values(0..column.len() as u32);
    columns.iter().map(|column| Ok(take(column, &all(column), None)?)).collect()
}

pub(super) fn bytes(columns: &[ArrayRef]) -> usize {
    columns.iter().map(|column| column.get_array_memory_size()).sum()
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let arity = self.arity();
        let mut columns = values.to_vec();
        if self.without_nulls {
            for place in 0..arity {
                let rows = is_not_null(&columns[place])?;
                columns = kept(&columns, &rows)?;
            }
        }
        if let Some(seen) = &mut self.seen {
            let new = seen.new_among(&columns[..arity])?;
            columns = kept(&columns, &new)?;
        }
        if columns.first().is_some_and(|column| column.is_empty()) {
            return Ok(());
        }
        memory::check().map_err(external)?;
        if self.order.is_empty() {
            self.inner.update_batch(&columns[..arity])?;
        }
        self.waiting.push(copied(&columns)?);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        memory::check().map_err(external)?;
        if self.order.is_empty() {
            return self.inner.evaluate();
        }
        let mut inner = self.maker.make()?;
        // All rows as one, and once more in order.
        let copies = 2 * self.waiting.iter().map(|part| bytes(part)).sum::<usize>();
        memory::reserve(copies).map_err(external)?;
        if let Some(columns) = self.whole()? {
            let arity = self.arity();
            let key = |(values, options): (&ArrayRef, &SortOptions)| SortColumn {
                values: values.clone(),
                options: Some(*options),
            };
            let mut keys: Vec<SortColumn> = columns[arity..].iter().zip(&self.order).map(key).collect();
            // Rows that are equal keep their order.
            let place = UInt32Array::from_iter_values(0..columns[0].len() as u32);
            keys.push(SortColumn { values: Arc::new(place), options: None });
            let order = lexsort_to_indices(&keys, None)?;
            let sorted: Vec<ArrayRef> =
                columns[..arity].iter().map(|column| Ok(take(column, &order, None)?)).collect::<Result<_>>()?;
            inner.update_batch(&sorted)?;
        }
        inner.evaluate()
    }

    fn size(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.bytes + seen.rows.capacity() * size_of::<Box<[u8]>>());
        size_of_val(self) + self.inner.size() + seen + self.waiting.iter().map(|part| bytes(part)).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.whole()?.ok_or_else(|| external(crate::error::Error::bug("a group without rows")))?;
        let list = |column: ArrayRef| {
            ScalarValue::List(Arc::new(
                datafusion::common::utils::SingleRowListArrayBuilder::new(column).build_list_array(),
            ))
        };
        Ok(columns.into_iter().map(list).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(first) = states.first() else { return exec_err!("a state has a list for each column") };
        for row in (0..first.len()).filter(|row| first.is_valid(*row)) {
            let columns: Vec<ArrayRef> = states.iter().map(|state| state.as_list::<i32>().value(row)).collect();
            self.update_batch(&columns)?;
        }
        Ok(())
    }
}
