//! Aggregates over the rows of windows: any aggregate, whether it can give rows back or not.
//!
//! ```text
//! MEDIAN(a) OVER (ROWS 5 PRECEDING)                rows wait while the window has them; MEDIAN sees them for each result
//! MAX(t) FILTER (WHERE n = 1) OVER ()              the condition is one more argument
//! ```
//!
//! Each row gets a copy of its result, and all copies are made at once, behind the last row: [`Copies`] bounds them. That is why
//! FILTER is applied here: rows that it passes over get a copy, too.

use super::arranged::{Maker, bytes, kept, whole};
use super::copies::{Copies, is_wide};
use super::nodes::external;
use crate::memory;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use std::collections::VecDeque;
use std::sync::Arc;

/// The function for windows; `arity` columns are its arguments, and a condition may follow.
pub(super) fn sliding(function: Arc<AggregateUDF>, arity: usize, filtered: bool) -> AggregateUDF {
    let signature = Signature::any(arity + usize::from(filtered), Volatility::Immutable);
    AggregateUDF::from(Sliding { function, arity, signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sliding {
    function: Arc<AggregateUDF>,
    arity: usize,
    signature: Signature,
}

impl AggregateUDFImpl for Sliding {
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
        let inner = maker.make()?;
        let copies = is_wide(args.return_field.data_type()).then(Copies::default);
        Ok(Box::new(Growing { inner, seen: Rows::new(self.arity), result: None, copies }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let maker = Maker::new(self.function.clone(), &args, self.arity);
        let inner = self.function.create_sliding_accumulator(maker.args())?;
        let copies = is_wide(args.return_field.data_type()).then(Copies::default);
        let seen = Rows::new(self.arity);
        Ok(match inner.supports_retract_batch() {
            true if copies.is_none() && args.exprs.len() == self.arity => inner,
            true => Box::new(Moving { inner, seen, copies }),
            false => Box::new(Window { maker, rows: VecDeque::new(), seen, copies }),
        })
    }
}

/// The rows that an accumulator was given.
#[derive(Debug)]
struct Rows {
    arity: usize,
    /// How many came since the last result: as many share the next one.
    new: usize,
    last: Option<ArrayRef>,
}

impl Rows {
    fn new(arity: usize) -> Rows {
        Rows { arity, new: 0, last: None }
    }

    fn add(&mut self, values: &[ArrayRef]) {
        self.new += values.first().map_or(0, |column| column.len());
        self.last = values.first().cloned();
    }

    /// The arguments of the rows that FILTER keeps.
    fn kept(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let (arguments, condition) = values.split_at(self.arity);
        match condition.first() {
            Some(condition) => kept(arguments, &is_true(condition.as_boolean())),
            None => Ok(arguments.to_vec()),
        }
    }

    fn check(&mut self, copies: &mut Option<Copies>, result: &ScalarValue) -> Result<()> {
        let peers = std::mem::take(&mut self.new);
        copies.as_mut().map_or(Ok(()), |copies| copies.check(result, self.last.as_ref(), peers))
    }
}

fn is_true(condition: &BooleanArray) -> BooleanArray {
    (0..condition.len()).map(|row| Some(condition.is_valid(row) && condition.value(row))).collect()
}

/// A window that only grows; rows with the same one share a result.
#[derive(Debug)]
struct Growing {
    inner: Box<dyn Accumulator>,
    seen: Rows,
    result: Option<ScalarValue>,
    copies: Option<Copies>,
}

impl Accumulator for Growing {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.result = None;
        self.seen.add(values);
        self.inner.update_batch(&self.seen.kept(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = match &self.result {
            Some(result) => result.clone(),
            None => {
                memory::check().map_err(external)?;
                self.inner.evaluate()?
            }
        };
        self.seen.check(&mut self.copies, &result)?;
        self.result = Some(result.clone());
        Ok(result)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}

/// A window that loses rows, of a function that gives them back.
#[derive(Debug)]
struct Moving {
    inner: Box<dyn Accumulator>,
    seen: Rows,
    copies: Option<Copies>,
}

impl Accumulator for Moving {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.seen.add(values);
        self.inner.update_batch(&self.seen.kept(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.seen.kept(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let result = self.inner.evaluate()?;
        self.seen.check(&mut self.copies, &result)?;
        Ok(result)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}

/// The rows of a window.
#[derive(Debug)]
struct Window {
    maker: Maker,
    rows: VecDeque<Vec<ArrayRef>>,
    seen: Rows,
    copies: Option<Copies>,
}

impl Accumulator for Window {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.seen.add(values);
        if values.first().is_some_and(|column| !column.is_empty()) {
            self.rows.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut left = values.first().map_or(0, |column| column.len());
        while left > 0 {
            let Some(mut part) = self.rows.pop_front() else { return exec_err!("a window gives back what it has not") };
            let rows = part.first().map_or(0, |column| column.len());
            if rows > left {
                part = part.iter().map(|column| column.slice(left, rows - left)).collect();
                self.rows.push_front(part);
            }
            left -= rows.min(left);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        memory::check().map_err(external)?;
        let mut inner = self.maker.make()?;
        if let Some(columns) = whole(self.rows.iter())? {
            inner.update_batch(&self.seen.kept(&columns)?)?;
            // The rows stay one part, so that the next result does not put them together again.
            self.rows = VecDeque::from([columns]);
        }
        let result = inner.evaluate()?;
        self.seen.check(&mut self.copies, &result)?;
        Ok(result)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().map(|part| bytes(part)).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        exec_err!("a window has no state")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        exec_err!("a window has no state")
    }
}
