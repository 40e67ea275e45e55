//! DataFusion's scalar functions, under the names that ksqlDB leaves free, each within its bound.

use super::{Bound, widen};
use crate::error::{Error, Result};
use crate::functions::bounded;
use crate::plan::scalar::Program;
use crate::threads;
use crate::types::SqlType;
use arrow::array::new_null_array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, Volatility};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// Functions that give the same result for the same arguments; others would make a replayed batch differ.
static FUNCTIONS: LazyLock<BTreeMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut out = BTreeMap::new();
    // Arrays are ksqlDB's own here: DataFusion's functions of them are for plans of its own.
    let plain: BTreeSet<String> =
        datafusion::functions::all_default_functions().iter().map(|f| f.name().to_owned()).collect();
    for function in bounded::scalars() {
        if function.signature().volatility == Volatility::Immutable && plain.contains(function.name()) {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                out.insert(name.to_uppercase(), function.clone());
            }
        }
    }
    out
});

/// The function with this name, in upper case.
pub(crate) fn find(name: &str) -> Option<Arc<ScalarUDF>> {
    FUNCTIONS.get(name).cloned()
}

/// All names, in upper case.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.keys().map(String::as_str)
}

/// A call, its arguments brought to the types that the function wants.
///
/// DataFusion's planner converts arguments and rewrites calls before a function sees them, and functions rely on that: with other
/// types they panic, or fail for every row. So what cannot be converted here is refused, and the call is [`tried`] once.
pub(super) fn call(function: Arc<ScalarUDF>, args: Vec<Program>, types: &[SqlType]) -> Result<Bound> {
    let fields: Vec<FieldRef> = types.iter().map(|ty| Arc::new(Field::new("", ty.arrow(), true))).collect();
    let refused = || {
        let types: Vec<_> = types.iter().map(SqlType::to_string).collect();
        Error::statement(format!("Function '{}' does not accept parameters ({}).", function.name(), types.join(", ")))
    };
    let wanted = fields_with_udf(&fields, function.as_ref()).map_err(|e| refused().because(e))?;
    let mut programs = vec![];
    let mut fields = vec![];
    for ((program, from), field) in args.into_iter().zip(types).zip(wanted) {
        let (program, to) = fitting(program, from, field.data_type()).ok_or_else(refused)?;
        fields.push(Arc::new(Field::new("", to.arrow(), true)));
        programs.push(program);
    }
    let literals: Vec<_> = programs.iter().map(|p| p.as_literal()).collect();
    let returns = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &literals })
        .map_err(|e| refused().because(e))?;
    if let Err(why) = tried(&function, &fields, &literals, &returns) {
        let unknown: Vec<_> = literals.iter().map(|_| None).collect();
        let by_constants =
            literals.iter().any(Option::is_some) && tried(&function, &fields, &unknown, &returns).is_ok();
        return Err(match by_constants {
            true => Error::statement(format!("{} cannot be computed with these constants", function.name()))
                .with_detail(why),
            false => refused(),
        });
    }
    let ty = match returns.data_type() {
        DataType::Null => None,
        ty => SqlType::from_arrow(ty),
    };
    let Some(ty) = ty else {
        return Err(Error::statement(format!("{} returns a type that SQL has no name for", function.name())));
    };
    Ok(Bound::new(Program::Native { function: function.clone(), args: programs, returns, ty: ty.clone() }, ty))
}

/// An argument in the type that the function wants, and that type; `None` = it has no such value.
fn fitting(program: Program, from: &SqlType, to: &DataType) -> Option<(Program, SqlType)> {
    if from.arrow() == *to {
        return Some((program, from.clone()));
    }
    let sql = SqlType::from_arrow(to)?;
    if sql.arrow() != *to {
        if matches!((from, &sql), (SqlType::Date | SqlType::String, SqlType::Timestamp)) {
            return Some((widen(program, from.clone(), &sql), sql));
        }
        // Views, unsigned numbers and other units are the function's own business.
        let alike = sql == *from
            || sql.is_numeric() && from.is_numeric()
            || matches!((&sql, from), (SqlType::Array(_), SqlType::Array(_)));
        return alike.then(|| (program, from.clone()));
    }
    if from.common(&sql).as_ref() == Some(&sql) {
        return Some((widen(program, from.clone(), &sql), sql));
    }
    match (from, &sql) {
        (SqlType::Date, SqlType::Timestamp) | (SqlType::String, SqlType::Date | SqlType::Time | SqlType::Timestamp) => {
            Some((widen(program, from.clone(), &sql), sql))
        }
        // A whole number for a size, say: what is wanted is narrower, and a value may not fit.
        _ if sql.is_numeric() && from.is_numeric() => Some((program, from.clone())),
        _ => None,
    }
}

