//! Running a program on a batch.
//!
//! The law that tests hold this file to: a row's value and errors do not depend on the rows beside it, so a batch may be
//! split anywhere.

use super::errors::{Reason, RowErrors, Selection};
use super::{Columns, Program, arithmetic, cast, compare, lambda, nested, text};
use crate::error::{Error, Result};
use crate::functions::bounded::sizes::{check_repeated, repeated};
use crate::functions::{ErrorSink, Function};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use std::sync::{Arc, LazyLock};

/// DataFusion's functions ask for a configuration; ours is always the default one.
static CONFIG: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| Arc::new(ConfigOptions::default()));

impl Program {
    /// The value of every selected row; rows that fail are noted in `errors`. An `Err` is a bug.
    pub fn eval(&self, input: &Columns, selection: &Selection, errors: &mut RowErrors) -> Result<ColumnarValue> {
        let rows = input.rows;
        match self {
            Program::Column { index, name } => match input.columns.get(*index) {
                Some(column) => Ok(ColumnarValue::Array(column.clone())),
                None => Err(Error::bug(format!("column {index} ({name}) is not in the batch"))),
            },
            Program::Literal(value) => Ok(ColumnarValue::Scalar(value.clone())),
            Program::Arithmetic { op, left, right, ty } => {
                let (left, right) = pair(left, right, input, selection, errors)?;
                arithmetic::binary(*op, &left, &right, ty, rows, selection, errors)
            }
            Program::Negate(x) => {
                let x = x.eval(input, selection, errors)?;
                arithmetic::negate(&x, rows, selection, errors)
            }
            Program::Compare { op, left, right } => {
                let (left, right) = pair(left, right, input, selection, errors)?;
                Ok(bools(compare::compare(*op, &left, &right, rows)?))
            }
            Program::In { value, list } => in_list(value, list, input, selection, errors),
            Program::Like { value, pattern, escape } => {
                let (value, pattern) = pair(value, pattern, input, selection, errors)?;
                Ok(bools(text::like(&value, &pattern, *escape, rows)?))
            }
            Program::IsNull(x) => {
                let x = x.eval(input, selection, errors)?;
                Ok(bools(nulls(&x, rows)))
            }
            Program::Not(x) => Ok(bools(!&truth(x, input, selection, errors)?)),
            Program::And(x, y) => and(x, y, input, selection, errors),
            Program::Or(x, y) => or(x, y, input, selection, errors),
            Program::Case { whens, otherwise } => case(whens, otherwise, input, selection, errors),
            Program::Cast { value, from, to } => {
                let value = value.eval(input, selection, errors)?;
                cast::cast(&value, from, to, rows, selection, errors)
            }
            Program::Array { .. }
            | Program::Map { .. }
            | Program::Struct { .. }
            | Program::Element { .. }
            | Program::Entry { .. }
            | Program::Field { .. } => self.eval_nested(input, selection, errors),
            Program::Call { function, args, .. } => {
                let args = all(args, input, selection, errors)?;
                call(function, args, rows, selection, errors)
            }
            Program::Native { function, args, returns, ty } => {
                let args = all(args, input, selection, errors)?;
                native(function, &args, returns, ty, rows, selection, errors)
            }
            Program::Lambda { kind, args, bodies, ty } => {
                let args = all(args, input, selection, errors)?;
                lambda::eval(*kind, &args, bodies, ty, &lambda::Outside { input, selection }, errors)
            }
            Program::Guard { boundary, inner } => {
                let mark = errors.mark();
                let value = inner.eval(input, selection, errors)?;
                match errors.catch(mark, *boundary) {
                    None => Ok(value),
                    Some(bad) => Ok(ColumnarValue::Array(set_null(repeated(value, rows)?, &bad)?)),
                }
            }
        }
    }

    /// The same for what makes and takes apart ARRAY, MAP and STRUCT.
    fn eval_nested(&self, input: &Columns, selection: &Selection, errors: &mut RowErrors) -> Result<ColumnarValue> {
        let rows = input.rows;
        match self {
            Program::Array { items, item } => nested::array(all(items, input, selection, errors)?, item, rows),
            Program::Map { entries, key, value } => {
                let parts = all(entries.iter().flat_map(|(k, v)| [k, v]), input, selection, errors)?;
                nested::map(parts, key, value, rows, selection, errors)
            }
            Program::Struct { fields } => {
                let values = all(fields.iter().map(|(_, p, _)| p), input, selection, errors)?;
                nested::structure(values, fields.iter().map(|(n, _, t)| (n.as_str(), t)), rows)
            }
            Program::Element { array, index } => {
                let (array, index) = pair(array, index, input, selection, errors)?;
                nested::element(&array, &index, rows, selection, errors)
            }
            Program::Entry { map, key } => {
                let (map, key) = pair(map, key, input, selection, errors)?;
                nested::entry(&map, &key, rows)
            }
            Program::Field { value, index, .. } => {
                let value = value.eval(input, selection, errors)?;
                nested::field(&value, *index, rows)
            }
            _ => Err(Error::bug("an expression is not of a nested type")),
        }
    }