/// Whether the function knows what to do with such arguments: it is called for one row in which all but the constants is NULL. The
/// reason is in its own words.
fn tried(
    function: &Arc<ScalarUDF>,
    fields: &[FieldRef],
    literals: &[Option<&ScalarValue>],
    returns: &FieldRef,
) -> std::result::Result<(), String> {
    let argument = |(field, literal): (&FieldRef, &Option<&ScalarValue>)| match literal {
        Some(value) => ColumnarValue::Scalar((*value).clone()),
        None => ColumnarValue::Array(new_null_array(field.data_type(), 1)),
    };
    let args = ScalarFunctionArgs {
        args: fields.iter().zip(literals).map(argument).collect(),
        arg_fields: fields.to_vec(),
        number_rows: 1,
        return_field: returns.clone(),
        config_options: Arc::default(),
    };
    match threads::attempt(|| function.invoke_with_args(args)) {
        Ok(Ok(_)) => Ok(()),
        // A bound of ours: whether it is kept is a matter of rows.
        Ok(Err(DataFusionError::External(_))) => Ok(()),
        Ok(Err(e)) => {
            let text = e.strip_backtrace();
            Err(text.trim_start_matches("Execution error: ").to_owned())
        }
        Err(panic) => Err(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::scalar::{Columns, RowErrors};
    use arrow::array::ArrayRef;

    /// Two values and a NULL of each type.
    fn samples() -> Vec<(SqlType, Vec<ScalarValue>)> {
        use ScalarValue as V;
        let text = |t: &str| V::Utf8(Some(t.to_owned()));
        vec![
            (SqlType::Boolean, vec![V::Boolean(Some(true)), V::Boolean(Some(false))]),
            (SqlType::Integer, vec![V::Int32(Some(2)), V::Int32(Some(3))]),
            (SqlType::Bigint, vec![V::Int64(Some(2)), V::Int64(Some(5))]),
            (SqlType::Double, vec![V::Float64(Some(0.5)), V::Float64(Some(1.0))]),
            (SqlType::Decimal(8, 2), vec![V::Decimal128(Some(150), 8, 2), V::Decimal128(Some(25), 8, 2)]),
            (SqlType::String, vec![text("day"), text("2024-02-03")]),
            (SqlType::Bytes, vec![V::Binary(Some(b"ab".to_vec())), V::Binary(Some(vec![]))]),
            (SqlType::Date, vec![V::Date32(Some(19_000)), V::Date32(Some(0))]),
            (SqlType::Time, vec![V::Time32Millisecond(Some(1_000)), V::Time32Millisecond(Some(0))]),
            (SqlType::Timestamp, vec![V::TimestampMillisecond(Some(1), None), V::TimestampMillisecond(Some(0), None)]),
        ]
    }

    fn column(ty: &SqlType, values: &[ScalarValue]) -> ArrayRef {
        let null = ScalarValue::try_from(&ty.arrow()).unwrap();
        ScalarValue::iter_to_array(values.iter().cloned().chain([null])).unwrap()
    }

    /// What a call that was accepted does wrong.
    fn fault(function: &Arc<ScalarUDF>, columns: &[(SqlType, Vec<ScalarValue>)]) -> Option<String> {
        let types: Vec<SqlType> = columns.iter().map(|(ty, _)| ty.clone()).collect();
        let args = types.iter().enumerate().map(|(index, ty)| Program::Column { index, name: ty.to_string().into() });
        let Ok(bound) = call(function.clone(), args.collect(), &types) else { return None };
        let arrays: Vec<ArrayRef> = columns.iter().map(|(ty, values)| column(ty, values)).collect();
        let columns = Columns { columns: &arrays, rows: 3 };
        match threads::attempt(|| bound.program.eval_array(&columns, &mut RowErrors::default())) {
            Err(panic) => Some(format!("{}({types:?}) panics: {panic}", function.name())),
            Ok(Err(e)) => Some(format!("{}({types:?}): {e}", function.name())),
            Ok(Ok(_)) => None,
        }
    }

    #[test]
    fn a_call_that_is_accepted_neither_panics_nor_fails() {
        let samples = samples();
        let mut faults = Vec::new();
        let mut accepted = 0;
        for function in FUNCTIONS.values() {
            for first in &samples {
                faults.extend(fault(function, std::slice::from_ref(first)));
                for second in &samples {
                    faults.extend(fault(function, &[first.clone(), second.clone()]));
                    accepted += 1;
                }
            }
        }
        assert!(faults.is_empty(), "{} of {accepted}\n{}", faults.len(), faults.join("\n"));
    }
}