    /// One value per row of the batch.
    pub fn eval_array(&self, input: &Columns, errors: &mut RowErrors) -> Result<ArrayRef> {
        Ok(repeated(self.eval(input, &Selection::all(), errors)?, input.rows)?)
    }

    /// The rows for which a BOOLEAN program is true; failed and NULL rows do not pass. `None` = all rows pass.
    pub fn predicate(&self, input: &Columns, errors: &mut RowErrors) -> Result<Option<BooleanBuffer>> {
        let mark = errors.mark();
        let value = self.eval(input, &Selection::all(), errors)?;
        let failed = errors.catch(mark, 0);
        let passed = match &value {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => BooleanBuffer::new_set(input.rows),
            ColumnarValue::Scalar(_) => BooleanBuffer::new_unset(input.rows),
            ColumnarValue::Array(array) => {
                let array = array.as_boolean_opt().ok_or_else(|| Error::bug("a condition is not BOOLEAN"))?;
                match array.nulls() {
                    None => array.values().clone(),
                    Some(nulls) => array.values() & nulls.inner(),
                }
            }
        };
        let passed = match failed {
            None => passed,
            Some(failed) => &passed & &!&failed,
        };
        Ok(if passed.count_set_bits() == input.rows { None } else { Some(passed) })
    }
}

/// A BOOLEAN column without NULLs.
pub(super) fn bools(values: BooleanBuffer) -> ColumnarValue {
    ColumnarValue::Array(Arc::new(BooleanArray::new(values, None)))
}

/// Left, then right for the rows in which left did not fail.
fn pair(
    left: &Program,
    right: &Program,
    input: &Columns,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<(ColumnarValue, ColumnarValue)> {
    let left = left.eval(input, selection, errors)?;
    let right = match errors.any_open() {
        false => right.eval(input, selection, errors)?,
        true => right.eval(input, &errors.healthy(selection), errors)?,
    };
    Ok((left, right))
}

/// Each in turn, for the rows that are still healthy.
fn all<'a>(
    programs: impl IntoIterator<Item = &'a Program>,
    input: &Columns,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<Vec<ColumnarValue>> {
    let mut values = vec![];
    for program in programs {
        values.push(match errors.any_open() {
            false => program.eval(input, selection, errors)?,
            true => program.eval(input, &errors.healthy(selection), errors)?,
        });
    }
    Ok(values)
}

/// An operand of AND, OR, NOT or CASE: NULL there is an error.
fn truth(program: &Program, input: &Columns, selection: &Selection, errors: &mut RowErrors) -> Result<BooleanBuffer> {
    let value = program.eval(input, selection, errors)?;
    let array = match &value {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => return Ok(BooleanBuffer::new_set(input.rows)),
        ColumnarValue::Scalar(scalar) => {
            if scalar.is_null() {
                errors.raise(Reason::NullBoolean, selection, &BooleanBuffer::new_set(input.rows));
            }
            return Ok(BooleanBuffer::new_unset(input.rows));
        }
    };
    let array = array.as_boolean_opt().ok_or_else(|| Error::bug("an operand is not BOOLEAN"))?;
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(array.values().clone()),
        Some(nulls) => {
            errors.raise(Reason::NullBoolean, selection, &!nulls.inner());
            Ok(array.values() & nulls.inner())
        }
    }
}

fn case(
    whens: &[(Program, Program)],
    otherwise: &Program,
    input: &Columns,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let mut rest = errors.healthy(selection);
    let mut parts = vec![];
    for (when, then) in whens {
        let condition = truth(when, input, &rest, errors)?;
        rest = errors.healthy(&rest);
        let hit = rest.and(&condition);
        rest = rest.minus(Some(&condition));
        if !hit.is_empty() {
            let value = then.eval(input, &hit, errors)?;
            parts.push((value, hit.bits(input.rows)));
        }
        if rest.is_empty() {
            break;
        }
    }
    let rest = errors.healthy(&rest);
    let mut out = repeated(otherwise.eval(input, &rest, errors)?, input.rows)?;
    for (value, rows) in parts.into_iter().rev() {
        let rows = BooleanArray::new(rows, None);
        out = match value {
            ColumnarValue::Array(value) => zip(&rows, &value, &out)?,
            ColumnarValue::Scalar(value) => {
                check_repeated(&value, rows.true_count())?;
                zip(&rows, &value.to_scalar()?, &out)?
            }
        };
    }
    Ok(ColumnarValue::Array(out))
}

/// A function of the registry. Constant arguments give a constant: one row is enough.
fn call(
    function: &Function,
    args: Vec<ColumnarValue>,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let constant = !function.is_volatile() && args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let mut sink = ErrorSink::new(if constant { 1 } else { rows });
    let value = function.eval(&args, if constant { 1 } else { rows }, &mut sink)?;
    if let Some(bad) = sink.finish() {
        let bad = if constant { BooleanBuffer::new_set(rows) } else { bad };
        errors.raise(Reason::Function, selection, &bad);
    }
    match value {
        ColumnarValue::Array(array) if constant => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
        value => Ok(value),
    }
}

/// A function of DataFusion. It stops at the first bad row, and only then are the wanted rows taken one by one.
fn native(
    function: &Arc<ScalarUDF>,
    args: &[ColumnarValue],
    returns: &FieldRef,
    ty: &SqlType,
    rows: usize,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let wanted = ty.arrow();
    let invoke = |args: Vec<ColumnarValue>, rows: usize| -> Result<ColumnarValue> {
        let arg_fields = args.iter().map(|a| Arc::new(Field::new("", a.data_type(), true))).collect();
        let value = function.invoke_with_args(ScalarFunctionArgs {
            args,
            arg_fields,
            number_rows: rows,
            return_field: returns.clone(),
            config_options: CONFIG.clone(),
        })?;
        match value.data_type() == wanted {
            true => Ok(value),
            false => Ok(value.cast_to(&wanted, None)?),
        }
    };
    if let Ok(value) = invoke(args.to_vec(), rows) {
        return Ok(value);
    }
    let mut pieces = vec![ScalarValue::try_from(&wanted)?.to_array()?];
    let mut places = vec![0u64; rows];
    let mut bad = BooleanBufferBuilder::new(rows);
    bad.append_n(rows, false);
    for row in errors.healthy(selection).bits(rows).set_indices() {
        let one = args.iter().map(|arg| match arg {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(row, 1)),
            scalar => scalar.clone(),
        });
        match invoke(one.collect(), 1).and_then(|value| Ok(value.into_array(1)?)) {
            Ok(value) => {
                places[row] = pieces.len() as u64;
                pieces.push(value);
            }
            Err(_) => bad.set_bit(row, true),
        }
    }
    errors.raise(Reason::Function, selection, &bad.finish());
    let pieces = arrow::compute::concat(&pieces.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?;
    Ok(ColumnarValue::Array(arrow::compute::take(&pieces, &UInt64Array::from(places), None)?))
}

/// The same array with NULL in the `bad` rows.
pub(super) fn set_null(array: ArrayRef, bad: &BooleanBuffer) -> Result<ArrayRef> {
    let healthy = !bad;
    let valid = match array.nulls() {
        None => healthy,
        Some(nulls) => &healthy & nulls.inner(),
    };
    nested::with_nulls(&array, Some(NullBuffer::new(valid)))
}

fn in_list(
    value: &Program,
    list: &[Program],
    input: &Columns,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let values = all(std::iter::once(value).chain(list), input, selection, errors)?;
    let mut hit = BooleanBuffer::new_unset(input.rows);
    for item in &values[1..] {
        hit = &hit | &compare::compare(super::Comparison::Equal, &values[0], item, input.rows)?;
    }
    Ok(bools(hit))
}

/// The rows whose value is NULL.
fn nulls(x: &ColumnarValue, rows: usize) -> BooleanBuffer {
    match x {
        ColumnarValue::Scalar(v) if v.is_null() => BooleanBuffer::new_set(rows),
        ColumnarValue::Scalar(_) => BooleanBuffer::new_unset(rows),
        ColumnarValue::Array(a) => a.logical_nulls().map_or_else(|| BooleanBuffer::new_unset(rows), |n| !n.inner()),
    }
}

fn and(
    x: &Program,
    y: &Program,
    input: &Columns,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let x = truth(x, input, selection, errors)?;
    let rest = errors.healthy(selection).and(&x);
    if rest.is_empty() {
        return Ok(bools(x));
    }
    Ok(bools(&x & &truth(y, input, &rest, errors)?))
}

fn or(
    x: &Program,
    y: &Program,
    input: &Columns,
    selection: &Selection,
    errors: &mut RowErrors,
) -> Result<ColumnarValue> {
    let x = truth(x, input, selection, errors)?;
    let rest = errors.healthy(selection).and(&!&x);
    if rest.is_empty() {
        return Ok(bools(x));
    }
    // Rows outside `rest` mean nothing in the right side.
    let y = &truth(y, input, &rest, errors)? & &rest.bits(input.rows);
    Ok(bools(&x | &y))
}
